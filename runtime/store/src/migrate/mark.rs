//! The store that a part is moved into, with the mark that says so and how far the move is.
//!
//! Every batch that is written there asserts the mark as it is and writes another. So a batch of which nobody knew
//! whether it happened cannot come late and bring back what a newer one has changed, and of two processes that would
//! fill the same store the first one stops.

use super::{Amount, Part, TRIES};
use crate::blob::chance;
use crate::error::{Cause, CommitError, StoreError};
use crate::kv::{Batch, Key, KeyValue, Page};
use crate::row::{Packer, Unpacker};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The version of a mark's layout.
const LAYOUT: u8 = 2;

/// A store that is being filled.
pub struct Filling {
    /// The store.
    pub(super) to: Arc<dyn KeyValue>,
    pub(super) part: Part,
    source: String,
    /// Of this process, by chance.
    run: u64,
    mark: Mutex<Mark>,
}

struct Mark {
    /// The mark as it is stored.
    stored: Bytes,
    /// Of how many writes this is the last.
    number: u64,
    done: Amount,
    after: Option<Key>,
}

impl Filling {
    /// Begins to fill a store that holds nothing of this part, or goes on with what an earlier run began.
    ///
    /// # Errors
    /// The store's; [`StoreError::Misconfigured`] where it holds something else already.
    pub async fn begin(to: Arc<dyn KeyValue>, part: Part, source: &str) -> Result<Filling, StoreError> {
        let (key, run) = (key(part), chance()?);
        for _ in 0..TRIES {
            let stored = read(&*to, &key).await?;
            let (done, after, number) = match &stored {
                Some(value) => resumed(value, source)?,
                None => (Amount::default(), None, 0),
            };
            let next = pack(source, (run, number + 1), done, after.as_ref());
            let mut batch = Batch::new();
            if stored.is_none() {
                if !is_empty(&*to, part).await? {
                    let says = format!("the store to move to is not empty: it holds {} already", part.name());
                    return Err(StoreError::Misconfigured(Cause::new(says)));
                }
                for range in part.ranges() {
                    batch.assert_empty(range);
                }
            }
            batch.assert(key.clone(), stored).put(key.clone(), next.clone());
            let happened = match to.commit(batch).await {
                Ok(()) => true,
                Err(CommitError::Store(error)) => return Err(error),
                Err(CommitError::Conflict | CommitError::Unknown) => read(&*to, &key).await?.as_ref() == Some(&next),
            };
            if happened {
                let mark = Mutex::new(Mark { stored: next, number: number + 1, done, after });
                return Ok(Filling { to, part, source: source.to_owned(), run, mark });
            }
        }
        Err(another())
    }

    /// How far the first pass is: what it copied, and the last key.
    pub(super) async fn reached(&self) -> (Amount, Option<Key>) {
        let mark = self.mark.lock().await;
        (mark.done, mark.after.clone())
    }

    /// Writes into the store; once, though the answer may be lost.
    pub(super) async fn write(&self, batch: Batch, reached: Option<(Amount, Key)>) -> Result<(), StoreError> {
        let mut mark = self.mark.lock().await;
        if let Some((done, after)) = reached {
            (mark.done, mark.after) = (done, Some(after));
        }
        mark.number += 1;
        let next = pack(&self.source, (self.run, mark.number), mark.done, mark.after.as_ref());
        self.settle(&mut mark, batch, Some(next)).await
    }

    /// Ends the move of the part: what it lies in may be used. Durable when it returns, with everything written before.
    ///
    /// # Errors
    /// As when writing; [`StoreError::Misconfigured`] where another process has taken the move over.
    pub async fn finish(&self) -> Result<(), StoreError> {
        let mut mark = self.mark.lock().await;
        self.settle(&mut mark, Batch::new(), None).await
    }

    async fn settle(&self, mark: &mut Mark, mut batch: Batch, next: Option<Bytes>) -> Result<(), StoreError> {
        let key = key(self.part);
        batch.assert(key.clone(), Some(mark.stored.clone()));
        match &next {
            Some(next) => batch.put(key.clone(), next.clone()),
            None => batch.remove(key.clone()),
        };
        for _ in 0..TRIES {
            let happened = match self.to.commit(batch.clone()).await {
                Ok(()) => true,
                Err(CommitError::Store(error)) => return Err(error),
                Err(CommitError::Conflict | CommitError::Unknown) => {
                    let stored = read(&*self.to, &key).await?;
                    if stored != next && stored.as_ref() != Some(&mark.stored) {
                        return Err(another());
                    }
                    stored == next
                }
            };
            if happened {
                mark.stored = next.unwrap_or_default();
                return Ok(());
            }
        }
        Err(StoreError::Unavailable(Cause::new("the store that is moved to does not say what it wrote")))
    }
}

/// Whether a move of this part into a store was begun and not ended.
///
/// # Errors
/// The store's.
pub async fn is_begun(to: &dyn KeyValue, part: Part) -> Result<bool, StoreError> {
    Ok(read(to, &key(part)).await?.is_some())
}

/// Whether a store holds anything of a part.
///
/// # Errors
/// The store's.
pub async fn is_empty(store: &dyn KeyValue, part: Part) -> Result<bool, StoreError> {
    for range in part.ranges() {
        if !store.scan(range, Page::first(1)).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ends a move that a run which was killed had verified: what it lies in may be used.
///
/// # Errors
/// The store's.
pub async fn end(to: &dyn KeyValue, part: Part) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.remove(key(part));
    super::commit(to, batch).await
}

fn another() -> StoreError {
    StoreError::Misconfigured(Cause::new("another `waybilld migrate` has taken this move over"))
}

fn key(part: Part) -> Key {
    [b"Xm", part.name().as_bytes()].concat().into()
}

async fn read(store: &dyn KeyValue, key: &Key) -> Result<Option<Bytes>, StoreError> {
    Ok(store.get(std::slice::from_ref(key)).await?.pop().flatten())
}

fn pack(source: &str, (run, number): (u64, u64), done: Amount, after: Option<&Key>) -> Bytes {
    let after: String = after.map(|key| key.0.iter().map(|octet| format!("{octet:02x}")).collect()).unwrap_or_default();
    let mut mark = Packer::new(LAYOUT);
    mark.text(source).u64(run).u64(number).u64(done.items).u64(done.octets).text(&after).done().into()
}

/// How far an earlier run came.
fn resumed(value: &[u8], source: &str) -> Result<(Amount, Option<Key>, u64), StoreError> {
    let mut from = Unpacker::new(value, LAYOUT, "how far a move is")?;
    let begun = from.text()?.to_owned();
    if begun != source {
        let says = format!("a move from {begun} into this store is under way, not one from {source}");
        return Err(StoreError::Misconfigured(Cause::new(says)));
    }
    let (_, number) = (from.u64()?, from.u64()?);
    let (items, octets) = (from.u64()?, from.u64()?);
    let after = from.text()?;
    let digits: Option<Vec<u8>> = (0..after.len())
        .step_by(2)
        .map(|at| after.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    let after = digits.filter(|octets| !octets.is_empty()).map(Key::from);
    Ok((Amount { items, octets }, after, number))
}
