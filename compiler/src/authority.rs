//! The name servers of a zone, each asked by itself: what any of them answers, somebody in the world goes by.

use crate::plan::{Set, SetKey};
use crate::resolver::{one_server, resolver};
use crate::zone::{Rdata, wire};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use schema::name::DomainName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use tokio::task::JoinSet;

/// The port of name servers (RFC 1035 §4.2).
const PORT: u16 = 53;

/// One address of a name server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameServer {
    /// The name, as the zone's NS record has it.
    pub name: DomainName,
    /// Where it is asked.
    pub address: SocketAddr,
}

/// Whom the world asks, and how this program does.
#[derive(Clone)]
pub struct World {
    /// Finds the name servers.
    pub resolver: TokioResolver,
    /// The server that was named by `--resolver`. A zone's name server with the same address is asked at its port.
    at: Option<SocketAddr>,
}

impl World {
    /// The world as the system's DNS servers see it, or one that is named.
    ///
    /// # Errors
    /// Where the system does not say whom to ask.
    pub fn seen_by(server: Option<SocketAddr>) -> Result<World, String> {
        let resolver = resolver(server).map_err(|error| error.to_string())?;
        Ok(World { resolver, at: server })
    }

    /// Every address of every name server of a zone.
    ///
    /// # Errors
    /// Where there is none, or nobody says.
    pub async fn name_servers(&self, zone: &DomainName) -> Result<Vec<NameServer>, String> {
        let found = self.resolver.lookup(format!("{zone}."), RecordType::NS).await;
        let found = found.map_err(|error| format!("the name servers of `{zone}`: {error}"))?;
        let mut servers = Vec::new();
        for record in found.answers() {
            let RData::NS(host) = &record.data else { continue };
            let host = host.0.to_ascii();
            let addresses = self.resolver.lookup_ip(host.as_str()).await;
            let addresses = addresses.map_err(|error| format!("the name server `{host}` of `{zone}`: {error}"))?;
            let Ok(name) = host.trim_end_matches('.').parse::<DomainName>() else { continue };
            servers
                .extend(addresses.iter().map(|address| NameServer { name: name.clone(), address: self.port(address) }));
        }
        servers.sort();
        servers.dedup();
        match servers.is_empty() {
            true => Err(format!("`{zone}` has no name server")),
            false => Ok(servers),
        }
    }

    fn port(&self, address: IpAddr) -> SocketAddr {
        self.at.filter(|at| at.ip() == address).unwrap_or(SocketAddr::new(address, PORT))
    }
}

/// Which of these zones have no keys in DNS, as far as somebody says so.
pub async fn unsigned(resolver: Option<SocketAddr>, zones: BTreeSet<DomainName>) -> BTreeSet<DomainName> {
    if zones.is_empty() {
        return zones;
    }
    let Ok(world) = World::seen_by(resolver) else { return BTreeSet::new() };
    let mut unsigned = BTreeSet::new();
    for zone in zones {
        let found = world.resolver.lookup(format!("{zone}."), RecordType::DNSKEY).await;
        if let Err(NetError::Dns(DnsError::NoRecordsFound(none))) = found
            && none.response_code == ResponseCode::NoError
        {
            unsigned.insert(zone);
        }
    }
    unsigned
}

/// A connection to one name server, which is not asked to ask others.
///
/// # Errors
/// Where it cannot be made.
pub fn asker(server: &NameServer) -> Result<TokioResolver, String> {
    one_server(server.address).map_err(|error| error.to_string())
}

