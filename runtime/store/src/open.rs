//! From a configuration to open stores; what is open stays open.

use crate::blob::filesystem::Filesystem;
use crate::blob::kv::KvBlobs;
use crate::blob::packed::Packing;
use crate::blob::s3::S3Blobs;
use crate::blob::shelves::{Shelf, Shelves};
use crate::blob::{BlobId, Blobs};
use crate::directory::router::{self, Router};
use crate::error::{Cause, StoreError};
use crate::kv::KeyValue;
use crate::kv::memory::Memory;
use crate::kv::rocksdb::RocksDb;
use crate::kv::rocksdb::reader::Reader;
use crate::kv::sql;
use crate::kv::swap::{Swap, Way};
use crate::lookup::redis::RedisLookups;
use crate::lookup::{Clock, Lookups, kv::KvLookups};
use crate::mailbox::Mailboxes;
use crate::migrate::{self, Side};
use crate::search::analyse::Analyser;
use crate::search::indexer::Indexer;
use crate::search::{Search, elastic::Elastic, kv::KvSearch};
use crate::spool::Spool;
use async_trait::async_trait;
use bytes::Bytes;
use schema::config::{BlobOptions, FoundationDb, RuntimeConfig, Storage, Store};
use schema::name::{Secret, SecretRef};
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use tokio::sync::Mutex;
use witness::{Open, Witness};

pub(crate) mod seal;
pub mod witness;

/// The stores of one configuration.
#[derive(Clone)]
pub struct Stores {
    /// Ordered keys.
    pub data: Arc<dyn KeyValue>,
    /// Messages.
    pub blobs: Arc<Shelves>,
    /// The full-text index.
    pub search: Arc<dyn Search>,
    /// What has it follow the mailboxes.
    pub indexer: Arc<Indexer>,
    /// Counters, facts and leases.
    pub lookups: Arc<dyn Lookups>,
    /// Everybody's mailboxes.
    pub mailboxes: Arc<Mailboxes>,
    /// The queue.
    pub spool: Arc<Spool>,
    /// The secrets that messages are packed with, and that the index was reached by.
    packed_with: Witness,
    searched_with: Witness,
}

/// Opens a reference to a secret: what it holds, or why it cannot be had, in words that hold none of it.
pub type Reveal = Arc<dyn Fn(&SecretRef) -> Result<Secret, String> + Send + Sync>;

/// What opening a store needs beside its configuration.
#[derive(Clone)]
pub struct Ground {
    /// Where relative paths start.
    pub root: PathBuf,
    /// For what lives only a while.
    pub clock: Clock,
    /// For passwords and keys.
    pub reveal: Reveal,
}

impl Ground {
    /// A secret, where one is named.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`], without the secret.
    pub fn secret(&self, reference: Option<&SecretRef>) -> Result<Option<Secret>, StoreError> {
        let revealed = reference.map(|reference| (self.reveal)(reference)).transpose();
        revealed.map_err(|why| StoreError::Misconfigured(Cause::new(why)))
    }
}

/// What an error says of a database that only one process can have open, and another has.
pub const TAKEN: &str = "another process has this database open";

/// Mail beside the queue: what commands other than `serve` open. No part of the queue is taken.
#[derive(Clone)]
pub struct Base {
    /// Ordered keys.
    pub data: Arc<dyn KeyValue>,
    /// Messages.
    pub blobs: Arc<dyn Blobs>,
    /// Everybody's mailboxes.
    pub mailboxes: Arc<Mailboxes>,
}

/// Everybody's mail, to look into while a server may have it open; nothing is to be changed. A RocksDB shows what was
/// written when it was opened, others what is there now.
///
/// # Errors
/// [`StoreError`], naming the store.
pub async fn to_read(ground: &Ground, storage: &Storage) -> Result<Base, StoreError> {
    base(ground, storage, true).await
}

/// Everybody's mail, to change it beside `serve`, where the store lets two processes.
///
/// # Errors
/// [`StoreError`], naming the store; [`StoreError::Misconfigured`] for a RocksDB that a server has open.
pub async fn to_write(ground: &Ground, storage: &Storage) -> Result<Base, StoreError> {
    base(ground, storage, false).await
}

