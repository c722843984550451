//! SEARCH: what an entry tells is asked first, then the full-text index, and the octets only of what is left.
//!
//! A text matches wherever it stands, within words too (RFC 9051 §6.4.4). The index names every message that may hold it;
//! those are looked at, and so are messages that are not indexed yet. `TEXT` looks at the text and at the fields of the
//! header that people read ([`store::search::message`]), `HEADER` at any field.

use super::convert;
use crate::clock;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use mail::message::{self, Texts};
use proto::imap::Answer;
use proto::imap::types::{Flag, SearchField, SearchKey, When};
use schema::name::Address;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::error::StoreError;
use store::mailbox::{Entry, MailboxError};
use store::open::Stores;
use store::search::message::HEADERS;
use store::search::{Field, Found, How, MATCHES_MOST, Query, Term};
use tracing::warn;

/// Octets of a message whose text is looked at.
const TEXT_MOST: u64 = 16 << 20;
/// Up to so many messages are looked at without asking the index.
const FEW: usize = 16;
/// Messages that are looked at at once.
const LOOKED_AT_ONCE: usize = 8;
/// Keys within keys that the index is asked about.
const DEPTH_MOST: usize = 8;

/// The messages that a key matches.
///
/// # Errors
/// The store's.
pub async fn find(stores: &Stores, place: (&Address, u32), key: SearchKey) -> Result<Answer, MailboxError> {
    let now = clock::now();
    let mut found = Vec::new();
    let mut open = Vec::new();
    for entry in stores.mailboxes.entries(place.0, place.1).await? {
        match by_entry(&key, &entry, now) {
            Some(true) => found.push((entry.uid, entry.modseq)),
            Some(false) => {}
            None => open.push(entry),
        }
    }
    if open.len() > FEW {
        // Asked first: what is indexed meanwhile is looked at, and not missed.
        let seen = stores.indexer.seen(place.0, place.1).await?;
        match narrowed(stores, place, &key, 0).await {
            Ok(Some(may)) => open.retain(|entry| entry.uid >= seen || may.contains(&entry.uid)),
            Ok(None) => {}
            Err(error) => warn!(%error, "the full-text index does not answer: every message is looked at"),
        }
    }
    let key = Arc::new(key);
    let mut looked = stream::iter(open.into_iter().map(|entry| looked_at(stores, Arc::clone(&key), entry, now)))
        .buffer_unordered(LOOKED_AT_ONCE);
    while let Some(matching) = looked.try_next().await? {
        found.extend(matching);
    }
    found.sort_unstable();
    Ok(Answer::Found(found))
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

/// Those of the indexed messages that may match, by UID; `None` where the index does not tell.
fn narrowed<'a>(
    stores: &'a Stores,
    place: (&'a Address, u32),
    key: &'a SearchKey,
    depth: usize,
) -> BoxFuture<'a, Result<Option<BTreeSet<u32>>, StoreError>> {
    Box::pin(async move {
        Ok(match key {
            _ if depth > DEPTH_MOST => None,
            SearchKey::And(keys) => {
                let mut all: Option<BTreeSet<u32>> = None;
                for key in keys {
                    if let Some(these) = narrowed(stores, place, key, depth + 1).await? {
                        all = Some(all.map_or_else(|| these.clone(), |all| &all & &these));
                    }
                }
                all
            }
            SearchKey::Or(pair) => {
                let first = narrowed(stores, place, &pair.0, depth + 1).await?;
                let second = narrowed(stores, place, &pair.1, depth + 1).await?;
                first.zip(second).map(|(first, second)| &first | &second)
            }
            SearchKey::Text(field, text) => match fields(field) {
                Some(fields) => asked(stores, place, Term { fields, text: text.clone() }).await?,
                None => None,
            },
            _ => None,
        })
    })
}

async fn asked(
    stores: &Stores,
    (account, mailbox): (&Address, u32),
    term: Term,
) -> Result<Option<BTreeSet<u32>>, StoreError> {
    let query = Query { account: account.clone(), terms: vec![term], how: How::Part, most: MATCHES_MOST };
    Ok(match stores.search.find(&query).await? {
        Found::TooMany => None,
        Found::Messages(all) if all.len() >= MATCHES_MOST => None,
        Found::Messages(all) => {
            let own = |message: &u64| message >> 32 == u64::from(mailbox);
            Some(all.into_iter().filter(own).filter_map(|message| u32::try_from(message & 0xFFFF_FFFF).ok()).collect())
        }
    })
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

/// Whether a message matches, as far as its entry tells.
fn by_entry(key: &SearchKey, entry: &Entry, now: i64) -> Option<bool> {
    match key {
        SearchKey::All => Some(true),
        SearchKey::And(keys) => {
            let mut all = Some(true);
            for key in keys {
                match by_entry(key, entry, now) {
                    Some(false) => return Some(false),
                    Some(true) => {}
                    None => all = None,
                }
            }
            all
        }
        SearchKey::Or(pair) => match (by_entry(&pair.0, entry, now), by_entry(&pair.1, entry, now)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        SearchKey::Not(key) => by_entry(key, entry, now).map(|known| !known),
        SearchKey::Messages(set) => Some(set.contains(entry.uid)),
        SearchKey::Flag(flag) => Some(has(entry, flag)),
        SearchKey::Arrived(when, date) => Some(compares(*when, day(entry.date), *date)),
        SearchKey::Larger(octets) => Some(entry.size > *octets),
        SearchKey::Smaller(octets) => Some(entry.size < *octets),
        SearchKey::Older(seconds) => Some(now.saturating_sub(entry.date) >= i64::from(*seconds)),
        SearchKey::Younger(seconds) => Some(now.saturating_sub(entry.date) <= i64::from(*seconds)),
        SearchKey::ModSeq(modseq) => Some(entry.modseq >= *modseq),
        SearchKey::Text(..) | SearchKey::Sent(..) => None,
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
    texts: Texts,
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
        SearchKey::Text(field, text) => holds(field, &text.to_lowercase(), read),
        other => by_entry(other, entry, now).unwrap_or(false),
    }
}

fn sent(header: &[u8]) -> Option<Date> {
    let (year, month, day) = message::sent_date(header)?;
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn holds(field: &SearchField, text: &str, read: &Read<'_>) -> bool {
    let within = |whole: &str| whole.to_lowercase().contains(text);
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
