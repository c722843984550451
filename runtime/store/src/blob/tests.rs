//! The stores that need no server, each with every packing.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::filesystem::Filesystem;
use super::kv::KvBlobs;
use super::packed::Packing;
use super::{BlobId, Blobs};
use crate::conformance::{self, Damage};
use crate::error::{CommitError, StoreError};
use crate::kv::memory::Memory;
use crate::kv::rocksdb::RocksDb;
use crate::kv::{Batch, Key, KeyRange, KeyValue, Page};
use crate::open::Ground;
use async_trait::async_trait;
use bytes::Bytes;
use schema::config::Store;
use schema::name::Secret;
use schema::spec::Compression;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use tokio::sync::Notify;

fn key() -> Secret {
    Secret::new("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into())
}

fn packings() -> [Packing; 3] {
    [
        Packing::default(),
        Packing::new(Compression::Zstd, None).unwrap(),
        Packing::new(Compression::Zstd, Some(&key())).unwrap(),
    ]
}

fn ground(root: &Path) -> Ground {
    let reveal = Arc::new(|_: &_| Err("no secret here".to_owned()));
    Ground { root: root.to_owned(), clock: Arc::new(|| 1_000_000), reveal }
}

/// Changes a frame, the head, or takes a frame away.
async fn damage(data: &Arc<dyn KeyValue>, id: BlobId, how: Damage) {
    let prefix: &[u8] = if how == Damage::Table { b"Bh" } else { b"Bc" };
    let range = KeyRange::prefix(&[prefix, &id.0].concat());
    let (key, value) = data.scan(range, Page::first(1)).await.unwrap().pop().unwrap();
    let mut torn = value.to_vec();
    let at = torn.len() / 2;
    torn[at] ^= 1;
    let mut batch = Batch::new();
    match how {
        Damage::Cut => batch.remove(key),
        _ => batch.put(key, torn),
    };
    data.commit(batch).await.unwrap();
}

async fn keeps_the_contract(data: Arc<dyn KeyValue>, packing: Packing) {
    let store = Arc::new(KvBlobs::new(Arc::clone(&data), packing));
    conformance::suite(conformance::BLOBS, store.clone()).await;
    conformance::blobs_within(&store, &data).await;
    conformance::blobs_damaged(&*store, async |id, how| damage(&data, id, how).await).await;
    while let Some(id) = store.list(None, 1).await.unwrap().pop() {
        store.remove(id).await.unwrap();
    }
    let left = data.scan(KeyRange::prefix(b"B"), Page::first(10)).await.unwrap();
    assert!(left.is_empty(), "{:?}", left.iter().map(|(key, _)| key).collect::<Vec<_>>());
}

#[tokio::test]
async fn blobs_in_memory_keep_the_contract() {
    for packing in packings() {
        keeps_the_contract(Arc::new(Memory::new()), packing).await;
    }
}

#[tokio::test]
async fn blobs_in_rocksdb_keep_the_contract() {
    for packing in packings() {
        let folder = tempfile::tempdir().unwrap();
        keeps_the_contract(Arc::new(RocksDb::open(folder.path().join("db")).await.unwrap()), packing).await;
    }
}

#[tokio::test]
async fn blobs_in_sqlite_keep_the_contract() {
    for packing in packings() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::Sqlite { path: "mail.db".into(), readers: 2 };
        let data = crate::kv::sql::open(&store, &ground(folder.path())).await.unwrap();
        keeps_the_contract(data, packing).await;
    }
}

/// A database that never answers the second commit.
struct Stopping {
    data: Memory,
    commits: AtomicU32,
    stopped: Notify,
}

#[async_trait]
impl KeyValue for Stopping {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.data.get(keys).await
    }
    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        self.data.scan(keys, page).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        if self.commits.fetch_add(1, Ordering::SeqCst) == 1 {
            self.stopped.notify_one();
            std::future::pending::<()>().await;
        }
        self.data.commit(batch).await
    }
    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        self.data.watch(key).await
    }
}

