//! The server's side of a session.

use super::ask::{Answer, Ask, MailAsk};
use super::body::{Flaw, Undot};
use super::parse::{self, Command};
use super::types::{Path, RcptParams, Reply};
use super::{BAD_MOST, CHUNK, COMMAND_TIMEOUT, DATA_TIMEOUT, LINE_MOST, LOGINS_MOST, MESSAGES_MOST, UNREAD_MOST};
use crate::sasl::{Exchange, Mechanism, Turn, nonce};
use crate::{Event, Session, Step, TlsFacts};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::{Bytes, BytesMut};
use std::time::{Duration, Instant};

/// Whom a session serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Other servers, on port 25: no logins.
    Relay,
    /// The server's own people: nothing without TLS and a login.
    Submission,
}

/// What a session needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// What we call ourselves.
    pub host_name: String,
    /// Whom we serve.
    pub role: Role,
    /// Whether STARTTLS is offered in clear.
    pub starttls: bool,
    /// What is offered under TLS to our own people.
    pub mechanisms: Vec<Mechanism>,
    /// The largest message, in octets.
    pub max_size: u64,
    /// Recipients of one message.
    pub max_recipients: u32,
    /// The longest session.
    pub session_time: Duration,
}

enum Phase {
    Command,
    Data(Undot),
    Chunk {
        left: u64,
        last: bool,
    },
    /// A chunk that nobody wants, and what is said after it.
    Skip {
        left: u64,
        reply: Reply,
    },
    Auth,
    Close,
}

/// What the answer that is awaited is for.
enum Expect {
    Nothing,
    Mail,
    Recipient,
    Data,
    ChunkStart { left: u64, last: bool },
    Body,
    End,
    Reset,
    Login,
    Verifier,
    LoginRefused,
}

#[derive(Default)]
struct Transaction {
    recipients: u32,
    size: u64,
    utf8: bool,
    /// Whether BDAT began it.
    chunked: bool,
    body: Option<Undot>,
    /// What is said at the end in place of 250.
    refused: Option<Reply>,
}

/// A session of SMTP, without I/O.
pub struct SmtpSession {
    config: Config,
    tls: Option<TlsFacts>,
    seed: [u8; 32],
    nonces: u64,
    input: BytesMut,
    out: BytesMut,
    ask: Option<Ask>,
    expect: Expect,
    phase: Phase,
    start_tls: bool,
    hello: Option<(String, bool)>,
    user: Option<String>,
    exchange: Option<Exchange>,
    transaction: Option<Transaction>,
    /// Whether the MAIL being asked about has SMTPUTF8.
    utf8: bool,
    /// The octets being asked about are the message's last.
    ended: bool,
    eof: bool,
    must_leave: Option<Reply>,
    heard: bool,
    bad: u32,
    logins: u32,
    messages: u32,
    ends: Instant,
    last: Instant,
}

impl SmtpSession {
    /// A session on a connection just made; `tls` where the handshake came first. `seed` is secret and this
    /// session's own.
    pub fn new(config: Config, tls: Option<TlsFacts>, seed: [u8; 32], now: Instant) -> SmtpSession {
        let greeting = format!("220 {} ESMTP\r\n", config.host_name);
        SmtpSession {
            ends: now + config.session_time,
            config,
            tls,
            seed,
            nonces: 0,
            input: BytesMut::new(),
            out: BytesMut::from(greeting.as_bytes()),
            ask: None,
            expect: Expect::Nothing,
            phase: Phase::Command,
            start_tls: false,
            hello: None,
            user: None,
            exchange: None,
            transaction: None,
            utf8: false,
            ended: false,
            eof: false,
            must_leave: None,
            heard: false,
            bad: 0,
            logins: 0,
            messages: 0,
            last: now,
        }
    }

    fn say(&mut self, reply: &Reply) {
        self.out.extend_from_slice(reply.encode().as_bytes());
        if reply.code() >= 500 {
            self.bad += 1;
            if self.bad >= BAD_MOST {
                self.leave(&Reply::new(421, Some((4, 7, 0)), "too many errors"));
            }
        }
        if reply.code() == 421 {
            self.phase = Phase::Close;
        }
    }

