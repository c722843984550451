//! The policy file before its id (RFC 8461 §3.1): a sender that sees a new id fetches the policy once and keeps it until
//! the next one. Where it got the old policy by the new id, it would go by that for as long as `max_age`.

use super::{Ground, Survey};
use crate::emit::runtime;
use crate::emit::zone::policy_host;
use crate::resolve::{Domain, Host};
use crate::tls::Trust;
use crate::verify::wire::{self, Request};
use schema::config::Service;
use schema::name::DomainName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use url::Url;

/// How long a server may take to go over to what the state says.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile.
const POLL: Duration = Duration::from_millis(500);
/// How long a connection is waited for. Whom nobody reaches gives nobody an old policy.
const CONNECT: Duration = Duration::from_secs(5);
/// How many are asked at once.
const AT_ONCE: usize = 16;

/// A policy that is about to have another id.
struct Policy {
    /// Where the id is: the zone, and the name.
    id: (DomainName, DomainName),
    /// Where senders fetch it.
    url: Url,
    /// The lines that are to be there.
    wanted: BTreeSet<String>,
    at: BTreeSet<SocketAddr>,
}

fn lines(text: &str) -> BTreeSet<String> {
    runtime::policy_lines(text).into_iter().collect()
}

fn sockets(host: &Host) -> impl Iterator<Item = SocketAddr> {
    let ports = host.ports(Service::Https);
    let port = ports.iter().copied().find(|port| *port == 443).or(ports.first().copied());
    // Where senders are led: while addresses change, not yet to the new ones.
    let addresses = host.published().0.iter().filter(|ip| !ip.is_unspecified());
    port.into_iter().flat_map(move |port| addresses.clone().map(move |ip| SocketAddr::new(*ip, port)))
}

/// The zones where a host still serves another policy than the one whose id is to be published, after it had time to go
/// over to it.
pub async fn stale(ground: &Ground<'_>, survey: &Survey) -> BTreeMap<DomainName, BTreeSet<DomainName>> {
    let ids = survey.changes().filter_map(|(looked, change)| {
        change.before.as_ref().and(change.after.as_ref())?;
        let is_id = |domain: &&Domain| domain.place("_mta-sts").is_ok_and(|name| name == change.key.name);
        let domain = ground.resolved.in_zone(&looked.zone).find(is_id)?;
        Some((domain, (looked.zone.clone(), change.key.name.clone())))
    });
    let policy = |(domain, id): (&Domain, (DomainName, DomainName))| {
        let host = policy_host(domain, ground.resolved)?;
        let at: BTreeSet<SocketAddr> = sockets(host).collect();
        let port = at.first()?.port();
        let url = Url::parse(&format!("https://mta-sts.{}:{port}/.well-known/mta-sts.txt", domain.name)).ok()?;
        let wanted = lines(&runtime::policy(domain, ground.resolved)?);
        Some(Policy { id, url, wanted, at })
    };
    let mut policies: Vec<Policy> = ids.filter_map(policy).collect();
    // Many domains are on few machines.
    let reached = reached(policies.iter().flat_map(|policy| policy.at.iter().copied()).collect()).await;
    policies.iter_mut().for_each(|policy| policy.at.retain(|at| reached.contains(at)));
    let wait = async {
        loop {
            let old = asked(ground.trust, &policies).await;
            policies.retain(|policy| old.contains(&policy.id.1));
            if policies.is_empty() {
                return;
            }
            sleep(POLL).await;
        }
    };
    // Those that are left when the time is up are old.
    let _ = timeout(PATIENCE, wait).await;
    let mut stale: BTreeMap<DomainName, BTreeSet<DomainName>> = BTreeMap::new();
    for Policy { id: (zone, name), .. } in policies {
        stale.entry(zone).or_default().insert(name);
    }
    stale
}

async fn reached(sockets: BTreeSet<SocketAddr>) -> BTreeSet<SocketAddr> {
    let mut tries: JoinSet<Option<SocketAddr>> = JoinSet::new();
    for at in sockets {
        tries.spawn(async move { timeout(CONNECT, TcpStream::connect(at)).await.ok()?.ok().map(|_| at) });
    }
    tries.join_all().await.into_iter().flatten().collect()
}

/// Whose policy is another one somewhere. One that cannot be fetched is nobody's.
async fn asked(trust: &Trust, policies: &[Policy]) -> BTreeSet<DomainName> {
    let mut old = BTreeSet::new();
    let questions: Vec<(&Policy, SocketAddr)> =
        policies.iter().flat_map(|policy| policy.at.iter().map(move |at| (policy, *at))).collect();
    for some in questions.chunks(AT_ONCE) {
        let pages = some
            .iter()
            .map(|(policy, at)| wire::fetch(trust, Request { url: policy.url.clone(), address: *at, body: None }));
        let pages = futures_util::future::join_all(pages).await;
        for ((policy, _), page) in some.iter().zip(pages) {
            if page.is_ok_and(|page| page.status == 200 && lines(&page.body) != policy.wanted) {
                old.insert(policy.id.1.clone());
            }
        }
    }
    old
}

/// What is told of a zone with such ids.
pub fn waits(ids: &BTreeSet<DomainName>) -> String {
    let names: Vec<String> = ids.iter().take(3).map(|name| format!("`{name}`")).collect();
    format!(
        "{} stays: the policy that is served is not the one that the new id is for; apply again when it is",
        names.join(" and ")
    )
}
