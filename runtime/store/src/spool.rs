//! The queue on disk: what was accepted and is not yet delivered, returned or given up.
//!
//! [`Spool::accept`] is the only maker of a [`Receipt`], and a receipt is the only ground for a `250`: the commit
//! that holds the message and its recipients is durable by then. Every later step – delivery, retry, a bounce, the
//! members of a group in place of the group – is one batch that asserts the message's entry as it was read, so
//! that a crash or a second runner neither loses a recipient nor serves one twice.

use crate::blob::Blobs;
use crate::error::{Cause, CommitError, StoreError};
use crate::held;
use crate::keys;
use crate::kv::{Batch, KeyValue, PAGE_MOST, Page};
use crate::mailbox::Mailboxes;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, mpsc};

mod deliver;
pub mod lanes;
pub mod row;
#[cfg(test)]
mod tests;

use lanes::Lanes;

pub use deliver::Delivery;
pub use row::{Message, Notify as NotifyOn, Recipient, Return, Task};

/// Recipients of one message in the queue.
pub const RECIPIENTS_MOST: usize = 10_000;
/// Fresh tickets that wait for the queue's runner; what does not fit is found by looking.
const FRESH_MOST: usize = 10_000;
/// Locks that messages share.
const LOCKS: u64 = 1024;
/// How often a commit is tried when others change the same message.
const TRIES: usize = 16;

/// Something to put into the queue.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Everything about the message but its recipients.
    pub message: Message,
    /// Its octets.
    pub octets: Bytes,
    /// Who gets it; at least one, at most [`RECIPIENTS_MOST`].
    pub recipients: Vec<Recipient>,
}

/// The proof that a message is durable in the queue.
#[derive(Debug)]
pub struct Receipt {
    id: u64,
}

impl Receipt {
    /// The message's name in logs and replies.
    pub fn id(&self) -> String {
        name(self.id)
    }
}

/// A queue id as logs and replies show it.
pub fn name(id: u64) -> String {
    format!("{id:016x}")
}

/// One recipient of one message, due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// Which message.
    pub id: u64,
    /// Which of its recipients.
    pub recipient: u32,
}

/// What becomes of a recipient.
#[derive(Clone, Debug)]
pub enum Next {
    /// Nothing more to do for it.
    Done,
    /// Another attempt.
    Later(Recipient),
    /// These take its place; with a row, it stays too, to go on from its cursor.
    Spread(Vec<Recipient>, Option<Recipient>),
}

/// The queue.
pub struct Spool {
    data: Arc<dyn KeyValue>,
    blobs: Arc<dyn Blobs>,
    mailboxes: Arc<Mailboxes>,
    lanes: Lanes,
    locks: Vec<Arc<Mutex<()>>>,
    secret: [u8; 32],
    fresh: mpsc::Sender<Ticket>,
    taken: std::sync::Mutex<Option<mpsc::Receiver<Ticket>>>,
    /// Rings when something may be due earlier than thought.
    pub changed: Notify,
}

