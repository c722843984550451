//! Passes over stores in memory: what they write, where they are cut off, and what becomes of lost answers.
#![allow(clippy::unwrap_used)]

use super::keys::{self, Outline};
use super::mark::Filling;
use super::*;
use crate::blob::BlobId;
use crate::blob::kv::KvBlobs;
use crate::blob::packed::Packing;
use crate::kv::memory::Memory;
use crate::kv::strict::Strict;
use crate::kv::strict::tests::databases;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

type Entries = BTreeMap<Key, Bytes>;

/// A sequence that looks like chance (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % most
    }

    /// One of few keys, so that two sides have many in common; some are no data's.
    fn entry(&mut self) -> (Key, Bytes) {
        let kinds = [&b"Ma"[..], b"Me", b"Qm", b"Rb", b"Z", b"Bh", b"Lc", b"Mi", b"Mx", b"S", b"Xq"];
        let kind = kinds[usize::try_from(self.below(kinds.len() as u64)).unwrap()];
        let key = [kind, &self.below(4_000).to_be_bytes()[6..]].concat();
        (key.into(), Bytes::from(vec![b'v'; usize::try_from(self.below(40)).unwrap()]))
    }

    fn entries(&mut self, most: u64) -> Entries {
        (0..self.below(most)).map(|_| self.entry()).collect()
    }
}

async fn put(store: &dyn KeyValue, entries: &Entries) {
    let mut batch = Batch::new();
    for (key, value) in entries {
        batch.put(key.clone(), value.clone());
    }
    commit(store, batch).await.unwrap();
}

/// What a store holds of a part.
async fn held(store: &dyn KeyValue, part: Part) -> Entries {
    let mut all = Entries::new();
    for mut range in part.ranges() {
        while let Ok(page) = store.scan(range.clone(), Page::first(PAGE_MOST)).await
            && let Some((last, _)) = page.last()
        {
            range.from = after(last);
            all.extend(page);
        }
    }
    all
}

/// Memory that counts what is written into it, and that can be told to fail after so many batches.
struct Counting {
    memory: Arc<dyn KeyValue>,
    writes: AtomicUsize,
    left: AtomicI64,
}

impl Counting {
    fn over(memory: &Arc<dyn KeyValue>, left: i64) -> Arc<Counting> {
        Arc::new(Counting { memory: Arc::clone(memory), writes: AtomicUsize::new(0), left: AtomicI64::new(left) })
    }
}

#[async_trait]
impl KeyValue for Counting {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.memory.get(keys).await
    }
    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        self.memory.scan(keys, page).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(StoreError::Unavailable(Cause::new("killed")).into());
        }
        // One is the mark's.
        self.writes.fetch_add(batch.writes.len() - 1, Ordering::Relaxed);
        self.memory.commit(batch).await
    }
    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        self.memory.watch(key).await
    }
}

async fn measured(store: &Arc<dyn KeyValue>) -> Outline {
    Outline::measure(Arc::clone(store), Part::Data, &mut |_| ()).await.unwrap()
}

async fn passed(outline: &mut Outline, old: &Arc<dyn KeyValue>, filling: &Arc<Filling>, last: bool) -> Passed {
    outline.pass((old, filling), (last, &Enough::default()), &mut |_| ()).await.unwrap()
}

