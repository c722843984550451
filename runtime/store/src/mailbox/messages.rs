//! Messages: append, read, flag, copy, move, expunge.

use super::room::Room;
use super::{BATCH_MESSAGES, Change, Flags, INBOX, MailboxError, Mailboxes, Outcome, READ_AT_ONCE, TRIES, busy};
use crate::blob::{BlobId, Blobs};
use crate::error::StoreError;
use crate::held;
use crate::keys;
use crate::kv::Key;
use crate::mailbox::row::Entry;
use bytes::Bytes;
use schema::name::Address;

/// A message to add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// Its size in octets.
    pub octets: u64,
    /// When it came, in seconds since 1970.
    pub date: i64,
    /// Its flags.
    pub flags: Flags,
}

/// Where an appended message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The mailbox's.
    pub uid_validity: u32,
    /// The message's.
    pub uid: u32,
}

/// Where copies are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The target's.
    pub uid_validity: u32,
    /// Old UID and new UID, in the order asked.
    pub pairs: Vec<(u32, u32)>,
}

/// What came of a change of flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The messages as they are now, ascending.
    pub entries: Vec<Entry>,
    /// Their modseqs before, in the same order.
    pub before: Vec<u64>,
    /// Those left alone since they changed after the given modseq.
    pub modified: Vec<u32>,
}

/// What to do with flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Set these too.
    Add,
    /// Take these away.
    Remove,
    /// Have these and no others.
    Replace,
}

pub(super) fn entry((key, value): &(Key, Bytes)) -> Result<Entry, StoreError> {
    let uid = keys::last_u32(key).ok_or_else(|| StoreError::Corrupt { what: "a message's key".into() })?;
    Entry::read(uid, value)
}

fn gone(blob: BlobId) -> StoreError {
    StoreError::Corrupt { what: format!("blob {blob}, which a message refers to") }
}

impl Mailboxes {
    /// Every message of a mailbox, ascending.
    ///
    /// # Errors
    /// The store's.
    pub async fn entries(&self, account: &Address, mailbox: u32) -> Result<Vec<Entry>, StoreError> {
        self.since(account, mailbox, 0).await
    }

    /// The messages of a mailbox from a UID on, ascending.
    ///
    /// # Errors
    /// The store's.
    pub async fn since(&self, account: &Address, mailbox: u32, uid: u32) -> Result<Vec<Entry>, StoreError> {
        let found = self.scan_all(keys::entries(account, mailbox, uid), usize::MAX).await?;
        found.iter().map(entry).collect()
    }

