//! The records of each domain, from the spec alone.

use super::runtime::policy;
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::read::parallel;
use crate::resolve::{Domain, Host, KeyState, Omission, OwnRecord, Resolved, is_spf};
use crate::zone::{Kind, Origin, Rdata, RecordSet, Zone};
use aws_lc_rs::digest;
use schema::config::Service;
use schema::name::DomainName;
use schema::spec::{DkimAlgorithm, DmarcPolicy, SpfAll, SpfTerm};
use schema::unit::Period;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::IpAddr;

/// The client services of RFC 6186 and RFC 8314, with what serves them; `None`: nothing in this version.
const CLIENT_SERVICES: [(&str, Option<Service>); 6] = [
    ("_imap._tcp", Some(Service::Imap)),
    ("_imaps._tcp", Some(Service::Imaps)),
    ("_pop3._tcp", None),
    ("_pop3s._tcp", None),
    ("_submission._tcp", Some(Service::Submission)),
    ("_submissions._tcp", Some(Service::Submissions)),
];

/// The zones of every domain.
pub fn zones(resolved: &Resolved, report: &mut Report) -> Vec<Zone> {
    let guests = Guests::of(resolved);
    let made = parallel::map(&resolved.domains, |domain| {
        let mut report = Report::new();
        let mut sets = Sets::of(domain);
        sets.arrival(resolved);
        sets.authentication(resolved);
        sets.clients(resolved);
        sets.authorities(resolved);
        guests.reporting.get(&domain.name).into_iter().flatten().for_each(|other| sets.consent(other));
        guests.hosts.get(&domain.name).into_iter().flatten().for_each(|host| sets.host(host));
        for other in resolved.delegated.get(&domain.name).into_iter().flatten().filter_map(|name| resolved.domain(name))
        {
            sets.guest(other, resolved);
        }
        (sets.zone(resolved, &mut report), report)
    });
    let mut zones: Vec<Zone> = Vec::with_capacity(made.len());
    for (zone, found) in made {
        report.absorb(found);
        // Two domains of one name are an error, which has been told.
        if zones.last().is_none_or(|last| last.name != zone.name) {
            zones.push(zone);
        }
    }
    zones
}

/// What has a record in a domain's zone and is not that domain.
struct Guests<'a> {
    /// Other domains, whose DMARC reports come there.
    reporting: HashMap<&'a DomainName, Vec<&'a Domain>>,
    /// The hosts whose names lie in it.
    hosts: HashMap<&'a DomainName, Vec<&'a Host>>,
}

impl<'a> Guests<'a> {
    fn of(resolved: &'a Resolved) -> Guests<'a> {
        let mut guests = Guests { reporting: HashMap::new(), hosts: HashMap::new() };
        for domain in &resolved.domains {
            let to = &domain.dmarc.report.domain;
            if let Some(home) = (!to.is_within(&domain.name)).then(|| home(to, resolved)).flatten() {
                guests.reporting.entry(&home.name).or_default().push(domain);
            }
        }
        for host in &resolved.hosts {
            if let Some(home) = home(host.name.domain(), resolved) {
                guests.hosts.entry(&home.name).or_default().push(host);
            }
        }
        guests
    }
}

/// The domain of the spec in whose zone a name lies.
fn home<'a>(name: &DomainName, resolved: &'a Resolved) -> Option<&'a Domain> {
    let mut at = Some(name.clone());
    while let Some(name) = at {
        if let Ok(found) = resolved.domains.binary_search_by(|domain| domain.name.cmp(&name)) {
            return resolved.domains.get(found);
        }
        at = name.parent();
    }
    None
}

/// A TXT record whose value changes as keys, policies and receivers of reports do.
struct Changing {
    /// What stands before the domain's name.
    prefix: String,
    text: String,
    origin: Origin,
}

