//! What a session asks its host, and what it is answered. Messages are named by UID, mailboxes by decoded name.

use super::facts::{FetchRow, FetchWants, MailboxFacts, MailboxId, Selected, StatusFacts};
use super::types::{AppendHead, Flag, SearchKey, SpecialUse, StoreAction};
use crate::sasl::{Credentials, ScramVerifier};
use bytes::Bytes;

/// A question; each names its answers. [`Answer::No`] answers any.
#[derive(Debug)]
pub enum Ask {
    /// Are these right? [`Answer::LoggedIn`].
    Login(Credentials),
    /// For an unknown user a false one, so that nobody learns who exists. [`Answer::Verifier`].
    Verifier {
        /// Whose.
        user: String,
    },
    /// SCRAM proved `user`; may it act as `authorize`? [`Answer::LoggedIn`].
    Proved {
        /// Who proved.
        user: String,
        /// Whom to act as; empty: the same.
        authorize: String,
    },
    /// SCRAM failed: count it. [`Answer::Go`]; the client is refused whatever is answered.
    LoginRefused {
        /// Whose login failed.
        user: String,
    },
    /// Every name of the account, subscriptions to absent ones included. [`Answer::Mailboxes`].
    Mailboxes {
        /// Whether to fill in [`MailboxFacts::status`].
        status: bool,
    },
    /// [`Answer::Status`].
    Status {
        /// Which.
        mailbox: String,
    },
    /// Missing parents are made too (RFC 3501 §6.3.3). [`Answer::Go`].
    Create {
        /// A valid name, not `INBOX`.
        mailbox: String,
        /// RFC 6154 §3.
        special_use: Option<SpecialUse>,
    },
    /// [`Answer::Go`].
    Delete {
        /// Not `INBOX`.
        mailbox: String,
    },
    /// Children move along. From `INBOX`: its messages move, it stays (RFC 3501 §6.3.5). [`Answer::Go`].
    Rename {
        /// The old name.
        from: String,
        /// A valid name, not `INBOX`.
        to: String,
    },
    /// [`Answer::Go`].
    Subscribe {
        /// Which; it need not exist.
        mailbox: String,
        /// False: no longer.
        on: bool,
    },
    /// [`Answer::Selected`].
    Select {
        /// Which.
        mailbox: String,
        /// EXAMINE.
        read_only: bool,
    },
    /// A message of `size` octets will follow: may it? [`Answer::Go`].
    AppendStart {
        /// Where to, and how.
        head: AppendHead,
        /// Octets, at least 1, at most [`super::Config::append_limit`].
        size: u64,
    },
    /// The next octets, at most [`super::APPEND_CHUNK`]. [`Answer::Go`].
    AppendChunk(Bytes),
    /// That was all; a session that ends without this has aborted. [`Answer::Appended`].
    AppendEnd,
    /// Forget it. [`Answer::Go`].
    AppendAbort,
    /// Rows of those that exist, ascending. [`Answer::Fetched`].
    Fetch {
        /// Of which mailbox.
        mailbox: MailboxId,
        /// At most [`super::FETCH_PAGE`].
        uids: Vec<u32>,
        /// What of each.
        wants: FetchWants,
        /// Only those with a larger modseq.
        changed_since: Option<u64>,
        /// Set `\Seen` on each before it is told.
        mark_seen: bool,
    },
    /// [`Answer::Stored`].
    Store {
        /// Of which mailbox.
        mailbox: MailboxId,
        /// At most [`super::STORE_PAGE`].
        uids: Vec<u32>,
        /// What to do with the flags.
        action: StoreAction,
        /// Which flags.
        flags: Vec<Flag>,
        /// Leave alone, and name in the answer, those with a larger modseq.
        unchanged_since: Option<u64>,
    },
    /// [`Answer::Found`].
    Search {
        /// Of which mailbox.
        mailbox: MailboxId,
        /// What to look for.
        key: SearchKey,
    },
    /// All or none, in order. A missing target is [`Code::TryCreate`]. [`Answer::Copied`].
    Copy {
        /// From which mailbox.
        mailbox: MailboxId,
        /// As many as the mailbox holds at most.
        uids: Vec<u32>,
        /// Where to.
        to: String,
        /// MOVE: and remove them here.
        remove: bool,
        /// None is copied where one of them is gone; else [`Code::ExpungeIssued`].
        whole: bool,
    },
    /// Remove what has `\Deleted`. [`Answer::Expunged`].
    Expunge {
        /// Of which mailbox.
        mailbox: MailboxId,
        /// Of these only; `None`: of all.
        uids: Option<Vec<u32>>,
    },
    /// [`Answer::Changed`]; [`Code::NonExistent`] where the mailbox is gone, which ends the session.
    Changes {
        /// Of which mailbox.
        mailbox: MailboxId,
        /// What happened after this modseq.
        since: u64,
    },
    /// Send [`crate::Event::News`] of [`Answer::MailboxChanged`] from now on. [`Answer::Go`].
    Watch {
        /// Which mailbox.
        mailbox: MailboxId,
    },
    /// No longer. [`Answer::Go`].
    Unwatch,
}

