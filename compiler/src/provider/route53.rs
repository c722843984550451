//! Amazon Route 53: a zone is listed by pages and changed by batches, each of which is made whole or not at all. What is
//! removed from a set is named with it, and Route 53 refuses that where it is not so any more.

use super::http::{Answer, Api, Ask, Pace};
use super::{Collected, Ground, Limits, Provider, ProviderError, in_series, unmoved};
use crate::aws::{Keys, REGION, Sign};
use crate::plan::{Change, Live, Set, SetKey};
use crate::zone::{Kind, Rdata, master};
use async_trait::async_trait;
use http::{Method, StatusCode};
use roxmltree::{Document, Node};
use schema::name::DomainName;
use schema::spec;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::sleep;

/// What it can hold.
pub const LIMITS: Limits = Limits { longest_text: 3_900, most_values: 400, ..Limits::dns("Route 53") };
/// Five requests a second for a whole account.
const PACE: Pace = Pace { per_second: 4.5, burst: 5.0 };
/// Where it is.
const BASE: &str = "https://route53.amazonaws.com";
/// Variables with another base URL, as Amazon's own tools have them.
const BASES: [&str; 2] = ["AWS_ENDPOINT_URL_ROUTE_53", "AWS_ENDPOINT_URL"];
/// The API's version, as paths begin.
const API: &str = "/2013-04-01";
/// The most record sets of a page.
const PAGE: &str = "300";
/// The most pages of one zone.
const MOST_PAGES: usize = 1_000;
/// The most records of one batch.
const MOST_RECORDS: usize = 1_000;
/// The most characters of the values of one batch.
const MOST_CHARACTERS: usize = 32_000;
/// How often a request is made again that is told to wait.
const TRIES: u32 = 8;
/// How long is waited then, the first time; twice as long each further time.
const PAUSE: Duration = Duration::from_millis(500);
const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// Route 53.
pub struct Route53 {
    api: Api,
    sign: Sign,
    /// The ids of zones that were asked for.
    zones: Mutex<HashMap<DomainName, String>>,
}

/// A record set as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    name: String,
    kind: String,
    ttl: u64,
    values: Vec<String>,
    /// It is an alias, or one of several with weights, regions or the like: what answers is decided elsewhere.
    routed: bool,
}

impl Route53 {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with the node or its keys.
    pub fn new(spec: &spec::Route53, ground: &Ground<'_>) -> Result<Route53, String> {
        let secret = |reference: &Option<_>| reference.as_ref().map(|one| ground.secret(one)).transpose();
        let (id, key) = (secret(&spec.access_key)?, secret(&spec.secret_key)?);
        if id.is_some() != key.is_some() {
            return Err("`access-key` and `secret-key` belong together: write both, or neither".into());
        }
        let usual = BASES.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_else(|| BASE.to_owned());
        let base = super::base(spec.url.as_ref(), &usual)?;
        let keys = Keys { own: id.as_ref().zip(key.as_ref()), role: spec.role.as_deref() };
        let region = spec.region.as_deref().unwrap_or(REGION);
        let sign = Sign::new("route53", region, &keys, ground.trust)?;
        let api = Api::new(&base, PACE, key.into_iter().collect(), ground.trust)?;
        Ok(Route53 { api, sign, zones: Mutex::default() })
    }

