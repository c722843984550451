//! SEARCH: what an entry tells is asked first, then the full-text index, and the octets only of what is left.
//!
//! A text matches wherever it stands, within words too, in whatever case and with or without accents (RFC 9051 §6.4.4). The
//! index names every message that may hold it. Where the text is a word or a part of one that is all there is to know;
//! else those messages are looked at, and so are messages that are not indexed yet, or not whole. `TEXT` looks at the text
//! and at the fields of the header that people read ([`store::search::message`]), `HEADER` at any field.

use super::convert;
use crate::clock;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use mail::message;
use proto::imap;
use proto::imap::types::{Flag, SearchField, SearchKey, When};
use schema::name::Address;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::error::StoreError;
use store::mailbox::{Entry, MailboxError};
use store::open::Stores;
use store::search::analyse::{decides, folded};
use store::search::message::HEADERS;
use store::search::{Field, Found, How, MATCHES_MOST, Query, Term};
use tracing::warn;

/// Octets of a message whose text is looked at.
const TEXT_MOST: u64 = 16 << 20;
/// Messages of a mailbox up to which they are looked at without asking the index.
const FEW: u32 = 16;
/// Messages that are looked at at once.
const LOOKED_AT_ONCE: usize = 8;
/// Keys within keys that the index narrows.
const DEPTH_MOST: usize = 8;
/// Texts of one question to the index.
const TEXTS_MOST: usize = 16;
/// Questions of one SEARCH to the index.
const QUESTIONS_MOST: usize = 16;

/// Texts that a message must all hold for a key to match.
type Texts<'k> = Vec<(&'k SearchField, &'k str)>;

/// What the index says of some texts.
struct Answer {
    texts: Vec<(SearchField, String)>,
    /// The messages that may hold all of them.
    may: BTreeSet<u32>,
    /// Those of them that must be looked at all the same; `None`: all.
    unsure: Option<BTreeSet<u32>>,
}

impl Answer {
    fn is_of(&self, texts: &Texts<'_>) -> bool {
        self.texts.len() == texts.len()
            && self.texts.iter().zip(texts).all(|(own, (field, text))| own.0 == **field && own.1 == *text)
    }
}

/// What the index says of the texts of a key.
#[derive(Default)]
struct Told {
    answers: Vec<Answer>,
    /// The first UID that it does not know.
    seen: u32,
}

impl Told {
    fn of(&self, key: &SearchKey) -> Option<&Answer> {
        let texts = together(key);
        self.answers.iter().find(|answer| !texts.is_empty() && answer.is_of(&texts))
    }

    /// Whether a message holds the texts that stand together in a key; `None` where it has to be looked at.
    fn holds(&self, uid: u32, key: &SearchKey) -> Option<bool> {
        let answer = self.of(key).filter(|_| uid < self.seen)?;
        if !answer.may.contains(&uid) {
            return Some(false);
        }
        answer.unsure.as_ref().filter(|unsure| !unsure.contains(&uid)).map(|_| true)
    }

    /// Those of the messages that it knows that may match; `None`: any.
    fn narrowed(&self, key: &SearchKey, depth: usize) -> Option<BTreeSet<u32>> {
        let own = || self.of(key).map(|answer| answer.may.clone());
        match key {
            _ if depth > DEPTH_MOST => None,
            SearchKey::And(keys) => {
                let within = keys.iter().filter(|key| !matches!(key, SearchKey::Text(..)));
                let within = within.filter_map(|key| self.narrowed(key, depth + 1));
                own().into_iter().chain(within).reduce(|all, these| &all & &these)
            }
            SearchKey::Or(pair) => {
                let first = self.narrowed(&pair.0, depth + 1)?;
                Some(&first | &self.narrowed(&pair.1, depth + 1)?)
            }
            SearchKey::Text(..) => own(),
            _ => None,
        }
    }
}

/// The texts of a key that are asked about by one question: its own, or those that stand side by side in it.
fn together(key: &SearchKey) -> Texts<'_> {
    fn text(key: &SearchKey) -> Option<(&SearchField, &str)> {
        match key {
            SearchKey::Text(field, text) if fields(field).is_some() => Some((field, text)),
            _ => None,
        }
    }
    match key {
        SearchKey::And(keys) => keys.iter().filter_map(text).take(TEXTS_MOST).collect(),
        key => text(key).into_iter().collect(),
    }
}

