//! Mail domains: their own settings, those that they take from others, and defaults; and what mail's records need.

use super::{Host, Outside, People};
use crate::code::Code;
use crate::diagnostic::{Path, Report, nearest};
use crate::zone::{Kind, Rdata};
use schema::config::Service;
use schema::name::{Address, DomainName, LocalPart, SecretRef};
use schema::spec::{self, DkimAlgorithm, DmarcPolicy, MtaStsMode, Spec, SpfAll, SpfTerm};
use schema::unit::{Period, Size};
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;

/// A year, the most that MTA-STS takes (RFC 8461 §3.2).
const YEAR: u64 = 31_557_600;
/// The look-ups of one SPF check (RFC 7208 §4.6.4).
const MOST_LOOKUPS: usize = 10;

/// A domain with everything bound.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its name.
    pub name: DomainName,
    /// Where it was written.
    pub at: Path,
    /// The hosts that take its mail, most preferred first: MX preference, and which in the spec's order.
    pub hosts: Vec<(u16, usize)>,
    /// Where the hosts were said; the domain itself where they were not.
    pub hosts_at: Path,
    /// The records' time to live.
    pub ttl: Period,
    /// TLSA records are published in it.
    pub dnssec: bool,
    /// Where CAA records were asked for.
    pub caa: Option<Path>,
    /// Its keys.
    pub dkim: Vec<Dkim>,
    /// Who else sends for it.
    pub spf: Spf,
    /// What others do with what is not its.
    pub dmarc: Dmarc,
    /// TLS for mail to it.
    pub mta_sts: Option<MtaSts>,
    /// Who hears of TLS troubles, and where that was said.
    pub tls_report: Vec<Address>,
    /// Where TLS reports were said.
    pub tls_report_at: Option<Path>,
    /// Who reads `postmaster@`.
    pub postmaster: Option<Address>,
    /// Who gets what nobody has.
    pub catch_all: Option<Address>,
    /// Sets not to publish.
    pub omit: Vec<(DomainName, Kind, Path)>,
    /// The operator's own records.
    pub records: Vec<(DomainName, Kind, Vec<Rdata>, Path)>,
}

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

/// SPF.
#[derive(Clone, Debug)]
pub struct Spf {
    /// Mechanisms after `mx`.
    pub terms: Vec<SpfTerm>,
    /// Everybody else.
    pub all: SpfAll,
    /// Where it was written, if it was.
    pub at: Option<Path>,
}

/// DMARC.
#[derive(Clone, Debug)]
pub struct Dmarc {
    /// `p=`
    pub policy: DmarcPolicy,
    /// `sp=`
    pub subdomain: Option<DmarcPolicy>,
    /// `np=`
    pub nonexistent: Option<DmarcPolicy>,
    /// `t=y`
    pub testing: bool,
    /// `adkim=s; aspf=s`
    pub strict: bool,
    /// Who gets reports.
    pub report: Address,
    /// Where it was written, if it was.
    pub at: Option<Path>,
}

/// MTA-STS.
#[derive(Clone, Debug)]
pub struct MtaSts {
    /// The mode.
    pub mode: MtaStsMode,
    /// How long it is kept.
    pub max_age: Period,
    /// Where it was written, if it was.
    pub at: Option<Path>,
}

/// Each domain's settings in the order in which they win: its own, those of the domain that it is like, defaults.
pub struct Layers<'a> {
    spec: &'a Spec,
    chains: Vec<Vec<usize>>,
}

/// A setting, and where it was written.
type Said<'a, T> = Option<(&'a T, Path)>;

