//! Mail from other servers: authenticated, judged, marked.

use super::{HOPS_MOST, Judged, Transaction, unstored};
use crate::clock;
use crate::listen::Connection;
use bytes::Bytes;
use mail::auth::{Arrival, Verdict};
use mail::message;
use mail::policy::{self, Decision};
use mail::trace;
use proto::smtp::types::Reply;
use schema::config::List;
use schema::spec::Posting;
use std::time::Duration;
use store::held;
use tracing::info;

/// How long the questions to DNS about one message may take, in all: well below the ten minutes that a client waits
/// (RFC 5321 §4.5.3.2.6).
const AUTHENTICATION_MOST: Duration = Duration::from_secs(90);

/// Judges a message that nobody logged in for.
pub(super) async fn judge(transaction: &Transaction, octets: Bytes, connection: Connection) -> Result<Judged, Reply> {
    let header_end = message::header_end(&octets);
    let header = octets.get(..header_end).unwrap_or_default();
    if message::hops(header) >= HOPS_MOST {
        return Err(Reply::new(554, Some((5, 4, 6)), "the message is going in circles"));
    }
    let (snapshot, mail) = (&transaction.snapshot, &transaction.mail);
    let host = snapshot.host.name.as_str();
    let from = mail.from.to_string();
    let arrival = Arrival { message: &octets, ip: connection.peer.ip(), helo: &mail.helo, mail_from: &from, host };
    let verified = tokio::time::timeout(AUTHENTICATION_MOST, snapshot.authenticator.verify(&arrival)).await;
    let Ok(verdict) = verified else {
        return Err(Reply::new(451, Some((4, 7, 0)), "DNS is too slow to tell who sent this, try again later"));
    };
    let unclear = author_is_unclear(header, &verdict)?;
    let junk = match policy::decide(&verdict, &snapshot.config.trust.arc_sealers) {
        Decision::Accept if unclear => {
            info!("goes to Junk: its From cannot be read");
            true
        }
        Decision::Accept => false,
        Decision::Junk { why } => {
            info!(why, "goes to Junk");
            true
        }
        Decision::Refuse { text } => return Err(Reply::new(550, Some((5, 7, 1)), &text)),
        Decision::Later { text } => return Err(Reply::new(451, Some((4, 7, 1)), &text)),
    };
    for list in &transaction.lists {
        if !may_post(list, header, &verdict) {
            return Err(Reply::new(550, Some((5, 7, 2)), &format!("you may not post to {}", list.address)));
        }
    }
    let return_path = if transaction.all_accounts { trace::return_path(&from) } else { String::new() };
    let octets = held::joined(&[
        return_path.as_bytes(),
        verdict.header().as_bytes(),
        received(transaction, connection).as_bytes(),
        &trace::authentication_results_strip(header, host),
        octets.get(header_end..).unwrap_or_default(),
    ])
    .await
    .map_err(|error| unstored(&error))?;
    Ok(Judged { octets, junk, vouched: verdict.path_is_own() })
}

/// Whether it cannot be read who the author is. Where the reader that authenticates and the one that shows the message
/// do not read the same, somebody is being deceived.
fn author_is_unclear(header: &[u8], verdict: &Verdict) -> Result<bool, Reply> {
    if message::fields(header, "From").is_empty() {
        return Ok(false);
    }
    let Ok(authors) = message::authors(header) else { return Ok(true) };
    let domain = |author: &String| author.rsplit_once('@').map(|(_, domain)| domain.to_lowercase()).unwrap_or_default();
    let first = authors.first().map(domain).unwrap_or_default();
    if first.ends_with('.') || (first.is_ascii() && first != verdict.from_domain.to_lowercase()) {
        return Err(Reply::new(550, Some((5, 6, 0)), "the From field is not well-formed (RFC 5322 §3.4)"));
    }
    Ok(authors.len() != verdict.authors)
}

/// The Received field (RFC 5321 §4.4).
pub(super) fn received(transaction: &Transaction, connection: Connection) -> String {
    let mail = &transaction.mail;
    let only = match transaction.recipients.as_slice() {
        // With several, the field would tell each of the others.
        [only] => Some(only.address.as_str()),
        _ => None,
    };
    trace::received(&trace::Trace {
        helo: &mail.helo,
        ip: connection.peer.ip(),
        host: transaction.snapshot.host.name.as_str(),
        esmtp: mail.esmtp,
        tls: mail.tls.as_ref().map(|tls| (tls.version, tls.cipher.as_str())),
        authenticated: mail.user.is_some(),
        utf8: mail.params.smtputf8,
        id: &format!("{:x}", connection.id),
        recipient: only,
        now: clock::now(),
    })
}

/// Whether a stranger may post. Members and owners are known by a From that DMARC, or DKIM or SPF in line with
/// it, vouches for; a null reverse path never posts, since it is a report.
fn may_post(list: &List, header: &[u8], verdict: &Verdict) -> bool {
    if list.posting == Posting::Anyone {
        return true;
    }
    let Ok(authors) = message::authors(header) else { return false };
    verdict.is_aligned()
        && authors.iter().all(|author| {
            let author = author.parse().ok();
            let among = |people: &[schema::name::Address]| author.as_ref().is_some_and(|who| people.contains(who));
            among(&list.owners) || (list.posting == Posting::Members && among(&list.members))
        })
}
