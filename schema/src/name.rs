//! Names, parsed once at the door: inside the product a name is already true.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why something is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or longer than the name may be.
    #[error("must be {min} to {max} octets long", min = .0, max = .1)]
    Length(usize, usize),
    /// A label of a domain name is empty, longer than 63 octets, or begins or ends with a hyphen.
    #[error("a label must be 1 to 63 letters, digits and inner hyphens (RFC 1035 §2.3.1)")]
    Label,
    /// Not valid under IDNA 2008 (UTS 46).
    #[error("is not a valid internationalised domain name (RFC 5891)")]
    Idna,
    /// A character that the name may not hold.
    #[error("must not contain `{}`", .0.escape_default())]
    Character(char),
    /// A host or mail domain of one label.
    #[error("must have at least two labels, as in `example.org`")]
    OneLabel,
    /// A host or mail domain whose last label is a number, as of an IP address.
    #[error("must be a name and not an address: the last label is never a number (RFC 3696 §2)")]
    Number,
    /// No `@`, or nothing on one of its sides.
    #[error("must have the form `local@domain`")]
    NotAnAddress,
    /// A local part with dots at its ends or beside each other.
    #[error("must not begin or end with a dot, nor hold two in a row (RFC 5321 §4.1.2)")]
    Dots,
}

