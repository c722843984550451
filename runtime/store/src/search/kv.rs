//! A full-text index in a key-value database: segments, each the index of some messages, merged as they grow many.
//!
//! | key | value |
//! |---|---|
//! | `Si` account 0 | the version: eight octets by chance, others after each change |
//! | `Si` account 0 `s` segment | what is known of a segment ([`segment::Facts`]): it is part of the index |
//! | `Si` account 0 `x` segment | its dead messages, ascending: each was forgotten, or is in another segment anew |
//! | `Si` account 0 `w` segment | when its rows were last written (i64, ms), how often they were: it is no part yet |
//! | `Si` account 0 `r` segment | nothing: its rows are to be removed |
//! | `St` account 0 segment term 0 number (u32) | a chunk of terms and who has them; the term is its last one |
//! | `Sv` account 0 segment word 0 number (u32) | a chunk of words; the word is its last one |
//!
//! Numbers are big-endian, segments eight octets by chance. [`segment`] says what is in a chunk.
//!
//! # Writing
//! Documents that are indexed together become one segment, in one batch with whatever is dead by it; a message whose words
//! would fill thousands of rows takes a few. Each batch asserts the version, so that of two that would change the same
//! index one reads again. Where a segment is too large for a batch its chunks come first, guarded by its `w`.
//!
//! # Merging
//! Segments are of a size ([`size_of`]) eight times that of the one below. Eight of a size are merged, with all that are
//! smaller, so that a message is written again once a size, and a question looks into a few dozen segments however large the
//! account is. A segment with an eighth of its messages dead is written anew without them: till then the words of a
//! forgotten message stay in the database, and are not found. Merging is done by whoever indexes, and goes on while others
//! read; a question that finds one of its segments gone is answered again. What a crash leaves behind is removed when the
//! account's index is changed next: at once, or, where rows were being written, once they have not been for [`ABANDONED`].

use super::analyse::{Analysed, Analyser, Mark, Wants, aside, clauses, is_part};
use super::{Document, DocumentId, EXPANSIONS_MOST, Field, Found, How, MATCHES_MOST, Query, Search, VOCABULARY_MOST};
use crate::error::{Cause, StoreError};
use crate::kv::{Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page};
use crate::lookup::Clock;
use async_trait::async_trait;
use bytes::Bytes;
use schema::name::Address;
use segment::{ALL, Builder, CHUNK, CUT, Facts, Kind, Posting, Terms, Torn, entries, postings};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod merge;
mod segment;
#[cfg(test)]
mod tests;

/// Octets of a segment's rows that one batch takes.
const TOGETHER: usize = 2 << 20;
/// How often a change is tried when others change the same index, and a question when its segments go.
const TRIES: usize = 16;
/// Messages that one change brings or takes.
const AT_ONCE: usize = 1_000;
/// Octets of a segment's list of dead messages from which on it is written anew before it gets longer.
const DEAD_MOST: usize = 60_000;
/// How many segments of a size there may be, and how much larger the next size is.
const MANY: usize = 8;
/// Octets below which a segment is of the smallest size.
const SMALLEST: u64 = 8 << 10;
/// The size from which on segments are merged no more: 32 MiB.
const LARGEST: usize = 5;
/// A segment with so many messages is of the largest size, whatever its octets.
const MESSAGES_MOST: u64 = 1 << 18;
/// How long the rows of a segment that is no part of the index may stay without more of them, in milliseconds.
pub const ABANDONED: i64 = 10 * 60 * 1_000;
/// The most chunks that are read at once.
const CHUNKS_AT_ONCE: usize = 64;
/// The longest beginning of a chunk's key: kind, address, 0 and segment.
const PREFIX: usize = 2 + 320 + 1 + 8;

/// An index in `data`.
pub struct KvSearch {
    data: Arc<dyn KeyValue>,
    analyser: Analyser,
    clock: Clock,
}

type SegmentId = [u8; 8];

