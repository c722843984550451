//! What a person owns beside its mail: Sieve scripts, at most one of which is active (RFC 5804 §1.4, RFC 9661 §2), and
//! identities to write as (RFC 8621 §6).
//!
//! One row lists them all, so that names differ, one script is active, and every change is one commit that asserts the
//! list as it was read. The octets of each lie in rows of their own, under a number that is another after every change:
//! who reads the list and then the octets finds those of that list, or none and reads the list again.

use super::{People, PeopleError, TRIES, Whom, busy, unavailable};
use crate::blob::chance;
use crate::error::{CommitError, StoreError};
use crate::keys;
use crate::kv::{Batch, Key, Page};
use crate::row::{Packer, Unpacker};
use bytes::Bytes;
use schema::name::Address;

/// Scripts of one person.
pub const SCRIPTS_MOST: usize = 64;
/// Octets of all scripts of one person.
pub const SCRIPTS_OCTETS_MOST: u64 = 4 << 20;
/// Octets of a script's name; RFC 5804 §1.6 asks for 128 characters.
pub const SCRIPT_NAME_MOST: usize = 512;
/// Identities of one person.
pub const IDENTITIES_MOST: usize = 32;
/// Octets of the two signatures of an identity together: with everything else it fits into one piece.
pub const SIGNATURES_MOST: usize = 48 << 10;
/// Addresses of an identity's Reply-To, and of its Bcc.
pub const COPIES_MOST: usize = 16;

/// Octets of one piece, below [`crate::kv::VALUE_MOST`].
const PIECE: usize = 80_000;
/// Pieces of one thing: those of the longest script.
pub(crate) const PIECES_MOST: usize = mail::sieve::SCRIPT_MOST.div_ceil(PIECE);
const LIST_VERSION: u8 = 1;
const LIST: &str = "the list of what a person owns";
const IDENTITY_VERSION: u8 = 1;
const IDENTITY: &str = "an identity";

/// A Sieve script, without its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Stays the same whatever changes.
    pub id: u64,
    /// The name, which no other script of the person has.
    pub name: String,
    /// Whether it is the one that runs.
    pub active: bool,
    /// Its length.
    pub octets: u64,
    /// When it was last written, in milliseconds since 1970.
    pub changed: i64,
    /// Another number whenever its octets are.
    pub text: u64,
}

/// Somebody in a header field of an identity (RFC 8621 §4.1.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name; empty where none is given.
    pub name: String,
    /// The address.
    pub email: Address,
}

/// As whom a person writes (RFC 8621 §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The address in From. Whether the person may use it is for the caller to say.
    pub email: Address,
    /// The name in From; empty where none is given.
    pub name: String,
    /// Where answers go.
    pub reply_to: Vec<Named>,
    /// Who gets a blind copy.
    pub bcc: Vec<Named>,
    /// The signature of plain text.
    pub text_signature: String,
    /// The signature of HTML.
    pub html_signature: String,
}

/// The list of what somebody owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owned {
    /// Sorted by name.
    pub(crate) scripts: Vec<Script>,
    /// Each one's id and the number of its octets, in the order that they were made in.
    pub(crate) identities: Vec<(u64, u64)>,
}

impl Owned {
    fn write(&self) -> Vec<u8> {
        let mut row = Packer::new(LIST_VERSION);
        row.u32(u32::try_from(self.scripts.len()).unwrap_or(u32::MAX));
        for one in &self.scripts {
            row.u64(one.id).text(&one.name).u8(one.active.into()).u64(one.octets).i64(one.changed).u64(one.text);
        }
        row.u32(u32::try_from(self.identities.len()).unwrap_or(u32::MAX));
        for (id, text) in &self.identities {
            row.u64(*id).u64(*text);
        }
        row.done()
    }

