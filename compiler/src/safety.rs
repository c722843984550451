//! What a plan would do to mail, told before it is done. Each finding names its evidence, and what lifts it.

pub mod reports;

use crate::apply::{Ground, Survey};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::diff::staged::DMARC_HELP;
use crate::emit::zone::policy_host;
use crate::lint::tags::{tag, tags};
use crate::lint::{caa, dkim};
use crate::plan::{Change, Set, SetKey};
use crate::resolve::Domain;
use crate::state::{Applied, State};
use crate::transition::Topic;
use crate::zone::{Kind, Rdata};
use schema::name::DomainName;
use schema::spec::MtaStsMode;
use schema::unit::Period;
use std::collections::{BTreeMap, BTreeSet};

/// How many record sets may be removed at once.
const MOST_REMOVED: usize = 20;

/// Looks at all changes.
pub fn safety(ground: &Ground<'_>, state: &State, survey: &Survey) -> Report {
    let mut report = Report::new();
    for looked in &survey.zones {
        let Ok(plan) = &looked.plan else { continue };
        let applied = state.zones.get(&looked.zone);
        // What puts back what was applied does nothing that was not done before.
        let last =
            |change: &&Change| applied.and_then(|applied| applied.sets.get(&change.key)) != change.after.as_ref();
        for domain in ground.resolved.in_zone(&looked.zone) {
            withdrawn(domain, (ground, state), &mut report);
            let used = state.zones.get(&domain.name);
            for change in plan.changes.iter().filter(|change| change.after.is_none() || last(change)) {
                exchangers(domain, change, &mut report);
                dmarc(domain, change, &mut report);
                if let Some(used) = used {
                    key(domain, (change, used), (ground.now, ground.resolved.queue.expire), &mut report);
                }
            }
        }
    }
    renewal(ground, survey, &mut report);
    let removed: Vec<&Change> =
        survey.changes().map(|(_, change)| change).filter(|change| change.after.is_none()).collect();
    if removed.len() > MOST_REMOVED {
        let some: Vec<String> = removed.iter().take(3).map(|change| format!("`{}`", change.key)).collect();
        let says = format!("{} record sets would be removed, among them {}", removed.len(), some.join(", "));
        let help = "see that the spec is whole; `--only DOMAIN` applies one zone; or write `allow W0812 reason=\"…\" until=\"YYYY-MM-DD\"`";
        report.find(Code::ManyRemoved, Path::root(), says).help(help);
    }
    report
}

/// Zones that get TLSA records, and so must be signed.
pub fn to_be_signed(survey: &Survey) -> BTreeSet<DomainName> {
    let tlsa = survey.changes().filter(|(_, change)| change.key.kind == Kind::Tlsa && change.after.is_some());
    tlsa.map(|(looked, _)| looked.zone.clone()).collect()
}

/// RFC 7672 §2.2: TLSA records of zones that turn out to have no keys.
pub fn unsigned(ground: &Ground<'_>, zones: &BTreeSet<DomainName>, report: &mut Report) {
    for domain in zones.iter().filter_map(|zone| ground.resolved.domain(zone)) {
        let says = format!("`{}` gets TLSA records, and DNS shows no key of it: it is not signed", domain.name);
        let help = "sign the zone, or take `dnssec` out; or write `allow W0813 reason=\"…\" until=\"YYYY-MM-DD\"`";
        report.find(Code::TlsaUnsigned, domain.at.clone(), says).help(help);
    }
}

