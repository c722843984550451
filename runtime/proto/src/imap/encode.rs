//! Types to octets, the server's side (RFC 3501 §7, §9).

use super::facts::{BodyKind, BodyPart, Envelope, Mailbox};
use super::types::{FetchItem, Flag, Section, SectionText, StatusItem};
use super::{MAX_STRUCTURE_DEPTH, utf7};
use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use jiff::tz::Offset;
use std::fmt::Write as _;

/// Octets of a quoted string; a longer one is sent as a literal.
const QUOTED_MOST: usize = 1000;

/// RFC 3501 `string`.
pub fn string(octets: &[u8], out: &mut BytesMut) {
    let quotable = octets.len() <= QUOTED_MOST && octets.iter().all(|octet| matches!(octet, b' '..=b'~'));
    if !quotable {
        // RFC 3501 §9: NUL may not stand in a literal.
        let _ = write!(out, "{{{}}}\r\n", octets.len());
        out.extend(octets.iter().map(|octet| if *octet == 0 { b'?' } else { *octet }));
        return;
    }
    out.put_u8(b'"');
    for octet in octets {
        if matches!(octet, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*octet);
    }
    out.put_u8(b'"');
}

/// RFC 3501 `nstring`.
pub fn nstring(octets: Option<&Bytes>, out: &mut BytesMut) {
    match octets {
        Some(octets) => string(octets, out),
        None => out.put_slice(b"NIL"),
    }
}

/// A mailbox name, in modified UTF-7 and quotes.
pub fn mailbox(name: &str, out: &mut BytesMut) {
    string(utf7::encode(name).as_bytes(), out);
}

/// A flag's name.
pub fn flag(flag: &Flag) -> &str {
    match flag {
        Flag::Answered => "\\Answered",
        Flag::Flagged => "\\Flagged",
        Flag::Deleted => "\\Deleted",
        Flag::Seen => "\\Seen",
        Flag::Draft => "\\Draft",
        Flag::Keyword(keyword) => keyword,
    }
}

/// `(\Seen Work)`
pub fn flags(flags: &[Flag], out: &mut BytesMut) {
    let names: Vec<&str> = flags.iter().map(flag).collect();
    let _ = write!(out, "({})", names.join(" "));
}

/// `"17-Jul-1996 02:44:25 +0000"`, of seconds since 1970.
pub fn date_time(seconds: i64, out: &mut BytesMut) {
    let at = Offset::UTC.to_datetime(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH));
    let _ = write!(out, "\"{}\"", at.strftime("%d-%b-%Y %H:%M:%S +0000"));
}

/// `1:3,5`, of ascending numbers; `0` of none.
pub fn set(numbers: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = numbers;
    while let Some(first) = rest.first() {
        let run =
            rest.iter().zip(u64::from(*first)..).take_while(|(number, at)| u64::from(**number) == *at).count().max(1);
        if !text.is_empty() {
            text.push(',');
        }
        let _ = match run {
            1 => write!(text, "{first}"),
            _ => write!(text, "{first}:{}", rest[run - 1]),
        };
        rest = &rest[run..];
    }
    text
}

/// The two sides of COPYUID: pairs in the order of copying, each run of both put together.
pub fn pairs(pairs: &[(u32, u32)]) -> (String, String) {
    let (old, new): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
    (set(&old), set(&new))
}

/// The name of what was asked, as it stands before its value.
pub fn section(section: &Section, out: &mut BytesMut) {
    out.put_slice(b"BODY[");
    let path: Vec<String> = section.path.iter().map(u32::to_string).collect();
    out.put_slice(path.join(".").as_bytes());
    let text = match &section.text {
        SectionText::All => "",
        SectionText::Header => "HEADER",
        SectionText::Fields { not: false, .. } => "HEADER.FIELDS ",
        SectionText::Fields { not: true, .. } => "HEADER.FIELDS.NOT ",
        SectionText::Mime => "MIME",
        SectionText::Text => "TEXT",
    };
    if !path.is_empty() && !text.is_empty() {
        out.put_u8(b'.');
    }
    out.put_slice(text.as_bytes());
    if let SectionText::Fields { names, .. } = &section.text {
        out.put_u8(b'(');
        for (at, name) in names.iter().enumerate() {
            if at > 0 {
                out.put_u8(b' ');
            }
            let atom = !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
            if atom { out.put_slice(name.as_bytes()) } else { string(name.as_bytes(), out) }
        }
        out.put_u8(b')');
    }
    out.put_u8(b']');
    if let Some((origin, _)) = section.partial {
        let _ = write!(out, "<{origin}>");
    }
}

