//! Moving what is kept from one store to another, also while a server goes on using the old one.
//!
//! Keys are copied in their order ([`keys`]), blobs by their names ([`blobs`]). The full-text index is not: where it is to
//! lie elsewhere, the server makes it anew, as it does whenever the store of the index is another
//! ([`crate::search::indexer`]).
//!
//! The first pass copies. How far it came is written with each batch into the store that is copied to ([`mark`]), so that
//! a move that was cut off goes on where it stopped; a store that is half full says so to a server that would open it.
//! Further passes read both sides and write what differs, as often as somebody still writes into the old store. The last
//! one is made while nobody can: it ends when it finds nothing that differs, and so is the verification too. Then the
//! old data store is marked as moved, so that no server writes mail there any more that nobody would look for.
//!
//! | key | value |
//! |---|---|
//! | `Xm` part | a move into this store is under way: from where, by which run, and how far it is |
//! | `Xn` | a move of blobs alone is under way: into which store |
//! | `Xt` | nobody may use this store as long as this changes: a move makes its last pass |
//! | `Xg` | this store was moved: where to |
//! | `Xb` | the blobs were moved, and only these: where to |
//!
//! [`crate::open`] has `Xk` there: which key messages are encrypted with.

use crate::blob::Blobs;
use crate::error::{Cause, CommitError, StoreError};
use crate::keys as layout;
use crate::kv::{Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page};
use crate::open::seal;
use crate::row::Packer;
use bytes::Bytes;
use schema::config::Store;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

pub mod blobs;
pub mod keys;
pub mod mark;
mod sum;
#[cfg(test)]
mod tests;

pub use sum::Sum;

/// How often a batch is tried.
const TRIES: usize = 16;
/// How often the sign that a store is taken is written anew.
const TAKEN_BEAT: Duration = Duration::from_secs(crate::spool::lanes::BEAT.unsigned_abs());
/// A server's beat, and the sign of a move, come more often than this.
pub const BEAT_SEEN: Duration = Duration::from_secs(crate::spool::lanes::BEAT.unsigned_abs() + 2);

/// What of the keys belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Mailboxes, queue, references.
    Data,
    /// How far the full-text index has the mailboxes; worth nothing where the index does not stay what it is.
    Places,
    /// Counters and facts in a database.
    Lookup,
}

/// What the keys of [`Part::Places`] begin with, in order.
const PLACES: [&[u8; 2]; 3] = [b"Mi", b"Mp", b"Mx"];

impl Part {
    /// Its name in keys and messages.
    pub fn name(self) -> &'static str {
        match self {
            Part::Data => "data",
            Part::Places => "places",
            Part::Lookup => "lookup",
        }
    }

    /// Its key spaces, in order.
    pub(crate) fn ranges(self) -> Vec<KeyRange> {
        match self {
            Part::Data => {
                // Everything but blobs, lookups, the index with its places, and what is ours.
                let mut ranges = Vec::new();
                let mut from: Key = b"\x01".to_vec().into();
                for others in [&b"B"[..], b"L", PLACES[0], PLACES[1], PLACES[2], b"S", b"X"] {
                    let others = KeyRange::prefix(others);
                    ranges.push(KeyRange { from, to: others.from });
                    from = others.to;
                }
                ranges.push(KeyRange { from, to: b"\xFF\xFF".to_vec().into() });
                ranges
            }
            Part::Places => PLACES.iter().map(|kind| KeyRange::prefix(&kind[..])).collect(),
            Part::Lookup => vec![KeyRange::prefix(b"L")],
        }
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Keys, or blobs.
    pub items: u64,
    /// Octets of keys and values, or of blobs.
    pub octets: u64,
}

impl Amount {
    fn count(&mut self, (key, value): &(Key, Bytes)) {
        self.items += 1;
        self.octets += (key.0.len() + value.len()) as u64;
    }

    fn add(&mut self, other: Amount) {
        self.items += other.items;
        self.octets += other.octets;
    }
}

/// How far a move is: how much of it has been done so far.
pub type Progress<'a> = &'a mut (dyn FnMut(Amount) + Send);

