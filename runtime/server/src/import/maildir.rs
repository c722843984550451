//! From Maildir++, as `export` and Dovecot write it, and from folders within folders.

use super::{Found, Importer, Settled};
use crate::folders::{
    KEYWORDS, MORE_KEYWORDS, SPECIAL_USES, SUBSCRIPTIONS, SUBSCRIPTIONS_HEAD, UIDS, add_keyword, from_file, inbox,
    on_the_wire, read_info, special_use,
};
use crate::run::StartError;
use bytes::Bytes;
use proto::imap::utf7;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use store::mailbox::SpecialUse;

/// Octets of one of the small files beside messages.
const SMALL_MOST: u64 = 64 << 20;
/// Levels of folders within folders.
const DEPTH_MOST: usize = 20;

/// Whether a folder is, or holds, Maildir.
pub(super) fn is_one(folder: &Path) -> bool {
    holds_mail(folder) || folders(folder).is_ok_and(|found| !found.is_empty())
}

fn holds_mail(folder: &Path) -> bool {
    folder.join("cur").is_dir()
}

pub(super) async fn import(importer: &mut Importer<'_>, root: &Path) -> Result<(), StartError> {
    let folders = folders(root).map_err(|error| at(root, &error))?;
    let uses = special_uses(root);
    let names: BTreeSet<String> = folders.keys().cloned().collect();
    importer.begin(&names, subscriptions(root).as_ref()).await?;
    for (name, folder) in folders {
        if importer.full {
            break;
        }
        mailbox(importer, (&name, uses.get(&name).copied()), &folder).await?;
    }
    Ok(())
}

/// The mailboxes under a folder.
fn folders(root: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    if holds_mail(root) {
        found.insert("INBOX".to_owned(), root.to_owned());
    }
    let mut left = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, above, depth)) = left.pop() {
        for entry in fs::read_dir(&folder)? {
            let (entry, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
            let Some(name) = entry.to_str().filter(|name| !["cur", "new", "tmp"].contains(name)) else { continue };
            if !path.is_dir() {
                continue;
            }
            match name.strip_prefix('.') {
                Some(name) if above.is_empty() && holds_mail(&path) => drop(found.insert(from_file(name), path)),
                Some(_) => {}
                None => {
                    let level = utf7::decode(name).unwrap_or_else(|| name.to_owned());
                    let name = if above.is_empty() { level } else { format!("{above}/{level}") };
                    if holds_mail(&path) {
                        found.insert(inbox(name.clone()), path.clone());
                    }
                    if depth < DEPTH_MOST {
                        left.push((path, name, depth + 1));
                    }
                }
            }
        }
    }
    Ok(found)
}

/// A message's file.
struct File {
    path: PathBuf,
    /// Its name up to its flags.
    base: String,
    info: String,
    uid: Option<u32>,
}

async fn mailbox(
    importer: &mut Importer<'_>,
    (name, special_use): (&str, Option<SpecialUse>),
    folder: &Path,
) -> Result<(), StartError> {
    let (there, uids) = uids(folder);
    let Some(mut target) = importer.target(name, (there, special_use), true).await? else { return Ok(()) };
    let keywords = keywords(folder);
    let more = more_keywords(folder);
    for file in files(folder, &uids).map_err(|error| at(folder, &error))? {
        let source = file.path.display().to_string();
        let (octets, date) = match read(&file.path, importer.most) {
            Ok(read) => read,
            Err(error) => {
                importer.done.wrong.tell(format!("{source}: {error}"));
                continue;
            }
        };
        let mut flags = read_info(&file.info, &keywords);
        for keyword in more.get(&file.base).into_iter().flatten() {
            add_keyword(&mut flags, keyword);
        }
        importer.take(&mut target, Found { octets, date, flags, uid: file.uid }, &source).await?;
        if importer.full {
            return Ok(());
        }
    }
    importer.finish(target).await
}

/// The messages of a folder: first those that have a UID, in its order, then the others by name.
fn files(folder: &Path, uids: &HashMap<String, u32>) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for part in ["cur", "new"] {
        let folder = folder.join(part);
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
            if name.starts_with('.') || path.is_dir() {
                continue;
            }
            let (base, info) = name.rsplit_once(":2,").map_or((name.as_str(), ""), |(base, info)| (base, info));
            let (base, info) = (base.to_owned(), info.to_owned());
            files.push(File { uid: uids.get(&base).copied(), path, base, info });
        }
    }
    files.sort_by(|one, other| {
        (one.uid.unwrap_or(u32::MAX), &one.base).cmp(&(other.uid.unwrap_or(u32::MAX), &other.base))
    });
    Ok(files)
}

