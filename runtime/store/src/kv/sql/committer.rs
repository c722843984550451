//! The one task of a process that writes: it takes what waits, and one transaction serves all of it.

use super::dialect::{Dialect, Failure, Place, Query, STATEMENT_MOST};
use super::{KEYS_AT_ONCE, POLL, SERIAL, WRITER};
use crate::error::{Cause, CommitError, StoreError};
use crate::kv::overlay::Overlay;
use crate::kv::waiting::{Entrance, GROUP_MOST, Waiting};
use crate::kv::watches::Watches;
use crate::kv::{Assert, Batch, Key, KeyRange, Write};
use crate::lookup::Clock;
use bytes::Bytes;
use sqlx::pool::PoolConnection;
use sqlx::{Error, Pool};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::warn;

/// How often a group is begun anew because other transactions were in its way.
const TRIES: u32 = 10;
/// How long the committer waits before it connects again.
const RECONNECT: Duration = Duration::from_millis(100);
/// Keys looked at in one go when a range should be empty.
const LOOK: usize = 100;
/// How long the row of a process that no longer writes is kept, in seconds.
const WRITER_KEPT: i64 = 24 * 3600;

/// The sending side.
pub(super) struct Committer {
    /// Bounded by the entrance.
    queue: mpsc::UnboundedSender<Waiting>,
    entrance: Entrance,
    watched: Arc<AtomicBool>,
}

impl Committer {
    pub(super) fn start<D: Dialect>(
        pool: Pool<D>,
        place: Arc<Place>,
        watches: Arc<Watches>,
        clock: Clock,
    ) -> Result<Committer, StoreError> {
        let mut own = WRITER.to_vec();
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        own.extend_from_slice(&random);
        let (queue, waiting) = mpsc::unbounded_channel();
        let watched = Arc::new(AtomicBool::new(false));
        let worker = Worker::<D> {
            pool,
            place,
            watches,
            clock,
            watched: watched.clone(),
            own: own.into(),
            number: 0,
            serial: 0,
            connection: None,
        };
        tokio::spawn(worker.run(waiting));
        Ok(Committer { queue, entrance: Entrance::new(), watched })
    }

    pub(super) async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.entrance.commit(batch, |waiting| self.queue.send(waiting).is_ok()).await
    }

    /// Says that somebody waits for changes, so that those of other processes are looked for.
    pub(super) fn watched(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }
}

struct Worker<D: Dialect> {
    pool: Pool<D>,
    place: Arc<Place>,
    watches: Arc<Watches>,
    clock: Clock,
    /// Somebody has watched since the last look.
    watched: Arc<AtomicBool>,
    /// The key of this process's own row,
    own: Key,
    /// and the number of its last group.
    number: u64,
    /// The table's serial number as last seen.
    serial: u64,
    connection: Option<PoolConnection<D>>,
}

/// Why a group was not written.
enum Undone {
    /// It was not: begin again.
    Before(Failure),
    /// It may have been.
    While,
    /// The database does not answer in time; `true` where it may have been written.
    Late(bool),
}

impl<D: Dialect> Worker<D> {
    /// Until the store is dropped and what waits is written.
    async fn run(mut self, mut waiting: mpsc::UnboundedReceiver<Waiting>) {
        loop {
            let first = match timeout(POLL, waiting.recv()).await {
                Ok(Some(first)) => first,
                Ok(None) => return,
                Err(_) => {
                    self.look().await;
                    continue;
                }
            };
            let mut octets = first.octets;
            let mut group = vec![first];
            while octets < GROUP_MOST
                && let Ok(next) = waiting.try_recv()
            {
                octets += next.octets;
                group.push(next);
            }
            self.serve(group).await;
        }
    }

    /// Rings for everybody where another process has written, as far as anybody watches.
    async fn look(&mut self) {
        if !self.watched.swap(false, Ordering::Relaxed) {
            return;
        }
        let query = Query::Entries(vec![SERIAL.to_vec().into()]);
        let Ok(Ok(found)) = timeout(self.place.patience, D::fetch(&self.pool, &self.place, &query)).await else {
            return;
        };
        let serial = found.first().map_or(0, |(_, value)| number(value));
        if serial != self.serial {
            self.serial = serial;
            self.watches.ring_all();
        }
    }

    /// Writes a group and answers each of its batches.
    async fn serve(&mut self, group: Vec<Waiting>) {
        let batches: Vec<&Batch> = group.iter().map(|waiting| &waiting.batch).collect();
        let outcome = self.write(&batches).await;
        for (at, waiting) in group.into_iter().enumerate() {
            let answer = match &outcome {
                Ok(taken) if taken.get(at) == Some(&true) => {
                    self.watches.ring(&waiting.batch);
                    Ok(())
                }
                Ok(_) => Err(CommitError::Conflict),
                Err(error) => Err(error.clone()),
            };
            waiting.answer(answer);
        }
    }

