//! Every kind of damage, planted in a sound store: found, left alone without a repair, and mended by one.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::blob::shelves::Shelves;
use crate::directory::people::owned::{Identity, Named};
use crate::directory::people::{Kept, People, Whom};
use crate::directory::{Access, Scope};
use crate::kv::memory::Memory;
use crate::lookup::Lookups;
use crate::lookup::kv::KvLookups;
use crate::mailbox::row::{AccountRow, MailboxRow};
use crate::mailbox::{Flags, How as Flagging, Mailboxes, NewMessage, SpecialUse};
use crate::search::analyse::Analyser;
use crate::search::indexer::{Indexer, Step, id};
use crate::search::kv::KvSearch;
use crate::search::{Document, Search};
use crate::spool::{NewEntry, Recipient, Spool};
use schema::config::IndexOptions;
use schema::unit::Size;
use std::collections::BTreeMap;
use std::time::Duration;

const NOW: i64 = 1_000_000;

fn ada() -> Address {
    "ada@example.org".parse().unwrap()
}

/// A store with mail of every kind in it.
async fn sound() -> Base {
    let data: Arc<dyn KeyValue> = Arc::new(Memory::new());
    let blobs = Arc::new(Shelves::beside(data.clone()));
    let mailboxes = Arc::new(Mailboxes::new(data.clone(), blobs.clone()));
    let ada = ada();
    mailboxes.create(&ada, "Work/Plans", None, NOW).await.unwrap();
    let mut uids = Vec::new();
    for n in 0..8 {
        let octets = Bytes::from(format!("Subject: {n}\r\n\r\n"));
        let new = NewMessage { octets: octets.len() as u64, date: NOW, flags: Flags::default() };
        let name = if n < 6 { "INBOX" } else { "Work/Plans" };
        uids.push(mailboxes.append((&ada, name), (new, octets), None, NOW).await.unwrap().uid);
    }
    let flags = Flags { system: Flags::SEEN | Flags::DELETED, keywords: vec!["x".into()] };
    mailboxes.flag((&ada, 1), &uids[..2], (Flagging::Add, &flags, None), NOW).await.unwrap();
    mailboxes.expunge((&ada, 1), Some(&uids[..1]), NOW).await.unwrap();
    mailboxes.copy((&ada, 1), &uids[3..5], ("Archive", false, false), (None, NOW)).await.unwrap();
    mailboxes.create(&ada, "Gone", None, NOW).await.unwrap();
    mailboxes.copy((&ada, 1), &uids[3..5], ("Gone", false, false), (None, NOW)).await.unwrap();
    mailboxes.delete(&ada, "Gone", NOW).await.unwrap();
    let spool = Spool::open(data.clone(), blobs.clone(), mailboxes.clone(), ("", NOW)).await.unwrap();
    for to in [&["ada@example.org"][..], &["x@example.net", "y@example.net"]] {
        let recipients = to.iter().map(|to| Recipient { address: (*to).into(), due: NOW, ..Recipient::default() });
        let octets = Bytes::from(format!("To: {to:?}\r\n\r\n"));
        let entry = NewEntry { message: Message::default(), octets, recipients: recipients.collect() };
        spool.accept(&entry, NOW).await.unwrap();
    }
    let people = People::new(data.clone(), Arc::new(|| NOW * 1000));
    let kept = Kept { aliases: vec!["info@example.org".parse().unwrap()], ..Kept::default() };
    people.create(&"pia@example.org".parse().unwrap(), kept, false).await.unwrap();
    let whom = Whom { account: &ada, kept: false, stamp: None };
    people.add_app_password(whom, "phone", (Scope::of([Access::Imap]), None)).await.unwrap();
    people.put_script(whom, "main", &"# a long one\n".repeat(10_000)).await.unwrap();
    let identity = Identity {
        email: ada.clone(),
        name: "Ada".into(),
        reply_to: vec![Named { name: String::new(), email: ada.clone() }],
        bcc: Vec::new(),
        text_signature: "Ada".into(),
        html_signature: String::new(),
    };
    people.put_identity(whom, None, &identity).await.unwrap();
    Base { data, blobs, mailboxes }
}

async fn all(data: &Arc<dyn KeyValue>, prefix: &[u8]) -> Vec<(Key, Bytes)> {
    data.scan(KeyRange::prefix(prefix), Page::first(10_000)).await.unwrap()
}

