//! DNS for delivery: which servers take a domain's mail, and where they are (RFC 5321 §5.1).

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long one question to one server may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a question is asked.
const ATTEMPTS: usize = 2;
/// MX records of a domain that are looked at, most preferred first.
const EXCHANGES_MOST: usize = 20;
/// Addresses of one exchange that are tried.
const ADDRESSES_MOST: usize = 8;
/// How long a negative answer is believed at most: a domain just published should not wait long.
const NEGATIVE_MOST: Duration = Duration::from_secs(60);

/// Why DNS does not say where mail goes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The domain, or the exchange, does not exist.
    #[error("{0} does not exist in DNS")]
    NoSuchDomain(String),
    /// RFC 7505: the domain takes no mail.
    #[error("{0} takes no mail (null MX)")]
    NullMx(String),
    /// It exists, but has neither MX nor address.
    #[error("{0} has neither MX nor address records")]
    NoServer(String),
    /// Try again later.
    #[error("DNS for {0} fails for now: {1}")]
    Temporary(String, String),
}

/// A server that takes a domain's mail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exchange {
    /// Lowest first.
    pub preference: u16,
    /// Its name, without the final dot.
    pub name: String,
}

/// Asks DNS.
pub struct Resolver(TokioResolver);

impl Resolver {
    /// Asks these servers, or the system's where there are none.
    ///
    /// # Errors
    /// What is wrong with the system's configuration.
    pub fn new(servers: &[SocketAddr]) -> Result<Resolver, NetError> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = servers.iter().map(|server| {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                config.connections.iter_mut().for_each(|connection| connection.port = server.port());
                config
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = TIMEOUT;
        options.attempts = ATTEMPTS;
        options.negative_max_ttl = Some(NEGATIVE_MOST);
        builder.build().map(Resolver)
    }

    /// The servers that take a domain's mail, most preferred first. A domain without MX is its own server.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn exchanges(&self, domain: &str) -> Result<Vec<Exchange>, LookupError> {
        let found = match self.0.lookup(format!("{domain}."), RecordType::MX).await {
            Ok(found) => found,
            Err(error) => match meaning(domain, &error) {
                // RFC 5321 §5.1: no MX at all means the domain's own address.
                LookupError::NoServer(_) => {
                    return Ok(vec![Exchange { preference: 0, name: domain.to_owned() }]);
                }
                other => return Err(other),
            },
        };
        let mut exchanges: Vec<Exchange> = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::MX(mx) => Some(Exchange {
                    preference: mx.preference,
                    name: mx.exchange.to_string().trim_end_matches('.').to_ascii_lowercase(),
                }),
                _ => None,
            })
            .collect();
        if exchanges.iter().any(|exchange| exchange.name.is_empty()) {
            return Err(LookupError::NullMx(domain.to_owned()));
        }
        if exchanges.is_empty() {
            return Ok(vec![Exchange { preference: 0, name: domain.to_owned() }]);
        }
        exchanges.sort();
        exchanges.dedup();
        // RFC 5321 §5.1: equal ones in any order, another each time.
        let chance = RandomState::new();
        exchanges.sort_by_cached_key(|exchange| (exchange.preference, chance.hash_one(&exchange.name)));
        exchanges.truncate(EXCHANGES_MOST);
        Ok(exchanges)
    }

    /// A server's addresses.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let found = self.0.lookup_ip(format!("{name}.")).await.map_err(|error| meaning(name, &error))?;
        let addresses: Vec<IpAddr> = found.iter().take(ADDRESSES_MOST).collect();
        if addresses.is_empty() { Err(LookupError::NoServer(name.to_owned())) } else { Ok(addresses) }
    }
}

fn meaning(name: &str, error: &NetError) -> LookupError {
    if error.is_nx_domain() {
        LookupError::NoSuchDomain(name.to_owned())
    } else if error.is_no_records_found() {
        LookupError::NoServer(name.to_owned())
    } else {
        LookupError::Temporary(name.to_owned(), error.to_string())
    }
}
