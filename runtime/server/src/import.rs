//! `waybilld import`: mail into an account, from Maildir, mbox, or another server over IMAP.
//!
//! Run again, it adds nothing twice: what comes from files is compared with what the mailbox holds, by content and
//! date; of a server it is noted in the data store, with the messages and in one step with them, up to which UID a
//! mailbox was read. A run that was cut off is therefore gone on with by running it again.
//!
//! In memory are at most [`PENDING_MOST`] octets of messages, or one larger message, and 60 octets for each message
//! that the present mailbox holds.

use crate::aside::{Aside, Wrong};
use crate::clock;
use crate::export::Format;
use crate::run::StartError;
use bytes::Bytes;
use schema::config::RuntimeConfig;
use schema::name::{Address, Secret};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use store::blob::BlobId;
use store::directory::router::{self, Router};
use store::error::StoreError;
use store::mailbox::{Brought, Flags, MailboxError, Mark, NewMessage, Settled, SpecialUse};
use store::open::{self, Base, Ground};

pub mod client;
mod imap;
mod maildir;
mod mbox;
mod tls;

/// Octets of messages that wait to be written together.
pub const PENDING_MOST: u64 = 4 << 20;
/// Messages that wait to be written together.
const PENDING_MESSAGES: usize = 500;

/// What is imported into which account.
pub struct Options {
    /// The account.
    pub account: Address,
    /// Where its mail is.
    pub from: Place,
    /// The mailbox that takes all of it: the inbox's mail itself, and the other mailboxes below it.
    pub into: Option<String>,
}

/// Where mail is.
pub enum Place {
    /// A folder or file, and what it is where that is not to be seen.
    Files(PathBuf, Option<Format>),
    /// Another server, and the password there.
    Imap(client::Peer, Secret),
}

/// What was imported.
#[derive(Debug, Default)]
pub struct Imported {
    /// Mailboxes that were read.
    pub mailboxes: u64,
    /// Messages that came in,
    pub messages: u64,
    /// and their octets.
    pub octets: u64,
    /// Messages that were there already.
    pub there: u64,
    /// What could not be taken.
    pub wrong: Wrong,
}

/// Lines for people.
pub fn summary(done: &Imported) -> String {
    let Imported { mailboxes, messages, octets, there, wrong } = done;
    let wrong = if wrong.count == 0 { String::new() } else { format!("; {} left out as broken", wrong.count) };
    format!("{messages} messages of {octets} octets from {mailboxes} mailboxes; {there} were there already{wrong}")
}

/// Imports what the options say.
///
/// # Errors
/// [`StartError`] where the mail cannot be opened, or the store fails; what was imported by then stays.
pub async fn import(aside: Aside, options: Options) -> Result<Imported, StartError> {
    let config = Arc::new(aside.configuration().await?);
    let ground = aside.ground();
    let how = "stop the server for the import, or import over IMAP with a mail client or mbsync";
    let base = opened(open::to_write(&ground, &config.storage).await, how)?;
    let mut importer = Importer::new(&base, (&config, &ground), &options).await?;
    match &options.from {
        Place::Files(path, format) => files(&mut importer, path, *format).await?,
        Place::Imap(peer, password) => imap::import(&mut importer, peer, password).await?,
    }
    Ok(importer.done)
}

/// An open store; where a server has it open, with what to do.
pub(crate) fn opened(base: Result<Base, StoreError>, how: &str) -> Result<Base, StartError> {
    base.map_err(|error| match error {
        StoreError::Misconfigured(cause) if cause.to_string().contains(open::TAKEN) => {
            StartError::Asked(format!("{cause}: {how}"))
        }
        other => StartError::Store(other),
    })
}

async fn files(importer: &mut Importer<'_>, path: &std::path::Path, format: Option<Format>) -> Result<(), StartError> {
    let facts = std::fs::metadata(path).map_err(|error| StartError::Asked(format!("{}: {error}", path.display())))?;
    let looks = if facts.is_dir() && maildir::is_one(path) { Format::Maildir } else { Format::Mbox };
    match format.unwrap_or(looks) {
        Format::Maildir => maildir::import(importer, path).await,
        Format::Mbox if facts.is_dir() => mbox::folder(importer, path).await,
        Format::Mbox => mbox::file(importer, path, "INBOX").await,
    }
}

