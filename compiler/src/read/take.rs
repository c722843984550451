//! From walked nodes to the types of the spec, by serde along the grammar, without a form between.

use super::grammar::{Field, Kind, Shape, Written};
use super::parallel;
use super::tree::{Arguments, Node, Scalar, Value};
use crate::locate::Located;
use schema::spec::{Domain, Spec};
use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess};
use serde::de::{VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

/// How many domains are taken in one go.
const TOGETHER: usize = 256;

/// The spec that the walked nodes say; what the walk left out is not in it.
///
/// # Errors
/// serde's, where the schema and the types are at odds. It may hold what the spec says.
pub fn spec(located: &Located, language: &Kind) -> Result<Spec, Error> {
    let domains = language.find("domain", Written::Child);
    let many = match domains {
        Some((_, Field { many: true, shape: Shape::Node(kind), .. })) => Some(kind),
        _ => None,
    };
    let is_domain = |node: &Node<'_>| many.is_some() && node.name() == "domain";
    let mut rest = Entries { located, kind: language, entries: Vec::new(), at: 0 };
    rest.children(located.tops().filter(|node| !is_domain(node)));
    let mut spec = Spec::deserialize(Entered(rest))?;
    let Some(kind) = many else { return Ok(spec) };
    let nodes: Vec<Node<'_>> = located.tops().filter(|node| is_domain(node) && !located.is_left_out(*node)).collect();
    let chunks: Vec<&[Node<'_>]> = nodes.chunks(TOGETHER).collect();
    let taken = parallel::heavy(&chunks, |nodes| {
        nodes
            .iter()
            .map(|node| Domain::deserialize(Inner { located, node: *node, kind }))
            .collect::<Result<Vec<_>, _>>()
    });
    spec.domain.reserve_exact(nodes.len());
    for domains in taken {
        spec.domain.append(&mut domains?);
    }
    Ok(spec)
}

/// A value of a node, or a node, by the number of its field.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Value(Value<'a>),
    Node(Node<'a>),
}

/// The fields of a node, one after the other.
struct Entries<'a> {
    located: &'a Located,
    kind: &'a Kind,
    entries: Vec<(usize, Entry<'a>)>,
    at: usize,
}

impl<'a> Entries<'a> {
    fn of(located: &'a Located, node: Node<'a>, kind: &'a Kind) -> Entries<'a> {
        let mut fields = Entries { located, kind, entries: Vec::new(), at: 0 };
        let mut arguments = node.arguments();
        for at in &kind.arguments {
            let most = match kind.fields.get(*at).map(|field| field.written) {
                Some(Written::Arguments) => usize::MAX,
                _ => 1,
            };
            let values = arguments.by_ref().take(most).filter(|value| !located.is_value_left_out(node, *value));
            fields.entries.extend(values.map(|value| (*at, Entry::Value(value))));
        }
        for property in node.properties() {
            let value = property.value();
            if let Some((at, _)) = kind.find(property.name(), Written::Property)
                && !located.is_value_left_out(node, value)
            {
                fields.entries.push((at, Entry::Value(value)));
            }
        }
        fields.children(located.children(node));
        fields
    }

    fn children(&mut self, nodes: impl Iterator<Item = Node<'a>>) {
        let sequence = self.kind.sequence_at();
        for node in nodes.filter(|node| !self.located.is_left_out(*node)) {
            let of_sequence = || {
                let (at, _, several) = sequence?;
                several.iter().any(|(name, _)| *name == node.name()).then_some(at)
            };
            let found = self.kind.find(node.name(), Written::Child).map(|(at, _)| at);
            if let Some(at) = found.or_else(of_sequence) {
                self.entries.push((at, Entry::Node(node)));
            }
        }
        // Stable: what is written first stays first.
        self.entries.sort_by_key(|(at, _)| *at);
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(field) = self.entries.get(self.at).and_then(|(at, _)| self.kind.fields.get(*at)) else {
            return Ok(None);
        };
        seed.deserialize((*field.name).into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let rest = self.entries.get(self.at..).unwrap_or_default();
        let Some((at, first)) = rest.first() else { return Err(Error::custom("no field is left")) };
        let Some(field) = self.kind.fields.get(*at) else { return Err(Error::custom("no such field")) };
        let length = rest.iter().take_while(|(other, _)| other == at).count();
        self.at += length;
        if !field.many {
            return seed.deserialize(One { located: self.located, entry: *first, shape: &field.shape });
        }
        let entries = rest.get(..length).unwrap_or_default();
        seed.deserialize(Many { located: self.located, field, entries, arguments: None })
    }
}

/// Fields as a struct.
struct Entered<'a>(Entries<'a>);

impl<'de> Deserializer<'de> for Entered<'de> {
    type Error = Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self.0)
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// A node that has fields.
struct Inner<'a> {
    located: &'a Located,
    node: Node<'a>,
    kind: &'a Kind,
}

impl<'de> Deserializer<'de> for Inner<'de> {
    type Error = Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Entries::of(self.located, self.node, self.kind))
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// What a field holds that holds one.
struct One<'a> {
    located: &'a Located,
    entry: Entry<'a>,
    shape: &'a Shape,
}

