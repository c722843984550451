//! Machines: what they listen on, and what they prove themselves by.

use super::{Domain, Outside};
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::read::files::FileError;
use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{KeyPair, PublicKeyData};
use schema::config::{self, Listener, Service};
use schema::name::{Address, HostName, SecretRef};
use schema::spec::{self, Challenge, Spec, TlsAlgorithm};
use schema::unit::Period;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use x509_parser::prelude::{FromDer, GeneralName, Pem, SubjectPublicKeyInfo, X509Certificate};

/// Certificates that expire sooner than this many seconds are warned of.
const SOON: i64 = 14 * 86_400;

/// A machine with everything bound.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Where it was written.
    pub at: Path,
    /// What it has in DNS.
    pub addresses: Vec<IpAddr>,
    /// What stands there in its place, and how long that may be cached, while it changes.
    pub published: Option<(Vec<IpAddr>, Option<Period>)>,
    /// What it listens on, sorted.
    pub listeners: Vec<Listener>,
    /// Where its connections come from; empty: as the system chooses.
    pub outbound: Vec<IpAddr>,
    /// Keys and certificates for the server.
    pub tls: config::Tls,
    /// Its keys' names and private parts; the certificate is for the first, the others come next.
    pub keys: Vec<(String, SecretRef)>,
    /// What its TLSA records hold.
    pub tlsa: Vec<TlsaData>,
    /// It has no certificate but one of its own.
    pub self_signed: bool,
    /// Names that its certificates cover; `None` where that is not known.
    pub covers: Option<Vec<String>>,
    /// Who reads `postmaster@` this host.
    pub postmaster: Option<Address>,
    /// What a CAA record says of its certificates, where ACME brings them from an authority whose name is known.
    pub caa: Option<String>,
}

/// The parts of a TLSA record (RFC 6698 §2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsaData {
    /// Certificate usage.
    pub usage: u8,
    /// Selector.
    pub selector: u8,
    /// Matching type.
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}

impl Host {
    /// The addresses that it has in DNS as things are, and for how long they may be cached where that is lowered.
    pub fn published(&self) -> (&[IpAddr], Option<Period>) {
        self.published.as_ref().map_or((&self.addresses, None), |(addresses, ttl)| (addresses, *ttl))
    }

