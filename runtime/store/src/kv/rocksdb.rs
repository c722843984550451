//! RocksDB in a local folder: the default store.
//!
//! # What is promised, and how
//! A commit that is not lazy is answered after the write-ahead log holding it was synced (`fdatasync`: it also
//! writes the file's new length, which is all of the metadata that reading back needs; RocksDB syncs the folder
//! when it starts a new log). A kill of the process, or of the machine, therefore loses nothing acknowledged.
//! What was being written at that moment leaves a torn record at the log's end; recovery keeps every record
//! before it, and no acknowledged one can come after it.
//!
//! While the disk is full nothing is written, and it goes on when there is room again ([`shared`]).
//!
//! A write or sync that fails with anything else stops the store until it is opened again: after a
//! failed `fsync` the kernel may have dropped the octets while their pages look clean, so neither a second sync nor
//! a read proves anything.
//!
//! # Threads
//! All writes go through one [`committer`], all reads that may touch the disk through the [`readers`]. Only reads
//! that memory can answer run on the caller's thread.

use super::watches::Watches;
use super::{Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page};
use crate::error::{Cause, CommitError, StoreError};
use crate::open::TAKEN;
use ::rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Error, ErrorKind, Options, ReadOptions, ReadTier,
};
use async_trait::async_trait;
use bytes::Bytes;
use committer::Committer;
use readers::Readers;
use shared::Shared;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

mod committer;
pub mod reader;
mod readers;
mod shared;

/// Octets of changes held in memory before they become a file.
const WRITE_BUFFER: usize = 16 << 20;
/// So many write buffers, the one being written included; then writes wait.
const WRITE_BUFFERS: i32 = 3;
/// Octets of file blocks kept in memory, indexes and filters included.
const BLOCK_CACHE: usize = 64 << 20;
/// The most files held open.
const OPEN_FILES: i32 = 512;
/// Values from this size on, in octets, lie in files of their own, so that compaction does not copy them.
const SEPARATE: u64 = 4 << 10;
/// Octets of RocksDB's own log file, of which it keeps [`LOGS`].
const LOG: usize = 4 << 20;
/// How many of them.
const LOGS: usize = 4;
/// The most keys and entries that a read tries to answer on the caller's thread, from memory.
const QUICK: usize = 256;
/// The most removed entries that such a read passes over.
const QUICK_SKIP: u64 = 1000;

/// An open RocksDB. Dropping it waits for the commits under way and syncs the lazy ones.
pub struct RocksDb {
    // Dropped in this order: the threads hold the database open, and with it its lock.
    committer: Committer,
    readers: Readers,
    db: Closed,
    watches: Arc<Watches>,
    fault: Arc<Fault>,
}

/// The database, closed when dropped.
struct Closed(Arc<Shared>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Set once, by a write of which nobody knows what it left behind.
#[derive(Default)]
struct Fault(OnceLock<Cause>);

impl Fault {
    fn check(&self) -> Result<(), StoreError> {
        self.0.get().map_or(Ok(()), |cause| Err(StoreError::Unavailable(cause.clone())))
    }
}

impl RocksDb {
    /// Opens the database in `folder`, which is made where it does not exist. One process may have it open, once.
    pub async fn open(folder: impl Into<PathBuf>) -> Result<RocksDb, StoreError> {
        let folder = folder.into();
        let opened = tokio::task::spawn_blocking(move || RocksDb::open_blocking(&folder)).await;
        opened.unwrap_or_else(|gone| Err(StoreError::Unavailable(Cause::new(gone))))
    }

    fn open_blocking(folder: &Path) -> Result<RocksDb, StoreError> {
        let wrong = |cause| StoreError::Misconfigured(Cause::new(format!("{}: {cause}", folder.display())));
        make_folder(folder).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
            _ => wrong(error.to_string()),
        })?;
        let fault = Arc::new(Fault::default());
        let db = Shared::open(folder, fault.clone()).map_err(|error| match error {
            StoreError::Unavailable(cause) if is_locked(&cause.to_string()) => {
                wrong(format!("{TAKEN}; a RocksDB folder serves one"))
            }
            // Until it was open once, an unreadable folder is a mistake to mend, not an outage to sit out.
            StoreError::Unavailable(cause) => wrong(cause.to_string()),
            other => other,
        })?;
        let watches = Arc::new(Watches::new());
        let threads = |error| StoreError::Unavailable(Cause::new(error));
        let committer = Committer::start(db.clone(), watches.clone(), fault.clone()).map_err(threads)?;
        let readers = Readers::start(&db).map_err(threads)?;
        Ok(RocksDb { committer, readers, db: Closed(db), watches, fault })
    }
}

