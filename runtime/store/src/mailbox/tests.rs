//! What mailboxes promise, in memory and on databases with faults.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::blob::shelves::Shelves;
use crate::kv::strict::tests::{databases, faulty};
use crate::kv::surely::Surely;

fn mailboxes(data: Arc<dyn KeyValue>) -> Arc<Mailboxes> {
    let blobs = Arc::new(Shelves::beside(Arc::clone(&data)));
    Arc::new(Mailboxes::new(data, blobs))
}

fn message(n: usize) -> (NewMessage, Bytes) {
    let octets = Bytes::from(format!("Subject: {n}\r\n\r\n"));
    (NewMessage { octets: octets.len() as u64, ..NewMessage::default() }, octets)
}

fn deleted() -> Flags {
    Flags { system: Flags::DELETED, ..Flags::default() }
}

/// Counts, log, references and quota say what the messages say.
async fn agree(all: &Mailboxes, account: &Address) -> usize {
    let (mut messages, mut octets) = (0, 0);
    for MailboxFacts { id, row } in all.list(account, 1).await.unwrap() {
        let entries = all.entries(account, id).await.unwrap();
        let count =
            |of: &dyn Fn(&Entry) -> bool| u32::try_from(entries.iter().filter(|entry| of(entry)).count()).unwrap();
        assert_eq!(row.messages, count(&|_| true), "{}", row.name);
        assert_eq!(row.unseen, count(&|entry| !entry.flags.has(Flags::SEEN)), "{}", row.name);
        assert_eq!(row.deleted, count(&|entry| entry.flags.has(Flags::DELETED)), "{}", row.name);
        assert_eq!(row.size, entries.iter().map(|entry| entry.size).sum::<u64>(), "{}", row.name);
        assert!(entries.iter().all(|entry| entry.uid < row.uid_next && entry.modseq <= row.modseq), "{}", row.name);
        let changes = all.changes(account, id, 0).await.unwrap();
        assert_eq!(changes.entries, entries, "{}", row.name);
        assert_eq!(changes.vanished.len(), row.vanished as usize, "{}", row.name);
        for entry in &entries {
            assert_eq!(all.octets(entry.blob, 0..u64::MAX).await.unwrap().len() as u64, entry.size);
        }
        messages += entries.len();
        octets += row.size;
    }
    assert_eq!(all.used(account).await.unwrap(), octets);
    messages
}

