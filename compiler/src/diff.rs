//! What a change of the spec means: people, routes, listeners, stores, policies and records of two specs held against
//! each other, each difference in words and with a class for how the running server takes it.
//!
//! The classes say what `waybilld` of this version really does: it builds the whole new configuration, binds what is
//! new, swaps once, and stops accepting where it no longer listens. Only `storage` and the host's own name cannot
//! change while it runs. Mailboxes are kept by address, so who loses the address loses the mailbox.

mod access;
mod domains;
mod machines;
mod people;
mod records;
mod says;
pub mod show;
pub mod staged;
mod state;

pub use says::{Says, v};
pub use state::{Counts, Mailbox, STATE_MOST, StateError, grouped};

use crate::diagnostic::{Path, Report};
use crate::emit::{self, Artefacts};
use crate::pipeline::Compiled;
use crate::resolve::Resolved;
use serde_json::Value as Json;

/// How a running platform takes a difference. Later ones weigh more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Taken at once, while the server runs.
    Hot,
    /// The same; open connections end by themselves, new ones find it gone.
    Drains,
    /// The running server refuses the new configuration until it is started again.
    Restart,
    /// The same, and data has to be moved in between.
    Migration,
    /// Somebody's mail is out of reach, or gone.
    Destroys,
}

impl Class {
    /// Every class, the heaviest first.
    pub const ALL: [Class; 5] = [Class::Destroys, Class::Migration, Class::Restart, Class::Drains, Class::Hot];

    /// `needs restart`
    pub fn name(self) -> &'static str {
        match self {
            Class::Hot => "hot",
            Class::Drains => "drains",
            Class::Restart => "needs restart",
            Class::Migration => "needs migration",
            Class::Destroys => "destroys",
        }
    }
}

/// What a difference is about, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Accounts, aliases, groups and lists.
    People,
    /// Which mail goes where.
    Routes,
    /// Machines, their keys and addresses.
    Hosts,
    /// Services on addresses.
    Listeners,
    /// Databases.
    Stores,
    /// How mail is authenticated and judged.
    Policies,
    /// How much of anything there may be, and when mail is tried again.
    Limits,
    /// What is published.
    Records,
}

impl Part {
    /// Its heading.
    pub fn name(self) -> &'static str {
        match self {
            Part::People => "people",
            Part::Routes => "routes",
            Part::Hosts => "hosts",
            Part::Listeners => "listeners",
            Part::Stores => "stores",
            Part::Policies => "policies",
            Part::Limits => "limits",
            Part::Records => "records",
        }
    }
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about.
    pub part: Part,
    /// How it is taken.
    pub class: Class,
    /// Whose it is: an address, a domain, a host, a record.
    pub subject: String,
    /// What differs, in words.
    pub says: Says,
    /// Where the old one was written, `domains/a.kdl:12`; `None` where there was none.
    pub old: Option<String>,
    /// Where the new one is written.
    pub new: Option<String>,
}

/// What differs between two specs.
#[derive(Debug, Default)]
pub struct Diff {
    /// The differences, by part and subject.
    pub differences: Vec<Difference>,
    /// What must not be done in one step; places are those of the new spec.
    pub report: Report,
}

/// A spec as it is compared.
pub struct Side<'a> {
    compiled: &'a Compiled,
    resolved: &'a Resolved,
    artefacts: Artefacts,
}

impl<'a> Side<'a> {
    /// A compiled spec; `None` where it could not be resolved. What only a check of the whole refuses is compared
    /// all the same, so that a spec which a newer compiler no longer takes can be mended.
    pub fn of(compiled: &'a Compiled) -> Option<Side<'a>> {
        let resolved = compiled.resolved.as_ref()?;
        let artefacts = match &compiled.artefacts {
            Some(artefacts) => artefacts.clone(),
            None => emit::emit(resolved, &mut Report::new()),
        };
        Some(Side { compiled, resolved, artefacts })
    }

    /// `domains/a.kdl:12`; `None` where nothing was written.
    fn at(&self, path: &Path) -> Option<String> {
        let place = self.compiled.located.place(path);
        let file = self.compiled.located.file(&place)?;
        Some(format!("{}:{}", crate::diagnostic::printable(&file.name), file.line_column(place.span.start).0))
    }
}

/// Holds two specs against each other. `state` says how much mail there is; `now`, in seconds since 1970, is for
/// allowances.
pub fn diff(old: &Side<'_>, new: &Side<'_>, state: Option<&Counts>, now: i64) -> Diff {
    let mut found = Found { old, new, state, differences: Vec::new() };
    people::people(&mut found);
    access::access(&mut found);
    domains::routes(&mut found);
    domains::policies(&mut found);
    machines::hosts(&mut found);
    machines::storage(&mut found);
    machines::limits(&mut found);
    records::records(&mut found);
    let mut differences = found.differences;
    let mut report = Report::new();
    staged::staged(old, new, &mut report);
    crate::allowance::bear(&new.compiled.spec, &new.compiled.located, now, &mut report);
    report.sort(&new.compiled.located);
    differences.sort_by(|a, b| (a.part, &a.subject, b.class, &a.says).cmp(&(b.part, &b.subject, a.class, &b.says)));
    Diff { differences, report }
}

/// The differences while they are collected.
struct Found<'a> {
    old: &'a Side<'a>,
    new: &'a Side<'a>,
    state: Option<&'a Counts>,
    differences: Vec<Difference>,
}

