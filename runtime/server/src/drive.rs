//! The only loop: bytes ↔ session ↔ host.

use crate::clock;
use async_trait::async_trait;
use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use proto::{BlobRef, Event, Session, Step, TlsFacts};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The most octets read at once.
const READ_MOST: usize = 64 << 10;
/// What a read buffer starts with, so that an idle connection costs little.
const READ_FIRST: usize = 2 << 10;
/// Octets gathered before they are sent although the session has more to say.
const WRITE_MOST: usize = 64 << 10;
/// Octets of a blob read at once.
const BODY_PART: u64 = 256 << 10;
/// How long a peer may take no octet of what we send.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// What answers a session's asks.
#[async_trait]
pub trait Host: Send {
    /// The session it answers.
    type Session: Session<Ask: Send, Answer: Send> + Send;
    /// Finds out or does what the session asks.
    async fn answer(&mut self, ask: <Self::Session as Session>::Ask) -> <Self::Session as Session>::Answer;
    /// Waits for something the session should hear of unasked. Dropped and called again at will.
    async fn news(&mut self) -> <Self::Session as Session>::Answer;
    /// A part of a stored blob. `None`: it is gone.
    async fn body(&mut self, blob: BlobRef, part: Range<u64>) -> Option<Bytes>;
}

/// A connection, plain or under TLS.
pub enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    async fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read_buf(into).await,
            Stream::Tls(stream) => stream.read_buf(into).await,
        }
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let sent = async {
            match self {
                Stream::Plain(stream) => stream.write_all(octets).await,
                Stream::Tls(stream) => {
                    stream.write_all(octets).await?;
                    stream.flush().await
                }
            }
        };
        timeout(WRITE_TIMEOUT, sent).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Says goodbye in TLS too; the peer may be gone already.
    pub async fn close(&mut self) {
        let bye = async {
            match self {
                Stream::Plain(stream) => stream.shutdown().await,
                Stream::Tls(stream) => stream.shutdown().await,
            }
        };
        let _ = timeout(Duration::from_secs(5), bye).await;
    }
}

