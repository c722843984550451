//! A picture of a spec as SVG: domains on the left, the hosts that take their mail in the middle, the databases that
//! keep it on the right. No script, no font from elsewhere, readable on a light and on a dark ground, with a title for
//! every box and line for who does not see it.
//!
//! The picture is bounded: domains of the same hosts are one box where there are many.

mod draw;

use crate::resolve::{Domain, Host, Resolved};
use schema::config::Store;
use std::collections::BTreeMap;

/// Domains that are drawn as one, and the hosts that take their mail.
type Alike<'a> = (Vec<&'a Domain>, Vec<(u16, usize)>);

/// More domains than these with the same hosts share a box.
const ALONE: usize = 4;
/// How many of them are named.
const NAMED: usize = 3;
/// The most boxes of a column; the rest is counted in a last one.
const TALLEST: usize = 60;

/// A box of the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// What is written in it; the first line is its name.
    pub lines: Vec<String>,
    /// What a reader is told of it.
    pub title: String,
}

/// A line from a box of a column to one of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which box, from 0.
    pub from: usize,
    /// Which box of the next column.
    pub to: usize,
    /// What is written at it; may be empty.
    pub label: String,
    /// What a reader is told of it.
    pub title: String,
}

/// What is drawn: three columns, and the lines between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Domains, or groups of them.
    pub domains: Vec<Card>,
    /// Hosts.
    pub hosts: Vec<Card>,
    /// Databases.
    pub stores: Vec<Card>,
    /// Which host takes whose mail.
    pub mail: Vec<Line>,
    /// Which host keeps what where.
    pub kept: Vec<Line>,
}

/// Draws a spec.
pub fn svg(resolved: &Resolved) -> String {
    draw::draw(&Picture::of(resolved))
}

impl Picture {
    /// What a spec's picture shows.
    pub fn of(resolved: &Resolved) -> Picture {
        let mut picture = Picture::default();
        let places = picture.hosts(&resolved.hosts);
        picture.domains(resolved, &places);
        picture.stores(resolved);
        picture
    }

    /// The hosts by name; where each of the spec's is.
    fn hosts(&mut self, hosts: &[Host]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..hosts.len()).collect();
        order.sort_by_key(|at| hosts.get(*at).map(|host| &host.name));
        let mut places = vec![0; hosts.len()];
        for (place, at) in order.iter().enumerate() {
            let Some(host) = hosts.get(*at) else { continue };
            let place = place.min(TALLEST);
            if let Some(slot) = places.get_mut(*at) {
                *slot = place;
            }
            if place < TALLEST {
                self.hosts.push(card_of_host(host));
            }
        }
        if hosts.len() > TALLEST {
            self.hosts.push(more(hosts.len() - TALLEST, "host"));
        }
        places
    }

    fn domains(&mut self, resolved: &Resolved, places: &[usize]) {
        let mut groups: BTreeMap<Vec<(u16, usize)>, Vec<&Domain>> = BTreeMap::new();
        for domain in &resolved.domains {
            groups.entry(domain.hosts.clone()).or_default().push(domain);
        }
        let people = people(resolved);
        let mut boxes: Vec<Alike<'_>> = Vec::new();
        for (hosts, domains) in groups {
            if domains.len() <= ALONE {
                boxes.extend(domains.into_iter().map(|domain| (vec![domain], hosts.clone())));
            } else {
                boxes.push((domains, hosts));
            }
        }
        // By where their hosts are, so that few lines cross.
        let centre = |hosts: &[(u16, usize)]| {
            let sum: usize = hosts.iter().filter_map(|(_, at)| places.get(*at)).sum();
            (sum * 1000).checked_div(hosts.len()).unwrap_or(usize::MAX)
        };
        boxes.sort_by_cached_key(|(domains, hosts)| (centre(hosts), domains.first().map(|domain| domain.name.clone())));
        let beyond: usize = boxes.iter().skip(TALLEST).map(|(domains, _)| domains.len()).sum();
        let mut said: BTreeMap<(usize, usize), Vec<u16>> = BTreeMap::new();
        for (at, (domains, hosts)) in boxes.iter().take(TALLEST).enumerate() {
            self.domains.push(card_of_domains(domains, &people));
            for (priority, host) in hosts {
                let place = places.get(*host).copied().unwrap_or_default();
                said.entry((at, place)).or_default().push(*priority);
            }
        }
        for ((from, to), priorities) in said {
            let label = priorities.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            let name = |cards: &[Card], at: usize| cards.get(at).and_then(|card| card.lines.first().cloned());
            let (domain, host) = (name(&self.domains, from), name(&self.hosts, to));
            let title = format!(
                "mail for {} goes to {}, preference {label}",
                domain.unwrap_or_default(),
                host.unwrap_or_default()
            );
            self.mail.push(Line { from, to, label, title });
        }
        if beyond > 0 {
            self.domains.push(more(beyond, "domain"));
        }
    }

    fn stores(&mut self, resolved: &Resolved) {
        let storage = &resolved.storage;
        let parts = [
            ("data", &storage.data),
            ("blob", &storage.blob),
            ("search", &storage.search),
            ("lookup", &storage.lookup),
        ];
        let mut kept: Vec<(&Store, Vec<&str>)> = Vec::new();
        for (part, store) in parts {
            match kept.iter_mut().find(|(known, _)| *known == store) {
                Some((_, parts)) => parts.push(part),
                None => kept.push((store, vec![part])),
            }
        }
        for (at, (store, parts)) in kept.iter().enumerate() {
            let (kind, place) = (store.kind(), store.place().to_owned());
            let parts = parts.join(", ");
            let title = format!("{kind} {place} keeps {parts}");
            self.stores.push(Card { lines: vec![place, format!("{kind}: {parts}")], title });
            for from in 0..self.hosts.len() {
                let host = self.hosts.get(from).and_then(|card| card.lines.first()).cloned().unwrap_or_default();
                let title = format!("{host} keeps {parts} there");
                self.kept.push(Line { from, to: at, label: String::new(), title });
            }
        }
    }
}

