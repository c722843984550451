//! Texts of a form: networks, URLs, endpoints, files of the spec, patterns.

use crate::name::text;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Why a text has not its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// No address, or no prefix that its family has.
    #[error("is no network: write `192.0.2.0/24` or `2001:db8::/32`")]
    Network,
    /// Bits beyond the prefix are set.
    #[error("has bits beyond its prefix; the network begins at `{0}`")]
    HostBits(IpAddr),
    /// No scheme, or nothing behind it.
    #[error("must have the form `https://name/path`")]
    Url,
    /// Neither host and port nor a socket's path.
    #[error("must have the form `name:port` or `unix:/path`")]
    Endpoint,
    /// A path that is empty, absolute, or leads upwards.
    #[error("must be a path inside the spec's folder, without `..`")]
    File,
    /// Longer than a pattern may be, or empty.
    #[error("must be 1 to {LONGEST_PATTERN} octets long")]
    Pattern,
}

/// The longest pattern, in octets.
pub const LONGEST_PATTERN: usize = 1000;

/// An IP network, or one address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// How many leading bits all of its addresses share.
    pub prefix: u8,
}
text!(Network, "An IP network or address", "network", "192.0.2.0/24");

impl Network {
    /// Whether an address lies in it.
    pub fn contains(&self, address: &IpAddr) -> bool {
        first(*address, self.prefix) == Some(self.address)
    }
}

/// The first address of the network of `prefix` bits that an address lies in; `None`: no such prefix.
fn first(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix)?).unwrap_or(0);
            Some(IpAddr::V4((u32::from(v4) & mask).into()))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(prefix)?).unwrap_or(0);
            Some(IpAddr::V6((u128::from(v6) & mask).into()))
        }
    }
}

impl FromStr for Network {
    type Err = FormError;
    fn from_str(text: &str) -> Result<Network, FormError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| FormError::Network)?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let digits = |prefix: &&str| prefix.bytes().all(|c| c.is_ascii_digit());
        let prefix = match prefix {
            None => whole,
            Some(prefix) => {
                Some(prefix).filter(digits).and_then(|prefix| prefix.parse().ok()).ok_or(FormError::Network)?
            }
        };
        match first(address, prefix) {
            None => Err(FormError::Network),
            Some(first) if first != address => Err(FormError::HostBits(first)),
            Some(_) => Ok(Network { address, prefix }),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.prefix) {
            (IpAddr::V4(v4), 32) => v4.fmt(f),
            (IpAddr::V6(v6), 128) => v6.fmt(f),
            (address, prefix) => write!(f, "{address}/{prefix}"),
        }
    }
}

macro_rules! kept {
    ($name:ident, $fits:expr, $error:ident) => {
        impl $name {
            /// The text as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = FormError;
            fn from_str(text: &str) -> Result<$name, FormError> {
                let fits: fn(&str) -> bool = $fits;
                fits(text).then(|| $name(text.into())).ok_or(FormError::$error)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A URL with a scheme and a server.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Url(Box<str>);
text!(Url, "A URL", "url", "https://www.example.org/path");
kept!(Url, is_url, Url);

fn is_url(text: &str) -> bool {
    let sound = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    text.split_once("://").is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
            && !rest.is_empty()
            && !rest.starts_with(['?', '#'])
    }) && text.chars().all(sound)
}

/// A server's name or address with its port, or the path of a socket of this machine.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint(Box<str>);
text!(Endpoint, "A server and its port, or a socket's path", "endpoint", "127.0.0.1:8891");
kept!(Endpoint, is_endpoint, Endpoint);

fn is_endpoint(text: &str) -> bool {
    if let Some(path) = text.strip_prefix("unix:") {
        return path.starts_with('/') && path.len() > 1 && !path.contains(char::is_control);
    }
    let Some((server, port)) = text.rsplit_once(':') else { return false };
    let bare = server.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let named = match bare {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => server.parse::<crate::name::DomainName>().is_ok(),
    };
    named && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A file of the spec, by its path from the spec's folder.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpecFile(Box<str>);
text!(SpecFile, "A file of the spec", "spec-file", "scripts/default.sieve");
kept!(SpecFile, is_spec_file, File);

fn is_spec_file(text: &str) -> bool {
    !text.contains(['\\', '\0']) && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// A regular expression that is found in linear time: no look-around, no back-references.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Box<str>);
text!(Pattern, "A regular expression", "regex", "^no-?reply@");
kept!(Pattern, |text| (1..=LONGEST_PATTERN).contains(&text.len()), Pattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_whole() {
        for (text, want) in [
            ("192.0.2.0/24", Ok("192.0.2.0/24")),
            ("192.0.2.1", Ok("192.0.2.1")),
            ("2001:DB8::/32", Ok("2001:db8::/32")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("192.0.2.1/24", Err(FormError::HostBits(IpAddr::from([192, 0, 2, 0])))),
            ("192.0.2.0/33", Err(FormError::Network)),
            ("192.0.2.0/+8", Err(FormError::Network)),
            ("example.org", Err(FormError::Network)),
        ] {
            let read = text.parse::<Network>().map(|network| network.to_string());
            assert_eq!(read.as_deref().map_err(|why| *why), want, "{text}");
        }
        let network: Network = "2001:db8::/32".parse().expect("a network");
        assert!(network.contains(&"2001:db8::1".parse().expect("an address")));
        assert!(!network.contains(&IpAddr::from([192, 0, 2, 1])));
    }

    #[test]
    fn other_forms_are_held() {
        for (text, want) in
            [("https://a.example/x?y", true), ("a.example", false), ("https://", false), ("h://a b", false)]
        {
            assert_eq!(text.parse::<Url>().is_ok(), want, "{text}");
        }
        for (text, want) in [
            ("127.0.0.1:8891", true),
            ("[::1]:8891", true),
            ("mx.example:25", true),
            ("unix:/run/x", true),
            ("unix:x", false),
            ("mx.example", false),
            ("::1:25", false),
            ("mx.example:0", false),
        ] {
            assert_eq!(text.parse::<Endpoint>().is_ok(), want, "{text}");
        }
        for (text, want) in [("a/b.sieve", true), ("/etc/x", false), ("../x", false), ("a//b", false), ("", false)] {
            assert_eq!(text.parse::<SpecFile>().is_ok(), want, "{text}");
        }
    }
}
