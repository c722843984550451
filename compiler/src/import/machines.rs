//! Which machines the spec has, what they listen on, and whose mail they take.

use super::Wish;
use super::facts::{Facts, Host, Place, Sort};
use super::zone;
use crate::zone::{Kind, Rdata};
use schema::name::{DomainName, HostName};
use schema::spec::{Spf, SpfAll};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What a host offers where nobody says.
const USUAL: [(&str, u16); 6] =
    [("smtp", 25), ("submission", 587), ("submissions", 465), ("imap", 143), ("imaps", 993), ("https", 443)];

/// Settles hosts, their listeners and their domains.
pub fn settle(wish: &Wish, facts: &mut Facts) {
    let Some(machine) = machine(wish, facts) else { return };
    let own = std::mem::take(&mut facts.own);
    let host = facts.hosts.entry(machine.clone()).or_default();
    merge(host, own);
    host.addresses.extend(wish.addresses.iter().copied());
    let names: Vec<DomainName> = facts.domains.keys().cloned().collect();
    for name in &names {
        belongs(name, &machine, wish, facts);
        unseen(name, facts);
    }
    let used: BTreeSet<HostName> =
        facts.domains.values().flat_map(|domain| domain.hosts.iter().map(|(_, host)| host.clone())).collect();
    facts.hosts.retain(|name, _| used.contains(name) || *name == machine);
    facts.machine = Some(machine);
    let names: Vec<HostName> = facts.hosts.keys().cloned().collect();
    for name in names {
        listeners(&name, facts);
        addresses(&name, facts);
    }
    facts.took("hosts", facts.hosts.len());
    facts.took("domains", facts.domains.len());
}

/// The machine that configuration files were of.
fn machine(wish: &Wish, facts: &mut Facts) -> Option<HostName> {
    if let Some(host) = &wish.host {
        return Some(host.clone());
    }
    let by_mx = || facts.domains.values().flat_map(|domain| &domain.hosts).map(|(_, host)| host.clone()).next();
    match (facts.machine.clone(), by_mx()) {
        (Some(named), Some(mx)) if !facts.hosts.contains_key(&named) => {
            let text = format!("its listeners are those of `{named}`, which no MX record names");
            facts.note(Place::Host(mx.clone()), Sort::Guessed, text);
            Some(mx)
        }
        (Some(named), _) => Some(named),
        (None, Some(mx)) => Some(mx),
        (None, None) => {
            // The domain with the most people, by name the first of those.
            let mut people: BTreeMap<&DomainName, usize> = BTreeMap::new();
            for account in facts.accounts.keys() {
                *people.entry(&account.domain).or_default() += 1;
            }
            let first = facts.domains.keys().rev().max_by_key(|name| people.get(name))?;
            let host: HostName = format!("mail.{first}").parse().ok()?;
            facts.note(Place::Host(host.clone()), Sort::Guessed, "its name; give it by --host");
            Some(host)
        }
    }
}

fn merge(host: &mut Host, other: Host) {
    host.addresses.extend(other.addresses);
    for (service, ports) in other.listen {
        host.listen.entry(service).or_default().extend(ports);
    }
}

/// Gives a domain its hosts.
fn belongs(name: &DomainName, machine: &HostName, wish: &Wish, facts: &mut Facts) {
    let Some(domain) = facts.domains.get_mut(name) else { return };
    let moved = wish.host.is_some() && !domain.hosts.iter().any(|(_, host)| host == machine);
    if domain.hosts.is_empty() || moved {
        domain.hosts = vec![(10, machine.clone())];
        let before = domain.live.as_ref().and_then(|live| live.sets.get(&(name.clone(), Kind::Mx))).cloned();
        if let Some(before) = before.filter(|_| moved) {
            domain.accepted.insert((name.clone(), Kind::Mx));
            let list: Vec<String> = before.iter().map(Rdata::to_string).collect();
            facts.guessed_of(name, format!("its mail moves to {machine}; MX was {}", list.join(", ")));
        }
    }
}

/// Why there are guesses of a domain's policies.
const UNSEEN: &str = "its zone was not seen: import it by --zone-file or --live";

/// Policies of a domain whose zone was not seen: none that could hurt what is not known here.
fn unseen(name: &DomainName, facts: &mut Facts) {
    let Some(domain) = facts.domains.get_mut(name).filter(|domain| domain.live.is_none()) else { return };
    domain.spf = Some(Spf { terms: Vec::new(), all: Some(SpfAll::Softfail) });
    domain.dmarc = Some(zone::no_dmarc());
    facts.guessed_in(name, "spf", format!("SPF of `softfail`; {UNSEEN}"));
    facts.guessed_in(name, "dmarc", format!("DMARC of `none`; {UNSEEN}"));
}

fn listeners(name: &HostName, facts: &mut Facts) {
    let Some(host) = facts.hosts.get_mut(name) else { return };
    let mut guessed: Vec<&str> = Vec::new();
    if host.listen.is_empty() {
        for (service, port) in USUAL {
            host.listen.entry(service).or_default().insert(port);
        }
        guessed.push("its listeners, the usual ones");
    } else {
        if !host.listen.contains_key("smtp") {
            host.listen.entry("smtp").or_default().insert(25);
            guessed.push("smtp at port 25, which nothing named");
        }
        if !host.listen.contains_key("https") {
            host.listen.entry("https").or_default().insert(443);
            guessed.push("https at port 443, for MTA-STS and autoconfig");
        }
    }
    // Two services cannot have one port.
    let mut taken: BTreeSet<u16> = BTreeSet::new();
    let mut twice: Vec<u16> = Vec::new();
    for ports in host.listen.values_mut() {
        ports.retain(|port| {
            let free = taken.insert(*port);
            twice.extend((!free).then_some(*port));
            free
        });
    }
    host.listen.retain(|_, ports| !ports.is_empty());
    let place = || Place::Host(name.clone());
    guessed.into_iter().for_each(|text| facts.note(place(), Sort::Guessed, text));
    for port in twice {
        facts.note(place(), Sort::Left, format!("a second service at port {port}"));
    }
}

fn addresses(name: &HostName, facts: &mut Facts) {
    let Some(host) = facts.hosts.get_mut(name) else { return };
    let odd: Vec<IpAddr> =
        host.addresses.iter().filter(|address| crate::resolve::no_machine(address).is_some()).copied().collect();
    host.addresses.retain(|address| !odd.contains(address));
    let none = host.addresses.is_empty();
    for address in odd {
        facts.note(Place::Host(name.clone()), Sort::Left, format!("the address {address}, which is no machine's"));
    }
    if none {
        let text = "nothing of its addresses: write `address \"192.0.2.25\" \"2001:db8::25\"`, or give --address";
        facts.note(Place::Host(name.clone()), Sort::Guessed, text);
    }
}
