//! From the queue into a mailbox, in one batch.

use super::{NewEntry, Next, Open, Spool, TRIES, Ticket, busy};
use crate::error::StoreError;
use crate::held;
use crate::keys;
use crate::mailbox::{Flags, MailboxError, NewMessage, Outcome};
use bytes::Bytes;
use schema::name::Address;
use std::collections::{BTreeMap, BTreeSet};

/// A recipient whose mail goes into a mailbox.
#[derive(Debug)]
pub struct Delivery {
    /// Which.
    pub ticket: Ticket,
    /// The part of the address behind its `+`; may be empty. Of one message, a mailbox gets one copy for each.
    pub detail: String,
    /// The Return-Path field to put first, where the message has none yet.
    pub return_path: String,
    /// What the delivery leads to: a notification that was asked for.
    pub new: Vec<NewEntry>,
}

/// Octets of messages that one batch writes anew; well below [`crate::kv::BATCH_MOST`],
const WRITTEN_MOST: u64 = 4 << 20;
/// with so many for what each delivery changes beside them: keys of mailbox and queue for the longest address.
const BESIDE: u64 = 12 << 10;

impl Spool {
    /// Puts messages into an account's inbox, or Junk, and settles their recipients, each in one step with its
    /// message. What was settled before is left alone.
    ///
    /// # Errors
    /// The store's; what was not delivered then is as it was.
    pub async fn deliver(&self, account: &Address, deliveries: &[Delivery], now: i64) -> Result<(), StoreError> {
        let mut left = deliveries;
        while !left.is_empty() {
            let done = self.deliver_some(account, left, now).await?;
            left = left.get(done..).unwrap_or_default();
        }
        Ok(())
    }

    /// Delivers as many as one batch can hold, at least one; says how many.
    async fn deliver_some(&self, account: &Address, deliveries: &[Delivery], now: i64) -> Result<usize, StoreError> {
        let ids: BTreeSet<u64> = deliveries.iter().map(|delivery| delivery.ticket.id).collect();
        for _ in 0..TRIES {
            // Always the account first, then the messages: nobody waits the other way round.
            let mut change = self.mailboxes.begin(account, now).await?;
            let guards = self.lock(&ids).await;
            let mut open = BTreeMap::new();
            let lanes: BTreeMap<u16, u64> = ids.iter().map(|id| (keys::lane(*id), *id)).collect();
            for id in lanes.values() {
                self.lanes.assert(*id, &mut change.batch)?;
            }
            for id in &ids {
                open.insert(*id, Open::load(self, *id).await?);
            }
            let (mut made, mut copies, mut written, mut done) = (Vec::new(), BTreeSet::new(), 0, 0);
            for delivery in deliveries {
                let this = open.get_mut(&delivery.ticket.id);
                let message = this.as_ref().and_then(|this| this.message.clone());
                let anew = message.as_ref().filter(|message| !message.return_path).map_or(0, |message| message.size);
                let new: u64 = delivery.new.iter().map(|entry| entry.octets.len() as u64).sum();
                let anew = anew + new + BESIDE;
                if written > 0 && written + anew > WRITTEN_MOST {
                    break;
                }
                written += anew;
                done += 1;
                let (Some(this), Some(message)) = (this, message) else { continue };
                if !this.settle(self, delivery.ticket.recipient, &Next::Done, &mut change.batch).await? {
                    continue;
                }
                for entry in &delivery.new {
                    made.push((self.stage(entry, &mut change.batch, now).await?, entry));
                }
                // Somebody may be named twice, or be a member of a group and named beside it.
                if message.next > 1 {
                    let copy = keys::copy(delivery.ticket.id, &format!("{account}+{}", delivery.detail));
                    let first = copies.insert((delivery.ticket.id, &delivery.detail));
                    if !first || self.data.get(std::slice::from_ref(&copy)).await?.pop().flatten().is_some() {
                        continue;
                    }
                    change.batch.put(copy, Bytes::new());
                }
                let (blob, octets) = if message.return_path {
                    (message.blob, message.size)
                } else {
                    let whole = held::joined(&[delivery.return_path.as_bytes(), &self.octets(&message).await?]).await?;
                    (self.mailboxes.keep(&whole, &mut change.batch, now).await?, whole.len() as u64)
                };
                let mailbox = change.target(message.junk).await?;
                let new = NewMessage { octets, date: message.arrived, flags: Flags::default() };
                change.add(mailbox, blob, &new).await.map_err(plain)?;
            }
            for this in open.into_values() {
                this.write(&mut change.batch, now);
            }
            if let Outcome::Done = change.commit().await? {
                drop(guards);
                for (id, entry) in made {
                    self.announce(id, entry.recipients.len(), &entry.recipients, now);
                }
                return Ok(done);
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
