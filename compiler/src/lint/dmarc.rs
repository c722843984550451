//! DMARC (RFC 9989): one record, its tags, and reports that others take.

use super::Around;
use super::tags::{tag, tags};
use super::world::{World, own};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::lock::Asked;
use crate::resolve::Domain;
use crate::zone::{Kind, Rdata, RecordSet};
use schema::name::DomainName;
use schema::spec::{DmarcPolicy, SpfTerm};
use std::collections::HashSet;

/// Tags that RFC 9989 took out.
const GONE: [&str; 3] = ["pct", "rf", "ri"];

/// Looks at every domain's policy, and at the operator's own records.
pub fn lint(around: &Around<'_>, world: &World<'_>, report: &mut Report) {
    let mut told = HashSet::new();
    for domain in &around.resolved.domains {
        let Ok(name) = domain.place("_dmarc") else { continue };
        let Some(set) = world.set(&name, Kind::Txt).filter(|set| set.name == name) else { continue };
        if let Some(at) = own(set) {
            record(set, at, report);
        } else if let Some(at) = domain.dmarc.at.clone() {
            // What several domains take from one place is told once.
            if told.insert(at.clone()) {
                policy(domain, around, &at, report);
            }
        }
        let at = own(set).cloned().unwrap_or_else(|| domain.dmarc.report_at(&domain.at));
        for to in receivers(set) {
            consent(&domain.name, &to, world, &at, report);
        }
    }
    let sets = around.artefacts.zones.iter().flat_map(|zone| &zone.sets);
    for set in sets.filter(|set| set.kind == Kind::Txt && set.name.labels().next() == Some("_dmarc")) {
        let home = set.name.parent().is_some_and(|parent| around.resolved.domain(&parent).is_some());
        if let Some(at) = own(set).filter(|_| !home) {
            record(set, at, report);
        }
    }
}

/// What the spec says of a domain's policy.
fn policy(domain: &Domain, around: &Around<'_>, at: &Path, report: &mut Report) {
    let given = &domain.dmarc;
    if given.testing {
        let says = format!("the policy of `{}` is only tested: receivers do one step less than it says", domain.name);
        let help = "take `testing` out when the reports show nothing of yours";
        report.find(Code::DmarcTesting, at.field("testing"), says).help(help);
    }
    for (name, field, weaker) in [("subdomain", "sp", given.subdomain), ("nonexistent", "np", given.nonexistent)] {
        if let Some(weaker) = weaker.filter(|weaker| rank(*weaker) < rank(given.policy)) {
            let says =
                format!("`{field}={}` is weaker than `p={}` of `{}`", word(weaker), word(given.policy), domain.name);
            let help =
                format!("forgers take a subdomain then: write `{name}=\"{}\"`, or leave it out", word(given.policy));
            report.find(Code::DmarcWeaker, at.field(name), says).help(help);
        }
    }
    if given.psd == Some(true) {
        psd(&domain.name, &at.field("psd"), report);
    }
    let outside = |term: &&SpfTerm| matches!(term, SpfTerm::Include(to) if around.resolved.domain(to).is_none() && !to.is_within(&domain.name));
    if let Some(SpfTerm::Include(partner)) = domain.spf.terms.iter().find(outside).filter(|_| given.strict) {
        let says = format!("`strict` takes no mail that `{partner}` sends with an envelope of its own name");
        let help = format!(
            "such mail aligns by DKIM with `d={}` alone: have the partner sign so, or leave `strict` out",
            domain.name
        );
        report.find(Code::DmarcStrict, at.field("strict"), says).help(help);
    }
}

fn psd(name: &DomainName, at: &Path, report: &mut Report) {
    let says = format!("`psd=y` says that others register names under `{name}`, so its policy holds for none of them");
    report.find(Code::DmarcPsd, at.clone(), says).help("leave it out; `psd=n` says where an organisation begins");
}

