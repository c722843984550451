//! Rollovers: what must not change in one step. Each is a list of steps as data; the state keeps how far it is, `build`
//! reads that too, and `apply` advances it as far as is due.
//!
//! The spec says the goal, and the state what is in effect. Where they differ there is a rollout, whose [`course`]
//! follows from both: nothing has to be started, and taking the spec's change back leads back. [`stage`] lays what is in
//! effect over what the spec means; [`advance`] takes the steps that are due.

mod course;
mod goal;

pub use course::{Step, Until, course};
pub use goal::{Goals, goals};

use crate::emit::Artefacts;
use crate::plan::SetKey;
use crate::resolve::{Domain, KeyState, MtaSts, Resolved};
use crate::zone::{Kind, Rdata, master};
use schema::name::{DomainName, HostName};
use schema::spec::MtaStsMode;
use schema::unit::Period;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What changes by steps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Topic {
    /// The keys that sign; values are selectors.
    Dkim,
    /// How strict the DMARC policy is; the value is that of `p=`.
    Dmarc,
    /// The MTA-STS policy; values are its mode and `max_age`, none where there is no policy.
    MtaSts,
    /// The MX records; values as in a master file.
    Exchangers,
    /// The key that a host's certificate is for; the value is its name.
    Tls(HostName),
    /// A host's addresses.
    Address(HostName),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Dkim => f.write_str("dkim"),
            Topic::Dmarc => f.write_str("dmarc"),
            Topic::MtaSts => f.write_str("mta-sts"),
            Topic::Exchangers => f.write_str("mx"),
            Topic::Tls(host) => write!(f, "tls {host}"),
            Topic::Address(host) => write!(f, "address {host}"),
        }
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> String {
        topic.to_string()
    }
}

impl FromStr for Topic {
    type Err = String;
    fn from_str(text: &str) -> Result<Topic, String> {
        Ok(match text {
            "dkim" => Topic::Dkim,
            "dmarc" => Topic::Dmarc,
            "mta-sts" => Topic::MtaSts,
            "mx" => Topic::Exchangers,
            other => {
                let host = |kind: &str| other.strip_prefix(kind).and_then(|host| host.parse().ok());
                let topic = host("tls ").map(Topic::Tls).or_else(|| host("address ").map(Topic::Address));
                topic.ok_or_else(|| format!("`{}` is nothing that rolls over", other.escape_debug()))?
            }
        })
    }
}

impl TryFrom<String> for Topic {
    type Error = String;
    fn try_from(text: String) -> Result<Topic, String> {
        text.parse()
    }
}

/// How far something is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// What is in effect.
    pub is: Vec<String>,
    /// Since when, in seconds since 1970.
    pub since: i64,
    /// Until when others may hold what was in effect before and is still strict, in seconds since 1970.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held: i64,
    /// What is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toward: Option<Toward>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A rollout on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toward {
    /// The goal.
    pub to: Vec<String>,
    /// Which step of its course it is at, from 0.
    pub step: usize,
    /// Since when, in seconds since 1970.
    pub since: i64,
}

impl Stage {
    /// Something that is in effect, and nothing on its way.
    pub fn at(is: Vec<String>, since: i64) -> Stage {
        Stage { is, since, held: 0, toward: None }
    }
}

/// The stages of a zone, by what they are of.
pub type Stages = BTreeMap<Topic, Stage>;

/// The stages of all zones.
pub type AllStages = BTreeMap<DomainName, Stages>;

/// What is in effect during a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// As [`Topic`] says.
    pub values: Vec<String>,
    /// Hosts that the MTA-STS policy names beside those of the MX records.
    pub also: Vec<DomainName>,
    /// The time to live of its sets, where it is lowered.
    pub ttl: Option<Period>,
}

impl Effect {
    /// These values, and nothing beside them.
    pub fn of(values: &[String]) -> Effect {
        Effect { values: values.to_vec(), also: Vec::new(), ttl: None }
    }
}

