//! A domain's signing keys, and what their records hold.

use super::domains::Binding;
use crate::code::Code;
use crate::diagnostic::Path;
use base64::prelude::{BASE64_STANDARD, Engine};
use schema::name::SecretRef;
use schema::spec::{self, DkimAlgorithm};
use std::collections::HashMap;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;

/// A DKIM key with its public part.
#[derive(Clone, Debug)]
pub struct Dkim {
    /// The selector.
    pub selector: String,
    /// The algorithm.
    pub algorithm: DkimAlgorithm,
    /// The value of `p=`.
    pub public: String,
    /// Where the private key is; a key that signs has one, and one that goes signs until the next one can.
    pub private: Option<SecretRef>,
    /// Whether mail is signed with it.
    pub state: KeyState,
    /// `t=y`
    pub testing: bool,
    /// Where it was written.
    pub at: Path,
}

/// What a DKIM key is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Mail is signed with it.
    Signing,
    /// It is published, and signs as soon as the world sees it.
    Next,
    /// It is published for signatures under way.
    Retiring,
    /// Its record says that it holds no longer.
    Revoked,
}

/// Keys that were looked at already, by where they stand: domains that are like each other share them.
pub type Keys = HashMap<Path, Vec<Dkim>>;

impl Binding<'_, '_> {
    /// Every key that can be published, sorted by selector.
    pub(super) fn dkim(&mut self, keys: &mut Keys) -> Vec<Dkim> {
        let said = self.around.layers.said(self.of, "dkim", |d| d.dkim.as_ref(), |d| d.dkim.as_ref());
        if said.as_ref().is_none_or(|(dkim, _)| dkim.key.is_empty()) {
            let says = format!("mail from `{}` is not signed: it has no DKIM key", self.spec().name);
            let help =
                "write `dkim { key \"SELECTOR\" ed25519 public=\"…\" private=(file)\"…\"; }`, and an rsa key beside it";
            self.report.find(Code::NoDkim, self.at.field("name"), says).help(help);
        }
        // Keys that sign no more are published all the same.
        let Some((dkim, at)) = said else { return Vec::new() };
        self.selectors(dkim, &at);
        if let Some(known) = keys.get(&at) {
            return known.clone();
        }
        let mut selectors: HashMap<String, Path> = HashMap::new();
        let mut made = Vec::new();
        for (n, key) in dkim.key.iter().enumerate() {
            let at = at.field("key").item(n);
            if self.selector(&key.selector, &at.field("selector"), &mut selectors)
                && let Some(public) = self.public(key, &at)
            {
                made.push(Dkim {
                    selector: key.selector.to_ascii_lowercase(),
                    algorithm: key.algorithm,
                    public,
                    private: Some(key.private.clone()),
                    state: KeyState::Signing,
                    testing: key.testing.unwrap_or(false),
                    at,
                });
            }
        }
        let signing = made.len();
        self.published(dkim, &at, &mut selectors, &mut made);
        if signing > 0 && made.iter().take(signing).all(|key| key.algorithm == DkimAlgorithm::Ed25519) {
            self.report
                .find(Code::OnlyEd25519, at.clone(), "there is no rsa key, so many receivers see no signature")
                .help("write an rsa key beside it");
        }
        made.sort_by(|a, b| a.selector.cmp(&b.selector));
        keys.insert(at, made.clone());
        made
    }

    /// Keys that are published, and sign nothing.
    fn published(&mut self, dkim: &spec::Dkim, at: &Path, selectors: &mut HashMap<String, Path>, made: &mut Vec<Dkim>) {
        let bare = |selector: &str, (algorithm, private), public, state, at| Dkim {
            selector: selector.to_ascii_lowercase(),
            algorithm,
            public,
            private,
            state,
            testing: false,
            at,
        };
        for (n, key) in dkim.retiring.iter().enumerate() {
            let at = at.field("retiring").item(n);
            if self.selector(&key.selector, &at.field("selector"), selectors)
                && let Some(public) = self.sound(key.algorithm, squeezed(&key.public), at.field("public"))
            {
                made.push(bare(&key.selector, (key.algorithm, key.private.clone()), public, KeyState::Retiring, at));
            }
        }
        for (n, selector) in dkim.revoked.iter().enumerate() {
            let at = at.field("revoked").item(n);
            if self.selector(selector, &at, selectors) {
                made.push(bare(selector, (DkimAlgorithm::Rsa, None), String::new(), KeyState::Revoked, at));
            }
        }
    }

    /// Whether a selector can be one, and is taken the first time.
    fn selector(&mut self, selector: &str, at: &Path, known: &mut HashMap<String, Path>) -> bool {
        if let Some(first) = known.insert(selector.to_ascii_lowercase(), at.clone()) {
            // RFC 1035 §2.3.3: names are the same in any case.
            let says = format!("the selector `{selector}` is used twice");
            let found = self.report.find(Code::SelectorTwice, at.clone(), says).also(first, "first used here");
            found.help("a new key takes a new selector, as receivers may have the old key's record for a day");
        }
        if let Some(why) = misshapen(selector) {
            let says = format!("`{}` is no selector: {why}", selector.escape_debug());
            self.report.find(Code::SelectorForm, at.clone(), says);
            return false;
        }
        true
    }

