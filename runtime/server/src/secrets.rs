//! Opening references to secrets, at the edge and nowhere else.

use schema::name::{Secret, SecretRef};
use std::path::{Component, Path, PathBuf};

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
    /// Not served by this version.
    #[error("(age) secrets are not served by this version; use (file) or (env)")]
    Age,
}

/// Where secrets are looked for.
#[derive(Clone, Debug)]
pub struct Secrets {
    root: PathBuf,
}

impl Secrets {
    /// Files are relative to `root`.
    pub fn new(root: PathBuf) -> Secrets {
        Secrets { root }
    }

    /// The folder that files are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The octets of a file or variable.
    ///
    /// # Errors
    /// [`SecretError`], naming the reference and the folder.
    pub fn octets(&self, reference: &SecretRef) -> Result<Vec<u8>, SecretError> {
        match reference {
            SecretRef::File(path) => {
                let failed = |why| SecretError::File { reference: reference.clone(), folder: self.root.clone(), why };
                let full = self.inside(Path::new(path)).map_err(failed)?;
                let size = std::fs::metadata(&full).map_err(failed)?.len();
                if size > SECRET_MOST {
                    return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
                }
                std::fs::read(&full).map_err(failed)
            }
            SecretRef::Env(name) => {
                std::env::var(name).map(String::into_bytes).map_err(|_| SecretError::Env(reference.clone()))
            }
            SecretRef::Age(_) => Err(SecretError::Age),
        }
    }

    /// A secret as text, without surrounding white space.
    ///
    /// # Errors
    /// As [`Secrets::octets`].
    pub fn text(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        let octets = self.octets(reference)?;
        Ok(Secret::new(String::from_utf8_lossy(&octets).trim().to_owned()))
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
