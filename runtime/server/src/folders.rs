//! How mail looks in files: names of folders, letters of flags, the small files beside the messages. `export` writes
//! it, `import` reads it.
//!
//! Names are those of Dovecot's Maildir++: levels are joined by `.`, and written in modified UTF-7; a `.` or `\` within
//! a level is `\2e` or `\5c`, as its `listescape` plugin writes them.

use bytes::Bytes;
use proto::imap::utf7;
use store::mailbox::{Flags, SpecialUse};

/// Which keyword is which letter of a file's name: `0 $Forwarded`, a line each.
pub const KEYWORDS: &str = "dovecot-keywords";
/// UIDVALIDITY, next UID, and each message's UID.
pub const UIDS: &str = "dovecot-uidlist";
/// What the account is subscribed to.
pub const SUBSCRIPTIONS: &str = "subscriptions";
/// The first line of [`SUBSCRIPTIONS`] where levels are divided by tabs.
pub const SUBSCRIPTIONS_HEAD: &str = "V\t2";
/// What mailboxes are for, in a file of our own: `\Sent Sent.Items`, a line each.
pub const SPECIAL_USES: &str = "waybill-special-use";
/// Keywords that no letter is left for, in a file of our own: a file's name up to its flags, and a keyword, a line each.
pub const MORE_KEYWORDS: &str = "waybill-keywords";
/// Keywords that have a letter, `a` to `z`.
pub const LETTERS: usize = 26;

/// A mailbox's name as that of a folder or file.
pub fn to_file(name: &str) -> String {
    let level = |level: &str| utf7::encode(level).replace('\\', "\\5c").replace('.', "\\2e");
    name.split('/').map(level).collect::<Vec<_>>().join(".")
}

/// A mailbox's name by that of its folder or file. What is no modified UTF-7 is taken as it is: Dovecot may be told to
/// write UTF-8.
pub fn from_file(file: &str) -> String {
    let level = |level: &str| {
        let plain = level.replace("\\2e", ".").replace("\\2E", ".").replace("\\2f", "_").replace("\\5c", "\\");
        utf7::decode(&plain).unwrap_or(plain)
    };
    inbox(file.split('.').map(level).collect::<Vec<_>>().join("/"))
}

/// RFC 3501 §5.1: INBOX is one name in any case.
pub fn inbox(name: String) -> String {
    match name.split_once('/') {
        None if name.eq_ignore_ascii_case("INBOX") => "INBOX".to_owned(),
        Some((first, rest)) if first.eq_ignore_ascii_case("INBOX") => format!("INBOX/{rest}"),
        _ => name,
    }
}

/// The letters that Maildir has for flags, in their order.
const MAILDIR: [(char, u8); 5] =
    [('D', Flags::DRAFT), ('F', Flags::FLAGGED), ('R', Flags::ANSWERED), ('S', Flags::SEEN), ('T', Flags::DELETED)];

/// The info part of a Maildir file's name, without `:2,`. `keywords` are those of the folder.
pub fn info(flags: &Flags, keywords: &[Box<str>]) -> String {
    let mut info: String = MAILDIR.iter().filter(|(_, bit)| flags.has(*bit)).map(|(letter, _)| *letter).collect();
    for (letter, keyword) in ('a'..='z').zip(keywords) {
        if flags.keywords.contains(keyword) {
            info.push(letter);
        }
    }
    info
}

/// The flags of an info part.
pub fn read_info(info: &str, keywords: &[Option<Box<str>>]) -> Flags {
    let mut flags = Flags::default();
    for letter in info.chars() {
        if let Some((_, bit)) = MAILDIR.iter().find(|(known, _)| *known == letter) {
            flags.system |= bit;
        }
        let at = ('a'..='z').position(|known| known == letter);
        if let Some(Some(keyword)) = at.and_then(|at| keywords.get(at)) {
            add_keyword(&mut flags, keyword);
        }
    }
    flags
}

