//! Google Cloud DNS: a zone is listed by pages and changed by changes, each of which is made whole or not at all. What is
//! removed is named with all that it holds, and Google refuses that where it is not so any more.

use super::http::{Answer, Api, Ask, Pace, seconds};
use super::oauth::{Tokens, form};
use super::{Collected, Ground, Limits, Provider, ProviderError, in_series, one_by_one, unmoved};
use crate::plan::{Change, Live, SetKey};
use crate::zone::{Kind, master};
use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use http::{Method, StatusCode};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use schema::name::{DomainName, Secret};
use schema::spec;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use tokio::sync::Mutex;

/// What it can hold.
pub const LIMITS: Limits = Limits { most_values: 100, ..Limits::dns("Google Cloud DNS") };
/// 3,000 requests a minute for a project; less by far is enough.
const PACE: Pace = Pace { per_second: 10.0, burst: 50.0 };
/// Where it is.
const BASE: &str = "https://dns.googleapis.com/dns/v1";
/// Where tokens are given for a service account's key that does not say.
const TOKENS: &str = "https://oauth2.googleapis.com/token";
/// Who gives tokens to a machine, and the variable that names another one.
const METADATA: &str = "http://metadata.google.internal";
const METADATA_HOST: &str = "GCE_METADATA_HOST";
const METADATA_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// The variable that names the file of a key.
const KEY_FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const SCOPE: &str = "https://www.googleapis.com/auth/ndev.clouddns.readwrite";
/// The most pages of one zone.
const MOST_PAGES: usize = 1_000;
/// The most sets that one change adds, or removes.
const MOST_SETS: usize = 1_000;

/// Google Cloud DNS.
pub struct Google {
    api: Api,
    project: String,
    tokens: Tokens,
    key: Option<Key>,
    /// The names of zones that were asked for.
    zones: Mutex<HashMap<DomainName, String>>,
}

/// A service account's key, as its JSON file has it.
#[derive(Deserialize)]
struct Key {
    #[serde(rename = "type")]
    kind: String,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Zones {
    #[serde(default)]
    managed_zones: Vec<ManagedZone>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedZone {
    name: String,
    dns_name: String,
    #[serde(default)]
    visibility: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    rrsets: Vec<RrSet>,
    next_page_token: Option<String>,
}

/// A record set, as it is read and as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct RrSet {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    rrdatas: Vec<String>,
}

impl Key {
    fn read(text: &Secret) -> Result<Key, String> {
        let key: Key = serde_json::from_str(text.reveal()).map_err(|error| {
            // The error's own words may hold a piece of the key.
            format!("the key is no JSON of a service account (line {})", error.line())
        })?;
        match key.kind.as_str() {
            "service_account" => Ok(key),
            other => Err(format!("a key of the kind `{}` is not served: `service_account` is", other.escape_debug())),
        }
    }

    /// Where it is exchanged for tokens.
    fn endpoint(&self) -> &str {
        self.token_uri.as_deref().unwrap_or(TOKENS)
    }

