//! SQLite in a local file.

use super::dialect::{Dialect, Failure, Place};
use super::statement;
use crate::kv::{Key, KeyRange};
use async_trait::async_trait;
use bytes::Bytes;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Error, Pool, QueryBuilder, Sqlite};

/// What each connection keeps of the file in memory: negative, in KiB. Where keys lie all over it, as those of the index
/// do, the default of 2 MiB has it read again for each commit.
const CACHE: &str = "-16384";
/// Pages of the write-ahead log after which they are copied into the file: 16 MiB.
const CHECKPOINT: &str = "4096";

#[async_trait]
impl Dialect for Sqlite {
    type Options = SqliteConnectOptions;

    fn pool(options: SqliteConnectOptions, place: &Place) -> Result<Pool<Sqlite>, Error> {
        // In WAL mode `FULL` syncs at every commit; `NORMAL` would at every checkpoint alone.
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(place.patience)
            .pragma("mmap_size", "0")
            .pragma("cache_size", CACHE)
            .pragma("wal_autocheckpoint", CHECKPOINT)
            .pragma("trusted_schema", "OFF");
        Ok(place.pool(PoolOptions::new()).connect_lazy_with(options))
    }

    fn table(place: &Place) -> String {
        let table = &place.table;
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL);
             INSERT OR IGNORE INTO {table} (k, v) VALUES (x'0076', x'31'), (x'0073', x'0000000000000000')"
        )
    }

    /// <https://www.sqlite.org/rescode.html>
    fn meaning(error: Error) -> Failure {
        let Error::Database(told) = &error else { return Failure::of(error) };
        let code: i32 = told.code().and_then(|code| code.parse().ok()).unwrap_or(0);
        match code & 0xFF {
            // BUSY, LOCKED
            5 | 6 => Failure::Again(error),
            // FULL
            13 => Failure::Full,
            // ERROR
            1 if told.message().starts_with("no such table") => Failure::NoTable,
            // PERM, READONLY, CORRUPT, CANTOPEN, AUTH, NOTADB
            3 | 8 | 11 | 14 | 23 | 26 => Failure::Wrong(error),
            _ => Failure::Refused(error),
        }
    }

    /// `IMMEDIATE` takes the lock that writers exclude each other with.
    fn begin(_: bool) -> &'static str {
        "BEGIN IMMEDIATE"
    }

    fn lock(place: &Place) -> QueryBuilder<Sqlite> {
        QueryBuilder::new(format!("SELECT k, v FROM {} WHERE k = x'0073'", place.table))
    }

    fn with_keys(head: &str, keys: &[Key]) -> QueryBuilder<Sqlite> {
        statement::with_keys(head, keys)
    }

    fn with_range(head: &str, range: &KeyRange) -> QueryBuilder<Sqlite> {
        statement::with_range(head, range)
    }

    fn put(place: &Place, entries: &[(Key, Bytes)]) -> QueryBuilder<Sqlite> {
        let mut text = statement::insert(place, entries);
        text.push(" ON CONFLICT (k) DO UPDATE SET v = excluded.v");
        text
    }

    async fn rows(connection: &mut SqliteConnection, text: QueryBuilder<Sqlite>) -> Result<Vec<(Key, Bytes)>, Error> {
        statement::rows(connection, text).await
    }

    async fn run(connection: &mut SqliteConnection, text: QueryBuilder<Sqlite>) -> Result<(), Error> {
        statement::run(connection, text).await
    }

    async fn text(connection: &mut SqliteConnection, text: String) -> Result<(), Error> {
        statement::text::<Sqlite>(connection, text).await
    }

    async fn durable(_: &mut SqliteConnection, _: &Place) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::conformance;
    use crate::kv::sql;
    use crate::open::Ground;
    use schema::config::Store;
    use std::sync::Arc;

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite_keeps_the_key_value_contract() {
        let folder = tempfile::tempdir().unwrap();
        let reveal = Arc::new(|_: &_| Err("no secrets here".to_owned()));
        let ground = Ground { root: folder.path().to_owned(), clock: Arc::new(|| 0), reveal };
        let store = Store::Sqlite { path: "deep/er/mail.db".to_owned(), readers: 4 };
        conformance::suite(conformance::KEY_VALUE, sql::open(&store, &ground).await.unwrap()).await;
    }
}
