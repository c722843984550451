//! The people of the spec.

use super::Target;
use crate::error::{Cause, StoreError};
use crate::password::{self, Scram};
use aws_lc_rs::{hmac, rand};
use schema::config::{Account, List, RuntimeConfig};
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

/// Whose an address is: where it stands in the configuration.
#[derive(Clone, Copy)]
enum Owner {
    Account(u32),
    Group(u32),
    List(u32),
}

/// The people of one configuration, and what is known of them.
///
/// The configuration itself is shared, and nothing of it is copied: what an account costs beside is four octets, and
/// eight for each alias.
pub struct Internal {
    config: Arc<RuntimeConfig>,
    lists: Vec<Arc<List>>,
    /// Accounts, by address.
    accounts: Vec<u32>,
    /// Which alias of which account, by address.
    aliases: Vec<(u32, u32)>,
    /// Groups and lists.
    others: HashMap<Address, Owner>,
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

/// Whether an account's password has a verifier, and none for a single program beside, which never has one; or nobody logs
/// in to it.
fn has_scram(account: &Account) -> bool {
    let is_verifier = |one: &Credential| matches!(one, Credential::Scram(text) if password::scram(text).is_some());
    account.suspended || account.app_passwords.is_empty() && account.credentials.iter().any(is_verifier)
}

impl Internal {
    /// The people of a configuration.
    pub fn new(config: Arc<RuntimeConfig>) -> Internal {
        let mut accounts: Vec<u32> = (0..at(config.accounts.len())).collect();
        // The compiler sorts them, and sorting what is sorted costs little.
        accounts.sort_by(|a, b| address_of(&config, *a).cmp(&address_of(&config, *b)));
        let mut aliases = Vec::with_capacity(config.accounts.iter().map(|account| account.aliases.len()).sum());
        for (n, account) in config.accounts.iter().enumerate() {
            aliases.extend((0..account.aliases.len()).map(|alias| (at(n), at(alias))));
        }
        aliases.sort_by(|a, b| alias_of(&config, *a).cmp(&alias_of(&config, *b)));
        let mut others = HashMap::with_capacity(config.groups.len() + config.lists.len());
        for (n, group) in config.groups.iter().enumerate() {
            others.insert(group.address.clone(), Owner::Group(at(n)));
        }
        for (n, list) in config.lists.iter().enumerate() {
            others.insert(list.address.clone(), Owner::List(at(n)));
        }
        let mut domains = HashMap::with_capacity(config.domains.len() + config.hosts.len());
        for host in &config.hosts {
            domains.insert(host.name.domain().clone(), (host.postmaster.clone(), None));
        }
        for domain in &config.domains {
            domains.insert(domain.name.clone(), (domain.postmaster.clone(), domain.catch_all.clone()));
        }
        let credentials = config.accounts.iter().flat_map(|account| &account.credentials);
        let some_scram = credentials.clone().find_map(|one| match one {
            Credential::Scram(text) => password::scram(text),
            Credential::Hash(_) => None,
        });
        let mut key = [0; 32];
        let key = rand::fill(&mut key).ok().map(|()| hmac::Key::new(hmac::HMAC_SHA256, &key));
        Internal {
            lists: config.lists.iter().cloned().map(Arc::new).collect(),
            accounts,
            aliases,
            others,
            domains,
            all_have_scram: config.accounts.iter().all(has_scram),
            some_scram,
            checks: Semaphore::new(CHECKS_MOST as usize),
            right: Mutex::default(),
            key,
            config,
        }
    }

    /// Whose an address is: an account's own before all others.
    fn owner_of(&self, address: &Address) -> Option<Owner> {
        let own = |n: &u32| address_of(&self.config, *n).cmp(&Some(address));
        if let Ok(found) = self.accounts.binary_search_by(own) {
            return self.accounts.get(found).copied().map(Owner::Account);
        }
        if let Some(owner) = self.others.get(address) {
            return Some(*owner);
        }
        let alias = |place: &(u32, u32)| alias_of(&self.config, *place).cmp(&Some(address));
        let found = self.aliases.binary_search_by(alias).ok()?;
        self.aliases.get(found).map(|(account, _)| Owner::Account(*account))
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
        Some(match self.owner_of(address)? {
            Owner::Account(n) => {
                let account = self.config.accounts.get(n as usize)?.address.clone();
                Target::Account { account, detail: None }
            }
            Owner::Group(n) => {
                let group = self.config.groups.get(n as usize)?;
                Target::Group { address: group.address.clone(), members: group.members.clone() }
            }
            Owner::List(n) => Target::List(Arc::clone(self.lists.get(n as usize)?)),
        })
    }

    /// The account of exactly this address, as configured.
    pub fn account_row(&self, account: &Address) -> Option<&Account> {
        match self.owner_of(account)? {
            Owner::Account(n) => self.config.accounts.get(n as usize).filter(|row| row.address == *account),
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
        let Some(Owner::Group(n)) = self.owner_of(group) else { return false };
        let Some(group) = self.config.groups.get(n as usize).filter(|_| depth < 16) else { return false };
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
    /// Where the API keeps people they look like theirs.
    pub fn false_scram(&self, user: &str, secret: &[u8; 32], by_api: bool) -> Scram {
        password::false_scram(&user.to_lowercase(), secret, self.some_scram.as_ref().filter(|_| !by_api))
    }

    /// Whether a password is an account's: one of the spec's, or where there is one in place of it, that one. For nobody
    /// it takes as long, and is wrong.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it cannot be checked now.
    pub async fn verify(
        &self,
        account: Option<&Address>,
        own: Option<Vec<String>>,
        given: String,
    ) -> Result<bool, StoreError> {
        let row = account.and_then(|account| self.account_row(account));
        let text = |one: &Credential| match one {
            Credential::Hash(text) | Credential::Scram(text) => text.clone(),
        };
        let of_spec = || row.iter().flat_map(|row| &row.credentials).map(text).collect();
        let mut secrets: Vec<String> = own.unwrap_or_else(of_spec);
        secrets.extend(row.iter().flat_map(|row| &row.app_passwords).map(|app| text(&app.password)));
        let right = self.proves(row.map(|row| &row.address), secrets, given).await?;
        Ok(right && row.is_some())
    }

    /// As [`Internal::compare`], but a password that was right stays so as long as the secrets are the same.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it cannot be checked now.
    pub async fn proves(
        &self,
        account: Option<&Address>,
        secrets: Vec<String>,
        given: String,
    ) -> Result<bool, StoreError> {
        let known = account.and_then(|account| self.print(account, &secrets, &given));
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
        Ok(right)
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

    fn print(&self, account: &Address, secrets: &[String], given: &str) -> Option<[u8; 32]> {
        let mut tag = hmac::Context::with_key(self.key.as_ref()?);
        let account = account.to_string();
        for part in [account.as_str(), given].into_iter().chain(secrets.iter().map(String::as_str)) {
            tag.update(&(part.len() as u64).to_be_bytes());
            tag.update(part.as_bytes());
        }
        tag.sign().as_ref().try_into().ok()
    }
}

fn address_of(config: &RuntimeConfig, account: u32) -> Option<&Address> {
    config.accounts.get(account as usize).map(|account| &account.address)
}

fn alias_of(config: &RuntimeConfig, (account, alias): (u32, u32)) -> Option<&Address> {
    config.accounts.get(account as usize)?.aliases.get(alias as usize)
}
