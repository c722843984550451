//! What the queue promises, on the memory store.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::blob::shelves::Shelves;
use crate::kv::memory::Memory;
use schema::name::Address;

async fn queue() -> (Spool, Arc<Mailboxes>, Arc<dyn KeyValue>) {
    let data: Arc<dyn KeyValue> = Arc::new(Memory::default());
    let blobs = Arc::new(Shelves::beside(Arc::clone(&data)));
    let mailboxes = Arc::new(Mailboxes::new(Arc::clone(&data), Arc::clone(&blobs)));
    (Spool::open(Arc::clone(&data), blobs, Arc::clone(&mailboxes)).await.unwrap(), mailboxes, data)
}

fn entry(octets: usize, recipients: &[&str]) -> NewEntry {
    let recipients = recipients.iter().map(|to| Recipient { address: (*to).to_owned(), ..Recipient::default() });
    let octets = Bytes::from([&b"From: x@example.net\r\n\r\n"[..], &vec![b'x'; octets]].concat());
    NewEntry {
        message: Message { from: "x@example.net".into(), ..Message::default() },
        octets,
        recipients: recipients.collect(),
    }
}

fn delivery(ticket: Ticket, detail: &str) -> Delivery {
    let return_path = "Return-Path: <x@example.net>\r\n".to_owned();
    Delivery { ticket, detail: detail.to_owned(), return_path, new: Vec::new() }
}

async fn keys_left(data: &Arc<dyn KeyValue>, prefix: &[u8]) -> usize {
    data.scan(crate::kv::KeyRange::prefix(prefix), Page::first(PAGE_MOST)).await.unwrap().len()
}

#[tokio::test]
async fn many_large_messages_for_one_account_are_delivered_in_parts() {
    let (spool, mailboxes, data) = queue().await;
    let ada: Address = "ada@example.org".parse().unwrap();
    for n in 0..60 {
        spool.accept(&entry(200_000 + n, &["ada@example.org"]), 1).await.unwrap();
    }
    let (tickets, _) = spool.due(None, 100).await.unwrap();
    let deliveries: Vec<Delivery> = tickets.into_iter().map(|ticket| delivery(ticket, "")).collect();
    assert_eq!(deliveries.len(), 60);
    spool.deliver(&ada, &deliveries, 2).await.unwrap();
    // Again, as after a crash before the runner noted it: nothing more comes of it.
    spool.deliver(&ada, &deliveries, 3).await.unwrap();
    assert_eq!(mailboxes.entries(&ada, 1).await.unwrap().len(), 60);
    assert_eq!(keys_left(&data, b"Qm").await + keys_left(&data, b"Qr").await + keys_left(&data, b"Qd").await, 0);
}

#[tokio::test]
async fn one_mailbox_gets_one_copy_of_a_message_for_each_detail() {
    let (spool, mailboxes, data) = queue().await;
    let ada: Address = "ada@example.org".parse().unwrap();
    let to = ["ada@example.org", "countess@example.org", "ada+x@example.org", "sales@example.org", "bob@example.org"];
    spool.accept(&entry(100, &to), 1).await.unwrap();
    let (tickets, _) = spool.due(None, 100).await.unwrap();
    // Two in one batch, the third later: who is named directly and as a member of a group.
    spool.deliver(&ada, &[delivery(tickets[0], ""), delivery(tickets[1], "")], 2).await.unwrap();
    spool.deliver(&ada, &[delivery(tickets[2], "x")], 2).await.unwrap();
    spool.deliver(&ada, &[delivery(tickets[3], "")], 2).await.unwrap();
    assert_eq!(mailboxes.entries(&ada, 1).await.unwrap().len(), 2);
    assert_eq!(keys_left(&data, b"Qv").await, 2);
    let bob: Address = "bob@example.org".parse().unwrap();
    spool.deliver(&bob, &[delivery(tickets[4], "")], 2).await.unwrap();
    assert_eq!(mailboxes.entries(&bob, 1).await.unwrap().len(), 1);
    assert_eq!(keys_left(&data, b"Q").await, 1, "only the queue's secret stays");
}

#[tokio::test]
async fn a_spread_puts_members_in_the_place_of_their_group() {
    let (spool, _, _) = queue().await;
    spool.accept(&entry(100, &["all@example.org"]), 1).await.unwrap();
    let (tickets, _) = spool.due(None, 10).await.unwrap();
    let id = tickets[0].id;
    let row = |to: &str| Recipient { address: to.to_owned(), due: 5, ..Recipient::default() };
    let cursor = Recipient { task: Task::Spread("b@example.org".into()), ..row("all@example.org") };
    let first = Next::Spread(vec![row("a@example.org"), row("b@example.org")], Some(cursor));
    spool.settle(id, vec![(0, first.clone())], &[], 2).await.unwrap();
    let (message, group) = spool.load(tickets[0]).await.unwrap().unwrap();
    assert_eq!((message.open, group.task), (3, Task::Spread("b@example.org".into())));
    spool.settle(id, vec![(0, Next::Spread(vec![row("c@example.org")], None))], &[], 2).await.unwrap();
    assert_eq!(spool.load(tickets[0]).await.unwrap(), None);
    // What was settled is settled: the same step again changes nothing.
    spool.settle(id, vec![(0, first)], &[], 2).await.unwrap();
    let (open, _) = spool.due(None, 10).await.unwrap();
    assert_eq!(open.iter().map(|ticket| ticket.recipient).collect::<Vec<_>>(), [1, 2, 3]);
    for ticket in open {
        spool.settle(id, vec![(ticket.recipient, Next::Done)], &[], 3).await.unwrap();
    }
    assert_eq!(spool.messages(None, 10).await.unwrap(), []);
}
