//! Where zones are published, and whom to ask.

use super::socket_addresses;
use super::store::{Database, S3};
use crate::form::Url;
use crate::name::SecretRef;
use crate::unit::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A DNS provider. Exactly one kind inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dns {
    /// The name that domains use.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["main"]))]
    pub name: String,
    /// Cloudflare.
    pub cloudflare: Option<Cloudflare>,
    /// Dynamic updates (RFC 2136) with TSIG (RFC 8945).
    pub rfc2136: Option<Rfc2136>,
    /// PowerDNS by its HTTP API.
    pub powerdns: Option<PowerDns>,
    /// Amazon Route 53.
    pub route53: Option<Route53>,
    /// Zone files in a folder, for what publishes them (RFC 1035 §5).
    pub zonefile: Option<ZoneFile>,
    /// DigitalOcean.
    pub digitalocean: Option<DnsToken>,
    /// Hetzner, by its Cloud API.
    pub hetzner: Option<DnsToken>,
    /// deSEC.
    pub desec: Option<DnsToken>,
    /// Gandi LiveDNS.
    pub gandi: Option<DnsToken>,
    /// OVHcloud.
    pub ovh: Option<Ovh>,
    /// Google Cloud DNS.
    pub google: Option<Google>,
    /// Azure DNS.
    pub azure: Option<Azure>,
    /// A program that speaks the protocol of `docs/dns.md` on its standard input and output, and its arguments.
    #[serde(default)]
    #[schemars(extend("examples" = [["/usr/local/bin/dns-writer", "--quiet"]]))]
    pub command: Vec<String>,
    /// How long the provider takes until all of its servers answer with what was written. Left out: `1m` (Waybill).
    pub settles: Option<Period>,
}

/// Cloudflare's API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cloudflare {
    /// A token that may edit the zones.
    #[schemars(extend("x-kdl" = "property"))]
    pub token: SecretRef,
    /// The account whose zones they are, where the token knows several. Left out: whichever has the zone.
    #[schemars(extend("x-kdl" = "property", "examples" = ["023e105f4ecef8ad9ca31a8372d0c353"]))]
    pub account: Option<String>,
    /// The URL of the API. Left out: Cloudflare's.
    #[schemars(extend("x-kdl" = "property", "examples" = ["https://api.cloudflare.com/client/v4"]))]
    pub url: Option<Url>,
}

/// An API that takes a token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DnsToken {
    /// A token that may edit the zones.
    #[schemars(extend("x-kdl" = "property"))]
    pub token: SecretRef,
    /// The URL of the API. Left out: the provider's own.
    #[schemars(extend("x-kdl" = "property", "examples" = ["https://api.example.org/v1"]))]
    pub url: Option<Url>,
}

/// OVHcloud's API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ovh {
    /// The application's key.
    #[schemars(extend("x-kdl" = "property"))]
    pub application_key: SecretRef,
    /// The application's secret.
    #[schemars(extend("x-kdl" = "property"))]
    pub application_secret: SecretRef,
    /// The key of whose zones they are.
    #[schemars(extend("x-kdl" = "property"))]
    pub consumer_key: SecretRef,
    /// The URL of the API. Left out: `https://eu.api.ovh.com/1.0` (OVHcloud).
    #[schemars(extend("x-kdl" = "property", "examples" = ["https://ca.api.ovh.com/1.0"]))]
    pub url: Option<Url>,
}

/// Google Cloud DNS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Google {
    /// The project whose zones they are.
    #[schemars(extend("x-kdl" = "property", "examples" = ["mail-dns"]))]
    pub project: String,
    /// The JSON key of a service account. Left out: what the machine's own account gives.
    #[schemars(extend("x-kdl" = "property"))]
    pub key: Option<SecretRef>,
    /// The URL of the API. Left out: Google's.
    #[schemars(extend("x-kdl" = "property", "examples" = ["https://dns.googleapis.com/dns/v1"]))]
    pub url: Option<Url>,
}

/// Azure DNS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Azure {
    /// The directory of the application.
    #[schemars(extend("x-kdl" = "property", "examples" = ["72f988bf-86f1-41af-91ab-2d7cd011db47"]))]
    pub tenant: String,
    /// The application.
    #[schemars(extend("x-kdl" = "property", "examples" = ["4f5b9a2e-3c1d-4f7a-9b61-0a1b2c3d4e5f"]))]
    pub client: String,
    /// The application's secret.
    #[schemars(extend("x-kdl" = "property"))]
    pub secret: SecretRef,
    /// The subscription whose zones they are.
    #[schemars(extend("x-kdl" = "property", "examples" = ["0b1f6471-1bf0-4dda-aec3-cb9272f09590"]))]
    pub subscription: String,
    /// The resource group that holds them.
    #[schemars(extend("x-kdl" = "property", "examples" = ["dns"]))]
    pub group: String,
    /// The URL of the API. Left out: Azure's.
    #[schemars(extend("x-kdl" = "property", "examples" = ["https://management.azure.com"]))]
    pub url: Option<Url>,
    /// The URL that gives access tokens. Left out: Microsoft's.
    #[schemars(extend("x-kdl" = "property", "examples" = ["https://login.microsoftonline.com"]))]
    pub login: Option<Url>,
}

