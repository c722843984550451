//! What else looks at mail: milters, HTTP hooks, Sieve scripts, spam rules.

use super::inbound::{Dnsbl, Peers};
use super::policy::{Stage, When};
use crate::form::{Endpoint, SpecFile, Url};
use crate::name::{Address, SecretRef};
use crate::unit::{Period, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A mail filter by the milter protocol; several are asked in the order written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Milter {
    /// Its name, for logs and findings.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["clamav"]))]
    pub name: String,
    /// Where it listens.
    #[schemars(extend("x-kdl" = "argument"))]
    pub server: Endpoint,
    /// What happens where it does not answer. Left out: `defer` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub on_failure: Option<OnFailure>,
    /// How long one answer is waited for. Left out: `30s` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub timeout: Option<Period>,
    /// Messages beyond this size are not shown to it. Left out: all are.
    #[schemars(extend("x-kdl" = "property"))]
    pub most: Option<Size>,
    /// Our own people's mail is shown to it too. Left out: `#true` (Waybill).
    pub submission: Option<bool>,
}

/// What happens where a filter does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum OnFailure {
    /// Mail goes on without it.
    Accept,
    /// Mail is refused for now.
    Defer,
    /// Mail is refused.
    Refuse,
}

/// An HTTP service that is asked about mail, with JSON both ways; several are asked in the order written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hook {
    /// Its name, for logs and findings.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["archive"]))]
    pub name: String,
    /// The service.
    #[schemars(extend("x-kdl" = "argument"))]
    pub url: Url,
    /// A token sent as `Authorization: Bearer` (RFC 6750 §2.1). Left out: none.
    #[schemars(extend("x-kdl" = "property"))]
    pub token: Option<SecretRef>,
    /// What happens where it does not answer. Left out: `defer` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub on_failure: Option<OnFailure>,
    /// How long one answer is waited for. Left out: `30s` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub timeout: Option<Period>,
    /// When it is asked. Left out: at `data`.
    #[serde(default)]
    pub at: Vec<Stage>,
}

/// Sieve scripts for everybody, and what scripts may do (RFC 5228).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Sieve {
    /// Scripts that run before a person's own, in this order.
    pub before: Vec<SpecFile>,
    /// Scripts that run after a person's own, where that left the mail alone.
    pub after: Vec<SpecFile>,
    /// Extensions that people's scripts may not use. Left out: none.
    #[schemars(extend("examples" = [["enotify"]]))]
    pub without: Vec<String>,
    /// The largest script. Left out: `1MiB` (Waybill).
    pub script_size: Option<Size>,
    /// Scripts that a person may keep. Left out: 20 (Waybill).
    #[schemars(range(min = 1, max = 1000), extend("examples" = [20]))]
    pub scripts: Option<u32>,
    /// Addresses that one run may redirect a message to. Left out: 5 (Waybill; RFC 5228 §10).
    #[schemars(range(max = 100), extend("examples" = [5]))]
    pub redirects: Option<u32>,
    /// Commands and tests that one run may take. Left out: 10000 (Waybill).
    #[schemars(range(min = 100, max = 10_000_000), extend("examples" = [10000]))]
    pub steps: Option<u32>,
    /// How deep scripts may include others (RFC 6609 §3.2). Left out: 5 (Waybill).
    #[schemars(range(max = 20), extend("examples" = [5]))]
    pub includes: Option<u32>,
    /// The shortest time between two vacation answers to one sender (RFC 5230 §4.1). Left out: `1d` (Waybill).
    pub vacation_least: Option<Period>,
}

/// How spam is told from mail. Points add up; they are whole numbers, ten to what other filters call one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Spam {
    /// From so many points mail goes to Junk. Left out: 50 (Waybill).
    #[schemars(range(min = -1000, max = 10_000), extend("examples" = [50]))]
    pub junk: Option<i32>,
    /// From so many points mail is refused. Left out: 150 (Waybill).
    #[schemars(range(min = -1000, max = 10_000), extend("examples" = [150]))]
    pub refuse_from: Option<i32>,
    /// From so many points mail is taken and dropped, told to nobody. Left out: never (Waybill).
    #[schemars(range(min = -1000, max = 10_000), extend("examples" = [500]))]
    pub discard_from: Option<i32>,
    /// The points and the tests that gave them are noted in `X-Spam-Status`. Left out: `#true` (Waybill).
    pub header: Option<bool>,
    /// Other points for a test that the server has built in.
    pub test: Vec<SpamTest>,
    /// Tests of one's own.
    pub rule: Vec<SpamRule>,
    /// Lists in DNS that count here alone; those of `inbound` count too.
    pub dnsbl: Vec<Dnsbl>,
    /// What is learned from people's mail.
    pub bayes: Option<Bayes>,
    /// What is never spam.
    pub accept: Option<Peers>,
    /// What always is.
    pub refuse: Option<Peers>,
    /// Addresses that nobody has: whoever writes to one teaches the filter.
    pub trap: Vec<Address>,
}

/// A test that the server has built in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SpamTest {
    /// Its name.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["DMARC_FAIL"]), regex(pattern = r"^[A-Z][A-Z0-9_]{0,63}$"))]
    pub name: String,
    /// The points that it gives; 0 turns it off.
    #[schemars(range(min = -1000, max = 1000), extend("x-kdl" = "property", "examples" = [20]))]
    pub points: i32,
}

/// A test of one's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SpamRule {
    /// Its name, in capitals.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["LOCAL_LOTTERY"]), regex(pattern = r"^[A-Z][A-Z0-9_]{0,63}$"))]
    pub name: String,
    /// The points that it gives.
    #[schemars(range(min = -1000, max = 1000), extend("x-kdl" = "property", "examples" = [25]))]
    pub points: i32,
    /// Which mail: all conditions of one `when` hold. Of several, one is enough.
    #[schemars(length(min = 1))]
    pub when: Vec<When>,
}

/// What is learned from people's mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Bayes {
    /// Whose mail teaches. Left out: `everybody` (Waybill).
    pub scope: Option<BayesScope>,
    /// Messages of each sort that must have been learned before it counts. Left out: 200 (Waybill).
    #[schemars(range(min = 1, max = 1_000_000), extend("examples" = [200]))]
    pub least: Option<u32>,
    /// The most points that it gives, and takes. Left out: 40 (Waybill).
    #[schemars(range(min = 1, max = 1000), extend("examples" = [40]))]
    pub points: Option<i32>,
    /// Moving mail into Junk and out of it teaches. Left out: `#true` (Waybill).
    pub from_moves: Option<bool>,
    /// How long what was learned is kept without being seen again. Left out: `180d` (Waybill).
    pub keep: Option<Period>,
}

/// Whose mail teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum BayesScope {
    /// Everybody's teaches everybody's filter.
    Everybody,
    /// A domain's teaches its own.
    Domain,
    /// Each person's teaches their own.
    Person,
}
