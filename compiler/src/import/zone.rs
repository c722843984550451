//! What a zone says of its mail, from a zone file or from DNS.

use super::facts::{Facts, Live, Place, Sort};
use super::{ImportError, Wish, policy, text_of};
use crate::zone::master::{self, Entry};
use crate::zone::{Kind, Rdata};
use schema::name::{DomainName, HostName};
use schema::spec::{Dmarc, DmarcPolicy, MtaStsMode, Spf, SpfAll};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

/// The services that SRV records are looked at for, and what listens.
pub const SERVICES: [(&str, &str); 8] = [
    ("_imap._tcp", "imap"),
    ("_imaps._tcp", "imaps"),
    ("_pop3._tcp", "pop3"),
    ("_pop3s._tcp", "pop3s"),
    ("_submission._tcp", "submission"),
    ("_submissions._tcp", "submissions"),
    ("_sieve._tcp", "managesieve"),
    ("_jmap._tcp", "https"),
];

/// All zones that were seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// By name and type.
    pub sets: BTreeMap<(DomainName, Kind), Vec<Rdata>>,
    /// Their tops.
    pub zones: BTreeSet<DomainName>,
    /// Those of them that are signed.
    pub signed: BTreeSet<DomainName>,
    /// Times to live, and how many records have each, by zone.
    ttls: BTreeMap<DomainName, BTreeMap<u64, usize>>,
    /// Records that no spec holds, by zone and type.
    foreign: BTreeMap<DomainName, BTreeMap<String, usize>>,
}

impl Seen {
    /// Takes a record.
    pub fn add(&mut self, name: DomainName, value: Rdata) {
        let values = self.sets.entry((name, value.kind())).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }

    /// The zone that a name lies in.
    fn zone_of(&self, name: &DomainName) -> Option<&DomainName> {
        let mut at = Some(name.clone());
        while let Some(name) = at {
            if let Some(found) = self.zones.get(&name) {
                return Some(found);
            }
            at = name.parent();
        }
        None
    }

    fn set(&self, name: &DomainName, kind: Kind) -> &[Rdata] {
        self.sets.get(&(name.clone(), kind)).map_or(&[], Vec::as_slice)
    }

    /// A host's addresses.
    fn addresses(&self, name: &DomainName) -> BTreeSet<IpAddr> {
        let both = self.set(name, Kind::A).iter().chain(self.set(name, Kind::Aaaa));
        both.filter_map(|value| match value {
            Rdata::A(v4) => Some(IpAddr::V4(*v4)),
            Rdata::Aaaa(v6) => Some(IpAddr::V6(*v6)),
            _ => None,
        })
        .collect()
    }

