//! Databases, and which keeps what.

use super::allow::{Allow, Level};
use crate::name::SecretRef;
use crate::unit::{Period, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A database. Exactly one kind inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Store {
    /// The name that `storage` uses.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["local"]))]
    pub name: String,
    /// RocksDB in a local folder, for everything; a relative path starts at the spec's folder.
    #[schemars(extend("examples" = ["/var/lib/waybill"]))]
    pub rocksdb: Option<String>,
    /// In the server's memory, for everything: gone when it stops.
    #[serde(default)]
    pub memory: bool,
    /// PostgreSQL, for everything.
    pub postgresql: Option<Database>,
    /// MySQL or MariaDB, for everything.
    pub mysql: Option<Database>,
    /// SQLite in a local file, for everything.
    pub sqlite: Option<Sqlite>,
    /// FoundationDB, for everything.
    pub foundationdb: Option<FoundationDb>,
    /// S3 or what speaks its protocol, for blobs.
    pub s3: Option<S3>,
    /// Files under a local folder, for blobs.
    pub filesystem: Option<Filesystem>,
    /// Elasticsearch or OpenSearch, for the full-text index.
    pub elasticsearch: Option<Elasticsearch>,
    /// Redis or Valkey, for counters and short-lived facts.
    pub redis: Option<Redis>,
    /// Memory for what was read lately. Left out: the database's own choice (Waybill).
    #[schemars(extend("x-unserved" = "a store's cache"))]
    pub cache: Option<Size>,
    /// How blobs are compressed before they are written. Left out: `zstd`, and `none` in RocksDB, which compresses by
    /// itself (Waybill).
    pub compression: Option<Compression>,
    /// The key that blobs are encrypted with before they are written, 32 octets as base64. Left out: not encrypted
    /// (Waybill).
    pub encrypt: Option<SecretRef>,
    /// Findings that are borne for a while here.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// How bad kinds of findings are here.
    #[serde(default)]
    pub level: Vec<Level>,
}

/// How blobs are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Compression {
    /// As they are.
    None,
    /// Zstandard.
    Zstd,
}

/// A database server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Database {
    /// Its URL, without a password.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["postgres://mail@db.example.org/mail"]))]
    pub url: String,
    /// The password. Left out: none is sent.
    #[schemars(extend("x-kdl" = "property"))]
    pub password: Option<SecretRef>,
    /// How long a statement may take. Left out: `15s` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub timeout: Option<Period>,
    /// What the names of its tables begin with. Left out: nothing.
    #[schemars(extend("x-kdl" = "property", "examples" = ["waybill_"]))]
    pub prefix: Option<String>,
    /// Copies that may be read from, by URL.
    #[serde(default)]
    #[schemars(extend("examples" = [["postgres://mail@db2.example.org/mail"]]))]
    pub replica: Vec<String>,
    /// Connections kept.
    pub pool: Option<Pool>,
    /// TLS to the server. Left out: verified, unless the server is this machine (Waybill).
    pub tls: Option<ClientTls>,
}

/// How many connections to a server are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Pool {
    /// Connections at most. Left out: 10 (Waybill).
    #[schemars(range(min = 1, max = 10_000), extend("x-kdl" = "property", "examples" = [10]))]
    pub most: Option<u32>,
    /// Connections kept though nothing needs them. Left out: 1 (Waybill).
    #[schemars(range(max = 10_000), extend("x-kdl" = "property", "examples" = [1]))]
    pub least: Option<u32>,
    /// How long a connection is kept though nothing needs it. Left out: `10m` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub idle: Option<Period>,
    /// How long a connection is used at most. Left out: `30m` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub lifetime: Option<Period>,
}

/// TLS to a server that we ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ClientTls {
    /// Whether it is used, and begun how. Left out: what the URL's scheme says.
    #[schemars(extend("x-kdl" = "property"))]
    pub mode: Option<ClientTlsMode>,
    /// Certificate authorities as PEM in place of the system's. Left out: the system's and those of `trust`.
    #[schemars(extend("x-kdl" = "property"))]
    pub ca: Option<SecretRef>,
    /// Our certificate chain as PEM, where the server asks for one. Left out: none.
    #[schemars(extend("x-kdl" = "property"))]
    pub cert: Option<SecretRef>,
    /// The private key of `cert` as PEM. Left out: none.
    #[schemars(extend("x-kdl" = "property"))]
    pub key: Option<SecretRef>,
    /// The name that the server's certificate must have. Left out: the URL's.
    #[schemars(extend("x-kdl" = "property", "examples" = ["db.example.org"]))]
    pub name: Option<String>,
}

