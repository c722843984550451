//! From a compiled spec to its zones at their providers: read, plan, write, read again. The only caller of providers.

pub mod file;
pub mod rollout;
mod served;
pub mod show;

use crate::diagnostic::Report;
use crate::emit::Artefacts;
use crate::plan::{self, Change, Live, Plan, Set, SetKey, Sets, Sides};
use crate::provider::{Provider, ProviderError};
use crate::resolve::{Domain, KeyState, Resolved};
use crate::safety;
use crate::state::{Applied, Held, KeyUse, State, StateError};
use crate::tls::Trust;
use crate::transition::AllStages;
use aws_lc_rs::digest;
use schema::name::DomainName;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How many zones are read or written at once.
const AT_ONCE: usize = 16;
/// How often a zone is tried that a provider does not answer for.
const TRIES: u32 = 4;
/// How long is waited after the first try; twice as long after each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// The providers of a spec, opened, by the names of their `dns` nodes.
pub type Providers = HashMap<String, Arc<dyn Provider>>;

/// How many zones are read, or written, of how many: for those who wait.
#[derive(Debug, Default)]
pub struct Counts {
    done: AtomicUsize,
    all: AtomicUsize,
}

impl Counts {
    /// Of how many zones how many are done.
    pub fn now(&self) -> (usize, usize) {
        (self.done.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed))
    }

    fn begin(&self, all: usize) {
        self.all.store(all, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
    }

    fn one(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is applied, and how.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// What the spec means, as far as rollovers let it be in effect.
    pub resolved: &'a Resolved,
    /// Its zones, likewise.
    pub artefacts: &'a Artefacts,
    /// The opened providers.
    pub providers: &'a Providers,
    /// This zone alone.
    pub only: Option<&'a DomainName>,
    /// What others wrote into sets of one owner is taken over.
    pub adopt: bool,
    /// What we wrote into zones that the spec has no more is removed.
    pub prune: bool,
    /// How far it is.
    pub counts: &'a Counts,
    /// Whom to trust who serves a policy.
    pub trust: &'a Trust,
    /// Seconds since 1970.
    pub now: i64,
}

/// A zone that was looked at.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Its name.
    pub zone: DomainName,
    /// The `dns` node that publishes it.
    pub provider: String,
    /// What the spec wants; nothing where the spec has it no more.
    pub wanted: Sets,
    /// What would change, or why that is not known.
    pub plan: Result<Plan, String>,
    /// Sets that a reviewed plan leaves alone, because they are not as they were.
    pub left: BTreeSet<SetKey>,
}

/// Zones that were looked at.
#[derive(Debug, Default)]
pub struct Survey {
    /// By name.
    pub zones: Vec<Looked>,
    /// Zones of ours that the spec has no more, and which are left alone.
    pub orphans: Vec<DomainName>,
    /// Zones that somebody else published, and who.
    pub left: Vec<(DomainName, String)>,
    /// What would be harmful.
    pub report: Report,
    /// What would have to be known to say that nothing else is, in words.
    pub unknown: Vec<String>,
}

impl Survey {
    /// The changes of all zones.
    pub fn changes(&self) -> impl Iterator<Item = (&Looked, &Change)> {
        let plans = self.zones.iter().filter_map(|looked| Some((looked, looked.plan.as_ref().ok()?)));
        plans.flat_map(|(looked, plan)| plan.changes.iter().map(move |change| (looked, change)))
    }

    /// Whether something is not to be done.
    pub fn is_refused(&self) -> bool {
        let refused = self.zones.iter().filter_map(|looked| looked.plan.as_ref().ok());
        self.report.has_errors() || refused.into_iter().any(|plan| !plan.refused.is_empty())
    }

    /// Zones that could not be read.
    pub fn failed(&self) -> impl Iterator<Item = (&DomainName, &str)> {
        self.zones.iter().filter_map(|looked| Some((&looked.zone, looked.plan.as_ref().err()?.as_str())))
    }
}

/// How writing a zone ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is as planned, and was read again.
    Done,
    /// As [`Ended::Done`], but for what waits until something else has come about, in words.
    Waits(String),
    /// It changed since it was planned, in words; what was planned for it is not done.
    Moved(String),
    /// It may be partly done, or not at all, in words.
    Failed(String),
}

impl Ground<'_> {
    fn is_meant(&self, zone: &DomainName) -> bool {
        self.only.is_none_or(|only| only == zone)
    }

    /// The zones that somebody publishes, and what they want.
    fn zones(&self) -> Vec<(&Domain, String, Sets)> {
        let zones = self.resolved.domains.iter().zip(&self.artefacts.zones);
        let meant = zones.filter(|(domain, zone)| domain.name == zone.name && self.is_meant(&domain.name));
        meant.filter_map(|(domain, zone)| Some((domain, domain.provider.clone()?, plan::wanted(zone)))).collect()
    }
}

