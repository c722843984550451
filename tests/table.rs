//! `tests/run --stores`: every store by every kind of what it keeps, with how many cases of the suites hold on the real
//! servers.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that is run by hand")]

use harness::elastic::{self, Elastic};
use harness::kinds::Kind;
use harness::redis::Redis;
use harness::s3::{self, S3};
use schema::config;
use schema::spec::RedisMode;
use schema::unit::Period;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use store::blob::filesystem::Filesystem;
use store::blob::kv::KvBlobs;
use store::blob::packed::Packing;
use store::blob::s3::S3Blobs;
use store::conformance::{BLOBS, Case, KEY_VALUE, LOOKUPS, MANY, MakeLookups, MakeSearch, SEARCH};
use store::kv::KeyValue;
use store::kv::memory::Memory;
use store::kv::rocksdb::RocksDb;
use store::lookup::Clock;
use store::lookup::kv::KvLookups;
use store::lookup::memory::MemoryLookups;
use store::lookup::redis::RedisLookups;
use store::open::Ground;
use store::search::elastic::Elastic as Index;
use store::search::kv::KvSearch;

/// How many cases hold, and the others.
#[derive(Default)]
struct Cell {
    passed: usize,
    failed: Vec<&'static str>,
}

impl Cell {
    async fn ask<S: Clone + Send + 'static>(mut self, cases: &[Case<S>], store: S) -> Cell {
        for case in cases {
            match tokio::spawn((case.ask)(store.clone())).await {
                Ok(()) => self.passed += 1,
                Err(_) => self.failed.push(case.about),
            }
        }
        self
    }
}

/// A row: a store, and what each column came to; `None` where it does not keep that.
struct Row {
    name: String,
    cells: [Option<Cell>; 4],
}

async fn of<S: Clone + Send + 'static>(cases: &[Case<S>], store: S) -> Option<Cell> {
    Some(Cell::default().ask(cases, store).await)
}

async fn search(make: MakeSearch) -> Option<Cell> {
    Some(Cell::default().ask(SEARCH, make.clone()).await.ask(MANY, make).await)
}

/// A database keeps everything.
async fn database(name: &str, data: Arc<dyn KeyValue>) -> Row {
    eprintln!("{name}");
    let below = Arc::clone(&data);
    let index: MakeSearch =
        Arc::new(move |analyser| Arc::new(KvSearch::new(Arc::clone(&below), analyser, Arc::new(|| 0))));
    let below = Arc::clone(&data);
    let lookups: MakeLookups = Arc::new(move |clock| Arc::new(KvLookups::new(Arc::clone(&below), clock)));
    let cells = [
        of(KEY_VALUE, Arc::clone(&data)).await,
        of(BLOBS, Arc::new(KvBlobs::new(data, Packing::default()))).await,
        search(index).await,
        of(LOOKUPS, lookups).await,
    ];
    Row { name: name.to_owned(), cells }
}

fn ground(clock: Clock) -> Ground {
    Ground { root: "/nowhere".into(), clock, reveal: s3::revealing() }
}

fn now() -> Clock {
    Arc::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_millis()).unwrap()
    })
}

async fn in_s3(kind: s3::Kind) -> Row {
    eprintln!("S3, {kind:?}");
    let server = S3::start(kind);
    let bucket = S3Blobs::new(&server.config(""), &ground(now()), Packing::default()).unwrap();
    Row { name: format!("S3 ({kind:?})"), cells: [None, of(BLOBS, Arc::new(bucket)).await, None, None] }
}

async fn in_elastic(kind: elastic::Kind) -> Row {
    eprintln!("{kind:?}");
    let server = Elastic::start(kind);
    let settings = config::Elasticsearch {
        url: server.url(),
        user: None,
        password: None,
        api_key: None,
        prefix: "table".into(),
        shards: 2,
        replicas: 0,
        timeout: Period(30),
        tls: None,
    };
    let make: MakeSearch =
        Arc::new(move |analyser| Arc::new(Index::open(&settings, &ground(now()), analyser).unwrap()));
    Row { name: format!("{kind:?}"), cells: [None, None, search(make).await, None] }
}