/// The full-text index, and how far it is.
pub struct Index {
    /// The index.
    pub search: Arc<dyn Search>,
    /// Has it follow the mailboxes.
    pub indexer: Indexer,
}

/// The full-text index beside [`to_read`] or [`to_write`]. `None` where it cannot be compared with the mailboxes: it is in
/// another process's memory, or it would show another moment than they, since a RocksDB is read as it was when opened.
///
/// # Errors
/// [`StoreError`], naming the store.
pub async fn index(ground: &Ground, storage: &Storage, base: &Base, read: bool) -> Result<Option<Index>, StoreError> {
    let is_rocksdb = |store: &Store| matches!(store, Store::Rocksdb { .. });
    let analyser = Analyser::new(&storage.index.languages);
    let search: Arc<dyn Search> = match &storage.search {
        store if *store == storage.data => {
            Arc::new(KvSearch::new(Arc::clone(&base.data), analyser, Arc::clone(&ground.clock)))
        }
        Store::Memory { .. } => return Ok(None),
        store if read && (is_rocksdb(store) || is_rocksdb(&storage.data)) => return Ok(None),
        Store::Elasticsearch(config) => Arc::new(Elastic::open(config, ground, analyser)?),
        store => Arc::new(KvSearch::new(beside(ground, store, read).await?, analyser, Arc::clone(&ground.clock))),
    };
    let follows = (Arc::clone(&base.data), Arc::clone(&base.mailboxes), Arc::clone(&search));
    Ok(Some(Index { search, indexer: indexer(follows, storage) }))
}

/// The database of the lookups beside [`to_read`] or [`to_write`]; `None` where they are in a cache, or in another process's
/// memory.
///
/// # Errors
/// [`StoreError`], naming the store.
pub async fn lookups(
    ground: &Ground,
    storage: &Storage,
    base: &Base,
    read: bool,
) -> Result<Option<Arc<dyn KeyValue>>, StoreError> {
    match &storage.lookup {
        store if *store == storage.data => Ok(Some(Arc::clone(&base.data))),
        Store::Memory { .. } | Store::Redis(_) => Ok(None),
        store => beside(ground, store, read).await.map(Some),
    }
}

fn indexer(follows: (Arc<dyn KeyValue>, Arc<Mailboxes>, Arc<dyn Search>), storage: &Storage) -> Indexer {
    let made_by = format!("{} {} {:?}", storage.search.kind(), storage.search.place(), storage.index);
    Indexer::new(follows, storage.index.clone(), &made_by)
}

async fn base(ground: &Ground, storage: &Storage, read: bool) -> Result<Base, StoreError> {
    let data = beside(ground, &storage.data, read).await?;
    if !read {
        migrate::check(&*data, &storage.blob.rooted(&ground.root)).await?;
    }
    let packing = packing(ground, &storage.blobs);
    let far: Option<Arc<dyn Blobs>> = match (&storage.blob, packing.clone()) {
        (store, _) if *store == storage.data => None,
        (store, Ok(packing)) => Some(match blobs_beside(ground, store, packing, read).await {
            Ok(open) => open,
            // Where the store of blobs cannot be opened, the mailboxes can be, and reading a message says why not.
            Err(error) if read => Arc::new(Shut(error)),
            Err(error) => return Err(error),
        }),
        (_, Err(error)) => Some(Arc::new(Shut(error))),
    };
    // Without the key, what is not encrypted can still be read.
    let packing = if read { packing.unwrap_or_default() } else { packing? };
    seal::check(&*data, &packing, read).await?;
    let blobs = Arc::new(Shelves::new(shelf(KvBlobs::new(Arc::clone(&data), packing), far, storage)));
    let mailboxes = Arc::new(Mailboxes::new(Arc::clone(&data), Arc::clone(&blobs)));
    Ok(Base { data, blobs, mailboxes })
}

