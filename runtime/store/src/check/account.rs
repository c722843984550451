//! One account: rows, counts, log and references of its mailboxes.

use super::{Blob, Check, Finding, PAGE, TRIES, WRITES_MOST, left, mendable, page};
use crate::error::StoreError;
use crate::keys;
use crate::kv::{Batch, Key, Write};
use crate::mailbox::row::{AccountRow, Entry, MailboxRow};
use crate::mailbox::{SpecialUse, changes};
use bytes::Bytes;
use futures_util::future::join_all;
use schema::name::Address;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Blobs whose sizes are asked for at once.
const BLOBS_AT_ONCE: usize = 32;
/// The inbox's number.
const INBOX: u32 = 1;

/// What is found in an account, and what mends it. In memory are some 40 octets for each of its messages.
struct Look<'a> {
    account: &'a Address,
    row: AccountRow,
    /// The mailboxes as they should be,
    rows: BTreeMap<u32, MailboxRow>,
    /// as they are,
    stored: BTreeMap<u32, MailboxRow>,
    /// and those that cannot be read, which are left alone.
    closed: BTreeSet<u32>,
    /// What each mailbox comes to.
    sums: BTreeMap<u32, Sum>,
    /// Messages that go with this repair: mailbox and UID.
    dropped: BTreeSet<(u32, u32)>,
    found: Vec<Finding>,
    writes: Vec<Write>,
    messages: u64,
}

/// What the messages of a mailbox come to.
#[derive(Default)]
struct Sum {
    /// Modseqs by UID.
    modseqs: BTreeMap<u32, u64>,
    /// As in a mailbox's row.
    messages: u32,
    unseen: u32,
    deleted: u32,
    size: u64,
    /// The largest UID and modseq of messages and log.
    uid: u32,
    modseq: u64,
    /// Entries of the log that tell of vanished messages, by UID.
    vanished: HashMap<u32, u64>,
}

