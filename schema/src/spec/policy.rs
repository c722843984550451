//! Mail policies: ordered rules of conditions and actions, as data.

use crate::form::{Network, Pattern};
use crate::name::{Address, DomainName};
use crate::unit::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rules that mail meets at one point of its way, in the order written; policies too hold in the order written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// Its name, for logs and findings.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["attachments"]))]
    pub name: String,
    /// Where on mail's way it holds. Left out: `data` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub at: Option<Stage>,
    /// The domains whose mail meets it. Left out: all mail.
    #[serde(default)]
    pub domain: Vec<DomainName>,
    /// The rules.
    #[serde(default)]
    pub rule: Vec<Rule>,
}

/// A point of mail's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Stage {
    /// A client has connected.
    Connect,
    /// It has said who it is (RFC 5321 §4.1.1.1).
    Helo,
    /// It has said who sends (RFC 5321 §4.1.1.2).
    Mail,
    /// It has named a recipient (RFC 5321 §4.1.1.3).
    Rcpt,
    /// The message is there, of others or of our own people (RFC 5321 §4.1.1.4).
    Data,
    /// A message of our own people is there (RFC 6409).
    Submit,
    /// A message is about to be put into a mailbox.
    Deliver,
    /// A message is about to be sent to another server.
    Relay,
}

/// What to do with some mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Its name, for logs and findings.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["no programs"]))]
    pub name: String,
    /// Which mail: all conditions of one `when` hold. Of several, one is enough. Left out: any mail.
    #[serde(default)]
    pub when: Vec<When>,
    /// What is done, in this order.
    pub then: Then,
}

/// Conditions that all hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct When {
    /// The client's address.
    pub client: Vec<NetworkTest>,
    /// The client's name by reverse look-up, where it holds both ways (RFC 8601 §2.7.3).
    pub client_name: Vec<TextTest>,
    /// What the client calls itself.
    pub helo: Vec<TextTest>,
    /// The login of whoever sends; empty for other servers.
    pub account: Vec<TextTest>,
    /// The envelope's sender; empty for bounces.
    pub sender: Vec<TextTest>,
    /// The domain of the envelope's sender.
    pub sender_domain: Vec<TextTest>,
    /// A recipient of the envelope.
    pub recipient: Vec<TextTest>,
    /// The domain of a recipient of the envelope.
    pub recipient_domain: Vec<TextTest>,
    /// How many recipients there are.
    pub recipients: Vec<CountTest>,
    /// A header field, decoded (RFC 2047).
    pub header: Vec<HeaderTest>,
    /// The text of the message, decoded.
    pub body: Vec<TextTest>,
    /// The server's name in a link of the message.
    pub link: Vec<TextTest>,
    /// The file name of a part (RFC 2183 §2.3).
    pub attachment_name: Vec<TextTest>,
    /// The media type of a part.
    pub attachment_type: Vec<TextTest>,
    /// The message's size.
    pub size: Vec<SizeTest>,
    /// The spam score.
    pub score: Vec<CountTest>,
    /// The client encrypts, or does not. Left out: either.
    pub encrypted: Option<bool>,
    /// Whoever sends has logged in, or has not. Left out: either.
    pub authenticated: Option<bool>,
    /// The message has attachments, or has none. Left out: either.
    pub attachments: Option<bool>,
    /// What SPF said (RFC 8601 §2.7.2).
    pub spf: Vec<AuthResult>,
    /// What DKIM said, the best of all signatures (RFC 8601 §2.7.1).
    pub dkim: Vec<AuthResult>,
    /// What DMARC said (RFC 9989).
    pub dmarc: Vec<AuthResult>,
    /// What ARC said (RFC 8617).
    pub arc: Vec<AuthResult>,
    /// The client is on this block list (RFC 5782).
    #[schemars(extend("examples" = [["zen.spamhaus.org"]]))]
    pub dnsbl: Vec<DomainName>,
}

/// A test of a text. Letters are the same in either case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TextTest {
    /// How the text is compared.
    #[schemars(extend("x-kdl" = "argument"))]
    pub test: TextOperator,
    /// What it is compared with; one of them is enough, and with `is-not` or `matches-not` none may fit. For
    /// `matches` each is a regular expression.
    #[schemars(extend("x-kdl" = "arguments", "examples" = [["example.org", "example.net"]]), length(min = 1))]
    pub value: Vec<String>,
}

/// How a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum TextOperator {
    /// It is one of them.
    Is,
    /// It is none of them.
    IsNot,
    /// It holds one of them.
    Contains,
    /// It begins with one of them.
    Begins,
    /// It ends with one of them.
    Ends,
    /// A regular expression is found in it.
    Matches,
    /// No regular expression is found in it.
    MatchesNot,
    /// For names of domains: it is one of them, or lies under one.
    Under,
}

