//! `docs/reference.md`: every node of the language with its values, defaults and meaning, from the schema alone.

use crate::read::grammar::{Field, Kind, Shape, Written};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// The reference of a language, as Markdown.
pub fn reference(language: &Kind) -> String {
    let mut out = String::from(
        "# The language\n\n\
         Generated from the schema by `waybill schema reference`. A spec is a folder whose root file is `mail.kdl`, in\n\
         KDL 2.0. Each section is a node: what it holds, with an example, and what holds where it is left out. The RFC or\n\
         rule that a default comes from stands in parentheses. `waybill explain DIR NAME TYPE` says it for a record.\n",
    );
    for section in sections(language) {
        section.print(&mut out);
    }
    out
}

/// A field for an editor: what it is, what it takes, and what holds where it is left out.
pub fn described(field: &Field) -> String {
    let (meaning, default) = halves(&field.says);
    let mut text = format!("{meaning}\n\nTakes {}.", value_of(&field.shape));
    if let Some(default) = default {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n\nLeft out: {default}.");
    }
    if let Some(unserved) = &field.unserved {
        let _ = write!(text, "\n\nNot served yet: {unserved}.");
    }
    text
}

/// Every field of the language, with a spec's text that holds it and as little else as may be.
pub fn examples(language: &Kind) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for section in sections(language) {
        for field in &section.kind.fields {
            let names = section.way.iter().map(|field| field.name).chain([field.name]);
            let name = names.collect::<Vec<_>>().join(" › ");
            for line in section.written(field) {
                out.push((name.clone(), section.within(&line)));
            }
        }
    }
    out
}

/// A node and the nodes around it.
struct Section<'a> {
    way: Vec<&'a Field>,
    kinds: Vec<Arc<Kind>>,
    kind: Arc<Kind>,
}

/// Every kind of node once, each before what is inside it.
fn sections(language: &Kind) -> Vec<Section<'_>> {
    let mut out = Vec::new();
    let mut seen = HashSet::new();
    out.push(Section { way: Vec::new(), kinds: Vec::new(), kind: Arc::new(language.clone()) });
    inside(language, &[], &[], &mut seen, &mut out);
    out
}

fn inside<'a>(
    kind: &'a Kind,
    way: &[&'a Field],
    kinds: &[Arc<Kind>],
    seen: &mut HashSet<String>,
    out: &mut Vec<Section<'a>>,
) {
    // A kind is shown where it belongs, and not where it only lends its fields.
    let lends = |field: &&Field| matches!(field.name, "defaults" | "environment");
    let (last, first): (Vec<_>, Vec<_>) = kind.fields.iter().partition(lends);
    for field in first.into_iter().chain(last) {
        let Shape::Node(inner) = &field.shape else { continue };
        if !seen.insert(inner.name.clone()) {
            continue;
        }
        let way: Vec<&Field> = way.iter().copied().chain([field]).collect();
        let kinds: Vec<Arc<Kind>> = kinds.iter().cloned().chain([Arc::clone(inner)]).collect();
        out.push(Section { way: way.clone(), kinds: kinds.clone(), kind: Arc::clone(inner) });
        inside(inner, &way, &kinds, seen, out);
    }
}