impl Check<'_> {
    /// Checks an account, and mends it.
    pub(super) async fn account(&mut self, account: &Address) -> Result<(), StoreError> {
        let key = keys::account(account);
        for _ in 0..TRIES {
            let before = self.base.data.get(std::slice::from_ref(&key)).await?.pop().flatten();
            let look = self.look(account, before.as_deref()).await?;
            let after = self.base.data.get(std::slice::from_ref(&key)).await?.pop().flatten();
            if before != after {
                continue;
            }
            let mended = self.how.repair && !look.writes.is_empty();
            if mended && !self.write(account, look.writes, (&before, look.row)).await? {
                continue;
            }
            self.done.accounts += 1;
            self.done.messages += look.messages;
            self.done.tell(look.found, mended);
            return Ok(());
        }
        let what = "it changes faster than it can be checked";
        self.done.tell(
            [left("busy", account.to_string(), what, "check it when there is less to do, or stop the server")],
            false,
        );
        Ok(())
    }

    /// Writes what mends an account: the account's own entry last, which every batch before asserts.
    async fn write(
        &self,
        account: &Address,
        writes: Vec<Write>,
        (before, row): (&Option<Bytes>, AccountRow),
    ) -> Result<bool, StoreError> {
        let mut chunks = writes.chunks(WRITES_MOST).peekable();
        while let Some(writes) = chunks.next() {
            let mut batch = Batch::new();
            batch.assert(keys::account(account), before.clone());
            batch.writes.extend_from_slice(writes);
            if chunks.peek().is_none() {
                batch.put(keys::account(account), row.write());
            }
            if !self.mend(batch).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn look<'l>(&self, account: &'l Address, before: Option<&[u8]>) -> Result<Look<'l>, StoreError> {
        let row = before.map(AccountRow::read);
        let missing = !matches!(row, Some(Ok(_)));
        let nothing = AccountRow { modseq: 0, next_mailbox: INBOX, uid_validity: 1, used: 0 };
        let mut look = Look {
            account,
            row: row.and_then(Result::ok).unwrap_or(nothing),
            rows: BTreeMap::new(),
            stored: BTreeMap::new(),
            closed: BTreeSet::new(),
            sums: BTreeMap::new(),
            dropped: BTreeSet::new(),
            found: Vec::new(),
            writes: Vec::new(),
            messages: 0,
        };
        self.rows(&mut look).await?;
        self.entries(&mut look).await?;
        self.log(&mut look).await?;
        look.vanish();
        if missing && look.rows.is_empty() && look.closed.is_empty() {
            // Subscriptions and marks alone make no account.
            return Ok(look);
        }
        if missing {
            look.tell("account", String::new(), "its own entry is missing or cannot be read", "make it anew");
            // Even where all of the rest is right.
            look.writes.push(Write::Remove(keys::account(account)));
        }
        look.lost();
        look.names();
        look.sums();
        look.totals();
        Ok(look)
    }

    /// The rows of the mailboxes.
    async fn rows(&self, look: &mut Look<'_>) -> Result<(), StoreError> {
        let mut range = keys::mailboxes(look.account);
        loop {
            let found = page(&self.base.data, &mut range).await?;
            if found.is_empty() {
                return Ok(());
            }
            for (key, value) in found {
                let Some(id) = keys::last_u32(&key) else { continue };
                match MailboxRow::read(&value) {
                    Ok(row) => {
                        look.rows.insert(id, row.clone());
                        look.stored.insert(id, row);
                    }
                    Err(error) => {
                        look.closed.insert(id);
                        let place = format!("{}, mailbox {id}", look.account);
                        look.found.push(left("unreadable", place, error.to_string(), "restore it from a backup"));
                    }
                }
            }
        }
    }

    /// The messages, their blobs and references.
    async fn entries(&self, look: &mut Look<'_>) -> Result<(), StoreError> {
        let all = keys::all_entries(look.account);
        let mut range = all.clone();
        loop {
            let found = page(&self.base.data, &mut range).await?;
            if found.is_empty() {
                return Ok(());
            }
            let mut entries = Vec::with_capacity(PAGE);
            for (key, value) in &found {
                let (Some(id), Some(uid)) = (keys::read_mailbox(key, &all), keys::last_u32(key)) else { continue };
                match Entry::read(uid, value) {
                    Ok(entry) => entries.push((id, entry)),
                    Err(error) => {
                        let place = look.place(id, uid);
                        look.found.push(left("unreadable", place, error.to_string(), "restore it from a backup"));
                    }
                }
            }
            let references: Vec<Key> = entries
                .iter()
                .map(|(id, entry)| keys::held_by_message(entry.blob, look.account, *id, entry.uid))
                .collect();
            let held = self.base.data.get(&references).await?;
            let mut wrong = Vec::with_capacity(entries.len());
            for some in entries.chunks(BLOBS_AT_ONCE) {
                wrong.extend(join_all(some.iter().map(|(_, entry)| self.blob(entry.blob, entry.size))).await);
            }
            for (((id, entry), wrong), (reference, held)) in
                entries.into_iter().zip(wrong).zip(references.into_iter().zip(held))
            {
                look.messages += 1;
                if let Some(entry) = self.entry(look, id, entry, (wrong?, reference, held.is_some())) {
                    look.count(id, &entry);
                }
            }
        }
    }

    /// One message: it as it will be, or none where it goes.
    fn entry(
        &self,
        look: &mut Look<'_>,
        id: u32,
        mut entry: Entry,
        (wrong, reference, held): (Option<Blob>, Key, bool),
    ) -> Option<Entry> {
        let place = look.place(id, entry.uid);
        match wrong {
            None => {}
            Some(wrong @ Blob::Size(size)) => {
                look.tell("size", place.clone(), wrong.says(entry.blob, entry.size), "note the blob's size");
                entry.size = size;
                look.writes.push(Write::Put(keys::entry(look.account, id, entry.uid), entry.write().into()));
            }
            Some(wrong) if self.how.drop_broken => {
                look.tell("broken-message", place, wrong.says(entry.blob, entry.size), "remove the message");
                let (account, uid) = (look.account, entry.uid);
                look.writes.push(Write::Remove(keys::entry(account, id, uid)));
                look.writes.push(Write::Remove(reference));
                look.writes.push(Write::Put(keys::loose(self.now, entry.blob), Bytes::new()));
                look.dropped.insert((id, uid));
                return None;
            }
            Some(wrong) => {
                let remedy = "restore the blob from a backup, or remove the message with --repair --drop-broken";
                look.found.push(left("broken-message", place.clone(), wrong.says(entry.blob, entry.size), remedy));
            }
        }
        if !held {
            let place = look.place(id, entry.uid);
            look.tell("missing-reference", place, "its reference to its blob is missing", "add it");
            look.writes.push(Write::Put(reference, Bytes::new()));
        }
        Some(entry)
    }

    /// The change log.
    async fn log(&self, look: &mut Look<'_>) -> Result<(), StoreError> {
        let all = keys::all_changes(look.account);
        let (mut range, mut logged) = (all.clone(), BTreeSet::new());
        loop {
            let found = page(&self.base.data, &mut range).await?;
            if found.is_empty() {
                break;
            }
            for (key, value) in found {
                let (Some(id), Some((modseq, uid))) = (keys::read_mailbox(&key, &all), keys::read_change(&key)) else {
                    continue;
                };
                if look.dropped.contains(&(id, uid)) {
                    look.writes.push(Write::Remove(key));
                    continue;
                }
                let place = look.place(id, uid);
                let sum = look.sums.entry(id).or_default();
                let exists = sum.modseqs.get(&uid);
                let told = if value.first() == Some(&changes::VANISHED) {
                    match sum.vanished.get(&uid) {
                        Some(_) => Some("it tells twice that a message is gone"),
                        None if exists.is_some() => Some("it tells that a message is gone that is there"),
                        None => {
                            sum.vanished.insert(uid, modseq);
                            sum.modseq = sum.modseq.max(modseq);
                            sum.uid = sum.uid.max(uid);
                            None
                        }
                    }
                } else if exists == Some(&modseq) {
                    logged.insert((id, uid));
                    None
                } else {
                    Some("it tells of a change that is not a message's last")
                };
                if look.closed.contains(&id) {
                    continue;
                }
                let unknown = !look.rows.contains_key(&id) && sum_is_empty(look.sums.get(&id));
                if let Some(what) = told.or(unknown.then_some("it tells of a mailbox that is gone")) {
                    look.tell("change-log", place, what, "remove the entry of the log");
                    look.writes.push(Write::Remove(key));
                }
            }
        }
        let mut missing = Vec::new();
        for (id, sum) in &look.sums {
            missing.extend(
                sum.modseqs.iter().filter(|(uid, _)| !logged.contains(&(*id, **uid))).map(|(uid, at)| (*id, *uid, *at)),
            );
        }
        for (id, uid, modseq) in missing {
            let place = look.place(id, uid);
            look.tell("change-log", place, "the log does not tell of it", "add it to the log");
            let key = keys::change(look.account, id, modseq, uid);
            look.writes.push(Write::Put(key, vec![changes::CHANGED].into()));
        }
        Ok(())
    }
}

