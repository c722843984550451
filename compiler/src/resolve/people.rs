//! Who has which address: accounts, aliases, groups and lists, and that mail for them ends somewhere.

use super::credential::{self, Worth};
use super::domains::Layers;
use crate::code::Code;
use crate::diagnostic::{Path, Report, nearest};
use crate::read::parallel;
use foldhash::{HashMap, HashMapExt, HashSet};
use schema::config::{Account, AppPassword, Group, List};
use schema::name::{Address, DomainName, LocalOrAddress, LocalPart};
use schema::spec::{self, PeopleFrom, Posting, Spec};
use schema::unit::Size;
use std::collections::hash_map::Entry;

/// How many domains' accounts are made in one go.
const TOGETHER: usize = 256;

/// Accounts, groups and lists, each sorted by address; and who has what.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// People with a mailbox.
    pub accounts: Vec<Account>,
    /// Addresses of several, or of others.
    pub groups: Vec<Group>,
    /// Mailing lists.
    pub lists: Vec<List>,
    /// Whose `postmaster` is, for each domain of the spec.
    pub postmasters: HashMap<DomainName, Option<Address>>,
    /// Who gets what nobody has, for each domain that says so.
    pub catch_alls: HashMap<DomainName, Address>,
    owners: HashMap<Address, Owner>,
    domains: HashSet<DomainName>,
    /// Domains whose people come from elsewhere.
    elsewhere: HashSet<DomainName>,
}

/// Whose an address is, and where that is written: small, since there is one for each address.
#[derive(Clone, Copy, Debug)]
struct Owner {
    what: What,
    /// Which domain of the spec.
    domain: u32,
    /// Which account, group, list or alias of the domain.
    item: u32,
    /// Which alias of the account.
    alias: Option<u32>,
    /// Which account it is in [`People::accounts`] before they are sorted.
    account: u32,
}

impl Owner {
    fn of(what: What, domain: usize, item: usize) -> Owner {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Owner { what, domain: small(domain), item: small(item), alias: None, account: u32::MAX }
    }

    /// Where the address is written.
    fn at(&self) -> Path {
        let part = match (self.what, self.alias) {
            (What::Account, _) | (What::Alias, Some(_)) => "account",
            (What::Alias, None) => "alias",
            (What::Group, _) => "group",
            (What::List, _) => "list",
        };
        let at = domain_path(self.domain as usize).field(part).item(self.item as usize);
        match self.alias {
            Some(alias) => at.field("alias").item(alias as usize),
            None => at.field("local"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Account,
    Alias,
    Group,
    List,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Account => "account",
            What::Alias => "alias",
            What::Group => "group",
            What::List => "list",
        }
    }
}

impl People {
    /// Whether mail for an address ends somewhere, as far as the spec can tell.
    pub fn has(&self, address: &Address) -> bool {
        let base = || address.local.without_detail().map(|local| Address::new(local, address.domain.clone()));
        !self.domains.contains(&address.domain)
            || self.elsewhere.contains(&address.domain)
            || address.local == LocalPart::postmaster()
            || self.owners.contains_key(address)
            || base().is_some_and(|base| self.owners.contains_key(&base))
    }

    /// Whose an address is, as the server finds it: its own owner's, else its base's, else postmaster's.
    pub fn owner_of(&self, address: &Address) -> Option<Address> {
        let owned = |address: Address| Some(address).filter(|address| self.owners.contains_key(address));
        let base = || address.local.without_detail().map(|local| Address::new(local, address.domain.clone()));
        owned(address.clone()).or_else(|| base().and_then(owned)).or_else(|| {
            let postmaster = self.postmasters.get(&address.domain).filter(|_| address.local == LocalPart::postmaster());
            postmaster.cloned().flatten()
        })
    }

    /// Where an address was given its owner.
    pub fn written_at(&self, address: &Address) -> Path {
        self.owners.get(address).map_or_else(Path::root, Owner::at)
    }

    /// "did you mean" for an address that nobody has.
    pub fn nearest(&self, address: &Address) -> Option<String> {
        let same = self.owners.keys().filter(|known| known.domain == address.domain);
        let mut locals: Vec<&str> = same.map(|known| known.local.as_str()).collect();
        locals.sort_unstable();
        nearest(address.local.as_str(), locals)
    }