/// What is known of an account's index at one moment.
#[derive(Debug, Default)]
struct State {
    version: Option<Bytes>,
    segments: BTreeMap<SegmentId, Facts>,
    dead: BTreeMap<SegmentId, Vec<u64>>,
    /// Segments whose rows are being written, and what guards them.
    written: BTreeMap<SegmentId, Bytes>,
    /// Segments whose rows are to be removed.
    removed: Vec<SegmentId>,
}

impl State {
    fn is_dead(&self, segment: &SegmentId, message: u64) -> bool {
        self.dead.get(segment).is_some_and(|dead| dead.binary_search(&message).is_ok())
    }
}

/// What a change makes of an index.
enum Change<'a> {
    /// These messages are in the new segment, if there is one, and in no other.
    Replace(&'a [u64]),
    /// The new segment stands for these, without those that were dead in them.
    Merge(&'a State, &'a [SegmentId]),
}

/// Rows of a segment on their way into the database.
#[derive(Default)]
struct Draft {
    built: Builder,
    /// Where some are there already: the segment and what guards it.
    begun: Option<(SegmentId, Bytes)>,
}

/// Messages that have something, ascending; `None`: too many to help.
type Having = Option<Vec<u64>>;

impl KvSearch {
    /// Keeps the index beside whatever else `data` holds, under keys that begin with `S`.
    pub fn new(data: Arc<dyn KeyValue>, analyser: Analyser, clock: Clock) -> KvSearch {
        KvSearch { data, analyser, clock }
    }

    /// What is known of an account's index, all of one moment.
    async fn state(&self, account: &Address) -> Result<State, StoreError> {
        for _ in 0..TRIES {
            let state = self.read_state(account).await?;
            // A scan may be of several moments; the version came first.
            if self.version(account).await? == state.version {
                return Ok(state);
            }
        }
        Err(others(account))
    }

    async fn version(&self, account: &Address) -> Result<Option<Bytes>, StoreError> {
        Ok(self.data.get(&[prefix(b"Si", account).into()]).await?.pop().flatten())
    }

    async fn read_state(&self, account: &Address) -> Result<State, StoreError> {
        let prefix = prefix(b"Si", account);
        let mut state = State::default();
        let rows = self.data.scan(KeyRange::prefix(&prefix), Page::first(PAGE_MOST)).await?;
        if rows.len() == PAGE_MOST {
            // A few dozen segments, and one more for each 32 MiB.
            let what =
                format!("the full-text index of {account} is too large; `index` in the spec says what is left out");
            return Err(StoreError::Misconfigured(Cause::new(what)));
        }
        for (key, value) in rows {
            let tail = key.0.get(prefix.len()..).unwrap_or_default();
            let Some((kind, segment)) = tail.split_first() else {
                state.version = Some(value);
                continue;
            };
            let id: SegmentId = segment.try_into().map_err(|_| torn(account))?;
            match kind {
                b's' => drop(state.segments.insert(id, Facts::read(&value).map_err(|_| torn(account))?)),
                b'x' => drop(state.dead.insert(id, segment::messages(&value).map_err(|_| torn(account))?)),
                b'w' => drop(state.written.insert(id, value)),
                b'r' => state.removed.push(id),
                _ => return Err(torn(account)),
            }
        }
        Ok(state)
    }

