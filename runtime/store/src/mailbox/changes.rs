//! The change log, which IMAP's modseqs and, later, JMAP's states both read.

use super::{Change, MailboxError, Mailboxes, Outcome, TRIES};
use crate::error::StoreError;
use crate::keys;
use crate::kv::{Key, Page};
use crate::mailbox::row::Entry;
use bytes::Bytes;
use schema::name::Address;

pub(crate) const CHANGED: u8 = 1;
pub(crate) const VANISHED: u8 = 2;

/// Vanished messages that the log of one mailbox tells of; when there are twice as many, the older half is
/// forgotten.
const VANISHED_MOST: u32 = 50_000;
/// Entries of the log looked at for one batch that forgets.
const FORGOTTEN_AT_ONCE: usize = 2_000;

/// What happened in a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Messages that are gone.
    pub vanished: Vec<u32>,
    /// New messages and ones with other flags, ascending by UID.
    pub entries: Vec<Entry>,
    /// The state that this leads to.
    pub modseq: u64,
}

impl Mailboxes {
    /// What happened after a modseq.
    ///
    /// # Errors
    /// [`MailboxError::Missing`], [`MailboxError::Forgotten`] where that is too long ago, or the store's.
    pub async fn changes(&self, account: &Address, mailbox: u32, since: u64) -> Result<Changes, MailboxError> {
        let row = self.facts(account, mailbox).await?.row;
        let mut changes = Changes { modseq: row.modseq.max(since), ..Changes::default() };
        if row.modseq <= since {
            return Ok(changes);
        }
        if since < row.floor {
            return Err(MailboxError::Forgotten);
        }
        let mut changed = Vec::new();
        for (key, value) in self.scan_all(keys::changes(account, mailbox, since + 1), usize::MAX).await? {
            let (modseq, uid) = keys::read_change(&key).ok_or_else(|| corrupt(account))?;
            // A change after the row was read may be half seen; the next look sees it whole.
            if modseq > row.modseq {
                break;
            }
            if value.first() == Some(&VANISHED) { changes.vanished.push(uid) } else { changed.push(uid) }
        }
        changed.sort_unstable();
        changes.entries = self.some(account, mailbox, &changed).await?;
        Ok(changes)
    }
}

impl Mailboxes {
    /// Forgets the oldest vanished messages where the log tells of too many.
    pub(super) async fn trim(&self, account: &Address, mailbox: u32, now: i64) -> Result<(), MailboxError> {
        match self.forget_oldest(account, mailbox, now).await {
            // Removed meanwhile, with its log.
            Err(MailboxError::Missing) => Ok(()),
            done => done,
        }
    }

    async fn forget_oldest(&self, account: &Address, mailbox: u32, now: i64) -> Result<(), MailboxError> {
        let mut vanished = self.facts(account, mailbox).await?.row.vanished;
        if vanished < 2 * VANISHED_MOST {
            return Ok(());
        }
        let (mut tries, mut from) = (0, keys::changes(account, mailbox, 0));
        while vanished > VANISHED_MOST && tries < TRIES {
            let mut change = self.begin(account, now).await?;
            vanished = change.mailbox(mailbox).await?.vanished;
            let found = self.data.scan(from.clone(), Page::first(FORGOTTEN_AT_ONCE)).await?;
            let Some((last, _)) = found.last() else { break };
            let next = [&last.0, &[0][..]].concat().into();
            let forgotten = change.forget(mailbox, found).await?;
            match forgotten == 0 || matches!(change.commit().await?, Outcome::Done) {
                true => {
                    (tries, from.from) = (0, next);
                    vanished = vanished.saturating_sub(forgotten);
                }
                false => tries += 1,
            }
        }
        Ok(())
    }
}

impl Change<'_> {
    /// Takes the vanished messages among these out of the log; says how many they are.
    async fn forget(&mut self, mailbox: u32, found: Vec<(Key, Bytes)>) -> Result<u32, MailboxError> {
        let (mut forgotten, mut floor) = (0, 0);
        for (key, value) in found {
            if value.first() == Some(&VANISHED) {
                floor = keys::read_change(&key).ok_or_else(|| corrupt(&self.account))?.0;
                self.batch.remove(key);
                forgotten += 1;
            }
        }
        let row = self.mailbox(mailbox).await?;
        row.vanished = row.vanished.saturating_sub(forgotten);
        row.floor = row.floor.max(floor);
        Ok(forgotten)
    }
}

fn corrupt(account: &Address) -> StoreError {
    StoreError::Corrupt { what: format!("the change log of {account}") }
}
