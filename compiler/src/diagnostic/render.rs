//! Findings for people: code, `file:line:column`, the line with a caret under the word, and help.

use super::machine::place;
use super::{Diagnostic, MOST_FINDINGS, Report};
use crate::code::Severity;
use crate::locate::{File, Located, Place};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, MietteError, MietteSpanContents,
    Report as Shown, SourceCode, SourceSpan, SpanContents,
};
use std::fmt::Write as _;

/// How many findings are printed; the rest is counted.
const MOST_PRINTED: usize = 200;
/// Longer lines than this, in octets, are cut around the finding.
const LONGEST_LINE: usize = 400;

/// All findings of a report as text. `colour` for a terminal.
pub fn human(report: &Report, located: &Located, colour: bool) -> String {
    let mut theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    (theme.characters.underline, theme.characters.underbar) = ('^', '^');
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
    let (severity, word) = match found.severity() {
        Severity::Error => (miette::Severity::Error, "error"),
        Severity::Warning => (miette::Severity::Warning, "warning"),
    };
    let mut shown =
        MietteDiagnostic::new(&found.says).with_severity(severity).with_code(format!("{word}[{}]", found.code.id()));
    if let Some(help) = &found.help {
        shown = shown.with_help(help);
    }
    let Some(file) = located.file(&place) else {
        render(handler, Shown::new(shown), out);
        return;
    };
    let mut labels = vec![LabeledSpan::new_primary_with_span(None, wide(&place))];
    let mut elsewhere = Vec::new();
    let paths = found.also.iter().map(|(path, label)| (located.place(path), label));
    for (also, label) in paths.chain(found.also_places.iter().map(|(place, label)| (place.clone(), label))) {
        // miette shows one file; what is in it stands in the same picture, the rest is named.
        if also.file == place.file && also != place {
            labels.push(LabeledSpan::new_with_span(Some(label.clone()), wide(&also)));
        } else {
            elsewhere.push(format!("{}: {label}", located.at(&also)));
        }
    }
    let report = Shown::new(shown.with_labels(labels)).with_source_code(Lines::of(file));
    render(handler, report, out);
    for line in elsewhere {
        let _ = writeln!(out, "  {line}");
    }
    out.push('\n');
}

fn render(handler: &GraphicalReportHandler, shown: Shown, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = handler.render_report(out, shown.as_ref());
}

/// A caret stands under something.
fn wide(place: &Place) -> std::ops::Range<usize> {
    place.span.start..place.span.end.max(place.span.start + 1)
}

/// A file's lines as they are shown: whole, secrets blotted out, long ones cut around what is meant.
struct Lines {
    name: String,
    text: String,
    starts: Vec<usize>,
}

impl Lines {
    fn of(file: &File) -> Lines {
        let mut octets = file.text.as_bytes().to_vec();
        for secret in &file.secret {
            for octet in octets.get_mut(secret.clone()).into_iter().flatten().filter(|octet| **octet != b'\n') {
                *octet = b'*';
            }
        }
        let starts = (1..=file.lines()).map(|line| file.line(line).start).collect();
        // A blotted secret is ASCII, so offsets stay what they are.
        Lines { name: file.name.clone(), text: String::from_utf8_lossy(&octets).into_owned(), starts }
    }

    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }
}

impl SourceCode for Lines {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        _: usize,
        _: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let end = self.text.len();
        let (from, to) = (span.offset().min(end), (span.offset() + span.len()).min(end));
        let (first, last) = (self.line(from), self.line(to.saturating_sub(1).max(from)));
        let start = self.starts.get(first).copied().unwrap_or(0);
        let stop = self.starts.get(last + 1).copied().unwrap_or(end);
        let text = self.text.get(start..stop).unwrap_or_default().trim_end_matches(['\n', '\r']);
        let (mut start, mut stop) = (start, start + text.len());
        if stop - start > LONGEST_LINE && first == last {
            start = self.text.floor_char_boundary(from.saturating_sub(LONGEST_LINE / 2)).max(start);
            stop = self.text.ceil_char_boundary((from + LONGEST_LINE / 2).min(stop)).max(start);
        }
        let shown = self.text.get(start..stop).unwrap_or_default();
        let column =
            self.text.get(self.starts.get(first).copied().unwrap_or(0)..from).unwrap_or_default().chars().count();
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            shown.as_bytes(),
            (start, stop - start).into(),
            first,
            column,
            last - first + 1,
        )))
    }
}
