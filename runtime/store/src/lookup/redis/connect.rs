//! From the configuration of a Redis to its connections.

use crate::error::{Cause, StoreError};
use crate::lookup::Clock;
use crate::open::Ground;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, TlsMode, Value,
};
use schema::config::Redis;
use schema::name::Secret;
use schema::spec::{ClientTls, ClientTlsMode, RedisMode};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Open connections; each carries one command at a time.
pub(super) struct Connections {
    way: Way,
    name: String,
    patience: Duration,
    /// Those that nothing needs, the one used last at the end.
    idle: Mutex<Vec<Idle>>,
    room: Semaphore,
    limits: Limits,
    clock: Clock,
}

/// How the server is found.
enum Way {
    Single(Client),
    Sentinel(tokio::sync::Mutex<SentinelClient>),
    Cluster(ClusterClient),
}

/// A connection to a server, or to every member of a cluster.
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A connection between two commands, with the times in milliseconds since 1970.
struct Idle {
    connection: Connection,
    made: i64,
    used: i64,
}

/// Of the pool, in milliseconds where it is a time.
struct Limits {
    least: usize,
    idle: i64,
    lifetime: i64,
}

impl Connections {
    /// Connects to nothing yet.
    pub(super) fn new(config: &Redis, ground: &Ground) -> Result<Connections, StoreError> {
        let password = ground.secret(config.password.as_ref())?;
        let servers = servers(config, password.as_ref(), ground)?;
        let milliseconds = |period: schema::unit::Period| i64::try_from(period.0).unwrap_or(i64::MAX / 1000) * 1000;
        let patience = Duration::from_secs(config.timeout.0.max(1));
        let first = servers.info.first().map_or_else(String::new, |info| info.addr().to_string());
        let (way, name) = match config.mode {
            RedisMode::Single => (single(servers)?, format!("Redis at {first}")),
            RedisMode::Sentinel => {
                let master = config.master.as_deref().ok_or_else(|| wrong("`mode=\"sentinel\"` needs a `master`"))?;
                let sentinel = ground.secret(config.sentinel_password.as_ref())?;
                let way = watched(servers, master, (config.user.as_deref(), password.as_ref()), sentinel.as_ref());
                (way?, format!("Redis `{master}` by its sentinel at {first}"))
            }
            RedisMode::Cluster => (cluster(servers, patience)?, format!("the Redis cluster at {first}")),
        };
        let most = config.pool.most.max(1) as usize;
        Ok(Connections {
            way,
            name,
            patience,
            idle: Mutex::default(),
            room: Semaphore::new(most),
            limits: Limits {
                least: config.pool.least as usize,
                idle: milliseconds(config.pool.idle),
                lifetime: milliseconds(config.pool.lifetime),
            },
            clock: ground.clock.clone(),
        })
    }

    /// The server in words, without a password.
    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    /// Asks by a connection that is open, or a new one. One that fails, or whose answer nobody waits for any more, is
    /// not used again, and neither are those beside it where it turns out to be gone.
    pub(super) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        // Only a closed semaphore has no room, and nobody closes it.
        let _room = self.room.acquire().await;
        let now = (self.clock)();
        let mut lent = match self.lend(now) {
            Some(lent) => lent,
            None => Idle { connection: self.connect().await?, made: now, used: now },
        };
        let answer = match &mut lent.connection {
            Connection::One(connection) => connection.req_packed_command(command).await,
            Connection::Cluster(connection) => connection.req_packed_command(command).await,
        };
        match answer.and_then(Value::extract_error) {
            Err(error) if error.is_unrecoverable_error() || error.is_timeout() || moved(&error) => {
                self.forget();
                Err(error)
            }
            answer => {
                lent.used = now;
                self.idle().push(lent);
                answer
            }
        }
    }

    /// Closes every connection that is not in use.
    pub(super) fn forget(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection used last, if there is one. Those that are too old go.
    fn lend(&self, now: i64) -> Option<Idle> {
        let mut idle = self.idle();
        let Limits { least, idle: longest, lifetime } = self.limits;
        idle.retain(|this| now.saturating_sub(this.made) < lifetime);
        while idle.len() > least && idle.first().is_some_and(|this| now.saturating_sub(this.used) >= longest) {
            idle.remove(0);
        }
        idle.pop()
    }

    async fn connect(&self) -> RedisResult<Connection> {
        let patience = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience))
            .set_response_timeout(Some(self.patience));
        Ok(match &self.way {
            Way::Single(client) => {
                Connection::One(client.get_multiplexed_async_connection_with_config(&patience).await?)
            }
            // Asked anew for each connection: another server may have taken over.
            Way::Sentinel(client) => {
                Connection::One(client.lock().await.get_async_connection_with_config(&patience).await?)
            }
            Way::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }
}

/// What an error says, as the server said it: `OOM command not allowed …`.
pub(super) fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Whether another server has taken over from the one that we reached.
fn moved(error: &RedisError) -> bool {
    words(error).contains("READONLY")
}

/// What the URLs name, with what logs us in, and what TLS is asked for.
struct Servers {
    info: Vec<ConnectionInfo>,
    certificates: Option<TlsCertificates>,
}