/// A rollout as it is shown.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// The zone.
    pub zone: DomainName,
    /// The zone in which its keys and policies are.
    pub home: DomainName,
    /// What rolls over.
    pub topic: Topic,
    /// What is in effect, or was before the rollout.
    pub from: Vec<String>,
    /// The goal.
    pub to: Vec<String>,
    /// All steps.
    pub steps: Vec<Step>,
    /// Which of them it is at; `None` where the next `apply` begins with the first.
    pub at: Option<usize>,
    /// Since when, in seconds since 1970.
    pub since: i64,
}

impl Rollout {
    /// The step that it is at; `None` where it is through.
    pub fn step(&self) -> Option<&Step> {
        self.steps.get(self.at?)
    }

    /// When the step that it is at is over, in seconds since 1970, where a time alone says so.
    pub fn due(&self) -> Option<i64> {
        match self.step()?.until {
            Until::Passed(seconds) => Some(self.since.saturating_add(seconds)),
            Until::Time(at) => Some(at),
            Until::Shown(_) => None,
        }
    }
}

/// Everything on its way, by zone.
pub fn rollouts(goals: &Goals, stages: &AllStages) -> Vec<Rollout> {
    let mut found = Vec::new();
    for (zone, wanted) in goals {
        let Some(known) = stages.get(zone) else { continue };
        for (topic, goal) in wanted {
            let Some(stage) = known.get(topic).filter(|stage| stage.is != goal.values || stage.toward.is_some()) else {
                continue;
            };
            let toward = stage.toward.as_ref();
            let to = toward.map_or(&goal.values, |toward| &toward.to);
            found.push(Rollout {
                zone: zone.clone(),
                home: goal.home.clone(),
                topic: topic.clone(),
                from: stage.is.clone(),
                to: to.clone(),
                steps: course(topic, stage, &goal.toward(to), known),
                at: toward.map(|toward| toward.step),
                since: toward.map_or(stage.since, |toward| toward.since),
            });
        }
    }
    found
}

/// What must be shown by every name server before a rollout goes on, by zone.
pub fn awaited(goals: &Goals, stages: &AllStages) -> BTreeMap<DomainName, BTreeSet<SetKey>> {
    let mut awaited: BTreeMap<DomainName, BTreeSet<SetKey>> = BTreeMap::new();
    for rollout in rollouts(goals, stages) {
        if let Some(Step { until: Until::Shown(keys), .. }) = rollout.step() {
            for key in keys {
                // Keys and policies are what is delegated.
                let zone = if key.kind == Kind::Txt { &rollout.home } else { &rollout.zone };
                awaited.entry(zone.clone()).or_default().insert(key.clone());
            }
        }
    }
    awaited
}

/// Takes the steps that are due at a time, where these sets are shown by every name server of their zone. Whether
/// anything changed.
pub fn advance(goals: &Goals, stages: &mut AllStages, now: i64, shown: &BTreeSet<SetKey>) -> bool {
    let before = stages.clone();
    for (zone, wanted) in goals {
        let known = stages.entry(zone.clone()).or_default();
        known.retain(|topic, _| wanted.contains_key(topic));
        for (topic, goal) in wanted {
            let mut stage = known.remove(topic).unwrap_or_else(|| Stage::at(goal.first(), now));
            one((topic, &mut stage), goal, known, (now, shown));
            if !stage.is.is_empty() || stage.toward.is_some() {
                known.insert(topic.clone(), stage);
            }
        }
    }
    stages.retain(|zone, stages| goals.contains_key(zone) && !stages.is_empty());
    *stages != before
}

