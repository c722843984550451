//! Findings for programs: JSON, SARIF 2.1.0, and GitHub's annotations.

use super::{Diagnostic, Report, printable};
use crate::code::{Code, Severity};
use crate::locate::{Located, Place};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;

fn severity(found: &Diagnostic) -> &'static str {
    match found.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// File, line and column of a finding, and where it ends. A finding about the whole spec has no file.
struct Spot {
    file: String,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

fn spot(place: &Place, located: &Located) -> Option<Spot> {
    let file = located.file(place)?;
    let (line, column) = file.line_column(place.span.start);
    let (end_line, end_column) = file.line_column(place.span.end);
    Some(Spot { file: format!("{}{}", located.base, file.name), line, column, end_line, end_column })
}

/// The place of a finding.
pub fn place(found: &Diagnostic, located: &Located) -> Place {
    found.place.clone().unwrap_or_else(|| located.place(&found.at))
}

/// A JSON array, one object a finding.
pub fn json(report: &Report, located: &Located) -> Json {
    let one = |found: &Diagnostic| {
        let mut object = json!({
            "code": found.code.id(),
            "severity": severity(found),
            "message": found.text(),
            "rule": found.code.rule(),
        });
        if let Some(spot) = spot(&place(found, located), located) {
            object["file"] = spot.file.into();
            object["line"] = spot.line.into();
            object["column"] = spot.column.into();
            object["end_line"] = spot.end_line.into();
            object["end_column"] = spot.end_column.into();
        }
        if let Some(help) = &found.help {
            object["help"] = help.clone().into();
        }
        if let Some(fix) = &found.fix {
            object["fix"] = fix.says.clone().into();
        }
        object
    };
    report.diagnostics().iter().map(one).collect()
}

/// A SARIF 2.1.0 log. What the spec allows is in it too, suppressed (SARIF §3.27.23).
pub fn sarif(report: &Report, located: &Located) -> Json {
    let rule = |code: &Code| {
        json!({
            "id": code.id(),
            "shortDescription": { "text": code.title() },
            "fullDescription": { "text": code.text() },
        })
    };
    let result = |found: &Diagnostic| {
        let mut text = found.text();
        if let Some(help) = &found.help {
            let _ = write!(text, "; {help}");
        }
        let mut result = json!({ "ruleId": found.code.id(), "level": severity(found), "message": { "text": text } });
        if let Some(location) = physical(&place(found, located), located) {
            result["locations"] = json!([location]);
        }
        let related: Vec<Json> = found
            .related(located)
            .filter_map(|(place, label)| {
                let mut location = physical(&place, located)?;
                location["message"] = json!({ "text": label });
                Some(location)
            })
            .collect();
        if !related.is_empty() {
            result["relatedLocations"] = related.into();
        }
        if let Some(allowed) = &found.allowed {
            let why = format!("{} (until {})", allowed.reason, allowed.until);
            result["suppressions"] = json!([{ "kind": "inSource", "status": "accepted", "justification": why }]);
        }
        result
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "waybill",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": Code::ALL.iter().map(rule).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": report.diagnostics().iter().chain(report.allowed()).map(result).collect::<Vec<_>>(),
        }],
    })
}

/// A SARIF location.
fn physical(place: &Place, located: &Located) -> Option<Json> {
    let spot = spot(place, located)?;
    Some(json!({ "physicalLocation": {
        "artifactLocation": { "uri": uri(&spot.file) },
        "region": {
            "startLine": spot.line, "startColumn": spot.column,
            "endLine": spot.end_line, "endColumn": spot.end_column,
        },
    } }))
}

/// A path as a relative URI (RFC 3986 §4.2).
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for octet in path.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~/".contains(&octet) {
            out.push(char::from(octet));
        } else {
            let _ = write!(out, "%{octet:02X}");
        }
    }
    out
}

/// Workflow commands that GitHub shows beside the lines of a pull request.
pub fn github(report: &Report, located: &Located) -> String {
    let encoded = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let data = |text: &str| printable(&encoded(text));
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut out = String::new();
    for found in report.diagnostics() {
        let mut text = found.text();
        if let Some(help) = &found.help {
            let _ = write!(text, "\n{help}");
        }
        let at = spot(&place(found, located), located).map_or_else(String::new, |spot| {
            format!(
                "file={},line={},col={},endLine={},endColumn={},",
                property(&spot.file),
                spot.line,
                spot.column,
                spot.end_line,
                spot.end_column
            )
        });
        let _ = writeln!(out, "::{} {at}title={}::{}", severity(found), property(found.code.id()), data(&text));
    }
    out
}