/// How TLS to a server is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ClientTlsMode {
    /// No TLS.
    Off,
    /// From the first octet.
    On,
    /// After a command in the clear; refused where the server has none.
    Starttls,
}

/// SQLite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sqlite {
    /// The file; a relative path starts at the spec's folder.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["/var/lib/waybill/mail.db"]))]
    pub path: String,
    /// Connections that read at once. Left out: 4 (Waybill).
    #[schemars(range(min = 1, max = 1000), extend("x-kdl" = "property", "examples" = [4]))]
    pub readers: Option<u32>,
}

/// FoundationDB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FoundationDb {
    /// The cluster file.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["/etc/foundationdb/fdb.cluster"]))]
    pub cluster_file: String,
    /// How long a transaction may take with all that is tried again. Left out: `5s`, the database's own limit.
    #[schemars(extend("x-kdl" = "property"))]
    pub timeout: Option<Period>,
    /// What its keys begin with, at most 32 octets. Left out: nothing.
    #[schemars(extend("x-kdl" = "property", "examples" = ["waybill/"]))]
    pub prefix: Option<String>,
    /// The machine's id, so that close copies are read. Left out: none.
    #[schemars(extend("x-kdl" = "property", "examples" = ["rack1-a"]))]
    pub machine: Option<String>,
    /// The data centre's id. Left out: none.
    #[schemars(extend("x-kdl" = "property", "examples" = ["fra1"]))]
    pub datacenter: Option<String>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct S3 {
    /// The bucket's name.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["mail"]))]
    pub bucket: String,
    /// The service's URL. Left out: Amazon's of the region.
    #[schemars(extend("x-kdl" = "property", "examples" = ["https://s3.example.org"]))]
    pub endpoint: Option<String>,
    /// The region. Left out: `us-east-1`, Amazon's default.
    #[schemars(extend("x-kdl" = "property", "examples" = ["eu-central-1"]))]
    pub region: Option<String>,
    /// The access key's id. Left out: what the machine's role gives.
    #[schemars(extend("x-kdl" = "property"))]
    pub access_key: Option<SecretRef>,
    /// The access key. Left out: what the machine's role gives.
    #[schemars(extend("x-kdl" = "property"))]
    pub secret_key: Option<SecretRef>,
    /// What the objects' names begin with. Left out: nothing.
    #[schemars(extend("x-kdl" = "property", "examples" = ["blobs/"]))]
    pub prefix: Option<String>,
    /// The bucket's name stands in the path and not in the server's name. Left out: `#true` with an `endpoint`
    /// (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub path_style: Option<bool>,
    /// How long a request may take. Left out: `30s` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub timeout: Option<Period>,
    /// How often a request is tried again. Left out: 3 (Waybill).
    #[schemars(range(max = 20), extend("x-kdl" = "property", "examples" = [3]))]
    pub retries: Option<u32>,
}

/// Files under a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Filesystem {
    /// The folder; a relative path starts at the spec's folder.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["/var/lib/waybill/blobs"]))]
    pub path: String,
    /// Levels of folders. Left out: 2 (Waybill).
    #[schemars(range(max = 4), extend("x-kdl" = "property", "examples" = [2]))]
    pub depth: Option<u32>,
}