    /// That each key's record has a name which can be; that depends on the domain, even where keys are shared.
    fn selectors(&mut self, dkim: &spec::Dkim, at: &Path) {
        let keys =
            dkim.key.iter().enumerate().map(|(n, key)| (&key.selector, at.field("key").item(n).field("selector")));
        let retiring = dkim.retiring.iter().enumerate();
        let retiring = retiring.map(|(n, key)| (&key.selector, at.field("retiring").item(n).field("selector")));
        let revoked = dkim.revoked.iter().enumerate().map(|(n, one)| (one, at.field("revoked").item(n)));
        for (selector, at) in keys.chain(retiring).chain(revoked) {
            let length = selector.len() + "._domainkey.".len() + self.spec().name.as_str().len();
            if length > 253 {
                let says = format!("with `._domainkey.{}` the name would have {length} octets", self.spec().name);
                self.report.find(Code::SelectorForm, at, says).help("a name has at most 253");
            }
        }
    }

    fn public(&mut self, key: &spec::DkimKey, at: &Path) -> Option<String> {
        match &key.public {
            Some(public) => self.sound(key.algorithm, squeezed(public), at.field("public")),
            None => {
                let public = self.public_of_private(key, &at.field("private"))?;
                self.sound(key.algorithm, public, at.field("private"))
            }
        }
    }

    /// The value of `p=`, if it is one.
    fn sound(&mut self, algorithm: DkimAlgorithm, public: String, at: Path) -> Option<String> {
        match algorithm {
            DkimAlgorithm::Ed25519 if is_ed25519(&public) => Some(public),
            DkimAlgorithm::Ed25519 => {
                let found = self.report.find(Code::KeyForm, at, "the key is no ed25519 key of 32 octets");
                // RFC 8463 §4: the key itself, not in the structure that other programs write.
                found.help = inner_ed25519(&public).map(|inner| {
                    format!("that is a SubjectPublicKeyInfo; the 32 octets in it are `public=\"{inner}\"`")
                });
                None
            }
            DkimAlgorithm::Rsa => match rsa_bits(&public) {
                None => {
                    self.report.find(Code::KeyForm, at, "the key is no rsa key");
                    None
                }
                Some(bits) if bits < 1024 => {
                    let says = format!("the key has {bits} bits, and is not believed");
                    self.report.find(Code::KeyShort, at, says).help("make one of 2048 bits");
                    None
                }
                Some(bits) => {
                    if bits < 2048 {
                        let says = format!("the key has {bits} bits");
                        self.report.find(Code::KeyWeak, at, says).help("make one of 2048 bits under a new selector");
                    } else if bits > 4096 {
                        let says = format!("the key has {bits} bits, more than receivers must be able to check");
                        self.report.find(Code::DkimLong, at, says).help("2048 bits are usual, 4096 the most");
                    }
                    Some(public)
                }
            },
        }
    }

    fn public_of_private(&mut self, key: &spec::DkimKey, at: &Path) -> Option<String> {
        let SecretRef::File(file) = &key.private else {
            let says = format!("the public part of the key `{}` is not known", key.selector);
            self.report.find(Code::KeyAway, at.clone(), says).help("write `public=\"…\"`, the value of `p=`");
            return None;
        };
        let octets = match self.around.outside.sources.secret(file) {
            Ok(octets) => octets,
            Err(why) => {
                let says = format!("`{file}` {why}, so the public part of the key `{}` is not known", key.selector);
                self.report
                    .find(Code::KeyAway, at.clone(), says)
                    .help("write `public=\"…\"`, or put the file in its place");
                return None;
            }
        };
        let public = String::from_utf8(octets).ok().and_then(|pem| mail::sign::public_value(key.algorithm, &pem).ok());
        if public.is_none() {
            let says = format!("`{file}` is no private key of the algorithm that is written");
            self.report.find(Code::KeyForm, at.clone(), says);
        }
        public
    }
}

/// Why a text is no selector, if it is none (RFC 6376 §3.1).
pub(super) fn misshapen(selector: &str) -> Option<&'static str> {
    let odd = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.');
    let label = |label: &str| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    if selector.contains(odd) {
        return Some("it holds something else than letters, digits, hyphens and dots");
    }
    (!selector.split('.').all(label)).then_some("a label has 1 to 63 octets and no hyphen at its ends")
}

fn squeezed(public: &str) -> String {
    public.split_whitespace().collect()
}

/// Whether a `p=` is an Ed25519 key (RFC 8463 §4).
pub fn is_ed25519(public: &str) -> bool {
    BASE64_STANDARD.decode(public).is_ok_and(|octets| octets.len() == 32)
}

/// The key in a SubjectPublicKeyInfo of Ed25519 (RFC 8410 §4).
fn inner_ed25519(public: &str) -> Option<String> {
    const HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let octets = BASE64_STANDARD.decode(public).ok()?;
    let inner = octets.strip_prefix(&HEAD)?;
    (inner.len() == 32).then(|| BASE64_STANDARD.encode(inner))
}

/// The length of an RSA key by its `p=`; `None` where it is none.
pub fn rsa_bits(public: &str) -> Option<usize> {
    let der = BASE64_STANDARD.decode(public).ok()?;
    let (rest, info) = SubjectPublicKeyInfo::from_der(&der).ok()?;
    match info.parsed().ok()? {
        PublicKey::RSA(key) if rest.is_empty() => Some(key.key_size()),
        _ => None,
    }
}
