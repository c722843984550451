//! Access tokens that an API gives for a while (RFC 6749 §5.1).

use super::ProviderError;
use super::http::{Api, Ask, now};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(120);
/// How long one holds of which that is not said.
const USUAL: Duration = Duration::from_secs(600);

/// Asks for tokens, and keeps the last one.
pub struct Tokens {
    api: Api,
    last: Mutex<Option<(HeaderValue, Instant)>>,
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl Tokens {
    /// At a token endpoint, or what gives tokens to a machine.
    pub fn new(api: Api) -> Tokens {
        Tokens { api, last: Mutex::default() }
    }

    /// A header with a token that holds; `ask` asks for one.
    ///
    /// # Errors
    /// What who gives tokens says.
    pub async fn header(&self, ask: impl FnOnce() -> Result<Ask<'static>, String>) -> Result<HeaderMap, ProviderError> {
        let mut last = self.last.lock().await;
        let value = match &*last {
            Some((value, until)) if *until > now() => value.clone(),
            _ => {
                let answer = self.api.ask(&ask().map_err(ProviderError::Refused)?).await?;
                let given: Given = self.api.parse(&answer)?;
                let bad = |_| ProviderError::Refused("the token that is given has characters that no token has".into());
                let mut value = HeaderValue::from_str(&format!("Bearer {}", given.access_token)).map_err(bad)?;
                value.set_sensitive(true);
                // Some say the seconds as a text.
                let seconds = given.expires_in.as_u64().or_else(|| given.expires_in.as_str()?.parse().ok());
                let holds = seconds.map_or(USUAL, Duration::from_secs).saturating_sub(MARGIN);
                *last = Some((value.clone(), now() + holds));
                value
            }
        };
        Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
    }
}

/// A form, as token endpoints take one.
pub fn form(fields: &[(&str, &str)]) -> (&'static str, Vec<u8>) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    ("application/x-www-form-urlencoded", body.into_bytes())
}