/// Advances one stage; `beside` are the others of its zone.
fn one(
    (topic, stage): (&Topic, &mut Stage),
    goal: &goal::Goal,
    beside: &Stages,
    (now, shown): (i64, &BTreeSet<SetKey>),
) {
    let old = stage.toward.take();
    if let Some(toward) = old.as_ref().filter(|toward| toward.to != goal.values) {
        // The goal changed: from where it is now it goes elsewhere.
        let steps = course(topic, stage, &goal.toward(&toward.to), beside);
        if let Some(step) = steps.get(toward.step).filter(|step| step.effect.values != stage.is) {
            leave(topic, stage, step.effect.values.clone(), now);
        }
    }
    if stage.is == goal.values {
        return;
    }
    let mut toward = old.filter(|toward| toward.to == goal.values).unwrap_or_else(|| Toward {
        to: goal.values.clone(),
        step: 0,
        since: now,
    });
    let steps = course(topic, stage, goal, beside);
    while let Some(step) = steps.get(toward.step) {
        let is_over = match &step.until {
            Until::Passed(seconds) => now >= toward.since.saturating_add(*seconds),
            Until::Time(at) => now >= *at,
            Until::Shown(keys) => keys.iter().all(|key| shown.contains(key)),
        };
        if !is_over {
            stage.toward = Some(toward);
            return;
        }
        toward = Toward { step: toward.step + 1, since: now, ..toward };
        // What comes next is published first: what is shown now says nothing of it.
        if steps
            .get(toward.step)
            .is_some_and(|next| next.effect != step.effect && matches!(next.until, Until::Shown(_)))
        {
            stage.toward = Some(toward);
            return;
        }
    }
    leave(topic, stage, goal.values.clone(), now);
}

/// Something else is in effect from now on.
fn leave(topic: &Topic, stage: &mut Stage, is: Vec<String>, now: i64) {
    if *topic == Topic::MtaSts
        && let Some(held) = course::enforced(&stage.is)
    {
        stage.held = stage.held.max(now.saturating_add(held));
    }
    (stage.is, stage.since) = (is, now);
}

/// Whether something of a domain begins elsewhere than at its goal.
fn starts(domain: &Domain) -> bool {
    let goes = |key: &crate::resolve::Dkim| key.state == KeyState::Retiring && key.private.is_some();
    let steps = domain.dmarc.step.is_some() || domain.mta_sts.as_ref().is_some_and(|policy| policy.step.is_some());
    (domain.provider.is_some() || domain.delegation.is_some()) && (steps || domain.dkim.iter().any(goes))
}

/// Whether anything is not at its goal.
fn differs(goals: &Goals, stages: &AllStages) -> bool {
    let of = |zone: &DomainName, topic: &Topic| stages.get(zone).and_then(|known| known.get(topic));
    goals.iter().any(|(zone, wanted)| {
        wanted.iter().any(|(topic, goal)| match of(zone, topic) {
            None => goal.first() != goal.values,
            Some(stage) => stage.is != goal.values,
        })
    })
}

/// Lays what is in effect over what the spec means. Whether anything is otherwise than the spec has it.
pub fn stage(resolved: &mut Resolved, goals: &Goals, stages: &AllStages) -> bool {
    let mut changed = false;
    for (zone, wanted) in goals {
        for (topic, goal) in wanted {
            let known = stages.get(zone);
            let effect = match known.and_then(|known| Some((known, known.get(topic)?))) {
                None => Effect::of(&goal.first()),
                Some((known, stage)) => match &stage.toward {
                    None => Effect::of(&stage.is),
                    Some(toward) => {
                        let steps = course(topic, stage, &goal.toward(&toward.to), known);
                        steps.get(toward.step).map_or_else(|| Effect::of(&toward.to), |step| step.effect.clone())
                    }
                },
            };
            if effect.values != goal.values || !effect.also.is_empty() || effect.ttl.is_some() {
                changed |= lay(resolved, zone, topic, &effect);
            }
        }
    }
    changed
}

