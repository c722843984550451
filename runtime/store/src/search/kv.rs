//! A full-text index in a key-value database.
//!
//! | key | value |
//! |---|---|
//! | `Sp` account 0 term 0 field message (u64) | mark of the stem that the term is there, or 0; where the term stands as a word |
//! | `Sw` account 0 word | nothing: the account's vocabulary |
//! | `Su` account 0 message (u64) | nothing: this message is not indexed whole |
//! | `Sd` account 0 message (u64) part (u16) | the document's terms: field, length (u8), term … |
//!
//! Numbers are big-endian. Where a term stands is the distance to the place before, seven bits an octet, the lowest first;
//! nothing where it is a stem alone. The last kind says what to remove when a document goes; words stay in the vocabulary,
//! since another document may have them.
//!
//! Word and stems of a question that are equal are one range. A part of a word takes a walk through the whole vocabulary,
//! unless the word begins with it: a microsecond or two for each word.

use super::analyse::{Analysed, Analyser, Mark, Wants, clauses, is_part, positions};
use super::{Document, DocumentId, EXPANSIONS_MOST, Field, Found, How, MATCHES_MOST, Query, Search, VOCABULARY_MOST};
use crate::error::{Cause, CommitError, StoreError};
use crate::kv::{Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page};
use async_trait::async_trait;
use bytes::Bytes;
use schema::name::Address;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Octets of one part of a document's terms; fits [`crate::kv::VALUE_MOST`].
const PART: usize = 60_000;
/// Octets that documents are put together to; one that is larger goes alone.
const TOGETHER: usize = 2 << 20;
/// What the terms of a document weigh in a batch that replaces them by others like them; fits [`crate::kv::BATCH_MOST`]
/// with what says which they were. Where addresses are very long, not every term of a long message has room.
const REPLACED_MOST: usize = 8_000_000;
/// How often a change is tried when others change the same document.
const TRIES: usize = 16;

/// An index in `data`.
pub struct KvSearch {
    data: Arc<dyn KeyValue>,
    analyser: Analyser,
}

/// The postings of a document: the value of each term.
type Postings = BTreeMap<(String, Field), Vec<u8>>;

/// What a document is to become: nothing, or these postings, and whether they are all that it has.
type Wanted = (DocumentId, Option<(Postings, bool)>);

/// Messages that have something, ascending; `None`: too many to help.
type Having = Option<Vec<u64>>;

impl KvSearch {
    /// Keeps the index beside whatever else `data` holds, under keys that begin with `S`.
    pub fn new(data: Arc<dyn KeyValue>, analyser: Analyser) -> KvSearch {
        KvSearch { data, analyser }
    }

    /// Makes documents what they are to be, as many in one batch as fit.
    async fn replace(&self, wanted: &[Wanted]) -> Result<(), StoreError> {
        let mut together = Vec::new();
        let mut octets = 0;
        for one in wanted {
            let old = self.parts(&one.0).await?;
            let batch = batch(one, &old)?;
            let more = batch.measured()?;
            if octets + more > TOGETHER && !together.is_empty() {
                self.commit(std::mem::take(&mut together)).await?;
                octets = 0;
            }
            octets += more;
            together.push((one, batch));
        }
        self.commit(together).await
    }

    /// What is known of a document.
    async fn parts(&self, id: &DocumentId) -> Result<Vec<(Key, Bytes)>, StoreError> {
        self.data.scan(KeyRange::prefix(&document_prefix(id)), Page::first(PAGE_MOST)).await
    }

