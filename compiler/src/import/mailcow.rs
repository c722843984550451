//! Mailcow: what its API answers (`get/domain/all`, `get/mailbox/all`, `get/alias/all`, `get/alias-domain/all`), or
//! the same tables of an SQL dump, which hold password hashes too. PostfixAdmin's tables are of the same form.

use super::facts::{Facts, Place, Sort};
use super::{ImportError, dump, password, text_of};
use schema::name::{Address, DomainName};
use serde_json::Value;
use std::path::Path;

/// A row, by its table.
pub struct Row {
    /// `domain`, `mailbox`, `alias` or `alias_domain`.
    pub table: &'static str,
    /// Its columns.
    pub fields: serde_json::Map<String, Value>,
}

/// Takes the rows of a file.
pub fn read(path: &Path, facts: &mut Facts) -> Result<(), ImportError> {
    let text = text_of(path)?;
    let rows = if text.trim_start().starts_with(['[', '{']) {
        let json = serde_json::from_str(&text).map_err(|error| ImportError::form(path, error.to_string()))?;
        let mut rows = Vec::new();
        answers(json, &mut rows);
        rows
    } else {
        dump::rows(&text).map_err(|why| ImportError::form(path, why))?
    };
    if rows.is_empty() {
        return Err(ImportError::form(path, "no domains, mailboxes or aliases"));
    }
    for table in ["domain", "mailbox", "alias", "alias_domain"] {
        let mut count = 0;
        for row in rows.iter().filter(|row| row.table == table) {
            count += usize::from(match table {
                "domain" => domain(row, facts),
                "mailbox" => mailbox(row, facts),
                "alias" => alias(row, facts),
                _ => twin(row, facts),
            });
        }
        facts.took(&format!("Mailcow rows of {table}"), count);
    }
    Ok(())
}

/// The objects of an answer, or of several in one list.
fn answers(json: Value, rows: &mut Vec<Row>) {
    match json {
        Value::Array(items) => items.into_iter().for_each(|item| match item {
            Value::Array(inner) => inner.into_iter().for_each(|item| answer(item, rows)),
            item => answer(item, rows),
        }),
        // A file of all answers by name.
        Value::Object(fields) if fields.values().all(Value::is_array) => {
            fields.into_iter().for_each(|(_, items)| answers(items, rows));
        }
        other => answer(other, rows),
    }
}

fn answer(json: Value, rows: &mut Vec<Row>) {
    let Value::Object(fields) = json else { return };
    let has = |name: &str| fields.contains_key(name);
    let table = if has("target_domain") {
        "alias_domain"
    } else if has("goto") {
        "alias"
    } else if has("username") && (has("local_part") || has("quota")) {
        "mailbox"
    } else if has("domain_name") {
        "domain"
    } else {
        return;
    };
    rows.push(Row { table, fields });
}

impl Row {
    fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number, also one that is written as a text.
    fn number(&self, name: &str) -> Option<u64> {
        let value = self.fields.get(name)?;
        value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
    }

    fn truth(&self, name: &str) -> Option<bool> {
        self.number(name).map(|number| number > 0).or_else(|| self.fields.get(name).and_then(Value::as_bool))
    }

    fn is_off(&self) -> bool {
        self.truth("active") == Some(false)
    }
}

fn domain(row: &Row, facts: &mut Facts) -> bool {
    let name = Some(row.text("domain_name")).filter(|name| !name.is_empty()).unwrap_or(row.text("domain"));
    // PostfixAdmin keeps its settings for all under this name.
    if name == "ALL" {
        return false;
    }
    if row.is_off() {
        facts.left(format!("the domain `{name}`, which is not active"));
        return false;
    }
    if row.truth("backupmx") == Some(true) {
        facts.left(format!("the domain `{name}`, for which the machine only passes mail on"));
        return false;
    }
    facts.domain(name).is_some()
}

fn mailbox(row: &Row, facts: &mut Facts) -> bool {
    let Some(address) = facts.address(row.text("username")) else { return false };
    if row.is_off() {
        facts.left_of(&address.domain, format!("the mailbox `{address}`, which is not active"));
        return false;
    }
    if facts.account(&address).is_none() {
        return false;
    }
    facts.name(&address, row.text("name"));
    facts.quota(&address, row.number("quota").unwrap_or(0));
    if row.number("active") == Some(2) {
        facts.note(Place::Person(address), Sort::Left, "the password: logging in is turned off");
    } else {
        password::give(facts, &address, row.text("password"), None);
    }
    true
}

fn alias(row: &Row, facts: &mut Facts) -> bool {
    let (from, to) = (row.text("address"), row.text("goto"));
    if row.is_off() {
        facts.left(format!("the alias `{from}`, which is not active"));
        return false;
    }
    let mut targets: Vec<Address> = Vec::new();
    for to in to.split(',').map(str::trim).filter(|to| !to.is_empty()) {
        if to.ends_with("@localhost") {
            facts.left(format!("the alias `{from}` to {to}"));
        } else {
            targets.extend(facts.address(to));
        }
    }
    if let Some(domain) = from.strip_prefix('@') {
        match targets.as_slice() {
            [one] => facts.catch_all(domain, one),
            [] => {}
            _ => facts.left(format!("the catch-all of `{domain}`: it has several people; write a group")),
        }
        return true;
    }
    let Some(from) = facts.address(from) else { return false };
    for to in targets {
        facts.forward(&from, to);
    }
    true
}

fn twin(row: &Row, facts: &mut Facts) -> bool {
    let (domain, of) = (row.text("alias_domain"), row.text("target_domain"));
    let (Ok(name), Ok(of)) = (domain.parse::<DomainName>(), of.parse::<DomainName>()) else {
        facts.left(format!("the alias domain `{domain}` of `{of}`"));
        return false;
    };
    if row.is_off() {
        facts.left(format!("the alias domain `{domain}`, which is not active"));
        return false;
    }
    let known = facts.domain(domain).is_some();
    if known {
        facts.twins.insert(name, of);
    }
    known
}
