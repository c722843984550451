//! Statements that every dialect writes alike, and how they are run.

use super::dialect::Place;
use crate::kv::{Key, KeyRange};
use bytes::Bytes;
use sqlx::{
    AssertSqlSafe, ColumnIndex, Database, Decode, Encode, Error, Executor, IntoArguments, QueryBuilder, Row, Type,
};

/// Runs a statement; its rows are keys and values, or keys alone.
pub(super) async fn rows<D>(
    connection: &mut D::Connection,
    mut text: QueryBuilder<D>,
) -> Result<Vec<(Key, Bytes)>, Error>
where
    D: Database,
    D::Arguments: IntoArguments<D>,
    usize: ColumnIndex<D::Row>,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    for<'r> &'r [u8]: Decode<'r, D> + Type<D>,
{
    let rows = text.build().fetch_all(connection).await?;
    let entry = |row: D::Row| {
        let octets = |at: usize| row.try_get::<&[u8], _>(at).map(Bytes::copy_from_slice);
        let value = if row.len() > 1 { octets(1)? } else { Bytes::new() };
        Ok((Key(octets(0)?), value))
    };
    rows.into_iter().map(entry).collect()
}

/// Runs a statement without rows.
pub(super) async fn run<D>(connection: &mut D::Connection, mut text: QueryBuilder<D>) -> Result<(), Error>
where
    D: Database,
    D::Arguments: IntoArguments<D>,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    text.build().execute(connection).await.map(drop)
}

/// Runs fixed text.
pub(super) async fn text<D>(connection: &mut D::Connection, text: String) -> Result<(), Error>
where
    D: Database,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    // All of it is ours: a table's name is checked when it is configured.
    connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await.map(drop)
}

/// A statement that ends with a condition on a range of keys.
pub(super) fn with_range<D>(head: &str, range: &KeyRange) -> QueryBuilder<D>
where
    D: Database,
    for<'a> &'a [u8]: Encode<'a, D> + Type<D>,
{
    let mut text = QueryBuilder::new(head);
    text.push("k >= ").push_bind(&range.from.0[..]).push(" AND k < ").push_bind(&range.to.0[..]);
    text
}

/// A statement that ends with a condition on keys, one parameter for each.
pub(super) fn with_keys<D>(head: &str, keys: &[Key]) -> QueryBuilder<D>
where
    D: Database,
    for<'a> &'a [u8]: Encode<'a, D> + Type<D>,
{
    let mut text = QueryBuilder::new(head);
    text.push("k IN (");
    let mut list = text.separated(", ");
    for key in padded(keys) {
        list.push_bind(&key.0[..]);
    }
    text.push(")");
    text
}

/// A statement that inserts entries, two parameters for each; how it treats those that are there follows.
pub(super) fn insert<D>(place: &Place, entries: &[(Key, Bytes)]) -> QueryBuilder<D>
where
    D: Database,
    for<'a> &'a [u8]: Encode<'a, D> + Type<D>,
{
    let mut text = QueryBuilder::new(format!("INSERT INTO {} (k, v) ", place.table));
    text.push_values(padded(entries), |mut row, (key, value)| {
        row.push_bind(&key.0[..]).push_bind(&value[..]);
    });
    text
}

/// These items and their last one again, until there are as many as the next power of two, so that a database prepares
/// few statements in place of one for each number.
fn padded<T>(items: &[T]) -> impl Iterator<Item = &T> {
    let again = items.len().next_power_of_two() - items.len();
    items.iter().chain(std::iter::repeat_n(items.last(), again).flatten())
}
