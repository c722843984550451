//! Hashes as LDAP servers and mail servers keep them: `{SCHEME}` before what is the scheme's own (RFC 3112 and custom).

use super::{ITERATIONS_MOST, Scram, matches};
use aws_lc_rs::{constant_time, digest, pbkdf2};
use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use std::num::NonZeroU32;

/// The longest salt that is read, in octets.
const SALT_MOST: usize = 256;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
/// Base64, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Takes a hash apart into its scheme, in capitals, and the rest; `None` where it names no scheme.
fn parts(hash: &str) -> Option<(String, &str)> {
    let (scheme, rest) = hash.strip_prefix('{')?.split_once('}')?;
    Some((scheme.to_ascii_uppercase(), rest))
}

/// Whether a hash is one that a password could have; `None` where it names no scheme.
pub(super) fn is_known(hash: &str) -> Option<bool> {
    let (scheme, rest) = parts(hash)?;
    let digest = |length: usize| BASE64.decode(rest).is_ok_and(|octets| octets.len() >= length);
    Some(match scheme.as_str() {
        "SSHA" | "SHA" | "SHA1" => digest(20),
        "SSHA256" | "SHA256" => digest(32),
        "SSHA384" | "SHA384" => digest(48),
        "SSHA512" | "SHA512" => digest(64),
        "CRYPT" | "BLF-CRYPT" | "SHA256-CRYPT" | "SHA512-CRYPT" | "ARGON2" | "ARGON2I" | "ARGON2ID" => {
            rest.starts_with('$') && super::is_hash(rest)
        }
        "PBKDF2" | "PBKDF2-SHA1" | "PBKDF2-SHA256" | "PBKDF2-SHA512" => rest.split('$').count() == 3,
        "SCRAM-SHA-256" => scram(hash).is_some(),
        _ => false,
    })
}

/// Whether a password has this hash; `None` where it names no scheme. A password in the clear, or under a scheme that is
/// not known, matches nothing.
pub(super) fn matched(password: &str, hash: &str) -> Option<bool> {
    let (scheme, rest) = parts(hash)?;
    let digested = |algorithm: &'static digest::Algorithm, salted: bool| {
        let Ok(octets) = BASE64.decode(rest) else { return false };
        let Some((known, salt)) = octets.split_at_checked(algorithm.output_len()) else { return false };
        if salt.is_empty() == salted || salt.len() > SALT_MOST {
            return false;
        }
        let mut context = digest::Context::new(algorithm);
        context.update(password.as_bytes());
        context.update(salt);
        constant_time::verify_slices_are_equal(context.finish().as_ref(), known).is_ok()
    };
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| rest.starts_with(prefix)) && matches(password, rest);
    Some(match scheme.as_str() {
        "SSHA" => digested(&digest::SHA1_FOR_LEGACY_USE_ONLY, true),
        "SHA" | "SHA1" => digested(&digest::SHA1_FOR_LEGACY_USE_ONLY, false),
        "SSHA256" => digested(&digest::SHA256, true),
        "SHA256" => digested(&digest::SHA256, false),
        "SSHA384" => digested(&digest::SHA384, true),
        "SHA384" => digested(&digest::SHA384, false),
        "SSHA512" => digested(&digest::SHA512, true),
        "SHA512" => digested(&digest::SHA512, false),
        "CRYPT" => begins(&["$2", "$5$", "$6$"]),
        "BLF-CRYPT" => begins(&["$2"]),
        "SHA256-CRYPT" => begins(&["$5$"]),
        "SHA512-CRYPT" => begins(&["$6$"]),
        "ARGON2" | "ARGON2I" | "ARGON2ID" => begins(&["$argon2"]),
        "PBKDF2" | "PBKDF2-SHA1" => derived(password, rest, (pbkdf2::PBKDF2_HMAC_SHA1, 20)),
        "PBKDF2-SHA256" => derived(password, rest, (pbkdf2::PBKDF2_HMAC_SHA256, 32)),
        "PBKDF2-SHA512" => derived(password, rest, (pbkdf2::PBKDF2_HMAC_SHA512, 64)),
        "SCRAM-SHA-256" => super::scram_matches(password, &scram(hash)?),
        _ => false,
    })
}

/// OpenLDAP's form of PBKDF2: `ITERATIONS$SALT$HASH`, in base64 with `.` for `+`.
fn derived(password: &str, rest: &str, (algorithm, length): (pbkdf2::Algorithm, usize)) -> bool {
    let mut parts = rest.splitn(3, '$');
    let iterations = parts.next().and_then(|text| text.parse().ok()).filter(|n| *n <= ITERATIONS_MOST);
    let mut octets = || BASE64.decode(parts.next()?.replace('.', "+")).ok();
    let (Some(iterations), Some(salt), Some(known)) = (iterations.and_then(NonZeroU32::new), octets(), octets()) else {
        return false;
    };
    known.len() == length
        && salt.len() <= SALT_MOST
        && pbkdf2::verify(algorithm, iterations, &salt, password.as_bytes(), &known).is_ok()
}

