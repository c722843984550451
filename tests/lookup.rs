//! Lookups in Redis: what they keep, and what becomes of them when servers go and come.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::panic, reason = "tests")]

use harness::redis::{self, MASTER, Redis};
use harness::until;
use harness::{PATIENCE, certificate};
use schema::config::{BlobOptions, IndexOptions, Pool, Redis as Config, Storage, Store};
use schema::name::{Secret, SecretRef};
use schema::spec::{ClientTls, ClientTlsMode, Compression, RedisMode};
use schema::unit::{Period, Size};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use store::conformance;
use store::error::StoreError;
use store::lookup::redis::RedisLookups;
use store::lookup::{Clock, Lookups};
use store::open::{Ground, Registry};

const MINUTE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "redis-password-of-the-test";

/// Secrets stand in files; here the reference's path is the secret itself, or a file that is there.
fn ground(clock: Clock) -> Ground {
    let reveal = |reference: &SecretRef| match reference {
        SecretRef::File(path) => Ok(Secret::new(std::fs::read_to_string(path).unwrap_or_else(|_| path.clone()))),
        other => Err(format!("{other:?}")),
    };
    Ground { root: ".".into(), clock, reveal: Arc::new(reveal) }
}

fn now() -> Clock {
    Arc::new(|| i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
}

fn secret(text: &str) -> Option<SecretRef> {
    Some(SecretRef::File(text.to_owned()))
}

fn config(mode: RedisMode, servers: &[Redis]) -> Config {
    Config {
        url: servers.iter().map(Redis::url).collect(),
        mode,
        master: None,
        user: None,
        password: None,
        sentinel_password: None,
        prefix: "test:".to_owned(),
        timeout: Period(3),
        pool: Pool { most: 4, least: 1, idle: Period(600), lifetime: Period(1800) },
        tls: None,
    }
}

async fn open(config: &Config) -> RedisLookups {
    RedisLookups::open(config, &ground(now())).await.unwrap()
}

async fn refused(config: &Config) -> String {
    match RedisLookups::open(config, &ground(now())).await {
        Err(StoreError::Misconfigured(cause)) => cause.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it opened"),
    }
}

async fn keeps_the_contract(config: &Config) {
    let config = config.clone();
    let make: conformance::MakeLookups = Arc::new(move |clock| {
        let ground = ground(clock);
        let open = RedisLookups::open(&config, &ground);
        let lookups = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(open));
        Arc::new(lookups.unwrap())
    });
    conformance::suite(conformance::LOOKUPS, make).await;
}

