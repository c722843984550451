//! A server's life: start, serve, stop.

use crate::listen::{Crowd, Sockets};
use crate::login::Throttle;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::secrets::Secrets;
use crate::server::{Server, Status};
use crate::snapshot::{Ground, Live, Rejected, Snapshot};
use crate::watch::{self, Source};
use crate::{clock, drift, indexer, janitor};
use aws_lc_rs::rand;
use schema::name::HostName;
use sealed::identity::Identities;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::open::{self, Registry};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// What the command line says.
pub struct Options {
    /// Where configuration comes from.
    pub source: Source,
    /// Where secrets and relative store paths start.
    pub root: PathBuf,
    /// What `(age)` secrets are opened with.
    pub identities: Identities,
    /// Which host this is.
    pub host: Option<HostName>,
    /// Which node of the host this is.
    pub node: String,
    /// DNS servers in place of the configured ones.
    pub resolvers: Vec<SocketAddr>,
    /// How often DNS is held against the spec; zero: never.
    pub verify: Duration,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The compiler is missing or of another version.
    #[error("{0}")]
    Compiler(String),
    /// The configuration cannot be built.
    #[error("the configuration was refused: {0}")]
    Refused(String),
    /// The configuration cannot be served.
    #[error("the configuration was refused: {0}")]
    Rejected(#[from] Rejected),
    /// The system refuses something that every server needs.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] store::error::StoreError),
    /// No random octets.
    #[error("the system gives no random octets")]
    Random,
}

/// Serves until SIGTERM or SIGINT, then drains for at most the configured `drain`.
///
/// # Errors
/// [`StartError`]; once it serves, nothing but a signal ends it.
pub async fn serve(options: Options) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if let Source::Spec { compiler, .. } = &options.source {
        watch::check_compiler(compiler).await.map_err(StartError::Compiler)?;
    }
    let bytes = options.source.read().await.map_err(|refused| StartError::Refused(refused.summary))?;
    let secrets = Secrets::new(options.root.clone(), options.identities);
    let ground = Ground {
        registry: Registry::new(open::Ground {
            root: options.root,
            clock: Arc::new(clock::milliseconds),
            reveal: secrets.revealing(),
        }),
        secrets,
        host: options.host,
        resolvers: options.resolvers,
    };
    let first = Snapshot::build(&bytes, &ground, None).await?;
    let server = assemble(first, ground)?;
    let snapshot = server.live.now();
    let bound = server.sockets.bind(&snapshot.host.listeners)?;
    info!(
        version = env!("CARGO_PKG_VERSION"), host = %snapshot.host.name, node = options.node,
        generation = %snapshot.generation, domains = snapshot.config.domains.len(),
        accounts = snapshot.config.accounts.len(), "serving"
    );
    let queue = Queue::start(Arc::clone(&server));
    server.sockets.serve(bound, &snapshot.host.listeners, &server);
    drop(snapshot);
    info!("ready");
    if !options.verify.is_zero() && matches!(options.source, Source::Spec { .. }) {
        tokio::spawn(drift::run(options.source.clone(), Arc::clone(&server), options.verify));
    }
    tokio::spawn(watch::follow(options.source, Arc::clone(&server)));
    tokio::spawn(janitor::run(Arc::clone(&server)));
    tokio::spawn(indexer::run(Arc::clone(&server)));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop(&server, queue).await;
    Ok(())
}

fn assemble(first: Snapshot, ground: Ground) -> Result<Arc<Server>, StartError> {
    let mut secret = [0_u8; 32];
    rand::fill(&mut secret).map_err(|_| StartError::Random)?;
    let (stopping, _) = tokio::sync::watch::channel(false);
    let status = Status { generation: first.generation.clone(), rejected: None };
    let server = Server {
        live: Arc::new(Live::new(first)),
        ground,
        metrics: Arc::new(Metrics::default()),
        sockets: Sockets::default(),
        crowd: Arc::new(Crowd::default()),
        throttle: Throttle::default(),
        next_connection: AtomicU64::new(1),
        // The low bits are enough to make ids differ between runs.
        #[allow(clippy::cast_possible_truncation, reason = "only uniqueness matters")]
        started: clock::nanoseconds() as u64,
        secret: Arc::new(secret),
        stopping,
        status: Mutex::new(status),
        drift: Mutex::default(),
        room: Arc::new(tokio::sync::Semaphore::new(crate::server::ROOM)),
    };
    server.count(&server.live.now());
    Ok(Arc::new(server))
}

async fn stop(server: &Arc<Server>, queue: tokio::task::JoinHandle<()>) {
    let drain = server.live.now().config.limits.drain.duration();
    info!(drain_s = drain.as_secs(), connections = server.metrics.connections.value(), "stopping");
    server.sockets.close();
    server.stopping.send_replace(true);
    let emptied = async {
        while server.metrics.connections.value() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if queue.await.is_err() {
            warn!("the queue ended by a panic");
        }
    };
    if tokio::time::timeout(drain, emptied).await.is_err() {
        warn!(connections = server.metrics.connections.value(), "stopped with connections still open");
    }
    info!("stopped");
}
