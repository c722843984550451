//! `waybill apply`

use super::plan::{Ready, Which, runtime};
use super::secrets::Identity;
use super::{Outcome, Spec, coloured};
use clap::Args;
use compiler::apply::{self, Ended, Survey, file, show};
use compiler::diagnostic::printable;
use compiler::state::{Held, State, StateError};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

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
                let which = Which { only: spec.only.clone(), adopt: spec.adopt, prune: spec.prune };
                (Spec { dir: spec.folder.clone(), env: spec.environment.clone() }, which)
            }
            None => (Spec { dir: self.what.clone(), env: self.env.clone() }, self.which.clone()),
        };
        let Some(ready) = Ready::of(&spec, which, &identities)? else { return Ok(Outcome::Failed) };
        let held = match Held::take(&ready.state) {
            Ok(held) => held,
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut state = State::load(&ready.state).map_err(io::Error::other)?;
        let runtime = runtime()?;
        let mut survey = runtime.block_on(ready.survey(&state));
        let mut moved = Vec::new();
        if let Some(plan) = &plan {
            if plan.spec.digest != ready.ground().digest() {
                writeln!(
                    io::stderr(),
                    "the spec in {} is not the one that was planned: plan it again",
                    spec.dir.display()
                )?;
                return Ok(Outcome::Moved);
            }
            moved = file::keep(&mut survey, &plan.planned()?);
        }
        ready.complain(&survey)?;
        write!(io::stdout(), "{}", show::human(&survey, &ready.places(), coloured(&io::stdout())))?;
        if !moved.is_empty() {
            writeln!(io::stderr(), "changed since the plan was made, and left alone: {}", moved.join(", "))?;
        }
        if survey.is_refused() {
            writeln!(io::stderr(), "nothing is applied: see what is refused; `--only DOMAIN` applies another zone")?;
            return Ok(Outcome::Refused);
        }
        if survey.changes().next().is_some() && !self.yes && !agreed()? {
            writeln!(io::stderr(), "nothing is applied; `--yes` does not ask")?;
            return Ok(Outcome::Failed);
        }
        let ground = ready.ground();
        let ended = match runtime.block_on(apply::apply(&ground, &survey, (&held, &mut state))) {
            Ok(ended) => ended,
            Err(error @ StateError::Moved(..)) => {
                writeln!(io::stderr(), "waybill: {error}")?;
                return Ok(Outcome::Moved);
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        told(&survey, &ended, !moved.is_empty())
    }
}

/// Tells how it ended.
fn told(
    survey: &Survey,
    ended: &std::collections::BTreeMap<schema::name::DomainName, Ended>,
    moved: bool,
) -> io::Result<Outcome> {
    let mut err = io::stderr().lock();
    let (mut done, mut elsewhere, mut failed) = (0, moved, survey.failed().next().is_some());
    for (zone, end) in ended {
        match end {
            Ended::Done => done += 1,
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
    let changed: std::collections::BTreeSet<_> = survey.changes().map(|(looked, _)| &looked.zone).collect();
    // A zone of which nothing is heard is none that is well.
    for zone in changed.iter().filter(|zone| !ended.contains_key(**zone)) {
        failed = true;
        writeln!(err, "{zone}: it is not known whether it was written; `waybill plan` shows what is there")?;
    }
    let written = changed.iter().filter(|zone| ended.get(**zone) == Some(&Ended::Done)).count();
    if !changed.is_empty() {
        writeln!(io::stdout(), "{written} of {} zones written and read again", changed.len())?;
    }
    Ok(match (failed, elsewhere) {
        (true, _) if done > 0 && written > 0 => Outcome::Partly,
        (true, _) => Outcome::Failed,
        (_, true) => Outcome::Moved,
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
