//! Whether DNS still shows what the spec says: looked at from time to time by the compiler's `verify`, as a child like its
//! `build`. What it finds is `/api/health/dns`, and a few numbers of `/metrics`.

use crate::clock;
use crate::server::Server;
use crate::watch::{self, Source};
use serde::Serialize;
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::{info, warn};

/// What of a verification is about DNS. Connections to this server would tell nothing from here.
const GROUPS: [&str; 13] = [
    "name-servers",
    "records",
    "dnssec",
    "addresses",
    "reverse",
    "mx",
    "spf",
    "dkim",
    "dmarc",
    "mta-sts",
    "tls-rpt",
    "caa",
    "delegated",
];
/// How long one look may take at most.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How soon after the start the first one is.
const FIRST: Duration = Duration::from_secs(20);
/// Domains for each of which a second more passes between two looks, so that name servers are not flooded.
const DOMAINS_A_SECOND: u64 = 4;
/// The most findings that are shown.
const SHOWN_MOST: usize = 1_000;

/// What was found last.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Drift {
    /// When that was, in seconds since 1970; 0: not yet.
    pub looked: i64,
    /// Why nothing could be found out, if so.
    pub failed: Option<String>,
    /// Findings that are bad, weak or unknown, in all.
    pub bad: usize,
    /// See above.
    pub weak: usize,
    /// See above.
    pub unknown: usize,
    /// The bad and weak ones, the bad first.
    pub findings: Vec<Json>,
}

/// Looks every `every`, and longer where there are many domains, until the server stops.
pub async fn run(source: Source, server: Arc<Server>, every: Duration) {
    let mut stopping = server.stopping.subscribe();
    let mut pause = FIRST.min(every);
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopping.changed() => return,
        }
        let found = tokio::select! {
            found = look(&source, &server.ground.resolvers) => found,
            _ = stopping.changed() => return,
        };
        let drift = match found {
            Ok(json) => of(&json),
            Err(why) => {
                warn!(%why, "DNS cannot be verified");
                Drift { failed: Some(why), ..Drift::default() }
            }
        };
        let drift = Drift { looked: clock::milliseconds() / 1000, ..drift };
        server.metrics.dns_bad.set(i64::try_from(drift.bad).unwrap_or(i64::MAX));
        server.metrics.dns_weak.set(i64::try_from(drift.weak).unwrap_or(i64::MAX));
        server.metrics.dns_looked.set(drift.looked);
        let before =
            std::mem::replace(&mut *server.drift.lock().unwrap_or_else(PoisonError::into_inner), drift.clone());
        if before.bad != drift.bad {
            info!(bad = drift.bad, weak = drift.weak, "DNS against the spec; /api/health/dns says more");
        }
        let domains = u64::try_from(server.live.now().config.domains.len()).unwrap_or(u64::MAX);
        pause = every + Duration::from_secs(domains / DOMAINS_A_SECOND);
    }
}

async fn look(source: &Source, resolvers: &[SocketAddr]) -> Result<Json, String> {
    let mut words = vec!["--brief".to_owned(), "--format".to_owned(), "json".to_owned()];
    words.extend(GROUPS.iter().flat_map(|group| ["--group".to_owned(), (*group).to_owned()]));
    words.extend(resolvers.first().into_iter().flat_map(|server| ["--resolver".to_owned(), server.to_string()]));
    let said = watch::ask(source, "verify", &words, PATIENCE).await?;
    serde_json::from_slice(&said).map_err(|error| format!("`waybill verify` says what is not understood: {error}"))
}

fn of(json: &Json) -> Drift {
    let all = json["findings"].as_array().map_or(&[][..], Vec::as_slice);
    let count = |status: &str| all.iter().filter(|one| one["status"] == status).count();
    let some = |status: &'static str| all.iter().filter(move |one| one["status"] == status).cloned();
    Drift {
        bad: count("bad"),
        weak: count("weak"),
        unknown: count("unknown"),
        findings: some("bad").chain(some("weak")).take(SHOWN_MOST).collect(),
        ..Drift::default()
    }
}
