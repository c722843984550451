//! Where people come from that are not in the spec.

use super::stores;
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use schema::config::{
    self, Directory, DirectorySource, Ldap, LdapAttribute, LdapFilter, LdapTls, MARKS_MOST, Sql, SqlQuery, Store,
};
use schema::spec::{self, ClientTlsMode, LdapLogin, PeopleFrom, Spec};
use schema::unit::Period;
use std::collections::BTreeMap;

mod filter;

/// What is looked for if nothing is said (RFC 2798).
const LOGIN_FILTER: &str = "(&(objectClass=inetOrgPerson)(mail={}))";
const ADDRESS_FILTER: &str = "(&(objectClass=inetOrgPerson)(|(mail={})(mailAlternateAddress={})))";

/// The directories that domains name, by name, with every default filled in. What is not served has been told when it
/// was read, and is not among them.
pub fn directories(spec: &Spec, report: &mut Report) -> BTreeMap<String, Directory> {
    let mut bound = BTreeMap::new();
    for (n, domain) in spec.domain.iter().enumerate() {
        if domain.directory.is_some() && domain.people == Some(PeopleFrom::Api) {
            let at = Path::root().field("domain").item(n).field("people");
            let says =
                format!("the people of `{}` come from a directory, and the API cannot keep them too", domain.name);
            report.find(Code::DirectoryClash, at, says).help("take out `people` or `directory`");
        }
    }
    for (n, given) in spec.directory.iter().enumerate() {
        let at = Path::root().field("directory").item(n);
        let source = match (&given.ldap, &given.sql) {
            (Some(given), None) => Some(DirectorySource::Ldap(ldap(given, &at.field("ldap"), report))),
            (None, Some(given)) => sql(given, spec, &at.field("sql"), report).map(DirectorySource::Sql),
            _ => None,
        };
        let Some(source) = source else { continue };
        let directory = Directory {
            name: given.name.clone(),
            source,
            cache: given.cache.unwrap_or(Period(60)),
            cache_negative: given.cache_negative.unwrap_or(Period(10)),
            scram: given.scram == Some(true),
        };
        if spec.domain.iter().any(|domain| domain.directory.as_ref() == Some(&given.name)) {
            bound.entry(given.name.clone()).or_insert(directory);
        }
    }
    bound
}

fn ldap(given: &spec::Ldap, at: &Path, report: &mut Report) -> Ldap {
    let given_tls = given.tls.clone().unwrap_or_default();
    let mode = url(given, &given_tls, at, report);
    credentials(given, &given_tls, at, report);
    let filters = given.filter.clone().unwrap_or_default();
    for (name, text) in [("login", &filters.login), ("address", &filters.address)] {
        let wrong = text.as_ref().and_then(|text| filter::wrong(text));
        if let Some(why) = wrong {
            report
                .find(Code::WrongForm, at.field("filter").field(name), format!("this is no LDAP filter: {why}"))
                .help(format!("as in `{LOGIN_FILTER}` (RFC 4515)"));
        }
    }
    if given.login_dn.as_ref().is_some_and(|dn| !dn.contains("{}") || !dn.contains('=')) {
        let says = "a person's name in LDAP holds `=`, and `{}` where the local part of the login goes";
        report
            .find(Code::WrongForm, at.field("login-dn"), says)
            .help("as in `login-dn \"uid={},ou=people,dc=example,dc=org\"`");
    }
    let address = filters.address.unwrap_or_else(|| match &filters.login {
        Some(login) => format!("(|{login}(mailAlternateAddress={{}}))"),
        None => ADDRESS_FILTER.to_owned(),
    });
    Ldap {
        url: given.url.clone(),
        base: given.base.clone(),
        bind_dn: given.bind_dn.clone(),
        bind_password: given.bind_password.clone(),
        timeout: given.timeout.unwrap_or(Period(5)),
        login: given.login.unwrap_or(LdapLogin::Bind),
        login_dn: given.login_dn.clone(),
        filter: LdapFilter { login: filters.login.unwrap_or_else(|| LOGIN_FILTER.to_owned()), address },
        attribute: attributes(given.attribute.clone().unwrap_or_default(), &at.field("attribute"), report),
        pool: stores::pool(given.pool.as_ref()),
        tls: LdapTls { mode, ca: given_tls.ca, cert: given_tls.cert, key: given_tls.key, name: given_tls.name },
    }
}

