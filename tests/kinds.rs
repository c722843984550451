//! Databases that mail may lie in, each with its `store` node.

use crate::elastic::{self, Elastic};
use crate::mariadb::{self, MariaDb};
use crate::postgresql::{self, PostgreSql};
use crate::redis::Redis;
use crate::s3::{self, S3};
use crate::{Server, Site, account, program};
use schema::config::{Database, Pool, Store};
use schema::name::{Secret, SecretRef};
use schema::unit::Period;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use store::kv::{KeyValue, sql};
use store::open::Ground;

/// Four servers, each of which keeps one part.
pub struct Four {
    /// Mailboxes and queue.
    pub data: PostgreSql,
    /// Messages.
    pub blobs: S3,
    /// The full-text index.
    pub search: Elastic,
    /// Counters, facts and leases.
    pub lookup: Redis,
}

/// A database of each kind.
pub enum Kind {
    /// The default.
    RocksDb,
    /// In a file beside the spec.
    Sqlite,
    /// A server of its own.
    PostgreSql(PostgreSql),
    /// Another.
    MariaDb(MariaDb),
    /// PostgreSQL, S3, OpenSearch and Redis.
    Four(Box<Four>),
    /// A cluster that is there already: its file, and what our keys begin with.
    FoundationDb(String, String),
}

impl Kind {
    /// One of each but RocksDB, which other tests are about.
    pub fn all() -> [Kind; 3] {
        [Kind::Sqlite, Kind::PostgreSql(PostgreSql::start()), Kind::MariaDb(MariaDb::start())]
    }

    /// The cluster that `FDB_CLUSTER_FILE` names, if it names one; `tests/run` then builds everything for it. What is
    /// written stays there.
    pub fn foundationdb() -> Option<Kind> {
        let file = std::env::var("FDB_CLUSTER_FILE").ok()?;
        let begun = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        Some(Kind::FoundationDb(file, format!("test-{begun}/")))
    }

    /// PostgreSQL, S3 (SeaweedFS), OpenSearch and Redis.
    pub fn four() -> Kind {
        Kind::Four(Box::new(Four {
            data: PostgreSql::start(),
            blobs: S3::start(s3::Kind::SeaweedFs),
            search: Elastic::start(elastic::Kind::OpenSearch),
            lookup: Redis::start(""),
        }))
    }

