//! The one thread that writes: it takes what waits, and one sync serves all of it.

use super::shared::Shared;
use super::{Fault, meaning};
use crate::error::{Cause, CommitError, StoreError};
use crate::kv::overlay::Overlay;
use crate::kv::waiting::{Entrance, GROUP_MOST, Waiting};
use crate::kv::watches::Watches;
use crate::kv::{Assert, Batch, Key, KeyRange, Write};
use ::rocksdb::{DB, DBRawIterator, ReadOptions, WriteBatch, WriteOptions};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Lazy commits are synced when nothing was committed for so long,
const LAZY_IDLE: Duration = Duration::from_secs(1);
/// or after so many groups of them.
const LAZY_GROUPS: usize = 256;
/// A range of at most so many entries is cleared entry by entry: range tombstones slow every read near them.
const CLEAR_SINGLY: usize = 256;

/// The sending side.
pub(super) struct Committer {
    queue: Option<Sender<Waiting>>,
    entrance: Entrance,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(super) fn start(db: Arc<Shared>, watches: Arc<Watches>, fault: Arc<Fault>) -> io::Result<Committer> {
        let (queue, waiting) = mpsc::channel();
        let mut worker = Worker { db, watches, fault, waiting, unsynced: 0 };
        let thread = thread::Builder::new().name("store-commit".to_owned()).spawn(move || worker.run())?;
        Ok(Committer { queue: Some(queue), entrance: Entrance::new(), thread: Some(thread) })
    }

