//! A server that speaks Cloudflare's API v4 for DNS as its documentation has it, with the faults that the real one has.

use crate::contract::Fault;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use compiler::zone::{Kind, Rdata, master};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

/// The token that it takes.
pub const TOKEN: &str = "cloudflare-token-of-the-test-0123456789";
/// The account that the zones belong to.
pub const ACCOUNT: &str = "023e105f4ecef8ad9ca31a8372d0c353";
/// Of the free plan.
const BATCH: usize = 200;
const LARGEST: usize = 16 << 20;

/// What the server knows.
#[derive(Debug, Default)]
pub struct Site {
    /// Zone names by id.
    zones: BTreeMap<String, String>,
    /// Records by zone id, in the order in which they were made.
    records: BTreeMap<String, Vec<Map<String, Json>>>,
    made: u64,
    /// The most records of a page.
    page: usize,
    /// What happens to what is written next.
    pub faults: VecDeque<Fault>,
    /// Method and path of every request.
    pub asked: Vec<String>,
}

/// A running server; ends when dropped.
pub struct Cloudflare {
    /// What it knows.
    pub site: Arc<Mutex<Site>>,
    /// Where it answers.
    pub url: String,
    runtime: Option<Runtime>,
}

type Refusal = (StatusCode, u64, String);

fn no<T>(status: u16, code: u64, says: &str) -> Result<T, Refusal> {
    Err((StatusCode::from_u16(status).unwrap(), code, says.to_owned()))
}

impl Cloudflare {
    /// Serves these zones, with an address for `ns1` and a record of a type that nobody expects.
    pub fn start(zones: &[&str]) -> Cloudflare {
        let mut site = Site { page: 500, ..Site::default() };
        for (n, zone) in zones.iter().enumerate() {
            let id = format!("{:032x}", 0x2000 + n);
            site.zones.insert(id.clone(), (*zone).to_owned());
            site.records.insert(id.clone(), Vec::new());
            for record in [
                json!({ "type": "A", "name": format!("ns1.{zone}"), "content": "127.0.0.1", "ttl": 3600 }),
                json!({ "type": "FUTURE", "name": format!("new.{zone}"), "content": "?", "data": { "x": [1] }, "ttl": 1 }),
            ] {
                site.create(&id, record).unwrap();
            }
        }
        let site = Arc::new(Mutex::new(site));
        let runtime = Runtime::new().unwrap();
        let (tx, rx) = std::sync::mpsc::channel::<SocketAddr>();
        let shared = Arc::clone(&site);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tx.send(listener.local_addr().unwrap()).unwrap();
            let app = axum::Router::new().fallback(move |request: Request| answer(Arc::clone(&shared), request));
            axum::serve(listener, app).await.unwrap();
        });
        let address = rx.recv().unwrap();
        Cloudflare { site, url: format!("http://{address}/client/v4"), runtime: Some(runtime) }
    }

    /// Adds a record to the first zone, as somebody does by hand.
    pub fn add(&self, record: Json) {
        let mut site = self.site.lock().unwrap();
        let id = site.zones.keys().next().unwrap().clone();
        site.create(&id, record).unwrap();
    }

    /// The records of a name and type, as they are stored.
    pub fn stored(&self, name: &str, kind: &str) -> Vec<Map<String, Json>> {
        let site = self.site.lock().unwrap();
        site.records.values().flatten().filter(|one| one["name"] == name && one["type"] == kind).cloned().collect()
    }

    /// How often something was asked, by how its method and path begin.
    pub fn count(&self, begins: &str) -> usize {
        self.site.lock().unwrap().asked.iter().filter(|asked| asked.starts_with(begins)).count()
    }
}

