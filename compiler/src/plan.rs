//! What would change in a zone: last applied × live × wanted → [`Plan`]. A function of its arguments; it asks nobody.
//!
//! What is ours is told apart by value, and never by a marker record:
//!
//! - an **open** set is shared: TXT of a name that is no underscore name, and CAA. What we never wrote there stays;
//! - every other set has one owner, and so have the SPF record and the DKIM key among the TXT of a name. A value there that we never
//!   wrote is refused until it is adopted; one in the place of ours that is gone was changed by somebody, and is put
//!   right.

use crate::resolve::is_spf;
use crate::zone::{Kind, Rdata, Zone};
use schema::name::DomainName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A record set's name and type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetKey {
    /// The owner name.
    pub name: DomainName,
    /// The type.
    pub kind: Kind,
}

impl fmt::Display for SetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind.name())
    }
}

/// The values of a record set, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// How long it may be cached, in seconds.
    pub ttl: u64,
    /// The values, sorted, none twice.
    pub values: Vec<Rdata>,
}

impl Set {
    /// A set of these values; `None` where there are none.
    pub fn of(ttl: u64, values: impl IntoIterator<Item = Rdata>) -> Option<Set> {
        let values: BTreeSet<Rdata> = values.into_iter().collect();
        (!values.is_empty()).then(|| Set { ttl, values: values.into_iter().collect() })
    }
}

/// Record sets by name and type.
pub type Sets = BTreeMap<SetKey, Set>;

/// A zone as its provider has it. SOA and the zone's own NS are no part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// The sets of the types that mail needs.
    pub sets: Sets,
    /// Sets of these types with a value that cannot be understood here, and so not be written back.
    pub strange: BTreeSet<SetKey>,
    /// Sets whose time to live is the provider's to decide.
    pub automatic: BTreeSet<SetKey>,
    /// Names that have records of other types.
    pub others: BTreeSet<DomainName>,
}

/// A change of one set: before and after, no verbs. What is created has no `before`, what is removed no `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which set.
    pub key: SetKey,
    /// What is live.
    pub before: Option<Set>,
    /// What is to be.
    pub after: Option<Set>,
}

impl Change {
    /// What undoes it.
    #[must_use]
    pub fn reversed(self) -> Change {
        Change { before: self.after, after: self.before, ..self }
    }
}

/// A value in an open set that we never wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The set.
    pub key: SetKey,
    /// The value.
    pub value: Rdata,
}

/// A set that is not changed because of what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The set that is wanted, or is no more.
    pub key: SetKey,
    /// Why not.
    pub why: Why,
}

/// Why a set is not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has one owner, and these values are not ours.
    Foreign(Vec<Rdata>),
    /// The name has these sets, beside which a CNAME cannot stand (RFC 1034 §3.6.2), or is a CNAME itself.
    Beside(Vec<SetKey>),
    /// The name has records of a type that is not known here, beside which a CNAME cannot stand.
    BesideOthers,
    /// It holds a value that cannot be understood here.
    Strange,
}

impl Why {
    /// Whether `--adopt` takes it over.
    pub fn adoptable(&self) -> bool {
        matches!(self, Why::Foreign(_) | Why::Beside(_))
    }
}

/// What would change in a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By name and type.
    pub changes: Vec<Change>,
    /// What is left alone in sets that are ours too.
    pub kept: Vec<Kept>,
    /// What is not done.
    pub refused: Vec<Refused>,
}

/// The three sides of a zone.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// What we wrote.
    pub last: &'a Sets,
    /// What we may have written when we were cut off.
    pub begun: &'a Sets,
    /// What the provider has.
    pub live: &'a Live,
    /// What the spec wants.
    pub wanted: &'a Sets,
}

/// What a zone of the spec wants.
pub fn wanted(zone: &Zone) -> Sets {
    let sets = zone.sets.iter().filter_map(|set| {
        let key = SetKey { name: set.name.clone(), kind: set.kind };
        Some((key, Set::of(set.ttl.0, set.values.iter().cloned())?))
    });
    sets.collect()
}

