//! What `check --secrets` and `waybill secrets check` say of encrypted secrets.

use super::{SealedError, misfit, recipients, references, sealed_octets};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::read::files::{FileError, Sources};
use schema::name::SecretRef;
use schema::spec::Spec;
use sealed::Unopened;
use sealed::header::Header;
use sealed::identity::Identities;
use sealed::recipient::Recipient;

/// How to come by an identity.
const GIVE: &str = "name the file of an identity with `--identity FILE` or in WAYBILL_IDENTITY";

/// Opens encrypted secrets, and tells what is wrong with them.
pub struct Opener<'a> {
    sources: &'a Sources,
    identities: Option<&'a Identities>,
    recipients: Vec<Recipient>,
    seen: usize,
    /// Those that nothing was there to open with, and the first of them.
    locked: (usize, Option<Path>),
}

impl<'a> Opener<'a> {
    /// For the secrets of a spec.
    pub fn new(spec: &Spec, sources: &'a Sources, identities: Option<&'a Identities>) -> Opener<'a> {
        let identities = identities.filter(|identities| !identities.is_empty());
        Opener { sources, identities, recipients: recipients(spec), seen: 0, locked: (0, None) }
    }

    /// The secret; `None` where it is not opened, which is told here or by [`Opener::finish`].
    pub fn open(&mut self, reference: &SecretRef, at: &Path, report: &mut Report) -> Option<Vec<u8>> {
        self.seen += 1;
        let octets = match sealed_octets(reference, self.sources) {
            Ok(octets) => octets,
            Err(why) => {
                let found = report.find(Code::SecretAway, at.clone(), why.to_string());
                if matches!(why, SealedError::File(_, FileError::Missing)) {
                    found.help("`waybill secrets edit DIR FILE` makes it");
                }
                return None;
            }
        };
        let header = match Header::of(&octets) {
            Ok(header) if !header.passphrase => header,
            other => {
                let why = other.err().unwrap_or(Unopened::Passphrase);
                let says = format!("{reference} {why}");
                report
                    .find(Code::NotSealed, at.clone(), says)
                    .help("encrypt the secret anew with `waybill secrets encrypt`");
                return None;
            }
        };
        if let Some(says) = misfit(&header, &self.recipients).filter(|_| !self.recipients.is_empty()) {
            report
                .find(Code::OtherRecipients, at.clone(), format!("{reference} {says}"))
                .help("`waybill secrets rekey DIR` encrypts every secret to the spec's recipients");
        }
        let Some(identities) = self.identities else {
            self.locked.0 += 1;
            self.locked.1.get_or_insert_with(|| at.clone());
            return None;
        };
        match sealed::open(&octets, identities) {
            Ok(plain) => Some(plain),
            Err(why) => {
                let found = report.find(Code::SecretAway, at.clone(), format!("{reference} {why}"));
                found.help(match why {
                    Unopened::OtherIdentity => {
                        "let somebody who can open it run `waybill secrets rekey`, or give another identity"
                    }
                    _ => "encrypt the secret anew with `waybill secrets encrypt`",
                });
                None
            }
        }
    }

    /// Tells what concerns all of them: once.
    pub fn finish(self, report: &mut Report) {
        if let (count, Some(first)) = self.locked {
            let says = format!("{count} encrypted secret{} not opened", if count == 1 { " was" } else { "s were" });
            report.find(Code::NotOpened, first, says).help(GIVE);
        }
        if self.seen > 0 && self.recipients.is_empty() {
            report
                .find(
                    Code::NoRecipient,
                    Path::root().field("secrets"),
                    "the spec has encrypted secrets and no recipient",
                )
                .help(
                    "write `secrets { recipient \"age1…\" name=\"mail.example.org\" }`, one for each server and person",
                );
        }
    }
}

/// Opens every `(age)` secret of a spec; how many there are.
pub fn every(spec: &Spec, sources: &Sources, identities: &Identities, report: &mut Report) -> usize {
    let mut opener = Opener::new(spec, sources, Some(identities));
    for (at, reference) in references(spec) {
        if matches!(reference, SecretRef::Age(_)) {
            opener.open(&reference, &at, report);
        }
    }
    let seen = opener.seen;
    opener.finish(report);
    seen
}