/// Elasticsearch or OpenSearch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Elasticsearch {
    /// Its URL, without a password.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["https://search.example.org:9200"]))]
    pub url: String,
    /// The user. Left out: nobody logs in.
    #[schemars(extend("x-kdl" = "property", "examples" = ["waybill"]))]
    pub user: Option<String>,
    /// The user's password. Left out: none is sent.
    #[schemars(extend("x-kdl" = "property"))]
    pub password: Option<SecretRef>,
    /// A key in place of user and password. Left out: none is sent.
    #[schemars(extend("x-kdl" = "property"))]
    pub api_key: Option<SecretRef>,
    /// What the names of its indices begin with. Left out: `waybill` (Waybill).
    #[schemars(extend("x-kdl" = "property", "examples" = ["waybill"]))]
    pub prefix: Option<String>,
    /// Shards of a new index. Left out: 3 (Waybill).
    #[schemars(range(min = 1, max = 1000), extend("x-kdl" = "property", "examples" = [3]))]
    pub shards: Option<u32>,
    /// Copies of a new index's shards. Left out: 1 (Elasticsearch).
    #[schemars(range(max = 10), extend("x-kdl" = "property", "examples" = [1]))]
    pub replicas: Option<u32>,
    /// How long a request may take. Left out: `15s` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub timeout: Option<Period>,
    /// TLS to the server. Left out: verified where the URL says `https`.
    pub tls: Option<ClientTls>,
}

/// Redis or Valkey: one server, several that watch over one (sentinel), or a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Redis {
    /// URLs, without a password: the server's, the sentinels', or those of some members of the cluster.
    #[schemars(extend("x-kdl" = "arguments", "examples" = [["redis://127.0.0.1:6379/0"]]), length(min = 1))]
    pub url: Vec<String>,
    /// What the URLs name. Left out: `single` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub mode: Option<RedisMode>,
    /// With `sentinel`, the name of the server that is watched over. Left out: none.
    #[schemars(extend("x-kdl" = "property", "examples" = ["mymaster"]))]
    pub master: Option<String>,
    /// The user. Left out: the default one.
    #[schemars(extend("x-kdl" = "property", "examples" = ["waybill"]))]
    pub user: Option<String>,
    /// The password. Left out: none is sent.
    #[schemars(extend("x-kdl" = "property"))]
    pub password: Option<SecretRef>,
    /// The sentinels' password. Left out: none is sent.
    #[schemars(extend("x-kdl" = "property"))]
    pub sentinel_password: Option<SecretRef>,
    /// What its keys begin with. Left out: `waybill:` (Waybill).
    #[schemars(extend("x-kdl" = "property", "examples" = ["waybill:"]))]
    pub prefix: Option<String>,
    /// How long a command may take. Left out: `5s` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub timeout: Option<Period>,
    /// Connections kept.
    pub pool: Option<Pool>,
    /// TLS to the servers. Left out: verified where the URL says `rediss`.
    pub tls: Option<ClientTls>,
}

/// What Redis URLs name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum RedisMode {
    /// One server.
    Single,
    /// Sentinels, which say where the server is.
    Sentinel,
    /// Members of a cluster.
    Cluster,
}

/// Which store keeps what. Left out: the one store keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Storage {
    /// Mailboxes, queue and all that is not a blob. Left out: the one store.
    #[schemars(extend("examples" = ["local"]))]
    pub data: Option<String>,
    /// Messages and other large objects. Left out: the one store.
    #[schemars(extend("examples" = ["objects"]))]
    pub blob: Option<String>,
    /// The full-text index. Left out: the one store.
    #[schemars(extend("examples" = ["local"]))]
    pub search: Option<String>,
    /// Counters and short-lived facts. Left out: the one store.
    #[schemars(extend("examples" = ["local"]))]
    pub lookup: Option<String>,
    /// How long a blob that nothing names any more is kept. Equal messages are one blob. Left out: `1h` (Waybill).
    pub blob_grace: Option<Period>,
    /// Blobs up to this size lie in the store of `data`. Left out: `0B`, none does (Waybill).
    pub blob_inline: Option<Size>,
    /// What the full-text index holds.
    pub index: Option<Index>,
}

/// What the full-text index holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Index {
    /// Languages whose word forms are known, most likely first. Left out: told by the text (Waybill).
    #[schemars(extend("examples" = [["en", "de"]]))]
    pub language: Vec<String>,
    /// Attachments that are text are indexed too. Left out: `#true` (Waybill).
    pub attachments: Option<bool>,
    /// Octets of a message that are indexed. Left out: `1MiB` (Waybill).
    pub most: Option<Size>,
}
