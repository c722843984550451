//! Stalwart: its configuration (TOML), and its principals as `/api/principal` gives them (JSON).

use super::facts::{Facts, Place, Sort};
use super::{ImportError, json_of, password, text_of};
use schema::name::{Address, HostName};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// How deep lists of principals may lie in the answer.
const DEEPEST: usize = 4;

/// Takes principals: domains, people, groups and lists.
pub fn principals(path: &Path, facts: &mut Facts) -> Result<(), ImportError> {
    let json = json_of(path)?;
    let mut found = Vec::new();
    collect(&json, DEEPEST, &mut found);
    if found.is_empty() {
        return Err(ImportError::form(path, "no principals: objects with `type` and `name` are looked for"));
    }
    for domain in found.iter().filter(|one| kind(one) == "domain") {
        facts.domain(text(domain, "name"));
    }
    // Others name principals by their logins.
    let mut logins: BTreeMap<&str, Address> = BTreeMap::new();
    for principal in found.iter().filter(|one| matches!(kind(one), "individual" | "group" | "list")) {
        let emails = strings(principal, "emails");
        let name = text(principal, "name");
        let first = emails.iter().copied().find(|email| !email.starts_with('@'));
        let first = first.or(Some(name).filter(|name| name.contains('@')));
        match first.and_then(|first| facts.address(first)) {
            Some(address) => {
                logins.insert(name, address);
            }
            None => facts.left(format!("the {} `{name}`, which has no address", kind(principal))),
        }
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for principal in &found {
        let what = kind(principal);
        let Some(address) = logins.get(text(principal, "name")).cloned() else {
            if !matches!(what, "domain" | "individual" | "group" | "list") {
                facts.left(format!("the {what} `{}`", text(principal, "name")));
            }
            continue;
        };
        *counts.entry(what).or_default() += 1;
        match what {
            "individual" => person(principal, &address, &logins, facts),
            "group" => members(principal, &address, &logins, facts),
            "list" => list(principal, &address, &logins, facts),
            _ => {}
        }
        others(principal, &address, facts);
    }
    for (what, count) in counts {
        facts.took(&format!("Stalwart principals of type {what}"), count);
    }
    Ok(())
}

fn collect<'a>(json: &'a Value, depth: usize, found: &mut Vec<&'a Value>) {
    match json {
        Value::Array(items) if depth > 0 => items.iter().for_each(|item| collect(item, depth - 1, found)),
        Value::Object(fields) if fields.contains_key("type") && fields.contains_key("name") => found.push(json),
        Value::Object(fields) if depth > 0 => {
            ["data", "items", "list"].iter().filter_map(|name| fields.get(*name)).for_each(|inner| {
                collect(inner, depth - 1, found);
            });
        }
        _ => {}
    }
}

fn kind(principal: &Value) -> &str {
    text(principal, "type")
}

fn text<'a>(principal: &'a Value, field: &str) -> &'a str {
    principal.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A field that is a text, or several.
