//! The blob store: messages and other large objects, named by their content.

use crate::error::StoreError;
use crate::kv::{Batch, KeyValue};
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub mod kv;

/// The largest blob, in octets.
pub const BLOB_MOST: u64 = 256 << 20;
/// The largest blob that [`Blobs::put_within`] adds to a batch, in octets.
pub const WITHIN_MOST: usize = 256 << 10;

/// A blob's name: the SHA-256 of its octets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId(pub [u8; 32]);

impl BlobId {
    /// The name of these octets. Takes about a millisecond a MiB: not for a tokio worker where they are many.
    pub fn of(octets: &[u8]) -> BlobId {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
        let mut id = [0; 32];
        // A SHA-256 digest has 32 octets.
        id.copy_from_slice(digest.as_ref());
        BlobId(id)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Large objects, named by content: putting twice is free.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Stores a blob; durable when it returns. [`StoreError::Full`] above [`BLOB_MOST`].
    async fn put(&self, octets: Bytes) -> Result<BlobId, StoreError>;
    /// A part of a blob, cut at its end; `None` if there is no such blob. Ask for at most a few MiB at a time.
    async fn get(&self, id: BlobId, part: Range<u64>) -> Result<Option<Bytes>, StoreError>;
    /// A blob's size in octets.
    async fn size(&self, id: BlobId) -> Result<Option<u64>, StoreError>;
    /// Removes a blob, which need not exist.
    async fn remove(&self, id: BlobId) -> Result<(), StoreError>;
    /// Blob names from `after` (excluded) on, in order; for collection and `fsck`. Also names what a `put` that
    /// never finished left behind, which is no blob yet but takes room until it is removed.
    async fn list(&self, after: Option<BlobId>, most: usize) -> Result<Vec<BlobId>, StoreError>;

    /// Adds a small blob to a batch of `data`, so that it is stored with the entry that refers to it: one commit,
    /// one sync, and no moment at which a collector could see the one without the other.
    ///
    /// `None`, and the batch untouched, where the blob is over [`WITHIN_MOST`] or this store does not lie in
    /// `data`: then [`Blobs::put`] comes before the commit.
    fn put_within(&self, octets: &Bytes, data: &Arc<dyn KeyValue>, batch: &mut Batch) -> Option<BlobId> {
        let (_, _, _) = (octets, data, batch);
        None
    }

    /// Adds a blob's removal to a batch of `data`, which asserts that nothing refers to it. `false`, and the batch
    /// untouched, where this store does not lie in `data`: then [`Blobs::remove`] comes after the commit, and only
    /// a grace period keeps a `put` of the same octets apart from it.
    async fn remove_within(&self, id: BlobId, data: &Arc<dyn KeyValue>, batch: &mut Batch) -> Result<bool, StoreError> {
        let (_, _, _) = (id, data, batch);
        Ok(false)
    }
}
