//! `waybill verify` from outside: a real server, its zone in a real BIND, signed; all is well, and then one thing after
//! another is not.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use compiler::verify::Check;
use harness::bind::{Bind, TSIG};
use harness::{PATIENCE, Ports, Server, certificate, program, root, run, waybill};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const ZONE: &str = "v.example";

/// A spec, its name server, and its machine's address: one of its own, so that it has the usual ports.
struct Site {
    folder: TempDir,
    bind: Bind,
    address: Ipv4Addr,
}

impl Site {
    fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let [high, low] = u16::try_from(std::process::id() % 60_000).unwrap().to_be_bytes();
        let address = Ipv4Addr::new(127, 1 + high % 250, low.max(1), 9);
        let bind = Bind::signing(&[ZONE, "2.0.192.in-addr.arpa"]);
        let site = Site { folder, bind, address };
        let spec = site.spec();
        let address = address.to_string();
        let words = ["init", spec.to_str().unwrap(), "--domain", ZONE, "--host", "mail.v.example"];
        waybill(&[&words[..], &["--address", &address, "--account", "ada"]].concat());
        site.certificate(90);
        let text = fs::read_to_string(spec.join("mail.kdl")).unwrap();
        let host = text.find("host ").unwrap();
        let end = host + text[host..].find("\n}\n").unwrap() + 3;
        let own = format!(
            "host \"mail.v.example\" {{\n    address \"{address}\"\n    outbound {{ source \"192.0.2.77\"; }}\n    \
             tls {{ certificate cert=(file)\"cert.pem\" key=(file)\"key.pem\"; }}\n    \
             listen {{ smtp 25; submission 587; submissions 465; imap 143; imaps 993; https 443; http 8080; }}\n}}\n"
        );
        let text = text[..host].to_owned() + &own + &text[end..];
        let dns = format!(
            "dns \"main\" {{ rfc2136 \"{}\" key=\"waybill.\" algorithm=\"hmac-sha256\" secret=(env)\"TSIG\"; }}\n\
             defaults {{ domain {{ dns \"main\" {{ record \"out\" A \"192.0.2.77\"; }}; dnssec; mta-sts \"enforce\"; }}; }}\n\
             resolver {{ trust-anchor (file)\"anchor\"; }}\ntrust {{ ca (file)\"ca.pem\"; }}\n",
            site.bind.address
        );
        fs::write(spec.join("mail.kdl"), text + &dns).unwrap();
        let dig = ["@127.0.0.1", "-p", &site.bind.address.port().to_string(), "+noall", "+answer", ZONE, "DNSKEY"];
        fs::write(spec.join("anchor"), Command::new("dig").args(dig).output().unwrap().stdout).unwrap();
        site
    }

    fn spec(&self) -> PathBuf {
        self.folder.path().join("spec")
    }

    fn certificate(&self, days: i64) {
        let names = ["mail", "mta-sts", "autoconfig", "autodiscover"].map(|name| format!("{name}.{ZONE}"));
        certificate(&self.spec(), &names, days);
    }

    fn serve(&self) -> Server {
        let mut command = Command::new(program("waybilld"));
        command.arg("serve").arg("--spec").arg(self.spec()).arg("--resolver").arg(self.bind.address.to_string());
        command.args(["--verify-every", "1s"]);
        let address = IpAddr::V4(self.address);
        let ports = Ports {
            address,
            smtp: 25,
            submission: 587,
            submissions: 465,
            imap: 143,
            imaps: 993,
            https: 443,
            http: 8080,
        };
        Server::start(command, ports)
    }

    /// Runs a command on the spec.
    fn run(&self, command: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let mut run = Command::new(program("waybill"));
        run.arg(command).arg(self.spec()).args(arguments).env("TSIG", TSIG);
        let output = run.env("WAYBILL_RESOLVER", self.bind.address.to_string()).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    }

    /// What is found to be so, by its check.
    fn found(&self, status: &str) -> BTreeSet<String> {
        let (code, said) = self.run("verify", &["--format", "json"]);
        let json: Json = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let all = json["findings"].as_array().unwrap();
        let is_bad = all.iter().any(|one| one["status"] == "bad");
        assert_eq!(code, Some(if is_bad { 2 } else { 0 }), "{said}");
        all.iter().filter(|one| one["status"] == status).map(|one| one["check"].as_str().unwrap().to_owned()).collect()
    }

    /// What the server itself tells of DNS.
    fn health(&self) -> Json {
        let url = format!("http://{}:8080/api/health/dns", self.address);
        serde_json::from_str(&run("curl", &["-s", "-f", &url])).unwrap()
    }

    /// A record that is gone is known to the server soon, and that it is back too.
    fn server_sees_drift(&self) {
        let until = |bad: u64| {
            let began = Instant::now();
            loop {
                let health = self.health();
                if health["looked"].as_u64().unwrap() > 0 && health["bad"].as_u64() == Some(bad) {
                    return health;
                }
                assert!(began.elapsed() < PATIENCE, "{health}");
            }
        };
        until(0);
        self.update("update delete _dmarc.v.example TXT");
        let health = until(2);
        let checks: BTreeSet<&str> =
            health["findings"].as_array().unwrap().iter().map(|one| one["check"].as_str().unwrap()).collect();
        assert!(checks.contains("dmarc.there") && checks.contains("records.there"), "{health}");
        let metrics = run("curl", &["-s", "-f", &format!("http://{}:8080/metrics", self.address)]);
        assert!(metrics.contains("\nwaybill_dns_bad 2\n"), "{metrics}");
        let (code, said) = self.run("apply", &["--yes"]);
        assert_eq!(code, Some(0), "{said}");
        until(0);
    }

    /// Changes the zone as somebody does by hand.
    fn update(&self, lines: &str) {
        let key = format!("hmac-sha256:waybill.:{TSIG}");
        let mut update = Command::new("nsupdate").args(["-y", &key]).stdin(Stdio::piped()).spawn().unwrap();
        let server = format!("server 127.0.0.1 {}\n{lines}\nsend\n", self.bind.address.port());
        update.stdin.take().unwrap().write_all(server.as_bytes()).unwrap();
        assert!(update.wait().unwrap().success(), "{lines}");
    }
}

