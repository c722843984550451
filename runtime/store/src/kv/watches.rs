//! Who waits for which key, within one process.

use super::{Batch, Key, Write};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::sync::Notify;

/// Keys share this many bells: a watch may ring for another key, which the contract allows.
const BELLS: usize = 64;
/// A watch ends after this at the latest, so that a change between the caller's last read and the watch is
/// not missed for longer.
pub const WATCH_MOST: Duration = Duration::from_secs(1);

/// Rings for those who watch a key when a batch has touched it.
pub struct Watches {
    bells: [Notify; BELLS],
    hasher: RandomState,
}

impl Watches {
    pub fn new() -> Watches {
        Watches { bells: std::array::from_fn(|_| Notify::new()), hasher: RandomState::new() }
    }

    /// Waits until a batch touched `key`, or [`WATCH_MOST`] passed.
    pub async fn wait(&self, key: &Key) {
        // The elapsed wait is an early hint like any other.
        let _ = tokio::time::timeout(WATCH_MOST, self.bell(key).notified()).await;
    }

    /// Rings for every key that `batch` changes.
    pub fn ring(&self, batch: &Batch) {
        for write in &batch.writes {
            match write {
                Write::Put(key, _) | Write::Remove(key) => self.bell(key).notify_waiters(),
                Write::Clear(_) => self.ring_all(),
            }
        }
    }

    /// Rings for everybody: something may have changed.
    pub fn ring_all(&self) {
        self.bells.iter().for_each(Notify::notify_waiters);
    }

    fn bell(&self, key: &Key) -> &Notify {
        // The remainder is less than BELLS, so the index is in range.
        &self.bells[(self.hasher.hash_one(key) % BELLS as u64) as usize]
    }
}
