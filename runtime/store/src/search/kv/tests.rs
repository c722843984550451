#![allow(clippy::unwrap_used)]
use super::super::Term;
use super::*;
use crate::conformance;
use crate::error::CommitError;
use crate::kv::memory::Memory;
use crate::kv::strict::tests::databases;
use crate::kv::{Batch, Write};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

fn index_in(data: Arc<dyn KeyValue>) -> KvSearch {
    KvSearch::new(data, Analyser::new(&[]), Arc::new(|| 0))
}

fn ada() -> Address {
    "ada@example.org".parse().unwrap()
}

fn document(message: u64, text: &str) -> Document {
    let id = DocumentId { account: ada(), message };
    Document { id, texts: vec![(Field::Body, text.to_owned())], whole: true }
}

async fn found(search: &KvSearch, text: &str, how: How) -> Vec<u64> {
    let terms = vec![Term { fields: Vec::new(), text: text.to_owned() }];
    match search.find(&Query { account: ada(), terms, how, most: usize::MAX }).await.unwrap() {
        Found::Messages(messages) => messages,
        other => panic!("{text}: {other:?}"),
    }
}

/// Every row is of a segment that is part of the index, and every segment says of itself what is so.
async fn is_tidy(data: &Arc<dyn KeyValue>, search: &KvSearch) {
    let state = search.state(&ada()).await.unwrap();
    assert!(state.written.is_empty() && state.removed.is_empty(), "{state:?}");
    assert!(state.dead.keys().all(|segment| state.segments.contains_key(segment)), "{state:?}");
    assert!(state.segments.len() < LARGEST * MANY, "{state:?}");
    let mut octets: BTreeMap<SegmentId, u64> = BTreeMap::new();
    for kind in [b"St", b"Sv"] {
        let begin = prefix(kind, &ada());
        let mut range = KeyRange::prefix(&begin);
        loop {
            let page = data.scan(range.clone(), Page::first(PAGE_MOST)).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            range.from = [&last.0[..], &[0]].concat().into();
            for (key, value) in page {
                let id: SegmentId = key.0[begin.len()..begin.len() + 8].try_into().unwrap();
                *octets.entry(id).or_default() += value.len() as u64;
            }
        }
    }
    let known: BTreeMap<SegmentId, u64> = state.segments.iter().map(|(id, facts)| (*id, facts.octets)).collect();
    assert_eq!(octets, known);
    for (id, facts) in &state.segments {
        let mut messages = Vec::new();
        let each = |_, message, _: &[u8]| {
            messages.push(message);
            Ok(true)
        };
        search.lists((&ada(), id, facts), &[ALL], each).await.unwrap();
        assert_eq!(messages.len() as u64, facts.messages);
        assert!(messages.is_sorted() && messages.iter().all(|message| facts.may_have(*message)), "{facts:?}");
        assert_eq!(state.dead.get(id).map_or(0, Vec::len) as u64, facts.dead);
    }
}

#[tokio::test]
async fn an_index_in_a_database_keeps_the_contract() {
    let make: conformance::MakeSearch =
        Arc::new(|analyser| Arc::new(KvSearch::new(Arc::new(Memory::new()), analyser, Arc::new(|| 0))));
    conformance::suite(conformance::SEARCH, make).await;
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[tokio::test]
async fn whatever_comes_and_goes_in_whatever_order_what_is_there_is_found() {
    for (seed, data) in (1..).zip(databases().await) {
        let search = index_in(Arc::clone(&data));
        let mut dice = Dice(seed);
        let mut texts: BTreeMap<u64, String> = BTreeMap::new();
        for _ in 0..120 {
            // Of three mailboxes.
            let mut message = || dice.below(3) << 32 | dice.below(60);
            let some: BTreeSet<u64> = (0..4).map(|_| message()).collect();
            if dice.below(4) == 0 {
                let ids: Vec<_> = some.iter().map(|message| document(*message, "").id).collect();
                search.forget(&ids).await.unwrap();
                texts.retain(|message, _| !some.contains(message));
                continue;
            }
            let mut documents = Vec::new();
            for message in some {
                // Some are long, so that segments are of several sizes.
                let words = if dice.below(8) == 0 { 2_000 } else { 12 };
                let text: String = (0..words).map(|_| format!("w{} ", dice.below(400))).collect();
                documents.push(document(message, &text));
                texts.insert(message, text);
            }
            search.index(&documents).await.unwrap();
        }
        for word in 0..400 {
            let word = format!("w{word}");
            let having = |fits: &dyn Fn(&str) -> bool| -> Vec<u64> {
                let fit = texts.iter().filter(|(_, text)| text.split(' ').any(fits));
                fit.map(|(message, _)| *message).collect()
            };
            assert_eq!(found(&search, &word, How::Words).await, having(&|has| has == word), "{word}");
            assert_eq!(found(&search, &word, How::Part).await, having(&|has| has.contains(&word)), "{word}");
        }
        is_tidy(&data, &search).await;
        let all: Vec<_> = texts.keys().map(|message| document(*message, "").id).collect();
        search.forget(&all).await.unwrap();
        assert_eq!(data.scan(KeyRange::prefix(b"S"), Page::first(10)).await.unwrap(), []);
    }
}

/// A database in front of which the program dies: after so many commits nothing more happens.
struct Dying {
    data: Arc<dyn KeyValue>,
    left: AtomicUsize,
}

#[async_trait]
impl KeyValue for Dying {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.data.get(keys).await
    }
    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        self.data.scan(keys, page).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => self.data.commit(batch).await,
            Err(_) => Err(StoreError::Unavailable(Cause::new("the program died")).into()),
        }
    }
    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        self.data.watch(key).await
    }
}