    /// For messages.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::RocksDb => "RocksDB",
            Kind::Sqlite => "SQLite",
            Kind::PostgreSql(_) => "PostgreSQL",
            Kind::MariaDb(_) => "MariaDB",
            Kind::Four(_) => "PostgreSQL, S3, OpenSearch and Redis",
            Kind::FoundationDb(..) => "FoundationDB",
        }
    }

    /// Its `store` node.
    pub fn node(&self) -> String {
        let inside = match self {
            Kind::RocksDb => "rocksdb \"data\"".to_owned(),
            Kind::Sqlite => "sqlite \"data/mail.db\"".to_owned(),
            Kind::PostgreSql(server) => format!("postgresql \"{}\" password=(env)\"DB_PASSWORD\"", server.url()),
            Kind::MariaDb(server) => format!("mysql \"{}\" password=(env)\"DB_PASSWORD\"", server.url()),
            Kind::Four(four) => return four.nodes(),
            Kind::FoundationDb(file, prefix) => format!("foundationdb \"{file}\" prefix=\"{prefix}\""),
        };
        format!("store \"db\" {{ {inside}; }}\n")
    }

    /// What its node's `(env)"DB_PASSWORD"` must hold.
    pub fn password(&self) -> &'static str {
        match self {
            Kind::RocksDb | Kind::Sqlite | Kind::FoundationDb(..) => "",
            Kind::PostgreSql(_) | Kind::Four(_) => postgresql::PASSWORD,
            Kind::MariaDb(_) => mariadb::PASSWORD,
        }
    }

    /// A site whose mail it keeps.
    pub fn site(&self) -> Site {
        self.site_of(&account("ada"))
    }

    /// A site with these people.
    pub fn site_of(&self, people: &str) -> Site {
        let site = Site::new();
        let (head, domain) = (site.ports.host("mail.example.org"), format!("domain \"example.org\" {{\n{people}}}\n"));
        site.write("mail.kdl", &format!("waybill 1\n{head}{}{domain}", self.node()));
        site
    }

    /// What starts a server of the site.
    pub fn command(&self, site: &Site) -> Command {
        let mut command = Command::new(program("waybilld"));
        command.arg("serve").arg("--spec").arg(site.path()).env("DB_PASSWORD", self.password());
        command.env("S3_ID", s3::ID).env("S3_KEY", s3::KEY);
        command
    }

    /// Starts it, and waits until it serves.
    pub fn serve(&self, site: &Site) -> Server {
        Server::start(self.command(site), site.ports)
    }

    /// Opens it as the server does, under names of its own.
    pub async fn open(&self, prefix: &str, root: &Path) -> Arc<dyn KeyValue> {
        let database = |url: String| Database {
            url,
            password: Some(SecretRef::Env("DB_PASSWORD".to_owned())),
            timeout: Period(15),
            prefix: prefix.to_owned(),
            pool: Pool { most: 10, least: 1, idle: Period(600), lifetime: Period(1800) },
            tls: None,
        };
        let store = match self {
            Kind::RocksDb => Store::Rocksdb { path: prefix.to_owned() },
            Kind::Sqlite => Store::Sqlite { path: format!("{prefix}.db"), readers: 4 },
            Kind::PostgreSql(server) => Store::Postgresql(database(server.url())),
            Kind::Four(four) => Store::Postgresql(database(four.data.url())),
            Kind::MariaDb(server) => Store::Mysql(database(server.url())),
            Kind::FoundationDb(file, own) => return foundationdb(file, format!("{own}{prefix}"), root).await,
        };
        let password = self.password().to_owned();
        let reveal = Arc::new(move |_: &_| Ok(Secret::new(password.clone())));
        let ground = Ground { root: root.to_owned(), clock: Arc::new(|| 1_700_000_000_000), reveal };
        sql::open(&store, &ground).await.unwrap()
    }
}

#[cfg(feature = "foundationdb")]
async fn foundationdb(file: &str, prefix: String, root: &Path) -> Arc<dyn KeyValue> {
    let cluster_file = file.to_owned();
    let config =
        schema::config::FoundationDb { cluster_file, timeout: Period(5), prefix, machine: None, datacenter: None };
    let reveal = Arc::new(|_: &_| Ok(Secret::new(String::new())));
    let ground = Ground { root: root.to_owned(), clock: Arc::new(|| 1_700_000_000_000), reveal };
    store::kv::foundationdb::open(&config, &ground).await.unwrap()
}

#[cfg(not(feature = "foundationdb"))]
async fn foundationdb(_: &str, _: String, _: &Path) -> Arc<dyn KeyValue> {
    panic!("FDB_CLUSTER_FILE is set, and this is built without it: run tests/run")
}

impl Four {
    /// Their `store` nodes, and which keeps what. Messages over 4 KiB lie in S3.
    fn nodes(&self) -> String {
        let stores = [
            ("db", format!("postgresql \"{}\" password=(env)\"DB_PASSWORD\"", self.data.url())),
            (
                "objects",
                format!(
                    "s3 \"{}\" endpoint=\"{}\" path-style=#true access-key=(env)\"S3_ID\" secret-key=(env)\"S3_KEY\" \
                     timeout=\"5s\" retries=1",
                    s3::BUCKET,
                    self.blobs.url()
                ),
            ),
            ("index", format!("elasticsearch \"{}\" shards=1 replicas=0 timeout=\"5s\"", self.search.url())),
            ("cache", format!("redis \"{}\" timeout=\"2s\"", self.lookup.url())),
        ];
        let stores: String =
            stores.iter().map(|(name, inside)| format!("store \"{name}\" {{ {inside}; }}\n")).collect();
        stores
            + "storage { data \"db\"; blob \"objects\"; search \"index\"; lookup \"cache\"; blob-inline \"4KiB\"; }\n"
    }
}
