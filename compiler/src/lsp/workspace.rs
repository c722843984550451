//! The open files, and what compiling the specs that they belong to last gave.

use super::text::{Encoding, Lines};
use crate::code::Severity;
use crate::diagnostic::{Diagnostic, machine};
use crate::locate::Located;
use crate::pipeline::{Compiled, Wish, compile};
use crate::read::ROOT_FILE;
use crate::read::grammar::{self, Kind};
use crossbeam_channel::{Receiver, Sender, unbounded};
use lsp_types::{
    CodeDescription, DiagnosticRelatedInformation, DiagnosticSeverity, DidChangeTextDocumentParams,
    DidCloseTextDocumentParams, DidOpenTextDocumentParams, Location, NumberOrString, PublishDiagnosticsParams, Uri,
};
use schema::spec::Spec;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use url::Url;

/// A spec to compile: its folder, and its files that are open, by name from there.
struct Job {
    folder: PathBuf,
    open: HashMap<String, String>,
}

/// A spec compiled.
pub struct Done {
    folder: PathBuf,
    compiled: Arc<Compiled>,
}

/// What the editor has open.
pub struct Workspace {
    /// The language.
    pub language: Arc<Kind>,
    /// How columns are counted.
    pub encoding: Encoding,
    open: BTreeMap<PathBuf, Lines>,
    specs: BTreeMap<PathBuf, Known>,
    jobs: Sender<Job>,
}

/// What is known of a spec.
#[derive(Default)]
struct Known {
    compiled: Option<Arc<Compiled>>,
    /// The last one whose files could all be parsed, for its names.
    whole: Option<Arc<Compiled>>,
    /// Files that have findings shown.
    shown: BTreeSet<PathBuf>,
}

/// The path of a file's URI.
pub fn path(uri: &Uri) -> Option<PathBuf> {
    Url::parse(uri.as_str()).ok()?.to_file_path().ok()
}

/// The URI of a file.
pub fn uri(path: &Path) -> Option<Uri> {
    Url::from_file_path(path).ok()?.as_str().parse().ok()
}

impl Workspace {
    /// An empty workspace and the thread that compiles for it.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(encoding: Encoding, now: fn() -> i64) -> io::Result<(Workspace, Receiver<Done>)> {
        let (jobs, wanted) = unbounded::<Job>();
        let (done, compiled) = unbounded();
        thread::Builder::new().name("compile".into()).spawn(move || compiling(&wanted, &done, now))?;
        let language = Arc::clone(grammar::language());
        let (open, specs) = (BTreeMap::new(), BTreeMap::new());
        Ok((Workspace { language, encoding, open, specs, jobs }, compiled))
    }

    /// The editor shows a file.
    pub fn opened(&mut self, opened: DidOpenTextDocumentParams) {
        let Some(path) = path(&opened.text_document.uri) else { return };
        self.open.insert(path.clone(), Lines::new(opened.text_document.text, self.encoding));
        self.compile(&path);
    }

    /// Somebody types.
    pub fn changed(&mut self, changed: DidChangeTextDocumentParams) {
        let Some(path) = path(&changed.text_document.uri) else { return };
        let Some(lines) = self.open.get_mut(&path) else { return };
        for change in changed.content_changes {
            *lines = match change.range {
                Some(range) => lines.edited(range, &change.text),
                None => Lines::new(change.text, self.encoding),
            };
        }
        self.compile(&path);
    }

    /// A file on the disk has changed; keys and certificates too are looked at.
    pub fn saved(&mut self) {
        let folders: Vec<PathBuf> = self.specs.keys().cloned().collect();
        for folder in folders {
            self.compile(&folder.join(ROOT_FILE));
        }
    }

    /// The editor shows a file no more. With the last one of a spec, the findings of all its files go too.
    pub fn closed(&mut self, closed: &DidCloseTextDocumentParams) -> Vec<PublishDiagnosticsParams> {
        let Some(path) = path(&closed.text_document.uri) else { return Vec::new() };
        let folder = self.folder(&path);
        self.open.remove(&path);
        let Some(folder) = folder else { return Vec::new() };
        if self.open.keys().any(|open| open.starts_with(&folder)) {
            self.compile(&path);
            return Vec::new();
        }
        let shown = self.specs.remove(&folder).map(|known| known.shown).unwrap_or_default();
        let gone =
            |path: PathBuf| Some(PublishDiagnosticsParams { uri: uri(&path)?, diagnostics: Vec::new(), version: None });
        shown.into_iter().filter_map(gone).collect()
    }

    /// The text of a file: as the editor has it, else as it was compiled.
    pub fn lines(&self, path: &Path) -> Option<Lines> {
        if let Some(lines) = self.open.get(path) {
            return Some(lines.clone());
        }
        let folder = self.folder(path)?;
        let compiled = self.compiled(path)?;
        let name = path.strip_prefix(&folder).ok()?.to_str()?;
        let file = compiled.located.files.iter().find(|file| file.name == name)?;
        Some(Lines::new(file.text.to_string(), self.encoding))
    }

    /// What compiling the spec of a file last gave.
    pub fn compiled(&self, path: &Path) -> Option<&Arc<Compiled>> {
        self.specs.get(&self.folder(path)?)?.compiled.as_ref()
    }

    /// What was written in the spec of a file, when all of it could last be read.
    pub fn spec(&self, path: &Path) -> Option<&Spec> {
        let known = self.specs.get(&self.folder(path)?)?;
        known.whole.as_ref().map(|compiled| &compiled.spec)
    }

    /// The files of a file's spec, as last compiled.
    pub fn files(&self, path: &Path) -> Vec<PathBuf> {
        let Some((folder, compiled)) = self.folder(path).zip(self.compiled(path)) else {
            return vec![path.to_path_buf()];
        };
        compiled.located.files.iter().filter(|file| !file.unread).map(|file| folder.join(&file.name)).collect()
    }

    /// The spec's folder that a file lies in: the nearest with a root file.
    pub fn folder(&self, path: &Path) -> Option<PathBuf> {
        let folders = path.ancestors().skip(1);
        let is_spec = |folder: &&Path| {
            let root = folder.join(ROOT_FILE);
            self.open.contains_key(&root) || root.is_file()
        };
        folders.into_iter().find(is_spec).map(Path::to_path_buf)
    }

    fn compile(&mut self, path: &Path) {
        let Some(folder) = self.folder(path) else { return };
        self.specs.entry(folder.clone()).or_default();
        let inside = self.open.iter().filter_map(|(path, lines)| {
            let name = path.strip_prefix(&folder).ok()?.to_str()?;
            Some((name.to_owned(), lines.text.clone()))
        });
        // Where the thread is gone, the main loop ends.
        let _ = self.jobs.send(Job { open: inside.collect(), folder });
    }

    /// Takes what was compiled; what is to be shown of it.
    pub fn take(&mut self, done: Done) -> Vec<PublishDiagnosticsParams> {
        let Some(known) = self.specs.get_mut(&done.folder) else { return Vec::new() };
        let mut found = findings(&done, self.encoding);
        let shown: BTreeSet<PathBuf> = found.keys().cloned().collect();
        for path in std::mem::replace(&mut known.shown, shown) {
            found.entry(path).or_default();
        }
        if done.compiled.spec != Spec::default() {
            known.whole = Some(Arc::clone(&done.compiled));
        }
        known.compiled = Some(done.compiled);
        let published = found.into_iter().filter_map(|(path, diagnostics)| {
            Some(PublishDiagnosticsParams { uri: uri(&path)?, diagnostics, version: None })
        });
        published.collect()
    }
}

