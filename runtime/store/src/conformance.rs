//! One suite for each kind of store: what the trait means, whoever keeps it.
//!
//! Each suite expects an empty store and leaves something behind.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, clippy::panic, reason = "a failing suite panics")]

use crate::blob::{BlobId, Blobs};
use crate::error::CommitError;
use crate::kv::{Batch, Key, KeyRange, KeyValue, Page, VALUE_MOST};
use crate::lookup::{Clock, Lookups};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

mod search;

pub use search::{Make as MakeSearch, many as search_many, search};

fn text(values: &[(Key, Bytes)]) -> Vec<String> {
    values.iter().map(|(key, value)| format!("{key:?}={}", value.escape_ascii())).collect()
}

/// What a data store keeps.
pub async fn key_value(store: Arc<dyn KeyValue>) {
    order_and_ranges(&*store).await;
    asserts(&*store).await;
    limits(&*store).await;
    concurrent_counters(Arc::clone(&store)).await;
    watching(store).await;
}

async fn order_and_ranges(store: &dyn KeyValue) {
    let mut batch = Batch::new();
    for key in ["b", "a", "c", "aa", "a\0", "\u{ff}"] {
        batch.put(key, key.as_bytes().to_vec());
    }
    batch.remove("c").put("c", "again").put("d", "").remove("b");
    store.commit(batch).await.unwrap();
    let all = KeyRange { from: "a".into(), to: "e".into() };
    let forward = store.scan(all.clone(), Page::first(10)).await.unwrap();
    assert_eq!(text(&forward), ["a=a", r"a\x00=a\x00", "aa=aa", "c=again", "d="]);
    let backward = store.scan(all.clone(), Page::last(2)).await.unwrap();
    assert_eq!(text(&backward), ["d=", "c=again"]);
    assert_eq!(store.scan(all.clone(), Page::first(0)).await.unwrap(), []);
    let none = KeyRange { from: "e".into(), to: "a".into() };
    assert_eq!(store.scan(none, Page::first(5)).await.unwrap(), []);
    let got = store.get(&["d".into(), "b".into(), "a".into()]).await.unwrap();
    assert_eq!(got, [Some(Bytes::new()), None, Some("a".into())]);
    // Writes of one batch happen in their order.
    let mut batch = Batch::new();
    batch.put("a1", "gone").clear(KeyRange::prefix(b"a")).put("ab", "stays");
    store.commit(batch).await.unwrap();
    assert_eq!(text(&store.scan(all, Page::first(10)).await.unwrap()), ["ab=stays", "c=again", "d="]);
}

async fn asserts(store: &dyn KeyValue) {
    let conflict = |outcome: Result<(), CommitError>| assert!(matches!(outcome, Err(CommitError::Conflict)));
    let mut batch = Batch::new();
    batch.assert("x", None).put("x", "1");
    store.commit(batch.clone()).await.unwrap();
    batch.put("never", "seen");
    conflict(store.commit(batch).await);
    let mut batch = Batch::new();
    batch.assert("x", Some("2".into())).put("x", "3");
    conflict(store.commit(batch).await);
    let mut batch = Batch::new();
    batch.assert_empty(KeyRange::prefix(b"x")).put("x", "3");
    conflict(store.commit(batch).await);
    let mut batch = Batch::new();
    batch.assert("x", Some("1".into())).assert_empty(KeyRange::prefix(b"y")).clear(KeyRange::prefix(b"x"));
    store.commit(batch).await.unwrap();
    assert_eq!(store.get(&["x".into(), "never".into()]).await.unwrap(), [None, None]);
}

async fn limits(store: &dyn KeyValue) {
    let mut batch = Batch::new();
    batch.put(vec![1; crate::kv::KEY_MOST], vec![7; VALUE_MOST]);
    store.commit(batch).await.unwrap();
    let got = store.get(&[vec![1; crate::kv::KEY_MOST].into()]).await.unwrap();
    assert_eq!(got[0].as_ref().unwrap().len(), VALUE_MOST);
    let mut batch = Batch::new();
    batch.put("large", vec![7; VALUE_MOST + 1]);
    assert!(matches!(store.commit(batch).await, Err(CommitError::Store(_))));
    let mut batch = Batch::new();
    for n in 0..2_000_u32 {
        batch.put([b"n", &n.to_be_bytes()[..]].concat(), n.to_be_bytes().to_vec());
    }
    store.commit(batch).await.unwrap();
    let range = KeyRange::prefix(b"n");
    let page = store.scan(range.clone(), Page::first(crate::kv::PAGE_MOST)).await.unwrap();
    assert!(page.len() >= 2_000 && page.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let mut batch = Batch::new();
    batch.clear(range.clone());
    store.commit(batch).await.unwrap();
    assert_eq!(store.scan(range, Page::first(1)).await.unwrap().len(), 0);
}

async fn concurrent_counters(store: Arc<dyn KeyValue>) {
    let adders: Vec<_> = (0..16)
        .map(|lazy| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..20 {
                    loop {
                        let before = store.get(&["sum".into()]).await.unwrap().pop().unwrap();
                        let now = before.as_deref().map_or(0, |octets| u64::from_be_bytes(octets.try_into().unwrap()));
                        let mut batch = Batch::new();
                        batch.lazy = lazy % 2 == 0;
                        batch.assert("sum", before).put("sum", (now + 1).to_be_bytes().to_vec());
                        match store.commit(batch).await {
                            Ok(()) => break,
                            Err(CommitError::Conflict) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            })
        })
        .collect();
    for adder in adders {
        adder.await.unwrap();
    }
    let sum = store.get(&["sum".into()]).await.unwrap().pop().unwrap().unwrap();
    assert_eq!(u64::from_be_bytes(sum.as_ref().try_into().unwrap()), 320);
}

async fn watching(store: Arc<dyn KeyValue>) {
    let watcher = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            while store.get(&["bell".into()]).await.unwrap() == [None] {
                store.watch(&"bell".into()).await.unwrap();
            }
        })
    };
    tokio::task::yield_now().await;
    let mut batch = Batch::new();
    batch.put("bell", "rung");
    store.commit(batch).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), watcher).await.unwrap().unwrap();
}

