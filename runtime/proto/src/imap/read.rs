//! Octets to whole commands: lines, and literals within them (RFC 3501 §4.3, RFC 7888).

use super::parse::{self, Flaw};
use super::types::AppendHead;
use super::{MAX_COMMAND, MAX_COMMAND_BEFORE_LOGIN, MAX_LINE, MAX_LINE_BEFORE_LOGIN, MAX_LITERAL, MAX_LITERAL_MINUS};
use bytes::{Bytes, BytesMut};

/// What the input holds.
#[derive(Debug, PartialEq)]
pub enum Read {
    /// Nothing whole yet.
    More,
    /// A command, its literals within, without the last CRLF.
    Command(Bytes),
    /// The client waits to be told to send a literal.
    Continue,
    /// APPEND up to its message.
    Append {
        /// The command.
        head: AppendHead,
        /// Octets that follow.
        size: u64,
        /// Whether the client waits to be told to send them.
        waits: bool,
    },
    /// A command that is not taken; it is over.
    Refused {
        /// Its tag, where it had one.
        tag: Option<String>,
        /// What is wrong.
        flaw: Flaw,
    },
    /// A command that is not taken; its literal is on its way, and then its last line.
    RefusedUnread {
        /// Its tag, where it had one.
        tag: Option<String>,
        /// What is wrong.
        flaw: Flaw,
        /// Octets of the literal.
        size: u64,
    },
    /// What follows cannot be told apart: say BYE.
    Lost(&'static str),
}

/// Gathers octets.
#[derive(Default)]
pub struct Reader {
    input: BytesMut,
    /// Octets of `input` that belong to the command under way and were looked at.
    seen: usize,
    logged_in: bool,
}

/// A literal's announcement at a line's end.
struct Literal {
    size: u64,
    waits: bool,
    /// Where its `{` is.
    brace: usize,
    /// Where its octets begin.
    start: usize,
}

impl Reader {
    /// From now on the wider limits hold.
    pub fn log_in(&mut self) {
        self.logged_in = true;
    }

