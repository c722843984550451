//! Commands on mailboxes, and the ends of all commands.

use super::super::ask::{Answer, Ask, Code, FlagRow};
use super::super::encode;
use super::super::facts::{Selected, StatusFacts};
use super::super::list;
use super::super::types::{Command, Flag, ListCommand, StatusItem};
use super::super::view::View;
use super::{ImapSession, Job};
use bytes::BytesMut;
use std::fmt::Write as _;

/// A mailbox's own flags; keywords follow them.
const SYSTEM_FLAGS: &str = "\\Answered \\Flagged \\Deleted \\Seen \\Draft";

impl ImapSession {
    /// Commands that a login is needed for.
    pub(super) fn logged_in(&mut self, tag: String, command: Command) {
        match command {
            Command::Namespace => {
                self.say("* NAMESPACE ((\"\" \"/\")) NIL NIL");
                self.say(&format!("{tag} OK one namespace"));
            }
            Command::Select { mailbox, read_only, condstore } => {
                self.condstore |= condstore;
                // RFC 3501 §6.3.1: whether it succeeds or not, nothing is selected any more.
                if self.view.take().is_some() {
                    self.say("* OK [CLOSED] the mailbox before is closed");
                }
                let ask = Ask::Select { mailbox: mailbox.clone(), read_only };
                self.ask(ask, Job::Select { tag, mailbox, read_only });
            }
            Command::Create { mailbox, .. } if mailbox == "INBOX" => {
                self.say(&format!("{tag} NO [ALREADYEXISTS] INBOX is always there"));
            }
            Command::Create { mailbox, special_use } => {
                let job = Job::Simple { tag, done: "created" };
                self.ask(Ask::Create { mailbox, special_use }, job);
            }
            Command::Delete(mailbox) if mailbox == "INBOX" => {
                self.say(&format!("{tag} NO [CANNOT] INBOX is always there"));
            }
            Command::Delete(mailbox) => {
                self.ask(Ask::Delete { mailbox: mailbox.clone() }, Job::Delete { tag, mailbox });
            }
            Command::Rename { to, .. } if to == "INBOX" => {
                self.say(&format!("{tag} NO [ALREADYEXISTS] INBOX is always there"));
            }
            Command::Rename { from, to } => {
                let ask = Ask::Rename { from: from.clone(), to: to.clone() };
                self.ask(ask, Job::Rename { tag, from, to });
            }
            Command::Subscribe { mailbox, on } => {
                let done = if on { "subscribed" } else { "not subscribed any more" };
                self.ask(Ask::Subscribe { mailbox, on }, Job::Simple { tag, done });
            }
            Command::List(list) => self.list(tag, list),
            Command::Status { mailbox, items } => {
                // RFC 7162 §3.1: asking for it says that the client knows modseqs.
                self.know_modseqs(items.contains(&StatusItem::HighestModSeq));
                self.ask(Ask::Status { mailbox: mailbox.clone() }, Job::Status { tag, mailbox, items });
            }
            command => self.selected(tag, command),
        }
    }

    fn list(&mut self, tag: String, list: ListCommand) {
        // RFC 3501 §6.3.8: what is the separator?
        if !list.extended && !list.lsub && list.patterns.iter().all(String::is_empty) {
            self.say("* LIST (\\Noselect) \"/\" \"\"");
            return self.say(&format!("{tag} OK listed"));
        }
        let ask = Ask::Mailboxes { status: list.return_status.is_some() };
        self.ask(ask, Job::List { tag, list: Box::new(list) });
    }

