//! A message as ranges of its octets: what IMAP tells of it must be exact, whatever the message is like.
//!
//! Nothing here fails: what is no header is body, what is no MIME is text. Lines may end with a lone LF, as they do
//! in mail that clients upload.

use memchr::memmem;
use std::ops::Range;

mod fields;
mod mime;
mod texts;

pub use fields::{
    Envelope, Mailbox, OneFrom, authors, decoded, envelope, field, fields, header_fields, hops, raw_fields, sent_date,
};
pub use texts::{Texts, texts};

/// Levels of parts within parts; what lies deeper is one opaque part.
const DEPTH_MOST: usize = 48;
/// Parts of one message; what comes after is part of the last one.
const PARTS_MOST: usize = 2_000;

/// A parsed message.
#[derive(Debug)]
pub struct Message<'a> {
    /// Its octets.
    pub raw: &'a [u8],
    /// The message itself.
    pub root: Part,
}

/// A part of a message, or all of it.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its header with the empty line that ends it.
    pub header: Range<usize>,
    /// Its body.
    pub body: Range<usize>,
    /// Content-Type, lower case; `text` where there is none.
    pub media_type: String,
    /// Its second half, lower case.
    pub subtype: String,
    /// Its parameters, names in lower case.
    pub parameters: Vec<(String, String)>,
    /// Content-ID.
    pub id: Option<String>,
    /// Content-Description.
    pub description: Option<String>,
    /// Content-Transfer-Encoding.
    pub encoding: Option<String>,
    /// Content-MD5.
    pub md5: Option<String>,
    /// Content-Location.
    pub location: Option<String>,
    /// Content-Disposition and its parameters.
    pub disposition: Option<(String, Vec<(String, String)>)>,
    /// Content-Language.
    pub language: Vec<String>,
    /// Lines of the body.
    pub lines: u64,
    /// What it holds.
    pub kind: Kind,
}

/// What a part holds.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Neither of the others.
    Basic,
    /// Text.
    Text,
    /// A message.
    Message(Box<Part>),
    /// Parts; at least one.
    Multipart(Vec<Part>),
}

impl<'a> Message<'a> {
    /// Reads a message.
    pub fn parse(raw: &'a [u8]) -> Message<'a> {
        let mut left = PARTS_MOST;
        Message { raw, root: part(raw, 0..raw.len(), ("text", "plain"), (0, &mut left)) }
    }

    /// The part of a number as RFC 3501 §6.4.5 counts them; the path is not empty.
    pub fn part(&self, path: &[u32]) -> Option<&Part> {
        let mut part = &self.root;
        for (depth, number) in path.iter().enumerate() {
            let inner = match &part.kind {
                // A message within: its parts are counted, or it is itself part 1.
                Kind::Message(inner) if depth > 0 => inner,
                _ => part,
            };
            part = match &inner.kind {
                Kind::Multipart(parts) => parts.get(usize::try_from(number.checked_sub(1)?).ok()?)?,
                _ if *number == 1 && (depth == 0 || !std::ptr::eq(inner, part)) => inner,
                _ => return None,
            };
        }
        Some(part)
    }
}

/// Where the header of these octets ends, its empty line included.
pub fn header_end(octets: &[u8]) -> usize {
    let mut at = 0;
    while at < octets.len() {
        let rest = &octets[at..];
        if rest.starts_with(b"\r\n") {
            return at + 2;
        }
        if rest.starts_with(b"\n") {
            return at + 1;
        }
        match memchr::memchr(b'\n', rest) {
            Some(end) => at += end + 1,
            None => return octets.len(),
        }
    }
    octets.len()
}

/// Where a header ends without its empty line: before the first line that is no field (RFC 5322 §2.1, §3.5).
fn unended(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < octets.len() {
        let rest = &octets[at..];
        let line = &rest[..memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1)];
        let name = line.iter().position(|octet| !octet.is_ascii_graphic() || *octet == b':').unwrap_or(line.len());
        let after = line[name..].iter().find(|octet| !matches!(octet, b' ' | b'\t'));
        let field = name > 0 && after == Some(&b':');
        let folded = at > 0 && matches!(line.first(), Some(b' ' | b'\t'));
        match line {
            b"\r\n" | b"\n" => return None,
            _ if field || folded => at += line.len(),
            _ => return Some(at),
        }
    }
    None
}

/// The two pieces of a message between which it lacks the empty line that ends its header; the second is empty where it
/// lacks none. The line that an mbox puts before a message is in neither. Mended so, every reader understands it in the
/// same way: else one finds a From where another finds text.
pub fn pieces(octets: &[u8]) -> (Range<usize>, Range<usize>) {
    let mbox = octets.starts_with(b"From ") || octets.starts_with(b">From ");
    let start = if mbox { memchr::memchr(b'\n', octets).map_or(octets.len(), |end| end + 1) } else { 0 };
    let at = unended(&octets[start..]).map_or(octets.len(), |at| start + at);
    (start..at, at..octets.len())
}

