//! Bringing people's addresses to what a spec can say: one owner each, every target known, no circles.

use super::facts::{Account, Facts, Place, Sort};
use schema::name::{Address, DomainName, LocalPart};
use std::collections::{BTreeMap, BTreeSet};

/// Settles who has which address.
pub fn settle(facts: &mut Facts) {
    twins(facts);
    owners(facts);
    unknown(facts);
    circles(facts);
    unknown(facts);
    lists(facts);
    catch_alls(facts);
    reports(facts);
    facts.took("mailboxes in all", facts.accounts.len());
    facts.took("aliases and groups in all", facts.forwards.len());
    facts.took("lists in all", facts.lists.len());
}

/// Addresses of alias domains.
fn twins(facts: &mut Facts) {
    for (domain, of) in facts.twins.clone() {
        if domain == of || !facts.domains.contains_key(&of) {
            facts.left_of(&domain, format!("that its addresses are those of `{of}`, which is not in the spec"));
            continue;
        }
        let at = |address: &&Address| address.domain == of;
        let known: BTreeSet<Address> = facts
            .accounts
            .keys()
            .filter(at)
            .chain(facts.forwards.keys().filter(at))
            .chain(facts.lists.keys().filter(at))
            .cloned()
            .collect();
        for address in known {
            let own = Address::new(address.local.clone(), domain.clone());
            if !facts.accounts.contains_key(&own) {
                facts.forward(&own, address);
            }
        }
        let catch_all = facts.domains.get(&of).and_then(|of| of.catch_all.clone());
        if let Some(found) = facts.domains.get_mut(&domain).filter(|found| found.catch_all.is_none()) {
            found.catch_all = catch_all;
        }
        facts.guessed_of(&domain, format!("each address is written as one of `{of}`"));
    }
}

/// An address has one owner: an account before a list before an alias.
fn owners(facts: &mut Facts) {
    let lists: Vec<Address> = facts.lists.keys().filter(|list| facts.accounts.contains_key(list)).cloned().collect();
    for list in lists {
        facts.lists.remove(&list);
        facts.left_of(&list.domain, format!("the list `{list}`, which is an account too"));
    }
    let keys: Vec<Address> = facts.forwards.keys().cloned().collect();
    for from in keys {
        let account = facts.accounts.contains_key(&from);
        if !account && !facts.lists.contains_key(&from) {
            if let Some(forward) = facts.forwards.get_mut(&from) {
                forward.to.remove(&from);
            }
            continue;
        }
        let to = facts.forwards.remove(&from).map(|forward| forward.to).unwrap_or_default();
        let others: Vec<String> = to.iter().filter(|to| **to != from).map(Address::to_string).collect();
        if others.is_empty() {
            continue;
        }
        match account {
            true => {
                let to = others.join(", ");
                let text = format!("copies to {to}: an account's own address is no alias; write a Sieve script");
                facts.note(Place::Person(from.clone()), Sort::Left, text);
            }
            false => facts.left_of(&from.domain, format!("the alias `{from}`, which is a list too")),
        }
    }
}

/// Who has an address: itself, or what stands before its `+`.
fn owner(facts: &Facts, address: &Address) -> Option<Address> {
    let owned = |address: &Address| {
        facts.accounts.contains_key(address)
            || facts.forwards.contains_key(address)
            || facts.lists.contains_key(address)
    };
    if owned(address) {
        return Some(address.clone());
    }
    let base = Address::new(address.local.without_detail()?, address.domain.clone());
    owned(&base).then_some(base)
}

fn is_known(facts: &Facts, address: &Address) -> bool {
    !facts.domains.contains_key(&address.domain)
        || address.local == LocalPart::postmaster()
        || owner(facts, address).is_some()
}

/// Takes out targets within the spec that nobody has, and aliases without any left, until all are known.
fn unknown(facts: &mut Facts) {
    let mut open: Vec<Address> = facts.forwards.keys().cloned().collect();
    let mut named_by: BTreeMap<Address, Vec<Address>> = BTreeMap::new();
    for (from, forward) in &facts.forwards {
        for to in forward.to.iter().filter_map(|to| owner(facts, to)) {
            named_by.entry(to).or_default().push(from.clone());
        }
    }
    while let Some(from) = open.pop() {
        let Some(forward) = facts.forwards.get(&from) else { continue };
        let gone: Vec<Address> = forward.to.iter().filter(|to| !is_known(facts, to)).cloned().collect();
        for to in &gone {
            facts.left_of(&from.domain, format!("`{from}` to `{to}`, an address that nobody has"));
        }
        let Some(forward) = facts.forwards.get_mut(&from) else { continue };
        forward.to.retain(|to| !gone.contains(to));
        if forward.to.is_empty() {
            let group = forward.group;
            facts.forwards.remove(&from);
            let what = if group { "group" } else { "alias" };
            facts.left_of(&from.domain, format!("the {what} `{from}`, of which nobody is left"));
            open.extend(named_by.remove(&from).unwrap_or_default());
        }
    }
}

