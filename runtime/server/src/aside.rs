//! What commands share that work on the mail beside `serve`: where the configuration comes from, and how stores are
//! opened.

use crate::clock;
use crate::run::StartError;
use crate::secrets::Secrets;
use crate::watch::{self, Source};
use schema::config::{self, RuntimeConfig, Storage};
use sealed::identity::Identities;
use std::path::PathBuf;
use std::sync::Arc;
use store::open::Ground;

/// What the command line says of the mail that is meant.
pub struct Aside {
    /// Where configuration comes from.
    pub source: Source,
    /// Where secrets and relative store paths start.
    pub root: PathBuf,
    /// What `(age)` secrets are opened with.
    pub identities: Identities,
}

/// The most things that a command names as wrong; more are counted.
pub const NAMED_MOST: usize = 10_000;

/// What was found to be wrong: each named, up to [`NAMED_MOST`].
#[derive(Debug, Default)]
pub struct Wrong {
    /// In words.
    pub named: Vec<String>,
    /// How many there are.
    pub count: u64,
}

impl Wrong {
    /// One more.
    pub fn tell(&mut self, what: String) {
        self.count = self.count.saturating_add(1);
        if self.named.len() < NAMED_MOST {
            self.named.push(what);
        }
    }
}

impl Aside {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`StartError`], as when serving.
    pub async fn configuration(&self) -> Result<RuntimeConfig, StartError> {
        if let Source::Spec { compiler, .. } = &self.source {
            watch::check_compiler(compiler).await.map_err(StartError::Compiler)?;
        }
        let bytes = self.source.read().await.map_err(|refused| StartError::Refused(refused.summary))?;
        config::decode(&bytes).map_err(|error| StartError::Refused(error.to_string()))
    }

    /// What the configuration says of stores, with paths that mean the same everywhere.
    ///
    /// # Errors
    /// [`StartError`], as when serving.
    pub async fn storage(&self) -> Result<Storage, StartError> {
        let root = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        let mut storage = self.configuration().await?.storage;
        for store in [&mut storage.data, &mut storage.blob, &mut storage.search, &mut storage.lookup] {
            *store = store.rooted(&root);
        }
        Ok(storage)
    }

    /// What opening the stores needs.
    pub fn ground(self) -> Ground {
        let secrets = Secrets::new(self.root.clone(), self.identities);
        Ground { root: self.root, clock: Arc::new(clock::milliseconds), reveal: secrets.revealing() }
    }
}