/// The name of an item other than a section.
pub fn item(item: &FetchItem) -> &'static str {
    match item {
        FetchItem::Flags => "FLAGS",
        FetchItem::InternalDate => "INTERNALDATE",
        FetchItem::Size => "RFC822.SIZE",
        FetchItem::Envelope => "ENVELOPE",
        FetchItem::Body | FetchItem::Section { .. } => "BODY",
        FetchItem::BodyStructure => "BODYSTRUCTURE",
        FetchItem::Uid => "UID",
        FetchItem::ModSeq => "MODSEQ",
    }
}

/// The name of a status item.
pub fn status_item(item: StatusItem) -> &'static str {
    match item {
        StatusItem::Messages => "MESSAGES",
        StatusItem::Recent => "RECENT",
        StatusItem::UidNext => "UIDNEXT",
        StatusItem::UidValidity => "UIDVALIDITY",
        StatusItem::Unseen => "UNSEEN",
        StatusItem::Deleted => "DELETED",
        StatusItem::Size => "SIZE",
        StatusItem::HighestModSeq => "HIGHESTMODSEQ",
        StatusItem::AppendLimit => "APPENDLIMIT",
    }
}

/// RFC 3501 `envelope`.
pub fn envelope(envelope: &Envelope, out: &mut BytesMut) {
    out.put_u8(b'(');
    nstring(envelope.date.as_ref(), out);
    out.put_u8(b' ');
    nstring(envelope.subject.as_ref(), out);
    // RFC 3501 §7.4.2: an absent Sender or Reply-To is told as From.
    let or_from = |list: &'_ Vec<Mailbox>| if list.is_empty() { envelope.from.clone() } else { list.clone() };
    let lists = [
        envelope.from.clone(),
        or_from(&envelope.sender),
        or_from(&envelope.reply_to),
        envelope.to.clone(),
        envelope.cc.clone(),
        envelope.bcc.clone(),
    ];
    for list in &lists {
        out.put_u8(b' ');
        addresses(list, out);
    }
    out.put_u8(b' ');
    nstring(envelope.in_reply_to.as_ref(), out);
    out.put_u8(b' ');
    nstring(envelope.message_id.as_ref(), out);
    out.put_u8(b')');
}

fn addresses(list: &[Mailbox], out: &mut BytesMut) {
    if list.is_empty() {
        return out.put_slice(b"NIL");
    }
    out.put_u8(b'(');
    for one in list {
        out.put_u8(b'(');
        nstring(one.name.as_ref(), out);
        // The source route, which RFC 5322 made obsolete.
        out.put_slice(b" NIL ");
        nstring(one.mailbox.as_ref(), out);
        out.put_u8(b' ');
        nstring(one.host.as_ref(), out);
        out.put_u8(b')');
    }
    out.put_u8(b')');
}

/// RFC 3501 `body`; with extension data for BODYSTRUCTURE.
pub fn body(part: &BodyPart, extended: bool, out: &mut BytesMut) {
    structure(part, extended, 0, out);
}

fn structure(part: &BodyPart, extended: bool, depth: usize, out: &mut BytesMut) {
    let opaque = depth >= MAX_STRUCTURE_DEPTH;
    out.put_u8(b'(');
    match &part.kind {
        BodyKind::Multipart(parts) if !opaque && !parts.is_empty() => {
            for part in parts {
                structure(part, extended, depth + 1, out);
            }
            out.put_u8(b' ');
            string(&part.subtype, out);
            if extended {
                out.put_u8(b' ');
                parameters(&part.parameters, out);
                tail(part, out);
            }
        }
        kind => {
            single(part, kind, (extended, depth), out);
            if extended {
                out.put_u8(b' ');
                nstring(part.md5.as_ref(), out);
                tail(part, out);
            }
        }
    }
    out.put_u8(b')');
}