fn strings<'a>(principal: &'a Value, field: &str) -> Vec<&'a str> {
    match principal.get(field) {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn person(principal: &Value, address: &Address, logins: &BTreeMap<&str, Address>, facts: &mut Facts) {
    if facts.account(address).is_none() {
        return;
    }
    facts.name(address, text(principal, "description"));
    facts.quota(address, principal.get("quota").and_then(Value::as_u64).unwrap_or(0));
    for secret in strings(principal, "secrets") {
        let place = Place::Person(address.clone());
        if secret.starts_with("$app$") {
            facts.note(place, Sort::Left, "an app password");
        } else if secret.starts_with("otpauth:") {
            facts.note(place, Sort::Left, "the second factor (TOTP)");
        } else {
            password::give(facts, address, secret, None);
        }
    }
    let login = text(principal, "name");
    if login != address.to_string() {
        let says = format!("the login `{login}` is now the whole address");
        facts.note(Place::Person(address.clone()), Sort::Guessed, says);
    }
    for group in strings(principal, "memberOf") {
        if let Some(group) = logins.get(group) {
            facts.forward(group, address.clone());
            if let Some(forward) = facts.forwards.get_mut(group) {
                forward.group = true;
            }
        }
    }
    if strings(principal, "roles").contains(&"admin") {
        facts.left(format!("the role admin of `{address}`"));
    }
}

fn members(principal: &Value, address: &Address, logins: &BTreeMap<&str, Address>, facts: &mut Facts) {
    for member in strings(principal, "members") {
        if let Some(to) = logins.get(member).cloned().or_else(|| facts.address(member)) {
            facts.forward(address, to);
        }
    }
    if facts.domain(address.domain.as_str()).is_some() {
        facts.forwards.entry(address.clone()).or_default().group = true;
    }
    facts.left_of(&address.domain, format!("mail that lies in the mailbox of the group `{address}`"));
}

fn list(principal: &Value, address: &Address, logins: &BTreeMap<&str, Address>, facts: &mut Facts) {
    let mut to = Vec::new();
    for member in strings(principal, "members").into_iter().chain(strings(principal, "externalMembers")) {
        to.extend(logins.get(member).cloned().or_else(|| facts.address(member)));
    }
    if facts.domain(address.domain.as_str()).is_none() {
        return;
    }
    let name = Some(text(principal, "description").to_owned()).filter(|name| !name.is_empty());
    let list = facts.lists.entry(address.clone()).or_default();
    list.name = name.filter(|name| !name.contains(char::is_control));
    list.members.extend(to);
    list.posting = Some(schema::spec::Posting::Anyone);
    facts.guessed_of(&address.domain, format!("everybody may post to the list `{address}`, as Stalwart has it"));
}

/// Further addresses of a principal.
fn others(principal: &Value, address: &Address, facts: &mut Facts) {
    for email in strings(principal, "emails") {
        if let Some(domain) = email.strip_prefix('@') {
            facts.catch_all(domain, address);
        } else if let Some(from) = facts.address(email).filter(|from| from != address) {
            facts.forward(&from, address.clone());
        }
    }
}

/// Takes the configuration: the host's name, listeners, and where keys are.
pub fn config(path: &Path, facts: &mut Facts) -> Result<(), ImportError> {
    let table: toml::Table =
        toml::from_str(&text_of(path)?).map_err(|error| ImportError::form(path, error.message()))?;
    let at = |path: &[&str]| {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(table.get(*first)?, |value, name| value.get(*name))
    };
    let hostname = at(&["server", "hostname"]).or_else(|| at(&["lookup", "default", "hostname"]));
    match hostname.and_then(toml::Value::as_str).map(|name| (name, name.parse::<HostName>())) {
        Some((_, Ok(host))) => drop(facts.machine.get_or_insert(host)),
        Some((name, Err(why))) => facts.left(format!("server.hostname `{name}`: it {why}")),
        None => facts.left("server.hostname, which the configuration does not say"),
    }
    let listeners = at(&["server", "listener"]).and_then(toml::Value::as_table);
    for (name, listener) in listeners.into_iter().flatten() {
        listen(name, listener, facts);
    }
    let signatures = at(&["signature"]).and_then(toml::Value::as_table);
    for (name, signature) in signatures.into_iter().flatten() {
        let said = |field: &str| signature.get(field).and_then(toml::Value::as_str).unwrap_or("?");
        let (domain, selector) = (said("domain"), said("selector"));
        if domain != "?" && domain.contains('.') && !domain.contains(['%', '$']) {
            facts.domain(domain);
        }
        facts.left(format!("the DKIM key {name}, selector {selector} of {domain}: name its folder by --keys"));
    }
    for part in table.keys().filter(|name| !["server", "lookup", "signature"].contains(&name.as_str())) {
        facts.left(format!("Stalwart's {part}"));
    }
    facts.took("Stalwart listeners", facts.own.listen.len());
    Ok(())
}

fn listen(name: &str, listener: &toml::Value, facts: &mut Facts) {
    let binds = match listener.get("bind") {
        Some(toml::Value::String(one)) => vec![one.as_str()],
        Some(toml::Value::Array(several)) => several.iter().filter_map(toml::Value::as_str).collect(),
        // Exported settings number their items.
        Some(toml::Value::Table(several)) => several.values().filter_map(toml::Value::as_str).collect(),
        _ => Vec::new(),
    };
    let protocol = listener.get("protocol").and_then(toml::Value::as_str).unwrap_or_default();
    let implicit = listener.get("tls").and_then(|tls| tls.get("implicit"));
    let implicit = implicit.is_some_and(|it| it.as_bool() == Some(true) || it.as_str() == Some("true"));
    for bind in binds {
        let Some(port) = bind.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0)
        else {
            facts.left(format!("the listener {name} at {bind}"));
            continue;
        };
        let service = match (protocol, implicit, port) {
            ("smtp", true, _) => "submissions",
            ("smtp", false, 25) => "smtp",
            ("smtp", false, _) => "submission",
            ("imap", true, _) => "imaps",
            ("imap", false, _) => "imap",
            ("pop3", true, _) => "pop3s",
            ("pop3", false, _) => "pop3",
            ("managesieve", ..) => "managesieve",
            ("http", true, _) => "https",
            ("http", false, _) => "http",
            _ => {
                facts.left(format!("the listener {name} of {protocol}"));
                continue;
            }
        };
        facts.own.listen.entry(service).or_default().insert(port);
    }
}
