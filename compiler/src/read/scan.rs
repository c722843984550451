//! What is looked for in a file's text before the parser sees it: nesting that would overflow its stack.

use super::token::{Kind, Tokens};
use std::ops::Range;

/// How deep children may nest.
pub const DEEPEST: usize = 64;

/// What a scan found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Where nesting goes too deep.
    pub too_deep: Option<Range<usize>>,
    /// Braces without partner, strings and comments without end, in order.
    pub broken: Vec<(Range<usize>, &'static str)>,
}

/// Scans a file's text in one pass.
pub fn scan(text: &str) -> Scan {
    let mut scan = Scan::default();
    let mut open = Vec::new();
    for token in Tokens::new(text) {
        let inside = &text[token.span.clone()];
        match token.kind {
            Kind::Open => open.push(token.span.clone()),
            Kind::Close if open.pop().is_none() => {
                scan.broken.push((token.span.clone(), "this `}` closes nothing"));
            }
            Kind::Unended if inside.starts_with("/*") => {
                scan.broken.push((token.span.start..token.span.start + 2, "this comment is not closed"));
            }
            Kind::Unended => scan.broken.push((token.span.start..token.span.start + 1, "this string is not closed")),
            _ => {}
        }
        let nested = inside.starts_with("/*") && inside.matches("/*").count() > DEEPEST;
        if scan.too_deep.is_none() && (open.len() > DEEPEST || nested) {
            scan.too_deep = Some(token.span.start..token.span.start + 1);
        }
    }
    let unclosed = open.into_iter().map(|span| (span, "this `{` is never closed"));
    scan.broken.extend(unclosed);
    scan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings_and_comments() {
        let deep = |levels: usize| format!("{}{}", "a { ".repeat(levels), "}".repeat(levels));
        assert!(scan(&deep(DEEPEST)).too_deep.is_none());
        assert!(scan(&deep(DEEPEST + 1)).too_deep.is_some());
        assert!(scan(&format!("/- {}", deep(DEEPEST + 1))).too_deep.is_some());
        assert!(scan(&format!("a \"\"\"\n{}\n\"\"\"", "{".repeat(500))).too_deep.is_none());
        assert!(scan(&format!("a \"\"\"\n\\\"\"\"{}\n\"\"\"", "{".repeat(5000))).too_deep.is_none());
        assert!(scan(&format!("\"\n{}", deep(DEEPEST + 1))).too_deep.is_some());
        assert!(scan(&"/*".repeat(100)).too_deep.is_some());
    }

    #[test]
    fn what_has_no_partner_is_named() {
        let broken: Vec<_> = scan("a {\n}}\nb \"x").broken;
        assert_eq!(broken.len(), 2);
        assert_eq!(scan("a { b {\n}").broken, vec![(2..3, "this `{` is never closed")]);
    }
}