    pub(crate) fn read(value: &[u8]) -> Result<Owned, StoreError> {
        let mut row = Unpacker::new(value, LIST_VERSION, LIST)?;
        let mut owned = Owned::default();
        for _ in 0..row.u32()? {
            let (id, name, active) = (row.u64()?, row.text()?.to_owned(), row.u8()? == 1);
            let (octets, changed, text) = (row.u64()?, row.i64()?, row.u64()?);
            owned.scripts.push(Script { id, name, active, octets, changed, text });
        }
        for _ in 0..row.u32()? {
            owned.identities.push((row.u64()?, row.u64()?));
        }
        Ok(owned)
    }

    /// The numbers under which octets lie, each with how many there are where the list says so.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (u64, Option<u64>)> {
        let scripts = self.scripts.iter().map(|one| (one.text, Some(one.octets)));
        scripts.chain(self.identities.iter().map(|(_, text)| (*text, None)))
    }

    /// Leaves only what lies under these numbers.
    pub(crate) fn keep(&mut self, is_there: impl Fn(u64) -> bool) {
        self.scripts.retain(|one| is_there(one.text));
        self.identities.retain(|(_, text)| is_there(*text));
    }

    /// The row of this list; `None` where there is nothing to list.
    pub(crate) fn row(&self) -> Option<Vec<u8>> {
        (!self.scripts.is_empty() || !self.identities.is_empty()).then(|| self.write())
    }
}

impl Identity {
    fn write(&self) -> Vec<u8> {
        let mut row = Packer::new(IDENTITY_VERSION);
        row.text(&self.email.to_string()).text(&self.name);
        for list in [&self.reply_to, &self.bcc] {
            row.u32(u32::try_from(list.len()).unwrap_or(u32::MAX));
            for one in list {
                row.text(&one.name).text(&one.email.to_string());
            }
        }
        row.text(&self.text_signature).text(&self.html_signature);
        row.done()
    }

    pub(crate) fn read(value: &[u8]) -> Result<Identity, StoreError> {
        let corrupt = |_| StoreError::Corrupt { what: IDENTITY.to_owned() };
        let mut row = Unpacker::new(value, IDENTITY_VERSION, IDENTITY)?;
        let (email, name) = (row.text()?.parse().map_err(corrupt)?, row.text()?.to_owned());
        let (mut reply_to, mut bcc) = (Vec::new(), Vec::new());
        for list in [&mut reply_to, &mut bcc] {
            for _ in 0..row.u32()? {
                list.push(Named { name: row.text()?.to_owned(), email: row.text()?.parse().map_err(corrupt)? });
            }
        }
        let (text_signature, html_signature) = (row.text()?.to_owned(), row.text()?.to_owned());
        Ok(Identity { email, name, reply_to, bcc, text_signature, html_signature })
    }
}

/// What a change of a list does to the octets beside it.
#[derive(Default)]
struct Texts {
    written: Vec<(u64, Bytes)>,
    dropped: Vec<u64>,
}

impl People {
    /// The Sieve scripts of a person, by name.
    ///
    /// # Errors
    /// The store's.
    pub async fn scripts(&self, account: &Address) -> Result<Vec<Script>, StoreError> {
        Ok(self.owned(account).await?.0.scripts)
    }

