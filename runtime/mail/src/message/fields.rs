//! Header fields: raw, unfolded, as addresses.

/// Mailboxes told of one field.
const MAILBOXES_MOST: usize = 2_000;

/// RFC 3501 §7.4.2: unfolded, encoded words as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields' own names")]
pub struct Envelope {
    pub date: Option<Vec<u8>>,
    pub subject: Option<Vec<u8>>,
    pub in_reply_to: Option<Vec<u8>>,
    pub message_id: Option<Vec<u8>>,
    pub from: Vec<Mailbox>,
    pub sender: Vec<Mailbox>,
    pub reply_to: Vec<Mailbox>,
    pub to: Vec<Mailbox>,
    pub cc: Vec<Mailbox>,
    pub bcc: Vec<Mailbox>,
}

/// One address; a group begins with its name as `mailbox` and no `host`, and ends with neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// The display name.
    pub name: Option<Vec<u8>>,
    /// Before the `@`.
    pub mailbox: Option<Vec<u8>>,
    /// After it.
    pub host: Option<Vec<u8>>,
}

/// A message has not exactly one From field, or not only addresses in it (RFC 5322 §3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message must have one From field that holds addresses (RFC 5322 §3.6.2)")]
pub struct OneFrom;

/// The fields of a header with their line ends, the empty line last.
pub fn raw_fields(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = header;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = 0;
        loop {
            end += memchr::memchr(b'\n', &rest[end..]).map_or(rest.len() - end, |at| at + 1);
            if !matches!(rest.get(end), Some(b' ' | b'\t')) || end == rest.len() {
                break;
            }
        }
        let (field, after) = rest.split_at(end);
        rest = after;
        Some(field)
    })
}

fn name(field: &[u8]) -> &[u8] {
    let end = memchr::memchr(b':', field).unwrap_or(0);
    field[..end].trim_ascii_end()
}

