//! Checking passwords against the hashes that a spec may hold, and SCRAM's verifiers.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::prelude::{BASE64_STANDARD, Engine};
use std::num::NonZeroU32;

mod scheme;

/// The most memory one argon2 or scrypt hash may ask for, in KiB.
const MEMORY_MOST: u32 = 1 << 20;
/// Hashes that ask for more than so much, in KiB, are checked one at a time.
const MEMORY_LIGHT: u32 = 64 << 10;
/// The most passes over argon2's memory, in KiB.
const PASSES_MOST: u64 = 1 << 22;
/// The highest cost of bcrypt, some seconds.
const BCRYPT_MOST: u32 = 15;
/// The most rounds of sha256-crypt and sha512-crypt.
const ROUNDS_MOST: u32 = 5_000_000;
/// The most iterations of PBKDF2.
const ITERATIONS_MOST: u32 = 10_000_000;
/// The longest password that is looked at, in octets.
pub const PASSWORD_MOST: usize = 1024;

/// The longest hash that is taken in, in octets.
const HASH_MOST: usize = 1000;
/// Iterations of the verifiers that are made here (RFC 7677 §4 asks for 4096 at least).
const SCRAM_ITERATIONS: u32 = 4096;

/// What SCRAM-SHA-256 knows of a password (RFC 5802 §3).
#[derive(Clone, PartialEq, Eq)]
pub struct Scram {
    /// Iterations, at least 4096.
    pub iterations: u32,
    /// The salt.
    pub salt: Vec<u8>,
    /// `H(ClientKey)`.
    pub stored_key: [u8; 32],
    /// `ServerKey`.
    pub server_key: [u8; 32],
}

/// Whether a password has this hash. What cannot be read matches nothing.
///
/// Takes as long as the hash was made to take: not for an async worker.
pub fn matches(password: &str, hash: &str) -> bool {
    if password.len() > PASSWORD_MOST {
        return false;
    }
    let octets = password.as_bytes();
    let number = |at: usize, before: &str| -> Option<u32> {
        hash.split('$').nth(at).and_then(|part| part.strip_prefix(before)).and_then(|number| number.parse().ok())
    };
    if let Some(matched) = scheme::matched(password, hash) {
        return matched;
    }
    if hash.starts_with("$2") {
        return number(2, "").is_some_and(|cost| cost <= BCRYPT_MOST)
            && bcrypt::verify(password, hash).unwrap_or(false);
    }
    if let Some(known) = scram(hash) {
        return scram_matches(password, &known);
    }
    if hash.starts_with("$5$") || hash.starts_with("$6$") {
        let rounds = number(2, "rounds=").unwrap_or(0);
        return rounds <= ROUNDS_MOST && sha_crypt::ShaCrypt::default().verify_password(octets, hash).is_ok();
    }
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    let name = parsed.algorithm.as_str();
    let asked = |param: &str| parsed.params.get_decimal(param).unwrap_or(0);
    match name {
        "argon2id" | "argon2i" | "argon2d"
            if asked("m") <= MEMORY_MOST && u64::from(asked("m")) * u64::from(asked("t")) <= PASSES_MOST =>
        {
            Argon2::default().verify_password(octets, &parsed).is_ok()
        }
        // 128 * r * 2^ln octets, p times.
        "scrypt"
            if asked("ln") < 24
                && u64::from(asked("r")) << asked("ln") <= u64::from(MEMORY_MOST) << 3
                && (u64::from(asked("r")) << asked("ln")).saturating_mul(asked("p").max(1).into())
                    <= PASSES_MOST << 3 =>
        {
            scrypt::Scrypt::default().verify_password(octets, &parsed).is_ok()
        }
        "pbkdf2-sha256" | "pbkdf2-sha512" | "pbkdf2" if asked("i") <= ITERATIONS_MOST => {
            ::pbkdf2::Pbkdf2::default().verify_password(octets, &parsed).is_ok()
        }
        _ => false,
    }
}

/// Whether checking this hash takes so much memory that nothing else is checked meanwhile.
pub fn is_heavy(hash: &str) -> bool {
    let phc = hash.find('$').and_then(|at| PasswordHash::new(hash.get(at..)?).ok());
    let asked = |param: &str| phc.as_ref().and_then(|phc| phc.params.get_decimal(param)).unwrap_or(0);
    let scrypt = u64::from(asked("r")).checked_shl(asked("ln")).unwrap_or(u64::MAX) >> 3;
    scrypt.max(asked("m").into()) > u64::from(MEMORY_LIGHT)
}

