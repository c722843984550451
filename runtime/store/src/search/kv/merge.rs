//! How an index changes: segments come in, are merged and go.

use super::segment::{Facts, Kind, Row, Terms, entries, put_messages};
use super::{
    ABANDONED, CHUNKS_AT_ONCE, Change, DEAD_MOST, Draft, KvSearch, LARGEST, MANY, MESSAGES_MOST, SMALLEST, SegmentId,
    State, TOGETHER, TRIES, chunk_prefix, others, prefix, state_key, torn,
};
use crate::error::{Cause, CommitError, StoreError};
use crate::kv::{Batch, Key, KeyRange, Page, VALUE_MOST};
use bytes::Bytes;
use schema::name::Address;
use std::collections::BTreeMap;

impl KvSearch {
    /// Writes what of a segment is more than one batch should take.
    pub(super) async fn make_room(&self, account: &Address, draft: &mut Draft) -> Result<(), StoreError> {
        while draft.built.weight >= TOGETHER {
            self.write_ahead(account, draft).await?;
        }
        Ok(())
    }

    /// Writes as many of a segment's rows as one batch takes, before the segment is part of the index.
    async fn write_ahead(&self, account: &Address, draft: &mut Draft) -> Result<(), StoreError> {
        let id = draft.begun.as_ref().map_or_else(by_chance, |(id, _)| Ok(*id))?;
        let before = draft.begun.as_ref().map(|(_, guard)| guard.clone());
        let times = before.as_ref().and_then(|guard| guard.last_chunk().copied()).map_or(0, u32::from_be_bytes);
        let guard = Bytes::from([&(self.clock)().to_be_bytes()[..], &(times + 1).to_be_bytes()].concat());
        let key = Key::from(state_key(account, b'w', &id));
        let mut batch = Batch::new();
        batch.assert(key.clone(), before.clone()).put(key.clone(), guard.clone());
        put_rows(&mut batch, (account, &id), draft.built.take(TOGETHER).into_iter());
        for _ in 0..TRIES {
            match self.data.commit(batch.clone()).await {
                Ok(()) => {
                    draft.begun = Some((id, guard));
                    return Ok(());
                }
                Err(CommitError::Store(error)) => return Err(error),
                Err(CommitError::Conflict | CommitError::Unknown) => {}
            }
            let found = self.data.get(std::slice::from_ref(&key)).await?.pop().flatten();
            if found.as_ref() == Some(&guard) {
                draft.begun = Some((id, guard));
                return Ok(());
            }
            if found != before {
                break;
            }
        }
        Err(others(account))
    }

