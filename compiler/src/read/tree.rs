//! A KDL file as nodes with spans. Our own parser over [`super::token`], since `kdl` takes seconds for a megabyte
//! and does not say where a property's value begins; tests hold it against `kdl`.
//!
//! A fault does not end the parse: it goes on with the next node, so that all faults of a file are told at once.

use super::scan::DEEPEST;
use super::text::{self, Wrong};
use super::token::{Kind, Token, Tokens};
use std::ops::Range;

/// How many faults of one file are told.
pub const MOST_FAULTS: usize = 20;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where the name is.
    pub span: Range<usize>,
    /// Which file, as [`crate::locate::Located::files`] counts.
    pub file: usize,
    /// Its type annotation.
    pub annotation: Option<String>,
    /// Its arguments, in order.
    pub arguments: Vec<Value>,
    /// Its properties, in order, also those written twice.
    pub properties: Vec<Property>,
    /// Its children, in order.
    pub children: Vec<Node>,
    /// A fault lies within it; its parts may be missing.
    pub broken: bool,
}

/// A property.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Where the name is.
    pub span: Range<usize>,
    /// Its value.
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Its type annotation.
    pub annotation: Option<String>,
    /// What it is.
    pub scalar: Scalar,
    /// Where it is, its annotation included.
    pub span: Range<usize>,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// A whole number.
    Whole(i128),
    /// Another number.
    Float(f64),
    /// `#true` or `#false`.
    Truth(bool),
    /// `#null`.
    Null,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Where.
    pub span: Range<usize>,
    /// What, one sentence.
    pub says: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Written as KDL 1 had it.
    pub old: bool,
}

/// Parses a file's text: its nodes, and its faults in order, at most [`MOST_FAULTS`].
/// Nesting below [`DEEPEST`] levels is not entered; [`super::scan::scan`] tells it.
pub fn parse(text: &str, file: usize) -> (Vec<Node>, Vec<Fault>) {
    let tokens: Vec<Token> = Tokens::new(text).collect();
    let mut parser = Parser { text, file, tokens, at: 0, faults: Vec::new(), told: 0 };
    parser.forbidden();
    let nodes = parser.nodes(0);
    let mut faults = parser.faults;
    faults.sort_by_key(|fault| fault.span.start);
    (nodes, faults)
}

struct Parser<'a> {
    text: &'a str,
    file: usize,
    tokens: Vec<Token>,
    at: usize,
    faults: Vec<Fault>,
    told: usize,
}

/// A name or value cut out, before it is known which.
enum Part {
    Entry(Option<(String, Range<usize>)>, Value),
    /// Something was wrong, and has been told.
    Broken,
}