    /// Writes a group: which of its batches held.
    async fn write(&mut self, batches: &[&Batch]) -> Result<Vec<bool>, CommitError> {
        self.number += 1;
        let end = self.end();
        let mut tries = 0;
        loop {
            let mut taken = Vec::new();
            let undone = match self.attempt(batches, &mut taken).await {
                Ok(()) => return Ok(taken),
                Err(undone) => undone,
            };
            self.connection = None;
            let failure = match undone {
                Undone::Before(failure) => failure,
                Undone::Late(false) => return Err(self.place.late().into()),
                Undone::While | Undone::Late(true) => match self.happened(end).await {
                    Some(true) => return Ok(taken),
                    Some(false) => continue,
                    None => return Err(CommitError::Unknown),
                },
            };
            tries += 1;
            let again = match failure {
                Failure::Again(_) => tries < TRIES,
                Failure::Lost(_) => (self.clock)() < end,
                _ => false,
            };
            if !again {
                return Err(failure.into_error(&self.place).into());
            }
            sleep(RECONNECT.min(Duration::from_millis(1 << tries.min(8)))).await;
        }
    }

    /// One transaction.
    async fn attempt(&mut self, batches: &[&Batch], taken: &mut Vec<bool>) -> Result<(), Undone> {
        let before = |error| Undone::Before(D::meaning(error));
        let (patience, place) = (self.place.patience, self.place.clone());
        let lazy = batches.iter().all(|batch| batch.lazy);
        let (mut connection, serial) =
            timeout(patience, self.begin(lazy)).await.map_err(|_| Undone::Late(false))?.map_err(before)?;
        let judged = timeout(patience, judge::<D>(&mut connection, &place, batches, taken)).await;
        let mut overlay = judged.map_err(|_| Undone::Late(false))?.map_err(before)?;
        if taken.iter().all(|taken| !taken) {
            let undone = timeout(patience, D::text(&mut connection, "ROLLBACK".into())).await;
            if let Ok(Ok(())) = undone {
                self.connection = Some(connection);
            }
            return Ok(());
        }
        if self.number == 1 {
            let kept_from = (self.clock)() / 1000 - WRITER_KEPT;
            forget_writers::<D>(&mut connection, &place, kept_from, &mut overlay).await.map_err(before)?;
        }
        let own =
            [(Key::from(SERIAL), Bytes::copy_from_slice(&(serial + 1).to_be_bytes())), (self.own.clone(), self.row())];
        let wrote = timeout(patience, change::<D>(&mut connection, &place, overlay, own)).await;
        wrote.map_err(|_| Undone::Late(false))?.map_err(before)?;
        let committed = timeout(patience, D::text(&mut connection, "COMMIT".into())).await;
        match committed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                return Err(match D::meaning(error) {
                    // The database says that it did not.
                    failure @ (Failure::Again(_) | Failure::Full) => Undone::Before(failure),
                    _ => Undone::While,
                });
            }
            Err(_) => return Err(Undone::Late(true)),
        }
        if self.serial + 1 != serial + 1 {
            // Others wrote since the last look.
            self.watches.ring_all();
        }
        self.serial = serial + 1;
        self.connection = Some(connection);
        Ok(())
    }

    /// A transaction that no other is beside, and the serial number it begins with.
    async fn begin(&mut self, lazy: bool) -> Result<(PoolConnection<D>, u64), Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = self.pool.acquire().await?;
                // Where it is not kept, something went wrong in a transaction, which is perhaps open still: nobody else must
                // be given that, and MySQL would commit what is half done by it.
                connection.close_on_drop();
                connection
            }
        };
        D::text(&mut connection, D::begin(lazy).into()).await?;
        let serial = D::rows(&mut connection, D::lock(&self.place)).await?;
        // Without the row nothing would be locked.
        let (_, serial) = serial.first().ok_or(Error::RowNotFound)?;
        let serial = number(serial);
        Ok((connection, serial))
    }

    /// When patience ends, in milliseconds since 1970.
    fn end(&self) -> i64 {
        (self.clock)().saturating_add(i64::try_from(self.place.patience.as_millis()).unwrap_or(i64::MAX))
    }

    fn row(&self) -> Bytes {
        let seconds = (self.clock)() / 1000;
        [self.number.to_be_bytes(), seconds.to_be_bytes()].concat().into()
    }

    /// Whether the last group was written, once a connection is to be had again.
    async fn happened(&mut self, end: i64) -> Option<bool> {
        let query = Query::Entries(vec![self.own.clone()]);
        loop {
            let asked = timeout(self.place.patience, async {
                // Behind whatever transaction is still under way, ours perhaps among them.
                let (mut connection, _) = self.begin(false).await?;
                let found = D::query(&mut connection, &self.place, &query).await?;
                D::text(&mut connection, "ROLLBACK".into()).await?;
                self.connection = Some(connection);
                Ok::<_, Error>(found.first().is_some_and(|(_, value)| number(value) == self.number))
            });
            match asked.await {
                Ok(Ok(happened)) => return Some(happened),
                _ if (self.clock)() >= end => {
                    warn!(store = self.place.name, "it is not known whether the last commit happened");
                    return None;
                }
                _ => sleep(RECONNECT).await,
            }
        }
    }
}

