//! The one way to an API over HTTP: its rate limit, its patience, and errors without secrets in them.

use super::ProviderError;
use crate::diagnostic::printable;
use crate::tls::Trust;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, redirect};
use schema::name::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use url::Url;

/// How long a connection is waited for.
const CONNECT: Duration = Duration::from_secs(15);
/// How long an answer is waited for, with its body.
const ANSWER: Duration = Duration::from_secs(120);
/// The largest answer, in octets.
const LARGEST: usize = 64 << 20;
/// How long is waited where an API asks for it and does not say how long.
const PAUSE: Duration = Duration::from_secs(5);
/// An API that wants a longer wait is told of as not available.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// What of an API's own words an error has, in characters.
const LONGEST_WORDS: usize = 300;

/// How many requests an API takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// In the long run, a second.
    pub per_second: f64,
    /// At once.
    pub burst: f64,
}

/// An API.
pub struct Api {
    client: Client,
    base: Url,
    /// With every request.
    headers: HeaderMap,
    secrets: Vec<Secret>,
    bucket: Bucket,
    asked: AtomicU64,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// What is done.
    pub method: Method,
    /// Below the base, its parts escaped already: `/zones/x`.
    pub path: &'a str,
    /// The query.
    pub query: &'a [(&'a str, &'a str)],
    /// The body, and its type.
    pub body: Option<(&'static str, Vec<u8>)>,
    /// Beside the API's own, as a signature of this request.
    pub headers: HeaderMap,
    /// Whether it changes something: where its answer is lost, it is not known whether it did.
    pub writes: bool,
}

impl<'a> Ask<'a> {
    /// Asks for something.
    pub fn get(path: &'a str, query: &'a [(&'a str, &'a str)]) -> Ask<'a> {
        Ask { method: Method::GET, path, query, body: None, headers: HeaderMap::new(), writes: false }
    }

    /// Changes something; `null` is no body.
    pub fn send(method: Method, path: &'a str, body: &Json) -> Ask<'a> {
        let body = (!body.is_null()).then(|| ("application/json", body.to_string().into_bytes()));
        Ask { method, path, query: &[], body, headers: HeaderMap::new(), writes: true }
    }
}

/// An answer, of whatever status but `429`.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Api {
    /// The API at a URL, which may end in `/` or not. The secrets are kept out of what it says.
    ///
    /// # Errors
    /// Where no client can be made.
    pub fn new(base: &Url, pace: Pace, secrets: Vec<Secret>, trust: &Trust) -> Result<Api, String> {
        let config = trust.config()?;
        let client = Client::builder()
            .use_preconfigured_tls((*config).clone())
            .user_agent(concat!("waybill/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // Whither a redirect leads, no token is sent.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| error.without_url().to_string())?;
        let bucket = Bucket::new(pace);
        Ok(Api { client, base: base.clone(), headers: HeaderMap::new(), secrets, bucket, asked: AtomicU64::new(0) })
    }

    /// Sends a secret in a header with every request.
    ///
    /// # Errors
    /// Where it has octets that no header can have.
    pub fn with(mut self, name: &'static str, value: &str) -> Result<Api, String> {
        let mut value = HeaderValue::from_str(value).map_err(|_| "the token has characters that no token has")?;
        value.set_sensitive(true);
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// How many requests were made.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The whole URL of a request.
    pub fn url(&self, ask: &Ask<'_>) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path().trim_end_matches('/'), ask.path));
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(ask.query);
        }
        url
    }

    /// Makes a request. Waits first as the pace wants, and where the API says that it was too fast it waits as long as
    /// that says, and asks again: such a request was not carried out.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] where nobody answers, or with a status of 500 and up; for what changes something
    /// [`ProviderError::Unknown`], unless it certainly was not sent.
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, ProviderError> {
        loop {
            self.bucket.take().await;
            self.asked.fetch_add(1, Ordering::Relaxed);
            let answer = self.once(ask).await?;
            let throttled = answer.status == StatusCode::TOO_MANY_REQUESTS
                || (answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.headers.contains_key(RETRY_AFTER));
            if throttled {
                let pause = pause(&answer.headers).unwrap_or(PAUSE);
                if pause > LONGEST_PAUSE {
                    let says = format!("asks to come back in {} s: too many requests", pause.as_secs());
                    return Err(self.unavailable(says));
                }
                self.bucket.rest(pause).await;
                continue;
            }
            if answer.status.is_server_error() {
                return Err(self.lost(ask, &self.words(&answer)));
            }
            return Ok(answer);
        }
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Answer, ProviderError> {
        let mut request = self.client.request(ask.method.clone(), self.url(ask)).headers(self.headers.clone());
        if let Some((kind, body)) = &ask.body {
            request = request.header(reqwest::header::CONTENT_TYPE, *kind).body(body.clone());
        }
        let sent = request.headers(ask.headers.clone()).send().await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => return Err(self.unavailable(cause(error))),
            Err(error) => return Err(self.lost(ask, &cause(error))),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(Answer { status, headers, body }),
                Ok(Some(more)) if body.len() + more.len() <= LARGEST => body.extend_from_slice(&more),
                Ok(Some(_)) => return Err(self.lost(ask, &format!("its answer has more than {LARGEST} octets"))),
                Err(error) => return Err(self.lost(ask, &cause(error))),
            }
        }
    }

    fn unavailable(&self, why: impl std::fmt::Display) -> ProviderError {
        ProviderError::Unavailable(self.masked(&format!("{}: {why}", self.name())))
    }

    fn lost(&self, ask: &Ask<'_>, why: &str) -> ProviderError {
        match ask.writes {
            true => ProviderError::Unknown(self.masked(&format!("{}: {why}", self.name()))),
            false => self.unavailable(why),
        }
    }

    /// What an answer that says no means, in its own words.
    pub fn refused(&self, answer: &Answer) -> ProviderError {
        let words = self.words(answer);
        let says = match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                format!("{} does not take the token for this: {words}", self.name())
            }
            _ => format!("{}: {words}", self.name()),
        };
        ProviderError::Refused(self.masked(&says))
    }

    /// An answer of a status of 200 to 299 as what it should hold; any other one is refused.
    ///
    /// # Errors
    /// [`Api::refused`], or that the answer is not understood.
    pub fn parse<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, ProviderError> {
        if !answer.status.is_success() {
            return Err(self.refused(answer));
        }
        let parsed = serde_json::from_slice(&answer.body);
        parsed.map_err(|error| self.unavailable(format!("an answer that is not understood: {error}")))
    }

    /// Status and body in words.
    fn words(&self, answer: &Answer) -> String {
        let body = String::from_utf8_lossy(&answer.body);
        let body: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = body.chars().take(LONGEST_WORDS).collect();
        let dots = if short.len() < body.len() { "…" } else { "" };
        self.masked(&format!("{} {}{dots}", answer.status, printable(&short)))
    }

    /// A text without the secrets.
    fn masked(&self, text: &str) -> String {
        let secrets = self.secrets.iter().map(|secret| secret.reveal()).filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }

    fn name(&self) -> &str {
        self.base.host_str().unwrap_or("the API")
    }
}

