//! A spec as it is in the end, as one KDL file: overlay, `like`, `defaults` and what is built in, each value with where
//! it comes from in a comment at its line. Secrets stay references; password hashes are hidden.

mod print;

use super::json_object;
use super::merge::{given, object};
use crate::diagnostic::Path;
use crate::diagnostic::Step;
use crate::locate::{Located, Moves};
use crate::pipeline::Compiled;
use crate::read::grammar::{self, Kind, Shape};
use crate::resolve::Resolved;
use schema::spec::Spec;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, HashMap};

/// Nodes of a domain that are taken together from all layers, value by value; all others are the nearest layer's.
const BY_VALUE: [&str; 3] = ["dns", "dmarc", "mta-sts"];
/// What the first node of the file is not repeated for.
const NOT_SHOWN: [&str; 2] = ["environment", "include"];

/// The merged spec; what `located` was before is what comments name. `None` where it could not be bound.
pub fn merged(compiled: &Compiled) -> Option<String> {
    let resolved = compiled.resolved.as_ref()?;
    let language = grammar::language();
    let mut whole =
        Whole { spec: json_object(&compiled.spec), moves: Moves::default(), built_in: BTreeMap::new(), language };
    whole.layers(&compiled.spec);
    whole.defaults(resolved);
    NOT_SHOWN.iter().for_each(|name| drop(whole.spec.remove(*name)));
    let origins =
        Origins { located: &compiled.located, moves: &whole.moves, built_in: &whole.built_in, spec: &compiled.spec };
    let text = print::print(language, &whole.spec, &origins);
    // Its own layout is that of `waybill fmt` but for what stands on one line.
    Some(crate::format::format(&text).unwrap_or(text))
}

/// A spec while everything that it takes from elsewhere is filled in.
struct Whole<'a> {
    spec: Map<String, Json>,
    /// Where what was filled in was written.
    moves: Moves,
    /// What is built in, by its path, and the rule that it comes from.
    built_in: BTreeMap<Path, &'static str>,
    language: &'a Kind,
}

