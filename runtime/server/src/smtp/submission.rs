//! Mail from our own people: the From is theirs, what is missing is added (RFC 6409 §8), and it is signed.

use super::{HOPS_MOST, Judged, Transaction, arrival, unknown};
use crate::clock;
use crate::listen::Connection;
use bytes::Bytes;
use mail::{message, sign, trace};
use proto::smtp::types::Reply;
use schema::name::{Address, DomainName};
use schema::spec::Posting;
use tracing::warn;

/// Judges and completes a message of somebody who logged in.
pub(super) async fn judge(
    transaction: &Transaction,
    user: &Address,
    octets: Bytes,
    connection: Connection,
) -> Result<Judged, Reply> {
    let header_end = message::Message::parse(&octets).root.header.end;
    let header = octets.get(..header_end).unwrap_or_default();
    if message::hops(header) >= HOPS_MOST {
        return Err(Reply::new(554, Some((5, 4, 6)), "the message is going in circles"));
    }
    let snapshot = &transaction.snapshot;
    let authors = match message::authors(header) {
        Ok(authors) if !authors.is_empty() => authors,
        Ok(_) => return Err(Reply::new(550, Some((5, 6, 0)), "the message has no From field (RFC 5322 §3.6)")),
        Err(why) => return Err(Reply::new(550, Some((5, 6, 0)), &why.to_string())),
    };
    let mut domain: Option<DomainName> = None;
    for author in &authors {
        let address: Option<Address> = author.parse().ok();
        let owned = match &address {
            Some(address) => snapshot.directory.may_send_as(user, address).await.map_err(|error| unknown(&error))?,
            None => false,
        };
        match address.filter(|_| owned) {
            Some(address) => domain = domain.or(Some(address.domain)),
            None => {
                return Err(Reply::new(550, Some((5, 7, 1)), &format!("{user} may not send mail from <{author}>")));
            }
        }
    }
    for list in &transaction.lists {
        let among = list.owners.contains(user) || (list.posting == Posting::Members && list.members.contains(user));
        if list.posting != Posting::Anyone && !among {
            return Err(Reply::new(550, Some((5, 7, 2)), &format!("you may not post to {}", list.address)));
        }
    }
    let now = clock::now();
    let mut whole = Vec::with_capacity(octets.len() + 4096);
    if message::field(header, "Date").is_none() {
        whole.extend_from_slice(format!("Date: {}\r\n", trace::date(now)).as_bytes());
    }
    if message::field(header, "Message-ID").is_none() {
        let unique = format!("{:x}.{:x}", clock::nanoseconds(), connection.id);
        whole.extend_from_slice(format!("Message-ID: <{unique}@{}>\r\n", snapshot.host.name).as_bytes());
    }
    whole.extend_from_slice(&octets);
    let mut stored = Vec::with_capacity(whole.len() + 2048);
    if transaction.all_accounts {
        stored.extend_from_slice(trace::return_path(&transaction.mail.from.to_string()).as_bytes());
    }
    stored.extend_from_slice(arrival::received(transaction, connection).as_bytes());
    if let Some(keys) = domain.and_then(|domain| snapshot.signers.get(&domain)) {
        match sign::sign(keys, &whole) {
            Ok(fields) => fields.iter().for_each(|field| stored.extend_from_slice(field.as_bytes())),
            Err(error) => {
                // Unsigned, the message would fail the domain's own policy elsewhere.
                warn!(%error, "a message cannot be signed");
                return Err(Reply::new(451, Some((4, 3, 5)), "the message cannot be signed now, try again later"));
            }
        }
    }
    stored.extend_from_slice(&whole);
    Ok(Judged { octets: stored, junk: false, vouched: true })
}
