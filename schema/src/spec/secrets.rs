//! To whom secrets are encrypted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who can open what is written as `(age)`. Used by `waybill secrets`; the server needs only its own identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Secrets {
    /// Each can open every secret: the servers, and the people who change them. After a change,
    /// `waybill secrets rekey`.
    pub recipient: Vec<Recipient>,
}

/// One to whom every secret is encrypted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipient {
    /// An age recipient (`age1…`), or an SSH public key (`ssh-ed25519 …`, `ssh-rsa …`).
    #[schemars(extend(
        "x-kdl" = "argument",
        "format" = "age-recipient",
        "examples" = ["age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa"]
    ))]
    pub key: String,
    /// Whose it is, for people.
    #[schemars(extend("x-kdl" = "property", "examples" = ["ops"]))]
    pub name: Option<String>,
}