/// What a name server has of a set: `None` where it says that there is none.
///
/// # Errors
/// Where it does not answer, or is no authority for the name.
pub async fn ask(asker: &TokioResolver, key: &SetKey) -> Result<Option<Set>, String> {
    let (name, kind) = (wire::name(&key.name)?, wire::kind(key.kind));
    match asker.lookup(name.clone(), kind).await {
        Ok(found) if !found.message().metadata.authoritative => Err("is no authority for it".into()),
        Ok(found) => {
            let of = |record: &&Record| record.name == name && record.record_type() == kind;
            let records: Vec<&Record> = found.answers().iter().filter(of).collect();
            let values: Option<Vec<Rdata>> = records.iter().map(|record| wire::value(&record.data)).collect();
            let values = values.ok_or("has a value that cannot be understood")?;
            Ok(Set::of(records.iter().map(|record| u64::from(record.ttl)).min().unwrap_or(0), values))
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
            ResponseCode::NXDomain | ResponseCode::NoError if none.ns.is_none() => Ok(None),
            ResponseCode::NXDomain | ResponseCode::NoError => Err("is no authority for it, and names others".into()),
            code => Err(format!("answers {code}")),
        },
        Err(error) => Err(error.to_string()),
    }
}

/// How many questions wait for their answers at once.
const AT_ONCE: usize = 64;

/// What the name servers of zones show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The sets whose values every name server of the zone shows as they are wanted.
    pub everywhere: BTreeSet<SetKey>,
    /// What is shown otherwise, or not known: in words, by zone.
    pub lacking: BTreeMap<DomainName, Vec<String>>,
}

/// What is asked for in zones: the values that sets are to have, or that there is none.
pub type Wanted = BTreeMap<DomainName, Vec<(SetKey, Option<Set>)>>;

/// Asks every name server of zones for sets, whom the system asks for them, or `resolver`. Times to live do not count.
pub async fn shown(resolver: Option<SocketAddr>, wanted: Wanted) -> Shown {
    let mut shown = Shown::default();
    let world = match World::seen_by(resolver) {
        Ok(world) => world,
        Err(why) => {
            shown.lacking = wanted.into_keys().map(|zone| (zone, vec![why.clone()])).collect();
            return shown;
        }
    };
    let mut waiting = JoinSet::new();
    for (zone, asked) in wanted {
        if waiting.len() >= AT_ONCE
            && let Some(Ok((zone, everywhere, lacking))) = waiting.join_next().await
        {
            shown.take(zone, everywhere, lacking);
        }
        let world = world.clone();
        waiting.spawn(async move {
            let (everywhere, lacking) = everywhere(&world, &zone, asked).await;
            (zone, everywhere, lacking)
        });
    }
    while let Some(answer) = waiting.join_next().await {
        if let Ok((zone, everywhere, lacking)) = answer {
            shown.take(zone, everywhere, lacking);
        }
    }
    shown
}

impl Shown {
    fn take(&mut self, zone: DomainName, everywhere: Vec<SetKey>, lacking: Vec<String>) {
        self.everywhere.extend(everywhere);
        if !lacking.is_empty() {
            self.lacking.insert(zone, lacking);
        }
    }
}

/// The sets that every name server of a zone has as they are wanted, and what is otherwise, in words.
async fn everywhere(world: &World, zone: &DomainName, asked: Vec<(SetKey, Option<Set>)>) -> (Vec<SetKey>, Vec<String>) {
    let servers = match world.name_servers(zone).await {
        Ok(servers) => servers,
        Err(why) => return (Vec::new(), vec![why]),
    };
    let mut everywhere: BTreeSet<SetKey> = asked.iter().map(|(key, _)| key.clone()).collect();
    let mut lacking = Vec::new();
    for server in servers {
        let NameServer { name, address } = &server;
        let asker = match asker(&server) {
            Ok(asker) => asker,
            Err(why) => {
                everywhere.clear();
                lacking.push(format!("`{name}` ({address}): {why}"));
                continue;
            }
        };
        let answers = asked.iter().map(|(key, _)| ask(&asker, key));
        for ((key, wanted), answer) in asked.iter().zip(futures_util::future::join_all(answers).await) {
            let values = |set: &Option<Set>| set.as_ref().map(|set| set.values.clone());
            let why = match answer {
                Ok(found) if values(&found) == values(wanted) => continue,
                Ok(None) => "does not have it yet".to_owned(),
                Ok(Some(_)) => "has other values".to_owned(),
                Err(why) => why,
            };
            everywhere.remove(key);
            lacking.push(format!("`{name}` ({address}), `{key}`: {why}"));
        }
    }
    (everywhere.into_iter().collect(), lacking)
}
