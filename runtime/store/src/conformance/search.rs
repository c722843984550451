//! What a full-text index keeps: the table beside this file, then limits and what happens at once.

use super::{Case, cases};
use crate::search::analyse::{Analysed, Analyser, clauses, holds};
use crate::search::{Document, DocumentId, Field, Found, How, Query, Search, TOKENS_MOST, Term, WORDS_MOST};
use schema::name::Address;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Makes a view of the same store that analyses in this way.
pub type Make = Arc<dyn Fn(Analyser) -> Arc<dyn Search> + Send + Sync>;

const TABLE: &str = include_str!("search.txt");
/// More than one page of what backends read at once.
const MESSAGES: u64 = 10_500;

/// What a full-text index keeps; it begins empty.
pub const SEARCH: &[Case<Make>] = cases! {
    "the table": table,
    "limits": limits,
    "order": order,
    "at once": together,
};

/// More messages than any backend gives in one answer. Takes longer.
pub const MANY: &[Case<Make>] = cases! { "many messages": many };

async fn many(make: Make) {
    let store = make(Analyser::default());
    let account: Address = "many@example.org".parse().unwrap();
    let numbers: Vec<u64> = (0..MESSAGES).map(|n| (n % 3) << 32 | n).collect();
    for some in numbers.chunks(500) {
        let made = |n: &u64| document(&account, *n, vec![(Field::Body, format!("all of them {n}"))], true);
        store.index(&some.iter().map(made).collect::<Vec<_>>()).await.unwrap();
    }
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    let all = ask(&*store, &account, How::Words, "them", usize::MAX).await;
    assert!(all == Found::Messages(sorted.clone()), "not the {MESSAGES} that have the word, or not in their order");
    let first = sorted.get(..7).unwrap().to_vec();
    assert_eq!(ask(&*store, &account, How::Words, "\"of them\"", 7).await, Found::Messages(first));
    let ids: Vec<DocumentId> = numbers.iter().map(|n| DocumentId { account: account.clone(), message: *n }).collect();
    store.forget(&ids).await.unwrap();
    assert_eq!(ask(&*store, &account, How::Words, "them", 7).await, Found::Messages(Vec::new()));
}

fn document(account: &Address, message: u64, texts: Vec<(Field, String)>, whole: bool) -> Document {
    Document { id: DocumentId { account: account.clone(), message }, texts, whole }
}

async fn ask(store: &dyn Search, account: &Address, how: How, text: &str, most: usize) -> Found {
    let terms = vec![Term { fields: Vec::new(), text: text.to_owned() }];
    store.find(&Query { account: account.clone(), terms, how, most }).await.unwrap()
}

/// A part of the table under way.
struct Section {
    title: String,
    account: Address,
    analyser: Analyser,
    store: Arc<dyn Search>,
    /// What is indexed, for [`holds`] to agree with the table.
    indexed: BTreeMap<u64, Analysed>,
}

