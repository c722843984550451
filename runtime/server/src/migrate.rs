//! `waybilld migrate`: moves what one configuration's stores hold into another's.

use crate::clock;
use crate::run::StartError;
use crate::secrets::Secrets;
use crate::watch::{self, Source};
use schema::config::{self, Storage, Store};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::error::{Cause, StoreError};
use store::kv::KeyValue;
use store::migrate::{self, Amount, Part, Side};
use store::open::{Ground, Registry};

/// How often it is said how far a move is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// What to move.
pub struct Order {
    /// The configuration that mail is served with now, and where its relative paths and secrets start.
    pub from: (Source, PathBuf),
    /// The configuration that it is to be served with.
    pub to: (Source, PathBuf),
    /// What opens secrets.
    pub secrets: Secrets,
    /// Say what would be moved, and no more.
    pub plan: bool,
    /// Take back that the old store was moved.
    pub reopen: bool,
}

/// A store that changes.
struct Move {
    what: &'static str,
    from: Store,
    to: Store,
    part: Option<Part>,
}

/// Moves, verifies and closes the old store.
///
/// # Errors
/// [`StartError`]: a configuration, a store, or what was found different at the end.
pub async fn migrate(order: Order) -> Result<(), StartError> {
    let old = storage(&order.from.0).await?;
    let from = registry(order.from.1, &order.secrets);
    if order.reopen {
        migrate::reopen(&*from.side(&old).await?.data).await?;
        println!("the store of data may be used again: {} {}", old.data.kind(), old.data.place());
        return Ok(());
    }
    let new = storage(&order.to.0).await?;
    let to = registry(order.to.1, &order.secrets);
    let moves = moves(&old, &new);
    if moves.is_empty() {
        println!("nothing moves: both configurations keep everything in the same stores");
        return Ok(());
    }
    for one in &moves {
        println!("{}: from {} {} to {} {}", one.what, one.from.kind(), one.from.place(), one.to.kind(), one.to.place());
    }
    let (from, to) = (from.side(&old).await?, to.side(&new).await?);
    // A store that one process alone can open is in no other's use.
    let alone = matches!(old.data, Store::Rocksdb { .. } | Store::Memory { .. });
    if !alone && migrate::is_in_use(&*from.data).await? {
        return Err(busy("a server works with the old store of data; stop it first").into());
    }
    for one in &moves {
        match one.part.map(|part| (part, side(&from, part))) {
            Some((part, Some(store))) => told(one.what, "to move", migrate::measure(&*store, part).await?),
            Some((_, None)) => {}
            None => println!("{}: every blob that the old store lists", one.what),
        }
    }
    if order.plan {
        return Ok(());
    }
    for one in &moves {
        carry(one, &from, &to).await?;
    }
    for one in &moves {
        verify(one, &from, &to).await?;
    }
    // From here on a server takes the new store and none takes the old one.
    if old.data != new.data {
        migrate::close(&*from.data, &format!("{} {}", new.data.kind(), new.data.place())).await?;
    }
    // That of data last: it is what a server looks at.
    for one in moves.iter().rev() {
        if let Some((part, store)) = one.part.and_then(|part| Some((part, side(&to, part)?))) {
            migrate::finish(&*store, &[part]).await?;
        }
    }
    println!("moved; start waybilld with the new configuration");
    Ok(())
}

async fn storage(source: &Source) -> Result<Storage, StartError> {
    if let Source::Spec { compiler, .. } = source {
        watch::check_compiler(compiler).await.map_err(StartError::Compiler)?;
    }
    let bytes = source.read().await.map_err(|refused| StartError::Refused(refused.summary))?;
    let config = config::decode(&bytes).map_err(|error| StartError::Refused(error.to_string()))?;
    Ok(config.storage)
}

fn registry(root: PathBuf, secrets: &Secrets) -> Registry {
    let reveal = secrets.at(root.clone()).revealing();
    Registry::new(Ground { root, clock: Arc::new(clock::milliseconds), reveal })
}

/// The stores that differ. Counters that begin anew elsewhere are not worth a word: their stores forget by themselves.
fn moves(old: &Storage, new: &Storage) -> Vec<Move> {
    let parts = [
        ("data", &old.data, &new.data, Some(Part::Data)),
        ("blob", &old.blob, &new.blob, None),
        ("search", &old.search, &new.search, Some(Part::Search)),
        ("lookup", &old.lookup, &new.lookup, Some(Part::Lookup)),
    ];
    // Some blobs lie beside the data, wherever the others do.
    let blobs_move = old.data != new.data;
    let differ = parts.into_iter().filter(|(what, from, to, _)| from != to || *what == "blob" && blobs_move);
    differ.map(|(what, from, to, part)| Move { what, from: from.clone(), to: to.clone(), part }).collect()
}

fn side(side: &Side, part: Part) -> Option<Arc<dyn KeyValue>> {
    match part {
        Part::Data => Some(Arc::clone(&side.data)),
        Part::Search => side.search.clone(),
        Part::Lookup => side.lookup.clone(),
    }
}

async fn carry(one: &Move, from: &Side, to: &Side) -> Result<(), StoreError> {
    let mut progress = Progress { what: one.what, began: clock::instant(), told: clock::instant() };
    let source = format!("{} {}", one.from.kind(), one.from.place());
    let mut tell = |amount| progress.tell("copied", amount);
    let Some(part) = one.part else {
        return migrate::copy_blobs(&*from.blobs, &*to.blobs, &mut tell).await;
    };
    match (side(from, part), side(to, part)) {
        (Some(old), Some(new)) => match migrate::copy((&*old, &*new), part, &source, &mut tell).await {
            // An earlier run was cut off after the last batch of this part: what is there is what would be copied.
            Err(StoreError::Misconfigured(_)) if migrate::verify(&*old, &*new, part).await.is_ok() => Ok(()),
            copied => copied,
        },
        (_, _) if part == Part::Search => {
            println!("search: the index is made anew by `waybilld reindex`");
            Ok(())
        }
        _ => {
            println!("{}: counters and short-lived facts begin anew", one.what);
            Ok(())
        }
    }
}

async fn verify(one: &Move, from: &Side, to: &Side) -> Result<(), StoreError> {
    let mut progress = Progress { what: one.what, began: clock::instant(), told: clock::instant() };
    let mut tell = |amount| progress.tell("verified", amount);
    let verified = match one.part {
        None => migrate::verify_blobs(&*from.blobs, &*to.blobs, &mut tell).await?,
        Some(part) => match (side(from, part), side(to, part)) {
            (Some(old), Some(new)) => migrate::verify(&*old, &*new, part).await?,
            _ => return Ok(()),
        },
    };
    told(one.what, "alike on both sides", verified.amount);
    println!("{}: SHA-256 {}", one.what, verified.digest);
    Ok(())
}

fn told(what: &str, how: &str, amount: Amount) {
    println!("{what}: {} entries of {} octets {how}", amount.items, amount.octets);
}

fn busy(says: &str) -> StoreError {
    StoreError::Misconfigured(Cause::new(says))
}

/// What a move says on its way.
struct Progress {
    what: &'static str,
    began: Instant,
    told: Instant,
}

impl Progress {
    fn tell(&mut self, how: &str, amount: Amount) {
        let now = clock::instant();
        if now - self.told < TOLD_EVERY {
            return;
        }
        self.told = now;
        let rate = amount.octets / (now - self.began).as_secs().max(1) / 1024;
        eprintln!("{}: {} entries, {} octets {how}, {rate} KiB/s", self.what, amount.items, amount.octets);
    }
}
