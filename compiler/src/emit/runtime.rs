//! `runtime.json`: what the server loads.

use crate::resolve::{Domain, Host, KeyState, Resolved};
use schema::config::{self, DkimKey, FORMAT, RuntimeConfig};
use schema::name::DomainName;
use schema::spec::{MtaStsMode, PeopleFrom};
use std::fmt::Write as _;

/// The runtime configuration of a resolved spec.
pub fn runtime(resolved: &Resolved) -> RuntimeConfig {
    let mut hosts: Vec<config::Host> = resolved.hosts.iter().map(host).collect();
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    RuntimeConfig {
        format: FORMAT,
        hosts,
        storage: resolved.storage.clone(),
        domains: resolved.domains.iter().map(|domain| self::domain(domain, resolved)).collect(),
        directories: resolved.directories.values().cloned().collect(),
        accounts: resolved.people.accounts.clone(),
        groups: resolved.people.groups.clone(),
        lists: resolved.people.lists.clone(),
        login: resolved.login.clone(),
        api_keys: resolved.api_keys.clone(),
        resolvers: resolved.resolver.server.clone(),
        trust: config::Trust { ca: resolved.trust.ca.clone(), arc_sealers: resolved.trust.arc_sealer.clone() },
        limits: resolved.limits.clone(),
        queue: resolved.queue.clone(),
    }
}

fn host(host: &Host) -> config::Host {
    config::Host {
        name: host.name.clone(),
        listeners: host.listeners.clone(),
        outbound: host.outbound.clone(),
        tls: host.tls.clone(),
        postmaster: host.postmaster.clone(),
    }
}

fn domain(domain: &Domain, resolved: &Resolved) -> config::Domain {
    let directory = domain.directory.as_ref().filter(|name| resolved.directories.contains_key(*name));
    config::Domain {
        name: domain.name.clone(),
        hosts: resolved.hosts_of(domain).map(|(_, host)| host.name.clone()).collect(),
        dkim: domain
            .dkim
            .iter()
            .filter(|key| key.state == KeyState::Signing)
            .filter_map(|key| {
                let private = key.private.clone()?;
                Some(DkimKey { selector: key.selector.clone(), algorithm: key.algorithm, private })
            })
            .collect(),
        mta_sts: policy(domain, resolved),
        postmaster: domain.postmaster.clone(),
        catch_all: domain.catch_all.clone(),
        directory: directory.cloned(),
        people: domain.people,
        quota: domain.quota.filter(|_| directory.is_some() || domain.people == PeopleFrom::Api),
    }
}

/// The lines of a policy, as they are compared: RFC 8461 §3.2 leaves case and blanks open.
pub fn policy_lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_ascii_lowercase()).filter(|line| !line.is_empty()).collect()
}

/// The text of a domain's MTA-STS policy (RFC 8461 §3.2).
pub fn policy(domain: &Domain, resolved: &Resolved) -> Option<String> {
    let given = domain.mta_sts.as_ref()?;
    let mode = match given.mode {
        MtaStsMode::Enforce => "enforce",
        MtaStsMode::Testing => "testing",
        MtaStsMode::None => "none",
    };
    let mut text = format!("version: STSv1\r\nmode: {mode}\r\n");
    let hosts = || resolved.hosts_of(domain).map(|(_, host)| host.name.domain()).collect();
    let mut names: Vec<&DomainName> = domain.own_exchangers().unwrap_or_else(hosts);
    let also: Vec<&DomainName> = domain.policy_also.iter().filter(|host| !names.contains(host)).collect();
    names.extend(also);
    for host in names {
        // Writing to a String cannot fail.
        let _ = write!(text, "mx: {host}\r\n");
    }
    let _ = write!(text, "max_age: {}\r\n", given.max_age.0);
    Some(text)
}
