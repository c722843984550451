//! What is kept of one person, and how it is packed.

use crate::error::StoreError;
use crate::password;
use crate::row::{Packer, Unpacker};
use aws_lc_rs::{constant_time, digest};
use schema::config::Account;
use schema::name::Address;
use schema::spec::Credential;
use std::fmt;

use super::super::{Access, Person, Proof, Scope, totp};

const VERSION: u8 = 2;
/// Before people could be suspended, and have a password in place of the spec's.
const VERSION_BEFORE: u8 = 1;
const WHAT: &str = "a person kept by the API";
/// Letters and digits of an app password: RFC 4648 §6's in small letters, none of which look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Random characters of an app password: 125 bits.
const CHARACTERS: usize = 25;

/// What a person proves itself by. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// A password hash.
    pub(super) hash: Option<String>,
    /// A SCRAM verifier.
    pub(super) scram: Option<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Secrets {
    /// An argon2id hash and a SCRAM verifier of a password.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the system gives no random octets or no time.
    pub async fn of_password(given: String) -> Result<Secrets, StoreError> {
        let made = tokio::task::spawn_blocking(move || password::fresh(&given)).await;
        let (hash, scram) = made.ok().flatten().ok_or_else(|| super::unavailable("no password can be hashed now"))?;
        Ok(Secrets { hash: Some(hash), scram: Some(scram) })
    }

    /// A hash or verifier that was made elsewhere; `None` where no password could ever match it.
    pub fn foreign(text: &str) -> Option<Secrets> {
        let is_scram = password::scram(text).is_some();
        let text = password::is_hash(text).then(|| text.to_owned())?;
        Some(match is_scram {
            true => Secrets { hash: None, scram: Some(text) },
            false => Secrets { hash: Some(text), scram: None },
        })
    }

    /// Whether there is anything that a password is held against.
    pub fn are_there(&self) -> bool {
        self.hash.is_some() || self.scram.is_some()
    }

    fn read(row: &mut Unpacker<'_>) -> Result<Secrets, StoreError> {
        Ok(Secrets { hash: row.option()?.map(str::to_owned), scram: row.option()?.map(str::to_owned) })
    }

    /// The SCRAM verifier, as [`crate::password::scram`] reads it.
    pub fn verifier(&self) -> Option<&str> {
        self.scram.as_deref()
    }

    /// All of them, as [`crate::password`] reads them.
    pub fn texts(&self) -> Vec<String> {
        self.hash.iter().chain(&self.scram).cloned().collect()
    }

    /// Whether this is the password that they are of.
    pub(super) async fn are_proved_by(&self, given: String) -> bool {
        let texts = self.texts();
        let check = move || texts.iter().any(|hash| password::matches(&given, hash));
        tokio::task::spawn_blocking(check).await.unwrap_or(false)
    }

    /// Whether they are not what would be made today of the same password.
    pub(super) fn are_old(&self) -> bool {
        self.scram.is_none() || self.hash.as_ref().is_none_or(|hash| !hash.starts_with("$argon2id$"))
    }

    /// These, with what they lack or is old taken from new ones.
    pub(super) fn renewed(&self, new: Secrets) -> Secrets {
        let argon2 = self.hash.clone().filter(|hash| hash.starts_with("$argon2id$"));
        Secrets { hash: argon2.or(new.hash), scram: self.scram.clone().or(new.scram) }
    }
}

/// A person that the API keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The name; empty where none is given.
    pub name: String,
    /// Other addresses, sorted, each once.
    pub aliases: Vec<Address>,
    /// What the mailbox may hold, in octets; `None`: what the domain says.
    pub quota: Option<u64>,
    /// What the person proves itself by.
    pub secrets: Secrets,
    /// Nobody can log in, and mail is kept.
    pub suspended: bool,
}

/// Which passwords the spec gives somebody, not telling them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print([u8; 32]);

impl Print {
    /// Of what the spec gives; `None` where nobody can log in by it, so that nothing takes its place.
    pub fn of(account: &Account) -> Option<Print> {
        if account.suspended || account.credentials.is_empty() {
            return None;
        }
        let mut digest = digest::Context::new(&digest::SHA256);
        for one in &account.credentials {
            let (Credential::Hash(text) | Credential::Scram(text)) = one;
            digest.update(&(text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        }
        digest.finish().as_ref().try_into().ok().map(Print)
    }
}

/// A password that a person of the spec has in place of the one that the spec gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The password.
    secrets: Secrets,
    /// What the spec gave when this one was set. Once the spec gives another, this one counts no more.
    replaces: Print,
}

impl Own {
    /// One in place of what the spec gives.
    pub(super) fn new(secrets: Secrets, replaces: Print) -> Own {
        Own { secrets, replaces }
    }

