//! `waybilld migrate`: moves what one configuration's stores hold into another's, with the server down all the while, or
//! (`--online`) for the last of several passes only.

use crate::aside::Aside;
use crate::clock;
use crate::run::StartError;
use free::Free;
use schema::config::{Storage, Store};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use store::error::{Cause, StoreError};
use store::migrate::blobs::{self, How};
use store::migrate::keys::{self, Outline};
use store::migrate::mark::{self, Filling};
use store::migrate::{self, Amount, Enough, Part, Passed, Side, Taken, named};
use store::open::Registry;
use tracing::{info, warn};

mod free;
mod plan;
mod words;

/// How often it is said how far a move is.
const TOLD_EVERY: Duration = Duration::from_secs(2);
/// A pass that changes no more than this is followed by the wait for the server's end,
const CHANGES_FEW: u64 = 1_000;
/// and so is one that takes no longer,
const PASS_SHORT: Duration = Duration::from_secs(5);
/// or the last of so many.
const PASSES_MOST: u32 = 16;
/// How often the new store is brought near the old one while the server's end is waited for.
const CAUGHT_UP_EVERY: Duration = Duration::from_secs(60);
/// How often a pass beside the server is begun again that came no further: the server takes files away that it no
/// longer needs, also while they are read.
const VIEWS: u32 = 5;
/// How long is waited before.
const VIEW_PAUSE: Duration = Duration::from_secs(1);

/// What is said at the end.
const MOVED: &str = "moved; start waybilld with the new configuration";

/// How a move is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Say what there is to move, and move nothing.
    pub plan: bool,
    /// Let the server serve until the last pass.
    pub online: bool,
    /// How long the server's end is waited for before the last pass.
    pub wait: Duration,
}

/// A part whose store changes.
struct Move {
    what: &'static str,
    from: Store,
    to: Store,
    kind: Kind,
}

/// How a part moves.
enum Kind {
    /// Key by key.
    Keys(Part),
    /// Blob by blob.
    Blobs,
    /// The server makes it anew.
    Anew(&'static str),
}

/// Which pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Copies.
    First,
    /// Compares, and writes what differs.
    Again,
    /// The same while nobody writes: then both sides are alike.
    Last,
}

