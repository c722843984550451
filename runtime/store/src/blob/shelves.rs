//! Where blobs lie: beside the entries that refer to them, in the data store, or in a store of their own.
//!
//! Two may hold the same blob, and no entry says which does: who reads asks the data store first, which costs one key
//! beside those that a message is read by anyway, then the other. So the size up to which blobs lie in the data store
//! may change at any time, and a blob that cannot be put into the other store just now (see [`crate::mailbox`]) is put
//! beside the data.

use super::kv::KvBlobs;
use super::packed::{self, Packing};
use super::{BlobId, Blobs};
use crate::error::StoreError;
use crate::kv::{Batch, KeyValue};
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

/// How long a blob is kept that nothing refers to, in seconds, where nothing else is said.
const GRACE: i64 = 3600;

/// The data store's own blobs and, where another store is configured for blobs, those in that.
pub struct Shelf {
    /// In the data store.
    pub(crate) near: KvBlobs,
    /// In another.
    pub(crate) far: Option<Arc<dyn Blobs>>,
    /// With another, the largest blob that lies in the data store all the same, in octets.
    inline: u64,
    /// How long a blob is kept that nothing refers to, in seconds.
    pub(crate) grace: i64,
}

impl Shelf {
    /// Blobs lie in `near`, which is in the data store; or, over `inline` octets, in `far` where there is one. What
    /// nothing refers to is kept for `grace` seconds.
    pub fn new(near: KvBlobs, far: Option<Arc<dyn Blobs>>, (inline, grace): (u64, i64)) -> Shelf {
        Shelf { near, far, inline, grace }
    }

    /// The other store, if a blob of this size belongs there.
    pub(crate) fn apart(&self, size: usize) -> Option<&Arc<dyn Blobs>> {
        self.far.as_ref().filter(|_| self.inline == 0 || size as u64 > self.inline)
    }
}

/// Where blobs lie now; may be told otherwise while it is in use, but for another store that had some.
pub struct Shelves(RwLock<Arc<Shelf>>);

impl Shelves {
    /// Every blob lies in `data`, as it is.
    pub fn beside(data: Arc<dyn KeyValue>) -> Shelves {
        Shelves::new(Shelf::new(KvBlobs::new(data, Packing::default()), None, (0, GRACE)))
    }

    /// Begins with these.
    pub fn new(first: Shelf) -> Shelves {
        Shelves(RwLock::new(Arc::new(first)))
    }

    /// Where blobs lie now. Hold it for one piece of work.
    pub(crate) fn now(&self) -> Arc<Shelf> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where they lie from now on. What was written before has to be found there too.
    pub fn swap(&self, next: Shelf) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    /// Adds a blob to a batch of the data store, if it belongs there and is small enough.
    pub(crate) async fn put_within(&self, octets: &Bytes, batch: &mut Batch) -> Result<Option<BlobId>, StoreError> {
        let shelf = self.now();
        match shelf.apart(octets.len()) {
            Some(_) => Ok(None),
            None => shelf.near.put_within(octets, batch).await,
        }
    }
}

#[async_trait]
impl Blobs for Shelves {
    async fn put(&self, octets: Bytes) -> Result<BlobId, StoreError> {
        let shelf = self.now();
        match shelf.apart(octets.len()) {
            // Not twice, where it was written before the size changed.
            Some(far) => {
                let id = packed::name(octets.clone()).await?;
                match shelf.near.size(id).await {
                    Ok(Some(_)) => Ok(id),
                    Ok(None) => far.put(octets).await,
                    // It is looked for there first, so that it has to be mended there.
                    Err(StoreError::Corrupt { .. }) => shelf.near.put(octets).await,
                    Err(error) => Err(error),
                }
            }
            None => shelf.near.put(octets).await,
        }
    }

    async fn get(&self, id: BlobId, part: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let shelf = self.now();
        match (shelf.near.get(id, part.clone()).await?, &shelf.far) {
            (None, Some(far)) => far.get(id, part).await,
            (found, _) => Ok(found),
        }
    }

    async fn size(&self, id: BlobId) -> Result<Option<u64>, StoreError> {
        let shelf = self.now();
        match (shelf.near.size(id).await?, &shelf.far) {
            (None, Some(far)) => far.size(id).await,
            (found, _) => Ok(found),
        }
    }

    async fn remove(&self, id: BlobId) -> Result<(), StoreError> {
        let shelf = self.now();
        shelf.near.remove(id).await?;
        match &shelf.far {
            Some(far) => far.remove(id).await,
            None => Ok(()),
        }
    }

    async fn list(&self, after: Option<BlobId>, most: usize) -> Result<Vec<BlobId>, StoreError> {
        let shelf = self.now();
        let mut ids = shelf.near.list(after, most).await?;
        if let Some(far) = &shelf.far {
            ids.extend(far.list(after, most).await?);
            ids.sort_unstable();
            ids.dedup();
            ids.truncate(most);
        }
        Ok(ids)
    }
}
