//! MTA-STS (RFC 8461): the policy covers every MX that is published, and is found.

use super::Around;
use super::tags::{tag, tags};
use super::world::{World, own};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::resolve::{Domain, MtaSts};
use crate::zone::{Kind, Rdata, RecordSet};
use schema::spec::MtaStsMode;

/// Looks at every policy, and at the operator's own records.
pub fn lint(around: &Around<'_>, world: &World<'_>, report: &mut Report) {
    for domain in &around.resolved.domains {
        let Ok(name) = domain.place("_mta-sts") else { continue };
        let set = world.set(&name, Kind::Txt).filter(|set| set.name == name);
        if let Some((set, at)) = set.and_then(|set| Some((set, own(set)?))) {
            record(domain, set, at, report);
        }
        if let Some(given) = domain.mta_sts.as_ref().filter(|given| given.mode != MtaStsMode::None) {
            let at = given.at.clone().unwrap_or_else(|| domain.at.field("name"));
            let served = &around.artefacts.runtime.domains;
            let policy = served.binary_search_by(|one| one.name.cmp(&domain.name)).ok().and_then(|at| served.get(at));
            let policy = policy.and_then(|one| one.mta_sts.as_deref()).unwrap_or_default();
            covers(domain, given, policy, world, report);
            host(domain, set.is_some(), world, &at, report);
        }
    }
}

/// RFC 8461 §4.1: senders deliver to no host that the policy does not name.
fn covers(domain: &Domain, given: &MtaSts, policy: &str, world: &World<'_>, report: &mut Report) {
    let Some(at) = given.at.as_ref().filter(|_| given.mode == MtaStsMode::Enforce) else { return };
    let named: Vec<&str> = policy.lines().filter_map(|line| line.strip_prefix("mx: ")).collect();
    match world.set(&domain.name, Kind::Mx) {
        None => {
            let says = format!(
                "`{}` publishes no MX, so senders go to its own address, which the policy refuses",
                domain.name
            );
            report.find(Code::StsMx, at.clone(), says).help("leave the MX in, or write `mta-sts \"none\"`");
        }
        Some(set) => {
            let beside = set.values.iter().filter_map(Rdata::target).find(|host| !named.contains(&host.as_str()));
            if let Some(host) = beside {
                let says =
                    format!("the policy does not name `{host}`, an MX of `{}`, so no mail goes there", domain.name);
                let help = "name it in the policy and wait `max-age` before it becomes an MX";
                report.find(Code::StsMx, at.clone(), says).help(help);
            }
            let foreign = set.values.iter().filter_map(Rdata::target).find(|host| world.zone(host).is_none());
            if let (Some(host), Some(written)) = (foreign, own(set)) {
                let says = format!("it is not known whether `{host}` shows a certificate that senders trust");
                let found = report.find(Code::StsForeign, written.clone(), says).also(at.clone(), "enforced here");
                found.help("write `mta-sts \"testing\"` until the reports say so");
            }
        }
    }
    // A policy holds for its own domain alone (RFC 8461 §3.1).
    if let Some(wild) = domain.name.wildcard().ok().and_then(|name| world.set(&name, Kind::Mx)) {
        let says = format!("the policy does not hold for the names under `{}` that `*` gives an MX", domain.name);
        let at = own(wild).unwrap_or(at).clone();
        report.find(Code::StsWildcard, at, says).help("make those that take mail domains of the spec");
    }
}

/// RFC 8461 §3.3: the policy is fetched from a host of its own name.
fn host(domain: &Domain, announced: bool, world: &World<'_>, at: &Path, report: &mut Report) {
    let Ok(name) = domain.name.under("mta-sts") else { return };
    let there = [Kind::Cname, Kind::A, Kind::Aaaa].into_iter().any(|kind| world.set(&name, kind).is_some());
    if announced && !there {
        let omitted = domain.omit.iter().find(|one| one.name == name).map(|one| one.at.clone());
        let says = format!("`_mta-sts.{}` speaks of a policy, and `{name}`, where it is, is left out", domain.name);
        report.find(Code::StsHost, omitted.unwrap_or_else(|| at.clone()), says).help("publish both or none");
    }
}

/// An `_mta-sts` record of the operator's own (RFC 8461 §3.1).
fn record(domain: &Domain, set: &RecordSet, at: &Path, report: &mut Report) {
    let texts = set.values.iter().filter_map(|value| match value {
        Rdata::Txt(text) if text.starts_with("v=STSv1") => Some(text.as_str()),
        _ => None,
    });
    let texts: Vec<&str> = texts.collect();
    let id = match texts.as_slice() {
        [text] => tags(text).and_then(|tags| tag(&tags, "id").map(str::to_owned)),
        _ => None,
    };
    let sound = |id: &String| (1..=32).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric());
    if !id.as_ref().is_some_and(sound) {
        let says = format!("`{}` is not one record `v=STSv1; id=…` with 1 to 32 letters and digits", set.name);
        report.find(Code::StsForm, at.clone(), says).help("take it out: it is made from the policy");
    } else if domain.mta_sts.is_some() {
        let says = format!("the id of `{}` is written, so it stays when the policy changes", set.name);
        let help = "senders would keep the old policy: take it out, the id is made from the policy";
        report.find(Code::StsId, at.clone(), says).help(help);
    }
}
