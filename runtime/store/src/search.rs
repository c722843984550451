//! The full-text index: which messages hold these words.
//!
//! [`analyse`] alone knows what a word is and what a question means, so that every backend gives the same answers; the
//! table of [`crate::conformance::SEARCH`] says which. [`message`] reads a message's fields.
//!
//! # Two kinds of question
//! [`How::Words`] is what JMAP's `text`, `body` and their like ask (RFC 8621 §4.4.1), and IMAP's FUZZY (RFC 6203):
//! words in whatever form, in any order, and between quotes words one after the other as they are written. The answer
//! is final: the index keeps where words stand, so nobody has to look at the messages.
//!
//! [`How::Part`] is for what IMAP's SEARCH asks (RFC 9051 §6.4.4): messages with this text in them, wherever a word
//! begins. The answer is every message that may have it, and few others: words that lie whole within the text are
//! looked up, those that it cuts are looked for in the account's vocabulary. What the text has between its words only the
//! message tells, so the caller looks at those found, unless the text is a word or a part of one ([`analyse::decides`]). A
//! message that is not indexed whole is always among them.
//!
//! # Behind the mailboxes
//! The index lags behind the mailboxes, which [`indexer`] has it follow, and can always be built anew from them. It may tell
//! of messages that are gone; callers check what it finds against the mailbox. What is not indexed yet
//! ([`indexer::Indexer::seen`]) callers look at themselves, by [`analyse::holds`] or by the text.

use crate::error::StoreError;
use async_trait::async_trait;
use schema::name::Address;

pub mod analyse;
pub mod elastic;
pub mod indexer;
pub mod kv;
pub mod message;

/// The longest word, in octets when folded; longer ones are cut.
pub const WORD_MOST: usize = 64;
/// The most different words and stems of a document, over all its fields; later ones are not indexed.
pub const WORDS_MOST: usize = 8_000;
/// The most words of a document, each time it stands there; later ones are not indexed. The places of one word, an octet
/// or two each, fit [`crate::kv::VALUE_MOST`].
pub const TOKENS_MOST: usize = 40_000;
/// The most clauses of a query; later ones are ignored, so that more is found than was asked for.
pub const TERMS_MOST: usize = 32;
/// The most words of a phrase; later ones are ignored.
pub const PHRASE_MOST: usize = 32;
/// The most documents that one clause of a query may match; one that matches more narrows nothing, and where no other
/// does, the query is [`Found::TooMany`].
pub const MATCHES_MOST: usize = 1_000_000;
/// The most words of an account's vocabulary that a part of a word may be in; one that is in more narrows nothing.
pub const EXPANSIONS_MOST: usize = 2_000;
/// The most words of an account's vocabulary that are looked through.
pub const VOCABULARY_MOST: usize = 4_000_000;

/// A message of an account. The number is its mailbox's number (the upper 32 bits) and its UID.
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
    /// The authors, names and addresses.
    From,
    /// The recipients.
    To,
    /// The recipients of copies.
    Cc,
    /// The recipients of copies that nobody else sees.
    Bcc,
    /// Other fields of the header that people read, and the names of what is attached.
    Header,
    /// The text of the body.
    Body,
    /// The text of what is attached.
    Attachment,
}

impl Field {
    /// Every field.
    pub const ALL: [Field; 8] =
        [Field::Subject, Field::From, Field::To, Field::Cc, Field::Bcc, Field::Header, Field::Body, Field::Attachment];

    /// Its name, as tables and servers write it.
    pub fn name(self) -> &'static str {
        match self {
            Field::Subject => "subject",
            Field::From => "from",
            Field::To => "to",
            Field::Cc => "cc",
            Field::Bcc => "bcc",
            Field::Header => "header",
            Field::Body => "body",
            Field::Attachment => "attachment",
        }
    }
}

/// What of a message is indexed. Indexing a message again replaces what was known of it.
#[derive(Clone, Debug)]
pub struct Document {
    /// Which message.
    pub id: DocumentId,
    /// Its texts; a field may come more than once.
    pub texts: Vec<(Field, String)>,
    /// The texts are all that the message has.
    pub whole: bool,
}

/// What is meant by a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its words, in any form and order; what stands in quotes or without spaces, as it stands there.
    Words,
    /// Messages that may hold this text anywhere, within words too.
    Part,
}

/// A text to look for.
#[derive(Clone, Debug)]
pub struct Term {
    /// In one of these fields; none: in any. [`How::Words`] may find one word here and another there.
    pub fields: Vec<Field>,
    /// The text.
    pub text: String,
}

/// A question about one account's messages.
#[derive(Clone, Debug)]
pub struct Query {
    /// Whose messages.
    pub account: Address,
    /// All of these must be there.
    pub terms: Vec<Term>,
    /// What is meant by them.
    pub how: How,
    /// At most so many messages.
    pub most: usize,
}

/// What a query found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These messages, by ascending number.
    Messages(Vec<u64>),
    /// Whatever holds all that was asked for is among these: a part of the question is everywhere, and was left out.
    Among(Vec<u64>),
    /// The index does not help: the query has no word, or its words are everywhere. Look at the messages.
    TooMany,
}

/// A full-text index.
#[async_trait]
pub trait Search: Send + Sync + 'static {
    /// Adds or replaces documents; once it returns they are found. Give it some dozens or hundreds at once.
    async fn index(&self, documents: &[Document]) -> Result<(), StoreError>;
    /// The documents that hold what is asked for.
    async fn find(&self, query: &Query) -> Result<Found, StoreError>;
    /// Every message that is indexed, ascending; `None` where they are too many.
    async fn messages(&self, account: &Address) -> Result<Option<Vec<u64>>, StoreError>;
    /// The messages that are not indexed whole, ascending; `None` where they are too many. The others that [`How::Part`]
    /// finds need not be looked at where [`analyse::decides`] says so of the text.
    async fn cut(&self, account: &Address) -> Result<Option<Vec<u64>>, StoreError>;
    /// Removes documents, which need not be there.
    async fn forget(&self, ids: &[DocumentId]) -> Result<(), StoreError>;
    /// Removes all of an account, whatever state its index is in.
    async fn clear(&self, account: &Address) -> Result<(), StoreError>;
}
