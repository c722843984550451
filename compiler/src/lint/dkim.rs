//! DKIM (RFC 6376, RFC 8301, RFC 8463): what is published belongs to what mail is signed with.

use super::Around;
use super::tags::{tag, tags};
use super::world::{World, own};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::resolve::{Domain, KeyState, is_ed25519, rsa_bits};
use crate::zone::{Kind, Rdata, RecordSet, Zone};
use base64::prelude::{BASE64_STANDARD, Engine};
use schema::name::DomainName;
use std::collections::{HashMap, HashSet};

/// Looks at every key, and at the operator's own key records.
pub fn lint(around: &Around<'_>, world: &World<'_>, report: &mut Report) {
    let mut told = HashSet::new();
    for domain in &around.resolved.domains {
        keys(domain, world, &mut told, report);
    }
    for set in around.artefacts.zones.iter().flat_map(|zone| &zone.sets) {
        let under = set.name.labels().any(|label| label == "_domainkey");
        if let Some(at) = own(set).filter(|_| under && set.kind == Kind::Txt && !set.name.as_str().starts_with("_do")) {
            records(set, at, report);
        }
    }
}

/// Selectors that have another key in one build than in another, by the names of their records: a receiver that has the
/// old record believes no new signature. An empty `p=` revokes a key, and is no other key.
pub fn rekeyed(old: &[Zone], new: &[Zone]) -> Vec<DomainName> {
    let mut known: HashMap<&DomainName, String> = HashMap::new();
    for set in old.iter().flat_map(|zone| &zone.sets) {
        known.extend(published(set).map(|public| (&set.name, public)));
    }
    let changed = |set: &&RecordSet| {
        published(set).is_some_and(|new| !new.is_empty() && known.get(&set.name).is_some_and(|old| *old != new))
    };
    new.iter().flat_map(|zone| &zone.sets).filter(changed).map(|set| set.name.clone()).collect()
}

/// The key in a key record's value; empty where it is revoked.
pub fn public(value: &Rdata) -> Option<String> {
    let Rdata::Txt(text) = value else { return None };
    tag(&tags(text)?, "p").map(|public| public.split_whitespace().collect())
}

/// The key in a set, where that is one of key records.
fn published(set: &RecordSet) -> Option<String> {
    // Those of customers' domains are told by what they say.
    let says = |value: &&Rdata| matches!(value, Rdata::Txt(text) if text.starts_with("v=DKIM1"));
    let under = set.name.labels().any(|label| label == "_domainkey");
    set.values.first().filter(|value| set.kind == Kind::Txt && (under || says(value))).and_then(public)
}

/// The keys of a domain, and what is published for each.
fn keys(domain: &Domain, world: &World<'_>, told: &mut HashSet<Path>, report: &mut Report) {
    for key in &domain.dkim {
        if key.testing && told.insert(key.at.clone()) {
            let says =
                format!("the key `{}` says that it is tested, so its signatures count for nothing", key.selector);
            report.find(Code::DkimTesting, key.at.field("testing"), says).help("take `testing` out when it works");
        }
        let Ok(name) = domain.place(&format!("{}._domainkey", key.selector)) else { continue };
        if key.state != KeyState::Signing || world.set(&name, Kind::Cname).is_some() {
            continue;
        }
        let Some(set) = world.set(&name, Kind::Txt) else {
            let says = format!("mail is signed with `{}`, and its record `{name}` is left out", key.selector);
            let at = domain.omit.iter().find(|one| one.name == name).map_or(&key.at, |one| &one.at);
            report.find(Code::DkimReplaced, at.clone(), says).help("publish it, or take the key out");
            continue;
        };
        if let Some(at) = own(set)
            && !set.values.iter().filter_map(public).any(|public| public == key.public)
        {
            let says = format!("`{name}` publishes another key than `{}`, with which mail is signed", key.selector);
            let help = "take the record out: it is made from the key";
            report.find(Code::DkimReplaced, at.clone(), says).also(key.at.clone(), "the key").help(help);
        }
    }
}

