//! Commands on the selected mailbox's messages.

use super::super::ask::{Answer, Ask, FlagRow};
use super::super::encode;
use super::super::facts::{Body, FetchRow, FetchWants};
use super::super::types::{
    Command, FetchCommand, FetchItem, Flag, Messages, SearchCommand, SearchReturn, StoreAction, StoreCommand,
};
use super::super::{FETCH_PAGE, STORE_PAGE};
use super::{ImapSession, Job, Out};
use std::fmt::Write as _;

/// A FETCH under way.
pub struct Fetch {
    tag: String,
    uid: bool,
    /// Not yet asked for, the last first.
    rest: Vec<u32>,
    items: Vec<FetchItem>,
    wants: FetchWants,
    changed_since: Option<u64>,
    mark_seen: bool,
    /// Asked of in this turn.
    asked: usize,
    /// Messages were gone.
    gone: bool,
}

/// A STORE under way.
pub struct Store {
    tag: String,
    uid: bool,
    rest: Vec<u32>,
    action: StoreAction,
    flags: Vec<Flag>,
    silent: bool,
    unchanged_since: Option<u64>,
    modified: Vec<u32>,
    /// Asked of, and answered for.
    asked: usize,
    answered: usize,
}

/// The next messages of those that wait, the last first.
fn page(rest: &mut Vec<u32>, most: usize) -> Vec<u32> {
    let mut page = rest.split_off(rest.len().saturating_sub(most));
    page.reverse();
    page
}

/// RFC 5530 §3: the client does well to say NOOP.
fn issued(gone: bool) -> &'static str {
    if gone { "[EXPUNGEISSUED] some messages are gone; " } else { "" }
}

impl ImapSession {
    /// Commands that a selected mailbox is needed for.
    pub(super) fn selected(&mut self, tag: String, command: Command) {
        let Some(view) = &self.view else { return self.bad(Some(&tag), "select a mailbox first") };
        let (mailbox, read_only) = (view.mailbox, view.read_only);
        let changes = matches!(command, Command::Store(_) | Command::Expunge(_) | Command::Copy { remove: true, .. });
        if read_only && changes {
            return self.say(&format!("{tag} NO [READ-ONLY] the mailbox is open for reading only"));
        }
        match command {
            Command::Check => self.finish(format!("{tag} OK checked"), true),
            Command::Unselect => {
                self.view = None;
                self.ask(Ask::Unwatch, Job::Simple { tag, done: "closed" });
            }
            Command::Close => {
                self.view = None;
                match read_only {
                    true => self.ask(Ask::Unwatch, Job::Simple { tag, done: "closed" }),
                    false => self.ask(Ask::Expunge { mailbox, uids: None }, Job::Close { tag }),
                }
            }
            Command::Expunge(set) => {
                let uids = match set {
                    None => None,
                    Some(set) => view.uids(&Messages { uid: true, set }),
                };
                self.ask(Ask::Expunge { mailbox, uids }, Job::Expunge { tag });
            }
            Command::Search(search) => self.search(tag, search),
            Command::Fetch(fetch) => self.fetch(tag, fetch),
            Command::Store(store) => self.store(tag, store),
            Command::Copy { messages, to, remove } => match view.uids(&messages) {
                None => self.bad(Some(&tag), "no such message"),
                Some(uids) if uids.is_empty() => self.finish(format!("{tag} OK there is nothing to do"), false),
                Some(uids) => {
                    let job = Job::Copy { tag, remove };
                    // RFC 3501 §6.4.7: all or none. By UID, those that are there (RFC 3501 §6.4.8).
                    self.ask(Ask::Copy { mailbox, uids, to, remove, whole: !messages.uid }, job);
                }
            },
            _ => self.bad(Some(&tag), "no such command"),
        }
    }

    /// RFC 3501 §7.4.1: no EXPUNGE may be told within a command that names messages by number.
    pub(super) fn finish_numbers(&mut self, line: String, uid: bool) {
        if uid { self.finish(line, false) } else { self.say(&line) }
    }

