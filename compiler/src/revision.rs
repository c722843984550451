//! A folder of a Git revision, laid out in a temporary folder: what `waybill diff --git` compares.
//!
//! `git` itself reads the repository, without a shell, a hook, a filter or the network. What it gives is as hostile as
//! a pull request may be: names are checked, sizes are bounded, and links are made last, so that nothing is written
//! through one.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// The most files of a revision's folder.
pub const MOST_FILES: usize = 20_000;
/// The most octets of a revision's folder, in all.
pub const MOST_OCTETS: u64 = 512 << 20;
/// The longest list of files that git may give, in octets.
const LONGEST_LIST: u64 = 16 << 20;

/// Two sides of a comparison, as `--git` names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Between {
    /// The old revision.
    pub old: String,
    /// The new one; `None`: the files as they lie in the folder.
    pub new: Option<String>,
    /// The old one is where the two parted.
    pub fork: bool,
}

impl Between {
    /// Reads `OLD..NEW`, `OLD...NEW` (from where NEW left OLD) or `OLD` (against the files as they are). A side left out
    /// is `HEAD`.
    pub fn parse(text: &str) -> Between {
        let head = |side: &str| if side.is_empty() { "HEAD".to_owned() } else { side.to_owned() };
        if let Some((old, new)) = text.split_once("...") {
            return Between { old: head(old), new: Some(head(new)), fork: true };
        }
        match text.split_once("..") {
            Some((old, new)) => Between { old: head(old), new: Some(head(new)), fork: false },
            None => Between { old: head(text), new: None, fork: false },
        }
    }
}

/// A Git repository.
pub struct Repository {
    /// A folder inside it.
    folder: PathBuf,
}

/// An entry of a revision's tree.
struct Entry {
    link: bool,
    object: String,
    name: PathBuf,
}

impl Repository {
    /// The repository that a folder lies in.
    pub fn around(folder: &Path) -> Repository {
        Repository { folder: folder.to_path_buf() }
    }

    /// The commit that a revision names; where the two parted for `fork`.
    ///
    /// # Errors
    /// What git says.
    pub fn commit(&self, revision: &str) -> io::Result<String> {
        let wanted = format!("{revision}^{{commit}}");
        let said = self.ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted]);
        let said = said.map_err(|_| io::Error::other(format!("git knows no revision `{revision}` here")))?;
        id(&said)
    }

    /// Where two commits parted.
    ///
    /// # Errors
    /// What git says.
    pub fn fork(&self, old: &str, new: &str) -> io::Result<String> {
        let said = self.ask(&["merge-base", old, new]);
        let says = "the two revisions have no common ancestor here; fetch the whole history";
        id(&said.map_err(|_| io::Error::other(says))?)
    }

    /// The folder's own path from the repository's root.
    ///
    /// # Errors
    /// Where it lies in no repository.
    pub fn prefix(&self) -> io::Result<String> {
        let said = self.ask(&["rev-parse", "--show-prefix"])?;
        let text = String::from_utf8(said).map_err(|_| io::Error::other("the folder's path is not UTF-8"))?;
        Ok(text.trim_end_matches('\n').trim_end_matches('/').to_owned())
    }

    /// Lays out a folder, by its path from the repository's root, as it was in a commit.
    ///
    /// # Errors
    /// What git or the system says, names that lead elsewhere, and what is larger than the limits here.
    pub fn lay_out(&self, commit: &str, folder: &str) -> io::Result<TempDir> {
        let out = tempfile::Builder::new().prefix("waybill-diff-").tempdir()?;
        let tree = format!("{commit}:{folder}");
        let list = self.ask(&["ls-tree", "-r", "-z", "--full-tree", "--end-of-options", &tree]).map_err(|_| {
            let folder = if folder.is_empty() { "." } else { folder };
            io::Error::other(format!(
                "there is no folder `{folder}` in the revision {}",
                commit.get(..12).unwrap_or(commit)
            ))
        })?;
        let entries = entries(&list)?;
        let mut store = Objects::open(self)?;
        let mut left = MOST_OCTETS;
        let mut links = Vec::new();
        for entry in entries {
            let octets = store.read(&entry.object, left)?;
            left -= octets.len() as u64;
            let path = out.path().join(&entry.name);
            if entry.link {
                links.push((path, octets));
                continue;
            }
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::OpenOptions::new().write(true).create_new(true).open(&path)?.write_all(&octets)?;
        }
        store.close()?;
        for (path, target) in links {
            use std::os::unix::ffi::OsStrExt;
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            std::os::unix::fs::symlink(OsStr::from_bytes(&target), path)?;
        }
        Ok(out)
    }

    fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.folder).arg("--no-replace-objects");
        git.env("GIT_NO_LAZY_FETCH", "1").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0");
        git.stdin(Stdio::null()).stderr(Stdio::null());
        git
    }

    /// What git answers.
    fn ask(&self, arguments: &[&str]) -> io::Result<Vec<u8>> {
        let mut child = self.git().args(arguments).stdout(Stdio::piped()).spawn().map_err(no_git)?;
        let mut said = Vec::new();
        if let Some(out) = child.stdout.take() {
            out.take(LONGEST_LIST + 1).read_to_end(&mut said)?;
        }
        let status = child.wait()?;
        if said.len() as u64 > LONGEST_LIST {
            return Err(io::Error::other("the revision has too many files"));
        }
        if status.success() {
            return Ok(said);
        }
        let what = arguments.first().copied().unwrap_or_default();
        Err(io::Error::other(format!("git {what} fails in {}", self.folder.display())))
    }
}

