//! What follows from who sent a message.

use crate::auth::{Dmarc, Verdict, Wish};
use schema::name::DomainName;

/// What to do with a message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take it.
    Accept,
    /// Take it, into Junk.
    Junk {
        /// For the log.
        why: String,
    },
    /// Refuse it for good.
    Refuse {
        /// For the sender.
        text: String,
    },
    /// Refuse it for now.
    Later {
        /// For the sender.
        text: String,
    },
}

/// Decides. `trusted` are sealers whose word on a broken signature is believed (RFC 8617 §5.2).
pub fn decide(verdict: &Verdict, trusted: &[DomainName]) -> Decision {
    if verdict.authors > 1 && verdict.dmarc != Dmarc::Pass {
        // RFC 9989 §4: several authors can be judged by none of their domains.
        return Decision::Junk { why: "several From addresses".to_owned() };
    }
    let domain = &verdict.from_domain;
    match verdict.dmarc {
        Dmarc::None | Dmarc::Pass | Dmarc::Fail(Wish::None) | Dmarc::Temporary => Decision::Accept,
        Dmarc::Fail(Wish::Quarantine) => Decision::Junk { why: format!("DMARC of {domain} fails: quarantine") },
        Dmarc::Fail(Wish::Reject) => match &verdict.sealer {
            // RFC 9989: not refused on the policy alone where a forwarder that is known broke the signature.
            Some(sealer) if trusted.contains(sealer) => {
                Decision::Junk { why: format!("DMARC of {domain} fails, but {sealer}, which is trusted, sealed it") }
            }
            _ => Decision::Refuse {
                text: format!("this message is not from {domain}: DMARC fails and its policy is to reject"),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_followed_but_for_a_trusted_reason() {
        let table = [
            (Dmarc::Pass, "", "Accept"),
            (Dmarc::None, "", "Accept"),
            (Dmarc::Temporary, "", "Accept"),
            (Dmarc::Fail(Wish::None), "", "Accept"),
            (Dmarc::Fail(Wish::Quarantine), "", "Junk"),
            (Dmarc::Fail(Wish::Reject), "", "Refuse"),
            (Dmarc::Fail(Wish::Reject), "known.example", "Junk"),
            (Dmarc::Fail(Wish::Reject), "unknown.example", "Refuse"),
        ];
        let trusted: Vec<DomainName> = "known.example".parse().into_iter().collect();
        for (dmarc, sealer, want) in table {
            let verdict = Verdict::for_tests(dmarc, sealer.parse().ok());
            let got = format!("{:?}", decide(&verdict, &trusted));
            assert!(got.starts_with(want), "{dmarc:?} {sealer}: {got}");
        }
    }
}
