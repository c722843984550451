//! What was found out about a mail platform, from whichever source, before it becomes a spec.

use crate::zone::{Kind, Rdata};
use schema::name::{Address, DomainName, HostName, LocalPart};
use schema::spec::{Credential, Dmarc, ExtraRecord, MtaStsMode, Posting, RecordName, Spf};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The most notes that are kept; more are counted.
const MOST_NOTES: usize = 20_000;
/// The most mailboxes, aliases and lists, each.
pub const MOST_PEOPLE: usize = 1_000_000;
/// The most domains: each is a file of the spec, whose root is one too.
pub const MOST_DOMAINS: usize = crate::read::files::MOST_FILES - 1;

/// What a note is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The platform.
    Platform,
    /// A machine.
    Host(HostName),
    /// A domain.
    Domain(DomainName),
    /// A node of a domain, `dmarc`.
    Node(DomainName, &'static str),
    /// An account.
    Person(Address),
}

/// What somebody should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// It is not known; this is the safest that it may be.
    Guessed,
    /// It was there, and is not in the spec.
    Left,
}

/// A person with a mailbox.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The person's name.
    pub name: Option<String>,
    /// Hashes and verifiers.
    pub credentials: Vec<Credential>,
    /// Octets.
    pub quota: Option<u64>,
}

/// An address whose mail others get.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    /// Who.
    pub to: BTreeSet<Address>,
    /// The members may send by it.
    pub group: bool,
}

/// A mailing list.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Its name.
    pub name: Option<String>,
    /// Who gets its mail.
    pub members: BTreeSet<Address>,
    /// Who may post, where that is known.
    pub posting: Option<Posting>,
}

/// A machine.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Services by the language's names, and their ports.
    pub listen: BTreeMap<&'static str, BTreeSet<u16>>,
}

/// A DKIM key that is published: `k=` and `p=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// `rsa` or `ed25519`.
    pub algorithm: schema::spec::DkimAlgorithm,
    /// Base64.
    pub public: String,
}

/// The records of a domain that have to do with mail, as the world sees them.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// By name and type.
    pub sets: BTreeMap<(DomainName, Kind), Vec<Rdata>>,
    /// The usual time to live, in seconds.
    pub ttl: Option<u64>,
}

/// A mail domain.
#[derive(Clone, Debug, Default)]
pub struct Domain {
    /// Hosts of the spec that take its mail.
    pub hosts: Vec<(u16, HostName)>,
    /// Its zone, where that was seen.
    pub live: Option<Live>,
    /// Who else sends.
    pub spf: Option<Spf>,
    /// What others do with what is not its.
    pub dmarc: Option<Dmarc>,
    /// MTA-STS.
    pub mta_sts: Option<MtaStsMode>,
    /// Who hears of TLS troubles.
    pub tls_report: Vec<Address>,
    /// The zone is signed.
    pub dnssec: bool,
    /// Sets that its nodes say, if in other words.
    pub accepted: BTreeSet<(DomainName, Kind)>,
    /// Keys by selector.
    pub published: BTreeMap<String, Published>,
    /// Keys to sign with: selector, key, and the private file from the spec's folder.
    pub dkim: Vec<(String, Published, String)>,
    /// Records kept as they are, and why.
    pub records: Vec<(ExtraRecord, String)>,
    /// Derived sets that are not published.
    pub omit: Vec<(RecordName, String)>,
    /// What each account may keep, in octets.
    pub quota: Option<u64>,
    /// Who gets what nobody has.
    pub catch_all: Option<Address>,
}

/// Everything.
#[derive(Debug, Default)]
pub struct Facts {
    /// The machine that the configuration is of.
    pub machine: Option<HostName>,
    /// What is known of that machine, whatever its name is.
    pub own: Host,
    /// The machines.
    pub hosts: BTreeMap<HostName, Host>,
    /// The mail domains.
    pub domains: BTreeMap<DomainName, Domain>,
    /// People with a mailbox.
    pub accounts: BTreeMap<Address, Account>,
    /// Aliases, groups and what forwards.
    pub forwards: BTreeMap<Address, Forward>,
    /// Lists.
    pub lists: BTreeMap<Address, List>,
    /// Domains all of whose addresses are those of another.
    pub twins: BTreeMap<DomainName, DomainName>,
    /// What every mailbox may hold that says nothing itself, in octets.
    pub common_quota: Option<u64>,
    /// The largest message, in octets.
    pub message_size: Option<u64>,
    /// What to look at.
    pub notes: BTreeMap<Place, BTreeSet<(Sort, String)>>,
    /// How much was taken of what.
    pub taken: BTreeMap<String, usize>,
    noted: usize,
    /// Notes for which there was no room.
    pub unsaid: usize,
}

impl Facts {
    /// Notes that something was guessed or left out. Never with a secret.
    pub fn note(&mut self, place: Place, sort: Sort, text: impl Into<String>) {
        if self.noted == MOST_NOTES {
            self.unsaid += 1;
        } else if self.notes.entry(place).or_default().insert((sort, text.into())) {
            self.noted += 1;
        }
    }

