//! What the spec wants of everything that changes by steps.

use super::Topic;
use crate::emit::Artefacts;
use crate::plan::SetKey;
use crate::resolve::{Dkim, Domain, KeyState, Resolved};
use crate::zone::{Kind, Zone};
use schema::name::DomainName;
use schema::spec::{DmarcPolicy, MtaStsMode};
use schema::unit::Period;
use std::collections::BTreeMap;

/// What is wanted, by zone and topic.
pub type Goals = BTreeMap<DomainName, BTreeMap<Topic, Goal>>;

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// As [`Topic`] says.
    pub values: Vec<String>,
    /// What is in effect where nothing is known yet; empty: the goal.
    start: Vec<String>,
    /// The zone.
    pub(super) zone: DomainName,
    /// The zone in which keys and policies are.
    pub(super) home: DomainName,
    /// Where each of them is.
    pub(super) places: BTreeMap<String, DomainName>,
    /// The zone's time to live, in seconds.
    pub(super) ttl: i64,
    /// How long each weaker step lasts, where the spec wants such steps.
    pub(super) step: Option<Period>,
    /// The sets that change themselves, and are shown before a step is over: the host's TLSA records, MX, addresses.
    pub(super) sets: Vec<SetKey>,
    /// The time to live to which they are lowered while they change, in seconds.
    pub(super) lowered: Option<Period>,
}

impl Goal {
    /// What is in effect where nothing is known.
    pub fn first(&self) -> Vec<String> {
        if self.start.is_empty() { self.values.clone() } else { self.start.clone() }
    }

    /// The same of other values.
    pub(super) fn toward(&self, to: &[String]) -> Goal {
        Goal { values: to.to_vec(), ..self.clone() }
    }
}

/// The policy that a word of `p=` means.
pub(super) fn dmarc(word: &str) -> Option<DmarcPolicy> {
    match word {
        "none" => Some(DmarcPolicy::None),
        "quarantine" => Some(DmarcPolicy::Quarantine),
        "reject" => Some(DmarcPolicy::Reject),
        _ => None,
    }
}

/// How strict a policy is.
pub(super) fn weight(policy: DmarcPolicy) -> usize {
    match policy {
        DmarcPolicy::None => 0,
        DmarcPolicy::Quarantine => 1,
        DmarcPolicy::Reject => 2,
    }
}

/// The words of policies, weakest first.
pub(super) const DMARC: [&str; 3] = ["none", "quarantine", "reject"];

/// What the spec wants in every zone that somebody publishes. Where nobody does, nothing can be waited for, and what the
/// spec says is in effect at once.
pub fn goals(resolved: &Resolved, artefacts: &Artefacts) -> Goals {
    let zones = resolved.domains.iter().zip(&artefacts.zones);
    let published = zones.filter(|(domain, zone)| {
        domain.name == zone.name && resolved.domain(domain.home()).is_some_and(|home| home.provider.is_some())
    });
    published.map(|(domain, zone)| (domain.name.clone(), of(resolved, domain, (zone, artefacts)))).collect()
}

/// The zone of that name.
fn zone_of<'a>(artefacts: &'a Artefacts, name: &DomainName) -> Option<&'a Zone> {
    artefacts.zones.get(artefacts.zones.binary_search_by(|zone| zone.name.cmp(name)).ok()?)
}

