//! From mbox: `mboxrd`, as `export` writes it, and what older programs wrote.
//!
//! A message begins with a line `From … date` after an empty line. One `>` is taken from lines that begin with some
//! and `From `.

use super::{Found, Importer, Settled, Target, maildir};
use crate::folders::{add_keyword, from_file, wire_lines};
use crate::run::StartError;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use store::mailbox::Flags;

/// Octets of a line that are looked at together.
const LINE_MOST: u64 = 1 << 20;

/// Every mbox of a folder, each a mailbox of its name.
pub(super) async fn folder(importer: &mut Importer<'_>, root: &Path) -> Result<(), StartError> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in std::fs::read_dir(root).map_err(|error| at(root, &error))? {
        let path = entry.map_err(|error| at(root, &error))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let named = name.strip_suffix(".mbox");
        let begins = || File::open(&path).and_then(|mut file| file.read_exact(&mut [0; 5]).map(|()| file));
        if path.is_file() && (named.is_some() || (begins().is_ok() && is_mbox(&path))) {
            found.insert(from_file(named.unwrap_or(name)), path);
        }
    }
    if found.is_empty() {
        return Err(StartError::Asked(format!("{}: here is neither a Maildir nor an mbox", root.display())));
    }
    let names = found.keys().cloned().collect();
    importer.begin(&names, maildir::subscriptions(root).as_ref()).await?;
    let uses = maildir::special_uses(root);
    for (name, path) in found {
        if !importer.full {
            read(importer, (&path, &name), uses.get(&name).copied()).await?;
        }
    }
    Ok(())
}

fn is_mbox(path: &Path) -> bool {
    let mut first = Vec::new();
    let read = File::open(path).and_then(|file| BufReader::new(file.take(LINE_MOST)).read_until(b'\n', &mut first));
    read.is_ok() && separator(&first).is_some()
}

/// One mbox, into a mailbox.
pub(super) async fn file(importer: &mut Importer<'_>, path: &Path, name: &str) -> Result<(), StartError> {
    read(importer, (path, name), None).await
}

/// A message that is being read.
struct Message {
    date: i64,
    /// The line that it began in.
    line: u64,
    octets: Vec<u8>,
    too_large: bool,
}

async fn read(
    importer: &mut Importer<'_>,
    (path, name): (&Path, &str),
    special_use: Option<store::mailbox::SpecialUse>,
) -> Result<(), StartError> {
    let mut file = BufReader::new(File::open(path).map_err(|error| at(path, &error))?);
    let Some(mut target) = importer.target(name, (Settled::default(), special_use), true).await? else {
        return Ok(());
    };
    let (mut line, mut number) = (Vec::new(), 0);
    // Whether a line begins here, and whether the one before was empty.
    let (mut begins, mut after_empty) = (true, true);
    let mut message: Option<Message> = None;
    loop {
        line.clear();
        let read = file.by_ref().take(LINE_MOST).read_until(b'\n', &mut line).map_err(|error| at(path, &error))?;
        number += u64::from(begins);
        let date = if begins && after_empty { separator(&line) } else { None };
        if read == 0 || date.is_some() {
            if let Some(whole) = message.take() {
                take(importer, &mut target, whole, path).await?;
            }
            if read == 0 || importer.full {
                break;
            }
        }
        match (date, &mut message) {
            (Some(date), _) => message = Some(Message { date, line: number, octets: Vec::new(), too_large: false }),
            (None, None) if line.iter().all(u8::is_ascii_whitespace) => {}
            (None, None) => {
                importer.done.wrong.tell(format!("{}: is no mbox: line {number} is no `From ` line", path.display()));
                break;
            }
            (None, Some(message)) => {
                let quotes = line.iter().take_while(|octet| **octet == b'>').count();
                let quoted = begins && quotes > 0 && line.get(quotes..).is_some_and(|rest| rest.starts_with(b"From "));
                message.octets.extend_from_slice(line.get(usize::from(quoted)..).unwrap_or_default());
                if message.octets.len() as u64 > importer.most.saturating_add(LINE_MOST) {
                    message.too_large = true;
                    message.octets.clear();
                }
            }
        }
        after_empty = begins && matches!(line.as_slice(), b"\n" | b"\r\n");
        begins = line.ends_with(b"\n");
    }
    importer.finish(target).await
}

async fn take(
    importer: &mut Importer<'_>,
    target: &mut Target,
    mut message: Message,
    path: &Path,
) -> Result<(), StartError> {
    let source = format!("{}, line {}", path.display(), message.line);
    if message.too_large {
        let most = importer.most;
        importer.done.wrong.tell(format!("{source}: it is larger than the {most} octets that a message may have"));
        return Ok(());
    }
    // The empty line between messages belongs to neither.
    for end in [&b"\r\n"[..], b"\n"] {
        if message.octets.ends_with(&[b"\n", end].concat()) || message.octets == end {
            message.octets.truncate(message.octets.len() - end.len());
            break;
        }
    }
    let (flags, octets) = flags(&message.octets);
    let found = Found { octets: wire_lines(&octets).into(), date: message.date, flags, uid: None };
    importer.take(target, found, &source).await?;
    Ok(())
}