async fn beside(ground: &Ground, store: &Store, read: bool) -> Result<Arc<dyn KeyValue>, StoreError> {
    match store {
        Store::Rocksdb { path } if read => Ok(Arc::new(Reader::open(ground.root.join(path)).await?)),
        Store::Rocksdb { path } => Ok(Arc::new(RocksDb::open(ground.root.join(path)).await?)),
        Store::Memory { .. } => {
            let why = "the data store is the memory of the running server, where no other process can look";
            Err(StoreError::Misconfigured(Cause::new(why)))
        }
        Store::Postgresql(_) | Store::Mysql(_) | Store::Sqlite { .. } => sql::open(store, ground).await,
        Store::Foundationdb(database) => foundationdb(database, ground).await,
        other => Err(unserved(other)),
    }
}

async fn blobs_beside(
    ground: &Ground,
    store: &Store,
    packing: Packing,
    read: bool,
) -> Result<Arc<dyn Blobs>, StoreError> {
    Ok(match store {
        Store::Filesystem { path, depth } if read => {
            Arc::new(Filesystem::to_read(ground.root.join(path), *depth, packing))
        }
        Store::Filesystem { path, depth } => Arc::new(Filesystem::open(ground.root.join(path), *depth, packing).await?),
        Store::S3(s3) => Arc::new(S3Blobs::new(s3, ground, packing)?),
        other => Arc::new(KvBlobs::new(beside(ground, other, read).await?, packing)),
    })
}

fn packing(ground: &Ground, options: &BlobOptions) -> Result<Packing, StoreError> {
    Packing::new(options.compression, ground.secret(options.encrypt.as_ref())?.as_ref())
}

fn shelf(near: KvBlobs, far: Option<Arc<dyn Blobs>>, storage: &Storage) -> Shelf {
    let grace = i64::try_from(storage.blobs.grace.0).unwrap_or(i64::MAX / 2);
    Shelf::new(near, far, (storage.blobs.inline.0, grace))
}

/// Blobs that cannot be reached, and why.
struct Shut(StoreError);

#[async_trait]
impl Blobs for Shut {
    async fn put(&self, _: Bytes) -> Result<BlobId, StoreError> {
        Err(self.0.clone())
    }
    async fn get(&self, _: BlobId, _: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        Err(self.0.clone())
    }
    async fn size(&self, _: BlobId) -> Result<Option<u64>, StoreError> {
        Err(self.0.clone())
    }
    async fn remove(&self, _: BlobId) -> Result<(), StoreError> {
        Err(self.0.clone())
    }
    async fn list(&self, _: Option<BlobId>, _: usize) -> Result<Vec<BlobId>, StoreError> {
        Err(self.0.clone())
    }
}

/// What a configuration puts in the place of open stores from the moment on at which it holds.
#[derive(Default)]
pub struct Swaps {
    databases: Vec<(Arc<Swap>, Way, Arc<dyn KeyValue>)>,
    shelves: Option<(Arc<Shelves>, Shelf)>,
}

impl Swaps {
    /// Does it. Cannot fail.
    pub fn make(self) {
        for (swap, way, next) in self.databases {
            swap.swap(way, next);
        }
        if let Some((shelves, next)) = self.shelves {
            shelves.swap(next);
        }
    }
}

/// Why stores that are in use cannot become those of another configuration.
#[derive(Debug)]
pub enum Unready {
    /// It takes a restart: what changed, in words.
    Restart(&'static str),
    /// One of the new stores cannot be opened.
    Store(StoreError),
}

impl From<StoreError> for Unready {
    fn from(error: StoreError) -> Unready {
        Unready::Store(error)
    }
}

/// An open database.
#[derive(Clone)]
enum Opened {
    /// One that is reached in one way only.
    Fixed(Weak<dyn KeyValue>),
    /// One whose settings may change.
    Swap(Weak<Swap>),
}

/// Opens stores, and knows those that are open: one database is never opened twice.
pub struct Registry {
    ground: Ground,
    open: Mutex<HashMap<String, Opened>>,
    caches: Open<Store, RedisLookups>,
    directories: router::Open,
    blobs: Open<(Store, BlobOptions), dyn Blobs>,
}

impl Registry {
    /// Nothing is open yet.
    pub fn new(ground: Ground) -> Registry {
        Registry {
            ground,
            open: Mutex::default(),
            blobs: Open::default(),
            caches: Open::default(),
            directories: Open::default(),
        }
    }

