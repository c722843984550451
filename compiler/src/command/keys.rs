//! `waybill keys`

use super::secrets::Identity;
use super::{Outcome, Spec, now};
use clap::{Args, Subcommand};
use compiler::diagnostic::printable;
use compiler::keys::{Edit, KeysError};
use compiler::pipeline::{Compiled, compile};
use compiler::resolve::KeyState;
use compiler::state::State;
use compiler::transition::{self, Topic};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schema::name::DomainName;
use schema::spec::DkimAlgorithm;
use sealed::identity::Identities;
use std::io::{self, Write};

/// Lists DKIM and TLS keys, makes them, and has them take each other's place.
#[derive(Args)]
pub struct Keys {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Lists every key: whose it is, its name, what for, whether it is in use, and since when.
    List(Which),
    /// Makes the DKIM keys that a domain lacks, or a host's next TLS key.
    Make(Named),
    /// Puts new DKIM keys in the place of a domain's, or the next TLS key in the place of a host's; `waybill apply` then
    /// goes on from step to step.
    Rotate(Named),
    /// Takes keys out that have gone.
    Retire(Retire),
}

/// Whose keys.
#[derive(Args)]
struct Which {
    #[command(flatten)]
    spec: Spec,
}

/// Whose keys are meant.
#[derive(Args)]
struct Named {
    #[command(flatten)]
    spec: Spec,
    /// A domain, for its DKIM keys, or a host, for its TLS keys.
    name: DomainName,
    #[command(flatten)]
    identity: Identity,
}

#[derive(Args)]
struct Retire {
    #[command(flatten)]
    named: Named,
    /// This key alone.
    selector: Option<String>,
}

/// Today's year and month, which new keys are named after.
pub fn month() -> String {
    let today = TimeZone::UTC.to_datetime(Timestamp::from_second(now()).unwrap_or_default()).date();
    format!("{}{:02}", today.year(), today.month())
}

impl Keys {
    pub fn run(self) -> io::Result<Outcome> {
        match self.what {
            What::List(which) => list(&which.spec),
            What::Make(named) => named.edit(|edit, name, _| edit.make(name)),
            What::Rotate(named) => named.edit(|edit, name, _| edit.rotate(name)),
            What::Retire(Retire { named, selector }) => {
                named.edit(|edit, name, state| edit.retire(name, selector.as_deref(), (state, now())))
            }
        }
    }
}

impl Named {
    fn edit(
        &self,
        change: impl FnOnce(&mut Edit<'_>, &DomainName, &State) -> Result<(), KeysError>,
    ) -> io::Result<Outcome> {
        let identities = self.identity.load()?;
        let wish = compiler::pipeline::Wish { identities: Some(&identities), ..self.spec.wish() };
        let compiled = compile(&wish);
        let state = super::state(&self.spec.dir, &compiled.spec, &identities)?;
        let Some(resolved) = compiled.resolved.as_ref().filter(|_| !compiled.report.has_errors()) else {
            super::tell(&compiled.report, &compiled.located, super::Format::Human)?;
            return Ok(Outcome::Failed);
        };
        let mut edit = Edit::of(&compiled, resolved, month());
        edit.avoid(&self.spec.dir);
        change(&mut edit, &self.name, &state).map_err(io::Error::other)?;
        for says in edit.write(&wish).map_err(io::Error::other)? {
            writeln!(io::stdout(), "{}", printable(&says))?;
        }
        Ok(Outcome::Fine)
    }
}

fn list(spec: &Spec) -> io::Result<Outcome> {
    let compiled = compile(&spec.wish());
    let Compiled { resolved: Some(resolved), artefacts: Some(artefacts), .. } = &compiled else {
        super::tell(&compiled.report, &compiled.located, super::Format::Human)?;
        return Ok(Outcome::Failed);
    };
    let state = super::state(&spec.dir, &compiled.spec, &Identities::default())?;
    let staged = transition::staged(resolved, artefacts, &state.stages());
    let effect = staged.as_ref().map_or(resolved, |(resolved, _)| resolved);
    let mut out = io::stdout().lock();
    let day = |at: i64| {
        let at = Timestamp::from_second(at).unwrap_or_default();
        TimeZone::UTC.to_datetime(at).date().to_string()
    };
    for domain in &effect.domains {
        let used = state.zones.get(&domain.name);
        for key in &domain.dkim {
            let word = match key.algorithm {
                _ if key.state == KeyState::Revoked => "-",
                DkimAlgorithm::Ed25519 => "ed25519",
                DkimAlgorithm::Rsa => "rsa",
            };
            let what = match key.state {
                KeyState::Signing => "signs",
                KeyState::Next => "comes",
                KeyState::Retiring => "goes",
                KeyState::Revoked => "revoked",
            };
            let since = used.and_then(|used| used.keys.get(&key.selector)).map_or("-".into(), |used| day(used.since));
            let at = compiled.located.at(&compiled.located.place(&key.at));
            writeln!(
                out,
                "{:<30} dkim {:<16} {word:<8} {what:<8} {since:<10} {at}",
                domain.name.as_str(),
                printable(&key.selector)
            )?;
        }
    }
    for host in &effect.hosts {
        let topic = Topic::Tls(host.name.clone());
        let stage = state.zones.values().find_map(|zone| zone.stages.get(&topic));
        let goal = host.keys.first().map(|(name, _)| name);
        let current =
            stage.and_then(|stage| stage.is.first()).filter(|is| host.keys.iter().any(|(name, _)| name == *is));
        let current = current.or(goal);
        for (at, (name, _)) in host.keys.iter().enumerate() {
            let what = match (Some(name) == current, at) {
                (true, _) => "current",
                (_, 0) => "comes",
                _ => "next",
            };
            let since = stage.filter(|_| Some(name) == current).map_or("-".into(), |stage| day(stage.since));
            let at = compiled.located.at(&compiled.located.place(&host.at.field("tls").field("key").item(at)));
            writeln!(
                out,
                "{:<30} tls  {:<16} {:<8} {what:<8} {since:<10} {at}",
                host.name.to_string(),
                printable(name),
                "-"
            )?;
        }
    }
    Ok(Outcome::Fine)
}
