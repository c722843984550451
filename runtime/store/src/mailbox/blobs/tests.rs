//! That no message loses its octets to the collector, whoever is slow; blobs lie in files, apart from the data.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::blob::filesystem::Filesystem;
use crate::blob::kv::KvBlobs;
use crate::blob::packed::Packing;
use crate::blob::shelves::{Shelf, Shelves};
use crate::kv::memory::Memory;
use crate::kv::{KeyRange, KeyValue};
use crate::mailbox::{Flags, How, NewMessage};
use async_trait::async_trait;
use schema::name::Address;
use std::ops::Range;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::Semaphore;

const GRACE: i64 = 100;
const INBOX: u32 = 1;

/// Files whose writing and removing wait to be let through.
struct Gated {
    files: Filesystem,
    put: Semaphore,
    put_waits: Semaphore,
    remove: Semaphore,
    remove_waits: Semaphore,
}

#[async_trait]
impl Blobs for Gated {
    async fn put(&self, octets: Bytes) -> Result<BlobId, StoreError> {
        let put = self.files.put(octets).await;
        self.put_waits.add_permits(1);
        self.put.acquire().await.unwrap().forget();
        put
    }
    async fn get(&self, id: BlobId, part: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.files.get(id, part).await
    }
    async fn size(&self, id: BlobId) -> Result<Option<u64>, StoreError> {
        self.files.size(id).await
    }
    async fn remove(&self, id: BlobId) -> Result<(), StoreError> {
        self.remove_waits.add_permits(1);
        self.remove.acquire().await.unwrap().forget();
        self.files.remove(id).await
    }
    async fn list(&self, after: Option<BlobId>, most: usize) -> Result<Vec<BlobId>, StoreError> {
        self.files.list(after, most).await
    }
}

struct Site {
    _folder: TempDir,
    data: Arc<dyn KeyValue>,
    far: Arc<Gated>,
    mailboxes: Arc<Mailboxes>,
    ada: Address,
}

/// Mailboxes whose blobs lie apart; so many puts and removals go through without waiting.
async fn site(puts: usize, removals: usize) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let data: Arc<dyn KeyValue> = Arc::new(Memory::new());
    let files = Filesystem::open(folder.path().join("blobs"), 1, Packing::default()).await.unwrap();
    let gate = Semaphore::new;
    let far =
        Arc::new(Gated { files, put: gate(puts), put_waits: gate(0), remove: gate(removals), remove_waits: gate(0) });
    let mailboxes = with_inline(&data, far.clone(), 0);
    Site { _folder: folder, data, far, mailboxes, ada: "ada@example.org".parse().unwrap() }
}

fn with_inline(data: &Arc<dyn KeyValue>, far: Arc<Gated>, inline: u64) -> Arc<Mailboxes> {
    let near = KvBlobs::new(Arc::clone(data), Packing::default());
    Arc::new(Mailboxes::new(Arc::clone(data), Arc::new(Shelves::new(Shelf::new(near, Some(far), (inline, GRACE))))))
}

impl Site {
    async fn append(&self, octets: &Bytes, now: i64) -> u32 {
        let message = NewMessage { octets: octets.len() as u64, ..NewMessage::default() };
        let appended = self.mailboxes.append((&self.ada, "INBOX"), (message, octets.clone()), None, now).await;
        appended.unwrap().uid
    }

    async fn expunge(&self, uid: u32, now: i64) {
        let deleted = Flags { system: Flags::DELETED, ..Flags::default() };
        self.mailboxes.flag((&self.ada, INBOX), &[uid], (How::Add, &deleted, None), now).await.unwrap();
        assert_eq!(self.mailboxes.expunge((&self.ada, INBOX), None, now).await.unwrap(), [uid]);
    }

    async fn reads(&self, octets: &Bytes) {
        let got = self.mailboxes.octets(BlobId::of(octets), 0..u64::MAX).await.unwrap();
        assert!(got == octets);
    }

    async fn keys(&self, prefix: &[u8]) -> usize {
        self.data.scan(KeyRange::prefix(prefix), Page::first(PAGE_MOST)).await.unwrap().len()
    }

    /// Nothing of any blob is left, but notes that somebody referred to one.
    async fn is_clean(&self) {
        assert_eq!(self.keys(b"B").await + self.keys(b"R").await, 0);
        assert_eq!(self.far.list(None, 10).await.unwrap(), []);
    }
}

fn octets(size: usize) -> Bytes {
    vec![b'x'; size].into()
}