    fn listed(&mut self, list: &ListCommand, all: Vec<super::super::facts::MailboxFacts>) {
        let verb = if list.lsub { "LSUB" } else { "LIST" };
        for row in list::rows(list, all) {
            let limit = self.config.append_limit;
            let out = self.text();
            let _ = write!(out, "* {verb} ({}) \"/\" ", row.attributes.join(" "));
            encode::mailbox(&row.name, out);
            if row.child_info {
                out.extend_from_slice(b" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
            }
            out.extend_from_slice(b"\r\n");
            if let (Some(status), Some(items)) = (row.status, &list.return_status) {
                status_line(&row.name, items, (&status, limit), out);
            }
        }
    }

    fn opened(&mut self, tag: &str, (name, selected): (String, Selected), read_only: bool) {
        let (validity, next, modseq) = (selected.uid_validity, selected.uid_next, selected.highest_modseq);
        let first_unseen = selected.first_unseen;
        let mailbox = selected.mailbox;
        let view = View::new(name, selected, read_only);
        self.flags_line(&view);
        self.say(&format!("* {} EXISTS", view.len()));
        self.say("* 0 RECENT");
        if let Some(number) = first_unseen.and_then(|uid| view.number(uid)) {
            self.say(&format!("* OK [UNSEEN {number}] the first unseen"));
        }
        self.say(&format!("* OK [UIDVALIDITY {validity}] UIDs are valid"));
        self.say(&format!("* OK [UIDNEXT {next}] the next UID"));
        self.say(&format!("* OK [HIGHESTMODSEQ {modseq}] the newest change"));
        let how = if view.read_only { "READ-ONLY" } else { "READ-WRITE" };
        self.view = Some(view);
        self.ask(Ask::Watch { mailbox }, Job::Watch { line: format!("{tag} OK [{how}] opened") });
    }

    fn flags_line(&mut self, view: &View) {
        let mut flags = SYSTEM_FLAGS.to_owned();
        for keyword in view.keywords() {
            flags.push(' ');
            flags.push_str(keyword);
        }
        self.say(&format!("* FLAGS ({flags})"));
        let permanent = if view.read_only { String::new() } else { format!("{flags} \\*") };
        self.say(&format!("* OK [PERMANENTFLAGS ({permanent})] kept"));
    }

    /// Tells a message's flags; new keywords first.
    pub(super) fn flags_row(&mut self, row: &FlagRow, (uid, silent): (bool, bool)) {
        let Some(mut view) = self.view.take() else { return };
        if view.learn(&row.flags) {
            self.flags_line(&view);
        }
        if let Some(number) = view.number(row.uid) {
            let condstore = self.condstore;
            let mut parts: Vec<String> = Vec::new();
            if uid {
                parts.push(format!("UID {}", row.uid));
            }
            if !silent {
                parts.push(format!("FLAGS ({})", row.flags.iter().map(encode::flag).collect::<Vec<_>>().join(" ")));
            }
            if condstore {
                parts.push(format!("MODSEQ ({})", row.modseq));
            }
            if !silent || condstore {
                self.say(&format!("* {number} FETCH ({})", parts.join(" ")));
            }
        }
        self.view = Some(view);
    }

    /// Learns the keywords of flags told otherwise.
    pub(super) fn learn(&mut self, flags: &[Flag]) {
        let Some(mut view) = self.view.take() else { return };
        if view.learn(flags) {
            self.flags_line(&view);
        }
        self.view = Some(view);
    }

    pub(super) fn expunged(&mut self, uids: &[u32]) {
        let numbers = self.view.as_mut().map(|view| view.remove(uids)).unwrap_or_default();
        for number in numbers {
            self.say(&format!("* {number} EXPUNGE"));
        }
    }

    fn changed(&mut self, vanished: &[u32], (rows, modseq): (Vec<FlagRow>, u64)) {
        self.expunged(vanished);
        let Some(view) = &mut self.view else { return };
        let (changed, more) = view.take(rows, modseq);
        let count = view.len();
        if more {
            self.say(&format!("* {count} EXISTS"));
        }
        for row in &changed {
            self.flags_row(row, (self.condstore, false));
        }
    }

    /// What came of an ask that is part of a command.
    pub(super) fn command_answered(&mut self, job: Job, answer: Answer) {
        match (job, answer) {
            (Job::Sync { line }, Answer::Changed { vanished, rows, highest_modseq }) => {
                self.changed(&vanished, (rows, highest_modseq));
                if let Some(line) = line {
                    self.say(&line);
                }
            }
            (Job::Sync { line }, Answer::No { code: Some(Code::NonExistent), .. }) => {
                self.view = None;
                if let Some(line) = line {
                    self.say(&line);
                }
                self.bye("the mailbox is gone");
            }
            // The next look finds it.
            (Job::Sync { line }, _) => {
                if let Some(view) = &mut self.view {
                    view.dirty = line.is_some();
                }
                if let Some(line) = line {
                    self.say(&line);
                }
            }
            (Job::Simple { tag, done }, Answer::Go) => self.finish(format!("{tag} OK {done}"), false),
            (Job::Watch { line }, _) => self.say(&line),
            (Job::List { tag, list }, Answer::Mailboxes(all)) => {
                self.listed(&list, all);
                self.finish(format!("{tag} OK listed"), false);
            }
            (Job::Status { tag, mailbox, items }, Answer::Status(status)) => {
                let limit = self.config.append_limit;
                status_line(&mailbox, &items, (&status, limit), self.text());
                self.finish(format!("{tag} OK that is how it is"), false);
            }
            (Job::Select { tag, mailbox, read_only }, Answer::Selected(selected)) => {
                self.opened(&tag, (mailbox, selected), read_only);
            }
            (Job::Delete { tag, mailbox }, Answer::Go) => {
                // RFC 2180 §3: whoever deletes what it has selected has nothing selected any more.
                match self.view.take_if(|view| view.name == mailbox) {
                    Some(_) => self.ask(Ask::Unwatch, Job::Simple { tag, done: "deleted" }),
                    None => self.finish(format!("{tag} OK deleted"), false),
                }
            }
            (Job::Rename { tag, from, to }, Answer::Go) => {
                if let Some(view) = &mut self.view {
                    view.renamed(&from, &to);
                }
                self.finish(format!("{tag} OK renamed"), false);
            }
            (Job::AppendEnd { tag }, Answer::Appended { uid_validity, uid }) => {
                self.finish(format!("{tag} OK [APPENDUID {uid_validity} {uid}] kept"), true);
            }
            (Job::Close { tag }, answer) => {
                if let Answer::No { code, text } = answer {
                    self.no(&tag, code, &text);
                } else {
                    self.ask(Ask::Unwatch, Job::Simple { tag, done: "closed" });
                }
            }
            (Job::Fetch(fetch), answer) => self.fetched(fetch, answer),
            (Job::Store(store), answer) => self.stored(store, answer),
            (Job::Search { tag, uid, returns, modseq }, Answer::Found(found)) => {
                self.found((&tag, uid, returns), &found, modseq);
                self.finish_numbers(format!("{tag} OK searched"), uid);
            }
            (Job::Copy { tag, remove }, Answer::Copied { uid_validity, pairs }) => {
                self.copied(&tag, (uid_validity, &pairs), remove);
            }
            (Job::Expunge { tag }, Answer::Expunged(uids)) => {
                self.expunged(&uids);
                self.finish(format!("{tag} OK expunged"), true);
            }
            (job, Answer::No { code, text }) => {
                if let Some(tag) = tag_of(job) {
                    self.no(&tag, code, &text);
                }
            }
            (job, _) => {
                if let Some(tag) = tag_of(job) {
                    self.no(&tag, Some(Code::ServerBug), "the server's answer makes no sense");
                }
            }
        }
    }
}

fn tag_of(job: Job) -> Option<String> {
    match job {
        Job::Simple { tag, .. }
        | Job::Login { tag }
        | Job::Verifier { tag }
        | Job::LoginRefused { tag }
        | Job::List { tag, .. }
        | Job::Status { tag, .. }
        | Job::Select { tag, .. }
        | Job::Delete { tag, .. }
        | Job::Rename { tag, .. }
        | Job::AppendStart { tag, .. }
        | Job::AppendEnd { tag }
        | Job::Search { tag, .. }
        | Job::Copy { tag, .. }
        | Job::Expunge { tag }
        | Job::Close { tag } => Some(tag),
        Job::Nothing | Job::AppendChunk | Job::Watch { .. } | Job::Fetch(_) | Job::Store(_) | Job::Sync { .. } => None,
    }
}

fn status_line(name: &str, items: &[StatusItem], (status, limit): (&StatusFacts, u64), out: &mut BytesMut) {
    out.extend_from_slice(b"* STATUS ");
    encode::mailbox(name, out);
    let value = |item: &StatusItem| match item {
        StatusItem::Messages => u64::from(status.messages),
        StatusItem::Recent => 0,
        StatusItem::UidNext => u64::from(status.uid_next),
        StatusItem::UidValidity => u64::from(status.uid_validity),
        StatusItem::Unseen => u64::from(status.unseen),
        StatusItem::Deleted => u64::from(status.deleted),
        StatusItem::Size => status.size,
        StatusItem::HighestModSeq => status.highest_modseq,
        StatusItem::AppendLimit => limit,
    };
    let values: Vec<String> =
        items.iter().map(|item| format!("{} {}", encode::status_item(*item), value(item))).collect();
    let _ = write!(out, " ({})\r\n", values.join(" "));
}
