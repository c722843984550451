//! People that the API keeps in the data store, and what those that are kept elsewhere own beside: a password in place of
//! the spec's, app passwords, a second factor, and, in [`owned`], Sieve scripts and identities.
//!
//! One row holds everything of one account, so that every change is one commit that asserts the row as it was read. Each
//! address, the person's own and every alias, has a key of its own besides, which is asserted to be absent when it is
//! claimed: two servers that make the same address at once come in turn, and the second hears whose it is. Nothing is
//! remembered between two questions, so a change holds at once on every server of the database.

use super::{Scope, totp};
use crate::blob::chance;
use crate::error::{Cause, CommitError, StoreError};
use crate::keys;
use crate::kv::{Batch, Key, KeyValue, Page};
use crate::lookup::Clock;
use bytes::Bytes;
use schema::name::{Address, DomainName, LocalPart};
use std::sync::Arc;

pub mod owned;
mod row;
#[cfg(test)]
mod tests;

pub use row::{AppPassword, Entry, Given, Kept, Own, Print, Secrets, Totp};

/// Aliases of one person.
pub const ALIASES_MOST: usize = 100;
/// App passwords of one person; who has more programs than that has old ones to take back.
pub const APP_PASSWORDS_MOST: usize = 32;
/// The longest name of a person or program, in octets: it stands in header fields and lists.
pub const NAME_MOST: usize = 255;
/// People of one page.
pub const PAGE_MOST: usize = 200;
/// How often a change that others come in the way of is tried.
const TRIES: usize = 16;

/// Why a change was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeopleError {
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody that the API keeps has this address.
    #[error("nobody has this address")]
    Nobody,
    /// There is no such app password, script or identity, or no second factor that waits for a code.
    #[error("there is no such thing")]
    Missing,
    /// Another script has this name.
    #[error("another script is called so")]
    NameTaken,
    /// The active script is not removed.
    #[error("the script is active")]
    Active,
    /// Somebody that the API keeps has this address already.
    #[error("{0} is somebody's already")]
    Taken(Address),
    /// A former person's mailbox lies at the address.
    #[error("the mailbox of a former person lies here")]
    MailLies,
    /// It is not what the caller last saw.
    #[error("it was changed meanwhile")]
    Changed,
    /// More than one person may have.
    #[error("at most {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        most: usize,
    },
    /// There is a second factor already.
    #[error("there is a second factor already")]
    Confirmed,
    /// Not the code of now, or one that was given before.
    #[error("the code is wrong")]
    WrongCode,
}

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(Cause::new(why))
}

/// Whose row is changed.
#[derive(Clone, Copy, Debug)]
pub struct Whom<'a> {
    /// The account.
    pub account: &'a Address,
    /// Whether it must be a person that the API keeps; else it is known from elsewhere.
    pub kept: bool,
    /// What the row's stamp must be, where the caller has seen it.
    pub stamp: Option<u64>,
}

/// What changes about a person; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// The name.
    pub name: Option<String>,
    /// The aliases, all of them.
    pub aliases: Option<Vec<Address>>,
    /// The quota in octets, or none.
    pub quota: Option<Option<u64>>,
    /// Whether nobody can log in.
    pub suspended: Option<bool>,
}

/// The people of a data store.
pub struct People {
    data: Arc<dyn KeyValue>,
    clock: Clock,
}

