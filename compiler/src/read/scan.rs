//! What is looked for in a file's text before the parser sees it: nesting that would overflow its stack, and secrets.

use super::token::{Kind, Token, Tokens};
use std::ops::Range;

/// How deep children may nest.
pub const DEEPEST: usize = 64;

/// How many openers (`{`, `/*`) a file's strings and comments may hold in all. The parser, mending broken text,
/// may take them for structure, so its stack must hold that many levels.
pub const MOST_HIDDEN: usize = 4096;

/// What a scan found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Where nesting goes too deep.
    pub too_deep: Option<Range<usize>>,
    /// Braces without partner, strings and comments without end, in order.
    pub broken: Vec<(Range<usize>, &'static str)>,
    /// Values of nodes and properties that sound like secrets, and password hashes.
    pub secret: Vec<Range<usize>>,
}

/// Scans a file's text in one pass.
pub fn scan(text: &str) -> Scan {
    let mut scan = Scan::default();
    let mut secrets = Secrets::default();
    let (mut open, mut hidden) = (Vec::new(), 0);
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
        if matches!(token.kind, Kind::Quoted | Kind::LineComment | Kind::BlockComment | Kind::Unended) {
            hidden += inside.matches('{').count() + inside.matches("/*").count();
        }
        let nested = inside.starts_with("/*") && inside.matches("/*").count() > DEEPEST;
        if scan.too_deep.is_none() && (open.len() > DEEPEST || hidden > MOST_HIDDEN || nested) {
            scan.too_deep = Some(token.span.start..token.span.start + 1);
        }
        secrets.see(text, &token, &mut scan.secret);
    }
    let unclosed = open.into_iter().map(|span| (span, "this `{` is never closed"));
    scan.broken.extend(unclosed);
    scan
}

/// Whether a node or property of that name holds a secret.
pub fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passwd", "passphrase", "token", "secret"].iter().any(|word| name.contains(word))
}

/// Follows tokens to know which strings are a secret's. Knows no grammar, so it works on broken text too.
#[derive(Default)]
struct Secrets {
    /// The node's name is known, and whether it sounds secret.
    node: Option<bool>,
    /// The last word, which `=` makes a property's name.
    word: bool,
    /// The value to come is a secret property's.
    property: Option<bool>,
    /// The value to come has this annotation.
    annotation: Option<String>,
    /// Between `(` and `)`.
    within: bool,
}

impl Secrets {
    fn see(&mut self, text: &str, token: &Token, found: &mut Vec<Range<usize>>) {
        let inside = &text[token.span.clone()];
        match token.kind {
            Kind::Newline | Kind::Semicolon | Kind::Open | Kind::Close => *self = Secrets::default(),
            Kind::AnnotationOpen => self.within = true,
            Kind::AnnotationClose => self.within = false,
            Kind::Equals => self.property = Some(self.word),
            Kind::Word | Kind::Quoted | Kind::Unended if self.within => self.annotation = Some(inside.to_owned()),
            Kind::Word | Kind::Quoted | Kind::Unended => {
                let sounds = inside.len() <= 64 && sounds_secret(inside);
                let Some(node) = self.node else {
                    self.node = Some(sounds);
                    self.annotation = None;
                    return;
                };
                let reference = matches!(self.annotation.as_deref(), Some("env" | "file"));
                let hash = matches!(self.annotation.take().as_deref(), Some("hash" | "scram" | "age"));
                let secret = self.property.take().unwrap_or(node);
                self.word = sounds;
                let named = text[token.span.end..].starts_with('=');
                if !named && (hash || (secret && !reference)) {
                    found.push(token.span.clone());
                }
            }
            _ => {}
        }
    }
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
        assert!(scan(&format!("a \"\"\"\n\\\"\"\"{}\n\"\"\"", "{".repeat(5000))).too_deep.is_some());
        assert!(scan(&format!("\"\n{}", deep(DEEPEST + 1))).too_deep.is_some());
        assert!(scan(&"/*".repeat(100)).too_deep.is_some());
    }

    #[test]
    fn secrets_are_found_in_broken_text() {
        for (text, want) in [
            ("password \"hunter2\"", vec!["\"hunter2\""]),
            ("postgresql \"url\" password=\"hunter2\" x=1 {", vec!["\"hunter2\""]),
            ("x access-token=hunter2", vec!["hunter2"]),
            ("password (env)\"PG\" (hash)\"h\"", vec!["\"h\""]),
            ("account \"token\" name=\"x\" { quota \"5\"", vec![]),
            ("cloudflare token=(env)\"X\"; secret \"a\" \"b", vec!["\"a\"", "\"b"]),
            ("password \"\"\"\nx\ny\n\"\"\"", vec!["\"\"\"\nx\ny\n\"\"\""]),
        ] {
            let found = scan(text).secret;
            assert_eq!(found.into_iter().map(|span| &text[span]).collect::<Vec<_>>(), want, "{text}");
        }
    }

    #[test]
    fn what_has_no_partner_is_named() {
        let broken: Vec<_> = scan("a {\n}}\nb \"x").broken;
        assert_eq!(broken.len(), 2);
        assert_eq!(scan("a { b {\n}").broken, vec![(2..3, "this `{` is never closed")]);
    }
}