async fn everything(data: &Arc<dyn KeyValue>) -> BTreeMap<Key, Bytes> {
    let mut found = BTreeMap::new();
    for first in [b"B", b"M", b"P", b"Q", b"R"] {
        found.extend(all(data, first).await);
    }
    found
}

async fn put(data: &Arc<dyn KeyValue>, key: Key, value: impl Into<Bytes>) {
    let mut batch = Batch::new();
    batch.put(key, value);
    data.commit(batch).await.unwrap();
}

async fn kinds(base: &Base, how: &How) -> Vec<&'static str> {
    let mut kinds: Vec<_> =
        check(base, Beside::default(), how, NOW).await.unwrap().findings.iter().map(|found| found.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

async fn mailbox(base: &Base, name: &str, change_row: impl FnOnce(&mut MailboxRow)) {
    let found = base.mailboxes.named(&ada(), name, NOW).await.unwrap();
    let mut row = found.row;
    change_row(&mut row);
    put(&base.data, keys::mailbox(&ada(), found.id), row.write()).await;
}

async fn account(base: &Base, change_row: impl FnOnce(&mut AccountRow)) {
    let key = keys::account(&ada());
    let found = base.data.get(std::slice::from_ref(&key)).await.unwrap().pop().flatten().unwrap();
    let mut row = AccountRow::read(&found).unwrap();
    change_row(&mut row);
    put(&base.data, key, row.write()).await;
}

async fn first(base: &Base, prefix: &[u8]) -> (Key, Bytes) {
    all(&base.data, prefix).await.remove(0)
}

async fn remove(base: &Base, key: Key) {
    let mut batch = Batch::new();
    batch.remove(key);
    base.data.commit(batch).await.unwrap();
}

/// Plants a damage, and names the kind of what is to be found.
async fn plant(base: &Base, which: usize) -> Option<&'static str> {
    let entries = base.mailboxes.entries(&ada(), 1).await.unwrap();
    let entry = entries[1].clone();
    match which {
        0 => mailbox(base, "INBOX", |row| row.messages += 1).await,
        1 => mailbox(base, "INBOX", |row| row.unseen = 0).await,
        2 => mailbox(base, "Archive", |row| row.size += 9).await,
        3 => mailbox(base, "INBOX", |row| row.uid_next = 2).await,
        4 => mailbox(base, "INBOX", |row| row.modseq = 1).await,
        5 => mailbox(base, "INBOX", |row| row.vanished = 7).await,
        6 => {
            account(base, |row| row.used += 5).await;
            return Some("used");
        }
        7 => {
            account(base, |row| row.next_mailbox = 2).await;
            return Some("next-mailbox");
        }
        8 => {
            account(base, |row| row.modseq = 2).await;
            return Some("modseq");
        }
        9 => {
            account(base, |row| row.uid_validity = 2).await;
            return Some("uid-validity");
        }
        10 => {
            remove(base, keys::account(&ada())).await;
            return Some("account");
        }
        11 => {
            remove(base, keys::held_by_message(entry.blob, &ada(), 1, entry.uid)).await;
            return Some("missing-reference");
        }
        12 => {
            put(&base.data, keys::held_by_message(entry.blob, &ada(), 1, 99), "").await;
            return Some("dangling-reference");
        }
        13 => {
            remove(base, keys::change(&ada(), 1, entry.modseq, entry.uid)).await;
            return Some("change-log");
        }
        14 => {
            put(&base.data, keys::change(&ada(), 1, 1, entry.uid), vec![1]).await;
            return Some("change-log");
        }
        15 => {
            put(&base.data, keys::change(&ada(), 1, 1, entry.uid), vec![2]).await;
            return Some("change-log");
        }
        16 => {
            mailbox(base, "Work", |row| row.name = "Archive".into()).await;
            // It was the parent of another.
            return Some("name");
        }
        17 => {
            mailbox(base, "Work", |row| row.special_use = Some(SpecialUse::Sent)).await;
            return Some("special-use");
        }
        18 => {
            let work = base.mailboxes.named(&ada(), "Work", NOW).await.unwrap().id;
            remove(base, keys::mailbox(&ada(), work)).await;
            return Some("parent");
        }
        19 => {
            remove(base, keys::mailbox(&ada(), 1)).await;
            return Some("lost-mailbox");
        }
        _ => return plant_elsewhere(base, which).await,
    }
    Some("counts")
}