impl People {
    /// Those in this store.
    pub fn new(data: Arc<dyn KeyValue>, clock: Clock) -> People {
        People { data, clock }
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Everything that is kept of an account; an empty entry where nothing is.
    ///
    /// # Errors
    /// The store's.
    pub async fn entry(&self, account: &Address) -> Result<Entry, StoreError> {
        Ok(self.read(account).await?.0)
    }

    /// Whose an address is.
    ///
    /// # Errors
    /// The store's.
    pub async fn whose(&self, address: &Address) -> Result<Option<Address>, StoreError> {
        match self.data.get(&[keys::whose(address)]).await?.pop().flatten() {
            Some(value) => owner(&value).map(Some),
            None => Ok(None),
        }
    }

    /// Whether there is somebody whom SCRAM, where it is offered, would lock out.
    ///
    /// # Errors
    /// The store's.
    pub async fn some_need_plain(&self) -> Result<bool, StoreError> {
        Ok(!self.data.scan(keys::all_without_scram(), Page::first(1)).await?.is_empty())
    }

    /// People of a domain by address, from behind `after` on: at most `most`, and never more than [`PAGE_MOST`] and one.
    ///
    /// # Errors
    /// The store's.
    pub async fn page(
        &self,
        domain: &DomainName,
        after: Option<&LocalPart>,
        most: usize,
    ) -> Result<Vec<(Address, Entry)>, StoreError> {
        // One more, so that it can be told whether there is a next page.
        let most = most.min(PAGE_MOST + 1);
        let mut found = Vec::new();
        let mut rest = keys::people(domain, after);
        while found.len() < most {
            let rows = self.data.scan(rest.clone(), Page::first(PAGE_MOST)).await?;
            let is_last = rows.len() < PAGE_MOST;
            for (key, value) in &rows {
                let Some(account) = keys::read_person(key) else { continue };
                let entry = Entry::read(value)?;
                // The others are of people that are kept elsewhere.
                if entry.kept.is_some() && found.len() < most {
                    found.push((account, entry));
                }
            }
            let Some((last, _)) = rows.last().filter(|_| !is_last) else { break };
            rest.from = Key::from([&last.0[..], &[0]].concat());
        }
        Ok(found)
    }

    /// Makes a person. Where a former person's mailbox lies at the address, only if `take_over` says that it is to be
    /// this one's.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn create(&self, account: &Address, mut kept: Kept, take_over: bool) -> Result<Entry, PeopleError> {
        fit(&mut kept, account)?;
        for _ in 0..TRIES {
            let (before, raw) = self.read(account).await?;
            if before.kept.is_some() {
                return Err(PeopleError::Taken(account.clone()));
            }
            let mut batch = Batch::new();
            if !take_over {
                let mailbox = keys::account(account);
                if self.data.get(std::slice::from_ref(&mailbox)).await?.iter().any(Option::is_some) {
                    return Err(PeopleError::MailLies);
                }
                batch.assert(mailbox, None);
            }
            // Nothing that a former person had beside passes on.
            let after = Entry { stamp: chance()?, kept: Some(kept.clone()), ..Entry::default() };
            batch.remove(keys::owned(account)).clear(keys::owned_pieces(account, None));
            if self.commit((account, raw), (&before, &after), batch).await? {
                return Ok(after);
            }
        }
        Err(busy())
    }

