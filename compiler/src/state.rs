//! What was applied: what of each zone is ours. Where it is kept says the spec's `state`; it is changed by compare and
//! swap on its serial number, so that no two pipelines overwrite each other.
//!
//! Before a run writes anything, the state says what the run is about to write (`begun`); afterwards what it wrote. A
//! run that is cut off anywhere is taken up by the next one from what is live.

use crate::plan::{Set, SetKey, Sets};
use crate::transition::{AllStages, Stages};
use crate::write;
use crate::zone::{Kind, master};
use rustix::fs::{FlockOperation, flock};
use schema::name::DomainName;
use schema::spec::Spec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The format that is read and written here.
pub const FORMAT: u32 = 1;
/// The file beside the spec, where it names none.
pub const STATE_FILE: &str = "waybill.state.json";
/// The largest state, in octets.
const LARGEST: u64 = 256 << 20;

/// Where a spec's state is, where it is a file.
pub fn state_file(folder: &Path, spec: &Spec) -> PathBuf {
    let named = spec.state.as_ref().and_then(|state| state.file.as_deref());
    folder.join(named.unwrap_or(STATE_FILE))
}

/// What was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How often it was changed.
    pub serial: u64,
    /// By zone.
    pub zones: BTreeMap<DomainName, Applied>,
}

/// What was applied to a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The `dns` node that published it.
    pub provider: String,
    /// What we wrote.
    pub sets: Sets,
    /// What a run that was cut off may have written beside that.
    pub begun: Sets,
    /// Since when each selector's key signs, or does no more; by selector.
    pub keys: BTreeMap<String, KeyUse>,
    /// How far its rollovers are.
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

/// Why a state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system says no.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    System(PathBuf, io::Error),
    /// It is no state.
    #[error("{path}: {why}; it is written by `waybill apply` alone: take the last one that is whole", path = .0.display(), why = .1)]
    Form(PathBuf, String),
    /// Another run holds it.
    #[error("another `waybill apply` is at work: it holds {}", .0.display())]
    Held(PathBuf),
    /// Somebody else changed it.
    #[error("{path} was changed meanwhile: its serial is {found} in place of {expected}", path = .0.display(), found = .1, expected = .2)]
    Moved(PathBuf, u64, u64),
}

/// A file that holds the state. As long as this lives, no other run changes it.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    /// Locked; the system lets go of it however the process ends.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    serial: u64,
    zones: BTreeMap<DomainName, WrittenZone>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenZone {
    provider: String,
    sets: Vec<WrittenSet>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    begun: Vec<WrittenSet>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    keys: BTreeMap<String, KeyUse>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    stages: Stages,
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

fn write_sets(sets: &Sets) -> Vec<WrittenSet> {
    sets.iter().map(|(key, set)| WrittenSet::of(key, set)).collect()
}

fn read_sets(written: &[WrittenSet]) -> Result<Sets, String> {
    let one = |set: &WrittenSet| set.read().ok_or_else(|| format!("no record set is `{} {}`", set.name, set.kind));
    written.iter().map(one).collect()
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

/// What is at a path, if anything is.
fn text_at(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let system = |error| StateError::System(path.to_owned(), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(system(error)),
    };
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text).map_err(system)?;
    match text.len() as u64 > LARGEST {
        true => Err(StateError::Form(path.to_owned(), format!("larger than {LARGEST} octets"))),
        false => Ok(Some(text)),
    }
}

fn check_format(format: u32) -> Result<(), String> {
    match format {
        FORMAT => Ok(()),
        other => Err(format!("format {other} in place of {FORMAT}: use the `waybill` that wrote it")),
    }
}

impl State {
    /// Reads the state at a path; where nothing is, nothing was applied.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn load(path: &Path) -> Result<State, StateError> {
        let Some(text) = text_at(path)? else { return Ok(State::default()) };
        let form = |why: String| StateError::Form(path.to_owned(), why);
        let written: Written = serde_json::from_slice(&text).map_err(|error| form(error.to_string()))?;
        check_format(written.format).map_err(form)?;
        let zones = written.zones.into_iter().map(|(name, zone)| {
            let WrittenZone { provider, sets, begun, keys, stages } = zone;
            Ok((name, Applied { provider, sets: read_sets(&sets)?, begun: read_sets(&begun)?, keys, stages }))
        });
        Ok(State { serial: written.serial, zones: zones.collect::<Result<_, String>>().map_err(form)? })
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

    /// How far the rollovers are by the state at a path, without reading the rest of it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn stages_at(path: &Path) -> Result<AllStages, StateError> {
        let Some(text) = text_at(path)? else { return Ok(AllStages::new()) };
        let form = |why: String| StateError::Form(path.to_owned(), why);
        let written: WrittenStages = serde_json::from_slice(&text).map_err(|error| form(error.to_string()))?;
        check_format(written.format).map_err(form)?;
        let zones = written.zones.into_iter().filter(|(_, zone)| !zone.stages.is_empty());
        Ok(zones.map(|(name, zone)| (name, zone.stages)).collect())
    }

    /// The text that is kept.
    fn text(&self) -> Result<String, serde_json::Error> {
        let zone = |zone: &Applied| WrittenZone {
            provider: zone.provider.clone(),
            sets: write_sets(&zone.sets),
            begun: write_sets(&zone.begun),
            keys: zone.keys.clone(),
            stages: zone.stages.clone(),
        };
        let zones = self.zones.iter().map(|(name, one)| (name.clone(), zone(one))).collect();
        let written = Written { format: FORMAT, serial: self.serial, zones };
        Ok(serde_json::to_string_pretty(&written)? + "\n")
    }
}

