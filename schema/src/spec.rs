//! What the operator wrote: one struct per KDL node, names not yet bound, defaults not yet filled.
//!
//! Docstrings here are the reference: they become descriptions in `spec.schema.json` and, from there,
//! the text that an editor shows.

use crate::name::{Address, DomainName, HostName, LocalOrAddress, LocalPart, SecretRef};
use crate::unit::{Period, Size};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The newest version of the language.
pub const LANGUAGE: u32 = 1;

/// A mail platform: hosts, stores, domains and people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Spec {
    /// The language's version; the first node of `mail.kdl`.
    #[schemars(range(min = 1, max = 1))]
    pub waybill: Option<u32>,
    /// Other files, relative to this one and inside the spec's folder; `*` and `?` match within a folder's names.
    pub include: Vec<String>,
    /// The machines that serve mail.
    pub host: Vec<Host>,
    /// The databases.
    pub store: Vec<Store>,
    /// Which store keeps what.
    pub storage: Option<Storage>,
    /// Where zones are published.
    pub dns: Vec<Dns>,
    /// Where `waybill apply` notes what it wrote.
    pub state: Option<State>,
    /// The mail domains.
    pub domain: Vec<Domain>,
    /// Where people come from, if not from the spec.
    pub directory: Vec<Directory>,
    /// Which DNS servers to ask in place of the system's.
    pub resolver: Option<Resolver>,
    /// Certificate authorities beside the system's.
    pub trust: Option<Trust>,
    /// What every node of a kind starts from.
    pub defaults: Option<Defaults>,
    /// How much of anything one peer or message may use.
    pub limits: Option<Limits>,
    /// When mail that could not be delivered is tried again.
    pub queue: Option<Queue>,
}

/// A machine that serves mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Host {
    /// Its fully qualified name, as in MX and greeting.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: HostName,
    /// Its addresses in DNS, and what listeners bind to unless `bind` says otherwise.
    #[serde(default)]
    #[schemars(schema_with = "ip_addresses")]
    pub address: Vec<IpAddr>,
    /// Which services it offers on which ports. Left out: smtp 25, submissions 465, imaps 993, https 443.
    #[serde(default)]
    pub listen: Option<Listen>,
    /// How it reaches other servers. Left out: from its addresses, unless `bind` says that they are elsewhere.
    #[serde(default)]
    pub outbound: Option<Outbound>,
    /// Its keys and certificates. Left out: self-signed, with a warning.
    #[serde(default)]
    pub tls: Option<Tls>,
}

/// Services and their ports; each may be given several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Listen {
    /// Addresses to bind in place of the host's.
    #[schemars(schema_with = "ip_addresses")]
    pub bind: Vec<IpAddr>,
    /// Mail from other servers, with STARTTLS; usually 25.
    #[schemars(inner(range(min = 1)))]
    pub smtp: Vec<u16>,
    /// Submission under TLS; usually 465 (RFC 8314).
    #[schemars(inner(range(min = 1)))]
    pub submissions: Vec<u16>,
    /// Submission with STARTTLS; usually 587 (RFC 6409).
    #[schemars(inner(range(min = 1)))]
    pub submission: Vec<u16>,
    /// IMAP under TLS; usually 993.
    #[schemars(inner(range(min = 1)))]
    pub imaps: Vec<u16>,
    /// IMAP with STARTTLS; usually 143.
    #[schemars(inner(range(min = 1)))]
    pub imap: Vec<u16>,
    /// POP3 under TLS; usually 995.
    #[schemars(inner(range(min = 1)), extend("x-unserved" = "POP3"))]
    pub pop3s: Vec<u16>,
    /// POP3 with STLS; usually 110.
    #[schemars(inner(range(min = 1)), extend("x-unserved" = "POP3"))]
    pub pop3: Vec<u16>,
    /// ManageSieve with STARTTLS; usually 4190 (RFC 5804).
    #[schemars(inner(range(min = 1)), extend("x-unserved" = "ManageSieve"))]
    pub managesieve: Vec<u16>,
    /// HTTP under TLS: MTA-STS policies, autoconfig; usually 443.
    #[schemars(inner(range(min = 1)))]
    pub https: Vec<u16>,
    /// Plain HTTP: `/ready`, `/live`, `/metrics`; usually 8080.
    #[schemars(inner(range(min = 1)))]
    pub http: Vec<u16>,
}

