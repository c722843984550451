//! DANE for SMTP (RFC 6698, RFC 7671, RFC 7672): what TLSA records say, and that every MX has them.

use super::Around;
use super::world::{World, own};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::resolve::{Host, Resolved};
use crate::zone::{Kind, Rdata, RecordSet};
use schema::name::DomainName;
use std::collections::BTreeSet;

/// Where senders look.
const SMTP: &str = "_25._tcp";

/// Looks at the operator's own TLSA records, and at the MX of every signed zone.
pub fn lint(around: &Around<'_>, world: &World<'_>, report: &mut Report) {
    let resolved = around.resolved;
    for zone in &around.artefacts.zones {
        let signed = resolved.domain(&zone.name).is_some_and(|domain| domain.dnssec);
        for set in zone.sets.iter().filter(|set| set.kind == Kind::Tlsa) {
            let Some(at) = own(set) else { continue };
            if !signed {
                let says = format!("the zone `{}` is not signed, so nobody obeys `{} TLSA`", zone.name, set.name);
                report.find(Code::DaneUnsigned, at.clone(), says).help("sign the zone and write `dnssec`");
            }
            let host = set.name.as_str().strip_prefix(SMTP).and_then(|rest| rest.strip_prefix('.'));
            if let Some(host) = host.and_then(|host| host.parse::<DomainName>().ok()) {
                records(set, resolved.host(&host), at, report);
            }
        }
    }
    let mut told = BTreeSet::new();
    for domain in resolved.domains.iter().filter(|domain| domain.dnssec) {
        let Some(set) = world.set(&domain.name, Kind::Mx) else { continue };
        let at = own(set).cloned().unwrap_or_else(|| domain.hosts_at.clone());
        if told.insert(at.clone()) {
            exchangers(set, resolved, &at, world, report);
        }
    }
}

/// Every MX or none: mail goes to the one that an attacker leaves (RFC 7672 §2.2.1).
fn exchangers(set: &RecordSet, resolved: &Resolved, at: &Path, world: &World<'_>, report: &mut Report) {
    let has = |host: &&DomainName| host.under(SMTP).is_ok_and(|name| world.set(&name, Kind::Tlsa).is_some());
    let hosts: Vec<&DomainName> = set.values.iter().filter_map(Rdata::target).collect();
    let (with, without): (Vec<&DomainName>, Vec<&DomainName>) = hosts.iter().copied().partition(has);
    // A host of a signed zone has none where no key of it is known, which has been told.
    let signed = |host: &DomainName| {
        world.zone(host).is_some_and(|zone| resolved.domain(&zone.name).is_some_and(|domain| domain.dnssec))
    };
    let Some(bare) = without.iter().find(|host| !signed(host)) else { return };
    let of = &set.name;
    let zone = world.zone(bare).map_or_else(
        || "outside the spec".to_owned(),
        |zone| format!("in the zone `{}`, which is not signed", zone.name),
    );
    let says = if with.is_empty() {
        format!("`{of}` is signed, but its MX `{bare}` lies {zone}, so DANE does not protect mail to it")
    } else {
        format!("of the MX of `{of}` some have TLSA records, but `{bare}` lies {zone}")
    };
    let help = "an attacker leads senders to the MX without: name hosts in signed zones only";
    report.find(Code::DaneSomeMx, at.clone(), says).help(help);
}

/// TLSA records of the operator's own for a host's SMTP.
fn records(set: &RecordSet, host: Option<&Host>, at: &Path, report: &mut Report) {
    // RFC 7672 §3.1.3: senders know no list of authorities.
    let usage = |value: &Rdata| match value {
        Rdata::Tlsa(usage @ (0 | 1), ..) => Some(*usage),
        _ => None,
    };
    if let Some(usage) = set.values.iter().find_map(usage) {
        let says = format!("`{}` has usage {usage}, which means nothing to mail servers", set.name);
        let help = if usage == 1 { "write usage 3, as in `3 1 1 …`" } else { "write usage 2, as in `2 1 1 …`" };
        report.find(Code::DaneUsage, at.clone(), says).help(help);
    }
    let Some(host) = host.filter(|host| !host.tlsa.is_empty()) else { return };
    let published: BTreeSet<(u8, u8, u8, &[u8])> = set
        .values
        .iter()
        .filter_map(|value| match value {
            Rdata::Tlsa(usage, selector, matching, data) => Some((*usage, *selector, *matching, data.as_slice())),
            _ => None,
        })
        .collect();
    // Other forms cannot be made from the keys that are known here.
    let known = |usage: u8, selector: u8, matching: u8| {
        host.tlsa.iter().any(|one| (one.usage, one.selector, one.matching) == (usage, selector, matching))
    };
    if !published.iter().all(|(usage, selector, matching, _)| known(*usage, *selector, *matching)) {
        return;
    }
    let missing = host.tlsa.iter().filter(|one| (one.usage, one.selector, one.matching) == (3, 1, 1));
    let missing: Vec<_> = missing.filter(|one| !published.contains(&(3, 1, 1, one.data.as_slice()))).collect();
    let matches =
        host.tlsa.iter().any(|one| published.contains(&(one.usage, one.selector, one.matching, one.data.as_slice())));
    let hex = |data: &[u8]| data.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    if !matches {
        let says = format!("`{}` names no key of `{}`, so senders that obey it do not deliver", set.name, host.name);
        report.find(Code::DaneKey, at.clone(), says).help("take it out: it is made from the host's keys");
    } else if let Some(one) = missing.first() {
        let says = format!("`{}` does not name every key of `{}`", set.name, host.name);
        let help = format!("senders that meet the other key do not deliver: write `3 1 1 {}` too", hex(&one.data));
        report.find(Code::DaneCover, at.clone(), says).help(help);
    }
}
