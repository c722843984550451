//! What a client of SMTP needs: replies read, commands written, a message dotted.

use super::types::{MailParams, Notify, Path, RcptParams, Reply, Ret};
use bytes::BytesMut;

/// Octets of one line of a reply (RFC 5321 §4.5.3.1.5 says 512).
const REPLY_LINE_MOST: usize = 2048;
/// Lines of one reply.
const REPLY_LINES_MOST: usize = 128;

/// What a server said is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not speak SMTP")]
pub struct NotSmtp;

/// Reads replies, in pieces of any size.
#[derive(Debug, Default)]
pub struct ReplyParser {
    input: BytesMut,
    lines: Vec<String>,
    code: Option<u16>,
}

impl ReplyParser {
    /// Takes what came over the wire; read replies until there is none before giving it more.
    pub fn push(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// Whether octets are left that no reply has taken: nothing may follow the reply to STARTTLS.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty() && self.lines.is_empty()
    }

    /// The next whole reply, if it is there.
    ///
    /// # Errors
    /// [`NotSmtp`], also for a reply beyond its bounds.
    pub fn reply(&mut self) -> Result<Option<Reply>, NotSmtp> {
        while let Some(end) = memchr::memchr(b'\n', &self.input) {
            if end > REPLY_LINE_MOST || self.lines.len() >= REPLY_LINES_MOST {
                return Err(NotSmtp);
            }
            let line = self.input.split_to(end + 1);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            let code = line.get(..3).and_then(|code| code.parse().ok()).filter(|code| (200..600).contains(code));
            if code.is_none() || self.code.is_some_and(|known| Some(known) != code) {
                return Err(NotSmtp);
            }
            self.code = code;
            self.lines.push(line.get(4..).unwrap_or_default().to_owned());
            match line.as_bytes().get(3) {
                Some(b'-') => {}
                Some(b' ') | None => return Ok(self.whole()),
                Some(_) => return Err(NotSmtp),
            }
        }
        if self.input.len() > REPLY_LINE_MOST { Err(NotSmtp) } else { Ok(None) }
    }

    fn whole(&mut self) -> Option<Reply> {
        let code = self.code.take()?;
        let mut lines = std::mem::take(&mut self.lines);
        let enhanced = lines.first().and_then(|line| enhanced(line.split(' ').next()?));
        if enhanced.is_some_and(|(class, _, _)| u16::from(class) == code / 100) {
            for line in &mut lines {
                if let Some((_, rest)) = line.split_once(' ').filter(|(first, _)| self::enhanced(first).is_some()) {
                    *line = rest.to_owned();
                }
            }
            return Some(Reply::of_lines(code, enhanced, lines));
        }
        Some(Reply::of_lines(code, None, lines))
    }
}

fn enhanced(text: &str) -> Option<(u8, u16, u16)> {
    let mut fields = text.split('.');
    let status = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    fields.next().is_none().then_some(status)
}

/// What a server offers in its reply to EHLO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// STARTTLS
    pub starttls: bool,
    /// PIPELINING
    pub pipelining: bool,
    /// 8BITMIME
    pub eight_bit: bool,
    /// SMTPUTF8
    pub smtputf8: bool,
    /// DSN
    pub dsn: bool,
    /// SIZE, and the largest message where it says.
    pub size: Option<Option<u64>>,
}

impl Extensions {
    /// Reads a reply to EHLO.
    pub fn of(reply: &Reply) -> Extensions {
        let mut found = Extensions::default();
        for line in reply.lines().iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "STARTTLS" => found.starttls = true,
                "PIPELINING" => found.pipelining = true,
                "8BITMIME" => found.eight_bit = true,
                "SMTPUTF8" => found.smtputf8 = true,
                "DSN" => found.dsn = true,
                "SIZE" => {
                    let most = words.next().and_then(|size| size.parse().ok());
                    found.size = Some(most.filter(|most| *most > 0));
                }
                _ => {}
            }
        }
        found
    }
}

