//! What was applied: what of each zone is ours. Where it is kept says the spec's `state`; it is changed by compare and
//! swap on its serial number, so that no two pipelines overwrite each other, and says while a run writes that it does
//! ([`hold`]), so that no two write at once.
//!
//! Before a run writes anything, the state says what the run is about to write (`begun`); afterwards what it wrote. A
//! run that is cut off anywhere is taken up by the next one from what is live.

mod git;
pub mod hold;
pub mod place;
mod postgresql;
mod s3;
mod sets;

pub use place::Place;

use crate::plan::{Set, SetKey, Sets};
use crate::state::hold::Hold;
use crate::state::place::Mark;
use crate::transition::{AllStages, Stages};
use crate::zone::{Kind, master};
use schema::name::DomainName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The format that is read and written here.
pub const FORMAT: u32 = 1;
/// The file beside the spec, where it names none.
pub const STATE_FILE: &str = "waybill.state.json";
/// The largest state, in octets.
const LARGEST: u64 = 256 << 20;

/// What was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How often it was changed.
    pub serial: u64,
    /// By zone.
    pub zones: BTreeMap<DomainName, Applied>,
    /// Which run is writing, where this is no file.
    pub hold: Option<Hold>,
}

/// What was applied to a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// The `dns` node that published it; empty where another zone has its keys and policies.
    pub provider: String,
    /// What we wrote.
    #[serde(with = "sets")]
    pub sets: Sets,
    /// What a run that was cut off may have written beside that.
    #[serde(default, skip_serializing_if = "Sets::is_empty", with = "sets")]
    pub begun: Sets,
    /// Since when each selector's key signs, or does no more; by selector.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, KeyUse>,
    /// How far its rollovers are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: Stages,
}

/// What a DKIM key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct KeyUse {
    /// Mail is signed with it.
    pub signs: bool,
    /// Seconds since 1970.
    pub since: i64,
}

/// Why a state cannot be read or written. Each names the place.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system, or who keeps it, says no.
    #[error("the state ({0}): {1}")]
    Failed(String, String),
    /// It is no state.
    #[error("the state ({0}): {1}; it is written by `waybill apply` alone: take the last one that is whole")]
    Form(String, String),
    /// Another run holds it.
    #[error("another `waybill apply` is at work: {1} holds the state ({0})")]
    Held(String, String),
    /// Somebody else changed it.
    #[error("the state ({0}) was changed meanwhile, by another `waybill apply`: run it again")]
    Moved(String),
}

/// A state that is being changed. As long as this lives, no other run changes one that is a file; elsewhere as long as
/// its [`Hold`] is there.
pub struct Held {
    place: Arc<Place>,
    /// The time, in seconds since 1970.
    clock: fn() -> i64,
    /// What was read or written last.
    mark: Mutex<Mark>,
    /// Locked; the system lets go of it however the process ends.
    _lock: Option<File>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    serial: u64,
    #[serde(default)]
    hold: Option<Hold>,
    zones: BTreeMap<DomainName, Applied>,
}

/// The same, to be written.
#[derive(Serialize)]
struct Writing<'a> {
    format: u32,
    serial: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<&'a Hold>,
    zones: &'a BTreeMap<DomainName, Applied>,
}

/// A record set as the state and plans have it; values are as in a master file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenSet {
    /// The owner name.
    pub name: DomainName,
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Seconds.
    pub ttl: u64,
    /// As a master file has them.
    pub values: Vec<String>,
}

impl WrittenSet {
    /// A set as it is written.
    pub fn of(key: &SetKey, set: &Set) -> WrittenSet {
        WrittenSet {
            name: key.name.clone(),
            kind: key.kind.name().to_owned(),
            ttl: set.ttl,
            values: set.values.iter().map(ToString::to_string).collect(),
        }
    }

    /// The set that is meant; `None` where that is none.
    pub fn read(&self) -> Option<(SetKey, Set)> {
        let kind = Kind::named(&self.kind)?;
        let values: Option<Vec<_>> = self.values.iter().map(|value| master::value(kind, value)).collect();
        Some((SetKey { name: self.name.clone(), kind }, Set::of(self.ttl, values?)?))
    }
}

/// The parts of a state that `build` needs.
#[derive(Deserialize)]
struct WrittenStages {
    format: u32,
    zones: BTreeMap<DomainName, WrittenZoneStages>,
}

#[derive(Deserialize)]
struct WrittenZoneStages {
    #[serde(default)]
    stages: Stages,
}

fn check_format(format: u32) -> Result<(), String> {
    match format {
        FORMAT => Ok(()),
        other => Err(format!("format {other} in place of {FORMAT}: use the `waybill` that wrote it")),
    }
}

impl State {
    /// What was written.
    fn of(Written { serial, hold, zones, .. }: Written) -> State {
        State { serial, zones, hold }
    }

    /// How far the rollovers of all zones are.
    pub fn stages(&self) -> AllStages {
        let zones = self.zones.iter().filter(|(_, zone)| !zone.stages.is_empty());
        zones.map(|(name, zone)| (name.clone(), zone.stages.clone())).collect()
    }

    /// Takes over how far rollovers are.
    pub fn set_stages(&mut self, stages: AllStages) {
        for zone in self.zones.values_mut() {
            zone.stages.clear();
        }
        for (name, stages) in stages {
            self.zones.entry(name).or_default().stages = stages;
        }
    }

    /// The text that is kept.
    fn text(&self) -> Result<String, serde_json::Error> {
        let State { serial, zones, hold } = self;
        let written = Writing { format: FORMAT, serial: *serial, hold: hold.as_ref(), zones };
        Ok(serde_json::to_string_pretty(&written)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::state::hold::Watched;
    use crate::transition::{Stage, Topic};

    fn state() -> State {
        let text = master::value(Kind::Txt, "\"v=DKIM1; p=A\\\"\\195\\169\" \"B\"").unwrap();
        let key = SetKey { name: "a._domainkey.example.org".parse().unwrap(), kind: Kind::Txt };
        let sets: Sets = [(key, Set::of(60, [text]).unwrap())].into();
        let keys = [("a".to_owned(), KeyUse { signs: true, since: 7 })].into();
        let stage = Stage::at(vec!["a".into()], 7);
        let stages = [(Topic::Dkim, stage.clone()), (Topic::Tls("mail.example.org".parse().unwrap()), stage)].into();
        let zone = Applied { provider: "main".into(), sets: sets.clone(), begun: sets, keys, stages };
        State { hold: None, serial: 0, zones: [("example.org".parse().unwrap(), zone)].into() }
    }

    #[test]
    fn a_state_is_what_was_written_and_one_run_has_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(STATE_FILE);
        let place = || Place::File(path.clone());
        assert_eq!(place().load().unwrap(), State::default());
        let take = || Held::take(Arc::new(place()), || 0, &mut Watched::default());
        let (held, first) = take().unwrap();
        assert_eq!(first, State::default());
        assert!(matches!(take(), Err(StateError::Held(..))));
        let mut state = state();
        let save = |state: &mut State| runtime.block_on(held.save(state));
        save(&mut state).unwrap();
        save(&mut state).unwrap();
        assert_eq!((state.serial, &place().load().unwrap()), (2, &state));
        let mut old = State { serial: 1, ..state.clone() };
        assert!(matches!(save(&mut old), Err(StateError::Moved(_))));
        drop(held);
        take().unwrap();
        for text in ["", "{}", "{\"format\":9,\"serial\":1,\"zones\":{}}"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(place().load(), Err(StateError::Form(..))), "{text}");
        }
    }
}
