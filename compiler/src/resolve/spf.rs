//! SPF: who else sends for a domain, and that receivers can follow it.

use super::Domain;
use super::domains::Binding;
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::zone::{Kind, Rdata};
use schema::name::DomainName;
use schema::spec::{SpfAll, SpfTerm};
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The look-ups of one SPF check, and the hosts of one `mx` (RFC 7208 §4.6.4).
pub const MOST_LOOKUPS: usize = 10;

/// SPF.
#[derive(Clone, Debug)]
pub struct Spf {
    /// Mechanisms after `mx`.
    pub terms: Vec<SpfTerm>,
    /// Everybody else.
    pub all: SpfAll,
    /// Where it was written, if it was.
    pub at: Option<Path>,
}

impl Binding<'_, '_> {
    pub(super) fn spf(&mut self) -> Spf {
        let said = self.around.layers.said(self.of, "spf", |d| d.spf.as_ref(), |d| d.spf.as_ref());
        let Some((spf, at)) = said else { return Spf { terms: Vec::new(), all: SpfAll::Fail, at: None } };
        for (n, term) in spf.terms.iter().enumerate() {
            let (wrong, help) = match term {
                SpfTerm::Ip4(text) => (!is_network::<Ipv4Addr>(text, 32), "as in `ip4 \"192.0.2.0/24\"`"),
                SpfTerm::Ip6(text) => (!is_network::<Ipv6Addr>(text, 128), "as in `ip6 \"2001:db8::/32\"`"),
                SpfTerm::Exists(text) => (!is_domain_spec(text), "as in `exists \"%{ir}.list.example.org\"`"),
                SpfTerm::Include(_) | SpfTerm::A(_) | SpfTerm::Mx(_) => (false, ""),
            };
            if let (true, SpfTerm::Ip4(text) | SpfTerm::Ip6(text) | SpfTerm::Exists(text)) = (wrong, term) {
                let what = if matches!(term, SpfTerm::Exists(_)) { "domain name with macros" } else { "network" };
                let says = format!("`{}` is no {what}", text.escape_debug());
                self.report.find(Code::SpfTerm, at.field("terms").item(n), says).help(help);
            }
        }
        Spf { terms: spf.terms.clone(), all: spf.all.unwrap_or(SpfAll::Fail), at: Some(at) }
    }
}

/// That no receiver has more to look up than it does, over all domains of the spec.
pub fn lookups(domains: &[Domain], report: &mut Report) {
    let records: HashMap<&DomainName, Record> =
        domains.iter().map(|domain| (&domain.name, Record::of(domain))).collect();
    for domain in domains {
        let Some(record) = records.get(&domain.name) else { continue };
        if record.names_mx && domain.own_exchangers().map_or(domain.hosts.len(), |own| own.len()) > MOST_LOOKUPS {
            let says = format!("`{}` has more than {MOST_LOOKUPS} hosts under `mx`", domain.name);
            let help = "receivers look up ten and fail the check after that: write fewer hosts";
            report.find(Code::SpfLookups, domain.hosts_at.clone(), says).help(help);
        }
        if let Some(at) = circle(&domain.name, &records) {
            let says = format!("the SPF record of `{}` includes itself in the end", domain.name);
            report.find(Code::SpfCircle, at, says).help("take one of the circle's `include` out");
            continue;
        }
        let mut total = 0;
        for (cost, include, at) in &record.terms {
            let before = total;
            total += cost + include.as_ref().map_or(0, |name| nested(name, &records, MOST_LOOKUPS));
            if before <= MOST_LOOKUPS && total > MOST_LOOKUPS {
                let says = format!(
                    "with this, the record of `{}` needs {total} look-ups, and receivers stop at {MOST_LOOKUPS}",
                    domain.name
                );
                let help = "take some out, or write addresses in their place";
                report.find(Code::SpfLookups, at.clone(), says).help(help);
            }
        }
    }
}

/// What a domain's record makes receivers look up.
struct Record {
    /// It counts on the domain's own MX.
    names_mx: bool,
    /// Look-ups, the domain that is included, and where that is written.
    terms: Vec<(usize, Option<DomainName>, Path)>,
}

impl Record {
    fn of(domain: &Domain) -> Record {
        let own = domain.records.iter().find(|own| own.name == domain.name && own.kind == Kind::Txt);
        let text = own.and_then(|own| own.values.iter().find(|value| is_spf(value)).zip(own.at.first()));
        if let Some((Rdata::Txt(text), at)) = text {
            return Record::read(text, at);
        }
        let at = domain.spf.at.clone().unwrap_or_else(|| domain.at.clone());
        let mut terms = vec![(1, None, at.clone())];
        for (n, term) in domain.spf.terms.iter().enumerate() {
            let (cost, include) = match term {
                SpfTerm::Ip4(_) | SpfTerm::Ip6(_) => continue,
                SpfTerm::Include(name) => (1, Some(name.clone())),
                SpfTerm::A(_) | SpfTerm::Mx(_) | SpfTerm::Exists(_) => (1, None),
            };
            terms.push((cost, include, at.field("terms").item(n)));
        }
        Record { names_mx: true, terms }
    }

