//! deSEC: record sets listed by pages, and changed by one request a zone, which is all or nothing there.

use super::http::{Answer, Api, Ask, Pace};
use super::{Collected, Ground, Limits, Provider, ProviderError, label, unmoved};
use crate::plan::{Change, Live};
use crate::zone::{Kind, master};
use async_trait::async_trait;
use http::header::LINK;
use http::{Method, StatusCode};
use schema::name::DomainName;
use schema::spec::DnsToken;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use url::Url;

/// What it can hold, for a domain with the usual `minimum_ttl`.
pub const LIMITS: Limits = Limits { least_ttl: 3600, longest_ttl: 86_400, ..Limits::dns("deSEC") };
const BASE: &str = "https://desec.io/api/v1";
/// Ten requests a second to read; how much may be written it says where that is too much.
const PACE: Pace = Pace { per_second: 8.0, burst: 8.0 };
/// The most pages of one zone, of 500 sets each.
const MOST_PAGES: usize = 1_000;

/// deSEC.
pub struct Desec {
    api: Api,
}

#[derive(Debug, Deserialize)]
struct RrSet {
    subname: String,
    #[serde(rename = "type")]
    kind: String,
    ttl: u64,
    records: Vec<String>,
}

impl Desec {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with the node or its token.
    pub fn new(spec: &DnsToken, ground: &Ground<'_>) -> Result<Desec, String> {
        let token = ground.secret(&spec.token)?;
        let api = Api::new(&super::base(spec.url.as_ref(), BASE)?, PACE, vec![token.clone()], ground.trust)?;
        Ok(Desec { api: api.with("authorization", &format!("Token {}", token.reveal()))? })
    }

    fn refused(&self, zone: &DomainName, answer: &Answer) -> ProviderError {
        match answer.status {
            StatusCode::NOT_FOUND => ProviderError::Missing(format!("deSEC shows this token no domain `{zone}`")),
            _ => self.api.refused(answer),
        }
    }
}

/// The cursor of the next page, as the Link field names it (RFC 8288 §3).
fn next(answer: &Answer) -> Option<String> {
    let links = answer.headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
    let next = links.flat_map(|links| links.split(',')).find(|link| link.contains("rel=\"next\""))?;
    let url = Url::parse(next.split('<').nth(1)?.split('>').next()?).ok()?;
    url.query_pairs().find(|(name, _)| name == "cursor").map(|(_, cursor)| cursor.into_owned())
}

#[async_trait]
impl Provider for Desec {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        let path = format!("/domains/{zone}/rrsets/");
        let (mut collected, mut cursor) = (Collected::default(), String::new());
        for _ in 0..MOST_PAGES {
            let answer = self.api.ask(&Ask::get(&path, &[("cursor", &cursor)])).await?;
            if !answer.status.is_success() {
                return Err(self.refused(zone, &answer));
            }
            for set in self.api.parse::<Vec<RrSet>>(&answer)? {
                let name = if set.subname.is_empty() { zone.to_string() } else { format!("{}.{zone}", set.subname) };
                let kind = Kind::named(&set.kind);
                for text in &set.records {
                    let value = kind.and_then(|kind| master::value(kind, text));
                    collected.take(zone, &name, &set.kind, (set.ttl, value));
                }
            }
            match next(&answer) {
                Some(next) => cursor = next,
                None => return Ok(collected.live()),
            }
        }
        Err(ProviderError::Refused(format!("`{zone}` has more than {MOST_PAGES} pages of record sets")))
    }

    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError> {
        if changes.is_empty() {
            return Ok(());
        }
        unmoved(&self.read(zone).await?, changes)?;
        let sets = changes.iter().map(|change| {
            let after = change.after.as_ref();
            let values: Vec<String> = after.iter().flat_map(|set| &set.values).map(ToString::to_string).collect();
            let subname = label(zone, &change.key.name).replace('@', "");
            let ttl = after.or(change.before.as_ref()).map_or(LIMITS.least_ttl, |set| set.ttl);
            json!({ "subname": subname, "type": change.key.kind.name(), "ttl": ttl, "records": values })
        });
        let body = Json::Array(sets.collect());
        let answer = self.api.ask(&Ask::send(Method::PATCH, &format!("/domains/{zone}/rrsets/"), &body)).await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(self.refused(zone, &answer)),
        }
    }
}