    /// What the person proves itself by, as [`crate::password`] reads it.
    pub fn secrets(&self) -> Vec<String> {
        self.secrets.texts()
    }

    /// The SCRAM verifier, as [`crate::password::scram`] reads it.
    pub fn verifier(&self) -> Option<&str> {
        self.secrets.verifier()
    }
}

/// A password for one program.
///
/// Its 125 random bits are what protects it: nobody guesses them, whatever a guess costs. So it is kept as one SHA-256,
/// which is as fast to check as mail programs log in, and not as argon2id, which is for what people think of. The
/// account goes into the digest, so that one is nobody else's.
#[derive(Clone, PartialEq, Eq)]
pub struct AppPassword {
    /// By which it is taken back.
    pub id: u64,
    /// For which program, in the person's words.
    pub name: String,
    /// For which services.
    pub scope: Scope,
    /// When it was made, in milliseconds since 1970.
    pub made: i64,
    /// When it ends, in milliseconds since 1970; `None`: never.
    pub until: Option<i64>,
    pub(super) digest: [u8; 32],
}

impl fmt::Debug for AppPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppPassword").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A second factor.
#[derive(Clone, PartialEq, Eq)]
pub struct Totp {
    pub(super) secret: [u8; totp::SECRET_LENGTH],
    /// Whether a code has shown that the person has it.
    pub confirmed: bool,
    /// The last step that a code was given of.
    pub(super) last: u64,
}

impl fmt::Debug for Totp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Totp").field("confirmed", &self.confirmed).finish_non_exhaustive()
    }
}

/// Everything that is kept of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Another number by chance after every change; 0 where nothing is kept.
    pub stamp: u64,
    /// The person; `None`: it is kept elsewhere, and has the rest of this beside.
    pub kept: Option<Kept>,
    /// A password in place of the spec's.
    pub own: Option<Own>,
    /// Passwords for single programs.
    pub app_passwords: Vec<AppPassword>,
    /// The second factor.
    pub totp: Option<Totp>,
}

impl Entry {
    /// The app password that was given, if it opens this service now.
    pub fn opened_by(&self, account: &Address, given: &Given, (access, now): (Access, i64)) -> Option<&AppPassword> {
        let digest = given.digest(account);
        let is_it = |one: &&AppPassword| constant_time::verify_slices_are_equal(&one.digest, &digest).is_ok();
        let found = self.app_passwords.iter().find(is_it)?;
        Some(found).filter(|one| one.scope.has(access) && one.until.is_none_or(|until| now < until))
    }

    /// The person as other directories have theirs.
    pub fn person(&self, account: &Address) -> Option<Person> {
        let kept = self.kept.as_ref()?;
        Some(Person {
            address: account.clone(),
            login: account.to_string(),
            name: kept.name.clone(),
            aliases: kept.aliases.clone(),
            groups: Vec::new(),
            quota: kept.quota,
            proofs: kept.secrets.texts().into_iter().map(|secret| Proof { secret, scope: Scope::ALL }).collect(),
            suspended: kept.suspended,
            place: String::new(),
        })
    }

