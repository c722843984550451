//! Which process works which part of the queue, where several share one data store.
//!
//! The queue has lanes. Each process that serves has one of its own, by its node's name: what it accepts goes there, so
//! that it is at work at once and nobody else looks at it. A message's id says in which lane it is.
//!
//! - An owner's entry names the node, the run of its process, and a number that rises with every change of owner. It
//!   is asserted by each commit that settles a recipient or accepts a message: who has lost a lane can no longer
//!   change what is in it, whatever it believes (a fencing token).
//! - A node's beat is written anew every [`BEAT`]. Others read it by their own clocks: a beat that has not changed for
//!   [`LEASE`] is that of a process that is gone, and its lanes are taken over. No two clocks need agree.
//! - A process that cannot beat stops handing mail to other servers [`MARGIN`] before others may take over.
//! - A node that starts again takes its own lanes back at once, whatever its last beat was.
//! - A lane that was taken over is given up once it is empty, so that there are as many as there are nodes.

use super::{TRIES, busy};
use crate::error::{Cause, CommitError, StoreError};
use crate::keys;
use crate::kv::{Batch, KeyValue, Page};
use crate::row::{Packer, Unpacker};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::{info, warn};

/// How often a process says that it is there, in seconds.
pub const BEAT: i64 = 5;
/// How long a node's beat may stay the same before its lanes are taken over, in seconds.
pub const LEASE: i64 = 30;
/// How long before that its process stops handing mail over, in seconds.
const MARGIN: i64 = 10;
/// Lanes at most: of nodes that are there and of those that are gone and left mail behind.
pub const LANES_MOST: u16 = 1 << keys::LANE_BITS;

/// The owner of a lane that nobody is known to have: like a node that is gone, whose lanes are taken over.
pub(crate) fn abandoned() -> Bytes {
    Packer::new(1).text("gone").fixed(&[0; 16]).u64(1).done().into()
}

/// This process's part of the queue.
pub(super) struct Lanes {
    data: Arc<dyn KeyValue>,
    node: String,
    run: [u8; 16],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The lanes that are ours, with their owners' entries as they are stored.
    held: BTreeMap<u16, Bytes>,
    /// The one that new messages go to.
    own: u16,
    /// The number of the last beat,
    beat: u64,
    /// and when it was begun; nothing while the lanes are not ours to work.
    beaten: Option<i64>,
    /// Other nodes' beats, and since when they are the same.
    seen: HashMap<String, (Bytes, i64)>,
}

/// Who owns a lane.
struct Owner {
    node: String,
    number: u64,
}

impl Owner {
    fn read(value: &[u8]) -> Result<Owner, StoreError> {
        let mut from = Unpacker::new(value, 1, "the owner of a lane of the queue")?;
        let node = from.text()?.to_owned();
        let _: [u8; 16] = from.fixed()?;
        Ok(Owner { node, number: from.u64()? })
    }
}

