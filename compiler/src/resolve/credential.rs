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
        Ok(10..=15) if rest.len() == 53 => Worth::Good,
        Ok(16..=31) if rest.len() == 53 => Worth::Unknown("bcrypt of a cost over 15, which the server refuses"),
        _ => Worth::Unknown("no bcrypt hash"),
    }
}

fn sha512_crypt(text: &str) -> Worth {
    let last = text.rsplit('$').next().unwrap_or_default();
    let parts: Vec<&str> = text.split('$').collect();
    let rounds = match parts.as_slice() {
        [_, _, _, _] => Some(5000),
        [_, _, rounds, _, _] => rounds.strip_prefix("rounds=").and_then(|rounds| rounds.parse::<u32>().ok()),
        _ => None,
    };
    match rounds.filter(|_| last.len() == 86) {
        None | Some(..1000) => Worth::Unknown("no sha512-crypt hash"),
        Some(1000..5000) => Worth::Weak("sha512-crypt of less than 5000 rounds"),
        Some(5000..=5_000_000) => Worth::Good,
        Some(_) => Worth::Unknown("sha512-crypt of more than 5,000,000 rounds, which the server refuses"),
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
            Some(memory) if u64::from(memory) * u64::from(number("t").unwrap_or(1)) > 1 << 22 => {
                Worth::Unknown("argon2 of so many passes over so much memory that the server refuses it")
            }
            Some(memory) if memory < 7168 => Worth::Weak("argon2 with less than 7 MiB of memory"),
            _ => Worth::Good,
        },
        "scrypt" if !scrypt_fits(number("ln"), number("r"), number("p")) => {
            Worth::Unknown("scrypt with more memory or passes than the server takes")
        }
        "scrypt" if number("ln").is_some_and(|ln| ln < 13) => Worth::Weak("scrypt with ln of less than 13"),
        "scrypt" => Worth::Good,
        "pbkdf2-sha256" | "pbkdf2-sha512" if number("i").is_some_and(|i| i < 10_000) => {
            Worth::Weak("PBKDF2 of less than 10,000 iterations")
        }
        "pbkdf2-sha256" | "pbkdf2-sha512" if number("i").is_some_and(|i| i > 10_000_000) => {
            Worth::Unknown("PBKDF2 of more than 10,000,000 iterations, which the server refuses")
        }
        "pbkdf2-sha256" | "pbkdf2-sha512" => Worth::Good,
        _ => Worth::Unknown("a hash of an algorithm that is not known"),
    }
}

/// 128 * r * 2^ln octets, p times, as the server bounds them.
fn scrypt_fits(ln: Option<u32>, r: Option<u32>, p: Option<u32>) -> bool {
    let (ln, r, p) = (ln.unwrap_or(0), u64::from(r.unwrap_or(0)), u64::from(p.unwrap_or(1)));
    ln < 24 && r << ln <= 1 << 23 && (r << ln).saturating_mul(p) <= 1 << 25
}
