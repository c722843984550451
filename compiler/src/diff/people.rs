//! Accounts, groups and lists.

use super::state::{grouped, octets};
use super::{Class, Found, Part, Places, json, listed, moved, pairs, rest, v};
use crate::resolve::People;
use schema::config::{Account, Group, List};
use schema::name::Address;
use schema::spec::{Credential, Posting};
use std::collections::{BTreeMap, HashMap};

/// Everything about people.
pub fn people(found: &mut Found<'_>) {
    let (old, new) = (&found.old.resolved.people, &found.new.resolved.people);
    accounts(found, old, new);
    scram(found, old, new);
    aliases(found, old, new);
    for (a, b) in pairs(&old.groups, &new.groups, |group| &group.address) {
        group(found, a, b);
    }
    for (a, b) in pairs(&old.lists, &new.lists, |list| &list.address) {
        list(found, a, b);
    }
}

fn accounts(found: &mut Found<'_>, old: &People, new: &People) {
    let pairs = pairs(&old.accounts, &new.accounts, |account| &account.address);
    let removed: Vec<&Account> = pairs.iter().filter(|(_, new)| new.is_none()).filter_map(|(old, _)| *old).collect();
    let added: Vec<&Account> = pairs.iter().filter(|(old, _)| old.is_none()).filter_map(|(_, new)| *new).collect();
    let renamed = renamed(&removed, &added);
    let from: HashMap<&Address, &Address> = renamed.iter().map(|(old, new)| (*new, *old)).collect();
    for (a, b) in &pairs {
        match (a, b) {
            (Some(a), None) => gone(found, a, (renamed.get(&a.address).copied(), new)),
            (None, Some(b)) => came(found, b, from.get(&b.address).copied()),
            (Some(a), Some(b)) => changed(found, a, b),
            (None, None) => {}
        }
    }
}

/// Who seems to have become whom: one removed and one added account with the same password, or, within a domain, the
/// only ones of the same name.
fn renamed<'a>(removed: &[&'a Account], added: &[&'a Account]) -> BTreeMap<&'a Address, &'a Address> {
    let mut by: HashMap<String, (Vec<&Address>, Vec<&Address>)> = HashMap::new();
    let keys = |account: &Account| {
        let proof = account.credentials.first().map(|one| match one {
            Credential::Hash(text) | Credential::Scram(text) => format!("p{text}"),
        });
        let name = (!account.name.is_empty()).then(|| format!("n{}\n{}", account.address.domain, account.name));
        [proof, name].into_iter().flatten()
    };
    for account in removed {
        keys(account).for_each(|key| by.entry(key).or_default().0.push(&account.address));
    }
    for account in added {
        keys(account).for_each(|key| by.entry(key).or_default().1.push(&account.address));
    }
    let only = by.into_values().filter_map(|sides| match (sides.0.as_slice(), sides.1.as_slice()) {
        ([old], [new]) => Some((*old, *new)),
        _ => None,
    });
    let mut map: BTreeMap<&Address, &Address> = BTreeMap::new();
    let mut taken = std::collections::BTreeSet::new();
    let mut all: Vec<_> = only.collect();
    all.sort_unstable();
    for (old, new) in all {
        if !map.contains_key(old) && taken.insert(new) {
            map.insert(old, new);
        }
    }
    map
}

fn holds(found: &Found<'_>, address: &Address) -> String {
    match found.state.map(|state| state.accounts.get(address).copied().unwrap_or_default()) {
        None => "its mailbox".to_owned(),
        Some(held) if held.messages == 0 => "its mailbox, which holds nothing,".to_owned(),
        Some(held) => {
            let s = if held.messages == 1 { "" } else { "s" };
            format!("its mailbox of {} message{s}, {},", grouped(held.messages), octets(held.octets))
        }
    }
}

fn gone(found: &mut Found<'_>, account: &Account, (became, new): (Option<&Address>, &People)) {
    let address = &account.address;
    let holds = holds(found, address);
    let head = match became {
        Some(became) => format!("account {} seems to become {}", v(address), v(became)),
        None => format!("account {} is removed", v(address)),
    };
    let mail = if new.owner_of(address).is_some() {
        ", and mail for it goes to somebody else"
    } else {
        ", and mail for it is refused"
    };
    let says = format!(
        "{head}: {holds} is out of reach{mail}; the server keeps mailboxes by address, and shows this one again only \
         to an account of that address"
    );
    let at = found.old.resolved.people.written_at(address);
    found.note((Part::People, Class::Destroys), &address.to_string(), says, Places::old(&at));
}

