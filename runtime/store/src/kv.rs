//! The data store: ordered keys, atomic batches.
//!
//! A backend is one file in `kv/` that passes [`crate::conformance::KEY_VALUE`].

use crate::error::{Cause, CommitError, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;

#[cfg(feature = "foundationdb")]
pub mod foundationdb;
pub mod memory;
mod overlay;
pub mod rocksdb;
pub mod sql;
pub mod strict;
pub mod surely;
pub mod swap;
mod waiting;
mod watches;

/// The longest key a backend must take, in octets (FoundationDB takes 10,000; MySQL indexes 3,072).
pub const KEY_MOST: usize = 1024;
/// The longest value, in octets (FoundationDB's limit is 100,000). Larger things are blobs, or are split.
pub const VALUE_MOST: usize = 90_000;
/// The largest batch, in octets as [`Batch::weight`] counts them. FoundationDB's limit for a transaction is 10,000,000;
/// what is left is for a store's own keys.
pub const BATCH_MOST: usize = 9_900_000;
/// Octets that every key may be longer by within a store: a configured prefix.
pub const PREFIX_MOST: usize = 32;
/// The most keys one [`KeyValue::scan`] returns.
pub const PAGE_MOST: usize = 10_000;

/// A key. Keys are ordered by their octets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub Bytes);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl<T: Into<Vec<u8>>> From<T> for Key {
    fn from(octets: T) -> Key {
        Key(Bytes::from(octets.into()))
    }
}

/// Keys from `from` (included) to `to` (excluded).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub from: Key,
    /// The key after the last.
    pub to: Key,
}

impl KeyRange {
    /// Every key that begins with `prefix`, which must not be empty or all 0xFF.
    pub fn prefix(prefix: &[u8]) -> KeyRange {
        let mut to = prefix.to_vec();
        while to.last() == Some(&0xFF) {
            to.pop();
        }
        if let Some(last) = to.last_mut() {
            *last += 1;
        }
        KeyRange { from: prefix.to_vec().into(), to: to.into() }
    }
    /// Whether the range holds `key`.
    pub fn holds(&self, key: &Key) -> bool {
        self.from <= *key && *key < self.to
    }
}

/// How much of a range to read, and from which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many entries; no more than [`PAGE_MOST`].
    pub most: usize,
    /// Largest key first.
    pub backwards: bool,
}

impl Page {
    /// The first `most` entries.
    pub fn first(most: usize) -> Page {
        Page { most, backwards: false }
    }
    /// The last `most` entries, last first.
    pub fn last(most: usize) -> Page {
        Page { most, backwards: true }
    }
}

/// What must hold at the moment of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assert {
    /// This key has exactly this value, or (`None`) is absent.
    Is(Key, Option<Bytes>),
    /// No key lies in this range.
    Empty(KeyRange),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put(Key, Bytes),
    /// Removes a key, which need not exist.
    Remove(Key),
    /// Removes every key of a range.
    Clear(KeyRange),
}

/// Changes that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What must hold, else [`CommitError::Conflict`] and nothing happens.
    pub asserts: Vec<Assert>,
    /// What happens, in this order.
    pub writes: Vec<Write>,
    /// The commit may be answered before it is durable. It is still atomic and ordered: it is never lost
    /// where a later durable commit survived.
    pub lazy: bool,
}

impl Batch {
    /// An empty batch, durable once committed.
    pub fn new() -> Batch {
        Batch::default()
    }
    /// Demands that `key` has this value, or is absent.
    pub fn assert(&mut self, key: impl Into<Key>, is: Option<Bytes>) -> &mut Batch {
        self.asserts.push(Assert::Is(key.into(), is));
        self
    }
    /// Demands that no key lies in `range`.
    pub fn assert_empty(&mut self, range: KeyRange) -> &mut Batch {
        self.asserts.push(Assert::Empty(range));
        self
    }
    /// Its size as FoundationDB counts it, in octets: what is asserted and written, and again the keys as ranges, from
    /// each to the next, that others must not write or read meanwhile.
    pub fn weight(&self) -> usize {
        let assert = |assert: &Assert| match assert {
            Assert::Is(key, value) => 2 * (key.0.len() + PREFIX_MOST) + 1 + value.as_ref().map_or(0, Bytes::len),
            Assert::Empty(range) => range.from.0.len() + range.to.0.len() + 2 * PREFIX_MOST,
        };
        let write = |write: &Write| match write {
            Write::Put(key, value) => Batch::put_weight(key.0.len(), value.len()),
            Write::Remove(key) => Batch::remove_weight(key.0.len()),
            Write::Clear(range) => 2 * (range.from.0.len() + range.to.0.len() + 2 * PREFIX_MOST),
        };
        self.asserts.iter().map(assert).sum::<usize>() + self.writes.iter().map(write).sum::<usize>()
    }
    /// What a key that is set adds to [`Batch::weight`].
    pub const fn put_weight(key: usize, value: usize) -> usize {
        3 * (key + PREFIX_MOST) + 1 + value
    }
    /// What a key that is removed adds to [`Batch::weight`].
    pub const fn remove_weight(key: usize) -> usize {
        4 * (key + PREFIX_MOST) + 2
    }
    /// Whether every backend can take this batch, and its weight.
    pub(crate) fn measured(&self) -> Result<usize, StoreError> {
        for write in &self.writes {
            let (key, value) = match write {
                Write::Put(key, value) => (key.0.len(), value.len()),
                Write::Remove(key) => (key.0.len(), 0),
                Write::Clear(range) => (range.from.0.len().max(range.to.0.len()), 0),
            };
            if key > KEY_MOST || value > VALUE_MOST {
                return Err(too_large(format!("a key of {key} and a value of {value} octets")));
            }
        }
        let octets = self.weight();
        if octets > BATCH_MOST {
            return Err(too_large(format!("a batch of {octets} octets")));
        }
        Ok(octets)
    }
    /// Sets `key`.
    pub fn put(&mut self, key: impl Into<Key>, value: impl Into<Bytes>) -> &mut Batch {
        self.writes.push(Write::Put(key.into(), value.into()));
        self
    }
    /// Removes `key`.
    pub fn remove(&mut self, key: impl Into<Key>) -> &mut Batch {
        self.writes.push(Write::Remove(key.into()));
        self
    }
    /// Removes every key of `range`.
    pub fn clear(&mut self, range: KeyRange) -> &mut Batch {
        self.writes.push(Write::Clear(range));
        self
    }
}

fn too_large(what: String) -> StoreError {
    StoreError::Misconfigured(Cause::new(format!("{what} is more than a store takes")))
}

/// An ordered key-value database with atomic, conditional batches.
#[async_trait]
pub trait KeyValue: Send + Sync + 'static {
    /// The values of these keys, in this order. All are of one moment where there are at most 1,000.
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError>;
    /// The entries of a range, in key order or backwards.
    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError>;
    /// All or nothing. Durable when it returns, unless the batch is lazy.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError>;
    /// Waits until `key` may have changed: a hint, which may come early, and must be followed by a read.
    async fn watch(&self, key: &Key) -> Result<(), StoreError>;
}
