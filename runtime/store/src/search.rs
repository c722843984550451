//! The full-text index: which messages hold these words.
//!
//! The index may lag behind the mailboxes and can always be built anew from them, so callers check what it finds
//! against the mailbox before they show it.

use crate::error::StoreError;
use async_trait::async_trait;
use schema::name::Address;

pub mod kv;

/// The longest word, in octets; longer ones are cut.
pub const WORD_MOST: usize = 64;
/// The most different words of a document, over all its fields; later ones are not indexed. An index in a database
/// may take fewer where addresses are very long.
pub const WORDS_MOST: usize = 8_000;
/// The most words of a query; later ones are ignored, so that more is found than was asked for.
pub const TERMS_MOST: usize = 32;
/// The most documents that one word of a query may match; where it is exceeded the query is
/// [`Found::TooMany`].
pub const MATCHES_MOST: usize = 200_000;

/// A message of an account. The number is the account's own, the same in every mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentId {
    /// Whose message.
    pub account: Address,
    /// Which one.
    pub message: u64,
}

/// A part of a message that can be searched alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The subject.
    Subject,
    /// The authors.
    From,
    /// The recipients, copies included.
    To,
    /// The text of the body and of what is attached.
    Body,
}

impl Field {
    /// Every field.
    pub const ALL: [Field; 4] = [Field::Subject, Field::From, Field::To, Field::Body];
}

/// What of a message is indexed. Indexing a message again replaces what was known of it.
#[derive(Clone, Debug)]
pub struct Document {
    /// Which message.
    pub id: DocumentId,
    /// Its texts; a field may come more than once.
    pub texts: Vec<(Field, String)>,
}

/// A question about one account's messages.
#[derive(Clone, Debug)]
pub struct Query {
    /// Whose messages.
    pub account: Address,
    /// Each of these texts' words must be there, in this field or (`None`) in any.
    pub terms: Vec<(Option<Field>, String)>,
    /// At most so many messages.
    pub most: usize,
}

/// What a query found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These messages, by ascending number.
    Messages(Vec<u64>),
    /// The index does not help: the query has no word, or its words are everywhere. Look at the messages.
    TooMany,
}

/// A full-text index.
#[async_trait]
pub trait Search: Send + Sync + 'static {
    /// Adds or replaces documents.
    async fn index(&self, documents: &[Document]) -> Result<(), StoreError>;
    /// The documents that hold every word.
    async fn find(&self, query: &Query) -> Result<Found, StoreError>;
    /// Removes documents, which need not be there.
    async fn forget(&self, ids: &[DocumentId]) -> Result<(), StoreError>;
}

/// The words of a text: runs of letters and digits, in lower case, cut at [`WORD_MOST`].
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(|word| {
        let mut word = word.to_lowercase();
        word.truncate(word.floor_char_boundary(WORD_MOST));
        word
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_readers_call_words() {
        let cases = [
            ("Re: [List] Grüße, ÄRGER!", &["re", "list", "grüße", "ärger"][..]),
            ("ada@example.org 3.14", &["ada", "example", "org", "3", "14"]),
            ("  \r\n…", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text}");
        }
        assert_eq!(words(&"ß".repeat(100)).map(|word| word.len()).collect::<Vec<_>>(), [WORD_MOST]);
    }
}
