//! Lookups in Redis or Valkey: one server, one that sentinels watch over, or a cluster.
//!
//! | key, behind the configured prefix | hash |
//! |---|---|
//! | `c:` name | a counter |
//! | `f:` name | a fact |
//! | `l:` name | a lease |
//!
//! | field | holds |
//! |---|---|
//! | `e` | its end, in milliseconds since 1970 |
//! | `v` | its value: a decimal number, or the fact's octets |
//! | `t` | the token of the call that wrote it |
//! | `b` | of a fact: what was known before |
//!
//! # What is promised, and how
//! Each call is one script on one key, so it is atomic in all three forms.
//!
//! What ends is told by our clock, as in every other store: the end stands in the entry. The server's own expiry, set
//! once, when an entry is made, only takes away what has ended, [`KEPT`] later, so that clocks that differ a little
//! do no harm.
//!
//! A lease's number is at least the time in milliseconds, so that numbers rise even where the server has forgotten
//! the last: taken away [`LEASE_KEPT`] after its end, evicted, or lost by a failover, which Redis does not exclude.
//!
//! A call whose answer was lost is made again with the same token, and answered as the first time. Only a counter that
//! another has changed in between is then changed twice.

use super::{Clock, Lease, Lookups, end, fits};
use crate::error::{Cause, StoreError};
use crate::open::Ground;
use async_trait::async_trait;
use bytes::Bytes;
use connect::{Connections, words};
use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value};
use schema::config::Redis;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tracing::warn;

mod connect;

/// How long the server keeps an entry after its end, in milliseconds.
pub const KEPT: i64 = 60_000;
/// How long it keeps a lease after its end, in milliseconds.
pub const LEASE_KEPT: i64 = 24 * 3_600_000;
/// The longest life that the server is told, in milliseconds: ten years. It takes longer ones for wrong.
const LIFE_MOST: i64 = 10 * 365 * 24 * 3_600_000;
/// How long is waited before a failed call is made again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// Arguments: now, end, life, token, what to add.
///
/// The first change of a script is one that a server without room refuses: after another it would let it happen.
const ADD: &str = "
local f = redis.call('HMGET', KEYS[1], 'e', 'v', 't')
if f[3] == ARGV[4] then return f[2] end
local lives = f[1] and tonumber(f[1]) > tonumber(ARGV[1])
if ARGV[5] == '0' then return lives and f[2] or '0' end
if not lives then
  redis.call('HSET', KEYS[1], 'e', ARGV[2], 'v', '0')
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
redis.call('HSET', KEYS[1], 't', ARGV[4])
if type(redis.pcall('HINCRBY', KEYS[1], 'v', ARGV[5])) == 'table' then
  local below = string.sub(ARGV[5], 1, 1) == '-'
  redis.call('HSET', KEYS[1], 'v', below and '-9223372036854775808' or '9223372036854775807')
end
return redis.call('HGET', KEYS[1], 'v')
";

/// Arguments: now, end, life, token, and the value where one is to be remembered.
const NOTE: &str = "
local f = redis.call('HMGET', KEYS[1], 'e', 'v', 't', 'b')
if f[3] == ARGV[4] then return f[4] end
local known = f[1] and tonumber(f[1]) > tonumber(ARGV[1]) and f[2]
if ARGV[5] then
  redis.call('HSET', KEYS[1], 'e', ARGV[2], 'v', ARGV[5], 't', ARGV[4])
  if known then redis.call('HSET', KEYS[1], 'b', known) else redis.call('HDEL', KEYS[1], 'b') end
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return known
";

/// Arguments: now, end, life, token. The answer: number and end.
const LEASE: &str = "
local f = redis.call('HMGET', KEYS[1], 'e', 'v', 't')
if f[1] and tonumber(f[1]) > tonumber(ARGV[1]) then
  return f[3] == ARGV[4] and {f[2], f[1]}
