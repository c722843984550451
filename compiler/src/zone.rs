//! A zone: record sets by name and type, as master-file text (RFC 1035 §5) and as `records.json`.

pub mod master;
pub mod wire;

use crate::diagnostic::Path;
use schema::name::DomainName;
use schema::unit::Period;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The types of records that mail needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// RFC 1035 §3.4.1.
    A,
    /// RFC 3596.
    Aaaa,
    /// RFC 8659.
    Caa,
    /// RFC 1035 §3.3.1.
    Cname,
    /// RFC 1035 §3.3.9.
    Mx,
    /// RFC 2782.
    Srv,
    /// RFC 6698.
    Tlsa,
    /// RFC 1035 §3.3.14.
    Txt,
}

impl Kind {
    /// Every type.
    pub const ALL: [Kind; 8] =
        [Kind::A, Kind::Aaaa, Kind::Caa, Kind::Cname, Kind::Mx, Kind::Srv, Kind::Tlsa, Kind::Txt];

    /// `AAAA`
    pub fn name(self) -> &'static str {
        match self {
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Caa => "CAA",
            Kind::Cname => "CNAME",
            Kind::Mx => "MX",
            Kind::Srv => "SRV",
            Kind::Tlsa => "TLSA",
            Kind::Txt => "TXT",
        }
    }

    /// The type of that name, in any case.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

/// A record's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rdata {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Flags, tag, value.
    Caa(u8, String, String),
    /// The name that is meant.
    Cname(DomainName),
    /// Preference, and the host; no host is the null MX (RFC 7505).
    Mx(u16, Option<DomainName>),
    /// Priority, weight, port, and the host; no host: the service is not offered.
    Srv(u16, u16, u16, Option<DomainName>),
    /// Usage, selector, matching type, and data.
    Tlsa(u8, u8, u8, Vec<u8>),
    /// The text, its strings joined.
    Txt(String),
}

impl Rdata {
    /// Reads a value as an operator writes it; TXT without quotes.
    ///
    /// # Errors
    /// [`Wants`].
    pub fn parse(kind: Kind, text: &str) -> Result<Rdata, Wants> {
        // A name of one label without a final dot would be relative in a master file, and is not clear here.
        let name = |text: &str| text.parse::<DomainName>().ok().filter(|_| text.contains('.'));
        let target = |text: &str| if text == "." { Some(None) } else { name(text).map(Some) };
        let parts: Vec<&str> = text.split_whitespace().collect();
        let value = match (kind, parts.as_slice()) {
            (Kind::Txt, _) => {
                (text.len() <= 4000 && !text.contains(char::is_control)).then(|| Rdata::Txt(text.to_owned()))
            }
            (Kind::A, [address]) => address.parse().ok().map(Rdata::A),
            (Kind::Aaaa, [address]) => address.parse().ok().map(Rdata::Aaaa),
            (Kind::Cname, [to]) => name(to).map(Rdata::Cname),
            (Kind::Mx, [preference, host]) => (|| Some(Rdata::Mx(preference.parse().ok()?, target(host)?)))(),
            (Kind::Srv, [priority, weight, port, host]) => {
                (|| Some(Rdata::Srv(priority.parse().ok()?, weight.parse().ok()?, port.parse().ok()?, target(host)?)))()
            }
            (Kind::Tlsa, [usage, selector, matching, data @ ..]) => (|| {
                let number = |text: &str, most: u8| text.parse::<u8>().ok().filter(|number| *number <= most);
                let (usage, selector, matching) = (number(usage, 3)?, number(selector, 1)?, number(matching, 2)?);
                let fits = |data: &Vec<u8>| match matching {
                    1 => data.len() == 32,
                    2 => data.len() == 64,
                    _ => !data.is_empty(),
                };
                Some(Rdata::Tlsa(usage, selector, matching, hex(&data.concat()).filter(fits)?))
            })(),
            (Kind::Caa, [flags, tag, ..]) => (|| {
                let value = text.trim_start().strip_prefix(flags)?.trim_start().strip_prefix(tag)?.trim();
                let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
                let plain = tag.chars().all(|c| c.is_ascii_alphanumeric()) && value.is_ascii() && !value.contains('"');
                plain.then_some(Rdata::Caa(flags.parse().ok()?, (*tag).to_owned(), value.to_owned()))
            })(),
            _ => None,
        };
        value.ok_or_else(|| Wants::of(kind, parts.last().copied().unwrap_or_default()))
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Rdata::A(_) => Kind::A,
            Rdata::Aaaa(_) => Kind::Aaaa,
            Rdata::Caa(..) => Kind::Caa,
            Rdata::Cname(_) => Kind::Cname,
            Rdata::Mx(..) => Kind::Mx,
            Rdata::Srv(..) => Kind::Srv,
            Rdata::Tlsa(..) => Kind::Tlsa,
            Rdata::Txt(_) => Kind::Txt,
        }
    }

    /// The name that the value points at.
    pub fn target(&self) -> Option<&DomainName> {
        match self {
            Rdata::Cname(name) => Some(name),
            Rdata::Mx(_, name) | Rdata::Srv(_, _, _, name) => name.as_ref(),
            _ => None,
        }
    }
}

