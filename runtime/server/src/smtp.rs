//! The SMTP host: what it takes, and on whose word.
//!
//! One snapshot serves a transaction from MAIL to the end of its message. Whatever can be refused is refused
//! before the `250`, which is made from the spool's receipt and from nothing else.

use crate::clock;
use crate::drive::{self, Host};
use crate::leave::{Leave, Why};
use crate::listen::Connection;
use crate::login::{LoginError, mechanisms};
use crate::route::Route;
use crate::server::{Room, Server};
use crate::snapshot::Snapshot;
use async_trait::async_trait;
use bytes::Bytes;
use proto::smtp::ask::{Answer, Ask, MailAsk};
use proto::smtp::session::{Config, Role, SmtpSession};
use proto::smtp::types::{Path, RcptParams, Reply, Ret};
use proto::{BlobRef, TlsFacts};
use schema::config::{List, Service};
use schema::name::Address;
use std::ops::Range;
use std::sync::Arc;
use store::directory::Access;
use store::error::StoreError;
use store::held::{self, Held};
use store::spool::{Message, NewEntry, NotifyOn, Recipient, Return};
use tracing::{Instrument, debug, info, info_span, warn};

mod arrival;
mod submission;

/// Received fields after which a message is going in circles (RFC 5321 §6.3 wants at least 100).
const HOPS_MOST: usize = 100;

/// Room for a message, in octets: at first, and at most at once later.
const ROOM_FIRST: u64 = 64 << 10;
const ROOM_MORE: u64 = 1 << 20;

/// Answers one SMTP session.
pub struct SmtpHost {
    server: Arc<Server>,
    connection: Connection,
    user: Option<Address>,
    transaction: Option<Transaction>,
    leave: Leave,
}

/// A message on its way in.
struct Transaction {
    snapshot: Arc<Snapshot>,
    mail: MailAsk,
    recipients: Vec<Recipient>,
    /// Whether every recipient is one account here.
    all_accounts: bool,
    /// Which accounts are recipients.
    accounts: Vec<Address>,
    lists: Vec<Arc<List>>,
    octets: Held,
    room: Option<Room>,
}

/// A message that may come in.
struct Judged {
    /// As it is to be stored.
    octets: Bytes,
    /// Whether it goes to Junk.
    junk: bool,
    /// Whether the reverse path is its own, so that failures may be told to it.
    vouched: bool,
}

impl SmtpHost {
    /// A host and its session for a connection just made.
    pub async fn begin(connection: Connection, tls: Option<TlsFacts>, server: Arc<Server>) -> (SmtpHost, SmtpSession) {
        let snapshot = server.live.now();
        let limits = &snapshot.config.limits;
        let config = Config {
            host_name: snapshot.host.name.to_string(),
            role: if connection.service == Service::Smtp { Role::Relay } else { Role::Submission },
            starttls: connection.service != Service::Submissions,
            mechanisms: mechanisms(snapshot.directory.all_have_scram().await),
            max_size: limits.message_size.0,
            max_recipients: limits.recipients,
            session_time: limits.session.duration(),
        };
        let session =
            SmtpSession::new(config, tls, drive::seed(&server.secret, connection.id), crate::clock::instant());
        let leave = Leave::new(Arc::clone(&server));
        (SmtpHost { server, connection, user: None, transaction: None, leave }, session)
    }

    async fn mail(&mut self, mail: MailAsk) -> Answer {
        let snapshot = self.server.live.now();
        if let (Some(user), Path::Mailbox(mailbox)) = (&self.user, &mail.from) {
            let owned = match mailbox.to_string().parse() {
                Ok(from) => snapshot.directory.may_send_as(user, &from).await,
                Err(_) => Ok(false),
            };
            let owned = match owned {
                Ok(owned) => owned,
                Err(error) => return Answer::Refuse(unknown(&error)),
            };
            if !owned {
                return refuse(550, (5, 7, 1), &format!("{user} may not send as {mailbox}"));
            }
        }
        self.transaction = Some(Transaction {
            snapshot,
            mail,
            recipients: Vec::new(),
            all_accounts: true,
            accounts: Vec::new(),
            lists: Vec::new(),
            octets: Held::default(),
            room: None,
        });
        Answer::Go
    }