    fn search(&mut self, tag: String, search: SearchCommand) {
        let Some(view) = &self.view else { return };
        let modseq = search.key.has_modseq();
        let key = search.key.map(&|messages| view.set(&messages));
        let ask = Ask::Search { mailbox: view.mailbox, key };
        self.know_modseqs(modseq);
        self.ask(ask, Job::Search { tag, uid: search.uid, returns: search.returns, modseq });
    }

    pub(super) fn found(
        &mut self,
        (tag, uid, returns): (&str, bool, Option<SearchReturn>),
        found: &[(u32, u64)],
        modseq: bool,
    ) {
        let Some(view) = &self.view else { return };
        let number = |(found, modseq): &(u32, u64)| Some((view.number(*found)?, *found, *modseq));
        let mut rows: Vec<(u32, u32, u64)> = found.iter().filter_map(number).collect();
        rows.sort_unstable();
        let numbers: Vec<u32> = rows.iter().map(|(number, found, _)| if uid { *found } else { *number }).collect();
        // RFC 4731 §3.2: where only the ends are asked for, the modseq is theirs.
        let ends =
            returns.as_ref().is_some_and(|returns| (returns.min || returns.max) && !returns.all && !returns.count);
        let (min, max) = returns.as_ref().map_or((false, false), |returns| (returns.min, returns.max));
        let of_ends = [rows.first().filter(|_| min), rows.last().filter(|_| max)];
        let highest = match ends {
            true => of_ends.into_iter().flatten().map(|row| row.2).max(),
            false => rows.iter().map(|row| row.2).max(),
        };
        let modseq = highest.filter(|_| modseq);
        let mut line = String::new();
        match returns {
            None => {
                line.push_str("* SEARCH");
                for number in &numbers {
                    let _ = write!(line, " {number}");
                }
                if let Some(modseq) = modseq.filter(|_| !numbers.is_empty()) {
                    let _ = write!(line, " (MODSEQ {modseq})");
                }
            }
            Some(returns) => {
                let _ = write!(line, "* ESEARCH (TAG \"{tag}\"){}", if uid { " UID" } else { "" });
                let wanted = [(returns.min, "MIN", numbers.first()), (returns.max, "MAX", numbers.last())];
                for (wanted, name, value) in wanted {
                    if let Some(value) = value.filter(|_| wanted) {
                        let _ = write!(line, " {name} {value}");
                    }
                }
                if returns.all && !numbers.is_empty() {
                    let _ = write!(line, " ALL {}", encode::set(&numbers));
                }
                if returns.count {
                    let _ = write!(line, " COUNT {}", numbers.len());
                }
                if let Some(modseq) = modseq.filter(|_| !numbers.is_empty()) {
                    let _ = write!(line, " MODSEQ {modseq}");
                }
            }
        }
        self.say(&line);
    }

    fn fetch(&mut self, tag: String, fetch: FetchCommand) {
        let Some(view) = &self.view else { return };
        let uid = fetch.messages.uid;
        let Some(mut rest) = view.uids(&fetch.messages) else { return self.bad(Some(&tag), "no such message") };
        rest.reverse();
        let mut items = fetch.items;
        if uid && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        let mut wants = FetchWants::default();
        let mut mark_seen = false;
        for item in &items {
            match item {
                FetchItem::InternalDate | FetchItem::Size => wants.date_and_size = true,
                FetchItem::Envelope => wants.envelope = true,
                FetchItem::Body | FetchItem::BodyStructure => wants.structure = true,
                FetchItem::Section { section, peek, .. } => {
                    wants.sections.push(section.clone());
                    mark_seen |= !peek && !view.read_only;
                }
                FetchItem::Flags | FetchItem::Uid | FetchItem::ModSeq => {}
            }
        }
        self.know_modseqs(fetch.changed_since.is_some() || items.contains(&FetchItem::ModSeq));
        let modseq = fetch.changed_since.is_some() || (self.condstore && items.contains(&FetchItem::Flags));
        if modseq && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        let changed_since = fetch.changed_since;
        self.fetch_more(Box::new(Fetch {
            tag,
            uid,
            rest,
            items,
            wants,
            changed_since,
            mark_seen,
            asked: 0,
            gone: false,
        }));
    }

