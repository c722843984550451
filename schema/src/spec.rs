//! What the operator wrote: one struct per KDL node, names not yet bound, defaults not yet filled.
//!
//! Docstrings here are the reference: they become descriptions in `spec.schema.json` and, from there,
//! the text that an editor shows.

mod authentication;
mod dns;
mod domain;
mod host;
mod people;
mod secrets;
mod server;
mod store;

pub use authentication::*;
pub use dns::*;
pub use domain::*;
pub use host::*;
pub use people::*;
pub use secrets::*;
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
    /// To whom the spec's `(age)` secrets are encrypted.
    pub secrets: Option<Secrets>,
    /// Sieve scripts for everybody, and what scripts may do (RFC 5228).
    #[schemars(extend("x-unserved" = "Sieve"))]
    pub sieve: Option<Sieve>,
}

/// Sieve scripts for everybody, and what scripts may do (RFC 5228).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Sieve {
    /// Scripts that run before a person's own, in this order, files of the spec. Left out: none.
    pub before: Vec<String>,
    /// Scripts that run after a person's own, where that left the mail alone. Left out: none.
    pub after: Vec<String>,
    /// Extensions that people's scripts may not use. Left out: none.
    pub without: Vec<String>,
}

fn ip_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "default": [], "items": {"type": "string", "format": "ip-address"}})
}

fn socket_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "default": [], "items": {"type": "string", "format": "socket-address"}})
}