    /// Takes octets in.
    pub fn push(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// Octets not yet taken.
    pub fn len(&self) -> usize {
        self.input.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// Up to `most` octets of a message.
    pub fn take(&mut self, most: u64) -> Bytes {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.input.len());
        let taken = self.input.split_to(most).freeze();
        self.shrink();
        taken
    }

    /// An idle session keeps no buffer.
    fn shrink(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// One line that is no command, without its CRLF: a SASL response, DONE, or the end of APPEND.
    pub fn line(&mut self) -> Result<Option<Bytes>, &'static str> {
        let most = if self.logged_in { MAX_LINE } else { MAX_LINE_BEFORE_LOGIN };
        match memchr::memchr(b'\n', &self.input) {
            None if self.input.len() > most => Err("the line is too long"),
            None => Ok(None),
            Some(at) if at > most => Err("the line is too long"),
            Some(at) => {
                let mut line = self.input.split_to(at + 1).freeze();
                self.shrink();
                line.truncate(at);
                match line.strip_suffix(b"\r") {
                    Some(_) => Ok(Some(line.slice(..at - 1))),
                    None => Err("only CRLF ends a line"),
                }
            }
        }
    }

    /// The next thing the client sent.
    pub fn read(&mut self) -> Read {
        loop {
            if let Some(read) = self.command_line() {
                return read;
            }
        }
    }

    /// What the next line is; `None` where it ends in a literal that the client did not wait with, so that the
    /// command goes on.
    fn command_line(&mut self) -> Option<Read> {
        let (line_most, most) = match self.logged_in {
            true => (MAX_LINE, MAX_COMMAND),
            false => (MAX_LINE_BEFORE_LOGIN, MAX_COMMAND_BEFORE_LOGIN),
        };
        let Some(end) = memchr::memchr(b'\n', self.input.get(self.seen..).unwrap_or_default()) else {
            let pending = self.input.len().saturating_sub(self.seen);
            return Some(if pending > line_most { Read::Lost("the line is too long") } else { Read::More });
        };
        if end > line_most || self.seen + end > most {
            return Some(Read::Lost("the command is too long"));
        }
        let end = self.seen + end;
        if end == self.seen || self.input[end - 1] != b'\r' {
            let line = self.input.split_to(end + 1);
            self.seen = 0;
            return Some(Read::Refused { tag: parse::tag(&line), flaw: Flaw::Bad("only CRLF ends a line") });
        }
        match literal(&self.input[self.seen..end - 1]) {
            None => {
                let mut command = self.input.split_to(end + 1).freeze();
                command.truncate(end - 1);
                self.seen = 0;
                self.shrink();
                Some(Read::Command(command))
            }
            Some((size, waits, brace)) => {
                self.literal(Literal { size, waits, brace: self.seen + brace, start: end + 1 }, most)
            }
        }
    }

    fn literal(&mut self, literal: Literal, most: usize) -> Option<Read> {
        let Literal { size, waits, brace, start } = literal;
        let head = self.input.get(..brace).unwrap_or_default();
        if self.logged_in && parse::is_append(head) {
            match parse::append_head(head) {
                Ok(Some(head)) => {
                    let _ = self.input.split_to(start);
                    self.seen = 0;
                    return Some(Read::Append { head, size, waits });
                }
                // The mailbox's name is the literal.
                Ok(None) => {}
                Err(flaw) => return Some(self.refuse(waits, size, start, flaw)),
            }
        }
        if !waits && !self.logged_in && size > MAX_LITERAL_MINUS {
            return Some(Read::Lost("the literal is too large"));
        }
        let limit = if self.logged_in { MAX_LITERAL } else { MAX_LINE_BEFORE_LOGIN };
        match usize::try_from(size).ok().filter(|size| *size <= limit && start + *size <= most) {
            Some(size) => {
                // The literal's octets are skipped unseen: CRLF in them ends nothing. What follows them is the
                // command's next line.
                self.seen = start + size;
                waits.then_some(Read::Continue)
            }
            None => Some(self.refuse(waits, size, start, Flaw::Bad("the literal is too large"))),
        }
    }

    /// A client that waits is told NO or BAD and sends nothing; one that does not has sent the octets already.
    fn refuse(&mut self, waits: bool, size: u64, start: usize, flaw: Flaw) -> Read {
        if !waits && !self.logged_in {
            return Read::Lost("the literal is too large");
        }
        let tag = parse::tag(&self.input);
        let _ = self.input.split_to(start.min(self.input.len()));
        self.seen = 0;
        if waits { Read::Refused { tag, flaw } } else { Read::RefusedUnread { tag, flaw, size } }
    }
}

/// `{n}` or `{n+}` at a line's end: its size, whether the client waits, where it begins.
fn literal(line: &[u8]) -> Option<(u64, bool, usize)> {
    let inner = line.strip_suffix(b"}")?;
    let brace = memchr::memrchr(b'{', inner)?;
    let digits = &inner[brace + 1..];
    let (digits, waits) = match digits.strip_suffix(b"+").or_else(|| digits.strip_suffix(b"-")) {
        Some(digits) => (digits, false),
        None => (digits, true),
    };
    let fits = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let size = std::str::from_utf8(digits).ok()?.parse().ok()?;
    fits.then_some((size, waits, brace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(octets: &[u8]) -> Reader {
        let mut reader = Reader::default();
        reader.log_in();
        reader.push(octets);
        reader
    }

    #[test]
    fn commands_come_whole_with_their_literals() {
        let mut reader = reader(b"a LOGIN {3}\r\nada {2+}\r\n\r\n\r\nb NOOP\r\nc");
        assert_eq!(reader.read(), Read::Continue);
        assert_eq!(reader.read(), Read::Command(Bytes::from_static(b"a LOGIN {3}\r\nada {2+}\r\n\r\n")));
        assert_eq!(reader.read(), Read::Command(Bytes::from_static(b"b NOOP")));
        assert_eq!(reader.read(), Read::More);
    }

    #[test]
    fn append_stops_at_its_message() {
        let mut reader = reader(b"a APPEND {5+}\r\nINBOX (\\Seen) {310}\r\n");
        assert!(matches!(reader.read(), Read::Append { size: 310, waits: true, head } if head.mailbox == "INBOX"));
        assert_eq!(reader.read(), Read::More);
    }

    #[test]
    fn what_is_too_large_is_refused() {
        assert!(matches!(reader(b"a LOGIN {99999999}\r\n").read(), Read::Refused { tag: Some(_), .. }));
        assert!(matches!(reader(b"a LOGIN {99999999+}\r\n").read(), Read::RefusedUnread { size: 99_999_999, .. }));
        assert!(matches!(reader(b"a NOOP\n").read(), Read::Refused { .. }));
        assert!(matches!(reader(&vec![b'a'; MAX_LINE + 2]).read(), Read::Lost(_)));
    }
}