/// Damage of blobs, queue and names.
async fn plant_elsewhere(base: &Base, which: usize) -> Option<&'static str> {
    let entry = base.mailboxes.entries(&ada(), 1).await.unwrap()[1].clone();
    let (id, message) = Spool::messages_of(&base.data).await[1].clone();
    Some(match which {
        20 => {
            base.blobs.put(Bytes::from_static(b"nobody's")).await.unwrap();
            "unreferenced-blob"
        }
        21 => {
            let wrong = Entry { size: entry.size + 1, ..entry };
            put(&base.data, keys::entry(&ada(), 1, wrong.uid), wrong.write()).await;
            "size"
        }
        22 => {
            remove(base, keys::held_by_queue(message.blob, id)).await;
            "missing-reference"
        }
        23 => {
            let (due, _) = first(base, b"Qd").await;
            remove(base, due).await;
            "due"
        }
        24 => {
            put(&base.data, keys::due(5, id, 0), "").await;
            "due"
        }
        25 => {
            let wrong = Message { open: 9, ..message };
            put(&base.data, keys::queued(id), wrong.write()).await;
            "recipients"
        }
        26 => {
            put(&base.data, keys::copy(77, "ada@example.org+"), "").await;
            "copy"
        }
        27 => {
            let (owner, _) = first(base, b"Qo").await;
            remove(base, owner).await;
            "lane"
        }
        28 => {
            mailbox(base, "INBOX", |row| row.name = "Inbound".into()).await;
            "inbox"
        }
        29 => {
            let (claim, _) = first(base, b"Pa").await;
            remove(base, claim).await;
            "missing-address"
        }
        30 => {
            put(&base.data, keys::whose(&"stray@example.org".parse().unwrap()), "pia@example.org").await;
            "address-of-nobody"
        }
        31 => {
            let (note, _) = first(base, b"Pw").await;
            remove(base, note).await;
            "missing-plain"
        }
        32 => {
            put(&base.data, keys::without_scram(&"pia@example.org".parse().unwrap()), "").await;
            "plain-of-nobody"
        }
        33 => {
            put(&base.data, keys::owned_piece(&ada(), 7, 0), "keep;").await;
            "text-of-nobody"
        }
        34 => {
            let (list, _) = first(base, b"Po").await;
            remove(base, list).await;
            "text-of-nobody"
        }
        _ => return None,
    })
}

impl Spool {
    async fn messages_of(data: &Arc<dyn KeyValue>) -> Vec<(u64, Message)> {
        let found = all(data, b"Qm").await;
        found.iter().map(|(key, value)| (keys::read_queued(key).unwrap(), Message::read(value).unwrap())).collect()
    }
}

#[tokio::test]
async fn every_damage_is_found_and_mended_and_nothing_is_changed_unasked() {
    let repair = How { repair: true, blobs: true, ..How::default() };
    let base = sound().await;
    let done = check(&base, Beside::default(), &How { blobs: true, ..How::default() }, NOW).await.unwrap();
    assert!(done.is_sound() && done.findings.is_empty(), "{:#?}", done.findings);
    assert_eq!((done.accounts, done.messages, done.queued), (1, 9, 2));
    let mut which = 0;
    loop {
        let base = sound().await;
        let Some(kind) = plant(&base, which).await else { break };
        let before = everything(&base.data).await;
        let found = check(&base, Beside::default(), &How::default(), NOW).await.unwrap();
        assert!(found.findings.iter().any(|found| found.kind == kind), "{which} {kind}: {:#?}", found.findings);
        assert!(found.findings.len() <= 10, "{which} {kind}: {:#?}", found.findings);
        assert!(everything(&base.data).await == before, "{which} {kind}: changed unasked");
        let mended = check(&base, Beside::default(), &repair, NOW).await.unwrap();
        assert!(mended.mended > 0 && mended.is_sound(), "{which} {kind}: {:#?}", mended.findings);
        let again = check(&base, Beside::default(), &repair, NOW).await.unwrap();
        assert!(again.findings.is_empty(), "{which} {kind}: {:#?}", again.findings);
        assert_eq!((again.messages, again.queued), (9, 2), "{which} {kind}");
        which += 1;
    }
    assert_eq!(which, 35);
}