/// The operator's own key records, as of partners who sign for the domain.
fn records(set: &RecordSet, at: &Path, report: &mut Report) {
    if set.values.len() > 1 {
        let says =
            format!("`{}` has {} TXT records, and what receivers do then is not defined", set.name, set.values.len());
        let help = "a selector has one record: write its text in one piece";
        report.find(Code::DkimRecord, at.clone(), says).help(help);
        return;
    }
    let Some(Rdata::Txt(text)) = set.values.first() else { return };
    if let Err((why, help)) = sound(text) {
        let says = format!("`{}` is no DKIM key record: {why}", set.name);
        report.find(Code::DkimRecord, at.clone(), says).help(help);
    }
    let flags = tags(text).and_then(|tags| tag(&tags, "t").map(str::to_owned)).unwrap_or_default();
    if flags.split(':').any(|flag| flag.trim() == "y") {
        let says = format!("`{}` says that it is tested, so its signatures count for nothing", set.name);
        report.find(Code::DkimTesting, at.clone(), says).help("take `t=y` out when it works");
    }
}

/// RFC 6376 §3.6.1.
fn sound(text: &str) -> Result<(), (String, &'static str)> {
    let again = "copy the record again from where it was given";
    let Some(tags) = tags(text) else { return Err(("a part is no `tag=value`".to_owned(), again)) };
    if tags.iter().skip(1).any(|(name, _)| *name == "v") || tag(&tags, "v").is_some_and(|version| version != "DKIM1") {
        return Err(("`v=DKIM1` stands first or not at all".to_owned(), "write `v=DKIM1` first"));
    }
    if let Some(hashes) = tag(&tags, "h").filter(|hashes| !hashes.split(':').any(|hash| hash.trim() == "sha256")) {
        let why = format!("`h={}` allows no hash that is believed", hashes.escape_debug());
        return Err((why, "take `h` out, or write `h=sha256` (RFC 8301 §3.1)"));
    }
    let Some(public) = tag(&tags, "p") else { return Err(("it has no `p`".to_owned(), again)) };
    let public: String = public.split_whitespace().collect();
    // RFC 6376 §3.6.1: the key is revoked.
    if public.is_empty() {
        return Ok(());
    }
    if BASE64_STANDARD.decode(&public).is_err() {
        return Err(("`p` is no base64".to_owned(), again));
    }
    match tag(&tags, "k").unwrap_or("rsa") {
        "ed25519" if is_ed25519(&public) => Ok(()),
        "ed25519" => Err(("`p` is no ed25519 key of 32 octets".to_owned(), again)),
        "rsa" => match rsa_bits(&public) {
            None => Err(("`p` is no rsa key".to_owned(), again)),
            Some(bits) if bits < 1024 => {
                Err((format!("its key has {bits} bits, and is not believed"), "ask for a key of 2048 bits"))
            }
            Some(_) => Ok(()),
        },
        other => Err((format!("`k={}` is no algorithm that is known", other.escape_debug()), "rsa and ed25519 are")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use schema::unit::Period;

    #[test]
    fn another_key_under_a_selector_is_seen() {
        let zone = |keys: &[(&str, &str)]| {
            let set = |(selector, public): &(&str, &str)| RecordSet {
                name: format!("{selector}._domainkey.example.org").parse().unwrap(),
                kind: Kind::Txt,
                ttl: Period(60),
                values: vec![Rdata::Txt(format!("v=DKIM1; p={public}"))],
                origins: Vec::new(),
            };
            Zone { name: "example.org".parse().unwrap(), ttl: Period(60), sets: keys.iter().map(set).collect() }
        };
        let old = [zone(&[("a", "AAAA"), ("b", "BBBB"), ("c", "CCCC")])];
        let new = [zone(&[("a", "AA AA"), ("b", "XXXX"), ("c", ""), ("d", "DDDD")])];
        let names: Vec<String> = rekeyed(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["b._domainkey.example.org"]);
    }
}
