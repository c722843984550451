//! A connection to another server's IMAP (RFC 3501): TLS, login, one command at a time.

use super::tls::secure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proto::imap::reply::{self, LITERAL, Value};
use schema::name::Secret;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the server may be silent.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// Octets of a response beside its literals.
const RESPONSE_MOST: u64 = 1 << 20;
/// Literals of one response.
const LITERALS_MOST: usize = 256;

/// A server, and who asks it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Under TLS from the first octet.
    pub tls: bool,
    /// The user.
    pub user: String,
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// A PEM file of the authority that is believed in place of the system's, or of the server's own certificate.
    pub ca: Option<PathBuf>,
}

impl Peer {
    /// Of `imaps://user@host[:port]` or `imap://…`; `%40` and such in the user are decoded.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(url: &str) -> Result<Peer, String> {
        let (tls, rest) = match url.split_once("://") {
            Some(("imaps", rest)) => (true, rest),
            Some(("imap", rest)) => (false, rest),
            _ => return Err(format!("{url} is no imaps:// or imap:// URL")),
        };
        let (user, place) = rest.trim_end_matches('/').rsplit_once('@').ok_or("say who: imaps://user@host")?;
        if user.contains(':') {
            return Err("a password does not belong in the URL: put it into a file for --password-file".into());
        }
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let usual = if tls { 993 } else { 143 };
        let port = port.map_or(Ok(usual), str::parse).map_err(|_| format!("{place} has no port from 1 to 65535"))?;
        if host.is_empty() || user.is_empty() {
            return Err("say who and where: imaps://user@host".into());
        }
        Ok(Peer { tls, user: decoded(user), host: host.to_owned(), port, ca: None })
    }

    fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