/// Reads `{SCRAM-SHA-256}ITERATIONS,SALT,STORED,SERVER`, as Dovecot keeps it.
pub(super) fn scram(text: &str) -> Option<Scram> {
    let (scheme, rest) = parts(text)?;
    let mut parts = rest.split(',');
    let whole = format!(
        "SCRAM-SHA-256${}:{}${}:{}",
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next().filter(|_| scheme == "SCRAM-SHA-256")?
    );
    super::scram(&whole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Made by slappasswd of OpenLDAP 2.5, doveadm of Dovecot 2.3, openssl and Python's hashlib, all from `secret`.
    const KNOWN: [&str; 22] = [
        "{SSHA}7uvz7Ldvxj5yRcj/Z7Nw25xqb6Hah0/H",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{SSHA256}ndqRYetk/EI9zej1xnshNupa5i4Eei7SDZDQdjYiu+h7g2zXfhyC+Q==",
        "{SSHA384}sHaRti5sIIKymHjN9zPrA+EHSGg0C4H8CudhLVDlN9rYe9+Bwe2jUhmj3cmI1yvDOKo9QtqojXc=",
        "{SSHA512}mE+I4Ktso7veUg02KbVjf6X1xhvak5i95CJWImVBvtYVWo1KV1M9kRht3KWyTLqCGNw5FVYGPzZ8IqEB1ozM6gUfA7l98bWv",
        "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
        "{SHA384}WKd1ukESvjAFrkQHznV9iP2nHUBJe7gCbsrFTU4//HIyzo3jq1rLMK45dg/ufFPt",
        "{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg==",
        "{ARGON2}$argon2i$v=19$m=4096,t=3,p=1$98PKrbZvx11nMAjkZ98wuw$c2RJYjHL827Ov08PRv7RQPSroIne+apOIbDqsky2Wa8",
        "{SSHA256}sbIHtDFvWd+G6agbA28vVBK+dzI+69G9AfzJc9+40G/oIWBy",
        "{SSHA512}HoYYYtoFgtUpaF5xqM23Tgg2RTjswN5ZsbB+eaOyD9aCmuVzu9oHZImQctl3rKmWRKNdi8x4E6pMaL+wmLk8ykAGvX8=",
        "{SHA256-CRYPT}$5$rounds=1000$tI87/4nAJJV6KSSL$Vi7onecq5ix29Umc0nV4x7eKMnCpPobEbEHEZCk1qE.",
        "{SHA512-CRYPT}$6$rounds=1000$x6eIYovRnr9MHp1z$PZKOjTjv4qmfn0pimDXenAzVTOPYXSdVWm9uCV5IAGjGYusZ4KLG2wDODhzuHSTMFnG6l2F1WyEbehujyhQwo.",
        "{BLF-CRYPT}$2y$05$Ci0XXhM1iR5xa/wYNOitCOpm5dC0uDP6z5JFdBxwiHj7SAUjkvGCy",
        "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$ONVL0jBRzjthmrhsA+SqbQ$4gvrEqJpYMVuXv8iNwthKMpBaItHMsRV/Jcdl9uaGZ8",
        "{SCRAM-SHA-256}4096,JTWID6J8B6CEXzouzNHT7w==,Kv+d6ByiFQ4tg0pKCQkjBkRwqPG35qfA7M+1UHnSiNs=,bzXTbFlAXvCbi1MsXn2T5HeSr0LNXjw4ZshnVDDa+bw=",
        "{CRYPT}$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
        "{CRYPT}$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
        "{PBKDF2}1000$VzcC9YgQg3j6fvNPuJUaPw$556jpLhYkm3JKqSBe0H/z0ISDh4",
        "{PBKDF2-SHA1}1000$cWABiIi043PqZ8f9J0ZhFw$K.Jz806mZ.3Uso1ObYP3DGkhV4k",
        "{PBKDF2-SHA256}1000$QQUEWPXYp3poKUR7o/MNrg$kZuh3wm924LwKk/eJYjRAk5E9osuBC1BiyE4ni5wB8E",
        "{PBKDF2-SHA512}1000$uXCMUaHhpZaszR2AohKYow$AZLwXWhRQcQVkBOLOHQrVupSQTT8FeSp7dGe8kPLpG6OPAGs3dakk0b.Sg6uz3qbdFgDmD9Ii3OKYrF7pw83Kg",
    ];

    #[test]
    fn every_hash_that_matches_is_known() {
        assert!(KNOWN.iter().all(|hash| is_known(hash) == Some(true)));
    }

    #[test]
    fn hashes_that_others_made_are_read() {
        for hash in KNOWN {
            assert_eq!(matched("secret", hash), Some(true), "{hash}");
            assert_eq!(matched("Secret", hash), Some(false), "{hash}");
        }
    }

    #[test]
    fn what_is_no_hash_matches_nothing() {
        let long = format!("{{SSHA}}{}", BASE64.encode([0; 20 + SALT_MOST + 1]));
        for odd in [
            "{PLAIN}secret",
            "{CLEARTEXT}secret",
            "{CLEAR}secret",
            "{SSHA}",
            "{SSHA}!!!!",
            "{SSHA}AAAA",
            // A digest without a salt is no salted one, and the other way round.
            "{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQAAAA=",
            "{MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
            "{CRYPT}secret",
            "{CRYPT}$1$abc$def",
            "{CRYPT}{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "{BLF-CRYPT}$6$rounds=1000$a$b",
            "{PBKDF2-SHA256}4294967295$c2FsdA$c2FsdA",
            "{PBKDF2-SHA256}0$c2FsdA$c2FsdA",
            "{ARGON2}secret",
            "{}secret",
            &long,
        ] {
            assert_eq!(matched("secret", odd), Some(false), "{odd}");
        }
        for no_scheme in ["secret", "{SSHA", "", "$6$"] {
            assert_eq!(matched("secret", no_scheme), None, "{no_scheme}");
        }
    }
}
