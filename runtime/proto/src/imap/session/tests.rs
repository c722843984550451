#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use crate::imap::facts::{Body, FetchRow, MailboxFacts, MailboxId, Selected, StatusFacts};
use crate::imap::types::Flag;
use crate::imap::{Code, FlagRow};
use bytes::Bytes;
use std::time::Duration;

/// A host of one mailbox with three messages.
fn answer(ask: &Ask) -> Answer {
    match ask {
        Ask::Login(credentials) if credentials.password == "pw" => Answer::LoggedIn { user: credentials.user.clone() },
        Ask::Login(_) => Answer::No { code: Some(Code::AuthenticationFailed), text: "wrong".into() },
        Ask::Mailboxes { .. } => Answer::Mailboxes(vec![MailboxFacts {
            name: "INBOX".into(),
            selectable: true,
            exists: true,
            ..MailboxFacts::default()
        }]),
        Ask::Status { .. } => Answer::Status(StatusFacts { messages: 3, ..StatusFacts::default() }),
        Ask::Select { mailbox, .. } if mailbox == "INBOX" => Answer::Selected(Selected {
            mailbox: MailboxId(1),
            uid_validity: 7,
            uid_next: 10,
            highest_modseq: 5,
            uids: vec![3, 5, 9],
            first_unseen: Some(5),
            keywords: vec![],
            read_only: false,
        }),
        Ask::Fetch { uids, wants, mark_seen, .. } => {
            let body = |_| Body::Inline(Bytes::from_static(b"hello"));
            let row = |uid: &u32| FetchRow {
                uid: *uid,
                modseq: 6,
                flags: vec![Flag::Seen],
                now_seen: *mark_seen,
                internal_date: 0,
                size: 5,
                envelope: None,
                structure: None,
                sections: wants.sections.iter().map(body).collect(),
            };
            Answer::Fetched(uids.iter().map(row).collect())
        }
        Ask::Store { uids, flags, .. } => {
            let row = |uid: &u32| FlagRow { uid: *uid, flags: flags.clone(), modseq: 6 };
            Answer::Stored { rows: uids.iter().map(row).collect(), before: vec![0; uids.len()], modified: vec![] }
        }
        Ask::Search { .. } => Answer::Found(vec![(9, 4), (3, 2)]),
        Ask::Copy { uids, .. } => {
            Answer::Copied { uid_validity: 8, pairs: uids.iter().zip(1..).map(|(old, new)| (*old, new)).collect() }
        }
        Ask::Expunge { .. } => Answer::Expunged(vec![3, 9]),
        Ask::Changes { since, .. } => Answer::Changed {
            vanished: vec![],
            rows: vec![FlagRow { uid: 10, flags: vec![], modseq: 6 }],
            highest_modseq: (*since).max(6),
        },
        Ask::AppendEnd => Answer::Appended { uid_validity: 7, uid: 11 },
        Ask::Select { .. } => Answer::No { code: Some(Code::NonExistent), text: "no such mailbox".into() },
        _ => Answer::Go,
    }
}

fn tls() -> TlsFacts {
    TlsFacts { version: "TLS1.3", ..TlsFacts::default() }
}

struct Dialog {
    session: ImapSession,
    now: Instant,
    said: String,
    closed: bool,
}

impl Dialog {
    fn new(tls: Option<TlsFacts>) -> Dialog {
        let config = Config {
            host_name: "mail.example.org".into(),
            starttls: true,
            mechanisms: vec![Mechanism::Plain],
            append_limit: 1000,
        };
        #[allow(clippy::disallowed_methods, reason = "a test's time begins somewhere")]
        let now = Instant::now();
        let mut dialog =
            Dialog { session: ImapSession::new(config, tls, [1; 32], now), now, said: String::new(), closed: false };
        dialog.run();
        dialog
    }

    fn logged_in() -> Dialog {
        let mut dialog = Dialog::new(Some(tls()));
        dialog.send("1 LOGIN ada pw\r\n2 SELECT INBOX\r\n");
        dialog.said.clear();
        dialog
    }

