//! `waybill import`: from what a team has today to a first spec that compiles, with comments where it guessed.
//!
//! ```text
//! sources ─▶ Facts ─ settle ─▶ files ─ compile ─▶ zones ─ reconcile ─▶ files, compiled again ─▶ OUTDIR
//! ```
//!
//! Sources add to one [`facts::Facts`]; people and machines are settled to what a spec can say; the zones that the
//! draft makes are held against those that were seen, and what differs is kept. Nothing is written before the whole
//! has compiled, and then all of it at once.

mod dovecot;
mod draft;
mod dump;
pub mod facts;
mod kdl;
mod keys;
mod live;
mod machines;
mod mailcow;
mod password;
mod people;
mod policy;
mod postfix;
mod reconcile;
mod refused;
mod stalwart;
mod table;
mod zone;

use crate::code::Severity;
use crate::pipeline::{self, compile};
use crate::write::{self, Mode};
use facts::{Facts, Place, Sort};
use keys::Copied;
use schema::name::{DomainName, HostName};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The largest file that is read, in octets.
pub const LARGEST_INPUT: u64 = 64 << 20;
/// Findings of the compiler that are told where a draft does not compile.
const MOST_FINDINGS: usize = 10;
/// How often a draft is made anew without what was refused of it.
const MOST_ROUNDS: usize = 6;

/// A spec that compiles, beside its place: the folder, its files, and what they compile to.
type Staged = (tempfile::TempDir, Vec<String>, pipeline::Compiled);

/// What is to be imported.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Where the spec goes; not there yet, or empty.
    pub folder: PathBuf,
    /// The mail domains, where sources do not name them, or not all are wanted.
    pub domains: Vec<DomainName>,
    /// The machine that serves.
    pub host: Option<HostName>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Zone files.
    pub zone_files: Vec<PathBuf>,
    /// DNS is asked.
    pub live: bool,
    /// Which server is asked, in place of the system's.
    pub resolver: Option<SocketAddr>,
    /// DKIM selectors to look for, beside common ones.
    pub selectors: Vec<String>,
    /// Postfix's folders.
    pub postfix: Vec<PathBuf>,
    /// What `doveconf -n` printed.
    pub dovecot: Vec<PathBuf>,
    /// Dovecot's passwd-files.
    pub dovecot_users: Vec<PathBuf>,
    /// The scheme of passwords there that name none.
    pub scheme: Option<String>,
    /// Mailboxes in CSV.
    pub csv: Vec<PathBuf>,
    /// Stalwart's configuration.
    pub stalwart_config: Vec<PathBuf>,
    /// Stalwart's principals.
    pub stalwart: Vec<PathBuf>,
    /// Mailcow's answers or dump.
    pub mailcow: Vec<PathBuf>,
    /// The folder of DKIM's private keys.
    pub keys: Option<PathBuf>,
    /// Seconds since 1970.
    pub now: i64,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The folder holds something.
    #[error("{0} is not empty; choose another folder")]
    NotEmpty(String),
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// A file is larger than it may be.
    #[error("{0}: is larger than {1} octets")]
    Large(String, u64),
    /// A file is not what it should be.
    #[error("{0}: {1}")]
    Form(String, String),
    /// DNS does not answer.
    #[error("DNS does not answer: {0}")]
    Dns(String),
    /// No source says anything that a spec could hold.
    #[error("no mail domain was found; name one by --domain")]
    Nothing,
    /// The draft is no spec.
    #[error("the sources do not make a spec that compiles, so nothing was written:\n{0}")]
    Unsound(String),
}

impl ImportError {
    fn io(path: &Path, error: std::io::Error) -> ImportError {
        ImportError::Io(path.display().to_string(), error)
    }

    fn form(path: &Path, why: impl Into<String>) -> ImportError {
        ImportError::Form(path.display().to_string(), why.into())
    }
}

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    /// The files, from the folder.
    pub files: Vec<String>,
    /// How much of what was taken.
    pub taken: BTreeMap<String, usize>,
    /// What was guessed and left out, and where: to be shown with care, since it repeats what sources hold.
    pub notes: Vec<(Sort, String)>,
    /// Notes for which there was no room.
    pub unsaid: usize,
    /// Warnings of the compiler.
    pub warnings: usize,
}

