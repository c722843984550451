//! What blob stores promise.

use super::{Case, cases};
use crate::blob::kv::KvBlobs;
use crate::blob::packed::FRAME;
use crate::blob::{BLOB_MOST, BlobId, Blobs};
use crate::error::StoreError;
use crate::kv::{Batch, KeyValue};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// What a large message is, in octets.
const LARGE: usize = 50_000_000;
/// How much of it is read at once.
const PART: u64 = 1 << 20;

/// What happens to stored octets behind a store's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One octet of the first frame is another.
    Frame,
    /// One octet of the table is another.
    Table,
    /// The second half is gone, or the first frame.
    Cut,
}

/// Octets that can be compressed a little, and differ from frame to frame.
fn octets(size: usize, begins: u64) -> Bytes {
    let mut state = begins | 1;
    let mut octets = Vec::with_capacity(size + 64);
    while octets.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        octets.extend_from_slice(format!("{:016x} the quick brown fox jumps\r\n", state >> 8).as_bytes());
    }
    octets.truncate(size);
    octets.into()
}

async fn holds(store: &dyn Blobs, whole: &Bytes, part: Range<u64>) {
    let length = whole.len() as u64;
    let (from, to) = (part.start.min(length), part.end.min(length));
    let wanted = whole.slice(usize::try_from(from).unwrap()..usize::try_from(to.max(from)).unwrap());
    let got = store.get(BlobId::of(whole), part.clone()).await.unwrap().unwrap();
    // Not by assert_eq: nobody reads megabytes.
    assert!(got == wanted, "{part:?} of {length} octets is another");
}

/// What a blob store keeps.
pub const BLOBS: &[Case<Arc<dyn Blobs>>] = cases! {
    "whole and in parts": whole_and_parts,
    "a large one": large,
    "at once": at_once,
    "listed": listed,
    "one that is too large": too_large,
};

async fn too_large(store: Arc<dyn Blobs>) {
    let most = Bytes::from(vec![0; usize::try_from(BLOB_MOST).unwrap() + 1]);
    assert!(matches!(store.put(most).await, Err(StoreError::Full)));
}

async fn whole_and_parts(store: Arc<dyn Blobs>) {
    let sizes = [0, 5, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 1_000_000];
    for size in sizes {
        let whole = octets(size, size as u64);
        let id = store.put(whole.clone()).await.unwrap();
        assert_eq!(id, BlobId::of(&whole));
        assert_eq!(store.put(whole.clone()).await.unwrap(), id);
        assert_eq!(store.size(id).await.unwrap(), Some(size as u64));
        for part in [0..u64::MAX, 0..1, 65_535..65_537, 131_072..131_072, 999_999..2_000_000, 70_000..700_000] {
            holds(&*store, &whole, part).await;
        }
    }
    let gone = octets(1_000_000, 1_000_000);
    let id = BlobId::of(&gone);
    store.remove(id).await.unwrap();
    store.remove(id).await.unwrap();
    assert_eq!(store.get(id, 0..1).await.unwrap(), None);
    assert_eq!(store.get(id, 0..u64::MAX).await.unwrap(), None);
    assert_eq!(store.size(id).await.unwrap(), None);
    assert_eq!(store.put(gone.clone()).await.unwrap(), id);
    holds(&*store, &gone, 0..u64::MAX).await;
}

async fn large(store: Arc<dyn Blobs>) {
    let whole = octets(LARGE, 7);
    let id = store.put(whole.clone()).await.unwrap();
    assert_eq!(store.put(whole.clone()).await.unwrap(), id);
    assert_eq!(store.size(id).await.unwrap(), Some(LARGE as u64));
    for from in (0..LARGE as u64).step_by(usize::try_from(PART).unwrap()) {
        holds(&*store, &whole, from..from + PART).await;
    }
    for part in [0..1, 24_999_999..25_000_001, LARGE as u64 - 1..u64::MAX] {
        holds(&*store, &whole, part).await;
    }
    store.remove(id).await.unwrap();
    assert_eq!(store.size(id).await.unwrap(), None);
    assert_eq!(store.get(id, 0..1).await.unwrap(), None);
}

