//! Moving what is kept from one store to another while no server uses it.
//!
//! Keys are copied in their order, blobs by their names. The full-text index is not: where it is to lie elsewhere, the
//! server makes it anew, as it does whenever the store of the index is another ([`crate::search::indexer`]). How far it
//! came is written with each batch into the store that is copied to, so that a move that was cut off goes on where it
//! stopped; a store that is half full says so to a server that would open it. Then both sides are read again and
//! compared. At last the old data store is marked as moved, so that no server writes mail there any more that nobody
//! would look for.
//!
//! | key | value |
//! |---|---|
//! | `Xm` part | a move into this store is under way: which, and how far it is |
//! | `Xg` | this store was moved: where to |

use crate::blob::{BlobId, Blobs};
use crate::error::{Cause, CommitError, StoreError};
use crate::keys;
use crate::kv::{Batch, Key, KeyRange, KeyValue, PAGE_MOST, Page};
use crate::row::{Packer, Unpacker};
use aws_lc_rs::digest::{self, SHA256};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Octets that one batch copies; well below [`crate::kv::BATCH_MOST`].
const COPIED_MOST: usize = 4 << 20;
/// Keys read at once.
const READ_MOST: usize = 1_000;
/// Octets of a blob that are read at once.
const PART_MOST: u64 = 4 << 20;
/// How often a batch is tried.
const TRIES: usize = 16;
/// A server's beat comes more often than this.
const BEAT_SEEN: Duration = Duration::from_secs(crate::spool::lanes::BEAT.unsigned_abs() + 2);

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

    /// Its key spaces.
    fn ranges(self) -> Vec<KeyRange> {
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

/// How far a move is: how much of it has been done so far.
pub type Progress<'a> = &'a mut (dyn FnMut(Amount) + Send);

/// Refuses a data store that no server may use: one that was moved away, or to which a move is under way.
///
/// # Errors
/// [`StoreError::Misconfigured`], saying what to do; the store's.
pub async fn check(data: &dyn KeyValue) -> Result<(), StoreError> {
    let wrong = |says: String| Err(StoreError::Misconfigured(Cause::new(says)));
    if let Some(to) = data.get(&[moved()]).await?.pop().flatten() {
        let to = String::from_utf8_lossy(&to);
        return wrong(format!(
            "its mail was moved to {to}; configure that store, or take the mail back with `waybilld migrate --reopen`"
        ));
    }
    if !data.scan(KeyRange::prefix(b"Xm"), Page::first(1)).await?.is_empty() {
        return wrong(
            "a move into it is not finished; run `waybilld migrate` again, which goes on where it stopped".into(),
        );
    }
    Ok(())
}

/// Takes back that a data store was moved: servers may use it again.
///
/// # Errors
/// The store's.
pub async fn reopen(data: &dyn KeyValue) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.remove(moved());
    commit(data, batch).await
}

/// Marks a data store as moved.
///
/// # Errors
/// The store's.
pub async fn close(data: &dyn KeyValue, to: &str) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.put(moved(), to.as_bytes().to_vec());
    commit(data, batch).await
}

/// Whether a server works with this data store: its beat changes.
///
/// # Errors
/// The store's.
pub async fn is_in_use(data: &dyn KeyValue) -> Result<bool, StoreError> {
    let beats = || data.scan(keys::beats(), Page::first(PAGE_MOST));
    let before = beats().await?;
    if before.is_empty() {
        return Ok(false);
    }
    tokio::time::sleep(BEAT_SEEN).await;
    Ok(beats().await? != before)
}

/// How much a part holds.
///
/// # Errors
/// The store's.
pub async fn measure(store: &dyn KeyValue, part: Part) -> Result<Amount, StoreError> {
    let mut amount = Amount::default();
    for range in part.ranges() {
        let mut pages = Pages { store, range };
        while let Some(page) = pages.next().await? {
            page.iter().for_each(|entry| amount.count(entry));
        }
    }
    Ok(amount)
}

