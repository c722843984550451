//! The compiler: a spec of KDL files is read, resolved, checked and emitted as one runtime configuration and its zones.
//!
//! ```text
//! files ─ read ─▶ Spec ─ resolve ─▶ Resolved ─ emit ─▶ Artefacts { runtime.json, zones }
//!          │        │                 │
//!          └────────┴──── Report ─────┘   every finding with its code; locate says where it was written
//! ```
//!
//! - [`read`] turns files into a tree ([`read::tree`]), and the tree into [`schema::spec::Spec`] along the grammar
//!   that the schema is ([`read::grammar`]). A new field of the language needs no code there.
//! - [`environment`] lays an overlay over a spec, and shows what came of it.
//! - [`resolve`] binds names, fills in defaults, and holds everything against everything else.
//! - [`emit`] makes records and the runtime configuration.
//! - [`lint`] proves what no part can see by itself; what DNS outside the spec said, it has from [`lock`],
//!   which [`resolver`] asks for. [`sound`] keeps it from echoing errors told already; [`allowance`] weighs all findings
//!   by what the spec says of them.
//! - [`diagnostic`] tells people and programs what was found; [`code`] is the list of all that can be, each with its
//!   page in `docs/codes`; [`reference`] writes `docs/reference.md` from the schema.
//! - [`fix`] mends what is clear; [`format`] lays files out, and [`upgrade`] brings them to the spellings of today.
//! - [`diff`] says what a change of the spec means, [`graph`] draws what the spec is, [`explain`] says why a record is.
//! - [`plan`] holds what was applied, what is live and what is wanted against each other; [`apply`] reads and writes zones
//!   through [`provider`]s, keeps what it did in [`state`], and does nothing that [`safety`] finds harmful.
//! - [`transition`] lets keys, policies and MX change step by step, as far as [`authority`] – every name server of a zone,
//!   asked by itself – shows the last one; [`keys`] edits the keys of a spec.
//! - [`verify`] looks at what the world sees, over [`tls`] and DNS, and holds it against the spec. [`aws`] signs what
//!   Amazon's services are asked.
//! - [`secrets`] finds the secrets of a spec, and opens and seals them where a command asks for that.
//! - [`init`] writes a first spec, [`import`] one from what runs today; [`lsp`] serves editors.
//!
//! [`pipeline`] puts the steps in a row.

pub mod allowance;
pub mod apply;
pub mod authority;
pub mod aws;
pub mod code;
pub mod diagnostic;
pub mod diff;
pub mod emit;
pub mod environment;
pub mod explain;
pub mod fix;
pub mod format;
pub mod graph;
pub mod import;
pub mod init;
pub mod keys;
pub mod lint;
pub mod locate;
pub mod lock;
pub mod lsp;
pub mod pipeline;
pub mod plan;
pub mod provider;
pub mod read;
pub mod reference;
pub mod resolve;
pub mod resolver;
pub mod revision;
pub mod safety;
pub mod secrets;
pub mod sound;
pub mod state;
pub mod tls;
pub mod transition;
pub mod upgrade;
pub mod verify;
pub mod write;
pub mod zone;
