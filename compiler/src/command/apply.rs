//! `waybill apply`

use super::keys::month;
use super::plan::{Ready, Which, runtime};
use super::progress;
use super::secrets::Identity;
use super::{Outcome, Spec, coloured, now};
use clap::Args;
use compiler::apply::file::Planned;
use compiler::apply::rollout::Rolling;
use compiler::apply::{self, Ended, Survey, file, show};
use compiler::authority::Shown;
use compiler::diagnostic::printable;
use compiler::keys::{self, Edit};
use compiler::pipeline::Wish;
use compiler::plan::SetKey;
use compiler::state::hold::Watched;
use compiler::state::{Held, State, StateError};
use schema::name::DomainName;
use schema::unit::Period;
use sealed::identity::Identities;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often rollovers are looked at again within one run: each of their steps may make another one due.
const MOST_ROUNDS: usize = 8;
/// How often name servers are asked for what was written.
const POLL: Duration = Duration::from_secs(2);
/// How often is looked whether another run still holds the state.
const LOOKS: Duration = Duration::from_secs(1);

/// Makes the changes in DNS that `waybill plan` shows, and reads every zone again.
#[derive(Args)]
pub struct Apply {
    /// The spec's folder, or a plan that `waybill plan --out` wrote: then exactly its changes are made.
    #[arg(value_name = "DIR|PLAN")]
    what: PathBuf,
    /// Which of the spec's environments; the spec as it stands unless said.
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
    /// Waits until every name server shows what was written.
    #[arg(long)]
    wait: bool,
    /// How long `--wait` waits at most, as `10m`; for ever unless said. Exits with 5 where it was in vain.
    #[arg(long, value_name = "PERIOD", requires = "wait")]
    deadline: Option<Period>,
    /// How long another `waybill apply` is waited for that holds the state.
    #[arg(long, value_name = "PERIOD", default_value = "5m")]
    lock_timeout: Period,
    #[command(flatten)]
    identity: Identity,
}

impl Apply {
    pub fn run(self) -> io::Result<Outcome> {
        let identities = self.identity.load()?;
        let plan = match self.what.is_file() {
            true => {
                let wrong = |error: io::Error| io::Error::other(format!("{}: {error}", self.what.display()));
                Some(file::File::read(&self.what).map_err(wrong)?)
            }
            false => None,
        };
        let (spec, which) = match &plan {
            Some(file::File { spec, .. }) => {
                let which = Which {
                    only: spec.only.clone(),
                    adopt: spec.adopt,
                    prune: spec.prune,
                    resolver: self.which.resolver,
                    reports: self.which.reports.clone(),
                    offline: false,
                };
                (Spec { dir: spec.folder.clone(), env: spec.environment.clone() }, which)
            }
            None => (Spec { dir: self.what.clone(), env: self.env.clone() }, self.which.clone()),
        };
        let Some(ready) = Ready::of(&spec, which, &identities)? else { return Ok(Outcome::Failed) };
        let (held, mut state) = taken(&ready, self.lock_timeout)?;
        let ready = match &plan {
            Some(_) => ready,
            None => match turned(ready, &spec, (&self.which, &identities), &state)? {
                Some(ready) => ready,
                None => return Ok(Outcome::Failed),
            },
        };
        let mut rolling = ready.rolling(&state);
        let runtime = runtime()?;
        let mut run = Run { ready: &ready, held: &held, state: &mut state, runtime: &runtime, asks: !self.yes };
        if let Some(plan) = &plan {
            if plan.spec.digest != ready.digest() {
                writeln!(
                    io::stderr(),
                    "the spec in {} is not the one that was planned: plan it again",
                    spec.dir.display()
                )?;
                return Ok(Outcome::Moved);
            }
            if plan.state.serial == run.state.serial {
                rolling.set(plan.stages.clone());
            }
            let planned = plan.planned()?;
            return Ok(run.round(&rolling, Some(&planned))?.outcome);
        }
        let until = |long: Period| now().saturating_add(i64::try_from(long.0).unwrap_or(i64::MAX));
        let wait = Wait { deadline: self.deadline.map(until), all: self.wait };
        run.rounds(&mut rolling, &wait)
    }
}

