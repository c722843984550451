//! The canonical layout of a KDL file: four spaces a level, one node a line, one space between values, at most one
//! blank line; comments, the order of things, and blocks written on one line stay.
//!
//! Works on tokens, so nothing is lost that a tree would not hold; and the result is read again before it is believed.
//! Linear in the text: nothing looks further ahead than a line, or back.

use crate::read::scan;
use crate::read::token::{Kind, Token, Tokens};
use crate::read::tree::{self, Node, Nodes};

/// Longer blocks than this, in octets, do not stay on one line.
const LONGEST_INLINE: usize = 100;

/// Why a file is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlaid {
    /// It is no KDL, which `waybill check` tells with its places.
    #[error("not laid out, since it is not right KDL; `waybill check` says where")]
    NotKdl,
    /// A mistake of ours, noticed in time.
    #[error(
        "left as it is: its canonical layout would say something else. This is a mistake in waybill; please report it"
    )]
    Changed,
}

/// Lays a file out.
///
/// # Errors
/// [`Unlaid`], where it is not KDL, or would say something else afterwards.
pub fn format(text: &str) -> Result<String, Unlaid> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let scanned = scan::scan(text);
    if scanned.too_deep.is_some() || !scanned.broken.is_empty() {
        return Err(Unlaid::NotKdl);
    }
    let before = tree::parse(text);
    if !before.faults().is_empty() {
        return Err(Unlaid::NotKdl);
    }
    let laid = Layout::of(text).run();
    let after = tree::parse(laid.as_str());
    let same = after.faults().is_empty() && same(before.nodes(0), after.nodes(0)) && comments(text) == comments(&laid);
    if same { Ok(laid) } else { Err(Unlaid::Changed) }
}

fn comments(text: &str) -> Vec<&str> {
    let comment = |token: &Token| {
        matches!(token.kind, Kind::LineComment | Kind::BlockComment | Kind::SlashDash | Kind::Continuation)
    };
    // The space between a `\` and its comment is none of it.
    let inside = |token: Token| text[token.span].trim_start_matches('\\').trim();
    Tokens::new(text).filter(comment).map(inside).collect()
}

fn same(mut a: Nodes<'_>, mut b: Nodes<'_>) -> bool {
    let value = |v: tree::Value<'_>| format!("{:?} {:?}", v.annotation(), v.scalar());
    let property = |p: tree::Property<'_>| format!("{:?} {}", p.name(), value(p.value()));
    let node = |a: Node<'_>, b: Node<'_>| {
        a.name() == b.name()
            && a.annotation() == b.annotation()
            && a.arguments().map(value).eq(b.arguments().map(value))
            && a.properties().map(property).eq(b.properties().map(property))
            && same(a.children(), b.children())
    };
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if node(a, b) => {}
            _ => return false,
        }
    }
}

struct Layout<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    out: String,
    /// For each open block, whether it stays on one line.
    open: Vec<bool>,
    /// Line ends since the last thing written.
    newlines: usize,
    /// A node ended by `;`; what follows goes on its own line, unless it is a comment.
    ended: bool,
    /// Nothing separates what comes from what was.
    glued: bool,
    /// The last line ends in `\`.
    continued: bool,
    /// The last token that is neither space nor line end.
    last: Option<Kind>,
    /// A node of the innermost block awaits its `;`.
    unended: bool,
}

