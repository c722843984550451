//! The zones that the spec makes beside those that were seen: what is the same is derived, what is not is kept as a
//! record of one's own, or told.

use super::facts::Facts;
use crate::zone::{Kind, Rdata, RecordSet, Zone};
use schema::name::DomainName;
use schema::spec::{ExtraRecord, RecordName};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Keeps what differs.
pub fn reconcile(zones: &[Zone], facts: &mut Facts) {
    for zone in zones {
        let Some(live) = facts.domains.get(&zone.name).and_then(|domain| domain.live.clone()) else { continue };
        let mut same = 0;
        let mut omitted: BTreeSet<(DomainName, Kind)> = BTreeSet::new();
        for ((name, kind), values) in &live.sets {
            let accepted = facts.domains.get(&zone.name).is_some_and(|d| d.accepted.contains(&(name.clone(), *kind)));
            let derived = zone.set(name, *kind);
            if derived.is_some_and(|derived| holds(derived, values)) || accepted {
                same += 1;
                continue;
            }
            match judge(name, *kind, values, zone, facts) {
                Verdict::Derived(why) => facts.left_of(&zone.name, why),
                Verdict::Silent => same += 1,
                Verdict::Kept(why) => {
                    let beside = zone.sets.iter().filter(|set| {
                        set.name == *name && set.kind != *kind && (set.kind == Kind::Cname || *kind == Kind::Cname)
                    });
                    let beside: Vec<Kind> = beside.map(|set| set.kind).collect();
                    let front = relative(name, &zone.name);
                    let Some(domain) = facts.domains.get_mut(&zone.name) else { continue };
                    for other in beside {
                        if omitted.insert((name.clone(), other)) {
                            let why = format!("kept as it was: {} {} stands here", front, kind.name());
                            domain.omit.push((RecordName { name: front.clone(), kind: other.name().into() }, why));
                        }
                    }
                    let value = values.iter().map(text).collect();
                    domain.records.push((ExtraRecord { name: front, kind: kind.name().into(), value }, why));
                }
            }
        }
        facts.took("record sets that the spec says, too", same);
        let new: Vec<String> = zone
            .sets
            .iter()
            .filter(|set| !live.sets.keys().any(|(name, _)| *name == set.name))
            .map(|set| format!("{} {}", relative(&set.name, &zone.name), set.kind.name()))
            .collect();
        if !new.is_empty() {
            let text = format!("records that the zone does not have yet are published: {}", new.join(", "));
            facts.guessed_of(&zone.name, text);
        }
    }
}

/// Whether a derived set says what was there; at a domain's name only its SPF record is looked at.
fn holds(derived: &RecordSet, values: &[Rdata]) -> bool {
    let spf = derived.kind == Kind::Txt && values.iter().any(crate::resolve::is_spf);
    let derived: Vec<&Rdata> = derived.values.iter().filter(|value| !spf || crate::resolve::is_spf(value)).collect();
    derived.len() == values.len() && values.iter().all(|value| derived.contains(&value))
}

enum Verdict {
    /// The spec's own is better; what was there is told.
    Derived(String),
    /// The spec says the same in another way.
    Silent,
    /// It stays, and why.
    Kept(String),
}

fn judge(name: &DomainName, kind: Kind, values: &[Rdata], zone: &Zone, facts: &Facts) -> Verdict {
    let was = || values.iter().map(Rdata::to_string).collect::<Vec<_>>().join(", ");
    let front = relative(name, &zone.name);
    let derived = zone.set(name, kind);
    match kind {
        Kind::Tlsa => Verdict::Derived(format!(
            "{front} TLSA {}: with another key it would stop mail. Write the `key` in the host's `tls`",
            was()
        )),
        Kind::Srv if derived.is_some_and(|set| set.values.iter().all(|value| value.target().is_none())) => {
            Verdict::Derived(format!("{front} SRV {}: nothing serves it", was()))
        }
        // An address where the spec has an alias to the host of that address.
        Kind::A | Kind::Aaaa if zone.set(name, Kind::Cname).is_some() && are_hosts(values, facts) => Verdict::Silent,
        Kind::Txt if derived.is_some_and(|set| same_spf(&set.values, values)) => Verdict::Silent,
        Kind::Txt if derived.is_none() && front.contains("_domainkey") => {
            Verdict::Kept("kept as it was: a key of which the private half is not here (--keys)".to_owned())
        }
        _ if derived.is_none() => Verdict::Kept("kept as it was".to_owned()),
        _ => {
            let ours = derived.map(|set| set.values.iter().map(Rdata::to_string).collect::<Vec<_>>().join(", "));
            Verdict::Kept(format!("kept as it was; without this line: {}", ours.unwrap_or_default()))
        }
    }
}

/// Whether two SPF records say the same but for whom reports go to.
fn same_spf(ours: &[Rdata], theirs: &[Rdata]) -> bool {
    let words = |values: &[Rdata]| match values {
        [value @ Rdata::Txt(text)] if crate::resolve::is_spf(value) => {
            let words = text.split_ascii_whitespace().filter(|word| !word.starts_with("ra="));
            Some(words.map(str::to_ascii_lowercase).collect::<Vec<_>>())
        }
        _ => None,
    };
    words(ours).is_some_and(|ours| words(theirs) == Some(ours))
}

fn are_hosts(values: &[Rdata], facts: &Facts) -> bool {
    let known: BTreeSet<IpAddr> = facts.hosts.values().flat_map(|host| host.addresses.iter().copied()).collect();
    values.iter().all(|value| match value {
        Rdata::A(v4) => known.contains(&IpAddr::V4(*v4)),
        Rdata::Aaaa(v6) => known.contains(&IpAddr::V6(*v6)),
        _ => false,
    })
}

/// A name as `dns` writes it.
fn relative(name: &DomainName, domain: &DomainName) -> String {
    match name.as_str().strip_suffix(domain.as_str()) {
        Some("") => "@".to_owned(),
        Some(front) => front.trim_end_matches('.').to_owned(),
        None => name.to_string(),
    }
}

/// A value as `record` takes it: TXT without quotes.
fn text(value: &Rdata) -> String {
    match value {
        Rdata::Txt(text) => text.clone(),
        other => other.to_string(),
    }
}
