//! Where people come from, if not from the spec.

use super::store::{ClientTls, Pool};
use crate::form::Url;
use crate::name::SecretRef;
use crate::unit::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where people come from, if not from the spec. Exactly one kind inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Directory {
    /// The name that domains use.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["corp"]))]
    pub name: String,
    /// The server's own directory, kept in the store of `data` and changed through its API.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "people by the API"))]
    pub internal: bool,
    /// An LDAP server, Active Directory too (RFC 4511).
    pub ldap: Option<Ldap>,
    /// Tables of a database.
    pub sql: Option<Sql>,
    /// An OpenID provider, which says whose a token is (OpenID Connect Core §5.3).
    #[schemars(extend("x-unserved" = "OpenID directories"))]
    pub oidc: Option<Oidc>,
    /// How long what it said is believed. Left out: `1m` (Waybill).
    pub cache: Option<Period>,
    /// How long it is believed that somebody is not there. Left out: `10s` (Waybill).
    pub cache_negative: Option<Period>,
    /// Everybody in it has a SCRAM verifier beside the hash or in its place, so SCRAM can be offered: a program takes it
    /// where it is, and whoever has none could not log in (RFC 5803). Left out: `#false`.
    pub scram: Option<bool>,
}

/// An LDAP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ldap {
    /// Its URL.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["ldaps://ldap.example.org"]))]
    pub url: String,
    /// Where people are looked for. Left out: the server's own base.
    #[schemars(extend("x-kdl" = "property", "examples" = ["dc=example,dc=org"]))]
    pub base: Option<String>,
    /// Who looks. Left out: nobody in particular (RFC 4513 §5.1.1).
    #[schemars(extend("x-kdl" = "property", "examples" = ["cn=mail,dc=example,dc=org"]))]
    pub bind_dn: Option<String>,
    /// The password of who looks. Left out: none is sent.
    #[schemars(extend("x-kdl" = "property"))]
    pub bind_password: Option<SecretRef>,
    /// How long a request may take. Left out: `5s` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub timeout: Option<Period>,
    /// How a password is proved. Left out: `bind` (Waybill).
    pub login: Option<LdapLogin>,
    /// Whom people log in as, where they are not looked for first; `{}` stands for the local part. Left
    /// out: they are looked for.
    #[schemars(extend("examples" = ["uid={},ou=people,dc=example,dc=org"]))]
    pub login_dn: Option<String>,
    /// What is looked for; `{}` stands for what is asked and `{local}` for what stands before its `@`, escaped
    /// (RFC 4515 §3).
    pub filter: Option<LdapFilter>,
    /// Which attributes hold what. An entry with `member` or `uniqueMember` is a group: its members get its mail.
    pub attribute: Option<LdapAttribute>,
    /// Connections kept.
    pub pool: Option<Pool>,
    /// TLS to the server. Left out: verified; `starttls` where the URL says `ldap` (Waybill).
    pub tls: Option<ClientTls>,
}

/// How a password is proved to an LDAP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum LdapLogin {
    /// The person is looked for, and then logs in there.
    Bind,
    /// The hash in the attribute `secret` is compared here; needed for SCRAM.
    Compare,
}

/// What is looked for in LDAP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LdapFilter {
    /// A person by the login. Left out: `(&(objectClass=inetOrgPerson)(mail={}))` (RFC 2798).
    #[schemars(extend("examples" = ["(&(objectClass=inetOrgPerson)(mail={}))"]))]
    pub login: Option<String>,
    /// Whoever has an address. Left out: as `login`, with `mailAlternateAddress` too.
    #[schemars(extend("examples" = ["(|(mail={})(mailAlternateAddress={}))"]))]
    pub address: Option<String>,
}

/// Which LDAP attributes hold what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LdapAttribute {
    /// The person's name. Left out: `displayName`, then `cn` (RFC 2798).
    #[schemars(extend("examples" = [["displayName", "cn"]]))]
    pub name: Vec<String>,
    /// The address. Left out: `mail` (RFC 4524).
    #[schemars(extend("examples" = [["mail"]]))]
    pub address: Vec<String>,
    /// Other addresses; of those with a prefix, `smtp:` ones. Left out: `mailAlternateAddress` (Waybill).
    #[schemars(extend("examples" = [["mailAlternateAddress"]]))]
    pub alias: Vec<String>,
    /// Groups that the person is in. Left out: `memberOf` (Active Directory).
    #[schemars(extend("examples" = [["memberOf"]]))]
    pub group: Vec<String>,
    /// The password's hash. Left out: `userPassword` (RFC 4519 §2.41).
    #[schemars(extend("examples" = [["userPassword"]]))]
    pub secret: Vec<String>,
    /// What the mailbox may hold, in octets or with a unit; 0: anything. Left out: `mailQuota` (Waybill).
    #[schemars(extend("examples" = [["mailQuota"]]))]
    pub quota: Vec<String>,
}

/// Tables of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sql {
    /// A `store` of kind postgresql, mysql or sqlite.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["cluster"]))]
    pub store: String,
    /// How long a query may take. Left out: `5s` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub timeout: Option<Period>,
    /// The queries; `$1` stands for what is asked, and is never put into the text. Where a query has none, `?` does.
    pub query: SqlQuery,
}

/// Queries for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SqlQuery {
    /// By login: columns `address`, `name`, `secret`, `quota`, `services`, as many as there are.
    #[schemars(extend("examples" = ["SELECT address, name, secret, quota FROM accounts WHERE address = $1 AND active"]))]
    pub login: String,
    /// By address: the logins of those who get its mail. Left out: whose login it is.
    #[schemars(extend("examples" = ["SELECT login FROM addresses WHERE address = $1"]))]
    pub address: Option<String>,
    /// By login: other addresses. Left out: none.
    #[schemars(extend("examples" = ["SELECT address FROM addresses WHERE login = $1"]))]
    pub alias: Option<String>,
    /// By login: the groups that the person is in. Left out: none.
    #[schemars(extend("examples" = ["SELECT name FROM members WHERE login = $1"]))]
    pub group: Option<String>,
    /// Keeps a password that was right, where its hash is older than argon2id: `$1` the login, `$2` what is kept, `$3` the
    /// hash to keep in place of it, `$4` a SCRAM verifier. Left out: nothing is written.
    #[schemars(extend("examples" = ["UPDATE accounts SET secret = $3 WHERE address = $1 AND secret = $2"]))]
    pub password: Option<String>,
}

/// An OpenID provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Oidc {
    /// The issuer's URL, below which its configuration is found (OpenID Connect Discovery §4).
    #[schemars(extend("x-kdl" = "argument"))]
    pub issuer: Url,
    /// Who we are there.
    #[schemars(extend("x-kdl" = "property", "examples" = ["waybill"]))]
    pub client_id: String,
    /// How we prove it. Left out: we do not.
    #[schemars(extend("x-kdl" = "property"))]
    pub client_secret: Option<SecretRef>,
    /// The claim that holds the address. Left out: `email` (OpenID Connect Core §5.1).
    #[schemars(extend("x-kdl" = "property", "examples" = ["email"]))]
    pub claim: Option<String>,
    /// How long a request may take. Left out: `5s` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub timeout: Option<Period>,
}