    /// Makes a request; waits where it is too fast, or another change of the zone is under way. The answer's body.
    async fn ask(&self, mut ask: Ask<'_>) -> Result<String, ProviderError> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            ask.headers.clear();
            self.sign.sign(&self.api, &mut ask).await.map_err(ProviderError::Refused)?;
            let answer = self.api.ask(&ask).await?;
            if answer.status.is_success() {
                return String::from_utf8(answer.body)
                    .map_err(|_| ProviderError::Unavailable("Route 53: an answer that is no text".into()));
            }
            let code = Error::of(&answer);
            let waits = ["Throttling", "PriorRequestNotComplete", "RequestLimitExceeded"];
            if attempt == TRIES || !code.codes.iter().any(|code| waits.contains(&code.as_str())) {
                return Err(self.refused(&answer, &code));
            }
            sleep(pause).await;
            pause *= 2;
        }
        Err(ProviderError::Unavailable("Route 53 does not answer".into()))
    }

    fn refused(&self, answer: &Answer, error: &Error) -> ProviderError {
        let says = self.api.refused(answer).to_string();
        let is = |code: &str| error.codes.iter().any(|one| one == code);
        let stale = ["but it was not found", "do not match the current values", "but it already exists"];
        if error.messages.iter().any(|message| stale.iter().any(|part| message.contains(part))) {
            return ProviderError::Moved(says);
        }
        match is("NoSuchHostedZone") || (answer.status == StatusCode::NOT_FOUND && error.codes.is_empty()) {
            true => ProviderError::Missing(says),
            false => ProviderError::Refused(says),
        }
    }

    /// The id of the public zone of a name.
    async fn zone(&self, zone: &DomainName) -> Result<String, ProviderError> {
        if let Some(id) = self.zones.lock().await.get(zone) {
            return Ok(id.clone());
        }
        let name = format!("{zone}.");
        let query = [("dnsname", name.as_str()), ("maxitems", "20")];
        let text = self.ask(Ask::get(&format!("{API}/hostedzonesbyname"), &query)).await?;
        let document = parse(&text)?;
        let mut ids = Vec::new();
        for found in all(document.root(), "HostedZone") {
            let is_private = all(found, "PrivateZone").any(|node| node.text() == Some("true"));
            if !is_private && child(found, "Name") == Some(name.as_str()) {
                let id = child(found, "Id").unwrap_or_default().trim_start_matches("/hostedzone/");
                ids.push(id.to_owned());
            }
        }
        match ids.as_slice() {
            [id] if !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric()) => {
                self.zones.lock().await.insert(zone.clone(), id.clone());
                Ok(id.clone())
            }
            [] => Err(ProviderError::Missing(format!("Route 53 has no public hosted zone `{zone}`"))),
            ids => Err(ProviderError::Refused(format!(
                "Route 53 has several public hosted zones `{zone}` ({}): remove those that are not delegated to",
                ids.join(", ")
            ))),
        }
    }

    async fn sets(&self, zone: &DomainName) -> Result<Vec<Found>, ProviderError> {
        let path = format!("{API}/hostedzone/{}/rrset", self.zone(zone).await?);
        let (mut sets, mut from): (Vec<Found>, Vec<(&str, String)>) = (Vec::new(), Vec::new());
        for _ in 0..MOST_PAGES {
            let mut query = vec![("maxitems", PAGE)];
            query.extend(from.iter().map(|(name, value)| (*name, value.as_str())));
            let text = self.ask(Ask::get(&path, &query)).await?;
            let document = parse(&text)?;
            sets.extend(all(document.root(), "ResourceRecordSet").map(found));
            let root = document.root_element();
            if child(root, "IsTruncated") != Some("true") {
                return Ok(sets);
            }
            let next = [("name", "NextRecordName"), ("type", "NextRecordType"), ("identifier", "NextRecordIdentifier")];
            let next = next.into_iter().filter_map(|(query, name)| Some((query, child(root, name)?.to_owned())));
            from = next.collect();
        }
        Err(ProviderError::Refused(format!("`{zone}` has more than {MOST_PAGES} pages of record sets")))
    }
}

/// What an answer that says no has in it.
#[derive(Debug, Default)]
struct Error {
    codes: Vec<String>,
    messages: Vec<String>,
}

impl Error {
    fn of(answer: &Answer) -> Error {
        let text = String::from_utf8_lossy(&answer.body);
        let Ok(document) = Document::parse(&text) else { return Error::default() };
        let texts = |name| all(document.root(), name).filter_map(|node| node.text()).map(str::to_owned).collect();
        Error { codes: texts("Code"), messages: texts("Message") }
    }
}

