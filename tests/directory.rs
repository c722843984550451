//! Directories on real servers: what they are asked, who gets in, and what a server does while one is away.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "directory/ldap.rs"]
mod ldap;
#[path = "directory/served.rs"]
mod served;
#[path = "directory/sql.rs"]
mod sql;

use compiler::pipeline::{Wish, compile};
use harness::{Site, root};
use schema::name::{Address, Secret};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::directory::router::Router;
use store::directory::{Access, Target};
use store::error::StoreError;
use store::open::{Ground, Registry};

/// A spec's directories, as a server opens them.
pub struct Asked {
    router: Router,
    registry: Registry,
    time: Arc<AtomicI64>,
}

impl Asked {
    /// Compiles `rest` behind a host and a store, and opens the directories.
    pub async fn open(site: &Site, rest: &str) -> Result<Asked, StoreError> {
        let time = Arc::new(AtomicI64::new(1_000_000));
        let (shared, folder) = (Arc::clone(&time), site.path().to_owned());
        let registry = Registry::new(Ground {
            root: site.path().to_owned(),
            clock: Arc::new(move || shared.load(Ordering::SeqCst)),
            reveal: Arc::new(move |secret| {
                let text = std::fs::read_to_string(folder.join(secret.file().unwrap())).map_err(|e| e.to_string())?;
                Ok(Secret::new(text.trim().to_owned()))
            }),
        });
        let router = registry.directories(&Arc::new(config(site, rest))).await?;
        Ok(Asked { router, registry, time })
    }

    /// Lets everything that is known be forgotten.
    pub fn forget(&self) {
        self.time.fetch_add(3_600_000, Ordering::SeqCst);
    }

    /// What an address stands for: `ada@example.org`, `=ada@… bob@…` for several, `-` for nobody, `?` where it cannot be
    /// said.
    pub async fn whose(&self, address: &str) -> String {
        match self.router.resolve(&address.parse().unwrap()).await {
            Ok(Some(Target::Account { account, .. })) => account.to_string(),
            Ok(Some(Target::Group { members, .. })) => {
                format!("={}", members.iter().map(Address::to_string).collect::<Vec<_>>().join(" "))
            }
            Ok(Some(Target::List(list))) => format!("list {}", list.address),
            Ok(None) => "-".to_owned(),
            Err(_) => "?".to_owned(),
        }
    }

    /// Whose account a name and password log in to over IMAP; `-` for nobody's, `?` where it cannot be said.
    pub async fn login(&self, user: &str, password: &str) -> String {
        self.login_to(Access::Imap, user, password).await
    }

    /// As [`Asked::login`], for another service.
    pub async fn login_to(&self, service: Access, user: &str, password: &str) -> String {
        match self.router.login(user, password.to_owned(), service).await {
            Ok(Some(account)) => account.to_string(),
            Ok(None) => "-".to_owned(),
            Err(_) => "?".to_owned(),
        }
    }

    /// Whether somebody may stay logged in to an account.
    pub async fn stays(&self, account: &str) -> bool {
        self.router.is_open(&account.parse().unwrap()).await.unwrap()
    }

    /// Whether an account may send under an address.
    pub async fn may_send_as(&self, account: &str, address: &str) -> bool {
        self.router.may_send_as(&account.parse().unwrap(), &address.parse().unwrap()).await.unwrap()
    }

    /// What an account's mailbox may hold, in octets.
    pub async fn quota(&self, account: &str) -> Option<u64> {
        self.router.quota(&account.parse().unwrap()).await.unwrap()
    }
}

/// The configuration of a spec with `rest` behind a host and a store.
pub fn config(site: &Site, rest: &str) -> schema::config::RuntimeConfig {
    let local = "store \"local\" { rocksdb \"data\"; }\nstorage { data \"local\"; blob \"local\"; search \"local\"; lookup \"local\"; }\n";
    let text = format!("waybill 1\n{}{local}{rest}", site.ports.host("mail.example.org"));
    site.write("mail.kdl", &text);
    let compiled = compile(&Wish::new(site.path(), 0));
    let mut runtime = compiled.artefacts.unwrap_or_else(|| panic!("{:#?}", compiled.report)).runtime;
    // A site may be opened twice, and a folder of RocksDB may not.
    runtime.storage.data = schema::config::Store::Memory { name: "people".to_owned() };
    runtime
}

/// The first KDL under a heading of the page on directories.
pub fn documented(heading: &str) -> String {
    let page = std::fs::read_to_string(root().join("docs/directories.md")).unwrap();
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, rest) = rest.split_once("```kdl\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}
