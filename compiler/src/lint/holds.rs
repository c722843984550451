//! What a zone's DNS provider can hold, told before it is asked.

use super::Around;
use super::world::place;
use crate::code::Code;
use crate::diagnostic::Report;
use crate::provider::{Limits, limits};
use crate::zone::Kind;
use schema::unit::Period;
use std::collections::{BTreeMap, BTreeSet};

/// Looks at every set of a zone that somebody publishes; each reason is told once for a zone.
pub fn lint(around: &Around<'_>, report: &mut Report) {
    let nodes = around.spec.dns.iter().filter_map(|dns| Some((dns.name.as_str(), limits(dns)?)));
    let nodes: BTreeMap<&str, Limits> = nodes.collect();
    for (domain, zone) in around.resolved.domains.iter().zip(&around.artefacts.zones) {
        let Some(name) = domain.provider.as_deref() else { continue };
        let Some(limits) = nodes.get(name) else { continue };
        let mut told = BTreeSet::new();
        if let Some(ttl) = domain.move_ttl.filter(|ttl| ttl.0 < limits.least_ttl) {
            let why = limits.breach(Kind::Mx, ttl.0, &[]).unwrap_or_default();
            let says = format!("`move-ttl` of `{}`: {}, of `dns \"{name}\"`, {why}", domain.name, limits.name);
            let help = format!("write `move-ttl=\"{}\"`, or more", Period(limits.least_ttl));
            report.find(Code::ProviderLimit, domain.at.field("dns").field("move-ttl"), says).help(help);
        }
        for set in &zone.sets {
            let Some(why) = limits.breach(set.kind, set.ttl.0, &set.values) else { continue };
            if !told.insert(why.clone()) {
                continue;
            }
            let says = format!("`{} {}`: {}, of `dns \"{name}\"`, {why}", set.name, set.kind.name(), limits.name);
            let owner = zone.relative(&set.name);
            let help =
                format!("`dns {{ omit \"{owner}\" {}; }}` leaves it out; or name another `dns`", set.kind.name());
            report.find(Code::ProviderLimit, place(set), says).help(help);
        }
    }
}
