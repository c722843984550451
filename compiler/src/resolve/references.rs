//! Names that nodes use of each other, and files that they name: each must be there.

use super::{Outside, People, one_kind, twice};
use crate::code::Code;
use crate::diagnostic::{Path, Report, nearest};
use crate::read::files::FileError;
use schema::form::SpecFile;
use schema::name::{Address, DomainName, LocalOrAddress};
use schema::spec::{self, Action, Spec};

/// Roles that every server knows.
const ROLES: [&str; 3] = ["admin", "domain-admin", "user"];

/// Holds every reference against what it names.
pub fn references(spec: &Spec, people: &People, outside: &Outside<'_>, report: &mut Report) {
    names(spec, report);
    let mut holding = Holding { spec, people, outside, report };
    holding.directories();
    holding.roles();
    holding.routes();
    holding.pools();
    holding.files();
    holding.persons();
}

/// Names that stand twice, and exactly one kind in each node that needs one.
fn names(spec: &Spec, report: &mut Report) {
    twice("role", spec.role.iter().map(|role| &role.name), report);
    twice("route", spec.route.iter().map(|route| &route.name), report);
    twice("policy", spec.policy.iter().map(|policy| &policy.name), report);
    twice("milter", spec.milter.iter().map(|milter| &milter.name), report);
    twice("hook", spec.hook.iter().map(|hook| &hook.name), report);
    twice("webhook", spec.webhook.iter().map(|webhook| &webhook.name), report);
    twice("api-key", spec.api_key.iter().map(|key| &key.name), report);
    twice("expect", spec.expect.iter().map(|expect| &expect.name), report);
    for (at, directory) in spec.directory.iter().enumerate() {
        let kinds = [directory.internal, directory.ldap.is_some(), directory.sql.is_some(), directory.oidc.is_some()];
        one_kind("directory", &kinds, Path::root().field("directory").item(at), report);
    }
    for (at, route) in spec.route.iter().enumerate() {
        let kinds = [!route.relay.is_empty(), !route.lmtp.is_empty(), route.mx, route.refuse.is_some()];
        one_kind("route", &kinds, Path::root().field("route").item(at), report);
    }
    if let Some(state) = &spec.state {
        let kinds = [state.file.is_some(), state.s3.is_some(), state.git.is_some(), state.postgresql.is_some()];
        one_kind("state", &kinds, Path::root().field("state"), report);
    }
}

struct Holding<'a> {
    spec: &'a Spec,
    people: &'a People,
    outside: &'a Outside<'a>,
    report: &'a mut Report,
}

fn domain_at(at: usize) -> Path {
    Path::root().field("domain").item(at)
}

impl<'a> Holding<'a> {
    /// A name that must be one of those known.
    fn known(&mut self, code: Code, what: &str, (name, at): (&str, Path), known: &[&str]) {
        if !known.contains(&name) {
            let says = format!("no {what} is called `{name}`");
            self.report.find(code, at, says).help = nearest(name, known.iter().copied())
                .or_else(|| Some(format!("write `{what} \"…\"` with that name at the top level")));
        }
    }

