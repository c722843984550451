//! `waybill`, the compiler: the commands. Exit codes: 0 fine, 1 errors.

use clap::{Args, Parser, Subcommand, ValueEnum};
use compiler::code::Code;
use compiler::diagnostic::{Report, machine, printable, render};
use compiler::locate::Located;
use compiler::pipeline::{Compiled, compile, compile_with_secrets};
use compiler::read::files::Sources;
use compiler::zone::Kind;
use compiler::{explain, format, init, write};
use schema::config::RuntimeConfig;
use schema::name::{DomainName, HostName, LocalPart, NameError};
use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// The compiler of Waybill: a mail platform from a Git repository.
#[derive(Parser)]
#[command(name = "waybill", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a first spec with fresh keys and one account, and prints the account's password once.
    Init(Init),
    /// Reads, resolves and checks a spec; tells every error at once.
    Check {
        /// The spec's folder.
        dir: PathBuf,
        /// How findings are told.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
        /// What else is an error.
        #[arg(long, value_enum)]
        deny: Option<Deny>,
        /// Opens every secret too, and holds keys against their public parts.
        #[arg(long)]
        secrets: bool,
    },
    /// Writes runtime.json, records.json and the zones.
    Build {
        /// The spec's folder.
        dir: PathBuf,
        /// Where to.
        #[arg(long)]
        out: PathBuf,
        /// How findings are told.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Lays a spec's files out in the one canonical way; comments stay.
    Fmt {
        /// The spec's folder, or one file.
        dir: PathBuf,
        /// Changes nothing, and fails where something would change.
        #[arg(long)]
        check: bool,
    },
    /// Prints the JSON Schema of a spec, or of runtime.json.
    Schema {
        /// Which.
        #[arg(value_enum)]
        of: SchemaOf,
    },
    /// Says what a code means (`explain W0301`), or why a record exists (`explain DIR NAME TYPE`).
    Explain {
        /// A code, or the spec's folder.
        what: PathBuf,
        /// The record's name.
        #[arg(value_parser = owner_name)]
        name: Option<DomainName>,
        /// The record's type.
        #[arg(value_name = "TYPE")]
        kind: Option<String>,
    },
}

#[derive(Args)]
struct Init {
    /// The folder, made if it is not there.
    dir: PathBuf,
    /// The mail domain.
    #[arg(long, value_parser = mail_domain)]
    domain: DomainName,
    /// The machine's fully qualified name.
    #[arg(long)]
    host: HostName,
    /// The machine's public addresses.
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<IpAddr>,
    /// The first person: the part of the address before the @.
    #[arg(long, default_value = "admin")]
    account: LocalPart,
    /// Ports above 1024 on 127.0.0.1, for a trial without root.
    #[arg(long)]
    high_ports: bool,
}

/// A mail domain is named as a host is, so an address is none.
fn mail_domain(text: &str) -> Result<DomainName, NameError> {
    text.parse::<HostName>().map(|name| name.domain().clone())
}

/// The name of a record; `*` stands for all below (RFC 4592).
fn owner_name(text: &str) -> Result<DomainName, NameError> {
    match text.strip_prefix("*.") {
        Some(rest) => rest.parse::<DomainName>()?.wildcard(),
        None => text.parse(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// A JSON array.
    Json,
    /// SARIF 2.1.0.
    Sarif,
    /// GitHub's annotations.
    Github,
}

#[derive(Clone, Copy, ValueEnum)]
enum Deny {
    /// Warnings.
    Warnings,
}

#[derive(Clone, Copy, ValueEnum)]
enum SchemaOf {
    /// The spec's.
    Spec,
    /// runtime.json's.
    Runtime,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // 2 would mean "changes"; help and version are no errors.
            let failed = error.use_stderr();
            let _ = error.print();
            return if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // A reader that has seen enough, `waybill … | head`, is no failure of ours to tell.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "waybill: {}", printable(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
fn run(command: Command) -> io::Result<bool> {
    match command {
        Command::Init(wish) => start(wish),
        Command::Check { dir, format, deny, secrets } => {
            let compile = if secrets { compile_with_secrets } else { compile };
            let Compiled { report, located, .. } = compile(&dir, now());
            tell(&report, &located, format)?;
            let denied = deny.is_some() && report.warnings() > 0;
            Ok(!report.has_errors() && !denied)
        }
        Command::Build { dir, out, format } => {
            let Compiled { report, located, artefacts } = compile(&dir, now());
            tell(&report, &located, format)?;
            let Some(artefacts) = artefacts else { return Ok(false) };
            write::build(&out, &artefacts)?;
            Ok(true)
        }
        Command::Fmt { dir, check } => lay_out(&dir, check),
        Command::Schema { of } => {
            let schema = match of {
                SchemaOf::Spec => compiler::read::grammar::schema(),
                SchemaOf::Runtime => schemars::schema_for!(RuntimeConfig).to_value(),
            };
            writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&schema)?)?;
            Ok(true)
        }
        Command::Explain { what, name, kind } => tell_why(&what, name.as_ref(), kind.as_deref()),
    }
}

#[allow(clippy::disallowed_methods, reason = "the compiler's clock is read here and nowhere else")]
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Findings for people go to stderr, for programs to stdout.
fn tell(report: &Report, located: &Located, format: Format) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Human => {
            let colour = std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()) && io::stderr().is_terminal();
            let mut err = io::stderr().lock();
            write!(err, "{}", render::human(report, located, colour))?;
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            let (errors, warnings) = (report.errors(), report.warnings());
            if errors + warnings > 0 {
                writeln!(
                    err,
                    "{}, {}; `waybill explain CODE` says more",
                    count(errors, "error"),
                    count(warnings, "warning")
                )?;
            }
            Ok(())
        }
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&machine::json(report, located))?),
        Format::Sarif => writeln!(out, "{}", serde_json::to_string_pretty(&machine::sarif(report, located))?),
        Format::Github => write!(out, "{}", machine::github(report, located)),
    }
}

