//! SASL, the server's side: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 and -PLUS (RFC 5802, 7677, 9266).
//!
//! One [`Exchange`] is one attempt, in either SMTP or IMAP; both wrap its octets in base64 themselves.

use crate::TlsFacts;
use aws_lc_rs::{constant_time, digest, hmac};
use base64::prelude::{BASE64_STANDARD, Engine};

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

impl Mechanism {
    const NAMES: [(Mechanism, &'static str); 4] = [
        (Mechanism::Plain, "PLAIN"),
        (Mechanism::Login, "LOGIN"),
        (Mechanism::ScramSha256, "SCRAM-SHA-256"),
        (Mechanism::ScramSha256Plus, "SCRAM-SHA-256-PLUS"),
    ];

    /// Its name in IANA's registry.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(this, _)| *this == self).map_or("", |(_, name)| name)
    }

    /// Reads a name, in any case.
    pub fn parse(name: &str) -> Option<Mechanism> {
        Self::NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(this, _)| *this)
    }

    /// Those of `configured` that this connection can do: -PLUS needs a channel binding.
    pub fn usable(configured: &[Mechanism], tls: Option<&TlsFacts>) -> Vec<Mechanism> {
        let bound = tls.is_some_and(|tls| tls.exporter.is_some() || tls.end_point.is_some());
        configured.iter().copied().filter(|this| bound || *this != Mechanism::ScramSha256Plus).collect()
    }
}

/// A server nonce (RFC 5802 §5.1) that nobody can guess who does not know the seed, and none like another.
pub fn nonce(seed: &[u8; 32], counter: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, seed);
    BASE64_STANDARD.encode(hmac::sign(&key, &counter.to_be_bytes()))
}

/// Octets of one response; none of ours needs more.
const RESPONSE_MOST: usize = 4096;

enum State {
    Plain,
    LoginUser,
    LoginPassword { user: String },
    ScramFirst,
    ScramVerifier { user: String, authorize: String, client_bare: String, client_nonce: String },
    ScramFinal(Box<Scram>),
    ScramDone { user: String, authorize: String },
    Over,
}

struct Scram {
    user: String,
    authorize: String,
    verifier: ScramVerifier,
    nonce: String,
    messages: String,
}

/// One attempt to log in.
pub struct Exchange {
    state: State,
    plus: bool,
    plus_offered: bool,
    exporter: Option<[u8; 32]>,
    end_point: Option<Vec<u8>>,
    nonce: String,
    gs2: String,
}

impl Exchange {
    /// Begins an attempt. `plus_offered`: whether the client was shown -PLUS; `nonce`: see [`nonce`].
    pub fn begin(mechanism: Mechanism, tls: Option<&TlsFacts>, plus_offered: bool, nonce: String) -> Exchange {
        Exchange {
            state: match mechanism {
                Mechanism::Plain => State::Plain,
                Mechanism::Login => State::LoginUser,
                Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => State::ScramFirst,
            },
            plus: mechanism == Mechanism::ScramSha256Plus,
            plus_offered,
            exporter: tls.and_then(|tls| tls.exporter),
            end_point: tls.and_then(|tls| tls.end_point.clone()),
            nonce,
            gs2: String::new(),
        }
    }

    /// The first challenge, where the client sent no initial response.
    pub fn start(&mut self) -> Turn {
        match self.state {
            State::LoginUser => Turn::Challenge(b"Username:".to_vec()),
            _ => Turn::Challenge(Vec::new()),
        }
    }

    /// The client's next response, the initial one too.
    pub fn response(&mut self, octets: &[u8]) -> Turn {
        let state = std::mem::replace(&mut self.state, State::Over);
        let text = std::str::from_utf8(octets).ok().filter(|text| text.len() <= RESPONSE_MOST);
        let Some(text) = text else { return Turn::Malformed };
        let turn = match state {
            State::Plain => plain(text),
            State::LoginUser => self.login_user(text),
            State::LoginPassword { user } => credentials(String::new(), user, text.to_owned()),
            State::ScramFirst => self.scram_first(text),
            State::ScramFinal(scram) => self.scram_final(*scram, text),
            State::ScramDone { user, authorize } if text.is_empty() => Some(Turn::Proved { user, authorize }),
            _ => None,
        };
        turn.unwrap_or(Turn::Malformed)
    }

    fn login_user(&mut self, user: &str) -> Option<Turn> {
        self.state = State::LoginPassword { user: user.to_owned() };
        Some(Turn::Challenge(b"Password:".to_vec()))
    }

    /// RFC 5802 §7: `client-first-message`.
    fn scram_first(&mut self, text: &str) -> Option<Turn> {
        let (flag, rest) = text.split_once(',')?;
        let (authorize, bare) = rest.split_once(',')?;
        let authorize = match authorize.strip_prefix("a=") {
            Some(name) => saslname(name)?,
            None if authorize.is_empty() => String::new(),
            None => return None,
        };
        match flag {
            "n" if !self.plus => {}
            // RFC 5802 §6: a client that could bind but saw no -PLUS, though we offered it, has been tampered with.
            "y" if !self.plus && !self.plus_offered => {}
            "p=tls-exporter" if self.plus && self.exporter.is_some() => {}
            "p=tls-server-end-point" if self.plus && self.end_point.is_some() => {}
            _ => return None,
        }
        self.gs2 = text.get(..text.len() - bare.len())?.to_owned();
        let mut fields = bare.split(',');
        let user = saslname(fields.next()?.strip_prefix("n=")?)?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        if user.is_empty() || nonce.is_empty() || !nonce.bytes().all(|octet| octet.is_ascii_graphic()) {
            return None;
        }
        self.state = State::ScramVerifier {
            user: user.clone(),
            authorize,
            client_bare: bare.to_owned(),
            client_nonce: nonce.to_owned(),
        };
        Some(Turn::Verifier { user })
    }

