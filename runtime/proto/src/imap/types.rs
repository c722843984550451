//! What RFC 3501 and its extensions name in commands.

use bytes::Bytes;
use jiff::civil::Date;

/// One command with its tag.
#[derive(Clone, PartialEq)]
pub struct Tagged {
    /// The client's name for it, repeated in the response that ends it.
    pub tag: String,
    /// What to do.
    pub command: Command,
}

/// RFC 3501 §6 and the extensions that [`super::session`] offers. Mailbox names are decoded.
#[derive(Clone, PartialEq)]
pub enum Command {
    /// RFC 3501 §6.1.1.
    Capability,
    /// RFC 3501 §6.1.2.
    Noop,
    /// RFC 3501 §6.1.3.
    Logout,
    /// RFC 2971; what the client says of itself is not kept.
    Id,
    /// RFC 3501 §6.2.1.
    StartTls,
    /// RFC 3501 §6.2.2, with the initial response (RFC 4959) still in base64.
    Authenticate {
        /// The mechanism's name as given.
        mechanism: String,
        /// Base64, or `=` for an empty one.
        initial: Option<String>,
    },
    /// RFC 3501 §6.2.3. The password is never logged.
    Login {
        /// Who.
        user: String,
        /// In clear.
        password: String,
    },
    /// RFC 5161: the names of extensions, upper case.
    Enable(Vec<String>),
    /// SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2).
    Select {
        /// Which mailbox.
        mailbox: String,
        /// EXAMINE.
        read_only: bool,
        /// `(CONDSTORE)` (RFC 7162 §3.1.8).
        condstore: bool,
    },
    /// RFC 3501 §6.3.3, with RFC 6154's USE.
    Create {
        /// The new name.
        mailbox: String,
        /// What for.
        special_use: Option<SpecialUse>,
    },
    /// RFC 3501 §6.3.4.
    Delete(String),
    /// RFC 3501 §6.3.5.
    Rename {
        /// The old name.
        from: String,
        /// The new name.
        to: String,
    },
    /// SUBSCRIBE and UNSUBSCRIBE.
    Subscribe {
        /// Which name.
        mailbox: String,
        /// False: UNSUBSCRIBE.
        on: bool,
    },
    /// LIST and LSUB.
    List(ListCommand),
    /// RFC 2342.
    Namespace,
    /// RFC 3501 §6.3.10.
    Status {
        /// Which mailbox.
        mailbox: String,
        /// In the order asked.
        items: Vec<StatusItem>,
    },
    /// RFC 2177.
    Idle,
    /// RFC 3501 §6.4.1.
    Check,
    /// RFC 3501 §6.4.2.
    Close,
    /// RFC 3691.
    Unselect,
    /// EXPUNGE, and UID EXPUNGE (RFC 4315 §2.1) with its set.
    Expunge(Option<SequenceSet>),
    /// SEARCH and UID SEARCH.
    Search(SearchCommand),
    /// FETCH and UID FETCH.
    Fetch(FetchCommand),
    /// STORE and UID STORE.
    Store(StoreCommand),
    /// COPY, MOVE (RFC 6851) and their UID forms.
    Copy {
        /// Which messages.
        messages: Messages,
        /// Where to.
        to: String,
        /// MOVE.
        remove: bool,
    },
}

/// APPEND up to its literal (RFC 3501 §6.3.11).
#[derive(Clone, Debug, PartialEq)]
pub struct AppendHead {
    /// The command's tag.
    pub tag: String,
    /// Where to.
    pub mailbox: String,
    /// With which flags.
    pub flags: Vec<Flag>,
    /// When it arrived, in seconds since 1970 (UTC).
    pub internal_date: Option<i64>,
}

/// Messages by sequence number or by UID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages {
    /// Whether the numbers are UIDs.
    pub uid: bool,
    /// The numbers.
    pub set: SequenceSet,
}

/// RFC 3501 `sequence-set`: pairs as written; `None` is `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceSet(pub Vec<(Option<u32>, Option<u32>)>);

/// UIDs as inclusive ranges, ascending and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UidSet(Vec<(u32, u32)>);

