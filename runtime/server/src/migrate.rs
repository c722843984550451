//! `waybilld migrate`: moves what one configuration's stores hold into another's.

use crate::aside::Aside;
use crate::clock;
use crate::run::StartError;
use schema::config::{Storage, Store};
use std::time::{Duration, Instant};
use store::error::{Cause, StoreError};
use store::migrate::{self, Amount, Part, Side, Verified};
use store::open::Registry;
use tracing::info;

/// How often it is said how far a move is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// A part whose store changes.
struct Move {
    what: &'static str,
    from: Store,
    to: Store,
    how: How,
}

/// How a part moves.
enum How {
    /// Key by key.
    Keys(Part),
    /// Blob by blob.
    Blobs,
    /// The server makes it anew.
    Anew(&'static str),
}

/// Moves what `from` keeps into the stores of `to`, verifies it and closes the old store of data. With `plan` it is only
/// said what there is to move. `say` hears each line for people; how far it is goes to the log.
///
/// # Errors
/// [`StartError`]: a configuration, a store, or what was found different at the end.
pub async fn migrate(from: Aside, to: Aside, plan: bool, say: &mut dyn FnMut(&str)) -> Result<(), StartError> {
    let (old, new) = (from.storage().await?, to.storage().await?);
    let moves = moves(&old, &new);
    if moves.is_empty() {
        say("nothing moves: both configurations keep everything in the same stores");
        return Ok(());
    }
    for Move { what, from, to, .. } in &moves {
        say(&format!("{what}: from {} {} to {} {}", from.kind(), from.place(), to.kind(), to.place()));
    }
    let (from, to) = (Registry::new(from.ground()).side(&old).await?, Registry::new(to.ground()).side(&new).await?);
    // A store that one process alone can open is in no other's use.
    let alone = matches!(old.data, Store::Rocksdb { .. } | Store::Memory { .. });
    if !alone && migrate::is_in_use(&*from.data).await? {
        let says = "a server works with the old store of data; stop it first";
        return Err(StoreError::Misconfigured(Cause::new(says)).into());
    }
    for one in &moves {
        let amount = match one.how {
            How::Keys(part) => match from.keys(part) {
                Some(store) => amount(migrate::measure(&**store, part).await?),
                None => continue,
            },
            How::Blobs => "every blob that the old store lists".to_owned(),
            How::Anew(says) => says.to_owned(),
        };
        say(&format!("{}: {amount}", one.what));
    }
    if plan {
        return Ok(());
    }
    for one in &moves {
        carry(one, &from, &to).await?;
    }
    for one in &moves {
        if let Some(Verified { amount: alike, digest }) = verify(one, &from, &to).await? {
            say(&format!("{}: {} alike on both sides, SHA-256 {digest}", one.what, amount(alike)));
        }
    }
    // From here on a server takes the new store and none takes the old one.
    if old.data != new.data {
        migrate::close(&*from.data, &format!("{} {}", new.data.kind(), new.data.place())).await?;
    }
    // That of data last: it is what a server looks at.
    for one in moves.iter().rev() {
        if let How::Keys(part) = one.how
            && let Some(store) = to.keys(part)
        {
            migrate::finish(&**store, part).await?;
        }
    }
    say("moved; start waybilld with the new configuration");
    Ok(())
}

/// Takes back that a configuration's store of data was moved elsewhere.
///
/// # Errors
/// [`StartError`]: the configuration or the store.
pub async fn reopen(from: Aside, say: &mut dyn FnMut(&str)) -> Result<(), StartError> {
    let old = from.storage().await?;
    migrate::reopen(&*Registry::new(from.ground()).side(&old).await?.data).await?;
    say(&format!("the store of data may be used again: {} {}", old.data.kind(), old.data.place()));
    Ok(())
}

/// What moves. The order is that in which it does: data first, which is marked as half full from its first batch on.
fn moves(old: &Storage, new: &Storage) -> Vec<Move> {
    let data = old.data != new.data;
    let is_keys = |store: &Store| !matches!(store, Store::Redis(_));
    let lookup = match is_keys(&old.lookup) && is_keys(&new.lookup) {
        true => How::Keys(Part::Lookup),
        false => How::Anew("counters and short-lived facts begin anew"),
    };
    let anew = "the index is made anew behind the new server's delivery; searches look at messages until it has them";
    let search = old.search != new.search;
    let moves = [
        (data, "data", (&old.data, &new.data), How::Keys(Part::Data)),
        // Some blobs lie beside the data, wherever the others do.
        (data || old.blob != new.blob, "blob", (&old.blob, &new.blob), How::Blobs),
        (search, "search", (&old.search, &new.search), How::Anew(anew)),
        (data && !search, "the index's places", (&old.data, &new.data), How::Keys(Part::Places)),
        (old.lookup != new.lookup, "lookup", (&old.lookup, &new.lookup), lookup),
    ];
    let moves = moves.into_iter().filter(|(moves, ..)| *moves);
    moves.map(|(_, what, (from, to), how)| Move { what, from: from.clone(), to: to.clone(), how }).collect()
}

async fn carry(one: &Move, from: &Side, to: &Side) -> Result<(), StoreError> {
    let mut progress = Progress { what: one.what, how: "copied", began: clock::instant(), told: clock::instant() };
    let part = match one.how {
        How::Keys(part) => part,
        How::Blobs => {
            return migrate::copy_blobs(&*from.blobs, &*to.blobs, &mut |done| progress.tell(done)).await;
        }
        How::Anew(_) => return Ok(()),
    };
    let (Some(old), Some(new)) = (from.keys(part), to.keys(part)) else { return Ok(()) };
    let source = format!("{} {}", one.from.kind(), one.from.place());
    match migrate::copy((&**old, &**new), part, &source, &mut |done| progress.tell(done)).await {
        // An earlier run was cut off after the last batch of this part: what is there is what would be copied.
        Err(StoreError::Misconfigured(_)) if migrate::verify(&**old, &**new, part).await.is_ok() => Ok(()),
        copied => copied,
    }
}

async fn verify(one: &Move, from: &Side, to: &Side) -> Result<Option<Verified>, StoreError> {
    let mut progress = Progress { what: one.what, how: "verified", began: clock::instant(), told: clock::instant() };
    match one.how {
        How::Keys(part) => match (from.keys(part), to.keys(part)) {
            (Some(old), Some(new)) => migrate::verify(&**old, &**new, part).await.map(Some),
            _ => Ok(None),
        },
        How::Blobs => {
            let mut tell = |done| progress.tell(done);
            migrate::verify_blobs(&*from.blobs, &*to.blobs, &mut tell).await.map(Some)
        }
        How::Anew(_) => Ok(None),
    }
}

fn amount(amount: Amount) -> String {
    format!("{} entries of {} octets", amount.items, amount.octets)
}

/// What a move says on its way.
struct Progress {
    what: &'static str,
    how: &'static str,
    began: Instant,
    told: Instant,
}

impl Progress {
    fn tell(&mut self, done: Amount) {
        let now = clock::instant();
        if now - self.told < TOLD_EVERY {
            return;
        }
        self.told = now;
        let rate = done.octets / (now - self.began).as_secs().max(1) / 1024;
        info!("{}: {} {}, {rate} KiB/s", self.what, amount(done), self.how);
    }
}
