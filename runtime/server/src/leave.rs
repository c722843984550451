//! Why a session must end that its client would keep: the server stops, or its account is gone.

use crate::clock;
use crate::server::Server;
use schema::name::Address;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often it is looked whether an account is still there: LDAP and SQL do not say when somebody is removed.
const LOOK: Duration = Duration::from_secs(600);

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The server stops.
    Stopping,
    /// Nobody has the account any more, or it is suspended.
    Gone,
}

/// Tells one session, once.
pub struct Leave {
    server: Arc<Server>,
    stopping: watch::Receiver<bool>,
    people: watch::Receiver<()>,
    look_at: Instant,
    /// The account has to be looked for.
    look: bool,
    told: bool,
}

impl Leave {
    /// For a session that begins.
    pub fn new(server: Arc<Server>) -> Leave {
        let (stopping, people) = (server.stopping.subscribe(), server.people.subscribe());
        Leave { server, stopping, people, look_at: clock::instant() + LOOK, look: false, told: false }
    }

    /// Waits until a session, logged in to this account, must end. Dropped and called again at will.
    pub async fn told(&mut self, account: Option<&Address>) -> Why {
        if self.told {
            return pending().await;
        }
        loop {
            if *self.stopping.borrow_and_update() {
                self.told = true;
                return Why::Stopping;
            }
            if self.look
                && let Some(account) = account
            {
                if self.is_gone(account).await {
                    self.told = true;
                    return Why::Gone;
                }
                (self.look, self.look_at) = (false, clock::instant() + LOOK);
            }
            // Both senders outlive every connection.
            tokio::select! {
                _ = self.stopping.changed() => {}
                _ = self.people.changed() => self.look = true,
                () = tokio::time::sleep_until(self.look_at.into()), if account.is_some() => self.look = true,
            }
        }
    }

    /// A directory that does not answer takes nobody's session.
    async fn is_gone(&self, account: &Address) -> bool {
        matches!(self.server.live.now().directory.is_open(account).await, Ok(false))
    }
}