fn parse(text: &str) -> Result<Document<'_>, ProviderError> {
    let wrong = |error| ProviderError::Unavailable(format!("Route 53: an answer that is not understood: {error}"));
    Document::parse(text).map_err(wrong)
}

/// All elements of a name below one.
fn all<'a, 'input>(node: Node<'a, 'input>, name: &'static str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.descendants().filter(move |node| node.tag_name().name() == name)
}

/// The text of an element directly below one.
fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.children().find(|node| node.tag_name().name() == name)?.text()
}

fn found(node: Node<'_, '_>) -> Found {
    let routes = ["AliasTarget", "SetIdentifier", "TrafficPolicyInstanceId"];
    Found {
        name: unescaped(child(node, "Name").unwrap_or_default()),
        kind: child(node, "Type").unwrap_or_default().to_owned(),
        ttl: child(node, "TTL").and_then(|ttl| ttl.parse().ok()).unwrap_or(0),
        values: all(node, "Value").filter_map(|node| node.text()).map(str::to_owned).collect(),
        routed: node.children().any(|node| routes.contains(&node.tag_name().name())),
    }
}

/// A text without its escapes: what is no plain ASCII is three octal digits here, not three decimal ones.
fn unescaped(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let octal = more.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|c| (b'0'..=b'7').contains(c)));
        let octet = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        octets.push(octet.unwrap_or(*first));
        rest = more.get(if octet.is_some() { 3 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// A value as it is read: octal escapes become decimal ones, as master files have them.
fn value(kind: Kind, text: &str) -> Option<Rdata> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (front, escape) = rest.split_at(at);
        plain.push_str(front);
        let digits = escape.get(1..4).filter(|digits| digits.bytes().all(|c| (b'0'..=b'7').contains(&c)));
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(octet) => {
                plain.push_str(&format!("\\{octet:03}"));
                rest = escape.get(4..).unwrap_or_default();
            }
            None => {
                let next = escape.chars().nth(1);
                plain.push('\\');
                plain.extend(next);
                rest = escape.get(1 + next.map_or(0, char::len_utf8)..).unwrap_or_default();
            }
        }
    }
    plain.push_str(rest);
    master::value(kind, &plain)
}

/// A value as it is written.
fn written(value: &Rdata) -> String {
    let text = value.to_string();
    let mut octal = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\\') {
        let (front, escape) = rest.split_at(at);
        octal.push_str(front);
        match escape.get(1..4).and_then(|digits| digits.parse::<u8>().ok()) {
            Some(octet) => {
                octal.push_str(&format!("\\{octet:03o}"));
                rest = escape.get(4..).unwrap_or_default();
            }
            // `\"` and `\\`, the same in both.
            None => {
                octal.push_str(escape.get(..2).unwrap_or_default());
                rest = escape.get(2..).unwrap_or_default();
            }
        }
    }
    octal + rest
}

/// The zone. A set that is routed is somebody's own, whatever its values.
fn live(zone: &DomainName, sets: &[Found]) -> Live {
    let mut collected = Collected::default();
    for set in sets {
        let kind = Kind::named(&set.kind);
        if set.routed {
            collected.take(zone, &set.name, &set.kind, (set.ttl, None));
        }
        for text in set.values.iter().filter(|_| !set.routed) {
            let value = kind.and_then(|kind| value(kind, text));
            collected.take(zone, &set.name, &set.kind, (set.ttl, value));
        }
    }
    collected.live()
}

/// One action of a batch, as XML; how many records and characters it counts for.
fn action(what: &str, key: &SetKey, (ttl, values): (u64, &[String])) -> (String, usize, usize) {
    let records: String = values
        .iter()
        .map(|value| format!("<ResourceRecord><Value>{}</Value></ResourceRecord>", escaped(value)))
        .collect();
    let xml = format!(
        "<Change><Action>{what}</Action><ResourceRecordSet><Name>{}.</Name><Type>{}</Type><TTL>{ttl}</TTL>\
         <ResourceRecords>{records}</ResourceRecords></ResourceRecordSet></Change>",
        escaped(key.name.as_str()),
        key.kind.name()
    );
    (xml, values.len(), values.iter().map(String::len).sum())
}