fn start(wish: Init) -> io::Result<bool> {
    // Days to a date by the proleptic Gregorian calendar, years beginning in March.
    let days = now() / 86_400 + 719_468;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = days / 146_097 * 400 + year_of_era + i64::from(month <= 2);
    let address = format!("{}@{}", wish.account, wish.domain);
    let wish = init::Wish {
        folder: wish.dir,
        domain: wish.domain,
        host: wish.host,
        addresses: wish.address,
        account: wish.account,
        high_ports: wish.high_ports,
        year,
        month: u32::try_from(month).unwrap_or(1),
    };
    let made = init::init(&wish).map_err(io::Error::other)?;
    let folder = wish.folder.display();
    let mut out = io::stdout().lock();
    writeln!(out, "Wrote to {folder}: {}", made.files.join(", "))?;
    writeln!(out, "\n    account   {address}\n    password  {}\n", made.password)?;
    writeln!(out, "The password is shown only now; the spec holds its hash.")?;
    writeln!(out, "Next: waybill check {folder}; waybill build {folder} --out out; waybilld serve --spec {folder}")?;
    Ok(true)
}

fn lay_out(path: &Path, check: bool) -> io::Result<bool> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let single = std::fs::metadata(path).map_err(named)?.is_file();
    let files = if single { vec![path.to_path_buf()] } else { spec_files(path)? };
    let mut err = io::stderr().lock();
    let mut well = true;
    for file in files {
        let text = std::fs::read_to_string(&file)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
        match format::format(&text) {
            Err(why) => {
                writeln!(err, "{}: {why}", shown(&file))?;
                well = false;
            }
            Ok(laid) if laid == text => {}
            Ok(_) if check => {
                writeln!(err, "{}: not in the canonical layout", shown(&file))?;
                well = false;
            }
            // What a link names is written, and the link stays.
            Ok(laid) => write::replace(&file.canonicalize()?, laid.as_bytes(), write::Mode::Public)?,
        }
    }
    Ok(well)
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string())
}

/// The files that the spec is read from, so that nothing else in the folder is touched.
fn spec_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let sources = Sources::open(folder).map_err(|why| io::Error::other(format!("{} {why}", folder.display())))?;
    let mut report = Report::new();
    let reading = compiler::read::read(&sources, &mut report);
    let read = reading.located.files.iter().filter(|file| !file.unread);
    let names = read.map(|file| sources.root().join(&file.name));
    let files: Vec<PathBuf> = names.collect();
    if files.is_empty() {
        return Err(io::Error::other(format!("{} holds no mail.kdl that can be read", folder.display())));
    }
    Ok(files)
}

fn tell_why(what: &Path, name: Option<&DomainName>, kind: Option<&str>) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let Some((name, kind)) = name.zip(kind) else {
        let Some(code) = what.to_str().and_then(explain::code_named) else {
            let last = Code::ALL.last().map_or("", |code| code.id());
            let says =
                format!("`{}` is no code; codes are W0101 to {last}, and records want DIR NAME TYPE", what.display());
            return Err(io::Error::other(says));
        };
        write!(out, "{}", explain::code(code))?;
        return Ok(true);
    };
    let Some(kind) = Kind::named(kind) else {
        return Err(io::Error::other(format!("`{kind}` is no type of record that is known here")));
    };
    let Compiled { report, located, artefacts } = compile(what, now());
    let Some(artefacts) = artefacts else {
        tell(&report, &located, Format::Human)?;
        return Ok(false);
    };
    if let Some(text) = explain::record(&artefacts, &located, name, kind) {
        write!(out, "{text}")?;
        return Ok(true);
    }
    let there: Vec<&str> = explain::sets(&artefacts, name).iter().map(|set| set.kind.name()).collect();
    let says = match there.as_slice() {
        [] => format!("the spec makes no record of the name {name}"),
        there => format!("the spec makes no {} record of {name}, but {}", kind.name(), there.join(", ")),
    };
    Err(io::Error::other(says))
}
