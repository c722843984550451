//! The queue: messages, recipients, and what is due.

use super::{Check, left, mendable, page};
use crate::error::StoreError;
use crate::keys;
use crate::kv::{Batch, Key};
use crate::spool::lanes;
use crate::spool::{Message, Recipient, name};
use bytes::Bytes;
use std::collections::BTreeSet;

impl Check<'_> {
    /// Checks the queue, and mends it.
    pub(super) async fn queue(&mut self) -> Result<(), StoreError> {
        let mut range = keys::all_queued(0);
        loop {
            let found = page(&self.base.data, &mut range).await?;
            if found.is_empty() {
                break;
            }
            for (key, value) in found {
                self.done.queued += 1;
                let Some(id) = keys::read_queued(&key) else { continue };
                match Message::read(&value) {
                    Ok(message) => self.message(id, message, value).await?,
                    Err(error) => {
                        let told = left("unreadable", place(id), error.to_string(), "restore it from a backup");
                        self.done.tell([told], false);
                    }
                }
            }
        }
        self.due().await?;
        self.orphans().await
    }

    async fn message(&mut self, id: u64, mut message: Message, before: Bytes) -> Result<(), StoreError> {
        let (mut found, mut batch) = (Vec::new(), Batch::new());
        batch.assert(keys::queued(id), Some(before.clone()));
        let mut wrong = |kind, what: String, remedy: &str| found.push(mendable(kind, place(id), what, remedy));
        let blob = self.blob(message.blob, message.size).await?;
        if self.base.data.get(&[keys::held_by_queue(message.blob, id)]).await?.pop().flatten().is_none() {
            wrong("missing-reference", "its reference to its blob is missing".into(), "add it");
            batch.put(keys::held_by_queue(message.blob, id), Bytes::new());
        }
        let (mut open, mut next) = (0_u32, 0_u32);
        let mut range = keys::recipients(id);
        let mut dues = Vec::new();
        loop {
            let rows = page(&self.base.data, &mut range).await?;
            if rows.is_empty() {
                break;
            }
            for (key, value) in rows {
                let Some(at) = keys::last_u32(&key) else { continue };
                (open, next) = (open.saturating_add(1), next.max(at.saturating_add(1)));
                // One that cannot be read is told of below, with what is due.
                if let Ok(row) = Recipient::read(&value) {
                    dues.push(keys::due(row.due, id, at));
                }
            }
        }
        for (due, there) in dues.iter().zip(self.base.data.get(&dues).await?) {
            if there.is_none() {
                let at = keys::last_u32(due).unwrap_or_default();
                wrong("due", format!("recipient {at} is never due"), "note when it is due");
                batch.put(due.clone(), Bytes::new());
            }
        }
        if open != message.open || next > message.next {
            let noted = format!("open {}, next {}", message.open, message.next);
            wrong("recipients", format!("{noted} noted; open {open}, next {next} counted"), "count them anew");
            (message.open, message.next) = (open, message.next.max(next));
            if open == 0 {
                batch.remove(keys::queued(id)).remove(keys::held_by_queue(message.blob, id));
                batch.put(keys::loose(self.now, message.blob), Bytes::new()).clear(keys::copies(id));
            } else {
                batch.put(keys::queued(id), message.write());
            }
        }
        // Settled meanwhile: what was read is of two moments.
        if self.base.data.get(&[keys::queued(id)]).await?.pop().flatten() != Some(before) {
            return Ok(());
        }
        if let Some(wrong) = blob {
            let what = wrong.says(message.blob, message.size);
            self.done.tell([left("broken-message", place(id), what, "restore the blob from a backup")], false);
        }
        if !found.is_empty() {
            let mended = self.how.repair && self.mend(batch).await?;
            self.done.tell(found, mended);
        }
        Ok(())
    }

    /// Nothing else is due, and what is due somebody works.
    async fn due(&mut self) -> Result<(), StoreError> {
        let (mut range, mut lanes) = (keys::all_due(), BTreeSet::new());
        loop {
            let found = page(&self.base.data, &mut range).await?;
            if found.is_empty() {
                break;
            }
            let read: Vec<_> = found.iter().map(|(key, _)| (key, keys::read_due(key))).collect();
            let wanted = read.iter().filter_map(|(_, due)| due.map(|(_, id, at)| keys::recipient(id, at)));
            let mut rows = self.base.data.get(&wanted.collect::<Vec<_>>()).await?.into_iter();
            for (key, due) in read {
                let row = due.and_then(|_| rows.next()).flatten();
                let right = due.is_some_and(|(_, id, at)| {
                    let due = row.as_deref().map(Recipient::read);
                    match due {
                        Some(Ok(row)) => *key == keys::due(row.due, id, at),
                        // Whether it is right cannot be told.
                        Some(Err(_)) => true,
                        None => false,
                    }
                });
                match due {
                    Some((_, id, at)) if right => {
                        lanes.insert(keys::lane(id));
                        if let Some(Err(error)) = row.as_deref().map(Recipient::read) {
                            let place = format!("{}, recipient {at}", place(id));
                            self.done.tell(
                                [left("unreadable", place, error.to_string(), "restore it from a backup")],
                                false,
                            );
                        }
                    }
                    _ => self.stale(key, due.map(|(_, id, at)| (keys::recipient(id, at), row))).await?,
                }
            }
        }
        for lane in lanes {
            self.owner(lane).await?;
        }
        Ok(())
    }

    async fn stale(&mut self, key: &Key, row: Option<(Key, Option<Bytes>)>) -> Result<(), StoreError> {
        // Settled meanwhile, it is right that it is gone.
        if self.base.data.get(std::slice::from_ref(key)).await?.pop().flatten().is_none() {
            return Ok(());
        }
        let place = keys::read_due(key)
            .map_or_else(|| format!("{key:?}"), |(_, id, at)| format!("{}, recipient {at}", place(id)));
        let found = mendable("due", place, "it is due, and not there or due at another time", "remove what is due");
        let mut batch = Batch::new();
        batch.remove(key.clone());
        if let Some((row, value)) = row {
            batch.assert(row, value);
        }
        let mended = self.how.repair && self.mend(batch).await?;
        self.done.tell([found], mended);
        Ok(())
    }

    async fn owner(&mut self, lane: u16) -> Result<(), StoreError> {
        if self.base.data.get(&[keys::owner(lane)]).await?.pop().flatten().is_some() {
            return Ok(());
        }
        let found = mendable(
            "lane",
            format!("lane {lane} of the queue"),
            "mail is in it, and no node works it",
            "give it to the next that looks",
        );
        let mut batch = Batch::new();
        batch.assert(keys::owner(lane), None).put(keys::owner(lane), lanes::abandoned());
        let mended = self.how.repair && self.mend(batch).await?;
        self.done.tell([found], mended);
        Ok(())
    }

    /// Recipients and copies whose message is gone.
    async fn orphans(&mut self) -> Result<(), StoreError> {
        for (mut range, copies) in [(keys::all_recipients(), false), (keys::all_copies(), true)] {
            loop {
                let found = page(&self.base.data, &mut range).await?;
                if found.is_empty() {
                    break;
                }
                let ids: Vec<u64> = found.iter().filter_map(|(key, _)| keys::read_queued_of(key)).collect();
                let wanted: Vec<Key> = ids.iter().map(|id| keys::queued(*id)).collect();
                let there = self.base.data.get(&wanted).await?;
                for ((key, id), there) in found.iter().map(|(key, _)| key).zip(ids).zip(there) {
                    let still = there.is_none()
                        && self.base.data.get(std::slice::from_ref(key)).await?.pop().flatten().is_some();
                    if still {
                        self.orphan(key, id, copies).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn orphan(&mut self, key: &Key, id: u64, copy: bool) -> Result<(), StoreError> {
        if !copy && !self.how.drop_broken {
            let remedy = "restore the message from a backup, or remove it with --repair --drop-broken";
            self.done
                .tell([left("lost-recipient", place(id), "a recipient of a message that is not there", remedy)], false);
            return Ok(());
        }
        let (kind, what) = match copy {
            true => ("copy", "a note of a delivered copy outlived its message"),
            false => ("lost-recipient", "a recipient of a message that is not there"),
        };
        let mut batch = Batch::new();
        batch.assert(keys::queued(id), None).remove(key.clone());
        let mended = self.how.repair && self.mend(batch).await?;
        self.done.tell([mendable(kind, place(id), what, "remove it")], mended);
        Ok(())
    }
}

fn place(id: u64) -> String {
    format!("queued message {}", name(id))
}
