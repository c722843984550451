//! A mailbox as one file in the mboxrd format, which can be read back without a doubt.

use super::{FILE_NAME_MOST, Reader, Written, at, create};
use crate::folders::{to_file, wire_lines};
use crate::run::StartError;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::{BufWriter, Write};
use std::path::Path;
use store::mailbox::{Entry, Flags, MailboxFacts};

pub(super) async fn mailbox(reader: &mut Reader<'_>, facts: &MailboxFacts, root: &Path) -> Result<Written, StartError> {
    let name = format!("{}.mbox", to_file(&facts.row.name));
    if name.len() > FILE_NAME_MOST {
        reader.unnameable(facts);
        return Ok(Written::default());
    }
    let path = root.join(name);
    let mut file = BufWriter::new(create(&path)?);
    let mut written = Written::default();
    for entry in &reader.base.mailboxes.entries(reader.account, facts.id).await? {
        let Some(octets) = reader.octets(facts, entry).await? else { continue };
        message(entry, &octets, &mut file).map_err(|error| at(&path, &error))?;
        written.messages += 1;
        written.octets += entry.size;
    }
    file.flush().map_err(|error| at(&path, &error))?;
    Ok(written)
}

fn message(entry: &Entry, octets: &[u8], to: &mut impl Write) -> std::io::Result<()> {
    let date = TimeZone::UTC.to_datetime(Timestamp::from_second(entry.date).unwrap_or(Timestamp::UNIX_EPOCH));
    writeln!(to, "From MAILER-DAEMON {}", date.strftime("%a %b %e %H:%M:%S %Y"))?;
    let letters = |of: &[(char, u8)]| -> String {
        of.iter().filter(|(_, bit)| entry.flags.has(*bit)).map(|(letter, _)| *letter).collect()
    };
    writeln!(to, "Status: {}O", letters(&[('R', Flags::SEEN)]))?;
    let more = letters(&[('A', Flags::ANSWERED), ('F', Flags::FLAGGED), ('T', Flags::DRAFT), ('D', Flags::DELETED)]);
    // All three always, so that a field of the same name that came with the mail is known as not ours.
    writeln!(to, "X-Status: {more}")?;
    writeln!(to, "X-Keywords: {}", entry.flags.keywords.join(" "))?;
    // With LF alone at every line's end, whatever it was: the format knows nothing else.
    for line in wire_lines(octets).split_inclusive(|octet| *octet == b'\n') {
        let body = line.strip_suffix(b"\r\n").unwrap_or(line);
        let quotes = body.iter().take_while(|octet| **octet == b'>').count();
        if body.get(quotes..).is_some_and(|rest| rest.starts_with(b"From ")) {
            to.write_all(b">")?;
        }
        to.write_all(body)?;
        to.write_all(b"\n")?;
    }
    to.write_all(b"\n")
}
