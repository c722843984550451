//! A diff for people, for programs, and for a pull request's comment.

use super::{Class, Diff, Difference, Part};
use crate::diagnostic::machine;
use crate::locate::Located;
use serde_json::{Value as Json, json};
use std::fmt::Write as _;

/// The longest comment, in characters; GitHub takes 65,536.
pub const LONGEST_COMMENT: usize = 60_000;
/// Longer parts are folded in a comment.
const UNFOLDED: usize = 10;

const PARTS: [Part; 8] = [
    Part::People,
    Part::Routes,
    Part::Hosts,
    Part::Listeners,
    Part::Stores,
    Part::Policies,
    Part::Limits,
    Part::Records,
];

fn of(diff: &Diff, part: Part) -> Vec<&Difference> {
    diff.differences.iter().filter(|one| one.part == part).collect()
}

/// How many there are of each class that there is, the heaviest first.
fn counts(differences: &[&Difference]) -> String {
    let count = |class: Class| differences.iter().filter(|one| one.class == class).count();
    let words = Class::ALL.into_iter().map(|class| (class, count(class))).filter(|(_, n)| *n > 0);
    words.map(|(class, n)| format!("{n} {}", class.name())).collect::<Vec<_>>().join(", ")
}

fn places(one: &Difference) -> String {
    match (&one.old, &one.new) {
        (None, None) => String::new(),
        (Some(old), None) => format!("was {old}"),
        (None, Some(new)) => new.clone(),
        (Some(old), Some(new)) if old == new => new.clone(),
        (Some(old), Some(new)) => format!("{new}, was {old}"),
    }
}

/// For people, on a terminal or in a log.
pub fn human(diff: &Diff) -> String {
    let mut out = String::new();
    for part in PARTS {
        let differences = of(diff, part);
        if differences.is_empty() {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", part.name());
        for one in differences {
            let at = places(one);
            let at = if at.is_empty() { at } else { format!("  ({at})") };
            let _ = writeln!(out, "  {:<15}  {}{at}", one.class.name(), one.says.plain());
        }
        out.push('\n');
    }
    let all: Vec<&Difference> = diff.differences.iter().collect();
    let _ = match all.len() {
        0 => writeln!(out, "no difference"),
        1 => writeln!(out, "1 difference: {}", counts(&all)),
        n => writeln!(out, "{n} differences: {}", counts(&all)),
    };
    out
}

/// For programs: `differences`, how many of each `class`, and `findings` as `check --format json` tells them.
pub fn json_form(diff: &Diff, located: &Located) -> Json {
    let one = |one: &Difference| {
        json!({
            "part": one.part.name(),
            "class": one.class.name(),
            "subject": one.subject,
            "message": one.says.plain(),
            "old": one.old,
            "new": one.new,
        })
    };
    let count = |class: Class| diff.differences.iter().filter(|one| one.class == class).count();
    let classes: serde_json::Map<String, Json> =
        Class::ALL.into_iter().map(|class| (class.name().to_owned(), count(class).into())).collect();
    json!({
        "differences": diff.differences.iter().map(one).collect::<Vec<_>>(),
        "classes": classes,
        "findings": machine::json(&diff.report, located),
    })
}

/// As the comment of a pull request: what weighs most first, long parts folded, cut at [`LONGEST_COMMENT`].
pub fn markdown(diff: &Diff, located: &Located) -> String {
    let all: Vec<&Difference> = diff.differences.iter().collect();
    let mut page = Page { text: String::new(), left: 0 };
    let heading = match all.len() {
        0 => "### Waybill: no difference\n".to_owned(),
        n => format!("### Waybill: {n} difference{}\n\n{}\n", if n == 1 { "" } else { "s" }, counts(&all)),
    };
    page.line(&heading);
    for found in diff.report.diagnostics() {
        let at = located.at(&machine::place(found, located));
        let says = super::says::code(&crate::diagnostic::printable(&format!("{} {at}", found.code.id())));
        let help = found.help.as_deref().map(|help| format!(" {}", words(help))).unwrap_or_default();
        page.line(&format!("\n> **Not in one step** {says}: {}.{help}\n", words(&found.says)));
    }
    let heavy: Vec<&Difference> = all.iter().copied().filter(|one| one.class > Class::Drains).collect();
    if !heavy.is_empty() {
        page.line("\n**Mind**\n\n");
        heavy.iter().for_each(|one| page.line(&item(one)));
    }
    for part in PARTS {
        let differences = of(diff, part);
        if differences.is_empty() {
            continue;
        }
        let open = if differences.len() <= UNFOLDED && part != Part::Records { " open" } else { "" };
        let (name, counts) = (part.name(), counts(&differences));
        page.fold(&format!("\n<details{open}><summary>{name}: {counts}</summary>\n\n"), &differences);
    }
    page.end()
}

/// A finding's sentence, whose values stand between backquotes already.
fn words(text: &str) -> String {
    let mut out = String::new();
    for (at, piece) in crate::diagnostic::printable(text).split('`').enumerate() {
        if at % 2 == 1 {
            out.push_str(&super::says::code(piece));
        } else {
            out.extend(piece.chars().map(|c| if matches!(c, '<' | '>' | '@' | '[' | ']' | '*') { ' ' } else { c }));
        }
    }
    out
}

fn item(one: &Difference) -> String {
    let at = places(one);
    let at = if at.is_empty() { at } else { format!(" <sub>{}</sub>", super::says::code(&at)) };
    format!("- **{}** {}{at}\n", one.class.name(), one.says.markdown())
}

/// A comment while it is written.
struct Page {
    text: String,
    /// What had no room.
    left: usize,
}

impl Page {
    /// Room for closing a fold and the last note.
    const RESERVE: usize = 300;

    fn fits(&self, more: usize) -> bool {
        self.left == 0 && self.text.chars().count() + more + Page::RESERVE <= LONGEST_COMMENT
    }

    fn line(&mut self, text: &str) {
        if self.fits(text.chars().count()) {
            self.text.push_str(text);
        } else {
            self.left += 1;
        }
    }

    fn fold(&mut self, head: &str, differences: &[&Difference]) {
        if !self.fits(head.chars().count()) {
            self.left += differences.len();
            return;
        }
        self.text.push_str(head);
        let mut length = self.text.chars().count();
        for one in differences {
            let text = item(one);
            let more = text.chars().count();
            if self.left == 0 && length + more + Page::RESERVE <= LONGEST_COMMENT {
                self.text.push_str(&text);
                length += more;
            } else {
                self.left += 1;
            }
        }
        self.text.push_str("\n</details>\n");
    }

    fn end(mut self) -> String {
        if self.left > 0 {
            let _ = writeln!(self.text, "\n{} more had no room here; `waybill diff` shows all.", self.left);
        }
        self.text
    }
}
