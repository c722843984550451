//! The commands: what each takes, and how it tells what it found.

mod apply;
mod build;
mod check;
mod diff;
mod explain;
mod fix;
mod fmt;
mod graph;
mod import;
mod init;
mod keys;
mod lock;
mod lsp;
mod plan;
mod progress;
mod rollout;
mod schema;
mod secrets;
mod verify;

use clap::{Args, Subcommand, ValueEnum};
use compiler::diagnostic::{Report, junit, machine, render};
use compiler::locate::Located;
use compiler::pipeline::Wish;
use compiler::provider::Ground;
use compiler::read::files::Sources;
use compiler::state::{Place, State};
use sealed::identity::Identities;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A command.
#[derive(Subcommand)]
pub enum Command {
    /// Writes a first spec with fresh keys and one account, and prints the account's password once.
    Init(init::Init),
    /// Makes a first spec from DNS, Postfix, Dovecot, Stalwart, Mailcow or a list.
    Import(Box<import::Import>),
    /// Reads, resolves and checks a spec; tells every error at once.
    Check(check::Check),
    /// Writes runtime.json, records.json and the zones.
    Build(build::Build),
    /// Mends what can be mended without changing anything else; comments and layout stay.
    Fix(fix::Fix),
    /// Says what a change of a spec means, and how the running server takes it.
    Diff(diff::Diff),
    /// Shows what would change in DNS.
    Plan(plan::Plan),
    /// Makes the changes in DNS that `waybill plan` shows, and reads every zone again.
    Apply(apply::Apply),
    /// Looks at what the world sees, and holds it against the spec.
    Verify(verify::Verify),
    /// Shows what rolls over: which step it is at, and what it waits for.
    Rollout(rollout::Rollout),
    /// Lists DKIM and TLS keys, makes them, and has them take each other's place.
    Keys(keys::Keys),
    /// Draws domains, hosts, stores and the ways of mail as SVG.
    Graph(graph::Graph),
    /// Lays a spec's files out in the one canonical way; comments stay.
    Fmt(fmt::Fmt),
    /// Prints the JSON Schema of a spec, or of runtime.json.
    Schema(schema::Schema),
    /// Serves an editor on stdin and stdout, by the Language Server Protocol.
    Lsp(lsp::Lsp),
    /// Asks DNS what the spec needs to know of names outside it, and writes that to waybill.lock beside it.
    Lock(lock::Lock),
    /// Says what a code means (`explain W0301`), or why a record exists (`explain DIR NAME TYPE`).
    Explain(explain::Explain),
    /// Makes, changes and checks secrets that are encrypted with age.
    Secrets(secrets::Secrets),
}

impl Command {
    /// Runs it.
    ///
    /// # Errors
    /// What the system says, or what is wrong with the arguments; findings of the spec are told and no such error.
    pub fn run(self) -> io::Result<Outcome> {
        match self {
            Command::Init(command) => command.run(),
            Command::Import(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Build(command) => command.run(),
            Command::Fix(command) => command.run(),
            Command::Diff(command) => command.run(),
            Command::Plan(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Rollout(command) => command.run(),
            Command::Keys(command) => command.run(),
            Command::Apply(command) => command.run(),
            Command::Graph(command) => command.run(),
            Command::Fmt(command) => command.run(),
            Command::Schema(command) => command.run(),
            Command::Lock(command) => command.run(),
            Command::Explain(command) => command.run(),
            Command::Lsp(command) => command.run(),
            Command::Secrets(command) => command.run(),
        }
    }
}

/// How a command ended; its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 0: all is well, or nothing is to do.
    Fine,
    /// 1: something is wrong, and has been told.
    Failed,
    /// 2: something differs, and has been shown.
    Differs,
    /// 3: the safety policy refuses something.
    Refused,
    /// 4: the world moved since the plan was made.
    Moved,
    /// 5: a part was done, and a part was not.
    Partly,
}

impl Outcome {
    /// Fine or failed.
    pub fn of(well: bool) -> Outcome {
        if well { Outcome::Fine } else { Outcome::Failed }
    }
}

/// Which spec is meant, for every command that compiles one.
#[derive(Args)]
pub struct Spec {
    /// The spec's folder.
    pub dir: PathBuf,
    /// Which of the spec's environments; the spec as it stands unless said.
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
}

impl Spec {
    /// As [`compiler::pipeline::compile`] wants it.
    pub fn wish(&self) -> Wish<'_> {
        Wish { environment: self.env.as_deref(), ..Wish::new(&self.dir, now()) }
    }
}

/// Where a spec's state is kept.
pub fn place(dir: &Path, spec: &::schema::spec::Spec, identities: &Identities) -> io::Result<Place> {
    let sources = Sources::open(dir).map_err(|why| io::Error::other(why.to_string()))?;
    let trust = plan::trust(spec, &sources, identities).map_err(io::Error::other)?;
    let ground = Ground { sources: &sources, identities, trust: &trust, now: now() };
    Place::of(spec, &ground).map_err(|why| io::Error::other(format!("state: {why}")))
}

/// What was applied of a spec.
pub fn state(dir: &Path, spec: &::schema::spec::Spec, identities: &Identities) -> io::Result<State> {
    place(dir, spec, identities)?.load().map_err(io::Error::other)
}

/// How findings are told.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// A JSON array.
    Json,
    /// SARIF 2.1.0.
    Sarif,
    /// GitHub's annotations.
    Github,
    /// A JUnit report.
    Junit,
}

/// Leaves to the system what the ending program holds: of a large spec, to give back a million small pieces one by one
/// takes a tenth of the time of all the rest.
pub fn at_the_end<T>(held: T) {
    std::mem::forget(held);
}

/// Seconds since 1970.
#[allow(clippy::disallowed_methods, reason = "what a command does is of the moment at which it is given")]
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Whether what goes to a stream may be coloured.
pub fn coloured(stream: &impl IsTerminal) -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()) && stream.is_terminal()
}

/// Tells findings: for people on stderr, for programs on stdout.
pub fn tell(report: &Report, located: &Located, format: Format) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Human => {
            let mut err = io::stderr().lock();
            write!(err, "{}", render::human(report, located, coloured(&err)))?;
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            let (errors, warnings) = (report.errors(), report.warnings());
            if errors + warnings > 0 {
                let (errors, warnings) = (count(errors, "error"), count(warnings, "warning"));
                let allowed = match report.allowed().len() {
                    0 => String::new(),
                    n => format!(", {n} allowed"),
                };
                writeln!(err, "{errors}, {warnings}{allowed}; `waybill explain CODE` says more")?;
            }
            Ok(())
        }
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&machine::json(report, located))?),
        Format::Sarif => writeln!(out, "{}", serde_json::to_string_pretty(&machine::sarif(report, located))?),
        Format::Github => write!(out, "{}", machine::github(report, located)),
        Format::Junit => write!(out, "{}", junit::junit(report, located)),
    }
}
