//! The configuration as the server runs it: built whole, swapped once.

use crate::http::key::Keys;
use crate::resolver::Resolver;
use crate::secrets::Secrets;
use crate::tls::{TlsError, TlsTable};
use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use mail::auth::Authenticator;
use mail::sign::DkimKey;
use schema::config::{self, ConfigError, RuntimeConfig};
use schema::name::{DomainName, HostName};
use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use store::directory::router::Router;
use store::error::StoreError;
use store::open::{Registry, Stores, Swaps, Unready};

/// Which configuration runs: the first 16 octets of a digest of its `runtime.json`, in hex.
pub type Generation = String;

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// It cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It has no such host, or several and none was chosen.
    #[error("{0}")]
    Host(String),
    /// A certificate or key is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A DKIM key is unusable.
    #[error("the DKIM key `{selector}` of {domain}: {why}")]
    Dkim {
        /// Which key.
        selector: String,
        /// Whose.
        domain: DomainName,
        /// What is wrong with it.
        why: String,
    },
    /// A key of the API is unusable.
    #[error("the API key `{name}`: {why}")]
    Key {
        /// Which.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A store cannot be opened.
    #[error("storage: {0}")]
    Store(#[from] StoreError),
    /// A directory is set up wrongly.
    #[error("directories: {0}")]
    Directory(StoreError),
    /// Sound, but not for a running server.
    #[error(
        "{what} changed, which a running server cannot take: restart waybilld, after `waybilld migrate` where data must move"
    )]
    NeedsRestart {
        /// What changed.
        what: &'static str,
    },
    /// A listener cannot be bound.
    #[error("{service} cannot listen on {address}: {why}")]
    Listen {
        /// Which service.
        service: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        why: std::io::Error,
    },
    /// No DNS server is known.
    #[error("DNS: {0}")]
    Resolver(String),
}

impl From<Unready> for Rejected {
    fn from(unready: Unready) -> Rejected {
        match unready {
            Unready::Restart(what) => Rejected::NeedsRestart { what },
            Unready::Store(error) => Rejected::Store(error),
        }
    }
}

/// What stays the same while the server runs.
pub struct Ground {
    /// Opens stores, and knows the open ones.
    pub registry: Registry,
    /// Opens secrets.
    pub secrets: Secrets,
    /// `--host`.
    pub host: Option<HostName>,
    /// `--node`.
    pub node: String,
    /// `--resolver`, in place of the configuration's.
    pub resolvers: Vec<SocketAddr>,
}

impl Ground {
    /// The name under which this process works the queue.
    fn named(&self, host: &HostName) -> String {
        if self.node.is_empty() { host.to_string() } else { format!("{host}/{}", self.node) }
    }
}

/// One configuration with everything that it needs opened and checked. Immutable.
pub struct Snapshot {
    /// Its name.
    pub generation: Generation,
    /// What it was built from.
    pub config: Arc<RuntimeConfig>,
    /// Which host of it we are.
    pub host: config::Host,
    /// The open stores.
    pub stores: Stores,
    /// What it puts in the place of stores that the one before it has open.
    swaps: Swaps,
    /// The people.
    pub directory: Arc<Router>,
    /// The keys of the API.
    pub keys: Keys,
    /// The domains by name.
    pub domains: HashMap<DomainName, usize>,
    /// Keys to sign with.
    pub signers: HashMap<DomainName, Arc<Vec<DkimKey>>>,
    /// Certificates.
    pub tls: TlsTable,
    /// DNS for delivery.
    pub resolver: Arc<Resolver>,
    /// DNS for SPF, DKIM and DMARC.
    pub authenticator: Arc<Authenticator>,
}

impl Snapshot {
    /// Builds a snapshot from the octets of a `runtime.json`; changes nothing where it fails.
    ///
    /// # Errors
    /// [`Rejected`], in words for an operator.
    pub async fn build(bytes: &[u8], ground: &Ground, now: Option<&Snapshot>) -> Result<Snapshot, Rejected> {
        Snapshot::of(config::decode(bytes)?, generation(bytes), ground, now).await
    }

