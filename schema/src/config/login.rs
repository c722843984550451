//! How people log in, and which programs may use the API.

use crate::form::Network;
use crate::name::{DomainName, SecretRef};
use crate::spec::{Credential, Permission};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How people log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[schemars(rename = "RuntimeLogin")]
pub struct Login {
    /// Characters of a new password at least.
    pub password_least: u32,
    /// Whether people have passwords for single programs beside those of the spec.
    pub app_passwords: bool,
    /// Whether people of the spec may have a password of their own in place of the spec's.
    pub own_passwords: bool,
}

impl Default for Login {
    /// NIST SP 800-63B §3.1.1.2.
    fn default() -> Login {
        Login { password_least: 15, app_passwords: true, own_passwords: false }
    }
}

/// A program that uses the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeApiKey")]
pub struct ApiKey {
    /// Its name, for the log.
    pub name: String,
    /// What it sends to show who it is.
    pub secret: SecretRef,
    /// What it may do.
    pub may: Vec<Permission>,
    /// In which domains; empty: in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<DomainName>,
    /// When it ends, in seconds since 1970; none: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// From which networks; empty: from anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Network>,
}

/// A password for one program, of the spec: for every service, and without an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "RuntimeAppPassword")]
pub struct AppPassword {
    /// The program.
    pub name: String,
    /// Its hash.
    pub password: Credential,
}
