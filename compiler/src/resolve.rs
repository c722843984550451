//! Meaning: [`Spec`] → [`Resolved`]. Names are bound, defaults filled in, everything held against everything else.
//! Reports all errors at once and never stops at the first.

mod access;
mod circles;
pub(crate) mod credential;
mod delegation;
mod directories;
mod dkim;
mod domains;
mod hosts;
mod people;
mod policies;
mod records;
mod references;
mod secrets;
pub(crate) mod spf;
pub mod stores;
#[cfg(test)]
mod tests;

pub use delegation::Delegation;
pub use dkim::{Dkim, KeyState, is_ed25519, rsa_bits};
pub use domains::{Dmarc, Domain, Layers, MtaSts};
pub use hosts::{Host, TlsaData, no_machine, not_public};
pub use people::People;
pub use records::{Omission, OwnRecord};
pub use spf::{MOST_LOOKUPS, Spf, is_domain_spec, is_network, is_spf};

use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::read::files::Sources;
use schema::config;
use schema::name::{DomainName, HostName, NameError};
use schema::spec::{self, Spec};
use schema::unit::{Period, Size};
use sealed::identity::Identities;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::hash::Hash;

/// What resolving looks at beside the spec.
pub struct Outside<'a> {
    /// The spec's folder, for keys and certificates.
    pub sources: &'a Sources,
    /// Seconds since 1970, for certificates' dates.
    pub now: i64,
    /// Whether every secret is opened and held against its public part.
    pub secrets: bool,
    /// What `(age)` secrets are opened with.
    pub identities: Option<&'a Identities>,
}

/// A spec with every name bound and every default present.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The machines, in the spec's order.
    pub hosts: Vec<Host>,
    /// Which database keeps what.
    pub storage: config::Storage,
    /// The domains, sorted by name.
    pub domains: Vec<Domain>,
    /// Accounts, groups and lists.
    pub people: People,
    /// Where other people come from, by name: those that are served and some domain names.
    pub directories: BTreeMap<String, config::Directory>,
    /// How people log in.
    pub login: config::Login,
    /// The programs that use the API, sorted by name.
    pub api_keys: Vec<config::ApiKey>,
    /// DNS servers to ask.
    pub resolver: spec::Resolver,
    /// Trust beside the system's.
    pub trust: spec::Trust,
    /// Limits.
    pub limits: config::Limits,
    /// When undelivered mail is tried again.
    pub queue: config::Queue,
    /// Domains whose keys and policies are published in another one's zone, by that.
    pub delegated: BTreeMap<DomainName, Vec<DomainName>>,
}

impl Resolved {
    /// The domain of that name.
    pub fn domain(&self, name: &DomainName) -> Option<&Domain> {
        let at = self.domains.binary_search_by(|domain| domain.name.cmp(name)).ok()?;
        self.domains.get(at)
    }

    /// The host of that name.
    pub fn host(&self, name: &DomainName) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name.domain() == name)
    }

    /// The hosts of a domain, most preferred first, with their MX preference.
    pub fn hosts_of<'a>(&'a self, domain: &'a Domain) -> impl Iterator<Item = (u16, &'a Host)> {
        domain.hosts.iter().filter_map(|(priority, at)| Some((*priority, self.hosts.get(*at)?)))
    }
}

/// Binds names, fills in defaults and checks. What cannot be bound is told and left out, so that everything else can be
/// looked at all the same.
pub fn resolve(spec: &Spec, outside: &Outside<'_>, report: &mut Report) -> Resolved {
    names(spec, report);
    bounds(spec, report);
    let mut hosts = hosts::hosts(spec, outside, report);
    let storage = stores::storage(spec, report);
    let layers = Layers::of(spec, report);
    let people = people::people(spec, &layers, report);
    let domains =
        domains::domains(&domains::Around { spec, outside, layers: &layers, hosts: &hosts, people: &people }, report);
    hosts::postmasters(&mut hosts, &domains);
    crate::secrets::twice(spec, report);
    references::references(spec, &people, outside, report);
    policies::policies(spec, report);
    if outside.secrets {
        secrets::secrets(spec, outside, report);
    }
    let delegated = delegation::delegated(&domains);
    let directories = directories::directories(spec, report);
    let login = access::login(spec.login.as_ref(), report);
    let api_keys = access::keys(spec, report);
    Resolved {
        delegated,
        directories,
        hosts,
        storage: storage.unwrap_or_else(stores::unbound),
        domains,
        people,
        login,
        api_keys,
        resolver: spec.resolver.clone().unwrap_or_default(),
        trust: spec.trust.clone().unwrap_or_default(),
        limits: limits(spec.limits.as_ref()),
        queue: queue(spec.queue.as_ref()),
    }
}

fn limits(given: Option<&spec::Limits>) -> config::Limits {
    let given = given.cloned().unwrap_or_default();
    config::Limits {
        message_size: given.message_size.unwrap_or(Size(50 << 20)),
        recipients: given.recipients.unwrap_or(1000),
        connections: given.connections.unwrap_or(10_000),
        connections_per_address: given.connections_per_address.unwrap_or(200),
        session: given.session.unwrap_or(Period(3600)),
        drain: given.drain.unwrap_or(Period(30)),
    }
}

