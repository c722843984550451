//! Which database keeps what.

use super::one_kind;
use crate::code::Code;
use crate::diagnostic::{Path, Report, meant, nearest};
use schema::config::{
    BlobOptions, Database, Elasticsearch, FoundationDb, IndexOptions, Pool, Redis, S3, Storage, Store,
};
use schema::spec::{self, Compression, RedisMode, Spec};
use schema::unit::{Period, Size};
use std::collections::{BTreeSet, HashMap};

/// Where data is kept if the spec says nothing, from its folder.
const DEFAULT_FOLDER: &str = "data";
/// Amazon's own default region.
const REGION: &str = "us-east-1";
/// Connections to SQLite that read at once.
const READERS: u32 = 4;

fn path(at: usize) -> Path {
    Path::root().field("store").item(at)
}

/// Binds `storage` to stores; `None` where something is an error.
pub fn storage(spec: &Spec, report: &mut Report) -> Option<Storage> {
    for (at, store) in spec.store.iter().enumerate() {
        one_kind("store", &kinds(store), path(at), report);
    }
    folders(spec, report);
    let given = spec.storage.clone().unwrap_or_default();
    let parts = [("data", &given.data), ("blob", &given.blob), ("search", &given.search), ("lookup", &given.lookup)];
    let (mut used, mut blob_in) = (BTreeSet::new(), None);
    let mut bound = Vec::with_capacity(parts.len());
    for (part, name) in parts {
        let chosen = choose(spec, part, name.as_deref(), report);
        used.extend(chosen);
        if part == "blob" {
            blob_in = chosen;
        }
        bound.push(match chosen {
            Some(chosen) => bind(spec, part, chosen, report),
            None if spec.store.is_empty() && name.is_none() => Some(Store::Rocksdb { path: DEFAULT_FOLDER.to_owned() }),
            None => None,
        });
    }
    let asked = |store: &spec::Store| {
        spec.directory.iter().any(|directory| directory.sql.as_ref().is_some_and(|sql| sql.store == store.name))
    };
    for (at, store) in spec.store.iter().enumerate().filter(|(at, _)| !used.contains(at)) {
        if spec.store.len() > 1 && !asked(store) {
            report
                .find(Code::UnusedStore, path(at), format!("the store `{}` keeps nothing", store.name))
                .help("name it in `storage`, or take it out");
        }
    }
    let [data, blob, search, lookup] = <[Option<Store>; 4]>::try_from(bound).ok()?;
    let data = data?;
    // What could not be bound has been told; the data store stands in.
    let or_data = |part: Option<Store>| part.unwrap_or_else(|| data.clone());
    let blob = or_data(blob);
    let blobs = blob_options(spec, &given, blob_in, &blob);
    let index = index_options(&given);
    let storage = Storage { search: or_data(search), lookup: or_data(lookup), blob, data, blobs, index };
    for (part, store) in [("data", &storage.data), ("blob", &storage.blob)] {
        if let Store::Memory { name } = store {
            let at = spec.store.iter().position(|store| store.name == *name).map_or_else(Path::root, path);
            report.find(Code::MemoryForgets, at, format!("{part} in memory is gone when the server stops"));
        }
    }
    Some(storage)
}

/// What stands for storage that could not be bound, where nothing is built.
pub fn unbound() -> Storage {
    let store = || Store::Rocksdb { path: DEFAULT_FOLDER.to_owned() };
    let given = spec::Storage::default();
    let blobs = blob_options(&Spec::default(), &given, None, &store());
    Storage { data: store(), blob: store(), search: store(), lookup: store(), blobs, index: index_options(&given) }
}

