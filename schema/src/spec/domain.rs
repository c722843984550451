//! Mail domains, and what they start from.

use super::allow::{Allow, Level};
use super::authentication::{Dkim, Dmarc, MtaSts, Spf};
use super::people::{Account, Alias, Group, List};
use crate::name::{Address, DomainName, HostName, LocalOrAddress};
use crate::unit::{Period, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A mail domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Domain {
    /// Its name.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: DomainName,
    /// Another domain from which it takes everything but the people.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub like: Option<DomainName>,
    /// The hosts that take its mail. Left out where the spec has one host.
    #[serde(default)]
    pub host: Vec<DomainHost>,
    /// Where its zone is published, and what is changed in it.
    #[serde(default)]
    pub dns: Option<DomainDns>,
    /// Its zone is signed, so TLSA records are published in it.
    #[serde(default)]
    pub dnssec: Option<bool>,
    /// CAA records are published for it where ACME is used.
    #[serde(default)]
    pub caa: Option<bool>,
    /// Its signing keys (RFC 6376).
    #[serde(default)]
    pub dkim: Option<Dkim>,
    /// Who else sends for it (RFC 7208). Left out or bare: only its own hosts.
    #[serde(default)]
    pub spf: Option<Spf>,
    /// What others do with mail that is not its (RFC 9989). Left out: `reject`, reports to postmaster.
    #[serde(default)]
    pub dmarc: Option<Dmarc>,
    /// TLS for mail to it (RFC 8461). Left out: `testing`, where a host of it serves https.
    #[serde(default)]
    pub mta_sts: Option<MtaSts>,
    /// Who hears of others' TLS troubles with it (RFC 8460). Left out: postmaster.
    #[serde(default)]
    pub tls_report: Vec<Address>,
    /// What each of its accounts may keep, unless the account says otherwise.
    #[serde(default)]
    pub quota: Option<Size>,
    /// Where its people come from, if not from the spec.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "directories"))]
    pub directory: Option<String>,
    /// People with a mailbox.
    #[serde(default)]
    pub account: Vec<Account>,
    /// Other addresses of people here or elsewhere.
    #[serde(default)]
    pub alias: Vec<Alias>,
    /// Addresses of several people, who each get a copy.
    #[serde(default)]
    pub group: Vec<Group>,
    /// Mailing lists.
    #[serde(default)]
    pub list: Vec<List>,
    /// Who gets the mail for addresses that do not exist.
    #[serde(default)]
    pub catch_all: Option<LocalOrAddress>,
    /// Findings that are borne for a while here.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// How bad kinds of findings are here.
    #[serde(default)]
    pub level: Vec<Level>,
}

/// A host that takes a domain's mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DomainHost {
    /// A host of the spec.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: HostName,
    /// The MX preference, lowest first; 10 unless said.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property"))]
    pub priority: Option<u16>,
}

/// A domain's zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DomainDns {
    /// The `dns` node that publishes it.
    #[schemars(extend("x-kdl" = "argument"))]
    pub provider: Option<String>,
    /// How long its records may be cached; `1h` unless said.
    #[schemars(extend("x-kdl" = "property"))]
    pub ttl: Option<Period>,
    /// Record sets not to publish.
    pub omit: Vec<RecordName>,
    /// Records to publish in place of a derived set of that name and type, or beside all of them. Several nodes of one
    /// name and type are one set.
    pub record: Vec<ExtraRecord>,
}

/// A record set by its name and type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecordName {
    /// The owner name, relative to the domain; `@` is the domain, `*` all that is not there (RFC 4592).
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: String,
    /// The record type, `TXT`.
    #[serde(rename = "type")]
    #[schemars(extend("x-kdl" = "argument"))]
    pub kind: String,
}

/// A record of the operator's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExtraRecord {
    /// The owner name, relative to the domain; `@` is the domain, `*` all that is not there (RFC 4592).
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: String,
    /// The record type: A, AAAA, CNAME, MX, TXT, SRV, CAA or TLSA.
    #[serde(rename = "type")]
    #[schemars(extend("x-kdl" = "argument"))]
    pub kind: String,
    /// The values, each a record, as in a master file; TXT without quotes.
    #[schemars(extend("x-kdl" = "arguments"), length(min = 1))]
    pub value: Vec<String>,
}

/// What every node of a kind starts from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Defaults {
    /// What every domain starts from.
    pub domain: Option<DomainDefaults>,
}

/// What every domain starts from; what the domain itself says wins. `dns`, `dmarc` and `mta-sts` are taken together
/// value by value, everything else as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DomainDefaults {
    /// As in `domain`.
    pub host: Vec<DomainHost>,
    /// As in `domain`.
    pub dns: Option<DomainDns>,
    /// As in `domain`.
    pub dnssec: Option<bool>,
    /// As in `domain`.
    pub caa: Option<bool>,
    /// As in `domain`.
    pub dkim: Option<Dkim>,
    /// As in `domain`.
    pub spf: Option<Spf>,
    /// As in `domain`.
    pub dmarc: Option<Dmarc>,
    /// As in `domain`.
    pub mta_sts: Option<MtaSts>,
    /// As in `domain`.
    pub tls_report: Vec<Address>,
    /// As in `domain`.
    pub quota: Option<Size>,
}