    /// Opens a configuration's stores for a node: the name under which this process works the queue.
    ///
    /// # Errors
    /// [`StoreError`], naming the store.
    pub async fn open(&self, storage: &Storage, node: &str) -> Result<Stores, StoreError> {
        let data = self.database(&storage.data).await?;
        migrate::check(&*data, &storage.blob.rooted(&self.ground.root)).await?;
        let (shelf, packed_with) = self.shelf(&data, storage).await?;
        let blobs = Arc::new(Shelves::new(shelf));
        let lookups = self.lookups(&storage.lookup).await?;
        let mailboxes = Arc::new(Mailboxes::new(Arc::clone(&data), Arc::clone(&blobs)));
        let (search, indexer, searched_with) = self.search((&data, &mailboxes), storage).await?;
        let now = (self.ground.clock)() / 1000;
        let spool = Spool::open(Arc::clone(&data), blobs.clone(), Arc::clone(&mailboxes), (node, now)).await?;
        let spool = Arc::new(spool);
        Ok(Stores { data, blobs, search, indexer, lookups, mailboxes, spool, packed_with, searched_with })
    }

    /// The stores of another configuration, in place of open ones. What is kept stays where it is: those that hold it are
    /// only reached in another way, once the [`Swaps`] are made. Nothing has changed where it fails.
    ///
    /// # Errors
    /// [`Unready`].
    pub async fn again(&self, now: &Stores, old: &Storage, new: &Storage) -> Result<(Stores, Swaps), Unready> {
        if old.data.identity() != new.data.identity() {
            return Err(Unready::Restart("the store of data"));
        }
        let apart = old.blob.identity() != old.data.identity();
        if apart && old.blob.identity() != new.blob.identity() {
            return Err(Unready::Restart("the store of blobs"));
        }
        let is_key_another = old.blobs.encrypt != new.blobs.encrypt || !now.packed_with.holds(&self.ground);
        if old.blobs.encrypt.is_some() && is_key_another {
            return Err(Unready::Restart("the key that blobs are encrypted with"));
        }
        let mut swaps = Swaps::default();
        for store in [&new.data, &new.blob, &new.search, &new.lookup] {
            let swap = match self.open.lock().await.get(&store.identity()) {
                Some(Opened::Swap(swap)) => swap.upgrade(),
                Some(Opened::Fixed(known)) if known.strong_count() > 0 => {
                    let before = [&old.data, &old.blob, &old.search, &old.lookup];
                    if before.contains(&store) {
                        None
                    } else {
                        return Err(Unready::Restart("how a store is reached that can be opened in one way only"));
                    }
                }
                _ => None,
            };
            if let Some(swap) = swap.filter(|swap| !swap.is_by(store, &self.ground))
                && !swaps.databases.iter().any(|(known, ..)| Arc::ptr_eq(known, &swap))
            {
                let (ground, witness) = Witness::over(&self.ground);
                let next = sql::open(store, &ground).await?;
                swaps.databases.push((swap, (store.clone(), witness), next));
            }
        }
        let mut stores = now.clone();
        let (shelf, packed_with) = self.shelf(&now.data, new).await?;
        swaps.shelves = Some((Arc::clone(&now.blobs), shelf));
        stores.packed_with = packed_with;
        if (&old.search, &old.index) != (&new.search, &new.index) || !now.searched_with.holds(&self.ground) {
            if let Store::Elasticsearch(config) = &new.search {
                Elastic::open(config, &self.ground, Analyser::default())?.probe().await?;
            }
            (stores.search, stores.indexer, stores.searched_with) =
                self.search((&now.data, &now.mailboxes), new).await?;
        }
        // A database knows its own secrets; Redis is the same one where its are what they were.
        if old.lookup != new.lookup || matches!(new.lookup, Store::Redis(_)) {
            stores.lookups = self.lookups(&new.lookup).await?;
        }
        Ok((stores, swaps))
    }

