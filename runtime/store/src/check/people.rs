//! People that the API keeps: whose an address is, and whom SCRAM would lock out, follow from their rows.

use super::{Check, left, mendable, page};
use crate::directory::people::Entry;
use crate::error::StoreError;
use crate::keys;
use crate::kv::{Batch, Key};
use bytes::Bytes;
use schema::name::Address;

impl Check<'_> {
    /// Checks the people, and mends what follows from them.
    pub(super) async fn people(&mut self) -> Result<(), StoreError> {
        let mut range = keys::all_people();
        loop {
            let found = page(&self.base.data, &mut range).await?;
            if found.is_empty() {
                break;
            }
            for (key, value) in found {
                match (keys::read_person(&key), Entry::read(&value)) {
                    (Some(account), Ok(entry)) => self.person(&account, &entry, value).await?,
                    (account, read) => {
                        let place = account.map_or_else(|| format!("{key:?}"), |account| account.to_string());
                        let what = read.err().map_or("a key that cannot be read".to_owned(), |error| error.to_string());
                        self.done.tell([left("unreadable", place, what, "restore it from a backup")], false);
                    }
                }
            }
        }
        self.unclaimed().await
    }

    /// Everything that follows from a row is there.
    async fn person(&mut self, account: &Address, entry: &Entry, value: Bytes) -> Result<(), StoreError> {
        self.done.people += u64::from(entry.kept.is_some());
        let (mut found, mut batch) = (Vec::new(), Batch::new());
        batch.assert(keys::person(account), Some(value));
        let addresses: Vec<&Address> = entry.addresses(account).collect();
        let claims: Vec<Key> = addresses.iter().map(|address| keys::whose(address)).collect();
        let owner = Bytes::from(account.to_string());
        for ((address, claim), known) in addresses.iter().zip(&claims).zip(self.base.data.get(&claims).await?) {
            match known {
                Some(known) if known == owner => {}
                Some(known) => {
                    let what = format!("{address} belongs to {} too", String::from_utf8_lossy(&known));
                    found.push(left(
                        "address-of-two",
                        account.to_string(),
                        what,
                        "take it from one of them by the API",
                    ));
                }
                None => {
                    let what = format!("mail for {address} does not find this person");
                    found.push(mendable("missing-address", account.to_string(), what, "add the address"));
                    batch.assert(claim.clone(), None).put(claim.clone(), owner.clone());
                }
            }
        }
        let without = keys::without_scram(account);
        if entry.needs_plain() && self.base.data.get(std::slice::from_ref(&without)).await? == [None] {
            let what = "SCRAM is offered, and would lock this person out";
            found.push(mendable("missing-plain", account.to_string(), what, "note that it is not to be offered"));
            batch.assert(without.clone(), None).put(without, Bytes::new());
        }
        self.settle(found, batch).await
    }

    /// What is there follows from a row.
    async fn unclaimed(&mut self) -> Result<(), StoreError> {
        for mut range in [keys::all_whose(), keys::all_without_scram()] {
            let claims = range == keys::all_whose();
            loop {
                let found = page(&self.base.data, &mut range).await?;
                if found.is_empty() {
                    break;
                }
                for (key, value) in found {
                    let Some(address) = keys::read_person(&key) else { continue };
                    let owner = match claims {
                        true => std::str::from_utf8(&value).ok().and_then(|owner| owner.parse().ok()),
                        false => Some(address.clone()),
                    };
                    let mut batch = Batch::new();
                    batch.assert(key.clone(), Some(value)).remove(key);
                    if let Some(owner) = owner {
                        let row = self.base.data.get(&[keys::person(&owner)]).await?.pop().flatten();
                        let is_right = match row.as_deref().map(Entry::read).transpose() {
                            Ok(Some(entry)) if claims => entry.addresses(&owner).any(|own| *own == address),
                            Ok(Some(entry)) => entry.needs_plain(),
                            Ok(None) => false,
                            // Told of above; who knows what it said.
                            Err(_) => true,
                        };
                        if is_right {
                            continue;
                        }
                        batch.assert(keys::person(&owner), row);
                    }
                    let (kind, what) = match claims {
                        true => ("address-of-nobody", "the address is taken, and nobody has it"),
                        false => ("plain-of-nobody", "SCRAM is not offered for somebody whom it would not lock out"),
                    };
                    self.settle(vec![mendable(kind, address.to_string(), what, "remove the note")], batch).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn settle(&mut self, found: Vec<super::Finding>, batch: Batch) -> Result<(), StoreError> {
        let mended = self.how.repair && !batch.writes.is_empty() && self.mend(batch).await?;
        self.done.tell(found, mended);
        Ok(())
    }
}
