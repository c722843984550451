//! Record sets in a state's JSON: read straight into what they mean, since ten thousand zones have two hundred thousand
//! values, and none of their texts is needed.

use super::WrittenSet;
use crate::plan::{Set, SetKey, Sets};
use crate::zone::{Kind, Rdata, master};
use schema::name::DomainName;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// Writes sets, by name and type.
pub fn serialize<S: Serializer>(sets: &Sets, serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(sets.len()))?;
    for (key, set) in sets {
        list.serialize_element(&WrittenSet::of(key, set))?;
    }
    list.end()
}

/// Reads sets.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sets, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Sets;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("record sets")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Sets, A::Error> {
            let mut sets = Vec::new();
            while let Some(One(key, set)) = list.next_element()? {
                sets.push((key, set));
            }
            // In order already, as they were written: the tree is built from below.
            Ok(sets.into_iter().collect())
        }
    }
    deserializer.deserialize_seq(List)
}

/// A set.
struct One(SetKey, Set);

/// A member of it.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Member {
    Name,
    Type,
    Ttl,
    Values,
}

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<One, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = One;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record set")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<One, A::Error> {
                let (mut name, mut kind, mut ttl, mut values) = (None::<DomainName>, None, None, None);
                while let Some(member) = members.next_key()? {
                    match member {
                        Member::Name => name = Some(members.next_value()?),
                        Member::Type => kind = Some(members.next_value_seed(Type)?),
                        Member::Ttl => ttl = Some(members.next_value()?),
                        // As it is written, the type stands before the values that it gives a meaning.
                        Member::Values => {
                            let kind = kind.ok_or_else(|| A::Error::custom("`values` stand before `type`"))?;
                            values = Some(members.next_value_seed(Values(kind))?);
                        }
                    }
                }
                let lacks = |what: &'static str| move || A::Error::missing_field(what);
                let (name, kind) = (name.ok_or_else(lacks("name"))?, kind.ok_or_else(lacks("type"))?);
                let set = Set::of(ttl.ok_or_else(lacks("ttl"))?, values.ok_or_else(lacks("values"))?);
                let set = set.ok_or_else(|| A::Error::custom(format!("`{name} {}` has no values", kind.name())))?;
                Ok(One(SetKey { name, kind }, set))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A type, by its name.
struct Type;

impl<'de> DeserializeSeed<'de> for Type {
    type Value = Kind;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Type {
    type Value = Kind;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record type")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Kind, E> {
        Kind::named(text).ok_or_else(|| E::custom(format!("no type is called `{}`", text.escape_debug())))
    }
}

/// Values of a type, as master files have them.
#[derive(Clone, Copy)]
struct Values(Kind);

impl<'de> DeserializeSeed<'de> for Values {
    type Value = Vec<Rdata>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Rdata>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Values {
    type Value = Vec<Rdata>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("values as master files have them")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Rdata>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Value(self.0))? {
            values.push(value);
        }
        Ok(values)
    }
}

/// One of them.
struct Value(Kind);

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Rdata;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Rdata, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Value {
    type Value = Rdata;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value as master files have it")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Rdata, E> {
        let value = master::value(self.0, text);
        value.ok_or_else(|| E::custom(format!("`{}` is no value of {}", text.escape_debug(), self.0.name())))
    }
}
