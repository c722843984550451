//! A server that speaks the APIs of several DNS providers as their documentation has them, about one zone: deSEC, Hetzner,
//! Gandi and DigitalOcean, each below a path of its own.

use crate::contract::Fault;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use compiler::zone::{Kind, Rdata, master};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

/// The token that all of them take.
pub const TOKEN: &str = "cloud-token-of-the-test-0123456789";
const LARGEST: usize = 16 << 20;

/// A record set: time to live, and values as master files have them.
type Set = (u64, Vec<String>);

/// The zone, by owner below it (`@`) and type.
#[derive(Debug, Default)]
pub struct Site {
    zone: String,
    sets: BTreeMap<(String, String), Set>,
    /// What DigitalOcean numbers.
    records: Vec<Json>,
    made: u64,
    /// What happens to what is written next.
    pub faults: VecDeque<Fault>,
    /// How often something was written, or was to be.
    pub writes: usize,
}

/// A running server; ends when dropped.
pub struct Clouds {
    /// What it knows.
    pub site: Arc<Mutex<Site>>,
    url: String,
    runtime: Option<Runtime>,
}

/// Status, body, and a Link field.
type Reply = (u16, Json, Option<String>);

impl Clouds {
    /// Serves a zone that holds an address for `ns1`, its NS, and something of a type that nobody expects.
    pub fn start(zone: &str) -> Clouds {
        let mut site = Site { zone: zone.to_owned(), ..Site::default() };
        let mut put = |name: &str, kind: &str, value: &str| {
            site.sets.insert((name.to_owned(), kind.to_owned()), (3600, vec![value.to_owned()]));
            let data = value.trim_end_matches('.');
            site.made += 1;
            let record =
                json!({ "id": site.made, "type": kind, "name": name, "data": data, "ttl": 3600, "future": [1] });
            site.records.push(record);
        };
        put("ns1", "A", "127.0.0.1");
        put("@", "NS", "ns1.example.net.");
        put("new", "FUTURE", "?");
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
        Clouds { site, url: format!("http://{address}"), runtime: Some(runtime) }
    }

    /// The base URL of one of the APIs.
    pub fn url(&self, api: &str) -> String {
        format!("{}/{api}", self.url)
    }

    /// Adds so many addresses `n0`, `n1` …
    pub fn seed(&self, many: usize) {
        let mut site = self.site.lock().unwrap();
        for n in 0..many {
            let name = format!("n{n}");
            site.sets.insert((name.clone(), "A".to_owned()), (3600, vec!["192.0.2.1".to_owned()]));
            site.made += 1;
            let record = json!({ "id": site.made, "type": "A", "name": name, "data": "192.0.2.1", "ttl": 3600 });
            site.records.push(record);
        }
    }
}

