//! CAA (RFC 8659, RFC 8657): the authority that is asked for certificates may issue them, for every name.

use super::Around;
use super::world::{Answer, World, own, place};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::lock::Asked;
use crate::resolve::{Host, Resolved};
use crate::zone::{Kind, Rdata};
use schema::name::DomainName;
use std::collections::HashSet;

/// Properties that authorities know.
const KNOWN: [&str; 7] = ["issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc"];

/// Looks at every name that a certificate is asked for, and at the operator's own CAA records.
pub fn lint(around: &Around<'_>, world: &World<'_>, report: &mut Report) {
    let mut told = HashSet::new();
    for (name, host) in certified(around.resolved, |name| world.set(name, Kind::Cname)?.values.first()?.target()) {
        climb(&name, host, world, &mut told, report);
    }
    let sets = around.artefacts.zones.iter().flat_map(|zone| &zone.sets);
    for set in sets.filter(|set| set.kind == Kind::Caa) {
        let Some(at) = own(set) else { continue };
        let strange = set.values.iter().find_map(|value| match value {
            Rdata::Caa(flags, tag, _) if flags & 128 != 0 && !KNOWN.contains(&tag.as_str()) => Some(tag),
            _ => None,
        });
        if let Some(tag) = strange {
            let says = format!("`{} CAA` has `{tag}` marked as critical, which no authority knows", set.name);
            let help = "authorities issue nothing then: write the flags 0";
            report.find(Code::CaaCritical, at.clone(), says).help(help);
        }
    }
}

/// Every name that a certificate is asked for, and the host that asks; `alias` says where a name leads.
pub fn certified<'a>(
    resolved: &'a Resolved,
    alias: impl Fn(&DomainName) -> Option<&'a DomainName>,
) -> Vec<(DomainName, &'a Host)> {
    let mut names: Vec<_> = resolved.hosts.iter().map(|host| (host.name.domain().clone(), host)).collect();
    for domain in &resolved.domains {
        for prefix in ["mta-sts", "autoconfig", "autodiscover"] {
            let Ok(name) = domain.name.under(prefix) else { continue };
            if let Some(host) = alias(&name).and_then(|target| resolved.host(target)) {
                names.push((name, host));
            }
        }
    }
    names
}

/// RFC 8659 §3: the first set that there is on the way to the root holds.
fn climb(
    name: &DomainName,
    host: &Host,
    world: &World<'_>,
    told: &mut HashSet<(Path, DomainName)>,
    report: &mut Report,
) {
    let Some(wanted) = host.caa.as_deref() else { return };
    let mut at = Some(name.clone());
    while let Some(owner) = at {
        let answer = world.ask(&owner, Asked::Caa);
        match answer.values() {
            // Above what is not known nothing is, either.
            None => return,
            Some([]) => {}
            Some(values) => {
                let Some(why) = forbids(values, wanted) else { return };
                let acme = host.at.field("tls").field("acme");
                let (place, also) = match answer {
                    Answer::Ours(set) => (own(set).cloned().unwrap_or_else(|| place(set)), Some(acme)),
                    _ => (acme, None),
                };
                if !told.insert((place.clone(), owner.clone())) {
                    return;
                }
                let says = format!("`{owner} CAA` lets no certificate for `{name}` be issued: {why}");
                let found = report.find(Code::CaaForbids, place, says);
                if let Some(acme) = also {
                    found.also(acme, "asked for here");
                }
                found.help(format!("there must be `0 issue \"{wanted}\"` among them"));
                return;
            }
        }
        at = owner.parent();
    }
}

/// Why a set forbids what is asked for, if it does.
pub fn forbids(values: &[Rdata], wanted: &str) -> Option<String> {
    let issue: Vec<&str> = values
        .iter()
        .filter_map(|value| match value {
            Rdata::Caa(_, tag, value) if tag.eq_ignore_ascii_case("issue") => Some(value.as_str()),
            _ => None,
        })
        .collect();
    // RFC 8659 §4.2: where no property speaks of it, everybody may.
    if issue.is_empty() {
        return None;
    }
    let (issuer, asked) = parameters(wanted);
    let ours: Vec<&str> = issue.iter().copied().filter(|one| parameters(one).0.eq_ignore_ascii_case(issuer)).collect();
    if ours.is_empty() {
        return Some(format!("`{issuer}` is not among the authorities"));
    }
    let fits = |property: &&str| {
        let (_, limits) = parameters(property);
        limits.iter().all(|(name, value)| {
            let ours = asked.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
            match name.to_ascii_lowercase().as_str() {
                // What `acme` leaves open, the server chooses among what is allowed.
                "validationmethods" => ours.is_none_or(|method| value.split(',').any(|one| one.trim() == method)),
                "accounturi" => ours == Some(value),
                _ => true,
            }
        })
    };
    let why = "method or account are others than those of `acme`, or `account` is not written";
    (!ours.iter().any(fits)).then(|| why.to_owned())
}

/// The issuer and the parameters of a value (RFC 8659 §4.2).
fn parameters(value: &str) -> (&str, Vec<(&str, &str)>) {
    let mut parts = value.split(';').map(str::trim);
    let issuer = parts.next().unwrap_or_default();
    let pair = |part: &'_ str| part.find('=');
    (issuer, parts.filter_map(|part| pair(part).map(|at| (part[..at].trim(), part[at + 1..].trim()))).collect())
}
