//! What the operator wrote: one struct per KDL node, names not yet bound, defaults not yet filled.
//!
//! Docstrings here are the reference: they become descriptions in `spec.schema.json` and, from there,
//! the text that an editor shows.

mod allow;
mod authentication;
mod directory;
mod dns;
mod domain;
mod environment;
mod expect;
mod filter;
mod host;
mod inbound;
mod login;
mod mailbox;
mod outbound;
mod people;
mod policy;
mod secrets;
mod server;
mod store;
mod telemetry;

pub use allow::*;
pub use authentication::*;
pub use directory::*;
pub use dns::*;
pub use domain::*;
pub use environment::*;
pub use expect::*;
pub use filter::*;
pub use host::*;
pub use inbound::*;
pub use login::*;
pub use mailbox::*;
pub use outbound::*;
pub use people::*;
pub use policy::*;
pub use secrets::*;
pub use server::*;
pub use store::*;
pub use telemetry::*;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The newest version of the language.
pub const LANGUAGE: u32 = 1;

/// A mail platform: hosts, stores, domains and people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Spec {
    /// The language's version; the first node of `mail.kdl`, and always there.
    #[schemars(range(min = 1, max = 1), extend("examples" = [1]))]
    pub waybill: Option<u32>,
    /// Other files, relative to this one and inside the spec's folder; `*` and `?` match within a folder's names.
    #[schemars(extend("examples" = [["domains/*.kdl"]]))]
    pub include: Vec<String>,
    /// The machines that serve mail.
    pub host: Vec<Host>,
    /// The databases. Left out: RocksDB in the folder `data` beside the spec, with a warning.
    pub store: Vec<Store>,
    /// Which store keeps what. Left out: the one store keeps everything.
    pub storage: Option<Storage>,
    /// Where zones are published.
    pub dns: Vec<Dns>,
    /// Where `waybill apply` notes what it wrote.
    pub state: Option<State>,
    /// The mail domains.
    pub domain: Vec<Domain>,
    /// Where people come from, if not from the spec.
    pub directory: Vec<Directory>,
    /// Which DNS servers to ask. Left out: the system's.
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
    /// What is asked of mail from other servers.
    #[schemars(extend("x-unserved" = "settings of incoming mail"))]
    pub inbound: Option<Inbound>,
    /// What our own people may send.
    #[schemars(extend("x-unserved" = "settings of submission"))]
    pub submission: Option<Submission>,
    /// How every host brings mail to other servers.
    #[schemars(extend("x-unserved" = "settings of outgoing mail"))]
    pub outbound: Option<OutboundPolicy>,
    /// Other ways than by MX, in the order written.
    #[schemars(extend("x-unserved" = "routes"))]
    pub route: Vec<Route>,
    /// Mail filters, in the order written.
    #[schemars(extend("x-unserved" = "milters"))]
    pub milter: Vec<Milter>,
    /// HTTP services that are asked about mail, in the order written.
    #[schemars(extend("x-unserved" = "hooks"))]
    pub hook: Vec<Hook>,
    /// Sieve scripts for everybody, and what scripts may do (RFC 5228).
    #[schemars(extend("x-unserved" = "Sieve"))]
    pub sieve: Option<Sieve>,
    /// How spam is told from mail.
    #[schemars(extend("x-unserved" = "the spam filter"))]
    pub spam: Option<Spam>,
    /// Ordered rules for mail, in the order written.
    #[schemars(extend("x-unserved" = "policies"))]
    pub policy: Vec<Policy>,
    /// Reports about mail, to others and from others.
    #[schemars(extend("x-unserved" = "reports"))]
    pub reports: Option<Reports>,
    /// How people prove who they are.
    pub login: Option<Login>,
    /// The server as an OAuth authorization server.
    #[schemars(extend("x-unserved" = "OAuth"))]
    pub oauth: Option<OAuth>,
    /// Sets of things that somebody may do.
    pub role: Vec<Role>,
    /// Those who look after the server.
    #[schemars(extend("x-unserved" = "administration"))]
    pub admin: Vec<Admin>,
    /// Programs that use the API.
    pub api_key: Vec<ApiKey>,
    /// What is written to the log.
    #[schemars(extend("x-unserved" = "settings of the log"))]
    pub log: Option<Log>,
    /// Numbers about the server.
    #[schemars(extend("x-unserved" = "settings of metrics"))]
    pub metrics: Option<Metrics>,
    /// Traces of mail's way through the server.
    #[schemars(extend("x-unserved" = "traces"))]
    pub tracing: Option<Tracing>,
    /// HTTP services that are told what happens.
    #[schemars(extend("x-unserved" = "webhooks"))]
    pub webhook: Vec<Webhook>,
    /// What should become of some mail.
    #[schemars(extend("x-unserved" = "`waybilld expect`"))]
    pub expect: Vec<Expect>,
    /// Findings that are borne for a while.
    pub allow: Vec<Allow>,
    /// How bad kinds of findings are.
    pub level: Vec<Level>,
    /// What is otherwise where `--env` says so.
    pub environment: Vec<Environment>,
}

fn ip_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "default": [], "items": {"type": "string", "format": "ip-address", "examples": ["192.0.2.25"]}})
}

fn socket_addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "default": [], "items": {"type": "string", "format": "socket-address", "examples": ["127.0.0.1:53"]}})
}