/// A word of 60 octets.
fn word(n: u32) -> String {
    format!("{n:05}{}", "x".repeat(55))
}

/// Half a megabyte of words.
fn long(from: u32) -> String {
    (from..from + 7_900).map(|n| word(n) + " ").collect()
}

#[tokio::test]
async fn wherever_it_dies_nothing_is_half_there_and_nothing_stays_behind() {
    let now = Arc::new(AtomicI64::new(1_000));
    let clock = || -> Clock {
        let now = Arc::clone(&now);
        Arc::new(move || now.load(Ordering::SeqCst))
    };
    let mut survived = 0;
    for commits in 0.. {
        let data: Arc<dyn KeyValue> = Arc::new(Memory::new());
        let search = KvSearch::new(Arc::clone(&data), Analyser::new(&[]), clock());
        // Seven segments; the one after the next has them all merged. Both are more than one batch takes.
        for message in 0..7_u32 {
            let text = format!("before {}", long(8_000 * message));
            let kept = (0..10).map(|n| document(100 + 10 * u64::from(message) + n, "kept"));
            let some: Vec<_> = kept.chain([document(message.into(), &text)]).collect();
            search.index(&some).await.unwrap();
        }
        let dying = Arc::new(Dying { data: Arc::clone(&data), left: AtomicUsize::new(commits) });
        let dying = KvSearch::new(dying, Analyser::new(&[]), clock());
        let many: Vec<_> =
            (6..12_u32).map(|message| document(message.into(), &format!("came {}", long(8_000 * message)))).collect();
        let one = [document(20, &format!("last {}", long(0)))];
        let dead = dying.index(&many).await.is_err() || dying.index(&one).await.is_err();
        // What was there is there, and what comes is there whole or not at all.
        let came = found(&search, "came", How::Words).await;
        let stayed = found(&search, "before", How::Words).await;
        match came.is_empty() {
            true => assert_eq!(stayed, (0..7).collect::<Vec<u64>>()),
            false => assert_eq!((came, stayed), ((6..12).collect(), (0..6).collect())),
        }
        // Its successor does it again, and after a while nothing of the dead one is left.
        search.index(&many).await.unwrap();
        search.index(&one).await.unwrap();
        now.fetch_add(ABANDONED + 1, Ordering::SeqCst);
        search.index(&[document(50, "after")]).await.unwrap();
        assert_eq!(found(&search, "came", How::Words).await, (6..12).collect::<Vec<u64>>());
        assert_eq!(found(&search, "before", How::Words).await, (0..6).collect::<Vec<u64>>());
        assert_eq!(found(&search, "kept", How::Words).await, (100..170).collect::<Vec<u64>>());
        assert_eq!(found(&search, "last", How::Part).await, [20]);
        is_tidy(&data, &search).await;
        if !dead {
            break;
        }
        survived += 1;
    }
    assert!(survived > 6, "it died {survived} times");
}

#[tokio::test]
async fn who_writes_for_too_long_fails_and_loses_nothing() {
    let data: Arc<dyn KeyValue> = Arc::new(Memory::new());
    let search = index_in(Arc::clone(&data));
    let mut draft = Draft::default();
    for term in 0..60_000 {
        draft.built.push(&word(term), 1, &[0x10, 1]);
        search.make_room(&ada(), &mut draft).await.unwrap();
    }
    assert!(draft.begun.is_some());
    // Another server, by whose clock it is late.
    let other = KvSearch::new(Arc::clone(&data), Analyser::new(&[]), Arc::new(|| ABANDONED + 1));
    other.index(&[document(2, "words")]).await.unwrap();
    is_tidy(&data, &other).await;
    assert!(!search.publish(&ada(), Some(draft), &Change::Replace(&[1])).await.unwrap());
    is_tidy(&data, &other).await;
    assert_eq!(found(&search, "words", How::Words).await, [2]);
}