    /// Something of the platform is not in the spec.
    pub fn left(&mut self, text: impl Into<String>) {
        self.note(Place::Platform, Sort::Left, text);
    }

    /// Something of a domain is not in the spec.
    pub fn left_of(&mut self, domain: &DomainName, text: impl Into<String>) {
        self.note(Place::Domain(domain.clone()), Sort::Left, text);
    }

    /// Something of the domain was guessed.
    pub fn guessed_of(&mut self, domain: &DomainName, text: impl Into<String>) {
        self.note(Place::Domain(domain.clone()), Sort::Guessed, text);
    }

    /// What a node of the domain says was guessed.
    pub fn guessed_in(&mut self, domain: &DomainName, node: &'static str, text: impl Into<String>) {
        self.note(Place::Node(domain.clone(), node), Sort::Guessed, text);
    }

    /// Counts what was taken.
    pub fn took(&mut self, what: &str, count: usize) {
        if count > 0 {
            *self.taken.entry(what.to_owned()).or_default() += count;
        }
    }

    /// A mail domain; `None` where the name is none, or there are too many.
    pub fn domain(&mut self, name: &str) -> Option<&mut Domain> {
        let host: HostName = match name.parse() {
            Ok(host) => host,
            Err(why) => {
                self.left(format!("the domain `{name}`, whose name {why}"));
                return None;
            }
        };
        let name = host.domain().clone();
        if self.domains.len() >= MOST_DOMAINS && !self.domains.contains_key(&name) {
            self.left(format!("the domain `{name}`: a spec has at most {MOST_DOMAINS}"));
            return None;
        }
        Some(self.domains.entry(name).or_default())
    }

    /// An address, where it is one that can be configured.
    pub fn address(&mut self, text: &str) -> Option<Address> {
        let text = text.trim();
        match text.parse::<Address>() {
            Ok(address) if address.domain.as_str().parse::<HostName>().is_ok() => Some(address),
            Ok(_) => {
                self.left(format!("the address `{text}`, whose domain is none of the Internet's"));
                None
            }
            Err(why) => {
                self.left(format!("the address `{text}`: it {why}"));
                None
            }
        }
    }

    /// A mailbox, made where it is not known yet.
    pub fn account(&mut self, address: &Address) -> Option<&mut Account> {
        if self.accounts.len() >= MOST_PEOPLE && !self.accounts.contains_key(address) {
            self.left(format!("mailboxes over {MOST_PEOPLE}"));
            return None;
        }
        self.domain(address.domain.as_str())?;
        Some(self.accounts.entry(address.clone()).or_default())
    }

    /// Lets somebody have the mail of an address.
    pub fn forward(&mut self, from: &Address, to: Address) {
        if self.forwards.len() >= MOST_PEOPLE && !self.forwards.contains_key(from) {
            self.left(format!("aliases over {MOST_PEOPLE}"));
        } else if self.domain(from.domain.as_str()).is_some() {
            self.forwards.entry(from.clone()).or_default().to.insert(to);
        }
    }

    /// Lets somebody have what nobody has; `domain` as in `@example.org`.
    pub fn catch_all(&mut self, domain: &str, to: &Address) {
        let Some(found) = self.domain(domain) else { return };
        let other = found.catch_all.get_or_insert_with(|| to.clone()) != to;
        if other {
            self.left(format!("a second catch-all of `{domain}`, `{to}`"));
        }
    }

    /// A person's name, where it can stand in a header field.
    pub fn name(&mut self, address: &Address, name: &str) {
        const LONGEST_NAME: usize = 256;
        let name = name.trim();
        if name.is_empty() || name == address.to_string() {
            return;
        }
        if name.len() > LONGEST_NAME || name.contains(char::is_control) {
            let text = "the name, which is too long or holds control characters";
            self.note(Place::Person(address.clone()), Sort::Left, text);
        } else if let Some(account) = self.account(address) {
            account.name = Some(name.to_owned());
        }
    }

    /// What a mailbox may hold; nothing and less than that is no limit.
    pub fn quota(&mut self, address: &Address, octets: u64) {
        if let Some(account) = self.account(address).filter(|_| octets > 0) {
            account.quota = Some(octets);
        }
    }

    /// The domain that names without one belong to.
    pub fn home(&self) -> Option<DomainName> {
        let mut at = self.machine.as_ref().map(|machine| machine.domain().clone());
        while let Some(name) = at {
            if self.domains.contains_key(&name) {
                return Some(name);
            }
            at = name.parent();
        }
        self.domains.keys().next().filter(|_| self.domains.len() == 1).cloned()
    }

    /// An address of which the domain may be left out.
    pub fn address_at_home(&mut self, text: &str) -> Option<Address> {
        let text = text.trim();
        if text.contains('@') {
            return self.address(text);
        }
        match (text.parse::<LocalPart>(), self.home()) {
            (Ok(local), Some(home)) => Some(Address::new(local, home)),
            (Ok(_), None) => {
                self.left(format!(
                    "`{text}`, of which it is not known which domain it belongs to: name one by --domain"
                ));
                None
            }
            (Err(why), _) => {
                self.left(format!("the name `{text}`: it {why}"));
                None
            }
        }
    }
}
