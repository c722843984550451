//! Who has an address, and where people come from.

use crate::name::{LocalOrAddress, LocalPart, SecretRef};
use crate::unit::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// A script that runs until the person sets one (RFC 5228), a file of the spec. Left out: what the domain says.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "Sieve"))]
    pub sieve: Option<String>,
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
