//! The only file that reads the clock. Everything else takes time as an argument.
#![allow(clippy::disallowed_methods, reason = "this is the place")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970, UTC.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Nanoseconds since 1970, for what must be unique rather than right.
pub fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// A moment on the monotonic clock.
pub fn instant() -> Instant {
    Instant::now()
}

/// Days since 1970, for what is stamped with a day.
pub fn day() -> u32 {
    u32::try_from(now() / 86_400).unwrap_or(0)
}

/// Milliseconds since 1970 (UTC).
#[allow(clippy::cast_possible_truncation, reason = "good for 292 million years")]
pub fn milliseconds() -> i64 {
    (nanoseconds() / 1_000_000) as i64
}