/// Accepts TLS on a connection.
///
/// # Errors
/// What the handshake or the connection failed with, or a timeout.
pub async fn handshake(stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<(Stream, TlsFacts)> {
    let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    let facts = facts(&stream);
    Ok((Stream::Tls(Box::new(stream)), facts))
}

fn facts(stream: &TlsStream<TcpStream>) -> TlsFacts {
    let (_, tls) = stream.get_ref();
    let is_13 = tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
    // RFC 9266 §2; RFC 5705 makes no difference between no context and an empty one in TLS 1.3.
    let exporter =
        is_13.then(|| tls.export_keying_material([0_u8; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()).flatten();
    TlsFacts {
        version: if is_13 { "TLS1.3" } else { "TLS1.2" },
        cipher: tls
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str().map(str::to_owned))
            .unwrap_or_default()
            .replace("TLS13_", "TLS_"),
        server_name: tls.server_name().map(str::to_owned),
        exporter,
        end_point: None,
    }
}

/// Runs one connection until either side ends it.
pub struct Drive<H: Host> {
    /// The connection; `None` only while TLS starts.
    pub stream: Option<Stream>,
    /// The protocol.
    pub session: H::Session,
    /// Who answers it.
    pub host: H,
    /// TLS for STARTTLS.
    pub acceptor: Option<TlsAcceptor>,
}

impl<H: Host> Drive<H> {
    /// Runs to the end.
    ///
    /// # Errors
    /// What the connection failed with; nothing that the session could still answer.
    pub async fn run(mut self) -> io::Result<()> {
        let mut out = BytesMut::new();
        let mut input = BytesMut::new();
        loop {
            match self.session.step(clock::instant()) {
                Step::Wait { until } => {
                    self.flush(&mut out).await?;
                    self.wait(until, &mut input).await?;
                }
                Step::Write(octets) => {
                    out.extend_from_slice(&octets);
                    if out.len() >= WRITE_MOST {
                        self.flush(&mut out).await?;
                    }
                }
                Step::CopyBody { blob, part } => {
                    self.flush(&mut out).await?;
                    self.copy(blob, part).await?;
                }
                Step::Ask(ask) => {
                    let answer = self.host.answer(ask).await;
                    self.session.event(Event::Answer(answer));
                }
                Step::StartTls => {
                    self.flush(&mut out).await?;
                    self.start_tls().await?;
                }
                // No listener offers compression, so a session never asks for it.
                Step::Deflate => return Err(io::ErrorKind::Unsupported.into()),
                Step::Close => {
                    self.flush(&mut out).await?;
                    if let Some(stream) = &mut self.stream {
                        stream.close().await;
                    }
                    return Ok(());
                }
            }
        }
    }

    fn stream(&mut self) -> io::Result<&mut Stream> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    async fn flush(&mut self, out: &mut BytesMut) -> io::Result<()> {
        if !out.is_empty() {
            self.stream()?.write(out).await?;
            // A buffer that grew for one long answer is not kept for an idle connection.
            if out.capacity() > READ_FIRST { *out = BytesMut::new() } else { out.clear() }
        }
        Ok(())
    }

    async fn wait(&mut self, until: std::time::Instant, input: &mut BytesMut) -> io::Result<()> {
        let grow = if input.capacity() >= READ_FIRST { READ_MOST } else { READ_FIRST };
        input.reserve(grow);
        let Some(stream) = self.stream.as_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
        tokio::select! {
            biased;
            got = stream.read(input) => match got {
                Ok(0) => self.session.event(Event::Eof),
                Ok(n) => {
                    self.session.event(Event::Bytes(input));
                    if n < READ_FIRST { *input = BytesMut::new() } else { input.clear() }
                }
                // A peer that resets has said what end of file says.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.session.event(Event::Eof),
                Err(error) => {
                    self.session.event(Event::Eof);
                    // Lets the session abandon its transaction before the connection is dropped.
                    self.finish().await;
                    return Err(error);
                }
            },
            news = self.host.news() => self.session.event(Event::News(news)),
            () = tokio::time::sleep_until(until.into()) => {}
        }
        Ok(())
    }

    /// Answers what a session whose peer is gone still asks, at most a few times.
    async fn finish(&mut self) {
        for _ in 0..16 {
            match self.session.step(clock::instant()) {
                Step::Ask(ask) => {
                    let answer = self.host.answer(ask).await;
                    self.session.event(Event::Answer(answer));
                }
                Step::Write(_) | Step::CopyBody { .. } => {}
                _ => return,
            }
        }
    }

    async fn copy(&mut self, blob: BlobRef, part: Range<u64>) -> io::Result<()> {
        let mut at = part.start;
        while at < part.end {
            let to = part.end.min(at + BODY_PART);
            let octets = self.host.body(blob, at..to).await.filter(|octets| octets.len() as u64 == to - at);
            // The length is promised already: closing is the only honest way out.
            let Some(octets) = octets else {
                return Err(io::Error::other("a stored message is shorter than its entry says"));
            };
            self.stream()?.write(&octets).await?;
            at = to;
        }
        Ok(())
    }

    async fn start_tls(&mut self) -> io::Result<()> {
        match (self.stream.take(), self.acceptor.clone()) {
            (Some(Stream::Plain(plain)), Some(acceptor)) => {
                let (stream, facts) = handshake(plain, acceptor).await?;
                self.stream = Some(stream);
                self.session.event(Event::Tls(facts));
                Ok(())
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// A seed for a session's nonces, unlike any other connection's.
pub fn seed(secret: &Arc<[u8; 32]>, connection: u64) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&secret[..]);
    context.update(&connection.to_be_bytes());
    context.update(&clock::nanoseconds().to_be_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}
