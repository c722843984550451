//! Machines: what they listen on, and what they prove themselves by.

use super::allow::{Allow, Level};
use super::ip_addresses;
use crate::form::Network;
use crate::name::{DomainName, HostName, SecretRef};
use crate::unit::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A machine that serves mail, or several behind one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Host {
    /// Its fully qualified name, as in MX and greeting.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: HostName,
    /// Its addresses in DNS, and what listeners bind to unless `bind` says otherwise.
    #[serde(default)]
    #[schemars(schema_with = "ip_addresses")]
    pub address: Vec<IpAddr>,
    /// Which services it offers on which ports. Left out: smtp 25, submissions 465, imaps 993, https 443 (RFC 8314 §3).
    pub listen: Option<Listen>,
    /// How it reaches other servers. Left out: from its addresses, unless `bind` says that they are elsewhere.
    pub outbound: Option<Outbound>,
    /// Its keys and certificates. Left out: self-signed, with a warning.
    pub tls: Option<Tls>,
    /// What its SMTP greeting says behind its name. Left out: `ESMTP Waybill` (Waybill).
    #[schemars(extend("x-unserved" = "a greeting of one's own", "examples" = ["ESMTP ready"]))]
    pub greeting: Option<String>,
    /// The machines behind the name, where they are several; `waybilld serve --node` says which one runs.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "clusters"))]
    pub node: Vec<HostNode>,
    /// Findings that are borne for a while here.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// How bad kinds of findings are here.
    #[serde(default)]
    pub level: Vec<Level>,
}

/// A machine of several behind one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HostNode {
    /// Its id.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["a"]))]
    pub id: String,
    /// What its listeners bind to. Left out: what `listen` says.
    #[serde(default)]
    #[schemars(schema_with = "ip_addresses")]
    pub bind: Vec<IpAddr>,
    /// What it does beside answering. Left out: all of it.
    #[serde(default)]
    pub task: Vec<NodeTask>,
}

/// What a machine does beside answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum NodeTask {
    /// Brings queued mail on its way.
    Queue,
    /// Makes and sends reports.
    Reports,
    /// Renews certificates.
    Acme,
    /// Expires mail and removes what nothing names any more.
    Janitor,
}

/// Services and their ports; each may be given several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Listen {
    /// Addresses to bind. Left out: the host's.
    #[schemars(schema_with = "ip_addresses")]
    pub bind: Vec<IpAddr>,
    /// Mail from other servers, with STARTTLS; usually 25 (RFC 5321 §4.5.4.2).
    #[schemars(inner(range(min = 1)), extend("examples" = [[25]]))]
    pub smtp: Vec<u16>,
    /// Submission under TLS; usually 465 (RFC 8314 §3.3).
    #[schemars(inner(range(min = 1)), extend("examples" = [[465]]))]
    pub submissions: Vec<u16>,
    /// Submission with STARTTLS; usually 587 (RFC 6409 §3.1).
    #[schemars(inner(range(min = 1)), extend("examples" = [[587]]))]
    pub submission: Vec<u16>,
    /// IMAP under TLS; usually 993 (RFC 8314 §3.2).
    #[schemars(inner(range(min = 1)), extend("examples" = [[993]]))]
    pub imaps: Vec<u16>,
    /// IMAP with STARTTLS; usually 143 (RFC 9051 §2.1).
    #[schemars(inner(range(min = 1)), extend("examples" = [[143]]))]
    pub imap: Vec<u16>,
    /// POP3 under TLS; usually 995 (RFC 8314 §3.1).
    #[schemars(inner(range(min = 1)), extend("examples" = [[995]], "x-unserved" = "POP3"))]
    pub pop3s: Vec<u16>,
    /// POP3 with STLS; usually 110 (RFC 1939 §3).
    #[schemars(inner(range(min = 1)), extend("examples" = [[110]], "x-unserved" = "POP3"))]
    pub pop3: Vec<u16>,
    /// ManageSieve with STARTTLS; usually 4190 (RFC 5804 §1.8).
    #[schemars(inner(range(min = 1)), extend("examples" = [[4190]], "x-unserved" = "ManageSieve"))]
    pub managesieve: Vec<u16>,
    /// HTTP under TLS: MTA-STS policies, autoconfig, JMAP; usually 443 (RFC 9110 §4.2.2).
    #[schemars(inner(range(min = 1)), extend("examples" = [[443]]))]
    pub https: Vec<u16>,
    /// Plain HTTP: `/ready`, `/live`, `/metrics`; usually 8080 (Waybill).
    #[schemars(inner(range(min = 1)), extend("examples" = [[8080]]))]
    pub http: Vec<u16>,
    /// Networks of proxies that say whom they speak for (the PROXY protocol, both versions), on every port. Left out:
    /// none; the peer is who connects.
    #[schemars(extend("x-unserved" = "the PROXY protocol"))]
    pub proxy_protocol: Vec<Network>,
    /// How many connections a service takes.
    #[schemars(extend("x-unserved" = "limits of one service"))]
    pub limit: Vec<ListenLimit>,
}

/// How many connections a service takes, beside what `limits` says of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ListenLimit {
    /// The service.
    #[schemars(extend("x-kdl" = "argument"))]
    pub service: ServiceName,
    /// Connections at once, in all. Left out: what `limits` says.
    #[schemars(range(min = 1), extend("x-kdl" = "property", "examples" = [5000]))]
    pub connections: Option<u32>,
    /// Connections at once from one address (IPv6: one /64). Left out: what `limits` says.
    #[schemars(range(min = 1), extend("x-kdl" = "property", "examples" = [50]))]
    pub connections_per_address: Option<u32>,
}