/// Plans a zone. With `adopt`, what others wrote into sets of one owner is taken over.
pub fn plan(sides: &Sides<'_>, adopt: bool) -> Plan {
    let mut plan = Plan::default();
    let keys: BTreeSet<&SetKey> = sides.wanted.keys().chain(sides.last.keys()).chain(sides.begun.keys()).collect();
    let mut after: BTreeMap<&SetKey, Option<Set>> = BTreeMap::new();
    for key in keys {
        match set(key, sides, adopt, &mut plan.kept) {
            Ok(set) => drop(after.insert(key, set)),
            Err(why) => plan.refused.push(Refused { key: key.clone(), why }),
        }
    }
    let mut away = Vec::new();
    for key in sides.wanted.keys() {
        let beside = beside(key, sides, &after);
        if beside.is_empty() && !(key.kind == Kind::Cname && sides.live.others.contains(&key.name)) {
            continue;
        }
        if beside.is_empty() {
            plan.refused.push(Refused { key: key.clone(), why: Why::BesideOthers });
            after.remove(key);
        } else if adopt {
            away.extend(beside);
        } else {
            plan.refused.push(Refused { key: key.clone(), why: Why::Beside(beside) });
            after.remove(key);
        }
    }
    away.sort();
    away.dedup();
    let away = away.iter().map(|key| (key, None));
    after.extend(away);
    for (key, after) in after {
        let before = sides.live.sets.get(key).cloned();
        if before != after {
            plan.changes.push(Change { key: key.clone(), before, after });
        }
    }
    plan
}

/// What a set is to be; `None`: nothing.
fn set(key: &SetKey, sides: &Sides<'_>, adopt: bool, kept: &mut Vec<Kept>) -> Result<Option<Set>, Why> {
    if sides.live.strange.contains(key) {
        return Err(Why::Strange);
    }
    let (live, wanted) = (sides.live.sets.get(key), sides.wanted.get(key));
    let values = |set: Option<&'_ Set>| set.map_or_else(Vec::new, |set| set.values.clone());
    let (there, ours, want) = (values(live), values(sides.last.get(key)), values(wanted));
    let begun = values(sides.begun.get(key));
    // Of what has one owner we are the owner where we want it to be there.
    let is_owned = |value: &Rdata| !is_open(key) || (key.kind == Kind::Txt && (is_spf(value) || is_key(value)));
    let owns = want.iter().any(is_owned);
    let foreign =
        there.into_iter().filter(|value| !ours.contains(value) && !begun.contains(value) && !want.contains(value));
    let (rivals, others): (Vec<Rdata>, Vec<Rdata>) = foreign.partition(|value| owns && is_owned(value));
    // A value in the place of ours: somebody changed it. One more than ours were: somebody's own.
    let gone = ours.iter().filter(|value| is_owned(value) && !live.is_some_and(|live| live.values.contains(value)));
    if !adopt && rivals.len() > gone.count() {
        return Err(Why::Foreign(rivals));
    }
    kept.extend(others.iter().map(|value| Kept { key: key.clone(), value: value.clone() }));
    let ttl = match (wanted, live) {
        (Some(wanted), None) => wanted.ttl,
        (Some(_), Some(live)) if sides.live.automatic.contains(key) => live.ttl,
        (Some(wanted), Some(_)) if others.is_empty() => wanted.ttl,
        // A set has one time to live, and others may rely on theirs.
        (_, Some(live)) => live.ttl,
        (None, None) => return Ok(None),
    };
    Ok(Set::of(ttl, others.into_iter().chain(want)))
}

/// A DKIM key, where that is not told by its name: a customer's leads there.
fn is_key(value: &Rdata) -> bool {
    matches!(value, Rdata::Txt(text) if text.starts_with("v=DKIM1"))
}

/// Whether others' values may stand in a set beside ours.
pub fn is_open(key: &SetKey) -> bool {
    match key.kind {
        Kind::Caa => true,
        Kind::Txt => !key.name.labels().any(|label| label.starts_with('_')),
        _ => false,
    }
}

/// Sets that stand where a wanted one cannot stand beside them: a CNAME has its name alone (RFC 1034 §3.6.2).
fn beside(key: &SetKey, sides: &Sides<'_>, after: &BTreeMap<&SetKey, Option<Set>>) -> Vec<SetKey> {
    let stays = |key: &SetKey| match after.get(key) {
        Some(after) => after.is_some(),
        None => sides.live.sets.contains_key(key),
    };
    let kinds = Kind::ALL.into_iter().filter(|kind| (key.kind == Kind::Cname) != (*kind == Kind::Cname));
    let kinds = kinds.map(|kind| SetKey { name: key.name.clone(), kind });
    kinds.filter(|other| stays(other) && !sides.wanted.contains_key(other)).collect()
}

#[cfg(test)]
mod tests;