/// Which store keeps a part.
fn choose(spec: &Spec, part: &'static str, name: Option<&str>, report: &mut Report) -> Option<usize> {
    let at = Path::root().field("storage").field(part);
    let names = || spec.store.iter().map(|store| store.name.as_str());
    match (name, spec.store.as_slice()) {
        (Some(name), stores) => {
            let found = stores.iter().position(|store| store.name == name);
            if found.is_none() {
                let says = format!("no store is called `{name}`");
                report.find(Code::UnknownStore, at, says).means(meant(name, names())).help = nearest(name, names());
            }
            found
        }
        (None, []) => {
            if part == "data" {
                let says = format!("no store is written, so RocksDB keeps everything in the folder `{DEFAULT_FOLDER}`");
                report.find(Code::NoStore, Path::root(), says);
            }
            None
        }
        (None, [_]) => Some(0),
        (None, stores) => {
            let asked =
                |name: &str| spec.directory.iter().any(|one| one.sql.as_ref().is_some_and(|sql| sql.store == name));
            let mut others = stores.iter().enumerate().filter(|(_, store)| !asked(&store.name));
            if let (Some((only, _)), None) = (others.next(), others.next()) {
                return Some(only);
            }
            let says = format!("it is not said which store keeps `{part}`");
            let list = names().collect::<Vec<_>>().join("`, `");
            report
                .find(Code::WhichStore, at, says)
                .help(format!("write `storage {{ {part} \"…\" }}`, one of `{list}`"));
            None
        }
    }
}

fn bind(spec: &Spec, part: &'static str, chosen: usize, report: &mut Report) -> Option<Store> {
    let store = spec.store.get(chosen)?;
    let bound = bound(store)?;
    let parts = keeps(&bound);
    if !parts.contains(&part) {
        let says =
            format!("`{part}` cannot lie in `{}`: {} keeps {} alone", store.name, bound.kind(), parts.join(", "));
        report
            .find(Code::CannotKeep, Path::root().field("storage").field(part), says)
            .also(path(chosen), "the store")
            .help(format!("name another store in `storage {{ {part} \"…\" }}`"));
        return None;
    }
    Some(bound)
}

/// What a kind of store can keep.
fn keeps(store: &Store) -> &'static [&'static str] {
    match store {
        Store::S3(_) | Store::Filesystem { .. } => &["blob"],
        Store::Elasticsearch(_) => &["search"],
        Store::Redis(_) => &["lookup"],
        _ => &["data", "blob", "search", "lookup"],
    }
}

/// A store with every default filled in; `None` where no kind is written.
pub fn bound(store: &spec::Store) -> Option<Store> {
    let seconds = |period: Option<Period>, default| period.unwrap_or(Period(default));
    if let Some(path) = &store.rocksdb {
        return Some(Store::Rocksdb { path: path.clone() });
    }
    if store.memory {
        return Some(Store::Memory { name: store.name.clone() });
    }
    if let Some(given) = &store.postgresql {
        return Some(Store::Postgresql(database(given)));
    }
    if let Some(given) = &store.mysql {
        return Some(Store::Mysql(database(given)));
    }
    if let Some(given) = &store.sqlite {
        return Some(Store::Sqlite { path: given.path.clone(), readers: given.readers.unwrap_or(READERS) });
    }
    if let Some(given) = &store.foundationdb {
        return Some(Store::Foundationdb(FoundationDb {
            cluster_file: given.cluster_file.clone(),
            timeout: seconds(given.timeout, 5),
            prefix: given.prefix.clone().unwrap_or_default(),
            machine: given.machine.clone(),
            datacenter: given.datacenter.clone(),
        }));
    }
    if let Some(given) = &store.s3 {
        return Some(Store::S3(S3 {
            bucket: given.bucket.clone(),
            endpoint: given.endpoint.clone(),
            region: given.region.clone().unwrap_or_else(|| REGION.to_owned()),
            access_key: given.access_key.clone(),
            secret_key: given.secret_key.clone(),
            prefix: given.prefix.clone().unwrap_or_default(),
            path_style: given.path_style.unwrap_or(given.endpoint.is_some()),
            timeout: seconds(given.timeout, 30),
            retries: given.retries.unwrap_or(3),
        }));
    }
    if let Some(given) = &store.filesystem {
        return Some(Store::Filesystem { path: given.path.clone(), depth: given.depth.unwrap_or(2) });
    }
    if let Some(given) = &store.elasticsearch {
        return Some(Store::Elasticsearch(Elasticsearch {
            url: given.url.clone(),
            user: given.user.clone(),
            password: given.password.clone(),
            api_key: given.api_key.clone(),
            prefix: given.prefix.clone().unwrap_or_else(|| "waybill".to_owned()),
            shards: given.shards.unwrap_or(3),
            replicas: given.replicas.unwrap_or(1),
            timeout: seconds(given.timeout, 15),
            tls: given.tls.clone(),
        }));
    }
    let given = store.redis.as_ref()?;
    Some(Store::Redis(Redis {
        url: given.url.clone(),
        mode: given.mode.unwrap_or(RedisMode::Single),
        master: given.master.clone(),
        user: given.user.clone(),
        password: given.password.clone(),
        sentinel_password: given.sentinel_password.clone(),
        prefix: given.prefix.clone().unwrap_or_else(|| "waybill:".to_owned()),
        timeout: seconds(given.timeout, 5),
        pool: pool(given.pool.as_ref()),
        tls: given.tls.clone(),
    }))
}