/// What a blob store keeps; `data` is the database that it lies in, if it lies in one.
pub async fn blobs(store: &dyn Blobs, data: Option<&Arc<dyn KeyValue>>) {
    let large: Bytes = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect::<Vec<_>>().into();
    for octets in [Bytes::new(), Bytes::from_static(b"small"), large.clone()] {
        let id = store.put(octets.clone()).await.unwrap();
        assert_eq!(id, BlobId::of(&octets));
        assert_eq!(store.put(octets.clone()).await.unwrap(), id);
        assert_eq!(store.size(id).await.unwrap(), Some(octets.len() as u64));
        assert_eq!(store.get(id, 0..u64::MAX).await.unwrap().unwrap(), octets);
    }
    let id = BlobId::of(&large);
    for part in [0..1, 65_535..65_537, 131_072..131_072, 999_999..2_000_000, 70_000..700_000] {
        let got = store.get(id, part.clone()).await.unwrap().unwrap();
        let (from, to) = (usize::try_from(part.start).unwrap(), usize::try_from(part.end.min(1_000_000)).unwrap());
        assert_eq!(got, large.slice(from..to), "{part:?}");
    }
    let mut listed = Vec::new();
    while let Some(next) = store.list(listed.last().copied(), 2).await.unwrap().first() {
        listed.push(*next);
    }
    assert_eq!(listed.len(), 3);
    assert!(listed.is_sorted());
    store.remove(id).await.unwrap();
    store.remove(id).await.unwrap();
    assert_eq!(store.get(id, 0..1).await.unwrap(), None);
    assert_eq!(store.size(id).await.unwrap(), None);
    assert_eq!(store.put(large.clone()).await.unwrap(), id);
    assert_eq!(store.get(id, 0..u64::MAX).await.unwrap().unwrap(), large);
    if let Some(data) = data {
        let (mut batch, octets) = (Batch::new(), Bytes::from_static(b"within a batch"));
        let id = store.put_within(&octets, data, &mut batch).unwrap();
        assert_eq!(store.get(id, 0..1).await.unwrap(), None);
        data.commit(batch).await.unwrap();
        assert_eq!(store.get(id, 0..99).await.unwrap().unwrap(), octets);
        let mut batch = Batch::new();
        assert!(store.remove_within(id, data, &mut batch).await.unwrap());
        data.commit(batch).await.unwrap();
        assert_eq!(store.get(id, 0..99).await.unwrap(), None);
    }
}

/// What a lookup store keeps; `make` makes one that goes by the given clock.
pub async fn lookups(make: impl Fn(Clock) -> Arc<dyn Lookups>) {
    let time = Arc::new(AtomicI64::new(1_000_000));
    let pass = |wait: Duration| time.fetch_add(i64::try_from(wait.as_millis()).unwrap(), Ordering::SeqCst);
    let clock = Arc::clone(&time);
    let store = make(Arc::new(move || clock.load(Ordering::SeqCst)));
    let minute = Duration::from_secs(60);
    assert_eq!(store.add("c", 0, minute).await.unwrap(), 0);
    assert_eq!(store.add("c", 2, minute).await.unwrap(), 2);
    pass(minute / 2);
    assert_eq!(store.add("c", -5, minute).await.unwrap(), -3);
    pass(minute / 2 + Duration::from_secs(1));
    assert_eq!(store.add("c", 1, minute).await.unwrap(), 1);
    let fact = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    assert_eq!(store.note("f", fact("one"), minute).await.unwrap(), None);
    assert_eq!(store.note("f", None, minute).await.unwrap(), fact("one"));
    assert_eq!(store.note("f", fact("two"), minute).await.unwrap(), fact("one"));
    pass(minute + Duration::from_secs(1));
    assert_eq!(store.note("f", None, minute).await.unwrap(), None);
    let first = store.lease("l", minute).await.unwrap().unwrap();
    assert!(store.lease("l", minute).await.unwrap().is_none());
    store.release(first.clone()).await.unwrap();
    let second = store.lease("l", minute).await.unwrap().unwrap();
    assert!(second.number > first.number);
    store.release(first).await.unwrap();
    assert!(store.lease("l", minute).await.unwrap().is_none());
    pass(minute + Duration::from_secs(1));
    assert!(store.lease("l", minute).await.unwrap().unwrap().number > second.number);
    assert!(store.note(&"n".repeat(crate::lookup::NAME_MOST + 1), None, minute).await.is_err());
}
