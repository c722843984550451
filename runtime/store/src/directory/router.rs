//! Everybody: the people of the spec first, then those that the API keeps, or of the directory of the address's domain.

use super::cache::Cached;
use super::internal::Internal;
use super::people::{Entry, Given, People, Print};
use super::{Access, Directory, Found, Person, Target, ldap, sql};
use crate::error::StoreError;
use crate::kv::KeyValue;
use crate::open::{Ground, witness};
use crate::password::{self, PASSWORD_MOST, Scram};
use schema::config::{self, DirectorySource, RuntimeConfig};
use schema::name::{Address, DomainName, LocalPart, SecretRef};
use schema::spec::PeopleFrom;
use std::collections::HashMap;
use std::sync::Arc;
use tracing::warn;

/// Directories that are open, by what they were opened from: the configuration, and the authorities that are trusted.
pub type Open = witness::Open<(config::Directory, Vec<SecretRef>), Cached>;

/// The people of one configuration, wherever they are kept.
pub struct Router {
    internal: Internal,
    /// By the domains whose people they hold, with what each person there may keep if the directory does not say.
    directories: HashMap<DomainName, (Arc<Cached>, Option<u64>)>,
    /// The domains whose people the API keeps, with what each may keep if nothing else is said.
    by_api: HashMap<DomainName, Option<u64>>,
    people: Arc<People>,
    app_passwords: bool,
    own_passwords: bool,
    all_have_scram: bool,
}

impl Router {
    /// Opens a configuration's directories, but for those that are open already. One that does not answer now is opened
    /// all the same, since it keeps nobody else's mail from being served.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`], naming the directory.
    pub async fn open(
        config: &Arc<RuntimeConfig>,
        data: Arc<dyn KeyValue>,
        (ground, open): (&Ground, &Open),
    ) -> Result<Router, StoreError> {
        let mut named: HashMap<&str, Arc<Cached>> = HashMap::new();
        for given in &config.directories {
            let trust = &config.trust.ca;
            let opened = async |ground: Ground| connect(given, &ground, trust).await;
            named.insert(&given.name, open.or((given.clone(), trust.clone()), ground, opened).await?);
        }
        let of = |domain: &config::Domain| {
            let directory = named.get(domain.directory.as_deref()?)?;
            Some((domain.name.clone(), (Arc::clone(directory), domain.quota.map(|size| size.0))))
        };
        let directories: HashMap<_, _> = config.domains.iter().filter_map(of).collect();
        let by_api = config.domains.iter().filter(|domain| domain.people == PeopleFrom::Api);
        let by_api: HashMap<_, _> =
            by_api.map(|domain| (domain.name.clone(), domain.quota.map(|size| size.0))).collect();
        let internal = Internal::new(Arc::clone(config));
        let somebody = !(config.accounts.is_empty() && directories.is_empty() && by_api.is_empty());
        let all = internal.all_have_scram() && config.directories.iter().all(|directory| directory.scram);
        let people = Arc::new(People::new(data, Arc::clone(&ground.clock)));
        let config::Login { app_passwords, own_passwords, .. } = config.login;
        let all_have_scram = somebody && all;
        Ok(Router { internal, directories, by_api, people, app_passwords, own_passwords, all_have_scram })
    }

    /// Whether mail for this domain ends here: a domain of the configuration, or a host.
    pub fn is_ours(&self, domain: &DomainName) -> bool {
        self.internal.is_ours(domain)
    }

    /// The people that the API keeps, and what others own beside.
    pub fn people(&self) -> &People {
        &self.people
    }

    /// Whether the API keeps people of a domain.
    pub fn is_by_api(&self, domain: &DomainName) -> bool {
        self.by_api.contains_key(domain)
    }

    /// Whether SCRAM may be offered: a client takes the strongest that it sees, and would lock out whoever has no
    /// verifier, or a password for that program alone. Where it cannot be said now it is not.
    pub async fn all_have_scram(&self) -> bool {
        self.all_have_scram && matches!(self.people.some_need_plain().await, Ok(false))
    }

    /// What an address stands for; `None` where nobody has it but perhaps a catch-all.
    ///
    /// # Errors
    /// The directory's.
    pub async fn resolve(&self, address: &Address) -> Result<Option<Target>, StoreError> {
        if let Some(target) = self.exact(address).await? {
            return Ok(Some(target));
        }
        if let Some(local) = address.local.without_detail() {
            let detail = address.local.as_str().get(local.as_str().len() + 1..).unwrap_or_default().to_owned();
            match self.exact(&Address::new(local, address.domain.clone())).await? {
                Some(Target::Account { account, .. }) => {
                    return Ok(Some(Target::Account { account, detail: Some(detail) }));
                }
                Some(other) => return Ok(Some(other)),
                None => {}
            }
        }
        // RFC 5321 §4.5.1: postmaster is always somebody.
        match self.internal.postmaster(&address.domain).filter(|_| address.local == LocalPart::postmaster()) {
            Some(who) => self.exact(who).await,
            None => Ok(None),
        }
    }