    /// The ports of a service, sorted, each once.
    pub fn ports(&self, service: Service) -> Vec<u16> {
        let ports = self.listeners.iter().filter(|listener| listener.service == service);
        ports.map(|listener| listener.address.port()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether it serves MTA-STS policies where they are asked for (RFC 8461 §3.3).
    pub fn serves_policies(&self) -> bool {
        self.ports(Service::Https).contains(&443)
    }

    /// Whether a certificate is known not to cover a name.
    pub fn lacks(&self, name: &str) -> bool {
        self.covers.as_ref().is_some_and(|names| !names.iter().any(|pattern| covers(pattern, name)))
    }

    /// Whether only this machine reaches it.
    pub fn is_loopback(&self) -> bool {
        !self.addresses.is_empty() && self.addresses.iter().all(IpAddr::is_loopback)
    }
}

fn path(at: usize) -> Path {
    Path::root().field("host").item(at)
}

/// Binds every host.
pub fn hosts(spec: &Spec, outside: &Outside<'_>, report: &mut Report) -> Vec<Host> {
    let mut hosts = Vec::with_capacity(spec.host.len());
    let common = spec.defaults.as_ref().and_then(|defaults| defaults.host.clone()).unwrap_or_default();
    for (at, host) in spec.host.iter().enumerate() {
        hosts.push(one(&Whole::of(host, &common, path(at)), outside, report));
    }
    ports_taken(&hosts, report);
    hosts
}

/// Whose `postmaster@` a host is: the postmaster of the domain that it lies in, or of the first that it serves.
pub fn postmasters(hosts: &mut [Host], domains: &[Domain]) {
    for (at, host) in hosts.iter_mut().enumerate() {
        let home = domains.iter().filter(|domain| host.name.domain().is_within(&domain.name));
        let home = home.max_by_key(|domain| domain.name.labels().count());
        let served = || domains.iter().find(|domain| domain.hosts.iter().any(|(_, n)| *n == at));
        let postmaster = |domain: &Domain| domain.postmaster.clone();
        host.postmaster = home.and_then(postmaster).or_else(|| served().and_then(postmaster));
    }
}

/// A host with what it takes from `defaults`, and where each was written; the host itself where it was not.
struct Whole {
    host: spec::Host,
    at: Path,
    listen: Path,
    outbound: Path,
    tls: Path,
}

impl Whole {
    fn of(host: &spec::Host, common: &spec::HostDefaults, at: Path) -> Whole {
        let written = |own: bool, common: bool, name: &'static str| match (own, common) {
            (true, _) => at.field(name),
            (false, true) => Path::root().field("defaults").field("host").field(name),
            (false, false) => at.clone(),
        };
        Whole {
            listen: written(host.listen.is_some(), common.listen.is_some(), "listen"),
            outbound: written(host.outbound.is_some(), common.outbound.is_some(), "outbound"),
            tls: written(host.tls.is_some(), common.tls.is_some(), "tls"),
            host: spec::Host {
                listen: host.listen.clone().or_else(|| common.listen.clone()),
                outbound: host.outbound.clone().or_else(|| common.outbound.clone()),
                tls: host.tls.clone().or_else(|| common.tls.clone()),
                ..host.clone()
            },
            at,
        }
    }
}

fn one(whole: &Whole, outside: &Outside<'_>, report: &mut Report) -> Host {
    let (host, at, tls_at) = (&whole.host, whole.at.clone(), &whole.tls);
    addresses(host, &at, report);
    local_addresses(whole, report);
    let listeners = listeners(whole, report);
    let tls = host.tls.clone().unwrap_or_default();
    let (mut names, mut unread) = (Vec::new(), false);
    let mut tlsa = BTreeSet::new();
    for (n, certificate) in tls.certificate.iter().enumerate() {
        let chain = Chain { dane: &tls.dane, at: tls_at.field("certificate").item(n) };
        match chain.read(&certificate.cert, outside, report) {
            Some(read) => {
                names.extend(read.names);
                tlsa.extend(read.tlsa);
            }
            None => unread = true,
        }
    }
    // The server may show the certificate that is not known here, and then a record of another's key locks senders out.
    if unread && tls.key.is_empty() {
        tlsa.clear();
    }
    let names = (!unread).then_some(names);
    for (n, key) in tls.key.iter().enumerate() {
        let at = tls_at.field("key").item(n);
        if let Some(public) = public_key(key, &at, outside, report) {
            tlsa.insert(TlsaData { usage: 3, selector: 1, matching: 1, data: sha256(&public) });
        }
    }
    let self_signed = tls.certificate.is_empty();
    if let Some(names) =
        names.as_ref().filter(|names| !self_signed && !names.iter().any(|name| covers(name, host.name.as_str())))
    {
        let list = if names.is_empty() { "no name".to_owned() } else { format!("`{}`", names.join("`, `")) };
        let one = tls.certificate.len() == 1;
        let which = if one { "the certificate covers" } else { "the certificates cover" };
        let at = tls_at.field("certificate").item(0).field("cert");
        report.find(Code::CertificateName, at, format!("{which} {list}, not `{}`", host.name));
    }
    if self_signed {
        let at = if tls.self_signed { tls_at.field("self-signed") } else { tls_at.clone() };
        let says = format!("`{}` shows a certificate that it signed itself", host.name);
        report.find(Code::SelfSigned, at, says).help("write `certificate cert=(file)\"…\" key=(file)\"…\"` in `tls`");
    }
    needs_certificate(&tls, &tlsa, tls_at, report);
    let pairs = tls.certificate.iter();
    Host {
        name: host.name.clone(),
        addresses: host.address.clone(),
        published: None,
        listeners,
        outbound: sources(host),
        tls: config::Tls {
            certificates: pairs
                .map(|pair| config::Certificate { cert: pair.cert.clone(), key: pair.key.clone() })
                .collect(),
            self_signed_key: tls.key.first().map(|key| key.private.clone()),
        },
        keys: tls.key.iter().map(|key| (key.name.clone(), key.private.clone())).collect(),
        tlsa: tlsa.into_iter().collect(),
        self_signed,
        covers: names.filter(|_| !self_signed),
        postmaster: None,
        caa: tls.acme.as_ref().and_then(caa),
        at,
    }
}

/// The value of `issue` for an authority (RFC 8659 §4.2), with the method and account (RFC 8657).
fn caa(acme: &spec::Acme) -> Option<String> {
    const KNOWN: [(&str, &str); 6] = [
        ("letsencrypt", "letsencrypt.org"),
        ("letsencrypt.org", "letsencrypt.org"),
        ("zerossl.com", "sectigo.com"),
        ("pki.goog", "pki.goog"),
        ("buypass.com", "buypass.com"),
        ("ssl.com", "ssl.com"),
    ];
    let server = acme.authority.strip_prefix("https://").unwrap_or(&acme.authority);
    let server = server.split(['/', ':']).next().unwrap_or_default();
    let is = |name: &str| server == name || server.ends_with(&format!(".{name}"));
    let known = || KNOWN.iter().find(|(name, _)| is(name)).map(|(_, issuer)| (*issuer).to_owned());
    let mut text = acme.issuer.as_ref().map(ToString::to_string).or_else(known)?;
    let method = match acme.challenge {
        Some(Challenge::TlsAlpn01) => Some("tls-alpn-01"),
        Some(Challenge::Http01) => Some("http-01"),
        Some(Challenge::Dns01) => Some("dns-01"),
        None => None,
    };
    if let Some(method) = method {
        text += &format!("; validationmethods={method}");
    }
    if let Some(account) = &acme.account {
        text += &format!("; accounturi={account}");
    }
    Some(text)
}

/// Where a host's connections come from: what is written; or, where the listeners bind to the host's own addresses,
/// so that these are known to be the machine's, the first of each family, since SPF names them.
fn sources(host: &spec::Host) -> Vec<IpAddr> {
    if let Some(outbound) =
        host.outbound.as_ref().filter(|outbound| outbound.helo.is_none() || !outbound.source.is_empty())
    {
        let mut sources = outbound.source.clone();
        sources.sort();
        return sources;
    }
    let bound = host.listen.as_ref().is_some_and(|listen| !listen.bind.is_empty());
    // The system itself chooses the usual loopback address, and another where that does not lead.
    let usual = |address: &&IpAddr| **address != Ipv4Addr::LOCALHOST && **address != Ipv6Addr::LOCALHOST;
    let own: Vec<&IpAddr> = host.address.iter().filter(|_| !bound).filter(usual).collect();
    let first = |v4: bool| own.iter().find(|address| address.is_ipv4() == v4).map(|address| **address);
    [first(true), first(false)].into_iter().flatten().collect()
}

fn needs_certificate(tls: &spec::Tls, tlsa: &BTreeSet<TlsaData>, at: &Path, report: &mut Report) {
    for (n, wanted) in tls.dane.iter().enumerate() {
        let (usage, rest) = wanted.split_once(' ').unwrap_or((wanted, ""));
        let key_only = wanted == "3 1 1" || (usage == "3" && rest == "1 1");
        let made = tlsa.iter().any(|one| format!("{} {} {}", one.usage, one.selector, one.matching) == *wanted);
        if !key_only && !made {
            let says = format!("a TLSA record `{wanted}` needs a certificate that can be read here");
            report.find(Code::DaneNeeds, at.field("dane").item(n), says).help(if usage == "2" {
                "write `certificate`, its chain with the certificate of the authority that signed it"
            } else {
                "write `certificate cert=(file)\"…\" key=(file)\"…\"`"
            });
        }
    }
}

/// Why no machine has an address, if none has, and help.
pub fn no_machine(address: &IpAddr) -> Option<(&'static str, Option<String>)> {
    match address {
        _ if address.is_unspecified() => Some(("is no machine's address", None)),
        _ if address.is_multicast() => Some(("is an address of many machines (multicast)", None)),
        IpAddr::V6(v6) => {
            v6.to_ipv4_mapped().map(|v4| ("is an IPv4 address in disguise", Some(format!("write `{v4}`"))))
        }
        IpAddr::V4(_) => None,
    }
}

/// Addresses of listeners and of outgoing connections.
fn local_addresses(whole: &Whole, report: &mut Report) {
    let host = &whole.host;
    let bind = host.listen.iter().flat_map(|listen| listen.bind.iter().enumerate());
    let source = host.outbound.iter().flat_map(|outbound| outbound.source.iter().enumerate());
    // A listener may bind to every address of the machine; a connection comes from one.
    let bind = bind.filter(|(_, address)| !address.is_unspecified());
    let bind = bind.map(|(n, address)| (address, whole.listen.field("bind").item(n)));
    for (address, at) in bind.chain(source.map(|(n, source)| (source, whole.outbound.field("source").item(n)))) {
        if let Some((why, help)) = no_machine(address) {
            report.find(Code::WrongForm, at, format!("`{address}` {why}")).help = help;
        }
    }
}

fn addresses(host: &spec::Host, at: &Path, report: &mut Report) {
    if host.address.is_empty() {
        report
            .find(Code::NoAddress, at.field("name"), format!("`{}` has no address", host.name))
            .help("write `address \"192.0.2.25\"`, with its IPv6 address beside it");
    }
    for (n, address) in host.address.iter().enumerate() {
        let at = at.field("address").item(n);
        if let Some((why, help)) = no_machine(address) {
            report.find(Code::WrongForm, at, format!("`{address}` {why}")).help = help;
        } else if let Some(kind) = not_public(address) {
            report.find(Code::NotPublic, at, format!("`{address}` is {kind}"));
        }
    }
    let mut seen = HashMap::new();
    for (n, address) in host.address.iter().enumerate() {
        if seen.insert(address, n).is_some() {
            let at = at.field("address").item(n);
            report.find(Code::WrittenTwice, at, format!("`{address}` is written twice")).superfluous();
        }
    }
}

/// Why an address is not one of the internet's, if it is none.
pub fn not_public(address: &IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_loopback() => Some("a loopback address"),
        IpAddr::V4(v4) if v4.is_private() => Some("a private address (RFC 1918)"),
        IpAddr::V4(v4) if v4.octets()[0] == 100 && v4.octets()[1] & 0xC0 == 64 => {
            Some("an address shared by a provider's customers (RFC 6598)")
        }
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.is_unique_local() => Some("a unique local address (RFC 4193)"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        _ => None,
    }
}

fn listeners(whole: &Whole, report: &mut Report) -> Vec<Listener> {
    let host = &whole.host;
    let listen = host.listen.clone().unwrap_or_else(|| spec::Listen {
        smtp: vec![25],
        submissions: vec![465],
        imaps: vec![993],
        https: vec![443],
        ..spec::Listen::default()
    });
    let mut bind = if listen.bind.is_empty() { host.address.clone() } else { listen.bind.clone() };
    if bind.is_empty() {
        bind = vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    }
    let services = [
        (Service::Smtp, &listen.smtp),
        (Service::Submissions, &listen.submissions),
        (Service::Submission, &listen.submission),
        (Service::Imaps, &listen.imaps),
        (Service::Imap, &listen.imap),
        (Service::Https, &listen.https),
        (Service::Http, &listen.http),
    ];
    let mut listeners = Vec::new();
    for (service, ports) in services {
        let all = ports.iter().flat_map(|port| bind.iter().map(|address| SocketAddr::new(*address, *port)));
        listeners.extend(all.map(|address| Listener { service, address }));
    }
    let at = whole.listen.clone();
    if listeners.is_empty() {
        report
            .find(Code::NoListener, at, format!("`{}` listens on nothing that this version serves", host.name))
            .help("write `listen { smtp 25; submissions 465; imaps 993; https 443; }`");
    } else if !listen.smtp.contains(&25) && !bind.iter().all(IpAddr::is_loopback) {
        let says = format!("`{}` does not listen on port 25, so other servers do not reach it", host.name);
        report.find(Code::NoArrival, at, says).help("write `smtp 25` in `listen`, unless something forwards the port");
    }
    listeners.sort();
    listeners
}

/// Two listeners on one socket address: in one host, or in two that both say to have the address. Otherwise two hosts
/// are two machines, and what they bind to is each one's own.
fn ports_taken(hosts: &[Host], report: &mut Report) {
    let mut taken: HashMap<SocketAddr, Vec<(usize, Service)>> = HashMap::new();
    for (at, host) in hosts.iter().enumerate() {
        let mut told = BTreeSet::new();
        for listener in &host.listeners {
            let port = listener.address.port();
            let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            let same_family = |other: &IpAddr| other.is_ipv4() == listener.address.is_ipv4();
            let wide = any.iter().filter(|any| same_family(any)).map(|any| SocketAddr::new(*any, port));
            let shared = |other: usize| {
                let has = |host: &Host| host.addresses.contains(&listener.address.ip());
                other == at || (has(host) && hosts.get(other).is_some_and(has))
            };
            let mut sockets = std::iter::once(listener.address).chain(wide);
            let clash =
                sockets.find_map(|socket| taken.get(&socket)?.iter().find(|(other, _)| shared(*other))).copied();
            if let Some((other, service)) = clash {
                if told.insert((other, service, listener.service, port)) {
                    let name = listener.service.name();
                    let says = format!("port {port} of {} is `{}` already", listener.address.ip(), service.name());
                    // The same port, twice in one node, has both its mentions there.
                    report
                        .find(Code::PortTaken, host.at.field("listen").field(name), says)
                        .also(hosts[other].at.field("listen").field(service.name()), "the other listener")
                        .help("take another port, or another address by `bind`");
                }
                continue;
            }
            taken.entry(listener.address).or_default().push((at, listener.service));
        }
    }
}

fn sha256(octets: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, octets).as_ref().to_vec()
}

