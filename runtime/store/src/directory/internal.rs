//! The people of the spec.

use super::Target;
use crate::error::{Cause, StoreError};
use crate::password::{self, Scram};
use aws_lc_rs::{hmac, rand};
use schema::config::{Account, Group, List, RuntimeConfig};
use schema::name::{Address, DomainName};
use schema::spec::Credential;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Passwords checked at once.
const CHECKS_MOST: u32 = 4;
/// Right passwords remembered; past that all are forgotten.
const REMEMBERED_MOST: usize = 20_000;
/// A hash that no password has, with the cost of `waybill init`'s: what is checked for people who do not exist.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

enum Owner {
    Account(u32),
    Group(u32),
    List(u32),
}

/// The people of one configuration, and what is known of them.
pub struct Internal {
    accounts: Vec<Account>,
    groups: Vec<Group>,
    lists: Vec<Arc<List>>,
    owners: HashMap<Address, Owner>,
    /// Domains and hosts: whom `postmaster` there is, and who gets what has no owner.
    domains: HashMap<DomainName, (Option<Address>, Option<Address>)>,
    all_have_scram: bool,
    /// A true verifier, that false ones look like.
    some_scram: Option<Scram>,
    checks: Semaphore,
    /// Right passwords, as an HMAC under a key of this process, so that a mail client that logs in every minute
    /// costs one hash a configuration and not one a minute.
    right: Mutex<HashSet<[u8; 32]>>,
    key: Option<hmac::Key>,
}

