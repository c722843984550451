//! Reading master files (RFC 1035 §5): what a name server or a provider's export gives.
//!
//! Names are made absolute, strings are unescaped; `$INCLUDE` and `$GENERATE` are refused. Linear in the text.

use super::{Kind, Rdata};
use schema::name::DomainName;
use schema::unit::Period;
use std::ops::Range;
use std::sync::Arc;

/// The most records of one file.
pub const MOST_ENTRIES: usize = 1_000_000;
/// The most values of one record.
const MOST_TOKENS: usize = 4_096;

/// Why a text is no master file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct MasterError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A record as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The owner: absolute, without the final dot, in lower case.
    pub name: String,
    /// How long it may be cached, in seconds, where that is said.
    pub ttl: Option<u64>,
    /// The type, in upper case.
    pub kind: String,
    /// The values, unescaped.
    pub data: Vec<Vec<u8>>,
    /// Its lines, the last one's end included.
    pub span: Range<usize>,
    /// It is written without its name, which is the one before it.
    pub indented: bool,
    /// Where the serial number of a SOA record is written.
    pub serial: Option<Range<usize>>,
    /// What relative names in it end in.
    origin: Arc<str>,
}

impl Entry {
    /// The value, where the type is one that mail needs and the value is right.
    pub fn rdata(&self) -> Option<Rdata> {
        let kind = Kind::named(&self.kind)?;
        if kind == Kind::Txt {
            return String::from_utf8(self.data.concat()).ok().map(Rdata::Txt);
        }
        let words: Option<Vec<&str>> = self.data.iter().map(|word| std::str::from_utf8(word).ok()).collect();
        let words = words?;
        let text = match (kind, words.split_last()) {
            (Kind::Cname | Kind::Mx | Kind::Srv, Some((target, front))) => {
                let target = absolute(target, &self.origin);
                let target = if target.is_empty() { ".".to_owned() } else { format!("{target}.") };
                front.iter().copied().chain([target.as_str()]).collect::<Vec<_>>().join(" ")
            }
            (Kind::Caa, Some((value, front))) => format!("{} \"{value}\"", front.join(" ")),
            _ => words.join(" "),
        };
        Rdata::parse(kind, &text).ok()
    }
}

/// A value as master files and [`Rdata`]'s `Display` have it; TXT may be longer and stranger than an operator's.
pub fn value(kind: Kind, text: &str) -> Option<Rdata> {
    if let Some(value) = plain(kind, text) {
        return Some(value);
    }
    let line = format!(". IN {} {text}\n", kind.name());
    let mut entries = read(&line, None).ok()?.into_iter();
    let entry = entries.next().filter(|_| entries.next().is_none())?;
    entry.rdata()
}

/// Strings in quotes, a blank between them, as they are written here; joined.
fn quoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut joined = String::with_capacity(inner.len());
    for piece in inner.split("\" \"") {
        if piece.contains('"') || piece.len() > 255 {
            return None;
        }
        joined.push_str(piece);
    }
    Some(joined)
}

/// Octets in hex, as they are written here.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).filter(|_| !c.is_ascii_uppercase());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let octet = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    if rest.is_empty() && !pairs.is_empty() { pairs.iter().map(octet).collect() } else { None }
}

/// A value without escapes, comments and brackets, as nearly all are: read without a reader, which a state of
/// ten thousand zones shows. `None` where it is not so plain.
fn plain(kind: Kind, text: &str) -> Option<Rdata> {
    if text.bytes().any(|c| matches!(c, b'\\' | b'(' | b')' | b'\n' | b'\r' | b'\t')) {
        return None;
    }
    if kind == Kind::Txt {
        return Some(Rdata::Txt(quoted(text)?));
    }
    if kind == Kind::Caa {
        let mut words = text.splitn(3, ' ');
        let (flags, tag, value) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
        let is_tag = !tag.is_empty() && tag.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let value =
            value.strip_prefix('"')?.strip_suffix('"').filter(|value| !value.contains('"') && value.len() <= 255);
        return Some(Rdata::Caa(flags, Some(tag).filter(|_| is_tag)?.to_owned(), value?.to_owned()));
    }
    if text.contains(['"', ';']) {
        return None;
    }
    let mut words = text.split(' ');
    let mut word = || words.next();
    let host = |text: &str| match text {
        "." => Some(None),
        text => text.strip_suffix('.')?.parse::<DomainName>().ok().map(Some),
    };
    let value = match kind {
        Kind::A => Rdata::A(word()?.parse().ok()?),
        Kind::Aaaa => Rdata::Aaaa(word()?.parse().ok()?),
        Kind::Cname => Rdata::Cname(host(word()?)??),
        Kind::Mx => Rdata::Mx(word()?.parse().ok()?, host(word()?)?),
        Kind::Srv => {
            let (priority, weight, port) = (word()?.parse().ok()?, word()?.parse().ok()?, word()?.parse().ok()?);
            Rdata::Srv(priority, weight, port, host(word()?)?)
        }
        Kind::Tlsa => {
            let (usage, selector, matching) = (word()?.parse().ok()?, word()?.parse().ok()?, word()?.parse().ok()?);
            Rdata::Tlsa(usage, selector, matching, hex(word()?)?)
        }
        Kind::Caa | Kind::Txt => return None,
    };
    word().is_none().then_some(value)
}

