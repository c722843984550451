//! A name server that takes dynamic updates (RFC 2136), signed with TSIG (RFC 8945). A zone is read by AXFR (RFC 5936)
//! and changed by one atomic message, whose prerequisites say what must be there before.

use super::{Collected, Limits, Provider, ProviderError};
use crate::plan::{Change, Live, Set};
use crate::zone::Rdata;
use crate::zone::wire::{kind, name, rdata, value};
use async_trait::async_trait;
use base64::prelude::{BASE64_STANDARD, Engine};
use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode, UpdateMessage};
use hickory_resolver::proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_resolver::proto::rr::{DNSClass, Name, Record, RecordType, TSigVerifier, TSigner};
use schema::name::{DomainName, Secret};
use schema::spec;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection, and each message of an answer, is waited for.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How far the two clocks may be apart, in seconds (RFC 8945 §10).
const FUDGE: u16 = 300;
/// The most octets of one update, with room for its signature; more is sent as several.
const LARGEST_UPDATE: usize = 60_000;
/// What it can hold: what one message can.
pub const LIMITS: Limits = Limits { longest_text: 50_000, ..Limits::dns("RFC 2136") };
/// The most records of one zone.
const MOST_RECORDS: usize = 1_000_000;

/// A server that takes dynamic updates.
pub struct Rfc2136 {
    server: SocketAddr,
    signer: TSigner,
}

impl Rfc2136 {
    /// The node's.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub fn new(spec: &spec::Rfc2136, secret: &Secret) -> Result<Rfc2136, String> {
        let algorithm = match spec.algorithm.trim_end_matches('.').to_ascii_lowercase().as_str() {
            "hmac-sha256" => TsigAlgorithm::HmacSha256,
            "hmac-sha384" => TsigAlgorithm::HmacSha384,
            "hmac-sha512" => TsigAlgorithm::HmacSha512,
            other => return Err(format!("`{}` is no TSIG algorithm that is used here", other.escape_debug())),
        };
        let name = Name::from_ascii(&spec.key).map_err(|_| "the TSIG key's name is no name".to_owned())?;
        let octets = BASE64_STANDARD.decode(secret.reveal()).map_err(|_| "the TSIG secret is no base64".to_owned())?;
        let signer = TSigner::new(octets, algorithm, name, FUDGE).map_err(|error| error.to_string())?;
        Ok(Rfc2136 { server: spec.server, signer })
    }

    fn unavailable(&self, why: impl std::fmt::Display) -> ProviderError {
        ProviderError::Unavailable(format!("{}: {why}", self.server))
    }

    async fn connect(&self) -> Result<TcpStream, ProviderError> {
        match timeout(TIMEOUT, TcpStream::connect(self.server)).await {
            Ok(stream) => stream.map_err(|error| self.unavailable(error)),
            Err(_) => Err(self.unavailable("does not answer")),
        }
    }

    /// Signs and sends a message; what its answers are held against.
    async fn send(&self, stream: &mut TcpStream, mut message: Message) -> Result<TSigVerifier, ProviderError> {
        let wrong =
            |why: String| ProviderError::Refused(format!("the message to {} cannot be made: {why}", self.server));
        let signed = message.finalize(&self.signer, seconds()).map_err(|error| wrong(error.to_string()))?;
        let verifier = signed.ok_or_else(|| wrong("it is not signed".into()))?;
        let octets = message.to_vec().map_err(|error| wrong(error.to_string()))?;
        let length = u16::try_from(octets.len()).map_err(|_| wrong("it is too large".into()))?;
        let whole = [&length.to_be_bytes()[..], &octets].concat();
        match timeout(TIMEOUT, stream.write_all(&whole)).await {
            Ok(written) => written.map_err(|error| self.unavailable(error))?,
            Err(_) => return Err(self.unavailable("takes no message")),
        }
        Ok(verifier)
    }

    /// The next message of an answer, its signature checked.
    async fn receive(&self, stream: &mut TcpStream, verifier: &mut TSigVerifier) -> Result<Message, ProviderError> {
        let read = async {
            let length = stream.read_u16().await?;
            let mut octets = vec![0; usize::from(length)];
            stream.read_exact(&mut octets).await?;
            Ok::<_, std::io::Error>(octets)
        };
        let octets = match timeout(TIMEOUT, read).await {
            Ok(octets) => octets.map_err(|error| self.unavailable(error))?,
            Err(_) => return Err(self.unavailable("does not answer")),
        };
        let message = Message::from_vec(&octets).map_err(|error| self.unavailable(error))?;
        // A refusal may be unsigned: who does not know the key cannot sign.
        let code = message.metadata.response_code;
        if code != ResponseCode::NoError && message.signature().is_none_or(|tsig| tsig.data.mac.is_empty()) {
            return Ok(message);
        }
        verifier
            .verify(&octets)
            .map_err(|error| self.unavailable(format!("an answer with a wrong signature: {error}")))?;
        Ok(message)
    }

    fn refused(&self, zone: &DomainName, code: ResponseCode) -> ProviderError {
        let server = self.server;
        let key = self.signer.signer_name();
        match code {
            ResponseCode::NotAuth => ProviderError::Refused(format!(
                "{server} does not take the key `{key}` (NOTAUTH): compare its name, algorithm and secret, and the clocks; or it has no zone `{zone}`"
            )),
            ResponseCode::Refused => ProviderError::Refused(format!(
                "{server} refuses the key `{key}` for `{zone}`: allow it AXFR and UPDATE there"
            )),
            ResponseCode::NXDomain | ResponseCode::NotZone => {
                ProviderError::Missing(format!("{server} has no zone `{zone}`"))
            }
            ResponseCode::YXDomain | ResponseCode::YXRRSet | ResponseCode::NXRRSet => {
                ProviderError::Moved(format!("`{zone}` changed at {server} since the plan was made"))
            }
            ResponseCode::ServFail => self.unavailable("has a fault (SERVFAIL)"),
            code => ProviderError::Refused(format!("{server} answers {code} for `{zone}`")),
        }
    }

    async fn update(&self, zone: &DomainName, changes: &[&Change]) -> Result<(), ProviderError> {
        let message = message(zone, changes).map_err(ProviderError::Refused)?;
        let mut stream = self.connect().await?;
        let mut verifier = self.send(&mut stream, message).await?;
        // From here on it may have taken place.
        let answer = self.receive(&mut stream, &mut verifier).await;
        let answer = answer.map_err(|error| ProviderError::Unknown(error.to_string()))?;
        match answer.metadata.response_code {
            ResponseCode::NoError => Ok(()),
            code => Err(self.refused(zone, code)),
        }
    }
}