    /// Calls `each` with all that a segment's messages have of some terms, ascending, until it says `false`; whether it did.
    /// It gets which term it is, the message, and what that has.
    async fn lists(
        &self,
        (account, id, facts): (&Address, &SegmentId, &Facts),
        terms: &[&str],
        mut each: impl FnMut(usize, u64, &[u8]) -> Result<bool, Torn> + Send,
    ) -> Result<bool, StoreError> {
        let prefix = chunk_prefix(Kind::Terms, account, id);
        let chunks = usize::try_from(facts.octets).unwrap_or(usize::MAX) / CHUNK + 1;
        // Where most chunks have something, they are read one after the other.
        let first = if chunks / 4 <= terms.len() { chunks.min(CHUNKS_AT_ONCE) } else { 1 };
        let (mut most, mut goes_on) = (first, false);
        let mut range = KeyRange::prefix(&prefix);
        let mut wanted = 0;
        let mut page = Vec::new().into_iter();
        while let Some(term) = terms.get(wanted) {
            let from = [&prefix[..], term.as_bytes(), &[0]].concat();
            let row = match page.find(|(key, _): &(Key, Bytes)| key.0 >= from) {
                Some(row) => row,
                None => {
                    if range.from.0 < from {
                        range.from = from.into();
                    }
                    most = if goes_on { (2 * most).min(CHUNKS_AT_ONCE) } else { first };
                    page = self.data.scan(range.clone(), Page::first(most)).await?.into_iter();
                    let Some(row) = page.next() else { return Ok(false) };
                    row
                }
            };
            range.from = [&row.0.0[..], &[0]].concat().into();
            let mut chunk = Terms::new(Kind::Terms, row.1);
            while let Some(list) = chunk.advance().map_err(|_| torn(account))? {
                while terms.get(wanted).is_some_and(|term| **term < *chunk.term) {
                    wanted += 1;
                }
                if terms.get(wanted).is_none_or(|term| *term != chunk.term) {
                    continue;
                }
                for entry in entries(&list) {
                    let (message, has) = entry.map_err(|_| torn(account))?;
                    if !each(wanted, message, has).map_err(|_| torn(account))? {
                        return Ok(true);
                    }
                }
            }
            // The list of the last term may go on in the next chunk.
            goes_on = terms.get(wanted).is_some_and(|term| *term == chunk.term);
        }
        Ok(false)
    }

