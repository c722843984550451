//! Customers' zones: the customer sets records once, and what changes is published elsewhere (RFC 1034 §3.6.2).

use super::domains::Binding;
use super::{Dkim, Domain, Resolved};
use crate::code::Code;
use crate::diagnostic::{Path, nearest};
use schema::name::{DomainName, NameError};
use schema::spec;
use std::collections::BTreeMap;

/// The selectors that keys take turns with, where the spec names none: two of each algorithm.
const SELECTORS: [&str; 4] = ["wb1", "wb2", "wb3", "wb4"];
/// What a key's record has behind its selector in the domain's own zone.
const KEYS: &str = "._domainkey";

/// Where what changes of a domain is published, in place of its own zone.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// The domain of the spec in whose zone that is.
    pub home: DomainName,
    /// Below which name.
    pub under: DomainName,
    /// The selectors that there are records for.
    pub selectors: Vec<String>,
    /// Where it was written.
    pub at: Path,
}

impl Domain {
    /// The name at which something of the domain is published that changes: `_dmarc`, `_mta-sts`, `_smtp._tls`,
    /// `SELECTOR._domainkey`.
    ///
    /// # Errors
    /// Where that is too long for a name.
    pub fn place(&self, prefix: &str) -> Result<DomainName, NameError> {
        match &self.delegation {
            None => self.name.under(prefix),
            Some(delegation) => delegation.under.under(prefix.strip_suffix(KEYS).unwrap_or(prefix)),
        }
    }

    /// The domain in whose zone that is.
    pub fn home(&self) -> &DomainName {
        self.delegation.as_ref().map_or(&self.name, |delegation| &delegation.home)
    }
}

impl Resolved {
    /// The domains of which a zone publishes what changes: its own, and those that are delegated to it.
    pub fn in_zone<'a>(&'a self, zone: &'a DomainName) -> impl Iterator<Item = &'a Domain> {
        let own = self.domain(zone).filter(|domain| domain.delegation.is_none());
        let others = self.delegated.get(zone).into_iter().flatten();
        own.into_iter().chain(others.filter_map(|name| self.domain(name)))
    }
}

/// The delegated domains by the zone that they are delegated to.
pub(super) fn delegated(domains: &[Domain]) -> BTreeMap<DomainName, Vec<DomainName>> {
    let mut found: BTreeMap<DomainName, Vec<DomainName>> = BTreeMap::new();
    for domain in domains {
        if let Some(delegation) = &domain.delegation {
            found.entry(delegation.home.clone()).or_default().push(domain.name.clone());
        }
    }
    found
}

impl Binding<'_, '_> {
    /// Where what changes is published, if that is elsewhere.
    pub(super) fn delegation(&mut self, dns: &[(&spec::DomainDns, Path)], dkim: &[Dkim]) -> Option<Delegation> {
        let (given, at) = dns.iter().find_map(|(dns, at)| Some((dns.delegate.as_ref()?, at.field("delegate"))))?;
        let name = &self.spec().name;
        // What `defaults` says is meant for customers' domains, and not for the one that it leads to.
        if given.to.is_within(name) {
            return None;
        }
        let Some(home) = self.around.layers.zone_of(&given.to) else {
            let says =
                format!("`{}` lies in no zone of the spec, so nobody publishes what `{name}` leads to", given.to);
            let found = self.report.find(Code::DelegateAway, at.field("to"), says);
            found.help = nearest(given.to.as_str(), self.around.spec.domain.iter().map(|domain| domain.name.as_str()))
                .or_else(|| Some("name one below a domain of the spec whose zone you publish".into()));
            return None;
        };
        let under = match given.to.under(name.as_str()) {
            Ok(under) => under,
            Err(_) => {
                let says = format!("`{name}.{}` is too long for a name", given.to);
                self.report.find(Code::DelegateAway, at.field("to"), says).help("a name has at most 253 octets");
                return None;
            }
        };
        let selectors: Vec<String> = match given.selector.is_empty() {
            true => SELECTORS.map(str::to_owned).to_vec(),
            false => given.selector.iter().map(|one| one.to_ascii_lowercase()).collect(),
        };
        for (n, selector) in given.selector.iter().enumerate() {
            if let Some(why) = super::dkim::misshapen(selector) {
                let says = format!("`{}` is no selector: {why}", selector.escape_debug());
                self.report.find(Code::SelectorForm, at.field("selector").item(n), says);
            }
        }
        for key in dkim.iter().filter(|key| !selectors.contains(&key.selector)) {
            let says = format!("`{name}` has no record for the key `{}`: its customer set none", key.selector);
            let found = self.report.find(Code::DelegateSelector, key.at.field("selector"), says);
            found
                .also(at.clone(), "what the customer sets")
                .help(format!("name it one of `{}`", selectors.join("`, `")));
        }
        Some(Delegation { home, under, selectors, at })
    }
}
