//! What is in a segment: terms in their order and, for each, the messages that have it.
//!
//! A segment is cut into chunks. A chunk of terms holds for each term: how much of the term before it begins with (u8), how
//! long the rest is (u8), the rest, how long its list is, its list. A list holds for each message, ascending: its distance
//! to the message before, how long what it has is, what it has. That is for each field where the term stands: an octet
//! with the field (three bits), whether a mark follows (one bit) and how often it stands there (four bits; fifteen: a
//! number follows), the mark of its stem, and the distances from each place to the one before. A long list goes on in
//! the next chunk under the same term. A chunk of words holds the terms that stand somewhere as words, likewise, without
//! lists.
//!
//! Numbers take seven bits an octet, the lowest first.

use crate::kv::Batch;
use crate::search::Field;
use crate::search::analyse::{Analysed, Mark, positions};
use bytes::Bytes;
use std::collections::BTreeMap;

/// The term that every message of a segment has. No word is like it.
pub const ALL: &str = "";
/// The term of messages that are not indexed whole. No word is like it.
pub const CUT: &str = "\u{1}";
/// Octets from which on a chunk is full. With the longest entry (see [`super::super::TOKENS_MOST`]) it fits
/// [`crate::kv::VALUE_MOST`].
pub const CHUNK: usize = 16 << 10;
/// The most spans by which a segment tells which messages it may have.
const SPANS_MOST: usize = 8;
/// The number of places from which on it is written by itself.
const MANY: u8 = 15;

/// What is read cannot be what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn;

/// A kind of chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Terms with their lists.
    Terms,
    /// Words alone.
    Words,
}

/// A finished chunk.
#[derive(Clone, Debug)]
pub struct Row {
    /// Of what.
    pub kind: Kind,
    /// Its last term and its number among those of its kind, so that whoever looks for a term begins at the first key that
    /// is not before it.
    pub tail: Vec<u8>,
    /// What is in it.
    pub value: Vec<u8>,
}

/// What is known of a segment without looking into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Messages that were written into it.
    pub messages: u64,
    /// Those of them that are not indexed whole.
    pub cut: u64,
    /// Those of them that are no longer found by it.
    pub dead: u64,
    /// Octets of its chunks.
    pub octets: u64,
    /// Every message lies in one of these, first and last; ascending.
    pub spans: Vec<(u64, u64)>,
}

impl Facts {
    /// Whether a message may be in it.
    pub fn may_have(&self, message: u64) -> bool {
        self.spans.iter().any(|(first, last)| (*first..=*last).contains(&message))
    }

    /// Takes in a message that comes after all others.
    fn add(&mut self, message: u64) {
        self.messages += 1;
        match self.spans.last_mut() {
            // The same mailbox.
            Some((_, last)) if *last >> 32 == message >> 32 => *last = message,
            _ => self.spans.push((message, message)),
        }
        if self.spans.len() > SPANS_MOST {
            let gap = |two: &[(u64, u64)]| match two {
                [(_, before), (after, _)] => after - before,
                _ => u64::MAX,
            };
            let least = self.spans.windows(2).enumerate().min_by_key(|(_, two)| gap(two)).map_or(0, |(at, _)| at);
            let (_, last) = self.spans.remove(least + 1);
            if let Some(span) = self.spans.get_mut(least) {
                span.1 = last;
            }
        }
    }

    /// As it is kept.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.messages, self.cut, self.dead, self.octets] {
            put_number(&mut out, number);
        }
        for (first, last) in &self.spans {
            put_number(&mut out, *first);
            put_number(&mut out, last - first);
        }
        out
    }

    /// As it was kept.
    pub fn read(mut from: &[u8]) -> Result<Facts, Torn> {
        let mut facts = Facts {
            messages: number(&mut from)?,
            cut: number(&mut from)?,
            dead: number(&mut from)?,
            octets: number(&mut from)?,
            spans: Vec::new(),
        };
        while !from.is_empty() {
            let (first, more) = (number(&mut from)?, number(&mut from)?);
            facts.spans.push((first, first.checked_add(more).ok_or(Torn)?));
        }
        Ok(facts)
    }
}

/// Puts a segment together, from terms in ascending order and within a term from messages in ascending order.
#[derive(Default)]
pub struct Builder {
    /// Chunks that nobody has taken yet.
    pub rows: Vec<Row>,
    /// What they weigh in a batch.
    pub weight: usize,
    /// What the segment is so far; complete after [`Builder::finish`].
    pub facts: Facts,
    terms: Chunk,
    words: Chunk,
    term: String,
    is_word: bool,
    list: Vec<u8>,
    before: u64,
}

/// A chunk that is being filled.
#[derive(Default)]
struct Chunk {
    value: Vec<u8>,
    last: String,
    number: u32,
}

