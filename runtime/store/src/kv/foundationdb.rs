//! Keys in FoundationDB.
//!
//! Every key stands behind the configured prefix. Keys that begin with 0 are the store's own: [`VERSION`], and those
//! of [`Surely`](super::surely::Surely).
//!
//! # What is promised, and how
//! A batch is one transaction. What it asserts is read in it, so that the database itself refuses it where another
//! changed that meanwhile; then the asserts are judged again by what is stored now, and the batch is refused only
//! where they do not hold. Batches of one process go side by side. A lazy batch is as durable as any.
//!
//! Where the database cannot say whether a transaction was committed, the answer is [`CommitError::Unknown`]; it is
//! [`Surely`](super::surely::Surely) that finds out, and [`open`] returns the database behind it.
//!
//! A transaction lives for five seconds. A read that takes longer goes on in another from where it was, so that what
//! [`KeyValue::scan`] returns need not be of one moment.

use super::surely::Surely;
use super::watches::WATCH_MOST;
use super::{Assert, Batch, Key, KeyRange, KeyValue, PAGE_MOST, PREFIX_MOST, Page, Write};
use crate::error::{Cause, CommitError, StoreError};
use crate::open::Ground;
use async_trait::async_trait;
use bytes::Bytes;
use foundationdb::options::{ConflictRangeType, DatabaseOption, StreamingMode};
use foundationdb::{Database, FdbError, KeySelector, RangeOption, Transaction};
use futures_util::future::try_join_all;
use network::boot;
use schema::config::FoundationDb as Config;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

mod network;

/// The key of the layout's version: [`LAYOUT`] as decimal digits.
const VERSION: &[u8] = b"\0v";
/// The version of the layout that this program writes.
const LAYOUT: &[u8] = b"1";
/// Keys read by one transaction; they are of one moment.
const KEYS_AT_ONCE: usize = 1000;
/// Octets of one answer to a scan.
const PAGE_OCTETS: usize = 512 << 10;
/// Keys watched at once; others are looked at after [`POLL`].
const WATCHES_MOST: usize = 5_000;
/// How soon somebody who watches looks by himself, where there are too many watches.
const POLL: Duration = Duration::from_millis(250);

/// An open database.
pub struct FoundationDb {
    database: Database,
    name: String,
    prefix: Vec<u8>,
    patience: Duration,
    watching: Semaphore,
}

/// Opens a database whose commits are known to have happened or not.
///
/// # Errors
/// [`StoreError::Misconfigured`] where waiting would not help, [`StoreError::Unavailable`] where it may.
pub async fn open(config: &Config, ground: &Ground) -> Result<Arc<dyn KeyValue>, StoreError> {
    let database = Arc::new(FoundationDb::open(config, ground).await?);
    Ok(Arc::new(Surely::open(database, Arc::clone(&ground.clock)).await?))
}

impl FoundationDb {
    /// Connects. The first one in a process starts the client library, which ends with the process.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] where waiting would not help, [`StoreError::Unavailable`] where it may.
    pub async fn open(config: &Config, ground: &Ground) -> Result<FoundationDb, StoreError> {
        let path = ground.root.join(&config.cluster_file);
        let name = format!("FoundationDB by {}", path.display());
        let wrong = |says: &str| StoreError::Misconfigured(Cause::new(format!("{name}: {says}")));
        if config.prefix.len() > PREFIX_MOST {
            return Err(wrong(&format!("`prefix` is at most {PREFIX_MOST} octets")));
        }
        if let Err(error) = std::fs::File::open(&path) {
            return Err(wrong(&error.to_string()));
        }
        let file = path.to_str().filter(|path| !path.contains('\0'));
        let file = file.ok_or_else(|| wrong("the path is no text"))?;
        boot().map_err(|says| wrong(&says))?;
        let database = Database::from_path(file).map_err(|error| wrong(&said(error)))?;
        let options = [
            config.machine.clone().map(DatabaseOption::MachineId),
            config.datacenter.clone().map(DatabaseOption::DatacenterId),
            // One for each that may be outstanding, and those that end at this moment.
            i32::try_from(2 * WATCHES_MOST).ok().map(DatabaseOption::MaxWatches),
        ];
        for option in options.into_iter().flatten() {
            database.set_option(option).map_err(|error| wrong(&said(error)))?;
        }
        let prefix = config.prefix.clone().into_bytes();
        let store = FoundationDb {
            database,
            name,
            prefix,
            patience: Duration::from_secs(config.timeout.0.max(1)),
            watching: Semaphore::new(WATCHES_MOST),
        };
        store.prepare().await?;
        Ok(store)
    }

