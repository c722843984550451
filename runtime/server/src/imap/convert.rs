//! Between the store's types and the session's.

use proto::imap::FlagRow;
use proto::imap::facts::{MailboxFacts, StatusFacts};
use proto::imap::types::{Flag, SpecialUse as Wire};
use store::mailbox::row::MailboxRow;
use store::mailbox::{self, Entry, Flags, SpecialUse};

/// Every name of an account, subscriptions to absent ones included.
pub fn mailboxes(all: Vec<mailbox::MailboxFacts>, subscribed: Vec<String>, status: bool) -> Vec<MailboxFacts> {
    let subscribed: std::collections::BTreeSet<String> = subscribed.into_iter().collect();
    let mut absent = subscribed.clone();
    let mut names = Vec::with_capacity(all.len());
    for mailbox in all {
        absent.remove(&mailbox.row.name);
        names.push(MailboxFacts {
            subscribed: subscribed.contains(&mailbox.row.name),
            selectable: true,
            exists: true,
            special_use: mailbox.row.special_use.map(special_use),
            status: status.then(|| self::status(&mailbox.row)),
            name: mailbox.row.name,
        });
    }
    names.extend(absent.into_iter().map(|name| MailboxFacts { name, subscribed: true, ..MailboxFacts::default() }));
    names
}

/// What STATUS tells of a mailbox.
pub fn status(row: &MailboxRow) -> StatusFacts {
    StatusFacts {
        messages: row.messages,
        unseen: row.unseen,
        deleted: row.deleted,
        uid_next: row.uid_next,
        uid_validity: row.uid_validity,
        highest_modseq: row.modseq.max(1),
        size: row.size,
    }
}

fn special_use(from: SpecialUse) -> Wire {
    match from {
        SpecialUse::Archive => Wire::Archive,
        SpecialUse::Drafts => Wire::Drafts,
        SpecialUse::Junk => Wire::Junk,
        SpecialUse::Sent => Wire::Sent,
        SpecialUse::Trash => Wire::Trash,
    }
}

/// The store's use for the wire's; none for `\All` and `\Flagged`, which are views and not mailboxes.
pub fn special_use_of(from: Wire) -> Option<SpecialUse> {
    match from {
        Wire::Archive => Some(SpecialUse::Archive),
        Wire::Drafts => Some(SpecialUse::Drafts),
        Wire::Junk => Some(SpecialUse::Junk),
        Wire::Sent => Some(SpecialUse::Sent),
        Wire::Trash => Some(SpecialUse::Trash),
        Wire::All | Wire::Flagged => None,
    }
}

const SYSTEM: [(Flag, u8); 5] = [
    (Flag::Answered, Flags::ANSWERED),
    (Flag::Flagged, Flags::FLAGGED),
    (Flag::Deleted, Flags::DELETED),
    (Flag::Seen, Flags::SEEN),
    (Flag::Draft, Flags::DRAFT),
];

/// Flags as the session names them.
pub fn flags(from: &Flags) -> Vec<Flag> {
    let system = SYSTEM.iter().filter(|(_, bit)| from.has(*bit)).map(|(flag, _)| flag.clone());
    system.chain(from.keywords.iter().map(|keyword| Flag::Keyword(keyword.to_string()))).collect()
}

/// Flags as the store keeps them.
pub fn flags_of(from: &[Flag]) -> Flags {
    let mut flags = Flags::default();
    for flag in from {
        let one = match (flag, SYSTEM.iter().find(|(known, _)| known == flag)) {
            (Flag::Keyword(keyword), _) => Flags { system: 0, keywords: vec![keyword.as_str().into()] },
            (_, Some((_, bit))) => Flags { system: *bit, keywords: Vec::new() },
            (_, None) => Flags::default(),
        };
        flags.add(&one);
    }
    flags
}

/// A message's flags at its modseq.
pub fn row(entry: &Entry) -> FlagRow {
    FlagRow { uid: entry.uid, flags: flags(&entry.flags), modseq: entry.modseq }
}