/// Whether a password is one that a verifier was made of.
fn scram_matches(password: &str, known: &Scram) -> bool {
    let made = NonZeroU32::new(known.iterations).map(|iterations| scram_of(password, &known.salt, iterations));
    let same = |made: Scram| constant_time::verify_slices_are_equal(&made.stored_key, &known.stored_key).is_ok();
    made.is_some_and(same)
}

/// Whether a text has the form of a hash or verifier that some password could match here.
pub fn is_hash(text: &str) -> bool {
    if text.len() > HASH_MOST || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return false;
    }
    if let Some(known) = scheme::is_known(text) {
        return known;
    }
    if let Some(rest) = text.strip_prefix("$2") {
        let mut parts = rest.split('$');
        let kind = parts.next().is_some_and(|kind| matches!(kind, "a" | "b" | "x" | "y"));
        let cost =
            parts.next().and_then(|cost| cost.parse::<u32>().ok()).is_some_and(|n| (4..=BCRYPT_MOST).contains(&n));
        return kind && cost && parts.next().is_some_and(|sum| sum.len() == 53) && parts.next().is_none();
    }
    if scram(text).is_some() {
        return true;
    }
    if text.starts_with("$5$") || text.starts_with("$6$") {
        let sum = if text.starts_with("$5$") { 43 } else { 86 };
        return text.rsplit('$').next().is_some_and(|last| last.len() == sum) && text.split('$').count() >= 4;
    }
    let whole = |phc: &PasswordHash| phc.hash.is_some() && phc.salt.is_some();
    let known = ["argon2id", "argon2i", "argon2d", "scrypt", "pbkdf2-sha256", "pbkdf2-sha512", "pbkdf2"];
    PasswordHash::new(text).is_ok_and(|phc| whole(&phc) && known.contains(&phc.algorithm.as_str()))
}

/// Whether a hash is one of argon2id, with a `{SCHEME}` before it or without.
pub fn is_argon2id(text: &str) -> bool {
    text.rsplit_once('}').map_or(text, |(_, rest)| rest).starts_with("$argon2id$")
}

/// An argon2id hash and a SCRAM verifier of a password, with fresh salts. Takes as long as [`matches`].
pub fn fresh(password: &str) -> Option<(String, String)> {
    let mut salts = [[0; 16]; 2];
    for salt in &mut salts {
        aws_lc_rs::rand::fill(salt).ok()?;
    }
    let [first, second] = &salts;
    let made = scram_of(password, second, NonZeroU32::new(SCRAM_ITERATIONS)?);
    let base64 = |octets: &[u8]| BASE64_STANDARD.encode(octets);
    let verifier = format!(
        "SCRAM-SHA-256${}:{}${}:{}",
        made.iterations,
        base64(&made.salt),
        base64(&made.stored_key),
        base64(&made.server_key)
    );
    Some((hash(password, first)?, verifier))
}

/// Hashes a password by argon2id with 19 MiB and two passes.
pub fn hash(password: &str, salt: &[u8; 16]) -> Option<String> {
    let params = Params::new(19_456, 2, 1, None).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_with_salt(password.as_bytes(), salt).ok().map(|hash| hash.to_string())
}

/// Reads `SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER` (RFC 5803), or `{SCRAM-SHA-256}ITERATIONS,SALT,STORED,SERVER`.
pub fn scram(text: &str) -> Option<Scram> {
    if text.starts_with('{') {
        return scheme::scram(text);
    }
    let rest = text.strip_prefix("SCRAM-SHA-256$")?;
    let (head, keys) = rest.split_once('$')?;
    let (iterations, salt) = head.split_once(':')?;
    let (stored, server) = keys.split_once(':')?;
    let key = |text: &str| BASE64_STANDARD.decode(text).ok()?.try_into().ok();
    let salt = BASE64_STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty() && salt.len() <= 256)?;
    let iterations = iterations.parse().ok().filter(|n| (4096..=10_000_000).contains(n))?;
    Some(Scram { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
}

/// Makes a verifier (RFC 5802 §3).
pub fn scram_of(password: &str, salt: &[u8], iterations: NonZeroU32) -> Scram {
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
    let key = |what: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salted), what);
    let stored = digest::digest(&digest::SHA256, key(b"Client Key").as_ref());
    Scram {
        iterations: iterations.get(),
        salt: salt.to_vec(),
        stored_key: whole(stored.as_ref()),
        server_key: whole(key(b"Server Key").as_ref()),
    }
}

