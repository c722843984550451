//! What goes out: how other servers are reached, and by which route.

use super::ip_addresses;
use crate::form::Endpoint;
use crate::name::{Address, DomainName, HostName, SecretRef};
use crate::unit::{Period, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How every host brings mail to other servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct OutboundPolicy {
    /// How it is protected on its way. Left out: `opportunistic` (RFC 7435).
    pub tls: Option<OutboundTls>,
    /// TLSA records hold (RFC 7672). Left out: `#true` (Waybill).
    pub dane: Option<bool>,
    /// MTA-STS policies hold (RFC 8461). Left out: `#true` (Waybill).
    pub mta_sts: Option<bool>,
    /// Which addresses are tried. Left out: `ipv6-first` (RFC 6724 §2.1).
    pub addresses: Option<AddressChoice>,
    /// Connections at once to one destination. Left out: 10 (Waybill).
    #[schemars(range(min = 1, max = 10_000), extend("examples" = [10]))]
    pub connections: Option<u32>,
    /// Messages over one connection. Left out: 100 (Waybill).
    #[schemars(range(min = 1, max = 100_000), extend("examples" = [100]))]
    pub messages_per_connection: Option<u32>,
    /// How much goes to one destination. Left out: any amount.
    pub rate: Option<Rate>,
    /// The `pool` to send from. Left out: the host's addresses.
    #[schemars(extend("examples" = ["newsletters"]))]
    pub use_pool: Option<String>,
    /// How long other servers are waited for.
    pub timeout: Option<OutboundTimeouts>,
    /// Sets of addresses to send from.
    pub pool: Vec<SourcePool>,
    /// What holds for some destinations; the first that fits is taken.
    pub destination: Vec<Destination>,
}

/// How mail is protected on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum OutboundTls {
    /// Never encrypted.
    None,
    /// Encrypted where the server can, whoever it is; as DANE and MTA-STS say where they do.
    Opportunistic,
    /// Encrypted, whoever the server is.
    Encrypted,
    /// Encrypted, and the server's certificate holds by DANE, by MTA-STS, or by its name and a known authority.
    Verified,
}

/// Which addresses of a server are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum AddressChoice {
    /// IPv6 before IPv4.
    Ipv6First,
    /// IPv4 before IPv6.
    Ipv4First,
    /// IPv6 alone.
    Ipv6Only,
    /// IPv4 alone.
    Ipv4Only,
}

/// How long other servers are waited for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct OutboundTimeouts {
    /// For a connection. Left out: `30s` (Waybill).
    pub connect: Option<Period>,
    /// For the greeting. Left out: `5m` (RFC 5321 §4.5.3.2.1).
    pub greeting: Option<Period>,
    /// For the answer to a command. Left out: `5m` (RFC 5321 §4.5.3.2.2).
    pub command: Option<Period>,
    /// While the message is sent. Left out: `3m` (RFC 5321 §4.5.3.2.5).
    pub data: Option<Period>,
    /// For the answer after the message. Left out: `10m` (RFC 5321 §4.5.3.2.6).
    pub end: Option<Period>,
}

/// A set of addresses to send from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourcePool {
    /// The name that destinations and policies use.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["newsletters"]))]
    pub name: String,
    /// The addresses, taken in turn; each is one of a host.
    #[serde(default)]
    #[schemars(schema_with = "ip_addresses")]
    pub source: Vec<IpAddr>,
    /// The name in EHLO. Left out: the host's.
    pub helo: Option<HostName>,
    /// New addresses send little at first, and more every day.
    pub warm_up: Option<WarmUp>,
}

/// How much new addresses send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WarmUp {
    /// The first day, `2027-01-31`.
    #[schemars(extend("x-kdl" = "property", "examples" = ["2027-01-31"]), regex(pattern = r"^\d{4}-\d{2}-\d{2}$"))]
    pub since: String,
    /// Messages on the first day, from each address to each destination. Left out: 50 (Waybill).
    #[schemars(range(min = 1, max = 1_000_000), extend("x-kdl" = "property", "examples" = [50]))]
    pub start: Option<u32>,
    /// How much more each day, in percent. Left out: 50 (Waybill).
    #[schemars(range(min = 1, max = 1000), extend("x-kdl" = "property", "examples" = [50]))]
    pub growth: Option<u32>,
    /// The days until it ends. Left out: 30 (Waybill).
    #[schemars(range(min = 1, max = 365), extend("x-kdl" = "property", "examples" = [30]))]
    pub days: Option<u32>,
}

