//! Databases, and which keeps what.

use super::allow::{Allow, Level};
use crate::name::SecretRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A database. Exactly one kind inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Store {
    /// The name that `storage` uses.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: String,
    /// RocksDB in a local folder; a relative path starts at the spec's folder.
    #[serde(default)]
    pub rocksdb: Option<String>,
    /// In the server's memory: gone when it stops.
    #[serde(default)]
    pub memory: bool,
    /// PostgreSQL.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "PostgreSQL"))]
    pub postgresql: Option<Database>,
    /// MySQL or MariaDB.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "MySQL"))]
    pub mysql: Option<Database>,
    /// SQLite in a local file.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "SQLite"))]
    pub sqlite: Option<String>,
    /// FoundationDB, by its cluster file.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "FoundationDB"))]
    pub foundationdb: Option<String>,
    /// S3 or what speaks its protocol.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "S3"))]
    pub s3: Option<S3>,
    /// Blobs as files under a folder.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "the filesystem store"))]
    pub filesystem: Option<String>,
    /// Elasticsearch or OpenSearch.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "Elasticsearch"))]
    pub elasticsearch: Option<Database>,
    /// Redis.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "Redis"))]
    pub redis: Option<Database>,
    /// Findings that are borne for a while here.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// How bad kinds of findings are here.
    #[serde(default)]
    pub level: Vec<Level>,
}

/// A database server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Database {
    /// Its URL, without a password.
    #[schemars(extend("x-kdl" = "argument"))]
    pub url: String,
    /// The password.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub password: Option<SecretRef>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct S3 {
    /// The bucket's name.
    #[schemars(extend("x-kdl" = "argument"))]
    pub bucket: String,
    /// The service's URL.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub endpoint: Option<String>,
    /// The region.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub region: Option<String>,
    /// The access key's id.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub access_key: Option<SecretRef>,
    /// The access key.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub secret_key: Option<SecretRef>,
}

/// Which store keeps what. Left out: the one store keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Storage {
    /// Mailboxes, queue and all that is not a blob.
    pub data: Option<String>,
    /// Messages and other large objects.
    pub blob: Option<String>,
    /// The full-text index.
    pub search: Option<String>,
    /// Counters and short-lived facts.
    pub lookup: Option<String>,
}