impl Whole<'_> {
    fn kind(&self, name: &str) -> Option<Kind> {
        match &self.language.child(name)?.shape {
            Shape::Node(kind) => Some(Kind::clone(kind)),
            _ => None,
        }
    }

    /// What domains take from each other and from `defaults`.
    fn layers(&mut self, spec: &Spec) {
        let Some(domain) = self.kind("domain") else { return };
        let common = self.kind("defaults").and_then(|kind| match &kind.child("domain")?.shape {
            Shape::Node(kind) => Some(Kind::clone(kind)),
            _ => None,
        });
        let Some(common) = common else { return };
        let by_name: HashMap<&str, usize> =
            spec.domain.iter().enumerate().map(|(at, domain)| (domain.name.as_str(), at)).collect();
        let own = match self.spec.get("domain") {
            Some(Json::Array(domains)) => domains.clone(),
            _ => return,
        };
        let defaults = self.spec.get("defaults").and_then(|defaults| defaults.get("domain")).cloned();
        let defaults_at = Path::root().field("defaults").field("domain");
        for (at, one) in spec.domain.iter().enumerate() {
            let mut chain = vec![at];
            let mut like = one.like.as_ref();
            while let Some(next) = like.and_then(|name| by_name.get(name.as_str())).filter(|next| !chain.contains(next))
            {
                chain.push(*next);
                like = spec.domain.get(*next).and_then(|domain| domain.like.as_ref());
            }
            // From the farthest layer to the nearest.
            let mut made: Map<String, Json> = Map::new();
            let mut moves = Moves::default();
            let far = defaults.as_ref().map(|value| (value, defaults_at.clone()));
            let near =
                chain.iter().rev().filter_map(|at| Some((own.get(*at)?, Path::root().field("domain").item(*at))));
            for (layer, layer_at) in far.into_iter().chain(near) {
                self.lay(&common, (&mut made, &mut moves), (layer, &layer_at));
            }
            self.take(at, &domain, (made, moves));
        }
        if let Some(Json::Object(defaults)) = self.spec.get_mut("defaults") {
            defaults.remove("domain");
            if defaults.values().all(Json::is_null) {
                self.spec.remove("defaults");
            }
        }
    }

    fn lay(&self, common: &Kind, (made, moves): (&mut Map<String, Json>, &mut Moves), (layer, at): (&Json, &Path)) {
        for field in &common.fields {
            let Some(value) = layer.get(field.name).filter(|value| given(field, value)) else { continue };
            let at = at.field(field.name);
            let moved = moves.inner.entry(Step::Field(field.name)).or_default();
            let both = (value, made.get_mut(field.name), &field.shape);
            match both {
                (Json::Object(over), Some(Json::Object(there)), Shape::Node(kind))
                    if BY_VALUE.contains(&field.name) =>
                {
                    let from = moved.to.clone().unwrap_or_default();
                    object(kind, (there, moved, &from), (over.clone(), &at));
                }
                (value, ..) => {
                    *moved = Moves::to(at);
                    made.insert(field.name.to_string(), value.clone());
                }
            }
        }
    }

    /// Puts what the layers make of a domain in its place.
    fn take(&mut self, at: usize, kind: &Kind, (made, moves): (Map<String, Json>, Moves)) {
        let Some(domain) = self.spec.get_mut("domain").and_then(|all| all.get_mut(at)).and_then(Json::as_object_mut)
        else {
            return;
        };
        domain.remove("like");
        let moved = self.moves.inner.entry(Step::Field("domain")).or_default();
        let moved = moved.inner.entry(Step::Item(at)).or_default();
        for (name, value) in made {
            let Some((known, _)) = kind.named.get_key_value(name.as_str()) else { continue };
            let step = Step::Field(known);
            if let Some(moves) = moves.inner.get(&step) {
                moved.inner.insert(step, moves.clone());
            }
            domain.insert(name, value);
        }
    }

    /// Fills in what is built in.
    fn defaults(&mut self, resolved: &Resolved) {
        let limits = serde_json::to_value(&resolved.limits).unwrap_or_default();
        let queue = serde_json::to_value(&resolved.queue).unwrap_or_default();
        let only = |of: &Json, name: &str| json!({ name: of.get(name) });
        self.fill(&["limits"], &only(&limits, "message-size"), "RFC 5321 §4.5.3.1.7");
        self.fill(&["limits"], &only(&limits, "recipients"), "RFC 5321 §4.5.3.1.8");
        self.fill(&["limits"], &limits, "Waybill");
        self.fill(&["queue"], &only(&queue, "expire"), "RFC 5321 §4.5.4.1");
        self.fill(&["queue"], &queue, "Waybill");
        let places: HashMap<String, usize> = match self.spec.get("domain") {
            Some(Json::Array(all)) => {
                let named = all.iter().enumerate();
                named.filter_map(|(at, one)| Some((one.get("name")?.as_str()?.to_owned(), at))).collect()
            }
            _ => HashMap::new(),
        };
        for domain in &resolved.domains {
            let Some(at) = places.get(domain.name.as_str()) else { continue };
            let at = at.to_string();
            let hosts: Vec<Json> = resolved
                .hosts_of(domain)
                .map(|(priority, host)| json!({"name": host.name, "priority": priority}))
                .collect();
            self.fill(&["domain", &at], &json!({ "host": hosts }), "the spec's one host");
            let report = json!({"policy": domain.dmarc.policy, "report": domain.dmarc.report});
            self.fill(&["domain", &at, "dmarc"], &report, "RFC 9989 §4.7");
            self.fill(&["domain", &at, "spf"], &json!({"all": domain.spf.all}), "RFC 7208 §5.1");
            self.fill(&["domain", &at, "dns"], &json!({"ttl": domain.ttl}), "Waybill");
            self.fill(&["domain", &at], &json!({"tls-report": domain.tls_report}), "RFC 8460 §3");
            if let Some(given) = &domain.mta_sts {
                let policy = json!({"mode": given.mode, "max-age": given.max_age});
                self.fill(&["domain", &at, "mta-sts"], &policy, "RFC 8461 §3.2");
            }
        }
        for (at, host) in resolved.hosts.iter().enumerate() {
            let mut listen = Map::new();
            for listener in &host.listeners {
                let ports = listen.entry(listener.service.name()).or_insert_with(|| json!([]));
                let port = json!(listener.address.port());
                if let Json::Array(ports) = ports
                    && !ports.contains(&port)
                {
                    ports.push(port);
                }
            }
            let there = self.spec.get("host").and_then(|all| all.get(at)).and_then(|host| host.get("listen"));
            if there.is_none_or(Json::is_null) {
                self.fill(&["host", &at.to_string(), "listen"], &Json::Object(listen), "RFC 8314 §3");
            }
        }
    }

    /// Puts fields into a node where it does not give them; the node is made where it is not there.
    fn fill(&mut self, way: &[&str], values: &Json, rule: &'static str) {
        let Json::Object(values) = values else { return };
        let mut path = Path::root();
        let mut node = &mut self.spec;
        let mut steps = way.iter().peekable();
        while let Some(name) = steps.next() {
            path = path.named(name);
            let slot = node.entry(*name).or_insert(Json::Null);
            let slot = match steps.peek().and_then(|at| at.parse::<usize>().ok()) {
                Some(at) if slot.is_array() => {
                    steps.next();
                    path = path.item(at);
                    match slot.get_mut(at) {
                        Some(slot) => slot,
                        None => return,
                    }
                }
                _ => slot,
            };
            if slot.is_null() {
                *slot = Json::Object(Map::new());
                self.built_in.insert(path.clone(), rule);
            }
            match slot {
                Json::Object(map) => node = map,
                _ => return,
            }
        }
        for (name, value) in values {
            let empty =
                node.get(name).is_none_or(|there| there.is_null() || there.as_array().is_some_and(Vec::is_empty));
            if empty && !value.is_null() {
                node.insert(name.clone(), value.clone());
                self.built_in.insert(path.named(name), rule);
            }
        }
    }
}

