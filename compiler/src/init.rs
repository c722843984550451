//! `waybill init`: a first spec with fresh keys and one account.

use crate::resolve::no_machine;
use crate::write::{self, Mode};
use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{KeyPair, PublicKeyData};
use schema::name::{DomainName, HostName, LocalPart};
use schema::spec::DkimAlgorithm;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// SCRAM's work (RFC 7677 §4 wants 4096 at least).
const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");
/// Characters of a password: none that is taken for another. 32 of them, so that each is five bits.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Characters of a password: 100 bits.
const PASSWORD_LENGTH: usize = 20;

/// What a first spec is made of.
#[derive(Clone, Debug)]
pub struct First {
    /// The folder, made if it is not there.
    pub folder: PathBuf,
    /// The mail domain.
    pub domain: DomainName,
    /// The machine.
    pub host: HostName,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The first person.
    pub account: LocalPart,
    /// Ports above 1024 on 127.0.0.1, for a trial without root.
    pub high_ports: bool,
    /// Today's year and month, for the keys' names.
    pub year: i64,
    /// The month, from 1.
    pub month: u32,
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// Files, from the folder.
    pub files: Vec<String>,
    /// The account's password, which stands nowhere else.
    pub password: String,
}

/// Why no spec was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one.
    #[error("{0} is there already; choose another folder, or edit it")]
    Exists(String),
    /// An address that is no machine's, or one given twice.
    #[error("--address {0} {1}")]
    Address(IpAddr, &'static str),
    /// A file cannot be written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The system gives no randomness, or a key cannot be made.
    #[error("no key can be made: {0}")]
    Key(String),
}

fn random<const N: usize>() -> Result<[u8; N], InitError> {
    let mut octets = [0; N];
    rand::fill(&mut octets).map_err(|_| InitError::Key("the system gives no random octets".into()))?;
    Ok(octets)
}

/// Writes a first spec. Nothing that is there is touched.
///
/// # Errors
/// [`InitError`].
pub fn init(wish: &First) -> Result<Made, InitError> {
    let root = wish.folder.join("mail.kdl");
    let secrets = wish.folder.join("secrets");
    for path in [&root, &secrets] {
        if path.exists() {
            return Err(InitError::Exists(path.display().to_string()));
        }
    }
    for (n, address) in wish.addresses.iter().enumerate() {
        if let Some((why, _)) = no_machine(address) {
            return Err(InitError::Address(*address, why));
        }
        if wish.addresses[..n].contains(address) {
            return Err(InitError::Address(*address, "is given twice"));
        }
    }
    let key = |error: String| InitError::Key(error);
    let (ed25519, ed25519_public) = mail::sign::generate(DkimAlgorithm::Ed25519).map_err(|e| key(e.to_string()))?;
    let (rsa, rsa_public) = mail::sign::generate(DkimAlgorithm::Rsa).map_err(|e| key(e.to_string()))?;
    let tls = KeyPair::generate().map_err(|e| key(e.to_string()))?;
    let password = password()?;
    let names = Names {
        ed25519: format!("{}{:02}e", wish.year, wish.month),
        rsa: format!("{}{:02}r", wish.year, wish.month),
        tls: format!("{}a", wish.year),
    };
    let publics = Publics {
        ed25519: ed25519_public,
        rsa: rsa_public,
        tls: BASE64_STANDARD.encode(tls.subject_public_key_info()),
    };
    let text = spec(wish, &names, &publics, &credentials(&password)?);
    make_private(&secrets)?;
    let mut files = Vec::new();
    let mut put = |name: String, octets: &[u8], mode: Mode| -> Result<(), InitError> {
        write::create(&wish.folder.join(&name), octets, mode)?;
        files.push(name);
        Ok(())
    };
    put(format!("secrets/{}.pem", names.ed25519), ed25519.reveal().as_bytes(), Mode::Private)?;
    put(format!("secrets/{}.pem", names.rsa), rsa.reveal().as_bytes(), Mode::Private)?;
    put(format!("secrets/tls-{}.pem", names.tls), tls.serialize_pem().as_bytes(), Mode::Private)?;
    if !wish.folder.join(".gitignore").exists() {
        put(".gitignore".into(), b"/secrets/\n/data/\n", Mode::Public)?;
    }
    // Last: a folder with this file is a spec.
    put("mail.kdl".into(), text.as_bytes(), Mode::Public)?;
    files.sort();
    Ok(Made { files, password })
}

fn make_private(folder: &Path) -> Result<(), InitError> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    Ok(std::fs::DirBuilder::new().mode(0o700).create(folder)?)
}

fn password() -> Result<String, InitError> {
    let octets = random::<PASSWORD_LENGTH>()?;
    let letters: Vec<u8> = octets.iter().map(|octet| ALPHABET[usize::from(octet % 32)]).collect();
    let parts: Vec<String> = letters.chunks(5).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    Ok(parts.join("-"))
}

