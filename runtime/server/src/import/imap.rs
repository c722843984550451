//! From another server over IMAP: every mailbox that can be selected, in batches.
//!
//! How far a mailbox was read is kept in the data store, by its UIDVALIDITY and UID, in one step with the messages. What
//! could not be taken is tried again by the next run. Where the other server gave its mailbox a new UIDVALIDITY, what is
//! here already is told by content and date.

use super::client::{Client, Peer};
use super::{Found, Importer, PENDING_MOST, Settled, Target};
use crate::clock;
use crate::folders::{add_keyword, inbox, on_the_wire, special_use};
use crate::run::StartError;
use aws_lc_rs::digest;
use bytes::Bytes;
use jiff::fmt::strtime;
use proto::imap::reply::Value;
use proto::imap::utf7;
use schema::name::Secret;
use std::collections::{BTreeMap, BTreeSet};
use store::mailbox::{Flags, Mark, SpecialUse};

/// Messages asked for at once; together they have at most [`PENDING_MOST`] octets, or there is one.
const AT_ONCE: usize = 100;

/// A mailbox of the other server.
struct There {
    /// As it is called there, on the wire.
    raw: String,
    special_use: Option<SpecialUse>,
}

pub(super) async fn import(importer: &mut Importer<'_>, peer: &Peer, password: &Secret) -> Result<(), StartError> {
    let mut client = Client::open(peer, password).await.map_err(StartError::Asked)?;
    let (mailboxes, subscribed) = list(&mut client).await.map_err(StartError::Asked)?;
    importer.begin(&mailboxes.keys().cloned().collect(), Some(&subscribed)).await?;
    for (name, there) in mailboxes {
        if importer.full {
            break;
        }
        mailbox(importer, &mut client, (peer, &name, &there)).await?;
    }
    // What was read is safe, whatever is said to this.
    let _ = client.done("LOGOUT").await;
    Ok(())
}

/// The mailboxes by the names that they get here, and which of them are subscribed.
async fn list(client: &mut Client) -> Result<(BTreeMap<String, There>, BTreeSet<String>), String> {
    let extended = client.can("LIST-EXTENDED") || client.can("IMAP4REV2");
    let uses = if client.can("SPECIAL-USE") || client.can("IMAP4REV2") { "SPECIAL-USE " } else { "" };
    let command = match extended {
        true => format!("LIST \"\" \"*\" RETURN ({uses}SUBSCRIBED)"),
        false => "LIST \"\" \"*\"".to_owned(),
    };
    let mut responses = client.done(&command).await?;
    if !extended {
        responses.extend(client.done("LSUB \"\" \"*\"").await?);
    }
    let (mut mailboxes, mut subscribed) = (BTreeMap::new(), BTreeSet::new());
    for response in responses {
        let [Value::Atom(kind), Value::List(attributes), delimiter, raw, ..] = response.as_slice() else { continue };
        let Some(raw) = raw.words() else { continue };
        let name = translated(&raw, delimiter.words().as_deref());
        let attributes: Vec<String> = attributes.iter().filter_map(Value::words).collect();
        let is = |this: &str| attributes.iter().any(|attribute| attribute.eq_ignore_ascii_case(this));
        if kind.eq_ignore_ascii_case("LSUB") || is("\\Subscribed") {
            subscribed.insert(name.clone());
        }
        // RFC 6154 §2: `\All` and `\Flagged` show other mailboxes' messages once more.
        let shown = is("\\Noselect") || is("\\NonExistent") || is("\\All") || is("\\Flagged");
        if kind.eq_ignore_ascii_case("LIST") && !shown {
            let special_use = attributes.iter().find_map(|attribute| special_use(attribute));
            mailboxes.insert(name, There { raw, special_use });
        }
    }
    Ok((mailboxes, subscribed))
}

/// A name with `/` between its levels. What is a `/` there, within a level, becomes `_`.
fn translated(raw: &str, delimiter: Option<&str>) -> String {
    let name = utf7::decode(raw).unwrap_or_else(|| raw.to_owned());
    inbox(match delimiter.filter(|delimiter| !delimiter.is_empty()) {
        Some("/") => name,
        Some(delimiter) => name.split(delimiter).map(|level| level.replace('/', "_")).collect::<Vec<_>>().join("/"),
        None => name.replace('/', "_"),
    })
}