impl Drop for Clouds {
    fn drop(&mut self) {
        // A runtime cannot wait for its end within another one.
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn answer(site: Arc<Mutex<Site>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await.unwrap_or_default();
    let body: Json = serde_json::from_slice(&body).unwrap_or(Json::Null);
    let mut path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    // Some clients leave that to each request.
    path.retain(|part| *part != "livedns");
    let query: BTreeMap<String, String> = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    let token = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let scheme = if path[0] == "desec" { "Token" } else { "Bearer" };
    let method = parts.method.as_str();
    let fault;
    let (status, reply, link) = {
        let mut site = site.lock().unwrap();
        fault = if method == "GET" { None } else { site.faults.pop_front() };
        site.writes += usize::from(method != "GET");
        match token == format!("{scheme} {TOKEN}") {
            false => (401, json!({ "message": format!("no such token: {token}") }), None),
            true if fault == Some(Fault::TooFast) => (429, json!({ "message": "too many requests" }), None),
            true => match path.as_slice() {
                ["desec", "domains", zone, "rrsets"] if *zone == site.zone => site.desec(method, &query, &body),
                ["hetzner", "zones", zone] if *zone == site.zone => {
                    (200, json!({ "zone": { "id": 42, "name": zone, "ttl": 3600, "mode": "primary" } }), None)
                }
                // Its number will do, too.
                ["hetzner", "zones", zone, rest @ ..] if *zone == site.zone || *zone == "42" => {
                    site.hetzner(method, rest, &query, &body)
                }
                ["hetzner", "actions", id] => (
                    200,
                    json!({ "action": { "id": id.parse::<u64>().unwrap(), "status": "success", "error": null } }),
                    None,
                ),
                ["gandi", "domains", zone, "records", rest @ ..] if *zone == site.zone => {
                    site.gandi(method, rest, &query, &body)
                }
                ["digitalocean", "domains", zone, "records", rest @ ..] if *zone == site.zone => {
                    site.digitalocean(method, rest, &query, &body)
                }
                _ => (404, json!({ "message": "not found" }), None),
            },
        }
    };
    match fault {
        Some(Fault::Mute) => std::future::pending().await,
        Some(Fault::Broken) => return Response::builder().status(503).body(Body::from("try again")).unwrap(),
        _ => {}
    }
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    if status == 429 {
        response = response.header("retry-after", "1");
    }
    if let Some(link) = link {
        response = response.header("link", link);
    }
    let text = if reply.is_null() { String::new() } else { reply.to_string() };
    response.header("content-type", "application/json").body(Body::from(text)).unwrap()
}

fn number(query: &BTreeMap<String, String>, name: &str, usual: usize, most: usize) -> usize {
    query.get(name).and_then(|text| text.parse().ok()).unwrap_or(usual).clamp(1, most)
}

fn strings(list: &Json) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|value| value.as_str().unwrap_or_default().to_owned()).collect()
}

impl Site {
    /// Sets a set, or takes it away; why not.
    fn put(&mut self, name: &str, kind: &str, (ttl, values): Set, ttls: (u64, u64)) -> Result<(), String> {
        let key = (name.to_owned(), kind.to_owned());
        if values.is_empty() {
            self.sets.remove(&key);
            return Ok(());
        }
        if ttl < ttls.0 || ttl > ttls.1 {
            return Err(format!("ttl must be between {} and {}", ttls.0, ttls.1));
        }
        let known = Kind::named(kind).ok_or("no such type")?;
        if let Some(wrong) = values.iter().find(|value| master::value(known, value).is_none()) {
            return Err(format!("malformed: {wrong}"));
        }
        let beside = self
            .sets
            .keys()
            .any(|(owner, other)| owner == name && other != kind && (other == "CNAME" || kind == "CNAME"));
        if beside {
            return Err("a CNAME stands alone".into());
        }
        self.sets.insert(key, (ttl, values));
        Ok(())
    }

    fn desec(&mut self, method: &str, query: &BTreeMap<String, String>, body: &Json) -> Reply {
        const PAGE: usize = 500;
        match method {
            "GET" => {
                let Some(cursor) = query.get("cursor") else {
                    return (400, json!({ "detail": "pagination required" }), None);
                };
                let from: usize = cursor.parse().unwrap_or(0);
                let sets = self.sets.iter().skip(from).take(PAGE).map(|((name, kind), (ttl, values))| {
                    let subname = if name == "@" { "" } else { name };
                    json!({ "created": "2026-01-01T00:00:00Z", "domain": self.zone, "subname": subname, "name": format!("{name}.{}.", self.zone),
                            "type": kind, "ttl": ttl, "records": values, "touched": "2026-01-01T00:00:00Z" })
                });
                let link = (from + PAGE < self.sets.len()).then(|| {
                    format!("<http://x/?cursor=>; rel=\"first\", <http://x/?cursor={}>; rel=\"next\"", from + PAGE)
                });
                (200, sets.collect(), link)
            }
            "PATCH" => {
                let before = self.sets.clone();
                let mut list: Vec<&Json> = body.as_array().into_iter().flatten().collect();
                // All of them are looked at as one.
                list.sort_by_key(|one| !one["records"].as_array().is_some_and(Vec::is_empty));
                for one in list {
                    let name = match one["subname"].as_str().unwrap() {
                        "" => "@",
                        name => name,
                    };
                    let set = (one["ttl"].as_u64().unwrap(), strings(&one["records"]));
                    if let Err(why) = self.put(name, one["type"].as_str().unwrap(), set, (3600, 86_400)) {
                        self.sets = before;
                        return (400, json!([{ "non_field_errors": [why] }]), None);
                    }
                }
                (200, body.clone(), None)
            }
            _ => (405, Json::Null, None),
        }
    }

