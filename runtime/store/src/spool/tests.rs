//! What the queue promises, in memory and on databases with faults.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::blob::shelves::Shelves;
use crate::kv::memory::Memory;
use crate::kv::strict::tests::{databases, faulty};
use crate::kv::surely::Surely;
use schema::name::Address;

/// One on each kind of database.
async fn queues() -> Vec<(Spool, Arc<Mailboxes>, Arc<dyn KeyValue>)> {
    let mut queues = Vec::new();
    for data in databases().await {
        queues.push(queue(data).await);
    }
    queues
}

async fn queue(data: Arc<dyn KeyValue>) -> (Spool, Arc<Mailboxes>, Arc<dyn KeyValue>) {
    let (spool, mailboxes) = node(&data, "").await;
    (spool, mailboxes, data)
}

/// A process that works the queue in `data` under this name, from the time 0 on.
async fn node(data: &Arc<dyn KeyValue>, name: &str) -> (Spool, Arc<Mailboxes>) {
    let blobs = Arc::new(Shelves::beside(Arc::clone(data)));
    let mailboxes = Arc::new(Mailboxes::new(Arc::clone(data), Arc::clone(&blobs)));
    (Spool::open(Arc::clone(data), blobs, Arc::clone(&mailboxes), (name, 0)).await.unwrap(), mailboxes)
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
    for (spool, mailboxes, data) in queues().await {
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
}

#[tokio::test]
async fn one_mailbox_gets_one_copy_of_a_message_for_each_detail() {
    for (spool, mailboxes, data) in queues().await {
        let ada: Address = "ada@example.org".parse().unwrap();
        let to =
            ["ada@example.org", "countess@example.org", "ada+x@example.org", "sales@example.org", "bob@example.org"];
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
        assert_eq!(keys_left(&data, b"Q").await, 3, "the secret, the lane and the beat stay");
    }
}

#[tokio::test]
async fn a_spread_puts_members_in_the_place_of_their_group() {
    for (spool, _, _) in queues().await {
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
}

/// Two servers on one database that loses answers, with all they do told wrongly now and then.
#[tokio::test]
async fn of_what_two_servers_accept_and_deliver_nothing_is_lost_or_doubled() {
    for seed in 1..=12 {
        let (first, strict) = faulty(seed).await;
        let second: Arc<dyn KeyValue> = Arc::new(Surely::open(strict, Arc::new(|| 0)).await.unwrap());
        let servers = [node(&first, "one").await, node(&second, "two").await];
        let servers = servers.map(|(spool, mailboxes)| (Arc::new(spool), mailboxes));
        let ada: Address = "ada@example.org".parse().unwrap();
        let accepting = servers.clone().map(|(spool, _)| {
            tokio::spawn(async move {
                for n in 0..20 {
                    spool.accept(&entry(n, &["ada@example.org", "bob@example.net"]), 1).await.unwrap();
                }
            })
        });
        for accepted in accepting {
            accepted.await.unwrap();
        }
        // Everything twice, as where a worker was slow and another began.
        let twice = [servers.clone(), servers.clone()].concat();
        let delivering = twice.into_iter().map(|(spool, _)| {
            let ada = ada.clone();
            tokio::spawn(async move {
                let (tickets, _) = spool.due(None, 1_000).await.unwrap();
                for ticket in tickets {
                    match ticket.recipient {
                        0 => spool.deliver(&ada, &[delivery(ticket, "")], 2).await.unwrap(),
                        other => spool.settle(ticket.id, vec![(other, Next::Done)], &[], 2).await.unwrap(),
                    }
                }
            })
        });
        for delivered in delivering.collect::<Vec<_>>() {
            delivered.await.unwrap();
        }
        let (_, mailboxes) = &servers[1];
        assert_eq!(mailboxes.entries(&ada, 1).await.unwrap().len(), 40, "seed {seed}");
        let facts = mailboxes.facts(&ada, 1).await.unwrap();
        assert_eq!(facts.row.messages, 40, "seed {seed}");
        assert_eq!(mailboxes.used(&ada).await.unwrap(), facts.row.size, "seed {seed}");
        assert_eq!(servers[1].0.messages(None, 10).await.unwrap(), []);
        assert_eq!(servers[1].0.due(None, 10).await.unwrap(), (vec![], None));
    }
}

async fn waiting(spool: &Spool) -> usize {
    spool.due(None, 100).await.unwrap().0.len()
}

#[tokio::test]
async fn nodes_work_each_its_own_part_and_that_of_one_that_is_gone() {
    let data: Arc<dyn KeyValue> = Arc::new(Memory::default());
    let ((one, _), (two, _)) = (node(&data, "one").await, node(&data, "two").await);
    for spool in [&one, &one, &two] {
        spool.accept(&entry(10, &["ada@example.org"]), 1).await.unwrap();
    }
    assert_eq!((waiting(&one).await, waiting(&two).await), (2, 1));
    // As long as a beat changes, nothing is taken over, however long it lasts.
    let mut now = 0;
    while now < 10 * lanes::LEASE {
        assert!(!two.beat(now).await.unwrap());
        assert!(!one.beat(now).await.unwrap());
        now += lanes::BEAT;
    }
    let (of_one, _) = one.due(None, 100).await.unwrap();
    // Node one is gone: it beats no more.
    let mut taken = false;
    for _ in 0..=lanes::LEASE / lanes::BEAT {
        assert!(!taken);
        taken = two.beat(now).await.unwrap();
        now += lanes::BEAT;
    }
    assert!(taken);
    assert_eq!(waiting(&two).await, 3);
    // It was asleep, in truth. It hands nothing over any more, and can neither settle nor accept.
    let id = of_one[0].id;
    assert!(!one.holds(id, now) && two.holds(id, now - lanes::BEAT));
    assert!(one.settle(id, vec![(0, Next::Done)], &[], now).await.is_err());
    assert!(one.accept(&entry(10, &["ada@example.org"]), now).await.is_err());
    two.settle(id, vec![(0, Next::Done)], &[], now).await.unwrap();
    // With its next beat it has a part of its own again, beside what two has taken.
    assert!(one.beat(now).await.unwrap());
    assert_eq!((waiting(&one).await, waiting(&two).await), (0, 2));
    one.accept(&entry(10, &["ada@example.org"]), now).await.unwrap();
    assert_eq!((waiting(&one).await, waiting(&two).await), (1, 2));
    // What was taken over is given up once it is empty.
    two.settle(of_one[1].id, vec![(0, Next::Done)], &[], now).await.unwrap();
    two.beat(now).await.unwrap();
    assert_eq!(keys_left(&data, b"Qo").await, 2);
}

#[tokio::test]
async fn a_node_that_starts_again_has_its_part_at_once_and_a_second_of_its_name_has_none() {
    let data: Arc<dyn KeyValue> = Arc::new(Memory::default());
    let (first, _) = node(&data, "one").await;
    first.accept(&entry(10, &["ada@example.org"]), 1).await.unwrap();
    let (second, _) = node(&data, "one").await;
    assert_eq!(waiting(&second).await, 1);
    assert!(first.accept(&entry(10, &["ada@example.org"]), 1).await.is_err());
    let told = first.beat(5).await.unwrap_err().to_string();
    assert!(told.contains("--node") && told.contains("this is one"), "{told}");
    assert_eq!(waiting(&first).await, 0);
    second.beat(5).await.unwrap();
    second.accept(&entry(10, &["ada@example.org"]), 6).await.unwrap();
    assert_eq!(keys_left(&data, b"Qo").await, 1);
}
