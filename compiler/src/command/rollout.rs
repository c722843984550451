//! `waybill rollout`

use super::plan::runtime;
use super::{Outcome, Spec, now, tell};
use clap::{Args, ValueEnum};
use compiler::apply::rollout::Rolling;
use compiler::apply::show;
use compiler::pipeline::{Compiled, compile};
use compiler::transition;
use schema::name::DomainName;
use sealed::identity::Identities;
use serde_json::json;
use std::io::{self, Write};
use std::net::SocketAddr;

/// Shows what rolls over: keys, policies, MX; which step each is at, and what it waits for. `waybill apply` takes the steps.
#[derive(Args)]
pub struct Rollout {
    #[command(flatten)]
    spec: Spec,
    /// This zone alone.
    #[arg(long, value_name = "DOMAIN")]
    only: Option<DomainName>,
    /// How it is told.
    #[arg(long, value_enum, default_value_t = Told::Human)]
    format: Told,
    /// The DNS server that finds name servers, in place of the system's: `ADDR:PORT`.
    #[arg(long, env = "WAYBILL_RESOLVER")]
    resolver: Option<SocketAddr>,
}

/// How rollovers are told.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Told {
    /// For people.
    Human,
    /// For programs.
    Json,
}

impl Rollout {
    pub fn run(self) -> io::Result<Outcome> {
        let compiled = compile(&self.spec.wish());
        let Compiled { resolved: Some(resolved), artefacts: Some(artefacts), .. } = &compiled else {
            tell(&compiled.report, &compiled.located, super::Format::Human)?;
            return Ok(Outcome::Failed);
        };
        let state = super::state(&self.spec.dir, &compiled.spec, &Identities::default())?;
        let rolling = Rolling::of(resolved, artefacts, &state);
        let is_meant = |zone: &DomainName| self.only.as_ref().is_none_or(|only| only == zone);
        let mut awaited = transition::awaited(&rolling.goals, &rolling.stages);
        awaited.retain(|zone, _| is_meant(zone));
        let shown = runtime()?.block_on(rolling.shown(self.resolver, &awaited));
        let mut rollouts = rolling.rollouts();
        rollouts.retain(|rollout| is_meant(&rollout.zone));
        let mut out = io::stdout().lock();
        match self.format {
            Told::Human if rollouts.is_empty() => writeln!(out, "nothing rolls over")?,
            Told::Human => write!(out, "{}", show::rollouts(&rollouts, &shown, now()))?,
            Told::Json => {
                let all = rollouts.iter().map(|rollout| {
                    json!({
                        "zone": rollout.zone,
                        "topic": rollout.topic.to_string(),
                        "from": rollout.from,
                        "to": rollout.to,
                        "step": rollout.at.map(|at| at + 1),
                        "steps": rollout.steps.iter().map(|step| step.says).collect::<Vec<_>>(),
                        "since": rollout.since,
                        "due": rollout.due(),
                        "lacking": shown.lacking.get(&rollout.zone),
                    })
                });
                writeln!(out, "{}", serde_json::to_string_pretty(&all.collect::<Vec<_>>())?)?;
            }
        }
        Ok(Outcome::Fine)
    }
}