/// How a host reaches other servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Outbound {
    /// Local addresses that outgoing connections come from, one of each family.
    #[schemars(schema_with = "ip_addresses")]
    pub source: Vec<IpAddr>,
}

/// A host's keys and certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Tls {
    /// Certificates by ACME (RFC 8555).
    #[schemars(extend("x-unserved" = "ACME"))]
    pub acme: Option<Acme>,
    /// The key of the certificate, and the next key beside it.
    pub key: Vec<TlsKey>,
    /// A certificate chain and its key from files.
    pub certificate: Vec<Certificate>,
    /// The server signs its own certificate, with the first `key` where there is one.
    pub self_signed: bool,
    /// TLSA records beside `3 1 1`, as `"3 0 1"`, `"2 1 1"` … (RFC 6698 §2.1); they need a certificate file.
    #[schemars(inner(regex(pattern = r"^[23] [01] [12]$")))]
    pub dane: Vec<String>,
}

/// Certificates by ACME.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Acme {
    /// `letsencrypt`, or a directory's URL.
    #[schemars(extend("x-kdl" = "argument"))]
    pub authority: String,
    /// `mailto:` of whom the authority may write to.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub contact: Option<String>,
    /// `tls-alpn-01`, `http-01` or `dns-01`.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub challenge: Option<Challenge>,
    /// The account's URL, for CAA (RFC 8657).
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"), inner(regex(pattern = r#"^https://[^\s";\\]+$"#)))]
    pub account: Option<String>,
    /// The name that CAA records know the authority by; needed where it is none of the well-known ones.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub issuer: Option<DomainName>,
}

/// How control of a name is proved to a certificate authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Challenge {
    /// RFC 8737.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// RFC 8555 §8.3.
    #[serde(rename = "http-01")]
    Http01,
    /// RFC 8555 §8.4.
    #[serde(rename = "dns-01")]
    Dns01,
}

/// A TLS key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TlsKey {
    /// The key's name, `2026a`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: String,
    /// `ec` (P-256) or `rsa`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub algorithm: TlsAlgorithm,
    /// The SubjectPublicKeyInfo, base64 of its DER; left out, it is taken from the private file.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub public: Option<String>,
    /// Where the private key is.
    #[schemars(extend("x-kdl" = "property"))]
    pub private: SecretRef,
}

/// A TLS key's algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum TlsAlgorithm {
    /// ECDSA on P-256.
    Ec,
    /// RSA.
    Rsa,
}

/// A certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Certificate {
    /// The chain as PEM, the host's own certificate first.
    #[schemars(extend("x-kdl" = "property"))]
    pub cert: SecretRef,
    /// The private key as PEM.
    #[schemars(extend("x-kdl" = "property"))]
    pub key: SecretRef,
}

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

/// A DNS provider. Exactly one kind inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dns {
    /// The name that domains use.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: String,
    /// Cloudflare.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "`waybill apply`"))]
    pub cloudflare: Option<Cloudflare>,
    /// Dynamic updates (RFC 2136) with TSIG.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "`waybill apply`"))]
    pub rfc2136: Option<Rfc2136>,
    /// Zone files in a folder.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "`waybill apply`"))]
    pub zonefile: Option<String>,
}

/// Cloudflare's API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cloudflare {
    /// A token that may edit the zones.
    #[schemars(extend("x-kdl" = "property"))]
    pub token: SecretRef,
}

/// A name server that takes dynamic updates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rfc2136 {
    /// The primary server, `192.0.2.53:53`.
    #[schemars(with = "String", extend("x-kdl" = "argument", "format" = "socket-address"))]
    pub server: SocketAddr,
    /// The TSIG key's name.
    #[schemars(extend("x-kdl" = "property"))]
    pub key: String,
    /// The TSIG algorithm.
    #[schemars(extend("x-kdl" = "property"))]
    pub algorithm: String,
    /// The TSIG secret, base64.
    #[schemars(extend("x-kdl" = "property"))]
    pub secret: SecretRef,
}

/// Where `waybill apply` notes what it wrote. Exactly one kind inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct State {
    /// A file beside the spec.
    #[schemars(extend("x-unserved" = "`waybill apply`"))]
    pub file: Option<String>,
}

