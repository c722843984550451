//! What a move would be: how much there is, and about how long it takes, by a sample of both stores' speed.

use super::free::is_alone;
use super::{Kind, Move, Progress, Work, words};
use crate::clock;
use crate::run::StartError;
use std::sync::Arc;
use std::time::Duration;
use store::error::StoreError;
use store::migrate::keys::{self, Outline};
use store::migrate::{Side, blobs};

/// Of so many blobs the size is asked for; that of all others follows.
pub const SIZES_MOST: usize = 10_000;

/// How long something takes: all of it, and what of that the server must be down for in an online move.
#[derive(Clone, Copy, Default)]
struct Takes {
    whole: Duration,
    last: Duration,
}

impl Work {
    /// Says what there is to move. Nothing is, but a sample is written into the new stores, and taken away again.
    pub(super) async fn plan(&mut self, say: &mut (dyn FnMut(&str) + Send)) -> Result<(), StartError> {
        // Messages that go into the store of data are no sample where that cannot be written.
        let within = self.old.data == self.new.data && self.new.blob == self.new.data && self.old.blob != self.new.blob;
        self.open(!(within && is_alone(&self.old.data))).await?;
        let mut all = Takes::default();
        for one in &self.moves {
            let takes = match &one.kind {
                Kind::Anew(says) => {
                    say(&format!("{}: {says}", one.what));
                    continue;
                }
                Kind::Keys(_) => keys_of(one, self.sides()?, say).await?,
                Kind::Blobs => self.blobs_of(one, say).await?,
            };
            all.whole += takes.whole;
            all.last += takes.last;
        }
        let (whole, last) = (words::lasting(all.whole), words::lasting(all.last));
        say(&format!("in all it takes {whole}; with --online the server is down for {last} of it"));
        Ok(())
    }

    async fn blobs_of(&self, one: &Move, say: &mut (dyn FnMut(&str) + Send)) -> Result<Takes, StoreError> {
        let sides = self.blobs()?;
        let began = clock::instant();
        let listed = blobs::list(&sides.from, SIZES_MOST).await?;
        let listing = clock::instant() - began;
        let began = clock::instant();
        let octets = blobs::sample(&sides, &listed).await?;
        let takes = scaled(clock::instant() - began, (octets, listed.octets()));
        let amount = words::blobs(&listed);
        let rate = words::rate(octets, clock::instant() - began);
        let (from, to) = (one.from.kind(), one.to.kind());
        say(&format!("{}: {amount}, from {from} to {to} at {rate}: {}", one.what, words::lasting(takes)));
        Ok(Takes { whole: takes + 2 * listing, last: listing })
    }
}

async fn keys_of(
    one: &Move,
    (from, to): &(Side, Side),
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Takes, StoreError> {
    let Kind::Keys(part) = one.kind else { return Ok(Takes::default()) };
    let (Some(old), Some(new)) = (from.keys(part), to.keys(part)) else { return Ok(Takes::default()) };
    let mut progress = Progress::of(one.what, "read");
    let began = clock::instant();
    let amount = Outline::measure(Arc::clone(old), part, &mut |done| progress.tell(done)).await?.amount;
    let read = clock::instant() - began;
    let size = amount.octets.checked_div(amount.items).and_then(|size| usize::try_from(size).ok()).unwrap_or(1);
    let began = clock::instant();
    let written = keys::sample(&**new, size).await;
    let writing = clock::instant() - began;
    keys::unsample(&**new).await?;
    let written = written?;
    let write = scaled(writing, (written, amount.octets));
    let (read_rate, write_rate) = (words::rate(amount.octets, read), words::rate(written, writing));
    // Read once to be measured, once to be copied, once to be compared, on both sides then.
    let takes = Takes { whole: 4 * read + write, last: read };
    let what = words::keys(amount);
    say(&format!(
        "{}: {what}, from {} at {read_rate} to {} at {write_rate}: {}",
        one.what,
        one.from.kind(),
        one.to.kind(),
        words::lasting(takes.whole)
    ));
    Ok(takes)
}

/// How long all takes where a part of it took so long.
fn scaled(time: Duration, (part, all): (u64, u64)) -> Duration {
    let nanoseconds = time.as_nanos() * u128::from(all);
    nanoseconds
        .checked_div(u128::from(part))
        .and_then(|time| u64::try_from(time).ok())
        .map_or(time, Duration::from_nanos)
}
