//! A file's text as it is shown: what is not known to be harmless is a `…`, and what a terminal would obey is escaped.

use super::printable;
use crate::locate::File;
use crate::read::secrecy;
use crate::read::token::{Kind, Token, Tokens};
use std::ops::Range;

/// What stands for what is not shown.
const HIDDEN: &str = "…";
/// The annotations of the language.
const ANNOTATIONS: [&str; 5] = ["env", "file", "age", "hash", "scram"];

/// A text to show, line by line that of the file, and which of its octets are which of the file's.
#[derive(Debug)]
pub struct Excerpt {
    /// The text.
    pub text: String,
    /// Where its lines begin.
    pub lines: Vec<usize>,
    /// How many lines of the file stand before it.
    pub before: usize,
    pieces: Vec<Piece>,
}

/// From here on up to the next piece.
#[derive(Debug)]
struct Piece {
    /// Where it begins in the file.
    file: usize,
    /// Where it begins in what is shown.
    shown: usize,
    /// It is shown as it is.
    same: bool,
}

impl Excerpt {
    /// The whole of a file, of which `plain` may be shown: sorted, none within another.
    pub fn of(file: &File, plain: &[Range<usize>]) -> Excerpt {
        if file.table {
            return Excerpt::of_table(file, plain);
        }
        let whole = 0..file.text.len();
        // All of it may be shown: it need not be KDL.
        if is_plain(plain, &whole) {
            let mut excerpt = Excerpt::empty(file.text.len());
            excerpt.keep(&file.text, 0);
            excerpt.lines();
            return excerpt;
        }
        Excerpt::part(file, plain, &whole)
    }

    /// Lines of a KDL file, the first of which begins with a token.
    pub fn part(file: &File, plain: &[Range<usize>], part: &Range<usize>) -> Excerpt {
        let mut excerpt = Excerpt::empty(part.len());
        excerpt.before = file.line_column(part.start).0 - 1;
        let mut annotation = false;
        for token in Tokens::from(&file.text, part.start).take_while(|token| token.span.start < part.end) {
            let written = &file.text[token.span.clone()];
            let kept = kept(&token, annotation, written) || is_plain(plain, &token.span);
            if kept {
                excerpt.keep(written, token.span.start);
            } else {
                excerpt.hide(&token, written);
            }
            annotation = token.kind == Kind::AnnotationOpen || (annotation && token.kind == Kind::Space);
        }
        excerpt.lines();
        excerpt
    }

    fn empty(room: usize) -> Excerpt {
        Excerpt { text: String::with_capacity(room), lines: vec![0], before: 0, pieces: Vec::new() }
    }

    /// A file of people: what may not be shown is a `…` a cell.
    fn of_table(file: &File, plain: &[Range<usize>]) -> Excerpt {
        let mut excerpt = Excerpt::empty(file.text.len());
        let mut at = 0;
        for span in plain.iter().chain(std::iter::once(&(file.text.len()..file.text.len()))) {
            let Some(between) = file.text.get(at..span.start) else { continue };
            for cell in between.split_inclusive([',', '\n', '\r']) {
                let inside = cell.trim_end_matches([',', '\n', '\r']);
                if inside.is_empty() {
                    excerpt.keep(cell, at);
                } else {
                    excerpt.piece(at, false);
                    excerpt.text.push_str(HIDDEN);
                    excerpt.keep(&cell[inside.len()..], at + inside.len());
                }
                at += cell.len();
            }
            excerpt.keep(file.text.get(span.clone()).unwrap_or_default(), span.start);
            at = span.end;
        }
        excerpt.lines();
        excerpt
    }

    fn lines(&mut self) {
        let ends = self.text.bytes().enumerate().filter(|(_, octet)| *octet == b'\n').map(|(at, _)| at + 1);
        self.lines.extend(ends);
    }

