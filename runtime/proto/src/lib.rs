//! Wire types, codecs and session machines, without I/O.
//!
//! A protocol is written as three layers, the same file names in each folder:
//!
//! - `types` – what the RFC names: commands, replies, responses;
//! - `codec` – bytes to types and back, incremental, with a limit on everything it buffers;
//! - `session` – a machine that takes [`Event`]s and gives [`Step`]s.
//!
//! A session owns no socket, no clock, no store. It *asks* and whoever drives it answers: the server's
//! `drive.rs` over TCP, a dialog file in the tests. So every reply, timeout and byte split can be tested
//! without a network, and a session cannot be wrong about the world, since it has none.
//!
//! This crate imports nothing of ours. A wire address (`smtp::types::Path`: quoted local parts, address
//! literals, the null path) is not a configured address; only the server converts.

pub mod imap;
pub mod sasl;
pub mod smtp;

use bytes::Bytes;
use std::ops::Range;
use std::time::Instant;

/// A protocol as a state machine.
///
/// Contract with the driver:
///
/// 1. Call [`Session::step`] until it returns [`Step::Wait`] or [`Step::Close`]; do what each step says, in order.
/// 2. After [`Step::Ask`], feed exactly one [`Event::Answer`] before the next `step`.
/// 3. After [`Step::StartTls`], flush what was written, do the handshake, feed one [`Event::Tls`].
/// 4. After [`Step::Wait`], feed whatever happens first: bytes, end of file, news, or nothing but a later `now`.
///
/// A session buffers at most its documented limit of unread input, so a driver reads no more than
/// 64 KiB at a time and steps in between.
pub trait Session {
    /// What the session wants to know or have done.
    type Ask;
    /// What came of it, or what happened meanwhile ([`Event::News`]).
    type Answer;
    /// Tells the session that something happened.
    fn event(&mut self, event: Event<'_, Self::Answer>);
    /// Says what to do next. `now` only ever grows.
    fn step(&mut self, now: Instant) -> Step<Self::Ask>;
}

/// Something that happened outside the session.
#[derive(Debug)]
pub enum Event<'a, A> {
    /// The peer sent these octets.
    Bytes(&'a [u8]),
    /// The peer will send nothing more.
    Eof,
    /// A TLS handshake is complete; everything after it is protected.
    Tls(TlsFacts),
    /// The reply to the last [`Step::Ask`].
    Answer(A),
    /// Something the session did not ask for: new mail while idle, a shutdown.
    News(A),
}

/// What the driver has to do next.
#[derive(Debug)]
pub enum Step<A> {
    /// Nothing to do until something happens, or until this instant, at which the session wants to be stepped.
    Wait {
        /// When to step again although nothing happened.
        until: Instant,
    },
    /// Send these octets. The driver may hold them back until the next `Wait`, `StartTls`, `Deflate` or `Close`.
    Write(Bytes),
    /// Send this part of a stored blob, without passing it through the session.
    CopyBody {
        /// Which blob.
        blob: BlobRef,
        /// Which octets of it; the driver sends exactly so many.
        part: Range<u64>,
    },
    /// Find out or do this, then feed [`Event::Answer`].
    Ask(A),
    /// Start TLS as the server, then feed [`Event::Tls`].
    StartTls,
    /// Start RFC 4978 compression in both directions.
    Deflate,
    /// Flush and close the connection.
    Close,
}

/// A stored blob's name as the session passes it on; its meaning is the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobRef(pub [u8; 32]);

/// What a session may know of the TLS that protects it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// As RFC 8314 §4.3 wants it in `Received`: `TLS1.3`.
    pub version: &'static str,
    /// The cipher suite's IANA name, `TLS_AES_128_GCM_SHA256`.
    pub cipher: String,
    /// The name that the client asked for by SNI.
    pub server_name: Option<String>,
    /// `tls-exporter` channel binding (RFC 9266), of TLS 1.3 connections.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point` channel binding (RFC 5929 §4): the digest of our certificate.
    pub end_point: Option<Vec<u8>>,
}
