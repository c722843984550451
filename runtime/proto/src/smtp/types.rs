//! What RFC 5321 and its extensions name.

use super::{DOMAIN_MOST, LOCAL_MOST};
use std::fmt::{self, Display};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A reverse or forward path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// `<>`
    Null,
    /// `<postmaster>` without a domain (RFC 5321 §4.1.1.3).
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// RFC 5321 §4.1.2 `Mailbox`, as the wire has it; what a configuration names is something else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// The local part without quotes and backslashes.
    pub local: String,
    /// Behind the `@`.
    pub host: Host,
}

/// Behind the `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A domain in lower case; may hold U-labels (RFC 6531).
    Domain(String),
    /// `[192.0.2.1]`
    Ipv4(Ipv4Addr),
    /// `[IPv6:2001:db8::1]`
    Ipv6(Ipv6Addr),
}

impl Path {
    /// Reads what stands between the brackets, all of it.
    pub fn parse(text: &str) -> Option<Path> {
        if text.is_empty() {
            return Some(Path::Null);
        }
        if text.eq_ignore_ascii_case("postmaster") {
            return Some(Path::Postmaster);
        }
        Mailbox::parse(text).map(Path::Mailbox)
    }
    /// Whether it needs SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        match self {
            Path::Mailbox(mailbox) => mailbox.to_string().is_ascii(),
            _ => true,
        }
    }
}

impl Mailbox {
    /// Reads a mailbox.
    pub fn parse(text: &str) -> Option<Mailbox> {
        let (local, rest) = local_part(text)?;
        let host = Host::parse(rest.strip_prefix('@')?)?;
        Some(Mailbox { local, host })
    }
}

/// Reads a dot-string or quoted string; returns what follows it.
fn local_part(text: &str) -> Option<(String, &str)> {
    let mut local = String::new();
    let rest = if let Some(quoted) = text.strip_prefix('"') {
        let mut chars = quoted.char_indices();
        loop {
            match chars.next()? {
                (at, '"') => break &quoted[at + 1..],
                (_, '\\') => match chars.next()?.1 {
                    c if (' '..='~').contains(&c) => local.push(c),
                    _ => return None,
                },
                (_, c) if c == ' ' || c.is_ascii_graphic() || !c.is_ascii() => local.push(c),
                _ => return None,
            }
        }
    } else {
        let end = text.find('@')?;
        let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii();
        let dots = text[..end].split('.').all(|atoms| !atoms.is_empty() && atoms.chars().all(atom));
        if !dots {
            return None;
        }
        local.push_str(&text[..end]);
        &text[end..]
    };
    let fine = (1..=LOCAL_MOST).contains(&local.len()) && !local.chars().any(|c| c.is_control());
    fine.then_some((local, rest))
}

impl Host {
    /// Reads a domain or an address literal.
    pub fn parse(text: &str) -> Option<Host> {
        if let Some(literal) = text.strip_prefix('[') {
            let literal = literal.strip_suffix(']')?;
            return match literal.get(..5) {
                Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => literal[5..].parse().ok().map(Host::Ipv6),
                _ => literal.parse().ok().map(Host::Ipv4),
            };
        }
        let label = |label: &str| {
            let inner =
                |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || (!c.is_ascii() && !c.is_control());
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| inner(c) && !c.is_whitespace())
        };
        let domain = text.strip_suffix('.').unwrap_or(text);
        let fine = (1..=DOMAIN_MOST).contains(&domain.len()) && domain.split('.').all(label);
        fine.then(|| Host::Domain(domain.to_lowercase()))
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Null => Ok(()),
            Path::Postmaster => f.write_str("postmaster"),
            Path::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

impl Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii();
        if self.local.split('.').all(|atoms| !atoms.is_empty() && atoms.chars().all(atom)) {
            return write!(f, "{}@{}", self.local, self.host);
        }
        let quoted = self.local.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "\"{quoted}\"@{}", self.host)
    }
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Domain(domain) => f.write_str(domain),
            Host::Ipv4(address) => write!(f, "[{address}]"),
            Host::Ipv6(address) => write!(f, "[IPv6:{address}]"),
        }
    }
}

