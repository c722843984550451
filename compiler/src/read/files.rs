//! The files of a spec: which there are, and that none lies outside its folder.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The largest file of a spec, in octets.
pub const LARGEST_FILE: u64 = 64 << 20;
/// The largest spec, in octets.
pub const LARGEST_SPEC: u64 = 256 << 20;
/// The most files of a spec.
pub const MOST_FILES: usize = 50_000;
/// How many nodes and values a spec may hold, in all files.
pub const MOST_PARTS: usize = 16 << 20;
/// How many names the patterns of all includes may match, each time counted.
pub const MOST_MATCHES: usize = 1_000_000;
/// The longest chain of includes.
pub const LONGEST_CHAIN: usize = 16;
/// The largest key or certificate file, in octets.
const LARGEST_SECRET: u64 = 1 << 20;

/// Why a file of a spec cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The path leads out of the spec's folder.
    #[error("leads out of the spec's folder")]
    Outside,
    /// Nothing is there.
    #[error("does not exist")]
    Missing,
    /// It is larger than it may be.
    #[error("is larger than {0} octets")]
    Large(u64),
    /// It is not UTF-8; what stands before the first wrong octet.
    #[error("is not UTF-8 (octet {0})")]
    Encoding(usize),
    /// The system says no.
    #[error("cannot be read: {0}")]
    System(std::io::Error),
}

impl FileError {
    /// How many names were looked at for it, roughly.
    pub fn cost(&self) -> usize {
        if matches!(self, FileError::System(_)) { MOST_FILES } else { 1 }
    }
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> FileError {
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => FileError::Missing,
            _ => FileError::System(error),
        }
    }
}

/// The folder of a spec.
#[derive(Clone, Debug)]
pub struct Sources {
    root: PathBuf,
    /// The folder, opened.
    handle: Option<Arc<fs::File>>,
    /// Texts that an editor has changed and not written yet, by name from the root.
    open: HashMap<String, String>,
}

impl Sources {
    /// The spec in a folder.
    ///
    /// # Errors
    /// [`FileError`] where it is no folder that can be read.
    pub fn open(folder: &Path) -> Result<Sources, FileError> {
        let root = folder.canonicalize()?;
        if !root.is_dir() {
            return Err(FileError::Missing);
        }
        let handle = fs::File::open(&root).ok().map(Arc::new);
        Ok(Sources { root, handle, open: HashMap::new() })
    }

    /// The same spec with texts that an editor has, in place of those on the disk.
    #[must_use]
    pub fn with_open(self, open: HashMap<String, String>) -> Sources {
        Sources { open, ..self }
    }

    /// The folder, links resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The text of a file, by its name from the root, without a byte order mark.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn text(&self, name: &str) -> Result<Arc<str>, FileError> {
        if let Some(text) = self.open.get(name).filter(|text| text.len() as u64 <= LARGEST_FILE) {
            return Ok(text.as_str().into());
        }
        let octets = self.octets(name, LARGEST_FILE)?;
        let text = String::from_utf8(octets).map_err(|error| FileError::Encoding(error.utf8_error().valid_up_to()))?;
        Ok(text.strip_prefix('\u{feff}').map(Arc::from).unwrap_or_else(|| text.into()))
    }

    /// The octets of a key or certificate, by its name from the root.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn secret(&self, name: &str) -> Result<Vec<u8>, FileError> {
        self.octets(name, LARGEST_SECRET)
    }

    /// How large a file is, in octets; nothing where it cannot be had.
    pub fn size(&self, name: &str) -> u64 {
        self.inside(name).and_then(|path| Ok(fs::metadata(path)?)).map_or(0, |facts| facts.len())
    }

    /// Whether users other than a file's owner and group may read it.
    pub fn is_open_to_others(&self, name: &str) -> bool {
        use std::os::unix::fs::PermissionsExt;
        let facts = self.inside(name).and_then(|path| Ok(fs::metadata(path)?));
        facts.is_ok_and(|facts| facts.permissions().mode() & 0o004 != 0)
    }

    /// Whether a file is there, by its name from the root.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn there(&self, name: &str) -> Result<(), FileError> {
        let is_file = fs::metadata(self.inside(name)?)?.is_file();
        if is_file { Ok(()) } else { Err(FileError::System(std::io::Error::other("is not a file"))) }
    }

    fn octets(&self, name: &str, most: u64) -> Result<Vec<u8>, FileError> {
        let mut file = self.opened(name)?;
        let facts = file.metadata()?;
        // A pipe or device would block or never end.
        if !facts.is_file() {
            return Err(FileError::System(std::io::Error::other("is not a file")));
        }
        if facts.len() > most {
            return Err(FileError::Large(most));
        }
        let mut octets = Vec::with_capacity(usize::try_from(facts.len()).unwrap_or(0) + 1);
        // It may be growing.
        (&mut file).take(most + 1).read_to_end(&mut octets)?;
        if octets.len() as u64 > most { Err(FileError::Large(most)) } else { Ok(octets) }
    }

    /// A file inside the folder, opened without waiting.
    fn opened(&self, name: &str) -> Result<fs::File, FileError> {
        use std::os::unix::fs::OpenOptionsExt;
        if !is_plain(name) {
            return Err(FileError::Outside);
        }
        // One call where the kernel can look after the folder's bounds itself.
        #[cfg(target_os = "linux")]
        if let Some(root) = &self.handle {
            use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
            if let Ok(file) = openat2(root, name, flags, Mode::empty(), ResolveFlags::BENEATH) {
                return Ok(file.into());
            }
        }
        let path = self.inside(name)?;
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        Ok(fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?)
    }

    fn inside(&self, name: &str) -> Result<PathBuf, FileError> {
        if !is_plain(name) {
            return Err(FileError::Outside);
        }
        let path = self.root.join(name).canonicalize()?;
        if path.starts_with(&self.root) { Ok(path) } else { Err(FileError::Outside) }
    }

    /// The files that a pattern of an `include` in the file `from` names, sorted, by name from the root.
    ///
    /// # Errors
    /// [`FileError`]; a pattern that matches nothing is no error, a plain name without file is.
    pub fn matching(&self, from: &str, pattern: &str) -> Result<Vec<String>, FileError> {
        let parts = parts(from, pattern)?;
        if !pattern.contains(['*', '?']) {
            let name = parts.join("/");
            self.inside(&name)?;
            return Ok(vec![name]);
        }
        let mut found = vec![String::new()];
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            let mut next = Vec::new();
            for folder in &found {
                self.step(folder, part, last, &mut next)?;
            }
            found = next;
        }
        found.sort();
        Ok(found)
    }

    /// The name, from the root, of what the file `from` calls `name`.
    ///
    /// # Errors
    /// [`FileError`], also where nothing is there.
    pub fn beside(&self, from: &str, name: &str) -> Result<String, FileError> {
        let name = parts(from, name)?.join("/");
        self.inside(&name)?;
        Ok(name)
    }

    fn step(&self, folder: &str, part: &str, last: bool, next: &mut Vec<String>) -> Result<(), FileError> {
        let join = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        if !part.contains(['*', '?']) {
            let name = join(part);
            if self.root.join(&name).exists() {
                self.inside(&name)?;
                next.push(name);
            }
            return Ok(());
        }
        let path = if folder.is_empty() { self.root.clone() } else { self.inside(folder)? };
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with('.') || !matches(part, name) {
                continue;
            }
            let kind = entry.file_type()?;
            // Only a link can lead elsewhere.
            if kind.is_symlink() && entry.path().is_dir() != last {
                let name = join(name);
                self.inside(&name)?;
                next.push(name);
            } else if !kind.is_symlink() && kind.is_dir() != last {
                next.push(join(name));
            }
            if next.len() > MOST_FILES {
                return Err(FileError::System(std::io::Error::other("the pattern matches too many files")));
            }
        }
        Ok(())
    }
}