async fn in_redis() -> Row {
    eprintln!("Redis");
    let server = Redis::start("");
    let config = config::Redis {
        url: vec![server.url()],
        mode: RedisMode::Single,
        master: None,
        user: None,
        password: None,
        sentinel_password: None,
        prefix: "table:".to_owned(),
        timeout: Period(5),
        pool: config::Pool { most: 4, least: 1, idle: Period(600), lifetime: Period(1800) },
        tls: None,
    };
    let make: MakeLookups = Arc::new(move |clock| {
        let ground = ground(clock);
        let open = RedisLookups::open(&config, &ground);
        Arc::new(tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(open)).unwrap())
    });
    Row { name: "Redis".into(), cells: [None, None, None, of(LOOKUPS, make).await] }
}

#[cfg(feature = "foundationdb")]
async fn foundationdb() -> Option<Row> {
    let cluster_file = std::env::var("FDB_CLUSTER_FILE").ok()?;
    let prefix = format!("table-{}/", now()());
    let config = config::FoundationDb { cluster_file, timeout: Period(5), prefix, machine: None, datacenter: None };
    Some(database("FoundationDB", store::kv::foundationdb::open(&config, &ground(now())).await.unwrap()).await)
}

#[cfg(not(feature = "foundationdb"))]
async fn foundationdb() -> Option<Row> {
    None
}

/// Each row; what is not a server lies in `folder`.
async fn rows(folder: &Path) -> Vec<Row> {
    let mut rows = vec![database("RocksDB", Arc::new(RocksDb::open(folder.join("rocksdb")).await.unwrap())).await];
    rows.extend(foundationdb().await);
    for kind in Kind::all() {
        rows.push(database(kind.name(), kind.open("table_", folder).await).await);
    }
    rows.push(in_s3(s3::Kind::SeaweedFs).await);
    rows.push(in_s3(s3::Kind::Rclone).await);
    let files = Filesystem::open(folder.join("blobs"), 2, Packing::default()).await.unwrap();
    rows.push(Row { name: "Filesystem".into(), cells: [None, of(BLOBS, Arc::new(files)).await, None, None] });
    rows.push(in_elastic(elastic::Kind::OpenSearch).await);
    rows.push(in_elastic(elastic::Kind::Elasticsearch).await);
    rows.push(in_redis().await);
    let mut memory = database("Memory", Arc::new(Memory::new())).await;
    let lookups: MakeLookups = Arc::new(|clock| Arc::new(MemoryLookups::new(clock)));
    memory.cells[3] = Some(memory.cells[3].take().unwrap_or_default().ask(LOOKUPS, lookups).await);
    rows.push(memory);
    rows
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(folder.path()).await;
    println!("{:<20} {:>14} {:>14} {:>14} {:>14}", "passed/failed", "data", "blob", "search", "lookup");
    let mut wrong = Vec::new();
    for Row { name, cells } in &rows {
        let shown = cells.each_ref().map(|cell| match cell {
            Some(cell) => format!("{}/{}", cell.passed, cell.failed.len()),
            None => String::new(),
        });
        println!("{name:<20} {:>14} {:>14} {:>14} {:>14}", shown[0], shown[1], shown[2], shown[3]);
        for (what, cell) in ["data", "blob", "search", "lookup"].iter().zip(cells) {
            let failed = cell.iter().flat_map(|cell| &cell.failed);
            wrong.extend(failed.map(|about| format!("{name}, {what}: {about}")));
        }
    }
    if !rows.iter().any(|row| row.name == "FoundationDB") {
        println!("{:<20} no server: FDB_CLUSTER_FILE is not set; compiled and linted", "FoundationDB");
    }
    for one in &wrong {
        println!("failed: {one}");
    }
    std::process::exit(i32::from(!wrong.is_empty()));
}
