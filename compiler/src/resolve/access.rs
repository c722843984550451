//! Who gets in: the rules of logins, and the keys of the API.

use crate::code::Code;
use crate::diagnostic::{Path, Report};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schema::config::{self, ApiKey};
use schema::spec::{self, HashKind, Permission, Role, Spec};

/// The rules of logins with every default filled in.
pub fn login(given: Option<&spec::Login>, report: &mut Report) -> config::Login {
    let default = config::Login::default();
    let rules = given.and_then(|login| login.password.as_ref());
    if rules.and_then(|rules| rules.hash).is_some_and(|hash| hash != HashKind::Argon2idScram) {
        let at = Path::root().field("login").field("password").field("hash");
        let says = "`hash` is known, but this version keeps every new password as `argon2id-scram`";
        report.find(Code::NotServed, at, says);
    }
    config::Login {
        password_least: rules.and_then(|rules| rules.least).unwrap_or(default.password_least),
        app_passwords: given.and_then(|login| login.app_passwords).unwrap_or(default.app_passwords),
        own_passwords: given.and_then(|login| login.own_passwords).unwrap_or(default.own_passwords),
    }
}

/// The keys of the API with what their roles let them do, sorted by name.
pub fn keys(spec: &Spec, report: &mut Report) -> Vec<ApiKey> {
    let mut keys: Vec<ApiKey> = Vec::with_capacity(spec.api_key.len());
    for (n, given) in spec.api_key.iter().enumerate() {
        let at = Path::root().field("api-key").item(n);
        let (may, domains) = match spec.role.iter().find(|role| role.name == given.role) {
            Some(Role { may, domain, .. }) => (may.clone(), domain.clone()),
            None => (built_in(&given.role, &at, report), Vec::new()),
        };
        let until = given.until.as_ref().and_then(|day| end(day, &at, report));
        let (name, secret, from) = (given.name.clone(), given.secret.clone(), given.from.clone());
        keys.push(ApiKey { name, secret, may, domains, until, from });
    }
    keys.sort_by(|a, b| a.name.cmp(&b.name));
    keys
}

/// What a built-in role lets a key do. A role that is none has been told where names are held against each other.
fn built_in(role: &str, at: &Path, report: &mut Report) -> Vec<Permission> {
    match role {
        "admin" => Permission::ALL.to_vec(),
        "domain-admin" | "user" => {
            let says = format!("the role `{role}` is about what is one's own, and a key has nothing of its own");
            report
                .find(Code::UnknownRole, at.field("role"), says)
                .help("write a `role` that says what the key may do, and in which domains");
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// The moment after a day, in seconds since 1970.
fn end(day: &str, at: &Path, report: &mut Report) -> Option<i64> {
    let midnight = |next: Date| TimeZone::UTC.to_timestamp(next.at(0, 0, 0, 0));
    let after = day.parse::<Date>().and_then(Date::tomorrow).and_then(midnight);
    if after.is_err() {
        let says = format!("`{day}` is no day");
        report.find(Code::WrongForm, at.field("until"), says).help("write the last day, as in `2027-03-01`");
    }
    after.ok().map(jiff::Timestamp::as_second)
}