#[tokio::test]
async fn a_message_without_its_octets_stays_until_it_is_to_be_dropped() {
    let base = sound().await;
    let entry = base.mailboxes.entries(&ada(), 1).await.unwrap().remove(0);
    base.blobs.remove(entry.blob).await.unwrap();
    let repair = How { repair: true, ..How::default() };
    let done = check(&base, Beside::default(), &repair, NOW).await.unwrap();
    assert_eq!((done.left, done.mended), (1, 0), "{:#?}", done.findings);
    assert!(done.findings[0].place.contains("ada@example.org, INBOX, UID 2"), "{:?}", done.findings);
    let drop_broken = How { drop_broken: true, ..repair.clone() };
    let before = base.mailboxes.facts(&ada(), 1).await.unwrap().row;
    let done = check(&base, Beside::default(), &drop_broken, NOW).await.unwrap();
    assert_eq!((done.left, done.mended), (0, 1), "{:#?}", done.findings);
    let changes = base.mailboxes.changes(&ada(), 1, before.modseq).await.unwrap();
    assert_eq!(changes.vanished, [entry.uid]);
    assert_eq!(kinds(&base, &How::default()).await, Vec::<&str>::new());
}

#[tokio::test]
async fn what_a_blob_holds_is_compared_with_its_name_when_asked() {
    let base = sound().await;
    let (key, value) = first(&base, b"Bc").await;
    let mut octets = value.to_vec();
    octets[0] ^= 1;
    put(&base.data, key, octets).await;
    assert_eq!(kinds(&base, &How::default()).await, Vec::<&str>::new());
    assert_eq!(kinds(&base, &How { blobs: true, ..How::default() }).await, ["changed-blob"]);
    // Once its message is given up nobody misses it.
    let drop = How { blobs: true, repair: true, drop_broken: true, ..How::default() };
    let done = check(&base, Beside::default(), &drop, NOW).await.unwrap();
    assert!(done.mended >= 1 && done.left == 0, "{done:#?}");
    assert_eq!(kinds(&base, &How { blobs: true, ..How::default() }).await, Vec::<&str>::new());
    // An entry that cannot be read is told of, and nothing else is taken away for it.
    let (key, _) = first(&base, b"Me").await;
    put(&base.data, key, vec![9]).await;
    let done = check(&base, Beside::default(), &How { repair: true, ..How::default() }, NOW).await.unwrap();
    assert!(done.left >= 1 && done.findings.iter().all(|found| found.kind != "dangling-reference"), "{done:#?}");
}

#[tokio::test]
async fn the_full_text_index_is_compared_with_the_mailboxes() {
    let base = sound().await;
    let search: Arc<dyn Search> =
        Arc::new(KvSearch::new(base.data.clone(), Analyser::default(), Arc::new(|| NOW * 1000)));
    let options = IndexOptions { languages: Vec::new(), attachments: true, most: Size(1 << 20) };
    let follows = (base.data.clone(), base.mailboxes.clone(), search.clone());
    let index = Index { search, indexer: Indexer::new(follows, options, "") };
    let look =
        async |how: &How| check(&base, Beside { index: Some(&index), ..Beside::default() }, how, NOW).await.unwrap();
    let follow = async || while index.indexer.step(&ada()).await.unwrap() != Step::Done {};
    // What is not followed yet is no damage.
    assert!(look(&How::default()).await.findings.is_empty());
    follow().await;
    let done = look(&How::default()).await;
    assert!(done.findings.is_empty() && done.indexed == 9, "{done:#?}");
    // One is missing, and one is there that no mailbox has.
    let stranger = Document { id: id(&ada(), 99, 1), texts: Vec::new(), whole: true };
    index.search.index(&[stranger]).await.unwrap();
    index.search.forget(&[id(&ada(), 1, 2)]).await.unwrap();
    let kinds = |done: &Checked| done.findings.iter().map(|found| found.kind).collect::<Vec<_>>();
    for _ in 0..2 {
        let done = look(&How::default()).await;
        assert_eq!((kinds(&done), done.mendable), (vec!["missing-from-index", "gone-in-index"], 2));
    }
    let done = look(&How { repair: true, ..How::default() }).await;
    assert_eq!((done.mended, done.is_sound()), (2, true), "{:#?}", done.findings);
    follow().await;
    let done = look(&How::default()).await;
    assert!(done.findings.is_empty() && done.indexed == 9, "{done:#?}");
    // What went while the change log forgot it is found by comparing.
    base.mailboxes.expunge((&ada(), 1), Some(&[2]), NOW).await.unwrap();
    let mut row = base.mailboxes.facts(&ada(), 1).await.unwrap().row;
    row.floor = row.modseq;
    put(&base.data, keys::mailbox(&ada(), 1), row.write()).await;
    follow().await;
    let left = index.search.messages(&ada()).await.unwrap().unwrap();
    assert!(left.len() == 8 && !left.contains(&id(&ada(), 1, 2).message), "{left:?}");
}