/// MAIL, with those parameters that the server knows.
pub fn mail(from: &Path, params: &MailParams, server: &Extensions) -> String {
    let mut line = format!("MAIL FROM:<{from}>");
    if let (Some(size), Some(_)) = (params.size, server.size) {
        line.push_str(&format!(" SIZE={size}"));
    }
    if params.eight_bit && server.eight_bit {
        line.push_str(" BODY=8BITMIME");
    }
    if params.smtputf8 && server.smtputf8 {
        line.push_str(" SMTPUTF8");
    }
    if server.dsn {
        match params.ret {
            Some(Ret::Full) => line.push_str(" RET=FULL"),
            Some(Ret::Headers) => line.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = &params.envid {
            line.push_str(&format!(" ENVID={}", xtext(envid)));
        }
    }
    line + "\r\n"
}

/// RCPT, with those parameters that the server knows.
pub fn rcpt(to: &Path, params: &RcptParams, server: &Extensions) -> String {
    let mut line = format!("RCPT TO:<{to}>");
    if server.dsn {
        if let Some(notify) = params.notify {
            line.push_str(&format!(" NOTIFY={}", notify_text(notify)));
        }
        if let Some((kind, address)) = &params.orcpt {
            line.push_str(&format!(" ORCPT={kind};{}", xtext(address)));
        }
    }
    line + "\r\n"
}

fn notify_text(notify: Notify) -> String {
    let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let wanted: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
    if wanted.is_empty() { "NEVER".to_owned() } else { wanted.join(",") }
}

fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'!'..=b'~' if octet != b'+' && octet != b'=' => out.push(char::from(octet)),
            _ => out.push_str(&format!("+{octet:02X}")),
        }
    }
    out
}

/// The most octets of a piece of [`dotted`].
const PIECE: usize = 64 << 10;

/// What ends a message after [`dotted`] (RFC 5321 §4.1.1.4).
pub const END: &[u8] = b".\r\n";

/// A whole message as DATA sends it, in pieces: dots doubled at the start of lines (RFC 5321 §4.5.2), and a CRLF put
/// after one that does not end with it. [`END`] follows.
pub fn dotted(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ended = message.is_empty() || message.ends_with(b"\r\n");
    let (mut rest, mut begins_line) = (message, true);
    let pieces = std::iter::from_fn(move || {
        // Two octets further, so that no line that begins with a dot hides between two pieces.
        let looked = rest.get(..PIECE + 2).unwrap_or(rest);
        let dotted = memchr::memmem::find(looked, b"\r\n.").map(|at| at + 2);
        let (piece, further) = rest.split_at(dotted.unwrap_or(rest.len().min(PIECE)));
        let dot = if begins_line && piece.starts_with(b".") { &b"."[..] } else { b"" };
        (rest, begins_line) = (further, dotted.is_some());
        (!piece.is_empty()).then_some([dot, piece])
    });
    pieces.flatten().chain((!ended).then_some(&b"\r\n"[..])).filter(|piece| !piece.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn replies_are_read_in_pieces() {
        let text = b"250-mail.example.org\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 DSN\r\n550 5.1.1 nobody\r\n";
        let mut parser = ReplyParser::default();
        let mut replies = Vec::new();
        for octet in text {
            parser.push(&[*octet]);
            replies.extend(parser.reply().unwrap());
        }
        let found = Extensions::of(&replies[0]);
        assert_eq!((found.size, found.eight_bit, found.dsn, found.starttls), (Some(Some(1000)), true, true, false));
        assert_eq!(replies[1].to_string(), "550 5.1.1 nobody");
        for wrong in [&b"hello\r\n"[..], b"250x\r\n", b"250-a\r\n251 b\r\n", b"999 x\r\n", &[b'2'; 5000]] {
            let mut parser = ReplyParser::default();
            parser.push(wrong);
            assert!(parser.reply().is_err());
        }
    }

    #[test]
    fn dots_are_doubled_at_line_starts_only() {
        for (message, want) in
            [("", ""), (".", "..\r\n"), ("a.\r\n.b\r\n", "a.\r\n..b\r\n"), ("a", "a\r\n"), (".\r\n..", "..\r\n...\r\n")]
        {
            assert_eq!(dotted(message.as_bytes()).collect::<Vec<_>>().concat(), want.as_bytes());
        }
        // Wherever pieces end.
        for lead in PIECE - 4..PIECE + 4 {
            let (lead, text) = ("a".repeat(lead), "\r\n.b\r\n..c.\r\n.d\r\n");
            let want = format!("{lead}{}", text.replace("\r\n.", "\r\n.."));
            assert!(dotted(format!("{lead}{text}").as_bytes()).collect::<Vec<_>>().concat() == want.as_bytes());
            let dots = format!("{lead}.b\r\n");
            assert!(dotted(dots.as_bytes()).collect::<Vec<_>>().concat() == dots.as_bytes());
        }
    }
}
