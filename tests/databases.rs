//! Mail in SQLite, PostgreSQL and MariaDB, and on four servers that each keep a part: the contract of a data store on the
//! real servers, the way from SMTP to IMAP, and what happens when server or database are killed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::client::Client;
use harness::kinds::Kind;
use harness::load::{Load, Random};
use harness::postgresql::{self, PostgreSql};
use harness::{Server, Site, message};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use store::conformance;

#[tokio::test(flavor = "multi_thread")]
async fn every_database_keeps_the_key_value_contract() {
    let folder = tempfile::tempdir().unwrap();
    for kind in Kind::all().into_iter().chain(Kind::foundationdb()) {
        eprintln!("{}", kind.name());
        conformance::suite(conformance::KEY_VALUE, kind.open("contract_", folder.path()).await).await;
    }
}

/// Two processes on one table: counters that both raise come out right, and each sees what the other writes.
#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_one_table_do_not_lose_each_others_changes() {
    let folder = tempfile::tempdir().unwrap();
    for kind in Kind::all() {
        let (one, two) = (kind.open("two_", folder.path()).await, kind.open("two_", folder.path()).await);
        let conflicts = Arc::new(AtomicU32::new(0));
        let adders: Vec<_> = (0..16)
            .map(|n| {
                let store = Arc::clone(if n % 2 == 0 { &one } else { &two });
                let conflicts = Arc::clone(&conflicts);
                tokio::spawn(async move {
                    for _ in 0..25 {
                        loop {
                            let before = store.get(&["sum".into()]).await.unwrap().pop().unwrap();
                            let now =
                                before.as_deref().map_or(0, |text| String::from_utf8_lossy(text).parse().unwrap());
                            let mut batch = store::kv::Batch::new();
                            batch.assert("sum", before).put("sum", format!("{}", now + 1_u32).into_bytes());
                            match store.commit(batch).await {
                                Ok(()) => break,
                                Err(store::error::CommitError::Conflict) => {
                                    conflicts.fetch_add(1, Ordering::Relaxed);
                                }
                                Err(error) => panic!("{error}"),
                            }
                        }
                    }
                })
            })
            .collect();
        for adder in adders {
            adder.await.unwrap();
        }
        let sum = two.get(&["sum".into()]).await.unwrap().pop().unwrap().unwrap();
        assert_eq!(sum, "400", "{}", kind.name());
        assert!(conflicts.load(Ordering::Relaxed) > 0, "{}: nobody was in anybody's way", kind.name());
        // A change by one rings for those who watch at the other.
        let watcher = tokio::spawn(async move {
            while one.get(&["bell".into()]).await.unwrap() == [None] {
                one.watch(&"bell".into()).await.unwrap();
            }
        });
        let mut batch = store::kv::Batch::new();
        batch.put("bell", "rung");
        two.commit(batch).await.unwrap();
        tokio::time::timeout(harness::PATIENCE, watcher).await.unwrap().unwrap();
    }
}

