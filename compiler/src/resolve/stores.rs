//! Which database keeps what.

use super::one_kind;
use crate::code::Code;
use crate::diagnostic::{Path, Report, meant, nearest};
use schema::config::{Storage, Store};
use schema::spec::{self, Spec};
use std::collections::{BTreeSet, HashMap};

/// Where data is kept if the spec says nothing, from its folder.
const DEFAULT_FOLDER: &str = "data";

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
    let (mut used, mut data_in) = (BTreeSet::new(), None);
    let mut bound = Vec::with_capacity(parts.len());
    for (part, name) in parts {
        let chosen = choose(spec, part, name.as_deref(), report);
        used.extend(chosen);
        // A store that is not served and keeps `data` is told of there; what else lies in it comes with that.
        let told = part != "data" && chosen.is_some() && chosen == data_in;
        if part == "data" {
            data_in = chosen;
        }
        bound.push(match chosen {
            Some(chosen) => bind(spec, part, chosen, told, report),
            None if spec.store.is_empty() && name.is_none() => Some(Store::Rocksdb { path: DEFAULT_FOLDER.to_owned() }),
            None => None,
        });
    }
    for (at, store) in spec.store.iter().enumerate().filter(|(at, _)| !used.contains(at)) {
        if spec.store.len() > 1 {
            report
                .find(Code::UnusedStore, path(at), format!("the store `{}` keeps nothing", store.name))
                .help("name it in `storage`, or take it out");
        }
    }
    let [data, blob, search, lookup] = <[Option<Store>; 4]>::try_from(bound).ok()?;
    let data = data?;
    // What this version does not serve has been told; the data store stands in.
    let or_data = |part: Option<Store>| part.unwrap_or_else(|| data.clone());
    let storage = Storage { blob: or_data(blob), search: or_data(search), lookup: or_data(lookup), data: data.clone() };
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
    Storage { data: store(), blob: store(), search: store(), lookup: store() }
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
        (None, _) => {
            let says = format!("it is not said which store keeps `{part}`");
            let list = names().collect::<Vec<_>>().join("`, `");
            report
                .find(Code::WhichStore, at, says)
                .help(format!("write `storage {{ {part} \"…\" }}`, one of `{list}`"));
            None
        }
    }
}

fn bind(spec: &Spec, part: &str, chosen: usize, told: bool, report: &mut Report) -> Option<Store> {
    let store = spec.store.get(chosen)?;
    if let Some(path) = &store.rocksdb {
        return Some(Store::Rocksdb { path: path.clone() });
    }
    if store.memory {
        return Some(Store::Memory { name: store.name.clone() });
    }
    if kinds(store).contains(&true) && !told {
        let says = format!("`{part}` lies in `{}`, which this version does not serve", store.name);
        if part == "data" {
            report.find(Code::DataNotServed, path(chosen), says).help("write `rocksdb \"/var/lib/waybill\"`");
        } else {
            let says = format!("{says}; the store of `data` keeps it meanwhile");
            report.find(Code::StoreNotServed, path(chosen), says);
        }
    }
    None
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
