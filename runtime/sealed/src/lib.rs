//! Secrets encrypted with age (age-encryption.org/v1), as they stand in a spec's repository: opened and sealed, within
//! limits. The compiler and the server share it, so that both take the same files and refuse the same.
//!
//! - [`recipient`] – to whom secrets are sealed: age's own keys and SSH's;
//! - [`identity`] – the private halves, which open them;
//! - [`header`] – what a sealed secret shows without being opened;
//! - [`open`] and [`seal`] – the two ways.
//!
//! Nothing here reads a file but [`identity::load`], and no error holds a part of a secret, an identity or a sealed text.

pub mod header;
pub mod identity;
pub mod recipient;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use header::Header;
use identity::Identities;
use recipient::Recipient;
use std::io::{Read, Write};

/// The largest sealed secret, armour included, in octets.
pub const SEALED_MOST: usize = 1 << 20;

/// How a sealed text begins.
pub const ARMOUR: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
/// How a sealed text ends.
pub const ARMOUR_END: &str = "-----END AGE ENCRYPTED FILE-----";
/// How the names of sealed files end.
pub const SUFFIX: &str = ".age";

/// Why a sealed secret cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// Over [`SEALED_MOST`].
    #[error("is larger than {SEALED_MOST} octets")]
    Large,
    /// No age file, or one of another version.
    #[error("is no file encrypted with age")]
    NotAge,
    /// The header is larger than [`header::HEADER_MOST`] or has more than [`header::STANZAS_MOST`] stanzas.
    #[error("has more than {most} recipients or a header of more than {octets} octets", most = header::STANZAS_MOST, octets = header::HEADER_MOST)]
    Header,
    /// Opening it would cost the work that its author chose.
    #[error("is encrypted with a passphrase, and only what is encrypted to recipients is taken")]
    Passphrase,
    /// There is nothing to open it with.
    #[error("needs an identity to be opened, and none was given")]
    NoIdentity,
    /// It is for others.
    #[error("is not encrypted to any of the identities given")]
    OtherIdentity,
    /// Its seal is broken.
    #[error("is damaged: it was changed or cut after it was encrypted")]
    Damaged,
}

/// Why a secret cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// Nobody could ever open it.
    #[error("there is no recipient to encrypt to")]
    NoRecipient,
    /// It would be larger than what is opened.
    #[error("a secret is at most {SEALED_MOST} octets once encrypted")]
    Large,
    /// The system gives no random octets, or a key is unusable.
    #[error("the secret cannot be encrypted to these recipients")]
    Failed,
}

/// Whether a value is itself a sealed text, rather than the name of a file.
pub fn is_armoured(value: &str) -> bool {
    value.trim_start().starts_with(ARMOUR)
}

/// The age file within its armour, if it has one.
///
/// # Errors
/// [`Unopened::Large`], [`Unopened::NotAge`] for armour that is not well-formed.
pub(crate) fn bare(sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
    if sealed.len() > SEALED_MOST {
        return Err(Unopened::Large);
    }
    let start = sealed.trim_ascii_start();
    if !start.starts_with(ARMOUR.as_bytes()) {
        return Ok(sealed.to_vec());
    }
    let mut octets = Vec::new();
    ArmoredReader::new(start).read_to_end(&mut octets).map_err(|_| Unopened::NotAge)?;
    Ok(octets)
}

/// Opens a sealed secret, armoured or not.
///
/// # Errors
/// [`Unopened`].
pub fn open(sealed: &[u8], identities: &Identities) -> Result<Vec<u8>, Unopened> {
    let octets = bare(sealed)?;
    let header = Header::of_bare(&octets)?;
    if header.passphrase {
        return Err(Unopened::Passphrase);
    }
    if identities.is_empty() {
        return Err(Unopened::NoIdentity);
    }
    let failed = |error: age::DecryptError| match error {
        age::DecryptError::NoMatchingKeys => Unopened::OtherIdentity,
        age::DecryptError::UnknownFormat | age::DecryptError::InvalidHeader => Unopened::NotAge,
        _ => Unopened::Damaged,
    };
    let decryptor = age::Decryptor::new_buffered(octets.as_slice()).map_err(failed)?;
    let mut plain = Vec::new();
    let mut reader = decryptor.decrypt(identities.each()).map_err(failed)?;
    reader.read_to_end(&mut plain).map_err(|_| Unopened::Damaged)?;
    Ok(plain)
}