impl Spool {
    /// The queue in these stores, as this node works it; a node is one process at a time.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(
        data: Arc<dyn KeyValue>,
        blobs: Arc<dyn Blobs>,
        mailboxes: Arc<Mailboxes>,
        (node, now): (&str, i64),
    ) -> Result<Spool, StoreError> {
        let (fresh, taken) = mpsc::channel(FRESH_MOST);
        let secret = secret(&data).await?;
        let lanes = Lanes::open(Arc::clone(&data), node, now).await?;
        Ok(Spool {
            data,
            blobs,
            mailboxes,
            lanes,
            locks: (0..LOCKS).map(|_| Arc::default()).collect(),
            secret,
            fresh,
            taken: std::sync::Mutex::new(Some(taken)),
            changed: Notify::new(),
        })
    }

    /// Says every [`lanes::BEAT`] seconds that this process is there, and takes over what nodes left that are gone.
    /// Returns whether there is more to work than before.
    ///
    /// # Errors
    /// The store's, and [`StoreError::Unavailable`] where another process has this node's name.
    pub async fn beat(&self, now: i64) -> Result<bool, StoreError> {
        self.lanes.beat(now).await
    }

    /// Ends this process's part in the queue, where it only looked in.
    ///
    /// # Errors
    /// The store's.
    pub async fn leave(&self) -> Result<(), StoreError> {
        self.lanes.leave().await
    }

    /// Whether nobody else can be at work on this message: to be asked before it is handed over.
    pub fn holds(&self, id: u64, now: i64) -> bool {
        self.lanes.holds(id, now)
    }

    /// A secret of this queue that outlives the process, for addresses that must come back (SRS).
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Fresh tickets, for the one runner of this process.
    pub fn fresh(&self) -> Option<mpsc::Receiver<Ticket>> {
        self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// Takes a message over: durable when it returns.
    ///
    /// # Errors
    /// The store's; nothing was taken then.
    pub async fn accept(&self, entry: &NewEntry, now: i64) -> Result<Receipt, StoreError> {
        for _ in 0..TRIES {
            let mut batch = Batch::new();
            let id = self.stage(entry, &mut batch, now).await?;
            match self.data.commit(batch).await {
                Ok(()) => {
                    self.announce(id, entry.recipients.len(), &entry.recipients, now);
                    return Ok(Receipt { id });
                }
                // Another message has this id.
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(crate::mailbox::plain(error)),
            }
        }
        Err(busy())
    }

    /// Writes a new message into a batch.
    async fn stage(&self, entry: &NewEntry, batch: &mut Batch, now: i64) -> Result<u64, StoreError> {
        if entry.recipients.is_empty() || entry.recipients.len() > RECIPIENTS_MOST {
            return Err(StoreError::Misconfigured(Cause::new("a message with no recipient, or too many")));
        }
        let (lane, owner) = self.lanes.own()?;
        batch.assert(keys::owner(lane), Some(owner));
        let id = fresh_id(now, lane)?;
        let mut message = entry.message.clone();
        message.blob = self.mailboxes.keep(&entry.octets, batch, now).await?;
        message.size = entry.octets.len() as u64;
        message.open = 0;
        message.next = 0;
        batch.assert(keys::queued(id), None);
        add(id, &mut message, &entry.recipients, batch);
        batch.put(keys::held_by_queue(message.blob, id), Bytes::new());
        batch.put(keys::queued(id), message.write());
        Ok(id)
    }

    fn announce(&self, id: u64, next: usize, recipients: &[Recipient], now: i64) {
        let first = u32::try_from(next.saturating_sub(recipients.len())).unwrap_or(u32::MAX);
        for (at, recipient) in (first..).zip(recipients) {
            // What finds no room is found by looking at what is due.
            if recipient.due <= now {
                let _ = self.fresh.try_send(Ticket { id, recipient: at });
            }
        }
        self.changed.notify_one();
    }

    /// What is due in our lanes at `now` or before, and then when the next thing is due. `None`: everything.
    ///
    /// # Errors
    /// The store's.
    pub async fn due(&self, now: Option<i64>, most: usize) -> Result<(Vec<Ticket>, Option<i64>), StoreError> {
        let (mut tickets, mut next) = (Vec::new(), None);
        for lane in self.lanes.held() {
            let later = self.due_in(lane, now, most, &mut tickets).await?;
            next = next.into_iter().chain(later).min();
        }
        Ok((tickets, next))
    }

    async fn due_in(
        &self,
        lane: u16,
        now: Option<i64>,
        most: usize,
        tickets: &mut Vec<Ticket>,
    ) -> Result<Option<i64>, StoreError> {
        let mut range = keys::lane_due(lane);
        let most_read = PAGE_MOST.min(most + 1);
        loop {
            let page = self.data.scan(range.clone(), Page::first(most_read)).await?;
            for (key, _) in &page {
                let (time, id, recipient) =
                    keys::read_due(key).ok_or_else(|| StoreError::Corrupt { what: format!("queue entry {key:?}") })?;
                if now.is_some_and(|now| time > now) || tickets.len() >= most {
                    return Ok(Some(time));
                }
                tickets.push(Ticket { id, recipient });
            }
            match page.last() {
                Some((last, _)) if page.len() == most_read => range.from = [&last.0[..], &[0]].concat().into(),
                _ => return Ok(None),
            }
        }
    }

    /// The ids of queued messages after one, in order, with their entries.
    ///
    /// # Errors
    /// The store's.
    pub async fn messages(&self, after: Option<u64>, most: usize) -> Result<Vec<(u64, Message)>, StoreError> {
        let from = after.map_or(0, |id| id.saturating_add(1));
        let found = self.data.scan(keys::all_queued(from), Page::first(most)).await?;
        let read = |(key, value): &(crate::kv::Key, Bytes)| {
            let id =
                keys::read_queued(key).ok_or_else(|| StoreError::Corrupt { what: "a queue entry's key".into() })?;
            Ok((id, Message::read(value)?))
        };
        found.iter().map(read).collect()
    }

    /// A message and one of its recipients; `None` where that is done already.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(&self, ticket: Ticket) -> Result<Option<(Message, Recipient)>, StoreError> {
        let wanted = [keys::queued(ticket.id), keys::recipient(ticket.id, ticket.recipient)];
        let mut found = self.data.get(&wanted).await?.into_iter();
        match (found.next().flatten(), found.next().flatten()) {
            (Some(message), Some(recipient)) => Ok(Some((Message::read(&message)?, Recipient::read(&recipient)?))),
            _ => Ok(None),
        }
    }

    /// Every octet of a queued message, held as [`held`] does.
    ///
    /// # Errors
    /// The store's; [`StoreError::Corrupt`] where the blob is gone.
    pub async fn octets(&self, message: &Message) -> Result<Bytes, StoreError> {
        let found = held::blob(&*self.blobs, message.blob, message.size).await?;
        found
            .filter(|octets| octets.len() as u64 == message.size)
            .ok_or_else(|| StoreError::Corrupt { what: format!("blob {}, which the queue refers to", message.blob) })
    }

    /// Settles some recipients of one message, and queues what follows from that, in one step.
    ///
    /// # Errors
    /// The store's; nothing was settled then.
    pub async fn settle(
        &self,
        id: u64,
        changes: Vec<(u32, Next)>,
        new: &[NewEntry],
        now: i64,
    ) -> Result<(), StoreError> {
        let _guard = self.lock(&BTreeSet::from([id])).await;
        for _ in 0..TRIES {
            let mut batch = Batch::new();
            self.lanes.assert(id, &mut batch)?;
            let mut open = Open::load(self, id).await?;
            for (at, next) in &changes {
                open.settle(self, *at, next, &mut batch).await?;
            }
            let spread = open.added.clone();
            open.write(&mut batch, now);
            let mut made = Vec::with_capacity(new.len());
            for entry in new {
                made.push((self.stage(entry, &mut batch, now).await?, entry));
            }
            match self.data.commit(batch).await {
                Ok(()) => {
                    for (id, entry) in made {
                        self.announce(id, entry.recipients.len(), &entry.recipients, now);
                    }
                    for recipient in spread {
                        let _ = self.fresh.try_send(Ticket { id, recipient });
                    }
                    self.changed.notify_one();
                    return Ok(());
                }
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(crate::mailbox::plain(error)),
            }
        }
        Err(busy())
    }

    /// Locks messages, always in the same order.
    async fn lock(&self, ids: &BTreeSet<u64>) -> Vec<OwnedMutexGuard<()>> {
        let mut shards: Vec<u64> = ids.iter().map(|id| id % LOCKS).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut guards = Vec::with_capacity(shards.len());
        for shard in shards {
            // A remainder is less than LOCKS, and memory holds them all.
            if let Some(lock) = usize::try_from(shard).ok().and_then(|at| self.locks.get(at)) {
                guards.push(Arc::clone(lock).lock_owned().await);
            }
        }
        guards
    }
}

