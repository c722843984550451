//! Keeping blobs as long as something refers to them.
//!
//! A small blob is written by the batch that refers to it. A large one is written before it, under a pin; what
//! never gets a reference, or loses its last, is noted as loose and collected after a while, by a batch that
//! asserts that neither reference nor pin has come meanwhile.

use super::Mailboxes;
use crate::blob::{BlobId, WITHIN_MOST};
use crate::error::{Cause, CommitError, StoreError};
use crate::keys;
use crate::kv::{Batch, Page};
use bytes::Bytes;

/// How long a pin holds, in seconds: longer than any upload and its commit.
const PIN: i64 = 3600;
/// How long a blob stays although nothing refers to it, in seconds.
const GRACE: i64 = 600;
/// Blobs collected in one go.
const COLLECT_MOST: usize = 10_000;

impl Mailboxes {
    /// Sees to it that these octets are stored when `batch` is committed.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn keep(&self, octets: &Bytes, batch: &mut Batch, now: i64) -> Result<BlobId, StoreError> {
        if octets.len() <= WITHIN_MOST
            && let Some(id) = self.blobs.put_within(octets, &self.data, batch)
        {
            return Ok(id);
        }
        let named = octets.clone();
        let id = tokio::task::spawn_blocking(move || BlobId::of(&named))
            .await
            .map_err(|gone| StoreError::Unavailable(Cause::new(gone)))?;
        let mut pin = Batch::new();
        pin.put(keys::pin(id), (now + PIN).to_be_bytes().to_vec()).put(keys::loose(now, id), Bytes::new());
        self.data.commit(pin).await.map_err(plain)?;
        self.blobs.put(octets.clone()).await
    }

    /// Removes blobs that nothing has referred to for a while. Returns how many.
    ///
    /// # Errors
    /// The store's; what was done is done.
    pub async fn collect(&self, now: i64) -> Result<u64, StoreError> {
        let loose = self.data.scan(keys::all_loose(now - GRACE), Page::first(COLLECT_MOST)).await?;
        let mut collected = 0;
        for (key, _) in loose {
            let Some(blob) = keys::read_loose(&key) else { continue };
            let mut batch = Batch::new();
            let pin = self.data.get(&[keys::pin(blob)]).await?.pop().flatten();
            let until = pin.as_deref().and_then(|value| value.try_into().ok()).map_or(0, i64::from_be_bytes);
            let held = !self.data.scan(keys::holders(blob), Page::first(1)).await?.is_empty();
            let mut apart = false;
            if until > now {
                // Looked at again when the pin has ended.
                batch.put(keys::loose(until, blob), Bytes::new());
            } else if !held {
                batch.assert_empty(keys::holders(blob)).assert(keys::pin(blob), pin).remove(keys::pin(blob));
                apart = !self.blobs.remove_within(blob, &self.data, &mut batch).await?;
                collected += 1;
            }
            batch.lazy = true;
            batch.remove(key);
            match self.data.commit(batch).await {
                Ok(()) if apart => self.blobs.remove(blob).await?,
                // Whoever refers to it now will note it when it no longer does.
                Ok(()) | Err(CommitError::Conflict) => {}
                Err(error) => return Err(plain(error)),
            }
        }
        Ok(collected)
    }
}

pub(crate) fn plain(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        other => StoreError::Unavailable(Cause::new(other)),
    }
}
