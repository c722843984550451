//! Cloudflare's API v4: a zone is listed by pages and changed by batches, each of which is one transaction there.
//!
//! Endpoints and credentials are the `cloudflare` crate's. Requests go by [`Api`], since the crate's own client tells
//! neither `Retry-After` nor error codes above 65535, of which DNS has many; and its record types do not know CAA or
//! TLSA, so that a zone which holds one could not be listed.

use super::http::{Answer, Api, Ask, Pace};
use super::{Collected, Ground, Limits, Provider, ProviderError, in_series, unmoved};
use crate::plan::{Change, Live, SetKey};
use crate::zone::{Kind, Rdata, master};
use async_trait::async_trait;
use cloudflare::framework::Environment;
use cloudflare::framework::auth::Credentials;
use cloudflare::framework::endpoint::spec::EndpointSpec;
use cloudflare::framework::endpoint::{Method, RequestBody};
use cloudflare::framework::response::{ApiResult, ApiSuccess};
use reqwest::StatusCode;
use schema::name::DomainName;
use schema::spec;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

/// What it can hold on every plan.
pub const LIMITS: Limits =
    Limits { least_ttl: 60, longest_ttl: 86_400, longest_text: 2048, ..Limits::dns("Cloudflare") };
/// 1,200 requests in five minutes.
const PACE: Pace = Pace { per_second: 4.0, burst: 40.0 };
/// The variable with another base URL, as Cloudflare's own clients have it.
const BASE: &str = "CLOUDFLARE_BASE_URL";
/// How many records a page has.
const PAGE: u64 = 5000;
/// The most pages of one zone.
const MOST_PAGES: u64 = 200;
/// The most records of one batch on the free plan.
const BATCH: usize = 200;
/// What the time to live `1` stands for, in seconds.
const AUTOMATIC: u64 = 300;

/// Cloudflare.
pub struct Cloudflare {
    api: Api,
    account: Option<String>,
    /// The ids of zones that were asked for.
    zones: Mutex<HashMap<DomainName, String>>,
}

/// `GET zones`: the zones of one name.
struct ListZones<'a> {
    name: &'a DomainName,
    account: Option<&'a str>,
}

/// `GET zones/ID/dns_records`.
struct ListRecords<'a> {
    zone: &'a str,
    page: u64,
}

/// `POST zones/ID/dns_records/batch`.
struct Batch<'a> {
    zone: &'a str,
    body: &'a Json,
}

#[derive(Debug, Deserialize)]
struct Found {
    id: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Zones(Vec<Found>);

#[derive(Debug, Deserialize)]
struct Records(Vec<Record>);

/// What a batch made; what it says is read again from the zone.
#[derive(Debug, Deserialize)]
struct Batched {}

impl ApiResult for Zones {}
impl ApiResult for Records {}
impl ApiResult for Batched {}

/// A record of whatever type.
#[derive(Debug, Deserialize)]
struct Record {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    data: Option<Json>,
    #[serde(default)]
    priority: Option<u16>,
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    proxied: bool,
}

impl EndpointSpec for ListZones<'_> {
    type JsonResponse = Zones;
    type ResponseType = ApiSuccess<Zones>;

    fn method(&self) -> Method {
        Method::GET
    }
    fn path(&self) -> String {
        "zones".to_owned()
    }
    fn query(&self) -> Option<String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("name", self.name.as_str()).append_pair("per_page", "50");
        if let Some(account) = self.account {
            query.append_pair("account.id", account);
        }
        Some(query.finish())
    }
}

impl EndpointSpec for ListRecords<'_> {
    type JsonResponse = Records;
    type ResponseType = ApiSuccess<Records>;

    fn method(&self) -> Method {
        Method::GET
    }
    fn path(&self) -> String {
        format!("zones/{}/dns_records", self.zone)
    }
    fn query(&self) -> Option<String> {
        Some(format!("per_page={PAGE}&page={}", self.page))
    }
}

impl EndpointSpec for Batch<'_> {
    type JsonResponse = Batched;
    type ResponseType = ApiSuccess<Batched>;

    fn method(&self) -> Method {
        Method::POST
    }
    fn path(&self) -> String {
        format!("zones/{}/dns_records/batch", self.zone)
    }
    fn body(&self) -> Option<RequestBody<'_>> {
        Some(RequestBody::Json(self.body.to_string()))
    }
}

