//! Keys in the server's memory: for tests, and for what need not outlive the process.

use super::watches::Watches;
use super::{Assert, Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page, Write};
use crate::error::{CommitError, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::sync::{PoisonError, RwLock};

/// The most octets of keys and values that a memory store holds; beyond, only batches that do not put are taken.
pub const MEMORY_MOST: usize = 1 << 30;

/// A database that ends with the process.
pub struct Memory {
    entries: RwLock<Entries>,
    watches: Watches,
}

#[derive(Default)]
struct Entries {
    map: BTreeMap<Key, Bytes>,
    /// Keys and values together.
    octets: usize,
}

impl Memory {
    /// An empty database.
    pub fn new() -> Memory {
        Memory { entries: RwLock::default(), watches: Watches::new() }
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Entries {
    /// Unlike the map's own, does not panic on a range whose end comes before its start.
    fn range(&self, range: &KeyRange) -> Range<'_, Key, Bytes> {
        let to = range.to.clone().max(range.from.clone());
        self.map.range(range.from.clone()..to)
    }

    fn holds(&self, assert: &Assert) -> bool {
        match assert {
            Assert::Is(key, value) => self.map.get(key) == value.as_ref(),
            Assert::Empty(range) => self.range(range).next().is_none(),
        }
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Put(key, value) => {
                // A copy: the caller's octets may be a slice that keeps a whole receive buffer alive.
                let (key, value) = (Key::from(key.0.to_vec()), Bytes::copy_from_slice(value));
                self.remove(&key);
                self.octets += key.0.len() + value.len();
                self.map.insert(key, value);
            }
            Write::Remove(key) => self.remove(key),
            Write::Clear(range) => {
                let keys: Vec<Key> = self.range(range).map(|(key, _)| key.clone()).collect();
                keys.iter().for_each(|key| self.remove(key));
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some((key, value)) = self.map.remove_entry(key) {
            self.octets -= key.0.len() + value.len();
        }
    }
}

#[async_trait]
impl KeyValue for Memory {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.iter().map(|key| entries.map.get(key).cloned()).collect())
    }

    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let own = |(key, value): (&Key, &Bytes)| (key.clone(), value.clone());
        let (range, most) = (entries.range(&keys), page.most.min(PAGE_MOST));
        Ok(match page.backwards {
            false => range.take(most).map(own).collect(),
            true => range.rev().take(most).map(own).collect(),
        })
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let puts = batch.writes.iter().any(|write| matches!(write, Write::Put(..)));
        let octets = batch.measured()?;
        {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            if !batch.asserts.iter().all(|assert| entries.holds(assert)) {
                return Err(CommitError::Conflict);
            }
            if puts && entries.octets + octets > MEMORY_MOST {
                return Err(StoreError::Full.into());
            }
            batch.writes.iter().for_each(|write| entries.write(write));
        }
        self.watches.ring(&batch);
        Ok(())
    }

    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        self.watches.wait(key).await;
        Ok(())
    }
}
