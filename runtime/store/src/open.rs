//! From a configuration to open stores; what is open stays open.

use crate::blob::{Blobs, kv::KvBlobs};
use crate::error::{Cause, StoreError};
use crate::kv::KeyValue;
use crate::kv::memory::Memory;
use crate::kv::rocksdb::RocksDb;
use crate::kv::rocksdb::reader::Reader;
use crate::kv::sql;
use crate::lookup::{Clock, Lookups, kv::KvLookups};
use crate::mailbox::Mailboxes;
use crate::search::{Search, kv::KvSearch};
use crate::spool::Spool;
use schema::config::{Storage, Store};
use schema::name::{Secret, SecretRef};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use tokio::sync::Mutex;

/// The stores of one configuration.
#[derive(Clone)]
pub struct Stores {
    /// Ordered keys.
    pub data: Arc<dyn KeyValue>,
    /// Messages.
    pub blobs: Arc<dyn Blobs>,
    /// The full-text index.
    pub search: Arc<dyn Search>,
    /// Counters, facts and leases.
    pub lookups: Arc<dyn Lookups>,
    /// Everybody's mailboxes.
    pub mailboxes: Arc<Mailboxes>,
    /// The queue.
    pub spool: Arc<Spool>,
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

async fn base(ground: &Ground, storage: &Storage, read: bool) -> Result<Base, StoreError> {
    let data = beside(ground, &storage.data, read).await?;
    let blob =
        if storage.blob == storage.data { Arc::clone(&data) } else { beside(ground, &storage.blob, read).await? };
    let blobs: Arc<dyn Blobs> = Arc::new(KvBlobs::new(blob));
    let mailboxes = Arc::new(Mailboxes::new(Arc::clone(&data), Arc::clone(&blobs)));
    Ok(Base { data, blobs, mailboxes })
}

async fn beside(ground: &Ground, store: &Store, read: bool) -> Result<Arc<dyn KeyValue>, StoreError> {
    Ok(match store {
        Store::Rocksdb { path } if read => Arc::new(Reader::open(ground.root.join(path)).await?),
        Store::Rocksdb { path } => Arc::new(RocksDb::open(ground.root.join(path)).await?),
        Store::Memory { .. } => {
            let why = "the data store is the memory of the running server, where no other process can look";
            return Err(StoreError::Misconfigured(Cause::new(why)));
        }
        Store::Postgresql(_) | Store::Mysql(_) | Store::Sqlite { .. } => sql::open(store, ground).await?,
        other => return Err(unserved(other)),
    })
}

/// Opens stores, and knows those that are open: one database is never opened twice.
pub struct Registry {
    ground: Ground,
    open: Mutex<HashMap<Store, Weak<dyn KeyValue>>>,
}

impl Registry {
    /// Nothing is open yet.
    pub fn new(ground: Ground) -> Registry {
        Registry { ground, open: Mutex::default() }
    }

    /// Opens a configuration's stores for a node: the name under which this process works the queue.
    ///
    /// # Errors
    /// [`StoreError`], naming the store.
    pub async fn open(&self, storage: &Storage, node: &str) -> Result<Stores, StoreError> {
        let data = self.database(&storage.data).await?;
        let blobs: Arc<dyn Blobs> = Arc::new(KvBlobs::new(self.database(&storage.blob).await?));
        let search: Arc<dyn Search> = Arc::new(KvSearch::new(self.database(&storage.search).await?));
        let lookup = self.database(&storage.lookup).await?;
        let lookups: Arc<dyn Lookups> = Arc::new(KvLookups::new(lookup, Arc::clone(&self.ground.clock)));
        let mailboxes = Arc::new(Mailboxes::new(Arc::clone(&data), Arc::clone(&blobs)));
        let now = (self.ground.clock)() / 1000;
        let spool = Spool::open(Arc::clone(&data), Arc::clone(&blobs), Arc::clone(&mailboxes), (node, now)).await?;
        Ok(Stores { data, blobs, search, lookups, mailboxes, spool: Arc::new(spool) })
    }

    async fn database(&self, store: &Store) -> Result<Arc<dyn KeyValue>, StoreError> {
        // Held while opening: who comes second waits for the first, and gets the same.
        let mut open = self.open.lock().await;
        if let Some(found) = open.get(store).and_then(Weak::upgrade) {
            return Ok(found);
        }
        let opened: Arc<dyn KeyValue> = match store {
            Store::Rocksdb { path } => Arc::new(RocksDb::open(self.ground.root.join(path)).await?),
            Store::Memory { .. } => Arc::new(Memory::new()),
            Store::Postgresql(_) | Store::Mysql(_) | Store::Sqlite { .. } => sql::open(store, &self.ground).await?,
            other => return Err(unserved(other)),
        };
        open.insert(store.clone(), Arc::downgrade(&opened));
        Ok(opened)
    }
}

/// A store of a kind that keeps something else, or that this build has not.
fn unserved(store: &Store) -> StoreError {
    StoreError::Misconfigured(Cause::new(format!("{} cannot be opened for this", store.kind())))
}
