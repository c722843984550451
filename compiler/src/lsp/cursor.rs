//! What each word of a file is. By tokens, not by the tree, since a text that is being typed is mostly broken.

use crate::read::grammar::{Field, Kind, Shape, Written};
use crate::read::token::{Kind as TokenKind, Tokens};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// A node by its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub name: String,
    /// Where that is.
    pub span: Range<usize>,
    /// Its first argument.
    pub argument: Option<String>,
}

/// What a word is of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The name.
    Name,
    /// An argument, counted from 0.
    Argument(usize),
    /// A property's name.
    PropertyName,
    /// A property's value.
    Property(String),
}

/// A word, or the empty place where one may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The nodes around it, the outermost first.
    pub way: Vec<Head>,
    /// The node that it is a part of; `None` where a node's name may stand.
    pub node: Option<Head>,
    /// What it is of it.
    pub part: Part,
    /// Where it is, with its quotes and without its annotation.
    pub span: Range<usize>,
    /// What it says.
    pub text: String,
}

/// Visits every word of a text in order, until told to break.
pub fn words<B>(text: &str, mut visit: impl FnMut(&Scan<'_>) -> ControlFlow<B>) -> Option<B> {
    let mut scan = Scan { text, way: Vec::new(), node: None, arguments: 0, property: None, span: 0..0, named: false };
    let mut tokens = Tokens::new(text).peekable();
    let mut last: Option<Range<usize>> = None;
    let mut annotation = false;
    while let Some(token) = tokens.next() {
        match token.kind {
            TokenKind::AnnotationOpen => annotation = true,
            TokenKind::AnnotationClose => annotation = false,
            _ if annotation => annotation = token.kind != TokenKind::Newline,
            TokenKind::Word | TokenKind::Quoted | TokenKind::Unended if !text[token.span.clone()].starts_with('/') => {
                scan.span = token.span.clone();
                scan.named = tokens.peek().is_some_and(|next| next.kind == TokenKind::Equals);
                if let ControlFlow::Break(found) = visit(&scan) {
                    return Some(found);
                }
                last = Some(token.span.clone());
                scan.pass(&token.span);
            }
            TokenKind::Equals => {
                scan.property = last.take().map(|span| plain(&text[span]));
            }
            TokenKind::Newline | TokenKind::Semicolon => scan.next_node(),
            TokenKind::Open => {
                let node = scan.node.take().unwrap_or(Head { name: String::new(), span: token.span, argument: None });
                scan.way.push(node);
                scan.next_node();
            }
            TokenKind::Close => {
                scan.way.pop();
                scan.next_node();
            }
            _ => {}
        }
    }
    None
}

/// Where a scan is.
pub struct Scan<'a> {
    text: &'a str,
    /// The nodes around, the outermost first.
    pub way: Vec<Head>,
    /// The node that the word is a part of.
    pub node: Option<Head>,
    arguments: usize,
    property: Option<String>,
    /// Where the word is.
    pub span: Range<usize>,
    named: bool,
}

impl Scan<'_> {
    /// What the word is.
    pub fn part(&self) -> Part {
        match (&self.node, &self.property) {
            (None, _) => Part::Name,
            (_, Some(property)) => Part::Property(property.clone()),
            _ if self.named => Part::PropertyName,
            _ => Part::Argument(self.arguments),
        }
    }

    /// What the word says.
    pub fn says(&self) -> String {
        plain(&self.text[self.span.clone()])
    }

    fn word(&self) -> Word {
        let (way, node, span) = (self.way.clone(), self.node.clone(), self.span.clone());
        Word { way, node, part: self.part(), text: self.says(), span }
    }

    fn pass(&mut self, span: &Range<usize>) {
        let says = plain(&self.text[span.clone()]);
        match &mut self.node {
            None => self.node = Some(Head { name: says, span: span.clone(), argument: None }),
            Some(_) if self.property.take().is_some() || self.named => {}
            Some(node) => {
                node.argument.get_or_insert(says);
                self.arguments += 1;
            }
        }
    }

    fn next_node(&mut self) {
        (self.node, self.arguments, self.property) = (None, 0, None);
    }
}

/// A word without its quotes.
fn plain(written: &str) -> String {
    written.trim_matches('#').trim_matches('"').to_owned()
}

/// The word at an octet, or what would be one there.
pub fn at(text: &str, offset: usize) -> Word {
    let offset = text.floor_char_boundary(offset);
    let touched = words(text, |scan| {
        if scan.span.start <= offset && offset <= scan.span.end {
            return ControlFlow::Break(scan.word());
        }
        if scan.span.start > offset { ControlFlow::Break(nothing(text, offset)) } else { ControlFlow::Continue(()) }
    });
    touched.unwrap_or_else(|| nothing(text, offset))
}