#[tokio::test]
async fn a_question_that_loses_its_segments_is_answered_again() {
    /// Has the index merged after the first look at it.
    struct Late {
        data: Arc<dyn KeyValue>,
        scans: AtomicUsize,
    }
    #[async_trait]
    impl KeyValue for Late {
        async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
            self.data.get(keys).await
        }
        async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
            if self.scans.fetch_add(1, Ordering::SeqCst) == 1 {
                index_in(Arc::clone(&self.data)).index(&[document(8, "words")]).await?;
            }
            self.data.scan(keys, page).await
        }
        async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
            assert!(batch.writes.iter().all(|write| !matches!(write, Write::Put(..))));
            self.data.commit(batch).await
        }
        async fn watch(&self, key: &Key) -> Result<(), StoreError> {
            self.data.watch(key).await
        }
    }
    let data: Arc<dyn KeyValue> = Arc::new(Memory::new());
    for message in 1..8 {
        index_in(Arc::clone(&data)).index(&[document(message, "words")]).await.unwrap();
    }
    let late = Arc::new(Late { data, scans: AtomicUsize::new(0) });
    assert_eq!(found(&index_in(late), "words", How::Words).await, (1..9).collect::<Vec<u64>>());
}

#[tokio::test]
async fn the_most_and_longest_words_of_the_longest_address_fit() {
    let local = "l".repeat(64);
    let label = "d".repeat(60);
    let account: Address = format!("{local}@{label}.{label}.{label}.{label}").parse().unwrap();
    for data in databases().await.into_iter().take(3) {
        let search = index_in(data);
        for from in [0, 8_000] {
            let id = DocumentId { account: account.clone(), message: 1 };
            // One word as often as a message may have it, and others.
            let texts = vec![(Field::Attachment, "again ".repeat(30_000)), (Field::Body, long(from))];
            search.index(&[Document { id, texts, whole: true }]).await.unwrap();
        }
        let ask = |text: String| Query {
            account: account.clone(),
            terms: vec![Term { fields: Vec::new(), text }],
            how: How::Words,
            most: 10,
        };
        let now = search.find(&ask(word(8_001))).await.unwrap();
        let before = search.find(&ask(word(1))).await.unwrap();
        let phrase = search.find(&ask("\"again again again\"".to_owned())).await.unwrap();
        assert_eq!(now, Found::Messages(vec![1]));
        assert_eq!(phrase, Found::Messages(vec![1]));
        assert_eq!(before, Found::Messages(Vec::new()));
    }
}

#[tokio::test]
async fn an_index_that_cannot_be_read_is_told_of_and_can_be_cleared() {
    let data: Arc<dyn KeyValue> = Arc::new(Memory::new());
    let search = index_in(Arc::clone(&data));
    search.index(&[document(1, "some words"), document(2, &long(0))]).await.unwrap();
    for (key, value) in data.scan(KeyRange::prefix(b"S"), Page::first(PAGE_MOST)).await.unwrap() {
        // Whatever is cut off or changed: an answer or an error, and never a panic.
        for at in (0..value.len()).step_by(1 + value.len() / 50) {
            let mut changed = value.to_vec();
            changed[at] ^= 0xA5;
            for value in [changed, value[..at].to_vec()] {
                let mut batch = Batch::new();
                data.commit(std::mem::take(batch.put(key.clone(), value))).await.unwrap();
                let terms = vec![Term { fields: Vec::new(), text: "word".into() }];
                let query = Query { account: ada(), terms, how: How::Part, most: 9 };
                let asked = (search.find(&query).await, search.messages(&ada()).await);
                for error in [asked.0.err(), asked.1.err()].into_iter().flatten() {
                    assert!(error.to_string().contains("full-text index of ada@example.org"), "{error}");
                }
            }
        }
        let mut batch = Batch::new();
        data.commit(std::mem::take(batch.put(key, value))).await.unwrap();
    }
    let mut batch = Batch::new();
    let torn = data.scan(KeyRange::prefix(b"Si"), Page::first(2)).await.unwrap().pop().unwrap();
    data.commit(std::mem::take(batch.put(torn.0, vec![0x80]))).await.unwrap();
    assert!(matches!(search.index(&[document(3, "x")]).await, Err(StoreError::Corrupt { .. })));
    search.clear(&ada()).await.unwrap();
    assert_eq!(data.scan(KeyRange::prefix(b"S"), Page::first(10)).await.unwrap(), []);
    search.index(&[document(3, "words")]).await.unwrap();
    assert_eq!(found(&search, "words", How::Words).await, [3]);
}

#[tokio::test]
async fn a_part_that_is_everywhere_is_left_out_and_the_answer_says_so() {
    let search = index_in(Arc::new(Memory::new()));
    let many: String = (0..=EXPANSIONS_MOST).map(|n| format!("every{n}where ")).collect();
    search.index(&[document(1, &(many.clone() + "rare")), document(2, &many)]).await.unwrap();
    let ask = async |texts: &[&str]| {
        let terms = texts.iter().map(|text| Term { fields: Vec::new(), text: (*text).to_owned() }).collect();
        search.find(&Query { account: ada(), terms, how: How::Part, most: 9 }).await.unwrap()
    };
    assert_eq!(ask(&["very"]).await, Found::TooMany);
    assert_eq!(ask(&["very", "rare"]).await, Found::Among(vec![1]));
    assert_eq!(ask(&["very1w", "rare"]).await, Found::Messages(vec![1]));
}