/// The messages that a key matches.
///
/// # Errors
/// The store's.
pub async fn find(stores: &Stores, place: (&Address, u32), key: SearchKey) -> Result<imap::Answer, MailboxError> {
    let now = clock::now();
    let (account, mailbox) = place;
    let mut questions = Vec::new();
    gather(&key, &mut questions);
    let mut told = Told::default();
    if !questions.is_empty() && stores.mailboxes.facts(account, mailbox).await?.row.messages > FEW {
        match ask(stores, place, questions).await {
            Ok(all) => told = all,
            Err(error) => warn!(%error, "the full-text index does not answer: every message is looked at"),
        }
    }
    let entries = match told.narrowed(&key, 0) {
        Some(may) => {
            let uids: Vec<u32> = may.into_iter().filter(|uid| *uid < told.seen).collect();
            let mut entries = stores.mailboxes.some(account, mailbox, &uids).await?;
            entries.extend(stores.mailboxes.since(account, mailbox, told.seen).await?);
            entries
        }
        None => stores.mailboxes.entries(account, mailbox).await?,
    };
    let mut found = Vec::new();
    let mut open = Vec::new();
    for entry in entries {
        match by_entry(&key, &entry, (&told, now)) {
            Some(true) => found.push((entry.uid, entry.modseq)),
            Some(false) => {}
            None => open.push(entry),
        }
    }
    let key = Arc::new(key);
    let mut looked = stream::iter(open.into_iter().map(|entry| looked_at(stores, Arc::clone(&key), entry, now)))
        .buffer_unordered(LOOKED_AT_ONCE);
    while let Some(matching) = looked.try_next().await? {
        found.extend(matching);
    }
    found.sort_unstable();
    Ok(imap::Answer::Found(found))
}

/// A message whose octets have to be looked at, where it matches.
async fn looked_at(
    stores: &Stores,
    key: Arc<SearchKey>,
    entry: Entry,
    now: i64,
) -> Result<Option<(u32, u64)>, StoreError> {
    let octets = stores.mailboxes.whole(entry.blob, entry.size.min(TEXT_MOST)).await?;
    let matching = (entry.uid, entry.modseq);
    // Decoding a large message takes longer than other sessions should wait.
    let judge = move || by_text(&key, &entry, &Read::new(&octets), now);
    Ok(tokio::task::spawn_blocking(judge).await.unwrap_or(false).then_some(matching))
}

/// The questions of a key that the index may answer.
fn gather<'k>(key: &'k SearchKey, questions: &mut Vec<Texts<'k>>) {
    let texts = together(key);
    if !texts.is_empty() && questions.len() < QUESTIONS_MOST && !questions.contains(&texts) {
        questions.push(texts);
    }
    match key {
        SearchKey::And(keys) => {
            keys.iter().filter(|key| !matches!(key, SearchKey::Text(..))).for_each(|key| gather(key, questions));
        }
        SearchKey::Or(pair) => {
            gather(&pair.0, questions);
            gather(&pair.1, questions);
        }
        SearchKey::Not(key) => gather(key, questions),
        _ => {}
    }
}

/// Asks the index.
async fn ask(
    stores: &Stores,
    (account, mailbox): (&Address, u32),
    questions: Vec<Texts<'_>>,
) -> Result<Told, StoreError> {
    let own = |all: Vec<u64>| -> BTreeSet<u32> {
        let own = all.into_iter().filter(|message| message >> 32 == u64::from(mailbox));
        own.filter_map(|message| u32::try_from(message & 0xFFFF_FFFF).ok()).collect()
    };
    // Asked first: what is indexed meanwhile is looked at, and not missed.
    let mut told = Told { answers: Vec::new(), seen: stores.indexer.seen(account, mailbox).await? };
    let mut cut = None;
    for texts in questions {
        let term = |(field, text): &(&SearchField, &str)| Term {
            fields: fields(field).unwrap_or_default(),
            text: (*text).to_owned(),
        };
        let terms = texts.iter().map(term).collect();
        let query = Query { account: account.clone(), terms, how: How::Part, most: MATCHES_MOST };
        let (all, decided) = match stores.search.find(&query).await? {
            Found::TooMany => continue,
            Found::Among(all) => (all, false),
            // Of the fields that share one of the index, it does not know which it was.
            Found::Messages(all) => {
                let alone = |field: &SearchField| fields(field).is_some_and(|fields| fields != [Field::Header]);
                (all, texts.iter().all(|(field, text)| decides(text) && alone(field)))
            }
        };
        if all.len() >= MATCHES_MOST {
            continue;
        }
        let mut unsure = None;
        if decided {
            if cut.is_none() {
                cut = Some(stores.search.cut(account).await?.map(own));
            }
            unsure = cut.clone().flatten();
        }
        let texts = texts.into_iter().map(|(field, text)| (field.clone(), text.to_owned())).collect();
        told.answers.push(Answer { texts, may: own(all), unsure });
    }
    Ok(told)
}

/// Where the index has what a key looks at.
fn fields(field: &SearchField) -> Option<Vec<Field>> {
    Some(match field {
        SearchField::From => vec![Field::From],
        SearchField::To => vec![Field::To],
        SearchField::Cc => vec![Field::Cc],
        SearchField::Bcc => vec![Field::Bcc],
        SearchField::Subject => vec![Field::Subject],
        SearchField::Header(name) => match name.to_ascii_lowercase().as_str() {
            "from" => vec![Field::From],
            "to" => vec![Field::To],
            "cc" => vec![Field::Cc],
            "bcc" => vec![Field::Bcc],
            "subject" => vec![Field::Subject],
            name if HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name)) => vec![Field::Header],
            _ => return None,
        },
        SearchField::Body => vec![Field::Body, Field::Attachment],
        SearchField::Text => Field::ALL.to_vec(),
    })
}

