//! Files → KDL → [`Spec`]: syntax and shape. Every file is scanned, parsed, walked along the grammar that the
//! schema is, checked against the schema once more, and taken in.

pub mod files;
pub mod form;
pub mod grammar;
pub mod scan;
pub mod secrecy;
pub mod text;
pub mod token;
pub mod tree;
pub mod walk;

use crate::code::Code;
use crate::diagnostic::{Path, Report, Step};
use crate::locate::{File, Located, Place};
use files::{FileError, LARGEST_SPEC, LONGEST_CHAIN, MOST_FILES, Sources};
use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use schema::spec::{LANGUAGE, Spec};
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::HashMap;
use tree::{Node, Scalar};
use walk::{Object, Walk};

/// The root file of a spec.
pub const ROOT_FILE: &str = "mail.kdl";

/// A spec as read.
#[derive(Debug, Default)]
pub struct Reading {
    /// What was understood.
    pub spec: Spec,
    /// Where everything in it was written.
    pub located: Located,
    /// Whether every file was read and parsed. Where not, parts are missing, and what refers to them would
    /// seem wrong.
    pub whole: bool,
}

/// Reads a spec: syntax and shape. Never stops at the first error.
pub fn read(sources: &Sources, report: &mut Report) -> Reading {
    let mut files = Files { sources, report, read: Vec::new(), known: HashMap::new(), octets: 0, whole: true };
    let mut nodes = Vec::new();
    files.take(ROOT_FILE, None, 1, &mut nodes);
    let Files { read: mut files, whole, .. } = files;
    if !version(&nodes, &mut files, report) {
        files.iter_mut().for_each(sorted);
        identities(&files, report);
        return Reading { located: Located { files, ..Located::default() }, ..Reading::default() };
    }
    let schema = grammar::schema();
    let language = grammar::grammar(&schema);
    let mut walk = Walk { language: &language, report, plain: Vec::new() };
    let Object { json, spot } = walk.spec(&nodes);
    for place in walk.plain {
        if let Some(file) = files.get_mut(place.file) {
            file.plain.push(place.span);
        }
    }
    files.iter_mut().for_each(sorted);
    identities(&files, report);
    let json = Json::Object(json);
    let tops = nodes.iter().map(|node| Place { file: node.file, span: node.span.clone() }).collect();
    let located = Located { files, root: spot, tops, ..Located::default() };
    let sound = validate(&schema, &json, report);
    let spec = match Spec::deserialize(json) {
        Ok(spec) => spec,
        Err(error) => {
            if sound {
                // serde says the value that it does not take, which may be a secret.
                report.find(Code::NotDecoded, Path::root(), unquoted(&error.to_string()));
            }
            return Reading { located, ..Reading::default() };
        }
    };
    Reading { spec, located, whole }
}

/// An age identity opens every secret of the spec, so none may stand in it, not even in a comment.
fn identities(files: &[File], report: &mut Report) {
    for (at, file) in files.iter().enumerate() {
        for span in sealed::identity::find(&file.text).into_iter().take(tree::MOST_FAULTS) {
            let told = |found: &crate::diagnostic::Diagnostic| {
                let place = found.place.as_ref().filter(|_| found.code == Code::PlainSecret);
                place.is_some_and(|place| {
                    place.file == at && place.span.start <= span.start && place.span.end >= span.end
                })
            };
            if report.diagnostics().iter().any(told) {
                continue;
            }
            let help = "take it out, encrypt every secret to another one with `waybill secrets rekey`, and replace the secrets, since they may have been seen";
            let says = "here stands an age identity, which opens every secret";
            report.find_at(Code::PlainSecret, Place { file: at, span }, says).help(help);
        }
    }
}

fn sorted(file: &mut File) {
    file.plain.sort_by_key(|span| span.start);
}

/// A message without what it quotes.
fn unquoted(text: &str) -> String {
    let parts = text.split(['`', '"']).enumerate();
    parts.map(|(at, part)| if at % 2 == 0 { part } else { "…" }).collect()
}

