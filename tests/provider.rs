//! What every DNS provider does, told once and held against each of them: real name servers, and files.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use async_trait::async_trait;
use compiler::apply::{self, Ended, Ground};
use compiler::pipeline::{Wish, compile};
use compiler::plan::{Change, Live};
use compiler::provider::rfc2136::Rfc2136;
use compiler::provider::zonefile::ZoneFile;
use compiler::provider::{Limits, Provider, ProviderError};
use compiler::state::{Held, State};
use compiler::zone::Kind;
use harness::bind::{Bind, TSIG, empty_zone};
use harness::contract::{ZONE, keeps_the_contract, key, set, to, zone};
use schema::name::{DomainName, Secret};
use schema::spec;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// As many records as APIs show on several pages.
const MANY: [usize; 3] = [101, 601, 1201];

#[tokio::test]
async fn zone_files_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    let path = folder.path().join("zones/example.org.zone");
    std::fs::write(&path, format!("; by hand\n{}", empty_zone(ZONE))).unwrap();
    let spec = spec::ZoneFile { folder: "zones".into(), reload: Vec::new() };
    keeps_the_contract(&ZoneFile::new(folder.path(), &spec, 0), &MANY).await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("; by hand\n$ORIGIN example.org.\n"), "{text}");
    let soa = text.lines().find(|line| line.contains("SOA")).unwrap();
    let serial: u32 = soa.split_whitespace().nth(5).unwrap().parse().unwrap();
    assert_eq!(serial, 12, "one more for each write: {soa}");
}

#[tokio::test]
async fn a_zone_file_is_loaded_by_the_name_server() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("example.org.zone"), empty_zone(ZONE)).unwrap();
    let write = async |reload: &[&str]| {
        let reload = reload.iter().map(|word| (*word).to_owned()).collect();
        let spec = spec::ZoneFile { folder: ".".into(), reload };
        let provider = ZoneFile::new(folder.path(), &spec, 0);
        let live = provider.read(&zone()).await.unwrap();
        let ttl = 60 + live.sets.get(&key("a", Kind::A)).map_or(0, |set| set.ttl);
        provider.write(&zone(), &to(&live, vec![(key("a", Kind::A), set(ttl, Kind::A, &["192.0.2.1"]))])).await
    };
    let told = folder.path().join("told");
    write(&["sh", "-c", &format!("echo {{zone}} > {}", told.display())]).await.unwrap();
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "example.org\n");
    let failed = write(&["sh", "-c", "echo no such zone >&2; exit 3"]).await.unwrap_err().to_string();
    assert!(failed.contains("is written") && failed.contains("no such zone"), "{failed}");
}

/// A provider with a fault.
struct Faulty {
    inner: ZoneFile,
    /// It takes what is written, and its answer is lost.
    takes: bool,
    /// After a write nothing can be read.
    mute: bool,
    written: AtomicBool,
}

#[async_trait]
impl Provider for Faulty {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        match self.mute && self.written.load(Ordering::Relaxed) {
            true => Err(ProviderError::Refused("it says nothing".into())),
            false => self.inner.read(zone).await,
        }
    }
    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError> {
        self.written.store(true, Ordering::Relaxed);
        if !self.takes {
            return Err(ProviderError::Refused("it takes nothing".into()));
        }
        self.inner.write(zone, changes).await?;
        Err(ProviderError::Unknown("the connection is gone".into()))
    }
}

/// Applies example.org with a TXT record of this text, to a provider that takes it or not, and says then what is there or
/// not.
async fn applied(folder: &Path, text: &str, (takes, mute): (bool, bool), state: &mut State) -> Ended {
    let spec = format!(
        "waybill 1\nhost \"mail.example.org\" {{ address \"192.0.2.25\"; }}\nstore \"s\" {{ rocksdb \"d\"; }}\n\
         dns \"main\" {{ zonefile \".\"; }}\n\
         domain \"example.org\" {{ dns \"main\" {{ record \"x\" TXT \"{text}\"; }}; account \"postmaster\"; }}\n"
    );
    std::fs::write(folder.join("mail.kdl"), spec).unwrap();
    let compiled = compile(&Wish::new(folder, 0));
    let spec = spec::ZoneFile { folder: ".".into(), reload: Vec::new() };
    let inner = ZoneFile::new(folder, &spec, 0);
    let provider: Arc<dyn Provider> = Arc::new(Faulty { inner, takes, mute, written: AtomicBool::new(false) });
    let providers = [("main".to_owned(), provider)].into();
    let (resolved, artefacts) = (compiled.resolved.unwrap(), compiled.artefacts.unwrap());
    let ground = Ground {
        resolved: &resolved,
        artefacts: &artefacts,
        providers: &providers,
        only: None,
        adopt: false,
        prune: false,
        now: 0,
    };
    let held = Held::take(&folder.join("state.json")).unwrap();
    let survey = apply::survey(&ground, state).await;
    let ended = apply::apply(&ground, &survey, (&held, state), &Default::default()).await.unwrap();
    assert_eq!(*state, State::load(&folder.join("state.json")).unwrap());
    ended[&zone()].clone()
}

#[tokio::test]
async fn an_answer_that_is_lost_after_the_write_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("example.org.zone"), empty_zone(ZONE)).unwrap();
    let mut state = State::default();
    assert_eq!(applied(folder.path(), "one", (true, false), &mut state).await, Ended::Done);
    assert!(state.zones[&zone()].begun.is_empty());
}

#[tokio::test]
async fn what_several_runs_began_stays_ours() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("example.org.zone");
    std::fs::write(&file, empty_zone(ZONE)).unwrap();
    let mut state = State::default();
    // The first is cut off after it wrote, the second before, and each wanted another text.
    assert!(matches!(applied(folder.path(), "one", (true, true), &mut state).await, Ended::Failed(_)));
    assert!(matches!(applied(folder.path(), "two", (false, false), &mut state).await, Ended::Failed(_)));
    assert_eq!(applied(folder.path(), "three", (true, false), &mut state).await, Ended::Done);
    let text = std::fs::read_to_string(&file).unwrap();
    let texts: Vec<&str> = text.lines().filter(|line| line.starts_with("x.")).collect();
    assert_eq!(texts, ["x.example.org. 3600 IN TXT \"three\""]);
}

#[tokio::test]
async fn bind_keeps_the_contract() {
    let bind = Bind::updatable(&[ZONE]);
    let spec = |algorithm: &str| spec::Rfc2136 {
        server: bind.address,
        key: "waybill.".into(),
        algorithm: algorithm.into(),
        secret: schema::name::SecretRef::Env("TSIG".into()),
    };
    keeps_the_contract(&Rfc2136::new(&spec("hmac-sha256"), &Secret::new(TSIG.into())).unwrap(), &MANY).await;
    assert_eq!(bind.dig(ZONE, "NS"), ["ns1.example.org."]);
    // A wrong key is told from a zone that is not there.
    let other = Secret::new("b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItb3Q=".into());
    let wrong = Rfc2136::new(&spec("hmac-sha256"), &other).unwrap().read(&zone()).await.unwrap_err().to_string();
    assert!(wrong.contains("does not take the key `waybill.`") && !wrong.contains("b3Ro"), "{wrong}");
    for (algorithm, secret) in [("hmac-md5", TSIG), ("hmac-sha256", "no base64!")] {
        let wrong = Rfc2136::new(&spec(algorithm), &Secret::new(secret.into())).err().unwrap();
        assert!(!wrong.contains(secret), "{wrong}");
    }
}
