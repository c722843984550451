//! What edits change, as a unified diff whose lines show no more than a finding's excerpt would.

use super::{Changed, Mended};
use crate::diagnostic::excerpt::Excerpt;
use crate::diagnostic::printable;
use crate::locate::{File, Located};
use crate::read::token::Tokens;
use std::collections::HashSet;
use std::fmt::Write as _;

/// Lines around a change.
const CONTEXT: usize = 3;
/// The most cells of the table by which lines are matched; what needs more is shown as replaced whole.
const MOST_CELLS: usize = 4 << 20;

/// One line of a diff.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Both(usize, usize),
    Old(usize),
    New(usize),
}

/// The diff of all files.
pub fn diff(mended: &Mended) -> String {
    let mut out = String::new();
    for file in &mended.files {
        // What the reader understands after the edits, it may not have before.
        let known = mended.after.as_ref().map(|after| plain(&after.located, file)).unwrap_or_default();
        let old = shown(&mended.before.located, file, &known);
        let new = mended.after.as_ref().map(|after| shown(&after.located, file, &HashSet::new())).unwrap_or_default();
        let name = printable(&file.name);
        let _ = writeln!(out, "--- a/{name}\n+++ b/{name}");
        hunks(file, (&old, &new), &mut out);
    }
    out
}

/// A file's lines as they may be shown; `known` are words that are no secret.
fn shown(located: &Located, file: &Changed, known: &HashSet<&str>) -> Vec<String> {
    let Some(at) = located.files.iter().position(|one| one.name == file.name) else { return Vec::new() };
    let Some(found) = located.files.get(at) else { return Vec::new() };
    let lines = |text: &str| text.lines().map(str::to_owned).collect();
    if known.is_empty() {
        return located.excerpt(at).map_or(Vec::new(), |excerpt| lines(&excerpt.text));
    }
    let mut plain = located.plain(at).to_vec();
    let words = Tokens::new(&found.text).map(|token| token.span);
    plain.extend(words.filter(|span| found.text.get(span.clone()).is_some_and(|word| known.contains(word))));
    plain.sort_by_key(|span| span.start);
    lines(&Excerpt::of(found, &plain).text)
}

/// The words of a file that hold no secret.
fn plain<'a>(located: &'a Located, file: &Changed) -> HashSet<&'a str> {
    let found = located.files.iter().enumerate().find(|(_, one)| one.name == file.name);
    let words = |(at, file): (usize, &'a File)| {
        located.plain(at).iter().filter_map(move |span| file.text.get(span.clone())).collect::<Vec<_>>()
    };
    found.into_iter().flat_map(words).collect()
}

fn hunks(file: &Changed, (old, new): (&[String], &[String]), out: &mut String) {
    let lines = matched(&file.old.lines().collect::<Vec<_>>(), &file.new.lines().collect::<Vec<_>>());
    let is_change = |line: &Line| !matches!(line, Line::Both(..));
    let near = |at: usize| {
        let around = at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(lines.len());
        lines.get(around).is_some_and(|around| around.iter().any(is_change))
    };
    let kept: Vec<bool> = (0..lines.len()).map(near).collect();
    let mut at = 0;
    while at < lines.len() {
        if !kept.get(at).copied().unwrap_or_default() {
            at += 1;
            continue;
        }
        let end = (at..lines.len()).find(|one| !kept.get(*one).copied().unwrap_or_default()).unwrap_or(lines.len());
        let hunk = lines.get(at..end).unwrap_or_default();
        let before = lines.get(..at).unwrap_or_default();
        let count = |lines: &[Line], new: bool| {
            let counts = |line: &&Line| if new { !matches!(line, Line::Old(_)) } else { !matches!(line, Line::New(_)) };
            lines.iter().filter(counts).count()
        };
        let side = |new: bool| {
            let (from, count) = (count(before, new), count(hunk, new));
            // An empty side names the line before (as `diff -u` has it).
            (if count == 0 { from } else { from + 1 }, count)
        };
        let ((a, b), (c, d)) = (side(false), side(true));
        let _ = writeln!(out, "@@ -{a},{b} +{c},{d} @@");
        for line in hunk {
            let (mark, text) = match line {
                Line::Both(_, at) => (' ', new.get(*at)),
                Line::Old(at) => ('-', old.get(*at)),
                Line::New(at) => ('+', new.get(*at)),
            };
            let _ = writeln!(out, "{mark}{}", text.map_or("…", String::as_str));
        }
        at = end;
    }
}

/// Lines that stay, go and come, in order.
fn matched(old: &[&str], new: &[&str]) -> Vec<Line> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let rest = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = rest.0.iter().rev().zip(rest.1.iter().rev()).take_while(|(a, b)| a == b).count();
    let a = rest.0.get(..rest.0.len() - tail).unwrap_or_default();
    let b = rest.1.get(..rest.1.len() - tail).unwrap_or_default();
    let mut lines: Vec<Line> = (0..head).map(|at| Line::Both(at, at)).collect();
    middle(a, b, head, &mut lines);
    lines.extend((0..tail).map(|at| Line::Both(head + a.len() + at, head + b.len() + at)));
    lines
}

/// The longest common lines of two texts, by the usual table.
fn middle(a: &[&str], b: &[&str], head: usize, lines: &mut Vec<Line>) {
    let width = b.len() + 1;
    if (a.len() + 1).saturating_mul(width) > MOST_CELLS {
        lines.extend((0..a.len()).map(|at| Line::Old(head + at)));
        lines.extend((0..b.len()).map(|at| Line::New(head + at)));
        return;
    }
    let mut table = vec![0u32; (a.len() + 1) * width];
    let cell = |table: &[u32], i: usize, j: usize| table.get(i * width + j).copied().unwrap_or(0);
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            let longest = if a.get(i) == b.get(j) {
                cell(&table, i + 1, j + 1) + 1
            } else {
                cell(&table, i + 1, j).max(cell(&table, i, j + 1))
            };
            if let Some(slot) = table.get_mut(i * width + j) {
                *slot = longest;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a.get(i) == b.get(j) {
            lines.push(Line::Both(head + i, head + j));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || cell(&table, i + 1, j) >= cell(&table, i, j + 1)) {
            lines.push(Line::Old(head + i));
            i += 1;
        } else {
            lines.push(Line::New(head + j));
            j += 1;
        }
    }
}
