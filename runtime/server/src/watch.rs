//! Where configuration comes from: a spec folder that the compiler builds, or a finished `runtime.json`.
//!
//! Both are watched the same way: the kernel says that something changed, a short quiet follows, the source
//! is read again, and only other octets than the last ones are tried. Folders are watched, not files, so
//! that a file replaced by rename, and a link swapped under it (as Kubernetes and git-sync do), are seen;
//! and a slow look from time to time finds what a file system without notices changed.

use crate::secrets::Secrets;
use crate::server::{Server, Taken};
use crate::snapshot::generation;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use schema::config::{DirectorySource, RuntimeConfig, Store};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{debug, warn};

/// How long nothing must change before the source is read.
const QUIET: Duration = Duration::from_millis(60);
/// The longest that a busy source is waited for.
const QUIET_MOST: Duration = Duration::from_secs(2);
/// How often the source is looked at although nothing was heard.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long the compiler may take.
const BUILD_TIMEOUT: Duration = Duration::from_secs(60);
/// How much memory the compiler may take, in octets.
const BUILD_MEMORY: u64 = 2 << 30;
/// The most that is kept of what the compiler says.
const SAYS_MOST: u64 = 16 << 20;
/// The most folders that are watched.
const FOLDERS_MOST: usize = 20_000;

/// Where configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A spec folder, and the compiler.
    Spec {
        /// The folder.
        folder: PathBuf,
        /// The `waybill` to run.
        compiler: PathBuf,
        /// Which of the spec's environments.
        environment: Option<String>,
    },
    /// A `runtime.json`.
    Artefact(PathBuf),
}

/// Why a source gave no configuration.
#[derive(Debug)]
pub struct Refused {
    /// What `/ready` shows: a list of diagnostics.
    pub diagnostics: serde_json::Value,
    /// The first of them, for the log.
    pub summary: String,
}

impl Refused {
    fn new(message: String) -> Refused {
        Refused { diagnostics: serde_json::json!([{ "severity": "error", "message": message }]), summary: message }
    }
}

impl Source {
    /// The folder that relative files and stores start at.
    pub fn root(&self) -> PathBuf {
        match self {
            Source::Spec { folder, .. } => folder.clone(),
            Source::Artefact(file) => match file.parent() {
                Some(parent) if parent != Path::new("") => parent.to_path_buf(),
                _ => PathBuf::from("."),
            },
        }
    }

    /// Reads the configuration as it is now.
    ///
    /// # Errors
    /// [`Refused`], with the compiler's diagnostics where it has any.
    pub async fn read(&self) -> Result<Vec<u8>, Refused> {
        match self {
            Source::Artefact(file) => {
                tokio::fs::read(file).await.map_err(|error| Refused::new(format!("{}: {error}", file.display())))
            }
            Source::Spec { folder, compiler, environment } => build(folder, compiler, environment.as_deref()).await,
        }
    }
}

async fn build(folder: &Path, compiler: &Path, environment: Option<&str>) -> Result<Vec<u8>, Refused> {
    let failed = |what: &str, error: io::Error| Refused::new(format!("{what}: {error}"));
    let out = tempfile::tempdir().map_err(|error| failed("no temporary folder for the build", error))?;
    let words = ["--out".to_owned(), out.path().display().to_string(), "--format".to_owned(), "json".to_owned()];
    let done = child(&Child { compiler, folder, environment, command: "build" }, &words, BUILD_TIMEOUT).await;
    let (status, said, complained) = done.map_err(Refused::new)?;
    if status.success() {
        let artefact = out.path().join("runtime.json");
        return tokio::fs::read(&artefact).await.map_err(|error| failed("the compiler wrote no runtime.json", error));
    }
    match serde_json::from_slice::<serde_json::Value>(&said) {
        Ok(diagnostics) if diagnostics.as_array().is_some_and(|list| !list.is_empty()) => {
            Err(Refused { summary: summary(&diagnostics), diagnostics })
        }
        _ => {
            let complaint = String::from_utf8_lossy(&complained).trim().to_owned();
            Err(Refused::new(format!("the compiler failed ({status}): {complaint}")))
        }
    }
}

