//! A full-text index in Elasticsearch (7.17 and later) or OpenSearch, over REST.
//!
//! The server analyses nothing: it is given the words of [`super::analyse`] in their order, and cuts them at spaces. So it
//! answers as every other backend does.
//!
//! # The index
//! `PREFIX-mail-v1-1`, written and read under its alias `PREFIX-mail-v1`; made when it is first needed. The number after `v`
//! is that of the mapping ([`LAYOUT`]): a program with another one makes an index of its own, and the mailboxes are indexed
//! anew. A document is a message, its id `ACCOUNT/MESSAGE`; all of an account lie in one shard (routing), which alone is asked.
//!
//! | field | holds |
//! |---|---|
//! | `account`, `message` | whose and which; `message` is what answers are sorted and paged by |
//! | `whole` | whether the message is indexed whole |
//! | `w_FIELD` | the words of a field, with where they stand |
//! | `s_FIELD` | its stems, each with its mark before it |
//!
//! What was sent is not kept as such (`_source` is off): the mailboxes have it.
//!
//! # What an answer means
//! Every write asks for a refresh of the shards that it changes, so that it is found once it is acknowledged. That takes
//! some 10 to 50 ms a call and makes a small segment, which the server merges later: write some hundreds of messages at
//! once. Answers are read in pages of [`PAGE`] after the last number of the page before: the cost does not grow with depth.
//!
//! A node whose disk is nearly full makes the index read-only: [`StoreError::Full`]. Where somebody removes the index, it is
//! made again, empty, and `waybilld reindex` fills it.

use super::analyse::{Analysed, Analyser, Clause, Wants, clauses};
use super::{Document, DocumentId, Field, Found, How, MATCHES_MOST, Query, Search};
use crate::error::{Cause, StoreError};
use crate::open::Ground;
use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use schema::config::Elasticsearch;
use schema::name::Address;
use schema::spec::ClientTlsMode;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::sync::Mutex;
use tracing::{info, warn};
use url::Url;

mod tls;

/// The version of the mapping that this program writes.
const LAYOUT: u32 = 1;
/// Messages of one page of an answer; what servers give at most unless told otherwise.
const PAGE: usize = 10_000;
/// Octets of one request of several writes; a document that is larger goes alone. Servers take 100 MB.
const BULK: usize = 4 << 20;
/// Octets of an answer.
const ANSWER_MOST: usize = 16 << 20;
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Octets of `prefix`.
const PREFIX_MOST: usize = 64;

/// An index of such a server.
pub struct Elastic {
    client: Client,
    /// Without a slash at its end.
    url: String,
    /// What messages of the log call it.
    place: String,
    /// The alias.
    alias: String,
    /// The index as it is made.
    made: Value,
    analyser: Analyser,
    /// Whether the index is known to be there.
    ready: Mutex<bool>,
}

impl Elastic {
    /// Prepares to ask a server; does not ask it yet.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`], without a secret.
    pub fn open(config: &Elasticsearch, ground: &Ground, analyser: Analyser) -> Result<Elastic, StoreError> {
        let url: Url = config.url.parse().map_err(|error| wrong(format!("the URL of Elasticsearch: {error}")))?;
        let place = format!("Elasticsearch at {}", url.host_str().unwrap_or_default());
        let says = |why: &str| wrong(format!("{place}: {why}"));
        if url.password().is_some() || !url.username().is_empty() {
            return Err(says("the URL holds a user; write `user` and `password=(file)\"…\"`"));
        }
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        let prefix = &config.prefix;
        let begins = prefix.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !begins || !prefix.chars().all(known) || prefix.len() > PREFIX_MOST {
            return Err(says(
                "`prefix` is at most 64 lower-case letters, digits, `_` and `-`, a letter or digit first",
            ));
        }
        let encrypted = match (url.scheme(), config.tls.as_ref().and_then(|tls| tls.mode)) {
            ("https", None | Some(ClientTlsMode::On)) => true,
            ("http", None | Some(ClientTlsMode::Off)) => false,
            ("http" | "https", _) => return Err(says("`tls mode` differs from the URL, which says `http` or `https`")),
            _ => return Err(says("the URL begins with `http://` or `https://`")),
        };
        let tls = if encrypted { tls::config(config.tls.as_ref(), ground)? } else { tls::unused()? };
        let client = Client::builder()
            .default_headers(credentials(config, ground, &place)?)
            .timeout(Duration::from_secs(config.timeout.0.max(1)))
            .connect_timeout(CONNECT)
            // A server that sends us elsewhere would be given the password there.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .use_preconfigured_tls(tls);
        Ok(Elastic {
            client: client.build().map_err(|error| says(&error.to_string()))?,
            url: config.url.trim_end_matches('/').to_owned(),
            place,
            alias: format!("{prefix}-mail-v{LAYOUT}"),
            made: index(config),
            analyser,
            ready: Mutex::new(false),
        })
    }

