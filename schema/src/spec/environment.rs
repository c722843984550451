//! Overlays: what is otherwise in a trial, at a branch office, on a laptop.

use super::{
    Admin, Allow, ApiKey, Defaults, Directory, Dns, Domain, Expect, Hook, Host, Inbound, Level, Limits, Log, Login,
    Metrics, Milter, OAuth, OutboundPolicy, Policy, Queue, Reports, Resolver, Role, Route, Secrets, Sieve, Spam, State,
    Storage, Store, Submission, Tracing, Trust, Webhook,
};
use crate::name::{Address, DomainName, HostName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is otherwise in an environment, which `--env NAME` chooses. Nodes of a name are merged with those of the same
/// name, other nodes with the one that there is; a value that is given here replaces the one there, a list of values the
/// whole list, and what is new is added. `store`, `dns`, `directory` and `state`, which are of one kind, are replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Environment {
    /// The name that `--env` takes.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["staging"]))]
    pub name: String,
    /// What is not there in it. Taken away before anything is merged, so that what is named here and written again is
    /// replaced as a whole.
    pub without: Option<Without>,
    /// As at the top level.
    #[serde(default)]
    pub host: Vec<Host>,
    /// As at the top level.
    #[serde(default)]
    pub store: Vec<Store>,
    /// As at the top level.
    pub storage: Option<Storage>,
    /// As at the top level.
    #[serde(default)]
    pub dns: Vec<Dns>,
    /// As at the top level.
    pub state: Option<State>,
    /// As at the top level.
    #[serde(default)]
    pub domain: Vec<Domain>,
    /// As at the top level.
    #[serde(default)]
    pub directory: Vec<Directory>,
    /// As at the top level.
    pub resolver: Option<Resolver>,
    /// As at the top level.
    pub trust: Option<Trust>,
    /// As at the top level.
    pub defaults: Option<Defaults>,
    /// As at the top level.
    pub limits: Option<Limits>,
    /// As at the top level.
    pub queue: Option<Queue>,
    /// As at the top level.
    pub secrets: Option<Secrets>,
    /// As at the top level.
    #[schemars(extend("x-unserved" = "settings of incoming mail"))]
    pub inbound: Option<Inbound>,
    /// As at the top level.
    #[schemars(extend("x-unserved" = "settings of submission"))]
    pub submission: Option<Submission>,
    /// As at the top level.
    #[schemars(extend("x-unserved" = "settings of outgoing mail"))]
    pub outbound: Option<OutboundPolicy>,
    /// As at the top level.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "routes"))]
    pub route: Vec<Route>,
    /// As at the top level.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "milters"))]
    pub milter: Vec<Milter>,
    /// As at the top level.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "hooks"))]
    pub hook: Vec<Hook>,
    /// As at the top level.
    #[schemars(extend("x-unserved" = "Sieve"))]
    pub sieve: Option<Sieve>,
    /// As at the top level.
    #[schemars(extend("x-unserved" = "the spam filter"))]
    pub spam: Option<Spam>,
    /// As at the top level.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "policies"))]
    pub policy: Vec<Policy>,
    /// As at the top level.
    #[schemars(extend("x-unserved" = "reports"))]
    pub reports: Option<Reports>,
    /// As at the top level.
    pub login: Option<Login>,
    /// As at the top level.
    #[schemars(extend("x-unserved" = "OAuth"))]
    pub oauth: Option<OAuth>,
    /// As at the top level.
    #[serde(default)]
    pub role: Vec<Role>,
    /// As at the top level.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "administration"))]
    pub admin: Vec<Admin>,
    /// As at the top level.
    #[serde(default)]
    pub api_key: Vec<ApiKey>,
    /// As at the top level.
    #[schemars(extend("x-unserved" = "settings of the log"))]
    pub log: Option<Log>,
    /// As at the top level.
    #[schemars(extend("x-unserved" = "settings of metrics"))]
    pub metrics: Option<Metrics>,
    /// As at the top level.
    #[schemars(extend("x-unserved" = "traces"))]
    pub tracing: Option<Tracing>,
    /// As at the top level.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "webhooks"))]
    pub webhook: Vec<Webhook>,
    /// As at the top level.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "`waybilld expect`"))]
    pub expect: Vec<Expect>,
    /// As at the top level.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// As at the top level.
    #[serde(default)]
    pub level: Vec<Level>,
}

/// What is not there in an environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Without {
    /// Hosts.
    pub host: Vec<HostName>,
    /// Domains, with their people.
    pub domain: Vec<DomainName>,
    /// Accounts, aliases, groups and lists, by their whole addresses.
    pub address: Vec<Address>,
    /// Any other node of the top level.
    pub node: Vec<WithoutNode>,
}

/// A node of the top level that is not there in an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WithoutNode {
    /// Which kind, as it is written: `store`.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["store"]))]
    pub kind: String,
    /// Its name; left out for a node that has none, and for all of the kind.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["local"]))]
    pub name: Option<String>,
}
