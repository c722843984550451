//! Keeping blobs as long as something refers to them.
//!
//! A small blob that belongs beside the data is written by the batch that refers to it. Any other is written before it,
//! under a pin. What never gets a reference, or loses its last, is noted as loose and collected after a while.
//!
//! # Why nothing that is referred to is removed
//! Whoever puts a blob under a pin refers to it by a batch that asserts that its pin is still there, and takes it
//! away. The collector's batch asserts that there is no reference and no pin, and takes the blob out of the data store
//! by the same batch. Of the two, the later one fails, whatever clocks say: the collector leaves the blob alone, or the
//! other puts it again.
//!
//! A store apart has no part in batches, so that the collector removes the blob there *after* its batch, and someone
//! might put it again in between. Therefore that batch also notes the blob as doomed. Pins assert that their blob is
//! not doomed; while it is, it is put beside the data, where [`Shelves`](crate::blob::shelves) looks first. Only who
//! doomed a blob removes it, and takes the note away once that has succeeded. Where that process died, or the store
//! was away, another takes the note over [`DOOMED`] seconds later, by a batch that asserts what it read. So the one
//! thing that is relied on is that a removal does not take effect so long after its note: its requests are given up
//! after [`REMOVAL`].

use super::Mailboxes;
use crate::blob::packed;
use crate::blob::{BlobId, Blobs, chance};
use crate::error::{Cause, CommitError, StoreError};
use crate::keys;
use crate::kv::{Batch, Key, PAGE_MOST, Page};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::time::Duration;
use tokio::time::timeout;

#[cfg(test)]
mod tests;

/// How long a pin holds, in seconds: longer than any upload and its commit.
const PIN: i64 = 3600;
/// How long a blob may take to be written under a pin; what takes longer fails and may be tried again.
const UPLOAD: Duration = Duration::from_secs(1800);
/// How often a pin is tried when its blob is doomed or spared meanwhile.
const TRIES: usize = 16;
/// Blobs collected in one go.
const COLLECT_MOST: usize = 10_000;
/// Blobs that are removed from a store apart at once.
const REMOVED_AT_ONCE: usize = 8;
/// How long the removal of a blob from a store apart may take.
const REMOVAL: Duration = Duration::from_secs(300);
/// How long a note that a blob is doomed is left to who wrote it, in seconds.
const DOOMED: i64 = 6 * 3600;

/// A note that a blob is doomed: the blob and the note's value.
type Doomed = (BlobId, Bytes);

