//! `waybill graph`

use super::{Format, Outcome, Spec, tell};
use clap::Args;
use compiler::pipeline::{Compiled, compile};
use compiler::{graph, write};
use std::io::{self, Write};
use std::path::PathBuf;

/// Draws domains, hosts, stores and the ways of mail as SVG.
#[derive(Args)]
pub struct Graph {
    #[command(flatten)]
    spec: Spec,
    /// Where to; stdout unless said.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Graph {
    pub fn run(self) -> io::Result<Outcome> {
        let Compiled { report, located, resolved, .. } = compile(&self.spec.wish());
        let Some(resolved) = resolved else {
            tell(&report, &located, Format::Human)?;
            return Ok(Outcome::Failed);
        };
        let svg = graph::svg(&resolved);
        match &self.out {
            Some(path) => write::replace(path, svg.as_bytes(), write::Mode::Public)?,
            None => write!(io::stdout(), "{svg}")?,
        }
        Ok(Outcome::Fine)
    }
}
