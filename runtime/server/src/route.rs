//! Where a recipient's mail goes: decided anew at each attempt, from the running configuration.

use crate::snapshot::Snapshot;
use proto::smtp::types::{Host, Path};
use schema::config::List;
use schema::name::{Address, DomainName, LocalPart};
use std::sync::Arc;
use store::directory::Target;
use store::error::StoreError;
use tracing::warn;

/// The longest chain of groups, lists and rewritten addresses that one message follows.
pub const DEPTH_MOST: u8 = 10;

/// Where mail goes.
#[derive(Clone, Debug)]
pub enum Route {
    /// Into an account's mailbox.
    Account(Address),
    /// To each of these instead, the sender kept.
    Group {
        /// The group.
        address: Address,
        /// Whose mail it is.
        members: Vec<Address>,
    },
    /// To the members of a list, from the list.
    List(Arc<List>),
    /// Back to whom a rewritten return path stands for.
    Rewritten(String),
    /// To another server.
    Remote(Host),
    /// To nobody: an RFC 3463 status and the reason.
    Nobody(&'static str, String),
    /// It cannot be said now: an RFC 3463 status and the reason.
    Later(&'static str, String),
}

impl Snapshot {
    /// Where mail for an address (as on the wire, without brackets) goes.
    pub async fn route(&self, address: &str) -> Route {
        let path = match Path::parse(address) {
            Some(Path::Postmaster) => return self.postmaster().await,
            Some(Path::Mailbox(mailbox)) => mailbox,
            _ => return Route::Nobody("5.1.3", format!("<{address}> is not a mail address")),
        };
        let Host::Domain(domain) = &path.host else { return Route::Remote(path.host) };
        let Ok(domain) = domain.parse::<DomainName>() else {
            return Route::Nobody("5.1.2", format!("{domain} is not a mail domain"));
        };
        if !self.directory.is_ours(&domain) {
            return Route::Remote(Host::Domain(domain.to_string()));
        }
        match path.local.parse::<LocalPart>() {
            Ok(local) => self.local(&Address::new(local, domain), &path.local).await,
            Err(_) => no_such_user(address),
        }
    }

    async fn local(&self, address: &Address, written: &str) -> Route {
        let asked = self.directory.resolve(address).await;
        if let Ok(Some(target)) = asked {
            return route_of(target);
        }
        if mail::srs::is_rewritten(written) {
            return match mail::srs::reverse(written, self.stores.spool.secret(), crate::clock::day()) {
                Ok(original) => Route::Rewritten(original),
                Err(why) => Route::Nobody("5.1.1", format!("<{address}>: {why}")),
            };
        }
        if let Some(owners) = self.list_role(address) {
            return Route::Group { address: address.clone(), members: owners };
        }
        // Last, so that it takes no report to a list or a rewritten path; and nothing that may be somebody's after all.
        let asked = match asked {
            Ok(_) => self.directory.catch_all(&address.domain).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(found) => found.map_or_else(|| no_such_user(&address.to_string()), route_of),
            Err(error) => later(address, &error),
        }
    }

    /// Who reads `<list>-bounces@`, `-owner@` and `-request@` (RFC 2142 §6): its owners.
    fn list_role(&self, address: &Address) -> Option<Vec<Address>> {
        let base = address.local.without_detail().unwrap_or_else(|| address.local.clone());
        let name = ["-bounces", "-owner", "-request"].iter().find_map(|role| base.as_str().strip_suffix(role))?;
        let list = Address::new(name.parse().ok()?, address.domain.clone());
        match self.directory.of_spec(&list)? {
            Target::List(list) if list.address.local.as_str() == name => Some(list.owners.clone()),
            _ => None,
        }
    }

    async fn postmaster(&self) -> Route {
        match &self.host.postmaster {
            Some(address) => self.local(address, address.local.as_str()).await,
            None => Route::Nobody("5.1.1", "this host has no postmaster".to_owned()),
        }
    }
}

fn route_of(target: Target) -> Route {
    match target {
        Target::Account { account, .. } => Route::Account(account),
        Target::Group { address, members } => Route::Group { address, members },
        Target::List(list) => Route::List(list),
    }
}

/// A directory that does not answer has not said that somebody is not there.
fn later(address: &Address, error: &StoreError) -> Route {
    warn!(%error, %address, "it cannot be said whose an address is");
    let status = if matches!(error, StoreError::Misconfigured(_)) { "4.3.5" } else { "4.3.0" };
    Route::Later(status, format!("it cannot be said now whether <{address}> is known here, try again later"))
}

fn no_such_user(address: &str) -> Route {
    Route::Nobody("5.1.1", format!("<{address}> is not known here"))
}