    /// The full-text index, and what has it follow the mailboxes.
    async fn search(
        &self,
        (data, mailboxes): (&Arc<dyn KeyValue>, &Arc<Mailboxes>),
        storage: &Storage,
    ) -> Result<(Arc<dyn Search>, Arc<Indexer>, Witness), StoreError> {
        let (ground, witness) = Witness::over(&self.ground);
        let analyser = Analyser::new(&storage.index.languages);
        let search: Arc<dyn Search> = match &storage.search {
            Store::Elasticsearch(config) => Arc::new(Elastic::open(config, &ground, analyser)?),
            other => {
                let clock = Arc::clone(&self.ground.clock);
                Arc::new(KvSearch::new(self.database(other).await?, analyser, clock))
            }
        };
        let follows = (Arc::clone(data), Arc::clone(mailboxes), Arc::clone(&search));
        Ok((search, Arc::new(indexer(follows, storage)), witness))
    }

    /// Opens a configuration's databases to move what is in them. Those that are `looked` into may be open elsewhere: of
    /// them a RocksDB is opened to be read only, and shows what it holds now; it is opened anew by each call.
    ///
    /// # Errors
    /// [`StoreError`], naming the store.
    pub async fn side(&self, storage: &Storage, looked: &[&Store]) -> Result<Side, StoreError> {
        let mut readers: Vec<(&Store, Arc<dyn KeyValue>)> = Vec::new();
        let mut keys = Vec::new();
        for store in [&storage.data, &storage.blob, &storage.lookup] {
            keys.push(match store {
                Store::Filesystem { .. } | Store::S3(_) | Store::Redis(_) => None,
                Store::Memory { .. } if looked.contains(&store) => Some(beside(&self.ground, store, true).await?),
                Store::Rocksdb { .. } if looked.contains(&store) => {
                    let open = readers.iter().find(|(known, _)| *known == store).map(|(_, open)| Arc::clone(open));
                    let open = match open {
                        Some(open) => open,
                        None => beside(&self.ground, store, true).await?,
                    };
                    readers.push((store, Arc::clone(&open)));
                    Some(open)
                }
                database => Some(self.database(database).await?),
            });
        }
        let mut keys = keys.into_iter();
        let data = keys.next().flatten().ok_or_else(|| unserved(&storage.data))?;
        let (apart, lookup) = (keys.next().flatten(), keys.next().flatten());
        let packing = packing(&self.ground, &storage.blobs)?;
        let far: Option<Arc<dyn Blobs>> = match (&storage.blob, apart) {
            (store, _) if *store == storage.data => None,
            (_, Some(keys)) => Some(Arc::new(KvBlobs::new(keys, packing.clone()))),
            (store, None) if looked.contains(&store) => {
                Some(blobs_beside(&self.ground, store, packing.clone(), true).await?)
            }
            (store, None) => Some(self.blobs_apart(store, &storage.blobs, packing.clone()).await?),
        };
        let near = || KvBlobs::new(Arc::clone(&data), packing.clone());
        let blobs = Arc::new(Shelves::new(shelf(near(), far.clone(), storage)));
        Ok(Side { near: Arc::new(near()), far, data, blobs, lookup, key: packing.print() })
    }

    /// What another has open is open here too: one database is never opened twice.
    pub async fn join(&self, other: &Registry) {
        let open = other.open.lock().await.clone();
        self.open.lock().await.extend(open);
    }

    async fn lookups(&self, store: &Store) -> Result<Arc<dyn Lookups>, StoreError> {
        let Store::Redis(redis) = store else {
            let clock = Arc::clone(&self.ground.clock);
            return Ok(Arc::new(KvLookups::new(self.database(store).await?, clock)));
        };
        let open = async |ground: Ground| Ok(Arc::new(RedisLookups::open(redis, &ground).await?));
        Ok(self.caches.or(store.clone(), &self.ground, open).await?)
    }

