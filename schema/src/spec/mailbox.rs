//! Mailboxes: which there are, who shares them, how long mail is kept.

use crate::name::LocalOrAddress;
use crate::unit::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A mailbox that every account has from the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mailbox {
    /// Its name; `/` parts levels.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["Sent"]))]
    pub name: String,
    /// What it is for (RFC 6154 §2). Left out: nothing in particular.
    #[serde(rename = "use")]
    #[schemars(extend("x-kdl" = "property"))]
    pub special_use: Option<SpecialUse>,
    /// Clients show it. Left out: `#true` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub subscribed: Option<bool>,
}

/// What a mailbox is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum SpecialUse {
    /// Mail that is kept for good (RFC 6154 §2).
    Archive,
    /// Mail not yet sent (RFC 6154 §2).
    Drafts,
    /// Spam (RFC 6154 §2).
    Junk,
    /// Mail that was sent (RFC 6154 §2).
    Sent,
    /// Mail that was deleted (RFC 6154 §2).
    Trash,
    /// Mail that was marked (RFC 6154 §2).
    Flagged,
    /// Mail that is important (RFC 8457 §3).
    Important,
}

/// A mailbox of an account that others see too (RFC 4314).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Share {
    /// The mailbox.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["Projects"]))]
    pub mailbox: String,
    /// The accounts or groups that see it.
    #[schemars(extend("x-kdl" = "arguments"), length(min = 1))]
    pub with: Vec<LocalOrAddress>,
    /// What they may do. Left out: `read` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub rights: Option<ShareRights>,
}

/// What others may do with a mailbox, by the rights of RFC 4314 §2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ShareRights {
    /// See and read it: `lrs`.
    Read,
    /// Put mail into it too: `lrsip`.
    Add,
    /// Change and remove mail too: `lrswipte`.
    Write,
    /// All, so that they may share it on: `lrswipkxtea`.
    Manage,
}

/// How long mail is kept, and what is kept beside the mailboxes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Retention {
    /// How long in Junk. Left out: `30d` (Waybill).
    pub junk: Option<Period>,
    /// How long in Trash. Left out: `30d` (Waybill).
    pub trash: Option<Period>,
    /// How long in other mailboxes. Left out: for good.
    pub mail: Option<Period>,
    /// How long what was removed can be brought back. Left out: `0s`, not at all (Waybill).
    pub removed: Option<Period>,
    /// Nothing is removed for good, whatever else is said. Left out: `#false`.
    pub hold: Option<bool>,
    /// A copy of all mail, in and out, goes to this address. Left out: none.
    pub journal: Option<LocalOrAddress>,
}

/// An account's mail goes on to others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Forward {
    /// Where to.
    #[schemars(extend("x-kdl" = "arguments"), length(min = 1))]
    pub to: Vec<LocalOrAddress>,
    /// A copy stays here. Left out: `#true` (Waybill).
    #[schemars(extend("x-kdl" = "property"))]
    pub keep: Option<bool>,
}