    /// A list or group of the spec with exactly this address, asked without waiting.
    pub fn of_spec(&self, address: &Address) -> Option<Target> {
        self.internal.owner(address)
    }

    /// The account of the spec with exactly this address.
    pub fn account_of_spec(&self, address: &Address) -> Option<&config::Account> {
        self.internal.account_row(address)
    }

    /// Who gets what nobody in a domain has.
    ///
    /// # Errors
    /// The directory's.
    pub async fn catch_all(&self, domain: &DomainName) -> Result<Option<Target>, StoreError> {
        match self.internal.catch_all(domain) {
            Some(who) => self.exact(who).await,
            None => Ok(None),
        }
    }

    /// What exactly this address stands for.
    async fn exact(&self, address: &Address) -> Result<Option<Target>, StoreError> {
        if let Some(target) = self.internal.owner(address) {
            return Ok(Some(target));
        }
        if self.is_by_api(&address.domain) {
            let owner = self.people.whose(address).await?.filter(|owner| self.is_by_api(&owner.domain));
            return Ok(owner.map(|account| Target::Account { account, detail: None }));
        }
        let Some((directory, _)) = self.directories.get(&address.domain) else { return Ok(None) };
        Ok(match directory.find(address).await? {
            Some(Found::Person(person)) if self.is_there(&person, directory) => {
                Some(Target::Account { account: person.address.clone(), detail: None })
            }
            Some(Found::Several { members, .. }) => Some(Target::Group { address: address.clone(), members }),
            Some(Found::Person(_)) | None => None,
        })
    }

    /// Whether a person's mailbox lies in a domain that takes its people from this directory. No directory says who
    /// somebody in another one's domain is.
    fn is_there(&self, person: &Person, directory: &Arc<Cached>) -> bool {
        let own = self.directories.get(&person.address.domain);
        let own = own.is_some_and(|(own, _)| Arc::ptr_eq(own, directory));
        if !own {
            let (name, address) = (directory.name(), &person.address);
            warn!(directory = name, %address, "a directory names somebody whose domain is not its; passed over");
        }
        own
    }

    /// The person of a directory that logs in by this address.
    async fn person(&self, login: &Address) -> Result<Option<(Arc<Person>, &Arc<Cached>)>, StoreError> {
        let Some((directory, _)) = self.directories.get(&login.domain) else { return Ok(None) };
        let person = directory.person(&login.to_string()).await?;
        Ok(person.filter(|person| self.is_there(person, directory)).map(|person| (person, directory)))
    }

    /// The person of a directory that has this mailbox, where the directory of its domain keeps it.
    ///
    /// # Errors
    /// The directory's.
    pub async fn person_elsewhere(&self, account: &Address) -> Result<Option<Arc<Person>>, StoreError> {
        let is_elsewhere = self.directories.contains_key(&account.domain) && self.internal.account(account).is_none();
        if is_elsewhere { self.owner(account).await } else { Ok(None) }
    }

    /// The person of a directory or the API that has this mailbox.
    async fn owner(&self, account: &Address) -> Result<Option<Arc<Person>>, StoreError> {
        if self.is_by_api(&account.domain) {
            return Ok(self.people.entry(account).await?.person(account).map(Arc::new));
        }
        let Some((directory, _)) = self.directories.get(&account.domain) else { return Ok(None) };
        match directory.find(account).await? {
            Some(Found::Person(person)) if person.address == *account => Ok(Some(person)),
            _ => Ok(None),
        }
    }

    /// The account that a login name means: an address, in any case.
    ///
    /// # Errors
    /// The directory's.
    pub async fn account(&self, user: &str) -> Result<Option<Address>, StoreError> {
        let Ok(login) = user.parse::<Address>() else { return Ok(None) };
        match self.internal.account(&login) {
            Some(account) => Ok(Some(account)),
            None if self.is_by_api(&login.domain) => Ok(self.owner(&login).await?.map(|_| login)),
            None => Ok(self.person(&login).await?.map(|(person, _)| person.address.clone())),
        }
    }