/// What changes of a domain: its keys and policies.
fn changing(domain: &Domain, resolved: &Resolved) -> Vec<Changing> {
    let origin = |why: &'static str, rule: &'static str, at: Option<&Path>| Origin {
        why,
        rule,
        at: at.unwrap_or(&domain.at).clone(),
        given: at.is_some(),
    };
    let mut made = Vec::new();
    let mut put = |prefix: String, text: String, origin: Origin| made.push(Changing { prefix, text, origin });
    if let Some((given, text)) = domain.mta_sts.as_ref().zip(policy(domain, resolved)) {
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let id = digest.as_ref()[..16].iter().fold(String::new(), |mut id, octet| {
            let _ = write!(id, "{octet:02x}");
            id
        });
        let why = "says that there is a policy of TLS, and when it changed";
        put("_mta-sts".into(), format!("v=STSv1; id={id}"), origin(why, "RFC 8461 §3.1", given.at.as_ref()));
    }
    for key in &domain.dkim {
        let kind = match key.algorithm {
            DkimAlgorithm::Ed25519 => "ed25519",
            DkimAlgorithm::Rsa => "rsa",
        };
        let (text, why) = match key.state {
            KeyState::Signing | KeyState::Next => {
                let flags = if key.testing { "t=y; " } else { "" };
                let text = format!("v=DKIM1; k={kind}; h=sha256; {flags}p={}", key.public);
                let why = match key.state {
                    KeyState::Signing => "is the public key of the domain's signatures",
                    _ => "is the public key of signatures to come",
                };
                (text, why)
            }
            KeyState::Retiring => (
                format!("v=DKIM1; k={kind}; h=sha256; p={}", key.public),
                "is the public key of signatures that are still under way",
            ),
            KeyState::Revoked => ("v=DKIM1; p=".to_owned(), "says that signatures of this selector hold no longer"),
        };
        put(format!("{}._domainkey", key.selector), text, origin(why, "RFC 6376 §3.6.1", Some(&key.at)));
    }
    let why = "says what to do with mail that is not the domain's";
    put("_dmarc".into(), dmarc(domain), origin(why, "RFC 9989 §4.7", domain.dmarc.at.as_ref()));
    let to: Vec<String> = domain.tls_report.iter().map(|to| format!("mailto:{}", uri(&to.to_string()))).collect();
    let why = "says who hears of TLS troubles";
    let rua = format!("v=TLSRPTv1; rua={}", to.join(","));
    put("_smtp._tls".into(), rua, origin(why, "RFC 8460 §3", domain.tls_report_at.as_ref()));
    made
}

/// The record sets of a zone while they are collected.
struct Sets<'a> {
    domain: &'a Domain,
    sets: BTreeMap<(DomainName, Kind), (Vec<Rdata>, Vec<Origin>)>,
    /// Names that would be too long, and where what they would say is written.
    long: Vec<(String, Path)>,
    /// Times to live that are lowered while a set changes.
    lowered: BTreeMap<(DomainName, Kind), Period>,
}

