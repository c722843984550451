//! The key layout of mailboxes, queue, people and blob references; `blob/kv`, `search/kv` and `lookup/kv` have their own
//! first octets (`B`, `S`, `L`), and [`crate::migrate`] has `X`.
//!
//! | key | value |
//! |---|---|
//! | `Ma` account 0 | the account: modseq, next ids, octets used |
//! | `Mb` account 0 mailbox | a mailbox: name, UIDs, counts |
//! | `Ms` account 0 name | nothing: the account subscribed to this name |
//! | `Me` account 0 mailbox uid | a message in a mailbox |
//! | `Mc` account 0 mailbox modseq uid | the change log: 1 changed, 2 vanished; at most one entry a message |
//! | `Mi` account 0 | changes that the full-text index may not have: the last one's modseq |
//! | `Mx` account 0 mailbox | how far the full-text index has a mailbox |
//! | `Mp` | what the full-text index was made by |
//! | `Mo` account 0 source | how far the mail of a mailbox elsewhere was imported |
//! | `Pa` domain 0 local 0 | whose this address is: the address of a person that the API keeps |
//! | `Pp` domain 0 local 0 | such a person; or what somebody that is kept elsewhere has beside: own password, app passwords, second factor |
//! | `Pw` domain 0 local 0 | nothing: SCRAM would lock this person out |
//! | `Po` domain 0 local 0 | what the person owns: the list of its scripts and identities |
//! | `Pt` domain 0 local 0 number piece | octets of one of them, piece by piece |
//! | `Qm` id | a message in the queue |
//! | `Qr` id recipient | one of its recipients |
//! | `Qv` id copy | nothing: this copy of the message is in its mailbox; only where it has several recipients |
//! | `Qd` lane time id recipient | nothing: this recipient is due then |
//! | `Qo` lane | which node works this lane of the queue |
//! | `Qe` node | the node's beat |
//! | `Qs` | the queue's secret |
//! | `Rb` blob owner | nothing: the owner (`m` account 0 mailbox uid, `q` id) refers to the blob |
//! | `Rz` time blob | nothing: nothing may refer to this blob since then |
//! | `Rp` blob pin | the blob is about to be referred to, until this time; the pin is a number by chance |
//! | `Rx` blob | the blob is being removed from a store apart from this one: since this time, and a number by chance |
//!
//! Numbers are big-endian: lane u16, mailbox, uid, recipient and piece u32, the others u64 (times are seconds since 1970).

use crate::blob::BlobId;
use crate::kv::{Key, KeyRange};
use schema::name::{Address, DomainName, LocalPart};

fn of(kind: &[u8; 2], account: &Address) -> Vec<u8> {
    let mut key = Vec::with_capacity(96);
    key.extend_from_slice(kind);
    key.extend_from_slice(account.local.as_str().as_bytes());
    key.push(b'@');
    key.extend_from_slice(account.domain.as_str().as_bytes());
    key.push(0);
    key
}

