//! Rollovers that take weeks, on a simulated clock, and one that takes seconds, as senders elsewhere see them by the code of
//! others: MTA-STS by postfix-mta-sts-resolver, DMARC by authheaders, DANE by OpenSSL.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::bind::{Bind, TSIG, empty_zone};
use harness::{PATIENCE, Ports, Server, certificate, next_month, program, python, root, run, waybill};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DAY: i64 = 86_400;

/// An address of the test's own, so that a server has the usual ports there.
fn address(last: u8) -> Ipv4Addr {
    let [high, low] = u16::try_from(std::process::id() % 60_000).unwrap().to_be_bytes();
    Ipv4Addr::new(127, 1 + high % 250, low.max(1), last)
}

fn ports(address: Ipv4Addr) -> Ports {
    let address = address.into();
    Ports { address, smtp: 25, submission: 0, submissions: 0, imap: 0, imaps: 0, https: 443, http: 8080 }
}

/// A domain with policies, its zone in a file that a name server serves.
struct Policies {
    folder: TempDir,
    bind: Bind,
    python: PathBuf,
    /// What senders fetched, when, and by which id.
    held: Vec<(i64, Json)>,
    /// The policy by its id.
    known: HashMap<String, Json>,
}

impl Policies {
    fn new() -> Policies {
        let folder = tempfile::tempdir().unwrap();
        let spec = folder.path().join("spec");
        fs::create_dir(&spec).unwrap();
        let zone = folder.path().join("r.example.zone");
        fs::write(&zone, empty_zone("r.example")).unwrap();
        let bind = Bind::serve(&[("r.example".to_owned(), zone)]);
        certificate(&spec, &["mail", "mx", "old", "mta-sts"].map(|name| format!("{name}.r.example")), 90);
        let python = python(&["postfix-mta-sts-resolver==1.5.1", "authheaders==0.16.3"]);
        Policies { folder, bind, python, held: Vec::new(), known: HashMap::new() }
    }

