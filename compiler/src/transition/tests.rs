//! Rollouts on a simulated clock.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::emit::Artefacts;
use crate::emit::runtime::policy;
use crate::pipeline::{Wish, compile};
use crate::zone::Kind;

const DAY: i64 = 86_400;
const HEAD: &str = "waybill 1\nstore \"s\" { rocksdb \"d\"; }\ndns \"main\" { zonefile \".\"; }\n";
const HOST: &str = "host \"mail.example.org\" { address \"192.0.2.25\"; listen { smtp 25; https 443; }; }\n";
const OTHER: &str = "host \"mx.example.net\" { address \"192.0.2.26\"; listen { smtp 25; https 443; }; }\n";

/// A spec and what it means.
struct Site {
    resolved: Resolved,
    artefacts: Artefacts,
    goals: Goals,
}

fn zone() -> DomainName {
    "example.org".parse().unwrap()
}

fn txt(name: &str) -> SetKey {
    SetKey { name: format!("{name}.example.org").parse().unwrap(), kind: Kind::Txt }
}

fn site(hosts: &str, domain: &str) -> Site {
    published(hosts, "ttl=\"1h\"", domain)
}

/// With what the domain's `dns` says beside.
fn published(hosts: &str, dns: &str, domain: &str) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{HEAD}{hosts}domain \"example.org\" {{\n    dns \"main\" {dns}\n{domain}\n    account \"postmaster\"\n}}\n"
    );
    std::fs::write(folder.path().join("mail.kdl"), &text).unwrap();
    let compiled = compile(&Wish::new(folder.path(), 0));
    let found: Vec<String> = compiled.report.diagnostics().iter().map(|found| found.says.clone()).collect();
    let artefacts = compiled.artefacts.unwrap_or_else(|| panic!("{text}\n{found:#?}"));
    let resolved = compiled.resolved.unwrap();
    let goals = goals(&resolved, &artefacts);
    Site { resolved, artefacts, goals }
}

/// A key's node; every selector has the same key, which does not matter here.
fn key(node: &str, selector: &str, private: bool) -> String {
    let public = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let private = if private { " private=(file)\"secrets/k.pem\"" } else { "" };
    format!("{node} \"{selector}\" ed25519 public=\"{public}\"{private}; ")
}

/// A run of `apply` at a time, at which every name server shows these sets; what is in effect then.
fn run(site: &Site, stages: &mut AllStages, at: i64, shown: &[SetKey]) -> (Resolved, Artefacts) {
    advance(&site.goals, stages, at, &shown.iter().cloned().collect());
    // What was advanced is published, and then looked at once more with nothing shown.
    let again = stages.clone();
    let mut same = again.clone();
    advance(&site.goals, &mut same, at, &BTreeSet::new());
    assert_eq!(same, again, "a second run at the same moment changes nothing");
    staged(&site.resolved, &site.artefacts, stages).unwrap_or_else(|| (site.resolved.clone(), site.artefacts.clone()))
}

fn signers(artefacts: &Artefacts) -> Vec<&str> {
    let domain = &artefacts.runtime.domains[0];
    domain.dkim.iter().map(|key| key.selector.as_str()).collect()
}

fn values(artefacts: &Artefacts, name: &str, kind: Kind) -> Vec<String> {
    let name = if name == "@" { zone() } else { format!("{name}.example.org").parse().unwrap() };
    let set = artefacts.zones[0].set(&name, kind);
    set.map_or_else(Vec::new, |set| set.values.iter().map(ToString::to_string).collect())
}

