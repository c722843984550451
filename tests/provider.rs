//! What every DNS provider does, told once and held against each of them: real name servers, and files.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use async_trait::async_trait;
use compiler::apply::{self, Counts, Ended, Ground};
use compiler::pipeline::{Wish, compile};
use compiler::plan::{Change, Live};
use compiler::provider::rfc2136::Rfc2136;
use compiler::provider::zonefile::ZoneFile;
use compiler::provider::{Limits, Provider, ProviderError};
use compiler::state::hold::Watched;
use compiler::state::{Held, Place, State};
use compiler::tls::Trust;
use compiler::zone::{Kind, Rdata};
use harness::bind::{Bind, TSIG, empty_zone};
use harness::cloudflare::{self, Cloudflare};
use harness::clouds::{self, Clouds};
use harness::contract::{Fault, Opened, ZONE, keeps_the_contract, key, opened, opened_with, set, to, written, zone};
use harness::hyperscalers::{self, Hyperscalers};
use harness::knot::Knot;
use harness::moto::Moto;
use harness::powerdns::{self, PowerDns};
use harness::{python, root, run};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use schema::name::{DomainName, Secret};
use schema::spec;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

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
fn applied(folder: &Path, text: &str, (takes, mute): (bool, bool), state: &mut State) -> Ended {
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
        counts: &Counts::default(),
        trust: &Trust::default(),
        now: 0,
    };
    let place = || Place::File(folder.join("state.json"));
    let (held, _) = Held::take(Arc::new(place()), || 0, &mut Watched::default()).unwrap();
    let ended = Runtime::new().unwrap().block_on(async {
        let survey = apply::survey(&ground, state).await;
        apply::apply(&ground, &survey, (&held, state), &Default::default()).await.unwrap()
    });
    assert_eq!(*state, place().load().unwrap());
    ended[&zone()].clone()
}

#[test]
fn an_answer_that_is_lost_after_the_write_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("example.org.zone"), empty_zone(ZONE)).unwrap();
    let mut state = State::default();
    assert_eq!(applied(folder.path(), "one", (true, false), &mut state), Ended::Done);
    assert!(state.zones[&zone()].begun.is_empty());
}

#[test]
fn what_several_runs_began_stays_ours() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("example.org.zone");
    std::fs::write(&file, empty_zone(ZONE)).unwrap();
    let mut state = State::default();
    // The first is cut off after it wrote, the second before, and each wanted another text.
    assert!(matches!(applied(folder.path(), "one", (true, true), &mut state), Ended::Failed(_)));
    assert!(matches!(applied(folder.path(), "two", (false, false), &mut state), Ended::Failed(_)));
    assert_eq!(applied(folder.path(), "three", (true, false), &mut state), Ended::Done);
    let text = std::fs::read_to_string(&file).unwrap();
    let texts: Vec<&str> = text.lines().filter(|line| line.starts_with("x.")).collect();
    assert_eq!(texts, ["x.example.org. 3600 IN TXT \"three\""]);
}

/// Zones in memory, and the order in which they were written.
#[derive(Default)]
struct Memory {
    zones: Mutex<BTreeMap<DomainName, Live>>,
    order: Mutex<Vec<String>>,
}

#[async_trait]
impl Provider for Memory {
    fn limits(&self) -> Limits {
        Limits::dns("memory")
    }
    async fn read(&self, zone: &DomainName) -> Result<Live, ProviderError> {
        Ok(self.zones.lock().unwrap().get(zone).cloned().unwrap_or_default())
    }
    async fn write(&self, zone: &DomainName, changes: &[Change]) -> Result<(), ProviderError> {
        self.order.lock().unwrap().push(zone.to_string());
        let mut zones = self.zones.lock().unwrap();
        let live = zones.entry(zone.clone()).or_default();
        for change in changes {
            match &change.after {
                Some(set) => drop(live.sets.insert(change.key.clone(), set.clone())),
                None => drop(live.sets.remove(&change.key)),
            }
        }
        Ok(())
    }
}

