//! The Sender Rewriting Scheme: a return path of ours that leads back to the sender's, so that the sender's SPF
//! does not speak against our forwarding. `SRS0=hash=day=domain=local@host`.

use aws_lc_rs::{constant_time, hmac};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};

/// Days that a rewritten path leads back.
const DAYS: u32 = 30;
/// Octets of a local part (RFC 5321 §4.5.3.1.1).
const LOCAL_MOST: usize = 64;
const TAG: &str = "SRS0=";

/// Why a path cannot be rewritten, or does not lead back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrsError {
    /// Nothing to rewrite, or too long for a local part.
    #[error("the return path cannot be rewritten")]
    Form,
    /// Not ours, or changed.
    #[error("the return path was not made here")]
    Forged,
    /// Older than 30 days.
    #[error("the return path has expired")]
    Expired,
}

fn hash(secret: &[u8; 32], rest: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), rest.to_lowercase().as_bytes());
    // 48 bits: guessing is an SMTP transaction a try. Hexadecimal, since some servers lose the case.
    tag.as_ref().iter().take(6).map(|octet| format!("{octet:02x}")).collect()
}

/// Rewrites a return path (without brackets) on a day since 1970.
///
/// # Errors
/// [`SrsError::Form`].
pub fn forward(from: &str, host: &str, secret: &[u8; 32], day: u32) -> Result<String, SrsError> {
    let (local, domain) = from.rsplit_once('@').ok_or(SrsError::Form)?;
    let fits = |octet: u8| octet.is_ascii_graphic() && !b"\"\\<>()[]:;@,".contains(&octet);
    let plain = local.bytes().all(fits) && !local.starts_with('=');
    // A local part that needs quotes, or begins as base64 does here, is carried as base64.
    let carried = match plain {
        true => local.to_owned(),
        false => format!("={}", BASE64_URL_SAFE_NO_PAD.encode(local)),
    };
    let rest = format!("{:x}={domain}={carried}", day % 4096);
    let rewritten = format!("{TAG}{}={rest}", hash(secret, &rest));
    (rewritten.len() <= LOCAL_MOST).then(|| format!("{rewritten}@{host}")).ok_or(SrsError::Form)
}

/// Whether a local part looks like a rewritten path.
pub fn is_rewritten(local: &str) -> bool {
    local.get(..TAG.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(TAG))
}

/// The path that a rewritten local part leads back to.
///
/// # Errors
/// [`SrsError::Forged`], [`SrsError::Expired`].
pub fn reverse(local: &str, secret: &[u8; 32], day: u32) -> Result<String, SrsError> {
    let rest = local.get(TAG.len()..).ok_or(SrsError::Forged)?;
    let (given, rest) = rest.split_once('=').ok_or(SrsError::Forged)?;
    let made = hash(secret, rest);
    constant_time::verify_slices_are_equal(given.to_lowercase().as_bytes(), made.as_bytes())
        .map_err(|_| SrsError::Forged)?;
    let mut fields = rest.splitn(3, '=');
    let mut next = || fields.next().ok_or(SrsError::Forged);
    let (stamp, domain, carried) = (next()?, next()?, next()?);
    let stamp = u32::from_str_radix(stamp, 16).map_err(|_| SrsError::Forged)?;
    if (day % 4096 + 4096 - stamp % 4096) % 4096 > DAYS {
        return Err(SrsError::Expired);
    }
    let original = match carried.strip_prefix('=') {
        None => carried.to_owned(),
        Some(text) => {
            let octets = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| SrsError::Forged)?;
            String::from_utf8(octets).map_err(|_| SrsError::Forged)?
        }
    };
    Ok(format!("{original}@{domain}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_leads_back_for_a_month_and_no_other_does() {
        for from in ["ada@example.org", "\"a b\"@x.example", "a=b@x.example"] {
            let path = forward(from, "mail.example.net", &[1; 32], 20_000).unwrap();
            let local = path.strip_suffix("@mail.example.net").unwrap();
            assert!(is_rewritten(local));
            assert_eq!(reverse(local, &[1; 32], 20_030).unwrap(), from);
            assert_eq!(reverse(local, &[1; 32], 20_031), Err(SrsError::Expired));
            assert_eq!(reverse(local, &[2; 32], 20_000), Err(SrsError::Forged));
            assert_eq!(reverse(&local.replace("example", "exbmple"), &[1; 32], 20_000), Err(SrsError::Forged));
        }
        assert_eq!(forward("", "h", &[1; 32], 1), Err(SrsError::Form));
        assert_eq!(forward(&format!("{}@x", "a".repeat(60)), "h", &[1; 32], 1), Err(SrsError::Form));
    }
}
