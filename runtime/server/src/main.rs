//! `waybilld`, the mail server.

use clap::{Args, Parser, Subcommand, ValueEnum};
use schema::name::{Address, HostName, Secret};
use schema::unit::Period;
use sealed::identity::load;
use server::aside::{Aside, Wrong};
use server::export::{self, Format};
use server::import::client::Peer;
use server::import::{self, Place};
use server::run::{self, Options, StartError};
use server::watch::Source;
use server::{counts, fsck, indexer, migrate};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use store::check::How;
use tracing::warn;
use tracing_subscriber::EnvFilter;

/// The mail server of Waybill.
#[derive(Parser)]
#[command(name = "waybilld", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves mail, and takes a changed configuration without dropping a connection.
    Serve(Serve),
    /// Prints how much mail every account holds, as JSON for `waybill diff --state`; a running server is not disturbed.
    Counts(Counts),
    /// Moves what the stores hold into those of another configuration.
    Migrate(Migrate),
    /// Makes the full-text index anew, of one account or of all; searches look at what is not indexed again yet.
    Reindex(Reindex),
    /// Writes an account's mail as Maildir or mbox; a running server is not disturbed.
    Export(Export),
    /// Brings mail into an account from Maildir or mbox; again, it adds nothing twice.
    Import(Import),
    /// Checks whether what the stores hold fits together, and mends it with --repair.
    Fsck(Fsck),
}

/// Where the configuration comes from.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["spec", "config"])))]
struct Configuration {
    /// The spec folder; the `waybill` beside this program builds it, when serving also whenever it changes.
    #[arg(long, value_name = "DIR")]
    spec: Option<PathBuf>,
    /// Which of the spec's environments; the spec as it stands unless said.
    #[arg(long, value_name = "NAME", requires = "spec")]
    env: Option<String>,
    /// A runtime.json that `waybill build` wrote; when serving, taken again whenever it changes.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where (file) secrets and relative store paths start; the spec's folder unless said.
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// The compiler to run for --spec; `waybill` beside this program unless said.
    #[arg(long, value_name = "PATH")]
    compiler: Option<PathBuf>,
}

/// The mail that a command works on beside the server.
#[derive(Args)]
struct Mail {
    #[command(flatten)]
    configuration: Configuration,
    /// A file of age identities or an SSH private key, to open (age) secrets with; may be given several times.
    #[arg(long = "identity", value_name = "FILE", env = "WAYBILL_IDENTITY", hide_env_values = true)]
    identities: Vec<PathBuf>,
}

impl Mail {
    fn aside(self) -> Result<Aside, String> {
        let (source, root) = source(self.configuration)?;
        let (identities, _) = load(&self.identities).map_err(|error| error.to_string())?;
        Ok(Aside { source, root, identities })
    }
}

#[derive(Args)]
struct Counts {
    #[command(flatten)]
    mail: Mail,
}

#[derive(Args)]
struct Export {
    #[command(flatten)]
    mail: Mail,
    /// The account.
    #[arg(value_name = "ADDRESS", required_unless_present = "all", conflicts_with = "all")]
    account: Option<Address>,
    /// Every account that holds mail, each into a folder of its name.
    #[arg(long)]
    all: bool,
    /// The folder to write; it must be empty, or not be there yet.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// How mail looks there.
    #[arg(long, value_enum, default_value_t = Format::Maildir)]
    format: Format,
}

#[derive(Args)]
struct Import {
    #[command(flatten)]
    mail: Mail,
    /// The account.
    #[arg(value_name = "ADDRESS")]
    account: Address,
    /// A Maildir, an mbox, a folder of mboxes, or another server: imaps://user@host[:port].
    #[arg(long, value_name = "PLACE")]
    from: String,
    /// The file that holds the password at the other server.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The PEM file of the authority that the other server's certificate is from, or of that certificate; the system's
    /// authorities unless said.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// What the files are; told by their looks unless said.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Put all of it below this mailbox.
    #[arg(long, value_name = "MAILBOX")]
    into: Option<String>,
}

