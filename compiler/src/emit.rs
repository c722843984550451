//! [`Resolved`] → [`Artefacts`]. Total: what could fail has failed in `resolve`.

pub mod foreign;
pub mod runtime;
pub mod zone;

use crate::diagnostic::Report;
use crate::resolve::Resolved;
use crate::zone::Zone;
use schema::config::RuntimeConfig;
use serde::Serializer;
use std::io::{self, Write};

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
    /// Writes `runtime.json`.
    ///
    /// # Errors
    /// The writer's.
    pub fn runtime_json(&self, mut to: impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut to, &self.runtime)?;
        to.write_all(b"\n")
    }

    /// Writes `records.json`: for each zone its record sets.
    ///
    /// # Errors
    /// The writer's.
    pub fn records_json(&self, mut to: impl Write) -> io::Result<()> {
        let zones = self.zones.iter().map(|zone| (&zone.name, &zone.sets));
        let mut json = serde_json::Serializer::pretty(&mut to);
        json.collect_map(zones)?;
        to.write_all(b"\n")
    }
}