/// Every answer, its errors with codes of any size.
#[derive(Debug, Deserialize)]
struct Envelope<T> {
    #[serde(default)]
    success: bool,
    #[serde(default = "Vec::new")]
    errors: Vec<Fault>,
    result: Option<T>,
    result_info: Option<Info>,
}

#[derive(Debug, Deserialize)]
struct Fault {
    code: u64,
}

#[derive(Debug, Deserialize)]
struct Info {
    total_pages: Option<u64>,
}

impl Cloudflare {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with the node or its token.
    pub fn new(spec: &spec::Cloudflare, ground: &Ground<'_>) -> Result<Cloudflare, String> {
        let token = ground.secret(&spec.token)?;
        let usual = match std::env::var(BASE) {
            Ok(base) => base,
            Err(_) => Url::from(&Environment::Production).to_string(),
        };
        let base = super::base(spec.url.as_ref(), &usual)?;
        let mut api = Api::new(&base, PACE, vec![token.clone()], ground.trust)?;
        for (name, value) in (Credentials::UserAuthToken { token: token.reveal().to_owned() }).headers() {
            api = api.with(name, &value)?;
        }
        Ok(Cloudflare { api, account: spec.account.clone(), zones: Mutex::default() })
    }

    /// Calls an endpoint: its result, and how many pages there are.
    async fn call<E: EndpointSpec>(&self, endpoint: &E) -> Result<(E::JsonResponse, u64), ProviderError> {
        let query = endpoint.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let path = format!("/{}", endpoint.path());
        let mut ask = Ask::get(&path, &pairs);
        ask.method = endpoint.method();
        if let Some(RequestBody::Json(body)) = endpoint.body() {
            ask.body = Some(("application/json", body.into_bytes()));
            ask.writes = true;
        }
        let answer = self.api.ask(&ask).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        let envelope: Envelope<E::JsonResponse> = self.api.parse(&answer)?;
        match envelope.result.filter(|_| envelope.success) {
            Some(result) => Ok((result, envelope.result_info.and_then(|info| info.total_pages).unwrap_or(1))),
            None => Err(self.refused(&answer)),
        }
    }

    /// What an error means by its codes, in Cloudflare's words.
    fn refused(&self, answer: &Answer) -> ProviderError {
        let envelope: Option<Envelope<Json>> = serde_json::from_slice(&answer.body).ok();
        let codes: Vec<u64> = envelope.iter().flat_map(|envelope| &envelope.errors).map(|fault| fault.code).collect();
        let error = self.api.refused(answer);
        // A record that is gone, and one that is there already: somebody was faster.
        let is_moved = |code: &u64| [81044, 81057, 81058].contains(code);
        let is_missing = |code: &u64| [7000, 7003].contains(code);
        match codes.iter().any(is_moved) {
            true => ProviderError::Moved(error.to_string()),
            false if answer.status == StatusCode::NOT_FOUND || codes.iter().any(is_missing) => {
                ProviderError::Missing(error.to_string())
            }
            false => error,
        }
    }

    /// The id of a zone.
    async fn zone(&self, zone: &DomainName) -> Result<String, ProviderError> {
        if let Some(id) = self.zones.lock().await.get(zone) {
            return Ok(id.clone());
        }
        let (Zones(found), _) = self.call(&ListZones { name: zone, account: self.account.as_deref() }).await?;
        let mut found = found.into_iter().filter(|one| one.name.eq_ignore_ascii_case(zone.as_str()));
        match (found.next(), found.next()) {
            (Some(one), None) if one.id.chars().all(|c| c.is_ascii_alphanumeric()) => {
                self.zones.lock().await.insert(zone.clone(), one.id.clone());
                Ok(one.id)
            }
            (Some(_), None) => Err(ProviderError::Refused(format!("Cloudflare's id of `{zone}` is none"))),
            (None, _) => Err(ProviderError::Missing(format!(
                "Cloudflare shows this token no zone `{zone}`: add the zone there, or let the token read zones and edit DNS"
            ))),
            (Some(_), Some(_)) => Err(ProviderError::Refused(format!(
                "this token sees several zones `{zone}` at Cloudflare: name one by `account=`"
            ))),
        }
    }

