//! Files → KDL → [`Spec`]: syntax and shape. The files are read and parsed several at once ([`load`]), walked along the
//! grammar that the schema is ([`walk`]), and taken into the spec's types ([`take`]); no other form lies between.

pub mod cache;
pub mod constraint;
pub mod files;
pub mod form;
pub mod grammar;
pub mod load;
pub mod marks;
pub mod parallel;
pub mod people;
pub mod scan;
pub mod secrecy;
pub mod take;
pub mod text;
pub mod token;
pub mod tree;
pub mod walk;

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Path, Report};
use crate::locate::{File, Located, Place};
use cache::Cache;
use files::Sources;
use grammar::{Kind, Written};
use load::Loaded;
use marks::{Bits, Mark, Marks};
use schema::spec::{LANGUAGE, Spec};
use std::ops::Range;
use std::sync::Arc;
use tree::{Node, Scalar};
use walk::{Seen, Walk};

/// The root file of a spec.
pub const ROOT_FILE: &str = "mail.kdl";
/// How many nodes at the top are walked in one go; not by processors, so that the same is found everywhere.
const TOGETHER: usize = 128;
/// How many of these wait for their findings to be taken in, so that a flood of findings is bounded.
const AT_ONCE: usize = 32;

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
    read_with(sources, None, report)
}

/// The same for who reads a spec again and again: files whose trees are in the cache are not parsed again.
pub fn read_with(sources: &Sources, cache: Option<&Cache>, report: &mut Report) -> Reading {
    let Loaded { files, order, people, whole, full } = load::load(sources, cache, report);
    let mut located = Located { files, order, people, ..Located::default() };
    // To walk what has no room would take more of it, for findings that nobody asked for.
    if full || !version(&located, report) {
        identities(&located.files, report);
        return Reading { located, ..Reading::default() };
    }
    let language = grammar::language();
    located.language = Some(Arc::clone(language));
    let before = report.errors();
    let (marks, guarded) = walked(&located, language, report);
    Marks::apply(&mut located.marks, &marks);
    located.guarded = guarded;
    identities(&located.files, report);
    match take::spec(&located, language) {
        Ok(spec) => Reading { spec, located, whole },
        Err(error) => {
            if report.errors() == before {
                // serde says the value that it does not take, which may be a secret.
                report.find(Code::NotDecoded, Path::root(), unquoted(&error.to_string()));
            }
            Reading { located, ..Reading::default() }
        }
    }
}

/// Reads one file of a spec by itself: syntax and shape of what stands in it, without what it includes.
pub fn glance(name: String, text: Arc<str>) -> (Located, Report) {
    let tree = Arc::new(tree::parse(text));
    let language = grammar::language();
    let mut report = Report::new();
    for fault in tree.faults() {
        load::fault(0, fault, &mut report);
    }
    let own = |node: &Node<'_>| node.name() != "include" && tree.too_deep().is_none() && !tree.is_cut();
    let order = tree.nodes(0).filter(own).map(|node| (0, node.id())).collect();
    let mut located = Located {
        files: vec![File::new(name, Arc::clone(&tree))],
        order,
        language: Some(Arc::clone(language)),
        ..Located::default()
    };
    let (marks, guarded) = walked(&located, language, &mut report);
    Marks::apply(&mut located.marks, &marks);
    located.guarded = guarded;
    identities(&located.files, &mut report);
    report.sort(&located);
    (located, report)
}

