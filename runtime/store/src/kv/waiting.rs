//! Batches on their way to the one that writes, who takes what waits and has one sync serve all of it.

use super::Batch;
use crate::error::{Cause, CommitError, StoreError};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Octets of batches that wait or are being written, counted in whole KiB; further commits wait to be let in.
const WAITING_MOST: usize = 64 << 20;
/// Octets after which a group takes no further batch.
pub(super) const GROUP_MOST: usize = 16 << 20;

/// A batch, and who waits for its answer.
pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) octets: usize,
    answer: oneshot::Sender<Result<(), CommitError>>,
    _room: OwnedSemaphorePermit,
}

impl Waiting {
    pub(super) fn answer(self, outcome: Result<(), CommitError>) {
        // Nobody may be listening any more.
        let _ = self.answer.send(outcome);
    }
}

/// The way in.
pub(super) struct Entrance {
    room: Arc<Semaphore>,
}

impl Entrance {
    pub(super) fn new() -> Entrance {
        Entrance { room: Arc::new(Semaphore::new(WAITING_MOST >> 10)) }
    }

    /// Hands a batch to `queue`, which says whether anybody takes from it, and waits for the answer. Once it waits, a
    /// commit happens whether or not the caller still listens.
    pub(super) async fn commit(&self, batch: Batch, queue: impl FnOnce(Waiting) -> bool) -> Result<(), CommitError> {
        let gone = || StoreError::Unavailable(Cause::new("the store's committer is gone"));
        let octets = batch.measured()?;
        let kibs = u32::try_from((octets >> 10) + 1).map_err(|_| StoreError::Full)?;
        let _room = self.room.clone().acquire_many_owned(kibs).await.map_err(|_| gone())?;
        let (answer, answered) = oneshot::channel();
        if !queue(Waiting { batch, octets, answer, _room }) {
            return Err(gone().into());
        }
        answered.await.unwrap_or(Err(CommitError::Unknown))
    }
}
