//! A KDL file as a tree with spans. Our own parser over [`super::token`], since `kdl` takes seconds for a megabyte
//! and does not say where a property's value begins; tests hold it against `kdl`.
//!
//! A fault does not end the parse: it goes on with the next node, so that all faults of a file are told at once.
//!
//! ## How it is walked
//!
//! [`parse`] makes a [`Tree`] of a text: a few flat arrays, 36 octets a node and 40 a value, text left in the file
//! where no escape changes it. [`Node`], [`Property`] and [`Value`] are handles into it, as cheap to copy as a slice:
//!
//! ```
//! use compiler::read::tree::{Scalar, parse};
//! let tree = parse("domain \"example.org\" like=\"a.example\" { account \"ada\"; }");
//! for node in tree.nodes(0) {
//!     let first = node.arguments().next().map(|value| value.scalar());
//!     assert_eq!((node.name(), first), ("domain", Some(Scalar::Text("example.org"))));
//!     assert_eq!(node.property("like").map(|like| like.value().span()), Some(26..37));
//!     assert_eq!(node.children().map(|child| child.name()).collect::<Vec<_>>(), ["account"]);
//! }
//! ```
//!
//! Which node is at an octet: go down those whose [`Node::extent`] holds it. The number that [`Tree::nodes`] takes is
//! handed on to every [`Node::file`], so that nodes of many files can stand in one list.

mod build;
mod parse;

pub use build::Builder;
pub use parse::parse;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How many faults of one file are told.
pub const MOST_FAULTS: usize = 20;
/// How many nodes and values a file may hold.
pub const MOST_PARTS: usize = 4 << 20;
/// The longest text that is parsed, in octets; spans are of 32 bits, one of which tells where a text lies.
pub const LONGEST: usize = 1 << 31;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// A string.
    Text(&'a str),
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

#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// Where a text lies: in the file, or, with the highest bit set, in [`Tree::own`].
#[derive(Clone, Copy)]
struct Slice {
    start: u32,
    length: u32,
}

const OWN: u32 = 1 << 31;
/// The length of a name that an argument has.
const NONE: u32 = u32::MAX;
const EMPTY: Slice = Slice { start: 0, length: 0 };
const NAMELESS: Slice = Slice { start: 0, length: NONE };

struct RawNode {
    name: Slice,
    span: Span,
    /// Where the whole node ends.
    until: u32,
    /// Which of [`Tree::annotations`], from 1.
    annotation: u32,
    /// Its first entry.
    entry: u32,
    entries: u32,
    /// The node behind its last descendant.
    next: u32,
    broken: bool,
}

#[derive(Clone, Copy)]
enum RawScalar {
    Text(Slice),
    /// Which of [`Tree::numbers`].
    Number(u32),
    Truth(bool),
    Null,
}

struct RawEntry {
    /// [`NAMELESS`] for an argument.
    name: Slice,
    name_span: Span,
    span: Span,
    annotation: u32,
    scalar: RawScalar,
}

/// The nodes of a file, in the order written, with its text.
pub struct Tree {
    text: Arc<str>,
    nodes: Vec<RawNode>,
    entries: Vec<RawEntry>,
    annotations: Vec<Slice>,
    numbers: Vec<Scalar<'static>>,
    /// Texts that are not written as they are.
    own: String,
    faults: Vec<Fault>,
    too_deep: Option<Range<usize>>,
    cut: bool,
}

impl fmt::Debug for Tree {
    /// Without its text, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({} nodes)", self.nodes.len())
    }
}