/// An age identity opens every secret of the spec, so none may stand in it, not even in a comment.
fn identities(files: &[File], report: &mut Report) {
    let found = parallel::map(files, |file| sealed::identity::find(&file.text));
    for (at, found) in found.into_iter().enumerate() {
        for span in found.into_iter().take(tree::MOST_FAULTS) {
            let told = |found: &Diagnostic| {
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

/// A node at the top that stands beside others of its name, and needs to know nothing of them.
fn is_alone(language: &Kind, node: Node<'_>) -> bool {
    language.find(node.name(), Written::Child).is_some_and(|(_, field)| field.many)
}

/// Walks everything, several nodes at once; the findings come in the order of the nodes.
fn walked(located: &Located, language: &Kind, report: &mut Report) -> (Vec<Mark>, Bits) {
    let tops: Vec<Node<'_>> = located.tops().collect();
    let chunks: Vec<&[Node<'_>]> = tops.chunks(TOGETHER).collect();
    let alone = |nodes: &&[Node<'_>]| {
        let mut report = Report::new();
        let mut walk = Walk { located, language, report: &mut report, marks: Vec::new(), plain: None };
        let mut guarded = Bits::default();
        for (at, node) in nodes.iter().enumerate().filter(|(_, node)| is_alone(language, **node)) {
            if walk.top(*node, language.guarded, &mut Seen::default()) {
                guarded.put(at);
            }
        }
        let marks = walk.marks;
        (report, marks, guarded)
    };
    let (mut all, mut entered, mut seen) = (Vec::new(), Bits::default(), Seen::default());
    let (mut guarded, mut count) = (language.guarded, 0);
    for together in chunks.chunks(AT_ONCE) {
        for (nodes, (found, mut marks, after)) in together.iter().zip(parallel::heavy(together, alone)) {
            report.absorb(found);
            all.append(&mut marks);
            for (at, node) in nodes.iter().enumerate() {
                if guarded {
                    entered.put(count + at);
                }
                if is_alone(language, *node) {
                    guarded = after.has(at);
                    continue;
                }
                let mut walk = Walk { located, language, report, marks: Vec::new(), plain: None };
                guarded = walk.top(*node, guarded, &mut seen);
                all.append(&mut walk.marks);
            }
            count += nodes.len();
        }
    }
    let mut walk = Walk { located, language, report, marks: Vec::new(), plain: None };
    walk.lists(Place::default(), language, &seen);
    (all, entered)
}

/// What of a file is known to be no secret and may be shown: sorted, none within another; of KDL, where nodes at the top
/// begin within `part`. Nothing else ever is. The nodes are walked a second time for it, since it is seldom asked for.
pub fn plain(located: &Located, file: usize, part: &Range<usize>) -> Vec<Range<usize>> {
    let Some(of) = located.files.get(file) else { return Vec::new() };
    let mut spans: Vec<Range<usize>> = if of.table {
        people::header(&of.text)
    } else {
        of.includes().iter().filter(|span| part.contains(&span.start)).cloned().collect()
    };
    match &located.language {
        Some(language) => {
            let mut report = Report::new();
            let plain = Some((file, std::mem::take(&mut spans)));
            let mut walk = Walk { located, language, report: &mut report, marks: Vec::new(), plain };
            let mut enter = |at: usize, node: Node<'_>| {
                walk.top(node, located.guarded.has(at), &mut Seen::default());
            };
            if of.table {
                // People of a table are walked as children of the domains that bring them.
                let brings = located.tops().enumerate().filter(|(_, node)| node.name() == "domain");
                brings.for_each(|(at, node)| enter(at, node));
            } else {
                located.tops_within(file, part).for_each(|(at, node)| enter(at, node));
            }
            spans = walk.plain.map(|(_, spans)| spans).unwrap_or_default();
        }
        // Of another language only its version is read.
        None => {
            let said = located.tops().find(|node| node.name() == "waybill").filter(|node| node.file() == file);
            spans.extend(said.iter().map(Node::span));
            spans.extend(said.and_then(|node| node.arguments().next()).map(|value| value.span()));
        }
    }
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    spans.dedup();
    spans
}

/// A message without what it quotes.
fn unquoted(text: &str) -> String {
    let parts = text.split(['`', '"']).enumerate();
    parts.map(|(at, part)| if at % 2 == 0 { part } else { "…" }).collect()
}

/// Whether the spec is in a language that is known here.
fn version(located: &Located, report: &mut Report) -> bool {
    let Some(node) = located.tops().find(|node| node.name() == "waybill") else {
        if !located.order.is_empty() {
            let start = Place { file: 0, span: 0..0 };
            report
                .find_at(Code::NoLanguage, start, "the spec does not say which version of the language it is in")
                .help(format!("write `waybill {LANGUAGE}` as the first line of {ROOT_FILE}"));
        }
        return true;
    };
    match node.arguments().next().map(|value| (value.scalar(), value.span())) {
        Some((Scalar::Whole(version), span)) if version != i128::from(LANGUAGE) => {
            let place = Place { file: node.file(), span };
            let says = format!("this compiler knows version {LANGUAGE} of the language, not {version}");
            report.find_at(Code::OtherLanguage, place, says).help("use the `waybill` that the spec was written for");
            false
        }
        // Anything else is told by the walk.
        _ => true,
    }
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
            ("waybill 1\ndns \"x\" { cloudflare token=\"secret\"; }", vec![("W0120", "mail.kdl:2:28")]),
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
            ("waybill 1\nstore \"x\" { postgresql \"postgres://u:p@h/d\"; }", vec![("W0120", "mail.kdl:2:24")]),
        ] {
            let (_, found) = read_text(text);
            let found: Vec<_> = found.iter().map(|(code, at)| (code.as_str(), at.as_str())).collect();
            assert_eq!(found, want, "{text}");
        }
    }
}
