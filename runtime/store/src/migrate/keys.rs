//! Keys of one store, brought into another.
//!
//! For the passes a part is in pieces, which are compared at once. A piece that was found alike is known by the checksum
//! of its old side. As long as that stays what it was the new side need not be read again: nobody but the move writes
//! there, which the mark proves. So the last pass, during which no server may run, reads the old store once, and of the
//! new one what has changed since the pass before.

use super::mark::Filling;
use super::{Amount, Enough, Part, Passed, Progress, Sum, after};
use crate::error::{Cause, StoreError};
use crate::kv::{Batch, Key, KeyRange, KeyValue, Page};
use bytes::Bytes;
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What a batch that is copied weighs, as [`Batch::weight`] counts; well below [`crate::kv::BATCH_MOST`].
pub const BATCH: usize = 4 << 20;
/// Keys read at once.
const PAGE: usize = 1_000;
/// Pages read ahead of what is made of them, on each side of a comparison.
const AHEAD: usize = 2;
/// Pieces compared at once.
const PIECES_AT_ONCE: usize = 8;
/// The least keys of a piece when it is cut,
const PIECE: u64 = 1_000;
/// and the most pieces; where there would be more, each becomes larger.
const PIECES_MOST: usize = 16_384;
/// What a batch of a sample weighs,
const SAMPLE: usize = 512 << 10;
/// and how many there are.
const SAMPLES: u32 = 2;
/// How often a piece is compared in the last pass until nothing differs: once to write, once to see that it is written.
const SETTLED: usize = 3;

/// A part of a store, in pieces.
pub struct Outline {
    /// What it held when it was measured.
    pub amount: Amount,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    range: KeyRange,
    /// What both sides held when they were found alike.
    alike: Option<(Amount, Sum)>,
}

impl Outline {
    /// Reads a part, says how much it holds, and cuts it into pieces.
    ///
    /// # Errors
    /// The store's.
    pub async fn measure(store: Arc<dyn KeyValue>, part: Part, progress: Progress<'_>) -> Result<Outline, StoreError> {
        let mut outline = Outline { amount: Amount::default(), pieces: Vec::new() };
        let mut size = PIECE;
        for range in part.ranges() {
            let mut piece = Piece { range: range.clone(), alike: None };
            let (mut entries, mut count) = (Ahead::read(Arc::clone(&store), range), 0);
            while let Some(entry) = entries.next().await? {
                outline.amount.count(&entry);
                count += 1;
                if count == size {
                    let cut = after(&entry.0);
                    let rest = Piece { range: KeyRange { from: cut.clone(), to: piece.range.to.clone() }, alike: None };
                    piece.range.to = cut;
                    outline.pieces.push(std::mem::replace(&mut piece, rest));
                    count = 0;
                    progress(outline.amount);
                }
                if outline.pieces.len() == PIECES_MOST {
                    outline.pieces = joined(take(&mut outline.pieces));
                    size *= 2;
                }
            }
            outline.pieces.push(piece);
        }
        progress(outline.amount);
        Ok(outline)
    }

    /// Compares every piece with the new side and writes there what differs. In the last pass, which is made while nobody
    /// writes into the old store, each is compared until nothing does.
    ///
    /// # Errors
    /// The stores'; [`StoreError::Corrupt`] where something differs as often as it is written.
    pub async fn pass(
        &mut self,
        (old, filling): (&Arc<dyn KeyValue>, &Arc<Filling>),
        (last, enough): (bool, &Enough),
        progress: Progress<'_>,
    ) -> Result<Passed, StoreError> {
        let tries = if last { SETTLED } else { 1 };
        let (mut left, mut working) = ((0..self.pieces.len()).rev(), JoinSet::new());
        let (mut passed, mut failed) = (Passed::default(), None);
        loop {
            while working.len() < PIECES_AT_ONCE
                && failed.is_none()
                && let Some(at) = left.next()
                && let Some(piece) = self.pieces.get(at)
            {
                let (piece, old) = (piece.clone(), Arc::clone(old));
                let (filling, enough) = (Arc::clone(filling), Arc::clone(enough));
                working.spawn(async move { (at, piece.settle(old, &filling, (tries, enough)).await) });
            }
            // What is under way ends by itself, also after an error: no write is left in the air.
            let Some(done) = working.join_next().await else { break };
            match done {
                Ok((at, Ok((alike, found)))) => {
                    passed.changes += found.changes;
                    passed.amount.add(found.amount);
                    passed.sum.add(found.sum);
                    if let Some(piece) = self.pieces.get_mut(at) {
                        piece.alike = alike;
                    }
                    progress(passed.amount);
                }
                Ok((_, Err(error))) => failed = failed.or(Some(error)),
                Err(gone) => failed = failed.or(Some(StoreError::Unavailable(Cause::new(gone)))),
            }
        }
        failed.map_or(Ok(passed), Err)
    }
}

