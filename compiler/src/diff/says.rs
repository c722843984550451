//! Sentences about a spec, in which what the spec says stays apart from our own words: it is quoted for each form of
//! output by that form's rules, and can begin nothing in it.

use crate::diagnostic::printable;
use std::fmt::{Display, Write as _};

const BEGIN: char = '\u{1}';
const END: char = '\u{2}';
/// Longer values are cut, in characters.
const LONGEST: usize = 200;

/// A value of the spec inside a sentence.
pub fn v(value: impl Display) -> String {
    let text = value.to_string();
    let mut out = String::from(BEGIN);
    // Control characters are escaped, so none ends the value.
    let clean = printable(&text);
    out.extend(clean.chars().filter(|c| !matches!(*c, BEGIN | END)).take(LONGEST));
    if clean.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out.push(END);
    out
}

/// A sentence made of words and values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Says(String);

impl Says {
    /// A sentence whose values were put in by [`v`].
    pub fn new(text: String) -> Says {
        Says(text)
    }

    /// For people: values between backquotes.
    pub fn plain(&self) -> String {
        self.0.replace([BEGIN, END], "`")
    }

    /// As Markdown: values are code spans, in which nothing has a meaning.
    pub fn markdown(&self) -> String {
        let mut out = String::with_capacity(self.0.len() + 16);
        for piece in self.0.split(BEGIN) {
            match piece.split_once(END) {
                Some((value, words)) => {
                    out.push_str(&code(value));
                    out.push_str(words);
                }
                None => out.push_str(piece),
            }
        }
        out
    }
}

/// A code span (CommonMark §6.1): fenced by more backquotes than it holds in a row.
pub fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 || text.is_empty() { " " } else { "" };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(out, "{fence}{pad}{text}{pad}{fence}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_begin_nothing() {
        let says = Says::new(format!("{} is no {}", v("a`\u{2}<b>@x\n"), v("b")));
        assert!(says.plain().contains("is no `b`"));
        assert!(!says.markdown().contains('\u{2}') && !says.markdown().contains('\n'));
        assert!(says.markdown().starts_with("`` a`"), "{}", says.markdown());
    }
}
