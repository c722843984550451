//! The server's side of a session: states, logins, literals and time; what each command does is in the modules
//! below.

use super::ask::{Answer, Ask};
use super::parse::{self, Flaw};
use super::read::{Read, Reader};
use super::types::{AppendHead, Command, ListCommand, SearchReturn, StatusItem, Tagged};
use super::view::View;
use super::{APPEND_CHUNK, AUTOLOGOUT, LOGIN_TIMEOUT, MAX_BAD, MAX_BAD_BEFORE_LOGIN, MAX_UNREAD, ask};
use crate::sasl::{Credentials, Exchange, Mechanism, Turn, nonce};
use crate::{BlobRef, Event, Session, Step, TlsFacts};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::BytesMut;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

mod commands;
mod messages;

use messages::{Fetch, Store};

/// What a session needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// What we call ourselves.
    pub host_name: String,
    /// Whether STARTTLS is offered in clear.
    pub starttls: bool,
    /// What is offered under TLS.
    pub mechanisms: Vec<Mechanism>,
    /// The largest message, in octets.
    pub append_limit: u64,
}

enum Out {
    Text(BytesMut),
    Copy(BlobRef, Range<u64>),
}

enum Phase {
    Command,
    Auth {
        tag: String,
    },
    Idle {
        tag: String,
    },
    /// A message is coming in.
    Append {
        tag: String,
        left: u64,
    },
    /// A message that nobody wants is coming in, and what is said after it.
    Skip {
        left: u64,
        line: String,
    },
    Close,
}

/// What the answer that is awaited is for.
enum Job {
    Nothing,
    /// `Go` ends the command with this line.
    Simple {
        tag: String,
        done: &'static str,
    },
    Login {
        tag: String,
    },
    Verifier {
        tag: String,
    },
    LoginRefused {
        tag: String,
    },
    List {
        tag: String,
        list: Box<ListCommand>,
    },
    Status {
        tag: String,
        mailbox: String,
        items: Vec<StatusItem>,
    },
    Select {
        tag: String,
        mailbox: String,
        read_only: bool,
    },
    Delete {
        tag: String,
        mailbox: String,
    },
    Rename {
        tag: String,
        from: String,
        to: String,
    },
    /// The tagged line is said when the watch is on.
    Watch {
        line: String,
    },
    AppendStart {
        tag: String,
        size: u64,
        waits: bool,
    },
    AppendChunk,
    AppendEnd {
        tag: String,
    },
    Fetch(Box<Fetch>),
    Store(Box<Store>),
    Search {
        tag: String,
        uid: bool,
        returns: Option<SearchReturn>,
        modseq: bool,
    },
    Copy {
        tag: String,
        remove: bool,
    },
    Expunge {
        tag: String,
    },
    Close {
        tag: String,
    },
    /// Tell what has changed, then say the line, if any.
    Sync {
        line: Option<String>,
    },
}

/// A session of IMAP, without I/O.
pub struct ImapSession {
    config: Config,
    tls: Option<TlsFacts>,
    seed: [u8; 32],
    nonces: u64,
    reader: Reader,
    out: VecDeque<Out>,
    ask: Option<Ask>,
    job: Job,
    phase: Phase,
    start_tls: bool,
    exchange: Option<Exchange>,
    user: Option<String>,
    view: Option<View>,
    condstore: bool,
    bad: u32,
    eof: bool,
    leave: Option<&'static str>,
    heard: bool,
    login_by: Instant,
    last: Instant,
}

impl ImapSession {
    /// A session on a connection just made; `tls` where the handshake came first. `seed` is secret and this
    /// session's own.
    pub fn new(config: Config, tls: Option<TlsFacts>, seed: [u8; 32], now: Instant) -> ImapSession {
        let mut session = ImapSession {
            config,
            tls,
            seed,
            nonces: 0,
            reader: Reader::default(),
            out: VecDeque::new(),
            ask: None,
            job: Job::Nothing,
            phase: Phase::Command,
            start_tls: false,
            exchange: None,
            user: None,
            view: None,
            condstore: false,
            bad: 0,
            eof: false,
            leave: None,
            heard: false,
            login_by: now + LOGIN_TIMEOUT,
            last: now,
        };
        let greeting = format!("* OK [CAPABILITY {}] {} is ready", session.capabilities(), session.config.host_name);
        session.say(&greeting);
        session
    }