    /// A script with its octets.
    ///
    /// # Errors
    /// The store's.
    pub async fn script(&self, account: &Address, name: &str) -> Result<Option<(Script, String)>, StoreError> {
        for _ in 0..TRIES {
            let (owned, _) = self.owned(account).await?;
            let Some(found) = owned.scripts.into_iter().find(|one| one.name == name) else { return Ok(None) };
            let pieces =
                self.data.scan(keys::owned_pieces(account, Some(found.text)), Page::first(PIECES_MOST)).await?;
            let octets: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece).copied().collect();
            if octets.len() as u64 == found.octets {
                let corrupt = |_| StoreError::Corrupt { what: format!("the script `{name}` of {account}") };
                return String::from_utf8(octets).map(|text| Some((found, text))).map_err(corrupt);
            }
        }
        Err(StoreError::Corrupt { what: format!("the script `{name}` of {account}, some of whose octets are gone") })
    }

    /// Writes a script, under a new name or in place of the one that has it; it stays active if it is. `whom.stamp` is its
    /// number, as everywhere here. The second of the answer: it is new. Whether the script can run is for the caller to
    /// have checked.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn put_script(&self, whom: Whom<'_>, name: &str, text: &str) -> Result<(Script, bool), PeopleError> {
        let (id, number, changed) = (chance()?, chance()?, self.now());
        let octets = text.len() as u64;
        let edit = |owned: &mut Owned, texts: &mut Texts| {
            let others: u64 = owned.scripts.iter().filter(|one| one.name != name).map(|one| one.octets).sum();
            if others + octets > SCRIPTS_OCTETS_MOST {
                let most = usize::try_from(SCRIPTS_OCTETS_MOST).unwrap_or(usize::MAX);
                return Err(PeopleError::TooMany { what: "octets of scripts", most });
            }
            let (place, is_new) = match owned.scripts.binary_search_by(|one| one.name.as_str().cmp(name)) {
                Ok(place) => (place, false),
                Err(_) if owned.scripts.len() >= SCRIPTS_MOST => {
                    return Err(PeopleError::TooMany { what: "scripts", most: SCRIPTS_MOST });
                }
                Err(place) => {
                    let new = Script { id, name: name.to_owned(), active: false, octets, changed, text: number };
                    owned.scripts.insert(place, new);
                    (place, true)
                }
            };
            let one = owned.scripts.get_mut(place).ok_or(PeopleError::Missing)?;
            seen(whom, (!is_new).then_some(one.text))?;
            if !is_new {
                texts.dropped.push(one.text);
                (one.octets, one.changed, one.text) = (octets, changed, number);
            }
            texts.written.push((number, Bytes::copy_from_slice(text.as_bytes())));
            Ok((one.clone(), is_new))
        };
        self.change_owned(whom, edit).await
    }

    /// Renames a script (RFC 5804 §2.11.1), makes it the active one, or the active one inactive (§2.8).
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn change_script(
        &self,
        whom: Whom<'_>,
        name: &str,
        (renamed, active): (Option<&str>, Option<bool>),
    ) -> Result<Script, PeopleError> {
        let edit = |owned: &mut Owned, _: &mut Texts| {
            let place = owned.scripts.iter().position(|one| one.name == name).ok_or(PeopleError::Missing)?;
            seen(whom, owned.scripts.get(place).map(|one| one.text))?;
            if renamed.is_some_and(|new| new != name && owned.scripts.iter().any(|one| one.name == new)) {
                return Err(PeopleError::NameTaken);
            }
            if active == Some(true) {
                owned.scripts.iter_mut().for_each(|one| one.active = false);
            }
            let one = owned.scripts.get_mut(place).ok_or(PeopleError::Missing)?;
            one.active = active.unwrap_or(one.active);
            one.name = renamed.unwrap_or(name).to_owned();
            let changed = one.clone();
            owned.scripts.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(changed)
        };
        self.change_owned(whom, edit).await
    }

    /// Removes a script that is not active (RFC 5804 §2.10).
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn remove_script(&self, whom: Whom<'_>, name: &str) -> Result<(), PeopleError> {
        let edit = |owned: &mut Owned, texts: &mut Texts| {
            let place = owned.scripts.iter().position(|one| one.name == name).ok_or(PeopleError::Missing)?;
            let one = owned.scripts.remove(place);
            seen(whom, Some(one.text))?;
            texts.dropped.push(one.text);
            if one.active { Err(PeopleError::Active) } else { Ok(()) }
        };
        self.change_owned(whom, edit).await
    }

    /// The identities of a person in the order that they were made in: the id, which stays, and the number, which is another
    /// after every change.
    ///
    /// # Errors
    /// The store's.
    pub async fn identities(&self, account: &Address) -> Result<Vec<(u64, u64, Identity)>, StoreError> {
        for _ in 0..TRIES {
            let (owned, _) = self.owned(account).await?;
            let keys: Vec<Key> =
                owned.identities.iter().map(|(_, text)| keys::owned_piece(account, *text, 0)).collect();
            let found = if keys.is_empty() { Vec::new() } else { self.data.get(&keys).await? };
            // Where one was changed between the two questions, both are asked again.
            let Some(found) = found.into_iter().collect::<Option<Vec<Bytes>>>() else { continue };
            let listed = owned.identities.iter().zip(&found);
            return listed.map(|((id, number), octets)| Ok((*id, *number, Identity::read(octets)?))).collect();
        }
        Err(StoreError::Corrupt { what: format!("an identity of {account}, whose octets are gone") })
    }

    /// Makes an identity, or (`id`) puts it in place of another; answers its id and its number.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn put_identity(
        &self,
        whom: Whom<'_>,
        id: Option<u64>,
        identity: &Identity,
    ) -> Result<(u64, u64), PeopleError> {
        let (new, number) = (chance()?, chance()?);
        let octets = Bytes::from(identity.write());
        let edit = |owned: &mut Owned, texts: &mut Texts| {
            texts.written.push((number, octets.clone()));
            match id {
                Some(id) => {
                    let one = owned.identities.iter_mut().find(|one| one.0 == id).ok_or(PeopleError::Missing)?;
                    seen(whom, Some(one.1))?;
                    texts.dropped.push(std::mem::replace(&mut one.1, number));
                    Ok((id, number))
                }
                None if owned.identities.len() >= IDENTITIES_MOST => {
                    Err(PeopleError::TooMany { what: "identities", most: IDENTITIES_MOST })
                }
                None => {
                    owned.identities.push((new, number));
                    Ok((new, number))
                }
            }
        };
        self.change_owned(whom, edit).await
    }

    /// Removes an identity.
    ///
    /// # Errors
    /// [`PeopleError`].
    pub async fn remove_identity(&self, whom: Whom<'_>, id: u64) -> Result<(), PeopleError> {
        let edit = |owned: &mut Owned, texts: &mut Texts| {
            let place = owned.identities.iter().position(|one| one.0 == id).ok_or(PeopleError::Missing)?;
            let (_, text) = owned.identities.remove(place);
            seen(whom, Some(text))?;
            texts.dropped.push(text);
            Ok(())
        };
        self.change_owned(whom, edit).await
    }

    async fn owned(&self, account: &Address) -> Result<(Owned, Option<Bytes>), StoreError> {
        let raw = self.data.get(&[keys::owned(account)]).await?.pop().flatten();
        let owned = raw.as_deref().map(Owned::read).transpose()?.unwrap_or_default();
        Ok((owned, raw))
    }

    async fn change_owned<T>(
        &self,
        whom: Whom<'_>,
        edit: impl Fn(&mut Owned, &mut Texts) -> Result<T, PeopleError>,
    ) -> Result<T, PeopleError> {
        let account = whom.account;
        for _ in 0..TRIES {
            let mut batch = Batch::new();
            if whom.kept {
                // Who is removed meanwhile owns nothing.
                let (_, raw) = self.seen(Whom { stamp: None, ..whom }).await?;
                batch.assert(keys::person(account), raw);
            }
            let (mut owned, raw) = self.owned(account).await?;
            let mut texts = Texts::default();
            let out = edit(&mut owned, &mut texts)?;
            let list = keys::owned(account);
            batch.assert(list.clone(), raw);
            match owned.row() {
                Some(row) => batch.put(list, row),
                None => batch.remove(list),
            };
            for number in texts.dropped {
                batch.clear(keys::owned_pieces(account, Some(number)));
            }
            for (number, octets) in texts.written {
                for (n, piece) in (0..).zip(octets.chunks(PIECE)) {
                    batch.put(keys::owned_piece(account, number, n), octets.slice_ref(piece));
                }
            }
            match self.data.commit(batch).await {
                Ok(()) => return Ok(out),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Unknown) => {
                    return Err(unavailable("it is not known whether the change happened").into());
                }
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(busy())
    }
}

/// Whether something is what the caller has seen.
fn seen(whom: Whom<'_>, number: Option<u64>) -> Result<(), PeopleError> {
    if whom.stamp.is_none_or(|stamp| Some(stamp) == number) { Ok(()) } else { Err(PeopleError::Changed) }
}