/// Neighbours made one, so that there are half as many.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut fewer: Vec<Piece> = Vec::with_capacity(PIECES_MOST);
    let mut alone = false;
    for piece in pieces {
        match fewer.last_mut() {
            Some(before) if alone && before.range.to == piece.range.from => {
                before.range.to = piece.range.to;
                alone = false;
            }
            _ => {
                fewer.push(piece);
                alone = true;
            }
        }
    }
    fewer
}

impl Piece {
    /// Compares and writes, as often as said until nothing differs. What both sides hold where they are alike now, and
    /// what was found.
    async fn settle(
        &self,
        old: Arc<dyn KeyValue>,
        filling: &Filling,
        (tries, enough): (usize, Enough),
    ) -> Result<(Option<(Amount, Sum)>, Passed), StoreError> {
        let mut passed = Passed::default();
        if let Some(alike) = self.alike {
            let mut entries = Ahead::read(Arc::clone(&old), self.range.clone());
            while let Some(entry) = entries.next().await? {
                passed.amount.count(&entry);
                passed.sum.entry(&entry);
            }
            if (passed.amount, passed.sum) == alike {
                return Ok((self.alike, passed));
            }
        }
        let mut changes = 0;
        for _ in 0..tries {
            if enough.load(Ordering::Relaxed) {
                return Ok((self.alike, Passed { changes, ..Passed::default() }));
            }
            passed = compare(&old, filling, &self.range).await?;
            changes += passed.changes;
            if passed.changes == 0 {
                return Ok((Some((passed.amount, passed.sum)), Passed { changes, ..passed }));
            }
        }
        if tries == 1 {
            return Ok((None, Passed { changes, ..passed }));
        }
        let what = format!(
            "keys from {:?} on, which differ from the old store's as often as they are written",
            self.range.from
        );
        Err(StoreError::Corrupt { what })
    }
}

/// Copies a part, from where an earlier run stopped.
///
/// # Errors
/// The stores'.
pub async fn copy(old: &Arc<dyn KeyValue>, filling: &Filling, progress: Progress<'_>) -> Result<(), StoreError> {
    let (mut done, reached) = filling.reached().await;
    progress(done);
    for mut range in filling.part.ranges() {
        if let Some(reached) = reached.as_ref().filter(|reached| **reached >= range.from) {
            range.from = after(reached);
        }
        let mut entries = Ahead::read(Arc::clone(old), range);
        let mut writes = Writes::default();
        let mut last = None;
        loop {
            let next = entries.next().await?;
            let ended = next.is_none();
            if let Some(entry) = next {
                done.count(&entry);
                last = Some(entry.0.clone());
                writes.put(entry);
            }
            if let Some(batch) = writes.ready(ended)
                && let Some(last) = last.clone()
            {
                filling.write(batch, Some((done, last))).await?;
                progress(done);
            }
            if ended {
                break;
            }
        }
    }
    Ok(())
}

/// Writes entries of this size, to see how long that takes, and returns how many octets those were. They lie where no
/// move and no server looks; [`unsample`] takes them away.
///
/// # Errors
/// The store's.
pub async fn sample(store: &dyn KeyValue, size: usize) -> Result<u64, StoreError> {
    let value = Bytes::from(vec![0x2A; size.clamp(1, SAMPLE / 8)]);
    let mut octets = 0;
    for round in 0..SAMPLES {
        let mut writes = Writes::default();
        while writes.weight < SAMPLE {
            let key = [&b"Xs"[..], &round.to_be_bytes(), &(writes.weight as u64).to_be_bytes()].concat();
            octets += value.len() as u64;
            writes.put((key.into(), value.clone()));
        }
        super::commit(store, writes.batch).await?;
    }
    Ok(octets)
}