/// Where both sides of a difference were written.
#[derive(Clone, Copy, Default)]
struct Places<'a> {
    old: Option<&'a Path>,
    new: Option<&'a Path>,
}

impl<'a> Places<'a> {
    fn old(path: &'a Path) -> Places<'a> {
        Places { old: Some(path), new: None }
    }
    fn new(path: &'a Path) -> Places<'a> {
        Places { old: None, new: Some(path) }
    }
    fn both(old: &'a Path, new: &'a Path) -> Places<'a> {
        Places { old: Some(old), new: Some(new) }
    }
}

impl Found<'_> {
    fn note(&mut self, kind: (Part, Class), subject: &str, says: String, places: Places<'_>) {
        self.differences.push(Difference {
            part: kind.0,
            class: kind.1,
            subject: subject.to_owned(),
            says: Says::new(says),
            old: places.old.and_then(|path| self.old.at(path)),
            new: places.new.and_then(|path| self.new.at(path)),
        });
    }
}

/// Two sorted lists side by side: what only the old one has, only the new one, or both.
fn pairs<'a, T, K: Ord + 'a>(
    old: &'a [T],
    new: &'a [T],
    key: impl Fn(&'a T) -> K,
) -> Vec<(Option<&'a T>, Option<&'a T>)> {
    let (mut old, mut new): (Vec<&T>, Vec<&T>) = (old.iter().collect(), new.iter().collect());
    old.sort_by_key(|one| key(one));
    new.sort_by_key(|one| key(one));
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    let mut out = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return out,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => key(a).cmp(&key(b)),
        };
        out.push(match order {
            std::cmp::Ordering::Less => (old.next(), None),
            std::cmp::Ordering::Greater => (None, new.next()),
            std::cmp::Ordering::Equal => (old.next(), new.next()),
        });
    }
}

/// The fields of two equal things in JSON that differ, but for those that were told already: name, old and new
/// value as text where it is short. For what later versions add, so that nothing goes untold.
fn rest(old: &Json, new: &Json, told: &[&str]) -> Vec<String> {
    let (Json::Object(old), Json::Object(new)) = (old, new) else { return Vec::new() };
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differ = names.into_iter().filter(|name| !told.contains(&name.as_str()) && old.get(*name) != new.get(*name));
    let short = |value: Option<&Json>| match value {
        None | Some(Json::Null) => Some("nothing".to_owned()),
        Some(Json::String(text)) if text.len() <= 60 => Some(v(text)),
        Some(value @ (Json::Bool(_) | Json::Number(_))) => Some(v(value)),
        Some(_) => None,
    };
    differ
        .map(|name| match (short(old.get(name)), short(new.get(name))) {
            (Some(a), Some(b)) => format!("{} changes from {a} to {b}", v(name)),
            _ => format!("{} changes", v(name)),
        })
        .collect()
}

/// A value as JSON, for [`rest`].
fn json<T: serde::Serialize>(value: &T) -> Json {
    serde_json::to_value(value).unwrap_or_default()
}

/// `a`, `b` and 3 more.
fn listed<T: std::fmt::Display>(items: &[T]) -> String {
    const MOST: usize = 6;
    let mut words: Vec<String> = items.iter().take(MOST).map(v).collect();
    if items.len() > MOST {
        words.push(format!("{} more", items.len() - MOST));
    }
    match words.split_last() {
        None => "nobody".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// What was taken away from a list and what was added.
fn moved<'a, T: Ord>(old: &'a [T], new: &'a [T]) -> (Vec<&'a T>, Vec<&'a T>) {
    use std::collections::BTreeSet;
    let (a, b): (BTreeSet<&T>, BTreeSet<&T>) = (old.iter().collect(), new.iter().collect());
    (a.difference(&b).copied().collect(), b.difference(&a).copied().collect())
}
