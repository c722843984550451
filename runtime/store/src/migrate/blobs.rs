//! Blobs of one store, brought into another: those that only the old side lists are copied, those that only the new side
//! lists may be removed at the end.
//!
//! Blobs never change, and each is read again in the new store when it was copied, or when it is found there by the
//! first pass of a run. So for the last pass names are enough.

use super::{Enough, Passed, Progress};
use crate::blob::{BlobId, Blobs, packed};
use crate::error::{Cause, StoreError};
use crate::held;
use crate::keys as layout;
use crate::kv::{KeyValue, Page};
use aws_lc_rs::digest::{self, SHA256};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Octets of a blob that are read at once.
const PART: u64 = 4 << 20;
/// Names listed at once.
const PAGE: usize = 1_000;
/// Blobs under way at once,
const AT_ONCE: usize = 16;
/// and KiB of them that are held at once ([`held`]), unless a single one has more.
const MEMORY: u32 = 64 << 10;

/// Octets that a sample reads and writes.
const SAMPLE: u64 = 16 << 20;

/// What a pass over blobs does beside copying what is missing.
#[derive(Clone)]
pub enum How {
    /// The first of a run: reads again what the new store holds already.
    First,
    /// One more.
    Again,
    /// The last: removes what only the new store has, where that held nothing at first and nothing in this data store
    /// refers to it.
    Last(Option<Arc<dyn KeyValue>>),
}

/// Both sides of a move.
#[derive(Clone)]
pub struct Sides {
    /// The old one.
    pub from: Arc<dyn Blobs>,
    /// The new one.
    pub to: Arc<dyn Blobs>,
    /// Blobs that are no larger stay where they are.
    pub above: u64,
}

/// Compares the names on both sides, and copies what is missing. In amount and sum is what lies on both sides afterwards;
/// octets are counted only of what was read.
///
/// # Errors
/// The stores'; [`StoreError::Corrupt`] naming a blob that cannot be read whole on either side.
pub async fn pass(sides: &Sides, (how, enough): (How, &Enough), progress: Progress<'_>) -> Result<Passed, StoreError> {
    let mut work = Work { passed: Passed::default(), working: JoinSet::new(), failed: None, progress };
    let room = Arc::new(Semaphore::new(MEMORY as usize));
    let (mut old, mut new) = (Names::of(&sides.from), Names::of(&sides.to));
    while work.failed.is_none() && !enough.load(Ordering::Relaxed) {
        let (a, b) = (old.first().await?, new.first().await?);
        let Some(id) = a.into_iter().chain(b).min() else { break };
        let (is_old, is_new) = (a == Some(id), b == Some(id));
        if is_old {
            old.page.next();
        }
        if is_new {
            new.page.next();
        }
        match (&how, is_old, is_new) {
            (How::Last(Some(data)), false, _) => {
                if data.scan(layout::holders(id), Page::first(1)).await?.is_empty() {
                    sides.to.remove(id).await?;
                    work.passed.changes += 1;
                }
            }
            (_, false, _) => {}
            (How::Again | How::Last(_), true, true) => work.done(id, 0),
            (_, true, is_new) => {
                let job = carry(sides.clone(), id, Arc::clone(&room));
                work.begin(id, is_new, job).await;
            }
        }
    }
    while work.one().await {}
    work.failed.map_or(Ok(work.passed), Err)
}

/// A blob, whether it was there already, and its size; nothing where there was none to carry.
type Carried = Option<(BlobId, bool, u64)>;

/// Blobs on their way.
struct Work<'a> {
    passed: Passed,
    working: JoinSet<Result<Carried, StoreError>>,
    failed: Option<StoreError>,
    progress: Progress<'a>,
}

impl Work<'_> {
    async fn begin(
        &mut self,
        id: BlobId,
        is_new: bool,
        job: impl Future<Output = Result<Option<u64>, StoreError>> + Send + 'static,
    ) {
        while self.working.len() >= AT_ONCE {
            self.one().await;
        }
        self.working.spawn(async move { Ok(job.await?.map(|size| (id, is_new, size))) });
    }

    /// Waits for one; whether there was one.
    async fn one(&mut self) -> bool {
        match self.working.join_next().await {
            None => return false,
            Some(Ok(Ok(Some((id, was_there, size))))) => {
                self.passed.changes += u64::from(!was_there);
                self.done(id, size);
            }
            Some(Ok(Ok(None))) => {}
            Some(Ok(Err(error))) => self.failed = self.failed.take().or(Some(error)),
            Some(Err(gone)) => self.failed = self.failed.take().or(Some(StoreError::Unavailable(Cause::new(gone)))),
        }
        true
    }

    fn done(&mut self, id: BlobId, size: u64) {
        self.passed.amount.items += 1;
        self.passed.amount.octets += size;
        self.passed.sum.digest(&id.0);
        (self.progress)(self.passed.amount);
    }
}