    /// Commits all at once; where somebody changed one of the documents meanwhile, one by one.
    async fn commit(&self, together: Vec<(&Wanted, Batch)>) -> Result<(), StoreError> {
        let mut all = Batch::new();
        for (_, one) in &together {
            all.asserts.extend(one.asserts.iter().cloned());
            all.writes.extend(one.writes.iter().cloned());
        }
        match self.data.commit(all).await {
            Ok(()) => return Ok(()),
            // Both are answered by doing it again: the result is the same.
            Err(CommitError::Conflict | CommitError::Unknown) => {}
            Err(CommitError::Store(error)) => return Err(error),
        }
        'each: for (one, _) in together {
            for _ in 0..TRIES {
                let old = self.parts(&one.0).await?;
                match self.data.commit(batch(one, &old)?).await {
                    Ok(()) => continue 'each,
                    Err(CommitError::Conflict | CommitError::Unknown) => {}
                    Err(CommitError::Store(error)) => return Err(error),
                }
            }
            return Err(StoreError::Unavailable(Cause::new("others keep changing the same document")));
        }
        Ok(())
    }

    /// Adds to the vocabularies; comes before the documents, so that a part of a word finds them as soon as the word does.
    async fn learn(&self, words: BTreeSet<Vec<u8>>) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        let mut octets = 0;
        for key in words {
            octets += key.len();
            batch.put(key, Bytes::new());
            if octets > TOGETHER {
                self.add(std::mem::take(&mut batch)).await?;
                octets = 0;
            }
        }
        self.add(batch).await
    }

    async fn add(&self, batch: Batch) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            match self.data.commit(batch.clone()).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Conflict | CommitError::Unknown) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        Err(StoreError::Unavailable(Cause::new("it is not known whether the vocabulary was written")))
    }

    /// Calls `each` with every entry of a range until it says `false`; whether it did.
    async fn each(
        &self,
        mut range: KeyRange,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError> + Send,
    ) -> Result<bool, StoreError> {
        let skip = range.from.0.len();
        loop {
            let page = self.data.scan(range.clone(), Page::first(PAGE_MOST)).await?;
            for (key, value) in &page {
                if !each(key.0.get(skip..).unwrap_or_default(), value)? {
                    return Ok(true);
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE_MOST => range.from = [&last.0, &[0][..]].concat().into(),
                _ => return Ok(false),
            }
        }
    }

    /// The postings of a term in some fields, as far as `wanted` takes them.
    async fn postings(
        &self,
        (account, term): (&Address, &str),
        fields: &[Field],
        mut wanted: impl FnMut(Field, u64, Posting<'_>) -> bool + Send,
    ) -> Result<bool, StoreError> {
        let mut prefix = term_prefix(account, term);
        let all = fields.len() > 1;
        if let ([only], false) = (fields, all) {
            prefix.push(code(*only));
        }
        let what = || StoreError::Corrupt { what: format!("search entries of the word {term:?} of {account}") };
        self.each(KeyRange::prefix(&prefix), |tail, value| {
            let (field, tail) = match (fields, tail) {
                ([only], tail) => (*only, tail),
                (_, [field, tail @ ..]) => (decode(*field).ok_or_else(what)?, tail),
                _ => return Err(what()),
            };
            let message = tail.try_into().map(u64::from_be_bytes).map_err(|_| what())?;
            let (mark, places) = value.split_first().ok_or_else(what)?;
            let posting = Posting { mark: *mark, places };
            Ok(!fields.contains(&field) || wanted(field, message, posting))
        })
        .await
    }

    /// The messages that have a word, or one with a stem.
    async fn word(
        &self,
        account: &Address,
        fields: &[Field],
        (word, stems): (Option<&str>, &[(Mark, String)]),
    ) -> Result<Having, StoreError> {
        // What each term may be there as: the word, or the stem of these languages.
        let mut terms: BTreeMap<&str, (bool, Vec<Mark>)> = BTreeMap::new();
        if let Some(word) = word {
            terms.entry(word).or_default().0 = true;
        }
        for (mark, stem) in stems {
            terms.entry(stem).or_default().1.push(*mark);
        }
        let mut messages = Vec::new();
        for (term, (as_word, marks)) in terms {
            let take = |_, message, posting: Posting<'_>| {
                if as_word && !posting.places.is_empty() || marks.contains(&posting.mark) {
                    messages.push(message);
                }
                messages.len() <= MATCHES_MOST
            };
            if self.postings((account, term), fields, take).await? {
                return Ok(None);
            }
        }
        Ok(Some(sorted(messages)))
    }

    /// The messages that have these words one after the other.
    async fn phrase(&self, account: &Address, fields: &[Field], words: &[String]) -> Result<Having, StoreError> {
        // Where phrases may begin, by what is known so far.
        let mut begins: Option<BTreeMap<(u64, Field), Vec<u32>>> = None;
        for (offset, word) in (0_u32..).zip(words) {
            let mut now: BTreeMap<(u64, Field), Vec<u32>> = BTreeMap::new();
            let take = |field, message, posting: Posting<'_>| {
                let mut places = posting.read().filter_map(|place| place.checked_sub(offset)).collect::<Vec<u32>>();
                if let Some(before) = &begins {
                    let known = before.get(&(message, field)).map(Vec::as_slice).unwrap_or_default();
                    places.retain(|place| known.binary_search(place).is_ok());
                }
                if !places.is_empty() {
                    now.insert((message, field), places);
                }
                now.len() <= MATCHES_MOST
            };
            if self.postings((account, word), fields, take).await? {
                return Ok(None);
            }
            begins = Some(now);
        }
        Ok(Some(sorted(begins.unwrap_or_default().into_keys().map(|(message, _)| message).collect())))
    }

    /// The messages that have a word with `text` in it.
    async fn part(
        &self,
        account: &Address,
        fields: &[Field],
        (text, begins, ends): (&str, bool, bool),
    ) -> Result<Having, StoreError> {
        let vocabulary = vocabulary_prefix(account);
        let mut from = vocabulary.clone();
        if begins {
            from.extend(text.as_bytes());
        }
        let (mut words, mut seen) = (Vec::new(), 0);
        let stopped = self.each(KeyRange::prefix(&from), |tail, _| {
            seen += 1;
            let read = std::str::from_utf8(tail);
            let tail = read.map_err(|_| StoreError::Corrupt { what: format!("the vocabulary of {account}") })?;
            let word = if begins { format!("{text}{tail}") } else { tail.to_owned() };
            if is_part(&word, text, (begins, ends)) {
                words.push(word);
            }
            Ok(words.len() <= EXPANSIONS_MOST && seen <= VOCABULARY_MOST)
        });
        if stopped.await? {
            return Ok(None);
        }
        let mut messages = Vec::new();
        for word in words {
            let Some(having) = self.word(account, fields, (Some(&word), &[])).await? else { return Ok(None) };
            messages.extend(having);
            if messages.len() > 2 * MATCHES_MOST {
                messages = sorted(messages);
                if messages.len() > MATCHES_MOST {
                    return Ok(None);
                }
            }
        }
        Ok(Some(sorted(messages)))
    }

    /// The messages that are not indexed whole.
    async fn cut(&self, account: &Address) -> Result<Having, StoreError> {
        let mut messages = Vec::new();
        let range = KeyRange::prefix(&cut_prefix(account));
        let stopped = self.each(range, |tail, _| {
            let what = || StoreError::Corrupt { what: format!("search entries of {account}") };
            messages.push(tail.try_into().map(u64::from_be_bytes).map_err(|_| what())?);
            Ok(messages.len() <= MATCHES_MOST)
        });
        Ok((!stopped.await?).then_some(messages))
    }
}

