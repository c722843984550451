//! Blobs as files, under `depth` levels of folders that are named by the first octets of the blob's name.
//!
//! | path | holds |
//! |---|---|
//! | `ab/cd/abcd…` | the blob `abcd…` as [`super::packed`] has it, at `depth=2` |
//! | `tmp/…` | blobs being written |
//!
//! A blob is written under `tmp`, synced, and renamed; then its folder is synced: it is there whole or not at all, and
//! stays once `put` has returned. A crash leaves files in `tmp` at most. They are removed when the folder is opened: who
//! writes one holds a lock on it, which ends with the process.
//!
//! Folders are for their owner alone (0700), and so are files (0600).

use super::packed::{self, Packing, TABLE_MOST, corrupt};
use super::{BLOB_MOST, BlobId, Blobs};
use crate::error::{Cause, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::NamedTempFile;

/// Where blobs are written before they get their name.
const TEMPORARY: &str = "tmp";
/// What is read of a file at first, in octets: small blobs whole, and the table of most others.
const TAIL: u64 = 64 << 10;
/// How often a file is written whose temporary name another process has taken away.
const TRIES: usize = 3;

/// Blobs under a folder.
pub struct Filesystem {
    place: Arc<Place>,
}

struct Place {
    root: PathBuf,
    depth: usize,
    packing: Packing,
    /// Held while a folder is looked for, made and synced: nobody relies on one whose name may still be lost.
    making: Mutex<()>,
}

impl Filesystem {
    /// Opens a folder and clears away what never became a blob; makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] for a folder that cannot be used.
    pub async fn open(root: PathBuf, depth: u32, packing: Packing) -> Result<Filesystem, StoreError> {
        let place = Arc::new(Place { root, depth: depth.min(4) as usize, packing, making: Mutex::default() });
        let opened = Filesystem { place };
        opened.aside(Place::prepare).await?;
        Ok(opened)
    }

    /// A folder that a server may have open, to look into: nothing is made or cleared away.
    pub fn to_read(root: PathBuf, depth: u32, packing: Packing) -> Filesystem {
        let place = Place { root, depth: depth.min(4) as usize, packing, making: Mutex::default() };
        Filesystem { place: Arc::new(place) }
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.place);
        let done = tokio::task::spawn_blocking(move || work(&place)).await;
        done.unwrap_or_else(|gone| Err(StoreError::Unavailable(Cause::new(gone))))
    }
}

#[async_trait]
impl Blobs for Filesystem {
    async fn put(&self, octets: Bytes) -> Result<BlobId, StoreError> {
        if octets.len() as u64 > BLOB_MOST {
            return Err(StoreError::Full);
        }
        self.aside(move |place| place.put(octets)).await
    }

    async fn get(&self, id: BlobId, part: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.aside(move |place| place.get(id, part)).await
    }

    async fn size(&self, id: BlobId) -> Result<Option<u64>, StoreError> {
        self.aside(move |place| Ok(place.open(id)?.map(|open| open.table.size))).await
    }

    async fn remove(&self, id: BlobId) -> Result<(), StoreError> {
        self.aside(move |place| place.remove(id)).await
    }

    async fn list(&self, after: Option<BlobId>, most: usize) -> Result<Vec<BlobId>, StoreError> {
        self.aside(move |place| place.list(after, most)).await
    }
}

/// A blob's file and what its end says.
struct Open {
    file: File,
    table: packed::Table,
    /// The file's last octets, and where they begin.
    tail: Bytes,
    begins: u64,
}