    /// Sees to it that the layout is one that we know.
    async fn prepare(&self) -> Result<(), StoreError> {
        let key = [Key::from(VERSION)];
        if self.get(&key).await? == [None] {
            let mut batch = Batch::new();
            batch.assert(VERSION, None).put(VERSION, LAYOUT);
            match self.commit(batch).await {
                // Whoever was first: it is read below.
                Ok(()) | Err(CommitError::Conflict | CommitError::Unknown) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        let found = self.get(&key).await?.pop().flatten().unwrap_or_default();
        if found != LAYOUT {
            let says = format!("{}: what is stored has version {}", self.name, found.escape_ascii());
            return Err(StoreError::Misconfigured(Cause::new(format!("{says}, and this program knows 1"))));
        }
        Ok(())
    }

    fn key(&self, key: &Key) -> Vec<u8> {
        [&self.prefix[..], &key.0].concat()
    }

    fn late(&self) -> StoreError {
        let says = format!("{} does not answer within {} s", self.name, self.patience.as_secs());
        StoreError::Unavailable(Cause::new(says))
    }

    /// What an error means that is not to be tried again.
    /// <https://apple.github.io/foundationdb/api-error-codes.html>
    fn meaning(&self, error: FdbError) -> StoreError {
        let cause = Cause::new(format!("{}: {}", self.name, said(error)));
        match error.code() {
            // client_invalid_operation and its like, files and protocols that do not fit, permission_denied
            1512..=1515 | 2000..=2299 | 6000..=6001 => StoreError::Misconfigured(cause),
            _ => StoreError::Unavailable(cause),
        }
    }

    /// Begins a transaction.
    fn begin(&self) -> Result<Transaction, StoreError> {
        self.database.create_trx().map_err(|error| self.meaning(error))
    }

    /// Waits as the database wants it before the transaction is begun anew.
    async fn again(&self, transaction: Transaction, error: FdbError) -> Result<Transaction, StoreError> {
        transaction.on_error(error).await.map_err(|error| self.meaning(error))
    }

    async fn get_some(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut transaction = self.begin()?;
        loop {
            let read = keys.iter().map(|key| transaction.get(&self.key(key), true));
            match try_join_all(read).await {
                Ok(values) => {
                    let own = |value: Option<_>| value.as_deref().map(Bytes::copy_from_slice);
                    return Ok(values.into_iter().map(own).collect());
                }
                Err(error) => transaction = self.again(transaction, error).await?,
            }
        }
    }

    async fn scan_all(&self, keys: &KeyRange, most: usize, backwards: bool) -> Result<Vec<(Key, Bytes)>, StoreError> {
        let (mut from, mut to) = (self.key(&keys.from), self.key(&keys.to));
        let mut found: Vec<(Key, Bytes)> = Vec::new();
        let mut transaction = self.begin()?;
        loop {
            let range = RangeOption {
                begin: KeySelector::first_greater_or_equal(&from[..]),
                end: KeySelector::first_greater_or_equal(&to[..]),
                limit: Some(most - found.len()),
                target_bytes: PAGE_OCTETS,
                mode: StreamingMode::WantAll,
                reverse: backwards,
                ..RangeOption::default()
            };
            let page = match transaction.get_range(&range, 1, true).await {
                Ok(page) => page,
                // A new transaction goes on where this one was.
                Err(error) => {
                    transaction = self.again(transaction, error).await?;
                    continue;
                }
            };
            for entry in page.iter() {
                let key = entry.key().get(self.prefix.len()..).unwrap_or_default();
                found.push((Key::from(key), Bytes::copy_from_slice(entry.value())));
            }
            match page.last() {
                Some(last) if page.more() && found.len() < most => match backwards {
                    true => to = last.key().to_vec(),
                    false => from = [last.key(), &[0]].concat(),
                },
                _ => return Ok(found),
            }
        }
    }

    /// Tries until the batch has happened or is refused. `underway` says whether it may have happened meanwhile.
    async fn write(&self, batch: &Batch, underway: &AtomicBool) -> Result<(), CommitError> {
        let mut transaction = self.begin()?;
        loop {
            let error = match self.holds(batch, &transaction).await {
                Ok(true) => None,
                Ok(false) => return Err(CommitError::Conflict),
                Err(error) => Some(error),
            };
            if let Some(error) = error {
                transaction = self.again(transaction, error).await?;
                continue;
            }
            for write in &batch.writes {
                match write {
                    Write::Put(key, value) => transaction.set(&self.key(key), value),
                    Write::Remove(key) => transaction.clear(&self.key(key)),
                    Write::Clear(range) if range.from < range.to => {
                        transaction.clear_range(&self.key(&range.from), &self.key(&range.to));
                    }
                    Write::Clear(_) => {}
                }
            }
            underway.store(true, Ordering::Relaxed);
            let Err(failed) = transaction.commit().await else { return Ok(()) };
            let unknown = failed.is_maybe_committed();
            underway.store(unknown, Ordering::Relaxed);
            // Waits as the database wants it, after which the transaction is not under way any more.
            transaction = match failed.on_error().await {
                _ if unknown => return Err(CommitError::Unknown),
                Ok(transaction) => transaction,
                Err(error) => return Err(self.meaning(error).into()),
            };
        }
    }

    /// Whether what the batch asserts is so. What is read is guarded until the commit.
    async fn holds(&self, batch: &Batch, transaction: &Transaction) -> Result<bool, FdbError> {
        for asserts in batch.asserts.chunks(KEYS_AT_ONCE) {
            let read = asserts.iter().map(async |assert| match assert {
                Assert::Is(key, value) => {
                    let found = transaction.get(&self.key(key), false).await?;
                    Ok::<bool, FdbError>(found.as_deref() == value.as_deref())
                }
                Assert::Empty(range) if range.from >= range.to => Ok(true),
                Assert::Empty(range) => {
                    let (from, to) = (self.key(&range.from), self.key(&range.to));
                    let one = RangeOption { limit: Some(1), ..RangeOption::from((&from[..], &to[..])) };
                    let found = transaction.get_range(&one, 1, false).await?;
                    // All of it, whatever of it was read.
                    transaction.add_conflict_range(&from, &to, ConflictRangeType::Read)?;
                    Ok(found.is_empty())
                }
            });
            if try_join_all(read).await?.contains(&false) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[async_trait]
impl KeyValue for FoundationDb {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            values.extend(timeout(self.patience, self.get_some(keys)).await.map_err(|_| self.late())??);
        }
        Ok(values)
    }

    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        let most = page.most.min(PAGE_MOST);
        if keys.from >= keys.to || most == 0 {
            return Ok(Vec::new());
        }
        timeout(self.patience, self.scan_all(&keys, most, page.backwards)).await.map_err(|_| self.late())?
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        batch.measured()?;
        let underway = AtomicBool::new(false);
        match timeout(self.patience, self.write(&batch, &underway)).await {
            Ok(written) => written,
            Err(_) if underway.load(Ordering::Relaxed) => Err(CommitError::Unknown),
            Err(_) => Err(self.late().into()),
        }
    }

    async fn watch(&self, key: &Key) -> Result<(), StoreError> {
        let Ok(_room) = self.watching.try_acquire() else {
            sleep(POLL).await;
            return Ok(());
        };
        let transaction = self.begin()?;
        let changed = transaction.watch(&self.key(key));
        // A watch that fails is a hint like any other; the read that follows says what is wrong.
        let _ = timeout(WATCH_MOST, async {
            if transaction.commit().await.is_err() || changed.await.is_err() {
                sleep(POLL).await;
            }
        })
        .await;
        Ok(())
    }
}

fn said(error: FdbError) -> String {
    format!("{} ({})", error.message(), error.code())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]
    use super::*;
    use crate::conformance;
    use std::time::{SystemTime, UNIX_EPOCH};

    /// A database under a prefix of the test's own, where the environment names a cluster.
    async fn opened() -> Option<Arc<dyn KeyValue>> {
        let Ok(cluster_file) = std::env::var("FDB_CLUSTER_FILE") else {
            eprintln!("FDB_CLUSTER_FILE is not set: no FoundationDB to test");
            return None;
        };
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let prefix = format!("test-{}/", now().as_nanos());
        let timeout = schema::unit::Period(5);
        let config = Config { cluster_file, timeout, prefix, machine: None, datacenter: None };
        let clock: crate::lookup::Clock = Arc::new(move || i64::try_from(now().as_millis()).unwrap());
        let ground = Ground { root: "/".into(), clock, reveal: Arc::new(|_| Err("none".to_owned())) };
        Some(open(&config, &ground).await.unwrap())
    }

    async fn clean(store: &dyn KeyValue) {
        let mut batch = Batch::new();
        batch.clear(KeyRange { from: Key::from(""), to: Key::from([0xFF]) });
        store.commit(batch).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn foundationdb_keeps_the_contract() {
        let Some(store) = opened().await else { return };
        conformance::suite(conformance::KEY_VALUE, store.clone()).await;
        clean(&*store).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whatever_lies_in_foundationdb_keeps_its_contract() {
        let Some(data) = opened().await else { return };
        let packing = crate::blob::packed::Packing::default();
        let blobs = Arc::new(crate::blob::kv::KvBlobs::new(Arc::clone(&data), packing));
        conformance::suite(conformance::BLOBS, blobs.clone()).await;
        conformance::blobs_within(&blobs, &data).await;
        let below = Arc::clone(&data);
        let search: conformance::MakeSearch = Arc::new(move |analyser| {
            Arc::new(crate::search::kv::KvSearch::new(Arc::clone(&below), analyser, Arc::new(|| 0)))
        });
        conformance::suite(conformance::SEARCH, search).await;
        let below = Arc::clone(&data);
        let lookups: conformance::MakeLookups =
            Arc::new(move |clock| Arc::new(crate::lookup::kv::KvLookups::new(Arc::clone(&below), clock)));
        conformance::suite(conformance::LOOKUPS, lookups).await;
        clean(&*data).await;
    }
}
