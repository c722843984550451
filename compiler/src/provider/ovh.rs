//! OVHcloud: records are listed by their numbers, and each is read, made, changed in its place or removed by a request of
//! its own, which is signed. What is changed is served after a refresh of the zone.

use super::http::{Answer, Api, Ask, Pace, seconds};
use super::{Collected, Ground, Limits, Provider, ProviderError, in_series, label, one_by_one, unmoved};
use crate::plan::{Change, Live, SetKey};
use crate::zone::{Kind, Rdata, master};
use async_trait::async_trait;
use aws_lc_rs::digest;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use schema::name::{DomainName, Secret};
use schema::spec;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;

/// What it can hold.
pub const LIMITS: Limits = Limits { least_ttl: 60, ..Limits::dns("OVHcloud") };
/// None is documented; each record is a request.
const PACE: Pace = Pace { per_second: 40.0, burst: 200.0 };
const BASE: &str = "https://eu.api.ovh.com/1.0";
/// How many records are asked for at once.
const AT_ONCE: usize = 8;
/// The most records of one zone.
const MOST_RECORDS: usize = 20_000;
/// The time to live of a record that has none of its own, in seconds.
const USUAL_TTL: u64 = 3600;

/// OVHcloud.
pub struct Ovh {
    api: Api,
    key: Secret,
    secret: Secret,
    consumer: Secret,
    /// How far their clock is before ours, in seconds.
    ahead: OnceCell<i64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    id: u64,
    #[serde(default)]
    sub_domain: Option<String>,
    field_type: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    ttl: Option<u64>,
}

impl Record {
    /// The record's type in DNS: some of its own names are forms for TXT.
    fn kind(&self) -> &str {
        match self.field_type.as_str() {
            "SPF" | "DKIM" | "DMARC" => "TXT",
            other => other,
        }
    }

    fn owner(&self, zone: &DomainName) -> String {
        match self.sub_domain.as_deref() {
            None | Some("" | "@") => zone.to_string(),
            Some(below) => format!("{below}.{zone}"),
        }
    }

    fn ttl(&self) -> u64 {
        self.ttl.filter(|ttl| *ttl > 0).unwrap_or(USUAL_TTL)
    }

    fn value(&self, zone: &DomainName) -> Option<Rdata> {
        let kind = Kind::named(self.kind())?;
        let target = self.target.trim();
        match kind {
            // Given without quotes it is shown so, too.
            Kind::Txt if !target.starts_with('"') => Some(Rdata::Txt(self.target.clone())),
            // A name without its final dot is one below the zone.
            Kind::Cname | Kind::Mx | Kind::Srv if !target.ends_with('.') => {
                master::value(kind, &format!("{target}.{zone}."))
            }
            _ => master::value(kind, target),
        }
    }
}

impl Ovh {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with the node or its keys.
    pub fn new(spec: &spec::Ovh, ground: &Ground<'_>) -> Result<Ovh, String> {
        let secret = |reference| ground.secret(reference);
        let (key, consumer) = (secret(&spec.application_key)?, secret(&spec.consumer_key)?);
        let own = secret(&spec.application_secret)?;
        let secrets = vec![key.clone(), own.clone(), consumer.clone()];
        let api = Api::new(&super::base(spec.url.as_ref(), BASE)?, PACE, secrets, ground.trust)?;
        Ok(Ovh { api, key, secret: own, consumer, ahead: OnceCell::new() })
    }

    async fn ask(&self, mut ask: Ask<'_>) -> Result<Answer, ProviderError> {
        let ahead = self.ahead.get_or_try_init(|| async {
            let answer = self.api.ask(&Ask::get("/auth/time", &[])).await?;
            Ok::<_, ProviderError>(self.api.parse::<i64>(&answer)? - seconds())
        });
        let time = (seconds() + ahead.await?).to_string();
        ask.headers = self.signed(&ask, &time).map_err(ProviderError::Refused)?;
        self.api.ask(&ask).await
    }

    /// A digest over the request and two secrets.
    fn signed(&self, ask: &Ask<'_>, time: &str) -> Result<HeaderMap, String> {
        let body = ask.body.as_ref().map_or(&[][..], |(_, body)| body);
        let body = String::from_utf8_lossy(body);
        let url = self.api.url(ask);
        let (secret, consumer) = (self.secret.reveal(), self.consumer.reveal());
        let text = [secret, consumer, ask.method.as_str(), url.as_str(), &body, time].join("+");
        let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let sum: String = sum.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ovh-application", self.key.reveal()),
            ("x-ovh-consumer", consumer),
            ("x-ovh-timestamp", time),
            ("x-ovh-signature", &format!("$1${sum}")),
        ] {
            let mut value = HeaderValue::from_str(value).map_err(|_| "a key has characters that no key has")?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }

