//! DKIM's private keys in a folder that was named: a key that belongs to a published record signs on.

use super::facts::{Facts, Published};
use super::{ImportError, bounded};
use base64::prelude::{BASE64_STANDARD, Engine};
use schema::name::{DomainName, Secret};
use schema::spec::DkimAlgorithm;
use std::path::{Path, PathBuf};

/// The most files that are looked at.
const MOST_FILES: usize = 10_000;
/// The largest key file, in octets.
const LARGEST_KEY: u64 = 64 << 10;
/// How deep folders are looked into.
const DEEPEST: usize = 3;
/// The length of an RSA key of 1024 bits as SubjectPublicKeyInfo, in octets: shorter ones are not believed.
const SHORTEST_RSA: usize = 160;

/// A private key, and where it goes.
pub struct Copied {
    /// From the spec's folder.
    pub file: String,
    /// PKCS#8 as PEM.
    pub pem: Secret,
}

/// Gives domains the keys of a folder that their records publish; what is to be written.
pub fn keys(folder: &Path, facts: &mut Facts) -> Result<Vec<Copied>, ImportError> {
    let mut files = Vec::new();
    list(folder, DEEPEST, &mut files)?;
    files.sort();
    let mut copied = Vec::new();
    let mut unused = 0;
    for path in files {
        let Some((pem, algorithm, public)) = private(&path) else { continue };
        let found = Published { algorithm, public };
        let matches = facts.domains.iter().flat_map(|(name, domain)| {
            let same = domain.published.iter().filter(|(_, published)| **published == found);
            same.map(|(selector, _)| (name.clone(), selector.clone()))
        });
        let matches: Vec<(DomainName, String)> = matches.collect();
        unused += usize::from(matches.is_empty());
        for (domain, selector) in matches {
            let short = BASE64_STANDARD.decode(&found.public).map_or(0, |der| der.len());
            if algorithm == DkimAlgorithm::Rsa && short < SHORTEST_RSA {
                facts.left_of(&domain, format!("the key of {selector}, which is too short to be believed"));
                continue;
            }
            let file = format!("secrets/{domain}-{selector}.pem");
            let Some(taken) = facts.domains.get_mut(&domain) else { continue };
            if taken.dkim.iter().any(|(known, ..)| *known == selector) || file.len() > 250 {
                continue;
            }
            taken.dkim.push((selector.clone(), found.clone(), file.clone()));
            if let Ok(name) = domain.under(&format!("{selector}._domainkey")) {
                taken.accepted.insert((name, crate::zone::Kind::Txt));
            }
            copied.push(Copied { file, pem: Secret::new(pem.reveal().to_owned()) });
        }
    }
    if unused > 0 {
        facts.left(format!("{unused} private keys of --keys, which no record that was seen publishes"));
    }
    facts.took("DKIM keys", copied.len());
    Ok(copied)
}

fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), ImportError> {
    let entries = std::fs::read_dir(folder).map_err(|error| ImportError::io(folder, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| ImportError::io(folder, error))?;
        // A link is not followed: it may lead anywhere.
        let kind = entry.file_type().map_err(|error| ImportError::io(folder, error))?;
        if kind.is_dir() && depth > 0 {
            list(&entry.path(), depth - 1, files)?;
        } else if kind.is_file() {
            if files.len() == MOST_FILES {
                return Err(ImportError::form(folder, "too many files"));
            }
            files.push(entry.path());
        }
    }
    Ok(())
}

/// A file's private key as PKCS#8, if it holds one that signs.
fn private(path: &Path) -> Option<(Secret, DkimAlgorithm, String)> {
    let text = String::from_utf8(bounded(path, LARGEST_KEY).ok()?).ok()?;
    let begin = text.find("-----BEGIN ")?;
    let pem = text.get(begin..)?;
    let pem = match pem.strip_prefix("-----BEGIN RSA PRIVATE KEY-----") {
        Some(rest) => wrapped(rest.split("-----END").next()?)?,
        None => pem.to_owned(),
    };
    [DkimAlgorithm::Ed25519, DkimAlgorithm::Rsa].into_iter().find_map(|algorithm| {
        let public = mail::sign::public_value(algorithm, &pem).ok()?;
        Some((Secret::new(pem.clone()), algorithm, public))
    })
}

/// PKCS#1, as OpenDKIM writes it, as PKCS#8 (RFC 5208 §5).
fn wrapped(body: &str) -> Option<String> {
    let inner = BASE64_STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?;
    // Version 0; rsaEncryption with NULL.
    let head: &[u8] = &[2, 1, 0, 48, 13, 6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 1, 5, 0];
    let octets = [&[4], length(inner.len())?.as_slice(), &inner].concat();
    let body = [head, &octets].concat();
    let whole = [&[48], length(body.len())?.as_slice(), &body].concat();
    let text = BASE64_STANDARD.encode(whole);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Some(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")))
}

/// A length in DER.
fn length(octets: usize) -> Option<Vec<u8>> {
    let two = u16::try_from(octets).ok()?.to_be_bytes();
    Some(match octets {
        0..128 => vec![two[1]],
        128..256 => vec![0x81, two[1]],
        _ => vec![0x82, two[0], two[1]],
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_of_both_forms_are_opened() {
        let (secret, public) = mail::sign::generate(DkimAlgorithm::Rsa).unwrap();
        let body: String = secret.reveal().lines().filter(|line| !line.starts_with('-')).collect();
        // Version, algorithm and two lengths stand before the key itself.
        let inner = BASE64_STANDARD.encode(&BASE64_STANDARD.decode(body).unwrap()[26..]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail.private");
        for text in [
            secret.reveal().to_owned(),
            format!("-----BEGIN RSA PRIVATE KEY-----\n{inner}\n-----END RSA PRIVATE KEY-----\n"),
        ] {
            std::fs::write(&path, text).unwrap();
            let (pem, algorithm, found) = private(&path).unwrap();
            assert_eq!((algorithm, found.as_str()), (DkimAlgorithm::Rsa, public.as_str()));
            assert!(pem.reveal().starts_with("-----BEGIN PRIVATE KEY-----"));
        }
        std::fs::write(&path, "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n").unwrap();
        assert!(private(&path).is_none());
    }
}
