//! What the compiler refuses of what was there, broken records most of all, is left out and told, so that the rest is
//! a spec.

use super::facts::{Domain, Facts, Place, Sort};
use super::zone::no_dmarc;
use crate::code::Severity;
use crate::diagnostic::Step;
use crate::pipeline::Compiled;
use schema::name::{Address, DomainName};
use schema::spec::{Spf, SpfAll};
use std::collections::{BTreeMap, BTreeSet};

/// Which part of a domain: its field, a field in that, and which of those.
type Part<'a> = (&'a str, &'a str, usize);

/// Takes out what errors are about. Whether anything could be.
pub fn take_out(compiled: &Compiled, facts: &mut Facts) -> bool {
    let mut parts: BTreeMap<DomainName, BTreeMap<Part<'_>, BTreeSet<String>>> = BTreeMap::new();
    for error in compiled.report.diagnostics().iter().filter(|one| one.severity == Severity::Error) {
        let [Step::Field(top), Step::Item(at), Step::Field(field), rest @ ..] = error.at.steps() else { continue };
        let Some(domain) = compiled.spec.domain.get(*at).filter(|_| *top == "domain") else { continue };
        let part = match rest {
            [Step::Field(inner), Step::Item(item), ..] => (*field, *inner, *item),
            [Step::Item(item), Step::Field(inner), ..] => (*field, *inner, *item),
            _ => (*field, "", 0),
        };
        let says = format!("{}: {}", error.code.id(), error.says);
        parts.entry(domain.name.clone()).or_default().entry(part).or_default().insert(says);
    }
    let mut changed = false;
    for (name, parts) in parts {
        // From the last, so that those before it keep their places.
        for (part, says) in parts.into_iter().rev() {
            let why = says.into_iter().collect::<Vec<_>>().join("; ");
            let taken = match part {
                ("account", inner, at) => of_person(&name, inner, at, &why, facts),
                part => facts.domains.get_mut(&name).and_then(|domain| of_domain(domain, part)).map(|what| {
                    facts.left_of(&name, format!("{what}, which is refused: {why}"));
                }),
            };
            changed |= taken.is_some();
        }
    }
    changed
}

fn of_domain(domain: &mut Domain, part: Part<'_>) -> Option<String> {
    match part {
        ("dns", "record", at) if at < domain.records.len() => {
            let (record, _) = domain.records.remove(at);
            Some(format!("{} {} {}", record.name, record.kind, record.value.join(", ")))
        }
        ("dns", "omit", at) if at < domain.omit.len() => {
            let (omit, _) = domain.omit.remove(at);
            Some(format!("that {} {} is not published", omit.name, omit.kind))
        }
        ("dkim", _, at) if at < domain.dkim.len() => {
            let (selector, ..) = domain.dkim.remove(at);
            Some(format!("the DKIM key {selector}"))
        }
        ("spf", ..) => {
            let least = Spf { terms: Vec::new(), all: Some(SpfAll::Softfail) };
            (domain.spf.replace(least.clone()) != Some(least)).then(|| "SPF".to_owned())
        }
        ("dmarc", ..) => (domain.dmarc.replace(no_dmarc()) != Some(no_dmarc())).then(|| "DMARC".to_owned()),
        ("mta-sts", ..) => domain.mta_sts.take().map(|_| "MTA-STS".to_owned()),
        ("tls-report", ..) if !domain.tls_report.is_empty() => {
            domain.tls_report.clear();
            Some("who gets TLS reports".to_owned())
        }
        _ => None,
    }
}

/// The accounts of a domain stand in its file by their names.
fn of_person(domain: &DomainName, field: &str, at: usize, why: &str, facts: &mut Facts) -> Option<()> {
    let address: Address = facts.accounts.keys().filter(|one| one.domain == *domain).nth(at)?.clone();
    let account = facts.accounts.get_mut(&address)?;
    match field {
        "password" if !account.credentials.is_empty() => account.credentials.clear(),
        "name" if account.name.is_some() => account.name = None,
        "quota" if account.quota.is_some() => account.quota = None,
        _ => return None,
    }
    facts.note(Place::Person(address), Sort::Left, format!("the {field}, which is refused: {why}"));
    Some(())
}
