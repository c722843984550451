//! DNS providers: a trait of three methods, and one file for each behind it. Nothing else knows an API.

pub mod azure;
pub mod cloudflare;
pub mod command;
pub mod desec;
pub mod digitalocean;
pub mod gandi;
pub mod google;
pub mod hetzner;
pub mod http;
mod oauth;
pub mod ovh;
pub mod powerdns;
pub mod recorded;
pub mod rfc2136;
pub mod route53;
pub mod zonefile;

use crate::plan::{Change, Live, Set, SetKey};
use crate::read::files::Sources;
use crate::secrets;
use crate::tls::Trust;
use crate::zone::{Kind, Rdata};
use async_trait::async_trait;
use schema::name::{DomainName, Secret, SecretRef};
use schema::spec;
use sealed::identity::Identities;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a provider can hold. Without asking it: a spec that it cannot hold fails in `waybill check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What people call it.
    pub name: &'static str,
    /// The shortest time to live, in seconds.
    pub least_ttl: u64,
    /// The longest one.
    pub longest_ttl: u64,
    /// The longest text of one TXT record, in octets.
    pub longest_text: usize,
    /// The most values of one set.
    pub most_values: usize,
    /// Values of CAA may have spaces, and texts backslashes.
    pub odd: bool,
    /// Types that it has not.
    pub without: &'static [Kind],
    /// Whether MX and SRV may lead to `.`: no mail is taken (RFC 7505), a service is not offered (RFC 2782).
    pub nowhere: bool,
}

impl Limits {
    /// What DNS itself can hold (RFC 1035 §2.3.4, RFC 2181 §8).
    pub const fn dns(name: &'static str) -> Limits {
        Limits {
            name,
            least_ttl: 0,
            longest_ttl: 0x7fff_ffff,
            longest_text: 65_000,
            most_values: 2_000,
            odd: true,
            without: &[],
            nowhere: true,
        }
    }

    /// Why a set cannot be held, in words; `None` where it can.
    pub fn breach(&self, kind: Kind, ttl: u64, values: &[Rdata]) -> Option<String> {
        if self.without.contains(&kind) {
            return Some(format!("has no {} records", kind.name()));
        }
        if ttl < self.least_ttl || ttl > self.longest_ttl {
            return Some(format!("has times to live from {} to {} s, not {ttl} s", self.least_ttl, self.longest_ttl));
        }
        if values.len() > self.most_values {
            return Some(format!("has at most {} values of one name and type", self.most_values));
        }
        let long = |value: &Rdata| matches!(value, Rdata::Txt(text) if text.len() > self.longest_text);
        if values.iter().any(long) {
            return Some(format!("has texts of at most {} octets", self.longest_text));
        }
        let odd = |value: &Rdata| match value {
            Rdata::Caa(_, _, value) => value.contains(' '),
            Rdata::Txt(text) => text.contains('\\'),
            _ => false,
        };
        if !self.odd && values.iter().any(odd) {
            return Some("has no CAA values with spaces, and no texts with backslashes".into());
        }
        let nowhere = |value: &Rdata| matches!(value, Rdata::Mx(_, None) | Rdata::Srv(_, _, _, None));
        (!self.nowhere && values.iter().any(nowhere)).then(|| "has no records that lead to `.`".to_owned())
    }
}

/// The kinds of `dns` nodes, whether a node is of one, and what it can hold.
fn kinds(dns: &spec::Dns) -> [(&'static str, bool, Limits); 13] {
    [
        ("zonefile", dns.zonefile.is_some(), zonefile::LIMITS),
        ("rfc2136", dns.rfc2136.is_some(), rfc2136::LIMITS),
        ("powerdns", dns.powerdns.is_some(), powerdns::LIMITS),
        ("cloudflare", dns.cloudflare.is_some(), cloudflare::LIMITS),
        ("route53", dns.route53.is_some(), route53::LIMITS),
        ("digitalocean", dns.digitalocean.is_some(), digitalocean::LIMITS),
        ("hetzner", dns.hetzner.is_some(), hetzner::LIMITS),
        ("desec", dns.desec.is_some(), desec::LIMITS),
        ("gandi", dns.gandi.is_some(), gandi::LIMITS),
        ("ovh", dns.ovh.is_some(), ovh::LIMITS),
        ("google", dns.google.is_some(), google::LIMITS),
        ("azure", dns.azure.is_some(), azure::LIMITS),
        ("command", !dns.command.is_empty(), command::LIMITS),
    ]
}

/// What the provider of a `dns` node can hold; `None` where the node names none.
pub fn limits(dns: &spec::Dns) -> Option<Limits> {
    kinds(dns).into_iter().find_map(|(_, is_meant, limits)| is_meant.then_some(limits))
}

/// The kind of a `dns` node, as the spec has it; empty where the node names none.
pub fn kind(dns: &spec::Dns) -> &'static str {
    kinds(dns).into_iter().find_map(|(kind, is_meant, _)| is_meant.then_some(kind)).unwrap_or_default()
}

/// Why a provider did not do something.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It has no such zone.
    #[error("{0}")]
    Missing(String),
    /// It cannot be reached, or has a fault: try again.
    #[error("{0}")]
    Unavailable(String),
    /// It does not take what it was given, or not from us.
    #[error("{0}")]
    Refused(String),
    /// The zone is not any more as the plan has it.
    #[error("{0}")]
    Moved(String),
    /// The write may have taken place, or not: read again.
    #[error("{0}")]
    Unknown(String),
    /// It is written, and the provider does not serve it.
    #[error("{0}")]
    Unserved(String),
}

/// A DNS provider.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What it can hold.
    fn limits(&self) -> Limits;
    /// A whole zone.
    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError>;
    /// Changes sets of a zone: all of them or none, as far as the provider can. Refuses where a set is not as its change
    /// has it before. Where it cannot change all at once, it adds before it removes. Without changes it does what a write
    /// that was cut off may have left undone beside the records, as having the zone loaded.
    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError>;
}

/// What opening a provider takes beside the spec.
pub struct Ground<'a> {
    /// The spec's folder.
    pub sources: &'a Sources,
    /// What `(age)` secrets are opened with.
    pub identities: &'a Identities,
    /// Whom an API's certificate must come from.
    pub trust: &'a Trust,
    /// Seconds since 1970.
    pub now: i64,
}

/// Opens a `dns` node's provider; asks nobody yet.
///
/// # Errors
/// What is wrong with the node or its secrets, without them.
pub fn open(dns: &spec::Dns, ground: &Ground<'_>) -> Result<Arc<dyn Provider>, String> {
    if let Some(zonefile) = &dns.zonefile {
        return Ok(Arc::new(zonefile::ZoneFile::new(ground.sources.root(), zonefile, ground.now)));
    }
    if let Some(rfc2136) = &dns.rfc2136 {
        let secret = ground.secret(&rfc2136.secret)?;
        return Ok(Arc::new(rfc2136::Rfc2136::new(rfc2136, &secret)?));
    }
    if let Some(powerdns) = &dns.powerdns {
        return Ok(Arc::new(powerdns::PowerDns::new(powerdns, ground)?));
    }
    if let Some(cloudflare) = &dns.cloudflare {
        return Ok(Arc::new(cloudflare::Cloudflare::new(cloudflare, ground)?));
    }
    if let Some(route53) = &dns.route53 {
        return Ok(Arc::new(route53::Route53::new(route53, ground)?));
    }
    if let Some(token) = &dns.digitalocean {
        return Ok(Arc::new(digitalocean::DigitalOcean::new(token, ground)?));
    }
    if let Some(token) = &dns.hetzner {
        return Ok(Arc::new(hetzner::Hetzner::new(token, ground)?));
    }
    if let Some(token) = &dns.desec {
        return Ok(Arc::new(desec::Desec::new(token, ground)?));
    }
    if let Some(token) = &dns.gandi {
        return Ok(Arc::new(gandi::Gandi::new(token, ground)?));
    }
    if let Some(ovh) = &dns.ovh {
        return Ok(Arc::new(ovh::Ovh::new(ovh, ground)?));
    }
    if let Some(google) = &dns.google {
        return Ok(Arc::new(google::Google::new(google, ground)?));
    }
    if let Some(azure) = &dns.azure {
        return Ok(Arc::new(azure::Azure::new(azure, ground)?));
    }
    if !dns.command.is_empty() {
        return Ok(Arc::new(command::Command::new(&dns.command, ground)?));
    }
    Err(format!(
        "this version applies nothing to the kind of `dns \"{}\"`: `waybill plan --format` writes its zones for other tools",
        dns.name
    ))
}

