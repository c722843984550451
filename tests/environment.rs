//! Environments from outside: `--env`, `check --all-env`, `build --show-merged`, and the server that serves one.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use compiler::pipeline::{Wish, compile};
use harness::{Site, account, password_hash, root, waybill, written};
use schema::spec::Spec;
use serde_json::Value as Json;
use std::fs;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

const NOW: i64 = 1_795_478_400;

fn spec(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn run(folder: &Path, command: &str, more: &[&str]) -> Output {
    waybill(&[&[command, folder.to_str().unwrap()], more].concat())
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every node of the top level may stand in an environment, but for those that are of the whole.
#[test]
fn an_environment_takes_every_node() {
    let schema = schemars::schema_for!(Spec).to_value();
    let names = |schema: &Json| schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let own = ["waybill", "include", "environment"];
    let top: Vec<String> = names(&schema).into_iter().filter(|name| !own.contains(&name.as_str())).collect();
    let overlay = names(&schema["$defs"]["Environment"]);
    let missing: Vec<&String> = top.iter().filter(|name| !overlay.contains(name)).collect();
    assert!(missing.is_empty(), "schema/src/spec/environment.rs lacks {missing:?}");
}

fn layered() -> TempDir {
    let base = format!(
        "waybill 1\ninclude \"b.kdl\"\nhost \"mail.example.org\" {{ address \"192.0.2.25\"; }}\nstore \"local\" {{ rocksdb \"data\"; }}\n\
         defaults {{\n    domain {{\n        tls-report \"t@example.org\"\n        dmarc report=\"r@example.org\"\n    }}\n}}\n\
         domain \"example.org\" {{\n    dmarc \"quarantine\"\n    alias \"t\" \"ada\"\n    alias \"r\" \"ada\"\n    account \"ada\" {{ password (hash)\"{}\"; }}\n}}\n",
        password_hash()
    );
    let other = "domain \"b.example\" like=\"example.org\" {\n    account \"bob\"\n}\n\
                 environment \"staging\" {\n    domain \"b.example\" { quota \"1GiB\"; }\n    limits { recipients 200; }\n}\n";
    spec(&[("mail.kdl", &base), ("b.kdl", other)])
}

#[test]
fn every_value_of_the_merged_spec_says_where_it_comes_from() {
    let folder = layered();
    let output = run(folder.path(), "build", &["--env", "staging", "--show-merged"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = out(&output);
    let has = |line: &str| assert!(text.lines().any(|one| one.trim_start() == line), "no `{line}` in\n{text}");
    for line in [
        "waybill 1 // mail.kdl:1",
        "domain \"b.example\" { // b.kdl:1",
        "dmarc \"quarantine\" report=\"r@example.org\" // defaults, mail.kdl:8; policy: like example.org, mail.kdl:12",
        "tls-report \"t@example.org\" // defaults, mail.kdl:7",
        "quota \"1GiB\" // environment staging, b.kdl:5",
        "recipients 200 // environment staging, b.kdl:6",
        "message-size \"50MiB\" // default, RFC 5321 §4.5.3.1.7",
        "smtp 25 // default, RFC 8314 §3",
        "password (hash)\"…\" // mail.kdl:15",
        "all \"fail\" // default, RFC 7208 §5.1",
    ] {
        has(line);
    }
    assert!(!text.contains("argon2") && !text.contains("environment \"staging\""), "{text}");
    // It is a file in the canonical layout.
    fs::write(folder.path().join("merged.kdl"), &text).unwrap();
    let merged = folder.path().join("merged.kdl");
    assert!(waybill(&["fmt", "--check", merged.to_str().unwrap()]).status.success());
    // Without --env the overlay is not there.
    let text = out(&run(folder.path(), "build", &["--show-merged"]));
    assert!(!text.contains("1GiB") && text.contains("recipients 1000 // default"), "{text}");
}

/// The merged spec says what the spec says: it builds the same.
#[test]
fn the_merged_spec_builds_the_same() {
    let without = |text: &str| {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("password "));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    for example in ["company", "family"] {
        let folder = tempfile::tempdir().unwrap();
        let from = root().join("examples").join(example);
        fs::write(folder.path().join("mail.kdl"), without(&fs::read_to_string(from.join("mail.kdl")).unwrap()))
            .unwrap();
        if example == "company" {
            fs::create_dir(folder.path().join("domains")).unwrap();
            for name in ["domains/example.com.kdl", "domains/shop.example.kdl"] {
                fs::write(folder.path().join(name), without(&fs::read_to_string(from.join(name)).unwrap())).unwrap();
            }
        }
        let whole = compile(&Wish::new(folder.path(), NOW));
        let merged = compiler::environment::show::merged(&whole).unwrap();
        let again = spec(&[("mail.kdl", &merged)]);
        let again = compile(&Wish::new(again.path(), NOW));
        let errors: Vec<_> = again.report.diagnostics().iter().filter(|one| one.code.id() < "W0122").collect();
        assert!(errors.is_empty(), "{errors:#?}\n{merged}");
        let (a, b) = (whole.artefacts.unwrap(), again.artefacts.unwrap_or_else(|| panic!("{merged}")));
        assert_eq!(written(|to| a.runtime_json(to)), written(|to| b.runtime_json(to)));
        assert_eq!(written(|to| a.records_json(to)), written(|to| b.records_json(to)));
    }
}

#[test]
fn all_environments_are_checked_at_once() {
    let folder = spec(&[(
        "mail.kdl",
        "waybill 1\nhost \"mail.example.org\" { address \"192.0.2.25\"; }\nstore \"local\" { rocksdb \"data\"; }\n\
         domain \"example.org\" { account \"ada\"; }\nenvironment \"staging\" {\n    domain \"example.org\" { catch-all \"bob\"; }\n}\n",
    )]);
    assert!(run(folder.path(), "check", &[]).status.success());
    let output = run(folder.path(), "check", &["--all-env", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Json = serde_json::from_slice(&output.stdout).unwrap();
    let errors: Vec<&Json> = found.as_array().unwrap().iter().filter(|one| one["severity"] == "error").collect();
    let [error] = errors.as_slice() else { panic!("{errors:#?}") };
    assert_eq!((error["file"].as_str(), error["line"].as_u64()), (Some("mail.kdl"), Some(6)));
    assert!(error["message"].as_str().unwrap().starts_with("in environment `staging`: nobody has the address"));
    let output = run(folder.path(), "check", &["--env", "stagging"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `staging`?"));
}

#[test]
fn the_server_serves_an_environment() {
    let site = Site::new();
    let extra = account("eve").replace('\n', "\n    ");
    site.write_spec(&format!(
        "domain \"example.org\" {{\n{}}}\nenvironment \"staging\" {{\n    domain \"example.org\" {{\n    {extra}}}\n}}\n",
        account("ada")
    ));
    let server = site.serve_with(&["--env", "staging"]);
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("waybill_accounts 2"), "{metrics}");
}
