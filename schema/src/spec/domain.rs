//! Mail domains, and what they start from.

use super::allow::{Allow, Level};
use super::authentication::{Dkim, Dmarc, MtaSts, Spf};
use super::host::{Listen, Outbound, Tls};
use super::mailbox::{Mailbox, Retention};
use super::outbound::DomainRelay;
use super::people::{Account, AccountDefaults, Accounts, Alias, Group, List};
use crate::form::SpecFile;
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
    /// Another domain from which it takes everything but the people. Left out: none.
    #[schemars(extend("x-kdl" = "property"))]
    pub like: Option<DomainName>,
    /// The hosts that take its mail. Left out: the spec's one host.
    #[serde(default)]
    pub host: Vec<DomainHost>,
    /// Where its zone is published, and what is changed in it.
    pub dns: Option<DomainDns>,
    /// Its zone is signed (RFC 9364), so TLSA records are published in it. Left out: `#false`.
    pub dnssec: Option<bool>,
    /// CAA records are published for it where ACME is used (RFC 8659). Left out: `#false`.
    pub caa: Option<bool>,
    /// Its signing keys (RFC 6376).
    pub dkim: Option<Dkim>,
    /// Who else sends for it (RFC 7208). Left out: only its own hosts; bare too.
    pub spf: Option<Spf>,
    /// What others do with mail that is not its (RFC 9989). Left out: `reject`, reports to postmaster.
    pub dmarc: Option<Dmarc>,
    /// TLS for mail to it (RFC 8461). Left out: `testing`, where a host of it serves https.
    pub mta_sts: Option<MtaSts>,
    /// Who hears of others' TLS troubles with it (RFC 8460). Left out: postmaster.
    #[serde(default)]
    #[schemars(extend("x-formerly" = {"tls-rpt": "2028-01-01"}))]
    pub tls_report: Vec<Address>,
    /// What each of its accounts may keep, unless the account says otherwise. Left out: anything (Waybill).
    pub quota: Option<Size>,
    /// The `directory` that its people come from. Left out: the spec.
    #[schemars(extend("examples" = ["corp"]))]
    pub directory: Option<String>,
    /// People with a mailbox.
    #[serde(default)]
    pub account: Vec<Account>,
    /// Files of people with a mailbox; they come behind those of `account`.
    #[serde(default)]
    pub accounts: Vec<Accounts>,
    /// Other addresses of people here or elsewhere.
    #[serde(default)]
    pub alias: Vec<Alias>,
    /// Addresses of several people, who each get a copy.
    #[serde(default)]
    pub group: Vec<Group>,
    /// Mailing lists.
    #[serde(default)]
    pub list: Vec<List>,
    /// Who gets the mail for addresses that do not exist. Left out: it is refused (RFC 5321 §3.3).
    #[schemars(extend("x-formerly" = {"catchall": "2028-01-01"}))]
    pub catch_all: Option<LocalOrAddress>,
    /// Who keeps its people. Left out: `spec`; the spec alone says who is there (Waybill).
    pub people: Option<PeopleFrom>,
    /// What all of its accounts together may keep. Left out: anything (Waybill).
    #[schemars(extend("x-unserved" = "quotas of domains"))]
    pub domain_quota: Option<Size>,
    /// Nobody of it can log in, and its mail is refused for now. Left out: `#false`.
    #[schemars(extend("x-unserved" = "suspended domains"))]
    pub suspended: Option<bool>,
    /// What parts a mailbox's name from what follows it, as in `ada+news` (RFC 5233). Left out: `+` (Waybill).
    #[schemars(extend("x-unserved" = "another delimiter", "examples" = ["-"]), inner(regex(pattern = r"^[-+=_.#]$")))]
    pub delimiter: Option<String>,
    /// Mail to anything at `ada.` and the domain's name is ada's. Left out: `#false`.
    #[schemars(extend("x-unserved" = "addresses in subdomains"))]
    pub subdomains: Option<bool>,
    /// A script for its people until they set one of their own (RFC 5228). Left out: none.
    #[schemars(extend("x-unserved" = "Sieve"))]
    pub sieve: Option<SpecFile>,
    /// The `route` that its people's mail to other servers takes. Left out: by MX (RFC 5321 §5.1).
    #[schemars(extend("x-unserved" = "routes", "examples" = ["provider"]))]
    pub route: Option<String>,
    /// Its mailboxes are elsewhere: mail is taken in and passed on. Left out: they are here.
    #[schemars(extend("x-unserved" = "relaying for other servers"))]
    pub relay: Option<DomainRelay>,
    /// Mailboxes that every account has from the start. Left out: Archive, Drafts, Junk, Sent and Trash (RFC 6154).
    #[serde(default)]
    #[schemars(extend("x-unserved" = "mailboxes of the spec"))]
    pub mailbox: Vec<Mailbox>,
    /// How long mail is kept. Left out: `30d` in Junk and Trash, else for good (Waybill).
    #[schemars(extend("x-unserved" = "retention"))]
    pub retention: Option<Retention>,
    /// What programs call it when they set themselves up. Left out: its name.
    #[schemars(extend("x-unserved" = "titles", "examples" = ["Example Ltd"]))]
    pub title: Option<String>,
    /// The language that the server writes to its people in (RFC 5646). Left out: `en` (Waybill).
    #[schemars(extend("x-unserved" = "a choice of language", "examples" = ["de"]))]
    pub language: Option<String>,
    /// Findings that are borne for a while here.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// How bad kinds of findings are here.
    #[serde(default)]
    pub level: Vec<Level>,
}

