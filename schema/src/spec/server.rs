//! What every host does alike: trust, limits, the queue.

use crate::name::{DomainName, SecretRef};
use crate::unit::{Period, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Certificate authorities beside the system's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Trust {
    /// PEM files. Left out: the system's authorities alone.
    #[schemars(extend("x-unserved" = "verified TLS to other servers"))]
    pub ca: Vec<SecretRef>,
    /// Domains whose ARC seals are believed when they say that a forwarded message was authentic (RFC 8617). Left out:
    /// none.
    pub arc_sealer: Vec<DomainName>,
}

/// How much of anything one peer or message may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// The largest message, at least `64KiB` (RFC 5321 §4.5.3.1.7). Left out: `50MiB` (Waybill).
    pub message_size: Option<Size>,
    /// Recipients of one message, at least 100 (RFC 5321 §4.5.3.1.8). Left out: 1000 (Waybill).
    #[schemars(range(min = 100, max = 10_000), extend("examples" = [1000]))]
    pub recipients: Option<u32>,
    /// Connections at once, in all. Left out: 10000 (Waybill).
    #[schemars(range(min = 10), extend("examples" = [10000]))]
    pub connections: Option<u32>,
    /// Connections at once from one address (IPv6: one /64), loopback excepted. Left out: 200 (Waybill).
    #[schemars(range(min = 1), extend("examples" = [200]))]
    pub connections_per_address: Option<u32>,
    /// The longest SMTP session, at least `1m`. Left out: `1h` (Waybill).
    pub session: Option<Period>,
    /// How long a stopping server lets connections finish. Left out: `30s` (Waybill).
    pub drain: Option<Period>,
    /// Limits of SMTP.
    #[schemars(extend("x-unserved" = "limits of SMTP"))]
    pub smtp: Option<SmtpLimits>,
    /// Limits of IMAP.
    #[schemars(extend("x-unserved" = "limits of IMAP"))]
    pub imap: Option<ImapLimits>,
    /// Limits of POP3.
    #[schemars(extend("x-unserved" = "limits of POP3"))]
    pub pop3: Option<SessionLimits>,
    /// Limits of ManageSieve.
    #[schemars(extend("x-unserved" = "limits of ManageSieve"))]
    pub managesieve: Option<SessionLimits>,
    /// Limits of JMAP (RFC 8620 §2).
    #[schemars(extend("x-unserved" = "limits of JMAP"))]
    pub jmap: Option<JmapLimits>,
    /// Limits of HTTP.
    #[schemars(extend("x-unserved" = "limits of HTTP"))]
    pub http: Option<HttpLimits>,
}

/// Limits of SMTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SmtpLimits {
    /// How long a command is waited for. Left out: `5m` (RFC 5321 §4.5.3.2.7).
    pub idle: Option<Period>,
    /// Messages in one session. Left out: 100 (Waybill).
    #[schemars(range(min = 1, max = 100_000), extend("examples" = [100]))]
    pub messages: Option<u32>,
}

/// Limits of a protocol with sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SessionLimits {
    /// How long a command is waited for. Left out: `10m` (RFC 1939 §3).
    pub idle: Option<Period>,
    /// Connections at once of one account. Left out: 10 (Waybill).
    #[schemars(range(min = 1, max = 10_000), extend("examples" = [10]))]
    pub connections_per_account: Option<u32>,
}

/// Limits of IMAP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ImapLimits {
    /// How long a command is waited for, at least `30m` (RFC 9051 §5.4). Left out: `30m`.
    pub idle: Option<Period>,
    /// Connections at once of one account. Left out: 50 (Waybill).
    #[schemars(range(min = 1, max = 10_000), extend("examples" = [50]))]
    pub connections_per_account: Option<u32>,
    /// The longest command, messages excepted. Left out: `64KiB` (RFC 7162 §4).
    pub command_size: Option<Size>,
    /// Mailboxes of one account. Left out: 10000 (Waybill).
    #[schemars(range(min = 10, max = 1_000_000), extend("examples" = [10000]))]
    pub mailboxes: Option<u32>,
}