    /// Opens a configuration's directories; those that are open stay open.
    ///
    /// # Errors
    /// [`StoreError`], naming the directory.
    pub async fn directories(&self, config: &Arc<RuntimeConfig>) -> Result<Router, StoreError> {
        let data = self.database(&config.storage.data).await?;
        Router::open(config, data, (&self.ground, &self.directories)).await
    }

    /// Blobs beside the data and, where another store is to keep them, in that; and the secrets that they are packed with.
    async fn shelf(&self, data: &Arc<dyn KeyValue>, storage: &Storage) -> Result<(Shelf, Witness), StoreError> {
        let (ground, witness) = Witness::over(&self.ground);
        let packing = packing(&ground, &storage.blobs)?;
        seal::check(&**data, &packing, false).await?;
        let near = KvBlobs::new(Arc::clone(data), packing.clone());
        let far = match &storage.blob {
            store if *store == storage.data => None,
            store => Some(self.blobs_apart(store, &storage.blobs, packing).await?),
        };
        Ok((shelf(near, far, storage), witness))
    }

    async fn blobs_apart(
        &self,
        store: &Store,
        options: &BlobOptions,
        packing: Packing,
    ) -> Result<Arc<dyn Blobs>, StoreError> {
        let open = async |ground: Ground| -> Result<Arc<dyn Blobs>, StoreError> {
            let opened: Arc<dyn Blobs> = match store {
                Store::Filesystem { path, depth } => {
                    Arc::new(Filesystem::open(ground.root.join(path), *depth, packing).await?)
                }
                Store::S3(s3) => {
                    let bucket = S3Blobs::new(s3, &ground, packing)?;
                    bucket.probe().await?;
                    Arc::new(bucket)
                }
                other => Arc::new(KvBlobs::new(self.database(other).await?, packing)),
            };
            Ok(opened)
        };
        self.blobs.or((store.clone(), options.clone()), &self.ground, open).await
    }

    async fn database(&self, store: &Store) -> Result<Arc<dyn KeyValue>, StoreError> {
        // Held while opening: who comes second waits for the first, and gets the same.
        let mut open = self.open.lock().await;
        let found = open.get(&store.identity()).and_then(|known| match known {
            Opened::Fixed(found) => found.upgrade(),
            // Where its settings are others, they are about to be those of `store`.
            Opened::Swap(found) => found.upgrade().map(|found| found as Arc<dyn KeyValue>),
        });
        if let Some(found) = found {
            return Ok(found);
        }
        let opened: Arc<dyn KeyValue> = match store {
            Store::Rocksdb { path } => Arc::new(RocksDb::open(self.ground.root.join(path)).await?),
            Store::Memory { .. } => Arc::new(Memory::new()),
            Store::Postgresql(_) | Store::Mysql(_) | Store::Sqlite { .. } => {
                let (ground, witness) = Witness::over(&self.ground);
                let opened = sql::open(store, &ground).await?;
                let swap = Arc::new(Swap::new((store.clone(), witness), opened));
                open.insert(store.identity(), Opened::Swap(Arc::downgrade(&swap)));
                return Ok(swap);
            }
            Store::Foundationdb(database) => foundationdb(database, &self.ground).await?,
            other => return Err(unserved(other)),
        };
        open.insert(store.identity(), Opened::Fixed(Arc::downgrade(&opened)));
        Ok(opened)
    }
}

#[cfg(feature = "foundationdb")]
async fn foundationdb(database: &FoundationDb, ground: &Ground) -> Result<Arc<dyn KeyValue>, StoreError> {
    crate::kv::foundationdb::open(database, ground).await
}

#[cfg(not(feature = "foundationdb"))]
async fn foundationdb(_: &FoundationDb, _: &Ground) -> Result<Arc<dyn KeyValue>, StoreError> {
    let says = "this waybilld was built without FoundationDB: build it with `--features foundationdb`";
    Err(StoreError::Misconfigured(Cause::new(says)))
}

/// A store of a kind that keeps something else.
fn unserved(store: &Store) -> StoreError {
    StoreError::Misconfigured(Cause::new(format!("{} cannot be opened for this", store.kind())))
}
