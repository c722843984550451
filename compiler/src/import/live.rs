//! A domain's zone as DNS answers. Zones cannot be listed, so what is known to be of mail is asked for.

use super::facts::Facts;
use super::zone::{SERVICES, Seen};
use super::{ImportError, Wish};
use crate::resolver::{AT_ONCE, resolver};
use crate::zone::{Kind, Rdata};
use futures_util::future::join_all;
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use schema::name::{DomainName, HostName};

/// Values of one answer that are looked at.
const MOST_VALUES: usize = 64;
/// Hosts of one domain that are looked at.
const MOST_HOSTS: usize = 20;
/// Selectors that mail programs and services use by themselves.
const SELECTORS: [&str; 24] = [
    "default",
    "mail",
    "dkim",
    "selector1",
    "selector2",
    "google",
    "s1",
    "s2",
    "k1",
    "k2",
    "k3",
    "key1",
    "key2",
    "mx",
    "smtp",
    "email",
    "mailjet",
    "sendgrid",
    "mandrill",
    "stalwart",
    "rsa",
    "ed25519",
    "dkim1",
    "20230601",
];

/// Asks for every domain.
pub fn ask(wish: &Wish, seen: &mut Seen, facts: &mut Facts) -> Result<(), ImportError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ImportError::Dns(error.to_string()))?;
    let resolver = resolver(wish.resolver).map_err(|error| ImportError::Dns(error.to_string()))?;
    let domains: Vec<DomainName> = facts.domains.keys().cloned().collect();
    for domain in domains {
        runtime.block_on(Asking { resolver: &resolver, wish, seen, facts }.domain(&domain))?;
    }
    Ok(())
}

struct Asking<'a> {
    resolver: &'a TokioResolver,
    wish: &'a Wish,
    seen: &'a mut Seen,
    facts: &'a mut Facts,
}

impl Asking<'_> {
    async fn domain(mut self, domain: &DomainName) -> Result<(), ImportError> {
        // Without an answer to the first question, nothing is known of the others.
        let first = self.resolver.lookup(format!("{domain}."), RecordType::MX).await;
        if let Err(error) = first
            && !error.is_no_records_found()
            && !error.is_nx_domain()
        {
            return Err(ImportError::Dns(format!("{domain}: {error}")));
        }
        self.seen.zones.insert(domain.clone());
        let all =
            [RecordType::MX, RecordType::TXT, RecordType::CAA, RecordType::A, RecordType::AAAA, RecordType::DNSKEY];
        let mut questions: Vec<(DomainName, RecordType)> = all.map(|kind| (domain.clone(), kind)).into();
        let mut below = |prefix: &str, kinds: &[RecordType]| {
            if let Ok(name) = domain.under(prefix) {
                questions.extend(kinds.iter().map(|kind| (name.clone(), *kind)));
            }
        };
        ["_dmarc", "_mta-sts", "_smtp._tls"]
            .iter()
            .for_each(|prefix| below(prefix, &[RecordType::CNAME, RecordType::TXT]));
        for prefix in ["autoconfig", "autodiscover", "mta-sts"] {
            below(prefix, &[RecordType::CNAME, RecordType::A, RecordType::AAAA]);
        }
        SERVICES.iter().for_each(|(prefix, _)| below(prefix, &[RecordType::SRV]));
        let asked = self.wish.selectors.iter().map(String::as_str).chain(SELECTORS);
        asked.for_each(|selector| below(&format!("{selector}._domainkey"), &[RecordType::CNAME, RecordType::TXT]));
        self.ask(questions, domain).await;
        let mut hosts: Vec<DomainName> = Vec::new();
        for value in self.seen.sets.get(&(domain.clone(), Kind::Mx)).into_iter().flatten() {
            hosts.extend(value.target().filter(|host| host.as_str().parse::<HostName>().is_ok()).cloned());
        }
        hosts.extend(self.wish.host.iter().map(|host| host.domain().clone()));
        hosts.truncate(MOST_HOSTS);
        let mut questions = Vec::new();
        for host in hosts {
            questions.extend([RecordType::A, RecordType::AAAA].map(|kind| (host.clone(), kind)));
            if host.is_within(domain) {
                questions.extend([RecordType::TXT, RecordType::CAA].map(|kind| (host.clone(), kind)));
                questions.extend(host.under("_25._tcp").ok().map(|name| (name, RecordType::TLSA)));
            }
        }
        self.ask(questions, domain).await;
        Ok(())
    }

    async fn ask(&mut self, questions: Vec<(DomainName, RecordType)>, domain: &DomainName) {
        for some in questions.chunks(AT_ONCE) {
            let resolver = self.resolver;
            let asked = some.iter().map(|(name, kind)| async move { resolver.lookup(format!("{name}."), *kind).await });
            let answers = join_all(asked).await;
            for ((name, kind), answer) in some.iter().zip(answers) {
                match answer {
                    Ok(found) => self.take(name, *kind, domain, found.answers().iter().take(MOST_VALUES)),
                    Err(error) if error.is_no_records_found() || error.is_nx_domain() => {}
                    // What an alias leads to need not be answered.
                    Err(_) if self.seen.sets.contains_key(&(name.clone(), Kind::Cname)) => {}
                    Err(_) => self.facts.left_of(domain, format!("{name} {kind}: DNS did not answer")),
                }
            }
        }
    }

    fn take<'r>(
        &mut self,
        name: &DomainName,
        asked: RecordType,
        domain: &DomainName,
        records: impl Iterator<Item = &'r hickory_resolver::proto::rr::Record>,
    ) {
        for record in records {
            // An alias on the way stands at its own name; what it leads to is not the zone's.
            let owner = record.name.to_string().trim_end_matches('.').to_ascii_lowercase();
            if owner != name.as_str() {
                continue;
            }
            if asked == RecordType::DNSKEY {
                self.seen.signed.insert(domain.clone());
            } else if let Some(value) = value(&record.data) {
                self.seen.add(name.clone(), value);
                self.facts.took("records of DNS", 1);
            }
        }
    }
}

/// A value, where its type is one that mail needs. It is read as a master file's, so that the same holds for both.
fn value(data: &RData) -> Option<Rdata> {
    if let RData::TXT(txt) = data {
        let octets: Vec<u8> = txt.txt_data.iter().flat_map(|string| string.iter().copied()).collect();
        return Rdata::parse(Kind::Txt, std::str::from_utf8(&octets).ok()?).ok();
    }
    Rdata::parse(Kind::named(&data.record_type().to_string())?, &data.to_string()).ok()
}
