//! Blobs in a key-value database, a key for each frame.
//!
//! | key | value |
//! |---|---|
//! | `Bh` id | the head: attempt (u64), the table of [`super::packed`] |
//! | `Bc` id index (u32) | a frame of a blob that was written by one batch, which is attempt 0 |
//! | `Bc` id attempt (u64) index (u32) | a frame of a larger one |
//! | `Bh` id attempt (u64) | the blob's size (u64): this attempt is under way |
//!
//! Numbers are big-endian. How many frames a blob has follows from its size alone, so that a batch that writes it anew
//! replaces every frame, however they are packed. A larger blob takes several batches, each attempt under keys of its
//! own, so that those who put the same blob at once never mix their frames; whoever is first writes the head. An
//! attempt that was cut short leaves its key, by which it is found and removed.

use super::packed::{self, FRAME, Packing, Table, corrupt};
use super::{BLOB_MOST, BlobId, Blobs, WITHIN_MOST};
use crate::error::{Cause, CommitError, StoreError};
use crate::kv::{Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page};
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// Frames written in one batch, or read at once: 4 MiB.
const FRAMES_AT_ONCE: usize = 64;
/// How often a blob is written or read when others put or remove the same.
const TRIES: usize = 4;

/// Blobs in `data`.
pub struct KvBlobs {
    data: Arc<dyn KeyValue>,
    packing: Packing,
}

/// What is known of a blob.
#[derive(Clone, PartialEq, Eq)]
struct Head {
    attempt: u64,
    table: Table,
}

impl KvBlobs {
    /// Keeps blobs beside whatever else `data` holds, under keys that begin with `B`.
    pub fn new(data: Arc<dyn KeyValue>, packing: Packing) -> KvBlobs {
        KvBlobs { data, packing }
    }

    /// Adds a small blob to a batch of this database, so that it is stored with the entry that refers to it: one
    /// commit, one sync, and no moment at which a collector could see the one without the other. `None`, and the batch
    /// untouched, where the blob is over [`WITHIN_MOST`]: then [`Blobs::put`] comes before the commit.
    ///
    /// # Errors
    /// Where the blob cannot be packed.
    pub async fn put_within(&self, octets: &Bytes, batch: &mut Batch) -> Result<Option<BlobId>, StoreError> {
        if octets.len() > WITHIN_MOST {
            return Ok(None);
        }
        let id = packed::name(octets.clone()).await?;
        self.write_at_once(id, octets.clone(), batch).await?;
        Ok(Some(id))
    }

