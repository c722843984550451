//! People in tables of a database, by queries that the operator wrote.
//!
//! What is asked for is always bound, never put into a query's text. Every query is prepared before a configuration is
//! taken, so that a wrong one is told then. The sessions can only read: PostgreSQL's and MySQL's transactions are
//! read-only from the start, SQLite's connections are `query_only`. Where the operator wrote a query that writes, it has
//! connections of its own.

use super::{ASKED_MOST, Access, Directory, Found, MEMBERS_MOST, Person, Proof, SECRETS_MOST, Scope};
use crate::error::{Cause, StoreError};
use crate::kv::sql::connect;
use crate::kv::sql::dialect::{Failure, Place};
use crate::open::Ground;
use async_trait::async_trait;
use engine::Engine;
use schema::config::{self, Store};
use schema::name::Address;
use schema::unit::Size;
use sqlx::{MySql, Pool, Postgres, Sqlite};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tracing::warn;

mod engine;

/// Columns that the query of a login may have.
const COLUMNS: [&str; 5] = ["address", "name", "secret", "quota", "services"];
/// Connections that write passwords: there is one write for each person, once.
const WRITERS_MOST: u32 = 2;
/// The largest value that is read, in octets.
const CELL_MOST: usize = 64 << 10;

/// A row: each column's name in lower case, and its value as text.
type Row = Vec<(String, Option<String>)>;

/// A query as its database takes it.
struct Query {
    /// What it is for.
    what: &'static str,
    text: String,
    /// Which value each of its parameters is, from 1.
    values: Vec<usize>,
}

/// A directory in a database.
struct SqlDirectory<D: Engine> {
    name: String,
    pool: Pool<D>,
    place: Place,
    login: Query,
    address: Option<Query>,
    alias: Option<Query>,
    group: Option<Query>,
    /// What keeps a password anew, and the connections that may write.
    password: Option<(Query, Pool<D>)>,
}

/// Makes a directory; nothing is connected yet.
///
/// # Errors
/// [`StoreError::Misconfigured`] for a store of another kind, or a URL or secret that cannot be used.
pub fn open(name: &str, given: &config::Sql, ground: &Ground) -> Result<Arc<dyn Directory>, StoreError> {
    let wrong = |says: String| StoreError::Misconfigured(Cause::new(format!("the directory `{name}`: {says}")));
    let patience = Duration::from_secs(given.timeout.0.max(1));
    Ok(match &given.store {
        Store::Postgresql(database) => {
            let place = Place { patience, ..connect::place(&given.store, database)? };
            Arc::new(SqlDirectory::<Postgres>::new(name, given, (connect::postgresql(database, ground)?, place))?)
        }
        Store::Mysql(database) => {
            let place = Place { patience, ..connect::place(&given.store, database)? };
            Arc::new(SqlDirectory::<MySql>::new(name, given, (connect::mysql(database, ground)?, place))?)
        }
        Store::Sqlite { path, readers } => {
            let path = ground.root.join(path);
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
            let place = Place {
                name: format!("SQLite in {}", path.display()),
                table: String::new(),
                patience,
                most: *readers,
                least: 0,
                idle: Duration::from_secs(3600),
                lifetime: Duration::from_secs(24 * 3600),
            };
            Arc::new(SqlDirectory::<Sqlite>::new(name, given, (options, place))?)
        }
        other => return Err(wrong(format!("{} holds no tables", other.kind()))),
    })
}