    fn fetch_more(&mut self, mut fetch: Box<Fetch>) {
        let Some(view) = self.view.as_ref().filter(|_| !fetch.rest.is_empty()) else {
            return self.finish_numbers(format!("{} OK {}fetched", fetch.tag, issued(fetch.gone)), fetch.uid);
        };
        let uids = page(&mut fetch.rest, FETCH_PAGE);
        fetch.asked = uids.len();
        let ask = Ask::Fetch {
            mailbox: view.mailbox,
            uids,
            wants: fetch.wants.clone(),
            changed_since: fetch.changed_since,
            mark_seen: fetch.mark_seen,
        };
        self.ask(ask, Job::Fetch(fetch));
    }

    pub(super) fn fetched(&mut self, mut fetch: Box<Fetch>, answer: Answer) {
        match answer {
            Answer::Fetched(rows) => {
                fetch.gone |= fetch.changed_since.is_none() && rows.len() < fetch.asked;
                for row in rows {
                    self.row(&fetch.items, row);
                }
                self.fetch_more(fetch);
            }
            Answer::No { code, text } => self.no(&fetch.tag, code, &text),
            _ => self.no(&fetch.tag, None, "the server's answer makes no sense"),
        }
    }

    fn row(&mut self, items: &[FetchItem], row: FetchRow) {
        let tells_flags = row.now_seen || items.contains(&FetchItem::Flags);
        if tells_flags {
            self.learn(&row.flags);
        }
        let condstore = self.condstore;
        let Some(view) = &mut self.view else { return };
        let Some(number) = view.number(row.uid) else { return };
        if tells_flags {
            view.tell(row.uid, row.modseq);
        }
        let _ = write!(self.text(), "* {number} FETCH (");
        let mut sections = row.sections.iter();
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.text().extend_from_slice(b" ");
            }
            self.item(item, &row, sections.as_slice().first());
            if matches!(item, FetchItem::Section { .. }) {
                sections.next();
            }
        }
        if row.now_seen && !items.contains(&FetchItem::Flags) {
            let out = self.text();
            out.extend_from_slice(b" FLAGS ");
            encode::flags(&row.flags, out);
            // RFC 7162 §3.1: with the flags always comes their modseq.
            if condstore && !items.contains(&FetchItem::ModSeq) {
                let _ = write!(self.text(), " MODSEQ ({})", row.modseq);
            }
        }
        self.say(")");
    }

    fn item(&mut self, item: &FetchItem, row: &FetchRow, body: Option<&Body>) {
        let out = self.text();
        match item {
            FetchItem::Section { section, old_name, .. } => {
                match old_name {
                    Some(name) => out.extend_from_slice(name.as_bytes()),
                    None => encode::section(section, out),
                }
                out.extend_from_slice(b" ");
                return self.body(body.unwrap_or(&Body::Nil));
            }
            _ => {
                let _ = write!(out, "{} ", encode::item(item));
            }
        }
        match item {
            FetchItem::Flags => encode::flags(&row.flags, out),
            FetchItem::InternalDate => encode::date_time(row.internal_date, out),
            FetchItem::Size => {
                let _ = write!(out, "{}", row.size);
            }
            FetchItem::Uid => {
                let _ = write!(out, "{}", row.uid);
            }
            FetchItem::ModSeq => {
                let _ = write!(out, "({})", row.modseq);
            }
            FetchItem::Envelope => encode::envelope(row.envelope.as_ref().unwrap_or(&Default::default()), out),
            FetchItem::Body | FetchItem::BodyStructure => {
                let extended = *item == FetchItem::BodyStructure;
                encode::body(row.structure.as_ref().unwrap_or(&Default::default()), extended, out);
            }
            FetchItem::Section { .. } => {}
        }
    }

    fn body(&mut self, body: &Body) {
        match body {
            Body::Nil => self.text().extend_from_slice(b"NIL"),
            Body::Inline(octets) => {
                let out = self.text();
                let _ = write!(out, "{{{}}}\r\n", octets.len());
                out.extend_from_slice(octets);
            }
            Body::Blob { blob, part } => {
                let _ = write!(self.text(), "{{{}}}\r\n", part.end.saturating_sub(part.start));
                if part.start < part.end {
                    self.out.push_back(Out::Copy(*blob, part.clone()));
                }
            }
        }
    }

    fn store(&mut self, tag: String, store: StoreCommand) {
        let Some(view) = &self.view else { return };
        let uid = store.messages.uid;
        let Some(mut rest) = view.uids(&store.messages) else { return self.bad(Some(&tag), "no such message") };
        rest.reverse();
        self.know_modseqs(store.unchanged_since.is_some());
        let StoreCommand { action, flags, silent, unchanged_since, .. } = store;
        let (modified, asked) = (Vec::new(), rest.len());
        let store = Store { tag, uid, rest, action, flags, silent, unchanged_since, modified, asked, answered: 0 };
        self.store_more(Box::new(store));
    }

    fn store_more(&mut self, mut store: Box<Store>) {
        let Some(view) = self.view.as_ref().filter(|_| !store.rest.is_empty()) else {
            return self.store_done(&store);
        };
        let ask = Ask::Store {
            mailbox: view.mailbox,
            uids: page(&mut store.rest, STORE_PAGE),
            action: store.action,
            flags: store.flags.clone(),
            unchanged_since: store.unchanged_since,
        };
        self.ask(ask, Job::Store(store));
    }

    fn store_done(&mut self, store: &Store) {
        let tag = &store.tag;
        let mut names: Vec<u32> = match store.uid {
            true => store.modified.clone(),
            false => store.modified.iter().filter_map(|uid| self.view.as_ref()?.number(*uid)).collect(),
        };
        names.sort_unstable();
        let line = match names.is_empty() {
            true => format!("{tag} OK {}stored", issued(store.answered < store.asked)),
            // RFC 7162 §3.1.3: the command succeeds, and names what it left alone.
            false => format!("{tag} OK [MODIFIED {}] some had changed", encode::set(&names)),
        };
        self.finish_numbers(line, store.uid);
    }

    pub(super) fn stored(&mut self, mut store: Box<Store>, answer: Answer) {
        match answer {
            Answer::Stored { rows, before, modified } => {
                store.answered += rows.len() + modified.len();
                store.modified.extend(modified);
                for (row, before) in rows.iter().zip(before) {
                    self.stored_row((row, before), &store);
                }
                self.store_more(store);
            }
            Answer::No { code, text } => self.no(&store.tag, code, &text),
            _ => self.no(&store.tag, None, "the server's answer makes no sense"),
        }
    }

    fn stored_row(&mut self, (row, before): (&FlagRow, u64), store: &Store) {
        let Some(view) = &mut self.view else { return };
        // RFC 3501 §6.4.6: what another session changed is told also where our own change is not to be.
        let silent = store.silent && !view.is_news(row.uid, before);
        view.tell(row.uid, row.modseq);
        self.flags_row(row, (store.uid, silent));
    }

    pub(super) fn copied(&mut self, tag: &str, (validity, pairs): (u32, &[(u32, u32)]), remove: bool) {
        if pairs.is_empty() {
            return self.finish(format!("{tag} OK there was nothing left"), true);
        }
        let (old, new) = encode::pairs(pairs);
        let code = format!("[COPYUID {validity} {old} {new}]");
        if !remove {
            return self.finish(format!("{tag} OK {code} copied"), true);
        }
        // RFC 6851 §4.3: before the EXPUNGEs.
        self.say(&format!("* OK {code} moved"));
        let uids: Vec<u32> = pairs.iter().map(|(old, _)| *old).collect();
        self.expunged(&uids);
        self.finish(format!("{tag} OK moved"), true);
    }
}
