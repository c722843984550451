//! Keys in memory, within FoundationDB's limits and with its manners, so that what would break there breaks in every
//! run: sizes, the five seconds of a transaction, conflicts, and commits of which nobody knows whether they happened.
//!
//! The faults follow from a seed: the same calls in the same order meet the same ones.

use super::memory::Memory;
use super::{Assert, Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page, Write};
use crate::error::{Cause, CommitError, StoreError};
use crate::lookup::Clock;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Mutex, PoisonError};

/// The longest key, in octets. These limits are the database's: <https://apple.github.io/foundationdb/known-limitations.html>
const KEY: usize = 10_000;
/// The largest value, in octets.
const VALUE: usize = 100_000;
/// The largest transaction, in octets: what is written, with the ranges of keys that others must not read or write.
const TRANSACTION: usize = 10_000_000;
/// How long a transaction may take, in milliseconds.
const TIME: i64 = 5_000;
/// Octets that every key is longer by there: a configured prefix.
const PREFIX: usize = super::PREFIX_MOST;
/// Entries that a scan reads before others get in between.
const PAGE: usize = 64;
/// Of so many commits, one meets a fault of each kind.
const ONE_IN: u64 = 12;

/// A database in memory that is as strict as FoundationDB.
pub struct Strict {
    memory: Memory,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    /// Of the faults to come; `None`: there are none.
    chance: Option<u64>,
    /// A batch that was sent, of which nobody knows, and which happens with one of the next.
    late: Option<Batch>,
}

/// What a commit meets.
enum Fault {
    /// Another read or wrote what it does, or the database thinks so.
    Conflict,
    /// It happened, but the answer is lost.
    Lost,
    /// It did not happen, and nobody says so.
    Never,
    /// It will happen before one of the next, if it still can.
    Late,
}

impl Strict {
    /// An empty database. `clock` says how long a transaction takes; without a seed there are no faults.
    pub fn new(clock: Clock, seed: Option<u64>) -> Strict {
        Strict { memory: Memory::new(), clock, state: Mutex::new(State { chance: seed, late: None }) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch that is late, where it comes now: every second time.
    fn late(&self) -> Option<Batch> {
        let mut state = self.state();
        let comes = next(state.chance.as_mut()?).is_multiple_of(2);
        if comes { state.late.take() } else { None }
    }

    fn fault(&self, batch: &Batch) -> Option<Fault> {
        let mut state = self.state();
        let chance = next(state.chance.as_mut()?);
        match chance % ONE_IN {
            // What reads nothing has no conflict.
            0 if !batch.asserts.is_empty() => Some(Fault::Conflict),
            1 => Some(Fault::Lost),
            2 => Some(Fault::Never),
            3 => Some(Fault::Late),
            _ => None,
        }
    }
}

/// The next of a sequence that looks like chance (SplitMix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn refused(what: String) -> StoreError {
    StoreError::Misconfigured(Cause::new(format!("FoundationDB would refuse {what}")))
}

/// What a batch weighs there. A key that is read or written is also a range, from it to the next; one that is removed
/// is two.
fn weight(batch: &Batch) -> Result<usize, StoreError> {
    let key = |key: &Key| {
        let length = key.0.len() + PREFIX;
        if length > KEY { Err(refused(format!("a key of {length} octets"))) } else { Ok(length) }
    };
    let mut octets = 0;
    for assert in &batch.asserts {
        octets += match assert {
            Assert::Is(name, _) => 2 * key(name)? + 1,
            Assert::Empty(range) => key(&range.from)? + key(&range.to)?,
        };
    }
    for write in &batch.writes {
        octets += match write {
            Write::Put(_, value) if value.len() > VALUE => {
                return Err(refused(format!("a value of {} octets", value.len())));
            }
            Write::Put(name, value) => 3 * key(name)? + 1 + value.len(),
            Write::Remove(name) => 4 * key(name)? + 2,
            Write::Clear(range) => 2 * (key(&range.from)? + key(&range.to)?),
        };
    }
    if octets > TRANSACTION {
        return Err(refused(format!("a transaction of {octets} octets")));
    }
    Ok(octets)
}

#[async_trait]
impl KeyValue for Strict {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let began = (self.clock)();
        let values = self.memory.get(keys).await?;
        if (self.clock)() - began > TIME {
            return Err(refused(format!("to read {} keys at once: it takes over {TIME} ms", keys.len())));
        }
        Ok(values)
    }