fn lay(resolved: &mut Resolved, zone: &DomainName, topic: &Topic, effect: &Effect) -> bool {
    if let Topic::Address(name) = topic {
        let addresses: Option<Vec<IpAddr>> = effect.values.iter().map(|value| value.parse().ok()).collect();
        let host = resolved.hosts.iter_mut().find(|host| host.name == *name);
        let laid = host.zip(addresses).map(|(host, addresses)| host.published = Some((addresses, effect.ttl)));
        return laid.is_some();
    }
    if let Topic::Tls(name) = topic {
        let host = resolved.hosts.iter_mut().find(|host| host.name == *name);
        let key = host.and_then(|host| {
            let (_, private) = host.keys.iter().find(|(name, _)| effect.values.first() == Some(name))?;
            let private = private.clone();
            host.tls.self_signed_key.replace(private)
        });
        return key.is_some();
    }
    let Ok(at) = resolved.domains.binary_search_by(|domain| domain.name.cmp(zone)) else { return false };
    let Some(domain) = resolved.domains.get_mut(at) else { return false };
    match topic {
        Topic::Dkim => return signing(domain, &effect.values),
        Topic::Dmarc => {
            let Some(most) = effect.values.first().and_then(|word| goal::dmarc(word)) else { return false };
            let dmarc = &mut domain.dmarc;
            let others = [&mut dmarc.subdomain, &mut dmarc.nonexistent].into_iter().filter_map(Option::as_mut);
            for policy in std::iter::once(&mut dmarc.policy).chain(others) {
                *policy = std::cmp::min_by_key(*policy, most, |policy| goal::weight(*policy));
            }
        }
        Topic::MtaSts => {
            // What the spec leaves out is left out when nobody holds it any more.
            let is_policy =
                |name: &DomainName| name.as_str().split('.').next().is_some_and(|label| label.ends_with("mta-sts"));
            domain.omit.retain(|omission| !is_policy(&omission.name));
            let mut values = effect.values.iter();
            let policy = values.next().zip(values.next());
            let at = domain.mta_sts.as_ref().and_then(|policy| policy.at.clone());
            let step = domain.mta_sts.as_ref().and_then(|policy| policy.step);
            domain.mta_sts = policy.and_then(|(mode, age)| {
                let mode = match mode.as_str() {
                    "enforce" => MtaStsMode::Enforce,
                    "testing" => MtaStsMode::Testing,
                    _ => MtaStsMode::None,
                };
                Some(MtaSts { mode, max_age: Period(age.parse().ok()?), step, at })
            });
        }
        Topic::Exchangers => {
            let values: Option<Vec<Rdata>> = effect.values.iter().map(|value| master::value(Kind::Mx, value)).collect();
            domain.records.retain(|own| own.kind != Kind::Mx || own.name != domain.name);
            domain.exchangers = values;
            domain.policy_also.clone_from(&effect.also);
            domain.exchangers_ttl = effect.ttl;
        }
        Topic::Tls(_) | Topic::Address(_) => {}
    }
    true
}

/// Has these keys sign, where the spec has their private parts; at least one of them.
fn signing(domain: &mut Domain, selectors: &[String]) -> bool {
    let signs = |key: &crate::resolve::Dkim| key.private.is_some() && selectors.contains(&key.selector);
    if !domain.dkim.iter().any(signs) {
        return false;
    }
    for key in &mut domain.dkim {
        key.state = match key.state {
            KeyState::Revoked => KeyState::Revoked,
            _ if signs(key) => KeyState::Signing,
            KeyState::Signing | KeyState::Next => KeyState::Next,
            KeyState::Retiring => KeyState::Retiring,
        };
    }
    true
}

/// A spec's meaning and its artefacts as they are in effect; `None` where that is as the spec has it.
pub fn staged(resolved: &Resolved, artefacts: &Artefacts, stages: &AllStages) -> Option<(Resolved, Artefacts)> {
    // The large specs of most builds have nothing on its way, and are not to be copied.
    if stages.is_empty() && !resolved.domains.iter().any(starts) {
        return None;
    }
    let goals = goals(resolved, artefacts);
    if !differs(&goals, stages) {
        return None;
    }
    let mut laid = resolved.clone();
    // What emitting finds was told of the spec as it stands.
    stage(&mut laid, &goals, stages).then(|| {
        let artefacts = crate::emit::emit(&laid, &mut crate::diagnostic::Report::new());
        (laid, artefacts)
    })
}

#[cfg(test)]
mod tests;
