//! Local delivery: into mailboxes, and groups and lists into their members.

use crate::clock;
use crate::queue::{Job, outcome};
use crate::route::{DEPTH_MOST, Route};
use crate::server::Server;
use crate::snapshot::Snapshot;
use mail::compose::Action;
use mail::{compose, message, trace};
use proto::smtp::types::Host;
use schema::config::List;
use schema::name::Address;
use std::sync::Arc;
use store::error::StoreError;
use store::held;
use store::spool::{Delivery, Message, NewEntry, Next, NotifyOn, Recipient, Task, name};
use tracing::{error, info, warn};

/// Members put in place of a group or list at once.
const MEMBERS_AT_ONCE: usize = 500;

/// Where a job goes on.
pub enum Sorted {
    /// Into this account's mailbox.
    Account(Address),
    /// To another server.
    Remote(Host),
    /// Nowhere: it is settled.
    Settled,
    /// The store failed: later.
    Failed,
}

/// Finds out where a job goes on, and settles what needs no delivery.
pub async fn sort(server: &Arc<Server>, snapshot: &Arc<Snapshot>, job: &Job) -> Sorted {
    let route = match snapshot.route(&job.recipient.address).await {
        Route::Account(account) => return Sorted::Account(account),
        Route::Remote(host) => return Sorted::Remote(host),
        route @ Route::Later(..) => route,
        route if job.recipient.depth >= DEPTH_MOST => {
            warn!(id = name(job.ticket.id), ?route, "forwarded in a circle");
            Route::Nobody("5.4.6", format!("mail for <{}> goes in a circle", job.recipient.address))
        }
        route => route,
    };
    let settled = match route {
        Route::Group { members, .. } => spread(snapshot, job, members).await,
        Route::List(list) if matches!(job.recipient.task, Task::Spread(_)) => {
            spread(snapshot, job, list.members.clone()).await
        }
        Route::List(list) => post(snapshot, job, &list).await,
        Route::Rewritten(original) => {
            let row = forwarded(&job.recipient, original);
            settle(snapshot, job, Next::Spread(vec![row], None), &[]).await
        }
        Route::Nobody(status, why) => {
            let failure = outcome::Failure { status: status.to_owned(), why, remote: None };
            nobody(server, snapshot, job, failure).await
        }
        Route::Later(status, why) => {
            let failure = outcome::Failure { status: status.to_owned(), why, remote: None };
            defer(server, snapshot, job, failure).await
        }
        Route::Account(_) | Route::Remote(_) => Ok(()),
    };
    match settled {
        Ok(()) => Sorted::Settled,
        Err(error) => {
            warn!(%error, id = name(job.ticket.id), "the queue cannot be written; trying again");
            Sorted::Failed
        }
    }
}

async fn settle(snapshot: &Snapshot, job: &Job, next: Next, new: &[NewEntry]) -> Result<(), StoreError> {
    let changes = vec![(job.ticket.recipient, next)];
    snapshot.stores.spool.settle(job.ticket.id, changes, new, clock::now()).await
}

async fn nobody(server: &Server, snapshot: &Snapshot, job: &Job, failure: outcome::Failure) -> Result<(), StoreError> {
    let octets = without_return_path(&job.message, snapshot.stores.spool.octets(&job.message).await?);
    let new: Vec<NewEntry> = outcome::failed(server, snapshot, &octets, &[(job, failure)]).into_iter().collect();
    settle(snapshot, job, Next::Done, &new).await
}

/// Another attempt later, as for mail that another server did not take.
async fn defer(server: &Server, snapshot: &Snapshot, job: &Job, failure: outcome::Failure) -> Result<(), StoreError> {
    let octets = without_return_path(&job.message, snapshot.stores.spool.octets(&job.message).await?);
    let outcomes = [(job.clone(), outcome::Outcome::Deferred(failure))];
    let (changes, new) = outcome::follow(server, snapshot, &octets, &outcomes);
    snapshot.stores.spool.settle(job.ticket.id, changes, &new, clock::now()).await
}

fn forwarded(from: &Recipient, address: String) -> Recipient {
    Recipient {
        address,
        orcpt: from.orcpt.clone().or_else(|| Some(format!("rfc822;{}", from.address))),
        // RFC 3461 §5.2.7: that it was expanded is told once; who the members are is nobody's business.
        notify: from.notify.map(|notify| NotifyOn { success: false, ..notify }),
        depth: from.depth.saturating_add(1),
        due: clock::now(),
        ..Recipient::default()
    }
}

/// Puts the next members in the place of a group or list, with a cursor where more remain.
async fn spread(snapshot: &Snapshot, job: &Job, mut members: Vec<Address>) -> Result<(), StoreError> {
    let mut texts: Vec<String> = members.drain(..).map(|member| member.to_string()).collect();
    texts.sort_unstable();
    texts.dedup();
    if let Task::Spread(after) = &job.recipient.task {
        texts.retain(|member| member > after);
    }
    let more = texts.len() > MEMBERS_AT_ONCE;
    texts.truncate(MEMBERS_AT_ONCE);
    let cursor = texts.last().filter(|_| more).cloned();
    let stays = cursor.map(|after| Recipient { task: Task::Spread(after), due: clock::now(), ..job.recipient.clone() });
    let rows = texts.into_iter().map(|member| forwarded(&job.recipient, member)).collect();
    let first = job.recipient.task == Task::Deliver;
    let told = if first { told(snapshot, job, Action::Expanded).await? } else { None };
    settle(snapshot, job, Next::Spread(rows, stays), told.as_slice()).await
}