    /// Whether somebody may stay logged in to an account: it is somebody's, and not suspended.
    ///
    /// # Errors
    /// The directory's.
    pub async fn is_open(&self, account: &Address) -> Result<bool, StoreError> {
        if let Some(row) = self.internal.account_row(account) {
            return Ok(!row.suspended);
        }
        if self.is_by_api(&account.domain) {
            return Ok(self.people.entry(account).await?.kept.is_some_and(|kept| !kept.suspended));
        }
        let person = self.person(account).await?;
        Ok(person.is_some_and(|(person, _)| person.address == *account && !person.suspended))
    }

    /// Whose account it is that this name and password log in to; `None`: nobody's. For a name that nobody has it takes
    /// as long as for a wrong password, where hashes are compared here.
    ///
    /// # Errors
    /// The directory's, and [`StoreError::Unavailable`] where it cannot be checked now.
    pub async fn login(&self, user: &str, password: String, access: Access) -> Result<Option<Address>, StoreError> {
        let login = user.parse::<Address>().ok();
        let account = login.as_ref().and_then(|login| self.internal.account(login));
        // RFC 4513 §5.1.2: a server may call an empty password right, and mean nobody.
        let usable = !password.is_empty() && password.len() <= PASSWORD_MOST;
        let by_api = login.as_ref().filter(|login| account.is_none() && usable && self.is_by_api(&login.domain));
        if let Some(whom) = account.as_ref().or(by_api)
            && let Some(entry) = self.opened(whom, (&password, access)).await?
        {
            // What a person that is gone had beside opens nothing, nor what one has who is suspended.
            let open = match by_api {
                Some(_) => entry.kept.as_ref().is_some_and(|kept| !kept.suspended),
                None => self.internal.account_row(whom).is_some_and(|row| !row.suspended),
            };
            if open {
                return Ok(Some(whom.clone()));
            }
        }
        if let Some(whom) = by_api {
            return Ok(self.proves(whom, password).await?.then(|| whom.clone()));
        }
        let elsewhere = match &login {
            Some(login) if account.is_none() && usable => self.person(login).await?,
            _ => None,
        };
        // Who is suspended takes as long as nobody.
        let Some((person, directory)) = elsewhere.filter(|(person, _)| !person.suspended) else {
            return Ok(if self.verifies(account.as_ref(), password).await? { account } else { None });
        };
        let given = (password.as_str(), access);
        if self.opened(&person.address, given).await?.is_some() || directory.was_right(&person, given) {
            return Ok(Some(person.address.clone()));
        }
        let right = match directory.proves(&person, &password).await? {
            Some(right) => right,
            None => self.internal.compare(person.secrets(access), password.clone()).await?,
        };
        if right {
            directory.is_right(&person, given);
            if let Err(error) = directory.renew(&person, given).await {
                warn!(%error, login = user, "a password is still kept as it came; the next login tries again");
            }
        }
        Ok(right.then(|| person.address.clone()))
    }

    /// What is kept of an account, if a password is one that it has for a single program, and for this service. The store is
    /// asked only where it has the form of one.
    async fn opened(&self, account: &Address, (password, access): (&str, Access)) -> Result<Option<Entry>, StoreError> {
        let Some(given) = Given::read(password).filter(|_| self.app_passwords) else { return Ok(None) };
        let entry = self.people.entry(account).await?;
        let is_one = entry.opened_by(account, &given, (access, self.people.now())).is_some();
        Ok(is_one.then_some(entry))
    }

    /// What somebody of the spec has in place of the spec's password, where that may be.
    async fn own(&self, account: Option<&Address>) -> Result<Option<Entry>, StoreError> {
        let row = account.filter(|_| self.own_passwords).and_then(|account| self.internal.account_row(account));
        let Some((row, given)) = row.and_then(|row| Some((row, Print::of(row)?))) else { return Ok(None) };
        let entry = self.people.entry(&row.address).await?;
        Ok(entry.in_place_of(&given).is_some().then_some(entry))
    }

    /// Whether a password is that of somebody of the spec; nobody's takes as long, and is wrong.
    async fn verifies(&self, account: Option<&Address>, password: String) -> Result<bool, StoreError> {
        let Some((account, entry)) = account.zip(self.own(account).await?) else {
            return self.internal.verify(account, None, password).await;
        };
        let own = entry.own.as_ref().map(|own| own.secrets());
        let right = self.internal.verify(Some(account), own, password.clone()).await?;
        if right {
            self.renew((account, true), &entry, &password).await;
        }
        Ok(right)
    }

    /// Keeps a password that was right as it would be kept today.
    async fn renew(&self, whom: (&Address, bool), entry: &Entry, password: &str) {
        if let Err(error) = self.people.renew(whom, entry, password).await {
            warn!(%error, account = %whom.0, "a password is still kept as it came; the next login tries again");
        }
    }

