//! What receivers and senders of a domain's mail make of it: MX, SPF, DKIM, DMARC, MTA-STS, TLS reports, autoconfig, CAA.

use super::wire::{Request, Unfetched};
use super::{Check, Eyes, Found, host_name};
use crate::emit::runtime;
use crate::lint::caa;
use crate::resolve::{Domain, Host, KeyState, is_spf};
use crate::zone::{Kind, Rdata, Zone, wire};
use hickory_resolver::proto::rr::RecordType;
use mail::auth::Arrival;
use mail::sign::{DkimKey, sign};
use schema::config::Service;
use schema::name::DomainName;
use schema::spec::{DkimAlgorithm, MtaStsMode};
use std::net::{IpAddr, SocketAddr};
use url::Url;

/// The port of HTTPS.
const HTTPS: u16 = 443;

impl Eyes<'_> {
    /// Everything that is a matter of mail.
    pub(super) async fn policies(&self, domain: &Domain, zone: &Zone, found: &mut Found<'_>) {
        self.exchangers(domain, found).await;
        self.spf(domain, found).await;
        self.dkim(domain, found).await;
        self.dmarc(domain, found).await;
        self.mta_sts(domain, found).await;
        let name = format!("_smtp._tls.{}", domain.name);
        if zone.sets.iter().any(|set| set.name.as_str() == name) {
            match self.texts(&name, "v=TLSRPTv1").await {
                Ok(texts) => found.is(texts.len() == 1, Check::TlsRptThere, name),
                Err(why) => found.unknown(Check::TlsRptThere, why),
            }
        }
        self.autoconfig(domain, zone, found).await;
        self.caa(domain, found).await;
    }

    /// Addresses of a name as the resolver has them.
    pub(super) async fn addresses(&self, name: &DomainName) -> Result<Vec<IpAddr>, String> {
        let mut addresses = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let records = self.lookup(name.as_str(), kind).await?;
            addresses.extend(records.iter().filter_map(|record| record.data.ip_addr()));
        }
        Ok(addresses)
    }

    async fn exchangers(&self, domain: &Domain, found: &mut Found<'_>) {
        if domain.own_exchangers().is_some_and(|own| own.is_empty()) {
            return;
        }
        let records = match self.lookup(domain.name.as_str(), RecordType::MX).await {
            Ok(records) => records,
            Err(why) => return found.unknown(Check::MxThere, why),
        };
        let targets: Vec<DomainName> =
            records.iter().filter_map(|record| wire::value(&record.data)?.target().cloned()).collect();
        let names: Vec<&str> = targets.iter().map(DomainName::as_str).collect();
        found.is(!targets.is_empty(), Check::MxThere, names.join(", "));
        for target in &targets {
            match self.lookup(target.as_str(), RecordType::CNAME).await {
                Ok(aliases) => found.is(aliases.is_empty(), Check::MxNoAlias, format!("`{target}`")),
                Err(why) => found.unknown(Check::MxNoAlias, format!("`{target}`: {why}")),
            }
            match self.addresses(target).await {
                Ok(addresses) => {
                    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                    let says = format!("`{target}` {}", all.join(", "));
                    found.is(!addresses.is_empty(), Check::MxResolves, says);
                }
                Err(why) => found.unknown(Check::MxResolves, format!("`{target}`: {why}")),
            }
            let is_ours = self.resolved.host(target).is_some() || domain.own_exchangers().is_some();
            found.is(is_ours, Check::MxOurs, format!("`{target}`"));
        }
    }

    /// The addresses by which mail of a domain leaves, and what the host there calls itself.
    fn leaves<'h>(&'h self, domain: &'h Domain) -> impl Iterator<Item = (IpAddr, &'h Host)> {
        let hosts = self.resolved.hosts_of(domain).map(|(_, host)| host);
        hosts.flat_map(|host| {
            let from = if host.outbound.is_empty() { &host.addresses } else { &host.outbound };
            from.iter().filter(|ip| !ip.is_unspecified()).map(move |ip| (*ip, host))
        })
    }

    async fn spf(&self, domain: &Domain, found: &mut Found<'_>) {
        match self.lookup(domain.name.as_str(), RecordType::TXT).await {
            Err(why) => return found.unknown(Check::SpfThere, why),
            Ok(records) => {
                let values: Vec<Rdata> = records.iter().filter_map(|record| wire::value(&record.data)).collect();
                let spf: Vec<String> = values.iter().filter(|value| is_spf(value)).map(ToString::to_string).collect();
                found.is(!spf.is_empty(), Check::SpfThere, spf.join(", "));
                if !spf.is_empty() {
                    found.is(spf.len() == 1, Check::SpfOne, spf.join(", "));
                }
                // Of several none counts (RFC 7208 §4.5).
                if spf.len() != 1 {
                    return;
                }
            }
        }
        let path = format!("postmaster@{}", domain.name);
        for (ip, host) in self.leaves(domain) {
            let name = host_name(&host.name).as_str();
            let arrival = Arrival { message: b"", ip, helo: name, mail_from: &path, host: name };
            let verdict = self.authenticator.verify(&arrival).await;
            let says = verdict.header().split_whitespace().collect::<Vec<_>>().join(" ");
            found.is(verdict.spf_passes, Check::SpfPasses, format!("{ip}: {says}"));
        }
    }

    async fn dkim(&self, domain: &Domain, found: &mut Found<'_>) {
        for key in domain.dkim.iter().filter(|key| key.state != KeyState::Revoked) {
            let name = format!("{}._domainkey.{}", key.selector, domain.name);
            let texts = match self.lookup(&name, RecordType::TXT).await {
                Ok(records) => records,
                Err(why) => {
                    found.at(&key.at).unknown(Check::DkimThere, format!("`{name}`: {why}"));
                    continue;
                }
            };
            let texts: Vec<String> = texts.iter().filter_map(|record| text(wire::value(&record.data)?)).collect();
            found.at(&key.at).is(!texts.is_empty(), Check::DkimThere, format!("`{name}`"));
            if texts.is_empty() {
                continue;
            }
            let public: String = key.public.split_whitespace().collect();
            let same = texts.iter().any(|text| tag(text, "p").is_some_and(|value| value == public));
            found.at(&key.at).is(same, Check::DkimSame, format!("`{name}`"));
            if key.state == KeyState::Retiring && key.private.is_none() {
                continue;
            }
            match self.signed(domain, &key.selector, key.algorithm, key.private.as_ref()).await {
                Ok(holds) => found.at(&key.at).is(holds, Check::DkimHolds, format!("`{name}`")),
                Err(why) => found.at(&key.at).wrong(Check::DkimOpened, format!("`{name}`: {why}")),
            }
        }
    }

    /// Signs a message and verifies it as a receiver would.
    async fn signed(
        &self,
        domain: &Domain,
        selector: &str,
        algorithm: DkimAlgorithm,
        private: Option<&schema::name::SecretRef>,
    ) -> Result<bool, String> {
        let private = (self.secret)(private.ok_or("it has no private key")?)?;
        let key = DkimKey::open(&domain.name, selector, algorithm, &private).map_err(|error| error.to_string())?;
        let message = format!(
            "From: postmaster@{0}\r\nTo: postmaster@{0}\r\nSubject: a signature\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\nsigned\r\n",
            domain.name
        );
        let fields = sign(&[key], message.as_bytes()).map_err(|error| error.to_string())?;
        let message = fields.concat() + &message;
        let arrival = Arrival {
            message: message.as_bytes(),
            ip: IpAddr::from([192, 0, 2, 1]),
            helo: domain.name.as_str(),
            mail_from: "",
            host: domain.name.as_str(),
        };
        let verdict = self.authenticator.verify(&arrival).await;
        Ok(verdict.signers.iter().any(|signer| signer.eq_ignore_ascii_case(domain.name.as_str())))
    }

    async fn dmarc(&self, domain: &Domain, found: &mut Found<'_>) {
        let at = domain.dmarc.at.clone().unwrap_or_else(|| domain.at.clone());
        let name = format!("_dmarc.{}", domain.name);
        match self.texts(&name, "v=DMARC1").await {
            Err(why) => found.at(&at).unknown(Check::DmarcThere, why),
            Ok(texts) => {
                found.at(&at).is(!texts.is_empty(), Check::DmarcThere, texts.join(", "));
                if !texts.is_empty() {
                    found.at(&at).is(texts.len() == 1, Check::DmarcOne, texts.join(", "));
                }
            }
        }
        let to = &domain.dmarc.report.domain;
        if to.is_within(&domain.name) || domain.name.is_within(to) {
            return;
        }
        let name = format!("{}._report._dmarc.{to}", domain.name);
        let at = domain.dmarc.report_at(&domain.at);
        match self.texts(&name, "v=DMARC1").await {
            Ok(texts) => found.at(&at).is(!texts.is_empty(), Check::DmarcConsent, format!("`{name}`")),
            Err(why) => found.at(&at).unknown(Check::DmarcConsent, format!("`{name}`: {why}")),
        }
    }

    async fn mta_sts(&self, domain: &Domain, found: &mut Found<'_>) {
        let (Some(given), Some(wanted)) = (&domain.mta_sts, runtime::policy(domain, self.resolved)) else { return };
        let at = given.at.clone().unwrap_or_else(|| domain.at.clone());
        let name = format!("_mta-sts.{}", domain.name);
        match self.texts(&name, "v=STSv1").await {
            Err(why) => found.at(&at).unknown(Check::StsRecord, why),
            Ok(texts) => found.at(&at).is(texts.len() == 1, Check::StsRecord, texts.join(", ")),
        }
        let Ok(home) = domain.name.under("mta-sts") else { return };
        let page = match self.page(&home, "/.well-known/mta-sts.txt", None).await {
            Ok(page) => page,
            Err(Unfetched { distrusted, why }) => {
                let check = if distrusted { Check::StsTrusted } else { Check::StsFetched };
                found.at(&at).wrong(check, why);
                return;
            }
        };
        found.at(&at).good(Check::StsTrusted, format!("`{home}`"));
        // A redirect is not followed (RFC 8461 §3.3).
        found.at(&at).is(page.status == 200, Check::StsFetched, format!("`{home}` answers {}", page.status));
        if page.status != 200 {
            return;
        }
        found.at(&at).is(page.kind == "text/plain", Check::StsType, page.kind.clone());
        let (there, ours) = (runtime::policy_lines(&page.body), runtime::policy_lines(&wanted));
        let differing: Vec<&String> = ours.iter().filter(|line| !there.contains(line)).collect();
        let same = differing.is_empty() && there.iter().all(|line| ours.contains(line));
        let says = match differing.first() {
            None if same => format!("`{home}`"),
            None => format!("`{home}` has more than the spec"),
            Some(first) => format!("`{home}` lacks `{first}`"),
        };
        found.at(&at).is(same, Check::StsSame, says);
        if given.mode == MtaStsMode::None {
            return;
        }
        let Ok(records) = self.lookup(domain.name.as_str(), RecordType::MX).await else { return };
        let patterns: Vec<&str> = there.iter().filter_map(|line| line.strip_prefix("mx:")).map(str::trim).collect();
        for target in records.iter().filter_map(|record| wire::value(&record.data)?.target().cloned()) {
            let covers = |pattern: &&&str| match pattern.strip_prefix("*.") {
                Some(above) => target.parent().is_some_and(|parent| parent.as_str() == above),
                None => **pattern == target.as_str(),
            };
            found.at(&at).is(patterns.iter().any(|one| covers(&one)), Check::StsCovers, format!("`{target}`"));
        }
    }

    /// Fetches a page over HTTPS by a name of the domain's: from port 443, or where nothing listens, from the port at
    /// which the host does that the name leads to.
    async fn page(&self, name: &DomainName, path: &str, body: Option<&str>) -> Result<super::wire::Page, Unfetched> {
        let failed = |why: String| Unfetched { distrusted: false, why };
        let mut addresses = self.addresses(name).await.map_err(failed)?;
        let host = |ip: &IpAddr| self.resolved.hosts.iter().find(|host| host.addresses.contains(ip));
        addresses.sort_by_key(|ip| host(ip).is_none());
        let mut last = failed(format!("`{name}` has no address"));
        for ip in addresses {
            let other = host(&ip).and_then(|host| Eyes::port(host, Service::Https, HTTPS).1);
            for port in std::iter::once(HTTPS).chain(other) {
                let url = Url::parse(&format!("https://{name}:{port}{path}"));
                let url = url.map_err(|error| failed(error.to_string()))?;
                match self.fetch(Request { url, address: SocketAddr::new(ip, port), body }).await {
                    Err(why) if !why.distrusted => last = why,
                    page => return page,
                }
            }
        }
        Err(last)
    }

    async fn autoconfig(&self, domain: &Domain, zone: &Zone, found: &mut Found<'_>) {
        let published = |label: &str| {
            let name = domain.name.under(label).ok()?;
            zone.sets.iter().any(|set| set.name == name && matches!(set.kind, Kind::Cname | Kind::A)).then_some(name)
        };
        if let Some(name) = published("autoconfig") {
            let path = format!("/mail/config-v1.1.xml?emailaddress=postmaster@{}", domain.name);
            match self.page(&name, &path, None).await {
                Ok(page) if page.status == 200 && page.body.contains("<clientConfig") => {
                    found.good(Check::ConfigFetched, format!("`{name}`"));
                    self.servers_named(domain, &page.body, found);
                }
                Ok(page) => found.wrong(Check::ConfigFetched, format!("`{name}` answers {}", page.status)),
                Err(why) => found.wrong(Check::ConfigFetched, format!("`{name}`: {}", why.why)),
            }
        }
        if let Some(name) = published("autodiscover") {
            let body = format!(
                "<?xml version=\"1.0\"?><Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006\"><Request><EMailAddress>postmaster@{}</EMailAddress></Request></Autodiscover>",
                domain.name
            );
            match self.page(&name, "/autodiscover/autodiscover.xml", Some(&body)).await {
                Ok(page) => {
                    let good = page.status == 200 && page.body.contains("<Autodiscover");
                    found.is(good, Check::DiscoverFetched, format!("`{name}` answers {}", page.status));
                }
                Err(why) => found.wrong(Check::DiscoverFetched, format!("`{name}`: {}", why.why)),
            }
        }
    }

    /// The servers that a configuration for clients names are the domain's own.
    fn servers_named(&self, domain: &Domain, xml: &str, found: &mut Found<'_>) {
        let Ok(document) = roxmltree::Document::parse(xml) else {
            return found.wrong(Check::ConfigFetched, "what is served is no XML");
        };
        let named = document.descendants().filter(|node| node.tag_name().name() == "hostname");
        for name in named.filter_map(|node| node.text()) {
            let is_ours = self.resolved.hosts_of(domain).any(|(_, host)| host_name(&host.name).as_str() == name.trim());
            found.is(is_ours, Check::ConfigOurs, format!("`{}`", name.trim()));
        }
    }

    async fn caa(&self, domain: &Domain, found: &mut Found<'_>) {
        for (_, host) in self.resolved.hosts_of(domain) {
            let Some(wanted) = &host.caa else { continue };
            let mut at = Some(host_name(&host.name).clone());
            // The nearest name with records counts (RFC 8659 §3).
            while let Some(name) = at {
                let records = match self.lookup(name.as_str(), RecordType::CAA).await {
                    Ok(records) => records,
                    Err(why) => {
                        found.at(&host.at).unknown(Check::CaaAllows, format!("`{name}`: {why}"));
                        break;
                    }
                };
                if records.is_empty() {
                    at = name.parent();
                    continue;
                }
                let values: Vec<Rdata> = records.iter().filter_map(|record| wire::value(&record.data)).collect();
                let why = caa::forbids(&values, wanted);
                let good = why.is_none();
                let says = format!("`{name}`, for `{wanted}`{}", why.map(|why| format!(": {why}")).unwrap_or_default());
                found.at(&host.at).is(good, Check::CaaAllows, says);
                break;
            }
        }
    }
}

fn text(value: Rdata) -> Option<String> {
    match value {
        Rdata::Txt(text) => Some(text),
        _ => None,
    }
}

/// The value of a tag in a list of them, without spaces (RFC 6376 §3.2).
fn tag(text: &str, name: &str) -> Option<String> {
    let mut tags = text.split(';').filter_map(|part| part.split_once('='));
    let (_, value) = tags.find(|(tag, _)| tag.trim() == name)?;
    Some(value.split_whitespace().collect())
}