/// Says to a pass that it need not go on; it then returns early, and nothing is half done.
pub type Enough = Arc<AtomicBool>;

/// What a pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// What differed, and was written or removed on the new side.
    pub changes: u64,
    /// What the old side holds.
    pub amount: Amount,
    /// Over all of it.
    pub sum: Sum,
}

/// A store as it is named in marks and messages: its kind and place.
pub fn named(store: &Store) -> String {
    format!("{} {}", store.kind(), store.place())
}

/// Refuses a data store that no server may use, or not with blobs in this store: one that was moved away, to which a
/// move is under way, or from which one is being made at this moment.
///
/// # Errors
/// [`StoreError::Misconfigured`], saying what to do; [`StoreError::Unavailable`] while a move makes its last pass; the
/// store's.
pub async fn check(data: &dyn KeyValue, blob: &Store) -> Result<(), StoreError> {
    let wrong = |says: String| Err(StoreError::Misconfigured(Cause::new(says)));
    let half = "a move into it is not finished; run `waybilld migrate` again, which goes on where it stopped";
    if let Some(to) = moved_to(data).await? {
        return wrong(format!(
            "its mail was moved to {to}; configure that store, or take the mail back with `waybilld migrate --reopen`"
        ));
    }
    if !data.scan(KeyRange::prefix(b"Xm"), Page::first(1)).await?.is_empty() {
        return wrong(half.into());
    }
    let [filled, belong] = read(data, [filled(), belong()]).await?;
    if filled.is_some_and(|filled| filled == named(blob)) {
        return wrong(format!("{}: {half}", named(blob)));
    }
    if let Some(belong) = belong.filter(|belong| *belong != named(blob)) {
        return wrong(format!(
            "its messages were moved to {belong}; configure that store for blobs, or take them back with `waybilld \
             migrate --reopen`"
        ));
    }
    is_free(data, BEAT_SEEN).await
}

/// Whether a move makes its last pass: then its sign changes. One that a killed process left is taken away.
async fn is_free(data: &dyn KeyValue, seen: Duration) -> Result<(), StoreError> {
    let Some(before) = data.get(&[taken()]).await?.pop().flatten() else { return Ok(()) };
    sleep(seen).await;
    let mut batch = Batch::new();
    batch.assert(taken(), Some(before)).remove(taken());
    match data.commit(batch).await {
        Ok(()) => Ok(()),
        Err(CommitError::Store(error)) => Err(error),
        Err(_) => Err(StoreError::Unavailable(Cause::new("its mail is being moved to another store at this moment"))),
    }
}

/// Where a data store was moved to, if it was.
///
/// # Errors
/// The store's.
pub async fn moved_to(data: &dyn KeyValue) -> Result<Option<String>, StoreError> {
    let [moved] = read(data, [moved()]).await?;
    Ok(moved)
}

/// Takes back that a data store was moved, or its blobs, and which key messages are encrypted with: servers may use it
/// again.
///
/// # Errors
/// The store's.
pub async fn reopen(data: &dyn KeyValue) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.remove(moved()).remove(belong()).remove(filled()).remove(seal::note());
    commit(data, batch).await
}

/// Notes in the data store that blobs alone are moved into this store, which is not whole yet. Unless that was noted
/// before, it must hold none.
///
/// # Errors
/// The stores'; [`StoreError::Misconfigured`] where it holds some already.
pub async fn begin_blobs(data: &dyn KeyValue, to: &dyn Blobs, into: &Store) -> Result<(), StoreError> {
    let into = named(into);
    let [under_way, moved] = read(data, [filled(), belong()]).await?;
    if under_way.as_ref() == Some(&into) {
        return Ok(());
    }
    if moved.as_ref() != Some(&into) {
        blobs::must_be_empty(to).await?;
    }
    let mut batch = Batch::new();
    batch.put(filled(), into.into_bytes());
    commit(data, batch).await
}