fn servers(config: &Redis, password: Option<&Secret>, ground: &Ground) -> Result<Servers, StoreError> {
    let tls = config.tls.clone().unwrap_or_default();
    let certificates = certificates(&tls, ground)?;
    let mut info = Vec::with_capacity(config.url.len());
    for url in &config.url {
        // What the library says of a URL may hold all of it.
        let given = url.as_str().into_connection_info().map_err(|_| wrong("a URL is none of Redis"))?;
        if given.redis_settings().password().is_some() {
            return Err(wrong("a URL holds a password; write `password=(file)\"…\"`"));
        }
        let address = address(given.addr(), &tls, certificates.as_ref())?;
        let mut settings = given.redis_settings().clone();
        // Sentinels have users of their own.
        if config.mode != RedisMode::Sentinel {
            settings = log_in(settings, (config.user.as_deref(), password));
        }
        info.push(given.set_addr(address).set_redis_settings(settings));
    }
    if info.is_empty() {
        return Err(wrong("no URL is given"));
    }
    Ok(Servers { info, certificates })
}

fn log_in(settings: RedisConnectionInfo, (user, password): (Option<&str>, Option<&Secret>)) -> RedisConnectionInfo {
    let settings = settings.set_lib_name("waybilld", env!("CARGO_PKG_VERSION"));
    let settings = match user {
        Some(user) => settings.set_username(user),
        None => settings,
    };
    match password {
        Some(password) => settings.set_password(password.reveal()),
        None => settings,
    }
}

/// The address, with TLS or without.
fn address(
    given: &ConnectionAddr,
    tls: &ClientTls,
    certificates: Option<&TlsCertificates>,
) -> Result<ConnectionAddr, StoreError> {
    let secure =
        |host: &str, port| ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None };
    let address = match (given, tls.mode) {
        (_, Some(ClientTlsMode::Starttls)) => return Err(wrong("Redis has no `starttls`: write `tls mode=\"on\"`")),
        (ConnectionAddr::TcpTls { insecure: true, .. }, _) => {
            return Err(wrong("`#insecure` is not served: a certificate is verified"));
        }
        (ConnectionAddr::TcpTls { .. }, Some(ClientTlsMode::Off)) => {
            return Err(wrong("`tls mode=\"off\"` contradicts a URL that says `rediss`"));
        }
        (ConnectionAddr::Tcp(host, port), Some(ClientTlsMode::On)) => secure(host, *port),
        (given, _) => given.clone(),
    };
    if certificates.is_some() && !matches!(address, ConnectionAddr::TcpTls { .. }) {
        return Err(wrong("certificates are given, but neither `tls mode=\"on\"` nor a URL that says `rediss`"));
    }
    Ok(address)
}

fn certificates(tls: &ClientTls, ground: &Ground) -> Result<Option<TlsCertificates>, StoreError> {
    if tls.name.is_some() {
        return Err(wrong("`tls name` is not served for Redis: write the name of the certificate into the URL"));
    }
    let pem = |reference: Option<&_>| Ok(ground.secret(reference)?.map(|text| text.reveal().as_bytes().to_vec()));
    let client_tls = match (pem(tls.cert.as_ref())?, pem(tls.key.as_ref())?) {
        (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig { client_cert, client_key }),
        (None, None) => None,
        _ => return Err(wrong("`tls cert` and `tls key` go together")),
    };
    let root_cert = pem(tls.ca.as_ref())?;
    let given = client_tls.is_some() || root_cert.is_some();
    Ok(given.then_some(TlsCertificates { client_tls, root_cert }))
}

fn single(servers: Servers) -> Result<Way, StoreError> {
    let mut info = servers.info.into_iter();
    let (Some(server), None) = (info.next(), info.next()) else {
        return Err(wrong("several URLs need `mode=\"sentinel\"` or `mode=\"cluster\"`"));
    };
    let client = match servers.certificates {
        Some(certificates) => Client::build_with_tls(server, certificates),
        None => Client::open(server),
    };
    client.map(Way::Single).map_err(unusable)
}

fn watched(
    servers: Servers,
    master: &str,
    (user, password): (Option<&str>, Option<&Secret>),
    sentinel: Option<&Secret>,
) -> Result<Way, StoreError> {
    let addresses: Vec<ConnectionAddr> = servers.info.iter().map(|info| info.addr().clone()).collect();
    let secure = addresses.iter().any(|address| matches!(address, ConnectionAddr::TcpTls { .. }));
    let database = servers.info.first().map_or(0, |info| info.redis_settings().db());
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master).map_err(unusable)?;
    builder = builder.set_client_to_redis_db(database);
    if secure {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = servers.certificates {
        builder = builder.set_client_to_sentinel_certificates(certificates.clone());
        builder = builder.set_client_to_redis_certificates(certificates);
    }
    if let Some(user) = user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = password {
        builder = builder.set_client_to_redis_password(password.reveal());
    }
    if let Some(sentinel) = sentinel {
        builder = builder.set_client_to_sentinel_password(sentinel.reveal());
    }
    builder.build().map(|client| Way::Sentinel(client.into())).map_err(unusable)
}

fn cluster(servers: Servers, patience: Duration) -> Result<Way, StoreError> {
    let secure = servers.info.iter().any(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }));
    let mut builder = ClusterClient::builder(servers.info)
        .connection_timeout(patience)
        .response_timeout(patience)
        .overall_response_timeout(Some(patience));
    if secure {
        builder = builder.tls(TlsMode::Secure);
    }
    if let Some(certificates) = servers.certificates {
        builder = builder.certs(certificates);
    }
    builder.build().map(Way::Cluster).map_err(unusable)
}

fn wrong(says: &str) -> StoreError {
    StoreError::Misconfigured(Cause::new(format!("Redis: {says}")))
}

fn unusable(error: RedisError) -> StoreError {
    wrong(&error.to_string())
}
