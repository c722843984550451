//! Writing KDL: nodes, strings and comments, whatever their text holds.

use std::fmt::Write as _;

/// The longest comment line, in characters.
const LONGEST_COMMENT: usize = 240;

/// KDL text while it grows; [`crate::format`] lays it out afterwards.
#[derive(Debug, Default)]
pub struct Writer {
    text: String,
}

impl Writer {
    /// One node without children: its name and what follows, written already.
    pub fn node(&mut self, name: &str, rest: &str) {
        let space = if rest.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{name}{space}{rest}");
    }

    /// A node whose children follow, to [`Writer::close`].
    pub fn open(&mut self, name: &str, rest: &str) {
        let space = if rest.is_empty() { "" } else { " " };
        let _ = writeln!(self.text, "{name}{space}{rest} {{");
    }

    /// The end of the children.
    pub fn close(&mut self) {
        self.text.push_str("}\n");
    }

    /// An empty line.
    pub fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A comment of one line. What a comment cannot hold is escaped, what is too long cut.
    pub fn comment(&mut self, text: &str) {
        let _ = writeln!(self.text, "// {}", shown(text, LONGEST_COMMENT));
    }

    /// What was written.
    pub fn finish(self) -> String {
        self.text
    }
}

/// A text on one line: what would end it, steer a terminal or turn the direction of writing is escaped.
pub fn shown(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for (at, c) in text.chars().enumerate() {
        if at == most {
            out.push('…');
            break;
        }
        match c {
            _ if is_odd(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Characters that KDL does not take as they are, or that are not seen as what they are (KDL 2.0, disallowed code
/// points and newlines).
fn is_odd(c: char) -> bool {
    let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c.is_control() || hidden
}

/// A string in quotes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if is_odd(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Several strings in quotes, a space between.
pub fn all_quoted<T: ToString>(texts: impl IntoIterator<Item = T>) -> String {
    texts.into_iter().map(|text| quoted(&text.to_string())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tree::{self, Scalar};

    #[test]
    fn every_text_comes_back_from_a_string_and_no_comment_ends_early() {
        let hostile = "a\"b\\c\nd\re\tf\u{0}\u{7f}\u{85}\u{2028}\u{202e}\u{feff}\u{1}}{;/*é😀";
        let mut writer = Writer::default();
        writer.comment(hostile);
        writer.comment(&format!("{}\nnode", "x".repeat(10_000)));
        writer.open("a", &quoted(hostile));
        writer.node("b", &all_quoted(["1", "2"]));
        writer.close();
        let text = crate::format::format(&writer.finish()).expect("KDL");
        let tree = tree::parse(text.as_str());
        let mut nodes = tree.nodes(0);
        let first = nodes.next().and_then(|node| node.arguments().next()).map(|value| value.scalar());
        assert!(tree.faults().is_empty() && nodes.next().is_none(), "{text}");
        assert_eq!(first, Some(Scalar::Text(hostile)), "{text}");
    }
}