/// A text within XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The batches that make changes. All of a name are in one: what makes room for a CNAME, and what takes its place.
fn batches(changes: &[Change], there: &HashMap<SetKey, &Found>) -> Vec<String> {
    let (mut batches, mut records, mut characters): (Vec<String>, usize, usize) = (Vec::new(), 0, 0);
    for name in super::by_name(changes) {
        let written = |set: &Set| (set.ttl, set.values.iter().map(written).collect::<Vec<String>>());
        // As it was read, to the letter: so it is compared.
        let before = name.iter().filter_map(|change| Some((&change.key, there.get(&change.key)?)));
        let before = before.map(|(key, found)| action("DELETE", key, (found.ttl, &found.values)));
        let after = name.iter().filter_map(|change| Some((&change.key, written(change.after.as_ref()?))));
        let after = after.map(|(key, (ttl, values))| action("CREATE", key, (ttl, &values)));
        let own: Vec<(String, usize, usize)> = before.chain(after).collect();
        let (more, longer) =
            own.iter().fold((0, 0), |(records, characters), (_, own, length)| (records + own, characters + length));
        if batches.is_empty() || records + more > MOST_RECORDS || characters + longer > MOST_CHARACTERS {
            batches.push(String::new());
            (records, characters) = (0, 0);
        }
        (records, characters) = (records + more, characters + longer);
        if let Some(batch) = batches.last_mut() {
            own.iter().for_each(|(xml, _, _)| batch.push_str(xml));
        }
    }
    batches
}

#[async_trait]
impl Provider for Route53 {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        Ok(live(zone, &self.sets(zone).await?))
    }

    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError> {
        if changes.is_empty() {
            return Ok(());
        }
        let sets = self.sets(zone).await?;
        unmoved(&live(zone, &sets), changes)?;
        let key = |set: &Found| Some(SetKey { name: super::owner(&set.name)?, kind: Kind::named(&set.kind)? });
        let there = sets.iter().filter(|set| !set.routed).filter_map(|set| Some((key(set)?, set))).collect();
        let path = format!("{API}/hostedzone/{}/rrset/", self.zone(zone).await?);
        for (at, batch) in batches(changes, &there).into_iter().enumerate() {
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ChangeResourceRecordSetsRequest xmlns=\"{NAMESPACE}\">\
                 <ChangeBatch><Changes>{batch}</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
            );
            let mut ask = Ask::get(&path, &[]);
            (ask.method, ask.writes) = (Method::POST, true);
            ask.body = Some(("text/xml", body.into_bytes()));
            in_series(at, self.ask(ask).await)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts_are_escaped_in_octal() {
        for (value_of, text) in
            [(Rdata::Txt("Käse; \"a\" \\".into()), r#""K\303\244se; \"a\" \\""#), (Rdata::Txt(String::new()), "\"\"")]
        {
            assert_eq!(written(&value_of), text);
            assert_eq!(value(Kind::Txt, text), Some(value_of));
        }
        assert_eq!(unescaped("\\052.example.org."), "*.example.org.");
    }

    #[test]
    fn batches_keep_to_their_limits_and_a_name_together() {
        let set = |text: String| Set::of(60, [Rdata::Txt(text)]);
        let change = |n: usize| Change {
            key: SetKey { name: format!("n{n:04}.example.org").parse().unwrap(), kind: Kind::Txt },
            before: None,
            after: set("x".repeat(98)),
        };
        let changes: Vec<Change> = (0..700).map(change).collect();
        let batches = batches(&changes, &HashMap::new());
        // 320 values of 100 characters each.
        let counts: Vec<usize> = batches.iter().map(|batch| batch.matches("<Change>").count()).collect();
        assert_eq!(counts, [320, 320, 60]);
    }
}
