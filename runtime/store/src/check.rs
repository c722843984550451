//! Whether what the stores hold fits together: `waybilld fsck`.
//!
//! Mailboxes and queue are written by batches that leave no gap, so what is found here came from elsewhere: a disk, a
//! restored half of a backup, a fault of this program. An account is read as of one moment – its entry changes with
//! every change in it – so that a check beside a running server finds nothing that is not there.
//!
//! A repair loses nothing: it counts anew, adds what is missing beside a message, and takes away what refers to
//! nothing. Each of its batches asserts what was read.

use crate::blob::BlobId;
use crate::error::{CommitError, StoreError};
use crate::keys::{self, Holder};
use crate::kv::{Batch, Key, KeyRange, KeyValue, Page};
use crate::mailbox::plain;
use crate::mailbox::row::Entry;
use crate::open::{Base, Index};
use crate::spool::Message;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use schema::name::Address;
use serde::Serialize;
use std::collections::HashSet;
use std::sync::Arc;

mod account;
mod index;
mod lookup;
mod owned;
mod people;
mod queue;
#[cfg(test)]
mod tests;

/// Entries read at once.
const PAGE: usize = 1_000;
/// Octets of a blob read at once.
const PART: u64 = 4 << 20;
/// Findings that are named; more are counted.
pub const FINDINGS_MOST: usize = 10_000;
/// How often an account that changes meanwhile is read again.
const TRIES: usize = 16;
/// Changes written by one batch of a repair.
const WRITES_MOST: usize = 5_000;

/// How much is checked, and what may be done.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// Mend what can be mended.
    pub repair: bool,
    /// Only this account's mailboxes.
    pub account: Option<Address>,
    /// Read every blob, and compare it with its name.
    pub blobs: bool,
    /// With a repair, remove messages whose octets are gone.
    pub drop_broken: bool,
}

/// What became of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It can be mended by `--repair`.
    Mendable,
    /// It was mended.
    Mended,
    /// It needs somebody: nothing here can mend it without a loss.
    Left,
}

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of damage, in one word for programs.
    pub kind: &'static str,
    /// Where: an account's mailbox and message, a message of the queue, a blob.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What mends it.
    pub remedy: String,
    /// What became of it.
    pub state: State,
}

/// What was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
pub struct Checked {
    /// Accounts.
    pub accounts: u64,
    /// People that the API keeps.
    pub people: u64,
    /// Messages in mailboxes.
    pub messages: u64,
    /// Messages in the full-text index, where it could be looked into.
    pub indexed: u64,
    /// Messages in the queue.
    pub queued: u64,
    /// Lookups, where they are in a database.
    pub lookups: u64,
    /// References to blobs.
    pub references: u64,
    /// Blobs.
    pub blobs: u64,
    /// Octets of blobs that were compared with their names.
    pub octets: u64,
    /// The findings, up to [`FINDINGS_MOST`].
    pub findings: Vec<Finding>,
    /// Those that `--repair` would mend.
    pub mendable: u64,
    /// Those that were mended.
    pub mended: u64,
    /// Those that nothing here mends.
    pub left: u64,
}

impl Checked {
    /// Whether everything fits now.
    pub fn is_sound(&self) -> bool {
        self.mendable == 0 && self.left == 0
    }

    fn tell(&mut self, found: impl IntoIterator<Item = Finding>, mended: bool) {
        for mut finding in found {
            if mended && finding.state == State::Mendable {
                finding.state = State::Mended;
            }
            let count = match finding.state {
                State::Mendable => &mut self.mendable,
                State::Mended => &mut self.mended,
                State::Left => &mut self.left,
            };
            *count += 1;
            if self.findings.len() < FINDINGS_MOST {
                self.findings.push(finding);
            }
        }
    }
}

fn mendable(kind: &'static str, place: impl Into<String>, what: impl Into<String>, remedy: &str) -> Finding {
    Finding { kind, place: place.into(), what: what.into(), remedy: remedy.to_owned(), state: State::Mendable }
}

fn left(kind: &'static str, place: impl Into<String>, what: impl Into<String>, remedy: &str) -> Finding {
    Finding { state: State::Left, ..mendable(kind, place, what, remedy) }
}

/// What is checked beside the data, where it can be looked into.
#[derive(Clone, Copy, Default)]
pub struct Beside<'a> {
    /// The full-text index.
    pub index: Option<&'a Index>,
    /// The database of the lookups.
    pub lookups: Option<&'a Arc<dyn KeyValue>>,
}

