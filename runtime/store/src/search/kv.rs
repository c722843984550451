//! A full-text index in a key-value database.
//!
//! | key | value |
//! |---|---|
//! | `Sp` account 0 field word 0 message (u64) | nothing: this message has this word there |
//! | `Sd` account 0 message (u64) part (u16) | the document's words: field, length (u8), word … |
//!
//! Numbers are big-endian. The second kind says what to remove when a document goes.

use super::{Document, DocumentId, Field, Found, MATCHES_MOST, Query, Search, TERMS_MOST, WORDS_MOST, words};
use crate::error::{Cause, CommitError, StoreError};
use crate::kv::{Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page};
use async_trait::async_trait;
use bytes::Bytes;
use schema::name::Address;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Octets of one part of a document's words; fits [`crate::kv::VALUE_MOST`].
const PART: usize = 60_000;
/// What the words of a document weigh in a batch that replaces them by others like them; fits [`crate::kv::BATCH_MOST`]
/// with what says which they were.
const REPLACED_MOST: usize = 9_000_000;
/// How often a change is tried when others change the same document.
const TRIES: usize = 16;

/// An index in `data`.
pub struct KvSearch {
    data: Arc<dyn KeyValue>,
}

impl KvSearch {
    /// Keeps the index beside whatever else `data` holds, under keys that begin with `S`.
    pub fn new(data: Arc<dyn KeyValue>) -> KvSearch {
        KvSearch { data }
    }

    /// Replaces what is known of a document by `now`, packed.
    async fn replace(&self, id: &DocumentId, now: &BTreeSet<(Field, String)>) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let mut batch = Batch::new();
            let document = document_prefix(id);
            let parts = self.data.scan(KeyRange::prefix(&document), Page::first(PAGE_MOST)).await?;
            // The first part changes whenever the document does, or is still absent.
            let first = Key::from([&document[..], &[0, 0]].concat());
            batch.assert(first, parts.first().map(|(_, part)| part.clone()));
            for (key, part) in parts {
                unpack(&part, |field, word| {
                    batch.remove(posting(id, field, word));
                })
                .ok_or_else(|| StoreError::Corrupt { what: format!("search entry {key:?}") })?;
                batch.remove(key);
            }
            for (field, word) in now {
                batch.put(posting(id, *field, word.as_bytes()), Bytes::new());
            }
            for (index, part) in pack(now).into_iter().enumerate() {
                // WORDS_MOST words fill far fewer than 65,536 parts.
                batch.put([&document[..], &(index as u16).to_be_bytes()].concat(), part);
            }
            match self.data.commit(batch).await {
                Ok(()) => return Ok(()),
                // Both are answered by doing it again: the result is the same.
                Err(CommitError::Conflict | CommitError::Unknown) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        Err(StoreError::Unavailable(Cause::new("others keep changing the same document")))
    }

    /// The messages that have `word` in one of `fields`; `None` if they are too many.
    async fn having(&self, who: &Address, fields: &[Field], word: &str) -> Result<Option<BTreeSet<u64>>, StoreError> {
        let mut messages = BTreeSet::new();
        for field in fields {
            let prefix = posting_prefix(who, *field, word.as_bytes());
            let mut range = KeyRange::prefix(&prefix);
            loop {
                let page = self.data.scan(range.clone(), Page::first(PAGE_MOST)).await?;
                for (key, _) in &page {
                    let message = key.0.get(prefix.len()..).and_then(|number| number.try_into().ok());
                    let what = || StoreError::Corrupt { what: format!("search entry {key:?}") };
                    messages.insert(u64::from_be_bytes(message.ok_or_else(what)?));
                }
                if messages.len() > MATCHES_MOST {
                    return Ok(None);
                }
                match page.last() {
                    Some((last, _)) if page.len() == PAGE_MOST => range.from = [&last.0, &[0][..]].concat().into(),
                    _ => break,
                }
            }
        }
        Ok(Some(messages))
    }
}

#[async_trait]
impl Search for KvSearch {
    async fn index(&self, documents: &[Document]) -> Result<(), StoreError> {
        for document in documents {
            let mut now = BTreeSet::new();
            let all = document.texts.iter().flat_map(|(field, text)| words(text).map(|word| (*field, word)));
            // Replacing them all removes as many as it puts.
            let each = |(field, word): &(Field, String)| {
                let key = posting(&document.id, *field, word.as_bytes()).0.len();
                Batch::put_weight(key, word.len() + 2) + Batch::remove_weight(key)
            };
            let mut octets = 0;
            for word in all {
                if now.contains(&word) {
                    continue;
                }
                octets += each(&word);
                if now.len() == WORDS_MOST || octets > REPLACED_MOST {
                    break;
                }
                now.insert(word);
            }
            self.replace(&document.id, &now).await?;
        }
        Ok(())
    }