/// Which batches hold, and what they make of the table.
async fn judge<D: Dialect>(
    connection: &mut D::Connection,
    place: &Place,
    batches: &[&Batch],
    taken: &mut Vec<bool>,
) -> Result<Overlay, Error> {
    taken.clear();
    let asserted = batches.iter().flat_map(|batch| &batch.asserts);
    let keys: BTreeSet<&Key> = asserted
        .filter_map(|assert| match assert {
            Assert::Is(key, _) => Some(key),
            Assert::Empty(_) => None,
        })
        .collect();
    let keys: Vec<Key> = keys.into_iter().cloned().collect();
    let mut stored = HashMap::with_capacity(keys.len());
    for keys in keys.chunks(KEYS_AT_ONCE) {
        stored.extend(D::query(connection, place, &Query::Entries(keys.to_vec())).await?);
    }
    let mut overlay = Overlay::default();
    for batch in batches {
        let mut holds = true;
        for assert in &batch.asserts {
            holds = match assert {
                Assert::Is(key, value) => overlay.value(key).unwrap_or_else(|| stored.get(key)) == value.as_ref(),
                Assert::Empty(range) => is_empty::<D>(connection, place, &overlay, range).await?,
            };
            if !holds {
                break;
            }
        }
        taken.push(holds);
        if holds {
            batch.writes.iter().for_each(|write| overlay.write(write));
        }
    }
    Ok(overlay)
}

async fn is_empty<D: Dialect>(
    connection: &mut D::Connection,
    place: &Place,
    overlay: &Overlay,
    range: &KeyRange,
) -> Result<bool, Error> {
    let mut range = range.clone();
    while range.from < range.to {
        if overlay.puts_within(&range) {
            return Ok(false);
        }
        let query = Query::Range { range: range.clone(), most: LOOK, backwards: false, values: false };
        let found = D::query(connection, place, &query).await?;
        if found.iter().any(|(key, _)| overlay.value(key).is_none()) {
            return Ok(false);
        }
        match found.last() {
            Some((last, _)) if found.len() == LOOK => range.from = [&last.0[..], &[0]].concat().into(),
            _ => return Ok(true),
        }
    }
    Ok(true)
}

/// Writes what the overlay says.
async fn change<D: Dialect>(
    connection: &mut D::Connection,
    place: &Place,
    overlay: Overlay,
    own: [(Key, Bytes); 2],
) -> Result<(), Error> {
    let (cleared, changed) = overlay.into_changes();
    let delete = format!("DELETE FROM {} WHERE ", place.table);
    for range in &cleared {
        D::run(connection, D::with_range(&delete, range)).await?;
    }
    let removed: Vec<Key> = changed.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key.clone()).collect();
    for keys in removed.chunks(KEYS_AT_ONCE) {
        D::run(connection, D::with_keys(&delete, keys)).await?;
    }
    let (mut entries, mut octets) = (own.to_vec(), 0);
    for (key, value) in changed {
        let Some(value) = value else { continue };
        let size = key.0.len() + value.len();
        if entries.len() == KEYS_AT_ONCE || octets + size > STATEMENT_MOST {
            D::run(connection, D::put(place, &entries)).await?;
            (entries, octets) = (Vec::new(), 0);
        }
        octets += size;
        entries.push((key, value));
    }
    D::run(connection, D::put(place, &entries)).await
}

/// Removes the rows of processes that have not written since.
async fn forget_writers<D: Dialect>(
    connection: &mut D::Connection,
    place: &Place,
    kept_from: i64,
    overlay: &mut Overlay,
) -> Result<(), Error> {
    let range = KeyRange::prefix(WRITER);
    let query = Query::Range { range, most: KEYS_AT_ONCE, backwards: false, values: true };
    for (key, value) in D::query(connection, place, &query).await? {
        if value.last_chunk().map_or(0, |octets| i64::from_be_bytes(*octets)) < kept_from {
            overlay.write(&Write::Remove(key));
        }
    }
    Ok(())
}

fn number(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets))
}
