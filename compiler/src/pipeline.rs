//! The pipeline: read → resolve → emit.

use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::emit::{self, Artefacts};
use crate::locate::Located;
use crate::read::files::Sources;
use crate::read::{self, Reading};
use crate::resolve::{self, Outside};

/// What compiling gave.
pub struct Compiled {
    /// What was found, right and wrong.
    pub report: Report,
    /// Where everything was written.
    pub located: Located,
    /// What to write; `None` where something is an error.
    pub artefacts: Option<Artefacts>,
}

/// Compiles a spec's folder. `now` in seconds since 1970 is for certificates' dates alone.
pub fn compile(folder: &std::path::Path, now: i64) -> Compiled {
    run(folder, now, false)
}

/// Compiles a spec's folder, and opens every secret to hold it against its public part.
pub fn compile_with_secrets(folder: &std::path::Path, now: i64) -> Compiled {
    run(folder, now, true)
}

fn run(folder: &std::path::Path, now: i64, secrets: bool) -> Compiled {
    let mut report = Report::new();
    let sources = match Sources::open(folder) {
        Ok(sources) => sources,
        Err(why) => {
            let says = format!("the folder {} {why}", folder.display());
            report.find(Code::NotReadable, Path::root(), says).help("`waybill init` writes a first spec");
            return Compiled { report, located: Located::default(), artefacts: None };
        }
    };
    let Reading { spec, located, whole } = read::read(&sources, &mut report);
    if !whole {
        report.sort(&located);
        return Compiled { report, located, artefacts: None };
    }
    let resolved = resolve::resolve(&spec, &Outside { sources: &sources, now, secrets }, &mut report);
    let artefacts = resolved.map(|resolved| emit::emit(&resolved, &mut report));
    report.sort(&located);
    let artefacts = artefacts.filter(|_| !report.has_errors());
    Compiled { report, located, artefacts }
}
