//! What differs between the databases: how they are reached, how a statement is written, what an error means.

use super::{KEYS_AT_ONCE, LAYOUT, VERSION};
use crate::error::{Cause, StoreError};
use crate::kv::{Key, KeyRange};
use async_trait::async_trait;
use bytes::Bytes;
use sqlx::pool::PoolOptions;
use sqlx::{Error, Pool, QueryBuilder};
use std::time::Duration;

/// Octets of values that one statement carries at most: below MySQL's smallest default of `max_allowed_packet`, 16 MiB.
pub(super) const STATEMENT_MOST: usize = 4 << 20;

/// Where a table is, and how long its database may take.
#[derive(Clone, Debug)]
pub struct Place {
    /// The database in words, without a password: `PostgreSQL at db.example.org`.
    pub name: String,
    /// The table. Its name has no character but letters, digits and `_`.
    pub table: String,
    /// How long a statement may take, and a lock be waited for.
    pub patience: Duration,
    /// Connections at most.
    pub most: u32,
    /// Connections kept though nothing needs them.
    pub least: u32,
    /// How long a connection is kept though nothing needs it.
    pub idle: Duration,
    /// How long a connection is used at most.
    pub lifetime: Duration,
}

impl Place {
    /// What a database that does not answer in time is reported as.
    pub(crate) fn late(&self) -> StoreError {
        let seconds = self.patience.as_secs();
        StoreError::Unavailable(Cause::new(format!("{} does not answer within {seconds} s", self.name)))
    }

    /// The limits of a pool, which the dialect connects.
    pub(crate) fn pool<D: sqlx::Database>(&self, options: PoolOptions<D>) -> PoolOptions<D> {
        options
            .max_connections(self.most)
            .min_connections(self.least.min(self.most))
            .acquire_timeout(self.patience)
            .idle_timeout(self.idle)
            .max_lifetime(self.lifetime)
            // A connection that is gone is found by its use: what was asked is asked again, and no answer waits for a ping.
            .test_before_acquire(false)
    }
}

/// What is asked of a table.
#[derive(Clone, Debug)]
pub enum Query {
    /// The entries of these keys, at most [`KEYS_AT_ONCE`], in any order, all of one moment.
    Entries(Vec<Key>),
    /// The entries of a range.
    Range {
        /// Which; not empty.
        range: KeyRange,
        /// At most so many.
        most: usize,
        /// Largest key first.
        backwards: bool,
        /// Their values too, or the keys alone.
        values: bool,
    },
}

/// What an error means for whoever asked.
#[derive(Debug)]
pub enum Failure {
    /// Another transaction was in the way: begin again.
    Again(Error),
    /// The connection is gone, or none is to be had.
    Lost(Error),
    /// The database has no room.
    Full,
    /// Waiting will not help.
    Wrong(Error),
    /// The table is not there.
    NoTable,
    /// The database refuses for now.
    Refused(Error),
}

impl Failure {
    /// What an error means that the database itself did not send.
    pub(super) fn of(error: Error) -> Failure {
        match error {
            Error::Configuration(_) | Error::InvalidArgument(_) => Failure::Wrong(error),
            // A certificate that is not trusted will not be by waiting.
            Error::Tls(_) => Failure::Wrong(error),
            Error::Io(_) | Error::Protocol(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => {
                Failure::Lost(error)
            }
            _ => Failure::Refused(error),
        }
    }

    /// What a caller is told.
    pub fn into_error(self, place: &Place) -> StoreError {
        let named = |error: &Error| Cause::new(format!("{}: {error}", place.name));
        match self {
            Failure::Full => StoreError::Full,
            Failure::Wrong(error) => StoreError::Misconfigured(named(&error)),
            Failure::NoTable => {
                StoreError::Unavailable(Cause::new(format!("{}: the table {} is gone", place.name, place.table)))
            }
            Failure::Again(error) | Failure::Lost(error) | Failure::Refused(error) => {
                StoreError::Unavailable(named(&error))
            }
        }
    }
}

/// A database that sqlx reaches.
#[async_trait]
pub trait Dialect: sqlx::Database {
    /// How it is reached.
    type Options: Clone + Send + Sync + 'static;

    /// Connections to it, none of them made yet.
    ///
    /// # Errors
    /// Where the options cannot be right.
    fn pool(options: Self::Options, place: &Place) -> Result<Pool<Self>, Error>;

    /// What makes the table with its own first rows, and changes nothing where they are there.
    fn table(place: &Place) -> String;

