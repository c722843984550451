//! The name servers of a zone, each asked by itself: what any of them answers, somebody in the world goes by.

use crate::plan::{Set, SetKey};
use crate::resolver::{one_server, resolver};
use crate::zone::{Rdata, wire};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use schema::name::DomainName;
use std::net::{IpAddr, SocketAddr};

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