    /// Changes a person's name, aliases, quota or suspension.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn update(&self, whom: Whom<'_>, update: &Update) -> Result<Entry, PeopleError> {
        let edit = |entry: &mut Entry| {
            let kept = entry.kept.as_mut().ok_or(PeopleError::Nobody)?;
            if let Some(name) = &update.name {
                kept.name.clone_from(name);
            }
            if let Some(aliases) = &update.aliases {
                kept.aliases.clone_from(aliases);
            }
            kept.quota = update.quota.unwrap_or(kept.quota);
            kept.suspended = update.suspended.unwrap_or(kept.suspended);
            fit(kept, whom.account)
        };
        Ok(self.alter(whom, edit).await?.0)
    }

    /// Sets what a person proves itself by.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn set_secrets(&self, whom: Whom<'_>, secrets: &Secrets) -> Result<Entry, PeopleError> {
        let edit = |entry: &mut Entry| {
            entry.kept.as_mut().ok_or(PeopleError::Nobody)?.secrets = secrets.clone();
            Ok(())
        };
        Ok(self.alter(whom, edit).await?.0)
    }

    /// Sets a password in place of the one that the spec gives somebody; `None` takes it back.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn set_own(&self, whom: Whom<'_>, own: Option<(&Secrets, Print)>) -> Result<(), PeopleError> {
        let own = own.map(|(secrets, replaces)| Own::new(secrets.clone(), replaces));
        let edit = |entry: &mut Entry| {
            entry.own.clone_from(&own);
            Ok(())
        };
        self.alter(whom, edit).await.map(drop)
    }

    /// Removes a person with its addresses and everything that it owns but the mailbox.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn remove(&self, whom: Whom<'_>) -> Result<(), PeopleError> {
        for _ in 0..TRIES {
            let (before, raw) = self.seen(whom).await?;
            let mut batch = Batch::new();
            batch.remove(keys::owned(whom.account)).clear(keys::owned_pieces(whom.account, None));
            if self.commit((whom.account, raw), (&before, &Entry::default()), batch).await? {
                return Ok(());
            }
        }
        Err(busy())
    }

    /// Makes an app password, and shows it this once. `until` is in milliseconds since 1970.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn add_app_password(
        &self,
        whom: Whom<'_>,
        name: &str,
        (scope, until): (Scope, Option<i64>),
    ) -> Result<(AppPassword, String), PeopleError> {
        let (given, shown) = Given::fresh()?;
        let digest = given.digest(whom.account);
        let made = AppPassword { id: chance()?, name: name.to_owned(), scope, made: self.now(), until, digest };
        let edit = |entry: &mut Entry| {
            if entry.app_passwords.len() >= APP_PASSWORDS_MOST {
                return Err(PeopleError::TooMany { what: "app passwords", most: APP_PASSWORDS_MOST });
            }
            entry.app_passwords.push(made.clone());
            Ok(())
        };
        self.alter(whom, edit).await?;
        Ok((made, shown))
    }

    /// Takes an app password back.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn remove_app_password(&self, whom: Whom<'_>, id: u64) -> Result<(), PeopleError> {
        let edit = |entry: &mut Entry| {
            let before = entry.app_passwords.len();
            entry.app_passwords.retain(|one| one.id != id);
            (entry.app_passwords.len() < before).then_some(()).ok_or(PeopleError::Missing)
        };
        self.alter(whom, edit).await.map(drop)
    }

    /// Makes a secret for a second factor, which counts once it is confirmed. One that is confirmed already has to be
    /// removed first.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn begin_totp(&self, whom: Whom<'_>) -> Result<[u8; totp::SECRET_LENGTH], PeopleError> {
        let mut secret = [0; totp::SECRET_LENGTH];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| unavailable("the system gives no random octets"))?;
        let edit = |entry: &mut Entry| {
            if entry.totp.as_ref().is_some_and(|totp| totp.confirmed) {
                return Err(PeopleError::Confirmed);
            }
            entry.totp = Some(Totp { secret, confirmed: false, last: 0 });
            Ok(())
        };
        self.alter(whom, edit).await?;
        Ok(secret)
    }

    /// Takes a code: the first one confirms the secret, and none counts twice.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn take_code(&self, whom: Whom<'_>, code: &str) -> Result<(), PeopleError> {
        let now = self.now();
        let edit = |entry: &mut Entry| {
            let totp = entry.totp.as_mut().ok_or(PeopleError::Missing)?;
            totp.last = totp::step_of(&totp.secret, code, now, totp.last).ok_or(PeopleError::WrongCode)?;
            totp.confirmed = true;
            Ok(())
        };
        self.alter(whom, edit).await.map(drop)
    }

    /// Removes the second factor.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn remove_totp(&self, whom: Whom<'_>) -> Result<(), PeopleError> {
        self.alter(whom, |entry| entry.totp.take().map(drop).ok_or(PeopleError::Missing)).await.map(drop)
    }

    /// Keeps a password that was right as it would be kept today, where it is kept otherwise: that of a person kept here, or
    /// the one that somebody of the spec has in place of the spec's. Tried once: the next login is another chance.
    ///
    /// # Errors
    /// The store's.
    pub async fn renew(
        &self,
        (account, of_spec): (&Address, bool),
        seen: &Entry,
        password: &str,
    ) -> Result<(), PeopleError> {
        let mut seen = seen.clone();
        let Some(old) = seen.secrets_mut(of_spec).filter(|secrets| secrets.are_old()) else { return Ok(()) };
        // The person may have come in by a password for a single program.
        if !old.are_proved_by(password.to_owned()).await {
            return Ok(());
        }
        let new = Secrets::of_password(password.to_owned()).await?;
        let (before, raw) = self.read(account).await?;
        // The stamp stays: nothing changed that anybody can see.
        let mut after = before.clone();
        if let Some(secrets) = after.secrets_mut(of_spec).filter(|secrets| **secrets == *old) {
            *secrets = old.renewed(new);
            self.commit((account, raw), (&before, &after), Batch::new()).await?;
        }
        Ok(())
    }

    async fn read(&self, account: &Address) -> Result<(Entry, Option<Bytes>), StoreError> {
        let raw = self.data.get(&[keys::person(account)]).await?.pop().flatten();
        let entry = raw.as_deref().map(Entry::read).transpose()?.unwrap_or_default();
        Ok((entry, raw))
    }

    /// A person's row, if it is the one that is to be changed.
    async fn seen(&self, whom: Whom<'_>) -> Result<(Entry, Option<Bytes>), PeopleError> {
        let (entry, raw) = self.read(whom.account).await?;
        if whom.kept && entry.kept.is_none() {
            return Err(PeopleError::Nobody);
        }
        if whom.stamp.is_some_and(|stamp| stamp != entry.stamp) {
            return Err(PeopleError::Changed);
        }
        Ok((entry, raw))
    }

    async fn alter<T>(
        &self,
        whom: Whom<'_>,
        edit: impl Fn(&mut Entry) -> Result<T, PeopleError>,
    ) -> Result<(Entry, T), PeopleError> {
        for _ in 0..TRIES {
            let (before, raw) = self.seen(whom).await?;
            let mut after = before.clone();
            let out = edit(&mut after)?;
            if after == before {
                return Ok((before, out));
            }
            after.stamp = chance()?;
            if self.commit((whom.account, raw), (&before, &after), Batch::new()).await? {
                return Ok((after, out));
            }
        }
        Err(busy())
    }

    /// Writes an entry in place of another with all that follows from it; `false` where somebody was faster.
    async fn commit(
        &self,
        (account, raw): (&Address, Option<Bytes>),
        (before, after): (&Entry, &Entry),
        mut batch: Batch,
    ) -> Result<bool, PeopleError> {
        let key = keys::person(account);
        batch.assert(key.clone(), raw);
        match after.is_empty() {
            true => batch.remove(key),
            false => batch.put(key, after.write()),
        };
        let (old, new): (Vec<_>, Vec<_>) = (before.addresses(account).collect(), after.addresses(account).collect());
        let claimed: Vec<&Address> = new.iter().copied().filter(|address| !old.contains(address)).collect();
        let claims: Vec<Key> = claimed.iter().map(|address| keys::whose(address)).collect();
        let owners = if claims.is_empty() { Vec::new() } else { self.data.get(&claims).await? };
        if let Some((address, _)) = claimed.iter().zip(&owners).find(|(_, owner)| owner.is_some()) {
            return Err(PeopleError::Taken((*address).clone()));
        }
        for claim in claims {
            batch.assert(claim.clone(), None).put(claim, account.to_string().into_bytes());
        }
        for address in old.into_iter().filter(|address| !new.contains(address)) {
            batch.remove(keys::whose(address));
        }
        match (before.needs_plain(), after.needs_plain()) {
            (false, true) => batch.put(keys::without_scram(account), Bytes::new()),
            (true, false) => batch.remove(keys::without_scram(account)),
            _ => &mut batch,
        };
        match self.data.commit(batch).await {
            Ok(()) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Unknown) => Err(unavailable("it is not known whether the change happened").into()),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}

fn owner(value: &[u8]) -> Result<Address, StoreError> {
    let corrupt = || StoreError::Corrupt { what: "whose an address is".to_owned() };
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(corrupt)
}

fn busy() -> PeopleError {
    unavailable("others keep changing the same person").into()
}

/// Puts a person's aliases in order and holds them against the limit. The longest row stays far below
/// [`crate::kv::VALUE_MOST`].
fn fit(kept: &mut Kept, account: &Address) -> Result<(), PeopleError> {
    kept.aliases.sort();
    kept.aliases.dedup();
    kept.aliases.retain(|alias| alias != account);
    if kept.aliases.len() > ALIASES_MOST {
        return Err(PeopleError::TooMany { what: "aliases", most: ALIASES_MOST });
    }
    Ok(())
}