    /// Those of these messages that exist, in the order asked.
    ///
    /// # Errors
    /// The store's.
    pub async fn some(&self, account: &Address, mailbox: u32, uids: &[u32]) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::with_capacity(uids.len().min(READ_AT_ONCE));
        for uids in uids.chunks(READ_AT_ONCE) {
            let wanted: Vec<Key> = uids.iter().map(|uid| keys::entry(account, mailbox, *uid)).collect();
            for (uid, value) in uids.iter().zip(self.data.get(&wanted).await?) {
                if let Some(value) = value {
                    entries.push(Entry::read(*uid, &value)?);
                }
            }
        }
        Ok(entries)
    }

    /// All of a message of this size, held as [`held`] does.
    ///
    /// # Errors
    /// The store's; [`StoreError::Corrupt`] where the blob is gone.
    pub async fn whole(&self, blob: BlobId, size: u64) -> Result<Bytes, StoreError> {
        let found = held::blob(&*self.blobs, blob, size).await?;
        found.ok_or_else(|| gone(blob))
    }

    /// A part of a message.
    ///
    /// # Errors
    /// The store's; [`StoreError::Corrupt`] where the blob is gone.
    pub async fn octets(&self, blob: BlobId, part: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        let found = self.blobs.get(blob, part).await?;
        found.ok_or_else(|| gone(blob))
    }

    /// Adds a message; durable when it returns.
    ///
    /// # Errors
    /// [`MailboxError::Missing`], [`MailboxError::OverQuota`], or the store's.
    pub async fn append(
        &self,
        (account, name): (&Address, &str),
        (message, octets): (NewMessage, Bytes),
        quota: Option<u64>,
        now: i64,
    ) -> Result<Appended, MailboxError> {
        for _ in 0..TRIES {
            let mut change = self.begin(account, now).await?;
            change.within(quota, message.octets)?;
            let id = change.named(name).await?;
            let uid_validity = change.mailbox(id).await?.uid_validity;
            let blob = self.keep(&octets, &mut change.batch, now).await?;
            let uid = change.add(id, blob, &message).await?;
            if let Outcome::Done = change.commit().await? {
                return Ok(Appended { uid_validity, uid });
            }
        }
        Err(busy())
    }

    /// Changes flags, of as many messages at a time as one batch can hold. With `unchanged_since`, messages that
    /// changed after that modseq are left alone.
    ///
    /// # Errors
    /// [`MailboxError::Missing`], [`MailboxError::Limit`], or the store's.
    pub async fn flag(
        &self,
        (account, mailbox): (&Address, u32),
        uids: &[u32],
        what: (How, &Flags, Option<u64>),
        now: i64,
    ) -> Result<Stored, MailboxError> {
        let mut stored = Stored::default();
        let mut left = uids;
        loop {
            let done = self.flag_some((account, mailbox), left, what, (now, &mut stored)).await?;
            left = left.get(done..).unwrap_or_default();
            if left.is_empty() {
                return Ok(stored);
            }
        }
    }

    /// As many as fit; says how many.
    async fn flag_some(
        &self,
        (account, mailbox): (&Address, u32),
        uids: &[u32],
        (how, flags, unchanged_since): (How, &Flags, Option<u64>),
        (now, all): (i64, &mut Stored),
    ) -> Result<usize, MailboxError> {
        let uids = &uids[..uids.len().min(BATCH_MESSAGES)];
        for _ in 0..TRIES {
            let mut change = self.begin(account, now).await?;
            let mut stored = Stored::default();
            let (mut any, mut done, mut room) = (false, uids.len(), Room::new(account));
            change.mailbox(mailbox).await?;
            for mut entry in self.some(account, mailbox, uids).await? {
                if unchanged_since.is_some_and(|since| entry.modseq > since) {
                    stored.modified.push(entry.uid);
                    continue;
                }
                let before = entry.clone();
                match how {
                    How::Add => entry.flags.add(flags),
                    How::Remove => entry.flags.remove(flags),
                    How::Replace => {
                        entry.flags = Flags::default();
                        entry.flags.add(flags);
                    }
                }
                if entry.flags.keywords.len() > super::KEYWORDS_MOST {
                    return Err(MailboxError::Limit("the message has as many keywords as it may"));
                }
                if entry.flags != before.flags {
                    if !room.takes(&entry) {
                        done = uids.iter().position(|uid| *uid == entry.uid).unwrap_or(done);
                        break;
                    }
                    change.replace(mailbox, &before, &mut entry);
                    any = true;
                }
                stored.entries.push(entry);
                stored.before.push(before.modseq);
            }
            if !any || matches!(change.commit().await?, Outcome::Done) {
                all.entries.append(&mut stored.entries);
                all.before.append(&mut stored.before);
                all.modified.append(&mut stored.modified);
                return Ok(done);
            }
        }
        Err(busy())
    }

    /// Copies messages, or moves them, all or none where one batch can hold them, some 3,000; `whole`: none where one
    /// of them is gone.
    ///
    /// # Errors
    /// [`MailboxError::Missing`] for the target, [`MailboxError::Gone`], [`MailboxError::OverQuota`], or the store's.
    pub async fn copy(
        &self,
        (account, mailbox): (&Address, u32),
        uids: &[u32],
        (to, remove, whole): (&str, bool, bool),
        (quota, now): (Option<u64>, i64),
    ) -> Result<Copied, MailboxError> {
        let mut copied = Copied { uid_validity: 0, pairs: Vec::with_capacity(uids.len()) };
        let target = self.named(account, to, now).await?;
        copied.uid_validity = target.row.uid_validity;
        if whole && self.some(account, mailbox, uids).await?.len() < uids.len() {
            return Err(MailboxError::Gone);
        }
        self.copy_all((account, mailbox), uids, (target.id, remove, quota, now), &mut copied.pairs).await?;
        Ok(copied)
    }

    async fn copy_all(
        &self,
        from: (&Address, u32),
        mut uids: &[u32],
        (target, remove, quota, now): (u32, bool, Option<u64>, i64),
        pairs: &mut Vec<(u32, u32)>,
    ) -> Result<(), MailboxError> {
        while !uids.is_empty() {
            let done = self.copy_some(from, uids, (target, remove, quota, now), pairs).await?;
            uids = uids.get(done..).unwrap_or_default();
        }
        if remove { self.trim(from.0, from.1, now).await } else { Ok(()) }
    }

    /// As many as fit; says how many.
    async fn copy_some(
        &self,
        (account, mailbox): (&Address, u32),
        uids: &[u32],
        (target, remove, quota, now): (u32, bool, Option<u64>, i64),
        pairs: &mut Vec<(u32, u32)>,
    ) -> Result<usize, MailboxError> {
        let uids = &uids[..uids.len().min(BATCH_MESSAGES)];
        for _ in 0..TRIES {
            let mut change = self.begin(account, now).await?;
            change.mailbox(mailbox).await?;
            let mut entries = self.some(account, mailbox, uids).await?;
            let done = fitting(account, uids, &mut entries);
            if !remove {
                change.within(quota, entries.iter().map(|entry| entry.size).sum())?;
            }
            let mut new = Vec::with_capacity(entries.len());
            for entry in &entries {
                let message = NewMessage { octets: entry.size, date: entry.date, flags: entry.flags.clone() };
                new.push((entry.uid, change.add(target, entry.blob, &message).await?));
                if remove {
                    change.take(mailbox, entry);
                }
            }
            if new.is_empty() || matches!(change.commit().await?, Outcome::Done) {
                pairs.append(&mut new);
                return Ok(done);
            }
        }
        Err(busy())
    }

    pub(super) async fn move_all(&self, account: &Address, from: u32, to: u32, now: i64) -> Result<(), MailboxError> {
        let uids: Vec<u32> = self.entries(account, from).await?.into_iter().map(|entry| entry.uid).collect();
        self.copy_all((account, from), &uids, (to, true, None, now), &mut Vec::new()).await
    }

    /// Removes the messages that have `\Deleted`, of these only where some are named. Says which went.
    ///
    /// # Errors
    /// [`MailboxError::Missing`], or the store's.
    pub async fn expunge(
        &self,
        (account, mailbox): (&Address, u32),
        only: Option<&[u32]>,
        now: i64,
    ) -> Result<Vec<u32>, MailboxError> {
        let entries = match only {
            Some(uids) => self.some(account, mailbox, uids).await?,
            None if self.facts(account, mailbox).await?.row.deleted == 0 => return Ok(Vec::new()),
            None => self.entries(account, mailbox).await?,
        };
        let wanted: Vec<u32> =
            entries.iter().filter(|entry| entry.flags.has(Flags::DELETED)).map(|entry| entry.uid).collect();
        let mut gone = Vec::with_capacity(wanted.len());
        let mut left = &wanted[..];
        while !left.is_empty() {
            let done = self.expunge_some((account, mailbox), left, now, &mut gone).await?;
            left = left.get(done..).unwrap_or_default();
        }
        self.trim(account, mailbox, now).await?;
        Ok(gone)
    }

    /// As many as fit; says how many.
    async fn expunge_some(
        &self,
        (account, mailbox): (&Address, u32),
        uids: &[u32],
        now: i64,
        gone: &mut Vec<u32>,
    ) -> Result<usize, MailboxError> {
        let uids = &uids[..uids.len().min(BATCH_MESSAGES)];
        for _ in 0..TRIES {
            let mut change = self.begin(account, now).await?;
            change.mailbox(mailbox).await?;
            let mut entries = self.some(account, mailbox, uids).await?;
            entries.retain(|entry| entry.flags.has(Flags::DELETED));
            let done = fitting(account, uids, &mut entries);
            entries.iter().for_each(|entry| change.take(mailbox, entry));
            if entries.is_empty() || matches!(change.commit().await?, Outcome::Done) {
                gone.extend(entries.iter().map(|entry| entry.uid));
                return Ok(done);
            }
        }
        Err(busy())
    }
}

