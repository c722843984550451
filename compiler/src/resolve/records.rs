//! What a domain's `dns` says: the zone's publisher and time to live, records left out, and the operator's own.

use super::domains::Binding;
use super::spf::is_spf;
use crate::code::Code;
use crate::diagnostic::{Path, meant, nearest};
use crate::zone::{Kind, Rdata};
use schema::name::{DomainName, NameError};
use schema::spec;
use schema::unit::Period;
use std::collections::{BTreeMap, HashSet};

/// A record set not to publish.
#[derive(Clone, Debug)]
pub struct Omission {
    /// Its owner name.
    pub name: DomainName,
    /// Its type.
    pub kind: Kind,
    /// Where it was written.
    pub at: Path,
}

/// A record set of the operator's own.
#[derive(Clone, Debug)]
pub struct OwnRecord {
    /// Its owner name.
    pub name: DomainName,
    /// Its type.
    pub kind: Kind,
    /// Its values, sorted.
    pub values: Vec<Rdata>,
    /// Where it was written, each node.
    pub at: Vec<Path>,
}

/// The `dns` nodes that hold for a domain, its own first.
type Written<'a> = [(&'a spec::DomainDns, Path)];

impl Binding<'_, '_> {
    /// How long records may be cached, and how long those that move while they do.
    pub(super) fn ttl(&mut self, dns: &Written<'_>) -> (Period, Option<Period>) {
        const BOUNDS: std::ops::RangeInclusive<u64> = 60..=604_800;
        if let Some((provider, at)) = dns.iter().find_map(|(dns, at)| Some((dns.provider.as_ref()?, at))) {
            let known = || self.around.spec.dns.iter().map(|dns| dns.name.as_str());
            if !known().any(|name| name == provider) {
                let says = format!("no DNS provider is called `{provider}`");
                let at = at.field("provider");
                let found = self.report.find(Code::UnknownProvider, at, says);
                found.means(meant(provider, known())).help = nearest(provider, known().collect::<Vec<_>>());
            }
        }
        let ttl = dns.iter().find_map(|(dns, at)| Some((dns.ttl?, at.field("ttl"))));
        let moving = dns.iter().find_map(|(dns, at)| Some((dns.move_ttl?, at.field("move-ttl"))));
        for (ttl, at) in ttl.iter().chain(&moving).filter(|(ttl, _)| !BOUNDS.contains(&ttl.0)) {
            self.report.find(Code::Ttl, at.clone(), format!("a time to live of {ttl} lies outside 1m to 7d"));
        }
        let ttl = ttl.map_or(Period(3600), |(ttl, _)| ttl);
        (ttl, moving.map(|(moving, _)| moving).filter(|moving| *moving < ttl))
    }

    /// What is left out, and what is put in. Of a name and type the nearest node speaks, and no other.
    pub(super) fn own_records(&mut self, dns: &Written<'_>) -> (Vec<Omission>, Vec<OwnRecord>) {
        let (mut omit, mut records) = (Vec::new(), Vec::new());
        let mut spoken: HashSet<(DomainName, Kind)> = HashSet::new();
        for (dns, at) in dns {
            let mut omitted = self.omissions(dns, at);
            let mut own = self.records(dns, at);
            omitted.retain(|one| !spoken.contains(&(one.name.clone(), one.kind)));
            own.retain(|one| !spoken.contains(&(one.name.clone(), one.kind)));
            spoken.extend(omitted.iter().map(|one| (one.name.clone(), one.kind)));
            spoken.extend(own.iter().map(|one| (one.name.clone(), one.kind)));
            omit.extend(omitted);
            records.extend(own);
        }
        for record in &records {
            self.beside(record);
        }
        (omit, records)
    }

    fn omissions(&mut self, dns: &spec::DomainDns, at: &Path) -> Vec<Omission> {
        let mut omit = Vec::new();
        for (n, one) in dns.omit.iter().enumerate() {
            let at = at.field("omit").item(n);
            if let Some((name, kind)) = self.record_name(&one.name, &one.kind, &at) {
                omit.push(Omission { name, kind, at });
            }
        }
        omit
    }

