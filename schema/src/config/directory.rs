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

/// Queries for people; `$1` ([`marks`]) stands for what is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeSqlQuery")]
pub struct SqlQuery {
    /// By login: columns `address`, `name`, `secret`, `quota`, `services`, as many as there are.
    pub login: String,
    /// By address: the logins of those who get its mail; `None`: whose login it is.
    pub address: Option<String>,
    /// By login: other addresses.
    pub alias: Option<String>,
    /// By login: the groups that the person is in.
    pub group: Option<String>,
    /// Keeps a password that was right as it would be kept today: `$1` the login, `$2` what is kept, `$3` the hash to keep
    /// in place of it, `$4` a SCRAM verifier. `None`: nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// Where a value goes in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where it stands, in octets,
    pub at: usize,
    /// and how many it has.
    pub length: usize,
    /// Which value: that of `$1` is 1.
    pub number: usize,
}

/// Where values go in a query: its `$1`, `$2` and so on or, where it has none of them, its `?`, which are all the first
/// value. Those in strings, quoted names and comments are none, as PostgreSQL, MySQL and SQLite read these alike. `None`
/// where one of those does not end.
pub fn marks(query: &str) -> Option<Vec<Mark>> {
    let octets = query.as_bytes();
    let (mut numbered, mut plain) = (Vec::new(), Vec::new());
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
                plain.push(Mark { at, length: 1, number: 1 });
                at + 1
            }
            b'$' => {
                let digits = rest.iter().skip(1).take(3).take_while(|octet| octet.is_ascii_digit()).count();
                let number = query.get(at + 1..at + 1 + digits).and_then(|digits| digits.parse().ok());
                // A name may hold a `$`.
                let named = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'$');
                let begins =
                    at.checked_sub(1).and_then(|before| octets.get(before)).is_none_or(|before| !named(before));
                numbered.extend(number.filter(|_| begins).map(|number| Mark { at, length: 1 + digits, number }));
                at + 1 + digits
            }
            _ => at + 1,
        };
    }
    Some(if numbered.is_empty() { plain } else { numbered })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn marks_are_counted_outside_of_strings_names_and_comments_alone() {
        for (query, want) in [
            ("SELECT a FROM b WHERE c = $1", Some(vec![(26, 1)])),
            ("SELECT '$1', $1", Some(vec![(13, 1)])),
            ("SELECT 'it''s $1', \"a$1\", `b$1`, $12", Some(vec![(33, 12)])),
            ("SELECT $1 -- $2?\n, $3", Some(vec![(7, 1), (19, 3)])),
            ("SELECT /* $1 */ $1", Some(vec![(16, 1)])),
            ("SELECT a$1, $tag, $$, $1::text", Some(vec![(22, 1)])),
            ("SELECT 'open $1", None),
            ("SELECT /* open $1", None),
            ("SELECT 1 -- $1", Some(vec![])),
            // In some databases' own way, and an operator of PostgreSQL where there is the other one.
            ("SELECT ?, '?', ?", Some(vec![(7, 1), (15, 1)])),
            ("SELECT a ? 'b' FROM c WHERE d = $1", Some(vec![(32, 1)])),
        ] {
            let found = marks(query).map(|marks| marks.iter().map(|mark| (mark.at, mark.number)).collect());
            assert_eq!(found, want, "{query}");
        }
    }
}
