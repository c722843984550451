//! Connections to an LDAP server: some are kept, so many are made at most, and none is used by two at once.

use super::tls;
use crate::error::{Cause, StoreError};
use crate::lookup::Clock;
use crate::open::Ground;
use ldap3::adapters::{Adapter, PagedResults};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, ResultEntry, Scope, StdStream};
use rustls::ClientConfig;
use schema::config;
use schema::name::{Secret, SecretRef};
use schema::spec::ClientTlsMode;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Entries asked for at once (RFC 2696).
const PAGE: i32 = 500;
/// Octets of all that one search finds.
const FOUND_MOST: usize = 8 << 20;

// RFC 4511 §A.1.
const SUCCESS: u32 = 0;
const TIME_LIMIT_EXCEEDED: u32 = 3;
const SIZE_LIMIT_EXCEEDED: u32 = 4;
const REFERRAL: u32 = 10;
const ADMIN_LIMIT_EXCEEDED: u32 = 11;
const CONSTRAINT_VIOLATION: u32 = 19;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_DN: u32 = 34;
const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
const INVALID_CREDENTIALS: u32 = 49;
const UNWILLING: u32 = 53;

/// An entry: its attributes by lower-case name, without options, and only values that are text.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Its distinguished name.
    pub dn: String,
    attributes: HashMap<String, Vec<String>>,
}

impl Entry {
    /// The values of an attribute.
    pub fn values(&self, name: &str) -> &[String] {
        self.attributes.get(&name.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// Whether an attribute comes in parts, as Active Directory sends long ones (`member;range=0-1499`).
    pub fn is_in_parts(&self, name: &str) -> bool {
        let prefix = format!("{};range=", name.to_ascii_lowercase());
        self.attributes.keys().any(|key| key.starts_with(&prefix))
    }

    /// RFC 4511 §4.5.2; `None` for what is no entry.
    fn read(from: ResultEntry) -> Option<(Entry, usize)> {
        let mut size = 0;
        let mut parts = from.0.match_id(4)?.expect_constructed()?.into_iter();
        let dn = String::from_utf8(parts.next()?.expect_primitive()?).ok()?;
        let mut attributes = HashMap::new();
        for attribute in parts.next()?.expect_constructed()? {
            let mut parts = attribute.expect_constructed()?.into_iter();
            let name = String::from_utf8(parts.next()?.expect_primitive()?).ok()?;
            let values = parts.next()?.expect_constructed()?.into_iter();
            let values = values.filter_map(|value| String::from_utf8(value.expect_primitive()?).ok());
            let values: Vec<String> = values.collect();
            size += values.iter().map(String::len).sum::<usize>();
            attributes.insert(name.to_ascii_lowercase(), values);
        }
        Some((Entry { dn, attributes }, size))
    }
}

/// What is searched for.
pub(super) struct Search<'a> {
    /// Below which entry.
    pub base: &'a str,
    /// That entry, or all below it.
    pub scope: Scope,
    /// RFC 4515.
    pub filter: &'a str,
    /// Which attributes are wanted.
    pub attributes: &'a [String],
    /// Entries at most; more are an error.
    pub most: usize,
}

/// Why a connection did not do what was asked.
enum Failure {
    /// It is gone; another one may do it.
    Lost(StoreError),
    /// It said so.
    Told(StoreError),
}

impl Failure {
    fn error(self) -> StoreError {
        match self {
            Failure::Lost(error) | Failure::Told(error) => error,
        }
    }
}

struct Connection {
    ldap: Ldap,
    /// When it was made, and last used, in milliseconds since 1970.
    made: i64,
    used: i64,
    /// Whether it is bound as the one who looks.
    looks: bool,
}

/// A connection that somebody has; closed when dropped, unless it is given back.
struct Lent<'a> {
    connection: Connection,
    /// Whether others used it before.
    used: bool,
    _turn: SemaphorePermit<'a>,
}

/// Connections to one server.
pub(super) struct Pool {
    /// The server in words, without a password.
    pub name: String,
    host: String,
    port: u16,
    /// What the library is told; its host is the name that the certificate must have.
    url: String,
    starttls: bool,
    client: Arc<ClientConfig>,
    /// Who looks.
    looker: Option<(String, Secret)>,
    /// How long a request may take.
    pub patience: Duration,
    limits: config::Pool,
    turns: Semaphore,
    idle: Mutex<Vec<Connection>>,
    clock: Clock,
}

