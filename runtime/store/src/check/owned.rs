//! What people own: every script and identity of a list has its octets, and all octets belong to one.

use super::{Check, left, mendable, page};
use crate::directory::people::owned::{Identity, Owned, PIECES_MOST};
use crate::error::StoreError;
use crate::keys;
use crate::kv::{Batch, Page};
use bytes::Bytes;
use schema::name::Address;

impl Check<'_> {
    /// Checks the lists, and the octets beside them.
    pub(super) async fn owned(&mut self) -> Result<(), StoreError> {
        let mut range = keys::all_owned();
        loop {
            let found = page(&self.base.data, &mut range).await?;
            if found.is_empty() {
                break;
            }
            for (key, value) in found {
                match keys::read_person(&key) {
                    Some(account) => self.list(&account, value).await?,
                    None => {
                        let remedy = "restore it from a backup";
                        self.done
                            .tell([left("unreadable", format!("{key:?}"), "a key that cannot be read", remedy)], false);
                    }
                }
            }
        }
        self.unowned().await
    }

    async fn list(&mut self, account: &Address, mut value: Bytes) -> Result<(), StoreError> {
        let key = keys::owned(account);
        loop {
            let mut owned = match Owned::read(&value) {
                Ok(owned) => owned,
                Err(error) => {
                    let remedy = "restore it from a backup";
                    self.done.tell([left("unreadable", account.to_string(), error.to_string(), remedy)], false);
                    return Ok(());
                }
            };
            let mut gone = Vec::new();
            for (number, octets) in owned.texts() {
                let pieces = keys::owned_pieces(account, Some(number));
                let pieces = self.base.data.scan(pieces, Page::first(PIECES_MOST)).await?;
                let whole: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece).copied().collect();
                let fits = match octets {
                    Some(octets) => whole.len() as u64 == octets && std::str::from_utf8(&whole).is_ok(),
                    None => Identity::read(&whole).is_ok(),
                };
                if !fits {
                    gone.push(number);
                }
            }
            let now = self.base.data.get(std::slice::from_ref(&key)).await?.pop().flatten();
            if now.as_ref() != Some(&value) && !gone.is_empty() {
                // It changed while it was looked at.
                let Some(now) = now else { return Ok(()) };
                value = now;
                continue;
            }
            let name = |number: &u64| {
                let script = owned.scripts.iter().find(|one| one.text == *number);
                script.map_or_else(|| "an identity".to_owned(), |script| format!("the script `{}`", script.name))
            };
            let drops = self.how.drop_broken;
            let tell = |number: &u64| {
                let (place, what) = (account.to_string(), format!("{} has not all of its octets", name(number)));
                match drops {
                    true => mendable("broken-text", place, what, "remove it"),
                    false => {
                        let remedy = "restore it from a backup, or remove it with --repair --drop-broken";
                        left("broken-text", place, what, remedy)
                    }
                }
            };
            let found = gone.iter().map(tell).collect();
            owned.keep(|number| !gone.contains(&number));
            let mut batch = Batch::new();
            if drops && !gone.is_empty() {
                batch.assert(key.clone(), Some(value));
                match owned.row() {
                    Some(row) => batch.put(key, row),
                    None => batch.remove(key),
                };
                for number in gone {
                    batch.clear(keys::owned_pieces(account, Some(number)));
                }
            }
            return self.settle(found, batch).await;
        }
    }

    /// Octets that no list names.
    async fn unowned(&mut self) -> Result<(), StoreError> {
        let mut range = keys::all_owned_pieces();
        let mut last = None;
        loop {
            let found = page(&self.base.data, &mut range).await?;
            if found.is_empty() {
                return Ok(());
            }
            for (key, _) in found {
                let Some((account, number, _)) = keys::read_owned_piece(&key) else { continue };
                if last.replace((account.clone(), number)) == Some((account.clone(), number)) {
                    continue;
                }
                let list = keys::owned(&account);
                let mut both = self.base.data.get(&[list.clone(), key]).await?;
                let (is_there, row) = (both.pop().flatten().is_some(), both.pop().flatten());
                let named = match row.as_deref().map(Owned::read).transpose() {
                    Ok(owned) => owned.is_some_and(|owned| owned.texts().any(|(known, _)| known == number)),
                    // Told of above; who knows what it named.
                    Err(_) => true,
                };
                if is_there && !named {
                    let mut batch = Batch::new();
                    batch.assert(list, row).clear(keys::owned_pieces(&account, Some(number)));
                    let what = "octets of a script or identity that is in no list";
                    let found = mendable("text-of-nobody", account.to_string(), what, "remove them");
                    self.settle(vec![found], batch).await?;
                }
            }
        }
    }
}