macro_rules! text {
    ($name:ident, $title:literal, $format:literal, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = Cow::<'_, str>::deserialize(from)?;
                text.parse().map_err(|why| serde::de::Error::custom(format_args!("`{text}` {why}")))
            }
        }
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "title": $title, "format": $format, "examples": [$example]})
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{self}`")
            }
        }
    };
}
pub(crate) use text;

/// A DNS name in lower-case ASCII (A-labels), without the final dot; at least one label.
///
/// Written with Unicode letters in a spec, it is converted by IDNA (UTS 46, non-transitional).
/// Underscore labels are allowed where DNS owner names are meant (`_dmarc.example.org`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Arc<str>);
text!(DomainName, "A domain name", "domain-name", "example.org");

impl DomainName {
    /// The name as ASCII, without the final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Labels from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
    /// The name without its first label; `None` for a name of one label.
    pub fn parent(&self) -> Option<DomainName> {
        let (_, rest) = self.0.split_once('.')?;
        Some(DomainName(rest.into()))
    }
    /// Whether this name is `zone` or lies under it.
    pub fn is_within(&self, zone: &DomainName) -> bool {
        match self.0.strip_suffix(&*zone.0) {
            Some("") => true,
            Some(front) => front.ends_with('.'),
            None => false,
        }
    }
    /// `prefix.self`. Fails where the result is no name.
    ///
    /// # Errors
    /// [`NameError`] where the prefix has a wrong label or the result is too long.
    pub fn under(&self, prefix: &str) -> Result<DomainName, NameError> {
        format!("{prefix}.{self}").parse()
    }
    /// `*.self`, an owner name that stands for all names below that are not there (RFC 4592).
    ///
    /// # Errors
    /// [`NameError::Length`] where that is too long.
    pub fn wildcard(&self) -> Result<DomainName, NameError> {
        let name = format!("*.{self}");
        (name.len() <= 253).then(|| DomainName(name.into())).ok_or(NameError::Length(1, 253))
    }
    /// The name as people read it, A-labels turned into Unicode.
    pub fn unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DomainName {
    type Err = NameError;
    /// RFC 1035 §2.3.4: at most 253 octets as text, labels of at most 63.
    fn from_str(text: &str) -> Result<DomainName, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let ascii = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(text).map_err(|_| NameError::Idna)?
        };
        if !(1..=253).contains(&ascii.len()) {
            return Err(NameError::Length(1, 253));
        }
        for label in ascii.split('.') {
            if !(1..=63).contains(&label.len()) || label.starts_with('-') || label.ends_with('-') {
                return Err(NameError::Label);
            }
            let wrong = |c: &char| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '_');
            if let Some(c) = label.chars().find(wrong) {
                return Err(NameError::Character(c));
            }
            if label.starts_with("xn--") && idna::domain_to_unicode(label).1.is_err() {
                return Err(NameError::Idna);
            }
        }
        Ok(DomainName(ascii.into()))
    }
}

/// The name of a machine: a [`DomainName`] of at least two labels, no underscore, and no number at its end.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(DomainName);
text!(HostName, "A fully qualified host name", "host-name", "mail.example.org");

impl HostName {
    /// The host's name as a DNS name.
    pub fn domain(&self) -> &DomainName {
        &self.0
    }
    /// The name as ASCII, without the final dot.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for HostName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<HostName, NameError> {
        let name: DomainName = text.parse()?;
        if name.as_str().contains('_') {
            return Err(NameError::Character('_'));
        }
        if name.labels().next_back().is_some_and(|last| last.bytes().all(|digit| digit.is_ascii_digit())) {
            return Err(NameError::Number);
        }
        if name.labels().count() < 2 {
            return Err(NameError::OneLabel);
        }
        Ok(HostName(name))
    }
}

/// The part of a configured address before the `@`: lower case, at most 64 octets (RFC 5321 §4.5.3.1.1),
/// a dot-string of RFC 5321 §4.1.2 or RFC 6531 §3.3. What needs quoting cannot be configured.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalPart(Arc<str>);
text!(LocalPart, "A local part", "local-part", "ada");

impl LocalPart {
    /// The local part in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// What stands before the first `+`, where something stands there: `ada+news` is `ada`'s (RFC 5233).
    pub fn without_detail(&self) -> Option<LocalPart> {
        match self.0.split_once('+') {
            Some((user, _)) if !user.is_empty() => Some(LocalPart(user.into())),
            _ => None,
        }
    }
    /// `postmaster`, which every domain must have (RFC 5321 §4.5.1).
    pub fn postmaster() -> LocalPart {
        LocalPart("postmaster".into())
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LocalPart {
    type Err = NameError;
    fn from_str(text: &str) -> Result<LocalPart, NameError> {
        if !(1..=64).contains(&text.len()) {
            return Err(NameError::Length(1, 64));
        }
        let atext = |c: char| {
            c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || (!c.is_ascii() && !c.is_control())
        };
        if let Some(c) = text.chars().find(|c| !atext(*c) || c.is_whitespace()) {
            return Err(NameError::Character(c));
        }
        if text.starts_with('.') || text.ends_with('.') || text.contains("..") {
            return Err(NameError::Dots);
        }
        let lower = text.to_lowercase();
        if lower.len() > 64 {
            return Err(NameError::Length(1, 64));
        }
        Ok(LocalPart(lower.into()))
    }
}

/// A configured mail address. What the wire carries is `proto::smtp`'s `Mailbox` instead.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Before the `@`.
    pub local: LocalPart,
    /// After the `@`.
    pub domain: DomainName,
}
text!(Address, "A mail address", "mail-address", "ada@example.org");

impl Address {
    /// An address of its two parts.
    pub fn new(local: LocalPart, domain: DomainName) -> Address {
        Address { local, domain }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl FromStr for Address {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Address, NameError> {
        let (local, domain) = text.rsplit_once('@').ok_or(NameError::NotAnAddress)?;
        if local.is_empty() || domain.is_empty() {
            return Err(NameError::NotAnAddress);
        }
        Ok(Address { local: local.parse()?, domain: domain.parse()? })
    }
}

/// A person as a domain's own nodes name it: a local part of that domain, or a full address anywhere.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LocalOrAddress {
    /// `ada`
    Local(LocalPart),
    /// `bob@example.net`
    Address(Address),
}
text!(LocalOrAddress, "A local part of this domain, or a full address", "local-or-address", "bob@example.net");

impl LocalOrAddress {
    /// The full address, seen from `domain`.
    pub fn within(&self, domain: &DomainName) -> Address {
        match self {
            LocalOrAddress::Local(local) => Address::new(local.clone(), domain.clone()),
            LocalOrAddress::Address(address) => address.clone(),
        }
    }
}

impl fmt::Display for LocalOrAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalOrAddress::Local(local) => local.fmt(f),
            LocalOrAddress::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for LocalOrAddress {
    type Err = NameError;
    fn from_str(text: &str) -> Result<LocalOrAddress, NameError> {
        if text.contains('@') {
            text.parse().map(LocalOrAddress::Address)
        } else {
            text.parse().map(LocalOrAddress::Local)
        }
    }
}

/// Where a secret is kept; never the secret. In a spec `(env)"NAME"`, `(file)"path"`, `(age)"…"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretRef {
    /// An environment variable of the server.
    Env(String),
    /// A file, relative to the spec's root or to `waybilld --secrets DIR`.
    File(String),
    /// A value encrypted with age, armoured; or the path of an `.age` file, relative as a `(file)` is.
    Age(String),
}

