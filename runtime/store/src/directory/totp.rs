//! Codes of six digits that change every half minute (RFC 6238), as authenticator programs show them.

use aws_lc_rs::{constant_time, hmac};
use std::fmt::Write;

/// Octets of a secret (RFC 4226 §4, R6).
pub const SECRET_LENGTH: usize = 20;
/// How long a code stands, in milliseconds (RFC 6238 §5.2).
const STEP: i64 = 30_000;
/// Digits of a code, as every program has them.
const DIGITS: u32 = 6;
/// Steps that two clocks may be apart, either way (RFC 6238 §5.2).
const DRIFT: u64 = 1;

/// The code of a step (RFC 4226 §5.3). SHA-1, since many programs know nothing else and pass over what the URI says.
fn code(secret: &[u8], step: u64, digits: u32) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let at = usize::from(tag.as_ref().last().copied().unwrap_or(0) & 15);
    let four = tag.as_ref().get(at..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
    let number = u32::from_be_bytes(four) & 0x7FFF_FFFF;
    format!("{:0width$}", number % 10_u32.pow(digits), width = digits as usize)
}

/// The step whose code somebody gave at `now` (milliseconds since 1970); none of those up to `last`, so that no code
/// counts twice (RFC 6238 §5.2).
pub fn step_of(secret: &[u8], given: &str, now: i64, last: u64) -> Option<u64> {
    let present = u64::try_from(now / STEP).ok()?;
    let steps = present.saturating_sub(DRIFT)..=present.saturating_add(DRIFT);
    let is_code = |step: &u64| {
        let code = code(secret, *step, DIGITS);
        constant_time::verify_slices_are_equal(code.as_bytes(), given.as_bytes()).is_ok()
    };
    steps.filter(|step| *step > last).find(is_code)
}

/// What a program takes a secret from, often as a picture.
pub fn uri(secret: &[u8], issuer: &str, account: &str) -> String {
    let (issuer, account) = (escaped(issuer), escaped(account));
    format!(
        "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={}",
        base32(secret),
        STEP / 1000
    )
}

/// RFC 4648 §6, without padding.
fn base32(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits = octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| usize::from(octet >> bit & 1)));
    let bits: Vec<usize> = bits.collect();
    let digit = |five: &[usize]| five.iter().fold(0, |n, bit| n << 1 | bit) << (5 - five.len());
    bits.chunks(5).filter_map(|five| ALPHABET.get(digit(five))).map(|letter| char::from(*letter)).collect()
}

/// RFC 3986 §2.1.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, octet| {
        if octet.is_ascii_alphanumeric() || b"-._~@".contains(&octet) {
            out.push(char::from(octet));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{octet:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_rfc_6238_appendix_b() {
        for (seconds, want) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(code(SECRET, seconds / 30, 8), want, "{seconds}");
        }
    }

    #[test]
    fn a_code_counts_once_and_no_longer_than_clocks_may_differ() {
        let now = 1_111_111_111_000;
        let code = code(SECRET, 37_037_037, DIGITS);
        assert_eq!(step_of(SECRET, &code, now, 0), Some(37_037_037));
        assert_eq!(step_of(SECRET, &code, now + STEP, 0), Some(37_037_037));
        assert_eq!(step_of(SECRET, &code, now + 2 * STEP, 0), None);
        assert_eq!(step_of(SECRET, &code, now, 37_037_037), None);
        for wrong in ["", "0", "000000", "14050471", "not a code"] {
            assert_eq!(step_of(SECRET, wrong, now, 0), None, "{wrong}");
        }
    }

    #[test]
    fn a_uri_is_what_programs_read() {
        assert_eq!(
            uri(SECRET, "mail.example.org", "ada&b@example.org"),
            "otpauth://totp/mail.example.org:ada%26b@example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=mail.example.org&algorithm=SHA1&digits=6&period=30"
        );
        // RFC 4648 §10.
        for (octets, text) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foob", "MZXW6YQ"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(octets.as_bytes()), text);
        }
    }
}
