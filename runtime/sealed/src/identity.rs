//! The private halves of recipients, which open what was sealed to them.

use age::ssh::{Identity as Ssh, UnsupportedKey};
use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The largest file of identities, in octets.
pub const IDENTITIES_MOST: usize = 64 << 10;
/// What every identity of age begins with, in either case.
const PREFIXES: [&str; 2] = ["age-secret-key-", "age-plugin-"];
/// The shortest run of letters and digits behind a prefix that makes it an identity rather than a mention of one.
const LEAST: usize = 16;

/// Why a file gives no identity. Holds nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    /// Over [`IDENTITIES_MOST`].
    #[error("is larger than {IDENTITIES_MOST} octets")]
    Large,
    /// There is none in it.
    #[error("holds no identity: `age-keygen` makes one")]
    Empty,
    /// A line is none.
    #[error("line {0} is no age identity")]
    Line(usize),
    /// An identity of a plugin.
    #[error("line {0} is an identity of a plugin, which is not supported")]
    Plugin(usize),
    /// It is locked itself.
    #[error(
        "is protected by a passphrase, which is not supported: open it with `age -d` or `ssh-keygen -p` into a file that only its user can read"
    )]
    Passphrase,
    /// An SSH key that nothing can be sealed to.
    #[error("is an SSH key of a kind that nothing can be encrypted to; `ssh-ed25519` and `ssh-rsa` are")]
    Ssh,
}

/// Where identities stand in a text, so that they can be refused where none belongs.
pub fn find(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let octets = text.as_bytes();
    let mut from = 0;
    while let Some(at) = octets.get(from..).and_then(|rest| rest.iter().position(|octet| matches!(octet, b'a' | b'A')))
    {
        let start = from + at;
        from = start + 1;
        // Most letters a are told apart by the next one.
        if !matches!(octets.get(from), Some(b'g' | b'G')) {
            continue;
        }
        let starts = |prefix: &str| {
            octets.get(start..start + prefix.len()).is_some_and(|here| here.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        let Some(prefix) = PREFIXES.into_iter().find(|prefix| starts(prefix)) else { continue };
        let rest = octets.get(start + prefix.len()..).unwrap_or_default();
        let length = rest.iter().take_while(|octet| octet.is_ascii_alphanumeric() || **octet == b'-').count();
        if length >= LEAST {
            from = start + prefix.len() + length;
            found.push(start..from);
        }
    }
    found
}

/// Whether a text holds an identity.
pub fn holds_identity(text: &str) -> bool {
    !find(text).is_empty()
}

/// Identities to open sealed secrets with.
#[derive(Default)]
pub struct Identities(Vec<Box<dyn age::Identity + Send + Sync>>);

impl fmt::Debug for Identities {
    /// How many, never which.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
}

impl Identities {
    /// The identities in a file's text: age's, one a line, with `#` comments; or one SSH private key.
    ///
    /// # Errors
    /// [`NoIdentity`].
    pub fn parse(text: &str) -> Result<Identities, NoIdentity> {
        if text.len() > IDENTITIES_MOST {
            return Err(NoIdentity::Large);
        }
        let text = text.trim_start_matches('\u{feff}');
        if crate::is_armoured(text) || text.starts_with("age-encryption.org/") {
            return Err(NoIdentity::Passphrase);
        }
        if text.trim_start().starts_with("-----BEGIN") {
            return ssh(text.trim_start());
        }
        let mut identities = Identities::default();
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            match line.parse::<age::x25519::Identity>() {
                Ok(identity) => identities.0.push(Box::new(identity)),
                Err(_) if line.to_ascii_lowercase().starts_with("age-plugin-") => {
                    return Err(NoIdentity::Plugin(number));
                }
                Err(_) => return Err(NoIdentity::Line(number)),
            }
        }
        if identities.is_empty() { Err(NoIdentity::Empty) } else { Ok(identities) }
    }

    /// Those of another file too.
    pub fn extend(&mut self, more: Identities) {
        self.0.extend(more.0);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| &**identity as &dyn age::Identity)
    }
}