/// What holds for some destinations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Destination {
    /// Domains of recipients, with all below.
    #[schemars(extend("x-kdl" = "arguments"), length(min = 1))]
    pub domain: Vec<DomainName>,
    /// Or the domain in which their mail servers lie, as for many that one provider serves. Left out: none.
    #[serde(default)]
    pub mail_server: Vec<DomainName>,
    /// As in `outbound`.
    pub tls: Option<OutboundTls>,
    /// As in `outbound`.
    pub addresses: Option<AddressChoice>,
    /// As in `outbound`.
    #[schemars(range(min = 1, max = 10_000), extend("examples" = [5]))]
    pub connections: Option<u32>,
    /// As in `outbound`.
    #[schemars(range(min = 1, max = 100_000), extend("examples" = [20]))]
    pub messages_per_connection: Option<u32>,
    /// As in `outbound`.
    pub rate: Option<Rate>,
    /// As in `outbound`.
    #[schemars(extend("examples" = ["newsletters"]))]
    pub use_pool: Option<String>,
}

/// Another way than by MX for some mail. The first route that fits is taken. Exactly one of `relay` (also several),
/// `lmtp` (also several), `mx` and `refuse` inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Route {
    /// The name that domains and policies use.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["provider"]))]
    pub name: String,
    /// Mail to these domains, with all below. Left out, with the next ones: only mail that a domain or policy sends
    /// this way.
    #[serde(default)]
    pub recipient_domain: Vec<DomainName>,
    /// Mail to these addresses.
    #[serde(default)]
    pub recipient: Vec<Address>,
    /// Mail from these domains, with all below.
    #[serde(default)]
    pub sender_domain: Vec<DomainName>,
    /// Mail from these addresses.
    #[serde(default)]
    pub sender: Vec<Address>,
    /// All mail to other servers.
    #[serde(default)]
    pub everything: bool,
    /// To this server by SMTP; of several, to the one of lowest `priority` that answers.
    #[serde(default)]
    pub relay: Vec<RelayHost>,
    /// To this server by LMTP (RFC 2033); several are tried in turn.
    #[serde(default)]
    pub lmtp: Vec<Endpoint>,
    /// By MX, as without a route (RFC 5321 §5.1).
    #[serde(default)]
    pub mx: bool,
    /// Nowhere: it is returned to its sender with this text.
    #[schemars(extend("examples" = ["no mail goes there"]))]
    pub refuse: Option<String>,
}

/// A server that takes mail for others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RelayHost {
    /// Its name or address.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["smtp.example.net"]))]
    pub server: String,
    /// Its port. Left out: 25; 465 with `tls="implicit"`, 587 with a `user`.
    #[schemars(range(min = 1), extend("x-kdl" = "property", "examples" = [587]))]
    pub port: Option<u16>,
    /// How the connection is protected. Left out: `verified` with a `user`, else as `outbound` says.
    #[schemars(extend("x-kdl" = "property"))]
    pub tls: Option<RelayTls>,
    /// Who we log in as. Left out: we do not.
    #[schemars(extend("x-kdl" = "property", "examples" = ["example-org"]))]
    pub user: Option<String>,
    /// The password. Left out: none is sent.
    #[schemars(extend("x-kdl" = "property"))]
    pub password: Option<SecretRef>,
    /// Which is tried first, the lowest. Left out: 10.
    #[schemars(extend("x-kdl" = "property", "examples" = [10]))]
    pub priority: Option<u16>,
}

/// How the connection to a relay is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum RelayTls {
    /// Not at all.
    None,
    /// STARTTLS where the server can.
    Opportunistic,
    /// STARTTLS, whoever the server is.
    Encrypted,
    /// STARTTLS, and its certificate holds.
    Verified,
    /// TLS from the first octet, and its certificate holds (RFC 8314 §3).
    Implicit,
}

/// A domain whose mailboxes are elsewhere: mail is taken in and passed on, as by a backup MX.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DomainRelay {
    /// Where to. Left out: the domain's MX of lower preference than ours (RFC 5321 §5.1).
    pub to: Vec<Endpoint>,
    /// Only these recipients are taken. Left out: whom the other server takes, asked before (Waybill).
    pub recipient: Vec<crate::name::LocalOrAddress>,
    /// All recipients are taken, though the other server may refuse them, and bounces go to forged senders. Left out:
    /// `#false`.
    pub any_recipient: bool,
}