/// Checks, and mends where it is told to.
///
/// # Errors
/// The store's; what was mended by then is.
pub async fn check(base: &Base, beside: Beside<'_>, how: &How, now: i64) -> Result<Checked, StoreError> {
    let Beside { index, lookups } = beside;
    let mut check = Check { base, index, lookups, how, now, done: Checked::default() };
    match &how.account {
        Some(account) => {
            check.account(account).await?;
            check.index(account).await?;
        }
        None => {
            for account in accounts(&base.data).await? {
                check.account(&account).await?;
                check.index(&account).await?;
            }
            check.people().await?;
            check.owned().await?;
            check.queue().await?;
            check.lookups().await?;
            check.references().await?;
            check.blobs().await?;
        }
    }
    Ok(check.done)
}

struct Check<'a> {
    base: &'a Base,
    index: Option<&'a Index>,
    lookups: Option<&'a Arc<dyn KeyValue>>,
    how: &'a How,
    now: i64,
    done: Checked,
}

/// Whoever has anything in the store, in order.
async fn accounts(data: &Arc<dyn KeyValue>) -> Result<std::collections::BTreeSet<Address>, StoreError> {
    let mut accounts = std::collections::BTreeSet::new();
    for mut range in keys::of_accounts() {
        while let Some((key, _)) = data.scan(range.clone(), Page::first(1)).await?.pop() {
            range.from = keys::after_account(&key);
            if let Some(account) = keys::read_account(&key) {
                accounts.insert(account);
            }
        }
    }
    Ok(accounts)
}

/// A range's next page; the range goes on behind it. Empty at the end.
async fn page(data: &Arc<dyn KeyValue>, range: &mut KeyRange) -> Result<Vec<(Key, Bytes)>, StoreError> {
    let found = data.scan(range.clone(), Page::first(PAGE)).await?;
    if let Some((last, _)) = found.last() {
        range.from = [&last.0, &[0][..]].concat().into();
    }
    Ok(found)
}

async fn commit(data: &Arc<dyn KeyValue>, batch: Batch) -> Result<bool, StoreError> {
    match data.commit(batch).await {
        Ok(()) => Ok(true),
        Err(CommitError::Conflict) => Ok(false),
        Err(error) => Err(plain(error)),
    }
}

