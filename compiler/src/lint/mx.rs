//! MX and hosts (RFC 5321 §5.1, RFC 2181 §10.3, RFC 7505): where records lead to, and what is published elsewhere.

use super::Around;
use super::tags::{tag, tags};
use super::world::{Answer, World, own, place};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::emit::zone::sources;
use crate::lock::Asked;
use crate::resolve::{Domain, Host, is_spf, not_public};
use crate::zone::{Kind, Rdata, RecordSet};
use schema::name::{DomainName, HostName, NameError};
use std::collections::HashSet;
use std::net::IpAddr;

/// Looks at where every record leads to, and at every host.
pub fn lint(around: &Around<'_>, world: &World<'_>, report: &mut Report) {
    let mut told = HashSet::new();
    for set in around.artefacts.zones.iter().flat_map(|zone| &zone.sets) {
        if matches!(set.kind, Kind::Mx | Kind::Srv) {
            let at = own(set).cloned().unwrap_or_else(|| place(set));
            for target in set.values.iter().filter_map(Rdata::target) {
                if !told.insert((target, at.clone())) || (own(set).is_some() && literal(set, target, &at, report)) {
                    continue;
                }
                // Its addresses are looked at elsewhere; an alias in their place is told of here.
                if around.resolved.host(target).is_none() || world.set(target, Kind::Cname).is_some() {
                    leads(set, target, &at, world, report);
                }
            }
        } else if let Some(at) = own(set).filter(|_| set.kind == Kind::Cname) {
            for target in set.values.iter().filter_map(Rdata::target) {
                literal(set, target, at, report);
            }
        }
    }
    for domain in &around.resolved.domains {
        null(domain, world, report);
    }
    for host in &around.resolved.hosts {
        elsewhere(host, world, report);
        helo(host, world, report);
        reverse(host, world, report);
    }
}

/// Whether a target is an address in the place of a name, which is told.
fn literal(set: &RecordSet, target: &DomainName, at: &Path, report: &mut Report) -> bool {
    let address = matches!(target.as_str().parse::<HostName>(), Err(NameError::Number));
    if address {
        let says = format!("`{} {}` leads to `{target}`, and must lead to a name", set.name, set.kind.name());
        let help = format!("give the machine a name by `record \"mx\" A \"{target}\"`, and write that");
        report.find(Code::AddressTarget, at.clone(), says).help(help);
    }
    address
}

/// What an MX or SRV record leads to: a name with an address, and no alias. Hosts of the spec have theirs.
fn leads(set: &RecordSet, target: &DomainName, at: &Path, world: &World<'_>, report: &mut Report) {
    let kind = set.kind.name();
    if let Some(alias) = world.alias(target) {
        let says = format!("`{target}`, where `{} {kind}` leads to, is an alias (CNAME)", set.name);
        let found = report.find(Code::AliasTarget, at.clone(), says);
        found.help(format!("write the name that it stands for: `{alias}`"));
        return;
    }
    let (v4, v6) = (world.ask(target, Asked::A), world.ask(target, Asked::Aaaa));
    if v4.is_none() && v6.is_none() {
        let says = format!("`{target}`, where `{} {kind}` leads to, has no address", set.name);
        let help = "write its address by `record`, or take it out";
        report.find(Code::TargetGone, at.clone(), says).help(help);
    } else if v4.values().is_none() && v6.values().is_none() {
        let says = format!("`{target}`, where `{} {kind}` leads to, lies outside the spec", set.name);
        let help = "`waybill lock` looks whether it has an address and is no alias";
        report.find(Code::HostElsewhere, at.clone(), says).help(help);
    }
}

/// RFC 7505 §4.2: who takes no mail sends none, and says so.
fn null(domain: &Domain, world: &World<'_>, report: &mut Report) {
    let Some(set) = world.set(&domain.name, Kind::Mx).filter(|set| !set.values.is_empty()) else { return };
    if set.values.iter().any(|value| value.target().is_some()) {
        return;
    }
    let at = own(set).cloned().unwrap_or_else(|| domain.at.clone());
    let text = |name: Option<DomainName>, wanted: fn(&str) -> bool| {
        let set = name.and_then(|name| world.set(&name, Kind::Txt))?;
        set.values.iter().find_map(|value| match value {
            Rdata::Txt(text) if wanted(text) => Some(text.as_str()),
            _ => None,
        })
    };
    let spf = text(Some(domain.name.clone()), |text| is_spf(&Rdata::Txt(text.to_owned())));
    let sends = |spf: &str| {
        let mut words = spf.split(' ').skip(1).filter(|word| !word.is_empty() && !word.contains('='));
        !(words.next() == Some("-all") && words.next().is_none())
    };
    if spf.is_none_or(sends) {
        let says = format!("`{}` takes no mail, and its SPF record lets others send for it", domain.name);
        report
            .find(Code::NullMxPolicy, at.clone(), says)
            .help("take the terms of `spf` out, so that it is `v=spf1 -all`");
    }
    let dmarc = text(domain.place("_dmarc").ok(), |text| text.starts_with("v=DMARC1"));
    let rejects = dmarc.and_then(tags).is_some_and(|tags| tag(&tags, "p") == Some("reject"));
    if !rejects {
        let says = format!("`{}` takes no mail, and its DMARC policy lets forgers through", domain.name);
        report.find(Code::NullMxPolicy, at, says).help("write `dmarc \"reject\"`");
    }
}

