//! The mail server: sockets, clock and snapshot around sessions that own none of them.
//!
//! - [`run`] – a server's life; [`server`] – what its parts share; `main.rs` – the command line;
//! - [`watch`] – where configuration comes from; [`snapshot`] – one configuration, opened and checked; the
//!   one mutable cell is [`snapshot::Live`];
//! - [`listen`] → [`drive`] → a session of `proto` → its host: [`smtp`], [`imap`]; [`http`] stands beside;
//! - [`login`], [`tls`], [`secrets`] – who may, and under which key; [`leave`] – who may no longer;
//! - [`queue`] runs attempts: [`route`] says where to, [`deliver`] puts into mailboxes, [`relay`] hands to
//!   other servers found by [`resolver`];
//! - [`drift`] has the compiler look whether DNS still shows what the spec says;
//! - [`indexer`] has the full-text index follow the mailboxes; [`janitor`], [`metrics`], [`clock`];
//! - commands that work on the mail beside serving ([`aside`]): [`counts`], [`export`], [`import`] ([`folders`]),
//!   [`fsck`].
//!
//! A message comes in by `smtp` (checked by `mail`, accepted by `store::spool`, whose receipt is what makes
//! the `250`), leaves the spool by `queue`, and goes out by `imap`.

pub mod aside;
pub mod clock;
pub mod counts;
pub mod deliver;
pub mod drift;
pub mod drive;
pub mod export;
pub mod folders;
pub mod fsck;
pub mod http;
pub mod imap;
pub mod import;
pub mod indexer;
pub mod janitor;
pub mod leave;
pub mod listen;
pub mod login;
pub mod metrics;
pub mod migrate;
pub mod queue;
pub mod relay;
pub mod resolver;
pub mod route;
pub mod run;
pub mod secrets;
pub mod server;
pub mod smtp;
pub mod snapshot;
pub mod tls;
pub mod watch;
