//! Azure DNS: record sets listed by pages, and each put whole where its tag is the one that was read.

use super::http::{Answer, Api, Ask, Pace};
use super::oauth::{Tokens, form};
use super::{Collected, Ground, Limits, Provider, ProviderError, in_series, label, one_by_one, unmoved};
use crate::plan::{Change, Live, SetKey};
use crate::zone::{Kind, Rdata, master};
use async_trait::async_trait;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderValue, Method, StatusCode};
use schema::name::{DomainName, Secret};
use schema::spec;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::HashMap;

/// What it can hold; the API's stable version has no TLSA.
pub const LIMITS: Limits = Limits {
    least_ttl: 1,
    longest_text: 1024,
    most_values: 20,
    without: &[Kind::Tlsa],
    nowhere: false,
    ..Limits::dns("Azure DNS")
};
/// What a subscription's writes are refilled with, and its bucket; it says itself where a zone wants less.
const PACE: Pace = Pace { per_second: 10.0, burst: 200.0 };
const BASE: &str = "https://management.azure.com";
const LOGIN: &str = "https://login.microsoftonline.com";
const VERSION: &str = "2018-05-01";
/// How many sets a page has.
const PAGE: &str = "500";
/// The most pages of one zone.
const MOST_PAGES: usize = 1_000;

/// Azure DNS.
pub struct Azure {
    api: Api,
    tokens: Tokens,
    client: String,
    secret: Secret,
    scope: String,
    /// `/subscriptions/…/dnsZones`
    zones: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    value: Vec<RecordSet>,
    next_link: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct RecordSet {
    name: String,
    /// `Microsoft.Network/dnszones/A`
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    etag: String,
    #[serde(default)]
    properties: Json,
}

impl RecordSet {
    fn kind(&self) -> &str {
        self.kind.rsplit('/').next().unwrap_or_default()
    }

    fn owner(&self, zone: &DomainName) -> String {
        if self.name == "@" { zone.to_string() } else { format!("{}.{zone}", self.name) }
    }

    /// The values; `None` in the place of one that cannot be understood, or where another resource decides.
    fn values(&self) -> Vec<Option<Rdata>> {
        let Some(kind) = Kind::named(self.kind()) else { return vec![None] };
        let is_alias = self.properties.pointer("/targetResource/id").is_some_and(|id| !id.is_null());
        let member = match kind {
            Kind::A => "ARecords",
            Kind::Aaaa => "AAAARecords",
            Kind::Caa => "caaRecords",
            Kind::Cname => "CNAMERecord",
            Kind::Mx => "MXRecords",
            Kind::Srv => "SRVRecords",
            Kind::Txt => "TXTRecords",
            Kind::Tlsa => "",
        };
        match self.properties.get(member) {
            _ if is_alias => vec![None],
            Some(Json::Array(values)) if !values.is_empty() => values.iter().map(|one| value(kind, one)).collect(),
            Some(one @ Json::Object(_)) => vec![value(kind, one)],
            _ => vec![None],
        }
    }
}

fn value(kind: Kind, json: &Json) -> Option<Rdata> {
    let text = |name: &str| json.get(name)?.as_str();
    let number = |name: &str| json.get(name)?.as_u64();
    let host = |name: &str| Some(format!("{}.", text(name)?.trim_end_matches('.')));
    let master = match kind {
        Kind::A => text("ipv4Address")?.to_owned(),
        Kind::Aaaa => text("ipv6Address")?.to_owned(),
        Kind::Cname => host("cname")?,
        Kind::Mx => format!("{} {}", number("preference")?, host("exchange")?),
        Kind::Srv => format!("{} {} {} {}", number("priority")?, number("weight")?, number("port")?, host("target")?),
        Kind::Caa => {
            let flags = u8::try_from(number("flags")?).ok()?;
            return Some(Rdata::Caa(flags, text("tag")?.to_owned(), text("value")?.to_owned()));
        }
        Kind::Txt => {
            let strings = json.get("value")?.as_array()?.iter().map(Json::as_str).collect::<Option<Vec<_>>>()?;
            return Some(Rdata::Txt(strings.concat()));
        }
        Kind::Tlsa => return None,
    };
    master::value(kind, &master)
}

/// A text in pieces of at most 255 octets, none of which splits a character (RFC 1035 §3.3.14).
fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while rest.len() > 255 {
        let (piece, more) = rest.split_at(rest.floor_char_boundary(255));
        pieces.push(piece);
        rest = more;
    }
    pieces.push(rest);
    pieces
}

/// The member of `properties` that holds values.
fn member(key: &SetKey, values: &[Rdata]) -> Json {
    let host = |name: &Option<DomainName>| name.as_ref().map_or_else(|| ".".to_owned(), |name| format!("{name}."));
    let one = |value: &Rdata| match value {
        Rdata::A(ip) => json!({ "ipv4Address": ip }),
        Rdata::Aaaa(ip) => json!({ "ipv6Address": ip }),
        Rdata::Caa(flags, tag, value) => json!({ "flags": flags, "tag": tag, "value": value }),
        Rdata::Cname(to) => json!({ "cname": format!("{to}.") }),
        Rdata::Mx(preference, to) => json!({ "preference": preference, "exchange": host(to) }),
        Rdata::Srv(priority, weight, port, to) => {
            json!({ "priority": priority, "weight": weight, "port": port, "target": host(to) })
        }
        Rdata::Txt(text) => json!({ "value": pieces(text) }),
        Rdata::Tlsa(..) => Json::Null,
    };
    let all: Vec<Json> = values.iter().map(one).collect();
    match key.kind {
        Kind::A => json!({ "ARecords": all }),
        Kind::Aaaa => json!({ "AAAARecords": all }),
        Kind::Caa => json!({ "caaRecords": all }),
        Kind::Cname => json!({ "CNAMERecord": all.first() }),
        Kind::Mx => json!({ "MXRecords": all }),
        Kind::Srv => json!({ "SRVRecords": all }),
        Kind::Txt => json!({ "TXTRecords": all }),
        Kind::Tlsa => json!({}),
    }
}