fn value(field: &[u8]) -> Vec<u8> {
    let start = memchr::memchr(b':', field).map_or(field.len(), |at| at + 1);
    let mut out = Vec::with_capacity(field.len() - start);
    out.extend(field[start..].iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n' | 0)));
    let trimmed = out.trim_ascii();
    trimmed.to_vec()
}

/// The first field of that name, unfolded.
pub fn field(header: &[u8], wanted: &str) -> Option<String> {
    octets(header, wanted).map(|octets| String::from_utf8_lossy(&octets).into_owned())
}

fn octets(header: &[u8], wanted: &str) -> Option<Vec<u8>> {
    raw_fields(header).find(|field| name(field).eq_ignore_ascii_case(wanted.as_bytes())).map(value)
}

/// Every field of that name, unfolded.
pub fn fields(header: &[u8], wanted: &str) -> Vec<String> {
    raw_fields(header)
        .filter(|field| name(field).eq_ignore_ascii_case(wanted.as_bytes()))
        .map(|field| String::from_utf8_lossy(&value(field)).into_owned())
        .collect()
}

/// How many servers the message went through.
pub fn hops(header: &[u8]) -> usize {
    raw_fields(header).filter(|field| name(field).eq_ignore_ascii_case(b"Received")).count()
}

/// The fields of these names, or the others, verbatim, and an empty line (RFC 3501 §6.4.5).
pub fn header_fields(header: &[u8], names: &[String], not: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for field in raw_fields(header) {
        let blank = field == b"\r\n" || field == b"\n";
        let asked = names.iter().any(|wanted| name(field).eq_ignore_ascii_case(wanted.as_bytes()));
        if !blank && asked != not {
            out.extend_from_slice(field);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The day of the Date field, in its own zone.
pub fn sent_date(header: &[u8]) -> Option<(i16, u8, u8)> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let text = field(header, "Date")?;
    let text = text.split_once(',').map_or(text.as_str(), |(_, rest)| rest);
    let mut words = text.split_ascii_whitespace();
    let day = words.next()?.parse().ok()?;
    let month = words.next()?.get(..3)?.to_ascii_lowercase();
    let month = MONTHS.iter().position(|known| *known == month)?;
    let year: i16 = words.next()?.parse().ok()?;
    // RFC 5322 §4.3: years of two digits.
    let year = match year {
        0..=49 => year + 2000,
        50..=999 => year + 1900,
        _ => year,
    };
    Some((year, u8::try_from(month + 1).ok()?, day))
}

/// Encoded words turned into text (RFC 2047).
pub fn decoded(value: &str) -> String {
    let header = format!("Subject: {value}\r\n\r\n");
    let parsed = mail_parser::MessageParser::default().parse(header.as_bytes());
    parsed.and_then(|message| message.subject().map(str::to_owned)).unwrap_or_else(|| value.to_owned())
}

/// The addresses of the one From field.
///
/// # Errors
/// [`OneFrom`].
pub fn authors(header: &[u8]) -> Result<Vec<String>, OneFrom> {
    let found = fields(header, "From");
    let [only] = found.as_slice() else { return Err(OneFrom) };
    let list = mailboxes(only.as_bytes());
    let text = |octets: &Option<Vec<u8>>| {
        octets.as_deref().filter(|octets| !octets.is_empty()).map(|octets| String::from_utf8_lossy(octets).into_owned())
    };
    let address = |mailbox: &Mailbox| Some(format!("{}@{}", text(&mailbox.mailbox)?, text(&mailbox.host)?));
    let addresses: Vec<String> = list.iter().filter_map(address).collect();
    if addresses.is_empty() || addresses.len() != list.len() { Err(OneFrom) } else { Ok(addresses) }
}

/// A header's envelope.
pub fn envelope(header: &[u8]) -> Envelope {
    let people = |wanted: &str| octets(header, wanted).map(|value| mailboxes(&value)).unwrap_or_default();
    Envelope {
        date: octets(header, "Date"),
        subject: octets(header, "Subject"),
        in_reply_to: octets(header, "In-Reply-To"),
        message_id: octets(header, "Message-ID"),
        from: people("From"),
        sender: people("Sender"),
        reply_to: people("Reply-To"),
        to: people("To"),
        cc: people("Cc"),
        bcc: people("Bcc"),
    }
}

/// A piece of an address list (RFC 5322 §3.4).
enum Piece {
    Word(Vec<u8>),
    Comment(Vec<u8>),
    Sign(u8),
}

fn pieces(value: &[u8]) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(octet) = value.get(at) {
        match octet {
            b'"' => {
                let (text, end) = delimited(value, at + 1, (b'"', b'"'));
                found.push(Piece::Word(text));
                at = end;
            }
            b'(' => {
                let (text, end) = delimited(value, at + 1, (b'(', b')'));
                found.push(Piece::Comment(text));
                at = end;
            }
            b'[' => {
                let (text, end) = delimited(value, at + 1, (b'[', b']'));
                found.push(Piece::Word([b"[", &text[..], b"]"].concat()));
                at = end;
            }
            b'<' | b'>' | b',' | b';' | b':' | b'@' => {
                found.push(Piece::Sign(*octet));
                at += 1;
            }
            octet if octet.is_ascii_whitespace() => at += 1,
            _ => {
                let stop = |octet: &u8| octet.is_ascii_whitespace() || b"\"([<>,;:@".contains(octet);
                let length = value[at..].iter().position(stop).unwrap_or(value.len() - at).max(1);
                found.push(Piece::Word(value[at..at + length].to_vec()));
                at += length;
            }
        }
    }
    found
}

/// Reads to the closing delimiter, which may nest where the two differ; says where it goes on.
fn delimited(value: &[u8], from: usize, (open, close): (u8, u8)) -> (Vec<u8>, usize) {
    let (mut text, mut depth, mut at) = (Vec::new(), 1_usize, from);
    while let Some(octet) = value.get(at) {
        at += 1;
        match *octet {
            b'\\' => {
                text.extend(value.get(at));
                at += 1;
                continue;
            }
            octet if octet == close => {
                depth -= 1;
                if depth == 0 {
                    return (text, at);
                }
            }
            octet if octet == open => depth += 1,
            _ => {}
        }
        text.push(*octet);
    }
    (text, at.min(value.len()))
}

#[derive(Default)]
struct Reading {
    words: Vec<Vec<u8>>,
    comment: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    angle: bool,
}

impl Reading {
    fn finish(&mut self, list: &mut Vec<Mailbox>) {
        let this = std::mem::take(self);
        let joined = |words: &[Vec<u8>], by: &[u8]| (!words.is_empty()).then(|| words.join(by));
        let (mailbox, host) = match this.local {
            Some(local) => (Some(local), joined(&this.words, b"").or(Some(Vec::new()))),
            None => (joined(&this.words, b" "), Some(Vec::new())),
        };
        if mailbox.is_some() && list.len() < MAILBOXES_MOST {
            list.push(Mailbox { name: this.name.or(this.comment), mailbox, host });
        }
    }
}

fn mailboxes(value: &[u8]) -> Vec<Mailbox> {
    let mut list = Vec::new();
    let mut now = Reading::default();
    for piece in pieces(value) {
        match piece {
            Piece::Word(word) => now.words.push(word),
            Piece::Comment(text) => now.comment = Some(text),
            Piece::Sign(b'<') => {
                now.name = (!now.words.is_empty()).then(|| now.words.join(&b' '));
                now.words.clear();
                now.angle = true;
            }
            Piece::Sign(b'@') => {
                now.local = Some(now.words.join(&b""[..]));
                now.words.clear();
            }
            // Within brackets they are a source route's, which nobody wants told.
            Piece::Sign(b',' | b':') if now.angle => {
                now.words.clear();
                now.local = None;
            }
            Piece::Sign(b',') => now.finish(&mut list),
            Piece::Sign(b':') => {
                let group = Mailbox { mailbox: Some(now.words.join(&b' ')), ..Mailbox::default() };
                now = Reading::default();
                list.push(group);
            }
            Piece::Sign(b';') => {
                now.finish(&mut list);
                list.push(Mailbox::default());
            }
            Piece::Sign(_) => now.angle = false,
        }
    }
    now.finish(&mut list);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Vec<String> {
        let text =
            |octets: &Option<Vec<u8>>| octets.as_ref().map_or("-".into(), |o| String::from_utf8_lossy(o).into_owned());
        mailboxes(value.as_bytes())
            .iter()
            .map(|m| format!("{}|{}|{}", text(&m.name), text(&m.mailbox), text(&m.host)))
            .collect()
    }

    #[test]
    fn address_lists_are_read_as_people_write_them() {
        for (value, want) in [
            ("ada@example.org", vec!["-|ada|example.org"]),
            ("Ada Lovelace <ada@example.org>, bob@x", vec!["Ada Lovelace|ada|example.org", "-|bob|x"]),
            ("\"Lovelace, Ada\" <ada@x>", vec!["Lovelace, Ada|ada|x"]),
            ("ada@x (Ada)", vec!["Ada|ada|x"]),
            ("Team: ada@x, bob@y;", vec!["-|Team|-", "-|ada|x", "-|bob|y", "-|-|-"]),
            ("undisclosed-recipients:;", vec!["-|undisclosed-recipients|-", "-|-|-"]),
            ("<@a,@b:ada@x>", vec!["-|ada|x"]),
            ("", vec![]),
        ] {
            assert_eq!(shown(value), want, "{value}");
        }
    }

    #[test]
    fn one_from_field_names_the_authors() {
        let of = |header: &str| authors(header.as_bytes());
        assert_eq!(of("From: Ada <ada@x.org>, bob@y.org\r\n\r\n"), Ok(vec!["ada@x.org".into(), "bob@y.org".into()]));
        for wrong in
            ["Subject: x\r\n\r\n", "From: a@b\r\nFrom: c@d\r\n\r\n", "From: nobody\r\n\r\n", "From: a@b, x\r\n\r\n"]
        {
            assert_eq!(of(wrong), Err(OneFrom), "{wrong}");
        }
    }

    #[test]
    fn fields_are_told_verbatim() {
        let header = b"To: a\r\n b\r\nSubject: x\r\nto: c\r\n\r\n";
        assert_eq!(header_fields(header, &["TO".into()], false), b"To: a\r\n b\r\nto: c\r\n\r\n");
        assert_eq!(header_fields(header, &["TO".into()], true), b"Subject: x\r\n\r\n");
        assert_eq!(fields(header, "to"), ["a b", "c"]);
        assert_eq!(sent_date(b"Date: Tue, 24 Nov 2026 23:00:00 -0800\r\n\r\n"), Some((2026, 11, 24)));
    }
}
