//! What has to be cleared away from time to time.

use crate::clock;
use crate::server::Server;
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, warn};

/// How often.
const EVERY: Duration = Duration::from_secs(600);

/// Collects blobs that nothing refers to, until the server stops.
pub async fn run(server: Arc<Server>) {
    let mut stopping = server.stopping.subscribe();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopping.changed() => return,
        }
        let mailboxes = server.live.now().stores.mailboxes.clone();
        match mailboxes.collect(clock::now()).await {
            Ok(collected) => {
                debug!(collected, "blobs collected");
                server.metrics.blobs_collected.add(collected);
            }
            Err(error) => warn!(%error, "blobs cannot be collected now"),
        }
    }
}