/// Whether the spec is in a language that is known here.
fn version(nodes: &[Node], files: &mut [File], report: &mut Report) -> bool {
    let Some(node) = nodes.iter().find(|node| node.name == "waybill") else {
        if !nodes.is_empty() {
            let start = Place { file: 0, span: 0..0 };
            report
                .find_at(Code::NoLanguage, start, "the spec does not say which version of the language it is in")
                .help(format!("write `waybill {LANGUAGE}` as the first line of {ROOT_FILE}"));
        }
        return true;
    };
    match node.arguments.first().map(|value| &value.scalar) {
        Some(Scalar::Whole(version)) if *version != i128::from(LANGUAGE) => {
            let place = Place { file: node.file, span: node.arguments[0].span.clone() };
            if let Some(file) = files.get_mut(node.file) {
                file.plain.extend([node.span.clone(), place.span.clone()]);
            }
            let says = format!("this compiler knows version {LANGUAGE} of the language, not {version}");
            report.find_at(Code::OtherLanguage, place, says).help("use the `waybill` that the spec was written for");
            false
        }
        // Anything else is told by the walk.
        _ => true,
    }
}

struct Files<'a> {
    sources: &'a Sources,
    report: &'a mut Report,
    read: Vec<File>,
    known: HashMap<String, usize>,
    octets: u64,
    whole: bool,
}

impl Files<'_> {
    /// Reads a file and what it includes; its nodes are appended.
    fn take(&mut self, name: &str, from: Option<&Place>, depth: usize, nodes: &mut Vec<Node>) {
        if self.known.contains_key(name) {
            return;
        }
        let text = match self.sources.text(name) {
            Ok(text) => text,
            Err(error) => return self.unreadable(name, from, &error),
        };
        self.octets += text.len() as u64;
        if self.octets > LARGEST_SPEC || self.read.len() >= MOST_FILES {
            self.whole = false;
            let says = format!("the spec has more than {MOST_FILES} files or {LARGEST_SPEC} octets");
            self.report.find_at(Code::TooLarge, from.cloned().unwrap_or_default(), says);
            return;
        }
        let at = self.read.len();
        self.known.insert(name.to_owned(), at);
        let scanned = scan::scan(&text);
        let file = File::new(name.to_owned(), text);
        let (parsed, faults) = match scanned.too_deep {
            Some(span) => {
                self.whole = false;
                let says = format!("nested more than {} levels deep", scan::DEEPEST);
                self.report.find_at(Code::TooDeep, Place { file: at, span }, says);
                (Vec::new(), Vec::new())
            }
            None => tree::parse(&file.text, at),
        };
        self.read.push(file);
        for fault in faults {
            self.whole = false;
            let code = if fault.old { Code::OldKdl } else { Code::BadSyntax };
            self.report.find_at(code, Place { file: at, span: fault.span }, fault.says).help = fault.help;
        }
        for node in parsed {
            if node.name == "include" {
                self.include(&node, name, depth, nodes);
            } else {
                nodes.push(node);
            }
        }
    }

    fn unreadable(&mut self, name: &str, from: Option<&Place>, error: &FileError) {
        self.whole = false;
        let code = match error {
            FileError::Outside => Code::OutsideSpec,
            FileError::Large(_) => Code::TooLarge,
            _ => Code::NotReadable,
        };
        let says = format!("{name} {error}");
        match from {
            Some(place) => drop(self.report.find_at(code, place.clone(), says)),
            None => {
                let place = Place { file: self.read.len(), span: 0..0 };
                self.read.push(File::unread(name.to_owned()));
                let found = self.report.find_at(code, place, says);
                if matches!(error, FileError::Missing) {
                    found.help("`waybill init` writes a first spec");
                }
            }
        }
    }

    fn shows(&mut self, file: usize, span: &std::ops::Range<usize>) {
        if let Some(file) = self.read.get_mut(file) {
            file.plain.push(span.clone());
        }
    }

    fn include(&mut self, node: &Node, name: &str, depth: usize, nodes: &mut Vec<Node>) {
        self.shows(node.file, &node.span);
        let plain = node.properties.is_empty() && node.children.is_empty() && !node.arguments.is_empty();
        if !plain && !node.broken {
            let place = Place { file: node.file, span: node.span.clone() };
            self.report
                .find_at(Code::NotGiven, place, "`include` needs the names of files")
                .help("as in `include \"domains/*.kdl\"`");
            return;
        }
        for value in &node.arguments {
            let place = Place { file: node.file, span: value.span.clone() };
            let Scalar::Text(pattern) = &value.scalar else {
                self.report.find_at(Code::WrongKind, place, "`include` takes text").help("write it in quotes");
                continue;
            };
            let shown = if secrecy::harmless(pattern) { pattern.as_str() } else { "…" };
            if shown == pattern {
                self.shows(node.file, &value.span);
            }
            if depth >= LONGEST_CHAIN {
                self.whole = false;
                let says = format!("includes nest more than {LONGEST_CHAIN} files deep");
                self.report.find_at(Code::IncludeTooDeep, place, says);
                continue;
            }
            match self.sources.matching(name, pattern) {
                Ok(found) if found.is_empty() => {
                    let says = format!("no file matches `{shown}`");
                    self.report.find_at(Code::NothingMatched, place, says);
                }
                Ok(found) => found.iter().for_each(|one| self.take(one, Some(&place), depth + 1, nodes)),
                Err(FileError::Missing) => {
                    self.whole = false;
                    self.report.find_at(Code::NothingIncluded, place, format!("`{shown}` does not exist"));
                }
                Err(error) => self.unreadable(shown, Some(&place), &error),
            }
        }
    }
}