/// A message without the lines at its end that hold nothing but spaces and tabs: what relaxed DKIM makes of it
/// (RFC 6376 §3.4.4).
pub fn without_blank_tail(octets: &[u8]) -> &[u8] {
    let start = header_end(octets);
    let body = &octets[start..];
    let last = body.iter().rposition(|octet| !matches!(octet, b' ' | b'\t' | b'\r' | b'\n'));
    let end = last.map_or(0, |last| memchr::memchr(b'\n', &body[last..]).map_or(body.len(), |end| last + end + 1));
    &octets[..start + end]
}

fn part(raw: &[u8], range: Range<usize>, default: (&str, &str), (depth, left): (usize, &mut usize)) -> Part {
    *left = left.saturating_sub(1);
    let octets = &raw[range.clone()];
    let end = range.start + header_end(octets);
    let (header, body) = (range.start..end, end..range.end);
    let fields = &raw[header.clone()];
    let (media_type, subtype, parameters) = match field(fields, "Content-Type").as_deref().and_then(mime::content_type)
    {
        Some(found) => found,
        None => (default.0.to_owned(), default.1.to_owned(), Vec::new()),
    };
    let mut made = Part {
        lines: memchr::memchr_iter(b'\n', &raw[body.clone()]).count() as u64,
        id: field(fields, "Content-ID"),
        description: field(fields, "Content-Description"),
        encoding: field(fields, "Content-Transfer-Encoding").map(|text| mime::bare(&text)),
        md5: field(fields, "Content-MD5"),
        location: field(fields, "Content-Location"),
        disposition: field(fields, "Content-Disposition").as_deref().and_then(mime::disposition),
        language: field(fields, "Content-Language").map(|text| mime::words(&text)).unwrap_or_default(),
        kind: Kind::Basic,
        header,
        body: body.clone(),
        media_type,
        subtype,
        parameters,
    };
    made.kind = match (made.media_type.as_str(), made.subtype.as_str()) {
        ("text", _) => Kind::Text,
        _ if depth >= DEPTH_MOST || *left == 0 => Kind::Basic,
        ("message", "rfc822" | "global") => {
            Kind::Message(Box::new(part(raw, body, ("text", "plain"), (depth + 1, left))))
        }
        ("multipart", subtype) => {
            let default = if subtype == "digest" { ("message", "rfc822") } else { ("text", "plain") };
            let boundary = made.parameters.iter().find(|(name, _)| name == "boundary").map(|(_, value)| value.as_str());
            let ranges = boundary.map(|boundary| split(raw, &body, boundary, *left)).unwrap_or_default();
            let parts: Vec<Part> =
                ranges.into_iter().map(|range| part(raw, range, default, (depth + 1, &mut *left))).collect();
            if parts.is_empty() { Kind::Basic } else { Kind::Multipart(parts) }
        }
        _ => Kind::Basic,
    };
    let holds_parts = match made.media_type.as_str() {
        "multipart" => true,
        "message" => matches!(made.subtype.as_str(), "rfc822" | "global"),
        _ => false,
    };
    if holds_parts && matches!(made.kind, Kind::Basic) {
        // Without parts it is none: told as what it then is, octets.
        (made.media_type, made.subtype) = ("application".to_owned(), "octet-stream".to_owned());
    }
    made
}

