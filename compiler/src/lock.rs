//! `waybill.lock`: what DNS outside the spec said when `waybill lock` asked last, reviewed like any file, so that checks
//! are offline and repeatable, and a change at a partner shows as a diff.
//!
//! ```kdl
//! lock 1
//! record "25.2.0.192.in-addr.arpa" PTR "mail.example.org"
//! record "_spf.partner.net" TXT "v=spf1 ip4:198.51.100.0/24 -all"
//! record "gone.partner.net" TXT none
//! ```
//!
//! One set of records a line, sorted. `none` is a name that has no such record, or does not exist. Of TXT only what begins
//! with `v=spf1` or `v=DMARC1` is kept: the rest is others' business and changes for reasons of its own.

use crate::code::Code;
use crate::diagnostic::Report;
use crate::locate::{File, Located, Place};
use crate::read::files::{FileError, Sources};
use crate::read::tree::{self, Node, Scalar};
use crate::zone::{Kind, Rdata};
use schema::name::DomainName;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

/// The file's name, in the spec's folder.
pub const LOCK_FILE: &str = "waybill.lock";
/// The version of its form.
pub const LOCK_FORM: i128 = 1;
/// The most sets of records that are kept.
pub const MOST_SETS: usize = 20_000;
/// The most values of a set; no SPF record may lead to more than ten of anything.
pub const MOST_VALUES: usize = 64;
/// The longest value, in octets.
pub const LONGEST_VALUE: usize = 4000;

/// A type of records that is asked for outside the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "as in DNS")]
pub enum Asked {
    A,
    Aaaa,
    Caa,
    Cname,
    Mx,
    Ptr,
    Txt,
}

impl Asked {
    /// Every type.
    pub const ALL: [Asked; 7] = [Asked::A, Asked::Aaaa, Asked::Caa, Asked::Cname, Asked::Mx, Asked::Ptr, Asked::Txt];

    /// `AAAA`
    pub fn name(self) -> &'static str {
        match self {
            Asked::Ptr => "PTR",
            other => other.zone_kind().name(),
        }
    }

    /// The type as zones of the spec have it; a PTR has the form of a CNAME.
    pub fn zone_kind(self) -> Kind {
        match self {
            Asked::A => Kind::A,
            Asked::Aaaa => Kind::Aaaa,
            Asked::Caa => Kind::Caa,
            Asked::Cname | Asked::Ptr => Kind::Cname,
            Asked::Mx => Kind::Mx,
            Asked::Txt => Kind::Txt,
        }
    }

    /// Whether a value is kept.
    pub fn keeps(self, value: &str) -> bool {
        let begins = |version: &str| value.get(..version.len()).is_some_and(|v| v.eq_ignore_ascii_case(version));
        self != Asked::Txt || begins("v=spf1") || begins("v=DMARC1")
    }
}

/// A name and a type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// The name.
    pub name: DomainName,
    /// The type.
    pub kind: Asked,
}

/// The records of a name and type; none where there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// The values as written, sorted.
    pub texts: Vec<String>,
    /// The values as understood.
    pub values: Vec<Rdata>,
    /// Where it stands in the file.
    pub span: Range<usize>,
}

/// What is known of the world.
#[derive(Clone, Debug, Default)]
pub struct Lock {
    /// Sets by question.
    pub sets: BTreeMap<Question, Set>,
    /// Which file it is, as [`Located::files`] counts; `None` where there is none that can be read.
    pub file: Option<usize>,
    /// Where it says its version.
    pub head: Range<usize>,
}

impl Lock {
    /// The lock of a spec; empty where it has none.
    pub fn read(sources: &Sources, located: &mut Located, report: &mut Report) -> Lock {
        let text = match sources.text(LOCK_FILE) {
            Ok(text) => text,
            Err(FileError::Missing) => return Lock::default(),
            Err(why) => {
                let place = Place { file: located.files.len(), span: 0..0 };
                located.files.push(File::unread(LOCK_FILE.to_owned()));
                report.find_at(Code::LockForm, place, format!("{LOCK_FILE} {why}")).help(AGAIN);
                return Lock::default();
            }
        };
        let at = located.files.len();
        let mut lock = Lock { file: Some(at), ..Lock::default() };
        if let Err((span, says)) = lock.take(&text) {
            report.find_at(Code::LockForm, Place { file: at, span }, says).help(AGAIN);
            // What it lacks is no news then.
            lock.file = None;
        }
        // What others publish in DNS is no secret.
        let spans = lock.sets.values().map(|set| set.span.clone());
        let mut plain: Vec<Range<usize>> = spans.chain([lock.head.clone()]).collect();
        plain.sort_by_key(|span| span.start);
        located.files.push(File::beside(LOCK_FILE.to_owned(), text, plain));
        lock
    }

