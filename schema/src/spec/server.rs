//! What every host does alike: trust, limits, the queue.

use crate::name::{DomainName, SecretRef};
use crate::unit::{Period, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Certificate authorities beside the system's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Trust {
    /// PEM files.
    #[schemars(extend("x-unserved" = "verified TLS to other servers"))]
    pub ca: Vec<SecretRef>,
    /// Domains whose ARC seals are believed when they say that a forwarded message was authentic (RFC 8617).
    pub arc_sealer: Vec<DomainName>,
}

/// How much of anything one peer or message may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// The largest message; `50MiB` unless said, at least `64KiB` (RFC 5321 §4.5.3.1.7).
    pub message_size: Option<Size>,
    /// Recipients of one message; 1000 unless said, at least 100 (RFC 5321 §4.5.3.1.8).
    #[schemars(range(min = 100, max = 10_000))]
    pub recipients: Option<u32>,
    /// Connections at once, in all; 10000 unless said.
    #[schemars(range(min = 10))]
    pub connections: Option<u32>,
    /// Connections at once from one address (IPv6: one /64); 200 unless said, loopback excepted.
    #[schemars(range(min = 1))]
    pub connections_per_address: Option<u32>,
    /// The longest SMTP session; `1h` unless said, at least `1m`.
    pub session: Option<Period>,
    /// How long a stopping server lets connections finish; `30s` unless said.
    pub drain: Option<Period>,
}

/// When mail that could not be delivered is tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Queue {
    /// The first wait; `5m` unless said. Each next one is twice as long, give or take a tenth.
    pub retry: Option<Period>,
    /// The longest wait; `4h` unless said, never less than `retry`.
    pub retry_most: Option<Period>,
    /// When the sender hears that the message is late; `4h` unless said.
    pub notify: Option<Period>,
    /// When the message is given up; `5d` unless said (RFC 5321 §4.5.4.1).
    pub expire: Option<Period>,
}