end
local number = math.max(tonumber(ARGV[1]), 1)
if f[2] then number = math.max(number, tonumber(f[2]) + 1) end
number = string.format('%.0f', number)
redis.call('HSET', KEYS[1], 'e', ARGV[2], 'v', number, 't', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {number, ARGV[2]}
";

/// Arguments: now, the lease's end and number.
const RELEASE: &str = "
local f = redis.call('HMGET', KEYS[1], 'e', 'v')
if f[1] == ARGV[2] and f[2] == ARGV[3] then redis.call('HSET', KEYS[1], 'e', ARGV[1]) end
return false
";

/// Lookups that a Redis keeps.
pub struct RedisLookups {
    connections: Connections,
    /// The server in words.
    name: String,
    prefix: String,
    patience: Duration,
    clock: Clock,
    scripts: Scripts,
    /// The last call waited in vain: the next ones do not wait, until one is served.
    down: AtomicBool,
}

struct Scripts {
    add: Hashed,
    note: Hashed,
    lease: Hashed,
    release: Hashed,
}

/// A script, and the hash that the server knows it by once it has seen it.
struct Hashed {
    code: &'static str,
    hash: String,
}

impl Hashed {
    fn new(code: &'static str) -> Hashed {
        Hashed { code, hash: Script::new(code).get_hash().to_owned() }
    }
}

/// What an error means for whoever asked.
enum Failure {
    /// It may pass: ask again.
    Passes(String),
    /// It will not, or not soon.
    Stays(StoreError),
}

impl RedisLookups {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] where waiting would not help, [`StoreError::Unavailable`] where it may.
    pub async fn open(config: &Redis, ground: &Ground) -> Result<RedisLookups, StoreError> {
        let connections = Connections::new(config, ground)?;
        let lookups = RedisLookups {
            name: connections.name(),
            connections,
            prefix: config.prefix.clone(),
            patience: Duration::from_secs(config.timeout.0.max(1)),
            clock: ground.clock.clone(),
            scripts: Scripts {
                add: Hashed::new(ADD),
                note: Hashed::new(NOTE),
                lease: Hashed::new(LEASE),
                release: Hashed::new(RELEASE),
            },
            down: AtomicBool::new(false),
        };
        // A server that refuses us is found now, not at the first message.
        lookups.add("", 0, Duration::ZERO).await?;
        lookups.forgetful().await;
        Ok(lookups)
    }

    /// Warns where the server is set up to forget what has not ended. One that does not say is not asked again.
    async fn forgetful(&self) {
        let mut ask = redis::cmd("INFO");
        ask.arg("memory");
        let Ok(Value::BulkString(text)) = self.ask(&ask).await else { return };
        let text = String::from_utf8_lossy(&text);
        let policy = text.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).unwrap_or("noeviction");
        if policy.trim() != "noeviction" {
            warn!(store = self.name, "maxmemory-policy is {policy}: leases may be granted twice; set it to noeviction");
        }
    }

    /// Runs a script on a key.
    async fn run(&self, script: &Hashed, (kind, name): (&str, &str), arguments: &[&[u8]]) -> Result<Value, StoreError> {
        fits(name, None)?;
        let command = |verb: &str, script: &str| {
            let mut command = redis::cmd(verb);
            command.arg(script).arg(1).arg(format!("{}{kind}{name}", self.prefix)).arg(arguments);
            command
        };
        match self.ask(&command("EVALSHA", &script.hash)).await {
            Err(Refused::NoScript) => self.ask(&command("EVAL", script.code)).await,
            other => other,
        }
        .map_err(|refused| match refused {
            Refused::Store(error) => error,
            Refused::NoScript => self.unavailable("knows no script that it was just given"),
        })
    }

    /// Asks, and asks again while what is in the way may pass and patience lasts.
    async fn ask(&self, command: &Cmd) -> Result<Value, Refused> {
        let mut last = format!("does not answer within {} s", self.patience.as_secs());
        let waits = !self.down.load(Ordering::Relaxed);
        let asked = timeout(self.patience, async {
            let mut pause = PAUSE.0;
            loop {
                let error = match self.connections.ask(command).await {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                        return Err(Refused::NoScript);
                    }
                    Err(error) => error,
                };
                match self.meaning(&error) {
                    Failure::Stays(error) => return Err(Refused::Store(error)),
                    Failure::Passes(says) => last = says,
                }
                if !waits {
                    return Ok(None);
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        });
        match asked.await {
            Ok(Ok(Some(answer))) => {
                self.down.store(false, Ordering::Relaxed);
                Ok(answer)
            }
            Ok(Err(refused)) => Err(refused),
            Ok(Ok(None)) | Err(_) => {
                self.down.store(true, Ordering::Relaxed);
                self.connections.forget();
                Err(Refused::Store(self.unavailable(&last)))
            }
        }
    }

    fn unavailable(&self, says: &str) -> StoreError {
        StoreError::Unavailable(Cause::new(format!("{}: {says}", self.name)))
    }

    /// Redis says what is wrong by the first word of an error, within scripts of older servers somewhere in it.
    fn meaning(&self, error: &RedisError) -> Failure {
        let says = words(error);
        let wrong = || Failure::Stays(StoreError::Misconfigured(Cause::new(format!("{}: {says}", self.name))));
        let has = |words: &[&str]| words.iter().any(|word| says.contains(word));
        match error.kind() {
            _ if has(&["OOM command not allowed"]) => Failure::Stays(StoreError::Full),
            _ if has(&["AuthenticationFailed", "NOAUTH", "WRONGPASS", "NOPERM"]) => wrong(),
            // A certificate that is not trusted will not be by waiting, at either end.
            _ if has(&["invalid peer certificate", "received fatal alert"]) => wrong(),
            _ if has(&["WRONGTYPE"]) => Failure::Stays(StoreError::Corrupt { what: format!("{}: {says}", self.name) }),
            _ if has(&["READONLY", "max number of clients"]) => Failure::Passes(says),
            ErrorKind::InvalidClientConfig | ErrorKind::Server(ServerErrorKind::ResponseError) => wrong(),
            _ => Failure::Passes(says),
        }
    }

    /// What every script is told first: the time, when an entry made now ends, and how long the server keeps it.
    fn times(&self, lives: Duration, kept: i64) -> (i64, i64, i64) {
        let now = (self.clock)();
        let until = end(now, lives);
        (now, until, until.saturating_sub(now).min(LIFE_MOST).saturating_add(kept))
    }

    fn unreadable(&self, name: &str) -> StoreError {
        StoreError::Corrupt { what: format!("{}: lookup {name}", self.name) }
    }
}

