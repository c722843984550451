//! Errors named by what the caller may do next.

use std::sync::Arc;

/// What lies behind an error, for the log. Never holds a secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(Arc<str>);

impl Cause {
    /// A cause in words.
    pub fn new(what: impl std::fmt::Display) -> Cause {
        Cause(what.to_string().into())
    }
}

/// Why a store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Try again later.
    #[error("the store cannot be reached: {0}")]
    Unavailable(Cause),
    /// Make room, then try again.
    #[error("the store is full")]
    Full,
    /// Somebody has to look: what was read cannot be what was written.
    #[error("the store holds something unreadable: {what}")]
    Corrupt {
        /// Which entry.
        what: String,
    },
    /// Somebody has to mend the configuration.
    #[error("the store is set up wrongly: {0}")]
    Misconfigured(Cause),
}

/// Why a commit did not happen, or may not have.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// An assertion did not hold: read again, try again.
    #[error("somebody else changed the same entries")]
    Conflict,
    /// The connection went while committing: read before trying again. [`Surely`](crate::kv::surely::Surely) does so for
    /// a store that can read again; where this comes all the same, the store stays away.
    #[error("it is not known whether the commit happened")]
    Unknown,
    /// It did not happen.
    #[error(transparent)]
    Store(#[from] StoreError),
}