/// A service by its name in `listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ServiceName {
    /// Mail from other servers, with STARTTLS.
    Smtp,
    /// Submission under TLS.
    Submissions,
    /// Submission with STARTTLS.
    Submission,
    /// IMAP under TLS.
    Imaps,
    /// IMAP with STARTTLS.
    Imap,
    /// POP3 under TLS.
    Pop3s,
    /// POP3 with STLS.
    Pop3,
    /// ManageSieve with STARTTLS.
    Managesieve,
    /// HTTP under TLS.
    Https,
    /// Plain HTTP.
    Http,
}

/// How a host reaches other servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Outbound {
    /// Local addresses that outgoing connections come from, one of each family. Left out: the host's addresses.
    #[schemars(schema_with = "ip_addresses")]
    pub source: Vec<IpAddr>,
    /// The name that we greet other servers by. Left out: the host's (RFC 5321 §4.1.1.1).
    #[schemars(extend("x-unserved" = "another name in EHLO"))]
    pub helo: Option<HostName>,
}

/// A host's keys and certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Tls {
    /// Certificates by ACME (RFC 8555).
    #[schemars(extend("x-unserved" = "ACME"))]
    pub acme: Option<Acme>,
    /// The key of the certificate, and the next key beside it.
    pub key: Vec<TlsKey>,
    /// A certificate chain and its key from files.
    pub certificate: Vec<Certificate>,
    /// The server signs its own certificate, with the first `key` where there is one.
    pub self_signed: bool,
    /// TLSA records beside `3 1 1`, by usage, selector and matching type (RFC 6698 §2.1); they need a certificate file.
    /// Left out: only `3 1 1` (RFC 7672 §3.1).
    #[schemars(inner(regex(pattern = r"^[23] [01] [12]$")), extend("examples" = [["3 0 1", "2 1 1"]]))]
    pub dane: Vec<String>,
    /// The oldest version that is spoken. Left out: `1.2` (RFC 9325 §3.1.1).
    #[schemars(extend("x-unserved" = "a choice of TLS versions"))]
    pub minimum: Option<TlsVersion>,
    /// Which ciphers are spoken. Left out: `recommended` (RFC 9325 §4.2).
    #[schemars(extend("x-unserved" = "a choice of ciphers"))]
    pub ciphers: Option<TlsCiphers>,
    /// The authority whose client certificates let people in (SASL EXTERNAL, RFC 4422 appendix A). Left out: none is
    /// asked for.
    #[schemars(extend("x-unserved" = "client certificates"))]
    pub client_ca: Option<SecretRef>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

/// Which ciphers are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum TlsCiphers {
    /// What RFC 9325 §4.2 recommends.
    Recommended,
    /// Those of TLS 1.3, and of TLS 1.2 those with ECDHE and AES-256 or ChaCha20 only.
    Strict,
}

/// Certificates by ACME.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Acme {
    /// The authority, `letsencrypt` or its directory's URL.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["letsencrypt"]))]
    pub authority: String,
    /// Whom the authority may write to (RFC 8555 §7.3). Left out: nobody.
    #[schemars(extend("x-kdl" = "property", "examples" = ["mailto:postmaster@example.org"]))]
    pub contact: Option<String>,
    /// How control of a name is proved. Left out: `tls-alpn-01` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub challenge: Option<Challenge>,
    /// The account's URL, for CAA (RFC 8657 §3). Left out: any account.
    #[schemars(extend("x-kdl" = "property", "examples" = ["https://acme-v02.api.letsencrypt.org/acme/acct/1"]), inner(regex(pattern = r#"^https://[^\s";\\]+$"#)))]
    pub account: Option<String>,
    /// The name that CAA records know the authority by; needed where it is none of the well-known ones (RFC 8659 §4.2).
    /// Left out: the well-known one's.
    #[schemars(extend("x-kdl" = "property"))]
    pub issuer: Option<DomainName>,
    /// The id of an account that the authority knows from elsewhere (RFC 8555 §7.3.4). Left out: none.
    #[schemars(extend("x-kdl" = "property", "examples" = ["kid-1"]))]
    pub external_id: Option<String>,
    /// The key of `external-id`, base64. Left out: none.
    #[schemars(extend("x-kdl" = "property"))]
    pub external_key: Option<SecretRef>,
    /// How long before it expires a certificate is renewed. Left out: a third of its lifetime (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub renew: Option<Period>,
}

/// How control of a name is proved to a certificate authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Challenge {
    /// RFC 8737.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// RFC 8555 §8.3.
    #[serde(rename = "http-01")]
    Http01,
    /// RFC 8555 §8.4.
    #[serde(rename = "dns-01")]
    Dns01,
}

/// A TLS key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TlsKey {
    /// The key's name.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["2026a"]))]
    pub name: String,
    /// Its algorithm.
    #[schemars(extend("x-kdl" = "argument"))]
    pub algorithm: TlsAlgorithm,
    /// The SubjectPublicKeyInfo, base64 of its DER (RFC 5280 §4.1). Left out: taken from the private file.
    #[schemars(extend("x-kdl" = "property", "examples" = ["MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE…"]))]
    pub public: Option<String>,
    /// Where the private key is.
    #[schemars(extend("x-kdl" = "property"))]
    pub private: SecretRef,
}

/// A TLS key's algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum TlsAlgorithm {
    /// ECDSA on P-256.
    Ec,
    /// RSA.
    Rsa,
}

/// A certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Certificate {
    /// The chain as PEM, the host's own certificate first.
    #[schemars(extend("x-kdl" = "property"))]
    pub cert: SecretRef,
    /// The private key as PEM.
    #[schemars(extend("x-kdl" = "property"))]
    pub key: SecretRef,
}
