//! PostgreSQL.

use super::dialect::{Dialect, Failure, Place};
use super::statement;
use crate::kv::{Key, KeyRange};
use async_trait::async_trait;
use bytes::Bytes;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Error, Pool, Postgres, QueryBuilder, Row as _};
use tracing::warn;

#[async_trait]
impl Dialect for Postgres {
    type Options = PgConnectOptions;

    fn pool(options: PgConnectOptions, place: &Place) -> Result<Pool<Postgres>, Error> {
        let milliseconds = place.patience.as_millis().to_string();
        // A connection that is cut off from us must not keep what it locked.
        let options = options.application_name("waybilld").options([
            ("statement_timeout", milliseconds.as_str()),
            ("lock_timeout", milliseconds.as_str()),
            ("idle_in_transaction_session_timeout", milliseconds.as_str()),
            ("synchronous_commit", "on"),
            ("default_transaction_isolation", "read committed"),
            // Statements are planned once, perhaps while the table is small, when reading all of it looks cheapest. It is
            // only ever asked by its keys, in their order.
            ("enable_seqscan", "off"),
            ("enable_bitmapscan", "off"),
        ]);
        Ok(place.pool(PoolOptions::new()).connect_lazy_with(options))
    }

    fn table(place: &Place) -> String {
        let table = &place.table;
        // Values are compressed before they come here, where they are worth it.
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (k bytea PRIMARY KEY, v bytea NOT NULL);
             ALTER TABLE {table} ALTER COLUMN v SET STORAGE EXTERNAL;
             INSERT INTO {table} (k, v) VALUES ('\\x0076', '\\x31'), ('\\x0073', '\\x0000000000000000')
             ON CONFLICT DO NOTHING"
        )
    }

    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    fn meaning(error: Error) -> Failure {
        let Error::Database(told) = &error else { return Failure::of(error) };
        let code = told.code().unwrap_or_default();
        match (&*code, code.get(..2).unwrap_or_default()) {
            // serialization_failure, deadlock_detected
            ("40001" | "40P01", _) => Failure::Again(error),
            // disk_full; 53000 to 53300 are memory and connections
            ("53100", _) => Failure::Full,
            // undefined_table
            ("42P01", _) => Failure::NoTable,
            // too_many_connections, and what ends connections: idle_in_transaction_session_timeout, shutdown
            ("53300" | "25P03", _) | (_, "57" | "08") => Failure::Lost(error),
            // invalid authorization, invalid catalog name, access rules, features
            (_, "28" | "3D" | "42" | "0A") => Failure::Wrong(error),
            _ => Failure::Refused(error),
        }
    }

    fn begin(lazy: bool) -> &'static str {
        match lazy {
            false => "BEGIN",
            true => "BEGIN; SET LOCAL synchronous_commit = off",
        }
    }

    fn lock(place: &Place) -> QueryBuilder<Postgres> {
        QueryBuilder::new(format!("SELECT k, v FROM {} WHERE k = '\\x0073' FOR UPDATE", place.table))
    }

    fn with_keys(head: &str, keys: &[Key]) -> QueryBuilder<Postgres> {
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key.0[..]).collect();
        let mut text = QueryBuilder::new(head);
        // One array, so that the statement is the same for every number of keys.
        text.push("k = ANY(").push_bind(keys).push(")");
        text
    }

    fn with_range(head: &str, range: &KeyRange) -> QueryBuilder<Postgres> {
        statement::with_range(head, range)
    }

    fn put(place: &Place, entries: &[(Key, Bytes)]) -> QueryBuilder<Postgres> {
        let (keys, values): (Vec<&[u8]>, Vec<&[u8]>) =
            entries.iter().map(|(key, value)| (&key.0[..], &value[..])).unzip();
        let mut text = QueryBuilder::new(format!("INSERT INTO {} (k, v) SELECT * FROM unnest(", place.table));
        text.push_bind(keys).push(", ").push_bind(values);
        text.push(") ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v");
        text
    }

    async fn rows(connection: &mut PgConnection, text: QueryBuilder<Postgres>) -> Result<Vec<(Key, Bytes)>, Error> {
        statement::rows(connection, text).await
    }

    async fn run(connection: &mut PgConnection, text: QueryBuilder<Postgres>) -> Result<(), Error> {
        statement::run(connection, text).await
    }

    async fn text(connection: &mut PgConnection, text: String) -> Result<(), Error> {
        statement::text::<Postgres>(connection, text).await
    }

    async fn durable(connection: &mut PgConnection, place: &Place) -> Result<(), Error> {
        let row = sqlx::query("SELECT current_setting('fsync'), current_setting('full_page_writes')");
        let row = row.fetch_one(connection).await?;
        for (at, setting) in ["fsync", "full_page_writes"].into_iter().enumerate() {
            if row.try_get::<&str, _>(at)? != "on" {
                warn!(store = place.name, "{setting} is off: mail that was acknowledged can be lost with the machine");
            }
        }
        Ok(())
    }
}
