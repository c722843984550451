//! Hetzner, by the zones of its Cloud API: record sets listed by pages, and changed one by one, each by an action that is
//! waited for.

use super::http::{Answer, Api, Ask, Pace};
use super::{Collected, Ground, Limits, Provider, ProviderError, in_series, label, one_by_one, unmoved};
use crate::plan::{Change, Live, Set};
use crate::zone::{Kind, master};
use async_trait::async_trait;
use http::{Method, StatusCode};
use schema::name::DomainName;
use schema::spec::DnsToken;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::time::Duration;
use tokio::time::sleep;

/// What it can hold.
pub const LIMITS: Limits = Limits { least_ttl: 60, ..Limits::dns("Hetzner") };
const BASE: &str = "https://api.hetzner.cloud/v1";
/// 3,600 requests an hour, all of which may be made at once.
const PACE: Pace = Pace { per_second: 1.0, burst: 3_000.0 };
/// How many sets a page has.
const PAGE: &str = "50";
/// The most pages of one zone.
const MOST_PAGES: u64 = 4_000;
/// How often an action is looked at until it is done; how long is waited before, twice as long each time, and at most.
const LOOKS: u32 = 120;
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Hetzner.
pub struct Hetzner {
    api: Api,
}

#[derive(Debug, Deserialize)]
struct Page {
    rrsets: Vec<RrSet>,
    meta: Option<Meta>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    pagination: Option<Pagination>,
}

#[derive(Debug, Deserialize)]
struct Pagination {
    next_page: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct RrSet {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    /// Left out: the zone's.
    ttl: Option<u64>,
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
struct Record {
    value: String,
}

#[derive(Debug, Deserialize)]
struct Acted {
    action: Option<Action>,
}

#[derive(Debug, Deserialize)]
struct Action {
    id: u64,
    status: String,
    error: Option<Json>,
}

/// The time to live of a set that says none, where the zone says none either.
const USUAL_TTL: u64 = 3600;

impl Hetzner {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with the node or its token.
    pub fn new(spec: &DnsToken, ground: &Ground<'_>) -> Result<Hetzner, String> {
        let token = ground.secret(&spec.token)?;
        let api = Api::new(&super::base(spec.url.as_ref(), BASE)?, PACE, vec![token.clone()], ground.trust)?;
        Ok(Hetzner { api: api.with("authorization", &format!("Bearer {}", token.reveal()))? })
    }

    fn refused(&self, zone: &DomainName, answer: &Answer) -> ProviderError {
        match answer.status {
            StatusCode::NOT_FOUND => ProviderError::Missing(format!("Hetzner shows this token no zone `{zone}`")),
            _ => self.api.refused(answer),
        }
    }

    /// Makes a change and waits until it is done.
    async fn act(&self, zone: &DomainName, method: Method, path: &str, body: &Json) -> Result<(), ProviderError> {
        let answer = self.api.ask(&Ask::send(method, path, body)).await?;
        if !answer.status.is_success() {
            return Err(self.refused(zone, &answer));
        }
        let mut action = self.api.parse::<Acted>(&answer)?.action;
        let mut pause = PAUSE;
        for _ in 0..LOOKS {
            let Some(at) = action else { return Ok(()) };
            match at.status.as_str() {
                "success" => return Ok(()),
                "error" => {
                    let why = at.error.map_or_else(String::new, |error| error.to_string());
                    return Err(ProviderError::Refused(format!("Hetzner did not do it: {why}")));
                }
                _ => sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            let answer = self.api.ask(&Ask::get(&format!("/actions/{}", at.id), &[])).await?;
            action = self.api.parse::<Acted>(&answer)?.action;
        }
        Err(ProviderError::Unknown("Hetzner has not finished yet".into()))
    }

    async fn change(&self, zone: &DomainName, change: &Change) -> Result<(), ProviderError> {
        let (name, kind) = (label(zone, &change.key.name), change.key.kind.name());
        let sets = format!("/zones/{zone}/rrsets");
        let one = format!("{sets}/{name}/{kind}");
        let records =
            |set: &Set| -> Json { set.values.iter().map(|value| json!({ "value": value.to_string() })).collect() };
        match (&change.before, &change.after) {
            (_, None) => self.act(zone, Method::DELETE, &one, &Json::Null).await,
            (None, Some(after)) => {
                let body = json!({ "name": name, "type": kind, "ttl": after.ttl, "records": records(after) });
                self.act(zone, Method::POST, &sets, &body).await
            }
            (Some(before), Some(after)) => {
                if before.values != after.values {
                    let body = json!({ "records": records(after) });
                    self.act(zone, Method::POST, &format!("{one}/actions/set_records"), &body).await?;
                }
                if before.ttl != after.ttl {
                    let body = json!({ "ttl": after.ttl });
                    self.act(zone, Method::POST, &format!("{one}/actions/change_ttl"), &body).await?;
                }
                Ok(())
            }
        }
    }
}

#[async_trait]
impl Provider for Hetzner {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        let path = format!("/zones/{zone}/rrsets");
        let (mut collected, mut page) = (Collected::default(), 1_u64);
        while page <= MOST_PAGES {
            let number = page.to_string();
            let answer = self.api.ask(&Ask::get(&path, &[("page", &number), ("per_page", PAGE)])).await?;
            if !answer.status.is_success() {
                return Err(self.refused(zone, &answer));
            }
            let found: Page = self.api.parse(&answer)?;
            for set in &found.rrsets {
                let name = if set.name == "@" { zone.to_string() } else { format!("{}.{zone}", set.name) };
                let kind = Kind::named(&set.kind);
                for record in &set.records {
                    let value = kind.and_then(|kind| master::value(kind, &record.value));
                    collected.take(zone, &name, &set.kind, (set.ttl.unwrap_or(USUAL_TTL), value));
                }
            }
            match found.meta.and_then(|meta| meta.pagination?.next_page) {
                Some(next) if next > page => page = next,
                _ => return Ok(collected.live()),
            }
        }
        Err(ProviderError::Refused(format!("`{zone}` has more than {MOST_PAGES} pages of record sets")))
    }

    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError> {
        if changes.is_empty() {
            return Ok(());
        }
        unmoved(&self.read(zone).await?, changes)?;
        for (at, change) in one_by_one(changes).into_iter().enumerate() {
            in_series(at, self.change(zone, change).await)?;
        }
        Ok(())
    }
}
