//! A PowerDNS server by its HTTP API. A zone is one request to read and one to write, which is one transaction there.

use super::http::{Answer, Api, Ask, Pace};
use super::{Collected, Ground, Limits, Provider, ProviderError, unmoved};
use crate::plan::{Change, Live, SetKey};
use crate::zone::{Kind, master};
use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use schema::name::DomainName;
use schema::spec;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::HashMap;

/// What it can hold.
pub const LIMITS: Limits = Limits::dns("PowerDNS");
/// The server is one's own: it is not flooded, and no more.
const PACE: Pace = Pace { per_second: 100.0, burst: 32.0 };
/// Which server is meant where the node names none.
const SERVER: &str = "localhost";

/// A PowerDNS server.
pub struct PowerDns {
    api: Api,
    server: String,
}

#[derive(Debug, Deserialize)]
struct Zone {
    #[serde(default)]
    rrsets: Vec<RrSet>,
}

#[derive(Debug, Deserialize)]
struct RrSet {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
struct Record {
    content: String,
    #[serde(default)]
    disabled: bool,
}

impl PowerDns {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with the node or its key.
    pub fn new(spec: &spec::PowerDns, ground: &Ground<'_>) -> Result<PowerDns, String> {
        let key = ground.secret(&spec.api_key)?;
        let base = super::base(Some(&spec.url), "")?;
        let api = Api::new(&base, PACE, vec![key.clone()], ground.trust)?.with("x-api-key", key.reveal())?;
        let server = spec.server.clone().unwrap_or_else(|| SERVER.to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        match server.chars().all(plain) && !server.is_empty() {
            true => Ok(PowerDns { api, server }),
            false => Err("`server` is no name that a PowerDNS server has; `localhost` is the usual one".into()),
        }
    }

    fn path(&self, zone: &DomainName) -> String {
        format!("/api/v1/servers/{}/zones/{zone}.", self.server)
    }

    fn refused(&self, zone: &DomainName, answer: &Answer) -> ProviderError {
        match answer.status {
            StatusCode::NOT_FOUND => {
                ProviderError::Missing(format!("PowerDNS has no zone `{zone}`, or no such server"))
            }
            _ => self.api.refused(answer),
        }
    }

    async fn sets(&self, zone: &DomainName) -> Result<Vec<RrSet>, ProviderError> {
        let answer = self.api.ask(&Ask::get(&self.path(zone), &[])).await?;
        match answer.status.is_success() {
            true => Ok(self.api.parse::<Zone>(&answer)?.rrsets),
            false => Err(self.refused(zone, &answer)),
        }
    }
}

/// The zone that is served: disabled records are not.
fn live(zone: &DomainName, sets: &[RrSet]) -> Live {
    let mut collected = Collected::default();
    for set in sets {
        let kind = Kind::named(&set.kind);
        for record in set.records.iter().filter(|record| !record.disabled) {
            let value = kind.and_then(|kind| master::value(kind, &record.content));
            collected.take(zone, &set.name, &set.kind, (set.ttl, value));
        }
    }
    collected.live()
}

/// What a change writes. A set is written whole, so what somebody disabled in it is written with it.
fn patch(change: &Change, disabled: &HashMap<SetKey, Vec<&Record>>) -> Json {
    let SetKey { name, kind } = &change.key;
    let values = change.after.iter().flat_map(|set| &set.values);
    let records = values.map(|value| json!({ "content": value.to_string(), "disabled": false }));
    let others = disabled.get(&change.key).into_iter().flatten();
    let others = others.map(|record| json!({ "content": record.content, "disabled": true }));
    let records: Vec<Json> = records.chain(others).collect();
    let ttl = change.after.as_ref().or(change.before.as_ref()).map_or(0, |set| set.ttl);
    let what = if records.is_empty() { "DELETE" } else { "REPLACE" };
    json!({ "name": format!("{name}."), "type": kind.name(), "ttl": ttl, "changetype": what, "records": records })
}

#[async_trait]
impl Provider for PowerDns {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        Ok(live(zone, &self.sets(zone).await?))
    }

    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError> {
        if changes.is_empty() {
            return Ok(());
        }
        let sets = self.sets(zone).await?;
        unmoved(&live(zone, &sets), changes)?;
        let mut disabled: HashMap<SetKey, Vec<&Record>> = HashMap::new();
        for set in &sets {
            let key = super::owner(&set.name).zip(Kind::named(&set.kind)).map(|(name, kind)| SetKey { name, kind });
            let Some(key) = key else { continue };
            disabled.entry(key).or_default().extend(set.records.iter().filter(|record| record.disabled));
        }
        // What goes is told first: a CNAME is taken only where nothing stands beside it any more. It is one transaction.
        let (mut going, coming): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|one| one.after.is_none());
        going.extend(coming);
        let rrsets: Vec<Json> = going.into_iter().map(|change| patch(change, &disabled)).collect();
        let path = self.path(zone);
        let answer = self.api.ask(&Ask::send(Method::PATCH, &path, &json!({ "rrsets": rrsets }))).await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(self.refused(zone, &answer)),
        }
    }
}
