//! A list of mailboxes in CSV (RFC 4180), with `,`, `;` or tabs; columns are known by their headers.

use super::facts::{Facts, Place, Sort};
use super::{ImportError, dovecot, password, text_of};
use schema::name::Address;
use std::path::Path;

/// The most rows.
const MOST_ROWS: usize = 1_000_000;
/// The most columns.
const MOST_COLUMNS: usize = 200;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Address,
    Local,
    Domain,
    Name,
    First,
    Last,
    Password,
    Quota,
    /// A quota in mebibytes, as the header says.
    QuotaMiB,
    Aliases,
    Forward,
    Other,
}

fn column(header: &str) -> Column {
    let letters = |c: &char| c.is_ascii_alphanumeric();
    let plain: String = header.to_lowercase().chars().filter(letters).collect();
    match plain.as_str() {
        "address"
        | "email"
        | "emailaddress"
        | "mail"
        | "username"
        | "user"
        | "mailbox"
        | "login"
        | "primaryemail"
        | "emailaddressrequired"
        | "userprincipalname" => Column::Address,
        "localpart" | "local" => Column::Local,
        "domain" | "domainname" => Column::Domain,
        "name" | "fullname" | "displayname" | "realname" | "description" => Column::Name,
        "firstname" | "givenname" | "firstnamerequired" => Column::First,
        "lastname" | "surname" | "familyname" | "lastnamerequired" => Column::Last,
        "password" | "passwordhash" | "hash" | "secret" | "crypt" | "cryptpassword" | "passwordrequired" => {
            Column::Password
        }
        "quota" | "quotabytes" | "mailboxquota" | "storage" | "storagelimit" => Column::Quota,
        "quotamb" | "quotamib" | "quotainmb" | "mailboxquotamb" => Column::QuotaMiB,
        "alias" | "aliases" | "emailaliases" | "proxyaddresses" | "otheraddresses" => Column::Aliases,
        "forward" | "forwards" | "forwardto" | "goto" | "destination" => Column::Forward,
        _ => Column::Other,
    }
}

/// Takes the people of a file.
pub fn read(path: &Path, facts: &mut Facts) -> Result<(), ImportError> {
    let text = text_of(path)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let separator = separator(text.lines().next().unwrap_or_default());
    let mut rows = Rows { text, separator };
    let head = rows.next().transpose().map_err(|why| ImportError::form(path, why))?.unwrap_or_default();
    let columns: Vec<Column> = head.iter().map(|header| column(header)).collect();
    let who = columns.contains(&Column::Address) || columns.contains(&Column::Local);
    if !who {
        let why = "no column is called address, email, username or local_part, so it is not known whose a row is";
        return Err(ImportError::form(path, why));
    }
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    for (header, _) in head.iter().zip(&columns).filter(|(_, column)| **column == Column::Other) {
        facts.left(format!("{file}: the column `{header}`"));
    }
    let mut count = 0;
    for (at, row) in rows.enumerate() {
        if at == MOST_ROWS {
            return Err(ImportError::form(path, "more than 1,000,000 rows"));
        }
        let row = row.map_err(|why| ImportError::form(path, why))?;
        count += usize::from(person(&row, &columns, facts));
    }
    facts.took(&format!("people of {file}"), count);
    Ok(())
}

fn person(row: &[String], columns: &[Column], facts: &mut Facts) -> bool {
    let cell = |wanted: Column| {
        let found = columns.iter().zip(row).find(|(column, cell)| **column == wanted && !cell.trim().is_empty());
        found.map(|(_, cell)| cell.trim())
    };
    let written = match (cell(Column::Address), cell(Column::Local), cell(Column::Domain)) {
        (Some(address), _, _) if address.contains('@') => address.to_owned(),
        (Some(local), _, Some(domain)) | (None, Some(local), Some(domain)) => format!("{local}@{domain}"),
        (Some(local), ..) | (None, Some(local), _) => local.to_owned(),
        (None, None, _) => return false,
    };
    let Some(address) = facts.address_at_home(&written) else { return false };
    // A row that only sends mail on is an alias.
    if let (Some(to), None) = (cell(Column::Forward), cell(Column::Password)) {
        for to in to.split([',', ';', ' ']).filter(|to| !to.is_empty()) {
            if let Some(to) = facts.address_at_home(to) {
                facts.forward(&address, to);
            }
        }
        return true;
    }
    if facts.account(&address).is_none() {
        return false;
    }
    let parts = [cell(Column::First), cell(Column::Last)];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    let name = cell(Column::Name).map_or_else(|| parts.join(" "), str::to_owned);
    facts.name(&address, &name);
    if let Some(text) = cell(Column::Password) {
        password::give(facts, &address, text, None);
    }
    quota(&address, cell(Column::Quota), cell(Column::QuotaMiB), facts);
    for alias in cell(Column::Aliases).unwrap_or_default().split([',', ';', ' ', '|']).filter(|one| !one.is_empty()) {
        let alias = alias.strip_prefix("smtp:").or_else(|| alias.strip_prefix("SMTP:")).unwrap_or(alias);
        // Without a domain, an alias is one of the person's own.
        let alias = if alias.contains('@') { alias.to_owned() } else { format!("{alias}@{}", address.domain) };
        if let Some(from) = facts.address(&alias).filter(|from| *from != address) {
            facts.forward(&from, address.clone());
        }
    }
    true
}

