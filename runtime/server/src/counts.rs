//! `waybilld counts`: how much mail every account holds, for `waybill diff --state`. Looks into the store beside the
//! running server, which it does not disturb.

use crate::aside::Aside;
use crate::run::StartError;
use schema::name::Address;
use serde::Serialize;
use std::collections::BTreeMap;
use store::mailbox::Held;
use store::open;

/// What `waybill diff --state` reads.
#[derive(Debug, Serialize)]
pub struct Counts {
    /// By the account's address.
    pub accounts: BTreeMap<Address, Held>,
}

/// Counts what lies in the configuration's data store.
///
/// # Errors
/// [`StartError`], as when serving; also where the store cannot be read, or is another process's memory.
pub async fn counts(aside: Aside) -> Result<Counts, StartError> {
    let config = aside.configuration().await?;
    let base = open::to_read(&aside.ground(), &config.storage).await?;
    Ok(Counts { accounts: base.mailboxes.held().await? })
}