    /// Calls `wanted` with where terms stand in some fields of what is not dead, until it says `false`; whether it did.
    async fn postings(
        &self,
        (account, state): (&Address, &State),
        (terms, fields): (&[&str], &[Field]),
        mut wanted: impl FnMut(usize, (u64, Field), Posting<'_>) -> bool + Send,
    ) -> Result<bool, StoreError> {
        for (id, facts) in &state.segments {
            let each = |term, message, has: &[u8]| {
                if state.is_dead(id, message) {
                    return Ok(true);
                }
                for posting in postings(has) {
                    let (field, posting) = posting?;
                    if fields.contains(&field) && !wanted(term, (message, field), posting) {
                        return Ok(false);
                    }
                }
                Ok(true)
            };
            if self.lists((account, id, facts), terms, each).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Which of these messages, ascending, each segment has and are not dead in it.
    async fn having(
        &self,
        (account, state): (&Address, &State),
        wanted: &[u64],
    ) -> Result<BTreeMap<SegmentId, Vec<u64>>, StoreError> {
        let mut having: BTreeMap<SegmentId, Vec<u64>> = BTreeMap::new();
        for (id, facts) in &state.segments {
            if !wanted.iter().any(|message| facts.may_have(*message)) {
                continue;
            }
            let has = having.entry(*id).or_default();
            self.lists((account, id, facts), &[ALL], |_, message, _| {
                if wanted.binary_search(&message).is_ok() && !state.is_dead(id, message) {
                    has.push(message);
                }
                Ok(wanted.last().is_some_and(|last| message < *last))
            })
            .await?;
        }
        having.retain(|_, has| !has.is_empty());
        Ok(having)
    }

    /// The messages that have a word, or one with a stem.
    async fn word(
        &self,
        of: (&Address, &State),
        fields: &[Field],
        (word, stems): (Option<&str>, &[(Mark, String)]),
    ) -> Result<Having, StoreError> {
        // What each term may be there as: the word, or the stem of these languages.
        let mut wanted: BTreeMap<&str, (bool, Vec<Mark>)> = BTreeMap::new();
        if let Some(word) = word {
            wanted.entry(word).or_default().0 = true;
        }
        for (mark, stem) in stems {
            wanted.entry(stem).or_default().1.push(*mark);
        }
        let (terms, ways): (Vec<&str>, Vec<_>) = wanted.into_iter().unzip();
        let mut matches = Matches::default();
        let take = |term: usize, (message, _), posting: Posting<'_>| {
            let fits = |(word, marks): &(bool, Vec<Mark>)| *word && posting.is_word() || marks.contains(&posting.mark);
            !ways.get(term).is_some_and(fits) || matches.add(message)
        };
        let stopped = self.postings(of, (&terms, fields), take).await?;
        Ok(matches.having(stopped))
    }

    /// The messages that have these words one after the other.
    async fn phrase(&self, of: (&Address, &State), fields: &[Field], words: &[String]) -> Result<Having, StoreError> {
        // Where phrases may begin, by what is known so far.
        let mut begins: Option<BTreeMap<(u64, Field), Vec<u32>>> = None;
        for (offset, word) in (0_u32..).zip(words) {
            let mut now: BTreeMap<(u64, Field), Vec<u32>> = BTreeMap::new();
            let take = |_, at, posting: Posting<'_>| {
                let known = match &begins {
                    Some(before) => match before.get(&at) {
                        Some(known) => Some(known),
                        None => return true,
                    },
                    None => None,
                };
                let mut places: Vec<u32> = posting.places().filter_map(|place| place.checked_sub(offset)).collect();
                if let Some(known) = known {
                    places.retain(|place| known.binary_search(place).is_ok());
                }
                if !places.is_empty() {
                    now.insert(at, places);
                }
                now.len() <= MATCHES_MOST
            };
            if self.postings(of, (&[word], fields), take).await? {
                return Ok(None);
            }
            if now.is_empty() {
                return Ok(Some(Vec::new()));
            }
            begins = Some(now);
        }
        let mut messages: Vec<u64> = begins.unwrap_or_default().into_keys().map(|(message, _)| message).collect();
        messages.dedup();
        Ok(Some(messages))
    }

    /// The words of the account with `text` in them; `None` where they are too many.
    async fn words(
        &self,
        (account, state): (&Address, &State),
        (text, begins, ends): (&str, bool, bool),
    ) -> Result<Option<BTreeSet<String>>, StoreError> {
        let (mut words, mut seen) = (BTreeSet::new(), 0);
        for id in state.segments.keys() {
            let prefix = chunk_prefix(Kind::Words, account, id);
            let mut range = KeyRange::prefix(&prefix);
            if begins {
                range.from = [&prefix[..], text.as_bytes()].concat().into();
            }
            'segment: loop {
                // Words that begin alike seldom fill more than a chunk or two.
                let most = if begins { 2 } else { CHUNKS_AT_ONCE };
                let page = self.data.scan(range.clone(), Page::first(most)).await?;
                let Some((last, _)) = page.last() else { break };
                range.from = [&last.0[..], &[0]].concat().into();
                for (_, value) in page {
                    let mut chunk = Terms::new(Kind::Words, value);
                    while chunk.advance().map_err(|_| torn(account))?.is_some() {
                        if begins && *chunk.term > *text && !chunk.term.starts_with(text) {
                            break 'segment;
                        }
                        seen += 1;
                        if is_part(&chunk.term, text, (begins, ends)) && !words.contains(&chunk.term) {
                            words.insert(chunk.term.clone());
                        }
                        if words.len() > EXPANSIONS_MOST || seen > VOCABULARY_MOST {
                            return Ok(None);
                        }
                    }
                }
            }
        }
        Ok(Some(words))
    }

