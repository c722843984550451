//! Findings as people, programs and a metrics collector read them.

use super::{Check, Finding, Status};
use crate::diagnostic::printable;
use crate::locate::Located;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The longest text of a finding, in characters.
const LONGEST: usize = 400;

fn short(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

fn at(finding: &Finding, located: &Located) -> String {
    located.at(&located.place(&finding.at))
}

/// For people: what is not good, with what it means and where the spec says so; then what was looked at.
pub fn human(findings: &[Finding], located: &Located, colour: bool) -> String {
    let mut out = String::new();
    let paint = |status: Status| match (colour, status) {
        (false, status) => status.name().to_owned(),
        (_, Status::Bad) => "\u{1b}[31mbad\u{1b}[0m".to_owned(),
        (_, status) => format!("\u{1b}[33m{}\u{1b}[0m", status.name()),
    };
    let mut troubles: Vec<&Finding> = findings.iter().filter(|one| one.status != Status::Good).collect();
    troubles.sort_by_key(|one| (std::cmp::Reverse(one.status), one.check));
    for same in troubles.chunk_by(|one, next| (one.status, one.check) == (next.status, next.check)) {
        for one in same {
            let at = at(one, located);
            let place = if at.is_empty() { String::new() } else { format!(" ({at})") };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{} {} {}: {}{place}", paint(one.status), one.check.id(), one.of, short(&one.says));
        }
        let means = same.first().map_or("", |one| one.check.means());
        let _ = writeln!(out, "    {means}");
    }
    out + &summary(findings)
}

/// How much of what was looked at is good, by group.
pub fn summary(findings: &[Finding]) -> String {
    let mut groups: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for one in findings {
        let (good, all) = groups.entry(one.check.group()).or_default();
        *good += usize::from(one.status == Status::Good);
        *all += 1;
    }
    let mut told = std::collections::BTreeSet::new();
    let order = Check::ALL.iter().map(|check| check.group()).filter(|group| told.insert(*group));
    let groups = order.filter_map(|group| Some((group, groups.get(group)?)));
    let groups: Vec<String> = groups.map(|(group, (good, all))| format!("{group} {good}/{all}")).collect();
    let count = |status| findings.iter().filter(|one| one.status == status).count();
    format!(
        "{}\n{} good, {} bad, {} weak, {} unknown\n",
        groups.join(", "),
        count(Status::Good),
        count(Status::Bad),
        count(Status::Weak),
        count(Status::Unknown)
    )
}

/// For programs.
pub fn json(findings: &[Finding], located: &Located) -> Json {
    let one = |one: &Finding| {
        json!({
            "check": one.check.id(),
            "group": one.check.group(),
            "status": one.status.name(),
            "of": one.of,
            "says": printable(&one.says),
            "means": one.check.means(),
            "at": Some(at(one, located)).filter(|at| !at.is_empty()),
        })
    };
    json!({ "version": 1, "findings": findings.iter().map(one).collect::<Vec<_>>() })
}

/// For a metrics collector: how many findings of each check are how, in the Prometheus text format. What is not told apart
/// by domain stays small for ten thousand of them.
pub fn metrics(findings: &[Finding], now: i64) -> String {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for one in findings {
        *counts.entry((one.check.id(), one.status.name())).or_default() += 1;
    }
    let mut out = String::from(
        "# HELP waybill_verify_findings What the world sees of the spec, by check and status.\n# TYPE waybill_verify_findings gauge\n",
    );
    for ((check, status), count) in counts {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "waybill_verify_findings{{check=\"{check}\",status=\"{status}\"}} {count}");
    }
    let _ = writeln!(
        out,
        "# HELP waybill_verify_time When that was looked at.\n# TYPE waybill_verify_time gauge\nwaybill_verify_time {now}"
    );
    out
}
