//! What DNS says: the zones of the spec, and beyond them what `waybill.lock` holds.

use crate::diagnostic::Path;
use crate::emit::Artefacts;
use crate::lock::{Asked, Lock, Question};
use crate::zone::{Kind, Rdata, RecordSet, Zone};
use foldhash::{HashMap, HashMapExt, HashSet};
use schema::name::DomainName;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// The longest chain of aliases that is followed.
const LONGEST_CHAIN: usize = 8;

/// What is known of a name and type.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// The spec publishes it.
    Ours(&'a RecordSet),
    /// The lock has it; none where it does not exist.
    Locked(&'a [Rdata]),
    /// The spec has the name, and no such record.
    Nothing,
    /// Only a look into DNS would tell.
    Unknown,
}

impl<'a> Answer<'a> {
    /// The values, none where there are none; `None` where that is not known.
    pub fn values(self) -> Option<&'a [Rdata]> {
        match self {
            Answer::Ours(set) => Some(&set.values),
            Answer::Locked(values) => Some(values),
            Answer::Nothing => Some(&[]),
            Answer::Unknown => None,
        }
    }

    /// Whether it is known that there is none.
    pub fn is_none(self) -> bool {
        self.values().is_some_and(<[Rdata]>::is_empty)
    }
}

/// The zones of the spec and the lock.
pub struct World<'a> {
    zones: &'a [Zone],
    lock: &'a Lock,
    /// The sets of each name.
    names: HashMap<&'a DomainName, &'a [RecordSet]>,
    /// Sets of names that are in a zone before as well.
    again: Vec<&'a [RecordSet]>,
    wild: HashSet<&'a DomainName>,
    asked: Mutex<BTreeSet<Question>>,
}

impl<'a> World<'a> {
    /// Looks at these.
    pub fn of(artefacts: &'a Artefacts, lock: &'a Lock) -> World<'a> {
        let zones = &artefacts.zones;
        let is_wild = |zone: &&Zone| zone.sets.iter().any(|set| set.name.as_str().starts_with("*."));
        let mut names = HashMap::with_capacity(zones.iter().map(|zone| zone.sets.len()).sum());
        let mut again = Vec::new();
        for sets in zones.iter().flat_map(|zone| zone.sets.chunk_by(|one, next| one.name == next.name)) {
            let Some(first) = sets.first() else { continue };
            if names.contains_key(&first.name) {
                again.push(sets);
            } else {
                names.insert(&first.name, sets);
            }
        }
        let wild = zones.iter().filter(is_wild).map(|zone| &zone.name).collect();
        World { zones, lock, names, again, wild, asked: Mutex::default() }
    }

    /// The set of that very name; where two zones have one, the later zone's.
    fn exact(&self, name: &DomainName, kind: Kind) -> Option<&'a RecordSet> {
        let again = self.again.iter().rev().filter(|sets| sets.first().is_some_and(|set| set.name == *name));
        again.chain(self.names.get(name)).flat_map(|sets| sets.iter()).find(|set| set.kind == kind)
    }

    /// What it says of a name and type, aliases within the spec followed.
    pub fn ask(&self, name: &DomainName, kind: Asked) -> Answer<'a> {
        let mut name = name.clone();
        for _ in 0..LONGEST_CHAIN {
            if let Some(set) = self.set(&name, kind.zone_kind()) {
                return Answer::Ours(set);
            }
            if let Some(Rdata::Cname(to)) = self.set(&name, Kind::Cname).and_then(|set| set.values.first()) {
                name = to.clone();
                continue;
            }
            if self.names.contains_key(&name) || self.covering(&name).is_some() {
                return Answer::Nothing;
            }
            return self.locked(name, kind);
        }
        Answer::Nothing
    }

    /// The alias that a name is, if it is known to be one.
    pub fn alias(&self, name: &DomainName) -> Option<&'a DomainName> {
        let found = match self.set(name, Kind::Cname) {
            Some(set) => Answer::Ours(set),
            None if self.names.contains_key(name) => Answer::Nothing,
            None => self.locked(name.clone(), Asked::Cname),
        };
        found.values()?.first()?.target()
    }

    /// The names that an address has by its PTR; `None` where that is not known.
    pub fn reverse(&self, address: &IpAddr) -> Option<&'a [Rdata]> {
        let text = match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(v6) => {
                let octets = v6.octets();
                let digits = octets.iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
                digits.map(|digit| format!("{digit:x}.")).collect::<String>() + "ip6.arpa"
            }
        };
        self.locked(text.parse().ok()?, Asked::Ptr).values()
    }

    /// The zone of the spec in which a name lies.
    pub fn zone(&self, name: &DomainName) -> Option<&'a Zone> {
        let mut at = Some(name.clone());
        while let Some(name) = at {
            if let Ok(found) = self.zones.binary_search_by(|zone| zone.name.cmp(&name)) {
                return self.zones.get(found);
            }
            at = name.parent();
        }
        None
    }

    /// Everything that was asked of the lock.
    pub fn asked(self) -> BTreeSet<Question> {
        self.asked.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked(&self, name: DomainName, kind: Asked) -> Answer<'a> {
        let question = Question { name, kind };
        let found = self.lock.sets.get(&question);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(question);
        found.map_or(Answer::Unknown, |set| Answer::Locked(&set.values))
    }

    /// A set of a zone, also by a wildcard.
    pub fn set(&self, name: &DomainName, kind: Kind) -> Option<&'a RecordSet> {
        self.exact(name, kind).or_else(|| self.exact(self.covering(name)?, kind))
    }

    /// The wildcard that stands for a name (RFC 4592 §3.3): the one under the nearest name that exists.
    fn covering(&self, name: &DomainName) -> Option<&'a DomainName> {
        if self.wild.is_empty() || self.names.contains_key(name) {
            return None;
        }
        let zone = self.zone(name).filter(|zone| self.wild.contains(&zone.name))?;
        let exists = |name: &DomainName| zone.sets.iter().any(|set| set.name.is_within(name));
        if exists(name) {
            return None;
        }
        let mut at = name.parent();
        while let Some(parent) = at.filter(|parent| parent.is_within(&zone.name)) {
            if exists(&parent) {
                return self.names.get_key_value(&parent.wildcard().ok()?).map(|(name, _)| *name);
            }
            at = parent.parent();
        }
        None
    }
}

/// Where a set was written, if the operator did so.
pub fn own(set: &RecordSet) -> Option<&Path> {
    set.origins.iter().rev().find(|origin| origin.rule.is_empty()).map(|origin| &origin.at)
}

/// Where a set comes from.
pub fn place(set: &RecordSet) -> Path {
    set.origins.last().map(|origin| origin.at.clone()).unwrap_or_default()
}