impl Drop for Cloudflare {
    fn drop(&mut self) {
        // A runtime cannot wait for its end within another one.
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn answer(site: Arc<Mutex<Site>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await.unwrap_or_default();
    let path = parts.uri.path().trim_start_matches("/client/v4").to_owned();
    let (reply, fault) = {
        let mut site = site.lock().unwrap();
        site.asked.push(format!("{} {path}", parts.method));
        let token = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let writes = parts.method != Method::GET;
        let fault = if writes { site.faults.pop_front() } else { None };
        let reply = match token.strip_prefix("Bearer ") {
            Some(TOKEN) if fault == Some(Fault::TooFast) => no(429, 971, "Please wait and consider throttling"),
            Some(TOKEN) => {
                let query = parts.uri.query().unwrap_or_default();
                let query = url_pairs(query);
                let body = if body.is_empty() { Ok(Json::Null) } else { serde_json::from_slice(&body) };
                match body {
                    Ok(body) => site.route(&parts.method, &path, &query, body),
                    Err(_) => no(400, 9207, "Request body is invalid."),
                }
            }
            // As APIs do that mean to help.
            Some(other) => no(403, 9109, &format!("Invalid access token: {other}")),
            None => no(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers"),
        };
        (reply, fault)
    };
    match fault {
        Some(Fault::Mute) => std::future::pending().await,
        Some(Fault::Broken) => return Response::builder().status(502).body(Body::from("error code: 502")).unwrap(),
        _ => {}
    }
    let (status, body) = match reply {
        Ok((result, info)) => (
            StatusCode::OK,
            json!({ "success": true, "errors": [], "messages": [], "result": result, "result_info": info, "unheard": 1 }),
        ),
        Err((status, code, says)) => {
            let error =
                json!({ "code": code, "message": says, "documentation_url": "https://developers.cloudflare.com" });
            (status, json!({ "success": false, "errors": [error], "messages": [], "result": null }))
        }
    };
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if status == StatusCode::TOO_MANY_REQUESTS {
        response = response.header("retry-after", "1");
    }
    response.body(Body::from(body.to_string())).unwrap()
}

fn url_pairs(query: &str) -> BTreeMap<String, String> {
    let plain = |text: &str| text.replace("%2E", ".").replace("%2A", "*").replace('+', " ");
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (plain(name), plain(value))).collect()
}

type Page = (Json, Option<Json>);

fn page(all: Vec<Json>, query: &BTreeMap<String, String>, (usual, most): (usize, usize)) -> Page {
    let number = |name: &str, usual: usize| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(usual).max(1);
    let (page, size) = (number("page", 1), number("per_page", usual).min(most));
    let total = all.len();
    let some: Vec<Json> = all.into_iter().skip((page - 1) * size).take(size).collect();
    let info = json!({
        "page": page, "per_page": size, "count": some.len(), "total_count": total, "total_pages": total.div_ceil(size),
    });
    (some.into(), Some(info))
}

impl Site {
    fn route(
        &mut self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        body: Json,
    ) -> Result<Page, Refusal> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let one = |record: Map<String, Json>| Ok((Json::Object(record), None));
        if let ["zones", zone, ..] = parts.as_slice()
            && !self.zones.contains_key(*zone)
        {
            let says = format!("Could not route to {path}, perhaps your object identifier is invalid?");
            return no(404, 7003, &says);
        }
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["zones"]) => {
                let is_meant = |(_, name): &(&String, &String)| query.get("name").is_none_or(|wanted| wanted == *name);
                let account = query.get("account.id").is_none_or(|account| account == ACCOUNT);
                let zones = self.zones.iter().filter(|zone| account && is_meant(zone));
                let zones = zones.map(|(id, name)| {
                    json!({
                        "id": id, "name": name, "status": "active", "type": "full", "paused": false,
                        "account": { "id": ACCOUNT, "name": "test" }, "plan": { "id": "0", "legacy_id": "free", "name": "Free" },
                        "name_servers": ["ada.ns.cloudflare.com", "ben.ns.cloudflare.com"], "meta": { "step": 2 },
                    })
                });
                Ok(page(zones.collect(), query, (20, 50)))
            }
            ("GET", ["zones", zone, "dns_records"]) => {
                let is_meant = |record: &&Map<String, Json>| {
                    ["type", "name"]
                        .iter()
                        .all(|field| query.get(*field).is_none_or(|wanted| record[*field] == **wanted))
                };
                let records = self.records[*zone].iter().filter(is_meant).cloned().map(Json::Object);
                Ok(page(records.collect(), query, (100, self.page)))
            }
            ("POST", ["zones", zone, "dns_records"]) => one(self.create(zone, body)?),
            ("POST", ["zones", zone, "dns_records", "batch"]) => {
                let before = self.records.clone();
                let done = self.batch(zone, &body);
                if done.is_err() {
                    self.records = before;
                }
                done
            }
            ("GET", ["zones", zone, "dns_records", id]) => match self.at(zone, id) {
                Ok(at) => one(self.records[*zone][at].clone()),
                Err(error) => Err(error),
            },
            ("PUT" | "PATCH", ["zones", zone, "dns_records", id]) => {
                one(self.update(zone, id, &body, method == "PUT")?)
            }
            ("DELETE", ["zones", zone, "dns_records", id]) => {
                let at = self.at(zone, id)?;
                self.records.get_mut(*zone).unwrap().remove(at);
                Ok((json!({ "id": id }), None))
            }
            // Without rules of either kind.
            ("GET", ["zones", _, "pagerules" | "rulesets"]) => Ok((json!([]), None)),
            _ => no(400, 7000, &format!("No route for that URI: {method} {path}")),
        }
    }

    fn batch(&mut self, zone: &str, body: &Json) -> Result<Page, Refusal> {
        let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
        let (deletes, patches, puts, posts) = (list("deletes"), list("patches"), list("puts"), list("posts"));
        if deletes.len() + patches.len() + puts.len() + posts.len() > BATCH {
            return no(400, 9300, "The batch has more operations than your plan allows.");
        }
        let mut done: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
        for one in deletes {
            let at = self.at(zone, one["id"].as_str().unwrap_or_default())?;
            done.entry("deletes").or_default().push(Json::Object(self.records.get_mut(zone).unwrap().remove(at)));
        }
        for (what, list) in [("patches", patches), ("puts", puts)] {
            for one in list {
                let updated = self.update(zone, one["id"].as_str().unwrap_or_default(), &one, what == "puts")?;
                done.entry(what).or_default().push(Json::Object(updated));
            }
        }
        for one in posts {
            let made = self.create(zone, one)?;
            done.entry("posts").or_default().push(Json::Object(made));
        }
        Ok((json!(done), None))
    }

    fn at(&self, zone: &str, id: &str) -> Result<usize, Refusal> {
        match self.records[zone].iter().position(|record| record["id"] == id) {
            Some(at) => Ok(at),
            None => no(404, 81044, "Record does not exist."),
        }
    }

    fn create(&mut self, zone: &str, given: Json) -> Result<Map<String, Json>, Refusal> {
        self.made += 1;
        let id = format!("{:032x}", self.made);
        let record = self.sound(zone, &id, given.as_object().cloned().unwrap_or_default())?;
        self.records.get_mut(zone).unwrap().push(record.clone());
        Ok(record)
    }

    fn update(&mut self, zone: &str, id: &str, given: &Json, whole: bool) -> Result<Map<String, Json>, Refusal> {
        let at = self.at(zone, id)?;
        let old = self.records[zone][at].clone();
        let given = given.as_object().cloned().unwrap_or_default();
        let new = match whole {
            true => given,
            false => {
                let mut new = old;
                // Where one of them is given the other follows from it.
                let derived = if given.contains_key("content") { "data" } else { "content" };
                if given.contains_key("content") || given.contains_key("data") {
                    new.remove(derived);
                }
                new.extend(given);
                new
            }
        };
        let record = self.sound(zone, id, new)?;
        self.records.get_mut(zone).unwrap()[at] = record.clone();
        Ok(record)
    }

    /// A record as it is stored, with all that belongs to it.
    fn sound(&self, zone: &str, id: &str, mut record: Map<String, Json>) -> Result<Map<String, Json>, Refusal> {
        let text =
            |record: &Map<String, Json>, field: &str| record.get(field).and_then(Json::as_str).map(str::to_owned);
        let (Some(kind), Some(name)) = (text(&record, "type"), text(&record, "name")) else {
            return no(400, 9000, "DNS name is invalid.");
        };
        let (apex, name) = (&self.zones[zone], name.trim_end_matches('.').to_ascii_lowercase());
        let name = match name == "@" || name == *apex || name.ends_with(&format!(".{apex}")) {
            true if name == "@" => apex.clone(),
            true => name,
            false => format!("{name}.{apex}"),
        };
        let ttl = record.get("ttl").and_then(Json::as_u64).unwrap_or(1);
        if ttl != 1 && !(60..=86_400).contains(&ttl) {
            return no(400, 9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.");
        }
        let proxied = record.get("proxied").and_then(Json::as_bool).unwrap_or(false);
        let content = content(&kind, &record)?;
        for other in self.records[zone].iter().filter(|other| other["name"] == name && other["id"] != id) {
            let other_kind = other["type"].as_str().unwrap();
            if kind == other_kind && other["content"] == content && other.get("priority") == record.get("priority") {
                return no(400, 81058, "An identical record already exists.");
            }
            if (kind == "CNAME") != (other_kind == "CNAME") {
                return no(400, 81053, "An A, AAAA, or CNAME record with that host already exists.");
            }
        }
        if kind == "SRV" {
            let priority = record["data"]["priority"].clone();
            record.insert("priority".into(), priority);
        }
        let proxiable = ["A", "AAAA", "CNAME"].contains(&kind.as_str());
        let own = json!({
            "id": id, "name": name, "type": kind, "content": content, "ttl": if proxied { 1 } else { ttl },
            "proxied": proxied, "proxiable": proxiable, "settings": {}, "meta": {},
            "created_on": "2026-01-01T00:00:00Z", "modified_on": "2026-01-01T00:00:00Z",
        });
        record.extend(own.as_object().unwrap().clone());
        record.entry("comment").or_insert(Json::Null);
        record.entry("tags").or_insert(json!([]));
        Ok(record)
    }
}