    fn spec(&self, exchangers: &[&str], inside: &str) {
        let mx: String = exchangers.iter().map(|one| format!("record \"@\" MX \"{one}.r.example.\"; ")).collect();
        let text = format!(
            "waybill 1\nhost \"mail.r.example\" {{\n    address \"{}\"\n    listen {{ smtp 25; https 443; http 8080; }}\n    \
             tls {{ certificate cert=(file)\"cert.pem\" key=(file)\"key.pem\"; }}\n}}\n\
             store \"local\" {{ rocksdb \"data\"; }}\ntrust {{ ca (file)\"ca.pem\"; }}\n\
             dns \"main\" {{ zonefile \"..\" {{ reload \"kill\" \"-HUP\" \"{}\"; }}; }}\n\
             domain \"r.example\" {{\n    dns \"main\" ttl=\"5m\" {{ \
             record \"mx\" A \"{}\"; record \"old\" A \"{}\"; {mx}}}\n    account \"postmaster\"\n{inside}\n}}\n",
            address(21),
            self.bind.id(),
            address(22),
            address(23),
        );
        let path = self.folder.path().join("spec/mail.kdl");
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    fn serve(&self) -> Server {
        let mut command = Command::new(program("waybilld"));
        command.arg("serve").arg("--spec").arg(self.folder.path().join("spec")).args(["--host", "mail.r.example"]);
        Server::start(command, ports(address(21)))
    }

    fn apply(&self, at: i64) -> Output {
        let mut apply = Command::new("faketime");
        apply.args(["-m", "--exclude-monotonic", "-f", &format!("+{at}")]).arg(program("waybill"));
        apply.arg("apply").arg(self.folder.path().join("spec")).args(["--yes", "--wait", "--deadline", "1m"]);
        apply.env("WAYBILL_RESOLVER", self.bind.address.to_string()).stdin(Stdio::null()).output().unwrap()
    }

    /// What a sender elsewhere sees now.
    fn seen(&self) -> Json {
        let mut sender = Command::new(self.python.join("python"));
        sender.arg(root().join("tests/peers/sender.py")).arg(self.bind.address.port().to_string()).arg("r.example");
        let output = sender.env("SSL_CERT_FILE", self.folder.path().join("spec/ca.pem")).output().unwrap();
        // What it complains of stands there where there is no policy.
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(complaint.is_empty(), "{complaint}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// A run of the pipeline so many seconds from now; what senders see then: the mode, the hosts of the policy, the MX, and
    /// the wish of DMARC. Nobody who holds a policy defers mail, and no id ever stands for two policies.
    fn run(&mut self, at: i64) -> (String, String, String, String) {
        let output = self.apply(at);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
        );
        let seen = self.seen();
        assert_eq!(seen["sts"], "VALID", "{seen}");
        let names = |list: &Json| {
            list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let policy = seen["policy"].clone();
        let known = self.known.entry(seen["id"].as_str().unwrap().to_owned()).or_insert_with(|| policy.clone());
        assert_eq!(*known, policy, "the same id for another policy");
        self.held.push((at, policy.clone()));
        let mx = names(&seen["mx"]);
        for (since, policy) in &self.held {
            let enforced = policy["mode"] == "enforce" && at < since + policy["max_age"].as_i64().unwrap();
            let hosts = names(&policy["mx"]);
            assert!(!enforced || mx.iter().all(|host| hosts.contains(host)), "{policy} of {since} s, and now {mx:?}");
        }
        let text = |value: &Json| value.as_str().unwrap().to_owned();
        let hosts =
            names(&policy["mx"]).iter().map(|host| host.split('.').next().unwrap().to_owned()).collect::<Vec<_>>();
        let mx: Vec<&str> = mx.iter().map(|host| host.split('.').next().unwrap()).collect();
        (text(&policy["mode"]), hosts.join(" "), mx.join(" "), text(&seen["dmarc"]))
    }
}

/// A name server that loads the zone some seconds after it was told to.
#[test]
fn an_apply_waits_until_what_it_wrote_is_shown() {
    let site = Policies::new();
    site.spec(&["10 mail"], "    dmarc \"reject\"");
    let path = site.folder.path().join("spec/mail.kdl");
    let at_once = format!("reload \"kill\" \"-HUP\" \"{}\"", site.bind.id());
    let later = format!("reload \"sh\" \"-c\" \"(sleep 3; kill -HUP {}) >/dev/null 2>&1 &\"", site.bind.id());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(&at_once));
    fs::write(&path, text.replace(&at_once, &later)).unwrap();
    let output = site.apply(0);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(site.bind.dig("_dmarc.r.example", "TXT").len(), 1);
}

#[test]
fn policies_roll_over_without_a_sender_that_defers() {
    let mut site = Policies::new();
    let policies = "    dmarc \"reject\" step=\"14d\"\n    mta-sts \"enforce\" max-age=\"7d\" step=\"14d\"";
    site.spec(&["10 mail", "20 old"], policies);
    let server = site.serve();
    let check = |site: &mut Policies, at: i64, wanted: [&str; 4]| {
        let found = site.run(at);
        assert_eq!([&*found.0, &*found.1, &*found.2, &*found.3], wanted, "{at} s");
    };
    let both = "mail old";
    check(&mut site, 0, ["testing", both, both, "none"]);
    check(&mut site, 14 * DAY - 600, ["testing", both, both, "none"]);
    check(&mut site, 14 * DAY + 600, ["enforce", both, both, "quarantine"]);
    check(&mut site, 28 * DAY, ["enforce", both, both, "quarantine"]);
    check(&mut site, 29 * DAY, ["enforce", both, both, "reject"]);
    // Mail moves: `old` goes, `mx` comes.
    let moved = ["5 mx", "10 mail"];
    site.spec(&moved, policies);
    check(&mut site, 30 * DAY, ["enforce", "mail old mx", both, "reject"]);
    check(&mut site, 37 * DAY - 600, ["enforce", "mail old mx", both, "reject"]);
    check(&mut site, 37 * DAY + 600, ["enforce", "mx mail old", "mail mx", "reject"]);
    check(&mut site, 37 * DAY + 1200, ["enforce", "mx mail", "mail mx", "reject"]);
    // A server that does not follow: its policy keeps its id until it is served.
    drop(server);
    let built = site.folder.path().join("built");
    let spec = site.folder.path().join("spec");
    waybill(&["build", spec.to_str().unwrap(), "--out", built.to_str().unwrap()]);
    let mut command = Command::new(program("waybilld"));
    command.arg("serve").arg("--config").arg(built.join("runtime.json")).args(["--host", "mail.r.example"]);
    command.arg("--secrets").arg(&spec);
    let server = Server::start(command, ports(address(21)));
    site.spec(&moved, &policies.replace("7d", "8d"));
    let before = site.seen();
    let output = site.apply(40 * DAY);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(5) && said.contains("`_mta-sts.r.example` stays"), "{said}");
    assert_eq!(site.seen(), before);
    waybill(&["build", spec.to_str().unwrap(), "--out", built.to_str().unwrap()]);
    check(&mut site, 40 * DAY + 60, ["enforce", "mx mail", "mail mx", "reject"]);
    assert_eq!(site.held.last().unwrap().1["max_age"], 8 * DAY);
    // Withdrawn, as far as senders are concerned, is what says `none`; and back again.
    site.spec(&moved, "    dmarc \"none\"\n    mta-sts \"none\" max-age=\"1d\"");
    // `apply` says in the state what is in effect next, and `build` goes by that.
    assert_eq!(site.apply(41 * DAY).status.code(), Some(5));
    waybill(&["build", spec.to_str().unwrap(), "--out", built.to_str().unwrap()]);
    let found = site.run(41 * DAY);
    assert_eq!((&*found.0, &*found.3), ("none", "none"));
    drop(server);
}

/// Whether a sender that goes by these TLSA records takes the certificate that is shown now.
fn dane(address: Ipv4Addr, records: &[String]) -> Result<(), String> {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &format!("{address}:25"), "-starttls", "smtp", "-verify_return_error"]);
    client.args(["-verify", "5", "-dane_tlsa_domain", "mail.t.example", "-servername", "mail.t.example"]);
    for record in records {
        let (head, digest) = record.rsplit_once(' ').unwrap();
        // dig breaks long data.
        let (head, digest) = match head.split(' ').count() {
            3 => (head.to_owned(), digest.to_owned()),
            _ => {
                let words: Vec<&str> = record.split(' ').collect();
                (words[..3].join(" "), words[3..].concat())
            }
        };
        client.args(["-dane_tlsa_rrdata", &format!("{head} {digest}")]);
    }
    let output = client.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let matched = said.contains("Verified peername") || said.contains("DANE TLSA");
    if matched && said.contains("Verify return code: 0 (ok)") { Ok(()) } else { Err(said) }
}

