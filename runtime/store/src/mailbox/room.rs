//! How many messages one batch can change.

use crate::kv::{BATCH_MOST, Batch};
use crate::mailbox::row::Entry;
use schema::name::Address;

/// What a batch weighs at most beside its messages: the rows of account and mailboxes, what a store adds.
const ROWS: usize = 100_000;

/// Room for messages in a batch, whose weight every store bounds.
pub(super) struct Room {
    left: usize,
    /// What a message weighs that is put into one mailbox and taken out of another, but for its entry.
    each: usize,
    any: bool,
}

impl Room {
    pub(super) fn new(account: &Address) -> Room {
        let account = account.local.as_str().len() + account.domain.as_str().len();
        // The longest keys of a message, of entry, log and blob: with numbers and what stands between.
        let keys = [account + 12, account + 20, account + 46];
        let put: usize = keys.iter().map(|key| Batch::put_weight(*key, 1)).sum();
        let removed: usize = keys.iter().map(|key| Batch::remove_weight(*key)).sum();
        // And in the log of the mailbox that it left, and as a blob to look at.
        let noted = Batch::put_weight(keys[1], 1) + Batch::put_weight(42, 0);
        Room { left: BATCH_MOST - ROWS, each: put + removed + noted, any: false }
    }

    /// Whether a message has room too. The first one always does.
    pub(super) fn takes(&mut self, entry: &Entry) -> bool {
        let octets = self.each + entry.write().len();
        let fits = octets <= self.left || !self.any;
        self.left = self.left.saturating_sub(octets);
        self.any = true;
        fits
    }
}
