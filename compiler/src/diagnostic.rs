//! Findings: what is wrong, where in the spec, and how to mend it.
//!
//! A finding names its place by a [`Path`] into the spec's JSON form; [`crate::locate::Located`] turns that into
//! a file and a span. Printing is in [`render`].

use crate::code::{Code, Severity};
use crate::locate::{Located, Place};
use std::fmt;

pub mod excerpt;
pub mod junit;
pub mod machine;
#[cfg(test)]
mod planted;
pub mod render;

/// How many findings a report keeps; what comes after is only counted.
pub const MOST_FINDINGS: usize = 1000;

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A field of an object, by the schema's name.
    Field(String),
    /// An item of an array, counted from 0.
    Item(usize),
}

/// A path into the spec's JSON form: `domain[2].account[0].alias[1]`. Prints as a JSON pointer (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Step>);

impl Path {
    /// The whole spec.
    pub fn root() -> Path {
        Path(Vec::new())
    }
    /// The field `name` of what this path names.
    #[must_use]
    pub fn field(&self, name: &str) -> Path {
        self.then(Step::Field(name.to_owned()))
    }
    /// The item `at`, from 0, of what this path names.
    #[must_use]
    pub fn item(&self, at: usize) -> Path {
        self.then(Step::Item(at))
    }
    /// The steps from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
    fn then(&self, step: Step) -> Path {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Path(steps)
    }
}

impl FromIterator<Step> for Path {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Path {
        Path(steps.into_iter().collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Field(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1"))?,
                Step::Item(at) => write!(f, "/{at}")?,
            }
        }
        Ok(())
    }
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of finding; severity and rule come with it.
    pub code: Code,
    /// What it is about.
    pub at: Path,
    /// What is wrong, one sentence, never a secret.
    pub says: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Other places that have to do with it, each with a label.
    pub also: Vec<(Path, String)>,
    /// Where it is, when the reader knows better than [`Diagnostic::at`].
    pub place: Option<Place>,
    /// Like [`Diagnostic::also`], where the reader knows the places.
    pub also_places: Vec<(Place, String)>,
}

impl Diagnostic {
    /// Says how to mend it.
    pub fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }
    /// Labels another place that has to do with it.
    pub fn also(&mut self, at: Path, label: impl Into<String>) -> &mut Self {
        self.also.push((at, label.into()));
        self
    }
    /// The other places that have to do with it.
    pub fn related<'a>(&'a self, located: &'a Located) -> impl Iterator<Item = (Place, &'a str)> {
        let paths = self.also.iter().map(|(path, label)| (located.place(path), label.as_str()));
        paths.chain(self.also_places.iter().map(|(place, label)| (place.clone(), label.as_str())))
    }
    /// Error or warning.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// The findings of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    found: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    spill: Option<Box<Diagnostic>>,
}

impl Report {
    /// An empty report.
    pub fn new() -> Report {
        Report::default()
    }
    /// Notes a finding; its severity comes from the code. After [`MOST_FINDINGS`] findings are counted, not kept.
    pub fn find(&mut self, code: Code, at: Path, says: impl Into<String>) -> &mut Diagnostic {
        self.note(code, at, None, says.into())
    }
    /// Notes a finding at a place that has no path.
    pub fn find_at(&mut self, code: Code, place: Place, says: impl Into<String>) -> &mut Diagnostic {
        self.note(code, Path::root(), Some(place), says.into())
    }
    /// Whether something is an error.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }
    /// How many errors.
    pub fn errors(&self) -> usize {
        self.errors
    }
    /// How many warnings.
    pub fn warnings(&self) -> usize {
        self.warnings
    }
    /// The findings kept, in the order found.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.found
    }

    /// Puts the findings in the order of the files.
    pub fn sort(&mut self, located: &Located) {
        self.found.sort_by_cached_key(|found| {
            let place = machine::place(found, located);
            (place.file, place.span.start, found.code)
        });
    }

    fn note(&mut self, code: Code, at: Path, place: Option<Place>, says: String) -> &mut Diagnostic {
        match code.severity() {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        let diagnostic = Diagnostic { code, at, says, help: None, also: Vec::new(), place, also_places: Vec::new() };
        // A flood of warnings must not hide the first errors.
        if self.found.len() < MOST_FINDINGS || (code.severity() == Severity::Error && self.errors <= MOST_FINDINGS) {
            let at = self.found.len();
            self.found.push(diagnostic);
            return &mut self.found[at];
        }
        self.spill.insert(Box::new(diagnostic))
    }
}

/// Whether a terminal would obey a character rather than show it, or show others elsewhere for it.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A text with what a terminal would obey as `\u{1b}`.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// "did you mean `x`?" for the known word nearest to a wrong one; `None` where nothing is near.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Longer words than these are no typing errors, and comparing them costs the product of their lengths.
    if wrong.len() > 64 {
        return None;
    }
    let (best, likeness) = known
        .into_iter()
        .filter(|word| word.len() <= 64)
        .map(|word| (word, strsim::jaro_winkler(&wrong.to_lowercase(), &word.to_lowercase())))
        .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(a.0)))?;
    (likeness >= 0.75).then(|| format!("did you mean `{best}`?"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_nearest_known_word_is_named() {
        let known = ["account", "alias", "group", "dkim"];
        assert_eq!(nearest("acount", known).as_deref(), Some("did you mean `account`?"));
        assert_eq!(nearest("aliases", known).as_deref(), Some("did you mean `alias`?"));
        assert_eq!(nearest("xyzzy", known), None);
        assert_eq!(nearest(&"a".repeat(10_000), known), None);
    }

    #[test]
    fn a_path_prints_as_json_pointer() {
        let path = Path::root().field("domain").item(2).field("mta-sts");
        assert_eq!(path.to_string(), "/domain/2/mta-sts");
    }

    #[test]
    fn warnings_do_not_crowd_out_errors() {
        let mut report = Report::new();
        for _ in 0..MOST_FINDINGS + 5 {
            report.find(Code::NotServed, Path::root(), "w");
        }
        report.find(Code::NotReadable, Path::root(), "e");
        assert_eq!(report.diagnostics().len(), MOST_FINDINGS + 1);
        assert_eq!((report.errors(), report.warnings()), (1, MOST_FINDINGS + 5));
    }
}
