//! Laying one node over another, along the grammar.

use crate::diagnostic::{Path, Step};
use crate::locate::Moves;
use crate::read::grammar::{Field, Kind, Shape, Written};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// Nodes of which exactly one kind stands inside: half of one and half of another would be neither.
const OF_ONE_KIND: [&str; 4] = ["store", "dns", "directory", "state"];

/// A part of the spec that is being made: its JSON form, where its parts were written, and its own place.
pub type Part<'a> = (&'a mut Map<String, Json>, &'a mut Moves, &'a Path);

/// Whether a field's value says anything.
pub fn given(field: &Field, value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Array(items) => !items.is_empty(),
        // A flag that is not there; where nothing is another thing, no is an answer.
        Json::Bool(false) => field.optional,
        _ => true,
    }
}

/// The kind of a field's nodes, where they have names.
pub fn named(field: &Field) -> Option<Arc<Kind>> {
    let Shape::Node(kind) = &field.shape else { return None };
    let first = kind.fields.iter().find(|field| field.written == Written::Argument)?;
    (first.required && matches!(first.shape, Shape::Text(_))).then(|| Arc::clone(kind))
}

/// What a node is known by: its name, and, for records, its type.
pub fn identity(kind: &Kind, item: &Json) -> Option<(String, Option<String>)> {
    let first = kind.fields.iter().find(|field| field.written == Written::Argument)?;
    let text = |name: &str| item.get(name).and_then(Json::as_str).map(str::to_ascii_lowercase);
    Some((text(first.name)?, kind.named.contains_key("type").then(|| text("type")).flatten()))
}

/// Puts what stays of a list back, with its old places.
pub fn settle(items: &mut Vec<Json>, kept: Vec<(usize, Json)>, moved: &mut Moves, path: &Path) {
    let mut old = std::mem::take(&mut moved.inner);
    for (now, (was, item)) in kept.into_iter().enumerate() {
        let mut moves = old.remove(&Step::Item(was)).unwrap_or_default();
        if now != was && moves.to.is_none() {
            moves.to = Some(path.item(was));
        }
        if moves != Moves::default() {
            moved.inner.insert(Step::Item(now), moves);
        }
        items.push(item);
    }
}

/// Lays a node over another: what it gives replaces what is there, nodes inside are laid over those of their name.
pub fn object(kind: &Kind, (base, moves, path): Part<'_>, (mut over, at): (Map<String, Json>, &Path)) {
    for field in &kind.fields {
        let Some(value) = over.remove(field.name).filter(|value| given(field, value)) else { continue };
        let (path, at) = (path.field(field.name), at.field(field.name));
        let moved = moves.inner.entry(Step::Field(field.name)).or_default();
        let whole = OF_ONE_KIND.contains(&field.name);
        match (value, named(field), &field.shape, base.get_mut(field.name)) {
            (Json::Array(over), Some(inner), _, Some(Json::Array(items))) if field.many && !items.is_empty() => {
                list((&inner, whole), (items, moved, &path), (over, &at));
            }
            (Json::Object(over), _, Shape::Node(inner), Some(Json::Object(there))) if !field.many && !whole => {
                object(inner, (there, moved, &path), (over, &at));
            }
            (value, ..) => {
                *moved = Moves::to(at);
                base.insert(field.name.to_string(), value);
            }
        }
    }
}

/// Lays a list of named nodes over another. Where a name stands several times, as records may, all of it is replaced.
fn list(
    (kind, whole): (&Kind, bool),
    (items, moved, path): (&mut Vec<Json>, &mut Moves, &Path),
    (over, at): (Vec<Json>, &Path),
) {
    let names: Vec<_> = over.iter().map(|item| identity(kind, item)).collect();
    let count = |name| names.iter().filter(|other| *other == name).count();
    let mut replaced: Vec<_> = Vec::new();
    for (n, value) in over.into_iter().enumerate() {
        let at = at.item(n);
        let Some(name) = names.get(n) else { continue };
        let there: Vec<usize> = positions(kind, items, name, &replaced);
        if let ([one], 1, false, Json::Object(value)) = (there.as_slice(), count(name), whole, &value)
            && kind.fields.iter().all(|field| field.written != Written::Arguments)
            && let Some(Json::Object(base)) = items.get_mut(*one)
        {
            let mut value = value.clone();
            // The name is the same; it was written where the node was.
            if let Some(first) = kind.fields.iter().find(|field| field.written == Written::Argument) {
                value.remove(first.name);
            }
            let moves = moved.inner.entry(Step::Item(*one)).or_default();
            let own = path.item(*one);
            object(kind, (base, moves, &own), (value, &at));
            continue;
        }
        if !replaced.iter().any(|(known, _)| *known == name) {
            let kept = std::mem::take(items).into_iter().enumerate().filter(|(n, _)| !there.contains(n)).collect();
            settle(items, kept, moved, path);
            replaced.push((name, items.len()));
        }
        moved.inner.insert(Step::Item(items.len()), Moves::to(at));
        items.push(value);
    }
}

type Name = Option<(String, Option<String>)>;

fn positions(kind: &Kind, items: &[Json], name: &Name, replaced: &[(&Name, usize)]) -> Vec<usize> {
    if replaced.iter().any(|(known, _)| *known == name) {
        return Vec::new();
    }
    let is = |(_, item): &(usize, &Json)| name.is_some() && identity(kind, item) == *name;
    items.iter().enumerate().filter(is).map(|(n, _)| n).collect()
}
