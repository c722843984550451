//! The language's grammar, taken from the schema of [`schema::spec::Spec`]: which node holds what, and where.

use super::constraint::Constraint;
use schema::spec::Spec;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Where a field of a node is written; the schema's keyword `x-kdl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The node's next argument.
    Argument,
    /// All of the node's remaining arguments.
    Arguments,
    /// `name=value`.
    Property,
    /// Children of several names, in order.
    Sequence,
    /// Children of the field's name.
    Child,
}

/// What a field holds.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Text of a form, by the schema's `format`; empty: any.
    Text(String),
    /// One of these words.
    Choice(Vec<String>),
    /// A whole number between these two, both included.
    Whole(i128, i128),
    /// Yes or no; as a child, its bare presence.
    Truth,
    /// Text whose type annotation is one of these.
    Annotated(Vec<String>),
    /// One of several children, each by name.
    OneOf(Vec<Named>),
    /// A node of its own.
    Node(Arc<Kind>),
}

/// A shape by its node's name.
pub type Named = (&'static str, Shape);

/// A field of a node.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name, in the schema and in KDL.
    pub name: &'static str,
    /// Where it is written.
    pub written: Written,
    /// It may stand several times.
    pub many: bool,
    /// It must be there.
    pub required: bool,
    /// It may be nothing in the JSON form, which differs from being false or empty.
    pub optional: bool,
    /// What it holds, each time.
    pub shape: Shape,
    /// What the server of this version does not serve yet.
    pub unserved: Option<String>,
    /// Other spellings of its name, which give way to it, and until when each is taken; the schema's `x-formerly`.
    pub formerly: Vec<(String, String)>,
    /// A value that the field might have, for help.
    pub example: Option<String>,
    /// What it means, and what holds where it is left out: the docstring.
    pub says: String,
    /// What else the schema says of each value.
    pub item: Option<Arc<Constraint>>,
    /// What else the schema says of all values together.
    pub list: Option<Arc<Constraint>>,
    /// What each word of a [`Shape::Choice`], or each node of a [`Shape::OneOf`], means, in their order.
    pub meanings: Vec<String>,
}

/// A kind of node.
#[derive(Clone, Debug, Default)]
pub struct Kind {
    /// Its name in the schema; empty for the whole spec.
    pub name: String,
    /// What it is: the docstring.
    pub says: String,
    /// Its fields; arguments come in the order that they are written in.
    pub fields: Vec<Field>,
    /// Where in [`Kind::fields`] a child or property of a name is.
    pub named: HashMap<&'static str, usize>,
    /// Which fields are arguments, in the order that they are written in.
    pub arguments: Vec<usize>,
    /// Its nodes hold a secret beside their other values, so that it may have got among those.
    pub guarded: bool,
    /// Some of its fields had another spelling.
    pub aged: bool,
    /// Which field is a sequence.
    sequence: Option<usize>,
    /// The [`key`] of each field.
    keys: Vec<u64>,
}

impl Kind {
    /// A kind with these fields.
    fn of(name: &str, says: &str, fields: Vec<Field>) -> Kind {
        let named = fields.iter().enumerate().map(|(at, field)| (field.name, at)).collect();
        let argument = |at: &usize| matches!(fields[*at].written, Written::Argument | Written::Arguments);
        let arguments = (0..fields.len()).filter(argument).collect();
        let sequence = fields.iter().position(|field| field.written == Written::Sequence);
        let keys = fields.iter().map(|field| key(field.name)).collect();
        let aged = fields.iter().any(|field| !field.formerly.is_empty());
        let guarded = super::secrecy::guarded(&fields);
        let (name, says) = (name.to_owned(), says.to_owned());
        Kind { name, says, fields, named, arguments, guarded, aged, sequence, keys }
    }

