//! How much mail there is, as `waybilld counts` prints it: what `waybill diff --state FILE` reads.
//!
//! ```json
//! { "accounts": { "ada@example.org": { "messages": 1200, "octets": 345 } } }
//! ```

use schema::name::Address;
use serde::Deserialize;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::Path;

/// The largest file of counts, in octets.
pub const STATE_MOST: u64 = 64 << 20;

/// What every mailbox holds.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Counts {
    /// By the account's address.
    pub accounts: HashMap<Address, Mailbox>,
}

/// What a mailbox holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Mailbox {
    /// Messages.
    pub messages: u64,
    /// Octets.
    pub octets: u64,
}

/// Why counts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system says no.
    #[error("cannot be read: {0}")]
    System(#[from] std::io::Error),
    /// It is larger than [`STATE_MOST`].
    #[error("is larger than {STATE_MOST} octets")]
    Large,
    /// It is not of this form.
    #[error("does not have the form {{\"accounts\": {{\"ADDRESS\": {{\"messages\": N, \"octets\": N}}}}}}: {0}")]
    Form(#[from] serde_json::Error),
}

impl Counts {
    /// Reads a file of counts.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn read(path: &Path) -> Result<Counts, StateError> {
        if !fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("is not a file").into());
        }
        let mut octets = Vec::new();
        fs::File::open(path)?.take(STATE_MOST + 1).read_to_end(&mut octets)?;
        if octets.len() as u64 > STATE_MOST {
            return Err(StateError::Large);
        }
        Ok(serde_json::from_slice(&octets)?)
    }
}

/// A number as people read it: `1,200`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Octets as people read them: `3.4 MB`.
pub fn octets(number: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    match UNITS.iter().find(|(_, factor)| number >= *factor) {
        Some((name, factor)) => format!("{}.{} {name}", number / factor, number % factor * 10 / factor),
        None => format!("{number} octets"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([grouped(0), grouped(999), grouped(1200), grouped(1_234_567)], ["0", "999", "1,200", "1,234,567"]);
        assert_eq!([octets(345), octets(3_456_789)], ["345 octets", "3.4 MB"]);
    }
}
