//! Dialogs: `C:` and `S:` lines, `?` what is asked, `+` time that passes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use super::*;

/// Answers asks by a fixed rule and writes down what happens.
struct Dialog {
    session: SmtpSession,
    seen: String,
    body: String,
    now: Instant,
    closed: bool,
}

fn config(role: Role) -> Config {
    Config {
        host_name: "foo.com".into(),
        role,
        starttls: true,
        mechanisms: vec![Mechanism::Plain, Mechanism::Login],
        max_size: 10_000,
        max_recipients: 3,
        session_time: Duration::from_secs(3600),
    }
}

impl Dialog {
    fn new(role: Role, tls: Option<TlsFacts>) -> Dialog {
        let now = Instant::now();
        let session = SmtpSession::new(config(role), tls, [7; 32], now);
        let mut dialog = Dialog { session, seen: String::new(), body: String::new(), now, closed: false };
        dialog.run();
        dialog
    }

    fn run(&mut self) {
        while !self.closed {
            match self.session.step(self.now) {
                Step::Wait { .. } => return,
                Step::Write(octets) => self.seen.push_str(std::str::from_utf8(&octets).unwrap()),
                Step::Ask(ask) => {
                    let answer = self.answer(ask);
                    self.session.event(Event::Answer(answer));
                }
                Step::StartTls => self.session.event(Event::Tls(TlsFacts::default())),
                Step::Close => {
                    self.seen.push_str("(closed)\n");
                    self.closed = true;
                }
                Step::CopyBody { .. } | Step::Deflate => panic!("SMTP does neither"),
            }
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Recipient { path, .. } if path.to_string().starts_with("Green") => {
                Answer::Refuse(Reply::new(550, Some((5, 1, 1)), "no such user here"))
            }
            Ask::Body(octets) => {
                self.body.push_str(&String::from_utf8_lossy(&octets));
                Answer::Go
            }
            Ask::BodyEnd => Answer::Accepted("2.0.0 queued as 1".into()),
            Ask::Reset => {
                self.body.clear();
                self.seen.push_str("(reset)\n");
                Answer::Go
            }
            Ask::Login(credentials) if credentials.password == "right" => Answer::LoggedIn { user: credentials.user },
            Ask::Login(_) => Answer::Refuse(Reply::new(535, Some((5, 7, 8)), "wrong")),
            _ => Answer::Go,
        }
    }

    fn send(&mut self, octets: &[u8]) {
        self.session.event(Event::Bytes(octets));
        self.run();
    }
}

fn talk(role: Role, text: &[u8]) -> String {
    let mut dialog = Dialog::new(role, None);
    dialog.send(text);
    dialog.seen + &dialog.body
}

/// The replies' codes.
fn codes(text: &[u8]) -> String {
    let seen = talk(Role::Relay, text);
    let code = |line: &str| line.get(..3).filter(|code| code.bytes().all(|c| c.is_ascii_digit())).map(str::to_owned);
    let last = |line: &&str| line.as_bytes().get(3) != Some(&b'-');
    let mut codes: Vec<String> = seen.lines().filter(last).filter_map(code).collect();
    if seen.contains("(closed)") {
        codes.push("closed".into());
    }
    codes.join(" ")
}

const TYPICAL: &[u8] = b"EHLO bar.com\r\nMAIL FROM:<Smith@bar.com>\r\nRCPT TO:<Jones@foo.com>\r\n\
RCPT TO:<Green@foo.com>\r\nRCPT TO:<Brown@foo.com>\r\nDATA\r\nBlah blah blah...\r\n..etc. etc. etc.\r\n.\r\nQUIT\r\n";

#[test]
fn the_dialogs_of_rfc_5321_appendix_d() {
    assert_eq!(codes(TYPICAL), "220 250 250 250 550 250 354 250 221 closed");
    assert!(talk(Role::Relay, TYPICAL).contains("Blah blah blah...\r\n.etc. etc. etc.\r\n"));
    let aborted = b"EHLO bar.com\r\nMAIL FROM:<Smith@bar.com>\r\nRCPT TO:<Jones@foo.com>\r\nRCPT TO:<Green@foo.com>\r\nRSET\r\nQUIT\r\n";
    assert_eq!(codes(aborted), "220 250 250 250 550 250 221 closed");
    let verifying = b"EHLO bar.com\r\nVRFY Crispin\r\nMAIL FROM:<EAK@bar.com>\r\nRCPT TO:<Admin.MRC@foo.com>\r\nDATA\r\nBlah\r\n.\r\nQUIT\r\n";
    assert_eq!(codes(verifying), "220 250 252 250 250 354 250 221 closed");
}

