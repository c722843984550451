//! `waybilld`, the mail server.

use clap::{Args, Parser, Subcommand, ValueEnum};
use schema::name::{Address, HostName};
use schema::unit::Period;
use sealed::identity::load;
use server::run::{self, Options, StartError};
use server::secrets::Secrets;
use server::watch::Source;
use server::{counts, indexer, migrate};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
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
    /// Moves what the stores hold into those of another configuration, while no server uses them.
    Migrate(Migrate),
    /// Makes the full-text index anew, of one account or of all; searches look at what is not indexed again yet.
    Reindex(Reindex),
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

#[derive(Args)]
struct Counts {
    #[command(flatten)]
    configuration: Configuration,
}

#[derive(Args)]
struct Migrate {
    #[command(flatten)]
    configuration: Configuration,
    /// The spec's folder, or the runtime.json, that mail is to be served with.
    #[arg(long, value_name = "DIR|FILE", required_unless_present = "reopen")]
    to: Option<PathBuf>,
    /// Where the new configuration's (file) secrets and relative store paths start; its own folder unless said.
    #[arg(long, value_name = "DIR")]
    to_secrets: Option<PathBuf>,
    /// Say what would be moved, and move nothing.
    #[arg(long)]
    plan: bool,
    /// Take back that the store of data was moved elsewhere: servers may use it again as it was left.
    #[arg(long, conflicts_with = "to")]
    reopen: bool,
    /// A file of age identities or an SSH private key, to open (age) secrets with; may be given several times.
    #[arg(long = "identity", value_name = "FILE", env = "WAYBILL_IDENTITY", hide_env_values = true)]
    identities: Vec<PathBuf>,
}

#[derive(Args)]
struct Reindex {
    #[command(flatten)]
    configuration: Configuration,
    /// Of this account alone.
    #[arg(long, value_name = "ADDRESS")]
    account: Option<Address>,
    /// A file of age identities or an SSH private key, to open (age) secrets with; may be given several times.
    #[arg(long = "identity", value_name = "FILE", env = "WAYBILL_IDENTITY", hide_env_values = true)]
    identities: Vec<PathBuf>,
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
            options(serve).and_then(|options| block_on(run::serve(options)))
        }
        Command::Migrate(given) => {
            start_log(LogFormat::Human);
            order(given).and_then(|order| block_on(migrate::migrate(order)))
        }
        Command::Counts(Counts { configuration }) => source(configuration)
            .and_then(|(source, root)| block_on(counts::counts(&source, root)))
            .and_then(|counts| print(&counts).map_err(|error| error.to_string())),
        Command::Reindex(given) => reindex(given),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("waybilld: {why}");
            ExitCode::FAILURE
        }
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, StartError>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(work).map_err(|why| why.to_string())
}

fn reindex(given: Reindex) -> Result<(), String> {
    let (source, root) = source(given.configuration)?;
    let (identities, _) = load(&given.identities).map_err(|error| error.to_string())?;
    let say = |text: &str| eprintln!("waybilld: {text}");
    block_on(indexer::again((&source, root), identities, given.account.as_ref(), say))
}

fn print(counts: &counts::Counts) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, counts)?;
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

fn order(given: Migrate) -> Result<migrate::Order, String> {
    let (identities, _) = load(&given.identities).map_err(|error| error.to_string())?;
    let compiler = given.configuration.compiler.clone();
    let from = source(given.configuration)?;
    let to = match given.to {
        None => from.clone(),
        Some(path) => {
            let (spec, config) = if path.is_dir() { (Some(path), None) } else { (None, Some(path)) };
            source(Configuration { spec, config, secrets: given.to_secrets, compiler, env: None })?
        }
    };
    let secrets = Secrets::new(from.1.clone(), identities);
    Ok(migrate::Order { from, to, secrets, plan: given.plan, reopen: given.reopen })
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
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
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
