//! Mailboxes: UIDs, flags, counts, modseqs and the change log of every account.
//!
//! One account changes one step at a time: in this process by a lock, beyond it by an assert on the account's
//! entry, which every change changes. A change is one batch: rows, counts, log, references to blobs and the
//! octets used agree at any moment, whatever is cut off where.

use crate::blob::BlobId;
use crate::blob::shelves::Shelves;
use crate::error::{Cause, CommitError, StoreError};
use crate::keys;
use crate::kv::{Batch, KeyRange, KeyValue, PAGE_MOST, Page};
use bytes::Bytes;
use row::{AccountRow, MailboxRow};
use schema::name::Address;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{self, watch};
use tracing::debug;

pub(crate) mod blobs;
mod bring;
pub(crate) mod changes;
mod counts;
mod messages;
mod room;
pub mod row;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use blobs::plain;
pub use bring::{Brought, Mark, Settled};
pub use changes::Changes;
pub use counts::Held;
pub use messages::{Appended, Copied, How, NewMessage, Stored};
pub use row::Entry;

/// Mailboxes of an account.
pub const MAILBOXES_MOST: usize = 5_000;
/// Subscriptions of an account.
pub const SUBSCRIPTIONS_MOST: usize = 10_000;
/// Keywords of one message.
pub const KEYWORDS_MOST: usize = 256;
/// Messages that one batch changes, adds, moves or removes at most; [`Room`] says where it is fewer.
const BATCH_MESSAGES: usize = 5_000;
/// How long looking for what others write rests after the store failed.
const FOLLOW_REST: Duration = Duration::from_secs(1);
/// Keys read at once; they are of one moment.
const READ_AT_ONCE: usize = 1_000;
/// How often a change is tried when another process changes the same account.
const TRIES: usize = 16;
/// Locks that accounts share.
const LOCKS: usize = 1024;
/// The inbox's number.
const INBOX: u32 = 1;

/// Why a mailbox does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// The store's trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No mailbox of that name or number.
    #[error("there is no such mailbox")]
    Missing,
    /// The name is taken.
    #[error("a mailbox of that name exists")]
    Exists,
    /// The inbox cannot be made, removed, or made a child of another.
    #[error("the inbox cannot be changed in this way")]
    Inbox,
    /// The account would hold more than it may.
    #[error("the mailbox is full: the account's quota is exceeded")]
    OverQuota,
    /// Too many of something.
    #[error("{0}")]
    Limit(&'static str),
    /// The log does not reach back so far.
    #[error("the changes are no longer known")]
    Forgotten,
    /// Messages were removed meanwhile.
    #[error("some of the messages are gone")]
    Gone,
    /// Another special mailbox has that use.
    #[error("another mailbox has that use")]
    UseTaken,
}

/// What a mailbox is for (RFC 6154 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// Old mail kept.
    Archive,
    /// Mail being written.
    Drafts,
    /// Unwanted mail.
    Junk,
    /// Mail sent.
    Sent,
    /// Mail removed.
    Trash,
}

impl SpecialUse {
    const ALL: [SpecialUse; 5] =
        [SpecialUse::Archive, SpecialUse::Drafts, SpecialUse::Junk, SpecialUse::Sent, SpecialUse::Trash];

    fn code(self) -> u8 {
        match self {
            SpecialUse::Archive => 1,
            SpecialUse::Drafts => 2,
            SpecialUse::Junk => 3,
            SpecialUse::Sent => 4,
            SpecialUse::Trash => 5,
        }
    }
    fn of(code: u8) -> Option<SpecialUse> {
        SpecialUse::ALL.into_iter().find(|this| this.code() == code)
    }
    /// What a new account's mailbox of this use is called.
    pub fn name(self) -> &'static str {
        match self {
            SpecialUse::Archive => "Archive",
            SpecialUse::Drafts => "Drafts",
            SpecialUse::Junk => "Junk",
            SpecialUse::Sent => "Sent",
            SpecialUse::Trash => "Trash",
        }
    }
}

/// A message's flags: the system's as bits, keywords as written first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// [`Flags::SEEN`] and the others, or-ed.
    pub system: u8,
    /// Keywords, sorted, each once without regard to case.
    pub keywords: Vec<Box<str>>,
}

