//! `waybill build`

use super::{Format, Outcome, Spec, at_the_end, place, tell};
use clap::Args;
use compiler::environment::show;
use compiler::pipeline::compile;
use compiler::transition;
use compiler::write;
use sealed::identity::Identities;
use std::io::{self, Write};
use std::path::PathBuf;

/// Writes runtime.json, records.json and the zones.
#[derive(Args)]
pub struct Build {
    #[command(flatten)]
    spec: Spec,
    /// Where to.
    #[arg(long, required_unless_present = "show_merged")]
    out: Option<PathBuf>,
    /// Prints the spec as it is in the end: overlay, `like`, `defaults` and what is built in, with where each value comes
    /// from.
    #[arg(long)]
    show_merged: bool,
    /// How findings are told.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Build {
    pub fn run(self) -> io::Result<Outcome> {
        let mut compiled = compile(&self.spec.wish());
        tell(&compiled.report, &compiled.located, self.format)?;
        if self.show_merged
            && let Some(merged) = show::merged(&compiled)
        {
            write!(io::stdout(), "{merged}")?;
        }
        let Some(mut artefacts) = compiled.artefacts.take() else { return Ok(Outcome::Failed) };
        if let Some(resolved) = &compiled.resolved {
            let place = place(&self.spec.dir, &compiled.spec, &Identities::default())?;
            // A build asks no remote: whoever pulls the spec has fetched the branch with it.
            let stages = place.fetched().stages().map_err(io::Error::other)?;
            if let Some((_, staged)) = transition::staged(resolved, &artefacts, &stages) {
                artefacts = staged;
            }
        }
        if let Some(out) = &self.out {
            write::build(out, &artefacts)?;
        }
        at_the_end((compiled, artefacts));
        Ok(Outcome::Fine)
    }
}