/// A name server that takes dynamic updates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rfc2136 {
    /// The primary server.
    #[schemars(with = "String", extend("x-kdl" = "argument", "format" = "socket-address", "examples" = ["192.0.2.53:53"]))]
    pub server: SocketAddr,
    /// The TSIG key's name.
    #[schemars(extend("x-kdl" = "property", "examples" = ["waybill."]))]
    pub key: String,
    /// The TSIG algorithm (RFC 8945 §6).
    #[schemars(extend("x-kdl" = "property", "examples" = ["hmac-sha256"]))]
    pub algorithm: String,
    /// The TSIG secret, base64.
    #[schemars(extend("x-kdl" = "property"))]
    pub secret: SecretRef,
}

/// A PowerDNS server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PowerDns {
    /// The URL of its HTTP API.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["http://127.0.0.1:8081"]))]
    pub url: Url,
    /// Its key.
    #[schemars(extend("x-kdl" = "property"))]
    pub api_key: SecretRef,
    /// Which of its servers. Left out: `localhost` (PowerDNS).
    #[schemars(extend("x-kdl" = "property", "examples" = ["localhost"]))]
    pub server: Option<String>,
}

/// Master files in a folder, `ZONE.zone` each. What is changed are the records of mail and the SOA serial; comments,
/// layout, SOA and NS stay. A zone's file is written once by hand, with its SOA and NS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ZoneFile {
    /// The folder; a relative one begins at the spec's.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["zones"]))]
    pub folder: String,
    /// What makes the name server load a zone that was written: a program and its arguments, `{zone}` for the zone's
    /// name. Left out: it looks by itself (Waybill).
    #[serde(default)]
    #[schemars(extend("examples" = [["rndc", "reload", "{zone}"]]))]
    pub reload: Vec<String>,
}

/// Amazon Route 53.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Route53 {
    /// The access key's id. Left out: what the machine's role gives.
    #[schemars(extend("x-kdl" = "property"))]
    pub access_key: Option<SecretRef>,
    /// The access key. Left out: what the machine's role gives.
    #[schemars(extend("x-kdl" = "property"))]
    pub secret_key: Option<SecretRef>,
    /// The role to take on. Left out: none.
    #[schemars(extend("x-kdl" = "property", "examples" = ["arn:aws:iam::123456789012:role/dns"]))]
    pub role: Option<String>,
    /// The region that signs requests. Left out: `us-east-1` (Amazon).
    #[schemars(extend("x-kdl" = "property", "examples" = ["us-east-1"]))]
    pub region: Option<String>,
    /// The URL of the API. Left out: `AWS_ENDPOINT_URL_ROUTE_53`, `AWS_ENDPOINT_URL`, or Amazon's.
    #[schemars(extend("x-kdl" = "property", "examples" = ["https://route53.amazonaws.com"]))]
    pub url: Option<Url>,
}

/// Where `waybill apply` notes what it wrote. Exactly one kind inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct State {
    /// A file beside the spec.
    #[schemars(extend("examples" = ["waybill.state.json"]))]
    pub file: Option<String>,
    /// An object in a bucket, its name the `prefix`.
    pub s3: Option<S3>,
    /// A branch of a Git repository.
    pub git: Option<GitState>,
    /// A row of a PostgreSQL table.
    pub postgresql: Option<Database>,
}

/// A branch of a Git repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GitState {
    /// The branch.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["waybill-state"]))]
    pub branch: String,
    /// The remote. Left out: `origin` of the repository that holds the spec (Git).
    #[schemars(extend("x-kdl" = "property", "examples" = ["origin"]))]
    pub remote: Option<String>,
}

/// Which DNS servers to ask. Left out: the system's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Resolver {
    /// Recursive servers. Left out: the system's.
    #[schemars(schema_with = "socket_addresses")]
    pub server: Vec<SocketAddr>,
    /// DNSSEC trust anchors in place of IANA's root. Left out: IANA's root (RFC 9718).
    #[schemars(extend("x-unserved" = "DNSSEC validation"))]
    pub trust_anchor: Option<SecretRef>,
    /// How long an answer is waited for. Left out: `5s` (resolv.conf).
    #[schemars(extend("x-unserved" = "the resolver's time limit"))]
    pub timeout: Option<Period>,
    /// The servers are asked over TLS (RFC 7858), by this name. Left out: in the clear.
    #[schemars(extend("x-unserved" = "DNS over TLS", "examples" = ["dns.example.org"]))]
    pub tls: Option<String>,
}