impl<'a> One<'a> {
    /// The value that a node of one argument stands for; `None` for a bare node.
    fn value(&self) -> Option<Value<'a>> {
        match self.entry {
            Entry::Value(value) => Some(value),
            Entry::Node(node) => node.arguments().next(),
        }
    }

    fn several(&self) -> Option<(&'a str, Content<'a>)> {
        let (Entry::Node(node), Shape::OneOf(several)) = (self.entry, self.shape) else { return None };
        let (name, shape) = several.iter().find(|(name, _)| *name == node.name())?;
        Some((name, Content::One(One { located: self.located, entry: self.entry, shape })))
    }
}

impl<'de> Deserializer<'de> for One<'de> {
    type Error = Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if let (Entry::Node(node), Shape::Node(kind)) = (self.entry, self.shape) {
            return visitor.visit_map(Entries::of(self.located, node, kind));
        }
        if let Some((name, content)) = self.several() {
            return visitor.visit_map(Pair { name: Some(name), content: Some(content) });
        }
        let Some(value) = self.value() else { return visitor.visit_bool(true) };
        match (value.annotation(), value.scalar()) {
            (Some(name), _) => visitor.visit_map(Pair { name: Some(name), content: Some(Content::Bare(Bare(value))) }),
            (None, scalar) => plain(scalar, visitor),
        }
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if let Some((name, content)) = self.several() {
            return visitor.visit_enum(Variant { name, content });
        }
        let Some(value) = self.value() else { return Err(Error::custom("a word is missing")) };
        match (value.annotation(), value.scalar()) {
            (Some(name), _) => visitor.visit_enum(Variant { name, content: Content::Bare(Bare(value)) }),
            (None, Scalar::Text(word)) => visitor.visit_enum(Variant { name: word, content: Content::Nothing }),
            _ => Err(Error::custom("no word")),
        }
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

fn plain<'de, V: Visitor<'de>>(scalar: Scalar<'de>, visitor: V) -> Result<V::Value, Error> {
    match scalar {
        Scalar::Text(text) => visitor.visit_borrowed_str(text),
        Scalar::Whole(number) => match (u64::try_from(number), i64::try_from(number)) {
            (Ok(number), _) => visitor.visit_u64(number),
            (_, Ok(number)) => visitor.visit_i64(number),
            _ => visitor.visit_i128(number),
        },
        Scalar::Float(number) => visitor.visit_f64(number),
        Scalar::Truth(truth) => visitor.visit_bool(truth),
        Scalar::Null => visitor.visit_unit(),
    }
}

/// A value without its annotation.
struct Bare<'a>(Value<'a>);

impl<'de> Deserializer<'de> for Bare<'de> {
    type Error = Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        plain(self.0.scalar(), visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// What stands behind a name: one of several, or an annotation.
enum Content<'a> {
    Nothing,
    Bare(Bare<'a>),
    One(One<'a>),
}

impl<'a> Content<'a> {
    fn read<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Error> {
        match self {
            Content::Nothing => Err(Error::custom("needs a value")),
            Content::Bare(value) => seed.deserialize(value),
            Content::One(one) => seed.deserialize(one),
        }
    }
}

/// An object of one key.
struct Pair<'a> {
    name: Option<&'a str>,
    content: Option<Content<'a>>,
}

impl<'de> MapAccess<'de> for Pair<'de> {
    type Error = Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.name.take().map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.content.take().unwrap_or(Content::Nothing).read(seed)
    }
}

/// One of several, by name.
struct Variant<'a> {
    name: &'a str,
    content: Content<'a>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = Content<'de>;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'de>), Error> {
        Ok((seed.deserialize(IntoDeserializer::<Error>::into_deserializer(self.name))?, self.content))
    }
}

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = Error;
    fn unit_variant(self) -> Result<(), Error> {
        match self {
            Content::Nothing => Ok(()),
            // A bare node.
            Content::One(One { entry: Entry::Node(node), shape: Shape::Truth, .. }) if node.is_bare() => Ok(()),
            _ => Err(Error::custom("takes no value")),
        }
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        self.read(seed)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("holds one value"))
    }
    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        match self {
            Content::One(one) => one.deserialize_any(visitor),
            _ => Err(Error::custom("holds fields")),
        }
    }
}

/// What a field holds that holds several.
struct Many<'a, 'e> {
    located: &'a Located,
    field: &'a Field,
    entries: &'e [(usize, Entry<'a>)],
    /// The arguments of a node, each an item.
    arguments: Option<(Node<'a>, Arguments<'a>)>,
}

impl<'a> Many<'a, '_> {
    fn item(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some((node, arguments)) = &mut self.arguments {
                let (located, node) = (self.located, *node);
                if let Some(value) = arguments.find(|value| !located.is_value_left_out(node, *value)) {
                    return Some(Entry::Value(value));
                }
                self.arguments = None;
            }
            let ((_, first), rest) = self.entries.split_first()?;
            self.entries = rest;
            match first {
                Entry::Node(node) if !matches!(self.field.shape, Shape::Node(_) | Shape::OneOf(_)) => {
                    if matches!(self.field.shape, Shape::Truth) && node.arguments().next().is_none() {
                        return Some(*first);
                    }
                    self.arguments = Some((*node, node.arguments()));
                }
                whole => return Some(*whole),
            }
        }
    }
}

impl<'de> SeqAccess<'de> for Many<'de, '_> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(entry) = self.item() else { return Ok(None) };
        seed.deserialize(One { located: self.located, entry, shape: &self.field.shape }).map(Some)
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

impl<'de> Deserializer<'de> for Many<'de, '_> {
    type Error = Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