#[tokio::test]
async fn an_attempt_that_was_cut_short_is_listed_and_removed() {
    let stopping = Arc::new(Stopping { data: Memory::new(), commits: AtomicU32::new(0), stopped: Notify::new() });
    let data: Arc<dyn KeyValue> = stopping.clone();
    let store = KvBlobs::new(Arc::clone(&data), Packing::default());
    let octets = Bytes::from(vec![7; 30_000_000]);
    let id = BlobId::of(&octets);
    let mut put = store.put(octets.clone());
    tokio::select! {
        done = &mut put => panic!("one commit was enough: {done:?}"),
        () = stopping.stopped.notified() => {}
    }
    drop(put);
    assert_eq!(store.size(id).await.unwrap(), None);
    store.put(octets).await.unwrap();
    assert_eq!(store.list(None, 10).await.unwrap(), [id]);
    store.remove(id).await.unwrap();
    assert!(data.scan(KeyRange::prefix(b"B"), Page::first(1)).await.unwrap().is_empty());
}

fn file(root: &Path, id: BlobId, depth: usize) -> std::path::PathBuf {
    let name = id.to_string();
    let folder = (0..depth).fold(root.to_owned(), |folder, level| folder.join(&name[2 * level..2 * level + 2]));
    folder.join(name)
}

fn damage_file(path: &Path, how: Damage) {
    let mut octets = std::fs::read(path).unwrap();
    let length = octets.len();
    match how {
        Damage::Frame => octets[10] ^= 1,
        Damage::Table => octets[length - 20] ^= 1,
        Damage::Cut => octets.truncate(length / 2),
    }
    std::fs::write(path, octets).unwrap();
}

async fn opened(packing: Packing, depth: u32) -> (TempDir, Arc<Filesystem>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Filesystem::open(folder.path().join("blobs"), depth, packing).await.unwrap();
    (folder, Arc::new(store))
}

#[tokio::test]
async fn blobs_in_files_keep_the_contract() {
    for (packing, depth) in packings().into_iter().zip([2, 0, 1]) {
        let (folder, store) = opened(packing, depth).await;
        conformance::suite(conformance::BLOBS, store.clone()).await;
        let root = folder.path().join("blobs");
        let damage = async |id, how| damage_file(&file(&root, id, depth as usize), how);
        conformance::blobs_damaged(&*store, damage).await;
    }
}

#[tokio::test]
async fn files_and_folders_are_for_their_owner_alone() {
    let (folder, store) = opened(Packing::default(), 2).await;
    let id = store.put(Bytes::from_static(b"private")).await.unwrap();
    let path = file(&folder.path().join("blobs"), id, 2);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    path.ancestors().skip(1).take(3).for_each(|folder| assert_eq!(mode(folder), 0o700, "{}", folder.display()));
    assert_eq!(mode(&folder.path().join("blobs/tmp")), 0o700);
}

#[tokio::test]
async fn what_a_crash_left_is_cleared_away_and_what_is_being_written_is_not() {
    let (folder, store) = opened(Packing::default(), 1).await;
    let root = folder.path().join("blobs");
    let (left, held) = (root.join("tmp/left"), root.join("tmp/held"));
    std::fs::write(&left, "half a blob").unwrap();
    std::fs::write(&held, "half a blob").unwrap();
    let writer = std::fs::File::open(&held).unwrap();
    writer.lock().unwrap();
    let again = Filesystem::open(root.clone(), 1, Packing::default()).await.unwrap();
    assert!(!left.exists() && held.exists());
    let id = store.put(Bytes::from_static(b"still here")).await.unwrap();
    assert_eq!(again.get(id, 0..99).await.unwrap().unwrap(), Bytes::from_static(b"still here"));
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let told = Filesystem::open(folder.path().join("file"), 2, Packing::default()).await.err();
    assert!(matches!(&told, Some(StoreError::Misconfigured(cause)) if cause.to_string().contains("/file")), "{told:?}");
}