/// Whether a message matches, as far as its entry and the index tell.
fn by_entry(key: &SearchKey, entry: &Entry, (told, now): (&Told, i64)) -> Option<bool> {
    match key {
        SearchKey::All => Some(true),
        SearchKey::And(keys) => {
            // Texts that stand side by side were one question; those that it could not take are looked at.
            let asked = told.of(key).map_or(0, |answer| answer.texts.len());
            let mut all = if asked > 0 { told.holds(entry.uid, key) } else { Some(true) };
            if all == Some(false) {
                return all;
            }
            let mut texts = 0;
            for key in keys {
                if matches!(key, SearchKey::Text(field, _) if fields(field).is_some()) {
                    texts += 1;
                    if texts <= asked {
                        continue;
                    }
                }
                match by_entry(key, entry, (told, now)) {
                    Some(false) => return Some(false),
                    Some(true) => {}
                    None => all = None,
                }
            }
            all
        }
        SearchKey::Or(pair) => match (by_entry(&pair.0, entry, (told, now)), by_entry(&pair.1, entry, (told, now))) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        SearchKey::Not(key) => by_entry(key, entry, (told, now)).map(|known| !known),
        SearchKey::Messages(set) => Some(set.contains(entry.uid)),
        SearchKey::Flag(flag) => Some(has(entry, flag)),
        SearchKey::Arrived(when, date) => Some(compares(*when, day(entry.date), *date)),
        SearchKey::Larger(octets) => Some(entry.size > *octets),
        SearchKey::Smaller(octets) => Some(entry.size < *octets),
        SearchKey::Older(seconds) => Some(now.saturating_sub(entry.date) >= i64::from(*seconds)),
        SearchKey::Younger(seconds) => Some(now.saturating_sub(entry.date) <= i64::from(*seconds)),
        SearchKey::ModSeq(modseq) => Some(entry.modseq >= *modseq),
        SearchKey::Text(..) => told.holds(entry.uid, key),
        SearchKey::Sent(..) => None,
    }
}

fn has(entry: &Entry, flag: &Flag) -> bool {
    match flag {
        Flag::Keyword(keyword) => entry.flags.has_keyword(keyword),
        other => entry.flags.has(convert::flags_of(std::slice::from_ref(other)).system),
    }
}

fn day(seconds: i64) -> Date {
    let when = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    Offset::UTC.to_datetime(when).date()
}

fn compares(when: When, this: Date, with: Date) -> bool {
    match when {
        When::Before => this < with,
        When::On => this == with,
        When::Since => this >= with,
    }
}

/// A message's octets, decoded for a search.
struct Read<'a> {
    header: &'a [u8],
    texts: message::Texts,
}

impl<'a> Read<'a> {
    fn new(octets: &'a [u8]) -> Read<'a> {
        let end = message::header_end(octets);
        Read { header: octets.get(..end).unwrap_or_default(), texts: message::texts(octets) }
    }
}

fn by_text(key: &SearchKey, entry: &Entry, read: &Read<'_>, now: i64) -> bool {
    match key {
        SearchKey::And(keys) => keys.iter().all(|key| by_text(key, entry, read, now)),
        SearchKey::Or(pair) => by_text(&pair.0, entry, read, now) || by_text(&pair.1, entry, read, now),
        SearchKey::Not(key) => !by_text(key, entry, read, now),
        SearchKey::Sent(when, date) => sent(read.header).is_some_and(|day| compares(*when, day, *date)),
        SearchKey::Text(field, text) => holds(field, &folded(text), read),
        other => by_entry(other, entry, (&Told::default(), now)).unwrap_or(false),
    }
}

fn sent(header: &[u8]) -> Option<Date> {
    let (year, month, day) = message::sent_date(header)?;
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn holds(field: &SearchField, text: &str, read: &Read<'_>) -> bool {
    let within = |whole: &str| folded(whole).contains(text);
    let header = |name: &str| {
        let found = message::fields(read.header, name);
        found.iter().any(|value| text.is_empty() || within(value) || within(&message::decoded(value)))
    };
    match field {
        SearchField::From => header("From"),
        SearchField::To => header("To"),
        SearchField::Cc => header("Cc"),
        SearchField::Bcc => header("Bcc"),
        SearchField::Subject => within(&read.texts.subject) || header("Subject"),
        SearchField::Header(name) => header(name),
        SearchField::Body => within(&read.texts.body) || within(&read.texts.attachments),
        SearchField::Text => {
            within(&read.texts.body)
                || within(&read.texts.attachments)
                || within(&read.texts.subject)
                || within(&read.texts.names)
                || ["From", "To", "Cc", "Bcc", "Subject"].into_iter().chain(HEADERS).any(header)
        }
    }
}