fn of(resolved: &Resolved, domain: &Domain, (zone, artefacts): (&Zone, &Artefacts)) -> BTreeMap<Topic, Goal> {
    let mut goals = BTreeMap::new();
    let home = if domain.delegation.is_none() { Some(zone) } else { zone_of(artefacts, domain.home()) };
    let prefixes = domain.dkim.iter().map(|key| format!("{}._domainkey", key.selector));
    let prefixes = prefixes.chain(["_dmarc", "_mta-sts"].map(str::to_owned));
    let places: BTreeMap<String, DomainName> =
        prefixes.filter_map(|prefix| Some((prefix.clone(), domain.place(&prefix).ok()?))).collect();
    let has = |prefix: &str| {
        let place = places.get(prefix);
        place.is_some_and(|name| home.is_some_and(|home| home.set(name, Kind::Txt).is_some()))
    };
    let ttl = resolved.domain(domain.home()).map_or(domain.ttl, |home| home.ttl.max(domain.ttl));
    let goal = |values: Vec<String>| Goal {
        values,
        start: Vec::new(),
        zone: domain.name.clone(),
        home: domain.home().clone(),
        places: places.clone(),
        ttl: i64::try_from(ttl.0).unwrap_or(i64::MAX),
        step: None,
        sets: Vec::new(),
        lowered: None,
    };
    let signing = selectors(domain, |key| key.state == KeyState::Signing);
    if !signing.is_empty() {
        goals.insert(Topic::Dkim, Goal { start: leaving(domain), ..goal(signing) });
    }
    if has("_dmarc") {
        let word = DMARC.get(weight(domain.dmarc.policy)).copied().unwrap_or("reject");
        let step = domain.dmarc.step;
        let start = if step.is_some() { vec!["none".to_owned()] } else { Vec::new() };
        goals.insert(Topic::Dmarc, Goal { step, start, ..goal(vec![word.to_owned()]) });
    }
    let policy = domain.mta_sts.as_ref().filter(|_| has("_mta-sts"));
    let word = |mode| match mode {
        MtaStsMode::Enforce => "enforce",
        MtaStsMode::Testing => "testing",
        MtaStsMode::None => "none",
    };
    let values = |mode, age: Period| vec![word(mode).to_owned(), age.0.to_string()];
    let wanted = policy.map_or_else(Vec::new, |policy| values(policy.mode, policy.max_age));
    let step = policy.and_then(|policy| policy.step.filter(|_| policy.mode == MtaStsMode::Enforce));
    let start = policy.filter(|_| step.is_some()).map_or_else(Vec::new, |p| values(MtaStsMode::Testing, p.max_age));
    goals.insert(Topic::MtaSts, Goal { step, start, ..goal(wanted) });
    if let Some(mx) = zone.set(&domain.name, Kind::Mx).filter(|_| domain.provider.is_some()) {
        let sets = vec![SetKey { name: domain.name.clone(), kind: Kind::Mx }];
        let values = mx.values.iter().map(ToString::to_string).collect();
        goals.insert(Topic::Exchangers, Goal { sets, lowered: domain.move_ttl, ..goal(values) });
    }
    for host in resolved.hosts.iter().filter(|host| host.name.domain().is_within(&domain.name)) {
        let Some((key, _)) = host.keys.first() else { continue };
        let of_host = |name: &DomainName| name.is_within(host.name.domain());
        let tlsa = zone.sets.iter().filter(|set| set.kind == Kind::Tlsa && of_host(&set.name));
        let tlsa: Vec<SetKey> = tlsa.map(|set| SetKey { name: set.name.clone(), kind: set.kind }).collect();
        if !tlsa.is_empty() {
            goals.insert(Topic::Tls(host.name.clone()), Goal { sets: tlsa, ..goal(vec![key.clone()]) });
        }
    }
    if domain.move_ttl.is_some() && domain.provider.is_some() {
        addresses(resolved, domain, zone, &mut |topic, values, sets| {
            goals.insert(topic, Goal { sets, lowered: domain.move_ttl, ..goal(values) });
        });
    }
    goals
}

/// The addresses of every host that has some in a zone.
fn addresses(resolved: &Resolved, domain: &Domain, zone: &Zone, put: &mut impl FnMut(Topic, Vec<String>, Vec<SetKey>)) {
    for host in resolved.hosts.iter().filter(|host| host.name.domain().is_within(&domain.name)) {
        let key = |kind| SetKey { name: host.name.domain().clone(), kind };
        let sets: Vec<SetKey> = [Kind::A, Kind::Aaaa].map(key).into();
        let values: Vec<String> = host.addresses.iter().map(ToString::to_string).collect();
        // A set of the operator's own stays as it is written.
        let ours = sets.iter().filter_map(|key| zone.set(&key.name, key.kind)).flat_map(|set| &set.values);
        let mut ours: Vec<String> = ours.map(ToString::to_string).collect();
        let mut sorted = values.clone();
        ours.sort();
        sorted.sort();
        if !values.is_empty() && ours == sorted {
            put(Topic::Address(host.name.clone()), values, sets);
        }
    }
}

fn selectors(domain: &Domain, which: impl Fn(&Dkim) -> bool) -> Vec<String> {
    let keys = domain.dkim.iter().filter(|key| key.private.is_some() && which(key));
    keys.map(|key| key.selector.clone()).collect()
}

/// The keys that go by what the spec says and can sign as yet, and those that nothing stands in for; none where no key
/// goes.
fn leaving(domain: &Domain) -> Vec<String> {
    let goes = |key: &Dkim| key.state == KeyState::Retiring && key.private.is_some();
    if !domain.dkim.iter().any(goes) {
        return Vec::new();
    }
    let replaced = |key: &Dkim| domain.dkim.iter().any(|other| goes(other) && other.algorithm == key.algorithm);
    selectors(domain, |key| goes(key) || (key.state == KeyState::Signing && !replaced(key)))
}
