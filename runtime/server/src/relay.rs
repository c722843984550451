//! Delivery to other servers: by MX, TLS where it is offered (RFC 3207, RFC 7435), one transaction a message and
//! domain.

use crate::clock;
use crate::deliver::without_return_path;
use crate::queue::Job;
use crate::queue::outcome::{self, Failure, Outcome};
use crate::resolver::LookupError;
use crate::server::Server;
use crate::snapshot::Snapshot;
use bytes::Bytes;
use proto::smtp::types::Host;
use session::{Handed, Letter, Peer, Trouble};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use store::held;
use store::spool::name;
use tracing::{Instrument, debug, info, info_span, warn};

mod session;

/// The port that mail servers listen on (RFC 5321 §2.3.4).
const PORT: u16 = 25;
/// How long one attempt may take over all servers of the domain.
const ATTEMPT_MOST: Duration = Duration::from_secs(30 * 60);
/// Servers tried in one attempt.
const SERVERS_MOST: usize = 10;

/// Hands jobs of one message to a domain's server, and settles them. False where the store failed.
pub async fn remote(server: &Arc<Server>, host: &Host, jobs: Vec<Job>) -> bool {
    let Some(first) = jobs.first() else { return true };
    let id = first.ticket.id;
    let span = info_span!("relay", id = name(id), to = %host);
    let snapshot = server.live.now();
    let work = async {
        if !snapshot.stores.spool.holds(id, clock::now()) {
            info!("left to the node that works this part of the queue now");
            return false;
        }
        let octets = match snapshot.stores.spool.octets(&first.message).await {
            Ok(octets) => without_return_path(&first.message, octets),
            Err(error) => {
                warn!(%error, "a queued message cannot be read");
                return false;
            }
        };
        let outcomes = match tokio::time::timeout(ATTEMPT_MOST, attempt(&snapshot, host, &jobs, &octets)).await {
            Ok(outcomes) => outcomes,
            Err(_) => all(&jobs, &Outcome::Deferred(failure("4.4.2", "the attempt took too long", None))),
        };
        let outcomes: Vec<(Job, Outcome)> = jobs.iter().cloned().zip(outcomes).collect();
        let (changes, new) = outcome::follow(server, &snapshot, &octets, &outcomes);
        match snapshot.stores.spool.settle(id, changes, &new, clock::now()).await {
            Ok(()) => true,
            Err(error) => {
                // Handed over, but not noted: it will be handed over again, which is better than never.
                warn!(%error, "the queue cannot be written");
                false
            }
        }
    };
    work.instrument(span).await
}

fn all(jobs: &[Job], outcome: &Outcome) -> Vec<Outcome> {
    jobs.iter().map(|_| outcome.clone()).collect()
}

fn failure(status: &str, why: &str, remote: Option<(String, String)>) -> Failure {
    Failure { status: status.to_owned(), why: why.to_owned(), remote }
}

/// One attempt: an outcome for each job.
async fn attempt(snapshot: &Snapshot, host: &Host, jobs: &[Job], octets: &Bytes) -> Vec<Outcome> {
    let peers = match peers(snapshot, host).await {
        Ok(peers) => peers,
        Err(outcome) => return all(jobs, &outcome),
    };
    let letter = letter(snapshot, jobs, octets);
    let mut last = Outcome::Deferred(failure("4.4.1", "no server of the domain answers", None));
    let mut outcomes: Vec<Option<Outcome>> = vec![None; jobs.len()];
    for peer in peers.into_iter().take(SERVERS_MOST) {
        let open: Vec<usize> = (0..jobs.len()).filter(|at| outcomes.get(*at).is_some_and(Option::is_none)).collect();
        if open.is_empty() {
            break;
        }
        match session::hand(snapshot, &peer, &letter, &open).await {
            Ok(handed) => {
                for (at, handed) in open.into_iter().zip(handed) {
                    let outcome = match handed {
                        Handed::Taken { dsn } => Some(Outcome::Relayed { remote: peer.name.clone(), dsn }),
                        Handed::Refused(failure) if failure.status.starts_with('5') => Some(Outcome::Failed(failure)),
                        // RFC 5321 §5.1: a temporary refusal of one server is not asked of the next at once.
                        Handed::Refused(failure) => Some(Outcome::Deferred(failure)),
                    };
                    if let Some(place) = outcomes.get_mut(at) {
                        *place = outcome;
                    }
                }
                break;
            }
            Err(Trouble { failure }) => {
                debug!(peer = peer.name, address = %peer.address, why = failure.why, "no luck with this server");
                last = Outcome::Deferred(failure);
            }
        }
    }
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| last.clone())).collect()
}