/// Holds the JSON form against the schema, for what the types do not say: patterns, bounds, lengths.
fn validate(schema: &Json, json: &Json, report: &mut Report) -> bool {
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        Err(error) => {
            report.find(Code::NotDecoded, Path::root(), format!("the schema cannot be used: {error}"));
            return false;
        }
    };
    if validator.is_valid(json) {
        return true;
    }
    for error in validator.iter_errors(json) {
        unfit(&error, report);
    }
    false
}

fn unfit(error: &ValidationError<'_>, report: &mut Report) {
    let (code, says) = match error.kind() {
        // An optional field is "this or nothing"; what is wrong with this is of interest.
        ValidationErrorKind::AnyOf { context } if context.first().is_some_and(|first| !first.is_empty()) => {
            return context.iter().take(1).flatten().for_each(|inner| unfit(inner, report));
        }
        ValidationErrorKind::Pattern { pattern } => (Code::WrongForm, format!("does not have the form `{pattern}`")),
        ValidationErrorKind::Minimum { limit } => (Code::OutOfBounds, format!("must be at least {limit}")),
        ValidationErrorKind::Maximum { limit } => (Code::OutOfBounds, format!("must be at most {limit}")),
        ValidationErrorKind::MinItems { limit } => (Code::NotGiven, format!("needs at least {limit} of them")),
        // The value may be a secret, so it is masked.
        _ => (Code::NotDecoded, error.masked().to_string()),
    };
    report.find(code, pointer(error.instance_path().as_str()), says);
}