impl<D: Engine> SqlDirectory<D> {
    fn new(name: &str, given: &config::Sql, (options, place): (D::Options, Place)) -> Result<Self, StoreError> {
        let query = |what: &'static str, text: &str| {
            let marks = config::marks(text).ok_or_else(|| {
                let says = format!("the directory `{name}`: the query `{what}` has a string that does not end");
                StoreError::Misconfigured(Cause::new(says))
            })?;
            Ok::<_, StoreError>(Query { what, text: D::numbered(text, &marks), values: D::values(&marks) })
        };
        let optional =
            |what: &'static str, text: &Option<String>| text.as_ref().map(|text| query(what, text)).transpose();
        let failed = |error| D::meaning(error).into_error(&place);
        let password = match optional("password", &given.query.password)? {
            Some(query) => {
                let place = Place { most: WRITERS_MOST, ..place.clone() };
                Some((query, D::connected(options.clone(), &place, false).map_err(failed)?))
            }
            None => None,
        };
        Ok(SqlDirectory {
            name: format!("{name} ({})", place.name),
            pool: D::connected(options, &place, true).map_err(failed)?,
            password,
            login: query("login", &given.query.login)?,
            address: optional("address", &given.query.address)?,
            alias: optional("alias", &given.query.alias)?,
            group: optional("group", &given.query.group)?,
            place,
        })
    }

    /// Asks, and again where a kept connection turns out to be gone, as all are after a restart of the database.
    async fn rows(&self, query: &Query, asked: &str) -> Result<Vec<Row>, StoreError> {
        if asked.len() > ASKED_MOST || asked.contains('\0') {
            return Ok(Vec::new());
        }
        let mut kept = self.place.most;
        loop {
            let answer = timeout(self.place.patience, async {
                let mut connection = self.pool.acquire().await.map_err(|error| (error, false))?;
                let answer = D::ask(&mut connection, query, &[asked]).await;
                if answer.is_err() {
                    // It may be gone, and nobody else is to find that out.
                    connection.close_on_drop();
                }
                answer.map_err(|error| (error, true))
            });
            let (failure, connected) = match answer.await {
                Ok(Ok(rows)) if rows.len() > MEMBERS_MOST => {
                    return Err(self.wrong(&format!("the query `{}` finds more than {MEMBERS_MOST} rows", query.what)));
                }
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err((error, connected))) => (self.meaning(query, error), connected),
                Err(_) => return Err(self.place.late()),
            };
            match failure {
                Failure::Lost(_) if connected && kept > 0 => kept -= 1,
                other => return Err(other.into_error(&self.place)),
            }
        }
    }

    fn meaning(&self, query: &Query, error: sqlx::Error) -> Failure {
        // A value that cannot be read as text, and a table that is not there, will not be by waiting.
        match error {
            sqlx::Error::ColumnDecode { .. } => Failure::Wrong(error),
            // PostgreSQL's word for a query that took too long (query_canceled).
            sqlx::Error::Database(told) if told.code().as_deref() == Some("57014") => {
                Failure::Refused(sqlx::Error::Database(told))
            }
            error => match D::meaning(error) {
                Failure::NoTable => {
                    let says = format!("the query `{}` asks a table that is not there", query.what);
                    Failure::Wrong(sqlx::Error::Configuration(says.into()))
                }
                other => other,
            },
        }
    }

    fn wrong(&self, says: &str) -> StoreError {
        StoreError::Misconfigured(Cause::new(format!("the directory {}: {says}", self.name)))
    }

    /// The first column of every row, taken apart at commas: that is how some tables list several.
    async fn list(&self, query: Option<&Query>, asked: &str) -> Result<Vec<String>, StoreError> {
        let Some(query) = query else { return Ok(Vec::new()) };
        let rows = self.rows(query, asked).await?;
        let mut seen = HashSet::new();
        let values = rows.into_iter().filter_map(|row| row.into_iter().next()?.1);
        let values: Vec<String> = values
            .flat_map(|value| value.split([',', ' ', '\n', '\r', '\t']).map(str::to_owned).collect::<Vec<_>>())
            .filter(|value| !value.is_empty() && seen.insert(value.clone()))
            .collect();
        if values.len() > MEMBERS_MOST {
            return Err(self.wrong(&format!("the query `{}` finds more than {MEMBERS_MOST} values", query.what)));
        }
        Ok(values)
    }

    async fn prepare(&self, query: &Query, pool: &Pool<D>) -> Result<(), StoreError> {
        let prepared = timeout(self.place.patience, async {
            let mut connection = pool.acquire().await?;
            D::prepared(&mut connection, &query.text).await
        });
        let told = |error: sqlx::Error| match error {
            sqlx::Error::Database(told) => {
                let says = format!("the query `{}` is refused: {}", query.what, told.message());
                match D::meaning(sqlx::Error::Database(told)) {
                    Failure::Lost(error) | Failure::Again(error) => Failure::Lost(error).into_error(&self.place),
                    _ => self.wrong(&says),
                }
            }
            error => D::meaning(error).into_error(&self.place),
        };
        let (marks, columns) = prepared.await.map_err(|_| self.place.late())?.map_err(told)?;
        let wanted = query.values.len();
        if marks != wanted {
            let says = format!("the query `{}` has {wanted} values, and the database sees {marks}", query.what);
            return Err(self.wrong(&says));
        }
        let unknown = columns.iter().find(|column| !COLUMNS.contains(&column.to_lowercase().as_str()));
        match unknown {
            Some(unknown) if query.what == "login" => {
                let says = format!("the query `login` has a column `{unknown}`; known are {}", COLUMNS.join(", "));
                Err(self.wrong(&says))
            }
            _ if columns.is_empty() && query.what != "password" => {
                Err(self.wrong(&format!("the query `{}` has no columns", query.what)))
            }
            _ => Ok(()),
        }
    }
}

/// Addresses among texts; what is none is passed over.
fn addresses(texts: Vec<String>) -> Vec<Address> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// A quota as directories write it: octets, or with a unit.
pub(super) fn quota(text: &str) -> Option<u64> {
    let text = text.trim();
    // A fraction that a database made of a sum is no octet.
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().ok().or_else(|| text.parse::<Size>().ok().map(|size| size.0))
}