#[async_trait]
impl Search for KvSearch {
    async fn index(&self, documents: &[Document]) -> Result<(), StoreError> {
        let mut words = BTreeSet::new();
        // Where a message comes twice, its last one stays.
        let mut wanted = BTreeMap::new();
        for (document, analysed) in documents.iter().zip(self.analyser.documents(documents).await?) {
            let account = &document.id.account;
            for word in analysed.texts.iter().flat_map(|(_, words)| words) {
                words.insert([&vocabulary_prefix(account), word.as_bytes()].concat());
            }
            let (made, all) = bounded(&document.id, made(&analysed));
            wanted.insert(document.id.clone(), Some((made, analysed.whole && all)));
        }
        self.learn(words).await?;
        self.replace(&wanted.into_iter().collect::<Vec<_>>()).await
    }

    async fn find(&self, query: &Query) -> Result<Found, StoreError> {
        let account = &query.account;
        let mut found: Having = None;
        for clause in clauses(query) {
            let fields = &clause.fields;
            let having = match &clause.wants {
                Wants::Word { word, stems } => self.word(account, fields, (word.as_deref(), stems)).await?,
                Wants::Phrase(words) => self.phrase(account, fields, words).await?,
                Wants::Part { text, begins, ends } => self.part(account, fields, (text, *begins, *ends)).await?,
            };
            // What is everywhere narrows nothing; the others still may.
            let Some(having) = having else { continue };
            found = Some(match found {
                Some(mut before) => {
                    before.retain(|message| having.binary_search(message).is_ok());
                    before
                }
                None => having,
            });
        }
        if query.how == How::Part
            && let Some(before) = found
        {
            found = self.cut(account).await?.map(|cut| sorted([before, cut].concat()));
        }
        let messages = found.map(|found| found.into_iter().take(query.most).collect());
        Ok(messages.map_or(Found::TooMany, Found::Messages))
    }

