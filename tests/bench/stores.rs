//! How fast mail arrives, is fetched and is searched, on each set of stores, with what each promises of durability beside.
//! Prints figures, asserts nothing about them. `tests/bench/run stores [MESSAGES [SEARCHED]] [STORE]...`
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench")]

use harness::bind::Bind;
use harness::client::Client;
use harness::kinds::Kind;
use harness::mariadb::MariaDb;
use harness::postgresql::PostgreSql;
use harness::{Ports, Server, account, message};
use std::time::{Duration, Instant};

/// Mailboxes that mail arrives for, each by a session of its own.
const SESSIONS: usize = 10;
/// Octets of a message that arrives.
const SIZE: usize = 10_240;
/// Messages that are appended without a wait for the answers.
const AT_ONCE: usize = 200;
/// How often a search is asked.
const ASKED: usize = 9;
/// How long the index may take for what is searched.
const INDEXED: Duration = Duration::from_secs(3600);

fn imap(ports: Ports, user: &str) -> Client {
    let mut client = Client::connect_tls(ports.at(ports.imaps)).unwrap();
    client.line().unwrap();
    client.login(&format!("{user}@example.org"));
    client
}

/// Messages a second from the first connection until all are in their mailboxes.
fn arrival(ports: Ports, messages: usize) -> f64 {
    let each = messages / SESSIONS;
    let began = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..SESSIONS {
            scope.spawn(move || {
                let mut client = Client::connect(ports.at(ports.smtp)).unwrap();
                client.reply().unwrap();
                client.smtp_ok("EHLO client.example.net", "250");
                for m in 0..each {
                    let text = message(&format!("{n}-{m}"), SIZE);
                    let said = client.mail("x@example.net", &[&format!("user{n}@example.org")], &text).unwrap();
                    assert!(said.starts_with("250"), "{said}");
                }
            });
        }
    });
    for n in 0..SESSIONS {
        imap(ports, &format!("user{n}")).wait_for("INBOX", u32::try_from(each).unwrap());
    }
    (each * SESSIONS) as f64 / began.elapsed().as_secs_f64()
}