/// Imports.
///
/// # Errors
/// [`ImportError`]; then nothing was written.
pub fn import(wish: &Wish) -> Result<Imported, ImportError> {
    vacant(&wish.folder)?;
    let mut facts = gather(wish)?;
    if facts.domains.is_empty() {
        return Err(ImportError::Nothing);
    }
    people::settle(&mut facts);
    machines::settle(wish, &mut facts);
    let copied = match &wish.keys {
        Some(folder) => keys::keys(folder, &mut facts)?,
        None => Vec::new(),
    };
    let (_, _, compiled) = stage(wish, &mut facts, &copied)?;
    let zones = compiled.artefacts.map(|artefacts| artefacts.zones).unwrap_or_default();
    reconcile::reconcile(&zones, &mut facts);
    let (staged, files, compiled) = stage(wish, &mut facts, &copied)?;
    facts.took("records kept as they were", facts.domains.values().map(|domain| domain.records.len()).sum());
    settle_in(staged, &wish.folder)?;
    Ok(Imported {
        files,
        taken: facts.taken,
        notes: told(facts.notes),
        unsaid: facts.unsaid,
        warnings: compiled.report.warnings(),
    })
}

/// Nothing may be there but an empty folder.
fn vacant(folder: &Path) -> Result<(), ImportError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(ImportError::NotEmpty(folder.display().to_string())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ImportError::io(folder, error)),
    }
}

/// Reads every source: first what says which domains there are.
fn gather(wish: &Wish) -> Result<Facts, ImportError> {
    let mut facts = Facts::default();
    facts.machine.clone_from(&wish.host);
    for domain in &wish.domains {
        facts.domain(domain.as_str());
    }
    let mut seen = zone::Seen::default();
    for path in &wish.zone_files {
        zone::file(path, wish, &mut seen, &mut facts)?;
    }
    for path in &wish.postfix {
        postfix::read(path, &mut facts)?;
    }
    for path in &wish.stalwart_config {
        stalwart::config(path, &mut facts)?;
    }
    for path in &wish.stalwart {
        stalwart::principals(path, &mut facts)?;
    }
    for path in &wish.mailcow {
        mailcow::read(path, &mut facts)?;
    }
    for path in &wish.dovecot {
        dovecot::config(path, &mut facts)?;
    }
    for path in &wish.dovecot_users {
        dovecot::users(path, wish.scheme.as_deref(), &mut facts)?;
    }
    for path in &wish.csv {
        table::read(path, &mut facts)?;
    }
    if wish.live {
        live::ask(wish, &mut seen, &mut facts)?;
    }
    zone::take(&seen, wish, &mut facts);
    Ok(facts)
}

/// Writes the spec to an empty folder; the names of its files.
fn put(folder: &Path, facts: &Facts, copied: &[Copied]) -> Result<Vec<String>, ImportError> {
    let files = draft::files(facts).map_err(|error| ImportError::Unsound(error.to_string()))?;
    let mut names = Vec::new();
    // Only keys wait for the disk: the rest can be imported again, and ten thousand files would wait for minutes.
    let mut one = |name: &str, octets: &[u8], private: bool| -> Result<(), ImportError> {
        let path = folder.join(name);
        let written = if private { write::create(&path, octets, Mode::Private) } else { fs::write(&path, octets) };
        written.map_err(|error| ImportError::io(&path, error))?;
        names.push(name.to_owned());
        Ok(())
    };
    for (name, private) in [("domains", false), ("secrets", true)] {
        if private && copied.is_empty() {
            continue;
        }
        use std::os::unix::fs::DirBuilderExt;
        let path = folder.join(name);
        let mode = if private { 0o700 } else { 0o755 };
        fs::DirBuilder::new().mode(mode).create(&path).map_err(|error| ImportError::io(&path, error))?;
    }
    for key in copied {
        one(&key.file, key.pem.reveal().as_bytes(), true)?;
    }
    for (name, text) in &files {
        one(name, text.as_bytes(), false)?;
    }
    one(".gitignore", b"/secrets/\n/data/\n", false)?;
    names.sort();
    Ok(names)
}