    fn answer(&mut self, code: u16, enhanced: (u8, u16, u16), text: &str) {
        self.say(&Reply::new(code, Some(enhanced), text));
    }

    fn leave(&mut self, reply: &Reply) {
        self.out.extend_from_slice(reply.encode().as_bytes());
        self.phase = Phase::Close;
    }

    fn ask(&mut self, ask: Ask, expect: Expect) {
        self.ask = Some(ask);
        self.expect = expect;
    }

    /// Takes one line, without CRLF; `None` until it is whole, or where the session is over.
    fn line(&mut self) -> Option<String> {
        let end = memchr::memchr2(b'\r', b'\n', &self.input);
        match end {
            None if self.input.len() > LINE_MOST => {
                self.leave(&Reply::new(500, Some((5, 5, 2)), "the line is too long"));
                None
            }
            None => None,
            Some(at) if self.input[at] == b'\r' && at + 1 == self.input.len() => None,
            Some(at) if self.input[at] == b'\r' && self.input[at + 1] == b'\n' => {
                let line = self.input.split_to(at + 2);
                if line.len() > LINE_MOST {
                    self.leave(&Reply::new(500, Some((5, 5, 2)), "the line is too long"));
                    return None;
                }
                match std::str::from_utf8(&line[..at]) {
                    Ok(text) if !text.contains('\0') => Some(text.to_owned()),
                    // RFC 4954 §4: what cannot be decoded ends the exchange.
                    _ if matches!(self.phase, Phase::Auth) => {
                        self.turn(Turn::Malformed);
                        None
                    }
                    _ => {
                        self.answer(500, (5, 5, 2), "the line is not UTF-8 text");
                        None
                    }
                }
            }
            // RFC 5321 §2.3.8. Mending it lets one server see two commands where another sees one.
            Some(_) => {
                self.leave(&Reply::new(500, Some((5, 5, 2)), "only CRLF ends a line"));
                None
            }
        }
    }