async fn mailbox(
    importer: &mut Importer<'_>,
    client: &mut Client,
    (peer, name, there): (&Peer, &str, &There),
) -> Result<(), StartError> {
    let quoted = format!("\"{}\"", there.raw.replace('\\', "\\\\").replace('"', "\\\""));
    let opened = match client.done(&format!("EXAMINE {quoted}")).await {
        Ok(opened) => opened,
        Err(why) => {
            importer.done.wrong.tell(format!("mailbox {name}: {why}"));
            return Ok(());
        }
    };
    let code = |wanted: &str| {
        let found = opened.iter().find(|values| values.first().and_then(Value::words).is_some_and(|it| it == wanted));
        found.and_then(|values| values.get(1)?.number()).and_then(|number| u32::try_from(number).ok())
    };
    let settled = Settled { uid_validity: code("UIDVALIDITY").unwrap_or(0), uid_next: code("UIDNEXT").unwrap_or(1) };
    let source = source(peer, &there.raw);
    let before = importer.base.mailboxes.mark(&importer.account, &source).await?;
    let before = before.filter(|mark| mark.uid_validity == settled.uid_validity);
    let fresh = before.is_none();
    let mark = before.unwrap_or(Mark { uid_validity: settled.uid_validity, ..Mark::default() });
    let Some(mut target) = importer.target(name, (settled, there.special_use), fresh).await? else { return Ok(()) };
    let mut wanted = sizes(client, &mark).await.map_err(StartError::Asked)?;
    let first = mark.uid;
    target.mark = Some((source, mark));
    // Those that an earlier run passed over are written before others come.
    let later = wanted.split_off(&first.saturating_add(1));
    for some in [wanted, later] {
        for batch in batches(&some) {
            fetch(importer, client, (&mut target, &batch, name)).await?;
            if importer.full {
                return Ok(());
            }
        }
        importer.flush(&mut target).await?;
    }
    if let Some((source, mark)) = &target.mark {
        importer.base.mailboxes.note(&importer.account, source, mark).await?;
    }
    importer.finish(target).await
}

fn source(peer: &Peer, raw: &str) -> [u8; 32] {
    let text = format!("imap\0{}\0{}\0{}\0{raw}", peer.host, peer.port, peer.user);
    let mut name = [0; 32];
    // A SHA-256 digest has 32 octets.
    name.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    name
}

/// UIDs and sizes of what is to be read: what came after the mark, and what was passed over before it.
async fn sizes(client: &mut Client, mark: &Mark) -> Result<BTreeMap<u32, u64>, String> {
    let mut found = BTreeMap::new();
    let mut note = |values: Vec<Value>| {
        if let Some(row) = row(&values)
            && let Some(uid) = row.uid
        {
            found.insert(uid, row.size);
        }
    };
    let from = mark.uid.saturating_add(1);
    client.ask(&format!("UID FETCH {from}:* (UID RFC822.SIZE)"), 0, &mut note).await?;
    for uids in mark.passed.chunks(AT_ONCE) {
        client.ask(&format!("UID FETCH {} (UID RFC822.SIZE)", set(uids)), 0, &mut note).await?;
    }
    // `n:*` names the last message, also where it is before n.
    found.retain(|uid, _| *uid >= from || mark.passed.contains(uid));
    Ok(found)
}

