//! `tag=value; …`, the form of DKIM, DMARC and MTA-STS records (RFC 6376 §3.2).

/// The tags of a record, in order, names and values trimmed; `None` where a part is no tag.
pub fn tags(text: &str) -> Option<Vec<(&str, &str)>> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    let tag = |part: &'_ str| {
        let at = part.find('=')?;
        let name = part.get(..at)?.trim();
        let sound = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        sound.then_some(at)
    };
    parts.map(|part| tag(part).map(|at| (part[..at].trim(), part[at + 1..].trim()))).collect()
}

/// The value of a tag.
pub fn tag<'a>(tags: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    tags.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}
