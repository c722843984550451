//! What the server loads: `runtime.json`, the compiler's artefact.
//!
//! Every name is bound and every default is present, so the server decides nothing about the spec.
//! It holds password hashes and references to secrets, never a secret.

use crate::name::{Address, DomainName, HostName, SecretRef};
use crate::spec::{Credential, DkimAlgorithm, PeopleFrom, Posting};
use crate::unit::{Period, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

mod directory;
mod login;
mod secrets;
mod storage;

pub use directory::*;
pub use login::*;
pub use storage::*;

/// The artefact's format. A server refuses any other.
pub const FORMAT: u32 = 1;

/// Everything a server needs to know of a mail platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RuntimeConfig {
    /// [`FORMAT`].
    pub format: u32,
    /// The machines, sorted by name; `waybilld --host` chooses one.
    pub hosts: Vec<Host>,
    /// Which database keeps what.
    pub storage: Storage,
    /// The mail domains, sorted by name.
    pub domains: Vec<Domain>,
    /// Where people of domains come from that are not among `accounts`, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<Directory>,
    /// The people, sorted by address.
    pub accounts: Vec<Account>,
    /// Groups and aliases with several or distant targets, sorted by address.
    pub groups: Vec<Group>,
    /// Mailing lists, sorted by address.
    pub lists: Vec<List>,
    /// How people log in.
    #[serde(default)]
    pub login: Login,
    /// The programs that use the API, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_keys: Vec<ApiKey>,
    /// DNS servers to ask; empty: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Trust beside the system's.
    pub trust: Trust,
    /// How much of anything one peer or message may use.
    pub limits: Limits,
    /// When undelivered mail is tried again.
    pub queue: Queue,
}

/// A machine that serves mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeHost")]
pub struct Host {
    /// Its fully qualified name.
    pub name: HostName,
    /// What it listens on, sorted.
    pub listeners: Vec<Listener>,
    /// Addresses that outgoing connections come from.
    pub outbound: Vec<IpAddr>,
    /// Its keys and certificates.
    pub tls: Tls,
    /// Who reads `postmaster@` this host.
    pub postmaster: Option<Address>,
}

/// A service on an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Listener {
    /// Which service.
    pub service: Service,
    /// Where.
    #[schemars(with = "String")]
    pub address: SocketAddr,
}

/// A service that a listener offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Mail from other servers.
    Smtp,
    /// Submission under TLS.
    Submissions,
    /// Submission with STARTTLS.
    Submission,
    /// IMAP under TLS.
    Imaps,
    /// IMAP with STARTTLS.
    Imap,
    /// HTTP under TLS.
    Https,
    /// Plain HTTP.
    Http,
}

impl Service {
    /// The name as in the spec.
    pub fn name(self) -> &'static str {
        match self {
            Service::Smtp => "smtp",
            Service::Submissions => "submissions",
            Service::Submission => "submission",
            Service::Imaps => "imaps",
            Service::Imap => "imap",
            Service::Https => "https",
            Service::Http => "http",
        }
    }
}

/// A host's keys and certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeTls")]
pub struct Tls {
    /// Chains from files, chosen by the names they cover; the first serves clients without SNI.
    pub certificates: Vec<Certificate>,
    /// The key of the self-signed certificate, which serves where no chain does; without one, a fresh key each start.
    pub self_signed_key: Option<SecretRef>,
}

/// A certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeCertificate")]
pub struct Certificate {
    /// The chain as PEM.
    pub cert: SecretRef,
    /// The key as PEM.
    pub key: SecretRef,
}

