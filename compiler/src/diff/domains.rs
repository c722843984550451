//! Which mail goes where, and by what a domain's mail is judged.

use super::{Class, Found, Part, Places, json, listed, pairs, rest, v};
use crate::resolve::{Dkim, Domain, Resolved, Spf};
use schema::config;
use schema::name::Address;
use schema::spec::{DmarcPolicy, MtaStsMode};

/// Where mail goes: domains, their hosts, catch-alls and postmasters.
pub fn routes(found: &mut Found<'_>) {
    let (old, new) = (found.old.resolved, found.new.resolved);
    for (a, b) in pairs(&old.domains, &new.domains, |domain| &domain.name) {
        let kind = (Part::Routes, Class::Hot);
        match (a, b) {
            (Some(a), None) => {
                let says = format!(
                    "domain {} is removed: no mail for it is taken any more, its {} accounts and its records go",
                    v(&a.name),
                    people_of(old, a)
                );
                found.note(kind, a.name.as_str(), says, Places::old(&a.at));
            }
            (None, Some(b)) => {
                let says = format!("domain {} is added; its mail goes to {}", v(&b.name), listed(&hosts(new, b)));
                found.note(kind, b.name.as_str(), says, Places::new(&b.at));
            }
            (Some(a), Some(b)) => route(found, a, b),
            (None, None) => {}
        }
    }
}

fn people_of(resolved: &Resolved, domain: &Domain) -> usize {
    resolved.people.accounts.iter().filter(|account| account.address.domain == domain.name).count()
}

fn hosts(resolved: &Resolved, domain: &Domain) -> Vec<String> {
    resolved.hosts_of(domain).map(|(_, host)| host.name.to_string()).collect()
}

fn route(found: &mut Found<'_>, a: &Domain, b: &Domain) {
    let kind = (Part::Routes, Class::Hot);
    let (old, new) = (hosts(found.old.resolved, a), hosts(found.new.resolved, b));
    if old != new {
        let says = format!("mail for {} goes to {} instead of {}", v(&b.name), listed(&new), listed(&old));
        found.note(kind, b.name.as_str(), says, Places::both(&a.hosts_at, &b.hosts_at));
    }
    let (old_at, new_at) = (a.at.field("catch-all"), b.at.field("catch-all"));
    let who = |address: Option<&Address>| address.map(v);
    let says = match (who(a.catch_all.as_ref()), who(b.catch_all.as_ref())) {
        (a, b) if a == b => None,
        (Some(was), Some(now)) => Some(format!("to {now} instead of {was}")),
        (None, Some(now)) => Some(format!("to {now} instead of being refused")),
        (Some(was), None) => Some(format!("nowhere: it is refused, and went to {was}")),
        (None, None) => None,
    };
    if let Some(says) = says {
        let says = format!("mail for addresses of {} that nobody has goes {says}", v(&b.name));
        found.note(kind, b.name.as_str(), says, Places::both(&old_at, &new_at));
    }
    if a.postmaster != b.postmaster {
        let says = match (who(a.postmaster.as_ref()), who(b.postmaster.as_ref())) {
            (_, None) => format!("{} is nobody's any more", v(format!("postmaster@{}", b.name))),
            (was, Some(now)) => format!(
                "mail for {} goes to {now} instead of {}",
                v(format!("postmaster@{}", b.name)),
                was.unwrap_or_else(|| "nobody".to_owned())
            ),
        };
        found.note(kind, b.name.as_str(), says, Places::both(&a.at, &b.at));
    }
    beyond(found, b);
}

/// What a later version's domains hold beside what is known here.
fn beyond(found: &mut Found<'_>, domain: &Domain) {
    let of = |side: &super::Side<'_>| {
        let domains = &side.artefacts.runtime.domains;
        domains
            .binary_search_by(|one| one.name.cmp(&domain.name))
            .ok()
            .and_then(|at| domains.get(at))
            .map(json::<config::Domain>)
    };
    let (Some(a), Some(b)) = (of(found.old), of(found.new)) else { return };
    for says in rest(&a, &b, &["name", "hosts", "dkim", "mta-sts", "postmaster", "catch-all"]) {
        let says = format!("domain {}: {says}", v(&domain.name));
        found.note((Part::Routes, Class::Hot), domain.name.as_str(), says, Places::new(&domain.at));
    }
}

/// By what mail of and for a domain is judged: DKIM, SPF, DMARC, MTA-STS, TLS reports, DANE.
pub fn policies(found: &mut Found<'_>) {
    let (old, new) = (found.old.resolved, found.new.resolved);
    for (a, b) in pairs(&old.domains, &new.domains, |domain| &domain.name) {
        let (Some(a), Some(b)) = (a, b) else { continue };
        dkim(found, a, b);
        spf(found, a, b);
        dmarc(found, a, b);
        mta_sts(found, a, b);
        rest_of_policies(found, a, b);
    }
}

fn dkim(found: &mut Found<'_>, a: &Domain, b: &Domain) {
    let part = Part::Policies;
    for (was, now) in pairs(&a.dkim, &b.dkim, |key: &Dkim| key.selector.to_ascii_lowercase()) {
        let key = |key: &Dkim| format!("the DKIM key {} of {}", v(&key.selector), v(&b.name));
        match (was, now) {
            (Some(was), None) => {
                let says = format!(
                    "{} is taken away; what it signed and is still on its way cannot be verified, so leave it published for 7d \
                     after the last signature",
                    key(was)
                );
                found.note((part, Class::Hot), b.name.as_str(), says, Places::old(&was.at));
            }
            (None, Some(now)) => {
                let says = format!("{} is added; publish its record before the server signs with it", key(now));
                found.note((part, Class::Hot), b.name.as_str(), says, Places::new(&now.at));
            }
            (Some(was), Some(now)) if was.public != now.public || was.algorithm != now.algorithm => {
                // A running server keeps the key that it opened under the same reference.
                let same = was.private == now.private && was.algorithm == now.algorithm;
                let class = if same { Class::Restart } else { Class::Hot };
                let says = format!("{} is another one under the same selector", key(now));
                found.note((part, class), b.name.as_str(), says, Places::both(&was.at, &now.at));
            }
            (Some(was), Some(now)) if was.private != now.private => {
                let says = format!("the private part of {} is kept elsewhere", key(now));
                found.note((part, Class::Hot), b.name.as_str(), says, Places::both(&was.at, &now.at));
            }
            _ => {}
        }
    }
}

