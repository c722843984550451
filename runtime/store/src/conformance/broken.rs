//! Stores with one fault each: a suite that passes one of them is no proof.

use crate::blob::kv::KvBlobs;
use crate::blob::packed::Packing;
use crate::conformance;
use crate::error::{CommitError, StoreError};
use crate::kv::memory::Memory;
use crate::kv::{Assert, Batch, Key, KeyRange, KeyValue, Page, Write};
use crate::lookup::memory::MemoryLookups;
use crate::lookup::{Clock, Lease, Lookups};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

mod blobs;
mod search;

/// How long a suite may take that runs in memory; a store that lets it hang is caught as well.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is wrong with a database.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The suites must pass a store without one.
    None,
    /// A batch whose asserts do not hold happens in part.
    TornByConflict,
    /// Of a batch, the last write is missing.
    Torn,
    /// An assert on a key is not looked at,
    LostAssert,
    /// or one on an absent key holds where the value is empty.
    EmptyIsAbsent,
    /// A range counts as empty where nothing stands at its first key,
    PhantomBehind,
    /// or is not looked at.
    Phantom,
    /// A range has its last key in it,
    LastIncluded,
    /// or has not its first.
    FirstSkipped,
    /// A full page lacks its last entry.
    PageCut,
    /// The last page, read backwards, is the first one.
    WrongEnd,
    /// Every third commit whose answer was lost is made again, and judged again.
    Repeated,
    /// Lazy batches are forgotten.
    LazyForgotten,
    /// Values lose what is beyond 60,000 octets.
    ValueCut,
    /// Values of any size are taken.
    NoLimit,
    /// In the order of letters.
    Collated,
    /// Keys that differ in case alone are one.
    CaseFolded,
    /// What is cleared includes the key after the range.
    ClearedTooFar,
    /// Puts come before removals.
    Reordered,
    /// Absent keys are left out of an answer.
    AbsentLeftOut,
    /// Who watches waits for ever.
    NeverRings,
}

const FAULTS: [Fault; 20] = [
    Fault::TornByConflict,
    Fault::Torn,
    Fault::LostAssert,
    Fault::EmptyIsAbsent,
    Fault::PhantomBehind,
    Fault::Phantom,
    Fault::LastIncluded,
    Fault::FirstSkipped,
    Fault::PageCut,
    Fault::WrongEnd,
    Fault::Repeated,
    Fault::LazyForgotten,
    Fault::ValueCut,
    Fault::NoLimit,
    Fault::Collated,
    Fault::CaseFolded,
    Fault::ClearedTooFar,
    Fault::Reordered,
    Fault::AbsentLeftOut,
    Fault::NeverRings,
];

struct Broken {
    memory: Memory,
    fault: Fault,
    commits: AtomicUsize,
    /// Values beyond the limit, for the store that has none.
    large: Mutex<HashMap<Key, Bytes>>,
}

impl Broken {
    fn with(fault: Fault) -> Arc<dyn KeyValue> {
        Arc::new(Broken { memory: Memory::new(), fault, commits: AtomicUsize::new(0), large: Mutex::default() })
    }

    fn range(&self, range: KeyRange) -> KeyRange {
        let after = |key: Key| Key::from([&key.0[..], &[0]].concat());
        match self.fault {
            Fault::LastIncluded => KeyRange { to: after(range.to), ..range },
            Fault::FirstSkipped => KeyRange { from: after(range.from), ..range },
            _ => range,
        }
    }

    fn key(&self, key: Key) -> Key {
        match self.fault {
            Fault::CaseFolded => Key::from(key.0.to_ascii_lowercase()),
            _ => key,
        }
    }

    /// The batch as this store takes it.
    fn bent(&self, mut batch: Batch) -> Batch {
        batch.asserts.retain_mut(|assert| match (assert, self.fault) {
            (Assert::Is(..), Fault::LostAssert) | (Assert::Empty(_), Fault::Phantom) => false,
            (Assert::Empty(range), Fault::PhantomBehind) => {
                range.to = Key::from([&range.from.0[..], &[0]].concat()).min(range.to.clone());
                true
            }
            (Assert::Is(key, _), Fault::CaseFolded) => {
                *key = self.key(key.clone());
                true
            }
            _ => true,
        });
        match self.fault {
            Fault::Torn if batch.writes.len() > 1 => drop(batch.writes.pop()),
            Fault::Reordered => batch.writes.sort_by_key(|write| !matches!(write, Write::Put(..))),
            _ => {}
        }
        for write in &mut batch.writes {
            match write {
                Write::Put(_, value) if self.fault == Fault::ValueCut => value.truncate(60_000),
                Write::Put(key, _) | Write::Remove(key) => *key = self.key(key.clone()),
                Write::Clear(range) if self.fault == Fault::ClearedTooFar => {
                    range.to = Key::from([&range.to.0[..], &[0]].concat());
                }
                Write::Clear(_) => {}
            }
        }
        batch
    }
}

