//! The secrets of a spec: where each is kept, what the encrypted ones show, and the ways to change them.
//!
//! A build opens none. `check --secrets` and `waybill secrets …` open what they are given identities for.

pub mod check;
pub mod edit;
pub mod rekey;

use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::read::files::{FileError, Sources};
use crate::read::grammar::{self, Kind, Shape};
use schema::name::{Secret, SecretRef};
use schema::spec::Spec;
use sealed::header::Header;
use sealed::identity::Identities;
use sealed::recipient::Recipient;
use sealed::{Unopened, Unsealed};
use serde::Deserialize;
use serde_json::Value as Json;
use std::io;

/// Every reference to a secret in a spec with its path, in the order of the schema. The grammar says where they are, so
/// that a new node of the language needs no code here.
pub fn references(spec: &Spec) -> Vec<(Path, SecretRef)> {
    let mut found = Vec::new();
    if let Ok(json) = serde_json::to_value(spec) {
        object(&json, grammar::language(), &Path::root(), &mut found);
    }
    found
}

fn object(json: &Json, kind: &Kind, at: &Path, found: &mut Vec<(Path, SecretRef)>) {
    for field in &kind.fields {
        let at = at.field(field.name);
        match &json[field.name] {
            Json::Null => {}
            Json::Array(items) if field.many => {
                items.iter().enumerate().for_each(|(n, item)| value(item, &field.shape, &at.item(n), found));
            }
            one => value(one, &field.shape, &at, found),
        }
    }
}

fn value(json: &Json, shape: &Shape, at: &Path, found: &mut Vec<(Path, SecretRef)>) {
    match shape {
        Shape::Node(kind) => object(json, kind, at, found),
        Shape::OneOf(several) => {
            let written = several.iter().filter(|(name, _)| !json[*name].is_null());
            written.for_each(|(name, shape)| value(&json[*name], shape, &at.field(name), found));
        }
        // What is kept as a hash is no reference, and does not decode as one.
        Shape::Annotated(_) => found.extend(SecretRef::deserialize(json).ok().map(|reference| (at.clone(), reference))),
        _ => {}
    }
}

/// To whom the spec's secrets are encrypted. What is no recipient has been told by the reader.
pub fn recipients(spec: &Spec) -> Vec<Recipient> {
    spec.secrets.iter().flat_map(|secrets| &secrets.recipient).filter_map(|one| one.key.parse().ok()).collect()
}

/// Recipients that stand twice.
pub fn twice(spec: &Spec, report: &mut Report) {
    let mut seen: Vec<(usize, Recipient)> = Vec::new();
    let path = |at: usize| Path::root().field("secrets").field("recipient").item(at);
    for (at, one) in spec.secrets.iter().flat_map(|secrets| &secrets.recipient).enumerate() {
        let Ok(key) = one.key.parse::<Recipient>() else { continue };
        match seen.iter().find(|(_, known)| *known == key) {
            Some((first, _)) => {
                report
                    .find(Code::RecipientTwice, path(at), "the recipient is written twice")
                    .also(path(*first), "the first time")
                    .help("keep one of them");
            }
            None => seen.push((at, key)),
        }
    }
}

/// Why an encrypted secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// Its file cannot be read.
    #[error("`{0}` {1}")]
    File(String, FileError),
    /// It cannot be opened.
    #[error("{0} {1}")]
    Unopened(SecretRef, Unopened),
}

/// The octets of an `(age)` secret as they are kept, not opened.
///
/// # Errors
/// [`SealedError::File`].
pub fn sealed_octets(reference: &SecretRef, sources: &Sources) -> Result<Vec<u8>, SealedError> {
    match (reference.file(), reference) {
        (Some(name), _) => sources.secret(name).map_err(|why| SealedError::File(name.to_owned(), why)),
        (None, SecretRef::Age(text) | SecretRef::Env(text) | SecretRef::File(text)) => Ok(text.clone().into_bytes()),
    }
}

