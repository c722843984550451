//! A tree of what is not written in KDL, so that all else need not know.

use super::{EMPTY, NAMELESS, OWN, RawEntry, RawNode, RawScalar, Slice, Span, Tree, small};
use std::ops::Range;
use std::sync::Arc;

/// Makes a [`Tree`] node by node. A node's values come before its children.
pub struct Builder {
    tree: Tree,
    /// Names and annotations, which come again and again.
    names: Vec<(&'static str, Slice)>,
    annotations: Vec<(String, u32)>,
}

impl Builder {
    /// A tree of that text, without nodes.
    pub fn new(text: Arc<str>) -> Builder {
        Builder { tree: Tree::empty(text), names: Vec::new(), annotations: Vec::new() }
    }

    /// Begins a node at a span, inside those that were not ended.
    pub fn begin(&mut self, name: &'static str, span: &Range<usize>) -> usize {
        let name = self.name(name);
        let (entry, until) = (small(self.tree.entries.len()), small(span.end));
        let span = Span::of(span);
        let node = RawNode { name, span, until, annotation: 0, entry, entries: 0, next: 0, broken: false };
        self.tree.nodes.push(node);
        self.tree.nodes.len() - 1
    }

    /// Ends a node.
    pub fn end(&mut self, node: usize) {
        let next = small(self.tree.nodes.len());
        if let Some(node) = self.tree.nodes.get_mut(node) {
            node.next = next;
        }
    }

    /// Gives a node a value, a property where it has a name.
    pub fn value(
        &mut self,
        node: usize,
        name: Option<&'static str>,
        annotation: Option<&str>,
        cell: (&str, &Range<usize>),
    ) {
        let (text, at) = cell;
        let scalar = RawScalar::Text(self.slice(text, at));
        let name = name.map_or(NAMELESS, |name| self.name(name));
        let annotation = annotation.map_or(0, |annotation| self.annotation(annotation));
        let span = Span::of(at);
        self.tree.entries.push(RawEntry { name, name_span: span, span, annotation, scalar });
        if let Some(node) = self.tree.nodes.get_mut(node) {
            (node.entries, node.until) = (node.entries + 1, node.until.max(span.end));
        }
    }

    /// The tree.
    pub fn finish(mut self) -> Tree {
        self.tree.nodes.shrink_to_fit();
        self.tree.entries.shrink_to_fit();
        self.tree
    }

    fn own(&mut self, text: &str) -> Slice {
        let start = self.tree.own.len();
        if start + text.len() >= super::LONGEST {
            return EMPTY;
        }
        self.tree.own.push_str(text);
        Slice { start: small(start) | OWN, length: small(text.len()) }
    }

    fn name(&mut self, name: &'static str) -> Slice {
        if let Some((_, slice)) = self.names.iter().find(|(known, _)| *known == name) {
            return *slice;
        }
        let slice = self.own(name);
        self.names.push((name, slice));
        slice
    }

    fn annotation(&mut self, annotation: &str) -> u32 {
        const MOST: usize = 8;
        if let Some((_, at)) = self.annotations.iter().find(|(known, _)| known == annotation) {
            return *at;
        }
        let slice = self.own(annotation);
        self.tree.annotations.push(slice);
        let at = small(self.tree.annotations.len());
        if self.annotations.len() < MOST {
            self.annotations.push((annotation.to_owned(), at));
        }
        at
    }

    /// A text where it is in the file, with or without quotes around it or an annotation before it.
    fn slice(&mut self, text: &str, at: &Range<usize>) -> Slice {
        let written = self.tree.text.get(at.clone()).unwrap_or_default();
        let bare = written.strip_suffix('"').unwrap_or(written);
        for written in [written, bare] {
            if written.ends_with(text) {
                let start = at.start + written.len() - text.len();
                return Slice { start: small(start), length: small(text.len()) };
            }
        }
        self.own(text)
    }
}
