//! Findings of one cause, and the edits that mend them.

use super::{Diagnostic, Fix, Meant, Path, Step, machine};
use crate::code::Code;
use crate::fix::propose::propose;
use crate::locate::{Located, Place};
use std::collections::{HashMap, HashSet};

/// How many findings of one code at one value are told one by one, if they say different things.
const MOST_SIDES: usize = 3;

/// Makes one finding of those that have one cause: the same code, place and words; or the same code at the same value,
/// which many take from where it is written once, whatever each makes of it. The list is sorted by place.
pub fn merge(list: &mut Vec<Diagnostic>, located: &Located) {
    let mut firsts: HashMap<(Place, Code, String), usize> = HashMap::new();
    let mut kept: Vec<Diagnostic> = Vec::with_capacity(list.len());
    for found in list.drain(..) {
        let key = (machine::place(&found, located), found.code, found.says.clone());
        match firsts.get(&key).and_then(|at| kept.get_mut(*at)) {
            Some(first) => first.more += found.more + 1,
            None => {
                firsts.insert(key, kept.len());
                kept.push(found);
            }
        }
    }
    // A place that the reader knows is a node's, which may lack several things; a path names the very value.
    let mut sides: HashMap<(Path, Code), Vec<usize>> = HashMap::new();
    for (at, found) in kept.iter().enumerate().filter(|(_, found)| found.place.is_none()) {
        sides.entry((found.at.clone(), found.code)).or_default().push(at);
    }
    let mut gone = HashSet::new();
    for all in sides.into_values().filter(|all| all.len() > MOST_SIDES) {
        let Some((first, others)) = all.split_first() else { continue };
        let more: usize = others.iter().filter_map(|at| kept.get(*at)).map(|other| other.more + 1).sum();
        if let Some(first) = kept.get_mut(*first) {
            first.more += more;
        }
        gone.extend(others.iter().copied());
    }
    let kept = kept.into_iter().enumerate().filter(|(at, _)| !gone.contains(at));
    list.extend(kept.map(|(_, found)| found));
}

/// Makes edits of what was meant, or of what is clear from the text.
pub fn mend(found: &mut Diagnostic, located: &Located) {
    if found.fix.is_some() {
        return;
    }
    found.fix = match found.meant.take() {
        Some(Meant::Text(text)) => {
            let place = found.place.clone().or_else(|| located.exact(&found.at));
            place.and_then(|place| instead(&text, place, located))
        }
        Some(Meant::Nothing) => superfluous(found, located),
        None => propose(found, located),
    };
}

/// One word in the place of another, quoted where that was.
fn instead(text: &str, place: Place, located: &Located) -> Option<Fix> {
    let written = located.file(&place)?.text.get(place.span.clone())?;
    // The value's annotation is part of it, and stays out of this.
    if written.starts_with('(') {
        return None;
    }
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let keep = bare && !written.starts_with(['"', '#']);
    let new = if keep { text.to_owned() } else { quoted(text) };
    Some(Fix::one(format!("write `{text}`"), place, new))
}

/// A value as KDL, in quotes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() || super::is_unprintable(c) => {
                out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Takes a value out of a node that has another before or behind it, on the same line.
fn superfluous(found: &Diagnostic, located: &Located) -> Option<Fix> {
    let own = located.exact(&found.at)?;
    let (last, parent) = found.at.steps().split_last()?;
    let Step::Item(at) = last else { return None };
    let parent: Path = parent.iter().cloned().collect();
    let text = &located.file(&own)?.text;
    let blank = |from: usize, to: usize| {
        text.get(from..to).is_some_and(|gap| !gap.is_empty() && gap.chars().all(|c| c == ' ' || c == '\t'))
    };
    let neighbour = |at: usize| located.exact(&parent.item(at)).filter(|place| place.file == own.file);
    let before = at.checked_sub(1).and_then(neighbour).filter(|place| blank(place.span.end, own.span.start));
    let behind = neighbour(at + 1).filter(|place| blank(own.span.end, place.span.start));
    let span = match (before, behind) {
        (Some(before), _) => before.span.end..own.span.end,
        (None, Some(behind)) => own.span.start..behind.span.start,
        (None, None) => return None,
    };
    let place = Place { file: own.file, span };
    Some(Fix { says: "take it out".to_owned(), edits: vec![(place, String::new())] })
}
