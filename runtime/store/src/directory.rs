//! Who people are: whom an address belongs to, and whether somebody is who it says.
//!
//! The people of the spec are [`internal`], known from the configuration and asked without waiting. Those that the API
//! keeps are [`people`], read from the data store. Everybody else is in a [`Directory`]: [`ldap`] or [`sql`], asked
//! through a [`cache`]. [`router`] holds them all and asks the one of the address's domain; nothing outside looks at a
//! directory itself.
//!
//! A directory that does not answer is [`StoreError::Unavailable`], never "nobody": mail waits, logins are to be tried
//! again, and nothing bounces.

use crate::error::StoreError;
use crate::password::{self, Scram};
use async_trait::async_trait;
use schema::config::List;
use schema::name::Address;
use std::fmt;
use std::sync::Arc;

pub mod cache;
pub mod internal;
pub mod ldap;
pub mod people;
pub mod router;
pub mod sql;
pub mod totp;

/// Members of one group or address of a directory; one with more is refused as misconfigured.
pub const MEMBERS_MOST: usize = 1000;
/// Groups within each other that a directory's groups are followed through.
pub const NESTED_MOST: usize = 10;
/// Hashes and verifiers of one person that a password is held against.
pub const SECRETS_MOST: usize = 16;
/// The longest text that is looked for in a directory, in octets: an address of RFC 5321 §4.5.3.1 fits.
pub const ASKED_MOST: usize = 320;

/// A service that somebody logs in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// Sending mail.
    Submission,
    /// ManageSieve.
    Sieve,
    /// JMAP.
    Jmap,
    /// CalDAV and CardDAV.
    Dav,
}

impl Access {
    /// All of them.
    pub const ALL: [Access; 6] =
        [Access::Imap, Access::Pop3, Access::Submission, Access::Sieve, Access::Jmap, Access::Dav];

    /// The name, as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Access::Imap => "imap",
            Access::Pop3 => "pop3",
            Access::Submission => "submission",
            Access::Sieve => "sieve",
            Access::Jmap => "jmap",
            Access::Dav => "dav",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope(u8);

impl Scope {
    /// Every service, also those to come.
    pub const ALL: Scope = Scope(u8::MAX);

    /// Of these services.
    pub fn of(services: impl IntoIterator<Item = Access>) -> Scope {
        Scope(services.into_iter().fold(0, |bits, one| bits | one.bit()))
    }

    /// Whether a service is in it.
    pub fn has(self, service: Access) -> bool {
        self.0 & service.bit() != 0
    }

    /// As it is kept.
    fn octet(self) -> u8 {
        self.0
    }

    /// What was kept; services that this version does not know are none.
    fn of_octet(octet: u8) -> Scope {
        Scope(octet)
    }
}

/// What an address stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A person's mailbox.
    Account {
        /// Whose.
        account: Address,
        /// What stood behind the `+` (RFC 5233), where it did not matter.
        detail: Option<String>,
    },
    /// Several people, who each get a copy.
    Group {
        /// The group.
        address: Address,
        /// Whose mail it is; may name groups again.
        members: Vec<Address>,
    },
    /// A mailing list.
    List(Arc<List>),
}

/// What proves that somebody is a person of a directory.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// A password's hash or a SCRAM verifier, as [`crate::password`] reads it.
    pub secret: String,
    /// What it is good for.
    pub scope: Scope,
}

/// A person of a directory.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// The mailbox.
    pub address: Address,
    /// By which login it was found.
    pub login: String,
    /// The name; empty where none is known.
    pub name: String,
    /// Other addresses.
    pub aliases: Vec<Address>,
    /// Groups that it is in, as the directory calls them.
    pub groups: Vec<String>,
    /// How much the mailbox may keep, in octets; `None`: anything.
    pub quota: Option<u64>,
    /// What the person logs in by; empty where the directory does not give that away.
    pub proofs: Vec<Proof>,
    /// Gets mail, and does not log in.
    pub suspended: bool,
    /// Where the directory has it: a distinguished name, or nothing.
    pub place: String,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person").field("address", &self.address).field("place", &self.place).finish_non_exhaustive()
    }
}

impl Person {
    /// What the person logs in to a service by.
    pub fn secrets(&self, access: Access) -> Vec<String> {
        self.proofs.iter().filter(|proof| proof.scope.has(access)).map(|proof| proof.secret.clone()).collect()
    }

    /// The verifier that a service's SCRAM uses.
    pub fn verifier(&self, access: Access) -> Option<Scram> {
        let mut proofs = self.proofs.iter().filter(|proof| !self.suspended && proof.scope.has(access));
        proofs.find_map(|proof| password::scram(&proof.secret))
    }

    /// Whether an address is one of the person's own, as far as the directory lists them.
    pub fn has(&self, address: &Address) -> bool {
        self.address == *address || self.aliases.contains(address)
    }
}

/// What a directory says an address stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// One person.
    Person(Arc<Person>),
    /// Several people.
    Several {
        /// Their addresses; in other domains too.
        members: Vec<Address>,
        /// Whether they may send as it: true for a group, false for an address that only happens to have several people.
        send_as: bool,
    },
}

/// People that are kept elsewhere.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// What it is, in words: for the log.
    fn name(&self) -> &str;
    /// Whether it can be asked, and is set up as the configuration says.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where waiting may help, [`StoreError::Misconfigured`] where not.
    async fn check(&self) -> Result<(), StoreError>;
    /// What an address stands for; `None`: nobody has it.
    async fn find(&self, address: &Address) -> Result<Option<Found>, StoreError>;
    /// The person that logs in by this name; `None`: nobody does.
    async fn person(&self, login: &str) -> Result<Option<Arc<Person>>, StoreError>;
    /// Whether the password is the person's, where the directory itself says so; `None`: the caller compares it with
    /// [`Person::proofs`]. Never asked about an empty password.
    async fn proves(&self, person: &Person, password: &str) -> Result<Option<bool>, StoreError>;
    /// Whether passwords can be kept anew.
    fn is_written(&self) -> bool {
        false
    }
    /// Keeps a hash and, where there is room for it, a SCRAM verifier in place of an old hash; false where that is not what
    /// is kept any more.
    async fn renew(&self, _person: &Person, _old: &str, _new: (&str, &str)) -> Result<bool, StoreError> {
        Ok(false)
    }
}
