//! From nodes to the spec's JSON form, along the grammar. What is wrong is told and left out.

use super::form;
use super::grammar::{Field, Kind, Shape, Written};
use super::secrecy;
use super::tree::{Node, Property, Scalar, Value};
use crate::code::Code;
use crate::diagnostic::{Report, meant, nearest};
use crate::locate::{Place, Spot};
use serde_json::{Map, Value as Json};
use std::ops::Range;
use std::sync::Arc;

/// A node of the spec's JSON form, with places.
#[derive(Default)]
pub struct Object {
    /// Its fields.
    pub json: Map<String, Json>,
    /// Where they were written.
    pub spot: Spot,
}

impl Object {
    fn put(&mut self, field: &Field, json: Json, spot: Spot) {
        let known = self.spot.fields.iter().position(|(name, _)| *name == field.name);
        if !field.many {
            self.json.insert(field.name.to_string(), json);
            self.spot.fields.push((Arc::clone(&field.name), spot));
            return;
        }
        let at = known.unwrap_or_else(|| {
            self.spot.fields.push((Arc::clone(&field.name), Spot::new(spot.place.clone())));
            self.spot.fields.len() - 1
        });
        self.spot.fields[at].1.items.push(spot);
        if let Json::Array(items) = self.json.entry(field.name.to_string()).or_insert_with(|| Json::Array(Vec::new())) {
            items.push(json);
        }
    }

    fn place(&self, field: &Field) -> Option<Place> {
        self.spot.field(&field.name).map(|spot| spot.place.clone())
    }
}

/// Walks nodes along the grammar.
pub struct Walk<'a> {
    /// The grammar of the whole language.
    pub language: &'a Kind,
    /// Takes what is wrong.
    pub report: &'a mut Report,
    /// Names and values that are no secrets, and may be shown.
    pub plain: Vec<Place>,
}

/// What a node stands in.
struct Around<'a> {
    kind: &'a Kind,
    parent: &'a str,
    /// What the grammar does not know here may be a secret.
    guarded: bool,
}

/// What values are read for.
struct Slot<'a> {
    node: &'a Node,
    field: &'a Field,
    /// The node holds a secret beside the value.
    guarded: bool,
}