impl Pool {
    /// No connection yet.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] for a URL, certificate or secret that cannot be used.
    pub fn new(given: &config::Ldap, trust: &[SecretRef], ground: &Ground) -> Result<Pool, StoreError> {
        let wrong = |says: &dyn std::fmt::Display| StoreError::Misconfigured(Cause::new(format!("LDAP: {says}")));
        let url: url::Url = given.url.parse().map_err(|error| wrong(&error))?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong(&"the URL names no server"))?;
        let secure = given.tls.mode == ClientTlsMode::On;
        let (scheme, default) = if secure { ("ldaps", 636) } else { ("ldap", 389) };
        let port = url.port().unwrap_or(default);
        let certified = given.tls.name.as_deref().unwrap_or(host);
        let password = ground.secret(given.bind_password.as_ref())?;
        let looker = given.bind_dn.clone().zip(password);
        // RFC 4513 §5.1.2: a name without a password means nobody, and the server would say that it was right.
        if given.bind_dn.is_some() && looker.as_ref().is_none_or(|(_, password)| password.reveal().is_empty()) {
            return Err(wrong(&"`bind-dn` has an empty password"));
        }
        Ok(Pool {
            name: format!("LDAP at {host}:{port}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            url: format!("{scheme}://{certified}:{port}"),
            starttls: given.tls.mode == ClientTlsMode::Starttls,
            client: tls::client(&given.tls, trust, ground)?,
            looker,
            patience: Duration::from_secs(given.timeout.0.max(1)),
            turns: Semaphore::new(given.pool.most.max(1) as usize),
            limits: given.pool.clone(),
            idle: Mutex::default(),
            clock: Arc::clone(&ground.clock),
        })
    }

    fn unavailable(&self, says: &dyn std::fmt::Display) -> StoreError {
        StoreError::Unavailable(Cause::new(format!("{}: {says}", self.name)))
    }

    /// A misconfiguration of this server.
    pub fn wrong(&self, says: &dyn std::fmt::Display) -> StoreError {
        StoreError::Misconfigured(Cause::new(format!("{}: {says}", self.name)))
    }

    fn late(&self) -> StoreError {
        self.unavailable(&format!("no answer within {} s", self.patience.as_secs()))
    }

    /// Searches as the one who looks. An entry that is not there has nothing below it.
    pub async fn search(&self, what: &Search<'_>) -> Result<Vec<Entry>, StoreError> {
        for fresh in [false, true] {
            let mut lent = self.lend(fresh).await?;
            let asked = timeout(self.patience, async {
                self.look(&mut lent.connection).await?;
                self.searched(&mut lent.connection.ldap, what).await
            });
            match asked.await.unwrap_or_else(|_| Err(Failure::Told(self.late()))) {
                Ok(found) => {
                    self.give_back(lent);
                    return Ok(found);
                }
                Err(Failure::Lost(_)) if lent.used && !fresh => {}
                Err(failure) => return Err(failure.error()),
            }
        }
        Err(self.unavailable(&"the connection went"))
    }

    /// Whether this name and password log in. The password must not be empty.
    pub async fn proves(&self, dn: &str, password: &str) -> Result<bool, StoreError> {
        if dn.is_empty() || password.is_empty() {
            return Ok(false);
        }
        for fresh in [false, true] {
            let mut lent = self.lend(fresh).await?;
            // Whatever comes of it, the connection is no longer the looker's (RFC 4511 §4.2.1).
            lent.connection.looks = false;
            let asked = timeout(self.patience, lent.connection.ldap.simple_bind(dn, password)).await;
            let result = match asked {
                Ok(Ok(result)) => result,
                Ok(Err(error)) => match self.failed(&error) {
                    Failure::Lost(_) if lent.used && !fresh => continue,
                    failure => return Err(failure.error()),
                },
                Err(_) => return Err(self.late()),
            };
            self.give_back(lent);
            return match result.rc {
                SUCCESS => Ok(true),
                // A wrong password, one that has expired, an account that is locked, or a name that is not there.
                INVALID_CREDENTIALS
                | INAPPROPRIATE_AUTHENTICATION
                | CONSTRAINT_VIOLATION
                | NO_SUCH_OBJECT
                | INVALID_DN
                | UNWILLING => Ok(false),
                _ => Err(self.meaning(&result, "a login")),
            };
        }
        Err(self.unavailable(&"the connection went"))
    }

