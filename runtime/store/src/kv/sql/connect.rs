//! From the configuration of a database to its connections.

use super::Sql;
use super::dialect::Place;
use crate::error::{Cause, StoreError};
use crate::kv::KeyValue;
use crate::kv::rocksdb::make_folder;
use crate::open::Ground;
use schema::config::{Database, Store};
use schema::spec::{ClientTls, ClientTlsMode};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{MySql, Postgres, Sqlite};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long SQLite's lock is waited for.
const SQLITE_PATIENCE: Duration = Duration::from_secs(15);
/// The table's name, behind the configured prefix.
const TABLE: &str = "kv";

/// Opens a store of kind `postgresql`, `mysql` or `sqlite`.
///
/// # Errors
/// [`StoreError::Misconfigured`] for another kind, a URL or secret that cannot be used, a database that refuses us;
/// [`StoreError::Unavailable`] for one that does not answer.
pub async fn open(store: &Store, ground: &Ground) -> Result<Arc<dyn KeyValue>, StoreError> {
    let clock = Arc::clone(&ground.clock);
    Ok(match store {
        Store::Postgresql(database) => {
            Arc::new(Sql::<Postgres>::open(postgresql(database, ground)?, place(store, database)?, clock).await?)
        }
        Store::Mysql(database) => {
            Arc::new(Sql::<MySql>::open(mysql(database, ground)?, place(store, database)?, clock).await?)
        }
        Store::Sqlite { path, readers } => {
            let path = ground.root.join(path);
            let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let wrong =
                |error: std::io::Error| StoreError::Misconfigured(Cause::new(format!("{}: {error}", path.display())));
            make_folder(above).map_err(wrong)?;
            let place = Place {
                name: format!("SQLite in {}", path.display()),
                table: TABLE.to_owned(),
                patience: SQLITE_PATIENCE,
                // One writes.
                most: readers + 1,
                least: 1,
                idle: Duration::from_secs(3600),
                lifetime: Duration::from_secs(24 * 3600),
            };
            let open = Sql::<Sqlite>::open(SqliteConnectOptions::new().filename(&path), place, clock).await?;
            // The names of the files that SQLite has just made.
            std::fs::File::open(above).and_then(|folder| folder.sync_all()).map_err(wrong)?;
            Arc::new(open)
        }
        other => return Err(StoreError::Misconfigured(Cause::new(format!("{} is no SQL database", other.kind())))),
    })
}

/// A database's name and limits.
///
/// # Errors
/// [`StoreError::Misconfigured`] for a URL or prefix that cannot be used.
pub(crate) fn place(store: &Store, database: &Database) -> Result<Place, StoreError> {
    let host = host(database)?.0;
    let wrong = |says: &str| StoreError::Misconfigured(Cause::new(format!("{} at {host}: {says}", store.kind())));
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let prefix = &database.prefix;
    if !prefix.chars().all(known) || prefix.starts_with(|c: char| c.is_ascii_digit()) || prefix.len() > 32 {
        return Err(wrong("`prefix` is at most 32 lower-case letters, digits and `_`, and begins with no digit"));
    }
    let seconds = |period: schema::unit::Period| Duration::from_secs(period.0.max(1));
    Ok(Place {
        name: format!("{} at {host}", store.kind()),
        table: format!("{prefix}{TABLE}"),
        patience: seconds(database.timeout),
        // The committer has one to itself.
        most: database.pool.most.max(2),
        least: database.pool.least,
        idle: seconds(database.pool.idle),
        lifetime: seconds(database.pool.lifetime),
    })
}

/// The server's name, and whether it is this machine. The URL may hold no password: it would stand in the spec.
fn host(database: &Database) -> Result<(String, bool), StoreError> {
    let wrong = |says: String| StoreError::Misconfigured(Cause::new(says));
    let url: Url = database.url.parse().map_err(|error| wrong(format!("the URL of a database: {error}")))?;
    let host = url.host_str().unwrap_or("localhost").to_owned();
    if url.password().is_some() {
        return Err(wrong(format!("the URL of the database at {host} holds a password; write `password=(file)\"…\"`")));
    }
    let bare = host.trim_matches(['[', ']']);
    let local = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    Ok((host, local))
}