    /// Makes a change, with what the draft holds as the new segment. `false`: others have changed what it rests on.
    pub(super) async fn publish(
        &self,
        account: &Address,
        mut draft: Option<Draft>,
        change: &Change<'_>,
    ) -> Result<bool, StoreError> {
        if let Some(draft) = &mut draft {
            draft.built.finish();
            self.make_room(account, draft).await?;
        }
        for _ in 0..TRIES {
            let state = self.state(account).await?;
            let begun = draft.as_ref().and_then(|draft| draft.begun.as_ref());
            if let Some((id, guard)) = begun {
                // An answer that was lost.
                if state.segments.contains_key(id) {
                    return Ok(true);
                }
                if state.written.get(id) != Some(guard) {
                    return Ok(false);
                }
            }
            let id = begun.map_or_else(by_chance, |(id, _)| Ok(*id))?;
            let Some(batch) = self.batch(account, &state, (&id, draft.as_ref()), change).await? else {
                if let Some((id, guard)) = begun {
                    self.give_up(account, (id, guard.clone())).await?;
                }
                return Ok(false);
            };
            if batch.writes.is_empty() {
                // Where segments went meanwhile, they may have had something after all.
                if self.version(account).await? == state.version {
                    return Ok(true);
                }
                continue;
            }
            match self.data.commit(batch).await {
                Ok(()) => return Ok(true),
                // Doing it again changes nothing more: a segment that is there already is dead then.
                Err(CommitError::Conflict | CommitError::Unknown) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        Err(others(account))
    }

    /// The change as a batch; one without writes where nothing changes, `None` where it has no ground any more.
    async fn batch(
        &self,
        account: &Address,
        state: &State,
        (id, draft): (&SegmentId, Option<&Draft>),
        change: &Change<'_>,
    ) -> Result<Option<Batch>, StoreError> {
        let mut batch = Batch::new();
        let mut segments = state.segments.clone();
        // What is dead in each segment, where that changes.
        let mut dead: BTreeMap<SegmentId, Vec<u64>> = BTreeMap::new();
        match change {
            Change::Replace(messages) => {
                for (segment, more) in self.having((account, state), messages).await? {
                    let before = state.dead.get(&segment).cloned().unwrap_or_default();
                    let mut all = [before, more].concat();
                    all.sort_unstable();
                    dead.insert(segment, all);
                }
            }
            Change::Merge(began, from) => {
                let mut since = Vec::new();
                for segment in *from {
                    if segments.remove(segment).is_none() {
                        return Ok(None);
                    }
                    go(&mut batch, account, segment);
                    let now = state.dead.get(segment).into_iter().flatten();
                    since.extend(now.filter(|message| !began.is_dead(segment, **message)));
                }
                since.sort_unstable();
                if !since.is_empty() {
                    dead.insert(*id, since);
                }
            }
        }
        if let Some(built) = draft.map(|draft| &draft.built).filter(|built| built.facts.messages > 0) {
            put_rows(&mut batch, (account, id), built.rows.iter().cloned());
            batch.put(state_key(account, b's', id), built.facts.write());
            segments.insert(*id, built.facts.clone());
        }
        if let Some((begun, guard)) = draft.and_then(|draft| draft.begun.as_ref()) {
            let key = Key::from(state_key(account, b'w', begun));
            batch.assert(key.clone(), Some(guard.clone())).remove(key);
        }
        for (segment, messages) in &dead {
            let Some(facts) = segments.get_mut(segment) else { continue };
            facts.dead = messages.len() as u64;
            if facts.dead >= facts.messages {
                segments.remove(segment);
                go(&mut batch, account, segment);
            } else {
                let listed = put_messages(messages);
                if listed.len() > VALUE_MOST {
                    // It is written anew as soon as another server is ready with what it merges.
                    return Err(others(account));
                }
                batch.put(state_key(account, b's', segment), facts.write());
                batch.put(state_key(account, b'x', segment), listed);
            }
        }
        if !batch.writes.is_empty() {
            let version = prefix(b"Si", account);
            batch.assert(version.clone(), state.version.clone());
            match segments.is_empty() {
                true => batch.remove(version),
                false => batch.put(version, by_chance()?.to_vec()),
            };
        }
        Ok(Some(batch))
    }

    /// Merges what is due, and removes what is left of segments that are gone.
    pub(super) async fn tidy(&self, account: &Address) -> Result<(), StoreError> {
        loop {
            let mut state = self.state(account).await?;
            for (id, guard) in std::mem::take(&mut state.written) {
                let at = guard.first_chunk().map_or(0, |at| i64::from_be_bytes(*at));
                // A clock that was set back says nothing.
                if (self.clock)().abs_diff(at) > ABANDONED.unsigned_abs() {
                    self.give_up(account, (&id, guard)).await?;
                    state.removed.push(id);
                } else {
                    // Another server merges.
                    return Ok(());
                }
            }
            for id in &state.removed {
                self.remove(account, id).await?;
            }
            let Some(due) = due(&state) else { return Ok(()) };
            if !self.merge(account, &state, &due).await? {
                return Ok(());
            }
        }
    }

    /// Has whoever writes a segment fail, and its rows be removed.
    async fn give_up(&self, account: &Address, (id, guard): (&SegmentId, Bytes)) -> Result<(), StoreError> {
        let key = Key::from(state_key(account, b'w', id));
        let mut batch = Batch::new();
        batch.assert(key.clone(), Some(guard)).remove(key).put(state_key(account, b'r', id), Bytes::new());
        self.surely(batch).await
    }

    /// Removes the rows of a segment that is no part of the index.
    async fn remove(&self, account: &Address, id: &SegmentId) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for kind in [Kind::Terms, Kind::Words] {
            batch.clear(KeyRange::prefix(&chunk_prefix(kind, account, id)));
        }
        batch.remove(state_key(account, b'r', id));
        self.surely(batch).await
    }

    /// Commits what may be done twice. Where its ground is gone, somebody has done it.
    pub(super) async fn surely(&self, batch: Batch) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            match self.data.commit(batch.clone()).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Conflict) if !batch.asserts.is_empty() => return Ok(()),
                Err(CommitError::Conflict | CommitError::Unknown) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        Err(StoreError::Unavailable(Cause::new("it is not known whether the full-text index was changed")))
    }

    /// Writes one segment in place of some; whether it is part of the index.
    async fn merge(&self, account: &Address, state: &State, from: &[SegmentId]) -> Result<bool, StoreError> {
        let mut sources = Vec::new();
        for id in from {
            let mut source = Source::new(self, account, id);
            source.advance().await?;
            sources.push(source);
        }
        let mut draft = Draft::default();
        while let Some(term) = sources.iter().filter_map(|source| source.term.clone()).min() {
            let mut found = Vec::new();
            for source in sources.iter().filter(|source| source.term.as_ref() == Some(&term)) {
                for entry in source.lists.iter().flat_map(|list| entries(list)) {
                    let (message, has) = entry.map_err(|_| torn(account))?;
                    if !state.is_dead(source.id, message) {
                        found.push((message, has));
                    }
                }
            }
            found.sort_unstable_by_key(|(message, _)| *message);
            for (message, has) in found {
                draft.built.push(&term, message, has);
                self.make_room(account, &mut draft).await?;
            }
            for source in sources.iter_mut().filter(|source| source.term.as_ref() == Some(&term)) {
                source.advance().await?;
            }
        }
        self.publish(account, Some(draft), &Change::Merge(state, from)).await
    }
}