    /// The user's verifier, asked for by [`Turn::Verifier`].
    pub fn verifier(&mut self, verifier: ScramVerifier) -> Turn {
        let State::ScramVerifier { user, authorize, client_bare, client_nonce } =
            std::mem::replace(&mut self.state, State::Over)
        else {
            return Turn::Malformed;
        };
        let nonce = format!("{client_nonce}{}", self.nonce);
        let salt = BASE64_STANDARD.encode(&verifier.salt);
        let first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let messages = format!("{client_bare},{first}");
        self.state = State::ScramFinal(Box::new(Scram { user, authorize, verifier, nonce, messages }));
        Turn::Challenge(first.into_bytes())
    }

    /// RFC 5802 §3 and §7: `client-final-message`.
    fn scram_final(&mut self, scram: Scram, text: &str) -> Option<Turn> {
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut fields = without_proof.split(',');
        let binding = BASE64_STANDARD.decode(fields.next()?.strip_prefix("c=")?).ok()?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        let mut expected = self.gs2.clone().into_bytes();
        match self.gs2.split(',').next() {
            Some("p=tls-exporter") => expected.extend_from_slice(&self.exporter?),
            Some("p=tls-server-end-point") => expected.extend_from_slice(self.end_point.as_ref()?),
            _ => {}
        }
        let proof: [u8; 32] = BASE64_STANDARD.decode(proof).ok()?.try_into().ok()?;
        let auth = format!("{},{without_proof}", scram.messages);
        let signed = |key: &[u8; 32]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), auth.as_bytes());
        let mut client_key = proof;
        for (octet, mask) in client_key.iter_mut().zip(signed(&scram.verifier.stored_key).as_ref()) {
            *octet ^= mask;
        }
        let stored = digest::digest(&digest::SHA256, &client_key);
        let proved = constant_time::verify_slices_are_equal(stored.as_ref(), &scram.verifier.stored_key).is_ok();
        if !proved || nonce != scram.nonce || binding != expected {
            return Some(Turn::Refused { user: scram.user });
        }
        let signature = BASE64_STANDARD.encode(signed(&scram.verifier.server_key));
        self.state = State::ScramDone { user: scram.user, authorize: scram.authorize };
        Some(Turn::Challenge(format!("v={signature}").into_bytes()))
    }
}

/// RFC 4616 §2.
fn plain(text: &str) -> Option<Turn> {
    let mut fields = text.split('\0');
    let (authorize, user, password) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    credentials(authorize.to_owned(), user.to_owned(), password.to_owned())
}

fn credentials(authorize: String, user: String, password: String) -> Option<Turn> {
    let fits = !user.is_empty() && !password.is_empty() && !password.contains('\0') && !user.contains('\0');
    fits.then_some(Turn::Verify(Credentials { authorize, user, password }))
}

/// RFC 5802 §5.1: `=2C` is a comma and `=3D` an equals sign; no other `=` may stand.
fn saslname(text: &str) -> Option<String> {
    let plain = text.replace("=2C", ",").replace("=3D", "\u{0}");
    (!plain.contains('=') && !text.contains('\0')).then(|| plain.replace('\u{0}', "="))
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramVerifier { … }")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn challenge(turn: Turn) -> String {
        match turn {
            Turn::Challenge(octets) => String::from_utf8(octets).unwrap(),
            _ => panic!("no challenge"),
        }
    }

    fn rfc_7677() -> (Exchange, String) {
        let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
        let mut exchange = Exchange::begin(Mechanism::ScramSha256, None, false, nonce);
        let turn = exchange.response(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert!(matches!(turn, Turn::Verifier { user } if user == "user"));
        let key = |text: &str| BASE64_STANDARD.decode(text).unwrap();
        let first = challenge(exchange.verifier(ScramVerifier {
            iterations: 4096,
            salt: key("W22ZaJ0SNY7soEsUEjb6gQ=="),
            stored_key: key("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=").try_into().unwrap(),
            server_key: key("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=").try_into().unwrap(),
        }));
        (exchange, first)
    }

    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    #[test]
    fn scram_speaks_rfc_7677s_example() {
        let (mut exchange, first) = rfc_7677();
        assert_eq!(first, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = challenge(exchange.response(FINAL.as_bytes()));
        assert_eq!(last, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(matches!(exchange.response(b""), Turn::Proved { user, .. } if user == "user"));
    }

    #[test]
    fn a_wrong_proof_nonce_or_binding_is_refused() {
        for (from, to) in [("p=dHzb", "p=aHzb"), ("fuxFIlj)", "fuxFIlj("), ("c=biws", "c=eSws")] {
            let (mut exchange, _) = rfc_7677();
            assert!(matches!(exchange.response(FINAL.replace(from, to).as_bytes()), Turn::Refused { .. }));
        }
        let mut exchange = Exchange::begin(Mechanism::ScramSha256, None, true, "x".into());
        assert!(matches!(exchange.response(b"y,,n=user,r=abc"), Turn::Malformed));
    }

    #[test]
    fn plain_has_three_fields() {
        let verify = |octets: &[u8]| Exchange::begin(Mechanism::Plain, None, false, String::new()).response(octets);
        assert!(matches!(verify(b"\0ada\0pw"), Turn::Verify(c) if c.user == "ada" && c.password == "pw"));
        for wrong in [&b"ada\0pw"[..], b"\0ada\0pw\0", b"\0\0pw", b"\0ada\0", b"\xff\0a\0b", &[b'a'; 9000]] {
            assert!(matches!(verify(wrong), Turn::Malformed));
        }
    }
}