    /// The claim of who asks, signed (RFC 7523 §2.1).
    fn assertion(&self) -> Result<String, String> {
        let lack = |what: &str| format!("the key has no `{what}`");
        let account = self.client_email.as_deref().ok_or_else(|| lack("client_email"))?;
        let pem = self.private_key.as_deref().ok_or_else(|| lack("private_key"))?;
        let no_key = |_| "the key's `private_key` is no RSA key in PKCS #8".to_owned();
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| no_key(error.to_string()))?;
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|error| no_key(error.to_string()))?;
        let now = seconds();
        let head = json!({ "alg": "RS256", "typ": "JWT", "kid": self.private_key_id });
        let claims = json!({ "iss": account, "scope": SCOPE, "aud": self.endpoint(), "iat": now, "exp": now + 3600 });
        let part = |json: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        let text = format!("{}.{}", part(&head), part(&claims));
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|error| no_key(error.to_string()))?;
        Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Google {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with the node or its key.
    pub fn new(spec: &spec::Google, ground: &Ground<'_>) -> Result<Google, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
        if spec.project.is_empty() || !spec.project.chars().all(plain) {
            return Err(format!("`{}` is no name of a project", spec.project.escape_debug()));
        }
        let text = match (&spec.key, std::env::var_os(KEY_FILE)) {
            (Some(key), _) => Some(ground.secret(key)?),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(&file).map_err(|error| format!("{KEY_FILE}: {error}"))?;
                Some(Secret::new(text))
            }
            (None, None) => None,
        };
        let key = text.as_ref().map(Key::read).transpose()?;
        let secrets: Vec<Secret> = key.iter().filter_map(|key| key.private_key.clone().map(Secret::new)).collect();
        let giver = match &key {
            Some(key) => super::base_url(key.endpoint())?,
            None => {
                let host = std::env::var(METADATA_HOST).ok().map(|host| format!("http://{host}"));
                super::base_url(host.as_deref().unwrap_or(METADATA))?
            }
        };
        let giver = Api::new(&giver, PACE, secrets, ground.trust)?;
        // Without it the machine's own giver says nothing.
        let giver = if key.is_none() { giver.with("metadata-flavor", "Google")? } else { giver };
        let api = Api::new(&super::base(spec.url.as_ref(), BASE)?, PACE, Vec::new(), ground.trust)?;
        let project = format!("/projects/{}", spec.project);
        Ok(Google { api, project, tokens: Tokens::new(giver), key, zones: Mutex::default() })
    }

    async fn ask(&self, mut ask: Ask<'_>) -> Result<Answer, ProviderError> {
        ask.headers = self
            .tokens
            .header(|| {
                let Some(key) = &self.key else { return Ok(Ask::get(METADATA_PATH, &[])) };
                let assertion = key.assertion()?;
                let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                let body = Some(form(&[("grant_type", grant), ("assertion", &assertion)]));
                // Nothing is changed by it.
                Ok(Ask { method: Method::POST, body, ..Ask::get("", &[]) })
            })
            .await?;
        self.api.ask(&ask).await
    }

    fn refused(&self, answer: &Answer) -> ProviderError {
        let error = self.api.refused(answer);
        match answer.status {
            StatusCode::NOT_FOUND => ProviderError::Missing(error.to_string()),
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => ProviderError::Moved(error.to_string()),
            _ => error,
        }
    }

    /// The path of the public zone of a name.
    async fn zone(&self, zone: &DomainName) -> Result<String, ProviderError> {
        if let Some(path) = self.zones.lock().await.get(zone) {
            return Ok(path.clone());
        }
        let name = format!("{zone}.");
        let path = format!("{}/managedZones", self.project);
        let answer = self.ask(Ask::get(&path, &[("dnsName", &name)])).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        let found: Zones = self.api.parse(&answer)?;
        let is_it = |one: &&ManagedZone| one.dns_name == name && one.visibility != "private";
        let mut names = found.managed_zones.iter().filter(is_it).map(|one| one.name.as_str());
        let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        match (names.next().filter(plain), names.next()) {
            (Some(name), None) => {
                let path = format!("{path}/{name}");
                self.zones.lock().await.insert(zone.clone(), path.clone());
                Ok(path)
            }
            (Some(_), Some(_)) => {
                Err(ProviderError::Refused(format!("Google has several public zones `{zone}` in the project")))
            }
            (None, _) => Err(ProviderError::Missing(format!("Google has no public zone `{zone}` in the project"))),
        }
    }

    async fn sets(&self, zone: &DomainName) -> Result<Vec<RrSet>, ProviderError> {
        let path = format!("{}/rrsets", self.zone(zone).await?);
        let (mut sets, mut token) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let query: Vec<(&str, &str)> = token.iter().map(|token| ("pageToken", token.as_str())).collect();
            let answer = self.ask(Ask::get(&path, &query)).await?;
            if !answer.status.is_success() {
                return Err(self.refused(&answer));
            }
            let page: Page = self.api.parse(&answer)?;
            sets.extend(page.rrsets);
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(sets);
            }
        }
        Err(ProviderError::Refused(format!("`{zone}` has more than {MOST_PAGES} pages of record sets")))
    }
}

fn live(zone: &DomainName, sets: &[RrSet]) -> Live {
    let mut collected = Collected::default();
    for set in sets {
        let kind = Kind::named(&set.kind);
        // What is routed by place or weight has no data of its own.
        if set.rrdatas.is_empty() {
            collected.take(zone, &set.name, &set.kind, (set.ttl, None));
        }
        for text in &set.rrdatas {
            let value = kind.and_then(|kind| master::value(kind, text));
            collected.take(zone, &set.name, &set.kind, (set.ttl, value));
        }
    }
    collected.live()
}

#[async_trait]
impl Provider for Google {
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
        let of = |set: &RrSet| Some(SetKey { name: super::owner(&set.name)?, kind: Kind::named(&set.kind)? });
        // What is removed is named as Google has it.
        let there: HashMap<SetKey, &RrSet> = sets.iter().filter_map(|set| Some((of(set)?, set))).collect();
        let path = format!("{}/changes", self.zone(zone).await?);
        for (at, some) in one_by_one(changes).chunks(MOST_SETS).enumerate() {
            let deletions: Vec<&RrSet> = some.iter().filter_map(|change| there.get(&change.key).copied()).collect();
            let additions = some.iter().filter_map(|change| {
                let after = change.after.as_ref()?;
                let rrdatas = after.values.iter().map(ToString::to_string).collect();
                let (name, kind) = (format!("{}.", change.key.name), change.key.kind.name().to_owned());
                Some(RrSet { name, kind, ttl: after.ttl, rrdatas })
            });
            let body =
                json!({ "kind": "dns#change", "additions": additions.collect::<Vec<_>>(), "deletions": deletions });
            let done = match self.ask(Ask::send(Method::POST, &path, &body)).await {
                Ok(answer) if answer.status.is_success() => Ok(()),
                Ok(answer) => Err(self.refused(&answer)),
                Err(error) => Err(error),
            };
            in_series(at, done)?;
        }
        Ok(())
    }
}
