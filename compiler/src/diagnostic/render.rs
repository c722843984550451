//! Findings for people: code, `file:line:column`, the line with a caret under the word, and help.

use super::machine::place;
use super::{Diagnostic, MOST_FINDINGS, Report};
use crate::code::Severity;
use crate::locate::{File, Located, Place};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report as Shown};
use std::fmt::Write as _;

/// How many findings are printed; the rest is counted.
const MOST_PRINTED: usize = 200;
/// Longer lines than this, in octets, are cut around the finding.
const LONGEST_LINE: usize = 400;

/// All findings of a report as text. `colour` for a terminal.
pub fn human(report: &Report, located: &Located, colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_context_lines(0).with_links(false);
    let mut out = String::new();
    for found in report.diagnostics().iter().take(MOST_PRINTED) {
        one(&handler, found, located, &mut out);
    }
    let kept = report.diagnostics().len();
    let total = report.errors() + report.warnings();
    if total > MOST_PRINTED.min(kept) {
        let _ = writeln!(out, "… and {} more (--format json shows {MOST_FINDINGS})", total - MOST_PRINTED.min(kept));
    }
    out
}

fn one(handler: &GraphicalReportHandler, found: &Diagnostic, located: &Located, out: &mut String) {
    let place = place(found, located);
    let severity = match found.severity() {
        Severity::Error => miette::Severity::Error,
        Severity::Warning => miette::Severity::Warning,
    };
    let word = match found.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let at = located.at(&place);
    let head = if at.is_empty() {
        format!("{word}[{}]", found.code.id())
    } else {
        format!("{at}: {word}[{}]", found.code.id())
    };
    let mut shown = MietteDiagnostic::new(format!("{}: {}", word, found.says)).with_severity(severity);
    if let Some(help) = &found.help {
        shown = shown.with_help(help);
    }
    let _ = writeln!(out, "{head}");
    let Some(file) = located.file(&place) else {
        render(handler, Shown::new(shown), out);
        return;
    };
    let excerpt = Excerpt::of(file, &place);
    let mut labels = vec![LabeledSpan::new_primary_with_span(None, excerpt.span(&place))];
    let mut elsewhere = Vec::new();
    let paths = found.also.iter().map(|(path, label)| (located.place(path), label));
    for (also, label) in paths.chain(found.also_places.iter().map(|(place, label)| (place.clone(), label))) {
        // miette shows one file; what is near stands in the same picture, the rest is named.
        if excerpt.holds(&also) && also.file == place.file && also != place {
            labels.push(LabeledSpan::new_with_span(Some(label.clone()), excerpt.span(&also)));
        } else {
            elsewhere.push(format!("{}: {label}", located.at(&also)));
        }
    }
    shown = shown.with_labels(labels);
    let source = NamedSource::new(&file.name, excerpt.text);
    render(handler, Shown::new(shown).with_source_code(source), out);
    for line in elsewhere {
        let _ = writeln!(out, "  {line}");
    }
    out.push('\n');
}

fn render(handler: &GraphicalReportHandler, shown: Shown, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = handler.render_report(out, shown.as_ref());
}

/// The file's text with secrets blotted out and long lines cut, so that offsets stay what they are.
struct Excerpt {
    text: String,
    first: usize,
}

impl Excerpt {
    fn of(file: &File, place: &Place) -> Excerpt {
        let (line, _) = file.line_column(place.span.start);
        let lines = file.line(line);
        let long = lines.len() > LONGEST_LINE;
        let from = if long {
            file.text.floor_char_boundary(place.span.start.saturating_sub(LONGEST_LINE / 2)).max(lines.start)
        } else {
            0
        };
        let to = if long {
            file.text.ceil_char_boundary((place.span.start + LONGEST_LINE / 2).min(lines.end))
        } else {
            file.text.len()
        };
        let mut octets = file.text.as_bytes()[from..to].to_vec();
        for secret in &file.secret {
            for at in secret.clone() {
                if (from..to).contains(&at) && octets[at - from] != b'\n' {
                    octets[at - from] = b'*';
                }
            }
        }
        Excerpt { text: String::from_utf8_lossy(&octets).into_owned(), first: from }
    }

    fn holds(&self, place: &Place) -> bool {
        place.span.start >= self.first && place.span.end <= self.first + self.text.len()
    }

    fn span(&self, place: &Place) -> std::ops::Range<usize> {
        let end = self.text.len();
        let start = place.span.start.saturating_sub(self.first).min(end);
        let stop = place.span.end.saturating_sub(self.first).clamp(start, end);
        start..stop.max((start + 1).min(end))
    }
}