/// A password's hash and SCRAM verifier as a spec has them.
///
/// # Errors
/// [`InitError::Key`] where the system gives no randomness.
pub fn credentials(password: &str) -> Result<String, InitError> {
    let params = Params::new(19_456, 2, 1, None).map_err(|error| InitError::Key(error.to_string()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2
        .hash_password_with_salt(password.as_bytes(), &random::<16>()?)
        .map_err(|error| InitError::Key(error.to_string()))?;
    // RFC 5802 §3, RFC 7677.
    let salt = random::<16>()?;
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut salted);
    let key = |what: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salted), what);
    let stored = digest::digest(&digest::SHA256, key(b"Client Key").as_ref());
    let (salt, stored) = (BASE64_STANDARD.encode(salt), BASE64_STANDARD.encode(stored));
    let server = BASE64_STANDARD.encode(key(b"Server Key"));
    Ok(format!("(hash)\"{hash}\" (scram)\"SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}\""))
}

struct Names {
    ed25519: String,
    rsa: String,
    tls: String,
}

struct Publics {
    ed25519: String,
    rsa: String,
    tls: String,
}

fn spec(wish: &First, names: &Names, publics: &Publics, credentials: &str) -> String {
    let mut text = format!("waybill 1\n\nhost \"{}\" {{\n", wish.host);
    let addresses: Vec<String> = wish.addresses.iter().map(|address| format!(" \"{address}\"")).collect();
    // Writing to a String cannot fail.
    if wish.high_ports {
        let addresses = if addresses.is_empty() { " \"127.0.0.1\"".to_owned() } else { addresses.concat() };
        let _ = write!(text, "    address{addresses}\n    listen {{\n        bind \"127.0.0.1\"\n");
        let ports = [
            ("smtp", 2525),
            ("submission", 2587),
            ("submissions", 2465),
            ("imap", 2143),
            ("imaps", 2993),
            ("https", 2443),
            ("http", 2080),
        ];
        for (service, port) in ports {
            let _ = writeln!(text, "        {service} {port}");
        }
        text += "    }\n";
    } else {
        let _ = if addresses.is_empty() {
            writeln!(text, "    // address \"192.0.2.25\" \"2001:db8::25\"   // its public addresses")
        } else {
            writeln!(text, "    address{}", addresses.concat())
        };
        text += "    listen {\n        smtp 25\n        submission 587\n        submissions 465\n        imaps 993\n        imap 143\n        https 443\n    }\n";
    }
    let _ = write!(
        text,
        "    tls {{\n        key \"{name}\" ec public=\"{public}\" private=(file)\"secrets/tls-{name}.pem\"\n        \
         self-signed   // or: certificate cert=(file)\"tls/mail.pem\" key=(file)\"tls/mail.key\"\n    }}\n}}\n\n\
         store \"local\" {{ rocksdb \"data\"; }}\n\n",
        name = names.tls,
        public = publics.tls
    );
    let _ = write!(text, "domain \"{}\" {{\n    dkim {{\n", wish.domain);
    for (name, algorithm, public) in [(&names.ed25519, "ed25519", &publics.ed25519), (&names.rsa, "rsa", &publics.rsa)]
    {
        let _ = writeln!(
            text,
            "        key \"{name}\" {algorithm} public=\"{public}\" private=(file)\"secrets/{name}.pem\""
        );
    }
    let _ = write!(text, "    }}\n\n    account \"{}\" {{\n        password {credentials}\n    }}\n", wish.account);
    if wish.account != LocalPart::postmaster() {
        let _ = writeln!(text, "    alias \"postmaster\" \"{}\"", wish.account);
    }
    if wish.account.as_str() != "abuse" {
        let _ = writeln!(text, "    alias \"abuse\" \"{}\"", wish.account);
    }
    // The layout is the canonical one, comments and all.
    let text = text + "}\n";
    crate::format::format(&text).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::diagnostic::Report;
    use crate::read::files::Sources;
    use crate::resolve::Outside;

    #[test]
    fn a_first_spec_is_right() {
        for high_ports in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let wish = First {
                folder: folder.path().join("mail"),
                domain: "example.org".parse().unwrap(),
                host: "mail.example.org".parse().unwrap(),
                addresses: Vec::new(),
                account: "ada".parse().unwrap(),
                high_ports,
                year: 2026,
                month: 11,
            };
            let made = init(&wish).unwrap();
            assert_eq!(made.files.len(), 5);
            assert_eq!(made.password.len(), 23);
            let sources = Sources::open(&wish.folder).unwrap();
            let mut report = Report::new();
            let reading = crate::read::read(&sources, &mut report);
            let outside = Outside { sources: &sources, now: 0, secrets: true, identities: None };
            let resolved = crate::resolve::resolve(&reading.spec, &outside, &mut report);
            assert!(!report.has_errors() && !resolved.domains.is_empty(), "{:#?}", report.diagnostics());
            let text = std::fs::read_to_string(wish.folder.join("mail.kdl")).unwrap();
            assert_eq!(crate::format::format(&text), Ok(text));
            assert!(matches!(init(&wish), Err(InitError::Exists(_))));
            for wrong in [vec!["0.0.0.0"], vec!["192.0.2.1", "192.0.2.1"], vec!["::ffff:192.0.2.1"], vec!["ff02::1"]] {
                let addresses = wrong.iter().map(|address| address.parse().unwrap()).collect();
                let folder = folder.path().join("other");
                let wish = First { folder: folder.clone(), addresses, ..wish.clone() };
                assert!(matches!(init(&wish), Err(InitError::Address(..))), "{wrong:?}");
                assert!(!folder.exists());
            }
        }
    }
}