/// Who keeps a domain's people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum PeopleFrom {
    /// The spec.
    #[default]
    Spec,
    /// The server, where its API changes them; those of the spec stay the spec's.
    Api,
}

/// A host that takes a domain's mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DomainHost {
    /// A host of the spec.
    #[schemars(extend("x-kdl" = "argument"))]
    pub name: HostName,
    /// The MX preference, lowest first (RFC 5321 §5.1). Left out: 10 (Waybill).
    #[schemars(extend("x-kdl" = "property", "examples" = [10]))]
    pub priority: Option<u16>,
}

/// A domain's zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DomainDns {
    /// The `dns` node that publishes it. Left out: none does; `waybill build` writes it to a file.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["main"]))]
    pub provider: Option<String>,
    /// How long its records may be cached. Left out: `1h` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub ttl: Option<Period>,
    /// How long MX records and the addresses of hosts may be cached while they change: they are lowered to that first, and
    /// change when no cache holds them for longer. Left out: they change at once.
    #[schemars(extend("x-kdl" = "property", "examples" = ["5m"]))]
    pub move_ttl: Option<Period>,
    /// Its zone is a customer's, who sets records once that lead to where everything that changes is published: keys,
    /// policies, ids. Left out: everything is in its own zone.
    pub delegate: Option<Delegate>,
    /// Record sets not to publish.
    pub omit: Vec<RecordName>,
    /// Records to publish in place of a derived set of that name and type, or beside all of them. Several nodes of one
    /// name and type are one set.
    pub record: Vec<ExtraRecord>,
}

/// Where what changes of a customer's zone is published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Delegate {
    /// The name below which it is, in the zone of another domain of the spec.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["dkim.example.org"]))]
    pub to: DomainName,
    /// The selectors that keys take turns with: the customer sets a record for each, so there is no other. Left out:
    /// `wb1`, `wb2`, `wb3` and `wb4` (Waybill).
    #[serde(default)]
    #[schemars(extend("examples" = [["s1", "s2", "s3", "s4"]]))]
    pub selector: Vec<String>,
}

/// A record set by its name and type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecordName {
    /// The owner name, relative to the domain; `@` is the domain, `*` all that is not there (RFC 4592).
    #[schemars(extend("x-kdl" = "argument", "examples" = ["@"]))]
    pub name: String,
    /// The record type: A, AAAA, CNAME, MX, TXT, SRV, CAA or TLSA.
    #[serde(rename = "type")]
    #[schemars(extend("x-kdl" = "argument", "examples" = ["TXT"]))]
    pub kind: String,
}

/// A record of the operator's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExtraRecord {
    /// The owner name, relative to the domain; `@` is the domain, `*` all that is not there (RFC 4592).
    #[schemars(extend("x-kdl" = "argument", "examples" = ["@"]))]
    pub name: String,
    /// The record type: A, AAAA, CNAME, MX, TXT, SRV, CAA or TLSA.
    #[serde(rename = "type")]
    #[schemars(extend("x-kdl" = "argument", "examples" = ["TXT"]))]
    pub kind: String,
    /// The values, each a record, as in a master file; TXT without quotes.
    #[schemars(extend("x-kdl" = "arguments", "examples" = [["site-verification=1"]]), length(min = 1))]
    pub value: Vec<String>,
}

/// What every node of a kind starts from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Defaults {
    /// What every host starts from.
    pub host: Option<HostDefaults>,
    /// What every domain starts from.
    pub domain: Option<DomainDefaults>,
    /// What every account starts from.
    pub account: Option<AccountDefaults>,
}

/// What every host starts from; what the host itself says wins, each node as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HostDefaults {
    /// As in `host`.
    pub listen: Option<Listen>,
    /// As in `host`.
    pub outbound: Option<Outbound>,
    /// As in `host`.
    pub tls: Option<Tls>,
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
    #[schemars(extend("x-formerly" = {"tls-rpt": "2028-01-01"}))]
    pub tls_report: Vec<Address>,
    /// As in `domain`.
    pub quota: Option<Size>,
    /// As in `domain`.
    #[schemars(extend("x-unserved" = "quotas of domains"))]
    pub domain_quota: Option<Size>,
    /// As in `domain`.
    #[schemars(extend("x-unserved" = "another delimiter", "examples" = ["-"]), inner(regex(pattern = r"^[-+=_.#]$")))]
    pub delimiter: Option<String>,
    /// As in `domain`.
    #[schemars(extend("x-unserved" = "addresses in subdomains"))]
    pub subdomains: Option<bool>,
    /// As in `domain`.
    #[schemars(extend("x-unserved" = "Sieve"))]
    pub sieve: Option<SpecFile>,
    /// As in `domain`.
    #[schemars(extend("x-unserved" = "routes", "examples" = ["provider"]))]
    pub route: Option<String>,
    /// As in `domain`.
    #[schemars(extend("x-unserved" = "relaying for other servers"))]
    pub relay: Option<DomainRelay>,
    /// As in `domain`.
    #[schemars(extend("x-unserved" = "mailboxes of the spec"))]
    pub mailbox: Vec<Mailbox>,
    /// As in `domain`.
    #[schemars(extend("x-unserved" = "retention"))]
    pub retention: Option<Retention>,
    /// As in `domain`.
    #[schemars(extend("x-unserved" = "a choice of language", "examples" = ["de"]))]
    pub language: Option<String>,
}