impl Section<'_> {
    fn print(&self, out: &mut String) {
        let names: Vec<&str> = self.way.iter().map(|field| field.name).collect();
        // Writing to a String cannot fail.
        let _ = match names.as_slice() {
            [] => write!(out, "\n## The top level\n"),
            names => write!(out, "\n## `{}`\n", names.join("` › `")),
        };
        if let Some(field) = self.way.last() {
            let says = if field.says.is_empty() { &self.kind.says } else { &field.says };
            let _ = write!(out, "\n{}\n", says.trim());
            if field.says != self.kind.says && !self.kind.says.is_empty() {
                let _ = write!(out, "\n{}\n", self.kind.says.trim());
            }
            let many = if field.many { "It may stand several times." } else { "It may stand once." };
            let _ = write!(out, "\n{many}");
            if let Some(unserved) = &field.unserved {
                let _ = write!(out, " This version does not serve {unserved} yet, and warns of it.");
            }
            out.push('\n');
        }
        let _ = write!(out, "\n| | example | value | left out | meaning |\n|---|---|---|---|---|\n");
        for field in &self.kind.fields {
            self.row(field, out);
        }
    }

    fn row(&self, field: &Field, out: &mut String) {
        let (meaning, default) = halves(&field.says);
        let left_out = match default {
            Some(default) => default,
            None if field.required => "must be there".to_owned(),
            None if field.many => "none".to_owned(),
            None => "–".to_owned(),
        };
        let place = match field.written {
            Written::Argument | Written::Arguments => format!("argument `{}`", field.name),
            Written::Property => format!("`{}=`", field.name),
            Written::Child if field.many => format!("`{}`, repeated", field.name),
            Written::Child | Written::Sequence => format!("`{}`", field.name),
        };
        let text = |line: Line| match line {
            Line::Own(text) | Line::Inside(text) => format!("`{text}`"),
        };
        let examples: Vec<String> = self.written(field).into_iter().map(text).collect();
        let mut meaning = meaning;
        for (word, says) in words(&field.shape).into_iter().zip(&field.meanings) {
            if !says.is_empty() {
                let _ = write!(meaning, " `{word}`: {}", lowered(says));
            }
        }
        if let Some(unserved) = &field.unserved {
            let _ = write!(meaning, " *Not served yet: {unserved}.*");
        }
        let value = value_of(&field.shape);
        let cells = [place, examples.join(", "), value, left_out, meaning];
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }

    /// A spec's text with a line of this node.
    fn within(&self, line: &Line) -> String {
        let (mut text, mut own) = match line {
            Line::Own(text) => (text.clone(), true),
            Line::Inside(text) => (text.clone(), false),
        };
        for (field, kind) in self.way.iter().zip(&self.kinds).rev() {
            if !std::mem::take(&mut own) {
                let (head, children) = required(kind);
                // What the line says itself is not said before it.
                let name = |line: &str| line.split(' ').next().map(str::to_owned);
                let own = name(&text);
                let others = children.into_iter().filter(|line| name(line) != own);
                let inside: Vec<String> = others.chain([text]).collect();
                text = format!("{}{head} {{ {}; }}", field.name, inside.join("; "));
            }
        }
        text
    }

    /// How a field is written, each way that it can be.
    fn written(&self, field: &Field) -> Vec<Line> {
        let example = field.example.as_deref();
        let own = self.way.last().map_or("", |own| own.name);
        match (&field.shape, field.written) {
            (Shape::OneOf(several), _) => {
                several.iter().map(|(name, shape)| Line::Inside(line(name, shape, None))).collect()
            }
            (shape, Written::Child) => vec![Line::Inside(line(field.name, shape, example))],
            (shape, Written::Property) => {
                let (mut head, children) = required(&self.kind);
                if !field.required {
                    let _ = write!(head, " {}={}", field.name, value(shape, example));
                }
                vec![Line::Own(format!("{own}{head}{}", braced(&children)))]
            }
            (_, Written::Argument | Written::Arguments | Written::Sequence) => {
                let is_value = |one: &&Field| matches!(one.written, Written::Argument | Written::Arguments);
                let values: Vec<&Field> = self.kind.fields.iter().filter(is_value).collect();
                let at = values.iter().position(|one| one.name == field.name).unwrap_or(0);
                let asked = |(n, one): &(usize, &&Field)| *n <= at || one.required;
                let values = values.iter().enumerate().filter(asked);
                let values = values.map(|(_, one)| format!(" {}", value(&one.shape, one.example.as_deref())));
                let (head, children) = properties(&self.kind);
                vec![Line::Own(format!("{own}{}{head}{}", values.collect::<String>(), braced(&children)))]
            }
        }
    }
}

/// A line of an example.
enum Line {
    /// The node itself, with its arguments and properties.
    Own(String),
    /// A child of the node.
    Inside(String),
}

fn braced(children: &[String]) -> String {
    if children.is_empty() { String::new() } else { format!(" {{ {}; }}", children.join("; ")) }
}

fn words(shape: &Shape) -> Vec<&str> {
    match shape {
        Shape::Choice(words) => words.iter().map(String::as_str).collect(),
        Shape::OneOf(several) => several.iter().map(|(name, _)| *name).collect(),
        _ => Vec::new(),
    }
}

fn lowered(text: &str) -> String {
    text.trim_end_matches('.').to_owned() + "."
}

/// A docstring's meaning, and what it says of being left out.
fn halves(says: &str) -> (String, Option<String>) {
    let says = says.split_whitespace().collect::<Vec<_>>().join(" ");
    match says.split_once("Left out: ") {
        Some((meaning, default)) => {
            let (default, rest) = default.split_once(". ").unwrap_or((default, ""));
            let meaning = format!("{} {rest}", meaning.trim()).trim().to_owned();
            (meaning, Some(default.trim_end_matches('.').to_owned()))
        }
        None => (says, None),
    }
}

