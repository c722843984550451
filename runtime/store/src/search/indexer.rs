//! The full-text index follows the mailboxes, by their change log.
//!
//! A change that brings or takes a message marks its account, in the same batch. Whoever indexes takes marked accounts, and
//! for each mailbox goes on where the index is: UIDs only grow, so new messages are those from a UID on, and the log tells
//! which are gone. How far it is is written after the index has acknowledged, so a crash repeats at most one step, which
//! changes nothing. A mark goes when nothing was left to do and no change came meanwhile.
//!
//! Where the index is made by other settings or in another place, all begins anew by itself; until a message is indexed
//! again, searches look at it ([`Indexer::seen`]). Where the change log has forgotten what went (see
//! [`crate::mailbox::MailboxError::Forgotten`]), all that is indexed of the mailbox is compared with it.

use super::analyse::aside;
use super::message::{document, octets};
use super::{Document, DocumentId, Search};
use crate::error::{Cause, CommitError, StoreError};
use crate::keys;
use crate::kv::{Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page};
use crate::mailbox::{Entry, MailboxError, MailboxFacts, Mailboxes};
use crate::row::{Packer, Unpacker};
use aws_lc_rs::digest;
use bytes::Bytes;
use schema::config::IndexOptions;
use schema::name::Address;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tracing::warn;

/// Messages that one step indexes.
const MESSAGES_AT_ONCE: usize = 256;
/// Octets of messages that one step reads, unless a single one has more.
const OCTETS_AT_ONCE: u64 = 8 << 20;
/// Messages that one step forgets.
const FORGOTTEN_AT_ONCE: u32 = 1_000;
/// Keys of one batch that marks or forgets.
const KEYS_AT_ONCE: usize = 2_000;

/// Has a full-text index follow the mailboxes.
pub struct Indexer {
    data: Arc<dyn KeyValue>,
    mailboxes: Arc<Mailboxes>,
    search: Arc<dyn Search>,
    options: IndexOptions,
    /// Stands for what the index is made by.
    print: u64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many messages were indexed or forgotten; there may be more to do.
    Did(usize),
    /// The index has all of the account.
    Done,
}

/// How far the index has a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    print: u64,
    /// The first UID that it has not.
    uid: u32,
    /// The last change that it has seen.
    modseq: u64,
}

impl Indexer {
    /// Has `search` follow `mailboxes`, which lie in `data`. `made_by` says all that the index depends on.
    pub fn new(
        (data, mailboxes, search): (Arc<dyn KeyValue>, Arc<Mailboxes>, Arc<dyn Search>),
        options: IndexOptions,
        made_by: &str,
    ) -> Indexer {
        let made_by = format!("{} {made_by}", super::analyse::VERSION);
        let digest = digest::digest(&digest::SHA256, made_by.as_bytes());
        let print = digest.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        Indexer { data, mailboxes, search, options, print }
    }

    /// What messages are indexed by.
    pub fn options(&self) -> &IndexOptions {
        &self.options
    }

    /// Marks every account where the index was made by something else, or never.
    ///
    /// # Errors
    /// The store's.
    pub async fn begin(&self) -> Result<(), StoreError> {
        let print = Bytes::copy_from_slice(&self.print.to_be_bytes());
        if self.data.get(&[keys::index_print()]).await?.pop().flatten() == Some(print.clone()) {
            return Ok(());
        }
        self.mark(keys::all_accounts()).await?;
        let mut batch = Batch::new();
        batch.put(keys::index_print(), print);
        self.commit(batch).await.map(|_| ())
    }

    /// Has an account, or all, indexed anew: by the next steps, whoever takes them.
    ///
    /// # Errors
    /// The store's; [`StoreError::Misconfigured`] where there is no such account.
    pub async fn again(&self, account: Option<&Address>) -> Result<(), StoreError> {
        if let Some(account) = account
            && self.data.get(&[keys::account(account)]).await? == [None]
        {
            return Err(StoreError::Misconfigured(Cause::new(format!("{account} has no mailboxes"))));
        }
        let accounts: Vec<Address> = match account {
            Some(account) => vec![account.clone()],
            None => self.accounts().await?,
        };
        // Nothing counts as indexed before it is gone; nor what comes in between, and goes with it.
        self.nothing_indexed(account).await?;
        for account in &accounts {
            self.search.clear(account).await?;
        }
        self.nothing_indexed(account).await?;
        match account {
            Some(account) => {
                let mut batch = Batch::new();
                batch.put(keys::unindexed(account), Bytes::from_static(b"again"));
                self.commit(batch).await.map(|_| ())
            }
            None => self.mark(keys::all_accounts()).await,
        }
    }