impl Check<'_> {
    /// Commits what mends something found; false where somebody changed it meanwhile.
    async fn mend(&self, batch: Batch) -> Result<bool, StoreError> {
        commit(&self.base.data, batch).await
    }

    /// What is wrong with a blob that something of this size refers to.
    async fn blob(&self, blob: BlobId, size: u64) -> Result<Option<Blob>, StoreError> {
        let found = match self.base.blobs.size(blob).await {
            Ok(found) => found,
            Err(StoreError::Corrupt { .. }) => None,
            Err(error) => return Err(error),
        };
        match found {
            None => Ok(Some(Blob::Missing)),
            // What a blob holds is looked at on the way only where what is broken is to go.
            Some(found) if found == size && !(self.how.blobs && self.how.drop_broken) => Ok(None),
            Some(found) if self.is_named(blob, found).await? => Ok((found != size).then_some(Blob::Size(found))),
            Some(_) => Ok(Some(Blob::Other)),
        }
    }

    /// Whether a blob's octets are those that it is named by.
    async fn is_named(&self, blob: BlobId, size: u64) -> Result<bool, StoreError> {
        let mut digest = Context::new(&SHA256);
        let mut at = 0;
        while at < size {
            match self.base.blobs.get(blob, at..(at + PART).min(size)).await {
                Ok(Some(part)) if !part.is_empty() => {
                    digest.update(&part);
                    at += part.len() as u64;
                }
                Ok(_) | Err(StoreError::Corrupt { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(digest.finish().as_ref() == blob.0)
    }

    /// Every reference has its holder.
    async fn references(&mut self) -> Result<(), StoreError> {
        let mut range = keys::all_holders();
        loop {
            let found = page(&self.base.data, &mut range).await?;
            if found.is_empty() {
                return Ok(());
            }
            let holders: Vec<Option<(BlobId, Holder)>> = found.iter().map(|(key, _)| keys::read_holder(key)).collect();
            let wanted: Vec<Key> = holders.iter().flatten().map(|(_, holder)| holder.key()).collect();
            let mut values = self.base.data.get(&wanted).await?.into_iter();
            for ((key, _), holder) in found.iter().zip(holders) {
                self.done.references += 1;
                let Some((blob, holder)) = holder else {
                    let told =
                        left("unreadable", format!("{key:?}"), "a reference that cannot be read", "remove it by hand");
                    self.done.tell([told], false);
                    continue;
                };
                let value = values.next().flatten();
                if !holds(&holder, value.as_deref(), blob) {
                    self.dangling(key, (blob, &holder), value).await?;
                }
            }
        }
    }

    async fn dangling(
        &mut self,
        key: &Key,
        (blob, holder): (BlobId, &Holder),
        value: Option<Bytes>,
    ) -> Result<(), StoreError> {
        // It may have gone between the reading of the one and of the other.
        if self.base.data.get(std::slice::from_ref(key)).await?.pop().flatten().is_none() {
            return Ok(());
        }
        let what = format!("{holder} is said to hold it, and does not");
        let found = mendable(
            "dangling-reference",
            format!("blob {blob}"),
            what,
            "remove the reference, note the blob as loose",
        );
        let mut batch = Batch::new();
        batch.assert(holder.key(), value).remove(key.clone()).put(keys::loose(self.now, blob), Bytes::new());
        let mended = self.how.repair && self.mend(batch).await?;
        self.done.tell([found], mended);
        Ok(())
    }

    /// Every blob is referred to, or noted as loose; with `--blobs`, it is what its name says.
    async fn blobs(&mut self) -> Result<(), StoreError> {
        let mut loose = self.loose().await?;
        let mut after = None;
        loop {
            let found = self.base.blobs.list(after, PAGE).await?;
            let Some(last) = found.last() else { return Ok(()) };
            after = Some(*last);
            for blob in found {
                self.done.blobs += 1;
                if !loose.contains(&blob) && !self.is_held(blob).await? {
                    // It may have been let go of since the notes were read.
                    loose = self.loose().await?;
                    if !loose.contains(&blob) {
                        self.unreferenced(blob).await?;
                    }
                }
                if self.how.blobs {
                    self.content(blob).await?;
                }
            }
        }
    }

    async fn unreferenced(&mut self, blob: BlobId) -> Result<(), StoreError> {
        let what = "nothing refers to it, and nothing says so";
        let found =
            mendable("unreferenced-blob", format!("blob {blob}"), what, "note it as loose: it is collected later");
        let mut batch = Batch::new();
        batch.put(keys::loose(self.now, blob), Bytes::new());
        let mended = self.how.repair && self.mend(batch).await?;
        self.done.tell([found], mended);
        Ok(())
    }

    async fn content(&mut self, blob: BlobId) -> Result<(), StoreError> {
        let size = match self.base.blobs.size(blob).await {
            Ok(size) => size,
            Err(StoreError::Corrupt { .. }) => Some(0),
            Err(error) => return Err(error),
        };
        // What was never finished is no blob.
        let Some(size) = size else { return Ok(()) };
        self.done.octets += size;
        if self.is_named(blob, size).await? {
            return Ok(());
        }
        let holders = self.base.data.scan(keys::holders(blob), Page::first(4)).await?;
        // What nobody misses is collected.
        if holders.is_empty() {
            return Ok(());
        }
        let names = holders.iter().filter_map(|(key, _)| keys::read_holder(key)).map(|(_, holder)| holder.to_string());
        let what =
            format!("its octets are not those that it is named by; held by {}", names.collect::<Vec<_>>().join(", "));
        self.done.tell([left("changed-blob", format!("blob {blob}"), what, "restore it from a backup")], false);
        Ok(())
    }

    async fn is_held(&self, blob: BlobId) -> Result<bool, StoreError> {
        Ok(!self.base.data.scan(keys::holders(blob), Page::first(1)).await?.is_empty())
    }

    /// Every blob that is noted as loose: 32 octets of memory and some for each.
    async fn loose(&self) -> Result<HashSet<BlobId>, StoreError> {
        let (mut range, mut loose) = (keys::all_loose(i64::MAX), HashSet::new());
        loop {
            let found = page(&self.base.data, &mut range).await?;
            if found.is_empty() {
                return Ok(loose);
            }
            loose.extend(found.iter().filter_map(|(key, _)| keys::read_blob(key)));
        }
    }
}

/// What is wrong with a blob.
enum Blob {
    /// There is none of this name.
    Missing,
    /// It is right, and what refers to it has its size wrong.
    Size(u64),
    /// It is another one's octets.
    Other,
}

impl Blob {
    fn says(&self, blob: BlobId, size: u64) -> String {
        match self {
            Blob::Missing => format!("its octets, blob {blob}, are missing"),
            Blob::Size(found) => format!("its size is {found} octets, and {size} are noted"),
            Blob::Other => format!("blob {blob} holds other octets than its {size}"),
        }
    }
}

/// Whether a holder's entry names this blob. One that cannot be read is not to be taken its blob.
fn holds(holder: &Holder, value: Option<&[u8]>, blob: BlobId) -> bool {
    let Some(value) = value else { return false };
    match holder {
        Holder::Message { uid, .. } => Entry::read(*uid, value).map_or(true, |entry| entry.blob == blob),
        Holder::Queue { .. } => Message::read(value).map_or(true, |message| message.blob == blob),
    }
}
