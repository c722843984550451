//! A database of which is known what it committed.
//!
//! Some databases cannot always say whether a commit happened: the connection went, or their answer was lost. Here
//! every batch also writes a key of this process's own, a slot, which no other batch uses meanwhile, and asserts what
//! the slot held before. Where the answer is [`CommitError::Unknown`], the slot says what happened, and the batch is
//! committed again where it did not. Of all attempts for one batch at most one can happen, even one that comes late:
//! each is in the way of the others.
//!
//! | key | value |
//! |---|---|
//! | `0` `t` process (16) slot (u32) | the number (u64) of the last batch, or the next one where it was refused, and when it was (i64, seconds since 1970) |

use super::{Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page};
use crate::error::{Cause, CommitError, StoreError};
use crate::lookup::Clock;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// What the keys of slots begin with.
const SLOT: &[u8] = b"\0t";
/// Batches under way at once; further ones wait.
const AT_ONCE: usize = 256;
/// How often a batch is committed, and a slot is read, until it is known what happened.
const TRIES: u32 = 32;
/// The longest wait between two of these.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the slots of a process that no longer writes are kept, in seconds.
const KEPT: i64 = 24 * 3600;

/// A database behind which no answer is lost.
pub struct Surely {
    data: Arc<dyn KeyValue>,
    clock: Clock,
    /// What the keys of our slots begin with.
    own: Vec<u8>,
    free: Mutex<Vec<Slot>>,
    /// The first slot that was never used.
    next: AtomicU32,
    number: AtomicU64,
    room: Semaphore,
}

struct Slot {
    key: Key,
    before: Before,
}

/// What a slot holds that nobody uses.
enum Before {
    Known(Option<Bytes>),
    /// It is to be read.
    Unread,
}

impl Surely {
    /// Over `data`; forgets the slots of processes that are gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(data: Arc<dyn KeyValue>, clock: Clock) -> Result<Surely, StoreError> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        let kept_from = (clock)() / 1000 - KEPT;
        let mut old = Batch::new();
        for (key, value) in data.scan(KeyRange::prefix(SLOT), Page::first(PAGE_MOST)).await? {
            if value.last_chunk().map_or(0, |octets| i64::from_be_bytes(*octets)) < kept_from {
                old.remove(key);
            }
        }
        match data.commit(old).await {
            Err(CommitError::Store(error)) => return Err(error),
            // They are found again next time.
            Ok(()) | Err(CommitError::Conflict | CommitError::Unknown) => {}
        }
        Ok(Surely {
            data,
            clock,
            own: [SLOT, &random].concat(),
            free: Mutex::default(),
            next: AtomicU32::new(0),
            number: AtomicU64::new(1),
            room: Semaphore::new(AT_ONCE),
        })
    }

    /// One that nobody uses. One that is not given back is never used again: a late attempt may still write it.
    fn slot(&self) -> Slot {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            Slot { key: [&self.own[..], &at.to_be_bytes()].concat().into(), before: Before::Known(None) }
        })
    }

    fn give_back(&self, key: Key, before: Before) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(Slot { key, before });
    }

    /// What is known to have become of a batch, by what its slot holds now.
    fn known(&self, key: Key, holds: Bytes, happened: bool) -> Result<(), CommitError> {
        self.give_back(key, Before::Known(Some(holds)));
        if happened { Ok(()) } else { Err(CommitError::Conflict) }
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(self.data.get(std::slice::from_ref(key)).await?.pop().flatten())
    }

    /// What a slot holds, once the database answers again; `None` where it stays away.
    async fn read_at_last(&self, key: &Key) -> Option<Option<Bytes>> {
        for tries in 0..TRIES {
            match self.read(key).await {
                Ok(value) => return Some(value),
                Err(_) => pause(tries).await,
            }
        }
        None
    }
}

async fn pause(tries: u32) {
    sleep(PAUSE.min(Duration::from_millis(1 << tries.min(8)))).await;
}