/// What a value is, with its unit.
fn value_of(shape: &Shape) -> String {
    match shape {
        Shape::Text(format) => match format.as_str() {
            "" => "text",
            "domain-name" => "a domain name",
            "host-name" => "a fully qualified host name",
            "local-part" => "the part of an address before the `@`",
            "mail-address" => "a mail address",
            "local-or-address" => "a mail address, or the part before the `@`",
            "size" => "a size in octets, with its unit: `KiB`, `MiB`, `GiB`, `kB` …",
            "period" => "a period, with its units: `s`, `m`, `h`, `d`, `w`",
            "rate" => "a rate: so many in a period",
            "ip-address" => "an IP address",
            "socket-address" => "an IP address with a port",
            "network" => "an IP network or address",
            "url" => "a URL",
            "endpoint" => "a server with its port, or `unix:` and a socket's path",
            "spec-file" => "a file inside the spec's folder",
            "regex" => "a regular expression, without look-around and back-references",
            other => return other.replace('-', " "),
        }
        .to_owned(),
        Shape::Choice(words) => format!("one of `{}`", words.join("`, `")),
        Shape::Whole(least, most) if *most >= i128::from(u32::MAX) && *least <= 0 => "a whole number".to_owned(),
        Shape::Whole(least, most) if *most >= i128::from(u32::MAX) => format!("a whole number, at least {least}"),
        Shape::Whole(least, most) => format!("a whole number from {least} to {most}"),
        Shape::Truth => "`#true` or `#false`".to_owned(),
        Shape::Annotated(kinds) if kinds.iter().any(|kind| kind == "hash") => "a password's hash".to_owned(),
        Shape::Annotated(_) => "where a secret is kept".to_owned(),
        Shape::OneOf(several) => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            format!("nodes in order: `{}`", names.join("`, `"))
        }
        Shape::Node(_) => "a node".to_owned(),
    }
}

/// A child with its value, or with what it must have.
fn line(name: &str, shape: &Shape, example: Option<&str>) -> String {
    match shape {
        Shape::Truth => name.to_owned(),
        Shape::Node(kind) => {
            let (head, children) = required(kind);
            format!("{name}{head}{}", braced(&children))
        }
        shape => format!("{name} {}", value(shape, example)),
    }
}

/// Arguments and properties that a node must have, and the lines of its children.
fn required(kind: &Kind) -> (String, Vec<String>) {
    let is_value = |one: &&Field| one.required && matches!(one.written, Written::Argument | Written::Arguments);
    let values = kind.fields.iter().filter(is_value);
    let values = values.map(|one| format!(" {}", value(&one.shape, one.example.as_deref())));
    let (head, children) = properties(kind);
    (values.collect::<String>() + &head, children)
}

/// Properties that a node must have, and the lines of its children.
fn properties(kind: &Kind) -> (String, Vec<String>) {
    let (mut head, mut children) = (String::new(), Vec::new());
    for field in kind.fields.iter().filter(|field| field.required) {
        match field.written {
            Written::Property => {
                let _ = write!(head, " {}={}", field.name, value(&field.shape, field.example.as_deref()));
            }
            Written::Child => children.push(line(field.name, &field.shape, field.example.as_deref())),
            Written::Sequence => {
                if let Shape::OneOf(several) = &field.shape {
                    children.extend(several.first().map(|(name, shape)| line(name, shape, None)));
                }
            }
            Written::Argument | Written::Arguments => {}
        }
    }
    (head, children)
}

fn value(shape: &Shape, example: Option<&str>) -> String {
    match shape {
        Shape::Text(format) => {
            let usual = match format.as_str() {
                "ip-address" => "192.0.2.25",
                "socket-address" => "192.0.2.53:53",
                "domain-name" => "example.org",
                "host-name" => "mail.example.org",
                "local-part" | "local-or-address" => "ada",
                "mail-address" => "ada@example.org",
                "size" => "5GiB",
                "period" => "1h",
                "rate" => "100/1h",
                _ => "…",
            };
            format!("\"{}\"", example.unwrap_or(usual).replace('\\', "\\\\").replace('"', "\\\""))
        }
        Shape::Choice(words) => format!("\"{}\"", example.or(words.first().map(String::as_str)).unwrap_or_default()),
        Shape::Whole(least, most) => example.map_or_else(|| 25.clamp(*least, *most).to_string(), str::to_owned),
        Shape::Truth => "#true".to_owned(),
        Shape::Annotated(kinds) if kinds.iter().any(|kind| kind == "hash") => "(hash)\"$argon2id$…\"".to_owned(),
        Shape::Annotated(_) => "(env)\"NAME\"".to_owned(),
        Shape::OneOf(_) | Shape::Node(_) => String::new(),
    }
}