/// What a type wants of a value that it does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wants {
    /// A phrase.
    pub form: &'static str,
    /// How to mend it, where that is clear.
    pub help: Option<String>,
}

impl Wants {
    fn of(kind: Kind, last: &str) -> Wants {
        let names = matches!(kind, Kind::Cname | Kind::Mx | Kind::Srv);
        let relative = names && !last.contains('.') && last.parse::<DomainName>().is_ok();
        let help = relative.then(|| format!("write the whole name, as in `{last}.example.org`, or `{last}.`"));
        let form = match kind {
            Kind::A => "an IPv4 address",
            Kind::Aaaa => "an IPv6 address",
            Kind::Caa => "`FLAGS TAG VALUE`, as in `0 issue letsencrypt.org`",
            Kind::Cname => "a domain name",
            Kind::Mx => "`PREFERENCE HOST`, as in `10 mail.example.org`",
            Kind::Srv => "`PRIORITY WEIGHT PORT HOST`",
            Kind::Tlsa => {
                "`USAGE SELECTOR MATCHING HEX`: 0 to 3, 0 or 1, 0 to 2, and 32 octets for 1, 64 for 2 (RFC 6698 §2.1)"
            }
            Kind::Txt => "text of at most 4000 octets without control characters",
        };
        Wants { form, help }
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let octet = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    (digits.len().is_multiple_of(2) && text.bytes().all(|d| d.is_ascii_hexdigit()))
        .then(|| digits.chunks(2).map(octet).collect::<Option<Vec<u8>>>())?
}

/// As a master file has it; names absolute, TXT in strings of at most 255 octets.
impl fmt::Display for Rdata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn host(name: Option<&DomainName>) -> String {
            name.map_or_else(|| ".".to_owned(), |name| format!("{name}."))
        }
        match self {
            Rdata::A(address) => address.fmt(f),
            Rdata::Aaaa(address) => address.fmt(f),
            Rdata::Caa(flags, tag, value) => write!(f, "{flags} {tag} {}", quoted(value.as_bytes())),
            Rdata::Cname(name) => write!(f, "{name}."),
            Rdata::Mx(preference, name) => write!(f, "{preference} {}", host(name.as_ref())),
            Rdata::Srv(priority, weight, port, name) => {
                write!(f, "{priority} {weight} {port} {}", host(name.as_ref()))
            }
            Rdata::Tlsa(usage, selector, matching, data) => {
                write!(f, "{usage} {selector} {matching} ")?;
                data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
            Rdata::Txt(text) if text.is_empty() => f.write_str("\"\""),
            Rdata::Txt(text) => {
                for (at, string) in text.as_bytes().chunks(255).enumerate() {
                    f.write_str(if at > 0 { " " } else { "" })?;
                    f.write_str(&quoted(string))?;
                }
                Ok(())
            }
        }
    }
}

/// A character-string in quotes (RFC 1035 §5.1).
fn quoted(octets: &[u8]) -> String {
    let mut text = String::from("\"");
    for octet in octets {
        match octet {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(*octet));
            }
            b' '..=b'~' => text.push(char::from(*octet)),
            // Writing to a String cannot fail.
            _ => drop(write!(text, "\\{octet:03}")),
        }
    }
    text + "\""
}

