//! What the parts of a running server share.

use crate::drift::Drift;
use crate::listen::{Crowd, Sockets};
use crate::metrics::Metrics;
use crate::snapshot::{Generation, Ground, Live, Rejected, Snapshot};
use serde::Serialize;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::error::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{error, info};

/// A running server.
pub struct Server {
    /// The running configuration.
    pub live: Arc<Live>,
    /// What stays the same.
    pub ground: Ground,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The listening sockets.
    pub sockets: Sockets,
    /// Who is connected.
    pub crowd: Arc<Crowd>,
    /// Connections so far.
    pub next_connection: AtomicU64,
    /// Nanoseconds at start: makes session ids unlike those of the last run.
    pub started: u64,
    /// Random, of this run.
    pub secret: Arc<[u8; 32]>,
    /// True once the server stops.
    pub stopping: watch::Sender<bool>,
    /// Rings when somebody may be gone: with another configuration, or by the API.
    pub people: watch::Sender<()>,
    /// What came of the newest configuration.
    pub status: Mutex<Status>,
    /// What DNS showed at the last look.
    pub drift: Mutex<Drift>,
    /// Room for messages on their way in, in KiB.
    pub room: Arc<Semaphore>,
}

/// Octets of messages that are on their way in at once, over all sessions, in KiB. A message is held in memory or, where
/// it is large, in a file ([`store::held`]) until it is stored; who finds no room waits, and is told to come again.
pub const ROOM: usize = 512 << 10;
/// How long a session waits for room.
const ROOM_WAIT: Duration = Duration::from_secs(60);

/// Room for a message on its way in, given back when dropped.
pub type Room = OwnedSemaphorePermit;

/// `/ready`'s answer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Which configuration runs.
    pub generation: Generation,
    /// What was wrong with the newest one, if it was refused.
    pub rejected: Option<serde_json::Value>,
}

/// What became of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It runs.
    Yes,
    /// It is refused: something in it has to change.
    No,
    /// It is refused since a store does not answer now, or is full.
    NotYet,
}

impl Server {
    /// Takes a new configuration: builds it whole, binds, swaps once. What fails changes nothing and is kept
    /// in [`Server::status`]. Called by the watcher alone, one at a time.
    pub async fn take(self: &Arc<Server>, bytes: &[u8]) -> Taken {
        match self.prepare(bytes).await {
            Ok(generation) => {
                info!(%generation, "configuration taken");
                self.metrics.reloads.add(1);
                Taken::Yes
            }
            Err(why) => {
                let diagnostic = serde_json::json!([{ "severity": "error", "message": why.to_string() }]);
                self.refuse(diagnostic, &why.to_string());
                match why {
                    Rejected::Store(StoreError::Unavailable(_) | StoreError::Full) => Taken::NotYet,
                    _ => Taken::No,
                }
            }
        }
    }

    async fn prepare(self: &Arc<Server>, bytes: &[u8]) -> Result<Generation, Rejected> {
        let now = self.live.now();
        let next = Snapshot::build(bytes, &self.ground, Some(&now)).await?;
        let bound = self.sockets.bind(&next.host.listeners)?;
        // Nothing below can fail.
        let generation = next.generation.clone();
        let listeners = next.host.listeners.clone();
        self.count(&next);
        self.live.replace(next);
        self.people.send_replace(());
        self.sockets.serve(bound, &listeners, self);
        self.metrics.rejected.set(0);
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) =
            Status { generation: generation.clone(), rejected: None };
        Ok(generation)
    }

    /// Room for so many octets of a message on its way in; `None` where there is none for a minute.
    pub async fn room(&self, octets: u64) -> Option<Room> {
        let kib = u32::try_from((octets >> 10) + 1).ok()?;
        tokio::time::timeout(ROOM_WAIT, Arc::clone(&self.room).acquire_many_owned(kib)).await.ok()?.ok()
    }

    /// Notes the size of a configuration.
    pub fn count(&self, snapshot: &Snapshot) {
        let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.domains.set(size(snapshot.config.domains.len()));
        self.metrics.accounts.set(size(snapshot.config.accounts.len()));
    }

    /// Notes that the newest configuration was refused; the running one goes on.
    pub fn refuse(&self, diagnostics: serde_json::Value, summary: &str) {
        error!(%diagnostics, "configuration refused, the running one goes on: {summary}");
        self.metrics.reloads_rejected.add(1);
        self.metrics.rejected.set(1);
        self.status.lock().unwrap_or_else(PoisonError::into_inner).rejected = Some(diagnostics);
    }

    /// The newest configuration is the running one again.
    pub fn unchanged(&self) {
        self.metrics.rejected.set(0);
        self.status.lock().unwrap_or_else(PoisonError::into_inner).rejected = None;
    }
}