    /// The messages that have a word with a text in it.
    async fn part(
        &self,
        of: (&Address, &State),
        fields: &[Field],
        part: (&str, bool, bool),
    ) -> Result<Having, StoreError> {
        let Some(words) = self.words(of, part).await? else { return Ok(None) };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut matches = Matches::default();
        let take = |_, (message, _), posting: Posting<'_>| !posting.is_word() || matches.add(message);
        let stopped = self.postings(of, (&words, fields), take).await?;
        Ok(matches.having(stopped))
    }

    /// The messages that have a term which stands for no word.
    async fn with_sign(&self, (account, state): (&Address, &State), sign: &str) -> Result<Having, StoreError> {
        let mut matches = Matches::default();
        for (id, facts) in state.segments.iter().filter(|(_, facts)| sign != CUT || facts.cut > 0) {
            let each = |_, message, _: &[u8]| Ok(state.is_dead(id, message) || matches.add(message));
            if self.lists((account, id, facts), &[sign], each).await? {
                return Ok(None);
            }
        }
        Ok(matches.having(false))
    }

    /// The messages that have it, looked for again where segments went meanwhile.
    async fn signed(&self, account: &Address, sign: &str) -> Result<Having, StoreError> {
        let mut state = self.state(account).await?;
        for _ in 0..TRIES {
            let found = self.with_sign((account, &state), sign).await?;
            match self.moved(account, &state).await? {
                None => return Ok(found),
                Some(now) => state = now,
            }
        }
        Err(others(account))
    }

    /// What an index is now, where segments went since it was like this: then what was seen in it is not all there was.
    async fn moved(&self, account: &Address, state: &State) -> Result<Option<State>, StoreError> {
        if state.segments.is_empty() || self.version(account).await? == state.version {
            return Ok(None);
        }
        let now = self.state(account).await?;
        let stay = state.segments.keys().all(|segment| now.segments.contains_key(segment));
        Ok((!stay).then_some(now))
    }

    /// What an index answers, as it was at one moment.
    async fn answer(&self, state: &State, query: &Query) -> Result<Found, StoreError> {
        let of = (&query.account, state);
        let mut found: Having = None;
        let mut whole = true;
        for clause in clauses(query) {
            let fields = &clause.fields;
            let having = match &clause.wants {
                Wants::Word { word, stems } => self.word(of, fields, (word.as_deref(), stems)).await?,
                Wants::Phrase(words) => self.phrase(of, fields, words).await?,
                Wants::Part { text, begins, ends } => self.part(of, fields, (text, *begins, *ends)).await?,
            };
            // What is everywhere narrows nothing; the others still may.
            let Some(having) = having else {
                whole = false;
                continue;
            };
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
            found = self.with_sign(of, CUT).await?.map(|cut| sorted([before, cut].concat()));
        }
        let messages = found.map(|found| found.into_iter().take(query.most).collect());
        Ok(messages.map_or(Found::TooMany, if whole { Found::Messages } else { Found::Among }))
    }
}

#[async_trait]
impl Search for KvSearch {
    async fn index(&self, documents: &[Document]) -> Result<(), StoreError> {
        for some in documents.chunks(AT_ONCE) {
            // Where a message comes twice, its last one stays.
            let mut accounts: BTreeMap<&Address, BTreeMap<u64, &Document>> = BTreeMap::new();
            for document in some {
                accounts.entry(&document.id.account).or_default().insert(document.id.message, document);
            }
            for (account, documents) in accounts {
                let (analyser, own) = (self.analyser.clone(), documents.values().copied().cloned().collect::<Vec<_>>());
                let built = aside(move || built(&analyser, &own)).await?;
                let messages: Vec<u64> = documents.into_keys().collect();
                let draft = Draft { built, begun: None };
                if !self.publish(account, Some(draft), &Change::Replace(&messages)).await? {
                    return Err(others(account));
                }
                self.tidy(account).await?;
            }
        }
        Ok(())
    }

    async fn find(&self, query: &Query) -> Result<Found, StoreError> {
        let mut state = self.state(&query.account).await?;
        for _ in 0..TRIES {
            let found = self.answer(&state, query).await?;
            match self.moved(&query.account, &state).await? {
                None => return Ok(found),
                Some(now) => state = now,
            }
        }
        Err(others(&query.account))
    }

