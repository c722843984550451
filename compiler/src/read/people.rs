//! People in bulk: a CSV file with a header, or one JSON object a line, as a tree of `account` nodes. So everything that
//! holds for an account in KDL holds for these, and a finding names the cell.

use super::tree::{Builder, Tree};
use crate::code::Code;
use crate::diagnostic::nearest;
use csv::StringRecord;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How many people may come from files, in all.
pub const MOST_PEOPLE: usize = 1_000_000;
/// The longest record, in octets.
pub const LONGEST_RECORD: usize = 64 << 10;
/// How many wrong records of a file are told.
const MOST_FOUND: usize = 200;
/// What a person has.
const COLUMNS: [&str; 5] = ["local", "name", "password", "alias", "quota"];

/// How people are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Comma-separated values (RFC 4180), the first line naming the columns.
    Csv,
    /// One JSON object a line.
    Lines,
}

impl Sort {
    /// By a file's name.
    pub fn of(name: &str) -> Option<Sort> {
        match name.rsplit_once('.')?.1 {
            "csv" => Some(Sort::Csv),
            "jsonl" | "ndjson" => Some(Sort::Lines),
            _ => None,
        }
    }
}

/// What is wrong with a file of people.
#[derive(Debug)]
pub struct Found {
    /// What kind of finding.
    pub code: Code,
    /// Where.
    pub span: Range<usize>,
    /// What is wrong, one sentence.
    pub says: String,
    /// How to mend it.
    pub help: Option<String>,
    /// People are missing because of it.
    pub partial: bool,
}

/// A file of people.
#[derive(Debug)]
pub struct Table {
    /// An `account` node a person.
    pub tree: Tree,
    /// What is wrong with it.
    pub found: Vec<Found>,
}

/// Reads a file of people, at most so many.
pub fn read(text: Arc<str>, sort: Sort, most: usize) -> Table {
    let mut reader = Reader { text: Arc::clone(&text), builder: Builder::new(text), found: Vec::new(), rows: 0, most };
    match sort {
        Sort::Csv => reader.csv(),
        Sort::Lines => reader.lines(),
    }
    Table { tree: reader.builder.finish(), found: reader.found }
}

/// Where the names of columns stand in a file's first line, which may be shown.
pub fn header(text: &str) -> Vec<Range<usize>> {
    let line = text.lines().next().unwrap_or_default();
    let named = |span: &Range<usize>| COLUMNS.contains(&line[span.clone()].trim_matches(['"', ' ']));
    cells(line, 0).into_iter().filter(named).collect()
}

struct Reader {
    text: Arc<str>,
    builder: Builder,
    found: Vec<Found>,
    rows: usize,
    most: usize,
}

/// A text and where it stands.
type Cell<'a> = (Cow<'a, str>, Range<usize>);

/// What is known of a person.
#[derive(Default)]
struct Person<'a> {
    single: [Option<Cell<'a>>; COLUMNS.len()],
    password: Vec<Cell<'a>>,
    alias: Vec<Cell<'a>>,
}

impl Reader {
    fn wrong(&mut self, code: Code, span: Range<usize>, says: impl Into<String>) -> Option<&mut Found> {
        if self.found.len() >= MOST_FOUND {
            return None;
        }
        self.found.push(Found { code, span, says: says.into(), help: None, partial: true });
        self.found.last_mut()
    }

    /// Whether another person may come; told once where not.
    fn has_room(&mut self, at: usize) -> bool {
        self.rows += 1;
        if self.rows <= self.most {
            return true;
        }
        let says = format!("more than {MOST_PEOPLE} people come from files");
        if let Some(found) = self.wrong(Code::TooManyPeople, at..at + 1, says) {
            found.help = Some("split the platform into several specs".into());
        }
        false
    }

    fn csv(&mut self) {
        let text = Arc::clone(&self.text);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let mut record = StringRecord::new();
        let mut columns: Option<Vec<Option<usize>>> = None;
        loop {
            let from = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
            // The text is UTF-8 and lengths may differ, so nothing else fails.
            match reader.read_record(&mut record) {
                Ok(true) => {}
                _ => break,
            }
            let end = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
            let source = text.get(from..end).unwrap_or_default();
            let start = from + source.len() - source.trim_start_matches(['\r', '\n']).len();
            if end - from > LONGEST_RECORD {
                let says = format!("a record is longer than {LONGEST_RECORD} octets");
                if let Some(found) = self.wrong(Code::PeopleRecord, start..start + 1, says) {
                    found.help = Some("a quote may not be closed".into());
                }
                break;
            }
            let spans = cells(text.get(start..end).unwrap_or_default(), start);
            match &columns {
                None => match self.columns(&record, &spans) {
                    Some(found) => columns = Some(found),
                    None => return,
                },
                Some(columns) => {
                    if !self.has_room(start) || self.found.len() >= MOST_FOUND {
                        return;
                    }
                    self.record(columns, &record, &spans);
                }
            }
        }
        if columns.is_none() && self.found.is_empty() {
            self.no_local(0..0);
        }
    }

