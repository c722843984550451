//! Proof → account, for every protocol; failed logins grow slower.

use crate::listen::neighbourhood;
use crate::server::Server;
use proto::sasl::{Credentials, Mechanism, ScramVerifier};
use schema::name::Address;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::directory::Access;
use store::error::StoreError;
use tracing::{info, warn};

/// The wait after the first failed login of a peer; each next one waits twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A peer is forgotten when it failed nothing for so long.
const FORGET_AFTER: Duration = Duration::from_secs(900);
/// Peers remembered; past that the oldest half is forgotten.
const PEERS_MOST: usize = 20_000;

/// Why a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// Unknown user, wrong password, or another's name: said alike.
    Wrong,
    /// The directory cannot be asked now.
    Unavailable,
}

/// Who failed to log in lately.
#[derive(Default)]
pub struct Throttle(Mutex<HashMap<IpAddr, (u32, Instant)>>);

impl Throttle {
    /// Counts a failure and says how long its answer has to wait.
    pub fn failed(&self, peer: IpAddr, now: Instant) -> Duration {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_MOST {
            peers.retain(|_, (_, last)| now.duration_since(*last) < FORGET_AFTER / 2);
            if peers.len() >= PEERS_MOST {
                peers.clear();
            }
        }
        let (failures, last) = peers.entry(neighbourhood(peer)).or_insert((0, now));
        if now.duration_since(*last) > FORGET_AFTER {
            *failures = 0;
        }
        let delay = FIRST_DELAY.saturating_mul(1 << (*failures).min(8)).min(LONGEST_DELAY);
        *failures = failures.saturating_add(1);
        *last = now;
        delay
    }
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
    pub async fn scram_verifier(&self, user: &str) -> Result<ScramVerifier, LoginError> {
        let scram = self.live.now().directory.scram(user, &self.secret).await;
        let scram = scram.map_err(|error| unavailable(&error))?;
        Ok(ScramVerifier {
            iterations: scram.iterations,
            salt: scram.salt,
            stored_key: scram.stored_key,
            server_key: scram.server_key,
        })
    }

    /// Counts a failed login and waits as long as it has to.
    pub async fn refused(&self, user: &str, peer: IpAddr) -> LoginError {
        self.metrics.logins_refused.add(1);
        let wait = self.throttle.failed(peer, crate::clock::instant());
        info!(user, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "login failed");
        tokio::time::sleep(wait).await;
        LoginError::Wrong
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