/// Seals a secret to recipients, as armoured text that ends in a line end.
///
/// # Errors
/// [`Unsealed`].
pub fn seal(plain: &[u8], recipients: &[Recipient]) -> Result<String, Unsealed> {
    if recipients.is_empty() {
        return Err(Unsealed::NoRecipient);
    }
    let failed = |_: std::io::Error| Unsealed::Failed;
    let to = recipients.iter().map(Recipient::key);
    let encryptor = age::Encryptor::with_recipients(to).map_err(|_| Unsealed::Failed)?;
    let armour = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).map_err(failed)?;
    let mut writer = encryptor.wrap_output(armour).map_err(failed)?;
    writer.write_all(plain).map_err(failed)?;
    let octets = writer.finish().and_then(ArmoredWriter::finish).map_err(failed)?;
    if octets.len() > SEALED_MOST {
        return Err(Unsealed::Large);
    }
    String::from_utf8(octets).map_err(|_| Unsealed::Failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use age::secrecy::{ExposeSecret, SecretString};

    fn pair() -> (Identities, Recipient) {
        let identity = age::x25519::Identity::generate();
        let recipient = identity.to_public().to_string().parse().unwrap();
        (Identities::parse(identity.to_string().expose_secret()).unwrap(), recipient)
    }

    #[test]
    fn what_is_sealed_is_opened_by_each_recipient_and_nobody_else() {
        let ((one, to_one), (two, to_two), (other, _)) = (pair(), pair(), pair());
        let sealed = seal(b"hunter2", &[to_one, to_two]).unwrap();
        assert!(is_armoured(&sealed) && sealed.trim_end().ends_with(ARMOUR_END));
        for identities in [&one, &two] {
            assert_eq!(open(sealed.as_bytes(), identities).unwrap(), b"hunter2");
            // Indented, as a text in KDL may be, and with another line end.
            assert_eq!(open(format!("\n{}", sealed.replace('\n', "\r\n")).as_bytes(), identities).unwrap(), b"hunter2");
        }
        assert_eq!(open(sealed.as_bytes(), &other), Err(Unopened::OtherIdentity));
        assert_eq!(open(sealed.as_bytes(), &Identities::default()), Err(Unopened::NoIdentity));
        assert_eq!(open(&bare(sealed.as_bytes()).unwrap(), &one).unwrap(), b"hunter2");
        assert_eq!(seal(b"x", &[]), Err(Unsealed::NoRecipient));
        assert_eq!(seal(&vec![0; SEALED_MOST], &[pair().1]), Err(Unsealed::Large));
    }

    #[test]
    fn what_is_broken_is_told_and_nothing_panics() {
        let (one, to_one) = pair();
        let sealed = seal(b"hunter2 and more", &[to_one]).unwrap();
        let octets = bare(sealed.as_bytes()).unwrap();
        for at in 0..octets.len() {
            let mut broken = octets.clone();
            broken[at] ^= 1;
            assert!(open(&broken, &one).is_err(), "{at}");
            assert!(open(&octets[..at], &one).is_err(), "{at}");
        }
        for at in 0..sealed.len() - 1 {
            assert!(open(&sealed.as_bytes()[..at], &one).is_err(), "{at}");
        }
        assert_eq!(open(&vec![0; SEALED_MOST + 1], &one), Err(Unopened::Large));
        assert_eq!(open(b"hunter2", &one), Err(Unopened::NotAge));
    }

    #[test]
    fn a_passphrase_is_refused_before_any_work() {
        let recipient = age::scrypt::Recipient::new(SecretString::from("swordfish".to_owned()));
        let sealed = age::encrypt_and_armor(&recipient, b"x").unwrap();
        assert_eq!(open(sealed.as_bytes(), &pair().0), Err(Unopened::Passphrase));
        assert_eq!(open(sealed.as_bytes(), &Identities::default()), Err(Unopened::Passphrase));
    }

    #[test]
    fn a_header_is_bounded() {
        let stanza = format!("-> X25519 {}\n{}\n", "A".repeat(43), "A".repeat(43));
        let many = format!("age-encryption.org/v1\n{}--- {}\n", stanza.repeat(300), "A".repeat(43));
        assert_eq!(open(many.as_bytes(), &pair().0), Err(Unopened::Header));
        let long = format!("age-encryption.org/v1\n-> x\n{}", "A\n".repeat(1 << 18));
        assert_eq!(open(long.as_bytes(), &pair().0), Err(Unopened::Header));
    }
}