    fn run(&mut self) {
        loop {
            match self.session.step(self.now) {
                Step::Wait { .. } => return,
                Step::Write(octets) => self.said.push_str(std::str::from_utf8(&octets).unwrap()),
                Step::CopyBody { .. } | Step::Deflate => {}
                Step::Ask(ask) => self.session.event(Event::Answer(answer(&ask))),
                Step::StartTls => self.session.event(Event::Tls(tls())),
                Step::Close => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    fn send(&mut self, octets: &str) {
        if !self.closed {
            self.session.event(Event::Bytes(octets.as_bytes()));
            self.run();
        }
    }

    fn said(&mut self, octets: &str) -> String {
        self.said.clear();
        self.send(octets);
        std::mem::take(&mut self.said)
    }
}

#[test]
fn nothing_goes_before_tls_and_login() {
    let mut dialog = Dialog::new(None);
    assert!(dialog.said.contains("LOGINDISABLED") && dialog.said.contains("STARTTLS"), "{}", dialog.said);
    assert!(dialog.said("a LOGIN ada pw\r\n").starts_with("a NO [PRIVACYREQUIRED]"));
    assert!(dialog.said("b SELECT INBOX\r\n").starts_with("b BAD"));
    assert!(dialog.said("c STARTTLS\r\n").starts_with("c OK"));
    assert!(dialog.said("d CAPABILITY\r\n").contains("AUTH=PLAIN"));
    assert!(dialog.said("e LOGIN ada no\r\n").starts_with("e NO [AUTHENTICATIONFAILED]"));
    assert!(dialog.said("f AUTHENTICATE PLAIN AGFkYQBwdw==\r\n").starts_with("f OK [CAPABILITY"));
}

#[test]
fn what_follows_starttls_in_clear_closes() {
    let mut dialog = Dialog::new(None);
    assert!(dialog.said("a STARTTLS\r\nb NOOP\r\n").starts_with("* BYE"));
    assert!(dialog.closed);
}

#[test]
fn authenticate_goes_on_with_a_challenge() {
    let mut dialog = Dialog::new(Some(tls()));
    assert_eq!(dialog.said("a AUTHENTICATE PLAIN\r\n"), "+ \r\n");
    assert!(dialog.said("AGFkYQBwdw==\r\n").starts_with("a OK"));
    let mut dialog = Dialog::new(Some(tls()));
    dialog.send("a AUTHENTICATE PLAIN\r\n");
    assert!(dialog.said("*\r\n").starts_with("a BAD"));
}

#[test]
fn select_tells_the_mailbox() {
    let mut dialog = Dialog::new(Some(tls()));
    dialog.send("1 LOGIN ada pw\r\n");
    let said = dialog.said("2 SELECT inbox\r\n");
    for line in ["* 3 EXISTS", "* OK [UNSEEN 2]", "[UIDVALIDITY 7]", "[UIDNEXT 10]", "2 OK [READ-WRITE]"] {
        assert!(said.contains(line), "{said}");
    }
    let said = dialog.said("3 SELECT none\r\n");
    assert!(said.contains("3 NO [NONEXISTENT]"), "{said}");
    assert!(dialog.said("4 FETCH 1 UID\r\n").starts_with("4 BAD"));
}

#[test]
fn fetch_tells_what_was_asked() {
    let mut dialog = Dialog::logged_in();
    assert_eq!(
        dialog.said("a FETCH 2 (UID BODY.PEEK[])\r\n"),
        "* 2 FETCH (UID 5 BODY[] {5}\r\nhello)\r\na OK fetched\r\n"
    );
    assert_eq!(
        dialog.said("b UID FETCH 9 BODY[TEXT]<0.5>\r\n"),
        "* 3 FETCH (UID 9 BODY[TEXT]<0> {5}\r\nhello FLAGS (\\Seen))\r\nb OK fetched\r\n"
    );
    assert!(dialog.said("c FETCH 4 UID\r\n").starts_with("c BAD"));
    assert_eq!(
        dialog.said("d UID FETCH 100 UID\r\n"),
        "d OK fetched\r\n".replace("d OK", "* 3 FETCH (UID 9)\r\nd OK").replace("* 3 FETCH (UID 9)\r\n", "")
    );
}

#[test]
fn messages_are_changed_copied_and_removed() {
    let mut dialog = Dialog::logged_in();
    assert_eq!(dialog.said("a STORE 1 +FLAGS (\\Flagged Work)\r\n").lines().last().unwrap(), "a OK stored");
    assert_eq!(dialog.said("b STORE 1 FLAGS.SILENT (\\Seen)\r\n"), "b OK stored\r\n");
    assert!(dialog.said("c COPY 1:2 Work\r\n").contains("c OK [COPYUID 8 3,5 1:2]"));
    let said = dialog.said("d EXPUNGE\r\n");
    assert!(said.starts_with("* 3 EXPUNGE\r\n* 1 EXPUNGE\r\n"), "{said}");
    let said = dialog.said("e UID MOVE 5 Trash\r\n");
    assert!(said.starts_with("* OK [COPYUID 8 5 1] moved\r\n* 1 EXPUNGE\r\n"), "{said}");
    assert!(dialog.said("f CLOSE\r\n").starts_with("f OK"));
}

#[test]
fn search_tells_numbers_or_uids() {
    let mut dialog = Dialog::logged_in();
    assert_eq!(dialog.said("a SEARCH ALL\r\n"), "* SEARCH 1 3\r\na OK searched\r\n");
    assert_eq!(dialog.said("b UID SEARCH ALL\r\n"), "* SEARCH 3 9\r\nb OK searched\r\n");
    assert_eq!(
        dialog.said("c UID SEARCH RETURN (MIN COUNT ALL) ALL\r\n"),
        "* ESEARCH (TAG \"c\") UID MIN 3 ALL 3,9 COUNT 2\r\nc OK searched\r\n"
    );
}

#[test]
fn idle_tells_news() {
    let mut dialog = Dialog::logged_in();
    assert_eq!(dialog.said("a IDLE\r\n"), "+ idling\r\n* 4 EXISTS\r\n");
    dialog.session.event(Event::News(Answer::MailboxChanged));
    dialog.run();
    assert_eq!(dialog.said("DONE\r\n"), "a OK done\r\n");
    dialog.send("b IDLE\r\n");
    dialog.said.clear();
    dialog.session.event(Event::News(Answer::Shutdown));
    dialog.run();
    assert!(dialog.said.starts_with("* BYE") && dialog.closed);
}

#[test]
fn append_streams() {
    let mut dialog = Dialog::logged_in();
    assert_eq!(dialog.said("a APPEND Sent (\\Seen) {5}\r\n"), "+ go on\r\n");
    assert!(dialog.said("hello\r\n").contains("a OK [APPENDUID 7 11]"));
    assert!(dialog.said("b APPEND Sent {5000}\r\n").starts_with("b NO [TOOBIG]"));
    let big = format!("c APPEND Sent {{2000+}}\r\n{}\r\nd NOOP\r\n", "x".repeat(2000));
    let said = dialog.said(&big);
    assert!(said.starts_with("c NO [TOOBIG]") && said.contains("d OK"), "{said}");
    assert!(dialog.said("e APPEND Sent {0}\r\n").starts_with("e NO"));
}

#[test]
fn any_split_of_the_octets_says_the_same() {
    let all = "a LOGIN {3+}\r\nada {2+}\r\npw\r\nb SELECT INBOX\r\nc APPEND Sent {5+}\r\nhello\r\nd FETCH 1:* (FLAGS BODY[])\r\n\
               e UID SEARCH SUBJECT {2+}\r\nhi\r\nf FROB\r\ng LIST \"\" *\r\nh STATUS INBOX (MESSAGES)\r\ni LOGOUT\r\n";
    let mut whole = Dialog::new(Some(tls()));
    whole.send(all);
    for size in [1, 2, 3, 7, 20] {
        let mut split = Dialog::new(Some(tls()));
        for part in all.as_bytes().chunks(size) {
            split.send(std::str::from_utf8(part).unwrap());
        }
        assert_eq!(split.said, whole.said);
    }
    assert!(whole.said.ends_with("i OK logged out\r\n") && whole.closed);
}

#[test]
fn too_many_errors_and_too_long_a_silence_end_it() {
    let mut dialog = Dialog::new(Some(tls()));
    for _ in 0..5 {
        dialog.send("a FROB\r\n");
    }
    assert!(dialog.said.contains("* BYE") && dialog.closed);
    let mut dialog = Dialog::new(Some(tls()));
    dialog.now += LOGIN_TIMEOUT + Duration::from_secs(1);
    dialog.run();
    assert!(dialog.closed);
    let mut dialog = Dialog::logged_in();
    dialog.now += Duration::from_secs(29 * 60);
    dialog.send("a NOOP\r\n");
    dialog.now += Duration::from_secs(29 * 60);
    dialog.run();
    assert!(!dialog.closed);
    dialog.now += Duration::from_secs(61);
    dialog.run();
    assert!(dialog.closed);
}