impl Ground<'_> {
    /// Opens a secret.
    ///
    /// # Errors
    /// Why it is not opened, without anything of it.
    pub fn secret(&self, reference: &SecretRef) -> Result<Secret, String> {
        secret(reference, self.sources, self.identities)
    }
}

/// Opens a secret, encrypted or not.
///
/// # Errors
/// Why it is not opened, without anything of it.
pub fn secret(reference: &SecretRef, sources: &Sources, identities: &Identities) -> Result<Secret, String> {
    let mut unopened = None;
    let age = || match secrets::opened(reference, sources, identities) {
        Ok(octets) => Some(octets),
        Err(why) => {
            unopened = Some(why.to_string());
            None
        }
    };
    let text = secrets::text(reference, sources, age)?;
    text.ok_or_else(|| unopened.unwrap_or_else(|| format!("{reference} is not opened")))
}

/// Where an API is: as the node says, or at its usual place.
///
/// # Errors
/// That it is no URL which can be asked.
fn base(url: Option<&schema::form::Url>, usual: &str) -> Result<url::Url, String> {
    base_url(url.map_or(usual, |url| url.as_str()))
}

/// The base of an API.
///
/// # Errors
/// That it is no URL which can be asked.
pub fn base_url(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|error| format!("`{}`: {error}", text.escape_debug()))?;
    match matches!(url.scheme(), "http" | "https") && url.has_host() {
        true => Ok(url),
        false => Err(format!("`{}` is no URL of an API: it begins with https:// or http://", text.escape_debug())),
    }
}