    fn claim(&mut self, address: Address, claimed: Owner, report: &mut Report) -> bool {
        let owner = match self.owners.entry(address) {
            Entry::Vacant(vacant) => {
                vacant.insert(claimed);
                return true;
            }
            Entry::Occupied(owner) => owner,
        };
        let (address, at, first) = (owner.key(), claimed.at(), owner.get().at());
        match (owner.get().what, claimed.what) {
            (What::Account, What::Alias) => {
                let says = format!("the alias stands before the account `{address}`");
                report
                    .find(Code::Shadowed, at, says)
                    .also(first, "the account")
                    .help("remove the alias, or name the account otherwise");
            }
            (other, _) => {
                let says = format!("`{address}` is an address of {} already", article(other));
                report
                    .find(Code::TwoOwners, at, says)
                    .also(first, format!("the {}", other.name()))
                    .help("keep one of them; write a group for an address of several");
            }
        }
        false
    }
}

fn article(what: What) -> String {
    let n = if matches!(what, What::Account | What::Alias) { "n" } else { "" };
    format!("a{n} {}", what.name())
}

fn domain_path(at: usize) -> Path {
    Path::root().field("domain").item(at)
}

/// Binds people to addresses.
pub fn people(spec: &Spec, layers: &Layers<'_>, report: &mut Report) -> People {
    let mut people =
        People { domains: spec.domain.iter().map(|domain| domain.name.clone()).collect(), ..People::default() };
    let addresses = |domain: &spec::Domain| {
        let aliases: usize = domain.account.iter().map(|account| account.alias.len()).sum();
        domain.account.len() + aliases + domain.alias.len() + domain.group.len() + domain.list.len()
    };
    people.owners.reserve(spec.domain.iter().map(addresses).sum());
    people.elsewhere = spec.domain.iter().filter(|d| is_elsewhere(d)).map(|d| d.name.clone()).collect();
    no_room(spec, report);
    let mut binding = Binding { spec, layers, people, report };
    let claimed = binding.claims();
    binding.accounts(&claimed);
    binding.account_aliases();
    binding.aliases();
    binding.groups();
    binding.lists();
    binding.domains();
    let mut people = binding.people;
    super::circles::circles(&people, report);
    parallel::sort(&mut people.accounts, |a, b| a.address.cmp(&b.address));
    people.accounts.iter_mut().for_each(|account| account.aliases.sort());
    people.groups.sort_by(|a, b| a.address.cmp(&b.address));
    people.lists.sort_by(|a, b| a.address.cmp(&b.address));
    people
}

/// Whether more people may have addresses of a domain than the spec names.
fn is_elsewhere(domain: &spec::Domain) -> bool {
    domain.directory.is_some() || domain.people == Some(PeopleFrom::Api)
}

/// A quota of nothing for all accounts of a domain.
fn no_room(spec: &Spec, report: &mut Report) {
    let own = spec.domain.iter().enumerate().map(|(d, domain)| (domain.quota, domain_path(d)));
    let defaults = spec.defaults.as_ref().and_then(|defaults| defaults.domain.as_ref());
    let common = defaults.map(|domain| (domain.quota, Path::root().field("defaults").field("domain")));
    let account = spec.defaults.as_ref().and_then(|defaults| defaults.account.as_ref());
    let account = account.map(|account| (account.quota, Path::root().field("defaults").field("account")));
    for (quota, at) in own.chain(common).chain(account) {
        if quota == Some(Size(0)) {
            report.find(Code::NoRoom, at.field("quota"), "a mailbox of nothing takes no mail");
        }
    }
}

/// An account, and what is wrong with it.
fn account(
    one: &spec::Account,
    domain: &spec::Domain,
    quota: Option<Size>,
    (at, report): (&Path, &mut Report),
) -> Account {
    let address = Address::new(one.local.clone(), domain.name.clone());
    let suspended = one.suspended == Some(true);
    if one.password.is_empty() && one.app_password.is_empty() && !suspended {
        report
            .find(Code::NoPassword, at.clone(), format!("nobody can log in as `{address}`: it has no password"))
            .help("write `password (hash)\"…\"`; `mkpasswd -m sha-512` prints one");
    }
    for (n, password) in one.password.iter().enumerate() {
        credential(password, &address, at.field("password").item(n), report);
    }
    for (n, app) in one.app_password.iter().enumerate() {
        let at = at.field("app-password").item(n);
        credential(&app.password, &address, at.field("password"), report);
        if one.app_password.iter().take(n).any(|other| other.name == app.name) {
            let says = format!("`{address}` has two app passwords `{}`", app.name);
            report.find(Code::NamedTwice, at.field("name"), says).help("name one otherwise");
        }
    }
    printable(one.name.as_deref(), at, report);
    if one.quota == Some(Size(0)) {
        report.find(Code::NoRoom, at.field("quota"), format!("the mailbox of `{address}` holds nothing"));
    }
    Account {
        address,
        name: one.name.clone().unwrap_or_default(),
        credentials: if suspended { Vec::new() } else { one.password.clone() },
        app_passwords: one.app_password.iter().filter(|_| !suspended).map(app_password).collect(),
        suspended,
        aliases: Vec::new(),
        quota: one.quota.or(quota),
    }
}

/// Names stand in header fields, where a line's end would begin another field.
fn printable(name: Option<&str>, at: &Path, report: &mut Report) {
    if let Some(control) = name.and_then(|name| name.chars().find(|c| c.is_control())) {
        let says = format!("a name must not contain `{}`", control.escape_default());
        report.find(Code::WrongForm, at.field("name"), says).help("write it on one line");
    }
}

fn app_password(given: &spec::AppPassword) -> AppPassword {
    AppPassword { name: given.name.clone(), password: given.password.clone() }
}

fn credential(given: &spec::Credential, address: &Address, at: Path, report: &mut Report) {
    match credential::judge(given) {
        Worth::Good => {}
        Worth::Weak(why) => {
            report.find(Code::WeakHash, at, format!("this is {why}"));
        }
        Worth::Unknown(why) => {
            report
                .find(Code::PasswordForm, at, format!("this is {why}, so `{address}` could not log in by it"))
                .help("argon2id, scrypt, PBKDF2 (PHC strings), bcrypt and sha512-crypt are known");
        }
    }
}

struct Binding<'a> {
    spec: &'a Spec,
    layers: &'a Layers<'a>,
    people: People,
    report: &'a mut Report,
}

