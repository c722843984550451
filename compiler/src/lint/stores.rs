//! Stores: what two machines do not share, what travels in the clear, what lies in what.

use super::Around;
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use schema::config::Store as Bound;
use schema::name::DomainName;
use schema::spec::{ClientTlsMode, Directory, Store};
use std::collections::HashSet;

/// Runs the lints of stores.
pub fn stores(around: &Around<'_>, report: &mut Report) {
    split(around, report);
    for (at, store) in around.spec.store.iter().enumerate() {
        clear(store, &path(at), report);
    }
    nested(&around.spec.store, report);
    directories(&around.spec.directory, report);
}

/// An LDAP server on another machine that is asked in the clear: passwords go there.
fn directories(directories: &[Directory], report: &mut Report) {
    for (n, directory) in directories.iter().enumerate() {
        let Some(ldap) = &directory.ldap else { continue };
        let off = ldap.tls.as_ref().is_some_and(|tls| tls.mode == Some(ClientTlsMode::Off));
        if off && ldap.url.strip_prefix("ldap://").is_some_and(|rest| !is_local(rest)) {
            let at = Path::root().field("directory").item(n).field("ldap").field("tls").field("mode");
            let says = "people's passwords go to another machine in the clear";
            report
                .find(Code::ClearDirectory, at, says)
                .help("take `tls` out for StartTLS, or write `ldaps://…`; `ca` names an authority of your own");
        }
    }
}

fn path(at: usize) -> Path {
    Path::root().field("store").item(at)
}

/// Two machines that take mail for one domain, and each keeps what it took to itself.
fn split(around: &Around<'_>, report: &mut Report) {
    let resolved = around.resolved;
    let people: HashSet<&DomainName> = resolved.people.accounts.iter().map(|account| &account.address.domain).collect();
    let several = resolved.domains.iter().find(|domain| domain.hosts.len() > 1 && people.contains(&domain.name));
    let Some(domain) = several else { return };
    let stores = &around.spec.store;
    let given = around.spec.storage.as_ref();
    let parts = [
        ("data", &resolved.storage.data, given.and_then(|storage| storage.data.as_ref())),
        ("blob", &resolved.storage.blob, given.and_then(|storage| storage.blob.as_ref())),
        ("lookup", &resolved.storage.lookup, given.and_then(|storage| storage.lookup.as_ref())),
    ];
    let data = &resolved.storage.data;
    for (part, bound, name) in parts {
        let at = stores.iter().position(|store| name.is_none_or(|name| store.name == *name));
        let at = at.map_or_else(Path::root, path);
        if bound.is_shared() {
            continue;
        }
        let kind = bound.kind();
        match part {
            "data" | "blob" if part == "data" || bound != data => {
                let says = format!(
                    "{} hosts take the mail of `{}`, and each keeps its own {part} in {kind}: people see half of it",
                    domain.hosts.len(),
                    domain.name
                );
                report
                    .find(Code::SplitStore, at, says)
                    .also(domain.hosts_at.clone(), "the hosts")
                    .help("name a store that both reach over the network, as PostgreSQL, or one host");
            }
            "lookup" if matches!(bound, Bound::Memory { .. }) && !matches!(data, Bound::Memory { .. }) => {
                let says = "each host counts for itself in memory, so limits are met once for each host";
                report.find(Code::SplitLookup, at, says).help("keep `lookup` in a store that both reach");
            }
            _ => {}
        }
    }
}

/// What goes to another machine unencrypted: mail, and the password before it.
fn clear(store: &Store, at: &Path, report: &mut Report) {
    let redis = store.redis.iter().flat_map(|redis| redis.url.iter().enumerate());
    let redis = redis.map(|(n, url)| (at.field("redis").field("url").item(n), url, "redis://", "rediss://"));
    let elasticsearch = store.elasticsearch.iter().map(|database| &database.url);
    let elasticsearch = elasticsearch.map(|url| (at.field("elasticsearch").field("url"), url, "http://", "https://"));
    let s3 = store.s3.iter().filter_map(|s3| s3.endpoint.as_ref());
    let s3 = s3.map(|url| (at.field("s3").field("endpoint"), url, "http://", "https://"));
    for (at, url, plain, safe) in redis.chain(elasticsearch).chain(s3) {
        if url.strip_prefix(plain).is_some_and(|rest| !is_local(rest)) {
            let says = format!("`{plain}` goes to another machine in the clear, mail and passwords alike");
            report.find(Code::ClearStore, at, says).help(format!("write `{safe}…`"));
        }
    }
}

/// Whether the rest of a URL names this very machine.
fn is_local(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A store inside another's folder, which takes everything in it for its own.
fn nested(stores: &[Store], report: &mut Report) {
    let folder = |store: &Store| {
        let filesystem = store.filesystem.as_ref().map(|one| &one.path);
        let sqlite = store.sqlite.as_ref().map(|one| &one.path);
        let kinds = [("rocksdb", store.rocksdb.as_ref()), ("filesystem", filesystem), ("sqlite", sqlite)];
        kinds.into_iter().find_map(|(kind, folder)| Some((kind, folder?.trim_end_matches('/').to_owned())))
    };
    for (at, store) in stores.iter().enumerate() {
        let Some((kind, inner)) = folder(store) else { continue };
        let outer = stores.iter().enumerate().find(|(_, other)| {
            folder(other).is_some_and(|(kind, outer)| {
                kind != "sqlite" && inner.strip_prefix(&outer).is_some_and(|rest| rest.starts_with('/'))
            })
        });
        if let Some((outer, other)) = outer {
            let says = format!("`{inner}` lies in the folder of `{}`", other.name);
            report
                .find(Code::NestedStore, path(at).field(kind), says)
                .also(path(outer), "the other store")
                .help("take a folder beside it");
        }
    }
}
