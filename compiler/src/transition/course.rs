//! The steps from what is in effect to what is wanted.

use super::goal::{DMARC, Goal, dmarc, weight};
use super::{Effect, Stage, Stages, Topic};
use crate::plan::SetKey;
use crate::zone::{Kind, Rdata, master};
use schema::name::DomainName;
use schema::unit::Period;
use std::collections::BTreeSet;

/// How long a withdrawn policy is kept that says `none`, in seconds (RFC 8461 §8.3).
const NONE_AGE: &str = "86400";

/// A step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is waited for, in words.
    pub says: &'static str,
    /// What is in effect during it.
    pub effect: Effect,
    /// When it is over.
    pub until: Until,
}

/// When a step is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// As soon as every name server of the zone shows what is wanted of these sets.
    Shown(Vec<SetKey>),
    /// So many seconds after it began.
    Passed(i64),
    /// At a time, in seconds since 1970.
    Time(i64),
}

/// The steps from what a stage has in effect to a goal; none where nothing is to be waited for. `beside` are the zone's
/// other stages.
pub fn course(topic: &Topic, stage: &Stage, goal: &Goal, beside: &Stages) -> Vec<Step> {
    match topic {
        Topic::Dkim => dkim(stage, goal),
        Topic::Dmarc => ladder(stage, goal),
        Topic::MtaSts => mta_sts(stage, goal),
        Topic::Exchangers => exchangers(stage, goal, beside),
        Topic::Tls(_) => tls(stage, goal),
        Topic::Address(_) => moved(stage, goal, &[]),
    }
}

/// A step without anything beside its values.
fn step(says: &'static str, values: &[String], until: Until) -> Step {
    Step { says, effect: Effect::of(values), until }
}

fn txt(goal: &Goal, prefix: &str) -> Vec<SetKey> {
    goal.places.get(prefix).map(|name| SetKey { name: name.clone(), kind: Kind::Txt }).into_iter().collect()
}

/// RFC 6376 §3.1: who receives mail looks for the key that its signature names.
fn dkim(stage: &Stage, goal: &Goal) -> Vec<Step> {
    let new: Vec<SetKey> = goal
        .values
        .iter()
        .filter(|selector| !stage.is.contains(selector))
        .flat_map(|selector| txt(goal, &format!("{selector}._domainkey")))
        .collect();
    if new.is_empty() {
        return Vec::new();
    }
    vec![
        step("the new key is shown by every name server", &stage.is, Until::Shown(new)),
        step("no cache holds that there is no such key", &stage.is, Until::Passed(goal.ttl)),
    ]
}

/// RFC 7671 §8.1: the new key's record stands in every cache before the key is used.
fn tls(stage: &Stage, goal: &Goal) -> Vec<Step> {
    vec![
        step("the new key's TLSA records are shown by every name server", &stage.is, Until::Shown(goal.sets.clone())),
        step("no cache holds TLSA records without the new key", &stage.is, Until::Passed(goal.ttl.saturating_mul(2))),
    ]
}

fn seconds(period: Period) -> i64 {
    i64::try_from(period.0).unwrap_or(i64::MAX)
}

/// RFC 9989: a policy is tightened step by step, with reports read in between.
fn ladder(stage: &Stage, goal: &Goal) -> Vec<Step> {
    let at = |values: &[String]| values.first().and_then(|word| dmarc(word)).map(weight);
    let (Some(from), Some(to), Some(long)) = (at(&stage.is), at(&goal.values), goal.step.map(seconds)) else {
        return Vec::new();
    };
    if to <= from {
        return Vec::new();
    }
    let mut steps = vec![step("reports come in", &stage.is, Until::Time(stage.since.saturating_add(long)))];
    for word in DMARC.iter().take(to).skip(from + 1) {
        let values = [(*word).to_owned()];
        steps.push(step("the policy is shown by every name server", &values, Until::Shown(txt(goal, "_dmarc"))));
        steps.push(step("reports come in", &values, Until::Passed(long)));
    }
    steps
}

