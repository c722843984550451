//! What the world sees against the spec: DNS at every name server, certificates, greetings, policies. It changes nothing.
//! One file a family of checks; what each of them means is in [`Check`], and nowhere else.

mod machine;
mod policy;
pub mod show;
pub mod wire;
mod zone;

use crate::authority::World;
use crate::diagnostic::Path;
use crate::emit::Artefacts;
use crate::resolve::{Domain, Host, Resolved};
use crate::tls::Trust;
use futures_util::StreamExt;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Record, RecordType};
use mail::auth::Authenticator;
use schema::name::{DomainName, HostName, Secret, SecretRef};
use std::collections::BTreeSet;

/// How many domains and hosts are looked at, at once.
const AT_ONCE: usize = 16;

/// How something turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As the spec has it.
    Good,
    /// It could not be found out.
    Unknown,
    /// It works, and might be better.
    Weak,
    /// The world sees something else than the spec says, or mail suffers.
    Bad,
}

impl Status {
    /// `good`
    pub fn name(self) -> &'static str {
        match self {
            Status::Good => "good",
            Status::Unknown => "unknown",
            Status::Weak => "weak",
            Status::Bad => "bad",
        }
    }
}

/// The table of checks: a name here, the group, what follows in the id, how bad it is where it fails, and what that means
/// and calls for.
macro_rules! checks {
    ($($name:ident $group:literal $id:literal $status:ident $means:literal)*) => {
        /// One thing that is looked at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Check {
            $(#[doc = $means] $name,)*
        }

        impl Check {
            /// Every check.
            pub const ALL: &[Check] = &[$(Check::$name,)*];

            /// The group: `smtp`.
            pub fn group(self) -> &'static str {
                match self { $(Check::$name => $group,)* }
            }

            /// The name by which people and programs know it: `smtp.starttls`.
            pub fn id(self) -> &'static str {
                match self { $(Check::$name => concat!($group, ".", $id),)* }
            }

            /// How bad it is where it is not good.
            pub fn status(self) -> Status {
                match self { $(Check::$name => Status::$status,)* }
            }

            /// What it means where it is not good, and what to do.
            pub fn means(self) -> &'static str {
                match self { $(Check::$name => $means,)* }
            }
        }
    };
}