fn database(given: &spec::Database) -> Database {
    Database {
        url: given.url.clone(),
        password: given.password.clone(),
        timeout: given.timeout.unwrap_or(Period(15)),
        prefix: given.prefix.clone().unwrap_or_default(),
        pool: pool(given.pool.as_ref()),
        tls: given.tls.clone(),
    }
}

/// How many connections are kept, with every default filled in.
pub fn pool(given: Option<&spec::Pool>) -> Pool {
    let given = given.cloned().unwrap_or_default();
    Pool {
        most: given.most.unwrap_or(10),
        least: given.least.unwrap_or(1),
        idle: given.idle.unwrap_or(Period(600)),
        lifetime: given.lifetime.unwrap_or(Period(1800)),
    }
}

/// How blobs are written, by the options of the store that keeps them.
fn blob_options(spec: &Spec, given: &spec::Storage, store: Option<usize>, bound: &Store) -> BlobOptions {
    let store = store.and_then(|at| spec.store.get(at));
    // RocksDB compresses what it writes.
    let by_itself = matches!(bound, Store::Rocksdb { .. } | Store::Memory { .. });
    let default = if by_itself { Compression::None } else { Compression::Zstd };
    BlobOptions {
        compression: store.and_then(|store| store.compression).unwrap_or(default),
        encrypt: store.and_then(|store| store.encrypt.clone()),
        grace: given.blob_grace.unwrap_or(Period(3600)),
        inline: given.blob_inline.unwrap_or(Size(0)),
    }
}

fn index_options(given: &spec::Storage) -> IndexOptions {
    let index = given.index.clone().unwrap_or_default();
    IndexOptions {
        languages: index.language,
        attachments: index.attachments.unwrap_or(true),
        most: index.most.unwrap_or(Size(1 << 20)),
    }
}

fn kinds(store: &spec::Store) -> [bool; 10] {
    [
        store.rocksdb.is_some(),
        store.memory,
        store.postgresql.is_some(),
        store.mysql.is_some(),
        store.sqlite.is_some(),
        store.foundationdb.is_some(),
        store.s3.is_some(),
        store.filesystem.is_some(),
        store.elasticsearch.is_some(),
        store.redis.is_some(),
    ]
}

fn folders(spec: &Spec, report: &mut Report) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (at, store) in spec.store.iter().enumerate() {
        let Some(folder) = store.rocksdb.as_deref() else { continue };
        let folder = folder.trim_end_matches('/');
        if folder.is_empty() || folder.contains('\0') || folder.split('/').any(|part| part == "..") {
            let says = format!("`{folder}` is no folder for a store");
            report.find(Code::WrongForm, path(at).field("rocksdb"), says).help("as in `rocksdb \"/var/lib/waybill\"`");
        }
        if let Some(first) = seen.insert(folder, at) {
            report
                .find(Code::SameFolder, path(at).field("rocksdb"), format!("`{folder}` is another store's folder"))
                .also(path(first).field("rocksdb"), "the other store");
        }
    }
}
