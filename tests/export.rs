//! `waybilld export`, `import` and `fsck` from outside: an account moves between stores by way of files, and comes out as
//! it was; Python reads what is written; what is cut off is gone on with; what is planted is found.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::client::Client;
use harness::{PASSWORD, PATIENCE, Site, account, certificate, free_port, message, program, run, same_tree as same};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use schema::config::Store;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Instant;
use store::blob::BlobId;
use store::keys;
use store::kv::rocksdb::RocksDb;
use store::kv::{Batch, KeyRange, KeyValue, Page, sql};
use store::open::Ground;

/// A site like the others, with its mail in SQLite.
fn sqlite_site() -> Site {
    let site = Site::new();
    let head = site.ports.host("mail.example.org");
    let people = account("ada") + &account("bob");
    let text = format!(
        "waybill 1\n{head}store \"db\" {{ sqlite \"data/mail.db\"; }}\ndomain \"example.org\" {{\n{people}}}\n"
    );
    site.write("mail.kdl", &text);
    site
}

fn waybilld(site: &Site, command: &str, words: &[&str]) -> Output {
    let mut child = Command::new(program("waybilld"));
    child.arg(command).arg("--spec").arg(site.path()).args(words).output().unwrap()
}

/// Runs a command that must succeed, and returns what it says.
fn ok(site: &Site, command: &str, words: &[&str]) -> String {
    let output = waybilld(site, command, words);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command} {words:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

fn client(server: &harness::Server, user: &str) -> Client {
    let mut client = Client::connect_tls(server.ports.at(server.ports.imaps)).unwrap();
    client.line().unwrap();
    client.login(user);
    client
}

fn append(client: &mut Client, mailbox: &str, (flags, date): (&str, &str), text: &str) {
    let words = format!("APPEND \"{mailbox}\" ({flags}) \"{date}\" {{{}+}}\r\n{text}", text.len());
    client.imap_ok(&words);
}

/// Mail with everything that it can have.
fn fill(client: &mut Client) {
    for name in ["Archive/2026", "Entw&APw-rfe/v1.2", "&U,BTFw-", "Empty/Inside"] {
        client.imap_ok(&format!("CREATE \"{name}\""));
    }
    client.imap_ok("DELETE Sent");
    client.imap_ok("CREATE \"Sent Items\" (USE (\\Sent))");
    client.imap_ok("SUBSCRIBE \"&U,BTFw-\"");
    client.imap_ok("UNSUBSCRIBE Junk");
    let long = message("long", 3000).replace("00000003 ", "From here on, ");
    append(client, "INBOX", ("", "01-Jan-1999 00:00:00 +0000"), &message("first", 300));
    append(client, "INBOX", ("\\Seen \\Flagged $Forwarded", "23-Nov-2026 10:00:00 +0100"), &long);
    append(client, "INBOX", ("\\Deleted", "23-Nov-2026 10:00:00 +0100"), &message("gone", 300));
    append(client, "INBOX", ("\\Answered work", "23-Nov-2026 11:00:00 +0000"), "Subject: no body\r\n\r\n");
    // Twice the same.
    for _ in 0..2 {
        append(client, "Archive/2026", ("\\Seen", "02-Feb-2020 12:00:00 +0000"), &message("twin", 500));
    }
    append(
        client,
        "Entw&APw-rfe/v1.2",
        ("\\Draft", "03-Feb-2020 12:00:00 +0000"),
        "From: a\r\n\r\n>From x\r\nFrom y\r\n",
    );
    for n in 0..30 {
        let flags = format!("k{n:02} shared");
        append(client, "&U,BTFw-", (&flags, "04-Feb-2020 12:00:00 +0000"), &message(&format!("k{n}"), 300));
    }
    client.imap_ok("SELECT INBOX");
    client.imap_ok("EXPUNGE");
    append(client, "INBOX", ("", "24-Nov-2026 11:00:00 +0000"), &message("last", 300));
}

const READER: &str = "import mailbox, sys, collections\n\
    box = mailbox.Maildir(sys.argv[1], create=False)\n\
    folders = sorted(box.list_folders())\n\
    assert folders == sorted(['Archive', 'Archive.2026', 'Drafts', 'Empty', 'Empty.Inside', 'Entw&APw-rfe', \
    'Entw&APw-rfe.v1\\\\2e2', 'Junk', 'Sent Items', 'Trash', '&U,BTFw-']), folders\n\
    inbox = sorted((m['Subject'], m.get_flags(), int(m.get_date())) for m in box)\n\
    assert inbox == [('first', '', 915148800), ('last', '', 1795518000), ('long', 'FSa', 1795424400), \
    ('no body', 'Rb', 1795431600)], inbox\n\
    assert len(box.get_folder('Archive.2026')) == 2 and len(box.get_folder('Empty.Inside')) == 0\n\
    one = mailbox.mbox(sys.argv[2] + '/INBOX.mbox', create=False)\n\
    found = sorted((m['Subject'], m.get_flags(), m.get_from().split(' ', 1)[1]) for m in one)\n\
    assert found == [('first', 'O', 'Fri Jan  1 00:00:00 1999'), ('last', 'O', 'Tue Nov 24 11:00:00 2026'), \
    ('long', 'ROF', 'Mon Nov 23 09:00:00 2026'), ('no body', 'OA', 'Mon Nov 23 11:00:00 2026')], found\n\
    assert len(mailbox.mbox(sys.argv[2] + '/Archive.2026.mbox', create=False)) == 2\n\
    assert len(mailbox.mbox(sys.argv[2] + '/Entw&APw-rfe.v1\\\\2e2.mbox', create=False)) == 1\n";

#[test]
fn an_account_moves_from_store_to_store_by_way_of_files_and_is_what_it_was() {
    let (first, second) = (Site::with_accounts(&["ada", "bob"]), sqlite_site());
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let at = |name: &str| place(name).to_str().unwrap().to_owned();
    let server = first.serve();
    fill(&mut client(&server, "ada@example.org"));
    // Beside the running server, and after it.
    let told = ok(&first, "export", &["ada@example.org", "--to", &at("beside")]);
    assert!(told.starts_with("37 messages of "), "{told}");
    let refused = waybilld(&first, "import", &["bob@example.org", "--from", &at("beside")]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains("stop the server"), "{why}");
    assert!(server.stop());
    ok(&first, "export", &["--all", "--to", &at("all")]);
    same(&place("beside"), &place("all/ada@example.org"));
    ok(&first, "export", &["ada@example.org", "--format", "mbox", "--to", &at("mbox")]);
    run("python3", &["-c", READER, &at("beside"), &at("mbox")]);
    assert_eq!(waybilld(&first, "export", &["ada@example.org", "--to", &at("mbox")]).status.code(), Some(1));
    assert_eq!(waybilld(&first, "export", &["x@example.org", "--to", &at("x")]).status.code(), Some(1));

    // Into a store of another kind: the same, UIDs and all; twice, and nothing twice.
    let told = ok(&second, "import", &["ada@example.org", "--from", &at("beside")]);
    assert!(told.starts_with("37 messages of "), "{told}");
    ok(&second, "export", &["ada@example.org", "--to", &at("again")]);
    same(&place("beside"), &place("again"));
    let told = ok(&second, "import", &["ada@example.org", "--from", &at("again")]);
    assert!(told.starts_with("0 messages of 0 octets") && told.contains("37 were there already"), "{told}");

    // By way of mbox, which keeps no UIDs.
    let told = ok(&second, "import", &["bob@example.org", "--from", &at("mbox")]);
    assert!(told.starts_with("37 messages of "), "{told}");
    ok(&second, "import", &["bob@example.org", "--from", &at("mbox")]);
    ok(&second, "export", &["bob@example.org", "--format", "mbox", "--to", &at("mbox2")]);
    same(&place("mbox"), &place("mbox2"));

    // Served, it is mail; also beside the server, where the store lets two in.
    let server = second.serve();
    let mut client = client(&server, "ada@example.org");
    let there = client.imap_ok("STATUS INBOX (MESSAGES UNSEEN)").remove(0);
    assert!(there.contains("MESSAGES 4") && there.contains("UNSEEN 3"), "{there}");
    let one = place("mbox/Archive.2026.mbox");
    let words = ["ada@example.org", "--from", one.to_str().unwrap(), "--into", "Old/Twins"];
    ok(&second, "import", &words);
    let there = client.imap_ok("STATUS Old/Twins (MESSAGES UNSEEN)").remove(0);
    assert!(there.contains("MESSAGES 2") && there.contains("UNSEEN 0"), "{there}");
    ok(&second, "export", &["ada@example.org", "--to", &at("beside2")]);
}

/// Messages that the store holds.
fn count(site: &Site) -> u64 {
    let output = waybilld(site, "counts", &[]);
    let counts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    counts["accounts"]["ada@example.org"]["messages"].as_u64().unwrap_or(0)
}

/// Starts an import several times and kills it as soon as some of its messages are there; says how often it was killed.
fn killed(site: &Site, words: &[&str], of: u64) -> u32 {
    let mut kills = 0;
    for part in 1..=3 {
        let mut command = Command::new(program("waybilld"));
        command.arg("import").arg("--spec").arg(site.path()).args(words);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() && count(site) < of * part / 5 {}
        kills += u32::from(child.try_wait().unwrap().is_none());
        // It may have ended already.
        let _ = child.kill();
        child.wait().unwrap();
    }
    kills
}

/// A Maildir of so many messages, some of them broken.
fn maildir(folder: &Path, messages: usize) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    for n in 0..messages {
        let name = folder.join("cur").join(format!("{n:06}.x.here:2,S"));
        fs::write(name, message(&format!("m{n}"), 2000).replace("\r\n", "\n")).unwrap();
    }
}

