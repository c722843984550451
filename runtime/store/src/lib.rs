//! What survives a restart.
//!
//! Four kinds of store stand below, each a small trait with a conformance suite that says what it means:
//!
//! - [`kv`] – ordered keys and atomic, conditional batches; everything else can lie in one of these;
//! - [`blob`] – large objects named by their content; [`search`] – the full-text index; [`lookup`] – counters,
//!   facts and leases.
//!
//! Above stand [`mailbox`], [`spool`] and [`directory::people`], and nobody else writes keys, whose layout [`keys`] alone
//! knows. [`held`] has the octets of large messages while they are worked on.
//! [`directory`] says who people are; [`password`] checks what they prove it by. [`open`] turns a configuration
//! into open stores, [`migrate`] moves what is in one into another, and [`check`] says whether it fits together.
//!
//! No clock is read here: time is an argument, in seconds since 1970. Nothing blocks an async worker: a backend
//! brings its own threads.

pub mod blob;
pub mod check;
pub mod conformance;
pub mod directory;
pub mod error;
pub mod held;
pub mod keys;
pub mod kv;
pub mod lookup;
pub mod mailbox;
pub mod migrate;
pub mod open;
pub mod password;
pub mod row;
pub mod search;
pub mod spool;
