//! The IMAP host: answers a session's asks from the account's mailboxes.

use crate::drive::{self, Host};
use crate::leave::{Leave, Why};
use crate::listen::Connection;
use crate::login::{LoginError, mechanisms};
use crate::server::Server;
use async_trait::async_trait;
use bytes::Bytes;
use proto::imap::facts::{MailboxId, Selected};
use proto::imap::types::{AppendHead, StoreAction};
use proto::imap::{Answer, Ask, Code, Config, ImapSession};
use proto::{BlobRef, TlsFacts};
use schema::config::Service;
use schema::name::Address;
use std::ops::Range;
use std::sync::Arc;
use store::blob::BlobId;
use store::directory::Access;
use store::held::Held;
use store::mailbox::{How, MailboxError, Mailboxes, NewMessage};
use tokio::sync::watch;
use tracing::{Instrument, Span, info, warn};

mod convert;
mod fetch;
mod search;

use crate::clock;

/// Answers one IMAP session.
pub struct ImapHost {
    server: Arc<Server>,
    connection: Connection,
    account: Option<Address>,
    append: Option<Append>,
    watched: Option<Watched>,
    leave: Leave,
}

/// A message coming in by APPEND.
struct Append {
    head: AppendHead,
    octets: Held,
    _room: crate::server::Room,
}

struct Watched {
    bell: watch::Receiver<u64>,
}

type Answered = Result<Answer, MailboxError>;

impl ImapHost {
    /// A host and its session for a connection just made.
    pub async fn begin(connection: Connection, tls: Option<TlsFacts>, server: Arc<Server>) -> (ImapHost, ImapSession) {
        let snapshot = server.live.now();
        let config = Config {
            host_name: snapshot.host.name.to_string(),
            starttls: connection.service == Service::Imap,
            mechanisms: mechanisms(snapshot.directory.all_have_scram().await),
            append_limit: snapshot.config.limits.message_size.0,
        };
        let session =
            ImapSession::new(config, tls, drive::seed(&server.secret, connection.id), crate::clock::instant());
        let leave = Leave::new(Arc::clone(&server));
        let host = ImapHost { server, connection, account: None, append: None, watched: None, leave };
        (host, session)
    }

    fn mailboxes(&self) -> Arc<Mailboxes> {
        Arc::clone(&self.server.live.now().stores.mailboxes)
    }

    fn account(&self) -> Result<&Address, MailboxError> {
        // A session asks for mailboxes only after a login.
        self.account.as_ref().ok_or(MailboxError::Missing)
    }

    async fn quota(&self) -> Result<Option<u64>, MailboxError> {
        let snapshot = self.server.live.now();
        Ok(snapshot.directory.quota(self.account()?).await?)
    }

    async fn login(&mut self, ask: Ask) -> Answer {
        let peer = self.connection.peer.ip();
        let proved = match ask {
            Ask::Login(credentials) => self.server.password(credentials, Access::Imap, peer).await,
            Ask::Proved { user, authorize } => self.server.scram_proved(&user, &authorize, peer).await,
            Ask::Verifier { user } => match self.server.scram_verifier(&user, Access::Imap).await {
                Ok(verifier) => return Answer::Verifier(verifier),
                Err(error) => Err(error),
            },
            Ask::LoginRefused { user } => Err(self.server.refused(&user, peer).await),
            _ => Err(LoginError::Wrong),
        };
        match proved {
            Ok(account) => {
                let user = account.to_string();
                self.account = Some(account);
                Answer::LoggedIn { user }
            }
            Err(LoginError::Wrong) => no(Code::AuthenticationFailed, "user name or password is wrong"),
            Err(LoginError::Unavailable) => no(Code::Unavailable, "logins cannot be checked now, try again later"),
        }
    }

    async fn names(&mut self, ask: Ask) -> Answered {
        let (mailboxes, account, now) = (self.mailboxes(), self.account()?.clone(), clock::now());
        match ask {
            Ask::Mailboxes { status } => {
                let all = mailboxes.list(&account, now).await?;
                let subscribed = mailboxes.subscriptions(&account).await?;
                Ok(Answer::Mailboxes(convert::mailboxes(all, subscribed, status)))
            }
            Ask::Status { mailbox } => {
                let facts = mailboxes.named(&account, &mailbox, now).await?;
                Ok(Answer::Status(convert::status(&facts.row)))
            }
            Ask::Create { mailbox, special_use } => {
                let special_use = match special_use.map(convert::special_use_of) {
                    Some(None) => return Ok(no(Code::UseAttr, "no mailbox can have that use here")),
                    Some(found) => found,
                    None => None,
                };
                mailboxes.create(&account, &mailbox, special_use, now).await?;
                Ok(Answer::Go)
            }
            Ask::Delete { mailbox } => mailboxes.delete(&account, &mailbox, now).await.map(|()| Answer::Go),
            Ask::Rename { from, to } => mailboxes.rename(&account, &from, &to, now).await.map(|()| Answer::Go),
            Ask::Subscribe { mailbox, on } => {
                mailboxes.subscribe(&account, &mailbox, on, now).await.map(|()| Answer::Go)
            }
            Ask::Select { mailbox, .. } => self.select(&mailbox).await,
            other => Ok(unexpected(&other)),
        }
    }