fn with(mut key: Vec<u8>, parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// The account's own entry.
pub fn account(account: &Address) -> Key {
    of(b"Ma", account).into()
}

/// One mailbox.
pub fn mailbox(account: &Address, mailbox: u32) -> Key {
    with(of(b"Mb", account), &[&mailbox.to_be_bytes()]).into()
}

/// Every mailbox of an account.
pub fn mailboxes(account: &Address) -> KeyRange {
    KeyRange::prefix(&of(b"Mb", account))
}

/// Every mailbox of every account.
pub fn all_mailboxes() -> KeyRange {
    KeyRange::prefix(b"Mb")
}

/// Every account's own entry.
pub fn all_accounts() -> KeyRange {
    KeyRange::prefix(b"Ma")
}

/// The full-text index may not have all of this account.
pub fn unindexed(account: &Address) -> Key {
    of(b"Mi", account).into()
}

/// Every account that the full-text index may not have all of.
pub fn all_unindexed() -> KeyRange {
    KeyRange::prefix(b"Mi")
}

/// How far the full-text index has a mailbox.
pub fn indexed(account: &Address, mailbox: u32) -> Key {
    with(of(b"Mx", account), &[&mailbox.to_be_bytes()]).into()
}

/// How far it has every mailbox of an account, or of all of them.
pub fn all_indexed(account: Option<&Address>) -> KeyRange {
    KeyRange::prefix(&account.map_or(b"Mx".to_vec(), |account| of(b"Mx", account)))
}

/// What the full-text index was made by.
pub fn index_print() -> Key {
    b"Mp".to_vec().into()
}

/// The account of a key that begins with two octets and the account.
pub fn read_account(key: &Key) -> Option<Address> {
    let text = key.0.get(2..)?.split(|octet| *octet == 0).next()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A subscription.
pub fn subscription(account: &Address, name: &str) -> Key {
    with(of(b"Ms", account), &[name.as_bytes()]).into()
}

/// Every subscription of an account.
pub fn subscriptions(account: &Address) -> KeyRange {
    KeyRange::prefix(&of(b"Ms", account))
}

/// A message in a mailbox.
pub fn entry(account: &Address, mailbox: u32, uid: u32) -> Key {
    with(of(b"Me", account), &[&mailbox.to_be_bytes(), &uid.to_be_bytes()]).into()
}

/// The messages of a mailbox from a UID on.
pub fn entries(account: &Address, mailbox: u32, from: u32) -> KeyRange {
    let all = KeyRange::prefix(&with(of(b"Me", account), &[&mailbox.to_be_bytes()]));
    KeyRange { from: entry(account, mailbox, from), to: all.to }
}

/// An entry of the change log.
pub fn change(account: &Address, mailbox: u32, modseq: u64, uid: u32) -> Key {
    with(of(b"Mc", account), &[&mailbox.to_be_bytes(), &modseq.to_be_bytes(), &uid.to_be_bytes()]).into()
}

/// The changes of a mailbox from a modseq (included) on.
pub fn changes(account: &Address, mailbox: u32, from: u64) -> KeyRange {
    let all = KeyRange::prefix(&with(of(b"Mc", account), &[&mailbox.to_be_bytes()]));
    KeyRange { from: change(account, mailbox, from, 0), to: all.to }
}

/// Modseq and UID of a change's key.
pub fn read_change(key: &Key) -> Option<(u64, u32)> {
    let tail = key.0.last_chunk::<12>()?;
    let (modseq, uid) = tail.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*modseq), u32::from_be_bytes(uid.try_into().ok()?)))
}

/// How far a mailbox elsewhere was imported.
pub fn imported(account: &Address, source: &[u8; 32]) -> Key {
    with(of(b"Mo", account), &[source]).into()
}

/// The number at the end of a key.
pub fn last_u32(key: &Key) -> Option<u32> {
    key.0.last_chunk::<4>().map(|tail| u32::from_be_bytes(*tail))
}

/// What an account's key range holds after its prefix.
pub fn tail<'k>(key: &'k Key, range: &KeyRange) -> &'k [u8] {
    key.0.get(range.from.0.len()..).unwrap_or_default()
}

fn of_person(kind: &[u8; 2], address: &Address) -> Vec<u8> {
    with(of_domain(kind, &address.domain), &[address.local.as_str().as_bytes(), &[0]])
}

fn of_domain(kind: &[u8; 2], domain: &DomainName) -> Vec<u8> {
    with(kind.to_vec(), &[domain.as_str().as_bytes(), &[0]])
}

/// Whose an address is.
pub fn whose(address: &Address) -> Key {
    of_person(b"Pa", address).into()
}

/// A person, or what somebody has beside.
pub fn person(address: &Address) -> Key {
    of_person(b"Pp", address).into()
}

/// Every such entry of a domain behind an address of it.
pub fn people(domain: &DomainName, after: Option<&LocalPart>) -> KeyRange {
    let all = KeyRange::prefix(&of_domain(b"Pp", domain));
    let after = after.map(|local| person(&Address::new(local.clone(), domain.clone())));
    // Nothing lies between an entry's key and the same with a zero behind it.
    let from = after.map_or(all.from, |key| with(key.0.to_vec(), &[&[0]]).into());
    KeyRange { from, to: all.to }
}