impl<'a> Sets<'a> {
    fn of(domain: &'a Domain) -> Sets<'a> {
        Sets { domain, sets: BTreeMap::new(), long: Vec::new(), lowered: BTreeMap::new() }
    }

    fn put(&mut self, name: DomainName, mut values: Vec<Rdata>, origin: Origin) {
        let Some(kind) = values.first().map(Rdata::kind) else { return };
        values.sort();
        values.dedup();
        self.sets.insert((name, kind), (values, vec![origin]));
    }

    /// Under the domain: a fixed prefix.
    fn under(&mut self, prefix: &str, values: Vec<Rdata>, origin: Origin) {
        self.below(&self.domain.name, prefix, values, origin);
    }

    /// Under any name: a prefix, for which there may be no room (RFC 1035 §2.3.4).
    fn below(&mut self, name: &DomainName, prefix: &str, values: Vec<Rdata>, origin: Origin) {
        if values.is_empty() {
            return;
        }
        match name.under(prefix) {
            Ok(name) => self.put(name, values, origin),
            Err(_) => self.long.push((format!("{prefix}.{name}"), origin.at)),
        }
    }

    fn origin(&self, why: &'static str, rule: &'static str, at: Option<&Path>) -> Origin {
        Origin { why, rule, at: at.unwrap_or(&self.domain.at).clone(), given: at.is_some() }
    }

    /// Another domain of the spec may have its DMARC reports sent here (RFC 9990 §4).
    fn consent(&mut self, other: &Domain) {
        let at = other.dmarc.at.clone().unwrap_or_else(|| other.at.clone());
        let why = "lets the other domain's DMARC reports come here";
        let origin = Origin { why, rule: "RFC 9990 §4", at, given: true };
        let prefix = format!("{}._report._dmarc", other.name);
        self.below(&other.dmarc.report.domain, &prefix, vec![Rdata::Txt("v=DMARC1;".into())], origin);
    }

    /// How mail comes to the domain: MX and MTA-STS.
    fn arrival(&mut self, resolved: &Resolved) {
        let mx = resolved
            .hosts_of(self.domain)
            .map(|(priority, host)| Rdata::Mx(priority, Some(host.name.domain().clone())));
        let mx: Vec<Rdata> = self.domain.exchangers.clone().unwrap_or_else(|| mx.collect());
        let said = (self.domain.hosts_at != self.domain.at).then_some(&self.domain.hosts_at);
        let origin = self.origin("says which hosts take the domain's mail", "RFC 5321 §5.1", said);
        self.put(self.domain.name.clone(), mx, origin);
        let Some(given) = &self.domain.mta_sts else { return };
        if let Some(host) = policy_host(self.domain, resolved) {
            let origin = self.origin("names the host that serves the policy", "RFC 8461 §3.3", given.at.as_ref());
            self.alias("mta-sts", host, origin);
        }
    }

    /// Which authorities may issue certificates: by ACME, for the domain's hosts.
    fn authorities(&mut self, resolved: &Resolved) {
        let Some(at) = self.domain.caa.clone() else { return };
        let issuers = resolved.hosts_of(self.domain).filter_map(|(_, host)| host.caa.as_deref());
        let values: Vec<Rdata> = issuers.map(issue).collect();
        let origin = self.origin("says which authority may issue certificates", "RFC 8659, RFC 8657", Some(&at));
        self.put(self.domain.name.clone(), values, origin);
    }

    fn alias(&mut self, prefix: &str, host: &Host, origin: Origin) {
        let own = self.domain.name.under(prefix);
        if own.as_ref().ok() != Some(host.name.domain()) {
            self.under(prefix, vec![Rdata::Cname(host.name.domain().clone())], origin);
        }
    }

    /// What others check mail from the domain by: SPF, DKIM and DMARC.
    fn authentication(&mut self, resolved: &Resolved) {
        let origin = self.origin("says who sends for the domain", "RFC 7208", self.domain.spf.at.as_ref());
        self.put(self.domain.name.clone(), vec![Rdata::Txt(spf(self.domain, resolved))], origin);
        match &self.domain.delegation {
            None => {
                for one in changing(self.domain, resolved) {
                    self.under(&one.prefix, vec![Rdata::Txt(one.text)], one.origin);
                }
            }
            Some(delegation) => {
                let selectors = delegation.selectors.iter().map(|selector| format!("{selector}._domainkey"));
                let policies = changing(self.domain, resolved).into_iter().map(|one| one.prefix);
                for prefix in selectors.chain(policies.filter(|prefix| !prefix.ends_with("._domainkey"))) {
                    let Ok(target) = self.domain.place(&prefix) else { continue };
                    let why = "leads to where it is published, and is set once";
                    let origin = self.origin(why, "RFC 1034 §3.6.2", Some(&delegation.at));
                    self.under(&prefix, vec![Rdata::Cname(target)], origin);
                }
            }
        }
    }

    /// What changes of another domain, which is published here.
    fn guest(&mut self, other: &Domain, resolved: &Resolved) {
        for one in changing(other, resolved) {
            match other.place(&one.prefix) {
                Ok(name) => self.put(name, vec![Rdata::Txt(one.text)], one.origin),
                Err(_) => self.long.push((format!("{} of {}", one.prefix, other.name), one.origin.at)),
            }
        }
    }

    /// How mail clients find their servers.
    fn clients(&mut self, resolved: &Resolved) {
        let hosts: Vec<&Host> = resolved.hosts_of(self.domain).map(|(_, host)| host).collect();
        for (name, service) in CLIENT_SERVICES {
            let mut values = Vec::new();
            for host in &hosts {
                let ports = service.map(|service| host.ports(service)).unwrap_or_default();
                values.extend(ports.into_iter().map(|port| Rdata::Srv(0, 1, port, Some(host.name.domain().clone()))));
            }
            let why = if values.is_empty() {
                values.push(Rdata::Srv(0, 0, 0, None));
                "says that the service is not offered"
            } else {
                "says where mail clients find the service"
            };
            let at = hosts.first().map(|host| host.at.field("listen"));
            let origin = self.origin(why, "RFC 6186 §3.4, RFC 8314 §5.1", at.as_ref());
            self.under(name, values, origin);
        }
        if let Some(host) = https(self.domain, resolved) {
            for prefix in ["autoconfig", "autodiscover"] {
                let origin = self.origin("lets mail clients set themselves up", "draft-bucksch-autoconfig", None);
                self.alias(prefix, host, origin);
            }
        }
    }

    /// A host that lies in this zone.
    fn host(&mut self, host: &Host) {
        let name = host.name.domain().clone();
        let at = host.at.field("address");
        for wanted in [Kind::A, Kind::Aaaa] {
            let values = host.published().0.iter().map(|address| match address {
                IpAddr::V4(v4) => Rdata::A(*v4),
                IpAddr::V6(v6) => Rdata::Aaaa(*v6),
            });
            let values: Vec<Rdata> = values.filter(|value| value.kind() == wanted).collect();
            self.lowered.extend(host.published().1.map(|ttl| ((name.clone(), wanted), ttl)));
            let origin = self.origin("is the host's address", "RFC 1035 §3.4.1, RFC 3596 §2", Some(&at));
            self.put(name.clone(), values, origin);
        }
        // A domain's own record covers a host of the same name: `mx` is that host.
        if name != self.domain.name {
            let text = format!("v=spf1 a{} ra=postmaster -all", sources(host));
            let origin =
                self.origin("says who sends in the host's own name, as bounces do", "RFC 7208 §2.3", Some(&host.at));
            self.put(name.clone(), vec![Rdata::Txt(text)], origin);
        }
        if let Some((at, issuer)) =
            self.domain.caa.clone().zip(host.caa.as_deref()).filter(|_| name != self.domain.name)
        {
            let origin = self.origin("says which authority may issue certificates", "RFC 8659, RFC 8657", Some(&at));
            self.put(name.clone(), vec![issue(issuer)], origin);
        }
        if self.domain.dnssec {
            let values =
                host.tlsa.iter().map(|one| Rdata::Tlsa(one.usage, one.selector, one.matching, one.data.clone()));
            let at = host.at.field("tls");
            let origin = self.origin("holds senders to the host's key", "RFC 7672 §3.1", Some(&at));
            self.below(&name, "_25._tcp", values.collect(), origin);
        }
    }

    /// The zone, with the operator's own records in it.
    fn zone(mut self, resolved: &Resolved, report: &mut Report) -> Zone {
        self.omit(report);
        self.own();
        self.cnames(resolved, report);
        for (name, at) in &self.long {
            let says = format!("the name `{name}` has {} octets, so its record is not published", name.len());
            report.find(Code::NameLong, at.clone(), says).help("a name has at most 253");
        }
        let ttl = self.domain.ttl;
        let mut lowered = self.lowered;
        lowered.extend(self.domain.exchangers_ttl.map(|ttl| ((self.domain.name.clone(), Kind::Mx), ttl)));
        let sets = self.sets.into_iter();
        let set = |(key, (values, origins))| {
            let ttl = lowered.get(&key).copied().unwrap_or(ttl);
            let (name, kind) = key;
            RecordSet { name, kind, ttl, values, origins }
        };
        let mut sets: Vec<RecordSet> = sets.map(set).collect();
        sets.sort_by_cached_key(|set| (set.name.labels().rev().map(str::to_owned).collect::<Vec<_>>(), set.kind));
        Zone { name: self.domain.name.clone(), ttl, sets }
    }

    fn omit(&mut self, report: &mut Report) {
        for Omission { name, kind, at } in &self.domain.omit {
            if self.sets.remove(&(name.clone(), *kind)).is_none() {
                let says = format!("there is no {} record `{name}` to leave out", kind.name());
                report.find(Code::NothingOmitted, at.clone(), says);
            }
        }
    }

    /// The operator's own records, in place of what is derived or beside it.
    fn own(&mut self) {
        for OwnRecord { name, kind, values, at } in &self.domain.records {
            if values.is_empty() {
                continue;
            }
            let own =
                at.iter().map(|at| Origin { why: "is the operator's own", rule: "", at: at.clone(), given: true });
            let (mut values, mut origins) = (values.clone(), own.collect::<Vec<_>>());
            // SPF stays one record; other TXT at the domain's name, as proofs of ownership, stand beside it.
            if let Some((derived, why)) = self.sets.get(&(name.clone(), *kind))
                && *kind == Kind::Txt
                && !values.iter().any(is_spf)
                && derived.iter().any(is_spf)
            {
                values.extend(derived.iter().filter(|value| is_spf(value)).cloned());
                values.sort();
                values.dedup();
                origins.splice(0..0, why.iter().cloned());
            }
            self.sets.insert((name.clone(), *kind), (values, origins));
        }
    }

    fn cnames(&self, resolved: &Resolved, report: &mut Report) {
        let cnames = self.sets.iter().filter(|((_, kind), _)| *kind == Kind::Cname);
        for ((name, _), (_, why)) in cnames {
            let beside = self.sets.iter().find(|((other, kind), _)| other == name && *kind != Kind::Cname);
            if let Some(((_, kind), (_, origins))) = beside {
                let says = format!("`{name}` has a CNAME and a {} record", kind.name());
                let at = origins.last().map_or_else(|| self.domain.at.clone(), |origin| origin.at.clone());
                report.find(Code::CnameBeside, at, says).help("`omit` the one that is derived");
            } else if home(name, resolved).is_some_and(|home| home.name == *name) {
                let says = format!("`{name}` has a CNAME in the zone `{}`, and is a domain itself", self.domain.name);
                let at = why.last().map_or_else(|| self.domain.at.clone(), |origin| origin.at.clone());
                report.find(Code::CnameBeside, at, says).help("`omit` the CNAME");
            }
        }
    }
}

fn issue(issuer: &str) -> Rdata {
    Rdata::Caa(0, "issue".to_owned(), issuer.to_owned())
}

/// The host that serves the domain's policy: the most preferred one of those on port 443, else on any.
/// The host that serves a domain's MTA-STS policy.
pub fn policy_host<'a>(domain: &'a Domain, resolved: &'a Resolved) -> Option<&'a Host> {
    let usual = resolved.hosts_of(domain).map(|(_, host)| host).find(|host| host.serves_policies());
    usual.or_else(|| https(domain, resolved))
}

/// The most preferred host that serves https.
fn https<'a>(domain: &'a Domain, resolved: &'a Resolved) -> Option<&'a Host> {
    resolved.hosts_of(domain).map(|(_, host)| host).find(|host| !host.ports(Service::Https).is_empty())
}

/// Mechanisms for where a host's mail comes from, if not from its own addresses.
pub fn sources(host: &Host) -> String {
    let mut text = String::new();
    let (published, _) = host.published();
    // While addresses change, mail may come from the new ones already.
    let coming = host.addresses.iter().filter(|_| host.outbound.is_empty());
    for source in host.outbound.iter().chain(coming).filter(|source| !published.contains(source)) {
        // Writing to a String cannot fail.
        let _ = match source {
            IpAddr::V4(v4) => write!(text, " ip4:{v4}"),
            IpAddr::V6(v6) => write!(text, " ip6:{v6}"),
        };
    }
    text
}

fn spf(domain: &Domain, resolved: &Resolved) -> String {
    // RFC 7505: there is no host under the null MX that could send.
    let no_mail = domain.own_exchangers().is_some_and(|own| own.is_empty());
    let mut text = String::from(if no_mail { "v=spf1" } else { "v=spf1 mx" });
    for (_, host) in resolved.hosts_of(domain).filter(|_| !no_mail) {
        text += &sources(host);
    }
    for term in &domain.spf.terms {
        let _ = match term {
            SpfTerm::Include(name) => write!(text, " include:{name}"),
            SpfTerm::A(name) => write!(text, " a:{name}"),
            SpfTerm::Mx(name) => write!(text, " mx:{name}"),
            SpfTerm::Ip4(network) => write!(text, " ip4:{network}"),
            SpfTerm::Ip6(network) => write!(text, " ip6:{network}"),
            SpfTerm::Exists(name) => write!(text, " exists:{name}"),
        };
    }
    text += match domain.spf.all {
        SpfAll::Fail => " ra=postmaster -all",
        SpfAll::Softfail => " ra=postmaster ~all",
        SpfAll::Neutral => " ra=postmaster ?all",
    };
    text
}

fn dmarc(domain: &Domain) -> String {
    let name = |policy: DmarcPolicy| match policy {
        DmarcPolicy::None => "none",
        DmarcPolicy::Quarantine => "quarantine",
        DmarcPolicy::Reject => "reject",
    };
    let given = &domain.dmarc;
    let mut text = format!("v=DMARC1; p={}", name(given.policy));
    for (tag, policy) in [("sp", given.subdomain), ("np", given.nonexistent)] {
        if let Some(policy) = policy {
            let _ = write!(text, "; {tag}={}", name(policy));
        }
    }
    text += if given.strict { "; adkim=s; aspf=s" } else { "" };
    text += match given.psd {
        Some(true) => "; psd=y",
        Some(false) => "; psd=n",
        None => "",
    };
    text += if given.testing { "; t=y" } else { "" };
    let to = uri(&given.report.to_string());
    let _ = write!(text, "; rua=mailto:{to}; ruf=mailto:{to}");
    text
}

/// An address in a `mailto:` URI of a tag list: what would end it is escaped (RFC 6068 §2, RFC 9989 §4.7).
fn uri(address: &str) -> String {
    let mut text = String::with_capacity(address.len());
    for octet in address.bytes() {
        match octet {
            b'!' | b',' | b';' | b'%' | b'?' | b'&' | b'#' | b'/' | b'^' | b'`' | b'{' | b'|' | b'}' | 128.. => {
                let _ = write!(text, "%{octet:02X}");
            }
            _ => text.push(char::from(octet)),
        }
    }
    text
}