#[tokio::test]
async fn lookups_can_be_read_and_end() {
    let base = sound().await;
    let lookups = KvLookups::new(base.data.clone(), Arc::new(|| NOW * 1000));
    for n in 0..3 {
        lookups.add(&format!("counter {n}"), 5, Duration::from_secs(60)).await.unwrap();
        lookups.note(&format!("fact {n}"), Some("told".into()), Duration::from_secs(60)).await.unwrap();
    }
    lookups.lease("lease", Duration::from_secs(60)).await.unwrap().unwrap();
    let beside = Beside { lookups: Some(&base.data), ..Beside::default() };
    let look = async |repair| check(&base, beside, &How { repair, ..How::default() }, NOW).await.unwrap();
    let done = look(false).await;
    assert!(done.findings.is_empty() && done.lookups == 7, "{done:#?}");
    put(&base.data, "Lccounter 0".into(), "torn").await;
    put(&base.data, "Lccounter 1".into(), "0123456789").await;
    put(&base.data, "Lffact 0".into(), "torn").await;
    let end = all(&base.data, b"Lx").await.into_iter().find(|(key, _)| key.0.ends_with(b"fact 1")).unwrap().0;
    remove(&base, end).await;
    put(&base.data, "Lx........Lfnever there".into(), "").await;
    let before = everything(&base.data).await;
    let kinds = |done: &Checked| done.findings.iter().map(|found| found.kind).collect::<Vec<_>>();
    // What cannot be read has a mark that fits nothing.
    let mut want = ["unreadable-lookup"; 3].to_vec();
    want.extend(["endless-lookup", "end-of-nothing", "end-of-nothing", "end-of-nothing", "end-of-nothing"]);
    let done = look(false).await;
    assert!(kinds(&done) == want && done.mendable == 8, "{:#?}", done.findings);
    assert!(everything(&base.data).await == before);
    let done = look(true).await;
    assert!(done.is_sound() && done.mended == 8, "{:#?}", done.findings);
    let done = look(true).await;
    assert!(done.findings.is_empty() && done.lookups == 4, "{done:#?}");
    assert_eq!(lookups.add("counter 0", 1, Duration::from_secs(60)).await.unwrap(), 1);
    assert_eq!(lookups.add("counter 2", 1, Duration::from_secs(60)).await.unwrap(), 6);
    // A lease's number would be given twice.
    put(&base.data, "Lllease".into(), "torn").await;
    let done = look(true).await;
    assert_eq!((kinds(&done), done.left), (vec!["unreadable"], 1));
}

#[tokio::test]
async fn scripts_and_identities_without_all_of_their_octets_stay_until_they_are_to_be_dropped() {
    let repair = How { repair: true, ..How::default() };
    let pieces = all(&sound().await.data, b"Pt").await.len();
    assert_eq!(pieces, 3, "a script of two, and an identity");
    for which in 0..pieces {
        for cut in [true, false] {
            let base = sound().await;
            let (piece, octets) = all(&base.data, b"Pt").await.swap_remove(which);
            match cut {
                true => put(&base.data, piece, octets.slice(..octets.len() - 1)).await,
                false => remove(&base, piece).await,
            }
            let before = everything(&base.data).await;
            let done = check(&base, Beside::default(), &repair, NOW).await.unwrap();
            assert_eq!((done.left, done.findings[0].kind), (1, "broken-text"), "{:#?}", done.findings);
            assert!(everything(&base.data).await == before);
            let drop_broken = How { drop_broken: true, ..repair.clone() };
            let done = check(&base, Beside::default(), &drop_broken, NOW).await.unwrap();
            assert_eq!((done.left, done.mended), (0, 1), "{:#?}", done.findings);
            assert_eq!(kinds(&base, &How::default()).await, Vec::<&str>::new());
            assert!(all(&base.data, b"Pt").await.len() < pieces);
        }
    }
}
