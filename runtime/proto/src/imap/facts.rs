//! What a host knows of mailboxes and messages, as the session wants to be told it.

use super::types::{Flag, NString, SpecialUse};
use crate::BlobRef;
use bytes::Bytes;
use std::ops::Range;

/// An open mailbox's name to its host; it survives a RENAME.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MailboxId(pub u64);

/// A mailbox just opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Its handle in later asks.
    pub mailbox: MailboxId,
    /// RFC 3501 §2.3.1.1; not 0.
    pub uid_validity: u32,
    /// Larger than every UID.
    pub uid_next: u32,
    /// The state that `uids` is of; at least 1.
    pub highest_modseq: u64,
    /// Every message, ascending.
    pub uids: Vec<u32>,
    /// The first message without `\Seen`.
    pub first_unseen: Option<u32>,
    /// Keywords in use.
    pub keywords: Vec<String>,
    /// Whether the account may only read it, though SELECT was said.
    pub read_only: bool,
}

/// One of the account's mailbox names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxFacts {
    /// With `/` between levels; the inbox is `INBOX`.
    pub name: String,
    /// False: only subscribed to, or a container that cannot be selected.
    pub selectable: bool,
    /// False: a subscription to what is not there.
    pub exists: bool,
    /// Whether subscribed to.
    pub subscribed: bool,
    /// RFC 6154.
    pub special_use: Option<SpecialUse>,
    /// Where asked for and selectable.
    pub status: Option<StatusFacts>,
}

/// RFC 3501 §6.3.10 and extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusFacts {
    /// Messages in it.
    pub messages: u32,
    /// Of them without `\Seen`.
    pub unseen: u32,
    /// Of them with `\Deleted`.
    pub deleted: u32,
    /// Next UID.
    pub uid_next: u32,
    /// RFC 3501 §2.3.1.1.
    pub uid_validity: u32,
    /// RFC 7162.
    pub highest_modseq: u64,
    /// Octets of all its messages (RFC 8438).
    pub size: u64,
}

/// What FETCH wants of each message; a row carries at least this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchWants {
    /// Fill [`FetchRow::internal_date`] and [`FetchRow::size`].
    pub date_and_size: bool,
    /// Fill [`FetchRow::envelope`].
    pub envelope: bool,
    /// Fill [`FetchRow::structure`].
    pub structure: bool,
    /// Fill [`FetchRow::sections`], one for one.
    pub sections: Vec<super::types::Section>,
}

/// A message as FETCH tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRow {
    /// Which.
    pub uid: u32,
    /// As of now, after `\Seen` was set where asked.
    pub modseq: u64,
    /// As of now.
    pub flags: Vec<Flag>,
    /// Whether this FETCH set `\Seen`, so that the client must hear of it.
    pub now_seen: bool,
    /// Seconds since 1970 (UTC).
    pub internal_date: i64,
    /// Octets of the whole message.
    pub size: u64,
    /// RFC 3501 §7.4.2.
    pub envelope: Option<Envelope>,
    /// RFC 3501 §7.4.2.
    pub structure: Option<BodyPart>,
    /// One for each wanted section, in order.
    pub sections: Vec<Body>,
}

/// The octets of a section, its partial range already applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is no such part.
    Nil,
    /// These.
    Inline(Bytes),
    /// These, sent by the driver without passing through the session.
    Blob {
        /// Of which blob.
        blob: BlobRef,
        /// Which octets.
        part: Range<u64>,
    },
}

/// RFC 3501 §7.4.2: raw header octets, unfolded, encoded words left as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `Date:`
    pub date: NString,
    /// `Subject:`
    pub subject: NString,
    /// `From:`
    pub from: Vec<Mailbox>,
    /// `Sender:`; empty: told as `from`.
    pub sender: Vec<Mailbox>,
    /// `Reply-To:`; empty: told as `from`.
    pub reply_to: Vec<Mailbox>,
    /// `To:`
    pub to: Vec<Mailbox>,
    /// `Cc:`
    pub cc: Vec<Mailbox>,
    /// `Bcc:`
    pub bcc: Vec<Mailbox>,
    /// `In-Reply-To:`
    pub in_reply_to: NString,
    /// `Message-ID:`
    pub message_id: NString,
}

/// One address of an envelope. A group begins with its name as `mailbox` and no `host`, and ends with neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// The display name.
    pub name: NString,
    /// Before the `@`.
    pub mailbox: NString,
    /// After it.
    pub host: NString,
}

/// RFC 3501 `body`: a MIME part and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyPart {
    /// `text`; ignored for a multipart.
    pub media_type: Bytes,
    /// `plain`, `mixed`.
    pub subtype: Bytes,
    /// Of Content-Type.
    pub parameters: Vec<(Bytes, Bytes)>,
    /// Content-ID.
    pub id: NString,
    /// Content-Description.
    pub description: NString,
    /// Content-Transfer-Encoding; empty: `7BIT`.
    pub encoding: Bytes,
    /// Octets as transferred.
    pub size: u64,
    /// Content-MD5.
    pub md5: NString,
    /// Content-Disposition and its parameters.
    pub disposition: Option<(Bytes, Vec<(Bytes, Bytes)>)>,
    /// Content-Language.
    pub language: Vec<Bytes>,
    /// Content-Location.
    pub location: NString,
    /// What it holds.
    pub kind: BodyKind,
}

/// What a part holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BodyKind {
    /// Neither of the others.
    #[default]
    Basic,
    /// `text/*`.
    Text {
        /// Lines of the body as transferred.
        lines: u64,
    },
    /// `message/rfc822`.
    Message {
        /// Its envelope.
        envelope: Box<Envelope>,
        /// Its body.
        body: Box<BodyPart>,
        /// Lines as transferred.
        lines: u64,
    },
    /// `multipart/*`.
    Multipart(Vec<BodyPart>),
}
