//! Full-text indexes that are broken, each in one way that is easily overlooked.

use crate::conformance::{self, MakeSearch};
use crate::error::StoreError;
use crate::kv::memory::Memory;
use crate::search::analyse::Analyser;
use crate::search::kv::KvSearch;
use crate::search::{Document, DocumentId, Field, Found, How, Query, Search};
use async_trait::async_trait;
use schema::name::Address;
use std::sync::Arc;

/// How an index is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// Not at all.
    None,
    /// What was known of a message stays beside what is told anew.
    Adds,
    /// The last of several documents is left out,
    LastLost,
    /// or the first of several about one message is what stays.
    FirstStays,
    /// Nothing is forgotten,
    NeverForgets,
    /// or all of an account is.
    ForgetsAll,
    /// An account that is cleared keeps what it has.
    NeverClears,
    /// All accounts are one.
    OneAccount,
    /// A question for a field asks all of them.
    AnyField,
    /// The first of several terms is all that is asked.
    FirstTerm,
    /// Quotes mean nothing.
    NoPhrases,
    /// A part of a word finds that word alone.
    WholeWords,
    /// A message that is not indexed whole is found by its words alone.
    NeverCut,
    /// No message is said to be indexed in part.
    AllWhole,
    /// One is left out of all that there are.
    NeverAll,
    /// Answers are sorted by text,
    ByText,
    /// begin at the end,
    Backwards,
    /// are cut at what other servers give at once,
    Page,
    /// or come whole, whatever was asked for.
    NoMost,
    /// A text is cut at a KiB.
    ShortTexts,
    /// A field that comes twice counts once.
    FieldOnce,
    /// What has no word finds nothing.
    NothingForAll,
}

const FLAWS: [Flaw; 21] = [
    Flaw::Adds,
    Flaw::LastLost,
    Flaw::FirstStays,
    Flaw::NeverForgets,
    Flaw::ForgetsAll,
    Flaw::NeverClears,
    Flaw::OneAccount,
    Flaw::AnyField,
    Flaw::FirstTerm,
    Flaw::NoPhrases,
    Flaw::WholeWords,
    Flaw::NeverCut,
    Flaw::AllWhole,
    Flaw::NeverAll,
    Flaw::ByText,
    Flaw::Backwards,
    Flaw::Page,
    Flaw::NoMost,
    Flaw::ShortTexts,
    Flaw::FieldOnce,
    Flaw::NothingForAll,
];

/// What other servers give at once.
const AT_ONCE: usize = 10_000;

struct Flawed {
    index: KvSearch,
    flaw: Flaw,
    /// What was told of messages, for those that add to it.
    told: Arc<tokio::sync::Mutex<Vec<Document>>>,
}

impl Flawed {
    fn make(flaw: Flaw) -> MakeSearch {
        let (data, told) = (Arc::new(Memory::new()), Arc::default());
        Arc::new(move |analyser: Analyser| {
            let index = KvSearch::new(data.clone(), analyser, Arc::new(|| 0));
            Arc::new(Flawed { index, flaw, told: Arc::clone(&told) })
        })
    }

    fn account(&self, account: &Address) -> Address {
        match self.flaw {
            Flaw::OneAccount => "all@example.org".parse().unwrap(),
            _ => account.clone(),
        }
    }

    fn id(&self, id: &DocumentId) -> DocumentId {
        DocumentId { account: self.account(&id.account), message: id.message }
    }

    /// What is told of a message, as it is understood.
    async fn understood(&self, document: &Document) -> Document {
        let mut document = Document { id: self.id(&document.id), ..document.clone() };
        match self.flaw {
            Flaw::NeverCut => document.whole = true,
            Flaw::ShortTexts => {
                document.texts.iter_mut().for_each(|(_, text)| text.truncate(text.floor_char_boundary(1024)));
            }
            Flaw::FieldOnce => {
                let mut seen: Vec<Field> = Vec::new();
                document.texts.retain(|(field, _)| {
                    let first = !seen.contains(field);
                    seen.push(*field);
                    first
                });
            }
            Flaw::Adds => {
                let mut told = self.told.lock().await;
                let known = told.iter().filter(|known| known.id == document.id);
                let texts: Vec<_> = known.flat_map(|known| known.texts.clone()).collect();
                told.push(document.clone());
                document.texts.extend(texts);
            }
            _ => {}
        }
        document
    }
}