/// A host whose addresses others publish.
fn elsewhere(host: &Host, world: &World<'_>, report: &mut Report) {
    let name = host.name.domain();
    if world.zone(name).is_some() || host.addresses.is_empty() || host.is_loopback() {
        return;
    }
    let wanted = |v4: bool| host.addresses.iter().filter(move |address| address.is_ipv4() == v4);
    let published = [world.ask(name, Asked::A), world.ask(name, Asked::Aaaa)];
    let known: Vec<IpAddr> =
        published.iter().filter_map(|answer| answer.values()).flatten().filter_map(address).collect();
    let lines: Vec<String> =
        [true, false].into_iter().flat_map(wanted).map(|one| format!("`{} {one}`", kind(one))).collect();
    let lines = lines.join(", ");
    if published.iter().any(|answer| matches!(answer, Answer::Unknown)) {
        let says = format!("`{name}` lies outside the zones of the spec, so its addresses must be published elsewhere");
        let help = format!("publish {lines} there; `waybill lock` looks whether they are there");
        report.find(Code::HostElsewhere, host.at.field("name"), says).help(help);
    } else if let Some(missing) = host.addresses.iter().find(|address| !known.contains(address)) {
        let says = format!("`{name}` does not have the address {missing} in DNS");
        let help = format!("publish {lines} where its zone is, then `waybill lock`");
        report.find(Code::HostElsewhere, host.at.field("name"), says).help(help);
    } else if let Some(other) = known.iter().find(|address| !host.addresses.contains(address)) {
        let says = format!("`{name}` also has the address {other} in DNS, which the spec does not know");
        let help =
            "mail that comes there is lost unless it is this host's: write it in `address`, or take it out there";
        report.find(Code::HostElsewhere, host.at.field("name"), says).help(help);
    }
}

/// RFC 7208 §2.3: bounces come in the host's own name.
fn helo(host: &Host, world: &World<'_>, report: &mut Report) {
    let name = host.name.domain();
    if host.is_loopback() {
        return;
    }
    let answer = world.ask(name, Asked::Txt);
    if answer.values().is_some_and(|values| values.iter().any(is_spf)) {
        return;
    }
    let record = format!("v=spf1 a{} -all", sources(host));
    let (says, more) = match answer {
        Answer::Unknown => {
            let says = format!("`{name}` lies outside the zones of the spec, so its own SPF record is not known");
            (says, ", and `waybill lock` looks whether it is there")
        }
        _ => (format!("`{name}` has no SPF record of its own, in whose name bounces are sent"), ""),
    };
    let help = format!("there must be a TXT record `{name}` with `{record}`{more}");
    report.find(Code::HeloRecord, host.at.field("name"), says).help(help);
}

/// RFC 1912 §2.1: the address that mail comes from has a name that leads back to it.
fn reverse(host: &Host, world: &World<'_>, report: &mut Report) {
    let sources = if host.outbound.is_empty() { &host.addresses } else { &host.outbound };
    for address in sources.iter().filter(|address| not_public(address).is_none()) {
        let Some(names) = world.reverse(address) else { continue };
        let at = host.at.field(if host.addresses.contains(address) { "address" } else { "outbound" });
        let help = format!("have the provider of {address} set its PTR to `{}`, then `waybill lock`", host.name);
        if names.is_empty() {
            let says = format!("{address} has no name (PTR), so many receivers refuse mail from it");
            report.find(Code::ReverseName, at, says).help(help);
        } else if !names.iter().filter_map(Rdata::target).any(|name| name == host.name.domain()) {
            let name = names.first().and_then(Rdata::target).map(ToString::to_string).unwrap_or_default();
            let says = format!("the name (PTR) of {address} is `{name}`, not `{}`", host.name);
            report.find(Code::ReverseName, at, says).help(help);
        }
    }
}

fn address(value: &Rdata) -> Option<IpAddr> {
    match value {
        Rdata::A(v4) => Some((*v4).into()),
        Rdata::Aaaa(v6) => Some((*v6).into()),
        _ => None,
    }
}

fn kind(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "A" } else { "AAAA" }
}