/// Copies a part, from where an earlier run stopped.
///
/// # Errors
/// The stores'; [`StoreError::Misconfigured`] where the other store holds something else already.
pub async fn copy(
    (from, to): (&dyn KeyValue, &dyn KeyValue),
    part: Part,
    source: &str,
    progress: Progress<'_>,
) -> Result<(), StoreError> {
    let mark = mark(part.name());
    let (mut done, mut after) = match to.get(std::slice::from_ref(&mark)).await?.pop().flatten() {
        Some(value) => resumed(&value, source)?,
        None => {
            begin(to, part, &mark, source).await?;
            (Amount::default(), None)
        }
    };
    for mut range in part.ranges() {
        if let Some(after) = after.as_ref().filter(|after| **after >= range.from) {
            range.from = [&after.0[..], &[0]].concat().into();
        }
        let mut pages = Pages { store: from, range };
        while let Some(page) = pages.next().await? {
            let mut rest = page.into_iter().peekable();
            while rest.peek().is_some() {
                let (mut batch, mut octets, mut last) = (Batch::new(), 0, None);
                while octets < COPIED_MOST
                    && let Some((key, value)) = rest.next()
                {
                    octets += key.0.len() + value.len();
                    done.count(&(key.clone(), value.clone()));
                    last = Some(key.clone());
                    batch.put(key, value);
                }
                after = last.or(after);
                batch.put(
                    mark.clone(),
                    Packer::new(1).text(source).u64(done.items).u64(done.octets).text(&hex(&after)).done(),
                );
                batch.lazy = true;
                commit(to, batch).await?;
                progress(done);
            }
        }
    }
    Ok(())
}

/// Copies blobs that the other store does not hold yet.
///
/// # Errors
/// The stores'.
pub async fn copy_blobs(from: &dyn Blobs, to: &dyn Blobs, progress: Progress<'_>) -> Result<(), StoreError> {
    let mut names = Names { blobs: from, after: None };
    let mut done = Amount::default();
    while let Some(page) = names.next().await? {
        for id in page {
            // What a write that never ended left behind is no blob.
            let Some(size) = from.size(id).await? else { continue };
            if to.size(id).await? != Some(size) {
                let octets = whole(from, id, size).await?;
                to.put(octets).await?;
            }
            (done.items, done.octets) = (done.items + 1, done.octets + size);
            progress(done);
        }
    }
    Ok(())
}

/// What was found alike on both sides: how much, and the SHA-256 over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How much.
    pub amount: Amount,
    /// As hexadecimal digits.
    pub digest: String,
}

/// Reads both sides whole and compares them.
///
/// # Errors
/// The stores'; [`StoreError::Corrupt`] naming the first key that differs.
pub async fn verify(from: &dyn KeyValue, to: &dyn KeyValue, part: Part) -> Result<Verified, StoreError> {
    let (mut amount, mut hash) = (Amount::default(), digest::Context::new(&SHA256));
    for range in part.ranges() {
        let (mut old, mut new) = (Pages { store: from, range: range.clone() }, Pages { store: to, range });
        loop {
            let (a, b) = (old.next().await?.unwrap_or_default(), new.next().await?.unwrap_or_default());
            if let Some((x, y)) = a.iter().zip(&b).find(|(x, y)| x != y) {
                let key = (&x.0).min(&y.0);
                return Err(StoreError::Corrupt { what: format!("{key:?}, which is not as it was in the old store") });
            }
            if a.len() != b.len() {
                let (longer, side) = if a.len() > b.len() { (&a, "missing") } else { (&b, "too much") };
                let key = longer.get(a.len().min(b.len())).map(|entry| &entry.0);
                return Err(StoreError::Corrupt { what: format!("{key:?}, which is {side}") });
            }
            if a.is_empty() {
                break;
            }
            for (key, value) in &a {
                amount.count(&(key.clone(), value.clone()));
                for octets in [&key.0[..], value] {
                    hash.update(&(octets.len() as u64).to_be_bytes());
                    hash.update(octets);
                }
            }
        }
    }
    Ok(Verified { amount, digest: hexed(hash.finish().as_ref()) })
}

/// Reads every blob of the old store in the new one, and compares it with its name, which is its SHA-256.
///
/// # Errors
/// The stores'; [`StoreError::Corrupt`] naming a blob that is not there or not whole.
pub async fn verify_blobs(from: &dyn Blobs, to: &dyn Blobs, progress: Progress<'_>) -> Result<Verified, StoreError> {
    let (mut amount, mut hash) = (Amount::default(), digest::Context::new(&SHA256));
    let mut names = Names { blobs: from, after: None };
    while let Some(page) = names.next().await? {
        for id in page {
            let Some(size) = from.size(id).await? else { continue };
            if sum(to, id, size).await? != id.0 {
                return Err(StoreError::Corrupt {
                    what: format!("blob {id}, which is not as it was in the old store"),
                });
            }
            hash.update(&id.0);
            (amount.items, amount.octets) = (amount.items + 1, amount.octets + size);
            progress(amount);
        }
    }
    Ok(Verified { amount, digest: hexed(hash.finish().as_ref()) })
}

/// Ends the move of a part: what it lies in may be used.
///
/// # Errors
/// The store's.
pub async fn finish(to: &dyn KeyValue, part: Part) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.remove(mark(part.name()));
    commit(to, batch).await
}

impl Amount {
    fn count(&mut self, (key, value): &(Key, Bytes)) {
        self.items += 1;
        self.octets += (key.0.len() + value.len()) as u64;
    }
}

