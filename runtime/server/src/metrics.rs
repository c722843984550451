//! What is counted, and its text form for Prometheus (`/metrics`).

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Something that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// How many so far.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Something that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// Sets the value.
    pub fn set(&self, n: i64) {
        self.0.store(n, Relaxed);
    }
    /// The value now.
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

macro_rules! metrics {
    ($($kind:ident $name:ident $wire:literal $help:literal;)*) => {
        /// Everything that is counted.
        #[derive(Debug, Default)]
        pub struct Metrics { $(#[doc = $help] pub $name: $kind,)* }

        impl Metrics {
            /// Prometheus' text format, version 0.0.4.
            pub fn text(&self) -> String {
                let mut out = String::new();
                $({
                    let kind = stringify!($kind).to_ascii_lowercase();
                    // Writing to a String cannot fail.
                    let _ = writeln!(out, concat!("# HELP waybill_", $wire, " ", $help));
                    let _ = writeln!(out, "# TYPE waybill_{} {kind}", $wire);
                    let _ = writeln!(out, "waybill_{} {}", $wire, self.$name.value());
                })*
                out
            }
        }
    };
}

metrics! {
    Gauge connections "connections" "Open connections.";
    Counter connections_accepted "connections_accepted_total" "Connections accepted.";
    Counter connections_refused "connections_refused_total" "Connections refused by a limit.";
    Counter messages_accepted "messages_accepted_total" "Messages that got 250.";
    Counter messages_refused "messages_refused_total" "Messages refused after their content was seen.";
    Counter recipients_refused "recipients_refused_total" "Recipients refused.";
    Counter delivered "deliveries_total" "Deliveries into mailboxes.";
    Counter relayed "relayed_total" "Recipients handed to other servers.";
    Counter deferred "deferred_total" "Attempts to be tried again.";
    Counter bounced "bounced_total" "Recipients given up.";
    Counter dsns "dsns_total" "Delivery status notifications made.";
    Counter logins "logins_total" "Successful logins.";
    Counter logins_refused "logins_refused_total" "Failed logins.";
    Counter reloads "reloads_total" "Configurations taken.";
    Counter reloads_rejected "reloads_rejected_total" "Configurations refused.";
    Gauge rejected "configuration_rejected" "1 while the newest configuration is refused.";
    Gauge domains "domains" "Domains of the running configuration.";
    Gauge accounts "accounts" "Accounts of the running configuration.";
    Gauge dns_bad "dns_bad" "What DNS shows otherwise than the spec says, as of the last look.";
    Gauge dns_weak "dns_weak" "What of DNS might be better, as of the last look.";
    Gauge dns_looked "dns_looked_seconds" "When DNS was looked at last, in seconds since 1970; 0: not yet.";
    Counter indexed "indexed_total" "Messages that the full-text index was told of: new ones and ones that are gone.";
    Counter blobs_collected "blobs_collected_total" "Blobs removed that nothing referred to.";
}
