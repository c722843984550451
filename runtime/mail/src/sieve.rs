//! Sieve (RFC 5228) and its extensions: scripts become a tree, and the tree is held against what each command and
//! test takes, before any message comes.
//!
//! - [`tree`] – what a script is; an interpreter walks the same; [`print`] writes it in one canonical form;
//! - [`parse`] – the grammar of RFC 5228 §8, which knows no command by name;
//! - [`table`] – every command and test: its arguments, its capability, its section; a new one is an entry there;
//! - [`check()`] – a script against the table; [`value`], [`pattern`] and [`variable`] know the forms of strings;
//! - [`capability`] – what a script may `require`.

pub mod capability;
mod check;
mod flow;
pub mod parse;
pub mod pattern;
pub mod print;
pub mod problem;
pub mod table;
#[cfg(test)]
mod tests;
mod token;
pub mod tree;
pub mod value;
pub mod variable;

pub use capability::{Capabilities, Capability};
pub use parse::parse;
pub use problem::{Kind, Problem};

use problem::Problems;

/// Octets of a script.
pub const SCRIPT_MOST: usize = 1 << 20;
/// How deep blocks and tests may nest together. RFC 5228 §2.10.5 asks for 15 of each.
pub const NESTING_MOST: usize = 32;
/// Strings in one list.
pub const LIST_MOST: usize = 10_000;
/// Problems that are told; after them checking ends.
pub const PROBLEMS_MOST: usize = 100;
/// Octets of a mailbox's name, a script's or a variable's; RFC 5229 §6 asks for 32.
pub const NAME_MOST: usize = 512;
/// The highest match variable, `${9}` (RFC 5229 §3.2).
pub const MATCH_VARIABLE_MOST: u64 = 9;

/// Everything that is wrong with a script where a server offers these capabilities, in the script's order; at most
/// [`PROBLEMS_MOST`]. A script without problems that are errors can be run.
pub fn check(script: &str, offered: &Capabilities) -> Vec<Problem> {
    let mut problems = Problems::new();
    let tree = parse::into_tree(script, &mut problems);
    check::check(&tree, offered, &mut problems);
    problems.sorted()
}
