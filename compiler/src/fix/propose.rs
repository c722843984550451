//! Edits that are clear from a finding's code and the text that it is about.

use crate::code::Code;
use crate::diagnostic::cause::quoted;
use crate::diagnostic::{Diagnostic, Fix};
use crate::locate::{File, Located, Place};
use schema::spec::LANGUAGE;

/// KDL 1 wrote these without `#`.
const KEYWORDS: [&str; 6] = ["true", "false", "null", "inf", "-inf", "nan"];

/// The edit that mends a finding, where one is clear.
pub fn propose(found: &Diagnostic, located: &Located) -> Option<Fix> {
    let place = match &found.place {
        Some(place) => place.clone(),
        None => located.exact(&found.at)?,
    };
    let file = located.file(&place).filter(|file| !file.unread)?;
    let text = file.text.get(place.span.clone())?;
    match found.code {
        Code::NoLanguage => Some(Fix::one("write the language's version", place, format!("waybill {LANGUAGE}\n"))),
        Code::OldKdl if KEYWORDS.contains(&text) => {
            Some(Fix::one(format!("write `#{text}`"), place.clone(), format!("#{text}")))
        }
        Code::OldKdl => raw(file, &place, text),
        Code::BadSyntax if is_word_of_digits(text) => Some(Fix::one("put it in quotes", place.clone(), quoted(text))),
        Code::WrongKind => kind(found, &place, text),
        Code::AllowNothing => line(file, &place, "allow"),
        _ => None,
    }
}

/// `r"…"` of KDL 1.
fn raw(file: &File, place: &Place, text: &str) -> Option<Fix> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let before = place.span.start.checked_sub(1)?;
    // Where a raw string ends in a backslash, the two versions do not agree on its end.
    if file.text.get(before..place.span.start) != Some("r") || inner.contains('"') || inner.ends_with('\\') {
        return None;
    }
    let place = Place { file: place.file, span: before..place.span.end };
    Some(Fix::one("write `#\"…\"#`", place, format!("#\"{inner}\"#")))
}

/// What looks like a number and is none: `5GiB`, `192.0.2.1`, `2001:db8::1`, `1h`.
fn is_word_of_digits(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.len() <= 64
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".:-_/+@%".contains(c))
}

/// A number in quotes, or text without.
fn kind(found: &Diagnostic, place: &Place, text: &str) -> Option<Fix> {
    let digits = |text: &str| !text.is_empty() && text.len() <= 20 && text.bytes().all(|c| c.is_ascii_digit());
    let unquoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match unquoted {
        Some(inner) if digits(inner) && found.says.contains("takes a whole number") => {
            Some(Fix::one("take the quotes off", place.clone(), inner.trim_start_matches('0').to_owned()))
                .filter(|fix| fix.edits.iter().all(|(_, text)| !text.is_empty()))
        }
        None if digits(text) && found.says.contains("takes text") => {
            Some(Fix::one("put it in quotes", place.clone(), quoted(text)))
        }
        _ => None,
    }
}

/// A node that has a line to itself, taken out with it.
fn line(file: &File, place: &Place, node: &str) -> Option<Fix> {
    let (number, _) = file.line_column(place.span.start);
    let range = file.line(number);
    let written = file.text.get(range.clone())?.trim();
    let alone = written.strip_prefix(node)?.starts_with([' ', '\t'])
        && !written.contains([';', '{', '}', '\\'])
        && !written.contains("/*")
        && !written.contains("\"\"\"");
    // With the end of the line.
    let after = file.text.get(range.end..)?;
    let end = range.end + after.find('\n').map_or(after.len(), |at| at + 1);
    alone.then(|| Fix::one("take the line out", Place { file: place.file, span: range.start..end }, ""))
}