    async fn records(&self, zone: &DomainName) -> Result<Vec<Record>, ProviderError> {
        let id = self.zone(zone).await?;
        let (Records(mut records), pages) = self.call(&ListRecords { zone: &id, page: 1 }).await?;
        if pages > MOST_PAGES {
            return Err(ProviderError::Refused(format!("`{zone}` has more than {MOST_PAGES} pages of records")));
        }
        for page in 2..=pages {
            let (Records(more), _) = self.call(&ListRecords { zone: &id, page }).await?;
            records.extend(more);
        }
        // A zone that changes while it is listed may show a record on two pages.
        let mut seen = std::collections::HashSet::new();
        records.retain(|record| seen.insert(record.id.clone()));
        Ok(records)
    }
}

/// The zone of these records. What is behind Cloudflare's proxy has the time to live that the proxy wants.
fn live(zone: &DomainName, records: &[Record]) -> Live {
    let mut collected = Collected::default();
    for record in records {
        let ttl = if record.ttl <= 1 { AUTOMATIC } else { record.ttl };
        let value = Kind::named(&record.kind).and_then(|kind| value(kind, record));
        collected.take(zone, &record.name, &record.kind, (ttl, value));
        if record.proxied {
            collected.automatic(zone, &record.name, &record.kind);
        }
    }
    collected.live()
}

/// A record's value; `None` where it cannot be understood.
fn value(kind: Kind, record: &Record) -> Option<Rdata> {
    let content = record.content.as_deref();
    let number = |name: &str| record.data.as_ref()?.get(name)?.as_u64();
    let text = |name: &str| record.data.as_ref()?.get(name)?.as_str();
    let whole = |host: &str| format!("{}.", host.trim_end_matches('.'));
    let master = match kind {
        Kind::A | Kind::Aaaa => content?.to_owned(),
        Kind::Cname => whole(content?),
        Kind::Mx => format!("{} {}", record.priority?, whole(content?)),
        // Quoted strings, or plain.
        Kind::Txt => match content?.starts_with('"') {
            true => content?.to_owned(),
            false => return Some(Rdata::Txt(content?.to_owned())),
        },
        Kind::Caa => match text("value") {
            Some(value) => {
                let tag = text("tag")?.to_ascii_lowercase();
                return Some(Rdata::Caa(u8::try_from(number("flags")?).ok()?, tag, value.to_owned()));
            }
            None => content?.to_owned(),
        },
        Kind::Srv => {
            let priority = number("priority").or(record.priority.map(u64::from))?;
            format!("{priority} {} {} {}", number("weight")?, number("port")?, whole(text("target")?))
        }
        Kind::Tlsa => match text("certificate") {
            Some(hex) => format!("{} {} {} {hex}", number("usage")?, number("selector")?, number("matching_type")?),
            None => content?.to_owned(),
        },
    };
    master::value(kind, &master)
}

/// The longest string of a TXT record (RFC 1035 §3.3).
const STRING: usize = 255;

/// A text in quoted strings. Characters beyond ASCII stay as they are, and whole: escapes of octets are not documented.
fn strings(text: &str) -> String {
    let (mut strings, mut rest) = (Vec::new(), text);
    loop {
        let (string, more) = rest.split_at(rest.floor_char_boundary(STRING));
        strings.push(format!("\"{}\"", string.replace('\\', "\\\\").replace('"', "\\\"")));
        rest = more;
        if rest.is_empty() {
            return strings.join(" ");
        }
    }
}

/// The fields of a record with a value.
fn fields(key: &SetKey, ttl: u64, value: &Rdata) -> Map<String, Json> {
    let host = |name: Option<&DomainName>| name.map_or(".", DomainName::as_str).to_owned();
    let own = match value {
        Rdata::A(_) | Rdata::Aaaa(_) => json!({ "content": value.to_string() }),
        Rdata::Cname(to) => json!({ "content": to.as_str() }),
        Rdata::Mx(preference, to) => json!({ "content": host(to.as_ref()), "priority": preference }),
        Rdata::Txt(text) => json!({ "content": strings(text) }),
        Rdata::Caa(flags, tag, value) => json!({ "data": { "flags": flags, "tag": tag, "value": value } }),
        Rdata::Srv(priority, weight, port, to) => json!({
            "data": { "priority": priority, "weight": weight, "port": port, "target": host(to.as_ref()) },
        }),
        Rdata::Tlsa(usage, selector, matching, data) => {
            let hex: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
            let data = json!({ "usage": usage, "selector": selector, "matching_type": matching, "certificate": hex });
            json!({ "data": data })
        }
    };
    let mut fields = Map::new();
    fields.insert("name".into(), key.name.as_str().into());
    fields.insert("type".into(), key.kind.name().into());
    fields.insert("ttl".into(), ttl.into());
    if let Json::Object(own) = own {
        fields.extend(own);
    }
    fields
}

