//! What the schema says of a value beyond its shape: patterns and lengths. Each is held against that part of the schema
//! alone, which is compiled once.

use crate::code::Code;
use jsonschema::Validator;
use jsonschema::error::{ValidationError, ValidationErrorKind};
use serde_json::{Map, Value as Json};
use std::fmt;
use std::sync::Arc;

/// Keywords about one value.
pub const OF_VALUES: [&str; 6] =
    ["pattern", "minLength", "maxLength", "multipleOf", "exclusiveMinimum", "exclusiveMaximum"];
/// Keywords about a list of values.
pub const OF_LISTS: [&str; 6] = ["minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"];

/// A part of the schema.
pub struct Constraint {
    says: Json,
    validator: Option<Validator>,
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.says, f)
    }
}

impl Constraint {
    /// What a schema says of a value; `None` where nothing.
    pub fn of_value(schema: &Json) -> Option<Arc<Constraint>> {
        Constraint::of(schema, &OF_VALUES)
    }

    /// What a schema says of a list; `None` where nothing.
    pub fn of_list(schema: &Json) -> Option<Arc<Constraint>> {
        Constraint::of(schema, &OF_LISTS)
    }

    fn of(schema: &Json, keywords: &[&str]) -> Option<Arc<Constraint>> {
        let has = |keyword: &&str| Some(((*keyword).to_owned(), schema.get(*keyword)?.clone()));
        let says: Map<String, Json> = keywords.iter().filter_map(has).collect();
        if says.is_empty() {
            return None;
        }
        let says = Json::Object(says);
        let validator = jsonschema::validator_for(&says).ok();
        Some(Arc::new(Constraint { says, validator }))
    }

    /// What is wrong with a value, or list.
    pub fn misfits(&self, value: &Json) -> Vec<(Code, String)> {
        match &self.validator {
            Some(validator) if validator.is_valid(value) => Vec::new(),
            Some(validator) => validator.iter_errors(value).map(|error| misfit(&error)).collect(),
            None => vec![(Code::NotDecoded, format!("the schema cannot be used: {}", self.says))],
        }
    }
}

fn misfit(error: &ValidationError<'_>) -> (Code, String) {
    match error.kind() {
        ValidationErrorKind::Pattern { pattern } => (Code::WrongForm, format!("does not have the form `{pattern}`")),
        ValidationErrorKind::MinItems { limit } => (Code::NotGiven, format!("needs at least {limit} of them")),
        ValidationErrorKind::MaxItems { limit } => (Code::OutOfBounds, format!("takes at most {limit} of them")),
        ValidationErrorKind::MinLength { limit } => (Code::WrongForm, format!("must have at least {limit} characters")),
        ValidationErrorKind::MaxLength { limit } => (Code::WrongForm, format!("must have at most {limit} characters")),
        // The value may be a secret, so it is masked.
        _ => (Code::WrongForm, error.masked().to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::read::grammar::{Shape, schema};

    /// What says how a schema is to be read, or is held by the walk and by serde: shapes.
    const SHAPES: [&str; 19] = [
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "anyOf",
        "const",
        "default",
        "description",
        "enum",
        "examples",
        "format",
        "items",
        "oneOf",
        "properties",
        "required",
        "title",
        "type",
        "minimum",
        "maximum",
    ];

    /// Every keyword of the schema is one that is held, where it stands.
    fn unheld(schema: &Json, at: &str, wrong: &mut Vec<String>) {
        let Some(object) = schema.as_object() else { return };
        let array = object.get("type").is_some_and(|kind| kind == "array");
        let integer = object.get("type").is_some_and(|kind| kind == "integer" || kind[0] == "integer");
        for (keyword, value) in object {
            let fine = match keyword.as_str() {
                "minimum" | "maximum" => integer && (value.is_i64() || value.is_u64()),
                keyword if OF_LISTS.contains(&keyword) => array && !at.is_empty(),
                keyword if OF_VALUES.contains(&keyword) => !array && !at.contains("/oneOf"),
                keyword => SHAPES.contains(&keyword) || keyword.starts_with("x-"),
            };
            if !fine {
                wrong.push(format!("{at}/{keyword}: {value}"));
            }
            match keyword.as_str() {
                "properties" | "$defs" => {
                    let inner = value.as_object().into_iter().flatten();
                    inner.for_each(|(name, one)| unheld(one, &format!("{at}/{keyword}/{name}"), wrong));
                }
                "items" => unheld(value, &format!("{at}/items"), wrong),
                "anyOf" | "oneOf" => {
                    value
                        .as_array()
                        .into_iter()
                        .flatten()
                        .for_each(|one| unheld(one, &format!("{at}/{keyword}"), wrong));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn every_keyword_of_the_schema_is_held() {
        let mut wrong = Vec::new();
        unheld(&schema(), "", &mut wrong);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// And the grammar has taken each of them in.
    #[test]
    fn the_grammar_holds_as_many_constraints_as_the_schema() {
        fn count(schema: &Json, keywords: &[&str]) -> usize {
            match schema {
                Json::Object(object) => {
                    usize::from(keywords.iter().any(|keyword| object.contains_key(*keyword)))
                        + object.values().map(|value| count(value, keywords)).sum::<usize>()
                }
                Json::Array(items) => items.iter().map(|value| count(value, keywords)).sum(),
                _ => 0,
            }
        }
        let mut seen = std::collections::HashSet::new();
        let mut open = vec![std::sync::Arc::clone(crate::read::grammar::language())];
        let (mut values, mut lists) = (0, 0);
        while let Some(kind) = open.pop() {
            if !seen.insert(Arc::as_ptr(&kind)) {
                continue;
            }
            for field in &kind.fields {
                values += usize::from(field.item.is_some());
                lists += usize::from(field.list.is_some());
                let several = match &field.shape {
                    Shape::OneOf(several) => several.iter().map(|(_, shape)| shape).collect(),
                    shape => vec![shape],
                };
                let kinds = several.into_iter().filter_map(|shape| match shape {
                    Shape::Node(kind) => Some(Arc::clone(kind)),
                    _ => None,
                });
                open.extend(kinds);
            }
        }
        assert_eq!((values, lists), (count(&schema(), &OF_VALUES), count(&schema(), &OF_LISTS)));
        assert!(values > 0 && lists > 0);
    }

    #[test]
    fn misfits_have_their_codes() {
        let list = Constraint::of_list(&serde_json::json!({"minItems": 1, "type": "array"})).unwrap();
        assert_eq!(list.misfits(&serde_json::json!([]))[0].0, Code::NotGiven);
        let value = Constraint::of_value(&serde_json::json!({"pattern": "^a$"})).unwrap();
        assert!(value.misfits(&"a".into()).is_empty());
        assert_eq!(value.misfits(&"b".into())[0].0, Code::WrongForm);
    }
}