/// Holds the URL against the form of one, and tells how TLS is begun.
fn url(given: &spec::Ldap, tls: &spec::ClientTls, at: &Path, report: &mut Report) -> ClientTlsMode {
    let secure = given.url.starts_with("ldaps://");
    let rest = given.url.strip_prefix("ldaps://").or_else(|| given.url.strip_prefix("ldap://"));
    let rest = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['/', '?', '#', '@', ' '])) {
        report
            .find(Code::WrongForm, at.field("url"), "an LDAP server's URL is a scheme and the server's name")
            .help("as in `ldaps://ldap.example.org`; whose and which base stand in `bind-dn` and `base`");
    }
    match (secure, tls.mode) {
        (true, Some(ClientTlsMode::Off | ClientTlsMode::Starttls)) => {
            let says = "`ldaps` is TLS from the first octet, and `tls` says otherwise";
            report
                .find(Code::DirectoryClash, at.field("tls").field("mode"), says)
                .help("take one of them out, or write `ldap://…`");
            ClientTlsMode::On
        }
        (true, _) => ClientTlsMode::On,
        (false, Some(ClientTlsMode::On)) => {
            let says = "`ldap` begins in the clear, and `tls` says otherwise";
            report.find(Code::DirectoryClash, at.field("tls").field("mode"), says).help("write `ldaps://…`");
            ClientTlsMode::Starttls
        }
        (false, mode) => mode.unwrap_or(ClientTlsMode::Starttls),
    }
}

/// Who looks needs a password, and the other way round: without one a server lets in nobody, and says that it was right
/// (RFC 4513 §5.1.2).
fn credentials(given: &spec::Ldap, tls: &spec::ClientTls, at: &Path, report: &mut Report) {
    let pairs = [
        (given.bind_dn.is_some(), given.bind_password.is_some(), "bind-dn", "bind-password", at.clone()),
        (tls.cert.is_some(), tls.key.is_some(), "cert", "key", at.field("tls")),
    ];
    for (first, second, one, other, at) in pairs {
        if first != second {
            let (there, away) = if first { (one, other) } else { (other, one) };
            let says = format!("`{there}` is given, and `{away}` is not");
            report.find(Code::DirectoryClash, at.field(there), says).help(format!("write `{away}` too, or neither"));
        }
    }
}

fn attributes(given: spec::LdapAttribute, at: &Path, report: &mut Report) -> LdapAttribute {
    let mut names = |name: &'static str, given: Vec<String>, default: &[&str]| {
        for (n, one) in given.iter().enumerate().filter(|(_, one)| !filter::is_attribute(one)) {
            let says = format!("`{one}` is no name of an attribute");
            report.find(Code::WrongForm, at.field(name).item(n), says).help("letters, digits and `-` (RFC 4512 §2.5)");
        }
        if given.is_empty() { default.iter().map(|one| (*one).to_owned()).collect() } else { given }
    };
    LdapAttribute {
        name: names("name", given.name, &["displayName", "cn"]),
        address: names("address", given.address, &["mail"]),
        alias: names("alias", given.alias, &["mailAlternateAddress"]),
        group: names("group", given.group, &["memberOf"]),
        secret: names("secret", given.secret, &["userPassword"]),
        quota: names("quota", given.quota, &["mailQuota"]),
    }
}

/// What `$1`, `$2` and `$3` of a query stand for.
const VALUES: [&str; 3] = ["the one who is asked for", "what is kept", "what is to be kept"];

/// `None` where its store is none, which is told where names are held against each other.
fn sql(given: &spec::Sql, spec: &Spec, at: &Path, report: &mut Report) -> Option<Sql> {
    let queries = &given.query;
    let written = [
        ("login", Some(&queries.login)),
        ("address", queries.address.as_ref()),
        ("alias", queries.alias.as_ref()),
        ("group", queries.group.as_ref()),
        ("password", queries.password.as_ref()),
    ];
    for (name, query) in written {
        let Some(query) = query else { continue };
        let (needed, known, help) = match name {
            "password" => (3, 4, "as in `UPDATE accounts SET secret = $3 WHERE address = $1 AND secret = $2`"),
            _ => (1, 1, "as in `SELECT address, name, secret FROM accounts WHERE address = $1`"),
        };
        let says = match config::marks(query) {
            None => "a string, a quoted name or a comment does not end".to_owned(),
            Some(marks) if marks.len() > MARKS_MOST => format!("more than {MARKS_MOST} values"),
            Some(marks) => {
                let absent = (1..=needed).find(|number| marks.iter().all(|mark| mark.number != *number));
                let strange = marks.iter().find(|mark| !(1..=known).contains(&mark.number));
                match (absent, strange) {
                    (Some(number), _) => format!("no `${number}` says where {} goes", VALUES[number - 1]),
                    (None, Some(mark)) => format!("`${}` stands for nothing", mark.number),
                    (None, None) => continue,
                }
            }
        };
        report.find(Code::WrongForm, at.field("query").field(name), says).help(help);
    }
    let store = spec.store.iter().find(|store| store.name == given.store).and_then(stores::bound)?;
    let tables = matches!(store, Store::Postgresql(_) | Store::Mysql(_) | Store::Sqlite { .. });
    tables.then(|| Sql {
        store,
        timeout: given.timeout.unwrap_or(Period(5)),
        query: SqlQuery {
            login: queries.login.clone(),
            address: queries.address.clone(),
            alias: queries.alias.clone(),
            group: queries.group.clone(),
            password: queries.password.clone(),
        },
    })
}