/// Limits of JMAP, as its session object tells them (RFC 8620 §2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct JmapLimits {
    /// `maxSizeUpload`. Left out: `50MiB` (RFC 8620 §2 suggests as much).
    pub upload_size: Option<Size>,
    /// `maxSizeRequest`. Left out: `10MiB` (RFC 8620 §2).
    pub request_size: Option<Size>,
    /// `maxConcurrentUpload`. Left out: 4 (RFC 8620 §2).
    #[schemars(range(min = 1, max = 1000), extend("examples" = [4]))]
    pub uploads: Option<u32>,
    /// `maxConcurrentRequests`. Left out: 4 (RFC 8620 §2).
    #[schemars(range(min = 1, max = 1000), extend("examples" = [4]))]
    pub requests: Option<u32>,
    /// `maxCallsInRequest`. Left out: 16 (RFC 8620 §2).
    #[schemars(range(min = 1, max = 1000), extend("examples" = [16]))]
    pub calls: Option<u32>,
    /// `maxObjectsInGet`. Left out: 500 (RFC 8620 §2).
    #[schemars(range(min = 1, max = 100_000), extend("examples" = [500]))]
    pub get: Option<u32>,
    /// `maxObjectsInSet`. Left out: 500 (RFC 8620 §2).
    #[schemars(range(min = 1, max = 100_000), extend("examples" = [500]))]
    pub set: Option<u32>,
}

/// Limits of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HttpLimits {
    /// The largest request body, uploads of mail excepted. Left out: `1MiB` (Waybill).
    pub request_size: Option<Size>,
    /// Requests of one address (IPv6: one /64). Left out: any amount.
    pub rate: Option<crate::unit::Rate>,
    /// How long a request is waited for. Left out: `30s` (Waybill).
    pub idle: Option<Period>,
}

/// When mail that could not be delivered is tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Queue {
    /// The first wait. Each next one is twice as long, give or take a tenth. Left out: `5m` (Waybill).
    pub retry: Option<Period>,
    /// The longest wait, never less than `retry`. Left out: `4h` (RFC 5321 §4.5.4.1).
    pub retry_most: Option<Period>,
    /// When the sender hears that the message is late. Left out: `4h` (Waybill).
    pub notify: Option<Period>,
    /// When the message is given up. Left out: `5d` (RFC 5321 §4.5.4.1).
    pub expire: Option<Period>,
    /// When a bounce is given up. Left out: as other mail.
    #[schemars(extend("x-unserved" = "another end for bounces"))]
    pub expire_bounce: Option<Period>,
    /// Deliveries at once, in all. Left out: 500 (Waybill).
    #[schemars(range(min = 1, max = 100_000), extend("x-unserved" = "a choice of deliveries at once", "examples" = [500]))]
    pub deliveries: Option<u32>,
    /// Senders may ask for priority (RFC 6710). Left out: `#false` (Waybill).
    #[schemars(extend("x-unserved" = "priorities"))]
    pub priorities: Option<bool>,
    /// How much of a message a bounce returns, where the sender does not say (RFC 3461 §4.3). Left out: `headers`
    /// (Waybill).
    #[schemars(extend("x-unserved" = "a choice of what bounces return"))]
    pub bounce_returns: Option<BounceReturns>,
    /// Other times for some destinations; the first that fits is taken.
    #[schemars(extend("x-unserved" = "times by destination"))]
    pub destination: Vec<QueueDestination>,
}

/// How much of a message a bounce returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum BounceReturns {
    /// Its header fields.
    Headers,
    /// All of it.
    Full,
}

/// Other times for some destinations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QueueDestination {
    /// Domains of recipients, with all below.
    #[schemars(extend("x-kdl" = "arguments"), length(min = 1))]
    pub domain: Vec<DomainName>,
    /// As in `queue`.
    pub retry: Option<Period>,
    /// As in `queue`.
    pub retry_most: Option<Period>,
    /// As in `queue`.
    pub notify: Option<Period>,
    /// As in `queue`.
    pub expire: Option<Period>,
}
