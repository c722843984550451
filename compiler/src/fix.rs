//! `waybill fix`: the edits that mend findings and change nothing else, applied to the files' texts as they stand, so
//! that comments and layout stay.
//!
//! What comes of the edits is read again before anything is written: nothing is, unless there are fewer errors, or as
//! many and fewer warnings.

pub mod changes;
pub mod propose;

use crate::code::{Code, Severity};
use crate::diagnostic::{Diagnostic, Fix};
use crate::locate::{Located, Place};
use crate::pipeline::{Compiled, Wish, compile};
use crate::read::files::{FileError, Sources};
use crate::write;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;

/// How often a spec is read again, since one edit may show what another finding hid.
const MOST_ROUNDS: usize = 8;
/// How many edits are tried one by one, where all together do not help.
const MOST_SINGLE: usize = 64;

/// What there is to mend.
#[derive(Debug, Default)]
pub struct Mended {
    /// The files that change.
    pub files: Vec<Changed>,
    /// What was done, in order: place, code, and the fix's words.
    pub done: Vec<(String, Code, String)>,
    /// What is found now, and after the edits.
    pub before: Compiled,
    /// What is found after the edits; `None` where there are none.
    pub after: Option<Compiled>,
}

/// A file with its edits.
pub struct Changed {
    /// Its name from the spec's folder.
    pub name: String,
    /// Its text as read.
    pub old: String,
    /// Its text after the edits.
    pub new: String,
}

impl fmt::Debug for Changed {
    /// Without its texts, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Changed").field(&self.name).finish()
    }
}

/// Finds what can be mended. Writes nothing.
///
/// # Errors
/// [`FileError`] where the folder cannot be read.
pub fn mend(wish: &Wish<'_>) -> Result<Mended, FileError> {
    let sources = Sources::open(wish.folder)?.with_open(wish.open.cloned().unwrap_or_default());
    let before = compile(wish);
    let texts = wish.open.cloned().unwrap_or_default();
    let mut mending = Mending { wish, texts, done: Vec::new() };
    let (mut last, mut best) = (None, None);
    for _ in 0..MOST_ROUNDS {
        let Some(next) = mending.round(last.as_ref().unwrap_or(&before)) else { break };
        // What a misspelt node holds shows once it is mended; the next round may mend that too.
        if is_better(&before, &next) {
            best = Some((mending.texts.clone(), mending.done.clone()));
        }
        last = Some(next);
    }
    let Some((texts, done)) = best else { return Ok(Mended { before, ..Mended::default() }) };
    let after = compile(&Wish { open: Some(&texts), ..wish.clone() });
    let texts: BTreeMap<String, String> = texts.into_iter().collect();
    let read = |name: &str| before.located.files.iter().chain(&after.located.files).find(|file| file.name == name);
    let old = |name: &str| sources.text(name).ok().map(|text| text.to_string());
    let changed = texts.into_iter().filter(|(name, _)| read(name).is_some());
    let files = changed
        .filter_map(|(name, new)| Some(Changed { old: old(&name)?, new, name }))
        .filter(|file: &Changed| file.old != file.new)
        .collect();
    Ok(Mended { files, done, before, after: Some(after) })
}

/// Writes what was mended, each file whole or not at all.
///
/// # Errors
/// The system's; a file that changed meanwhile is one, and then none is written.
pub fn write(wish: &Wish<'_>, mended: &Mended) -> io::Result<()> {
    let failed = |why: &dyn std::fmt::Display, name: &str| io::Error::other(format!("{name}: {why}"));
    let sources = Sources::open(wish.folder).map_err(|why| failed(&why, "the folder"))?;
    let mut ready = Vec::with_capacity(mended.files.len());
    for file in &mended.files {
        let path = sources.root().join(&file.name).canonicalize()?;
        let octets = std::fs::read(&path)?;
        let bom: &[u8] = if octets.starts_with(b"\xef\xbb\xbf") { b"\xef\xbb\xbf" } else { b"" };
        if octets.get(bom.len()..) != Some(file.old.as_bytes()) {
            return Err(failed(&"has changed meanwhile", &file.name));
        }
        let private = std::fs::metadata(&path)?.permissions().mode() & 0o077 == 0;
        let mode = if private { write::Mode::Private } else { write::Mode::Public };
        ready.push((path, [bom, file.new.as_bytes()].concat(), mode));
    }
    for (path, octets, mode) in ready {
        write::replace(&path, &octets, mode)?;
    }
    Ok(())
}

