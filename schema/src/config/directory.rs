//! Where the people of a domain come from, if not from the configuration, and how that is asked.

use super::{Pool, Store};
use crate::name::SecretRef;
use crate::spec::{ClientTlsMode, LdapLogin};
use crate::unit::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most marks that one query may have.
pub const MARKS_MOST: usize = 16;

/// Where people come from. Equal entries are one directory, opened once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeDirectory")]
pub struct Directory {
    /// The name that domains use.
    pub name: String,
    /// What is asked.
    pub source: DirectorySource,
    /// How long what it said is believed.
    pub cache: Period,
    /// How long it is believed that somebody is not there.
    pub cache_negative: Period,
    /// Whether everybody in it has a SCRAM verifier.
    pub scram: bool,
}

/// What is asked for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[schemars(rename = "RuntimeDirectorySource")]
pub enum DirectorySource {
    /// An LDAP server.
    Ldap(Ldap),
    /// Tables of a database.
    Sql(Sql),
}

/// An LDAP server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeLdap")]
pub struct Ldap {
    /// Its URL: scheme, name and port.
    pub url: String,
    /// Where people are looked for; `None`: the server's own base.
    pub base: Option<String>,
    /// Who looks; `None`: nobody in particular.
    pub bind_dn: Option<String>,
    /// The password of who looks.
    pub bind_password: Option<SecretRef>,
    /// How long a request may take.
    pub timeout: Period,
    /// How a password is proved.
    pub login: LdapLogin,
    /// Whom people log in as, where they are not looked for first; `{}` stands for the local part.
    pub login_dn: Option<String>,
    /// What is looked for.
    pub filter: LdapFilter,
    /// Which attributes hold what.
    pub attribute: LdapAttribute,
    /// Connections kept.
    pub pool: Pool,
    /// TLS to the server.
    pub tls: LdapTls,
}

/// What is looked for in LDAP; `{}` stands for what is asked, `{local}` for what stands before its `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeLdapFilter")]
pub struct LdapFilter {
    /// A person by the login.
    pub login: String,
    /// Whoever has an address.
    pub address: String,
}

/// Which LDAP attributes hold what; the first that an entry has counts, all for aliases and groups.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeLdapAttribute")]
pub struct LdapAttribute {
    /// The person's name.
    pub name: Vec<String>,
    /// The address.
    pub address: Vec<String>,
    /// Other addresses.
    pub alias: Vec<String>,
    /// Groups that the person is in.
    pub group: Vec<String>,
    /// The password's hash.
    pub secret: Vec<String>,
    /// What the mailbox may hold.
    pub quota: Vec<String>,
}

/// TLS to an LDAP server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeLdapTls")]
pub struct LdapTls {
    /// Whether it is used, and begun how.
    pub mode: ClientTlsMode,
    /// Certificate authorities as PEM; `None`: the system's and those of `trust`.
    pub ca: Option<SecretRef>,
    /// Our certificate chain as PEM.
    pub cert: Option<SecretRef>,
    /// Its private key as PEM.
    pub key: Option<SecretRef>,
    /// The name that the server's certificate must have; `None`: the URL's.
    pub name: Option<String>,
}

/// Tables of a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeSql")]
pub struct Sql {
    /// The database: PostgreSQL, MySQL or SQLite.
    pub store: Store,
    /// How long a query may take.
    pub timeout: Period,
    /// The queries.
    pub query: SqlQuery,
}

/// Queries for people; each `?` ([`marks`]) stands for what is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeSqlQuery")]
pub struct SqlQuery {
    /// By login: columns `address`, `name`, `secret`, `quota`, as many as there are.
    pub login: String,
    /// By address: the logins of those who get its mail; `None`: whose login it is.
    pub address: Option<String>,
    /// By login: other addresses.
    pub alias: Option<String>,
    /// By login: the groups that the person is in.
    pub group: Option<String>,
}

/// Where the `?` of a query stand, in octets: outside of strings, quoted names and comments, as PostgreSQL, MySQL and
/// SQLite read them alike. `None` where one of those does not end.
pub fn marks(query: &str) -> Option<Vec<usize>> {
    let octets = query.as_bytes();
    let mut marks = Vec::new();
    let mut at = 0;
    while let Some(octet) = octets.get(at) {
        let rest = octets.get(at..).unwrap_or_default();
        let past = |start: usize, end: &[u8]| {
            let rest = octets.get(at + start..)?;
            let found = rest.windows(end.len()).position(|part| part == end)?;
            Some(at + start + found + end.len())
        };
        at = match octet {
            // A doubled quote within is two strings, one right after the other: no mark is lost by that.
            b'\'' | b'"' | b'`' => past(1, &[*octet])?,
            b'-' if rest.starts_with(b"--") => past(2, b"\n").unwrap_or(octets.len()),
            b'/' if rest.starts_with(b"/*") => past(2, b"*/")?,
            b'?' => {
                marks.push(at);
                at + 1
            }
            _ => at + 1,
        };
    }
    Some(marks)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn marks_are_counted_outside_of_strings_names_and_comments_alone() {
        for (query, want) in [
            ("SELECT a FROM b WHERE c = ?", Some(vec![26])),
            ("SELECT '?', ?", Some(vec![12])),
            ("SELECT 'it''s ?', \"a?\", `b?`, ?", Some(vec![30])),
            ("SELECT ? -- why?\n, ?", Some(vec![7, 19])),
            ("SELECT /* ? */ ?", Some(vec![15])),
            ("SELECT 'open ?", None),
            ("SELECT /* open ?", None),
            ("SELECT 1 -- ?", Some(vec![])),
        ] {
            assert_eq!(marks(query), want, "{query}");
        }
    }
}
