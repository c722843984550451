//! Mail from our own people: the From is theirs, what is missing is added (RFC 6409 §8), and it is signed.

use super::{HOPS_MOST, Judged, Transaction, arrival, unknown, unstored};
use crate::clock;
use crate::listen::Connection;
use bytes::Bytes;
use mail::{message, sign, trace};
use proto::smtp::types::Reply;
use schema::name::{Address, DomainName};
use schema::spec::Posting;
use store::held;
use tracing::warn;

/// Judges and completes a message of somebody who logged in.
pub(super) async fn judge(
    transaction: &Transaction,
    user: &Address,
    octets: Bytes,
    connection: Connection,
) -> Result<Judged, Reply> {
    let header_end = message::header_end(&octets);
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
    let mut added = String::new();
    if message::field(header, "Date").is_none() {
        added.push_str(&format!("Date: {}\r\n", trace::date(now)));
    }
    if message::field(header, "Message-ID").is_none() {
        let unique = format!("{:x}.{:x}", clock::nanoseconds(), connection.id);
        added.push_str(&format!("Message-ID: <{unique}@{}>\r\n", snapshot.host.name));
    }
    let octets = match added.is_empty() {
        true => octets,
        false => held::joined(&[added.as_bytes(), &octets]).await.map_err(|error| unstored(&error))?,
    };
    let mut before = String::new();
    if transaction.all_accounts {
        before.push_str(&trace::return_path(&transaction.mail.from.to_string()));
    }
    before.push_str(&arrival::received(transaction, connection));
    if let Some(keys) = domain.and_then(|domain| snapshot.signers.get(&domain)) {
        match sign::sign(keys, &octets) {
            Ok(fields) => before.extend(fields),
            Err(error) => {
                // Unsigned, the message would fail the domain's own policy elsewhere.
                warn!(%error, "a message cannot be signed");
                return Err(Reply::new(451, Some((4, 3, 5)), "the message cannot be signed now, try again later"));
            }
        }
    }
    let octets = held::joined(&[before.as_bytes(), &octets]).await.map_err(|error| unstored(&error))?;
    Ok(Judged { octets, junk: false, vouched: true })
}