struct Mending<'a> {
    wish: &'a Wish<'a>,
    /// The texts that changed, by file name.
    texts: HashMap<String, String>,
    done: Vec<(String, Code, String)>,
}

impl Mending<'_> {
    /// Applies every edit of what was found last; what is found then, or `None` where nothing can be mended.
    fn round(&mut self, found: &Compiled) -> Option<Compiled> {
        let all: Vec<&Diagnostic> = apart(found.report.diagnostics());
        if all.is_empty() {
            return None;
        }
        if let Some(next) = self.attempt(found, &all) {
            return Some(next);
        }
        // One of them does not help: find out which do, as long as that takes no longer than reading.
        let mut good: Vec<&Diagnostic> = Vec::new();
        let mut best = None;
        for one in all.iter().take(MOST_SINGLE) {
            let mut tried = good.clone();
            tried.push(one);
            let kept = (self.texts.clone(), self.done.len());
            if let Some(next) = self.attempt(found, &tried) {
                best = Some((next, std::mem::take(&mut self.texts), self.done.split_off(kept.1)));
                good = tried;
            }
            self.texts = kept.0;
        }
        let (next, texts, done) = best?;
        self.texts = texts;
        self.done.extend(done);
        Some(next)
    }

    /// Applies edits, and keeps them if what they mend is gone and nothing is worse.
    fn attempt(&mut self, found: &Compiled, mended: &[&Diagnostic]) -> Option<Compiled> {
        let edits: Vec<&(Place, String)> =
            mended.iter().filter_map(|one| one.fix.as_ref()).flat_map(|fix| &fix.edits).collect();
        let mut texts = self.texts.clone();
        for (name, text) in applied(&found.located, &edits) {
            texts.insert(name, text);
        }
        let next = compile(&Wish { open: Some(&texts), ..self.wish.clone() });
        let count = |compiled: &Compiled, one: &Diagnostic| {
            let all = compiled.report.diagnostics().iter();
            all.filter(|other| other.code == one.code && other.says == one.says)
                .map(|other| other.more + 1)
                .sum::<usize>()
        };
        let gone = mended.iter().all(|one| count(&next, one) < count(found, one));
        let opens = mended.iter().any(|one| one.code == Code::UnknownNode);
        if !gone || faults(&next) > faults(found) || !(opens || is_better(found, &next)) {
            return None;
        }
        self.texts = texts;
        for one in mended {
            let says = one.fix.as_ref().map(|fix| fix.says.clone()).unwrap_or_default();
            let place = crate::diagnostic::machine::place(one, &found.located);
            self.done.push((found.located.at(&place), one.code, says));
        }
        Some(next)
    }
}

/// What keeps a file from being understood at all.
fn faults(compiled: &Compiled) -> usize {
    let fault = |found: &&Diagnostic| matches!(found.code, Code::BadSyntax | Code::OldKdl | Code::NoLanguage);
    compiled.report.diagnostics().iter().filter(fault).count()
}

/// Whether edits helped. Where a file was not understood, what is in it shows only now.
fn is_better(before: &Compiled, after: &Compiled) -> bool {
    let (old, new) = (faults(before), faults(after));
    if old != new {
        return new < old;
    }
    let rank = |compiled: &Compiled| (compiled.report.errors(), compiled.report.warnings());
    rank(after) < rank(before)
}