impl Lanes {
    /// Takes the node's lanes, those that an earlier process of it had among them.
    pub(super) async fn open(data: Arc<dyn KeyValue>, node: &str, now: i64) -> Result<Lanes, StoreError> {
        let mut run = [0; 16];
        aws_lc_rs::rand::fill(&mut run)
            .map_err(|_| StoreError::Unavailable(Cause::new("the system gives no random octets")))?;
        let lanes = Lanes { data, node: node.to_owned(), run, state: Mutex::default() };
        lanes.take(now).await?;
        Ok(lanes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane that new messages go to, and its owner's entry, to be asserted.
    pub(super) fn own(&self) -> Result<(u16, Bytes), StoreError> {
        let state = self.state();
        let entry = state.held.get(&state.own).cloned().ok_or_else(|| self.lost())?;
        Ok((state.own, entry))
    }

    /// Adds to a batch that the lane of this message is still ours.
    pub(super) fn assert(&self, id: u64, batch: &mut Batch) -> Result<(), StoreError> {
        let lane = keys::lane(id);
        let entry = self.state().held.get(&lane).cloned().ok_or_else(|| self.lost())?;
        batch.assert(keys::owner(lane), Some(entry));
        Ok(())
    }

    /// Our lanes.
    pub(super) fn held(&self) -> Vec<u16> {
        self.state().held.keys().copied().collect()
    }

    /// Whether nobody else can be at work on this message.
    pub(super) fn holds(&self, id: u64, now: i64) -> bool {
        let state = self.state();
        state.held.contains_key(&keys::lane(id)) && state.beaten.is_some_and(|at| now - at < LEASE - MARGIN)
    }

    fn lost(&self) -> StoreError {
        let says = format!(
            "this process has lost its part of the queue to another of the same name; start each waybilld with a --node \
             of its own (this is {})",
            named(&self.node)
        );
        StoreError::Unavailable(Cause::new(says))
    }

    fn owner(&self, number: u64) -> Bytes {
        Packer::new(1).text(&self.node).fixed(&self.run).u64(number).done().into()
    }

    fn beat_value(&self, beat: u64) -> Bytes {
        Packer::new(1).fixed(&self.run).u64(beat).done().into()
    }

    async fn owners(&self) -> Result<Vec<(u16, Bytes, Owner)>, StoreError> {
        let found = self.data.scan(keys::owners(), Page::first(usize::from(LANES_MOST))).await?;
        let read = |(key, value): (crate::kv::Key, Bytes)| {
            let lane = keys::read_owner(&key)
                .ok_or_else(|| StoreError::Corrupt { what: format!("a lane of the queue {key:?}") })?;
            let owner = Owner::read(&value)?;
            Ok((lane, value, owner))
        };
        found.into_iter().map(read).collect()
    }

    /// Takes the node's lanes, or a new one where it has none, and begins to beat.
    async fn take(&self, now: i64) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let owners = self.owners().await?;
            let before = self.data.get(&[keys::beat(&self.node)]).await?.pop().flatten();
            let mut batch = Batch::new();
            batch.assert(keys::beat(&self.node), before).put(keys::beat(&self.node), self.beat_value(0));
            let mut held = BTreeMap::new();
            for (lane, value, owner) in owners.iter().filter(|(_, _, owner)| owner.node == self.node) {
                let entry = self.owner(owner.number + 1);
                batch.assert(keys::owner(*lane), Some(value.clone())).put(keys::owner(*lane), entry.clone());
                held.insert(*lane, entry);
            }
            if held.is_empty() {
                let free = (0..LANES_MOST).find(|lane| owners.iter().all(|(taken, _, _)| taken != lane));
                let free = free.ok_or(StoreError::Full)?;
                let entry = self.owner(1);
                batch.assert(keys::owner(free), None).put(keys::owner(free), entry.clone());
                held.insert(free, entry);
            }
            match self.data.commit(batch).await {
                Ok(()) => {}
                Err(CommitError::Unknown) if self.is_mine(0).await? => {}
                Err(CommitError::Conflict | CommitError::Unknown) => continue,
                Err(CommitError::Store(error)) => return Err(error),
            }
            let mut state = self.state();
            let own = held.keys().next().copied().unwrap_or(0);
            *state = State { held, own, beat: 0, beaten: Some(now), seen: HashMap::new() };
            return Ok(());
        }
        Err(busy())
    }

    async fn is_mine(&self, beat: u64) -> Result<bool, StoreError> {
        let found = self.data.get(&[keys::beat(&self.node)]).await?.pop().flatten();
        Ok(found == Some(self.beat_value(beat)))
    }

    /// Says that this process is there, takes over from those that are gone, gives up what it needs no longer.
    ///
    /// Returns whether lanes were taken over.
    pub(super) async fn beat(&self, now: i64) -> Result<bool, StoreError> {
        let beat = self.state().beat;
        let mut batch = Batch::new();
        batch.assert(keys::beat(&self.node), Some(self.beat_value(beat)));
        batch.put(keys::beat(&self.node), self.beat_value(beat + 1));
        let outcome = match self.data.commit(batch).await {
            Err(CommitError::Unknown) if self.is_mine(beat + 1).await? => Ok(()),
            Err(CommitError::Unknown) => return Ok(false),
            outcome => outcome,
        };
        match outcome {
            Ok(()) => {
                let mut state = self.state();
                (state.beat, state.beaten) = (beat + 1, Some(now));
            }
            Err(CommitError::Conflict) => return self.regain(now).await,
            Err(CommitError::Unknown) => return Ok(false),
            Err(CommitError::Store(error)) => return Err(error),
        }
        let owners = self.owners().await?;
        let taken = self.take_over(&owners, now).await?;
        self.give_up().await?;
        Ok(taken)
    }