/// Why a record set is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What it does, one sentence.
    pub why: &'static str,
    /// The rule that it comes from.
    pub rule: &'static str,
    /// Where the spec asks for it, or the domain's node where a default does.
    pub at: Path,
    /// Whether the spec asks for it; else it is a default.
    pub given: bool,
}

/// The records of one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// The owner.
    pub name: DomainName,
    /// The type.
    pub kind: Kind,
    /// How long it may be cached.
    pub ttl: Period,
    /// The values, sorted.
    pub values: Vec<Rdata>,
    /// Why it is there; several where the spec's own values stand beside derived ones.
    pub origins: Vec<Origin>,
}

/// As `records.json` has it.
impl Serialize for RecordSet {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct Values<'a>(&'a [Rdata]);
        impl Serialize for Values<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_seq(self.0.iter().map(Value))
            }
        }
        struct Value<'a>(&'a Rdata);
        impl Serialize for Value<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self.0)
            }
        }
        let mut set = to.serialize_struct("RecordSet", 4)?;
        set.serialize_field("name", &self.name)?;
        set.serialize_field("ttl", &self.ttl.0)?;
        set.serialize_field("type", self.kind.name())?;
        set.serialize_field("values", &Values(&self.values))?;
        set.end()
    }
}

/// A zone without SOA and NS, which are its name server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The zone's name.
    pub name: DomainName,
    /// The time to live that is not said for each record.
    pub ttl: Period,
    /// The sets, sorted by name, from the top, and type.
    pub sets: Vec<RecordSet>,
}

impl Zone {
    /// The set of that name and type.
    pub fn set(&self, name: &DomainName, kind: Kind) -> Option<&RecordSet> {
        self.sets.iter().find(|set| set.name == *name && set.kind == kind)
    }

    /// The zone as a master file, one record a line.
    pub fn master_file(&self) -> String {
        let mut text = format!("$ORIGIN {}.\n$TTL {}\n", self.name, self.ttl.0);
        for set in &self.sets {
            let owner = self.relative(&set.name);
            let ttl = if set.ttl == self.ttl { String::new() } else { format!("{} ", set.ttl.0) };
            for value in &set.values {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{owner} {ttl}IN {} {value}", set.kind.name());
            }
        }
        text
    }

    /// A name as the zone's own file has it: `@`, `mail`, or whole with a dot.
    pub fn relative(&self, name: &DomainName) -> String {
        match name.as_str().strip_suffix(self.name.as_str()) {
            Some("") => "@".to_owned(),
            Some(front) => front.trim_end_matches('.').to_owned(),
            None => format!("{name}."),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_printed_as_master_files_have_them() {
        for (kind, text, want) in [
            (Kind::A, "192.0.2.1", "192.0.2.1"),
            (Kind::Mx, "10 mail.example.org.", "10 mail.example.org."),
            (Kind::Mx, "0 .", "0 ."),
            (Kind::Srv, "0 1 993 mail.example.org", "0 1 993 mail.example.org."),
            (Kind::Txt, "say \"x\" \\ é", "\"say \\\"x\\\" \\\\ \\195\\169\""),
            (Kind::Tlsa, "3 1 0 AB cd", "3 1 0 abcd"),
            (Kind::Cname, "mail.", "mail."),
            (Kind::Caa, "0 issue \"letsencrypt.org; x=y\"", "0 issue \"letsencrypt.org; x=y\""),
        ] {
            assert_eq!(Rdata::parse(kind, text).map(|value| value.to_string()), Ok(want.to_owned()));
        }
        for (kind, text) in [
            (Kind::A, "::1"),
            (Kind::Mx, "mail"),
            (Kind::Mx, "10 mail"),
            (Kind::Tlsa, "3 1 0 abc"),
            (Kind::Tlsa, "3 1 0 éé"),
            (Kind::Tlsa, "3 1 1 abcd"),
            (Kind::Tlsa, "4 1 0 abcd"),
        ] {
            assert!(Rdata::parse(kind, text).is_err(), "{text}");
        }
        let long = Rdata::Txt("x".repeat(300)).to_string();
        assert_eq!(long.split(' ').map(str::len).collect::<Vec<_>>(), [257, 47]);
    }
}