/// What came of an [`Ask`], or news.
#[derive(Debug)]
pub enum Answer {
    /// Done, or: go on.
    Go,
    /// Refused, or failed.
    No {
        /// For the client's program.
        code: Option<Code>,
        /// For its user: one line.
        text: String,
    },
    /// The login holds.
    LoggedIn {
        /// As whom.
        user: String,
    },
    /// See [`Ask::Verifier`].
    Verifier(ScramVerifier),
    /// See [`Ask::Mailboxes`]; in any order.
    Mailboxes(Vec<MailboxFacts>),
    /// See [`Ask::Status`].
    Status(StatusFacts),
    /// See [`Ask::Select`].
    Selected(Selected),
    /// See [`Ask::AppendEnd`].
    Appended {
        /// The target's.
        uid_validity: u32,
        /// The message's.
        uid: u32,
    },
    /// See [`Ask::Fetch`].
    Fetched(Vec<FetchRow>),
    /// See [`Ask::Store`].
    Stored {
        /// Every message that has now what was asked, changed or not.
        rows: Vec<FlagRow>,
        /// Their modseqs before, in the same order.
        before: Vec<u64>,
        /// Those that `unchanged_since` saved.
        modified: Vec<u32>,
    },
    /// See [`Ask::Search`].
    Found(
        /// UIDs with their modseqs, in any order.
        Vec<(u32, u64)>,
    ),
    /// See [`Ask::Copy`].
    Copied {
        /// The target's.
        uid_validity: u32,
        /// Old UID, new UID.
        pairs: Vec<(u32, u32)>,
    },
    /// See [`Ask::Expunge`].
    Expunged(Vec<u32>),
    /// See [`Ask::Changes`].
    Changed {
        /// Removed since.
        vanished: Vec<u32>,
        /// New ones and ones whose flags changed, ascending by UID.
        rows: Vec<FlagRow>,
        /// The state this brings us to.
        highest_modseq: u64,
    },
    /// News: something happened in the watched mailbox.
    MailboxChanged,
    /// News: say BYE and close, after the command that is under way.
    Shutdown,
    /// News: the same, since the account is gone.
    Gone,
}

/// A message's flags at a modseq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagRow {
    /// Which.
    pub uid: u32,
    /// All of its flags.
    pub flags: Vec<Flag>,
    /// When they last changed.
    pub modseq: u64,
}

/// Response codes that a host may give (RFC 3501 §7.1, RFC 5530, RFC 7889, RFC 6154 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Their names are the RFCs'.
pub enum Code {
    AlreadyExists,
    AuthenticationFailed,
    AuthorizationFailed,
    Cannot,
    ContactAdmin,
    Corruption,
    Expired,
    ExpungeIssued,
    InUse,
    Limit,
    NonExistent,
    NoPerm,
    OverQuota,
    PrivacyRequired,
    ReadOnly,
    ServerBug,
    TooBig,
    TryCreate,
    Unavailable,
    UseAttr,
}

impl Code {
    /// As it stands between the brackets.
    pub fn name(self) -> &'static str {
        match self {
            Code::AlreadyExists => "ALREADYEXISTS",
            Code::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Code::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Code::Cannot => "CANNOT",
            Code::ContactAdmin => "CONTACTADMIN",
            Code::Corruption => "CORRUPTION",
            Code::Expired => "EXPIRED",
            Code::ExpungeIssued => "EXPUNGEISSUED",
            Code::InUse => "INUSE",
            Code::Limit => "LIMIT",
            Code::NonExistent => "NONEXISTENT",
            Code::NoPerm => "NOPERM",
            Code::OverQuota => "OVERQUOTA",
            Code::PrivacyRequired => "PRIVACYREQUIRED",
            Code::ReadOnly => "READ-ONLY",
            Code::ServerBug => "SERVERBUG",
            Code::TooBig => "TOOBIG",
            Code::TryCreate => "TRYCREATE",
            Code::Unavailable => "UNAVAILABLE",
            Code::UseAttr => "USEATTR",
        }
    }
}
