//! The blob store: messages and other large objects, named by their content.

use crate::error::{Cause, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;
use std::ops::Range;

pub mod filesystem;
pub mod kv;
pub mod packed;
pub mod s3;
pub mod shelves;
#[cfg(test)]
mod tests;

/// The largest blob, in octets.
pub const BLOB_MOST: u64 = 256 << 20;
/// The largest blob that [`kv::KvBlobs::put_within`] adds to a batch, in octets.
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

    /// A name as it is printed: 64 hexadecimal digits in lower case.
    pub(crate) fn read(text: &str) -> Option<BlobId> {
        let digits = text.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
        let mut id = [0; 32];
        for (octet, at) in id.iter_mut().zip((0..64).step_by(2)) {
            *octet = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        (digits && text.len() == 64).then_some(BlobId(id))
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

/// Large objects, named by content: putting twice is free. What is read is what was put, or [`StoreError::Corrupt`].
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
}

/// Eight random octets, to tell two that do the same apart.
pub(crate) fn chance() -> Result<u64, StoreError> {
    let mut chance = [0; 8];
    let failed = |_| StoreError::Unavailable(Cause::new("the system gives no random octets"));
    aws_lc_rs::rand::fill(&mut chance).map_err(failed)?;
    Ok(u64::from_be_bytes(chance))
}