    fn no_local(&mut self, at: Range<usize>) {
        if let Some(found) = self.wrong(Code::PeopleColumn, at, "the file has no column `local`") {
            found.help = Some("begin it with a line such as `local,name,password,alias,quota`".into());
        }
    }

    /// Which column is which; `None` where none is `local`.
    fn columns(&mut self, record: &StringRecord, spans: &[Range<usize>]) -> Option<Vec<Option<usize>>> {
        let mut columns: Vec<Option<usize>> = Vec::new();
        for (at, name) in record.iter().enumerate() {
            let span = spans.get(at).cloned().unwrap_or_default();
            let known = self.column(name.trim(), span.clone());
            if known.is_some() && columns.contains(&known) {
                self.wrong(Code::PeopleColumn, span, format!("the column `{}` is there twice", name.trim()));
                columns.push(None);
            } else {
                columns.push(known);
            }
        }
        if columns.contains(&Some(0)) {
            return Some(columns);
        }
        self.no_local(spans.first().cloned().unwrap_or_default());
        None
    }

    /// What a column is; told where nothing.
    fn column(&mut self, name: &str, span: Range<usize>) -> Option<usize> {
        let known = COLUMNS.iter().position(|column| *column == name);
        if known.is_none() {
            let near = super::secrecy::is_near(name, COLUMNS.into_iter(), 2);
            let says = format!("people have no `{}`", if near { name } else { "…" });
            let help = nearest(name, COLUMNS).or_else(|| Some(format!("known here: `{}`", COLUMNS.join("`, `"))));
            if let Some(found) = self.wrong(Code::PeopleColumn, span, says) {
                found.help = help;
            }
        }
        known
    }

    fn record(&mut self, columns: &[Option<usize>], record: &StringRecord, spans: &[Range<usize>]) {
        let start = spans.first().map_or(0, |span| span.start);
        if record.len() != columns.len() {
            let says = format!("the record has {} cells where the first line has {}", record.len(), columns.len());
            let end = spans.last().map_or(start, |span| span.end);
            if let Some(found) = self.wrong(Code::PeopleRecord, start..end, says) {
                found.help = Some("a text that holds a comma or a quote must be in quotes".into());
            }
            return;
        }
        let mut person = Person::default();
        for ((column, text), span) in columns.iter().zip(record.iter()).zip(spans) {
            let Some(column) = column.filter(|_| !text.is_empty()) else { continue };
            match COLUMNS.get(column) {
                Some(&"password") => words(&self.text, text, span, &mut person.password),
                Some(&"alias") => words(&self.text, text, span, &mut person.alias),
                _ => person.single[column] = Some((Cow::Borrowed(text), span.clone())),
            }
        }
        self.person(person, start);
    }

