//! What follows DATA: undotted, ended by CRLF.CRLF and by nothing else (RFC 5321 §4.1.1.4, §4.5.2).

use super::TEXT_LINE_MOST;
use bytes::BytesMut;

/// What is wrong with a message, found while it is read on to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A CR without LF, or an LF without CR.
    BareLineEnd,
    /// A NUL octet.
    Nul,
    /// A line of more than [`TEXT_LINE_MOST`] octets.
    LongLine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// After CRLF, or at the beginning.
    LineStart,
    /// After a dot at the start of a line.
    Dot,
    /// After a dot and CR.
    DotCr,
    /// Within a line.
    Line,
    /// After CR.
    Cr,
}

/// Reads a message, in pieces of any size.
#[derive(Debug)]
pub struct Undot {
    at: At,
    line: usize,
    flaw: Option<Flaw>,
}

impl Default for Undot {
    fn default() -> Undot {
        Undot { at: At::LineStart, line: 0, flaw: None }
    }
}

impl Undot {
    /// Takes octets off the front of `input` and puts the message's into `out`. True at the message's end; what
    /// follows it stays in `input`.
    pub fn read(&mut self, input: &[u8], out: &mut BytesMut) -> (usize, bool) {
        let mut taken = 0;
        while taken < input.len() {
            if matches!(self.at, At::Line) {
                // The common case, in one go: up to the next octet that means something.
                let rest = &input[taken..];
                let plain = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                if plain > 0 {
                    out.extend_from_slice(&rest[..plain]);
                    self.line += plain;
                    taken += plain;
                    self.check_line();
                    continue;
                }
            }
            let octet = input[taken];
            taken += 1;
            if self.octet(octet, out) {
                return (taken, true);
            }
        }
        (taken, false)
    }

    /// What is wrong with the message, so far.
    pub fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }

    /// Looks at octets that BDAT counted, which have no dots to undo. Ends without CRLF are no flaw.
    pub fn look(&mut self, octets: &[u8]) {
        for octet in octets {
            match (self.at, octet) {
                (At::Cr, b'\n') => (self.at, self.line) = (At::Line, 0),
                (At::Cr, _) | (_, b'\n') => self.note(Flaw::BareLineEnd),
                (_, b'\r') => self.at = At::Cr,
                _ => {
                    self.at = At::Line;
                    self.line += 1;
                }
            }
            if *octet == 0 {
                self.note(Flaw::Nul);
            }
            self.check_line();
        }
    }

    /// The last chunk is over: a CR at its end stands alone.
    pub fn end(&mut self) {
        if self.at == At::Cr {
            self.note(Flaw::BareLineEnd);
        }
    }

    fn note(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    fn check_line(&mut self) {
        if self.line > TEXT_LINE_MOST {
            self.note(Flaw::LongLine);
        }
    }

    fn octet(&mut self, octet: u8, out: &mut BytesMut) -> bool {
        self.at = match (self.at, octet) {
            (At::DotCr, b'\n') => return true,
            (At::LineStart, b'.') => At::Dot,
            (At::Dot, b'\r') => At::DotCr,
            (At::Cr, b'\n') => {
                out.extend_from_slice(b"\n");
                self.line = 0;
                At::LineStart
            }
            (At::DotCr | At::Cr, _) => {
                // A CR that no LF followed.
                self.note(Flaw::BareLineEnd);
                if self.at == At::DotCr {
                    out.extend_from_slice(b"\r");
                }
                self.put(octet, out)
            }
            _ => self.put(octet, out),
        };
        false
    }

    fn put(&mut self, octet: u8, out: &mut BytesMut) -> At {
        out.extend_from_slice(&[octet]);
        self.line += 1;
        self.check_line();
        match octet {
            b'\r' => return At::Cr,
            b'\n' => self.note(Flaw::BareLineEnd),
            0 => self.note(Flaw::Nul),
            _ => {}
        }
        At::Line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> (Vec<u8>, usize, Option<Flaw>, bool) {
        let (mut undot, mut out) = (Undot::default(), BytesMut::new());
        let (taken, ended) = undot.read(input, &mut out);
        (out.to_vec(), taken, undot.flaw(), ended)
    }

    #[test]
    fn dots_are_undone_and_only_crlf_dot_crlf_ends() {
        assert_eq!(read(b"a\r\n..b\r\n.c\r\n.\r\nQUIT"), (b"a\r\n.b\r\nc\r\n".to_vec(), 15, None, true));
        assert_eq!(read(b".\r\n"), (Vec::new(), 3, None, true));
        for smuggled in
            [&b"a\n.\nMAIL"[..], b"a\r.\rMAIL", b"a\n.\r\nMAIL", b"a\r\n.\nMAIL", b"a\r\n.\rMAIL", b"a\r\r\n.\nM"]
        {
            let (_, _, flaw, ended) = read(smuggled);
            assert_eq!((flaw, ended), (Some(Flaw::BareLineEnd), false), "{}", smuggled.escape_ascii());
        }
        assert_eq!(read(b"a\0b\r\n.\r\n").2, Some(Flaw::Nul));
        assert_eq!(read(&[&vec![b'x'; TEXT_LINE_MOST + 1][..], b"\r\n.\r\n"].concat()).2, Some(Flaw::LongLine));
    }

    #[test]
    fn any_split_reads_the_same() {
        let text = b"Subject: x\r\n\r\n..dots\r\n.\rbare\n.\r\r\n\0\r\n...\r\n.\r\nrest";
        let whole = read(text);
        for split in 0..text.len() {
            let (mut undot, mut out) = (Undot::default(), BytesMut::new());
            let (one, ended) = undot.read(&text[..split], &mut out);
            let two = if ended { 0 } else { undot.read(&text[split..], &mut out).0 };
            assert_eq!((out.to_vec(), one + two, undot.flaw()), (whole.0.clone(), whole.1, whole.2), "{split}");
        }
    }
}
