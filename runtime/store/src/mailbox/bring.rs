//! Mail that comes from elsewhere: many messages in one batch, with the UIDs that they had there where that can be,
//! and a mark of how far a source was read, written with the messages that it tells of.

use super::{MailboxError, Mailboxes, NewMessage, Outcome, TRIES, busy};
use crate::blob::WITHIN_MOST;
use crate::error::StoreError;
use crate::keys;
use crate::kv::Batch;
use crate::row::{Packer, Unpacker};
use bytes::Bytes;
use schema::name::Address;

/// Octets of messages that one batch writes; well below [`crate::kv::BATCH_MOST`].
const WRITTEN_MOST: u64 = 4 << 20;
/// UIDs that a mark remembers as passed over; later ones are not tried again.
const PASSED_MOST: usize = 10_000;

/// A message from elsewhere.
#[derive(Clone, Debug)]
pub struct Brought {
    /// What is kept of it.
    pub message: NewMessage,
    /// Its octets.
    pub octets: Bytes,
    /// Its UID there; kept where the mailbox is the same one, by its UIDVALIDITY, and no later UID was given.
    pub uid: Option<u32>,
}

/// How far a mailbox elsewhere was imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Its UIDVALIDITY then.
    pub uid_validity: u32,
    /// Messages up to this UID were looked at.
    pub uid: u32,
    /// Of them, those that could not be taken, ascending.
    pub passed: Vec<u32>,
}

impl Mark {
    fn read(value: &[u8]) -> Result<Mark, StoreError> {
        let mut from = Unpacker::new(value, 1, "the mark of an import")?;
        let (uid_validity, uid, count) = (from.u32()?, from.u32()?, from.u32()?);
        let passed = (0..count).map(|_| from.u32()).collect::<Result<_, _>>()?;
        Ok(Mark { uid_validity, uid, passed })
    }

    fn write(&self) -> Vec<u8> {
        let passed = self.passed.get(..PASSED_MOST).unwrap_or(&self.passed);
        let mut to = Packer::new(1);
        to.u32(self.uid_validity).u32(self.uid).u32(u32::try_from(passed.len()).unwrap_or(0));
        for uid in passed {
            to.u32(*uid);
        }
        to.done()
    }
}

/// What an import may change of a mailbox that never held a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Its UIDVALIDITY elsewhere.
    pub uid_validity: u32,
    /// The next message's UID there.
    pub uid_next: u32,
}

impl Mailboxes {
    /// Adds messages from elsewhere, in batches, each durable with what `mark` says of it: `mark` is the source's name
    /// and how far it was read with the last of these messages. Returns how many were added: all, or as many as came
    /// before the error.
    ///
    /// # Errors
    /// With how many were added: [`MailboxError::Missing`], [`MailboxError::OverQuota`] where the next one does not
    /// fit, or the store's.
    pub async fn bring(
        &self,
        (account, mailbox): (&Address, u32),
        (from, messages): (Option<u32>, &[Brought]),
        mark: Option<(&[u8; 32], &Mark)>,
        (quota, now): (Option<u64>, i64),
    ) -> Result<(), (usize, MailboxError)> {
        let mut done = 0;
        loop {
            let left = messages.get(done..).unwrap_or_default();
            let added = self.bring_some((account, mailbox), (from, left), mark, (quota, now)).await;
            done += added.map_err(|error| (done, error))?;
            if done >= messages.len() {
                return Ok(());
            }
        }
    }

    async fn bring_some(
        &self,
        (account, mailbox): (&Address, u32),
        (from, messages): (Option<u32>, &[Brought]),
        mark: Option<(&[u8; 32], &Mark)>,
        (quota, now): (Option<u64>, i64),
    ) -> Result<usize, MailboxError> {
        for _ in 0..TRIES {
            let mut change = self.begin(account, now).await?;
            let same = Some(change.mailbox(mailbox).await?.uid_validity) == from;
            let (mut written, mut count) = (0, 0);
            for brought in messages {
                if count > 0 && written + brought.message.octets > WRITTEN_MOST {
                    break;
                }
                match change.within(quota, brought.message.octets) {
                    // What fits is taken first; the next round says that no more does.
                    Err(_) if count > 0 => break,
                    fits => fits?,
                }
                let row = change.mailbox(mailbox).await?;
                if let Some(uid) = brought.uid.filter(|uid| same && *uid > row.uid_next && *uid < u32::MAX) {
                    row.uid_next = uid;
                }
                // A large one may be written beside the batch.
                if brought.octets.len() <= WITHIN_MOST {
                    written += brought.message.octets;
                }
                let blob = self.keep(&brought.octets, &mut change.batch, now).await?;
                change.add(mailbox, blob, &brought.message).await?;
                count += 1;
            }
            if let Some((source, mark)) = mark {
                let mut mark = mark.clone();
                if count < messages.len() {
                    // Read so far only as what is written reaches.
                    let before = self.mark(account, source).await?.map_or(0, |mark| mark.uid);
                    let last = count.checked_sub(1).and_then(|at| messages.get(at)?.uid).unwrap_or(0);
                    mark.uid = before.max(last);
                }
                change.batch.put(keys::imported(account, source), mark.write());
            }
            if let Outcome::Done = change.commit().await? {
                return Ok(count.max(1));
            }
        }
        Err(busy())
    }

