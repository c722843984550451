//! DigitalOcean: records listed by pages, each made, changed in its place, or removed by a request of its own.

use super::http::{Answer, Api, Ask, Pace};
use super::{Collected, Ground, Limits, Provider, ProviderError, in_series, label, one_by_one, unmoved};
use crate::plan::{Change, Live, SetKey};
use crate::zone::{Kind, Rdata, master};
use async_trait::async_trait;
use http::{Method, StatusCode};
use schema::name::DomainName;
use schema::spec::DnsToken;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// What it can hold.
pub const LIMITS: Limits = Limits {
    least_ttl: 30,
    longest_text: 500,
    without: &[Kind::Tlsa],
    nowhere: false,
    odd: false,
    ..Limits::dns("DigitalOcean")
};
const BASE: &str = "https://api.digitalocean.com/v2";
/// 250 requests a minute, 5,000 an hour.
const PACE: Pace = Pace { per_second: 1.3, burst: 200.0 };
/// How many records a page has.
const PAGE: &str = "200";
/// The most pages of one zone.
const MOST_PAGES: usize = 1_000;

/// DigitalOcean.
pub struct DigitalOcean {
    api: Api,
}

#[derive(Debug, Deserialize)]
struct Page {
    domain_records: Vec<Record>,
    #[serde(default)]
    links: Json,
}

#[derive(Debug, Deserialize)]
struct Record {
    id: u64,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    data: String,
    priority: Option<u16>,
    port: Option<u16>,
    weight: Option<u16>,
    flags: Option<u8>,
    tag: Option<String>,
    #[serde(default)]
    ttl: u64,
}

impl DigitalOcean {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with the node or its token.
    pub fn new(spec: &DnsToken, ground: &Ground<'_>) -> Result<DigitalOcean, String> {
        let token = ground.secret(&spec.token)?;
        let api = Api::new(&super::base(spec.url.as_ref(), BASE)?, PACE, vec![token.clone()], ground.trust)?;
        Ok(DigitalOcean { api: api.with("authorization", &format!("Bearer {}", token.reveal()))? })
    }

    fn refused(&self, zone: &DomainName, answer: &Answer) -> ProviderError {
        match answer.status {
            StatusCode::NOT_FOUND => {
                ProviderError::Missing(format!("DigitalOcean shows this token no domain `{zone}`"))
            }
            _ => self.api.refused(answer),
        }
    }

    async fn records(&self, zone: &DomainName) -> Result<Vec<Record>, ProviderError> {
        let path = format!("/domains/{zone}/records");
        let mut records = Vec::new();
        for page in 1..=MOST_PAGES {
            let page = page.to_string();
            let answer = self.api.ask(&Ask::get(&path, &[("page", &page), ("per_page", PAGE)])).await?;
            if !answer.status.is_success() {
                return Err(self.refused(zone, &answer));
            }
            let found: Page = self.api.parse(&answer)?;
            records.extend(found.domain_records);
            if found.links.pointer("/pages/next").is_none() {
                return Ok(records);
            }
        }
        Err(ProviderError::Refused(format!("`{zone}` has more than {MOST_PAGES} pages of records")))
    }

    async fn send(&self, zone: &DomainName, method: Method, path: &str, body: &Json) -> Result<(), ProviderError> {
        let answer = self.api.ask(&Ask::send(method, path, body)).await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(self.refused(zone, &answer)),
        }
    }

    /// Makes a set what it is to be: records that stand are changed in their place, and what is too many goes last.
    async fn change(&self, zone: &DomainName, change: &Change, there: &[(u64, Rdata)]) -> Result<(), ProviderError> {
        let path = format!("/domains/{zone}/records");
        let wanted = change.after.as_ref();
        let ttl = wanted.map_or(0, |set| set.ttl);
        let is_wanted = |value: &Rdata| wanted.is_some_and(|set| set.values.contains(value));
        let was = change.before.as_ref().map_or(0, |set| set.ttl);
        let mut free = there.iter().filter(|(_, value)| !is_wanted(value)).map(|(id, _)| *id);
        for value in wanted.iter().flat_map(|set| &set.values) {
            let body = fields(zone, &change.key, ttl, value);
            match there.iter().find(|(_, one)| one == value) {
                Some(_) if was == ttl => {}
                Some((id, _)) => self.send(zone, Method::PUT, &format!("{path}/{id}"), &body).await?,
                None => match free.next() {
                    Some(id) => self.send(zone, Method::PUT, &format!("{path}/{id}"), &body).await?,
                    None => self.send(zone, Method::POST, &path, &body).await?,
                },
            }
        }
        for id in free {
            self.send(zone, Method::DELETE, &format!("{path}/{id}"), &Json::Null).await?;
        }
        Ok(())
    }
}

