//! What should become of some mail: `waybilld expect` runs it offline.

use super::policy::AuthResult;
use crate::form::SpecFile;
use crate::name::Address;
use crate::unit::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A message, and what should become of it. Exactly one outcome: `delivered`, `relayed`, `refused`, `deferred`,
/// `quarantined` or `discarded`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Expect {
    /// What it shows.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["outsiders reach ada"]))]
    pub name: String,
    /// The client's address. Left out: 192.0.2.1 (RFC 5737 §3).
    #[serde(default)]
    #[schemars(schema_with = "ip_address")]
    pub client: Option<IpAddr>,
    /// What the client calls itself. Left out: `client.example` (RFC 2606).
    #[schemars(extend("examples" = ["mx.example.net"]))]
    pub helo: Option<String>,
    /// Who has logged in. Left out: nobody; the mail comes from another server.
    pub login: Option<Address>,
    /// The envelope's sender; empty for a bounce. Left out: `somebody@client.example`.
    #[schemars(extend("examples" = ["bob@example.net"]))]
    pub from: Option<String>,
    /// The envelope's recipients.
    #[schemars(length(min = 1))]
    pub to: Vec<Address>,
    /// The message. Left out: a short text with fitting header fields.
    pub message: Option<SpecFile>,
    /// Header fields of a message that is not given.
    #[serde(default)]
    pub header: Vec<super::policy::NewHeader>,
    /// The size of a message that is not given. Left out: what it comes to.
    pub size: Option<Size>,
    /// What SPF says of it. Left out: `none`.
    pub spf: Option<AuthResult>,
    /// What DKIM says of it. Left out: `none`.
    pub dkim: Option<AuthResult>,
    /// What DMARC says of it. Left out: `none`.
    pub dmarc: Option<AuthResult>,
    /// The client encrypts. Left out: `#true`.
    pub encrypted: Option<bool>,
    /// It is put into these accounts' mailboxes.
    #[serde(default)]
    pub delivered: Vec<Delivered>,
    /// It goes to these addresses at other servers.
    #[serde(default)]
    pub relayed: Vec<Address>,
    /// It is refused, with this reply code; 550 is a mailbox that is not there (RFC 5321 §4.2.3).
    #[schemars(range(min = 500, max = 599), extend("examples" = [550]))]
    pub refused: Option<u32>,
    /// It is refused for now, with this reply code (RFC 5321 §4.2.3).
    #[schemars(range(min = 400, max = 499), extend("examples" = [451]))]
    pub deferred: Option<u32>,
    /// It is kept for an administrator.
    #[serde(default)]
    pub quarantined: bool,
    /// It is taken and dropped.
    #[serde(default)]
    pub discarded: bool,
}

/// Whose mailbox a message is put into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Delivered {
    /// The account.
    #[schemars(extend("x-kdl" = "argument"))]
    pub account: Address,
    /// The mailbox. Left out: `INBOX`.
    #[schemars(extend("x-kdl" = "property", "examples" = ["Junk"]))]
    pub mailbox: Option<String>,
}

fn ip_address(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": ["string", "null"], "format": "ip-address", "examples": ["192.0.2.1"]})
}
