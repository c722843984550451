//! The JSON form of a spec as KDL again, along the grammar, with a comment at the end of every line.

use super::Origins;
use crate::diagnostic::Path;
use crate::environment::merge::given;
use crate::read::grammar::{Field, Kind, Named, Shape, Written};
use serde_json::{Map, Value as Json};
use std::fmt::Write as _;

/// What stands first in a file, before all else in the order of the schema.
const FIRST: [&str; 6] = ["waybill", "host", "store", "storage", "dns", "state"];

/// Prints a spec.
pub fn print(language: &Kind, spec: &Map<String, Json>, origins: &Origins<'_>) -> String {
    let mut printing = Printing { origins, out: String::new() };
    let mut fields: Vec<&Field> = language.fields.iter().collect();
    fields.sort_by_key(|field| FIRST.iter().position(|name| *name == field.name).unwrap_or(FIRST.len()));
    for field in fields {
        if let Some(value) = spec.get(field.name).filter(|value| given(field, value)) {
            printing.field(field, value, &Path::root().field(field.name), 0);
        }
    }
    printing.out
}

struct Printing<'a> {
    origins: &'a Origins<'a>,
    out: String,
}

impl Printing<'_> {
    /// A field's nodes.
    fn field(&mut self, field: &Field, value: &Json, path: &Path, depth: usize) {
        match (value, &field.shape) {
            (Json::Array(items), Shape::Node(kind)) if field.many => {
                for (at, item) in items.iter().enumerate() {
                    self.node((field.name, kind), item, &path.item(at), depth);
                }
            }
            (Json::Array(items), Shape::OneOf(several)) => {
                for (at, item) in items.iter().enumerate() {
                    self.one_of(several, item, &path.item(at), depth);
                }
            }
            (Json::Array(items), shape) => self.values(field.name, (items, shape), path, depth),
            (value, Shape::Node(kind)) => self.node((field.name, kind), value, path, depth),
            (Json::Bool(true), _) => self.line(field.name, &self.origins.of(path), depth, false),
            (value, shape) => {
                let text = format!("{} {}", field.name, scalar(shape, value));
                self.line(&text, &self.origins.of(path), depth, false);
            }
        }
    }

    /// One of several nodes, an object of one key.
    fn one_of(&mut self, several: &[Named], item: &Json, path: &Path, depth: usize) {
        let Some((name, value)) = item.as_object().and_then(|map| map.iter().next()) else { return };
        let Some((_, shape)) = several.iter().find(|(known, _)| *known == name) else { return };
        match shape {
            Shape::Node(kind) => self.node((name, kind), value, path, depth),
            shape => {
                let text = format!("{name} {}", scalar(shape, value));
                self.line(&text, &self.origins.of(path), depth, false);
            }
        }
    }

    /// Values that stand in a row, a line for each origin.
    fn values(&mut self, name: &str, (items, shape): (&[Json], &Shape), path: &Path, depth: usize) {
        let mut from = 0;
        while let Some(first) = items.get(from) {
            let origin = self.origins.of(&path.item(from));
            let mut text = format!("{name} {}", scalar(shape, first));
            from += 1;
            while let Some(next) = items.get(from).filter(|_| self.origins.of(&path.item(from)) == origin) {
                // Writing to a String cannot fail.
                let _ = write!(text, " {}", scalar(shape, next));
                from += 1;
            }
            self.line(&text, &origin, depth, false);
        }
    }

    /// A node with what it holds.
    fn node(&mut self, (name, kind): (&str, &Kind), value: &Json, path: &Path, depth: usize) {
        let Json::Object(map) = value else { return };
        let mut text = name.to_owned();
        let own = self.origins.of(path);
        let mut elsewhere: Vec<String> = Vec::new();
        let of = |written: Written| kind.fields.iter().filter(move |field| field.written == written);
        for field in of(Written::Argument).chain(of(Written::Arguments)).chain(of(Written::Property)) {
            let Some(value) = map.get(field.name).filter(|value| given(field, value)) else { continue };
            let path = path.field(field.name);
            match (field.written, value) {
                (Written::Arguments, Json::Array(items)) => {
                    for item in items {
                        let _ = write!(text, " {}", scalar(&field.shape, item));
                    }
                }
                (Written::Argument, value) => {
                    let _ = write!(text, " {}", scalar(&field.shape, value));
                }
                (Written::Property, value) => {
                    let _ = write!(text, " {}={}", field.name, scalar(&field.shape, value));
                }
                _ => continue,
            }
            let origin = self.origins.of(&path);
            if origin != own {
                elsewhere.push(format!("{}: {origin}", field.name));
            }
        }
        let inside = kind.fields.iter().filter(|field| matches!(field.written, Written::Child | Written::Sequence));
        let inside: Vec<(&Field, &Json)> = inside
            .filter_map(|field| Some((field, map.get(field.name).filter(|value| given(field, value))?)))
            .collect();
        let origin = [vec![own.clone()], elsewhere].concat().join("; ");
        self.line(&text, &origin, depth, !inside.is_empty());
        for (field, value) in &inside {
            self.field(field, value, &path.field(field.name), depth + 1);
        }
        if !inside.is_empty() {
            let _ = writeln!(self.out, "{:indent$}}}", "", indent = depth * 4);
        }
    }

    fn line(&mut self, text: &str, origin: &str, depth: usize, opens: bool) {
        let brace = if opens { " {" } else { "" };
        let _ = writeln!(self.out, "{:indent$}{text}{brace} // {origin}", "", indent = depth * 4);
    }
}

/// A value as KDL has it; hashes are hidden.
fn scalar(shape: &Shape, value: &Json) -> String {
    match (shape, value) {
        (Shape::Annotated(_), Json::Object(map)) => match map.iter().next() {
            Some((kind, _)) if kind == "hash" || kind == "scram" => format!("({kind})\"…\""),
            Some((kind, value)) => format!("({kind}){}", quoted(value.as_str().unwrap_or_default())),
            None => "#null".to_owned(),
        },
        (_, Json::String(text)) => quoted(text),
        (_, Json::Bool(truth)) => format!("#{truth}"),
        (_, value) => value.to_string(),
    }
}

/// A KDL string (KDL 2.0 §3.12).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || turns(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// Ends a line, or turns the direction in which text is shown.
fn turns(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}
