//! Who is trusted where this program asks over TLS: whom the system trusts, and the spec's `trust`.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};

/// Certificate authorities, loaded when first asked for.
#[derive(Debug, Default)]
pub struct Trust {
    /// Beside the system's, PEM.
    own: Vec<String>,
    config: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Trust {
    /// The system's, and these certificates in PEM.
    pub fn beside(own: Vec<String>) -> Trust {
        Trust { own, config: OnceLock::new() }
    }

    /// What a client asks with; it speaks HTTP/1.1 where it says a protocol at all.
    ///
    /// # Errors
    /// Where a certificate is none, or nobody is trusted.
    pub fn config(&self) -> Result<Arc<ClientConfig>, String> {
        self.config.get_or_init(|| Ok(Arc::new(self.load()?))).clone()
    }

    /// The certificates that are trusted.
    ///
    /// # Errors
    /// Where a certificate is none, or nobody is trusted.
    pub fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        // One that is no certificate to rustls is none that a server could show either.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for pem in &self.own {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
            let found = found.map_err(|error| format!("`trust`: {error}"))?;
            if found.is_empty() {
                return Err("`trust`: a file without a certificate in PEM".into());
            }
            for one in found {
                roots.add(one).map_err(|error| format!("`trust`: {error}"))?;
            }
        }
        match roots.is_empty() {
            true => Err("this system trusts no certificate authority: install `ca-certificates`".into()),
            false => Ok(roots),
        }
    }

    fn load(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        Ok(builder.with_root_certificates(self.roots()?).with_no_client_auth())
    }
}