#[async_trait]
impl KeyValue for Broken {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        tokio::task::yield_now().await;
        let keys: Vec<Key> = keys.iter().map(|key| self.key(key.clone())).collect();
        let mut found = self.memory.get(&keys).await?;
        if self.fault == Fault::AbsentLeftOut {
            found.retain(Option::is_some);
        }
        Ok(found)
    }

    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        tokio::task::yield_now().await;
        let wrong_end = self.fault == Fault::WrongEnd && page.backwards;
        let asked = if wrong_end { Page::first(page.most) } else { page };
        let mut found = self.memory.scan(self.range(keys), asked).await?;
        match self.fault {
            Fault::WrongEnd if page.backwards => found.reverse(),
            Fault::PageCut if found.len() == page.most && page.most > 1 => drop(found.pop()),
            Fault::Collated => {
                found.sort_by_key(|(key, _)| key.0.to_ascii_lowercase());
                if page.backwards {
                    found.reverse();
                }
            }
            _ => {}
        }
        Ok(found)
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        tokio::task::yield_now().await;
        let mut bent = self.bent(batch);
        match self.fault {
            Fault::LazyForgotten if bent.lazy => return Ok(()),
            Fault::NoLimit => {
                let mut large = self.large.lock().unwrap();
                bent.writes.retain(|write| match write {
                    Write::Put(key, value) if value.len() > crate::kv::VALUE_MOST => {
                        large.insert(key.clone(), value.clone());
                        false
                    }
                    _ => true,
                });
            }
            Fault::EmptyIsAbsent => {
                for assert in &mut bent.asserts {
                    if let Assert::Is(key, value @ None) = assert
                        && self.memory.get(std::slice::from_ref(key)).await? == [Some(Bytes::new())]
                    {
                        *value = Some(Bytes::new());
                    }
                }
            }
            Fault::Repeated if self.commits.fetch_add(1, Ordering::Relaxed) % 3 == 2 && !bent.asserts.is_empty() => {
                self.memory.commit(bent.clone()).await?;
            }
            _ => {}
        }
        let done = self.memory.commit(bent.clone()).await;
        if let (Fault::TornByConflict, Err(CommitError::Conflict)) = (self.fault, &done) {
            bent.asserts.clear();
            bent.writes.drain(..bent.writes.len().saturating_sub(1));
            self.memory.commit(bent).await?;
        }
        done
    }

    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        if self.fault == Fault::NeverRings {
            std::future::pending::<()>().await;
        }
        self.memory.watch(key).await
    }
}

/// Whether a suite fails.
async fn fails(suite: impl Future<Output = ()> + Send + 'static) -> bool {
    let mut suite = tokio::spawn(suite);
    match timeout(PATIENCE, &mut suite).await {
        Ok(ended) => ended.is_err(),
        Err(_) => {
            suite.abort();
            true
        }
    }
}

#[tokio::test]
async fn the_suite_of_databases_fails_on_every_broken_one() {
    conformance::suite(conformance::KEY_VALUE, Broken::with(Fault::None)).await;
    let mut passed = Vec::new();
    for fault in FAULTS {
        if !fails(conformance::suite(conformance::KEY_VALUE, Broken::with(fault))).await {
            passed.push(fault);
        }
    }
    assert_eq!(passed, []);
}

#[tokio::test]
async fn the_suite_of_blobs_fails_where_the_database_below_is_broken() {
    let blobs = |fault| async move {
        let data = Broken::with(fault);
        let store = Arc::new(KvBlobs::new(data.clone(), Packing::default()));
        conformance::suite(conformance::BLOBS, store.clone()).await;
        conformance::blobs_within(&store, &data).await;
    };
    blobs(Fault::None).await;
    let mut passed = Vec::new();
    // A blob cut short, a list that leaves one out, a blob without its last part.
    for fault in [Fault::ValueCut, Fault::FirstSkipped, Fault::Torn] {
        if !fails(blobs(fault)).await {
            passed.push(fault);
        }
    }
    assert_eq!(passed, []);
}

/// What is wrong with lookups.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slip {
    None,
    /// Nothing ends.
    NeverEnds,
    /// Every addition prolongs a counter,
    Prolongs,
    /// or is not remembered where it is below 0.
    NoLess,
    /// Adding 0 begins a counter.
    ZeroBegins,
    /// A fact is forgotten once it was read,
    ReadOnce,
    /// or keeps the value that it had first,
    FirstStays,
    /// or is answered with what it is now.
    TellsNew,
    /// A lease is granted to two.
    GrantedTwice,
    /// Numbers begin anew after a lease was given back.
    NumbersAnew,
    /// Anybody's lease is given back.
    AnybodysReleased,
    /// What is given back stays taken.
    NeverReleased,
    /// Names that differ in case alone are one.
    CaseFolded,
    /// A name of any length is taken,
    LongNames,
    /// or a fact loses what is beyond a KiB.
    FactCut,
}

