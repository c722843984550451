//! A domain's signing keys, and what their records hold.

use super::domains::Binding;
use crate::code::Code;
use crate::diagnostic::Path;
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
    /// Where the private key is.
    pub private: SecretRef,
    /// Where it was written.
    pub at: Path,
}

/// Keys that were looked at already, by where they stand: domains that are like each other share them.
pub type Keys = HashMap<Path, Vec<Dkim>>;

impl Binding<'_, '_> {
    /// Every key that can be published, sorted by selector.
    pub(super) fn dkim(&mut self, keys: &mut Keys) -> Vec<Dkim> {
        let said = self.around.layers.said(self.of, "dkim", |d| d.dkim.as_ref(), |d| d.dkim.as_ref());
        let (dkim, at) = match said {
            Some((dkim, at)) if !dkim.key.is_empty() => (dkim, at),
            _ => {
                let says = format!("mail from `{}` is not signed: it has no DKIM key", self.spec().name);
                let help = "write `dkim { key \"SELECTOR\" ed25519 public=\"…\" private=(file)\"…\"; }`, and an rsa key beside it";
                self.report.find(Code::NoDkim, self.at.field("name"), says).help(help);
                return Vec::new();
            }
        };
        self.selectors(dkim, &at);
        if let Some(known) = keys.get(&at) {
            return known.clone();
        }
        let mut selectors: HashMap<String, usize> = HashMap::new();
        let mut made = Vec::new();
        for (n, key) in dkim.key.iter().enumerate() {
            let first = selectors.insert(key.selector.to_ascii_lowercase(), n);
            let (first, at) = (first.map(|first| at.field("key").item(first)), at.field("key").item(n));
            if let Some(first) = first {
                // RFC 1035 §2.3.3: names are the same in any case.
                let says = format!("the selector `{}` is used twice", key.selector);
                self.report.find(Code::SelectorTwice, at.field("selector"), says).also(first, "first used here");
            }
            if let Some(why) = misshapen(&key.selector) {
                let says = format!("`{}` is no selector: {why}", key.selector.escape_debug());
                self.report.find(Code::SelectorForm, at.field("selector"), says);
                continue;
            }
            if let Some(public) = self.public(key, &at) {
                made.push(Dkim {
                    selector: key.selector.to_ascii_lowercase(),
                    algorithm: key.algorithm,
                    public,
                    private: key.private.clone(),
                    at,
                });
            }
        }
        if !made.is_empty() && made.iter().all(|key| key.algorithm == DkimAlgorithm::Ed25519) {
            self.report
                .find(Code::OnlyEd25519, at.clone(), "there is no rsa key, so many receivers see no signature")
                .help("write an rsa key beside it");
        }
        made.sort_by(|a, b| a.selector.cmp(&b.selector));
        keys.insert(at, made.clone());
        made
    }

    /// That each key's record has a name which can be; that depends on the domain, even where keys are shared.
    fn selectors(&mut self, dkim: &spec::Dkim, at: &Path) {
        for (n, key) in dkim.key.iter().enumerate() {
            let length = key.selector.len() + "._domainkey.".len() + self.spec().name.as_str().len();
            if length > 253 {
                let says = format!("with `._domainkey.{}` the name would have {length} octets", self.spec().name);
                let at = at.field("key").item(n).field("selector");
                self.report.find(Code::SelectorForm, at, says).help("a name has at most 253");
            }
        }
    }

    fn public(&mut self, key: &spec::DkimKey, at: &Path) -> Option<String> {
        let (public, at) = match &key.public {
            Some(public) => (public.split_whitespace().collect::<String>(), at.field("public")),
            None => (self.public_of_private(key, &at.field("private"))?, at.field("private")),
        };
        let wrong = match key.algorithm {
            DkimAlgorithm::Ed25519 => {
                (!is_ed25519(&public)).then(|| "the key is no ed25519 key of 32 octets".to_owned())
            }
            DkimAlgorithm::Rsa => match rsa_bits(&public) {
                None => Some("the key is no rsa key".to_owned()),
                Some(bits) if bits < 1024 => {
                    let says = format!("the key has {bits} bits, and is not believed");
                    self.report.find(Code::KeyShort, at, says).help("make one of 2048 bits");
                    return None;
                }
                Some(bits) if bits < 2048 => {
                    self.report.find(Code::KeyWeak, at.clone(), format!("the key has {bits} bits"));
                    None
                }
                Some(_) => None,
            },
        };
        match wrong {
            Some(says) => {
                self.report.find(Code::KeyForm, at, says);
                None
            }
            None => Some(public),
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
fn misshapen(selector: &str) -> Option<&'static str> {
    let odd = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.');
    let label = |label: &str| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    if selector.contains(odd) {
        return Some("it holds something else than letters, digits, hyphens and dots");
    }
    (!selector.split('.').all(label)).then_some("a label has 1 to 63 octets and no hyphen at its ends")
}

fn is_ed25519(public: &str) -> bool {
    use base64::prelude::{BASE64_STANDARD, Engine};
    BASE64_STANDARD.decode(public).is_ok_and(|octets| octets.len() == 32)
}

/// The length of an RSA key by its `p=`; `None` where it is none.
fn rsa_bits(public: &str) -> Option<usize> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let der = BASE64_STANDARD.decode(public).ok()?;
    let (rest, info) = SubjectPublicKeyInfo::from_der(&der).ok()?;
    match info.parsed().ok()? {
        PublicKey::RSA(key) if rest.is_empty() => Some(key.key_size()),
        _ => None,
    }
}
