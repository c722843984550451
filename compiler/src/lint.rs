//! Proofs over the whole: what each part allows by itself, but domains, hosts, keys, listeners, policies and zones
//! together do not. One file a family; each looks at everything and changes nothing.

mod people;
mod stores;
mod tls;

use crate::diagnostic::Report;
use crate::emit::Artefacts;
use crate::resolve::{Outside, Resolved};
use schema::spec::Spec;

/// What a lint looks at.
pub struct Around<'a> {
    /// What was written.
    pub spec: &'a Spec,
    /// What it means.
    pub resolved: &'a Resolved,
    /// What comes of it, the zones above all.
    pub artefacts: &'a Artefacts,
    /// Files and time.
    pub outside: &'a Outside<'a>,
}

/// Runs every lint.
pub fn lint(around: &Around<'_>, report: &mut Report) {
    people::people(around, report);
    stores::stores(around, report);
    tls::tls(around, report);
}