    /// The records of one node `dns`; those of one name and type are one set.
    fn records(&mut self, dns: &spec::DomainDns, at: &Path) -> Vec<OwnRecord> {
        let mut sets: BTreeMap<(DomainName, Kind), (Vec<Rdata>, Vec<Path>)> = BTreeMap::new();
        for (n, one) in dns.record.iter().enumerate() {
            let at = at.field("record").item(n);
            let Some((name, kind)) = self.record_name(&one.name, &one.kind, &at) else { continue };
            let set = sets.entry((name, kind)).or_default();
            for (v, text) in one.value.iter().enumerate() {
                match Rdata::parse(kind, text) {
                    Ok(value) => set.0.push(value),
                    Err(wants) => {
                        let says = format!("a record of type {} is {}", kind.name(), wants.form);
                        self.report.find(Code::RecordForm, at.field("value").item(v), says).help = wants.help;
                    }
                }
            }
            set.1.push(at);
        }
        let sets = sets.into_iter().map(|((name, kind), (mut values, at))| {
            values.sort();
            values.dedup();
            OwnRecord { name, kind, values, at }
        });
        sets.collect()
    }

    /// What may not stand beside other records, or not in this zone.
    fn beside(&mut self, record: &OwnRecord) {
        let OwnRecord { name, kind, values, at } = record;
        let at = at.last().cloned().unwrap_or_else(|| self.at.clone());
        let domain = &self.spec().name;
        if *kind == Kind::Cname && (values.len() > 1 || name == domain) {
            let says = "a CNAME has one value, and a domain has records of its own".to_owned();
            self.report.find(Code::CnameBeside, at, says);
            return;
        }
        if let Some(other) = self.around.layers.zone_below(domain, name) {
            // Addresses under a delegated name may be its name servers' (RFC 1034 §4.2.1).
            let glue = *name != other && matches!(kind, Kind::A | Kind::Aaaa);
            let code = if *kind == Kind::Cname && *name == other { Code::CnameBeside } else { Code::OtherZone };
            if !glue {
                let says = format!("`{name}` is in the zone of `{other}`, which is a domain of the spec");
                self.report.find(code, at, says).help(format!("write it in the `dns` of `{other}`"));
            }
            return;
        }
        if values.iter().filter(|value| is_spf(value)).count() > 1 {
            let says = format!("`{name}` has two SPF records, so every check fails");
            self.report.find(Code::SpfTwice, at.clone(), says).help("put what both say into one");
        }
        let null = |value: &Rdata| matches!(value, Rdata::Mx(_, None) | Rdata::Srv(_, _, _, None));
        if values.len() > 1 && values.iter().any(null) {
            let says = format!("`{name}` has a {} record that says `none`, and another", kind.name());
            self.report.find(Code::NullBeside, at, says).help("keep one of them");
        }
    }

    fn record_name(&mut self, name: &str, kind: &str, at: &Path) -> Option<(DomainName, Kind)> {
        let domain = &self.spec().name;
        let owner = owner(name, domain);
        let kind = Kind::named(kind).ok_or(kind);
        match (owner, kind) {
            (Ok(owner), Ok(kind)) => Some((owner, kind)),
            (Err(why), _) => {
                let says = format!("`{name}` is no name under `{domain}`: {why}");
                self.report.find(Code::RecordForm, at.field("name"), says).help("`@` is the domain itself");
                None
            }
            (_, Err(kind)) => {
                let says = format!("`{kind}` is no type of record that is known here");
                let help = nearest(kind, Kind::ALL.map(Kind::name));
                let help = help.unwrap_or_else(|| "A, AAAA, CAA, CNAME, MX, SRV, TLSA and TXT are".to_owned());
                self.report.find(Code::RecordForm, at.field("type"), says).help(help);
                None
            }
        }
    }
}

/// An owner name as it is written: `@`, `www`, `*`, `*.sub` (RFC 4592).
fn owner(name: &str, domain: &DomainName) -> Result<DomainName, NameError> {
    match name {
        "@" => Ok(domain.clone()),
        "*" => domain.wildcard(),
        _ => match name.strip_prefix("*.") {
            Some(rest) => domain.under(rest)?.wildcard(),
            None => domain.under(name),
        },
    }
}
