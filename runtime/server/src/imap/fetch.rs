//! Rows for FETCH: what can be told from a message's entry is; its octets are read only where they are needed.

use super::convert;
use bytes::Bytes;
use mail::message::{self, Kind, Message, Part};
use proto::BlobRef;
use proto::imap::facts::{Body, BodyKind, BodyPart, Envelope, FetchRow, FetchWants, Mailbox};
use proto::imap::types::{Section, SectionText};
use schema::name::Address;
use std::ops::Range;
use store::mailbox::{Entry, Flags, How, MailboxError, Mailboxes};

/// Octets of a section that are handed over; larger ones are sent from the store.
const INLINE_MOST: u64 = 4 << 10;

/// What is wanted.
pub struct Want<'a> {
    /// Of which messages.
    pub uids: &'a [u32],
    /// What of each.
    pub wants: &'a FetchWants,
    /// Only those with a larger modseq.
    pub changed_since: Option<u64>,
    /// Set `\Seen` first.
    pub mark_seen: bool,
}

/// The rows of those messages that exist, ascending.
///
/// # Errors
/// The store's.
pub async fn rows(
    mailboxes: &Mailboxes,
    (account, mailbox): (&Address, u32),
    want: Want<'_>,
) -> Result<Vec<FetchRow>, MailboxError> {
    let mut entries = mailboxes.some(account, mailbox, want.uids).await?;
    if let Some(since) = want.changed_since {
        entries.retain(|entry| entry.modseq > since);
    }
    let mut now_seen = Vec::new();
    if want.mark_seen {
        let unseen = |entry: &&Entry| !entry.flags.has(Flags::SEEN);
        now_seen = entries.iter().filter(unseen).map(|entry| entry.uid).collect();
        if !now_seen.is_empty() {
            let seen = Flags { system: Flags::SEEN, keywords: Vec::new() };
            let now = crate::clock::now();
            let place = (account, mailbox);
            let stored = mailboxes.flag(place, &now_seen, (How::Add, &seen, None), now).await?.entries;
            for entry in &mut entries {
                if let Some(new) = stored.iter().find(|new| new.uid == entry.uid) {
                    *entry = new.clone();
                }
            }
        }
    }
    let mut rows = Vec::with_capacity(entries.len());
    for entry in &entries {
        rows.push(row(mailboxes, entry, want.wants, now_seen.contains(&entry.uid)).await?);
    }
    Ok(rows)
}

async fn row(
    mailboxes: &Mailboxes,
    entry: &Entry,
    wants: &FetchWants,
    now_seen: bool,
) -> Result<FetchRow, MailboxError> {
    let mut row = FetchRow {
        uid: entry.uid,
        modseq: entry.modseq,
        flags: convert::flags(&entry.flags),
        now_seen,
        internal_date: entry.date,
        size: entry.size,
        envelope: None,
        structure: None,
        sections: Vec::with_capacity(wants.sections.len()),
    };
    let whole = |section: &Section| section.path.is_empty() && section.text == SectionText::All;
    let parsed = wants.envelope || wants.structure || wants.sections.iter().any(|section| !whole(section));
    if !parsed {
        for section in &wants.sections {
            row.sections.push(stored(entry, 0..entry.size, section.partial));
        }
        return Ok(row);
    }
    let octets = mailboxes.whole(entry.blob, entry.size).await?;
    let message = Message::parse(&octets);
    if wants.envelope {
        row.envelope = Some(envelope(slice(&octets, &message.root.header)));
    }
    if wants.structure {
        row.structure = Some(structure(&octets, &message.root));
    }
    for section in &wants.sections {
        row.sections.push(body(entry, &octets, &message, section));
    }
    Ok(row)
}