checks! {
    ServersThere "name-servers" "there" Bad "nobody in the world finds the zone: delegate it to its name servers at the registrar"
    ServersEnough "name-servers" "enough" Weak "when the one name server fails, the domain is gone: have two at least (RFC 2182 §5)"
    ServersApart "name-servers" "apart" Weak "one network that fails takes all name servers with it: have one elsewhere (RFC 2182 §3.1)"
    ServerAnswers "name-servers" "answers" Bad "some of the world asks this name server and waits in vain: repair it, or take it out of the delegation"
    ServerKnows "name-servers" "authoritative" Bad "this name server does not serve the zone: configure it there, or take it out of the delegation"
    ServersAgree "name-servers" "serial" Weak "name servers have different versions of the zone: zone transfer is under way, or stuck"
    RecordThere "records" "there" Bad "a record of the spec is not in DNS: `waybill apply` writes it"
    RecordSame "records" "same" Bad "DNS has other values than the spec: `waybill plan` shows how they would be put right"
    RecordTtl "records" "ttl" Weak "the record may be cached longer or shorter than the spec says: `waybill apply` puts it right"
    RecordSeen "records" "seen" Weak "a resolver still shows an older answer: it is gone when its time to live is over"
    RecordAnswered "records" "answered" Unknown "the name server did not answer for it: see `name-servers`"
    DnssecValid "dnssec" "valid" Bad "resolvers that validate see nothing of a zone whose signatures do not hold: compare the DS record at the registrar with the zone's keys"
    DnssecSigned "dnssec" "signed" Bad "the spec says `dnssec`, but nobody can validate the zone: sign it and give the registrar its DS record"
    DnssecKnown "dnssec" "known" Unknown "the resolver does not pass on what validating needs"
    DnssecTlsa "dnssec" "tlsa" Weak "TLSA records of a zone that is not signed are obeyed by nobody (RFC 7672 §2.2)"
    AddressThere "addresses" "there" Bad "the host cannot be found under an address of the spec: publish it"
    AddressOurs "addresses" "ours" Bad "the host's name also leads to an address that the spec does not have: mail goes astray there"
    AddressPublic "addresses" "public" Weak "the address is not reached from the internet"
    ReverseThere "reverse" "there" Bad "large receivers refuse mail from an address without reverse name: set its PTR record at the provider of the address (RFC 5321 §4.1.4)"
    ReverseConfirmed "reverse" "confirmed" Bad "the reverse name does not lead back to the address, so receivers take it for forged: set the PTR record to the host's name"
    ReverseOurs "reverse" "ours" Weak "the reverse name is not the name that the host calls itself: set the PTR record to it"
    ReverseOwn "reverse" "own" Weak "the reverse name looks like one of many, as those of homes do, and receivers distrust it: set it to the host's name"
    MxThere "mx" "there" Bad "nobody knows where to deliver the domain's mail: publish its MX records"
    MxResolves "mx" "resolves" Bad "the MX leads to a name without address: mail waits and returns"
    MxNoAlias "mx" "alias" Bad "the MX leads to an alias, which is not allowed: name the host itself (RFC 2181 §10.3)"
    MxOurs "mx" "ours" Weak "the MX leads to a host that the spec does not have"
    SpfThere "spf" "there" Bad "receivers cannot tell our mail from forged mail: publish the SPF record"
    SpfOne "spf" "one" Bad "two SPF records are a permanent error, and no mail passes: remove one (RFC 7208 §4.5)"
    SpfPasses "spf" "passes" Bad "mail that leaves by this address fails SPF: let the record name it"
    DkimThere "dkim" "there" Bad "signatures of this key cannot be verified: publish its record"
    DkimSame "dkim" "same" Bad "the record holds another key than the spec: signatures fail"
    DkimHolds "dkim" "holds" Bad "a signature made with the private key does not verify against DNS: the two do not belong together"
    DkimOpened "dkim" "opened" Unknown "the private key is not opened here, so nothing could be signed with it: give `--identity`"
    DmarcThere "dmarc" "there" Bad "receivers do as they like with forged mail: publish the DMARC record"
    DmarcOne "dmarc" "one" Bad "of two DMARC records none counts: remove one (RFC 9989 §4.10)"
    DmarcConsent "dmarc" "consent" Bad "the receiver of reports has not agreed in DNS, so none are sent: it publishes the consent record (RFC 9990 §4)"
    StsRecord "mta-sts" "record" Bad "senders do not look for the policy: publish the `_mta-sts` record"
    StsFetched "mta-sts" "fetched" Bad "senders cannot fetch the policy, and keep to an older one or to none: serve it over HTTPS at the `mta-sts` name"
    StsTrusted "mta-sts" "trusted" Bad "senders do not believe a policy whose certificate does not hold (RFC 8461 §3.3)"
    StsType "mta-sts" "type" Weak "the policy is to be `text/plain` (RFC 8461 §3.2)"
    StsSame "mta-sts" "same" Bad "the policy that is served is not the spec's: the server has not loaded it, or another one answers"
    StsCovers "mta-sts" "mx" Bad "the policy does not name an MX, so senders refuse to deliver there (RFC 8461 §4.1)"
    TlsRptThere "tls-rpt" "there" Weak "nobody tells us where TLS to us fails: publish the `_smtp._tls` record (RFC 8460)"
    SmtpOpen "smtp" "open" Bad "nobody can deliver to this address: let the server listen, and the firewall let it in"
    SmtpPort "smtp" "port" Weak "other servers deliver to port 25 and nowhere else: forward it, or listen there"
    SmtpGreets "smtp" "greeting" Bad "the server does not greet as a mail server"
    SmtpName "smtp" "name" Weak "the server calls itself by another name than its own, and receivers compare (RFC 5321 §4.1.1.1)"
    SmtpStartTls "smtp" "starttls" Bad "mail comes in the clear, and senders with MTA-STS or DANE do not deliver: offer STARTTLS"
    SmtpTls "smtp" "tls" Bad "TLS fails after STARTTLS: senders give up, or deliver in the clear"
    SmtpChain "smtp" "certificate" Weak "senders that check certificates do not trust this one"
    SmtpExpires "smtp" "expiry" Weak "the certificate ends within two weeks, or has ended: renew it"
    SmtpExtensions "smtp" "extensions" Weak "the server does not offer what today's mail uses: 8BITMIME, SMTPUTF8, SIZE, PIPELINING"
    SmtpNoAuth "smtp" "auth-in-clear" Bad "passwords could be given before TLS: offer AUTH only behind it (RFC 4954 §4)"
    SmtpPostmaster "smtp" "postmaster" Bad "everybody must be able to write to postmaster (RFC 5321 §4.5.1)"
    SmtpNoRelay "smtp" "relay" Bad "the server takes mail for strangers from strangers, and will be on every block list: it is an open relay"
    DaneMatches "dane" "matches" Bad "the certificate is not one that the TLSA records allow: senders with DANE do not deliver (RFC 7672 §3.2)"
    DaneNext "dane" "next" Weak "no TLSA record stands for a next key: a new certificate cannot be rolled over to (RFC 7671 §8.1)"
    ServiceOpen "services" "open" Bad "people's clients cannot connect: let the server listen, and the firewall let them in"
    ServicePort "services" "port" Weak "clients look for the usual port first"
    ServiceGreets "services" "greeting" Bad "what answers there does not speak the protocol"
    ServiceTls "services" "tls" Bad "TLS fails, and clients give up"
    ServiceChain "services" "certificate" Bad "clients warn of a certificate that they do not trust, and people learn to click it away"
    ServiceExpires "services" "expiry" Weak "the certificate ends within two weeks, or has ended: renew it"
    ServiceNoClear "services" "auth-in-clear" Bad "passwords could be given before TLS (RFC 8314 §3)"
    ServiceSrv "services" "srv" Bad "clients that go by the SRV record find a closed door"
    ConfigFetched "autoconfig" "fetched" Bad "clients cannot set themselves up: serve the file, or leave the `autoconfig` record out"
    ConfigOurs "autoconfig" "ours" Bad "clients set themselves up with a server that is not the domain's"
    DiscoverFetched "autoconfig" "autodiscover" Weak "Outlook cannot set itself up: serve the file, or leave the `autodiscover` record out"
    CaaAllows "caa" "allows" Bad "the authority must not renew the host's certificate: let the CAA records name it (RFC 8659)"
    AliasLeads "delegated" "leads" Bad "the alias leads to a name that does not exist: publish its target"
    ServerReady "server" "ready" Bad "the server says that it is not ready"
    ServerBuilt "server" "built" Weak "the server runs a configuration with errors or of another version: see its log"
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How it turned out.
    pub status: Status,
    /// Whose it is: a domain, or a host.
    pub of: DomainName,
    /// What was seen.
    pub says: String,
    /// Where the spec says what should be there.
    pub at: Path,
}