#[test]
fn mail_goes_through_every_database_and_outlives_kill_9() {
    for kind in Kind::all().into_iter().chain([Kind::four()]).chain(Kind::foundationdb()) {
        eprintln!("{}", kind.name());
        let site = kind.site();
        let load = Load::default();
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for _ in 0..6 {
            let server = kind.serve(&site);
            let threads = load.start(site.ports);
            // The moment is what is tested, not waited for.
            thread::park_timeout(Duration::from_millis(200 + random.below(400)));
            server.kill();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        let server = kind.serve(&site);
        load.verify(&server);
        assert!(load.acknowledged() > 50, "{}: only {} messages", kind.name(), load.acknowledged());
        let mut client = Client::connect(site.ports.at(site.ports.smtp)).unwrap();
        client.reply().unwrap();
        client.smtp_ok("EHLO client.example.net", "250");
        let text = message("needle", 2_000).replace("\r\n\r\n", "\r\n\r\nthe word is xylophone\r\n");
        assert!(client.mail("x@example.net", &["ada@example.org"], &text).unwrap().starts_with("250"));
        let mut reader = Client::connect_tls(site.ports.at(site.ports.imaps)).unwrap();
        reader.line().unwrap();
        reader.login("ada@example.org");
        reader.imap_ok("SELECT INBOX");
        let began = std::time::Instant::now();
        while !reader.imap_ok("UID SEARCH TEXT xylophone").join("").starts_with("* SEARCH ") {
            assert!(began.elapsed() < harness::PATIENCE, "{}: the word is not found", kind.name());
            reader.imap_ok("NOOP");
        }
        assert!(server.stop());
    }
}

#[test]
fn a_database_that_is_killed_puts_mail_off_and_loses_none() {
    for mut kind in Kind::all().into_iter().chain([Kind::four()]) {
        if let Kind::Sqlite = kind {
            continue;
        }
        eprintln!("{}", kind.name());
        let site = kind.site();
        let server = kind.serve(&site);
        let load = Load::default();
        let threads = load.start(site.ports);
        let mut random = Random(0x2545_F491_4F6C_DD1D);
        for round in 0..4 {
            let so_far = load.acknowledged();
            let began = std::time::Instant::now();
            while load.acknowledged() < so_far + 20 {
                assert!(began.elapsed() < harness::PATIENCE, "mail is not taken again");
                thread::park_timeout(Duration::from_millis(5));
            }
            thread::park_timeout(Duration::from_millis(random.below(100)));
            match &mut kind {
                Kind::RocksDb | Kind::Sqlite | Kind::FoundationDb(..) => {}
                Kind::PostgreSql(database) => {
                    // Connections cut while they are at work, then the whole server.
                    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                               WHERE application_name = 'waybilld'";
                    database.sql(cut);
                    thread::park_timeout(Duration::from_millis(random.below(100)));
                    database.kill();
                    database.run();
                }
                Kind::MariaDb(database) => {
                    database.kill();
                    database.run();
                }
                // One after the other. Delivery needs the first two; the third is caught up with, the fourth forgets.
                Kind::Four(four) => match round {
                    0 => {
                        four.data.kill();
                        four.data.run();
                    }
                    1 => {
                        four.blobs.kill();
                        four.blobs.restart();
                    }
                    2 => four.search.start_again(),
                    _ => {
                        four.lookup.stop();
                        four.lookup.again(2);
                    }
                },
            }
        }
        load.end(threads);
        load.verify(&server);
        assert!(!server.log().contains("panicked"));
    }
}

#[test]
fn a_server_waits_for_its_database_and_says_so() {
    let mut database = PostgreSql::start();
    database.kill();
    let mut kind = Kind::PostgreSql(database);
    let site = kind.site();
    let server = Server::begin(kind.command(&site), site.ports);
    let waits = server.wait_for_log("waiting for a store", 0);
    assert!(waits.contains("PostgreSQL at 127.0.0.1"), "{waits}");
    if let Kind::PostgreSql(database) = &mut kind {
        database.run();
    }
    server.wait_for_log(" ready", 0);
    assert!(!server.log().contains(postgresql::PASSWORD));
}

#[test]
fn a_database_that_refuses_us_is_told_of_at_once() {
    let kind = Kind::PostgreSql(PostgreSql::start());
    let site = kind.site();
    let mut command = kind.command(&site);
    command.env("DB_PASSWORD", "not-the-password");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("PostgreSQL at 127.0.0.1") && said.contains("password authentication failed"), "{said}");
    assert!(!said.contains("not-the-password"), "{said}");
}

/// Both take a new spec, and say so.
fn a_new_person_is_known_to_both(kind: &Kind, people: &str, servers: [(&Site, &Server); 2]) {
    for (site, server) in servers {
        let head = site.ports.host("mail.example.org");
        let domain = format!("domain \"example.org\" {{\n{people}{}}}\n", harness::account("zoe"));
        site.write("mail.kdl", &format!("waybill 1\n{head}{}{domain}", kind.node()));
        server.wait_for_log("configuration taken", 0);
        let mut client = Client::connect(site.ports.at(site.ports.smtp)).unwrap();
        client.reply().unwrap();
        client.smtp_ok("EHLO client.example.net", "250");
        client.smtp_ok("MAIL FROM:<x@example.net>", "250");
        client.smtp_ok("RCPT TO:<zoe@example.org>", "250");
    }
}