/// A digest of what all zones want and who publishes them: of two specs with the same one, neither changes what the other
/// has applied.
pub fn digest(resolved: &Resolved, artefacts: &Artefacts) -> String {
    let mut text = Vec::new();
    // Writing into memory does not fail.
    let _ = artefacts.records_json(&mut text);
    for domain in &resolved.domains {
        text.extend(format!("{} {}\n", domain.name, domain.provider.as_deref().unwrap_or("-")).bytes());
    }
    let octets = digest::digest(&digest::SHA256, &text);
    octets.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Reads every zone and plans it.
pub async fn survey(ground: &Ground<'_>, state: &State) -> Survey {
    let zones = ground.zones();
    let names: BTreeSet<&DomainName> = ground.resolved.domains.iter().map(|domain| &domain.name).collect();
    let gone = state.zones.iter().filter(|(zone, _)| !names.contains(zone) && ground.is_meant(zone));
    let gone: Vec<(&DomainName, &Applied)> = gone.filter(|(_, applied)| !applied.sets.is_empty()).collect();
    let mut survey = Survey::default();
    let mut wanted: Vec<(DomainName, String, Sets)> =
        zones.into_iter().map(|(domain, provider, sets)| (domain.name.clone(), provider, sets)).collect();
    match ground.prune {
        true => wanted.extend(gone.into_iter().map(|(zone, one)| (zone.clone(), one.provider.clone(), Sets::new()))),
        false => survey.orphans = gone.into_iter().map(|(zone, _)| zone.clone()).collect(),
    }
    let mut live = read(ground, wanted.iter().map(|(zone, provider, _)| (zone.clone(), provider.clone()))).await;
    for (zone, provider, wanted) in wanted {
        let found = live.remove(&zone).unwrap_or_else(|| Err("was not read".to_owned()));
        let none = Applied::default();
        let before = state.zones.get(&zone).filter(|before| before.provider != provider && !before.sets.is_empty());
        survey.left.extend(before.map(|before| (zone.clone(), before.provider.clone())));
        // What we wrote at one provider says nothing of what stands at another.
        let applied = state.zones.get(&zone).filter(|applied| applied.provider == provider).unwrap_or(&none);
        let plan = found.map(|live| {
            let sides = Sides { last: &applied.sets, begun: &applied.begun, live: &live, wanted: &wanted };
            plan::plan(&sides, ground.adopt)
        });
        survey.zones.push(Looked { zone, provider, wanted, plan, left: BTreeSet::new() });
    }
    survey.zones.sort_by(|a, b| a.zone.cmp(&b.zone));
    survey.report = safety::safety(ground, state, &survey);
    survey
}

/// Reads zones, several at once.
async fn read(
    ground: &Ground<'_>,
    zones: impl ExactSizeIterator<Item = (DomainName, String)>,
) -> HashMap<DomainName, Result<Live, String>> {
    let (mut waiting, mut found) = (JoinSet::new(), HashMap::new());
    ground.counts.begin(zones.len());
    for (zone, name) in zones {
        let Some(provider) = ground.providers.get(&name).cloned() else {
            found.insert(zone, Err(format!("no `dns \"{name}\"` is in the spec")));
            continue;
        };
        if waiting.len() >= AT_ONCE
            && let Some(Ok((zone, live))) = waiting.join_next().await
        {
            ground.counts.one();
            found.insert(zone, live);
        }
        waiting.spawn(async move {
            let live = patiently(|| provider.read(&zone)).await.map_err(|error| error.to_string());
            (zone, live)
        });
    }
    while let Some(read) = waiting.join_next().await {
        ground.counts.one();
        if let Ok((zone, live)) = read {
            found.insert(zone, live);
        }
    }
    found
}

/// Tries again what a provider does not answer for.
async fn patiently<T, F: Future<Output = Result<T, ProviderError>>>(
    mut work: impl FnMut() -> F,
) -> Result<T, ProviderError> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match work().await {
            Err(ProviderError::Unavailable(_)) => sleep(pause).await,
            done => return done,
        }
        pause *= 2;
    }
    work().await
}

