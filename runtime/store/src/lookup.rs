//! Counters, short-lived facts and leases: what may be asked often and forgotten soon.
//!
//! Counters and facts may be lost with the process or by eviction; a lease that was granted may not, where the
//! store outlives the process. What must exclude others beyond any doubt asserts a key of the data store instead.

use crate::error::StoreError;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

pub mod kv;
pub mod memory;
pub mod redis;

/// The longest name of a counter, fact or lease, in octets.
pub const NAME_MOST: usize = 512;
/// The largest value of a fact, in octets.
pub const FACT_MOST: usize = 16 << 10;

/// The time in milliseconds since 1970, from whoever may read a clock.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The right to do something alone, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What for.
    pub name: String,
    /// Higher than that of every earlier lease of this name, as long as the store remembers.
    pub number: u64,
    /// When it ends, in milliseconds since 1970.
    pub until: i64,
}

/// Counters, short-lived facts and leases.
#[async_trait]
pub trait Lookups: Send + Sync + 'static {
    /// Adds to a counter and returns its value. A counter begins at 0 and lives for `lives` from its first addition;
    /// later ones do not prolong it. Adding 0 only reads, and begins nothing.
    async fn add(&self, counter: &str, by: i64, lives: Duration) -> Result<i64, StoreError>;
    /// What is known under this name; then remembers `value` instead for `lives`, unless it is `None`.
    async fn note(&self, fact: &str, value: Option<Bytes>, lives: Duration) -> Result<Option<Bytes>, StoreError>;
    /// Takes a lease; `None` while somebody has it.
    async fn lease(&self, name: &str, lives: Duration) -> Result<Option<Lease>, StoreError>;
    /// Gives a lease back before its end. One that has ended already is nobody's loss.
    async fn release(&self, lease: Lease) -> Result<(), StoreError>;
}

/// When something that lives for `lives` from `now` on ends.
fn end(now: i64, lives: Duration) -> i64 {
    now.saturating_add(i64::try_from(lives.as_millis()).unwrap_or(i64::MAX))
}

fn fits(name: &str, value: Option<&Bytes>) -> Result<(), StoreError> {
    let fits = name.len() <= NAME_MOST && value.is_none_or(|value| value.len() <= FACT_MOST);
    fits.then_some(()).ok_or(StoreError::Full)
}
