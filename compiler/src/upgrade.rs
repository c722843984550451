//! `waybill fmt --upgrade`: older spellings give way to those of today. Names alone are changed, where they stand;
//! comments, order and layout stay.

use crate::read::grammar::{Kind, Shape, Written};
use crate::read::tree::{self, Nodes};
use std::ops::Range;

/// A file with the spellings of today; `None` where it is no KDL.
pub fn upgrade(text: &str, language: &Kind) -> Option<String> {
    let tree = tree::parse(text);
    if !tree.faults().is_empty() || tree.too_deep().is_some() {
        return None;
    }
    let mut edits = Vec::new();
    renames(tree.nodes(0), language, &mut edits);
    edits.sort_by_key(|(span, _)| span.start);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (span, name) in edits {
        out.push_str(text.get(at..span.start)?);
        out.push_str(&name);
        at = span.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

/// What is written otherwise today, by place. Nesting is bounded by what was parsed.
fn renames(nodes: Nodes<'_>, kind: &Kind, edits: &mut Vec<(Range<usize>, String)>) {
    for node in nodes {
        let older = kind.formerly(node.name(), Written::Child).map(|(field, _)| field);
        if let Some(field) = older {
            edits.push((node.span(), field.name.to_string()));
        }
        let inner = match older.or_else(|| kind.child(node.name())).map(|field| &field.shape) {
            Some(Shape::Node(inner)) => inner,
            Some(_) => continue,
            None => {
                let several = kind.sequence().map(|(_, several)| several).unwrap_or_default();
                match several.iter().find(|(name, _)| *name == node.name()) {
                    Some((_, Shape::Node(inner))) => inner,
                    _ => continue,
                }
            }
        };
        for property in node.properties() {
            if let Some((field, _)) = inner.formerly(property.name(), Written::Property) {
                edits.push((property.span(), field.name.to_string()));
            }
        }
        renames(node.children(), inner, edits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::grammar;

    #[test]
    fn names_change_and_nothing_else_does() {
        let language = grammar::language();
        let old = "// top\ndomain   \"example.org\" { // why\n\ttls-rpt \"a@example.org\" /* tls-rpt */; \"catchall\" \"ada\"\n\
                   \tdmarc reject rua = \"a@example.org\"\n\t/- tls-rpt \"b@example.org\"\n}\ndefaults { domain { tls-rpt \"x@y.example\"; }; }\n";
        let new = "// top\ndomain   \"example.org\" { // why\n\ttls-report \"a@example.org\" /* tls-rpt */; catch-all \"ada\"\n\
                   \tdmarc reject report = \"a@example.org\"\n\t/- tls-rpt \"b@example.org\"\n}\ndefaults { domain { tls-report \"x@y.example\"; }; }\n";
        assert_eq!(upgrade(old, language).as_deref(), Some(new));
        assert_eq!(upgrade(new, language).as_deref(), Some(new));
        assert_eq!(upgrade("a {", language), None);
    }
}