/// Sees to it that a blob lies in the new store, and reads it there. Its size; nothing where the old store has it no
/// longer, or only what a write that never ended left behind, or where it stays where it is.
async fn carry(Sides { from, to, above }: Sides, id: BlobId, room: Arc<Semaphore>) -> Result<Option<u64>, StoreError> {
    let Some(size) = from.size(id).await?.filter(|size| *size > above || above == 0) else { return Ok(None) };
    let wanted = u32::try_from(size >> 10).unwrap_or(MEMORY).clamp(1, MEMORY);
    let room = room.acquire_many(wanted).await.map_err(|gone| StoreError::Unavailable(Cause::new(gone)))?;
    if is_whole(&*to, id, size).await? {
        return Ok(Some(size));
    }
    let octets = match whole(&*from, id, size).await {
        Err(StoreError::Corrupt { .. }) if from.size(id).await?.is_none() => return Ok(None),
        octets => octets?,
    };
    if packed::name(octets.clone()).await? != id {
        let what = format!("blob {id} of the old store, which is not what its name says; see `waybilld fsck --blobs`");
        return Err(StoreError::Corrupt { what });
    }
    to.put(octets.clone()).await?;
    if !is_whole(&*to, id, size).await? {
        // Putting what is there is free, and does not mend it.
        to.remove(id).await?;
        to.put(octets).await?;
        if !is_whole(&*to, id, size).await? {
            let what = format!("blob {id}, which is not as it was in the old store");
            return Err(StoreError::Corrupt { what });
        }
    }
    drop(room);
    Ok(Some(size))
}

/// A sample of what a store lists: names are chance, so that the first ones stand for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// How many there are.
    pub items: u64,
    /// Of the first ones: the name and the size.
    pub first: Vec<(BlobId, u64)>,
}

impl Listed {
    /// Octets of all, as far as the first ones tell.
    pub fn octets(&self) -> u64 {
        let some: u64 = self.first.iter().map(|(_, size)| size).sum();
        let known = self.first.len() as u128;
        let all = u128::from(some) * u128::from(self.items);
        all.checked_div(known).and_then(|all| u64::try_from(all).ok()).unwrap_or(0)
    }

    /// Whether that is all of them.
    pub fn is_exact(&self) -> bool {
        self.first.len() as u64 == self.items
    }
}

/// Removes from the old store what lies in the new one, after a move: how many blobs that were.
///
/// # Errors
/// The stores'; what was removed is removed.
pub async fn clear(Sides { from, to, .. }: &Sides) -> Result<u64, StoreError> {
    let (mut old, mut new) = (Names::of(from), Names::of(to));
    let (mut removed, mut working) = (0, JoinSet::new());
    while let (Some(a), Some(b)) = (old.first().await?, new.first().await?) {
        if a <= b {
            old.page.next();
        }
        if b <= a {
            new.page.next();
        }
        if a == b {
            removed += 1;
            let from = Arc::clone(from);
            working.spawn(async move { from.remove(a).await });
        }
        if working.len() >= AT_ONCE {
            joined(&mut working).await?;
        }
    }
    while !working.is_empty() {
        joined(&mut working).await?;
    }
    Ok(removed)
}

/// Counts a store's blobs, and asks for the sizes of the first `most`.
///
/// # Errors
/// The store's.
pub async fn list(store: &Arc<dyn Blobs>, most: usize) -> Result<Listed, StoreError> {
    let (mut names, mut listed) = (Names::of(store), Listed::default());
    let mut asking = JoinSet::new();
    while let Some(id) = names.first().await? {
        names.page.next();
        listed.items += 1;
        if listed.items <= most as u64 {
            let store = Arc::clone(store);
            asking.spawn(async move { (id, store.size(id).await) });
        }
        if asking.len() >= AT_ONCE || listed.items == most as u64 {
            sized(&mut asking, &mut listed, AT_ONCE / 2).await?;
        }
    }
    sized(&mut asking, &mut listed, 0).await?;
    Ok(listed)
}