/// A range, page by page.
struct Pages<'a> {
    store: &'a dyn KeyValue,
    range: KeyRange,
}

impl Pages<'_> {
    async fn next(&mut self) -> Result<Option<Vec<(Key, Bytes)>>, StoreError> {
        let page = self.store.scan(self.range.clone(), Page::first(READ_MOST)).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        self.range.from = [&last.0[..], &[0]].concat().into();
        Ok(Some(page))
    }
}

/// The names of a store's blobs, page by page.
struct Names<'a> {
    blobs: &'a dyn Blobs,
    after: Option<BlobId>,
}

impl Names<'_> {
    async fn next(&mut self) -> Result<Option<Vec<BlobId>>, StoreError> {
        let page = self.blobs.list(self.after, READ_MOST).await?;
        self.after = page.last().copied().or(self.after);
        Ok((!page.is_empty()).then_some(page))
    }
}

/// Begins a move into a store that holds nothing of this part.
async fn begin(to: &dyn KeyValue, part: Part, mark: &Key, source: &str) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    for range in part.ranges() {
        batch.assert_empty(range);
    }
    batch.assert(mark.clone(), None).put(mark.clone(), Packer::new(1).text(source).u64(0).u64(0).text("").done());
    match to.commit(batch).await {
        Ok(()) | Err(CommitError::Unknown) => Ok(()),
        Err(CommitError::Conflict) => {
            let says = format!("the store to move to is not empty: it holds {} already", part.name());
            Err(StoreError::Misconfigured(Cause::new(says)))
        }
        Err(CommitError::Store(error)) => Err(error),
    }
}

/// How far an earlier run came.
fn resumed(value: &[u8], source: &str) -> Result<(Amount, Option<Key>), StoreError> {
    let mut from = Unpacker::new(value, 1, "how far a move is")?;
    let begun = from.text()?.to_owned();
    if begun != source {
        let says = format!("a move from {begun} into this store is under way, not one from {source}");
        return Err(StoreError::Misconfigured(Cause::new(says)));
    }
    let (items, octets) = (from.u64()?, from.u64()?);
    let after = from.text()?;
    let digits: Option<Vec<u8>> = (0..after.len())
        .step_by(2)
        .map(|at| after.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    let after = digits.filter(|octets| !octets.is_empty()).map(Key::from);
    Ok((Amount { items, octets }, after))
}

/// A blob, read by parts, as one.
async fn whole(blobs: &dyn Blobs, id: BlobId, size: u64) -> Result<Bytes, StoreError> {
    if let Some(octets) = blobs.get(id, 0..size.min(PART_MOST)).await?
        && octets.len() as u64 == size
    {
        return Ok(octets);
    }
    let mut octets = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    while (octets.len() as u64) < size {
        let at = octets.len() as u64;
        match blobs.get(id, at..size.min(at + PART_MOST)).await? {
            Some(part) if !part.is_empty() => octets.extend_from_slice(&part),
            _ => return Err(StoreError::Corrupt { what: format!("blob {id}, which is cut short") }),
        }
    }
    Ok(octets.into())
}

/// The SHA-256 of a blob of this size; of something else where it is not there or shorter.
async fn sum(blobs: &dyn Blobs, id: BlobId, size: u64) -> Result<[u8; 32], StoreError> {
    let mut hash = digest::Context::new(&SHA256);
    let mut at = 0;
    while at < size {
        match blobs.get(id, at..size.min(at + PART_MOST)).await? {
            Some(part) if !part.is_empty() => {
                hash.update(&part);
                at += part.len() as u64;
            }
            _ => break,
        }
    }
    Ok(hash.finish().as_ref().try_into().unwrap_or_default())
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
    Err(StoreError::Unavailable(Cause::new("others keep writing into the store that is moved to")))
}

fn mark(part: &str) -> Key {
    [b"Xm", part.as_bytes()].concat().into()
}

fn moved() -> Key {
    b"Xg".to_vec().into()
}

fn hex(key: &Option<Key>) -> String {
    key.as_ref().map(|key| hexed(&key.0)).unwrap_or_default()
}

fn hexed(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |text, octet| text + &format!("{octet:02x}"))
}

/// One side of a move: the databases of a configuration, without a server's queue.
pub struct Side {
    /// Mailboxes and queue.
    pub data: Arc<dyn KeyValue>,
    /// Messages.
    pub blobs: Arc<dyn Blobs>,
    /// Counters and facts, where they lie in a database.
    pub lookup: Option<Arc<dyn KeyValue>>,
}

impl Side {
    /// The database that a part lies in.
    pub fn keys(&self, part: Part) -> Option<&Arc<dyn KeyValue>> {
        match part {
            Part::Data | Part::Places => Some(&self.data),
            Part::Lookup => self.lookup.as_ref(),
        }
    }
}