    /// Asks the server for the first time.
    ///
    /// # Errors
    /// The server's.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.ready().await
    }

    /// Makes the index where it is not there.
    async fn ready(&self) -> Result<(), StoreError> {
        let mut ready = self.ready.lock().await;
        if *ready {
            return Ok(());
        }
        let mut made = self.made.clone();
        if let Some(aliases) = made.get_mut("aliases") {
            *aliases = json!({ &self.alias: {} });
        }
        let path = format!("{}-1", self.alias);
        let (status, answer) = self.send(Method::PUT, &path, made.to_string(), JSON).await?;
        if status.is_success() {
            info!(index = path, "{}: the full-text index is made", self.place);
        } else if kind(&answer) != "resource_already_exists_exception" {
            return Err(self.refused(status, &answer));
        }
        *ready = true;
        Ok(())
    }

    /// What the server answers, whatever that is.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
        form: &'static str,
    ) -> Result<(StatusCode, Value), StoreError> {
        let request = self.client.request(method, format!("{}/{path}", self.url)).header(CONTENT_TYPE, form).body(body);
        let away = |error: reqwest::Error| {
            let error = error.without_url();
            // What happened says only the error below.
            let mut why = error.to_string();
            let mut below = std::error::Error::source(&error);
            while let Some(cause) = below {
                why = format!("{why}: {cause}");
                below = cause.source();
            }
            StoreError::Unavailable(Cause::new(format!("{}: {why}", self.place)))
        };
        let mut response = request.send().await.map_err(away)?;
        let status = response.status();
        let mut octets = Vec::new();
        while let Some(more) = response.chunk().await.map_err(away)? {
            if octets.len() + more.len() > ANSWER_MOST {
                return Err(StoreError::Unavailable(Cause::new(format!("{}: the answer is too long", self.place))));
            }
            octets.extend_from_slice(&more);
        }
        // What stands before the server may answer in other forms.
        Ok((status, serde_json::from_slice(&octets).unwrap_or_default()))
    }

    fn refused(&self, status: StatusCode, answer: &Value) -> StoreError {
        self.error(status.as_u16(), answer.get("error").unwrap_or(answer))
    }

    /// What the caller may do about an error that the server tells of.
    fn error(&self, status: u16, error: &Value) -> StoreError {
        let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        let (kind, reason) = (text("type"), text("reason"));
        let says = format!("{} answers {status} {kind}: {}", self.place, reason.chars().take(500).collect::<String>());
        match status {
            // A disk of the server is nearly full: of an index, or of all of them.
            _ if kind == "cluster_block_exception" && reason.contains("read-only-allow-delete")
                || kind == "index_create_block_exception" =>
            {
                warn!("{says}");
                StoreError::Full
            }
            _ if kind == "cluster_block_exception" => StoreError::Unavailable(Cause::new(says)),
            401 | 403 => wrong(says),
            408 | 429 | 500.. => StoreError::Unavailable(Cause::new(says)),
            _ => wrong(says),
        }
    }

    /// Has several writes done, each of one or two lines. What one of them came to is an error of all.
    async fn bulk(&self, writes: impl Iterator<Item = String>) -> Result<(), StoreError> {
        self.ready().await?;
        let mut body = String::new();
        for write in writes {
            if !body.is_empty() && body.len() + write.len() > BULK {
                self.bulk_once(std::mem::take(&mut body)).await?;
            }
            body.push_str(&write);
        }
        if body.is_empty() { Ok(()) } else { self.bulk_once(body).await }
    }

    async fn bulk_once(&self, body: String) -> Result<(), StoreError> {
        let wanted = "filter_path=errors,error,status,items.*.status,items.*.error.type,items.*.error.reason";
        let path = format!("{}/_bulk?refresh=true&require_alias=true&{wanted}", self.alias);
        let (status, answer) = self.send(Method::POST, &path, body, LINES).await?;
        if !status.is_success() {
            return Err(self.missing(status, &answer).await);
        }
        if answer.get("errors").and_then(Value::as_bool) != Some(true) {
            return match answer.get("items") {
                Some(_) => Ok(()),
                None => Err(StoreError::Unavailable(Cause::new(format!("{}: an answer without items", self.place)))),
            };
        }
        let items = answer.get("items").and_then(Value::as_array).into_iter().flatten();
        let items = items.filter_map(|item| item.as_object()?.values().next());
        let mut wrong = items.filter(|item| item.get("error").is_some());
        if let Some(item) = wrong.next() {
            let status = item.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
            let status = StatusCode::from_u16(status.unwrap_or(500)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Err(self.missing(status, item).await);
        }
        Ok(())
    }

    /// An error; where the index is gone it is made again before the next call.
    async fn missing(&self, status: StatusCode, answer: &Value) -> StoreError {
        if kind(answer) != "index_not_found_exception" {
            return self.refused(status, answer);
        }
        *self.ready.lock().await = false;
        warn!("{}: the full-text index is gone, and is made again; `waybilld reindex` fills it", self.place);
        StoreError::Unavailable(Cause::new(format!("{}: the index is gone", self.place)))
    }

    /// The numbers of all that match, up to `most`; `None` where they are too many.
    async fn all(&self, asked: (&Address, &Value), most: usize) -> Result<Option<Vec<u64>>, StoreError> {
        self.ready().await?;
        let mut found: Vec<i64> = Vec::new();
        while found.len() < most {
            let size = PAGE.min(most - found.len());
            let page = self.page(asked, (size, found.last().copied())).await?;
            let last = page.len() < size;
            found.extend(page);
            if found.len() > MATCHES_MOST {
                return Ok(None);
            }
            if last {
                break;
            }
        }
        let mut found: Vec<u64> = found.into_iter().map(i64::cast_unsigned).collect();
        found.sort_unstable();
        Ok(Some(found))
    }

    /// The numbers of one page, after `last`.
    async fn page(
        &self,
        (account, query): (&Address, &Value),
        (size, last): (usize, Option<i64>),
    ) -> Result<Vec<i64>, StoreError> {
        let routing: String = url::form_urlencoded::byte_serialize(account.to_string().as_bytes()).collect();
        let wanted = "filter_path=error,status,timed_out,_shards.failed,hits.hits.sort";
        let path = format!(
            "{}/_search?routing={routing}&allow_partial_search_results=false&request_cache=false&{wanted}",
            self.alias
        );
        let mut body = json!({
            "query": query, "size": size, "sort": [{ "message": "asc" }], "_source": false, "track_total_hits": false,
        });
        if let (Some(last), Some(body)) = (last, body.as_object_mut()) {
            body.insert("search_after".to_owned(), json!([last]));
        }
        let (status, answer) = self.send(Method::POST, &path, body.to_string(), JSON).await?;
        if !status.is_success() {
            return Err(self.missing(status, &answer).await);
        }
        let failed = answer.pointer("/_shards/failed").and_then(Value::as_u64) != Some(0);
        if failed || answer.get("timed_out").and_then(Value::as_bool) != Some(false) {
            return Err(StoreError::Unavailable(Cause::new(format!("{}: only a part was searched", self.place))));
        }
        let hits = answer.pointer("/hits/hits").and_then(Value::as_array).into_iter().flatten();
        let numbers: Option<Vec<i64>> = hits.map(|hit| hit.pointer("/sort/0")?.as_i64()).collect();
        numbers.ok_or_else(|| StoreError::Corrupt { what: format!("a document of {}", self.place) })
    }
}

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

