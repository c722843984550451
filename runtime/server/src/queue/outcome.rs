//! What a finished attempt leads to: done, another attempt, or a report to the sender (RFC 3461, RFC 3464).

use crate::clock;
use crate::queue::Job;
use crate::queue::schedule::{self, Retry};
use crate::server::Server;
use crate::snapshot::Snapshot;
use bytes::Bytes;
use mail::compose::{self, Action, Dsn, Reported, Returned};
use store::spool::{Message, NewEntry, Next, Recipient, Return, name};
use tracing::{info, warn};

/// Why a recipient was not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// RFC 3463.
    pub status: String,
    /// For a person, and for the log.
    pub why: String,
    /// Which server said so, and what.
    pub remote: Option<(String, String)>,
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Another server took it.
    Relayed {
        /// Which.
        remote: String,
        /// Whether it said that it reports deliveries itself (RFC 3461 §5.2.2).
        dsn: bool,
    },
    /// Later, perhaps.
    Deferred(Failure),
    /// Never.
    Failed(Failure),
}

/// Octets of a message that a report returns whole; of larger ones it returns the header.
const RETURN_MOST: usize = 50 << 10;

/// What follows from the outcomes of one message's recipients. `octets` are the message's.
pub fn follow(
    server: &Server,
    snapshot: &Snapshot,
    octets: &Bytes,
    outcomes: &[(Job, Outcome)],
) -> (Vec<(u32, Next)>, Vec<NewEntry>) {
    let (mut changes, mut failures, mut late, mut new) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (job, outcome) in outcomes {
        let id = name(job.ticket.id);
        let to = &job.recipient.address;
        let next = match outcome {
            Outcome::Relayed { remote, dsn } => {
                info!(id, to, remote, "relayed");
                server.metrics.relayed.add(1);
                if !dsn {
                    new.extend(reached(snapshot, job, Action::Relayed, Some(octets)));
                }
                Next::Done
            }
            Outcome::Failed(failure) => {
                failures.push((job, failure.clone()));
                Next::Done
            }
            Outcome::Deferred(failure) => match again(snapshot, job, failure) {
                None => {
                    failures.push((job, given_up(failure)));
                    Next::Done
                }
                Some((recipient, tell)) => {
                    info!(id, to, why = failure.why, due = recipient.due, "deferred");
                    server.metrics.deferred.add(1);
                    if tell {
                        late.push((job, failure.clone()));
                    }
                    Next::Later(recipient)
                }
            },
        };
        changes.push((job.ticket.recipient, next));
    }
    new.extend(failed(server, snapshot, octets, &failures));
    new.extend(report(snapshot, Some(octets), &late, Action::Delayed));
    (changes, new)
}

/// The recipient as it is tried again, and whether its sender is told of the delay; none: given up.
fn again(snapshot: &Snapshot, job: &Job, failure: &Failure) -> Option<(Recipient, bool)> {
    let recipient = &job.recipient;
    let tried = recipient.tried.saturating_add(1);
    let when = (job.message.arrived, clock::now());
    let mixed = job.ticket.id ^ u64::from(job.ticket.recipient) ^ u64::from(tried);
    let jitter = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 7;
    match schedule::after(tried, when, recipient.told, &snapshot.config.queue, jitter) {
        Retry::GiveUp => None,
        Retry::At { due, tell } => {
            let told = recipient.told || tell;
            Some((Recipient { tried, due, told, last: failure.why.clone(), ..recipient.clone() }, tell))
        }
    }
}

fn given_up(failure: &Failure) -> Failure {
    let status = match failure.status.strip_prefix('4') {
        // RFC 3463 §3.5: what was temporary for days is a delivery time expired.
        Some(_) => "5.4.7".to_owned(),
        None => failure.status.clone(),
    };
    Failure { status, why: format!("given up after many attempts: {}", failure.why), remote: failure.remote.clone() }
}