fn pointer(text: &str) -> Path {
    let steps = text.split('/').skip(1).map(|step| match step.parse() {
        Ok(at) => Step::Item(at),
        Err(_) => Step::Field(step.replace("~1", "/").replace("~0", "~")),
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read_text(text: &str) -> (Reading, Vec<(String, String)>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(ROOT_FILE), text).unwrap();
        let mut report = Report::new();
        let reading = read(&Sources::open(folder.path()).unwrap(), &mut report);
        let found = report.diagnostics().iter().map(|found| {
            let place = found.place.clone().unwrap_or_else(|| reading.located.place(&found.at));
            (found.code.id().to_owned(), reading.located.at(&place))
        });
        let found = found.collect();
        (reading, found)
    }

    #[test]
    fn a_spec_is_taken_in() {
        let text = r#"waybill 1
host "mail.example.org" { address "192.0.2.1" "2001:db8::1"; listen { smtp 25 26; imaps 993; }; tls { self-signed; }; }
store "local" { rocksdb "/var/lib/waybill"; }
domain "example.org" {
    dkim { key "a" ed25519 public="x" private=(file)"a.pem"; }
    spf { include "x.example"; ip4 "192.0.2.0/24"; all "softfail"; }
    dmarc "reject" report="p@example.org"
    account "ada" name="Ada" { password (hash)"$argon2id$x" (scram)"SCRAM-SHA-256$x"; alias "a" "b@c.example"; quota "5GiB"; }
    list "news" { member "ada"; posting "members"; }
}
"#;
        let (reading, found) = read_text(text);
        assert_eq!(found, []);
        assert_eq!(reading.spec.host[0].address.len(), 2);
        assert_eq!(reading.spec.domain[0].spf.as_ref().unwrap().terms.len(), 2);
        assert_eq!(reading.spec.domain[0].account[0].password.len(), 2);
        let at = Path::root().field("domain").item(0).field("account").item(0).field("quota");
        assert_eq!(reading.located.at(&reading.located.place(&at)), "mail.kdl:8:118");
    }

    #[test]
    fn what_is_wrong_is_told_where_it_is() {
        for (text, want) in [
            ("waybill 1\nacount \"x\"", vec![("W0112", "mail.kdl:2:1")]),
            ("waybill 1\ndomain \"a b\"", vec![("W0118", "mail.kdl:2:8")]),
            ("waybill 1\ndomain", vec![("W0116", "mail.kdl:2:1")]),
            ("waybill 1\nstorage\nstorage", vec![("W0115", "mail.kdl:3:1")]),
            ("waybill 2\nfoo", vec![("W0111", "mail.kdl:1:9")]),
            ("domain \"example.org\"", vec![("W0110", "mail.kdl:1:1")]),
            (
                "waybill 1\ndns \"x\" { cloudflare token=\"secret\"; }",
                vec![("W0122", "mail.kdl:2:11"), ("W0120", "mail.kdl:2:28")],
            ),
            (
                "waybill 1\nhost \"a.example\" { listen { smtp 0 70000 \"x\"; }; }",
                vec![("W0119", "mail.kdl:2:34"), ("W0119", "mail.kdl:2:36"), ("W0117", "mail.kdl:2:42")],
            ),
            ("waybill 1\nlimits { recipients 5; }", vec![("W0119", "mail.kdl:2:21")]),
            ("waybill 1\nhost \"a.example\" { tls { dane \"9 9 9\"; }; }", vec![("W0118", "mail.kdl:2:31")]),
            ("waybill 1\ndomain \"a.example\" { alias \"x\"; }", vec![("W0116", "mail.kdl:2:22")]),
            ("waybill 1\ninclude \"../x\"", vec![("W0106", "mail.kdl:2:9")]),
            ("waybill 1\ninclude \"x.kdl\" \"y*.kdl\"", vec![("W0107", "mail.kdl:2:9"), ("W0108", "mail.kdl:2:17")]),
            ("waybill 1\na {\n", vec![("W0104", "mail.kdl:2:3"), ("W0112", "mail.kdl:2:1")]),
            (
                "waybill 1\nstore \"x\" { postgresql \"postgres://u:p@h/d\"; }",
                vec![("W0122", "mail.kdl:2:13"), ("W0120", "mail.kdl:2:24")],
            ),
        ] {
            let (_, found) = read_text(text);
            let found: Vec<_> = found.iter().map(|(code, at)| (code.as_str(), at.as_str())).collect();
            assert_eq!(found, want, "{text}");
        }
    }
}