/// RFC 8659: authorities look at CAA each time that a certificate is renewed, which is weeks after a change.
fn renewal(ground: &Ground<'_>, survey: &Survey, report: &mut Report) {
    let changed: BTreeSet<&DomainName> = survey
        .changes()
        .map(|(_, change)| &change.key)
        .filter(|key| key.kind == Kind::Caa)
        .map(|key| &key.name)
        .collect();
    if changed.is_empty() {
        return;
    }
    // What is there after the plan, others' values among it.
    let mut sets: BTreeMap<&DomainName, Vec<Rdata>> = BTreeMap::new();
    let plans = || survey.zones.iter().filter_map(|looked| Some((looked, looked.plan.as_ref().ok()?)));
    let is_caa = |key: &SetKey| key.kind == Kind::Caa;
    for (looked, plan) in plans() {
        let wanted = looked.wanted.iter().filter(|(key, _)| is_caa(key));
        wanted.for_each(|(key, set)| sets.entry(&key.name).or_default().extend(set.values.iter().cloned()));
        let kept = plan.kept.iter().filter(|kept| is_caa(&kept.key));
        kept.for_each(|kept| sets.entry(&kept.key.name).or_default().push(kept.value.clone()));
    }
    for change in plans().flat_map(|(_, plan)| &plan.changes).filter(|change| is_caa(&change.key)) {
        sets.insert(&change.key.name, change.after.as_ref().map_or_else(Vec::new, |set| set.values.clone()));
    }
    let alias = |name: &DomainName| {
        let key = SetKey { name: name.clone(), kind: Kind::Cname };
        let zone = name.parent()?;
        let at = survey.zones.binary_search_by(|looked| looked.zone.cmp(&zone)).ok()?;
        survey.zones.get(at)?.wanted.get(&key)?.values.first()?.target()
    };
    let mut told = BTreeSet::new();
    for (name, host) in caa::certified(ground.resolved, alias) {
        let Some(wanted) = host.caa.as_deref() else { continue };
        let mut owners = std::iter::successors(Some(name.clone()), DomainName::parent);
        let mut touched = false;
        let found = owners.find(|owner| {
            touched |= changed.contains(owner);
            sets.get(owner).is_some_and(|values| !values.is_empty())
        });
        let Some((owner, why)) =
            found.and_then(|owner| Some((owner.clone(), caa::forbids(sets.get(&owner)?, wanted)?)))
        else {
            continue;
        };
        if touched && told.insert(owner.clone()) {
            let says = format!(
                "the certificate for `{name}` could not be renewed any more: `{owner} CAA` lets no `{wanted}` issue it: {why}"
            );
            let help = format!(
                "have `0 issue \"{wanted}\"` among them; or write `allow W0816 reason=\"…\" until=\"YYYY-MM-DD\"`"
            );
            report.find(Code::RenewalForbidden, host.at.field("tls").field("acme"), says).help(help);
        }
    }
}

/// What a TXT record says.
fn tagged(value: &Rdata) -> Option<&str> {
    if let Rdata::Txt(text) = value { Some(text) } else { None }
}

fn hosts(set: Option<&Set>) -> Vec<&DomainName> {
    set.into_iter().flat_map(|set| &set.values).filter_map(Rdata::target).collect()
}

/// RFC 5321 §5.1: without MX mail goes to the domain's own address, or comes back.
fn exchangers(domain: &Domain, change: &Change, report: &mut Report) {
    let (before, after) = (hosts(change.before.as_ref()), hosts(change.after.as_ref()));
    if change.key.kind != Kind::Mx || change.key.name != domain.name || before.is_empty() || !after.is_empty() {
        return;
    }
    let names: Vec<String> = before.iter().map(|host| format!("`{host}`")).collect();
    let says = format!("`{}` loses its last MX; mail for it goes to {} now", domain.name, names.join(" and "));
    let help = "leave the MX in, or write `allow W0810 reason=\"…\" until=\"YYYY-MM-DD\"`";
    report.find(Code::LastExchanger, domain.hosts_at.clone(), says).help(help);
}

