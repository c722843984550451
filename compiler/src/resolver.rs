//! Whom the commands that look at the world ask: the system's DNS servers, or one that is named.

use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long one question to one server may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a question is asked.
const ATTEMPTS: usize = 3;
/// Questions that should wait for their answers at once.
pub const AT_ONCE: usize = 32;

/// A resolver that asks `server`, or whom the system asks. It keeps no answer.
///
/// # Errors
/// Where the system does not say whom to ask.
pub fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let builder = match server {
        None => TokioResolver::builder_tokio()?,
        Some(server) => of(server),
    };
    build(builder)
}

/// As [`resolver`], and believes only what DNSSEC proves, down from these keys, or from the root's.
///
/// # Errors
/// Where the system does not say whom to ask.
pub fn validating(server: Option<SocketAddr>, anchors: Option<TrustAnchors>) -> Result<TokioResolver, NetError> {
    let builder = match server {
        None => TokioResolver::builder_tokio()?,
        Some(server) => of(server),
    };
    let mut builder = match anchors {
        Some(anchors) => builder.with_trust_anchor(Arc::new(anchors)),
        None => builder,
    };
    builder.options_mut().validate = true;
    build(builder)
}

/// Asks one name server for what it has itself.
///
/// # Errors
/// Where no connection can be made.
pub fn one_server(server: SocketAddr) -> Result<TokioResolver, NetError> {
    let mut builder = of(server);
    builder.options_mut().recursion_desired = false;
    build(builder)
}

fn of(server: SocketAddr) -> ResolverBuilder<TokioRuntimeProvider> {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    config.connections.iter_mut().for_each(|connection| connection.port = server.port());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
}

fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    options.cache_size = 0;
    // What this machine alone believes is not what the world sees.
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}