#[test]
fn what_is_broken_is_skipped_and_named_and_limits_hold() {
    let site = Site::new();
    let people = account("ada").replace("{\n", "{\n        quota \"1MiB\"\n") + &account("bob");
    site.write_spec(&format!("limits {{ message-size \"1MiB\"; }}\ndomain \"example.org\" {{\n{people}}}\n"));
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("mail");
    let from = from.to_str().unwrap();
    maildir(Path::new(from), 3);
    let file = |name: &str, octets: &[u8]| fs::write(Path::new(from).join("cur").join(name), octets).unwrap();
    file("900000.empty:2,", b"");
    file("900001.nul:2,", b"Subject: a\n\n\0\n");
    file("900002.large:2,", &vec![b'x'; 2 << 20]);
    let output = waybilld(&site, "import", &["bob@example.org", "--from", from]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(out.starts_with("3 messages of") && out.contains("3 left out as broken"), "{out}");
    assert!(["900000.empty", "900001.nul", "900002.large"].iter().all(|name| err.contains(name)), "{err}");
    // Ada has room for some of a thousand.
    let many = folder.path().join("many");
    maildir(&many, 1000);
    let output = waybilld(&site, "import", &["ada@example.org", "--from", many.to_str().unwrap()]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.code() == Some(1) && err.contains("quota"), "{out}{err}");
    let taken: u32 = out.split(' ').next().unwrap().parse().unwrap();
    assert!((400..=520).contains(&taken), "{out}");
    // A foreign mbox: no date, no message.
    let foreign = folder.path().join("foreign");
    fs::write(&foreign, "Subject: no\n\nmbox\n").unwrap();
    let output = waybilld(&site, "import", &["bob@example.org", "--from", foreign.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(waybilld(&site, "import", &["carol@example.org", "--from", from]).status.code(), Some(1));
}

#[test]
fn an_import_that_was_killed_is_gone_on_with() {
    let site = sqlite_site();
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("mail");
    maildir(&from, 6000);
    let from = from.to_str().unwrap();
    let kills = killed(&site, &["ada@example.org", "--from", from], 6000);
    let told = ok(&site, "import", &["ada@example.org", "--from", from]);
    eprintln!("killed {kills} times; then {told}");
    let counts = ok(&site, "counts", &[]);
    assert!(counts.contains("\"messages\": 6000"), "{counts}");
    let told = ok(&site, "import", &["ada@example.org", "--from", from]);
    assert!(told.contains("6000 were there already"), "{told}");
}

/// A Dovecot of our own, with one Maildir; ended when dropped.
struct Dovecot {
    child: Child,
    folder: tempfile::TempDir,
    imap: u16,
    imaps: u16,
}

impl Dovecot {
    fn start() -> Dovecot {
        let folder = tempfile::tempdir().unwrap();
        let address = "127.0.0.1".parse().unwrap();
        let (imap, imaps) = (free_port(address), free_port(address));
        certificate(folder.path(), &["localhost".to_owned()], 30);
        let (root, me) = (run("id", &["-u"]).trim() == "0", run("id", &["-un"]));
        let (login, internal, mail) =
            if root { ("dovenull", "dovecot", "mail") } else { (me.trim(), me.trim(), me.trim()) };
        let (uid, gid) = (run("id", &["-u", mail]), run("id", &["-g", mail]));
        let at = folder.path().to_str().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        fs::write(folder.path().join("users"), format!("ada@example.org:{{PLAIN}}{PASSWORD}\n")).unwrap();
        fs::set_permissions(folder.path().join("users"), fs::Permissions::from_mode(0o644)).unwrap();
        let text = format!(
            "protocols = imap\nlisten = 127.0.0.1\nbase_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\n\
             ssl = yes\nssl_cert = <{at}/cert.pem\nssl_key = <{at}/key.pem\nfirst_valid_uid = 1\n\
             default_login_user = {login}\ndefault_internal_user = {internal}\nauth_mechanisms = plain\n\
             mail_location = maildir:{at}/home/Maildir\n\
             passdb {{\n  driver = passwd-file\n  args = {at}/users\n}}\n\
             userdb {{\n  driver = static\n  args = uid={} gid={} home={at}/home\n}}\n\
             namespace inbox {{\n  inbox = yes\n  mailbox Sent {{\n    auto = create\n    special_use = \\Sent\n  }}\n}}\n\
             service anvil {{\n  chroot =\n}}\n\
             service imap-login {{\n  chroot =\n  inet_listener imap {{\n    port = {imap}\n  }}\n  \
             inet_listener imaps {{\n    port = {imaps}\n    ssl = yes\n  }}\n}}\n",
            uid.trim(),
            gid.trim()
        );
        fs::write(folder.path().join("dovecot.conf"), text).unwrap();
        let owner = format!("{}:{}", uid.trim(), gid.trim());
        run("chown", &["-R", &owner, folder.path().join("home").to_str().unwrap()]);
        let program = "/usr/sbin/dovecot";
        let child = Command::new(program).args(["-F", "-c"]).arg(folder.path().join("dovecot.conf")).spawn();
        let child = child.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
        let server = Dovecot { child, folder, imap, imaps };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", imaps)).is_err() {
            let log = fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "Dovecot does not start: {log}");
        }
        server
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self) -> Client {
        let mut client = Client::connect(("127.0.0.1".parse::<std::net::IpAddr>().unwrap(), self.imap).into()).unwrap();
        client.line().unwrap();
        client.login("ada@example.org");
        client
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Its own children end with it.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

#[test]
fn mail_comes_from_another_server_and_what_is_there_is_not_fetched_again() {
    let dovecot = Dovecot::start();
    let mut there = dovecot.client();
    for name in ["Archive.2026", "Entw&APw-rfe", "Big"] {
        there.imap_ok(&format!("CREATE {name}"));
    }
    there.imap_ok("SUBSCRIBE Archive.2026");
    append(&mut there, "INBOX", ("\\Seen \\Flagged $Forwarded", "23-Nov-2026 10:00:00 +0100"), &message("one", 3000));
    append(&mut there, "INBOX", ("\\Deleted", "23-Nov-2026 10:00:00 +0100"), &message("gone", 300));
    append(&mut there, "INBOX", ("\\Answered work", "01-Jan-1999 00:00:00 +0000"), &message("two", 300));
    append(&mut there, "Archive.2026", ("", "02-Feb-2020 12:00:00 +0000"), &message("three", 70_000));
    append(&mut there, "Entw&APw-rfe", ("\\Draft", "02-Feb-2020 12:00:00 +0000"), &message("four", 300));
    append(&mut there, "Big", ("", "02-Feb-2020 12:00:00 +0000"), &message("small", 300));
    append(&mut there, "Big", ("", "02-Feb-2020 12:00:00 +0000"), &message("big", 3 << 20));
    append(&mut there, "Big", ("", "02-Feb-2020 12:00:00 +0000"), &message("small too", 300));
    there.imap_ok("SELECT INBOX");
    there.imap_ok("EXPUNGE");

    let site = sqlite_site();
    let limits = "limits { message-size \"2MiB\"; }\n";
    let spec = fs::read_to_string(site.path().join("mail.kdl")).unwrap();
    site.write("mail.kdl", &format!("{spec}{limits}"));
    let file = |name: &str, text: &str| {
        let path = dovecot.at(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (right, wrong) = (file("right", &format!("{PASSWORD}\n")), file("wrong", "no horse\n"));
    let (ca, from) = (dovecot.at("ca.pem"), format!("imaps://ada%40example.org@localhost:{}", dovecot.imaps));
    let ca = ca.to_str().unwrap();
    let words = ["ada@example.org", "--from", &from, "--password-file", &right, "--ca", ca];
    let fails = |words: &[&str], why: &str| {
        let output = waybilld(&site, "import", words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && told.contains(why), "{told}");
        assert!(!told.contains("horse"), "{told}");
    };
    fails(&words[..5], "no TLS");
    fails(&["ada@example.org", "--from", &from, "--password-file", &wrong, "--ca", ca], "says");
    // One is larger than it may be: named, left out, and tried again.
    for expected in ["6 messages of", "0 messages of"] {
        let output = waybilld(&site, "import", &words);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(out.starts_with(expected) && output.status.code() == Some(1), "{out}{err}");
        assert!(err.contains("mailbox Big, UID 2"), "{err}");
    }
    site.write("mail.kdl", &spec);
    assert!(ok(&site, "import", &words).starts_with("1 messages of"));
    append(&mut there, "Archive.2026", ("\\Seen", "03-Feb-2020 12:00:00 +0000"), &message("new", 300));
    assert!(ok(&site, "import", &words).starts_with("1 messages of"));
    assert!(ok(&site, "import", &words).starts_with("0 messages of"));

    // The same, from its files: flags, keywords, dates and names agree.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    ok(&site, "import", &["bob@example.org", "--from", dovecot.at("home/Maildir").to_str().unwrap()]);
    for name in ["ada", "bob"] {
        ok(&site, "export", &[&format!("{name}@example.org"), "--to", &at(name), "--format", "mbox"]);
    }
    for name in ["INBOX.mbox", "Archive.2026.mbox", "Entw&APw-rfe.mbox"] {
        let read = |who: &str| fs::read_to_string(folder.path().join(who).join(name)).unwrap();
        assert!(read("ada") == read("bob") && !read("ada").is_empty(), "{name}:\n{}\n{}", read("ada"), read("bob"));
    }
    let uses = fs::read_to_string(folder.path().join("ada/waybill-special-use")).unwrap();
    assert!(uses.contains("\\Sent Sent\n"), "{uses}");
    let subscriptions = fs::read_to_string(folder.path().join("ada/subscriptions")).unwrap();
    assert_eq!(subscriptions, "V\t2\n\nArchive\t2026\n");
}

#[test]
fn mail_comes_from_a_waybill_and_a_killed_import_is_gone_on_with() {
    let (first, second) = (Site::with_accounts(&["ada"]), sqlite_site());
    let folder = tempfile::tempdir().unwrap();
    certificate(first.path(), &["mail.example.org".to_owned(), "localhost".to_owned()], 30);
    let spec = fs::read_to_string(first.path().join("mail.kdl")).unwrap();
    let tls = "tls { certificate cert=(file)\"cert.pem\" key=(file)\"key.pem\"; }";
    first.write("mail.kdl", &spec.replace("tls { self-signed; }", tls));
    let from = folder.path().join("mail");
    maildir(&from, 3000);
    ok(&first, "import", &["ada@example.org", "--from", from.to_str().unwrap(), "--into", "Old/Mail"]);
    let server = first.serve();
    let mut here = client(&server, "ada@example.org");
    append(&mut here, "INBOX", ("\\Seen", "23-Nov-2026 10:00:00 +0100"), &message("one", 3000));
    let password = folder.path().join("password");
    fs::write(&password, PASSWORD).unwrap();
    let (ca, url) = (first.path().join("ca.pem"), format!("imaps://ada%40example.org@localhost:{}", first.ports.imaps));
    let (password, ca) = (password.to_str().unwrap(), ca.to_str().unwrap());
    let words = ["ada@example.org", "--from", &url, "--password-file", password, "--ca", ca];
    let kills = killed(&second, &words, 3000);
    let told = ok(&second, "import", &words);
    eprintln!("killed {kills} times; then {told}");
    assert!(ok(&second, "import", &words).starts_with("0 messages of"));
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    ok(&first, "export", &["ada@example.org", "--to", &at("there")]);
    ok(&second, "export", &["ada@example.org", "--to", &at("here")]);
    same(&folder.path().join("there"), &folder.path().join("here"));
}

/// As `openssl req -x509` makes them: an authority's, which no authority may have vouched for.
#[test]
fn a_certificate_that_a_server_signed_itself_is_believed_where_it_is_given() {
    let (first, second) = (Site::with_accounts(&["ada"]), sqlite_site());
    for name in ["cert", "other"] {
        let mut certificate = CertificateParams::new(["mail.example.org", "localhost"].map(str::to_owned)).unwrap();
        certificate.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        first.write(&format!("{name}.pem"), &certificate.self_signed(&key).unwrap().pem());
        first.write(&format!("{name}.key"), &key.serialize_pem());
    }
    let spec = fs::read_to_string(first.path().join("mail.kdl")).unwrap();
    let tls = "tls { certificate cert=(file)\"cert.pem\" key=(file)\"cert.key\"; }";
    first.write("mail.kdl", &spec.replace("tls { self-signed; }", tls));
    first.write("password", PASSWORD);
    let server = first.serve();
    append(&mut client(&server, "ada@example.org"), "INBOX", ("", "23-Nov-2026 10:00:00 +0100"), &message("one", 300));
    let at = |name: &str| first.path().join(name).to_str().unwrap().to_owned();
    let (url, password) = (format!("imaps://ada%40example.org@localhost:{}", first.ports.imaps), at("password"));
    let words = ["ada@example.org", "--from", &url, "--password-file", &password, "--ca"];
    let told = waybilld(&second, "import", &[&words[..], &[&at("other.pem")]].concat());
    assert!(told.status.code() == Some(1) && String::from_utf8_lossy(&told.stderr).contains("no TLS"), "{told:?}");
    assert!(ok(&second, "import", &[&words[..], &[&at("cert.pem")]].concat()).starts_with("1 messages of"));
}

/// The data store of a site whose server is stopped.
async fn open(site: &Site, sqlite: bool) -> Arc<dyn KeyValue> {
    if !sqlite {
        return Arc::new(RocksDb::open(site.path().join("data")).await.unwrap());
    }
    let ground = Ground {
        root: site.path().to_owned(),
        clock: Arc::new(|| 1_700_000_000_000),
        reveal: Arc::new(|_| Err("no secrets here".to_owned())),
    };
    sql::open(&Store::Sqlite { path: "data/mail.db".to_owned(), readers: 2 }, &ground).await.unwrap()
}

/// Damage of several kinds.
async fn damage(data: &Arc<dyn KeyValue>) {
    let all = async |range| data.scan(range, Page::first(1000)).await.unwrap();
    let ada = "ada@example.org".parse().unwrap();
    let entries = all(keys::entries(&ada, 1, 0)).await;
    let references = all(keys::all_holders()).await;
    let changes = all(keys::changes(&ada, 1, 0)).await;
    assert_eq!((entries.len(), references.len(), changes.len()), (20, 20, 20));
    let mut batch = Batch::new();
    batch.remove(keys::account(&ada)).remove(references[3].0.clone()).remove(changes[4].0.clone());
    batch.put(keys::held_by_queue(BlobId([7; 32]), 77), "").put(keys::due(5, 99, 0), "");
    // A message's octets: both the blob's head and what is in it.
    let (lost, _) = keys::read_holder(&references[0].0).unwrap();
    for kind in [b"Bh", b"Bc"] {
        batch.clear(KeyRange::prefix(&[&kind[..], &lost.0].concat()));
    }
    data.commit(batch).await.unwrap();
}

#[test]
fn damage_is_found_without_a_change_and_mended_when_told_to() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    maildir(folder.path(), 20);
    for (site, is_sqlite) in [(Site::with_accounts(&["ada"]), false), (sqlite_site(), true)] {
        ok(&site, "import", &["ada@example.org", "--from", folder.path().to_str().unwrap()]);
        let told = ok(&site, "fsck", &["--blobs"]);
        assert!(told.starts_with("1 accounts, 20 messages, 0 queued, 20 references, 20 blobs, "), "{told}");
        assert!(told.ends_with(": sound\n"), "{told}");
        runtime.block_on(async { damage(&open(&site, is_sqlite).await).await });
        let mut found = Vec::new();
        for _ in 0..2 {
            let output = waybilld(&site, "fsck", &["--format", "json"]);
            assert_eq!(output.status.code(), Some(1));
            found.push(serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap());
        }
        assert_eq!(found[0], found[1], "a look changed something");
        let findings = found[0]["findings"].as_array().unwrap();
        let mut kinds: Vec<_> = findings.iter().map(|found| found["kind"].as_str().unwrap()).collect();
        kinds.sort_unstable();
        let expected = ["account", "broken-message", "change-log", "dangling-reference", "due", "missing-reference"];
        for kind in expected {
            assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
        }
        // An export names what is broken, and goes on.
        let to = site.path().join("out");
        let output = waybilld(&site, "export", &["ada@example.org", "--to", to.to_str().unwrap()]);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.code() == Some(1) && out.starts_with("19 messages of"), "{out}{err}");
        assert!(err.contains("ada@example.org: INBOX, UID ") && err.contains("missing"), "{err}");

        let output = waybilld(&site, "fsck", &["--repair"]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(1) && told.contains("1 left"), "{told}");
        let told = ok(&site, "fsck", &["--repair", "--drop-broken"]);
        assert!(told.contains("0 to mend, 1 mended, 0 left"), "{told}");
        let told = ok(&site, "fsck", &["--blobs"]);
        assert!(told.contains(", 19 messages, ") && told.ends_with(": sound\n"), "{told}");
        let server = site.serve();
        let mut client = client(&server, "ada@example.org");
        let there = client.imap_ok("STATUS INBOX (MESSAGES)").remove(0);
        assert!(there.contains("MESSAGES 19"), "{there}");
        ok(&site, "fsck", &[]);
        let output = waybilld(&site, "fsck", &["--repair"]);
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), is_sqlite, "{why}");
        assert!(is_sqlite || why.contains("stop the server"), "{why}");
    }
}