#[test]
fn what_other_zones_lean_on_is_there_before_and_goes_after() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Arc::new(Memory::default());
    let mut state = State::default();
    let mut apply = |more: &str| {
        let spec = format!(
            "waybill 1\nhost \"mail.zz.example\" {{ address \"192.0.2.25\"; }}\nstore \"s\" {{ rocksdb \"d\"; }}\n\
             dns \"main\" {{ zonefile \".\"; }}\ndefaults {{ domain {{ dns \"main\"; }}; }}\n\
             domain \"aa.example\" {{ {more}account \"postmaster\"; }}\n\
             domain \"mm.example\" {{ account \"postmaster\"; }}\n\
             domain \"zz.example\" {{ account \"postmaster\"; account \"dmarc\"; }}\n"
        );
        std::fs::write(folder.path().join("mail.kdl"), spec).unwrap();
        let compiled = compile(&Wish::new(folder.path(), 0));
        let (resolved, artefacts) = (compiled.resolved.unwrap(), compiled.artefacts.unwrap());
        let provider: Arc<dyn Provider> = Arc::<Memory>::clone(&memory);
        let counts = Counts::default();
        let ground = Ground {
            resolved: &resolved,
            artefacts: &artefacts,
            providers: &[("main".to_owned(), provider)].into(),
            only: None,
            adopt: false,
            prune: false,
            counts: &counts,
            trust: &Trust::default(),
            now: 0,
        };
        let (held, _) =
            Held::take(Arc::new(Place::File(folder.path().join("state.json"))), || 0, &mut Watched::default()).unwrap();
        let ended = Runtime::new().unwrap().block_on(async {
            let survey = apply::survey(&ground, &state).await;
            apply::apply(&ground, &survey, (&held, &mut state), &Default::default()).await.unwrap()
        });
        assert!(ended.values().all(|end| *end == Ended::Done));
        let (done, all) = counts.now();
        assert_eq!(done, all);
        std::mem::take(&mut *memory.order.lock().unwrap())
    };
    let reports = "dmarc report=\"dmarc@zz.example\"; ";
    // The host's addresses and the consent first, whatever the alphabet says.
    assert_eq!(apply(reports)[0], "zz.example");
    // Nobody asks for reports there any more: the consent goes last.
    assert_eq!(apply(""), ["aa.example", "zz.example"]);
    assert_eq!(apply(reports), ["zz.example", "aa.example"]);
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

#[tokio::test]
async fn knot_keeps_the_contract() {
    for algorithm in ["hmac-sha256", "hmac-sha384", "hmac-sha512"] {
        let knot = Knot::start(&[ZONE], algorithm);
        let node =
            format!("rfc2136 \"{}\" key=\"waybill.\" algorithm=\"{algorithm}\" secret=(file)\"secret\"", knot.address);
        keeps_the_contract(&*opened(&node, TSIG), &MANY).await;
    }
}

#[tokio::test]
async fn powerdns_keeps_the_contract_by_its_api() {
    let server = PowerDns::start(&[ZONE]);
    let node = |url: &str| format!("powerdns \"{url}\" api-key=(file)\"secret\"");
    let provider = opened(&node(&server.api), powerdns::KEY);
    keeps_the_contract(&*provider, &MANY).await;
    // A disabled record is no part of the zone, and stays.
    server.util(&["add-record", ZONE, "mail", "A", "192.0.2.1"]);
    let disabled = || server.sql("SELECT content FROM records WHERE disabled = 1");
    server.sql("UPDATE records SET disabled = 1 WHERE name = 'mail.example.org'");
    assert_eq!(disabled(), "192.0.2.1\n");
    let address = |last: u8| (key("mail", Kind::A), set(60, Kind::A, &[&format!("192.0.2.{last}")]));
    assert!(!provider.read(&zone()).await.unwrap().sets.contains_key(&address(2).0));
    written(&*provider, vec![address(2)]).await;
    assert_eq!(disabled(), "192.0.2.1\n");
    written(&*provider, vec![(address(2).0, None)]).await;
    assert_eq!(disabled(), "192.0.2.1\n");
    // A wrong key is told, and not which.
    let other = "another-key-than-the-server-has";
    let wrong = opened(&node(&server.api), other).read(&zone()).await.unwrap_err().to_string();
    assert!(wrong.contains("does not take the token") && !wrong.contains(other), "{wrong}");
    let nobody = opened(&node("http://127.0.0.1:9"), other).read(&zone()).await.unwrap_err();
    assert!(matches!(&nobody, ProviderError::Unavailable(_)), "{nobody}");
}

