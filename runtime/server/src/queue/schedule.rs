//! When to try again, when to tell the sender, when to give up. Pure: a simulated week takes milliseconds.

use schema::config;

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Try again at this time; tell the sender that the message is late where asked for.
    At {
        /// When, in seconds since 1970.
        due: i64,
        /// Whether it is time to tell the sender.
        tell: bool,
    },
    /// Give it up.
    GiveUp,
}

/// What follows the failed attempt number `tried` (the first is 1) of a message that came at `arrived`.
///
/// Each wait is twice the last one, from `retry` to `retry_most`, give or take a tenth, so that what failed
/// together is not tried together: `jitter` is any number. The last attempt comes when the message expires.
pub fn after(tried: u32, (arrived, now): (i64, i64), told: bool, config: &config::Queue, jitter: u64) -> Retry {
    let seconds = |period: &schema::unit::Period| i64::try_from(period.duration().as_secs()).unwrap_or(i64::MAX);
    let expires = arrived.saturating_add(seconds(&config.expire));
    if now >= expires {
        return Retry::GiveUp;
    }
    let doubled = seconds(&config.retry).max(1).saturating_mul(1_i64 << tried.saturating_sub(1).min(30));
    let wait = doubled.min(seconds(&config.retry_most).max(1));
    let tenth = wait / 10;
    // At most a fifth of a wait, which fits.
    let spread = i64::try_from(jitter % (2 * tenth.unsigned_abs() + 1)).unwrap_or(0);
    let due = now.saturating_add((wait - tenth).saturating_add(spread).max(1)).min(expires);
    Retry::At { due, tell: !told && now >= arrived.saturating_add(seconds(&config.notify)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config() -> config::Queue {
        let period = |text: &str| text.parse().unwrap();
        config::Queue { retry: period("5m"), retry_most: period("4h"), notify: period("4h"), expire: period("5d") }
    }

    #[test]
    fn a_week_of_failures_backs_off_tells_once_and_gives_up() {
        let (mut now, mut tried, mut told, mut waits) = (1_000_000, 0, 0, Vec::new());
        let arrived = now;
        loop {
            tried += 1;
            match after(tried, (arrived, now), told > 0, &config(), u64::from(tried) * 7919) {
                Retry::At { due, tell } => {
                    assert!(due > now);
                    told += u32::from(tell);
                    waits.push(due - now);
                    now = due;
                }
                Retry::GiveUp => break,
            }
            assert!(tried < 1000);
        }
        assert_eq!(told, 1);
        assert_eq!(now, arrived + 5 * 86_400);
        assert!((270..=330).contains(&waits[0]), "{waits:?}");
        assert!(waits.windows(2).take(5).all(|pair| pair[1] > pair[0]), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= 4 * 3600 * 11 / 10));
        assert!((30..60).contains(&tried), "{tried}");
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        for jitter in 0..10_000 {
            match after(1, (0, 0), false, &config(), jitter) {
                Retry::At { due, .. } => assert!((270..=330).contains(&due)),
                Retry::GiveUp => panic!("gave up at once"),
            }
        }
    }
}