#[async_trait]
impl KeyValue for RocksDb {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.fault.check()?;
        if keys.len() <= QUICK
            && let Some(lent) = self.db.0.try_lend()
            && let Some(values) = quick(lent.db()?, keys)?
        {
            return Ok(values);
        }
        let keys = keys.to_vec();
        self.readers.read(move |db| get(db?, &keys)).await?
    }

    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        self.fault.check()?;
        if page.most <= QUICK
            && let Some(lent) = self.db.0.try_lend()
        {
            let mut quick = from_memory();
            quick.set_max_skippable_internal_keys(QUICK_SKIP);
            if let Some(entries) = scan(lent.db()?, &keys, page, quick)? {
                return Ok(entries);
            }
        }
        let entries = self.readers.read(move |db| scan(db?, &keys, page, ReadOptions::default())).await??;
        entries.ok_or_else(incomplete)
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.fault.check()?;
        self.committer.commit(batch).await
    }

    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        self.watches.wait(key).await;
        self.fault.check()
    }
}

/// The values of `keys`, of one moment.
fn get(db: &DB, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
    // RocksDB reads all keys of one such call at one sequence number.
    let found = db.multi_get(keys.iter().map(|key| &key.0));
    found.into_iter().map(|value| Ok(value.map_err(meaning)?.map(Bytes::from))).collect()
}

/// The same, or `None` where memory does not have them all.
///
/// One by one: of several keys in one call, RocksDB (11.8, `BlockBasedTable::MultiGet`) answers one that may lie in a
/// block outside the cache with "found" and an empty value, in place of "incomplete".
fn quick(db: &DB, keys: &[Key]) -> Result<Option<Vec<Option<Bytes>>>, StoreError> {
    let mut how = from_memory();
    let moment = (keys.len() > 1).then(|| db.snapshot());
    moment.iter().for_each(|moment| how.set_snapshot(moment));
    let found = keys.iter().map(|key| Ok(db.get_opt(&key.0, &how)?.map(Bytes::from)));
    complete(found.collect())
}

/// Reading without the disk; what is not in memory is "incomplete".
fn from_memory() -> ReadOptions {
    let mut how = ReadOptions::default();
    how.set_read_tier(ReadTier::BlockCache);
    how
}

fn scan(db: &DB, keys: &KeyRange, page: Page, mut how: ReadOptions) -> Result<Option<Vec<(Key, Bytes)>>, StoreError> {
    let most = page.most.min(PAGE_MOST);
    let mut entries = Vec::new();
    if keys.from >= keys.to || most == 0 {
        return Ok(Some(entries));
    }
    how.set_iterate_lower_bound(&keys.from.0[..]);
    how.set_iterate_upper_bound(&keys.to.0[..]);
    let mut at = db.raw_iterator_opt(how);
    if page.backwards {
        at.seek_to_last()
    } else {
        at.seek_to_first()
    }
    while let Some((key, value)) = at.item() {
        entries.push((Key(Bytes::copy_from_slice(key)), Bytes::copy_from_slice(value)));
        if entries.len() == most {
            return Ok(Some(entries));
        }
        if page.backwards { at.prev() } else { at.next() }
    }
    complete(at.status().map(|()| entries))
}

fn complete<T>(read: Result<T, Error>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == ErrorKind::Incomplete => Ok(None),
        Err(error) => Err(meaning(error)),
    }
}

fn incomplete() -> StoreError {
    StoreError::Unavailable(Cause::new("a read was cut short"))
}

/// What a caller may do about an error. RocksDB tells most causes apart in words only.
fn meaning(error: Error) -> StoreError {
    let (kind, text) = (error.kind(), error.into_string());
    let full = ["No space left", "Space limit reached", "Disk quota exceeded"];
    match kind {
        _ if full.iter().any(|words| text.contains(words)) => StoreError::Full,
        ErrorKind::Corruption => StoreError::Corrupt { what: text },
        ErrorKind::InvalidArgument | ErrorKind::NotSupported => StoreError::Misconfigured(Cause::new(text)),
        _ => StoreError::Unavailable(Cause::new(text)),
    }
}

fn is_locked(text: &str) -> bool {
    text.contains("lock hold by current process") || text.contains("While lock file")
}

