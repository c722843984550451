//! DKIM (RFC 6376, RFC 8463): keys, and signatures with them.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::prelude::{BASE64_STANDARD, Engine};
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::{DkimSigner, Done};
use rustls_pki_types::PrivatePkcs8KeyDer;
use schema::name::{DomainName, Secret};
use schema::spec::DkimAlgorithm;

/// Fields that are signed; those that are absent too, so that none can be added, and From once more than it is there
/// (RFC 6376 §8.15). What a mailing list puts into a message is not among them, so that the signature survives it.
const FIELDS: [&str; 12] = [
    "From",
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
];

/// Why a key cannot be used. Never holds the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Not PEM, or not of this algorithm.
    #[error("is not a PKCS#8 PEM of the algorithm {0}")]
    Form(&'static str),
    /// The signature could not be made.
    #[error("cannot sign: {0}")]
    Failed(String),
    /// No random octets.
    #[error("the system gives no random octets")]
    Random,
}

enum Signer {
    Ed25519(DkimSigner<Ed25519Key, Done>),
    Rsa(DkimSigner<RsaKey<Sha256>, Done>),
}

/// A private key that signs for a domain.
pub struct DkimKey(Signer);

fn name(algorithm: DkimAlgorithm) -> &'static str {
    match algorithm {
        DkimAlgorithm::Ed25519 => "ed25519",
        DkimAlgorithm::Rsa => "rsa",
    }
}

fn der(pem: &str, algorithm: DkimAlgorithm) -> Result<Vec<u8>, SignError> {
    let form = || SignError::Form(name(algorithm));
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----").ok_or_else(form)?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----").ok_or_else(form)?;
    let body: String = body.split_ascii_whitespace().collect();
    BASE64_STANDARD.decode(body).map_err(|_| form())
}

fn pem(der: &[u8]) -> Secret {
    let body = BASE64_STANDARD.encode(der);
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    Secret::new(text + "-----END PRIVATE KEY-----\n")
}

impl DkimKey {
    /// Opens a key, PKCS#8 as PEM.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn open(
        domain: &DomainName,
        selector: &str,
        algorithm: DkimAlgorithm,
        key: &Secret,
    ) -> Result<DkimKey, SignError> {
        let der = der(key.reveal(), algorithm)?;
        let form = |_| SignError::Form(name(algorithm));
        let (domain, fields) = (domain.to_string(), FIELDS);
        Ok(DkimKey(match algorithm {
            DkimAlgorithm::Ed25519 => {
                let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(&der).map_err(form)?;
                Signer::Ed25519(DkimSigner::from_key(key).domain(domain).selector(selector).headers(fields))
            }
            DkimAlgorithm::Rsa => {
                let key = RsaKey::<Sha256>::from_key_der(PrivatePkcs8KeyDer::from(der).into()).map_err(form)?;
                Signer::Rsa(DkimSigner::from_key(key).domain(domain).selector(selector).headers(fields))
            }
        }))
    }
}

/// The DKIM-Signature fields of a message, one for each key.
///
/// # Errors
/// [`SignError::Failed`].
pub fn sign(keys: &[DkimKey], message: &[u8]) -> Result<Vec<String>, SignError> {
    let failed = |error: mail_auth::Error| SignError::Failed(error.to_string());
    // Blank-looking lines at the end are nothing in the relaxed form; the library counts them.
    let message = crate::message::without_blank_tail(message);
    keys.iter()
        .map(|key| {
            Ok(match &key.0 {
                Signer::Ed25519(signer) => signer.sign(message).map_err(failed)?.to_header(),
                Signer::Rsa(signer) => signer.sign(message).map_err(failed)?.to_header(),
            })
        })
        .collect()
}

/// A fresh key: PKCS#8 as PEM, and the value of `p=`. RSA keys have 2048 bits.
///
/// # Errors
/// [`SignError::Random`].
pub fn generate(algorithm: DkimAlgorithm) -> Result<(Secret, String), SignError> {
    let der = match algorithm {
        DkimAlgorithm::Ed25519 => {
            let made = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new());
            made.map_err(|_| SignError::Random)?.as_ref().to_vec()
        }
        DkimAlgorithm::Rsa => {
            let pair = RsaPair::generate(KeySize::Rsa2048).map_err(|_| SignError::Random)?;
            let made: aws_lc_rs::encoding::Pkcs8V1Der = pair.as_der().map_err(|_| SignError::Random)?;
            made.as_ref().to_vec()
        }
    };
    let secret = pem(&der);
    let public = public_value(algorithm, secret.reveal())?;
    Ok((secret, public))
}

/// The value of `p=` that belongs to a private key: the raw key for ed25519 (RFC 8463 §4.2), the
/// SubjectPublicKeyInfo for RSA.
///
/// # Errors
/// [`SignError::Form`].
pub fn public_value(algorithm: DkimAlgorithm, pem: &str) -> Result<String, SignError> {
    let der = der(pem, algorithm)?;
    let form = || SignError::Form(name(algorithm));
    Ok(match algorithm {
        DkimAlgorithm::Ed25519 => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| form())?;
            BASE64_STANDARD.encode(pair.public_key().as_ref())
        }
        DkimAlgorithm::Rsa => {
            let pair = RsaPair::from_pkcs8(&der).map_err(|_| form())?;
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| form())?;
            BASE64_STANDARD.encode(public.as_ref())
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fresh_keys_open_and_sign() {
        let domain = "example.org".parse().unwrap();
        for algorithm in [DkimAlgorithm::Ed25519, DkimAlgorithm::Rsa] {
            let (secret, public) = generate(algorithm).unwrap();
            assert_eq!(public_value(algorithm, secret.reveal()).unwrap(), public);
            let key = DkimKey::open(&domain, "s1", algorithm, &secret).unwrap();
            let fields = sign(&[key], b"From: ada@example.org\r\nSubject: x\r\n\r\nhello\r\n").unwrap();
            assert!(fields[0].starts_with("DKIM-Signature:") && fields[0].contains("d=example.org"), "{}", fields[0]);
            assert!(fields[0].ends_with("\r\n"));
            assert!(DkimKey::open(&domain, "s1", algorithm, &Secret::new("nonsense".into())).is_err());
        }
    }
}