impl<'a> Layers<'a> {
    /// Follows every `like`.
    pub fn of(spec: &'a Spec, report: &mut Report) -> Layers<'a> {
        let mut by_name: HashMap<&DomainName, usize> = HashMap::new();
        for (n, domain) in spec.domain.iter().enumerate() {
            by_name.entry(&domain.name).or_insert(n);
        }
        let mut chains = Vec::with_capacity(spec.domain.len());
        for (start, domain) in spec.domain.iter().enumerate() {
            let mut chain = vec![start];
            let mut seen = HashSet::from([start]);
            let mut at = start;
            while let Some(like) = spec.domain.get(at).and_then(|domain| domain.like.as_ref()) {
                let path = Path::root().field("domain").item(at).field("like");
                let Some(next) = by_name.get(like).copied() else {
                    if at == start {
                        let says = format!("no domain is called `{like}`");
                        let known: Vec<&str> = spec.domain.iter().map(|domain| domain.name.as_str()).collect();
                        report.find(Code::UnknownDomain, path, says).help = nearest(like.as_str(), known);
                    }
                    break;
                };
                if !seen.insert(next) {
                    if next == start {
                        let says = format!("`{}` is like itself in the end", domain.name);
                        report.find(Code::LikeCircle, path, says).help("one of the circle must say what holds");
                    }
                    break;
                }
                chain.push(next);
                at = next;
            }
            chains.push(chain);
        }
        Layers { spec, chains }
    }

    fn said<T>(
        &self,
        of: usize,
        name: &str,
        own: impl Fn(&'a spec::Domain) -> Option<&'a T>,
        common: impl Fn(&'a spec::DomainDefaults) -> Option<&'a T>,
    ) -> Said<'a, T> {
        for at in self.chains.get(of)? {
            if let Some(value) = self.spec.domain.get(*at).and_then(&own) {
                return Some((value, Path::root().field("domain").item(*at).field(name)));
            }
        }
        let defaults = self.spec.defaults.as_ref()?.domain.as_ref()?;
        common(defaults).map(|value| (value, Path::root().field("defaults").field("domain").field(name)))
    }

    /// What each account of a domain may keep.
    pub fn quota(&self, of: usize) -> Option<Size> {
        self.said(of, "quota", |d| d.quota.as_ref(), |d| d.quota.as_ref()).map(|(quota, _)| *quota)
    }
}

/// What a domain's settings are held against.
pub struct Around<'a> {
    /// The spec.
    pub spec: &'a Spec,
    /// Files and time.
    pub outside: &'a Outside<'a>,
    /// Whose settings hold.
    pub layers: &'a Layers<'a>,
    /// The machines, in the spec's order.
    pub hosts: &'a [Host],
    /// The people.
    pub people: &'a People,
}

/// Binds every domain, sorted by name.
pub fn domains(around: &Around<'_>, report: &mut Report) -> Vec<Domain> {
    let names: HashMap<&str, usize> =
        around.spec.host.iter().enumerate().rev().map(|(n, host)| (host.name.as_str(), n)).collect();
    let mut keys = HashMap::new();
    let mut domains: Vec<Domain> = (0..around.spec.domain.len())
        .map(|at| {
            let mut binding = Binding { around, of: at, at: Path::root().field("domain").item(at), report };
            binding.domain(&names, &mut keys)
        })
        .collect();
    domains.sort_by(|a, b| a.name.cmp(&b.name));
    domains
}

/// Keys that were looked at already, by where they stand: domains that are like each other share them.
type Keys = HashMap<Path, Vec<Dkim>>;

struct Binding<'a, 'r> {
    around: &'a Around<'a>,
    of: usize,
    at: Path,
    report: &'r mut Report,
}

impl<'a> Binding<'a, '_> {
    fn spec(&self) -> &'a spec::Domain {
        &self.around.spec.domain[self.of]
    }

    fn domain(&mut self, names: &HashMap<&str, usize>, keys: &mut Keys) -> Domain {
        let (domain, layers, of) = (self.spec(), self.around.layers, self.of);
        let people = self.around.people;
        let (hosts, hosts_at) = self.hosts(names);
        let dns = layers.said(of, "dns", |d| d.dns.as_ref(), |d| d.dns.as_ref());
        let ttl = self.ttl(dns.as_ref());
        let (omit, records) = self.own_records(dns.as_ref());
        let dnssec = layers.said(of, "dnssec", |d| d.dnssec.as_ref(), |d| d.dnssec.as_ref());
        let dnssec = dnssec.is_some_and(|(yes, _)| *yes);
        let caa = layers.said(of, "caa", |d| d.caa.as_ref(), |d| d.caa.as_ref());
        let caa = caa.filter(|(yes, _)| **yes).map(|(_, at)| at);
        self.caa(caa.as_ref(), &hosts);
        let dkim = self.dkim(keys);
        let spf = self.spf();
        let dmarc = self.dmarc();
        let mta_sts = self.mta_sts(&hosts);
        let (tls_report, tls_report_at) = self.tls_report();
        if !dnssec {
            let says = format!("the zone `{}` is not signed, as far as the spec says", domain.name);
            self.report.find(Code::Unsigned, self.at.field("name"), says).help("write `dnssec` where it is");
        } else {
            for (_, host) in &hosts {
                let host = &self.around.hosts[*host];
                if host.tlsa.is_empty() {
                    let says = format!("no key of `{}` is known, so it has no TLSA record", host.name);
                    self.report.find(Code::NoTlsa, host.at.field("tls"), says);
                }
            }
        }
        Domain {
            name: domain.name.clone(),
            hosts,
            hosts_at,
            ttl,
            dnssec,
            caa,
            dkim,
            spf,
            dmarc,
            mta_sts,
            tls_report,
            tls_report_at,
            postmaster: people.postmasters.get(&domain.name).cloned().flatten(),
            catch_all: people.catch_alls.get(&domain.name).cloned(),
            omit,
            records,
            at: self.at.clone(),
        }
    }

    fn caa(&mut self, asked: Option<&Path>, hosts: &[(u16, usize)]) {
        let Some(at) = asked else { return };
        for (_, n) in hosts {
            let (Some(host), Some(bound)) = (self.around.spec.host.get(*n), self.around.hosts.get(*n)) else {
                continue;
            };
            if bound.caa.is_some() {
                continue;
            }
            let acme = host.tls.as_ref().and_then(|tls| tls.acme.as_ref());
            // Its path or query may hold what is nobody's business.
            let authority = acme
                .map(|acme| acme.authority.split('/').nth(2).unwrap_or("it").split('@').next_back().unwrap_or("it"));
            let (says, help) = match authority {
                Some(authority) => (
                    format!("it is not known by which name CAA records know the authority at `{authority}`"),
                    "write `issuer=\"…\"` in `acme`",
                ),
                None => (
                    format!("`{}` has no `acme` that a CAA record could name", host.name),
                    "write `acme` in its `tls`, or the record in `dns`",
                ),
            };
            self.report.find(Code::NoCaa, at.clone(), says).also(bound.at.clone(), "the host").help(help);
        }
    }

    fn hosts(&mut self, names: &HashMap<&str, usize>) -> (Vec<(u16, usize)>, Path) {
        let given = |hosts: &'a Vec<spec::DomainHost>| Some(hosts).filter(|hosts| !hosts.is_empty());
        let said = self.around.layers.said(self.of, "host", |d| given(&d.host), |d| given(&d.host));
        let Some((hosts, at)) = said else {
            match self.around.spec.host.len() {
                1 => return (vec![(10, 0)], self.at.clone()),
                0 => {
                    let says = format!("no host takes the mail of `{}`", self.spec().name);
                    let help = "write `host \"mail.example.org\" { address \"…\"; }`";
                    self.report.find(Code::NoHost, self.at.field("name"), says).help(help);
                }
                _ => {
                    let says = format!("it is not said which hosts take the mail of `{}`", self.spec().name);
                    let list: Vec<&str> = self.around.spec.host.iter().map(|host| host.name.as_str()).take(3).collect();
                    let help = format!("write `host \"{}\"` in it", list.join("\"` or `host \""));
                    self.report.find(Code::NoHost, self.at.field("name"), says).help(help);
                }
            }
            return (Vec::new(), self.at.clone());
        };
        let mut bound: Vec<(u16, usize)> = Vec::new();
        for (n, host) in hosts.iter().enumerate() {
            match names.get(host.name.as_str()) {
                Some(found) if bound.iter().any(|(_, other)| other == found) => {
                    let says = format!("`{}` is named twice", host.name);
                    self.report.find(Code::WrittenTwice, at.item(n), says);
                }
                Some(found) => bound.push((host.priority.unwrap_or(10), *found)),
                None => {
                    let says = format!("no host is called `{}`", host.name);
                    let known: Vec<&str> = names.keys().copied().collect();
                    let found = self.report.find(Code::UnknownHost, at.item(n).field("name"), says);
                    found.help = nearest(host.name.as_str(), known);
                }
            }
        }
        // Of equal ones the name decides, not where they stand.
        bound.sort_by_key(|(priority, n)| (*priority, self.around.spec.host.get(*n).map(|host| host.name.as_str())));
        (bound, at)
    }

    fn ttl(&mut self, dns: Option<&(&'a spec::DomainDns, Path)>) -> Period {
        const BOUNDS: std::ops::RangeInclusive<u64> = 60..=604_800;
        let Some((dns, at)) = dns else { return Period(3600) };
        if let Some(provider) = &dns.provider {
            let known = || self.around.spec.dns.iter().map(|dns| dns.name.as_str());
            if !known().any(|name| name == provider) {
                let says = format!("no DNS provider is called `{provider}`");
                let at = at.field("provider");
                self.report.find(Code::UnknownProvider, at, says).help = nearest(provider, known().collect::<Vec<_>>());
            }
        }
        let ttl = dns.ttl.unwrap_or(Period(3600));
        if !BOUNDS.contains(&ttl.0) {
            let says = format!("a time to live of {ttl} lies outside 1m to 7d");
            self.report.find(Code::Ttl, at.field("ttl"), says);
        }
        ttl
    }

    #[allow(clippy::type_complexity, reason = "two lists of a domain's own, used once")]
    fn own_records(
        &mut self,
        dns: Option<&(&'a spec::DomainDns, Path)>,
    ) -> (Vec<(DomainName, Kind, Path)>, Vec<(DomainName, Kind, Vec<Rdata>, Path)>) {
        let mut omit = Vec::new();
        let mut records: Vec<(DomainName, Kind, Vec<Rdata>, Path)> = Vec::new();
        let Some((dns, at)) = dns else { return (omit, records) };
        for (n, one) in dns.omit.iter().enumerate() {
            let at = at.field("omit").item(n);
            if let Some((name, kind)) = self.record_name(&one.name, &one.kind, &at) {
                omit.push((name, kind, at));
            }
        }
        for (n, one) in dns.record.iter().enumerate() {
            let at = at.field("record").item(n);
            let Some((name, kind)) = self.record_name(&one.name, &one.kind, &at) else { continue };
            let mut values = Vec::new();
            for (v, text) in one.value.iter().enumerate() {
                match Rdata::parse(kind, text) {
                    Ok(value) => values.push(value),
                    Err(wants) => {
                        let says = format!("a record of type {} is {wants}", kind.name());
                        self.report.find(Code::RecordForm, at.field("value").item(v), says);
                    }
                }
            }
            if kind == Kind::Cname && (values.len() > 1 || name == self.spec().name) {
                let says = "a CNAME has one value, and a domain has records of its own".to_owned();
                self.report.find(Code::CnameBeside, at.clone(), says);
            }
            match records.iter_mut().find(|(other, of, ..)| (other, of) == (&name, &kind)) {
                Some((_, _, known, _)) => known.extend(values),
                None => records.push((name, kind, values, at)),
            }
        }
        for (name, kind, values, at) in &mut records {
            values.sort();
            values.dedup();
            if let Some(says) = contradiction(values) {
                self.report.find(Code::RecordForm, at.clone(), format!("{} `{name}`: {says}", kind.name()));
            }
        }
        (omit, records)
    }

    fn record_name(&mut self, name: &str, kind: &str, at: &Path) -> Option<(DomainName, Kind)> {
        let domain = &self.spec().name;
        let owner = if name == "@" { Ok(domain.clone()) } else { domain.under(name) };
        let kind = Kind::named(kind).ok_or(kind);
        match (owner, kind) {
            (Ok(owner), Ok(kind)) => Some((owner, kind)),
            (Err(why), _) => {
                let says = format!("`{name}` is no name under `{domain}`: {why}");
                self.report.find(Code::RecordForm, at.field("name"), says).help("`@` is the domain itself");
                None
            }
            (_, Err(kind)) => {
                let says = format!("`{kind}` is no type of record that is known here");
                let help = nearest(kind, Kind::ALL.map(Kind::name));
                let help = help.unwrap_or_else(|| "A, AAAA, CAA, CNAME, MX, SRV, TLSA and TXT are".to_owned());
                self.report.find(Code::RecordForm, at.field("type"), says).help(help);
                None
            }
        }
    }

    fn dkim(&mut self, keys: &mut Keys) -> Vec<Dkim> {
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
        if let Some(known) = keys.get(&at) {
            return known.clone();
        }
        let mut selectors: HashMap<String, usize> = HashMap::new();
        let mut made = Vec::new();
        for (n, key) in dkim.key.iter().enumerate() {
            let at = at.field("key").item(n);
            // DNS knows no case.
            if let Some(first) = selectors.insert(key.selector.to_ascii_lowercase(), n) {
                let says = format!("the selector `{}` is used twice", key.selector);
                let first = at.clone().item(first);
                self.report.find(Code::SelectorTwice, at.field("selector"), says).also(first, "first used here");
            }
            let label = |label: &str| label.parse::<DomainName>().is_ok_and(|name| !name.as_str().contains('_'));
            let whole = self.spec().name.under(&format!("{}._domainkey", key.selector));
            if !key.selector.split('.').all(label) || whole.is_err() || !key.selector.is_ascii() {
                let says = format!("`{}` is no selector", key.selector.escape_debug());
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
        keys.insert(at, made.clone());
        made
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

    fn spf(&mut self) -> Spf {
        let said = self.around.layers.said(self.of, "spf", |d| d.spf.as_ref(), |d| d.spf.as_ref());
        let Some((spf, at)) = said else { return Spf { terms: Vec::new(), all: SpfAll::Fail, at: None } };
        let mut lookups = 1;
        for (n, term) in spf.terms.iter().enumerate() {
            let at = at.field("terms").item(n);
            let wrong = match term {
                SpfTerm::Ip4(network) => (!is_network::<Ipv4Addr>(network, 32)).then_some(("ip4", network)),
                SpfTerm::Ip6(network) => (!is_network::<Ipv6Addr>(network, 128)).then_some(("ip6", network)),
                SpfTerm::Exists(name) => {
                    let plain = !name.is_empty() && name.bytes().all(|c| c.is_ascii_graphic());
                    (!plain || !is_macro_string(name)).then_some(("exists", name))
                }
                SpfTerm::Include(name) if *name == self.spec().name => {
                    let says = format!("`{name}` would include its own record");
                    self.report
                        .find(Code::SpfTerm, at.clone(), says)
                        .help("take it out: its own hosts are in it by `mx`");
                    None
                }
                SpfTerm::Include(_) | SpfTerm::A(_) | SpfTerm::Mx(_) => None,
            };
            if let Some((what, value)) = wrong {
                let says = format!("`{}` is no `{what}`", value.escape_debug());
                self.report.find(Code::SpfTerm, at.clone(), says).help("as in `ip4 \"192.0.2.0/24\"`");
            }
            lookups += usize::from(!matches!(term, SpfTerm::Ip4(_) | SpfTerm::Ip6(_)));
            if lookups == MOST_LOOKUPS + 1 {
                let says =
                    format!("with `mx`, this is look-up {lookups} of the record, and receivers stop at {MOST_LOOKUPS}");
                self.report.find(Code::SpfLookups, at, says).help("take some out, or write addresses in their place");
            }
        }
        Spf { terms: spf.terms.clone(), all: spf.all.unwrap_or(SpfAll::Fail), at: Some(at) }
    }

    fn dmarc(&mut self) -> Dmarc {
        let said = self.around.layers.said(self.of, "dmarc", |d| d.dmarc.as_ref(), |d| d.dmarc.as_ref());
        let postmaster = || Address::new(LocalPart::postmaster(), self.spec().name.clone());
        let Some((given, at)) = said else {
            return Dmarc {
                policy: DmarcPolicy::Reject,
                subdomain: None,
                nonexistent: None,
                testing: false,
                strict: false,
                report: postmaster(),
                at: None,
            };
        };
        let report = given.report.clone().unwrap_or_else(postmaster);
        self.reports(&report, at.field("report"));
        let ours = |domain: &DomainName| self.around.spec.domain.iter().any(|one| one.name == *domain);
        if !report.domain.is_within(&self.spec().name) && !ours(&report.domain) {
            let record = format!("{}._report._dmarc.{}", self.spec().name, report.domain);
            let says = format!("reports go to `{}`, which must publish that it takes them", report.domain);
            self.report
                .find(Code::ReportsElsewhere, at.field("report"), says)
                .help(format!("there must be a TXT record `{record}` with `v=DMARC1;`"));
        }
        Dmarc {
            policy: given.policy.unwrap_or(DmarcPolicy::Reject),
            subdomain: given.subdomain,
            nonexistent: given.nonexistent,
            testing: given.testing,
            strict: given.strict,
            report,
            at: Some(at),
        }
    }

    fn reports(&mut self, to: &Address, at: Path) {
        if !self.around.people.has(to) {
            let help = self.around.people.nearest(to);
            self.report.find(Code::ReportsToNobody, at, format!("nobody has the address `{to}`")).help = help;
        }
    }

    fn mta_sts(&mut self, hosts: &[(u16, usize)]) -> Option<MtaSts> {
        let said = self.around.layers.said(self.of, "mta-sts", |d| d.mta_sts.as_ref(), |d| d.mta_sts.as_ref());
        let hosts: Vec<&Host> = hosts.iter().filter_map(|(_, n)| self.around.hosts.get(*n)).collect();
        let server = hosts.iter().find(|host| !host.ports(Service::Https).is_empty());
        let Some((given, at)) = said else {
            // RFC 8461 §5: testing harms nobody, and tells of what would fail.
            return server.map(|_| MtaSts { mode: MtaStsMode::Testing, max_age: Period(604_800), at: None });
        };
        let mode = given.mode.unwrap_or(MtaStsMode::Enforce);
        let max_age = given.max_age.unwrap_or(Period(604_800));
        if max_age.0 > YEAR || (max_age.0 < 86_400 && mode == MtaStsMode::Enforce) {
            let says = format!("{max_age} lies outside 1d to {YEAR} s");
            self.report.find(Code::MaxAge, at.field("max-age"), says).help("`7d` is usual");
        }
        let Some(server) = server else {
            // Nobody asks where there is no record, which is what `none` wants.
            if !hosts.is_empty() && mode != MtaStsMode::None {
                let says = format!("no host of `{}` serves https, so nobody gets its policy", self.spec().name);
                self.report.find(Code::PolicyUnserved, at, says).help("write `https 443` in the host's `listen`");
            }
            return None;
        };
        let policy_host = format!("mta-sts.{}", self.spec().name);
        if server.lacks(&policy_host) {
            let says = format!("the certificate of `{}` does not cover `{policy_host}`", server.name);
            self.report.find(Code::CertificateOthers, at.clone(), says);
        }
        if mode == MtaStsMode::Enforce
            && let Some(host) = hosts.iter().find(|host| host.self_signed)
        {
            let says = format!("`{}` shows a certificate of its own, so senders that obey do not deliver", host.name);
            let help = "write `mta-sts \"testing\"` until it has a certificate";
            self.report.find(Code::EnforceSelfSigned, at.clone(), says).help(help);
        }
        Some(MtaSts { mode, max_age, at: Some(at) })
    }

    fn tls_report(&mut self) -> (Vec<Address>, Option<Path>) {
        let given = |list: &'a Vec<Address>| Some(list).filter(|list| !list.is_empty());
        let said = self.around.layers.said(self.of, "tls-report", |d| given(&d.tls_report), |d| given(&d.tls_report));
        let Some((list, at)) = said else {
            return (vec![Address::new(LocalPart::postmaster(), self.spec().name.clone())], None);
        };
        for (n, address) in list.iter().enumerate() {
            self.reports(address, at.item(n));
        }
        (list.clone(), Some(at))
    }
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

/// What values of one set cannot be together, in words.
fn contradiction(values: &[Rdata]) -> Option<&'static str> {
    let count = |what: fn(&Rdata) -> bool| values.iter().filter(|value| what(value)).count();
    let null: fn(&Rdata) -> bool = |value| matches!(value, Rdata::Mx(_, None) | Rdata::Srv(_, _, _, None));
    if count(|value| matches!(value, Rdata::Cname(_))) > 1 {
        Some("a CNAME has one value")
    } else if count(crate::zone::is_spf) > 1 {
        Some("two SPF records are a permanent error (RFC 7208 §4.5)")
    } else if count(null) > 0 && values.len() > 1 {
        Some("`.` says that there is no server, and stands alone (RFC 7505 §3)")
    } else {
        None
    }
}

/// RFC 7208 §7.1: `%` begins a macro, or `%%`, `%_` or `%-`.
fn is_macro_string(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        rest = match after.chars().next() {
            Some('%' | '_' | '-') => &after[1..],
            Some('{') => {
                let Some((inner, after)) = after[1..].split_once('}') else { return false };
                let mut inner = inner.chars();
                let letter = inner.next().is_some_and(|c| "slodiphcrtv".contains(c.to_ascii_lowercase()));
                let rest = inner.as_str().trim_start_matches(|c: char| c.is_ascii_digit());
                let rest = rest.strip_prefix(['r', 'R']).unwrap_or(rest);
                if !letter || !rest.chars().all(|c| ".-+,/_=".contains(c)) {
                    return false;
                }
                after
            }
            _ => return false,
        };
    }
    true
}

fn is_network<T: std::str::FromStr>(text: &str, longest: u8) -> bool {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    // RFC 7208 §12: a length has neither sign nor leading zero.
    let plain = |prefix: &str| prefix == "0" || prefix.starts_with(|c: char| ('1'..='9').contains(&c));
    let length = |prefix: &str| plain(prefix) && prefix.parse::<u8>().is_ok_and(|length| length <= longest);
    address.parse::<T>().is_ok() && prefix.is_none_or(length)
}
