//! What the store keeps of an account, a mailbox and a message.

use super::{Flags, SpecialUse};
use crate::blob::BlobId;
use crate::error::StoreError;
use crate::row::{Packer, Unpacker};

/// An account. Every change of anything in it changes this entry, so that it guards them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// The last change's number.
    pub modseq: u64,
    /// The next mailbox's number.
    pub next_mailbox: u32,
    /// The last mailbox's UIDVALIDITY.
    pub uid_validity: u32,
    /// Octets of all messages, copies counted.
    pub used: u64,
}

impl AccountRow {
    pub(crate) fn read(value: &[u8]) -> Result<AccountRow, StoreError> {
        let mut from = Unpacker::new(value, 1, "an account's entry")?;
        Ok(AccountRow { modseq: from.u64()?, next_mailbox: from.u32()?, uid_validity: from.u32()?, used: from.u64()? })
    }
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut to = Packer::new(1);
        to.u64(self.modseq).u32(self.next_mailbox).u32(self.uid_validity).u64(self.used).done()
    }
}

/// A mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxRow {
    /// With `/` between levels; the inbox is `INBOX`.
    pub name: String,
    /// What it is for (RFC 6154).
    pub special_use: Option<SpecialUse>,
    /// RFC 3501 §2.3.1.1.
    pub uid_validity: u32,
    /// The next message's UID.
    pub uid_next: u32,
    /// The last change in it.
    pub modseq: u64,
    /// Messages.
    pub messages: u32,
    /// Of them without `\Seen`.
    pub unseen: u32,
    /// Of them with `\Deleted`.
    pub deleted: u32,
    /// Octets of its messages.
    pub size: u64,
    /// Entries of the change log that tell of vanished messages.
    pub vanished: u32,
    /// Changes up to this modseq are not all in the log any more.
    pub floor: u64,
}

impl MailboxRow {
    pub(crate) fn new(name: String, special_use: Option<SpecialUse>, uid_validity: u32, modseq: u64) -> MailboxRow {
        MailboxRow {
            name,
            special_use,
            uid_validity,
            uid_next: 1,
            modseq,
            messages: 0,
            unseen: 0,
            deleted: 0,
            size: 0,
            vanished: 0,
            floor: 0,
        }
    }
    pub(crate) fn read(value: &[u8]) -> Result<MailboxRow, StoreError> {
        let mut from = Unpacker::new(value, 1, "a mailbox's entry")?;
        Ok(MailboxRow {
            name: from.text()?.to_owned(),
            special_use: SpecialUse::of(from.u8()?),
            uid_validity: from.u32()?,
            uid_next: from.u32()?,
            modseq: from.u64()?,
            messages: from.u32()?,
            unseen: from.u32()?,
            deleted: from.u32()?,
            size: from.u64()?,
            vanished: from.u32()?,
            floor: from.u64()?,
        })
    }
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut to = Packer::new(1);
        to.text(&self.name).u8(self.special_use.map_or(0, SpecialUse::code));
        to.u32(self.uid_validity).u32(self.uid_next).u64(self.modseq);
        to.u32(self.messages).u32(self.unseen).u32(self.deleted).u64(self.size);
        to.u32(self.vanished).u64(self.floor).done()
    }
    /// Counts a message in, or out.
    pub(crate) fn count(&mut self, entry: &Entry, into: bool) {
        let one = |n: &mut u32, this: bool| {
            if this {
                *n = if into { n.saturating_add(1) } else { n.saturating_sub(1) };
            }
        };
        one(&mut self.messages, true);
        one(&mut self.unseen, !entry.flags.has(Flags::SEEN));
        one(&mut self.deleted, entry.flags.has(Flags::DELETED));
        let size = entry.size;
        self.size = if into { self.size.saturating_add(size) } else { self.size.saturating_sub(size) };
    }
}

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the mailbox.
    pub uid: u32,
    /// Its octets.
    pub blob: BlobId,
    /// How many they are.
    pub size: u64,
    /// When it came, in seconds since 1970.
    pub date: i64,
    /// Its flags.
    pub flags: Flags,
    /// When it last changed.
    pub modseq: u64,
}

impl Entry {
    pub(crate) fn read(uid: u32, value: &[u8]) -> Result<Entry, StoreError> {
        let mut from = Unpacker::new(value, 1, "a message's entry")?;
        let blob = BlobId(from.fixed()?);
        let (size, date, modseq) = (from.u64()?, from.i64()?, from.u64()?);
        let system = from.u8()?;
        let count = from.u32()?;
        let mut keywords = Vec::new();
        for _ in 0..count {
            keywords.push(from.text()?.into());
        }
        Ok(Entry { uid, blob, size, date, flags: Flags { system, keywords }, modseq })
    }
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut to = Packer::new(1);
        to.fixed(&self.blob.0).u64(self.size).i64(self.date).u64(self.modseq).u8(self.flags.system);
        to.u32(u32::try_from(self.flags.keywords.len()).unwrap_or(0));
        for keyword in &self.flags.keywords {
            to.text(keyword);
        }
        to.done()
    }
}
