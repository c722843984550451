//! The blob store: messages and other large objects, named by their content.

use crate::error::StoreError;
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;
use std::ops::Range;

pub mod kv;

/// A blob's name: the SHA-256 of its octets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId(pub [u8; 32]);

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
    /// Stores a blob; durable when it returns.
    async fn put(&self, octets: Bytes) -> Result<BlobId, StoreError>;
    /// A part of a blob, cut at its end; `None` if there is no such blob. Ask for at most a few MiB at a time.
    async fn get(&self, id: BlobId, part: Range<u64>) -> Result<Option<Bytes>, StoreError>;
    /// A blob's size in octets.
    async fn size(&self, id: BlobId) -> Result<Option<u64>, StoreError>;
    /// Removes a blob, which need not exist.
    async fn remove(&self, id: BlobId) -> Result<(), StoreError>;
    /// Blob names from `after` (excluded) on, in order; for collection and `fsck`.
    async fn list(&self, after: Option<BlobId>, most: usize) -> Result<Vec<BlobId>, StoreError>;
}
