//! Opening references to secrets, at the edge and nowhere else.

use schema::name::{Secret, SecretRef};
use sealed::Unopened;
use sealed::identity::Identities;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use store::open::Reveal;

/// The largest secret file.
const SECRET_MOST: u64 = 1 << 20;

/// Why a secret cannot be opened. Never holds one.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such file, or not readable.
    #[error("{reference} cannot be read from {folder}: {why}; set its folder with --secrets", folder = .folder.display())]
    File {
        /// As in the spec.
        reference: SecretRef,
        /// Where it was looked for.
        folder: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// Not set.
    #[error("{0} is not set in the server's environment")]
    Env(SecretRef),
    /// Encrypted, and not to be opened here.
    #[error("{reference} {why}{}", hint(*.why))]
    Sealed {
        /// As in the spec.
        reference: SecretRef,
        /// Why not.
        why: Unopened,
    },
}

fn hint(why: Unopened) -> &'static str {
    match why {
        Unopened::NoIdentity => ": name its file with --identity FILE or in WAYBILL_IDENTITY",
        Unopened::OtherIdentity => {
            ": make this server's identity a recipient of the spec and run `waybill secrets rekey`, or name another --identity"
        }
        _ => "; make it anew with `waybill secrets encrypt`",
    }
}

/// Where secrets are looked for, and what the encrypted ones are opened with.
#[derive(Clone, Debug)]
pub struct Secrets {
    root: PathBuf,
    identities: Arc<Identities>,
}

impl Secrets {
    /// Files are relative to `root`.
    pub fn new(root: PathBuf, identities: Identities) -> Secrets {
        Secrets { root, identities: Arc::new(identities) }
    }

    /// The file that a secret is kept in, if it is in one.
    pub fn file(&self, reference: &SecretRef) -> Option<PathBuf> {
        reference.file().map(|path| self.root.join(path))
    }

    /// The octets of a file or variable, opened where they are encrypted.
    ///
    /// # Errors
    /// [`SecretError`], naming the reference and the folder.
    pub fn octets(&self, reference: &SecretRef) -> Result<Vec<u8>, SecretError> {
        match reference {
            SecretRef::File(path) => self.read(path, reference),
            SecretRef::Env(name) => {
                std::env::var(name).map(String::into_bytes).map_err(|_| SecretError::Env(reference.clone()))
            }
            SecretRef::Age(value) => {
                let sealed = match reference.file() {
                    Some(path) => self.read(path, reference)?,
                    None => value.clone().into_bytes(),
                };
                sealed::open(&sealed, &self.identities)
                    .map_err(|why| SecretError::Sealed { reference: reference.clone(), why })
            }
        }
    }

    fn read(&self, path: &str, reference: &SecretRef) -> Result<Vec<u8>, SecretError> {
        let failed = |why| SecretError::File { reference: reference.clone(), folder: self.root.clone(), why };
        let full = self.inside(Path::new(path)).map_err(failed)?;
        let size = std::fs::metadata(&full).map_err(failed)?.len();
        if size > SECRET_MOST {
            return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
        }
        std::fs::read(&full).map_err(failed)
    }

    /// A secret as text, without surrounding white space.
    ///
    /// # Errors
    /// As [`Secrets::octets`].
    pub fn text(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        let octets = self.octets(reference)?;
        Ok(Secret::new(String::from_utf8_lossy(&octets).trim().to_owned()))
    }

    /// How the stores open the secrets that they are configured with.
    pub fn revealing(&self) -> Reveal {
        let secrets = self.clone();
        Arc::new(move |reference| secrets.text(reference).map_err(|error| error.to_string()))
    }

    // An artefact comes from a pipeline: it names files under the root, never elsewhere.
    fn inside(&self, path: &Path) -> std::io::Result<PathBuf> {
        let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !plain {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path leads out of the folder"));
        }
        Ok(self.root.join(path))
    }
}