    fn hetzner(&mut self, method: &str, rest: &[&str], query: &BTreeMap<String, String>, body: &Json) -> Reply {
        self.made += 1;
        let acted = |rrset: Json, made: u64| {
            let action = json!({ "id": made, "command": "x", "status": "running", "progress": 0, "error": null });
            (201, json!({ "rrset": rrset, "action": action }), None)
        };
        let wrong = |why: String| (422, json!({ "error": { "code": "invalid_input", "message": why } }), None);
        let values = |body: &Json| -> Vec<String> {
            body["records"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| one["value"].as_str().unwrap().to_owned())
                .collect()
        };
        match (method, rest) {
            ("GET", ["rrsets"]) => {
                let (page, size) = (number(query, "page", 1, 1 << 20), number(query, "per_page", 25, 50));
                let sets: Vec<Json> = self.sets.iter().skip((page - 1) * size).take(size).map(|((name, kind), (ttl, values))| {
                    let records: Vec<Json> = values.iter().map(|value| json!({ "value": value, "comment": null })).collect();
                    json!({ "id": format!("{name}/{kind}"), "name": name, "type": kind, "ttl": ttl, "labels": {}, "protection": { "change": false }, "records": records })
                }).collect();
                let next = (page * size < self.sets.len()).then_some(page + 1);
                (
                    200,
                    json!({ "rrsets": sets, "meta": { "pagination": { "page": page, "per_page": size, "next_page": next } } }),
                    None,
                )
            }
            ("POST", ["rrsets"]) => {
                let (name, kind) = (body["name"].as_str().unwrap(), body["type"].as_str().unwrap());
                if self.sets.contains_key(&(name.to_owned(), kind.to_owned())) {
                    return (409, json!({ "error": { "code": "uniqueness_error", "message": "exists" } }), None);
                }
                let set = (body["ttl"].as_u64().unwrap(), values(body));
                match self.put(name, kind, set, (60, 2_147_483_647)) {
                    Ok(()) => acted(body.clone(), self.made),
                    Err(why) => wrong(why),
                }
            }
            (_, ["rrsets", name, kind, rest @ ..]) => {
                let key = ((*name).to_owned(), (*kind).to_owned());
                let Some((ttl, old)) = self.sets.get(&key).cloned() else {
                    return (404, json!({ "error": { "code": "not_found" } }), None);
                };
                let set = match (method, rest) {
                    ("DELETE", []) => (ttl, Vec::new()),
                    ("POST", ["actions", "set_records"]) => (ttl, values(body)),
                    ("POST", ["actions", "change_ttl"]) => (body["ttl"].as_u64().unwrap(), old),
                    _ => return (405, Json::Null, None),
                };
                match self.put(name, kind, set, (60, 2_147_483_647)) {
                    Ok(()) => acted(Json::Null, self.made),
                    Err(why) => wrong(why),
                }
            }
            _ => (404, Json::Null, None),
        }
    }