impl Tree {
    /// The file's text.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The nodes at the top. `file` is what [`Node::file`] says.
    pub fn nodes(&self, file: usize) -> Nodes<'_> {
        Nodes { tree: self, file, at: 0, end: self.count() }
    }

    /// The node with an [`Node::id`], which must be of this tree.
    pub fn node(&self, file: usize, id: u32) -> Option<Node<'_>> {
        (id < self.count()).then_some(Node { tree: self, file, at: id })
    }

    /// What is wrong with the text, in order, at most [`MOST_FAULTS`].
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether it holds more than [`MOST_PARTS`] nodes and values; what is over is not in the tree.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Where nesting goes deeper than [`super::scan::DEEPEST`]; nothing below is in the tree.
    pub fn too_deep(&self) -> Option<&Range<usize>> {
        self.too_deep.as_ref()
    }

    /// How many nodes and values there are, at all levels.
    pub fn size(&self) -> (usize, usize) {
        (self.nodes.len(), self.entries.len())
    }

    fn count(&self) -> u32 {
        small(self.nodes.len())
    }

    fn empty(text: Arc<str>) -> Tree {
        Tree {
            text,
            nodes: Vec::new(),
            entries: Vec::new(),
            annotations: Vec::new(),
            numbers: Vec::new(),
            own: String::new(),
            faults: Vec::new(),
            too_deep: None,
            cut: false,
        }
    }

    fn slice(&self, slice: Slice) -> &str {
        let (from, start) = match slice.start & OWN {
            0 => (&*self.text, slice.start),
            _ => (self.own.as_str(), slice.start & !OWN),
        };
        let start = start as usize;
        from.get(start..start + slice.length as usize).unwrap_or_default()
    }

    fn annotation(&self, which: u32) -> Option<&str> {
        let at = which.checked_sub(1)?;
        self.annotations.get(at as usize).map(|slice| self.slice(*slice))
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Span {
    fn of(span: &Range<usize>) -> Span {
        Span { start: small(span.start), end: small(span.end) }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A node of a [`Tree`].
#[derive(Clone, Copy)]
pub struct Node<'a> {
    tree: &'a Tree,
    file: usize,
    at: u32,
}

impl<'a> Node<'a> {
    fn raw(&self) -> &'a RawNode {
        &self.tree.nodes[self.at as usize]
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        self.tree.slice(self.raw().name)
    }

    /// Where the name is.
    pub fn span(&self) -> Range<usize> {
        self.raw().span.range()
    }

    /// Where the whole node is, from its name to its last value or `}`.
    pub fn extent(&self) -> Range<usize> {
        self.raw().span.start as usize..self.raw().until as usize
    }

    /// Which file, as [`crate::locate::Located::files`] counts.
    pub fn file(&self) -> usize {
        self.file
    }

    /// Which node of its tree, in the order written.
    pub fn id(&self) -> u32 {
        self.at
    }

    /// Its type annotation.
    pub fn annotation(&self) -> Option<&'a str> {
        self.tree.annotation(self.raw().annotation)
    }

    /// A fault lies within it; its parts may be missing.
    pub fn is_broken(&self) -> bool {
        self.raw().broken
    }

    fn entries(&self) -> Arguments<'a> {
        let raw = self.raw();
        Arguments { tree: self.tree, at: raw.entry, end: raw.entry + raw.entries, named: None }
    }

    /// Its arguments, in order.
    pub fn arguments(&self) -> Arguments<'a> {
        Arguments { named: Some(false), ..self.entries() }
    }

    /// Its properties, in order, also those written twice.
    pub fn properties(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        Arguments { named: Some(true), ..self.entries() }.map(Property)
    }

    /// The first property of that name.
    pub fn property(&self, name: &str) -> Option<Property<'a>> {
        self.properties().find(|property| property.name() == name)
    }

    /// Whether it has neither arguments nor properties nor children.
    pub fn is_bare(&self) -> bool {
        self.raw().entries == 0 && self.children().next().is_none()
    }

    /// Its children, in order.
    pub fn children(&self) -> Nodes<'a> {
        Nodes { tree: self.tree, file: self.file, at: self.at + 1, end: self.raw().next }
    }
}

/// Values of a node.
#[derive(Clone)]
pub struct Arguments<'a> {
    tree: &'a Tree,
    at: u32,
    end: u32,
    /// Only those with a name, or without.
    named: Option<bool>,
}