    /// Adds a blob's removal to a batch of this database, with all that attempts to put it have left. The batch
    /// asserts that the blob is as it was found.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_within(&self, id: BlobId, batch: &mut Batch) -> Result<(), StoreError> {
        let heads = KeyRange::prefix(&head_key(id).0);
        let found = self.data.scan(heads, Page::first(PAGE_MOST)).await?;
        if found.first().is_none_or(|(key, _)| *key != head_key(id)) {
            batch.assert(head_key(id), None);
        }
        for (key, value) in found {
            let known = match key.0.get(head_key(id).0.len()..).map(<[u8; 8]>::try_from) {
                Some(Ok(attempt)) => <[u8; 8]>::try_from(value.as_ref())
                    .ok()
                    .map(|size| (u64::from_be_bytes(attempt), u64::from_be_bytes(size))),
                _ => self.read_head(id, &value).ok().map(|head| (head.attempt, head.table.size)),
            };
            match known {
                // By name, not as a range: clearing a range may read the values in it.
                Some((attempt, size)) => (0..packed::count(size.min(BLOB_MOST))).for_each(|index| {
                    batch.remove(frame_key(id, attempt, index));
                }),
                None => {
                    batch.clear(KeyRange::prefix(&[&b"Bc"[..], &id.0].concat()));
                }
            }
            batch.assert(key.clone(), Some(value)).remove(key);
        }
        Ok(())
    }

    async fn write_at_once(&self, id: BlobId, octets: Bytes, batch: &mut Batch) -> Result<(), StoreError> {
        // Written anew even where it exists: the same keys, and no read before the commit.
        let (packer, frames) = self.packing.pack(id, octets)?.frames(FRAMES_AT_ONCE).await?;
        for (index, frame) in (0..).zip(frames) {
            batch.put(frame_key(id, 0, index), frame);
        }
        batch.put(head_key(id), [&0_u64.to_be_bytes()[..], &packer.table()].concat());
        Ok(())
    }

    /// Writes a blob that is not there by several batches.
    async fn write(&self, id: BlobId, octets: Bytes, attempt: u64) -> Result<(), CommitError> {
        let size = Bytes::from((octets.len() as u64).to_be_bytes().to_vec());
        let frames_all = packed::count(octets.len() as u64);
        let mut packer = self.packing.pack(id, octets)?;
        let mut next = 0;
        while next < frames_all {
            let (further, frames) = packer.frames(FRAMES_AT_ONCE).await?;
            packer = further;
            let mut batch = Batch::new();
            match next {
                0 => batch.put(attempt_key(id, attempt), size.clone()),
                // Else a removal in between would leave a head over missing frames.
                _ => batch.assert(attempt_key(id, attempt), Some(size.clone())),
            };
            for frame in frames {
                batch.put(frame_key(id, attempt, next), frame);
                next += 1;
            }
            // A lazy commit is durable once a later one is: here, the last.
            batch.lazy = next < frames_all;
            if !batch.lazy {
                batch.assert(head_key(id), None).remove(attempt_key(id, attempt));
                batch.put(head_key(id), [&attempt.to_be_bytes()[..], &packer.table()].concat());
            }
            self.data.commit(batch).await?;
        }
        Ok(())
    }

    /// Removes what an attempt has left that another was faster than.
    async fn undo(&self, id: BlobId, attempt: u64, size: u64) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.lazy = true;
        (0..packed::count(size)).for_each(|index| {
            batch.remove(frame_key(id, attempt, index));
        });
        batch.remove(attempt_key(id, attempt));
        self.data.commit(batch).await.map_err(committed)
    }

    fn read_head(&self, id: BlobId, value: &[u8]) -> Result<Head, StoreError> {
        let (attempt, tail) = value.split_first_chunk().ok_or_else(|| corrupt(id, "its head is cut short"))?;
        Ok(Head { attempt: u64::from_be_bytes(*attempt), table: self.packing.table(id, tail)? })
    }

    /// The head and, where the caller expects to need it, the first frame of a small blob.
    async fn head(&self, id: BlobId, first: bool) -> Result<Option<(Head, Option<Bytes>)>, StoreError> {
        let keys = [head_key(id), frame_key(id, 0, 0)];
        let mut found = self.data.get(&keys[..1 + usize::from(first)]).await?.into_iter();
        let head = found.next().flatten().map(|value| self.read_head(id, &value)).transpose()?;
        Ok(head.map(|head| (head, found.next().flatten())))
    }

    /// A part of a blob whose head was read.
    async fn part(
        &self,
        id: BlobId,
        (head, first): (&Head, Option<Bytes>),
        part: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let wanted = head.table.frames_of(&part);
        let stored = match first {
            // The common message is one frame, which came with the head.
            Some(first) if wanted == (0..1) && head.attempt == 0 => vec![first],
            _ => {
                let keys: Vec<Key> = wanted.map(|index| frame_key(id, head.attempt, index)).collect();
                let mut stored = Vec::with_capacity(keys.len());
                for keys in keys.chunks(FRAMES_AT_ONCE) {
                    stored.extend(self.data.get(keys).await?.into_iter().flatten());
                }
                stored
            }
        };
        self.packing.unpack((id, &head.table), stored, part).await
    }
}