    async fn forget(&self, ids: &[DocumentId]) -> Result<(), StoreError> {
        let wanted: Vec<Wanted> = ids.iter().map(|id| (id.clone(), None)).collect();
        self.replace(&wanted).await
    }
}

/// A term in a document.
struct Posting<'a> {
    mark: Mark,
    places: &'a [u8],
}

impl Posting<'_> {
    /// Where the term stands as a word.
    fn read(&self) -> impl Iterator<Item = u32> {
        let (mut at, mut octets) = (0_u32, self.places.iter());
        std::iter::from_fn(move || {
            let (mut distance, mut shift) = (0_u32, 0);
            loop {
                let octet = octets.next()?;
                distance |= u32::from(octet & 0x7F).checked_shl(shift)?;
                shift += 7;
                if octet & 0x80 == 0 {
                    break;
                }
            }
            at = at.checked_add(distance)?;
            Some(at - 1)
        })
    }
}

/// The value of a posting; places are counted from 1, so that none is empty.
fn value(mark: Mark, places: &[u32]) -> Vec<u8> {
    let mut out = vec![mark];
    let mut before = 0;
    for place in places {
        let mut distance = place + 1 - before;
        before = place + 1;
        while distance > 0x7F {
            // The lowest seven bits.
            out.push((distance & 0x7F) as u8 | 0x80);
            distance >>= 7;
        }
        out.push(distance as u8);
    }
    out
}

fn made(analysed: &Analysed) -> Postings {
    let mut marks: BTreeMap<(&str, Field), Mark> = BTreeMap::new();
    for (field, mark, stem) in &analysed.stems {
        marks.insert((stem, *field), *mark);
    }
    let mut made = Postings::new();
    for ((word, field), places) in positions(analysed) {
        let mark = marks.remove(&(word, field)).unwrap_or(0);
        made.insert((word.to_owned(), field), value(mark, &places));
    }
    made.extend(marks.into_iter().map(|((stem, field), mark)| ((stem.to_owned(), field), vec![mark])));
    made
}

/// As many postings as one batch can replace, and whether those are all.
fn bounded(id: &DocumentId, mut made: Postings) -> (Postings, bool) {
    let mut octets = 0;
    let room = |((term, field), value): (&(String, Field), &Vec<u8>)| {
        let key = posting(id, *field, term).0.len();
        // Replacing them all removes as many as it puts, and each is named in the document's own entry.
        octets += Batch::put_weight(key, value.len()) + Batch::remove_weight(key) + 2 * (term.len() + 2);
        octets <= REPLACED_MOST
    };
    let fit = made.iter().map(room).take_while(|fits| *fits).count();
    let all = fit == made.len();
    if let Some(first) = made.keys().nth(fit).cloned() {
        made.split_off(&first);
    }
    (made, all)
}

/// Replaces what is known of a document, `old`, by what it is to be.
fn batch((id, now): &Wanted, old: &[(Key, Bytes)]) -> Result<Batch, StoreError> {
    let mut batch = Batch::new();
    let document = document_prefix(id);
    // The first part changes whenever the document's terms do, or is still absent.
    let first = Key::from([&document[..], &[0, 0]].concat());
    batch.assert(first, old.first().map(|(_, part)| part.clone()));
    let stays = |term: &str, field| now.as_ref().is_some_and(|(now, _)| now.contains_key(&(term.to_owned(), field)));
    for (key, part) in old {
        let read = unpack(part, |field, term| {
            if !stays(term, field) {
                batch.remove(posting(id, field, term));
            }
        });
        read.ok_or_else(|| StoreError::Corrupt { what: format!("search entry {key:?}") })?;
        batch.remove(key.clone());
    }
    let cut = [&cut_prefix(&id.account)[..], &id.message.to_be_bytes()].concat();
    match now {
        Some((_, false)) => batch.put(cut, Bytes::new()),
        _ => batch.remove(cut),
    };
    let Some((now, _)) = now else { return Ok(batch) };
    for ((term, field), value) in now {
        batch.put(posting(id, *field, term), value.clone());
    }
    for (index, part) in pack(now.keys()).into_iter().enumerate() {
        // WORDS_MOST terms fill far fewer than 65,536 parts.
        batch.put([&document[..], &(index as u16).to_be_bytes()].concat(), part);
    }
    Ok(batch)
}