async fn table(make: Make) {
    let mut wrong = Vec::new();
    let mut section: Option<Section> = None;
    let mut count = 0;
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let line = line.replace(r"\u{ad}", "\u{ad}").replace(r"\u{300}", "\u{300}").replace(r"\u{301}", "\u{301}");
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "==" {
            count += 1;
            section = Some(begin(rest, count, &make));
            continue;
        }
        let section = section.as_mut().unwrap();
        match kind {
            "+" => {
                let document = section.document(rest);
                section.store.index(std::slice::from_ref(&document)).await.unwrap();
                section.indexed.insert(document.id.message, section.analyser.document(&document));
            }
            "-" => {
                let message = rest.parse().unwrap();
                let id = DocumentId { account: section.account.clone(), message };
                section.store.forget(&[id.clone(), id]).await.unwrap();
                section.indexed.remove(&message);
            }
            "?" => wrong.extend(section.check(How::Words, rest).await),
            "~" => wrong.extend(section.check(How::Part, rest).await),
            _ => panic!("not a line of the table: {line}"),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn begin(rest: &str, count: usize, make: &Make) -> Section {
    let (title, languages) = rest.split_once(" [").unwrap_or((rest, "]"));
    let languages: Vec<String> = languages.trim_end_matches(']').split_whitespace().map(str::to_owned).collect();
    let analyser = Analyser::new(&languages);
    Section {
        title: title.to_owned(),
        account: format!("section{count}@example.org").parse().unwrap(),
        store: make(analyser.clone()),
        analyser,
        indexed: BTreeMap::new(),
    }
}

fn field(name: &str) -> Option<Field> {
    Field::ALL.into_iter().find(|field| field.name() == name)
}

impl Section {
    fn document(&self, line: &str) -> Document {
        let (number, rest) = line.split_once(' ').unwrap();
        let (rest, whole) = rest.strip_prefix("cut ").map_or((rest, true), |rest| (rest, false));
        let texts = rest.split(" | ").map(|one| {
            let (name, text) = one.split_once(": ").unwrap();
            (field(name).unwrap(), text.to_owned())
        });
        document(&self.account, number.parse().unwrap(), texts.collect(), whole)
    }

    /// What is wrong, if anything is.
    async fn check(&self, how: How, line: &str) -> Option<String> {
        let (asked, expected) = line.rsplit_once(" = ").unwrap();
        let terms = asked.split("; ").map(|one| {
            let named = one.split_once(": ").and_then(|(names, text)| {
                let fields: Option<Vec<Field>> = names.split(',').map(field).collect();
                fields.map(|fields| (fields, text))
            });
            let (fields, text) = named.unwrap_or((Vec::new(), one));
            let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
            Term { fields, text: quoted.unwrap_or(text).to_owned() }
        });
        let query = Query { account: self.account.clone(), terms: terms.collect(), how, most: 100 };
        let expected = match expected {
            "*" => Found::TooMany,
            "-" => Found::Messages(Vec::new()),
            numbers => Found::Messages(numbers.split(' ').map(|number| number.parse().unwrap()).collect()),
        };
        let clauses = clauses(&query);
        let meant = self.indexed.iter().filter(|(_, analysed)| holds(analysed, &clauses, how));
        let meant = match clauses.as_slice() {
            [] => Found::TooMany,
            _ => Found::Messages(meant.map(|(message, _)| *message).collect()),
        };
        let found = self.store.find(&query).await.unwrap();
        let right = meant == expected && found == expected;
        let title = &self.title;
        (!right).then(|| format!("{title}: {line}: means {meant:?}, finds {found:?}, by {clauses:?}"))
    }
}

async fn limits(make: Make) {
    let store = &*make(Analyser::default());
    let account: Address = format!("{}@{}.{}.example", "l".repeat(64), "d".repeat(60), "e".repeat(60)).parse().unwrap();
    // As many words as there may be, each as long as it may be; then others in their place.
    for kind in ["first", "second"] {
        let words: Vec<String> = (0..2 * WORDS_MOST).map(|n| format!("{kind}{n:x<60}", n = n)).collect();
        let many = document(&account, 1, vec![(Field::Body, words.join(" "))], true);
        let often = document(&account, 2, vec![(Field::Body, "word ".repeat(2 * TOKENS_MOST))], true);
        let none = document(&account, 3, Vec::new(), true);
        store.index(&[many, often, none]).await.unwrap();
        assert_eq!(ask(store, &account, How::Words, &words[0], 9).await, Found::Messages(vec![1]));
        assert_eq!(ask(store, &account, How::Words, &words[2 * WORDS_MOST - 1], 9).await, Found::Messages(Vec::new()));
        assert_eq!(ask(store, &account, How::Words, "word", 9).await, Found::Messages(vec![2]));
        assert_eq!(ask(store, &account, How::Words, "\"word word\"", 9).await, Found::Messages(vec![2]));
        assert_eq!(ask(store, &account, How::Part, "elsewhere", 9).await, Found::Messages(vec![1, 2]));
        assert_eq!(store.cut(&account).await.unwrap(), Some(vec![1, 2]));
        assert_eq!(store.messages(&account).await.unwrap(), Some(vec![1, 2, 3]));
    }
    assert_eq!(ask(store, &account, How::Words, "first0", 9).await, Found::Messages(Vec::new()));
    let ids: Vec<DocumentId> = (1..4).map(|message| DocumentId { account: account.clone(), message }).collect();
    store.forget(&ids).await.unwrap();
    assert_eq!(ask(store, &account, How::Part, "elsewhere", 9).await, Found::Messages(Vec::new()));
    assert_eq!(store.cut(&account).await.unwrap(), Some(Vec::new()));
    assert_eq!(store.messages(&account).await.unwrap(), Some(Vec::new()));
    // More than a query may have.
    let long = vec!["many words".to_owned(); 500].join(" ");
    assert_eq!(ask(store, &account, How::Words, &long, 9).await, Found::Messages(Vec::new()));
    let long: String = (0..500).map(|n| format!("{n} ")).collect();
    ask(store, &account, How::Words, &long, 9).await;
    ask(store, &account, How::Words, &format!("\"{long}\""), 9).await;
    ask(store, &account, How::Part, &long, 9).await;
    assert_eq!(ask(store, &account, How::Words, &"\u{10FFFF}\0\"\u{300}".repeat(99), 9).await, Found::TooMany);
}

/// Answers are in the order of numbers, whatever order they came in, and are cut there.
async fn order(make: Make) {
    let store = make(Analyser::default());
    let account: Address = "order@example.org".parse().unwrap();
    let sorted = [2, 9, 10, 11, 100, 1 << 32, 10 << 32];
    for n in sorted.iter().rev() {
        let text = vec![(Field::Body, "numbered".to_owned())];
        store.index(&[document(&account, *n, text, true)]).await.unwrap();
    }
    for most in [1, 3, sorted.len(), usize::MAX] {
        for (how, text) in [(How::Words, "numbered"), (How::Words, "\"numbered\""), (How::Part, "umbere")] {
            let first: Vec<u64> = sorted.iter().copied().take(most).collect();
            assert_eq!(ask(&*store, &account, how, text, most).await, Found::Messages(first), "{most} of {text}");
        }
    }
    // What is forgotten is gone, and nothing else.
    store.forget(&[DocumentId { account: account.clone(), message: 10 }]).await.unwrap();
    let left = Found::Messages(sorted.iter().copied().filter(|n| *n != 10).collect());
    assert_eq!(ask(&*store, &account, How::Words, "numbered", 99).await, left);
    // All of one account, and nothing of one that is called nearly the same.
    let other: Address = "order@example.organic".parse().unwrap();
    store.index(&[document(&other, 1, vec![(Field::Body, "numbered".to_owned())], false)]).await.unwrap();
    store.clear(&account).await.unwrap();
    assert_eq!(store.messages(&account).await.unwrap(), Some(Vec::new()));
    assert_eq!(ask(&*store, &account, How::Words, "numbered", 99).await, Found::Messages(Vec::new()));
    assert_eq!(ask(&*store, &other, How::Words, "numbered", 99).await, Found::Messages(vec![1]));
    store.clear(&account).await.unwrap();
    store.clear(&other).await.unwrap();
    assert_eq!(ask(&*store, &other, How::Part, "elsewhere", 99).await, Found::Messages(Vec::new()));
}

/// Several at once, about the same message too: one of them is what stays.
async fn together(make: Make) {
    let store = make(Analyser::default());
    let account: Address = "together@example.org".parse().unwrap();
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let (store, account) = (Arc::clone(&store), account.clone());
            tokio::spawn(async move {
                let text = |n: u64| vec![(Field::Body, format!("writer{writer} number{n}"))];
                let own = document(&account, 100 + writer, text(writer), true);
                let same = document(&account, 1, text(writer), true);
                store.index(&[own, same]).await.unwrap();
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut last = 0;
    for writer in 0..8_u64 {
        let found = ask(&*store, &account, How::Words, &format!("writer{writer} number{writer}"), 9).await;
        let Found::Messages(found) = found else { panic!("too many") };
        assert_eq!(found.last(), Some(&(100 + writer)));
        last += found.len() - 1;
    }
    assert_eq!(last, 1);
    // The last of several in one call.
    let twice = ["before", "after"].map(|text| document(&account, 1, vec![(Field::Body, text.to_owned())], true));
    store.index(&twice).await.unwrap();
    assert_eq!(ask(&*store, &account, How::Words, "before", 9).await, Found::Messages(Vec::new()));
    assert_eq!(ask(&*store, &account, How::Words, "after", 9).await, Found::Messages(vec![1]));
}
