//! Blobs in a key-value database, cut into chunks.
//!
//! | key | value |
//! |---|---|
//! | `Bh` id | the head: size (u64), 1 where every chunk is there |
//! | `Bc` id index (u32) | the chunk: [`CHUNK`] octets, or the rest |
//!
//! Numbers are big-endian. A head without its chunks comes first and is completed last, so that a `put` cut short
//! leaves nothing that cannot be found and removed.

use super::{BLOB_MOST, BlobId, Blobs, WITHIN_MOST};
use crate::error::{Cause, CommitError, StoreError};
use crate::kv::{Batch, Key, KeyRange, KeyValue, Page};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use std::sync::Arc;

/// Octets of a chunk; fits [`crate::kv::VALUE_MOST`].
pub const CHUNK: usize = 64 << 10;
/// Chunks written in one batch, or read at once: 4 MiB.
const CHUNKS_AT_ONCE: usize = 64;
/// How often a blob is written when others put or remove the same.
const TRIES: usize = 4;
/// From this size on, in octets, a blob is hashed on a blocking thread.
const HASH_ASIDE: usize = 256 << 10;

/// Blobs in `data`.
pub struct KvBlobs {
    data: Arc<dyn KeyValue>,
}

/// What is known of a blob.
#[derive(Clone, Copy)]
struct Head {
    size: u64,
    whole: bool,
}

impl KvBlobs {
    /// Keeps blobs beside whatever else `data` holds, under keys that begin with `B`.
    pub fn new(data: Arc<dyn KeyValue>) -> KvBlobs {
        KvBlobs { data }
    }

    /// The head and, where the caller expects to need it, the first chunk.
    async fn head(&self, id: BlobId, first: bool) -> Result<(Option<Head>, Option<Bytes>), StoreError> {
        let keys = [head_key(id), chunk_key(id, 0)];
        let mut found = self.data.get(&keys[..1 + usize::from(first)]).await?.into_iter();
        let head = found.next().flatten().map(|value| Head::read(id, &value)).transpose()?;
        Ok((head, found.next().flatten()))
    }

    /// Writes the chunks and the head of a blob that is not there.
    async fn write(&self, id: BlobId, octets: &Bytes) -> Result<(), CommitError> {
        let [begun, whole] = [false, true].map(|whole| Head { size: octets.len() as u64, whole }.write());
        let mut chunks = octets.chunks(CHUNK).enumerate().peekable();
        let mut first = true;
        loop {
            let mut batch = Batch::new();
            for (index, chunk) in chunks.by_ref().take(CHUNKS_AT_ONCE) {
                batch.put(chunk_key(id, index as u64), octets.slice_ref(chunk));
            }
            // A lazy commit is durable once a later one is: here, the last.
            batch.lazy = chunks.peek().is_some();
            match (first, batch.lazy) {
                (true, false) => batch.put(head_key(id), whole.clone()),
                (true, true) => batch.put(head_key(id), begun.clone()),
                // Else a removal in between would leave a whole head over missing chunks.
                (false, true) => batch.assert(head_key(id), Some(begun.clone())),
                (false, false) => batch.assert(head_key(id), Some(begun.clone())).put(head_key(id), whole.clone()),
            };
            if first && batch.lazy {
                // Nor may a blob that another just finished look unfinished again.
                let (head, _) = self.head(id, false).await?;
                batch.assert(head_key(id), head.filter(|head| !head.whole).map(Head::write));
            }
            let more = batch.lazy;
            self.data.commit(batch).await?;
            if !more {
                return Ok(());
            }
            first = false;
        }
    }