#[async_trait]
impl Provider for Rfc2136 {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        let mut message = Message::new(id(), MessageType::Query, OpCode::Query);
        let name = name(zone).map_err(ProviderError::Refused)?;
        message.add_query(Query::query(name.clone(), RecordType::AXFR));
        let mut stream = self.connect().await?;
        let mut verifier = self.send(&mut stream, message).await?;
        let (mut collected, mut starts, mut count) = (Collected::default(), 0, 0);
        // The zone begins and ends with its SOA (RFC 5936 §2.2).
        while starts < 2 {
            let answer = self.receive(&mut stream, &mut verifier).await?;
            if answer.metadata.response_code != ResponseCode::NoError {
                return Err(self.refused(zone, answer.metadata.response_code));
            }
            if answer.answers.is_empty() {
                return Err(self.unavailable("the zone breaks off"));
            }
            for record in answer.answers {
                count += 1;
                let kind = record.record_type();
                starts += usize::from(kind == RecordType::SOA && record.name == name);
                let owner = record.name.to_ascii();
                collected.take(zone, &owner, &kind.to_string(), (u64::from(record.ttl), value(&record.data)));
            }
            if count > MOST_RECORDS {
                return Err(ProviderError::Refused(format!("`{zone}` has more than {MOST_RECORDS} records")));
            }
        }
        Ok(collected.live())
    }

    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError> {
        let size = |set: &Option<Set>| set.as_ref().map_or(40, |set| set.values.iter().map(octets).sum());
        // What makes room for a CNAME, and what takes a CNAME's place, is one message with it.
        let (mut messages, mut room): (Vec<Vec<&Change>>, usize) = (Vec::new(), 0);
        for together in super::by_name(changes) {
            let own: usize = together.iter().map(|change| size(&change.before) + size(&change.after)).sum();
            match messages.last_mut().filter(|_| own <= room) {
                Some(message) => message.extend(together),
                None => {
                    messages.push(together.iter().collect());
                    room = LARGEST_UPDATE;
                }
            }
            room = room.saturating_sub(own);
        }
        for (at, changes) in messages.iter().enumerate() {
            if let Err(error) = self.update(zone, changes).await {
                // What was sent before stands.
                return Err(if at == 0 { error } else { ProviderError::Unknown(error.to_string()) });
            }
        }
        Ok(())
    }
}

/// At most so many octets of a message.
fn octets(value: &Rdata) -> usize {
    // Two names of at most 255, and what stands around them.
    match value {
        Rdata::Txt(text) => 300 + text.len() + text.len() / 255,
        Rdata::Tlsa(.., data) => 300 + data.len(),
        Rdata::Caa(_, tag, value) => 300 + tag.len() + value.len(),
        _ => 560,
    }
}

/// What makes the changes, where everything is as they have it before (RFC 2136 §2.4, §2.5).
fn message(zone: &DomainName, changes: &[&Change]) -> Result<Message, String> {
    let mut message = Message::new(id(), MessageType::Query, OpCode::Update);
    message.add_zone(Query::query(name(zone)?, RecordType::SOA));
    let mut added = Vec::new();
    for change in changes {
        let (owner, kind) = (name(&change.key.name)?, kind(change.key.kind));
        let empty = |class| {
            let mut record = Record::update0(owner.clone(), 0, kind).into_record_of_rdata();
            record.dns_class = class;
            record
        };
        match &change.before {
            None => message.add_pre_requisite(empty(DNSClass::NONE)),
            Some(before) => {
                for value in &before.values {
                    message.add_pre_requisite(Record::from_rdata(owner.clone(), 0, rdata(value)?));
                }
                message.add_update(empty(DNSClass::ANY));
            }
        }
        for value in change.after.iter().flat_map(|after| &after.values) {
            let ttl = change.after.as_ref().map_or(0, |after| u32::try_from(after.ttl).unwrap_or(u32::MAX >> 1));
            added.push(Record::from_rdata(owner.clone(), ttl, rdata(value)?));
        }
    }
    // A CNAME is taken only where nothing stands beside it any more.
    added.into_iter().for_each(|record| message.add_update(record));
    Ok(message)
}

/// A message's number, which nobody else can guess.
fn id() -> u16 {
    let mut octets = [0; 2];
    // Without random octets an answer is still held against its signature.
    let _ = aws_lc_rs::rand::fill(&mut octets);
    u16::from_be_bytes(octets)
}

/// Seconds since 1970: a signature holds for a while (RFC 8945 §5.2.3).
#[allow(clippy::disallowed_methods, reason = "a signature's time is the clock's")]
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
