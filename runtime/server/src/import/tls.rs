//! TLS to the other server.

use super::client::{PATIENCE, Peer, Stream};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Shakes hands with a peer whose certificate the system's authorities signed, or those of its `ca`, or that is itself
/// there.
///
/// # Errors
/// Why not, in words.
pub(super) async fn secure(peer: &Peer, plain: Box<dyn Stream>) -> Result<Box<dyn Stream>, String> {
    let place = &peer.host;
    let name = ServerName::try_from(peer.host.clone()).map_err(|_| format!("{place} is no server's name"))?;
    let known = authorities(peer.ca.as_deref())?;
    let mut roots = RootCertStore::empty();
    // One that cannot be read helps nobody, and harms nobody.
    roots.add_parsable_certificates(known.iter().cloned());
    let unusable = |error: &dyn std::fmt::Display| format!("no authority can be used: {error}");
    let provider = Arc::new(default_provider());
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let authorities = authorities.map_err(|error| unusable(&error))?;
    // The system's list names authorities alone.
    let own = if peer.ca.is_some() { known } else { Vec::new() };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| unusable(&error))?.dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(Verifier { authorities, own })).with_no_client_auth();
    let shaken = timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, plain)).await;
    let secured = shaken.map_err(|_| format!("{place} is silent"))?;
    let why = |error| format!("{place}: no TLS: {error}; --ca FILE names an authority of your own, or its certificate");
    Ok(Box::new(secured.map_err(why)?))
}

fn authorities(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(file) = file else { return Ok(rustls_native_certs::load_native_certs().certs) };
    let wrong = |error: rustls::pki_types::pem::Error| format!("{}: {error}", file.display());
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect();
    let found = found.map_err(wrong)?;
    if found.is_empty() { Err(format!("{} holds no certificate", file.display())) } else { Ok(found) }
}

/// Believes authorities, and certificates that were given whole: many a server signed its own, as if it were an authority,
/// which no authority may vouch for.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.own.contains(shown) {
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities.verify_server_cert(shown, chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
