//! The spec's files, from what was found out.

use super::facts::{Account, Domain, Facts, Forward, List, Place, Sort};
use super::kdl::{Writer, all_quoted, quoted};
use super::people;
use crate::format;
use schema::name::{Address, DomainName};
use schema::spec::{Credential, DkimAlgorithm, Dmarc, DmarcPolicy, MtaStsMode, Posting, Spf, SpfAll, SpfTerm};
use schema::unit::{Period, Size};
use std::collections::BTreeMap;

/// The most notes that are written at one place.
const MOST_NOTES: usize = 40;
/// The smallest limit on messages that a spec takes (RFC 5321 §4.5.3.1.7).
const SMALLEST_MESSAGE: u64 = 64 << 10;
/// The longest file name without its ending, in octets.
const LONGEST_FILE_NAME: usize = 200;

/// A file of the spec: its name from the folder, and its text.
pub type File = (String, String);

/// All files; `mail.kdl` is the last.
pub fn files(facts: &Facts) -> Result<Vec<File>, format::Unlaid> {
    let aliases = people::aliases(facts);
    let mut local: BTreeMap<&DomainName, Local<'_>> = BTreeMap::new();
    for (address, account) in &facts.accounts {
        local.entry(&address.domain).or_default().accounts.push((address, account));
    }
    for (address, forward) in &facts.forwards {
        local.entry(&address.domain).or_default().forwards.push((address, forward));
    }
    for (address, list) in &facts.lists {
        local.entry(&address.domain).or_default().lists.push((address, list));
    }
    let mut files = Vec::new();
    for (name, domain) in &facts.domains {
        let mut writer = Writer::default();
        let local = local.remove(name).unwrap_or_default();
        Page { facts, local, aliases: &aliases, writer: &mut writer }.domain(name, domain);
        let stem = name.as_str();
        let file = match stem.get(..LONGEST_FILE_NAME) {
            Some(front) if stem.len() > LONGEST_FILE_NAME => format!("domains/{front}-{}.kdl", files.len()),
            _ => format!("domains/{stem}.kdl"),
        };
        files.push((file, format::format(&writer.finish())?));
    }
    files.push(("mail.kdl".to_owned(), format::format(&root(facts))?));
    Ok(files)
}

fn root(facts: &Facts) -> String {
    let mut writer = Writer::default();
    writer.node("waybill", "1");
    writer.blank();
    writer.comment("Made by `waybill import`. `guessed` and `left out` say what wants a look.");
    notes(facts, &Place::Platform, &mut writer);
    writer.blank();
    if !facts.domains.is_empty() {
        writer.node("include", "\"domains/*.kdl\"");
        writer.blank();
    }
    for (name, host) in &facts.hosts {
        notes(facts, &Place::Host(name.clone()), &mut writer);
        writer.open("host", &quoted(name.as_str()));
        if !host.addresses.is_empty() {
            writer.node("address", &all_quoted(&host.addresses));
        }
        writer.open("listen", "");
        for (service, ports) in &host.listen {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            ports.iter().for_each(|port| writer.node(service, port));
        }
        writer.close();
        writer.comment(
            "guessed: a certificate of its own, until there is `certificate cert=(file)\"…\" key=(file)\"…\"`",
        );
        writer.node("tls", "{ self-signed; }");
        writer.close();
        writer.blank();
    }
    writer.comment("guessed: mail is kept beside the spec");
    writer.node("store", "\"local\" { rocksdb \"data\"; }");
    if let Some(size) = facts.message_size {
        writer.blank();
        if size < SMALLEST_MESSAGE {
            writer.comment("guessed: the smallest that may be; it was less");
        }
        writer
            .node("limits", &format!("{{ message-size {}; }}", quoted(&Size(size.max(SMALLEST_MESSAGE)).to_string())));
    }
    writer.finish()
}

fn notes(facts: &Facts, place: &Place, writer: &mut Writer) {
    let Some(notes) = facts.notes.get(place) else { return };
    for (sort, text) in notes.iter().take(MOST_NOTES) {
        let sort = if *sort == Sort::Guessed { "guessed" } else { "left out" };
        writer.comment(&format!("{sort}: {text}"));
    }
    if let Some(more) = notes.len().checked_sub(MOST_NOTES).filter(|more| *more > 0) {
        writer.comment(&format!("… and {more} more"));
    }
}