impl Flags {
    /// `\Seen`
    pub const SEEN: u8 = 1;
    /// `\Answered`
    pub const ANSWERED: u8 = 2;
    /// `\Flagged`
    pub const FLAGGED: u8 = 4;
    /// `\Deleted`
    pub const DELETED: u8 = 8;
    /// `\Draft`
    pub const DRAFT: u8 = 16;

    /// Whether a system flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.system & flag != 0
    }
    /// Whether a keyword is set.
    pub fn has_keyword(&self, keyword: &str) -> bool {
        self.keywords.iter().any(|known| known.eq_ignore_ascii_case(keyword))
    }
    /// Sets what `other` has.
    pub fn add(&mut self, other: &Flags) {
        self.system |= other.system;
        for keyword in &other.keywords {
            if !self.has_keyword(keyword) {
                self.keywords.push(keyword.clone());
            }
        }
        self.keywords.sort_unstable();
    }
    /// Takes away what `other` has.
    pub fn remove(&mut self, other: &Flags) {
        self.system &= !other.system;
        self.keywords.retain(|keyword| !other.has_keyword(keyword));
    }
}

/// A mailbox as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxFacts {
    /// Its number, which a RENAME does not change.
    pub id: u32,
    /// What is kept of it.
    pub row: MailboxRow,
}

/// Every account's mailboxes.
pub struct Mailboxes {
    data: Arc<dyn KeyValue>,
    blobs: Arc<Shelves>,
    locks: Vec<Arc<sync::Mutex<()>>>,
    hasher: RandomState,
    bells: Mutex<HashMap<Address, watch::Sender<u64>>>,
}

impl Mailboxes {
    /// Mailboxes in these stores.
    pub fn new(data: Arc<dyn KeyValue>, blobs: Arc<Shelves>) -> Mailboxes {
        Mailboxes {
            data,
            blobs,
            locks: (0..LOCKS).map(|_| Arc::default()).collect(),
            hasher: RandomState::new(),
            bells: Mutex::default(),
        }
    }

    /// Octets that an account's messages take, copies counted.
    ///
    /// # Errors
    /// The store's.
    pub async fn used(&self, account: &Address) -> Result<u64, StoreError> {
        let found = self.data.get(&[keys::account(account)]).await?.pop().flatten();
        Ok(found.map(|value| AccountRow::read(&value)).transpose()?.map_or(0, |row| row.used))
    }

    /// Hears when something changes in an account: by this process, and by others where [`Mailboxes::follow`] runs. The
    /// value is the account's modseq.
    pub fn watch(&self, account: &Address) -> watch::Receiver<u64> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if bells.len() > 64 && bells.len().is_power_of_two() {
            bells.retain(|_, bell| bell.receiver_count() > 0);
        }
        bells.entry(account.clone()).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// Rings for what other processes change in a data store that they share, for as long as it is polled.
    pub async fn follow(&self) {
        loop {
            // Of any key: the store rings for all where others have written.
            if let Err(error) = self.data.watch(&keys::all_mailboxes().from).await {
                debug!(%error, "what others write cannot be watched now");
                tokio::time::sleep(FOLLOW_REST).await;
            }
            let watched: Vec<Address> = {
                let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
                bells.iter().filter(|(_, bell)| bell.receiver_count() > 0).map(|(account, _)| account.clone()).collect()
            };
            for accounts in watched.chunks(READ_AT_ONCE) {
                let wanted: Vec<_> = accounts.iter().map(keys::account).collect();
                // Where it cannot be read now it is read a second later.
                let Ok(rows) = self.data.get(&wanted).await else { break };
                for (account, row) in accounts.iter().zip(rows) {
                    let Some(Ok(row)) = row.as_deref().map(AccountRow::read) else { continue };
                    let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
                    let Some(bell) = bells.get(account) else { continue };
                    bell.send_if_modified(|seen| std::mem::replace(seen, row.modseq.max(*seen)) < row.modseq);
                }
            }
        }
    }

