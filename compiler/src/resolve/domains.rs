//! Mail domains: their own settings, those that they take from others, and defaults.

use super::delegation::Delegation;
use super::dkim::{Dkim, Keys};
use super::records::{Omission, OwnRecord};
use super::spf::{self, Spf};
use super::{Host, Outside, People};
use crate::code::Code;
use crate::diagnostic::{Path, Report, meant, nearest};
use crate::zone::{Kind, Rdata};
use schema::config::Service;
use schema::name::{Address, DomainName, LocalPart};
use schema::spec::{self, DmarcPolicy, MtaStsMode, PeopleFrom, Spec};
use schema::unit::{Period, Size};
use std::collections::{HashMap, HashSet};

/// The longest chain of `like`.
const LONGEST_LIKE: usize = 64;
/// The most records, keys, terms and addresses that all domains together may take from each other and from `defaults`.
const MOST_TAKEN: usize = 2_000_000;
/// A year, the most that MTA-STS takes (RFC 8461 §3.2).
const YEAR: u64 = 31_557_600;

/// A domain with everything bound.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its name.
    pub name: DomainName,
    /// Where it was written.
    pub at: Path,
    /// Which directory its people come from, if not from the spec.
    pub directory: Option<String>,
    /// Who keeps those of its people that are not the spec's.
    pub people: PeopleFrom,
    /// What each of its people may keep, where they do not say.
    pub quota: Option<Size>,
    /// The hosts that take its mail, most preferred first: MX preference, and which in the spec's order.
    pub hosts: Vec<(u16, usize)>,
    /// Where the hosts were said; the domain itself where they were not.
    pub hosts_at: Path,
    /// The `dns` node that publishes its zone.
    pub provider: Option<String>,
    /// The records' time to live.
    pub ttl: Period,
    /// The time to live of MX and addresses while they change, where that is shorter.
    pub move_ttl: Option<Period>,
    /// TLSA records are published in it.
    pub dnssec: bool,
    /// Where CAA records were asked for.
    pub caa: Option<Path>,
    /// Its keys.
    pub dkim: Vec<Dkim>,
    /// How old a key may get.
    pub rotate: Option<Period>,
    /// Who else sends for it.
    pub spf: Spf,
    /// What others do with what is not its.
    pub dmarc: Dmarc,
    /// TLS for mail to it.
    pub mta_sts: Option<MtaSts>,
    /// Hosts that its MTA-STS policy names beside those of its MX: those that mail moves from or to.
    pub policy_also: Vec<DomainName>,
    /// MX records that are published in the place of what the spec says, while mail moves.
    pub exchangers: Option<Vec<Rdata>>,
    /// Their time to live meanwhile.
    pub exchangers_ttl: Option<Period>,
    /// Who hears of TLS troubles, and where that was said.
    pub tls_report: Vec<Address>,
    /// Where TLS reports were said.
    pub tls_report_at: Option<Path>,
    /// Who reads `postmaster@`.
    pub postmaster: Option<Address>,
    /// Who gets what nobody has.
    pub catch_all: Option<Address>,
    /// Sets not to publish.
    pub omit: Vec<Omission>,
    /// The operator's own records.
    pub records: Vec<OwnRecord>,
    /// Where what changes is published, if not in its own zone.
    pub delegation: Option<Delegation>,
}

impl Domain {
    /// Where a record of the operator's own replaces the domain's MX: the hosts that it names, most preferred first;
    /// none where it says that the domain takes no mail (RFC 7505). So do those that stand while mail moves. Else `None`.
    pub fn own_exchangers(&self) -> Option<Vec<&DomainName>> {
        let own = || self.records.iter().find(|own| own.kind == Kind::Mx && own.name == self.name);
        let values = match &self.exchangers {
            Some(values) => values,
            None => &own()?.values,
        };
        let mut seen = HashSet::new();
        Some(values.iter().filter_map(Rdata::target).filter(|host| seen.insert(*host)).collect())
    }
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
    /// `psd=`
    pub psd: Option<bool>,
    /// How long each weaker policy is published before the next.
    pub step: Option<Period>,
    /// Who gets reports.
    pub report: Address,
    /// Where that was written, if it was.
    pub reports_at: Option<Path>,
    /// Where it was written, if it was.
    pub at: Option<Path>,
}

impl Dmarc {
    /// Where the reports' receiver was written; the domain where it was not.
    pub fn report_at(&self, domain: &Path) -> Path {
        self.reports_at.clone().or_else(|| self.at.clone()).unwrap_or_else(|| domain.clone())
    }
}

