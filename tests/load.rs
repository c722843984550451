//! Mail that arrives in five ways at once, and the question whether all that was acknowledged is there.

use crate::client::Client;
use crate::{PASSWORD, PATIENCE, Ports, Server, message};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// xorshift64: moments that differ, the same in every run.
pub struct Random(pub u64);

impl Random {
    /// A number below `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// A message's octets follow from its name, so that a part of another, or half of it, is found out.
fn text(id: &str) -> String {
    let number: usize = id.bytes().map(usize::from).sum();
    // One in thirty is larger than what is kept within the database's own log.
    let size = if number.is_multiple_of(30) { 400_000 } else { 500 + number * 37 % 20_000 };
    message(id, size)
}

/// Names of messages that were acknowledged.
#[derive(Clone, Default)]
pub struct Load {
    acknowledged: Arc<Mutex<Vec<String>>>,
    next: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
    ended: Arc<AtomicBool>,
}

impl Load {
    /// How many were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// How many were put off: `4xx`, `NO [UNAVAILABLE]`.
    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Ends what [`Load::start`] began, after the messages under way.
    pub fn end(&self, threads: Vec<JoinHandle<()>>) {
        self.ended.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.ended.store(false, Ordering::Relaxed);
    }

    /// Whether to go on.
    fn note(&self, id: String, taken: bool, put_off: bool, said: &str) -> bool {
        assert!(taken || put_off, "{said}");
        match taken {
            true => self.acknowledged.lock().unwrap().push(id),
            false => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        !self.ended.load(Ordering::Relaxed)
    }

    fn name(&self, kind: &str) -> String {
        format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends until the connection breaks.
    fn smtp(&self, ports: Ports) -> JoinHandle<()> {
        let load = self.clone();
        thread::spawn(move || {
            let send = || -> std::io::Result<()> {
                let mut client = Client::connect(ports.at(ports.smtp))?;
                client.reply()?;
                client.smtp("EHLO client.example.net")?;
                loop {
                    let id = load.name("smtp");
                    let said = client.mail("sender@example.net", &["ada@example.org"], &text(&id))?;
                    let put_off = said.starts_with("45");
                    if put_off {
                        client.smtp_ok("RSET", "250");
                    }
                    if !load.note(id, said.starts_with("250"), put_off, &said) {
                        return Ok(());
                    }
                }
            };
            let _ = send();
        })
    }

    fn append(&self, ports: Ports) -> JoinHandle<()> {
        let load = self.clone();
        thread::spawn(move || {
            let send = || -> std::io::Result<()> {
                let mut client = Client::connect_tls(ports.at(ports.imaps))?;
                client.line()?;
                client.imap(&format!("LOGIN ada@example.org \"{}\"", PASSWORD))?;
                loop {
                    let id = load.name("append");
                    let text = text(&id);
                    let said = client.imap(&format!("APPEND INBOX {{{}+}}\r\n{text}", text.len()))?;
                    let said = said.last().unwrap();
                    if !load.note(id, said.contains(" OK "), said.contains(" NO [UNAVAILABLE] "), said) {
                        return Ok(());
                    }
                }
            };
            let _ = send();
        })
    }

    /// Three that send by SMTP and two that append by IMAP, until the connection breaks.
    pub fn start(&self, ports: Ports) -> Vec<JoinHandle<()>> {
        vec![self.smtp(ports), self.smtp(ports), self.smtp(ports), self.append(ports), self.append(ports)]
    }

    /// Every acknowledged message is in the mailbox once and whole, and no other more than once.
    pub fn verify(&self, server: &Server) {
        let wanted: BTreeSet<String> = self.acknowledged.lock().unwrap().iter().cloned().collect();
        let mut client = Client::connect_tls(server.ports.at(server.ports.imaps)).unwrap();
        client.line().unwrap();
        client.login("ada@example.org");
        client.wait_for("INBOX", u32::try_from(wanted.len()).unwrap());
        // What the queue still holds is delivered by now, or comes with the next looks.
        let until = Instant::now() + PATIENCE;
        loop {
            client.imap_ok("NOOP");
            let mut count: BTreeMap<String, u32> = BTreeMap::new();
            for fetched in client.imap_ok("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])") {
                if let Some(subject) = fetched.split("Subject: ").nth(1) {
                    *count.entry(subject.split("\r\n").next().unwrap().to_owned()).or_default() += 1;
                }
            }
            let twice: Vec<_> = count.iter().filter(|(_, count)| **count > 1).collect();
            assert!(twice.is_empty(), "more than once: {twice:?}");
            let missing: Vec<_> = wanted.iter().filter(|id| !count.contains_key(*id)).collect();
            if missing.is_empty() {
                break;
            }
            assert!(Instant::now() < until, "acknowledged and lost: {missing:?}");
        }
        let mut seen = 0;
        for fetched in client.imap_ok("UID FETCH 1:* (BODY.PEEK[])") {
            if let Some(subject) = fetched.split("Subject: ").nth(1) {
                let id = subject.split("\r\n").next().unwrap();
                assert!(fetched.contains(&text(id)), "{id} is not whole");
                seen += 1;
            }
        }
        assert!(seen >= wanted.len());
    }
}
