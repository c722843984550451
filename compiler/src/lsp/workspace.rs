//! The open files, and what compiling the specs that they belong to last gave.

use super::text::{Encoding, Lines, moved};
use crate::code::Severity;
use crate::diagnostic::{Diagnostic, Report, machine};
use crate::locate::Located;
use crate::pipeline::{Compiled, Wish, compile};
use crate::read::grammar::{self, Kind};
use crate::read::{self, ROOT_FILE};
use crossbeam_channel::{Receiver, Sender, unbounded};
use lsp_types::{
    CodeDescription, DiagnosticRelatedInformation, DiagnosticSeverity, DidChangeTextDocumentParams,
    DidCloseTextDocumentParams, DidOpenTextDocumentParams, Location, NumberOrString, PublishDiagnosticsParams, Range,
    Uri,
};
use schema::spec::Spec;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use url::Url;

/// A larger file, in octets, is not looked at by itself before the spec is compiled.
const LARGEST_GLANCE: usize = 1 << 20;

/// A spec to compile: its folder, and its files that are open, by name from there.
struct Job {
    folder: PathBuf,
    open: HashMap<String, String>,
    /// Which job of this spec it is.
    number: u64,
}

/// A spec compiled.
pub struct Done {
    folder: PathBuf,
    compiled: Arc<Compiled>,
    number: u64,
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
    /// Takes what is needed no more.
    old: Sender<Old>,
}

/// What was known of a spec before.
type Old = (Option<Arc<Compiled>>, Option<Arc<Compiled>>);

/// What is known of a spec.
#[derive(Default)]
struct Known {
    compiled: Option<Arc<Compiled>>,
    /// The last one whose files could all be parsed, for its names.
    whole: Option<Arc<Compiled>>,
    /// What was found in files by themselves that have changed since.
    glances: BTreeMap<PathBuf, (Located, Report)>,
    /// The findings of each file that are shown.
    shown: BTreeMap<PathBuf, Vec<lsp_types::Diagnostic>>,
    /// How often it was to be compiled.
    asked: u64,
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
    /// An empty workspace and the threads that work for it.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn start(encoding: Encoding, now: fn() -> i64) -> io::Result<(Workspace, Receiver<Done>)> {
        let (jobs, wanted) = unbounded::<Job>();
        let (done, compiled) = unbounded();
        thread::Builder::new().name("compile".into()).spawn(move || compiling(&wanted, &done, now))?;
        let (old, unwanted) = unbounded::<Old>();
        thread::Builder::new().name("old".into()).spawn(move || unwanted.iter().for_each(drop))?;
        let language = Arc::clone(grammar::language());
        let (open, specs) = (BTreeMap::new(), BTreeMap::new());
        Ok((Workspace { language, encoding, open, specs, jobs, old }, compiled))
    }

    /// The editor shows a file.
    pub fn opened(&mut self, opened: DidOpenTextDocumentParams) {
        let Some(path) = path(&opened.text_document.uri) else { return };
        self.open.insert(path.clone(), Lines::new(opened.text_document.text, self.encoding));
        self.compile(&path);
    }

    /// Somebody types. What is wrong with the file by itself is known at once; what else was found in it stays where it
    /// is in the new text, until the spec is compiled.
    pub fn changed(&mut self, changed: DidChangeTextDocumentParams) -> Option<PublishDiagnosticsParams> {
        let path = path(&changed.text_document.uri)?;
        let folder = self.folder(&path);
        let lines = self.open.get_mut(&path)?;
        let shown = folder.as_ref().and_then(|folder| self.specs.get_mut(folder)?.shown.get_mut(&path));
        let mut shown = shown.map(std::mem::take).unwrap_or_default();
        for change in changed.content_changes {
            let Some(range) = change.range else {
                *lines = Lines::new(change.text, self.encoding);
                continue;
            };
            *lines = lines.edited(range, &change.text);
            let to = |at| moved(at, range, &change.text, self.encoding);
            shown.iter_mut().for_each(|one| one.range = Range::new(to(one.range.start), to(one.range.end)));
        }
        let text = lines.text.clone();
        self.compile(&path);
        let folder = folder?;
        let name = path.strip_prefix(&folder).ok()?.to_str()?.to_owned();
        if text.len() <= LARGEST_GLANCE && name.ends_with(".kdl") {
            let (located, report) = read::glance(name, text.into());
            shown.retain(|one| !is_of_reading(one));
            let mut lines = HashMap::new();
            let found =
                report.diagnostics().iter().map(|one| finding(one, (&folder, &located), &mut lines, self.encoding));
            shown.splice(0..0, found);
            self.specs.get_mut(&folder)?.glances.insert(path.clone(), (located, report));
        }
        self.specs.get_mut(&folder)?.shown.insert(path.clone(), shown.clone());
        Some(PublishDiagnosticsParams { uri: uri(&path)?, diagnostics: shown, version: None })
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
        shown.into_keys().filter_map(gone).collect()
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

    /// What was found in the text that a file has now: by itself, or with its spec.
    pub fn found(&self, path: &Path) -> Option<(&Located, &Report)> {
        let known = self.specs.get(&self.folder(path)?)?;
        if let Some((located, report)) = known.glances.get(path) {
            return Some((located, report));
        }
        let compiled = known.compiled.as_ref()?;
        Some((&compiled.located, &compiled.report))
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
        let known = self.specs.entry(folder.clone()).or_default();
        known.asked += 1;
        let number = known.asked;
        let inside = self.open.iter().filter_map(|(path, lines)| {
            let name = path.strip_prefix(&folder).ok()?.to_str()?;
            Some((name.to_owned(), lines.text.clone()))
        });
        // Where the thread is gone, the main loop ends.
        let _ = self.jobs.send(Job { open: inside.collect(), folder, number });
    }

    /// Takes what was compiled; what is to be shown of it.
    pub fn take(&mut self, done: Done) -> Vec<PublishDiagnosticsParams> {
        let Some(known) = self.specs.get_mut(&done.folder) else { return Vec::new() };
        let mut found = BTreeMap::new();
        // What is known of an older text would stand at the wrong places; the newer one is being compiled.
        if known.asked == done.number {
            known.glances.clear();
            found = findings(&done, self.encoding);
            for path in std::mem::replace(&mut known.shown, found.clone()).into_keys() {
                found.entry(path).or_default();
            }
        }
        let whole = done.compiled.resolved.is_some();
        let (whole, compiled) = (whole.then(|| Arc::clone(&done.compiled)), Some(done.compiled));
        let older =
            (std::mem::replace(&mut known.compiled, compiled), whole.and_then(|whole| known.whole.replace(whole)));
        // To give back what a large spec holds takes longer than an editor should wait.
        let _ = self.old.send(older);
        let published = found.into_iter().filter_map(|(path, diagnostics)| {
            Some(PublishDiagnosticsParams { uri: uri(&path)?, diagnostics, version: None })
        });
        published.collect()
    }
}

fn compiling(wanted: &Receiver<Job>, done: &Sender<Done>, now: fn() -> i64) {
    let cache = read::cache::Cache::new();
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
            if done.send(Done { folder: job.folder, compiled, number: job.number }).is_err() {
                return;
            }
        }
    }
}

/// Whether a finding is of a file's syntax or shape, which can be told of the file alone.
fn is_of_reading(found: &lsp_types::Diagnostic) -> bool {
    matches!(&found.code, Some(NumberOrString::String(code)) if code.starts_with("W01"))
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
