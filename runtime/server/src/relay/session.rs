//! One conversation with another server, as the client (RFC 5321 §4, RFC 3207).

use super::failure;
use crate::clock;
use crate::queue::outcome::Failure;
use crate::snapshot::Snapshot;
use bytes::{Bytes, BytesMut};
use proto::smtp::client::{self, Extensions, ReplyParser};
use proto::smtp::types::{MailParams, Notify, Path, RcptParams, Reply, Ret};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use store::spool::Spool;
use store::spool::row::{Notify as NotifyOn, Recipient, Return};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::debug;

/// How long a connection may take to come about.
const CONNECT_MOST: Duration = Duration::from_secs(30);
/// RFC 5321 §4.5.3.2: greeting, MAIL and RCPT.
const REPLY_MOST: Duration = Duration::from_secs(300);
/// RFC 5321 §4.5.3.2.6: the reply to the final dot.
const END_MOST: Duration = Duration::from_secs(600);
/// How long a server may take none of our octets.
const WRITE_MOST: Duration = Duration::from_secs(180);
/// Octets of a message written at once.
const WRITE_PART: usize = 256 << 10;

/// A server to try.
pub struct Peer {
    /// Its name in DNS.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
}

/// What is handed over.
pub struct Letter {
    /// The reverse path, without brackets; empty is the null path.
    pub from: String,
    /// Octets of the message.
    pub size: u64,
    /// Whether SMTPUTF8 was asked for.
    pub utf8: bool,
    /// Whether the message holds octets above 127.
    pub eight_bit: bool,
    /// ENVID, decoded.
    pub envid: Option<String>,
    /// RET.
    pub ret: Return,
    /// Who gets it.
    pub recipients: Vec<Recipient>,
    /// The message.
    pub octets: Bytes,
    /// The queue that it is in,
    pub spool: Arc<Spool>,
    /// and its id there.
    pub id: u64,
}

/// What became of one recipient.
#[derive(Clone)]
pub enum Handed {
    /// The server has it.
    Taken {
        /// Whether the server was told what notifications are wanted.
        dsn: bool,
    },
    /// The server does not want it.
    Refused(Failure),
}

/// No answer about any recipient; another server may be tried.
pub struct Trouble {
    /// Why.
    pub failure: Failure,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

struct Client<'a> {
    wire: Box<dyn Wire>,
    parser: ReplyParser,
    peer: &'a Peer,
}

/// Hands the letter over for those recipients, numbered as in [`Letter::recipients`]; an outcome for each.
///
/// TLS is used where it is offered, whatever the certificate says (RFC 7435); a server whose TLS fails gets the mail in
/// clear, since a downgrade is no worse than a server that offers none.
///
/// # Errors
/// [`Trouble`].
pub async fn hand(snapshot: &Snapshot, peer: &Peer, letter: &Letter, open: &[usize]) -> Result<Vec<Handed>, Trouble> {
    match attempt(snapshot, peer, (letter, open), true).await {
        Err(Stop::Tls(why)) => {
            debug!(peer = peer.name, why, "TLS failed, trying without");
            attempt(snapshot, peer, (letter, open), false).await.map_err(|stop| stop.trouble(peer))
        }
        other => other.map_err(|stop| stop.trouble(peer)),
    }
}

enum Stop {
    Io(io::Error),
    Tls(String),
    Said(Reply),
    Unfit(&'static str, &'static str),
}