    /// Everybody who has mailboxes.
    async fn accounts(&self) -> Result<Vec<Address>, StoreError> {
        let (mut range, mut accounts) = (keys::all_accounts(), Vec::new());
        loop {
            let page = self.data.scan(range.clone(), Page::first(PAGE_MOST)).await?;
            let Some((last, _)) = page.last() else { return Ok(accounts) };
            range.from = [&last.0, &[0][..]].concat().into();
            for (key, _) in &page {
                accounts.push(account_of(key)?);
            }
        }
    }

    /// Of an account, or of all, no message is indexed.
    async fn nothing_indexed(&self, account: Option<&Address>) -> Result<(), StoreError> {
        let mut left = keys::all_indexed(account);
        loop {
            let page = self.data.scan(left.clone(), Page::first(KEYS_AT_ONCE)).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            left.from = [&last.0, &[0][..]].concat().into();
            let mut batch = Batch::new();
            for (key, _) in page {
                batch.remove(key);
            }
            self.commit(batch).await?;
        }
    }

    async fn mark(&self, mut accounts: KeyRange) -> Result<(), StoreError> {
        loop {
            let page = self.data.scan(accounts.clone(), Page::first(KEYS_AT_ONCE)).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            accounts.from = [&last.0, &[0][..]].concat().into();
            let mut batch = Batch::new();
            for (key, _) in page {
                batch.put(keys::unindexed(&account_of(&key)?), Bytes::from_static(b"begin"));
            }
            self.commit(batch).await?;
        }
    }

    /// Accounts that the index may not have all of, at most so many: those after this one, and then those from the first
    /// on, so that under a load that never ends everybody's turn comes.
    ///
    /// # Errors
    /// The store's.
    pub async fn waiting(&self, after: Option<&Address>, most: usize) -> Result<Vec<Address>, StoreError> {
        let most = most.min(PAGE_MOST);
        let KeyRange { from, to } = keys::all_unindexed();
        let middle: Key = after.map_or(from.clone(), |after| [&keys::unindexed(after).0[..], &[0]].concat().into());
        let mut page = self.data.scan(KeyRange { from: middle.clone(), to }, Page::first(most)).await?;
        if page.len() < most && middle != from {
            page.extend(self.data.scan(KeyRange { from, to: middle }, Page::first(most - page.len())).await?);
        }
        page.iter().map(|(key, _)| account_of(key)).collect()
    }

    /// The first UID of a mailbox that the index has not: what is found of the mailbox is complete below it. Ask before
    /// the index is asked.
    ///
    /// # Errors
    /// The store's.
    pub async fn seen(&self, account: &Address, mailbox: u32) -> Result<u32, StoreError> {
        let found = self.data.get(&[keys::indexed(account, mailbox)]).await?.pop().flatten();
        Ok(self.place(found.as_deref())?.uid)
    }

    fn place(&self, value: Option<&[u8]>) -> Result<Place, StoreError> {
        let fresh = Place { print: self.print, uid: 1, modseq: 0 };
        let found = value.map(Place::read).transpose()?;
        Ok(found.filter(|found| found.print == self.print).unwrap_or(fresh))
    }

    /// Does a bounded part of what an account needs.
    ///
    /// # Errors
    /// The stores'; what was done is done.
    pub async fn step(&self, account: &Address) -> Result<Step, StoreError> {
        let mark = self.data.get(&[keys::unindexed(account)]).await?.pop().flatten();
        if mark.is_none() {
            return Ok(Step::Done);
        }
        let all = self.mailboxes.known(account).await?;
        let mut places = BTreeMap::new();
        let range = keys::all_indexed(Some(account));
        for (key, value) in self.data.scan(range, Page::first(PAGE_MOST)).await? {
            let mailbox = keys::last_u32(&key).ok_or_else(|| corrupt(account))?;
            places.insert(mailbox, value);
        }
        for facts in &all {
            let before = places.remove(&facts.id);
            if let Some(did) = self.follow(account, facts, before).await? {
                return Ok(Step::Did(did));
            }
        }
        // What is left is of mailboxes that are no more.
        if let Some((mailbox, before)) = places.into_iter().next() {
            return self.leave(account, mailbox, before).await.map(Step::Did);
        }
        let mut batch = Batch::new();
        batch.assert(keys::unindexed(account), mark).remove(keys::unindexed(account));
        Ok(if self.commit(batch).await? { Step::Done } else { Step::Did(0) })
    }