    async fn find(&self, query: &Query) -> Result<Found, StoreError> {
        let terms = query.terms.iter().flat_map(|(field, text)| words(text).map(|word| (*field, word)));
        let terms: BTreeSet<(Option<Field>, String)> = terms.take(TERMS_MOST).collect();
        let mut found: Option<BTreeSet<u64>> = None;
        for (field, word) in &terms {
            let fields = field.as_ref().map_or(&Field::ALL[..], std::slice::from_ref);
            // A word that is everywhere narrows nothing; the others still may.
            let Some(having) = self.having(&query.account, fields, word).await? else { continue };
            found = Some(match found {
                Some(before) => before.intersection(&having).copied().collect(),
                None => having,
            });
        }
        let messages = found.map(|found| found.into_iter().take(query.most).collect());
        Ok(messages.map_or(Found::TooMany, Found::Messages))
    }

    async fn forget(&self, ids: &[DocumentId]) -> Result<(), StoreError> {
        for id in ids {
            self.replace(id, &BTreeSet::new()).await?;
        }
        Ok(())
    }
}

fn code(field: Field) -> u8 {
    match field {
        Field::Subject => b's',
        Field::From => b'f',
        Field::To => b't',
        Field::Body => b'b',
    }
}

fn document_prefix(id: &DocumentId) -> Vec<u8> {
    [b"Sd", id.account.to_string().as_bytes(), &[0], &id.message.to_be_bytes()].concat()
}

fn posting_prefix(account: &Address, field: Field, word: &[u8]) -> Vec<u8> {
    [b"Sp", account.to_string().as_bytes(), &[0, code(field)], word, &[0]].concat()
}

fn posting(id: &DocumentId, field: Field, word: &[u8]) -> Key {
    let mut key = posting_prefix(&id.account, field, word);
    key.extend(id.message.to_be_bytes());
    key.into()
}

fn pack(words: &BTreeSet<(Field, String)>) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for (field, word) in words {
        if parts.last().is_none_or(|part| part.len() > PART) {
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            // WORD_MOST keeps the length within 8 bits.
            part.extend([code(*field), word.len() as u8]);
            part.extend(word.as_bytes());
        }
    }
    parts
}

/// Calls `each` with every packed word; `None` where the part is not what [`pack`] makes.
fn unpack(mut part: &[u8], mut each: impl FnMut(Field, &[u8])) -> Option<()> {
    while let [field, length, rest @ ..] = part {
        let field = Field::ALL.into_iter().find(|known| code(*known) == *field)?;
        let (word, rest) = rest.split_at_checked(usize::from(*length))?;
        each(field, word);
        part = rest;
    }
    part.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conformance;
    use crate::kv::strict::tests::databases;

    #[tokio::test]
    async fn an_index_in_a_database_keeps_the_contract() {
        for data in databases().await {
            conformance::search(&KvSearch::new(data)).await;
        }
    }

    #[tokio::test]
    async fn the_most_and_longest_words_of_the_longest_address_are_replaced_in_one_batch() {
        let local = "l".repeat(64);
        let label = "d".repeat(60);
        let account: Address = format!("{local}@{label}.{label}.{label}.{label}").parse().unwrap();
        let words = |from: u32| (from..from + 8_000).map(|n| format!("{n:0>60} ")).collect::<String>();
        let document = |from| Document {
            id: DocumentId { account: account.clone(), message: 1 },
            texts: vec![(Field::Body, words(from))],
        };
        for data in databases().await.into_iter().take(3) {
            let search = KvSearch::new(data);
            search.index(&[document(0)]).await.unwrap();
            search.index(&[document(8_000)]).await.unwrap();
            for (word, found) in [("0", vec![]), ("8000", vec![1])] {
                let terms = vec![(None, format!("{word:0>60}"))];
                let query = Query { account: account.clone(), terms, most: 10 };
                assert_eq!(search.find(&query).await.unwrap(), Found::Messages(found), "{word}");
            }
        }
    }
}