    fn refused(&self, zone: &DomainName, answer: &Answer) -> ProviderError {
        match answer.status {
            StatusCode::NOT_FOUND => ProviderError::Missing(format!("OVHcloud shows this key no zone `{zone}`")),
            _ => self.api.refused(answer),
        }
    }

    async fn records(&self, zone: &DomainName) -> Result<Vec<Record>, ProviderError> {
        let path = format!("/domain/zone/{zone}/record");
        let answer = self.ask(Ask::get(&path, &[])).await?;
        if !answer.status.is_success() {
            return Err(self.refused(zone, &answer));
        }
        let ids: Vec<u64> = self.api.parse(&answer)?;
        if ids.len() > MOST_RECORDS {
            return Err(ProviderError::Refused(format!("`{zone}` has more than {MOST_RECORDS} records")));
        }
        let one = |id: u64| {
            let path = format!("{path}/{id}");
            async move {
                let answer = self.ask(Ask::get(&path, &[])).await?;
                match answer.status {
                    // Somebody removed it meanwhile.
                    StatusCode::NOT_FOUND => Ok(None),
                    _ => self.api.parse::<Record>(&answer).map(Some),
                }
            }
        };
        let read: Vec<Option<Record>> = stream::iter(ids).map(one).buffered(AT_ONCE).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn send(&self, zone: &DomainName, method: Method, path: &str, body: &Json) -> Result<(), ProviderError> {
        let path = format!("/domain/zone/{zone}{path}");
        let answer = self.ask(Ask::send(method, &path, body)).await?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refused(zone, &answer)) }
    }

    /// Makes a set what it is to be: records that stand are changed in their place, and what is too many goes last.
    async fn change(
        &self,
        zone: &DomainName,
        change: &Change,
        there: &[(u64, Rdata, u64)],
    ) -> Result<(), ProviderError> {
        let wanted = change.after.as_ref();
        let ttl = wanted.map_or(0, |set| set.ttl);
        let is_wanted = |value: &Rdata| wanted.is_some_and(|set| set.values.contains(value));
        let below = label(zone, &change.key.name);
        let below = if below == "@" { "" } else { &below };
        let mut free = there.iter().filter(|(_, value, _)| !is_wanted(value)).map(|(id, ..)| *id);
        for value in wanted.iter().flat_map(|set| &set.values) {
            let mut body = json!({ "subDomain": below, "target": value.to_string(), "ttl": ttl });
            let stands = there.iter().find(|(_, one, _)| one == value);
            let id = match stands {
                Some((.., was)) if *was == ttl => continue,
                Some((id, ..)) => Some(*id),
                None => free.next(),
            };
            match id {
                Some(id) => self.send(zone, Method::PUT, &format!("/record/{id}"), &body).await?,
                None => {
                    body["fieldType"] = change.key.kind.name().into();
                    self.send(zone, Method::POST, "/record", &body).await?;
                }
            }
        }
        for id in free {
            self.send(zone, Method::DELETE, &format!("/record/{id}"), &Json::Null).await?;
        }
        Ok(())
    }
}

fn live(zone: &DomainName, records: &[Record]) -> Live {
    let mut collected = Collected::default();
    for record in records {
        collected.take(zone, &record.owner(zone), record.kind(), (record.ttl(), record.value(zone)));
    }
    collected.live()
}

#[async_trait]
impl Provider for Ovh {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        Ok(live(zone, &self.records(zone).await?))
    }

    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError> {
        if !changes.is_empty() {
            let records = self.records(zone).await?;
            unmoved(&live(zone, &records), changes)?;
            let key = |record: &Record| {
                Some(SetKey { name: super::owner(&record.owner(zone))?, kind: Kind::named(record.kind())? })
            };
            for (at, change) in one_by_one(changes).into_iter().enumerate() {
                let there = records.iter().filter(|record| key(record).as_ref() == Some(&change.key));
                let there = there.filter_map(|record| Some((record.id, record.value(zone)?, record.ttl())));
                in_series(at, self.change(zone, change, &there.collect::<Vec<_>>()).await)?;
            }
        }
        // Also after a run that was cut off before it.
        match self.send(zone, Method::POST, "/refresh", &Json::Null).await {
            Err(ProviderError::Unknown(why)) => Err(ProviderError::Unserved(why)),
            done => done,
        }
    }
}
