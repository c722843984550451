//! Octets of a message while it is worked on: few in memory, many in a file without a name that is mapped into memory.
//!
//! Whoever works on them sees [`Bytes`] either way. What is mapped is the system's to take back, and is given back all
//! the while, so that a large message takes no more memory than a small one. The file is gone with the last of them, and
//! with the process.

use crate::blob::{BlobId, Blobs};
use crate::error::{Cause, StoreError};
use bytes::{Bytes, BytesMut};
use memmap2::{Advice, Mmap, UncheckedAdvice};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// The most octets that are held in memory.
pub const MEMORY_MOST: usize = 256 << 10;
/// Octets that are read or gone through at once.
const PART: usize = 1 << 20;
/// How often the pages of mapped files are given back while one of them is new. Work goes through most of a file right
/// after it is mapped, at some GiB a second.
const TURN: Duration = Duration::from_micros(500);
/// For how many turns a file is new.
const NEW: u32 = 2_000;
/// How often they are given back afterwards: work that takes long waits for others.
const LATER: Duration = Duration::from_secs(1);

/// The folder that large messages are in while they are worked on: `TMPDIR`, or else `/var/tmp`, which is on a disk where
/// `/tmp` may be memory.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let said = std::env::var_os("TMPDIR").filter(|said| !said.is_empty()).map(PathBuf::from);
        said.unwrap_or_else(|| if Path::new("/var/tmp").is_dir() { "/var/tmp".into() } else { std::env::temp_dir() })
    })
}

/// Whether a large message can be held.
///
/// # Errors
/// Why no file can be made, and where.
pub fn usable() -> io::Result<()> {
    tempfile::tempfile_in(folder()).map(drop).map_err(|error| io::Error::new(error.kind(), words(&error)))
}

/// Octets that come one after the other.
#[derive(Debug, Default)]
pub struct Held {
    few: BytesMut,
    many: Option<File>,
    size: u64,
}

