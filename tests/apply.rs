//! `waybill plan` and `waybill apply` from outside: what they show, what they write, what they refuse, and how they are
//! taken up again after `kill -9`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::bind::{Bind, TSIG, empty_zone};
use harness::cloudflare::{self, Cloudflare};
use harness::clouds::{self, Clouds};
use harness::contract::Fault;
use harness::hyperscalers::{self, Hyperscalers};
use harness::moto::Moto;
use harness::powerdns::{self, PowerDns};
use harness::{PATIENCE, next_month, password_hash, program};
use serde_json::Value as Json;
use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// What the environment of every run has.
const SECRETS: [(&str, &str); 3] = [("TSIG", TSIG), ("PDNS", powerdns::KEY), ("AWS", "AKIAIOSFODNN7EXAMPLE")];

/// A spec of two domains, and the folder of their zones.
struct Site {
    folder: TempDir,
}

impl Site {
    /// Zones in files.
    fn files() -> Site {
        let site = Site { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(site.path().join("zones")).unwrap();
        for zone in ["example.org", "example.net"] {
            fs::write(site.zone(zone), empty_zone(zone)).unwrap();
        }
        site.spec("dns \"main\" { zonefile \"zones\"; }\n", "");
        site
    }

    fn spec(&self, dns: &str, inside: &str) {
        let hash = password_hash();
        let text = format!(
            "waybill 1\nhost \"mail.example.org\" {{ address \"192.0.2.25\"; }}\nstore \"local\" {{ rocksdb \"data\"; }}\n\
             defaults {{ domain {{ dns \"main\"; }}; }}\n{dns}\
             domain \"example.org\" {{\n    account \"ada\" {{ password (hash)\"{hash}\"; }}\n    alias \"postmaster\" \"ada\"\n{inside}}}\n\
             domain \"example.net\" {{ alias \"postmaster\" \"ada@example.org\"; }}\n"
        );
        fs::write(self.path().join("mail.kdl"), text).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn zone(&self, name: &str) -> PathBuf {
        self.path().join(format!("zones/{name}.zone"))
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.zone(name)).unwrap()
    }

    /// Adds lines to a zone, as somebody else does.
    fn add(&self, name: &str, lines: &str) {
        fs::write(self.zone(name), self.text(name) + lines).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("waybill"));
        command.args(&arguments[..1]).arg(self.path()).args(&arguments[1..]);
        command.envs(SECRETS).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that ends with a code; what it said.
    fn ends(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(SECRETS.iter().all(|(_, secret)| !said.contains(secret)), "{said}");
        said
    }

    fn state(&self) -> Json {
        serde_json::from_slice(&fs::read(self.path().join("waybill.state.json")).unwrap()).unwrap()
    }
}

#[test]
fn what_is_planned_is_applied_and_the_second_plan_is_empty() {
    let site = Site::files();
    let said = site.ends(2, &["plan"]);
    assert!(said.contains("+ MX") && said.contains("10 mail.example.org.") && said.contains("(mail.kdl:"), "{said}");
    assert!(said.contains("to add, 0 to change, 0 to remove"), "{said}");
    assert!(site.ends(1, &["apply"]).contains("--yes"));
    let before = site.text("example.org");
    assert!(!before.contains("MX"));
    let said = site.ends(0, &["apply", "--yes"]);
    assert!(said.contains("2 of 2 zones written and read again"), "{said}");
    let after = site.text("example.org");
    assert!(after.starts_with(&before.replace(" 1 3600", " 2 3600")), "{after}");
    assert!(after.contains("example.org. 3600 IN MX 10 mail.example.org.\n"), "{after}");
    assert_eq!(site.ends(0, &["plan"]), "no change\n");
    assert_eq!(site.ends(0, &["apply", "--yes"]), "no change\n");
    assert_eq!(site.text("example.org"), after);
    assert_eq!(site.state()["serial"], 2, "said before and after, and not for nothing");
    // One thing changes: one thing is written.
    site.spec("dns \"main\" { zonefile \"zones\"; }\n", "    dmarc \"quarantine\"\n");
    let said = site.ends(2, &["plan"]);
    assert!(said.contains("~ TXT") && said.contains("0 to add, 1 to change, 0 to remove"), "{said}");
    site.ends(0, &["apply", "--yes"]);
    // And back: what we wrote and want no more goes.
    site.spec("dns \"main\" { zonefile \"zones\"; }\n", "    dns { omit \"autoconfig\" CNAME; }\n");
    let said = site.ends(2, &["plan"]);
    assert!(said.contains("- CNAME autoconfig.example.org") || said.contains("1 to remove"), "{said}");
    site.ends(0, &["apply", "--yes"]);
    assert!(!site.text("example.org").contains("autoconfig"));
}

#[test]
fn what_others_wrote_is_kept_or_refused_until_it_is_adopted() {
    let site = Site::files();
    site.add("example.org", "@ 300 TXT \"site-verification=1\"\nwww A 192.0.2.80\n");
    site.add("example.net", "@ MX 5 old.example.net.\n@ TXT \"v=spf1 include:old.example -all\"\n");
    let said = site.ends(3, &["plan"]);
    assert!(said.contains("kept: \"site-verification=1\""), "{said}");
    assert!(said.contains("! MX") && said.contains("5 old.example.net.") && said.contains("--adopt"), "{said}");
    let (org, net) = (site.text("example.org"), site.text("example.net"));
    site.ends(3, &["apply", "--yes"]);
    assert_eq!((site.text("example.org"), site.text("example.net")), (org, net), "nothing is applied");
    // The other zone can be.
    site.ends(0, &["apply", "--yes", "--only", "example.org"]);
    let text = site.text("example.org");
    assert!(text.contains("\"site-verification=1\"") && text.contains("www A 192.0.2.80"), "{text}");
    site.ends(0, &["apply", "--yes", "--adopt"]);
    let text = site.text("example.net");
    assert!(!text.contains("old.example") && text.contains("MX 10 mail.example.org."), "{text}");
    // Drift: a value of ours was changed, and is put right without a word; one that stands beside ours is refused.
    fs::write(site.zone("example.net"), text.replace("MX 10 mail", "MX 10 other")).unwrap();
    assert!(site.ends(2, &["plan"]).contains("~ MX"));
    site.ends(0, &["apply", "--yes"]);
    site.add("example.net", "@ MX 1 other.example.\n");
    assert!(site.ends(3, &["plan"]).contains("somebody else's is there: 1 other.example."));
}

#[test]
fn what_would_harm_mail_is_refused_with_its_evidence() {
    let dns = "dns \"main\" { zonefile \"zones\"; }\n";
    let site = Site::files();
    site.spec(dns, "    dmarc \"none\"\n");
    site.ends(0, &["apply", "--yes"]);
    site.spec(dns, "    dmarc \"reject\"\n");
    let said = site.ends(3, &["plan"]);
    assert!(said.contains("W0800") && said.contains("`p=none` to `p=reject`"), "{said}");
    site.ends(3, &["apply", "--yes"]);
    let until = next_month();
    site.spec(
        dns,
        &format!("    dmarc \"reject\"\n    allow W0800 reason=\"the reports are read\" until=\"{until}\"\n"),
    );
    site.ends(0, &["check"]);
    site.ends(0, &["apply", "--yes"]);
    // The last MX.
    let gone = "    dmarc \"reject\"\n    dns { omit \"@\" MX; }\n    mta-sts \"none\"\n";
    site.spec(dns, gone);
    let said = site.ends(3, &["plan"]);
    assert!(said.contains("W0810") && said.contains("mail.example.org"), "{said}");
    // A key that signs.
    let key = "        key \"a\" rsa public=\"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEArn2ThSqwy2Oprhepql6W4FyzUGRQ4XJPHkPWWW/UqfWu1RtH5LKOY5VQgAKC3jDbvG8cBDRo4WlO2jkp6tJMdXcsIIRaEwP33XRo2gopsleakhlM160ddOJILENSntiEACHd+myhrIbTY+UDC/7lnvyKlRSoyZD3qhkeH+d/HkU/IEF695l1nirlyoPVsQxF3J8tqkJ6jRMgVQb/osPrr4v+TdJOI1rZPrCVJKnRJyhLEKkXnLMJJiZ9ALU+uj63dkWyqHaBgaQod1sOs5xeMlaFkvSgCRXd4t2/YxQUxHwYm2OyLvVpgTgOsO8sV3J46OsVp1+uDYxcJdr8csSdjwIDAQAB\" private=(file)\"a.pem\"\n";
    site.spec(dns, &format!("    dmarc \"reject\"\n    dkim {{\n{key}    }}\n"));
    site.ends(0, &["apply", "--yes"]);
    assert_eq!(site.state()["zones"]["example.org"]["keys"]["a"]["signs"], true);
    site.spec(dns, "    dmarc \"reject\"\n");
    let said = site.ends(3, &["plan"]);
    assert!(said.contains("W0811") && said.contains("it was applied as a"), "{said}");
    let retiring = key.replace("key \"a\" rsa", "retiring \"a\" rsa").replace(" private=(file)\"a.pem\"", "");
    site.spec(dns, &format!("    dmarc \"reject\"\n    dkim {{\n{retiring}    }}\n"));
    site.ends(0, &["apply", "--yes"]);
    site.spec(dns, "    dmarc \"reject\"\n");
    let said = site.ends(3, &["plan"]);
    assert!(said.contains("W0811") && said.contains("it signed until 0"), "{said}");
    // Six days later.
    let state = fs::read_to_string(site.path().join("waybill.state.json")).unwrap();
    let since = site.state()["zones"]["example.org"]["keys"]["a"]["since"].as_i64().unwrap();
    let earlier = state.replace(&since.to_string(), &(since - 6 * 86_400).to_string());
    fs::write(site.path().join("waybill.state.json"), earlier).unwrap();
    site.ends(0, &["apply", "--yes"]);
    assert!(!site.text("example.org").contains("_domainkey"));
}

#[test]
fn many_removals_at_once_are_refused() {
    let site = Site::files();
    let records: String = (0..25).map(|n| format!("        record \"n{n}\" A \"192.0.2.{n}\"\n")).collect();
    let dns = "dns \"main\" { zonefile \"zones\"; }\n";
    site.spec(dns, &format!("    dns {{\n{records}    }}\n"));
    site.ends(0, &["apply", "--yes"]);
    site.spec(dns, "");
    let said = site.ends(3, &["plan"]);
    assert!(said.contains("W0812") && said.contains("25 record sets would be removed"), "{said}");
}

#[test]
fn a_reviewed_plan_is_made_as_it_was_or_not_at_all() {
    let site = Site::files();
    let file = site.path().join("plan.json");
    let plan = file.to_str().unwrap();
    site.ends(2, &["plan", "--out", plan]);
    let json: Json = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((json["format"].as_u64(), json["state"]["serial"].as_u64()), (Some(1), Some(0)));
    let change = &json["zones"][0]["changes"][0];
    assert!(change["before"].is_null() && change["after"]["values"][0].is_string(), "{change}");
    let apply = |code: i32| {
        let output = Command::new(program("waybill")).args(["apply", plan, "--yes"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    };
    // Another came first: what he touched is left alone, the rest is made.
    site.add("example.net", "_smtp._tls 60 TXT \"v=TLSRPTv1; rua=mailto:postmaster@example.net\"\n");
    let said = apply(4);
    assert!(said.contains("_smtp._tls.example.net"), "{said}");
    assert!(site.text("example.org").contains("MX 10"));
    // The same plan again: all is done already, and nothing is made twice.
    apply(4);
    site.ends(2, &["plan", "--out", plan]);
    apply(0);
    // The spec is another one.
    site.ends(0, &["plan", "--out", plan]);
    site.spec("dns \"main\" { zonefile \"zones\"; }\n", "    dmarc \"none\"\n");
    assert!(apply(4).contains("not the one that was planned"));
}

#[test]
fn plans_are_told_to_programs_and_reviewers() {
    let site = Site::files();
    site.add("example.net", "@ MX 5 a|b.example.net.\n");
    site.add("example.org", "@ MX 5 old.example.net.\n");
    let text = site.ends(3, &["plan", "--format", "markdown"]);
    assert!(text.starts_with("### Waybill: DNS would change: "), "{text}");
    assert!(text.contains("#### example.org") && text.contains("| + | TXT |") && text.contains("refused: "), "{text}");
    let output = site.run(&["plan", "--format", "json"]);
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["zones"].as_array().unwrap().len(), 2);
    assert_eq!(json["zones"][1]["refused"][0]["adoptable"], true);
}

#[test]
fn two_runs_do_not_meet_and_a_missing_zone_is_said() {
    let site = Site::files();
    let lock = fs::File::create(site.path().join("waybill.state.json.lock")).unwrap();
    lock.lock().unwrap();
    let waits = ["apply", "--yes", "--lock-timeout", "1s"];
    assert!(site.ends(1, &waits).contains("another `waybill apply` is at work"));
    drop(lock);
    fs::remove_file(site.zone("example.net")).unwrap();
    let said = site.ends(1, &["plan"]);
    assert!(said.contains("write it once, with the zone's SOA and NS"), "{said}");
    // The rest is applied, and that not all was is the exit code's to say.
    site.ends(5, &["apply", "--yes"]);
    assert!(site.text("example.org").contains("MX 10"));
    fs::write(site.path().join("waybill.state.json"), "{").unwrap();
    assert!(site.ends(1, &["plan"]).contains("is written by `waybill apply` alone"));
}

#[test]
fn a_zone_that_the_spec_has_no_more_is_pruned_when_asked() {
    let site = Site::files();
    site.ends(0, &["apply", "--yes"]);
    let text = fs::read_to_string(site.path().join("mail.kdl")).unwrap();
    let without: String = text
        .lines()
        .filter(|line| !line.starts_with("domain \"example.net\""))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(site.path().join("mail.kdl"), without).unwrap();
    assert!(site.ends(0, &["plan"]).contains("example.net: is in the spec no more"));
    site.ends(0, &["apply", "--yes", "--prune"]);
    assert!(!site.text("example.net").contains("MX"));
    assert!(site.state()["zones"]["example.net"].is_null());
}

#[test]
fn a_zone_that_was_not_loaded_is_loaded_by_the_next_run() {
    let site = Site::files();
    let (told, able) = (site.path().join("told"), site.path().join("able"));
    let script = format!("test -e {} && echo {{zone}} >> {}", able.display(), told.display());
    let dns = format!("dns \"main\" {{ zonefile \"zones\" {{ reload \"sh\" \"-c\" \"{script}\"; }}; }}\n");
    site.spec(&dns, "");
    let said = site.ends(1, &["apply", "--yes"]);
    assert!(said.contains("the file of `example.net` is written, but `sh` ends with"), "{said}");
    assert_eq!(site.ends(0, &["plan"]), "no change\n");
    fs::write(&able, "").unwrap();
    site.ends(0, &["apply", "--yes"]);
    let mut loaded: Vec<String> = fs::read_to_string(&told).unwrap().lines().map(str::to_owned).collect();
    loaded.sort();
    assert_eq!(loaded, ["example.net", "example.org"]);
    // Once is enough.
    site.ends(0, &["apply", "--yes"]);
    assert_eq!(fs::read_to_string(&told).unwrap().lines().count(), 2);
}

#[test]
fn what_was_written_at_one_provider_is_not_ours_at_another() {
    let site = Site::files();
    site.ends(0, &["apply", "--yes"]);
    fs::create_dir(site.path().join("other")).unwrap();
    for zone in ["example.org", "example.net"] {
        let text = empty_zone(zone) + "@ 300 IN MX 5 old.example.com.\n";
        fs::write(site.path().join(format!("other/{zone}.zone")), text).unwrap();
    }
    let text = fs::read_to_string(site.path().join("mail.kdl")).unwrap();
    let moved = text.replace("dns \"main\" { zonefile \"zones\"; }", "dns \"new\" { zonefile \"other\"; }");
    fs::write(site.path().join("mail.kdl"), moved.replace("dns \"main\";", "dns \"new\";")).unwrap();
    let said = site.ends(3, &["plan"]);
    assert!(said.contains("somebody else's is there: 5 old.example.com."), "{said}");
    assert!(said.contains("example.org: `main` published it before; what was written there stays"), "{said}");
}

/// Runs `apply` on a spec that changes each time, killed after longer and longer until it comes through; then all is as it
/// is to be.
fn killed_anywhere(dns: &str, step: u64) -> Site {
    let site = Site::files();
    let mut kills = 0;
    for round in 0.. {
        site.spec(dns, &format!("    dns {{ record \"round\" TXT \"{round}\"; }}\n"));
        let mut run = Command::new(program("waybill"));
        run.arg("apply").arg(site.path()).arg("--yes").envs(SECRETS).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = run.stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(step * round));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        assert!(kills < 2000, "it never ends");
    }
    site.ends(0, &["apply", "--yes"]);
    assert_eq!(site.ends(0, &["plan"]), "no change\n");
    site
}

#[test]
fn a_name_server_is_updated_and_a_kill_anywhere_is_taken_up() {
    let bind = Bind::updatable(&["example.org", "example.net"]);
    let dns = format!(
        "dns \"main\" {{ rfc2136 \"{}\" key=\"waybill.\" algorithm=\"hmac-sha256\" secret=(env)\"TSIG\"; }}\n",
        bind.address
    );
    let site = killed_anywhere(&dns, 3);
    assert_eq!(bind.dig("example.org", "MX"), ["10 mail.example.org."]);
    assert_eq!(bind.dig("round.example.org", "TXT").len(), 1);
    // Without the secret nothing is asked.
    let output = Command::new(program("waybill")).arg("plan").arg(site.path()).env_remove("TSIG").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("the environment has no `TSIG`"), "{said}");
}

