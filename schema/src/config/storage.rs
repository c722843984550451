//! Which database keeps what, and how each is reached.

use crate::name::SecretRef;
use crate::spec::{ClientTls, Compression, RedisMode};
use crate::unit::{Period, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which database keeps what. Equal entries are one database, opened once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeStorage")]
pub struct Storage {
    /// Mailboxes and queue.
    pub data: Store,
    /// Messages.
    pub blob: Store,
    /// The full-text index.
    pub search: Store,
    /// Counters and short-lived facts.
    pub lookup: Store,
    /// How blobs are written.
    pub blobs: BlobOptions,
    /// What the full-text index holds.
    pub index: IndexOptions,
}

/// How blobs are written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeBlobOptions")]
pub struct BlobOptions {
    /// How they are compressed.
    pub compression: Compression,
    /// The key that they are encrypted with, 32 octets as base64.
    pub encrypt: Option<SecretRef>,
    /// How long one that nothing names any more is kept.
    pub grace: Period,
    /// Up to this size they lie in the store of `data`.
    pub inline: Size,
}

/// What the full-text index holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeIndexOptions")]
pub struct IndexOptions {
    /// Languages whose word forms are known, most likely first; empty: told by the text.
    pub languages: Vec<String>,
    /// Attachments that are text are indexed too.
    pub attachments: bool,
    /// Octets of a message that are indexed.
    pub most: Size,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[schemars(rename = "RuntimeStore")]
pub enum Store {
    /// RocksDB in a folder; a relative path starts at the configuration's folder.
    Rocksdb {
        /// The folder.
        path: String,
    },
    /// The server's memory.
    Memory {
        /// Its name in the spec: two names are two stores.
        name: String,
    },
    /// PostgreSQL.
    Postgresql(Database),
    /// MySQL or MariaDB.
    Mysql(Database),
    /// SQLite in a file; a relative path starts at the configuration's folder.
    Sqlite {
        /// The file.
        path: String,
        /// Connections that read at once.
        readers: u32,
    },
    /// FoundationDB.
    Foundationdb(FoundationDb),
    /// S3 or what speaks its protocol.
    S3(S3),
    /// Files under a folder; a relative path starts at the configuration's folder.
    Filesystem {
        /// The folder.
        path: String,
        /// Levels of folders.
        depth: u32,
    },
    /// Elasticsearch or OpenSearch.
    Elasticsearch(Elasticsearch),
    /// Redis or Valkey.
    Redis(Redis),
}

impl Store {
    /// Its kind, as people write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Store::Rocksdb { .. } => "RocksDB",
            Store::Memory { .. } => "memory",
            Store::Postgresql(_) => "PostgreSQL",
            Store::Mysql(_) => "MySQL",
            Store::Sqlite { .. } => "SQLite",
            Store::Foundationdb(_) => "FoundationDB",
            Store::S3(_) => "S3",
            Store::Filesystem { .. } => "the filesystem",
            Store::Elasticsearch(_) => "Elasticsearch",
            Store::Redis(_) => "Redis",
        }
    }

    /// Where it is: a path, a URL, a bucket, or a name in the spec.
    pub fn place(&self) -> &str {
        match self {
            Store::Rocksdb { path } | Store::Sqlite { path, .. } | Store::Filesystem { path, .. } => path,
            Store::Memory { name } => name,
            Store::Postgresql(database) | Store::Mysql(database) => &database.url,
            Store::Foundationdb(database) => &database.cluster_file,
            Store::S3(s3) => &s3.bucket,
            Store::Elasticsearch(database) => &database.url,
            Store::Redis(redis) => redis.url.first().map_or("", String::as_str),
        }
    }

    /// What it is the store of, whatever way it is reached: two for which this is equal hold the same.
    #[must_use]
    pub fn identity(&self) -> String {
        let more = match self {
            Store::Postgresql(database) | Store::Mysql(database) => database.prefix.clone(),
            Store::Foundationdb(database) => database.prefix.clone(),
            Store::S3(s3) => format!("{} {}", s3.endpoint.as_deref().unwrap_or(&s3.region), s3.prefix),
            Store::Elasticsearch(database) => database.prefix.clone(),
            Store::Redis(redis) => format!("{} {}", redis.master.as_deref().unwrap_or_default(), redis.prefix),
            Store::Filesystem { depth, .. } => depth.to_string(),
            Store::Rocksdb { .. } | Store::Memory { .. } | Store::Sqlite { .. } => String::new(),
        };
        format!("{} {} {more}", self.kind(), self.place())
    }

    /// The same store with a path that starts nowhere else: `root` is the folder that a relative one starts at.
    #[must_use]
    pub fn rooted(&self, root: &std::path::Path) -> Store {
        let mut store = self.clone();
        if let Store::Rocksdb { path } | Store::Sqlite { path, .. } | Store::Filesystem { path, .. } = &mut store {
            *path = root.join(&path).to_string_lossy().into_owned();
        }
        store
    }

    /// Whether two machines can have it open.
    pub fn is_shared(&self) -> bool {
        !matches!(self, Store::Rocksdb { .. } | Store::Memory { .. } | Store::Sqlite { .. } | Store::Filesystem { .. })
    }
}

