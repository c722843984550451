//! Whether the server will be able to check a password against what is written.

use argon2::password_hash::phc::PasswordHash;
use base64::prelude::{BASE64_STANDARD, Engine};
use schema::spec::Credential;

/// What a credential is worth.
pub enum Worth {
    /// Fine.
    Good,
    /// Cheap to guess.
    Weak(&'static str),
    /// Nothing matches it: the person would be locked out.
    Unknown(&'static str),
}

/// Judges a credential by its form.
pub fn judge(credential: &Credential) -> Worth {
    match credential {
        Credential::Scram(text) => match scram(text) {
            true => Worth::Good,
            false => Worth::Unknown("no SCRAM-SHA-256 verifier of at least 4096 iterations"),
        },
        Credential::Hash(text) if text.starts_with("$2") => bcrypt(text),
        Credential::Hash(text) if text.starts_with("$6$") => sha512_crypt(text),
        Credential::Hash(text) => phc(text),
    }
}

fn scram(text: &str) -> bool {
    let parse = || {
        let (head, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let octets = |text: &str| BASE64_STANDARD.decode(text).ok().map(|octets| octets.len());
        let iterations: u32 = iterations.parse().ok()?;
        let sound =
            octets(salt).is_some_and(|n| (1..=256).contains(&n)) && octets(stored)? == 32 && octets(server)? == 32;
        Some(sound && (4096..=10_000_000).contains(&iterations))
    };
    parse().unwrap_or(false)
}

fn bcrypt(text: &str) -> Worth {
    let parts: Vec<&str> = text.split('$').collect();
    let ["", "2a" | "2b" | "2x" | "2y", cost, rest] = parts.as_slice() else { return Worth::Unknown("no bcrypt hash") };
    match cost.parse::<u32>() {
        Ok(4..=9) if rest.len() == 53 => Worth::Weak("bcrypt of less than 10 rounds"),
        Ok(10..=16) if rest.len() == 53 => Worth::Good,
        Ok(_) if rest.len() == 53 => Worth::Unknown("bcrypt of more than 16 rounds, which would hold the server up"),
        _ => Worth::Unknown("no bcrypt hash"),
    }
}

fn sha512_crypt(text: &str) -> Worth {
    let last = text.rsplit('$').next().unwrap_or_default();
    let parts = text.split('$').count();
    let rounds = text.strip_prefix("$6$rounds=").and_then(|rest| rest.split('$').next()).map(str::parse::<u32>);
    match rounds {
        Some(Ok(..1000)) => return Worth::Weak("sha512-crypt of less than 1,000 rounds"),
        Some(Ok(5_000_001..)) => return Worth::Unknown("sha512-crypt of more than 5,000,000 rounds"),
        _ => {}
    }
    if last.len() == 86 && (parts == 4 || (parts == 5 && text.starts_with("$6$rounds="))) {
        Worth::Good
    } else {
        Worth::Unknown("no sha512-crypt hash")
    }
}

fn phc(text: &str) -> Worth {
    let Ok(parsed) = PasswordHash::new(text) else { return Worth::Unknown("no hash of a form that is known") };
    if parsed.hash.is_none() || parsed.salt.is_none() {
        return Worth::Unknown("a hash without its salt or sum");
    }
    let number = |name: &str| parsed.params.get_decimal(name);
    match parsed.algorithm.as_str() {
        "argon2id" | "argon2i" | "argon2d" => match number("m") {
            Some(memory) if memory > 1 << 20 => {
                Worth::Unknown("argon2 with more than 1 GiB of memory, which the server refuses")
            }
            Some(memory) if memory < 7168 => Worth::Weak("argon2 with less than 7 MiB of memory"),
            _ => Worth::Good,
        },
        "scrypt" if number("ln").is_some_and(|ln| ln >= 24) => Worth::Unknown("scrypt with ln of 24 or more"),
        "scrypt" if number("ln").is_some_and(|ln| ln < 13) => Worth::Weak("scrypt with ln of less than 13"),
        "scrypt" => Worth::Good,
        "pbkdf2-sha256" | "pbkdf2-sha512" if number("i").is_some_and(|i| i > 10_000_000) => {
            Worth::Unknown("PBKDF2 of more than 10,000,000 iterations")
        }
        "pbkdf2-sha256" | "pbkdf2-sha512" if number("i").is_some_and(|i| i < 10_000) => {
            Worth::Weak("PBKDF2 of less than 10,000 iterations")
        }
        "pbkdf2-sha256" | "pbkdf2-sha512" => Worth::Good,
        _ => Worth::Unknown("a hash of an algorithm that is not known"),
    }
}