    pub(super) async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let queue = |waiting| self.queue.as_ref().is_some_and(|queue| queue.send(waiting).is_ok());
        self.entrance.commit(batch, queue).await
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

struct Worker {
    db: Arc<Shared>,
    watches: Arc<Watches>,
    fault: Arc<Fault>,
    waiting: Receiver<Waiting>,
    /// Groups written since the last sync.
    unsynced: usize,
}

impl Worker {
    fn run(&mut self) {
        loop {
            let first = match self.unsynced {
                0 => self.waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                _ => self.waiting.recv_timeout(LAZY_IDLE),
            };
            match first {
                Ok(first) => self.commit(first),
                Err(RecvTimeoutError::Timeout) => self.sync(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.sync();
    }

    /// Commits `first` and what came after it.
    fn commit(&mut self, first: Waiting) {
        let shared = self.db.clone();
        let lent = shared.lend();
        let db = match lent.db() {
            Ok(db) => db,
            Err(error) => return first.answer(Err(error.into())),
        };
        let mut group = Group::new(db);
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        let (mut octets, mut next) = (0, Some(first));
        while let Some(waiting) = next {
            octets += waiting.octets;
            match self.fault.check().and_then(|()| group.take(&waiting.batch)) {
                Ok(true) => taken.push(waiting),
                // It may have lost to a batch of this group: only once that is written can its caller see why.
                Ok(false) => refused.push(waiting),
                Err(error) => waiting.answer(Err(error.into())),
            }
            next = if octets < GROUP_MOST { self.waiting.try_recv().ok() } else { None };
        }
        let durable = taken.iter().any(|waiting| !waiting.batch.lazy) || self.unsynced >= LAZY_GROUPS;
        let outcome = self.write(db, group.writes, durable);
        for waiting in taken {
            if outcome.is_ok() {
                self.watches.ring(&waiting.batch);
            }
            waiting.answer(outcome.clone());
        }
        for waiting in refused {
            waiting.answer(Err(CommitError::Conflict));
        }
    }

    fn write(&mut self, db: &DB, writes: WriteBatch, durable: bool) -> Result<(), CommitError> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut how = WriteOptions::default();
        how.set_sync(durable);
        let written = db.write_opt(writes, &how).map_err(|error| {
            // Then the record is whole, and may be found when the database is opened again.
            let is_written = error.as_ref().contains("sync:");
            match (self.failed(meaning(error)), is_written) {
                (CommitError::Store(StoreError::Full), true) => CommitError::Unknown,
                (failed, _) => failed,
            }
        });
        if written.is_ok() {
            self.db.has_room();
            self.unsynced = if durable { 0 } else { self.unsynced + 1 };
        }
        written
    }

    /// Makes the lazy commits durable.
    fn sync(&mut self) {
        if self.unsynced > 0 && self.fault.check().is_ok() {
            let lent = self.db.lend();
            // Opening it again has written them elsewhere.
            if let Err(error) = lent.db().map_or(Ok(()), |db| db.flush_wal(true)) {
                self.failed(meaning(error));
            }
            self.unsynced = 0;
        }
    }

    fn failed(&self, error: StoreError) -> CommitError {
        if let StoreError::Full = error {
            self.db.is_out_of_room();
            return error.into();
        }
        tracing::error!(%error, "a write failed; the store stops until it is opened again");
        // Only the first cause tells why.
        let _ = self.fault.0.set(Cause::new(error));
        CommitError::Unknown
    }
}

/// The batches taken so far, as one write, and the database as it will be after them.
struct Group<'a> {
    db: &'a DB,
    writes: WriteBatch,
    overlay: Overlay,
}

impl<'a> Group<'a> {
    fn new(db: &'a DB) -> Group<'a> {
        Group { db, writes: WriteBatch::default(), overlay: Overlay::default() }
    }

    /// Adds a batch, unless what it asserts does not hold.
    fn take(&mut self, batch: &Batch) -> Result<bool, StoreError> {
        for assert in &batch.asserts {
            let holds = match assert {
                Assert::Is(key, value) => self.has(key, value.as_deref())?,
                Assert::Empty(range) => self.is_empty(range)?,
            };
            if !holds {
                return Ok(false);
            }
        }
        for write in &batch.writes {
            match write {
                Write::Put(key, value) => self.writes.put(&key.0, value),
                Write::Remove(key) => self.writes.delete(&key.0),
                Write::Clear(range) => {
                    self.clear(range);
                    continue;
                }
            }
            self.overlay.write(write);
        }
        Ok(true)
    }

    fn has(&self, key: &Key, value: Option<&[u8]>) -> Result<bool, StoreError> {
        if let Some(changed) = self.overlay.value(key) {
            return Ok(changed.map(|value| &value[..]) == value);
        }
        let stored = self.db.get_pinned(&key.0).map_err(meaning)?;
        Ok(stored.as_deref() == value)
    }

    fn is_empty(&self, range: &KeyRange) -> Result<bool, StoreError> {
        if range.from >= range.to {
            return Ok(true);
        }
        if self.overlay.puts_within(range) {
            return Ok(false);
        }
        let mut stored = self.stored(range);
        while let Some(key) = stored.key() {
            if self.overlay.value(&Key(Bytes::copy_from_slice(key))).is_none() {
                return Ok(false);
            }
            stored.next();
        }
        stored.status().map_err(meaning)?;
        Ok(true)
    }

    fn clear(&mut self, range: &KeyRange) {
        if range.from >= range.to {
            return;
        }
        let mut keys = self.overlay.clear(range);
        let mut stored = self.stored(range);
        while let Some(key) = stored.key()
            && keys.len() <= CLEAR_SINGLY
        {
            keys.push(Key(Bytes::copy_from_slice(key)));
            stored.next();
        }
        // A range that cannot be read can still be cleared.
        if keys.len() <= CLEAR_SINGLY && stored.status().is_ok() {
            keys.iter().for_each(|key| self.writes.delete(&key.0));
        } else {
            self.writes.delete_range(&range.from.0, &range.to.0);
        }
    }

    fn stored(&self, range: &KeyRange) -> DBRawIterator<'a> {
        let mut how = ReadOptions::default();
        how.set_iterate_lower_bound(&range.from.0[..]);
        how.set_iterate_upper_bound(&range.to.0[..]);
        let mut stored = self.db.raw_iterator_opt(how);
        stored.seek_to_first();
        stored
    }
}