fn quota(address: &Address, octets: Option<&str>, mebibytes: Option<&str>, facts: &mut Facts) {
    let (text, unit) = match (octets, mebibytes) {
        (Some(text), _) => (text, 1),
        (None, Some(text)) => (text, 1 << 20),
        (None, None) => return,
    };
    let place = || Place::Person(address.clone());
    match dovecot::size(text, unit) {
        // Nobody means a mailbox of less than a mebibyte: the column counts in another unit.
        Some(small) if unit == 1 && (1..1 << 20).contains(&small) && text.bytes().all(|b| b.is_ascii_digit()) => {
            facts.note(place(), Sort::Guessed, format!("the quota {text} to be in MiB"));
            facts.quota(address, small << 20);
        }
        Some(octets) => facts.quota(address, octets),
        None if ["unlimited", "none", "-1", "-"].contains(&text.to_lowercase().as_str()) => {}
        None => facts.note(place(), Sort::Left, format!("the quota `{text}`")),
    }
}

/// The separator of which the head has most.
fn separator(head: &str) -> u8 {
    let most =
        [b',', b';', b'\t'].into_iter().rev().max_by_key(|one| head.bytes().filter(|octet| octet == one).count());
    most.unwrap_or(b',')
}

/// Rows, linear in the text.
struct Rows<'a> {
    text: &'a str,
    separator: u8,
}

impl Iterator for Rows<'_> {
    type Item = Result<Vec<String>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        self.text = self.text.trim_start_matches(['\r', '\n']);
        if self.text.is_empty() {
            return None;
        }
        let (mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), false);
        let octets = self.text.as_bytes();
        let mut at = 0;
        while let Some(octet) = octets.get(at).copied() {
            at += 1;
            match octet {
                b'"' if quoted && octets.get(at) == Some(&b'"') => {
                    cell.push(b'"');
                    at += 1;
                }
                b'"' if quoted => quoted = false,
                b'"' if cell.is_empty() => quoted = true,
                b'\n' if !quoted => break,
                octet if octet == self.separator && !quoted => {
                    row.push(String::from_utf8_lossy(&cell).into_owned());
                    cell.clear();
                    if row.len() == MOST_COLUMNS {
                        self.text = "";
                        return Some(Err("a row of more than 200 columns"));
                    }
                }
                octet => cell.push(octet),
            }
        }
        self.text = self.text.get(at..).unwrap_or_default();
        if quoted {
            self.text = "";
            return Some(Err("a quoted cell that does not end"));
        }
        if cell.last() == Some(&b'\r') {
            cell.pop();
        }
        row.push(String::from_utf8_lossy(&cell).into_owned());
        Some(Ok(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_with_quotes_and_line_ends() {
        let text = "a;\"b;\"\"c\"\"\nd\";e\r\n\r\n1;;\n";
        let rows: Result<Vec<_>, _> = Rows { text, separator: separator(text) }.collect();
        assert_eq!(
            rows,
            Ok(vec![vec!["a".into(), "b;\"c\"\nd".into(), "e".into()], vec!["1".into(), String::new(), String::new()]])
        );
        assert!(Rows { text: "\"x", separator: b',' }.any(|row| row.is_err()));
        assert_eq!(column("E-Mail Address"), Column::Address);
        assert_eq!(column("Quota (MB)"), Column::QuotaMiB);
        assert_eq!(column("Email Address [Required]"), Column::Address);
    }
}