    /// What an error means.
    fn meaning(error: Error) -> Failure;

    /// What begins a transaction that writes; `lazy` where it need not be synced at once.
    fn begin(lazy: bool) -> &'static str;

    /// What reads the serial number's row and locks it until the end of the transaction.
    fn lock(place: &Place) -> QueryBuilder<Self>;

    /// A statement that ends with a condition on keys.
    fn with_keys(head: &str, keys: &[Key]) -> QueryBuilder<Self>;

    /// A statement that ends with a condition on a range of keys.
    fn with_range(head: &str, range: &KeyRange) -> QueryBuilder<Self>;

    /// A statement that sets these keys, which differ from each other.
    fn put(place: &Place, entries: &[(Key, Bytes)]) -> QueryBuilder<Self>;

    /// Runs a statement; its rows are keys and values.
    async fn rows(connection: &mut Self::Connection, statement: QueryBuilder<Self>)
    -> Result<Vec<(Key, Bytes)>, Error>;

    /// Runs a statement without rows.
    async fn run(connection: &mut Self::Connection, statement: QueryBuilder<Self>) -> Result<(), Error>;

    /// Runs fixed text.
    async fn text(connection: &mut Self::Connection, text: String) -> Result<(), Error>;

    /// Warns where the server is set up to lose what it acknowledged.
    async fn durable(connection: &mut Self::Connection, place: &Place) -> Result<(), Error>;

    /// Asks, on one connection.
    async fn query(
        connection: &mut Self::Connection,
        place: &Place,
        query: &Query,
    ) -> Result<Vec<(Key, Bytes)>, Error> {
        let statement = match query {
            Query::Entries(keys) => {
                debug_assert!(keys.len() <= KEYS_AT_ONCE);
                if keys.is_empty() {
                    return Ok(Vec::new());
                }
                Self::with_keys(&format!("SELECT k, v FROM {} WHERE ", place.table), keys)
            }
            Query::Range { range, most, backwards, values } => {
                let columns = if *values { "k, v" } else { "k" };
                let mut statement = Self::with_range(&format!("SELECT {columns} FROM {} WHERE ", place.table), range);
                let order = if *backwards { "DESC" } else { "ASC" };
                // A number that we made, and one of few: each is a statement that the database prepares once.
                statement.push(format!(" ORDER BY k {order} LIMIT {most}"));
                statement
            }
        };
        Self::rows(connection, statement).await
    }

    /// Asks, on any connection.
    async fn fetch(pool: &Pool<Self>, place: &Place, query: &Query) -> Result<Vec<(Key, Bytes)>, Error> {
        let mut connection = pool.acquire().await?;
        Self::query(&mut connection, place, query).await
    }

    /// Sees to it that the table is there and is one that we know.
    ///
    /// # Errors
    /// The database's; [`StoreError::Misconfigured`] for a table of another version.
    async fn prepare(pool: &Pool<Self>, place: &Place) -> Result<(), StoreError> {
        let version = Query::Entries(vec![VERSION.to_vec().into()]);
        let failed = |failure: Failure| failure.into_error(place);
        let mut connection = pool.acquire().await.map_err(|error| failed(Self::meaning(error)))?;
        let mut found = Self::query(&mut connection, place, &version).await.map_err(Self::meaning);
        let there = |found: &Result<Vec<_>, Failure>| match found {
            Ok(entries) => !entries.is_empty(),
            Err(failure) => !matches!(failure, Failure::NoTable),
        };
        if !there(&found) {
            // Somebody else may make it in the same moment, which some databases call an error.
            let made = Self::text(&mut connection, Self::table(place)).await;
            found = Self::query(&mut connection, place, &version).await.map_err(Self::meaning);
            if let (false, Err(error)) = (there(&found), made) {
                let says = format!("{}: the table {} cannot be made: {error}", place.name, place.table);
                return Err(StoreError::Misconfigured(Cause::new(says)));
            }
        }
        let found = found.map_err(failed)?;
        if found.first().is_none_or(|(_, version)| version.as_ref() != LAYOUT) {
            let version = found.first().map_or("none".into(), |(_, version)| version.escape_ascii().to_string());
            let says =
                format!("{}: the table {} has version {version}, and this program knows 1", place.name, place.table);
            return Err(StoreError::Misconfigured(Cause::new(says)));
        }
        Self::durable(&mut connection, place).await.map_err(|error| failed(Self::meaning(error)))
    }
}
