//! From a text's tokens to its tree: one pass, one token ahead, never deeper than [`DEEPEST`].

use super::{EMPTY, Fault, LONGEST, MOST_FAULTS, MOST_PARTS, NAMELESS, OWN, Scalar, Slice, Span, Tree, small};
use super::{RawEntry, RawNode, RawScalar};
use crate::read::scan::DEEPEST;
use crate::read::text::{self, Wrong};
use crate::read::token::{self, Kind};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Parses a file's text. Nesting below [`DEEPEST`] levels is not entered, and told by [`Tree::too_deep`].
pub fn parse(text: impl Into<Arc<str>>) -> Tree {
    let text: Arc<str> = text.into();
    let mut tree = Tree::empty(Arc::clone(&text));
    if text.len() >= LONGEST {
        let says = format!("longer than {LONGEST} octets");
        tree.faults.push(Fault { span: 0..0, says, help: None, old: false });
        return tree;
    }
    let (kind, before) = (None, 0..0);
    let mut parser = Parser { text: &text, tree: &mut tree, kind, start: 0, end: 0, before, last: 0, open: 0, told: 0 };
    parser.forbidden();
    parser.read();
    parser.nodes(0);
    tree.faults.sort_by_key(|fault| fault.span.start);
    tree.nodes.shrink_to_fit();
    tree.entries.shrink_to_fit();
    tree
}

/// The parser stands at a token, of `kind` from `start` to `end`.
struct Parser<'a> {
    text: &'a str,
    tree: &'a mut Tree,
    kind: Option<Kind>,
    start: usize,
    end: usize,
    /// The token before.
    before: Range<usize>,
    /// Where the last token ended that is no space.
    last: usize,
    /// How many braces are open.
    open: usize,
    told: usize,
}

/// A name or value cut out, before it is known which.
enum Part {
    Entry,
    /// Something was wrong, and has been told.
    Broken,
}

impl<'a> Parser<'a> {
    /// Takes the token that begins where the last one ended.
    #[inline]
    fn read(&mut self) {
        self.start = self.end;
        if self.tree.nodes.len() + self.tree.entries.len() >= MOST_PARTS {
            return self.full();
        }
        match token::cut(self.text, self.start) {
            Some((kind, end)) => (self.kind, self.end) = (Some(kind), end),
            None => self.kind = None,
        }
    }

    /// Goes on to the next token.
    #[inline]
    fn next(&mut self) {
        match self.kind {
            Some(Kind::Space) => {}
            Some(Kind::Open) => {
                self.last = self.end;
                self.open += 1;
                if self.open > DEEPEST {
                    self.too_deep();
                }
            }
            Some(Kind::Close) => {
                self.last = self.end;
                self.open = self.open.saturating_sub(1);
            }
            Some(Kind::BlockComment | Kind::Unended) => self.nested_comment(),
            Some(Kind::Newline | Kind::LineComment | Kind::Continuation | Kind::Semicolon) => {}
            _ => self.last = self.end,
        }
        self.before = self.start..self.end;
        self.read();
    }

    /// The rest is not read.
    #[cold]
    fn full(&mut self) {
        let end = self.text.len();
        self.tree.cut |= self.end < end;
        (self.kind, self.start, self.end) = (None, end, end);
    }

    fn too_deep(&mut self) {
        let start = self.start;
        self.tree.too_deep.get_or_insert(start..start + 1);
    }

    fn nested_comment(&mut self) {
        let inside = &self.text[self.start..self.end];
        if inside.starts_with("/*") && inside.matches("/*").count() > DEEPEST {
            self.too_deep();
        }
    }

    fn span(&self) -> Range<usize> {
        if self.kind.is_some() { self.start..self.end } else { self.text.len()..self.text.len() }
    }

