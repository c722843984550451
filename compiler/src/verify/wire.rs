//! Connections as strangers make them: greetings, STARTTLS, certificates that are looked at whether or not they hold.

use super::Eyes;
use crate::tls::Trust;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long a connection is waited for.
const CONNECT: Duration = Duration::from_secs(10);
/// How long each answer is waited for; a server may make strangers wait.
const ANSWER: Duration = Duration::from_secs(30);
/// The longest line, and the longest page, in octets.
const LONGEST_LINE: u64 = 4096;
const LONGEST_BODY: usize = 1 << 20;
/// The most lines of one reply.
const MOST_LINES: usize = 100;

/// A certificate chain as a server showed it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The chain, the server's own first.
    pub chain: Vec<Vec<u8>>,
    /// Whether it holds for the name; why not.
    pub holds: Result<(), String>,
    /// Until when the server's own holds, in seconds since 1970.
    pub until: i64,
}

/// What a stranger and a server say to each other.
pub struct Talk<S> {
    stream: BufReader<S>,
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "does not answer")
}

/// Connects.
pub async fn connect(ip: IpAddr, port: u16) -> io::Result<TcpStream> {
    match timeout(CONNECT, TcpStream::connect(SocketAddr::new(ip, port))).await {
        Ok(stream) => stream,
        Err(_) => Err(late()),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// Over a connection.
    pub fn new(stream: S) -> Talk<S> {
        Talk { stream: BufReader::new(stream) }
    }

    /// The next line, without its end.
    pub async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let read = async { (&mut self.stream).take(LONGEST_LINE).read_until(b'\n', &mut line).await };
        match timeout(ANSWER, read).await {
            Ok(Ok(0)) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closes the connection")),
            Ok(read) => read.map(|_| String::from_utf8_lossy(&line).trim_end().to_owned()),
            Err(_) => Err(late()),
        }
    }

    /// Says a line.
    pub async fn say(&mut self, line: &str) -> io::Result<()> {
        let said = async {
            self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
            self.stream.get_mut().flush().await
        };
        timeout(ANSWER, said).await.unwrap_or_else(|_| Err(late()))
    }

    /// An SMTP reply: its code, and its lines without it.
    pub async fn reply(&mut self) -> io::Result<(u16, Vec<String>)> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code: u16 = code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("says `{line}`")))?;
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') || lines.len() > MOST_LINES {
                return Ok((code, lines));
            }
        }
    }

    /// A command and its reply.
    pub async fn ask(&mut self, line: &str) -> io::Result<(u16, Vec<String>)> {
        self.say(line).await?;
        self.reply().await
    }

    /// The lines up to one that begins so.
    pub async fn until(&mut self, start: &str) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        while lines.len() < MOST_LINES {
            let line = self.line().await?;
            let last = line.starts_with(start);
            lines.push(line);
            if last {
                return Ok(lines);
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "talks without end"))
    }

    /// The connection, for TLS.
    pub fn into_inner(self) -> S {
        self.stream.into_inner()
    }
}

/// A chain, and whether it holds.
type Seen = (Vec<Vec<u8>>, Result<(), String>);

/// Takes every chain, and remembers whether it holds.
#[derive(Debug)]
struct Recorder {
    inner: Arc<WebPkiServerVerifier>,
    seen: Mutex<Option<Seen>>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let holds = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let chain = std::iter::once(end_entity).chain(intermediates).map(|one| one.to_vec()).collect();
        let holds = holds.map(|_| ()).map_err(|error| error.to_string());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((chain, holds));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl Eyes<'_> {
    /// Goes over to TLS, whatever the certificate; what it was.
    pub(super) async fn tls<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        name: &str,
    ) -> Result<(TlsStream<S>, Shown), String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(self.trust.roots()?), Arc::clone(&provider));
        let inner = inner.build().map_err(|error| error.to_string())?;
        let recorder = Arc::new(Recorder { inner, seen: Mutex::default() });
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?.dangerous();
        let verifier: Arc<dyn ServerCertVerifier> = Arc::<Recorder>::clone(&recorder);
        let config = builder.with_custom_certificate_verifier(verifier).with_no_client_auth();
        let server = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = match timeout(ANSWER, connector.connect(server, stream)).await {
            Ok(stream) => stream.map_err(|error| error.to_string())?,
            Err(_) => return Err("does not answer".into()),
        };
        let seen = recorder.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (chain, holds) = seen.ok_or("shows no certificate")?;
        let first = chain.first().ok_or("shows no certificate")?;
        let (_, own) = X509Certificate::from_der(first).map_err(|error| error.to_string())?;
        let until = own.validity().not_after.timestamp();
        Ok((stream, Shown { holds, until, chain }))
    }
}

/// An answer over HTTP.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// The media type, without parameters.
    pub kind: String,
    /// The body.
    pub body: String,
}

/// Why there is no page.
#[derive(Clone, Debug)]
pub struct Unfetched {
    /// The certificate does not hold.
    pub distrusted: bool,
    /// In words.
    pub why: String,
}

impl Eyes<'_> {
    pub(super) async fn fetch(&self, request: Request<'_>) -> Result<Page, Unfetched> {
        fetch(self.trust, request).await
    }
}

/// Fetches a page from an address that is known already. A redirect is a page.
///
/// # Errors
/// [`Unfetched`].
pub async fn fetch(trust: &Trust, request: Request<'_>) -> Result<Page, Unfetched> {
    let failed = |why: String| Unfetched { distrusted: false, why };
    let config = trust.config().map_err(failed)?;
    let client = reqwest::Client::builder()
        .use_preconfigured_tls((*config).clone())
        .resolve(request.url.host_str().unwrap_or_default(), request.address)
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| failed(error.without_url().to_string()))?;
    let asked = match request.body {
        None => client.get(request.url),
        Some(body) => client.post(request.url).header("content-type", "text/xml").body(body.to_owned()),
    };
    let mut response = asked.send().await.map_err(unfetched)?;
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut body = Vec::new();
    while let Some(more) = response.chunk().await.map_err(unfetched)? {
        body.extend_from_slice(&more);
        if body.len() > LONGEST_BODY {
            return Err(failed(format!("answers with more than {LONGEST_BODY} octets")));
        }
    }
    Ok(Page { status: response.status().as_u16(), kind, body: String::from_utf8_lossy(&body).into_owned() })
}

/// What is fetched, and where.
pub struct Request<'a> {
    /// The whole URL.
    pub url: Url,
    /// Who is asked, whatever the system's resolver thinks; its port is the URL's own where it has one.
    pub address: SocketAddr,
    /// What is sent, where something is.
    pub body: Option<&'a str>,
}

fn unfetched(error: reqwest::Error) -> Unfetched {
    let error = error.without_url();
    let (distrusted, mut why) = (is_distrust(&error), error.to_string());
    let mut next = std::error::Error::source(&error);
    while let Some(error) = next {
        why = format!("{why}: {error}");
        next = error.source();
    }
    Unfetched { distrusted, why }
}

/// Whether an error comes of a certificate that does not hold. What an [`io::Error`] is made of is no source of it.
fn is_distrust(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<Error>() {
        return matches!(error, Error::InvalidCertificate(_));
    }
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_distrust(inner)) || error.source().is_some_and(is_distrust)
}