    /// The texts of a name.
    fn texts(&self, name: &DomainName) -> Vec<&str> {
        let texts = self.set(name, Kind::Txt).iter().filter_map(|value| match value {
            Rdata::Txt(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

/// Takes the records of a zone file.
pub fn file(path: &Path, wish: &Wish, seen: &mut Seen, facts: &mut Facts) -> Result<(), ImportError> {
    let stem = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let stem =
        stem.trim_start_matches("db.").trim_end_matches(".zone").trim_end_matches(".db").trim_end_matches(".txt");
    let named = stem.parse::<HostName>().ok().map(|name| name.domain().clone());
    let named = named.filter(|name| wish.domains.is_empty() || wish.domains.contains(name));
    let only = wish.domains.first().filter(|_| wish.domains.len() == 1).cloned();
    let origin = named.or(only);
    let entries =
        master::read(&text_of(path)?, origin.as_ref()).map_err(|error| ImportError::form(path, error.to_string()))?;
    let top = entries.iter().find(|entry| entry.kind == "SOA").and_then(|soa| soa.name.parse::<DomainName>().ok());
    let Some(zone) = top.or(origin) else {
        return Err(ImportError::form(
            path,
            "it is not known which zone this is: there is no SOA; name it by --domain",
        ));
    };
    seen.zones.insert(zone.clone());
    facts.took("records of zone files", entries.len());
    for entry in entries {
        record(&zone, &entry, seen, facts);
    }
    if wish.domains.is_empty() {
        facts.domain(zone.as_str());
    }
    Ok(())
}

fn record(zone: &DomainName, entry: &Entry, seen: &mut Seen, facts: &mut Facts) {
    if let Some(ttl) = entry.ttl {
        *seen.ttls.entry(zone.clone()).or_default().entry(ttl).or_default() += 1;
    }
    if entry.kind == "DNSKEY" || entry.kind == "RRSIG" {
        seen.signed.insert(zone.clone());
    }
    let plain = entry.name.strip_prefix("*.").is_none().then(|| entry.name.parse::<DomainName>().ok()).flatten();
    // What an operator could not write is not taken over.
    let value = entry.rdata().filter(|value| match value {
        Rdata::Txt(text) => Rdata::parse(Kind::Txt, text).is_ok(),
        _ => true,
    });
    match (plain, value) {
        (Some(name), Some(value)) => seen.add(name, value),
        (name, _) => {
            let of_mail = name.is_some() && matches!(entry.kind.as_str(), "MX" | "SRV" | "TLSA" | "CAA");
            if of_mail {
                facts.left_of(zone, format!("the {} record of {}: its value is not right", entry.kind, entry.name));
            }
            *seen.foreign.entry(zone.clone()).or_default().entry(entry.kind.clone()).or_default() += 1;
        }
    }
}

/// A record set.
type Set<'a> = (&'a DomainName, Kind, &'a Vec<Rdata>);

/// Takes what every domain's records say.
pub fn take(seen: &Seen, wish: &Wish, facts: &mut Facts) {
    let domains: Vec<DomainName> = facts.domains.keys().cloned().collect();
    for domain in domains.iter().filter(|domain| seen.zone_of(domain).is_some()) {
        hosts(domain, seen, wish, facts);
    }
    let hosts: BTreeSet<DomainName> = facts.hosts.keys().map(|host| host.domain().clone()).collect();
    let mut by_home: BTreeMap<&DomainName, Vec<Set<'_>>> = BTreeMap::new();
    for ((name, kind), values) in &seen.sets {
        if let Some(home) = home(name, &domains) {
            by_home.entry(home).or_default().push((name, *kind, values));
        }
    }
    for domain in &domains {
        let Some(zone) = seen.zone_of(domain) else { continue };
        let mut live = Live { ttl: usual_ttl(zone, seen), ..Live::default() };
        let mut others: BTreeMap<String, usize> = BTreeMap::new();
        let signed = seen.signed.contains(zone);
        if seen.zones.contains(domain) {
            others.clone_from(seen.foreign.get(domain).unwrap_or(&BTreeMap::new()));
        }
        let mut dane = false;
        for (name, kind, values) in by_home.remove(domain).unwrap_or_default() {
            let mut values = values.clone();
            if name == domain && kind == Kind::Txt {
                let (own, other) = values.into_iter().partition(crate::resolve::is_spf);
                values = own;
                let other: Vec<Rdata> = other;
                *others.entry("TXT".into()).or_default() += other.len();
            }
            dane |= kind == Kind::Tlsa;
            sound(name, kind, domain, &mut values);
            if !values.is_empty() && concerns(name, kind, domain, &hosts) {
                values.sort();
                live.sets.insert((name.clone(), kind), values);
            } else if !values.is_empty() {
                *others.entry(kind.name().into()).or_default() += values.len();
                if kind == Kind::Mx {
                    facts.left_of(domain, format!("{name} has an MX record of its own: name it by --domain too"));
                }
            }
        }
        others.retain(|_, count| *count > 0);
        if !others.is_empty() {
            let list: Vec<String> = others.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            let text = format!("records that are not mail's, which stay in the zone as they are: {}", list.join(", "));
            facts.left_of(domain, text);
        }
        listeners(domain, &live, facts);
        if let Some(found) = facts.domains.get_mut(domain) {
            found.dnssec = signed || dane;
            found.live = Some(live);
        }
        if dane && !signed {
            facts.guessed_in(domain, "dnssec", "`dnssec`, since there are TLSA records");
        }
        policies(domain, facts);
    }
}

/// The innermost of the domains that a name lies in.
fn home<'a>(name: &DomainName, domains: &'a [DomainName]) -> Option<&'a DomainName> {
    let mut at = Some(name.clone());
    while let Some(name) = at {
        if let Ok(found) = domains.binary_search(&name) {
            return domains.get(found);
        }
        at = name.parent();
    }
    None
}

fn usual_ttl(zone: &DomainName, seen: &Seen) -> Option<u64> {
    let ttls = seen.ttls.get(zone)?;
    ttls.iter().max_by_key(|(_, count)| **count).map(|(ttl, _)| *ttl)
}

/// The hosts that MX names: those within the zones are the spec's.
fn hosts(domain: &DomainName, seen: &Seen, wish: &Wish, facts: &mut Facts) {
    let mut named: Vec<(u16, HostName)> = Vec::new();
    for value in seen.set(domain, Kind::Mx) {
        if let Rdata::Mx(preference, Some(target)) = value
            && let Ok(host) = target.as_str().parse::<HostName>()
        {
            named.push((*preference, host));
        }
    }
    named.sort();
    let within = |host: &HostName| seen.zone_of(host.domain()).is_some();
    let mut own: Vec<(u16, HostName)> = named.iter().filter(|(_, host)| within(host)).cloned().collect();
    if own.is_empty() && wish.host.is_none() {
        own.extend(named.first().cloned());
        if let Some((_, host)) = own.first() {
            let text =
                "it lies outside of the zones that were seen, so it may be somebody else's: name yours by --host";
            facts.note(Place::Host(host.clone()), Sort::Guessed, text);
        }
    }
    for (_, host) in &own {
        facts.hosts.entry(host.clone()).or_default().addresses.extend(seen.addresses(host.domain()));
    }
    if let Some(host) = &wish.host {
        let addresses = seen.addresses(host.domain());
        facts.hosts.entry(host.clone()).or_default().addresses.extend(addresses);
    }
    if let Some(found) = facts.domains.get_mut(domain) {
        found.hosts = own;
    }
}

/// Takes out of a set what a spec refuses, and what nobody could follow: two SPF records, a null MX or SRV beside
/// others, an alias of two names or at the domain's own.
fn sound(name: &DomainName, kind: Kind, domain: &DomainName, values: &mut Vec<Rdata>) {
    let mut spf = 0;
    let several = values.len() > 1;
    let refused = kind == Kind::Cname && (several || name == domain);
    values.retain(|value| {
        let null = several && matches!(value, Rdata::Mx(_, None) | Rdata::Srv(_, _, _, None));
        spf += usize::from(crate::resolve::is_spf(value));
        let second = name != domain && crate::resolve::is_spf(value) && spf > 1;
        !(refused || null || second)
    });
}

/// Whether a record set has to do with mail for the domain.
fn concerns(name: &DomainName, kind: Kind, domain: &DomainName, hosts: &BTreeSet<DomainName>) -> bool {
    let at_host = hosts.contains(name);
    if at_host && matches!(kind, Kind::A | Kind::Aaaa | Kind::Caa) {
        return true;
    }
    let front = name.as_str().strip_suffix(domain.as_str()).map(|front| front.trim_end_matches('.'));
    match front {
        Some("") => matches!(kind, Kind::Mx | Kind::Caa | Kind::Txt),
        Some("_dmarc" | "_mta-sts" | "_smtp._tls") => matches!(kind, Kind::Txt | Kind::Cname),
        Some("autoconfig" | "autodiscover" | "mta-sts") => matches!(kind, Kind::A | Kind::Aaaa | Kind::Cname),
        Some(front) if front.ends_with("._domainkey") || front.ends_with("._report._dmarc") => {
            matches!(kind, Kind::Txt | Kind::Cname)
        }
        Some(front) if SERVICES.iter().any(|(name, _)| *name == front) => kind == Kind::Srv,
        Some(_) if kind == Kind::Tlsa => {
            let host = name.as_str().strip_prefix("_25._tcp.").and_then(|host| host.parse().ok());
            host.is_some_and(|host: DomainName| hosts.contains(&host))
        }
        _ => at_host && kind == Kind::Txt,
    }
}

/// What SRV records say of the hosts' ports.
fn listeners(domain: &DomainName, live: &Live, facts: &mut Facts) {
    for (prefix, service) in SERVICES {
        let Ok(name) = domain.under(prefix) else { continue };
        for value in live.sets.get(&(name, Kind::Srv)).into_iter().flatten() {
            let Rdata::Srv(_, _, port, Some(target)) = value else { continue };
            let host = target.as_str().parse::<HostName>().ok();
            if let Some(host) = host.and_then(|host| facts.hosts.get_mut(&host)).filter(|_| *port > 0) {
                host.listen.entry(service).or_default().insert(*port);
            }
        }
    }
}

/// SPF, DMARC, MTA-STS, TLS reports and keys of a domain whose zone was seen.
fn policies(domain: &DomainName, facts: &mut Facts) {
    let Some(live) = facts.domains.get(domain).and_then(|found| found.live.clone()) else { return };
    let seen = Seen { sets: live.sets, ..Seen::default() };
    let mut notes: Vec<(&'static str, String)> = Vec::new();
    let mut left: Vec<String> = Vec::new();
    let Some(found) = facts.domains.get_mut(domain) else { return };
    match seen.texts(domain).as_slice() {
        [] => {
            found.spf = Some(Spf { terms: Vec::new(), all: Some(SpfAll::Softfail) });
            notes.push(("spf", "SPF of `softfail`: there was no record, and others may send for the domain".into()));
        }
        [one] => {
            if let Some((spf, differs)) = policy::spf(one, domain) {
                notes.extend(differs.into_iter().map(|text| ("spf", format!("SPF: {text}"))));
                found.spf = Some(spf);
                found.accepted.insert((domain.clone(), Kind::Txt));
            }
        }
        _ => {
            left.push("SPF: there were several records, so that every check failed".into());
            found.accepted.insert((domain.clone(), Kind::Txt));
        }
    }
    let under = |prefix: &str| domain.under(prefix).ok();
    if let Some(name) = under("_dmarc") {
        match seen.texts(&name).as_slice() {
            [] if seen.set(&name, Kind::Cname).is_empty() => {
                found.dmarc = Some(no_dmarc());
                notes
                    .push(("dmarc", "DMARC of `none`: there was no record, and others may send for the domain".into()));
            }
            [one] => {
                if let Some((dmarc, differs)) = policy::dmarc(one) {
                    notes.extend(differs.into_iter().map(|text| ("dmarc", format!("DMARC: {text}"))));
                    found.dmarc = Some(dmarc);
                    found.accepted.insert((name, Kind::Txt));
                }
            }
            _ => {}
        }
    }
    let mx = seen.set(domain, Kind::Mx);
    let no_mail = !mx.is_empty() && mx.iter().all(|value| value.target().is_none());
    if let Some(name) = under("_mta-sts").filter(|name| !no_mail && !seen.set(name, Kind::Txt).is_empty()) {
        found.mta_sts = Some(MtaStsMode::Testing);
        found.accepted.insert((name, Kind::Txt));
        let text = "the mode of MTA-STS: only the policy file says it. Write `enforce` where it does";
        notes.push(("mta-sts", text.into()));
    }
    if let Some(name) = under("_smtp._tls")
        && let [one] = seen.texts(&name).as_slice()
        && let Some(to) = policy::tls_report(one)
    {
        found.tls_report = to;
        found.accepted.insert((name, Kind::Txt));
    }
    let suffix = format!("._domainkey.{domain}");
    for (name, kind) in seen.sets.keys() {
        let selector = name.as_str().strip_suffix(&suffix).filter(|_| *kind == Kind::Txt);
        if let Some((selector, [one])) =
            selector.map(|selector| (selector, seen.texts(name))).as_ref().map(|(s, t)| (s, t.as_slice()))
            && let Some(published) = policy::published(one)
        {
            found.published.insert((*selector).to_owned(), published);
        }
    }
    notes.into_iter().for_each(|(node, text)| facts.guessed_in(domain, node, text));
    left.into_iter().for_each(|text| facts.left_of(domain, text));
}

/// DMARC that asks nothing of receivers.
pub fn no_dmarc() -> Dmarc {
    Dmarc {
        policy: Some(DmarcPolicy::None),
        report: None,
        subdomain: None,
        nonexistent: None,
        testing: None,
        strict: None,
        psd: None,
        step: None,
    }
}
