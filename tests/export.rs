//! `waybilld export`, `import` and `fsck` from outside: an account moves between stores by way of files, and comes out as
//! it was; Python reads what is written; what is cut off is gone on with; what is planted is found.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::client::Client;
use harness::{Site, account, message, program, run};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

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

/// Every file below a folder: its octets and its time, by its path.
fn tree(folder: &Path) -> BTreeMap<String, (Vec<u8>, i64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let facts = fs::metadata(&path).unwrap();
            if facts.is_dir() {
                found.insert(name + "/", (Vec::new(), 0));
                left.push(path);
            } else {
                assert_eq!(facts.permissions().mode() & 0o777, 0o600, "{name}");
                // The small files beside messages have the time of the export.
                let time = if name.contains("cur/") { facts.mtime() } else { 0 };
                found.insert(name, (fs::read(&path).unwrap(), time));
            }
        }
    }
    found
}

fn same(one: &Path, other: &Path) {
    let (one, other) = (tree(one), tree(other));
    let names = |tree: &BTreeMap<String, _>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    for (name, entry) in &one {
        assert!(other[name] == *entry, "{name}: {:?} {:?}", entry.1, other[name].1);
    }
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
    let mut kills = 0;
    for wait in [700, 900, 1100, 1300] {
        let mut command = Command::new(program("waybilld"));
        command.arg("import").arg("--spec").arg(site.path()).args(["ada@example.org", "--from", from]);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        kills += u32::from(child.try_wait().unwrap().is_none());
        // It may have ended already.
        let _ = child.kill();
        child.wait().unwrap();
    }
    let told = ok(&site, "import", &["ada@example.org", "--from", from]);
    eprintln!("killed {kills} times; then {told}");
    let counts = ok(&site, "counts", &[]);
    assert!(counts.contains("\"messages\": 6000"), "{counts}");
    let told = ok(&site, "import", &["ada@example.org", "--from", from]);
    assert!(told.contains("6000 were there already"), "{told}");
}
