//! Who people are: whom an address belongs to, and whether somebody is who it says.

use schema::config::List;
use schema::name::Address;
use std::sync::Arc;

pub mod internal;

/// What an address stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A person's mailbox.
    Account {
        /// Whose.
        account: Address,
        /// What stood behind the `+` (RFC 5233), where it did not matter.
        detail: Option<String>,
    },
    /// Several people, who each get a copy.
    Group {
        /// The group.
        address: Address,
        /// Whose mail it is; may name groups again.
        members: Vec<Address>,
    },
    /// A mailing list.
    List(Arc<List>),
}
