//! What is wrong with a script, where, by which rule, and how to mend it.

use super::PROBLEMS_MOST;
use super::tree::Span;
use std::collections::HashSet;

/// What kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Not the grammar of RFC 5228 §8.
    Syntax,
    /// No such command, test or tagged argument.
    Unknown,
    /// An argument is missing, too many, of the wrong type or at the wrong place.
    Argument,
    /// A string or number has not the form that its place asks for.
    Value,
    /// The server does not offer a capability.
    NotOffered,
    /// A capability is used and not required.
    NotRequired,
    /// A command stands where it may not.
    Order,
    /// Too long, too deep, too many.
    Limit,
    /// It is never reached. A warning.
    Unreachable,
    /// It does nothing. A warning.
    NoEffect,
    /// It does something other than it looks like. A warning.
    Doubtful,
}

impl Kind {
    /// Whether the script can run all the same.
    pub fn is_warning(self) -> bool {
        matches!(self, Kind::Unreachable | Kind::NoEffect | Kind::Doubtful)
    }
}

/// Something that is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub kind: Kind,
    /// Which octets of the script.
    pub span: Span,
    /// What is wrong, one sentence without its full stop.
    pub says: String,
    /// How to mend it; may be empty.
    pub help: String,
    /// The rule, as `RFC 5228 §3.2`.
    pub section: &'static str,
}

impl Problem {
    /// Says how to mend it.
    pub fn help(&mut self, text: impl Into<String>) {
        self.help = text.into();
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    told: HashSet<(Kind, usize, usize)>,
    spill: Option<Problem>,
}

impl Problems {
    pub fn new() -> Problems {
        Problems::default()
    }

    /// Notes one, once for each kind and place.
    pub fn find(&mut self, kind: Kind, span: &Span, section: &'static str, says: String) -> &mut Problem {
        let key = (kind, span.start, span.end);
        let problem = Problem { kind, section, span: span.clone(), says, help: String::new() };
        if self.is_full() || !self.told.insert(key) {
            return self.spill.insert(problem);
        }
        let at = self.found.len();
        self.found.push(problem);
        &mut self.found[at]
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|problem| !problem.kind.is_warning())
    }

    /// Whether no more are kept.
    pub fn is_full(&self) -> bool {
        self.found.len() >= PROBLEMS_MOST
    }

    /// Them, in the script's order.
    pub fn sorted(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| (problem.span.start, problem.span.end, problem.kind));
        self.found
    }
}

/// `did you mean …?` for the known word nearest to a wrong one; empty where none is near.
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    // Longer words are no typing errors, and comparing costs the product of the lengths.
    if wrong.len() > 32 {
        return String::new();
    }
    let wrong = wrong.to_ascii_lowercase();
    let near = known.map(|word| (distance(&wrong, word), word)).min();
    match near {
        Some((far, word)) if far <= wrong.len().div_ceil(4) => format!("did you mean `{word}`?"),
        _ => String::new(),
    }
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().zip(std::iter::once(None).chain(b.bytes().map(Some))) {
            let up = *cell;
            *cell = match y {
                None => i + 1,
                Some(y) => (diagonal + usize::from(x != y)).min(up + 1).min(left + 1),
            };
            (diagonal, left) = (up, *cell);
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// A text as a message quotes it: short, on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("`");
    for (at, c) in text.chars().enumerate() {
        if at == 40 {
            out.push('…');
            break;
        }
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out.push('`');
    out
}