    fn ring(&self, account: &Address, modseq: u64) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bell) = bells.get(account) else { return };
        if bell.receiver_count() == 0 {
            bells.remove(account);
        } else {
            bell.send_replace(modseq);
        }
    }

    async fn scan_all(&self, mut range: KeyRange, most: usize) -> Result<Vec<(crate::kv::Key, Bytes)>, StoreError> {
        let mut all = Vec::new();
        loop {
            let page = self.data.scan(range.clone(), Page::first(PAGE_MOST)).await?;
            let full = page.len() == PAGE_MOST;
            if let Some((last, _)) = page.last() {
                range.from = [&last.0, &[0][..]].concat().into();
            }
            all.extend(page);
            if !full || all.len() >= most {
                return Ok(all);
            }
        }
    }

    /// Begins a change of an account; a new account gets its mailboxes.
    pub(crate) async fn begin(&self, account: &Address, now: i64) -> Result<Change<'_>, StoreError> {
        // The remainder is less than LOCKS.
        let at = (self.hasher.hash_one(account) % LOCKS as u64) as usize;
        let guard = match self.locks.get(at) {
            Some(lock) => Arc::clone(lock).lock_owned().await,
            None => return Err(StoreError::Unavailable(Cause::new("no lock"))),
        };
        let before = self.data.get(&[keys::account(account)]).await?.pop().flatten();
        let row = before.as_deref().map(AccountRow::read).transpose()?;
        let fresh = AccountRow {
            modseq: 0,
            next_mailbox: INBOX,
            uid_validity: u32::try_from(now).unwrap_or(u32::MAX / 2).max(1),
            used: 0,
        };
        let is_new = row.is_none();
        let mut change = Change {
            all: self,
            account: account.clone(),
            row: row.unwrap_or(fresh),
            before,
            mailboxes: BTreeMap::new(),
            unindexed: false,
            batch: Batch::new(),
            now,
            _guard: guard,
        };
        change.row.modseq += 1;
        if is_new {
            change.make("INBOX".to_owned(), None);
            for special in SpecialUse::ALL {
                change.make(special.name().to_owned(), Some(special));
                change.batch.put(keys::subscription(account, special.name()), Bytes::new());
            }
            change.batch.put(keys::subscription(account, "INBOX"), Bytes::new());
        }
        Ok(change)
    }
}

/// A change of one account under way: a batch, and the rows as they will be after it.
pub(crate) struct Change<'a> {
    all: &'a Mailboxes,
    /// Whose.
    pub(crate) account: Address,
    row: AccountRow,
    before: Option<Bytes>,
    mailboxes: BTreeMap<u32, MailboxRow>,
    /// Messages came or went, which the full-text index is to follow.
    unindexed: bool,
    /// What else is to happen.
    pub(crate) batch: Batch,
    now: i64,
    _guard: sync::OwnedMutexGuard<()>,
}

/// What came of a commit.
pub(crate) enum Outcome {
    /// It happened.
    Done,
    /// Another process was first: begin again.
    Again,
}