/// The state, when no other run holds it any more.
fn taken(ready: &Ready, patience: Period) -> io::Result<(Held, State)> {
    let deadline = now().saturating_add(i64::try_from(patience.0).unwrap_or(i64::MAX));
    let (mut watched, mut told) = (Watched::default(), false);
    loop {
        match Held::take(Arc::clone(&ready.state), now, &mut watched) {
            Err(error @ StateError::Held(..)) if now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    writeln!(io::stderr(), "{error}; waiting for it, at most {patience}")?;
                }
                std::thread::sleep(LOOKS);
            }
            done => return done.map_err(io::Error::other),
        }
    }
}

/// The spec with new keys in the place of those that are as old as it lets them get, and without those that have gone.
fn turned(
    ready: Ready,
    spec: &Spec,
    (which, identities): (&Which, &Identities),
    state: &State,
) -> io::Result<Option<Ready>> {
    let (rotate, retire) = keys::due(&ready.resolved, (state, now()));
    let is_meant = |name: &&DomainName| which.only.as_ref().is_none_or(|only| only == *name);
    let mut edit = Edit::of(&ready.compiled, &ready.resolved, month());
    edit.avoid(&spec.dir);
    rotate.iter().filter(is_meant).try_for_each(|name| edit.rotate(name)).map_err(io::Error::other)?;
    let mut gone = retire.iter().filter(is_meant);
    gone.try_for_each(|name| edit.retire(name, None, (state, now()))).map_err(io::Error::other)?;
    if edit.is_empty() {
        return Ok(Some(ready));
    }
    let wish = Wish { identities: Some(identities), ..spec.wish() };
    for says in edit.write(&wish).map_err(io::Error::other)? {
        writeln!(io::stdout(), "{}; commit the spec", printable(&says))?;
    }
    Ready::of(spec, which.clone(), identities)
}

/// What waiting is for, and how long.
struct Wait {
    /// Until when, in seconds since 1970.
    deadline: Option<i64>,
    /// For all that was written, not for what a rollover needs alone.
    all: bool,
}

/// A run of `waybill apply`.
struct Run<'a> {
    ready: &'a Ready,
    held: &'a Held,
    state: &'a mut State,
    runtime: &'a tokio::runtime::Runtime,
    asks: bool,
}

/// How a round ended.
struct Round {
    outcome: Outcome,
    /// What was written, by zone.
    written: BTreeMap<DomainName, BTreeSet<SetKey>>,
}

