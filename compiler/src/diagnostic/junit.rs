//! Findings as a JUnit report, for pipelines that show tests: each file is a suite, each finding a case of it.

use super::machine::place;
use super::{Diagnostic, Report, is_unprintable};
use crate::code::Severity;
use crate::locate::Located;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A JUnit report. Errors are failures, warnings are skipped cases; a file without findings is a case that passes.
pub fn junit(report: &Report, located: &Located) -> String {
    let mut suites: BTreeMap<&str, Vec<&Diagnostic>> = BTreeMap::new();
    for file in &located.files {
        suites.entry(&file.name).or_default();
    }
    for found in report.diagnostics() {
        let name = located.file(&place(found, located)).map_or("spec", |file| file.name.as_str());
        suites.entry(name).or_default().push(found);
    }
    let errors = |found: &[&Diagnostic]| found.iter().filter(|one| one.severity() == Severity::Error).count();
    let cases: usize = suites.values().map(|found| found.len().max(1)).sum();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<testsuites name=\"waybill\" tests=\"{cases}\" failures=\"{}\" errors=\"0\">",
        suites.values().map(|found| errors(found)).sum::<usize>()
    );
    for (name, found) in &suites {
        let name = escaped(name);
        let (failures, cases) = (errors(found), found.len().max(1));
        let skipped = found.len() - failures;
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" tests=\"{cases}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">"
        );
        if found.is_empty() {
            let _ = writeln!(out, "    <testcase classname=\"{name}\" name=\"no findings\"/>");
        }
        for one in found {
            case(one, &name, located, &mut out);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn case(found: &Diagnostic, suite: &str, located: &Located, out: &mut String) {
    let at = place(found, located);
    let at_text = escaped(&located.at(&at));
    let line = located.file(&at).map_or(0, |file| file.line_column(at.span.start).0);
    let (code, says) = (found.code.id(), escaped(&found.text()));
    let mut detail = format!("{at_text}: {says}");
    if let Some(help) = &found.help {
        let _ = write!(detail, "\nhelp: {}", escaped(help));
    }
    for (place, label) in found.related(located) {
        let _ = write!(detail, "\n{}: {}", escaped(&located.at(&place)), escaped(label));
    }
    let _ = writeln!(
        out,
        "    <testcase classname=\"{suite}\" name=\"{code} {at_text}\" file=\"{suite}\" line=\"{line}\">"
    );
    let _ = match found.severity() {
        Severity::Error => writeln!(out, "      <failure type=\"{code}\" message=\"{says}\">{detail}</failure>"),
        Severity::Warning => writeln!(out, "      <skipped message=\"{code} {}\"/>", detail.replace('\n', "&#10;")),
    };
    out.push_str("    </testcase>\n");
}

/// Text for XML 1.0, inside and outside of attributes. What XML cannot hold, or a terminal would obey, is `\u{…}`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if is_unprintable(c) || matches!(c, '\u{fffe}' | '\u{ffff}') => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}
