//! Stores of blobs that are broken, each in one way that is easily overlooked.

use crate::blob::{BLOB_MOST, BlobId, Blobs};
use crate::conformance;
use crate::error::{Cause, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// How a store is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// Not at all.
    None,
    /// The last octet is lost,
    CutShort,
    /// or what is beyond 4 MiB.
    CutLong,
    /// A blob without octets is none.
    EmptyLost,
    /// Blobs of any size are taken.
    NoLimit,
    /// A part has the octet behind it, too,
    EndIncluded,
    /// or begins at the beginning,
    FromStart,
    /// and is not there where it is not whole.
    WholePartsOnly,
    /// What is not there has no octets,
    MissingIsEmpty,
    /// or the size 0.
    MissingHasSize,
    /// What was put twice cannot be read.
    TwiceTorn,
    /// Nothing is removed,
    NeverRemoved,
    /// or what follows is, too,
    RemovesNext,
    /// or it fails where there is nothing to remove.
    RemovesOnce,
    /// A list begins with what it should follow,
    AfterIncluded,
    /// or goes backwards,
    Backwards,
    /// or has all there is,
    NoMost,
    /// or lacks its last one.
    PageCut,
}

const FLAWS: [Flaw; 17] = [
    Flaw::CutShort,
    Flaw::CutLong,
    Flaw::EmptyLost,
    Flaw::NoLimit,
    Flaw::EndIncluded,
    Flaw::FromStart,
    Flaw::WholePartsOnly,
    Flaw::MissingIsEmpty,
    Flaw::MissingHasSize,
    Flaw::TwiceTorn,
    Flaw::NeverRemoved,
    Flaw::RemovesNext,
    Flaw::RemovesOnce,
    Flaw::AfterIncluded,
    Flaw::Backwards,
    Flaw::NoMost,
    Flaw::PageCut,
];

struct Flawed {
    blobs: Mutex<BTreeMap<BlobId, Bytes>>,
    flaw: Flaw,
}

#[async_trait]
impl Blobs for Flawed {
    async fn put(&self, octets: Bytes) -> Result<BlobId, StoreError> {
        if octets.len() as u64 > BLOB_MOST && self.flaw != Flaw::NoLimit {
            return Err(StoreError::Full);
        }
        let id = BlobId::of(&octets);
        let kept = match self.flaw {
            Flaw::CutShort => octets.slice(..octets.len().saturating_sub(1)),
            Flaw::CutLong => octets.slice(..octets.len().min(4 << 20)),
            _ => octets,
        };
        let mut blobs = self.blobs.lock().unwrap();
        match blobs.get(&id).cloned() {
            Some(known) if self.flaw == Flaw::TwiceTorn => drop(blobs.insert(id, known.slice(known.len() / 2..))),
            _ if self.flaw == Flaw::EmptyLost && kept.is_empty() => {}
            _ => drop(blobs.insert(id, kept)),
        }
        Ok(id)
    }

    async fn get(&self, id: BlobId, part: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let Some(whole) = self.blobs.lock().unwrap().get(&id).cloned() else {
            return Ok((self.flaw == Flaw::MissingIsEmpty).then(Bytes::new));
        };
        let size = whole.len() as u64;
        if self.flaw == Flaw::WholePartsOnly && part.end > size {
            return Ok(None);
        }
        let begins = if self.flaw == Flaw::FromStart { 0 } else { part.start.min(size) };
        let more = u64::from(self.flaw == Flaw::EndIncluded);
        let ends = part.end.saturating_add(more).min(size).max(begins);
        Ok(Some(whole.slice(usize::try_from(begins).unwrap()..usize::try_from(ends).unwrap())))
    }

    async fn size(&self, id: BlobId) -> Result<Option<u64>, StoreError> {
        let known = self.blobs.lock().unwrap().get(&id).map(|octets| octets.len() as u64);
        Ok(known.or((self.flaw == Flaw::MissingHasSize).then_some(0)))
    }

    async fn remove(&self, id: BlobId) -> Result<(), StoreError> {
        let mut blobs = self.blobs.lock().unwrap();
        let was_there = match self.flaw {
            Flaw::NeverRemoved => true,
            _ => blobs.remove(&id).is_some(),
        };
        let next = blobs.range(id..).next().map(|(next, _)| *next);
        match (self.flaw, next) {
            (Flaw::RemovesNext, Some(next)) => drop(blobs.remove(&next)),
            (Flaw::RemovesOnce, _) if !was_there => {
                return Err(StoreError::Unavailable(Cause::new("there is no such blob")));
            }
            _ => {}
        }
        Ok(())
    }

    async fn list(&self, after: Option<BlobId>, most: usize) -> Result<Vec<BlobId>, StoreError> {
        let blobs = self.blobs.lock().unwrap();
        let included = self.flaw == Flaw::AfterIncluded;
        let follows = |id: &&BlobId| after.is_none_or(|after| **id > after || included && **id == after);
        let mut ids: Vec<BlobId> = blobs.keys().filter(follows).copied().collect();
        if self.flaw != Flaw::NoMost {
            ids.truncate(most);
        }
        match self.flaw {
            Flaw::Backwards => ids.reverse(),
            Flaw::PageCut if ids.len() == most => drop(ids.pop()),
            _ => {}
        }
        Ok(ids)
    }
}

#[tokio::test]
async fn the_suite_of_blobs_fails_on_every_broken_one() {
    let suite = |flaw| async move {
        let store = Arc::new(Flawed { blobs: Mutex::default(), flaw });
        conformance::suite(conformance::BLOBS, store).await;
    };
    suite(Flaw::None).await;
    let mut passed = Vec::new();
    for flaw in FLAWS {
        if tokio::spawn(suite(flaw)).await.is_ok() {
            passed.push(flaw);
        }
    }
    assert_eq!(passed, []);
}
