//! An object in a bucket, changed by conditional writes (`If-Match`).

use super::STATE_FILE;
use super::place::Mark;
use crate::aws::{Keys, REGION, Sign};
use crate::provider::http::{Api, Ask, Pace};
use crate::provider::{self, Ground};
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderValue, Method, StatusCode};
use schema::spec::S3;

/// One pipeline asks, a few times a run.
const PACE: Pace = Pace { per_second: 10.0, burst: 10.0 };

/// An object.
pub struct Object {
    api: Api,
    sign: Sign,
    bucket: String,
    path: String,
}

impl Object {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with it or its keys.
    pub fn new(spec: &S3, ground: &Ground<'_>) -> Result<Object, String> {
        let secret = |reference: &Option<_>| reference.as_ref().map(|one| ground.secret(one)).transpose();
        let (id, key) = (secret(&spec.access_key)?, secret(&spec.secret_key)?);
        if id.is_some() != key.is_some() {
            return Err("`access-key` and `secret-key` belong together: write both, or neither".into());
        }
        let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        let object = spec.prefix.as_deref().unwrap_or(STATE_FILE);
        if !plain(&spec.bucket, "-.") || !plain(object, "-._/") {
            return Err("buckets and names of a state have letters, digits, `-`, `.`, `_` and `/`".into());
        }
        let region = spec.region.as_deref().unwrap_or(REGION);
        let in_path = spec.path_style.unwrap_or(spec.endpoint.is_some());
        let usual = format!("https://s3.{region}.amazonaws.com");
        let mut base = provider::base_url(spec.endpoint.as_deref().unwrap_or(&usual))?;
        let path = match in_path {
            true => format!("/{}/{object}", spec.bucket),
            false => {
                let host = format!("{}.{}", spec.bucket, base.host_str().unwrap_or_default());
                base.set_host(Some(&host)).map_err(|error| error.to_string())?;
                format!("/{object}")
            }
        };
        let keys = Keys { own: id.as_ref().zip(key.as_ref()), role: None };
        let sign = Sign::new("s3", region, &keys, ground.trust)?;
        let api = Api::new(&base, PACE, key.into_iter().collect(), ground.trust)?;
        Ok(Object { api, sign, bucket: spec.bucket.clone(), path })
    }

    /// `s3://bucket/object`
    pub fn name(&self) -> String {
        let object = self.path.trim_start_matches('/');
        format!(
            "s3://{}",
            if object.starts_with(&self.bucket) { object.to_owned() } else { format!("{}/{object}", self.bucket) }
        )
    }

    /// What is there, and its tag.
    pub(super) async fn read(&self) -> Result<Option<(Vec<u8>, Mark)>, String> {
        let mut ask = Ask::get(&self.path, &[]);
        self.sign.sign(&self.api, &mut ask).await?;
        let answer = self.api.ask(&ask).await.map_err(|error| error.to_string())?;
        match answer.status {
            StatusCode::NOT_FOUND if !String::from_utf8_lossy(&answer.body).contains("NoSuchBucket") => Ok(None),
            status if status.is_success() => {
                let tag =
                    answer.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).ok_or("gives its object no ETag")?;
                Ok(Some((answer.body, Some(tag.to_owned()))))
            }
            _ => Err(self.api.refused(&answer).to_string()),
        }
    }

    /// Writes where what is there is what was read; `None` where it is not.
    pub(super) async fn write(&self, text: &str, mark: Option<&str>) -> Result<Option<Mark>, String> {
        let mut ask = Ask::get(&self.path, &[]);
        (ask.method, ask.writes) = (Method::PUT, true);
        ask.body = Some(("application/json", text.as_bytes().to_vec()));
        let (condition, value) = mark.map_or((IF_NONE_MATCH, "*"), |tag| (IF_MATCH, tag));
        ask.headers.insert(condition, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
        self.sign.sign(&self.api, &mut ask).await?;
        let answer = self.api.ask(&ask).await.map_err(|error| error.to_string())?;
        match answer.status {
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => Ok(None),
            status if status.is_success() => {
                let tag =
                    answer.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).ok_or("gives its object no ETag")?;
                Ok(Some(Some(tag.to_owned())))
            }
            _ => Err(self.api.refused(&answer).to_string()),
        }
    }
}
