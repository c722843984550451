//! Who may use the API: keys of the spec, sent as `Authorization: Bearer` (RFC 6750 §2.1).

use super::problem::{Answer, problem};
use crate::secrets::Secrets;
use crate::server::Server;
use crate::snapshot::Rejected;
use aws_lc_rs::{constant_time, digest};
use axum::http::{HeaderMap, StatusCode, header};
use schema::config::{ApiKey, RuntimeConfig};
use schema::name::DomainName;
use schema::spec::Permission;
use std::collections::HashSet;
use std::net::SocketAddr;
use tracing::info;

/// The shortest secret, in octets: what is shorter is guessed.
const SECRET_LEAST: usize = 20;
/// The longest one that is looked at, in octets.
const SECRET_MOST: usize = 4096;

/// The keys of one configuration, opened.
pub struct Keys(Vec<([u8; 32], ApiKey)>);

/// Of equal length, so that comparing them tells nothing of the secret.
fn print(secret: &str) -> [u8; 32] {
    digest::digest(&digest::SHA256, secret.as_bytes()).as_ref().try_into().unwrap_or([0; 32])
}

impl Keys {
    /// Opens the secrets of all keys.
    ///
    /// # Errors
    /// [`Rejected::Key`], naming the key.
    pub fn open(config: &RuntimeConfig, secrets: &Secrets) -> Result<Keys, Rejected> {
        let mut seen = HashSet::new();
        let open = |key: &ApiKey| {
            let failed = |why: String| Rejected::Key { name: key.name.clone(), why };
            let secret = secrets.text(&key.secret).map_err(|error| failed(error.to_string()))?;
            if secret.reveal().len() < SECRET_LEAST {
                let why =
                    format!("its secret is shorter than {SECRET_LEAST} characters; `openssl rand -hex 32` makes one");
                return Err(failed(why));
            }
            let print = print(secret.reveal());
            if !seen.insert(print) {
                return Err(failed("another key has the same secret".to_owned()));
            }
            Ok((print, key.clone()))
        };
        config.api_keys.iter().map(open).collect::<Result<_, _>>().map(Keys)
    }

    /// The key with this secret. Takes as long whichever it is.
    fn find(&self, secret: &str) -> Option<&ApiKey> {
        let given = print(secret);
        let is_it = |known: &[u8; 32]| constant_time::verify_slices_are_equal(known, &given).is_ok();
        self.0.iter().fold(None, |found, (known, key)| if is_it(known) { Some(key) } else { found })
    }
}

/// The key that a request brings, if it holds now and from there. What is no key waits as a failed login does.
///
/// # Errors
/// The answer.
pub async fn bearer(server: &Server, headers: &HeaderMap, peer: SocketAddr) -> Result<ApiKey, Answer> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim()).filter(|secret| secret.len() <= SECRET_MOST)
    });
    let Some(given) = given else {
        return Err(problem(StatusCode::UNAUTHORIZED, "send a key of the spec as `Authorization: Bearer …`"));
    };
    let address = peer.ip().to_canonical();
    let key = server.live.now().keys.find(given).cloned();
    let Some(key) = key else {
        let wait = server.failed(address).await;
        info!(%peer, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "an unknown API key was sent");
        tokio::time::sleep(wait).await;
        return Err(problem(StatusCode::UNAUTHORIZED, "no `api-key` of the spec has this secret"));
    };
    let name = &key.name;
    if key.until.is_some_and(|until| crate::clock::now() >= until) {
        info!(%peer, key = name, "an API key was sent after its end");
        return Err(problem(StatusCode::UNAUTHORIZED, &format!("the key `{name}` has ended: its `until` is over")));
    }
    if !key.from.is_empty() && !key.from.iter().any(|network| network.contains(&address)) {
        info!(%peer, key = name, "an API key was sent from elsewhere");
        let says = format!("the key `{name}` does not hold from {address}: see `from` of its node");
        return Err(problem(StatusCode::FORBIDDEN, &says));
    }
    Ok(key)
}

/// Whether a key's role lets it do something in a domain.
///
/// # Errors
/// The answer, which says what the role lacks.
pub fn may(key: &ApiKey, permission: Permission, domain: &DomainName) -> Result<(), Answer> {
    if !key.may.contains(&permission) {
        let says = format!("the role of the key `{}` lacks `may \"{}\"`", key.name, permission.name());
        return Err(problem(StatusCode::FORBIDDEN, &says));
    }
    if !key.domains.is_empty() && !key.domains.contains(domain) {
        let says = format!("the role of the key `{}` is not about the domain {domain}", key.name);
        return Err(problem(StatusCode::FORBIDDEN, &says));
    }
    Ok(())
}