impl Held {
    /// How many there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds some.
    ///
    /// # Errors
    /// [`StoreError::Full`] where the disk is, else [`StoreError::Unavailable`].
    pub async fn add(&mut self, octets: &[u8]) -> Result<(), StoreError> {
        self.size += octets.len() as u64;
        if self.many.is_none() && self.few.len() + octets.len() > MEMORY_MOST {
            let made = tokio::task::spawn_blocking(|| tempfile::tempfile_in(folder())).await;
            let made = made.map_err(io::Error::other).and_then(|made| made).map_err(meaning)?;
            let mut file = File::from_std(made);
            file.write_all(&std::mem::take(&mut self.few)).await.map_err(meaning)?;
            self.many = Some(file);
        }
        match &mut self.many {
            Some(file) => file.write_all(octets).await.map_err(meaning),
            None => {
                self.few.extend_from_slice(octets);
                Ok(())
            }
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// As [`Held::add`].
    pub async fn octets(self) -> Result<Bytes, StoreError> {
        match self.many {
            Some(mut file) => {
                file.flush().await.map_err(meaning)?;
                map(&file.into_std().await).map_err(meaning)
            }
            None => Ok(self.few.freeze()),
        }
    }
}

/// Pieces, one after the other.
///
/// # Errors
/// As [`Held::add`].
pub async fn joined(pieces: &[&[u8]]) -> Result<Bytes, StoreError> {
    let mut held = Held::default();
    for piece in pieces {
        held.add(piece).await?;
    }
    held.octets().await
}

/// All of a blob, which has this size; `None` if there is no such blob.
///
/// # Errors
/// The store's, and as [`Held::add`].
pub async fn blob(blobs: &dyn Blobs, id: BlobId, size: u64) -> Result<Option<Bytes>, StoreError> {
    if size <= MEMORY_MOST as u64 {
        return blobs.get(id, 0..size).await;
    }
    let mut held = Held::default();
    while held.size() < size {
        let part = held.size()..size.min(held.size() + PART as u64);
        match blobs.get(id, part).await? {
            Some(octets) if octets.is_empty() => break,
            Some(octets) => held.add(&octets).await?,
            None => return Ok(None),
        }
    }
    held.octets().await.map(Some)
}

/// Octets in parts, for work that is faster than pages are given back beside it.
pub fn parts(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    octets.chunks(PART).inspect(move |_| {
        if octets.len() > MEMORY_MOST {
            KEEPER.turn();
        }
    })
}

/// A file in memory.
struct Map(Arc<Mmap>);

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[allow(unsafe_code, reason = "the file has no name and nobody else has it open: it neither changes nor shrinks")]
fn map(file: &std::fs::File) -> io::Result<Bytes> {
    // SAFETY: what is written is written; this process drops its only handle, and no other can open it.
    let map = Arc::new(unsafe { Mmap::map(file)? });
    // Page by page: the system would map many for each that is touched, faster than they are given back. One that knows
    // no such advice does as it does.
    let _ = (map.advise(Advice::Random), map.advise(Advice::NoHugePage));
    KEEPER.keep(&map);
    Ok(Bytes::from_owner(Map(map)))
}

/// A mapped file whose pages are given back while somebody works on it.
struct Kept {
    map: Weak<Mmap>,
    /// Turns since it was mapped.
    turns: u32,
}

/// Gives pages back. A thread does so, since a worker of the runtime would be late: it may be the one that goes through
/// the file.
struct Keeper {
    maps: Mutex<Vec<Kept>>,
    more: Condvar,
    begun: Once,
}

static KEEPER: Keeper = Keeper { maps: Mutex::new(Vec::new()), more: Condvar::new(), begun: Once::new() };

impl Keeper {
    fn maps(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&'static self, map: &Arc<Mmap>) {
        self.maps().push(Kept { map: Arc::downgrade(map), turns: 0 });
        self.more.notify_one();
        self.begun.call_once(|| {
            // Without a thread, pages are the system's to find.
            let _ = std::thread::Builder::new().name("held".to_owned()).spawn(|| self.run());
        });
    }

    fn run(&self) {
        loop {
            let maps = self.more.wait_while(self.maps(), |maps| maps.is_empty());
            let maps = maps.unwrap_or_else(PoisonError::into_inner);
            if maps.iter().any(|kept| kept.turns < NEW) {
                drop(maps);
                std::thread::sleep(TURN);
            } else {
                drop(self.more.wait_timeout(maps, LATER));
            }
            self.turn();
        }
    }

    #[allow(unsafe_code, reason = "a mapping of a file that does not change")]
    fn turn(&self) {
        self.maps().retain_mut(|kept| {
            kept.turns = kept.turns.saturating_add(1);
            let Some(map) = kept.map.upgrade() else { return false };
            // SAFETY: the mapping is of a file, so that a page given back is read from the file again.
            let _ = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
            true
        });
    }
}

fn meaning(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Unavailable(Cause::new(words(&error))),
    }
}

fn words(error: &io::Error) -> String {
    format!(
        "a file for a large message cannot be made in {} (TMPDIR names another folder): {error}",
        folder().display()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::blob::kv::KvBlobs;
    use crate::blob::packed::Packing;
    use crate::kv::memory::Memory;

    #[tokio::test]
    async fn few_and_many_are_what_was_added() {
        for size in [0, 1, MEMORY_MOST - 1, MEMORY_MOST, MEMORY_MOST + 1, 3 * MEMORY_MOST + 7] {
            let octets: Bytes = (0..size).map(|n| n.to_le_bytes()[n % 3]).collect();
            let mut held = Held::default();
            for part in octets.chunks(1000) {
                held.add(part).await.unwrap();
            }
            assert_eq!(held.many.is_some(), size > MEMORY_MOST);
            assert_eq!(held.size(), size as u64);
            let all = held.octets().await.unwrap();
            assert!(all == octets && joined(&[&octets[..size / 3], &octets[size / 3..]]).await.unwrap() == octets);
            // Longer than pages are kept, and then read again; and sent to another thread, as parts of it are.
            tokio::time::sleep(3 * TURN).await;
            let part = all.slice(size / 2..);
            drop(all);
            assert!(tokio::task::spawn_blocking(move || part == octets[size / 2..]).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_blob_is_held_whole() {
        let blobs = KvBlobs::new(Arc::new(Memory::new()), Packing::default());
        for size in [10, MEMORY_MOST, 5 * MEMORY_MOST + 3] {
            let octets: Bytes = (0..size).map(|n| n.to_le_bytes()[n % 3]).collect();
            let id = blobs.put(octets.clone()).await.unwrap();
            assert!(blob(&blobs, id, size as u64).await.unwrap().unwrap() == octets);
        }
        assert!(blob(&blobs, BlobId([1; 32]), 1 << 20).await.unwrap().is_none());
    }
}
