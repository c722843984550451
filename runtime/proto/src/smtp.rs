//! SMTP (RFC 5321) and submission (RFC 6409), with PIPELINING, 8BITMIME, SMTPUTF8, SIZE, ENHANCEDSTATUSCODES,
//! CHUNKING, DSN, STARTTLS and AUTH.
//!
//! - [`types`]: paths, parameters, replies; [`parse`]: a command line to a [`parse::Command`];
//! - [`body`]: what follows DATA, undotted; [`ask`]: what a session asks its host; [`session`]: the server's side;
//! - [`client`]: what a client needs: replies read, commands written, octets dotted.
//!
//! Only CRLF ends a line. A bare CR or LF makes one server see two messages where another sees one (SMTP
//! smuggling): in a command it ends the session, in a message it refuses the message, and it is never mended.

pub mod ask;
pub mod body;
pub mod client;
pub mod parse;
pub mod session;
pub mod types;

use std::time::Duration;

/// Octets of a command line, CRLF included. RFC 5321 §4.5.3.1.4 asks for 512; extensions add more, SASL most.
pub const LINE_MOST: usize = 12_288;
/// Octets of a local part.
pub const LOCAL_MOST: usize = 64;
/// Octets of a domain.
pub const DOMAIN_MOST: usize = 255;
/// Octets of a line of a message, CRLF included. RFC 5321 §4.5.3.1.6 asks for 1,000; other servers send more.
pub const TEXT_LINE_MOST: usize = 64 << 10;
/// Octets of a message handed to the host at once.
pub const CHUNK: usize = 64 << 10;
/// Octets of input not yet looked at; a driver that steps after each read never comes near.
pub const UNREAD_MOST: usize = 256 << 10;
/// Replies of 5xx to commands before the session is ended.
pub const BAD_MOST: u32 = 20;
/// Failed logins before the session is ended.
pub const LOGINS_MOST: u32 = 5;
/// Transactions in one session.
pub const MESSAGES_MOST: u32 = 10_000;
/// Between two commands (RFC 5321 §4.5.3.2.7).
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Between two octets of a message (RFC 5321 §4.5.3.2.5).
pub const DATA_TIMEOUT: Duration = Duration::from_secs(3 * 60);