fn set(uids: &[u32]) -> String {
    uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// Messages to ask for together.
fn batches(sizes: &BTreeMap<u32, u64>) -> Vec<Vec<(u32, u64)>> {
    let mut batches: Vec<Vec<(u32, u64)>> = Vec::new();
    let mut octets = 0;
    for (uid, size) in sizes {
        octets += size;
        match batches.last_mut().filter(|batch| batch.len() < AT_ONCE && octets <= PENDING_MOST) {
            Some(batch) => batch.push((*uid, *size)),
            None => {
                octets = *size;
                batches.push(vec![(*uid, *size)]);
            }
        }
    }
    batches
}

async fn fetch(
    importer: &mut Importer<'_>,
    client: &mut Client,
    (target, batch, name): (&mut Target, &[(u32, u64)], &str),
) -> Result<(), StartError> {
    let most = importer.most;
    let uids: Vec<u32> = batch.iter().filter(|(_, size)| *size <= most).map(|(uid, _)| *uid).collect();
    let mut rows = BTreeMap::new();
    if !uids.is_empty() {
        let command = format!("UID FETCH {} (UID FLAGS INTERNALDATE BODY.PEEK[])", set(&uids));
        let mut note = |values: Vec<Value>| {
            // A change of flags may be told in between.
            if let Some(row) = row(&values).filter(|row| row.large || row.octets.is_some())
                && let Some(uid) = row.uid
            {
                rows.insert(uid, row);
            }
        };
        client.ask(&command, most, &mut note).await.map_err(StartError::Asked)?;
    }
    for (uid, size) in batch {
        let place = format!("mailbox {name}, UID {uid}");
        let row = rows.remove(uid);
        let taken = match row.map(|row| (row.octets.clone(), row)) {
            Some((Some(octets), row)) => {
                let octets = on_the_wire(octets);
                let date = row.date.unwrap_or_else(clock::now);
                importer.take(target, Found { octets, date, flags: row.flags, uid: Some(*uid) }, &place).await?
            }
            Some(_) => {
                importer
                    .done
                    .wrong
                    .tell(format!("{place}: it is larger than the {most} octets that a message may have"));
                false
            }
            None if *size > most => {
                let why = format!("its {size} octets are more than the {most} that a message may have");
                importer.done.wrong.tell(format!("{place}: {why}"));
                false
            }
            None => {
                importer.done.wrong.tell(format!("{place}: the server does not hand it out"));
                false
            }
        };
        if importer.full {
            return Ok(());
        }
        if let Some((_, mark)) = &mut target.mark {
            mark.uid = mark.uid.max(*uid);
            mark.passed.retain(|passed| passed != uid);
            if !taken {
                mark.passed.push(*uid);
            }
        }
    }
    Ok(())
}

/// What a FETCH response says.
#[derive(Default)]
struct Row {
    uid: Option<u32>,
    size: u64,
    date: Option<i64>,
    flags: Flags,
    octets: Option<Bytes>,
    large: bool,
}

fn row(values: &[Value]) -> Option<Row> {
    let [_, Value::Atom(kind), Value::List(items), ..] = values else { return None };
    if !kind.eq_ignore_ascii_case("FETCH") {
        return None;
    }
    let mut row = Row::default();
    for pair in items.chunks_exact(2) {
        let [Value::Atom(item), value] = pair else { continue };
        match item.to_ascii_uppercase().as_str() {
            "UID" => row.uid = value.number().and_then(|uid| u32::try_from(uid).ok()),
            "RFC822.SIZE" => row.size = value.number().unwrap_or(0),
            "INTERNALDATE" => row.date = value.words().and_then(|text| date(&text)),
            "FLAGS" => value.list()?.iter().filter_map(Value::words).for_each(|flag| add_flag(&mut row.flags, &flag)),
            "BODY[]" => match value {
                Value::Text(octets) => row.octets = Some(octets.clone()),
                Value::Large => row.large = true,
                _ => {}
            },
            _ => {}
        }
    }
    Some(row)
}

fn add_flag(flags: &mut Flags, flag: &str) {
    match flag.to_ascii_lowercase().as_str() {
        "\\seen" => flags.system |= Flags::SEEN,
        "\\answered" => flags.system |= Flags::ANSWERED,
        "\\flagged" => flags.system |= Flags::FLAGGED,
        "\\deleted" => flags.system |= Flags::DELETED,
        "\\draft" => flags.system |= Flags::DRAFT,
        _ => add_keyword(flags, flag),
    }
}

fn date(text: &str) -> Option<i64> {
    let broken = strtime::parse("%d-%b-%Y %H:%M:%S %z", text.trim()).ok()?;
    broken.to_timestamp().ok().map(|stamp| stamp.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dates_are_translated() {
        assert_eq!(translated("INBOX.Entw&APw-rfe.a/b", Some(".")), "INBOX/Entwürfe/a_b");
        assert_eq!(translated("inbox", Some("/")), "INBOX");
        assert_eq!(translated("a/b", None), "a_b");
        assert_eq!(date("17-Jul-1996 02:44:25 -0700"), Some(837_596_665));
        assert_eq!(date(" 1-Jan-2020 00:00:00 +0000"), Some(1_577_836_800));
        let sizes = (1..=250).map(|uid| (uid, 10)).chain([(300, PENDING_MOST * 2), (301, 1)]).collect();
        assert_eq!(batches(&sizes).iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50, 1, 1]);
    }
}
