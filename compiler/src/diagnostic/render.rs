//! Findings for people: code, `file:line:column`, the line with a caret under the word, and help.

use super::excerpt::Excerpt;
use super::machine::place;
use super::{Diagnostic, MOST_FINDINGS, Report, printable};
use crate::code::Severity;
use crate::locate::Located;
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, MietteError, MietteSpanContents,
    Report as Shown, SourceCode, SourceSpan, SpanContents,
};
use std::fmt::Write as _;
use std::sync::Arc;

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
    // Where not all are printed, a flood of warnings leaves no error out.
    let errors = report.diagnostics().iter().filter(|found| found.severity() == Severity::Error).count();
    let mut warnings = MOST_PRINTED.saturating_sub(errors);
    let fits = |found: &&Diagnostic| {
        let warning = found.severity() == Severity::Warning;
        let fits = !warning || warnings > 0;
        warnings = warnings.saturating_sub(usize::from(warning));
        fits
    };
    for found in report.diagnostics().iter().filter(fits).take(MOST_PRINTED) {
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
    let mut shown = MietteDiagnostic::new(printable(&found.text()))
        .with_severity(severity)
        .with_code(format!("{word}[{}]", found.code.id()));
    let mends = found.fix.is_some().then_some("`waybill fix` mends this");
    let help: Vec<String> = found.help.as_deref().map(printable).into_iter().chain(mends.map(str::to_owned)).collect();
    if !help.is_empty() {
        shown = shown.with_help(help.join("; "));
    }
    let file = located.file(&place).filter(|file| !file.unread);
    let Some(file) = file else {
        render(handler, Shown::new(shown), out);
        return;
    };
    let here = found.related(located).map(|(also, _)| also).filter(|also| also.file == place.file);
    let octets = here.fold(place.span.clone(), |all, also| all.start.min(also.span.start)..all.end.max(also.span.end));
    let Some(excerpt) = located.excerpt_around(place.file, &octets) else {
        shown.message = format!("{} ({})", shown.message, located.at(&place));
        render(handler, Shown::new(shown), out);
        return;
    };
    let at = excerpt.span(&place.span);
    let primary = (at.start, file.line_column(place.span.start).1 - 1);
    let mut labels = vec![LabeledSpan::new_primary_with_span(None, at)];
    let mut elsewhere = Vec::new();
    for (also, label) in found.related(located) {
        // miette shows one file; what is in it stands in the same picture, the rest is named.
        if also.file == place.file && also != place {
            labels.push(LabeledSpan::new_with_span(Some(printable(label)), excerpt.span(&also.span)));
        } else {
            elsewhere.push(format!("{}: {}", located.at(&also), printable(label)));
        }
    }
    let lines = Lines { name: printable(&file.name), excerpt: Arc::clone(&excerpt), primary };
    let report = Shown::new(shown.with_labels(labels)).with_source_code(lines);
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

/// A file's lines as they are shown: whole, secrets hidden, long ones cut around what is meant.
struct Lines {
    name: String,
    excerpt: Arc<Excerpt>,
    /// What the finding is about: where it is shown, and its column in the file, from 0.
    primary: (usize, usize),
}

impl Lines {
    fn line(&self, offset: usize) -> usize {
        self.excerpt.lines.partition_point(|start| *start <= offset).saturating_sub(1)
    }
}

impl SourceCode for Lines {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        _: usize,
        _: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let end = self.excerpt.text.len();
        let (from, to) = (span.offset().min(end), (span.offset() + span.len()).min(end));
        let (first, last) = (self.line(from), self.line(to.saturating_sub(1).max(from)));
        let start = self.excerpt.lines.get(first).copied().unwrap_or(0);
        let stop = self.excerpt.lines.get(last + 1).copied().unwrap_or(end);
        let text = self.excerpt.text.get(start..stop).unwrap_or_default().trim_end_matches(['\n', '\r']);
        let (mut start, mut stop) = (start, start + text.len());
        if stop - start > LONGEST_LINE && first == last {
            start = self.excerpt.text.floor_char_boundary(from.saturating_sub(LONGEST_LINE / 2)).max(start);
            stop = self.excerpt.text.ceil_char_boundary((from + LONGEST_LINE / 2).min(stop)).max(start);
        }
        let shown = self.excerpt.text.get(start..stop).unwrap_or_default();
        let (at, column) = self.primary;
        let column = if at == from { column } else { 0 };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            shown.as_bytes(),
            (start, stop - start).into(),
            self.excerpt.before + first,
            column,
            last - first + 1,
        )))
    }
}