    fn gandi(&mut self, method: &str, rest: &[&str], query: &BTreeMap<String, String>, body: &Json) -> Reply {
        match (method, rest) {
            ("GET", []) => {
                let (page, size) = (number(query, "page", 1, 1 << 20), number(query, "per_page", 100, 500));
                let sets = self.sets.iter().skip((page - 1) * size).take(size).map(|((name, kind), (ttl, values))| {
                    json!({ "rrset_name": name, "rrset_type": kind, "rrset_ttl": ttl, "rrset_values": values, "rrset_href": "x" })
                });
                (200, sets.collect(), None)
            }
            ("POST", []) => {
                let text = |name: &str| body[name].as_str().unwrap().to_owned();
                let set = (body["rrset_ttl"].as_u64().unwrap(), strings(&body["rrset_values"]));
                match self.put(&text("rrset_name"), &text("rrset_type"), set, (300, 2_592_000)) {
                    Ok(()) => (201, json!({ "message": "DNS Record Created" }), None),
                    Err(why) => (400, json!({ "message": why }), None),
                }
            }
            ("PUT", [name, kind]) => {
                let set = (body["rrset_ttl"].as_u64().unwrap(), strings(&body["rrset_values"]));
                match self.put(name, kind, set, (300, 2_592_000)) {
                    Ok(()) => (201, json!({ "message": "DNS Record Created" }), None),
                    Err(why) => (400, json!({ "message": why }), None),
                }
            }
            ("DELETE", [name, kind]) => {
                self.sets.remove(&((*name).to_owned(), (*kind).to_owned()));
                (204, Json::Null, None)
            }
            _ => (404, Json::Null, None),
        }
    }

    fn digitalocean(&mut self, method: &str, rest: &[&str], query: &BTreeMap<String, String>, body: &Json) -> Reply {
        let at = rest
            .first()
            .and_then(|id| id.parse::<u64>().ok())
            .and_then(|id| self.records.iter().position(|one| one["id"] == id));
        match (method, rest) {
            ("GET", []) => {
                let (page, size) = (number(query, "page", 1, 1 << 20), number(query, "per_page", 20, 200));
                let some: Vec<Json> = self.records.iter().skip((page - 1) * size).take(size).cloned().collect();
                let mut pages = json!({});
                if page * size < self.records.len() {
                    pages = json!({ "next": format!("https://x/?page={}", page + 1), "last": "https://x/" });
                }
                (
                    200,
                    json!({ "domain_records": some, "links": { "pages": pages }, "meta": { "total": self.records.len() } }),
                    None,
                )
            }
            ("POST" | "PUT", _) => match self.numbered(body, at) {
                Ok(mut record) => {
                    self.made += 1;
                    let id = at.map_or(self.made, |at| self.records[at]["id"].as_u64().unwrap());
                    record["id"] = id.into();
                    match at {
                        Some(at) => self.records[at] = record.clone(),
                        None => self.records.push(record.clone()),
                    }
                    (201, json!({ "domain_record": record }), None)
                }
                Err(why) => (422, json!({ "id": "unprocessable_entity", "message": why }), None),
            },
            ("DELETE", [_]) => match at {
                Some(at) => {
                    self.records.remove(at);
                    (204, Json::Null, None)
                }
                None => (404, json!({ "id": "not_found" }), None),
            },
            _ => (404, Json::Null, None),
        }
    }

    /// A record as DigitalOcean keeps it: targets are given whole with a dot, and shown without.
    fn numbered(&self, body: &Json, at: Option<usize>) -> Result<Json, String> {
        let (name, kind, data) =
            (body["name"].as_str().unwrap(), body["type"].as_str().unwrap(), body["data"].as_str().unwrap());
        if body["ttl"].as_u64().unwrap() < 30 {
            return Err("TTL must be at least 30".into());
        }
        let mut record = body.clone();
        match kind {
            "A" | "AAAA" if master::value(Kind::named(kind).unwrap(), data).is_none() => {
                return Err("IP address is invalid".into());
            }
            "CNAME" | "MX" | "SRV" | "CAA" => {
                let bare =
                    data.strip_suffix('.').filter(|bare| !bare.is_empty()).ok_or("Data needs to end with a dot (.)")?;
                record["data"] = if bare == self.zone { "@".into() } else { bare.into() };
            }
            "A" | "AAAA" => {}
            "TXT" => assert!(matches!(
                master::value(Kind::Txt, &Rdata::Txt(data.to_owned()).to_string()),
                Some(Rdata::Txt(_))
            )),
            _ => return Err("Type is not supported".into()),
        }
        let others = self.records.iter().enumerate().filter(|(n, one)| Some(*n) != at && one["name"] == name);
        for (_, other) in others {
            if (other["type"] == "CNAME") != (kind == "CNAME") {
                return Err("CNAME records cannot share a name with other records".into());
            }
        }
        Ok(record)
    }
}
