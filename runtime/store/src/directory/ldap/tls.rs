//! TLS to an LDAP server: who is trusted, and what we show.

use crate::error::{Cause, StoreError};
use crate::open::Ground;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use schema::config::LdapTls;
use schema::name::{Secret, SecretRef};
use std::sync::Arc;

/// The settings of every connection. `trust` are authorities beside the system's.
///
/// # Errors
/// [`StoreError::Misconfigured`] where a certificate or key cannot be read.
pub(super) fn client(given: &LdapTls, trust: &[SecretRef], ground: &Ground) -> Result<Arc<ClientConfig>, StoreError> {
    let mut roots = RootCertStore::empty();
    match &given.ca {
        Some(ca) => add(&mut roots, ca, ground)?,
        None => {
            let system = rustls_native_certs::load_native_certs();
            // One that cannot be read is one that nobody is trusted for.
            roots.add_parsable_certificates(system.certs);
            trust.iter().try_for_each(|ca| add(&mut roots, ca, ground))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.map_err(|error| wrong(&error))?.with_root_certificates(roots);
    let own = pem(given.cert.as_ref(), ground)?.zip(pem(given.key.as_ref(), ground)?);
    let client = match own {
        None => client.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = certificates(&chain)?;
            let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes());
            let key = key.map_err(|error| wrong(&format!("the key of the client's certificate: {error}")))?;
            client.with_client_auth_cert(chain, key).map_err(|error| wrong(&error))?
        }
    };
    Ok(Arc::new(client))
}

fn wrong(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Misconfigured(Cause::new(format!("TLS to an LDAP server: {error}")))
}

fn pem(reference: Option<&SecretRef>, ground: &Ground) -> Result<Option<Secret>, StoreError> {
    ground.secret(reference)
}

fn certificates(pem: &Secret) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.reveal().as_bytes()).collect();
    all.map_err(|error| wrong(&error))
}

fn add(roots: &mut RootCertStore, ca: &SecretRef, ground: &Ground) -> Result<(), StoreError> {
    let Some(text) = pem(Some(ca), ground)? else { return Ok(()) };
    let certificates = certificates(&text)?;
    if certificates.is_empty() {
        return Err(wrong(&format!("{ca} holds no certificate")));
    }
    certificates.into_iter().try_for_each(|one| roots.add(one)).map_err(|error| wrong(&error))
}