#[test]
fn a_certificate_rolls_over_without_a_sender_that_distrusts_it() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("spec");
    let bind = Bind::signing(&["t.example"]);
    let address = address(24);
    let words = ["init", spec.to_str().unwrap(), "--domain", "t.example", "--host", "mail.t.example", "--address"];
    let made = waybill(&[&words[..], &[&address.to_string(), "--account", "ada"]].concat());
    assert!(made.status.success(), "{made:?}");
    let path = spec.join("mail.kdl");
    let text = fs::read_to_string(&path).unwrap();
    let head = "domain \"t.example\" {\n";
    let allow = format!("    allow W0621 reason=\"a trial\" until=\"{}\"\n", next_month());
    let text = text.replacen(head, &format!("{head}    dns \"main\" ttl=\"2s\"\n{allow}"), 1);
    let text = if text.contains("    dnssec") { text } else { text.replacen(head, &format!("{head}    dnssec\n"), 1) };
    let dns = format!(
        "dns \"main\" {{ rfc2136 \"{}\" key=\"waybill.\" algorithm=\"hmac-sha256\" secret=(env)\"TSIG\"; }}\n",
        bind.address
    );
    fs::write(&path, text + &dns).unwrap();
    let told = |arguments: &[&str]| {
        let mut run = Command::new(program("waybill"));
        run.args(arguments).env("TSIG", TSIG).env("WAYBILL_RESOLVER", bind.address.to_string()).stdin(Stdio::null());
        let output = run.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        said
    };
    let dir = spec.to_str().unwrap();
    told(&["keys", "make", dir, "mail.t.example"]);
    told(&["apply", dir, "--yes", "--wait", "--deadline", "1m"]);
    let mut command = Command::new(program("waybilld"));
    command.arg("serve").arg("--spec").arg(&spec).arg("--resolver").arg(bind.address.to_string());
    let server = Server::start(command, ports(address));
    let records = || bind.dig("_25._tcp.mail.t.example", "TLSA");
    assert_eq!(records().len(), 2, "the key in use, and the next one");
    // A record that is none of the server's is one that OpenSSL refuses.
    dane(address, &[format!("3 1 1 {}", "ab".repeat(32))]).unwrap_err();
    let certificate = || {
        let shown = format!(
            "openssl s_client -connect {address}:25 -starttls smtp </dev/null 2>/dev/null | openssl x509 -noout -pubkey"
        );
        run("sh", &["-c", &shown])
    };
    let first = certificate();
    let stop = AtomicBool::new(false);
    let checked = std::thread::scope(|scope| {
        // A sender may hold what it looked up for as long as its time to live, which is two seconds here.
        let sender = scope.spawn(|| {
            let mut held: Vec<(Instant, Vec<String>)> = Vec::new();
            let mut checked = 0;
            while !stop.load(Ordering::Relaxed) {
                let now = Instant::now();
                held.push((now, records()));
                held.retain(|(since, _)| now.duration_since(*since) < Duration::from_secs(2));
                for (_, records) in [held.first().unwrap(), held.last().unwrap()] {
                    dane(address, records).unwrap_or_else(|why| panic!("{records:?}: {why}"));
                    checked += 1;
                }
            }
            checked
        });
        let turned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            told(&["keys", "rotate", dir, "mail.t.example"]);
            let began = Instant::now();
            while certificate() == first {
                told(&["apply", dir, "--yes"]);
                assert!(began.elapsed() < PATIENCE, "{}", told(&["rollout", dir]));
            }
            assert_eq!(told(&["rollout", dir]), "nothing rolls over\n");
            // Too early: a sender may hold a certificate's record for as long as its cache does.
            let early =
                Command::new(program("waybill")).args(["keys", "retire", dir, "mail.t.example"]).output().unwrap();
            let said = String::from_utf8_lossy(&early.stderr).into_owned();
            assert!(early.status.code() == Some(1) && said.contains("out a day after that"), "{said}");
        }));
        stop.store(true, Ordering::Relaxed);
        let checked = sender.join();
        turned.unwrap_or_else(|why| std::panic::resume_unwind(why));
        checked.unwrap()
    });
    assert!(checked > 4, "{checked}");
    let now = certificate();
    assert_ne!(now, first);
    assert_eq!(records().len(), 2);
    drop(server);
}