/// Where values come from.
struct Origins<'a> {
    located: &'a Located,
    moves: &'a Moves,
    built_in: &'a BTreeMap<Path, &'static str>,
    spec: &'a Spec,
}

impl Origins<'_> {
    /// `domains/a.kdl:12`, with the way by which the value came here where it is not written here.
    fn of(&self, path: &Path) -> String {
        let mut up = Path::root();
        for step in path.steps() {
            up = up.then(*step);
            if let Some(rule) = self.built_in.get(&up) {
                return format!("default, {rule}");
            }
        }
        let merged = self.moves.follow(path).unwrap_or_else(|| path.clone());
        let written = self.located.moves.follow(&merged).unwrap_or_else(|| merged.clone());
        let place = self.located.place(&merged);
        let Some(file) = self.located.file(&place) else { return "default".to_owned() };
        let at = format!("{}:{}", crate::diagnostic::printable(&file.name), file.line_column(place.span.start).0);
        match self.way(path, &merged, &written) {
            Some(way) => format!("{way}, {at}"),
            None => at,
        }
    }

    fn way(&self, path: &Path, merged: &Path, written: &Path) -> Option<String> {
        let head = |path: &Path| match path.steps() {
            [Step::Field(name), Step::Item(at), ..] => Some((*name, *at)),
            [Step::Field(name), ..] => Some((*name, 0)),
            _ => None,
        };
        if let Some((name, at)) = head(written).filter(|(name, _)| *name == "environment") {
            let environment = self.spec.environment.get(at).map_or(name, |one| one.name.as_str());
            return Some(format!("environment {}", environment.escape_debug()));
        }
        let (here, there) = (head(path), head(merged));
        if here == there {
            return None;
        }
        let (name, at) = there?;
        let like = || self.spec.domain.get(at).map(|domain| format!("like {}", domain.name));
        if name == "domain" { like() } else { Some(name.to_owned()) }
    }
}
