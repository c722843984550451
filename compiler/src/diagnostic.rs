//! Findings: what is wrong, where in the spec, and how to mend it.
//!
//! A finding names its place by a [`Path`] into the spec's JSON form; [`crate::locate::Located`] turns that into
//! a file and a span. Printing is in [`render`].

use crate::code::{Code, Severity};
use crate::locate::{Located, Place};
use crate::read::grammar;
use smallvec::SmallVec;
use std::collections::{HashMap, HashSet};
use std::fmt;

pub mod cause;
pub mod excerpt;
pub mod junit;
pub mod machine;
#[cfg(test)]
mod planted;
pub mod render;

/// How many errors, and how many warnings, a report tells; what comes after is only counted.
pub const MOST_FINDINGS: usize = 1000;
/// How many findings are kept until it is known which have one cause and which are allowed.
pub const MOST_KEPT: usize = 50_000;

/// One step of a [`Path`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A field of an object, by the schema's name.
    Field(&'static str),
    /// An item of an array, counted from 0.
    Item(usize),
}

/// How many steps a path has without an allocation; hundreds of thousands of paths are made for a large spec.
const INLINE: usize = 4;

/// A path into the spec's JSON form: `domain[2].account[0].alias[1]`. Prints as a JSON pointer (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(SmallVec<[Step; INLINE]>);

impl Path {
    /// The whole spec.
    pub fn root() -> Path {
        Path(SmallVec::new())
    }
    /// The field `name` of what this path names.
    #[must_use]
    pub fn field(&self, name: &'static str) -> Path {
        self.then(Step::Field(name))
    }
    /// The same, for a name of the spec's JSON form that is known as the program runs.
    #[must_use]
    pub fn named(&self, name: &str) -> Path {
        self.field(grammar::interned(name))
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
    /// One step further.
    #[must_use]
    pub fn then(&self, step: Step) -> Path {
        let mut steps = SmallVec::with_capacity(self.0.len() + 1);
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
    /// What kind of finding; its rule comes with it.
    pub code: Code,
    /// The code's own severity, or what the spec's `level` makes of it.
    pub severity: Severity,
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
    /// How many more findings have the same cause, and are not told.
    pub more: usize,
    /// A change of the files that mends it and changes nothing else.
    pub fix: Option<Fix>,
    /// The value that is meant in place of the one at [`Diagnostic::at`]; becomes [`Diagnostic::fix`] when the report
    /// is sorted.
    pub meant: Option<Meant>,
    /// Why the spec bears it, where it does.
    pub allowed: Option<Allowed>,
}

/// A safe change of the spec's files.
#[derive(Clone, PartialEq, Eq)]
pub struct Fix {
    /// What it does, a short imperative.
    pub says: String,
    /// What is put in the place of which octets; none overlaps another.
    pub edits: Vec<(Place, String)>,
}

impl fmt::Debug for Fix {
    /// Without the new texts: what is put in quotes may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<&Place> = self.edits.iter().map(|(place, _)| place).collect();
        f.debug_struct("Fix").field("says", &self.says).field("places", &places).finish()
    }
}

/// What was meant by a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// This text.
    Text(String),
    /// Nothing: it is there twice.
    Nothing,
}

/// An allowance that covers a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Why.
    pub reason: String,
    /// The last day, `2027-03-01`.
    pub until: String,
}

impl Diagnostic {
    /// Says which text is meant in place of the value that this is about, where that is clear.
    pub fn means(&mut self, text: Option<&str>) -> &mut Self {
        self.meant = text.map(|text| Meant::Text(text.to_owned()));
        self
    }
    /// Says that the value may be taken out without changing anything.
    pub fn superfluous(&mut self) -> &mut Self {
        self.meant = Some(Meant::Nothing);
        self
    }
    /// What is wrong, and how often.
    pub fn text(&self) -> String {
        match self.more {
            0 => self.says.clone(),
            more => format!("{} (and {more} more of this cause)", self.says),
        }
    }
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
        self.severity
    }
}

/// The findings of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    found: Vec<Diagnostic>,
    allowed: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    /// What was not kept, by code.
    spilled: HashMap<Code, usize>,
    spill: Option<Box<Diagnostic>>,
}

/// What becomes of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is told.
    As(Severity),
    /// It is not told.
    Off,
    /// It is known and borne.
    Allowed(Allowed),
}

impl Report {
    /// An empty report.
    pub fn new() -> Report {
        Report::default()
    }
    /// Notes a finding; its severity comes from the code. After [`MOST_KEPT`] findings are counted, not kept.
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
    /// The findings that the spec allows; they count nowhere.
    pub fn allowed(&self) -> &[Diagnostic] {
        &self.allowed
    }
    /// Whether some findings were only counted.
    pub fn is_partial(&self) -> bool {
        !self.spilled.is_empty()
    }

    /// Takes in what another report holds, as if it had been found here.
    pub fn absorb(&mut self, other: Report) {
        for found in other.found {
            self.keep(found);
        }
        for (code, count) in other.spilled {
            match code.severity() {
                Severity::Error => self.errors += count,
                Severity::Warning => self.warnings += count,
            }
            *self.spilled.entry(code).or_default() += count;
        }
    }