impl<'a> Binding<'a> {
    /// The accounts that have their address, several domains at once.
    fn accounts(&mut self, claimed: &[bool]) {
        let mut rest = claimed;
        let mut work = Vec::with_capacity(self.spec.domain.len());
        for (d, domain) in self.spec.domain.iter().enumerate() {
            let (own, after) = rest.split_at_checked(domain.account.len()).unwrap_or_default();
            work.push((d, domain, self.layers.quota(d), own));
            rest = after;
        }
        let chunks: Vec<_> = work.chunks(TOGETHER).collect();
        let made = parallel::heavy(&chunks, |domains| {
            let (mut accounts, mut report) = (Vec::new(), Report::new());
            for (d, domain, quota, claimed) in *domains {
                let path = domain_path(*d).field("account");
                let own = domain.account.iter().enumerate().zip(*claimed).filter(|(_, claimed)| **claimed);
                accounts.extend(own.map(|((n, one), _)| account(one, domain, *quota, (&path.item(n), &mut report))));
            }
            (accounts, report)
        });
        for (mut accounts, report) in made {
            self.people.accounts.append(&mut accounts);
            self.report.absorb(report);
        }
    }
    /// Every address of the domains' own nodes has its owner before any target is looked for, accounts first. Tells
    /// which accounts have theirs, all in the spec's order.
    fn claims(&mut self) -> Vec<bool> {
        let spec = self.spec;
        let mut claimed = Vec::with_capacity(spec.domain.iter().map(|domain| domain.account.len()).sum());
        let mut count = 0;
        for (d, domain) in spec.domain.iter().enumerate() {
            for (n, account) in domain.account.iter().enumerate() {
                let address = Address::new(account.local.clone(), domain.name.clone());
                let owner = Owner { account: count, ..Owner::of(What::Account, d, n) };
                let new = self.people.claim(address, owner, self.report);
                count += u32::from(new);
                claimed.push(new);
            }
        }
        for (d, domain) in spec.domain.iter().enumerate() {
            let aliases = domain.alias.iter().enumerate().map(|(n, one)| (&one.local, n, What::Alias));
            let groups = domain.group.iter().enumerate().map(|(n, one)| (&one.local, n, What::Group));
            let lists = domain.list.iter().enumerate().map(|(n, one)| (&one.local, n, What::List));
            for (local, n, what) in groups.chain(lists).chain(aliases) {
                let address = Address::new(local.clone(), domain.name.clone());
                self.people.claim(address, Owner::of(what, d, n), self.report);
            }
        }
        claimed
    }