#[tokio::test]
async fn a_pass_writes_what_differs_and_nothing_else() {
    for seed in 0..60 {
        let mut chance = Chance(seed);
        let (old, memory): (Arc<dyn KeyValue>, Arc<dyn KeyValue>) = (Arc::new(Memory::new()), Arc::new(Memory::new()));
        let new = Counting::over(&memory, i64::MAX);
        let filling = Arc::new(Filling::begin(new.clone(), Part::Data, "here").await.unwrap());
        let (before, there) = (chance.entries(6_000), chance.entries(3_000));
        put(&*old, &before).await;
        put(&*memory, &there).await;
        let mut outline = measured(&old).await;
        for round in 0..4 {
            let (wanted, found) = (held(&*old, Part::Data).await, held(&*memory, Part::Data).await);
            let differ = wanted.iter().filter(|(key, value)| found.get(*key) != Some(value)).count()
                + found.keys().filter(|key| !wanted.contains_key(*key)).count();
            let counted = new.writes.load(Ordering::Relaxed);
            let passed = passed(&mut outline, &old, &filling, round == 3).await;
            assert_eq!(new.writes.load(Ordering::Relaxed) - counted, differ, "seed {seed}, pass {round}");
            assert_eq!(passed.changes, differ as u64);
            assert_eq!(passed.amount.items, wanted.len() as u64);
            assert_eq!(held(&*memory, Part::Data).await, wanted);
            // A server goes on with the old one.
            let mut batch = Batch::new();
            for (key, _) in wanted.iter().filter(|_| chance.below(9) == 0) {
                batch.remove(key.clone());
            }
            commit(&*old, batch).await.unwrap();
            put(&*old, &chance.entries(600)).await;
        }
        // What is no part of it is as it was.
        let others = |entries: Entries| -> Entries {
            let ranges = Part::Data.ranges();
            entries.into_iter().filter(|(key, _)| !ranges.iter().any(|range| range.holds(key))).collect()
        };
        for (key, value) in others(there) {
            assert_eq!(memory.get(&[key]).await.unwrap(), [Some(value)]);
        }
        filling.finish().await.unwrap();
        assert!(!mark::is_begun(&*memory, Part::Data).await.unwrap());
    }
}

/// The sum is of what is there, not of how it was read.
#[tokio::test]
async fn the_sum_depends_on_no_order_and_on_every_octet() {
    let mut chance = Chance(7);
    let old: Arc<dyn KeyValue> = Arc::new(Memory::new());
    put(&*old, &chance.entries(9_000)).await;
    let mut sums = Vec::new();
    for _ in 0..2 {
        let new: Arc<dyn KeyValue> = Arc::new(Memory::new());
        let filling = Arc::new(Filling::begin(new.clone(), Part::Data, "here").await.unwrap());
        let mut outline = measured(&old).await;
        passed(&mut outline, &old, &filling, false).await;
        sums.push(passed(&mut outline, &old, &filling, true).await.sum);
        put(&*old, &Entries::from([(Key::from("Ma one more"), Bytes::from("value"))])).await;
        sums.push(passed(&mut outline, &old, &filling, true).await.sum);
        let mut batch = Batch::new();
        batch.remove("Ma one more");
        commit(&*old, batch).await.unwrap();
    }
    assert!(sums[0] == sums[2] && sums[1] == sums[3] && sums[0] != sums[1]);
    assert_eq!(sums[0].to_string().len(), 64);
}

#[tokio::test]
async fn a_copy_that_is_cut_off_anywhere_goes_on_where_it_was() {
    let mut chance = Chance(3);
    let old: Arc<dyn KeyValue> = Arc::new(Memory::new());
    let large: Entries = (0..800_u32)
        .map(|n| (Key::from([&b"Me"[..], &n.to_be_bytes()].concat()), Bytes::from(vec![n.to_be_bytes()[3]; 60_000])))
        .collect();
    for some in large.iter().collect::<Vec<_>>().chunks(100) {
        put(&*old, &some.iter().map(|(key, value)| ((*key).clone(), (*value).clone())).collect()).await;
    }
    put(&*old, &chance.entries(3_000)).await;
    let wanted = held(&*old, Part::Data).await;
    let memory: Arc<dyn KeyValue> = Arc::new(Memory::new());
    let mut runs = 0;
    loop {
        runs += 1;
        // Each run comes as far as its mark and one batch.
        let new = Counting::over(&memory, 2);
        let filling = Filling::begin(new.clone(), Part::Data, "here").await.unwrap();
        let before = new.writes.load(Ordering::Relaxed);
        if keys::copy(&old, &filling, &mut |_| ()).await.is_ok() {
            break;
        }
        let written = new.writes.load(Ordering::Relaxed) - before;
        assert!(written > 0, "run {runs} came nowhere");
    }
    assert!(runs > 8, "{runs}");
    assert_eq!(held(&*memory, Part::Data).await, wanted);
    let elsewhere = Filling::begin(memory, Part::Data, "elsewhere").await.err().unwrap();
    assert!(elsewhere.to_string().contains("from here"), "{elsewhere}");
}

