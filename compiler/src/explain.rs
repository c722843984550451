//! `waybill explain`: what a code means, and why a record is there.

use crate::code::Code;
use crate::emit::Artefacts;
use crate::locate::Located;
use crate::zone::{Kind, RecordSet};
use schema::name::DomainName;
use std::fmt::Write as _;

/// Finds a code by its number, in any case.
pub fn code_named(name: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|code| code.id().eq_ignore_ascii_case(name))
}

/// Why a record is there, and where it was written; `None` where it is not.
pub fn record(artefacts: &Artefacts, located: &Located, name: &DomainName, kind: Kind) -> Option<String> {
    let found = artefacts.zones.iter().find_map(|zone| Some((zone, zone.set(name, kind)?)));
    let (zone, set) = found?;
    let mut text = String::new();
    for value in &set.values {
        let _ = writeln!(text, "{name}. {} IN {} {value}", set.ttl.0, kind.name());
    }
    for origin in &set.origins {
        let _ = write!(text, "\nThis record {}, in the zone {}.\n", origin.why, zone.name);
        if !origin.rule.is_empty() {
            let _ = writeln!(text, "Rule: {}", origin.rule);
        }
        let place = located.at(&located.place(&origin.at));
        let _ = match origin.given {
            true => writeln!(text, "Written at {place}"),
            false => writeln!(text, "A default; the node is at {place}"),
        };
    }
    Some(text)
}

/// The names and types that are there, for help.
pub fn sets<'a>(artefacts: &'a Artefacts, name: &DomainName) -> Vec<&'a RecordSet> {
    artefacts.zones.iter().flat_map(|zone| &zone.sets).filter(|set| set.name == *name).collect()
}
