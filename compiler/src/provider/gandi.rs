//! Gandi LiveDNS: record sets listed by pages, and each put whole.

use super::http::{Answer, Api, Ask, Pace};
use super::{Collected, Ground, Limits, Provider, ProviderError, in_series, label, one_by_one, unmoved};
use crate::plan::{Change, Live};
use crate::zone::{Kind, master};
use async_trait::async_trait;
use http::{Method, StatusCode};
use schema::name::DomainName;
use schema::spec::DnsToken;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::HashSet;

/// What it can hold.
pub const LIMITS: Limits = Limits { least_ttl: 300, longest_ttl: 2_592_000, ..Limits::dns("Gandi") };
const BASE: &str = "https://api.gandi.net/v5/livedns";
/// 1,000 requests a minute.
const PACE: Pace = Pace { per_second: 15.0, burst: 100.0 };
/// How many sets a page has.
const PAGE: usize = 500;
/// The most pages of one zone.
const MOST_PAGES: usize = 1_000;

/// Gandi.
pub struct Gandi {
    api: Api,
}

#[derive(Debug, Deserialize)]
struct RrSet {
    rrset_name: String,
    rrset_type: String,
    rrset_ttl: u64,
    rrset_values: Vec<String>,
}

impl Gandi {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with the node or its token.
    pub fn new(spec: &DnsToken, ground: &Ground<'_>) -> Result<Gandi, String> {
        let token = ground.secret(&spec.token)?;
        let api = Api::new(&super::base(spec.url.as_ref(), BASE)?, PACE, vec![token.clone()], ground.trust)?;
        Ok(Gandi { api: api.with("authorization", &format!("Bearer {}", token.reveal()))? })
    }

    fn refused(&self, zone: &DomainName, answer: &Answer) -> ProviderError {
        match answer.status {
            StatusCode::NOT_FOUND => ProviderError::Missing(format!("Gandi shows this token no domain `{zone}`")),
            _ => self.api.refused(answer),
        }
    }
}

#[async_trait]
impl Provider for Gandi {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        let path = format!("/domains/{zone}/records");
        let (mut collected, mut seen) = (Collected::default(), HashSet::new());
        for page in 1..=MOST_PAGES {
            let (page, size) = (page.to_string(), PAGE.to_string());
            let answer = self.api.ask(&Ask::get(&path, &[("page", &page), ("per_page", &size)])).await?;
            if !answer.status.is_success() {
                return Err(self.refused(zone, &answer));
            }
            let found: Vec<RrSet> = self.api.parse(&answer)?;
            let count = found.len();
            let mut fresh = false;
            for set in found {
                if !seen.insert((set.rrset_name.clone(), set.rrset_type.clone())) {
                    continue;
                }
                fresh = true;
                let name = if set.rrset_name == "@" { zone.to_string() } else { format!("{}.{zone}", set.rrset_name) };
                let kind = Kind::named(&set.rrset_type);
                for text in &set.rrset_values {
                    let value = kind.and_then(|kind| master::value(kind, text));
                    collected.take(zone, &name, &set.rrset_type, (set.rrset_ttl, value));
                }
            }
            // The last page is not full; a server that knows no pages gives the same again.
            if count != PAGE || !fresh {
                return Ok(collected.live());
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
            let path = format!("/domains/{zone}/records/{}/{}", label(zone, &change.key.name), change.key.kind.name());
            let (method, body) = match &change.after {
                None => (Method::DELETE, Json::Null),
                Some(after) => {
                    let values: Vec<String> = after.values.iter().map(ToString::to_string).collect();
                    (Method::PUT, json!({ "rrset_ttl": after.ttl, "rrset_values": values }))
                }
            };
            let done = match self.api.ask(&Ask::send(method, &path, &body)).await {
                Ok(answer) if answer.status.is_success() => Ok(()),
                Ok(answer) => Err(self.refused(zone, &answer)),
                Err(error) => Err(error),
            };
            in_series(at, done)?;
        }
        Ok(())
    }
}