#[tokio::test]
async fn of_two_runs_the_first_one_stops() {
    let (old, new): (Arc<dyn KeyValue>, Arc<dyn KeyValue>) = (Arc::new(Memory::new()), Arc::new(Memory::new()));
    put(&*old, &Chance(5).entries(500)).await;
    let first = Filling::begin(new.clone(), Part::Data, "here").await.unwrap();
    let second = Filling::begin(new, Part::Data, "here").await.unwrap();
    let refused = keys::copy(&old, &first, &mut |_| ()).await.unwrap_err();
    assert!(refused.to_string().contains("another"), "{refused}");
    assert!(first.finish().await.is_err());
    keys::copy(&old, &second, &mut |_| ()).await.unwrap();
    second.finish().await.unwrap();
}

/// On a bare database that loses answers, and lets batches happen long after: none may bring an old value back.
#[tokio::test]
async fn lost_and_late_answers_change_nothing() {
    for seed in 1..=120 {
        let mut chance = Chance(seed);
        let old: Arc<dyn KeyValue> = Arc::new(Memory::new());
        let new: Arc<dyn KeyValue> = Arc::new(Strict::new(Arc::new(|| 0), Some(seed)));
        put(&*old, &chance.entries(400)).await;
        let mut outline = measured(&old).await;
        let filling = Arc::new(Filling::begin(new.clone(), Part::Data, "here").await.unwrap());
        keys::copy(&old, &filling, &mut |_| ()).await.unwrap();
        for round in 0..6 {
            let mut batch = Batch::new();
            for (key, _) in held(&*old, Part::Data).await.into_iter().filter(|_| chance.below(5) == 0) {
                batch.remove(key);
            }
            commit(&*old, batch).await.unwrap();
            put(&*old, &chance.entries(200)).await;
            passed(&mut outline, &old, &filling, round == 5).await;
        }
        filling.finish().await.unwrap();
        for n in 0..20_u8 {
            // What is late comes with others' batches.
            let mut batch = Batch::new();
            batch.put(vec![b'X', b'q', n], "");
            let _ = new.commit(batch).await;
        }
        assert_eq!(held(&*new, Part::Data).await, held(&*old, Part::Data).await, "seed {seed}");
        assert!(!mark::is_begun(&*new, Part::Data).await.unwrap(), "seed {seed}");
    }
}

#[tokio::test]
async fn keys_move_between_databases_that_lose_answers() {
    for (from, to) in databases().await.into_iter().zip(databases().await.into_iter().rev()) {
        put(&*from, &Chance(11).entries(2_000)).await;
        let mut outline = measured(&from).await;
        let filling = Arc::new(Filling::begin(to.clone(), Part::Data, "here").await.unwrap());
        keys::copy(&from, &filling, &mut |_| ()).await.unwrap();
        let last = passed(&mut outline, &from, &filling, true).await;
        assert_eq!((last.changes, last.amount), (0, outline.amount));
        filling.finish().await.unwrap();
        assert_eq!(held(&*to, Part::Data).await, held(&*from, Part::Data).await);
    }
}

/// A store into which somebody else writes all the time.
struct Restless(Memory, AtomicUsize);

#[async_trait]
impl KeyValue for Restless {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.0.get(keys).await
    }
    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        let mut batch = Batch::new();
        batch.put("Ma restless", self.1.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec());
        self.0.commit(batch).await.unwrap();
        self.0.scan(keys, page).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.0.commit(batch).await
    }
    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        self.0.watch(key).await
    }
}

#[tokio::test]
async fn what_never_is_alike_is_no_success() {
    let old: Arc<dyn KeyValue> = Arc::new(Restless(Memory::new(), AtomicUsize::new(0)));
    let new: Arc<dyn KeyValue> = Arc::new(Memory::new());
    let filling = Arc::new(Filling::begin(new, Part::Data, "here").await.unwrap());
    let mut outline = measured(&old).await;
    let never = outline.pass((&old, &filling), (true, &Enough::default()), &mut |_| ()).await.unwrap_err();
    assert!(matches!(never, StoreError::Corrupt { .. }), "{never}");
}

fn kv_blobs(data: &Arc<dyn KeyValue>) -> Arc<dyn Blobs> {
    Arc::new(KvBlobs::new(Arc::clone(data), Packing::default()))
}