fn no_git(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot run git: {error}"))
}

/// An object's name in hex.
fn id(said: &[u8]) -> io::Result<String> {
    let text = String::from_utf8_lossy(said).trim().to_owned();
    let fits = matches!(text.len(), 40 | 64) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if fits { Ok(text) } else { Err(io::Error::other("git gives no object's name")) }
}

/// Reads `MODE TYPE OBJECT\tNAME\0`. Other repositories inside are left out.
fn entries(list: &[u8]) -> io::Result<Vec<Entry>> {
    let odd = || io::Error::other("git gives a list that is not understood");
    let mut entries = Vec::new();
    for line in list.split(|octet| *octet == 0).filter(|line| !line.is_empty()) {
        let tab = line.iter().position(|octet| *octet == b'\t').ok_or_else(odd)?;
        let (head, name) = (line.get(..tab).ok_or_else(odd)?, line.get(tab + 1..).ok_or_else(odd)?);
        let head = std::str::from_utf8(head).map_err(|_| odd())?;
        let mut words = head.split(' ');
        let (mode, kind, object) = (words.next(), words.next(), words.next());
        if kind != Some("blob") {
            continue;
        }
        // A name that is not UTF-8 is no file of a spec.
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let name = PathBuf::from(name);
        if name.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(io::Error::other("the revision has a file outside its folder"));
        }
        if entries.len() >= MOST_FILES {
            return Err(io::Error::other(format!("the revision has more than {MOST_FILES} files there")));
        }
        entries.push(Entry { link: mode == Some("120000"), object: id(object.ok_or_else(odd)?.as_bytes())?, name });
    }
    Ok(entries)
}

/// `git cat-file --batch`
struct Objects {
    child: Child,
    asks: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Objects {
    fn open(repository: &Repository) -> io::Result<Objects> {
        let mut git = repository.git();
        let mut child = git.args(["cat-file", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(asks), Some(says)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("git has no pipes"));
        };
        Ok(Objects { child, asks, says: BufReader::new(says) })
    }

    /// The octets of an object, of which `left` may be.
    fn read(&mut self, object: &str, left: u64) -> io::Result<Vec<u8>> {
        writeln!(self.asks, "{object}")?;
        self.asks.flush()?;
        let mut head = String::new();
        (&mut self.says).take(200).read_line(&mut head)?;
        let size = head.trim_end().rsplit(' ').next().and_then(|size| size.parse::<u64>().ok());
        let size = size
            .filter(|_| head.contains(" blob "))
            .ok_or_else(|| io::Error::other("git lacks an object of the revision; fetch the whole history"))?;
        if size > left {
            return Err(io::Error::other(format!("the revision's folder has more than {MOST_OCTETS} octets")));
        }
        let mut octets = Vec::new();
        (&mut self.says).take(size).read_to_end(&mut octets)?;
        let mut end = [0_u8; 1];
        self.says.read_exact(&mut end)?;
        Ok(octets)
    }

    fn close(self) -> io::Result<()> {
        let Objects { mut child, asks, says } = self;
        drop((asks, says));
        child.wait().map(drop)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn revisions_are_named_as_git_does() {
        let between =
            |old: &str, new: Option<&str>, fork| Between { old: old.into(), new: new.map(str::to_owned), fork };
        assert_eq!(Between::parse("main..HEAD"), between("main", Some("HEAD"), false));
        assert_eq!(Between::parse("main.."), between("main", Some("HEAD"), false));
        assert_eq!(Between::parse("main...x"), between("main", Some("x"), true));
        assert_eq!(Between::parse("v1.2"), between("v1.2", None, false));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let object = "a".repeat(40);
        for (name, fits) in [("a/b.kdl", true), ("../a", false), ("/etc/x", false), ("a/../b", false)] {
            let line = format!("100644 blob {object}\t{name}\0");
            assert_eq!(entries(line.as_bytes()).is_ok(), fits, "{name}");
        }
        assert!(entries(format!("160000 commit {object}\tsub\0").as_bytes()).unwrap().is_empty());
    }
}