/// Every such entry.
pub fn all_people() -> KeyRange {
    KeyRange::prefix(b"Pp")
}

/// Whose every address is.
pub fn all_whose() -> KeyRange {
    KeyRange::prefix(b"Pa")
}

/// The address of a person's key.
pub fn read_person(key: &Key) -> Option<Address> {
    let (domain, local) = std::str::from_utf8(key.0.get(2..)?).ok()?.split_once('\0')?;
    Some(Address::new(local.strip_suffix('\0')?.parse().ok()?, domain.parse().ok()?))
}

/// SCRAM would lock this person out.
pub fn without_scram(address: &Address) -> Key {
    of_person(b"Pw", address).into()
}

/// Everybody whom SCRAM would lock out.
pub fn all_without_scram() -> KeyRange {
    KeyRange::prefix(b"Pw")
}

/// The list of what a person owns.
pub fn owned(address: &Address) -> Key {
    of_person(b"Po", address).into()
}

/// Everybody's lists.
pub fn all_owned() -> KeyRange {
    KeyRange::prefix(b"Po")
}

/// A piece of something that a person owns.
pub fn owned_piece(address: &Address, number: u64, piece: u32) -> Key {
    with(of_person(b"Pt", address), &[&number.to_be_bytes(), &piece.to_be_bytes()]).into()
}

/// Every piece of one thing that a person owns; `None`: of all of them.
pub fn owned_pieces(address: &Address, number: Option<u64>) -> KeyRange {
    let all = of_person(b"Pt", address);
    KeyRange::prefix(&number.map_or_else(|| all.clone(), |number| with(all.clone(), &[&number.to_be_bytes()])))
}

/// Every piece of what anybody owns.
pub fn all_owned_pieces() -> KeyRange {
    KeyRange::prefix(b"Pt")
}

/// Whose a piece is, of what, and which.
pub fn read_owned_piece(key: &Key) -> Option<(Address, u64, u32)> {
    let (owner, tail) = key.0.split_last_chunk::<12>()?;
    let (number, piece) = tail.split_first_chunk::<8>()?;
    let owner = read_person(&owner.to_vec().into())?;
    Some((owner, u64::from_be_bytes(*number), u32::from_be_bytes(piece.try_into().ok()?)))
}

/// The queue's secret.
pub fn secret() -> Key {
    b"Qs".to_vec().into()
}

/// A queued message.
pub fn queued(id: u64) -> Key {
    with(b"Qm".to_vec(), &[&id.to_be_bytes()]).into()
}

/// Every queued message from an id on.
pub fn all_queued(from: u64) -> KeyRange {
    KeyRange { from: queued(from), to: KeyRange::prefix(b"Qm").to }
}

/// The id of a queued message's key.
pub fn read_queued(key: &Key) -> Option<u64> {
    key.0.last_chunk::<8>().map(|tail| u64::from_be_bytes(*tail))
}

/// A recipient of a queued message.
pub fn recipient(id: u64, recipient: u32) -> Key {
    with(b"Qr".to_vec(), &[&id.to_be_bytes(), &recipient.to_be_bytes()]).into()
}

/// Every recipient of a queued message.
pub fn recipients(id: u64) -> KeyRange {
    KeyRange::prefix(&with(b"Qr".to_vec(), &[&id.to_be_bytes()]))
}

/// A copy of a queued message that is delivered: whose, and under which detail.
pub fn copy(id: u64, copy: &str) -> Key {
    with(b"Qv".to_vec(), &[&id.to_be_bytes(), copy.as_bytes()]).into()
}

/// Every delivered copy of a queued message.
pub fn copies(id: u64) -> KeyRange {
    KeyRange::prefix(&with(b"Qv".to_vec(), &[&id.to_be_bytes()]))
}