fn sides(old: &Arc<dyn Blobs>, new: &Arc<dyn Blobs>) -> blobs::Sides {
    blobs::Sides { from: Arc::clone(old), to: Arc::clone(new), above: 0 }
}

#[tokio::test]
async fn blobs_that_move_out_of_a_database_leave_it_and_small_ones_stay() {
    let (old_data, new_data): (Arc<dyn KeyValue>, Arc<dyn KeyValue>) =
        (Arc::new(Memory::new()), Arc::new(Memory::new()));
    let (old, new) = (kv_blobs(&old_data), kv_blobs(&new_data));
    let octets = |n: u8| Bytes::from(vec![n; usize::from(n) * 1_000 + 1]);
    for n in 0..20 {
        old.put(octets(n)).await.unwrap();
    }
    let sides = blobs::Sides { above: 10_000, ..sides(&old, &new) };
    let passed = blobs::pass(&sides, (blobs::How::First, &Enough::default()), &mut |_| ()).await.unwrap();
    assert_eq!(passed.amount.items, 10);
    assert_eq!(blobs::clear(&sides).await.unwrap(), 10);
    for n in 0..20 {
        let (there, gone) = if n < 10 { (&old, &new) } else { (&new, &old) };
        let id = BlobId::of(&octets(n));
        assert!(there.size(id).await.unwrap().is_some() && gone.size(id).await.unwrap().is_none(), "{n}");
    }
}

#[tokio::test]
async fn blobs_come_along_and_what_nothing_refers_to_goes() {
    let (old_data, new_data): (Arc<dyn KeyValue>, Arc<dyn KeyValue>) =
        (Arc::new(Memory::new()), Arc::new(Memory::new()));
    let (old, new) = (kv_blobs(&old_data), kv_blobs(&new_data));
    let octets = |n: u8| Bytes::from(vec![n; usize::from(n) * 40_000 + 1]);
    for n in 0..40 {
        old.put(octets(n)).await.unwrap();
    }
    blobs::must_be_empty(&*new).await.unwrap();
    let sides = sides(&old, &new);
    let enough = Enough::default();
    let first = blobs::pass(&sides, (blobs::How::First, &enough), &mut |_| ()).await.unwrap();
    assert_eq!((first.changes, first.amount.items), (40, 40));
    assert!(blobs::must_be_empty(&*new).await.is_err());
    // Collected and come meanwhile.
    old.remove(BlobId::of(&octets(3))).await.unwrap();
    old.remove(BlobId::of(&octets(4))).await.unwrap();
    old.put(octets(50)).await.unwrap();
    let again = blobs::pass(&sides, (blobs::How::Again, &enough), &mut |_| ()).await.unwrap();
    assert_eq!((again.changes, again.amount.items), (1, 39));
    // One that the new data refers to stays, whatever the old store lists.
    let holder = layout::held_by_queue(BlobId::of(&octets(4)), 1);
    put(&*new_data, &Entries::from([(holder, Bytes::new())])).await;
    let how = blobs::How::Last(Some(new_data.clone()));
    let last = blobs::pass(&sides, (how, &enough), &mut |_| ()).await.unwrap();
    assert_eq!((last.changes, last.amount.items), (1, 39));
    assert_eq!(new.size(BlobId::of(&octets(3))).await.unwrap(), None);
    assert!(new.size(BlobId::of(&octets(4))).await.unwrap().is_some());
    for n in (0..40).chain([50]).filter(|n| *n != 3 && *n != 4) {
        assert_eq!(blobs::whole(&*new, BlobId::of(&octets(n)), octets(n).len() as u64).await.unwrap(), octets(n));
    }
    let listed = blobs::list(&old, 10).await.unwrap();
    assert!(listed.items == 39 && listed.first.len() == 10 && !listed.is_exact() && listed.octets() > 0);
    assert!(blobs::list(&old, 100).await.unwrap().is_exact());
    let before = new.list(None, 100).await.unwrap();
    assert!(blobs::sample(&sides, &listed).await.unwrap() > 0);
    assert_eq!(new.list(None, 100).await.unwrap(), before);
}

