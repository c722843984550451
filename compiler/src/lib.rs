//! The compiler: a spec of KDL files is read, resolved, linted and emitted as one runtime configuration and its zones.

pub mod code;
pub mod diagnostic;
pub mod emit;
pub mod locate;
pub mod read;
pub mod resolve;
pub mod zone;