#[derive(Args)]
struct Fsck {
    #[command(flatten)]
    mail: Mail,
    /// Mend what can be mended without a loss; else nothing is changed.
    #[arg(long)]
    repair: bool,
    /// With --repair, remove messages whose octets are gone.
    #[arg(long, requires = "repair")]
    drop_broken: bool,
    /// Read every blob, and compare it with its name.
    #[arg(long)]
    blobs: bool,
    /// Only this account's mailboxes.
    #[arg(long, value_name = "ADDRESS")]
    account: Option<Address>,
    /// How to say it.
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    format: LogFormat,
}

#[derive(Args)]
struct Migrate {
    #[command(flatten)]
    mail: Mail,
    /// The spec's folder, or the runtime.json, that mail is to be served with.
    #[arg(long, value_name = "DIR|FILE", required_unless_present = "reopen")]
    to: Option<PathBuf>,
    /// Where the new configuration's (file) secrets and relative store paths start; its own folder unless said.
    #[arg(long, value_name = "DIR")]
    to_secrets: Option<PathBuf>,
    /// Say what would be moved and about how long that takes, and move nothing.
    #[arg(long)]
    plan: bool,
    /// Copy while a server goes on using the old stores; it has to be down for the last pass only, which begins when it is
    /// stopped.
    #[arg(long, conflicts_with_all = ["plan", "reopen"])]
    online: bool,
    /// How long the server's end is waited for, once the new stores have nearly everything.
    #[arg(long, value_name = "PERIOD", default_value = "1h", requires = "online")]
    wait: Period,
    /// Take back that the store of data was moved elsewhere: servers may use it again as it was left.
    #[arg(long, conflicts_with = "to")]
    reopen: bool,
}

