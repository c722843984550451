//! A KDL file as nodes with spans: all that the reader needs of a parser.

use std::ops::Range;

/// A node.
#[derive(Debug)]
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
}

/// A property.
#[derive(Debug)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Where the name is.
    pub span: Range<usize>,
    /// Its value.
    pub value: Value,
}

/// A value.
#[derive(Debug)]
pub struct Value {
    /// Its type annotation.
    pub annotation: Option<String>,
    /// What it is.
    pub scalar: Scalar,
    /// Where it is.
    pub span: Range<usize>,
}

/// What a value is.
#[derive(Debug, PartialEq)]
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
#[derive(Debug)]
pub struct Fault {
    /// Where.
    pub span: Range<usize>,
    /// What, one sentence.
    pub says: String,
    /// How to mend it.
    pub help: Option<String>,
}

/// The parser's stack: enough for [`super::scan::MOST_HIDDEN`] levels.
const STACK: usize = 64 << 20;

/// Parses a file's text, which [`super::scan::scan`] has found shallow.
///
/// # Errors
/// Every fault of the text, in order.
pub fn parse(text: &str, file: usize) -> Result<Vec<Node>, Vec<Fault>> {
    let run = || kdl::KdlDocument::parse_v2(text).map(|document| nodes(&document, file)).map_err(|error| faults(&error));
    let none = |says: &str| vec![Fault { span: 0..0, says: says.to_owned(), help: None }];
    std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run);
        let parser = parser.map_err(|error| none(&format!("the parser cannot be started: {error}")))?;
        parser.join().unwrap_or_else(|_| Err(none("the parser failed on this file")))
    })
}

fn faults(error: &kdl::KdlError) -> Vec<Fault> {
    let fault = |found: &kdl::KdlDiagnostic| Fault {
        span: range(found.span),
        says: match (&found.message, &found.label) {
            (Some(message), _) => message.clone(),
            (None, Some(label)) => label.clone(),
            (None, None) => "this is not KDL".to_owned(),
        },
        help: found.help.clone(),
    };
    error.diagnostics.iter().map(fault).collect()
}

fn nodes(document: &kdl::KdlDocument, file: usize) -> Vec<Node> {
    document.nodes().iter().map(|from| node(from, file)).collect()
}

fn node(from: &kdl::KdlNode, file: usize) -> Node {
    let mut node = Node {
        name: from.name().value().to_owned(),
        span: range(from.name().span()),
        file,
        annotation: from.ty().map(|ty| ty.value().to_owned()),
        arguments: Vec::new(),
        properties: Vec::new(),
        children: from.children().map_or_else(Vec::new, |children| nodes(children, file)),
    };
    for entry in from.entries() {
        let value = Value {
            annotation: entry.ty().map(|ty| ty.value().to_owned()),
            scalar: match entry.value() {
                kdl::KdlValue::String(text) => Scalar::Text(text.clone()),
                kdl::KdlValue::Integer(number) => Scalar::Whole(*number),
                kdl::KdlValue::Float(number) => Scalar::Float(*number),
                kdl::KdlValue::Bool(truth) => Scalar::Truth(*truth),
                kdl::KdlValue::Null => Scalar::Null,
            },
            span: trimmed(entry),
        };
        match entry.name() {
            Some(name) => {
                node.properties.push(Property { name: name.value().to_owned(), span: range(name.span()), value });
            }
            None => node.arguments.push(value),
        }
    }
    node
}

/// The entry without the white space that `kdl` counts to it.
fn trimmed(entry: &kdl::KdlEntry) -> Range<usize> {
    let span = range(entry.span());
    let (leading, trailing) = entry.format().map_or((0, 0), |f| (f.leading.len(), f.trailing.len()));
    span.start + leading..span.end.saturating_sub(trailing).max(span.start + leading)
}

fn range(span: miette::SourceSpan) -> Range<usize> {
    span.offset()..span.offset() + span.len()
}
