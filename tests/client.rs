//! Small, strict clients: they send what a test says and fail on anything unexpected.

use crate::PATIENCE;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// A connection that speaks lines.
pub struct Client {
    stream: Stream,
    input: Vec<u8>,
    tag: u32,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Closed,
}

impl Client {
    /// Connects in clear.
    pub fn connect(address: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: Stream::Plain(stream), input: Vec::new(), tag: 0 })
    }

    /// Connects under TLS; any certificate will do.
    pub fn connect_tls(address: SocketAddr) -> std::io::Result<Client> {
        let mut client = Client::connect(address)?;
        client.start_tls();
        Ok(client)
    }

    /// Starts TLS on the connection.
    pub fn start_tls(&mut self) {
        let Stream::Plain(plain) = std::mem::replace(&mut self.stream, Stream::Closed) else { panic!("already TLS") };
        let config = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(any::Certificate))
            .with_no_client_auth();
        let name = ServerName::try_from("mail.example.org").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        self.stream = Stream::Tls(Box::new(StreamOwned::new(tls, plain)));
    }

    /// Sends these octets.
    ///
    /// # Errors
    /// The connection's.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(octets.as_ref()),
            Stream::Tls(stream) => stream.write_all(octets.as_ref()).and_then(|()| stream.flush()),
            Stream::Closed => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }

    fn fill(&mut self) -> std::io::Result<()> {
        let mut buffer = [0; 16384];
        let n = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut buffer)?,
            Stream::Tls(stream) => stream.read(&mut buffer)?,
            Stream::Closed => 0,
        };
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.input.extend_from_slice(&buffer[..n]);
        Ok(())
    }

    /// The next line, without CRLF.
    ///
    /// # Errors
    /// The connection's; the end of it is `UnexpectedEof`.
    pub fn line(&mut self) -> std::io::Result<String> {
        loop {
            if let Some(end) = self.input.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.input.drain(..end + 2);
                return Ok(line);
            }
            self.fill()?;
        }
    }

    /// The next `n` octets.
    ///
    /// # Errors
    /// As [`Client::line`].
    pub fn octets(&mut self, n: usize) -> std::io::Result<Vec<u8>> {
        while self.input.len() < n {
            self.fill()?;
        }
        Ok(self.input.drain(..n).collect())
    }

    /// One SMTP reply, all of its lines joined by newlines.
    ///
    /// # Errors
    /// As [`Client::line`].
    pub fn reply(&mut self) -> std::io::Result<String> {
        let mut reply = String::new();
        loop {
            let line = self.line()?;
            let more = line.as_bytes().get(3) == Some(&b'-');
            reply.push_str(&line);
            if !more {
                return Ok(reply);
            }
            reply.push('\n');
        }
    }

    /// Sends an SMTP command and returns the reply.
    ///
    /// # Errors
    /// As [`Client::line`].
    pub fn smtp(&mut self, command: &str) -> std::io::Result<String> {
        self.send(format!("{command}\r\n"))?;
        self.reply()
    }

    /// Sends an SMTP command whose reply must begin with `want`.
    pub fn smtp_ok(&mut self, command: &str, want: &str) -> String {
        let reply = self.smtp(command).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(reply.starts_with(want), "{command}: {reply}");
        reply
    }

    /// Sends one message over an open SMTP session; returns the reply to the final dot.
    ///
    /// # Errors
    /// As [`Client::line`]; a refused envelope is an error too.
    pub fn mail(&mut self, from: &str, to: &[&str], message: &str) -> std::io::Result<String> {
        let mut commands = format!("MAIL FROM:<{from}>\r\n");
        for to in to {
            commands.push_str(&format!("RCPT TO:<{to}>\r\n"));
        }
        self.send(commands + "DATA\r\n")?;
        for _ in 0..=to.len() {
            let reply = self.reply()?;
            if !reply.starts_with('2') {
                return Err(std::io::Error::other(reply));
            }
        }
        let reply = self.reply()?;
        if !reply.starts_with("354") {
            return Err(std::io::Error::other(reply));
        }
        self.send(message.replace("\r\n.", "\r\n..") + ".\r\n")?;
        self.reply()
    }

    /// An IMAP command: its untagged lines (literals in place) and its tagged one, which is returned last.
    ///
    /// # Errors
    /// As [`Client::line`].
    pub fn imap(&mut self, command: &str) -> std::io::Result<Vec<String>> {
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        self.send(format!("{tag} {command}\r\n"))?;
        self.imap_until(&tag)
    }

    /// Reads IMAP responses up to the one that begins with `tag`.
    ///
    /// # Errors
    /// As [`Client::line`].
    pub fn imap_until(&mut self, tag: &str) -> std::io::Result<Vec<String>> {
        let mut responses = Vec::new();
        loop {
            let response = self.response()?;
            let last = response.starts_with(tag);
            responses.push(response);
            if last {
                return Ok(responses);
            }
        }
    }

    /// One IMAP response with its literals.
    ///
    /// # Errors
    /// As [`Client::line`].
    pub fn response(&mut self) -> std::io::Result<String> {
        let mut response = self.line()?;
        while let Some(n) = literal(&response) {
            let octets = self.octets(n)?;
            response.push_str("\r\n");
            response.push_str(&String::from_utf8_lossy(&octets));
            response.push_str(&self.line()?);
        }
        Ok(response)
    }

    /// An IMAP command that must be answered `OK`.
    pub fn imap_ok(&mut self, command: &str) -> Vec<String> {
        let responses = self.imap(command).unwrap_or_else(|error| panic!("{command}: {error}"));
        let last = responses.last().unwrap();
        assert!(last.split(' ').nth(1) == Some("OK"), "{command}: {last}");
        responses
    }

    /// Selects a mailbox and waits, by IDLE, until it holds at least so many messages.
    pub fn wait_for(&mut self, mailbox: &str, count: u32) {
        let exists = |line: &str| -> Option<u32> { line.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok() };
        let selected = self.imap_ok(&format!("SELECT {mailbox}"));
        let mut now = selected.iter().find_map(|line| exists(line)).unwrap();
        if now >= count {
            return;
        }
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        self.send(format!("{tag} IDLE\r\n")).unwrap();
        while now < count {
            let line = self.response().unwrap_or_else(|error| panic!("{now} of {count} messages: {error}"));
            now = exists(&line).unwrap_or(now);
        }
        self.send("DONE\r\n").unwrap();
        self.imap_until(&tag).unwrap();
    }

    /// Logs in to IMAP after the greeting.
    pub fn login(&mut self, user: &str) {
        self.imap_ok(&format!("LOGIN {user} \"{}\"", crate::PASSWORD));
    }
}

fn literal(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}

mod any {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    /// Takes any certificate: the tests' servers sign their own.
    #[derive(Debug)]
    pub struct Certificate;

    impl ServerCertVerifier for Certificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
}
