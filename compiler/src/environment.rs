//! Environments: a spec with one of its overlays laid over it. What is merged is the spec's JSON form along the grammar,
//! so a new node of the language needs no code here; where each part was written stays known by [`Moves`].

mod merge;
pub mod show;

use crate::code::Code;
use crate::diagnostic::{Path, Report, Step, nearest};
use crate::locate::{Located, Moves};
use crate::read::grammar::{self, Kind};
use merge::{identity, named, object};
use schema::spec::{Environment, Spec, Without};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// The spec as it is in an environment; places in `located` follow. Where there is no such environment, that is told
/// and the spec stays as it is.
pub fn overlaid(spec: Spec, name: &str, located: &mut Located, report: &mut Report) -> Spec {
    let Some(at) = spec.environment.iter().position(|environment| environment.name == name) else {
        let known = spec.environment.iter().map(|environment| environment.name.as_str());
        let help = match nearest(name, known.clone()) {
            Some(near) => near,
            None if spec.environment.is_empty() => format!("write `environment \"{}\" {{ … }}`", name.escape_debug()),
            None => format!("known here: `{}`", known.take(16).collect::<Vec<_>>().join("`, `")),
        };
        let says = format!("the spec has no environment `{}`", name.escape_debug());
        report.find(Code::UnknownEnvironment, Path::root(), says).help(help);
        return spec;
    };
    let language = grammar::language();
    let Some(environment) = spec.environment.get(at) else { return spec };
    let path = Path::root().field("environment").item(at);
    let over = json_object(environment);
    let mut base = json_object(&spec);
    let mut moves = Moves::default();
    let mut taking = Taking { language, base: &mut base, moves: &mut moves, report };
    taking.away(environment, &path);
    let Some(own) = overlay_kind(language) else { return spec };
    object(&own, (&mut base, &mut moves, &Path::root()), (over, &path));
    match Spec::deserialize(Json::Object(base)) {
        Ok(merged) => {
            located.moves = moves;
            merged
        }
        // What each side may be, both together may be too.
        Err(_) => {
            report.find(Code::NotDecoded, path, "this environment cannot be laid over the spec");
            spec
        }
    }
}

fn json_object<T: serde::Serialize>(value: &T) -> Map<String, Json> {
    match serde_json::to_value(value) {
        Ok(Json::Object(map)) => map,
        _ => Map::new(),
    }
}

/// The kind of node that `environment` is, without what is its own.
fn overlay_kind(language: &Kind) -> Option<Kind> {
    let grammar::Shape::Node(kind) = &language.child("environment")?.shape else { return None };
    Some(kind.without(&["name", "without"]))
}

/// Takes away what an environment is without.
struct Taking<'a> {
    language: &'a Arc<Kind>,
    base: &'a mut Map<String, Json>,
    moves: &'a mut Moves,
    report: &'a mut Report,
}

