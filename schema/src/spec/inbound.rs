//! What comes in: from other servers, and from our own people.

use super::policy::Rewrite;
use crate::form::Network;
use crate::name::{Address, DomainName};
use crate::unit::{Period, Rate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked of mail from other servers. Rules of one's own stand in `policy`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Inbound {
    /// How long a client must wait for the greeting without speaking first. Left out: `0s` (Waybill).
    pub greeting_delay: Option<Period>,
    /// Networks whose servers may send through us to anywhere, without logging in. Left out: none.
    pub relay_from: Vec<Network>,
    /// Whether other servers must encrypt (RFC 3207). Left out: `optional` (RFC 3207 §4).
    pub tls: Option<InboundTls>,
    /// What is asked of the client.
    pub client: Option<ClientChecks>,
    /// What is asked of the name in EHLO.
    pub helo: Option<HeloChecks>,
    /// What is asked of the envelope's sender.
    pub sender: Option<SenderChecks>,
    /// What SPF, DKIM, DMARC and ARC do to mail.
    pub authentication: Option<AuthenticationChecks>,
    /// Lists in DNS of clients that send spam (RFC 5782). Left out: none is asked.
    pub dnsbl: Vec<Dnsbl>,
    /// Unknown senders are told to come back later. Left out: they are not.
    pub greylist: Option<Greylist>,
    /// How much mail is taken. Left out: any amount.
    pub rate: Vec<InboundRate>,
    /// What is always taken. It wins over `refuse`.
    pub accept: Option<Peers>,
    /// What is never taken.
    pub refuse: Option<Peers>,
    /// Addresses that are written otherwise, in the order written.
    pub rewrite: Vec<Rewrite>,
    /// How many servers a message may have passed. Left out: 100 (RFC 5321 §6.3).
    #[schemars(range(min = 10, max = 1000), extend("examples" = [100]))]
    pub hops: Option<u32>,
    /// After so many wrong commands the client is hung up on. Left out: 10 (Waybill).
    #[schemars(range(min = 1, max = 1000), extend("examples" = [10]))]
    pub errors: Option<u32>,
}

/// Whether other servers must encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum InboundTls {
    /// STARTTLS is not offered.
    None,
    /// It is offered.
    Optional,
    /// Mail comes only after it. A server known from MX must not ask this of everybody (RFC 3207 §4).
    Required,
}

/// What is done with mail that fails a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum CheckAction {
    /// The check is not made.
    Off,
    /// The outcome is noted in the message, and counts in the spam score.
    Score,
    /// The mail is refused for now.
    Defer,
    /// The mail is refused.
    Refuse,
}

/// What is asked of the client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ClientChecks {
    /// It has a name by reverse look-up. Left out: `score` (Waybill).
    pub reverse_name: Option<CheckAction>,
    /// That name has the client's address (RFC 8601 §2.7.3). Left out: `score` (Waybill).
    pub forward_name: Option<CheckAction>,
}

/// What is asked of the name in EHLO.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HeloChecks {
    /// It is a full name or an address in brackets (RFC 5321 §4.1.4). Left out: `score` (Waybill).
    pub full_name: Option<CheckAction>,
    /// It exists in DNS. Left out: `score`; a server must not refuse for that alone (RFC 5321 §4.1.4).
    pub exists: Option<CheckAction>,
    /// It is not a name or address of ours. Left out: `refuse` (Waybill).
    pub not_ours: Option<CheckAction>,
}

/// What is asked of the envelope's sender.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SenderChecks {
    /// Its domain exists, and takes mail (RFC 7505 §4.2). Left out: `refuse` (Waybill).
    pub exists: Option<CheckAction>,
    /// It is not an address of ours, unless whoever sends has logged in. Left out: `score`; forwarders and lists send
    /// our people's mail back (Waybill).
    pub not_ours: Option<CheckAction>,
}

/// What SPF, DKIM, DMARC and ARC do to mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AuthenticationChecks {
    /// What `fail` of SPF does. Left out: `score`; DMARC decides (RFC 7208 §8.4, RFC 9989).
    pub spf: Option<CheckAction>,
    /// What no valid DKIM signature does. Left out: `score` (RFC 6376 §6.3).
    pub dkim: Option<CheckAction>,
    /// What `fail` of DMARC with `p=reject` does, where nothing says that a forwarder or list broke the signature.
    /// Left out: `refuse` (RFC 9989).
    pub dmarc: Option<CheckAction>,
    /// Seals of `trust`'s sealers are believed (RFC 8617). Left out: `#true` (Waybill).
    pub arc: Option<bool>,
    /// Forwarded mail gets our own seal. Left out: `#true` (Waybill).
    pub seal: Option<bool>,
}