/// Operations of one batch, in the order that Cloudflare carries them out.
#[derive(Debug, Default)]
struct Operations {
    deletes: Vec<Json>,
    patches: Vec<Json>,
    posts: Vec<Json>,
}

impl Operations {
    fn len(&self) -> usize {
        self.deletes.len() + self.patches.len() + self.posts.len()
    }

    /// What makes a set what it is to be: records that stand are changed in place, so that it is never empty.
    fn change(&mut self, change: &Change, records: &[(&Record, Rdata)]) {
        let wanted = change.after.iter().flat_map(|set| &set.values);
        let ttl = change.after.as_ref().map_or(0, |set| set.ttl);
        let (mut stays, mut free): (Vec<&Rdata>, Vec<&Record>) = (Vec::new(), Vec::new());
        for (record, value) in records {
            if !change.after.as_ref().is_some_and(|set| set.values.contains(value)) || stays.contains(&value) {
                free.push(record);
                continue;
            }
            stays.push(value);
            if record.ttl != ttl && !record.proxied {
                self.patches.push(json!({ "id": record.id, "ttl": ttl }));
            }
        }
        let mut free = free.into_iter();
        for value in wanted.filter(|value| !stays.contains(value)) {
            let mut fields = fields(&change.key, ttl, value);
            let Some(record) = free.next() else {
                self.posts.push(Json::Object(fields));
                continue;
            };
            fields.insert("id".into(), record.id.as_str().into());
            if record.proxied {
                fields.remove("ttl");
            }
            self.patches.push(Json::Object(fields));
        }
        self.deletes.extend(free.map(|record| json!({ "id": record.id })));
    }

    /// What fits into one batch of what comes next. What does not fit into one adds first, and then removes.
    fn next(&mut self) -> Json {
        let mut room = BATCH;
        let mut some = |list: &mut Vec<Json>| {
            let some: Vec<Json> = list.drain(..list.len().min(room)).collect();
            room -= some.len();
            some
        };
        let (patches, posts) = (some(&mut self.patches), some(&mut self.posts));
        json!({ "deletes": some(&mut self.deletes), "patches": patches, "posts": posts })
    }
}

#[async_trait]
impl Provider for Cloudflare {
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
        let mut sets: HashMap<SetKey, Vec<(&Record, Rdata)>> = HashMap::new();
        for record in &records {
            let key = super::owner(&record.name).zip(Kind::named(&record.kind));
            let Some(key) = key.map(|(name, kind)| SetKey { name, kind }) else { continue };
            let value = value(key.kind, record);
            sets.entry(key).or_default().extend(value.map(|value| (record, value)));
        }
        // What takes a CNAME's place, or makes room for one, is one batch with it.
        let mut batches: Vec<Operations> = Vec::new();
        for name in super::by_name(changes) {
            let mut own = Operations::default();
            for change in name {
                own.change(change, sets.get(&change.key).map_or(&[], Vec::as_slice));
            }
            match batches.last_mut().filter(|batch| batch.len() + own.len() <= BATCH) {
                Some(batch) => {
                    batch.deletes.append(&mut own.deletes);
                    batch.patches.append(&mut own.patches);
                    batch.posts.append(&mut own.posts);
                }
                None => batches.push(own),
            }
        }
        let id = self.zone(zone).await?;
        let mut sent = 0;
        for mut batch in batches {
            while batch.len() > 0 {
                let body = batch.next();
                in_series(sent, self.call(&Batch { zone: &id, body: &body }).await)?;
                sent += 1;
            }
        }
        Ok(())
    }
}
