//! TLS to the server: whom we trust, who we are, and which name its certificate must have.

use crate::error::{Cause, StoreError};
use crate::open::Ground;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use schema::spec::ClientTls;
use std::sync::Arc;

/// How a server is verified: against the authorities of `ca`, or else the system's.
///
/// # Errors
/// [`StoreError::Misconfigured`], without a secret.
pub fn config(given: Option<&ClientTls>, ground: &Ground) -> Result<ClientConfig, StoreError> {
    let none = ClientTls::default();
    let given = given.unwrap_or(&none);
    let provider = Arc::new(default_provider());
    let roots = roots(given, ground)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let verifier: Arc<dyn ServerCertVerifier> = match (verifier.map_err(wrong)?, &given.name) {
        (verifier, None) => verifier,
        (verifier, Some(name)) => {
            let name = ServerName::try_from(name.clone()).map_err(|error| wrong(format!("`tls name`: {error}")))?;
            Arc::new(Named { verifier, name })
        }
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(wrong)?;
    // The verifier is rustls' own; at most the name differs that it is given.
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let own = ground.secret(given.cert.as_ref())?.zip(ground.secret(given.key.as_ref())?);
    let Some((chain, key)) = own else { return Ok(builder.with_no_client_auth()) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.reveal().as_bytes()).collect();
    let chain = chain.map_err(|error| wrong(format!("`tls cert` is no PEM: {error}")))?;
    // What a key's error says may show what the key is.
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes()).map_err(|_| wrong("`tls key` is no PEM key"))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| wrong(format!("`tls cert` and `key`: {error}")))
}

/// What a client has that never uses TLS: nobody is trusted.
///
/// # Errors
/// None in practice.
pub fn unused() -> Result<ClientConfig, StoreError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(wrong)?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn roots(given: &ClientTls, ground: &Ground) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    match ground.secret(given.ca.as_ref())? {
        Some(pem) => {
            for root in CertificateDer::pem_slice_iter(pem.reveal().as_bytes()) {
                let root = root.map_err(|error| wrong(format!("`tls ca` is no PEM: {error}")))?;
                roots.add(root).map_err(|error| wrong(format!("`tls ca`: {error}")))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn wrong(why: impl std::fmt::Display) -> StoreError {
    StoreError::Misconfigured(Cause::new(why))
}

/// Verifies against a name of ours in place of the URL's.
#[derive(Debug)]
struct Named {
    verifier: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, &self.name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