    /// Where a span of the file is shown.
    pub fn span(&self, of: &Range<usize>) -> Range<usize> {
        let first = self.pieces.partition_point(|piece| piece.file <= of.start).checked_sub(1);
        let start = first.map_or(0, |at| {
            let piece = &self.pieces[at];
            piece.shown + if piece.same { of.start - piece.file } else { 0 }
        });
        let last = self.pieces.partition_point(|piece| piece.file < of.end).checked_sub(1);
        let end = last.map_or(0, |at| {
            let piece = &self.pieces[at];
            let next = self.pieces.get(at + 1).map_or(self.text.len(), |next| next.shown);
            if piece.same { (piece.shown + of.end - piece.file).min(next) } else { next }
        });
        let start = self.text.floor_char_boundary(start);
        start..self.text.ceil_char_boundary(end.max(start + 1))
    }

    fn piece(&mut self, file: usize, same: bool) {
        if !same || self.pieces.last().is_none_or(|piece| !piece.same) {
            self.pieces.push(Piece { file, shown: self.text.len(), same });
        }
    }

    fn keep(&mut self, written: &str, from: usize) {
        for (at, c) in written.char_indices() {
            let end_of_line = written[at..].starts_with("\r\n");
            let odd = end_of_line || (c != '\n' && c != '\t' && super::is_unprintable(c));
            self.piece(from + at, !odd);
            match (end_of_line, odd) {
                (true, _) => {}
                (false, true) => self.text.push_str(&printable(&written[at..at + c.len_utf8()])),
                (false, false) => self.text.push(c),
            }
        }
    }

    /// One `…` a line. What a comment or `\` begins with stays.
    fn hide(&mut self, token: &Token, written: &str) {
        let opener = match token.kind {
            Kind::Continuation => 1,
            _ if written.starts_with("//") || written.starts_with("/*") => 2,
            _ => 0,
        };
        self.keep(&written[..opener], token.span.start);
        let mut at = token.span.start + opener;
        for line in written[opener..].split_inclusive('\n') {
            let inside = line.trim_end_matches(['\n', '\r']);
            if !inside.trim().is_empty() {
                self.piece(at, false);
                self.text.push_str(HIDDEN);
            } else {
                self.keep(inside, at);
            }
            self.keep(&line[inside.len()..], at + inside.len());
            at += line.len();
        }
    }
}

/// Whether a token says nothing by itself.
fn kept(token: &Token, annotation: bool, written: &str) -> bool {
    match token.kind {
        Kind::Word | Kind::Quoted => annotation && secrecy::is_near(written, ANNOTATIONS.into_iter(), 1),
        Kind::Unended | Kind::LineComment | Kind::BlockComment | Kind::Continuation => false,
        _ => true,
    }
}

/// Whether the walk has found it harmless.
fn is_plain(plain: &[Range<usize>], span: &Range<usize>) -> bool {
    let at = plain.partition_point(|plain| plain.start <= span.start);
    at.checked_sub(1).is_some_and(|at| plain[at].end >= span.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_hidden_and_spans_are_found_again() {
        let text = "a \"x\" (env)\"y\" (q)z // c\r\nb \"\"\"\n  s\n  \"\"\" \\ // k\n\u{202e}é q";
        let file = File::new("mail.kdl".into(), std::sync::Arc::new(crate::read::tree::parse(text)));
        let mut plain = vec![0..1, 2..5];
        let excerpt = Excerpt::of(&file, &plain);
        assert_eq!(excerpt.text, "a \"x\" (env)… (…)… //…\n… …\n…\n… \\…\n… …");
        assert_eq!(excerpt.lines.len(), file.lines());
        let shown = |span: Range<usize>| &excerpt.text[excerpt.span(&span)];
        assert_eq!(shown(2..5), "\"x\"");
        assert_eq!(shown(11..14), "…");
        assert_eq!(shown(12..13), "…");
        plain.push(text.find('\u{202e}').unwrap_or(0)..text.len());
        let end = Excerpt::of(&file, &plain).text;
        assert!(end.ends_with("\\u{202e}é q"), "{end}");
    }
}
