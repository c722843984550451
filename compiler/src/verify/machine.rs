//! Machines: their addresses and reverse names, and what answers at their ports.

use super::wire::{Request, Shown, Talk, connect};
use super::{Check, Eyes, Finding, Found, Status, Wanted, host_name};
use crate::resolve::{Domain, Host, not_public};
use crate::zone::{Kind, Rdata};
use aws_lc_rs::digest;
use hickory_resolver::proto::rr::RecordType;
use schema::config::Service;
use schema::name::DomainName;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

/// The port of SMTP between servers (RFC 5321 §4.5.4.2).
const SMTP: u16 = 25;
/// A certificate that ends sooner is told of, in seconds.
const SOON: i64 = 14 * 86_400;
/// Whom we say to be.
const EHLO: &str = "EHLO verify.invalid";

/// A client service: its usual port, the SRV name, whether TLS is there from the start.
const SERVICES: [(Service, u16, &str, bool); 5] = [
    (Service::Submission, 587, "_submission._tcp", false),
    (Service::Submissions, 465, "_submissions._tcp", true),
    (Service::Imap, 143, "_imap._tcp", false),
    (Service::Imaps, 993, "_imaps._tcp", true),
    (Service::Https, 443, "_jmap._tcp", true),
];

impl Eyes<'_> {
    /// Everything about a machine.
    pub(super) async fn host(&self, host: &Host, wanted: &Wanted) -> Vec<Finding> {
        let name = host_name(&host.name);
        let mut found = Found::of(name, &host.at);
        self.found_under(host, &mut found).await;
        for ip in &host.addresses {
            found.is(not_public(ip).is_none(), Check::AddressPublic, ip.to_string());
        }
        let outbound = host.outbound.iter().filter(|ip| !ip.is_unspecified());
        let public = host.addresses.iter().chain(outbound).filter(|ip| not_public(ip).is_none());
        for ip in public.collect::<BTreeSet<_>>() {
            self.reverse(host, *ip, &mut found).await;
        }
        if !wanted.wants(&["smtp", "dane", "services", "server"]) {
            return found.all;
        }
        for ip in &host.addresses {
            self.smtp(host, *ip, &mut found).await;
            for (service, usual, srv, tls) in SERVICES {
                self.service(host, (*ip, service), (usual, srv, tls), &mut found).await;
            }
            self.server(host, *ip, &mut found).await;
        }
        found.all
    }

    async fn found_under(&self, host: &Host, found: &mut Found<'_>) {
        let there = match self.addresses(host_name(&host.name)).await {
            Ok(there) => there,
            Err(why) => return found.unknown(Check::AddressThere, why),
        };
        for ip in &host.addresses {
            found.is(there.contains(ip), Check::AddressThere, ip.to_string());
        }
        for ip in there.iter().filter(|ip| !host.addresses.contains(ip)) {
            found.wrong(Check::AddressOurs, ip.to_string());
        }
    }

    async fn reverse(&self, host: &Host, ip: IpAddr, found: &mut Found<'_>) {
        let name = hickory_resolver::proto::rr::Name::from(ip).to_ascii();
        let names = match self.lookup(&name, RecordType::PTR).await {
            Ok(records) => records,
            Err(why) => return found.unknown(Check::ReverseThere, format!("{ip}: {why}")),
        };
        let names = names.iter().filter_map(|record| match &record.data {
            hickory_resolver::proto::rr::RData::PTR(name) => Some(name.0.to_ascii().trim_end_matches('.').to_owned()),
            _ => None,
        });
        let names: Vec<String> = names.collect();
        found.is(!names.is_empty(), Check::ReverseThere, format!("{ip}: {}", names.join(", ")));
        for name in &names {
            let says = format!("{ip}: `{name}`");
            let back = match name.parse::<DomainName>() {
                Ok(name) => self.addresses(&name).await,
                Err(_) => Ok(Vec::new()),
            };
            match back {
                Ok(back) => found.is(back.contains(&ip), Check::ReverseConfirmed, says.clone()),
                Err(why) => found.unknown(Check::ReverseConfirmed, format!("{says}: {why}")),
            }
            let is_ours = name.eq_ignore_ascii_case(host_name(&host.name).as_str());
            found.is(is_ours, Check::ReverseOurs, says.clone());
            found.is(is_ours || !is_generic(name, ip), Check::ReverseOwn, says);
        }
    }

    /// Connects to a service: at the usual port, or where nobody listens there, at the host's own.
    async fn reach(
        &self,
        (host, service): (&Host, Service),
        (ip, usual): (IpAddr, u16),
        (open, moved): (Check, Check),
        found: &mut Found<'_>,
    ) -> Option<(TcpStream, u16)> {
        let (usual, other) = Eyes::port(host, service, usual);
        let mut last = String::new();
        for port in std::iter::once(usual).chain(other) {
            match connect(ip, port).await {
                Ok(stream) => {
                    found.good(open, format!("{} at {ip} port {port}", service.name()));
                    let says = format!("{} answers at {ip} port {port}", service.name());
                    found.is(port == usual, moved, says);
                    return Some((stream, port));
                }
                Err(error) => last = format!("{} at {ip} port {port}: {error}", service.name()),
            }
        }
        found.wrong(open, last);
        None
    }

    /// What a certificate is worth.
    fn certificate(&self, host: &Host, (shown, what): (&Shown, &str), checks: (Check, Check), found: &mut Found<'_>) {
        let (chain, expires) = checks;
        match &shown.holds {
            Ok(()) => found.good(chain, format!("{what}: holds for `{}`", host.name)),
            // The spec itself has it so.
            Err(why) if host.self_signed => {
                found.put(chain, Status::Weak, format!("{what}: the host signs for itself ({why})"));
            }
            Err(why) => found.wrong(chain, format!("{what}: {why}")),
        }
        let left = shown.until - self.now;
        found.is(left > SOON, expires, format!("{what}: ends in {} days", left.div_euclid(86_400)));
    }

    async fn smtp(&self, host: &Host, ip: IpAddr, found: &mut Found<'_>) {
        if host.ports(Service::Smtp).is_empty() {
            return;
        }
        let checks = (Check::SmtpOpen, Check::SmtpPort);
        let Some((stream, port)) = self.reach((host, Service::Smtp), (ip, SMTP), checks, found).await else { return };
        if let Err(error) = self.smtp_talk(host, stream, &format!("{ip} port {port}"), found).await {
            found.wrong(Check::SmtpGreets, format!("{ip} port {port} {error}"));
        }
    }

    async fn smtp_talk(&self, host: &Host, stream: TcpStream, what: &str, found: &mut Found<'_>) -> io::Result<()> {
        let mut talk = Talk::new(stream);
        let (code, lines) = talk.reply().await?;
        let greeting = lines.first().cloned().unwrap_or_default();
        found.is(code == 220, Check::SmtpGreets, format!("{what}: {code} {greeting}"));
        if code != 220 {
            return Ok(());
        }
        let called = greeting.split(' ').next().unwrap_or_default();
        found.is(
            called.eq_ignore_ascii_case(host_name(&host.name).as_str()),
            Check::SmtpName,
            format!("{what}: `{called}`"),
        );
        let (_, offers) = talk.ask(EHLO).await?;
        found.is(!offers_word(&offers, "AUTH"), Check::SmtpNoAuth, what.to_owned());
        let lacks =
            ["8BITMIME", "SMTPUTF8", "SIZE", "PIPELINING"].into_iter().filter(|word| !offers_word(&offers, word));
        let lacks: Vec<&str> = lacks.collect();
        let says = if lacks.is_empty() { what.to_owned() } else { format!("{what} lacks {}", lacks.join(", ")) };
        found.is(lacks.is_empty(), Check::SmtpExtensions, says);
        found.is(offers_word(&offers, "STARTTLS"), Check::SmtpStartTls, what.to_owned());
        if !offers_word(&offers, "STARTTLS") {
            return self.envelope(host, &mut talk, what, found).await;
        }
        let (code, _) = talk.ask("STARTTLS").await?;
        if code != 220 {
            found.wrong(Check::SmtpTls, format!("{what}: STARTTLS is answered by {code}"));
            return Ok(());
        }
        let (stream, shown) = match self.tls(talk.into_inner(), host_name(&host.name).as_str()).await {
            Ok(made) => made,
            Err(why) => {
                found.wrong(Check::SmtpTls, format!("{what}: {why}"));
                return Ok(());
            }
        };
        found.good(Check::SmtpTls, what.to_owned());
        self.certificate(host, (&shown, what), (Check::SmtpChain, Check::SmtpExpires), found);
        self.dane(host, &shown, what, found).await;
        let mut talk = Talk::new(stream);
        talk.ask(EHLO).await?;
        self.envelope(host, &mut talk, what, found).await
    }

    /// Asks whom the server takes mail for, and sends none.
    async fn envelope<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &Host,
        talk: &mut Talk<S>,
        what: &str,
        found: &mut Found<'_>,
    ) -> io::Result<()> {
        let at = self.resolved.hosts.iter().position(|one| one.name == host.name);
        let takes = |domain: &&Domain| domain.hosts.iter().any(|(_, n)| Some(*n) == at);
        if let Some(domain) = self.resolved.domains.iter().find(takes) {
            talk.ask("MAIL FROM:<>").await?;
            let (code, lines) = talk.ask(&format!("RCPT TO:<postmaster@{}>", domain.name)).await?;
            let says = format!("{what}: `postmaster@{}` is answered by {code} {}", domain.name, lines.join(" "));
            match code {
                250 | 251 => found.good(Check::SmtpPostmaster, says),
                // Strangers may be asked to wait.
                400..=499 => found.unknown(Check::SmtpPostmaster, says),
                _ => found.wrong(Check::SmtpPostmaster, says),
            }
            talk.ask("RSET").await?;
        }
        let (code, lines) = talk.ask("MAIL FROM:<>").await?;
        if code == 250 {
            let (code, lines) = talk.ask("RCPT TO:<somebody@relay.invalid>").await?;
            let says = format!("{what}: a stranger's address is answered by {code} {}", lines.join(" "));
            found.is(!(200..300).contains(&code), Check::SmtpNoRelay, says);
        } else {
            let says = format!("{what}: a null reverse path is answered by {code} {}", lines.join(" "));
            found.unknown(Check::SmtpNoRelay, says);
        }
        talk.ask("QUIT").await.map(drop)
    }

    /// The served chain against the TLSA records of the port that other servers use.
    async fn dane(&self, host: &Host, shown: &Shown, what: &str, found: &mut Found<'_>) {
        let name = format!("_{SMTP}._tcp.{}", host.name);
        let records = match self.lookup(&name, RecordType::TLSA).await {
            Ok(records) if records.is_empty() => return,
            Ok(records) => records,
            Err(why) => return found.unknown(Check::DaneMatches, format!("`{name}`: {why}")),
        };
        let values: Vec<Rdata> = records.iter().filter_map(|record| crate::zone::wire::value(&record.data)).collect();
        let matching = values.iter().filter(|value| matches(value, shown)).count();
        found.is(matching > 0, Check::DaneMatches, format!("{what}: {matching} of {} of `{name}`", values.len()));
        let next = values.len() > matching;
        found.is(next, Check::DaneNext, format!("`{name}` has {} records", values.len()));
    }

    async fn service(
        &self,
        host: &Host,
        (ip, service): (IpAddr, Service),
        (usual, srv, tls): (u16, &str, bool),
        found: &mut Found<'_>,
    ) {
        if host.ports(service).is_empty() {
            return;
        }
        let checks = (Check::ServiceOpen, Check::ServicePort);
        let reached = self.reach((host, service), (ip, usual), checks, found).await;
        self.srv(host, (ip, srv), found).await;
        let Some((stream, port)) = reached else { return };
        let what = format!("{} at {ip} port {port}", service.name());
        let talked = match tls {
            true => self.under_tls(host, stream, (service, &what), found).await,
            false => self.in_clear(host, stream, (service, &what), found).await,
        };
        if let Err(error) = talked {
            found.wrong(Check::ServiceGreets, format!("{what} {error}"));
        }
    }

    /// The ports that SRV records of the spec's zones name for a host.
    async fn srv(&self, host: &Host, (ip, srv): (IpAddr, &str), found: &mut Found<'_>) {
        let sets = self.artefacts.zones.iter().flat_map(|zone| &zone.sets);
        let sets = sets.filter(|set| set.kind == Kind::Srv && set.name.as_str().starts_with(srv));
        let ports = sets.flat_map(|set| &set.values).filter_map(|value| match value {
            Rdata::Srv(_, _, port, Some(target)) if target == host_name(&host.name) => Some(*port),
            _ => None,
        });
        for port in ports.collect::<BTreeSet<u16>>() {
            let says = format!("{srv} names port {port} of {ip}");
            match connect(ip, port).await {
                Ok(_) => found.good(Check::ServiceSrv, says),
                Err(error) => found.wrong(Check::ServiceSrv, format!("{says}: {error}")),
            }
        }
    }

    async fn under_tls(
        &self,
        host: &Host,
        stream: TcpStream,
        (service, what): (Service, &str),
        found: &mut Found<'_>,
    ) -> io::Result<()> {
        let (stream, shown) = match self.tls(stream, host_name(&host.name).as_str()).await {
            Ok(made) => made,
            Err(why) => {
                found.wrong(Check::ServiceTls, format!("{what}: {why}"));
                return Ok(());
            }
        };
        found.good(Check::ServiceTls, what.to_owned());
        self.certificate(host, (&shown, what), (Check::ServiceChain, Check::ServiceExpires), found);
        let mut talk = Talk::new(stream);
        match service {
            Service::Imaps => {
                let line = talk.line().await?;
                found.is(line.starts_with("* OK"), Check::ServiceGreets, format!("{what}: {line}"));
            }
            Service::Submissions => {
                let (code, lines) = talk.reply().await?;
                found.is(code == 220, Check::ServiceGreets, format!("{what}: {code} {}", lines.join(" ")));
                talk.ask("QUIT").await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn in_clear(
        &self,
        host: &Host,
        stream: TcpStream,
        (service, what): (Service, &str),
        found: &mut Found<'_>,
    ) -> io::Result<()> {
        let mut talk = Talk::new(stream);
        let (clear, ready) = match service {
            Service::Imap => {
                let line = talk.line().await?;
                found.is(line.starts_with("* OK"), Check::ServiceGreets, format!("{what}: {line}"));
                talk.say("a CAPABILITY").await?;
                let offers = talk.until("a ").await?.join(" ").to_ascii_uppercase();
                talk.say("b STARTTLS").await?;
                let ready = talk.until("b ").await?.last().is_some_and(|line| line.starts_with("b OK"));
                (!offers.contains("LOGINDISABLED"), ready)
            }
            _ => {
                let (code, lines) = talk.reply().await?;
                found.is(code == 220, Check::ServiceGreets, format!("{what}: {code} {}", lines.join(" ")));
                let (_, offers) = talk.ask(EHLO).await?;
                let (code, _) = talk.ask("STARTTLS").await?;
                (offers_word(&offers, "AUTH"), code == 220)
            }
        };
        found.is(!clear, Check::ServiceNoClear, what.to_owned());
        if !ready {
            found.wrong(Check::ServiceTls, format!("{what} does not take STARTTLS"));
            return Ok(());
        }
        match self.tls(talk.into_inner(), host_name(&host.name).as_str()).await {
            Ok((_, shown)) => {
                found.good(Check::ServiceTls, what.to_owned());
                self.certificate(host, (&shown, what), (Check::ServiceChain, Check::ServiceExpires), found);
            }
            Err(why) => found.wrong(Check::ServiceTls, format!("{what}: {why}")),
        }
        Ok(())
    }

    /// What the server says of itself, where it can be asked from here.
    async fn server(&self, host: &Host, ip: IpAddr, found: &mut Found<'_>) {
        let Some(port) = host.ports(Service::Http).first().copied() else { return };
        let Ok(url) = Url::parse(&format!("http://{}:{port}/ready", host.name)) else { return };
        let request = Request { url, address: SocketAddr::new(ip, port), body: None };
        let page = match self.fetch(request).await {
            Ok(page) => page,
            Err(why) => return found.unknown(Check::ServerReady, format!("{ip} port {port}: {}", why.why)),
        };
        found.is(page.status == 200, Check::ServerReady, format!("{ip} port {port} answers {}", page.status));
        let Ok(status) = serde_json::from_str::<serde_json::Value>(&page.body) else { return };
        let (runs, built) = (status.get("generation").and_then(serde_json::Value::as_str), self.generation());
        let refused = status.get("rejected").is_some_and(|rejected| !rejected.is_null());
        let says = match (refused, runs == Some(&built)) {
            (true, _) => "it refused the newest one".to_owned(),
            (false, true) => format!("it runs {built}"),
            (false, false) => format!("it runs {}, the spec makes {built}", runs.unwrap_or("none")),
        };
        found.is(!refused && runs == Some(&built), Check::ServerBuilt, says);
    }

    /// The name by which the server knows the configuration that the spec makes.
    fn generation(&self) -> String {
        let mut json = Vec::new();
        // Writing into memory does not fail.
        let _ = self.artefacts.runtime_json(&mut json);
        let digest = digest::digest(&digest::SHA256, &json);
        digest.as_ref().iter().take(16).map(|octet| format!("{octet:02x}")).collect()
    }
}

fn offers_word(lines: &[String], word: &str) -> bool {
    lines.iter().any(|line| line.split([' ', '=']).next().is_some_and(|first| first.eq_ignore_ascii_case(word)))
}

/// Whether a name is made of its address, as those are that nobody chose.
fn is_generic(name: &str, ip: IpAddr) -> bool {
    let IpAddr::V4(ip) = ip else { return false };
    let numbers: Vec<&str> = name.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty()).collect();
    let octets = ip.octets().map(|octet| octet.to_string());
    octets.iter().filter(|octet| numbers.contains(&octet.as_str())).count() >= 3
}

/// Whether a chain is one that a TLSA record allows (RFC 7671 §5, RFC 7672 §3.1): an end entity's by usage 3, one above it
/// by usage 2. The other usages are not used for mail.
fn matches(value: &Rdata, shown: &Shown) -> bool {
    let Rdata::Tlsa(usage, selector, matching, data) = value else { return false };
    let candidates: Vec<&Vec<u8>> = match usage {
        3 => shown.chain.iter().take(1).collect(),
        2 => shown.chain.iter().skip(1).collect(),
        _ => return false,
    };
    candidates.into_iter().any(|certificate| {
        let part = match selector {
            0 => Some(certificate.clone()),
            _ => key(certificate),
        };
        let Some(part) = part else { return false };
        let digest = |algorithm| digest::digest(algorithm, &part).as_ref().to_vec();
        let held = match matching {
            0 => part.clone(),
            1 => digest(&digest::SHA256),
            2 => digest(&digest::SHA512),
            _ => return false,
        };
        held == *data
    })
}

/// The public key of a certificate, as it is within it.
fn key(certificate: &[u8]) -> Option<Vec<u8>> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.public_key().raw.to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_that_nobody_chose_are_known() {
        let ip: IpAddr = "192.0.2.25".parse().unwrap();
        assert!(is_generic("ip-192-0-2-25.isp.example", ip) && is_generic("25.2.0.192.pool.example", ip));
        assert!(!is_generic("mail.example.org", ip) && !is_generic("mx2.example.org", ip));
    }
}