    /// The account of an address that is an account's own.
    fn account(&mut self, address: &Address) -> Option<&mut Account> {
        let owner = self.people.owners.get(address).filter(|owner| owner.what == What::Account)?;
        self.people.accounts.get_mut(owner.account as usize)
    }

    fn account_aliases(&mut self) {
        for (d, domain) in self.spec.domain.iter().enumerate() {
            let path = domain_path(d).field("account");
            for (n, account) in domain.account.iter().enumerate().filter(|(_, account)| !account.alias.is_empty()) {
                let owner = Address::new(account.local.clone(), domain.name.clone());
                for (a, alias) in account.alias.iter().enumerate() {
                    let at = path.item(n).field("alias").item(a);
                    let address = alias.within(&domain.name);
                    if !self.people.domains.contains(&address.domain) {
                        let says =
                            format!("`{}` is no domain of the spec, so its mail does not come here", address.domain);
                        let known: Vec<&str> = self.spec.domain.iter().map(|domain| domain.name.as_str()).collect();
                        self.report.find(Code::UnknownDomain, at, says).help = nearest(address.domain.as_str(), known);
                        continue;
                    }
                    let place = Owner { alias: u32::try_from(a).ok(), ..Owner::of(What::Alias, d, n) };
                    if self.people.claim(address.clone(), place, self.report)
                        && let Some(account) = self.account(&owner)
                    {
                        account.aliases.push(address);
                    }
                }
            }
        }
    }

    fn aliases(&mut self) {
        for (d, domain) in self.spec.domain.iter().enumerate() {
            for (n, alias) in domain.alias.iter().enumerate() {
                let at = domain_path(d).field("alias").item(n);
                let address = Address::new(alias.local.clone(), domain.name.clone());
                let to = self.members(&alias.to, domain, &at.field("to"));
                // An alias of one mailbox here is that mailbox's, so its owner may also send by it.
                let account = match to.as_slice() {
                    [one] => self.account(one),
                    _ => None,
                };
                match account {
                    Some(account) => account.aliases.push(address),
                    None => self.people.groups.push(Group { address, members: to, send_as: false }),
                }
            }
        }
    }

    fn groups(&mut self) {
        for (d, domain) in self.spec.domain.iter().enumerate() {
            for (n, group) in domain.group.iter().enumerate() {
                let at = domain_path(d).field("group").item(n);
                let address = Address::new(group.local.clone(), domain.name.clone());
                if group.member.is_empty() {
                    self.report.find(Code::Nobody, at.clone(), format!("the group `{address}` has no members"));
                }
                let members = self.members(&group.member, domain, &at.field("member"));
                self.people.groups.push(Group { address, members, send_as: true });
            }
        }
    }

    fn lists(&mut self) {
        for (d, domain) in self.spec.domain.iter().enumerate() {
            for (n, list) in domain.list.iter().enumerate() {
                let at = domain_path(d).field("list").item(n);
                let address = Address::new(list.local.clone(), domain.name.clone());
                if list.member.is_empty() {
                    self.report.find(Code::Nobody, at.clone(), format!("the list `{address}` has no members"));
                }
                printable(list.name.as_deref(), &at, self.report);
                self.bounces(&address, &at);
                let members = self.members(&list.member, domain, &at.field("member"));
                let mut owners = self.members(&list.owner, domain, &at.field("owner"));
                if owners.is_empty() {
                    owners.push(Address::new(LocalPart::postmaster(), domain.name.clone()));
                }
                self.people.lists.push(List {
                    address,
                    name: list.name.clone().unwrap_or_default(),
                    members,
                    owners,
                    posting: list.posting.unwrap_or(Posting::Members),
                });
            }
        }
    }

