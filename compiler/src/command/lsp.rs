//! `waybill lsp`

use super::{Outcome, now};
use clap::Args;
use compiler::lsp;
use std::io;

/// Serves an editor.
#[derive(Args)]
pub struct Lsp {
    /// Taken for editors that say so; nothing else is served.
    #[arg(long, hide = true)]
    stdio: bool,
}

impl Lsp {
    pub fn run(self) -> io::Result<Outcome> {
        let _ = self.stdio;
        lsp::serve(now)?;
        Ok(Outcome::Fine)
    }
}