/// The findings with a fix, errors first in doubt, none of whose edits touches another's.
fn apart(found: &[Diagnostic]) -> Vec<&Diagnostic> {
    let mut with: Vec<&Diagnostic> = found.iter().filter(|found| found.fix.is_some()).collect();
    with.sort_by_key(|found| found.severity() != Severity::Error);
    let mut taken: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let free = |taken: &BTreeMap<(usize, usize), usize>, place: &Place| {
        let before = taken.range(..=(place.file, place.span.end)).next_back();
        before.is_none_or(|((file, _), end)| *file != place.file || *end < place.span.start)
    };
    with.retain(|found| {
        let edits = found.fix.as_ref().map(|fix| fix.edits.as_slice()).unwrap_or_default();
        let all_free = !edits.is_empty() && edits.iter().all(|(place, _)| free(&taken, place));
        if all_free {
            taken.extend(edits.iter().map(|(place, _)| ((place.file, place.span.start), place.span.end)));
        }
        all_free
    });
    with
}

/// The texts of the files that edits change. Edits do not overlap.
pub fn applied(located: &Located, edits: &[&(Place, String)]) -> Vec<(String, String)> {
    let mut by_file: BTreeMap<usize, Vec<&(Place, String)>> = BTreeMap::new();
    for edit in edits {
        by_file.entry(edit.0.file).or_default().push(edit);
    }
    let mut texts = Vec::with_capacity(by_file.len());
    for (at, mut edits) in by_file {
        let Some(file) = located.files.get(at) else { continue };
        edits.sort_by_key(|(place, _)| (place.span.start, place.span.end));
        let (mut text, mut from) = (String::with_capacity(file.text.len()), 0);
        for (place, new) in edits {
            let Some(kept) = file.text.get(from..place.span.start) else { continue };
            text.push_str(kept);
            text.push_str(new);
            from = place.span.end;
        }
        text.push_str(file.text.get(from..).unwrap_or_default());
        texts.push((file.name.clone(), text));
    }
    texts
}

impl Fix {
    /// A fix of one edit.
    pub fn one(says: impl Into<String>, place: Place, text: impl Into<String>) -> Fix {
        Fix { says: says.into(), edits: vec![(place, text.into())] }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WRONG: &str = "// of a test\nhots \"a.example\" { address 192.0.2.1 /* one */; }\n\
                         store \"local\" { rocksdb r\"data\"; }\ndomain \"b.example\" {\n    \
                         dmarc \"rejct\" strict=true // strict\n    acount \"ada\" { quota 5GiB; }\n}\n";

    fn mended(text: &str) -> Mended {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mail.kdl"), text).unwrap();
        mend(&Wish::new(folder.path(), 1_795_478_400)).unwrap()
    }

    #[test]
    fn what_is_mended_is_kdl_to_others_too_and_keeps_its_comments() {
        let mended = mended(WRONG);
        let new = &mended.files[0].new;
        let document = kdl::KdlDocument::parse_v2(new).unwrap();
        assert_eq!(document.nodes().len(), 4, "{new}");
        let entry = |node: &kdl::KdlNode, child: &str| {
            let child = node.children().unwrap().get(child).unwrap().clone();
            child.entries()[0].value().as_string().unwrap().to_owned()
        };
        assert_eq!(entry(document.get("host").unwrap(), "address"), "192.0.2.1");
        assert_eq!(entry(document.get("store").unwrap(), "rocksdb"), "data");
        assert_eq!(entry(document.get("domain").unwrap(), "dmarc"), "reject");
        assert!(["// of a test", "/* one */", "// strict"].iter().all(|comment| new.contains(comment)), "{new}");
        assert_eq!(mended.after.unwrap().report.errors(), 0);
    }

    #[test]
    fn whatever_is_broken_nothing_gets_worse() {
        let pieces = ["", "\"", "{", "}", "\\", "(x)", " 5h ", "r\"", "/-", "\u{e9}"];
        for (n, (at, _)) in WRONG.char_indices().enumerate() {
            let text =
                format!("{}{}{}", &WRONG[..at], pieces[n % pieces.len()], &WRONG[(at + n % 2).min(WRONG.len())..]);
            let mended = mended(&text);
            let Some(after) = &mended.after else { continue };
            assert!(is_better(&mended.before, after), "{text}");
            assert!(mended.files.iter().all(|file| file.old == text && file.new != text), "{text}");
            let _ = changes::diff(&mended);
        }
    }
}