/// Writes the spec beside its place and compiles it; what is refused of what was there is left out.
fn stage(wish: &Wish, facts: &mut Facts, copied: &[Copied]) -> Result<Staged, ImportError> {
    let parent = wish.folder.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|error| ImportError::io(parent, error))?;
    for _ in 0..MOST_ROUNDS {
        let folder = tempfile::Builder::new().prefix(".waybill-import-").tempdir_in(parent);
        let folder = folder.map_err(|error| ImportError::io(parent, error))?;
        let files = put(folder.path(), facts, copied)?;
        let compiled = compile(&pipeline::Wish::new(folder.path(), wish.now));
        if !compiled.report.has_errors() {
            return Ok((folder, files, compiled));
        }
        if !refused::take_out(&compiled, facts) {
            return Err(unsound(&compiled));
        }
    }
    Err(ImportError::Unsound(format!("  after {MOST_ROUNDS} rounds of leaving out what is refused")))
}

fn unsound(compiled: &pipeline::Compiled) -> ImportError {
    let errors = compiled.report.diagnostics().iter().filter(|one| one.severity == Severity::Error);
    let lines = errors.take(MOST_FINDINGS).map(|one| format!("  {}: {}", one.code.id(), one.says));
    ImportError::Unsound(lines.collect::<Vec<_>>().join("\n"))
}

/// Puts the whole in its place.
fn settle_in(stage: tempfile::TempDir, folder: &Path) -> Result<(), ImportError> {
    use std::os::unix::fs::PermissionsExt;
    let error = |error| ImportError::io(folder, error);
    fs::set_permissions(stage.path(), fs::Permissions::from_mode(0o755)).map_err(error)?;
    // An empty folder gives way to it; one that is no longer empty does not.
    fs::rename(stage.path(), folder).map_err(error)?;
    // Its old name is no more.
    let _ = stage.keep();
    Ok(())
}

fn told(notes: BTreeMap<Place, std::collections::BTreeSet<(Sort, String)>>) -> Vec<(Sort, String)> {
    let of = |place: &Place| match place {
        Place::Platform => String::new(),
        Place::Host(name) => format!("host {name}: "),
        Place::Domain(name) | Place::Node(name, _) => format!("{name}: "),
        Place::Person(address) => format!("{address}: "),
    };
    let all = notes.iter().flat_map(|(place, notes)| {
        let front = of(place);
        notes.iter().map(move |(sort, text)| (*sort, format!("{front}{text}")))
    });
    let mut all: Vec<(Sort, String)> = all.collect();
    all.sort_by_key(|(sort, _)| *sort);
    all
}

/// A file's octets.
fn bounded(path: &Path, most: u64) -> Result<Vec<u8>, ImportError> {
    let io = |error| ImportError::io(path, error);
    let facts = fs::metadata(path).map_err(io)?;
    // A pipe or a device would block, or never end.
    if !facts.is_file() {
        return Err(ImportError::form(path, "is not a file"));
    }
    let mut octets = Vec::new();
    fs::File::open(path).map_err(io)?.take(most + 1).read_to_end(&mut octets).map_err(io)?;
    if octets.len() as u64 > most { Err(ImportError::Large(path.display().to_string(), most)) } else { Ok(octets) }
}

/// A file's text; what is not UTF-8 is read as `\u{fffd}`, which no address holds.
fn text_of(path: &Path) -> Result<String, ImportError> {
    Ok(String::from_utf8_lossy(&bounded(path, LARGEST_INPUT)?).into_owned())
}

fn json_of(path: &Path) -> Result<serde_json::Value, ImportError> {
    serde_json::from_str(&text_of(path)?).map_err(|error| ImportError::form(path, error.to_string()))
}

/// A text as it can be shown: on one line, nothing that a terminal obeys.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 400;
    kdl::shown(text, LONGEST)
}