    /// The operator's own record.
    fn read(text: &str, at: &Path) -> Record {
        let mut record = Record { names_mx: false, terms: Vec::new() };
        for word in text.split(' ') {
            let word = word.trim_start_matches(['+', '-', '~', '?']).to_ascii_lowercase();
            let (name, rest) = word.split_at(word.find([':', '/', '=']).unwrap_or(word.len()));
            let to = match name {
                "include" | "redirect" => rest.get(1..).and_then(|to| to.parse().ok()),
                "a" | "mx" | "ptr" | "exists" => None,
                _ => continue,
            };
            record.names_mx |= name == "mx" && !rest.starts_with(':');
            record.terms.push((1, to, at.clone()));
        }
        record
    }
}

/// The look-ups of an included domain of the spec. What lies deeper than `left` breaks the bound anyway.
fn nested(name: &DomainName, records: &HashMap<&DomainName, Record>, left: usize) -> usize {
    let Some(record) = records.get(name).filter(|_| left > 0) else { return 0 };
    let mut total = 0;
    for (cost, include, _) in &record.terms {
        total += cost + include.as_ref().map_or(0, |name| nested(name, records, left.saturating_sub(total + cost)));
        if total > left {
            break;
        }
    }
    total
}

/// Where a domain includes what leads back to it, if it does.
fn circle(start: &DomainName, records: &HashMap<&DomainName, Record>) -> Option<Path> {
    for (_, include, at) in &records.get(start)?.terms {
        let mut seen = HashSet::new();
        let mut open: Vec<&DomainName> = include.iter().collect();
        while let Some(name) = open.pop() {
            if name == start {
                return Some(at.clone());
            }
            if let Some(record) = records.get(name).filter(|_| seen.insert(name)) {
                open.extend(record.terms.iter().filter_map(|(_, include, _)| include.as_ref()));
            }
        }
    }
    None
}

/// Whether a value is an SPF record; the version is the same in any case (RFC 7208 §4.5).
pub fn is_spf(value: &Rdata) -> bool {
    let Rdata::Txt(text) = value else { return false };
    text.split(' ').next().is_some_and(|version| version.eq_ignore_ascii_case("v=spf1"))
}

/// An address with or without prefix length, which has neither sign nor leading zero (RFC 7208 §5.6).
pub fn is_network<T: std::str::FromStr>(text: &str, longest: u8) -> bool {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let length = |prefix: &str| prefix.parse::<u8>().is_ok_and(|n| n <= longest && n.to_string() == prefix);
    address.parse::<T>().is_ok() && prefix.is_none_or(length)
}

/// RFC 7208 §7.1: a name that may hold macros, and ends in one or in a label.
pub fn is_domain_spec(text: &str) -> bool {
    let mut rest = text;
    let mut ends_in_macro = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '%' => macro_length(rest),
            '!'..='~' => Some(1),
            _ => None,
        };
        let Some(length) = length else { return false };
        ends_in_macro = first == '%';
        rest = &rest[length..];
    }
    let label = |label: &str| {
        let inner = label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        let ends = !label.starts_with('-') && !label.ends_with('-');
        !label.is_empty() && inner && ends && !label.bytes().all(|c| c.is_ascii_digit())
    };
    ends_in_macro || text.trim_end_matches('.').rsplit_once('.').is_some_and(|(_, last)| label(last))
}

/// The length of the macro that a text begins with.
fn macro_length(text: &str) -> Option<usize> {
    if ["%%", "%_", "%-"].iter().any(|one| text.starts_with(one)) {
        return Some(2);
    }
    let (inner, _) = text.strip_prefix("%{")?.split_once('}')?;
    let mut chars = inner.chars();
    // `c`, `r` and `t` are for explanations alone (RFC 7208 §7.2).
    chars.next().filter(|letter| "slodiphv".contains(letter.to_ascii_lowercase()))?;
    let transformers = chars.as_str().trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &chars.as_str()[..chars.as_str().len() - transformers.len()];
    let delimiters = transformers.strip_prefix(['r', 'R']).unwrap_or(transformers);
    let sound =
        delimiters.chars().all(|c| ".-+,/_=".contains(c)) && (digits.is_empty() || digits.contains(|c| c != '0'));
    sound.then_some(inner.len() + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_rfc_7208s() {
        for right in ["%{ir}.x.example", "%%", "%_", "%-", "%{ir}.x", "%{d2}", "%{l1r-.}._spf.%{D}", "a.example."] {
            assert!(is_domain_spec(right), "{right}");
        }
        for wrong in ["", "x", "%{x", "%{z}.x", "foo%bar", "%{c}.x", "%{d0}", "a b.c", "%{i}.1", "a.é"] {
            assert!(!is_domain_spec(wrong), "{wrong}");
        }
    }
}