/// A record's value; `None` where it cannot be understood.
fn value(zone: &DomainName, kind: Kind, record: &Record) -> Option<Rdata> {
    // `@` is the zone itself.
    let host = if record.data == "@" { format!("{zone}.") } else { format!("{}.", record.data.trim_end_matches('.')) };
    let text = match kind {
        Kind::Txt => return Some(Rdata::Txt(record.data.clone())),
        Kind::Caa => {
            let value = record.data.trim_end_matches('.').to_owned();
            return Some(Rdata::Caa(record.flags?, record.tag.clone()?, value));
        }
        Kind::A | Kind::Aaaa => record.data.clone(),
        Kind::Cname => host,
        Kind::Mx => format!("{} {host}", record.priority?),
        Kind::Srv => format!("{} {} {} {host}", record.priority?, record.weight?, record.port?),
        Kind::Tlsa => return None,
    };
    master::value(kind, &text)
}

fn fields(zone: &DomainName, key: &SetKey, ttl: u64, value: &Rdata) -> Json {
    let host = |name: Option<&DomainName>| name.map_or_else(|| ".".to_owned(), |name| format!("{name}."));
    let own = match value {
        Rdata::Txt(text) => json!({ "data": text }),
        Rdata::Caa(flags, tag, value) => json!({ "data": format!("{value}."), "flags": flags, "tag": tag }),
        Rdata::Mx(preference, to) => json!({ "data": host(to.as_ref()), "priority": preference }),
        Rdata::Srv(priority, weight, port, to) => {
            json!({ "data": host(to.as_ref()), "priority": priority, "weight": weight, "port": port })
        }
        other => json!({ "data": other.to_string() }),
    };
    let mut fields = Map::new();
    fields.insert("type".into(), key.kind.name().into());
    fields.insert("name".into(), label(zone, &key.name).into());
    fields.insert("ttl".into(), ttl.into());
    if let Json::Object(own) = own {
        fields.extend(own);
    }
    Json::Object(fields)
}

/// The owner of a record, whole.
fn name(zone: &DomainName, record: &Record) -> String {
    if record.name == "@" { zone.to_string() } else { format!("{}.{zone}", record.name) }
}

fn live(zone: &DomainName, records: &[Record]) -> Live {
    let mut collected = Collected::default();
    for record in records {
        let value = Kind::named(&record.kind).and_then(|kind| value(zone, kind, record));
        collected.take(zone, &name(zone, record), &record.kind, (record.ttl, value));
    }
    collected.live()
}

#[async_trait]
impl Provider for DigitalOcean {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        Ok(live(zone, &self.records(zone).await?))
    }

    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError> {
        if changes.is_empty() {
            return Ok(());
        }
        let records = self.records(zone).await?;
        unmoved(&live(zone, &records), changes)?;
        for (at, change) in one_by_one(changes).into_iter().enumerate() {
            let of = |record: &&Record| {
                Kind::named(&record.kind) == Some(change.key.kind)
                    && super::owner(&name(zone, record)).as_ref() == Some(&change.key.name)
            };
            let there = records.iter().filter(of);
            let there = there.filter_map(|record| Some((record.id, value(zone, change.key.kind, record)?)));
            in_series(at, self.change(zone, change, &there.collect::<Vec<_>>()).await)?;
        }
        Ok(())
    }
}
