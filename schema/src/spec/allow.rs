//! What the operator says of the compiler's own findings: which are borne for a while, and how bad each is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A finding that is known, and borne until a day. At the top it covers the whole spec; inside a `domain`, `host` or
/// `store` what is found there. Every warning may be allowed, and those errors that are a judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Allow {
    /// The finding's code, `W0617`.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["W0617"]))]
    pub code: String,
    /// Why it is borne; shown to who reviews it.
    #[schemars(extend("x-kdl" = "property", "examples" = ["the registrar signs from March on"]))]
    pub reason: String,
    /// The last day, `2027-03-01`, in UTC, at most a year ahead. From the next day on the finding counts again.
    #[schemars(extend("x-kdl" = "property", "examples" = ["2027-03-01"]))]
    pub until: String,
    /// Only what is found in files of this name from the spec's folder; `*` and `?` match within a folder's names. Left out: everywhere.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property", "examples" = ["domains/*.kdl"]))]
    pub at: Option<String>,
}

/// How bad a kind of finding is here. Of several levels the innermost holds, of these the last. An error can only be
/// lowered by `allow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Level {
    /// The finding's code, `W0617`.
    #[schemars(extend("x-kdl" = "argument", "examples" = ["W0617"]))]
    pub code: String,
    /// How bad it is.
    #[schemars(extend("x-kdl" = "argument"))]
    pub level: Loudness,
    /// Only what is found in files of this name from the spec's folder; `*` and `?` match within a folder's names. Left out: everywhere.
    #[serde(default)]
    #[schemars(extend("x-kdl" = "property", "examples" = ["domains/*.kdl"]))]
    pub at: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Loudness {
    /// Nothing is built.
    Error,
    /// It is told, and `check --deny warnings` fails.
    Warning,
    /// It is not told.
    Off,
}
