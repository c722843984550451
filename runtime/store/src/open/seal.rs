//! Which key messages are encrypted with: noted in the data store, so that nobody goes on with another one by mistake and
//! ends up with messages under two keys, of which a configuration can name one.
//!
//! | key | value |
//! |---|---|
//! | `Xk` | a print of the key, from which it cannot be told |

use crate::blob::packed::Packing;
use crate::error::{Cause, CommitError, StoreError};
use crate::kv::{Batch, Key, KeyValue};

/// How often a note that others write at the same moment is looked at.
const TRIES: usize = 8;

/// Where the key's print is.
pub(crate) fn note() -> Key {
    b"Xk".to_vec().into()
}

/// Whether messages have the key of `packing`; notes it where none is noted, unless all is only read. Without a key nothing
/// is noted, nor refused: what was encrypted can be read again once the key is back.
///
/// # Errors
/// [`StoreError::Misconfigured`] where those that are there have another key; the store's.
pub(super) async fn check(data: &dyn KeyValue, packing: &Packing, read: bool) -> Result<(), StoreError> {
    let Some(print) = packing.print() else { return Ok(()) };
    for _ in 0..TRIES {
        match data.get(&[note()]).await?.pop().flatten() {
            Some(noted) if noted == print => return Ok(()),
            Some(_) => return Err(StoreError::Misconfigured(Cause::new(ANOTHER))),
            None if read => return Ok(()),
            None => {}
        }
        let mut batch = Batch::new();
        batch.assert(note(), None).put(note(), print.clone());
        match data.commit(batch).await {
            Ok(()) => return Ok(()),
            Err(CommitError::Store(error)) => return Err(error),
            // Another server's, or ours after all.
            Err(CommitError::Conflict | CommitError::Unknown) => {}
        }
    }
    Err(StoreError::Unavailable(Cause::new("it is not known whether a note in the store was written")))
}

const ANOTHER: &str = "the messages that are there are encrypted with another key than the one of `encrypt`: put that one \
    back; `waybilld migrate` moves data and messages to stores with another key; where it is lost, `waybilld migrate \
    --reopen` lets new messages have another, and the old ones stay unreadable";