/// What the compiler says to another command on a spec; it may find something, which is no failure.
///
/// # Errors
/// Why it says nothing, in words.
pub async fn ask(source: &Source, command: &str, words: &[String], patience: Duration) -> Result<Vec<u8>, String> {
    let Source::Spec { folder, compiler, environment } = source else {
        return Err("there is no spec, only what was built of it".into());
    };
    let whom = Child { compiler, folder, environment: environment.as_deref(), command };
    let (status, said, complained) = child(&whom, words, patience).await?;
    match status.code() {
        Some(0 | 2) => Ok(said),
        _ => Err(format!("the compiler failed ({status}): {}", String::from_utf8_lossy(&complained).trim())),
    }
}

/// A command of the compiler on a spec.
struct Child<'a> {
    compiler: &'a Path,
    folder: &'a Path,
    environment: Option<&'a str>,
    command: &'a str,
}

/// Runs the compiler: how it ended, what it said, and what it complained of.
async fn child(
    whom: &Child<'_>,
    words: &[String],
    patience: Duration,
) -> Result<(std::process::ExitStatus, Vec<u8>, Vec<u8>), String> {
    let mut command = Command::new(whom.compiler);
    command.arg(whom.command).arg(whom.folder).args(words);
    if let Some(name) = whom.environment {
        command.arg("--env").arg(name);
    }
    // The compiler reads people's pull requests: it gets no environment, little memory and little time.
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let failed = |error: io::Error| format!("cannot run the compiler {}: {error}", whom.compiler.display());
    let mut child = command.spawn().map_err(failed)?;
    bound_memory(&child);
    let (said, complained) = (child.stdout.take(), child.stderr.take());
    let finished = timeout(patience, async {
        let (said, complained) = tokio::join!(all(said), all(complained));
        child.wait().await.map(|status| (status, said, complained))
    });
    match finished.await {
        Ok(finished) => finished.map_err(failed),
        Err(_) => Err(format!("the compiler took longer than {} s", patience.as_secs())),
    }
}

fn summary(diagnostics: &serde_json::Value) -> String {
    let is_error = |d: &&serde_json::Value| d["severity"] == "error";
    let first = diagnostics.as_array().and_then(|list| list.iter().find(is_error).or(list.first()));
    let text = |key: &str| first.and_then(|d| d[key].as_str()).unwrap_or_default().to_owned();
    let line = first.and_then(|d| d["line"].as_u64()).unwrap_or_default();
    format!("{}:{line}: {}", text("file"), text("message"))
}

async fn all(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    let mut octets = Vec::new();
    if let Some(pipe) = pipe {
        let mut bounded = pipe.take(SAYS_MOST);
        // What was read before an error is still worth showing.
        let _ = bounded.read_to_end(&mut octets).await;
        let _ = tokio::io::copy(&mut bounded.into_inner(), &mut tokio::io::sink()).await;
    }
    octets
}

fn bound_memory(child: &tokio::process::Child) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let limit = Rlimit { current: Some(BUILD_MEMORY), maximum: Some(BUILD_MEMORY) };
    if let Some(Err(error)) = pid.map(|pid| prlimit(Some(pid), Resource::As, limit)) {
        warn!(%error, "the compiler's memory cannot be bounded");
    }
}

/// Checks that the compiler is of the server's version.
///
/// # Errors
/// What is wrong, in words.
pub async fn check_compiler(compiler: &Path) -> Result<(), String> {
    let output = Command::new(compiler).arg("--version").env_clear().stdin(Stdio::null()).output();
    let output = timeout(Duration::from_secs(10), output)
        .await
        .map_err(|_| format!("{} --version does not answer", compiler.display()))?
        .map_err(|error| {
            format!("cannot run the compiler {}: {error}; say where it is with --compiler", compiler.display())
        })?;
    let theirs = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let ours = concat!("waybill ", env!("CARGO_PKG_VERSION"));
    if theirs == ours {
        return Ok(());
    }
    Err(format!("{} is `{theirs}`, this server needs `{ours}`: install both from one release", compiler.display()))
}