/// Several put the same blob at once, and each finds it when it is done.
async fn at_once(store: Arc<dyn Blobs>) {
    for whole in [octets(100, 1), octets(100_000, 2), octets(9_000_000, 3)] {
        let putting = |whole: Bytes| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store.put(whole.clone()).await.unwrap();
                holds(&*store, &whole, 0..whole.len() as u64).await;
            })
        };
        let all: Vec<_> = (0..4).map(|_| putting(whole.clone())).collect();
        for one in all {
            one.await.unwrap();
        }
        store.remove(BlobId::of(&whole)).await.unwrap();
    }
}

async fn listed(store: Arc<dyn Blobs>) {
    let mut put = Vec::new();
    for n in 0..20 {
        put.push(store.put(octets(100 + n, 4)).await.unwrap());
    }
    let mut listed: Vec<BlobId> = Vec::new();
    loop {
        let page = store.list(listed.last().copied(), 3).await.unwrap();
        assert!(page.len() <= 3 && page.iter().all(|id| listed.last().is_none_or(|last| last < id)));
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert_eq!(store.list(None, listed.len()).await.unwrap(), listed);
    assert!(listed.is_sorted() && put.iter().all(|id| listed.contains(id)));
    // Those of `whole_and_parts` too, and nothing that was removed.
    assert_eq!(listed.len(), 27);
    assert_eq!(store.list(None, 1_000).await.unwrap(), listed);
}

/// What blobs in a database keep beside: putting and removing by its batches.
pub async fn blobs_within(store: &KvBlobs, data: &Arc<dyn KeyValue>) {
    for size in [14, 3 * FRAME] {
        let (mut batch, whole) = (Batch::new(), octets(size, 5));
        let id = store.put_within(&whole, &mut batch).await.unwrap().unwrap();
        assert_eq!(store.get(id, 0..1).await.unwrap(), None);
        data.commit(batch).await.unwrap();
        holds(store, &whole, 0..u64::MAX).await;
        let mut batch = Batch::new();
        store.remove_within(id, &mut batch).await.unwrap();
        holds(store, &whole, 0..u64::MAX).await;
        data.commit(batch.clone()).await.unwrap();
        assert_eq!(store.get(id, 0..99).await.unwrap(), None);
        // What changed since the batch was made is not removed.
        store.put(whole.clone()).await.unwrap();
        let mut batch = Batch::new();
        store.remove_within(id, &mut batch).await.unwrap();
        store.remove(id).await.unwrap();
        assert!(data.commit(batch).await.is_err());
    }
    let mut batch = Batch::new();
    let large = octets(crate::blob::WITHIN_MOST + 1, 6);
    assert_eq!(store.put_within(&large, &mut batch).await.unwrap(), None);
    assert_eq!(batch, Batch::new());
}

/// What is torn or changed behind a store's back is named, and never served; who has the octets can put them again.
pub async fn blobs_damaged(store: &dyn Blobs, damage: impl AsyncFn(BlobId, Damage)) {
    for size in [100, 200_000, 9_000_000] {
        let whole = octets(size, 8);
        for how in [Damage::Frame, Damage::Table, Damage::Cut] {
            let id = store.put(whole.clone()).await.unwrap();
            holds(store, &whole, 0..10).await;
            damage(id, how).await;
            for part in [0..10, 0..u64::MAX] {
                match store.get(id, part.clone()).await {
                    Err(StoreError::Corrupt { what }) => assert!(what.contains(&id.to_string()), "{what}"),
                    // A store may remember the table, and serve what is not damaged.
                    Ok(Some(_)) if how == Damage::Table || how == Damage::Cut && part.end == 10 => {
                        holds(store, &whole, part).await;
                    }
                    other => panic!("{how:?}, {part:?} of {size}: {other:?}"),
                }
            }
            if how == Damage::Table {
                assert_eq!(store.put(whole.clone()).await.unwrap(), id);
                holds(store, &whole, 0..u64::MAX).await;
            }
            store.remove(id).await.unwrap();
            assert_eq!(store.size(id).await.unwrap(), None);
        }
    }
}
