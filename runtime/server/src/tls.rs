//! Keys and certificates: what is served to whom.

use crate::secrets::Secrets;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use schema::config::Host;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Why TLS cannot be served as configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("TLS: {0}")]
    Secret(#[from] crate::secrets::SecretError),
    /// Not PEM, or of no known kind.
    #[error("{what}: {why}")]
    Unusable {
        /// Which file.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The certificates of one host, ready to serve.
#[derive(Clone)]
pub struct TlsTable {
    /// For mail protocols.
    pub mail: TlsAcceptor,
    /// For HTTP, with ALPN.
    pub http: TlsAcceptor,
    /// Whether the certificate is one that we signed ourselves.
    pub self_signed: bool,
}

#[derive(Debug)]
struct Chains(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Chains {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let covers = |chain: &&Arc<CertifiedKey>, name: &ServerName<'_>| {
            let leaf = chain.cert.first().map(ParsedCertificate::try_from);
            matches!(leaf, Some(Ok(leaf)) if verify_server_name(&leaf, name).is_ok())
        };
        let asked = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let found = asked.and_then(|name| self.0.iter().find(|chain| covers(chain, &name)));
        found.or(self.0.first()).cloned()
    }
}

impl TlsTable {
    /// Reads and checks every chain and key of a host.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn build(host: &Host, secrets: &Secrets) -> Result<TlsTable, TlsError> {
        let mut chains = Vec::new();
        for pair in &host.tls.certificates {
            let cert = secrets.octets(&pair.cert)?;
            let key = secrets.octets(&pair.key)?;
            chains.push(Arc::new(certified(&cert, &key, &pair.cert.to_string())?));
        }
        let self_signed = chains.is_empty();
        if self_signed {
            chains.push(Arc::new(own(host, secrets)?));
        }
        let chains = Arc::new(Chains(chains));
        let config = |alpn: &[&[u8]]| {
            let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::clone(&chains) as _);
            config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
            TlsAcceptor::from(Arc::new(config))
        };
        Ok(TlsTable { mail: config(&[]), http: config(&[b"http/1.1"]), self_signed })
    }
}

fn certified(cert: &[u8], key: &[u8], what: &str) -> Result<CertifiedKey, TlsError> {
    let wrong = |why: String| TlsError::Unusable { what: what.to_owned(), why };
    let chain = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(format!("not a PEM certificate chain: {error}")))?;
    if chain.is_empty() {
        return Err(wrong("holds no certificate".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| wrong("its key is not a PEM private key".into()))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider())
        .map_err(|error| wrong(format!("certificate and key cannot be used together: {error}")))
}

fn own(host: &Host, secrets: &Secrets) -> Result<CertifiedKey, TlsError> {
    let wrong =
        |error: rcgen::Error| TlsError::Unusable { what: "the self-signed certificate".into(), why: error.to_string() };
    let key = match &host.tls.self_signed_key {
        Some(key) => {
            let pem = String::from_utf8_lossy(&secrets.octets(key)?).into_owned();
            KeyPair::from_pem(&pem).map_err(wrong)?
        }
        None => KeyPair::generate().map_err(wrong)?,
    };
    let mut params = CertificateParams::new(vec![host.name.to_string()]).map_err(wrong)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, host.name.to_string());
    params.distinguished_name = name;
    let cert = params.self_signed(&key).map_err(wrong)?;
    certified(cert.pem().as_bytes(), key.serialize_pem().as_bytes(), "the self-signed certificate")
}