    /// RFC 3501 §7.2.1: what can be done now.
    fn capabilities(&self) -> String {
        let mut names = vec!["IMAP4rev1".to_owned()];
        let mut add = |list: &[&str]| names.extend(list.iter().map(|name| (*name).to_owned()));
        add(&["SASL-IR", "ID", "ENABLE"]);
        if self.user.is_some() {
            add(&["LITERAL+", "IDLE", "NAMESPACE", "UIDPLUS", "UNSELECT", "CHILDREN", "LIST-EXTENDED", "LIST-STATUS"]);
            add(&["SPECIAL-USE", "CREATE-SPECIAL-USE", "MOVE", "CONDSTORE", "ESEARCH", "WITHIN", "STATUS=SIZE"]);
            names.push(format!("APPENDLIMIT={}", self.config.append_limit));
            return names.join(" ");
        }
        add(&["LITERAL-"]);
        if self.config.starttls && self.tls.is_none() {
            add(&["STARTTLS"]);
        }
        if self.tls.is_none() {
            add(&["LOGINDISABLED"]);
        }
        names.extend(self.mechanisms().iter().map(|mechanism| format!("AUTH={}", mechanism.name())));
        names.join(" ")
    }

    fn mechanisms(&self) -> Vec<Mechanism> {
        match &self.tls {
            Some(tls) => Mechanism::usable(&self.config.mechanisms, Some(tls)),
            None => Vec::new(),
        }
    }

    /// The buffer that text is written to.
    fn text(&mut self) -> &mut BytesMut {
        if !matches!(self.out.back(), Some(Out::Text(_))) {
            self.out.push_back(Out::Text(BytesMut::new()));
        }
        match self.out.back_mut() {
            Some(Out::Text(text)) => text,
            // Pushed just above.
            _ => unreachable!("the last output is text"),
        }
    }

    fn say(&mut self, line: &str) {
        let text = self.text();
        text.extend_from_slice(line.as_bytes());
        text.extend_from_slice(b"\r\n");
    }

    fn bye(&mut self, why: &str) {
        self.say(&format!("* BYE {why}"));
        self.phase = Phase::Close;
    }

    /// A command that is none. Too many of them are no mail client.
    fn bad(&mut self, tag: Option<&str>, why: &str) {
        self.say(&format!("{} BAD {why}", tag.unwrap_or("*")));
        self.count_bad();
    }

    fn count_bad(&mut self) {
        self.bad += 1;
        let most = if self.user.is_some() { MAX_BAD } else { MAX_BAD_BEFORE_LOGIN };
        if self.bad >= most {
            self.bye("too many errors");
        }
    }

    fn ask(&mut self, ask: Ask, job: Job) {
        self.ask = Some(ask);
        self.job = job;
    }

    /// Ends a command, telling first what has happened in the selected mailbox meanwhile.
    fn finish(&mut self, line: String, look: bool) {
        match &self.view {
            Some(view) if look || view.dirty => {
                let ask = Ask::Changes { mailbox: view.mailbox, since: view.modseq };
                self.ask(ask, Job::Sync { line: Some(line) });
            }
            _ => self.say(&line),
        }
    }

    /// Does the next thing that can be done; false: nothing can.
    fn advance(&mut self) -> bool {
        match &self.phase {
            Phase::Command => self.next_command(),
            Phase::Auth { .. } => self.next_response(),
            Phase::Idle { .. } => self.idle(),
            Phase::Append { .. } => self.append_more(),
            Phase::Skip { .. } => self.skip(),
            Phase::Close => false,
        }
    }

    fn next_command(&mut self) -> bool {
        if let Some(why) = self.leave {
            self.bye(why);
            return true;
        }
        match self.reader.read() {
            Read::More => return false,
            Read::Continue => self.say("+ go on"),
            Read::Command(octets) => match parse::command(&octets) {
                Ok(tagged) => {
                    // Only errors in a row tell that this is no mail client; before a login all count.
                    self.bad = if self.user.is_some() { 0 } else { self.bad };
                    self.command(tagged);
                }
                Err((tag, flaw)) => self.flaw(tag.as_deref(), flaw),
            },
            Read::Append { head, size, waits } => self.append(head, size, waits),
            Read::Refused { tag, flaw } => self.flaw(tag.as_deref(), flaw),
            Read::RefusedUnread { size, .. } if size > self.config.append_limit => self.bye("the literal is too large"),
            Read::RefusedUnread { tag, flaw, size } => {
                self.phase = Phase::Skip { left: size, line: flaw_line(tag.as_deref(), flaw) };
            }
            Read::Lost(why) => self.bye(why),
        }
        true
    }

