//! SPF, DMARC and TLS reporting records, as the nodes that say the same. `None` where no node does.

use super::facts::Published;
use crate::resolve::spf::{is_domain_spec, is_network};
use schema::name::{Address, DomainName};
use schema::spec::{DkimAlgorithm, Dmarc, DmarcPolicy, Spf, SpfAll, SpfTerm};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The look-ups of one SPF check (RFC 7208 §4.6.4).
const MOST_LOOKUPS: usize = 10;

/// An SPF record as `spf`, and what is not the same.
pub fn spf(text: &str, domain: &DomainName) -> Option<(Spf, Vec<&'static str>)> {
    let mut words = text.split_ascii_whitespace();
    words.next().filter(|version| version.eq_ignore_ascii_case("v=spf1"))?;
    let (mut spf, mut notes, mut mx) = (Spf::default(), Vec::new(), false);
    for word in words {
        if spf.all.is_some() {
            // RFC 7208 §5.1: nothing after `all` counts; modifiers may stand there.
            continue;
        }
        let lower = word.to_ascii_lowercase();
        if let Some(all) = match lower.as_str() {
            "-all" => Some(SpfAll::Fail),
            "~all" => Some(SpfAll::Softfail),
            "?all" => Some(SpfAll::Neutral),
            "all" | "+all" => {
                notes.push("`+all` let everybody send; `neutral` is the most that a spec says");
                Some(SpfAll::Neutral)
            }
            _ => None,
        } {
            spf.all = Some(all);
            continue;
        }
        if lower.starts_with("ra=") || lower.starts_with("rp=") || lower.starts_with("rr=") {
            continue;
        }
        let word = word.strip_prefix('+').unwrap_or(word);
        let (name, value) = word.split_once(':').map_or((word, None), |(name, value)| (name, Some(value)));
        let named = |value: &str| value.parse::<DomainName>().ok();
        spf.terms.push(match (name.to_ascii_lowercase().as_str(), value) {
            ("mx", None) => {
                mx = true;
                continue;
            }
            ("a", None) => SpfTerm::A(domain.clone()),
            ("a", Some(value)) => SpfTerm::A(named(value)?),
            ("mx", Some(value)) => SpfTerm::Mx(named(value)?),
            ("include", Some(value)) => SpfTerm::Include(named(value)?),
            ("ip4", Some(value)) if is_network::<Ipv4Addr>(value, 32) => SpfTerm::Ip4(value.to_owned()),
            ("ip6", Some(value)) if is_network::<Ipv6Addr>(value, 128) => SpfTerm::Ip6(value.to_owned()),
            ("exists", Some(value)) if is_domain_spec(value) => SpfTerm::Exists(value.to_owned()),
            // `redirect`, `ptr`, `a/24`, `-ip4:…` have no node.
            _ => return None,
        });
    }
    let mut lookups = 1;
    let before = spf.terms.len();
    spf.terms.retain(|term| {
        lookups += usize::from(!matches!(term, SpfTerm::Ip4(_) | SpfTerm::Ip6(_)));
        lookups <= MOST_LOOKUPS || matches!(term, SpfTerm::Ip4(_) | SpfTerm::Ip6(_))
    });
    if spf.terms.len() < before {
        notes.push("it needed more than ten look-ups, so every check failed; the last ones are left out");
    }
    if spf.all.is_none() {
        notes.push("there was no `all`, which is `neutral`");
        spf.all = Some(SpfAll::Neutral);
    }
    if !mx {
        notes.push("`mx` is in the record now, since the domain's hosts send");
    }
    Some((spf, notes))
}

