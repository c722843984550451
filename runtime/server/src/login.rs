//! Proof → account, for every protocol; failed logins grow slower.

use crate::listen::neighbourhood;
use crate::server::Server;
use proto::sasl::{Credentials, Mechanism, ScramVerifier};
use schema::name::Address;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use store::directory::Access;
use store::error::StoreError;
use tokio::time::timeout;
use tracing::{info, warn};

/// The wait after the first failed login of a peer; each next one waits twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A peer's failures are forgotten so long after the first of them.
const FORGET_AFTER: Duration = Duration::from_secs(900);
/// The wait where failures cannot be counted.
const UNCOUNTED_DELAY: Duration = Duration::from_secs(8);
/// Counting one takes no longer than this.
const COUNTING_MOST: Duration = Duration::from_secs(2);

/// Why a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// Unknown user, wrong password, or another's name: said alike.
    Wrong,
    /// The directory cannot be asked now.
    Unavailable,
}

/// How long the answer to the `failures`th failure in a row has to wait.
fn delay(failures: i64) -> Duration {
    let doubled = u32::try_from(failures.saturating_sub(1)).unwrap_or(0).min(8);
    FIRST_DELAY.saturating_mul(1 << doubled).min(LONGEST_DELAY)
}

/// The mechanisms to offer under TLS. SCRAM only where every account has a verifier, since a client picks
/// the strongest that it sees and would lock out whoever has none.
pub fn mechanisms(all_have_scram: bool) -> Vec<Mechanism> {
    let mut offered = vec![Mechanism::Plain, Mechanism::Login];
    if all_have_scram {
        offered.splice(0..0, [Mechanism::ScramSha256Plus, Mechanism::ScramSha256]);
    }
    offered
}

fn unavailable(error: &StoreError) -> LoginError {
    warn!(%error, "a login cannot be checked");
    LoginError::Unavailable
}

impl Server {
    /// Checks a password for a service. Failures wait before they are answered.
    ///
    /// # Errors
    /// [`LoginError`], which tells a client nothing about which accounts exist.
    pub async fn password(&self, given: Credentials, access: Access, peer: IpAddr) -> Result<Address, LoginError> {
        let snapshot = self.live.now();
        match snapshot
            .directory
            .login(&given.user, given.password, access)
            .await
            .map_err(|error| unavailable(&error))?
        {
            Some(account) => self.proved(&given.user, account, &given.authorize),
            None => Err(self.refused(&given.user, peer).await),
        }
    }

    /// Lets in whoever proved to be `user` by SCRAM.
    ///
    /// # Errors
    /// [`LoginError::Wrong`] where it wants to act as somebody else, [`LoginError::Unavailable`].
    pub async fn scram_proved(&self, user: &str, authorize: &str, peer: IpAddr) -> Result<Address, LoginError> {
        let account = self.live.now().directory.account(user).await;
        match account.map_err(|error| unavailable(&error))? {
            Some(account) => self.proved(user, account, authorize),
            None => Err(self.refused(user, peer).await),
        }
    }

    /// What SCRAM needs to know of a user; for an unknown one a false verifier.
    ///
    /// # Errors
    /// [`LoginError::Unavailable`] alone.
    pub async fn scram_verifier(&self, user: &str, access: Access) -> Result<ScramVerifier, LoginError> {
        let scram = self.live.now().directory.scram((user, access), &self.secret).await;
        let scram = scram.map_err(|error| unavailable(&error))?;
        Ok(ScramVerifier {
            iterations: scram.iterations,
            salt: scram.salt,
            stored_key: scram.stored_key,
            server_key: scram.server_key,
        })
    }

    /// Waits as long as a failed login has to.
    pub async fn refused(&self, user: &str, peer: IpAddr) -> LoginError {
        let wait = self.failed(peer).await;
        info!(user, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "login failed");
        tokio::time::sleep(wait).await;
        LoginError::Wrong
    }

    /// Counts a failure among those of the peer's network, at all servers that share the lookups, and says how long its
    /// answer has to wait.
    pub async fn failed(&self, peer: IpAddr) -> Duration {
        self.metrics.logins_refused.add(1);
        let lookups = Arc::clone(&self.live.now().stores.lookups);
        let counter = format!("login failed {}", neighbourhood(peer));
        match timeout(COUNTING_MOST, lookups.add(&counter, 1, FORGET_AFTER)).await {
            Ok(Ok(failures)) => delay(failures),
            Ok(Err(error)) => {
                warn!(%error, "a failed login cannot be counted");
                UNCOUNTED_DELAY
            }
            Err(_) => {
                warn!("a failed login cannot be counted: the lookups do not answer within {COUNTING_MOST:?}");
                UNCOUNTED_DELAY
            }
        }
    }

    fn proved(&self, user: &str, account: Address, authorize: &str) -> Result<Address, LoginError> {
        let same = authorize.is_empty() || authorize == user || authorize.parse::<Address>().as_ref() == Ok(&account);
        if !same {
            return Err(LoginError::Wrong);
        }
        self.metrics.logins.add(1);
        info!(%account, "logged in");
        Ok(account)
    }
}