/// A mail domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Domain {
    /// Its name.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: DomainName,
    /// Another domain from which it takes everything but the people.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub like: Option<DomainName>,
    /// The hosts that take its mail. Left out where the spec has one host.
    #[serde(default)]
    pub host: Vec<DomainHost>,
    /// Where its zone is published, and what is changed in it.
    #[serde(default)]
    pub dns: Option<DomainDns>,
    /// Its zone is signed, so TLSA records are published in it.
    #[serde(default)]
    pub dnssec: Option<bool>,
    /// CAA records are published for it where ACME is used.
    #[serde(default)]
    pub caa: Option<bool>,
    /// Its signing keys (RFC 6376).
    #[serde(default)]
    pub dkim: Option<Dkim>,
    /// Who else sends for it (RFC 7208). Left out or bare: only its own hosts.
    #[serde(default)]
    pub spf: Option<Spf>,
    /// What others do with mail that is not its (RFC 9989). Left out: `reject`, reports to postmaster.
    #[serde(default)]
    pub dmarc: Option<Dmarc>,
    /// TLS for mail to it (RFC 8461). Left out: `testing`, where a host of it serves https.
    #[serde(default)]
    pub mta_sts: Option<MtaSts>,
    /// Who hears of others' TLS troubles with it (RFC 8460). Left out: postmaster.
    #[serde(default)]
    pub tls_report: Vec<Address>,
    /// What each of its accounts may keep, unless the account says otherwise.
    #[serde(default)]
    pub quota: Option<Size>,
    /// Where its people come from, if not from the spec.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "directories"))]
    pub directory: Option<String>,
    /// People with a mailbox.
    #[serde(default)]
    pub account: Vec<Account>,
    /// Other addresses of people here or elsewhere.
    #[serde(default)]
    pub alias: Vec<Alias>,
    /// Addresses of several people, who each get a copy.
    #[serde(default)]
    pub group: Vec<Group>,
    /// Mailing lists.
    #[serde(default)]
    pub list: Vec<List>,
    /// Who gets the mail for addresses that do not exist.
    #[serde(default)]
    pub catch_all: Option<LocalOrAddress>,
}

/// A host that takes a domain's mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DomainHost {
    /// A host of the spec.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: HostName,
    /// The MX preference, lowest first; 10 unless said.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub priority: Option<u16>,
}

/// A domain's zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DomainDns {
    /// The `dns` node that publishes it.
    #[schemars(extend("x-kdl" = "argument"))]
    pub provider: Option<String>,
    /// How long its records may be cached; `1h` unless said.
    #[schemars(extend("x-kdl" = "property"))]
    pub ttl: Option<Period>,
    /// Record sets not to publish.
    pub omit: Vec<RecordName>,
    /// Records to publish in place of a derived set of that name and type, or beside all of them. Several nodes of one
    /// name and type are one set.
    pub record: Vec<ExtraRecord>,
}

/// A record set by its name and type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecordName {
    /// The owner name, relative to the domain; `@` is the domain, `*` all that is not there (RFC 4592).
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: String,
    /// The record type, `TXT`.
    #[serde(rename = "type")]
    #[schemars(extend("x-kdl" = "argument"))]
    pub kind: String,
}

/// A record of the operator's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExtraRecord {
    /// The owner name, relative to the domain; `@` is the domain, `*` all that is not there (RFC 4592).
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: String,
    /// The record type: A, AAAA, CNAME, MX, TXT, SRV, CAA or TLSA.
    #[serde(rename = "type")]
    #[schemars(extend("x-kdl" = "argument"))]
    pub kind: String,
    /// The values, each a record, as in a master file; TXT without quotes.
    #[schemars(extend("x-kdl" = "arguments"), length(min = 1))]
    pub value: Vec<String>,
}

/// A domain's signing keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Dkim {
    /// The keys; mail is signed with each.
    pub key: Vec<DkimKey>,
}

/// A DKIM key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DkimKey {
    /// The selector, one or more DNS labels.
    #[schemars(extend("x-kdl" = "argument"))]
    pub selector: String,
    /// `ed25519` (RFC 8463) or `rsa`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub algorithm: DkimAlgorithm,
    /// The value of `p=`; left out, it is taken from the private file.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub public: Option<String>,
    /// Where the private key is, PKCS#8 as PEM.
    #[schemars(extend("x-kdl" = "property"))]
    pub private: SecretRef,
}