/// A database server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeDatabase")]
pub struct Database {
    /// Its URL, without a password.
    pub url: String,
    /// The password.
    pub password: Option<SecretRef>,
    /// How long a statement may take.
    pub timeout: Period,
    /// What the names of its tables begin with.
    pub prefix: String,
    /// Connections kept.
    pub pool: Pool,
    /// TLS to the server; `None`: verified, unless the server is this machine or the URL says otherwise.
    pub tls: Option<ClientTls>,
}

/// How many connections to a server are kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimePool")]
pub struct Pool {
    /// Connections at most.
    pub most: u32,
    /// Connections kept though nothing needs them.
    pub least: u32,
    /// How long a connection is kept though nothing needs it.
    pub idle: Period,
    /// How long a connection is used at most.
    pub lifetime: Period,
}

/// FoundationDB.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeFoundationDb")]
pub struct FoundationDb {
    /// The cluster file; a relative path starts at the configuration's folder.
    pub cluster_file: String,
    /// How long a transaction may take with all that is tried again.
    pub timeout: Period,
    /// What its keys begin with.
    pub prefix: String,
    /// The machine's id.
    pub machine: Option<String>,
    /// The data centre's id.
    pub datacenter: Option<String>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeS3")]
pub struct S3 {
    /// The bucket's name.
    pub bucket: String,
    /// The service's URL; `None`: Amazon's of the region.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// The access key's id; `None`: what the machine's role gives.
    pub access_key: Option<SecretRef>,
    /// The access key.
    pub secret_key: Option<SecretRef>,
    /// What the objects' names begin with.
    pub prefix: String,
    /// The bucket's name stands in the path and not in the server's name.
    pub path_style: bool,
    /// How long a request may take.
    pub timeout: Period,
    /// How often a request is tried again.
    pub retries: u32,
}

/// Elasticsearch or OpenSearch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeElasticsearch")]
pub struct Elasticsearch {
    /// Its URL, without a password.
    pub url: String,
    /// The user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<SecretRef>,
    /// A key in place of user and password.
    pub api_key: Option<SecretRef>,
    /// What the names of its indices begin with.
    pub prefix: String,
    /// Shards of a new index.
    pub shards: u32,
    /// Copies of a new index's shards.
    pub replicas: u32,
    /// How long a request may take.
    pub timeout: Period,
    /// TLS to the server; `None`: verified where the URL says `https`.
    pub tls: Option<ClientTls>,
}

/// Redis or Valkey.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeRedis")]
pub struct Redis {
    /// URLs, without a password: the server's, the sentinels', or those of some members of the cluster.
    pub url: Vec<String>,
    /// What the URLs name.
    pub mode: RedisMode,
    /// With sentinels, the name of the server that is watched over.
    pub master: Option<String>,
    /// The user; `None`: the default one.
    pub user: Option<String>,
    /// The password.
    pub password: Option<SecretRef>,
    /// The sentinels' password.
    pub sentinel_password: Option<SecretRef>,
    /// What its keys begin with.
    pub prefix: String,
    /// How long a command may take.
    pub timeout: Period,
    /// Connections kept.
    pub pool: Pool,
    /// TLS to the servers; `None`: verified where the URL says `rediss`.
    pub tls: Option<ClientTls>,
}