/// Takes out what leads back to where it began.
fn circles(facts: &mut Facts) {
    let mut done: BTreeSet<Address> = BTreeSet::new();
    let starts: Vec<Address> = facts.forwards.keys().cloned().collect();
    for start in starts {
        // Depth first: the way, and what is still to be looked at from each of its steps.
        let mut way: Vec<(Address, Vec<Address>)> = Vec::new();
        let mut on_way: BTreeSet<Address> = BTreeSet::new();
        let targets = |facts: &Facts, of: &Address| -> Vec<Address> {
            facts.forwards.get(of).map(|forward| forward.to.iter().cloned().collect()).unwrap_or_default()
        };
        if done.contains(&start) {
            continue;
        }
        on_way.insert(start.clone());
        let first = targets(facts, &start);
        way.push((start, first));
        while let Some((at, open)) = way.last_mut() {
            let Some(next) = open.pop() else {
                on_way.remove(at);
                done.insert(at.clone());
                way.pop();
                continue;
            };
            let at = at.clone();
            let Some(owned) = owner(facts, &next) else { continue };
            if on_way.contains(&owned) {
                if let Some(forward) = facts.forwards.get_mut(&at) {
                    forward.to.remove(&next);
                }
                facts.left_of(&at.domain, format!("`{at}` to `{next}`, which leads back to it"));
            } else if facts.forwards.contains_key(&owned) && !done.contains(&owned) {
                on_way.insert(owned.clone());
                let open = targets(facts, &owned);
                way.push((owned, open));
            }
        }
    }
}

/// Members that nobody has, and the address that a list's bounces need.
fn lists(facts: &mut Facts) {
    let names: Vec<Address> = facts.lists.keys().cloned().collect();
    for name in names {
        let bounces = format!("{}-bounces", name.local).parse::<LocalPart>();
        let bounces = bounces.ok().map(|local| Address::new(local, name.domain.clone()));
        if bounces.is_none_or(|bounces| owner(facts, &bounces).is_some_and(|owner| owner == bounces)) {
            facts.lists.remove(&name);
            facts.left_of(&name.domain, format!("the list `{name}`: its bounces need `{}-bounces`", name.local));
            continue;
        }
        let Some(list) = facts.lists.get(&name) else { continue };
        let gone: Vec<Address> =
            list.members.iter().filter(|to| **to == name || !is_known(facts, to)).cloned().collect();
        for member in gone {
            facts.left_of(&name.domain, format!("the member `{member}` of the list `{name}`, whom nobody is"));
            if let Some(list) = facts.lists.get_mut(&name) {
                list.members.remove(&member);
            }
        }
    }
}

fn catch_alls(facts: &mut Facts) {
    let said: Vec<(DomainName, Address)> =
        facts.domains.iter().filter_map(|(name, domain)| Some((name.clone(), domain.catch_all.clone()?))).collect();
    for (domain, to) in said {
        let elsewhere = !facts.domains.contains_key(&to.domain);
        let own = "catch-all".parse::<LocalPart>().ok().map(|local| Address::new(local, domain.clone()));
        let settled = if !elsewhere {
            is_known(facts, &to).then_some(to.clone())
        } else {
            // A catch-all is somebody of the spec, who may live elsewhere.
            own.filter(|own| owner(facts, own).is_none()).inspect(|own| facts.forward(own, to.clone()))
        };
        if settled.is_none() {
            facts.left_of(&domain, format!("the catch-all to `{to}`, whom nobody is"));
        }
        if let Some(found) = facts.domains.get_mut(&domain) {
            found.catch_all = settled;
        }
    }
}

/// Reports go to somebody; where the address is nobody's, the record is kept as it is.
fn reports(facts: &mut Facts) {
    let names: Vec<DomainName> = facts.domains.keys().cloned().collect();
    for name in names {
        let Some(domain) = facts.domains.get(&name) else { continue };
        let report = domain.dmarc.as_ref().and_then(|dmarc| dmarc.report.clone());
        let gone = report.filter(|to| !is_known(facts, to));
        let tls: Vec<Address> = domain.tls_report.iter().filter(|to| !is_known(facts, to)).cloned().collect();
        let Some(domain) = facts.domains.get_mut(&name) else { continue };
        if gone.is_some() {
            domain.accepted.retain(|(owner, _)| !owner.as_str().starts_with("_dmarc."));
            if let Some(dmarc) = &mut domain.dmarc {
                dmarc.report = None;
            }
        }
        if !tls.is_empty() {
            domain.accepted.retain(|(owner, _)| !owner.as_str().starts_with("_smtp._tls."));
            domain.tls_report.clear();
        }
        for to in gone.iter().chain(&tls) {
            facts.left_of(&name, format!("reports to `{to}`, whom nobody is: add an alias; the record stays as it is"));
        }
    }
}

/// The aliases of an account: what leads to it alone.
pub fn aliases(facts: &Facts) -> BTreeMap<&Address, Vec<&Address>> {
    let mut found: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
    for (from, forward) in facts.forwards.iter().filter(|(_, forward)| !forward.group && forward.to.len() == 1) {
        let only = forward.to.first().and_then(|to| facts.accounts.get_key_value(to));
        if let Some((account, Account { .. })) = only {
            found.entry(account).or_default().push(from);
        }
    }
    found
}