/// Leaves those entries that one batch can hold; says how many of the messages asked for are done with them.
fn fitting(account: &Address, uids: &[u32], entries: &mut Vec<Entry>) -> usize {
    let mut room = Room::new(account);
    let Some(first) = entries.iter().position(|entry| !room.takes(entry)) else { return uids.len() };
    let uid = entries.get(first).map(|entry| entry.uid);
    entries.truncate(first);
    uids.iter().position(|this| Some(*this) == uid).unwrap_or(uids.len())
}

impl Change<'_> {
    /// A message gets other flags.
    fn replace(&mut self, mailbox: u32, before: &Entry, entry: &mut Entry) {
        entry.modseq = self.row.modseq;
        self.batch.remove(keys::change(&self.account, mailbox, before.modseq, before.uid));
        if let Some(row) = self.mailboxes.get_mut(&mailbox) {
            row.count(before, false);
            row.count(entry, true);
            row.modseq = entry.modseq;
        }
        self.put(mailbox, entry);
    }

    /// The mailbox that a delivery goes to: the inbox, or the one for junk where there is one.
    pub(crate) async fn target(&self, junk: bool) -> Result<u32, StoreError> {
        if !junk {
            return Ok(INBOX);
        }
        let all = self.list().await?;
        let found = all.iter().find(|(_, row)| row.special_use == Some(super::SpecialUse::Junk));
        Ok(found.map_or(INBOX, |(id, _)| *id))
    }
}