    /// In parts, as the database answers; each is of another moment.
    async fn scan(&self, mut keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        let most = page.most.min(PAGE_MOST);
        let mut found: Vec<(Key, Bytes)> = Vec::new();
        let mut began = (self.clock)();
        loop {
            let some = Page { most: PAGE.min(most - found.len()), ..page };
            let part = self.memory.scan(keys.clone(), some).await?;
            let now = (self.clock)();
            if now - began > TIME {
                // Too old: what was just read is read again, by a transaction that begins now.
                began = now;
                continue;
            }
            let whole = part.len() == some.most;
            if let Some((last, _)) = part.last() {
                match page.backwards {
                    true => keys.to = last.clone(),
                    false => keys.from = [&last.0[..], &[0]].concat().into(),
                }
            }
            found.extend(part);
            if !whole || found.len() >= most {
                return Ok(found);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        weight(&batch)?;
        let (fault, late) = (self.fault(&batch), self.late());
        if let Some(late) = late {
            // Nobody waits for it any more.
            let _ = self.memory.commit(late).await;
        }
        match fault {
            None => self.memory.commit(batch).await,
            Some(Fault::Conflict) => Err(CommitError::Conflict),
            Some(Fault::Lost) => {
                self.memory.commit(batch).await?;
                Err(CommitError::Unknown)
            }
            Some(Fault::Never) => Err(CommitError::Unknown),
            Some(Fault::Late) => {
                batch.measured()?;
                self.state().late = Some(batch);
                Err(CommitError::Unknown)
            }
        }
    }

    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        self.memory.watch(key).await
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conformance;
    use crate::kv::surely::Surely;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// Databases on which whatever lies in one must work: plain memory, and strict ones with different faults.
    pub(crate) async fn databases() -> Vec<Arc<dyn KeyValue>> {
        let mut all: Vec<Arc<dyn KeyValue>> = vec![Arc::new(Memory::new())];
        for seed in 1..=8 {
            all.push(faulty(seed).await.0);
        }
        all
    }

    /// A strict one behind which no answer is lost, and the strict one itself.
    pub(crate) async fn faulty(seed: u64) -> (Arc<dyn KeyValue>, Arc<Strict>) {
        let time = AtomicI64::new(0);
        // Every look at the clock takes a second: long scans are of several transactions.
        let clock: Clock = Arc::new(move || time.fetch_add(1_000, Ordering::Relaxed));
        let strict = Arc::new(Strict::new(clock, Some(seed)));
        let surely = Surely::open(strict.clone(), Arc::new(|| 0)).await.unwrap();
        (Arc::new(surely), strict)
    }

    #[tokio::test]
    async fn within_limits_and_without_faults_the_contract_is_kept() {
        let strict = Arc::new(Strict::new(Arc::new(|| 0), None));
        conformance::suite(conformance::KEY_VALUE, strict.clone()).await;
        let surely = Surely::open(Arc::new(Strict::new(Arc::new(|| 0), None)), Arc::new(|| 0)).await.unwrap();
        conformance::suite(conformance::KEY_VALUE, Arc::new(surely)).await;
    }

    #[tokio::test]
    async fn what_foundationdb_would_refuse_is_refused() {
        let time = Arc::new(AtomicI64::new(0));
        let clock = time.clone();
        let strict = Strict::new(Arc::new(move || clock.fetch_add(6_000, Ordering::Relaxed)), None);
        let mut batches = [(); 4].map(|()| Batch::new());
        batches[0].put(vec![1; KEY], "");
        batches[1].put("k", vec![1; VALUE + 1]);
        for n in 0..6_000_u32 {
            let key = [&[1; 1_000][..], &n.to_be_bytes()].concat();
            if n < 3_500 {
                batches[2].remove(key.clone());
            }
            batches[3].assert(key, None);
        }
        for batch in batches {
            assert!(matches!(strict.commit(batch).await, Err(CommitError::Store(StoreError::Misconfigured(_)))));
        }
        assert!(strict.get(&["k".into()]).await.is_err(), "it takes six seconds");
    }

    /// 400 additions by two processes of four tasks each, over one database that loses answers.
    #[tokio::test]
    async fn nothing_is_added_twice_or_lost_though_answers_are() {
        for seed in 1..=40 {
            let (first, strict) = faulty(seed).await;
            let second: Arc<dyn KeyValue> = Arc::new(Surely::open(strict, Arc::new(|| 0)).await.unwrap());
            let adders: Vec<_> = (0..8)
                .map(|n| {
                    let data = if n % 2 == 0 { first.clone() } else { second.clone() };
                    tokio::spawn(async move {
                        let mut added = 0;
                        while added < 50 {
                            let before = data.get(&["sum".into()]).await.unwrap().pop().flatten();
                            let sum = before.as_deref().map_or(0, |sum| u64::from_be_bytes(sum.try_into().unwrap()));
                            let mut batch = Batch::new();
                            batch.assert("sum", before).put("sum", (sum + 1).to_be_bytes().to_vec());
                            match data.commit(batch).await {
                                Ok(()) => added += 1,
                                Err(CommitError::Conflict) => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                    })
                })
                .collect();
            for adder in adders {
                adder.await.unwrap();
            }
            let sum = first.get(&["sum".into()]).await.unwrap().pop().flatten().unwrap();
            assert_eq!(u64::from_be_bytes(sum.as_ref().try_into().unwrap()), 400, "seed {seed}");
        }
    }

    #[tokio::test]
    async fn the_same_seed_meets_the_same_faults() {
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            let strict = Strict::new(Arc::new(|| 0), Some(7));
            let mut told = String::new();
            for n in 0..200_u32 {
                let mut batch = Batch::new();
                batch.assert(n.to_be_bytes(), None).put(n.to_be_bytes(), "");
                told += match strict.commit(batch).await {
                    Ok(()) => ".",
                    Err(CommitError::Conflict) => "c",
                    Err(CommitError::Unknown) => "?",
                    Err(CommitError::Store(_)) => "!",
                };
            }
            outcomes.push(told);
        }
        assert_eq!(outcomes[0], outcomes[1]);
        assert!(outcomes[0].contains('c') && outcomes[0].contains('?') && !outcomes[0].contains('!'));
    }
}
