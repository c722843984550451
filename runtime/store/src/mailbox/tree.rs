//! Names: list, create, delete, rename, subscribe.

use super::room::Room;
use super::{
    BATCH_MESSAGES, Change, INBOX, MAILBOXES_MOST, MailboxError, MailboxFacts, Mailboxes, Outcome, SUBSCRIPTIONS_MOST,
    SpecialUse, TRIES, busy,
};
use crate::error::StoreError;
use crate::keys;
use crate::kv::Key;
use crate::mailbox::row::{Entry, MailboxRow};
use bytes::Bytes;
use schema::name::Address;

impl Mailboxes {
    /// Every mailbox of an account, which gets its first ones now if it is new.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, account: &Address, now: i64) -> Result<Vec<MailboxFacts>, StoreError> {
        for _ in 0..TRIES {
            let stored = self.scan_all(keys::mailboxes(account), MAILBOXES_MOST).await?;
            if !stored.is_empty() {
                return stored.iter().map(facts).collect();
            }
            // Made by the change's beginning.
            self.begin(account, now).await?.commit().await?;
        }
        Err(StoreError::Corrupt { what: format!("the mailboxes of {account}") })
    }

    /// Every mailbox of an account; none where nothing ever came to it. Changes nothing.
    ///
    /// # Errors
    /// The store's.
    pub async fn known(&self, account: &Address) -> Result<Vec<MailboxFacts>, StoreError> {
        self.scan_all(keys::mailboxes(account), MAILBOXES_MOST).await?.iter().map(facts).collect()
    }

    /// Gives a mailbox a use, which another loses that never held a message.
    ///
    /// # Errors
    /// [`MailboxError::Missing`], [`MailboxError::UseTaken`] by one that held some, or the store's.
    pub async fn use_for(&self, account: &Address, id: u32, this: SpecialUse, now: i64) -> Result<(), MailboxError> {
        for _ in 0..TRIES {
            let mut change = self.begin(account, now).await?;
            let all = change.list().await?;
            let holder = all.iter().find(|(_, row)| row.special_use == Some(this));
            match holder {
                Some((holder, _)) if *holder == id => return Ok(()),
                Some((_, row)) if row.uid_next > 1 => return Err(MailboxError::UseTaken),
                Some((holder, _)) => {
                    change.mailbox(*holder).await?.special_use = None;
                    change.touch(*holder);
                }
                None => {}
            }
            change.mailbox(id).await?.special_use = Some(this);
            change.touch(id);
            if let Outcome::Done = change.commit().await? {
                return Ok(());
            }
        }
        Err(busy())
    }

    /// One mailbox by its name.
    ///
    /// # Errors
    /// [`MailboxError::Missing`], or the store's.
    pub async fn named(&self, account: &Address, name: &str, now: i64) -> Result<MailboxFacts, MailboxError> {
        let all = self.list(account, now).await?;
        all.into_iter().find(|facts| facts.row.name == name).ok_or(MailboxError::Missing)
    }

    /// One mailbox by its number.
    ///
    /// # Errors
    /// [`MailboxError::Missing`], or the store's.
    pub async fn facts(&self, account: &Address, id: u32) -> Result<MailboxFacts, MailboxError> {
        let found = self.data.get(&[keys::mailbox(account, id)]).await?.pop().flatten();
        let row = MailboxRow::read(&found.ok_or(MailboxError::Missing)?)?;
        Ok(MailboxFacts { id, row })
    }

    /// Makes a mailbox and its missing parents.
    ///
    /// # Errors
    /// [`MailboxError::Exists`], [`MailboxError::Limit`], [`MailboxError::UseTaken`], or the store's.
    pub async fn create(
        &self,
        account: &Address,
        name: &str,
        special_use: Option<SpecialUse>,
        now: i64,
    ) -> Result<u32, MailboxError> {
        for _ in 0..TRIES {
            let mut change = self.begin(account, now).await?;
            let all = change.list().await?;
            if all.values().any(|row| row.name == name) || name == "INBOX" {
                return Err(MailboxError::Exists);
            }
            if special_use.is_some() && all.values().any(|row| row.special_use == special_use) {
                return Err(MailboxError::UseTaken);
            }
            if all.len() + name.split('/').count() > MAILBOXES_MOST {
                return Err(MailboxError::Limit("the account has as many mailboxes as it may"));
            }
            for parent in parents(name) {
                if !all.values().any(|row| row.name == parent) {
                    change.make(parent.to_owned(), None);
                }
            }
            let id = change.make(name.to_owned(), special_use);
            if let Outcome::Done = change.commit().await? {
                return Ok(id);
            }
        }
        Err(busy())
    }

    /// Removes a mailbox and its messages; its children stay.
    ///
    /// # Errors
    /// [`MailboxError::Missing`], [`MailboxError::Inbox`], or the store's.
    pub async fn delete(&self, account: &Address, name: &str, now: i64) -> Result<(), MailboxError> {
        if name == "INBOX" {
            return Err(MailboxError::Inbox);
        }
        // Messages go in batches of their own first: a store bounds what one batch may hold.
        for _ in 0..TRIES {
            let mut change = self.begin(account, now).await?;
            let id = change.named(name).await?;
            change.mailbox(id).await?;
            let mut some = self.some_entries(account, id).await?;
            let mut room = Room::new(account);
            let fitting = some.iter().take_while(|entry| room.takes(entry)).count();
            let last = some.len() < BATCH_MESSAGES && fitting == some.len();
            some.truncate(fitting);
            some.iter().for_each(|entry| change.take(id, entry));
            if last {
                change.mailboxes.remove(&id);
                change.batch.remove(keys::mailbox(account, id));
                change.batch.clear(keys::changes(account, id, 0));
            }
            match change.commit().await? {
                Outcome::Done if last => return Ok(()),
                Outcome::Done => return Box::pin(self.delete(account, name, now)).await,
                Outcome::Again => {}
            }
        }
        Err(busy())
    }

    async fn some_entries(&self, account: &Address, id: u32) -> Result<Vec<Entry>, StoreError> {
        let page = crate::kv::Page::first(BATCH_MESSAGES);
        let found = self.data.scan(keys::entries(account, id, 0), page).await?;
        found.iter().map(super::messages::entry).collect()
    }

    /// Renames a mailbox and its children. The inbox stays, and its messages move to the new one
    /// (RFC 3501 §6.3.5).
    ///
    /// # Errors
    /// [`MailboxError::Missing`], [`MailboxError::Exists`], [`MailboxError::Limit`], or the store's.
    pub async fn rename(&self, account: &Address, from: &str, to: &str, now: i64) -> Result<(), MailboxError> {
        if from == "INBOX" {
            let id = self.create(account, to, None, now).await?;
            return self.move_all(account, INBOX, id, now).await;
        }
        for _ in 0..TRIES {
            let mut change = self.begin(account, now).await?;
            let id = change.named(from).await?;
            let all = change.list().await?;
            if to == "INBOX" || all.values().any(|row| row.name == to) {
                return Err(MailboxError::Exists);
            }
            let below = format!("{from}/");
            if to.starts_with(&below) {
                return Err(MailboxError::Limit("a mailbox cannot be moved into itself"));
            }
            for (child, row) in &all {
                if let Some(rest) = row.name.strip_prefix(&below) {
                    let name = format!("{to}/{rest}");
                    if all.values().any(|row| row.name == name) {
                        return Err(MailboxError::Exists);
                    }
                    renamed(&mut change, *child, name).await?;
                }
            }
            renamed(&mut change, id, to.to_owned()).await?;
            for parent in parents(to) {
                if !all.values().any(|row| row.name == parent) {
                    change.make(parent.to_owned(), None);
                }
            }
            if let Outcome::Done = change.commit().await? {
                return Ok(());
            }
        }
        Err(busy())
    }

    /// The names that an account subscribed to, whether they exist or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn subscriptions(&self, account: &Address) -> Result<Vec<String>, StoreError> {
        let range = keys::subscriptions(account);
        let found = self.scan_all(range.clone(), SUBSCRIPTIONS_MOST).await?;
        Ok(found.iter().map(|(key, _)| String::from_utf8_lossy(keys::tail(key, &range)).into_owned()).collect())
    }

    /// Subscribes to a name, or no longer.
    ///
    /// # Errors
    /// [`MailboxError::Limit`], or the store's.
    pub async fn subscribe(&self, account: &Address, name: &str, on: bool, now: i64) -> Result<(), MailboxError> {
        if on && self.subscriptions(account).await?.len() >= SUBSCRIPTIONS_MOST {
            return Err(MailboxError::Limit("the account has as many subscriptions as it may"));
        }
        for _ in 0..TRIES {
            let mut change = self.begin(account, now).await?;
            let key = keys::subscription(account, name);
            if on {
                change.batch.put(key, Bytes::new())
            } else {
                change.batch.remove(key)
            };
            if let Outcome::Done = change.commit().await? {
                return Ok(());
            }
        }
        Err(busy())
    }
}

async fn renamed(change: &mut Change<'_>, id: u32, name: String) -> Result<(), MailboxError> {
    let modseq = change.row.modseq;
    let row = change.mailbox(id).await?;
    row.name = name;
    row.modseq = modseq;
    Ok(())
}

fn facts((key, value): &(Key, Bytes)) -> Result<MailboxFacts, StoreError> {
    let id = keys::last_u32(key).ok_or_else(|| StoreError::Corrupt { what: "a mailbox's key".into() })?;
    Ok(MailboxFacts { id, row: MailboxRow::read(value)? })
}

fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}