#[tokio::test]
async fn powerdns_keeps_the_contract_by_dynamic_updates() {
    let server = PowerDns::start(&[ZONE]);
    let node =
        format!("rfc2136 \"{}\" key=\"waybill.\" algorithm=\"hmac-sha256\" secret=(file)\"secret\"", server.address);
    keeps_the_contract(&*opened(&node, TSIG), &MANY).await;
}

#[tokio::test]
async fn cloudflare_keeps_the_contract() {
    let server = Cloudflare::start(&["example.net", ZONE]);
    let node = |more: &str| format!("cloudflare token=(file)\"secret\" url=\"{}\"{more}", server.url);
    let provider = opened(&node(&format!(" account=\"{}\"", cloudflare::ACCOUNT)), cloudflare::TOKEN);
    keeps_the_contract(&*provider, &MANY).await;
    let refused = opened(&node(" account=\"another\""), cloudflare::TOKEN).read(&zone()).await.unwrap_err().to_string();
    assert!(refused.contains("shows this token no zone `example.org`"), "{refused}");
    // A wrong token is told, and not which, although the API says it.
    let other = "another-token-than-the-server-has";
    let wrong = opened(&node(""), other).read(&zone()).await.unwrap_err().to_string();
    assert!(wrong.contains("does not take the token") && wrong.contains("9109") && !wrong.contains(other), "{wrong}");
}

#[tokio::test]
async fn cloudflare_faults_lose_nothing() {
    let server = Cloudflare::start(&[ZONE]);
    let provider = opened(&format!("cloudflare token=(file)\"secret\" url=\"{}\"", server.url), cloudflare::TOKEN);
    let fault = |fault| server.site.lock().unwrap().faults.push_back(fault);
    let text = |text: &str| vec![(key("x", Kind::Txt), set(60, Kind::Txt, &[&format!("\"{text}\"")]))];
    // Too fast: it waits as it is told to.
    fault(Fault::TooFast);
    written(&*provider, text("one")).await;
    assert_eq!(server.count("POST"), 2);
    // An answer that is lost after the write: nobody knows, and what is live tells.
    fault(Fault::Broken);
    let live = provider.read(&zone()).await.unwrap();
    let changes = to(&live, text("two"));
    let lost = provider.write(&zone(), &changes).await;
    assert!(matches!(lost, Err(ProviderError::Unknown(_))), "{lost:?}");
    assert_eq!(provider.read(&zone()).await.unwrap().sets.get(&changes[0].key), changes[0].after.as_ref());
    // What others do with records of ours stays: a comment, a tag, the proxy, whose time to live is its own.
    server.add(json!({
        "type": "CNAME", "name": "mta-sts", "content": "Mail.Example.Org", "ttl": 1, "proxied": true, "comment": "by hand",
    }));
    server.add(json!({ "type": "TXT", "name": "plain", "content": "no \\ quotes; at \"all", "ttl": 1 }));
    let live = provider.read(&zone()).await.unwrap();
    assert_eq!(live.sets[&key("plain", Kind::Txt)].values, [Rdata::Txt("no \\ quotes; at \"all".into())]);
    assert!(
        live.automatic.contains(&key("mta-sts", Kind::Cname)) && live.others.contains(&zone().under("new").unwrap())
    );
    let other = vec![(key("mta-sts", Kind::Cname), set(300, Kind::Cname, &["other.example.org."]))];
    written(&*provider, other).await;
    let stored = server.stored("mta-sts.example.org", "CNAME");
    assert_eq!((&stored[0]["proxied"], &stored[0]["comment"]), (&json!(true), &json!("by hand")));
    assert_eq!(stored[0]["content"], "other.example.org");
}

