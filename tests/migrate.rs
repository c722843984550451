//! `waybilld migrate`: mail moves from RocksDB into each other database and back, is the same at the end, and no kill on
//! the way changes that.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::client::Client;
use harness::kinds::Kind;
use harness::load::{Load, Random};
use harness::{Server, Site, message, program};
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// Every message of every mailbox, with flags and dates.
fn dump(server: &Server) -> Vec<String> {
    let mut client = Client::connect_tls(server.ports.at(server.ports.imaps)).unwrap();
    client.line().unwrap();
    client.login("ada@example.org");
    let names = client.imap_ok("LIST \"\" *");
    let names = names.iter().filter_map(|line| Some(line.strip_prefix("* LIST ")?.rsplit_once(' ')?.1.to_owned()));
    let mut all = Vec::new();
    for name in names.collect::<Vec<_>>() {
        all.push(name.clone());
        all.extend(client.imap_ok(&format!("STATUS {name} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)")));
        client.imap_ok(&format!("EXAMINE {name}"));
        all.extend(client.imap_ok("UID FETCH 1:* (UID FLAGS INTERNALDATE MODSEQ BODY.PEEK[])"));
    }
    // What a command was called says nothing.
    all.retain(|line| line.starts_with('*') || !line.contains(" OK "));
    all
}

/// `waybilld migrate` from one site's stores to another's.
fn migrate((from, old): (&Site, &Kind), (to, new): (&Site, &Kind)) -> Command {
    let password = if old.password().is_empty() { new.password() } else { old.password() };
    let mut command = Command::new(program("waybilld"));
    command.arg("migrate").arg("--spec").arg(from.path()).arg("--to").arg(to.path());
    command.env("DB_PASSWORD", password).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs it to its end, which is killed and begun again as often as said.
fn moved(from: (&Site, &Kind), to: (&Site, &Kind), kills: u32) -> String {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..kills {
        let mut child = migrate(from, to).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // It has looked at what there is, and copies from now on.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains("every blob")), "it never came to copying");
        thread::park_timeout(Duration::from_millis(random.below(150)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = migrate(from, to).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

#[test]
fn mail_is_the_same_in_every_database_it_moves_to_and_back_again() {
    let rocksdb = Kind::RocksDb;
    let home = rocksdb.site();
    let server = rocksdb.serve(&home);
    let load = Load::default();
    let threads = load.start(home.ports);
    let mut client = Client::connect_tls(home.ports.at(home.ports.imaps)).unwrap();
    client.line().unwrap();
    client.login("ada@example.org");
    client.wait_for("INBOX", 150);
    load.end(threads);
    load.verify(&server);
    client.imap_ok("CREATE \"Archive/2026\"");
    client.imap_ok("UID STORE 1:20 +FLAGS (\\Seen \\Flagged $Work)");
    client.imap_ok("UID COPY 5:30 \"Archive/2026\"");
    client.imap_ok("UID STORE 3:4 +FLAGS (\\Deleted)");
    let wanted = dump(&server);
    assert!(wanted.len() > 180, "{}", wanted.len());
    drop(client);
    assert!(server.stop());
    let mut at = (home, rocksdb);
    for kind in Kind::all() {
        let name = kind.name();
        eprintln!("{name}");
        let there = kind.site();
        let plan = migrate((&at.0, &at.1), (&there, &kind)).arg("--plan").output().unwrap();
        assert!(
            plan.status.success() && said(&plan).contains("data: ") && said(&plan).contains(" entries of "),
            "{}",
            said(&plan)
        );
        let told = moved((&at.0, &at.1), (&there, &kind), 4);
        assert!(told.contains("alike on both sides") && !told.contains(kind.password()) || kind.password().is_empty());
        let server = kind.serve(&there);
        assert_eq!(dump(&server), wanted, "{name}");
        load.verify(&server);
        assert!(server.stop());
        // The old store is not served any more.
        let refused = at.1.command(&at.0).output().unwrap();
        assert!(!refused.status.success() && said(&refused).contains("its mail was moved to"), "{}", said(&refused));
        // And back, into a store that is new.
        let back = Kind::RocksDb.site();
        moved((&there, &kind), (&back, &Kind::RocksDb), 2);
        let server = Kind::RocksDb.serve(&back);
        assert_eq!(dump(&server), wanted, "back from {name}");
        assert!(server.stop());
        at = (back, Kind::RocksDb);
    }
}

#[test]
fn a_move_is_refused_where_it_would_lose_mail() {
    let kind = Kind::RocksDb;
    let (from, to) = (kind.site(), Kind::Sqlite.site());
    let server = kind.serve(&from);
    let output = migrate((&from, &kind), (&to, &Kind::Sqlite)).output().unwrap();
    assert!(said(&output).contains("another process has this database open"), "{}", said(&output));
    assert!(server.stop());
    // Into a store with mail of its own.
    assert!(Kind::Sqlite.serve(&to).stop());
    let output = migrate((&from, &kind), (&to, &Kind::Sqlite)).output().unwrap();
    assert!(said(&output).contains("holds data already"), "{}", said(&output));
    // It goes on as before, and so does what it would have been moved to.
    assert!(kind.serve(&from).stop());
    assert!(Kind::Sqlite.serve(&to).stop());
    // A move that was taken back.
    let empty = Kind::Sqlite.site();
    moved((&from, &kind), (&empty, &Kind::Sqlite), 0);
    let mut reopen = Command::new(program("waybilld"));
    let output = reopen.args(["migrate", "--reopen", "--spec"]).arg(from.path()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(kind.serve(&from).stop());
}

/// The index is not moved: where it is to lie elsewhere, even under the same name, it is made anew.
#[test]
fn searches_find_what_was_moved() {
    let kind = Kind::RocksDb;
    let (from, to) = (kind.site(), kind.site());
    let server = kind.serve(&from);
    let mut client = Client::connect(from.ports.at(from.ports.smtp)).unwrap();
    client.reply().unwrap();
    client.smtp_ok("EHLO client.example.net", "250");
    let text = message("needle", 2_000).replace("\r\n\r\n", "\r\n\r\nthe word is xylophone\r\n");
    assert!(client.mail("x@example.net", &["ada@example.org"], &text).unwrap().starts_with("250"));
    let found = |server: &Server| {
        let mut reader = Client::connect_tls(server.ports.at(server.ports.imaps)).unwrap();
        reader.line().unwrap();
        reader.login("ada@example.org");
        reader.wait_for("INBOX", 1);
        reader.imap_ok("UID SEARCH TEXT xylophone").join("")
    };
    assert!(found(&server).starts_with("* SEARCH 1"));
    let began = std::time::Instant::now();
    while !server.get("/metrics").1.contains("waybill_indexed_total 1") {
        assert!(began.elapsed() < harness::PATIENCE, "the index does not follow");
        thread::park_timeout(Duration::from_millis(20));
    }
    assert!(server.stop());
    moved((&from, &kind), (&to, &kind), 0);
    let server = kind.serve(&to);
    assert!(found(&server).starts_with("* SEARCH 1"));
    assert!(server.stop());
}
