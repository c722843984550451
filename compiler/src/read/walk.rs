//! The walk of nodes along the grammar. What is wrong is told, and marked as left out: [`super::take`] takes the rest.

use super::form;
use super::grammar::{Field, Kind, Shape, Written};
use super::marks::Mark;
use super::secrecy;
use super::tree::{Node, Property, Scalar, Value};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, MOST_FINDINGS, Report, meant, nearest};
use crate::locate::{Located, Place};
use serde_json::Value as Json;
use std::ops::Range;

/// What a node was found to hold, by the number of its fields.
#[derive(Default)]
pub struct Seen {
    fields: Vec<(usize, Place)>,
    /// The items of fields that are held against the schema as a whole.
    items: Vec<(usize, Vec<Json>)>,
}

impl Seen {
    fn put(&mut self, at: usize, field: &Field, place: impl FnOnce() -> Place, item: impl FnOnce() -> Json) {
        if !self.has(at) {
            self.fields.push((at, place()));
        }
        if field.list.is_some() {
            match self.items.iter_mut().find(|(known, _)| *known == at) {
                Some((_, items)) => items.push(item()),
                None => self.items.push((at, vec![item()])),
            }
        }
    }

    fn has(&self, at: usize) -> bool {
        self.fields.iter().any(|(known, _)| *known == at)
    }

    fn place(&self, at: usize) -> Option<Place> {
        self.fields.iter().find(|(known, _)| *known == at).map(|(_, place)| place.clone())
    }
}

/// Walks nodes along the grammar.
pub struct Walk<'a> {
    /// The nodes.
    pub located: &'a Located,
    /// The grammar of the whole language.
    pub language: &'a Kind,
    /// Takes what is wrong.
    pub report: &'a mut Report,
    /// Takes what is left out.
    pub marks: Vec<Mark>,
    /// Names and values of one file that are no secrets, and may be shown; then nothing is marked, since the first walk
    /// has.
    pub plain: Option<(usize, Vec<Range<usize>>)>,
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
    node: Node<'a>,
    field: &'a Field,
    /// The node holds a secret beside the value.
    guarded: bool,
}