/// The content that a record is shown with: its names without final dots, its texts in quotes and split anew.
fn content(kind: &str, record: &Map<String, Json>) -> Result<String, Refusal> {
    let content = record.get("content").and_then(Json::as_str).unwrap_or_default();
    let data = record.get("data");
    let bare = |host: &str| if host == "." { host.to_owned() } else { host.trim_end_matches('.').to_ascii_lowercase() };
    let wrong = |says: &str| no(400, 1004, &format!("DNS Validation Error: {says}"));
    let part = |field: &str| match data.and_then(|data| data.get(field)) {
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let is = |kind: Kind, text: &str| master::value(kind, text).is_some();
    match kind {
        "A" if !is(Kind::A, content) => no(400, 9005, "Content for A record must be a valid IPv4 address."),
        "AAAA" if !is(Kind::Aaaa, content) => no(400, 9006, "Content for AAAA record must be a valid IPv6 address."),
        "A" | "AAAA" => Ok(content.to_owned()),
        "CNAME" if content.is_empty() => no(400, 9007, "Content for CNAME record is invalid."),
        "MX" if content.is_empty() || !record.contains_key("priority") => wrong("MX needs a priority"),
        "CNAME" | "MX" => Ok(bare(content)),
        "TXT" => {
            let text = match content.starts_with('"') {
                false => content.to_owned(),
                true => match master::value(Kind::Txt, content) {
                    Some(Rdata::Txt(text)) => text,
                    _ => return wrong("TXT"),
                },
            };
            if text.is_empty() || text.len() > 2048 {
                return no(400, 9009, "Content for TXT record is invalid.");
            }
            let mut rest = text.as_str();
            let mut strings = Vec::new();
            while !rest.is_empty() {
                // Elsewhere than whoever wrote it did.
                let (string, more) = rest.split_at(rest.floor_char_boundary(200));
                strings.push(format!("\"{}\"", string.replace('\\', "\\\\").replace('"', "\\\"")));
                rest = more;
            }
            Ok(strings.join(" "))
        }
        "SRV" | "CAA" | "TLSA" if data.is_none_or(Json::is_null) => wrong("data is required"),
        "SRV" => Ok(format!("{} {} {}", part("weight"), part("port"), bare(&part("target")))),
        "CAA" => Ok(format!("{} {} \"{}\"", part("flags"), part("tag"), part("value"))),
        "TLSA" => Ok(format!(
            "{} {} {} {}",
            part("usage"),
            part("selector"),
            part("matching_type"),
            part("certificate").to_ascii_lowercase()
        )),
        _ => Ok(content.to_owned()),
    }
}