/// What goes wrong later is told by one that looks on, and that it is right again.
fn one_that_watches_tells_of_changes(site: &Site) {
    let mut verify = Command::new(program("waybill"));
    verify.arg("verify").arg(site.spec()).args(["--watch", "1s", "--group", "dmarc"]);
    verify.env("WAYBILL_RESOLVER", site.bind.address.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = verify.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The sum of the first look.
    assert!(lines.any(|line| line.contains(" 0 bad, ")), "{:?}", child.wait_with_output());
    site.update("update delete _dmarc.v.example TXT");
    assert!(lines.any(|line| line.starts_with("bad dmarc.there: ")), "{:?}", child.wait_with_output());
    let (code, said) = site.run("apply", &["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(lines.any(|line| line.starts_with("good dmarc.there: no more: ")), "{:?}", child.wait_with_output());
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The ids of checks.
fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// What the spec says, and the world does not show yet.
fn server_is_behind(site: &Site, spec: &str, (public, another): (&str, &str)) {
    // The server follows its folder, so another one is looked at.
    let other = site.folder.path().join("other");
    run("cp", &["-r", site.spec().to_str().unwrap(), other.to_str().unwrap()]);
    // With it the old policy would be in effect until `apply` takes the next step.
    fs::remove_file(other.join("waybill.state.json")).unwrap();
    let ahead = |from: &str, to: &str, wanted: &[&str], group: &str| {
        assert!(spec.contains(from), "{from}");
        fs::write(other.join("mail.kdl"), spec.replacen(from, to, 1)).unwrap();
        let mut verify = Command::new(program("waybill"));
        verify.arg("verify").arg(&other).args(["--format", "json", "--group", group, "--group", "records"]);
        let output = verify.env("WAYBILL_RESOLVER", site.bind.address.to_string()).output().unwrap();
        let json: Json = serde_json::from_slice(&output.stdout).unwrap();
        let bad = json["findings"].as_array().unwrap().iter().filter(|one| one["status"] == "bad");
        let bad: BTreeSet<String> = bad.map(|one| one["check"].as_str().unwrap().to_owned()).collect();
        assert_eq!(bad, ids(wanted), "{to}");
    };
    ahead("mta-sts \"enforce\"", "mta-sts \"testing\"", &["mta-sts.same", "records.same"], "mta-sts");
    ahead(public, another, &["dkim.same", "records.same"], "dkim");
    // Who may issue certificates, where ACME is to bring them.
    let certificate = "certificate cert=(file)\"cert.pem\" key=(file)\"key.pem\"";
    let acme = "acme \"letsencrypt\" challenge=\"tls-alpn-01\"";
    let issue = |authority: &str| {
        site.update(&format!("update delete v.example CAA\nupdate add v.example 60 CAA 0 issue \"{authority}\""));
    };
    ahead(certificate, acme, &[], "caa");
    issue("other.example");
    ahead(certificate, acme, &["caa.allows"], "caa");
    issue("letsencrypt.org; validationmethods=dns-01");
    ahead(certificate, acme, &["caa.allows"], "caa");
    issue("letsencrypt.org; validationmethods=tls-alpn-01");
    ahead(certificate, acme, &[], "caa");
    site.update("update delete v.example CAA");
}

#[test]
fn all_is_well_and_then_one_thing_after_another_is_not() {
    let site = Site::new();
    let (code, said) = site.run("apply", &["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    site.update("update add 77.2.0.192.in-addr.arpa 60 PTR out.v.example.");
    let server = site.serve();
    let (code, said) = site.run("verify", &[]);
    assert!(code == Some(0) && said.contains(" 0 bad, "), "{said}");
    let (_, brief) = site.run("verify", &["--brief", "--group", "spf"]);
    assert!(brief.ends_with("0 good, 0 bad, 0 weak, 0 unknown\n"), "{brief}");
    site.server_sees_drift();
    one_that_watches_tells_of_changes(&site);
    assert_eq!(site.found("bad"), ids(&[]));
    assert_eq!(site.found("weak"), ids(&["addresses.public", "dane.next", "name-servers.enough", "reverse.ours"]));
    assert_eq!(site.found("unknown"), ids(&[]));
    let good = site.found("good");
    let groups: BTreeSet<&str> = good.iter().map(|id| id.split_once('.').unwrap().0).collect();
    assert_eq!(groups.len(), 17, "all but caa, which needs ACME: {groups:?}");

    // What somebody does to the zone by hand, what that makes bad, and what puts it right.
    let text = |name: &str| site.bind.dig(name, "TXT").join("").replace("\" \"", "");
    let spf = text(ZONE);
    let spec = fs::read_to_string(site.spec().join("mail.kdl")).unwrap();
    let key = spec.lines().find(|line| line.contains("ed25519") && line.contains("public=")).unwrap();
    let words: Vec<&str> = key.split('"').collect();
    let public = key.split("public=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let another = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let selector = format!("{}._domainkey.{ZONE}", words[1]);
    let tlsa = "_25._tcp.mail.v.example";
    let faults: Vec<(String, &[&str])> = vec![
        ("update delete v.example MX".into(), &["mx.there", "records.there"]),
        (
            "update add v.example 3600 MX 5 old.2.0.192.in-addr.arpa.".into(),
            &["mx.resolves", "mta-sts.mx", "records.same"],
        ),
        (
            "update delete v.example TXT\nupdate add v.example 3600 TXT \"v=spf1 -all\"".into(),
            &["records.same", "spf.passes"],
        ),
        ("update add v.example 3600 TXT \"v=spf1 ip4:192.0.2.1 -all\"".into(), &["spf.one"]),
        (
            format!("update delete {selector} TXT\nupdate add {selector} 3600 TXT \"v=DKIM1; k=ed25519; p={another}\""),
            &["dkim.holds", "dkim.same", "records.same"],
        ),
        (format!("update delete {selector} TXT"), &["dkim.there", "records.there"]),
        ("update delete _dmarc.v.example TXT".into(), &["dmarc.there", "records.there"]),
        ("update delete _mta-sts.v.example TXT".into(), &["mta-sts.record", "records.there"]),
        (
            format!("update delete {tlsa} TLSA\nupdate add {tlsa} 3600 TLSA 3 1 1 {}", "ab".repeat(32)),
            &["dane.matches", "records.same"],
        ),
        ("update delete 77.2.0.192.in-addr.arpa PTR".into(), &["reverse.there"]),
        (
            "update delete 77.2.0.192.in-addr.arpa PTR\nupdate add 77.2.0.192.in-addr.arpa 60 PTR ns1.v.example."
                .into(),
            &["reverse.confirmed"],
        ),
        ("update add mail.v.example 3600 A 192.0.2.66".into(), &["addresses.ours", "records.same"]),
        ("update delete autoconfig.v.example CNAME".into(), &["autoconfig.fetched", "records.there"]),
    ];
    assert!(spf.contains("v=spf1"), "{spf}");
    for (fault, wanted) in faults {
        site.update(&fault);
        assert_eq!(site.found("bad"), ids(wanted), "{fault}");
        site.update(
            "update delete 77.2.0.192.in-addr.arpa PTR\nupdate add 77.2.0.192.in-addr.arpa 60 PTR out.v.example.",
        );
        let (code, said) = site.run("apply", &["--yes", "--adopt"]);
        assert_eq!(code, Some(0), "{said}");
    }
    assert_eq!(site.found("bad"), ids(&[]));

    server_is_behind(&site, &spec, (&public, another));
    assert_eq!(site.found("bad"), ids(&[]));

    // A chain of trust that does not reach the zone.
    let anchor = fs::read_to_string(site.spec().join("anchor")).unwrap();
    let at = anchor.rfind("==").unwrap() - 40;
    let other = if &anchor[at..=at] == "A" { "B" } else { "A" };
    fs::write(site.spec().join("anchor"), anchor[..at].to_owned() + other + &anchor[at + 1..]).unwrap();
    let (code, said) = site.run("verify", &["--group", "dnssec"]);
    assert!(code == Some(2) && said.contains("bad dnssec.valid"), "{said}");
    fs::write(site.spec().join("anchor"), anchor).unwrap();
    assert!(site.run("verify", &["--group", "nothing"]).1.contains("there are addresses, autoconfig"));

    // A certificate of nobody's, which soon ends.
    assert!(server.stop());
    let authority = fs::read(site.spec().join("ca.pem")).unwrap();
    site.certificate(5);
    fs::write(site.spec().join("ca.pem"), authority).unwrap();
    let server = site.serve();
    let wanted = ["autoconfig.fetched", "dane.matches", "mta-sts.trusted", "records.same", "services.certificate"];
    assert_eq!(site.found("bad"), ids(&wanted));
    let weak = site.found("weak");
    assert!(weak.is_superset(&ids(&["services.expiry", "smtp.certificate", "smtp.expiry"])), "{weak:?}");

    // Nobody answers.
    assert!(server.stop());
    let wanted =
        ["autoconfig.fetched", "mta-sts.fetched", "records.same", "services.open", "services.srv", "smtp.open"];
    assert_eq!(site.found("bad"), ids(&wanted));
    let counts = site.folder.path().join("verify.prom");
    site.run("verify", &["--metrics", counts.to_str().unwrap()]);
    let counts = fs::read_to_string(counts).unwrap();
    assert!(counts.contains("waybill_verify_findings{check=\"smtp.open\",status=\"bad\"} 1\n"), "{counts}");
}

#[test]
fn the_manual_has_every_check() {
    let manual = fs::read_to_string(root().join("docs/verify.md")).unwrap();
    let rows = manual.lines().filter(|line| line.starts_with("| `"));
    let told: Vec<&str> = rows.map(|line| line.split('`').nth(1).unwrap()).collect();
    let known: Vec<&str> = Check::ALL.iter().map(|check| check.id()).collect();
    assert_eq!(told, known);
    for check in Check::ALL {
        let row = format!("| `{}` | {} | {} |", check.id(), check.status().name(), check.means());
        assert!(manual.contains(&row), "{row}");
    }
}
