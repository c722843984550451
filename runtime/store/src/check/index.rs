//! The full-text index has what the mailboxes have, as far as it has followed them.

use super::{Check, TRIES, mendable};
use crate::error::StoreError;
use crate::keys;
use crate::search::DocumentId;
use crate::search::indexer::id;
use schema::name::Address;
use std::collections::BTreeSet;

/// Messages that are forgotten at once.
const FORGOTTEN_AT_ONCE: usize = 1_000;

impl Check<'_> {
    /// Checks an account's index, and mends it.
    pub(super) async fn index(&mut self, account: &Address) -> Result<(), StoreError> {
        let Some(index) = self.index else { return Ok(()) };
        let now = [keys::account(account), keys::unindexed(account)];
        for _ in 0..TRIES {
            let before = self.base.data.get(&now).await?;
            let mut seen = Vec::new();
            for facts in self.base.mailboxes.known(account).await? {
                seen.push((facts.id, index.indexer.seen(account, facts.id).await?));
            }
            let Some(indexed) = index.search.messages(account).await? else { return Ok(()) };
            let mut there = BTreeSet::new();
            let mut due = BTreeSet::new();
            for (mailbox, seen) in seen {
                for entry in self.base.mailboxes.entries(account, mailbox).await? {
                    let message = id(account, mailbox, entry.uid).message;
                    there.insert(message);
                    if entry.uid < seen {
                        due.insert(message);
                    }
                }
            }
            if self.base.data.get(&now).await? != before {
                continue;
            }
            let indexed: BTreeSet<u64> = indexed.into_iter().collect();
            self.done.indexed += indexed.len() as u64;
            let absent = due.difference(&indexed).count();
            if absent > 0 {
                let what = format!("{absent} messages are not in it, and searches miss them");
                let found = mendable("missing-from-index", place(account), what, "have the account indexed anew");
                if self.how.repair {
                    index.indexer.again(Some(account)).await?;
                }
                self.done.tell([found], self.how.repair);
            }
            // What is to be followed yet, or was not looked at, is no damage.
            let gone: Vec<u64> = indexed.difference(&there).copied().collect();
            if !gone.is_empty() && matches!(before.last(), Some(None)) {
                let what = format!("it has the words of {} messages that are gone", gone.len());
                let found = mendable("gone-in-index", place(account), what, "forget them");
                if self.how.repair {
                    for some in gone.chunks(FORGOTTEN_AT_ONCE) {
                        let id = |message: &u64| DocumentId { account: account.clone(), message: *message };
                        index.search.forget(&some.iter().map(id).collect::<Vec<_>>()).await?;
                    }
                }
                self.done.tell([found], self.how.repair);
            }
            return Ok(());
        }
        Ok(())
    }
}

fn place(account: &Address) -> String {
    format!("{account}, full-text index")
}
