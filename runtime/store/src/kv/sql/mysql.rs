//! MySQL and MariaDB.

use super::dialect::{Dialect, Failure, Place};
use super::statement;
use crate::kv::{Key, KeyRange};
use async_trait::async_trait;
use bytes::Bytes;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError};
use sqlx::pool::PoolOptions;
use sqlx::{Error, MySql, Pool, QueryBuilder, Row as _};
use tracing::warn;

#[async_trait]
impl Dialect for MySql {
    type Options = MySqlConnectOptions;

    fn pool(options: MySqlConnectOptions, place: &Place) -> Result<Pool<MySql>, Error> {
        let seconds = place.patience.as_secs().max(1);
        let settings = format!(
            "SET SESSION transaction_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = {seconds}, \
             wait_timeout = 28800"
        );
        // MariaDB before 11.1 knows the older name alone.
        let older = settings.replace("transaction_isolation", "tx_isolation");
        let pool = place.pool(PoolOptions::new()).after_connect(move |connection, _| {
            let (settings, older) = (settings.clone(), older.clone());
            Box::pin(async move {
                match MySql::text(connection, settings).await {
                    Ok(()) => Ok(()),
                    Err(_) => MySql::text(connection, older).await,
                }
            })
        });
        Ok(pool.connect_lazy_with(options))
    }

    fn table(place: &Place) -> String {
        let table = &place.table;
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (k VARBINARY(1024) NOT NULL PRIMARY KEY, v MEDIUMBLOB NOT NULL) \
             ENGINE=InnoDB ROW_FORMAT=DYNAMIC; \
             INSERT IGNORE INTO {table} (k, v) VALUES (x'0076', x'31'), (x'0073', x'0000000000000000')"
        )
    }

    /// <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>
    fn meaning(error: Error) -> Failure {
        let Error::Database(told) = &error else { return Failure::of(error) };
        let Some(told) = told.try_downcast_ref::<MySqlDatabaseError>() else { return Failure::Refused(error) };
        match told.number() {
            // ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK
            1205 | 1213 => Failure::Again(error),
            // ER_DISK_FULL, ER_RECORD_FILE_FULL, ER_ENGINE_OUT_OF_..., HA_ERR_RECORD_FILE_FULL
            1021 | 1114 => Failure::Full,
            // ER_NO_SUCH_TABLE
            1146 => Failure::NoTable,
            // ER_CON_COUNT_ERROR, ER_SERVER_SHUTDOWN, ER_NORMAL_SHUTDOWN, ER_NEW_ABORTING_CONNECTION, ER_CONNECTION_KILLED,
            // ER_OPTION_PREVENTS_STATEMENT (read-only while a replica takes over), ER_CLIENT_INTERACTION_TIMEOUT
            1040 | 1053 | 1077 | 1184 | 1927 | 1290 | 4031 => Failure::Lost(error),
            // ER_DBACCESS_DENIED, ER_ACCESS_DENIED, ER_BAD_DB, ER_TABLEACCESS_DENIED, ER_SPECIFIC_ACCESS_DENIED
            1044 | 1045 | 1049 | 1142 | 1227 => Failure::Wrong(error),
            _ => Failure::Refused(error),
        }
    }

    /// The server syncs every commit or none (`innodb_flush_log_at_trx_commit`).
    fn begin(_: bool) -> &'static str {
        "START TRANSACTION"
    }

    fn lock(place: &Place) -> QueryBuilder<MySql> {
        QueryBuilder::new(format!("SELECT k, v FROM {} WHERE k = x'0073' FOR UPDATE", place.table))
    }

    fn with_keys(head: &str, keys: &[Key]) -> QueryBuilder<MySql> {
        statement::with_keys(head, keys)
    }

    fn with_range(head: &str, range: &KeyRange) -> QueryBuilder<MySql> {
        statement::with_range(head, range)
    }

    fn put(place: &Place, entries: &[(Key, Bytes)]) -> QueryBuilder<MySql> {
        let mut text = statement::insert(place, entries);
        // Not the alias of MySQL 8.0.19, which MariaDB does not know.
        text.push(" ON DUPLICATE KEY UPDATE v = VALUES(v)");
        text
    }

    async fn rows(connection: &mut MySqlConnection, text: QueryBuilder<MySql>) -> Result<Vec<(Key, Bytes)>, Error> {
        statement::rows(connection, text).await
    }

    async fn run(connection: &mut MySqlConnection, text: QueryBuilder<MySql>) -> Result<(), Error> {
        statement::run(connection, text).await
    }

    async fn text(connection: &mut MySqlConnection, text: String) -> Result<(), Error> {
        statement::text::<MySql>(connection, text).await
    }

    async fn durable(connection: &mut MySqlConnection, place: &Place) -> Result<(), Error> {
        let row =
            sqlx::query("SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite").fetch_one(connection).await?;
        if row.try_get::<u64, _>(0).is_ok_and(|how| how != 1) {
            warn!(
                store = place.name,
                "innodb_flush_log_at_trx_commit is not 1: mail that was acknowledged can be lost with the machine"
            );
        }
        Ok(())
    }
}
