//! `waybill lock` from outside: what it asks a BIND of the test's own, what it writes, and what `check` makes of it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::bind::Bind;
use harness::waybill;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

const SPEC: &str = r#"waybill 1
host "mail.elsewhere.net" {
    address "192.0.2.25"
    tls { acme "letsencrypt" challenge="tls-alpn-01"; }
}
store "local" { rocksdb "data"; }
domain "example.org" {
    account "ada"
    alias "postmaster" "ada"
    spf { include "_spf.partner.net"; a "out.partner.net"; }
    dmarc "reject" report="dmarc@reports.net"
}
"#;

fn zone(folder: &Path, name: &str, records: &str) -> (String, PathBuf) {
    let path = folder.join(format!("{name}.zone"));
    let head =
        format!("$ORIGIN {name}.\n$TTL 60\n@ IN SOA ns.invalid. h.invalid. 1 3600 600 86400 60\n@ IN NS ns.invalid.\n");
    fs::write(&path, head + records).unwrap();
    (name.to_owned(), path)
}

fn world(folder: &Path, partner: &str) -> Bind {
    let zones = [
        zone(folder, "partner.net", partner),
        zone(
            folder,
            "elsewhere.net",
            "@ IN CAA 0 issue \"letsencrypt.org\"\nmail IN A 192.0.2.25\nmail IN TXT \"v=spf1 a -all\"\n",
        ),
        zone(folder, "reports.net", "*._report._dmarc IN TXT \"v=DMARC1;\"\n"),
        zone(folder, "in-addr.arpa", "25.2.0.192 IN PTR MAIL.elsewhere.net.\n"),
        // What else is asked for: that it is not there.
        zone(folder, "org", ""),
        zone(folder, "net", ""),
    ];
    Bind::serve(&zones)
}

const PARTNER: &str = "_spf IN TXT \"v=spf1 include:a.spf.partner\" \".net ~all\"\n_spf IN TXT \"proof=1\"\n\
                       a.spf IN TXT \"v=spf1 ip4:198.51.100.0/24 exists:%{i}.x.partner.net ~all\"\n\
                       out IN CNAME real\nreal IN A 198.51.100.9\n";

fn spec() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mail.kdl"), SPEC).unwrap();
    folder
}

fn lock(spec: &TempDir, bind: &Bind, more: &[&str]) -> Output {
    let resolver = bind.address.to_string();
    waybill(&[&["lock", spec.path().to_str().unwrap(), "--resolver", &resolver], more].concat())
}

fn locked(spec: &TempDir) -> String {
    fs::read_to_string(spec.path().join("waybill.lock")).unwrap()
}

