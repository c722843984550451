//! The open database, which is closed and opened again once a disk that was full has room.
//!
//! RocksDB goes on by itself after a write that the disk had no room for, but not where a quota refused it or where even
//! an empty file could not be made: then every write fails with the same words until the database is opened again. What
//! is in it is read meanwhile.

use super::{Fault, meaning, options};
use crate::error::{Cause, StoreError};
use ::rocksdb::DB;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::thread;
use std::time::Duration;

/// How often it is looked whether there is room again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much room there must be, in octets: what opening writes, and some more.
const ROOM: usize = 32 << 20;
/// The name of the file that is written to find out, beside those of the database.
const PROBE: &str = "room.tmp";

/// The database, for those who read and write it at the same time.
pub(super) struct Shared {
    folder: PathBuf,
    /// `None` while it is closed.
    db: RwLock<Option<DB>>,
    is_full: AtomicBool,
    is_closing: AtomicBool,
    fault: Arc<Fault>,
}

/// The database for a while, in which it stays open.
pub(super) struct Lent<'a>(RwLockReadGuard<'a, Option<DB>>);

impl Lent<'_> {
    /// It.
    ///
    /// # Errors
    /// [`StoreError::Full`] while it is closed.
    pub fn db(&self) -> Result<&DB, StoreError> {
        self.0.as_ref().ok_or(StoreError::Full)
    }
}

impl Shared {
    /// Opens the database in a folder that is there.
    ///
    /// # Errors
    /// What [`meaning`] makes of RocksDB's.
    pub fn open(folder: &Path, fault: Arc<Fault>) -> Result<Arc<Shared>, StoreError> {
        // It is there where the process was killed while it looked.
        let _ = std::fs::remove_file(folder.join(PROBE));
        let db = DB::open(&options(), folder).map_err(meaning)?;
        Ok(Arc::new(Shared::new(db, folder, fault)))
    }

    /// What is open already.
    pub fn new(db: DB, folder: &Path, fault: Arc<Fault>) -> Shared {
        Shared {
            folder: folder.to_owned(),
            db: RwLock::new(Some(db)),
            is_full: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            fault,
        }
    }

    /// Waits while it is being opened.
    pub fn lend(&self) -> Lent<'_> {
        Lent(self.db.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same without waiting.
    pub fn try_lend(&self) -> Option<Lent<'_>> {
        match self.db.try_read() {
            Ok(guard) => Some(Lent(guard)),
            Err(TryLockError::Poisoned(poisoned)) => Some(Lent(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Notes that a write found room.
    pub fn has_room(&self) {
        if self.is_full.load(Ordering::Relaxed) && self.is_full.swap(false, Ordering::Relaxed) {
            tracing::info!(folder = %self.folder.display(), "the store has room again");
        }
    }

    /// Notes that a write found no room, and looks from now on whether there is some.
    pub fn is_out_of_room(self: &Arc<Shared>) {
        if self.is_full.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!(folder = %self.folder.display(), "the store's disk is full");
        let shared = Arc::clone(self);
        let looks = thread::Builder::new().name("store-room".to_owned()).spawn(move || shared.look());
        // Then the next write says so again.
        if looks.is_err() {
            self.is_full.store(false, Ordering::Relaxed);
        }
    }

    fn look(&self) {
        loop {
            thread::sleep(LOOK_EVERY);
            if self.is_closing.load(Ordering::Relaxed) || !self.is_full.load(Ordering::Relaxed) {
                return;
            }
            if room(&self.folder).is_err() {
                continue;
            }
            let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
            // Whoever closes the store waits for the lock, too.
            if self.is_closing.load(Ordering::Relaxed) || !self.is_full.load(Ordering::Relaxed) {
                return;
            }
            // It holds the lock of the folder until it is dropped.
            *db = None;
            match DB::open(&options(), &self.folder).map_err(meaning) {
                Ok(opened) => {
                    *db = Some(opened);
                    drop(db);
                    self.has_room();
                    return;
                }
                Err(StoreError::Full) => {}
                Err(error) => {
                    tracing::error!(%error, "the store cannot be opened again after its disk was full");
                    let _ = self.fault.0.set(Cause::new(error));
                    return;
                }
            }
        }
    }

    /// Closes it; nobody writes any more.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        *self.db.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Whether there is room, found out by taking it: what a file system says of its free blocks knows nothing of quotas.
fn room(folder: &Path) -> io::Result<()> {
    let path = folder.join(PROBE);
    let written = File::create(&path).and_then(|mut file| {
        let octets = vec![0xA5; 1 << 20];
        (0..ROOM / octets.len()).try_for_each(|_| file.write_all(&octets))?;
        file.sync_all()
    });
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}