fn came(found: &mut Found<'_>, account: &Account, was: Option<&Address>) {
    let address = &account.address;
    let mut says = format!("account {} is added", v(address));
    if let Some(was) = was {
        says += &format!("; it begins empty, the mail of {} does not come along", v(was));
    }
    if account.suspended {
        says += "; it is suspended, so nobody can log in as it";
    } else if account.credentials.is_empty() {
        says += "; nobody can log in as it";
    }
    if let Some(quota) = account.quota {
        says += &format!("; it may keep {}", v(quota));
    }
    let at = found.new.resolved.people.written_at(address);
    found.note((Part::People, Class::Hot), &address.to_string(), says, Places::new(&at));
}

fn changed(found: &mut Found<'_>, a: &Account, b: &Account) {
    let address = &b.address;
    let (old, new) = (found.old.resolved.people.written_at(address), found.new.resolved.people.written_at(address));
    let mut says = Vec::new();
    if a.name != b.name {
        says.push(match (a.name.as_str(), b.name.as_str()) {
            (_, "") => "its name is taken away".to_owned(),
            ("", name) => format!("it is named {}", v(name)),
            (was, name) => format!("its name changes from {} to {}", v(was), v(name)),
        });
    }
    if a.suspended != b.suspended {
        let text = match b.suspended {
            true => "it is suspended: who is logged in as it is logged out, and nobody can log in; mail for it is kept",
            false => "it is suspended no more: who knows its password can log in",
        };
        says.push(text.to_owned());
    } else if a.credentials != b.credentials {
        says.push(passwords(&a.credentials, &b.credentials).to_owned());
    }
    if a.quota != b.quota {
        let all = |quota: Option<schema::unit::Size>| quota.map_or_else(|| "anything".to_owned(), v);
        let mut text = format!("it may keep {} instead of {}", all(b.quota), all(a.quota));
        let held = found.state.and_then(|state| state.accounts.get(address));
        if let (Some(quota), Some(held)) = (b.quota, held)
            && held.octets > quota.0
        {
            text += &format!("; it holds {} already, so new mail for it is refused", octets(held.octets));
        }
        says.push(text);
    }
    let told = ["address", "name", "credentials", "suspended", "aliases", "quota"];
    says.extend(rest(&json(a), &json(b), &told));
    for says in says {
        let says = format!("account {}: {says}", v(address));
        found.note((Part::People, Class::Hot), &address.to_string(), says, Places::both(&old, &new));
    }
}

fn passwords(old: &[Credential], new: &[Credential]) -> &'static str {
    let scram = |list: &[Credential]| list.iter().any(|one| matches!(one, Credential::Scram(_)));
    match (old.is_empty(), new.is_empty()) {
        (_, true) => "it has no password any more, so nobody can log in as it",
        (true, false) => "it has a password, so somebody can log in as it",
        _ if scram(old) && !scram(new) => "its password changes, and has no SCRAM verifier any more",
        _ => "its password changes; who is logged in stays so",
    }
}

/// SCRAM is offered only where everybody has a verifier.
fn scram(found: &mut Found<'_>, old: &People, new: &People) {
    let verified = |account: &Account| account.credentials.iter().any(|one| matches!(one, Credential::Scram(_)));
    let has = |account: &Account| account.suspended || verified(account);
    let lacks = |people: &People| people.accounts.iter().find(|one| !has(one)).map(|one| one.address.clone());
    if old.accounts.is_empty() || new.accounts.is_empty() {
        return;
    }
    let says = match (lacks(old), lacks(new)) {
        (None, Some(who)) => {
            format!(
                "SCRAM is offered to nobody any more, since {} has no verifier; clients that insist on it cannot log in",
                v(who)
            )
        }
        (Some(_), None) => "SCRAM is offered, since every account has a verifier".to_owned(),
        _ => return,
    };
    found.note((Part::Policies, Class::Hot), "login", says, Places::default());
}