    fn bounces(&mut self, list: &Address, at: &Path) {
        let Ok(local) = format!("{}-bounces", list.local).parse::<LocalPart>() else {
            let says = format!("the name of `{list}` is too long to make `-bounces` of it");
            self.report.find(Code::Reserved, at.field("local"), says).help("take a name of at most 56 octets");
            return;
        };
        let address = Address::new(local, list.domain.clone());
        if let Some(owner) = self.people.owners.get(&address) {
            let says = format!("the list `{list}` needs the address `{address}`");
            self.report.find(Code::Reserved, owner.at(), says).also(at.field("local"), "the list");
        }
    }

    fn members(&mut self, written: &[LocalOrAddress], domain: &'a spec::Domain, at: &Path) -> Vec<Address> {
        let mut members = Vec::with_capacity(written.len());
        let mut seen = HashMap::with_capacity(written.len());
        for (n, member) in written.iter().enumerate() {
            let address = member.within(&domain.name);
            if let Some(first) = seen.insert(address.clone(), n) {
                self.report
                    .find(Code::MemberTwice, at.item(n), format!("`{address}` is named twice"))
                    .also(at.item(first), "the first mention")
                    .superfluous();
                continue;
            }
            if self.known(&address, at.item(n)) {
                members.push(address);
            }
        }
        members
    }

    fn known(&mut self, address: &Address, at: Path) -> bool {
        if self.people.has(address) {
            return true;
        }
        let help = self.people.nearest(address);
        self.report.find(Code::UnknownPerson, at, format!("nobody has the address `{address}`")).help = help;
        false
    }

    fn domains(&mut self) {
        let everybody = self.people.accounts.iter().map(|account| account.address.clone()).min();
        for (d, domain) in self.spec.domain.iter().enumerate() {
            let at = domain_path(d);
            if let Some(catch_all) = &domain.catch_all {
                let address = catch_all.within(&domain.name);
                if !self.people.domains.contains(&address.domain) {
                    let says = format!("a catch-all is somebody of the spec, and `{address}` is not");
                    let help = format!("write `alias \"elsewhere\" \"{address}\"`, and `catch-all \"elsewhere\"`");
                    self.report.find(Code::UnknownPerson, at.field("catch-all"), says).help(help);
                } else if self.known(&address, at.field("catch-all")) {
                    self.people.catch_alls.insert(domain.name.clone(), address);
                }
            }
            let own = Address::new(LocalPart::postmaster(), domain.name.clone());
            let first = domain.account.first().map(|one| Address::new(one.local.clone(), domain.name.clone()));
            let chosen = if self.people.owners.contains_key(&own) {
                Some(own)
            } else {
                let chosen = first.or_else(|| everybody.clone());
                self.no_postmaster(d, chosen.as_ref());
                chosen
            };
            self.people.postmasters.insert(domain.name.clone(), chosen);
        }
    }

    fn no_postmaster(&mut self, d: usize, chosen: Option<&Address>) {
        // A directory or the API may know the domain's own; where it does not, `chosen` stands in.
        let Some(domain) = self.spec.domain.get(d).filter(|domain| !is_elsewhere(domain)) else { return };
        let at = domain_path(d).field("name");
        let empty =
            domain.account.is_empty() && domain.alias.is_empty() && domain.group.is_empty() && domain.list.is_empty();
        if empty && domain.catch_all.is_none() {
            self.report.find(Code::NoPeople, at.clone(), format!("nobody has an address at `{}`", domain.name));
        }
        let says = match chosen {
            Some(chosen) => format!("`postmaster@{}` is nobody's, so `{chosen}` gets its mail", domain.name),
            None => format!("`postmaster@{}` is nobody's, so its mail is refused", domain.name),
        };
        let help = match chosen {
            Some(chosen) if chosen.domain == domain.name => {
                format!("write `alias \"postmaster\" \"{}\"`, or whose it is", chosen.local)
            }
            _ => "write `alias \"postmaster\" \"…\"`".to_owned(),
        };
        self.report.find(Code::NoPostmaster, at, says).help(help);
    }
}
