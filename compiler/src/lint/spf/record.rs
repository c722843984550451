//! The text of an SPF record (RFC 7208 §4.6, §5, §6).

use crate::resolve::{is_domain_spec, is_network};
use schema::name::DomainName;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The mechanisms before `all`, in order.
    pub terms: Vec<Term>,
    /// The sign of `all`, where it stands.
    pub all: Option<char>,
    /// Mechanisms after `all`, which nobody comes to.
    pub after: usize,
    /// `redirect=`
    pub redirect: Option<Target>,
    /// What is no term; one is enough for the check to fail.
    pub faults: Vec<String>,
}

/// A mechanism.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// Whoever that record lets send.
    Include(Target),
    /// A name's addresses; the record's own where no name stands.
    A(Option<Target>),
    /// A domain's servers.
    Mx(Option<Target>),
    /// Names by the sender's address.
    Ptr,
    /// Whether a name is there.
    Exists(Target),
    /// An address or network.
    Address,
}

/// A name to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A name.
    Name(DomainName),
    /// A name that only the message tells.
    Macro,
}

impl Record {
    /// Reads a text that begins with `v=spf1`.
    pub fn read(text: &str) -> Record {
        let mut record = Record::default();
        for word in text.split(' ').skip(1).filter(|word| !word.is_empty()) {
            if record.term(word).is_none() {
                record.faults.push(word.to_owned());
            }
        }
        record
    }

    /// Takes a term in; `None` where it is none.
    fn term(&mut self, word: &str) -> Option<()> {
        let (sign, plain) = match word.chars().next() {
            Some(sign @ ('+' | '-' | '~' | '?')) => (Some(sign), &word[1..]),
            _ => (None, word),
        };
        let (name, rest) = plain.split_at(plain.find([':', '/', '=']).unwrap_or(plain.len()));
        if let Some(value) = rest.strip_prefix('=') {
            return if sign.is_none() { self.modifier(name, value) } else { None };
        }
        let value = rest.strip_prefix(':');
        let term = match name.to_ascii_lowercase().as_str() {
            "all" if rest.is_empty() => {
                if self.all.is_some() {
                    self.after += 1;
                }
                self.all = self.all.or(Some(sign.unwrap_or('+')));
                return Some(());
            }
            "include" => Term::Include(target(value?)?),
            "exists" => Term::Exists(target(value?)?),
            "a" => Term::A(with_lengths(rest)?),
            "mx" => Term::Mx(with_lengths(rest)?),
            "ptr" => {
                if !rest.is_empty() {
                    target(value?)?;
                }
                Term::Ptr
            }
            "ip4" if is_network::<Ipv4Addr>(value?, 32) => Term::Address,
            "ip6" if is_network::<Ipv6Addr>(value?, 128) => Term::Address,
            _ => return None,
        };
        if self.all.is_some() {
            self.after += 1;
        } else {
            self.terms.push(term);
        }
        Some(())
    }

    fn modifier(&mut self, name: &str, value: &str) -> Option<()> {
        let sound = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if name.eq_ignore_ascii_case("redirect") {
            // RFC 7208 §6: at most once.
            return if self.redirect.is_some() { None } else { target(value).map(|to| self.redirect = Some(to)) };
        }
        sound.then_some(())
    }
}

fn target(text: &str) -> Option<Target> {
    if text.contains('%') {
        return is_domain_spec(text).then_some(Target::Macro);
    }
    text.parse().ok().filter(|_| text.contains('.')).map(Target::Name)
}

/// `:name/24//64`, each part left out or not (RFC 7208 §5.3).
fn with_lengths(rest: &str) -> Option<Option<Target>> {
    let (name, lengths) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (v4, v6) = match lengths.split_once("//") {
        Some((v4, v6)) => (v4, Some(v6)),
        None => (lengths, None),
    };
    let fits = |text: &str, most: u8| text.parse::<u8>().is_ok_and(|n| n <= most && n.to_string() == text);
    let sound = (v4.is_empty() || v4.strip_prefix('/').is_some_and(|n| fits(n, 32))) && v6.is_none_or(|n| fits(n, 128));
    match (sound, name.strip_prefix(':')) {
        (false, _) => None,
        (true, Some(name)) => target(name).map(Some),
        (true, None) => name.is_empty().then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_rfc_7208_has_them() {
        let record =
            Record::read("v=spf1 +MX a/24//64 a:x.example/24 mx:y.example include:%{d}.z ip4:192.0.2.0/24 ~all");
        assert_eq!((record.faults.len(), record.terms.len(), record.all), (0, 6, Some('~')));
        let record = Record::read("v=spf1 all ip4:1.2.3.4 redirect=x.example");
        assert_eq!((record.all, record.after, record.terms.len()), (Some('+'), 1, 0));
        for wrong in ["ip4:1.2.3", "ip6:1.2.3.4", "include", "include:", "foo", "mx:/24", "a//129", "a/33", "all:x.y"] {
            assert_eq!(Record::read(&format!("v=spf1 {wrong} -all")).faults, [wrong]);
        }
        assert!(Record::read("v=spf1 exp=%{d}.x ra=postmaster x.y=z -all").faults.is_empty());
        assert_eq!(Record::read("v=spf1 redirect=a.b redirect=c.d").faults, ["redirect=c.d"]);
    }
}