    async fn select(&mut self, name: &str) -> Answered {
        let (mailboxes, account) = (self.mailboxes(), self.account()?);
        let facts = mailboxes.named(account, name, clock::now()).await?;
        let entries = mailboxes.entries(account, facts.id).await?;
        // A change between the two reads is told by the next look at the changes.
        let highest = facts.row.modseq.max(1);
        let mut keywords: Vec<String> = Vec::new();
        for keyword in entries.iter().flat_map(|entry| &entry.flags.keywords) {
            if keywords.len() < proto::imap::MAX_KEYWORDS && !keywords.iter().any(|known| **known == **keyword) {
                keywords.push(keyword.to_string());
            }
        }
        let known = |uid: &u32| *uid < facts.row.uid_next;
        Ok(Answer::Selected(Selected {
            mailbox: MailboxId(u64::from(facts.id)),
            uid_validity: facts.row.uid_validity,
            uid_next: facts.row.uid_next,
            highest_modseq: highest,
            first_unseen: entries.iter().find(|entry| !entry.flags.has(store::mailbox::Flags::SEEN)).map(|e| e.uid),
            uids: entries.iter().map(|entry| entry.uid).filter(known).collect(),
            keywords,
            read_only: false,
        }))
    }

    async fn messages(&mut self, ask: Ask) -> Answered {
        let (mailboxes, account, now) = (self.mailboxes(), self.account()?.clone(), clock::now());
        match ask {
            Ask::Store { mailbox, uids, action, flags, unchanged_since } => {
                let how = match action {
                    StoreAction::Add => How::Add,
                    StoreAction::Remove => How::Remove,
                    StoreAction::Replace => How::Replace,
                };
                let flags = convert::flags_of(&flags);
                let place = (&account, id(mailbox));
                let stored = mailboxes.flag(place, &uids, (how, &flags, unchanged_since), now).await?;
                let rows = stored.entries.iter().map(convert::row).collect();
                Ok(Answer::Stored { rows, before: stored.before, modified: stored.modified })
            }
            Ask::Copy { mailbox, uids, to, remove, whole } => {
                let place = (&account, id(mailbox));
                match mailboxes.copy(place, &uids, (&to, remove, whole), (self.quota().await?, now)).await {
                    Ok(copied) => Ok(Answer::Copied { uid_validity: copied.uid_validity, pairs: copied.pairs }),
                    Err(MailboxError::Missing) => Ok(no(Code::TryCreate, "there is no such mailbox")),
                    Err(error) => Err(error),
                }
            }
            Ask::Expunge { mailbox, uids } => {
                let gone = mailboxes.expunge((&account, id(mailbox)), uids.as_deref(), now).await?;
                Ok(Answer::Expunged(gone))
            }
            Ask::Changes { mailbox, since } => {
                let changes = mailboxes.changes(&account, id(mailbox), since).await?;
                Ok(Answer::Changed {
                    vanished: changes.vanished,
                    rows: changes.entries.iter().map(convert::row).collect(),
                    highest_modseq: changes.modseq,
                })
            }
            Ask::Fetch { mailbox, uids, wants, changed_since, mark_seen } => {
                let want = fetch::Want { uids: &uids, wants: &wants, changed_since, mark_seen };
                fetch::rows(&mailboxes, (&account, id(mailbox)), want).await.map(Answer::Fetched)
            }
            Ask::Search { mailbox, key } => {
                let stores = self.server.live.now().stores.clone();
                search::find(&stores, (&account, id(mailbox)), key).await
            }
            other => Ok(unexpected(&other)),
        }
    }