#[derive(Args)]
struct Reindex {
    #[command(flatten)]
    mail: Mail,
    /// Of this account alone.
    #[arg(long, value_name = "ADDRESS")]
    account: Option<Address>,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    configuration: Configuration,
    /// Which host of the spec this is; needed only where there are several.
    #[arg(long, value_name = "NAME")]
    host: Option<HostName>,
    /// The name of this server among several that serve one host from one store: each works its own part of the queue.
    #[arg(long, value_name = "ID")]
    node: Option<String>,
    /// A file of age identities or an SSH private key, to open (age) secrets with; may be given several times.
    #[arg(long = "identity", value_name = "FILE", env = "WAYBILL_IDENTITY", hide_env_values = true)]
    identities: Vec<PathBuf>,
    /// The DNS server to ask in place of the configured ones.
    #[arg(long, value_name = "ADDR:PORT", env = "WAYBILL_RESOLVER")]
    resolver: Option<SocketAddr>,
    /// How often DNS is held against the spec, longer where there are many domains; `0s`: never. See /api/health/dns.
    #[arg(long, value_name = "PERIOD", default_value = "5m")]
    verify_every: Period,
    /// How to log. RUST_LOG chooses what; `info` unless set.
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    log: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(serve) => {
            start_log(serve.log);
            options(serve).and_then(|options| block_on(run::serve(options))).map(|()| true)
        }
        Command::Migrate(given) => {
            start_log(LogFormat::Human);
            moves(given).map(|()| true)
        }
        Command::Reindex(Reindex { mail, account }) => mail
            .aside()
            .and_then(|aside| block_on(indexer::again(aside, account.as_ref(), |line| eprintln!("waybilld: {line}"))))
            .map(|()| true),
        Command::Counts(Counts { mail }) => mail
            .aside()
            .and_then(|aside| block_on(counts::counts(aside)))
            .and_then(|counts| print(&counts).map_err(|error| error.to_string()))
            .map(|()| true),
        Command::Export(export) => exports(export),
        Command::Import(import) => imports(import),
        Command::Fsck(fsck) => checks(fsck),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("waybilld: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Exports, and says whether all of it could be.
fn exports(Export { mail, account, to, format, .. }: Export) -> Result<bool, String> {
    let done = block_on(export::export(mail.aside()?, &export::Options { account, to, format }))?;
    Ok(told(&export::summary(&done), &done.wrong))
}

/// Imports, and says whether all of it could be.
fn imports(import: Import) -> Result<bool, String> {
    let Import { mail, account, from, password_file, ca, format, into } = import;
    let from = if from.contains("://") {
        let file = password_file.ok_or("say where the password is with --password-file FILE")?;
        let password = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let password = Secret::new(password.trim_end_matches(['\r', '\n']).to_owned());
        Place::Imap(Peer { ca, ..Peer::read(&from)? }, password)
    } else {
        Place::Files(from.into(), format)
    };
    let done = block_on(import::import(mail.aside()?, import::Options { account, from, into }))?;
    Ok(told(&import::summary(&done), &done.wrong))
}

/// Checks, and says whether everything fits now.
fn checks(Fsck { mail, repair, drop_broken, blobs, account, format }: Fsck) -> Result<bool, String> {
    let how = How { repair, account, blobs, drop_broken };
    let done = block_on(fsck::fsck(mail.aside()?, &how))?;
    match format {
        LogFormat::Human => print!("{}", fsck::report(&done)),
        LogFormat::Json => print(&done).map_err(|error| error.to_string())?,
    }
    Ok(done.is_sound())
}

/// Names what was wrong, and says what was done. Whether nothing was wrong.
fn told(summary: &str, wrong: &Wrong) -> bool {
    wrong.named.iter().for_each(|what| eprintln!("{what}"));
    let more = wrong.count.saturating_sub(wrong.named.len() as u64);
    if more > 0 {
        eprintln!("and {more} more");
    }
    println!("{summary}");
    wrong.count == 0
}

fn block_on<T>(work: impl Future<Output = Result<T, StartError>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(work).map_err(|why| why.to_string())
}

fn print(what: &impl serde::Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, what)?;
    writeln!(out)
}

/// Where the configuration comes from, and where relative paths start.
fn source(given: Configuration) -> Result<(Source, PathBuf), String> {
    let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()));
    let source = match (given.spec, given.config) {
        (Some(folder), _) => {
            let beside = || std::env::current_exe().ok().map(|own| own.with_file_name("waybill"));
            let compiler = given.compiler.or_else(beside).ok_or("say where the compiler is with --compiler")?;
            Source::Spec { folder: absolute(folder)?, compiler: absolute(compiler)?, environment: given.env }
        }
        (None, Some(file)) => Source::Artefact(absolute(file)?),
        (None, None) => return Err("say --spec DIR or --config FILE".into()),
    };
    let root = match given.secrets {
        Some(folder) => absolute(folder)?,
        None => source.root(),
    };
    Ok((source, root))
}

/// Moves, and tells of it as it goes.
fn moves(given: Migrate) -> Result<(), String> {
    let mut say = |line: &str| println!("{line}");
    let Migrate { mail, to, to_secrets, plan, online, wait, reopen } = given;
    if reopen {
        return block_on(migrate::reopen(mail.aside()?, &mut say));
    }
    let (compiler, identities) = (mail.configuration.compiler.clone(), mail.identities.clone());
    let (spec, config) = match to {
        Some(path) if path.is_dir() => (Some(path), None),
        path => (None, path),
    };
    let configuration = Configuration { spec, config, secrets: to_secrets, compiler, env: None };
    let to = Mail { configuration, identities }.aside()?;
    let options = migrate::Options { plan, online, wait: wait.duration() };
    block_on(migrate::migrate(mail.aside()?, to, options, &mut say))
}

fn options(serve: Serve) -> Result<Options, String> {
    let (source, root) = source(serve.configuration)?;
    let (identities, open) = load(&serve.identities).map_err(|error| error.to_string())?;
    for path in open {
        warn!(path = %path.display(), "everybody on this machine can read the identity file: chmod 600");
    }
    Ok(Options {
        source,
        root,
        identities,
        host: serve.host,
        node: serve.node.unwrap_or_default(),
        resolvers: serve.resolver.into_iter().collect(),
        verify: serve.verify_every.duration(),
    })
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,object_store=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Human => {
            use std::io::IsTerminal;
            let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stderr().is_terminal();
            builder.with_ansi(!plain).init();
        }
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