#[test]
fn every_split_of_the_octets_gives_the_same_transcript() {
    let smuggling =
        b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\n.\r\nMAIL FROM:<e@f>\r\n.\r\nNOOP\r\n".as_slice();
    let chunks = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 4\r\nab\r\nBDAT 3 LAST\r\nx\r\nNOOP\r\nQUIT\r\n"
        .as_slice();
    for text in [TYPICAL, smuggling, chunks] {
        let whole = talk(Role::Relay, text);
        for split in 1..text.len() {
            let mut dialog = Dialog::new(Role::Relay, None);
            dialog.send(&text[..split]);
            dialog.send(&text[split..]);
            assert_eq!(dialog.seen + &dialog.body, whole, "split at {split}");
        }
        let mut dialog = Dialog::new(Role::Relay, None);
        text.iter().for_each(|octet| dialog.send(&[*octet]));
        assert_eq!(dialog.seen + &dialog.body, whole, "octet by octet");
    }
}

#[test]
fn what_is_out_of_order_oversized_or_malformed_gets_its_reply() {
    for (text, want) in [
        (&b"MAIL FROM:<a@b>\r\n"[..], "220 503"),
        (b"RCPT TO:<a@b>\r\n", "220 503"),
        (b"DATA\r\n", "220 503"),
        (b"EHLO\r\n", "220 501"),
        (b"EHLO a\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n", "220 250 250 503"),
        (b"EHLO a\r\nMAIL FROM:<a@b>\r\nDATA\r\n", "220 250 250 503"),
        (b"EHLO a\r\nMAIL FROM:<a@b> SIZE=10001\r\n", "220 250 552"),
        (b"EHLO a\r\nMAIL FROM:<a@b> SIZE=99999999999999999999\r\n", "220 250 552"),
        (b"EHLO a\r\nMAIL FROM:<a@b> NONSENSE\r\n", "220 250 555"),
        (b"EHLO a\r\nMAIL FROM:a@b\r\n", "220 250 501"),
        (b"EHLO a\r\nMAIL FROM:<a@b\r\n", "220 250 501"),
        (b"EHLO a\r\nMAIL FROM:<a b@c>\r\n", "220 250 553"),
        (b"EHLO a\r\nMAIL FROM:<\xc3\xa9@c>\r\n", "220 250 553"),
        (b"EHLO a\r\nMAIL FROM:<\xc3\xa9@c> SMTPUTF8\r\n", "220 250 250"),
        (b"EHLO a\r\nMAIL FROM:<\xff@c>\r\n", "220 250 500"),
        (b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<>\r\n", "220 250 250 553"),
        (b"EHLO a\r\nBDAT 5 LAST\r\nhelloNOOP\r\n", "220 250 503 250"),
        (b"EHLO a\r\nAUTH PLAIN AGEAYg==\r\n", "220 250 502"),
        (b"STARTTLS\r\nEHLO a\r\n", "220 501 closed"),
        (b"EHLO a\nMAIL FROM:<a@b>\r\n", "220 500 closed"),
        (b"EHLO a\rMAIL FROM:<a@b>\r\n", "220 500 closed"),
        (b"FROB\r\nexpn x\r\nhelp\r\nnoop x\r\n", "220 500 502 214 250"),
    ] {
        assert_eq!(codes(text), want, "{}", text.escape_ascii());
    }
    assert_eq!(codes(&[b'x'; LINE_MOST + 2]), "220 500 closed");
    assert_eq!(codes(&b"X\r\n".repeat(50)), format!("220{} 421 closed", " 500".repeat(20)));
    let many =
        b"EHLO a\r\nMAIL FROM:<a@b>\r\n".iter().chain(&b"RCPT TO:<c@d>\r\n".repeat(4)[..]).copied().collect::<Vec<_>>();
    assert_eq!(codes(&many), "220 250 250 250 250 250 452");
    let large = [
        b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
        &b"0123456789\r\n".repeat(1000)[..],
        b".\r\nNOOP\r\n",
    ]
    .concat();
    assert_eq!(codes(&large), "220 250 250 250 354 552 250");
}

#[test]
fn nothing_is_smuggled_behind_a_false_end() {
    for end in ["\n.\n", "\n.\r\n", "\r.\r", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\n.\r", "\0.\r\n", "\r\n\0.\r\n"] {
        let text = format!(
            "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx{end}MAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\nDATA\r\ny\r\n.\r\nNOOP\r\n"
        );
        assert_eq!(codes(text.as_bytes()), "220 250 250 250 354 550 250", "{end:?}");
    }
}

#[test]
fn submission_wants_tls_and_a_login() {
    let mut dialog = Dialog::new(Role::Submission, None);
    dialog.send(b"EHLO a\r\n");
    assert!(dialog.seen.contains("STARTTLS") && !dialog.seen.contains("AUTH"));
    dialog.send(b"MAIL FROM:<a@b>\r\n");
    dialog.send(b"AUTH PLAIN AGFkYQByaWdodA==\r\n");
    assert_eq!(dialog.seen.matches("530 5.7.0").count(), 2);
    dialog.send(b"STARTTLS\r\n");
    dialog.send(b"MAIL FROM:<a@b>\r\n");
    assert!(dialog.seen.ends_with("503 5.5.1 say EHLO first\r\n"), "{}", dialog.seen);
    dialog.send(b"EHLO a\r\n");
    assert!(dialog.seen.contains("AUTH PLAIN LOGIN") && dialog.seen.matches("250 STARTTLS").count() == 1);
    dialog.send(b"AUTH PLAIN AGFkYQB3cm9uZw==\r\n");
    assert!(dialog.seen.ends_with("535 5.7.8 wrong\r\n"));
    dialog.send(b"AUTH LOGIN\r\nYWRh\r\n*\r\n");
    assert!(dialog.seen.contains("334 VXNlcm5hbWU6") && dialog.seen.ends_with("501 5.7.0 login given up\r\n"));
    dialog.send(b"AUTH LOGIN YWRh\r\ncmlnaHQ=\r\n");
    assert!(dialog.seen.ends_with("235 2.7.0 welcome\r\n"), "{}", dialog.seen);
    dialog.send(b"AUTH PLAIN\r\nMAIL FROM:<a@b>\r\n");
    assert!(dialog.seen.ends_with("503 5.5.1 a login cannot be made now\r\n250 2.1.0 sender taken\r\n"));
}

#[test]
fn silence_and_shutdown_end_a_session_and_its_transaction() {
    let mut dialog = Dialog::new(Role::Relay, None);
    dialog.send(b"EHLO a\r\nMAIL FROM:<a@b>\r\n");
    dialog.now += COMMAND_TIMEOUT;
    dialog.run();
    assert!(dialog.seen.ends_with("421 4.4.2 idle or busy for too long\r\n(reset)\n(closed)\n"), "{}", dialog.seen);
    let mut dialog = Dialog::new(Role::Relay, None);
    dialog.send(b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhalf");
    dialog.session.event(Event::News(Answer::Shutdown));
    dialog.run();
    dialog.send(b" whole\r\n.\r\n");
    assert!(
        dialog.seen.ends_with("250 2.0.0 queued as 1\r\n421 4.3.2 the server is stopping\r\n(closed)\n"),
        "{}",
        dialog.seen
    );
    let mut dialog = Dialog::new(Role::Relay, None);
    dialog.send(b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhalf");
    dialog.session.event(Event::Eof);
    dialog.run();
    assert!(dialog.seen.ends_with("(reset)\n(closed)\n"));
}

#[test]
fn noise_never_panics() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let words: [&[u8]; 16] = [
        b"EHLO a",
        b"MAIL FROM:<a@b>",
        b"RCPT TO:<c@d>",
        b"DATA",
        b"BDAT 9",
        b"BDAT 3 LAST",
        b"\r\n",
        b"\r",
        b"\n",
        b".",
        b"\r\n.\r\n",
        b"AUTH PLAIN",
        b"=",
        b"\0",
        b"\xff",
        b"<\"\\",
    ];
    for round in 0..2_000 {
        let mut dialog = Dialog::new(if round % 2 == 0 { Role::Relay } else { Role::Submission }, None);
        if round % 4 == 1 {
            dialog = Dialog::new(Role::Submission, Some(TlsFacts::default()));
        }
        for _ in 0..60 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            dialog.send(words[usize::try_from(state % 16).unwrap()]);
            if state & 0x700 == 0 || dialog.closed {
                break;
            }
        }
    }
}