impl Stop {
    fn trouble(self, peer: &Peer) -> Trouble {
        let failure = match self {
            Stop::Io(error) => failure("4.4.1", &format!("{} ({}): {error}", peer.name, peer.address), None),
            Stop::Tls(why) => failure("4.7.5", &format!("{} ({}): {why}", peer.name, peer.address), None),
            Stop::Said(reply) => said(&reply, peer),
            Stop::Unfit(status, why) => failure(status, why, None),
        };
        Trouble { failure }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

fn said(reply: &Reply, peer: &Peer) -> Failure {
    let words = format!("{} {} {}", reply.code(), reply.status(), reply.text());
    failure(&reply.status(), &reply.text(), Some((peer.name.clone(), words)))
}

async fn attempt(
    snapshot: &Snapshot,
    peer: &Peer,
    (letter, open): (&Letter, &[usize]),
    tls: bool,
) -> Result<Vec<Handed>, Stop> {
    let stream = connect(&snapshot.host.outbound, peer).await?;
    let mut client = Client { wire: Box::new(stream), parser: ReplyParser::default(), peer };
    let greeting = client.reply(REPLY_MOST).await?;
    if greeting.code() != 220 {
        return Err(Stop::Said(greeting));
    }
    let name = snapshot.host.name.as_str();
    let mut server = client.hello(name).await?;
    if tls && server.starttls {
        client = client.start_tls().await?;
        server = client.hello(name).await?;
    }
    let handed = client.transaction(&server, letter, open).await?;
    let _ = client.send(b"QUIT\r\n").await;
    Ok(handed)
}

async fn connect(sources: &[IpAddr], peer: &Peer) -> Result<TcpStream, Stop> {
    let socket = if peer.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = sources.iter().find(|source| source.is_ipv4() == peer.address.is_ipv4()) {
        socket.bind(SocketAddr::new(*source, 0))?;
    }
    let stream = timeout(CONNECT_MOST, socket.connect(peer.address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl<'a> Client<'a> {
    async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        let sent = async {
            self.wire.write_all(octets).await?;
            self.wire.flush().await
        };
        timeout(WRITE_MOST, sent).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn reply(&mut self, most: Duration) -> io::Result<Reply> {
        let read = async {
            let mut input = BytesMut::with_capacity(4096);
            loop {
                let form = |_| io::Error::new(io::ErrorKind::InvalidData, "that server does not speak SMTP");
                if let Some(reply) = self.parser.reply().map_err(form)? {
                    return Ok(reply);
                }
                input.clear();
                if self.wire.read_buf(&mut input).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.parser.push(&input);
            }
        };
        timeout(most, read).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn say(&mut self, line: &str) -> io::Result<Reply> {
        self.send(line.as_bytes()).await?;
        self.reply(REPLY_MOST).await
    }

    async fn hello(&mut self, name: &str) -> Result<Extensions, Stop> {
        let reply = self.say(&format!("EHLO {name}\r\n")).await?;
        if reply.code() == 250 {
            return Ok(Extensions::of(&reply));
        }
        // RFC 5321 §3.2: a server that does not know EHLO.
        let reply = self.say(&format!("HELO {name}\r\n")).await?;
        if reply.code() == 250 { Ok(Extensions::default()) } else { Err(Stop::Said(reply)) }
    }

    async fn start_tls(mut self) -> Result<Client<'a>, Stop> {
        let reply = self.say("STARTTLS\r\n").await?;
        // CVE-2011-0411: what a man in the middle put behind the reply must not be read under TLS.
        if reply.code() != 220 || !self.parser.is_empty() {
            return Err(Stop::Tls("STARTTLS was refused".into()));
        }
        let name = ServerName::try_from(self.peer.name.clone())
            .unwrap_or_else(|_| ServerName::IpAddress(self.peer.address.ip().into()));
        let connected = timeout(REPLY_MOST, TlsConnector::from(opportunistic()).connect(name, self.wire));
        match connected.await {
            Ok(Ok(stream)) => Ok(Client { wire: Box::new(stream), parser: ReplyParser::default(), peer: self.peer }),
            Ok(Err(error)) => Err(Stop::Tls(error.to_string())),
            Err(_) => Err(Stop::Tls("the handshake took too long".into())),
        }
    }

    /// MAIL, RCPT for each, DATA.
    async fn transaction(&mut self, server: &Extensions, letter: &Letter, open: &[usize]) -> Result<Vec<Handed>, Stop> {
        if letter.utf8 && !server.smtputf8 {
            // RFC 6531 §3.2: it can only be returned.
            return self.refuse_all(open, failure("5.6.7", "that server takes no internationalised addresses", None));
        }
        if server.size.flatten().is_some_and(|most| letter.size > most) {
            return self.refuse_all(open, failure("5.3.4", "the message is larger than that server takes", None));
        }
        if letter.eight_bit && !server.eight_bit {
            return self.refuse_all(open, failure("5.6.3", "that server takes no 8-bit messages", None));
        }
        let from = path(&letter.from).ok_or(Stop::Unfit("5.1.7", "the sender's address is not well-formed"))?;
        let params = MailParams {
            size: Some(letter.size),
            eight_bit: letter.eight_bit,
            smtputf8: letter.utf8,
            ret: match letter.ret {
                Return::Unsaid => None,
                Return::Full => Some(Ret::Full),
                Return::Headers => Some(Ret::Headers),
            },
            envid: letter.envid.clone(),
        };
        let reply = self.say(&client::mail(&from, &params, server)).await?;
        if reply.code() != 250 {
            return self.refuse_all(open, said(&reply, self.peer));
        }
        let mut handed = Vec::with_capacity(open.len());
        for at in open {
            handed.push(match letter.recipients.get(*at) {
                Some(recipient) => self.recipient(recipient, server).await?,
                None => Handed::Refused(failure("5.1.3", "no such recipient", None)),
            });
        }
        if !handed.iter().any(|one| matches!(one, Handed::Taken { .. })) {
            return Ok(handed);
        }
        let reply = self.say("DATA\r\n").await?;
        let end = match reply.code() {
            354 => self.message(letter).await,
            // RFC 5321 §4.3.2: nothing but 354 lets the message follow, so this server has none of it.
            200..=399 => return Err(Stop::Unfit("4.5.0", "that server answers DATA in no known way")),
            _ => Ok(reply.clone()),
        };
        let failure = match end {
            Ok(reply) if reply.code() / 100 == 2 => None,
            Ok(reply) => Some(said(&reply, self.peer)),
            // It may have the message, so the next server is not tried at once (RFC 1047): a later attempt is as likely
            // to find this one again.
            Err(error) => Some(failure("4.4.2", &format!("{} ({}): {error}", self.peer.name, self.peer.address), None)),
        };
        if let Some(failure) = failure {
            let refused = Handed::Refused(failure);
            for one in handed.iter_mut().filter(|one| matches!(one, Handed::Taken { .. })) {
                *one = refused.clone();
            }
        }
        Ok(handed)
    }

    async fn recipient(&mut self, recipient: &Recipient, server: &Extensions) -> Result<Handed, Stop> {
        let Some(to) = path(&recipient.address) else {
            return Ok(Handed::Refused(failure("5.1.3", "the address is not well-formed", None)));
        };
        let notify = |on: NotifyOn| Notify { success: on.success, failure: on.failure, delay: on.delay };
        let orcpt = recipient.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';'));
        let params = RcptParams {
            notify: recipient.notify.map(notify),
            orcpt: orcpt.map(|(kind, address)| (kind.to_owned(), address.to_owned())),
        };
        let reply = self.say(&client::rcpt(&to, &params, server)).await?;
        Ok(match reply.code() {
            250..=252 => Handed::Taken { dsn: server.dsn },
            _ => Handed::Refused(said(&reply, self.peer)),
        })
    }

    async fn message(&mut self, letter: &Letter) -> io::Result<Reply> {
        let mut out = BytesMut::with_capacity(letter.octets.len().min(WRITE_PART));
        for piece in client::dotted(&letter.octets) {
            for part in piece.chunks(WRITE_PART) {
                if out.len() + part.len() > WRITE_PART {
                    self.send(&out).await?;
                    out.clear();
                }
                out.extend_from_slice(part);
            }
        }
        self.send(&out).await?;
        // Without the final dot it was never sent: whoever has taken the message over meanwhile sends it.
        if !letter.spool.holds(letter.id, clock::now()) {
            return Err(io::Error::other("another node has taken the message over"));
        }
        self.send(client::END).await?;
        self.reply(END_MOST).await
    }

    fn refuse_all(&self, open: &[usize], failure: Failure) -> Result<Vec<Handed>, Stop> {
        Ok(open.iter().map(|_| Handed::Refused(failure.clone())).collect())
    }
}

fn path(text: &str) -> Option<Path> {
    if text.is_empty() { Some(Path::Null) } else { Path::parse(text) }
}

/// TLS that believes any certificate: it hides the mail from those who only listen.
fn opportunistic() -> Arc<ClientConfig> {
    static CONFIG: std::sync::OnceLock<Arc<ClientConfig>> = std::sync::OnceLock::new();
    let make = || {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Arc::new(
            ClientConfig::builder()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
                .with_no_client_auth(),
        )
    };
    Arc::clone(CONFIG.get_or_init(make))
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