async fn sized(
    asking: &mut JoinSet<(BlobId, Result<Option<u64>, StoreError>)>,
    listed: &mut Listed,
    down_to: usize,
) -> Result<(), StoreError> {
    while asking.len() > down_to
        && let Some(answer) = asking.join_next().await
    {
        let (id, size) = answer.map_err(|gone| StoreError::Unavailable(Cause::new(gone)))?;
        match size? {
            Some(size) => listed.first.push((id, size)),
            // Left behind by a write that never ended.
            None => listed.items = listed.items.saturating_sub(1),
        }
    }
    Ok(())
}

/// Reads some of the blobs that were listed, and writes, reads and removes others of their sizes in the other store, as
/// many at once as a pass does. How many octets those were: about [`SAMPLE`], unless the first has more.
///
/// # Errors
/// The stores'.
pub async fn sample(sides: &Sides, listed: &Listed) -> Result<u64, StoreError> {
    let (mut octets, mut working) = (0, JoinSet::new());
    for (id, size) in listed.first.iter().copied() {
        if octets >= SAMPLE {
            break;
        }
        octets += size;
        let Sides { from, to, .. } = sides.clone();
        working.spawn(async move {
            let mut other = whole(&*from, id, size).await?.to_vec();
            let failed = |_| StoreError::Unavailable(Cause::new("the system gives no random octets"));
            aws_lc_rs::rand::fill(&mut other).map_err(failed)?;
            let other = to.put(other.into()).await?;
            let read = is_whole(&*to, other, size).await;
            to.remove(other).await?;
            read.map(|_| ())
        });
        if working.len() >= AT_ONCE {
            joined(&mut working).await?;
        }
    }
    while !working.is_empty() {
        joined(&mut working).await?;
    }
    Ok(octets)
}

async fn joined(working: &mut JoinSet<Result<(), StoreError>>) -> Result<(), StoreError> {
    match working.join_next().await {
        None => Ok(()),
        Some(done) => done.map_err(|gone| StoreError::Unavailable(Cause::new(gone)))?,
    }
}

/// Refuses a store of blobs that holds some.
///
/// # Errors
/// [`StoreError::Misconfigured`]; the store's.
pub async fn must_be_empty(to: &dyn Blobs) -> Result<(), StoreError> {
    if to.list(None, 1).await?.is_empty() {
        return Ok(());
    }
    Err(StoreError::Misconfigured(Cause::new("the store to move messages to is not empty: it holds blobs already")))
}

/// The names of a store's blobs, in order.
struct Names {
    blobs: Arc<dyn Blobs>,
    page: std::vec::IntoIter<BlobId>,
    after: Option<BlobId>,
    ended: bool,
}

impl Names {
    fn of(blobs: &Arc<dyn Blobs>) -> Names {
        Names { blobs: Arc::clone(blobs), page: Vec::new().into_iter(), after: None, ended: false }
    }

    /// The next one, which stays; nothing at the end.
    async fn first(&mut self) -> Result<Option<BlobId>, StoreError> {
        if self.page.as_slice().is_empty() && !self.ended {
            let page = self.blobs.list(self.after, PAGE).await?;
            (self.after, self.ended) = (page.last().copied().or(self.after), page.is_empty());
            self.page = page.into_iter();
        }
        Ok(self.page.as_slice().first().copied())
    }
}

/// A blob, read by parts, as one.
///
/// # Errors
/// The store's; [`StoreError::Corrupt`] where it is shorter.
pub async fn whole(blobs: &dyn Blobs, id: BlobId, size: u64) -> Result<Bytes, StoreError> {
    let found = held::blob(blobs, id, size).await?.filter(|octets| octets.len() as u64 == size);
    found.ok_or_else(|| StoreError::Corrupt { what: format!("blob {id}, which is cut short") })
}

/// Whether a store holds these octets, and they can be read: of this name, which is their SHA-256, and size.
async fn is_whole(blobs: &dyn Blobs, id: BlobId, size: u64) -> Result<bool, StoreError> {
    match digested(blobs, id, size).await {
        Err(StoreError::Corrupt { .. }) => Ok(false),
        digest => Ok(digest? == Some(id.0)),
    }
}

async fn digested(blobs: &dyn Blobs, id: BlobId, size: u64) -> Result<Option<[u8; 32]>, StoreError> {
    if blobs.size(id).await? != Some(size) {
        return Ok(None);
    }
    let mut hash = digest::Context::new(&SHA256);
    let mut at = 0;
    while at < size {
        match blobs.get(id, at..size.min(at + PART)).await? {
            Some(part) if !part.is_empty() => {
                hash.update(&part);
                at += part.len() as u64;
            }
            _ => return Ok(None),
        }
    }
    Ok(hash.finish().as_ref().try_into().ok())
}
