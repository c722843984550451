//! A server that speaks the APIs of Google Cloud DNS, Azure DNS and OVHcloud as their documentation has them, about one
//! zone: tokens that are given and run out, signatures that are checked, tags that must match.

use crate::contract::Fault;
use aws_lc_rs::digest;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use compiler::zone::{Kind, master};
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

/// What is secret of each.
pub const SECRET: &str = "hyper-secret-of-the-test-0123456789";
/// The token that is given.
pub const TOKEN: &str = "given-token-of-the-test-0123456789";
/// The other two parts that OVHcloud wants.
pub const APPLICATION: &str = "application-key";
/// The key of whose zones they are.
pub const CONSUMER: &str = "consumer-key-0123456789";
/// How far OVHcloud's clock is before ours.
const AHEAD: i64 = 1000;
const LARGEST: usize = 16 << 20;
const MEMBERS: [(&str, &str); 7] = [
    ("A", "ARecords"),
    ("AAAA", "AAAARecords"),
    ("CAA", "caaRecords"),
    ("CNAME", "CNAMERecord"),
    ("MX", "MXRecords"),
    ("SRV", "SRVRecords"),
    ("TXT", "TXTRecords"),
];

/// The zone.
#[derive(Debug, Default)]
pub struct Site {
    zone: String,
    /// Google's, by name with its dot and type: time to live, and values as master files have them.
    rrsets: BTreeMap<(String, String), (u64, Vec<String>)>,
    /// Azure's, by type and name: tag and properties.
    pub recordsets: BTreeMap<(String, String), (u64, Json)>,
    /// OVHcloud's.
    pub records: BTreeMap<u64, Json>,
    /// How often OVHcloud was told to serve what was written.
    pub refreshed: usize,
    /// How often a token was given.
    pub given: usize,
    /// Google's account, as its key's public part.
    public: Vec<u8>,
    made: u64,
    /// What happens to what is written next.
    pub faults: VecDeque<Fault>,
    /// How often something was written, or was to be.
    pub writes: usize,
}

/// A running server; ends when dropped.
pub struct Hyperscalers {
    /// What it knows.
    pub site: Arc<Mutex<Site>>,
    /// Where it is.
    pub url: String,
    /// The JSON key of Google's account.
    pub key: String,
    runtime: Option<Runtime>,
}

type Reply = (u16, Json);

/// The rest of the public key after the head that says what kind it is.
fn pkcs1(spki: &[u8]) -> Vec<u8> {
    // SEQUENCE, SEQUENCE of algorithm (13 octets), BIT STRING with no unused bits.
    let at = spki.windows(5).position(|part| part[0] == 3 && part[1] == 0x82 && part[4] == 0).unwrap();
    spki[at + 5..].to_vec()
}

impl Hyperscalers {
    /// Serves a zone that holds an address for `ns1`, its NS, and something of a type that nobody expects.
    pub fn start(zone: &str) -> Hyperscalers {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut site =
            Site { zone: zone.to_owned(), public: pkcs1(&pair.subject_public_key_info()), ..Site::default() };
        for (name, kind, value) in [("ns1", "A", "127.0.0.1"), ("@", "NS", "ns1.example.net."), ("new", "FUTURE", "?")]
        {
            let owner = if name == "@" { format!("{zone}.") } else { format!("{name}.{zone}.") };
            site.rrsets.insert((owner, kind.to_owned()), (3600, vec![value.to_owned()]));
            let properties = match kind {
                "A" => json!({ "TTL": 3600, "ARecords": [{ "ipv4Address": value }], "metadata": { "by": "hand" } }),
                "NS" => json!({ "TTL": 3600, "NSRecords": [{ "nsdname": value }] }),
                _ => json!({ "TTL": 3600, "futureRecords": [{}] }),
            };
            site.recordsets.insert((kind.to_owned(), name.to_owned()), (1, properties));
            site.made += 1;
            let below = if name == "@" { "" } else { name };
            let record = json!({ "id": site.made, "zone": zone, "subDomain": below, "fieldType": kind, "target": value, "ttl": 0 });
            site.records.insert(site.made, record);
        }
        let site = Arc::new(Mutex::new(site));
        let runtime = Runtime::new().unwrap();
        let shared = Arc::clone(&site);
        let (sender, receiver) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let app = axum::Router::new().fallback(move |request: Request| answer(Arc::clone(&shared), request));
            axum::serve(listener, app).await.unwrap();
        });
        let address: SocketAddr = receiver.recv().unwrap();
        let url = format!("http://{address}");
        let key = json!({
            "type": "service_account", "project_id": "mail-dns", "private_key_id": "1", "private_key": pair.serialize_pem(),
            "client_email": "dns@mail-dns.iam.gserviceaccount.com", "client_id": "1", "token_uri": format!("{url}/token"),
        });
        Hyperscalers { site, url, key: key.to_string(), runtime: Some(runtime) }
    }

    /// The node of a kind.
    pub fn node(&self, kind: &str) -> String {
        match kind {
            "google" => format!("google project=\"mail-dns\" key=(file)\"secret\" url=\"{}/dns/v1\"", self.url),
            "azure" => format!(
                "azure tenant=\"tenant\" client=\"client\" secret=(file)\"secret\" subscription=\"sub\" group=\"dns\" \
                 url=\"{0}\" login=\"{0}/login\"",
                self.url
            ),
            _ => format!(
                "ovh application-key=(file)\"application\" application-secret=(file)\"secret\" consumer-key=(file)\"consumer\" \
                 url=\"{}/ovh\"",
                self.url
            ),
        }
    }
}