impl UidSet {
    /// Sorts and joins inclusive ranges.
    pub fn new(mut ranges: Vec<(u32, u32)>) -> UidSet {
        ranges.retain(|(low, high)| low <= high);
        ranges.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match joined.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => joined.push((low, high)),
            }
        }
        UidSet(joined)
    }

    /// Whether it holds this UID.
    pub fn contains(&self, uid: u32) -> bool {
        let after = self.0.partition_point(|(low, _)| *low <= uid);
        after > 0 && uid <= self.0[after - 1].1
    }

    /// Its inclusive ranges, ascending and apart.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// RFC 3501 §2.3.2. `\Recent` is none of ours: nothing is ever recent (RFC 9051 dropped it).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flag {
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Seen`
    Seen,
    /// `\Draft`
    Draft,
    /// An atom of at most [`super::MAX_KEYWORD`] octets, compared without case.
    Keyword(String),
}

/// RFC 6154 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// Every one, with its name on the wire.
    pub const NAMES: [(SpecialUse, &'static str); 7] = [
        (SpecialUse::All, "\\All"),
        (SpecialUse::Archive, "\\Archive"),
        (SpecialUse::Drafts, "\\Drafts"),
        (SpecialUse::Flagged, "\\Flagged"),
        (SpecialUse::Junk, "\\Junk"),
        (SpecialUse::Sent, "\\Sent"),
        (SpecialUse::Trash, "\\Trash"),
    ];

    /// `\Sent`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(this, _)| *this == self).map_or("", |(_, name)| name)
    }

    /// Reads `\Sent` without case.
    pub fn parse(name: &str) -> Option<SpecialUse> {
        Self::NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(this, _)| *this)
    }
}

/// LIST (RFC 3501 §6.3.8, RFC 5258) or LSUB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListCommand {
    /// LSUB.
    pub lsub: bool,
    /// Whether RFC 5258's syntax was used.
    pub extended: bool,
    /// Put before each pattern.
    pub reference: String,
    /// With `%` and `*`.
    pub patterns: Vec<String>,
    /// Selection `SUBSCRIBED`.
    pub select_subscribed: bool,
    /// Selection `SPECIAL-USE`.
    pub select_special_use: bool,
    /// Selection `RECURSIVEMATCH`.
    pub recursive_match: bool,
    /// Return `SUBSCRIBED`.
    pub return_subscribed: bool,
    /// Return `STATUS` (RFC 5819).
    pub return_status: Option<Vec<StatusItem>>,
}

/// RFC 3501 §6.3.10, RFC 7162, RFC 7889, RFC 8438, RFC 9051.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusItem {
    /// `MESSAGES`
    Messages,
    /// `RECENT`, always 0.
    Recent,
    /// `UIDNEXT`
    UidNext,
    /// `UIDVALIDITY`
    UidValidity,
    /// `UNSEEN`
    Unseen,
    /// `DELETED`
    Deleted,
    /// `SIZE`
    Size,
    /// `HIGHESTMODSEQ`
    HighestModSeq,
    /// `APPENDLIMIT`
    AppendLimit,
}

/// STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreCommand {
    /// Which messages.
    pub messages: Messages,
    /// What to do with the flags.
    pub action: StoreAction,
    /// Which flags.
    pub flags: Vec<Flag>,
    /// `.SILENT`
    pub silent: bool,
    /// Change only what has not changed since.
    pub unchanged_since: Option<u64>,
}

/// What STORE does with its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAction {
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
    /// `FLAGS`
    Replace,
}

/// FETCH (RFC 3501 §6.4.5, RFC 7162 §3.1.4), its macros expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchCommand {
    /// Which messages.
    pub messages: Messages,
    /// In the order asked.
    pub items: Vec<FetchItem>,
    /// Only what changed since.
    pub changed_since: Option<u64>,
}

/// One thing to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    /// `FLAGS`
    Flags,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822.SIZE`
    Size,
    /// `ENVELOPE`
    Envelope,
    /// `BODY`: the structure without extensions.
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `UID`
    Uid,
    /// `MODSEQ`
    ModSeq,
    /// `BODY[…]`, `BODY.PEEK[…]`, `RFC822`, `RFC822.HEADER`, `RFC822.TEXT`.
    Section {
        /// What of the message.
        section: Section,
        /// Whether `\Seen` is left alone.
        peek: bool,
        /// The name to answer with where it is an `RFC822` one.
        old_name: Option<&'static str>,
    },
}

/// RFC 3501 `section` and `partial`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Section {
    /// Part numbers from the top, 1 the first; empty: the message itself.
    pub path: Vec<u32>,
    /// What of that part.
    pub text: SectionText,
    /// `<origin.length>` in octets; the length is at least 1.
    pub partial: Option<(u32, u32)>,
}

