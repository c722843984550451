//! The full-text index on every kind of store: one table of questions, one answer each.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use harness::elastic::{Elastic, Kind};
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
    let make = move |analyser| -> Arc<dyn Search> { Arc::new(KvSearch::new(Arc::clone(&data), analyser)) };
    conformance::search(&make).await;
    conformance::search_many(&make).await;
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
    let make = move |analyser| -> Arc<dyn Search> {
        Arc::new(Index::open(&settings, &ground(Path::new("/nowhere")), analyser).unwrap())
    };
    conformance::search(&make).await;
    conformance::search_many(&make).await;
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
    let terms = vec![Term { fields: Vec::new(), text: "word".into() }];
    index.find(&Query { account: "ada@example.org".parse().unwrap(), terms, how: How::Words, most: 10 }).await
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_server_that_is_killed_and_errors_say_what_to_do() {
    let mut server = Elastic::start(Kind::OpenSearch);
    let index = open(server.url());
    index.index(&[message(1), message(2)]).await.unwrap();
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
