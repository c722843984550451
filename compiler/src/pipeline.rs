//! The pipeline: read → resolve → emit → lint.

use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::emit::{self, Artefacts};
use crate::lint;
use crate::locate::Located;
use crate::read::files::Sources;
use crate::read::{self, Reading};
use crate::resolve::{self, Outside, Resolved};
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
    /// Opens every secret, to hold it against its public part.
    pub secrets: bool,
    /// Texts of files as an editor has them, by name from the folder.
    pub open: Option<&'a HashMap<String, String>>,
    /// What `(age)` secrets are opened with, where secrets are opened.
    pub identities: Option<&'a Identities>,
}

impl<'a> Wish<'a> {
    /// A spec's folder, and nothing special.
    pub fn new(folder: &'a Folder, now: i64) -> Wish<'a> {
        Wish { folder, now, secrets: false, open: None, identities: None }
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
    /// What it means; `None` where something in it cannot be bound.
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
    let Reading { spec, mut located, whole } = read::read(&sources, &mut report);
    if !whole {
        report.sort(&located);
        return Compiled { report, located, ..Compiled::default() };
    }
    let redirects = lint::scripts::lint(&spec, &sources, &mut located, &mut report);
    let outside = Outside { sources: &sources, now: wish.now, secrets: wish.secrets, identities: wish.identities };
    let resolved = resolve::resolve(&spec, &outside, &mut report);
    let artefacts = resolved.as_ref().map(|resolved| emit::emit(resolved, &mut report));
    if let Some(resolved) = &resolved {
        lint::scripts::loops(&redirects, resolved, &mut report);
    }
    if let (Some(resolved), Some(artefacts)) = (&resolved, &artefacts) {
        let around = lint::Around { spec: &spec, resolved, artefacts, outside: &outside };
        lint::lint(&around, &mut report);
    }
    report.sort(&located);
    let artefacts = artefacts.filter(|_| !report.has_errors());
    Compiled { report, located, spec, resolved, artefacts }
}