/// Puts messages into an account.
struct Importer<'a> {
    base: &'a Base,
    account: Address,
    quota: Option<u64>,
    /// The largest message.
    most: u64,
    into: Option<String>,
    /// The quota is reached: no more is read.
    full: bool,
    done: Imported,
}

/// A mailbox that messages go into.
struct Target {
    id: u32,
    name: String,
    /// What it has at the source.
    there: Settled,
    pending: Vec<Brought>,
    octets: u64,
    /// How often each message is in it, by content and date.
    held: HashMap<(BlobId, i64), u32>,
    /// The source's name, and how far it was read with all that is pending.
    mark: Option<([u8; 32], Mark)>,
}

/// A message that was read.
struct Found {
    octets: Bytes,
    date: i64,
    flags: Flags,
    uid: Option<u32>,
}

impl<'a> Importer<'a> {
    async fn new(
        base: &'a Base,
        (config, ground): (&Arc<RuntimeConfig>, &Ground),
        options: &Options,
    ) -> Result<Importer<'a>, StartError> {
        // Whoever keeps the people: the spec, the API, a directory.
        let directory = Router::open(config, Arc::clone(&base.data), (ground, &router::Open::default())).await?;
        let missing = || {
            format!(
                "nobody's own address is {}, neither in the spec nor where it says that people are",
                options.account
            )
        };
        let account = directory.account(&options.account.to_string()).await?;
        let account = account.ok_or_else(|| StartError::Asked(missing()))?;
        Ok(Importer {
            base,
            quota: directory.quota(&account).await?,
            account,
            most: config.limits.message_size.0,
            into: options.into.clone().map(crate::folders::inbox),
            full: false,
            done: Imported::default(),
        })
    }

    /// What a mailbox of the source is called here.
    fn name(&self, name: &str) -> String {
        match &self.into {
            Some(into) if name == "INBOX" => into.clone(),
            Some(into) => format!("{into}/{name}"),
            None => name.to_owned(),
        }
    }

    /// Makes a new account like its source: it has no more mailboxes than that, and no other subscriptions.
    async fn begin(
        &self,
        names: &BTreeSet<String>,
        subscriptions: Option<&BTreeSet<String>>,
    ) -> Result<(), StartError> {
        let (account, mailboxes, now) = (&self.account, &self.base.mailboxes, clock::now());
        let fresh = mailboxes.known(account).await?.is_empty();
        let there = mailboxes.list(account, now).await?;
        if self.into.is_none() && fresh {
            for facts in there.iter().filter(|facts| facts.id != 1 && !names.contains(&facts.row.name)) {
                mailboxes.delete(account, &facts.row.name, now).await.map_err(plain)?;
            }
            for name in mailboxes.subscriptions(account).await? {
                if subscriptions.is_some_and(|wanted| !wanted.contains(&name)) {
                    mailboxes.subscribe(account, &name, false, now).await.map_err(plain)?;
                }
            }
        }
        for name in subscriptions.into_iter().flatten() {
            mailboxes.subscribe(account, &self.name(name), true, now).await.map_err(plain)?;
        }
        Ok(())
    }

    /// The mailbox for one of the source; none, and told, where it cannot be had.
    async fn target(
        &mut self,
        name: &str,
        (there, special_use): (Settled, Option<SpecialUse>),
        compare: bool,
    ) -> Result<Option<Target>, StartError> {
        let (name, now) = (self.name(name), clock::now());
        self.done.mailboxes += 1;
        if let Some(why) = unnameable(&name) {
            self.done.wrong.tell(format!("mailbox {}: {why}", name.escape_debug()));
            return Ok(None);
        }
        let mailboxes = &self.base.mailboxes;
        let id = match mailboxes.create(&self.account, &name, None, now).await {
            Ok(id) => id,
            Err(MailboxError::Exists) => mailboxes.named(&self.account, &name, now).await.map_err(plain)?.id,
            Err(MailboxError::Limit(why)) => {
                self.done.wrong.tell(format!("mailbox {name}: {why}"));
                return Ok(None);
            }
            Err(error) => return Err(plain(error)),
        };
        if let Some(special_use) = special_use.filter(|_| self.into.is_none() && id != 1) {
            match mailboxes.use_for(&self.account, id, special_use, now).await {
                Ok(()) | Err(MailboxError::UseTaken) => {}
                Err(error) => return Err(plain(error)),
            }
        }
        // Its next UID only when all are in.
        let begun = Settled { uid_next: 1, ..there };
        mailboxes.settle(&self.account, id, begun, now).await.map_err(plain)?;
        let mut held = HashMap::new();
        if compare {
            for entry in mailboxes.entries(&self.account, id).await? {
                *held.entry((entry.blob, entry.date)).or_default() += 1;
            }
        }
        Ok(Some(Target { id, name, there, pending: Vec::new(), octets: 0, held, mark: None }))
    }

    /// Why a message cannot be taken.
    fn unfit(&self, octets: &[u8]) -> Option<String> {
        if octets.is_empty() {
            return Some("it is empty".to_owned());
        }
        if octets.contains(&0) {
            return Some("it holds a NUL octet (RFC 3501 §9)".to_owned());
        }
        let most = self.most;
        (octets.len() as u64 > most).then(|| format!("it is larger than the {most} octets that a message may have"))
    }

    /// Takes a message, or tells under `source` why not. False where it was not taken.
    async fn take(&mut self, target: &mut Target, found: Found, source: &str) -> Result<bool, StartError> {
        if let Some(why) = self.unfit(&found.octets) {
            self.done.wrong.tell(format!("{source}: {why}"));
            return Ok(false);
        }
        let size = found.octets.len() as u64;
        if !target.held.is_empty() {
            let again = target.held.get_mut(&(BlobId::of(&found.octets), found.date)).filter(|count| **count > 0);
            if let Some(count) = again {
                *count -= 1;
                self.done.there += 1;
                return Ok(true);
            }
        }
        if target.octets + size > PENDING_MOST || target.pending.len() >= PENDING_MESSAGES {
            self.flush(target).await?;
        }
        let message = NewMessage { octets: size, date: found.date, flags: found.flags };
        target.octets += size;
        target.pending.push(Brought { message, octets: found.octets, uid: found.uid });
        Ok(true)
    }

    /// Writes what is pending.
    async fn flush(&mut self, target: &mut Target) -> Result<(), StartError> {
        let pending = std::mem::take(&mut target.pending);
        target.octets = 0;
        if pending.is_empty() || self.full {
            return Ok(());
        }
        let from = (target.there.uid_validity > 0).then_some(target.there.uid_validity);
        let mark = target.mark.as_ref().map(|(source, mark)| (source, mark));
        let place = (&self.account, target.id);
        let brought = self.base.mailboxes.bring(place, (from, &pending), mark, (self.quota, clock::now())).await;
        let (added, error) = match brought {
            Ok(()) => (pending.len(), None),
            Err((added, error)) => (added, Some(error)),
        };
        self.done.messages += added as u64;
        self.done.octets += pending.iter().take(added).map(|brought| brought.message.octets).sum::<u64>();
        match error {
            None => Ok(()),
            Some(MailboxError::OverQuota) => {
                self.full = true;
                let name = &target.name;
                self.done.wrong.tell(format!("mailbox {name}: the account's quota is reached; the rest was left out"));
                Ok(())
            }
            Some(error) => Err(plain(error)),
        }
    }

    /// Writes what is left of a mailbox.
    async fn finish(&mut self, mut target: Target) -> Result<(), StartError> {
        self.flush(&mut target).await?;
        if self.full {
            return Ok(());
        }
        self.base.mailboxes.settle(&self.account, target.id, target.there, clock::now()).await.map_err(plain)
    }
}

/// What forbids a mailbox's name here.
fn unnameable(name: &str) -> Option<&'static str> {
    if name.len() > proto::imap::MAX_MAILBOX_NAME || name.split('/').count() > proto::imap::MAX_MAILBOX_LEVELS {
        return Some("the name is too long");
    }
    if name.split('/').any(str::is_empty) || name.chars().any(char::is_control) {
        return Some("the name has an empty level or a control character");
    }
    None
}

fn plain(error: MailboxError) -> StartError {
    match error {
        MailboxError::Store(error) => StartError::Store(error),
        other => StartError::Asked(other.to_string()),
    }
}