/// Messages a second that one client fetches whole from one mailbox, while nothing else happens: the median.
fn fetch(ports: Ports) -> f64 {
    let mut client = imap(ports, "user0");
    client.imap_ok("SELECT INBOX");
    let mut rates: Vec<f64> = (0..ASKED)
        .map(|_| {
            let began = Instant::now();
            let fetched = client.imap_ok("UID FETCH 1:* (FLAGS BODY.PEEK[])").len();
            fetched as f64 / began.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[ASKED / 2]
}

/// Messages that the index was told of.
fn indexed(server: &Server) -> usize {
    let metrics = server.get("/metrics").1;
    let line = metrics.lines().find_map(|line| line.strip_prefix("waybill_indexed_total ")).map(str::to_owned);
    line.and_then(|count| count.trim().parse::<usize>().ok()).unwrap_or(0)
}

/// Waits until the index was told of so many messages.
fn wait_for_index(server: &Server, messages: usize) {
    let began = Instant::now();
    while indexed(server) < messages {
        assert!(began.elapsed() < INDEXED, "the index does not follow");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Some 2 kB of text in which each message has words of its own, as mail has.
fn letter(number: usize) -> String {
    let mut state = number as u64 | 1 << 40;
    let mut text = format!("From: sender{}@example.net\r\nSubject: letter {number}\r\n\r\n", number % 50);
    for word in 0..300 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Few words are common, and most are rare: 20,000 in all.
        let rank = ((state >> 33) % 20_000) * ((state >> 13) % 20_000) / 20_000;
        text += &format!("word{rank}{}", if word % 12 == 11 { "\r\n" } else { " " });
    }
    text
}

/// Fills a mailbox; messages a second until the index has them.
fn fill(server: &Server, messages: usize) -> f64 {
    let before = indexed(server);
    let mut client = imap(server.ports, "ada");
    let began = Instant::now();
    for from in (0..messages).step_by(AT_ONCE) {
        // One after the other, without a wait for the answers: these few fit into the connection.
        let some = from..messages.min(from + AT_ONCE);
        let appended = some.clone().map(|number| {
            let text = letter(number);
            format!("m{number}. APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len())
        });
        client.send(appended.collect::<String>()).unwrap();
        for number in some {
            let said = client.imap_until(&format!("m{number}. ")).unwrap();
            assert!(said.last().unwrap().contains(" OK "), "{said:?}");
        }
    }
    wait_for_index(server, before + messages);
    messages as f64 / began.elapsed().as_secs_f64()
}

/// The median of what a search takes, in milliseconds, and how much it finds.
fn search(client: &mut Client, key: &str) -> (f64, usize) {
    let mut found = 0;
    let mut took: Vec<f64> = (0..ASKED)
        .map(|_| {
            let began = Instant::now();
            let lines = client.imap_ok(&format!("UID SEARCH {key}"));
            found = lines.iter().find_map(|line| line.strip_prefix("* SEARCH")).unwrap().split_whitespace().count();
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    took.sort_by(f64::total_cmp);
    (took[ASKED / 2], found)
}

/// What an acknowledged write rests on.
fn durability(kind: &Kind) -> String {
    let postgresql = |sql: &dyn Fn(&str) -> String| {
        let of = |name: &str| format!("{name} {}", sql(&format!("SHOW {name}")).trim());
        ["fsync", "synchronous_commit", "full_page_writes"].map(of).join(", ")
    };
    match kind {
        Kind::RocksDb => "each group of commits is synced to the write-ahead log".to_owned(),
        Kind::Sqlite => "WAL, synchronous=FULL: each transaction is synced".to_owned(),
        Kind::PostgreSql(server) => postgresql(&|sql| server.sql(sql)),
        Kind::MariaDb(server) => {
            let shown = server.sql(
                "SHOW VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', 'sync_binlog', 'log_bin')",
            );
            shown.split_whitespace().collect::<Vec<_>>().join(" ")
        }
        Kind::FoundationDb(..) => "as the cluster is configured".to_owned(),
        Kind::Four(four) => {
            let data = postgresql(&|sql| four.data.sql(sql));
            format!("PostgreSQL {data}; S3 as SeaweedFS's default; OpenSearch translog request; Redis without files")
        }
    }
}

fn measure(kind: &Kind, messages: usize, searched: usize) {
    match kind {
        Kind::PostgreSql(server) => server.sync(),
        Kind::Four(four) => four.data.sync(),
        _ => {}
    }
    println!("== {}: {}", kind.name(), durability(kind));
    let people: String = (0..SESSIONS).map(|n| account(&format!("user{n}"))).collect();
    let site = kind.site_of(&format!("{}{people}", account("ada")));
    // Nobody waits for answers about the sender.
    let dns = Bind::updatable(&["net"]);
    let mut command = kind.command(&site);
    command.arg("--resolver").arg(dns.address.to_string());
    let server = Server::start(command, site.ports);
    let say = |what: &str, figure: String| println!("{what:60} {figure}");
    let rate = arrival(site.ports, messages);
    say(&format!("{messages} of {SIZE} octets over {SESSIONS} sessions, in mailboxes"), format!("{rate:.0}/s"));
    wait_for_index(&server, messages);
    say("fetched whole by one client", format!("{:.0}/s", fetch(site.ports)));
    let rate = fill(&server, searched);
    say(&format!("{searched} of 2 kB appended by one client and indexed"), format!("{rate:.0}/s"));
    let mut client = imap(site.ports, "ada");
    client.imap_ok("SELECT INBOX");
    for key in ["TEXT word19000", "BODY word17 FROM sender7", "BODY \"letter nothing\"", "SUBJECT \"letter 77\""] {
        let (took, found) = search(&mut client, key);
        say(&format!("UID SEARCH {key}"), format!("{took:.1} ms, {found} found"));
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    say("waybilld, resident", resident.trim().to_owned());
    assert!(server.stop());
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (given, only): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| word.parse::<usize>().is_ok());
    let mut given = given.into_iter().filter_map(|word| word.parse().ok());
    let (messages, searched) = (given.next().unwrap_or(10_000), given.next().unwrap_or(100_000));
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| *only == name);
    // Debug lines of the log would be measured, too.
    assert!(std::env::var_os("RUST_LOG").is_some(), "start it by tests/bench/run");
    let names = ["rocksdb", "sqlite", "postgresql", "mariadb", "four", "foundationdb"];
    let unknown: Vec<_> = only.iter().filter(|only| !names.contains(&only.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}: the sets of stores are {names:?}");
    for name in names.into_iter().filter(|name| wanted(name)) {
        let kind = match name {
            "rocksdb" => Kind::RocksDb,
            "sqlite" => Kind::Sqlite,
            "postgresql" => Kind::PostgreSql(PostgreSql::start()),
            "mariadb" => Kind::MariaDb(MariaDb::start()),
            "four" => Kind::four(),
            _ => match Kind::foundationdb() {
                Some(cluster) => cluster,
                None => continue,
            },
        };
        measure(&kind, messages, searched);
    }
}