/// The SubjectPublicKeyInfo of a TLS key as DER.
fn public_key(key: &spec::TlsKey, at: &Path, outside: &Outside<'_>, report: &mut Report) -> Option<Vec<u8>> {
    let (public, at) = match &key.public {
        Some(public) => (BASE64_STANDARD.decode(public).ok(), at.field("public")),
        None => {
            let at = at.field("private");
            let SecretRef::File(file) = &key.private else {
                let says = format!("the public part of the key `{}` is not known", key.name);
                report.find(Code::TlsKey, at, says).help("write `public=\"…\"`");
                return None;
            };
            match outside.sources.secret(file) {
                Ok(octets) => {
                    let pair = String::from_utf8(octets).ok().and_then(|pem| KeyPair::from_pem(&pem).ok());
                    (pair.map(|pair| pair.subject_public_key_info()), at)
                }
                Err(why) => {
                    let says = format!("`{file}` {why}, so the public part of the key `{}` is not known", key.name);
                    report.find(Code::TlsKey, at, says).help("write `public=\"…\"`, or put the file in its place");
                    return None;
                }
            }
        }
    };
    let wanted = match key.algorithm {
        TlsAlgorithm::Ec => "1.2.840.10045.2.1",
        TlsAlgorithm::Rsa => "1.2.840.113549.1.1.1",
    };
    let sound = public.as_deref().and_then(|der| SubjectPublicKeyInfo::from_der(der).ok());
    let sound = sound.is_some_and(|(rest, info)| rest.is_empty() && info.algorithm.algorithm.to_id_string() == wanted);
    if !sound {
        let kind = if key.algorithm == TlsAlgorithm::Ec { "ec" } else { "rsa" };
        report.find(Code::TlsKey, at, format!("the key `{}` is no `{kind}` key", key.name));
        return None;
    }
    public
}

