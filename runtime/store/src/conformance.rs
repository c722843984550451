//! One suite for each kind of store: what the trait means, whoever keeps it.
//!
//! Each suite expects an empty store and leaves something behind.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, clippy::panic, reason = "a failing suite panics")]

use crate::error::CommitError;
use crate::kv::{Batch, Key, KeyRange, KeyValue, Page, VALUE_MOST};
use crate::lookup::{Clock, Lookups};
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

mod blob;
#[cfg(test)]
mod broken;
mod search;

pub use blob::{BLOBS, Damage, blobs_damaged, blobs_within};
pub use search::{MANY, Make as MakeSearch, SEARCH};

/// One case of a suite.
pub struct Case<S> {
    /// What it is about.
    pub about: &'static str,
    /// Asks a store. It panics where the store does not keep what it promises.
    pub ask: fn(S) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Goes through the cases of a suite, in their order.
pub async fn suite<S: Clone>(cases: &[Case<S>], store: S) {
    for case in cases {
        (case.ask)(store.clone()).await;
    }
}

macro_rules! cases {
    ($($about:literal: $case:path),* $(,)?) => { &[$(Case { about: $about, ask: |store| Box::pin($case(store)) }),*] };
}
use cases;

/// Makes a lookup store that goes by a clock.
pub type MakeLookups = Arc<dyn Fn(Clock) -> Arc<dyn Lookups> + Send + Sync>;

/// What a data store keeps.
pub const KEY_VALUE: &[Case<Arc<dyn KeyValue>>] = cases! {
    "order and ranges": order_and_ranges,
    "edges of ranges": edges,
    "asserts": asserts,
    "limits and pages": limits,
    "counters that many raise": concurrent_counters,
    "watching": watching,
};

/// What a lookup store keeps.
pub const LOOKUPS: &[Case<MakeLookups>] = cases! {
    "counters": counters,
    "facts": facts,
    "leases": leases,
    "names and ends": names_and_ends,
};

fn text(values: &[(Key, Bytes)]) -> Vec<String> {
    values.iter().map(|(key, value)| format!("{key:?}={}", value.escape_ascii())).collect()
}

async fn order_and_ranges(store: Arc<dyn KeyValue>) {
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

async fn edges(store: Arc<dyn KeyValue>) {
    let range = |from: &str, to: &str| KeyRange { from: from.into(), to: to.into() };
    let scan = async |from: &str, to: &str| text(&store.scan(range(from, to), Page::first(10)).await.unwrap());
    let mut batch = Batch::new();
    for key in ["oa", "oB", "ob", "oC", "oä"] {
        batch.put(key, key.as_bytes().to_vec());
    }
    store.commit(batch).await.unwrap();
    // By octets, whatever people of any country hold of it.
    let all: Vec<String> = ["oB", "oC", "oa", "ob", "oä"]
        .map(|key| format!("{:?}={}", Key::from(key), key.as_bytes().escape_ascii()))
        .into();
    assert_eq!(scan("o", "p").await, all);
    let last = store.scan(range("oC", "oa\0"), Page::last(10)).await.unwrap();
    assert_eq!(text(&last), ["oa=oa", "oC=oC"]);
    // The first key of a range is in it, the last is not.
    assert_eq!(scan("oB", "oa").await, ["oB=oB", "oC=oC"]);
    assert_eq!(scan("oB\0", "oa").await, ["oC=oC"]);
    let empty = async |from: &str, to: &str| {
        let mut batch = Batch::new();
        batch.assert_empty(range(from, to)).put("oz", "put");
        store.commit(batch).await
    };
    for (from, to) in [("oB", "oB\0"), ("oB\0", "oD"), ("o", "oB\0"), ("o", "p")] {
        assert!(matches!(empty(from, to).await, Err(CommitError::Conflict)), "{from:?} {to:?}");
    }
    assert_eq!(store.get(&["oz".into()]).await.unwrap(), [None]);
    for (from, to) in [("oB\0", "oC"), ("p", "o"), ("oC", "oC")] {
        empty(from, to).await.unwrap();
    }
    let mut batch = Batch::new();
    batch.clear(range("oB", "oC")).clear(range("ob", "oa")).put("oe", "");
    store.commit(batch).await.unwrap();
    assert_eq!(scan("o", "p").await[..4], ["oC=oC", "oa=oa", "ob=ob", "oe="]);
    // What is empty is not absent.
    let mut batch = Batch::new();
    batch.assert("oe", None).put("oe", "1");
    assert!(matches!(store.commit(batch).await, Err(CommitError::Conflict)));
    let mut batch = Batch::new();
    batch.assert("oe", Some(Bytes::new())).assert("absent", None).put("oe", "1");
    store.commit(batch).await.unwrap();
    let mut batch = Batch::new();
    batch.assert("absent", Some(Bytes::new())).put("oe", "2");
    assert!(matches!(store.commit(batch).await, Err(CommitError::Conflict)));
}

async fn asserts(store: Arc<dyn KeyValue>) {
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

async fn limits(store: Arc<dyn KeyValue>) {
    let mut batch = Batch::new();
    let value: Bytes = (0..=255).cycle().take(VALUE_MOST).collect();
    batch.put(vec![1; crate::kv::KEY_MOST], value.clone());
    store.commit(batch).await.unwrap();
    let got = store.get(&[vec![1; crate::kv::KEY_MOST].into()]).await.unwrap();
    assert!(got == [Some(value)], "a value of {VALUE_MOST} octets has changed");
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
    pages(&*store, &range, &page).await;
    let mut batch = Batch::new();
    batch.clear(range.clone());
    store.commit(batch).await.unwrap();
    assert_eq!(store.scan(range, Page::first(1)).await.unwrap().len(), 0);
}

/// A range in parts, from either end, is the range.
async fn pages(store: &dyn KeyValue, range: &KeyRange, whole: &[(Key, Bytes)]) {
    for backwards in [false, true] {
        let (mut left, mut found) = (range.clone(), Vec::new());
        loop {
            // As many as fill the last page, too.
            let page = store.scan(left.clone(), Page { most: 100, backwards }).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            match backwards {
                true => left.to = last.clone(),
                false => left.from = [&last.0[..], &[0]].concat().into(),
            }
            found.extend(page);
        }
        if backwards {
            found.reverse();
        }
        assert!(found == whole, "{} entries of {} in pages", found.len(), whole.len());
    }
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

/// A lookup store, and a clock that goes on by hand.
struct Timed {
    store: Arc<dyn Lookups>,
    time: Arc<AtomicI64>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Timed {
    fn new(make: &MakeLookups) -> Timed {
        let time = Arc::new(AtomicI64::new(1_000_000));
        let clock = Arc::clone(&time);
        Timed { store: make(Arc::new(move || clock.load(Ordering::SeqCst))), time }
    }

    fn pass(&self, wait: Duration) {
        self.time.fetch_add(i64::try_from(wait.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

async fn counters(make: MakeLookups) {
    let at = Timed::new(&make);
    assert_eq!(at.store.add("c", 0, MINUTE).await.unwrap(), 0);
    assert_eq!(at.store.add("c", 2, MINUTE).await.unwrap(), 2);
    at.pass(MINUTE / 2);
    assert_eq!(at.store.add("c", -5, MINUTE).await.unwrap(), -3);
    at.pass(MINUTE / 2 + Duration::from_secs(1));
    assert_eq!(at.store.add("c", 1, MINUTE).await.unwrap(), 1);
}

async fn facts(make: MakeLookups) {
    let at = Timed::new(&make);
    let fact = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    assert_eq!(at.store.note("f", fact("one"), MINUTE).await.unwrap(), None);
    assert_eq!(at.store.note("f", None, MINUTE).await.unwrap(), fact("one"));
    assert_eq!(at.store.note("f", fact("two"), MINUTE).await.unwrap(), fact("one"));
    at.pass(MINUTE + Duration::from_secs(1));
    assert_eq!(at.store.note("f", None, MINUTE).await.unwrap(), None);
    assert!(at.store.note(&"n".repeat(crate::lookup::NAME_MOST + 1), None, MINUTE).await.is_err());
}

async fn leases(make: MakeLookups) {
    let at = Timed::new(&make);
    let first = at.store.lease("l", MINUTE).await.unwrap().unwrap();
    assert!(at.store.lease("l", MINUTE).await.unwrap().is_none());
    at.store.release(first.clone()).await.unwrap();
    let second = at.store.lease("l", MINUTE).await.unwrap().unwrap();
    assert!(second.number > first.number);
    at.store.release(first).await.unwrap();
    assert!(at.store.lease("l", MINUTE).await.unwrap().is_none());
    at.pass(MINUTE + Duration::from_secs(1));
    assert!(at.store.lease("l", MINUTE).await.unwrap().unwrap().number > second.number);
}

async fn names_and_ends(make: MakeLookups) {
    let at = Timed::new(&make);
    let (store, minute) = (&at.store, MINUTE);
    // Counters, facts and leases of one name have nothing to do with each other, nor those of another name.
    assert_eq!(store.add("same", 7, minute).await.unwrap(), 7);
    assert_eq!(store.note("same", Some("fact".into()), 2 * minute).await.unwrap(), None);
    let held = store.lease("same", minute).await.unwrap().unwrap();
    assert_eq!(store.add("same", 0, minute).await.unwrap(), 7);
    assert_eq!(store.add("same ", 0, minute).await.unwrap(), 0);
    assert_eq!(store.add("SAME", 1, minute).await.unwrap(), 1);
    // A lease of another number is not ours to give back.
    store.release(crate::lookup::Lease { number: held.number + 1, ..held.clone() }).await.unwrap();
    assert_eq!(store.lease("same", minute).await.unwrap(), None);
    // Adding 0 begins nothing; reading prolongs nothing; noting again does.
    assert_eq!(store.add("zero", 0, minute).await.unwrap(), 0);
    at.pass(minute / 2);
    assert_eq!(store.add("zero", 3, minute).await.unwrap(), 3);
    assert_eq!(store.note("same", None, 9 * minute).await.unwrap(), Some("fact".into()));
    at.pass(minute / 2 + Duration::from_millis(1));
    assert_eq!(store.add("zero", 0, minute).await.unwrap(), 3);
    assert_eq!(store.add("same", 0, minute).await.unwrap(), 0);
    assert_eq!(store.note("same", Some("again".into()), 2 * minute).await.unwrap(), Some("fact".into()));
    at.pass(minute + minute / 2);
    assert_eq!(store.note("same", None, minute).await.unwrap(), Some("again".into()));
    at.pass(minute);
    assert_eq!(store.note("same", None, minute).await.unwrap(), None);
    let large = Bytes::from(vec![b'x'; crate::lookup::FACT_MOST]);
    assert_eq!(store.note("large", Some(large.clone()), minute).await.unwrap(), None);
    assert_eq!(store.note("large", None, minute).await.unwrap(), Some(large.clone()));
    let larger = Bytes::from([&large[..], b"x"].concat());
    assert!(store.note("large", Some(larger), minute).await.is_err());
}