fn single(part: &BodyPart, kind: &BodyKind, (extended, depth): (bool, usize), out: &mut BytesMut) {
    let opaque = depth >= MAX_STRUCTURE_DEPTH || matches!(kind, BodyKind::Multipart(_));
    // What is too deep, or a multipart without parts, is shown as octets.
    let (media_type, subtype): (&[u8], &[u8]) =
        if opaque { (b"application", b"octet-stream") } else { (&part.media_type, &part.subtype) };
    string(media_type, out);
    out.put_u8(b' ');
    string(subtype, out);
    out.put_u8(b' ');
    parameters(&part.parameters, out);
    out.put_u8(b' ');
    nstring(part.id.as_ref(), out);
    out.put_u8(b' ');
    nstring(part.description.as_ref(), out);
    out.put_u8(b' ');
    string(if part.encoding.is_empty() { b"7BIT" } else { &part.encoding }, out);
    let _ = write!(out, " {}", part.size);
    match kind {
        _ if opaque => {}
        BodyKind::Text { lines } => {
            let _ = write!(out, " {lines}");
        }
        BodyKind::Message { envelope: inner, body, lines } => {
            out.put_u8(b' ');
            envelope(inner, out);
            out.put_u8(b' ');
            structure(body, extended, depth + 1, out);
            let _ = write!(out, " {lines}");
        }
        BodyKind::Basic | BodyKind::Multipart(_) => {}
    }
}

/// Disposition, language and location.
fn tail(part: &BodyPart, out: &mut BytesMut) {
    out.put_u8(b' ');
    match &part.disposition {
        None => out.put_slice(b"NIL"),
        Some((kind, list)) => {
            out.put_u8(b'(');
            string(kind, out);
            out.put_u8(b' ');
            parameters(list, out);
            out.put_u8(b')');
        }
    }
    out.put_u8(b' ');
    match part.language.as_slice() {
        [] => out.put_slice(b"NIL"),
        [one] => string(one, out),
        many => {
            out.put_u8(b'(');
            for (at, language) in many.iter().enumerate() {
                if at > 0 {
                    out.put_u8(b' ');
                }
                string(language, out);
            }
            out.put_u8(b')');
        }
    }
    out.put_u8(b' ');
    nstring(part.location.as_ref(), out);
}

fn parameters(list: &[(Bytes, Bytes)], out: &mut BytesMut) {
    if list.is_empty() {
        return out.put_slice(b"NIL");
    }
    out.put_u8(b'(');
    for (at, (name, value)) in list.iter().enumerate() {
        if at > 0 {
            out.put_u8(b' ');
        }
        string(name, out);
        out.put_u8(b' ');
        string(value, out);
    }
    out.put_u8(b')');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn strings_are_quoted_or_literal() {
        assert_eq!(text(|out| string(b"a\"b\\", out)), "\"a\\\"b\\\\\"");
        assert_eq!(text(|out| string("ü".as_bytes(), out)), "{2}\r\nü");
        assert_eq!(text(|out| nstring(None, out)), "NIL");
    }

    #[test]
    fn sets_are_short() {
        assert_eq!(set(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(set(&[u32::MAX]), u32::MAX.to_string());
    }

    #[test]
    fn dates_are_rfc_3501s() {
        assert_eq!(text(|out| date_time(837_571_465, out)), "\"17-Jul-1996 02:44:25 +0000\"");
    }

    #[test]
    fn structures_are_told() {
        let plain = BodyPart {
            media_type: "text".into(),
            subtype: "plain".into(),
            size: 12,
            kind: BodyKind::Text { lines: 1 },
            ..BodyPart::default()
        };
        assert_eq!(text(|out| body(&plain, false, out)), "(\"text\" \"plain\" NIL NIL NIL \"7BIT\" 12 1)");
        let mixed = BodyPart { subtype: "mixed".into(), kind: BodyKind::Multipart(vec![plain]), ..BodyPart::default() };
        let told = text(|out| body(&mixed, true, out));
        assert!(told.ends_with(" NIL NIL NIL NIL) \"mixed\" NIL NIL NIL NIL)"), "{told}");
    }
}