/// A test of a header field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HeaderTest {
    /// The field's name.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["Subject"]))]
    pub name: String,
    /// How its value is compared; a field that is not there is empty.
    #[schemars(extend("x-kdl" = "argument"))]
    pub test: TextOperator,
    /// What it is compared with, as in other tests.
    #[schemars(extend("x-kdl" = "arguments", "examples" = [["invoice"]]), length(min = 1))]
    pub value: Vec<String>,
}

/// A test of an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkTest {
    /// Whether it lies in one of them, or in none.
    #[schemars(extend("x-kdl" = "argument"))]
    pub test: NetworkOperator,
    /// Networks.
    #[schemars(extend("x-kdl" = "arguments"), length(min = 1))]
    pub value: Vec<Network>,
}

/// How an address is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum NetworkOperator {
    /// It lies in one of them.
    In,
    /// It lies in none of them.
    NotIn,
}

/// A test of a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CountTest {
    /// How the number is compared.
    #[schemars(extend("x-kdl" = "argument"))]
    pub test: Order,
    /// With what.
    #[schemars(range(min = -100_000, max = 100_000), extend("x-kdl" = "argument", "examples" = [50]))]
    pub value: i32,
}

/// A test of a size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SizeTest {
    /// How the size is compared.
    #[schemars(extend("x-kdl" = "argument"))]
    pub test: Order,
    /// With what.
    #[schemars(extend("x-kdl" = "argument"))]
    pub value: Size,
}

/// More or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Order {
    /// More than that.
    Over,
    /// Less than that.
    Under,
}

/// What a check of authenticity said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum AuthResult {
    /// It is authentic.
    Pass,
    /// It is not.
    Fail,
    /// It is probably not (SPF).
    Softfail,
    /// The domain says nothing of it (SPF).
    Neutral,
    /// There was nothing to check.
    None,
    /// It could not be checked this time.
    Temperror,
    /// What was to be checked is wrong.
    Permerror,
}

/// What is done with mail, in this order. `accept`, `refuse`, `defer`, `discard` and `quarantine` are the last word; so
/// is `done` for the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Then {
    /// The actions.
    #[schemars(extend("x-kdl" = "sequence"), length(min = 1))]
    pub action: Vec<Action>,
}

/// Something done with mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Take it, whatever other policies and the spam score say.
    Accept(Bare),
    /// Refuse it for good, with this text (RFC 5321 §4.2.1).
    Refuse(Refusal),
    /// Refuse it for now, with this text; the sender tries again (RFC 5321 §4.2.1).
    Defer(Refusal),
    /// Take it and drop it, told to nobody.
    Discard(Bare),
    /// Take it, and keep it for an administrator to release.
    Quarantine(Bare),
    /// The rest of this policy's rules are not looked at.
    Done(Bare),
    /// Add so many points to the spam score; negative ones take away.
    Score(#[schemars(range(min = -1000, max = 1000))] i32),
    /// Put it into the mailbox for junk.
    Junk(Bare),
    /// Put it into this mailbox in place of INBOX (RFC 5228 §4.1).
    Mailbox(String),
    /// Set this keyword (RFC 9051 §2.3.2).
    Keyword(String),
    /// Add a header field at the top.
    AddHeader(NewHeader),
    /// Take every header field of this name out.
    RemoveHeader(String),
    /// Send it to this address in place of its recipients.
    Redirect(Address),
    /// Send a copy to this address too.
    Copy(Address),
    /// Take this `route`.
    Route(String),
    /// Send it from this `pool` of `outbound`.
    Pool(String),
    /// Put this text at the message's end, where that breaks no signature.
    Footer(String),
    /// Write this into the log.
    Log(String),
}

/// Nothing more to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Bare {}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Refusal {
    /// The text, on one line.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["programs are not taken"]))]
    pub text: String,
    /// The enhanced status code (RFC 3463). Left out: `5.7.1` or `4.7.1`.
    #[schemars(extend("x-kdl" = "property", "examples" = ["5.7.1"]), regex(pattern = r"^[45]\.\d{1,3}\.\d{1,3}$"))]
    pub status: Option<String>,
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NewHeader {
    /// Its name.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["X-Checked"]))]
    pub name: String,
    /// Its value.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["yes"]))]
    pub value: String,
}

/// An address that is written otherwise, for whatever the pattern is found in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rewrite {
    /// Which address.
    #[schemars(extend("x-kdl" = "argument"))]
    pub what: RewriteWhat,
    /// What is looked for in it.
    #[schemars(extend("x-kdl" = "property", "examples" = ["^(.+)@old\\.example$"]))]
    pub from: Pattern,
    /// What stands in its place; `$1` is the first group.
    #[schemars(extend("x-kdl" = "property", "examples" = ["$1@example.org"]))]
    pub to: String,
}

/// Which address is written otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum RewriteWhat {
    /// The envelope's sender.
    Sender,
    /// A recipient of the envelope.
    Recipient,
    /// The address in `From`.
    From,
    /// The addresses in `To` and `Cc`.
    To,
}
