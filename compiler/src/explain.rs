//! `waybill explain`: what a code means, and why a record is there.

use crate::code::{Code, Severity};
use crate::emit::Artefacts;
use crate::locate::Located;
use crate::zone::{Kind, RecordSet};
use schema::name::DomainName;
use std::fmt::Write as _;

/// What a code means.
pub fn code(code: Code) -> String {
    let severity = match code.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut text = format!("{} ({severity}): {}\n\n{}\n", code.id(), code.title(), wrapped(code.text()));
    if !code.rule().is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(text, "\nRule: {}\n", code.rule());
    }
    text
}

fn wrapped(text: &str) -> String {
    const WIDTH: usize = 90;
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

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