/// A DMARC record as `dmarc`, and what is not the same.
pub fn dmarc(text: &str) -> Option<(Dmarc, Vec<String>)> {
    let mut dmarc = Dmarc {
        policy: None,
        report: None,
        subdomain: None,
        nonexistent: None,
        testing: None,
        strict: None,
        psd: None,
        step: None,
    };
    let mut notes = Vec::new();
    let (mut adkim, mut aspf) = (false, false);
    for (at, tag) in text.split(';').map(str::trim).filter(|tag| !tag.is_empty()).enumerate() {
        let (name, value) = tag.split_once('=')?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let policy = || match value.to_ascii_lowercase().as_str() {
            "none" => Some(DmarcPolicy::None),
            "quarantine" => Some(DmarcPolicy::Quarantine),
            "reject" => Some(DmarcPolicy::Reject),
            _ => None,
        };
        match name.as_str() {
            "v" if at == 0 && value == "DMARC1" => {}
            "p" => dmarc.policy = Some(policy()?),
            "sp" => dmarc.subdomain = Some(policy()?),
            "np" => dmarc.nonexistent = Some(policy()?),
            "adkim" => adkim = value.eq_ignore_ascii_case("s"),
            "aspf" => aspf = value.eq_ignore_ascii_case("s"),
            "t" => dmarc.testing = value.eq_ignore_ascii_case("y").then_some(true),
            "rua" => dmarc.report = Some(mailto(value)?),
            "ruf" => {}
            "pct" if value == "100" => {}
            "pct" => notes.push(format!("`pct={value}` is no more (RFC 9989); `testing=#true` is near to a small one")),
            "fo" | "rf" | "ri" => notes.push(format!("the tag `{name}` is not written")),
            _ => return None,
        }
    }
    if adkim != aspf {
        return None;
    }
    dmarc.strict = adkim.then_some(true);
    dmarc.policy?;
    Some((dmarc, notes))
}

/// `v=TLSRPTv1; rua=mailto:…,mailto:…`
pub fn tls_report(text: &str) -> Option<Vec<Address>> {
    let (version, rest) = text.split_once(';')?;
    let rua = rest.trim().trim_end_matches(';').trim().strip_prefix("rua=")?;
    if version.trim() != "v=TLSRPTv1" || rua.contains(';') {
        return None;
    }
    rua.split(',').map(|one| mailto(one.trim())).collect()
}

fn mailto(text: &str) -> Option<Address> {
    let plain = !text.contains(['%', '!', '?', ',']);
    text.strip_prefix("mailto:").filter(|_| plain)?.trim().parse().ok()
}

/// A key record's `k=` and `p=`; `None` where it is none, or revoked.
pub fn published(text: &str) -> Option<Published> {
    let (mut algorithm, mut public) = (DkimAlgorithm::Rsa, String::new());
    for tag in text.split(';') {
        let Some((name, value)) = tag.split_once('=') else { continue };
        match name.trim() {
            "v" if value.trim() != "DKIM1" => return None,
            "k" if value.trim().eq_ignore_ascii_case("ed25519") => algorithm = DkimAlgorithm::Ed25519,
            "k" if !value.trim().eq_ignore_ascii_case("rsa") => return None,
            "p" => public = value.chars().filter(|c| !c.is_whitespace()).collect(),
            _ => {}
        }
    }
    (!public.is_empty()).then_some(Published { algorithm, public })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn policies_become_nodes_where_nodes_say_the_same() {
        let domain: DomainName = "example.org".parse().unwrap();
        let (got, notes) = spf("v=spf1 mx a include:_spf.x.net +ip4:192.0.2.0/24 ~all", &domain).unwrap();
        assert_eq!((got.terms.len(), got.all, notes.len()), (3, Some(SpfAll::Softfail), 0));
        assert_eq!(spf("v=spf1 ip6:2001:db8::/32", &domain).unwrap().1.len(), 2);
        for odd in
            ["v=spf1 redirect=x.net", "v=spf1 ptr -all", "v=spf1 a/24 -all", "v=spf1 -ip4:192.0.2.1 mx ?all", "spf"]
        {
            assert!(spf(odd, &domain).is_none(), "{odd}");
        }
        let (got, notes) =
            dmarc("v=DMARC1; p=quarantine; sp=none; pct=20; adkim=s; aspf=s; rua=mailto:d@x.net;").unwrap();
        assert!(got.strict == Some(true) && got.report.is_some() && notes.len() == 1);
        for odd in ["v=DMARC1; p=none; rua=mailto:a@x.net,mailto:b@x.net", "v=DMARC1; p=none; adkim=s", "v=DMARC1", "p"]
        {
            assert!(dmarc(odd).is_none(), "{odd}");
        }
        assert_eq!(tls_report("v=TLSRPTv1; rua=mailto:a@x.net,mailto:b@x.net").unwrap().len(), 2);
        assert!(tls_report("v=TLSRPTv1; rua=https://x.net/").is_none());
        assert!(published("v=DKIM1; p=").is_none());
        assert_eq!(published("k=ed25519; p=AB CD").unwrap().public, "ABCD");
    }
}
