//! A mailbox as a folder of Maildir++.

use super::{FILE_NAME_MOST, Reader, Written, at, create, make, write};
use crate::folders::{KEYWORDS, LETTERS, MORE_KEYWORDS, UIDS, info, plain_lines, to_file};
use crate::run::StartError;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::mailbox::{Entry, MailboxFacts};

pub(super) async fn mailbox(reader: &mut Reader<'_>, facts: &MailboxFacts, root: &Path) -> Result<Written, StartError> {
    let (row, name) = (&facts.row, format!(".{}", to_file(&facts.row.name)));
    if name.len() > FILE_NAME_MOST {
        reader.unnameable(facts);
        return Ok(Written::default());
    }
    let folder = if row.name == "INBOX" { root.to_owned() } else { root.join(name) };
    for part in ["cur", "new", "tmp"] {
        make(&folder.join(part))?;
    }
    if row.name != "INBOX" {
        write(&folder, "maildirfolder", "")?;
    }
    let entries = reader.base.mailboxes.entries(reader.account, facts.id).await?;
    let keywords: BTreeSet<&Box<str>> = entries.iter().flat_map(|entry| &entry.flags.keywords).collect();
    let keywords: Vec<Box<str>> = keywords.into_iter().cloned().collect();
    let (mut written, mut more) = (Written::default(), String::new());
    // Beside a running server, the list may be newer than the mailbox's own entry.
    let next = entries.last().map_or(1, |last| last.uid.saturating_add(1)).max(row.uid_next);
    let mut uids = format!("3 V{} N{next}\n", row.uid_validity);
    for entry in &entries {
        let Some(octets) = reader.octets(facts, entry).await? else { continue };
        let plain = plain_lines(&octets).unwrap_or_else(|| octets.to_vec());
        let base = base(entry, row.uid_validity, plain.len());
        let path = folder.join("cur").join(format!("{base}:2,{}", info(&entry.flags, &keywords)));
        let mut file = create(&path)?;
        let whole = file.write_all(&plain).and_then(|()| file.set_modified(time(entry.date)));
        whole.map_err(|error| at(&path, &error))?;
        uids.push_str(&format!("{} :{base}\n", entry.uid));
        for keyword in keywords.iter().skip(LETTERS).filter(|keyword| entry.flags.keywords.contains(keyword)) {
            more.push_str(&format!("{base} {keyword}\n"));
        }
        written.messages += 1;
        written.octets += entry.size;
    }
    write(&folder, UIDS, &uids)?;
    if !keywords.is_empty() {
        let lines = keywords.iter().take(LETTERS).enumerate().map(|(n, keyword)| format!("{n} {keyword}\n"));
        write(&folder, KEYWORDS, &lines.collect::<String>())?;
    }
    if !more.is_empty() {
        write(&folder, MORE_KEYWORDS, &more)?;
    }
    Ok(written)
}

/// A file's name up to its flags: when and which, with its size here (`S`) and as it travels (`W`), as Dovecot reads them.
fn base(entry: &Entry, uid_validity: u32, size: usize) -> String {
    format!("{}.V{uid_validity:08x}U{:08x}.waybill,S={size},W={}", entry.date.max(0), entry.uid, entry.size)
}

fn time(date: i64) -> SystemTime {
    let apart = Duration::from_secs(date.unsigned_abs());
    let then = if date < 0 { UNIX_EPOCH.checked_sub(apart) } else { UNIX_EPOCH.checked_add(apart) };
    then.unwrap_or(UNIX_EPOCH)
}