#[async_trait]
impl Blobs for KvBlobs {
    async fn put(&self, octets: Bytes) -> Result<BlobId, StoreError> {
        if octets.len() as u64 > BLOB_MOST {
            return Err(StoreError::Full);
        }
        let id = packed::name(octets.clone()).await?;
        for _ in 0..TRIES {
            match self.head(id, false).await {
                Ok(Some(_)) => return Ok(id),
                Ok(None) => {}
                // Written anew: here are the right octets.
                Err(StoreError::Corrupt { .. }) => self.remove(id).await?,
                Err(error) => return Err(error),
            }
            if octets.len() <= FRAMES_AT_ONCE * FRAME {
                let mut batch = Batch::new();
                self.write_at_once(id, octets, &mut batch).await?;
                return self.data.commit(batch).await.map(|()| id).map_err(committed);
            }
            let attempt = super::chance()?.max(1);
            match self.write(id, octets.clone(), attempt).await {
                Ok(()) => return Ok(id),
                // Somebody put or removed the same octets meanwhile.
                Err(CommitError::Conflict) => self.undo(id, attempt, octets.len() as u64).await?,
                Err(error) => return Err(committed(error)),
            }
        }
        Err(StoreError::Unavailable(Cause::new("others keep putting and removing the same blob")))
    }

    async fn get(&self, id: BlobId, part: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let mut tries = 0;
        loop {
            let Some((head, first)) = self.head(id, part.start < FRAME as u64).await? else { return Ok(None) };
            tries += 1;
            match self.part(id, (&head, first), part.clone()).await {
                // Removed, or put anew, since the head was read?
                Err(StoreError::Corrupt { .. })
                    if tries < TRIES && self.head(id, false).await?.is_none_or(|(now, _)| now != head) => {}
                got => return got.map(Some),
            }
        }
    }

    async fn size(&self, id: BlobId) -> Result<Option<u64>, StoreError> {
        Ok(self.head(id, false).await?.map(|(head, _)| head.table.size))
    }

    async fn remove(&self, id: BlobId) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let mut batch = Batch::new();
            self.remove_within(id, &mut batch).await?;
            match self.data.commit(batch).await {
                Err(CommitError::Conflict) => {}
                done => return done.map_err(committed),
            }
        }
        Err(StoreError::Unavailable(Cause::new("others keep putting and removing the same blob")))
    }

    async fn list(&self, after: Option<BlobId>, most: usize) -> Result<Vec<BlobId>, StoreError> {
        let mut heads = KeyRange::prefix(b"Bh");
        if let Some(after) = after {
            heads.from = KeyRange::prefix(&head_key(after).0).to;
        }
        let mut ids: Vec<BlobId> = Vec::new();
        loop {
            let page = self.data.scan(heads.clone(), Page::first(most.min(PAGE_MOST))).await?;
            let Some((last, _)) = page.last() else { return Ok(ids) };
            heads.from = [&last.0, &[0][..]].concat().into();
            for (key, _) in &page {
                let id = key.0.get(2..34).and_then(|id| id.try_into().ok()).map(BlobId);
                let id = id.ok_or_else(|| StoreError::Corrupt { what: format!("blob head {key:?}") })?;
                if ids.last() != Some(&id) {
                    ids.push(id);
                }
                if ids.len() == most {
                    return Ok(ids);
                }
            }
        }
    }
}

fn head_key(id: BlobId) -> Key {
    [&b"Bh"[..], &id.0].concat().into()
}

fn attempt_key(id: BlobId, attempt: u64) -> Key {
    [&b"Bh"[..], &id.0, &attempt.to_be_bytes()].concat().into()
}

fn frame_key(id: BlobId, attempt: u64, index: u64) -> Key {
    // BLOB_MOST keeps the index within 32 bits.
    let index = (index as u32).to_be_bytes();
    match attempt {
        0 => [&b"Bc"[..], &id.0, &index].concat().into(),
        _ => [&b"Bc"[..], &id.0, &attempt.to_be_bytes(), &index].concat().into(),
    }
}

/// Putting or removing a blob again is harmless.
fn committed(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        other => StoreError::Unavailable(Cause::new(other)),
    }
}