#[async_trait]
impl KeyValue for Surely {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.data.get(keys).await
    }

    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        self.data.scan(keys, page).await
    }

    /// [`CommitError::Unknown`] only where the database stays away, or keeps not knowing.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        // Only a closed semaphore has no room, and nobody closes it.
        let _room = self.room.acquire().await;
        let Slot { key, before } = self.slot();
        let mut before = match before {
            Before::Known(before) => before,
            Before::Unread => self.read(&key).await?,
        };
        let number = self.number.fetch_add(2, Ordering::Relaxed);
        let when = ((self.clock)() / 1000).to_be_bytes();
        let mine = Bytes::from([number.to_be_bytes(), when].concat());
        // Where this stands in the slot, none of our attempts can happen any more. It is no earlier batch's either: an
        // attempt asserts what was there before, and must not find it again.
        let refused = Bytes::from([(number + 1).to_be_bytes(), when].concat());
        let (mut unsure, mut refusing) = (false, false);
        for tries in 0..TRIES {
            let mut attempt = if refusing { Batch::new() } else { batch.clone() };
            let value = if refusing { &refused } else { &mine };
            attempt.assert(key.clone(), before.clone()).put(key.clone(), value.clone());
            let conflict = match self.data.commit(attempt).await {
                Ok(()) => return self.known(key, value.clone(), !refusing),
                Err(CommitError::Conflict) => true,
                Err(CommitError::Unknown) => false,
                // An earlier attempt may have happened all the same.
                Err(CommitError::Store(_)) if unsure => false,
                Err(CommitError::Store(error)) => {
                    self.give_back(key, Before::Known(before));
                    return Err(error.into());
                }
            };
            if conflict && !unsure && !batch.asserts.is_empty() {
                // The slot may be what was in the way: others forget those that were not used for long.
                self.give_back(key, Before::Unread);
                return Err(CommitError::Conflict);
            }
            unsure |= !conflict;
            match self.read_at_last(&key).await {
                None => return Err(CommitError::Unknown),
                Some(now) if now.as_ref() == Some(&mine) => return self.known(key, mine, true),
                Some(now) if refusing && now.as_ref() == Some(&refused) => return self.known(key, refused, false),
                // Nothing of ours can happen where the slot holds something else, by whoever forgot it.
                Some(now) if now != before => before = now,
                // An earlier attempt may still come, and must not once the caller was told of a conflict.
                Some(_) => refusing |= conflict && !batch.asserts.is_empty(),
            }
            pause(tries).await;
        }
        Err(if unsure { CommitError::Unknown } else { CommitError::Conflict })
    }

    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        self.data.watch(key).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kv::memory::Memory;
    use std::collections::VecDeque;

    /// What becomes of a commit.
    #[derive(Clone, Copy)]
    enum Fate {
        Happens,
        /// It conflicts with what is not there.
        Conflicts,
        /// Nobody says what became of it, and it comes when the test says so.
        Late,
    }

    #[derive(Default)]
    struct Scripted {
        memory: Memory,
        fates: Mutex<VecDeque<Fate>>,
        late: Mutex<Vec<Batch>>,
    }

    #[async_trait]
    impl KeyValue for Scripted {
        async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
            self.memory.get(keys).await
        }
        async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
            self.memory.scan(keys, page).await
        }
        async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
            let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Happens);
            match fate {
                Fate::Happens => self.memory.commit(batch).await,
                Fate::Conflicts => Err(CommitError::Conflict),
                Fate::Late => {
                    self.late.lock().unwrap().push(batch);
                    Err(CommitError::Unknown)
                }
            }
        }
        async fn watch(&self, key: &Key) -> Result<(), StoreError> {
            self.memory.watch(key).await
        }
    }

    /// Twice in the same slot and second: what refuses the second batch must not look like what refused the first.
    #[tokio::test]
    async fn a_batch_of_which_a_conflict_was_told_does_not_come_later() {
        let scripted = Arc::new(Scripted::default());
        let surely = Surely::open(scripted.clone(), Arc::new(|| 0)).await.unwrap();
        let add = || {
            let mut batch = Batch::new();
            batch.assert("key", None).put("key", "there");
            batch
        };
        for _ in 0..3 {
            scripted.fates.lock().unwrap().extend([Fate::Late, Fate::Conflicts, Fate::Happens]);
            assert!(matches!(surely.commit(add()).await, Err(CommitError::Conflict)));
            let late = std::mem::take(&mut *scripted.late.lock().unwrap());
            assert_eq!(late.len(), 1);
            for late in late {
                assert!(matches!(scripted.memory.commit(late).await, Err(CommitError::Conflict)));
            }
            assert_eq!(surely.get(&["key".into()]).await.unwrap(), [None]);
        }
        assert!(surely.commit(add()).await.is_ok());
    }
}
