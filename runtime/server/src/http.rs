//! HTTP: readiness and metrics, what mail software looks for under a domain's names, and the API.

use crate::drive::Stream;
use crate::listen::Connection;
use crate::server::Server;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use schema::config::Service;
use schema::name::{Address, DomainName};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub mod autoconfig;
pub mod key;
mod people;
mod problem;

/// The largest request body.
const BODY_MOST: usize = 64 << 10;
/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may be open: nothing here takes long, and an idle one costs a place.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Clone)]
struct Facts {
    server: Arc<Server>,
    connection: Connection,
}

/// Serves one connection to its end.
///
/// # Errors
/// What the connection failed with.
pub async fn serve(stream: Stream, connection: Connection, local: SocketAddr, server: Arc<Server>) -> io::Result<()> {
    let facts = Facts { server, connection };
    let open = connection.service == Service::Https || local.ip().to_canonical().is_loopback();
    let service = TowerToHyperService::new(routes(open).with_state(facts));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let served = async {
        match stream {
            Stream::Plain(stream) => builder.serve_connection(TokioIo::new(stream), service).await,
            Stream::Tls(stream) => builder.serve_connection(TokioIo::new(stream), service).await,
        }
    };
    match tokio::time::timeout(CONNECTION_TIMEOUT, served).await {
        Ok(served) => served.map_err(io::Error::other),
        Err(_) => Ok(()),
    }
}

fn routes(open: bool) -> Router<Facts> {
    let router = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/health/dns", get(dns));
    let router = if open {
        router
            .route("/.well-known/mta-sts.txt", get(mta_sts))
            .route("/mail/config-v1.1.xml", get(autoconfig))
            .route("/.well-known/autoconfig/mail/config-v1.1.xml", get(autoconfig))
            .route("/autodiscover/autodiscover.xml", any(autodiscover))
            .route("/Autodiscover/Autodiscover.xml", any(autodiscover))
            .merge(people::routes())
    } else {
        router.route("/api/v1/{*rest}", any(people::in_clear)).fallback(to_https)
    };
    router.layer(axum::extract::DefaultBodyLimit::max(BODY_MOST))
}

async fn live() -> &'static str {
    "alive\n"
}

async fn ready(State(facts): State<Facts>) -> Response {
    let status = facts.server.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let code = if *facts.server.stopping.borrow() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let json = serde_json::to_string(&status).unwrap_or_else(|_| "{}".into());
    (code, [(header::CONTENT_TYPE, "application/json")], json + "\n").into_response()
}

/// What DNS showed at the last look; it names every domain, so it is for this machine alone, as the metrics are.
async fn dns(State(facts): State<Facts>) -> Response {
    if !facts.connection.peer.ip().is_loopback() {
        return (StatusCode::FORBIDDEN, "the health of DNS is told to loopback only\n").into_response();
    }
    let drift = facts.server.drift.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let json = serde_json::to_string(&drift).unwrap_or_else(|_| "{}".into());
    ([(header::CONTENT_TYPE, "application/json")], json + "\n").into_response()
}

async fn metrics(State(facts): State<Facts>) -> Response {
    if !facts.connection.peer.ip().is_loopback() {
        return (StatusCode::FORBIDDEN, "metrics are served to loopback only\n").into_response();
    }
    let text = facts.server.metrics.text();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn to_https(headers: HeaderMap, State(facts): State<Facts>, request: Request) -> Response {
    let listeners = &facts.server.live.now().host.listeners;
    let port = listeners.iter().find(|listener| listener.service == Service::Https).map(|l| l.address.port());
    let (Some(port), Some(host)) = (port, host(&headers)) else { return StatusCode::NOT_FOUND.into_response() };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    Redirect::permanent(&format!("https://{host}{port}{path}")).into_response()
}

fn host(headers: &HeaderMap) -> Option<DomainName> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    host.rsplit_once(':').map_or(host, |(name, _)| name).parse().ok()
}

/// RFC 8461 §3.3: the policy of the domain after `mta-sts.`.
async fn mta_sts(headers: HeaderMap, State(facts): State<Facts>) -> Response {
    let snapshot = facts.server.live.now();
    let domain = host(&headers).filter(|host| host.as_str().starts_with("mta-sts.")).and_then(|host| host.parent());
    let policy = domain.and_then(|domain| snapshot.domain(&domain)?.mta_sts.clone());
    match policy {
        Some(policy) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], policy).into_response(),
        None => (StatusCode::NOT_FOUND, "no policy for this name\n").into_response(),
    }
}

async fn autoconfig(
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    State(facts): State<Facts>,
) -> Response {
    let snapshot = facts.server.live.now();
    let address = query.get("emailaddress").and_then(|address| address.parse::<Address>().ok());
    let named = host(&headers).and_then(|host| {
        let is_ours = host.as_str().starts_with("autoconfig.") && !snapshot.domains.contains_key(&host);
        if is_ours { host.parent() } else { Some(host) }
    });
    let domain = address.map(|address| address.domain).or(named);
    match domain.filter(|domain| snapshot.domains.contains_key(domain)) {
        Some(domain) => xml(autoconfig::thunderbird(&snapshot, &domain)),
        None => (StatusCode::NOT_FOUND, "no such mail domain\n").into_response(),
    }
}

async fn autodiscover(State(facts): State<Facts>, body: Body) -> Response {
    let Ok(body) = axum::body::to_bytes(body, BODY_MOST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let snapshot = facts.server.live.now();
    let address = autoconfig::asked(&String::from_utf8_lossy(&body));
    match address.filter(|address| snapshot.domains.contains_key(&address.domain)) {
        Some(address) => xml(autoconfig::outlook(&snapshot, &address)),
        None => (StatusCode::NOT_FOUND, "no such mail domain\n").into_response(),
    }
}

fn xml(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], text).into_response()
}