/// What is found of one domain or host.
struct Found<'a> {
    of: &'a DomainName,
    home: &'a Path,
    /// Where the next one is to be blamed on; else on the home.
    at: Option<Path>,
    all: Vec<Finding>,
}

impl<'a> Found<'a> {
    fn of(of: &'a DomainName, home: &'a Path) -> Found<'a> {
        Found { of, home, at: None, all: Vec::new() }
    }

    /// What comes next is said at this place.
    fn at(&mut self, at: &Path) -> &mut Self {
        self.at = Some(at.clone());
        self
    }

    fn put(&mut self, check: Check, status: Status, says: impl Into<String>) {
        let at = self.at.take().unwrap_or_else(|| self.home.clone());
        let says = Some(says.into()).filter(|says: &String| !says.is_empty()).unwrap_or_else(|| "none".to_owned());
        self.all.push(Finding { check, status, of: self.of.clone(), says, at });
    }

    /// It is as it should be.
    fn good(&mut self, check: Check, says: impl Into<String>) {
        self.put(check, Status::Good, says);
    }

    /// It is not.
    fn wrong(&mut self, check: Check, says: impl Into<String>) {
        self.put(check, check.status(), says);
    }

    /// It could not be found out.
    fn unknown(&mut self, check: Check, says: impl Into<String>) {
        self.put(check, Status::Unknown, says);
    }

    fn is(&mut self, good: bool, check: Check, says: impl Into<String>) {
        let status = if good { Status::Good } else { check.status() };
        self.put(check, status, says);
    }
}

/// Who looks, and at what.
pub struct Eyes<'a> {
    /// What the spec means, as far as rollovers let it be in effect.
    pub resolved: &'a Resolved,
    /// Its zones, likewise.
    pub artefacts: &'a Artefacts,
    /// Whom DNS is asked of.
    pub world: World,
    /// One that validates.
    pub validating: TokioResolver,
    /// Evaluates SPF and verifies signatures as receivers do.
    pub authenticator: Authenticator,
    /// Whose certificates are believed.
    pub trust: &'a Trust,
    /// Opens a secret; the word for why not.
    pub secret: &'a (dyn Fn(&SecretRef) -> Result<Secret, String> + Sync),
    /// Seconds since 1970.
    pub now: i64,
}