#[tokio::test]
async fn each_change_happens_once() {
    let ada: Address = "ada@example.org".parse().unwrap();
    for data in databases().await {
        let all = mailboxes(data);
        for n in 0..30 {
            assert_eq!(all.append((&ada, "INBOX"), message(n), None, 1).await.unwrap().uid as usize, n + 1);
        }
        let archive = all.named(&ada, "Archive", 1).await.unwrap().id;
        let copied = all.copy((&ada, INBOX), &[1, 2, 3], ("Archive", false, true), (None, 1)).await.unwrap();
        assert_eq!(copied.pairs, [(1, 1), (2, 2), (3, 3)]);
        let moved = all.copy((&ada, INBOX), &[4, 5], ("Archive", true, true), (None, 1)).await.unwrap();
        assert_eq!(moved.pairs, [(4, 4), (5, 5)]);
        let stored = all.flag((&ada, INBOX), &[6, 7], (How::Add, &deleted(), None), 1).await.unwrap();
        assert_eq!(stored.entries.len(), 2);
        assert_eq!(all.expunge((&ada, INBOX), None, 1).await.unwrap(), [6, 7]);
        all.create(&ada, "a/b/c", None, 1).await.unwrap();
        assert!(matches!(all.create(&ada, "a/b/c", None, 1).await, Err(MailboxError::Exists)));
        all.rename(&ada, "a", "d", 1).await.unwrap();
        all.rename(&ada, "INBOX", "d/old", 1).await.unwrap();
        all.subscribe(&ada, "d", true, 1).await.unwrap();
        assert_eq!(agree(&all, &ada).await, 31);
        assert_eq!(all.entries(&ada, archive).await.unwrap().len(), 5);
        all.delete(&ada, "d/old", 1).await.unwrap();
        let names = all.list(&ada, 1).await.unwrap().into_iter().map(|facts| facts.row.name).collect::<Vec<_>>();
        assert_eq!(names, ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash", "d", "d/b", "d/b/c"]);
        assert_eq!(agree(&all, &ada).await, 5);
        all.collect(1_000_000).await.unwrap();
        assert_eq!(agree(&all, &ada).await, 5);
    }
}

/// Two servers change one account at once, over a database that loses answers.
#[tokio::test]
async fn of_what_two_servers_change_nothing_is_lost_or_doubled() {
    for seed in 1..=12 {
        let ada: Address = "ada@example.org".parse().unwrap();
        let (first, strict) = faulty(seed).await;
        let second: Arc<dyn KeyValue> = Arc::new(Surely::open(strict, Arc::new(|| 0)).await.unwrap());
        let servers = [mailboxes(first), mailboxes(second)];
        let working = [0, 1].map(|server| {
            let (all, ada) = (servers[server].clone(), ada.clone());
            tokio::spawn(async move {
                let mut uids = Vec::new();
                for n in 0..24 {
                    uids.push(all.append((&ada, "INBOX"), message(2 * n + server), None, 1).await.unwrap().uid);
                }
                all.flag((&ada, INBOX), &uids[..12], (How::Add, &deleted(), None), 1).await.unwrap();
                let moved = all.copy((&ada, INBOX), &uids[12..18], ("Archive", true, true), (None, 1)).await.unwrap();
                assert_eq!(moved.pairs.len(), 6);
                assert_eq!(all.expunge((&ada, INBOX), Some(&uids[..6]), 1).await.unwrap().len(), 6);
                uids
            })
        });
        let mut uids = Vec::new();
        for done in working {
            uids.extend(done.await.unwrap());
        }
        uids.sort_unstable();
        assert!(uids.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {uids:?}");
        assert_eq!(agree(&servers[0], &ada).await, 36, "seed {seed}");
        assert_eq!(servers[1].entries(&ada, INBOX).await.unwrap().len(), 24, "seed {seed}");
    }
}

#[tokio::test]
async fn thousands_of_messages_of_the_longest_address_are_changed_in_several_batches() {
    let label = "d".repeat(60);
    let longest: Address = format!("{}@{label}.{label}.{label}.{label}", "l".repeat(64)).parse().unwrap();
    for data in databases().await.into_iter().take(3) {
        let all = mailboxes(data);
        let mut uids = Vec::new();
        for n in 0..2_500 {
            uids.push(all.append((&longest, "INBOX"), message(n), None, 1).await.unwrap().uid);
        }
        let flags = Flags { system: Flags::DELETED, keywords: vec!["k".repeat(1_000).into()] };
        let stored = all.flag((&longest, INBOX), &uids, (How::Add, &flags, None), 1).await.unwrap();
        assert_eq!((stored.entries.len(), stored.before.len()), (2_500, 2_500));
        let copied = all.copy((&longest, INBOX), &uids, ("Archive", false, true), (None, 1)).await.unwrap();
        assert_eq!(copied.pairs.iter().map(|(old, _)| *old).collect::<Vec<_>>(), uids);
        let moved = all.copy((&longest, INBOX), &uids[..1_500], ("Trash", true, true), (None, 1)).await.unwrap();
        assert_eq!(moved.pairs.len(), 1_500);
        assert_eq!(all.expunge((&longest, INBOX), None, 1).await.unwrap(), uids[1_500..]);
        all.delete(&longest, "Archive", 1).await.unwrap();
        assert_eq!(agree(&all, &longest).await, 1_500);
    }
}
