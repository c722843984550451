//! `waybill schema`

use super::Outcome;
use clap::{Args, ValueEnum};
use compiler::read::grammar;
use compiler::reference;
use schema::config::RuntimeConfig;
use std::io::{self, Write};

/// Prints the JSON Schema of a spec, or of runtime.json.
#[derive(Args)]
pub struct Schema {
    /// Which.
    #[arg(value_enum)]
    of: Of,
}

#[derive(Clone, Copy, ValueEnum)]
enum Of {
    /// The spec's.
    Spec,
    /// runtime.json's.
    Runtime,
    /// The spec's for people, in Markdown: docs/reference.md.
    Reference,
}

impl Schema {
    pub fn run(self) -> io::Result<Outcome> {
        let schema = match self.of {
            Of::Reference => {
                let language = grammar::language();
                write!(io::stdout(), "{}", reference::reference(language))?;
                return Ok(Outcome::Fine);
            }
            Of::Spec => grammar::schema(),
            Of::Runtime => schemars::schema_for!(RuntimeConfig).to_value(),
        };
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&schema)?)?;
        Ok(Outcome::Fine)
    }
}
