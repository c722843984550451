//! What is published: record sets, and where zones go.

use super::{Class, Found, Part, Places, Side, json, pairs, v};
use crate::diagnostic::Path;
use crate::zone::{RecordSet, Zone};
use std::collections::BTreeMap;

/// Record sets of every zone.
pub fn records(found: &mut Found<'_>) {
    let (old, new) = (&found.old.artefacts.zones, &found.new.artefacts.zones);
    for (a, b) in pairs(old, new, |zone| &zone.name) {
        match (a, b) {
            (Some(zone), None) => whole(found, zone, false),
            (None, Some(zone)) => whole(found, zone, true),
            (Some(a), Some(b)) => sets(found, a, b),
            (None, None) => {}
        }
    }
    providers(found);
}

/// A zone that comes or goes is one difference.
fn whole(found: &mut Found<'_>, zone: &Zone, comes: bool) {
    let records: usize = zone.sets.iter().map(|set| set.values.len()).sum();
    let verb = if comes { "are published" } else { "are withdrawn" };
    let says = format!("{records} records of the zone {} {verb}", v(&zone.name));
    let side = if comes { found.new } else { found.old };
    let domain = side.resolved.domains.iter().find(|domain| domain.name == zone.name);
    let at = domain.map_or_else(Path::root, |domain| domain.at.clone());
    let places = if comes { Places::new(&at) } else { Places::old(&at) };
    found.note((Part::Records, Class::Hot), zone.name.as_str(), says, places);
}

fn at(set: &RecordSet) -> Path {
    let given = set.origins.iter().find(|origin| origin.given);
    given.or(set.origins.first()).map_or_else(Path::root, |origin| origin.at.clone())
}

fn sets(found: &mut Found<'_>, a: &Zone, b: &Zone) {
    let key = |set: &'_ RecordSet| (set.name.clone(), set.kind);
    for (was, now) in pairs(&a.sets, &b.sets, key) {
        let Some(any) = now.or(was) else { continue };
        let head = format!("{} {}", v(&any.name), any.kind.name());
        let subject = format!("{} {}", any.name, any.kind.name());
        let kind = (Part::Records, Class::Hot);
        match (was, now) {
            (Some(was), None) => {
                let says = format!("{head} is withdrawn: {}", values(was.values.iter()));
                found.note(kind, &subject, says, Places::old(&at(was)));
            }
            (None, Some(now)) => {
                let says = format!("{head} is published: {}", values(now.values.iter()));
                found.note(kind, &subject, says, Places::new(&at(now)));
            }
            (Some(was), Some(now)) => {
                if was.values != now.values {
                    let gone = was.values.iter().filter(|value| !now.values.contains(value));
                    let come = now.values.iter().filter(|value| !was.values.contains(value));
                    let (gone, come): (Vec<_>, Vec<_>) = (gone.collect(), come.collect());
                    let says = match (gone.as_slice(), come.as_slice()) {
                        (gone, []) => format!("{head} loses {}", values(gone.iter().copied())),
                        ([], come) => format!("{head} gains {}", values(come.iter().copied())),
                        (gone, come) => {
                            format!(
                                "{head}: {} instead of {}",
                                values(come.iter().copied()),
                                values(gone.iter().copied())
                            )
                        }
                    };
                    found.note(kind, &subject, says, Places::both(&at(was), &at(now)));
                }
                if was.ttl != now.ttl {
                    let says = format!("{head} may be cached for {} instead of {}", v(now.ttl), v(was.ttl));
                    found.note(kind, &subject, says, Places::both(&at(was), &at(now)));
                }
            }
            (None, None) => {}
        }
    }
}

fn values<'a>(values: impl Iterator<Item = &'a crate::zone::Rdata>) -> String {
    values.map(v).collect::<Vec<_>>().join(", ")
}

/// Through what zones are published.
fn providers(found: &mut Found<'_>) {
    fn by_name<'a>(side: &'a Side<'_>) -> BTreeMap<&'a str, (usize, serde_json::Value)> {
        let all = side.compiled.spec.dns.iter().enumerate();
        all.map(|(at, dns)| (dns.name.as_str(), (at, json(dns)))).collect()
    }
    let (a, b) = (by_name(found.old), by_name(found.new));
    let path = |at: usize| Path::root().field("dns").item(at);
    let kind = (Part::Records, Class::Hot);
    for (name, (at, was)) in &a {
        match b.get(name) {
            None => found.note(kind, name, format!("the DNS provider {} is removed", v(name)), Places::old(&path(*at))),
            Some((now_at, now)) if now != was => {
                let says = format!("the DNS provider {} changes", v(name));
                found.note(kind, name, says, Places::both(&path(*at), &path(*now_at)));
            }
            Some(_) => {}
        }
    }
    for (name, (at, _)) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
        found.note(kind, name, format!("the DNS provider {} is added", v(name)), Places::new(&path(*at)));
    }
    published_by(found);
}

/// Which provider publishes a domain's zone, where the domain says so itself.
fn published_by(found: &mut Found<'_>) {
    fn provider<'a>(side: &Side<'a>) -> BTreeMap<&'a str, (usize, Option<&'a str>)> {
        let all = side.compiled.spec.domain.iter().enumerate();
        let each = all.map(|(at, domain)| {
            (domain.name.as_str(), (at, domain.dns.as_ref().and_then(|dns| dns.provider.as_deref())))
        });
        each.collect()
    }
    let (a, b) = (provider(found.old), provider(found.new));
    for (name, (at, was)) in &a {
        let Some((now_at, now)) = b.get(name).filter(|(_, now)| now != was) else { continue };
        let word = |name: Option<&str>| name.map_or_else(|| "what the defaults say".to_owned(), v);
        let says = format!("the zone {} is published through {} instead of {}", v(name), word(*now), word(*was));
        let path = |at: usize| Path::root().field("domain").item(at).field("dns");
        found.note((Part::Records, Class::Hot), name, says, Places::both(&path(*at), &path(*now_at)));
    }
}