/// Bits of a message's id that say its lane,
pub const LANE_BITS: u32 = 10;
/// above those that are chance.
pub const CHANCE_BITS: u32 = 20;

/// The lane of a queued message.
pub fn lane(id: u64) -> u16 {
    // At most LANE_BITS of it are left.
    u16::try_from((id >> CHANCE_BITS) & ((1 << LANE_BITS) - 1)).unwrap_or(0)
}

/// When a recipient is due.
pub fn due(time: i64, id: u64, recipient: u32) -> Key {
    let (lane, id) = (lane(id).to_be_bytes(), id.to_be_bytes());
    with(b"Qd".to_vec(), &[&lane, &seconds(time), &id, &recipient.to_be_bytes()]).into()
}

/// Everything that is due in a lane.
pub fn lane_due(lane: u16) -> KeyRange {
    KeyRange::prefix(&with(b"Qd".to_vec(), &[&lane.to_be_bytes()]))
}

/// Who works a lane.
pub fn owner(lane: u16) -> Key {
    with(b"Qo".to_vec(), &[&lane.to_be_bytes()]).into()
}

/// Who works each lane.
pub fn owners() -> KeyRange {
    KeyRange::prefix(b"Qo")
}

/// The lane of an owner's key.
pub fn read_owner(key: &Key) -> Option<u16> {
    key.0.get(2..)?.try_into().ok().map(u16::from_be_bytes)
}

/// Every node's beat.
pub fn beats() -> KeyRange {
    KeyRange::prefix(b"Qe")
}

/// That a node is there.
pub fn beat(node: &str) -> Key {
    with(b"Qe".to_vec(), &[node.as_bytes()]).into()
}

/// Time, id and recipient of a due entry.
pub fn read_due(key: &Key) -> Option<(i64, u64, u32)> {
    let tail = key.0.last_chunk::<20>()?;
    let (time, rest) = tail.split_first_chunk::<8>()?;
    let (id, recipient) = rest.split_first_chunk::<8>()?;
    let time = i64::try_from(u64::from_be_bytes(*time)).ok()?;
    Some((time, u64::from_be_bytes(*id), u32::from_be_bytes(recipient.try_into().ok()?)))
}

/// A message in a mailbox refers to a blob.
pub fn held_by_message(blob: BlobId, account: &Address, mailbox: u32, uid: u32) -> Key {
    let owner = of(b"m:", account);
    with(b"Rb".to_vec(), &[&blob.0, &owner, &mailbox.to_be_bytes(), &uid.to_be_bytes()]).into()
}

/// A queued message refers to a blob.
pub fn held_by_queue(blob: BlobId, id: u64) -> Key {
    with(b"Rb".to_vec(), &[&blob.0, b"q", &id.to_be_bytes()]).into()
}

/// Everything that refers to a blob.
pub fn holders(blob: BlobId) -> KeyRange {
    KeyRange::prefix(&with(b"Rb".to_vec(), &[&blob.0]))
}

/// Everything that refers to any blob.
pub fn all_holders() -> KeyRange {
    KeyRange::prefix(b"Rb")
}

/// What refers to a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A message in a mailbox.
    Message {
        /// Whose.
        account: Address,
        /// Where.
        mailbox: u32,
        /// Which.
        uid: u32,
    },
    /// A queued message.
    Queue {
        /// Which.
        id: u64,
    },
}

impl Holder {
    /// The key of the holder's own entry.
    pub fn key(&self) -> Key {
        match self {
            Holder::Message { account, mailbox, uid } => entry(account, *mailbox, *uid),
            Holder::Queue { id } => queued(*id),
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Holder::Message { account, mailbox, uid } => write!(f, "{account}, mailbox {mailbox}, UID {uid}"),
            Holder::Queue { id } => write!(f, "queued message {id:016x}"),
        }
    }
}