    /// Whether a password is that of a person that the API keeps; nobody's takes as long, and is wrong.
    async fn proves(&self, account: &Address, password: String) -> Result<bool, StoreError> {
        let entry = self.people.entry(account).await?;
        let kept = entry.kept.as_ref().filter(|kept| !kept.suspended);
        let secrets = kept.map(|kept| kept.secrets.texts()).unwrap_or_default();
        let known = !secrets.is_empty();
        let right = self.internal.proves(Some(account), secrets, password.clone()).await? && known;
        if right {
            self.renew((account, false), &entry, &password).await;
        }
        Ok(right)
    }

    /// What a service's SCRAM needs to know of a user; for one who is unknown or has no verifier something false that
    /// looks the same.
    ///
    /// # Errors
    /// The directory's.
    pub async fn scram(&self, (user, access): (&str, Access), secret: &[u8; 32]) -> Result<Scram, StoreError> {
        let (mut known, mut by_api) = (None, false);
        if let Ok(login) = user.parse::<Address>() {
            by_api = self.is_by_api(&login.domain);
            known = match self.internal.account(&login) {
                Some(account) => match self.own(Some(&account)).await?.and_then(|entry| entry.own) {
                    Some(own) => own.verifier().and_then(password::scram),
                    None => self.internal.scram(&account),
                },
                None if by_api => {
                    let kept = self.people.entry(&login).await?.kept.filter(|kept| !kept.suspended);
                    kept.and_then(|kept| password::scram(kept.secrets.verifier()?))
                }
                None => {
                    let person = self.person(&login).await?;
                    person.and_then(|(person, _)| person.verifier(access))
                }
            };
        }
        Ok(known.unwrap_or_else(|| self.internal.false_scram(user, secret, by_api)))
    }

    /// How much an account may keep, in octets; `None`: anything.
    ///
    /// # Errors
    /// The directory's.
    pub async fn quota(&self, account: &Address) -> Result<Option<u64>, StoreError> {
        if self.internal.account(account).is_some() {
            return Ok(self.internal.quota(account));
        }
        let common = self.directories.get(&account.domain).map(|(_, quota)| quota);
        let common = common.or(self.by_api.get(&account.domain)).copied().flatten();
        let own = self.owner(account).await?.and_then(|person| person.quota);
        // 0 is how directories say "anything".
        Ok(own.or(common).filter(|quota| *quota > 0))
    }

    /// Whether an account may put this address into From or the reverse path: its own, its aliases', with or
    /// without a detail; that of a group it is in; `postmaster` where it is that.
    ///
    /// # Errors
    /// The directory's.
    pub async fn may_send_as(&self, account: &Address, address: &Address) -> Result<bool, StoreError> {
        let group = match self.resolve(address).await? {
            Some(Target::Account { account: owner, .. }) => return Ok(owner == *account),
            Some(Target::Group { address, .. }) => address,
            Some(Target::List(_)) | None => return Ok(false),
        };
        let person = self.owner(account).await?;
        if self.internal.owner(&group).is_some() {
            let is_own = |member: &Address| match self.internal.owner(member) {
                Some(Target::Account { account: owner, .. }) => owner == *account,
                Some(_) => false,
                None => person.as_ref().is_some_and(|person| person.has(member)),
            };
            return Ok(self.internal.lets_send(&group, &is_own));
        }
        let Some((directory, _)) = self.directories.get(&group.domain) else { return Ok(false) };
        let Some(Found::Several { members, send_as }) = directory.find(&group).await? else { return Ok(false) };
        let named = |person: &Arc<Person>| person.groups.iter().any(|one| one.parse().as_ref() == Ok(&group));
        Ok((send_as && members.contains(account)) || person.as_ref().is_some_and(named))
    }
}

/// Opens a directory and looks whether it is set up rightly.
async fn connect(given: &config::Directory, ground: &Ground, trust: &[SecretRef]) -> Result<Arc<Cached>, StoreError> {
    let directory: Arc<dyn Directory> = match &given.source {
        DirectorySource::Ldap(ldap) => {
            Arc::new(ldap::LdapDirectory::new((&given.name, given.scram), ldap, trust, ground)?)
        }
        DirectorySource::Sql(sql) => sql::open(&given.name, sql, ground)?,
    };
    match directory.check().await {
        Ok(()) => {}
        Err(error @ StoreError::Unavailable(_)) => {
            warn!(%error, directory = given.name, "the directory does not answer; its people are served once it does");
        }
        Err(error) => return Err(error),
    }
    let ages = (given.cache, given.cache_negative);
    Ok(Arc::new(Cached::new(directory, ages, Arc::clone(&ground.clock))))
}