#[test]
fn powerdns_and_route_53_take_up_a_kill_anywhere() {
    let server = PowerDns::start(&["example.org", "example.net"]);
    killed_anywhere(&format!("dns \"main\" {{ powerdns \"{}\" api-key=(env)\"PDNS\"; }}\n", server.api), 5);
    let moto = Moto::start();
    moto.run("for n in ('example.org', 'example.net'):\n    client('route53').create_hosted_zone(Name=n, CallerReference=n)\n");
    let keys = "access-key=(env)\"AWS\" secret-key=(env)\"AWS\"";
    killed_anywhere(&format!("dns \"main\" {{ route53 {keys} url=\"{}\"; }}\n", moto.url), 20);
}

/// Runs `apply` at a server whose first answer to a write never comes, and kills it then, several times; the next run ends
/// what they began. `faults` has one happen next, or none any more, and
/// `written` says how often something was to be written.
fn killed_between(
    node: &str,
    secrets: &[(&str, &str)],
    (faults, written): (&dyn Fn(Option<Fault>), &dyn Fn() -> usize),
) {
    let folder = tempfile::tempdir().unwrap();
    for (name, secret) in secrets {
        fs::write(folder.path().join(name), secret).unwrap();
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    // What all of them can hold: none has a place that leads nowhere.
    let omit: String = ["_imap", "_imaps", "_pop3", "_pop3s", "_submission", "_submissions"]
        .iter()
        .map(|service| format!("omit \"{service}._tcp\" SRV; "))
        .collect();
    let spec = format!(
        "waybill 1\nhost \"mail.example.org\" {{ address \"192.0.2.25\"; listen {{ smtp 25; }}; }}\n\
         store \"s\" {{ rocksdb \"d\"; }}\ndns \"main\" {{ {node}; }}\n\
         domain \"example.org\" {{ dns \"main\" {{ {omit}}}; account \"postmaster\"; }}\n"
    );
    fs::write(folder.path().join("mail.kdl"), spec).unwrap();
    let command = |name: &str| {
        let mut command = Command::new(program("waybill"));
        command.arg(name).arg(folder.path()).stdin(Stdio::null());
        command
    };
    for round in 1..=3 {
        let before = written();
        faults(Some(Fault::Mute));
        let mut child = command("apply").arg("--yes").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        let mut ended = false;
        while written() == before && !ended {
            // What is taken whole at once leaves nothing for the rounds behind.
            ended = child.try_wait().unwrap().is_some();
            assert!(began.elapsed() < PATIENCE, "{node}: round {round}");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        faults(None);
    }
    let output = command("apply").arg("--yes").output().unwrap();
    assert!(output.status.success(), "{node}: {}", String::from_utf8_lossy(&output.stderr));
    let before = written();
    let output = command("plan").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "no change\n", "{node}");
    assert_eq!(written(), before, "{node}: nothing is written for nothing");
}

#[test]
fn every_api_takes_up_a_kill_between_two_requests() {
    for kind in ["desec", "hetzner", "gandi", "digitalocean"] {
        let server = Clouds::start("example.org");
        let node = format!("{kind} token=(file)\"secret\" url=\"{}\"", server.url(kind));
        killed_between(
            &node,
            &[("secret", clouds::TOKEN)],
            (&|fault| happens(&mut server.site.lock().unwrap().faults, fault), &|| server.site.lock().unwrap().writes),
        );
    }
    for kind in ["google", "azure", "ovh"] {
        let server = Hyperscalers::start("example.org");
        let own = if kind == "google" { &server.key } else { hyperscalers::SECRET };
        let secrets =
            [("secret", own), ("application", hyperscalers::APPLICATION), ("consumer", hyperscalers::CONSUMER)];
        killed_between(
            &server.node(kind),
            &secrets,
            (&|fault| happens(&mut server.site.lock().unwrap().faults, fault), &|| server.site.lock().unwrap().writes),
        );
    }
}

/// A fault that comes next; or none of those that were to come.
fn happens(faults: &mut VecDeque<Fault>, fault: Option<Fault>) {
    match fault {
        Some(fault) => faults.push_back(fault),
        None => faults.clear(),
    }
}

/// A spec whose zones are at Cloudflare, the token in `TOKEN`, with so many records of one's own.
fn at_cloudflare(server: &Cloudflare, many: usize) -> Site {
    let site = Site::files();
    fs::remove_dir_all(site.path().join("zones")).unwrap();
    let records: String = (0..many).map(|n| format!("        record \"n{n}\" TXT \"number {n}\"\n")).collect();
    let dns = format!("dns \"main\" {{ cloudflare token=(env)\"TOKEN\" url=\"{}\"; }}\n", server.url);
    site.spec(&dns, &format!("    dns {{\n{records}    }}\n"));
    site
}

#[test]
fn a_kill_between_two_requests_is_taken_up() {
    let server = Cloudflare::start(&["example.net", "example.org"]);
    let site = at_cloudflare(&server, 450);
    let command = || {
        let mut command = Command::new(program("waybill"));
        command.arg("apply").arg(site.path()).arg("--yes").env("TOKEN", cloudflare::TOKEN).stdin(Stdio::null());
        command
    };
    // Each time one more batch is taken and never answered, so that nobody knows how far it came.
    for batches in 1..=3 {
        let before = server.count("POST");
        server.site.lock().unwrap().faults.extend([Fault::Mute; 2]);
        let mut child = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while server.count("POST") == before {
            assert!(began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "batch {batches}");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        server.site.lock().unwrap().faults.clear();
    }
    let output = command().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stored = |n: usize| server.stored(&format!("n{n}.example.org"), "TXT").len();
    assert!((0..450).all(|n| stored(n) == 1), "each is there once");
    let posts = server.count("POST");
    let output = command().output().unwrap();
    assert!(output.status.success() && output.stdout == b"no change\n");
    assert_eq!(server.count("POST"), posts, "nothing is written for nothing");
}

#[test]
fn a_token_is_in_nothing_that_is_said_or_written() {
    let server = Cloudflare::start(&["example.net", "example.org"]);
    let site = at_cloudflare(&server, 1);
    let run = |token: &str, arguments: &[&str]| {
        let mut command = Command::new(program("waybill"));
        command.current_dir(site.path()).args(arguments).env("TOKEN", token).env("RUST_LOG", "trace");
        let output = command.env("RUST_BACKTRACE", "full").stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains(token), "{arguments:?}: {said}");
        (output.status.code().unwrap(), said)
    };
    let wrong = "wrong-token-that-the-api-repeats";
    for arguments in [&["plan", "."][..], &["plan", ".", "--format", "json"], &["apply", ".", "--yes"]] {
        let (code, said) = run(wrong, arguments);
        assert!(code == 1 && said.contains("does not take the token"), "{said}");
    }
    assert_eq!(run(cloudflare::TOKEN, &["plan", ".", "--out", "plan.json"]).0, 2);
    for format in ["human", "json", "markdown"] {
        assert_eq!(run(cloudflare::TOKEN, &["plan", ".", "--format", format]).0, 2);
    }
    let (code, said) = run(cloudflare::TOKEN, &["apply", "plan.json", "--yes"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(run(cloudflare::TOKEN, &["build", ".", "--out", "built"]).0, 0);
    let mut folders = vec![site.path().to_path_buf()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            files += 1;
            let octets = fs::read(entry.path()).unwrap();
            for token in [cloudflare::TOKEN, wrong] {
                let is_there = octets.windows(token.len()).any(|some| some == token.as_bytes());
                assert!(!is_there, "{}", entry.path().display());
            }
        }
    }
    assert!(files > 4, "plan, state, zones, configuration");
}

#[test]
fn tlsa_records_are_not_written_into_a_zone_that_is_not_signed() {
    let site = Site::files();
    let tlsa = format!("    dnssec\n    dns {{ record \"_25._tcp.mail\" TLSA \"3 1 1 {}\"; }}\n", "ab".repeat(32));
    for (bind, code) in
        [(Bind::updatable(&["example.org", "example.net"]), 3), (Bind::signing(&["example.org", "example.net"]), 0)]
    {
        let dns = format!(
            "dns \"main\" {{ rfc2136 \"{}\" key=\"waybill.\" algorithm=\"hmac-sha256\" secret=(env)\"TSIG\"; }}\n",
            bind.address
        );
        site.spec(&dns, &tlsa);
        let said = site.ends(code, &["apply", "--yes", "--resolver", &bind.address.to_string()]);
        assert_eq!(said.contains("error[W0813]"), code == 3, "{said}");
        assert_eq!(bind.dig("_25._tcp.mail.example.org", "TLSA").len(), usize::from(code == 0));
    }
}