#[test]
fn cloudflares_own_clients_take_the_server_for_cloudflare() {
    let server = Cloudflare::start(&["example.net", ZONE]);
    let python = python(&["cloudflare==5.9.0", "octodns==1.22.0", "octodns-cloudflare==1.2.0"]);
    let script = root().join("tests/peers/cloudflare_client.py");
    let words = [script.to_str().unwrap(), &server.url, cloudflare::TOKEN, cloudflare::ACCOUNT, ZONE];
    assert!(run(python.join("python").to_str().unwrap(), &words).contains("done"));
    // OctoDNS writes a zone there, and we read the same.
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "providers:\n  config:\n    class: octodns.provider.yaml.YamlProvider\n    enforce_order: false\n    directory: {0}\n  cf:\n    \
         class: octodns_cloudflare.CloudflareProvider\n    token: {1}\n    api_url: {2}\n    pagerules: false\n\
         zones:\n  example.net.:\n    sources: [config]\n    targets: [cf]\n",
        folder.path().display(),
        cloudflare::TOKEN,
        server.url
    );
    std::fs::copy(root().join("tests/peers/octodns.yaml"), folder.path().join("example.net.yaml")).unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, config).unwrap();
    let words = ["--config-file", file.to_str().unwrap(), "--doit", "--force"];
    let sync = || run(python.join("octodns-sync").to_str().unwrap(), &words);
    assert!(sync().contains("Creates="), "it wrote something");
    assert!(sync().contains("No changes were planned"));
    let provider = opened(&format!("cloudflare token=(file)\"secret\" url=\"{}\"", server.url), cloudflare::TOKEN);
    let net: DomainName = "example.net".parse().unwrap();
    let live = Runtime::new().unwrap().block_on(provider.read(&net)).unwrap();
    let told: Vec<String> =
        live.sets.iter().flat_map(|(key, set)| set.values.iter().map(move |value| format!("{key} {value}"))).collect();
    assert_eq!(
        told,
        [
            "_25._tcp.mail.example.net TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "_imaps._tcp.example.net SRV 0 1 993 mail.example.net.",
            "autoconfig.example.net CNAME mail.example.net.",
            "example.net CAA 0 issue \"ca.example\"",
            "example.net MX 10 mail.example.net.",
            "example.net TXT \"v=spf1 mx -all\"",
            "mail.example.net A 192.0.2.25",
            "mail.example.net AAAA 2001:db8::25",
            &format!("s1._domainkey.example.net TXT \"v=DKIM1; p={}\" \"{}\"", "x".repeat(244), "x".repeat(56)),
        ]
    );
}

#[tokio::test]
async fn route53_keeps_the_contract() {
    let moto = Moto::start();
    // A private zone of the same name is not what the world sees.
    moto.run(
        "r = client('route53')\n\
         zone = r.create_hosted_zone(Name='example.org', CallerReference='1')['HostedZone']['Id']\n\
         r.create_hosted_zone(Name='example.org', CallerReference='2', HostedZoneConfig={'PrivateZone': True, 'Comment': ''}, VPC={'VPCRegion': 'us-east-1', 'VPCId': 'vpc-1'})\n\
         def put(kind, **more):\n    \
             r.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={'Changes': [{'Action': 'CREATE', 'ResourceRecordSet': more | {'Type': kind}}]})\n\
         put('A', Name='ns1.example.org', TTL=3600, ResourceRecords=[{'Value': '127.0.0.1'}])\n",
    );
    let spec = format!("route53 access-key=(file)\"secret\" secret-key=(file)\"secret\" url=\"{}\"", moto.url);
    let provider = opened(&spec, "AKIAIOSFODNN7EXAMPLE");
    keeps_the_contract(&*provider, &MANY).await;
    // What is routed otherwise is somebody's own: it is seen, and not touched.
    let before = provider.read(&zone()).await.unwrap();
    let zones = "r = client('route53')\nzone = [z['Id'] for z in r.list_hosted_zones()['HostedZones'] if not z['Config']['PrivateZone']][0]\n";
    moto.run(&format!(
        "{zones}\
         def put(**more):\n    \
             r.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={{'Changes': [{{'Action': 'CREATE', 'ResourceRecordSet': more | {{'Type': 'A'}}}}]}})\n\
         put(Name='w.example.org', TTL=60, SetIdentifier='one', Weight=1, ResourceRecords=[{{'Value': '192.0.2.1'}}])\n\
         put(Name='w.example.org', TTL=60, SetIdentifier='two', Weight=2, ResourceRecords=[{{'Value': '192.0.2.2'}}])\n\
         put(Name='alias.example.org', AliasTarget={{'HostedZoneId': 'Z2FDTNDATAQYW2', 'DNSName': 'd.cloudfront.net', 'EvaluateTargetHealth': False}})\n"
    ));
    let live = provider.read(&zone()).await.unwrap();
    let strange: Vec<String> = live.strange.iter().map(ToString::to_string).collect();
    assert_eq!(strange, ["alias.example.org A", "w.example.org A"]);
    // Also where it came to be so after the plan was made: nothing was there then, and nothing of it can be kept.
    let planned = to(&before, vec![(key("w", Kind::A), set(60, Kind::A, &["192.0.2.9"]))]);
    let refused = provider.write(&zone(), &planned).await;
    assert!(matches!(&refused, Err(ProviderError::Moved(says)) if says.contains("`w.example.org A`")), "{refused:?}");
    assert_eq!(provider.read(&zone()).await.unwrap(), live);
    written(&*provider, vec![(key("x", Kind::Txt), set(60, Kind::Txt, &["\"x\""]))]).await;
    assert_eq!(provider.read(&zone()).await.unwrap().strange.len(), 2);
    let refused =
        opened(&spec.replace("AWS", "aws"), "AKIAIOSFODNN7EXAMPLE").read(&"nobody.example".parse().unwrap()).await;
    assert!(matches!(refused, Err(ProviderError::Missing(_))), "{refused:?}");
}