    /// Appends the chunks `indexes` to `octets`.
    async fn chunks(&self, id: BlobId, indexes: Range<u64>, octets: &mut BytesMut) -> Result<(), StoreError> {
        let keys: Vec<Key> = indexes.map(|index| chunk_key(id, index)).collect();
        for keys in keys.chunks(CHUNKS_AT_ONCE) {
            for chunk in self.data.get(keys).await? {
                octets.extend_from_slice(&chunk.ok_or_else(|| corrupt(id))?);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Blobs for KvBlobs {
    async fn put(&self, octets: Bytes) -> Result<BlobId, StoreError> {
        if octets.len() as u64 > BLOB_MOST {
            return Err(StoreError::Full);
        }
        let id = name(octets.clone()).await?;
        for _ in 0..TRIES {
            if let (Some(Head { whole: true, .. }), _) = self.head(id, false).await? {
                return Ok(id);
            }
            match self.write(id, &octets).await {
                Ok(()) => return Ok(id),
                // Somebody put or removed the same octets meanwhile.
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(committed(error)),
            }
        }
        Err(StoreError::Unavailable(Cause::new("others keep putting and removing the same blob")))
    }

    async fn get(&self, id: BlobId, part: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let chunk = CHUNK as u64;
        let (Some(head), first) = self.head(id, part.start < chunk).await? else { return Ok(None) };
        if !head.whole {
            return Ok(None);
        }
        let (start, end) = (part.start, part.end.min(head.size));
        if start >= end {
            return Ok(Some(Bytes::new()));
        }
        let offset = (start % chunk) as usize;
        let part = offset..offset + (end - start) as usize;
        let indexes = start / chunk..end.div_ceil(chunk);
        let mut octets = match first {
            // The common message is one chunk, and is handed on without a copy.
            Some(first) if indexes == (0..1) && first.len() >= part.end => return Ok(Some(first.slice(part))),
            _ => BytesMut::with_capacity((indexes.end - indexes.start) as usize * CHUNK),
        };
        self.chunks(id, indexes, &mut octets).await?;
        if octets.len() < part.end {
            return Err(corrupt(id));
        }
        Ok(Some(octets.freeze().slice(part)))
    }

    async fn size(&self, id: BlobId) -> Result<Option<u64>, StoreError> {
        let (head, _) = self.head(id, false).await?;
        Ok(head.filter(|head| head.whole).map(|head| head.size))
    }

    async fn remove(&self, id: BlobId) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        self.remove_within(id, &self.data, &mut batch).await?;
        self.data.commit(batch).await.map_err(committed)
    }

    async fn list(&self, after: Option<BlobId>, most: usize) -> Result<Vec<BlobId>, StoreError> {
        let mut heads = KeyRange::prefix(b"Bh");
        if let Some(after) = after {
            heads.from = [&head_key(after).0, &[0][..]].concat().into();
        }
        let found = self.data.scan(heads, Page::first(most)).await?;
        let id = |(key, _): (Key, Bytes)| {
            let id = key.0.get(2..).and_then(|id| id.try_into().ok()).map(BlobId);
            id.ok_or_else(|| StoreError::Corrupt { what: format!("blob head {key:?}") })
        };
        found.into_iter().map(id).collect()
    }

    fn put_within(&self, octets: &Bytes, data: &Arc<dyn KeyValue>, batch: &mut Batch) -> Option<BlobId> {
        if octets.len() > WITHIN_MOST || !Arc::ptr_eq(&self.data, data) {
            return None;
        }
        let id = BlobId::of(octets);
        // Written anew even where it exists: equal octets under equal keys, and no read before the commit.
        for (index, chunk) in octets.chunks(CHUNK).enumerate() {
            batch.put(chunk_key(id, index as u64), octets.slice_ref(chunk));
        }
        batch.put(head_key(id), Head { size: octets.len() as u64, whole: true }.write());
        Some(id)
    }

    async fn remove_within(&self, id: BlobId, data: &Arc<dyn KeyValue>, batch: &mut Batch) -> Result<bool, StoreError> {
        if !Arc::ptr_eq(&self.data, data) {
            return Ok(false);
        }
        if let (Some(head), _) = self.head(id, false).await? {
            // By name, not as a range: clearing a range may read the values in it.
            for index in 0..head.size.div_ceil(CHUNK as u64) {
                batch.remove(chunk_key(id, index));
            }
            batch.remove(head_key(id));
        }
        Ok(true)
    }
}

impl Head {
    fn read(id: BlobId, value: &[u8]) -> Result<Head, StoreError> {
        let (size, whole) = value.split_first_chunk().ok_or_else(|| corrupt(id))?;
        let size = u64::from_be_bytes(*size);
        if size > BLOB_MOST {
            return Err(corrupt(id));
        }
        Ok(Head { size, whole: whole == [1] })
    }

    fn write(self) -> Bytes {
        let mut value = self.size.to_be_bytes().to_vec();
        value.push(self.whole.into());
        value.into()
    }
}

fn head_key(id: BlobId) -> Key {
    [&b"Bh"[..], &id.0].concat().into()
}

fn chunk_key(id: BlobId, index: u64) -> Key {
    // BLOB_MOST keeps the index within 32 bits.
    [&b"Bc"[..], &id.0, &(index as u32).to_be_bytes()].concat().into()
}

async fn name(octets: Bytes) -> Result<BlobId, StoreError> {
    if octets.len() < HASH_ASIDE {
        return Ok(BlobId::of(&octets));
    }
    let hashed = tokio::task::spawn_blocking(move || BlobId::of(&octets)).await;
    hashed.map_err(|gone| StoreError::Unavailable(Cause::new(gone)))
}

fn corrupt(id: BlobId) -> StoreError {
    StoreError::Corrupt { what: format!("blob {id}") }
}

/// Batches without asserts have no conflict, and putting or removing a blob again is harmless.
fn committed(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        other => StoreError::Unavailable(Cause::new(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use crate::kv::strict::tests::databases;

    #[tokio::test]
    async fn blobs_in_a_database_keep_the_contract() {
        for data in databases().await {
            conformance::blobs(&KvBlobs::new(data.clone()), Some(&data)).await;
        }
    }
}