impl<'a> Iterator for Arguments<'a> {
    type Item = Value<'a>;
    fn next(&mut self) -> Option<Value<'a>> {
        while self.at < self.end {
            let value = Value { tree: self.tree, at: self.at };
            self.at += 1;
            if self.named.is_none_or(|named| named == (value.raw().name.length != NONE)) {
                return Some(value);
            }
        }
        None
    }
}

/// Nodes beside each other.
#[derive(Clone)]
pub struct Nodes<'a> {
    tree: &'a Tree,
    file: usize,
    at: u32,
    end: u32,
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Node<'a>;
    fn next(&mut self) -> Option<Node<'a>> {
        if self.at >= self.end {
            return None;
        }
        let node = Node { tree: self.tree, file: self.file, at: self.at };
        self.at = node.raw().next;
        Some(node)
    }
}

/// A property of a node.
#[derive(Clone, Copy)]
pub struct Property<'a>(Value<'a>);

impl<'a> Property<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.0.tree.slice(self.0.raw().name)
    }
    /// Where the name is.
    pub fn span(&self) -> Range<usize> {
        self.0.raw().name_span.range()
    }
    /// Its value.
    pub fn value(&self) -> Value<'a> {
        self.0
    }
}

/// A value: an argument, or a property's.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    tree: &'a Tree,
    at: u32,
}

impl<'a> Value<'a> {
    fn raw(&self) -> &'a RawEntry {
        &self.tree.entries[self.at as usize]
    }
    /// Which value of its tree, in the order written.
    pub fn id(&self) -> u32 {
        self.at
    }
    /// Its type annotation.
    pub fn annotation(&self) -> Option<&'a str> {
        self.tree.annotation(self.raw().annotation)
    }
    /// What it is.
    pub fn scalar(&self) -> Scalar<'a> {
        match self.raw().scalar {
            RawScalar::Text(slice) => Scalar::Text(self.tree.slice(slice)),
            RawScalar::Number(at) => self.tree.numbers.get(at as usize).copied().unwrap_or(Scalar::Null),
            RawScalar::Truth(truth) => Scalar::Truth(truth),
            RawScalar::Null => Scalar::Null,
        }
    }
    /// Where it is, its annotation included.
    pub fn span(&self) -> Range<usize> {
        self.raw().span.range()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]
    use super::*;

    /// The tree without spans, to hold it against `kdl`'s.
    fn ours(nodes: Nodes<'_>) -> String {
        let value = |v: Value<'_>| format!("{:?}{:?}", v.annotation(), v.scalar());
        let one = |n: Node<'_>| {
            let arguments: Vec<_> = n.arguments().map(value).collect();
            let properties: Vec<_> = n.properties().map(|p| format!("{:?}={}", p.name(), value(p.value()))).collect();
            format!("{:?}{:?}{arguments:?}{properties:?}{{{}}}", n.annotation(), n.name(), ours(n.children()))
        };
        nodes.map(one).collect()
    }

    fn theirs(document: &kdl::KdlDocument) -> String {
        let ty = |ty: Option<&kdl::KdlIdentifier>| format!("{:?}", ty.map(|ty| ty.value().to_owned()));
        let value = |e: &kdl::KdlEntry| {
            let scalar = match e.value() {
                kdl::KdlValue::String(text) => Scalar::Text(text),
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
            let tree = parse(text);
            assert_eq!(tree.faults(), [], "{text}");
            assert_eq!(ours(tree.nodes(0)), theirs(&kdl::KdlDocument::parse_v2(text).unwrap()), "{text}");
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
            let tree = parse(text);
            let faults = tree.faults();
            assert_eq!(faults.iter().map(|fault| fault.span.clone()).collect::<Vec<_>>()[..1], want[..1], "{text}");
            assert!(faults.len() >= want.len(), "{text}");
            assert_eq!(
                tree.nodes(0).filter(|node| !node.is_broken()).map(|node| node.name()).collect::<Vec<_>>(),
                ["b"],
                "{text}"
            );
        }
        assert_eq!(parse("a \u{202e}\nb").faults()[0].span, 2..5);
    }
}