#[tokio::test]
async fn a_command_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let script = root().join("tests/fixtures/dns-writer.py");
    let first = json!([
        { "name": "ns1.example.org.", "type": "A", "ttl": 3600, "values": ["127.0.0.1"] },
        { "name": "example.org", "type": "NS", "ttl": 3600, "values": ["ns1.example.org."] },
    ]);
    std::fs::write(folder.path().join("example.org.json"), first.to_string()).unwrap();
    let run = format!("cd {} && exec {}", folder.path().display(), script.display());
    let provider = opened(&format!("command \"sh\" \"-c\" \"{run}\""), "");
    keeps_the_contract(&*provider, &MANY).await;
    assert!(provider.read(&zone()).await.unwrap().others.contains(&zone().under("other").unwrap()));
    // One that fails says so in its own words; one that says nothing of use is not believed.
    let changes = [Change { key: key("x", Kind::Txt), before: None, after: set(60, Kind::Txt, &["\"x\""]) }];
    for (script, word, write) in [
        ("echo no such account >&2; exit 3", "no such account", false),
        ("echo no JSON", "what is no JSON", false),
        ("echo '{}'", "does not say that it did it", true),
        ("kill -9 $$", "ends with", true),
    ] {
        let provider = opened(&format!("command \"sh\" \"-c\" \"{script}\""), "");
        let error = match write {
            true => provider.write(&zone(), &changes).await.unwrap_err(),
            false => provider.read(&zone()).await.unwrap_err(),
        };
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(matches!(error, ProviderError::Unknown(_)), write, "{error:?}");
    }
}

/// The provider of a kind, at a server that speaks like it.
fn cloud(kind: &str, server: &Clouds, token: &str) -> Opened {
    opened(&format!("{kind} token=(file)\"secret\" url=\"{}\"", server.url(kind)), token)
}

#[tokio::test]
async fn clouds_keep_the_contract() {
    for (kind, many) in [("desec", &MANY[..]), ("hetzner", &[20]), ("gandi", &[20]), ("digitalocean", &[20])] {
        let server = Clouds::start(ZONE);
        let provider = cloud(kind, &server, clouds::TOKEN);
        keeps_the_contract(&*provider, many).await;
        // On several pages.
        server.seed(1201);
        let live = provider.read(&zone()).await.unwrap();
        assert_eq!(live.sets.len(), 1202, "{kind}");
        assert!(live.others.contains(&zone().under("new").unwrap()), "{kind}: what it does not know stays known");
        // An answer that is lost after the write.
        server.site.lock().unwrap().faults.push_back(Fault::Broken);
        let changes = to(&live, vec![(key("x", Kind::Txt), set(3600, Kind::Txt, &["\"x\""]))]);
        let lost = provider.write(&zone(), &changes).await;
        assert!(matches!(lost, Err(ProviderError::Unknown(_))), "{kind}: {lost:?}");
        assert_eq!(
            provider.read(&zone()).await.unwrap().sets.get(&changes[0].key),
            changes[0].after.as_ref(),
            "{kind}"
        );
        // Too fast: it waits as it is told to, and asks again.
        server.site.lock().unwrap().faults.push_back(Fault::TooFast);
        let before = server.site.lock().unwrap().writes;
        written(&*provider, vec![(key("slow", Kind::Txt), set(3600, Kind::Txt, &["\"slow\""]))]).await;
        assert!(server.site.lock().unwrap().writes > before + 1, "{kind}");
        // A wrong token is told, and not which, although the API says it.
        let other = "another-token-than-the-server-has";
        let wrong = cloud(kind, &server, other).read(&zone()).await.unwrap_err().to_string();
        assert!(wrong.contains("does not take the token") && !wrong.contains(other), "{kind}: {wrong}");
    }
}

