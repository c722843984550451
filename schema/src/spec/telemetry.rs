//! What the server tells about itself: reports, logs, metrics, traces, webhooks.

use crate::form::{Network, Url};
use crate::name::{Address, SecretRef};
use crate::unit::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reports about mail, to others and from others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Reports {
    /// Who our reports come from. Left out: `postmaster` of the first domain.
    pub from: Option<Address>,
    /// What our reports call us. Left out: the host's name.
    #[schemars(extend("examples" = ["Example Ltd"]))]
    pub organisation: Option<String>,
    /// Aggregate reports of DMARC to other domains (RFC 9990).
    pub dmarc: Option<SentReport>,
    /// Reports of single failures of DMARC to other domains (RFC 9991). They show others' mail. Left out: not sent
    /// (Waybill).
    pub dmarc_failure: Option<SentReport>,
    /// Reports of TLS to other domains (RFC 8460).
    pub tls: Option<SentReport>,
    /// Addresses whose mail is read as reports from others: DMARC, TLS, abuse (RFC 5965). Left out: those that the
    /// domains' `dmarc` and `tls-report` name.
    pub read: Vec<Address>,
    /// How long reports are kept. Left out: `90d` (Waybill).
    pub keep: Option<Period>,
    /// Whom complaints about our mail go to (RFC 2142 §4). Left out: `abuse` of each domain, else its postmaster.
    pub abuse: Option<Address>,
}

/// Reports that we send.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SentReport {
    /// They are sent. Left out: `#true`.
    pub send: Option<bool>,
    /// How often. Left out: `1d` (RFC 9990, RFC 8460 §4.1).
    pub every: Option<Period>,
}

/// What is written to the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Log {
    /// How much. Left out: `info` (Waybill).
    pub level: Option<LogLevel>,
    /// Its form. Left out: `text` (Waybill).
    pub format: Option<LogFormat>,
    /// Where to: a file of the machine. Left out: standard error, which the system's journal takes.
    #[schemars(extend("examples" = ["/var/log/waybill.log"]))]
    pub file: Option<String>,
    /// Addresses are shortened to their domains. Left out: `#false`.
    pub hide_addresses: Option<bool>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what is likely to.
    Warn,
    /// And each message's way.
    Info,
    /// And each command.
    Debug,
}

/// A log's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Numbers about the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Metrics {
    /// Networks that may read `/metrics` (OpenMetrics). Left out: this machine alone.
    pub from: Vec<Network>,
    /// An OpenTelemetry collector that they are sent to (OTLP over HTTP). Left out: none.
    pub otel: Option<Otel>,
}

/// Traces of mail's way through the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Tracing {
    /// An OpenTelemetry collector that they are sent to (OTLP over HTTP). Left out: none.
    pub otel: Option<Otel>,
    /// How many of them, in percent. Left out: 100.
    #[schemars(range(max = 100), extend("examples" = [10]))]
    pub sample: Option<u32>,
    /// How long they are kept in the store. Left out: `7d` (Waybill).
    pub keep: Option<Period>,
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Otel {
    /// Its URL.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["https://otel.example.org:4318"]))]
    pub url: Url,
    /// A token sent as `Authorization: Bearer` (RFC 6750 §2.1). Left out: none.
    #[schemars(extend("x-kdl" = "property"))]
    pub token: Option<SecretRef>,
    /// How often. Left out: `1m` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub every: Option<Period>,
}

/// An HTTP service that is told what happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Webhook {
    /// Its name, for logs.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["alerts"]))]
    pub name: String,
    /// The service.
    #[schemars(extend("x-kdl" = "argument"))]
    pub url: Url,
    /// The key that signs what is sent (HMAC-SHA-256). Left out: it is not signed.
    #[schemars(extend("x-kdl" = "property"))]
    pub secret: Option<SecretRef>,
    /// What it is told. Left out: all.
    #[serde(default)]
    pub event: Vec<Event>,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Event {
    /// A message was put into a mailbox.
    Delivered,
    /// A message was taken by another server.
    Sent,
    /// A message was given up.
    Bounced,
    /// A message is late.
    Late,
    /// A message was refused.
    Refused,
    /// A message was put into quarantine.
    Quarantined,
    /// A login failed too often.
    Banned,
    /// A mailbox is nearly full.
    QuotaNear,
    /// A certificate could not be renewed.
    CertificateFailed,
    /// A configuration was refused.
    ConfigRejected,
}