/// Who has an address in a domain.
#[derive(Default)]
struct Local<'a> {
    accounts: Vec<(&'a Address, &'a Account)>,
    forwards: Vec<(&'a Address, &'a Forward)>,
    lists: Vec<(&'a Address, &'a List)>,
}

struct Page<'a> {
    facts: &'a Facts,
    local: Local<'a>,
    aliases: &'a BTreeMap<&'a Address, Vec<&'a Address>>,
    writer: &'a mut Writer,
}

impl Page<'_> {
    fn domain(&mut self, name: &DomainName, domain: &Domain) {
        notes(self.facts, &Place::Domain(name.clone()), self.writer);
        self.writer.open("domain", &quoted(name.as_str()));
        let only = self.facts.hosts.len() == 1 && matches!(domain.hosts.as_slice(), [(10, _)]);
        for (priority, host) in domain.hosts.iter().filter(|_| !only) {
            self.writer.node("host", &format!("{} priority={priority}", quoted(host.as_str())));
        }
        self.zone(domain);
        if domain.dnssec {
            notes(self.facts, &Place::Node(name.clone(), "dnssec"), self.writer);
            self.writer.node("dnssec", "");
        }
        if !domain.dkim.is_empty() {
            self.writer.open("dkim", "");
            for (selector, key, private) in &domain.dkim {
                let algorithm = match key.algorithm {
                    DkimAlgorithm::Ed25519 => "ed25519",
                    DkimAlgorithm::Rsa => "rsa",
                };
                let (selector, public) = (quoted(selector), quoted(&key.public));
                let private = quoted(private);
                self.writer.node("key", &format!("{selector} {algorithm} public={public} private=(file){private}"));
            }
            self.writer.close();
        }
        if let Some(spf) = &domain.spf {
            notes(self.facts, &Place::Node(name.clone(), "spf"), self.writer);
            self.spf(spf);
        }
        if let Some(dmarc) = &domain.dmarc {
            notes(self.facts, &Place::Node(name.clone(), "dmarc"), self.writer);
            self.writer.node("dmarc", &written(dmarc));
        }
        if let Some(mode) = domain.mta_sts {
            let mode = match mode {
                MtaStsMode::Enforce => "enforce",
                MtaStsMode::Testing => "testing",
                MtaStsMode::None => "none",
            };
            notes(self.facts, &Place::Node(name.clone(), "mta-sts"), self.writer);
            self.writer.node("mta-sts", &quoted(mode));
        }
        if !domain.tls_report.is_empty() {
            self.writer.node("tls-report", &all_quoted(&domain.tls_report));
        }
        if let Some(quota) = domain.quota.or(self.facts.common_quota) {
            self.writer.node("quota", &quoted(&Size(quota).to_string()));
        }
        self.people(name);
        if let Some(to) = &domain.catch_all {
            self.writer.blank();
            self.writer.node("catch-all", &quoted(&within(to, name)));
        }
        self.writer.close();
    }

    fn zone(&mut self, domain: &Domain) {
        const BOUNDS: std::ops::RangeInclusive<u64> = 60..=604_800;
        let ttl = domain.live.as_ref().and_then(|live| live.ttl).filter(|ttl| BOUNDS.contains(ttl) && *ttl != 3600);
        let ttl = ttl.map(|ttl| format!("ttl={}", quoted(&Period(ttl).to_string()))).unwrap_or_default();
        if domain.records.is_empty() && domain.omit.is_empty() {
            if !ttl.is_empty() {
                self.writer.node("dns", &ttl);
            }
            return;
        }
        self.writer.open("dns", &ttl);
        for (omit, why) in &domain.omit {
            self.writer.comment(why);
            self.writer.node("omit", &all_quoted([&omit.name, &omit.kind]));
        }
        for (record, why) in &domain.records {
            self.writer.comment(why);
            let all = [&record.name, &record.kind].into_iter().chain(&record.value);
            self.writer.node("record", &all_quoted(all));
        }
        self.writer.close();
    }

    fn spf(&mut self, spf: &Spf) {
        let all = match spf.all {
            None | Some(SpfAll::Fail) => "fail",
            Some(SpfAll::Softfail) => "softfail",
            Some(SpfAll::Neutral) => "neutral",
        };
        if spf.terms.is_empty() {
            self.writer.node("spf", &format!("{{ all {}; }}", quoted(all)));
            return;
        }
        self.writer.open("spf", "");
        for term in &spf.terms {
            let (name, value) = match term {
                SpfTerm::Include(name) => ("include", name.to_string()),
                SpfTerm::A(name) => ("a", name.to_string()),
                SpfTerm::Mx(name) => ("mx", name.to_string()),
                SpfTerm::Ip4(network) => ("ip4", network.clone()),
                SpfTerm::Ip6(network) => ("ip6", network.clone()),
                SpfTerm::Exists(name) => ("exists", name.clone()),
            };
            self.writer.node(name, &quoted(&value));
        }
        self.writer.node("all", &quoted(all));
        self.writer.close();
    }

    fn people(&mut self, domain: &DomainName) {
        let facts = self.facts;
        for (address, account) in std::mem::take(&mut self.local.accounts) {
            self.writer.blank();
            notes(facts, &Place::Person(address.clone()), self.writer);
            let name = account.name.as_ref().map(|name| format!(" name={}", quoted(name))).unwrap_or_default();
            self.writer.open("account", &format!("{}{name}", quoted(address.local.as_str())));
            if !account.credentials.is_empty() {
                let values = account.credentials.iter().map(|credential| match credential {
                    Credential::Hash(hash) => format!("(hash){}", quoted(hash)),
                    Credential::Scram(verifier) => format!("(scram){}", quoted(verifier)),
                });
                self.writer.node("password", &values.collect::<Vec<_>>().join(" "));
            }
            if let Some(aliases) = self.aliases.get(address) {
                self.writer.node("alias", &all_quoted(aliases.iter().map(|alias| within(alias, domain))));
            }
            if let Some(quota) = account.quota {
                self.writer.node("quota", &quoted(&Size(quota).to_string()));
            }
            self.writer.close();
        }
        let mut first = true;
        for (from, forward) in std::mem::take(&mut self.local.forwards) {
            let mine = forward.to.first().is_some_and(|to| facts.accounts.contains_key(to));
            if !forward.group && forward.to.len() == 1 && mine {
                continue;
            }
            if std::mem::take(&mut first) {
                self.writer.blank();
            }
            let (local, to) = (quoted(from.local.as_str()), all_quoted(forward.to.iter().map(|to| within(to, domain))));
            match forward.group {
                true => self.writer.node("group", &format!("{local} {{ member {to}; }}")),
                false => self.writer.node("alias", &format!("{local} {to}")),
            }
        }
        for (address, list) in std::mem::take(&mut self.local.lists) {
            self.writer.blank();
            let name = list.name.as_ref().map(|name| format!(" name={}", quoted(name))).unwrap_or_default();
            self.writer.open("list", &format!("{}{name}", quoted(address.local.as_str())));
            if !list.members.is_empty() {
                self.writer.node("member", &all_quoted(list.members.iter().map(|to| within(to, domain))));
            }
            match list.posting {
                Some(Posting::Anyone) => self.writer.node("posting", "\"anyone\""),
                Some(Posting::Owners) => self.writer.node("posting", "\"owners\""),
                Some(Posting::Members) | None => {}
            }
            self.writer.close();
        }
    }
}

/// An address as the domain's own nodes name it.
fn within(address: &Address, domain: &DomainName) -> String {
    if address.domain == *domain { address.local.to_string() } else { address.to_string() }
}

fn written(dmarc: &Dmarc) -> String {
    let name = |policy: DmarcPolicy| match policy {
        DmarcPolicy::None => "\"none\"",
        DmarcPolicy::Quarantine => "\"quarantine\"",
        DmarcPolicy::Reject => "\"reject\"",
    };
    let mut text = dmarc.policy.map(name).unwrap_or_default().to_owned();
    for (property, policy) in [("subdomain", dmarc.subdomain), ("nonexistent", dmarc.nonexistent)] {
        if let Some(policy) = policy {
            text += &format!(" {property}={}", name(policy));
        }
    }
    if let Some(report) = &dmarc.report {
        text += &format!(" report={}", quoted(&report.to_string()));
    }
    for (property, said) in [("testing", dmarc.testing), ("strict", dmarc.strict)] {
        if said == Some(true) {
            text += &format!(" {property}=#true");
        }
    }
    text
}
