//! `waybilld export`: an account's mail as Maildir++ or mbox. Works beside a running server. Two exports of the same
//! mail are the same octets under the same names.
//!
//! One message at a time is in memory. Files are for their owner only, and synced at the end.

use crate::aside::{Aside, Wrong};
use crate::folders::{SPECIAL_USES, SUBSCRIPTIONS, SUBSCRIPTIONS_HEAD, to_file};
use crate::run::StartError;
use bytes::Bytes;
use clap::ValueEnum;
use proto::imap::utf7;
use schema::name::Address;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use store::blob::BlobId;
use store::error::{Cause, StoreError};
use store::mailbox::{Entry, MailboxFacts};
use store::open::{self, Base};

mod maildir;
mod mbox;

/// How mail looks in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A file a message, a folder a mailbox, as Dovecot has them.
    Maildir,
    /// A file a mailbox.
    Mbox,
}

/// Whose mail goes where.
pub struct Options {
    /// The account; none: every account, each in a folder of its name.
    pub account: Option<Address>,
    /// The folder, which is made, or is empty.
    pub to: PathBuf,
    /// How it looks there.
    pub format: Format,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Exported {
    /// Accounts.
    pub accounts: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages.
    pub messages: u64,
    /// Octets that they have in the store.
    pub octets: u64,
    /// What could not be.
    pub wrong: Wrong,
}

/// Exports what the options say.
///
/// # Errors
/// [`StartError`] where the mail cannot be opened, or a file not be written.
pub async fn export(aside: Aside, options: &Options) -> Result<Exported, StartError> {
    let config = aside.configuration().await?;
    let base = open::to_read(&aside.ground(), &config.storage).await?;
    let mut done = Exported::default();
    match &options.account {
        Some(account) => one(&base, account, (&options.to, options.format), &mut done).await?,
        None => {
            make_empty(&options.to)?;
            for account in base.mailboxes.held().await?.into_keys() {
                let to = options.to.join(folder_of(&account));
                one(&base, &account, (&to, options.format), &mut done).await?;
            }
        }
    }
    let folder = File::open(&options.to).map_err(|error| at(&options.to, &error))?;
    rustix::fs::syncfs(&folder).map_err(|error| at(&options.to, &error.into()))?;
    Ok(done)
}

/// A local part may hold a slash, and begin with a dot.
fn folder_of(account: &Address) -> String {
    let safe = |text: &str| text.replace('%', "%25").replace('/', "%2f");
    let name = safe(&account.to_string());
    name.strip_prefix('.').map_or_else(|| name.clone(), |rest| format!("%2e{rest}"))
}

async fn one(
    base: &Base,
    account: &Address,
    (to, format): (&Path, Format),
    done: &mut Exported,
) -> Result<(), StartError> {
    let mut mailboxes = base.mailboxes.known(account).await?;
    if mailboxes.is_empty() {
        let why = format!("{account} has no mailboxes here; is it the account's own address, and not an alias?");
        return Err(StartError::Asked(why));
    }
    make_empty(to)?;
    mailboxes.sort_by(|one, other| one.row.name.cmp(&other.row.name));
    write(to, SUBSCRIPTIONS, &subscriptions(&base.mailboxes.subscriptions(account).await?))?;
    write(to, SPECIAL_USES, &special_uses(&mailboxes))?;
    let mut reader = Reader { base, account, wrong: &mut done.wrong };
    for facts in &mailboxes {
        let written = match format {
            Format::Maildir => maildir::mailbox(&mut reader, facts, to).await?,
            Format::Mbox => mbox::mailbox(&mut reader, facts, to).await?,
        };
        done.messages += written.messages;
        done.octets += written.octets;
        done.mailboxes += 1;
    }
    done.accounts += 1;
    Ok(())
}

/// What a mailbox came to.
#[derive(Default)]
struct Written {
    messages: u64,
    octets: u64,
}

/// Reads messages, and knows which are broken.
struct Reader<'a> {
    base: &'a Base,
    account: &'a Address,
    wrong: &'a mut Wrong,
}

impl Reader<'_> {
    /// A message's octets; none, and told, where they are not what was stored.
    async fn octets(&mut self, facts: &MailboxFacts, entry: &Entry) -> Result<Option<Bytes>, StoreError> {
        let found = match self.base.blobs.get(entry.blob, 0..entry.size.saturating_add(1)).await {
            Ok(found) => found,
            Err(StoreError::Corrupt { .. }) => None,
            Err(error) => return Err(error),
        };
        let why = match found {
            None => {
                // Gone meanwhile by somebody's wish, and not by accident.
                let still = self.base.mailboxes.some(self.account, facts.id, &[entry.uid]).await?;
                if still.is_empty() {
                    return Ok(None);
                }
                format!("its octets, blob {}, are missing", entry.blob)
            }
            Some(octets) if octets.len() as u64 != entry.size => {
                format!("blob {} has another size than its {} octets", entry.blob, entry.size)
            }
            Some(octets) => {
                let hashed = octets.clone();
                let name = tokio::task::spawn_blocking(move || BlobId::of(&hashed)).await;
                if name.map_err(|gone| StoreError::Unavailable(Cause::new(gone)))? == entry.blob {
                    return Ok(Some(octets));
                }
                format!("blob {} holds other octets than were stored", entry.blob)
            }
        };
        self.wrong.tell(format!("{}: {}, UID {}: {why}", self.account, facts.row.name, entry.uid));
        Ok(None)
    }

    /// A mailbox whose name no folder or file can have.
    fn unnameable(&mut self, facts: &MailboxFacts) {
        let (account, row) = (self.account, &facts.row);
        let messages = row.messages;
        self.wrong
            .tell(format!("{account}: {}: the name is too long for a file; {messages} messages left out", row.name));
    }
}

/// Octets that a name in a folder may have.
const FILE_NAME_MOST: usize = 250;

fn subscriptions(names: &[String]) -> String {
    let mut text = format!("{SUBSCRIPTIONS_HEAD}\n\n");
    for name in names {
        let levels: Vec<String> = name.split('/').map(utf7::encode).collect();
        text.push_str(&levels.join("\t"));
        text.push('\n');
    }
    text
}

fn special_uses(mailboxes: &[MailboxFacts]) -> String {
    let mut text = String::new();
    for facts in mailboxes {
        if let Some(this) = facts.row.special_use {
            text.push_str(&format!("\\{} {}\n", this.name(), to_file(&facts.row.name)));
        }
    }
    text
}

fn at(path: &Path, error: &io::Error) -> StartError {
    StartError::System(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn make(folder: &Path) -> Result<(), StartError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| at(folder, &error))
}

fn make_empty(folder: &Path) -> Result<(), StartError> {
    make(folder)?;
    let mut entries = std::fs::read_dir(folder).map_err(|error| at(folder, &error))?;
    if entries.next().is_some() {
        let why = format!("{} is not empty: an export begins with an empty folder", folder.display());
        return Err(StartError::Asked(why));
    }
    Ok(())
}

fn create(path: &Path) -> Result<File, StartError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| at(path, &error))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), StartError> {
    let path = folder.join(name);
    create(&path)?.write_all(text.as_bytes()).map_err(|error| at(&path, &error))
}

/// Lines for people.
pub fn summary(done: &Exported) -> String {
    let Exported { accounts, mailboxes, messages, octets, wrong } = done;
    let broken = if wrong.count == 0 { String::new() } else { format!("; {} left out as broken", wrong.count) };
    format!("{messages} messages of {octets} octets in {mailboxes} mailboxes of {accounts} accounts{broken}")
}