/// A record of the operator's own (RFC 9989 §4.7).
fn record(set: &RecordSet, at: &Path, report: &mut Report) {
    let texts = set.values.iter().filter_map(|value| match value {
        Rdata::Txt(text) => Some(text.as_str()),
        _ => None,
    });
    let is_dmarc = |text: &&str| text.trim_start().starts_with("v=DMARC1");
    let (ours, others): (Vec<&str>, Vec<&str>) = texts.partition(is_dmarc);
    let says = match (ours.as_slice(), others.len()) {
        ([_], _) => None,
        ([], _) => Some(format!("`{}` has no record that begins with `v=DMARC1`", set.name)),
        (several, _) => Some(format!("`{}` has {} records, so receivers take none", set.name, several.len())),
    };
    if let Some(says) = says {
        report.find(Code::DmarcForm, at.clone(), says).help("write one record, as in `v=DMARC1; p=reject`");
        return;
    }
    let Some(tags) = ours.first().and_then(|text| tags(text)) else {
        let says = format!("a part of `{}` is no `tag=value`", set.name);
        report.find(Code::DmarcForm, at.clone(), says).help("tags are separated by `;`");
        return;
    };
    let policies = ["none", "quarantine", "reject"];
    let wanted: [(&str, &[&str]); 7] = [
        ("p", &policies),
        ("sp", &policies),
        ("np", &policies),
        ("adkim", &["r", "s"]),
        ("aspf", &["r", "s"]),
        ("t", &["y", "n"]),
        ("psd", &["y", "n", "u"]),
    ];
    for (name, known) in wanted {
        if let Some(value) = tag(&tags, name).filter(|value| !known.contains(&value.to_ascii_lowercase().as_str())) {
            let says = format!("`{name}={}` in `{}` means nothing", value.escape_debug(), set.name);
            report.find(Code::DmarcForm, at.clone(), says).help(format!("one of {} does", known.join(", ")));
        }
    }
    if tag(&tags, "p").is_none() {
        let says = format!("`{}` has no `p`", set.name);
        report.find(Code::DmarcForm, at.clone(), says).help("write `p=reject`");
    }
    if tag(&tags, "psd") == Some("y") {
        psd(&set.name, at, report);
    }
    if let Some((gone, _)) = tags.iter().find(|(name, _)| GONE.contains(name)) {
        let says = format!("`{gone}` in `{}` is a tag that DMARC has no more", set.name);
        let help = if *gone == "pct" { "take it out; `t=y` tests a policy" } else { "take it out" };
        report.find(Code::DmarcOldTag, at.clone(), says).help(help);
    }
}

/// The domains that get reports by a record's `rua` and `ruf`, each once.
fn receivers(set: &RecordSet) -> Vec<DomainName> {
    let mut found: Vec<DomainName> = Vec::new();
    for value in &set.values {
        let Rdata::Txt(text) = value else { continue };
        let Some(tags) = tags(text) else { continue };
        let uris = ["rua", "ruf"].into_iter().filter_map(|name| tag(&tags, name)).flat_map(|list| list.split(','));
        for uri in uris.take(20) {
            let address = uri.trim().split('!').next().and_then(|uri| uri.strip_prefix("mailto:"));
            let domain = address.and_then(|address| address.rsplit_once('@')?.1.parse().ok());
            found.extend(domain.filter(|domain| !found.contains(domain)));
        }
    }
    found
}

/// That a domain outside takes the reports (RFC 9990 §4).
fn consent(of: &DomainName, to: &DomainName, world: &World<'_>, at: &Path, report: &mut Report) {
    if to.is_within(of) || of.is_within(to) {
        return;
    }
    let Ok(name) = to.under(&format!("{of}._report._dmarc")) else { return };
    let takes = |value: &Rdata| matches!(value, Rdata::Txt(text) if text.trim_start().starts_with("v=DMARC1"));
    let (says, help) = match world.ask(&name, Asked::Txt).values() {
        Some(values) if values.iter().any(takes) => return,
        Some(_) => (format!("`{to}` does not publish that it takes the reports of `{of}`, so none are sent"), ""),
        None => (
            format!("reports go to `{to}`, which must publish that it takes them"),
            ", and `waybill lock` looks whether it is there",
        ),
    };
    let help = format!("there must be a TXT record `{name}` with `v=DMARC1;`{help}");
    report.find(Code::ReportsElsewhere, at.clone(), says).help(help);
}

fn rank(policy: DmarcPolicy) -> u8 {
    match policy {
        DmarcPolicy::None => 0,
        DmarcPolicy::Quarantine => 1,
        DmarcPolicy::Reject => 2,
    }
}

fn word(policy: DmarcPolicy) -> &'static str {
    match policy {
        DmarcPolicy::None => "none",
        DmarcPolicy::Quarantine => "quarantine",
        DmarcPolicy::Reject => "reject",
    }
}