/// What an encrypted secret shows that does not fit the recipients of the spec; `None` where all does, as far as age
/// shows it: it counts recipients by kind, and names none.
pub fn misfit(header: &Header, recipients: &[Recipient]) -> Option<String> {
    let mut wanted: Vec<_> = recipients.iter().map(Recipient::kind).collect();
    wanted.sort_unstable();
    if header.kinds == wanted && header.others == 0 {
        return None;
    }
    let count = header.kinds.len() + header.others;
    let recipients = |n: usize| format!("{n} recipient{}", if n == 1 { "" } else { "s" });
    Some(if count == wanted.len() {
        "is encrypted to recipients of other kinds than the spec has".to_owned()
    } else {
        format!("is encrypted to {}, and the spec has {}", recipients(count), wanted.len())
    })
}

/// An encrypted secret, opened.
///
/// # Errors
/// [`SealedError`].
pub fn opened(reference: &SecretRef, sources: &Sources, identities: &Identities) -> Result<Vec<u8>, SealedError> {
    let octets = sealed_octets(reference, sources)?;
    sealed::open(&octets, identities).map_err(|why| SealedError::Unopened(reference.clone(), why))
}

/// A secret as text, trimmed, by whatever way it is referred to; `age` opens an encrypted one, or has told why not.
/// `None` only then.
///
/// # Errors
/// Why there is none, without anything of it.
pub fn text(
    reference: &SecretRef,
    sources: &Sources,
    age: impl FnOnce() -> Option<Vec<u8>>,
) -> Result<Option<Secret>, String> {
    let octets = match reference {
        SecretRef::Env(name) => match std::env::var(name) {
            Ok(text) if !text.is_empty() => return Ok(Some(Secret::new(text))),
            _ => return Err(format!("the environment has no `{name}`")),
        },
        SecretRef::File(name) => sources.secret(name).map_err(|why| match why {
            FileError::Missing | FileError::Outside => format!("`{name}` {why}"),
            why => format!("`{name}`: {why}"),
        })?,
        SecretRef::Age(_) => match age() {
            Some(octets) => octets,
            None => return Ok(None),
        },
    };
    let name = match reference {
        SecretRef::File(name) => format!("`{name}`"),
        reference => reference.to_string(),
    };
    match String::from_utf8(octets) {
        Ok(text) if !text.trim().is_empty() => Ok(Some(Secret::new(text.trim().to_owned()))),
        Ok(_) => Err(format!("{name} is empty")),
        Err(_) => Err(format!("{name} is not text")),
    }
}

/// A secret encrypted to a spec's recipients, as armoured text.
///
/// # Errors
/// [`Unsealed`], and how to mend it.
pub fn seal(plain: &[u8], spec: &Spec) -> io::Result<String> {
    sealed::seal(plain, &recipients(spec)).map_err(|why| match why {
        Unsealed::NoRecipient => io::Error::other(
            "the spec names no recipient: write `secrets { recipient \"age1…\" }`, one for each server and person; `age-keygen` makes them",
        ),
        why => io::Error::other(why.to_string()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn references_are_found_by_the_grammar() {
        let folder = tempfile::tempdir().unwrap();
        let text = "waybill 1\nhost \"mail.example.org\" {\n    tls {\n        key \"a\" ec private=(file)\"tls.pem\"\n        \
                    certificate cert=(file)\"c.pem\" key=(age)\"k.age\"\n    }\n}\n\
                    dns \"main\" { cloudflare token=(env)\"TOKEN\"; }\ntrust { ca (file)\"ca.pem\"; }\n\
                    defaults { domain { dkim { key \"d\" ed25519 private=(age)\"d.age\"; }; }; }\n\
                    domain \"example.org\" { account \"ada\" { password (hash)\"$6$x\"; }; }\n";
        std::fs::write(folder.path().join("mail.kdl"), text).unwrap();
        let reading = crate::read::read(&Sources::open(folder.path()).unwrap(), &mut Report::new());
        let mut found: Vec<String> =
            references(&reading.spec).into_iter().map(|(at, reference)| format!("{at} {reference}")).collect();
        found.sort();
        let want = [
            "/defaults/domain/dkim/key/0/private (age)\"d.age\"",
            "/dns/0/cloudflare/token (env)\"TOKEN\"",
            "/host/0/tls/certificate/0/cert (file)\"c.pem\"",
            "/host/0/tls/certificate/0/key (age)\"k.age\"",
            "/host/0/tls/key/0/private (file)\"tls.pem\"",
            "/trust/ca/0 (file)\"ca.pem\"",
        ];
        assert_eq!(found, want);
    }
}
