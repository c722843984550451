//! A zone at each of its name servers, and through a resolver that validates.

use super::{Check, Eyes, Found, lookup};
use crate::authority::{NameServer, ask, asker};
use crate::diagnostic::Path;
use crate::plan::{Set, SetKey};
use crate::resolve::Domain;
use crate::zone::{Kind, Rdata, RecordSet, Zone, wire};
use futures_util::StreamExt;
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// How many questions one name server has at once.
const AT_ONCE: usize = 8;

/// Where a set comes from in the spec.
fn written(set: &RecordSet, domain: &Domain) -> Path {
    set.origins.last().map_or_else(|| domain.at.clone(), |origin| origin.at.clone())
}

impl Eyes<'_> {
    /// Everything that is a matter of the zone alone.
    pub(super) async fn zone(&self, domain: &Domain, zone: &Zone, found: &mut Found<'_>) {
        let servers = self.world.name_servers(&domain.name).await;
        // Where nobody knows a name server, the resolver's word is all that there is.
        let checks = match servers {
            Ok(_) => (Check::RecordSeen, Check::RecordSeen),
            Err(_) => (Check::RecordThere, Check::RecordSame),
        };
        match servers {
            Err(why) => {
                found.wrong(Check::ServersThere, why);
            }
            Ok(servers) => {
                let names: BTreeSet<&str> = servers.iter().map(|server| server.name.as_str()).collect();
                found.good(Check::ServersThere, names.into_iter().collect::<Vec<_>>().join(", "));
                self.servers(domain, &servers, found).await;
                for server in &servers {
                    self.records(domain, zone, server, found).await;
                }
            }
        }
        self.seen(domain, zone, checks, found).await;
        self.dnssec(domain, zone, found).await;
        self.aliases(domain, zone, found).await;
    }

    async fn servers(&self, domain: &Domain, servers: &[NameServer], found: &mut Found<'_>) {
        let addresses: BTreeSet<IpAddr> = servers.iter().map(|server| server.address.ip()).collect();
        found.is(addresses.len() > 1, Check::ServersEnough, format!("{} name server addresses", addresses.len()));
        let networks: BTreeSet<Vec<u8>> = addresses.iter().map(network).collect();
        if addresses.len() > 1 {
            found.is(networks.len() > 1, Check::ServersApart, format!("in {} networks", networks.len()));
        }
        let mut serials = BTreeSet::new();
        for NameServer { name, address } in servers {
            let who = format!("`{name}` ({address})");
            let resolver = match asker(&NameServer { name: name.clone(), address: *address }) {
                Ok(resolver) => resolver,
                Err(why) => {
                    found.wrong(Check::ServerAnswers, format!("{who}: {why}"));
                    continue;
                }
            };
            match resolver.lookup(format!("{}.", domain.name), RecordType::SOA).await {
                Err(error) => found.wrong(Check::ServerAnswers, format!("{who}: {error}")),
                Ok(answer) => {
                    found.good(Check::ServerAnswers, who.clone());
                    found.is(answer.message().metadata.authoritative, Check::ServerKnows, who);
                    serials.extend(answer.answers().iter().filter_map(|record| match &record.data {
                        RData::SOA(soa) => Some(soa.serial),
                        _ => None,
                    }));
                }
            }
        }
        if !serials.is_empty() {
            let serials: Vec<String> = serials.iter().map(ToString::to_string).collect();
            found.is(serials.len() == 1, Check::ServersAgree, format!("serial {}", serials.join(", ")));
        }
    }

    /// Every set of the spec at one name server.
    async fn records(&self, domain: &Domain, zone: &Zone, server: &NameServer, found: &mut Found<'_>) {
        let NameServer { name, address } = server;
        let Ok(resolver) = asker(server) else { return };
        let asked = futures_util::stream::iter(&zone.sets).map(|set| {
            let resolver = &resolver;
            async move { (set, ask(resolver, &SetKey { name: set.name.clone(), kind: set.kind }).await) }
        });
        let answers: Vec<_> = asked.buffered(AT_ONCE).collect().await;
        let (mut same, mut silent) = (0, Vec::new());
        for (set, answer) in answers {
            let what = format!("`{} {}` at `{name}` ({address})", set.name, set.kind.name());
            let at = written(set, domain);
            match answer {
                Err(why) => silent.push(format!("{what}: {why}")),
                Ok(None) => found.at(&at).wrong(Check::RecordThere, format!("{what} is not there")),
                Ok(Some(there)) => match differs(set, &there) {
                    Some(how) => found.at(&at).wrong(Check::RecordSame, format!("{what} {how}")),
                    None if there.ttl > set.ttl.0 => {
                        let says = format!("{what} may be cached for {} s, not {} s", there.ttl, set.ttl.0);
                        found.at(&at).wrong(Check::RecordTtl, says);
                    }
                    None => same += 1,
                },
            }
        }
        if let Some(first) = silent.first() {
            let more = if silent.len() > 1 { format!(", and {} more", silent.len() - 1) } else { String::new() };
            found.wrong(Check::RecordAnswered, format!("{first}{more}"));
        }
        found.good(Check::RecordSame, format!("{same} of {} at `{name}` ({address})", zone.sets.len()));
    }

    /// Every set through the resolver; by these checks where it is not there, or otherwise.
    async fn seen(&self, domain: &Domain, zone: &Zone, (there, same): (Check, Check), found: &mut Found<'_>) {
        let asked = futures_util::stream::iter(&zone.sets).map(|set| async move {
            let records = self.lookup(set.name.as_str(), wire::kind(set.kind)).await;
            let owner = format!("{}.", set.name);
            let own = |records: Vec<hickory_resolver::proto::rr::Record>| {
                let own = records.into_iter().filter(|record| record.name.to_ascii().eq_ignore_ascii_case(&owner));
                Set::of(0, own.filter_map(|record| wire::value(&record.data)))
            };
            (set, records.map(own))
        });
        let answers: Vec<_> = asked.buffered(AT_ONCE).collect().await;
        let mut good = 0;
        for (set, answer) in answers {
            let what = format!("`{} {}` through the resolver", set.name, set.kind.name());
            let at = written(set, domain);
            match answer {
                Err(why) => found.at(&at).unknown(Check::RecordSeen, format!("{what}: {why}")),
                Ok(None) => found.at(&at).wrong(there, format!("{what} is not there")),
                Ok(Some(shown)) => match differs(set, &shown) {
                    Some(how) => found.at(&at).wrong(same, format!("{what} {how}")),
                    None => good += 1,
                },
            }
        }
        found.good(Check::RecordSeen, format!("{good} of {} through the resolver", zone.sets.len()));
    }

    async fn dnssec(&self, domain: &Domain, zone: &Zone, found: &mut Found<'_>) {
        let tlsa = zone.sets.iter().any(|set| set.kind == Kind::Tlsa);
        let records = lookup(&self.validating, domain.name.as_str(), RecordType::SOA).await;
        let proofs: BTreeSet<String> = match &records {
            Ok(records) => records.iter().map(|record| format!("{:?}", record.proof)).collect(),
            Err(_) => BTreeSet::new(),
        };
        let of = |proof: Proof| proofs.contains(&format!("{proof:?}"));
        match &records {
            // A validating resolver gives nothing out that does not hold; a plain question tells whether it is there.
            Err(why) => match self.lookup(domain.name.as_str(), RecordType::SOA).await {
                Ok(plain) if !plain.is_empty() => found.wrong(Check::DnssecValid, why.clone()),
                _ => found.wrong(Check::DnssecKnown, why.clone()),
            },
            Ok(_) if of(Proof::Bogus) => found.wrong(Check::DnssecValid, "signatures do not hold"),
            Ok(_) if of(Proof::Secure) => {
                let chain = self.chain(domain).await;
                found.good(Check::DnssecValid, chain.clone());
                found.good(Check::DnssecSigned, chain);
            }
            Ok(_) if domain.dnssec => {
                found.wrong(Check::DnssecSigned, "the chain of trust does not reach the zone");
            }
            Ok(_) if tlsa => found.wrong(Check::DnssecTlsa, "the zone is not signed"),
            Ok(_) => found.good(Check::DnssecSigned, "not signed, and not meant to be"),
        }
    }

    /// The links of the chain at the zone: its DS records, and its keys.
    async fn chain(&self, domain: &Domain) -> String {
        let of = async |kind| self.lookup(domain.name.as_str(), kind).await.unwrap_or_default();
        let tags = |records: Vec<hickory_resolver::proto::rr::Record>, kind: &str| {
            let tags = records.iter().filter_map(|record| match &record.data {
                RData::DNSSEC(hickory_resolver::proto::dnssec::rdata::DNSSECRData::DS(ds)) => {
                    Some(ds.key_tag().to_string())
                }
                RData::DNSSEC(hickory_resolver::proto::dnssec::rdata::DNSSECRData::DNSKEY(key)) => {
                    Some(key.calculate_key_tag().ok()?.to_string())
                }
                _ => None,
            });
            let tags: Vec<String> = tags.collect();
            if tags.is_empty() { String::new() } else { format!("{kind} {}", tags.join(" ")) }
        };
        let links = [tags(of(RecordType::DS).await, "DS"), tags(of(RecordType::DNSKEY).await, "DNSKEY")];
        let links: Vec<String> = links.into_iter().filter(|link| !link.is_empty()).collect();
        format!("signed: {}", links.join(" → "))
    }

    /// Aliases of ours lead somewhere.
    async fn aliases(&self, domain: &Domain, zone: &Zone, found: &mut Found<'_>) {
        let aliases = zone.sets.iter().filter(|set| set.kind == Kind::Cname);
        for (set, target) in aliases.filter_map(|set| Some((set, set.values.first()?.target()?))) {
            let what = format!("`{}` → `{target}`", set.name);
            let at = written(set, domain);
            // What it leads to is as often a text as an address.
            let mut answers = Vec::new();
            for kind in [RecordType::A, RecordType::AAAA, RecordType::TXT] {
                answers.push(self.lookup(target.as_str(), kind).await);
            }
            match answers.iter().find_map(|answer| answer.as_ref().err()) {
                _ if answers.iter().flatten().any(|records| !records.is_empty()) => {
                    found.at(&at).good(Check::AliasLeads, what);
                }
                Some(why) => found.at(&at).unknown(Check::AliasLeads, format!("{what}: {why}")),
                None => found.at(&at).wrong(Check::AliasLeads, what),
            }
        }
    }
}

/// The network of an address, as far as one failure reaches: /24 and /48.
fn network(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets()[..3].to_vec(),
        IpAddr::V6(address) => address.octets()[..6].to_vec(),
    }
}

/// How what is there differs from what the spec says; in a shared set, others' values do not count.
fn differs(set: &RecordSet, there: &Set) -> Option<String> {
    let said = |values: Vec<&Rdata>| values.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let missing: Vec<&Rdata> = set.values.iter().filter(|value| !there.values.contains(value)).collect();
    let is_shared = crate::plan::is_open(&SetKey { name: set.name.clone(), kind: set.kind });
    let more: Vec<&Rdata> = there.values.iter().filter(|value| !is_shared && !set.values.contains(value)).collect();
    match (missing.is_empty(), more.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("lacks {}", said(missing))),
        (true, false) => Some(format!("also has {}", said(more))),
        (false, false) => Some(format!("has {} in place of {}", said(more), said(missing))),
    }
}