impl Walk<'_> {
    /// The nodes of a spec, all files together.
    pub fn spec(&mut self, nodes: &[Node]) -> Object {
        let mut object = Object::default();
        self.children(nodes, self.language, "", &mut object);
        object
    }

    fn children(&mut self, nodes: &[Node], kind: &Kind, parent: &str, object: &mut Object) {
        let mut around = Around { kind, parent, guarded: secrecy::guarded(kind) };
        for node in nodes {
            let errors = self.report.errors();
            let known = self.child(node, &around, object);
            let bare = node.arguments.is_empty() && node.properties.is_empty() && node.children.is_empty();
            // `password` with its secret on the next line: what follows is no node's name.
            if node.broken || (bare && self.report.errors() > errors) {
                around.guarded = true;
            } else if known {
                around.guarded = secrecy::guarded(kind);
            }
        }
    }

    fn shows(&mut self, file: usize, span: &Range<usize>) {
        self.plain.push(Place { file, span: span.clone() });
    }

    /// A word as it stands in a message, if it may be shown; then it may be in its line too.
    fn quoted<'k>(
        &mut self,
        word: &str,
        place: (usize, &Range<usize>),
        guarded: bool,
        known: impl Iterator<Item = &'k str>,
    ) -> String {
        let may = secrecy::harmless(word) && (!guarded || secrecy::is_near(word, known, 2));
        if !may {
            return "…".to_owned();
        }
        self.shows(place.0, place.1);
        shown(word)
    }

    fn wrong(
        &mut self,
        code: Code,
        file: usize,
        span: &Range<usize>,
        says: String,
    ) -> &mut crate::diagnostic::Diagnostic {
        self.report.find_at(code, Place { file, span: span.clone() }, says)
    }

    /// Takes a node in; whether the grammar knows it.
    fn child(&mut self, node: &Node, around: &Around<'_>, object: &mut Object) -> bool {
        let kind = around.kind;
        if node.annotation.is_some() {
            let says = "a type annotation stands before a node; only values take them".to_owned();
            self.wrong(Code::UnknownAnnotation, node.file, &node.span, says);
        }
        let older = kind.formerly(&node.name, Written::Child);
        if let Some(field) = older.map(|(field, _)| field).or_else(|| kind.child(&node.name)) {
            self.shows(node.file, &node.span);
            if let Some((_, until)) = older {
                self.deprecated((&node.name, &field.name), until, node.file, &node.span);
            }
            if let Some(what) = &field.unserved {
                let says = format!("`{}` is known, but this version does not serve {what} yet", node.name);
                self.wrong(Code::NotServed, node.file, &node.span, says);
            }
            if let Some(first) = object.place(field).filter(|_| !field.many) {
                let says = format!("`{}` is written twice", node.name);
                let found = self.wrong(Code::WrittenTwice, node.file, &node.span, says);
                found.also_places.push((first, "first written here".into()));
                found.help("keep one of them");
                return true;
            }
            self.known(node, field, object);
            return true;
        }
        if let Some((field, several)) = kind.sequence()
            && let Some((name, shape)) = several.iter().find(|(name, _)| *name == node.name)
        {
            self.shows(node.file, &node.span);
            let slot = Slot { node, field, guarded: false };
            if let Shape::Node(kind) = shape {
                if let Some(inner) = self.node(node, kind) {
                    let json = Json::Object(Map::from_iter([(name.clone(), Json::Object(inner.json))]));
                    let mut spot = Spot::new(at(node));
                    spot.fields.push((name.as_str().into(), inner.spot));
                    object.put(field, json, spot);
                }
            } else if let Some((json, place)) = self.only_value(&slot, shape) {
                let json = Json::Object(Map::from_iter([(name.clone(), json)]));
                let mut spot = Spot::new(at(node));
                spot.fields.push((name.as_str().into(), Spot::new(place)));
                object.put(field, json, spot);
            }
            return true;
        }
        self.unknown(node, around);
        false
    }

    /// A spelling that gives way to another.
    fn deprecated(&mut self, (old, new): (&str, &str), until: &str, file: usize, span: &Range<usize>) {
        let says = format!("`{old}` is an older spelling of `{new}`, and taken until {until}");
        self.wrong(Code::Deprecated, file, span, says)
            .help(format!("write `{new}`; `waybill fmt --upgrade` does it everywhere"));
    }

    fn unknown(&mut self, node: &Node, around: &Around<'_>) {
        let Around { kind, parent, guarded } = *around;
        // What broke while parsing has been told already.
        if node.broken && node.name.is_empty() {
            return;
        }
        let within = if parent.is_empty() { "a spec".to_owned() } else { format!("`{parent}`") };
        let holds = |field: &&Field| match &field.shape {
            Shape::Node(inner) => inner.child(&node.name).is_some(),
            _ => false,
        };
        let home = self.language.fields.iter().find(holds).map(|field| Arc::clone(&field.name));
        let mut clear = None;
        let help = if kind.property(&node.name).is_some() {
            Some(format!("write it on the line of `{parent}`: `{}=…`", node.name))
        } else if let Some(home) = home.filter(|home| **home != *parent) {
            Some(format!("`{}` stands inside `{home} {{ … }}`", node.name))
        } else {
            clear = meant(&node.name, kind.children());
            nearest(&node.name, kind.children()).or_else(|| known(kind.children()))
        };
        let place = (node.file, &node.span);
        let says = format!("{within} has no node `{}`", self.quoted(&node.name, place, guarded, kind.children()));
        let found = self.wrong(Code::UnknownNode, node.file, &node.span, says);
        found.means(clear).help = help;
    }

    /// A child that the grammar knows.
    fn known(&mut self, node: &Node, field: &Field, object: &mut Object) {
        let slot = Slot { node, field, guarded: matches!(field.shape, Shape::Annotated(_)) };
        match &field.shape {
            Shape::Node(kind) => {
                let kind = Arc::clone(kind);
                if let Some(inner) = self.node(node, &kind) {
                    object.put(field, Json::Object(inner.json), inner.spot);
                }
            }
            Shape::Truth if node.arguments.is_empty() => {
                self.nothing_else(&slot);
                object.put(field, Json::Bool(true), Spot::new(at(node)));
            }
            shape if field.many => {
                self.nothing_else(&slot);
                if node.arguments.is_empty() && !node.broken {
                    self.missing(node, field);
                }
                for value in &node.arguments {
                    if let Some(json) = self.value(&slot, value, shape) {
                        object.put(field, json, Spot::new(Place { file: node.file, span: value.span.clone() }));
                    }
                }
            }
            shape => {
                if let Some((json, place)) = self.only_value(&slot, shape) {
                    object.put(field, json, Spot::new(place));
                }
            }
        }
    }

    /// The one argument of a node that holds nothing else.
    fn only_value(&mut self, slot: &Slot<'_>, shape: &Shape) -> Option<(Json, Place)> {
        let node = slot.node;
        self.nothing_else(slot);
        let Some(value) = node.arguments.first() else {
            if !node.broken {
                self.missing(node, slot.field);
            }
            return None;
        };
        self.extra(node, 1);
        let json = self.value(slot, value, shape)?;
        Some((json, Place { file: node.file, span: value.span.clone() }))
    }

    fn missing(&mut self, node: &Node, field: &Field) {
        let says = format!("`{}` needs a value", node.name);
        let example = field.example.as_ref().map(|example| format!("as in `{} \"{example}\"`", node.name));
        self.wrong(Code::NotGiven, node.file, &node.span, says).help = example;
    }

    fn extra(&mut self, node: &Node, takes: usize) {
        if let Some(extra) = node.arguments.get(takes) {
            let says = match takes {
                0 => format!("`{}` takes no value", node.name),
                1 => format!("`{}` takes one value", node.name),
                n => format!("`{}` takes {n} values", node.name),
            };
            self.wrong(Code::ExtraArgument, node.file, &extra.span, says);
        }
    }

    /// A node of values only has neither properties nor children.
    fn nothing_else(&mut self, slot: &Slot<'_>) {
        let node = slot.node;
        for property in &node.properties {
            let place = (node.file, &property.span);
            let name = self.quoted(&property.name, place, slot.guarded, std::iter::empty());
            let says = format!("`{}` has no property `{name}`", node.name);
            self.wrong(Code::UnknownProperty, node.file, &property.span, says);
        }
        for child in &node.children {
            let says = format!("`{}` has no nodes inside", node.name);
            self.wrong(Code::UnknownNode, child.file, &child.span, says);
        }
    }

    /// A node of a kind; `None` where something that it must have is missing.
    fn node(&mut self, node: &Node, kind: &Kind) -> Option<Object> {
        let mut object = Object { json: Map::new(), spot: Spot::new(at(node)) };
        let guarded = secrecy::guarded(kind);
        let mut arguments = node.arguments.iter();
        let mut taken = 0;
        for field in kind.fields.iter().filter(|field| matches!(field.written, Written::Argument | Written::Arguments))
        {
            let values: Vec<&Value> = match field.written {
                Written::Argument => arguments.next().into_iter().collect(),
                _ => arguments.by_ref().collect(),
            };
            taken += values.len().max(1);
            for value in values {
                if let Some(json) = self.value(&Slot { node, field, guarded }, value, &field.shape) {
                    object.put(field, json, Spot::new(Place { file: node.file, span: value.span.clone() }));
                }
            }
        }
        self.extra(node, taken);
        for property in &node.properties {
            self.property(node, property, kind, &mut object);
        }
        self.children(&node.children, kind, &node.name, &mut object);
        self.complete(node, kind, &object).then_some(object)
    }

    fn property(&mut self, node: &Node, property: &Property, kind: &Kind, object: &mut Object) {
        let guarded = secrecy::guarded(kind);
        let older = kind.formerly(&property.name, Written::Property);
        if let Some((field, until)) = older {
            self.deprecated((&property.name, &field.name), until, node.file, &property.span);
        }
        let Some(field) = older.map(|(field, _)| field).or_else(|| kind.property(&property.name)) else {
            let help = if kind.child(&property.name).is_some() {
                Some(format!("write it between braces: `{} … {{ {} … }}`", node.name, property.name))
            } else {
                nearest(&property.name, kind.properties()).or_else(|| known(kind.properties()))
            };
            let place = (node.file, &property.span);
            let name = self.quoted(&property.name, place, guarded, kind.properties());
            let says = format!("`{}` has no property `{name}`", node.name);
            let clear = meant(&property.name, kind.properties()).filter(|_| kind.child(&property.name).is_none());
            self.wrong(Code::UnknownProperty, node.file, &property.span, says).means(clear).help = help;
            return;
        };
        self.shows(node.file, &property.span);
        if let Some(first) = object.place(field) {
            let says = format!("`{}` is written twice", property.name);
            let found = self.wrong(Code::WrittenTwice, node.file, &property.span, says);
            found.also_places.push((first, "first written here".into()));
            return;
        }
        if let Some(json) = self.value(&Slot { node, field, guarded }, &property.value, &field.shape) {
            let place = Place { file: node.file, span: property.value.span.clone() };
            object.put(field, json, Spot::new(place));
        }
    }

    fn complete(&mut self, node: &Node, kind: &Kind, object: &Object) -> bool {
        let mut complete = true;
        for field in kind.fields.iter().filter(|field| field.required) {
            if object.json.contains_key(&*field.name) {
                continue;
            }
            complete = false;
            let argument = |at: usize| node.arguments.get(at).is_some();
            let position = kind.fields.iter().take_while(|other| other.name != field.name).count();
            let (written, example) = match field.written {
                Written::Property => {
                    let written = node.properties.iter().any(|property| *property.name == *field.name);
                    (written, format!("`{}={}`", field.name, value_example(field)))
                }
                Written::Child => (
                    node.children.iter().any(|child| *child.name == *field.name),
                    format!("`{} {{ {} … }}`", node.name, field.name),
                ),
                Written::Sequence => (!node.children.is_empty(), format!("`{} {{ … }}`", node.name)),
                _ => (argument(position), format!("`{} {}`", node.name, value_example(field))),
            };
            // A value that is there, but wrong, has been told already.
            if !written && !node.broken {
                let says = format!("`{}` lacks its {}", node.name, field.name);
                self.wrong(Code::NotGiven, node.file, &node.span, says).help(format!("write {example}"));
            }
        }
        complete
    }

    fn value(&mut self, slot: &Slot<'_>, value: &Value, shape: &Shape) -> Option<Json> {
        if let Shape::Annotated(kinds) = shape {
            return self.annotated(slot, value, kinds);
        }
        if value.annotation.is_some() {
            let says = format!("`{}` takes no type annotation", slot.name());
            self.wrong(Code::UnknownAnnotation, slot.node.file, &value.span, says);
            return None;
        }
        let place = (slot.node.file, &value.span);
        let json = match (shape, &value.scalar) {
            (Shape::Text(format), Scalar::Text(text)) => return self.text(slot, value, format, text),
            (Shape::Choice(words), Scalar::Text(text)) if words.contains(text) => Json::String(text.clone()),
            (Shape::Choice(words), Scalar::Text(text)) => {
                let list = words.join("`, `");
                let near = nearest(text, words.iter().map(String::as_str));
                let word = self.quoted(text, place, slot.guarded, words.iter().map(String::as_str));
                let says = format!("`{word}` is none of `{list}`");
                let clear = meant(text, words.iter().map(String::as_str));
                self.wrong(Code::WrongForm, slot.node.file, &value.span, says).means(clear).help = near;
                return None;
            }
            (Shape::Whole(least, most), Scalar::Whole(number)) => {
                if !(least..=most).contains(&number) {
                    let word = self.quoted(&number.to_string(), place, slot.guarded, std::iter::empty());
                    let says = format!("{word} lies outside {least} to {most}");
                    self.wrong(Code::OutOfBounds, slot.node.file, &value.span, says);
                    return None;
                }
                i64::try_from(*number).ok().map(Json::from)?
            }
            (Shape::Truth, Scalar::Truth(truth)) => Json::Bool(*truth),
            (shape, scalar) => {
                self.other_kind(slot, value, (shape, scalar));
                return None;
            }
        };
        self.shows(slot.node.file, &value.span);
        Some(json)
    }

    fn other_kind(&mut self, slot: &Slot<'_>, value: &Value, (shape, scalar): (&Shape, &Scalar)) {
        let (wants, help) = match shape {
            Shape::Whole(..) => ("a whole number", "without quotes, as in `25`"),
            Shape::Truth => ("yes or no", "write `#true` or `#false`"),
            _ => ("text", "write it in quotes"),
        };
        // Text where none belongs may be anything, but for what was only put in quotes.
        let only_quoted = |text: &str| {
            ["yes", "no", "true", "false", "on", "off"].contains(&text) || text.bytes().all(|c| c.is_ascii_digit())
        };
        if !slot.guarded && !matches!(scalar, Scalar::Text(text) if !only_quoted(text)) {
            self.shows(slot.node.file, &value.span);
        }
        let says = format!("`{}` takes {wants}, not {}", slot.name(), kind_of(scalar));
        self.wrong(Code::WrongKind, slot.node.file, &value.span, says).help(help);
    }

    fn text(&mut self, slot: &Slot<'_>, value: &Value, format: &str, text: &str) -> Option<Json> {
        let pair = slot.guarded && secrecy::pair_with_password(text);
        if let Some(why) = secrecy::plain_secret(text).or(pair.then_some("holds a password")) {
            let says = format!("the value of `{}` {why}", slot.name());
            let help = "take it out, and write where it is kept, as in `password=(env)\"NAME\"`; replace it, since it may have been seen";
            self.wrong(Code::PlainSecret, slot.node.file, &value.span, says).help(help);
            return None;
        }
        let checked = form::check(format, text);
        // A form leaves no room for a secret; nor does what is but a name.
        let named = matches!(&*slot.field.name, "name" | "selector");
        let free = !slot.guarded || named || (checked.is_ok() && !secrecy::is_roomy(format));
        let shown = self.quoted(text, (slot.node.file, &value.span), !free, std::iter::empty());
        match checked {
            Ok(()) => Some(Json::String(text.to_owned())),
            Err(misfit) => {
                let says = format!("`{shown}` {}", misfit.says);
                let own = misfit.help.filter(|_| shown != "…");
                let help = own.or_else(|| slot.field.example.as_ref().map(|one| format!("as in `\"{one}\"`")));
                self.wrong(Code::WrongForm, slot.node.file, &value.span, says).help = help;
                None
            }
        }
    }

    fn annotated(&mut self, slot: &Slot<'_>, value: &Value, kinds: &[String]) -> Option<Json> {
        let hash = kinds.iter().any(|kind| kind == "hash");
        let reference = value.annotation.as_deref().filter(|annotation| matches!(*annotation, "env" | "file"));
        let age = value.annotation.as_deref() == Some("age");
        let secret = matches!(&value.scalar, Scalar::Text(text) if if age {
            secrecy::plain_secret(text).is_some()
        } else {
            reference.is_some() && secrecy::is_no_reference(text)
        });
        let Some(annotation) = value.annotation.as_ref().filter(|_| !secret) else {
            let says = format!("`{}` holds a plain secret", slot.name());
            let help = if hash {
                "write its hash, `(hash)\"$6$…\"`, which `mkpasswd -m sha-512` prints; choose another password, since this one may have been seen"
            } else {
                "write where it is kept, `(env)\"NAME\"` or `(file)\"path\"`, or encrypt it with `waybill secrets encrypt`; replace it, since it may have been seen"
            };
            self.wrong(Code::PlainSecret, slot.node.file, &value.span, says).help(help);
            return None;
        };
        if !kinds.contains(annotation) {
            let known = kinds.iter().map(String::as_str).chain(["env", "file", "age", "hash", "scram"]);
            let may = secrecy::is_near(annotation, known, 1);
            let shown = if may { annotation } else { "…" };
            let says = format!("`{}` does not take `({shown})`", slot.name());
            let list = kinds.join(")`, `(");
            let help =
                nearest(annotation, kinds.iter().map(String::as_str)).unwrap_or_else(|| format!("it takes `({list})`"));
            self.wrong(Code::UnknownAnnotation, slot.node.file, &value.span, says).help(help);
            return None;
        }
        match &value.scalar {
            Scalar::Text(text) if !text.is_empty() && !text.contains('\0') => {
                if let Some(why) = age.then(|| secrecy::unopenable(text)).flatten() {
                    let help = "`waybill secrets encrypt` makes one; if a secret stands here in plain, replace it";
                    self.wrong(Code::NotSealed, slot.node.file, &value.span, why).help(help);
                    return None;
                }
                if (age || reference.is_some()) && secrecy::harmless(text) {
                    self.shows(slot.node.file, &value.span);
                }
                Some(Json::Object(Map::from_iter([(annotation.clone(), Json::String(text.clone()))])))
            }
            _ => {
                let says = format!("`({annotation})` is followed by text that is not empty");
                self.wrong(Code::WrongKind, slot.node.file, &value.span, says);
                None
            }
        }
    }
}

