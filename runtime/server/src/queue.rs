//! Runs what is due: loads, routes, and hands on to [`crate::deliver`] and [`crate::relay`].
//!
//! One task decides, others work, and tell it by [`Event`]s. Mail for one account is put into its mailbox in one
//! batch while the last batch is being written; mail for one domain is sent over a bounded number of
//! connections. A ticket in work is remembered, so that nothing is tried twice at once; everything else is in the
//! store, so that nothing is lost with this process.

use crate::server::Server;
use crate::{clock, deliver, relay};
use proto::smtp::types::Host;
use schema::name::Address;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::spool::lanes::BEAT;
use store::spool::{Message, Recipient, Spool, Ticket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

pub mod outcome;
pub mod schedule;

/// Tickets in work, in all.
const IN_WORK_MOST: usize = 20_000;
/// Tickets loaded and routed by one task.
const CHUNK: usize = 64;
/// Recipients put into one mailbox at once.
const LOCAL_MOST: usize = 100;
/// Connections to one domain at once.
const PER_DOMAIN_MOST: usize = 8;
/// Outgoing connections at once, in all.
const RELAYS_MOST: usize = 200;
/// Recipients of one message handed over in one transaction (RFC 5321 §4.5.3.1.8 promises 100).
const RCPT_MOST: usize = 100;
/// The least time between two looks at what is due.
const LOOK_GAP: Duration = Duration::from_secs(1);
/// The longest time between two looks.
const LOOK_MOST: Duration = Duration::from_secs(60);
/// How long work rests after the store failed.
const REST: Duration = Duration::from_secs(5);

/// A recipient in work.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which.
    pub ticket: Ticket,
    /// The message's entry.
    pub message: Message,
    /// The recipient's entry.
    pub recipient: Recipient,
}

/// What workers tell the one who decides.
enum Event {
    Routed { local: Vec<(Address, Job)>, remote: Vec<(Host, Job)>, done: Vec<Ticket>, failed: bool },
    Local { account: Address, tickets: Vec<Ticket>, failed: bool },
    Remote { host: Host, tickets: Vec<Ticket>, failed: bool },
}

/// What waits for one domain.
#[derive(Default)]
struct Domain {
    running: usize,
    waiting: VecDeque<Vec<Job>>,
}

/// The one who decides.
pub struct Queue {
    server: Arc<Server>,
    events: mpsc::Sender<Event>,
    in_work: HashSet<Ticket>,
    accounts: HashMap<Address, VecDeque<Job>>,
    domains: HashMap<Host, Domain>,
    relays: usize,
    working: usize,
    look_at: Instant,
    beating: Option<JoinHandle<()>>,
}

impl Queue {
    /// Starts running the queue; ends, with its workers, once the server stops.
    pub fn start(server: Arc<Server>) -> JoinHandle<()> {
        let (events, told) = mpsc::channel(1024);
        let queue = Queue {
            server,
            events,
            in_work: HashSet::new(),
            accounts: HashMap::new(),
            domains: HashMap::new(),
            relays: 0,
            working: 0,
            look_at: clock::instant(),
            beating: None,
        };
        tokio::spawn(queue.run(told))
    }

    async fn run(mut self, mut told: mpsc::Receiver<Event>) {
        let mut beat = tokio::time::interval(Duration::from_secs(BEAT.unsigned_abs()));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let spool = Arc::clone(&self.server.live.now().stores.spool);
        let Some(mut fresh) = spool.fresh() else { return };
        let mut stopping = self.server.stopping.subscribe();
        let mut buffer = Vec::new();
        while !*stopping.borrow() {
            tokio::select! {
                _ = stopping.changed() => {}
                n = fresh.recv_many(&mut buffer, CHUNK), if self.in_work.len() < IN_WORK_MOST => {
                    if n > 0 {
                        let tickets = std::mem::take(&mut buffer);
                        self.take(tickets);
                    }
                }
                Some(event) = told.recv() => self.hear(event),
                () = spool.changed.notified() => self.look_soon(LOOK_GAP),
                _ = beat.tick() => self.beat(&spool),
                () = tokio::time::sleep_until(self.look_at.into()) => self.look().await,
            }
        }
        // What is under way is finished, so that nothing is sent that is not settled.
        self.accounts.values_mut().for_each(VecDeque::clear);
        self.domains.values_mut().for_each(|domain| domain.waiting.clear());
        while self.working > 0 {
            match told.recv().await {
                Some(event) => self.hear(event),
                None => return,
            }
        }
    }