fn compiling(wanted: &Receiver<Job>, done: &Sender<Done>, now: fn() -> i64) {
    let cache = crate::read::cache::Cache::new();
    while let Ok(job) = wanted.recv() {
        // Of each spec only the newest text is of interest.
        let mut jobs = vec![job];
        for newer in wanted.try_iter() {
            jobs.retain(|job| job.folder != newer.folder);
            jobs.push(newer);
        }
        for job in jobs {
            let compiled = Arc::new(compile(&Wish {
                open: Some(&job.open),
                cache: Some(&cache),
                ..Wish::new(&job.folder, now())
            }));
            if done.send(Done { folder: job.folder, compiled }).is_err() {
                return;
            }
        }
    }
}

/// The findings of each file.
fn findings(done: &Done, encoding: Encoding) -> BTreeMap<PathBuf, Vec<lsp_types::Diagnostic>> {
    let located = &done.compiled.located;
    let mut lines: HashMap<usize, Lines> = HashMap::new();
    let mut of_file: BTreeMap<PathBuf, Vec<lsp_types::Diagnostic>> = BTreeMap::new();
    for found in done.compiled.report.diagnostics() {
        let path = located.file(&machine::place(found, located)).map_or(ROOT_FILE, |file| file.name.as_str());
        let one = finding(found, (&done.folder, located), &mut lines, encoding);
        of_file.entry(done.folder.join(path)).or_default().push(one);
    }
    of_file
}

fn finding(
    found: &Diagnostic,
    (folder, located): (&Path, &Located),
    lines: &mut HashMap<usize, Lines>,
    encoding: Encoding,
) -> lsp_types::Diagnostic {
    let mut location = |place: &crate::locate::Place| {
        let file = located.file(place)?;
        let lines = lines.entry(place.file).or_insert_with(|| Lines::new(file.text.to_string(), encoding));
        Some(Location::new(uri(&folder.join(&file.name))?, lines.range(&place.span)))
    };
    let at = location(&machine::place(found, located)).map(|location| location.range).unwrap_or_default();
    let related = found.related(located).filter_map(|(place, label)| {
        Some(DiagnosticRelatedInformation { location: location(&place)?, message: label.to_owned() })
    });
    let related: Vec<_> = related.collect();
    let message = match &found.help {
        Some(help) => format!("{}\n{help}", found.says),
        None => found.says.clone(),
    };
    lsp_types::Diagnostic {
        range: at,
        severity: Some(match found.severity() {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(found.code.id().to_owned())),
        code_description: None::<CodeDescription>,
        source: Some("waybill".to_owned()),
        message,
        related_information: (!related.is_empty()).then_some(related),
        ..lsp_types::Diagnostic::default()
    }
}
