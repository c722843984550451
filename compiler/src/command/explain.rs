//! `waybill explain`

use super::{Format, Outcome, now, tell};
use clap::Args;
use compiler::code::Code;
use compiler::explain;
use compiler::pipeline::{Compiled, Wish, compile};
use compiler::zone::Kind;
use schema::name::{DomainName, NameError};
use std::io::{self, Write};
use std::path::PathBuf;

/// Says what a code means, or why a record exists.
#[derive(Args)]
pub struct Explain {
    /// A code, or the spec's folder.
    what: PathBuf,
    /// The record's name.
    #[arg(value_parser = owner_name)]
    name: Option<DomainName>,
    /// The record's type.
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
    /// Which of the spec's environments; the spec as it stands unless said.
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
}

/// The name of a record; `*` stands for all below (RFC 4592).
fn owner_name(text: &str) -> Result<DomainName, NameError> {
    match text.strip_prefix("*.") {
        Some(rest) => rest.parse::<DomainName>()?.wildcard(),
        None => text.parse(),
    }
}

impl Explain {
    pub fn run(self) -> io::Result<Outcome> {
        let mut out = io::stdout().lock();
        let Some((name, kind)) = self.name.zip(self.kind) else {
            let Some(code) = self.what.to_str().and_then(explain::code_named) else {
                let (first, last) = (Code::ALL.first().map_or("", |c| c.id()), Code::ALL.last().map_or("", |c| c.id()));
                let what = self.what.display();
                let says = format!("`{what}` is no code; codes are {first} to {last}, and records want DIR NAME TYPE");
                return Err(io::Error::other(says));
            };
            write!(out, "{}", code.page())?;
            return Ok(Outcome::Fine);
        };
        let Some(kind) = Kind::named(&kind) else {
            return Err(io::Error::other(format!("`{kind}` is no type of record that is known here")));
        };
        let Compiled { report, located, artefacts, .. } =
            compile(&Wish { environment: self.env.as_deref(), ..Wish::new(&self.what, now()) });
        let Some(artefacts) = artefacts else {
            tell(&report, &located, Format::Human)?;
            return Ok(Outcome::Failed);
        };
        if let Some(text) = explain::record(&artefacts, &located, &name, kind) {
            write!(out, "{text}")?;
            return Ok(Outcome::Fine);
        }
        let there: Vec<&str> = explain::sets(&artefacts, &name).iter().map(|set| set.kind.name()).collect();
        let says = match there.as_slice() {
            [] => format!("the spec makes no record of the name {name}"),
            there => format!("the spec makes no {} record of {name}, but {}", kind.name(), there.join(", ")),
        };
        Err(io::Error::other(says))
    }
}
