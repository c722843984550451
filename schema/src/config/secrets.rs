//! Which secrets a configuration names that may become others while it stays the same.

use super::{Directory, DirectorySource, LdapTls, RuntimeConfig, Store};
use crate::name::SecretRef;

impl Store {
    /// What it is reached with.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        let (given, tls) = match self {
            Store::Postgresql(database) | Store::Mysql(database) => ([&database.password, &None], &database.tls),
            Store::S3(s3) => ([&s3.access_key, &s3.secret_key], &None),
            Store::Elasticsearch(index) => ([&index.password, &index.api_key], &index.tls),
            Store::Redis(redis) => ([&redis.password, &redis.sentinel_password], &redis.tls),
            Store::Rocksdb { .. }
            | Store::Memory { .. }
            | Store::Sqlite { .. }
            | Store::Foundationdb(_)
            | Store::Filesystem { .. } => ([&None, &None], &None),
        };
        let tls = tls.iter().flat_map(|tls| [&tls.ca, &tls.cert, &tls.key]);
        given.into_iter().chain(tls).flatten().collect()
    }
}

impl Directory {
    /// What it is reached with.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match &self.source {
            DirectorySource::Ldap(ldap) => {
                let LdapTls { ca, cert, key, .. } = &ldap.tls;
                [&ldap.bind_password, ca, cert, key].into_iter().flatten().collect()
            }
            DirectorySource::Sql(sql) => sql.store.secrets(),
        }
    }
}

impl RuntimeConfig {
    /// The secrets that are looked at again and again: certificates are renewed, passwords become others. A DKIM key never
    /// changes under its selector, and a key that messages are encrypted with never at all.
    pub fn renewable(&self) -> Vec<SecretRef> {
        let storage = &self.storage;
        let stores = [&storage.data, &storage.blob, &storage.search, &storage.lookup];
        let stores = stores.into_iter().flat_map(Store::secrets);
        let directories = self.directories.iter().flat_map(Directory::secrets);
        let keys = self.api_keys.iter().map(|key| &key.secret);
        let tls = self.hosts.iter().flat_map(|host| {
            let certificates = host.tls.certificates.iter().flat_map(|pair| [&pair.cert, &pair.key]);
            certificates.chain(&host.tls.self_signed_key)
        });
        let tls = tls.chain(&self.trust.ca);
        let mut all: Vec<SecretRef> = stores.chain(directories).chain(keys).chain(tls).cloned().collect();
        all.sort();
        all.dedup();
        all
    }
}