impl<'a> Layout<'a> {
    fn of(text: &'a str) -> Layout<'a> {
        Layout {
            text,
            tokens: Tokens::new(text).collect(),
            out: String::with_capacity(text.len()),
            open: Vec::new(),
            newlines: 0,
            ended: false,
            glued: true,
            continued: false,
            last: None,
            unended: false,
        }
    }

    fn run(mut self) -> String {
        for at in 0..self.tokens.len() {
            let token = self.tokens[at].clone();
            let written = &self.text[token.span.clone()];
            match token.kind {
                Kind::Space => self.glued = self.glued && self.follows_glue(),
                Kind::Newline => self.newlines += usize::from(self.last != Some(Kind::SlashDash)),
                // A `;` of no node is left out.
                Kind::Semicolon => {
                    self.ended |= self.unended;
                    self.unended = false;
                }
                Kind::Open => {
                    let inline = self.inline(at);
                    self.put("{");
                    self.open.push(inline);
                    (self.glued, self.unended) = (false, false);
                }
                Kind::Close => self.close(),
                Kind::LineComment => self.comment(written.trim_end()),
                Kind::Continuation => self.continuation(written),
                Kind::BlockComment => {
                    let unended = self.unended;
                    self.put(written);
                    (self.glued, self.unended) = (false, unended);
                }
                Kind::Equals | Kind::AnnotationClose => {
                    self.out.push_str(written);
                    self.glued = true;
                }
                Kind::AnnotationOpen | Kind::SlashDash => {
                    self.put(written);
                    self.glued = true;
                }
                _ => {
                    self.put(written);
                    self.glued = self.inside_annotation(at);
                }
            }
            if !matches!(token.kind, Kind::Space | Kind::Newline) {
                self.last = Some(token.kind);
            }
        }
        let end = self.out.trim_end().len();
        self.out.truncate(end);
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out
    }

    /// A space after `=`, `(`, `)` or `/-` is no separation.
    fn follows_glue(&self) -> bool {
        matches!(
            self.last,
            None | Some(
                Kind::Equals | Kind::AnnotationOpen | Kind::AnnotationClose | Kind::SlashDash | Kind::Continuation
            )
        )
    }

    fn inside_annotation(&self, at: usize) -> bool {
        let next = self.tokens[at + 1..].iter().map(|token| token.kind).find(|kind| *kind != Kind::Space);
        matches!(next, Some(Kind::AnnotationClose | Kind::Equals))
    }

    /// Whether the block that opens here was written on one line, and is short.
    fn inline(&self, at: usize) -> bool {
        let mut depth = 0_usize;
        let start = self.tokens[at].span.start;
        for token in &self.tokens[at..] {
            if token.span.end - start > LONGEST_INLINE {
                return false;
            }
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close if depth == 1 => return true,
                Kind::Close => depth -= 1,
                Kind::Newline | Kind::LineComment | Kind::Continuation => return false,
                Kind::Quoted if self.text[token.span.clone()].contains('\n') => return false,
                _ => {}
            }
        }
        false
    }

    /// Whether nodes share their line here.
    fn on_one_line(&self) -> bool {
        self.open.last() == Some(&true)
    }

    fn indent(&mut self, more: usize) {
        let levels = self.open.len() + more;
        self.out.push_str(&"    ".repeat(levels));
    }

    /// Ends the line where one ends, and separates from what was.
    fn separate(&mut self) {
        if self.continued && (self.newlines > 0 || self.ended) {
            self.unindent();
        }
        let fresh = self.out.is_empty() || self.out.ends_with('\n');
        let opened = self.out.ends_with('{');
        if self.on_one_line() {
            if self.ended && !opened {
                self.out.push(';');
            }
            self.out.push(' ');
        } else if !self.out.is_empty() && (self.newlines > 0 || self.ended || opened) {
            // After a `\`, an empty line is what ends the node.
            self.out.push_str(if fresh && !self.continued { "" } else { "\n" });
            if self.newlines > 1 && !opened {
                self.out.push('\n');
            }
            self.indent(0);
        } else if !fresh && !self.glued {
            self.out.push(' ');
        }
        (self.newlines, self.ended, self.continued) = (0, false, false);
    }

    fn put(&mut self, written: &str) {
        let glue = self.glued && self.newlines == 0 && !self.ended && !self.out.is_empty();
        if !glue {
            self.separate();
        }
        self.continued = false;
        self.out.push_str(written);
        (self.glued, self.unended) = (false, true);
    }

    /// `\`, with the comments that stand behind it.
    fn continuation(&mut self, written: &str) {
        self.put("\\");
        let comments = written[1..].trim();
        if !comments.is_empty() {
            self.out.push(' ');
            self.out.push_str(comments);
        }
        self.out.push('\n');
        self.indent(1);
        (self.glued, self.continued) = (true, true);
    }