    /// The same of a configuration that is read already.
    ///
    /// # Errors
    /// [`Rejected`].
    pub async fn of(
        config: RuntimeConfig,
        generation: Generation,
        ground: &Ground,
        now: Option<&Snapshot>,
    ) -> Result<Snapshot, Rejected> {
        let config = Arc::new(config);
        let host = choose(&config, ground.host.as_ref())?;
        if now.is_some_and(|now| now.host.name != host.name) {
            return Err(Rejected::NeedsRestart { what: "the host's name" });
        }
        let tls = TlsTable::build(&host, &ground.secrets)?;
        let signers = signers(&config, ground, now)?;
        let servers = if ground.resolvers.is_empty() { &config.resolvers } else { &ground.resolvers };
        let (resolver, authenticator) = match now {
            Some(now) if now.config.resolvers == config.resolvers => {
                (Arc::clone(&now.resolver), Arc::clone(&now.authenticator))
            }
            _ => {
                let failed = |error: String| Rejected::Resolver(error);
                let resolver = Resolver::new(servers).map_err(|error| failed(error.to_string()))?;
                let authenticator = Authenticator::new(servers).map_err(|error| failed(error.to_string()))?;
                (Arc::new(resolver), Arc::new(authenticator))
            }
        };
        let keys = Keys::open(&config, &ground.secrets)?;
        let (stores, swaps) = match now {
            Some(now) => ground.registry.again(&now.stores, &now.config.storage, &config.storage).await?,
            None => (ground.registry.open(&config.storage, &ground.named(&host.name)).await?, Swaps::default()),
        };
        let directory = ground.registry.directories(&config).await.map_err(Rejected::Directory)?;
        let directory = Arc::new(directory);
        let domains = config.domains.iter().enumerate().map(|(at, domain)| (domain.name.clone(), at)).collect();
        Ok(Snapshot {
            generation,
            config,
            host,
            stores,
            swaps,
            directory,
            keys,
            domains,
            signers,
            tls,
            resolver,
            authenticator,
        })
    }

    /// The DKIM-Signature fields of a message of our own, by a domain or the nearest one above it that has keys. One that
    /// cannot be signed goes without: late reports and posts help nobody.
    pub fn signatures(&self, domain: &DomainName, octets: &[u8]) -> String {
        let above = std::iter::successors(Some(domain.clone()), DomainName::parent);
        let Some(keys) = above.filter_map(|name| self.signers.get(&name)).find(|keys| !keys.is_empty()) else {
            return String::new();
        };
        match mail::sign::sign(keys, octets) {
            Ok(fields) => fields.concat(),
            Err(error) => {
                tracing::warn!(%error, %domain, "a message of our own cannot be signed");
                String::new()
            }
        }
    }

    /// A domain of the configuration.
    pub fn domain(&self, name: &DomainName) -> Option<&config::Domain> {
        self.config.domains.get(*self.domains.get(name)?)
    }
}

/// The name of a configuration.
pub fn generation(bytes: &[u8]) -> Generation {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref()[..16].iter().fold(String::new(), |mut text, octet| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn choose(config: &RuntimeConfig, wanted: Option<&HostName>) -> Result<config::Host, Rejected> {
    let names = || config.hosts.iter().map(|host| host.name.to_string()).collect::<Vec<_>>().join(", ");
    match (wanted, config.hosts.as_slice()) {
        (Some(wanted), hosts) => hosts
            .iter()
            .find(|host| host.name == *wanted)
            .cloned()
            .ok_or_else(|| Rejected::Host(format!("--host {wanted}: the configuration has only {}", names()))),
        (None, [host]) => Ok(host.clone()),
        (None, []) => Err(Rejected::Host("the configuration has no host".into())),
        (None, _) => Err(Rejected::Host(format!("say which host this is: --host, one of {}", names()))),
    }
}

fn signers(
    config: &RuntimeConfig,
    ground: &Ground,
    now: Option<&Snapshot>,
) -> Result<HashMap<DomainName, Arc<Vec<DkimKey>>>, Rejected> {
    let mut signers = HashMap::with_capacity(config.domains.len());
    for domain in &config.domains {
        // A key never changes under its selector, so what is open stays open.
        let open = now.and_then(|now| {
            let same = now.domain(&domain.name)?.dkim == domain.dkim;
            same.then(|| now.signers.get(&domain.name).cloned()).flatten()
        });
        if let Some(open) = open {
            signers.insert(domain.name.clone(), open);
            continue;
        }
        let mut keys = Vec::with_capacity(domain.dkim.len());
        for key in &domain.dkim {
            let failed =
                |why: String| Rejected::Dkim { selector: key.selector.clone(), domain: domain.name.clone(), why };
            let pem = ground.secrets.text(&key.private).map_err(|error| failed(error.to_string()))?;
            let opened = DkimKey::open(&domain.name, &key.selector, key.algorithm, &pem);
            keys.push(opened.map_err(|error| failed(error.to_string()))?);
        }
        signers.insert(domain.name.clone(), Arc::new(keys));
    }
    Ok(signers)
}

/// The one mutable cell: which snapshot runs.
pub struct Live(ArcSwap<Snapshot>);

impl Live {
    /// Begins with a snapshot.
    pub fn new(first: Snapshot) -> Live {
        Live(ArcSwap::from_pointee(first))
    }
    /// The running snapshot. Take it per unit of work, and hold it no longer.
    pub fn now(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
    /// Makes `next` the running one. Cannot fail.
    pub fn replace(&self, mut next: Snapshot) {
        std::mem::take(&mut next.swaps).make();
        self.0.store(Arc::new(next));
    }
}