    /// Nothing that would be missed.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_none() && self.own.is_none() && self.app_passwords.is_empty() && self.totp.is_none()
    }

    /// Every address that is the person's own.
    pub(crate) fn addresses<'a>(&'a self, account: &'a Address) -> impl Iterator<Item = &'a Address> {
        self.kept.iter().flat_map(move |kept| std::iter::once(account).chain(&kept.aliases))
    }

    /// Whether a client that takes SCRAM because it is offered could not log in: the password has no verifier, or is one
    /// for a single program, which never has.
    pub(crate) fn needs_plain(&self) -> bool {
        let unverified = |secrets: &Secrets| secrets.are_there() && secrets.scram.is_none();
        let kept = self.kept.as_ref().map(|kept| &kept.secrets);
        let own = self.own.as_ref().map(|own| &own.secrets);
        kept.into_iter().chain(own).any(unverified) || !self.app_passwords.is_empty()
    }

    /// The password of a person that is kept here; or the one in place of the spec's.
    pub(super) fn secrets_mut(&mut self, of_spec: bool) -> Option<&mut Secrets> {
        match of_spec {
            true => self.own.as_mut().map(|own| &mut own.secrets),
            false => self.kept.as_mut().map(|kept| &mut kept.secrets),
        }
    }

    /// The password in place of what the spec gives, if it still counts.
    pub fn in_place_of(&self, given: &Print) -> Option<&Secrets> {
        self.own.as_ref().filter(|own| own.replaces == *given).map(|own| &own.secrets)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut row = Packer::new(VERSION);
        row.u64(self.stamp);
        row.u8(self.kept.is_some().into());
        if let Some(kept) = &self.kept {
            row.text(&kept.name).option(kept.secrets.hash.as_deref()).option(kept.secrets.scram.as_deref());
            row.u8(kept.quota.is_some().into()).u64(kept.quota.unwrap_or(0)).u8(kept.suspended.into());
            row.u32(count(kept.aliases.len()));
            kept.aliases.iter().for_each(|alias| {
                row.text(&alias.to_string());
            });
        }
        row.u8(self.own.is_some().into());
        if let Some(own) = &self.own {
            row.option(own.secrets.hash.as_deref()).option(own.secrets.scram.as_deref()).fixed(&own.replaces.0);
        }
        row.u32(count(self.app_passwords.len()));
        for one in &self.app_passwords {
            row.u64(one.id).text(&one.name).u8(one.scope.octet()).i64(one.made);
            row.u8(one.until.is_some().into()).i64(one.until.unwrap_or(0)).fixed(&one.digest);
        }
        row.u8(self.totp.is_some().into());
        if let Some(totp) = &self.totp {
            row.fixed(&totp.secret).u8(totp.confirmed.into()).u64(totp.last);
        }
        row.done()
    }

    pub(crate) fn read(value: &[u8]) -> Result<Entry, StoreError> {
        let version = if value.first() == Some(&VERSION_BEFORE) { VERSION_BEFORE } else { VERSION };
        let mut row = Unpacker::new(value, version, WHAT)?;
        let mut entry = Entry { stamp: row.u64()?, ..Entry::default() };
        if row.u8()? == 1 {
            let name = row.text()?.to_owned();
            let secrets = Secrets::read(&mut row)?;
            let (limited, octets) = (row.u8()?, row.u64()?);
            let suspended = version != VERSION_BEFORE && row.u8()? == 1;
            let quota = (limited == 1).then_some(octets);
            let mut kept = Kept { name, secrets, quota, suspended, aliases: Vec::new() };
            for _ in 0..row.u32()? {
                let alias = row.text()?.parse().map_err(|_| StoreError::Corrupt { what: WHAT.to_owned() })?;
                kept.aliases.push(alias);
            }
            entry.kept = Some(kept);
        }
        if version != VERSION_BEFORE && row.u8()? == 1 {
            entry.own = Some(Own { secrets: Secrets::read(&mut row)?, replaces: Print(row.fixed()?) });
        }
        for _ in 0..row.u32()? {
            let (id, name, scope, made) = (row.u64()?, row.text()?.to_owned(), Scope::of_octet(row.u8()?), row.i64()?);
            let (ends, until) = (row.u8()?, row.i64()?);
            let until = (ends == 1).then_some(until);
            entry.app_passwords.push(AppPassword { id, name, scope, made, until, digest: row.fixed()? });
        }
        if row.u8()? == 1 {
            entry.totp = Some(Totp { secret: row.fixed()?, confirmed: row.u8()? == 1, last: row.u64()? });
        }
        Ok(entry)
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Something that has the form of an app password: what people type differently is the same.
pub struct Given(String);

impl Given {
    /// Reads one; `None` where it can be none.
    pub fn read(text: &str) -> Option<Given> {
        let bare: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
        let fits = bare.len() == CHARACTERS && bare.bytes().all(|c| ALPHABET.contains(&c));
        fits.then_some(Given(bare))
    }

    /// A new one, and how it is shown: in groups of five.
    pub(super) fn fresh() -> Result<(Given, String), StoreError> {
        let mut chance = [0; CHARACTERS];
        aws_lc_rs::rand::fill(&mut chance).map_err(|_| super::unavailable("the system gives no random octets"))?;
        let letters = chance.iter().filter_map(|octet| ALPHABET.get(usize::from(octet & 31)));
        let bare: String = letters.map(|letter| char::from(*letter)).collect();
        let groups: Vec<&str> = (0..CHARACTERS).step_by(5).filter_map(|at| bare.get(at..at + 5)).collect();
        let shown = groups.join("-");
        Ok((Given(bare), shown))
    }

    pub(super) fn digest(&self, account: &Address) -> [u8; 32] {
        let whole = format!("waybill app password\0{account}\0{}", self.0);
        digest::digest(&digest::SHA256, whole.as_bytes()).as_ref().try_into().unwrap_or([0; 32])
    }
}