/// Blob and holder of a reference's key.
pub fn read_holder(key: &Key) -> Option<(BlobId, Holder)> {
    let (blob, owner) = key.0.get(2..)?.split_first_chunk::<32>()?;
    let holder = match owner.strip_prefix(b"m:") {
        Some(rest) => {
            let (account, numbers) = rest.split_last_chunk::<8>()?;
            let (mailbox, uid) = numbers.split_first_chunk::<4>()?;
            let account = std::str::from_utf8(account.strip_suffix(&[0])?).ok()?.parse().ok()?;
            let uid = u32::from_be_bytes(uid.try_into().ok()?);
            Holder::Message { account, mailbox: u32::from_be_bytes(*mailbox), uid }
        }
        None => Holder::Queue { id: u64::from_be_bytes(owner.strip_prefix(b"q")?.try_into().ok()?) },
    };
    Some((BlobId(*blob), holder))
}

/// Everything that is kept by account, a range for each kind.
pub fn of_accounts() -> [KeyRange; 8] {
    [b"Ma", b"Mb", b"Mc", b"Me", b"Mi", b"Mo", b"Ms", b"Mx"].map(|kind| KeyRange::prefix(kind))
}

/// The first key that may be another account's.
pub fn after_account(key: &Key) -> Key {
    let end = key.0.iter().position(|octet| *octet == 0).map_or(key.0.len(), |at| at + 1);
    KeyRange::prefix(key.0.get(..end).unwrap_or_default()).to
}

/// Every message of an account.
pub fn all_entries(account: &Address) -> KeyRange {
    KeyRange::prefix(&of(b"Me", account))
}

/// The change log of an account.
pub fn all_changes(account: &Address) -> KeyRange {
    KeyRange::prefix(&of(b"Mc", account))
}

/// The mailbox of a message's or change's key, within the range of all of the account's.
pub fn read_mailbox(key: &Key, all: &KeyRange) -> Option<u32> {
    tail(key, all).first_chunk::<4>().map(|id| u32::from_be_bytes(*id))
}

/// Every recipient in the queue.
pub fn all_recipients() -> KeyRange {
    KeyRange::prefix(b"Qr")
}

/// Every delivered copy in the queue.
pub fn all_copies() -> KeyRange {
    KeyRange::prefix(b"Qv")
}

/// Everything that is due, in whatever lane.
pub fn all_due() -> KeyRange {
    KeyRange::prefix(b"Qd")
}

/// The id of the message that a recipient's or copy's key belongs to.
pub fn read_queued_of(key: &Key) -> Option<u64> {
    key.0.get(2..)?.first_chunk::<8>().map(|id| u64::from_be_bytes(*id))
}

/// A blob that nothing may refer to any more.
pub fn loose(time: i64, blob: BlobId) -> Key {
    with(b"Rz".to_vec(), &[&seconds(time), &blob.0]).into()
}

/// Every loose blob of before a time.
pub fn all_loose(before: i64) -> KeyRange {
    KeyRange { from: b"Rz".to_vec().into(), to: with(b"Rz".to_vec(), &[&seconds(before)]).into() }
}

/// The blob of a loose or doomed entry.
pub fn read_blob(key: &Key) -> Option<BlobId> {
    key.0.last_chunk::<32>().map(|tail| BlobId(*tail))
}

/// A blob that is about to be referred to.
pub fn pin(blob: BlobId, pin: u64) -> Key {
    with(b"Rp".to_vec(), &[&blob.0, &pin.to_be_bytes()]).into()
}

/// Every pin of a blob.
pub fn pins(blob: BlobId) -> KeyRange {
    KeyRange::prefix(&with(b"Rp".to_vec(), &[&blob.0]))
}

/// A blob that is being removed from a store apart.
pub fn doomed(blob: BlobId) -> Key {
    with(b"Rx".to_vec(), &[&blob.0]).into()
}

/// Every blob that is being removed from a store apart.
pub fn all_doomed() -> KeyRange {
    KeyRange::prefix(b"Rx")
}

fn seconds(time: i64) -> [u8; 8] {
    u64::try_from(time).unwrap_or(0).to_be_bytes()
}