/// The octets of a section.
fn body(entry: &Entry, octets: &Bytes, message: &Message<'_>, section: &Section) -> Body {
    let part = if section.path.is_empty() { Some(&message.root) } else { message.part(&section.path) };
    let Some(part) = part else { return Body::Nil };
    // HEADER and TEXT are of a message: the whole one, or one that a part holds.
    let of_message = match (&part.kind, section.path.is_empty()) {
        (_, true) => Some(part),
        (Kind::Message(inner), false) => Some(&**inner),
        _ => None,
    };
    let range = match (&section.text, of_message) {
        (SectionText::All, _) if section.path.is_empty() => 0..octets.len(),
        (SectionText::All, _) => part.body.clone(),
        (SectionText::Mime, _) => part.header.clone(),
        (_, None) => return Body::Nil,
        (SectionText::Header, Some(message)) => message.header.clone(),
        (SectionText::Text, Some(message)) => message.body.clone(),
        (SectionText::Fields { names, not }, Some(message)) => {
            let fields = message::header_fields(slice(octets, &message.header), names, *not);
            let range = partial(0..fields.len() as u64, section.partial);
            return Body::Inline(Bytes::from(fields).slice(cut(&range)));
        }
    };
    let range = partial(range.start as u64..range.end as u64, section.partial);
    if range.end - range.start <= INLINE_MOST {
        return Body::Inline(octets.slice(cut(&range)));
    }
    Body::Blob { blob: BlobRef(entry.blob.0), part: range }
}

fn stored(entry: &Entry, range: Range<u64>, part: Option<(u32, u32)>) -> Body {
    Body::Blob { blob: BlobRef(entry.blob.0), part: partial(range, part) }
}

fn partial(range: Range<u64>, part: Option<(u32, u32)>) -> Range<u64> {
    let Some((origin, length)) = part else { return range };
    let start = range.start.saturating_add(u64::from(origin)).min(range.end);
    start..start.saturating_add(u64::from(length)).min(range.end)
}

// A range of octets in memory fits a usize.
fn cut(range: &Range<u64>) -> Range<usize> {
    usize::try_from(range.start).unwrap_or(0)..usize::try_from(range.end).unwrap_or(0)
}

fn slice<'a>(octets: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    octets.get(range.clone()).unwrap_or_default()
}

fn envelope(header: &[u8]) -> Envelope {
    let from = message::envelope(header);
    let text = |octets: Option<Vec<u8>>| octets.map(Bytes::from);
    let people = |list: Vec<message::Mailbox>| {
        let one =
            |who: message::Mailbox| Mailbox { name: text(who.name), mailbox: text(who.mailbox), host: text(who.host) };
        list.into_iter().map(one).collect()
    };
    Envelope {
        date: text(from.date),
        subject: text(from.subject),
        from: people(from.from),
        sender: people(from.sender),
        reply_to: people(from.reply_to),
        to: people(from.to),
        cc: people(from.cc),
        bcc: people(from.bcc),
        in_reply_to: text(from.in_reply_to),
        message_id: text(from.message_id),
    }
}

fn structure(octets: &[u8], part: &Part) -> BodyPart {
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let maybe = |option: &Option<String>| option.as_deref().map(text);
    let pairs = |list: &[(String, String)]| list.iter().map(|(name, value)| (text(name), text(value))).collect();
    let kind = match &part.kind {
        Kind::Basic => BodyKind::Basic,
        Kind::Text => BodyKind::Text { lines: part.lines },
        Kind::Message(inner) => BodyKind::Message {
            envelope: Box::new(envelope(slice(octets, &inner.header))),
            body: Box::new(structure(octets, inner)),
            lines: part.lines,
        },
        Kind::Multipart(parts) => BodyKind::Multipart(parts.iter().map(|part| structure(octets, part)).collect()),
    };
    BodyPart {
        media_type: text(&part.media_type),
        subtype: text(&part.subtype),
        parameters: pairs(&part.parameters),
        id: maybe(&part.id),
        description: maybe(&part.description),
        encoding: maybe(&part.encoding).unwrap_or_default(),
        size: part.body.len() as u64,
        md5: maybe(&part.md5),
        disposition: part.disposition.as_ref().map(|(kind, list)| (text(kind), pairs(list))),
        language: part.language.iter().map(|language| text(language)).collect(),
        location: maybe(&part.location),
        kind,
    }
}