impl Run<'_> {
    /// Rounds until nothing more is due.
    fn rounds(&mut self, rolling: &mut Rolling<'_>, wait: &Wait) -> io::Result<Outcome> {
        let which = &self.ready.which;
        self.runtime.block_on(rolling.advance(which.resolver, which.only.as_ref(), now()));
        let mut outcome = Outcome::Fine;
        let mut last = Shown::default();
        for _ in 0..MOST_ROUNDS {
            let round = self.round(rolling, None)?;
            outcome = round.outcome;
            if outcome != Outcome::Fine {
                break;
            }
            if wait.all && !self.shown(rolling, &round.written, wait.deadline)? {
                return Ok(Outcome::Partly);
            }
            let (changed, shown) = self.runtime.block_on(rolling.advance(which.resolver, which.only.as_ref(), now()));
            last = shown;
            if !changed {
                break;
            }
        }
        write!(io::stdout(), "{}", show::waiting(&rolling.rollouts(), &last, now()))?;
        Ok(outcome)
    }

    /// Waits until every name server shows what was written; whether they do in time.
    fn shown(
        &self,
        rolling: &Rolling<'_>,
        written: &BTreeMap<DomainName, BTreeSet<SetKey>>,
        deadline: Option<i64>,
    ) -> io::Result<bool> {
        loop {
            let shown = self.runtime.block_on(rolling.shown(self.ready.which.resolver, written));
            if shown.lacking.is_empty() {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| now() >= deadline) {
                let mut err = io::stderr().lock();
                for (zone, lacking) in &shown.lacking {
                    for lack in lacking {
                        writeln!(err, "{zone}: written, but {}", printable(lack))?;
                    }
                }
                return Ok(false);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Reads, plans, shows, writes and reads again: what is due now, or of that what was planned.
    fn round(&mut self, rolling: &Rolling<'_>, planned: Option<&Planned>) -> io::Result<Round> {
        let ready = self.ready;
        let end = |outcome| Ok(Round { outcome, written: BTreeMap::new() });
        let reading = ready.survey(rolling, self.state);
        let mut survey = progress::watched(self.runtime, (&ready.counts, "read"), reading);
        let moved = planned.map_or_else(Vec::new, |planned| file::keep(&mut survey, planned));
        ready.complain(&survey)?;
        write!(io::stdout(), "{}", show::human(&survey, &ready.places(rolling), coloured(&io::stdout())))?;
        if !moved.is_empty() {
            writeln!(io::stderr(), "changed since the plan was made, and left alone: {}", moved.join(", "))?;
        }
        if survey.is_refused() {
            writeln!(io::stderr(), "nothing is applied: see what is refused; `--only DOMAIN` applies another zone")?;
            return end(Outcome::Refused);
        }
        if survey.changes().next().is_some() && self.asks && !agreed()? {
            writeln!(io::stderr(), "nothing is applied; `--yes` does not ask")?;
            return end(Outcome::Failed);
        }
        let ground = ready.ground(rolling);
        let applying = apply::apply(&ground, &survey, (self.held, self.state), &rolling.stages);
        let ended = match progress::watched(self.runtime, (&ready.counts, "written"), applying) {
            Ok(ended) => ended,
            Err(error @ StateError::Moved(..)) => {
                writeln!(io::stderr(), "waybill: {error}")?;
                return end(Outcome::Moved);
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut written: BTreeMap<DomainName, BTreeSet<SetKey>> = BTreeMap::new();
        for (looked, change) in survey.changes().filter(|(looked, _)| is_written(&ended, &looked.zone)) {
            written.entry(looked.zone.clone()).or_default().insert(change.key.clone());
        }
        Ok(Round { outcome: told(&survey, &ended, !moved.is_empty())?, written })
    }
}

fn is_written(ended: &BTreeMap<DomainName, Ended>, zone: &DomainName) -> bool {
    matches!(ended.get(zone), Some(Ended::Done | Ended::Waits(_)))
}

/// Tells how it ended.
fn told(survey: &Survey, ended: &BTreeMap<DomainName, Ended>, moved: bool) -> io::Result<Outcome> {
    let mut err = io::stderr().lock();
    let (mut done, mut elsewhere, mut failed) = (0, moved, survey.failed().next().is_some());
    let mut waits = false;
    for (zone, end) in ended {
        match end {
            Ended::Done => done += 1,
            Ended::Waits(says) => {
                waits = true;
                writeln!(err, "{zone}: {}", printable(says))?;
            }
            Ended::Moved(says) => {
                elsewhere = true;
                writeln!(err, "{zone}: {}", printable(says))?;
            }
            Ended::Failed(says) => {
                failed = true;
                writeln!(err, "{zone}: {}", printable(says))?;
            }
        }
    }
    let changed: BTreeSet<_> = survey.changes().map(|(looked, _)| &looked.zone).collect();
    // A zone of which nothing is heard is none that is well.
    for zone in changed.iter().filter(|zone| !ended.contains_key(**zone)) {
        failed = true;
        writeln!(err, "{zone}: it is not known whether it was written; `waybill plan` shows what is there")?;
    }
    let written = changed.iter().filter(|zone| is_written(ended, zone)).count();
    if !changed.is_empty() {
        writeln!(io::stdout(), "{written} of {} zones written and read again", changed.len())?;
    }
    Ok(match (failed, elsewhere) {
        (true, _) if done > 0 && written > 0 => Outcome::Partly,
        (true, _) => Outcome::Failed,
        (_, true) => Outcome::Moved,
        _ if waits => Outcome::Partly,
        _ => Outcome::Fine,
    })
}

/// Whether somebody at a terminal says yes.
fn agreed() -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    write!(io::stderr(), "Make these changes? [y/N] ")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
