//! What the queue keeps of a message and of a recipient.

use crate::blob::BlobId;
use crate::error::StoreError;
use crate::row::{Packer, Unpacker};
use schema::name::Address;

/// What a notification returns of the message (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Return {
    /// The sender did not say.
    #[default]
    Unsaid,
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// When a sender wants to hear of a recipient (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Of its delivery.
    pub success: bool,
    /// Of its failure.
    pub failure: bool,
    /// Of its lateness.
    pub delay: bool,
}

impl Default for Notify {
    /// Where the sender did not say: failures and delays.
    fn default() -> Notify {
        Notify { success: false, failure: true, delay: true }
    }
}

/// A message in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its octets.
    pub blob: BlobId,
    /// How many they are.
    pub size: u64,
    /// When it was accepted, in seconds since 1970.
    pub arrived: i64,
    /// The reverse path as on the wire, without brackets; empty is the null path.
    pub from: String,
    /// ENVID, decoded.
    pub envid: Option<String>,
    /// RET.
    pub ret: Return,
    /// Whether SMTPUTF8 was asked for.
    pub utf8: bool,
    /// Who submitted it; none: it came from another server, or is our own.
    pub user: Option<Address>,
    /// Whether its octets begin with a Return-Path field.
    pub return_path: bool,
    /// Whether it goes to Junk.
    pub junk: bool,
    /// Whether a failure may be told to the reverse path: somebody vouches for it, or we made the message.
    pub bounces: bool,
    /// Recipients not yet settled.
    pub open: u32,
    /// The next recipient's number.
    pub next: u32,
}

impl Default for Message {
    fn default() -> Message {
        Message {
            blob: BlobId([0; 32]),
            size: 0,
            arrived: 0,
            from: String::new(),
            envid: None,
            ret: Return::Unsaid,
            utf8: false,
            user: None,
            return_path: false,
            junk: false,
            bounces: true,
            open: 0,
            next: 0,
        }
    }
}

impl Message {
    pub(crate) fn read(value: &[u8]) -> Result<Message, StoreError> {
        let what = "a queued message's entry";
        let mut from = Unpacker::new(value, 1, what)?;
        let blob = BlobId(from.fixed()?);
        let (size, arrived) = (from.u64()?, from.i64()?);
        let (path, envid) = (from.text()?.to_owned(), from.option()?.map(str::to_owned));
        let ret = match from.u8()? {
            1 => Return::Full,
            2 => Return::Headers,
            _ => Return::Unsaid,
        };
        let bits = from.u8()?;
        let user = from.option()?.map(str::parse).transpose();
        let user = user.map_err(|_| StoreError::Corrupt { what: what.to_owned() })?;
        let (open, next) = (from.u32()?, from.u32()?);
        let bit = |n: u8| bits & n != 0;
        let [utf8, return_path, junk, bounces] = [1, 2, 4, 8].map(bit);
        Ok(Message { blob, size, arrived, from: path, envid, ret, utf8, user, return_path, junk, bounces, open, next })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut to = Packer::new(1);
        to.fixed(&self.blob.0).u64(self.size).i64(self.arrived).text(&self.from).option(self.envid.as_deref());
        to.u8(match self.ret {
            Return::Unsaid => 0,
            Return::Full => 1,
            Return::Headers => 2,
        });
        let bits = [(self.utf8, 1), (self.return_path, 2), (self.junk, 4), (self.bounces, 8)];
        to.u8(bits.into_iter().map(|(set, bit)| u8::from(set) * bit).sum());
        to.option(self.user.as_ref().map(ToString::to_string).as_deref());
        to.u32(self.open).u32(self.next).done()
    }
}

/// What is to be done for a recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Find out where its mail goes, and deliver it there.
    #[default]
    Deliver,
    /// It is a list or group whose members, in the order of their addresses, are being put in its place: all up to
    /// this address are. An address, not a count, since members come and go meanwhile.
    Spread(String),
}

/// A recipient of a queued message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// The forward path as on the wire, without brackets.
    pub address: String,
    /// ORCPT, decoded, with its type: `rfc822;ada@example.org`.
    pub orcpt: Option<String>,
    /// When the sender wants to hear of it; none: not said.
    pub notify: Option<Notify>,
    /// What to do.
    pub task: Task,
    /// Attempts so far.
    pub tried: u32,
    /// When to try next, in seconds since 1970.
    pub due: i64,
    /// Whether the sender heard that it is late.
    pub told: bool,
    /// How often it was forwarded from address to address on this server.
    pub depth: u8,
    /// What the last attempt came to.
    pub last: String,
}

impl Recipient {
    pub(crate) fn read(value: &[u8]) -> Result<Recipient, StoreError> {
        let mut from = Unpacker::new(value, 1, "a queued recipient's entry")?;
        let (address, orcpt) = (from.text()?.to_owned(), from.option()?.map(str::to_owned));
        let notify = match from.u8()? {
            255 => None,
            bits => Some(Notify { success: bits & 1 != 0, failure: bits & 2 != 0, delay: bits & 4 != 0 }),
        };
        let task = from.option()?.map_or(Task::Deliver, |after| Task::Spread(after.to_owned()));
        let (tried, due, told, depth) = (from.u32()?, from.i64()?, from.u8()? != 0, from.u8()?);
        let last = from.text()?.to_owned();
        Ok(Recipient { address, orcpt, notify, task, tried, due, told, depth, last })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut to = Packer::new(1);
        to.text(&self.address).option(self.orcpt.as_deref());
        to.u8(self.notify.map_or(255, |on| u8::from(on.success) | u8::from(on.failure) << 1 | u8::from(on.delay) << 2));
        match &self.task {
            Task::Deliver => to.option(None),
            Task::Spread(after) => to.option(Some(after)),
        };
        to.u32(self.tried).i64(self.due).u8(self.told.into()).u8(self.depth).text(&self.last).done()
    }
}