    fn take(&mut self, text: &Arc<str>) -> Result<(), (Range<usize>, String)> {
        let tree = tree::parse(Arc::clone(text));
        if let Some(span) = tree.too_deep() {
            return Err((span.clone(), "a lock holds no such nesting".to_owned()));
        }
        if let Some(fault) = tree.faults().first() {
            return Err((fault.span.clone(), fault.says.clone()));
        }
        let mut nodes = tree.nodes(0);
        match nodes.next() {
            Some(node) if node.name() == "lock" && form(node) == Some(Scalar::Whole(LOCK_FORM)) => {
                let end = node.arguments().last().map_or(node.span().end, |last| last.span().end);
                self.head = node.span().start..end;
            }
            Some(node) => return Err((node.span(), format!("the first line is not `lock {LOCK_FORM}`"))),
            None => return Err((0..0, format!("the first line is not `lock {LOCK_FORM}`"))),
        }
        for node in nodes {
            let (question, set) = one(node).map_err(|says| (node.span(), says))?;
            if self.sets.len() >= MOST_SETS {
                return Err((node.span(), format!("more than {MOST_SETS} sets of records")));
            }
            if self.sets.insert(question, set).is_some() {
                return Err((node.span(), "this name and type stand here twice".to_owned()));
            }
        }
        Ok(())
    }

    /// Notes what DNS says; values that are not kept, or not understood, are left out.
    pub fn note(&mut self, question: Question, values: Vec<String>) {
        let mut texts: Vec<String> = values.into_iter().filter(|value| question.kind.keeps(value)).collect();
        texts.sort();
        texts.dedup();
        texts.truncate(MOST_VALUES);
        let known = texts.iter().filter_map(|text| Some((text.clone(), understood(question.kind, text)?)));
        let (texts, values) = known.unzip();
        self.sets.insert(question, Set { texts, values, span: 0..0 });
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut text = format!("// What DNS outside this spec said; written by `waybill lock`.\nlock {LOCK_FORM}\n");
        for line in self.lines() {
            text += &line;
            text.push('\n');
        }
        text
    }

    /// A line for each set, sorted.
    pub fn lines(&self) -> Vec<String> {
        let line = |(question, set): (&Question, &Set)| {
            let mut line = format!("record \"{}\" {}", question.name, question.kind.name());
            for value in &set.texts {
                line.push(' ');
                line += &quoted(value);
            }
            if set.texts.is_empty() {
                line += " none";
            }
            line
        };
        self.sets.iter().map(line).collect()
    }
}

/// What helps against a lock that cannot be used.
const AGAIN: &str = "`waybill lock` writes it anew";

fn one(node: Node<'_>) -> Result<(Question, Set), String> {
    let text = |value: tree::Value<'_>| match value.scalar() {
        Scalar::Text(text) => Some(text.to_owned()),
        _ => None,
    };
    let words: Option<Vec<String>> = node.arguments().map(text).collect();
    let plain = node.properties().next().is_none() && node.children().next().is_none();
    let words = words.filter(|_| node.name() == "record" && plain);
    let Some([name, kind, values @ ..]) = words.as_deref().filter(|words| words.len() > 2) else {
        return Err("a line is `record NAME TYPE VALUE …`, or `none` as value".to_owned());
    };
    let name = name.parse::<DomainName>().map_err(|why| format!("`{}` {why}", name.escape_debug()))?;
    let kind = Asked::ALL.into_iter().find(|one| one.name() == kind);
    let kind = kind.ok_or_else(|| "A, AAAA, CAA, CNAME, MX, PTR and TXT are locked".to_owned())?;
    let texts = if values == ["none"] { Vec::new() } else { values.to_vec() };
    if texts.len() > MOST_VALUES {
        return Err(format!("more than {MOST_VALUES} values"));
    }
    let values: Option<Vec<Rdata>> = texts.iter().map(|text| understood(kind, text)).collect();
    let values = values.ok_or_else(|| format!("a value is no {} record", kind.name()))?;
    let end = node.arguments().last().map_or(node.span().end, |last| last.span().end);
    Ok((Question { name, kind }, Set { texts, values, span: node.span().start..end }))
}

/// The first value of a node.
fn form(node: Node<'_>) -> Option<Scalar<'_>> {
    node.arguments().next().map(|value| value.scalar())
}

fn understood(kind: Asked, text: &str) -> Option<Rdata> {
    match kind {
        // A machine of one label is odd, and no reason to refuse the whole.
        Asked::Ptr | Asked::Cname => text.parse().ok().map(Rdata::Cname),
        _ if text.len() > LONGEST_VALUE => None,
        _ => Rdata::parse(kind.zone_kind(), text).ok(),
    }
}

/// A string of KDL.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if crate::diagnostic::is_unprintable(c) => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut lock = Lock::default();
        let name = |text: &str| text.parse::<DomainName>().unwrap();
        let mut note = |of: &str, kind, values: &[&str]| {
            lock.note(Question { name: name(of), kind }, values.iter().map(|v| (*v).to_owned()).collect());
        };
        note("b.example", Asked::Txt, &["v=spf1 exists:\"\\x -all", "google-site-verification=1"]);
        note("a.example", Asked::A, &["192.0.2.2", "192.0.2.1", "192.0.2.1"]);
        note("1.2.0.192.in-addr.arpa", Asked::Ptr, &["localhost"]);
        note("a.example", Asked::Mx, &[]);
        note("a.example", Asked::Caa, &["0 issue \"ca.example; validationmethods=dns-01\""]);
        let text = lock.text();
        assert!(text.contains("record \"a.example\" A \"192.0.2.1\" \"192.0.2.2\"\n"), "{text}");
        assert!(text.contains("record \"a.example\" MX none\n") && !text.contains("google"), "{text}");
        let mut again = Lock::default();
        again.take(&text.as_str().into()).unwrap();
        assert_eq!(again.text(), text);
    }
}