/// A list in DNS of clients, or of the domains in a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dnsbl {
    /// The list's zone.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["zen.spamhaus.org"]))]
    pub zone: DomainName,
    /// What is looked up in it. Left out: `client`.
    #[schemars(extend("x-kdl" = "property"))]
    pub of: Option<DnsblOf>,
    /// What being on it does. Left out: `score` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub action: Option<CheckAction>,
    /// With `score`, how many points it adds; negative for a list of good clients. Left out: 30 (Waybill).
    #[schemars(range(min = -1000, max = 1000), extend("x-kdl" = "property", "examples" = [30]))]
    pub points: Option<i32>,
    /// The answers that count (RFC 5782 §2.1). Left out: all of 127.0.0.0/8.
    #[serde(default)]
    #[schemars(extend("examples" = [["127.0.0.2", "127.0.0.4/30"]]))]
    pub answer: Vec<Network>,
}

/// What is looked up in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum DnsblOf {
    /// The client's address.
    Client,
    /// The domains of the client, the sender and `From`.
    Domain,
    /// The servers in the message's links.
    Link,
}

/// Unknown senders are told to come back later (RFC 6647).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Greylist {
    /// How much later. Left out: `5m` (RFC 6647 §5).
    pub delay: Option<Period>,
    /// How long the second attempt is waited for. Left out: `1d` (RFC 6647 §5).
    pub window: Option<Period>,
    /// How long one who came back is remembered. Left out: `36d` (Waybill).
    pub keep: Option<Period>,
    /// Only mail with at least this spam score. Left out: any mail.
    #[schemars(range(min = -1000, max = 1000), extend("examples" = [20]))]
    pub from_score: Option<i32>,
}

/// How much is taken of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct InboundRate {
    /// How much; what is more is deferred.
    #[schemars(extend("x-kdl" = "argument"))]
    pub rate: Rate,
    /// Of one what. Left out: `client`.
    #[schemars(extend("x-kdl" = "property"))]
    pub per: Option<Per>,
    /// What is counted. Left out: `messages`.
    #[schemars(extend("x-kdl" = "property"))]
    pub of: Option<Counted>,
}

/// Of one what there may be so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Per {
    /// One client address (IPv6: one /64).
    Client,
    /// One sender.
    Sender,
    /// One domain of senders.
    SenderDomain,
    /// One recipient.
    Recipient,
    /// One domain of recipients.
    RecipientDomain,
    /// One account that has logged in.
    Account,
    /// Everything together.
    All,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Counted {
    /// Connections.
    Connections,
    /// Messages.
    Messages,
    /// Recipients of messages.
    Recipients,
}

/// Clients and addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Peers {
    /// Networks of clients.
    pub client: Vec<Network>,
    /// Senders.
    pub sender: Vec<Address>,
    /// Domains of senders, with all below.
    pub sender_domain: Vec<DomainName>,
    /// Recipients.
    pub recipient: Vec<Address>,
}

/// What our own people may send.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Submission {
    /// Whose addresses one may send as, in envelope and `From`. Left out: `own` (RFC 6409 §6.1).
    pub send_as: Option<SendAs>,
    /// How much each may send. Left out: any amount.
    pub rate: Vec<InboundRate>,
    /// The client's address and name are left out of `Received`. Left out: `#true` (Waybill).
    pub hide_client: Option<bool>,
    /// Their mail is scored as others' is, and refused where it is spam. Left out: `#false` (Waybill).
    pub score: Option<bool>,
    /// How far ahead mail may be sent (RFC 4865). Left out: `0s`, not at all (Waybill).
    pub hold: Option<Period>,
    /// Addresses that are written otherwise, in the order written.
    pub rewrite: Vec<Rewrite>,
    /// Header fields that are taken out.
    #[schemars(extend("examples" = [["X-Originating-IP"]]))]
    pub remove_header: Vec<String>,
}

/// Whose addresses one may send as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum SendAs {
    /// One's own, with aliases and groups.
    Own,
    /// Any address of one's domain.
    Domain,
    /// Any address.
    Any,
}