impl Drop for Hyperscalers {
    fn drop(&mut self) {
        // A runtime cannot wait for its end within another one.
        self.runtime.take().unwrap().shutdown_background();
    }
}

fn decoded(query: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

async fn answer(site: Arc<Mutex<Site>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await.unwrap_or_default();
    let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let query = decoded(parts.uri.query().unwrap_or_default());
    let method = parts.method.as_str();
    // Tokens are nothing that is written.
    let writes = method != "GET" && !path.contains(&"token");
    let fault;
    let (status, reply) = {
        let mut site = site.lock().unwrap();
        fault = if writes { site.faults.pop_front() } else { None };
        site.writes += usize::from(writes);
        let json = serde_json::from_slice(&body).unwrap_or(Json::Null);
        let bearer = parts.headers.get("authorization").is_some_and(|value| value == &format!("Bearer {TOKEN}"));
        match path.as_slice() {
            _ if fault == Some(Fault::TooFast) => (429, json!({ "message": "too many requests" })),
            ["token"] => site.assertion(&decoded(&String::from_utf8_lossy(&body))),
            ["login", "tenant", "oauth2", "v2.0", "token"] => {
                site.credentials(&decoded(&String::from_utf8_lossy(&body)))
            }
            ["ovh", "auth", "time"] => (200, json!(now() + AHEAD)),
            ["ovh", "domain", "zone", rest @ ..] => {
                let url = format!("http://{}{}", parts.headers["host"].to_str().unwrap(), parts.uri);
                match signed(method, &url, &parts.headers, &String::from_utf8_lossy(&body)) {
                    true if rest.first() == Some(&site.zone.as_str()) => site.ovh(method, &rest[1..], &query, &json),
                    true => (404, json!({ "message": "This service does not exist" })),
                    false => (
                        403,
                        json!({ "message": format!("Invalid signature, by {:?}", parts.headers.get("x-ovh-consumer")) }),
                    ),
                }
            }
            _ if !bearer => (
                401,
                json!({ "error": { "code": 401, "message": format!("no such token {:?}", parts.headers.get("authorization")) } }),
            ),
            ["dns", "v1", "projects", "mail-dns", "managedZones", rest @ ..] => {
                site.google(method, rest, &query, &json)
            }
            [
                "subscriptions",
                "sub",
                "resourceGroups",
                "dns",
                "providers",
                "Microsoft.Network",
                zones,
                zone,
                rest @ ..,
            ] if zones.eq_ignore_ascii_case("dnsZones") && *zone == site.zone && query.contains_key("api-version") => {
                let url = format!("http://{}{}", parts.headers["host"].to_str().unwrap(), parts.uri.path());
                site.azure(method, rest, (&query, &url), (&parts.headers, &json))
            }
            _ => (404, json!({ "error": { "code": "ResourceNotFound", "message": "not found" } })),
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
    // OVHcloud's own client wants JSON also where there is nothing to say.
    let silent = reply.is_null() && path.first() != Some(&"ovh");
    let text = if silent { String::new() } else { reply.to_string() };
    response.header("content-type", "application/json").body(Body::from(text)).unwrap()
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// OVHcloud: a digest over request and secrets, of a time that is not long ago.
fn signed(method: &str, url: &str, headers: &HeaderMap, body: &str) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let time = header("x-ovh-timestamp");
    let text = [SECRET, CONSUMER, method, url, body, time].join("+");
    let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let sum: String = sum.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    let recent = time.parse::<i64>().is_ok_and(|time| (time - now() - AHEAD).abs() < 30);
    recent && header("x-ovh-application") == APPLICATION && header("x-ovh-signature") == format!("$1${sum}")
}

/// Values as master files have them, or why not.
fn sound(kind: &str, values: &[String]) -> Result<(), String> {
    let known = Kind::named(kind).ok_or("no such type")?;
    match values.iter().find(|value| master::value(known, value).is_none()) {
        Some(wrong) => Err(format!("malformed: {wrong}")),
        None => Ok(()),
    }
}

impl Site {
    fn give(&mut self) -> Reply {
        self.given += 1;
        (200, json!({ "access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer" }))
    }

    /// RFC 7523 §3.
    fn assertion(&mut self, form: &BTreeMap<String, String>) -> Reply {
        let assertion = form.get("assertion").cloned().unwrap_or_default();
        let (text, signature) = assertion.rsplit_once('.').unwrap_or_default();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')).unwrap_or_default();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public);
        let claims =
            text.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
        let claims: Json = serde_json::from_slice(&claims.unwrap_or_default()).unwrap_or(Json::Null);
        let holds = claims["exp"].as_i64().is_some_and(|end| end > now())
            && claims["iss"] == "dns@mail-dns.iam.gserviceaccount.com";
        match key.verify(text.as_bytes(), &signature).is_ok() && holds {
            true => self.give(),
            false => (400, json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." })),
        }
    }

    fn credentials(&mut self, form: &BTreeMap<String, String>) -> Reply {
        let is = |name: &str, value: &str| form.get(name).is_some_and(|given| given == value);
        match is("grant_type", "client_credentials") && is("client_id", "client") && is("client_secret", SECRET) {
            true => self.give(),
            false => {
                (401, json!({ "error": "invalid_client", "error_description": format!("no such secret: {form:?}") }))
            }
        }
    }

    fn google(&mut self, method: &str, rest: &[&str], query: &BTreeMap<String, String>, body: &Json) -> Reply {
        const PAGE: usize = 100;
        let set = |(name, kind): &(String, String), (ttl, values): &(u64, Vec<String>)| json!({ "kind": "dns#resourceRecordSet", "name": name, "type": kind, "ttl": ttl, "rrdatas": values, "signatureRrdatas": [] });
        match (method, rest) {
            ("GET", []) => {
                let mut zones = vec![
                    json!({ "kind": "dns#managedZone", "id": "1", "name": "inside", "dnsName": format!("{}.", self.zone), "visibility": "private" }),
                ];
                zones.push(json!({ "kind": "dns#managedZone", "id": "2", "name": "zone-1", "dnsName": format!("{}.", self.zone), "visibility": "public" }));
                zones.retain(|zone| query.get("dnsName").is_none_or(|name| zone["dnsName"] == *name));
                (200, json!({ "kind": "dns#managedZonesListResponse", "managedZones": zones }))
            }
            ("GET", ["zone-1", "rrsets"]) => {
                let from: usize = query.get("pageToken").map_or(0, |token| token.parse().unwrap());
                let some: Vec<Json> =
                    self.rrsets.iter().skip(from).take(PAGE).map(|(key, one)| set(key, one)).collect();
                let mut page = json!({ "kind": "dns#resourceRecordSetsListResponse", "rrsets": some });
                if from + PAGE < self.rrsets.len() {
                    page["nextPageToken"] = (from + PAGE).to_string().into();
                }
                (200, page)
            }
            ("POST", ["zone-1", "changes"]) => {
                let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
                if list("additions").len() > 1000 || list("deletions").len() > 1000 {
                    return (400, json!({ "error": { "code": 400, "message": "too many" } }));
                }
                let read = |one: &Json| {
                    let text = |name: &str| one[name].as_str().unwrap().to_owned();
                    let values =
                        one["rrdatas"].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned());
                    // The client of Google's own says the number as a text.
                    let ttl = one["ttl"].as_u64().or_else(|| one["ttl"].as_str()?.parse().ok()).unwrap();
                    ((text("name"), text("type")), (ttl, values.collect::<Vec<_>>()))
                };
                let mut next = self.rrsets.clone();
                for (key, gone) in list("deletions").iter().map(read) {
                    match next.get(&key) {
                        None => {
                            return (
                                404,
                                json!({ "error": { "code": 404, "message": "The 'entity.change.deletions[0]' resource does not exist" } }),
                            );
                        }
                        Some(there) if *there != gone => {
                            return (
                                412,
                                json!({ "error": { "code": 412, "message": "Precondition not met for 'entity.change.deletions[0]'" } }),
                            );
                        }
                        Some(_) => drop(next.remove(&key)),
                    }
                }
                for (key, new) in list("additions").iter().map(read) {
                    if next.contains_key(&key) {
                        return (
                            409,
                            json!({ "error": { "code": 409, "message": "The resource 'entity.change.additions[0]' already exists" } }),
                        );
                    }
                    if let Err(why) = sound(&key.1, &new.1) {
                        return (400, json!({ "error": { "code": 400, "message": why } }));
                    }
                    next.insert(key, new);
                }
                let alone = |(name, kind): &(String, String)| {
                    kind != "CNAME" || next.keys().filter(|(other, _)| other == name).count() == 1
                };
                if !next.keys().all(alone) {
                    return (400, json!({ "error": { "code": 400, "message": "a CNAME stands alone" } }));
                }
                self.rrsets = next;
                (
                    200,
                    json!({ "kind": "dns#change", "id": "7", "status": "done", "startTime": "2026-11-01T00:00:00.000Z", "additions": body["additions"], "deletions": body["deletions"] }),
                )
            }
            _ => (404, json!({ "error": { "code": 404, "message": "not found" } })),
        }
    }

    fn azure(
        &mut self,
        method: &str,
        rest: &[&str],
        (query, url): (&BTreeMap<String, String>, &str),
        (headers, body): (&HeaderMap, &Json),
    ) -> Reply {
        let zone = self.zone.clone();
        let shown = move |(kind, name): &(String, String), (tag, properties): &(u64, Json)| {
            let mut properties = properties.clone();
            properties["fqdn"] = format!("{name}.{zone}.").into();
            json!({ "id": format!("/x/{kind}/{name}"), "name": name, "type": format!("Microsoft.Network/dnszones/{kind}"), "etag": tag.to_string(), "properties": properties })
        };
        let changed = |why: &str| (412, json!({ "code": "PreconditionFailed", "message": why }));
        match (method, rest) {
            ("GET", ["recordsets" | "all"]) => {
                let size: usize = query.get("$top").map_or(100, |top| top.parse().unwrap()).min(500);
                let from: usize = query.get("$skiptoken").map_or(0, |token| token.parse().unwrap());
                let some: Vec<Json> =
                    self.recordsets.iter().skip(from).take(size).map(|(key, one)| shown(key, one)).collect();
                let mut page = json!({ "value": some });
                if from + size < self.recordsets.len() {
                    page["nextLink"] =
                        format!("{url}?api-version=2018-05-01&$top={size}&$skiptoken={}", from + size).into();
                }
                (200, page)
            }
            ("PUT" | "DELETE", [kind, name]) => {
                let key = ((*kind).to_owned(), (*name).to_owned());
                let there = self.recordsets.get(&key).map(|(tag, _)| tag.to_string());
                let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
                if header("if-none-match").is_some_and(|tag| tag == "*") && there.is_some() {
                    return changed("The Record set exists already and hence cannot be created again.");
                }
                if header("if-match").is_some_and(|tag| Some(&tag) != there.as_ref()) {
                    return changed("The etag does not match.");
                }
                if method == "DELETE" {
                    self.recordsets.remove(&key);
                    return (200, Json::Null);
                }
                let Some((_, member)) = MEMBERS.iter().find(|(known, _)| known == kind) else {
                    return (400, json!({ "code": "BadRequest", "message": "no such type" }));
                };
                let properties = &body["properties"];
                let values = properties[member].as_array().map_or(1, Vec::len);
                let texts = properties["TXTRecords"].as_array().into_iter().flatten();
                let long = |one: &Json| {
                    let strings: Vec<&str> =
                        one["value"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
                    strings.iter().any(|part| part.len() > 255) || strings.concat().len() > 1024
                };
                if properties[member].is_null() || values == 0 || values > 20 || texts.clone().any(long) {
                    return (400, json!({ "code": "BadRequest", "message": "the record set is not well formed" }));
                }
                let nowhere =
                    properties["MXRecords"][0]["exchange"] == "." || properties["SRVRecords"][0]["target"] == ".";
                let beside = self
                    .recordsets
                    .keys()
                    .any(|(other, owner)| owner == name && other != kind && (other == "CNAME" || *kind == "CNAME"));
                if nowhere || beside {
                    return (
                        400,
                        json!({ "code": "BadRequest", "message": "nothing is there, or something is beside it" }),
                    );
                }
                self.made += 1;
                self.recordsets.insert(key.clone(), (self.made + 10, properties.clone()));
                (if there.is_some() { 200 } else { 201 }, shown(&key, &self.recordsets[&key]))
            }
            _ => (405, Json::Null),
        }
    }

    fn ovh(&mut self, method: &str, rest: &[&str], query: &BTreeMap<String, String>, body: &Json) -> Reply {
        let id = rest.get(1).and_then(|id| id.parse::<u64>().ok());
        let wrong = |why: String| (400, json!({ "class": "Client::BadRequest", "message": why }));
        let none = (404, json!({ "message": "The requested object (id) does not exist" }));
        match (method, rest) {
            ("POST", ["refresh"]) => {
                self.refreshed += 1;
                (200, Json::Null)
            }
            ("GET", ["record"]) => {
                let is = |record: &Json, name: &str| query.get(name).is_none_or(|value| record[name] == *value);
                let ids: Vec<u64> = self
                    .records
                    .iter()
                    .filter(|(_, one)| is(one, "fieldType") && is(one, "subDomain"))
                    .map(|(id, _)| *id)
                    .collect();
                (200, json!(ids))
            }
            ("GET", ["record", _]) => {
                id.and_then(|id| self.records.get(&id)).map_or(none, |record| (200, record.clone()))
            }
            ("DELETE", ["record", _]) => match id.and_then(|id| self.records.remove(&id)) {
                Some(_) => (200, Json::Null),
                None => none,
            },
            ("POST", ["record"]) | ("PUT", ["record", _]) => {
                let mut record = match id {
                    Some(id) => match self.records.get(&id) {
                        Some(record) => record.clone(),
                        None => return none,
                    },
                    None => json!({ "zone": self.zone, "ttl": 0, "subDomain": "" }),
                };
                for (name, value) in body.as_object().unwrap() {
                    record[name] = value.clone();
                }
                let kind = record["fieldType"].as_str().unwrap().to_owned();
                let master = match kind.as_str() {
                    "SPF" | "DKIM" | "DMARC" => "TXT",
                    other => other,
                };
                let target = record["target"].as_str().unwrap().to_owned();
                if (master != "TXT" || target.starts_with('"'))
                    && let Err(why) = sound(master, &[target])
                {
                    return wrong(why);
                }
                if record["ttl"].as_u64().unwrap() != 0 && record["ttl"].as_u64().unwrap() < 60 {
                    return wrong("ttl is too short".into());
                }
                let others = self
                    .records
                    .iter()
                    .filter(|(known, one)| Some(**known) != id && one["subDomain"] == record["subDomain"]);
                if others.into_iter().any(|(_, one)| (one["fieldType"] == "CNAME") != (kind == "CNAME")) {
                    return wrong("a CNAME stands alone".into());
                }
                self.made += 1;
                let id = id.unwrap_or(self.made);
                record["id"] = id.into();
                self.records.insert(id, record.clone());
                (200, record)
            }
            _ => none,
        }
    }
}
