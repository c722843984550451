//! What the operator wrote: one struct per KDL node, names not yet bound, defaults not yet filled.
//!
//! Docstrings here are the reference: they become descriptions in `spec.schema.json` and, from there,
//! the text that an editor shows.

mod allow;
mod authentication;
mod dns;
mod domain;
mod host;
mod people;
mod server;
mod store;

pub use allow::*;
pub use authentication::*;
pub use dns::*;
pub use domain::*;
pub use host::*;
pub use people::*;
pub use server::*;
pub use store::*;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The newest version of the language.
pub const LANGUAGE: u32 = 1;

/// A mail platform: hosts, stores, domains and people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Spec {
    /// The language's version; the first node of `mail.kdl`.
    #[schemars(range(min = 1, max = 1))]
    pub waybill: Option<u32>,
    /// Other files, relative to this one and inside the spec's folder; `*` and `?` match within a folder's names.
    pub include: Vec<String>,
    /// The machines that serve mail.
    pub host: Vec<Host>,
    /// The databases.
    pub store: Vec<Store>,
    /// Which store keeps what.
    pub storage: Option<Storage>,
    /// Where zones are published.
    pub dns: Vec<Dns>,
    /// Where `waybill apply` notes what it wrote.
    pub state: Option<State>,
    /// The mail domains.
    pub domain: Vec<Domain>,
    /// Where people come from, if not from the spec.
    pub directory: Vec<Directory>,
    /// Which DNS servers to ask in place of the system's.
    pub resolver: Option<Resolver>,
    /// Certificate authorities beside the system's.
    pub trust: Option<Trust>,
    /// What every node of a kind starts from.
    pub defaults: Option<Defaults>,
    /// How much of anything one peer or message may use.
    pub limits: Option<Limits>,
    /// When mail that could not be delivered is tried again.
    pub queue: Option<Queue>,
    /// Findings that are borne for a while.
    pub allow: Vec<Allow>,
    /// How bad kinds of findings are.
    pub level: Vec<Level>,
}

fn ip_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "default": [], "items": {"type": "string", "format": "ip-address"}})
}

fn socket_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "default": [], "items": {"type": "string", "format": "socket-address"}})
}