    fn written(&self) -> &'a str {
        &self.text[self.span()]
    }

    fn fault(&mut self, span: Range<usize>, says: &str, help: Option<&str>) {
        let says = says.to_owned();
        self.wrong(span, Wrong { says, help: help.map(str::to_owned), old: false });
    }

    fn wrong(&mut self, span: Range<usize>, wrong: Wrong) {
        self.told += 1;
        if self.tree.faults.len() < MOST_FAULTS {
            self.tree.faults.push(Fault { span, says: wrong.says, help: wrong.help, old: wrong.old });
        }
    }

    /// Where a text of the file lies.
    fn slice(&mut self, text: Cow<'a, str>) -> Slice {
        match text {
            Cow::Borrowed(text) => {
                // Part of the file, so it begins behind the file's begin.
                let start = text.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
                Slice { start: small(start), length: small(text.len()) }
            }
            Cow::Owned(text) => {
                // What is resolved is never longer than what is written.
                let start = small(self.tree.own.len()) | OWN;
                self.tree.own.push_str(&text);
                Slice { start, length: small(text.len()) }
            }
        }
    }

    /// Characters that may stand nowhere (KDL 2.0 §3.19): they hide what a text says from who reviews it.
    fn forbidden(&mut self) {
        let hidden = |c: char| {
            matches!(c, '\u{0}'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{200e}' | '\u{200f}')
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        };
        let mut at = 0;
        let mut told = 0;
        while let Some(more) = self.text.as_bytes()[at..].iter().position(|octet| SUSPECT[usize::from(*octet)]) {
            at += more;
            let Some(c) = self.text.get(at..).and_then(|rest| rest.chars().next()) else { return };
            // A byte order mark may stand first, and nowhere else.
            if hidden(c) && (at > 0 || c != '\u{feff}') {
                let says = format!("the character U+{:04X} must not stand in a KDL file", c as u32);
                self.fault(at..at + c.len_utf8(), &says, Some("in a string, write it as `\\u{…}`"));
                told += 1;
                if told == MOST_FAULTS {
                    return;
                }
            }
            at += c.len_utf8();
        }
    }

    /// Skips what separates the parts of a node; whether there was any.
    fn space(&mut self) -> bool {
        let from = self.start;
        while matches!(self.kind, Some(Kind::Space | Kind::BlockComment | Kind::Continuation)) {
            self.next();
        }
        self.start > from
    }

    /// Skips what separates nodes, and what may stand after a `/-`.
    fn lines(&mut self) {
        while matches!(
            self.kind,
            Some(Kind::Space | Kind::Newline | Kind::LineComment | Kind::BlockComment | Kind::Continuation)
        ) {
            self.next();
        }
    }

    fn nodes(&mut self, depth: usize) {
        loop {
            self.lines();
            match self.kind {
                None => return,
                Some(Kind::Close) if depth > 0 => return,
                Some(Kind::Semicolon) => {
                    self.fault(self.span(), "this `;` ends no node", Some("take it out"));
                    self.next();
                }
                Some(Kind::SlashDash) => {
                    self.next();
                    self.lines();
                    let mark = self.mark();
                    self.node(depth);
                    self.forget(mark);
                }
                Some(_) => self.node(depth),
            }
        }
    }

    fn mark(&self) -> (usize, usize) {
        (self.tree.nodes.len(), self.tree.entries.len())
    }

    /// What was commented out is in no tree.
    fn forget(&mut self, (nodes, entries): (usize, usize)) {
        self.tree.nodes.truncate(nodes);
        self.tree.entries.truncate(entries);
    }

    /// One node with its terminator; nothing where it has no name.
    fn node(&mut self, depth: usize) {
        let told = self.told;
        let annotation = self.annotation();
        self.space();
        let span = self.span();
        let named = match self.kind {
            Some(Kind::Word) => text::name(self.written()).map(Cow::Borrowed),
            Some(Kind::Quoted) => text::quoted(self.written()),
            _ => {
                let help = "a node begins with its name, as in `domain \"example.org\"`";
                self.fault(span, "here must stand a node's name", Some(help));
                return self.recover(depth);
            }
        };
        self.next();
        let name = match named {
            Ok(name) => self.slice(name),
            Err(wrong) => {
                self.wrong(span.clone(), wrong);
                EMPTY
            }
        };
        let at = self.tree.nodes.len();
        let entry = small(self.tree.entries.len());
        let span = Span::of(&span);
        self.tree.nodes.push(RawNode { name, span, until: 0, annotation, entry, entries: 0, next: 0, broken: false });
        if !self.parts(at, depth) {
            self.recover(depth);
        }
        let (until, next, broken) = (small(self.last), small(self.tree.nodes.len()), self.told > told);
        if let Some(node) = self.tree.nodes.get_mut(at) {
            (node.until, node.next, node.broken) = (until.max(node.span.end), next, broken);
        }
    }

    /// Entries and children up to the node's end; false where the rest of the line makes no sense.
    fn parts(&mut self, node: usize, depth: usize) -> bool {
        // Once a block has been, written or commented out, only blocks may follow.
        let (mut closed, mut blocks) = (false, false);
        loop {
            let apart = self.space();
            let dashed = self.kind == Some(Kind::SlashDash);
            if dashed {
                self.next();
                self.lines();
            }
            match self.kind {
                None | Some(Kind::Close | Kind::Newline | Kind::LineComment | Kind::Semicolon) => {
                    if dashed {
                        self.fault(self.span(), "nothing follows the `/-`", None);
                    }
                    if self.kind == Some(Kind::Semicolon) {
                        self.next();
                    }
                    return true;
                }
                Some(Kind::Open) => {
                    let span = self.span();
                    if closed && !dashed {
                        self.fault(span, "a node has one block of children", None);
                        return false;
                    }
                    let mark = self.mark();
                    self.children(depth);
                    blocks = true;
                    if dashed {
                        self.forget(mark);
                    } else {
                        closed = true;
                    }
                }
                Some(_) if blocks => {
                    let help = "begin the next node on its own line, or put a `;` before it";
                    self.fault(self.span(), "after its children a node ends", Some(help));
                    return false;
                }
                Some(_) => {
                    if !apart {
                        return self.stuck();
                    }
                    let mark = self.mark();
                    match self.entry() {
                        Part::Broken => return false,
                        Part::Entry if dashed => self.forget(mark),
                        Part::Entry => {
                            if let Some(node) = self.tree.nodes.get_mut(node) {
                                node.entries += 1;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Two things without a space between.
    fn stuck(&mut self) -> bool {
        let span = self.span();
        let raw = self.text.get(self.before.clone()) == Some("r");
        if raw && self.kind == Some(Kind::Quoted) {
            let help = Some("write `#\"…\"#`".to_owned());
            self.wrong(span, Wrong { says: "`r\"…\"` is KDL 1".to_owned(), help, old: true });
        } else {
            let says = match self.kind {
                Some(Kind::Equals) => "a `=` stands between a property's name and its value",
                Some(Kind::Stray | Kind::AnnotationClose) => "this can stand nowhere here",
                Some(Kind::Unended) => "this is not closed",
                _ => "a space must stand between two values",
            };
            self.fault(span, says, Some("text with other than letters, digits and hyphens must be in quotes"));
        }
        false
    }

    fn children(&mut self, depth: usize) {
        let open = self.span();
        self.next();
        if depth >= DEEPEST {
            self.fault(open, "nested too deeply", None);
            return self.skip_block();
        }
        self.nodes(depth + 1);
        match self.kind {
            Some(Kind::Close) => self.next(),
            _ => self.fault(open, "this `{` is never closed", None),
        }
    }

    /// Skips to behind the `}` that belongs to a `{` just passed.
    fn skip_block(&mut self) {
        let mut open = 1_usize;
        while let (Some(kind), true) = (self.kind, open > 0) {
            match kind {
                Kind::Open => open += 1,
                Kind::Close => open -= 1,
                _ => {}
            }
            self.next();
        }
    }

    /// After a fault: on to the end of the line, over whole blocks.
    fn recover(&mut self, depth: usize) {
        loop {
            match self.kind {
                None => return,
                Some(Kind::Newline | Kind::Semicolon) => return,
                Some(Kind::Close) if depth > 0 => return,
                Some(Kind::Open) => {
                    self.next();
                    self.skip_block();
                }
                Some(_) => self.next(),
            }
        }
    }

    /// `(type)`, where one stands here: its number in [`Tree::annotations`], or 0.
    fn annotation(&mut self) -> u32 {
        if self.kind != Some(Kind::AnnotationOpen) {
            return 0;
        }
        let open = self.span();
        self.next();
        self.space();
        let span = self.span();
        let found = match self.kind {
            Some(Kind::Word) => text::name(self.written()).map(Cow::Borrowed),
            Some(Kind::Quoted) => text::quoted(self.written()),
            _ => {
                self.fault(open, "between `(` and `)` stands one word, as in `(env)`", None);
                return 0;
            }
        };
        self.next();
        self.space();
        if self.kind == Some(Kind::AnnotationClose) {
            self.next();
        } else {
            self.fault(open, "this `(` is never closed", None);
        }
        match found {
            Ok(found) => {
                let slice = self.slice(found);
                self.tree.annotations.push(slice);
                small(self.tree.annotations.len())
            }
            Err(wrong) => {
                self.wrong(span, wrong);
                0
            }
        }
    }

    /// Whether the word or string that stands here is a property's name.
    fn is_name(&mut self) -> bool {
        let rest = self.text.as_bytes().get(self.end..).unwrap_or_default();
        match rest.iter().find(|octet| !matches!(octet, b' ' | b'\t')) {
            Some(b'=') => return true,
            Some(b'/' | b'\\' | 0x80..) => {}
            _ => return false,
        }
        let back = (self.kind, self.start, self.end, self.before.clone(), self.last);
        self.next();
        self.space();
        let found = self.kind == Some(Kind::Equals);
        (self.kind, self.start, self.end, self.before, self.last) = back;
        found
    }

    fn entry(&mut self) -> Part {
        if self.kind == Some(Kind::AnnotationOpen) {
            return self.value(NAMELESS, Span { start: 0, end: 0 });
        }
        if !matches!(self.kind, Some(Kind::Word | Kind::Quoted)) {
            self.stuck();
            return Part::Broken;
        }
        if !self.is_name() {
            return self.value(NAMELESS, Span { start: 0, end: 0 });
        }
        let start = self.span();
        let name = match self.kind {
            Some(Kind::Quoted) => text::quoted(self.written()),
            _ => text::name(self.written()).map(Cow::Borrowed),
        };
        self.next();
        self.space();
        // The `=`.
        self.next();
        self.space();
        match name {
            Ok(name) => {
                let name = self.slice(name);
                self.value(name, Span::of(&start))
            }
            Err(wrong) => {
                self.value(NAMELESS, Span { start: 0, end: 0 });
                self.wrong(start, wrong);
                Part::Broken
            }
        }
    }

    fn value(&mut self, name: Slice, name_span: Span) -> Part {
        let start = self.span().start;
        let annotated = self.kind == Some(Kind::AnnotationOpen);
        let told = self.told;
        let annotation = self.annotation();
        if annotated {
            self.space();
        }
        if self.told > told {
            return Part::Broken;
        }
        let span = self.span();
        let scalar = match self.kind {
            Some(Kind::Word) => text::value(self.written()),
            Some(Kind::Quoted) => match text::quoted(self.written()) {
                Ok(Cow::Borrowed(text)) => Ok(Scalar::Text(text)),
                Ok(Cow::Owned(text)) => {
                    self.next();
                    let scalar = RawScalar::Text(self.slice(Cow::Owned(text)));
                    let span = Span::of(&(start..span.end));
                    self.tree.entries.push(RawEntry { name, name_span, span, annotation, scalar });
                    return Part::Entry;
                }
                Err(wrong) => Err(wrong),
            },
            _ => {
                self.fault(span, "here must stand a value", None);
                return Part::Broken;
            }
        };
        self.next();
        let scalar = match scalar {
            Ok(Scalar::Text(text)) => RawScalar::Text(self.slice(Cow::Borrowed(text))),
            Ok(Scalar::Whole(number)) => self.number(Scalar::Whole(number)),
            Ok(Scalar::Float(number)) => self.number(Scalar::Float(number)),
            Ok(Scalar::Truth(truth)) => RawScalar::Truth(truth),
            Ok(Scalar::Null) => RawScalar::Null,
            Err(wrong) => {
                self.wrong(span, wrong);
                return Part::Broken;
            }
        };
        let span = Span::of(&(start..span.end));
        self.tree.entries.push(RawEntry { name, name_span, span, annotation, scalar });
        Part::Entry
    }

    fn number(&mut self, number: Scalar<'static>) -> RawScalar {
        self.tree.numbers.push(number);
        RawScalar::Number(small(self.tree.numbers.len() - 1))
    }
}

/// Octets that characters begin with that may stand nowhere.
const SUSPECT: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 0x20 {
        table[at] = !matches!(at, 0x9..=0xd);
        at += 1;
    }
    table[0x7f] = true;
    table[0xe2] = true;
    table[0xef] = true;
    table
};