    fn comment(&mut self, written: &str) {
        // A comment stays on the line that it was written on.
        if self.newlines == 0 && !self.out.is_empty() && !self.on_one_line() {
            self.out.push_str(if self.continued { "" } else { " " });
            self.out.push_str(written);
        } else {
            self.separate();
            self.out.push_str(written);
        }
        (self.ended, self.glued, self.continued) = (false, false, false);
        self.newlines = 0;
    }

    fn close(&mut self) {
        let inline = self.open.pop().unwrap_or(false);
        if self.out.ends_with('{') {
            self.out.push('}');
        } else if inline {
            self.out.push_str(if self.ended || self.unended { "; }" } else { " }" });
        } else {
            if self.continued {
                self.unindent();
            }
            self.out.push('\n');
            self.indent(0);
            self.out.push('}');
        }
        (self.newlines, self.ended, self.glued, self.continued, self.unended) = (0, false, false, false, true);
    }

    /// Takes back the indentation behind a `\`.
    fn unindent(&mut self) {
        let end = self.out.trim_end_matches(' ').len();
        self.out.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_canonical_and_comments_stay() {
        for (text, want) in [
            ("", ""),
            ("a   1  2;b  k = 3 ;c", "a 1 2\nb k=3\nc\n"),
            (
                "\n\n// top\n\n\n\na {\n\n b\t( file ) \"x\" // why\n\n\n  c /* d */ e\n\n}\n\n\n",
                "// top\n\na {\n    b (file)\"x\" // why\n\n    c /* d */ e\n}\n",
            ),
            ("a { b 1; c }", "a { b 1; c; }\n"),
            ("a {b;}", "a { b; }\n"),
            ("a { }", "a {}\n"),
            ("a { b; // c\n d }", "a {\n    b // c\n    d\n}\n"),
            ("a \\\n   1 \\\n 2\nb", "a \\\n    1 \\\n    2\nb\n"),
            ("/-  a { b }\nc /- 1 2", "/-a { b; }\nc /-1 2\n"),
            ("a \"\"\"\n  x\n  \"\"\"\nb", "a \"\"\"\n  x\n  \"\"\"\nb\n"),
            ("a\r\nb\r\n", "a\nb\n"),
            ("\u{feff}a", "a\n"),
            ("a { /* x */ }", "a { /* x */ }\n"),
            ("a { b; /* x */ }", "a { b; /* x */ }\n"),
            ("a { b; /- c }", "a { b; /-c; }\n"),
            ("a \\\n\n\nb", "a \\\n\n\nb\n"),
            ("a \\  // why\n  1", "a \\ // why\n    1\n"),
            ("a { b \\\n\n }", "a {\n    b \\\n\n}\n"),
        ] {
            let laid = format(text);
            assert_eq!(laid.as_deref(), Ok(want), "{text}");
            assert_eq!(format(want).as_deref(), Ok(want), "twice: {text}");
        }
        // A `;` ends a node (KDL 2.0, `node-terminator`), and these end none.
        for text in ["a {", ";", "a;;b", "a { b; /* x */; }", "a\n;"] {
            assert_eq!(format(text), Err(Unlaid::NotKdl), "{text}");
            assert!(kdl::KdlDocument::parse_v2(text).is_err(), "{text}");
        }
    }

    /// Quadratic, each of them would take minutes.
    #[test]
    fn long_texts_are_read_and_laid_out_in_one_pass() {
        const MANY: usize = 1_000_000;
        for piece in ["\n", "\r", " \n", "a { \n}\n", "/* x */", "a \\\n\n", "/- a\n", "{", "{}"] {
            let laid = format(&piece.repeat(MANY));
            assert!(laid.is_ok() || piece.starts_with('{'), "{piece:?} {laid:?}");
        }
        for piece in ["#\"", "##\"", "\\ ", "\"", "(", "/*", "\"\"\"", "a=", "/-", "\\\"", "#", "}"] {
            let text = piece.repeat(MANY);
            tree::parse(text.as_str());
            let open = scan::scan(&text);
            assert!(open.broken.len() <= MANY);
        }
    }
}
