//! Who has an address.

use super::mailbox::{Forward, Mailbox, Retention, Share};
use crate::form::SpecFile;
use crate::name::{LocalOrAddress, LocalPart};
use crate::unit::{Rate, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A person with a mailbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Account {
    /// The part of the address before the `@`. The full address is the login.
    #[schemars(extend("x-kdl" = "argument"))]
    pub local: LocalPart,
    /// The person's name. Left out: none is shown.
    #[schemars(extend("x-kdl" = "property", "examples" = ["Ada Lovelace"]))]
    pub name: Option<String>,
    /// What the person can prove itself by. Left out: nothing, and nobody can log in.
    #[serde(default)]
    pub password: Vec<Credential>,
    /// Other addresses of the same mailbox.
    #[serde(default)]
    pub alias: Vec<LocalOrAddress>,
    /// What the mailbox may hold. Left out: what the domain says, then `defaults`, else anything (Waybill).
    pub quota: Option<Size>,
    /// Nobody can log in, and mail is kept. Left out: `#false`.
    pub suspended: Option<bool>,
    /// A password for one program, where the person's own is not given away.
    #[serde(default)]
    pub app_password: Vec<AppPassword>,
    /// What the person may do beside using the own mail. Left out: `user`, nothing.
    #[schemars(extend("x-unserved" = "roles", "examples" = ["support"]))]
    pub role: Option<String>,
    /// Which services the person may use. Left out: all that the host offers.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "services by account"))]
    pub service: Vec<super::host::ServiceName>,
    /// Other people's addresses that the person may send as. Left out: none.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "sending as others"))]
    pub send_as: Vec<LocalOrAddress>,
    /// How many messages the person may send. Left out: what `submission` says.
    #[schemars(extend("x-unserved" = "rates by account"))]
    pub rate: Option<Rate>,
    /// Mail goes on to others.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "forwarding"))]
    pub forward: Vec<Forward>,
    /// A script that runs until the person sets one (RFC 5228). Left out: what the domain says.
    #[schemars(extend("x-unserved" = "Sieve"))]
    pub sieve: Option<SpecFile>,
    /// Mailboxes that others see too.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "shares"))]
    pub share: Vec<Share>,
    /// Mailboxes beside those that the domain gives to everybody.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "mailboxes of the spec"))]
    pub mailbox: Vec<Mailbox>,
    /// How long mail is kept. Left out: what the domain says.
    #[schemars(extend("x-unserved" = "retention"))]
    pub retention: Option<Retention>,
    /// The language that the server writes to the person in (RFC 5646). Left out: the domain's.
    #[schemars(extend("x-unserved" = "a choice of language", "examples" = ["de"]))]
    pub language: Option<String>,
}

/// What every account starts from; what the account or its domain says wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AccountDefaults {
    /// As in `account`.
    pub quota: Option<Size>,
    /// As in `account`.
    #[schemars(extend("x-unserved" = "services by account"))]
    pub service: Vec<super::host::ServiceName>,
    /// As in `account`.
    #[schemars(extend("x-unserved" = "rates by account"))]
    pub rate: Option<Rate>,
    /// As in `account`.
    #[schemars(extend("x-unserved" = "a choice of language", "examples" = ["de"]))]
    pub language: Option<String>,
}

/// A password for one program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AppPassword {
    /// The program.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["phone"]))]
    pub name: String,
    /// Its hash.
    #[schemars(extend("x-kdl" = "argument"))]
    pub password: Credential,
}

/// A file of people: `.csv` with a first line that names its columns, or `.jsonl` with a JSON object a line. The columns
/// are those of `account`: `local`, `name`, `password`, `alias`, `quota`; several passwords or aliases are separated by
/// spaces. At most 1,000,000 people come from files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Accounts {
    /// The file, relative to this one and inside the spec's folder.
    #[schemars(extend("x-kdl" = "property"), extend("examples" = ["people.csv"]))]
    pub from: String,
}

/// Something a person can prove itself by.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Credential {
    /// A password hash: argon2id, bcrypt, scrypt, PBKDF2 (PHC strings) or sha512-crypt.
    Hash(String),
    /// A SCRAM verifier: `SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER`, RFC 5803's form.
    Scram(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credential::Hash(_) => "(hash)…",
            Credential::Scram(_) => "(scram)…",
        })
    }
}

/// Another address of people here or elsewhere; the sender is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Alias {
    /// The part of the address before the `@`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub local: LocalPart,
    /// Whose mail it is.
    #[schemars(extend("x-kdl" = "arguments"), length(min = 1))]
    pub to: Vec<LocalOrAddress>,
}

/// An address of several people, who each get a copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Group {
    /// The part of the address before the `@`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub local: LocalPart,
    /// The people, or other groups.
    #[serde(default)]
    pub member: Vec<LocalOrAddress>,
    /// Who may write to it. Left out: `anyone`.
    #[schemars(extend("x-unserved" = "groups that not everybody may write to"))]
    pub posting: Option<Posting>,
}

/// A mailing list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct List {
    /// The part of the address before the `@`.
    #[schemars(extend("x-kdl" = "argument"))]
    pub local: LocalPart,
    /// The list's name, in `List-Id` (RFC 2919 §2). Left out: none.
    #[schemars(extend("x-kdl" = "property", "examples" = ["News of the house"]))]
    pub name: Option<String>,
    /// Who gets its mail.
    #[serde(default)]
    pub member: Vec<LocalOrAddress>,
    /// Who looks after it and gets its bounces. Left out: postmaster (RFC 5321 §4.5.1).
    #[serde(default)]
    pub owner: Vec<LocalOrAddress>,
    /// Who may post. Left out: `members` (Waybill).
    pub posting: Option<Posting>,
    /// Who lets through what others post. Left out: it is refused.
    #[serde(default)]
    #[schemars(extend("x-unserved" = "moderation"))]
    pub moderator: Vec<LocalOrAddress>,
    /// What stands before the subject. Left out: nothing; it breaks signatures (RFC 6377 §3.3).
    #[schemars(extend("x-unserved" = "subject prefixes", "examples" = ["[news]"]))]
    pub prefix: Option<String>,
    /// Where answers go. Left out: `author` (Waybill).
    #[schemars(extend("x-unserved" = "a choice of where answers go"))]
    pub reply_to: Option<ReplyTo>,
    /// The largest message. Left out: what `limits` says.
    #[schemars(extend("x-unserved" = "sizes by list"))]
    pub message_size: Option<Size>,
    /// Who may subscribe by mail. Left out: `nobody`; the spec says who is a member (Waybill).
    #[schemars(extend("x-unserved" = "subscribing"))]
    pub subscribing: Option<Subscribing>,
}

/// Who may post to a list. Owners always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Posting {
    /// Members, by their From, authenticated.
    Members,
    /// Everybody.
    Anyone,
    /// Owners only.
    Owners,
}

/// Where answers to a list's mail go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ReplyTo {
    /// To whoever wrote.
    Author,
    /// To the list.
    List,
}

/// Who may subscribe to a list by mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Subscribing {
    /// Nobody.
    Nobody,
    /// Who answers a message that asks whether they did.
    Confirmed,
    /// Whom an owner lets in.
    Approved,
}