/// Moves what `from` keeps into the stores of `to`, verifies it and closes the old store of data. `say` hears each line
/// for people; how far it is goes to the log.
///
/// # Errors
/// [`StartError`]: a configuration, a store, or what was found different at the end. A later run goes on.
pub async fn migrate(
    from: Aside,
    to: Aside,
    options: Options,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<(), StartError> {
    let (old, new) = (from.storage().await?, to.storage().await?);
    let moves = moves(&old, &new);
    if moves.is_empty() {
        say("nothing moves: both configurations keep everything in the same stores");
        return Ok(());
    }
    for Move { what, from, to, .. } in &moves {
        say(&format!("{what}: from {} to {}", named(from), named(to)));
    }
    let registries = (Arc::new(Registry::new(from.ground())), Registry::new(to.ground()));
    let filling = moves.iter().map(|_| None).collect();
    let mut work = Work { old, new, moves, registries, filling, sides: None, look: false, may_remove: false };
    match options {
        Options { plan: true, .. } => work.plan(say).await,
        Options { online: true, wait, .. } => work.online(wait, say).await,
        _ => work.offline(say).await,
    }
}

/// Takes back that a configuration's store of data was moved elsewhere.
///
/// # Errors
/// [`StartError`]: the configuration or the store.
pub async fn reopen(from: Aside, say: &mut dyn FnMut(&str)) -> Result<(), StartError> {
    let old = from.storage().await?;
    migrate::reopen(&*Registry::new(from.ground()).side(&old, &[]).await?.data).await?;
    say(&format!("the store of data may be used again: {}", named(&old.data)));
    Ok(())
}

/// What moves. The order is that in which it does: data first, which is marked as half full from its first batch on.
fn moves(old: &Storage, new: &Storage) -> Vec<Move> {
    let data = old.data != new.data;
    let is_keys = |store: &Store| !matches!(store, Store::Redis(_) | Store::Memory { .. });
    let lookup = match is_keys(&old.lookup) && is_keys(&new.lookup) {
        true => Kind::Keys(Part::Lookup),
        false => Kind::Anew("counters and short-lived facts begin anew"),
    };
    let anew = "the index is made anew behind the new server's delivery; searches look at messages until it has them";
    let search = old.search != new.search;
    let moves = [
        (data, "data", (&old.data, &new.data), Kind::Keys(Part::Data)),
        // Some blobs lie beside the data, wherever the others do.
        (data || old.blob != new.blob, "blob", (&old.blob, &new.blob), Kind::Blobs),
        (search, "search", (&old.search, &new.search), Kind::Anew(anew)),
        (data && !search, "the index's places", (&old.data, &new.data), Kind::Keys(Part::Places)),
        (old.lookup != new.lookup, "lookup", (&old.lookup, &new.lookup), lookup),
    ];
    let moves = moves.into_iter().filter(|(moves, ..)| *moves);
    moves.map(|(_, what, (from, to), kind)| Move { what, from: from.clone(), to: to.clone(), kind }).collect()
}

/// A move under way.
struct Work {
    old: Storage,
    new: Storage,
    moves: Vec<Move>,
    /// The old side's and the new side's.
    registries: (Arc<Registry>, Registry),
    /// Of each move of keys, what it fills and what is known of it.
    filling: Vec<Option<(Arc<Filling>, Outline)>>,
    /// What is open now.
    sides: Option<(Side, Side)>,
    /// A server may have the old ones open.
    look: bool,
    /// The new store held no blobs at first: what is too much there came with this move.
    may_remove: bool,
}

impl Work {
    /// With the server down from beginning to end.
    async fn offline(&mut self, say: &mut (dyn FnMut(&str) + Send)) -> Result<(), StartError> {
        self.open(false).await?;
        if self.is_moved().await? {
            say(MOVED);
            return Ok(());
        }
        let data = Arc::clone(&self.sides()?.0.data);
        let taken = if free::is_alone(&self.old.data) {
            Taken::locked(data).await?
        } else if migrate::is_in_use(&*data).await? {
            let says = "a server works with the old store of data; stop it first, or move with --online";
            return Err(StoreError::Misconfigured(Cause::new(says)).into());
        } else {
            let beats = migrate::beats(&*data).await?;
            Taken::signed(data, beats).await?
        };
        let moved = async {
            self.begin(say).await?;
            self.round(Round::First, &Enough::default()).await?;
            self.last(say).await
        };
        let moved = moved.await;
        self.end(taken, moved).await?;
        if self.leaves_copies() {
            let removed = words::count(blobs::clear(&self.blobs()?).await?);
            say(&format!("blob: {removed} blobs removed from the store of data"));
        }
        say(MOVED);
        Ok(())
    }

    /// With the server down for the last pass.
    async fn online(&mut self, wait: Duration, say: &mut (dyn FnMut(&str) + Send)) -> Result<(), StartError> {
        self.open(true).await?;
        if self.is_moved().await? {
            say(MOVED);
            return Ok(());
        }
        self.begin(say).await?;
        let enough = Enough::default();
        self.round(Round::First, &enough).await?;
        for pass in 1..=PASSES_MOST {
            let began = clock::instant();
            let changes = self.round(Round::Again, &enough).await?.iter().map(|passed| passed.changes).sum();
            let took = clock::instant() - began;
            let more = if changes == 1 { "change was" } else { "changes were" };
            say(&format!("pass {pass}: {} {more} taken over, in {}", words::count(changes), words::lasting(took)));
            if changes <= CHANGES_FEW || took <= PASS_SHORT {
                break;
            }
        }
        say(&format!(
            "the new stores have nearly everything: stop the server now, and the rest is moved; it is waited for {}",
            words::lasting(wait)
        ));
        let Free { side, taken, since } = self.wait(wait).await?;
        say("the server is down: the last pass");
        // The server's own stores, open to be written; those of the passes before are let go.
        let last = async {
            self.open(false).await?;
            drop(side);
            self.last(say).await
        };
        let moved = last.await;
        self.end(taken, moved).await?;
        let down = words::lasting(clock::instant() - since);
        if self.leaves_copies() {
            say("blob: the store of data keeps its copies until the same is run once more with the server down");
        }
        say(&format!("moved; the server has been down for {down}: start waybilld with the new configuration"));
        Ok(())
    }

    /// Opens both sides, what is on the old one anew where it is only looked into.
    async fn open(&mut self, look: bool) -> Result<(), StoreError> {
        let Storage { data, blob, lookup, .. } = &self.old;
        let looked: Vec<&Store> = if look { vec![data, blob, lookup] } else { Vec::new() };
        let from = self.registries.0.side(&self.old, &looked).await?;
        self.registries.1.join(&self.registries.0).await;
        let to = self.registries.1.side(&self.new, &looked).await?;
        // A configuration names one key: what is encrypted with another must not stay behind.
        let stay = match (*data == self.new.data, *blob == self.new.blob) {
            (true, _) => Some(&from.near),
            (false, true) => from.far.as_ref(),
            (false, false) => None,
        };
        if let Some(stay) = stay.filter(|_| !to.reads(&from))
            && !stay.list(None, 1).await?.is_empty()
        {
            let says = "`encrypt` names another key, or none, and some messages stay where they are, encrypted with the \
                        old one: keep that, or move the stores of data and of messages both";
            return Err(StoreError::Misconfigured(Cause::new(says)));
        }
        (self.sides, self.look) = (Some((from, to)), look);
        Ok(())
    }

    fn sides(&self) -> Result<&(Side, Side), StoreError> {
        self.sides.as_ref().ok_or_else(closed)
    }

    /// Whether blobs were moved out of a store of data that stays.
    fn leaves_copies(&self) -> bool {
        self.old.data == self.new.data && self.old.blob == self.old.data && self.new.blob != self.new.data
    }

    /// Those blobs of both sides that move.
    fn blobs(&self) -> Result<blobs::Sides, StoreError> {
        let (from, to) = self.sides()?;
        let own = |side: &Side| Arc::clone(side.far.as_ref().unwrap_or(&side.near));
        let (from, to, above) = match (self.old.data != self.new.data, self.old.blob == self.new.blob) {
            // Where the others stay where they are, only those beside the data move.
            (true, true) => (Arc::clone(&from.near), Arc::clone(&to.near), 0),
            (true, false) => (Arc::clone(&from.blobs), Arc::clone(&to.blobs), 0),
            // What lies beside the data goes where it belongs only if it is large enough.
            (false, _) if from.far.is_none() => (own(from), own(to), self.new.blobs.inline.0),
            (false, _) => (own(from), own(to), 0),
        };
        Ok(blobs::Sides { from, to, above })
    }

    /// Whether an earlier run moved all, and closed the old store, but was killed before it could say so. Then the move
    /// is ended.
    async fn is_moved(&self) -> Result<bool, StoreError> {
        let (from, to) = self.sides()?;
        let moved = migrate::moved_to(&*from.data).await?;
        if let Some(elsewhere) = moved.as_ref().filter(|to| **to != named(&self.new.data)) {
            let says = format!("the mail of the old store was moved to {elsewhere} already");
            return Err(StoreError::Misconfigured(Cause::new(says)));
        }
        if moved.is_none() || mark::is_empty(&*to.data, Part::Data).await? {
            return Ok(false);
        }
        for one in self.moves.iter().rev() {
            if let Kind::Keys(part) = one.kind
                && let Some(store) = to.keys(part)
            {
                mark::end(&**store, part).await?;
            }
        }
        Ok(true)
    }

    /// Measures what there is, and marks the new stores as half full.
    async fn begin(&mut self, say: &mut (dyn FnMut(&str) + Send)) -> Result<(), StoreError> {
        let (from, to) = self.sides()?;
        if mark::is_begun(&*from.data, Part::Data).await? {
            let says = "the old store itself is half full: a move into it is not finished";
            return Err(StoreError::Misconfigured(Cause::new(says)));
        }
        let sides = self.blobs()?;
        let whole = self.old.data != self.new.data;
        let apart = self.moves.iter().any(|one| matches!(one.kind, Kind::Blobs));
        if whole && !mark::is_begun(&*to.data, Part::Data).await? {
            blobs::must_be_empty(&*sides.to).await?;
        }
        // Where the server alone can write into the store of data, that blobs move cannot be noted there yet.
        let closed = self.look && free::is_alone(&self.old.data);
        if !whole && apart && closed && self.new.blob == self.new.data {
            let says = "messages go into the store of data, which only the server can write: move them with it stopped";
            return Err(StoreError::Misconfigured(Cause::new(says)));
        }
        let noted = !whole && apart && !closed;
        if noted {
            migrate::begin_blobs(&*from.data, &*sides.to, &self.new.blob).await?;
        }
        let mut filling = Vec::new();
        for Move { what, from: store, kind, .. } in &self.moves {
            let mut progress = Progress::of(what, "read");
            filling.push(match kind {
                Kind::Keys(part) => match (from.keys(*part), to.keys(*part)) {
                    (Some(old), Some(new)) => {
                        let outline = Outline::measure(Arc::clone(old), *part, &mut |done| progress.tell(done)).await?;
                        say(&format!("{what}: {}", words::keys(outline.amount)));
                        let begun = Filling::begin(Arc::clone(new), *part, &named(store)).await?;
                        Some((Arc::new(begun), outline))
                    }
                    _ => None,
                },
                Kind::Blobs => {
                    let listed = blobs::list(&sides.from, plan::SIZES_MOST).await?;
                    say(&format!("{what}: {}", words::blobs(&listed)));
                    None
                }
                Kind::Anew(says) => {
                    say(&format!("{what}: {says}"));
                    None
                }
            });
        }
        self.filling = filling;
        self.may_remove = whole || noted;
        Ok(())
    }

    /// One pass, begun again where what is looked into is not there any more; how many changes it made.
    async fn round(&mut self, round: Round, enough: &Enough) -> Result<Vec<Passed>, StoreError> {
        let mut failures = 0;
        loop {
            let mut came = false;
            match self.pass((round, enough), &mut came).await {
                Err(error @ (StoreError::Unavailable(_) | StoreError::Corrupt { .. })) if self.look => {
                    failures = if came && round == Round::First { 1 } else { failures + 1 };
                    if failures > VIEWS {
                        return Err(error);
                    }
                    warn!(%error, "a pass beside the server was cut short; it is begun again");
                    tokio::time::sleep(VIEW_PAUSE).await;
                }
                passed => return passed,
            }
        }
    }

    /// Moves each part once; `came` becomes true when anything was done.
    async fn pass(&mut self, (round, enough): (Round, &Enough), came: &mut bool) -> Result<Vec<Passed>, StoreError> {
        if self.look {
            self.open(true).await?;
        }
        let sides = self.blobs()?;
        let (from, to) = self.sides.as_ref().ok_or_else(closed)?;
        let last = round == Round::Last;
        let mut all = Vec::new();
        for (one, filling) in self.moves.iter().zip(&mut self.filling) {
            let done = if round == Round::First { "copied" } else { "compared" };
            let mut progress = Progress::of(one.what, done);
            let mut tell = |done| {
                *came = true;
                progress.tell(done);
            };
            all.push(match (&one.kind, filling) {
                (Kind::Keys(part), Some((filling, outline))) => {
                    let old = from.keys(*part).ok_or_else(closed)?;
                    match round {
                        Round::First => keys::copy(old, filling, &mut tell).await.map(|()| Passed::default())?,
                        _ => outline.pass((old, filling), (last, enough), &mut tell).await?,
                    }
                }
                (Kind::Blobs, _) => {
                    let how = match round {
                        Round::First => How::First,
                        Round::Again => How::Again,
                        Round::Last => How::Last(self.may_remove.then(|| Arc::clone(&to.data))),
                    };
                    blobs::pass(&sides, (how, enough), &mut tell).await?
                }
                _ => Passed::default(),
            });
        }
        Ok(all)
    }

    /// The last pass, and what both sides hold after it.
    async fn last(&mut self, say: &mut (dyn FnMut(&str) + Send)) -> Result<(), StoreError> {
        let passed = self.round(Round::Last, &Enough::default()).await?;
        for (one, passed) in self.moves.iter().zip(passed) {
            let what = match one.kind {
                Kind::Keys(_) => words::keys(passed.amount),
                Kind::Blobs => format!("{} blobs", words::count(passed.amount.items)),
                Kind::Anew(_) => continue,
            };
            say(&format!("{}: {what} alike on both sides, sum of their SHA-256 {}", one.what, passed.sum));
        }
        Ok(())
    }

    /// Waits until the server is down; meanwhile what it goes on writing is taken over now and then.
    async fn wait(&mut self, most: Duration) -> Result<Free, StartError> {
        let until = clock::instant() + most;
        let mut free = tokio::spawn(free::wait(Arc::clone(&self.registries.0), self.old.clone(), until));
        let free = loop {
            tokio::select! {
                free = &mut free => break free,
                () = tokio::time::sleep(CAUGHT_UP_EVERY) => {}
            }
            let enough = Enough::default();
            let mut round = std::pin::pin!(self.round(Round::Again, &enough));
            tokio::select! {
                passed = &mut round => drop(passed?),
                free = &mut free => {
                    enough.store(true, Ordering::Relaxed);
                    // What it did not come to the last pass does.
                    if let Err(error) = round.await {
                        info!(%error, "the pass was not ended");
                    }
                    break free;
                }
            }
        };
        free.map_err(|gone| StoreError::Unavailable(Cause::new(gone)))?
    }

    /// Where all was moved, a server takes the new stores from here on and none takes the old one; else the old ones are
    /// let go as they are. A run that is killed between the two steps leaves neither to be used, until another run ends
    /// the move.
    async fn end(&self, taken: Taken, moved: Result<(), StoreError>) -> Result<(), StoreError> {
        if let Err(error) = moved {
            if let Err(error) = taken.release().await {
                warn!(%error, "a server that is started on the old stores may wait for some seconds");
            }
            return Err(error);
        }
        if self.old.data != self.new.data {
            taken.close(&self.new.data).await?;
        } else if self.old.blob != self.new.blob {
            taken.turn(&self.new.blob).await?;
        } else {
            taken.release().await?;
        }
        // That of data last: it is what a server looks at.
        for (filling, _) in self.filling.iter().rev().flatten() {
            filling.finish().await?;
        }
        Ok(())
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable(Cause::new("the stores are not open"))
}

/// What a move says on its way.
struct Progress {
    what: &'static str,
    how: &'static str,
    began: Instant,
    told: Instant,
}

impl Progress {
    fn of(what: &'static str, how: &'static str) -> Progress {
        Progress { what, how, began: clock::instant(), told: clock::instant() }
    }

    fn tell(&mut self, done: Amount) {
        let now = clock::instant();
        if now - self.told < TOLD_EVERY {
            return;
        }
        self.told = now;
        let rate = words::octets(done.octets / (now - self.began).as_secs().max(1));
        info!("{}: {} of {} {}, {rate}/s", self.what, words::count(done.items), words::octets(done.octets), self.how);
    }
}
