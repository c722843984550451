//! Machines, what they listen on, databases and limits.

use super::{Class, Found, Part, Places, Side, json, listed, moved, pairs, rest, v};
use crate::diagnostic::Path;
use crate::resolve::Host;
use schema::config::{Listener, Store};
use std::net::SocketAddr;

/// Machines and their listeners.
pub fn hosts(found: &mut Found<'_>) {
    let (old, new) = (&found.old.resolved.hosts, &found.new.resolved.hosts);
    let pairs = pairs(old, new, |host| &host.name);
    for (a, b) in &pairs {
        match (a, b) {
            (Some(a), None) => {
                let says = format!(
                    "host {} is removed: a server that runs as it refuses the new configuration and goes on with the \
                     old one until it is stopped",
                    v(&a.name)
                );
                found.note((Part::Hosts, Class::Restart), a.name.as_str(), says, Places::old(&a.at));
            }
            (None, Some(b)) => {
                let says = format!("host {} is added: start a server on it", v(&b.name));
                found.note((Part::Hosts, Class::Hot), b.name.as_str(), says, Places::new(&b.at));
            }
            (Some(a), Some(b)) => host(found, a, b),
            (None, None) => {}
        }
    }
    // Without --host a server takes the only host of the spec.
    if let ([was], [_, _, ..]) = (old.as_slice(), new.as_slice()) {
        let says =
            format!("the spec has several hosts: the server of {} must be started with {}", v(&was.name), v("--host"));
        found.note((Part::Hosts, Class::Restart), was.name.as_str(), says, Places::old(&was.at));
    }
}

fn host(found: &mut Found<'_>, a: &Host, b: &Host) {
    let subject = b.name.as_str();
    listeners(found, a, b);
    let hot = (Part::Hosts, Class::Hot);
    if let Some(says) = list("has", &a.addresses, &b.addresses) {
        let (old, new) = (a.at.field("address"), b.at.field("address"));
        let says = format!("host {} {says} in DNS", v(&b.name));
        found.note(hot, subject, says, Places::both(&old, &new));
    }
    if a.outbound != b.outbound {
        let from = |list: &[std::net::IpAddr]| {
            if list.is_empty() { "an address that the system chooses".to_owned() } else { listed(list) }
        };
        let says = format!("host {} sends from {} instead of {}", v(&b.name), from(&b.outbound), from(&a.outbound));
        let (old, new) = (a.at.field("outbound"), b.at.field("outbound"));
        found.note(hot, subject, says, Places::both(&old, &new));
    }
    let (old, new) = (a.at.field("tls"), b.at.field("tls"));
    if a.tls != b.tls {
        let says = match (a.tls.certificates.is_empty(), b.tls.certificates.is_empty()) {
            (true, false) => format!("host {} shows a certificate from a file", v(&b.name)),
            (false, true) => format!("host {} signs its own certificate, which no client trusts", v(&b.name)),
            _ => format!("host {} shows another certificate or key", v(&b.name)),
        };
        found.note(hot, subject, says, Places::both(&old, &new));
    }
    if let (gone, come) = moved(&a.tlsa, &b.tlsa)
        && (!gone.is_empty() || !come.is_empty())
    {
        let mut says =
            format!("host {}: {} keys come and {} go among those pinned by DANE", v(&b.name), come.len(), gone.len());
        if !gone.is_empty() && moved(&a.tlsa, &b.tlsa).1.len() == b.tlsa.len() {
            says += "; none stays, so publish the new one first, wait for the old record's TTL, then change the key";
        }
        found.note(hot, subject, says, Places::both(&old, &new));
    }
    beyond(found, a, b);
}