    /// Says that this node is there. A task of its own: a slow store must not keep the queue from being worked.
    fn beat(&mut self, spool: &Arc<Spool>) {
        if self.beating.as_ref().is_some_and(|beating| !beating.is_finished()) {
            return;
        }
        let spool = Arc::clone(spool);
        self.beating = Some(tokio::spawn(async move {
            match spool.beat(clock::now()).await {
                Ok(false) => {}
                Ok(true) => spool.changed.notify_one(),
                Err(error) => warn!(%error, "this node's part of the queue cannot be kept"),
            }
        }));
    }

    fn look_soon(&mut self, wait: Duration) {
        self.look_at = self.look_at.min(clock::instant() + wait);
    }

    async fn look(&mut self) {
        self.look_at = clock::instant() + LOOK_MOST;
        let spool = Arc::clone(&self.server.live.now().stores.spool);
        let now = clock::now();
        match spool.due(Some(now), IN_WORK_MOST).await {
            Ok((tickets, next)) => {
                if let Some(next) = next {
                    let wait = u64::try_from(next.saturating_sub(now)).unwrap_or(0);
                    self.look_soon(Duration::from_secs(wait).max(LOOK_GAP));
                }
                let room = IN_WORK_MOST.saturating_sub(self.in_work.len());
                let new: Vec<Ticket> =
                    tickets.into_iter().filter(|ticket| !self.in_work.contains(ticket)).take(room).collect();
                new.chunks(CHUNK).for_each(|chunk| self.take(chunk.to_vec()));
            }
            Err(error) => {
                warn!(%error, "the queue cannot be read");
                self.look_soon(REST);
            }
        }
    }

    /// Loads and routes tickets.
    fn take(&mut self, mut tickets: Vec<Ticket>) {
        tickets.retain(|ticket| self.in_work.insert(*ticket));
        if tickets.is_empty() {
            return;
        }
        let server = Arc::clone(&self.server);
        let done = tickets.clone();
        let fallback = Event::Routed { local: vec![], remote: vec![], done, failed: true };
        self.work(fallback, async move { sort(&server, tickets).await });
    }

    /// Runs a worker; the fallback is heard of one that panics.
    fn work(&mut self, fallback: Event, work: impl Future<Output = Event> + Send + 'static) {
        self.working += 1;
        let events = self.events.clone();
        tokio::spawn(async move {
            let event = tokio::spawn(work).await.unwrap_or_else(|error| {
                warn!(%error, "a worker of the queue failed");
                fallback
            });
            drop(events.send(event).await);
        });
    }

    fn hear(&mut self, event: Event) {
        self.working -= 1;
        let stopping = *self.server.stopping.borrow();
        let failed = match event {
            Event::Routed { local, remote, done, failed } => {
                self.finished(&done);
                for (account, job) in local {
                    self.accounts_push(account, job);
                }
                self.remote(remote);
                failed
            }
            Event::Local { account, tickets, failed } => {
                self.finished(&tickets);
                let waiting = self.accounts.remove(&account).unwrap_or_default();
                if !waiting.is_empty() && !stopping {
                    self.deliver(account, waiting);
                }
                failed
            }
            Event::Remote { host, tickets, failed } => {
                self.finished(&tickets);
                self.relays -= 1;
                if let Some(domain) = self.domains.get_mut(&host) {
                    domain.running -= 1;
                }
                failed
            }
        };
        if failed {
            self.look_soon(REST);
        }
        if !stopping {
            self.relay();
        }
    }

