//! The pipeline: read → resolve → emit → lint.

use crate::allowance::{self, Moment};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::emit::{self, Artefacts};
use crate::environment;
use crate::lint;
use crate::locate::Located;
use crate::lock::{Lock, MOST_SETS, Question};
use crate::read::cache::Cache;
use crate::read::files::Sources;
use crate::read::{self, Reading};
use crate::resolve::{self, Outside, Resolved};
use crate::sound::Sound;
use schema::spec::Spec;
use sealed::identity::Identities;
use std::collections::HashMap;
use std::path::Path as Folder;

/// What is to be compiled, and how.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The spec's folder.
    pub folder: &'a Folder,
    /// Seconds since 1970, for the dates of certificates and allowances.
    pub now: i64,
    /// Which of the spec's environments; `None`: the spec as it stands.
    pub environment: Option<&'a str>,
    /// Opens every secret, to hold it against its public part.
    pub secrets: bool,
    /// Texts of files as an editor has them, by name from the folder.
    pub open: Option<&'a HashMap<String, String>>,
    /// Trees of files that were parsed before.
    pub cache: Option<&'a Cache>,
    /// What `(age)` secrets are opened with, where secrets are opened.
    pub identities: Option<&'a Identities>,
}

impl<'a> Wish<'a> {
    /// A spec's folder, and nothing special.
    pub fn new(folder: &'a Folder, now: i64) -> Wish<'a> {
        Wish { folder, now, environment: None, secrets: false, open: None, cache: None, identities: None }
    }
}

/// What compiling gave.
#[derive(Debug, Default)]
pub struct Compiled {
    /// What was found, right and wrong.
    pub report: Report,
    /// Where everything was written.
    pub located: Located,
    /// What was written; empty where a file could not be read or parsed.
    pub spec: Spec,
    /// What it means, as far as it can be bound; `None` where a file could not be read or parsed.
    pub resolved: Option<Resolved>,
    /// What to write; `None` where something is an error.
    pub artefacts: Option<Artefacts>,
}

/// Compiles a spec's folder.
pub fn compile(wish: &Wish<'_>) -> Compiled {
    let mut report = Report::new();
    let sources = match Sources::open(wish.folder) {
        Ok(sources) => sources.with_open(wish.open.cloned().unwrap_or_default()),
        Err(why) => {
            let says = format!("the folder {} {why}", wish.folder.display());
            report.find(Code::NotReadable, Path::root(), says).help("`waybill init` writes a first spec");
            return Compiled { report, ..Compiled::default() };
        }
    };
    let Reading { mut spec, mut located, whole } = read::read_with(&sources, wish.cache, &mut report);
    if !whole {
        report.sort(&located);
        return Compiled { report, located, ..Compiled::default() };
    }
    if let Some(name) = wish.environment {
        spec = environment::overlaid(spec, name, &mut located, &mut report);
    }
    let lock = Lock::read(&sources, &mut located, &mut report);
    let outside = Outside { sources: &sources, now: wish.now, secrets: wish.secrets, identities: wish.identities };
    let (read, reading) = (report.diagnostics().len(), Sound::of(&spec, &located, &report));
    let resolved = resolve::resolve(&spec, &outside, &mut report);
    report.doubt(read, |found| !reading.echoes(found));
    let sound = Sound::of(&spec, &located, &report);
    // What is wrong in one part keeps no other part's findings back, but nothing is told that only echoes it.
    let mut later = Report::new();
    let artefacts = emit::emit(&resolved, &mut later);
    if !sound.is_hopeless() {
        let around =
            lint::Around { spec: &spec, resolved: &resolved, artefacts: &artefacts, outside: &outside, lock: &lock };
        lint::lint(&around, &mut later);
    }
    report.take(later, |found| sound.believes(found));
    // Last, since what is wrong in a script tells nothing against the spec's parts.
    let redirects = lint::scripts::lint(&spec, &sources, &mut located, &mut report);
    lint::scripts::loops(&redirects, &resolved, &mut report);
    allowance::weigh(&spec, &located, Moment { now: wish.now, secrets: wish.secrets }, &mut report);
    report.sort(&located);
    let artefacts = Some(artefacts).filter(|_| !report.has_errors());
    Compiled { report, located, spec, resolved: Some(resolved), artefacts }
}

/// How often what is known leads to new questions: as deep as SPF records may be nested, and names have parents.
const MOST_ROUNDS: usize = 64;

/// What locking gave.
#[derive(Debug, Default)]
pub struct Locking {
    /// Why there is nothing to lock, where that is so.
    pub report: Report,
    /// Where everything was written.
    pub located: Located,
    /// What was locked.
    pub old: Lock,
    /// What is to be locked; `None` where the spec is too wrong to tell.
    pub new: Option<Lock>,
}

/// Asks what a spec needs to know of DNS outside it.
///
/// # Errors
/// What `ask` says.
pub fn lock<E>(
    wish: &Wish<'_>,
    mut ask: impl FnMut(Vec<Question>) -> Result<Vec<(Question, Vec<String>)>, E>,
) -> Result<Locking, E> {
    let mut report = Report::new();
    let Ok(sources) = Sources::open(wish.folder) else {
        let Compiled { report, located, .. } = compile(wish);
        return Ok(Locking { report, located, ..Locking::default() });
    };
    let Reading { mut spec, mut located, whole } = read::read(&sources, &mut report);
    if let Some(name) = wish.environment.filter(|_| whole) {
        spec = environment::overlaid(spec, name, &mut located, &mut report);
    }
    let old = Lock::read(&sources, &mut located, &mut Report::new());
    let outside = Outside { sources: &sources, now: wish.now, secrets: false, identities: None };
    let resolved = resolve::resolve(&spec, &outside, &mut report);
    allowance::weigh(&spec, &located, Moment { now: wish.now, secrets: false }, &mut report);
    if !whole || report.has_errors() {
        report.sort(&located);
        return Ok(Locking { report, located, old, new: None });
    }
    // What is wrong with records is for `check` to tell; it may be what the lock is about.
    let artefacts = emit::emit(&resolved, &mut Report::new());
    let mut new = Lock::default();
    for _ in 0..MOST_ROUNDS {
        let around =
            lint::Around { spec: &spec, resolved: &resolved, artefacts: &artefacts, outside: &outside, lock: &new };
        let asked = lint::questions(&around);
        let open = asked.iter().filter(|question| !new.sets.contains_key(question));
        let open: Vec<Question> = open.take(MOST_SETS.saturating_sub(new.sets.len())).cloned().collect();
        if open.is_empty() {
            // An answer may have made another question needless.
            new.sets.retain(|question, _| asked.contains(question));
            break;
        }
        for (question, values) in ask(open)? {
            new.note(question, values);
        }
    }
    Ok(Locking { report, located, old, new: Some(new) })
}