/// What failed at one makes the next failure wait longer at the other.
fn a_failed_login_is_known_to_both(servers: [(&Site, &Server); 2]) {
    let waits = servers.map(|(site, server)| {
        let from = server.log_mark();
        let mut client = Client::connect_tls(site.ports.at(site.ports.imaps)).unwrap();
        client.line().unwrap();
        let answer = client.imap("LOGIN ada@example.org wrong").unwrap().pop().unwrap();
        assert!(answer.contains(" NO [AUTHENTICATIONFAILED]"), "{answer}");
        let said = server.wait_for_log("login failed", from);
        said.rsplit_once("wait_ms=").unwrap().1.trim().to_owned()
    });
    assert_eq!(waits, ["500", "1000"]);
}

/// How long a reader who waits for news waits after a message was acknowledged; the longest of some.
fn idle(reader: &mut Client, client: &mut Client) -> Duration {
    reader.imap_ok("SELECT INBOX");
    reader.send("i IDLE\r\n").unwrap();
    assert!(reader.response().unwrap().starts_with('+'));
    let waited = (0..10).map(|n| {
        let text = message(&format!("news {n}"), 2_000);
        let reply = client.mail("x@example.net", &["m7@example.org"], &text).unwrap();
        let acknowledged = Instant::now();
        assert!(reply.starts_with("250"), "{reply}");
        while !reader.response().unwrap().ends_with(&format!(" {} EXISTS", n + 1)) {}
        acknowledged.elapsed()
    });
    let longest = waited.max().unwrap();
    reader.send("DONE\r\n").unwrap();
    reader.imap_until("i").unwrap();
    reader.imap_ok("STORE 1:* +FLAGS.SILENT (\\Deleted)");
    reader.imap_ok("EXPUNGE");
    longest
}

/// Two servers of one host on one set of stores: what arrives at one is seen at the other, and what one leaves in the queue
/// the other delivers, once.
#[test]
fn two_servers_share_a_database_and_one_inherits_the_others_queue() {
    const MEMBERS: usize = 300;
    let kind = Kind::four();
    let people: String = (0..MEMBERS).map(|n| harness::account(&format!("m{n}"))).collect();
    let members: String = (0..MEMBERS).map(|n| format!(" \"m{n}\"")).collect();
    let list = format!("    list \"all\" {{\n        member{members}\n        posting \"anyone\"\n    }}\n");
    let people = format!("{}{people}{list}", harness::account("ada"));
    let (one, two) = (kind.site_of(&people), kind.site_of(&people));
    let start = |site: &Site, node: &str| {
        let mut command = kind.command(site);
        command.args(["--node", node]);
        Server::start(command, site.ports)
    };
    let (first, second) = (start(&one, "one"), start(&two, "two"));
    let reader = |user: &str| {
        let mut reader = Client::connect_tls(two.ports.at(two.ports.imaps)).unwrap();
        reader.line().unwrap();
        reader.login(&format!("{user}@example.org"));
        reader
    };
    let load = Load::default();
    let threads = load.start(one.ports);
    reader("ada").wait_for("INBOX", 20);
    load.end(threads);
    a_new_person_is_known_to_both(&kind, &people, [(&one, &first), (&two, &second)]);
    a_failed_login_is_known_to_both([(&one, &first), (&two, &second)]);
    let mut client = Client::connect(one.ports.at(one.ports.smtp)).unwrap();
    client.reply().unwrap();
    client.smtp_ok("EHLO client.example.net", "250");
    println!("seen by IDLE at the other {:?} after the acknowledgement", idle(&mut reader("m7"), &mut client));
    let reply = client.mail("x@example.net", &["all@example.org"], &message("to all", 2_000)).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    // In the middle of its work.
    first.kill();
    second.wait_for_log("its part of the queue is ours now", 0);
    for _ in 0..2 {
        // A second look finds what somebody got twice.
        for n in 0..MEMBERS {
            let mut reader = reader(&format!("m{n}"));
            reader.wait_for("INBOX", 1);
            let status = reader.imap_ok("STATUS INBOX (MESSAGES)").join("");
            assert!(status.contains("MESSAGES 1)"), "m{n}: {status}");
        }
    }
    load.verify(&second);
    assert!(!second.log().contains("panicked"));
}