impl Parser<'_> {
    fn kind(&self) -> Option<Kind> {
        self.tokens.get(self.at).map(|token| token.kind)
    }

    fn span(&self) -> Range<usize> {
        let end = self.text.len();
        self.tokens.get(self.at).map_or(end..end, |token| token.span.clone())
    }

    fn fault(&mut self, span: Range<usize>, says: &str, help: Option<&str>) {
        let says = says.to_owned();
        self.wrong(span, Wrong { says, help: help.map(str::to_owned), old: false });
    }

    fn wrong(&mut self, span: Range<usize>, wrong: Wrong) {
        self.told += 1;
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(Fault { span, says: wrong.says, help: wrong.help, old: wrong.old });
        }
    }

    /// Characters that may stand nowhere (KDL 2.0 §3.19): they hide what a text says from who reviews it.
    fn forbidden(&mut self) {
        let hidden = |c: char| {
            matches!(c, '\u{0}'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{200e}' | '\u{200f}')
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        };
        // A byte order mark may stand first, and nowhere else.
        let wrong = |(at, c): &(usize, char)| hidden(*c) && (*at > 0 || *c != '\u{feff}');
        let found: Vec<_> = self.text.char_indices().filter(wrong).take(MOST_FAULTS).collect();
        for (at, c) in found {
            let says = format!("the character U+{:04X} must not stand in a KDL file", c as u32);
            let help = "in a string, write it as `\\u{…}`";
            self.fault(at..at + c.len_utf8(), &says, Some(help));
        }
    }

    /// Skips what separates the parts of a node; whether there was any.
    fn space(&mut self) -> bool {
        let from = self.at;
        while matches!(self.kind(), Some(Kind::Space | Kind::BlockComment | Kind::Continuation)) {
            self.at += 1;
        }
        self.at > from
    }

    /// Skips what separates nodes, and what may stand after a `/-`.
    fn lines(&mut self) {
        while self.space() || matches!(self.kind(), Some(Kind::Newline | Kind::LineComment)) {
            if matches!(self.kind(), Some(Kind::Newline | Kind::LineComment)) {
                self.at += 1;
            }
        }
    }

    fn nodes(&mut self, depth: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        loop {
            self.lines();
            match self.kind() {
                None => return nodes,
                Some(Kind::Close) if depth > 0 => return nodes,
                Some(Kind::Semicolon) => self.at += 1,
                Some(Kind::SlashDash) => {
                    self.at += 1;
                    self.lines();
                    self.node(depth);
                }
                Some(_) => nodes.extend(self.node(depth)),
            }
        }
    }

    /// One node with its terminator; `None` where it has no name.
    fn node(&mut self, depth: usize) -> Option<Node> {
        let told = self.told;
        let annotation = self.annotation();
        self.space();
        let span = self.span();
        let named = match self.kind() {
            Some(Kind::Word) => text::name(&self.text[span.clone()]),
            Some(Kind::Quoted) => text::quoted(&self.text[span.clone()]),
            _ => {
                let help = "a node begins with its name, as in `domain \"example.org\"`";
                self.fault(span, "here must stand a node's name", Some(help));
                self.recover(depth);
                return None;
            }
        };
        self.at += 1;
        let name = named.unwrap_or_else(|wrong| {
            self.wrong(span.clone(), wrong);
            String::new()
        });
        let mut node = Node {
            name,
            span,
            file: self.file,
            annotation,
            arguments: Vec::new(),
            properties: Vec::new(),
            children: Vec::new(),
            broken: false,
        };
        if !self.parts(&mut node, depth) {
            self.recover(depth);
        }
        node.broken = self.told > told;
        Some(node)
    }

    /// Entries and children up to the node's end; false where the rest of the line makes no sense.
    fn parts(&mut self, node: &mut Node, depth: usize) -> bool {
        // Once a block has been, written or commented out, only blocks may follow.
        let (mut closed, mut blocks) = (false, false);
        loop {
            let apart = self.space();
            let dashed = self.kind() == Some(Kind::SlashDash);
            if dashed {
                self.at += 1;
                self.lines();
            }
            match self.kind() {
                None | Some(Kind::Close | Kind::Newline | Kind::LineComment | Kind::Semicolon) => {
                    if dashed {
                        self.fault(self.span(), "nothing follows the `/-`", None);
                    }
                    if self.kind() == Some(Kind::Semicolon) {
                        self.at += 1;
                    }
                    return true;
                }
                Some(Kind::Open) => {
                    let span = self.span();
                    if closed && !dashed {
                        self.fault(span, "a node has one block of children", None);
                        return false;
                    }
                    let children = self.children(depth);
                    blocks = true;
                    if !dashed {
                        node.children = children;
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
                    match self.entry() {
                        Part::Broken => return false,
                        _ if dashed => {}
                        Part::Entry(Some((name, span)), value) => {
                            node.properties.push(Property { name, span, value });
                        }
                        Part::Entry(None, value) => node.arguments.push(value),
                    }
                }
            }
        }
    }

    /// Two things without a space between.
    fn stuck(&mut self) -> bool {
        let span = self.span();
        let before = self.tokens.get(self.at.wrapping_sub(1)).map(|token| &self.text[token.span.clone()]);
        if before == Some("r") && self.kind() == Some(Kind::Quoted) {
            let help = Some("write `#\"…\"#`".to_owned());
            self.wrong(span, Wrong { says: "`r\"…\"` is KDL 1".to_owned(), help, old: true });
        } else {
            let says = match self.kind() {
                Some(Kind::Equals) => "a `=` stands between a property's name and its value",
                Some(Kind::Stray | Kind::AnnotationClose) => "this can stand nowhere here",
                Some(Kind::Unended) => "this is not closed",
                _ => "a space must stand between two values",
            };
            self.fault(span, says, Some("text with other than letters, digits and hyphens must be in quotes"));
        }
        false
    }

    fn children(&mut self, depth: usize) -> Vec<Node> {
        let open = self.span();
        self.at += 1;
        if depth >= DEEPEST {
            self.fault(open, "nested too deeply", None);
            self.skip_block();
            return Vec::new();
        }
        let nodes = self.nodes(depth + 1);
        match self.kind() {
            Some(Kind::Close) => self.at += 1,
            _ => self.fault(open, "this `{` is never closed", None),
        }
        nodes
    }

    /// Skips to behind the `}` that belongs to a `{` just passed.
    fn skip_block(&mut self) {
        let mut open = 1_usize;
        while let (Some(kind), true) = (self.kind(), open > 0) {
            match kind {
                Kind::Open => open += 1,
                Kind::Close => open -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// After a fault: on to the end of the line, over whole blocks.
    fn recover(&mut self, depth: usize) {
        loop {
            match self.kind() {
                None => return,
                Some(Kind::Newline | Kind::Semicolon) => return,
                Some(Kind::Close) if depth > 0 => return,
                Some(Kind::Open) => {
                    self.at += 1;
                    self.skip_block();
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// `(type)`, where one stands here.
    fn annotation(&mut self) -> Option<String> {
        if self.kind() != Some(Kind::AnnotationOpen) {
            return None;
        }
        let open = self.span();
        self.at += 1;
        self.space();
        let span = self.span();
        let found = match self.kind() {
            Some(Kind::Word) => text::name(&self.text[span.clone()]),
            Some(Kind::Quoted) => text::quoted(&self.text[span.clone()]),
            _ => {
                self.fault(open, "between `(` and `)` stands one word, as in `(env)`", None);
                return None;
            }
        };
        self.at += 1;
        self.space();
        if self.kind() == Some(Kind::AnnotationClose) {
            self.at += 1;
        } else {
            self.fault(open, "this `(` is never closed", None);
        }
        match found {
            Ok(found) => Some(found),
            Err(wrong) => {
                self.wrong(span, wrong);
                None
            }
        }
    }

    fn entry(&mut self) -> Part {
        let start = self.span();
        if self.kind() == Some(Kind::AnnotationOpen) {
            return self.value().map_or(Part::Broken, |value| Part::Entry(None, value));
        }
        if !matches!(self.kind(), Some(Kind::Word | Kind::Quoted)) {
            self.stuck();
            return Part::Broken;
        }
        let back = self.at;
        self.at += 1;
        self.space();
        if self.kind() != Some(Kind::Equals) {
            self.at = back;
            return self.value().map_or(Part::Broken, |value| Part::Entry(None, value));
        }
        self.at += 1;
        self.space();
        let written = &self.text[start.clone()];
        let quoted = written.starts_with(['"', '#']) && written.ends_with(['"', '#']) && written.contains('"');
        let name = if quoted { text::quoted(written) } else { text::name(written) };
        let value = self.value();
        match (name, value) {
            (Ok(name), Some(value)) => Part::Entry(Some((name, start)), value),
            (Err(wrong), _) => {
                self.wrong(start, wrong);
                Part::Broken
            }
            (Ok(_), None) => Part::Broken,
        }
    }

    fn value(&mut self) -> Option<Value> {
        let start = self.span().start;
        let annotated = self.kind() == Some(Kind::AnnotationOpen);
        let told = self.told;
        let annotation = self.annotation();
        if annotated {
            self.space();
        }
        if self.told > told {
            return None;
        }
        let span = self.span();
        let scalar = match self.kind() {
            Some(Kind::Word) => text::value(&self.text[span.clone()]),
            Some(Kind::Quoted) => text::quoted(&self.text[span.clone()]).map(Scalar::Text),
            _ => {
                self.fault(span, "here must stand a value", None);
                return None;
            }
        };
        self.at += 1;
        match scalar {
            Ok(scalar) => Some(Value { annotation, scalar, span: start..span.end }),
            Err(wrong) => {
                self.wrong(span, wrong);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]
    use super::*;

    /// The tree without spans, to hold it against `kdl`'s.
    fn ours(nodes: &[Node]) -> String {
        let value = |v: &Value| format!("{:?}{:?}", v.annotation, v.scalar);
        let one = |n: &Node| {
            let arguments: Vec<_> = n.arguments.iter().map(value).collect();
            let properties: Vec<_> = n.properties.iter().map(|p| format!("{:?}={}", p.name, value(&p.value))).collect();
            format!("{:?}{:?}{arguments:?}{properties:?}{{{}}}", n.annotation, n.name, ours(&n.children))
        };
        nodes.iter().map(one).collect()
    }

    fn theirs(document: &kdl::KdlDocument) -> String {
        let ty = |ty: Option<&kdl::KdlIdentifier>| format!("{:?}", ty.map(|ty| ty.value().to_owned()));
        let value = |e: &kdl::KdlEntry| {
            let scalar = match e.value() {
                kdl::KdlValue::String(text) => Scalar::Text(text.clone()),
                kdl::KdlValue::Integer(number) => Scalar::Whole(*number),
                kdl::KdlValue::Float(number) => Scalar::Float(*number),
                kdl::KdlValue::Bool(truth) => Scalar::Truth(*truth),
                kdl::KdlValue::Null => Scalar::Null,
            };
            format!("{}{scalar:?}", ty(e.ty()))
        };
        let one = |n: &kdl::KdlNode| {
            let arguments: Vec<_> = n.entries().iter().filter(|e| e.name().is_none()).map(value).collect();
            let named = |e: &kdl::KdlEntry| e.name().map(|name| format!("{:?}={}", name.value(), value(e)));
            let properties: Vec<_> = n.entries().iter().filter_map(named).collect();
            let children = n.children().map(theirs).unwrap_or_default();
            format!("{}{:?}{arguments:?}{properties:?}{{{children}}}", ty(n.ty()), n.name().value())
        };
        document.nodes().iter().map(one).collect()
    }

    #[test]
    fn texts_are_taken_as_kdl_takes_them() {
        for text in [
            "a",
            "a 1 2; b \"x\" k=1",
            "(t)a (u)\"x\" k=(v)y { b; c { d } }\n",
            "a /-1 2 /-k=3 /-{ x } { y }\n/-b { c }\nd",
            "/- kdl-version 2\n// c\na /* x */ b \\ // y\n  c\n",
            "a { b; /- c\n}\n",
            "a \"\"\"\n   x\n     y\n   \"\"\" #\"r\"# #true #null -1.5e2 0xff",
            "a \"k\"=1 'x",
            "a\r\nb\r\n",
            "a k = 1",
            "a \"\\u{e9}\\s\\t\"",
            "- + -- a.b",
        ] {
            let (nodes, faults) = parse(text, 0);
            assert_eq!(faults, [], "{text}");
            assert_eq!(ours(&nodes), theirs(&kdl::KdlDocument::parse_v2(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn faults_are_told_where_they_are_and_the_rest_is_read() {
        for (text, want) in [
            ("a 5GiB\nb", vec![2..6]),
            ("a true\nb r\"x\"\nb", vec![2..6, 10..13]),
            ("a \"x\"\"y\"\nb", vec![5..8]),
            ("a { b [ }\nb", vec![6..7]),
            ("a k=\nb", vec![4..5]),
            ("a (x y\nb", vec![2..3]),
            ("1 2\nb", vec![0..1]),
            ("a {} c\nb", vec![5..6]),
            ("a \"\\q\"\nb", vec![2..6]),
            ("\"\" = 1\nb", vec![3..4]),
        ] {
            let (nodes, faults) = parse(text, 0);
            assert_eq!(faults.iter().map(|fault| fault.span.clone()).collect::<Vec<_>>()[..1], want[..1], "{text}");
            assert!(faults.len() >= want.len(), "{text}");
            assert_eq!(
                nodes.iter().filter(|node| !node.broken).map(|node| &*node.name).collect::<Vec<_>>(),
                ["b"],
                "{text}"
            );
        }
        assert_eq!(parse("a \u{202e}\nb", 0).1[0].span, 2..5);
    }
}