/// Adds 1 until that works again; says what the counter holds then.
async fn add_again(lookups: &dyn Lookups, name: &str) -> i64 {
    let began = Instant::now();
    loop {
        match lookups.add(name, 1, MINUTE).await {
            Ok(value) => return value,
            Err(StoreError::Unavailable(_)) if began.elapsed() < PATIENCE => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_keeps_the_contract_and_refuses_a_wrong_password() {
    let servers = [Redis::start(&format!("requirepass {PASSWORD}"))];
    let right = Config { password: secret(PASSWORD), ..config(RedisMode::Single, &servers) };
    keeps_the_contract(&right).await;
    for wrong in [None, secret("wrong")] {
        let says = refused(&Config { password: wrong, ..right.clone() }).await;
        assert!(says.contains(&servers[0].port.to_string()) && !says.contains("wrong"), "{says}");
    }
    refused(&Config { url: vec![format!("redis://:{PASSWORD}@127.0.0.1")], ..right.clone() }).await;
    // Only what has ended is ever taken away by the server, and everything is some time.
    for key in servers[0].ask(&["-a", PASSWORD, "keys", "test:*"]).lines() {
        let left: i64 = servers[0].ask(&["-a", PASSWORD, "pttl", key]).parse().unwrap();
        assert!(left > 60_000, "{key}: {left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_and_counters_have_their_whole_range() {
    let servers = [Redis::start("")];
    let lookups = open(&config(RedisMode::Single, &servers)).await;
    assert_eq!(lookups.add("c", i64::MAX, MINUTE).await.unwrap(), i64::MAX);
    assert_eq!(lookups.add("c", 1, MINUTE).await.unwrap(), i64::MAX);
    assert_eq!(lookups.add("c", i64::MIN, MINUTE).await.unwrap(), -1);
    assert_eq!(lookups.add("c", i64::MIN, MINUTE).await.unwrap(), i64::MIN);
    let odd: bytes::Bytes = (0..=255_u8).cycle().take(store::lookup::FACT_MOST).collect();
    for value in [odd, bytes::Bytes::new()] {
        lookups.note("f\r\n\0", Some(value.clone()), Duration::MAX).await.unwrap();
        assert_eq!(lookups.note("f\r\n\0", None, MINUTE).await.unwrap(), Some(value));
    }
    let held = lookups.lease("l", Duration::MAX).await.unwrap().unwrap();
    lookups.release(held.clone()).await.unwrap();
    // Numbers rise though the server has forgotten everything.
    servers[0].ask(&["flushall"]);
    until(|| "the clock goes on", || now()() > held.number.cast_signed());
    assert!(lookups.lease("l", MINUTE).await.unwrap().unwrap().number > held.number);
    servers[0].ask(&["set", "test:c:another", "text"]);
    assert!(matches!(lookups.add("another", 1, MINUTE).await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_behind_tls_knows_us_by_certificate_and_user() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), &["127.0.0.1".to_owned()], 30);
    let acl = format!("user default off\nuser waybill on >{PASSWORD} ~test:* +@scripting +@hash +pexpire +info");
    let server = Redis::start_tls(folder.path(), &acl);
    let pem = |folder: &Path, name| secret(folder.join(name).to_str().unwrap());
    let tls = |folder: &Path| ClientTls {
        ca: pem(folder, "ca.pem"),
        cert: pem(folder, "cert.pem"),
        key: pem(folder, "key.pem"),
        ..ClientTls::default()
    };
    let right = Config {
        url: vec![server.url().replace("redis:", "rediss:")],
        user: Some("waybill".to_owned()),
        password: secret(PASSWORD),
        tls: Some(tls(folder.path())),
        ..config(RedisMode::Single, &[])
    };
    keeps_the_contract(&right).await;
    let on = ClientTls { mode: Some(ClientTlsMode::On), ..tls(folder.path()) };
    open(&Config { url: vec![server.url()], tls: Some(on), ..right.clone() }).await;
    let says = refused(&Config { prefix: "other:".to_owned(), ..right.clone() }).await;
    assert!(says.contains("NOPERM"), "{says}");
    let stranger = tempfile::tempdir().unwrap();
    certificate(stranger.path(), &["127.0.0.1".to_owned()], 30);
    let says = refused(&Config { tls: Some(tls(stranger.path())), ..right.clone() }).await;
    assert!(says.contains("certificate"), "{says}");
    refused(&Config { url: vec![server.url()], ..right }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_redis_is_unavailable_in_time_and_serves_again_by_itself() {
    let mut servers = [Redis::start("")];
    let config = config(RedisMode::Single, &servers);
    let patience = Duration::from_secs(config.timeout.0);
    let lookups = open(&config).await;
    lookups.add("c", 1, MINUTE).await.unwrap();
    // A restart between two calls, and one under way, are not noticed.
    servers[0].stop();
    let (added, ()) = tokio::join!(lookups.add("c", 1, MINUTE), async {
        tokio::task::block_in_place(|| servers[0].again(2));
    });
    assert_eq!(added.unwrap(), 1, "what is kept in memory is gone");
    servers[0].stop();
    let began = Instant::now();
    assert!(matches!(lookups.add("c", 1, MINUTE).await, Err(StoreError::Unavailable(_))));
    assert!(began.elapsed() < patience + Duration::from_secs(2), "{:?}", began.elapsed());
    // Who comes next is told at once.
    let began = Instant::now();
    assert!(matches!(lookups.lease("l", MINUTE).await, Err(StoreError::Unavailable(_))));
    assert!(began.elapsed() < patience / 2, "{:?}", began.elapsed());
    assert!(matches!(RedisLookups::open(&config, &ground(now())).await, Err(StoreError::Unavailable(_))));
    servers[0].again(3);
    assert_eq!(lookups.add("c", 1, MINUTE).await.unwrap(), 1);
    // Alive, but it does not answer.
    servers[0].freeze();
    let began = Instant::now();
    assert!(matches!(lookups.add("c", 1, MINUTE).await, Err(StoreError::Unavailable(_))));
    assert!(began.elapsed() < patience + Duration::from_secs(2), "{:?}", began.elapsed());
    servers[0].thaw();
    assert!(add_again(&lookups, "c").await > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_room_is_full() {
    let servers = [Redis::start("")];
    let lookups = open(&config(RedisMode::Single, &servers)).await;
    lookups.add("c", 1, MINUTE).await.unwrap();
    servers[0].ask(&["config", "set", "maxmemory", "1"]);
    assert!(matches!(lookups.add("c", 1, MINUTE).await, Err(StoreError::Full)));
    assert!(matches!(lookups.note("f", Some("x".into()), MINUTE).await, Err(StoreError::Full)));
    assert!(matches!(lookups.lease("l", MINUTE).await, Err(StoreError::Full)));
    assert_eq!(lookups.add("c", 0, MINUTE).await.unwrap(), 1, "reading needs no room");
    servers[0].ask(&["config", "set", "maxmemory", "0"]);
    assert_eq!(lookups.add("c", 1, MINUTE).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_sentinels_put_another_server_in_the_place_of_a_killed_one_lookups_go_on_there() {
    let (mut master, copy, sentinels) = redis::watched(PASSWORD, "password-of-the-sentinels");
    let config = Config {
        master: Some(MASTER.to_owned()),
        password: secret(PASSWORD),
        sentinel_password: secret("password-of-the-sentinels"),
        ..config(RedisMode::Sentinel, &sentinels)
    };
    keeps_the_contract(&config).await;
    refused(&Config { sentinel_password: secret("wrong"), ..config.clone() }).await;
    refused(&Config { password: secret("wrong"), ..config.clone() }).await;
    let lookups = open(&config).await;
    lookups.add("kept", 41, MINUTE).await.unwrap();
    master.ask(&["-a", PASSWORD, "wait", "1", "10000"]);
    let lease = lookups.lease("l", MINUTE).await.unwrap().unwrap();
    master.ask(&["-a", PASSWORD, "wait", "1", "10000"]);
    master.stop();
    assert_eq!(add_again(&lookups, "kept").await, 42);
    assert!(copy.ask(&["-a", PASSWORD, "info", "replication"]).contains("role:master"));
    assert_eq!(lookups.lease("l", MINUTE).await.unwrap(), None, "the lease outlived the server");
    lookups.release(lease).await.unwrap();
    assert!(lookups.lease("l", MINUTE).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_counters_lose_nothing_while_their_slots_move() {
    let servers = redis::cluster();
    let config = config(RedisMode::Cluster, &servers);
    keeps_the_contract(&config).await;
    let lookups = Arc::new(open(&config).await);
    let counting: Vec<_> = (0..4)
        .map(|task| {
            let lookups = Arc::clone(&lookups);
            tokio::spawn(async move {
                for round in 1..=100 {
                    for n in 0..10 {
                        let added = lookups.add(&format!("{task} {n}"), 1, 10 * MINUTE).await;
                        assert_eq!(added.unwrap(), round, "{task} {n}");
                    }
                }
            })
        })
        .collect();
    let address = format!("127.0.0.1:{}", servers[0].port);
    let id = |server: &Redis| server.ask(&["cluster", "myid"]);
    let (from, to) = (id(&servers[1]), id(&servers[0]));
    tokio::task::block_in_place(|| {
        let words = ["--cluster", "reshard", &address, "--cluster-from", &from, "--cluster-to", &to];
        harness::run("redis-cli", &[&words[..], &["--cluster-slots", "2000", "--cluster-yes"]].concat());
    });
    for task in counting {
        task.await.unwrap();
    }
    // Each member knows the scripts for itself, and may forget them.
    servers.iter().for_each(|server| drop(server.ask(&["script", "flush"])));
    for n in 0..10 {
        assert_eq!(lookups.add(&format!("0 {n}"), 0, MINUTE).await.unwrap(), 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stays_in_the_configuration_stays_open() {
    let servers = [Redis::start("")];
    let registry = Registry::new(ground(now()));
    let memory = Store::Memory { name: "brief".to_owned() };
    let storage = Storage {
        data: memory.clone(),
        blob: memory.clone(),
        search: memory,
        lookup: Store::Redis(config(RedisMode::Single, &servers)),
        blobs: BlobOptions { compression: Compression::None, encrypt: None, grace: Period(3600), inline: Size(0) },
        index: IndexOptions { languages: Vec::new(), attachments: true, most: Size(1 << 20) },
    };
    let first = registry.open(&storage, "").await.unwrap();
    first.lookups.add("c", 1, MINUTE).await.unwrap();
    let second = registry.open(&storage, "").await.unwrap();
    assert!(Arc::ptr_eq(&first.lookups, &second.lookups));
    // One is ours, one is the asker's.
    assert_eq!(servers[0].ask(&["client", "list"]).lines().count(), 2);
}