#[test]
fn clients_that_others_wrote_take_the_clouds_for_what_they_say() {
    let server = Clouds::start(ZONE);
    let packages = [
        "octodns==1.22.0",
        "octodns-desec==1.3.0",
        "octodns-gandi==1.2.0",
        "octodns-digitalocean==1.0.1",
        "hcloud==2.27.0",
    ];
    let python = python(&packages);
    let script = root().join("tests/peers/clouds_client.py");
    let base = server.url("");
    let words = [script.to_str().unwrap(), base.trim_end_matches('/'), ZONE, clouds::TOKEN];
    assert!(run(python.join("python").to_str().unwrap(), &words).contains("done"));
    // And we read what they wrote.
    for kind in ["desec", "gandi", "digitalocean", "hetzner"] {
        let live = Runtime::new().unwrap().block_on(cloud(kind, &server, clouds::TOKEN).read(&zone())).unwrap();
        assert_eq!(live.sets[&key(kind, Kind::Txt)], set(3600, Kind::Txt, &["\"a; b\""]).unwrap(), "{kind}");
    }
}

/// The provider of a kind, at a server that speaks like it, with another secret where one is given.
fn hyperscaler(kind: &str, server: &Hyperscalers, other: Option<&str>) -> Opened {
    let own = if kind == "google" { &server.key } else { hyperscalers::SECRET };
    let secrets = [
        ("secret", other.unwrap_or(own)),
        ("application", hyperscalers::APPLICATION),
        ("consumer", hyperscalers::CONSUMER),
    ];
    opened_with(&server.node(kind), &secrets)
}

#[tokio::test]
async fn hyperscalers_keep_the_contract() {
    for (kind, many) in [("google", &MANY[..]), ("azure", &[20]), ("ovh", &[20])] {
        let server = Hyperscalers::start(ZONE);
        let provider = hyperscaler(kind, &server, None);
        keeps_the_contract(&*provider, many).await;
        let live = provider.read(&zone()).await.unwrap();
        assert!(live.others.contains(&zone().under("new").unwrap()), "{kind}: what it does not know stays known");
        // An answer that is lost after the write.
        server.site.lock().unwrap().faults.push_back(Fault::Broken);
        let changes = to(&live, vec![(key("x", Kind::Txt), set(3600, Kind::Txt, &["\"x\""]))]);
        let lost = provider.write(&zone(), &changes).await;
        assert!(matches!(lost, Err(ProviderError::Unknown(_))), "{kind}: {lost:?}");
        let live = provider.read(&zone()).await.unwrap();
        assert_eq!(live.sets.get(&changes[0].key), changes[0].after.as_ref(), "{kind}");
        // Too fast: it waits as it is told to, and asks again.
        server.site.lock().unwrap().faults.push_back(Fault::TooFast);
        let before = server.site.lock().unwrap().writes;
        written(&*provider, vec![(key("slow", Kind::Txt), set(3600, Kind::Txt, &["\"slow\""]))]).await;
        assert!(server.site.lock().unwrap().writes > before + 1, "{kind}");
        // A token is asked for once.
        assert_eq!(server.site.lock().unwrap().given, usize::from(kind != "ovh"), "{kind}");
        // A wrong secret is told, and not which, although the API says it.
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut account: serde_json::Value = serde_json::from_str(&server.key).unwrap();
        account["private_key"] = pair.serialize_pem().into();
        let other = if kind == "google" { account.to_string() } else { "another-secret-than-the-server-has".into() };
        let wrong = hyperscaler(kind, &server, Some(&other)).read(&zone()).await.unwrap_err().to_string();
        assert!(wrong.contains("does not take the token") || wrong.contains("invalid_grant"), "{kind}: {wrong}");
        assert!(!wrong.contains("another-secret") && !wrong.contains("PRIVATE KEY"), "{kind}: {wrong}");
        assert!(!wrong.contains(hyperscalers::CONSUMER), "{kind}: {wrong}");
    }
}