    /// Goes on with a mailbox; `None` where nothing is left to do.
    async fn follow(
        &self,
        account: &Address,
        facts: &MailboxFacts,
        before: Option<Bytes>,
    ) -> Result<Option<usize>, StoreError> {
        let place = self.place(before.as_deref())?;
        let mut next = place;
        let mut did = 0;
        if facts.row.modseq > place.modseq {
            let gone = self.gone(account, facts, place.modseq).await?;
            did += gone.len();
            for some in gone.chunks(KEYS_AT_ONCE) {
                self.search.forget(some).await?;
            }
            next.modseq = facts.row.modseq;
        }
        if facts.row.uid_next > place.uid {
            let (documents, reached) = self.read(account, facts, place.uid).await?;
            did += documents.len();
            self.search.index(&documents).await?;
            next.uid = reached;
        }
        if next == place && before.is_some() {
            return Ok(None);
        }
        let mut batch = Batch::new();
        // Another process may have gone on meanwhile: then it is its step that counts.
        batch.assert(keys::indexed(account, facts.id), before).put(keys::indexed(account, facts.id), next.write());
        self.commit(batch).await?;
        Ok(Some(did))
    }

    /// The messages that are gone since a change.
    async fn gone(&self, account: &Address, facts: &MailboxFacts, since: u64) -> Result<Vec<DocumentId>, StoreError> {
        if since < facts.row.floor {
            return self.stale(account, facts).await;
        }
        match self.mailboxes.changes(account, facts.id, since).await {
            Ok(changes) => Ok(changes.vanished.into_iter().map(|uid| id(account, facts.id, uid)).collect()),
            Err(MailboxError::Missing | MailboxError::Forgotten) => Ok(Vec::new()),
            Err(MailboxError::Store(error)) => Err(error),
            Err(other) => Err(StoreError::Unavailable(Cause::new(other))),
        }
    }

    /// The indexed messages of a mailbox that are not there, for what the change log has forgotten.
    async fn stale(&self, account: &Address, facts: &MailboxFacts) -> Result<Vec<DocumentId>, StoreError> {
        let Some(indexed) = self.search.messages(account).await? else { return Ok(Vec::new()) };
        let entries = self.mailboxes.entries(account, facts.id).await?;
        let there: HashSet<u64> = entries.iter().map(|entry| id(account, facts.id, entry.uid).message).collect();
        let gone = |message: &u64| message >> 32 == u64::from(facts.id) && !there.contains(message);
        let known = |message| DocumentId { account: account.clone(), message };
        Ok(indexed.into_iter().filter(gone).map(known).collect())
    }

    /// The next messages from a UID on, and the first UID that is not among them.
    async fn read(
        &self,
        account: &Address,
        facts: &MailboxFacts,
        from: u32,
    ) -> Result<(Vec<Document>, u32), StoreError> {
        let range = keys::entries(account, facts.id, from);
        let found = self.data.scan(range, Page::first(MESSAGES_AT_ONCE)).await?;
        // Where no message is left, those that came before the mailbox was looked at are had.
        let mut reached = if found.len() < MESSAGES_AT_ONCE { facts.row.uid_next.max(from) } else { from };
        let (mut messages, mut read) = (Vec::new(), 0);
        for (key, value) in &found {
            let uid = keys::last_u32(key).ok_or_else(|| corrupt(account))?;
            let entry = Entry::read(uid, value)?;
            let part = entry.size.min(octets(&self.options));
            if read > 0 && read + part > OCTETS_AT_ONCE {
                return Ok((self.documents(messages).await?, uid));
            }
            read += part;
            reached = reached.max(uid.saturating_add(1));
            match self.mailboxes.whole(entry.blob, part).await {
                Ok(first) => messages.push((id(account, facts.id, uid), first, entry.size)),
                // Removed meanwhile, or lost: what can be had is indexed all the same.
                Err(StoreError::Corrupt { what }) => warn!(%account, uid, what, "a message cannot be indexed"),
                Err(error) => return Err(error),
            }
        }
        Ok((self.documents(messages).await?, reached))
    }