/// The servers to try, most preferred first.
async fn peers(snapshot: &Snapshot, host: &Host) -> Result<Vec<Peer>, Outcome> {
    let domain = match host {
        Host::Ipv4(address) => return literal(snapshot, IpAddr::V4(*address)),
        Host::Ipv6(address) => return literal(snapshot, IpAddr::V6(*address)),
        Host::Domain(domain) => domain,
    };
    let ours = snapshot.host.name.as_str();
    let mut exchanges = snapshot.resolver.exchanges(domain).await.map_err(|error| trouble(&error))?;
    if let Some(own) = exchanges.iter().find(|exchange| exchange.name == ours).map(|exchange| exchange.preference) {
        // RFC 5321 §5.1: from us it goes only to servers more preferred than we are.
        exchanges.retain(|exchange| exchange.preference < own);
        if exchanges.is_empty() {
            let why = format!("DNS says that this server takes mail for {domain}, but the configuration does not");
            return Err(Outcome::Failed(failure("5.4.6", &why, None)));
        }
    }
    let (mut peers, mut last) = (Vec::new(), None);
    for exchange in exchanges {
        match snapshot.resolver.addresses(&exchange.name).await {
            Ok(addresses) => peers.extend(
                addresses
                    .into_iter()
                    .map(|address| Peer { name: exchange.name.clone(), address: SocketAddr::new(address, PORT) }),
            ),
            // While one may answer later, the others' absence proves nothing.
            Err(error) if !matches!(last, Some(LookupError::Temporary(..))) => last = Some(error),
            Err(_) => {}
        }
    }
    match last {
        Some(error) if peers.is_empty() => Err(trouble(&error)),
        _ => Ok(peers),
    }
}

fn literal(snapshot: &Snapshot, address: IpAddr) -> Result<Vec<Peer>, Outcome> {
    if snapshot.host.listeners.iter().any(|listener| listener.address.ip() == address) {
        return Err(Outcome::Failed(failure("5.1.1", "there are no mailboxes at an address literal here", None)));
    }
    Ok(vec![Peer { name: format!("[{address}]"), address: SocketAddr::new(address, PORT) }])
}

fn trouble(error: &LookupError) -> Outcome {
    match error {
        LookupError::NoSuchDomain(_) => Outcome::Failed(failure("5.1.2", &error.to_string(), None)),
        LookupError::NullMx(_) => Outcome::Failed(failure("5.1.10", &error.to_string(), None)),
        LookupError::NoServer(_) => Outcome::Failed(failure("5.4.4", &error.to_string(), None)),
        LookupError::Temporary(..) => Outcome::Deferred(failure("4.4.3", &error.to_string(), None)),
    }
}

/// Whether a message can only go where SMTPUTF8 is known (RFC 6531 §3.4): asking for it alone is no need.
fn needs_utf8(from: &str, jobs: &[Job], octets: &[u8]) -> bool {
    let header = octets.get(..mail::message::header_end(octets)).unwrap_or_default();
    !from.is_ascii() || !header.is_ascii() || jobs.iter().any(|job| !job.recipient.address.is_ascii())
}

/// What is handed over. What others sent and our groups forward goes under an address of ours (SRS), since the
/// sender's SPF does not know this server.
fn letter(snapshot: &Snapshot, jobs: &[Job], octets: &Bytes) -> Letter {
    let first = jobs.first().map(|job| &job.message).cloned().unwrap_or_default();
    let foreign = first.user.is_none()
        && first
            .from
            .rsplit_once('@')
            .is_some_and(|(_, domain)| domain.parse().is_ok_and(|domain| !snapshot.directory.is_ours(&domain)));
    let host = snapshot.host.name.as_str();
    let from = if foreign {
        let secret = snapshot.stores.spool.secret();
        mail::srs::forward(&first.from, host, secret, clock::day()).unwrap_or_else(|_| first.from.clone())
    } else {
        first.from.clone()
    };
    let utf8 = first.utf8 && needs_utf8(&from, jobs, octets);
    Letter {
        from,
        size: octets.len() as u64,
        utf8,
        eight_bit: !held::parts(octets).all(<[u8]>::is_ascii),
        envid: first.envid,
        ret: first.ret,
        recipients: jobs.iter().map(|job| job.recipient.clone()).collect(),
        octets: octets.clone(),
        spool: Arc::clone(&snapshot.stores.spool),
        id: jobs.first().map_or(0, |job| job.ticket.id),
    }
}
