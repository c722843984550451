//! `waybilld`, the mail server.

use clap::{Args, Parser, Subcommand, ValueEnum};
use schema::name::HostName;
use sealed::identity::load;
use server::run::{self, Options};
use server::watch::Source;
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
}

#[derive(Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["spec", "config"])))]
struct Serve {
    /// The spec folder; the `waybill` beside this program builds it, now and whenever it changes.
    #[arg(long, value_name = "DIR")]
    spec: Option<PathBuf>,
    /// Which of the spec's environments; the spec as it stands unless said.
    #[arg(long, value_name = "NAME", requires = "spec")]
    env: Option<String>,
    /// A runtime.json that `waybill build` wrote; taken again whenever it changes.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which host of the spec this is; needed only where there are several.
    #[arg(long, value_name = "NAME")]
    host: Option<HostName>,
    /// The name of this server among several of one host, for logs.
    #[arg(long, value_name = "ID")]
    node: Option<String>,
    /// Where (file) secrets and relative store paths start; the spec's folder unless said.
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// A file of age identities or an SSH private key, to open (age) secrets with; may be given several times.
    #[arg(long = "identity", value_name = "FILE", env = "WAYBILL_IDENTITY", hide_env_values = true)]
    identities: Vec<PathBuf>,
    /// The compiler to run for --spec; `waybill` beside this program unless said.
    #[arg(long, value_name = "PATH")]
    compiler: Option<PathBuf>,
    /// The DNS server to ask in place of the configured ones.
    #[arg(long, value_name = "ADDR:PORT", env = "WAYBILL_RESOLVER")]
    resolver: Option<SocketAddr>,
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
    let Command::Serve(serve) = Cli::parse().command;
    start_log(serve.log);
    let options = match options(serve) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("waybilld: {why}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("waybilld: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run::serve(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("waybilld: {why}");
            ExitCode::FAILURE
        }
    }
}

fn options(serve: Serve) -> Result<Options, String> {
    let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()));
    let source = match (serve.spec, serve.config) {
        (Some(folder), _) => {
            let beside = || std::env::current_exe().ok().map(|own| own.with_file_name("waybill"));
            let compiler = serve.compiler.or_else(beside).ok_or("say where the compiler is with --compiler")?;
            Source::Spec { folder: absolute(folder)?, compiler: absolute(compiler)?, environment: serve.env }
        }
        (None, Some(file)) => Source::Artefact(absolute(file)?),
        (None, None) => return Err("say --spec DIR or --config FILE".into()),
    };
    let root = match serve.secrets {
        Some(folder) => absolute(folder)?,
        None => source.root(),
    };
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
