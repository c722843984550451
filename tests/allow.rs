//! Levels and allowances from outside: exit codes, and what each format says of what is borne.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::process::Output;

fn check(rules: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let day = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(100 * 24)).to_string();
    let text = "waybill 1\nhost \"mail.example.org\" { address \"192.0.2.25\"; }\nstore \"local\" { rocksdb \"data\"; }\n\
                domain \"example.org\" { account \"postmaster\"; tls-report \"nobody@example.org\"; }\n";
    fs::write(folder.path().join("mail.kdl"), text.to_owned() + &rules.replace("DAY", &day[..10])).unwrap();
    let out = folder.path().join("out");
    let mut arguments = vec![more[0], folder.path().to_str().unwrap()];
    arguments.extend(&more[1..]);
    if more[0] == "build" {
        arguments.extend(["--out", out.to_str().unwrap()]);
    }
    harness::waybill(&arguments)
}

const BORNE: &str = "allow W0614 reason=\"the mailbox comes in spring\" until=\"DAY\"\n";
const QUIET: &str =
    "level W0617 \"off\"\nlevel W0404 \"off\"\nlevel W0601 \"off\"\nlevel W0306 \"off\"\nlevel W0324 \"off\"\n";

#[test]
fn exit_codes_follow_levels_and_allowances() {
    let code = |rules: &str, more: &[&str]| check(rules, more).status.code();
    assert_eq!(code("", &["check"]), Some(1), "an error");
    assert_eq!(code(BORNE, &["check"]), Some(0), "borne");
    assert_eq!(code(BORNE, &["build"]), Some(0), "and built");
    assert_eq!(code("", &["build"]), Some(1));
    assert_eq!(code(BORNE, &["check", "--deny", "warnings"]), Some(1), "warnings are left");
    let quiet = format!("{BORNE}{QUIET}");
    let output = check(&quiet, &["check", "--deny", "warnings"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let raised = format!("{BORNE}level W0404 \"error\"\n");
    assert_eq!(code(&raised, &["check"]), Some(1), "a warning made an error");
    assert_eq!(code(&raised, &["build"]), Some(1));
    let ended = BORNE.replace("DAY", "2026-01-01");
    let output = check(&ended, &["check"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("error[W0614]") && told.contains("warning[W0823]"), "{told}");
}

#[test]
fn every_format_says_what_is_borne_and_how_bad_the_rest_is() {
    let raised = format!("{BORNE}level W0404 \"error\"\n");
    let output = check(&raised, &["check", "--format", "sarif"]);
    let log: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let of = |code: &str| results.iter().find(|result| result["ruleId"] == code).unwrap();
    assert_eq!(of("W0614")["suppressions"][0]["kind"], "inSource");
    let why = of("W0614")["suppressions"][0]["justification"].as_str().unwrap().to_owned();
    assert!(why.starts_with("the mailbox comes in spring (until 2"), "{why}");
    assert_eq!((&of("W0404")["level"], &of("W0404")["suppressions"]), (&"error".into(), &serde_json::Value::Null));
    let output = check(&raised, &["check", "--format", "json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let severity = |code: &str| {
        let of = found.as_array().unwrap().iter().find(|one| one["code"] == code);
        of.map(|one| one["severity"].as_str().unwrap().to_owned())
    };
    assert_eq!(severity("W0614"), None);
    assert_eq!(severity("W0404").as_deref(), Some("error"));
    assert_eq!(severity("W0617").as_deref(), Some("warning"));
    let output = check(&raised, &["check", "--format", "github"]);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(lines.contains("::error file=mail.kdl,line=2") && !lines.contains("W0614"), "{lines}");
    let output = check(&raised, &["check"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains(", 1 allowed;"), "{told}");
}
