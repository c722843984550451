//! `waybill diff`

use super::{Outcome, now};
use clap::{Args, ValueEnum};
use compiler::diagnostic::render;
use compiler::diff::{self, Counts, Side, show};
use compiler::pipeline::{Compiled, Wish, compile};
use compiler::revision::{Between, Repository};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Says what a change of a spec means, for people, routes, listeners, stores, policies and records.
#[derive(Args)]
pub struct Diff {
    /// The old spec's folder.
    #[arg(required_unless_present = "git")]
    old: Option<PathBuf>,
    /// The new spec's folder.
    #[arg(required_unless_present = "git")]
    new: Option<PathBuf>,
    /// Two revisions, `OLD..NEW` or `OLD...NEW` (from where NEW left OLD); one alone is held against the files as they are.
    #[arg(long, value_name = "REV..REV", conflicts_with_all = ["old", "new"])]
    git: Option<String>,
    /// The spec's folder, for --git.
    #[arg(long, value_name = "PATH", requires = "git", default_value = ".")]
    dir: PathBuf,
    /// Which environment of both; the specs as they stand unless said.
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// How it is told.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// What `waybilld counts` printed, to say how much mail is lost.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// A JSON object.
    Json,
    /// For a comment of a pull request.
    Markdown,
}

impl Diff {
    pub fn run(self) -> io::Result<Outcome> {
        let state = self
            .state
            .as_deref()
            .map(|path| Counts::read(path).map_err(|why| io::Error::other(format!("{} {why}", path.display()))));
        let state = state.transpose()?;
        match (&self.old, &self.new, &self.git) {
            (_, _, Some(range)) => self.revisions(&Between::parse(range), state.as_ref()),
            (Some(old), Some(new), None) => self.folders(old, new, state.as_ref()),
            _ => Err(io::Error::other("say two folders, or --git OLD..NEW")),
        }
    }

    fn revisions(&self, between: &Between, state: Option<&Counts>) -> io::Result<Outcome> {
        let repository = Repository::around(&self.dir);
        let folder = repository.prefix()?;
        let new = between.new.as_deref().map(|new| repository.commit(new)).transpose()?;
        let mut old = repository.commit(&between.old)?;
        if let Some(new) = new.as_deref().filter(|_| between.fork) {
            old = repository.fork(&old, new)?;
        }
        let old = repository.lay_out(&old, &folder)?;
        match new {
            Some(new) => {
                let new = repository.lay_out(&new, &folder)?;
                self.folders(old.path(), new.path(), state)
            }
            None => self.folders(old.path(), &self.dir, state),
        }
    }

    fn folders(&self, old: &Path, new: &Path, state: Option<&Counts>) -> io::Result<Outcome> {
        let (old, new) = (self.compile(old), self.compile(new));
        let sides = (Side::of(&old), Side::of(&new).filter(|_| !new.report.has_errors()));
        let mut err = io::stderr().lock();
        let (Some(before), Some(after)) = sides else {
            for (which, side) in [("old", &old), ("new", &new)] {
                if side.report.has_errors() {
                    writeln!(err, "the {which} spec has errors:")?;
                    write!(err, "{}", render::human(&side.report, &side.located, super::coloured(&err)))?;
                }
            }
            return Ok(Outcome::Failed);
        };
        if old.report.has_errors() {
            writeln!(err, "the old spec has errors, and is compared as far as it can be understood")?;
        }
        let diff = diff::diff(&before, &after, state, now());
        let mut out = io::stdout().lock();
        match self.format {
            Format::Human => write!(out, "{}", show::human(&diff))?,
            Format::Json => {
                writeln!(out, "{}", serde_json::to_string_pretty(&show::json_form(&diff, &new.located))?)?;
            }
            Format::Markdown => write!(out, "{}", show::markdown(&diff, &new.located))?,
        }
        out.flush()?;
        write!(err, "{}", render::human(&diff.report, &new.located, super::coloured(&err)))?;
        if diff.report.has_errors() {
            writeln!(err, "this change must not be made in one step; `waybill explain CODE` says more")?;
            return Ok(Outcome::Failed);
        }
        Ok(if diff.differences.is_empty() { Outcome::Fine } else { Outcome::Differs })
    }

    fn compile(&self, folder: &Path) -> Compiled {
        compile(&Wish { environment: self.env.as_deref(), ..Wish::new(folder, now()) })
    }
}
