//! The vocabulary of Waybill: what an operator may write, and what the server loads.
//!
//! - [`name`] – domain names, addresses, references to secrets;
//! - [`unit`] – sizes, periods, rates;
//! - [`form`] – networks, URLs, files, patterns;
//! - [`spec`] – [`spec::Spec`], one struct per KDL node, as written: names not yet bound, defaults not yet filled;
//! - [`config`] – [`config::RuntimeConfig`], the compiler's artefact: every name bound, every default present.
//!
//! The two meet only in the compiler. Nothing here does I/O or reads a clock, and both types describe
//! themselves as JSON Schema (`waybill schema spec|runtime`).
//!
//! ## How KDL becomes [`spec::Spec`]
//!
//! The schema of `Spec` is also the grammar of the language: the reader walks it and needs no code per node.
//! A field's place in KDL is told by the schema's keyword `x-kdl`:
//!
//! | `x-kdl` | the field is |
//! |---|---|
//! | (none) | child nodes of the field's name; an array may repeat; a scalar is a node with one argument; a boolean is a bare node |
//! | `argument` | the node's next argument |
//! | `arguments` | all of the node's remaining arguments |
//! | `property` | a `name=value` of the node |
//! | `sequence` | child nodes of several names whose order matters, each an object of one key |
//!
//! A value's type annotation becomes an object of one key: `(env)"X"` is `{"env": "X"}`.
//! `x-unserved` marks what this version's server does not serve yet, and says what in a phrase; what stands inside needs
//! no mark of its own. `x-formerly` lists older spellings of a field's name, and until when each is taken.
//!
//! Every description says what the field means, and then `Left out: …`, its default and where that comes from.

pub mod config;
pub mod form;
pub mod name;
pub mod spec;
pub mod unit;
