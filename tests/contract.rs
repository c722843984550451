//! What every DNS provider does, told once, for tests to hold against each of them.

use compiler::pipeline::{Wish, compile};
use compiler::plan::{Change, Live, Set, SetKey, Sets};
use compiler::provider::{self, Ground, Provider, ProviderError};
use compiler::read::files::Sources;
use compiler::tls::Trust;
use compiler::zone::{Kind, Rdata, master};
use schema::name::DomainName;
use sealed::identity::Identities;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use tempfile::TempDir;

/// The zone that the story changes.
pub const ZONE: &str = "example.org";

/// What happens to the next request that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is told to come back in a second, and not carried out.
    TooFast,
    /// It is carried out, and answered with 502.
    Broken,
    /// It is carried out, and never answered.
    Mute,
}

/// Its name.
pub fn zone() -> DomainName {
    ZONE.parse().unwrap()
}

/// A set of the zone, `@` for the zone itself.
pub fn key(name: &str, kind: Kind) -> SetKey {
    let name = if name == "@" { zone() } else { zone().under(name).unwrap() };
    SetKey { name, kind }
}

/// A set of values as master files have them.
pub fn set(ttl: u64, kind: Kind, values: &[&str]) -> Option<Set> {
    Set::of(ttl, values.iter().map(|value| master::value(kind, value).unwrap_or_else(|| panic!("{value}"))))
}

/// The changes that lead from what is live to these sets.
pub fn to(live: &Live, wanted: Vec<(SetKey, Option<Set>)>) -> Vec<Change> {
    let change = |(key, after): (SetKey, Option<Set>)| Change { before: live.sets.get(&key).cloned(), key, after };
    wanted.into_iter().map(change).collect()
}

/// Writes, and reads what is there then. What the provider says that it cannot hold is left out.
pub async fn written(provider: &dyn Provider, mut wanted: Vec<(SetKey, Option<Set>)>) -> Live {
    let limits = provider.limits();
    let sets = wanted.iter_mut().filter_map(|(_, set)| set.as_mut());
    sets.for_each(|set| set.ttl = set.ttl.max(limits.least_ttl));
    let is_held = |key: &SetKey, set: &Set| limits.breach(key.kind, set.ttl, &set.values).is_none();
    wanted.retain(|(key, set)| set.as_ref().is_none_or(|set| is_held(key, set)));
    let live = provider.read(&zone()).await.unwrap();
    let changes = to(&live, wanted);
    provider.write(&zone(), &changes).await.unwrap();
    let after = provider.read(&zone()).await.unwrap();
    for change in &changes {
        assert_eq!(after.sets.get(&change.key), change.after.as_ref(), "{}", change.key);
    }
    after
}

/// A provider, and the folder of its spec.
pub struct Opened {
    provider: Arc<dyn Provider>,
    _folder: TempDir,
}

impl Deref for Opened {
    type Target = dyn Provider;

    fn deref(&self) -> &Self::Target {
        &*self.provider
    }
}

/// The provider of a `dns` node, opened; its secrets are `(file)"secret"`.
pub fn opened(node: &str, secret: &str) -> Opened {
    opened_with(node, &[("secret", secret)])
}

/// The same with secrets in files of these names.
pub fn opened_with(node: &str, secrets: &[(&str, &str)]) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    for (name, secret) in secrets {
        fs::write(folder.path().join(name), secret).unwrap();
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!(
        "waybill 1\nhost \"mail.example.org\" {{ address \"192.0.2.25\"; }}\nstore \"s\" {{ rocksdb \"d\"; }}\n\
         dns \"main\" {{ {node}; }}\n"
    );
    fs::write(folder.path().join("mail.kdl"), text).unwrap();
    let compiled = compile(&Wish::new(folder.path(), 0));
    assert!(!compiled.report.has_errors(), "{node}: {:?}", compiled.report);
    let sources = Sources::open(folder.path()).unwrap();
    let ground = Ground { sources: &sources, identities: &Identities::default(), trust: &Trust::default(), now: 0 };
    let provider = provider::open(&compiled.spec.dns[0], &ground).unwrap_or_else(|why| panic!("{node}: {why}"));
    Opened { provider, _folder: folder }
}

/// A text as a master file has it.
pub fn text(text: &str) -> String {
    Rdata::Txt(text.to_owned()).to_string()
}

/// The story. The zone holds nothing but its SOA, its NS and an address for that. It grows to the last of so many records.
pub async fn keeps_the_contract(provider: &dyn Provider, many: &[usize]) {
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
    let is_held = |(_, kind, values): &&(&str, Kind, Vec<&str>)| {
        let set = set(3600, *kind, values).unwrap();
        provider.limits().breach(*kind, set.ttl, &set.values).is_none()
    };
    assert_eq!(live.sets.len(), every.iter().filter(is_held).count() + 1);

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
    written(provider, vec![(key("mail", Kind::A), set(7200, Kind::A, &["192.0.2.1", "192.0.2.2"]))]).await;
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
    let ttl = provider.limits().least_ttl.max(60);
    for before in [None, set(ttl, Kind::A, &["192.0.2.8"])] {
        let stale = [
            Change { key: key("mail", Kind::A), before, after: set(ttl, Kind::A, &["192.0.2.7"]) },
            Change { key: key("new", Kind::A), before: None, after: set(ttl, Kind::A, &["192.0.2.7"]) },
        ];
        let refused = provider.write(&zone(), &stale).await;
        assert!(matches!(refused, Err(ProviderError::Moved(_))), "{refused:?}");
        assert_eq!(provider.read(&zone()).await.unwrap(), live);
    }

    // Many records: as many as APIs show on several pages.
    let mut first_new = 0;
    for up_to in many {
        let number = |n| (key(&format!("n{n}"), Kind::Txt), set(60, Kind::Txt, &[&text(&format!("number {n}"))]));
        written(provider, (first_new..*up_to).map(number).collect()).await;
        first_new = *up_to;
    }

    // A zone that is nobody's.
    let nobody: DomainName = "nobody.example".parse().unwrap();
    assert!(matches!(provider.read(&nobody).await, Err(ProviderError::Missing(_) | ProviderError::Refused(_))));

    // All goes, but what was there before.
    let all: Sets = provider.read(&zone()).await.unwrap().sets;
    let away = all.keys().filter(|key| key.name.as_str() != "ns1.example.org").map(|key| (key.clone(), None)).collect();
    assert_eq!(written(provider, away).await, first);
}