    fn flaw(&mut self, tag: Option<&str>, flaw: Flaw) {
        self.say(&flaw_line(tag, flaw));
        if matches!(flaw, Flaw::Bad(_)) {
            self.count_bad();
        }
    }

    /// The client knows modseqs from now on (RFC 7162 §3.1).
    fn know_modseqs(&mut self, knows: bool) {
        if !knows || self.condstore {
            return;
        }
        self.condstore = true;
        if let Some(modseq) = self.view.as_ref().map(|view| view.modseq) {
            self.say(&format!("* OK [HIGHESTMODSEQ {modseq}] the newest change"));
        }
    }

    fn command(&mut self, Tagged { tag, command }: Tagged) {
        match command {
            Command::Capability => {
                self.say(&format!("* CAPABILITY {}", self.capabilities()));
                self.say(&format!("{tag} OK that is all"));
            }
            Command::Noop => self.finish(format!("{tag} OK done"), true),
            Command::Logout => {
                self.bye("until next time");
                self.say(&format!("{tag} OK logged out"));
            }
            Command::Id => {
                self.say("* ID (\"name\" \"Waybill\")");
                self.say(&format!("{tag} OK pleased to meet you"));
            }
            Command::StartTls => self.starttls(&tag),
            Command::Authenticate { mechanism, initial } => self.authenticate(tag, &mechanism, initial),
            Command::Login { user, password } => self.login(tag, user, password),
            _ if self.user.is_none() => self.bad(Some(&tag), "log in first"),
            Command::Enable(names) => {
                let condstore = names.iter().any(|name| name == "CONDSTORE");
                self.know_modseqs(condstore);
                self.say(if condstore { "* ENABLED CONDSTORE" } else { "* ENABLED" });
                self.say(&format!("{tag} OK enabled"));
            }
            Command::Idle => {
                self.say("+ idling");
                if let Some(view) = &mut self.view {
                    view.dirty = true;
                }
                self.phase = Phase::Idle { tag };
            }
            command => self.logged_in(tag, command),
        }
    }

    fn starttls(&mut self, tag: &str) {
        if self.tls.is_some() || self.user.is_some() || !self.config.starttls {
            return self.bad(Some(tag), "TLS cannot start here");
        }
        // RFC 3501 §11.1, CVE-2011-0411: what came in clear is not executed under TLS.
        if !self.reader.is_empty() {
            return self.bye("nothing may follow STARTTLS");
        }
        self.say(&format!("{tag} OK begin"));
        self.start_tls = true;
    }

    fn may_log_in(&mut self, tag: &str) -> bool {
        if self.user.is_some() {
            self.bad(Some(tag), "you are logged in");
        } else if self.tls.is_none() {
            self.say(&format!("{tag} NO [PRIVACYREQUIRED] logins need TLS"));
        } else {
            return true;
        }
        false
    }

    fn login(&mut self, tag: String, user: String, password: String) {
        if self.may_log_in(&tag) {
            let credentials = Credentials { authorize: String::new(), user, password };
            self.ask(Ask::Login(credentials), Job::Login { tag });
        }
    }

    fn authenticate(&mut self, tag: String, name: &str, initial: Option<String>) {
        if !self.may_log_in(&tag) {
            return;
        }
        let usable = self.mechanisms();
        let Some(mechanism) = Mechanism::parse(name).filter(|mechanism| usable.contains(mechanism)) else {
            self.say(&format!("{tag} NO [CANNOT] no such mechanism here"));
            return self.count_bad();
        };
        self.nonces += 1;
        let plus = usable.contains(&Mechanism::ScramSha256Plus);
        let mut exchange = Exchange::begin(mechanism, self.tls.as_ref(), plus, nonce(&self.seed, self.nonces));
        match initial {
            None => {
                let turn = exchange.start();
                self.exchange = Some(exchange);
                self.turn(tag, turn);
            }
            Some(initial) => {
                self.exchange = Some(exchange);
                let initial = if initial == "=" { "" } else { &initial };
                self.response(tag, initial.as_bytes());
            }
        }
    }

    /// The client's next line of an exchange.
    fn next_response(&mut self) -> bool {
        match self.reader.line() {
            Err(why) => self.bye(why),
            Ok(None) => return false,
            Ok(Some(line)) => {
                let Phase::Auth { tag } = std::mem::replace(&mut self.phase, Phase::Command) else { return true };
                if &*line == b"*" {
                    self.exchange = None;
                    self.bad(Some(&tag), "given up");
                } else {
                    self.response(tag, &line);
                }
            }
        }
        true
    }

