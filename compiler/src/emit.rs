//! [`Resolved`] → [`Artefacts`]. Total: what could fail has failed in `resolve`.

pub mod runtime;
pub mod zone;

use crate::diagnostic::Report;
use crate::resolve::Resolved;
use crate::zone::Zone;
use schema::config::RuntimeConfig;
use std::collections::BTreeMap;

/// What a build writes.
#[derive(Clone, Debug)]
pub struct Artefacts {
    /// What the server loads.
    pub runtime: RuntimeConfig,
    /// A zone for each domain, sorted by name.
    pub zones: Vec<Zone>,
}

/// Makes the artefacts. Records of the operator's own may turn out beside the point, which is reported as a warning,
/// or against a rule of DNS, which is an error.
pub fn emit(resolved: &Resolved, report: &mut Report) -> Artefacts {
    Artefacts { runtime: runtime::runtime(resolved), zones: zone::zones(resolved, report) }
}

impl Artefacts {
    /// `runtime.json`
    pub fn runtime_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.runtime).unwrap_or_default();
        text.push('\n');
        text
    }

    /// `records.json`: for each zone its record sets.
    pub fn records_json(&self) -> String {
        let zones: BTreeMap<&str, serde_json::Value> =
            self.zones.iter().map(|zone| (zone.name.as_str(), zone.records())).collect();
        let mut text = serde_json::to_string_pretty(&zones).unwrap_or_default();
        text.push('\n');
        text
    }
}
