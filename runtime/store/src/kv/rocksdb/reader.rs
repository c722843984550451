//! A database that another process may have open, for reading only: RocksDB's secondary instance. It shows what the
//! other had written when it was opened here, and writes nothing but its own log, in a temporary folder.

use super::readers::Readers;
use super::shared::Shared;
use super::{Fault, complete, get, incomplete, meaning, options, scan};
use crate::error::{Cause, CommitError, StoreError};
use crate::kv::{Batch, Key, KeyRange, KeyValue, Page};
use ::rocksdb::{DB, ReadOptions};
use async_trait::async_trait;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A RocksDB to look into.
pub struct Reader {
    readers: Readers,
    /// Held as long as the threads that read it.
    _log: TempDir,
}

impl Reader {
    /// Opens the database in `folder` as it is now.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] where there is none.
    pub async fn open(folder: impl Into<PathBuf>) -> Result<Reader, StoreError> {
        let folder = folder.into();
        let opened = tokio::task::spawn_blocking(move || Reader::open_blocking(&folder)).await;
        opened.unwrap_or_else(|gone| Err(StoreError::Unavailable(Cause::new(gone))))
    }

    fn open_blocking(folder: &Path) -> Result<Reader, StoreError> {
        let wrong = |cause: String| StoreError::Misconfigured(Cause::new(format!("{}: {cause}", folder.display())));
        if !folder.join("CURRENT").is_file() {
            return Err(wrong("here is no database yet; is this where the server's configuration says it is?".into()));
        }
        let log = tempfile::tempdir().map_err(|error| wrong(error.to_string()))?;
        let mut options = options();
        options.create_if_missing(false);
        // Files that the other process takes away meanwhile are readable only while they are held open.
        options.set_max_open_files(-1);
        let db = DB::open_as_secondary(&options, folder, log.path()).map_err(|error| match meaning(error) {
            StoreError::Unavailable(cause) => wrong(cause.to_string()),
            other => other,
        })?;
        complete(db.try_catch_up_with_primary())?;
        let shared = Arc::new(Shared::new(db, folder, Arc::new(Fault::default())));
        let readers = Readers::start(&shared).map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
        Ok(Reader { readers, _log: log })
    }
}

#[async_trait]
impl KeyValue for Reader {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let keys = keys.to_vec();
        self.readers.read(move |db| get(db?, &keys)).await?
    }

    async fn scan(&self, keys: KeyRange, page: Page) -> Result<Vec<(Key, Bytes)>, StoreError> {
        let entries = self.readers.read(move |db| scan(db?, &keys, page, ReadOptions::default())).await??;
        entries.ok_or_else(incomplete)
    }

    async fn commit(&self, _: Batch) -> Result<(), CommitError> {
        Err(StoreError::Misconfigured(Cause::new("the database is open for reading only")).into())
    }

    /// Nothing changes here.
    async fn watch(&self, _: &Key) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::RocksDb;
    use super::*;

    #[tokio::test]
    async fn an_open_database_is_looked_into_and_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Reader::open(folder.path()).await, Err(StoreError::Misconfigured(_))));
        let store = RocksDb::open(folder.path()).await.unwrap();
        let put = |value: &'static str| {
            let mut batch = Batch::new();
            batch.put("key", value);
            batch
        };
        store.commit(put("one")).await.unwrap();
        let reader = Reader::open(folder.path()).await.unwrap();
        assert_eq!(reader.get(&["key".into()]).await.unwrap(), [Some(Bytes::from("one"))]);
        assert!(reader.commit(put("two")).await.is_err());
        store.commit(put("three")).await.unwrap();
        assert_eq!(store.get(&["key".into()]).await.unwrap(), [Some(Bytes::from("three"))]);
    }
}