    async fn append(&mut self, ask: Ask) -> Answered {
        match ask {
            Ask::AppendStart { head, size } => {
                let account = self.account()?;
                let mailboxes = self.mailboxes();
                match mailboxes.named(account, &head.mailbox, clock::now()).await {
                    Err(MailboxError::Missing) => return Ok(no(Code::TryCreate, "there is no such mailbox")),
                    other => other?,
                };
                let used = mailboxes.used(account).await?;
                if self.quota().await?.is_some_and(|quota| used.saturating_add(size) > quota) {
                    return Err(MailboxError::OverQuota);
                }
                let Some(room) = self.server.room(size).await else {
                    return Ok(no(Code::Unavailable, "too many large messages at once, try again later"));
                };
                self.append = Some(Append { head, octets: Held::default(), _room: room });
                Ok(Answer::Go)
            }
            Ask::AppendChunk(chunk) => {
                if let Some(mut append) = self.append.take() {
                    // Dropped where it fails: the rest is not asked about.
                    append.octets.add(&chunk).await?;
                    self.append = Some(append);
                }
                Ok(Answer::Go)
            }
            Ask::AppendEnd => {
                let Some(Append { head, octets, _room }) = self.append.take() else { return Ok(unexpected(&ask)) };
                let now = clock::now();
                let new = NewMessage {
                    octets: octets.size(),
                    date: head.internal_date.unwrap_or(now),
                    flags: convert::flags_of(&head.flags),
                };
                let (mailboxes, quota) = (self.mailboxes(), self.quota().await?);
                let place = self.account()?;
                match mailboxes.append((place, &head.mailbox), (new, octets.octets().await?), quota, now).await {
                    Ok(done) => Ok(Answer::Appended { uid_validity: done.uid_validity, uid: done.uid }),
                    Err(MailboxError::Missing) => Ok(no(Code::TryCreate, "there is no such mailbox")),
                    Err(error) => Err(error),
                }
            }
            _ => {
                self.append = None;
                Ok(Answer::Go)
            }
        }
    }
}

#[async_trait]
impl Host for ImapHost {
    type Session = ImapSession;

    async fn answer(&mut self, ask: Ask) -> Answer {
        let answered = match ask {
            Ask::Login(_) | Ask::Verifier { .. } | Ask::Proved { .. } | Ask::LoginRefused { .. } => {
                Ok(self.login(ask).await)
            }
            Ask::AppendStart { .. } | Ask::AppendChunk(_) | Ask::AppendEnd | Ask::AppendAbort => self.append(ask).await,
            Ask::Watch { .. } => {
                self.watched = self.account.as_ref().map(|account| Watched { bell: self.mailboxes().watch(account) });
                Ok(Answer::Go)
            }
            Ask::Unwatch => {
                self.watched = None;
                Ok(Answer::Go)
            }
            Ask::Store { .. }
            | Ask::Copy { .. }
            | Ask::Expunge { .. }
            | Ask::Changes { .. }
            | Ask::Fetch { .. }
            | Ask::Search { .. } => self.messages(ask).await,
            _ => self.names(ask).await,
        };
        answered.unwrap_or_else(|error| refusal(&error))
    }

    async fn news(&mut self) -> Answer {
        let why = match &mut self.watched {
            Some(watched) => tokio::select! {
                why = self.leave.told(self.account.as_ref()) => why,
                changed = watched.bell.changed() => match changed {
                    Ok(()) => return Answer::MailboxChanged,
                    // Nobody rings any more: look again.
                    Err(_) => {
                        let bell = self.account.as_ref().map(|account| {
                            self.server.live.now().stores.mailboxes.watch(account)
                        });
                        self.watched = bell.map(|bell| Watched { bell });
                        return Answer::MailboxChanged;
                    }
                },
            },
            None => self.leave.told(self.account.as_ref()).await,
        };
        match why {
            Why::Stopping => Answer::Shutdown,
            Why::Gone => Answer::Gone,
        }
    }

    async fn body(&mut self, blob: BlobRef, part: Range<u64>) -> Option<Bytes> {
        let found = self.mailboxes().octets(BlobId(blob.0), part).instrument(Span::current()).await;
        found.inspect_err(|error| warn!(%error, "a message cannot be read")).ok()
    }
}

fn id(mailbox: MailboxId) -> u32 {
    // Made from a u32 by `select`.
    u32::try_from(mailbox.0).unwrap_or(0)
}

fn no(code: Code, text: &str) -> Answer {
    Answer::No { code: Some(code), text: text.to_owned() }
}

fn unexpected(ask: &Ask) -> Answer {
    info!(?ask, "an ask that this host does not answer");
    no(Code::ServerBug, "this cannot be done here")
}

fn refusal(error: &MailboxError) -> Answer {
    let code = match error {
        MailboxError::Store(error) => {
            warn!(%error, "a mailbox cannot be used");
            return no(Code::Unavailable, "the mail store cannot be used now, try again later");
        }
        MailboxError::Missing | MailboxError::Forgotten => Code::NonExistent,
        MailboxError::Exists => Code::AlreadyExists,
        MailboxError::Inbox => Code::Cannot,
        MailboxError::OverQuota => Code::OverQuota,
        MailboxError::Limit(_) => Code::Limit,
        MailboxError::Gone => Code::ExpungeIssued,
        MailboxError::UseTaken => Code::UseAttr,
    };
    no(code, &error.to_string())
}