/// MTA-STS.
#[derive(Clone, Debug)]
pub struct MtaSts {
    /// The mode.
    pub mode: MtaStsMode,
    /// How long it is kept.
    pub max_age: Period,
    /// How long it is tested before it is enforced.
    pub step: Option<Period>,
    /// Where it was written, if it was.
    pub at: Option<Path>,
}

/// Each domain's settings in the order in which they win: its own, those of the domain that it is like, defaults.
pub struct Layers<'a> {
    spec: &'a Spec,
    chains: Vec<Vec<usize>>,
    names: HashMap<&'a DomainName, usize>,
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
        let mut far = false;
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
                if chain.len() > LONGEST_LIKE {
                    // One is enough: whoever is like it is too far away as well.
                    if !far {
                        let says = format!("`{}` is like others over more than {LONGEST_LIKE} steps", domain.name);
                        let path = Path::root().field("domain").item(start).field("like");
                        report
                            .find(Code::LikeTooLong, path, says)
                            .help("let all of them be like one, or use `defaults`");
                    }
                    far = true;
                    break;
                }
                chain.push(next);
                at = next;
            }
            chains.push(chain);
        }
        Layers { spec, chains, names: by_name }
    }

    /// What the nearest layer says.
    pub(super) fn said<T>(
        &self,
        of: usize,
        name: &'static str,
        own: impl Fn(&'a spec::Domain) -> Option<&'a T>,
        common: impl Fn(&'a spec::DomainDefaults) -> Option<&'a T>,
    ) -> Said<'a, T> {
        self.all(of, name, own, common).into_iter().next()
    }

    /// What every layer says, the nearest first.
    fn all<T>(
        &self,
        of: usize,
        name: &'static str,
        own: impl Fn(&'a spec::Domain) -> Option<&'a T>,
        common: impl Fn(&'a spec::DomainDefaults) -> Option<&'a T>,
    ) -> Vec<(&'a T, Path)> {
        let chain = self.chains.get(of).into_iter().flatten();
        let layers = chain.filter_map(|at| {
            let value = self.spec.domain.get(*at).and_then(&own)?;
            Some((value, Path::root().field("domain").item(*at).field(name)))
        });
        let defaults = self.spec.defaults.as_ref().and_then(|defaults| defaults.domain.as_ref());
        let defaults = defaults.and_then(common);
        let at = || Path::root().field("defaults").field("domain").field(name);
        layers.chain(defaults.map(|value| (value, at()))).collect()
    }

    /// The first domain with which all together take more from each other and from `defaults` than [`MOST_TAKEN`].
    fn too_much(&self) -> Option<usize> {
        let size = |dns: Option<&spec::DomainDns>, dkim: Option<&spec::Dkim>, spf: Option<&spec::Spf>| {
            let dns = dns.map_or(0, |dns| dns.omit.len() + dns.record.iter().map(|one| one.value.len()).sum::<usize>());
            dns + dkim.map_or(0, |dkim| dkim.key.len()) + spf.map_or(0, |spf| spf.terms.len())
        };
        let own = |d: &spec::Domain| {
            size(d.dns.as_ref(), d.dkim.as_ref(), d.spf.as_ref()) + d.host.len() + d.tls_report.len()
        };
        let own: Vec<usize> = self.spec.domain.iter().map(own).collect();
        let common =
            self.spec.defaults.as_ref().and_then(|defaults| defaults.domain.as_ref()).map_or(0, |d| {
                size(d.dns.as_ref(), d.dkim.as_ref(), d.spf.as_ref()) + d.host.len() + d.tls_report.len()
            });
        let mut sum = 0_usize;
        self.chains.iter().position(|chain| {
            let taken: usize = chain.iter().skip(1).filter_map(|at| own.get(*at)).sum();
            sum = sum.saturating_add(taken).saturating_add(common);
            sum > MOST_TAKEN
        })
    }

    /// The domain of the spec, under another, in whose zone a name lies.
    pub(super) fn zone_below(&self, domain: &DomainName, name: &DomainName) -> Option<DomainName> {
        let mut at = Some(name.clone());
        while let Some(name) = at.filter(|name| name != domain) {
            if self.names.contains_key(&name) {
                return Some(name);
            }
            at = name.parent();
        }
        None
    }

    /// The domain of the spec in whose zone a name lies.
    pub(super) fn zone_of(&self, name: &DomainName) -> Option<DomainName> {
        let mut names = std::iter::successors(Some(name.clone()), DomainName::parent);
        names.find(|name| self.names.contains_key(name))
    }

    /// What each account of a domain may keep.
    pub fn quota(&self, of: usize) -> Option<Size> {
        let said = self.said(of, "quota", |d| d.quota.as_ref(), |d| d.quota.as_ref()).map(|(quota, _)| *quota);
        said.or_else(|| self.spec.defaults.as_ref()?.account.as_ref()?.quota)
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
    if let Some(at) = around.layers.too_much() {
        let says = format!(
            "with this domain, all together take more than {MOST_TAKEN} records, keys and terms from each other and `defaults`"
        );
        let found = report.find(Code::TakesTooMuch, Path::root().field("domain").item(at), says);
        found.help("write what belongs to few domains in them, and not where all take it from");
        return Vec::new();
    }
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
    spf::lookups(&domains, report);
    domains
}

/// A domain while it is bound.
pub(super) struct Binding<'a, 'r> {
    pub(super) around: &'a Around<'a>,
    /// Which of the spec's.
    pub(super) of: usize,
    pub(super) at: Path,
    pub(super) report: &'r mut Report,
}

impl<'a> Binding<'a, '_> {
    pub(super) fn spec(&self) -> &'a spec::Domain {
        &self.around.spec.domain[self.of]
    }

    fn domain(&mut self, names: &HashMap<&str, usize>, keys: &mut Keys) -> Domain {
        let (domain, layers, of) = (self.spec(), self.around.layers, self.of);
        let people = self.around.people;
        let (hosts, hosts_at) = self.hosts(names);
        let dns = layers.all(of, "dns", |d| d.dns.as_ref(), |d| d.dns.as_ref());
        let provider = dns.iter().find_map(|(dns, _)| dns.provider.clone());
        let (ttl, move_ttl) = self.ttl(&dns);
        let (omit, records) = self.own_records(&dns);
        let dnssec = layers.said(of, "dnssec", |d| d.dnssec.as_ref(), |d| d.dnssec.as_ref());
        let dnssec = dnssec.is_some_and(|(signed, _)| *signed);
        let caa = layers.said(of, "caa", |d| d.caa.as_ref(), |d| d.caa.as_ref());
        let caa = caa.filter(|(asked, _)| **asked).map(|(_, at)| at);
        self.caa(caa.as_ref(), &hosts);
        let dkim = self.dkim(keys);
        let delegation = self.delegation(&dns, &dkim);
        let rotate = self.around.layers.said(self.of, "dkim", |d| d.dkim.as_ref(), |d| d.dkim.as_ref());
        let rotate = rotate.and_then(|(dkim, _)| dkim.rotate);
        let spf = self.spf();
        let dmarc = self.dmarc();
        let mta_sts = self.mta_sts(&hosts, &records);
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
            provider,
            ttl,
            move_ttl,
            dnssec,
            caa,
            dkim,
            rotate,
            spf,
            dmarc,
            mta_sts,
            policy_also: Vec::new(),
            exchangers: None,
            exchangers_ttl: None,
            tls_report,
            tls_report_at,
            postmaster: people.postmasters.get(&domain.name).cloned().flatten(),
            catch_all: people.catch_alls.get(&domain.name).cloned(),
            directory: domain.directory.clone(),
            people: domain.people.unwrap_or_default(),
            quota: layers.quota(of),
            omit,
            records,
            delegation,
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
            // Its user, path or query may hold what is nobody's business.
            let server = |url: &'a str| url.split('/').nth(2).and_then(|host| host.rsplit('@').next()).unwrap_or(url);
            let common = self.around.spec.defaults.as_ref().and_then(|defaults| defaults.host.as_ref()?.tls.as_ref());
            let acme = host.tls.as_ref().or(common).and_then(|tls| tls.acme.as_ref());
            let authority = acme.map(|acme| server(&acme.authority));
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
                    found.means(meant(host.name.as_str(), known.iter().copied()));
                    found.help = nearest(host.name.as_str(), known);
                }
            }
        }
        bound.sort_by_key(|(priority, at)| (*priority, self.around.spec.host.get(*at).map(|host| &host.name)));
        (bound, at)
    }

    fn dmarc(&mut self) -> Dmarc {
        let said = self.around.layers.all(self.of, "dmarc", |d| d.dmarc.as_ref(), |d| d.dmarc.as_ref());
        let report = said.iter().find_map(|(given, at)| Some((given.report.as_ref()?, at.field("report"))));
        if let Some((report, at)) = &report {
            self.reports(report, at.clone());
        }
        let (report, reports_at) = report.map(|(report, at)| (report.clone(), at)).unzip();
        Dmarc {
            policy: said.iter().find_map(|(given, _)| given.policy).unwrap_or(DmarcPolicy::Reject),
            subdomain: said.iter().find_map(|(given, _)| given.subdomain),
            nonexistent: said.iter().find_map(|(given, _)| given.nonexistent),
            testing: said.iter().find_map(|(given, _)| given.testing).unwrap_or(false),
            strict: said.iter().find_map(|(given, _)| given.strict).unwrap_or(false),
            psd: said.iter().find_map(|(given, _)| given.psd),
            step: said.iter().find_map(|(given, _)| given.step),
            report: report.unwrap_or_else(|| Address::new(LocalPart::postmaster(), self.spec().name.clone())),
            reports_at,
            at: said.into_iter().next().map(|(_, at)| at),
        }
    }

    fn reports(&mut self, to: &Address, at: Path) {
        if !self.around.people.has(to) {
            let help = self.around.people.nearest(to);
            self.report.find(Code::ReportsToNobody, at, format!("nobody has the address `{to}`")).help = help;
        }
    }

    fn mta_sts(&mut self, hosts: &[(u16, usize)], records: &[OwnRecord]) -> Option<MtaSts> {
        let said = self.around.layers.all(self.of, "mta-sts", |d| d.mta_sts.as_ref(), |d| d.mta_sts.as_ref());
        let all: Vec<&Host> = hosts.iter().filter_map(|(_, n)| self.around.hosts.get(*n)).collect();
        let server = all.iter().copied().find(|host| host.serves_policies());
        let own_mx = records.iter().find(|own| own.kind == Kind::Mx && own.name == self.spec().name);
        let no_mail = own_mx.is_some_and(|own| own.values.iter().all(|value| value.target().is_none()));
        let Some(at) = said.first().map(|(_, at)| at.clone()) else {
            // RFC 8461 §5: testing harms nobody, and tells of what would fail.
            let server = server.filter(|_| !no_mail)?;
            self.policy_certificate(server, &self.at.field("name"));
            return Some(MtaSts { mode: MtaStsMode::Testing, max_age: Period(604_800), step: None, at: None });
        };
        let mode = said.iter().find_map(|(given, _)| given.mode).unwrap_or(MtaStsMode::Enforce);
        let max_age = said.iter().find_map(|(given, at)| Some((given.max_age?, at.field("max-age"))));
        if let Some((max_age, at)) = &max_age
            && (max_age.0 > YEAR || (max_age.0 < 86_400 && mode == MtaStsMode::Enforce))
        {
            let says = format!("{max_age} lies outside 1d to {YEAR} s");
            self.report.find(Code::MaxAge, at.clone(), says).help("`7d` is usual");
        }
        let server = server.or_else(|| all.iter().copied().find(|host| !host.ports(Service::Https).is_empty()));
        if mode == MtaStsMode::None && (server.is_none() || no_mail) {
            return None;
        }
        if no_mail {
            let says = format!("`{}` takes no mail by its MX, so a policy has no host to name", self.spec().name);
            self.report.find(Code::PolicyNoMail, at, says).help("take it out, or write `mta-sts \"none\"`");
            return None;
        }
        let Some(server) = server else {
            if !all.is_empty() {
                let says = format!("no host of `{}` serves https, so nobody gets its policy", self.spec().name);
                self.report.find(Code::PolicyUnserved, at, says).help("write `https 443` in the host's `listen`");
            }
            return None;
        };
        if !server.serves_policies() {
            let says = format!("`{}` serves https on another port than 443, where nobody asks", server.name);
            let found = self.report.find(Code::PolicyPort, at.clone(), says);
            found.help("write `https 443` in its `listen`, unless something forwards the port");
        }
        self.policy_certificate(server, &at);
        if mode == MtaStsMode::Enforce
            && let Some(host) = all.iter().find(|host| host.self_signed)
        {
            let says = format!("`{}` shows a certificate of its own, so senders that obey do not deliver", host.name);
            let help = "write `mta-sts \"testing\"` until it has a certificate";
            self.report.find(Code::EnforceSelfSigned, at.clone(), says).help(help);
        }
        let step = said.iter().find_map(|(given, _)| given.step);
        Some(MtaSts { mode, max_age: max_age.map_or(Period(604_800), |(max_age, _)| max_age), step, at: Some(at) })
    }

    fn policy_certificate(&mut self, server: &Host, at: &Path) {
        let policy_host = format!("mta-sts.{}", self.spec().name);
        if server.lacks(&policy_host) {
            let says = format!("the certificate of `{}` does not cover `{policy_host}`", server.name);
            self.report.find(Code::CertificateOthers, at.clone(), says);
        }
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