impl Taking<'_> {
    fn away(&mut self, environment: &Environment, at: &Path) {
        let Some(Without { host, domain, address, node }) = &environment.without else { return };
        let at = at.field("without");
        let hosts = host.iter().enumerate().map(|(n, name)| ("host", name.to_string(), at.field("host").item(n)));
        let domains =
            domain.iter().enumerate().map(|(n, name)| ("domain", name.to_string(), at.field("domain").item(n)));
        self.named(hosts.chain(domains).collect());
        self.addresses(address, &at.field("address"));
        for (n, one) in node.iter().enumerate() {
            let at = at.field("node").item(n);
            match &one.name {
                Some(name) => match self.language.named.get_key_value(one.kind.as_str()) {
                    Some((kind, _)) => self.named(vec![(kind, name.clone(), at)]),
                    None => self.unknown(&one.kind, name, at),
                },
                None => self.whole(&one.kind, at),
            }
        }
    }

    fn missing(&mut self, says: String, at: Path, near: Option<String>) {
        let help = near.unwrap_or_else(|| "take it out".to_owned());
        self.report.find(Code::NothingWithout, at, says).help(help);
    }

    fn unknown(&mut self, kind: &str, name: &str, at: Path) {
        self.missing(format!("there is no node {kind} `{name}`"), at, None);
    }

    /// Nodes of a kind and a name.
    fn named(&mut self, wanted: Vec<(&'static str, String, Path)>) {
        let kinds: BTreeSet<&'static str> = wanted.iter().map(|(kind, ..)| *kind).collect();
        for kind in kinds {
            let names: Vec<(&String, &Path)> =
                wanted.iter().filter(|(of, ..)| *of == kind).map(|(_, name, at)| (name, at)).collect();
            let field = self.language.child(kind).filter(|field| field.many).and_then(named);
            let (Some(inner), Some(Json::Array(items))) = (field, self.base.get_mut(kind)) else {
                for (name, at) in names {
                    self.unknown(kind, name, at.clone());
                }
                continue;
            };
            let gone: HashSet<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
            let is = |item: &Json| identity(&inner, item).map(|(name, _)| name);
            let known: HashSet<String> = items.iter().filter_map(is).collect();
            let kept = std::mem::take(items).into_iter().enumerate();
            let kept = kept.filter(|(_, item)| !is(item).is_some_and(|name| gone.contains(name.as_str())));
            let kept: Vec<(usize, Json)> = kept.collect();
            let path = Path::root().field(kind);
            let moved = self.moves.inner.entry(Step::Field(kind)).or_default();
            merge::settle(items, kept, moved, &path);
            let absent = names.into_iter().filter(|(name, _)| !known.contains(*name));
            for (name, at) in absent.collect::<Vec<_>>() {
                let near = nearest(name, known.iter().map(String::as_str));
                self.missing(format!("there is no {kind} `{name}` to be without"), at.clone(), near);
            }
        }
    }

    /// A node without a name, or all of a kind.
    fn whole(&mut self, kind: &str, at: Path) {
        let shown = kind.escape_debug();
        if self.language.child(kind).is_none() || matches!(kind, "waybill" | "include" | "environment") {
            let near = nearest(kind, self.language.children());
            return self.missing(format!("`{shown}` is no node that can be left out"), at, near);
        }
        let there = match self.base.get_mut(kind) {
            Some(Json::Array(items)) => !std::mem::take(items).is_empty(),
            Some(value) => !std::mem::take(value).is_null(),
            None => false,
        };
        if !there {
            self.missing(format!("there is no `{shown}` to be without"), at, None);
        }
    }

    /// People, by their addresses.
    fn addresses(&mut self, addresses: &[schema::name::Address], at: &Path) {
        for (n, address) in addresses.iter().enumerate() {
            let domains = self.base.get_mut("domain").and_then(Json::as_array_mut);
            let domain = address.domain.as_str();
            let found = domains.into_iter().flatten().enumerate().find(|(_, one)| one["name"] == domain);
            let mut there = false;
            if let Some((d, domain)) = found {
                for kind in ["account", "alias", "group", "list"] {
                    let Some(Json::Array(items)) = domain.get_mut(kind) else { continue };
                    let before = items.len();
                    let kept = std::mem::take(items).into_iter().enumerate();
                    let kept: Vec<(usize, Json)> =
                        kept.filter(|(_, one)| one["local"] != address.local.as_str()).collect();
                    if kept.len() == before {
                        *items = kept.into_iter().map(|(_, one)| one).collect();
                        continue;
                    }
                    there = true;
                    // Where the domain's own place is by now.
                    let domains = self.moves.inner.entry(Step::Field("domain")).or_default();
                    let one = domains.inner.entry(Step::Item(d)).or_default();
                    let path = one.to.clone().unwrap_or_else(|| Path::root().field("domain").item(d)).field(kind);
                    let moved = one.inner.entry(Step::Field(kind)).or_default();
                    merge::settle(items, kept, moved, &path);
                }
            }
            if !there {
                self.missing(format!("nobody has the address `{address}`"), at.item(n), None);
            }
        }
    }
}