/// Reads a master file; `origin` is what names end in before the first `$ORIGIN`.
///
/// # Errors
/// [`MasterError`] of the first line that is wrong.
pub fn read(text: &str, origin: Option<&DomainName>) -> Result<Vec<Entry>, MasterError> {
    let mut reader = Reader {
        text: text.as_bytes(),
        at: 0,
        line: 1,
        origin: origin.map(|origin| Arc::from(origin.as_str())),
        owner: None,
        ttl: None,
        entries: Vec::new(),
    };
    while let Some(record) = reader.record()? {
        let line = record.line;
        reader.take(record).map_err(|why| MasterError { line, why })?;
    }
    Ok(reader.entries)
}

/// A word, and whether it stood in quotes.
struct Word {
    octets: Vec<u8>,
    quoted: bool,
    span: Range<usize>,
}

/// A record's words.
struct Record {
    words: Vec<Word>,
    /// It begins with a space.
    indented: bool,
    /// Its first line, from 1.
    line: usize,
    span: Range<usize>,
}

impl Word {
    fn is(&self, text: &str) -> bool {
        !self.quoted && self.octets.eq_ignore_ascii_case(text.as_bytes())
    }

    fn text(&self) -> Result<&str, &'static str> {
        std::str::from_utf8(&self.octets).map_err(|_| "a name that is not UTF-8")
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    origin: Option<Arc<str>>,
    owner: Option<String>,
    ttl: Option<u64>,
    entries: Vec<Entry>,
}

