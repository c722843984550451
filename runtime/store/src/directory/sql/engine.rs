//! What differs between the databases that people are asked of.

use super::{CELL_MOST, MEMBERS_MOST, Query, Row};
use crate::kv::sql::dialect::{Dialect, Place};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use schema::config::Mark;
use sqlx::mysql::{MySqlConnectOptions, MySqlRow};
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{
    AssertSqlSafe, Column as _, Either, Error, Executor as _, MySql, Pool, Postgres, Row as _, SqlSafeStr as _, Sqlite,
    Statement as _, TypeInfo as _, ValueRef as _,
};

/// A database that people are asked of.
#[async_trait]
pub(super) trait Engine: Dialect {
    /// Connections, none of them made yet, which may be such that can only read.
    fn connected(options: Self::Options, place: &Place, reads: bool) -> Result<Pool<Self>, Error>;

    /// How this database writes a parameter.
    fn parameter(number: usize) -> String;

    /// Which value each parameter of a query is, in the order that they are bound in: where parameters have numbers, each
    /// value once.
    fn values(marks: &[Mark]) -> Vec<usize> {
        (1..=marks.iter().map(|mark| mark.number).max().unwrap_or(0)).collect()
    }

    /// A query as this database writes it.
    fn numbered(query: &str, marks: &[Mark]) -> String {
        let mut text = String::with_capacity(query.len() + marks.len());
        let mut from = 0;
        for mark in marks {
            text.push_str(query.get(from..mark.at).unwrap_or_default());
            text.push_str(&Self::parameter(mark.number));
            from = mark.at + mark.length;
        }
        text.push_str(query.get(from..).unwrap_or_default());
        text
    }

    /// Prepares a query; tells how many parameters it has, and its columns.
    async fn prepared(connection: &mut Self::Connection, text: &str) -> Result<(usize, Vec<String>), Error>;

    /// Asks; one row more than [`MEMBERS_MOST`] at most.
    async fn ask(connection: &mut Self::Connection, query: &Query, values: &[&str]) -> Result<Vec<Row>, Error>;

    /// Writes, and tells how many rows it changed.
    async fn write(connection: &mut Self::Connection, query: &Query, values: &[&str]) -> Result<u64, Error>;
}

/// A value that stands for no text.
fn odd(column: &str, says: &str) -> Error {
    Error::ColumnDecode { index: column.to_owned(), source: says.into() }
}

fn text(column: &str, octets: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(octets).map_err(|_| odd(column, "the value is no UTF-8"))
}

/// An engine, with the methods that are the same for all but for types that share no trait.
macro_rules! engine {
    ($database:ty, $cell:ident, { $($own:tt)* }) => {
        #[async_trait]
        impl Engine for $database {
        $($own)*

        async fn prepared(connection: &mut Self::Connection, text: &str) -> Result<(usize, Vec<String>), Error> {
            let statement = connection.prepare(AssertSqlSafe(text.to_owned()).into_sql_str()).await?;
            let parameters = match statement.parameters() {
                Some(Either::Left(types)) => types.len(),
                Some(Either::Right(count)) => count,
                None => 0,
            };
            Ok((parameters, statement.columns().iter().map(|column| column.name().to_owned()).collect()))
        }

        async fn write(connection: &mut Self::Connection, query: &Query, values: &[&str]) -> Result<u64, Error> {
            let mut statement = sqlx::query::<$database>(AssertSqlSafe(query.text.clone()));
            for number in &query.values {
                statement = statement.bind(values.get(number.wrapping_sub(1)).copied());
            }
            Ok(statement.execute(connection).await?.rows_affected())
        }

        async fn ask(connection: &mut Self::Connection, query: &Query, values: &[&str]) -> Result<Vec<Row>, Error> {
            let mut statement = sqlx::query::<$database>(AssertSqlSafe(query.text.clone()));
            for number in &query.values {
                statement = statement.bind(values.get(number.wrapping_sub(1)).copied());
            }
            let mut rows = statement.fetch(connection);
            let mut found = Vec::new();
            while let Some(row) = rows.next().await {
                let row = row?;
                let mut cells = Vec::with_capacity(row.len());
                for (at, column) in row.columns().iter().enumerate() {
                    let cell = $cell(&row, at, column.name())?;
                    if cell.as_ref().is_some_and(|cell| cell.len() > CELL_MOST) {
                        return Err(odd(column.name(), "the value is larger than 64 KiB"));
                    }
                    cells.push((column.name().to_lowercase(), cell));
                }
                found.push(cells);
                if found.len() > MEMBERS_MOST {
                    break;
                }
            }
            Ok(found)
        }
        }
    };
}

