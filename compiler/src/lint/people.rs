//! People and routes: whom mail reaches, and by what it might not.

use super::Around;
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use schema::config::{Group, List};
use schema::name::{Address, DomainName, LocalPart};
use schema::spec::{Domain, Posting};
use schema::unit::Size;
use std::collections::{HashMap, HashSet};

/// Names at which an authority asks whether somebody may have a certificate for the domain (CA/Browser Forum Baseline
/// Requirements 3.2.2.4.4).
const KEEPERS: [&str; 5] = ["admin", "administrator", "hostmaster", "postmaster", "webmaster"];

/// Runs the lints of people and routes.
pub fn people(around: &Around<'_>, report: &mut Report) {
    let lint = Lint {
        around,
        domains: around.spec.domain.iter().map(|domain| &domain.name).collect(),
        groups: around.resolved.people.groups.iter().map(|group| (&group.address, group)).collect(),
        lists: around.resolved.people.lists.iter().map(|list| (&list.address, list)).collect(),
    };
    for (at, domain) in around.spec.domain.iter().enumerate() {
        let at = Path::root().field("domain").item(at);
        lint.elsewhere(domain, &at, report);
        lint.abuse(domain, &at, report);
        lint.quotas(domain, &at, report);
        lint.catch_all(domain, &at, report);
    }
    lint.no_mail(report);
    lint.keepers(report);
    lint.lists_in_lists(report);
    lint.traps(report);
}

struct Lint<'a> {
    around: &'a Around<'a>,
    domains: HashSet<&'a DomainName>,
    groups: HashMap<&'a Address, &'a Group>,
    lists: HashMap<&'a Address, &'a List>,
}