/// The mode and the hosts of the policy.
fn sts(resolved: &Resolved) -> String {
    let text = policy(&resolved.domains[0], resolved).unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with("mode") || line.starts_with("mx"));
    lines.map(|line| line.split(' ').next_back().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_new_key_signs_when_every_name_server_has_shown_it_for_a_time_to_live() {
    let old = site(HOST, &format!("dkim {{ {} }}", key("key", "a", true)));
    let next = site(HOST, &format!("dkim {{ {}{} }}", key("key", "b", true), key("retiring", "a", true)));
    let mut stages = AllStages::new();
    assert_eq!(signers(&run(&old, &mut stages, 0, &[]).1), ["a"]);
    // Both are published from the first moment, and the old one signs.
    let (_, artefacts) = run(&next, &mut stages, 10, &[]);
    assert_eq!(signers(&artefacts), ["a"]);
    assert_eq!(values(&artefacts, "b._domainkey", Kind::Txt).len(), 1);
    assert_eq!(values(&artefacts, "a._domainkey", Kind::Txt).len(), 1);
    // As long as it is not shown, days do not help.
    assert_eq!(signers(&run(&next, &mut stages, 9 * DAY, &[]).1), ["a"]);
    assert_eq!(awaited(&next.goals, &stages)[&zone()], [txt("b._domainkey")].into());
    let seen = 10 * DAY;
    assert_eq!(signers(&run(&next, &mut stages, seen, &[txt("b._domainkey")]).1), ["a"]);
    assert!(awaited(&next.goals, &stages).is_empty());
    assert_eq!(signers(&run(&next, &mut stages, seen + 3599, &[]).1), ["a"]);
    assert_eq!(rollouts(&next.goals, &stages)[0].due(), Some(seen + 3600));
    assert_eq!(signers(&run(&next, &mut stages, seen + 3600, &[]).1), ["b"]);
    assert!(rollouts(&next.goals, &stages).is_empty());
    // The spec goes back: the old key is published still, and has to be shown as any other.
    assert_eq!(signers(&run(&old, &mut stages, seen + 4000, &[]).1), ["b", "a"][1..].to_vec());
}

#[test]
fn without_a_state_a_key_that_goes_signs_on() {
    let next = site(HOST, &format!("dkim {{ {}{} }}", key("key", "b", true), key("retiring", "a", true)));
    let (_, artefacts) = staged(&next.resolved, &next.artefacts, &AllStages::new()).unwrap();
    assert_eq!(signers(&artefacts), ["a"]);
    // One that cannot sign has gone.
    let next = site(HOST, &format!("dkim {{ {}{} }}", key("key", "b", true), key("retiring", "a", false)));
    assert!(staged(&next.resolved, &next.artefacts, &AllStages::new()).is_none());
}

#[test]
fn a_policy_is_tightened_a_step_at_a_time() {
    let site = site(HOST, "    dmarc \"reject\" step=\"14d\"");
    let mut stages = AllStages::new();
    let mut policy = |at: i64, shown: &[SetKey]| {
        let (_, artefacts) = run(&site, &mut stages, at, shown);
        values(&artefacts, "_dmarc", Kind::Txt)[0].split(';').nth(1).unwrap().trim().to_owned()
    };
    let shown = [txt("_dmarc")];
    for (at, shown, want) in [
        (0, &shown[..0], "p=none"),
        (14 * DAY - 1, &shown[..], "p=none"),
        (14 * DAY, &shown, "p=quarantine"),
        (15 * DAY, &shown, "p=quarantine"),
        (29 * DAY - 1, &shown, "p=quarantine"),
        (29 * DAY, &shown, "p=reject"),
        (30 * DAY, &shown, "p=reject"),
    ] {
        assert_eq!(policy(at, shown), want, "at {at}");
    }
}

#[test]
fn a_policy_is_withdrawn_when_no_sender_holds_it() {
    let enforced = site(HOST, "    mta-sts \"enforce\" max-age=\"30d\"");
    let shorter = site(HOST, "    mta-sts \"enforce\" max-age=\"1d\"");
    let gone = site(&HOST.replace(" https 443;", ""), "");
    let mut stages = AllStages::new();
    assert_eq!(sts(&run(&enforced, &mut stages, 0, &[]).0), "enforce mail.example.org");
    // Senders may hold the first one for thirty days from the last moment that it was there.
    assert_eq!(sts(&run(&shorter, &mut stages, DAY, &[]).0), "enforce mail.example.org");
    let (resolved, _) = run(&gone, &mut stages, 2 * DAY, &[]);
    assert_eq!(sts(&resolved), "none mail.example.org");
    let shown = [txt("_mta-sts")];
    assert_eq!(sts(&run(&gone, &mut stages, 3 * DAY, &shown).0), "none mail.example.org");
    assert_eq!(sts(&run(&gone, &mut stages, 31 * DAY - 1, &shown).0), "none mail.example.org");
    assert_eq!(sts(&run(&gone, &mut stages, 31 * DAY, &shown).0), "");
}

#[test]
fn mail_moves_to_hosts_that_every_held_policy_names() {
    let policy = "    mta-sts \"enforce\" max-age=\"7d\"";
    let both = format!("{HOST}{OTHER}");
    let old = site(&both, &format!("    host \"mail.example.org\" priority=10\n{policy}"));
    let new = site(&both, &format!("    host \"mx.example.net\" priority=10\n{policy}"));
    let mut stages = AllStages::new();
    let mut seen = |site: &Site, at: i64, shown: &[SetKey]| {
        let (resolved, artefacts) = run(site, &mut stages, at, shown);
        (values(&artefacts, "@", Kind::Mx).join(" "), sts(&resolved))
    };
    let (before, after) = ("10 mail.example.org.", "10 mx.example.net.");
    let names = "enforce mail.example.org mx.example.net";
    let sts = [txt("_mta-sts")];
    let mx = [SetKey { name: zone(), kind: Kind::Mx }];
    assert_eq!(seen(&old, 0, &[]), (before.into(), "enforce mail.example.org".into()));
    assert_eq!(seen(&new, DAY, &mx), (before.into(), names.into()));
    assert_eq!(seen(&new, 2 * DAY, &sts), (before.into(), names.into()));
    assert_eq!(seen(&new, 9 * DAY - 1, &mx), (before.into(), names.into()));
    let turned = "enforce mx.example.net mail.example.org";
    // The MX is published at once, and only what is shown after that counts.
    assert_eq!(seen(&new, 9 * DAY, &mx), (after.into(), turned.into()));
    assert_eq!(seen(&new, 10 * DAY, &mx), (after.into(), turned.into()));
    assert_eq!(seen(&new, 10 * DAY + 3600, &[]), (after.into(), "enforce mx.example.net".into()));
}

#[test]
fn what_moves_is_cached_for_a_short_time_first() {
    let with = |hosts: &str, ttl: &str, inside: &str| published(hosts, &format!("ttl=\"1d\"{ttl}"), inside);
    let both = format!("{HOST}{OTHER}");
    let moved = HOST.replace("192.0.2.25", "192.0.2.99");
    let lowered = " move-ttl=\"5m\"";
    let ttl = |artefacts: &Artefacts, name: &str, kind: Kind| {
        let name = if name == "@" { zone() } else { format!("{name}.example.org").parse().unwrap() };
        artefacts.zones[0].set(&name, kind).unwrap().ttl.0
    };
    let mut stages = AllStages::new();
    let mut seen = |site: &Site, at: i64, shown: &[SetKey]| {
        let (_, artefacts) = run(site, &mut stages, at, shown);
        let mx = (values(&artefacts, "@", Kind::Mx).join(" "), ttl(&artefacts, "@", Kind::Mx));
        let address = (values(&artefacts, "mail", Kind::A).join(" "), ttl(&artefacts, "mail", Kind::A));
        let spf = values(&artefacts, "mail", Kind::Txt).join(" ");
        (mx, address, spf.contains("ip4:192.0.2.99"))
    };
    let a = [Kind::A, Kind::Aaaa].map(|kind| SetKey { name: "mail.example.org".parse().unwrap(), kind });
    let mx = [SetKey { name: zone(), kind: Kind::Mx }];
    let old = with(&both, lowered, "    host \"mail.example.org\"\n    mta-sts \"none\"");
    let mail = || ("10 mail.example.org.".to_owned(), 86_400);
    let here = |ttl| ("192.0.2.25".to_owned(), ttl);
    assert_eq!(seen(&old, 0, &[]), (mail(), here(86_400), false));
    // The host's address: mail may come from the new one at once, and goes to the old one until no cache is in the way.
    let new = with(&format!("{moved}{OTHER}"), lowered, "    host \"mail.example.org\"\n    mta-sts \"none\"");
    assert_eq!(seen(&new, DAY, &[]), (mail(), here(300), true));
    assert_eq!(seen(&new, 2 * DAY, &a), (mail(), here(300), true));
    assert_eq!(seen(&new, 3 * DAY - 1, &a), (mail(), here(300), true));
    let there = |ttl| ("192.0.2.99".to_owned(), ttl);
    assert_eq!(seen(&new, 3 * DAY, &a), (mail(), there(300), false));
    assert_eq!(seen(&new, 3 * DAY + 10, &a), (mail(), there(300), false));
    assert_eq!(seen(&new, 3 * DAY + 310, &[]), (mail(), there(86_400), false));
    // The MX, and back before it is through.
    let other = with(&format!("{moved}{OTHER}"), lowered, "    host \"mx.example.net\"\n    mta-sts \"none\"");
    let short = || ("10 mail.example.org.".to_owned(), 300);
    assert_eq!(seen(&other, 4 * DAY, &[]), (short(), there(86_400), false));
    assert_eq!(seen(&new, 4 * DAY + 60, &mx), (mail(), there(86_400), false));
    assert_eq!(seen(&other, 5 * DAY, &mx), (short(), there(86_400), false));
    assert_eq!(seen(&other, 5 * DAY + 60, &mx), (short(), there(86_400), false));
    let next = |ttl| ("10 mx.example.net.".to_owned(), ttl);
    assert_eq!(seen(&other, 6 * DAY + 60, &mx), (next(300), there(86_400), false));
    assert_eq!(seen(&other, 6 * DAY + 120, &mx), (next(300), there(86_400), false));
    assert_eq!(seen(&other, 6 * DAY + 420, &mx), (next(86_400), there(86_400), false));
}

#[test]
fn a_certificate_is_for_a_new_key_when_its_record_is_in_every_cache() {
    let public = || {
        let key = rcgen::KeyPair::generate().unwrap();
        base64::Engine::encode(&base64::prelude::BASE64_STANDARD, rcgen::PublicKeyData::subject_public_key_info(&key))
    };
    let (a, b) = (public(), public());
    let host = |keys: &str| {
        format!(
            "host \"mail.example.org\" {{ address \"192.0.2.25\"; listen {{ smtp 25; }}; tls {{ {keys} self-signed; }}; }}\n"
        )
    };
    let a = format!("key \"a\" ec public=\"{a}\" private=(file)\"secrets/a.pem\"; ");
    let b = format!("key \"b\" ec public=\"{b}\" private=(file)\"secrets/b.pem\"; ");
    let old = site(&host(&format!("{a}{b}")), "    dnssec");
    let new = site(&host(&format!("{b}{a}")), "    dnssec");
    let current = |artefacts: &Artefacts| artefacts.runtime.hosts[0].tls.self_signed_key.as_ref().unwrap().to_string();
    let mut stages = AllStages::new();
    let tlsa = [SetKey { name: "_25._tcp.mail.example.org".parse().unwrap(), kind: Kind::Tlsa }];
    let (_, artefacts) = run(&old, &mut stages, 0, &[]);
    assert_eq!(current(&artefacts), "(file)\"secrets/a.pem\"");
    assert_eq!(values(&artefacts, "_25._tcp.mail", Kind::Tlsa).len(), 2);
    for (at, shown, want) in [
        (10, &tlsa[..0], "(file)\"secrets/a.pem\""),
        (20, &tlsa[..], "(file)\"secrets/a.pem\""),
        (20 + 2 * 3600 - 1, &tlsa[..], "(file)\"secrets/a.pem\""),
        (20 + 2 * 3600, &tlsa[..], "(file)\"secrets/b.pem\""),
    ] {
        assert_eq!(current(&run(&new, &mut stages, at, shown).1), want, "at {at}");
    }
}