const SLIPS: [Slip; 14] = [
    Slip::NeverEnds,
    Slip::Prolongs,
    Slip::NoLess,
    Slip::ZeroBegins,
    Slip::ReadOnce,
    Slip::FirstStays,
    Slip::TellsNew,
    Slip::GrantedTwice,
    Slip::NumbersAnew,
    Slip::AnybodysReleased,
    Slip::NeverReleased,
    Slip::CaseFolded,
    Slip::LongNames,
    Slip::FactCut,
];

struct Slippery {
    lookups: MemoryLookups,
    slip: Slip,
    /// Of each name, the last lease granted.
    granted: Mutex<HashMap<String, Lease>>,
}

impl Slippery {
    fn with(slip: Slip, clock: Clock) -> Arc<dyn Lookups> {
        let clock: Clock = if slip == Slip::NeverEnds { Arc::new(|| 1) } else { clock };
        Arc::new(Slippery { lookups: MemoryLookups::new(clock), slip, granted: Mutex::default() })
    }

    fn name(&self, name: &str) -> String {
        match self.slip {
            Slip::CaseFolded => name.to_lowercase(),
            Slip::LongNames => name.chars().take(100).collect(),
            _ => name.to_owned(),
        }
    }
}

#[async_trait]
impl Lookups for Slippery {
    async fn add(&self, counter: &str, by: i64, lives: Duration) -> Result<i64, StoreError> {
        let counter = &self.name(counter);
        match self.slip {
            Slip::Prolongs if by != 0 => {
                let before = self.lookups.add(counter, 0, lives).await?;
                // Under another name, so that it lives from now on.
                self.lookups.note(counter, Some((before + by).to_string().into()), lives).await?;
                Ok(before + by)
            }
            Slip::Prolongs => {
                let known = self.lookups.note(counter, None, lives).await?;
                Ok(known.and_then(|known| String::from_utf8(known.to_vec()).ok()?.parse().ok()).unwrap_or(0))
            }
            Slip::NoLess if by < 0 => self.lookups.add(counter, 0, lives).await,
            Slip::ZeroBegins if by == 0 => {
                self.lookups.add(counter, 1, lives).await?;
                self.lookups.add(counter, -1, lives).await
            }
            _ => self.lookups.add(counter, by, lives).await,
        }
    }

    async fn note(&self, fact: &str, value: Option<Bytes>, lives: Duration) -> Result<Option<Bytes>, StoreError> {
        let fact = &self.name(fact);
        match (self.slip, value) {
            (Slip::ReadOnce, None) => self.lookups.note(fact, Some(Bytes::new()), Duration::ZERO).await,
            (Slip::FirstStays, Some(value)) => {
                let known = self.lookups.note(fact, None, lives).await?;
                let stays = known.clone().unwrap_or(value);
                self.lookups.note(fact, Some(stays), lives).await.map(|_| known)
            }
            (Slip::TellsNew, Some(value)) => {
                self.lookups.note(fact, Some(value.clone()), lives).await.map(|_| Some(value))
            }
            (Slip::FactCut, Some(mut value)) => {
                value.truncate(1024);
                self.lookups.note(fact, Some(value), lives).await
            }
            (_, value) => self.lookups.note(fact, value, lives).await,
        }
    }

    async fn lease(&self, name: &str, lives: Duration) -> Result<Option<Lease>, StoreError> {
        let name = &self.name(name);
        let granted = self.lookups.lease(name, lives).await?;
        let mut last = self.granted.lock().unwrap();
        match (self.slip, granted) {
            (Slip::GrantedTwice, None) => Ok(last.get(name).cloned()),
            (Slip::NumbersAnew, Some(lease)) => Ok(Some(Lease { number: 1, ..lease })),
            (_, granted) => {
                last.extend(granted.clone().map(|lease| (name.clone(), lease)));
                Ok(granted)
            }
        }
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        let last = self.granted.lock().unwrap().get(&lease.name).cloned();
        match (self.slip, last) {
            (Slip::NeverReleased, _) => Ok(()),
            (Slip::AnybodysReleased, Some(last)) => self.lookups.release(last).await,
            _ => self.lookups.release(lease).await,
        }
    }
}

#[tokio::test]
async fn the_suite_of_lookups_fails_on_every_broken_one() {
    let lookups = |slip| {
        let make: conformance::MakeLookups = Arc::new(move |clock| Slippery::with(slip, clock));
        conformance::suite(conformance::LOOKUPS, make)
    };
    lookups(Slip::None).await;
    let mut passed = Vec::new();
    for slip in SLIPS {
        if !fails(lookups(slip)).await {
            passed.push(slip);
        }
    }
    assert_eq!(passed, []);
}