#[tokio::test]
async fn what_nothing_refers_to_is_collected_from_both_stores_after_its_grace() {
    let site = site(9, 9).await;
    let (small, large) = (octets(10), octets(300_000));
    for octets in [&small, &large] {
        let uid = site.append(octets, 0).await;
        site.reads(octets).await;
        assert!(site.far.size(BlobId::of(octets)).await.unwrap().is_some());
        assert_eq!(site.mailboxes.collect(GRACE + 1).await.unwrap(), 0);
        site.reads(octets).await;
        site.expunge(uid, 1000).await;
        assert_eq!(site.mailboxes.collect(1000 + GRACE).await.unwrap(), 0);
        assert_eq!(site.mailboxes.collect(1001 + GRACE).await.unwrap(), 1);
        site.is_clean().await;
    }
}

#[tokio::test]
async fn a_blob_that_is_put_while_it_is_being_removed_apart_is_not_lost() {
    let site = site(9, 0).await;
    let octets = octets(300_000);
    let uid = site.append(&octets, 0).await;
    site.expunge(uid, 0).await;
    let mailboxes = Arc::clone(&site.mailboxes);
    let collector = tokio::spawn(async move { mailboxes.collect(GRACE + 1).await });
    site.far.remove_waits.acquire().await.unwrap().forget();
    let uid = site.append(&octets, GRACE + 2).await;
    site.far.remove.add_permits(9);
    assert_eq!(collector.await.unwrap().unwrap(), 1);
    assert_eq!(site.far.size(BlobId::of(&octets)).await.unwrap(), None);
    site.reads(&octets).await;
    site.expunge(uid, 5000).await;
    site.mailboxes.collect(5001 + GRACE).await.unwrap();
    site.is_clean().await;
}

#[tokio::test]
async fn a_collector_that_died_while_removing_is_followed_by_another() {
    let site = site(9, 0).await;
    let octets = octets(300_000);
    let uid = site.append(&octets, 0).await;
    site.expunge(uid, 0).await;
    let mailboxes = Arc::clone(&site.mailboxes);
    let collector = tokio::spawn(async move { mailboxes.collect(GRACE + 1).await });
    site.far.remove_waits.acquire().await.unwrap().forget();
    collector.abort();
    site.far.remove.add_permits(9);
    let uid = site.append(&octets, GRACE + 2).await;
    site.mailboxes.collect(GRACE + 3).await.unwrap();
    assert!(site.far.size(BlobId::of(&octets)).await.unwrap().is_some(), "the note is not old enough");
    site.mailboxes.collect(GRACE + 3 + DOOMED).await.unwrap();
    assert_eq!(site.far.size(BlobId::of(&octets)).await.unwrap(), None);
    site.reads(&octets).await;
    site.expunge(uid, 2 * DOOMED).await;
    site.mailboxes.collect(2 * DOOMED + GRACE + 1).await.unwrap();
    site.is_clean().await;
}

#[tokio::test]
async fn a_writer_that_is_slower_than_its_pin_writes_again() {
    let site = site(0, 9).await;
    let octets = octets(300_000);
    let mailboxes = Arc::clone(&site.mailboxes);
    let (ada, put) = (site.ada.clone(), octets.clone());
    let message = NewMessage { octets: put.len() as u64, ..NewMessage::default() };
    let writer = tokio::spawn(async move { mailboxes.append((&ada, "INBOX"), (message, put), None, 0).await });
    site.far.put_waits.acquire().await.unwrap().forget();
    // Pinned, and so left alone.
    assert_eq!(site.mailboxes.collect(PIN - 1).await.unwrap(), 0);
    assert!(site.far.size(BlobId::of(&octets)).await.unwrap().is_some());
    assert_eq!(site.mailboxes.collect(PIN + GRACE + 1).await.unwrap(), 1);
    assert_eq!(site.far.size(BlobId::of(&octets)).await.unwrap(), None);
    site.far.put.add_permits(9);
    writer.await.unwrap().unwrap();
    site.reads(&octets).await;
}

#[tokio::test]
async fn blobs_are_found_wherever_they_were_put_when_the_size_was_another() {
    let mut site = site(99, 99).await;
    let (small, large) = (octets(1000), octets(300_000));
    let first = site.append(&small, 0).await;
    site.mailboxes = with_inline(&site.data, site.far.clone(), 400_000);
    site.append(&large, 0).await;
    assert_eq!(site.far.size(BlobId::of(&large)).await.unwrap(), None);
    site.reads(&small).await;
    // Now in both: the later one does not rely on the other.
    site.append(&small, 0).await;
    site.expunge(first, 0).await;
    site.mailboxes.collect(PIN + GRACE + 1).await.unwrap();
    site.mailboxes = with_inline(&site.data, site.far.clone(), 0);
    for octets in [&small, &large] {
        site.reads(octets).await;
        site.append(octets, 9000).await;
        site.reads(octets).await;
    }
    for entry in site.mailboxes.entries(&site.ada, INBOX).await.unwrap() {
        site.expunge(entry.uid, 10_000).await;
    }
    site.mailboxes.collect(10_000 + PIN + GRACE + 1).await.unwrap();
    site.is_clean().await;
}