    async fn recipient(&mut self, path: Path, params: RcptParams) -> Answer {
        let Some(transaction) = &mut self.transaction else { return Answer::Refuse(Reply::bad_sequence()) };
        let address = path.to_string();
        match transaction.snapshot.route(&address).await {
            Route::Account(account) => {
                let said = transaction.mail.params.size.unwrap_or(1);
                if let Err(reply) = has_room(&transaction.snapshot, &account, said).await {
                    return Answer::Refuse(reply);
                }
                transaction.accounts.push(account);
            }
            Route::Group { members, .. } => {
                transaction.all_accounts = false;
                if let Err(reply) = someone_has_room(transaction, &members).await {
                    return Answer::Refuse(reply);
                }
            }
            Route::Rewritten(_) => transaction.all_accounts = false,
            // A report is for whoever sent the message, which a list never did; its bounces have their own address.
            Route::List(_) if transaction.mail.from == Path::Null => {
                self.server.metrics.recipients_refused.add(1);
                return refuse(550, (5, 7, 1), &format!("<{address}> is a list, and takes no reports"));
            }
            Route::List(list) => {
                transaction.all_accounts = false;
                transaction.lists.push(list);
            }
            Route::Remote(_) if self.user.is_some() => transaction.all_accounts = false,
            Route::Remote(_) => {
                self.server.metrics.recipients_refused.add(1);
                info!(to = address, "refused: relaying");
                return refuse(550, (5, 7, 1), &format!("<{address}>: this server does not relay; log in to send"));
            }
            Route::Later(status, why) => {
                let detail = status.rsplit('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                return refuse(451, (4, 3, detail), &why);
            }
            Route::Nobody(status, why) => {
                self.server.metrics.recipients_refused.add(1);
                info!(to = address, why, "refused");
                let detail = status.rsplit('.').next().and_then(|n| n.parse().ok()).unwrap_or(1);
                return refuse(550, (5, 1, detail), &why);
            }
        }
        let notify = params.notify.map(|on| NotifyOn { success: on.success, failure: on.failure, delay: on.delay });
        transaction.recipients.push(Recipient {
            address,
            orcpt: params.orcpt.map(|(kind, address)| format!("{kind};{address}")),
            notify,
            ..Recipient::default()
        });
        Answer::Go
    }

    async fn body(&mut self, chunk: Bytes) -> Answer {
        let Some(transaction) = &mut self.transaction else { return Answer::Refuse(Reply::bad_sequence()) };
        if transaction.room.is_none() {
            // What messages mostly are. An announced size is only words: room is for what has come.
            let Some(room) = self.server.room(ROOM_FIRST).await else {
                return refuse(452, (4, 3, 1), "too many large messages at once, try again later");
            };
            transaction.room = Some(room);
        }
        let held = transaction.room.as_ref().map_or(0, |room| room.num_permits() << 10);
        if transaction.octets.size() + chunk.len() as u64 > held as u64 {
            // Doubled, so that a large message does not wait for each of its chunks; but never so much at once that
            // smaller ones behind it wait long.
            let Some(more) = self.server.room((held as u64).min(ROOM_MORE)).await else {
                return refuse(452, (4, 3, 1), "too many large messages at once, try again later");
            };
            if let Some(room) = &mut transaction.room {
                room.merge(more);
            }
        }
        match transaction.octets.add(&chunk).await {
            Ok(()) => Answer::Go,
            Err(error) => Answer::Refuse(unstored(&error)),
        }
    }

    async fn end(&mut self) -> Answer {
        let Some(mut transaction) = self.transaction.take() else { return Answer::Refuse(Reply::bad_sequence()) };
        let held = std::mem::take(&mut transaction.octets);
        let size = held.size();
        let judged = match self.judge(&transaction, held).await {
            Ok(judged) => judged,
            Err(reply) => {
                self.server.metrics.messages_refused.add(1);
                info!(from = %transaction.mail.from, size, reply = reply.code(), why = reply.text(), "message refused");
                return Answer::Refuse(reply);
            }
        };
        let junk = judged.junk;
        let entry = self.entry(transaction, judged);
        let snapshot = self.server.live.now();
        match snapshot.stores.spool.accept(&entry, clock::now()).await {
            Ok(receipt) => {
                self.server.metrics.messages_accepted.add(1);
                let id = receipt.id();
                info!(id, from = entry.message.from, recipients = entry.recipients.len(), size, junk, "accepted");
                // RFC 5321 §6.1: after 250 the message is ours to lose, so only a receipt makes one.
                Answer::Accepted(format!("2.0.0 queued as {id}"))
            }
            Err(error) => Answer::Refuse(unstored(&error)),
        }
    }

    /// Judges a message that has come in whole.
    async fn judge(&self, transaction: &Transaction, held: Held) -> Result<Judged, Reply> {
        fits(transaction, held.size()).await?;
        let octets = mended(held).await.map_err(|error| unstored(&error))?;
        match &self.user {
            Some(user) => submission::judge(transaction, user, octets, self.connection).await,
            None => arrival::judge(transaction, octets, self.connection).await,
        }
    }

    fn entry(&self, transaction: Transaction, judged: Judged) -> NewEntry {
        let now = clock::now();
        let Transaction { mail, mut recipients, all_accounts, .. } = transaction;
        recipients.iter_mut().for_each(|recipient| recipient.due = now);
        let message = Message {
            arrived: now,
            from: mail.from.to_string(),
            envid: mail.params.envid,
            ret: match mail.params.ret {
                Some(Ret::Full) => Return::Full,
                Some(Ret::Headers) => Return::Headers,
                None => Return::Unsaid,
            },
            utf8: mail.params.smtputf8,
            return_path: all_accounts,
            junk: judged.junk,
            bounces: judged.vouched,
            user: self.user.clone(),
            ..Message::default()
        };
        NewEntry { message, octets: judged.octets, recipients }
    }

    async fn login(&mut self, ask: Ask) -> Answer {
        let peer = self.connection.peer.ip();
        let proved = match ask {
            Ask::Login(credentials) => self.server.password(credentials, Access::Submission, peer).await,
            Ask::Proved { user, authorize } => self.server.scram_proved(&user, &authorize, peer).await,
            Ask::Verifier { user } => match self.server.scram_verifier(&user, Access::Submission).await {
                Ok(verifier) => return Answer::Verifier(verifier),
                Err(error) => Err(error),
            },
            Ask::LoginRefused { user } => {
                self.server.refused(&user, peer).await;
                return Answer::Go;
            }
            _ => Err(LoginError::Wrong),
        };
        match proved {
            Ok(account) => {
                let user = account.to_string();
                self.user = Some(account);
                Answer::LoggedIn { user }
            }
            Err(LoginError::Wrong) => refuse(535, (5, 7, 8), "user name or password is wrong"),
            Err(LoginError::Unavailable) => refuse(454, (4, 7, 0), "logins cannot be checked now, try again later"),
        }
    }
}

/// Whether an account has room for so many octets. A full mailbox is a matter for later, since it may be emptied; a
/// message larger than the mailbox may ever hold is not (RFC 3463 §3.3).
async fn has_room(snapshot: &Snapshot, account: &Address, octets: u64) -> Result<(), Reply> {
    let quota = snapshot.directory.quota(account).await.map_err(|error| unknown(&error))?;
    let Some(quota) = quota else { return Ok(()) };
    if octets > quota {
        let says = format!("the message is larger than the mailbox of {account} may hold");
        return Err(Reply::new(552, Some((5, 2, 2)), &says));
    }
    match snapshot.stores.mailboxes.used(account).await {
        Ok(used) if used.saturating_add(octets) <= quota => Ok(()),
        Ok(_) => Err(Reply::new(452, Some((4, 2, 2)), &format!("the mailbox of {account} is full"))),
        Err(error) => {
            warn!(%error, "a mailbox's size is unknown");
            Err(Reply::new(451, Some((4, 3, 0)), "the mailbox cannot be used now, try again later"))
        }
    }
}

/// Whether a group's mail finds room: refused where all of its members are accounts here and none has any.
async fn someone_has_room(transaction: &Transaction, members: &[Address]) -> Result<(), Reply> {
    let mut refusal = None;
    for member in members {
        let Route::Account(account) = transaction.snapshot.route(&member.to_string()).await else { return Ok(()) };
        match has_room(&transaction.snapshot, &account, transaction.mail.params.size.unwrap_or(1)).await {
            Ok(()) => return Ok(()),
            Err(reply) => refusal = Some(reply),
        }
    }
    refusal.map_or(Ok(()), Err)
}

/// The size is known for sure only at the end. A message that none of its recipients has room for is refused; one
/// reply speaks for all of them, so where another has room, a mailbox may go over its quota by this one message.
async fn fits(transaction: &Transaction, octets: u64) -> Result<(), Reply> {
    let mut refusal = None;
    for account in &transaction.accounts {
        match has_room(&transaction.snapshot, account, octets).await {
            Ok(()) => return Ok(()),
            Err(reply) => refusal = Some(reply),
        }
    }
    match refusal {
        Some(reply) if transaction.all_accounts => Err(reply),
        _ => Ok(()),
    }
}

/// A message as every reader understands it.
async fn mended(held: Held) -> Result<Bytes, StoreError> {
    let octets = held.octets().await?;
    let (first, second) = mail::message::pieces(&octets);
    if second.is_empty() {
        return Ok(octets.slice(first));
    }
    held::joined(&[octets.get(first).unwrap_or_default(), b"\r\n", octets.get(second).unwrap_or_default()]).await
}

/// What is said where a message cannot be stored, or not be held until then.
fn unstored(error: &StoreError) -> Reply {
    warn!(%error, "a message cannot be stored");
    match error {
        StoreError::Full => Reply::new(452, Some((4, 3, 1)), "the server's disk is full, try again later"),
        StoreError::Misconfigured(_) => Reply::new(451, Some((4, 3, 5)), "the server is not set up rightly"),
        StoreError::Unavailable(_) | StoreError::Corrupt { .. } => {
            Reply::new(451, Some((4, 3, 0)), "the message cannot be stored now, try again later")
        }
    }
}

/// What is said where a directory does not answer.
fn unknown(error: &StoreError) -> Reply {
    warn!(%error, "a directory cannot be asked");
    let detail = if matches!(error, StoreError::Misconfigured(_)) { 5 } else { 0 };
    Reply::new(451, Some((4, 3, detail)), "it cannot be said now who that is, try again later")
}

fn refuse(code: u16, enhanced: (u8, u16, u16), text: &str) -> Answer {
    Answer::Refuse(Reply::new(code, Some(enhanced), text))
}

#[async_trait]
impl Host for SmtpHost {
    type Session = SmtpSession;

    async fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Mail(mail) => self.mail(*mail).await,
            Ask::Recipient { path, params } => self.recipient(path, params).await,
            Ask::BodyStart => Answer::Go,
            Ask::Body(chunk) => self.body(chunk).await,
            Ask::BodyEnd => self.end().instrument(info_span!("message")).await,
            Ask::Reset => {
                if self.transaction.take().is_some() {
                    debug!("transaction ended without a message");
                }
                Answer::Go
            }
            ask => self.login(ask).await,
        }
    }

    async fn news(&mut self) -> Answer {
        match self.leave.told(self.user.as_ref()).await {
            Why::Stopping => Answer::Shutdown,
            Why::Gone => Answer::Gone,
        }
    }

    async fn body(&mut self, _: BlobRef, _: Range<u64>) -> Option<Bytes> {
        // SMTP sends no bodies.
        None
    }
}