#[tokio::test]
async fn what_others_do_at_hyperscalers_stays() {
    let server = Hyperscalers::start(ZONE);
    let x = |text: &str| vec![(key("x", Kind::Txt), set(300, Kind::Txt, &[&format!("\"{text}\"")]))];
    // Azure: what is noted beside a set, and a set that another resource decides.
    let azure = hyperscaler("azure", &server, None);
    let ns1 = (key("ns1", Kind::A), set(300, Kind::A, &["127.0.0.2"]));
    written(&*azure, vec![ns1]).await;
    let kept = server.site.lock().unwrap().recordsets[&("A".to_owned(), "ns1".to_owned())].1.clone();
    assert_eq!(kept["metadata"]["by"], "hand", "{kept}");
    let alias = json!({ "TTL": 60, "targetResource": { "id": "/subscriptions/x" }, "ARecords": [] });
    server.site.lock().unwrap().recordsets.insert(("A".to_owned(), "alias".to_owned()), (1, alias));
    let live = azure.read(&zone()).await.unwrap();
    assert_eq!(live.strange.iter().map(ToString::to_string).collect::<Vec<_>>(), ["alias.example.org A"]);
    let taken = to(&live, vec![(key("alias", Kind::A), set(60, Kind::A, &["192.0.2.1"]))]);
    assert!(matches!(azure.write(&zone(), &taken).await, Err(ProviderError::Moved(_))));
    // OVHcloud: forms of TXT, a target below the zone, no time to live of its own; and it serves what was written.
    let ovh = hyperscaler("ovh", &server, None);
    let put = |id: u64, kind: &str, name: &str, target: &str| {
        let record =
            json!({ "id": id, "zone": ZONE, "subDomain": name, "fieldType": kind, "target": target, "ttl": 0 });
        server.site.lock().unwrap().records.insert(id, record);
    };
    put(901, "DKIM", "s._domainkey", "v=DKIM1; p=AB");
    put(902, "CNAME", "www", "web");
    let live = ovh.read(&zone()).await.unwrap();
    assert_eq!(live.sets[&key("s._domainkey", Kind::Txt)], set(3600, Kind::Txt, &["\"v=DKIM1; p=AB\""]).unwrap());
    assert_eq!(live.sets[&key("www", Kind::Cname)], set(3600, Kind::Cname, &["web.example.org."]).unwrap());
    let before = server.site.lock().unwrap().refreshed;
    written(&*ovh, x("one")).await;
    ovh.write(&zone(), &[]).await.unwrap();
    assert_eq!(server.site.lock().unwrap().refreshed, before + 2, "also after a run that was cut off before it");
    let key = (key("s._domainkey", Kind::Txt), set(300, Kind::Txt, &["\"v=DKIM1; p=CD\""]));
    written(&*ovh, vec![key]).await;
    assert_eq!(server.site.lock().unwrap().records[&901]["fieldType"], "DKIM", "changed in its place");
}

#[test]
fn hyperscalers_own_clients_take_the_server_for_theirs() {
    let server = Hyperscalers::start(ZONE);
    let python = python(&["ovh==1.2.0", "google-cloud-dns==0.37.2", "azure-mgmt-dns==9.0.0"]);
    let script = root().join("tests/peers/hyperscalers_client.py");
    let words = [
        script.to_str().unwrap(),
        &server.url,
        ZONE,
        hyperscalers::SECRET,
        hyperscalers::APPLICATION,
        hyperscalers::CONSUMER,
        hyperscalers::TOKEN,
        &server.key,
    ];
    assert!(run(python.join("python").to_str().unwrap(), &words).contains("done"));
    // And we read what they wrote.
    for kind in ["google", "azure", "ovh"] {
        let live = Runtime::new().unwrap().block_on(hyperscaler(kind, &server, None).read(&zone())).unwrap();
        assert_eq!(live.sets[&key(kind, Kind::Txt)], set(300, Kind::Txt, &["\"a; b\""]).unwrap(), "{kind}");
    }
}
