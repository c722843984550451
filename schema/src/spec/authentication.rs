//! How a domain proves that its mail is its own: DKIM, SPF, DMARC; and TLS for mail to it.

use crate::name::{Address, DomainName, SecretRef};
use crate::unit::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A domain's signing keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Dkim {
    /// How old a key may get: `waybill apply` puts a new one in its place then, in the spec's files. Left out: any age.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub rotate: Option<Period>,
    /// The keys; mail is signed with each.
    pub key: Vec<DkimKey>,
    /// Keys that no mail is signed with any more, published until mail under way has arrived; a week is usual.
    pub retiring: Vec<RetiringKey>,
    /// Selectors whose keys hold no longer, published as an empty `p=` (RFC 6376 §3.6.1).
    #[schemars(extend("examples" = [["202511e"]]))]
    pub revoked: Vec<String>,
}

/// A DKIM key that goes: it is published until mail under way has arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RetiringKey {
    /// Its selector.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["202511e"]))]
    pub selector: String,
    /// `ed25519` (RFC 8463) or `rsa`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub algorithm: DkimAlgorithm,
    /// The value of `p=`.
    #[schemars(extend("x-kdl" = "property", "examples" = ["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]))]
    pub public: String,
    /// Where its private key is. It signs until `waybill apply` has seen the new keys at every name server. Left out: it
    /// signs no more.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub private: Option<SecretRef>,
}

/// A DKIM key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DkimKey {
    /// The selector, one or more DNS labels (RFC 6376 §3.1).
    #[schemars(extend("x-kdl" = "argument", "examples" = ["202611e"]))]
    pub selector: String,
    /// `ed25519` (RFC 8463) or `rsa`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub algorithm: DkimAlgorithm,
    /// The value of `p=` (RFC 6376 §3.6.1). Left out: taken from the private file.
    #[schemars(extend("x-kdl" = "property", "examples" = ["w5xaVZ6ea/p/7Yb9livyqm9O1VaxMAUicbQUZUNtt9g="]))]
    pub public: Option<String>,
    /// Where the private key is, PKCS#8 as PEM.
    #[schemars(extend("x-kdl" = "property"))]
    pub private: SecretRef,
    /// `t=y`: receivers treat mail as if it were not signed (RFC 6376 §3.6.1).
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub testing: Option<bool>,
}

/// A DKIM key's algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum DkimAlgorithm {
    /// RFC 8463.
    Ed25519,
    /// RFC 6376 with SHA-256; at least 1024 bits, 2048 wanted (RFC 8301).
    Rsa,
}

/// Who else sends for a domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Spf {
    /// Mechanisms after `mx`, in this order.
    #[schemars(extend("x-kdl" = "sequence"))]
    pub terms: Vec<SpfTerm>,
    /// What of everybody else (RFC 7208 §5.1). Left out: `fail` (Waybill).
    pub all: Option<SpfAll>,
}

/// An SPF mechanism (RFC 7208 §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpfTerm {
    /// Whoever that domain's record lets send.
    Include(DomainName),
    /// The addresses of that name.
    A(DomainName),
    /// The mail servers of that domain.
    Mx(DomainName),
    /// An IPv4 address or network.
    Ip4(String),
    /// An IPv6 address or network.
    Ip6(String),
    /// A look-up by macro.
    Exists(String),
}

/// SPF's answer for everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum SpfAll {
    /// `-all`
    Fail,
    /// `~all`
    Softfail,
    /// `?all`
    Neutral,
}

/// What others do with mail that is not a domain's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dmarc {
    /// `p=`, what others do with mail that is not the domain's. Left out: `reject` (Waybill).
    #[schemars(extend("x-kdl" = "argument"))]
    pub policy: Option<DmarcPolicy>,
    /// Who gets reports, aggregate and of failures. Left out: `postmaster` of the domain (Waybill).
    #[schemars(extend("x-kdl" = "property", "x-formerly" = {"rua": "2028-01-01"}))]
    pub report: Option<Address>,
    /// `sp=`, for subdomains. Left out: as `p=` (RFC 9989).
    #[schemars(extend("x-kdl" = "property"))]
    pub subdomain: Option<DmarcPolicy>,
    /// `np=`, for subdomains that do not exist. Left out: as `sp=` (RFC 9989).
    #[schemars(extend("x-kdl" = "property"))]
    pub nonexistent: Option<DmarcPolicy>,
    /// `t=y`: the policy is not to be applied yet. Left out: `#false` (RFC 9989).
    #[schemars(extend("x-kdl" = "property"))]
    pub testing: Option<bool>,
    /// `adkim=s` and `aspf=s`: subdomains do not stand for the domain. Left out: `#false` (RFC 9989).
    #[schemars(extend("x-kdl" = "property"))]
    pub strict: Option<bool>,
    /// `psd=y` for a public suffix, `psd=n` where an organisation begins (RFC 9989 §4.7).
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub psd: Option<bool>,
    /// How long `waybill apply` has each weaker policy published before the next. Left out: the policy is published as it
    /// is (Waybill).
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property", "examples" = ["14d"]))]
    pub step: Option<Period>,
}

/// A DMARC policy (RFC 9989 §4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum DmarcPolicy {
    /// Deliver.
    None,
    /// Treat as suspicious.
    Quarantine,
    /// Refuse.
    Reject,
}

/// TLS for mail to a domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MtaSts {
    /// What senders do where the certificate does not hold. Left out: `enforce`; without the node, `testing` (Waybill).
    #[schemars(extend("x-kdl" = "argument"))]
    pub mode: Option<MtaStsMode>,
    /// How long senders keep the policy, at most a year (RFC 8461 §3.2). Left out: `7d` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub max_age: Option<Period>,
    /// How long `waybill apply` has the policy tested before it is enforced. Left out: it is enforced at once (Waybill).
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property", "examples" = ["14d"]))]
    pub step: Option<Period>,
}

/// An MTA-STS policy's mode (RFC 8461 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum MtaStsMode {
    /// Deliver only under a valid certificate.
    Enforce,
    /// Report, but deliver.
    Testing,
    /// No policy any more.
    None,
}