fn at(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Internal {
    /// The people of a configuration.
    pub fn new(config: &RuntimeConfig) -> Internal {
        let mut owners = HashMap::with_capacity(config.accounts.len() * 2);
        for (n, account) in config.accounts.iter().enumerate() {
            for alias in &account.aliases {
                owners.insert(alias.clone(), Owner::Account(at(n)));
            }
        }
        for (n, group) in config.groups.iter().enumerate() {
            owners.insert(group.address.clone(), Owner::Group(at(n)));
        }
        for (n, list) in config.lists.iter().enumerate() {
            owners.insert(list.address.clone(), Owner::List(at(n)));
        }
        for (n, account) in config.accounts.iter().enumerate() {
            owners.insert(account.address.clone(), Owner::Account(at(n)));
        }
        let mut domains = HashMap::with_capacity(config.domains.len() + config.hosts.len());
        for host in &config.hosts {
            domains.insert(host.name.domain().clone(), (host.postmaster.clone(), None));
        }
        for domain in &config.domains {
            domains.insert(domain.name.clone(), (domain.postmaster.clone(), domain.catch_all.clone()));
        }
        let has_scram = |account: &Account| {
            account
                .credentials
                .iter()
                .any(|one| matches!(one, Credential::Scram(text) if password::scram(text).is_some()))
        };
        let credentials = config.accounts.iter().flat_map(|account| &account.credentials);
        let mut scrams = credentials.filter_map(|one| match one {
            Credential::Scram(text) => password::scram(text),
            Credential::Hash(_) => None,
        });
        let some_scram = scrams.next();
        let mut key = [0; 32];
        let key = rand::fill(&mut key).ok().map(|()| hmac::Key::new(hmac::HMAC_SHA256, &key));
        Internal {
            accounts: config.accounts.clone(),
            groups: config.groups.clone(),
            lists: config.lists.iter().cloned().map(Arc::new).collect(),
            owners,
            domains,
            all_have_scram: config.accounts.iter().all(has_scram),
            some_scram,
            checks: Semaphore::new(CHECKS_MOST as usize),
            right: Mutex::default(),
            key,
        }
    }

    /// Whether mail for this domain ends here: a domain of the configuration, or a host.
    pub fn is_ours(&self, domain: &DomainName) -> bool {
        self.domains.contains_key(domain)
    }

    /// Who `postmaster` of a domain or host is (RFC 5321 §4.5.1), where no node of its own says so.
    pub fn postmaster(&self, domain: &DomainName) -> Option<&Address> {
        self.domains.get(domain)?.0.as_ref()
    }

    /// Who gets what nobody in a domain has.
    pub fn catch_all(&self, domain: &DomainName) -> Option<&Address> {
        self.domains.get(domain)?.1.as_ref()
    }

    /// Whose exactly this address is.
    pub fn owner(&self, address: &Address) -> Option<Target> {
        Some(match self.owners.get(address)? {
            Owner::Account(n) => {
                let account = self.accounts.get(*n as usize)?.address.clone();
                Target::Account { account, detail: None }
            }
            Owner::Group(n) => {
                let group = self.groups.get(*n as usize)?;
                Target::Group { address: group.address.clone(), members: group.members.clone() }
            }
            Owner::List(n) => Target::List(Arc::clone(self.lists.get(*n as usize)?)),
        })
    }

    fn account_row(&self, account: &Address) -> Option<&Account> {
        match self.owners.get(account)? {
            Owner::Account(n) => self.accounts.get(*n as usize).filter(|row| row.address == *account),
            _ => None,
        }
    }

    /// The account of exactly this address.
    pub fn account(&self, address: &Address) -> Option<Address> {
        self.account_row(address).map(|row| row.address.clone())
    }

    /// How much an account may keep, in octets; `None`: anything.
    pub fn quota(&self, account: &Address) -> Option<u64> {
        self.account_row(account)?.quota.map(|size| size.0)
    }

    /// Whether an address is a group's that lets its members send as it, and one of them or of the groups in it is one
    /// of whom `is_own` is true; or another name of that one alone.
    pub fn lets_send(&self, group: &Address, is_own: &dyn Fn(&Address) -> bool) -> bool {
        self.lets(group, is_own, 0)
    }

    fn lets(&self, group: &Address, is_own: &dyn Fn(&Address) -> bool, depth: u8) -> bool {
        let Some(Owner::Group(n)) = self.owners.get(group) else { return false };
        let Some(group) = self.groups.get(*n as usize).filter(|_| depth < 16) else { return false };
        if !group.send_as {
            // An alias of one mailbox is that mailbox's.
            return matches!(group.members.as_slice(), [one] if is_own(one));
        }
        group.members.iter().any(|member| is_own(member) || self.lets(member, is_own, depth + 1))
    }

    /// Whether SCRAM may be offered: a client takes the strongest that it sees, and would lock out whoever has no
    /// verifier.
    pub fn all_have_scram(&self) -> bool {
        self.all_have_scram
    }

    /// What SCRAM knows of an account; `None` where it has no verifier.
    pub fn scram(&self, account: &Address) -> Option<Scram> {
        self.account_row(account)?.credentials.iter().find_map(|one| match one {
            Credential::Scram(text) => password::scram(text),
            Credential::Hash(_) => None,
        })
    }

    /// A verifier that nothing proves, and that looks like those that there are.
    pub fn false_scram(&self, user: &str, secret: &[u8; 32]) -> Scram {
        password::false_scram(&user.to_lowercase(), secret, self.some_scram.as_ref())
    }

    /// Whether a password is an account's. For nobody it takes as long, and is wrong.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it cannot be checked now.
    pub async fn verify(&self, account: Option<&Address>, given: String) -> Result<bool, StoreError> {
        let row = account.and_then(|account| self.account_row(account));
        let secrets = row.iter().flat_map(|row| &row.credentials);
        let secrets = secrets.map(|one| match one {
            Credential::Hash(text) | Credential::Scram(text) => text.clone(),
        });
        let secrets = secrets.collect();
        let known = account.and_then(|account| self.print(account, &given));
        if known.is_some_and(|print| self.right.lock().unwrap_or_else(PoisonError::into_inner).contains(&print)) {
            return Ok(true);
        }
        let right = self.compare(secrets, given).await?;
        if let (true, Some(print)) = (right, known) {
            let mut prints = self.right.lock().unwrap_or_else(PoisonError::into_inner);
            if prints.len() >= REMEMBERED_MOST {
                prints.clear();
            }
            prints.insert(print);
        }
        Ok(right && row.is_some())
    }

    /// Whether a password has one of these hashes or, where there is none, verifiers, which tell a password sent in the
    /// plain just as well. Without either it takes as long, and is wrong. At most [`CHECKS_MOST`] are checked at once, and one
    /// that takes much memory alone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it cannot be checked now.
    pub async fn compare(&self, mut secrets: Vec<String>, given: String) -> Result<bool, StoreError> {
        if secrets.iter().any(|secret| password::scram(secret).is_none()) {
            secrets.retain(|secret| password::scram(secret).is_none());
        }
        if secrets.is_empty() {
            secrets.push(NOBODY.to_owned());
        }
        let unavailable = |why: &str| StoreError::Unavailable(Cause::new(why));
        let heavy = secrets.iter().any(|secret| password::is_heavy(secret));
        let turns = if heavy { CHECKS_MOST } else { 1 };
        let _turn =
            self.checks.acquire_many(turns).await.map_err(|_| unavailable("passwords are no longer checked"))?;
        let check = move || secrets.iter().any(|hash| password::matches(&given, hash));
        tokio::task::spawn_blocking(check).await.map_err(|_| unavailable("the check failed"))
    }

    fn print(&self, account: &Address, given: &str) -> Option<[u8; 32]> {
        let tag = hmac::sign(self.key.as_ref()?, format!("{account}\0{given}").as_bytes());
        tag.as_ref().try_into().ok()
    }
}