/// What the first pass of a run finds damaged in the new store is put again.
#[tokio::test]
async fn a_damaged_blob_is_mended_by_the_next_run() {
    let (old_data, new_data): (Arc<dyn KeyValue>, Arc<dyn KeyValue>) =
        (Arc::new(Memory::new()), Arc::new(Memory::new()));
    let (old, new) = (kv_blobs(&old_data), kv_blobs(&new_data));
    let octets = Bytes::from(vec![7; 100_000]);
    let id = old.put(octets.clone()).await.unwrap();
    new.put(octets.clone()).await.unwrap();
    let frames = new_data.scan(KeyRange::prefix(b"Bc"), Page::first(10)).await.unwrap();
    let mut batch = Batch::new();
    batch.put(frames[0].0.clone(), "x");
    new_data.commit(batch).await.unwrap();
    blobs::pass(&sides(&old, &new), (blobs::How::First, &Enough::default()), &mut |_| ()).await.unwrap();
    assert_eq!(blobs::whole(&*new, id, 100_000).await.unwrap(), octets);
}

fn store(path: &str) -> Store {
    Store::Filesystem { path: path.to_owned(), depth: 2 }
}

#[tokio::test]
async fn a_store_that_is_taken_lets_nobody_in_until_its_mover_is_gone() {
    let data: Arc<dyn KeyValue> = Arc::new(Memory::new());
    let beat = layout::beat("one");
    put(&*data, &Entries::from([(beat.clone(), Bytes::from("1"))])).await;
    let (here, there) = (store("here"), store("there"));
    check(&*data, &here).await.unwrap();
    let seen = beats(&*data).await.unwrap();
    let taken = Taken::signed_every(Duration::from_millis(5), data.clone(), seen.clone()).await.unwrap();
    let busy = is_free(&*data, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(&busy, StoreError::Unavailable(why) if why.to_string().contains("being moved")), "{busy}");
    // Killed: its sign stands still, and the next who looks takes it away.
    drop(taken);
    is_free(&*data, Duration::from_millis(100)).await.unwrap();
    check(&*data, &here).await.unwrap();
    // A server that came all the same is noticed before anything is closed.
    for beats_now in [vec![(beat.clone(), "2")], vec![(beat.clone(), "1"), (layout::beat("two"), "1")]] {
        let taken = Taken::signed(data.clone(), seen.clone()).await.unwrap();
        let came = beats_now.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect();
        put(&*data, &came).await;
        assert!(taken.close(&there).await.is_err());
        assert_eq!(moved_to(&*data).await.unwrap(), None);
        let mut batch = Batch::new();
        batch.remove(layout::beat("two")).put(beat.clone(), "1");
        data.commit(batch).await.unwrap();
    }
    Taken::signed(data.clone(), seen.clone()).await.unwrap().release().await.unwrap();
    check(&*data, &here).await.unwrap();
    Taken::signed(data.clone(), seen).await.unwrap().close(&there).await.unwrap();
    let gone = check(&*data, &here).await.unwrap_err();
    assert!(gone.to_string().contains("moved to the filesystem there"), "{gone}");
    reopen(&*data).await.unwrap();
    check(&*data, &here).await.unwrap();
}

#[tokio::test]
async fn where_blobs_were_moved_no_server_looks_for_them_elsewhere() {
    let data: Arc<dyn KeyValue> = Arc::new(Memory::new());
    let (here, there) = (store("here"), store("there"));
    let new = kv_blobs(&(Arc::new(Memory::new()) as Arc<dyn KeyValue>));
    begin_blobs(&*data, &*new, &there).await.unwrap();
    // The old server goes on; one with the new configuration waits for the end.
    check(&*data, &here).await.unwrap();
    assert!(check(&*data, &there).await.unwrap_err().to_string().contains("not finished"));
    new.put(Bytes::from("octets")).await.unwrap();
    begin_blobs(&*data, &*new, &there).await.unwrap();
    Taken::locked(data.clone()).await.unwrap().turn(&there).await.unwrap();
    check(&*data, &there).await.unwrap();
    assert!(check(&*data, &here).await.unwrap_err().to_string().contains("moved to the filesystem there"));
    assert!(begin_blobs(&*data, &*new, &store("third")).await.unwrap_err().to_string().contains("not empty"));
}
