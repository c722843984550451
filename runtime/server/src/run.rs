//! A server's life: start, serve, stop.

use crate::listen::{Crowd, Sockets};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::secrets::Secrets;
use crate::server::{Server, Status};
use crate::snapshot::{Ground, Live, Rejected, Snapshot, generation};
use crate::watch::{self, Fingerprint, Source};
use crate::{clock, drift, indexer, janitor};
use aws_lc_rs::rand;
use schema::config::{self, Store};
use schema::name::HostName;
use sealed::identity::Identities;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::error::StoreError;
use store::open::{self, Registry};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// How long a start waits before it tries again to open stores that did not answer.
const STORE_WAIT: Duration = Duration::from_secs(2);

/// How long a server that stops tries to leave the queue to others.
const LEAVE: Duration = Duration::from_secs(5);

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
    /// What a command was asked for cannot be done.
    #[error("{0}")]
    Asked(String),
    /// The configuration cannot be served.
    #[error("the configuration was refused: {0}")]
    Rejected(#[from] Rejected),
    /// The system refuses something that every server needs.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
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
    store::held::usable()?;
    let secrets = Secrets::new(options.root.clone(), options.identities);
    let ground = Ground {
        registry: Registry::new(open::Ground {
            root: options.root,
            clock: Arc::new(clock::milliseconds),
            reveal: secrets.revealing(),
        }),
        secrets,
        host: options.host,
        node: options.node.clone(),
        resolvers: options.resolvers,
    };
    let first = tokio::select! {
        first = first(&options.source, &ground) => first?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let (first, seen) = first;
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
    tokio::spawn(watch::follow(options.source, Arc::clone(&server), seen));
    tokio::spawn(janitor::run(Arc::clone(&server)));
    if !matches!(server.live.now().config.storage.data, Store::Rocksdb { .. } | Store::Memory { .. }) {
        let mailboxes = Arc::clone(&server.live.now().stores.mailboxes);
        tokio::spawn(async move { mailboxes.follow().await });
    }
    tokio::spawn(indexer::run(Arc::clone(&server)));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop(&server, queue).await;
    Ok(())
}

/// The first snapshot. A store that does not answer, or is full, is waited for: after a power cut, a database may come up
/// later than its mail server. What the spec says is read again meanwhile, since the spec may be what has to be mended.
/// Beside it, what was seen of the source before any secret was opened.
async fn first(source: &Source, ground: &Ground) -> Result<(Snapshot, Fingerprint), StartError> {
    loop {
        let bytes = source.read().await.map_err(|refused| StartError::Refused(refused.summary))?;
        let config = config::decode(&bytes).map_err(Rejected::from)?;
        let seen = watch::fingerprint(source, &config, &ground.secrets);
        match Snapshot::of(config, generation(&bytes), ground, None).await {
            Err(Rejected::Store(error @ (StoreError::Unavailable(_) | StoreError::Full))) => {
                warn!(%error, "waiting for a store; trying again in {} s", STORE_WAIT.as_secs());
                tokio::time::sleep(STORE_WAIT).await;
            }
            built => return Ok((built?, seen)),
        }
    }
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
        next_connection: AtomicU64::new(1),
        // The low bits are enough to make ids differ between runs.
        #[allow(clippy::cast_possible_truncation, reason = "only uniqueness matters")]
        started: clock::nanoseconds() as u64,
        secret: Arc::new(secret),
        stopping,
        people: tokio::sync::watch::channel(()).0,
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
    // Others, and a move that waits for this, then need not find out by a beat that stands still.
    let spool = Arc::clone(&server.live.now().stores.spool);
    match tokio::time::timeout(LEAVE, spool.leave()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the queue could not be left in order; nothing is lost"),
        Err(_) => warn!("the store does not answer; the queue is not left in order, and nothing is lost"),
    }
    info!("stopped");
}