/// MAIL's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParams {
    /// SIZE (RFC 1870), in octets.
    pub size: Option<u64>,
    /// Whether BODY=8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// RET (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// ENVID, decoded (RFC 3461 §4.4).
    pub envid: Option<String>,
}

/// RFC 3461 §4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// `FULL`
    Full,
    /// `HDRS`
    Headers,
}

/// RCPT's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RcptParams {
    /// NOTIFY (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT: the address' type, and the address decoded (RFC 3461 §4.2).
    pub orcpt: Option<(String, String)>,
}

/// RFC 3461 §4.1; none set is `NEVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// `SUCCESS`
    pub success: bool,
    /// `FAILURE`
    pub failure: bool,
    /// `DELAY`
    pub delay: bool,
}

/// A reply, ours or another server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    lines: Vec<String>,
}

impl Reply {
    /// A reply of one line; line ends in the text become spaces.
    pub fn new(code: u16, enhanced: Option<(u8, u16, u16)>, text: &str) -> Reply {
        Reply::of_lines(code, enhanced, vec![text.to_owned()])
    }
    /// A reply of several lines.
    pub fn of_lines(code: u16, enhanced: Option<(u8, u16, u16)>, lines: Vec<String>) -> Reply {
        let plain = |line: String| {
            let mut line = line.replace(|c: char| c.is_control(), " ");
            // RFC 5321 §4.5.3.1.5: 512 octets a line.
            line.truncate(line.floor_char_boundary(490));
            line
        };
        Reply { code, enhanced, lines: lines.into_iter().map(plain).collect() }
    }
    /// 503 5.5.1
    pub fn bad_sequence() -> Reply {
        Reply::new(503, Some((5, 5, 1)), "commands are out of order")
    }
    /// Three digits.
    pub fn code(&self) -> u16 {
        self.code
    }
    /// RFC 3463's status, given or made from the code.
    pub fn status(&self) -> String {
        match self.enhanced {
            Some((class, subject, detail)) => format!("{class}.{subject}.{detail}"),
            None => format!("{}.0.0", self.code / 100),
        }
    }
    /// Its lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
    /// Its lines, joined by spaces.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }
    /// As it goes over the wire.
    pub fn encode(&self) -> String {
        let enhanced = self.enhanced.map(|(a, b, c)| format!("{a}.{b}.{c} ")).unwrap_or_default();
        let mut out = String::new();
        for (at, line) in self.lines.iter().enumerate() {
            let between = if at + 1 < self.lines.len() { '-' } else { ' ' };
            out.push_str(&format!("{}{between}{enhanced}{line}\r\n", self.code));
        }
        out
    }
}

impl Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.status(), self.text())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_read_and_written_as_they_were() {
        for text in [
            "ada@example.org",
            "\"a b\"@example.org",
            "\"a\\\"b\"@example.org",
            "a+b@[192.0.2.1]",
            "a@[IPv6:2001:db8::1]",
            "grüße@bücher.example",
            "x@y",
            "",
            "postmaster",
        ] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        for wrong in [
            "a",
            "@b",
            "a@",
            "a..b@c",
            ".a@c",
            "a@-b.c",
            "a@b..c",
            "\"a@b",
            "a b@c",
            "a@[1.2.3]",
            "a@b c",
            "a\0@b",
            "a@[IPv6:zz]",
            "\"\n\"@b",
        ] {
            assert!(Path::parse(wrong).is_none(), "{wrong}");
        }
        assert!(Path::parse(&format!("{}@b.c", "x".repeat(65))).is_none());
        assert_eq!(Path::parse("Ada@EXAMPLE.org.").unwrap().to_string(), "Ada@example.org");
    }
}