/// Addresses that are not an account's, a group's or a list's own.
fn aliases(found: &mut Found<'_>, old: &People, new: &People) {
    fn owned(people: &People) -> BTreeMap<&Address, &Address> {
        let each = people.accounts.iter();
        each.flat_map(|account| account.aliases.iter().map(move |alias| (alias, &account.address))).collect()
    }
    let (a, b) = (owned(old), owned(new));
    let kind = (Part::People, Class::Hot);
    for (alias, owner) in &a {
        let was = old.written_at(alias);
        let says = match b.get(alias) {
            Some(now) if now == owner => continue,
            Some(now) => format!("address {} moves from {} to {}", v(alias), v(owner), v(now)),
            None if new.owner_of(alias).is_some() => {
                format!("address {} of {} is taken away, and becomes somebody else's", v(alias), v(owner))
            }
            None => format!("address {} of {} is taken away, so mail for it is refused", v(alias), v(owner)),
        };
        let now = new.written_at(alias);
        let places = Places { old: Some(&was), new: b.contains_key(alias).then_some(&now) };
        found.note(kind, &alias.to_string(), says, places);
    }
    for (alias, owner) in b.iter().filter(|(alias, _)| !a.contains_key(*alias)) {
        let at = new.written_at(alias);
        let says = format!("address {} is given to {}", v(alias), v(owner));
        found.note(kind, &alias.to_string(), says, Places::new(&at));
    }
}

/// What came and went among members.
fn members(old: &[Address], new: &[Address]) -> Option<String> {
    let (gone, come) = moved(old, new);
    match (gone.as_slice(), come.as_slice()) {
        ([], []) => None,
        (gone, []) => Some(format!("{} no longer", listed(gone))),
        ([], come) => Some(format!("also {}", listed(come))),
        (gone, come) => Some(format!("{} in place of {}", listed(come), listed(gone))),
    }
}

fn group(found: &mut Found<'_>, a: Option<&Group>, b: Option<&Group>) {
    let kind = (Part::People, Class::Hot);
    let word = |group: &Group| if group.send_as { "group" } else { "alias" };
    let Some(address) = a.or(b).map(|group| &group.address) else { return };
    let (old, new) = (found.old.resolved.people.written_at(address), found.new.resolved.people.written_at(address));
    let subject = address.to_string();
    match (a, b) {
        (Some(a), None) => {
            let says = format!("{} {} is removed; it went to {}", word(a), v(address), listed(&a.members));
            found.note(kind, &subject, says, Places::old(&old));
        }
        (None, Some(b)) => {
            let says = format!("{} {} is added; it goes to {}", word(b), v(address), listed(&b.members));
            found.note(kind, &subject, says, Places::new(&new));
        }
        (Some(a), Some(b)) => {
            let mut says = Vec::new();
            if let Some(members) = members(&a.members, &b.members) {
                says.push(format!("goes to {members}"));
            }
            if a.send_as != b.send_as {
                says.push(format!(
                    "becomes {}",
                    if b.send_as {
                        "a group, so its members may send as it"
                    } else {
                        "an alias, so nobody may send as it"
                    }
                ));
            }
            says.extend(rest(&json(a), &json(b), &["address", "members", "send-as"]));
            for says in says {
                let says = format!("{} {} {says}", word(b), v(address));
                found.note(kind, &subject, says, Places::both(&old, &new));
            }
        }
        (None, None) => {}
    }
}

fn list(found: &mut Found<'_>, a: Option<&List>, b: Option<&List>) {
    let kind = (Part::People, Class::Hot);
    let Some(address) = a.or(b).map(|list| &list.address) else { return };
    let (old, new) = (found.old.resolved.people.written_at(address), found.new.resolved.people.written_at(address));
    let subject = address.to_string();
    let posting = |posting: Posting| match posting {
        Posting::Members => "its members",
        Posting::Anyone => "everybody",
        Posting::Owners => "its owners",
    };
    match (a, b) {
        (Some(a), None) => {
            let says = format!("list {} with {} members is removed", v(address), grouped(a.members.len() as u64));
            found.note(kind, &subject, says, Places::old(&old));
        }
        (None, Some(b)) => {
            let says = format!(
                "list {} with {} members is added; {} may post",
                v(address),
                grouped(b.members.len() as u64),
                posting(b.posting)
            );
            found.note(kind, &subject, says, Places::new(&new));
        }
        (Some(a), Some(b)) => {
            let mut says = Vec::new();
            if let Some(members) = members(&a.members, &b.members) {
                says.push(format!("goes to {members}"));
            }
            if let Some(owners) = members(&a.owners, &b.owners) {
                says.push(format!("is owned by {owners}"));
            }
            if a.posting != b.posting {
                says.push(format!("takes posts from {} instead of {}", posting(b.posting), posting(a.posting)));
            }
            says.extend(rest(&json(a), &json(b), &["address", "members", "owners", "posting"]));
            for says in says {
                let says = format!("list {} {says}", v(address));
                found.note(kind, &subject, says, Places::both(&old, &new));
            }
        }
        (None, None) => {}
    }
}