impl Azure {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with the node or its secret.
    pub fn new(spec: &spec::Azure, ground: &Ground<'_>) -> Result<Azure, String> {
        for (what, text) in [("subscription", &spec.subscription), ("group", &spec.group), ("tenant", &spec.tenant)] {
            if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.()".contains(c)) {
                return Err(format!("`{what}`: `{}` is none", text.escape_debug()));
            }
        }
        let secret = ground.secret(&spec.secret)?;
        let base = super::base(spec.url.as_ref(), BASE)?;
        let api = Api::new(&base, PACE, vec![secret.clone()], ground.trust)?;
        let login = super::base(spec.login.as_ref(), LOGIN)?;
        let login =
            super::base_url(&format!("{}/{}/oauth2/v2.0/token", login.as_str().trim_end_matches('/'), spec.tenant))?;
        let tokens = Tokens::new(Api::new(&login, PACE, vec![secret.clone()], ground.trust)?);
        let scope = format!("{}/.default", base.as_str().trim_end_matches('/'));
        let zones = format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Network/dnsZones",
            spec.subscription, spec.group
        );
        Ok(Azure { api, tokens, client: spec.client.clone(), secret, scope, zones })
    }

    async fn ask(&self, mut ask: Ask<'_>) -> Result<Answer, ProviderError> {
        let token = self.tokens.header(|| {
            let (client, secret) = (self.client.as_str(), self.secret.reveal());
            let fields = [
                ("grant_type", "client_credentials"),
                ("client_id", client),
                ("client_secret", secret),
                ("scope", &self.scope),
            ];
            // Nothing is changed by it.
            Ok(Ask { method: Method::POST, body: Some(form(&fields)), ..Ask::get("", &[]) })
        });
        ask.headers.extend(token.await?);
        self.api.ask(&ask).await
    }

    fn refused(&self, answer: &Answer) -> ProviderError {
        let error = self.api.refused(answer);
        match answer.status {
            StatusCode::NOT_FOUND => ProviderError::Missing(error.to_string()),
            StatusCode::PRECONDITION_FAILED => ProviderError::Moved(error.to_string()),
            _ => error,
        }
    }

    async fn sets(&self, zone: &DomainName) -> Result<Vec<RecordSet>, ProviderError> {
        let path = format!("{}/{zone}/recordsets", self.zones);
        let mut sets = Vec::new();
        let mut query = vec![("api-version".to_owned(), VERSION.to_owned()), ("$top".to_owned(), PAGE.to_owned())];
        for _ in 0..MOST_PAGES {
            let some: Vec<(&str, &str)> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let answer = self.ask(Ask::get(&path, &some)).await?;
            if !answer.status.is_success() {
                return Err(self.refused(&answer));
            }
            let page: Page = self.api.parse(&answer)?;
            sets.extend(page.value);
            // The same place with another query: whither else a link leads, no token is sent.
            let next = page.next_link.as_deref().filter(|link| !link.is_empty());
            let Some(next) = next.and_then(|link| url::Url::parse(link).ok()) else { return Ok(sets) };
            query = next.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        }
        Err(ProviderError::Refused(format!("`{zone}` has more than {MOST_PAGES} pages of record sets")))
    }

    async fn put(&self, zone: &DomainName, change: &Change, there: Option<&RecordSet>) -> Result<(), ProviderError> {
        let key = &change.key;
        let path = format!("{}/{zone}/{}/{}", self.zones, key.kind.name(), label(zone, &key.name));
        let (method, body) = match &change.after {
            None => (Method::DELETE, Json::Null),
            Some(after) => {
                let mut properties = member(key, &after.values);
                properties["TTL"] = after.ttl.into();
                // What others note beside a set goes where it is not put again.
                if let Some(metadata) = there.and_then(|there| there.properties.get("metadata")) {
                    properties["metadata"] = metadata.clone();
                }
                (Method::PUT, json!({ "properties": properties }))
            }
        };
        let mut ask = Ask::send(method, &path, &body);
        ask.query = &[("api-version", VERSION)];
        let (condition, tag) = there.map_or((IF_NONE_MATCH, "*"), |there| (IF_MATCH, there.etag.as_str()));
        let tag = HeaderValue::from_str(tag).map_err(|_| ProviderError::Unavailable("a tag that is none".into()))?;
        ask.headers.insert(condition, tag);
        let answer = self.ask(ask).await?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refused(&answer)) }
    }
}

fn live(zone: &DomainName, sets: &[RecordSet]) -> Live {
    let mut collected = Collected::default();
    for set in sets {
        let ttl = set.properties.get("TTL").and_then(Json::as_u64).unwrap_or(0);
        for value in set.values() {
            collected.take(zone, &set.owner(zone), set.kind(), (ttl, value));
        }
    }
    collected.live()
}

#[async_trait]
impl Provider for Azure {
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
        let key =
            |set: &RecordSet| Some(SetKey { name: super::owner(&set.owner(zone))?, kind: Kind::named(set.kind())? });
        let there: HashMap<SetKey, &RecordSet> = sets.iter().filter_map(|set| Some((key(set)?, set))).collect();
        for (at, change) in one_by_one(changes).into_iter().enumerate() {
            in_series(at, self.put(zone, change, there.get(&change.key).copied()).await)?;
        }
        Ok(())
    }
}
