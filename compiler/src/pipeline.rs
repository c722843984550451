//! The pipeline: read → resolve → emit → lint.

use crate::allowance::{self, Moment};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::emit::{self, Artefacts};
use crate::lint;
use crate::locate::Located;
use crate::read::files::Sources;
use crate::read::{self, Reading};
use crate::resolve::{self, Outside, Resolved};
use crate::sound::Sound;
use schema::spec::Spec;
use std::collections::HashMap;
use std::path::Path as Folder;

/// What is to be compiled, and how.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The spec's folder.
    pub folder: &'a Folder,
    /// Seconds since 1970, for the dates of certificates and allowances.
    pub now: i64,
    /// Opens every secret, to hold it against its public part.
    pub secrets: bool,
    /// Texts of files as an editor has them, by name from the folder.
    pub open: Option<&'a HashMap<String, String>>,
}

impl<'a> Wish<'a> {
    /// A spec's folder, and nothing special.
    pub fn new(folder: &'a Folder, now: i64) -> Wish<'a> {
        Wish { folder, now, secrets: false, open: None }
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
    let Reading { spec, located, whole } = read::read(&sources, &mut report);
    if !whole {
        report.sort(&located);
        return Compiled { report, located, ..Compiled::default() };
    }
    let outside = Outside { sources: &sources, now: wish.now, secrets: wish.secrets };
    let (read, reading) = (report.diagnostics().len(), Sound::of(&spec, &located, &report));
    let resolved = resolve::resolve(&spec, &outside, &mut report);
    report.doubt(read, |found| !reading.echoes(found));
    let sound = Sound::of(&spec, &located, &report);
    // What is wrong in one part keeps no other part's findings back, but nothing is told that only echoes it.
    let mut later = Report::new();
    let artefacts = emit::emit(&resolved, &mut later);
    if !sound.is_hopeless() {
        let around = lint::Around { spec: &spec, resolved: &resolved, artefacts: &artefacts, outside: &outside };
        lint::lint(&around, &mut later);
    }
    report.take(later, |found| sound.believes(found));
    allowance::weigh(&spec, &located, Moment { now: wish.now, secrets: wish.secrets }, &mut report);
    report.sort(&located);
    let artefacts = Some(artefacts).filter(|_| !report.has_errors());
    Compiled { report, located, spec, resolved: Some(resolved), artefacts }
}