/// Where no word is: what one would be, told by writing one.
fn nothing(text: &str, offset: usize) -> Word {
    let before = format!("{}x", &text[..offset]);
    let found = words(&before, |scan| {
        if scan.span.end == before.len() { ControlFlow::Break(scan.word()) } else { ControlFlow::Continue(()) }
    });
    let nowhere = || Word { way: Vec::new(), node: None, part: Part::Name, span: 0..0, text: String::new() };
    Word { span: offset..offset, text: String::new(), ..found.unwrap_or_else(nowhere) }
}

/// From a node's name to where the node ends.
pub fn extent(text: &str, start: usize) -> Range<usize> {
    let mut depth = 0_usize;
    for token in Tokens::new(&text[start..]) {
        let at = start + token.span.start;
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close if depth <= 1 => return start..(at + depth),
            TokenKind::Close => depth -= 1,
            TokenKind::Newline | TokenKind::Semicolon if depth == 0 => return start..at,
            _ => {}
        }
    }
    start..text.len()
}

/// The kind of the node that a way leads to.
pub fn kind(language: &Arc<Kind>, way: &[Head]) -> Option<Arc<Kind>> {
    way.iter().try_fold(Arc::clone(language), |kind, head| match &kind.child(&head.name)?.shape {
        Shape::Node(inner) => Some(Arc::clone(inner)),
        _ => None,
    })
}

/// What a word's value is read as: the kind whose field it is, and the field.
pub fn field(around: &Arc<Kind>, node: &str, part: &Part) -> Option<(Arc<Kind>, Field)> {
    let own = around.child(node).cloned().or_else(|| sequenced(around, node))?;
    let Shape::Node(kind) = &own.shape else {
        return matches!(part, Part::Argument(_)).then(|| (Arc::clone(around), own));
    };
    let found = match part {
        Part::Property(name) => kind.property(name)?.clone(),
        Part::Argument(at) => {
            let mut values = kind.fields.iter().filter(|one| one.written == Written::Argument);
            let rest = kind.fields.iter().find(|one| one.written == Written::Arguments);
            values.nth(*at).or(rest)?.clone()
        }
        Part::Name | Part::PropertyName => return None,
    };
    Some((Arc::clone(kind), found))
}

/// A node of a sequence, as a field of its own.
pub fn sequenced(kind: &Kind, name: &str) -> Option<Field> {
    let (field, several) = kind.sequence()?;
    let at = several.iter().position(|(one, _)| *one == name)?;
    let (name, shape) = several.get(at)?;
    let says = field.meanings.get(at).cloned().unwrap_or_default();
    Some(Field { name, written: Written::Child, shape: shape.clone(), says, ..field.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(marked: &str) -> (String, String, Part, String) {
        let offset = marked.find('§').unwrap_or_default();
        let word = at(&marked.replace('§', ""), offset);
        let way: Vec<String> = word.way.iter().map(|head| head.name.clone()).collect();
        (way.join(" "), word.node.map(|node| node.name).unwrap_or_default(), word.part, word.text)
    }

    #[test]
    fn a_word_is_known_by_what_stands_before_it() {
        let told = |marked: &str| {
            let (way, node, part, text) = told(marked);
            format!("{way}|{node}|{part:?}|{text}")
        };
        assert_eq!(told("dom§ain \"x\""), "||Name|domain");
        assert_eq!(told("domain \"x§\""), "|domain|Argument(0)|x");
        assert_eq!(told("domain \"x\" {\n  §\n}"), "domain||Name|");
        assert_eq!(told("domain \"x\" {\n  acc§\n}"), "domain||Name|acc");
        assert_eq!(told("domain \"x\" { dmarc \"§"), "domain|dmarc|Argument(0)|");
        assert_eq!(told("domain \"x\" { dmarc (a)\"q\" report=\"p§\"; }"), "domain|dmarc|Property(\"report\")|p");
        assert_eq!(told("domain \"x\" { dmarc a rep§ort=\"p\"; }"), "domain|dmarc|PropertyName|report");
        assert_eq!(told("domain \"x\" { dmarc report= §"), "domain|dmarc|Property(\"report\")|");
        assert_eq!(told("a { b; }\nc 1 2 §"), "|c|Argument(2)|");
        assert_eq!(told("a { b; } // §"), "||Name|");
        assert_eq!(told("§"), "||Name|");
    }

    #[test]
    fn a_node_ends_where_its_line_or_block_does() {
        for (text, want) in [("a 1\nb", "a 1"), ("a { b { c; }; }\nd", "a { b { c; }; }"), ("a; b", "a"), ("a }", "a ")]
        {
            assert_eq!(&text[extent(text, 0)], want);
        }
    }
}