/// How an armoured value begins.
const ARMOUR: &str = "-----BEGIN AGE ENCRYPTED FILE-----";

impl SecretRef {
    /// The file that it is kept in, encrypted or not.
    pub fn file(&self) -> Option<&str> {
        match self {
            SecretRef::File(path) => Some(path),
            SecretRef::Age(value) if !value.trim_start().starts_with(ARMOUR) => Some(value),
            SecretRef::Env(_) | SecretRef::Age(_) => None,
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "(env)\"{name}\""),
            SecretRef::File(path) => write!(f, "(file)\"{path}\""),
            SecretRef::Age(path) if self.file().is_some() => write!(f, "(age)\"{path}\""),
            SecretRef::Age(_) => write!(f, "(age)\"{ARMOUR}…\""),
        }
    }
}

/// A secret once opened. Prints as `…`, so that it cannot reach a log or an error by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps an opened secret.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }
    /// The secret itself; only at the edge that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_names_are_lower_case_ascii() {
        for (text, want) in [
            ("Example.ORG.", Ok("example.org")),
            ("bücher.example", Ok("xn--bcher-kva.example")),
            ("_dmarc.example.org", Ok("_dmarc.example.org")),
            ("", Err(NameError::Length(1, 253))),
            ("a..b", Err(NameError::Label)),
            ("-a.b", Err(NameError::Label)),
            ("a b.c", Err(NameError::Character(' '))),
        ] {
            assert_eq!(text.parse::<DomainName>().as_ref().map(DomainName::as_str), want.as_ref().copied(), "{text}");
        }
    }

    #[test]
    fn a_name_lies_within_its_zone_by_labels() {
        let name = |text: &str| text.parse::<DomainName>().expect("a name");
        assert!(name("mail.example.org").is_within(&name("example.org")));
        assert!(name("example.org").is_within(&name("example.org")));
        assert!(!name("badexample.org").is_within(&name("example.org")));
    }

    #[test]
    fn addresses_are_lower_case_and_bounded() {
        let address: Address = "Ada.Lovelace+X@Example.org".parse().expect("an address");
        assert_eq!(address.to_string(), "ada.lovelace+x@example.org");
        assert_eq!(address.local.without_detail().map(|l| l.to_string()).as_deref(), Some("ada.lovelace"));
        for wrong in ["ada", "@example.org", "ada@", "a..b@example.org", ".a@example.org", "a b@example.org"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
        assert!(format!("{}@example.org", "x".repeat(65)).parse::<Address>().is_err());
    }

    #[test]
    fn an_address_is_no_host_name() {
        assert_eq!("192.0.2.1".parse::<HostName>(), Err(NameError::Number));
        assert_eq!("a_b.example".parse::<HostName>(), Err(NameError::Character('_')));
        assert!("1.example".parse::<HostName>().is_ok());
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "…");
    }
}