impl Chunk {
    fn put(&mut self, term: &str) {
        let same = || self.last.bytes().zip(term.bytes()).take_while(|(a, b)| a == b).count().min(usize::from(u8::MAX));
        let shared = if self.value.is_empty() { 0 } else { self.last.floor_char_boundary(same()) };
        let rest = term.as_bytes().get(shared..).unwrap_or_default();
        // WORD_MOST keeps the length within 8 bits: a stem is hardly longer than its word.
        self.value.extend([u8::try_from(shared).unwrap_or(u8::MAX), u8::try_from(rest.len()).unwrap_or(u8::MAX)]);
        self.value.extend(rest);
        self.last.replace_range(.., term);
    }

    fn close(&mut self, kind: Kind) -> Row {
        let tail = [self.last.as_bytes(), &[0], &self.number.to_be_bytes()].concat();
        self.number += 1;
        Row { kind, tail, value: std::mem::take(&mut self.value) }
    }
}

impl Builder {
    /// Adds that a message has this of a term.
    pub fn push(&mut self, term: &str, message: u64, has: &[u8]) {
        if self.term != term {
            self.end_term();
            self.term.replace_range(.., term);
        }
        match term {
            ALL => self.facts.add(message),
            CUT => self.facts.cut += 1,
            _ => self.is_word = self.is_word || postings(has).flatten().any(|(_, posting)| posting.is_word()),
        }
        put_number(&mut self.list, message.wrapping_sub(self.before));
        self.before = message;
        put_number(&mut self.list, has.len() as u64);
        self.list.extend(has);
        if self.terms.value.len() + self.list.len() >= CHUNK {
            self.end_list();
        }
    }

    fn end_term(&mut self) {
        self.end_list();
        if std::mem::take(&mut self.is_word) {
            self.words.put(&self.term);
            if self.words.value.len() >= CHUNK {
                let row = self.words.close(Kind::Words);
                self.keep(row);
            }
        }
    }

    /// Ends the list, or this part of it.
    fn end_list(&mut self) {
        if self.list.is_empty() {
            return;
        }
        self.terms.put(&self.term);
        put_number(&mut self.terms.value, self.list.len() as u64);
        self.terms.value.append(&mut self.list);
        self.before = 0;
        if self.terms.value.len() >= CHUNK {
            let row = self.terms.close(Kind::Terms);
            self.keep(row);
        }
    }

    fn keep(&mut self, row: Row) {
        self.facts.octets += row.value.len() as u64;
        self.weight += weight_of(&row);
        self.rows.push(row);
    }

    /// Takes the first rows, up to this weight or the first one.
    pub fn take(&mut self, most: usize) -> Vec<Row> {
        let (mut weight, mut count) = (0, 0);
        for row in &self.rows {
            if count > 0 && weight + weight_of(row) > most {
                break;
            }
            weight += weight_of(row);
            count += 1;
        }
        self.weight -= weight;
        self.rows.drain(..count).collect()
    }

    /// Ends the last chunks.
    pub fn finish(&mut self) {
        self.end_term();
        for kind in [Kind::Terms, Kind::Words] {
            let chunk = if kind == Kind::Terms { &mut self.terms } else { &mut self.words };
            if !chunk.value.is_empty() {
                let row = chunk.close(kind);
                self.keep(row);
            }
        }
    }
}

fn weight_of(row: &Row) -> usize {
    Batch::put_weight(row.tail.len() + super::PREFIX, row.value.len())
}

/// The terms of a chunk, one after the other.
pub struct Terms {
    rest: Bytes,
    kind: Kind,
    /// The term that the last [`Terms::advance`] came to.
    pub term: String,
}

impl Terms {
    /// Reads a chunk.
    pub fn new(kind: Kind, value: Bytes) -> Terms {
        Terms { rest: value, kind, term: String::new() }
    }

    /// Goes to the next term: its list, which is empty in a chunk of words; `None` at the end.
    pub fn advance(&mut self) -> Result<Option<Bytes>, Torn> {
        let [shared, length, rest @ ..] = &self.rest[..] else {
            return if self.rest.is_empty() { Ok(None) } else { Err(Torn) };
        };
        let own = rest.get(..usize::from(*length)).ok_or(Torn)?;
        let shared = usize::from(*shared);
        if !self.term.is_char_boundary(shared) {
            return Err(Torn);
        }
        self.term.truncate(shared);
        self.term.push_str(std::str::from_utf8(own).map_err(|_| Torn)?);
        let mut after = rest.get(usize::from(*length)..).ok_or(Torn)?;
        let list = match self.kind {
            Kind::Words => 0,
            Kind::Terms => usize::try_from(number(&mut after)?).map_err(|_| Torn)?,
        };
        let begins = self.rest.len() - after.len();
        if after.len() < list {
            return Err(Torn);
        }
        let mut list_and_rest = self.rest.split_off(begins);
        self.rest = list_and_rest.split_off(list);
        Ok(Some(list_and_rest))
    }
}