    fn command(&mut self, line: &str) {
        let command = match parse::command(line) {
            Ok(command) => command,
            Err(reply) => return self.say(&reply),
        };
        let submission = self.config.role == Role::Submission;
        let allowed_in_clear = matches!(
            command,
            Command::Hello { .. } | Command::Noop | Command::Rset | Command::Quit | Command::StartTls | Command::Help
        );
        if submission && self.tls.is_none() && !allowed_in_clear {
            return self.answer(530, (5, 7, 0), "say STARTTLS first");
        }
        match command {
            Command::Hello { name, esmtp } => self.hello(name, esmtp),
            Command::Mail(path, params) => self.mail(path, params),
            Command::Rcpt(path, params) => self.rcpt(path, params),
            Command::Data => self.data(),
            Command::Bdat { size, last } => self.bdat(size, last),
            Command::Rset => self.reset(),
            Command::Noop => self.answer(250, (2, 0, 0), "fine"),
            Command::Quit => self.leave(&Reply::new(221, Some((2, 0, 0)), "goodbye")),
            // RFC 5321 §7.3: whether somebody exists is not told.
            Command::Vrfy => self.answer(252, (2, 5, 0), "send it mail and see"),
            Command::Expn => self.answer(502, (5, 5, 1), "lists are not shown"),
            Command::Help => self.answer(214, (2, 0, 0), "see RFC 5321"),
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial),
        }
    }

    fn hello(&mut self, name: String, esmtp: bool) {
        self.hello = Some((name.clone(), esmtp));
        let mut lines = vec![format!("{} greets {name}", self.config.host_name)];
        if esmtp {
            lines.extend(
                ["PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES"].map(str::to_owned),
            );
            lines.push(format!("SIZE {}", self.config.max_size));
            if self.can_start_tls() {
                lines.push("STARTTLS".to_owned());
            }
            let mechanisms = self.mechanisms();
            if !mechanisms.is_empty() {
                let names: Vec<&str> = mechanisms.iter().map(|mechanism| mechanism.name()).collect();
                lines.push(format!("AUTH {}", names.join(" ")));
            }
        }
        // RFC 5321 §4.1.4: a new greeting ends a transaction.
        let reply = Reply::of_lines(250, None, lines);
        self.say(&reply);
        if self.transaction.take().is_some() {
            self.ask(Ask::Reset, Expect::Reset);
        }
    }

    fn can_start_tls(&self) -> bool {
        self.config.starttls && self.tls.is_none()
    }

    fn mechanisms(&self) -> Vec<Mechanism> {
        match (self.config.role, &self.tls, &self.user) {
            (Role::Submission, Some(tls), None) => Mechanism::usable(&self.config.mechanisms, Some(tls)),
            _ => Vec::new(),
        }
    }

    fn mail(&mut self, from: Path, params: super::types::MailParams) {
        let Some((helo, esmtp)) = self.hello.clone() else {
            return self.answer(503, (5, 5, 1), "say EHLO first");
        };
        if self.config.role == Role::Submission && self.user.is_none() {
            return self.answer(530, (5, 7, 0), "log in first");
        }
        if self.transaction.is_some() {
            return self.answer(503, (5, 5, 1), "a transaction is under way");
        }
        if params.size.is_some_and(|size| size > self.config.max_size) {
            return self.answer(552, (5, 3, 4), "the message is larger than this server takes");
        }
        if self.messages >= MESSAGES_MOST {
            return self.leave(&Reply::new(421, Some((4, 7, 0)), "that was enough for one session"));
        }
        self.utf8 = params.smtputf8;
        let (tls, user) = (self.tls.clone(), self.user.clone());
        let ask = MailAsk { from, params, helo, esmtp, tls, user };
        self.ask(Ask::Mail(Box::new(ask)), Expect::Mail);
    }

    fn rcpt(&mut self, path: Path, params: RcptParams) {
        match &self.transaction {
            None => self.say(&Reply::bad_sequence()),
            Some(transaction) if transaction.chunked => self.say(&Reply::bad_sequence()),
            Some(transaction) if transaction.recipients >= self.config.max_recipients => {
                self.answer(452, (4, 5, 3), "too many recipients");
            }
            // RFC 6531 §3.2: only a transaction that asked for it may hold such addresses.
            Some(transaction) if !transaction.utf8 && !path.to_string().is_ascii() => {
                self.answer(553, (5, 6, 7), "this address needs SMTPUTF8 in MAIL");
            }
            Some(_) => self.ask(Ask::Recipient { path, params }, Expect::Recipient),
        }
    }

    fn data(&mut self) {
        match &self.transaction {
            None => self.say(&Reply::bad_sequence()),
            Some(transaction) if transaction.chunked => self.say(&Reply::bad_sequence()),
            Some(transaction) if transaction.recipients == 0 => self.answer(503, (5, 5, 1), "no recipient was taken"),
            Some(_) => self.ask(Ask::BodyStart, Expect::Data),
        }
    }

    fn bdat(&mut self, left: u64, last: bool) {
        let wrong = match &self.transaction {
            None => Some(Reply::bad_sequence()),
            Some(transaction) if transaction.recipients == 0 => {
                Some(Reply::new(503, Some((5, 5, 1)), "no recipient was taken"))
            }
            Some(_) => None,
        };
        // RFC 3030 §3: the octets come whatever we say.
        if let Some(reply) = wrong {
            self.phase = Phase::Skip { left, reply };
            return;
        }
        match self.transaction.as_mut().filter(|transaction| !transaction.chunked) {
            Some(transaction) => {
                transaction.chunked = true;
                transaction.body = Some(Undot::default());
                self.ask(Ask::BodyStart, Expect::ChunkStart { left, last });
            }
            None => self.phase = Phase::Chunk { left, last },
        }
    }

    fn reset(&mut self) {
        self.answer(250, (2, 0, 0), "forgotten");
        if self.transaction.take().is_some() {
            self.ask(Ask::Reset, Expect::Reset);
        }
    }

    fn start_tls(&mut self) {
        if self.transaction.is_some() || !self.can_start_tls() {
            return self.answer(503, (5, 5, 1), "TLS cannot start now");
        }
        // RFC 3207 §4.2: what came in clear behind the command was put there by somebody else.
        if !self.input.is_empty() {
            return self.leave(&Reply::new(501, Some((5, 5, 4)), "nothing may follow STARTTLS before its reply"));
        }
        self.answer(220, (2, 0, 0), "go ahead");
        self.start_tls = true;
    }

    fn auth(&mut self, mechanism: &str, initial: Option<String>) {
        if self.config.role == Role::Relay {
            return self.answer(502, (5, 5, 1), "logins are taken on the submission ports");
        }
        if self.hello.is_none() || self.user.is_some() || self.transaction.is_some() {
            return self.answer(503, (5, 5, 1), "a login cannot be made now");
        }
        let offered = self.mechanisms();
        let Some(mechanism) = Mechanism::parse(mechanism).filter(|mechanism| offered.contains(mechanism)) else {
            return self.answer(504, (5, 5, 4), "this mechanism is not offered");
        };
        self.nonces += 1;
        let plus = offered.contains(&Mechanism::ScramSha256Plus);
        let nonce = nonce(&self.seed, self.nonces);
        self.exchange = Some(Exchange::begin(mechanism, self.tls.as_ref(), plus, nonce));
        self.phase = Phase::Auth;
        match initial {
            // RFC 4954 §4: a lone `=` is an empty response.
            Some(initial) if initial == "=" => self.respond(b""),
            Some(initial) => self.auth_line(&initial),
            None => {
                let turn = self.exchange.as_mut().map_or(Turn::Malformed, Exchange::start);
                self.turn(turn);
            }
        }
    }

    fn auth_line(&mut self, line: &str) {
        if line == "*" {
            self.exchange = None;
            self.phase = Phase::Command;
            return self.answer(501, (5, 7, 0), "login given up");
        }
        match BASE64_STANDARD.decode(line) {
            Ok(octets) => self.respond(&octets),
            Err(_) => self.turn(Turn::Malformed),
        }
    }

    fn respond(&mut self, octets: &[u8]) {
        let turn = self.exchange.as_mut().map_or(Turn::Malformed, |exchange| exchange.response(octets));
        self.turn(turn);
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Challenge(octets) => {
                let line = format!("334 {}\r\n", BASE64_STANDARD.encode(octets));
                self.out.extend_from_slice(line.as_bytes());
                self.phase = Phase::Auth;
            }
            Turn::Verify(credentials) => self.ask(Ask::Login(credentials), Expect::Login),
            Turn::Verifier { user } => self.ask(Ask::Verifier { user }, Expect::Verifier),
            Turn::Proved { user, authorize } => self.ask(Ask::Proved { user, authorize }, Expect::Login),
            Turn::Refused { user } => self.ask(Ask::LoginRefused { user }, Expect::LoginRefused),
            Turn::Malformed => {
                self.exchange = None;
                self.phase = Phase::Command;
                self.failed_login(&Reply::new(501, Some((5, 5, 2)), "this is not how the mechanism speaks"));
            }
        }
    }

    fn failed_login(&mut self, reply: &Reply) {
        self.logins += 1;
        self.say(reply);
        if self.logins >= LOGINS_MOST {
            self.leave(&Reply::new(421, Some((4, 7, 0)), "too many failed logins"));
        }
    }

    /// Reads more of a message that ends with a dot.
    fn data_octets(&mut self, mut undot: Undot) {
        let mut out = BytesMut::new();
        let most = self.input.len().min(CHUNK);
        let (taken, ended) = undot.read(&self.input[..most], &mut out);
        let _ = self.input.split_to(taken);
        let flaw = undot.flaw();
        if ended {
            self.phase = Phase::Command;
        } else {
            self.phase = Phase::Data(undot);
        }
        self.octets(out.freeze(), flaw, ended);
    }

    /// Reads more of a chunk that was counted.
    fn chunk_octets(&mut self, left: u64, last: bool) {
        let most = self.input.len().min(CHUNK).min(usize::try_from(left).unwrap_or(usize::MAX));
        let octets = self.input.split_to(most).freeze();
        let left = left - most as u64;
        let mut flaw = None;
        if let Some(body) = self.transaction.as_mut().and_then(|transaction| transaction.body.as_mut()) {
            body.look(&octets);
            if left == 0 && last {
                body.end();
            }
            flaw = body.flaw();
        }
        self.phase = if left > 0 { Phase::Chunk { left, last } } else { Phase::Command };
        let ended = left == 0;
        if ended && !last {
            let reply = Reply::new(250, Some((2, 0, 0)), "chunk taken");
            self.octets(octets, flaw, false);
            let refused = self.transaction.as_ref().and_then(|transaction| transaction.refused.clone());
            self.say(&refused.unwrap_or(reply));
            return;
        }
        self.octets(octets, flaw, ended);
    }

    fn octets(&mut self, octets: Bytes, flaw: Option<Flaw>, ended: bool) {
        let max_size = self.config.max_size;
        let Some(transaction) = self.transaction.as_mut() else { return };
        transaction.size = transaction.size.saturating_add(octets.len() as u64);
        let wrong = match flaw {
            _ if transaction.size > max_size => Some((552, (5, 3, 4), "the message is larger than this server takes")),
            Some(Flaw::BareLineEnd) => Some((550, (5, 6, 0), "the message has a CR or LF that stands alone")),
            Some(Flaw::Nul) => Some((550, (5, 6, 0), "the message has a NUL octet")),
            Some(Flaw::LongLine) => Some((550, (5, 6, 0), "the message has a line of more than 64 KiB")),
            None => None,
        };
        if let (Some((code, enhanced, text)), None) = (wrong, &transaction.refused) {
            transaction.refused = Some(Reply::new(code, Some(enhanced), text));
        }
        let refused = transaction.refused.is_some();
        match (ended, refused) {
            (true, true) => self.refused_message(),
            (true, false) if octets.is_empty() => self.ask(Ask::BodyEnd, Expect::End),
            (true, false) => {
                self.ask(Ask::Body(octets), Expect::Body);
                self.ended = true;
            }
            (false, false) if !octets.is_empty() => self.ask(Ask::Body(octets), Expect::Body),
            _ => {}
        }
    }

    fn refused_message(&mut self) {
        let refused = self.transaction.take().and_then(|transaction| transaction.refused);
        if let Some(reply) = refused {
            self.say(&reply);
        }
        self.ask(Ask::Reset, Expect::Reset);
    }

    fn answered(&mut self, answer: Answer) {
        match (std::mem::replace(&mut self.expect, Expect::Nothing), answer) {
            (Expect::Mail, Answer::Go) => {
                self.transaction = Some(Transaction { utf8: self.utf8, ..Transaction::default() });
                self.answer(250, (2, 1, 0), "sender taken");
            }
            (Expect::Recipient, Answer::Go) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.recipients += 1;
                }
                self.answer(250, (2, 1, 5), "recipient taken");
            }
            (Expect::Data, Answer::Go) => {
                self.out.extend_from_slice(b"354 end with CRLF.CRLF\r\n");
                self.phase = Phase::Data(Undot::default());
            }
            (Expect::ChunkStart { left, last }, Answer::Go) => self.phase = Phase::Chunk { left, last },
            (Expect::ChunkStart { left, last }, Answer::Refuse(reply)) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.refused = Some(reply);
                }
                self.phase = Phase::Chunk { left, last };
            }
            (Expect::Body, answer) => self.body_answered(answer),
            (Expect::End, Answer::Accepted(text)) => {
                self.transaction = None;
                self.messages += 1;
                // Whoever gets mail through is no guesser.
                self.bad = 0;
                self.out.extend_from_slice(format!("250 {text}\r\n").as_bytes());
            }
            (Expect::End, Answer::Refuse(reply)) => {
                self.transaction = None;
                self.say(&reply);
            }
            (Expect::Login, Answer::LoggedIn { user }) => {
                self.user = Some(user);
                self.exchange = None;
                self.phase = Phase::Command;
                self.answer(235, (2, 7, 0), "welcome");
            }
            (Expect::Login | Expect::Verifier, Answer::Refuse(reply)) => {
                self.exchange = None;
                self.phase = Phase::Command;
                self.failed_login(&reply);
            }
            (Expect::LoginRefused, _) => {
                self.exchange = None;
                self.phase = Phase::Command;
                self.failed_login(&Reply::new(535, Some((5, 7, 8)), "user name or password is wrong"));
            }
            (Expect::Verifier, Answer::Verifier(verifier)) => {
                let turn = self.exchange.as_mut().map_or(Turn::Malformed, |exchange| exchange.verifier(verifier));
                self.turn(turn);
            }
            (Expect::Reset, _) => {}
            (_, Answer::Refuse(reply)) => self.say(&reply),
            _ => self.leave(&Reply::new(421, Some((4, 3, 0)), "the server is confused")),
        }
    }

    fn body_answered(&mut self, answer: Answer) {
        if let (Answer::Refuse(reply), Some(transaction)) = (answer, &mut self.transaction) {
            transaction.refused.get_or_insert(reply);
        }
        if std::mem::take(&mut self.ended) {
            match self.transaction.as_ref().is_some_and(|transaction| transaction.refused.is_some()) {
                true => self.refused_message(),
                false => self.ask(Ask::BodyEnd, Expect::End),
            }
        }
    }

    /// Does what can be done with the input; false where more is needed.
    fn advance(&mut self) -> bool {
        match std::mem::replace(&mut self.phase, Phase::Command) {
            Phase::Command => match self.line() {
                Some(line) => self.command(&line),
                None => return matches!(self.phase, Phase::Close) || !self.out.is_empty(),
            },
            Phase::Auth => {
                self.phase = Phase::Auth;
                match self.line() {
                    Some(line) => self.auth_line(&line),
                    None => return matches!(self.phase, Phase::Close) || !self.out.is_empty(),
                }
            }
            Phase::Data(undot) if self.input.is_empty() => {
                self.phase = Phase::Data(undot);
                return false;
            }
            Phase::Data(undot) => self.data_octets(undot),
            Phase::Chunk { left, last } if left > 0 && self.input.is_empty() => {
                self.phase = Phase::Chunk { left, last };
                return false;
            }
            Phase::Chunk { left, last } => self.chunk_octets(left, last),
            Phase::Skip { left, reply } => {
                let most = self.input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let _ = self.input.split_to(most);
                let left = left - most as u64;
                if left > 0 {
                    self.phase = Phase::Skip { left, reply };
                    return false;
                }
                self.say(&reply);
            }
            Phase::Close => self.phase = Phase::Close,
        }
        true
    }

    fn in_message(&self) -> bool {
        matches!(self.phase, Phase::Data(_) | Phase::Chunk { .. })
    }

    fn until(&self) -> Instant {
        let wait = if self.in_message() { DATA_TIMEOUT } else { COMMAND_TIMEOUT };
        (self.last + wait).min(self.ends)
    }
}