/// The beats of servers that work with this data store, as they are now.
///
/// # Errors
/// The store's.
pub async fn beats(data: &dyn KeyValue) -> Result<Vec<(Key, Bytes)>, StoreError> {
    data.scan(layout::beats(), Page::first(PAGE_MOST)).await
}

/// Whether a server works with this data store: its beat changes.
///
/// # Errors
/// The store's.
pub async fn is_in_use(data: &dyn KeyValue) -> Result<bool, StoreError> {
    let before = beats(data).await?;
    if before.is_empty() {
        return Ok(false);
    }
    sleep(BEAT_SEEN).await;
    Ok(beats(data).await? != before)
}

/// A data store that no server works with, and none may begin to.
pub struct Taken {
    data: Arc<dyn KeyValue>,
    /// As they were when it was taken. A server that comes writes another before it serves.
    beats: Vec<(Key, Bytes)>,
    /// What the sign holds; nothing where the store's own lock keeps others out, or where the sign was lost.
    sign: Arc<Mutex<Option<Bytes>>>,
    renewing: Option<JoinHandle<()>>,
}

impl Taken {
    /// Takes a store that only this process has open.
    ///
    /// # Errors
    /// The store's.
    pub async fn locked(data: Arc<dyn KeyValue>) -> Result<Taken, StoreError> {
        let beats = beats(&*data).await?;
        Ok(Taken { data, beats, sign: Arc::default(), renewing: None })
    }

    /// Takes a store that others can open, by a sign which they heed and which ends with this process. `beats` are those
    /// that stand still.
    ///
    /// # Errors
    /// The store's; [`StoreError::Unavailable`] where a beat has changed.
    pub async fn signed(data: Arc<dyn KeyValue>, beats: Vec<(Key, Bytes)>) -> Result<Taken, StoreError> {
        Taken::signed_every(TAKEN_BEAT, data, beats).await
    }

    async fn signed_every(
        every: Duration,
        data: Arc<dyn KeyValue>,
        beats: Vec<(Key, Bytes)>,
    ) -> Result<Taken, StoreError> {
        let run = crate::blob::chance()?;
        let value = move |number: u64| Bytes::from(Packer::new(1).u64(run).u64(number).done());
        let mut batch = Batch::new();
        assert_beats(&beats, &mut batch);
        batch.put(taken(), value(0));
        settle(&*data, batch, (taken(), Some(value(0))), "a server has begun to use the old store").await?;
        let sign = Arc::new(Mutex::new(Some(value(0))));
        let (held, store) = (Arc::clone(&sign), Arc::clone(&data));
        let renewing = tokio::spawn(async move {
            for number in 1.. {
                sleep(every).await;
                let mut held = held.lock().await;
                let mut batch = Batch::new();
                batch.assert(taken(), held.clone()).put(taken(), value(number));
                match settle(&*store, batch, (taken(), Some(value(number))), "the sign was taken away").await {
                    Ok(()) => *held = Some(value(number)),
                    Err(error) => tracing::warn!(%error, "the sign that the old store is taken cannot be written anew"),
                }
            }
        });
        Ok(Taken { data, beats, sign, renewing: Some(renewing) })
    }

    /// Ends the use of the store by servers: it says where its mail is now.
    ///
    /// # Errors
    /// The store's; [`StoreError::Unavailable`] where a server came all the same: the store was not closed then.
    pub async fn close(self, to: &Store) -> Result<(), StoreError> {
        self.end((moved(), named(to)), &[]).await
    }

    /// Lets servers use the store again, with blobs in this store alone.
    ///
    /// # Errors
    /// As [`Taken::close`].
    pub async fn turn(self, blobs: &Store) -> Result<(), StoreError> {
        // A server that starts notes the key anew.
        self.end((belong(), named(blobs)), &[filled(), seal::note()]).await
    }