#[async_trait]
impl Search for Elastic {
    async fn index(&self, documents: &[Document]) -> Result<(), StoreError> {
        let analysed = self.analyser.documents(documents).await?;
        let lines = documents.iter().zip(&analysed).map(|(document, analysed)| {
            let DocumentId { account, message } = &document.id;
            let head = json!({ "index": { "_id": id(&document.id), "routing": account.to_string() } });
            format!("{head}\n{}\n", source(account, *message, analysed))
        });
        self.bulk(lines).await
    }

    async fn find(&self, query: &Query) -> Result<Found, StoreError> {
        let clauses = clauses(query);
        if clauses.is_empty() {
            return Ok(Found::TooMany);
        }
        let found = self.all((&query.account, &question(query, &clauses)), query.most).await?;
        Ok(found.map_or(Found::TooMany, Found::Messages))
    }

    async fn messages(&self, account: &Address) -> Result<Option<Vec<u64>>, StoreError> {
        self.all((account, &all_of(account)), usize::MAX).await
    }

    async fn cut(&self, account: &Address) -> Result<Option<Vec<u64>>, StoreError> {
        let cut = [json!({ "term": { "account": account.to_string() } }), not_whole()];
        self.all((account, &json!({ "bool": { "filter": cut } })), usize::MAX).await
    }