/// Why identities cannot be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The identity stands where its file's name should. Others may have seen it, so its text is not repeated.
    #[error(
        "an identity was given where the name of its file belongs; every user of this machine may have seen it: make another one"
    )]
    Given,
    /// The system says no.
    #[error("the identity file {0}: {1}")]
    System(PathBuf, std::io::Error),
    /// It is none.
    #[error("the identity file {0} {1}")]
    None(PathBuf, NoIdentity),
}

/// Reads files of identities: all of them, and which of the files every user of the machine can read.
///
/// # Errors
/// [`LoadError`].
pub fn load(files: &[PathBuf]) -> Result<(Identities, Vec<PathBuf>), LoadError> {
    let mut all = Identities::default();
    let mut open = Vec::new();
    for path in files {
        if holds_identity(&path.to_string_lossy()) {
            return Err(LoadError::Given);
        }
        let (text, is_open) = read(path).map_err(|why| LoadError::System(path.clone(), why))?;
        all.extend(Identities::parse(&text).map_err(|why| LoadError::None(path.clone(), why))?);
        open.extend(is_open.then(|| path.clone()));
    }
    Ok((all, open))
}

fn read(path: &Path) -> std::io::Result<(String, bool)> {
    let file = std::fs::File::open(path)?;
    let open = file.metadata()?.mode() & 0o004 != 0;
    let mut octets = Vec::new();
    file.take(IDENTITIES_MOST as u64 + 1).read_to_end(&mut octets)?;
    // The error of a conversion would hold the octets.
    let text = String::from_utf8(octets).map_err(|_| std::io::Error::other("is no text"))?;
    Ok((text, open))
}

fn ssh(text: &str) -> Result<Identities, NoIdentity> {
    match Ssh::from_buffer(text.as_bytes(), None) {
        Ok(identity @ Ssh::Unencrypted(_)) => Ok(Identities(vec![Box::new(identity)])),
        Ok(Ssh::Encrypted(_) | Ssh::Unsupported(UnsupportedKey::EncryptedPem | UnsupportedKey::EncryptedSsh(_))) => {
            Err(NoIdentity::Passphrase)
        }
        _ => Err(NoIdentity::Ssh),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ONE: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

    #[test]
    fn a_file_is_read_as_age_keygen_writes_it() {
        let text = format!("# created: 2026-11-24\n# public key: age1\n{ONE}\r\n\n");
        assert_eq!(Identities::parse(&text).unwrap().0.len(), 1);
        for (text, why) in [
            (String::new(), NoIdentity::Empty),
            ("# nothing\n".into(), NoIdentity::Empty),
            (format!("{ONE}\nhunter2\n"), NoIdentity::Line(2)),
            ("AGE-PLUGIN-YUBIKEY-1QQQQ\n".into(), NoIdentity::Plugin(1)),
            (format!("{}\nx\n", crate::ARMOUR), NoIdentity::Passphrase),
            ("-----BEGIN PRIVATE KEY-----\nx\n".into(), NoIdentity::Ssh),
            ("x".repeat(IDENTITIES_MOST + 1), NoIdentity::Large),
        ] {
            let error = Identities::parse(&text).map(|_| ()).unwrap_err();
            assert_eq!(error, why);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn identities_are_found_wherever_they_stand() {
        let text = format!("// é {ONE}, and {}; AGE-SECRET-KEY-1… is how they begin", ONE.to_lowercase());
        let found = find(&text);
        assert_eq!(found.iter().map(|span| text[span.clone()].to_uppercase()).collect::<Vec<_>>(), [ONE, ONE]);
        assert!(!holds_identity("age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa"));
        assert!(!holds_identity("a file of AGE-SECRET-KEY-1 lines"));
    }
}