/// A segment that is read from its first term to its last.
struct Source<'s> {
    search: &'s KvSearch,
    account: &'s Address,
    id: &'s SegmentId,
    /// What is not read yet.
    left: KeyRange,
    page: std::vec::IntoIter<(Key, Bytes)>,
    chunk: Terms,
    next: Option<(String, Bytes)>,
    /// The term that it stands at; `None` at the end.
    term: Option<String>,
    /// The parts of its list.
    lists: Vec<Bytes>,
}

impl<'s> Source<'s> {
    fn new(search: &'s KvSearch, account: &'s Address, id: &'s SegmentId) -> Source<'s> {
        let left = KeyRange::prefix(&chunk_prefix(Kind::Terms, account, id));
        let (page, chunk) = (Vec::new().into_iter(), Terms::new(Kind::Terms, Bytes::new()));
        Source { search, account, id, left, page, chunk, next: None, term: None, lists: Vec::new() }
    }

    async fn advance(&mut self) -> Result<(), StoreError> {
        self.lists.clear();
        let next = match self.next.take() {
            Some(next) => Some(next),
            None => self.read().await?,
        };
        let Some((term, list)) = next else {
            self.term = None;
            return Ok(());
        };
        self.lists.push(list);
        // A list may go on in the next chunk.
        while let Some((next, list)) = self.read().await? {
            if next != term {
                self.next = Some((next, list));
                break;
            }
            self.lists.push(list);
        }
        self.term = Some(term);
        Ok(())
    }

    async fn read(&mut self) -> Result<Option<(String, Bytes)>, StoreError> {
        loop {
            if let Some(list) = self.chunk.advance().map_err(|_| torn(self.account))? {
                return Ok(Some((self.chunk.term.clone(), list)));
            }
            let row = match self.page.next() {
                Some(row) => row,
                None => {
                    let page = Page::first(CHUNKS_AT_ONCE / MANY);
                    self.page = self.search.data.scan(self.left.clone(), page).await?.into_iter();
                    let Some(row) = self.page.next() else { return Ok(None) };
                    row
                }
            };
            self.left.from = [&row.0.0[..], &[0]].concat().into();
            self.chunk = Terms::new(Kind::Terms, row.1);
        }
    }
}

/// The segments that are to become one, if any are.
fn due(state: &State) -> Option<Vec<SegmentId>> {
    let too_dead = |(id, facts): &(&SegmentId, &Facts)| {
        let listed = state.dead.get(*id).map_or(0, |dead| put_messages(dead).len());
        facts.dead > 0 && (facts.dead.saturating_mul(MANY as u64) >= facts.messages || listed > DEAD_MOST)
    };
    if let Some((id, _)) = state.segments.iter().find(too_dead) {
        return Some(vec![*id]);
    }
    for size in 0..LARGEST {
        if state.segments.values().filter(|facts| size_of(facts) == size).count() >= MANY {
            let small = state.segments.iter().filter(|(_, facts)| size_of(facts) <= size);
            return Some(small.map(|(id, _)| *id).collect());
        }
    }
    None
}

/// Which size a segment is of: 0 below [`SMALLEST`], each further one [`MANY`] times as large, at most [`LARGEST`].
fn size_of(facts: &Facts) -> usize {
    let limits = std::iter::successors(Some(SMALLEST), |limit| limit.checked_mul(MANY as u64)).take(LARGEST);
    match facts.messages >= MESSAGES_MOST {
        true => LARGEST,
        false => limits.filter(|limit| facts.octets >= *limit).count(),
    }
}

fn put_rows(batch: &mut Batch, (account, id): (&Address, &SegmentId), rows: impl Iterator<Item = Row>) {
    for row in rows {
        let prefix = chunk_prefix(row.kind, account, id);
        batch.put([&prefix[..], &row.tail].concat(), row.value);
    }
}

/// A segment leaves the index.
fn go(batch: &mut Batch, account: &Address, id: &SegmentId) {
    batch.remove(state_key(account, b's', id)).remove(state_key(account, b'x', id));
    batch.put(state_key(account, b'r', id), Bytes::new());
}

fn by_chance() -> Result<SegmentId, StoreError> {
    let mut id = SegmentId::default();
    aws_lc_rs::rand::fill(&mut id).map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
    Ok(id)
}
