//! A checksum that does not depend on the order in which it is made.

use aws_lc_rs::digest::{self, SHA256};
use bytes::Bytes;
use std::fmt;

use crate::kv::Key;

/// The sum, modulo 2²⁵⁶, of the SHA-256 of every entry: ranges may be read in any order, and at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum([u64; 4]);

impl Sum {
    /// Adds a digest.
    pub(super) fn digest(&mut self, digest: &[u8]) {
        let mut other = [0; 4];
        for (number, octets) in other.iter_mut().zip(digest.chunks(8)) {
            *number = octets.try_into().map_or(0, u64::from_be_bytes);
        }
        self.add(Sum(other));
    }

    /// Adds an entry.
    pub(super) fn entry(&mut self, (key, value): &(Key, Bytes)) {
        let mut hash = digest::Context::new(&SHA256);
        hash.update(&(key.0.len() as u64).to_be_bytes());
        hash.update(&key.0);
        hash.update(value);
        self.digest(hash.finish().as_ref());
    }

    /// Adds what another stands for.
    pub(super) fn add(&mut self, other: Sum) {
        let mut carry = false;
        for (number, more) in self.0.iter_mut().zip(other.0).rev() {
            let (sum, over) = number.overflowing_add(more);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            (*number, carry) = (sum, over || again);
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|number| write!(f, "{number:016x}"))
    }
}