fn sorted(mut messages: Vec<u64>) -> Vec<u64> {
    messages.sort_unstable();
    messages.dedup();
    messages
}

fn code(field: Field) -> u8 {
    match field {
        Field::Subject => b's',
        Field::From => b'f',
        Field::To => b't',
        Field::Cc => b'c',
        Field::Bcc => b'B',
        Field::Header => b'h',
        Field::Body => b'b',
        Field::Attachment => b'a',
    }
}

fn decode(wanted: u8) -> Option<Field> {
    Field::ALL.into_iter().find(|field| code(*field) == wanted)
}

fn prefix(kind: &[u8; 2], account: &Address) -> Vec<u8> {
    [kind, account.to_string().as_bytes(), &[0]].concat()
}

fn document_prefix(id: &DocumentId) -> Vec<u8> {
    [&prefix(b"Sd", &id.account)[..], &id.message.to_be_bytes()].concat()
}

fn cut_prefix(account: &Address) -> Vec<u8> {
    prefix(b"Su", account)
}

fn vocabulary_prefix(account: &Address) -> Vec<u8> {
    prefix(b"Sw", account)
}

fn term_prefix(account: &Address, term: &str) -> Vec<u8> {
    [&prefix(b"Sp", account)[..], term.as_bytes(), &[0]].concat()
}

fn posting(id: &DocumentId, field: Field, term: &str) -> Key {
    let mut key = term_prefix(&id.account, term);
    key.push(code(field));
    key.extend(id.message.to_be_bytes());
    key.into()
}

fn pack<'t>(terms: impl Iterator<Item = &'t (String, Field)>) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = vec![Vec::new()];
    for (term, field) in terms {
        if parts.last().is_none_or(|part| part.len() > PART) {
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            // WORD_MOST keeps the length within 8 bits: a stem is hardly longer than its word.
            part.extend([code(*field), u8::try_from(term.len()).unwrap_or(u8::MAX)]);
            part.extend(term.as_bytes());
        }
    }
    parts
}

/// Calls `each` with every packed term; `None` where the part is not what [`pack`] makes.
fn unpack(mut part: &[u8], mut each: impl FnMut(Field, &str)) -> Option<()> {
    while let [field, length, rest @ ..] = part {
        let (term, rest) = rest.split_at_checked(usize::from(*length))?;
        each(decode(*field)?, std::str::from_utf8(term).ok()?);
        part = rest;
    }
    part.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conformance;
    use crate::kv::memory::Memory;
    use crate::kv::strict::tests::databases;

    #[tokio::test]
    async fn an_index_in_a_database_keeps_the_contract() {
        let make: conformance::MakeSearch =
            Arc::new(|analyser| Arc::new(KvSearch::new(Arc::new(Memory::new()), analyser)));
        conformance::suite(conformance::SEARCH, make).await;
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
            whole: true,
        };
        for data in databases().await.into_iter().take(3) {
            let search = KvSearch::new(Arc::clone(&data), Analyser::new(&[]));
            search.index(&[document(0)]).await.unwrap();
            search.index(&[document(8_000)]).await.unwrap();
            let entries = data.scan(KeyRange::prefix(b"Sp"), Page::first(PAGE_MOST)).await.unwrap();
            assert!(entries.len() > 1_000);
            let old = format!("{:0>60}", 1).into_bytes();
            assert!(entries.iter().all(|(key, _)| !key.0.windows(60).any(|word| word == old)));
        }
    }
}