/// What TLS is asked for, with its PEM texts: roots, our chain, our key.
struct Tls {
    verified: bool,
    off: bool,
    roots: Option<Vec<u8>>,
    own: Option<(Vec<u8>, Vec<u8>)>,
}

fn tls(given: Option<&ClientTls>, local: bool, said: bool, ground: &Ground) -> Result<Tls, StoreError> {
    let none = ClientTls::default();
    let given = given.unwrap_or(&none);
    let pem = |reference: Option<&_>| Ok(ground.secret(reference)?.map(|text| text.reveal().as_bytes().to_vec()));
    let off = match given.mode {
        Some(mode) => mode == ClientTlsMode::Off,
        None => local && given.ca.is_none() && given.cert.is_none(),
    };
    if given.name.is_some() {
        let says = "`tls name` is not served for SQL databases: write the name of the certificate into the URL";
        return Err(StoreError::Misconfigured(Cause::new(says)));
    }
    let own = pem(given.cert.as_ref())?.zip(pem(given.key.as_ref())?);
    // What the URL itself says is left as it is.
    let left = said && given.mode.is_none() && given.ca.is_none() && given.cert.is_none();
    Ok(Tls { verified: !off && !left, off: off && !left, roots: pem(given.ca.as_ref())?, own })
}

/// How a database is reached.
///
/// # Errors
/// [`StoreError::Misconfigured`] for a URL or secret that cannot be used.
pub(crate) fn postgresql(database: &Database, ground: &Ground) -> Result<PgConnectOptions, StoreError> {
    let (_, local) = host(database)?;
    let wrong = |error: sqlx::Error| StoreError::Misconfigured(Cause::new(error));
    let mut options: PgConnectOptions = database.url.parse().map_err(wrong)?;
    if let Some(password) = ground.secret(database.password.as_ref())? {
        options = options.password(password.reveal());
    }
    let local = local || options.get_socket().is_some();
    let tls = tls(database.tls.as_ref(), local, database.url.contains("sslmode="), ground)?;
    options = match (tls.verified, tls.off) {
        (true, _) => options.ssl_mode(PgSslMode::VerifyFull),
        (_, true) => options.ssl_mode(PgSslMode::Disable),
        _ => options,
    };
    if let Some(roots) = tls.roots {
        options = options.ssl_root_cert_from_pem(roots);
    }
    if let Some((chain, key)) = tls.own {
        options = options.ssl_client_cert_from_pem(chain).ssl_client_key_from_pem(key);
    }
    Ok(options)
}

/// How a database is reached.
///
/// # Errors
/// [`StoreError::Misconfigured`] for a URL or secret that cannot be used.
pub(crate) fn mysql(database: &Database, ground: &Ground) -> Result<MySqlConnectOptions, StoreError> {
    let (_, local) = host(database)?;
    let wrong = |error: sqlx::Error| StoreError::Misconfigured(Cause::new(error));
    let mut options: MySqlConnectOptions = database.url.parse().map_err(wrong)?;
    if let Some(password) = ground.secret(database.password.as_ref())? {
        options = options.password(password.reveal());
    }
    let local = local || options.get_socket().is_some();
    let tls = tls(database.tls.as_ref(), local, database.url.contains("ssl-mode="), ground)?;
    options = match (tls.verified, tls.off) {
        (true, _) => options.ssl_mode(MySqlSslMode::VerifyIdentity),
        (_, true) => options.ssl_mode(MySqlSslMode::Disabled),
        _ => options,
    };
    if let Some(roots) = tls.roots {
        options = options.ssl_ca_from_pem(roots);
    }
    if let Some((chain, key)) = tls.own {
        options = options.ssl_client_cert_from_pem(chain).ssl_client_key_from_pem(key);
    }
    // `k` and `v` are octets: no character set touches them.
    Ok(options.charset("utf8mb4"))
}