/// The ranges between a multipart's boundaries (RFC 2046 §5.1.1).
fn split(raw: &[u8], body: &Range<usize>, boundary: &str, most: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    if boundary.is_empty() || boundary.len() > 250 {
        return ranges;
    }
    let marker = [b"--", boundary.as_bytes()].concat();
    let octets = &raw[body.clone()];
    let mut begun: Option<usize> = None;
    for at in memmem::find_iter(octets, &marker) {
        let line_start = at == 0 || octets[at - 1] == b'\n';
        let after = &octets[at + marker.len()..];
        let last = after.starts_with(b"--");
        let line_end = memchr::memchr(b'\n', after).map_or(octets.len(), |end| at + marker.len() + end + 1);
        let rest = &octets[at + marker.len()..line_end];
        let blank = rest.iter().skip(if last { 2 } else { 0 }).all(u8::is_ascii_whitespace);
        if !line_start || !blank {
            continue;
        }
        if let Some(start) = begun.take() {
            // The line end before a boundary belongs to the boundary.
            let mut end = at.saturating_sub(1).max(start);
            if end > start && octets[end - 1] == b'\r' {
                end -= 1;
            }
            ranges.push(body.start + start..body.start + end.max(start));
        }
        if last || ranges.len() >= most {
            return ranges;
        }
        begun = Some(line_end);
    }
    if let Some(start) = begun {
        ranges.push(body.start + start.min(octets.len())..body.end);
    }
    ranges
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NESTED: &[u8] =
        b"From: a@b\r\nContent-Type: multipart/mixed; boundary=\"outer\"\r\n\r\npreamble\r\n--outer\r\n\
Content-Type: text/plain; charset=utf-8\r\n\r\nhello\r\nthere\r\n--outer\r\nContent-Type: message/rfc822\r\n\r\n\
Subject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n\r\none\r\n--in\r\n\
Content-Type: text/html\r\n\r\n<p>two\r\n--in--\r\n\r\n--outer--\r\nepilogue";

    #[test]
    fn parts_are_exact_ranges() {
        let message = Message::parse(NESTED);
        let text = |path: &[u32]| {
            message.part(path).map(|part| String::from_utf8(NESTED[part.body.clone()].to_vec()).unwrap())
        };
        assert_eq!(text(&[1]).unwrap(), "hello\r\nthere");
        assert!(text(&[2]).unwrap().starts_with("Subject: inner\r\n"));
        assert_eq!(text(&[2, 1]).unwrap(), "one");
        assert_eq!(text(&[2, 2]).unwrap(), "<p>two");
        assert!(text(&[3]).is_none() && text(&[1, 1]).is_none() && text(&[2, 3]).is_none() && text(&[0]).is_none());
        let plain = Message::parse(b"Subject: x\r\n\r\nbody");
        assert_eq!(&plain.raw[plain.part(&[1]).unwrap().body.clone()], b"body");
        assert!(plain.part(&[2]).is_none() && plain.part(&[1, 1]).is_none());
    }

    #[test]
    fn odd_messages_are_still_messages() {
        for (raw, end) in [(&b""[..], 0), (b"\r\nx", 2), (b"no header", 9), (b"A: b\n\nbody", 6), (b"A: b\r\n", 6)] {
            assert_eq!(Message::parse(raw).root.header.end, end, "{}", raw.escape_ascii());
        }
        let unended = b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x\n\nb";
        assert!(matches!(Message::parse(unended).root.kind, Kind::Multipart(parts) if parts.len() == 2));
        let deep = [b"Content-Type: message/rfc822\r\n\r\n".repeat(500), b"x".to_vec()].concat();
        Message::parse(&deep);
    }

    #[test]
    fn a_header_ends_where_its_fields_do() {
        for (raw, want) in [
            (&b"A: b\r\n\r\nbody"[..], &b"A: b\r\n\r\nbody"[..]),
            (b"hello\r\nthere\r\n", b"\r\nhello\r\nthere\r\n"),
            (b"A: b\r\ngarbage\r\nFrom: x\r\n\r\n", b"A: b\r\n\r\ngarbage\r\nFrom: x\r\n\r\n"),
            (b" A: b\r\n", b"\r\n A: b\r\n"),
            (b"From x Mon\r\nA : b\r\n c\r\n", b"A : b\r\n c\r\n"),
            (b"", b""),
        ] {
            let (first, second) = pieces(raw);
            let between = if second.is_empty() { &b""[..] } else { b"\r\n" };
            let mended = [&raw[first], between, &raw[second]].concat();
            assert_eq!(mended, want, "{}", raw.escape_ascii());
        }
        for (raw, want) in [
            (&b"A: b\r\n\r\na\r\n \r\n\t\r\n"[..], &b"A: b\r\n\r\na\r\n"[..]),
            (b"A: b\r\n\r\n \r\n", b"A: b\r\n\r\n"),
            (b"A: b\r\n\r\na ", b"A: b\r\n\r\na "),
        ] {
            assert_eq!(without_blank_tail(raw), want, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn noise_never_panics() {
        let mut state = 88_172_645_463_325_252_u64;
        for _ in 0..3_000 {
            let mut raw = NESTED.to_vec();
            for _ in 0..8 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = usize::try_from(state >> 8).unwrap() % raw.len();
                match state % 3 {
                    0 => raw[at] = b"\r\n\0\"=;:-\xff"[usize::try_from(state >> 40).unwrap() % 9],
                    1 => drop(raw.drain(at..(at + 7).min(raw.len()))),
                    _ => raw.extend_from_within(at..),
                }
            }
            let message = Message::parse(&raw);
            let header = &raw[message.root.header.clone()];
            let _ = (envelope(header), header_fields(header, &["to".into()], true), texts(&raw), sent_date(header));
            let _ = (authors(header).is_ok(), message.part(&[2, 1]).map(|part| raw[part.body.clone()].len()));
        }
    }
}