impl Slot<'_> {
    /// How a value is called in a message.
    fn name(&self) -> &str {
        match self.field.written {
            Written::Property => &self.field.name,
            _ => &self.node.name,
        }
    }
}

fn at(node: &Node) -> Place {
    Place { file: node.file, span: node.span.clone() }
}

/// Words from outside, short enough for a message.
fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let escaped: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() { escaped + "…" } else { escaped }
}

fn known<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    const MOST: usize = 16;
    let names: Vec<&str> = names.collect();
    (1..=MOST).contains(&names.len()).then(|| format!("known here: `{}`", names.join("`, `")))
}

fn kind_of(scalar: &Scalar) -> &'static str {
    match scalar {
        Scalar::Text(_) => "text",
        Scalar::Whole(_) | Scalar::Float(_) => "a number",
        Scalar::Truth(_) => "yes or no",
        Scalar::Null => "nothing",
    }
}

fn value_example(field: &Field) -> String {
    match (&field.shape, &field.example) {
        (Shape::Annotated(kinds), _) => format!("({})\"…\"", kinds.get(1).or(kinds.first()).map_or("", |kind| kind)),
        (Shape::Choice(words), _) => words.first().cloned().unwrap_or_default(),
        (_, Some(example)) => format!("\"{example}\""),
        (Shape::Whole(..), _) => "1".into(),
        _ => "\"…\"".into(),
    }
}