    async fn messages(&self, account: &Address) -> Result<Option<Vec<u64>>, StoreError> {
        self.signed(account, ALL).await
    }

    async fn cut(&self, account: &Address) -> Result<Option<Vec<u64>>, StoreError> {
        self.signed(account, CUT).await
    }

    async fn forget(&self, ids: &[DocumentId]) -> Result<(), StoreError> {
        let mut accounts: BTreeMap<&Address, BTreeSet<u64>> = BTreeMap::new();
        for id in ids {
            accounts.entry(&id.account).or_default().insert(id.message);
        }
        for (account, messages) in accounts {
            let messages: Vec<u64> = messages.into_iter().collect();
            for some in messages.chunks(AT_ONCE) {
                self.publish(account, None, &Change::Replace(some)).await?;
                self.tidy(account).await?;
            }
        }
        Ok(())
    }

    async fn clear(&self, account: &Address) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        // Who writes a segment at this moment loses its guard, and fails.
        for kind in [b"Si", b"St", b"Sv"] {
            batch.clear(KeyRange::prefix(&prefix(kind, account)));
        }
        self.surely(batch).await
    }
}

/// The segment of some messages, ascending.
fn built(analyser: &Analyser, documents: &[Document]) -> Builder {
    let analysed: Vec<(u64, Analysed)> =
        documents.iter().map(|document| (document.id.message, analyser.document(document))).collect();
    let mut terms: Vec<(&str, u64, Vec<u8>)> = Vec::new();
    for (message, analysed) in &analysed {
        terms.push((ALL, *message, Vec::new()));
        if !analysed.whole {
            terms.push((CUT, *message, Vec::new()));
        }
        terms.extend(segment::terms(analysed).into_iter().map(|(term, has)| (term, *message, has)));
    }
    terms.sort_unstable_by_key(|(term, message, _)| (*term, *message));
    let mut built = Builder::default();
    for (term, message, has) in terms {
        built.push(term, message, &has);
    }
    built.finish();
    built
}

/// Messages as they are found.
#[derive(Default)]
struct Matches(Vec<u64>);

impl Matches {
    /// Takes one in; whether there may be more.
    fn add(&mut self, message: u64) -> bool {
        if self.0.last() != Some(&message) {
            self.0.push(message);
        }
        if self.0.len() > 2 * MATCHES_MOST {
            self.0 = sorted(std::mem::take(&mut self.0));
            return self.0.len() <= MATCHES_MOST;
        }
        true
    }

    /// All of them, unless they are too many or were `stopped` for it.
    fn having(self, stopped: bool) -> Having {
        let all = sorted(self.0);
        (!stopped && all.len() <= MATCHES_MOST).then_some(all)
    }
}

fn sorted(mut messages: Vec<u64>) -> Vec<u64> {
    messages.sort_unstable();
    messages.dedup();
    messages
}

fn others(account: &Address) -> StoreError {
    StoreError::Unavailable(Cause::new(format!("others keep changing the full-text index of {account}")))
}

fn torn(account: &Address) -> StoreError {
    StoreError::Corrupt { what: format!("full-text index of {account}") }
}

fn prefix(kind: &[u8; 2], account: &Address) -> Vec<u8> {
    [kind, account.to_string().as_bytes(), &[0]].concat()
}

fn state_key(account: &Address, kind: u8, id: &SegmentId) -> Vec<u8> {
    [&prefix(b"Si", account)[..], &[kind], id].concat()
}

fn chunk_prefix(kind: Kind, account: &Address, id: &SegmentId) -> Vec<u8> {
    let kind = match kind {
        Kind::Terms => b"St",
        Kind::Words => b"Sv",
    };
    [&prefix(kind, account)[..], id].concat()
}
