//! What a message means: parsed, authenticated, judged, signed, reported. Functions of their arguments; only
//! [`auth::Authenticator`] asks anybody, and that is DNS.
//!
//! - [`message`] – MIME structure as octet ranges, envelopes, header fields, texts to search;
//! - [`auth`] – SPF, DKIM, DMARC, ARC of a message that came in; [`policy`] – what follows from that;
//! - [`sign`] – DKIM keys and signatures; [`trace`] – the fields a server puts before a message;
//! - [`sieve`] – people's scripts: parsed and checked;
//! - [`report`] – what others report of mail in our name;
//! - [`compose`] – notifications and list fields; [`srs`] – return paths that others' SPF lets pass.

pub mod auth;
pub mod compose;
pub mod message;
pub mod policy;
pub mod report;
pub mod sieve;
pub mod sign;
pub mod srs;
pub mod trace;