impl Held {
    /// Takes hold of the state at a path, by a lock on the file beside it, `.lock` behind its name.
    ///
    /// # Errors
    /// [`StateError::Held`] where another run has it.
    pub fn take(path: &Path) -> Result<Held, StateError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let beside = PathBuf::from(name);
        let system = |error: io::Error| StateError::System(beside.clone(), error);
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&beside).map_err(system)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Held { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Held(beside)),
            Err(error) => Err(system(error.into())),
        }
    }

    /// Writes the state, synced, with the next serial number; `state` must be what was read or written last.
    ///
    /// # Errors
    /// [`StateError::Moved`] where another is there by now.
    pub fn save(&self, state: &mut State) -> Result<(), StateError> {
        let found = State::load(&self.path)?.serial;
        if found != state.serial {
            return Err(StateError::Moved(self.path.clone(), found, state.serial));
        }
        state.serial += 1;
        let system = |error: io::Error| StateError::System(self.path.clone(), error);
        let text = state.text().map_err(|error| system(error.into()))?;
        write::replace(&self.path, text.as_bytes(), write::Mode::Public).map_err(system)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::transition::{Stage, Topic};

    fn state() -> State {
        let text = master::value(Kind::Txt, "\"v=DKIM1; p=A\\\"\\195\\169\" \"B\"").unwrap();
        let key = SetKey { name: "a._domainkey.example.org".parse().unwrap(), kind: Kind::Txt };
        let sets: Sets = [(key, Set::of(60, [text]).unwrap())].into();
        let keys = [("a".to_owned(), KeyUse { signs: true, since: 7 })].into();
        let stage = Stage::at(vec!["a".into()], 7);
        let stages = [(Topic::Dkim, stage.clone()), (Topic::Tls("mail.example.org".parse().unwrap()), stage)].into();
        let zone = Applied { provider: "main".into(), sets: sets.clone(), begun: sets, keys, stages };
        State { serial: 0, zones: [("example.org".parse().unwrap(), zone)].into() }
    }

    #[test]
    fn a_state_is_what_was_written_and_one_run_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(STATE_FILE);
        assert_eq!(State::load(&path).unwrap(), State::default());
        let held = Held::take(&path).unwrap();
        assert!(matches!(Held::take(&path), Err(StateError::Held(_))));
        let mut state = state();
        held.save(&mut state).unwrap();
        held.save(&mut state).unwrap();
        assert_eq!((state.serial, &State::load(&path).unwrap()), (2, &state));
        let mut old = State { serial: 1, ..state.clone() };
        assert!(matches!(held.save(&mut old), Err(StateError::Moved(_, 2, 1))));
        drop(held);
        Held::take(&path).unwrap();
        for text in ["", "{}", "{\"format\":9,\"serial\":1,\"zones\":{}}"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(State::load(&path), Err(StateError::Form(..))), "{text}");
        }
    }
}
