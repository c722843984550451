//! `waybilld counts`: how much mail every account holds, for `waybill diff --state`. Looks into the store beside the
//! running server, which it does not disturb.

use crate::clock;
use crate::run::StartError;
use crate::secrets::Secrets;
use crate::watch::{self, Source};
use schema::config;
use schema::name::Address;
use sealed::identity::Identities;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use store::mailbox::Held;
use store::open;

/// What `waybill diff --state` reads.
#[derive(Debug, Serialize)]
pub struct Counts {
    /// By the account's address.
    pub accounts: BTreeMap<Address, Held>,
}

/// Counts what lies in the configuration's data store; relative stores start at `root`.
///
/// # Errors
/// [`StartError`], as when serving; also where the store cannot be read, or is another process's memory.
pub async fn counts(source: &Source, root: PathBuf) -> Result<Counts, StartError> {
    if let Source::Spec { compiler, .. } = source {
        watch::check_compiler(compiler).await.map_err(StartError::Compiler)?;
    }
    let bytes = source.read().await.map_err(|refused| StartError::Refused(refused.summary))?;
    let config = config::decode(&bytes).map_err(|error| StartError::Refused(error.to_string()))?;
    let reveal = Secrets::new(root.clone(), Identities::default()).revealing();
    let ground = open::Ground { root, clock: Arc::new(clock::milliseconds), reveal };
    let mailboxes = open::to_read(&ground, &config.storage).await?;
    Ok(Counts { accounts: mailboxes.held().await? })
}