    async fn forget(&self, ids: &[DocumentId]) -> Result<(), StoreError> {
        let lines = ids.iter().map(|known| {
            let routing = known.account.to_string();
            format!("{}\n", json!({ "delete": { "_id": id(known), "routing": routing } }))
        });
        self.bulk(lines).await
    }

    async fn clear(&self, account: &Address) -> Result<(), StoreError> {
        self.ready().await?;
        loop {
            let page = self.page((account, &all_of(account)), (PAGE, None)).await?;
            if page.is_empty() {
                return Ok(());
            }
            let id = |message: &i64| DocumentId { account: account.clone(), message: message.cast_unsigned() };
            self.forget(&page.iter().map(id).collect::<Vec<_>>()).await?;
        }
    }
}

fn wrong(why: String) -> StoreError {
    StoreError::Misconfigured(Cause::new(why))
}

/// The header that says who we are.
fn credentials(config: &Elasticsearch, ground: &Ground, place: &str) -> Result<HeaderMap, StoreError> {
    use base64::Engine;
    let mut headers = HeaderMap::new();
    let key = ground.secret(config.api_key.as_ref())?;
    let password = ground.secret(config.password.as_ref())?;
    let value = match (key, &config.user, password) {
        (Some(key), None, None) => format!("ApiKey {}", key.reveal().trim()),
        (None, Some(user), password) => {
            let both = format!("{user}:{}", password.as_ref().map_or("", |password| password.reveal().trim_end()));
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both))
        }
        (None, None, None) => return Ok(headers),
        _ => return Err(wrong(format!("{place}: either `api-key`, or `user` and `password`"))),
    };
    // An error would show the value.
    let value =
        HeaderValue::try_from(value).map_err(|_| wrong(format!("{place}: the key has characters that none has")));
    let mut value = value?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(headers)
}

/// The index as it is made.
fn index(config: &Elasticsearch) -> Value {
    let mut fields = Map::new();
    fields.insert("account".to_owned(), json!({ "type": "keyword", "doc_values": false }));
    fields.insert("message".to_owned(), json!({ "type": "long", "index": false }));
    fields.insert("whole".to_owned(), json!({ "type": "boolean", "doc_values": false }));
    for field in Field::ALL {
        let text = |options: &str| json!({ "type": "text", "analyzer": "whitespace", "norms": false, "index_options": options });
        fields.insert(words(field), text("positions"));
        fields.insert(stems(field), text("docs"));
    }
    json!({
        "settings": { "number_of_shards": config.shards, "number_of_replicas": config.replicas },
        "mappings": {
            "dynamic": "strict",
            "_source": { "enabled": false },
            "_routing": { "required": true },
            "properties": fields,
        },
        "aliases": {},
    })
}

fn words(field: Field) -> String {
    format!("w_{}", field.name())
}

fn stems(field: Field) -> String {
    format!("s_{}", field.name())
}

fn id(id: &DocumentId) -> String {
    format!("{}/{}", id.account, id.message)
}

