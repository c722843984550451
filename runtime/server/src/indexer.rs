//! The full-text index follows the mailboxes, behind delivery; and is made anew by `waybilld reindex`.

use crate::aside::Aside;
use crate::clock;
use crate::run::StartError;
use crate::server::Server;
use futures_util::stream::{self, StreamExt};
use schema::name::Address;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::error::StoreError;
use store::open::{Registry, Stores};
use store::search::indexer::{Indexer, Step};
use tracing::{debug, warn};

/// How often it is looked what there is to index.
const EVERY: Duration = Duration::from_secs(1);
/// How long nothing is tried after an error.
const AFTER_ERROR: Duration = Duration::from_secs(10);
/// The lease that keeps other servers from the same work; doing it twice would be a waste, and no harm.
const LEASE: &str = "full-text index";
/// How long the lease lives.
const LIVES: Duration = Duration::from_secs(60);
/// How long one turn begins further steps, each of which has a few hundred messages at most; far below [`LIVES`].
const TURN: Duration = Duration::from_secs(10);
/// Steps of one account in a turn, so that one that gets mail all the time does not keep the others waiting.
const STEPS: usize = 8;
/// The name that `reindex` opens the stores by; it works no queue.
const NODE: &str = "reindex";
/// Accounts that are looked up at once.
const ACCOUNTS: usize = 100;
/// Accounts that are indexed at once: most of a small step is waiting for the stores.
const ACCOUNTS_AT_ONCE: usize = 2;

/// What is known from one turn to the next.
#[derive(Default)]
struct Known {
    /// The index that was begun.
    begun: Option<Arc<Indexer>>,
    /// The account that was worked on last.
    last: Option<Address>,
}

/// Indexes until the server stops.
pub async fn run(server: Arc<Server>) {
    let mut stopping = server.stopping.subscribe();
    let mut known = Known::default();
    let mut wait = EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopping.changed() => return,
        }
        let stores = server.live.now().stores.clone();
        let worked = tokio::select! {
            worked = turn(&server, &stores, &mut known) => worked,
            _ = stopping.changed() => return,
        };
        wait = match worked {
            Ok(true) => Duration::ZERO,
            Ok(false) => EVERY,
            Err(error) => {
                warn!(%error, "messages cannot be indexed now; searches look at them");
                AFTER_ERROR
            }
        };
    }
}

/// Indexes for a while; whether there may be more to do.
async fn turn(server: &Server, stores: &Stores, known: &mut Known) -> Result<bool, StoreError> {
    // A reload may bring another index.
    if known.begun.as_ref().is_none_or(|begun| !Arc::ptr_eq(begun, &stores.indexer)) {
        stores.indexer.begin().await?;
        known.begun = Some(Arc::clone(&stores.indexer));
    }
    let waiting = stores.indexer.waiting(known.last.as_ref(), ACCOUNTS).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let Some(lease) = stores.lookups.lease(LEASE, LIVES).await? else { return Ok(false) };
    let until = clock::instant() + TURN;
    let mut worked = stream::iter(waiting.into_iter().map(|account| steps_of(server, stores, account, until)))
        .buffer_unordered(ACCOUNTS_AT_ONCE);
    let mut failed = None;
    while let Some((account, worked)) = worked.next().await {
        if let Ok(0) = worked {
            continue;
        }
        known.last = Some(account);
        // One account's trouble does not keep the others waiting, unless it is the store's.
        if let Err(error) = worked {
            let of_one = matches!(error, StoreError::Corrupt { .. });
            failed = Some(error);
            if !of_one {
                break;
            }
        }
    }
    drop(worked);
    stores.lookups.release(lease).await?;
    failed.map_or(Ok(true), Err)
}

/// Works on an account until it is done or the turn is over; tells in how many steps.
async fn steps_of(
    server: &Server,
    stores: &Stores,
    account: Address,
    until: Instant,
) -> (Address, Result<usize, StoreError>) {
    // What a reload put aside needs no more messages.
    let is_used = || Arc::ptr_eq(&server.live.now().stores.indexer, &stores.indexer);
    let mut steps = 0;
    while steps < STEPS && clock::instant() < until && is_used() {
        steps += 1;
        match stores.indexer.step(&account).await {
            Ok(Step::Did(messages)) => {
                debug!(%account, messages, "indexed");
                server.metrics.indexed.add(messages as u64);
            }
            Ok(Step::Done) => break,
            Err(error) => return (account, Err(error)),
        }
    }
    (account, Ok(steps))
}

/// Makes the full-text index of an account, or of all, anew and says how far it is. A server may run meanwhile where the
/// stores can be shared; RocksDB cannot, and is refused while a server has it.
///
/// # Errors
/// [`StartError`], as when serving.
pub async fn again(aside: Aside, account: Option<&Address>, mut say: impl FnMut(&str)) -> Result<(), StartError> {
    let config = aside.configuration().await?;
    let registry = Registry::new(aside.ground());
    let stores = registry.open(&config.storage, NODE).await?;
    stores.indexer.begin().await?;
    stores.indexer.again(account).await?;
    let mut all = 0;
    loop {
        let waiting = match account {
            Some(account) => vec![account.clone()],
            None => stores.indexer.waiting(None, ACCOUNTS).await?,
        };
        if waiting.is_empty() {
            break;
        }
        for account in waiting {
            let mut own = 0;
            while let Step::Did(messages) = stores.indexer.step(&account).await? {
                own += messages;
                all += messages;
                if messages > 0 {
                    say(&format!("{account}: {own} messages"));
                }
            }
        }
        if account.is_some() {
            break;
        }
    }
    stores.spool.leave().await?;
    say(&format!("done: {all} messages"));
    Ok(())
}
