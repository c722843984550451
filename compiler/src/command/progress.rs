//! How far a long run is, with its rate and the time that is left: a bar at a terminal, a line from time to time in a log.

use super::now;
use compiler::apply::Counts;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(200);
/// How often a log has a line, in seconds.
const LINE: i64 = 30;

/// Runs work to its end, and shows meanwhile how far it is.
pub fn watched<T>(runtime: &Runtime, (counts, done): (&Counts, &str), work: impl Future<Output = T>) -> T {
    let bar = bar(done);
    let began = now();
    let mut line = began + LINE;
    let ended = runtime.block_on(async {
        let mut work = pin!(work);
        loop {
            if let Ok(ended) = timeout(TICK, work.as_mut()).await {
                return ended;
            }
            let (at, all) = counts.now();
            bar.set_length(all as u64);
            bar.set_position(at as u64);
            if bar.is_hidden() && now() >= line && at > 0 {
                line = now() + LINE;
                let took = (now() - began).max(1);
                let left = (all - at.min(all)) as f64 * took as f64 / at as f64;
                let rate = at as f64 / took as f64;
                // A log that cannot be written to is no reason to stop.
                let _ =
                    writeln!(io::stderr(), "{done} {at} of {all} zones, {rate:.1} a second, about {left:.0} s left");
            }
        }
    });
    bar.finish_and_clear();
    ended
}

fn bar(done: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {pos} of {len} zones {wide_bar} {per_sec}, {eta} left");
    let bar = ProgressBar::new(0).with_message(done.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