/// Adds a keyword where it is one (RFC 3501 §9: an atom), within the store's limits.
pub fn add_keyword(flags: &mut Flags, keyword: &str) {
    let atom = |octet: u8| octet.is_ascii_graphic() && !b"(){%*\"\\]".contains(&octet);
    let fits = (1..=proto::imap::MAX_KEYWORD).contains(&keyword.len()) && keyword.bytes().all(atom);
    if fits && flags.keywords.len() < store::mailbox::KEYWORDS_MOST {
        flags.add(&Flags { system: 0, keywords: vec![keyword.into()] });
    }
}

/// A use by its attribute (RFC 6154 §2).
pub fn special_use(attribute: &str) -> Option<SpecialUse> {
    const ALL: [SpecialUse; 5] =
        [SpecialUse::Archive, SpecialUse::Drafts, SpecialUse::Junk, SpecialUse::Sent, SpecialUse::Trash];
    let name = attribute.strip_prefix('\\')?;
    ALL.into_iter().find(|this| this.name().eq_ignore_ascii_case(name))
}

/// The lines of a message with LF at their ends, where they can be turned back into what they are now.
pub fn plain_lines(octets: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(octets.len());
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let body = line.strip_suffix(b"\r\n").unwrap_or(line);
        if body.contains(&b'\r') || body.contains(&b'\n') {
            return None;
        }
        plain.extend_from_slice(body);
        if body.len() < line.len() {
            plain.push(b'\n');
        }
    }
    Some(plain)
}

/// A message as it travels: where an LF has no CR, all get theirs; else nothing is changed.
pub fn on_the_wire(octets: Bytes) -> Bytes {
    let bare = |line: &[u8]| line.ends_with(b"\n") && !line.ends_with(b"\r\n");
    if octets.split_inclusive(|octet| *octet == b'\n').any(bare) { wire_lines(&octets).into() } else { octets }
}

/// The lines of a message with CRLF at their ends.
pub fn wire_lines(octets: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(octets.len() + octets.len() / 32);
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(body) => {
                wire.extend_from_slice(body.strip_suffix(b"\r").unwrap_or(body));
                wire.extend_from_slice(b"\r\n");
            }
            None => wire.extend_from_slice(line),
        }
    }
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_from_files() {
        for name in ["INBOX", "Archive/2026", "Entwürfe/Größe & Maß", "v1.2/a\\b", "台北", "INBOX/x", "~a"] {
            assert_eq!(from_file(&to_file(name)), name, "{}", to_file(name));
            assert!(to_file(name).is_ascii() && !to_file(name).contains('/'));
        }
        assert_eq!(from_file("Entwürfe"), "Entwürfe");
        assert_eq!(to_file("Entwürfe/a.b"), "Entw&APw-rfe.a\\2eb");
    }

    #[test]
    fn lines_come_back_as_they_were() {
        for text in ["a\r\n\r\nb\r\n", "", "no end", "\r\n"] {
            let plain = plain_lines(text.as_bytes()).unwrap_or_default();
            assert!(!plain.contains(&b'\r'));
            assert_eq!(wire_lines(&plain), text.as_bytes());
        }
        assert!(["a\nb\r\n", "a\rb\r\n", "a\r\r\n"].iter().all(|text| plain_lines(text.as_bytes()).is_none()));
        assert_eq!(wire_lines(b"a\nb\r\nc"), b"a\r\nb\r\nc");
    }

    #[test]
    fn flags_are_letters() {
        let keywords: Vec<Box<str>> = vec!["$Forwarded".into(), "work".into()];
        let flags = Flags { system: Flags::SEEN | Flags::DRAFT, keywords: vec!["work".into()] };
        assert_eq!(info(&flags, &keywords), "DSb");
        let known: Vec<_> = keywords.into_iter().map(Some).collect();
        assert_eq!(read_info("DSbz", &known), flags);
    }
}