    /// The same kind without some of its fields.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Kind {
        let kept = self.fields.iter().filter(|field| !names.contains(&field.name)).cloned();
        Kind::of(&self.name, &self.says, kept.collect())
    }

    /// The child of that name.
    pub fn child(&self, name: &str) -> Option<&Field> {
        self.named.get(name).map(|at| &self.fields[*at]).filter(|field| field.written == Written::Child)
    }
    /// The property of that name.
    pub fn property(&self, name: &str) -> Option<&Field> {
        self.named.get(name).map(|at| &self.fields[*at]).filter(|field| field.written == Written::Property)
    }
    /// The field that a child or property of an older spelling is now, and until when it is taken.
    pub fn formerly(&self, name: &str, written: Written) -> Option<(&Field, &str)> {
        let fields = self.fields.iter().filter(|field| field.written == written);
        fields.into_iter().find_map(|field| {
            let (_, until) = field.formerly.iter().find(|(older, _)| older == name)?;
            Some((field, until.as_str()))
        })
    }
    /// The children that stand in one sequence, if the node has such.
    pub fn sequence(&self) -> Option<(&Field, &[Named])> {
        let field = self.fields.iter().find(|field| field.written == Written::Sequence)?;
        match &field.shape {
            Shape::OneOf(several) => Some((field, several)),
            _ => None,
        }
    }
    /// The field of a name, today's or an older one, that is written so, and its number.
    pub fn find(&self, name: &str, written: Written) -> Option<(usize, &Field)> {
        let wanted = key(name);
        let like = self.keys.iter().enumerate().filter(|(_, key)| **key == wanted);
        let mut fields = like.filter_map(|(at, _)| Some((at, self.fields.get(at)?)));
        let today = fields.find(|(_, field)| field.name == name && field.written == written);
        if !self.aged {
            return today;
        }
        let (older, _) = match self.formerly(name, written) {
            Some(older) => older,
            None => return today,
        };
        self.named.get(older.name).map(|at| (*at, older))
    }
    /// The children that stand in one sequence, with the number of their field.
    pub fn sequence_at(&self) -> Option<(usize, &Field, &[Named])> {
        let at = self.sequence?;
        let field = self.fields.get(at)?;
        match &field.shape {
            Shape::OneOf(several) => Some((at, field, several)),
            _ => None,
        }
    }
    /// The names of children, sequences included.
    pub fn children(&self) -> impl Iterator<Item = &str> {
        let own = self.fields.iter().filter(|field| field.written == Written::Child).map(|field| field.name);
        own.chain(self.sequence().into_iter().flat_map(|(_, several)| several.iter().map(|(name, _)| *name)))
    }
    /// The names of properties.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(|field| field.written == Written::Property).map(|field| field.name)
    }
}

/// A name of the schema for as long as the program runs: there are only so many, and each is kept once.
pub fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.into());
    names.insert(kept);
    kept
}

/// A name's length and first seven octets: most names differ in these, and they are compared at once.
fn key(name: &str) -> u64 {
    let octets = name.bytes().take(7).fold(0, |key, octet| key << 8 | u64::from(octet));
    octets << 8 | (name.len() as u64 & 0xff)
}

/// The grammar of the language, made once.
pub fn language() -> &'static Arc<Kind> {
    static LANGUAGE: OnceLock<Arc<Kind>> = OnceLock::new();
    LANGUAGE.get_or_init(|| grammar(&schema()))
}

/// The schema of a spec, as `waybill schema spec` prints it.
pub fn schema() -> Json {
    schemars::schema_for!(Spec).to_value()
}

/// The grammar in a schema of a spec.
pub fn grammar(schema: &Json) -> Arc<Kind> {
    let empty = Map::new();
    let kinds = schema["$defs"].as_object().unwrap_or(&empty);
    Maker { kinds, made: HashMap::new() }.kind("", schema)
}

struct Maker<'a> {
    kinds: &'a Map<String, Json>,
    made: HashMap<String, Arc<Kind>>,
}