/// The codes that `check` tells.
fn check(spec: &TempDir) -> Vec<String> {
    let output = waybill(&["check", "--format", "json", spec.path().to_str().unwrap()]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    found.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect()
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

#[test]
fn what_dns_says_is_locked_and_proves_the_spec() {
    let (zones, spec) = (tempfile::tempdir().unwrap(), spec());
    let bind = world(zones.path(), PARTNER);
    for code in ["W0613", "W0634", "W0644", "W0645"] {
        assert!(check(&spec).contains(&code.to_owned()), "{code}");
    }
    let output = lock(&spec, &bind, &["--check"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("+ record \"_spf.partner.net\" TXT"), "{}", text(&output.stdout));
    assert!(!spec.path().join("waybill.lock").exists());

    let output = lock(&spec, &bind, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let wanted = "\
// What DNS outside this spec said; written by `waybill lock`.
lock 1
record \"25.2.0.192.in-addr.arpa\" PTR \"mail.elsewhere.net\"
record \"_spf.partner.net\" TXT \"v=spf1 include:a.spf.partner.net ~all\"
record \"a.spf.partner.net\" TXT \"v=spf1 ip4:198.51.100.0/24 exists:%{i}.x.partner.net ~all\"
record \"elsewhere.net\" CAA \"0 issue \\\"letsencrypt.org\\\"\"
record \"example.org._report._dmarc.reports.net\" TXT \"v=DMARC1;\"
record \"mail.elsewhere.net\" A \"192.0.2.25\"
record \"mail.elsewhere.net\" AAAA none
record \"mail.elsewhere.net\" CAA none
record \"mail.elsewhere.net\" TXT \"v=spf1 a -all\"
record \"org\" CAA none
record \"out.partner.net\" A \"198.51.100.9\"
record \"out.partner.net\" AAAA none
";
    assert_eq!(locked(&spec), wanted);
    let found = check(&spec);
    let about_the_world = |code: &&String| code.as_str() == "W0613" || code.as_str() >= "W0632";
    assert_eq!(found.iter().find(about_the_world), None, "{found:?}");

    let output = lock(&spec, &bind, &["--check"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::new()));
    // Nothing that `check` says needs a DNS server.
    bind.stop();
    assert_eq!(check(&spec), found);
}

#[test]
fn a_change_at_a_partner_shows_as_a_diff_and_breaks_the_check_once_locked() {
    let (zones, spec) = (tempfile::tempdir().unwrap(), spec());
    let bind = world(zones.path(), PARTNER);
    assert!(lock(&spec, &bind, &[]).status.success());
    drop(bind);
    let many: String = (0..10).map(|n| format!(" include:n{n}.partner.net")).collect();
    let names: String = (0..10).map(|n| format!("n{n} IN TXT \"v=spf1 ip4:198.51.100.{n} -all\"\n")).collect();
    let bind = world(zones.path(), &format!("_spf IN TXT \"v=spf1{many} -all\"\nout IN A 198.51.100.9\n{names}"));
    let before = locked(&spec);
    let output = lock(&spec, &bind, &["--check"]);
    assert_eq!(output.status.code(), Some(2));
    let shown = text(&output.stdout);
    for line in [
        "- record \"a.spf.partner.net\"",
        "- record \"_spf.partner.net\"",
        "+ record \"_spf.partner.net\"",
        "+ record \"n9",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    assert_eq!(locked(&spec), before);
    assert!(!check(&spec).contains(&"W0612".to_owned()));
    assert!(lock(&spec, &bind, &[]).status.success());
    assert!(check(&spec).contains(&"W0612".to_owned()));
}

#[test]
fn a_server_that_does_not_answer_changes_nothing() {
    let (zones, spec) = (tempfile::tempdir().unwrap(), spec());
    // It refuses what is outside its zones.
    let bind = Bind::serve(&[zone(zones.path(), "partner.net", PARTNER)]);
    let output = lock(&spec, &bind, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("DNS does not say what"), "{}", text(&output.stderr));
    assert!(!spec.path().join("waybill.lock").exists());
    fs::write(spec.path().join("mail.kdl"), "waybill 1\nacount \"x\"\n").unwrap();
    let output = lock(&spec, &bind, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("W0112"), "{}", text(&output.stderr));
}

#[test]
fn a_lock_from_a_fork_hurts_nobody() {
    let spec = spec();
    // Ten of the next level in each record: 10 to the power of 12 records, were they all walked.
    let record = |level: usize| {
        let next: String = (0..10).map(|n| format!(" include:l{}-{n}.partner.net", level + 1)).collect();
        format!("v=spf1{next} -all")
    };
    let mut text = format!("lock 1\nrecord \"_spf.partner.net\" TXT \"{}\"\n", record(0));
    for level in 1..12 {
        for n in 0..10 {
            text += &format!("record \"l{level}-{n}.partner.net\" TXT \"{}\"\n", record(level));
        }
    }
    fs::write(spec.path().join("waybill.lock"), text).unwrap();
    assert!(check(&spec).contains(&"W0612".to_owned()));
    for wrong in [
        "lock 2\n".to_owned(),
        "lock 1\nrecord \"a.b\" TXT".to_owned() + &" \"v=spf1 -all\"".repeat(65),
        format!("lock 1\nrecord \"a.b\" TXT \"v=spf1 {}\"", "a ".repeat(3000)),
        "lock 1\n".to_owned() + &"{".repeat(1 << 20),
        "lock 1\n".to_owned() + &(0..20_001).map(|n| format!("record \"n{n}.b\" A none\n")).collect::<String>(),
        "lock 1\nrecord \"a.b\" TXT \"v=spf1\\u{7} -all\"\n".to_owned(),
    ] {
        fs::write(spec.path().join("waybill.lock"), wrong).unwrap();
        assert!(check(&spec).contains(&"W0632".to_owned()));
    }
    fs::write(spec.path().join("waybill.lock"), b"lock 1\n\xff").unwrap();
    assert!(check(&spec).contains(&"W0632".to_owned()));
}
