//! Machines: what they listen on, and what they prove themselves by.

use super::allow::{Allow, Level};
use super::ip_addresses;
use crate::name::{DomainName, HostName, SecretRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A machine that serves mail.
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
    /// Which services it offers on which ports. Left out: smtp 25, submissions 465, imaps 993, https 443.
    #[serde(default)]
    pub listen: Option<Listen>,
    /// How it reaches other servers. Left out: from its addresses, unless `bind` says that they are elsewhere.
    #[serde(default)]
    pub outbound: Option<Outbound>,
    /// Its keys and certificates. Left out: self-signed, with a warning.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Findings that are borne for a while here.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// How bad kinds of findings are here.
    #[serde(default)]
    pub level: Vec<Level>,
}

/// Services and their ports; each may be given several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Listen {
    /// Addresses to bind in place of the host's.
    #[schemars(schema_with = "ip_addresses")]
    pub bind: Vec<IpAddr>,
    /// Mail from other servers, with STARTTLS; usually 25.
    #[schemars(inner(range(min = 1)))]
    pub smtp: Vec<u16>,
    /// Submission under TLS; usually 465 (RFC 8314).
    #[schemars(inner(range(min = 1)))]
    pub submissions: Vec<u16>,
    /// Submission with STARTTLS; usually 587 (RFC 6409).
    #[schemars(inner(range(min = 1)))]
    pub submission: Vec<u16>,
    /// IMAP under TLS; usually 993.
    #[schemars(inner(range(min = 1)))]
    pub imaps: Vec<u16>,
    /// IMAP with STARTTLS; usually 143.
    #[schemars(inner(range(min = 1)))]
    pub imap: Vec<u16>,
    /// POP3 under TLS; usually 995.
    #[schemars(inner(range(min = 1)), extend("x-unserved" = "POP3"))]
    pub pop3s: Vec<u16>,
    /// POP3 with STLS; usually 110.
    #[schemars(inner(range(min = 1)), extend("x-unserved" = "POP3"))]
    pub pop3: Vec<u16>,
    /// ManageSieve with STARTTLS; usually 4190 (RFC 5804).
    #[schemars(inner(range(min = 1)), extend("x-unserved" = "ManageSieve"))]
    pub managesieve: Vec<u16>,
    /// HTTP under TLS: MTA-STS policies, autoconfig; usually 443.
    #[schemars(inner(range(min = 1)))]
    pub https: Vec<u16>,
    /// Plain HTTP: `/ready`, `/live`, `/metrics`; usually 8080.
    #[schemars(inner(range(min = 1)))]
    pub http: Vec<u16>,
}

/// How a host reaches other servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Outbound {
    /// Local addresses that outgoing connections come from, one of each family.
    #[schemars(schema_with = "ip_addresses")]
    pub source: Vec<IpAddr>,
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
    /// TLSA records beside `3 1 1`, as `"3 0 1"`, `"2 1 1"` … (RFC 6698 §2.1); they need a certificate file.
    #[schemars(inner(regex(pattern = r"^[23] [01] [12]$")))]
    pub dane: Vec<String>,
}

/// Certificates by ACME.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Acme {
    /// `letsencrypt`, or a directory's URL.
    #[schemars(extend("x-kdl" = "argument"))]
    pub authority: String,
    /// `mailto:` of whom the authority may write to.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub contact: Option<String>,
    /// `tls-alpn-01`, `http-01` or `dns-01`.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub challenge: Option<Challenge>,
    /// The account's URL, for CAA (RFC 8657).
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"), inner(regex(pattern = r#"^https://[^\s";\\]+$"#)))]
    pub account: Option<String>,
    /// The name that CAA records know the authority by; needed where it is none of the well-known ones.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub issuer: Option<DomainName>,
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
    /// The key's name, `2026a`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: String,
    /// `ec` (P-256) or `rsa`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub algorithm: TlsAlgorithm,
    /// The SubjectPublicKeyInfo, base64 of its DER; left out, it is taken from the private file.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
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