    fn response(&mut self, tag: String, base64: &[u8]) {
        let turn = match (BASE64_STANDARD.decode(base64), &mut self.exchange) {
            (Ok(octets), Some(exchange)) => exchange.response(&octets),
            _ => Turn::Malformed,
        };
        self.turn(tag, turn);
    }

    fn turn(&mut self, tag: String, turn: Turn) {
        match turn {
            Turn::Challenge(octets) => {
                self.say(&format!("+ {}", BASE64_STANDARD.encode(octets)));
                self.phase = Phase::Auth { tag };
                return;
            }
            Turn::Verifier { user } => return self.ask(Ask::Verifier { user }, Job::Verifier { tag }),
            Turn::Verify(credentials) => self.ask(Ask::Login(credentials), Job::Login { tag }),
            Turn::Proved { user, authorize } => self.ask(Ask::Proved { user, authorize }, Job::Login { tag }),
            Turn::Refused { user } => self.ask(Ask::LoginRefused { user }, Job::LoginRefused { tag }),
            Turn::Malformed => self.bad(Some(&tag), "the response is not of the mechanism's form"),
        }
        self.exchange = None;
    }

    fn idle(&mut self) -> bool {
        if let Some(why) = self.leave {
            self.bye(why);
            return true;
        }
        if let Some(view) = self.view.as_ref().filter(|view| view.dirty) {
            let ask = Ask::Changes { mailbox: view.mailbox, since: view.modseq };
            self.ask(ask, Job::Sync { line: None });
            return true;
        }
        match self.reader.line() {
            Err(why) => self.bye(why),
            Ok(None) => return false,
            Ok(Some(line)) => {
                let Phase::Idle { tag } = std::mem::replace(&mut self.phase, Phase::Command) else { return true };
                if line.eq_ignore_ascii_case(b"DONE") {
                    self.finish(format!("{tag} OK done"), false);
                } else {
                    self.bad(Some(&tag), "DONE is expected");
                }
            }
        }
        true
    }

    fn append(&mut self, head: AppendHead, size: u64, waits: bool) {
        let tag = head.tag.clone();
        let refusal = match size {
            0 => Some("NO a message cannot be empty"),
            _ if size > self.config.append_limit => Some("NO [TOOBIG] the message is larger than this server takes"),
            _ => None,
        };
        match refusal {
            Some(refusal) => self.refuse_append(format!("{tag} {refusal}"), size, waits),
            None => self.ask(Ask::AppendStart { head, size }, Job::AppendStart { tag, size, waits }),
        }
    }

    /// A client that waits sends nothing now; one that does not has sent the message already.
    fn refuse_append(&mut self, line: String, size: u64, waits: bool) {
        match waits {
            true => self.say(&line),
            false => self.phase = Phase::Skip { left: size, line },
        }
    }

    fn append_more(&mut self) -> bool {
        let Phase::Append { tag, left } = &mut self.phase else { return false };
        if *left > 0 {
            if self.reader.is_empty() {
                return false;
            }
            let chunk = self.reader.take((*left).min(APPEND_CHUNK as u64));
            *left -= chunk.len() as u64;
            self.ask(Ask::AppendChunk(chunk), Job::AppendChunk);
            return true;
        }
        let tag = tag.clone();
        match self.reader.line() {
            Err(why) => self.bye(why),
            Ok(None) => return false,
            Ok(Some(line)) if line.is_empty() => {
                self.phase = Phase::Command;
                self.ask(Ask::AppendEnd, Job::AppendEnd { tag });
            }
            Ok(Some(_)) => {
                self.phase = Phase::Command;
                self.ask(Ask::AppendAbort, Job::Nothing);
                self.bad(Some(&tag), "one message at a time");
            }
        }
        true
    }

    fn skip(&mut self) -> bool {
        let Phase::Skip { left, line } = &mut self.phase else { return false };
        if *left > 0 {
            let taken = self.reader.take(*left).len() as u64;
            *left -= taken;
            return taken > 0;
        }
        let line = std::mem::take(line);
        match self.reader.line() {
            Err(why) => self.bye(why),
            Ok(None) => {
                self.phase = Phase::Skip { left: 0, line };
                return false;
            }
            Ok(Some(_)) => {
                self.phase = Phase::Command;
                self.say(&line);
            }
        }
        true
    }

    /// NO, with the host's code and words.
    fn no(&mut self, tag: &str, code: Option<ask::Code>, text: &str) {
        let text = text.replace(['\r', '\n'], " ");
        match code {
            Some(code) => self.say(&format!("{tag} NO [{}] {text}", code.name())),
            None => self.say(&format!("{tag} NO {text}")),
        }
    }