fn decoded(user: &str) -> String {
    let (mut octets, mut rest) = (Vec::new(), user.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(octet) => {
                octets.push(octet);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                octets.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An open connection.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
    place: String,
    next: u32,
    /// What the server can do, in capitals.
    pub capabilities: Vec<String>,
}

impl Client {
    /// Connects and logs in.
    ///
    /// # Errors
    /// What went wrong, in words, without the password.
    pub async fn open(peer: &Peer, password: &Secret) -> Result<Client, String> {
        let place = format!("{}:{}", peer.host, peer.port);
        let failed = |error: std::io::Error| format!("{place}: {error}");
        let connected = timeout(PATIENCE, TcpStream::connect((peer.host.as_str(), peer.port))).await;
        let plain = connected.map_err(|_| format!("{place} does not answer"))?.map_err(failed)?;
        let stream: Box<dyn Stream> = if peer.tls { secure(peer, Box::new(plain)).await? } else { Box::new(plain) };
        let mut client = Client { stream: BufReader::new(stream), place, next: 1, capabilities: Vec::new() };
        let greeting = client.response(0).await?.text;
        if !greeting.starts_with(b"* OK") && !greeting.starts_with(b"* PREAUTH") {
            return Err(client.says(&greeting));
        }
        client.learn().await?;
        if !peer.tls && !peer.is_here() {
            if !client.can("STARTTLS") {
                return Err(format!("{} offers no TLS, and a password is not sent without it", client.place));
            }
            client.done("STARTTLS").await?;
            if !client.stream.buffer().is_empty() {
                return Err(format!("{} says more before TLS than it may", client.place));
            }
            client.stream = BufReader::new(secure(peer, client.stream.into_inner()).await?);
            client.learn().await?;
        }
        client.login(&peer.user, password).await?;
        client.learn().await?;
        Ok(client)
    }

    /// Whether the server can do this.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    async fn learn(&mut self) -> Result<(), String> {
        self.capabilities.clear();
        for response in self.done("CAPABILITY").await? {
            let words = response.iter().filter_map(Value::words).map(|word| word.to_ascii_uppercase());
            let words: Vec<String> = words.collect();
            if words.first().is_some_and(|word| word == "CAPABILITY") {
                self.capabilities = words;
            }
        }
        Ok(())
    }

    async fn login(&mut self, user: &str, password: &Secret) -> Result<(), String> {
        if !self.can("AUTH=PLAIN") && self.can("LOGINDISABLED") {
            return Err(format!("{} takes no password", self.place));
        }
        if !self.can("AUTH=PLAIN") {
            let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let words = format!("LOGIN {} {}", quoted(user), quoted(password.reveal()));
            return self.done(&words).await.map(drop);
        }
        let tag = self.send("AUTHENTICATE PLAIN").await?;
        let asked = self.response(0).await?.text;
        if !asked.starts_with(b"+") {
            return Err(self.says(&asked));
        }
        let proof = STANDARD.encode(format!("\0{user}\0{}", password.reveal()));
        self.write(format!("{proof}\r\n").as_bytes()).await?;
        self.until(&tag, 0, &mut |_| {}).await
    }

    /// A command that must be answered `OK`, and its untagged responses without their `*`.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn done(&mut self, command: &str) -> Result<Vec<Vec<Value>>, String> {
        let mut responses = Vec::new();
        self.ask(command, RESPONSE_MOST, &mut |values| responses.push(values)).await?;
        Ok(responses)
    }

    /// A command that must be answered `OK`; `each` gets its untagged responses as they come. Literals over `most` octets
    /// are read and thrown away.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn ask(
        &mut self,
        command: &str,
        most: u64,
        each: &mut (dyn FnMut(Vec<Value>) + Send),
    ) -> Result<(), String> {
        let tag = self.send(command).await?;
        self.until(&tag, most, each).await
    }

    async fn until(&mut self, tag: &str, most: u64, each: &mut (dyn FnMut(Vec<Value>) + Send)) -> Result<(), String> {
        loop {
            let Response { text, literals } = self.response(most).await?;
            if let Some(rest) = text.strip_prefix(b"* ") {
                // `* OK [CODE …] words`: of the words, nothing is to be read.
                let rest = match rest.strip_prefix(b"OK [").and_then(|code| code.split(|octet| *octet == b']').next()) {
                    Some(code) => code,
                    None => rest,
                };
                if let Some(values) = reply::values(rest, literals) {
                    each(values);
                }
            } else if let Some(rest) = text.strip_prefix(tag.as_bytes()) {
                return if rest.starts_with(b" OK") { Ok(()) } else { Err(self.says(rest)) };
            } else if text.starts_with(b"+") {
                return Err(format!("{} waits for more than was sent", self.place));
            }
        }
    }

    async fn send(&mut self, command: &str) -> Result<String, String> {
        let tag = format!("w{}", self.next);
        self.next += 1;
        self.write(format!("{tag} {command}\r\n").as_bytes()).await?;
        Ok(tag)
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), String> {
        let stream = self.stream.get_mut();
        let written = timeout(PATIENCE, async {
            stream.write_all(octets).await?;
            stream.flush().await
        });
        let place = &self.place;
        written.await.map_err(|_| format!("{place} takes nothing"))?.map_err(|error| format!("{place}: {error}"))
    }

    /// One response with its literals.
    async fn response(&mut self, most: u64) -> Result<Response, String> {
        let place = self.place.clone();
        let mut response = Response { text: Vec::new(), literals: Vec::new() };
        loop {
            let mut line = Vec::new();
            let left = RESPONSE_MOST.saturating_sub(response.text.len() as u64);
            let mut bounded = (&mut self.stream).take(left);
            let read = timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await;
            read.map_err(|_| format!("{place} is silent"))?.map_err(|error| format!("{place}: {error}"))?;
            let Some(text) = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")) else {
                return Err(format!("{place} ended the connection, or says more in one response than it may"));
            };
            let literal = literal(text);
            let kept = literal.map_or(text, |(before, _)| before);
            if kept.contains(&LITERAL) {
                return Err(format!("{place} sends a NUL in a response"));
            }
            response.text.extend_from_slice(kept);
            let Some((_, size)) = literal else { return Ok(response) };
            if response.literals.len() >= LITERALS_MOST {
                return Err(format!("{place} sends more literals in one response than it may"));
            }
            response.text.push(LITERAL);
            response.literals.push(self.literal(size, most).await?);
        }
    }

    async fn literal(&mut self, size: u64, most: u64) -> Result<Option<Bytes>, String> {
        let place = self.place.clone();
        let mut octets = Vec::new();
        let mut left = size;
        let mut chunk = vec![0; 64 << 10];
        while left > 0 {
            let part = chunk.get_mut(..usize::try_from(left).unwrap_or(usize::MAX).min(64 << 10)).unwrap_or_default();
            let read = timeout(PATIENCE, self.stream.read(part)).await;
            let read = read.map_err(|_| format!("{place} is silent"))?.map_err(|error| format!("{place}: {error}"))?;
            if read == 0 {
                return Err(format!("{place} ended the connection"));
            }
            left -= read as u64;
            if size <= most {
                octets.extend_from_slice(part.get(..read).unwrap_or_default());
            }
        }
        Ok((size <= most).then(|| octets.into()))
    }

    fn says(&self, response: &[u8]) -> String {
        let response: Vec<u8> = response.iter().copied().take(500).collect();
        format!(
            "{} says:{}{}",
            self.place,
            if response.starts_with(b" ") { "" } else { " " },
            String::from_utf8_lossy(&response).escape_debug()
        )
    }
}

struct Response {
    text: Vec<u8>,
    literals: Vec<Option<Bytes>>,
}

/// What comes before a literal at a line's end, and its size.
fn literal(line: &[u8]) -> Option<(&[u8], u64)> {
    let line = line.strip_suffix(b"}")?;
    let at = line.iter().rposition(|octet| *octet == b'{')?;
    let size = std::str::from_utf8(line.get(at + 1..)?).ok()?.trim_end_matches('+').parse().ok()?;
    let before = line.get(..at)?;
    // RFC 3516 §4.1: `~` before it says that it may hold anything.
    Some((before.strip_suffix(b"~").unwrap_or(before), size))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn servers_are_named_by_urls() {
        let peer = Peer::read("imaps://ada%40example.org@mail.example.net").unwrap();
        assert_eq!((peer.user.as_str(), peer.host.as_str(), peer.port), ("ada@example.org", "mail.example.net", 993));
        let peer = Peer::read("imap://ada@example.org@[::1]:1143").unwrap();
        assert_eq!((peer.user.as_str(), peer.host.as_str(), peer.port), ("ada@example.org", "::1", 1143));
        assert!(peer.is_here() && !peer.tls);
        for wrong in ["imaps://host", "pop3://a@b", "imaps://a:secret@b", "imaps://a@b:x", "imaps://@b"] {
            assert!(!Peer::read(wrong).unwrap_err().contains("secret"), "{wrong}");
        }
        assert_eq!(literal(b"* 1 FETCH (BODY[] {12}"), Some((&b"* 1 FETCH (BODY[] "[..], 12)));
        assert_eq!(literal(b"* 1 FETCH {x}"), None);
    }
}