/// A zone as it is collected from a provider's records.
#[derive(Debug, Default)]
pub struct Collected {
    sets: BTreeMap<SetKey, (u64, Vec<Rdata>)>,
    live: Live,
}

impl Collected {
    /// Takes in a record: its name, type in words, time to live, and value, where that can be understood.
    pub fn take(&mut self, zone: &DomainName, name: &str, kind: &str, (ttl, value): (u64, Option<Rdata>)) {
        let Some(name) = owner(name).filter(|name| name.is_within(zone)) else { return };
        // The zone's own are its name servers' affair; so is what signs it.
        let own = kind == "SOA" || (kind == "NS" && name == *zone);
        if own || matches!(kind, "RRSIG" | "NSEC" | "NSEC3" | "NSEC3PARAM" | "DNSKEY" | "CDS" | "CDNSKEY" | "TYPE65534")
        {
            return;
        }
        let Some(kind) = Kind::named(kind) else {
            self.live.others.insert(name);
            return;
        };
        let key = SetKey { name, kind };
        match value.filter(|value| value.kind() == kind) {
            Some(value) => {
                let set = self.sets.entry(key).or_insert((ttl, Vec::new()));
                set.0 = set.0.min(ttl);
                set.1.push(value);
            }
            None => drop(self.live.strange.insert(key)),
        }
    }

    /// Notes that the provider decides on a set's time to live.
    pub fn automatic(&mut self, zone: &DomainName, name: &str, kind: &str) {
        let key = owner(name).filter(|name| name.is_within(zone)).zip(Kind::named(kind));
        self.live.automatic.extend(key.map(|(name, kind)| SetKey { name, kind }));
    }

    /// The zone.
    pub fn live(self) -> Live {
        let sets = self.sets.into_iter().filter_map(|(key, (ttl, values))| Some((key, Set::of(ttl, values)?)));
        Live { sets: sets.collect(), ..self.live }
    }
}

/// An owner name as a zone has it: without its final dot, maybe with `*` in front.
fn owner(text: &str) -> Option<DomainName> {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    match text.strip_prefix("*.") {
        Some(below) => below.parse::<DomainName>().ok()?.wildcard().ok(),
        None => text.parse().ok(),
    }
}

/// The changes of each name, in the order in which they are to be made: what adds before what only removes.
fn by_name(changes: &[Change]) -> Vec<&[Change]> {
    let mut names: Vec<&[Change]> = changes.chunk_by(|one, next| one.key.name == next.key.name).collect();
    names.sort_by_key(|name| name.iter().all(|change| change.after.is_none()));
    names
}

/// Changes in an order in which each can be made by itself: what is added is there before what is removed goes, but for a
/// CNAME and what stands in its place, which cannot be there at once (RFC 1034 §3.6.2).
fn one_by_one(changes: &[Change]) -> Vec<&Change> {
    let mut order = Vec::with_capacity(changes.len());
    for name in by_name(changes) {
        let alias =
            |change: &&Change| change.key.kind == Kind::Cname && change.before.is_some() != change.after.is_some();
        let swaps = name.iter().any(|change| alias(&change));
        let (going, coming): (Vec<&Change>, Vec<&Change>) = name.iter().partition(|change| change.after.is_none());
        let (first, last) = if swaps { (going, coming) } else { (coming, going) };
        order.extend(first);
        order.extend(last);
    }
    order
}

/// An owner's name below its zone, `@` for the zone itself.
fn label(zone: &DomainName, name: &DomainName) -> String {
    match name.as_str().strip_suffix(zone.as_str()) {
        Some(front) if !front.is_empty() => front.trim_end_matches('.').to_owned(),
        _ => "@".to_owned(),
    }
}

/// That every change finds what it has before.
///
/// # Errors
/// [`ProviderError::Moved`] names those that do not.
pub fn unmoved(live: &Live, changes: &[Change]) -> Result<(), ProviderError> {
    // What cannot be read whole cannot be written back, so it would be lost.
    let is_other =
        |change: &&Change| live.strange.contains(&change.key) || live.sets.get(&change.key) != change.before.as_ref();
    let others: Vec<String> = changes.iter().filter(is_other).map(|change| format!("`{}`", change.key)).collect();
    match others.is_empty() {
        true => Ok(()),
        false => Err(ProviderError::Moved(format!("{} changed since the plan was made", others.join(", ")))),
    }
}

/// How a request of a series ended. Where one before it was carried out, a part is written: what is live tells which.
fn in_series<T>(before: usize, done: Result<T, ProviderError>) -> Result<T, ProviderError> {
    done.map_err(|error| if before > 0 { ProviderError::Unknown(error.to_string()) } else { error })
}
