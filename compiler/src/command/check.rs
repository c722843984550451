//! `waybill check`

use super::secrets::Identity;
use super::{Format, Outcome, Spec, at_the_end, tell};
use clap::{Args, ValueEnum};
use compiler::pipeline::{Compiled, Wish, compile};
use sealed::identity::Identities;
use std::io;
use std::path::Path;

/// Reads, resolves and checks a spec.
#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    spec: Spec,
    /// How findings are told.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// What else is an error.
    #[arg(long, value_enum)]
    deny: Option<Deny>,
    /// Opens every secret too, and holds keys against their public parts.
    #[arg(long)]
    secrets: bool,
    #[command(flatten)]
    identity: Identity,
    /// Checks the spec as it stands and in each of its environments.
    #[arg(long, conflicts_with = "env")]
    all_env: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Deny {
    /// Warnings.
    Warnings,
}

impl Check {
    pub fn run(self) -> io::Result<Outcome> {
        // Named for all commands in the environment, it is read only where it is needed.
        let identities = if self.secrets { self.identity.load()? } else { Identities::default() };
        let wish = Wish { secrets: self.secrets, identities: Some(&identities), ..self.spec.wish() };
        let Compiled { mut report, mut located, spec, resolved, artefacts } = compile(&wish);
        let rest = (resolved, artefacts);
        // Forges show findings at the files of a repository, in whose root their jobs run.
        if matches!(self.format, Format::Github | Format::Sarif) {
            located.base = base(&self.spec.dir);
        }
        for environment in spec.environment.iter().filter(|_| self.all_env) {
            let compiled = compile(&Wish { environment: Some(&environment.name), ..wish.clone() });
            report.join(compiled.report, &compiled.located, &format!("in environment `{}`: ", environment.name));
        }
        tell(&report, &located, self.format)?;
        let denied = self.deny.is_some() && report.warnings() > 0;
        let well = !report.has_errors() && !denied;
        at_the_end((report, located, spec, rest));
        Ok(Outcome::of(well))
    }
}

/// What leads from the working folder to the spec's: `mail/`; nothing where it is elsewhere.
fn base(folder: &Path) -> String {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    let inside = here.ok().zip(folder.canonicalize().ok()).and_then(|(here, folder)| {
        let inside = folder.strip_prefix(here).ok()?;
        inside.to_str().filter(|inside| !inside.is_empty()).map(|inside| format!("{inside}/"))
    });
    inside.unwrap_or_default()
}