/// Takes away what [`sample`] wrote.
///
/// # Errors
/// The store's.
pub async fn unsample(store: &dyn KeyValue) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.clear(KeyRange::prefix(b"Xs"));
    super::commit(store, batch).await
}

/// Reads both sides of a range and writes what differs.
async fn compare(old: &Arc<dyn KeyValue>, filling: &Filling, range: &KeyRange) -> Result<Passed, StoreError> {
    let mut old = Ahead::read(Arc::clone(old), range.clone());
    let mut new = Ahead::read(Arc::clone(&filling.to), range.clone());
    let (mut passed, mut writes) = (Passed::default(), Writes::default());
    loop {
        let (a, b) = (old.first().await?, new.first().await?);
        let (from_old, from_new) = match (a, b) {
            (None, None) => break,
            (Some(a), Some(b)) => (a.0 <= b.0, b.0 <= a.0),
            (a, b) => (a.is_some(), b.is_some()),
        };
        let a = if from_old { old.next().await? } else { None };
        let b = if from_new { new.next().await? } else { None };
        passed.changes += u64::from(a != b);
        match (a, b) {
            (None, Some((key, _))) => writes.remove(key),
            (Some(a), b) => {
                passed.amount.count(&a);
                passed.sum.entry(&a);
                if b.as_ref() != Some(&a) {
                    writes.put(a);
                }
            }
            (None, None) => {}
        }
        if let Some(batch) = writes.ready(false) {
            filling.write(batch, None).await?;
        }
    }
    if let Some(batch) = writes.ready(true) {
        filling.write(batch, None).await?;
    }
    Ok(passed)
}

/// Changes gathered until they are worth a batch.
#[derive(Default)]
struct Writes {
    batch: Batch,
    weight: usize,
}

impl Writes {
    fn put(&mut self, (key, value): (Key, Bytes)) {
        self.weight += Batch::put_weight(key.0.len(), value.len());
        self.batch.put(key, value);
    }

    fn remove(&mut self, key: Key) {
        self.weight += Batch::remove_weight(key.0.len());
        self.batch.remove(key);
    }

    /// The batch, where it is large enough, or where there is no more and it is not empty. It is lazy: what ends a move
    /// is not, and comes after it.
    fn ready(&mut self, ended: bool) -> Option<Batch> {
        let ready = self.weight >= BATCH || ended && self.weight > 0;
        ready.then(|| {
            self.weight = 0;
            Batch { lazy: true, ..take(&mut self.batch) }
        })
    }
}

/// A range of a store in key order, read ahead.
struct Ahead {
    pages: mpsc::Receiver<Result<Vec<(Key, Bytes)>, StoreError>>,
    page: std::vec::IntoIter<(Key, Bytes)>,
}

impl Ahead {
    fn read(store: Arc<dyn KeyValue>, mut range: KeyRange) -> Ahead {
        let (sender, pages) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            loop {
                let page = store.scan(range.clone(), Page::first(PAGE)).await;
                let last = page.as_ref().ok().and_then(|page| page.last()).map(|(key, _)| after(key));
                if sender.send(page).await.is_err() {
                    return;
                }
                match last {
                    Some(next) => range.from = next,
                    None => return,
                }
            }
        });
        Ahead { pages, page: Vec::new().into_iter() }
    }

    /// The next entry, which stays; nothing at the end.
    async fn first(&mut self) -> Result<Option<&(Key, Bytes)>, StoreError> {
        if self.page.as_slice().is_empty()
            && let Some(page) = self.pages.recv().await
        {
            self.page = page?.into_iter();
        }
        Ok(self.page.as_slice().first())
    }

    async fn next(&mut self) -> Result<Option<(Key, Bytes)>, StoreError> {
        self.first().await?;
        Ok(self.page.next())
    }
}
