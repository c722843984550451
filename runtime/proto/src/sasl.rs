//! SASL, the server's side: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 and -PLUS (RFC 5802, 7677, 9266).
//!
//! One [`Exchange`] is one attempt, in either SMTP or IMAP; both wrap its octets in base64 themselves.

/// A mechanism that we can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// draft-murchison-sasl-login, for old clients.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677 with channel binding.
    ScramSha256Plus,
}

/// What a client claims and shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Whom to act as; empty: the same as `user`.
    pub authorize: String,
    /// Who proves.
    pub user: String,
    /// The password in clear; never logged.
    pub password: String,
}

/// What a SCRAM server keeps in place of a password (RFC 5802 §3).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Iteration count, at least 4096.
    pub iterations: u32,
    /// The salt, raw.
    pub salt: Vec<u8>,
    /// `H(ClientKey)`.
    pub stored_key: [u8; 32],
    /// `ServerKey`.
    pub server_key: [u8; 32],
}

/// What an exchange needs next.
pub enum Turn {
    /// Send these octets to the client (base64 is the caller's) and pass its response to [`Exchange::response`].
    Challenge(Vec<u8>),
    /// Ask the server whether these are right; the exchange is over.
    Verify(Credentials),
    /// Ask the server for this user's verifier (for an unknown user: a false one), then call [`Exchange::verifier`].
    Verifier {
        /// Whose.
        user: String,
    },
    /// SCRAM proved `user`, who wants to act as `authorize`; nothing is left to say.
    Proved {
        /// Who proved.
        user: String,
        /// Whom to act as; empty: the same.
        authorize: String,
    },
    /// The client's proof was wrong: counts as a failed login of this user.
    Refused {
        /// Whose login failed, where it was said.
        user: String,
    },
    /// The client's octets were not of the mechanism's form.
    Malformed,
}

// TO BE IMPLEMENTED (smtp helper):
// impl Mechanism { pub fn name(self) -> &'static str; pub fn parse(&str) -> Option<Mechanism> }
// pub struct Exchange { .. }
// impl Exchange {
//     /// `nonce`: server nonce of at least 18 random octets, given by the session (an argument of the session's constructor: a `Box<dyn FnMut() -> [u8; 24] + Send>`-like source is not wanted: sessions take a `[u8; 32]` seed at construction and derive nonces from HMAC(seed, counter)).
//     pub fn begin(mechanism: Mechanism, tls: Option<&TlsFacts>, plus_offered: bool, nonce: String) -> Exchange;
//     /// The client's initial or next response. An empty-initial-response mechanism is started with `start()`.
//     pub fn start(&mut self) -> Turn;               // no initial response was given
//     pub fn response(&mut self, octets: &[u8]) -> Turn;
//     pub fn verifier(&mut self, verifier: ScramVerifier) -> Turn;
// }