    /// Lets servers use the store again as it was.
    ///
    /// # Errors
    /// The store's.
    pub async fn release(self) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        let held = self.sign.lock().await;
        match held.clone() {
            None => return Ok(()),
            sign => batch.assert(taken(), sign).remove(taken()),
        };
        settle(&*self.data, batch, (taken(), None), "the sign was taken away").await
    }

    async fn end(self, (note, says): (Key, String), done: &[Key]) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        let held = self.sign.lock().await;
        if self.renewing.is_some() {
            batch.assert(taken(), held.clone()).remove(taken());
        }
        assert_beats(&self.beats, &mut batch);
        batch.put(note.clone(), says.clone().into_bytes());
        for key in done {
            batch.remove(key.clone());
        }
        let came = "a server has begun to use the old store; nothing is lost, run it again";
        settle(&*self.data, batch, (note, Some(says.into())), came).await
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.renewing.iter().for_each(JoinHandle::abort);
    }
}

/// Demands that these beats, and no others, are there.
fn assert_beats(beats: &[(Key, Bytes)], batch: &mut Batch) {
    let KeyRange { mut from, to } = layout::beats();
    for (key, value) in beats {
        batch.assert_empty(KeyRange { from, to: key.clone() }).assert(key.clone(), Some(value.clone()));
        from = after(key);
    }
    batch.assert_empty(KeyRange { from, to });
}

/// Commits a batch that may happen once, and reads by a key of it whether it did where that is not known.
async fn settle(
    data: &dyn KeyValue,
    batch: Batch,
    (key, value): (Key, Option<Bytes>),
    conflict: &str,
) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let outcome = data.commit(batch.clone()).await;
        match outcome {
            Ok(()) => return Ok(()),
            Err(CommitError::Store(error)) => return Err(error),
            Err(CommitError::Conflict | CommitError::Unknown) => {}
        }
        if data.get(std::slice::from_ref(&key)).await?.pop().flatten() == value {
            return Ok(());
        }
    }
    Err(StoreError::Unavailable(Cause::new(conflict)))
}

/// Commits; these batches may happen twice.
async fn commit(store: &dyn KeyValue, batch: Batch) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        match store.commit(batch.clone()).await {
            Ok(()) => return Ok(()),
            Err(CommitError::Conflict | CommitError::Unknown) => {}
            Err(CommitError::Store(error)) => return Err(error),
        }
    }
    Err(StoreError::Unavailable(Cause::new("it is not known whether a note in the store was written")))
}

async fn read<const N: usize>(data: &dyn KeyValue, keys: [Key; N]) -> Result<[Option<String>; N], StoreError> {
    let mut found = data.get(&keys).await?.into_iter();
    Ok(keys.map(|_| found.next().flatten().map(|value| String::from_utf8_lossy(&value).into_owned())))
}

/// The key after this one.
fn after(key: &Key) -> Key {
    [&key.0[..], &[0]].concat().into()
}

fn moved() -> Key {
    b"Xg".to_vec().into()
}

fn taken() -> Key {
    b"Xt".to_vec().into()
}

fn filled() -> Key {
    b"Xn".to_vec().into()
}

fn belong() -> Key {
    b"Xb".to_vec().into()
}

/// One side of a move: the databases of a configuration, without a server's queue.
pub struct Side {
    /// Mailboxes and queue.
    pub data: Arc<dyn KeyValue>,
    /// Messages, wherever they lie.
    pub blobs: Arc<dyn Blobs>,
    /// Those of them that lie beside the data,
    pub near: Arc<dyn Blobs>,
    /// and those in a store of their own, where there is one.
    pub far: Option<Arc<dyn Blobs>>,
    /// Counters and facts, where they lie in a database.
    pub lookup: Option<Arc<dyn KeyValue>>,
    /// What tells the key that messages are encrypted with from others.
    pub(crate) key: Option<Bytes>,
}

impl Side {
    /// Whether what the other side has encrypted can be read here.
    pub fn reads(&self, other: &Side) -> bool {
        other.key.is_none() || other.key == self.key
    }

    /// The database that a part lies in.
    pub fn keys(&self, part: Part) -> Option<&Arc<dyn KeyValue>> {
        match part {
            Part::Data | Part::Places => Some(&self.data),
            Part::Lookup => self.lookup.as_ref(),
        }
    }
}
