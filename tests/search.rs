//! The full-text index on every kind of store: one table of questions, one answer each.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "tests")]

use harness::client::Client;
use harness::elastic::{Elastic, Kind};
use harness::{PATIENCE, Server, Site, program};
use schema::config;
use schema::name::Secret;
use schema::unit::Period;
use std::path::Path;
use std::sync::Arc;
use store::conformance;
use store::error::StoreError;
use store::kv::KeyValue;
use store::kv::rocksdb::RocksDb;
use store::kv::sql;
use store::open::Ground;
use store::search::analyse::Analyser;
use store::search::elastic::Elastic as Index;
use store::search::kv::KvSearch;
use store::search::{Document, DocumentId, Field, Found, How, Query, Search, Term};

fn ground(root: &Path) -> Ground {
    let reveal = Arc::new(|_: &_| Ok(Secret::new("secret".to_owned())));
    Ground { root: root.to_owned(), clock: Arc::new(|| 1_000_000), reveal }
}

async fn in_database(data: Arc<dyn KeyValue>) {
    let make: conformance::MakeSearch =
        Arc::new(move |analyser| Arc::new(KvSearch::new(Arc::clone(&data), analyser, Arc::new(|| 0))));
    conformance::suite(conformance::SEARCH, make.clone()).await;
    conformance::suite(conformance::MANY, make).await;
}

#[tokio::test]
async fn an_index_in_rocksdb_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    in_database(Arc::new(RocksDb::open(folder.path().to_owned()).await.unwrap())).await;
}

#[tokio::test]
async fn an_index_in_sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = config::Store::Sqlite { path: "index.db".into(), readers: 4 };
    in_database(sql::open(&store, &ground(folder.path())).await.unwrap()).await;
}

fn settings(url: String) -> config::Elasticsearch {
    config::Elasticsearch {
        url,
        user: None,
        password: None,
        api_key: None,
        prefix: "test".into(),
        shards: 3,
        replicas: 0,
        timeout: Period(30),
        tls: None,
    }
}

fn open(url: String) -> Index {
    Index::open(&settings(url), &ground(Path::new("/nowhere")), Analyser::default()).unwrap()
}

async fn on_a_server(kind: Kind) {
    let server = Elastic::start(kind);
    let settings = settings(server.url());
    let make: conformance::MakeSearch =
        Arc::new(move |analyser| Arc::new(Index::open(&settings, &ground(Path::new("/nowhere")), analyser).unwrap()));
    conformance::suite(conformance::SEARCH, make.clone()).await;
    conformance::suite(conformance::MANY, make).await;
}

#[tokio::test]
async fn an_index_in_opensearch_keeps_the_contract() {
    on_a_server(Kind::OpenSearch).await;
}

#[tokio::test]
async fn an_index_in_elasticsearch_keeps_the_contract() {
    on_a_server(Kind::Elasticsearch).await;
}

fn message(number: u64) -> Document {
    let id = DocumentId { account: "ada@example.org".parse().unwrap(), message: number };
    Document { id, texts: vec![(Field::Body, "some words".into())], whole: true }
}