impl Change<'_> {
    fn make(&mut self, name: String, special_use: Option<SpecialUse>) -> u32 {
        let id = self.row.next_mailbox;
        self.row.next_mailbox += 1;
        self.row.uid_validity += 1;
        let row = MailboxRow::new(name, special_use, self.row.uid_validity, self.row.modseq);
        self.mailboxes.insert(id, row);
        id
    }

    /// The row of a mailbox.
    async fn mailbox(&mut self, id: u32) -> Result<&mut MailboxRow, MailboxError> {
        if let std::collections::btree_map::Entry::Vacant(place) = self.mailboxes.entry(id) {
            let found = self.all.data.get(&[keys::mailbox(&self.account, id)]).await?.pop().flatten();
            place.insert(MailboxRow::read(&found.ok_or(MailboxError::Missing)?)?);
        }
        self.mailboxes.get_mut(&id).ok_or(MailboxError::Missing)
    }

    /// The account's mailboxes as they will be.
    async fn list(&self) -> Result<BTreeMap<u32, MailboxRow>, StoreError> {
        let stored = self.all.scan_all(keys::mailboxes(&self.account), MAILBOXES_MOST).await?;
        let mut all = BTreeMap::new();
        for (key, value) in stored {
            let id = keys::last_u32(&key).ok_or_else(|| StoreError::Corrupt { what: "a mailbox's key".into() })?;
            all.insert(id, MailboxRow::read(&value)?);
        }
        all.extend(self.mailboxes.iter().map(|(id, row)| (*id, row.clone())));
        Ok(all)
    }

    async fn named(&self, name: &str) -> Result<u32, MailboxError> {
        if name == "INBOX" {
            return Ok(INBOX);
        }
        let found = self.list().await?.into_iter().find(|(_, row)| row.name == name);
        found.map(|(id, _)| id).ok_or(MailboxError::Missing)
    }

    /// Adds a message whose octets are stored, or will be by this batch.
    pub(crate) async fn add(&mut self, mailbox: u32, blob: BlobId, message: &NewMessage) -> Result<u32, MailboxError> {
        let modseq = self.row.modseq;
        let row = self.mailbox(mailbox).await?;
        let uid = row.uid_next;
        row.uid_next = uid.checked_add(1).ok_or(MailboxError::Limit("the mailbox has no UIDs left"))?;
        let size = message.octets;
        let entry = Entry { uid, blob, size, date: message.date, flags: message.flags.clone(), modseq };
        row.count(&entry, true);
        row.modseq = modseq;
        self.row.used = self.row.used.saturating_add(size);
        self.put(mailbox, &entry);
        self.batch.put(keys::held_by_message(blob, &self.account, mailbox, uid), Bytes::new());
        self.unindexed = true;
        Ok(uid)
    }

    fn put(&mut self, mailbox: u32, entry: &Entry) {
        self.batch.put(keys::entry(&self.account, mailbox, entry.uid), entry.write());
        self.batch.put(keys::change(&self.account, mailbox, entry.modseq, entry.uid), vec![changes::CHANGED]);
    }

    /// Removes a message; its blob may be collected later.
    fn take(&mut self, mailbox: u32, entry: &Entry) {
        let (account, uid, modseq) = (&self.account, entry.uid, self.row.modseq);
        self.batch.remove(keys::entry(account, mailbox, uid));
        self.batch.remove(keys::change(account, mailbox, entry.modseq, uid));
        self.batch.put(keys::change(account, mailbox, modseq, uid), vec![changes::VANISHED]);
        self.batch.remove(keys::held_by_message(entry.blob, account, mailbox, uid));
        self.batch.put(keys::loose(self.now, entry.blob), Bytes::new());
        self.unindexed = true;
        self.row.used = self.row.used.saturating_sub(entry.size);
        if let Some(row) = self.mailboxes.get_mut(&mailbox) {
            row.count(entry, false);
            row.vanished = row.vanished.saturating_add(1);
            row.modseq = modseq;
        }
    }

    /// Notes that something of a mailbox itself changed.
    fn touch(&mut self, mailbox: u32) {
        let modseq = self.row.modseq;
        if let Some(row) = self.mailboxes.get_mut(&mailbox) {
            row.modseq = modseq;
        }
    }

    fn within(&self, quota: Option<u64>, more: u64) -> Result<(), MailboxError> {
        match quota {
            Some(quota) if self.row.used.saturating_add(more) > quota => Err(MailboxError::OverQuota),
            _ => Ok(()),
        }
    }

    /// Makes it happen.
    pub(crate) async fn commit(mut self) -> Result<Outcome, StoreError> {
        self.batch.assert(keys::account(&self.account), self.before.take());
        self.batch.put(keys::account(&self.account), self.row.write());
        for (id, row) in &self.mailboxes {
            self.batch.put(keys::mailbox(&self.account, *id), row.write());
        }
        if self.unindexed {
            self.batch.put(keys::unindexed(&self.account), self.row.modseq.to_be_bytes().to_vec());
        }
        match self.all.data.commit(self.batch).await {
            Ok(()) => {
                self.all.ring(&self.account, self.row.modseq);
                Ok(Outcome::Done)
            }
            Err(CommitError::Conflict) => Ok(Outcome::Again),
            Err(CommitError::Unknown) => {
                Err(StoreError::Unavailable(Cause::new("it is not known whether the change happened")))
            }
            Err(CommitError::Store(error)) => Err(error),
        }
    }
}

fn busy() -> MailboxError {
    MailboxError::Store(StoreError::Unavailable(Cause::new("others keep changing the same account")))
}