/// Whether a file's name from the root fits a pattern; `*` and `?` match within a folder's names.
pub fn fits(pattern: &str, name: &str) -> bool {
    let (mut patterns, mut names) = (pattern.trim_start_matches("./").split('/'), name.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if matches(pattern, name) => {}
            _ => return false,
        }
    }
}

/// The parts of a path that a file names, from the root.
fn parts<'a>(from: &'a str, path: &'a str) -> Result<Vec<&'a str>, FileError> {
    let mut parts: Vec<&str> = from.rsplit_once('/').map_or(Vec::new(), |(folder, _)| folder.split('/').collect());
    for part in path.split('/') {
        match part {
            "." => {}
            // `..` inside the folder is fine: `include "../shared/x.kdl"`.
            ".." => drop(parts.pop().ok_or(FileError::Outside)?),
            "" => return Err(FileError::Outside),
            part => parts.push(part),
        }
    }
    Ok(parts)
}

/// Whether a name goes only down.
fn is_plain(name: &str) -> bool {
    let down = |part| matches!(part, Component::Normal(_));
    !name.is_empty() && !name.contains('\0') && Path::new(name).components().all(down)
}

/// Whether a name fits a pattern with `*` and `?`. Linear but for the last `*`, which alone is gone back to.
fn matches(pattern: &str, name: &str) -> bool {
    // As nearly all are.
    if let Some(end) = pattern.strip_prefix('*')
        && !end.contains(['*', '?'])
    {
        return name.ends_with(end);
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_match_names() {
        for (pattern, name, want) in [
            ("*.kdl", "a.kdl", true),
            ("*.kdl", "a.kdl.old", false),
            ("a*b*c", "aXbYbZc", true),
            ("?.kdl", "ab.kdl", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn nothing_outside_the_folder_is_read() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("x"), "x").unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/a.kdl"), "a").unwrap();
        fs::write(folder.path().join("d/.b.kdl"), "b").unwrap();
        std::os::unix::fs::symlink(outside.path().join("x"), folder.path().join("link")).unwrap();
        let sources = Sources::open(folder.path()).unwrap();
        assert!(matches!(sources.text("link"), Err(FileError::Outside)));
        assert!(matches!(sources.text("../x"), Err(FileError::Outside)));
        assert!(matches!(sources.text("/etc/hostname"), Err(FileError::Outside)));
        assert!(matches!(sources.matching("mail.kdl", "../*"), Err(FileError::Outside)));
        assert_eq!(sources.matching("mail.kdl", "d/*.kdl").unwrap(), ["d/a.kdl"]);
        assert_eq!(sources.matching("d/a.kdl", "*.kdl").unwrap(), ["d/a.kdl"]);
        assert_eq!(sources.matching("d/a.kdl", "../d/a.kdl").unwrap(), ["d/a.kdl"]);
    }
}