async fn words(index: &Index) -> Result<Found, StoreError> {
    let terms = vec![Term { fields: Vec::new(), text: "words".into() }];
    index.find(&Query { account: "ada@example.org".parse().unwrap(), terms, how: How::Words, most: 10 }).await
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_server_that_is_killed_and_errors_say_what_to_do() {
    let mut server = Elastic::start(Kind::OpenSearch);
    let index = open(server.url());
    index.index(&[message(1), message(2)]).await.unwrap();
    assert_eq!(words(&index).await.unwrap(), Found::Messages(vec![1, 2]));
    server.kill();
    let gone = words(&index).await.unwrap_err();
    assert!(matches!(&gone, StoreError::Unavailable(why) if why.to_string().contains("127.0.0.1")), "{gone}");
    assert!(matches!(index.index(&[message(3)]).await, Err(StoreError::Unavailable(_))));
    server.start_again();
    assert_eq!(words(&index).await.unwrap(), Found::Messages(vec![1, 2]));
    // What a nearly full disk makes of every index.
    let block = |on: &str| {
        let body = format!("{{\"index.blocks.read_only_allow_delete\": {on}}}");
        let answer = server.ask("PUT", "/test-mail-v1/_settings", &body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    block("true");
    assert!(matches!(index.index(&[message(3)]).await, Err(StoreError::Full)));
    assert_eq!(words(&index).await.unwrap(), Found::Messages(vec![1, 2]));
    block("null");
    index.index(&[message(3)]).await.unwrap();
    // Somebody removes the index: told once, then made again, never by the server without our mapping.
    assert!(server.ask("DELETE", "/test-mail-v1-1", "").starts_with("HTTP/1.1 200"));
    assert!(matches!(index.index(&[message(4)]).await, Err(StoreError::Unavailable(_))));
    index.index(&[message(4)]).await.unwrap();
    assert_eq!(words(&index).await.unwrap(), Found::Messages(vec![4]));
}

#[test]
fn settings_that_cannot_be_right_are_told_without_secrets() {
    use schema::spec::{ClientTls, ClientTlsMode};
    let tls = |mode| Some(ClientTls { mode: Some(mode), ..ClientTls::default() });
    let reference = || Some(schema::name::SecretRef::File("password".into()));
    let base = settings("http://127.0.0.1:9".into());
    for (wrong, says) in [
        (config::Elasticsearch { url: "http://me:hunter2@127.0.0.1:9".into(), ..base.clone() }, "holds a user"),
        (config::Elasticsearch { url: "ftp://127.0.0.1".into(), ..base.clone() }, "http://"),
        (config::Elasticsearch { prefix: "Mail".into(), ..base.clone() }, "prefix"),
        (config::Elasticsearch { tls: tls(ClientTlsMode::On), ..base.clone() }, "tls mode"),
        (config::Elasticsearch { tls: tls(ClientTlsMode::Starttls), ..base.clone() }, "tls mode"),
        (config::Elasticsearch { password: reference(), ..base.clone() }, "api-key"),
    ] {
        let error = Index::open(&wrong, &ground(Path::new("/nowhere")), Analyser::default());
        let Err(StoreError::Misconfigured(why)) = error.map(|_| ()) else { panic!("{says}") };
        let why = why.to_string();
        assert!(why.contains(says) && !why.contains("hunter2") && !why.contains("secret"), "{why}");
    }
}

/// More messages than are looked at without asking the index.
const MESSAGES: u32 = 24;

fn imap(server: &Server) -> Client {
    let mut client = Client::connect_tls(server.ports.at(server.ports.imaps)).unwrap();
    assert!(client.line().unwrap().starts_with("* OK"));
    client.login("ada@example.org");
    client
}

/// A message with words that no other has.
fn letter(number: u32) -> String {
    // One has a word that is not indexed whole.
    let long = if number == 13 { "z".repeat(80) } else { String::new() };
    // And one is from a program whose name another field might have.
    let program = if number == 15 { "X-Mailer: listword\r\n" } else { "" };
    format!(
        "From: sender@example.net\r\n{program}To: ada@example.org\r\nSubject: letter {number}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
         <p>We <b>discussed</b> the gro\u{df}e budget{number}x at length {long}</p>\r\n--o\r\nContent-Disposition: attachment; \
         filename=\"minutes{number}.txt\"\r\n\r\nattached{number}x\r\n--o--\r\n"
    )
}

fn deliver(server: &Server, numbers: std::ops::Range<u32>) {
    let mut client = Client::connect(server.ports.at(server.ports.smtp)).unwrap();
    assert!(client.reply().unwrap().starts_with("220"));
    client.smtp_ok("EHLO client.example.net", "250");
    for number in numbers {
        let reply = client.mail("sender@example.net", &["ada@example.org"], &letter(number)).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
    }
}

/// The UIDs that a search finds.
fn search(client: &mut Client, key: &str) -> String {
    let lines = client.imap_ok(&format!("UID SEARCH {key}"));
    let found = lines.iter().find_map(|line| line.strip_prefix("* SEARCH"));
    found.unwrap_or_else(|| panic!("{lines:?}")).trim().to_owned()
}

/// Waits until the index was told of so many messages by this process.
fn wait_for_index(server: &Server, messages: u64) {
    let (began, mut last) = (std::time::Instant::now(), String::new());
    while began.elapsed() < PATIENCE {
        last = harness::elastic::ask(server.ports.http, "GET", "/metrics", "");
        let line = last.lines().find_map(|line| line.strip_prefix("waybill_indexed_total "));
        if line.and_then(|count| count.trim().parse::<u64>().ok()).is_some_and(|count| count >= messages) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the index does not follow:\n{last}");
}

/// What every search must find, whether the index has it or not.
fn finds_everything(client: &mut Client) {
    for (key, expected) in [
        ("BODY budget7x", "7"),
        ("BODY udget7", "7"),
        ("BODY \"discussed the\"", &(1..=MESSAGES).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")),
        ("BODY \"<b>\"", ""),
        ("TEXT ATTACHED9X", "9"),
        ("TEXT minutes11.t", "11"),
        ("SUBJECT \"letter 12\"", "12"),
        ("OR SUBJECT \"letter 3\" BODY budget5x", "3 5"),
        ("NOT BODY budget UID 4", ""),
        ("BODY budget1 NOT BODY budget1x UID 1:12", "10 11 12"),
        ("FROM example.ne BODY budget8x", "8"),
        ("HEADER Content-Type multipart BODY budget2x", "2"),
        ("BODY nothing-of-this", ""),
        ("BODY nothingofthis", ""),
        ("BODY GROSSE UID 3", "3"),
        ("BODY \"grosse budget6\"", "6"),
        ("NOT BODY udget1 UID 1:3", "2 3"),
        ("OR NOT TEXT attached BODY budget3x UID 2:4", "3"),
        ("TEXT zzzz", "13"),
        ("HEADER X-Mailer listword", "15"),
        ("HEADER List-Id listword", ""),
        ("NOT HEADER List-Id listword UID 15", "15"),
        ("TEXT listword", "15"),
        ("BODY discussed FROM sender SUBJECT 14", "14"),
        ("BODY discussed FROM nobodyatall", ""),
        ("BODY discussed BODY \"grosse budget9\" UID 1:24", "9"),
        ("OR (BODY budget3x FROM sender) (BODY budget4x FROM nobodyatall)", "3"),
        ("NOT (BODY discussed BODY budget5x) UID 4:6", "4 6"),
        ("BODY z FROM sender UID 13", "13"),
        ("NOT TEXT zzzz UID 12:14", "12 14"),
    ] {
        assert_eq!(search(client, key), expected, "{key}");
    }
}

fn follows(site: &Site, stays: impl Fn(&str)) {
    let server = site.serve();
    deliver(&server, 1..10);
    wait_for_index(&server, 9);
    drop(server);
    // The kill came at any moment; what comes next is indexed from where the index is.
    let server = site.serve();
    deliver(&server, 10..MESSAGES + 1);
    let mut client = imap(&server);
    client.wait_for("INBOX", MESSAGES);
    client.imap_ok("SELECT INBOX");
    // The index may have some of them by now, or none.
    finds_everything(&mut client);
    wait_for_index(&server, u64::from(MESSAGES) - 9);
    finds_everything(&mut client);
    client.imap_ok("UID STORE 7 +FLAGS.SILENT (\\Deleted)");
    client.imap_ok("EXPUNGE");
    assert_eq!(search(&mut client, "BODY budget7x"), "");
    wait_for_index(&server, u64::from(MESSAGES) - 9 + 1);
    stays("before");
    drop(client);
    drop(server);
    for more in [&[][..], &["--account", "ada@example.org"]] {
        let output = std::process::Command::new(program("waybilld"))
            .arg("reindex")
            .arg("--spec")
            .arg(site.path())
            .args(more)
            .output()
            .unwrap();
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && says.contains("ada@example.org: "), "{says}");
    }
    stays("after");
    let server = site.serve();
    let mut client = imap(&server);
    client.imap_ok("SELECT INBOX");
    assert_eq!(search(&mut client, "BODY udget8x"), "8");
}

#[test]
fn the_index_follows_delivery_survives_kills_and_is_made_anew() {
    let site = Site::with_accounts(&["ada"]);
    follows(&site, |_| ());
    let unknown = std::process::Command::new(program("waybilld"))
        .args(["reindex", "--account", "nobody@example.org", "--spec"])
        .arg(site.path())
        .output()
        .unwrap();
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("no mailboxes"));
}

#[test]
fn the_index_follows_in_opensearch_too() {
    let index = Elastic::start(Kind::OpenSearch);
    let site = Site::new();
    let head = site.ports.host("mail.example.org");
    site.write(
        "mail.kdl",
        &format!(
            "waybill 1\n{head}store \"local\" {{ rocksdb \"data\"; }}\nstore \"index\" {{ elasticsearch \"{}\" \
             shards=1 replicas=0; }}\nstorage {{ data \"local\"; blob \"local\"; search \"index\"; lookup \"local\"; }}\n\
             domain \"example.org\" {{\n{}}}\n",
            index.url(),
            harness::account("ada")
        ),
    );
    follows(&site, |when| {
        let count = index.ask("GET", "/waybill-mail-v1/_count", "");
        assert!(count.contains(&format!("\"count\":{}", MESSAGES - 1)), "{when}: {count}");
    });
}
