//! `check --secrets`: that every secret is where the spec says, and belongs to what is written beside it.
//!
//! Nothing else in the compiler opens a secret that it can do without, so that a fork's pull request needs none.

use super::Outside;
use crate::code::Code;
use crate::diagnostic::{Path, Report, Step};
use crate::secrets::check::Opener;
use crate::secrets::{self, references};
use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{KeyPair, PublicKeyData};
use schema::name::{Secret, SecretRef};
use schema::spec::{self, Spec};
use std::collections::HashSet;
use x509_parser::prelude::Pem;

/// Fields whose content is no secret.
const PUBLIC: [&str; 4] = ["ca", "cert", "client-ca", "trust-anchor"];

/// Opens every secret of the spec that the compiler can reach, and holds keys against their public parts.
pub fn secrets(spec: &Spec, outside: &Outside<'_>, report: &mut Report) {
    let age = Opener::new(spec, outside.sources, outside.identities);
    let mut opening = Opening { outside, age, seen: HashSet::new(), report };
    for (n, host) in spec.host.iter().enumerate() {
        let at = Path::root().field("host").item(n).field("tls");
        if let Some(tls) = &host.tls {
            opening.tls(tls, &at);
        }
    }
    let own =
        spec.domain.iter().enumerate().map(|(n, domain)| (domain.dkim.as_ref(), Path::root().field("domain").item(n)));
    let common = spec.defaults.as_ref().and_then(|defaults| defaults.domain.as_ref());
    let common = (common.and_then(|domain| domain.dkim.as_ref()), Path::root().field("defaults").field("domain"));
    for (dkim, at) in own.chain([common]) {
        for (n, key) in dkim.iter().flat_map(|dkim| dkim.key.iter().enumerate()) {
            opening.dkim(key, &at.field("dkim").field("key").item(n));
        }
    }
    for (at, reference) in references(spec) {
        // Certificates are shown to everybody, and keys with a public part have been held against it.
        let public = at.steps().iter().any(|step| matches!(step, Step::Field(name) if PUBLIC.contains(name)));
        if !public && !opening.seen.contains(&at) {
            opening.open(&reference, &at);
        }
    }
    let Opening { age, report, .. } = opening;
    age.finish(report);
}

struct Opening<'a> {
    outside: &'a Outside<'a>,
    age: Opener<'a>,
    seen: HashSet<Path>,
    report: &'a mut Report,
}

impl Opening<'_> {
    /// The secret; `None` where it is not there, which has been told.
    fn open(&mut self, reference: &SecretRef, at: &Path) -> Option<Secret> {
        self.seen.insert(at.clone());
        let secret = self.read(reference, at)?;
        if let SecretRef::File(name) = reference
            && self.outside.sources.is_open_to_others(name)
        {
            let says = format!("everybody on this machine can read `{name}`");
            self.report.find(Code::SecretOpen, at.clone(), says).help(format!("`chmod 600 {name}`"));
        }
        Some(secret)
    }

    fn read(&mut self, reference: &SecretRef, at: &Path) -> Option<Secret> {
        let (age, report) = (&mut self.age, &mut *self.report);
        match secrets::text(reference, self.outside.sources, || age.open(reference, at, report)) {
            Ok(secret) => secret,
            Err(wrong) => {
                self.report.find(Code::SecretAway, at.clone(), wrong);
                None
            }
        }
    }

    fn dkim(&mut self, key: &spec::DkimKey, at: &Path) {
        let Some(secret) = self.open(&key.private, &at.field("private")) else { return };
        let own = mail::sign::public_value(key.algorithm, secret.reveal());
        let wrong = match (own, &key.public) {
            (Err(error), _) => format!("the private key of `{}` {error}", key.selector),
            (Ok(own), Some(public)) if *public.split_whitespace().collect::<String>() != own => {
                format!("the private key of `{}` does not belong to its `public`", key.selector)
            }
            _ => return,
        };
        self.report.find(Code::DkimPair, at.field("private"), wrong).help(
            "signatures with it would fail at every receiver: put the right file in its place, or make a new key",
        );
    }

    fn tls(&mut self, tls: &spec::Tls, at: &Path) {
        for (n, key) in tls.key.iter().enumerate() {
            let at = at.field("key").item(n).field("private");
            let public = key.public.as_ref().and_then(|public| BASE64_STANDARD.decode(public).ok());
            self.pair(&key.private, &at, public.as_deref(), "`public`");
        }
        for (n, certificate) in tls.certificate.iter().enumerate() {
            let at = at.field("certificate").item(n);
            // A chain is shown to everybody who connects.
            let chain = self.read(&certificate.cert, &at.field("cert"));
            let pem = chain.and_then(|chain| Pem::iter_from_buffer(chain.reveal().as_bytes()).find_map(Result::ok));
            let leaf = pem.as_ref().and_then(|pem| pem.parse_x509().ok());
            let public = leaf.as_ref().map(|leaf| leaf.public_key().raw);
            self.pair(&certificate.key, &at.field("key"), public, "its certificate");
        }
    }

    fn pair(&mut self, private: &SecretRef, at: &Path, public: Option<&[u8]>, of: &str) {
        let Some(secret) = self.open(private, at) else { return };
        let wrong = match KeyPair::from_pem(secret.reveal()) {
            Err(_) => format!("{private} is no private key as PEM"),
            Ok(pair) if public.is_some_and(|public| public != pair.subject_public_key_info()) => {
                format!("{private} does not belong to {of}")
            }
            Ok(_) => return,
        };
        self.report.find(Code::TlsPair, at.clone(), wrong).help("the server would not start with it");
    }
}