impl Lint<'_> {
    /// Accounts in a domain whose people come from a directory.
    fn elsewhere(&self, domain: &Domain, at: &Path, report: &mut Report) {
        let Some((directory, account)) = domain.directory.as_ref().zip(domain.account.first()) else { return };
        // The server's own directory knows the people of the spec.
        if self.around.spec.directory.iter().any(|one| one.name == *directory && one.internal) {
            return;
        }
        let count = domain.account.len();
        let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let says = format!(
            "`{}@{}`{others} stand here, and the people of the domain come from `{directory}`",
            account.local, domain.name
        );
        report
            .find(Code::PeopleTwice, at.field("account").item(0), says)
            .also(at.field("directory"), "the directory")
            .help("put them into the directory, or take `directory` out; aliases, groups and lists may stand here");
    }

    /// `abuse@` (RFC 2142 §4).
    fn abuse(&self, domain: &Domain, at: &Path, report: &mut Report) {
        if domain.account.is_empty() || domain.directory.is_some() || domain.catch_all.is_some() {
            return;
        }
        let Ok(local) = "abuse".parse::<LocalPart>() else { return };
        let address = Address::new(local, domain.name.clone());
        if self.around.resolved.people.owner_of(&address).is_some() {
            return;
        }
        let says = format!("`{address}` is nobody's, so complaints about mail of the domain are refused");
        let whose = domain.account.first().map_or("…", |account| account.local.as_str());
        report
            .find(Code::NoAbuse, at.field("name"), says)
            .help(format!("write `alias \"abuse\" \"{whose}\"`, or whose it is"));
    }

    /// Mailboxes too small for what the server takes.
    fn quotas(&self, domain: &Domain, at: &Path, report: &mut Report) {
        let most = self.around.resolved.limits.message_size;
        let small = |quota: Option<Size>| quota.filter(|quota| quota.0 > 0 && quota.0 < most.0);
        let own = domain.account.iter().enumerate();
        let own = own.filter_map(|(n, account)| Some((small(account.quota)?, at.field("account").item(n))));
        for (quota, at) in own.chain(small(domain.quota).map(|quota| (quota, at.clone()))) {
            let says = format!("a mailbox of {quota} does not hold one message of {most}, which the server takes");
            report
                .find(Code::QuotaSmall, at.field("quota"), says)
                .help(format!("write at least `quota \"{most}\"`, or a smaller `message-size` in `limits`"));
        }
    }

    /// A catch-all that leads out: all the spam to addresses that nobody has is sent on in our name.
    fn catch_all(&self, domain: &Domain, at: &Path, report: &mut Report) {
        let Some(to) = self.around.resolved.people.catch_alls.get(&domain.name) else { return };
        if let Some(outside) = self.leads_out(to) {
            let says = format!("mail for addresses that nobody has is sent on to `{outside}`, spam and all");
            report
                .find(Code::CatchAllOutside, at.field("catch-all"), says)
                .help("name an account here, or take the catch-all out: a refusal tells the sender at once");
        }
    }

    /// An address outside of the spec that an address is sent on to.
    fn leads_out(&self, from: &Address) -> Option<Address> {
        let mut open = vec![from.clone()];
        let mut seen = HashSet::new();
        while let Some(address) = open.pop() {
            if !self.domains.contains(&address.domain) {
                return Some(address);
            }
            let Some(owner) = self.around.resolved.people.owner_of(&address) else { continue };
            if !seen.insert(owner.clone()) {
                continue;
            }
            if let Some(group) = self.groups.get(&owner) {
                open.extend(group.members.iter().rev().cloned());
            }
        }
        None
    }

    /// People in a domain that says by its MX that it takes no mail (RFC 7505), and what is sent on to them.
    fn no_mail(&self, report: &mut Report) {
        let domains = self.around.resolved.domains.iter();
        let closed = domains.filter(|domain| domain.own_exchangers().is_some_and(|hosts| hosts.is_empty()));
        let closed: HashMap<&DomainName, &Path> = closed.map(|domain| (&domain.name, &domain.at)).collect();
        if closed.is_empty() {
            return;
        }
        for (at, domain) in self.around.spec.domain.iter().enumerate() {
            let path = Path::root().field("domain").item(at);
            if closed.contains_key(&domain.name) && !domain.account.is_empty() {
                let says = format!("`{}` takes no mail by its MX, and has accounts", domain.name);
                report
                    .find(Code::TakesNoMail, path.field("account").item(0), says)
                    .help("take the record `MX \"0 .\"` out, or the people");
            }
            for (n, alias) in domain.alias.iter().enumerate() {
                for (to, member) in alias.to.iter().enumerate() {
                    self.refused(
                        &member.within(&domain.name),
                        &path.field("alias").item(n).field("to").item(to),
                        &closed,
                        report,
                    );
                }
            }
            for (n, group) in domain.group.iter().enumerate() {
                for (m, member) in group.member.iter().enumerate() {
                    let at = path.field("group").item(n).field("member").item(m);
                    self.refused(&member.within(&domain.name), &at, &closed, report);
                }
            }
        }
    }

    fn refused(&self, to: &Address, at: &Path, closed: &HashMap<&DomainName, &Path>, report: &mut Report) {
        if let Some(domain) = closed.get(&to.domain) {
            let says = format!("mail is sent on to `{to}`, whose domain takes none by its MX");
            report
                .find(Code::TakesNoMail, at.clone(), says)
                .also(domain.field("name"), "the domain")
                .help("name an address of a domain that takes mail");
        }
    }

    /// Who gets mail by which authorities give out certificates.
    fn keepers(&self, report: &mut Report) {
        let people = &self.around.resolved.people;
        let groups = people.groups.iter().map(|group| (&group.address, &group.members));
        for (address, members) in groups {
            if !KEEPERS.contains(&address.local.as_str()) {
                continue;
            }
            let outside = members.iter().find_map(|member| self.leads_out(member));
            let Some(outside) = outside else { continue };
            let says = format!(
                "`{outside}` gets the mail of `{address}`, by which an authority gives out certificates for the domain"
            );
            report
                .find(Code::KeeperOutside, people.written_at(address), says)
                .help("name somebody of the spec; CAA records say which authorities may ask at all");
        }
        for list in people.lists.iter().filter(|list| KEEPERS.contains(&list.address.local.as_str())) {
            let says = format!(
                "all members of the list `{}` can get certificates for the domain: authorities ask there",
                list.address
            );
            report.find(Code::KeeperOutside, people.written_at(&list.address), says).help("write a group of few");
        }
    }

    /// Traps that catch nothing: whose mail somebody gets, or that no mail comes to.
    fn traps(&self, report: &mut Report) {
        let people = &self.around.resolved.people;
        let traps = self.around.spec.spam.iter().flat_map(|spam| spam.trap.iter().enumerate());
        for (n, trap) in traps {
            let at = Path::root().field("spam").field("trap").item(n);
            if !self.domains.contains(&trap.domain) {
                let says = format!("the trap `{trap}` lies in no domain of the spec, so nobody writes to it here");
                report.find(Code::TrapIdle, at, says).help("name an address of a domain here that nobody has");
            } else if let Some(owner) = people.owner_of(trap) {
                let says = format!("the trap `{trap}` is an address of `{owner}`, whose mail would teach the filter");
                report
                    .find(Code::TrapIdle, at, says)
                    .also(people.written_at(&owner), "whose it is")
                    .help("name an address that nobody has");
            } else if let Some(catch_all) = people.catch_alls.get(&trap.domain) {
                let domain = self.around.spec.domain.iter().position(|domain| domain.name == trap.domain);
                let place = Path::root().field("domain").item(domain.unwrap_or_default()).field("catch-all");
                let says = format!("the catch-all of `{}` takes the trap's mail for `{catch_all}`", trap.domain);
                report
                    .find(Code::TrapIdle, at, says)
                    .also(place, "the catch-all")
                    .help("take the catch-all out, or set the trap in a domain that has none");
            }
        }
    }

    /// A list among the members of a list that takes mail from more people than it.
    fn lists_in_lists(&self, report: &mut Report) {
        for (at, domain) in self.around.spec.domain.iter().enumerate() {
            for (n, list) in domain.list.iter().enumerate() {
                let address = Address::new(list.local.clone(), domain.name.clone());
                let Some(outer) = self.lists.get(&address).filter(|list| list.posting != Posting::Owners) else {
                    continue;
                };
                for (m, member) in list.member.iter().enumerate() {
                    let member = member.within(&domain.name);
                    let owner = self.around.resolved.people.owner_of(&member);
                    let Some(inner) = owner.and_then(|owner| self.lists.get(&owner)) else { continue };
                    if inner.posting == Posting::Anyone || inner.address == outer.address {
                        continue;
                    }
                    let may = |who: &Address| {
                        inner.owners.contains(who) || (inner.posting == Posting::Members && inner.members.contains(who))
                    };
                    let refused = outer.members.iter().find(|who| **who != inner.address && !may(who));
                    let anybody = outer.posting == Posting::Anyone;
                    if refused.is_none() && !anybody {
                        continue;
                    }
                    let who = match refused.filter(|_| !anybody) {
                        Some(who) => format!("`{who}`"),
                        None => "anybody".to_owned(),
                    };
                    let says = format!("`{}` takes nothing from {who}, who may post to `{address}`", inner.address);
                    let path = Path::root().field("domain").item(at).field("list").item(n).field("member").item(m);
                    report
                        .find(Code::ListRefuses, path, says)
                        .also(self.around.resolved.people.written_at(&inner.address), "the list in the list")
                        .help("make a group of the inner list's people, or let `anyone` post there");
                }
            }
        }
    }
}