/// A mail domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeDomain")]
pub struct Domain {
    /// Its name.
    pub name: DomainName,
    /// The hosts that take its mail, most preferred first.
    pub hosts: Vec<HostName>,
    /// Its signing keys.
    pub dkim: Vec<DkimKey>,
    /// The text of its MTA-STS policy, lines ended by CRLF (RFC 8461 §3.2).
    pub mta_sts: Option<String>,
    /// Who reads `postmaster@` this domain.
    pub postmaster: Option<Address>,
    /// Who gets the mail for addresses that do not exist.
    pub catch_all: Option<Address>,
    /// Which of `directories` its people come from; none: they are among `accounts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Who keeps those of its people that are not among `accounts`, where no directory does.
    #[serde(default, skip_serializing_if = "is_spec")]
    pub people: PeopleFrom,
    /// What each person of the directory or the API may keep, where it does not say; none: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Size>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks this way")]
fn is_false(told: &bool) -> bool {
    !told
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks this way")]
fn is_spec(people: &PeopleFrom) -> bool {
    *people == PeopleFrom::Spec
}

/// A DKIM key that mail is signed with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeDkimKey")]
pub struct DkimKey {
    /// The selector.
    pub selector: String,
    /// The algorithm.
    pub algorithm: DkimAlgorithm,
    /// Where the private key is.
    pub private: SecretRef,
}

/// A person with a mailbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeAccount")]
pub struct Account {
    /// The address, which is the login.
    pub address: Address,
    /// The person's name; empty where none is given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Hashes and SCRAM verifiers; none: nobody can log in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    /// Passwords for single programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub app_passwords: Vec<AppPassword>,
    /// Nobody can log in, whatever the server keeps of the person.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// Other addresses of the same mailbox, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Address>,
    /// What the mailbox may hold; none: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Size>,
}

/// An address whose mail others get, the sender kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeGroup")]
pub struct Group {
    /// The address.
    pub address: Address,
    /// Whose mail it is; may name other groups, never in a circle.
    pub members: Vec<Address>,
    /// Whether members may send as the group: true for `group`, false for a domain's `alias`.
    pub send_as: bool,
}

/// A mailing list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeList")]
pub struct List {
    /// The address.
    pub address: Address,
    /// The list's name; empty where none is given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Who gets its mail.
    pub members: Vec<Address>,
    /// Who gets its bounces and always may post.
    pub owners: Vec<Address>,
    /// Who may post.
    pub posting: Posting,
}

/// Trust beside the system's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeTrust")]
pub struct Trust {
    /// PEM files of certificate authorities.
    pub ca: Vec<SecretRef>,
    /// Domains whose ARC seals are believed.
    pub arc_sealers: Vec<DomainName>,
}

/// How much of anything one peer or message may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeLimits")]
pub struct Limits {
    /// The largest message.
    pub message_size: Size,
    /// Recipients of one message.
    pub recipients: u32,
    /// Connections at once, in all.
    pub connections: u32,
    /// Connections at once from one address (IPv6: one /64), loopback excepted.
    pub connections_per_address: u32,
    /// The longest SMTP session.
    pub session: Period,
    /// How long a stopping server lets connections finish.
    pub drain: Period,
}

/// When undelivered mail is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeQueue")]
pub struct Queue {
    /// The first wait.
    pub retry: Period,
    /// The longest wait.
    pub retry_most: Period,
    /// When the sender hears that the message is late.
    pub notify: Period,
    /// When the message is given up.
    pub expire: Period,
}

/// Why an artefact cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON of this shape.
    #[error("runtime.json: {0}; was it written by `waybill build` of the same version?")]
    Shape(#[from] serde_json::Error),
    /// Another format.
    #[error("runtime.json has format {0}, this server reads {FORMAT}; use the `waybill` of the server's version")]
    Format(u32),
}

/// Reads an artefact. Unknown fields are refused.
///
/// # Errors
/// [`ConfigError`], with line and column where the shape is wrong.
pub fn decode(bytes: &[u8]) -> Result<RuntimeConfig, ConfigError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_slice(bytes)?;
    if head.format != FORMAT {
        return Err(ConfigError::Format(head.format));
    }
    Ok(serde_json::from_slice(bytes)?)
}
