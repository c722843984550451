//! Lookups in a database: each can be read, and each that ends has the mark by which it is removed then.

use super::{Check, commit, left, mendable, page};
use crate::error::StoreError;
use crate::kv::{Batch, Key, KeyRange, KeyValue};
use crate::lookup::kv::{COUNTERS, FACTS, LEASES, MARKS, end_of, mark, marked};
use bytes::Bytes;
use std::sync::Arc;

impl Check<'_> {
    /// Checks them, and removes or marks what must be. A lookup may be forgotten, but for a lease, whose number would be
    /// given twice.
    pub(super) async fn lookups(&mut self) -> Result<(), StoreError> {
        let Some(data) = self.lookups else { return Ok(()) };
        for kind in [COUNTERS, FACTS, LEASES] {
            let mut range = KeyRange::prefix(kind);
            loop {
                let found = page(data, &mut range).await?;
                if found.is_empty() {
                    break;
                }
                self.done.lookups += found.len() as u64;
                // A lease has no end by which it would be removed.
                let marks: Vec<Key> = match kind == LEASES {
                    true => Vec::new(),
                    false => found.iter().filter_map(|(key, value)| Some(mark(end_of(key, value)?, key))).collect(),
                };
                let mut marks = data.get(&marks).await?.into_iter();
                for (key, value) in found {
                    let mark = end_of(&key, &value).map(|until| mark(until, &key));
                    let is_marked = mark.is_some() && (kind == LEASES || marks.next().flatten().is_some());
                    if !is_marked && is_still(data, &key, &value).await? {
                        self.lookup((kind, data), (key, value), mark).await?;
                    }
                }
            }
        }
        self.marks(data).await
    }

    async fn lookup(
        &mut self,
        (kind, data): (&[u8; 2], &Arc<dyn KeyValue>),
        (key, value): (Key, Bytes),
        mark: Option<Key>,
    ) -> Result<(), StoreError> {
        let name = String::from_utf8_lossy(key.0.get(2..).unwrap_or_default()).into_owned();
        let place = format!("lookup {name}");
        let mut batch = Batch::new();
        batch.assert(key.clone(), Some(value));
        let found = match mark {
            Some(mark) => {
                batch.put(mark, Bytes::new());
                mendable("endless-lookup", place, "it ends, and would never be removed", "note when it ends")
            }
            None if kind == LEASES => {
                left("unreadable", place, "a lease that cannot be read", "restore it from a backup")
            }
            None => {
                batch.remove(key);
                mendable("unreadable-lookup", place, "it cannot be read", "forget it")
            }
        };
        let mended = self.how.repair && !batch.writes.is_empty() && commit(data, batch).await?;
        self.done.tell([found], mended);
        Ok(())
    }

    /// Marks of what is not there, or ends at another time.
    async fn marks(&mut self, data: &Arc<dyn KeyValue>) -> Result<(), StoreError> {
        let mut range = KeyRange::prefix(MARKS);
        loop {
            let found = page(data, &mut range).await?;
            if found.is_empty() {
                return Ok(());
            }
            let keys: Vec<Key> = found.iter().map(|(key, _)| marked(key)).collect();
            let entries = data.get(&keys).await?;
            for (((found, empty), key), entry) in found.into_iter().zip(keys).zip(entries) {
                let right = entry.as_ref().and_then(|value| Some(mark(end_of(&key, value)?, &key)));
                if right.as_ref() == Some(&found) || !is_still(data, &found, &empty).await? {
                    continue;
                }
                let mut batch = Batch::new();
                batch.assert(key.clone(), entry).remove(found);
                let name = String::from_utf8_lossy(key.0.get(2..).unwrap_or_default()).into_owned();
                let what = "a note of an end that it does not have";
                let mended = self.how.repair && commit(data, batch).await?;
                self.done.tell([mendable("end-of-nothing", format!("lookup {name}"), what, "remove the note")], mended);
            }
        }
    }
}

/// Whether a key still has the value that it was seen with: what changed meanwhile is no damage.
async fn is_still(data: &Arc<dyn KeyValue>, key: &Key, value: &Bytes) -> Result<bool, StoreError> {
    Ok(data.get(std::slice::from_ref(key)).await?.pop().flatten().as_ref() == Some(value))
}