/// The report that a recipient was reached, where it was asked for.
async fn told(snapshot: &Snapshot, job: &Job, action: Action) -> Result<Option<NewEntry>, StoreError> {
    if !outcome::wants_success(job) {
        return Ok(None);
    }
    let octets = without_return_path(&job.message, snapshot.stores.spool.octets(&job.message).await?);
    Ok(outcome::reached(snapshot, job, action, Some(&octets)))
}

/// Turns a message to a list into one from the list: its own return path, its own fields (RFC 2369, RFC 2919).
async fn post(snapshot: &Snapshot, job: &Job, list: &List) -> Result<(), StoreError> {
    let spool = &snapshot.stores.spool;
    let octets = without_return_path(&job.message, spool.octets(&job.message).await?);
    let header_end = message::header_end(&octets);
    let header = octets.get(..header_end).unwrap_or_default();
    let id = format!("{}.{}", list.address.local, list.address.domain);
    if message::fields(header, "List-Id").iter().any(|field| field.contains(&format!("<{id}>"))) {
        info!(id = name(job.ticket.id), list = %list.address, "the list's own message came back; dropped");
        return settle(snapshot, job, Next::Done, &[]).await;
    }
    let fields = compose::list_header(&compose::ListHeader {
        id: &id,
        name: &list.name,
        post: &list.address.to_string(),
        owner: &format!("{}-owner@{}", list.address.local, list.address.domain),
    });
    let own = compose::without_list_fields(header);
    let body = octets.get(header_end..).unwrap_or_default();
    let whole = held::joined(&[fields.as_bytes(), &own, body]).await?;
    let whole = held::joined(&[snapshot.signatures(&list.address.domain, &whole).as_bytes(), &whole]).await?;
    let entry = NewEntry {
        message: Message {
            arrived: clock::now(),
            from: format!("{}-bounces@{}", list.address.local, list.address.domain),
            utf8: job.message.utf8,
            junk: job.message.junk,
            user: job.message.user.clone(),
            ..Message::default()
        },
        octets: whole,
        recipients: vec![Recipient {
            address: list.address.to_string(),
            task: Task::Spread(String::new()),
            depth: job.recipient.depth.saturating_add(1),
            due: clock::now(),
            ..Recipient::default()
        }],
    };
    info!(id = name(job.ticket.id), list = %list.address, members = list.members.len(), "posted to the list");
    let mut new = vec![entry];
    new.extend(told(snapshot, job, Action::Delivered).await?);
    settle(snapshot, job, Next::Done, &new).await
}

/// The message as it came: without the field that only a mailbox wants.
pub fn without_return_path(message: &Message, octets: bytes::Bytes) -> bytes::Bytes {
    if !message.return_path {
        return octets;
    }
    let end = octets.windows(2).position(|two| two == b"\r\n").map_or(0, |at| at + 2);
    octets.slice(end..)
}

/// What stands behind the `+` of an address.
fn detail(address: &str) -> String {
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
    local.split_once('+').map_or(String::new(), |(_, detail)| detail.to_ascii_lowercase())
}

/// Puts jobs into an account's mailbox. False where the store failed and they are to be tried again.
pub async fn local(server: &Arc<Server>, account: &Address, jobs: Vec<Job>) -> bool {
    let snapshot = server.live.now();
    let mut deliveries = Vec::with_capacity(jobs.len());
    for job in &jobs {
        let new = told(&snapshot, job, Action::Delivered).await.unwrap_or_else(|error| {
            warn!(%error, id = name(job.ticket.id), "a delivery cannot be reported");
            None
        });
        deliveries.push(Delivery {
            ticket: job.ticket,
            detail: detail(&job.recipient.address),
            return_path: trace::return_path(&job.message.from),
            new: new.into_iter().collect(),
        });
    }
    match snapshot.stores.spool.deliver(account, &deliveries, clock::now()).await {
        Ok(()) => {
            for job in &jobs {
                info!(id = name(job.ticket.id), to = %account, "delivered");
            }
            server.metrics.delivered.add(jobs.len() as u64);
            true
        }
        Err(StoreError::Corrupt { what }) if jobs.len() > 1 => {
            // One unreadable message must not hold up the others.
            warn!(what, to = %account, "something is unreadable; delivering one by one");
            let mut all = true;
            for job in jobs {
                all &= Box::pin(local(server, account, vec![job])).await;
            }
            all
        }
        Err(error) => {
            error!(%error, to = %account, "a mailbox cannot be written; trying again");
            false
        }
    }
}