    async fn searched(&self, ldap: &mut Ldap, what: &Search<'_>) -> Result<Vec<Entry>, Failure> {
        let lost = |error: LdapError| self.failed(&error);
        let attributes = what.attributes.to_vec();
        let paged: Vec<Box<dyn Adapter<'_, String, Vec<String>>>> = match what.scope {
            Scope::Base => Vec::new(),
            _ => vec![Box::new(PagedResults::new(PAGE))],
        };
        let stream = ldap.streaming_search_with(paged, what.base, what.scope, what.filter, attributes).await;
        let mut stream = stream.map_err(lost)?;
        let (mut found, mut size) = (Vec::new(), 0);
        while let Some(item) = stream.next().await.map_err(lost)? {
            // Referrals are not followed: the password would go wherever the server says.
            if item.is_ref() || item.is_intermediate() {
                continue;
            }
            let odd = || Failure::Told(self.unavailable(&"the answer is none of LDAP"));
            let (entry, octets) = Entry::read(item).ok_or_else(odd)?;
            size += octets;
            found.push(entry);
            if found.len() > what.most || size > FOUND_MOST {
                let says = format!("`{}` finds more than {} entries", what.filter, what.most);
                return Err(Failure::Told(self.wrong(&says)));
            }
        }
        let result = stream.finish().await;
        match result.rc {
            SUCCESS => Ok(found),
            NO_SUCH_OBJECT if what.scope == Scope::Base => Ok(Vec::new()),
            // The server's own limits: it is this search that is too much, and another may be answered.
            TIME_LIMIT_EXCEEDED | SIZE_LIMIT_EXCEEDED | ADMIN_LIMIT_EXCEEDED => {
                let says = format!(
                    "the server cuts off the search `{}`; raise its limit for `bind-dn`: {result}",
                    what.filter
                );
                Err(Failure::Told(self.wrong(&says)))
            }
            _ => Err(Failure::Told(self.meaning(&result, &format!("a search below `{}`", what.base)))),
        }
    }

    /// Binds as the one who looks, where that is not so yet.
    async fn look(&self, connection: &mut Connection) -> Result<(), Failure> {
        if connection.looks {
            return Ok(());
        }
        let (dn, password) = self.looker.as_ref().map_or(("", ""), |(dn, password)| (dn.as_str(), password.reveal()));
        let result = connection.ldap.simple_bind(dn, password).await.map_err(|error| self.failed(&error))?;
        if result.rc != SUCCESS {
            let who = if dn.is_empty() { "nobody in particular" } else { dn };
            return Err(Failure::Told(match result.rc {
                INVALID_CREDENTIALS => self.wrong(&format!("the password of `{who}` is wrong")),
                _ => self.meaning(&result, &format!("the login of {who}")),
            }));
        }
        connection.looks = true;
        Ok(())
    }

    /// A connection for one request; a new one where `fresh`.
    async fn lend(&self, fresh: bool) -> Result<Lent<'_>, StoreError> {
        let busy = || self.unavailable(&format!("all {} connections are in use", self.limits.most));
        let turn = timeout(self.patience, self.turns.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())?;
        let kept = if fresh { None } else { self.kept() };
        Ok(match kept {
            Some(connection) => Lent { connection, used: true, _turn: turn },
            None => {
                let connection = timeout(self.patience, self.connect()).await.map_err(|_| self.late())??;
                Lent { connection, used: false, _turn: turn }
            }
        })
    }

    /// The connection that was used last, once those that are too old or closed are gone.
    fn kept(&self) -> Option<Connection> {
        let now = (self.clock)();
        let age = |period: schema::unit::Period| i64::try_from(period.duration().as_millis()).unwrap_or(i64::MAX);
        let (idle, lifetime) = (age(self.limits.idle), age(self.limits.lifetime));
        let mut kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain_mut(|one| !one.ldap.is_closed() && now.saturating_sub(one.made) < lifetime);
        let least = self.limits.least as usize;
        while kept.len() > least && kept.first().is_some_and(|one| now.saturating_sub(one.used) >= idle) {
            kept.remove(0);
        }
        kept.pop()
    }

    fn give_back(&self, lent: Lent<'_>) {
        let Lent { mut connection, .. } = lent;
        connection.used = (self.clock)();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.and_then(TcpStream::into_std).map_err(|error| self.unavailable(&error))?;
        let settings = LdapConnSettings::new()
            .set_starttls(self.starttls)
            .set_config(Arc::clone(&self.client))
            .set_std_stream(StdStream::Tcp(stream));
        let made = LdapConnAsync::with_settings(settings, &self.url).await;
        let (connection, ldap) = made.map_err(|error| self.failed(&error).error())?;
        let name = self.name.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, server = name, "a connection to a directory ended");
            }
        });
        let now = (self.clock)();
        // A connection is nobody's in particular from the start (RFC 4513 §4).
        Ok(Connection { ldap, made: now, used: now, looks: self.looker.is_none() })
    }

    /// What an error of the library means.
    fn failed(&self, error: &LdapError) -> Failure {
        match error {
            // A certificate that is not trusted will not be by waiting.
            LdapError::Io { source } if matches!(source.kind(), ErrorKind::InvalidData) => {
                Failure::Told(self.wrong(&source))
            }
            LdapError::FilterParsing | LdapError::UrlParsing { .. } | LdapError::UnknownScheme(_) => {
                Failure::Told(self.wrong(error))
            }
            LdapError::LdapResult { result } => Failure::Told(self.meaning(result, "StartTLS")),
            LdapError::Rustls { .. } | LdapError::DNSName { .. } => Failure::Told(self.wrong(error)),
            _ => Failure::Lost(self.unavailable(error)),
        }
    }

    /// What a result other than success means (RFC 4511 §A.2).
    fn meaning(&self, result: &LdapResult, what: &str) -> StoreError {
        let says = format!("{what} is answered by {result}");
        match result.rc {
            REFERRAL => self.wrong(&format!("{what} is referred to another server, which is not followed")),
            // Operations, protocol, strong authentication, confidentiality, names, rights and wills.
            1 | 2 | 7 | 8 | 12 | 13 | 16..=18 | 21 | 32..=34 | 36 | 48..=50 | 53 => self.wrong(&says),
            _ => self.unavailable(&says),
        }
    }
}