/// What a later version's hosts hold beside what is known here.
fn beyond(found: &mut Found<'_>, a: &Host, b: &Host) {
    let of = |side: &Side<'_>| side.artefacts.runtime.hosts.iter().find(|one| one.name == b.name).map(json);
    let (Some(old), Some(new)) = (of(found.old), of(found.new)) else { return };
    for says in rest(&old, &new, &["name", "listeners", "outbound", "tls", "postmaster"]) {
        let says = format!("host {}: {says}", v(&b.name));
        found.note((Part::Hosts, Class::Hot), b.name.as_str(), says, Places::both(&a.at, &b.at));
    }
}

fn list<T: Ord + std::fmt::Display>(verb: &str, old: &[T], new: &[T]) -> Option<String> {
    let (gone, come) = moved(old, new);
    match (gone.as_slice(), come.as_slice()) {
        ([], []) => None,
        (gone, []) => Some(format!("{verb} {} no longer", listed(gone))),
        ([], come) => Some(format!("{verb} {}", listed(come))),
        (gone, come) => Some(format!("{verb} {} instead of {}", listed(come), listed(gone))),
    }
}

fn listeners(found: &mut Found<'_>, a: &Host, b: &Host) {
    let (old, new) = (a.at.field("listen"), b.at.field("listen"));
    let by_address = |listener: &Listener| listener.address;
    for (was, now) in pairs(&a.listeners, &b.listeners, by_address) {
        let place = |address: SocketAddr| format!("{} of {}", v(address), v(&b.name));
        let (class, says, places) = match (was, now) {
            (Some(was), None) => {
                let says = format!(
                    "{} no longer listens on {}: open connections end by themselves, new ones are refused",
                    v(was.service.name()),
                    place(was.address)
                );
                (Class::Drains, says, Places::old(&old))
            }
            (None, Some(now)) => {
                let says = format!("{} listens on {}", v(now.service.name()), place(now.address));
                (Class::Hot, says, Places::new(&new))
            }
            (Some(was), Some(now)) if was.service != now.service => {
                let says = format!(
                    "{} listens on {} in place of {}: open connections end by themselves",
                    v(now.service.name()),
                    place(now.address),
                    v(was.service.name())
                );
                (Class::Drains, says, Places::both(&old, &new))
            }
            _ => continue,
        };
        found.note((Part::Listeners, class), b.name.as_str(), says, places);
    }
}

fn store(store: &Store) -> String {
    match store {
        Store::Memory { name } => format!("the memory store {}", v(name)),
        _ if store.is_shared() => format!("{} at {}", store.kind(), v(store.place())),
        _ => format!("{} in {}", store.kind(), v(store.place())),
    }
}

/// Where a part's store was written.
fn written(side: &Side<'_>, part: &'static str, chosen: &Store) -> Path {
    let spec = &side.compiled.spec;
    if spec.storage.is_some() {
        return Path::root().field("storage").field(part);
    }
    let is = |one: &schema::spec::Store| crate::resolve::stores::bound(one).as_ref() == Some(chosen);
    spec.store.iter().position(is).map_or_else(Path::root, |at| Path::root().field("store").item(at))
}

