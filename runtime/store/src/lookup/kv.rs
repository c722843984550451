//! Lookups in a key-value database.
//!
//! | key | value |
//! |---|---|
//! | `Lc` name | a counter: its end, its value (i64 each) |
//! | `Lf` name | a fact: its end, its octets |
//! | `Ll` name | a lease: its end, its number (u64) |
//! | `Lx` end name's key | nothing: this counter or fact ends then |
//!
//! Numbers are big-endian. A lease's entry stays when it has ended, so that its numbers go on rising.

use super::{Clock, Lease, Lookups, end, fits};
use crate::error::{Cause, CommitError, StoreError};
use crate::kv::{Batch, Key, KeyRange, KeyValue, Page};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How often a change is tried when others change the same entry.
const TRIES: usize = 64;
/// One change in so many removes what has ended,
const SWEEP_EVERY: usize = 64;
/// at most so many entries at a time: more than are made meanwhile.
const SWEEP_MOST: usize = 256;

/// What a counter's key begins with,
pub(crate) const COUNTERS: &[u8; 2] = b"Lc";
/// a fact's,
pub(crate) const FACTS: &[u8; 2] = b"Lf";
/// a lease's,
pub(crate) const LEASES: &[u8; 2] = b"Ll";
/// and a mark's of when a counter or fact ends.
pub(crate) const MARKS: &[u8; 2] = b"Lx";

/// Lookups in `data`.
pub struct KvLookups {
    data: Arc<dyn KeyValue>,
    clock: Clock,
    changes: AtomicUsize,
}

/// An entry as stored: when it ends, and what it holds.
struct Entry {
    until: i64,
    value: Bytes,
}

/// What a change makes of an entry.
enum Change<T> {
    Keep(T),
    Put(Entry, T),
}

impl KvLookups {
    /// Keeps lookups beside whatever else `data` holds, under keys that begin with `L`.
    pub fn new(data: Arc<dyn KeyValue>, clock: Clock) -> KvLookups {
        KvLookups { data, clock, changes: AtomicUsize::new(0) }
    }

    /// Reads an entry, decides, and writes what was decided if nobody came between.
    /// `decide` gets the entry also when it has ended.
    async fn change<T>(
        &self,
        kind: &[u8; 2],
        name: &str,
        decide: impl Fn(Option<Entry>, i64) -> Result<Change<T>, StoreError>,
    ) -> Result<T, StoreError> {
        fits(name, None)?;
        let key = Key::from([kind, name.as_bytes()].concat());
        for _ in 0..TRIES {
            let now = (self.clock)();
            let stored = self.data.get(std::slice::from_ref(&key)).await?.pop().flatten();
            let known = stored.as_ref().map(|stored| Entry::read(&key, stored)).transpose()?;
            let was = known.as_ref().map(|entry| entry.until);
            let (next, answer) = match decide(known, now)? {
                Change::Keep(answer) => return Ok(answer),
                Change::Put(entry, answer) => (entry, answer),
            };
            let mut batch = Batch::new();
            batch.assert(key.clone(), stored);
            // Forgetting a counter harms nobody much; forgetting a lease gives its number to two.
            batch.lazy = kind != LEASES;
            if batch.lazy {
                if let Some(was) = was {
                    batch.remove(mark(was, &key));
                }
                batch.put(mark(next.until, &key), Bytes::new());
            }
            batch.put(key.clone(), next.write());
            match self.data.commit(batch).await {
                Ok(()) => {
                    self.sweep(now).await?;
                    return Ok(answer);
                }
                Err(CommitError::Conflict) => {}
                Err(CommitError::Store(error)) => return Err(error),
                Err(CommitError::Unknown) => return Err(StoreError::Unavailable(Cause::new(CommitError::Unknown))),
            }
        }
        Err(StoreError::Unavailable(Cause::new("others keep changing the same entry")))
    }

