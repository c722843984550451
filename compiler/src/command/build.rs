//! `waybill build`

use super::{Format, Outcome, Spec, tell};
use clap::Args;
use compiler::pipeline::{Compiled, compile};
use compiler::write;
use std::io;
use std::path::PathBuf;

/// Writes runtime.json, records.json and the zones.
#[derive(Args)]
pub struct Build {
    #[command(flatten)]
    spec: Spec,
    /// Where to.
    #[arg(long)]
    out: PathBuf,
    /// How findings are told.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Build {
    pub fn run(self) -> io::Result<Outcome> {
        let Compiled { report, located, artefacts, .. } = compile(&self.spec.wish());
        tell(&report, &located, self.format)?;
        let Some(artefacts) = artefacts else { return Ok(Outcome::Failed) };
        write::build(&self.out, &artefacts)?;
        Ok(Outcome::Fine)
    }
}