/// Which database keeps what.
pub fn storage(found: &mut Found<'_>) {
    let (old, new) = (&found.old.resolved.storage, &found.new.resolved.storage);
    let parts = [
        ("data", "mailboxes and the queue", &old.data, &new.data),
        ("blob", "messages", &old.blob, &new.blob),
        ("search", "the search index", &old.search, &new.search),
        ("lookup", "counters and short-lived facts", &old.lookup, &new.lookup),
    ];
    for (part, what, was, now) in parts {
        if was == now {
            continue;
        }
        let (a, b) = (written(found.old, part, was), written(found.new, part, now));
        if was.identity() == now.identity() {
            let (class, how) = match now {
                Store::Foundationdb(_) => (Class::Restart, "start the server again"),
                _ => (Class::Hot, "the server connects anew, and goes on as it was where that fails"),
            };
            let says = format!("{} is reached in another way: {how}", store(now));
            found.note((Part::Stores, class), part, says, Places::both(&a, &b));
            continue;
        }
        let beside = part == "blob" && old.blob.identity() == old.data.identity();
        let (class, how) = match (part, was) {
            ("blob", _) if beside && old.data.identity() == new.data.identity() => {
                (Class::Hot, "what is there stays where it is, and is found")
            }
            ("data" | "blob", Store::Memory { .. }) => {
                (Class::Destroys, "what the memory holds is gone when the server stops, as it must for this")
            }
            ("data" | "blob", _) => (
                Class::Migration,
                "stop the server, move what is stored with `waybilld migrate`, start it again; until then it goes on as it was",
            ),
            ("lookup", _) => (Class::Hot, "counters begin anew"),
            _ => (Class::Hot, "it is made anew behind delivery, and searches look at messages until then"),
        };
        let says = format!("{what} lie in {} instead of {}: {how}", store(now), store(was));
        let says = says.replacen("the search index lie", "the search index lies", 1);
        found.note((Part::Stores, class), part, says, Places::both(&a, &b));
    }
    if let Some(key) = &old.blobs.encrypt
        && new.blobs.encrypt.as_ref() != Some(key)
    {
        let says = format!(
            "messages are encrypted with the key {}, and cannot be read without it: unless the same key stands elsewhere \
             now, move them to another store with `waybilld migrate`",
            v(key)
        );
        let (old, new) = (written(found.old, "blob", &old.blob), written(found.new, "blob", &new.blob));
        found.note((Part::Stores, Class::Destroys), "blob", says, Places::both(&old, &new));
    }
    let told = if old.blobs.encrypt.is_some() { &["encrypt"][..] } else { &[] };
    let blobs = rest(&json(&old.blobs), &json(&new.blobs), told);
    let index = rest(&json(&old.index), &json(&new.index), &[]);
    let at = Path::root().field("storage");
    for says in blobs {
        let says = format!("how messages are written: {says}");
        found.note((Part::Stores, Class::Hot), "blob", says, Places::both(&at, &at));
    }
    for says in index {
        let says = format!("what the search index holds: {says}; it is made anew behind delivery");
        found.note((Part::Stores, Class::Hot), "index", says, Places::both(&at, &at));
    }
}

/// Limits, the queue's times, resolvers, trust; and whatever a later version's configuration has beside.
pub fn limits(found: &mut Found<'_>) {
    let (old, new) = (json(&found.old.artefacts.runtime), json(&found.new.artefacts.runtime));
    for (node, part) in [("limits", Part::Limits), ("queue", Part::Limits), ("trust", Part::Policies)] {
        let (a, b) = (old.get(node).cloned().unwrap_or_default(), new.get(node).cloned().unwrap_or_default());
        let names: Vec<&String> = b.as_object().into_iter().flat_map(|map| map.keys()).collect();
        for name in names {
            let only = |side: &serde_json::Value| serde_json::json!({ name.as_str(): side.get(name) });
            let at = Path::root().field(node).named(name);
            for says in rest(&only(&a), &only(&b), &[]) {
                found.note((part, Class::Hot), node, format!("{node}: {says}"), Places::both(&at, &at));
            }
        }
    }
    let at = Path::root().field("resolver");
    if found.old.artefacts.runtime.resolvers != found.new.artefacts.runtime.resolvers {
        let servers = &found.new.artefacts.runtime.resolvers;
        let whom = if servers.is_empty() { "the system's servers".to_owned() } else { listed(servers) };
        let says = format!("names are looked up at {whom}");
        found.note((Part::Policies, Class::Hot), "resolver", says, Places::both(&at, &at));
    }
    let told = [
        "format",
        "hosts",
        "storage",
        "domains",
        "accounts",
        "groups",
        "lists",
        "login",
        "directories",
        "api-keys",
        "resolvers",
        "trust",
        "limits",
        "queue",
    ];
    for says in rest(&old, &new, &told) {
        found.note((Part::Policies, Class::Hot), "server", says, Places::default());
    }
}