fn queue(given: Option<&spec::Queue>) -> config::Queue {
    let given = given.cloned().unwrap_or_default();
    let retry = given.retry.unwrap_or(Period(300));
    config::Queue {
        retry,
        retry_most: given.retry_most.unwrap_or(retry.max(Period(4 * 3600))),
        notify: given.notify.unwrap_or(Period(4 * 3600)),
        expire: given.expire.unwrap_or(retry.max(Period(5 * 86_400))),
    }
}

/// Names that stand twice, and exactly one kind in each node that needs one.
fn names(spec: &Spec, report: &mut Report) {
    twice("host", spec.host.iter().map(|host| &host.name), report);
    twice("store", spec.store.iter().map(|store| &store.name), report);
    twice("dns", spec.dns.iter().map(|dns| &dns.name), report);
    twice("directory", spec.directory.iter().map(|directory| &directory.name), report);
    twice("environment", spec.environment.iter().map(|environment| &environment.name), report);
    twice("domain", spec.domain.iter().map(|domain| &domain.name), report);
    for (at, dns) in spec.dns.iter().enumerate() {
        let kinds = [
            dns.cloudflare.is_some(),
            dns.rfc2136.is_some(),
            dns.powerdns.is_some(),
            dns.route53.is_some(),
            dns.zonefile.is_some(),
            dns.digitalocean.is_some(),
            dns.hetzner.is_some(),
            dns.desec.is_some(),
            dns.gandi.is_some(),
            dns.ovh.is_some(),
            dns.google.is_some(),
            dns.azure.is_some(),
            !dns.command.is_empty(),
        ];
        one_kind("dns", &kinds, Path::root().field("dns").item(at), report);
    }
    for (at, domain) in spec.domain.iter().enumerate() {
        // A domain of one label can be a machine's own, as in a trial.
        if let Err(why @ (NameError::Number | NameError::Character(_))) = domain.name.as_str().parse::<HostName>() {
            let at = Path::root().field("domain").item(at).field("name");
            report.find(Code::WrongForm, at, format!("`{}` {why}", domain.name)).help("as in `example.org`");
        }
    }
}

/// Limits and periods with which nothing would work.
fn bounds(spec: &Spec, report: &mut Report) {
    let mut out = |node: &'static str, name: &'static str, says: String| {
        report.find(Code::OutOfBounds, Path::root().field(node).field(name), says);
    };
    if let Some(size) = spec.limits.as_ref().and_then(|limits| limits.message_size).filter(|size| size.0 < 64 << 10) {
        out("limits", "message-size", format!("{size} is less than the 64KiB that every server takes"));
    }
    if let Some(session) = spec.limits.as_ref().and_then(|limits| limits.session).filter(|session| session.0 < 60) {
        out("limits", "session", format!("{session} is less than 1m, and no message would come through"));
    }
    let Some(given) = &spec.queue else { return };
    let whole = queue(Some(given));
    for (name, period) in [("retry", given.retry), ("retry-most", given.retry_most), ("expire", given.expire)] {
        match period {
            Some(Period(0)) => out("queue", name, format!("`{name}` must be longer than nothing")),
            Some(period) if period < whole.retry => {
                out("queue", name, format!("`{name}` is {period}, less than `retry`, {}", whole.retry));
            }
            _ => {}
        }
    }
    if let Some(notify) = given.notify.filter(|notify| *notify > whole.expire) {
        let says = format!("`notify` is {notify}, and mail is given up after {}", whole.expire);
        report.find(Code::NeverLate, Path::root().field("queue").field("notify"), says);
    }
}

fn twice<T: Eq + Hash + Display>(node: &'static str, names: impl Iterator<Item = T>, report: &mut Report) {
    twice_in(node, &Path::root(), names, report);
}

/// Names of one kind of node that stand twice in another.
fn twice_in<T: Eq + Hash + Display>(
    node: &'static str,
    within: &Path,
    names: impl Iterator<Item = T>,
    report: &mut Report,
) {
    let mut seen: HashMap<T, usize> = HashMap::new();
    let path = |at: usize| within.field(node).item(at);
    for (at, name) in names.enumerate() {
        if let Some(first) = seen.get(&name) {
            report
                .find(Code::NamedTwice, path(at), format!("there are two nodes {node} `{name}`"))
                .also(path(*first), "the first one")
                .help("put them together, or name one otherwise");
            continue;
        }
        seen.insert(name, at);
    }
}

/// Whether exactly one kind is written.
fn one_kind(node: &str, kinds: &[bool], at: Path, report: &mut Report) -> bool {
    let count = kinds.iter().filter(|kind| **kind).count();
    // Where reading found errors, the kind may have been there and wrong, which has been told.
    if count > 1 || (count == 0 && !report.has_errors()) {
        let says = if count == 0 {
            format!("`{node}` does not say what kind it is")
        } else {
            format!("`{node}` says {count} kinds")
        };
        report.find(Code::OneKind, at, says).help("write exactly one kind inside");
    }
    count == 1
}