fn more(count: usize, what: &str) -> Card {
    let text = format!("and {} more {what}{}", grouped(count), if count == 1 { "" } else { "s" });
    Card { lines: vec![text.clone()], title: text }
}

fn grouped(count: usize) -> String {
    crate::diff::grouped(count as u64)
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

fn card_of_host(host: &Host) -> Card {
    let mut services: BTreeMap<u16, &str> = BTreeMap::new();
    for listener in &host.listeners {
        services.insert(listener.address.port(), listener.service.name());
    }
    let services: Vec<String> = services.iter().map(|(port, name)| format!("{name} {port}")).collect();
    let mut lines = vec![host.name.to_string()];
    lines.extend(services.chunks(3).map(|row| row.join(", ")));
    let title = format!("host {}: {}", host.name, services.join(", "));
    Card { lines, title }
}

/// Accounts, groups and lists of a domain, and how many of the latter two lead to other domains.
#[derive(Clone, Copy, Default)]
struct Crowd {
    accounts: usize,
    groups: usize,
    lists: usize,
    elsewhere: usize,
}

fn people(resolved: &Resolved) -> BTreeMap<&str, Crowd> {
    let mut crowds: BTreeMap<&str, Crowd> = BTreeMap::new();
    let known: std::collections::BTreeSet<&str> = resolved.domains.iter().map(|domain| domain.name.as_str()).collect();
    for account in &resolved.people.accounts {
        crowds.entry(account.address.domain.as_str()).or_default().accounts += 1;
    }
    let away = |members: &[schema::name::Address]| {
        usize::from(members.iter().any(|member| !known.contains(member.domain.as_str())))
    };
    for group in &resolved.people.groups {
        let crowd = crowds.entry(group.address.domain.as_str()).or_default();
        crowd.groups += 1;
        crowd.elsewhere += away(&group.members);
    }
    for list in &resolved.people.lists {
        let crowd = crowds.entry(list.address.domain.as_str()).or_default();
        crowd.lists += 1;
        crowd.elsewhere += away(&list.members);
    }
    crowds
}

fn card_of_domains(domains: &[&Domain], people: &BTreeMap<&str, Crowd>) -> Card {
    let mut crowd = Crowd::default();
    for domain in domains {
        let one = people.get(domain.name.as_str()).copied().unwrap_or_default();
        crowd.accounts += one.accounts;
        crowd.groups += one.groups;
        crowd.lists += one.lists;
        crowd.elsewhere += one.elsewhere;
    }
    let mut lines: Vec<String> = if domains.len() > ALONE {
        let named = domains.iter().take(NAMED).map(|domain| domain.name.to_string());
        named.chain([format!("and {} more", grouped(domains.len() - NAMED))]).collect()
    } else {
        domains.iter().map(|domain| domain.name.to_string()).collect()
    };
    let catch_all = domains.iter().filter(|domain| domain.catch_all.is_some()).count();
    let mut facts = vec![plural(crowd.accounts, "account", "accounts")];
    let rest = [
        (crowd.groups, "group", "groups"),
        (crowd.lists, "list", "lists"),
        (crowd.elsewhere, "goes elsewhere", "go elsewhere"),
        (catch_all, "catch-all", "catch-alls"),
    ];
    facts.extend(rest.iter().filter(|(count, ..)| *count > 0).map(|(count, one, many)| plural(*count, one, many)));
    let title = format!("{}: {}", lines.join(", "), facts.join(", "));
    lines.extend(facts.chunks(3).map(|row| row.join(", ")));
    Card { lines, title }
}
