//! `waybill fix`

use super::{Outcome, Spec};
use clap::Args;
use compiler::diagnostic::printable;
use compiler::fix::{self, changes};
use std::io::{self, Write};

/// Mends what can be mended without changing anything else; comments and layout stay.
#[derive(Args)]
pub struct Fix {
    #[command(flatten)]
    spec: Spec,
    /// Writes nothing, and prints what would change; exits with 2 where something would.
    #[arg(long)]
    dry_run: bool,
}

impl Fix {
    pub fn run(self) -> io::Result<Outcome> {
        let wish = self.spec.wish();
        let mended = fix::mend(&wish).map_err(|why| {
            io::Error::other(format!("the folder {} {why}", printable(&self.spec.dir.display().to_string())))
        })?;
        let mut err = io::stderr().lock();
        for (at, code, says) in &mended.done {
            writeln!(err, "{at}: {}: {says}", code.id())?;
        }
        let left = mended.after.as_ref().unwrap_or(&mended.before);
        let (errors, warnings) = (left.report.errors(), left.report.warnings());
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let rest = format!("{} and {} are left", count(errors, "error"), count(warnings, "warning"));
        if mended.files.is_empty() {
            writeln!(err, "nothing to mend; {rest}")?;
            return Ok(Outcome::Fine);
        }
        if self.dry_run {
            write!(io::stdout().lock(), "{}", changes::diff(&mended))?;
            writeln!(err, "{} would change; {rest}", count(mended.files.len(), "file"))?;
            return Ok(Outcome::Differs);
        }
        fix::write(&wish, &mended)?;
        writeln!(err, "{} changed; {rest}", count(mended.files.len(), "file"))?;
        Ok(Outcome::Fine)
    }
}
