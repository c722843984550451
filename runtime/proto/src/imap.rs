//! IMAP4rev1 (RFC 3501), the server's side, with what RFC 9051 took up of its extensions.
//!
//! - [`types`]: commands and what they name; [`facts`]: what the server knows of messages and mailboxes;
//! - [`read`], [`parse`], [`encode`], [`utf7`]: octets to types and back;
//! - [`ask`]: what a session asks its host, and what it is answered;
//! - [`reply`]: the other way round, what a server says as a client of ours reads it;
//! - [`session`], with [`view`] (the selected mailbox as the client numbers it) and [`list`] (LIST's rules).
//!
//! The session owns message sequence numbers; a host hears and speaks only of UIDs.

pub mod ask;
pub mod encode;
pub mod facts;
pub mod list;
pub mod parse;
pub mod read;
pub mod reply;
pub mod session;
pub mod types;
pub mod utf7;
pub mod view;

pub use ask::{Answer, Ask, Code, FlagRow};
pub use session::{Config, ImapSession};

use std::time::Duration;

/// Octets of one line of a command after login (RFC 7162 §4 asks for at least 8,192).
pub const MAX_LINE: usize = 64 * 1024;
/// Octets of one line or literal before login.
pub const MAX_LINE_BEFORE_LOGIN: usize = 8 * 1024;
/// Octets of one literal other than APPEND's message.
pub const MAX_LITERAL: usize = 64 * 1024;
/// Octets of one whole command, its literals (but APPEND's message) included.
pub const MAX_COMMAND: usize = 256 * 1024;
/// Octets of one whole command before login.
pub const MAX_COMMAND_BEFORE_LOGIN: usize = 16 * 1024;
/// Octets of input not yet looked at; more of them close the session.
pub const MAX_UNREAD: usize = 256 * 1024;
/// Octets of a non-synchronizing literal where `LITERAL-` is offered (RFC 7888 §5).
pub const MAX_LITERAL_MINUS: u64 = 4096;
/// Octets of a message handed to the host at once by [`Ask::AppendChunk`].
pub const APPEND_CHUNK: usize = 64 * 1024;
/// Levels of parentheses in one command.
pub const MAX_DEPTH: usize = 32;
/// Elements of one sequence set.
pub const MAX_SET: usize = 10_000;
/// Search keys in one SEARCH.
pub const MAX_SEARCH_KEYS: usize = 1_000;
/// Items or header names in one FETCH.
pub const MAX_FETCH_ITEMS: usize = 256;
/// Flags in one command.
pub const MAX_FLAGS: usize = 128;
/// Octets of one keyword.
pub const MAX_KEYWORD: usize = 128;
/// Keywords of a mailbox that a session tells its client of.
pub const MAX_KEYWORDS: usize = 1_000;
/// Patterns in one LIST.
pub const MAX_PATTERNS: usize = 16;
/// Octets of a mailbox name (UTF-8) or pattern.
pub const MAX_MAILBOX_NAME: usize = 1024;
/// Levels of a mailbox name.
pub const MAX_MAILBOX_LEVELS: usize = 32;
/// Levels of a body structure that are told; what lies deeper is shown as an opaque part.
pub const MAX_STRUCTURE_DEPTH: usize = 64;
/// Messages in one [`Ask::Fetch`].
pub const FETCH_PAGE: usize = 100;
/// Messages in one [`Ask::Store`].
pub const STORE_PAGE: usize = 1_000;
/// Commands that are no commands, after login, before the session says BYE.
pub const MAX_BAD: u32 = 10;
/// Commands that are no commands, or failed logins, before login, before the session says BYE.
pub const MAX_BAD_BEFORE_LOGIN: u32 = 5;
/// From the first octet to a login.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two octets of a client that logged in, IDLE included (RFC 3501 §5.4: at least 30 minutes).
pub const AUTOLOGOUT: Duration = Duration::from_secs(30 * 60);