/// Makes the changes of a survey. The state says before what is begun and how far rollovers are, and afterwards what was
/// done.
///
/// # Errors
/// Where the state cannot be kept; then nothing more is written.
pub async fn apply(
    ground: &Ground<'_>,
    survey: &Survey,
    (held, state): (&Held, &mut State),
    stages: &AllStages,
) -> Result<BTreeMap<DomainName, Ended>, StateError> {
    let plans = || survey.zones.iter().filter_map(|looked| Some((looked, looked.plan.as_ref().ok()?)));
    let is_begun = |zone: &DomainName| state.zones.get(zone).is_some_and(|applied| !applied.begun.is_empty());
    let cut_off: BTreeSet<DomainName> =
        plans().map(|(looked, _)| looked.zone.clone()).filter(|zone| is_begun(zone)).collect();
    let mut begun = state.stages() != *stages;
    if begun {
        state.set_stages(stages.clone());
    }
    for (looked, plan) in plans().filter(|(_, plan)| !plan.changes.is_empty()) {
        let applied = state.zones.entry(looked.zone.clone()).or_default();
        if applied.provider != looked.provider {
            let stages = std::mem::take(&mut applied.stages);
            *applied = Applied { provider: looked.provider.clone(), stages, ..Applied::default() };
        }
        for change in &plan.changes {
            // What runs before were about to write may stand there as well: a run that was cut off before it wrote
            // must not make that somebody else's.
            let before = applied.begun.remove(&change.key).map_or_else(Vec::new, |set| set.values);
            let set = looked.wanted.get(&change.key);
            let values = set.into_iter().flat_map(|set| set.values.iter().cloned()).chain(before);
            applied.begun.extend(Set::of(set.map_or(0, |set| set.ttl), values).map(|set| (change.key.clone(), set)));
        }
        begun = true;
    }
    if begun {
        held.begin(state).await?;
    }
    // Of a customer's domain that the spec has no more nothing is left to be known.
    let is_known = |name: &DomainName| ground.resolved.domain(name).is_some();
    state.zones.retain(|name, applied| !applied.provider.is_empty() || is_known(name));
    let stale = held.during(state, served::stale(ground, survey)).await?;
    let kept_back = kept_back(survey, &stale);
    let survey = kept_back.as_ref().unwrap_or(survey);
    let mut ended = held.during(state, write(ground, survey, &cut_off)).await?;
    let before = state.clone();
    state.hold = None;
    for looked in &survey.zones {
        let Some(end) = ended.get_mut(&looked.zone).filter(|end| **end == Ended::Done) else { continue };
        if let Ok(plan) = &looked.plan {
            note(ground, looked, plan, state);
        }
        if let Some(ids) = stale.get(&looked.zone) {
            *end = Ended::Waits(served::waits(ids));
        }
    }
    if *state != before {
        held.save(state).await?;
    }
    Ok(ended)
}

/// The same without the ids of policies that are not served yet; `None` where there are none.
fn kept_back(survey: &Survey, stale: &BTreeMap<DomainName, BTreeSet<DomainName>>) -> Option<Survey> {
    if stale.is_empty() {
        return None;
    }
    let mut zones = survey.zones.clone();
    for looked in &mut zones {
        let (Ok(plan), Some(names)) = (&mut looked.plan, stale.get(&looked.zone)) else { continue };
        let ids = plan.changes.extract_if(.., |change| names.contains(&change.key.name));
        looked.left.extend(ids.map(|change| change.key));
    }
    Some(Survey { zones, ..Survey::default() })
}

/// Notes that a zone is as planned.
fn note(ground: &Ground<'_>, looked: &Looked, plan: &Plan, state: &mut State) {
    let applied = state.zones.entry(looked.zone.clone()).or_default();
    if applied.provider != looked.provider {
        *applied = Applied { stages: std::mem::take(&mut applied.stages), ..Applied::default() };
    }
    let refused: BTreeSet<&SetKey> = plan.refused.iter().map(|refused| &refused.key).chain(&looked.left).collect();
    let left = applied.sets.iter().filter(|(key, _)| refused.contains(key));
    let mut sets: Sets = left.map(|(key, set)| (key.clone(), set.clone())).collect();
    let done = looked.wanted.iter().filter(|(key, _)| !refused.contains(key));
    sets.extend(done.map(|(key, set)| (key.clone(), set.clone())));
    applied.provider.clone_from(&looked.provider);
    applied.sets = sets;
    applied.begun.clear();
    if applied.sets.is_empty() {
        state.zones.remove(&looked.zone);
    }
    for domain in ground.resolved.in_zone(&looked.zone) {
        let applied = state.zones.entry(domain.name.clone()).or_default();
        applied.keys = keys(domain, &applied.keys, ground.now);
    }
}