fn spf(found: &mut Found<'_>, a: &Domain, b: &Domain) {
    let terms = |spf: &Spf| spf.terms.iter().map(|term| format!("{term:?}")).collect::<Vec<_>>();
    let (old, new) = (terms(&a.spf), terms(&b.spf));
    let mut says = Vec::new();
    if old != new {
        says.push("other servers may send for it".to_owned());
    }
    if a.spf.all != b.spf.all {
        let word = |all: schema::spec::SpfAll| v(json(&all).as_str().unwrap_or_default());
        says.push(format!("everybody else gets {} instead of {}", word(b.spf.all), word(a.spf.all)));
    }
    if !says.is_empty() {
        let says = format!("SPF of {}: {}", v(&b.name), says.join("; "));
        let (old, new) = (a.spf.at.as_ref().unwrap_or(&a.at), b.spf.at.as_ref().unwrap_or(&b.at));
        found.note((Part::Policies, Class::Hot), b.name.as_str(), says, Places::both(old, new));
    }
}

/// `quarantine`
pub fn dmarc_word(policy: DmarcPolicy) -> &'static str {
    match policy {
        DmarcPolicy::None => "none",
        DmarcPolicy::Quarantine => "quarantine",
        DmarcPolicy::Reject => "reject",
    }
}

fn dmarc(found: &mut Found<'_>, a: &Domain, b: &Domain) {
    let (old, new) = (&a.dmarc, &b.dmarc);
    let mut says = Vec::new();
    let word = |policy: Option<DmarcPolicy>| {
        policy.map_or_else(|| "what holds for the domain".to_owned(), |p| v(dmarc_word(p)))
    };
    for (whom, was, now) in [
        ("mail that is not its own", Some(old.policy), Some(new.policy)),
        ("mail of its subdomains", old.subdomain, new.subdomain),
        ("mail of subdomains that do not exist", old.nonexistent, new.nonexistent),
    ] {
        if was != now {
            says.push(format!("{whom} gets {} instead of {}", word(now), word(was)));
        }
    }
    if old.testing != new.testing {
        says.push(if new.testing { "it is only tested (`t=y`)" } else { "it is no longer only tested" }.to_owned());
    }
    if old.strict != new.strict {
        says.push(if new.strict { "it must match exactly" } else { "subdomains match too" }.to_owned());
    }
    if old.report != new.report {
        says.push(format!("reports go to {} instead of {}", v(&new.report), v(&old.report)));
    }
    let (old_at, new_at) = (old.at.as_ref().unwrap_or(&a.at), new.at.as_ref().unwrap_or(&b.at));
    for says in says {
        let says = format!("DMARC of {}: {says}", v(&b.name));
        found.note((Part::Policies, Class::Hot), b.name.as_str(), says, Places::both(old_at, new_at));
    }
}

/// `enforce`
pub fn mode_word(mode: MtaStsMode) -> &'static str {
    match mode {
        MtaStsMode::Enforce => "enforce",
        MtaStsMode::Testing => "testing",
        MtaStsMode::None => "none",
    }
}

fn mta_sts(found: &mut Found<'_>, a: &Domain, b: &Domain) {
    let at = |domain: &Domain| {
        domain.mta_sts.as_ref().and_then(|given| given.at.clone()).unwrap_or_else(|| domain.at.clone())
    };
    let mut says = Vec::new();
    match (&a.mta_sts, &b.mta_sts) {
        (None, None) => {}
        (Some(_), None) => says.push("is no longer published".to_owned()),
        (None, Some(now)) => says.push(format!("is published, as {}", v(mode_word(now.mode)))),
        (Some(was), Some(now)) => {
            if was.mode != now.mode {
                says.push(format!("becomes {} from {}", v(mode_word(now.mode)), v(mode_word(was.mode))));
            }
            if was.max_age != now.max_age {
                says.push(format!("is kept for {} instead of {}", v(now.max_age), v(was.max_age)));
            }
        }
    }
    for says in says {
        let says = format!("the MTA-STS policy of {} {says}", v(&b.name));
        found.note((Part::Policies, Class::Hot), b.name.as_str(), says, Places::both(&at(a), &at(b)));
    }
}

fn rest_of_policies(found: &mut Found<'_>, a: &Domain, b: &Domain) {
    let kind = (Part::Policies, Class::Hot);
    if a.tls_report != b.tls_report {
        let says = format!("reports of TLS troubles with {} go to {}", v(&b.name), listed(&b.tls_report));
        let (old, new) = (a.tls_report_at.as_ref().unwrap_or(&a.at), b.tls_report_at.as_ref().unwrap_or(&b.at));
        found.note(kind, b.name.as_str(), says, Places::both(old, new));
    }
    if a.dnssec != b.dnssec {
        let says = if b.dnssec {
            format!("the zone {} is signed, so keys are pinned in it (DANE)", v(&b.name))
        } else {
            format!("the zone {} is no longer signed, so no key is pinned in it", v(&b.name))
        };
        found.note(kind, b.name.as_str(), says, Places::both(&a.at, &b.at));
    }
}
