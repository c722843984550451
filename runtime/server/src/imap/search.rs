//! SEARCH: what an entry tells is asked first, the octets only of what is left.

use super::convert;
use crate::clock;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use mail::message::{self, Texts};
use proto::imap::Answer;
use proto::imap::types::{Flag, SearchField, SearchKey, When};
use schema::name::Address;
use store::mailbox::{Entry, MailboxError, Mailboxes};

/// Octets of a message whose text is looked at.
const TEXT_MOST: u64 = 16 << 20;

/// The messages that a key matches.
///
/// # Errors
/// The store's.
pub async fn find(
    mailboxes: &Mailboxes,
    (account, mailbox): (&Address, u32),
    key: SearchKey,
) -> Result<Answer, MailboxError> {
    let now = clock::now();
    let mut found = Vec::new();
    for entry in mailboxes.entries(account, mailbox).await? {
        let right = match by_entry(&key, &entry, now) {
            Some(known) => known,
            None => {
                let octets = mailboxes.octets(entry.blob, 0..entry.size.min(TEXT_MOST)).await?;
                let key = key.clone();
                let judged = entry.clone();
                // Decoding a large message takes longer than other sessions should wait.
                let judge = move || by_text(&key, &judged, &Read::new(&octets), now);
                tokio::task::spawn_blocking(judge).await.unwrap_or(false)
            }
        };
        if right {
            found.push((entry.uid, entry.modseq));
        }
    }
    Ok(Answer::Found(found))
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
        let end = message::Message::parse(octets).root.header.end;
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
        SearchField::Body => within(&read.texts.body),
        SearchField::Text => {
            within(&read.texts.body)
                || within(&String::from_utf8_lossy(read.header))
                || within(&message::decoded(&String::from_utf8_lossy(read.header)))
        }
    }
}