impl Mailboxes {
    /// Sees to it that these octets are stored when `batch` is committed. Where that ends in a conflict, a new batch
    /// has to be begun with this.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn keep(&self, octets: &Bytes, batch: &mut Batch, now: i64) -> Result<BlobId, StoreError> {
        if let Some(id) = self.blobs.put_within(octets, batch).await? {
            return Ok(id);
        }
        let id = packed::name(octets.clone()).await?;
        let pin = keys::pin(id, chance()?);
        let until = Bytes::from((now + PIN).to_be_bytes().to_vec());
        for _ in 0..TRIES {
            let doomed = self.data.get(&[keys::doomed(id)]).await?.pop().flatten();
            let shelf = self.blobs.now();
            let mut pinned = Batch::new();
            pinned.put(pin.clone(), until.clone()).put(keys::loose(now, id), Bytes::new());
            let beside = match shelf.apart(octets.len()) {
                Some(_) if doomed.is_none() => {
                    pinned.assert(keys::doomed(id), None);
                    false
                }
                _ => true,
            };
            match self.data.commit(pinned).await {
                Ok(()) => {}
                Err(CommitError::Conflict) => continue,
                Err(error) => return Err(plain(error)),
            }
            let put = if beside { shelf.near.put(octets.clone()) } else { self.blobs.put(octets.clone()) };
            let slow = |_| StoreError::Unavailable(Cause::new(format!("the blob {id} took too long to be written")));
            timeout(UPLOAD, put).await.map_err(slow)??;
            batch.assert(pin.clone(), Some(until)).remove(pin);
            return Ok(id);
        }
        Err(StoreError::Unavailable(Cause::new("others keep putting and removing the same blob")))
    }

    /// Removes blobs that nothing has referred to for a while. Returns how many.
    ///
    /// # Errors
    /// The store's; what was done is done.
    pub async fn collect(&self, now: i64) -> Result<u64, StoreError> {
        let mut doomed = self.take_over(now).await?;
        let loose = self.data.scan(keys::all_loose(now - self.blobs.now().grace), Page::first(COLLECT_MOST)).await?;
        let mut collected = 0;
        for (key, _) in loose {
            collected += u64::from(self.collect_one(key, now, &mut doomed).await?);
            // Few enough that the last is removed long before its note is old.
            if doomed.len() >= 4 * REMOVED_AT_ONCE {
                self.remove_apart(std::mem::take(&mut doomed)).await?;
            }
        }
        self.remove_apart(doomed).await?;
        Ok(collected)
    }

    /// Looks at one loose blob; whether it was collected. What lies apart is noted in `doomed`.
    async fn collect_one(&self, key: Key, now: i64, doomed: &mut Vec<Doomed>) -> Result<bool, StoreError> {
        let Some(blob) = keys::read_blob(&key) else { return Ok(false) };
        let mut batch = Batch::new();
        batch.lazy = true;
        batch.remove(key);
        let held = !self.data.scan(keys::holders(blob), Page::first(1)).await?.is_empty();
        let mut note = None;
        if !held {
            if let Some(until) = self.pinned(blob, now).await? {
                // Looked at again when the pin has ended.
                batch.put(keys::loose(until, blob), Bytes::new());
                return self.commit_collected(batch).await.map(|_| false);
            }
            batch.assert_empty(keys::holders(blob)).assert_empty(keys::pins(blob));
            let shelf = self.blobs.now();
            shelf.near.remove_within(blob, &mut batch).await?;
            let other = self.data.get(&[keys::doomed(blob)]).await?.pop().flatten();
            // Where it is doomed already, nobody has put it apart since.
            if shelf.far.is_some() && other.is_none() {
                let value = Bytes::from([now.to_be_bytes(), chance()?.to_be_bytes()].concat());
                batch.assert(keys::doomed(blob), None).put(keys::doomed(blob), value.clone());
                note = Some((blob, value));
            }
        }
        let done = self.commit_collected(batch).await?;
        doomed.extend(note.filter(|_| done));
        Ok(done && !held)
    }

    /// Whether it happened. Where not, whoever refers to the blob now will note it when it no longer does.
    async fn commit_collected(&self, batch: Batch) -> Result<bool, StoreError> {
        match self.data.commit(batch).await {
            Ok(()) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(error) => Err(plain(error)),
        }
    }

    /// Until when a blob is pinned; pins that have ended are taken away first, and whose they were has to begin anew.
    async fn pinned(&self, blob: BlobId, now: i64) -> Result<Option<i64>, StoreError> {
        let pins = self.data.scan(keys::pins(blob), Page::first(PAGE_MOST)).await?;
        let until = |value: &Bytes| value.as_ref().try_into().map_or(0, i64::from_be_bytes);
        if let Some(last) = pins.iter().map(|(_, value)| until(value)).max().filter(|last| *last > now) {
            return Ok(Some(last));
        }
        let mut ended = Batch::new();
        ended.lazy = true;
        pins.into_iter().for_each(|(key, _)| {
            ended.remove(key);
        });
        if !ended.writes.is_empty() {
            self.data.commit(ended).await.map_err(plain)?;
        }
        Ok(None)
    }

    /// Notes of doomed blobs that whoever wrote them has left; they are ours from now on.
    async fn take_over(&self, now: i64) -> Result<Vec<Doomed>, StoreError> {
        let mut ours = Vec::new();
        if self.blobs.now().far.is_none() {
            return Ok(ours);
        }
        for (key, value) in self.data.scan(keys::all_doomed(), Page::first(COLLECT_MOST)).await? {
            let since = value.first_chunk().map_or(0, |since| i64::from_be_bytes(*since));
            let Some(blob) = keys::read_blob(&key).filter(|_| since < now - DOOMED) else { continue };
            let mine = Bytes::from([now.to_be_bytes(), chance()?.to_be_bytes()].concat());
            let mut batch = Batch::new();
            batch.lazy = true;
            batch.assert(key.clone(), Some(value)).put(key, mine.clone());
            if self.commit_collected(batch).await? {
                ours.push((blob, mine));
            }
        }
        Ok(ours)
    }

    /// Removes blobs from the store apart, and the notes that they are doomed.
    async fn remove_apart(&self, doomed: Vec<Doomed>) -> Result<(), StoreError> {
        let shelf = self.blobs.now();
        let (Some(far), Some((last, value))) = (&shelf.far, doomed.last()) else { return Ok(()) };
        // The notes were lazy; with this, all of them are durable.
        let mut batch = Batch::new();
        batch.assert(keys::doomed(*last), Some(value.clone())).put(keys::doomed(*last), value.clone());
        self.data.commit(batch).await.map_err(plain)?;
        let mut outcome = Ok(());
        for some in doomed.chunks(REMOVED_AT_ONCE) {
            let remove = |(blob, value): &Doomed| {
                let (blob, value) = (*blob, value.clone());
                async move { (blob, value, timeout(REMOVAL, far.remove(blob)).await) }
            };
            let mut removals: FuturesUnordered<_> = some.iter().map(remove).collect();
            while let Some((blob, value, removed)) = removals.next().await {
                let slow =
                    |_| StoreError::Unavailable(Cause::new(format!("the removal of blob {blob} takes too long")));
                if let Err(error) = removed.map_err(slow).and_then(|removed| removed) {
                    outcome = Err(error);
                    continue;
                }
                let mut batch = Batch::new();
                batch.lazy = true;
                batch.assert(keys::doomed(blob), Some(value)).remove(keys::doomed(blob));
                self.commit_collected(batch).await?;
            }
        }
        outcome
    }
}

pub(crate) fn plain(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        other => StoreError::Unavailable(Cause::new(other)),
    }
}