/// A DKIM key's algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum DkimAlgorithm {
    /// RFC 8463.
    Ed25519,
    /// RFC 6376 with SHA-256; at least 1024 bits, 2048 wanted (RFC 8301).
    Rsa,
}

/// Who else sends for a domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Spf {
    /// Mechanisms after `mx`, in this order.
    #[schemars(extend("x-kdl" = "sequence"))]
    pub terms: Vec<SpfTerm>,
    /// What of everybody else; `fail` unless said.
    pub all: Option<SpfAll>,
}

/// An SPF mechanism (RFC 7208 §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpfTerm {
    /// Whoever that domain's record lets send.
    Include(DomainName),
    /// The addresses of that name.
    A(DomainName),
    /// The mail servers of that domain.
    Mx(DomainName),
    /// An IPv4 address or network.
    Ip4(String),
    /// An IPv6 address or network.
    Ip6(String),
    /// A look-up by macro.
    Exists(String),
}

/// SPF's answer for everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum SpfAll {
    /// `-all`
    Fail,
    /// `~all`
    Softfail,
    /// `?all`
    Neutral,
}

/// What others do with mail that is not a domain's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dmarc {
    /// `p=`; `reject` unless said.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "argument"))]
    pub policy: Option<DmarcPolicy>,
    /// Who gets reports, aggregate and of failures.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub report: Option<Address>,
    /// `sp=`, for subdomains.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub subdomain: Option<DmarcPolicy>,
    /// `np=`, for subdomains that do not exist.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub nonexistent: Option<DmarcPolicy>,
    /// `t=y`: the policy is not to be applied yet.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub testing: Option<bool>,
    /// `adkim=s` and `aspf=s`.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub strict: Option<bool>,
}

/// A DMARC policy (RFC 9989 §4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum DmarcPolicy {
    /// Deliver.
    None,
    /// Treat as suspicious.
    Quarantine,
    /// Refuse.
    Reject,
}

/// TLS for mail to a domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MtaSts {
    /// `enforce` unless said; `none` where no host serves https publishes nothing.
    #[schemars(extend("x-kdl" = "argument"))]
    pub mode: Option<MtaStsMode>,
    /// How long senders keep the policy; `7d` unless said, at most a year (RFC 8461 §3.2).
    #[schemars(extend("x-kdl" = "property"))]
    pub max_age: Option<Period>,
}

/// An MTA-STS policy's mode (RFC 8461 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum MtaStsMode {
    /// Deliver only under a valid certificate.
    Enforce,
    /// Report, but deliver.
    Testing,
    /// No policy any more.
    None,
}

/// A person with a mailbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Account {
    /// The part of the address before the `@`. The full address is the login.
    #[schemars(extend("x-kdl" = "argument"))]
    pub local: LocalPart,
    /// The person's name.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub name: Option<String>,
    /// What the person can prove itself by.
    #[serde(default)]
    pub password: Vec<Credential>,
    /// Other addresses of the same mailbox.
    #[serde(default)]
    pub alias: Vec<LocalOrAddress>,
    /// What the mailbox may hold.
    #[serde(default)]
    pub quota: Option<Size>,
}

/// Something a person can prove itself by.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Credential {
    /// A password hash: argon2id, bcrypt, scrypt, PBKDF2 (PHC strings) or sha512-crypt.
    Hash(String),
    /// A SCRAM verifier: `SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER`, RFC 5803's form.
    Scram(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credential::Hash(_) => "(hash)…",
            Credential::Scram(_) => "(scram)…",
        })
    }
}

/// Another address of people here or elsewhere; the sender is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Alias {
    /// The part of the address before the `@`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub local: LocalPart,
    /// Whose mail it is.
    #[schemars(extend("x-kdl" = "arguments"), length(min = 1))]
    pub to: Vec<LocalOrAddress>,
}

/// An address of several people, who each get a copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Group {
    /// The part of the address before the `@`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub local: LocalPart,
    /// The people, or other groups.
    #[serde(default)]
    pub member: Vec<LocalOrAddress>,
}

