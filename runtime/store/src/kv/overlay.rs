//! What a group of batches makes of a database before it is written: later batches of the group are judged by it.

use super::{Key, KeyRange, Write};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Changes on top of what is stored.
#[derive(Default)]
pub(super) struct Overlay {
    /// Keys set or removed. They win over `cleared`.
    changed: BTreeMap<Key, Option<Bytes>>,
    cleared: Vec<KeyRange>,
}

impl Overlay {
    /// What the overlay says of a key: a value, that it is absent (`Some(None)`), or nothing.
    pub(super) fn value(&self, key: &Key) -> Option<Option<&Bytes>> {
        match self.changed.get(key) {
            Some(changed) => Some(changed.as_ref()),
            None => self.is_cleared(key).then_some(None),
        }
    }

    /// Whether it puts a key into this range.
    pub(super) fn puts_within(&self, range: &KeyRange) -> bool {
        range.from < range.to
            && self.changed.range(range.from.clone()..range.to.clone()).any(|(_, value)| value.is_some())
    }

    fn is_cleared(&self, key: &Key) -> bool {
        self.cleared.iter().any(|range| range.holds(key))
    }

    /// Adds a change.
    pub(super) fn write(&mut self, write: &Write) {
        match write {
            Write::Put(key, value) => drop(self.changed.insert(key.clone(), Some(value.clone()))),
            Write::Remove(key) => drop(self.changed.insert(key.clone(), None)),
            Write::Clear(range) => drop(self.clear(range)),
        }
    }

    /// Clears a range; says which keys of it had been set or removed before.
    pub(super) fn clear(&mut self, range: &KeyRange) -> Vec<Key> {
        if range.from >= range.to {
            return Vec::new();
        }
        let within = self.changed.range(range.from.clone()..range.to.clone());
        let keys: Vec<Key> = within.map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| drop(self.changed.remove(key)));
        self.cleared.push(range.clone());
        keys
    }

    /// The ranges to clear first, then the keys to set or remove.
    pub(super) fn into_changes(self) -> (Vec<KeyRange>, BTreeMap<Key, Option<Bytes>>) {
        (self.cleared, self.changed)
    }
}