/// Why a command has no answer.
enum Refused {
    NoScript,
    Store(StoreError),
}

#[async_trait]
impl Lookups for RedisLookups {
    async fn add(&self, counter: &str, by: i64, lives: Duration) -> Result<i64, StoreError> {
        let (now, until, life) = self.times(lives, KEPT);
        let (times, token, by) = ([now, until, life].map(|time| time.to_string()), token()?, by.to_string());
        let arguments = [times[0].as_bytes(), times[1].as_bytes(), times[2].as_bytes(), &token, by.as_bytes()];
        let answer = self.run(&self.scripts.add, ("c:", counter), &arguments).await?;
        number(&answer).ok_or_else(|| self.unreadable(counter))
    }

    async fn note(&self, fact: &str, value: Option<Bytes>, lives: Duration) -> Result<Option<Bytes>, StoreError> {
        fits(fact, value.as_ref())?;
        let (now, until, life) = self.times(lives, KEPT);
        let (times, token) = ([now, until, life].map(|time| time.to_string()), token()?);
        let mut arguments = vec![times[0].as_bytes(), times[1].as_bytes(), times[2].as_bytes(), &token[..]];
        arguments.extend(value.as_deref());
        match self.run(&self.scripts.note, ("f:", fact), &arguments).await? {
            Value::BulkString(known) => Ok(Some(known.into())),
            Value::Nil => Ok(None),
            _ => Err(self.unreadable(fact)),
        }
    }

    async fn lease(&self, name: &str, lives: Duration) -> Result<Option<Lease>, StoreError> {
        let (now, until, life) = self.times(lives, LEASE_KEPT);
        let (times, token) = ([now, until, life].map(|time| time.to_string()), token()?);
        let arguments = [times[0].as_bytes(), times[1].as_bytes(), times[2].as_bytes(), &token];
        let answer = match self.run(&self.scripts.lease, ("l:", name), &arguments).await? {
            Value::Nil => return Ok(None),
            Value::Array(answer) => answer,
            _ => return Err(self.unreadable(name)),
        };
        match answer.iter().map(number).collect::<Option<Vec<i64>>>().as_deref() {
            Some([number, until]) => {
                Ok(Some(Lease { name: name.to_owned(), number: number.cast_unsigned(), until: *until }))
            }
            _ => Err(self.unreadable(name)),
        }
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        let times = [(self.clock)(), lease.until, lease.number.cast_signed()].map(|number| number.to_string());
        let arguments = [times[0].as_bytes(), times[1].as_bytes(), times[2].as_bytes()];
        self.run(&self.scripts.release, ("l:", &lease.name), &arguments).await.map(drop)
    }
}

/// What tells one call from another.
fn token() -> Result<[u8; 8], StoreError> {
    let mut token = [0; 8];
    aws_lc_rs::rand::fill(&mut token).map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
    Ok(token)
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}