#[async_trait]
impl Search for Flawed {
    async fn index(&self, documents: &[Document]) -> Result<(), StoreError> {
        let mut understood = Vec::new();
        for document in documents {
            understood.push(self.understood(document).await);
        }
        match self.flaw {
            Flaw::LastLost if understood.len() > 1 => {
                understood.pop();
            }
            Flaw::FirstStays => {
                let mut seen = Vec::new();
                understood.retain(|document| {
                    let first = !seen.contains(&document.id);
                    seen.push(document.id.clone());
                    first
                });
            }
            _ => {}
        }
        self.index.index(&understood).await
    }

    async fn find(&self, query: &Query) -> Result<Found, StoreError> {
        let mut asked = Query { account: self.account(&query.account), ..query.clone() };
        match self.flaw {
            Flaw::AnyField => asked.terms.iter_mut().for_each(|term| term.fields.clear()),
            Flaw::FirstTerm => asked.terms.truncate(1),
            Flaw::NoPhrases => asked.terms.iter_mut().for_each(|term| term.text = term.text.replace('"', " ")),
            Flaw::WholeWords => asked.how = How::Words,
            Flaw::ByText | Flaw::Backwards | Flaw::NoMost => asked.most = usize::MAX,
            _ => {}
        }
        let found = self.index.find(&asked).await?;
        let Found::Messages(mut numbers) = found else {
            let nothing = self.flaw == Flaw::NothingForAll;
            return Ok(if nothing { Found::Messages(Vec::new()) } else { Found::TooMany });
        };
        match self.flaw {
            Flaw::ByText => numbers.sort_by_key(u64::to_string),
            Flaw::Backwards => numbers.reverse(),
            Flaw::Page => numbers.truncate(AT_ONCE),
            _ => {}
        }
        if self.flaw != Flaw::NoMost {
            numbers.truncate(query.most);
        }
        Ok(Found::Messages(numbers))
    }

    async fn messages(&self, account: &Address) -> Result<Option<Vec<u64>>, StoreError> {
        let mut all = self.index.messages(&self.account(account)).await?;
        if self.flaw == Flaw::NeverAll
            && let Some(all) = &mut all
        {
            all.pop();
        }
        Ok(all)
    }

    async fn cut(&self, account: &Address) -> Result<Option<Vec<u64>>, StoreError> {
        match self.flaw {
            Flaw::AllWhole => Ok(Some(Vec::new())),
            _ => self.index.cut(&self.account(account)).await,
        }
    }

    async fn forget(&self, ids: &[DocumentId]) -> Result<(), StoreError> {
        match self.flaw {
            Flaw::NeverForgets => return Ok(()),
            Flaw::ForgetsAll => {
                for id in ids {
                    let all: Vec<_> =
                        (0..100).map(|message| DocumentId { account: id.account.clone(), message }).collect();
                    self.index.forget(&all).await?;
                }
            }
            _ => {}
        }
        let ids: Vec<_> = ids.iter().map(|id| self.id(id)).collect();
        self.index.forget(&ids).await
    }

    async fn clear(&self, account: &Address) -> Result<(), StoreError> {
        match self.flaw {
            Flaw::NeverClears => Ok(()),
            _ => self.index.clear(&self.account(account)).await,
        }
    }
}

#[tokio::test]
async fn the_suite_of_indexes_fails_on_every_broken_one() {
    let whole = |flaw| async move {
        let make = Flawed::make(flaw);
        conformance::suite(conformance::SEARCH, make.clone()).await;
        conformance::suite(conformance::MANY, make).await;
    };
    let suite = |flaw| async move { conformance::suite(conformance::SEARCH, Flawed::make(flaw)).await };
    whole(Flaw::None).await;
    let mut passed = Vec::new();
    for flaw in FLAWS {
        // None of them hangs, so that none may be caught by being slow.
        let asked = match flaw {
            Flaw::Page => tokio::spawn(whole(flaw)),
            _ => tokio::spawn(suite(flaw)),
        };
        if asked.await.is_ok() {
            passed.push(flaw);
        }
    }
    assert_eq!(passed, []);
}