fn sum_is_empty(sum: Option<&Sum>) -> bool {
    sum.is_none_or(|sum| sum.modseqs.is_empty())
}

impl Look<'_> {
    fn tell(&mut self, kind: &'static str, place: String, what: impl Into<String>, remedy: &str) {
        let place = if place.is_empty() { self.account.to_string() } else { place };
        self.found.push(mendable(kind, place, what, remedy));
    }

    fn place(&self, id: u32, uid: u32) -> String {
        match self.rows.get(&id) {
            Some(row) => format!("{}, {}, UID {uid}", self.account, row.name),
            None => format!("{}, mailbox {id}, UID {uid}", self.account),
        }
    }

    fn of(&self, row: &MailboxRow) -> String {
        format!("{}, {}", self.account, row.name)
    }

    fn count(&mut self, id: u32, entry: &Entry) {
        let sum = self.sums.entry(id).or_default();
        let mut row = MailboxRow::new(String::new(), None, 0, 0);
        row.count(entry, true);
        sum.messages += row.messages;
        sum.unseen += row.unseen;
        sum.deleted += row.deleted;
        sum.size = sum.size.saturating_add(entry.size);
        sum.uid = sum.uid.max(entry.uid);
        sum.modseq = sum.modseq.max(entry.modseq);
        sum.modseqs.insert(entry.uid, entry.modseq);
    }

    /// The log tells of what goes with this repair as of any message that goes, under a modseq that nothing has.
    fn vanish(&mut self) {
        if self.dropped.is_empty() {
            return;
        }
        let rows = self.rows.values().map(|row| row.modseq);
        let most = rows.chain(self.sums.values().map(|sum| sum.modseq)).max().unwrap_or(0);
        self.row.modseq = self.row.modseq.max(most) + 1;
        let modseq = self.row.modseq;
        for (id, uid) in &self.dropped {
            let key = keys::change(self.account, *id, modseq, *uid);
            self.writes.push(Write::Put(key, vec![changes::VANISHED].into()));
            let sum = self.sums.entry(*id).or_default();
            sum.vanished.insert(*uid, modseq);
            sum.modseq = modseq;
            sum.uid = sum.uid.max(*uid);
        }
    }

    /// A mailbox row that is made anew.
    fn make(&mut self, id: u32, name: String) {
        self.row.uid_validity = self.row.uid_validity.saturating_add(1);
        let row = MailboxRow::new(name, None, self.row.uid_validity, self.row.modseq);
        self.rows.insert(id, row);
    }

    /// Mailboxes that messages are in and that are not there.
    fn lost(&mut self) {
        // No number or UIDVALIDITY may be given twice.
        let most = self.rows.keys().chain(self.sums.keys()).chain(&self.closed).max().copied().unwrap_or(0);
        if self.row.next_mailbox <= most {
            self.tell("next-mailbox", String::new(), "the next mailbox's number is in use", "count it anew");
            self.row.next_mailbox = most.saturating_add(1);
        }
        let most = self.rows.values().map(|row| row.uid_validity).max().unwrap_or(0);
        if self.row.uid_validity < most {
            self.tell(
                "uid-validity",
                String::new(),
                "the next mailbox's UIDVALIDITY may be one in use",
                "count it anew",
            );
            self.row.uid_validity = most;
        }
        let lost: Vec<u32> = self
            .sums
            .iter()
            .filter(|(id, sum)| !sum.modseqs.is_empty() && !self.rows.contains_key(id) && !self.closed.contains(id))
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            let name = if id == INBOX { "INBOX".to_owned() } else { format!("Recovered {id}") };
            let place = format!("{}, mailbox {id}", self.account);
            self.tell(
                "lost-mailbox",
                place,
                "it holds messages and is not there",
                &format!("make it anew as `{name}`"),
            );
            self.make(id, name);
        }
        if !self.rows.contains_key(&INBOX) && !self.closed.contains(&INBOX) {
            self.tell("inbox", String::new(), "there is no inbox", "make it");
            self.make(INBOX, "INBOX".to_owned());
        }
    }

    /// Names and uses: each once, the inbox's its own, and every parent there.
    fn names(&mut self) {
        if self.rows.get(&INBOX).is_some_and(|row| row.name != "INBOX") {
            self.tell("inbox", String::new(), "the inbox has another name", "name it INBOX");
            if let Some(row) = self.rows.get_mut(&INBOX) {
                row.name = "INBOX".to_owned();
            }
        }
        let (mut names, mut uses): (BTreeSet<String>, Vec<SpecialUse>) = Default::default();
        let all: BTreeSet<String> = self.rows.values().map(|row| row.name.clone()).collect();
        for id in self.rows.keys().copied().collect::<Vec<_>>() {
            let Some(mut row) = self.rows.get(&id).cloned() else { continue };
            let place = self.of(&row);
            if !names.insert(row.name.clone()) {
                let free = (2_u32..).map(|n| format!("{} ({n})", row.name));
                let name = free.into_iter().find(|name| !all.contains(name) && !names.contains(name));
                let name = name.unwrap_or_default();
                self.tell("name", place.clone(), "two mailboxes have this name", &format!("name one `{name}`"));
                names.insert(name.clone());
                row.name = name;
            }
            if let Some(this) = row.special_use {
                if uses.contains(&this) {
                    let what = format!("two mailboxes have the use \\{}", this.name());
                    self.tell("special-use", place, what, "leave it to the first");
                    row.special_use = None;
                } else {
                    uses.push(this);
                }
            }
            self.rows.insert(id, row);
        }
        // Where a mailbox cannot be read, it may be the parent.
        let parents: Vec<String> = names
            .iter()
            .flat_map(|name| name.match_indices('/').map(|(at, _)| name.get(..at).unwrap_or_default().to_owned()))
            .filter(|_| self.closed.is_empty())
            .collect();
        for parent in parents {
            if names.insert(parent.clone()) {
                let place = format!("{}, {parent}", self.account);
                self.tell("parent", place, "it has mailboxes below it and is not there", "make it");
                let id = self.row.next_mailbox;
                self.row.next_mailbox = id.saturating_add(1);
                self.make(id, parent);
            }
        }
    }

    /// What each mailbox's row says of its messages.
    fn sums(&mut self) {
        for id in self.rows.keys().copied().collect::<Vec<_>>() {
            let Some(mut row) = self.rows.get(&id).cloned() else { continue };
            let nothing = Sum::default();
            let sum = self.sums.get(&id).unwrap_or(&nothing);
            let vanished = u32::try_from(sum.vanished.len()).unwrap_or(u32::MAX);
            let (uid_next, modseq) = (sum.uid.saturating_add(1).max(1), sum.modseq);
            let mut wrong = Vec::new();
            let mut is = |what: &str, noted: u64, counted: u64| {
                if noted != counted {
                    wrong.push(format!("{what}: {noted} noted, {counted} counted"));
                }
            };
            is("messages", row.messages.into(), sum.messages.into());
            is("unseen", row.unseen.into(), sum.unseen.into());
            is("deleted", row.deleted.into(), sum.deleted.into());
            is("octets", row.size, sum.size);
            is("vanished", row.vanished.into(), vanished.into());
            (row.messages, row.unseen, row.deleted) = (sum.messages, sum.unseen, sum.deleted);
            (row.size, row.vanished) = (sum.size, vanished);
            if row.uid_next < uid_next {
                wrong.push(format!("next UID: {} noted, in use up to {}", row.uid_next, sum.uid));
                row.uid_next = uid_next;
            }
            if row.modseq < modseq {
                wrong.push(format!("modseq: {} noted, {modseq} in use", row.modseq));
                row.modseq = modseq;
            }
            if row.floor > row.modseq {
                wrong.push(format!("the log is said to begin at {}, after its end", row.floor));
                row.floor = row.modseq;
            }
            let made = !self.stored.contains_key(&id);
            // Where messages go, counts that change are right.
            let drops = self.dropped.range((id, 0)..=(id, u32::MAX)).next().is_some();
            if !wrong.is_empty() && !made && !drops {
                let place = self.of(&row);
                self.tell("counts", place, wrong.join("; "), "count it anew");
            }
            if self.stored.get(&id) != Some(&row) {
                let key = keys::mailbox(self.account, id);
                self.writes.push(Write::Put(key, row.write().into()));
            }
            self.rows.insert(id, row);
        }
    }

    /// What the account's own entry says.
    fn totals(&mut self) {
        let modseq = self.rows.values().map(|row| row.modseq).max().unwrap_or(0);
        if self.row.modseq < modseq {
            self.tell("modseq", String::new(), "its modseq is below one in use", "raise it");
            self.row.modseq = modseq;
        }
        let used = self.rows.values().fold(0_u64, |sum, row| sum.saturating_add(row.size));
        let known = self.closed.is_empty();
        let counted = self.stored.values().fold(0_u64, |sum, row| sum.saturating_add(row.size));
        if known && self.row.used != used {
            // Told only where it is wrong by itself, and not since a mailbox's counts are.
            if self.row.used != counted {
                let what = format!("octets: {} noted, {used} counted", self.row.used);
                self.tell("used", String::new(), what, "count it anew");
            }
            self.row.used = used;
        }
        let own = self.found.iter().any(|found| found.place == self.account.to_string());
        if own && self.writes.is_empty() {
            // Only the account's own entry is to be written, which comes with the last batch.
            self.writes.push(Write::Put(keys::account(self.account), self.row.write().into()));
        }
    }
}
