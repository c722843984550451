//! Lookups in the server's memory.

use super::{Clock, Lease, Lookups, end, fits};
use crate::error::StoreError;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most counters, and the most facts; the ones that would end first make room.
pub const ENTRIES_MOST: usize = 100_000;
/// The most names that were ever leased; then [`StoreError::Full`], since a lease must not be forgotten.
pub const LEASES_MOST: usize = 10_000;

/// Lookups that end with the process.
pub struct MemoryLookups {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counters: Expiring<i64>,
    facts: Expiring<Bytes>,
    leases: HashMap<String, Lease>,
}

/// A bounded map whose entries end.
struct Expiring<T> {
    entries: HashMap<Arc<str>, (i64, T)>,
    by_end: BTreeSet<(i64, Arc<str>)>,
}

impl<T> Default for Expiring<T> {
    fn default() -> Expiring<T> {
        Expiring { entries: HashMap::new(), by_end: BTreeSet::new() }
    }
}

impl<T> Expiring<T> {
    /// Removes an entry; `None` if it has ended.
    fn take(&mut self, name: &str, now: i64) -> Option<(i64, T)> {
        let (name, (until, value)) = self.entries.remove_entry(name)?;
        self.by_end.remove(&(until, name));
        (until > now).then_some((until, value))
    }

    fn put(&mut self, name: &str, until: i64, value: T) {
        if self.entries.len() >= ENTRIES_MOST
            && let Some((_, first)) = self.by_end.pop_first()
        {
            self.entries.remove(&first);
        }
        let name: Arc<str> = name.into();
        self.by_end.insert((until, name.clone()));
        self.entries.insert(name, (until, value));
    }
}

impl MemoryLookups {
    /// Nothing known yet.
    pub fn new(clock: Clock) -> MemoryLookups {
        MemoryLookups { clock, state: Mutex::default() }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State, i64) -> T) -> T {
        let now = (self.clock)();
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

#[async_trait]
impl Lookups for MemoryLookups {
    async fn add(&self, counter: &str, by: i64, lives: Duration) -> Result<i64, StoreError> {
        fits(counter, None)?;
        Ok(self.with(|state, now| {
            let known = state.counters.take(counter, now);
            if known.is_none() && by == 0 {
                return 0;
            }
            let (until, value) = known.unwrap_or((end(now, lives), 0));
            let value = value.saturating_add(by);
            state.counters.put(counter, until, value);
            value
        }))
    }

    async fn note(&self, fact: &str, value: Option<Bytes>, lives: Duration) -> Result<Option<Bytes>, StoreError> {
        fits(fact, value.as_ref())?;
        Ok(self.with(|state, now| {
            let known = state.facts.take(fact, now);
            let next = value.map(|value| (end(now, lives), value)).or_else(|| known.clone());
            if let Some((until, value)) = next {
                state.facts.put(fact, until, value);
            }
            known.map(|(_, value)| value)
        }))
    }

    async fn lease(&self, name: &str, lives: Duration) -> Result<Option<Lease>, StoreError> {
        fits(name, None)?;
        self.with(|state, now| {
            let number = match state.leases.get(name) {
                Some(held) if held.until > now => return Ok(None),
                Some(ended) => ended.number + 1,
                None if state.leases.len() >= LEASES_MOST => return Err(StoreError::Full),
                None => 1,
            };
            let lease = Lease { name: name.to_owned(), number, until: end(now, lives) };
            state.leases.insert(name.to_owned(), lease.clone());
            Ok(Some(lease))
        })
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.with(|state, now| {
            if let Some(held) = state.leases.get_mut(&lease.name).filter(|held| **held == lease) {
                held.until = now;
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn lookups_in_memory_keep_the_contract() {
        let make: conformance::MakeLookups = Arc::new(|clock| Arc::new(MemoryLookups::new(clock)));
        conformance::suite(conformance::LOOKUPS, make).await;
    }

    #[tokio::test]
    async fn the_ones_that_end_first_make_room() {
        let lookups = MemoryLookups::new(Arc::new(|| 0));
        for n in 0..=ENTRIES_MOST as u64 {
            lookups.add(&n.to_string(), 1, Duration::from_secs(1 + n)).await.unwrap_or(0);
        }
        assert_eq!(lookups.add("0", 0, Duration::ZERO).await.ok(), Some(0));
        assert_eq!(lookups.add("1", 0, Duration::ZERO).await.ok(), Some(1));
        assert_eq!(lookups.state.lock().map(|state| state.counters.entries.len()).ok(), Some(ENTRIES_MOST));
    }
}