/// Services as a table lists them, in our words or Dovecot's; others are passed over.
fn services(text: &str) -> Scope {
    let is_listed = |service: &Access| {
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        let other = if *service == Access::Submission { "smtp" } else { service.name() };
        words.any(|word| word.eq_ignore_ascii_case(service.name()) || word.eq_ignore_ascii_case(other))
    };
    Scope::of(Access::ALL.into_iter().filter(is_listed))
}

#[async_trait]
impl<D: Engine> Directory for SqlDirectory<D> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.prepare(&self.login, &self.pool).await?;
        for query in [&self.address, &self.alias, &self.group].into_iter().flatten() {
            self.prepare(query, &self.pool).await?;
        }
        match &self.password {
            Some((query, pool)) => self.prepare(query, pool).await,
            None => Ok(()),
        }
    }

    async fn find(&self, address: &Address) -> Result<Option<Found>, StoreError> {
        let asked = address.to_string();
        let logins = self.list(self.address.as_ref(), &asked).await?;
        let own = logins.iter().any(|login| login.parse().as_ref() == Ok(address));
        let first = match logins.as_slice() {
            // Nobody is said to get its mail but whose login it is.
            [] => Some(asked.as_str()),
            [one] => Some(one.as_str()),
            // A person whose address also leads to others: a copy of mail is for a script to make.
            _ if own => Some(asked.as_str()),
            _ => None,
        };
        if let Some(login) = first
            && let Some(person) = self.person(login).await?
        {
            if logins.len() > 1 {
                warn!(directory = self.name, %address, "a person's address leads to others too, who are passed over");
            }
            return Ok(Some(Found::Person(person)));
        }
        let mut members = Vec::with_capacity(logins.len());
        for login in logins {
            let member = match login.parse::<Address>() {
                Ok(member) => Some(member),
                Err(_) => self.person(&login).await?.map(|person| person.address.clone()),
            };
            members.extend(member.filter(|member| member != address));
        }
        Ok((!members.is_empty()).then_some(Found::Several { members, send_as: false }))
    }

    async fn person(&self, login: &str) -> Result<Option<Arc<Person>>, StoreError> {
        let rows = self.rows(&self.login, login).await?;
        let mut person: Option<Person> = None;
        for row in rows {
            let value =
                |name: &str| row.iter().find(|(column, _)| column == name).and_then(|(_, value)| value.as_deref());
            let written = value("address").unwrap_or(login);
            let Ok(address) = written.parse::<Address>() else {
                warn!(directory = self.name, address = written, "what should be an address is none; passed over");
                continue;
            };
            let person = person.get_or_insert_with(|| Person {
                address: address.clone(),
                login: login.to_owned(),
                name: String::new(),
                aliases: Vec::new(),
                groups: Vec::new(),
                quota: None,
                proofs: Vec::new(),
                suspended: row.iter().any(|(column, _)| column == "secret"),
                place: String::new(),
            });
            // Several rows are one person with several passwords, or nobody knows who it is.
            if person.address != address {
                let says = format!("`{login}` logs in as {} and as {address}", person.address);
                return Err(self.wrong(&says));
            }
            if person.name.is_empty() {
                value("name").unwrap_or_default().clone_into(&mut person.name);
            }
            person.quota = person.quota.or_else(|| value("quota").and_then(quota));
            if let Some(secret) = value("secret").filter(|secret| !secret.is_empty()) {
                let scope = value("services").map_or(Scope::ALL, services);
                person.proofs.push(Proof { secret: secret.to_owned(), scope });
                person.suspended = false;
            }
        }
        let Some(mut person) = person else { return Ok(None) };
        person.proofs.truncate(SECRETS_MOST);
        person.aliases = addresses(self.list(self.alias.as_ref(), login).await?);
        person.groups = self.list(self.group.as_ref(), login).await?;
        Ok(Some(Arc::new(person)))
    }

    async fn proves(&self, _: &Person, _: &str) -> Result<Option<bool>, StoreError> {
        Ok(None)
    }

    fn is_written(&self) -> bool {
        self.password.is_some()
    }

    async fn renew(&self, person: &Person, old: &str, (hash, verifier): (&str, &str)) -> Result<bool, StoreError> {
        let Some((query, pool)) = &self.password else { return Ok(false) };
        let values = [person.login.as_str(), old, hash, verifier];
        let written = timeout(self.place.patience, async {
            let mut connection = pool.acquire().await?;
            let written = D::write(&mut connection, query, &values).await;
            if written.is_err() {
                connection.close_on_drop();
            }
            written
        });
        match written.await.map_err(|_| self.place.late())? {
            Ok(rows) => Ok(rows > 0),
            // What a database says of a value may be the value.
            Err(sqlx::Error::Database(told)) => {
                let code = told.code().unwrap_or_default().into_owned();
                Err(self.wrong(&format!("the query `password` is refused (SQLSTATE {code})")))
            }
            Err(error) => Err(D::meaning(error).into_error(&self.place)),
        }
    }
}