fn read(path: &Path, most: u64) -> io::Result<(Bytes, i64)> {
    let facts = fs::metadata(path)?;
    if facts.len() > most {
        return Err(io::Error::other(format!("it is larger than the {most} octets that a message may have")));
    }
    let modified = facts.modified()?;
    let seconds = |span: std::time::Duration| i64::try_from(span.as_secs()).unwrap_or(0);
    let date = match modified.duration_since(UNIX_EPOCH) {
        Ok(since) => seconds(since),
        Err(before) => -seconds(before.duration()),
    };
    Ok((on_the_wire(fs::read(path)?.into()), date))
}

fn small(path: &Path) -> Option<String> {
    let fits = fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.len() <= SMALL_MOST);
    fits.then(|| fs::read(path).ok()).flatten().map(|octets| String::from_utf8_lossy(&octets).into_owned())
}

/// UIDVALIDITY and next UID, and the UID of each file by its name up to the flags.
fn uids(folder: &Path) -> (Settled, HashMap<String, u32>) {
    let Some(text) = small(&folder.join(UIDS)) else { return Default::default() };
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let number = |letter: char| {
        let field = head.iter().skip(1).find_map(|field| field.strip_prefix(letter));
        field.and_then(|field| field.parse().ok())
    };
    let plain = |at: usize| head.get(at).and_then(|field| field.parse().ok());
    let (uid_validity, uid_next) = match head.first() {
        Some(&"3") => (number('V'), number('N')),
        Some(&"1") => (plain(1), plain(2)),
        _ => (None, None),
    };
    let (Some(uid_validity), Some(uid_next)) = (uid_validity, uid_next) else { return Default::default() };
    let mut uids = HashMap::new();
    for line in lines {
        let Some((uid, rest)) = line.split_once(' ') else { continue };
        let name = rest.split_once(':').filter(|(fields, _)| fields.is_empty() || fields.ends_with(' '));
        let name = name.map_or(rest, |(_, name)| name);
        if let Ok(uid) = uid.parse() {
            uids.insert(name.split(":2,").next().unwrap_or_default().to_owned(), uid);
        }
    }
    (Settled { uid_validity, uid_next }, uids)
}

fn keywords(folder: &Path) -> Vec<Option<Box<str>>> {
    let mut keywords = vec![None; crate::folders::LETTERS];
    for line in small(&folder.join(KEYWORDS)).unwrap_or_default().lines() {
        let Some((at, keyword)) = line.split_once(' ') else { continue };
        if let Some(place) = at.parse().ok().and_then(|at: usize| keywords.get_mut(at)) {
            *place = Some(keyword.into());
        }
    }
    keywords
}

fn more_keywords(folder: &Path) -> HashMap<String, Vec<String>> {
    let mut more: HashMap<String, Vec<String>> = HashMap::new();
    for line in small(&folder.join(MORE_KEYWORDS)).unwrap_or_default().lines() {
        if let Some((base, keyword)) = line.split_once(' ') {
            more.entry(base.to_owned()).or_default().push(keyword.to_owned());
        }
    }
    more
}

/// What the mailboxes of a folder are for, by their names.
pub(super) fn special_uses(root: &Path) -> BTreeMap<String, SpecialUse> {
    let text = small(&root.join(SPECIAL_USES)).unwrap_or_default();
    let read = |line: &str| {
        let (this, name) = line.split_once(' ')?;
        Some((from_file(name), special_use(this)?))
    };
    text.lines().filter_map(read).collect()
}

/// What the account was subscribed to; none where no file says it.
pub(super) fn subscriptions(root: &Path) -> Option<BTreeSet<String>> {
    let text = small(&root.join(SUBSCRIPTIONS))?;
    let name = |line: &str, divider: char| {
        let level = |level: &str| utf7::decode(level).unwrap_or_else(|| level.to_owned());
        inbox(line.split(divider).map(level).collect::<Vec<_>>().join("/"))
    };
    let names = match text.strip_prefix(SUBSCRIPTIONS_HEAD) {
        Some(rest) => rest.lines().filter(|line| !line.is_empty()).map(|line| name(line, '\t')).collect(),
        None => text.lines().filter(|line| !line.is_empty()).map(|line| name(line, '.')).collect(),
    };
    Some(names)
}

fn at(path: &Path, error: &io::Error) -> StartError {
    StartError::Asked(format!("{}: {error}", path.display()))
}