    fn answered(&mut self, answer: Answer) {
        let job = std::mem::replace(&mut self.job, Job::Nothing);
        match (job, answer) {
            (Job::Login { tag }, Answer::LoggedIn { user }) => {
                self.user = Some(user);
                self.reader.log_in();
                self.bad = 0;
                self.say(&format!("{tag} OK [CAPABILITY {}] welcome", self.capabilities()));
            }
            (Job::Login { tag } | Job::Verifier { tag }, Answer::No { code, text }) => {
                self.exchange = None;
                self.no(&tag, code, &text);
                self.count_bad();
            }
            (Job::LoginRefused { tag }, answer) => {
                let (code, text) = match answer {
                    Answer::No { code, text } => (code, text),
                    _ => (Some(ask::Code::AuthenticationFailed), "user name or password is wrong".to_owned()),
                };
                self.no(&tag, code, &text);
                self.count_bad();
            }
            (Job::Verifier { tag }, Answer::Verifier(verifier)) => {
                let turn = self.exchange.as_mut().map_or(Turn::Malformed, |exchange| exchange.verifier(verifier));
                self.turn(tag, turn);
            }
            (Job::AppendStart { tag, size, waits }, Answer::Go) => {
                if waits {
                    self.say("+ go on");
                }
                self.phase = Phase::Append { tag, left: size };
            }
            (Job::AppendStart { tag, size, waits }, Answer::No { code, text }) => {
                let code = code.map(|code| format!("[{}] ", code.name())).unwrap_or_default();
                self.refuse_append(format!("{tag} NO {code}{text}"), size, waits);
            }
            (Job::AppendChunk, Answer::No { code, text }) => {
                if let Phase::Append { tag, left } = std::mem::replace(&mut self.phase, Phase::Command) {
                    let code = code.map(|code| format!("[{}] ", code.name())).unwrap_or_default();
                    self.phase = Phase::Skip { left, line: format!("{tag} NO {code}{text}") };
                }
            }
            (Job::Nothing | Job::AppendChunk, _) => {}
            (job, answer) => self.command_answered(job, answer),
        }
    }

    fn deadline(&self) -> Instant {
        if self.user.is_some() { self.last + AUTOLOGOUT } else { self.login_by }
    }
}

impl Session for ImapSession {
    type Ask = Ask;
    type Answer = Answer;

    fn event(&mut self, event: Event<'_, Answer>) {
        match event {
            Event::Bytes(octets) => {
                self.heard = true;
                self.reader.push(octets);
                if self.reader.len() > MAX_UNREAD {
                    self.bye("too much at once");
                }
            }
            Event::Eof => self.eof = true,
            Event::Tls(facts) => self.tls = Some(facts),
            Event::Answer(answer) => self.answered(answer),
            Event::News(Answer::MailboxChanged) => {
                if let Some(view) = &mut self.view {
                    view.dirty = true;
                }
            }
            Event::News(Answer::Shutdown) => self.leave = Some("the server is stopping, come back soon"),
            Event::News(Answer::Gone) => self.leave = Some("this account is gone"),
            Event::News(_) => {}
        }
    }

    fn step(&mut self, now: Instant) -> Step<Ask> {
        if std::mem::take(&mut self.heard) {
            self.last = now;
        }
        loop {
            match self.out.pop_front() {
                Some(Out::Text(text)) => return Step::Write(text.freeze()),
                Some(Out::Copy(blob, part)) => return Step::CopyBody { blob, part },
                None => {}
            }
            if std::mem::take(&mut self.start_tls) {
                return Step::StartTls;
            }
            if let Some(ask) = self.ask.take() {
                return Step::Ask(ask);
            }
            if matches!(self.phase, Phase::Close) {
                return Step::Close;
            }
            if self.advance() {
                continue;
            }
            if self.eof {
                return Step::Close;
            }
            let until = self.deadline();
            if now < until {
                return Step::Wait { until };
            }
            self.bye("idle for too long");
        }
    }
}

/// What is said of a command that is not taken.
fn flaw_line(tag: Option<&str>, flaw: Flaw) -> String {
    let tag = tag.unwrap_or("*");
    match flaw {
        Flaw::Bad(why) => format!("{tag} BAD {why}"),
        Flaw::Name(why) => format!("{tag} NO [CANNOT] {why}"),
        Flaw::Charset => format!("{tag} NO [BADCHARSET (UTF-8 US-ASCII)] no such charset"),
    }
}

#[cfg(test)]
mod tests;
