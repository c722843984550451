//! A row of a PostgreSQL table, changed where its serial number is the one that was read.

use super::place::Mark;
use crate::provider::Ground;
use schema::spec::Database;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Row as _};
use std::time::Duration;
use tokio::time::timeout;

/// How long all of a read or a write may take, where the node does not say.
const PATIENCE: Duration = Duration::from_secs(15);

/// A row.
pub struct Row {
    options: PgConnectOptions,
    table: String,
    patience: Duration,
}

impl Row {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with it or its password.
    pub fn new(spec: &Database, ground: &Ground<'_>) -> Result<Row, String> {
        let wrong = |error: sqlx::Error| format!("`postgresql`: {error}");
        let mut options: PgConnectOptions = spec.url.parse().map_err(wrong)?;
        if let Some(password) = &spec.password {
            options = options.password(ground.secret(password)?.reveal());
        }
        // Over the network the server proves who it is, unless the URL says otherwise.
        let local = ["localhost", "127.0.0.1", "::1"].contains(&options.get_host()) || options.get_socket().is_some();
        if !local && !spec.url.contains("sslmode=") {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        let prefix = spec.prefix.clone().unwrap_or_default();
        if !prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err("the names of tables begin with letters, digits and `_`".into());
        }
        let patience = spec.timeout.map_or(PATIENCE, |timeout| Duration::from_secs(timeout.0.max(1)));
        Ok(Row { options, table: format!("{prefix}state"), patience })
    }

    /// `table state of mail at db.example.org`
    pub fn name(&self) -> String {
        let database = self.options.get_database().unwrap_or("postgres");
        format!("table {} of {database} at {}", self.table, self.options.get_host())
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, String> {
        match timeout(self.patience, work).await {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(_) => Err(format!("does not answer within {} s", self.patience.as_secs())),
        }
    }

    /// A connection, with the table there. Its name has no character that could be anything but a name's.
    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        let text = format!(
            "CREATE TABLE IF NOT EXISTS \"{}\" (name text PRIMARY KEY, serial bigint NOT NULL, state text NOT NULL)",
            self.table
        );
        sqlx::query(AssertSqlSafe(text)).execute(&mut connection).await?;
        Ok(connection)
    }

    /// What is there, and its serial number.
    pub(super) async fn read(&self) -> Result<Option<(Vec<u8>, Mark)>, String> {
        self.within(async {
            let mut connection = self.connect().await?;
            let text = format!("SELECT serial, state FROM \"{}\" WHERE name = 'state'", self.table);
            let Some(row) = sqlx::query(AssertSqlSafe(text)).fetch_optional(&mut connection).await? else {
                return Ok(None);
            };
            let (serial, state): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Some((state.into_bytes(), Some(serial.to_string()))))
        })
        .await
    }

    /// Writes where the serial number is the one that was read; `None` where it is not.
    pub(super) async fn write(&self, state: &str, mark: Option<&str>, serial: u64) -> Result<Option<Mark>, String> {
        let serial = i64::try_from(serial).map_err(|_| "has no larger serial number")?;
        let table = &self.table;
        let text = match mark {
            None => {
                format!("INSERT INTO \"{table}\" (name, serial, state) VALUES ('state', $1, $2) ON CONFLICT DO NOTHING")
            }
            Some(_) => format!("UPDATE \"{table}\" SET serial = $1, state = $2 WHERE name = 'state' AND serial = $3"),
        };
        let old: Option<i64> = mark.map(str::parse).transpose().map_err(|_| "has a serial number that is none")?;
        let changed = self.within(async {
            let mut connection = self.connect().await?;
            let query = sqlx::query(AssertSqlSafe(text)).bind(serial).bind(state);
            let query = match old {
                Some(old) => query.bind(old),
                None => query,
            };
            Ok(query.execute(&mut connection).await?.rows_affected())
        });
        Ok((changed.await? == 1).then(|| Some(serial.to_string())))
    }
}