/// Follows a source until the server stops. A change is taken although the artefact is the same: a renewed
/// certificate changes files, not the artefact. `print` is what was seen between the first read and the opening of the
/// secrets that it names.
pub async fn follow(source: Source, server: Arc<Server>, mut print: Fingerprint) {
    let changed = Arc::new(Notify::new());
    let mut stopping = server.stopping.subscribe();
    let mut folders = Folders::new(Arc::clone(&changed));
    folders.watch(&source, &server);
    // What changed between the first read and this moment was heard by nobody.
    let before = std::mem::replace(&mut print, now(&source, &server));
    match source.read().await {
        Ok(bytes) if print == before && generation(&bytes) == server.live.now().generation => {}
        read => {
            take(&server, read, &mut print).await;
            folders.watch(&source, &server);
        }
    }
    loop {
        tokio::select! {
            () = changed.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stopping.changed() => return,
        }
        settle(&changed).await;
        if now(&source, &server) == print {
            continue;
        }
        // A change while the compiler runs kills it: what it would say is old already.
        let read = loop {
            print = now(&source, &server);
            tokio::select! {
                read = source.read() => break read,
                () = superseded(&changed, &source, &server, &print) => debug!("build superseded"),
                _ = stopping.changed() => return,
            }
        };
        take(&server, read, &mut print).await;
        folders.watch(&source, &server);
    }
}

async fn take(server: &Arc<Server>, read: Result<Vec<u8>, Refused>, print: &mut Fingerprint) {
    match read {
        Ok(bytes) => {
            // A store is away, and nothing in the source will change when it is back: the next look tries again.
            if server.take(&bytes).await == Taken::NotYet {
                print.clear();
            }
        }
        Err(refused) => server.refuse(refused.diagnostics, &refused.summary),
    }
}

async fn superseded(changed: &Notify, source: &Source, server: &Server, print: &Fingerprint) {
    loop {
        changed.notified().await;
        settle(changed).await;
        if now(source, server) != *print {
            return;
        }
    }
}

async fn settle(changed: &Notify) {
    let quiet = async { while timeout(QUIET, changed.notified()).await.is_ok() {} };
    let _ = timeout(QUIET_MOST, quiet).await;
}

/// What a look at a source sees of it and of the secrets that it names: each file's inode, time and size.
pub type Fingerprint = BTreeSet<(PathBuf, u64, i64, i64, u64)>;

fn now(source: &Source, server: &Server) -> Fingerprint {
    fingerprint(source, &server.live.now().config, &server.ground.secrets)
}

/// Looks at a source that has this configuration. The server's own data may lie inside the folder, and is left out.
pub fn fingerprint(source: &Source, config: &RuntimeConfig, secrets: &Secrets) -> Fingerprint {
    let mut prints = Fingerprint::new();
    let mut note = |path: &Path| {
        if let Ok(facts) = std::fs::metadata(path)
            && facts.is_file()
        {
            prints.insert((path.to_path_buf(), facts.ino(), facts.mtime(), facts.mtime_nsec(), facts.size()));
        }
    };
    match source {
        Source::Artefact(file) => note(file),
        Source::Spec { folder, .. } => {
            let own = Own::of(config, &source.root());
            for folder in tree(folder, &own.folders) {
                let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
                entries.map(|entry| entry.path()).filter(|path| !own.has(path)).for_each(|path| note(&path));
            }
        }
    }
    renewed(config, secrets).iter().for_each(|path| note(path));
    prints
}

// The files of certificates and passwords, which may lie anywhere.
fn renewed(config: &RuntimeConfig, secrets: &Secrets) -> Vec<PathBuf> {
    config.renewable().iter().filter_map(|reference| secrets.file(reference)).collect()
}

/// The server's own data, and that of its directories.
#[derive(Default)]
struct Own {
    folders: Vec<PathBuf>,
    /// SQLite's, beside each of which lie its log and others of its files.
    files: Vec<PathBuf>,
}

impl Own {
    fn of(config: &RuntimeConfig, root: &Path) -> Own {
        let mut own = Own::default();
        let storage = &config.storage;
        let people = config.directories.iter().filter_map(|directory| match &directory.source {
            DirectorySource::Sql(sql) => Some(&sql.store),
            DirectorySource::Ldap(_) => None,
        });
        // Whom a directory names is asked of it anew; that its file changes is nothing to build for.
        for store in [&storage.data, &storage.blob, &storage.search, &storage.lookup].into_iter().chain(people) {
            match store {
                Store::Rocksdb { path } | Store::Filesystem { path, .. } => own.folders.push(root.join(path)),
                Store::Sqlite { path, .. } => own.files.push(root.join(path)),
                _ => {}
            }
        }
        own
    }

    fn has(&self, path: &Path) -> bool {
        let octets = path.as_os_str().as_bytes();
        let rest = |own: &PathBuf| octets.strip_prefix(own.as_os_str().as_bytes());
        self.files.iter().filter_map(rest).any(|rest| rest.is_empty() || rest.starts_with(b"-"))
    }
}