    /// Takes in what another run of the same files found beside, its places bound; `words` go before each.
    pub fn join(&mut self, mut other: Report, located: &Located, words: &str) {
        let known: HashSet<(Code, Place, String)> =
            self.found.iter().map(|one| (one.code, machine::place(one, located), one.says.clone())).collect();
        other.found.retain_mut(|found| {
            let place = machine::place(found, located);
            let new = !known.contains(&(found.code, place.clone(), found.says.clone()));
            let also = found.also.drain(..).map(|(path, label)| (located.place(&path), label));
            found.also_places.extend(also);
            found.place = Some(place);
            found.says.insert_str(0, words);
            new
        });
        self.take(other, |_| true);
    }

    /// Takes over those of another report's findings that are to be believed.
    pub fn take(&mut self, other: Report, believed: impl Fn(&Diagnostic) -> bool) {
        self.found.extend(other.found.into_iter().filter(believed));
        for (code, count) in other.spilled {
            *self.spilled.entry(code).or_default() += count;
        }
        self.count();
    }

    /// Forgets those findings after the first `before` that are not to be believed.
    pub fn doubt(&mut self, before: usize, believed: impl Fn(&Diagnostic) -> bool) {
        let mut at = 0;
        self.found.retain(|found| {
            at += 1;
            at <= before || believed(found)
        });
        self.count();
    }

    /// Judges every finding.
    pub fn weigh(&mut self, mut verdict: impl FnMut(&Diagnostic) -> Verdict) {
        for mut found in std::mem::take(&mut self.found) {
            match verdict(&found) {
                Verdict::Off => {}
                Verdict::As(severity) => {
                    found.severity = severity;
                    self.found.push(found);
                }
                Verdict::Allowed(allowed) => {
                    found.allowed = Some(allowed);
                    self.allowed.push(found);
                }
            }
        }
        self.count();
    }

    /// Forgets those findings of a code that were only counted.
    pub fn forget(&mut self, code: impl Fn(Code) -> bool) {
        self.spilled.retain(|one, _| !code(*one));
        self.count();
    }

    /// Puts the findings in the order of the files, one for each cause, the first [`MOST_FINDINGS`] of each severity;
    /// and finds the edits that mend them.
    pub fn sort(&mut self, located: &Located) {
        for list in [&mut self.found, &mut self.allowed] {
            list.sort_by_cached_key(|found| {
                let place = machine::place(found, located);
                (place.file, place.span.start, found.code)
            });
            cause::merge(list, located);
        }
        self.count();
        let (mut errors, mut warnings) = (0, 0);
        self.found.retain(|found| {
            let count = if found.severity == Severity::Error { &mut errors } else { &mut warnings };
            *count += 1;
            *count <= MOST_FINDINGS
        });
        self.allowed.truncate(MOST_FINDINGS);
        self.found.iter_mut().for_each(|found| cause::mend(found, located));
    }

    fn count(&mut self) {
        (self.errors, self.warnings) = (0, 0);
        let kept = self.found.iter().map(|found| (found.severity, 1));
        let spilled = self.spilled.iter().map(|(code, count)| (code.severity(), *count));
        for (severity, count) in kept.chain(spilled) {
            match severity {
                Severity::Error => self.errors += count,
                Severity::Warning => self.warnings += count,
            }
        }
    }

    fn note(&mut self, code: Code, at: Path, place: Option<Place>, says: String) -> &mut Diagnostic {
        self.keep(Diagnostic {
            code,
            severity: code.severity(),
            at,
            says,
            help: None,
            also: Vec::new(),
            place,
            also_places: Vec::new(),
            more: 0,
            fix: None,
            meant: None,
            allowed: None,
        })
    }

    fn keep(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        let (code, severity) = (diagnostic.code, diagnostic.severity);
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        // A flood of warnings must not hide the first errors.
        if self.found.len() < MOST_KEPT || (severity == Severity::Error && self.errors <= MOST_FINDINGS) {
            let at = self.found.len();
            self.found.push(diagnostic);
            return &mut self.found[at];
        }
        *self.spilled.entry(code).or_default() += 1;
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

/// The one known word that a wrong one is clearly meant to be: one or two typing errors away, and no other is as near.
pub fn meant<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.len() > 64 {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let (mut best, mut least, mut unique) = (None, usize::MAX, false);
    for word in known.into_iter().filter(|word| word.len() <= 64) {
        if best == Some(word) {
            continue;
        }
        let distance = strsim::damerau_levenshtein(&wrong, &word.to_lowercase());
        if distance < least {
            (best, least, unique) = (Some(word), distance, true);
        } else if distance == least {
            unique = false;
        }
    }
    // Of a short word, two letters are half.
    let most = if wrong.chars().count() > 5 { 2 } else { 1 };
    best.filter(|_| unique && least <= most)
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
        for n in 0..MOST_KEPT + 5 {
            report.find(Code::NotServed, Path::root().item(n), "w");
        }
        report.find(Code::NotReadable, Path::root(), "e");
        assert_eq!((report.errors(), report.warnings()), (1, MOST_KEPT + 5));
        report.sort(&Located::default());
        assert_eq!((report.errors(), report.diagnostics().len()), (1, 2), "one cause, one finding");
    }

    #[test]
    fn a_word_is_meant_where_one_alone_is_near() {
        let known = ["imap", "imaps", "submission", "submissions"];
        assert_eq!(meant("submision", known), Some("submission"));
        assert_eq!(meant("imasp", known), None, "imap or imaps?");
        assert_eq!(meant("imax", known), Some("imap"));
        assert_eq!(meant("ima", ["imap", "imac"]), None);
        assert_eq!(meant("smtp", known), None);
    }
}