/// How long senders may hold a policy that is enforced, in seconds.
pub(super) fn enforced(values: &[String]) -> Option<i64> {
    match values {
        [mode, age, ..] if mode == "enforce" => age.parse().ok(),
        _ => None,
    }
}

/// RFC 8461 §5, §8.3.
fn mta_sts(stage: &Stage, goal: &Goal) -> Vec<Step> {
    let shown = || Until::Shown(txt(goal, "_mta-sts"));
    let held = enforced(&stage.is);
    if goal.values.is_empty() && (held.is_some() || stage.held > stage.since) {
        let none = ["none".to_owned(), NONE_AGE.to_owned()];
        return vec![
            step("that there is no policy any more is shown by every name server", &none, shown()),
            step("no sender holds the enforced policy", &none, Until::Passed(held.unwrap_or(0))),
            step("no sender holds an older policy", &none, Until::Time(stage.held)),
        ];
    }
    let (Some(long), [mode, age, ..]) = (goal.step.map(seconds), goal.values.as_slice()) else { return Vec::new() };
    if mode != "enforce" || held.is_some() {
        return Vec::new();
    }
    if stage.is.first().is_some_and(|mode| mode == "testing") {
        return vec![step("reports come in", &stage.is, Until::Time(stage.since.saturating_add(long)))];
    }
    let testing = ["testing".to_owned(), age.clone()];
    vec![
        step("the tested policy is shown by every name server", &testing, shown()),
        step("reports come in", &testing, Until::Passed(long)),
    ]
}

/// The hosts that MX records name.
fn hosts(values: &[String]) -> BTreeSet<DomainName> {
    let values = values.iter().filter_map(|value| master::value(Kind::Mx, value));
    values.filter_map(|value| Rdata::target(&value).cloned()).collect()
}

/// RFC 8461 §5: a sender that holds an enforced policy delivers only to the hosts that it names.
fn exchangers(stage: &Stage, goal: &Goal, beside: &Stages) -> Vec<Step> {
    let policy = beside.get(&Topic::MtaSts);
    let Some(age) = policy.and_then(|policy| enforced(&policy.is)) else { return moved(stage, goal, &[]) };
    let held = policy.map_or(0, |policy| policy.held);
    let (old, new) = (hosts(&stage.is), hosts(&goal.values));
    let also: Vec<DomainName> = old.union(&new).cloned().collect();
    if new == old {
        return moved(stage, goal, &[]);
    }
    let step = |says, until| Step { says, effect: Effect { also: also.clone(), ..Effect::of(&stage.is) }, until };
    let mut steps = Vec::new();
    if !new.is_subset(&old) {
        let shown = Until::Shown(txt(goal, "_mta-sts"));
        steps.push(step("a policy that names old and new hosts is shown by every name server", shown));
        steps.push(step("no sender holds a policy without the new hosts", Until::Passed(age)));
        steps.push(step("no sender holds an older policy", Until::Time(held)));
    }
    steps.extend(moved(stage, goal, &also));
    steps
}

/// RFC 1035 §3.2.1: what is in caches stays there. Where the spec wants that, it is lowered first how long; and a policy
/// names hosts for as long as somebody may go to them.
fn moved(stage: &Stage, goal: &Goal, also: &[DomainName]) -> Vec<Step> {
    if also.is_empty() && goal.lowered.is_none() {
        return Vec::new();
    }
    let effect = |values: &[String]| Effect { also: also.to_vec(), ttl: goal.lowered, ..Effect::of(values) };
    let step = |says, values: &[String], until| Step { says, effect: effect(values), until };
    let shown = || Until::Shown(goal.sets.clone());
    let mut steps = Vec::new();
    if goal.lowered.is_some() {
        steps.push(step("the shorter time to live is shown by every name server", &stage.is, shown()));
        steps.push(step("no cache holds the old records for longer", &stage.is, Until::Passed(goal.ttl)));
    }
    let rest = goal.lowered.map_or(goal.ttl, seconds);
    steps.push(step("the new records are shown by every name server", &goal.values, shown()));
    steps.push(step("no cache holds the old records", &goal.values, Until::Passed(rest)));
    steps
}
