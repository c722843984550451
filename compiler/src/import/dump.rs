//! The `INSERT` lines of an SQL dump as `mysqldump` writes them, for the few tables that are of interest.

use super::mailcow::Row;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The tables.
const TABLES: [&str; 4] = ["domain", "mailbox", "alias", "alias_domain"];
/// The most rows of all of them.
const MOST_ROWS: usize = 2_000_000;

/// The rows of the tables.
pub fn rows(text: &str) -> Result<Vec<Row>, &'static str> {
    let mut columns: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut rows = Vec::new();
    let mut creating: Option<&'static str> = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(table) = after(line, "CREATE TABLE").and_then(|rest| table(rest).0) {
            creating = Some(table);
            columns.insert(table, Vec::new());
        } else if let Some(table) = creating.filter(|_| line.starts_with('`')) {
            let name = line.split('`').nth(1).unwrap_or_default().to_owned();
            columns.entry(table).or_default().push(name);
        } else if line.starts_with(')') {
            creating = None;
        } else if let Some(rest) = after(line, "INSERT INTO") {
            let (Some(table), rest) = table(rest) else { continue };
            insert(table, rest, columns.get(table), &mut rows)?;
        }
    }
    Ok(rows)
}

fn after<'a>(line: &'a str, words: &str) -> Option<&'a str> {
    let head = line.get(..words.len())?;
    head.eq_ignore_ascii_case(words).then(|| line[words.len()..].trim_start())
}

/// The table that a statement is about, where it is of interest, and what follows its name.
fn table(rest: &str) -> (Option<&'static str>, &str) {
    let rest = rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest);
    let end = rest.find([' ', '(']).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let name = name.trim_matches('`').trim_matches('"');
    (TABLES.into_iter().find(|table| *table == name), rest)
}

/// `(columns) VALUES (…),(…);`
fn insert(
    table: &'static str,
    rest: &str,
    known: Option<&Vec<String>>,
    rows: &mut Vec<Row>,
) -> Result<(), &'static str> {
    let (head, values) =
        rest.split_once("VALUES").or_else(|| rest.split_once("values")).ok_or("an INSERT without VALUES")?;
    let own: Vec<String> = head
        .trim()
        .trim_start_matches('(')
        .trim_end_matches(')')
        .split(',')
        .map(|name| name.trim().trim_matches('`').trim_matches('"').to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let columns = if own.is_empty() {
        known.ok_or("an INSERT without column names, and no CREATE TABLE before it")?
    } else {
        &own
    };
    let mut reader = Values { text: values.as_bytes(), at: 0 };
    while let Some(row) = reader.row()? {
        if rows.len() == MOST_ROWS {
            return Err("more rows than are read");
        }
        let fields: Map<String, Value> = columns.iter().cloned().zip(row).collect();
        rows.push(Row { table, fields });
    }
    Ok(())
}

struct Values<'a> {
    text: &'a [u8],
    at: usize,
}

impl Values<'_> {
    fn row(&mut self) -> Result<Option<Vec<Value>>, &'static str> {
        while self.text.get(self.at).is_some_and(|octet| matches!(octet, b' ' | b',' | b';')) {
            self.at += 1;
        }
        if self.text.get(self.at) != Some(&b'(') {
            return Ok(None);
        }
        self.at += 1;
        let mut row = Vec::new();
        loop {
            match self.text.get(self.at) {
                None => return Err("a row that does not end on its line"),
                Some(b')') => {
                    self.at += 1;
                    return Ok(Some(row));
                }
                Some(b',' | b' ') => self.at += 1,
                Some(b'\'') => row.push(self.string()?),
                Some(_) => {
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    let end = rest.iter().position(|octet| matches!(octet, b',' | b')')).unwrap_or(rest.len());
                    let word = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).trim().to_owned();
                    self.at += end;
                    row.push(if word == "NULL" { Value::Null } else { Value::String(word) });
                }
            }
        }
    }

    fn string(&mut self) -> Result<Value, &'static str> {
        self.at += 1;
        let mut octets = Vec::new();
        while let Some(octet) = self.text.get(self.at).copied() {
            let next = self.text.get(self.at + 1).copied();
            self.at += 1;
            match (octet, next) {
                (b'\\', Some(next)) => {
                    octets.push(match next {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'0' => 0,
                        other => other,
                    });
                    self.at += 1;
                }
                (b'\'', Some(b'\'')) => {
                    octets.push(b'\'');
                    self.at += 1;
                }
                (b'\'', _) => return Ok(Value::String(String::from_utf8_lossy(&octets).into_owned())),
                (octet, _) => octets.push(octet),
            }
        }
        Err("a string that does not end on its line")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_of_a_dump_are_read() {
        let text = "CREATE TABLE `alias` (\n  `id` int,\n  `address` varchar(255),\n  `goto` text,\n  KEY `x` (`y`)\n) \
                    ENGINE=InnoDB;\nINSERT INTO `other` VALUES (1);\nINSERT INTO `alias` VALUES (1,'a@b.c','x\\'y, \
                    (z)'),(2,NULL,'it''s');\nINSERT INTO `mailbox` (`username`, `active`) VALUES ('q',1);\n";
        let rows = rows(text).unwrap();
        let shown: Vec<String> = rows.iter().map(|row| format!("{} {:?}", row.table, row.fields.get("goto"))).collect();
        assert_eq!(rows.len(), 3, "{shown:?}");
        assert_eq!(rows[0].fields["goto"], "x'y, (z)");
        assert_eq!(rows[1].fields["goto"], "it's");
        assert!(rows[1].fields["address"].is_null());
        assert_eq!(rows[2].fields["username"], "q");
        for wrong in
            ["INSERT INTO `alias` VALUES (1", "INSERT INTO `alias` (`a`) VALUES ('x", "INSERT INTO `alias` (a)"]
        {
            assert!(super::rows(wrong).is_err(), "{wrong}");
        }
    }
}
