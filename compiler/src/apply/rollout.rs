//! Rollovers while applying: what the world shows decides how far they go.

use super::Ground;
use crate::authority::{self, Shown, Wanted};
use crate::emit::Artefacts;
use crate::plan::{Set, SetKey};
use crate::resolve::Resolved;
use crate::state::State;
use crate::transition::{self, AllStages, Goals, Rollout};
use schema::name::DomainName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A spec's goals, and what of them is in effect.
pub struct Rolling<'a> {
    resolved: &'a Resolved,
    artefacts: &'a Artefacts,
    /// What the spec wants.
    pub goals: Goals,
    /// How far it is.
    pub stages: AllStages,
    /// What is in effect, where that is not what the spec says.
    laid: Option<(Resolved, Artefacts)>,
}

impl<'a> Rolling<'a> {
    /// What is in effect by a state.
    pub fn of(resolved: &'a Resolved, artefacts: &'a Artefacts, state: &State) -> Rolling<'a> {
        let goals = transition::goals(resolved, artefacts);
        let mut rolling = Rolling { resolved, artefacts, goals, stages: AllStages::new(), laid: None };
        rolling.set(state.stages());
        rolling
    }

    /// What is in effect by these stages.
    pub fn set(&mut self, stages: AllStages) {
        self.stages = stages;
        self.laid = transition::staged(self.resolved, self.artefacts, &self.stages);
    }

    /// What the spec means in effect.
    pub fn resolved(&self) -> &Resolved {
        self.laid.as_ref().map_or(self.resolved, |(resolved, _)| resolved)
    }

    /// The artefacts in effect.
    pub fn artefacts(&self) -> &Artefacts {
        self.laid.as_ref().map_or(self.artefacts, |(_, artefacts)| artefacts)
    }

    /// What is on its way.
    pub fn rollouts(&self) -> Vec<Rollout> {
        transition::rollouts(&self.goals, &self.stages)
    }

    /// Takes the steps that are due, of the zones that are meant. Asks name servers only where a rollout waits for them.
    /// Whether anything changed, and what is not shown yet.
    pub async fn advance(
        &mut self,
        resolver: Option<SocketAddr>,
        only: Option<&DomainName>,
        now: i64,
    ) -> (bool, Shown) {
        let is_meant = |zone: &DomainName| only.is_none_or(|only| only == zone);
        let mut awaited = transition::awaited(&self.goals, &self.stages);
        awaited.retain(|zone, _| is_meant(zone));
        let shown = self.shown(resolver, &awaited).await;
        let one = only.and_then(|zone| self.goals.get_key_value(zone));
        let one: Option<Goals> =
            only.map(|_| one.map(|(zone, goals)| (zone.clone(), goals.clone())).into_iter().collect());
        let goals = one.as_ref().unwrap_or(&self.goals);
        let mut stages = self.stages.clone();
        let others: AllStages = match only {
            None => AllStages::new(),
            Some(_) => stages.extract_if(.., |zone, _| !is_meant(zone)).collect(),
        };
        let changed = transition::advance(goals, &mut stages, now, &shown.everywhere);
        stages.extend(others);
        if changed {
            self.set(stages);
        }
        (changed, shown)
    }

    /// Which sets are shown by every name server as they are in effect.
    pub async fn shown(&self, resolver: Option<SocketAddr>, keys: &BTreeMap<DomainName, BTreeSet<SetKey>>) -> Shown {
        if keys.is_empty() {
            return Shown::default();
        }
        let mut wanted = Wanted::new();
        let zones = &self.artefacts().zones;
        for (zone, keys) in keys {
            let Some(found) = zones.binary_search_by(|one| one.name.cmp(zone)).ok().and_then(|at| zones.get(at)) else {
                continue;
            };
            let set = |key: &SetKey| {
                let set = found.set(&key.name, key.kind)?;
                Set::of(set.ttl.0, set.values.iter().cloned())
            };
            wanted.insert(zone.clone(), keys.iter().map(|key| (key.clone(), set(key))).collect());
        }
        authority::shown(resolver, wanted).await
    }

    /// The ground with what is in effect in the place of what the spec says.
    pub fn ground<'b>(&'b self, ground: &Ground<'b>) -> Ground<'b> {
        Ground { resolved: self.resolved(), artefacts: self.artefacts(), ..*ground }
    }
}