/// A message whose recipients are being settled.
struct Open {
    id: u64,
    before: Option<Bytes>,
    message: Option<Message>,
    added: Vec<u32>,
}

impl Open {
    async fn load(spool: &Spool, id: u64) -> Result<Open, StoreError> {
        let before = spool.data.get(&[keys::queued(id)]).await?.pop().flatten();
        let message = before.as_deref().map(Message::read).transpose()?;
        Ok(Open { id, before, message, added: Vec::new() })
    }

    /// Writes one recipient's change; `false` where it was settled before.
    async fn settle(&mut self, spool: &Spool, at: u32, next: &Next, batch: &mut Batch) -> Result<bool, StoreError> {
        let id = self.id;
        let found = spool.data.get(&[keys::recipient(id, at)]).await?.pop().flatten();
        let (Some(message), Some(found)) = (self.message.as_mut(), found) else { return Ok(false) };
        let before = Recipient::read(&found)?;
        // The message's entry need not change with it.
        batch.assert(keys::recipient(id, at), Some(found));
        batch.remove(keys::due(before.due, id, at));
        match next {
            Next::Done => close(id, at, message, batch),
            Next::Later(row) => keep(id, at, row, batch),
            Next::Spread(rows, stays) => {
                match stays {
                    Some(row) => keep(id, at, row, batch),
                    None => close(id, at, message, batch),
                }
                let first = message.next;
                add(id, message, rows, batch);
                self.added.extend(first..message.next);
            }
        }
        Ok(true)
    }