/// A verifier that nothing proves: for an unknown user, the same at every attempt, and to look at like `alike`, a
/// true one.
pub fn false_scram(user: &str, secret: &[u8; 32], alike: Option<&Scram>) -> Scram {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let part = |what: &str| whole(hmac::sign(&key, format!("{what}\0{user}").as_bytes()).as_ref());
    let (iterations, salt) = alike.map_or((SCRAM_ITERATIONS, 16), |alike| (alike.iterations, alike.salt.len()));
    let salt = (0..salt.div_ceil(32)).flat_map(|n| part(&format!("salt{n}"))).take(salt).collect();
    Scram { iterations, salt, stored_key: part("stored"), server_key: part("server") }
}

// HMAC-SHA-256 and SHA-256 give 32 octets.
fn whole(octets: &[u8]) -> [u8; 32] {
    octets.try_into().unwrap_or([0; 32])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_hash_that_a_spec_may_hold_is_checked() {
        let made = hash("secret", b"sixteen octets!!").unwrap();
        let scrypt = scrypt::Scrypt::new_with_params(scrypt::Params::new(4, 8, 1).unwrap());
        let scrypt: argon2::password_hash::phc::PasswordHash =
            scrypt.hash_password_with_salt(b"secret", b"0123456789abcdef").unwrap();
        let sha = sha_crypt::ShaCrypt::default().hash_password_with_salt(b"secret", b"0123456789abcdef").unwrap();
        for hash in [made, bcrypt::hash("secret", 4).unwrap(), scrypt.to_string(), sha.to_string()] {
            assert!(matches("secret", &hash), "{hash}");
            assert!(!matches("Secret", &hash), "{hash}");
        }
        let slow = format!("$6$rounds=5000001$saltstring${}", "a".repeat(86));
        let long = format!("$2b$31${}", "a".repeat(53));
        for odd in [
            &slow,
            &long,
            "$pbkdf2-sha256$i=4294967295$c2FsdHNhbHQ$c2FsdHNhbHQ",
            "$argon2id$v=19$m=8,t=4294967295,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ",
        ] {
            assert!(!matches("secret", odd), "{odd}");
        }
        for odd in ["", "$", "secret", "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "$1$abc$def"] {
            assert!(!matches("secret", odd), "{odd}");
        }
    }

    #[test]
    fn a_scram_verifier_is_rfc_7677s() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let made = scram_of("pencil", &salt, NonZeroU32::new(4096).unwrap());
        let text = format!(
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==${}:{}",
            BASE64_STANDARD.encode(made.stored_key),
            BASE64_STANDARD.encode(made.server_key)
        );
        assert!(
            text.ends_with("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
        );
        assert!(scram(&text).unwrap() == made);
        assert!(matches("pencil", &text) && !matches("pencils", &text));
        let unknown = false_scram("x", &[7; 32], Some(&made));
        assert_eq!((unknown.iterations, unknown.salt.len()), (made.iterations, made.salt.len()));
        assert!(scram("SCRAM-SHA-256$1:AA==$AA==:AA==").is_none());
        let dovecots = format!(
            "{{SCRAM-SHA-256}}4096,W22ZaJ0SNY7soEsUEjb6gQ==,{},{}",
            BASE64_STANDARD.encode(made.stored_key),
            BASE64_STANDARD.encode(made.server_key)
        );
        assert!(scram(&dovecots).unwrap() == made && matches("pencil", &dovecots));
    }

    #[test]
    fn what_is_made_here_is_known_and_matches() {
        let (hash, verifier) = fresh("secret").unwrap();
        assert!(hash.starts_with("$argon2id$") && is_hash(&hash) && is_hash(&verifier));
        assert!(matches("secret", &hash) && matches("secret", &verifier) && !matches("Secret", &verifier));
        let bcrypt = bcrypt::hash("secret", 4).unwrap();
        for known in [bcrypt.as_str(), "{SSHA}7uvz7Ldvxj5yRcj/Z7Nw25xqb6Hah0/H", &format!("{{CRYPT}}{bcrypt}")] {
            assert!(is_hash(known), "{known}");
        }
        for odd in ["", "secret", "{PLAIN}secret", "{SSHA}", "$2b$31$abc", "$1$abc$def", "$6$abc", "$argon2id$v=19$m=8"]
        {
            assert!(!is_hash(odd), "{odd}");
        }
    }

    #[test]
    fn hashes_that_take_much_memory_are_known() {
        assert!(is_heavy("{ARGON2ID}$argon2id$v=19$m=1048576,t=4,p=1$Qhm9jAQZEq2Z2j/9wYTB4A$c2FsdHNhbHRzYWx0"));
        assert!(is_heavy("$scrypt$ln=20,r=8,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0"));
        for light in [hash("secret", b"sixteen octets!!").unwrap().as_str(), "{SSHA}AAAA", "$2b$10$abc", "", "$6$a$b"] {
            assert!(!is_heavy(light), "{light}");
        }
    }
}