impl Place {
    fn prepare(&self) -> Result<(), StoreError> {
        let temporary = self.root.join(TEMPORARY);
        let above = self.root.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&temporary);
        made.map_err(|error| wrong(&self.root, &error))?;
        for folder in [above, &self.root] {
            sync(folder).map_err(|error| wrong(folder, &error))?;
        }
        for left in fs::read_dir(&temporary).map_err(|error| wrong(&temporary, &error))? {
            let path = left.map_err(|error| wrong(&temporary, &error))?.path();
            // Gone meanwhile, or locked by one who writes it.
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(wrong(&path, &error)),
                    _ => {}
                }
            }
        }
        // That one can write here is found now, not at the first message.
        let probe = tempfile::Builder::new().tempfile_in(&temporary).map_err(|error| wrong(&temporary, &error))?;
        probe.close().map_err(|error| wrong(&temporary, &error))
    }

    fn folder(&self, id: BlobId) -> PathBuf {
        let mut folder = self.root.clone();
        id.0.iter().take(self.depth).for_each(|octet| folder.push(format!("{octet:02x}")));
        folder
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.folder(id).join(id.to_string())
    }

    /// The folder of a blob; durable when it returns.
    fn make_folder(&self, id: BlobId) -> Result<PathBuf, StoreError> {
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let mut folder = self.root.clone();
        for octet in id.0.iter().take(self.depth) {
            let above = folder.clone();
            folder.push(format!("{octet:02x}"));
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => sync(&above).map_err(|error| meaning(&above, &error))?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(meaning(&folder, &error)),
            }
        }
        Ok(folder)
    }

    fn put(&self, octets: Bytes) -> Result<BlobId, StoreError> {
        let id = BlobId::of(&octets);
        let folder = self.make_folder(id)?;
        match self.open(id) {
            // Another may have renamed it and not yet synced the folder.
            Ok(Some(_)) => return sync(&folder).map(|()| id).map_err(|error| meaning(&folder, &error)),
            Ok(None) => {}
            // Written anew: here are the right octets.
            Err(StoreError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        for _ in 0..TRIES {
            match self.write(id, octets.clone())?.persist(self.path(id)) {
                Ok(_) => return sync(&folder).map(|()| id).map_err(|error| meaning(&folder, &error)),
                // Cleared away between its making and its lock, by a process that just opened this folder.
                Err(lost) if lost.error.kind() == ErrorKind::NotFound => {}
                Err(lost) => return Err(meaning(&folder, &lost.error)),
            }
        }
        Err(StoreError::Unavailable(Cause::new(format!(
            "{}: others keep removing what is being written",
            folder.display()
        ))))
    }

    fn write(&self, id: BlobId, octets: Bytes) -> Result<NamedTempFile, StoreError> {
        let temporary = self.root.join(TEMPORARY);
        let failed = |error: io::Error| meaning(&temporary, &error);
        let mode = Permissions::from_mode(0o600);
        let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(&temporary).map_err(failed)?;
        file.as_file().lock().map_err(failed)?;
        let mut packer = self.packing.pack(id, octets)?;
        while let Some(frame) = packer.frame()? {
            file.write_all(&frame).map_err(failed)?;
        }
        file.write_all(&packer.table()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        Ok(file)
    }

    fn open(&self, id: BlobId) -> Result<Option<Open>, StoreError> {
        let path = self.path(id);
        let failed = |error: io::Error| meaning(&path, &error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let length = file.metadata().map_err(failed)?.len();
        let begins = length.saturating_sub(TAIL.max(TABLE_MOST as u64));
        let tail = Bytes::from(read(&file, begins..length).map_err(failed)?);
        let table = self.packing.table(id, &tail)?;
        if table.packed() != length {
            return Err(corrupt(id, "it is cut short"));
        }
        Ok(Some(Open { file, table, tail, begins }))
    }

    fn get(&self, id: BlobId, part: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let Some(open) = self.open(id)? else { return Ok(None) };
        let frames = open.table.frames_of(&part);
        let place = open.table.place(frames.clone());
        let stored = match place.start.checked_sub(open.begins) {
            // Within the tail, which ends at the file's end.
            Some(from) => open.tail.slice(from as usize..(place.end - open.begins) as usize),
            None => read(&open.file, place).map_err(|error| meaning(&self.path(id), &error))?.into(),
        };
        let stored = open.table.cut(frames, stored);
        self.packing.unpack_now((id, &open.table), &stored, part).map(Some)
    }

    fn remove(&self, id: BlobId) -> Result<(), StoreError> {
        // Not synced: a blob that is back after a crash is one that nothing refers to.
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(meaning(&self.path(id), &error)),
            _ => Ok(()),
        }
    }

    fn list(&self, after: Option<BlobId>, most: usize) -> Result<Vec<BlobId>, StoreError> {
        let mut ids = BTreeSet::new();
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.walk(&self.root, (0, &after, most), &mut ids)?;
        Ok(ids.into_iter().collect())
    }

    /// Adds the first names behind `after` under a folder, until there are `most`. Holds no more than those, and the
    /// 256 folders of each level.
    fn walk(
        &self,
        folder: &Path,
        (level, after, most): (usize, &str, usize),
        ids: &mut BTreeSet<BlobId>,
    ) -> Result<(), StoreError> {
        let failed = |error: io::Error| meaning(folder, &error);
        let mut below = BTreeSet::new();
        // Names of the same level begin alike up to here, and are ordered by what follows.
        let bound = after.get(2 * level..2 * level + 2).unwrap_or_default();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if level == self.depth {
                if name > after
                    && let Some(id) = BlobId::read(name)
                {
                    ids.insert(id);
                    if ids.len() > most {
                        ids.pop_last();
                    }
                }
            } else if name.len() == 2 && name >= bound && name.bytes().all(|octet| octet.is_ascii_hexdigit()) {
                below.insert(name.to_owned());
            }
        }
        for name in below {
            if ids.len() >= most {
                return Ok(());
            }
            // Only the folder that holds `after` itself is entered in the middle.
            let inside = if name == bound { after } else { "" };
            self.walk(&folder.join(&name), (level + 1, inside, most), ids)?;
        }
        Ok(())
    }
}

/// These octets of a file, or those of them that there are.
fn read(file: &File, place: Range<u64>) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; (place.end - place.start) as usize];
    let mut filled = 0;
    while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, place.start + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    octets.truncate(filled);
    Ok(octets)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn wrong(path: &Path, error: &io::Error) -> StoreError {
    match meaning(path, error) {
        StoreError::Unavailable(cause) => StoreError::Misconfigured(cause),
        other => other,
    }
}

fn meaning(path: &Path, error: &io::Error) -> StoreError {
    let cause = Cause::new(format!("{}: {error}", path.display()));
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => StoreError::Full,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory => {
            StoreError::Misconfigured(cause)
        }
        _ => StoreError::Unavailable(cause),
    }
}