/// RFC 3501 `section-text`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SectionText {
    /// The part's body, or the whole message.
    All,
    /// `HEADER`: of the message, or of the message/rfc822 part.
    Header,
    /// `HEADER.FIELDS` and `HEADER.FIELDS.NOT`
    Fields {
        /// Names as asked, compared without case.
        names: Vec<String>,
        /// `.NOT`
        not: bool,
    },
    /// `MIME`: the part's own header.
    Mime,
    /// `TEXT`
    Text,
}

/// SEARCH (RFC 3501 §6.4.4, RFC 4731).
#[derive(Clone, Debug, PartialEq)]
pub struct SearchCommand {
    /// Whether UIDs are wanted.
    pub uid: bool,
    /// `RETURN (…)`
    pub returns: Option<SearchReturn>,
    /// What to look for.
    pub key: SearchKey<Messages>,
}

/// RFC 4731 §3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchReturn {
    /// `MIN`
    pub min: bool,
    /// `MAX`
    pub max: bool,
    /// `ALL`
    pub all: bool,
    /// `COUNT`
    pub count: bool,
}

/// RFC 3501 §6.4.4. A host sees message sets as UIDs; on the wire they are [`Messages`].
#[derive(Clone, Debug, PartialEq)]
pub enum SearchKey<M = UidSet> {
    /// Every message.
    All,
    /// All of these.
    And(Vec<SearchKey<M>>),
    /// Either.
    Or(Box<(SearchKey<M>, SearchKey<M>)>),
    /// Not this.
    Not(Box<SearchKey<M>>),
    /// These messages.
    Messages(M),
    /// With this flag.
    Flag(Flag),
    /// Contains the text, without case, in this field.
    Text(SearchField, String),
    /// Arrived (internal date, its zone disregarded) then.
    Arrived(When, Date),
    /// `Date:` header, its zone disregarded.
    Sent(When, Date),
    /// More octets than.
    Larger(u64),
    /// Fewer octets than.
    Smaller(u64),
    /// Arrived longer ago than these seconds, or exactly (RFC 5032).
    Older(u32),
    /// Arrived within these seconds.
    Younger(u32),
    /// This modification sequence or a later one (RFC 7162 §3.1.5).
    ModSeq(u64),
}

impl<M> SearchKey<M> {
    /// The same key with message sets put as `to` puts them.
    pub fn map<N>(self, to: &dyn Fn(M) -> N) -> SearchKey<N> {
        match self {
            SearchKey::All => SearchKey::All,
            SearchKey::And(keys) => SearchKey::And(keys.into_iter().map(|key| key.map(to)).collect()),
            SearchKey::Or(pair) => SearchKey::Or(Box::new((pair.0.map(to), pair.1.map(to)))),
            SearchKey::Not(key) => SearchKey::Not(Box::new(key.map(to))),
            SearchKey::Messages(messages) => SearchKey::Messages(to(messages)),
            SearchKey::Flag(flag) => SearchKey::Flag(flag),
            SearchKey::Text(field, text) => SearchKey::Text(field, text),
            SearchKey::Arrived(when, date) => SearchKey::Arrived(when, date),
            SearchKey::Sent(when, date) => SearchKey::Sent(when, date),
            SearchKey::Larger(octets) => SearchKey::Larger(octets),
            SearchKey::Smaller(octets) => SearchKey::Smaller(octets),
            SearchKey::Older(seconds) => SearchKey::Older(seconds),
            SearchKey::Younger(seconds) => SearchKey::Younger(seconds),
            SearchKey::ModSeq(modseq) => SearchKey::ModSeq(modseq),
        }
    }

    /// Whether MODSEQ occurs in it.
    pub fn has_modseq(&self) -> bool {
        match self {
            SearchKey::ModSeq(_) => true,
            SearchKey::And(keys) => keys.iter().any(SearchKey::has_modseq),
            SearchKey::Or(pair) => pair.0.has_modseq() || pair.1.has_modseq(),
            SearchKey::Not(key) => key.has_modseq(),
            _ => false,
        }
    }
}

/// Where SEARCH looks for text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchField {
    /// `FROM`, of the envelope.
    From,
    /// `TO`
    To,
    /// `CC`
    Cc,
    /// `BCC`
    Bcc,
    /// `SUBJECT`
    Subject,
    /// `HEADER name`; an empty text: the header is there.
    Header(String),
    /// `BODY`
    Body,
    /// `TEXT`: header or body.
    Text,
}

/// How a day compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Earlier than the day.
    Before,
    /// Within it.
    On,
    /// Within it or later.
    Since,
}

/// Octets that may be absent: RFC 3501 `nstring`.
pub type NString = Option<Bytes>;