/// Makes the folder and those above it, readable by this user alone, and syncs the entries that name them:
/// else a power cut could take the database with everything acknowledged in it.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return Ok(()),
    };
    make_folder(above)?;
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::fs::File::open(above)?.sync_all()
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    options.set_write_buffer_size(WRITE_BUFFER);
    options.set_max_write_buffer_number(WRITE_BUFFERS);
    options.set_max_open_files(OPEN_FILES);
    options.set_max_background_jobs(2);
    options.set_max_log_file_size(LOG);
    options.set_keep_log_file_num(LOGS);
    // Stops at the first record of the log that is not whole. "Tolerate corrupted tail" would refuse to start on
    // a tail that a power cut left as zeros or garbage in the middle, "absolute" on any torn one: both would need
    // a repair by hand for what was never acknowledged.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Makes a log that is missing or shorter than it was when synced an error instead of a silent loss.
    options.set_track_and_verify_wals_in_manifest(true);
    // Every record reaches the kernel at once, so that killing the process loses not even lazy commits.
    options.set_manual_wal_flush(false);
    options.set_wal_bytes_per_sync(1 << 20);
    options.set_bytes_per_sync(1 << 20);

    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_enable_blob_files(true);
    options.set_min_blob_size(SEPARATE);
    options.set_blob_compression_type(DBCompressionType::Zstd);
    options.set_enable_blob_gc(true);
    options.set_blob_gc_age_cutoff(0.5);
    options.set_blob_gc_force_threshold(0.5);

    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE));
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_bloom_filter(10.0, false);
    options.set_block_based_table_factory(&table);
    options
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conformance;

    #[tokio::test(flavor = "multi_thread")]
    async fn rocksdb_keeps_the_key_value_contract() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er");
        conformance::suite(conformance::KEY_VALUE, Arc::new(RocksDb::open(&path).await.unwrap())).await;
    }

    /// Whoever loses sees at once what won, and so never tries in vain.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_conflict_comes_after_what_it_is_with_can_be_read() {
        const WRITERS: usize = 8;
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(RocksDb::open(folder.path()).await.unwrap());
        let writers = (0..WRITERS).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..40 {
                    let mut before = None;
                    loop {
                        let value = store.get(&["n".into()]).await.unwrap().remove(0);
                        assert_ne!(before, Some(value.clone()), "a conflict with nothing");
                        let number = value.as_deref().map_or(0, |value| u64::from_be_bytes(value.try_into().unwrap()));
                        let mut batch = Batch::new();
                        batch.assert("n", value.clone()).put("n", (number + 1).to_be_bytes().to_vec());
                        match store.commit(batch).await {
                            Ok(()) => break,
                            Err(CommitError::Conflict) => before = Some(value),
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let value = store.get(&["n".into()]).await.unwrap().remove(0).unwrap();
        assert_eq!(u64::from_be_bytes(value[..].try_into().unwrap()), 40 * WRITERS as u64);
    }

    #[tokio::test]
    async fn a_second_opening_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let first = RocksDb::open(folder.path()).await.unwrap();
        let second = RocksDb::open(folder.path()).await.err().unwrap();
        assert!(matches!(&second, StoreError::Misconfigured(cause) if cause.to_string().contains("open")), "{second}");
        drop(first);
        RocksDb::open(folder.path()).await.unwrap();
    }

    #[tokio::test]
    async fn a_torn_log_loses_only_what_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let store = RocksDb::open(folder.path()).await.unwrap();
        for name in ["acknowledged", "torn"] {
            let mut batch = Batch::new();
            batch.put(name, vec![7; 1000]);
            store.commit(batch).await.unwrap();
        }
        drop(store);
        let log = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let log = log.into_iter().find(|path| path.extension().is_some_and(|end| end == "log")).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&log).unwrap();
        file.set_len(file.metadata().unwrap().len() - 500).unwrap();
        let store = RocksDb::open(folder.path()).await.unwrap();
        let found = store.get(&["acknowledged".into(), "torn".into()]).await.unwrap();
        assert_eq!(found, [Some(Bytes::from(vec![7; 1000])), None]);
    }

    #[tokio::test]
    async fn what_memory_does_not_hold_is_not_taken_for_empty() {
        // So many that the filter takes some absent keys for present, and that some of those lie between blocks.
        const KEYS: u32 = 200_000;
        let folder = tempfile::tempdir().unwrap();
        let store = RocksDb::open(folder.path()).await.unwrap();
        for begin in (0..KEYS).step_by(10_000) {
            let mut batch = Batch::new();
            batch.lazy = true;
            for n in begin..begin + 10_000 {
                batch.put(key(2 * n), n.to_be_bytes().to_vec());
            }
            store.commit(batch).await.unwrap();
        }
        drop(store);
        // Opened again, what was in memory is in a file, and none of its blocks in the cache.
        let store = RocksDb::open(folder.path()).await.unwrap();
        for n in 0..KEYS {
            let found = store.get(&[key(2 * n + 1), key(u32::MAX - n)]).await.unwrap();
            assert_eq!(found, [None, None], "{n}");
        }
        let found = store.get(&[key(2), key(3), key(4)]).await.unwrap();
        assert_eq!(found, [Some(1_u32.to_be_bytes().to_vec().into()), None, Some(2_u32.to_be_bytes().to_vec().into())]);

        fn key(n: u32) -> Key {
            Key(n.to_be_bytes().to_vec().into())
        }
    }

    #[tokio::test]
    async fn after_a_fault_nothing_is_promised() {
        let folder = tempfile::tempdir().unwrap();
        let store = RocksDb::open(folder.path()).await.unwrap();
        store.fault.0.set(Cause::new("input/output error")).unwrap();
        let mut batch = Batch::new();
        batch.put("k", "v");
        let refused = store.commit(batch).await;
        assert!(matches!(refused, Err(CommitError::Store(StoreError::Unavailable(_)))));
        assert!(matches!(store.get(&["k".into()]).await, Err(StoreError::Unavailable(_))));
    }
}
