//! Who gets in: logins, OAuth, roles, administrators.

use crate::form::{Network, Url};
use crate::name::{Address, DomainName, SecretRef};
use crate::unit::{Period, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How people prove who they are, in every protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Login {
    /// What is offered (RFC 4422). Left out: all that the accounts can do; `plain` only under TLS.
    #[schemars(extend("x-unserved" = "a choice of mechanisms"))]
    pub mechanism: Vec<Mechanism>,
    /// What a new password must be like, where people change their own.
    pub password: Option<PasswordRules>,
    /// People may make passwords for single programs. Left out: `#true` (Waybill).
    pub app_passwords: Option<bool>,
    /// People of the spec may have another password than the spec's, kept by the server, until the spec's changes. Left
    /// out: `#false` (Waybill).
    pub own_passwords: Option<bool>,
    /// A second factor is asked for, where a program can show a form. Left out: `optional` (Waybill).
    #[schemars(extend("x-unserved" = "the second factor"))]
    pub second_factor: Option<SecondFactor>,
    /// Failed logins from one address (IPv6: one /64) before it is refused for `ban`. Left out: none is refused, each
    /// failure only waits longer (Waybill).
    #[schemars(extend("x-unserved" = "refusing addresses"))]
    pub failures: Option<Rate>,
    /// How long an address is refused. Left out: `1h` (Waybill).
    #[schemars(extend("x-unserved" = "refusing addresses"))]
    pub ban: Option<Period>,
    /// Networks that are never refused. Left out: loopback.
    #[schemars(extend("x-unserved" = "refusing addresses"))]
    pub never_ban: Vec<Network>,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Mechanism {
    /// Name and password, under TLS (RFC 4616).
    Plain,
    /// The same as some old programs say it.
    Login,
    /// A proof that does not show the password (RFC 7677).
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// The same, bound to the TLS connection (RFC 7677 §4).
    #[serde(rename = "scram-sha-256-plus")]
    ScramSha256Plus,
    /// An OAuth token (RFC 7628).
    Oauthbearer,
    /// The same as some programs say it.
    Xoauth2,
    /// A client certificate (RFC 4422 appendix A).
    External,
}

/// What a new password must be like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct PasswordRules {
    /// Characters at least. Left out: 15 (NIST SP 800-63B §3.1.1.2).
    #[schemars(range(min = 8, max = 1024), extend("x-kdl" = "property", "examples" = [15]))]
    pub least: Option<u32>,
    /// How it is kept. Left out: `argon2id-scram` (RFC 9106).
    #[schemars(extend("x-kdl" = "property"))]
    pub hash: Option<HashKind>,
}

/// How a password is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum HashKind {
    /// RFC 9106.
    Argon2id,
    /// As `argon2id`, with a SCRAM verifier beside it (RFC 5802).
    Argon2idScram,
    /// RFC 7914.
    Scrypt,
}

/// Whether a second factor is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum SecondFactor {
    /// Never.
    Off,
    /// Of those who have one (RFC 6238).
    Optional,
    /// Of everybody; other programs need passwords of their own.
    Required,
}

/// The server as an OAuth authorization server (RFC 6749, RFC 8414).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct OAuth {
    /// Its name. Left out: `https://` and the first host's name (RFC 8414 §2).
    pub issuer: Option<Url>,
    /// The keys that tokens are signed with (RFC 9068), the first in use. Left out: one is made and kept in the store.
    pub key: Vec<SigningKey>,
    /// The programs that may ask for tokens. Left out: those that register themselves, where `register` says so.
    pub client: Vec<OAuthClient>,
    /// Programs may register themselves (RFC 7591). Left out: `#false` (Waybill).
    pub register: Option<bool>,
    /// How long an access token is good. Left out: `1h` (Waybill).
    pub access_token: Option<Period>,
    /// How long a refresh token is good without being used. Left out: `30d` (Waybill).
    pub refresh_token: Option<Period>,
    /// How long a code is good. Left out: `10m` (RFC 6749 §4.1.2).
    pub code: Option<Period>,
    /// How long a device's code is good (RFC 8628). Left out: `30m` (Waybill).
    pub device_code: Option<Period>,
}

/// A key that tokens are signed with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SigningKey {
    /// Its id (RFC 7517 §4.5).
    #[schemars(extend("x-kdl" = "argument", "examples" = ["2026a"]))]
    pub id: String,
    /// The private key, PKCS#8 as PEM: P-256 or Ed25519.
    #[schemars(extend("x-kdl" = "property"))]
    pub private: SecretRef,
}