fn source(account: &Address, message: u64, analysed: &Analysed) -> Value {
    let mut source = Map::new();
    source.insert("account".to_owned(), json!(account.to_string()));
    source.insert("message".to_owned(), json!(message.cast_signed()));
    source.insert("whole".to_owned(), json!(analysed.whole));
    for field in Field::ALL {
        let texts = analysed.texts.iter().filter(|(own, _)| *own == field);
        // Servers keep the values of an array apart, so that no phrase goes across.
        let texts: Vec<String> = texts.map(|(_, words)| words.join(" ")).collect();
        if !texts.is_empty() {
            source.insert(words(field), json!(texts));
        }
        let own = analysed.stems.iter().filter(|(own, _, _)| *own == field);
        let own: Vec<String> = own.map(|(_, mark, stem)| format!("{mark}:{stem}")).collect();
        if !own.is_empty() {
            source.insert(stems(field), json!(own.join(" ")));
        }
    }
    source.into()
}

fn question(query: &Query, clauses: &[Clause]) -> Value {
    let account = json!({ "term": { "account": query.account.to_string() } });
    let all: Vec<Value> = clauses.iter().map(asked).collect();
    let all = json!({ "bool": { "filter": all } });
    let wanted = match query.how {
        How::Words => all,
        How::Part => any(vec![all, not_whole()]),
    };
    json!({ "bool": { "filter": [account, wanted] } })
}

fn all_of(account: &Address) -> Value {
    json!({ "bool": { "filter": [{ "term": { "account": account.to_string() } }] } })
}

fn not_whole() -> Value {
    json!({ "term": { "whole": false } })
}

fn any(of: Vec<Value>) -> Value {
    json!({ "bool": { "should": of, "minimum_should_match": 1 } })
}

/// A clause as the server reads it. Words are letters and digits: nothing in them means something else there.
fn asked(clause: &Clause) -> Value {
    let mut ways = Vec::new();
    for field in &clause.fields {
        match &clause.wants {
            Wants::Word { word, stems: marked } => {
                if let Some(word) = word {
                    ways.push(json!({ "term": { words(*field): word } }));
                }
                if !marked.is_empty() {
                    let marked: Vec<String> = marked.iter().map(|(mark, stem)| format!("{mark}:{stem}")).collect();
                    ways.push(json!({ "terms": { stems(*field): marked } }));
                }
            }
            Wants::Phrase(phrase) => ways.push(json!({ "match_phrase": { words(*field): phrase.join(" ") } })),
            Wants::Part { text, begins, ends } => {
                let open = |closed: bool| if closed { "" } else { "*" };
                let pattern = format!("{}{text}{}", open(*begins), open(*ends));
                ways.push(json!({ "wildcard": { words(*field): { "value": pattern } } }));
            }
        }
    }
    any(ways)
}

/// The kind of error that an answer tells of.
fn kind(answer: &Value) -> &str {
    answer.pointer("/error/type").and_then(Value::as_str).unwrap_or_default()
}
#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_a_server_says_is_told_by_what_there_is_to_do() {
        let ground = Ground { root: "/".into(), clock: Arc::new(|| 1), reveal: Arc::new(|_: &_| Err("none".into())) };
        let settings = Elasticsearch {
            url: "http://127.0.0.1:9".into(),
            user: None,
            password: None,
            api_key: None,
            prefix: "test".into(),
            shards: 1,
            replicas: 0,
            timeout: schema::unit::Period(1),
            tls: None,
        };
        let index = Elastic::open(&settings, &ground, Analyser::default()).unwrap();
        let block = "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has \
                     read-only-allow-delete block];";
        for (status, kind, reason, expected) in [
            (401, "security_exception", "unable to authenticate user", "Misconfigured"),
            (403, "security_exception", "action is unauthorized", "Misconfigured"),
            (429, "es_rejected_execution_exception", "rejected execution", "Unavailable"),
            (503, "no_shard_available_action_exception", "", "Unavailable"),
            (503, "cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered]", "Unavailable"),
            (500, "", "", "Unavailable"),
            (429, "cluster_block_exception", block, "Full"),
            (403, "cluster_block_exception", "[FORBIDDEN/12/index read-only-allow-delete (api)]", "Full"),
            (403, "index_create_block_exception", "cluster create-index blocked (api)", "Full"),
            (400, "mapper_parsing_exception", "failed to parse", "Misconfigured"),
        ] {
            let error = index.error(status, &json!({ "type": kind, "reason": reason }));
            assert!(format!("{error:?}").starts_with(expected), "{status} {kind}: {error:?}");
        }
    }
}