/// The report of recipients that are given up, where the sender wants and may have one.
pub fn failed(server: &Server, snapshot: &Snapshot, octets: &Bytes, failures: &[(&Job, Failure)]) -> Option<NewEntry> {
    for (job, failure) in failures {
        let (id, to) = (name(job.ticket.id), &job.recipient.address);
        warn!(id, to, from = job.message.from, why = failure.why, told = job.message.bounces, "given up");
    }
    server.metrics.bounced.add(failures.len() as u64);
    let new = report(snapshot, Some(octets), failures, Action::Failed);
    server.metrics.dsns.add(u64::from(new.is_some()));
    new
}

/// The report of a delivery, where the sender asked for one ([`wants_success`]).
pub fn reached(snapshot: &Snapshot, job: &Job, action: Action, octets: Option<&Bytes>) -> Option<NewEntry> {
    let failure = Failure { status: "2.0.0".to_owned(), why: String::new(), remote: None };
    report(snapshot, octets, &[(job, failure)], action)
}

/// Whether the sender asked to hear of deliveries.
pub fn wants_success(job: &Job) -> bool {
    job.recipient.notify.is_some_and(|notify| notify.success)
}

fn report(snapshot: &Snapshot, octets: Option<&Bytes>, about: &[(&Job, Failure)], action: Action) -> Option<NewEntry> {
    let wanted = |job: &Job| {
        let notify = job.recipient.notify.unwrap_or_default();
        match action {
            Action::Failed => notify.failure,
            Action::Delayed => notify.delay,
            _ => notify.success,
        }
    };
    let about: Vec<&(&Job, Failure)> = about.iter().filter(|(job, _)| wanted(job)).collect();
    let message = &about.first()?.0.message;
    // RFC 5321 §4.5.5: nobody hears of what came with the null path, nor who did not send it.
    if message.from.is_empty() || !message.bounces {
        return None;
    }
    let now = clock::now();
    let host = snapshot.host.name.as_str();
    let recipients = about.iter().map(|(job, failure)| reported(job, failure, action)).collect();
    // RFC 3461 §4.3: only a failure returns the message; else its header tells which it was.
    let whole = message.ret != Return::Headers && action == Action::Failed;
    let returned = octets.map(|octets| match whole && octets.len() <= RETURN_MOST {
        true => Returned::Whole(octets),
        false => Returned::Header(octets),
    });
    let made = compose::dsn(&Dsn {
        host,
        to: &message.from,
        now,
        message_id: &format!("{:x}.dsn@{host}", clock::nanoseconds()),
        arrived: message.arrived,
        envelope_id: message.envid.as_deref(),
        recipients,
        returned,
        retry_until: (action == Action::Delayed).then(|| {
            let expire = snapshot.config.queue.expire.duration().as_secs();
            message.arrived.saturating_add(i64::try_from(expire).unwrap_or(i64::MAX))
        }),
    });
    let ours = |domain: &str| domain.parse().is_ok_and(|domain| snapshot.directory.is_ours(&domain));
    let made = match message.from.rsplit_once('@') {
        Some((_, domain)) if !ours(domain) => {
            [snapshot.signatures(snapshot.host.name.domain(), &made).into_bytes(), made].concat()
        }
        _ => made,
    };
    let recipient = Recipient { address: message.from.clone(), due: now, ..Recipient::default() };
    let own = Message { arrived: now, utf8: message.utf8, ..Message::default() };
    Some(NewEntry { message: own, octets: made.into(), recipients: vec![recipient] })
}

fn reported(job: &Job, failure: &Failure, action: Action) -> Reported {
    Reported {
        address: job.recipient.address.clone(),
        original: job.recipient.orcpt.clone(),
        action,
        // RFC 3464 §2.3.4: what is only late has not failed for good.
        status: match (action, failure.status.strip_prefix('5')) {
            (Action::Delayed, Some(rest)) => format!("4{rest}"),
            _ => failure.status.clone(),
        },
        remote: failure.remote.as_ref().map(|(name, _)| name.clone()),
        diagnostic: failure.remote.as_ref().map(|(_, said)| said.clone()),
        why: failure.why.clone(),
    }
}
