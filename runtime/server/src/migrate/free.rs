//! Waiting until no server works with the old stores any more.

use crate::clock;
use crate::run::StartError;
use rustix::fs::{FlockOperation, fcntl_lock};
use schema::config::{Storage, Store};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::error::StoreError;
use store::migrate::{self, BEAT_SEEN, Side, Taken};
use store::open::{Registry, TAKEN};

/// How often it is looked whether the server is gone.
const LOOKED_EVERY: Duration = Duration::from_millis(100);

/// The old stores, which no server uses, and none may begin to.
pub struct Free {
    /// Open to be written.
    pub side: Side,
    /// Keeps servers away.
    pub taken: Taken,
    /// When the server was last known to run.
    pub since: Instant,
}

/// Whether one process alone can have this store open.
pub fn is_alone(store: &Store) -> bool {
    matches!(store, Store::Rocksdb { .. } | Store::Memory { .. })
}

/// Waits until nobody has the old stores open, or works with them, and takes them.
///
/// # Errors
/// [`StartError::Asked`] where that was not until then; the stores'.
pub async fn wait(registry: Arc<Registry>, old: Storage, until: Instant) -> Result<Free, StartError> {
    let mut since = clock::instant();
    let side = loop {
        if !is_locked(&old) {
            match registry.side(&old, &[]).await {
                // Somebody was faster, or a store of its own is let go a moment later.
                Err(StoreError::Misconfigured(cause)) if cause.to_string().contains(TAKEN) => {}
                side => break side?,
            }
        }
        since = look_again(until).await?;
    };
    let data = Arc::clone(&side.data);
    if is_alone(&old.data) {
        return Ok(Free { taken: Taken::locked(data).await?, side, since });
    }
    let mut beats = migrate::beats(&*data).await?;
    let mut changed = clock::instant();
    // A server that is stopped takes its beat away; that of one that was killed stands still.
    while !beats.is_empty() && clock::instant() - changed < BEAT_SEEN {
        let looked = look_again(until).await?;
        let now = migrate::beats(&*data).await?;
        if now != beats {
            (beats, changed, since) = (now, clock::instant(), looked);
        }
    }
    Ok(Free { taken: Taken::signed(data, beats).await?, side, since })
}

async fn look_again(until: Instant) -> Result<Instant, StartError> {
    let now = clock::instant();
    if now >= until {
        let says = "the server was not stopped in time; nothing is lost, and another run goes on from here";
        return Err(StartError::Asked(says.to_owned()));
    }
    tokio::time::sleep(LOOKED_EVERY).await;
    Ok(now)
}

/// Whether another process has one of the RocksDB folders open. That is asked of the lock's file, since an attempt to open
/// the database would disturb the log of the one who has it.
fn is_locked(old: &Storage) -> bool {
    [&old.data, &old.blob, &old.lookup].into_iter().any(|store| {
        let Store::Rocksdb { path } = store else { return false };
        let Ok(file) = File::options().write(true).open(Path::new(path).join("LOCK")) else { return false };
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
    })
}