impl Reader<'_> {
    /// The next record.
    fn record(&mut self) -> Result<Option<Record>, MasterError> {
        let (mut words, mut depth, mut indented, mut begun) = (Vec::new(), 0_usize, false, self.line);
        let (mut fresh, mut start) = (true, self.at);
        while let Some(octet) = self.text.get(self.at).copied() {
            match octet {
                b'\n' => {
                    self.at += 1;
                    self.line += 1;
                    if depth == 0 && !words.is_empty() {
                        return Ok(Some(Record { words, indented, line: begun, span: start..self.at }));
                    }
                    if depth == 0 {
                        (fresh, indented, begun, start) = (true, false, self.line, self.at);
                    }
                    continue;
                }
                b' ' | b'\t' | b'\r' => {
                    indented |= fresh && octet != b'\r';
                    self.at += 1;
                }
                b';' => {
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    self.at += rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len());
                }
                b'(' => {
                    depth += 1;
                    self.at += 1;
                }
                b')' => {
                    depth = depth.checked_sub(1).ok_or(self.wrong("a `)` without `(`"))?;
                    self.at += 1;
                }
                _ => {
                    if words.len() == MOST_TOKENS {
                        return Err(self.wrong("a record of too many words"));
                    }
                    let word = self.word(octet == b'"')?;
                    words.push(word);
                }
            }
            fresh = false;
        }
        if depth > 0 {
            return Err(MasterError { line: begun, why: "a `(` without `)`" });
        }
        Ok((!words.is_empty()).then_some(Record { words, indented, line: begun, span: start..self.at }))
    }

    fn wrong(&self, why: &'static str) -> MasterError {
        MasterError { line: self.line, why }
    }

    fn word(&mut self, quoted: bool) -> Result<Word, MasterError> {
        let start = self.at;
        self.at += usize::from(quoted);
        let mut octets = Vec::new();
        while let Some(octet) = self.text.get(self.at).copied() {
            match octet {
                b'"' if quoted => {
                    self.at += 1;
                    return Ok(Word { octets, quoted, span: start..self.at });
                }
                b'\n' if quoted => return Err(self.wrong("a string that does not end on its line")),
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"' if !quoted => break,
                b'\\' => {
                    let digits = self.text.get(self.at + 1..self.at + 4).filter(|d| d.iter().all(u8::is_ascii_digit));
                    match (digits, self.text.get(self.at + 1)) {
                        (Some(digits), _) => {
                            let number = digits.iter().fold(0_u16, |n, digit| n * 10 + u16::from(digit - b'0'));
                            octets.push(u8::try_from(number).map_err(|_| self.wrong("an escape over 255"))?);
                            self.at += 4;
                        }
                        // A dot within a label; the name that it stands in is none that is known here.
                        (None, Some(b'.')) if !quoted => {
                            octets.extend(b"\\.");
                            self.at += 2;
                        }
                        (None, Some(b'\n') | None) => return Err(self.wrong("a `\\` at the end of a line")),
                        (None, Some(octet)) => {
                            octets.push(*octet);
                            self.at += 2;
                        }
                    }
                }
                octet => {
                    octets.push(octet);
                    self.at += 1;
                }
            }
        }
        if quoted {
            return Err(self.wrong("a string that does not end"));
        }
        Ok(Word { octets, quoted, span: start..self.at })
    }

    fn take(&mut self, record: Record) -> Result<(), &'static str> {
        let Record { words, indented, span, .. } = record;
        if let [word, rest @ ..] = words.as_slice()
            && !word.quoted
            && word.octets.first() == Some(&b'$')
        {
            return self.directive(word, rest);
        }
        let mut words = words.into_iter().peekable();
        let name = if indented {
            self.owner.clone().ok_or("a record before any name")?
        } else {
            let word = words.next().ok_or("an empty record")?;
            let origin = self.origin.clone().unwrap_or_default();
            let text = word.text()?;
            if origin.is_empty() && !text.ends_with('.') {
                return Err("a relative name, and it is not known what it ends in: write `$ORIGIN`");
            }
            absolute(text, &origin)
        };
        self.owner = Some(name.clone());
        let mut ttl = self.ttl;
        while let Some(word) = words.peek().filter(|word| !word.quoted) {
            if word.is("IN") {
                words.next();
            } else if word.is("CH") || word.is("HS") || word.is("CS") {
                return Err("a class that is not IN");
            } else if let Some(said) = word.octets.first().filter(|d| d.is_ascii_digit()).and_then(|_| seconds(word)) {
                ttl = Some(said);
                words.next();
            } else {
                break;
            }
        }
        let kind = words.next().ok_or("a record without type")?;
        let kind = kind.text()?.to_ascii_uppercase();
        if self.entries.len() == MOST_ENTRIES {
            return Err("more records than are read");
        }
        let words: Vec<Word> = words.collect();
        let serial = words.get(2).filter(|_| kind == "SOA").map(|word| word.span.clone());
        let data = words.into_iter().map(|word| word.octets).collect();
        let origin = self.origin.clone().unwrap_or_default();
        self.entries.push(Entry { name, ttl, kind, data, span, indented, serial, origin });
        Ok(())
    }

    fn directive(&mut self, word: &Word, rest: &[Word]) -> Result<(), &'static str> {
        if word.is("$ORIGIN") {
            let [origin] = rest else { return Err("`$ORIGIN` takes one name") };
            let before = self.origin.clone().unwrap_or_default();
            self.origin = Some(absolute(origin.text()?, &before).into());
            return Ok(());
        }
        if word.is("$TTL") {
            let [ttl] = rest else { return Err("`$TTL` takes one number") };
            self.ttl = Some(seconds(ttl).ok_or("`$TTL` takes a number of seconds, or `1h`")?);
            return Ok(());
        }
        Err(if word.is("$INCLUDE") {
            "`$INCLUDE` is not followed: put the files into one"
        } else {
            "a directive that is not known here; `$ORIGIN` and `$TTL` are"
        })
    }
}

/// Seconds, or BIND's `1h30m`.
fn seconds(word: &Word) -> Option<u64> {
    let text = word.text().ok()?.to_ascii_lowercase();
    text.parse().ok().or_else(|| text.parse::<Period>().ok().map(|period| period.0))
}