/// An error with its causes, without its URL, whose query may name what others need not know.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut says = error.to_string();
    let mut next = std::error::Error::source(&error);
    while let Some(error) = next {
        says = format!("{says}: {error}");
        next = error.source();
    }
    says
}

/// RFC 9110 §10.2.3: seconds; a date is taken for nothing said.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.max(1)))
}

#[allow(clippy::disallowed_methods, reason = "a pace is kept by the running clock, of which nothing else is known")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for what a request says of when it was made.
#[allow(clippy::disallowed_methods, reason = "a request is signed with the moment at which it is made")]
pub(super) fn seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// A token bucket: what is not used at once is there later, up to the burst.
#[derive(Debug)]
struct Bucket {
    pace: Pace,
    fill: Mutex<Fill>,
}

/// How many tokens there were, and when.
#[derive(Clone, Copy, Debug)]
struct Fill {
    tokens: f64,
    at: Instant,
}

impl Fill {
    /// Takes a token: when it is to be had, and what is left then.
    fn take(self, pace: Pace, now: Instant) -> (Instant, Fill) {
        let from = now.max(self.at);
        let gained = (from - self.at).as_secs_f64() * pace.per_second;
        let have = (self.tokens + gained).min(pace.burst);
        let at = from + Duration::from_secs_f64(((1.0 - have) / pace.per_second).max(0.0));
        (at, Fill { tokens: (have - 1.0).max(0.0), at })
    }
}

impl Bucket {
    fn new(pace: Pace) -> Bucket {
        Bucket { pace, fill: Mutex::new(Fill { tokens: pace.burst, at: now() }) }
    }

    /// Takes a token, after waiting for it.
    async fn take(&self) {
        let at = {
            let mut fill = self.fill.lock().await;
            let (at, left) = fill.take(self.pace, now());
            *fill = left;
            at
        };
        sleep_until(at).await;
    }

    /// Gives none out for a while.
    async fn rest(&self, pause: Duration) {
        let mut fill = self.fill.lock().await;
        let until = now() + pause;
        *fill = Fill { tokens: 0.0, at: fill.at.max(until) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_by_the_second() {
        let pace = Pace { per_second: 4.0, burst: 3.0 };
        let began = super::now();
        let mut fill = Fill { tokens: 3.0, at: began };
        let mut take = |after: u64| {
            let (at, left) = fill.take(pace, began + Duration::from_millis(after));
            fill = left;
            (at - began).as_millis()
        };
        assert_eq!([0; 7].map(&mut take), [0, 0, 0, 250, 500, 750, 1000]);
        // A second and a half later the burst is there again, and no more than that.
        assert_eq!([9000; 5].map(&mut take), [9000, 9000, 9000, 9250, 9500]);
    }
}