impl Walk<'_> {
    /// A node at the top, and whether the next that the grammar does not know may be a secret.
    pub fn top(&mut self, node: Node<'_>, guarded: bool, seen: &mut Seen) -> bool {
        let mut around = Around { kind: self.language, parent: "", guarded };
        self.step(node, &mut around, seen);
        around.guarded
    }

    fn step(&mut self, node: Node<'_>, around: &mut Around<'_>, seen: &mut Seen) {
        let errors = self.report.errors();
        let known = self.child(node, around, seen);
        // `password` with its secret on the next line: what follows is no node's name.
        if node.is_broken() || (self.report.errors() > errors && node.is_bare()) {
            around.guarded = true;
        } else if known {
            around.guarded = around.kind.guarded;
        }
    }

    fn children(&mut self, node: Node<'_>, kind: &Kind, seen: &mut Seen) {
        let mut around = Around { kind, parent: node.name(), guarded: kind.guarded };
        for child in self.located.children(node) {
            self.step(child, &mut around, seen);
        }
    }

    fn shows(&mut self, file: usize, span: &Range<usize>) {
        if let Some((of, plain)) = &mut self.plain
            && *of == file
        {
            plain.push(span.clone());
        }
    }

    /// The name of a node or property; in a file of people none is written.
    fn shows_name(&mut self, file: usize, span: &Range<usize>) {
        if self.plain.is_some() && !self.located.is_table(file) {
            self.shows(file, span);
        }
    }

    fn leave_node(&mut self, node: Node<'_>) {
        if self.plain.is_none() {
            self.marks.push(Mark::Node(node.file(), node.id()));
        }
    }

    fn leave_value(&mut self, node: Node<'_>, value: Value<'_>) {
        if self.plain.is_none() {
            self.marks.push(Mark::Value(node.file(), value.id()));
        }
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

    fn wrong(&mut self, code: Code, file: usize, span: &Range<usize>, says: String) -> &mut Diagnostic {
        self.report.find_at(code, Place { file, span: span.clone() }, says)
    }

    /// Takes a node in; whether the grammar knows it.
    fn child(&mut self, node: Node<'_>, around: &Around<'_>, seen: &mut Seen) -> bool {
        let kind = around.kind;
        if node.annotation().is_some() {
            let says = "a type annotation stands before a node; only values take them".to_owned();
            self.wrong(Code::UnknownAnnotation, node.file(), &node.span(), says);
        }
        if let Some((at, field)) = kind.find(node.name(), Written::Child) {
            self.shows_name(node.file(), &node.span());
            if let Some((_, until)) = kind.aged.then(|| kind.formerly(node.name(), Written::Child)).flatten() {
                self.deprecated((node.name(), field.name), until, node.file(), &node.span());
            }
            if let Some(what) = &field.unserved {
                let says = format!("`{}` is known, but this version does not serve {what} yet", node.name());
                self.wrong(Code::NotServed, node.file(), &node.span(), says);
            }
            if self.plain.is_some() && self.located.is_second(node) {
                return true;
            }
            if !field.many
                && let Some(first) = seen.place(at)
            {
                let says = format!("`{}` is written twice", node.name());
                let found = self.wrong(Code::WrittenTwice, node.file(), &node.span(), says);
                found.also_places.push((first, "first written here".into()));
                found.help("keep one of them");
                if self.plain.is_none() {
                    self.marks.push(Mark::Second(node.file(), node.id()));
                }
                self.leave_node(node);
                return true;
            }
            self.known(node, (at, field), seen);
            return true;
        }
        if let Some((at, field, several)) = kind.sequence_at()
            && let Some((_, shape)) = several.iter().find(|(name, _)| *name == node.name())
        {
            self.shows_name(node.file(), &node.span());
            let slot = Slot { node, field, guarded: false };
            let sound = match shape {
                Shape::Node(kind) => self.node(node, kind),
                shape => self.only_value(&slot, shape).is_some(),
            };
            match sound {
                true => seen.put(at, field, || place_of(node), || Json::Null),
                false => self.leave_node(node),
            }
            return true;
        }
        self.unknown(node, around);
        self.leave_node(node);
        false
    }

    /// A spelling that gives way to another.
    fn deprecated(&mut self, (old, new): (&str, &str), until: &str, file: usize, span: &Range<usize>) {
        let says = format!("`{old}` is an older spelling of `{new}`, and taken until {until}");
        self.wrong(Code::Deprecated, file, span, says)
            .help(format!("write `{new}`; `waybill fmt --upgrade` does it everywhere"));
    }

    fn unknown(&mut self, node: Node<'_>, around: &Around<'_>) {
        let Around { kind, parent, guarded } = *around;
        // What broke while parsing has been told already.
        if node.is_broken() && node.name().is_empty() {
            return;
        }
        // What comes after so many is counted, and looking for the nearest word would cost a minute for a million.
        if self.report.errors() > MOST_FINDINGS {
            self.wrong(Code::UnknownNode, node.file(), &node.span(), String::new());
            return;
        }
        let within = if parent.is_empty() { "a spec".to_owned() } else { format!("`{parent}`") };
        let holds = |field: &&Field| match &field.shape {
            Shape::Node(inner) => inner.child(node.name()).is_some(),
            _ => false,
        };
        let home = self.language.fields.iter().find(holds).map(|field| field.name);
        let mut clear = None;
        let help = if kind.property(node.name()).is_some() {
            Some(format!("write it on the line of `{parent}`: `{}=…`", node.name()))
        } else if let Some(home) = home.filter(|home| *home != parent) {
            Some(format!("`{}` stands inside `{home} {{ … }}`", node.name()))
        } else {
            clear = meant(node.name(), kind.children());
            nearest(node.name(), kind.children()).or_else(|| known(kind.children()))
        };
        let place = (node.file(), &node.span());
        let says = format!("{within} has no node `{}`", self.quoted(node.name(), place, guarded, kind.children()));
        let found = self.wrong(Code::UnknownNode, node.file(), &node.span(), says);
        found.means(clear).help = help;
    }

    /// A child that the grammar knows.
    fn known(&mut self, node: Node<'_>, (at, field): (usize, &Field), seen: &mut Seen) {
        let slot = Slot { node, field, guarded: matches!(field.shape, Shape::Annotated(_)) };
        let place = || place_of(node);
        match &field.shape {
            Shape::Node(kind) => match self.node(node, kind) {
                true => seen.put(at, field, place, || Json::Null),
                false => self.leave_node(node),
            },
            Shape::Truth if node.arguments().next().is_none() => {
                self.nothing_else(&slot);
                seen.put(at, field, place, || Json::Bool(true));
            }
            shape if field.many => {
                self.nothing_else(&slot);
                if node.arguments().next().is_none() && !node.is_broken() {
                    self.missing(node, field);
                }
                for value in node.arguments() {
                    if self.value(&slot, value, shape) {
                        seen.put(at, field, || place_in(node, value), || json(value));
                    } else {
                        self.leave_value(node, value);
                    }
                }
            }
            shape => match self.only_value(&slot, shape) {
                Some(value) => seen.put(at, field, || place_in(node, value), || json(value)),
                None => self.leave_node(node),
            },
        }
    }

    /// The one argument of a node that holds nothing else.
    fn only_value<'t>(&mut self, slot: &Slot<'t>, shape: &Shape) -> Option<Value<'t>> {
        let node = slot.node;
        self.nothing_else(slot);
        let Some(value) = node.arguments().next() else {
            if !node.is_broken() {
                self.missing(node, slot.field);
            }
            return None;
        };
        self.extra(node, 1);
        self.value(slot, value, shape).then_some(value)
    }

    fn missing(&mut self, node: Node<'_>, field: &Field) {
        let says = format!("`{}` needs a value", node.name());
        let example = field.example.as_ref().map(|example| format!("as in `{} \"{example}\"`", node.name()));
        self.wrong(Code::NotGiven, node.file(), &node.span(), says).help = example;
    }

    fn extra(&mut self, node: Node<'_>, takes: usize) {
        if let Some(extra) = node.arguments().nth(takes) {
            let says = match takes {
                0 => format!("`{}` takes no value", node.name()),
                1 => format!("`{}` takes one value", node.name()),
                n => format!("`{}` takes {n} values", node.name()),
            };
            self.wrong(Code::ExtraArgument, node.file(), &extra.span(), says);
        }
    }

    /// A node of values only has neither properties nor children.
    fn nothing_else(&mut self, slot: &Slot<'_>) {
        let node = slot.node;
        for property in node.properties() {
            let place = (node.file(), &property.span());
            let name = self.quoted(property.name(), place, slot.guarded, std::iter::empty());
            let says = format!("`{}` has no property `{name}`", node.name());
            self.wrong(Code::UnknownProperty, node.file(), &property.span(), says);
        }
        for child in node.children() {
            let says = format!("`{}` has no nodes inside", node.name());
            self.wrong(Code::UnknownNode, child.file(), &child.span(), says);
        }
    }

    /// A node of a kind; whether all is there that it must have.
    fn node(&mut self, node: Node<'_>, kind: &Kind) -> bool {
        let mut seen = Seen::default();
        let guarded = kind.guarded;
        let mut arguments = node.arguments();
        let mut taken = 0;
        for at in &kind.arguments {
            let Some(field) = kind.fields.get(*at) else { continue };
            let most = match field.written {
                Written::Argument => 1,
                Written::Arguments => usize::MAX,
                _ => continue,
            };
            let mut count = 0;
            while count < most
                && let Some(value) = arguments.next()
            {
                count += 1;
                if self.value(&Slot { node, field, guarded }, value, &field.shape) {
                    seen.put(*at, field, || place_in(node, value), || json(value));
                } else {
                    self.leave_value(node, value);
                }
            }
            taken += count.max(1);
        }
        self.extra(node, taken);
        for property in node.properties() {
            self.property(node, property, kind, &mut seen);
        }
        self.children(node, kind, &mut seen);
        self.complete(node, kind, &seen)
    }

    fn property(&mut self, node: Node<'_>, property: Property<'_>, kind: &Kind, seen: &mut Seen) {
        let guarded = kind.guarded;
        let Some((at, field)) = kind.find(property.name(), Written::Property) else {
            if self.report.errors() > MOST_FINDINGS {
                self.wrong(Code::UnknownProperty, node.file(), &property.span(), String::new());
                return;
            }
            let help = if kind.child(property.name()).is_some() {
                Some(format!("write it between braces: `{} … {{ {} … }}`", node.name(), property.name()))
            } else {
                nearest(property.name(), kind.properties()).or_else(|| known(kind.properties()))
            };
            let place = (node.file(), &property.span());
            let name = self.quoted(property.name(), place, guarded, kind.properties());
            let says = format!("`{}` has no property `{name}`", node.name());
            let clear = meant(property.name(), kind.properties()).filter(|_| kind.child(property.name()).is_none());
            self.wrong(Code::UnknownProperty, node.file(), &property.span(), says).means(clear).help = help;
            return self.leave_value(node, property.value());
        };
        if let Some((_, until)) = kind.aged.then(|| kind.formerly(property.name(), Written::Property)).flatten() {
            self.deprecated((property.name(), field.name), until, node.file(), &property.span());
        }
        self.shows_name(node.file(), &property.span());
        if let Some(first) = seen.place(at) {
            let says = format!("`{}` is written twice", property.name());
            let found = self.wrong(Code::WrittenTwice, node.file(), &property.span(), says);
            found.also_places.push((first, "first written here".into()));
            return self.leave_value(node, property.value());
        }
        let value = property.value();
        if self.value(&Slot { node, field, guarded }, value, &field.shape) {
            seen.put(at, field, || place_in(node, value), || json(value));
        } else {
            self.leave_value(node, value);
        }
    }

    fn complete(&mut self, node: Node<'_>, kind: &Kind, seen: &Seen) -> bool {
        self.lists(place_of(node), kind, seen);
        let mut complete = true;
        for (at, field) in kind.fields.iter().enumerate().filter(|(_, field)| field.required) {
            if seen.has(at) {
                continue;
            }
            complete = false;
            let argument = |at: usize| node.arguments().nth(at).is_some();
            let position = kind.fields.iter().take_while(|other| other.name != field.name).count();
            let (written, example) = match field.written {
                Written::Property => {
                    let written = node.properties().any(|property| *property.name() == *field.name);
                    (written, format!("`{}={}`", field.name, value_example(field)))
                }
                Written::Child => (
                    node.children().any(|child| *child.name() == *field.name),
                    format!("`{} {{ {} … }}`", node.name(), field.name),
                ),
                Written::Sequence => (node.children().next().is_some(), format!("`{} {{ … }}`", node.name())),
                _ => (argument(position), format!("`{} {}`", node.name(), value_example(field))),
            };
            // A value that is there, but wrong, has been told already.
            if !written && !node.is_broken() {
                let says = format!("`{}` lacks its {}", node.name(), field.name);
                self.wrong(Code::NotGiven, node.file(), &node.span(), says).help(format!("write {example}"));
            }
        }
        complete
    }

    /// Holds lists against what the schema says of them as a whole.
    pub fn lists(&mut self, place: Place, kind: &Kind, seen: &Seen) {
        for (at, items) in &seen.items {
            let Some(list) = kind.fields.get(*at).and_then(|field| field.list.as_ref()) else { continue };
            for (code, says) in list.misfits(&Json::Array(items.clone())) {
                let place = seen.place(*at).unwrap_or_else(|| place.clone());
                self.report.find_at(code, place, says);
            }
        }
    }

    fn value(&mut self, slot: &Slot<'_>, value: Value<'_>, shape: &Shape) -> bool {
        if !self.fits(slot, value, shape) {
            return false;
        }
        if let Some(item) = &slot.field.item {
            for (code, says) in item.misfits(&json(value)) {
                self.report.find_at(code, place_in(slot.node, value), says);
            }
        }
        true
    }

    fn fits(&mut self, slot: &Slot<'_>, value: Value<'_>, shape: &Shape) -> bool {
        if let Shape::Annotated(kinds) = shape {
            return self.annotated(slot, value, kinds);
        }
        if value.annotation().is_some() {
            let says = format!("`{}` takes no type annotation", slot.name());
            self.wrong(Code::UnknownAnnotation, slot.node.file(), &value.span(), says);
            return false;
        }
        match (shape, value.scalar()) {
            (Shape::Text(format), Scalar::Text(text)) => return self.text(slot, value, format, text),
            (Shape::Choice(words), Scalar::Text(text)) if words.iter().any(|word| word == text) => {}
            (Shape::Choice(words), Scalar::Text(text)) => {
                let list = words.join("`, `");
                let near = nearest(text, words.iter().map(String::as_str));
                let place = (slot.node.file(), &value.span());
                let word = self.quoted(text, place, slot.guarded, words.iter().map(String::as_str));
                let says = format!("`{word}` is none of `{list}`");
                let clear = meant(text, words.iter().map(String::as_str));
                self.wrong(Code::WrongForm, slot.node.file(), &value.span(), says).means(clear).help = near;
                return false;
            }
            (Shape::Whole(least, most), Scalar::Whole(number)) => {
                if !(*least..=*most).contains(&number) || i64::try_from(number).is_err() {
                    let place = (slot.node.file(), &value.span());
                    let word = self.quoted(&number.to_string(), place, slot.guarded, std::iter::empty());
                    let says = format!("{word} lies outside {least} to {most}");
                    self.wrong(Code::OutOfBounds, slot.node.file(), &value.span(), says);
                    return false;
                }
            }
            (Shape::Truth, Scalar::Truth(_)) => {}
            (shape, scalar) => {
                self.other_kind(slot, value, (shape, &scalar));
                return false;
            }
        }
        self.shows(slot.node.file(), &value.span());
        true
    }

    fn other_kind(&mut self, slot: &Slot<'_>, value: Value<'_>, (shape, scalar): (&Shape, &Scalar)) {
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
            self.shows(slot.node.file(), &value.span());
        }
        let says = format!("`{}` takes {wants}, not {}", slot.name(), kind_of(scalar));
        self.wrong(Code::WrongKind, slot.node.file(), &value.span(), says).help(help);
    }

    fn text(&mut self, slot: &Slot<'_>, value: Value<'_>, format: &str, text: &str) -> bool {
        let pair = slot.guarded && secrecy::pair_with_password(text);
        if let Some(why) = secrecy::plain_secret(text).or(pair.then_some("holds a password")) {
            let says = format!("the value of `{}` {why}", slot.name());
            let help = "take it out, and write where it is kept, as in `password=(env)\"NAME\"`; replace it, since it may have been seen";
            self.wrong(Code::PlainSecret, slot.node.file(), &value.span(), says).help(help);
            return false;
        }
        let checked = form::check(format, text);
        // A form leaves no room for a secret; nor does what is but a name.
        let named = slot.field.written == Written::Argument && matches!(slot.field.name, "name" | "selector");
        let free = !slot.guarded || named || (checked.is_ok() && !secrecy::is_roomy(format));
        if checked.is_ok() && self.plain.is_none() {
            return true;
        }
        let shown = self.quoted(text, (slot.node.file(), &value.span()), !free, std::iter::empty());
        match checked {
            Ok(()) => true,
            Err(misfit) => {
                let says = format!("`{shown}` {}", misfit.says);
                let own = misfit.help.filter(|_| shown != "…");
                let help = own.or_else(|| slot.field.example.as_ref().map(|one| format!("as in `\"{one}\"`")));
                self.wrong(Code::WrongForm, slot.node.file(), &value.span(), says).help = help;
                false
            }
        }
    }

    fn annotated(&mut self, slot: &Slot<'_>, value: Value<'_>, kinds: &[String]) -> bool {
        let hash = kinds.iter().any(|kind| kind == "hash");
        let reference = value.annotation().filter(|annotation| matches!(*annotation, "env" | "file"));
        let age = value.annotation() == Some("age");
        let secret = matches!(value.scalar(), Scalar::Text(text) if if age {
            secrecy::plain_secret(text).is_some()
        } else {
            reference.is_some() && secrecy::is_no_reference(text)
        });
        let Some(annotation) = value.annotation().filter(|_| !secret) else {
            let says = format!("`{}` holds a plain secret", slot.name());
            let help = if hash {
                "write its hash, `(hash)\"$6$…\"`, which `mkpasswd -m sha-512` prints; choose another password, since this one may have been seen"
            } else {
                "write where it is kept, `(env)\"NAME\"` or `(file)\"path\"`, or encrypt it with `waybill secrets encrypt`; replace it, since it may have been seen"
            };
            self.wrong(Code::PlainSecret, slot.node.file(), &value.span(), says).help(help);
            return false;
        };
        if !kinds.iter().any(|kind| kind == annotation) {
            let known = kinds.iter().map(String::as_str).chain(["env", "file", "age", "hash", "scram"]);
            let may = secrecy::is_near(annotation, known, 1);
            let shown = if may { annotation } else { "…" };
            let says = format!("`{}` does not take `({shown})`", slot.name());
            let list = kinds.join(")`, `(");
            let help =
                nearest(annotation, kinds.iter().map(String::as_str)).unwrap_or_else(|| format!("it takes `({list})`"));
            self.wrong(Code::UnknownAnnotation, slot.node.file(), &value.span(), says).help(help);
            return false;
        }
        match value.scalar() {
            Scalar::Text(text) if !text.is_empty() && !text.contains('\0') => {
                if let Some(why) = age.then(|| secrecy::unopenable(text)).flatten() {
                    let help = "`waybill secrets encrypt` makes one; if a secret stands here in plain, replace it";
                    self.wrong(Code::NotSealed, slot.node.file(), &value.span(), why).help(help);
                    return false;
                }
                if (age || reference.is_some()) && secrecy::harmless(text) {
                    self.shows(slot.node.file(), &value.span());
                }
                true
            }
            _ => {
                let says = format!("`({annotation})` is followed by text that is not empty");
                self.wrong(Code::WrongKind, slot.node.file(), &value.span(), says);
                false
            }
        }
    }
}

impl Slot<'_> {
    /// How a value is called in a message.
    fn name(&self) -> &str {
        match self.field.written {
            Written::Property => self.field.name,
            _ => self.node.name(),
        }
    }
}

fn place_of(node: Node<'_>) -> Place {
    Place { file: node.file(), span: node.span() }
}

fn place_in(node: Node<'_>, value: Value<'_>) -> Place {
    Place { file: node.file(), span: value.span() }
}

/// A value as JSON, to be held against the schema.
fn json(value: Value<'_>) -> Json {
    let scalar = match value.scalar() {
        Scalar::Text(text) => Json::from(text),
        Scalar::Whole(number) => i64::try_from(number).map_or(Json::Null, Json::from),
        Scalar::Float(number) => Json::from(number),
        Scalar::Truth(truth) => Json::Bool(truth),
        Scalar::Null => Json::Null,
    };
    match value.annotation() {
        Some(annotation) => Json::Object([(annotation.to_owned(), scalar)].into_iter().collect()),
        None => scalar,
    }
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