    /// Decodes messages, of which the first octets and the sizes are given.
    async fn documents(&self, messages: Vec<(DocumentId, Bytes, u64)>) -> Result<Vec<Document>, StoreError> {
        let options = self.options.clone();
        let made =
            move || messages.into_iter().map(|(id, first, size)| document(id, (&first, size), &options)).collect();
        aside(made).await
    }

    /// Forgets some messages of a mailbox that is no more.
    async fn leave(&self, account: &Address, mailbox: u32, before: Bytes) -> Result<usize, StoreError> {
        let place = Place::read(&before)?;
        let from = place.uid.saturating_sub(FORGOTTEN_AT_ONCE).max(1);
        let ids: Vec<DocumentId> = (from..place.uid).map(|uid| id(account, mailbox, uid)).collect();
        self.search.forget(&ids).await?;
        let key = keys::indexed(account, mailbox);
        let mut batch = Batch::new();
        batch.assert(key.clone(), Some(before));
        match from {
            1 => batch.remove(key),
            _ => batch.put(key, Place { uid: from, ..place }.write()),
        };
        self.commit(batch).await?;
        Ok(ids.len())
    }

    /// Whether a batch happened, or another process was first.
    async fn commit(&self, batch: Batch) -> Result<bool, StoreError> {
        match self.data.commit(batch).await {
            Ok(()) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Unknown) => {
                Err(StoreError::Unavailable(Cause::new("it is not known how far the full-text index is")))
            }
            Err(CommitError::Store(error)) => Err(error),
        }
    }
}

impl Place {
    fn read(value: &[u8]) -> Result<Place, StoreError> {
        let mut from = Unpacker::new(value, 1, "a place of the full-text index")?;
        Ok(Place { print: from.u64()?, uid: from.u32()?, modseq: from.u64()? })
    }

    fn write(self) -> Vec<u8> {
        let mut to = Packer::new(1);
        to.u64(self.print).u32(self.uid).u64(self.modseq).done()
    }
}

/// What a message of a mailbox is called in the index.
pub fn id(account: &Address, mailbox: u32, uid: u32) -> DocumentId {
    DocumentId { account: account.clone(), message: u64::from(mailbox) << 32 | u64::from(uid) }
}

fn account_of(key: &Key) -> Result<Address, StoreError> {
    keys::read_account(key).ok_or_else(|| StoreError::Corrupt { what: format!("the key {key:?}") })
}

fn corrupt(account: &Address) -> StoreError {
    StoreError::Corrupt { what: format!("how far the full-text index has {account}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::analyse::Analyser;
    use super::super::kv::KvSearch;
    use super::*;
    use crate::blob::kv::KvBlobs;
    use crate::blob::packed::Packing;
    use crate::blob::shelves::{Shelf, Shelves};
    use crate::kv::memory::Memory;
    use schema::unit::Size;

    #[tokio::test]
    async fn everybodys_turn_comes() {
        let data: Arc<dyn KeyValue> = Arc::new(Memory::new());
        let near = KvBlobs::new(Arc::clone(&data), Packing::default());
        let blobs = Arc::new(Shelves::new(Shelf::new(near, None, (0, 0))));
        let mailboxes = Arc::new(Mailboxes::new(Arc::clone(&data), blobs));
        let search = Arc::new(KvSearch::new(Arc::clone(&data), Analyser::default(), Arc::new(|| 0)));
        let options = IndexOptions { languages: Vec::new(), attachments: true, most: Size(1 << 20) };
        let indexer = Indexer::new((Arc::clone(&data), mailboxes, search), options, "");
        let account = |name: &str| format!("{name}@example.org").parse::<Address>().unwrap();
        let mut batch = Batch::new();
        for name in ["a", "b", "c", "d", "e"] {
            batch.put(keys::unindexed(&account(name)), Bytes::new());
        }
        data.commit(batch).await.unwrap();
        for (after, most, next) in [
            (None, 2, "ab"),
            (Some("b"), 2, "cd"),
            (Some("d"), 3, "eab"),
            (Some("bb"), 2, "cd"),
            (Some("e"), 2, "ab"),
            (Some("c"), 9, "deabc"),
        ] {
            let waiting = indexer.waiting(after.map(account).as_ref(), most).await.unwrap();
            let names: String = waiting.iter().map(|account| account.local.as_str()).collect();
            assert_eq!(names, next, "after {after:?}");
        }
    }
}