    fn lines(&mut self) {
        let text = Arc::clone(&self.text);
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let (at, line) = (start, line.trim_end());
            start += text[start..].find('\n').map_or(text.len() - start, |end| end + 1);
            if line.is_empty() {
                continue;
            }
            if !self.has_room(at) || self.found.len() >= MOST_FOUND {
                return;
            }
            if line.len() > LONGEST_RECORD {
                let says = format!("a record is longer than {LONGEST_RECORD} octets");
                self.wrong(Code::PeopleRecord, at..at + 1, says);
                continue;
            }
            match serde_json::from_str::<Object<'_>>(line) {
                Ok(object) => self.object(line, at, object),
                Err(error) => {
                    let column = error.column().saturating_sub(1).min(line.len().saturating_sub(1));
                    // What serde says of a value may hold it.
                    let says = if error.is_data() { "a line must be a JSON object" } else { "the line is not JSON" };
                    let help = "write one object a line, as in `{\"local\": \"ada\", \"alias\": [\"a.l\"]}`";
                    if let Some(found) = self.wrong(Code::PeopleRecord, at + column..at + column + 1, says) {
                        found.help = Some(help.into());
                    }
                }
            }
        }
    }

    fn object(&mut self, line: &str, at: usize, object: Object<'_>) {
        let place = |text: &str| {
            let from = text.as_ptr().addr().wrapping_sub(line.as_ptr().addr());
            at + from..at + from + text.len()
        };
        let mut person = Person::default();
        let mut seen = [false; COLUMNS.len()];
        for (key, raw) in object.0 {
            let span = place(raw.get());
            let before = line.get(..span.start - at).unwrap_or_default();
            let named = before.rfind(&format!("\"{key}\"")).map(|from| at + from..at + from + key.len() + 2);
            let Some(column) = self.column(&key, named.unwrap_or_else(|| span.clone())) else { continue };
            if std::mem::replace(&mut seen[column], true) {
                self.wrong(Code::PeopleColumn, span, format!("`{key}` is there twice"));
                continue;
            }
            let several = matches!(COLUMNS[column], "password" | "alias");
            let Some(texts) = texts(raw, several) else {
                let takes = if several { "text, or an array of texts" } else { "text" };
                self.wrong(Code::PeopleRecord, span, format!("`{}` takes {takes}", COLUMNS[column]));
                continue;
            };
            for (text, raw) in texts {
                let span = place(raw.get());
                match COLUMNS[column] {
                    "password" => words(&self.text, &text, &span, &mut person.password),
                    "alias" => words(&self.text, &text, &span, &mut person.alias),
                    _ => person.single[column] = Some((text, span)),
                }
            }
        }
        self.person(person, at);
    }

    /// A person as an `account` node.
    fn person(&mut self, person: Person<'_>, start: usize) {
        let [local, name, _, _, quota] = person.single;
        let builder = &mut self.builder;
        let at = local.as_ref().map_or(start..start + 1, |(_, span)| span.clone());
        let account = builder.begin("account", &at);
        if let Some((text, span)) = &local {
            builder.value(account, None, None, (text, span));
        }
        if let Some((text, span)) = &name {
            builder.value(account, Some("name"), None, (text, span));
        }
        for (node, texts) in [("password", person.password), ("alias", person.alias)] {
            let Some((_, first)) = texts.first() else { continue };
            let child = builder.begin(node, first);
            for (text, span) in &texts {
                let (annotation, text) = if node == "password" { proof(text) } else { (None, &**text) };
                builder.value(child, None, annotation, (text, span));
            }
            builder.end(child);
        }
        if let Some((text, span)) = &quota {
            let child = builder.begin("quota", span);
            builder.value(child, None, None, (text, span));
            builder.end(child);
        }
        builder.end(account);
    }
}

/// What sort of proof a text is, by its annotation or by its form. A plain password is none, and is refused later.
fn proof(text: &str) -> (Option<&str>, &str) {
    if let Some((annotation, rest)) = text.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        return (Some(annotation), rest);
    }
    let scram = text.strip_prefix("SCRAM-SHA-").is_some_and(|rest| rest.contains('$'));
    match text.starts_with('$') {
        true => (Some("hash"), text),
        false => (scram.then_some("scram"), text),
    }
}

/// The words of a cell, each where it stands, if it stands there as it is.
fn words<'a>(file: &str, cell: &str, span: &Range<usize>, into: &mut Vec<Cell<'a>>) {
    let written = file.get(span.clone()).unwrap_or_default();
    let inside = written.find(cell).map(|at| span.start + at);
    for word in cell.split_whitespace() {
        let from = word.as_ptr().addr().wrapping_sub(cell.as_ptr().addr());
        let at = inside.map_or_else(|| span.clone(), |start| start + from..start + from + word.len());
        into.push((Cow::Owned(word.to_owned()), at));
    }
}

/// Where the cells of a record stand, quotes and all.
fn cells(record: &str, start: usize) -> Vec<Range<usize>> {
    let octets = record.as_bytes();
    let (mut cells, mut from, mut at, mut quoted) = (Vec::new(), 0, 0, false);
    while let Some(octet) = octets.get(at) {
        match octet {
            b'"' if quoted || at == from => quoted = !quoted,
            b'"' if octets.get(at.wrapping_sub(1)) == Some(&b'"') => quoted = true,
            b',' if !quoted => {
                cells.push(start + from..start + at);
                from = at + 1;
            }
            b'\r' | b'\n' if !quoted => break,
            _ => {}
        }
        at += 1;
    }
    cells.push(start + from..start + at);
    cells
}

/// The texts of a JSON value: one, several, or none for `null`; `None` where it is something else.
fn texts(raw: &RawValue, several: bool) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    let text = |raw: &'_ RawValue| serde_json::from_str::<String>(raw.get()).ok();
    match raw.get().as_bytes().first()? {
        b'"' => Some(vec![(Cow::Owned(text(raw)?), raw)]),
        b'n' => Some(Vec::new()),
        b'[' if several => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
            items.into_iter().map(|item| Some((Cow::Owned(text(item)?), item))).collect()
        }
        _ => None,
    }
}

/// The fields of a JSON object as they stand in the file.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Object<'de>, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        from.deserialize_map(Fields)
    }
}
