//! `plan.json`: the plan that was reviewed, which `waybill apply` then makes and no other. It names secrets and holds
//! none.

use super::Survey;
use crate::plan::{Change, Set, SetKey};
use crate::transition::AllStages;
use crate::zone::{Kind, master};
use schema::name::DomainName;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The format that is written and read here.
pub const FORMAT: u32 = 1;
/// The largest plan, in octets.
const LARGEST: u64 = 512 << 20;

/// Which spec was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Its folder, as it was named.
    pub folder: PathBuf,
    /// Which of its environments.
    pub environment: Option<String>,
    /// Of what its zones want.
    pub digest: String,
    /// What others wrote into sets of one owner is taken over.
    pub adopt: bool,
    /// What we wrote into zones that the spec has no more is removed.
    pub prune: bool,
    /// One zone alone.
    pub only: Option<DomainName>,
}

/// Which state it was planned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateFacts {
    /// Where it is kept.
    pub kept: String,
    /// Its serial number.
    pub serial: u64,
}

/// A plan that was written to a file.
#[derive(Debug, Deserialize)]
pub struct File {
    format: u32,
    /// The spec.
    pub spec: Spec,
    /// The state.
    pub state: StateFacts,
    /// How far rollovers are that the plan goes by.
    #[serde(default)]
    pub stages: AllStages,
    zones: Vec<Zone>,
}

#[derive(Debug, Deserialize)]
struct Zone {
    zone: DomainName,
    #[serde(default)]
    changes: Vec<Written>,
}

#[derive(Debug, Deserialize)]
struct Written {
    name: DomainName,
    #[serde(rename = "type")]
    kind: String,
    before: Option<Values>,
    after: Option<Values>,
}

#[derive(Debug, Deserialize)]
struct Values {
    ttl: u64,
    values: Vec<String>,
}

/// The changes of a plan, by zone and set.
pub type Planned = BTreeMap<(DomainName, SetKey), Change>;

impl File {
    /// Reads a plan.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> io::Result<File> {
        let mut text = Vec::new();
        std::fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut text)?;
        if text.len() as u64 > LARGEST {
            return Err(io::Error::other(format!("larger than {LARGEST} octets")));
        }
        let file: File = serde_json::from_slice(&text)?;
        if file.format != FORMAT {
            return Err(io::Error::other(format!("format {} in place of {FORMAT}", file.format)));
        }
        Ok(file)
    }

    /// Its changes.
    ///
    /// # Errors
    /// Where a set in it is none.
    pub fn planned(&self) -> io::Result<Planned> {
        let mut planned = Planned::new();
        for zone in &self.zones {
            for change in &zone.changes {
                let wrong = || io::Error::other(format!("no record set is `{} {}`", change.name, change.kind));
                let kind = Kind::named(&change.kind).ok_or_else(wrong)?;
                let set = |of: &Option<Values>| -> io::Result<Option<Set>> {
                    let Some(of) = of else { return Ok(None) };
                    let values: Option<Vec<_>> = of.values.iter().map(|value| master::value(kind, value)).collect();
                    Set::of(of.ttl, values.ok_or_else(wrong)?).map(Some).ok_or_else(wrong)
                };
                let key = SetKey { name: change.name.clone(), kind };
                let change = Change { key: key.clone(), before: set(&change.before)?, after: set(&change.after)? };
                planned.insert((zone.zone.clone(), key), change);
            }
        }
        Ok(planned)
    }
}

/// Leaves of a new survey what the reviewed plan has; the sets that are not as they were then, which are left out.
pub fn keep(survey: &mut Survey, planned: &Planned) -> Vec<String> {
    let mut moved = Vec::new();
    let mut met = BTreeSet::new();
    for looked in &mut survey.zones {
        let Ok(plan) = &mut looked.plan else { continue };
        plan.changes.retain(|change| {
            let key = (looked.zone.clone(), change.key.clone());
            let same = planned.get(&key) == Some(change);
            if !same {
                moved.push(format!("`{}`", change.key));
                looked.left.insert(change.key.clone());
            }
            met.insert(key);
            same
        });
    }
    // What is planned and needs no change any more was done by somebody meanwhile.
    moved.extend(planned.keys().filter(|key| !met.contains(*key)).map(|(_, key)| format!("`{key}`")));
    moved
}