impl Maker<'_> {
    fn kind(&mut self, name: &str, schema: &Json) -> Arc<Kind> {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let mut fields: Vec<Field> = schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, field)| self.field(name, field, required.contains(&name.as_str())))
            .collect();
        // Required arguments are written first, in the order of `required`, which is that of the type.
        fields.sort_by_key(|field| required.iter().position(|name| *name == field.name).unwrap_or(usize::MAX));
        let says = schema["description"].as_str().unwrap_or_default();
        Arc::new(Kind::of(name, says, fields))
    }

    fn field(&mut self, name: &str, schema: &Json, required: bool) -> Field {
        let many = schema["type"] == "array";
        let written = match schema["x-kdl"].as_str() {
            Some("argument") => Written::Argument,
            Some("arguments") => Written::Arguments,
            Some("property") => Written::Property,
            Some("sequence") => Written::Sequence,
            _ => Written::Child,
        };
        let inner = if many { &schema["items"] } else { schema };
        let item = Constraint::of_value(self.referred_to(inner));
        Field {
            name: interned(name),
            written,
            many,
            required,
            optional: schema["anyOf"].is_array() || schema["type"].is_array(),
            shape: self.shape("", inner),
            unserved: schema["x-unserved"].as_str().map(str::to_owned),
            formerly: schema["x-formerly"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, until)| (name.clone(), until.as_str().unwrap_or_default().to_owned()))
                .collect(),
            // Of several values, the first stands for each.
            example: example(&inner["examples"][0]).or_else(|| example(&schema["examples"][0][0])),
            says: schema["description"].as_str().unwrap_or_default().to_owned(),
            item,
            list: many.then(|| Constraint::of_list(schema)).flatten(),
            meanings: self.meanings(inner),
        }
    }

    /// What the words or nodes of a choice mean.
    fn meanings(&self, schema: &Json) -> Vec<String> {
        let several = self.referred_to(schema)["oneOf"].as_array().into_iter().flatten();
        several.map(|one| one["description"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What a schema is where it refers to one, or is "this or nothing".
    fn referred_to<'s>(&'s self, schema: &'s Json) -> &'s Json {
        let schema = schema["anyOf"].as_array().and_then(|either| either.first()).unwrap_or(schema);
        let named = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
        named.and_then(|name| self.kinds.get(name)).unwrap_or(schema)
    }

    fn shape(&mut self, name: &str, schema: &Json) -> Shape {
        // `anyOf: [X, null]` is how an optional field is told.
        if let Some(first) = schema["anyOf"].as_array().and_then(|either| either.first()) {
            return self.shape(name, first);
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
            return self.referred(name);
        }
        if let Some(several) = schema["oneOf"].as_array() {
            return self.one_of(several);
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or_default();
        match kind {
            "boolean" => Shape::Truth,
            "integer" => {
                let bound = |key: &str, default: i128| schema[key].as_i64().map_or(default, i128::from);
                Shape::Whole(bound("minimum", i128::from(i64::MIN)), bound("maximum", i128::from(u32::MAX)))
            }
            "object" => Shape::Node(self.kind(name, schema)),
            _ => Shape::Text(schema["format"].as_str().unwrap_or_default().to_owned()),
        }
    }

    fn referred(&mut self, name: &str) -> Shape {
        if let Some(made) = self.made.get(name) {
            return Shape::Node(Arc::clone(made));
        }
        let Some(schema) = self.kinds.get(name).cloned() else { return Shape::Text(String::new()) };
        let shape = self.shape(name, &schema);
        if let Shape::Node(kind) = &shape {
            self.made.insert(name.to_owned(), Arc::clone(kind));
        }
        shape
    }

    fn one_of(&mut self, several: &[Json]) -> Shape {
        let words: Vec<String> = several.iter().filter_map(|one| one["const"].as_str().map(str::to_owned)).collect();
        if !words.is_empty() {
            return Shape::Choice(words);
        }
        let named: Vec<Named> = several
            .iter()
            .filter_map(|one| one["properties"].as_object()?.iter().next())
            .map(|(name, inner)| (interned(name), self.shape("", inner)))
            .collect();
        // Names that are kinds of a value, not nodes: `(env)"X"`.
        let annotations = ["env", "file", "age", "hash", "scram"];
        if named.iter().all(|(name, _)| annotations.contains(name)) {
            return Shape::Annotated(named.into_iter().map(|(name, _)| name.to_owned()).collect());
        }
        Shape::OneOf(named)
    }
}

/// A value as an example has it: text, or a number as it is written.
fn example(value: &Json) -> Option<String> {
    value.as_str().map(str::to_owned).or_else(|| value.is_number().then(|| value.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_schema_is_the_grammar() {
        let spec = grammar(&schema());
        let Shape::Node(domain) = &spec.child("domain").unwrap().shape else { panic!("domain is a node") };
        assert!(spec.child("domain").unwrap().many);
        assert!(domain.property("like").is_some() && domain.child("like").is_none());
        let Shape::Node(dkim) = &domain.child("dkim").unwrap().shape else { panic!("dkim is a node") };
        let Shape::Node(key) = &dkim.child("key").unwrap().shape else { panic!("key is a node") };
        let arguments: Vec<_> =
            key.fields.iter().filter(|field| field.written == Written::Argument).map(|field| field.name).collect();
        assert_eq!(arguments, ["selector", "algorithm"]);
        assert!(matches!(&key.property("private").unwrap().shape, Shape::Annotated(kinds) if kinds.len() == 3));
        let Shape::Node(spf) = &domain.child("spf").unwrap().shape else { panic!("spf is a node") };
        assert_eq!(spf.sequence().unwrap().1.len(), 6);
        let Shape::Node(listen) = &(match &spec.child("host").unwrap().shape {
            Shape::Node(host) => host.child("listen").unwrap(),
            _ => panic!("host is a node"),
        })
        .shape
        else {
            panic!("listen is a node")
        };
        assert!(matches!(listen.child("smtp").unwrap().shape, Shape::Whole(1, 65535)));
        assert!(listen.child("pop3").unwrap().unserved.is_some());
    }
}