/// Since when each key signs, or does no more.
fn keys(domain: &Domain, known: &BTreeMap<String, KeyUse>, now: i64) -> BTreeMap<String, KeyUse> {
    let uses = domain.dkim.iter().map(|key| {
        let signs = key.state == KeyState::Signing;
        let same = known.get(&key.selector).filter(|one| one.signs == signs);
        (key.selector.clone(), same.copied().unwrap_or(KeyUse { signs, since: now }))
    });
    uses.collect()
}

/// Writes zones, several at once; those that a run before was cut off at, also where nothing is to change any more.
async fn write(ground: &Ground<'_>, survey: &Survey, cut_off: &BTreeSet<DomainName>) -> BTreeMap<DomainName, Ended> {
    let (mut waiting, mut ended) = (JoinSet::new(), BTreeMap::new());
    let is_due = |looked: &&Looked| {
        looked.plan.as_ref().is_ok_and(|plan| !plan.changes.is_empty()) || cut_off.contains(&looked.zone)
    };
    ground.counts.begin(survey.zones.iter().filter(is_due).count());
    let mut order: Vec<(Turn, &Looked)> =
        survey.zones.iter().map(|looked| (Turn::of(ground, looked), looked)).collect();
    order.sort_by_key(|(turn, _)| *turn);
    for zones in order.chunk_by(|(one, _), (next, _)| one == next) {
        for (_, looked) in zones {
            let (Ok(plan), Some(provider)) = (&looked.plan, ground.providers.get(&looked.provider).cloned()) else {
                continue;
            };
            if plan.changes.is_empty() && !cut_off.contains(&looked.zone) {
                ended.insert(looked.zone.clone(), Ended::Done);
                continue;
            }
            if waiting.len() >= AT_ONCE
                && let Some(Ok((zone, end))) = waiting.join_next().await
            {
                ground.counts.one();
                ended.insert(zone, end);
            }
            let (zone, changes) = (looked.zone.clone(), plan.changes.clone());
            waiting.spawn(async move {
                let end = one(&*provider, &zone, changes).await;
                (zone, end)
            });
        }
        while let Some(written) = waiting.join_next().await {
            ground.counts.one();
            if let Ok((zone, end)) = written {
                ended.insert(zone, end);
            }
        }
    }
    ended
}

/// When a zone is written: what others lean on is there before they do, and goes after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// It gets what other zones name: a host's addresses and keys, the consent to get reports (RFC 9990 §4).
    First,
    /// Nobody leans on what changes.
    Any,
    /// It loses such things.
    Last,
}

impl Turn {
    fn of(ground: &Ground<'_>, looked: &Looked) -> Turn {
        let changes = looked.plan.as_ref().map_or(&[][..], |plan| &plan.changes);
        let leaned_on = |change: &&Change| {
            let name = &change.key.name;
            name.as_str().contains("._report._dmarc.")
                || ground.resolved.hosts.iter().any(|host| name.is_within(host.name.domain()))
        };
        let mut gets = changes.iter().filter(leaned_on).map(|change| change.after.is_some());
        match (gets.clone().any(|gets| gets), gets.any(|gets| !gets)) {
            (true, _) => Turn::First,
            (false, true) => Turn::Last,
            (false, false) => Turn::Any,
        }
    }
}

/// Writes a zone and reads it again. Where it is not known whether a write took place, what is live tells.
async fn one(provider: &dyn Provider, zone: &DomainName, mut changes: Vec<Change>) -> Ended {
    let mut pause = PAUSE;
    let mut why = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            sleep(pause).await;
            pause *= 2;
        }
        match provider.write(zone, &changes).await {
            Ok(()) => why.clear(),
            Err(ProviderError::Moved(says)) => return Ended::Moved(says),
            // Whether it took place, what is live tells.
            Err(error @ (ProviderError::Unavailable(_) | ProviderError::Unknown(_))) => why = error.to_string(),
            Err(error) => return Ended::Failed(error.to_string()),
        }
        let live = match patiently(|| provider.read(zone)).await {
            Ok(live) => live,
            Err(error) => return Ended::Failed(format!("was written, but cannot be read again: {error}")),
        };
        let there = |key: &SetKey| live.sets.get(key);
        changes.retain(|change| there(&change.key) != change.after.as_ref());
        if changes.is_empty() {
            return Ended::Done;
        }
        if let Some(other) = changes.iter().find(|change| there(&change.key) != change.before.as_ref()) {
            return Ended::Moved(format!("`{}` is neither as before nor as planned", other.key));
        }
        if why.is_empty() {
            why = format!(
                "`{}` was written, and is not there",
                changes.first().map_or(String::new(), |one| one.key.to_string())
            );
        }
    }
    Ended::Failed(why)
}