engine!(Postgres, postgresql, {
    fn connected(options: PgConnectOptions, place: &Place, reads: bool) -> Result<Pool<Postgres>, Error> {
        let milliseconds = place.patience.as_millis().to_string();
        let options = options.application_name("waybilld").options([
            ("statement_timeout", milliseconds.as_str()),
            ("lock_timeout", milliseconds.as_str()),
            ("default_transaction_read_only", if reads { "on" } else { "off" }),
        ]);
        Ok(place.pool(PoolOptions::new()).connect_lazy_with(options))
    }

    fn parameter(number: usize) -> String {
        format!("${number}")
    }
});

engine!(MySql, mysql, {
    fn connected(options: MySqlConnectOptions, place: &Place, reads: bool) -> Result<Pool<MySql>, Error> {
        let pool = place.pool(PoolOptions::<MySql>::new()).after_connect(move |connection, _| {
            Box::pin(async move {
                if reads {
                    connection.execute("SET SESSION TRANSACTION READ ONLY").await?;
                }
                Ok(())
            })
        });
        Ok(pool.connect_lazy_with(options))
    }

    /// Parameters have no numbers, so each is bound where it stands.
    fn parameter(_: usize) -> String {
        "?".to_owned()
    }

    fn values(marks: &[Mark]) -> Vec<usize> {
        marks.iter().map(|mark| mark.number).collect()
    }
});

engine!(Sqlite, sqlite, {
    fn connected(options: SqliteConnectOptions, place: &Place, reads: bool) -> Result<Pool<Sqlite>, Error> {
        // Another program's database: how it is written is that one's business.
        let options = options
            .create_if_missing(false)
            .busy_timeout(place.patience)
            .pragma("query_only", if reads { "ON" } else { "OFF" })
            .pragma("trusted_schema", "OFF");
        Ok(place.pool(PoolOptions::new()).connect_lazy_with(options))
    }

    fn parameter(number: usize) -> String {
        format!("?{number}")
    }
});

fn postgresql(row: &PgRow, at: usize, column: &str) -> Result<Option<String>, Error> {
    let kind = row.try_get_raw(at)?.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "INT2" => row.try_get::<Option<i16>, _>(at)?.map(|number| number.to_string()),
        "INT4" => row.try_get::<Option<i32>, _>(at)?.map(|number| number.to_string()),
        "INT8" => row.try_get::<Option<i64>, _>(at)?.map(|number| number.to_string()),
        "BOOL" => row.try_get::<Option<bool>, _>(at)?.map(|truth| truth.to_string()),
        "BYTEA" => row.try_get::<Option<Vec<u8>>, _>(at)?.map(|octets| text(column, octets)).transpose()?,
        "NUMERIC" | "FLOAT4" | "FLOAT8" => return Err(odd(column, "write `CAST(… AS bigint)`")),
        // Strings of every name: text, varchar, citext, an enumeration.
        _ => row.try_get_unchecked::<Option<String>, _>(at)?,
    })
}

fn mysql(row: &MySqlRow, at: usize, column: &str) -> Result<Option<String>, Error> {
    let kind = row.try_get_raw(at)?.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "FLOAT" | "DOUBLE" => return Err(odd(column, "write `CAST(… AS SIGNED)`")),
        kind if kind.contains("INT") && kind.contains("UNSIGNED") => {
            row.try_get_unchecked::<Option<u64>, _>(at)?.map(|number| number.to_string())
        }
        kind if kind.contains("INT") => row.try_get_unchecked::<Option<i64>, _>(at)?.map(|number| number.to_string()),
        // Strings and octets of every length, and decimals, which travel as text.
        _ => row.try_get_unchecked::<Option<Vec<u8>>, _>(at)?.map(|octets| text(column, octets)).transpose()?,
    })
}

fn sqlite(row: &SqliteRow, at: usize, column: &str) -> Result<Option<String>, Error> {
    let kind = row.try_get_raw(at)?.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "INTEGER" => row.try_get_unchecked::<Option<i64>, _>(at)?.map(|number| number.to_string()),
        "REAL" => return Err(odd(column, "write `CAST(… AS INTEGER)`")),
        "BLOB" => row.try_get_unchecked::<Option<Vec<u8>>, _>(at)?.map(|octets| text(column, octets)).transpose()?,
        _ => row.try_get_unchecked::<Option<String>, _>(at)?,
    })
}
