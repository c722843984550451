//! A database that is reached in another way from some moment on, while it is in use.
//!
//! What it holds is the same before and after, so that nothing above has to know: what was begun ends where it began,
//! and what comes next goes the new way.

use super::{Batch, Key, KeyRange, KeyValue, Page};
use crate::error::{CommitError, StoreError};
use crate::open::Ground;
use crate::open::witness::Witness;
use async_trait::async_trait;
use bytes::Bytes;
use schema::config::Store;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Notify;

/// How a database is reached: its settings, and the secrets that it was opened with.
pub type Way = (Store, Witness);

/// An open database, and how it was opened.
pub struct Swap {
    now: RwLock<(Way, Arc<dyn KeyValue>)>,
    swapped: Notify,
}

impl Swap {
    /// Begins with a database that was opened this way.
    pub fn new(way: Way, first: Arc<dyn KeyValue>) -> Swap {
        Swap { now: RwLock::new((way, first)), swapped: Notify::new() }
    }

    /// Puts in its place the same database, opened another way.
    pub fn swap(&self, way: Way, next: Arc<dyn KeyValue>) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = (way, next);
        self.swapped.notify_waiters();
    }

    /// Whether it was opened by these settings, and their secrets are still the same.
    pub fn is_by(&self, settings: &Store, ground: &Ground) -> bool {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        let (known, witness) = &now.0;
        known == settings && witness.holds(ground)
    }

    fn now(&self) -> Arc<dyn KeyValue> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).1)
    }
}

#[async_trait]
impl KeyValue for Swap {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.now().get(keys).await
    }

    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        self.now().scan(keys, page).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.now().commit(batch).await
    }

    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        let now = self.now();
        tokio::select! {
            seen = now.watch(key) => seen,
            // Who writes from now on rings elsewhere.
            () = self.swapped.notified() => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conformance;
    use crate::kv::memory::Memory;
    use std::time::Duration;

    fn way(name: &str) -> Way {
        (Store::Memory { name: name.to_owned() }, Witness::default())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_database_that_may_be_swapped_keeps_the_key_value_contract() {
        conformance::suite(conformance::KEY_VALUE, Arc::new(Swap::new(way("a"), Arc::new(Memory::new())))).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_comes_next_goes_the_new_way_and_who_watches_looks_again() {
        let (old, new) = (Arc::new(Memory::new()), Arc::new(Memory::new()));
        let store = Arc::new(Swap::new(way("a"), old.clone()));
        let watching = {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut looks = 0;
                while store.get(&["key".into()]).await.unwrap() != [Some(Bytes::from_static(b"new"))] {
                    store.watch(&"key".into()).await.unwrap();
                    looks += 1;
                }
                looks
            })
        };
        let ground =
            Ground { root: "/".into(), clock: Arc::new(|| 0), reveal: Arc::new(|_: &_| Err("none".to_owned())) };
        store.swap(way("b"), new.clone());
        assert!(store.is_by(&way("b").0, &ground) && !store.is_by(&way("a").0, &ground));
        let mut batch = Batch::new();
        batch.put("key", &b"new"[..]);
        store.commit(batch).await.unwrap();
        tokio::time::timeout(Duration::from_secs(30), watching).await.unwrap().unwrap();
        assert_eq!(old.get(&["key".into()]).await.unwrap(), [None]);
        assert_eq!(new.get(&["key".into()]).await.unwrap(), [Some(Bytes::from_static(b"new"))]);
    }
}
