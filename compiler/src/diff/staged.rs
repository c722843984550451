//! What is right as a state but breaks mail as a step: it must be staged, or allowed with a reason.

use super::domains::dmarc_word;
use super::{Side, pairs};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::emit::runtime::policy;
use crate::resolve::{Dkim, Domain};
use schema::name::DomainName;
use schema::spec::{DmarcPolicy, MtaStsMode};

/// How a DMARC policy is tightened.
pub const DMARC_HELP: &str = "write `dmarc \"quarantine\"` first and read the reports for some weeks; or write `allow W0800 reason=\"…\" until=\"YYYY-MM-DD\"`";

/// Finds the steps that are too long. Places are the new spec's.
pub fn staged(old: &Side<'_>, new: &Side<'_>, report: &mut Report) {
    for (a, b) in pairs(&old.resolved.domains, &new.resolved.domains, |domain| &domain.name) {
        // What is published for the first time, or no more, nobody relies on.
        let (Some(a), Some(b)) = (a, b) else { continue };
        dmarc(a, b, report);
        dkim((old, a), b, report);
        exchangers((old, a), (new, b), report);
        withdrawn(a, b, report);
    }
}

fn or<'a>(at: Option<&'a Path>, domain: &'a Domain) -> &'a Path {
    at.unwrap_or(&domain.at)
}

fn weight(policy: DmarcPolicy) -> u8 {
    match policy {
        DmarcPolicy::None => 0,
        DmarcPolicy::Quarantine => 1,
        DmarcPolicy::Reject => 2,
    }
}

/// RFC 9989: a policy is tightened step by step, with reports read in between.
fn dmarc(a: &Domain, b: &Domain, report: &mut Report) {
    // A policy that is only tested is published, and applies as the next weaker one.
    let real = |domain: &Domain, policy: DmarcPolicy| weight(policy).saturating_sub(u8::from(domain.dmarc.testing));
    let (old, new) = (&a.dmarc, &b.dmarc);
    for (tag, was, now) in [
        ("p", old.policy, new.policy),
        ("sp", old.subdomain.unwrap_or(old.policy), new.subdomain.unwrap_or(new.policy)),
    ] {
        if real(b, now) > real(a, was) + 1 {
            let says = format!(
                "the DMARC policy of `{}` is tightened from `{tag}={}` to `{tag}={}` in one step",
                b.name,
                dmarc_word(was),
                dmarc_word(now)
            );
            report.find(Code::DmarcLeap, or(new.at.as_ref(), b).clone(), says).help(DMARC_HELP);
            return;
        }
    }
}

/// RFC 6376 §3.1: mail on its way, and caches, still go by the old key.
fn dkim((old, a): (&Side<'_>, &Domain), b: &Domain, report: &mut Report) {
    for (was, now) in pairs(&a.dkim, &b.dkim, |key: &Dkim| key.selector.to_ascii_lowercase()) {
        let (Some(was), Some(now)) = (was, now) else { continue };
        if was.public == now.public && was.algorithm == now.algorithm {
            continue;
        }
        let before = old.at(&was.at).unwrap_or_default();
        let says = format!(
            "the selector `{}` of `{}` names another key than before ({before}); what the old one signed fails until it is gone from every cache",
            now.selector, b.name
        );
        let help =
            "give the new key a new selector beside the old one, and take the old one out 7d after the last signature";
        report.find(Code::SelectorReused, now.at.clone(), says).help(help);
    }
}

/// The hosts that a domain's MX records name.
fn names<'a>(side: &'a Side<'_>, domain: &'a Domain) -> Vec<&'a DomainName> {
    let hosts = || side.resolved.hosts_of(domain).map(|(_, host)| host.name.domain()).collect();
    domain.own_exchangers().unwrap_or_else(hosts)
}

/// RFC 8461 §5: a sender that holds an enforced policy delivers only to the hosts that it names.
fn exchangers((old, a): (&Side<'_>, &Domain), (new, b): (&Side<'_>, &Domain), report: &mut Report) {
    let Some(was) = a.mta_sts.as_ref().filter(|was| was.mode == MtaStsMode::Enforce) else { return };
    if policy(a, old.resolved).is_none() {
        return;
    }
    let (held, now) = (names(old, a), names(new, b));
    if now.is_empty() || now.iter().any(|host| held.contains(host)) {
        return;
    }
    let list = |names: &[&DomainName]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let says = format!(
        "the mail of `{}` moves to {}, and senders that hold its enforced MTA-STS policy deliver only to {} for up to {}",
        b.name,
        list(&now),
        list(&held),
        was.max_age
    );
    let help = format!(
        "stage it: 1. add the new host with a higher `priority` and keep the old one, so that the policy names both; \
         2. wait {} and the record's TTL; 3. take the old host out",
        was.max_age
    );
    report.find(Code::ExchangersMoved, b.hosts_at.clone(), says).help(help);
}

/// RFC 8461 §8.3: a policy is withdrawn by one that says `none`, for as long as the old one is held.
fn withdrawn(a: &Domain, b: &Domain, report: &mut Report) {
    let Some(was) = a.mta_sts.as_ref().filter(|was| was.mode == MtaStsMode::Enforce) else { return };
    if b.mta_sts.is_some() {
        return;
    }
    let says = format!(
        "the enforced MTA-STS policy of `{}` is withdrawn, and senders hold it for up to {} more",
        b.name, was.max_age
    );
    let help = format!(
        "stage it: 1. write `mta-sts \"none\" max-age=\"1d\"` while a host still serves https; 2. wait {}; 3. take it out",
        was.max_age
    );
    report.find(Code::PolicyWithdrawn, b.at.clone(), says).help(help);
}
