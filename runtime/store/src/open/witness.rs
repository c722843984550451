//! Whether what is open was opened by what would open it now.

use super::{Ground, Reveal};
use crate::error::StoreError;
use schema::name::{Secret, SecretRef};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, Weak};
use tokio::sync::Mutex;

/// Secrets, as they were when something was opened with them. A reference stays what it is when the file behind it gets
/// another password: by this it is noticed, and what was opened is opened anew.
#[derive(Clone, Default)]
pub struct Witness(Arc<std::sync::Mutex<Vec<(SecretRef, Secret)>>>);

impl Witness {
    /// Ground whose secrets are noted as they are opened.
    pub fn over(ground: &Ground) -> (Ground, Witness) {
        let witness = Witness::default();
        let (notes, reveal) = (Arc::clone(&witness.0), Arc::clone(&ground.reveal));
        let noting: Reveal = Arc::new(move |reference| {
            let secret = reveal(reference)?;
            notes.lock().unwrap_or_else(PoisonError::into_inner).push((reference.clone(), secret.clone()));
            Ok(secret)
        });
        (Ground { reveal: noting, ..ground.clone() }, witness)
    }

    /// Whether all of them are what they were. One that cannot be had now is not.
    pub fn holds(&self, ground: &Ground) -> bool {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().all(|(reference, was)| (ground.reveal)(reference).is_ok_and(|now| now == *was))
    }
}

/// What is open, by what it was opened from: nothing is opened twice while its secrets stay what they were.
pub struct Open<K, T: ?Sized>(Mutex<HashMap<K, (Weak<T>, Witness)>>);

impl<K, T: ?Sized> Default for Open<K, T> {
    fn default() -> Open<K, T> {
        Open(Mutex::default())
    }
}

impl<K: Eq + Hash, T: ?Sized> Open<K, T> {
    /// What is open, or else what `open` makes of the ground that it is given.
    ///
    /// # Errors
    /// Those of `open`.
    pub async fn or<F>(&self, key: K, ground: &Ground, open: impl FnOnce(Ground) -> F) -> Result<Arc<T>, StoreError>
    where
        F: Future<Output = Result<Arc<T>, StoreError>>,
    {
        // Held while opening: who comes second waits for the first, and gets the same.
        let mut known = self.0.lock().await;
        known.retain(|_, (open, _)| open.strong_count() > 0);
        let found = known.get(&key).filter(|(_, witness)| witness.holds(ground));
        if let Some(found) = found.and_then(|(open, _)| open.upgrade()) {
            return Ok(found);
        }
        let (noted, witness) = Witness::over(ground);
        let opened = open(noted).await?;
        known.insert(key, (Arc::downgrade(&opened), witness));
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::open::{Registry, Unready};
    use base64::prelude::{BASE64_STANDARD, Engine};
    use schema::config::{BlobOptions, IndexOptions, Storage, Store};
    use schema::spec::Compression;
    use schema::unit::{Period, Size};

    /// What it tells as its secret may become another.
    fn telling(first: &str) -> (Ground, Arc<std::sync::Mutex<String>>) {
        let told = Arc::new(std::sync::Mutex::new(first.to_owned()));
        let tells = Arc::clone(&told);
        let reveal: Reveal = Arc::new(move |reference| match reference {
            SecretRef::Env(_) => Ok(Secret::new(tells.lock().unwrap().clone())),
            _ => Err("none".to_owned()),
        });
        (Ground { root: "/".into(), clock: Arc::new(|| 0), reveal }, told)
    }

    #[tokio::test]
    async fn another_key_that_messages_are_encrypted_with_is_never_taken_by_a_running_server() {
        let (ground, told) = telling(&BASE64_STANDARD.encode([1; 32]));
        let store = Store::Memory { name: "all".to_owned() };
        let storage = Storage {
            data: store.clone(),
            blob: store.clone(),
            search: store.clone(),
            lookup: store,
            blobs: BlobOptions {
                compression: Compression::None,
                encrypt: Some(SecretRef::Env("KEY".to_owned())),
                grace: Period(3600),
                inline: Size(0),
            },
            index: IndexOptions { languages: Vec::new(), attachments: false, most: Size(1000) },
        };
        let registry = Registry::new(ground);
        let stores = registry.open(&storage, "node").await.unwrap();
        let (stores, _) = registry.again(&stores, &storage, &storage).await.unwrap();
        *told.lock().unwrap() = BASE64_STANDARD.encode([2; 32]);
        assert!(matches!(registry.again(&stores, &storage, &storage).await, Err(Unready::Restart(_))));
    }

    #[tokio::test]
    async fn what_is_open_stays_so_until_a_secret_that_it_was_opened_with_is_another() {
        let (ground, told) = telling("one");
        let open: Open<&str, String> = Open::default();
        let of = async |key: &'static str, reference: SecretRef| {
            open.or(key, &ground, |ground| async move {
                Ok(Arc::new(ground.secret(Some(&reference))?.unwrap().reveal().to_owned()))
            })
            .await
        };
        let secret = || SecretRef::Env("A".to_owned());
        let first = of("key", secret()).await.unwrap();
        assert!(Arc::ptr_eq(&first, &of("key", secret()).await.unwrap()));
        assert!(!Arc::ptr_eq(&first, &of("another", secret()).await.unwrap()));
        "two".clone_into(&mut told.lock().unwrap());
        let second = of("key", secret()).await.unwrap();
        assert_eq!((first.as_str(), second.as_str()), ("one", "two"));
        assert!(Arc::ptr_eq(&second, &of("key", secret()).await.unwrap()));
        assert!(of("third", SecretRef::File("gone".to_owned())).await.is_err());
        // Nobody has it any more.
        drop(second);
        let third = of("key", secret()).await.unwrap();
        assert_eq!(third.as_str(), "two");
    }
}
