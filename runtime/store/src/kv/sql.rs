//! Keys in a table of a SQL database: PostgreSQL, MySQL or MariaDB, SQLite.
//!
//! One table holds every key space:
//!
//! | column | holds |
//! |---|---|
//! | `k` | the key: octets, in their own order whatever the database's collation is |
//! | `v` | the value |
//!
//! Keys that begin with 0 are the table's own: [`VERSION`], [`SERIAL`] and one [`WRITER`] for each process.
//!
//! # What is promised, and how
//! Each process has one [`committer`]: it takes the batches that wait and writes them as one transaction, so that one
//! sync of the database serves all of them. The transaction begins by locking the row of the serial number, which every
//! writer does: transactions come one after the other, whoever writes, and what a batch asserts is judged by what is
//! stored then. That is serializable by construction and needs no isolation level beyond "read committed".
//!
//! With its last statement a transaction says in the process's own row which group it was. Where the connection
//! goes while a commit is under way, the committer connects again and reads that row: it is known then whether it
//! happened, and [`CommitError::Unknown`](crate::error::CommitError::Unknown) is left for a database that stays away.

use super::watches::Watches;
use super::{Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page};
use crate::error::{CommitError, StoreError};
use crate::lookup::Clock;
use async_trait::async_trait;
use bytes::Bytes;
use committer::Committer;
use dialect::{Dialect, Failure, Place};
use sqlx::Pool;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

pub use connect::open;

mod committer;
pub(crate) mod connect;
pub mod dialect;
mod mysql;
mod postgresql;
mod sqlite;
mod statement;

/// The key of the table's version: [`LAYOUT`] as decimal digits.
const VERSION: &[u8] = b"\0v";
/// The version of the table's layout that this program writes.
const LAYOUT: &[u8] = b"1";
/// The key of the serial number (u64), which every transaction raises.
const SERIAL: &[u8] = b"\0s";
/// What the keys of processes that write begin with; 16 random octets follow. The value is the number (u64) of the
/// last group written, and when that was (i64, seconds since 1970).
const WRITER: &[u8] = b"\0w";
/// Keys asked for by one statement; they are of one moment.
const KEYS_AT_ONCE: usize = 1000;
/// How often other processes' changes are looked for while somebody watches.
const POLL: Duration = Duration::from_millis(250);

/// An open table.
pub struct Sql<D: Dialect> {
    pool: Pool<D>,
    place: Arc<Place>,
    committer: Committer,
    watches: Arc<Watches>,
}

impl<D: Dialect> Sql<D> {
    /// Connects, and makes the table where there is none. `clock` is for telling old writers from new.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] where waiting would not help, [`StoreError::Unavailable`] where it may.
    pub async fn open(options: D::Options, place: Place, clock: Clock) -> Result<Sql<D>, StoreError> {
        let place = Arc::new(place);
        let pool = D::pool(options, &place).map_err(|error| D::meaning(error).into_error(&place))?;
        let prepared = timeout(place.patience * 2, D::prepare(&pool, &place)).await;
        prepared.map_err(|_| place.late())??;
        let watches = Arc::new(Watches::new());
        let committer = Committer::start::<D>(pool.clone(), place.clone(), watches.clone(), clock)?;
        Ok(Sql { pool, place, committer, watches })
    }

    /// Asks, and again where a connection turns out to be gone: after a restart of the database that may be each that the
    /// pool keeps.
    async fn ask(&self, query: &dialect::Query) -> Result<Vec<(Key, Bytes)>, StoreError> {
        let asked = async {
            for _ in 0..self.place.most {
                match D::fetch(&self.pool, &self.place, query).await.map_err(D::meaning) {
                    Err(Failure::Lost(_) | Failure::Again(_)) => {}
                    asked => return asked,
                }
            }
            D::fetch(&self.pool, &self.place, query).await.map_err(D::meaning)
        };
        let asked = timeout(self.place.patience, asked).await.map_err(|_| self.place.late())?;
        asked.map_err(|failure| failure.into_error(&self.place))
    }
}

#[async_trait]
impl<D: Dialect> KeyValue for Sql<D> {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let query = dialect::Query::Entries(keys.to_vec());
            let found: HashMap<Key, Bytes> = self.ask(&query).await?.into_iter().collect();
            values.extend(keys.iter().map(|key| found.get(key).cloned()));
        }
        Ok(values)
    }

    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        let most = page.most.min(PAGE_MOST);
        if keys.from >= keys.to || most == 0 {
            return Ok(Vec::new());
        }
        self.ask(&dialect::Query::Range { range: keys, most, backwards: page.backwards, values: true }).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.committer.commit(batch).await
    }

    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        self.committer.watched();
        self.watches.wait(key).await;
        Ok(())
    }
}