/// Fields in which mail programs keep flags.
const STATUS: [&str; 5] = ["status", "x-status", "x-keywords", "x-imapbase", "x-uid"];

/// A message's flags, and the message without the fields that say them. Where it begins with `Status`, as we write it,
/// only the fields at its head count: others came with the mail.
fn flags(octets: &[u8]) -> (Flags, Vec<u8>) {
    let (mut flags, mut rest, mut body) = (Flags::default(), Vec::with_capacity(octets.len()), 0);
    let (mut ours, mut first, mut dropped, mut seen) = (false, true, false, Vec::new());
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            break;
        }
        let folded = text.starts_with([' ', '\t']);
        if !folded {
            let name = text.split_once(':').map(|(name, _)| name.trim().to_ascii_lowercase());
            ours |= first && name.as_deref() == Some("status");
            dropped = name.as_deref().is_some_and(|name| STATUS.contains(&name));
            if ours && (!dropped || seen.contains(&name)) {
                break;
            }
            seen.push(name);
        }
        first = false;
        body += line.len();
        if !dropped {
            rest.extend_from_slice(line);
            continue;
        }
        let (name, value) = text.split_once(':').unwrap_or(("", text));
        match name.trim().to_ascii_lowercase().as_str() {
            "status" if value.contains('R') => flags.system |= Flags::SEEN,
            "x-status" => {
                let bits = [('A', Flags::ANSWERED), ('F', Flags::FLAGGED), ('T', Flags::DRAFT), ('D', Flags::DELETED)];
                for (_, bit) in bits.iter().filter(|(letter, _)| value.contains(*letter)) {
                    flags.system |= bit;
                }
            }
            "x-keywords" => value.split_whitespace().for_each(|keyword| add_keyword(&mut flags, keyword)),
            _ => {}
        }
    }
    rest.extend_from_slice(octets.get(body..).unwrap_or_default());
    (flags, rest)
}

/// The date of a line that begins a message: `From ada@example.org Mon Nov 23 10:00:00 2026`, with or without a zone.
fn separator(line: &[u8]) -> Option<i64> {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = std::str::from_utf8(line.strip_prefix(b"From ")?).ok()?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let day = words.iter().rposition(|word| DAYS.contains(word))?;
    let word = |at: usize| words.get(day + at).copied();
    let month = MONTHS.iter().position(|month| Some(*month) == word(1))?;
    let mut clock = word(3)?.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next().flatten().unwrap_or(0));
    let rest = words.get(day + 4..)?;
    let year = rest.iter().find(|word| word.len() == 4 && word.bytes().all(|octet| octet.is_ascii_digit()))?;
    let date = Date::new(year.parse().ok()?, i8::try_from(month + 1).ok()?, word(2)?.parse().ok()?).ok()?;
    let time = Time::new(hour, minute, second.min(59), 0).ok()?;
    let offset = rest.iter().find_map(|word| zone(word)).unwrap_or(0);
    let zone = Offset::from_seconds(offset).ok()?;
    zone.to_timestamp(date.to_datetime(time)).ok().map(|stamp| stamp.as_second())
}

fn zone(word: &str) -> Option<i32> {
    let sign = if word.starts_with('+') { 1 } else { -1 };
    let digits = word.strip_prefix(['+', '-']).filter(|digits| digits.len() == 4)?;
    let number: i32 = digits.parse().ok()?;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

fn at(path: &Path, error: &io::Error) -> StartError {
    StartError::Asked(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_that_begin_a_message_have_a_date() {
        let one = separator(b"From MAILER-DAEMON Mon Nov 23 10:00:00 2026\n");
        assert_eq!(one, Some(1_795_428_000));
        assert_eq!(separator(b"From a@b Mon Nov 23 11:00:00 2026 +0100\n"), one);
        assert_eq!(separator(b"From \"a b\"@c Mon Nov 23 10:00 UTC 2026\r\n"), one);
        for text in ["From here on it rains\n", "From a Mon Foo 23 10:00:00 2026\n", ">From a\n"] {
            assert_eq!(separator(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn flags_are_fields() {
        let (found, rest) =
            flags(b"Status: RO\nX-Status: AF\nX-Keywords: a $b\nStatus: kept\nSubject: x\n\nStatus: R\n");
        assert_eq!(found.system, Flags::SEEN | Flags::ANSWERED | Flags::FLAGGED);
        assert_eq!(found.keywords, ["$b", "a"].map(Box::<str>::from));
        assert_eq!(rest, b"Status: kept\nSubject: x\n\nStatus: R\n");
        let (found, rest) = flags(b"Subject: x\nX-UID: 7\nX-Keywords: a\n b\nStatus: O\nX-Status: D\nTo: y\n\nz\n");
        assert_eq!((found.system, rest.as_slice()), (Flags::DELETED, &b"Subject: x\nTo: y\n\nz\n"[..]));
    }
}