    /// Every account of which something is wanted, with its domain and place.
    fn accounts(
        &self,
        wanted: fn(&spec::Account) -> bool,
    ) -> impl Iterator<Item = (&'a spec::Domain, &'a spec::Account, Path)> + use<'a> {
        self.spec.domain.iter().enumerate().flat_map(move |(d, domain)| {
            let accounts = domain.account.iter().enumerate().filter(move |(_, account)| wanted(account));
            accounts.map(move |(n, account)| (domain, account, domain_at(d).field("account").item(n)))
        })
    }

    /// Every action of every rule, with its place.
    fn actions(&self) -> impl Iterator<Item = (&'a Action, Path)> + use<'a> {
        self.spec.policy.iter().enumerate().flat_map(|(p, policy)| {
            policy.rule.iter().enumerate().flat_map(move |(r, rule)| {
                let at = Path::root().field("policy").item(p).field("rule").item(r).field("then").field("action");
                rule.then.action.iter().enumerate().map(move |(n, action)| (action, at.item(n)))
            })
        })
    }

    fn directories(&mut self) {
        let known: Vec<&str> = self.spec.directory.iter().map(|directory| directory.name.as_str()).collect();
        for (d, domain) in self.spec.domain.iter().enumerate() {
            if let Some(name) = &domain.directory {
                let at = domain_at(d).field("directory");
                self.known(Code::UnknownDirectory, "directory", (name, at), &known);
            }
        }
        let stores: Vec<&str> = self.spec.store.iter().map(|store| store.name.as_str()).collect();
        for (n, directory) in self.spec.directory.iter().enumerate() {
            let Some(sql) = &directory.sql else { continue };
            let at = Path::root().field("directory").item(n).field("sql").field("store");
            let Some(store) = self.spec.store.iter().find(|store| store.name == sql.store) else {
                self.known(Code::UnknownStore, "store", (&sql.store, at), &stores);
                continue;
            };
            if store.postgresql.is_none() && store.mysql.is_none() && store.sqlite.is_none() {
                let says = format!("the store `{}` holds no tables", store.name);
                self.report
                    .find(Code::NoTables, at, says)
                    .help("name a store of kind `postgresql`, `mysql` or `sqlite`");
            }
        }
    }

    fn roles(&mut self) {
        let known: Vec<&str> = self.spec.role.iter().map(|role| role.name.as_str()).chain(ROLES).collect();
        let accounts = self.accounts(|one| one.role.is_some());
        let accounts = accounts.filter_map(|(_, one, at)| Some((one.role.as_deref()?, at.field("role"))));
        let admins = self.spec.admin.iter().enumerate();
        let admins = admins
            .filter_map(|(n, one)| Some((one.role.as_deref()?, Path::root().field("admin").item(n).field("role"))));
        let keys = self.spec.api_key.iter().enumerate();
        let keys = keys.map(|(n, one)| (one.role.as_str(), Path::root().field("api-key").item(n).field("role")));
        let used: Vec<(&str, Path)> = accounts.chain(admins).chain(keys).collect();
        for one in used {
            self.known(Code::UnknownRole, "role", one, &known);
        }
        for (n, role) in self.spec.role.iter().enumerate() {
            let at = Path::root().field("role").item(n);
            if ROLES.contains(&role.name.as_str()) {
                let says = format!("the role `{}` is built in", role.name);
                self.report.find(Code::NamedTwice, at.field("name"), says).help("name it otherwise");
            }
            for (d, domain) in role.domain.iter().enumerate() {
                self.domain(domain, at.field("domain").item(d));
            }
        }
        for (n, policy) in self.spec.policy.iter().enumerate() {
            for (d, domain) in policy.domain.iter().enumerate() {
                self.domain(domain, Path::root().field("policy").item(n).field("domain").item(d));
            }
        }
    }

    fn domain(&mut self, name: &DomainName, at: Path) {
        if !self.spec.domain.iter().any(|domain| domain.name == *name) {
            let known: Vec<&str> = self.spec.domain.iter().map(|domain| domain.name.as_str()).collect();
            let says = format!("no domain is called `{name}`");
            self.report.find(Code::UnknownDomain, at, says).help = nearest(name.as_str(), known);
        }
    }

    fn routes(&mut self) {
        let known: Vec<&str> = self.spec.route.iter().map(|route| route.name.as_str()).collect();
        let own = self.spec.domain.iter().enumerate();
        let own = own.filter_map(|(d, domain)| Some((domain.route.as_deref()?, domain_at(d).field("route"))));
        let common = self.spec.defaults.as_ref().and_then(|defaults| defaults.domain.as_ref()?.route.as_deref());
        let common = common.map(|name| (name, Path::root().field("defaults").field("domain").field("route")));
        let rules = self.actions().filter_map(|(action, at)| match action {
            Action::Route(name) => Some((name.as_str(), at.field("route"))),
            _ => None,
        });
        let used: Vec<(&str, Path)> = own.chain(common).chain(rules).collect();
        for one in used {
            self.known(Code::UnknownRoute, "route", one, &known);
        }
    }

    fn pools(&mut self) {
        let outbound = self.spec.outbound.as_ref();
        let known: Vec<&str> = outbound.into_iter().flat_map(|one| &one.pool).map(|pool| pool.name.as_str()).collect();
        let at = Path::root().field("outbound");
        let own = outbound.and_then(|one| Some((one.use_pool.as_deref()?, at.field("use-pool"))));
        let destinations = outbound.into_iter().flat_map(|one| one.destination.iter().enumerate());
        let destinations = destinations
            .filter_map(|(n, one)| Some((one.use_pool.as_deref()?, at.field("destination").item(n).field("use-pool"))));
        let rules = self.actions().filter_map(|(action, at)| match action {
            Action::Pool(name) => Some((name.as_str(), at.field("pool"))),
            _ => None,
        });
        let used: Vec<(&str, Path)> = own.into_iter().chain(destinations).chain(rules).collect();
        for (name, at) in used {
            if !known.contains(&name) {
                let says = format!("no pool of `outbound` is called `{name}`");
                self.report.find(Code::UnknownPool, at, says).help = nearest(name, known.iter().copied())
                    .or_else(|| Some(format!("write `outbound {{ pool \"{name}\" {{ source \"…\"; }}; }}`")));
            }
        }
        let addresses: Vec<_> = self.spec.host.iter().flat_map(|host| host.address.iter().chain(bound(host))).collect();
        for (n, pool) in outbound.into_iter().flat_map(|one| one.pool.iter().enumerate()) {
            for (s, source) in pool.source.iter().enumerate().filter(|(_, source)| !addresses.contains(source)) {
                let at = at.field("pool").item(n).field("source").item(s);
                let says = format!("no host has the address `{source}`");
                self.report.find(Code::UnknownPool, at, says).help("write it in a host's `address`");
            }
        }
    }

    /// Files of the spec that nodes name.
    fn files(&mut self) {
        // Scripts are read by their lint, which tells what is not there.
        let expect = self.spec.expect.iter().enumerate();
        let named = expect.filter_map(|(n, expect)| {
            Some((expect.message.as_ref()?, Path::root().field("expect").item(n).field("message")))
        });
        let named: Vec<(&SpecFile, Path)> = named.collect();
        for (file, at) in named {
            let why = match self.outside.sources.there(file.as_str()) {
                Ok(()) => continue,
                Err(FileError::Missing) => "is not there".to_owned(),
                Err(why) => why.to_string(),
            };
            let says = format!("the file `{file}` {why}");
            self.report.find(Code::FileAway, at, says).help("paths begin at the folder that holds `mail.kdl`");
        }
    }

    /// Addresses that must be somebody's, where their domain is the spec's.
    fn persons(&mut self) {
        let mut named: Vec<(Address, Path)> = Vec::new();
        let admins = self.spec.admin.iter().enumerate();
        named
            .extend(admins.map(|(n, one)| (one.account.clone(), Path::root().field("admin").item(n).field("account"))));
        for (domain, account, at) in
            self.accounts(|one| !(one.send_as.is_empty() && one.forward.is_empty() && one.share.is_empty()))
        {
            let of = |one: &LocalOrAddress| one.within(&domain.name);
            let send_as = account.send_as.iter().enumerate();
            named.extend(send_as.map(|(n, one)| (of(one), at.field("send-as").item(n))));
            for (f, forward) in account.forward.iter().enumerate() {
                let at = at.field("forward").item(f).field("to");
                named.extend(forward.to.iter().enumerate().map(|(n, one)| (of(one), at.item(n))));
            }
            for (s, share) in account.share.iter().enumerate() {
                let at = at.field("share").item(s).field("with");
                named.extend(share.with.iter().enumerate().map(|(n, one)| (of(one), at.item(n))));
            }
        }
        for (d, domain) in self.spec.domain.iter().enumerate() {
            for (l, list) in domain.list.iter().enumerate() {
                let at = domain_at(d).field("list").item(l).field("moderator");
                let moderators = list.moderator.iter().enumerate();
                named.extend(moderators.map(|(n, one)| (one.within(&domain.name), at.item(n))));
            }
            let journal = domain.retention.as_ref().and_then(|retention| retention.journal.as_ref());
            named.extend(
                journal.map(|one| (one.within(&domain.name), domain_at(d).field("retention").field("journal"))),
            );
        }
        if let Some(reports) = &self.spec.reports {
            let at = Path::root().field("reports");
            named.extend(reports.abuse.iter().map(|one| (one.clone(), at.field("abuse"))));
            let read = reports.read.iter().enumerate();
            named.extend(read.map(|(n, one)| (one.clone(), at.field("read").item(n))));
        }
        for (address, at) in named {
            if !self.people.has(&address) {
                let says = format!("nobody is called `{address}`");
                self.report.find(Code::UnknownPerson, at, says).help = self.people.nearest(&address);
            }
        }
    }
}

/// Addresses that a host binds to beside its own.
fn bound(host: &spec::Host) -> impl Iterator<Item = &std::net::IpAddr> {
    let listen = host.listen.iter().flat_map(|listen| &listen.bind);
    let nodes = host.node.iter().flat_map(|node| &node.bind);
    let outbound = host.outbound.iter().flat_map(|outbound| &outbound.source);
    listen.chain(nodes).chain(outbound)
}