    fn finished(&mut self, tickets: &[Ticket]) {
        let was_full = self.in_work.len() >= IN_WORK_MOST;
        for ticket in tickets {
            self.in_work.remove(ticket);
        }
        if was_full && !tickets.is_empty() {
            self.look_soon(LOOK_GAP);
        }
    }

    fn accounts_push(&mut self, account: Address, job: Job) {
        if let Some(waiting) = self.accounts.get_mut(&account) {
            waiting.push_back(job);
        } else {
            self.deliver(account, VecDeque::from([job]));
        }
    }

    /// Puts what waits for an account into its mailbox; more of it gathers meanwhile.
    fn deliver(&mut self, account: Address, mut waiting: VecDeque<Job>) {
        let rest = waiting.split_off(waiting.len().min(LOCAL_MOST));
        self.accounts.insert(account.clone(), rest);
        let server = Arc::clone(&self.server);
        let tickets: Vec<Ticket> = waiting.iter().map(|job| job.ticket).collect();
        let fallback = Event::Local { account: account.clone(), tickets: tickets.clone(), failed: true };
        self.work(fallback, async move {
            let failed = !deliver::local(&server, &account, waiting.into()).await;
            Event::Local { account, tickets, failed }
        });
    }

    fn remote(&mut self, jobs: Vec<(Host, Job)>) {
        let mut together: HashMap<(Host, u64), Vec<Job>> = HashMap::new();
        for (host, job) in jobs {
            together.entry((host, job.ticket.id)).or_default().push(job);
        }
        for ((host, _), jobs) in together {
            let domain = self.domains.entry(host).or_default();
            domain.waiting.extend(jobs.chunks(RCPT_MOST).map(<[Job]>::to_vec));
        }
    }

    fn relay(&mut self) {
        let mut ready = Vec::new();
        for (host, domain) in &mut self.domains {
            while domain.running < PER_DOMAIN_MOST && self.relays < RELAYS_MOST {
                let Some(jobs) = domain.waiting.pop_front() else { break };
                domain.running += 1;
                self.relays += 1;
                ready.push((host.clone(), jobs));
            }
        }
        self.domains.retain(|_, domain| domain.running > 0 || !domain.waiting.is_empty());
        for (host, jobs) in ready {
            let server = Arc::clone(&self.server);
            let tickets: Vec<Ticket> = jobs.iter().map(|job| job.ticket).collect();
            let fallback = Event::Remote { host: host.clone(), tickets: tickets.clone(), failed: true };
            self.work(fallback, async move {
                let failed = !relay::remote(&server, &host, jobs).await;
                Event::Remote { host, tickets, failed }
            });
        }
    }
}

/// Loads tickets and finds out where each goes. What needs no delivery is settled here.
async fn sort(server: &Arc<Server>, tickets: Vec<Ticket>) -> Event {
    let snapshot = server.live.now();
    let (mut local, mut remote, mut done, mut failed) = (Vec::new(), Vec::new(), Vec::new(), false);
    for ticket in tickets {
        let (message, recipient) = match snapshot.stores.spool.load(ticket).await {
            Ok(Some(found)) => found,
            // Settled meanwhile.
            Ok(None) => {
                done.push(ticket);
                continue;
            }
            Err(error) => {
                warn!(%error, "the queue cannot be read");
                failed = true;
                done.push(ticket);
                continue;
            }
        };
        let job = Job { ticket, message, recipient };
        match deliver::sort(server, &snapshot, &job).await {
            deliver::Sorted::Account(account) => local.push((account, job)),
            deliver::Sorted::Remote(host) => remote.push((host, job)),
            deliver::Sorted::Settled => {
                debug!(id = %store::spool::name(ticket.id), to = job.recipient.address, "settled without delivery");
                done.push(ticket);
            }
            deliver::Sorted::Failed => {
                failed = true;
                done.push(ticket);
            }
        }
    }
    Event::Routed { local, remote, done, failed }
}
