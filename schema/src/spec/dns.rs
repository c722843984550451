//! Where zones are published, and whom to ask.

use super::socket_addresses;
use crate::name::SecretRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A DNS provider. Exactly one kind inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dns {
    /// The name that domains use.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: String,
    /// Cloudflare.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "`waybill apply`"))]
    pub cloudflare: Option<Cloudflare>,
    /// Dynamic updates (RFC 2136) with TSIG.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "`waybill apply`"))]
    pub rfc2136: Option<Rfc2136>,
    /// Zone files in a folder.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "`waybill apply`"))]
    pub zonefile: Option<String>,
}

/// Cloudflare's API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cloudflare {
    /// A token that may edit the zones.
    #[schemars(extend("x-kdl" = "property"))]
    pub token: SecretRef,
}

/// A name server that takes dynamic updates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rfc2136 {
    /// The primary server, `192.0.2.53:53`.
    #[schemars(with = "String", extend("x-kdl" = "argument", "format" = "socket-address"))]
    pub server: SocketAddr,
    /// The TSIG key's name.
    #[schemars(extend("x-kdl" = "property"))]
    pub key: String,
    /// The TSIG algorithm.
    #[schemars(extend("x-kdl" = "property"))]
    pub algorithm: String,
    /// The TSIG secret, base64.
    #[schemars(extend("x-kdl" = "property"))]
    pub secret: SecretRef,
}

/// Where `waybill apply` notes what it wrote. Exactly one kind inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct State {
    /// A file beside the spec.
    #[schemars(extend("x-unserved" = "`waybill apply`"))]
    pub file: Option<String>,
}

/// Which DNS servers to ask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Resolver {
    /// Recursive servers, `127.0.0.1:53`.
    #[schemars(schema_with = "socket_addresses")]
    pub server: Vec<SocketAddr>,
    /// DNSSEC trust anchors in place of IANA's root.
    #[schemars(extend("x-unserved" = "DNSSEC validation"))]
    pub trust_anchor: Option<SecretRef>,
}