/// RFC 8461 §8.3: a policy is withdrawn by one that says `none`, which somebody has to serve.
fn withdrawn(domain: &Domain, (ground, state): (&Ground<'_>, &State), report: &mut Report) {
    let stage = state.zones.get(&domain.name).and_then(|zone| zone.stages.get(&Topic::MtaSts));
    let Some([mode, age, ..]) = stage.map(|stage| stage.is.as_slice()) else { return };
    let goes = domain.mta_sts.as_ref().is_some_and(|policy| policy.mode == MtaStsMode::None);
    let Some(age) = age.parse().ok().map(Period).filter(|_| mode == "enforce" && goes) else { return };
    if policy_host(domain, ground.resolved).is_some() {
        return;
    }
    let says = format!(
        "the enforced MTA-STS policy of `{}` is withdrawn, senders hold it for up to {age}, and no host of the domain serves the one that says so",
        domain.name
    );
    let help = format!(
        "have a host of the domain listen on `https` until {age} have passed; or write `allow W0803 reason=\"…\" until=\"YYYY-MM-DD\"`"
    );
    report.find(Code::PolicyWithdrawn, domain.at.clone(), says).help(help);
}

/// How strict a published policy is; one that is only tested is a step weaker (RFC 9989 §4.7).
fn weight(set: Option<&Set>) -> Option<(u8, String)> {
    let Some(Rdata::Txt(text)) = set?.values.first() else { return None };
    let tags = tags(text)?;
    let policy = tag(&tags, "p")?.to_ascii_lowercase();
    let weight: u8 = match policy.as_str() {
        "reject" => 2,
        "quarantine" => 1,
        _ => 0,
    };
    Some((weight.saturating_sub(u8::from(tag(&tags, "t") == Some("y"))), policy))
}

/// RFC 9989: a policy is tightened step by step, with reports read in between.
fn dmarc(domain: &Domain, change: &Change, report: &mut Report) {
    if domain.place("_dmarc").ok().as_ref() != Some(&change.key.name) {
        return;
    }
    let (Some((was, before)), Some((is, after))) = (weight(change.before.as_ref()), weight(change.after.as_ref()))
    else {
        return;
    };
    if is > was + 1 {
        let says = format!(
            "the DMARC policy of `{}` is tightened from `p={}` to `p={after}` in one step",
            domain.name,
            before.escape_debug()
        );
        report.find(Code::DmarcLeap, domain.dmarc.at.as_ref().unwrap_or(&domain.at).clone(), says).help(DMARC_HELP);
    }
}

/// RFC 6376 §3.1: what is queued, here and elsewhere, is checked by the key that signed it.
fn key(domain: &Domain, (change, applied): (&Change, &Applied), (now, expire): (i64, Period), report: &mut Report) {
    let key = |set: Option<&Set>| set?.values.first().and_then(dkim::public).filter(|public| !public.is_empty());
    let (Some(was), is) = (key(change.before.as_ref()), key(change.after.as_ref())) else { return };
    let is_its =
        |selector: &str| domain.place(&format!("{selector}._domainkey")).is_ok_and(|name| name == change.key.name);
    let Some(used) = applied.keys.iter().find(|(selector, _)| is_its(selector)) else { return };
    let selector = used.0;
    if is.as_ref() == Some(&was) {
        return;
    }
    let until = used.1.since.saturating_add(i64::try_from(expire.0).unwrap_or(i64::MAX));
    let evidence = match used.1.signs {
        true => "it was applied as a key that signs".to_owned(),
        false if now < until => {
            let days = now.saturating_sub(used.1.since) / 86_400;
            format!("it signed until {days} days ago, and mail is tried for {expire}")
        }
        false => return,
    };
    let says =
        format!("the key `{selector}` of `{}` goes while mail is under way that it signed: {evidence}", domain.name);
    let help = format!(
        "move it to `retiring`, apply that, and take it out {expire} later; or write `allow W0811 reason=\"…\" until=\"YYYY-MM-DD\"`"
    );
    let at = domain.dkim.iter().find(|key| key.selector.eq_ignore_ascii_case(selector)).map(|key| key.at.clone());
    report.find(Code::KeyInUse, at.unwrap_or_else(|| domain.at.clone()), says).help(help);
}
