//! Requests to Amazon's services, signed (Signature Version 4). Who signs: the spec's keys, else what the machine has, in
//! the order of Amazon's own tools: environment, profile, web identity (a pipeline's OIDC token), container, instance.

use crate::provider::http::{Api, Ask};
use crate::tls::Trust;
use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use reqsign_aws_v4::{
    AssumeRoleCredentialProvider, Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider,
};
use reqsign_core::{Context, Error, FileRead, HttpSend, OsEnv, Signer};
use schema::name::Secret;
use std::time::Duration;

/// The region that signs where none is named.
pub const REGION: &str = "us-east-1";
/// How long who gives credentials is waited for; where there is no such service at all nobody answers.
const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(30);
/// The name of the session that takes on a role.
const SESSION: &str = "waybill";

/// Who signs.
pub struct Keys<'a> {
    /// The access key's id and the key; left out: the machine's own.
    pub own: Option<(&'a Secret, &'a Secret)>,
    /// The role to take on.
    pub role: Option<&'a str>,
}

/// Signs requests to a service.
pub struct Sign {
    signer: Signer<Credential>,
}

impl Sign {
    /// For a service of a region.
    ///
    /// # Errors
    /// Where no client can be made.
    pub fn new(service: &str, region: &str, keys: &Keys<'_>, trust: &Trust) -> Result<Sign, String> {
        let client = reqwest::Client::builder()
            .use_preconfigured_tls((*trust.config()?).clone())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .build()
            .map_err(|error| error.without_url().to_string())?;
        let context = Context::new().with_env(OsEnv).with_file_read(Files).with_http_send(Client(client));
        let of = |service: &str| {
            let signer = RequestSigner::new(service, region);
            match keys.own {
                Some((id, key)) => {
                    let own = StaticCredentialProvider::new(id.reveal(), key.reveal());
                    Signer::new(context.clone(), own, signer)
                }
                None => Signer::new(context.clone(), DefaultCredentialProvider::new(), signer),
            }
        };
        let Some(role) = keys.role else { return Ok(Sign { signer: of(service) }) };
        let role = AssumeRoleCredentialProvider::new(role.to_owned(), of("sts"))
            .with_role_session_name(SESSION.to_owned())
            .with_region(region.to_owned())
            .with_regional_sts_endpoint();
        Ok(Sign { signer: Signer::new(context, role, RequestSigner::new(service, region)) })
    }

    /// Signs a request.
    ///
    /// # Errors
    /// Where there are no credentials; in words, without them.
    pub async fn sign(&self, api: &Api, ask: &mut Ask<'_>) -> Result<(), String> {
        let body = ask.body.as_ref().map_or(&[][..], |(_, body)| body);
        let digest = digest::digest(&digest::SHA256, body);
        let digest: String = digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
        let mut request = http::Request::new(());
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = api.url(ask).as_str().parse().map_err(|_| "the URL is none")?;
        let digest = HeaderValue::from_str(&digest).map_err(|error| error.to_string())?;
        request.headers_mut().insert("x-amz-content-sha256", digest);
        request.headers_mut().extend(std::mem::take(&mut ask.headers));
        let (mut parts, ()) = request.into_parts();
        self.signer.sign(&mut parts, None).await.map_err(|error| {
            format!("no credentials to sign with ({error}): write `access-key=` and `secret-key=`, or give the machine a role")
        })?;
        ask.headers = parts.headers.into_iter().fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.extend(name.filter(|name| name != http::header::HOST).map(|name| (name, value)));
            headers
        });
        Ok(())
    }
}

/// Whom credentials are asked of.
#[derive(Debug)]
struct Client(reqwest::Client);

impl HttpSend for Client {
    async fn http_send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let failed = |error: reqwest::Error| Error::unexpected(error.without_url().to_string());
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let response = self.0.execute(request).await.map_err(failed)?;
        let mut answer = http::Response::new(Bytes::new());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        *answer.body_mut() = response.bytes().await.map_err(failed)?;
        Ok(answer)
    }
}

/// The files that profiles and tokens are in.
#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>, Error> {
        tokio::fs::read(path).await.map_err(|error| Error::config_invalid(format!("{path}: {error}")))
    }
}