/// The messages of a list, and what each has of the term.
pub fn entries(mut list: &[u8]) -> impl Iterator<Item = Result<(u64, &[u8]), Torn>> {
    let mut before = 0_u64;
    std::iter::from_fn(move || {
        if list.is_empty() {
            return None;
        }
        let mut next = || {
            before = before.checked_add(number(&mut list)?).ok_or(Torn)?;
            let length = usize::try_from(number(&mut list)?).map_err(|_| Torn)?;
            let (has, rest) = list.split_at_checked(length).ok_or(Torn)?;
            list = rest;
            Ok((before, has))
        };
        let read = next();
        if read.is_err() {
            list = &[];
        }
        Some(read)
    })
}

/// A term in a field of a message.
#[derive(Clone, Copy, Debug)]
pub struct Posting<'a> {
    /// The mark of the stem that it is there; 0: none.
    pub mark: Mark,
    places: &'a [u8],
}

impl Posting<'_> {
    /// Whether it stands there as a word.
    pub fn is_word(&self) -> bool {
        !self.places.is_empty()
    }

    /// Where it stands as a word.
    pub fn places(&self) -> impl Iterator<Item = u32> {
        let (mut rest, mut at) = (self.places, 0_u32);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            at = at.checked_add(u32::try_from(number(&mut rest).ok()?).ok()?)?;
            Some(at)
        })
    }
}

/// What a message has of a term, field by field.
pub fn postings(mut has: &[u8]) -> impl Iterator<Item = Result<(Field, Posting<'_>), Torn>> {
    std::iter::from_fn(move || {
        let [head, rest @ ..] = has else { return None };
        has = rest;
        let mut read = || {
            let field = Field::ALL.into_iter().find(|field| code(*field) == head & 7).ok_or(Torn)?;
            let mut mark = 0;
            if head & 8 != 0 {
                let [read, rest @ ..] = has else { return Err(Torn) };
                (mark, has) = (*read, rest);
            }
            let count = match head >> 4 {
                MANY => number(&mut has)?,
                few => u64::from(few),
            };
            let from = has;
            for _ in 0..count {
                number(&mut has)?;
            }
            let places = from.get(..from.len() - has.len()).ok_or(Torn)?;
            Ok((field, Posting { mark, places }))
        };
        let one = read();
        if one.is_err() {
            has = &[];
        }
        Some(one)
    })
}

/// What a document has of each of its terms.
pub fn terms(analysed: &Analysed) -> BTreeMap<&str, Vec<u8>> {
    let mut marks: BTreeMap<(&str, Field), Mark> = BTreeMap::new();
    for (field, mark, stem) in &analysed.stems {
        marks.insert((stem, *field), *mark);
    }
    let mut all: BTreeMap<(&str, Field), (Mark, Vec<u32>)> = BTreeMap::new();
    for (at, places) in positions(analysed) {
        all.insert(at, (marks.remove(&at).unwrap_or(0), places));
    }
    all.extend(marks.into_iter().map(|(at, mark)| (at, (mark, Vec::new()))));
    let mut made: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for ((term, field), (mark, places)) in all {
        put_posting(made.entry(term).or_default(), field, mark, &places);
    }
    made
}

fn put_posting(out: &mut Vec<u8>, field: Field, mark: Mark, places: &[u32]) {
    let count = u8::try_from(places.len()).unwrap_or(MANY).min(MANY);
    out.push(code(field) | u8::from(mark != 0) << 3 | count << 4);
    if mark != 0 {
        out.push(mark);
    }
    if count == MANY {
        put_number(out, places.len() as u64);
    }
    let mut before = 0;
    for place in places {
        put_number(out, u64::from(place - before));
        before = *place;
    }
}

/// Messages, ascending, as distances.
pub fn put_messages(messages: &[u64]) -> Vec<u8> {
    let (mut out, mut before) = (Vec::new(), 0);
    for message in messages {
        put_number(&mut out, message.wrapping_sub(before));
        before = *message;
    }
    out
}

/// What [`put_messages`] wrote.
pub fn messages(mut from: &[u8]) -> Result<Vec<u64>, Torn> {
    let (mut all, mut before) = (Vec::new(), 0_u64);
    while !from.is_empty() {
        before = before.checked_add(number(&mut from)?).ok_or(Torn)?;
        all.push(before);
    }
    Ok(all)
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7F {
        // The lowest seven bits.
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(from: &mut &[u8]) -> Result<u64, Torn> {
    let (mut number, mut shift) = (0_u64, 0);
    loop {
        let [octet, rest @ ..] = from else { return Err(Torn) };
        *from = rest;
        if shift > 63 {
            return Err(Torn);
        }
        number |= u64::from(octet & 0x7F) << shift;
        if octet & 0x80 == 0 {
            return Ok(number);
        }
        shift += 7;
    }
}

/// A field as it is kept: changing one needs another [`crate::search::analyse::VERSION`].
fn code(field: Field) -> u8 {
    match field {
        Field::Subject => 0,
        Field::From => 1,
        Field::To => 2,
        Field::Cc => 3,
        Field::Bcc => 4,
        Field::Header => 5,
        Field::Body => 6,
        Field::Attachment => 7,
    }
}