/// A program that may ask for tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OAuthClient {
    /// Its id (RFC 6749 §2.2).
    #[schemars(extend("x-kdl" = "argument", "examples" = ["webmail"]))]
    pub id: String,
    /// What people see. Left out: the id.
    #[schemars(extend("x-kdl" = "property", "examples" = ["Webmail"]))]
    pub name: Option<String>,
    /// How it proves itself. Left out: it does not, and must use PKCE (RFC 7636).
    #[schemars(extend("x-kdl" = "property"))]
    pub secret: Option<SecretRef>,
    /// Where people are sent back to (RFC 6749 §3.1.2).
    #[serde(default)]
    pub redirect: Vec<Url>,
    /// What it may ask for. Left out: `mail` (Waybill).
    #[serde(default)]
    pub scope: Vec<Scope>,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Scope {
    /// Reading and sending mail.
    Mail,
    /// Who the person is (OpenID Connect Core §5.4).
    Openid,
    /// The API, as far as the person's role goes.
    Api,
}

/// A set of things that somebody may do. Built in are `admin` (all), `domain-admin` (all of one's own domain) and
/// `user` (one's own mail).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Role {
    /// The name that accounts, administrators and keys use.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["support"]))]
    pub name: String,
    /// What one may do.
    #[serde(default)]
    pub may: Vec<Permission>,
    /// In these domains only. Left out: in all.
    #[serde(default)]
    pub domain: Vec<DomainName>,
}

/// Something that one may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Permission {
    /// See accounts, aliases, groups and lists.
    ReadPeople,
    /// Change them, where they are kept by the API.
    WritePeople,
    /// Set others' passwords, where they are kept by the API.
    SetPasswords,
    /// See what waits in the queue.
    ReadQueue,
    /// Retry, hold and remove what waits.
    WriteQueue,
    /// See what is kept in quarantine.
    ReadQuarantine,
    /// Release or remove it.
    WriteQuarantine,
    /// See reports of DMARC and TLS.
    ReadReports,
    /// See log and traces of mail's way.
    ReadLog,
    /// See the running configuration.
    ReadConfig,
    /// Have the spec read again.
    Reload,
    /// Teach the spam filter.
    TrainSpam,
    /// Read others' mail.
    ReadMail,
}

impl Permission {
    /// All that there is.
    pub const ALL: [Permission; 13] = [
        Permission::ReadPeople,
        Permission::WritePeople,
        Permission::SetPasswords,
        Permission::ReadQueue,
        Permission::WriteQueue,
        Permission::ReadQuarantine,
        Permission::WriteQuarantine,
        Permission::ReadReports,
        Permission::ReadLog,
        Permission::ReadConfig,
        Permission::Reload,
        Permission::TrainSpam,
        Permission::ReadMail,
    ];

    /// The name, as in the spec.
    pub fn name(self) -> &'static str {
        match self {
            Permission::ReadPeople => "read-people",
            Permission::WritePeople => "write-people",
            Permission::SetPasswords => "set-passwords",
            Permission::ReadQueue => "read-queue",
            Permission::WriteQueue => "write-queue",
            Permission::ReadQuarantine => "read-quarantine",
            Permission::WriteQuarantine => "write-quarantine",
            Permission::ReadReports => "read-reports",
            Permission::ReadLog => "read-log",
            Permission::ReadConfig => "read-config",
            Permission::Reload => "reload",
            Permission::TrainSpam => "train-spam",
            Permission::ReadMail => "read-mail",
        }
    }
}

/// Somebody who looks after the server: an account of the spec with a role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Admin {
    /// The account.
    #[schemars(extend("x-kdl" = "argument"))]
    pub account: Address,
    /// What it may do. Left out: `admin`, all.
    #[schemars(extend("x-kdl" = "property", "examples" = ["support"]))]
    pub role: Option<String>,
    /// From these networks only. Left out: from anywhere.
    #[serde(default)]
    pub from: Vec<Network>,
}

/// A program that uses the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ApiKey {
    /// Its name, for logs.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["monitoring"]))]
    pub name: String,
    /// The key. It is sent as `Authorization: Bearer` (RFC 6750 §2.1).
    #[schemars(extend("x-kdl" = "property"))]
    pub secret: SecretRef,
    /// What it may do.
    #[schemars(extend("x-kdl" = "property", "examples" = ["support"]))]
    pub role: String,
    /// The last day on which it holds. Left out: it does not end.
    #[schemars(extend("x-kdl" = "property", "examples" = ["2027-12-31"]), inner(regex(pattern = r"^\d{4}-\d{2}-\d{2}$")))]
    pub until: Option<String>,
    /// From these networks only. Left out: from anywhere.
    #[serde(default)]
    pub from: Vec<Network>,
}
