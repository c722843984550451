//! What every account holds.

use super::Mailboxes;
use super::row::MailboxRow;
use crate::error::StoreError;
use crate::keys;
use crate::kv::{PAGE_MOST, Page};
use schema::name::Address;
use serde::Serialize;
use std::collections::BTreeMap;

/// What an account's mailboxes hold together, copies counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Messages.
    pub messages: u64,
    /// Octets.
    pub octets: u64,
}

impl Mailboxes {
    /// What each account holds that has mailboxes, whether or not the configuration still has it.
    ///
    /// # Errors
    /// The store's.
    pub async fn held(&self) -> Result<BTreeMap<Address, Held>, StoreError> {
        let mut held: BTreeMap<Address, Held> = BTreeMap::new();
        let mut range = keys::all_mailboxes();
        loop {
            let page = self.data.scan(range.clone(), Page::first(PAGE_MOST)).await?;
            for (key, value) in &page {
                let account = keys::read_account(key);
                let account = account.ok_or_else(|| StoreError::Corrupt { what: "a mailbox's key".into() })?;
                let row = MailboxRow::read(value)?;
                let own = held.entry(account).or_default();
                own.messages = own.messages.saturating_add(u64::from(row.messages));
                own.octets = own.octets.saturating_add(row.size);
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE_MOST => range.from = [&last.0, &[0][..]].concat().into(),
                _ => return Ok(held),
            }
        }
    }
}
