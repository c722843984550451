//! What a session asks its host, and what it is answered.

use super::types::{MailParams, Path, RcptParams, Reply};
use crate::TlsFacts;
use crate::sasl::{Credentials, ScramVerifier};
use bytes::Bytes;

/// A question. [`Answer::Refuse`] answers any of the first five.
#[derive(Debug)]
pub enum Ask {
    /// May a transaction begin? [`Answer::Go`].
    Mail(Box<MailAsk>),
    /// May this be a recipient? [`Answer::Go`].
    Recipient {
        /// The forward path, never null.
        path: Path,
        /// Its parameters.
        params: RcptParams,
    },
    /// The message follows. [`Answer::Go`].
    BodyStart,
    /// Its next octets, undotted. [`Answer::Go`]; after a refusal the rest is read and dropped.
    Body(Bytes),
    /// That was all. [`Answer::Accepted`].
    BodyEnd,
    /// The transaction ended without a message. [`Answer::Go`].
    Reset,
    /// Are these right? [`Answer::LoggedIn`] or [`Answer::Refuse`].
    Login(Credentials),
    /// For an unknown user a false one. [`Answer::Verifier`].
    Verifier {
        /// Whose.
        user: String,
    },
    /// SCRAM proved `user`; may it act as `authorize`? [`Answer::LoggedIn`] or [`Answer::Refuse`].
    Proved {
        /// Who proved.
        user: String,
        /// Whom to act as; empty: the same.
        authorize: String,
    },
    /// SCRAM failed: count it. [`Answer::Go`]; the client is refused whatever is answered.
    LoginRefused {
        /// Whose login failed.
        user: String,
    },
}

/// A transaction's beginning, and who begins it.
#[derive(Clone, Debug)]
pub struct MailAsk {
    /// The reverse path.
    pub from: Path,
    /// Its parameters.
    pub params: MailParams,
    /// What the client calls itself.
    pub helo: String,
    /// Whether it said EHLO.
    pub esmtp: bool,
    /// What protects the connection.
    pub tls: Option<TlsFacts>,
    /// Who logged in.
    pub user: Option<String>,
}

/// What came of an [`Ask`], or news.
#[derive(Debug)]
pub enum Answer {
    /// Yes.
    Go,
    /// No; 421 ends the session too.
    Refuse(Reply),
    /// The message is the server's now; the text after `250 `.
    Accepted(String),
    /// The login holds.
    LoggedIn {
        /// As whom.
        user: String,
    },
    /// See [`Ask::Verifier`].
    Verifier(ScramVerifier),
    /// News: say 421 and close, after what is under way.
    Shutdown,
    /// News: the same, since the account is gone.
    Gone,
}