/// What of it is looked at.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// This domain, and the hosts that take its mail. Left out: all.
    pub only: Option<DomainName>,
    /// These groups. Empty: all.
    pub groups: BTreeSet<String>,
}

impl Wanted {
    /// Whether something of these groups is.
    fn wants(&self, groups: &[&str]) -> bool {
        self.groups.is_empty() || groups.iter().any(|group| self.groups.contains(*group))
    }
}

impl Eyes<'_> {
    /// Looks at everything that is wanted. The findings are in the order of the spec's hosts, then of its domains.
    pub async fn look(&self, wanted: &Wanted) -> Vec<Finding> {
        let is_meant = |domain: &&Domain| wanted.only.as_ref().is_none_or(|only| *only == domain.name);
        let domains: Vec<&Domain> = self.resolved.domains.iter().filter(is_meant).collect();
        let used: BTreeSet<usize> = domains.iter().flat_map(|domain| domain.hosts.iter().map(|(_, at)| *at)).collect();
        let hosts = self.resolved.hosts.iter().enumerate();
        let hosts: Vec<&Host> =
            hosts.filter(|(at, _)| wanted.only.is_none() || used.contains(at)).map(|(_, host)| host).collect();
        let machines = futures_util::stream::iter(hosts).map(|host| self.host(host, wanted)).buffered(AT_ONCE);
        let mut all: Vec<Finding> = machines.collect::<Vec<_>>().await.into_iter().flatten().collect();
        let zones = futures_util::stream::iter(domains).map(|domain| self.domain(domain, wanted)).buffered(AT_ONCE);
        all.extend(zones.collect::<Vec<_>>().await.into_iter().flatten());
        all.retain(|one| wanted.groups.is_empty() || wanted.groups.contains(one.check.group()));
        all
    }

    async fn domain(&self, domain: &Domain, wanted: &Wanted) -> Vec<Finding> {
        let mut found = Found::of(&domain.name, &domain.at);
        let zones = &self.artefacts.zones;
        let zone = zones.binary_search_by(|zone| zone.name.cmp(&domain.name)).ok().and_then(|at| zones.get(at));
        let Some(zone) = zone else { return found.all };
        if wanted.wants(&["name-servers", "records", "dnssec", "delegated"]) {
            self.zone(domain, zone, &mut found).await;
        }
        self.policies(domain, zone, &mut found).await;
        found.all
    }

    /// The records of a name and type as the resolver has them; none where there are none.
    ///
    /// # Errors
    /// Where nobody answers, in words.
    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, String> {
        lookup(&self.world.resolver, name, kind).await
    }

    /// The TXT records of a name that begin with a version.
    async fn texts(&self, name: &str, version: &str) -> Result<Vec<String>, String> {
        let records = self.lookup(name, RecordType::TXT).await?;
        let texts = records.iter().filter_map(|record| match crate::zone::wire::value(&record.data)? {
            crate::zone::Rdata::Txt(text) => Some(text),
            _ => None,
        });
        Ok(texts.filter(|text| is_version(text, version)).collect())
    }

    /// The port at which the world comes to a host for a service, and another one where the host listens instead.
    fn port(host: &Host, service: schema::config::Service, usual: u16) -> (u16, Option<u16>) {
        let ports = host.ports(service);
        let other = if ports.contains(&usual) { None } else { ports.first().copied() };
        (usual, other)
    }
}

/// Whether a text begins with a version, and nothing but the end of a word behind it.
fn is_version(text: &str, version: &str) -> bool {
    let begins = text.get(..version.len()).is_some_and(|start| start.eq_ignore_ascii_case(version));
    begins && text.as_bytes().get(version.len()).is_none_or(|next| b"; \t".contains(next))
}

/// The records of a name and type; none where there are none.
async fn lookup(resolver: &TokioResolver, name: &str, kind: RecordType) -> Result<Vec<Record>, String> {
    match resolver.lookup(format!("{}.", name.trim_end_matches('.')), kind).await {
        Ok(found) => Ok(found.answers().iter().filter(|record| record.record_type() == kind).cloned().collect()),
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// A host's name as a domain's.
fn host_name(name: &HostName) -> &DomainName {
    name.domain()
}

/// Whether something in a list is not good.
pub fn worst(findings: &[Finding]) -> Status {
    findings.iter().map(|one| one.status).max().unwrap_or(Status::Good)
}