/// Whether a name of a certificate covers a host's (RFC 6125 §6.4.3).
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => name.split_once('.').is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(rest)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

struct Chain<'a> {
    dane: &'a [String],
    at: Path,
}

struct ReadChain {
    names: Vec<String>,
    tlsa: Vec<TlsaData>,
}

impl Chain<'_> {
    fn read(&self, cert: &SecretRef, outside: &Outside<'_>, report: &mut Report) -> Option<ReadChain> {
        let at = self.at.field("cert");
        let SecretRef::File(file) = cert else {
            report.find(Code::CertificateAway, at, format!("{cert} is not looked at here"));
            return None;
        };
        let octets = match outside.sources.secret(file) {
            Ok(octets) => octets,
            Err(FileError::Missing | FileError::Outside) => {
                report.find(Code::CertificateAway, at, format!("`{file}` is not in the spec's folder"));
                return None;
            }
            Err(why) => {
                report.find(Code::CertificateForm, at, format!("`{file}` {why}"));
                return None;
            }
        };
        let pems: Vec<Pem> = Pem::iter_from_buffer(&octets).filter_map(Result::ok).collect();
        let pems: Vec<Pem> = pems.into_iter().filter(|pem| pem.label == "CERTIFICATE").collect();
        let leaf = pems.first().and_then(|pem| pem.parse_x509().ok());
        let Some(leaf) = leaf else {
            report.find(Code::CertificateForm, at, format!("`{file}` holds no certificate as PEM"));
            return None;
        };
        self.dates(&leaf, outside.now, report);
        Some(ReadChain { names: names(&leaf), tlsa: self.tlsa(&leaf, &pems) })
    }

    fn dates(&self, leaf: &X509Certificate<'_>, now: i64, report: &mut Report) {
        let at = self.at.field("cert");
        let validity = leaf.validity();
        if validity.not_after.timestamp() < now {
            report.find(Code::CertificateDates, at, format!("the certificate expired on {}", validity.not_after));
        } else if validity.not_before.timestamp() > now {
            report.find(
                Code::CertificateDates,
                at,
                format!("the certificate is not valid before {}", validity.not_before),
            );
        } else if validity.not_after.timestamp() - now < SOON {
            report.find(Code::CertificateSoon, at, format!("the certificate expires on {}", validity.not_after));
        }
    }

    /// `3 1 1` of the host's key, and what `dane` asks for.
    fn tlsa(&self, leaf: &X509Certificate<'_>, chain: &[Pem]) -> Vec<TlsaData> {
        let mut made = vec![TlsaData { usage: 3, selector: 1, matching: 1, data: sha256(leaf.public_key().raw) }];
        for wanted in self.dane {
            let mut digits = wanted.split(' ').filter_map(|digit| digit.parse::<u8>().ok());
            let (Some(usage), Some(selector), Some(matching)) = (digits.next(), digits.next(), digits.next()) else {
                continue;
            };
            // Usage 2 names the authority (RFC 7671 §5.2): the last of the chain that leads to the leaf.
            let pem = if usage == 2 { authority(chain) } else { chain.first() };
            let Some(certificate) = pem.and_then(|pem| pem.parse_x509().ok().map(|parsed| (pem, parsed))) else {
                continue;
            };
            let octets = if selector == 0 { &certificate.0.contents[..] } else { certificate.1.public_key().raw };
            let data = match matching {
                1 => sha256(octets),
                2 => digest::digest(&digest::SHA512, octets).as_ref().to_vec(),
                _ => octets.to_vec(),
            };
            made.push(TlsaData { usage, selector, matching, data });
        }
        made
    }
}

/// The certificate farthest from the leaf that signed it, or one that did in turn; the chain may hold strangers.
fn authority(chain: &[Pem]) -> Option<&Pem> {
    let (leaf, rest) = chain.split_first()?;
    let mut rest: Vec<(&Pem, X509Certificate<'_>)> =
        rest.iter().filter_map(|pem| Some((pem, pem.parse_x509().ok()?))).collect();
    let (mut current, mut found) = (leaf.parse_x509().ok()?, None);
    while let Some(at) = rest.iter().position(|(_, one)| issued(one, &current)) {
        let (pem, issuer) = rest.swap_remove(at);
        (current, found) = (issuer, Some(pem));
    }
    found
}

fn issued(issuer: &X509Certificate<'_>, of: &X509Certificate<'_>) -> bool {
    issuer.subject().as_raw() == of.issuer().as_raw() && of.verify_signature(Some(issuer.public_key())).is_ok()
}

fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let san = leaf.subject_alternative_name().ok().flatten();
    let all = san.map(|san| san.value.general_names.clone()).unwrap_or_default();
    all.into_iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_owned()),
            _ => None,
        })
        .collect()
}