    /// Writes the message's own entry: gone with its last recipient.
    fn write(self, batch: &mut Batch, now: i64) {
        let Some(message) = self.message else { return };
        batch.assert(keys::queued(self.id), self.before);
        if message.open > 0 {
            batch.put(keys::queued(self.id), message.write());
        } else {
            batch.remove(keys::queued(self.id));
            batch.remove(keys::held_by_queue(message.blob, self.id));
            batch.put(keys::loose(now, message.blob), Bytes::new());
            if message.next > 1 {
                batch.clear(keys::copies(self.id));
            }
        }
    }
}

fn close(id: u64, at: u32, message: &mut Message, batch: &mut Batch) {
    batch.remove(keys::recipient(id, at));
    message.open = message.open.saturating_sub(1);
}

fn keep(id: u64, at: u32, row: &Recipient, batch: &mut Batch) {
    batch.put(keys::recipient(id, at), row.write());
    batch.put(keys::due(row.due, id, at), Bytes::new());
}

fn add(id: u64, message: &mut Message, rows: &[Recipient], batch: &mut Batch) {
    for row in rows {
        keep(id, message.next, row, batch);
        message.next = message.next.saturating_add(1);
        message.open = message.open.saturating_add(1);
    }
}

/// Ids begin with the time, so that the queue is read in the order of arrival; then comes the lane, and the rest is
/// chance. The commit asserts that nobody has the same.
fn fresh_id(now: i64, lane: u16) -> Result<u64, StoreError> {
    let mut chance = [0; 8];
    aws_lc_rs::rand::fill(&mut chance)
        .map_err(|_| StoreError::Unavailable(Cause::new("the system gives no random octets")))?;
    let time = u64::try_from(now).unwrap_or(0) << (keys::LANE_BITS + keys::CHANCE_BITS);
    let chance = u64::from_be_bytes(chance) >> (u64::BITS - keys::CHANCE_BITS);
    Ok(time | u64::from(lane) << keys::CHANCE_BITS | chance)
}

async fn secret(data: &Arc<dyn KeyValue>) -> Result<[u8; 32], StoreError> {
    for _ in 0..TRIES {
        if let Some(found) = data.get(&[keys::secret()]).await?.pop().flatten() {
            let whole = found.as_ref().try_into();
            return whole.map_err(|_| StoreError::Corrupt { what: "the queue's secret".to_owned() });
        }
        let mut fresh = [0; 32];
        aws_lc_rs::rand::fill(&mut fresh)
            .map_err(|_| StoreError::Unavailable(Cause::new("the system gives no random octets")))?;
        let mut batch = Batch::new();
        batch.assert(keys::secret(), None).put(keys::secret(), fresh.to_vec());
        match data.commit(batch).await {
            Ok(()) | Err(CommitError::Conflict | CommitError::Unknown) => {}
            Err(CommitError::Store(error)) => return Err(error),
        }
    }
    Err(busy())
}

fn busy() -> StoreError {
    StoreError::Unavailable(Cause::new("others keep changing the same message"))
}