/// A name without its final dot, in lower case; the root is empty.
fn absolute(name: &str, origin: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.strip_suffix('.') {
        Some(whole) if !whole.ends_with('\\') => whole.to_owned(),
        _ if name == "@" => origin.to_owned(),
        _ if origin.is_empty() => name,
        _ => format!("{name}.{origin}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &str = r#"
$TTL 1h
$ORIGIN Example.ORG.
@   IN  SOA ns1 hostmaster (  ; the start
        2026010101 3600
        900 1209600 300 )
    IN  NS  ns1
    600 MX  10 mail
        IN 1h30m MX 20 mail.example.net.
mail A 192.0.2.1
     AAAA 2001:db8::1
@ TXT ( "v=spf1 mx "
        "-all" )
sel._domainkey TXT "v=DKIM1; p=\065BC" "D\"E"
$ORIGIN sub
www CNAME @
x\.y A 192.0.2.9
* MX 0 .
@ CAA 0 issue "letsencrypt.org; a=b"
"#;

    #[test]
    fn plain_values_are_what_the_reader_reads() {
        for (kind, text) in [
            (Kind::A, "192.0.2.1"),
            (Kind::Aaaa, "2001:DB8::1"),
            (Kind::Cname, "Mail.Example.Org."),
            (Kind::Mx, "10 mail.example.org."),
            (Kind::Mx, "0 ."),
            (Kind::Srv, "0 1 993 mail.example.org."),
            (Kind::Txt, "\"v=spf1 mx; (-all)\""),
            (Kind::Txt, "\"\""),
            (Kind::Txt, "\"Käse\""),
            (Kind::Txt, "\"a; b\" \"c\""),
            (Kind::Caa, "0 issue \"ca.example; validationmethods=http-01\""),
            (Kind::Caa, "128 iodef \"\""),
            (Kind::Tlsa, "3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ] {
            let read = read(&format!(". IN {} {text}\n", kind.name()), None).unwrap();
            // One that the reader writes otherwise is left to it.
            if kind != Kind::Txt || !text.contains('(') {
                assert_eq!(plain(kind, text), read[0].rdata(), "{text}");
            }
            assert_eq!(value(kind, text), read[0].rdata(), "{text}");
        }
        for (kind, text) in [
            (Kind::A, "192.0.2.1 192.0.2.2"),
            (Kind::A, ""),
            (Kind::Cname, "mail"),
            (Kind::Mx, "10 mail.example.org. x"),
            (Kind::Mx, "-1 mail.example.org."),
            (Kind::Txt, "\"a\"  \"b\""),
            (Kind::Txt, "\"a\" b"),
            (Kind::Tlsa, "3 1 1 E3B0"),
            (Kind::Tlsa, "3 1 1 e3b"),
            (Kind::Caa, "0 ISSUE \"ca.example\""),
            (Kind::Caa, "0 issue ca.example"),
            (Kind::Txt, "\"a\\\"\""),
            (Kind::Txt, "\""),
        ] {
            assert_eq!(plain(kind, text), None, "{text}");
        }
    }

    #[test]
    fn a_master_file_is_read_with_all_its_turns() {
        let entries = read(FILE, None).unwrap();
        let seen: Vec<String> = entries
            .iter()
            .filter(|entry| Kind::named(&entry.kind).is_some())
            .map(|entry| {
                let value = entry.rdata().map(|value| value.to_string()).unwrap_or_default();
                format!("{} {} {} {value}", entry.name, entry.ttl.unwrap_or(0), entry.kind)
            })
            .collect();
        assert_eq!(
            seen,
            [
                "example.org 600 MX 10 mail.example.org.",
                "example.org 5400 MX 20 mail.example.net.",
                "mail.example.org 3600 A 192.0.2.1",
                "mail.example.org 3600 AAAA 2001:db8::1",
                "example.org 3600 TXT \"v=spf1 mx -all\"",
                "sel._domainkey.example.org 3600 TXT \"v=DKIM1; p=ABCD\\\"E\"",
                "www.sub.example.org 3600 CNAME sub.example.org.",
                "x\\.y.sub.example.org 3600 A 192.0.2.9",
                "*.sub.example.org 3600 MX 0 .",
                "sub.example.org 3600 CAA 0 issue \"letsencrypt.org; a=b\"",
            ]
        );
        assert_eq!((entries.len(), entries[0].data.len()), (12, 7));
    }

    #[test]
    fn what_is_no_master_file_is_refused_by_its_line() {
        for (text, line, why) in [
            ("\n$INCLUDE other", 2, "INCLUDE"),
            ("$GENERATE 1-9 a A 1", 1, "directive"),
            ("a. A (", 1, "without `)`"),
            ("a. A )", 1, "without `(`"),
            ("a. TXT \"x", 1, "does not end"),
            ("a. TXT \"x\ny\"", 1, "on its line"),
            ("a. TXT \\999", 1, "over 255"),
            (" A 1", 1, "before any name"),
            ("a A 1", 1, "relative"),
            ("a. CH TXT x", 1, "class"),
            ("a.", 1, "without type"),
        ] {
            let error = read(text, None).unwrap_err();
            assert!(error.line == line && error.why.contains(why), "{text}: {error}");
        }
        // Quadratic, this would take minutes.
        for piece in ["(", "\\", "a. A 1\n", "\"\" ", ";", "\n", " ("] {
            let _ = read(&piece.repeat(300_000), None);
        }
    }
}
