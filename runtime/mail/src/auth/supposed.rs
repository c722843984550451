//! Answers that stand for what DNS says, so that what a record would do can be told before it is there.

use super::Authenticator;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::hickory_resolver::proto::op::ResponseCode;
use mail_auth::hickory_resolver::proto::rr::RData;
use mail_auth::spf::Spf;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{DnsError, DnssecStatus, Error, MX, Parameters, RecordSet, ResolverCache, SpfResult, Txt};
use schema::name::DomainName;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

/// Answers of one type, by names with a dot behind them.
pub(super) struct Answers<V>(HashMap<Box<str>, V>);

impl<V> Default for Answers<V> {
    fn default() -> Self {
        Answers(HashMap::new())
    }
}

impl<V> Answers<V> {
    pub(super) fn put(&mut self, name: &str, answer: V) {
        self.0.insert(format!("{}.", name.to_ascii_lowercase()).into_boxed_str(), answer);
    }
}

impl<V: Clone> ResolverCache<Box<str>, V> for Answers<V> {
    fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<V>
    where
        Box<str>: Borrow<Q>,
    {
        self.0.get(name).cloned()
    }
    fn remove<Q: Hash + Eq + ?Sized>(&self, _: &Q) -> Option<V>
    where
        Box<str>: Borrow<Q>,
    {
        None
    }
    fn insert(&self, _: Box<str>, _: V, _: Instant) {}
}

/// That nothing is there.
pub(super) fn nothing() -> Txt {
    Txt::Error(Error::Dns(DnsError::RecordNotFound(ResponseCode::NXDomain)))
}

/// What DNS is supposed to say of some names; of all others it is asked.
#[derive(Default)]
pub struct Supposed {
    texts: Answers<Txt>,
    exchangers: Answers<RecordSet<MX>>,
    v4: Answers<RecordSet<Ipv4Addr>>,
    v6: Answers<RecordSet<Ipv6Addr>>,
}

fn set<T>(values: impl Iterator<Item = T>) -> RecordSet<T> {
    RecordSet { rrset: values.collect(), dnssec_status: DnssecStatus::Indeterminate }
}

impl Supposed {
    /// A name has these SPF records; of several none holds (RFC 7208 §4.5).
    pub fn spf(&mut self, name: &DomainName, records: &[&str]) {
        let answer = match records {
            [] => nothing(),
            [one] => Spf::parse(one.as_bytes()).map_or_else(Txt::Error, |spf| Txt::Spf(spf.into())),
            _ => Txt::Error(Error::ParseError),
        };
        self.texts.put(name.as_str(), answer);
    }

    /// A name has MX records for these hosts.
    pub fn exchangers(&mut self, name: &DomainName, hosts: &[&DomainName]) {
        let hosts = hosts.iter().map(|host| format!("{host}.").into_boxed_str()).collect();
        self.exchangers.put(name.as_str(), set(std::iter::once(MX { exchanges: hosts, preference: 10 })));
    }

    /// A name has these addresses of IPv4.
    pub fn v4(&mut self, name: &DomainName, addresses: &[Ipv4Addr]) {
        self.v4.put(name.as_str(), set(addresses.iter().copied()));
    }

    /// A name has these addresses of IPv6.
    pub fn v6(&mut self, name: &DomainName, addresses: &[Ipv6Addr]) {
        self.v6.put(name.as_str(), set(addresses.iter().copied()));
    }
}

impl Authenticator {
    /// Whether SPF passes for a domain's mail from an address (RFC 7208); `None` where DNS does not say.
    pub async fn passes(&self, ip: IpAddr, domain: &DomainName, supposed: &Supposed) -> Option<bool> {
        let from = format!("postmaster@{domain}");
        let parameters = SpfParameters::verify_mail_from(ip, domain.as_str(), domain.as_str(), &from);
        let parameters = Parameters::new(parameters)
            .with_txt_cache(&supposed.texts)
            .with_mx_cache(&supposed.exchangers)
            .with_ipv4_cache(&supposed.v4)
            .with_ipv6_cache(&supposed.v6);
        match self.0.verify_spf(parameters).await.result() {
            SpfResult::TempError => None,
            result => Some(result == SpfResult::Pass),
        }
    }

    /// What DNS says of a domain's SPF where that is no one record: the library takes the first of several, which is a
    /// permanent error (RFC 7208 §4.5).
    pub(super) async fn several(&self, domain: &str) -> Answers<Txt> {
        let mut answers = Answers::default();
        let Ok(found) = self.0.resolver().txt_lookup(domain).await else { return answers };
        let is_spf = |text: &[u8]| {
            text.split_at_checked(6).is_some_and(|(version, rest)| {
                version.eq_ignore_ascii_case(b"v=spf1") && rest.first().is_none_or(|next| *next == b' ')
            })
        };
        let records = found.answers().iter().filter(|record| match &record.data {
            RData::TXT(text) => is_spf(&text.txt_data.concat()),
            _ => false,
        });
        if records.count() > 1 {
            answers.put(domain.trim_end_matches('.'), Txt::Error(Error::ParseError));
        }
        answers
    }
}