/// A mailing list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct List {
    /// The part of the address before the `@`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub local: LocalPart,
    /// The list's name, in `List-Id`.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub name: Option<String>,
    /// Who gets its mail.
    #[serde(default)]
    pub member: Vec<LocalOrAddress>,
    /// Who looks after it and gets its bounces; postmaster unless said.
    #[serde(default)]
    pub owner: Vec<LocalOrAddress>,
    /// Who may post; `members` unless said.
    #[serde(default)]
    pub posting: Option<Posting>,
}

/// Who may post to a list. Owners always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Posting {
    /// Members, by their From, authenticated.
    Members,
    /// Everybody.
    Anyone,
    /// Owners only.
    Owners,
}

/// Where people come from, if not from the spec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Directory {
    /// The name that domains use.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: String,
    /// An LDAP server.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "LDAP"))]
    pub ldap: Option<Ldap>,
}

/// An LDAP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ldap {
    /// Its URL.
    #[schemars(extend("x-kdl" = "argument"))]
    pub url: String,
    /// Where people are looked for.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub base: Option<String>,
    /// Who looks.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub bind_dn: Option<String>,
    /// Its password.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub bind_password: Option<SecretRef>,
}

/// Which DNS servers to ask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Resolver {
    /// Recursive servers, `127.0.0.1:53`.
    #[schemars(schema_with = "socket_addresses")]
    pub server: Vec<SocketAddr>,
    /// DNSSEC trust anchors in place of IANA's root.
    #[schemars(extend("x-unserved" = "DNSSEC validation"))]
    pub trust_anchor: Option<SecretRef>,
}

/// Certificate authorities beside the system's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Trust {
    /// PEM files.
    #[schemars(extend("x-unserved" = "verified TLS to other servers"))]
    pub ca: Vec<SecretRef>,
    /// Domains whose ARC seals are believed when they say that a forwarded message was authentic (RFC 8617).
    pub arc_sealer: Vec<DomainName>,
}

/// What every node of a kind starts from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Defaults {
    /// What every domain starts from.
    pub domain: Option<DomainDefaults>,
}

/// What every domain starts from; what the domain itself says wins. `dns`, `dmarc` and `mta-sts` are taken together
/// value by value, everything else as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DomainDefaults {
    /// As in `domain`.
    pub host: Vec<DomainHost>,
    /// As in `domain`.
    pub dns: Option<DomainDns>,
    /// As in `domain`.
    pub dnssec: Option<bool>,
    /// As in `domain`.
    pub caa: Option<bool>,
    /// As in `domain`.
    pub dkim: Option<Dkim>,
    /// As in `domain`.
    pub spf: Option<Spf>,
    /// As in `domain`.
    pub dmarc: Option<Dmarc>,
    /// As in `domain`.
    pub mta_sts: Option<MtaSts>,
    /// As in `domain`.
    pub tls_report: Vec<Address>,
    /// As in `domain`.
    pub quota: Option<Size>,
}

/// How much of anything one peer or message may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// The largest message; `50MiB` unless said, at least `64KiB` (RFC 5321 §4.5.3.1.7).
    pub message_size: Option<Size>,
    /// Recipients of one message; 1000 unless said, at least 100 (RFC 5321 §4.5.3.1.8).
    #[schemars(range(min = 100, max = 10_000))]
    pub recipients: Option<u32>,
    /// Connections at once, in all; 10000 unless said.
    #[schemars(range(min = 10))]
    pub connections: Option<u32>,
    /// Connections at once from one address (IPv6: one /64); 200 unless said, loopback excepted.
    #[schemars(range(min = 1))]
    pub connections_per_address: Option<u32>,
    /// The longest SMTP session; `1h` unless said, at least `1m`.
    pub session: Option<Period>,
    /// How long a stopping server lets connections finish; `30s` unless said.
    pub drain: Option<Period>,
}

/// When mail that could not be delivered is tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Queue {
    /// The first wait; `5m` unless said. Each next one is twice as long, give or take a tenth.
    pub retry: Option<Period>,
    /// The longest wait; `4h` unless said, never less than `retry`.
    pub retry_most: Option<Period>,
    /// When the sender hears that the message is late; `4h` unless said.
    pub notify: Option<Period>,
    /// When the message is given up; `5d` unless said (RFC 5321 §4.5.4.1).
    pub expire: Option<Period>,
}

fn ip_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "default": [], "items": {"type": "string", "format": "ip-address"}})
}

fn socket_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "default": [], "items": {"type": "string", "format": "socket-address"}})
}
