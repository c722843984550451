//! What every DNS provider does, told once and held against each of them: real name servers, and files.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use async_trait::async_trait;
use compiler::apply::{self, Ended, Ground};
use compiler::pipeline::{Wish, compile};
use compiler::plan::{Change, Live, Set, SetKey, Sets};
use compiler::provider::rfc2136::Rfc2136;
use compiler::provider::zonefile::ZoneFile;
use compiler::provider::{Limits, Provider, ProviderError};
use compiler::state::{Held, State};
use compiler::zone::{Kind, master};
use harness::bind::{Bind, TSIG, empty_zone};
use schema::name::{DomainName, Secret};
use schema::spec;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const ZONE: &str = "example.org";

fn zone() -> DomainName {
    ZONE.parse().unwrap()
}

fn key(name: &str, kind: Kind) -> SetKey {
    let name = if name == "@" { zone() } else { zone().under(name).unwrap() };
    SetKey { name, kind }
}

fn set(ttl: u64, kind: Kind, values: &[&str]) -> Option<Set> {
    Set::of(ttl, values.iter().map(|value| master::value(kind, value).unwrap_or_else(|| panic!("{value}"))))
}

/// The changes that lead from what is live to these sets.
fn to(live: &Live, wanted: Vec<(SetKey, Option<Set>)>) -> Vec<Change> {
    let change = |(key, after): (SetKey, Option<Set>)| Change { before: live.sets.get(&key).cloned(), key, after };
    wanted.into_iter().map(change).collect()
}

/// Writes, and reads what is there then.
async fn written(provider: &dyn Provider, wanted: Vec<(SetKey, Option<Set>)>) -> Live {
    let live = provider.read(&zone()).await.unwrap();
    let changes = to(&live, wanted);
    provider.write(&zone(), &changes).await.unwrap();
    let after = provider.read(&zone()).await.unwrap();
    for change in &changes {
        assert_eq!(after.sets.get(&change.key), change.after.as_ref(), "{}", change.key);
    }
    after
}

/// A text as a master file has it.
fn text(text: &str) -> String {
    compiler::zone::Rdata::Txt(text.to_owned()).to_string()
}

/// The story. The zone holds nothing but its SOA, its NS and an address for that.
async fn keeps_the_contract(provider: &dyn Provider) {
    let first = provider.read(&zone()).await.unwrap();
    assert_eq!(first.sets.keys().map(ToString::to_string).collect::<Vec<_>>(), ["ns1.example.org A"]);

    // Every type of ours is written in one go, and comes back as it was.
    let every = [
        ("@", Kind::Mx, vec!["10 mail.example.org.", "20 mx.example.net."]),
        ("@", Kind::Txt, vec!["\"v=spf1 mx -all\"", "\"site-verification=1\""]),
        (
            "@",
            Kind::Caa,
            vec!["0 issue \"ca.example; validationmethods=http-01\"", "128 iodef \"mailto:a@example.org\""],
        ),
        ("mail", Kind::A, vec!["192.0.2.1", "192.0.2.2"]),
        ("mail", Kind::Aaaa, vec!["2001:db8::1"]),
        ("mta-sts", Kind::Cname, vec!["mail.example.org."]),
        ("_imaps._tcp", Kind::Srv, vec!["0 1 993 mail.example.org."]),
        ("_pop3._tcp", Kind::Srv, vec!["0 0 0 ."]),
        ("_25._tcp.mail", Kind::Tlsa, vec!["3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]),
    ];
    let wanted = every.iter().map(|(name, kind, values)| (key(name, *kind), set(3600, *kind, values))).collect();
    let live = written(provider, wanted).await;
    assert_eq!(live.sets.len(), every.len() + 1);

    // Texts of every length and with every octet that means something somewhere.
    let texts = [
        "x".repeat(255),
        "y".repeat(256),
        "z".repeat(510),
        "a \"quoted\" text".to_owned(),
        "back\\slash; semicolon, comma (parenthesis) $dollar @at".to_owned(),
        "  spaces at both ends  ".to_owned(),
        "Käse 😀".to_owned(),
    ];
    let wanted =
        texts.iter().enumerate().map(|(n, one)| (key(&format!("t{n}"), Kind::Txt), set(60, Kind::Txt, &[&text(one)])));
    written(provider, wanted.collect()).await;

    // A time to live alone; a value beside another in a shared set; the null MX; a CNAME in the place of an address.
    let null = vec![(key("@", Kind::Mx), set(3600, Kind::Mx, &["0 ."]))];
    written(provider, vec![(key("mail", Kind::A), set(300, Kind::A, &["192.0.2.1", "192.0.2.2"]))]).await;
    written(
        provider,
        vec![(key("@", Kind::Txt), set(3600, Kind::Txt, &["\"v=spf1 -all\"", "\"site-verification=1\""]))],
    )
    .await;
    written(provider, null).await;
    let swap = vec![
        (key("mail", Kind::A), None),
        (key("mail", Kind::Aaaa), None),
        (key("mail", Kind::Cname), set(60, Kind::Cname, &["other.example.net."])),
    ];
    written(provider, swap).await;
    let back = vec![(key("mail", Kind::A), set(60, Kind::A, &["192.0.2.9"])), (key("mail", Kind::Cname), None)];
    let live = written(provider, back).await;

    // What is not as the plan has it before is refused, and all that is with it.
    for before in [None, set(60, Kind::A, &["192.0.2.8"])] {
        let stale = [
            Change { key: key("mail", Kind::A), before, after: set(60, Kind::A, &["192.0.2.7"]) },
            Change { key: key("new", Kind::A), before: None, after: set(60, Kind::A, &["192.0.2.7"]) },
        ];
        let refused = provider.write(&zone(), &stale).await;
        assert!(matches!(refused, Err(ProviderError::Moved(_))), "{refused:?}");
        assert_eq!(provider.read(&zone()).await.unwrap(), live);
    }

    // Many records: as many as APIs show on several pages.
    let many: Vec<(SetKey, Option<Set>)> = (0..1201)
        .map(|n| (key(&format!("n{n}"), Kind::Txt), set(60, Kind::Txt, &[&text(&format!("number {n}"))])))
        .collect();
    written(provider, many).await;

    // A zone that is nobody's.
    let nobody: DomainName = "nobody.example".parse().unwrap();
    assert!(matches!(provider.read(&nobody).await, Err(ProviderError::Missing(_) | ProviderError::Refused(_))));

    // All goes, but what was there before.
    let all: Sets = provider.read(&zone()).await.unwrap().sets;
    let away = all.keys().filter(|key| key.name.as_str() != "ns1.example.org").map(|key| (key.clone(), None)).collect();
    assert_eq!(written(provider, away).await, first);
}

#[tokio::test]
async fn zone_files_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    let path = folder.path().join("zones/example.org.zone");
    std::fs::write(&path, format!("; by hand\n{}", empty_zone(ZONE))).unwrap();
    let spec = spec::ZoneFile { folder: "zones".into(), reload: Vec::new() };
    keeps_the_contract(&ZoneFile::new(folder.path(), &spec, 0)).await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("; by hand\n$ORIGIN example.org.\n"), "{text}");
    let soa = text.lines().find(|line| line.contains("SOA")).unwrap();
    let serial: u32 = soa.split_whitespace().nth(5).unwrap().parse().unwrap();
    assert_eq!(serial, 10, "one more for each write: {soa}");
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
    keeps_the_contract(&Rfc2136::new(&spec("hmac-sha256"), &Secret::new(TSIG.into())).unwrap()).await;
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