// The folder and every one below it, but for hidden ones and our own data. Links are followed once.
fn tree(root: &Path, data: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(folder) = left.pop() {
        let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        if found.len() >= FOLDERS_MOST || data.contains(&folder) || !seen.insert(real) {
            continue;
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // git-sync and Kubernetes keep the real files behind hidden links, which are followed from the
            // visible names; `.git` itself is of no interest.
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !hidden && path.is_dir() {
                left.push(path);
            }
        }
        found.push(folder);
    }
    found
}

/// What the watched folders' notices are held against, so that a busy neighbour does not wake us.
#[derive(Default)]
struct Interest {
    /// Everything under these.
    under: Vec<PathBuf>,
    /// Exactly these.
    names: BTreeSet<PathBuf>,
    /// And never this.
    own: Own,
}

impl Interest {
    fn holds(&self, path: &Path) -> bool {
        let under = || path.parent().is_some_and(|parent| self.under.iter().any(|under| parent == under));
        !self.own.has(path) && (self.names.contains(path) || under())
    }
}

/// The watched folders.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    interest: Arc<Mutex<Interest>>,
}

impl Folders {
    fn new(changed: Arc<Notify>) -> Folders {
        let interest = Arc::new(Mutex::new(Interest::default()));
        let held = Arc::clone(&interest);
        let heard = move |event: notify::Result<notify::Event>| {
            let matters = match event {
                // Reading is no change.
                Ok(notify::Event { kind: EventKind::Access(_), .. }) => false,
                Ok(event) => {
                    let interest = held.lock().unwrap_or_else(PoisonError::into_inner);
                    event.paths.is_empty() || event.paths.iter().any(|path| interest.holds(path))
                }
                // Notices may have been lost: look.
                Err(_) => true,
            };
            if matters {
                changed.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(heard);
        if let Err(error) = &watcher {
            warn!(%error, "changes are not heard at once, but looked for every {} s", LOOK_EVERY.as_secs());
        }
        Folders { watcher: watcher.ok(), watched: BTreeSet::new(), interest }
    }

    // A link swapped anywhere on the way to a folder changes what the folder is, so the folders that hold
    // those links are watched too.
    fn watch(&mut self, source: &Source, server: &Server) {
        let mut ways = Vec::new();
        let mut under = Vec::new();
        let config = Arc::clone(&server.live.now().config);
        let own = Own::of(&config, &source.root());
        match source {
            Source::Artefact(file) => ways.extend(way(file)),
            Source::Spec { folder, .. } => {
                ways.extend(way(folder));
                under = tree(folder, &own.folders);
            }
        }
        ways.extend(renewed(&config, &server.ground.secrets).iter().flat_map(|path| way(path)));
        let folders = ways.iter().filter_map(|name| name.parent().map(Path::to_path_buf));
        let wanted: BTreeSet<PathBuf> = folders.chain(under.iter().cloned()).collect();
        *self.interest.lock().unwrap_or_else(PoisonError::into_inner) =
            Interest { under, names: ways.into_iter().collect(), own };
        let Some(watcher) = &mut self.watcher else { return };
        for old in &self.watched {
            // It may be gone already; and what stays is watched anew, since its name may stand for another
            // folder now.
            let _ = watcher.unwatch(old);
        }
        self.watched.clear();
        for folder in wanted {
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(folder)),
                Err(error) => debug!(folder = %folder.display(), %error, "not watched"),
            }
        }
    }
}

// The names that decide what `path` is: its own, and that of each link on the way.
fn way(path: &Path) -> Vec<PathBuf> {
    const LINKS_MOST: usize = 40;
    let mut at = path.to_path_buf();
    let mut names = vec![at.clone()];
    for _ in 0..LINKS_MOST {
        let link = at.ancestors().find_map(|part| std::fs::read_link(part).ok().map(|to| (part.to_path_buf(), to)));
        let Some((link, to)) = link else { break };
        let holder = link.parent().unwrap_or(Path::new("/")).to_path_buf();
        let rest = at.strip_prefix(&link).map(Path::to_path_buf).unwrap_or_default();
        names.push(link);
        at = holder.join(to);
        if rest != Path::new("") {
            at = at.join(rest);
        }
        names.push(at.clone());
    }
    names
}