    /// Gives up what is empty, and beats no more: this process works the queue no longer.
    pub(super) async fn leave(&self) -> Result<(), StoreError> {
        let (beat, held) = {
            let mut state = self.state();
            state.beaten = None;
            (state.beat, std::mem::take(&mut state.held))
        };
        for (lane, entry) in held {
            let mut batch = Batch::new();
            batch.assert(keys::owner(lane), Some(entry)).assert_empty(keys::lane_due(lane)).remove(keys::owner(lane));
            // What is in it is found by others once the beat has been away for long.
            if let Err(CommitError::Store(error)) = self.data.commit(batch).await {
                return Err(error);
            }
        }
        let mut batch = Batch::new();
        batch.assert(keys::beat(&self.node), Some(self.beat_value(beat))).remove(keys::beat(&self.node));
        match self.data.commit(batch).await {
            Err(CommitError::Store(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Another has taken our lanes: one of our own name, which keeps them, or one that thought that we were gone.
    async fn regain(&self, now: i64) -> Result<bool, StoreError> {
        let found = self.data.get(&[keys::beat(&self.node)]).await?.pop().flatten();
        {
            let mut state = self.state();
            (state.beaten, state.held) = (None, BTreeMap::new());
        }
        if found.is_some() {
            return Err(self.lost());
        }
        warn!(node = named(&self.node), "this node was away for so long that another took its part of the queue over");
        self.take(now).await?;
        Ok(true)
    }

    /// Takes the lanes of nodes whose beats have stopped.
    async fn take_over(&self, owners: &[(u16, Bytes, Owner)], now: i64) -> Result<bool, StoreError> {
        let mut others: BTreeMap<&str, Vec<&(u16, Bytes, Owner)>> = BTreeMap::new();
        for one in owners.iter().filter(|(_, _, owner)| owner.node != self.node) {
            others.entry(&one.2.node).or_default().push(one);
        }
        self.state().seen.retain(|node, _| others.contains_key(node.as_str()));
        let beats: Vec<_> = others.keys().map(|node| keys::beat(node)).collect();
        let beats = self.data.get(&beats).await?;
        let mut any = false;
        for ((node, lanes), beat) in others.into_iter().zip(beats) {
            let value = beat.clone().unwrap_or_default();
            let since = {
                let mut state = self.state();
                let seen = state.seen.entry(node.to_owned()).or_insert_with(|| (value.clone(), now));
                if seen.0 != value {
                    *seen = (value, now);
                }
                seen.1
            };
            if now - since < LEASE {
                continue;
            }
            let mut batch = Batch::new();
            batch.assert(keys::beat(node), beat).remove(keys::beat(node));
            let mut taken = Vec::new();
            for (lane, value, owner) in lanes {
                let entry = self.owner(owner.number + 1);
                batch.assert(keys::owner(*lane), Some(value.clone())).put(keys::owner(*lane), entry.clone());
                taken.push((*lane, entry));
            }
            match self.data.commit(batch).await {
                Ok(()) => {
                    info!(node = named(node), lanes = taken.len(), "a node is gone; its part of the queue is ours now");
                    self.state().held.extend(taken);
                    any = true;
                }
                // Another was faster, or it is back; or it is ours, which the next look finds.
                Err(CommitError::Conflict | CommitError::Unknown) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        // What a commit of unknown outcome made ours.
        let run = Packer::new(1).text(&self.node).fixed(&self.run).done();
        let mut state = self.state();
        for (lane, value, _) in owners.iter().filter(|(_, value, _)| value.starts_with(&run)) {
            any |= state.held.insert(*lane, value.clone()).is_none();
        }
        Ok(any)
    }

    /// Gives up lanes beside our own that are empty.
    async fn give_up(&self) -> Result<(), StoreError> {
        let (own, held) = {
            let state = self.state();
            (state.own, state.held.clone())
        };
        for (lane, entry) in held.into_iter().filter(|(lane, _)| *lane != own) {
            let mut batch = Batch::new();
            batch.assert(keys::owner(lane), Some(entry)).assert_empty(keys::lane_due(lane)).remove(keys::owner(lane));
            match self.data.commit(batch).await {
                Ok(()) => drop(self.state().held.remove(&lane)),
                Err(CommitError::Conflict | CommitError::Unknown) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

fn named(node: &str) -> &str {
    if node.is_empty() { "the node without a name" } else { node }
}