impl Session for SmtpSession {
    type Ask = Ask;
    type Answer = Answer;

    fn event(&mut self, event: Event<'_, Answer>) {
        match event {
            Event::Bytes(octets) if self.input.len() + octets.len() > UNREAD_MOST => {
                self.leave(&Reply::new(421, Some((4, 7, 0)), "too much at once"));
            }
            Event::Bytes(octets) => {
                self.input.extend_from_slice(octets);
                self.heard = true;
            }
            Event::Eof => self.eof = true,
            Event::Tls(facts) => {
                // RFC 3207 §4.2: everything learnt before is forgotten.
                self.tls = Some(facts);
                self.hello = None;
            }
            Event::Answer(answer) => self.answered(answer),
            Event::News(Answer::Gone) => {
                self.must_leave = Some(Reply::new(421, Some((4, 7, 0)), "this account is gone"));
            }
            Event::News(_) => self.must_leave = Some(Reply::new(421, Some((4, 3, 2)), "the server is stopping")),
        }
    }

    fn step(&mut self, now: Instant) -> Step<Ask> {
        if std::mem::take(&mut self.heard) {
            self.last = now;
        }
        loop {
            if !self.out.is_empty() {
                return Step::Write(self.out.split().freeze());
            }
            if let Some(ask) = self.ask.take() {
                return Step::Ask(ask);
            }
            if std::mem::take(&mut self.start_tls) {
                return Step::StartTls;
            }
            if matches!(self.phase, Phase::Close) {
                if self.transaction.take().is_some() {
                    self.expect = Expect::Reset;
                    return Step::Ask(Ask::Reset);
                }
                return Step::Close;
            }
            if self.advance() {
                continue;
            }
            if self.eof {
                self.phase = Phase::Close;
            } else if !self.in_message()
                && let Some(reply) = self.must_leave.take()
            {
                self.leave(&reply);
            } else if now >= self.until() {
                self.leave(&Reply::new(421, Some((4, 4, 2)), "idle or busy for too long"));
            } else {
                return Step::Wait { until: self.until() };
            }
        }
    }
}

#[cfg(test)]
mod tests;