    /// Gives a mailbox that never held a message the UIDVALIDITY and next UID that it has elsewhere, so that clients
    /// need not fetch everything again. One that held any is left as it is, but for a next UID that is further on.
    ///
    /// # Errors
    /// [`MailboxError::Missing`], or the store's.
    pub async fn settle(
        &self,
        account: &Address,
        mailbox: u32,
        as_there: Settled,
        now: i64,
    ) -> Result<(), MailboxError> {
        for _ in 0..TRIES {
            let mut change = self.begin(account, now).await?;
            let row = change.mailbox(mailbox).await?;
            let before = (row.uid_validity, row.uid_next);
            if row.uid_next == 1 && as_there.uid_validity > 0 {
                row.uid_validity = as_there.uid_validity;
            }
            if row.uid_validity == as_there.uid_validity {
                row.uid_next = row.uid_next.max(as_there.uid_next);
            }
            if (row.uid_validity, row.uid_next) == before {
                return Ok(());
            }
            // Mailboxes made later get ones that are greater still.
            let given = row.uid_validity;
            change.row.uid_validity = change.row.uid_validity.max(given);
            change.touch(mailbox);
            if let Outcome::Done = change.commit().await? {
                return Ok(());
            }
        }
        Err(busy())
    }

    /// How far a mailbox elsewhere, by a name of 32 octets, was imported.
    ///
    /// # Errors
    /// The store's.
    pub async fn mark(&self, account: &Address, source: &[u8; 32]) -> Result<Option<Mark>, StoreError> {
        let found = self.data.get(&[keys::imported(account, source)]).await?.pop().flatten();
        found.map(|value| Mark::read(&value)).transpose()
    }

    /// Notes how far a mailbox elsewhere was imported where no message says it.
    ///
    /// # Errors
    /// The store's.
    pub async fn note(&self, account: &Address, source: &[u8; 32], mark: &Mark) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(keys::imported(account, source), mark.write());
        self.data.commit(batch).await.map_err(super::plain)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::blob::shelves::Shelves;
    use crate::kv::KeyValue;
    use crate::kv::memory::Memory;
    use std::sync::Arc;

    fn brought(text: &str, uid: u32) -> Brought {
        let octets = Bytes::from(text.to_owned());
        Brought {
            message: NewMessage { octets: octets.len() as u64, date: 7, ..NewMessage::default() },
            octets,
            uid: Some(uid),
        }
    }

    #[tokio::test]
    async fn uids_are_kept_in_a_mailbox_that_was_empty_and_never_given_twice() {
        let data: Arc<dyn KeyValue> = Arc::new(Memory::new());
        let mailboxes = Mailboxes::new(data.clone(), Arc::new(Shelves::beside(data)));
        let ada: Address = "ada@example.org".parse().unwrap();
        let id = mailboxes.named(&ada, "Archive", 5).await.unwrap().id;
        mailboxes.settle(&ada, id, Settled { uid_validity: 77, uid_next: 1 }, 5).await.unwrap();
        let mark = Mark { uid_validity: 77, uid: 9, passed: vec![3] };
        let some = [brought("one", 4), brought("two", 9)];
        mailboxes.bring((&ada, id), (Some(77), &some), Some((&[1; 32], &mark)), (None, 5)).await.unwrap();
        let uids = async || mailboxes.entries(&ada, id).await.unwrap().iter().map(|e| e.uid).collect::<Vec<_>>();
        assert_eq!(uids().await, [4, 9]);
        assert_eq!(mailboxes.mark(&ada, &[1; 32]).await.unwrap(), Some(mark));
        // An earlier one comes late, and one from another place.
        mailboxes.bring((&ada, id), (Some(77), &[brought("x", 5)]), None, (None, 5)).await.unwrap();
        mailboxes.bring((&ada, id), (Some(78), &[brought("y", 500)]), None, (None, 5)).await.unwrap();
        assert_eq!(uids().await, [4, 9, 10, 11]);
        mailboxes.settle(&ada, id, Settled { uid_validity: 3, uid_next: 900 }, 5).await.unwrap();
        let row = mailboxes.facts(&ada, id).await.unwrap().row;
        assert_eq!((row.uid_validity, row.uid_next), (77, 12));
        // What fits is taken before the quota stops the rest.
        let three = [brought("aaa", 1), brought("bbb", 2), brought("ccc", 3)];
        let used = mailboxes.used(&ada).await.unwrap();
        let (done, error) = mailboxes.bring((&ada, id), (None, &three), None, (Some(used + 7), 5)).await.unwrap_err();
        assert!(done == 2 && matches!(error, MailboxError::OverQuota), "{done} {error}");
    }
}
