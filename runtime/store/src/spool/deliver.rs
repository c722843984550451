//! From the queue into a mailbox, in one batch.

use super::{NewEntry, Next, Open, Spool, TRIES, Ticket, busy};
use crate::error::StoreError;
use crate::mailbox::{Flags, MailboxError, NewMessage, Outcome};
use bytes::Bytes;
use schema::name::Address;
use std::collections::{BTreeMap, BTreeSet};

/// A recipient whose mail goes into a mailbox.
#[derive(Debug)]
pub struct Delivery {
    /// Which.
    pub ticket: Ticket,
    /// The Return-Path field to put first, where the message has none yet.
    pub return_path: String,
    /// What the delivery leads to: a notification that was asked for.
    pub new: Vec<NewEntry>,
}

impl Spool {
    /// Puts messages into an account's inbox, or Junk, and settles the recipients, all in one step. What was
    /// settled before is left alone.
    ///
    /// # Errors
    /// The store's; nothing was delivered then.
    pub async fn deliver(&self, account: &Address, deliveries: &[Delivery], now: i64) -> Result<(), StoreError> {
        let ids: BTreeSet<u64> = deliveries.iter().map(|delivery| delivery.ticket.id).collect();
        for _ in 0..TRIES {
            // Always the account first, then the messages: nobody waits the other way round.
            let mut change = self.mailboxes.begin(account, now).await?;
            let guards = self.lock(&ids).await;
            let mut open = BTreeMap::new();
            for id in &ids {
                open.insert(*id, Open::load(self, *id).await?);
            }
            let mut made = Vec::new();
            for delivery in deliveries {
                let Some(this) = open.get_mut(&delivery.ticket.id) else { continue };
                let Some(message) = this.message.clone() else { continue };
                if !this.settle(self, delivery.ticket.recipient, &Next::Done, &mut change.batch).await? {
                    continue;
                }
                let (blob, octets) = if message.return_path {
                    (message.blob, message.size)
                } else {
                    let whole = [delivery.return_path.as_bytes(), &self.octets(&message).await?].concat();
                    let octets = whole.len() as u64;
                    (self.mailboxes.keep(&Bytes::from(whole), &mut change.batch, now).await?, octets)
                };
                let mailbox = change.target(message.junk).await?;
                let new = NewMessage { octets, date: message.arrived, flags: Flags::default() };
                change.add(mailbox, blob, &new).await.map_err(plain)?;
                for entry in &delivery.new {
                    made.push((self.stage(entry, &mut change.batch, now).await?, entry));
                }
            }
            for this in open.into_values() {
                this.write(&mut change.batch, now);
            }
            if let Outcome::Done = change.commit().await? {
                drop(guards);
                for (id, entry) in made {
                    self.announce(id, entry.recipients.len(), &entry.recipients, now);
                }
                return Ok(());
            }
        }
        Err(busy())
    }
}

fn plain(error: MailboxError) -> StoreError {
    match error {
        MailboxError::Store(error) => error,
        other => StoreError::Corrupt { what: other.to_string() },
    }
}