    /// Now and then, removes what has ended.
    async fn sweep(&self, now: i64) -> Result<(), StoreError> {
        if !self.changes.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            return Ok(());
        }
        let ended = KeyRange { from: MARKS.to_vec().into(), to: mark(now, &Key::from("")) };
        for (mark, _) in self.data.scan(ended, Page::first(SWEEP_MOST)).await? {
            let key = marked(&mark);
            let stored = self.data.get(std::slice::from_ref(&key)).await?.pop().flatten();
            let mut batch = Batch::new();
            batch.lazy = true;
            if stored.as_deref().is_some_and(|stored| mark.0.get(2..10) == stored.get(..8)) {
                batch.remove(key.clone());
            }
            batch.assert(key, stored).remove(mark);
            match self.data.commit(batch).await {
                // Somebody gave the entry another end; its new mark will be found then.
                Ok(()) | Err(CommitError::Conflict | CommitError::Unknown) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Lookups for KvLookups {
    async fn add(&self, counter: &str, by: i64, lives: Duration) -> Result<i64, StoreError> {
        let decide = |known: Option<Entry>, now| {
            let known = known.filter(|entry| entry.until > now);
            let value = known.as_ref().map_or(Ok(0), |entry| entry.number(counter))?;
            let until = known.map_or(end(now, lives), |entry| entry.until);
            let sum = value.saturating_add(by);
            let entry = Entry { until, value: sum.to_be_bytes().to_vec().into() };
            Ok(if by == 0 { Change::Keep(value) } else { Change::Put(entry, sum) })
        };
        self.change(COUNTERS, counter, decide).await
    }

    async fn note(&self, fact: &str, value: Option<Bytes>, lives: Duration) -> Result<Option<Bytes>, StoreError> {
        fits(fact, value.as_ref())?;
        let decide = |known: Option<Entry>, now| {
            let known = known.filter(|entry| entry.until > now).map(|entry| entry.value);
            Ok(match value.clone() {
                Some(value) => Change::Put(Entry { until: end(now, lives), value }, known),
                None => Change::Keep(known),
            })
        };
        self.change(FACTS, fact, decide).await
    }

    async fn lease(&self, name: &str, lives: Duration) -> Result<Option<Lease>, StoreError> {
        let decide = |known: Option<Entry>, now| {
            let number = match &known {
                Some(held) if held.until > now => return Ok(Change::Keep(None)),
                Some(ended) => ended.number(name)? + 1,
                None => 1,
            };
            let until = end(now, lives);
            let lease = Lease { name: name.to_owned(), number: number.cast_unsigned(), until };
            Ok(Change::Put(Entry { until, value: number.to_be_bytes().to_vec().into() }, Some(lease)))
        };
        self.change(LEASES, name, decide).await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        let decide = |known: Option<Entry>, now| {
            let own = |entry: &Entry| entry.until == lease.until && *entry.value == lease.number.to_be_bytes();
            Ok(match known.filter(own) {
                Some(held) => Change::Put(Entry { until: now, ..held }, ()),
                None => Change::Keep(()),
            })
        };
        self.change(LEASES, &lease.name, decide).await
    }
}

impl Entry {
    fn read(key: &Key, stored: &Bytes) -> Result<Entry, StoreError> {
        let until = stored.first_chunk().ok_or_else(|| StoreError::Corrupt { what: format!("lookup {key:?}") })?;
        Ok(Entry { until: i64::from_be_bytes(*until), value: stored.slice(8..) })
    }

    fn write(&self) -> Bytes {
        [&self.until.to_be_bytes(), &self.value[..]].concat().into()
    }

    fn number(&self, name: &str) -> Result<i64, StoreError> {
        let number = (&*self.value).try_into().map(i64::from_be_bytes);
        number.map_err(|_| StoreError::Corrupt { what: format!("lookup {name}") })
    }
}

/// The mark of when something ends.
pub(crate) fn mark(until: i64, key: &Key) -> Key {
    [MARKS, &until.max(0).to_be_bytes()[..], &key.0].concat().into()
}

/// What a mark is of.
pub(crate) fn marked(mark: &Key) -> Key {
    Key(mark.0.slice(mark.0.len().min(10)..))
}

/// When something ends; `None` where it cannot be read.
pub(crate) fn end_of(key: &Key, stored: &Bytes) -> Option<i64> {
    let entry = Entry::read(key, stored).ok()?;
    let fits = key.0.starts_with(FACTS) || entry.number("").is_ok();
    fits.then_some(entry.until)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conformance;
    use crate::kv::memory::Memory;
    use crate::kv::strict::tests::databases;
    use std::sync::atomic::AtomicI64;

    #[tokio::test]
    async fn lookups_in_a_database_keep_the_contract() {
        for data in databases().await {
            let make: conformance::MakeLookups = Arc::new(move |clock| Arc::new(KvLookups::new(data.clone(), clock)));
            conformance::suite(conformance::LOOKUPS, make).await;
        }
    }

    #[tokio::test]
    async fn what_has_ended_is_removed() {
        let data: Arc<dyn KeyValue> = Arc::new(Memory::new());
        let now = Arc::new(AtomicI64::new(1));
        let clock = now.clone();
        let lookups = KvLookups::new(data.clone(), Arc::new(move || clock.load(Ordering::Relaxed)));
        for n in 0..100 {
            lookups.add(&format!("counter {n}"), 1, Duration::from_secs(1)).await.unwrap();
        }
        now.store(10_000, Ordering::Relaxed);
        for _ in 0..SWEEP_EVERY {
            lookups.add("another", 1, Duration::from_secs(1)).await.unwrap();
        }
        let left = data.scan(KeyRange::prefix(b"L"), Page::first(1000)).await.unwrap();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
