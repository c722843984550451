//! Zones as name servers see them: BIND's and Knot's checkers, and what a BIND that serves them answers.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::{root, run, waybill};
use std::path::{Path, PathBuf};

const EXAMPLES: [&str; 2] = ["examples/family", "examples/company"];

fn build(spec: &Path, out: &Path) {
    let built = waybill(&["build", spec.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// The zone's file with the two records that its name server owns.
fn whole(zone: &Path) -> PathBuf {
    let text = std::fs::read_to_string(zone).unwrap();
    let path = zone.with_extension("whole");
    let head = "@ 3600 IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 300\n@ 3600 IN NS ns.invalid.\n";
    let (origin, rest) = text.split_once('\n').unwrap();
    let (ttl, records) = rest.split_once('\n').unwrap();
    assert!(origin.starts_with("$ORIGIN ") && ttl.starts_with("$TTL "), "{text}");
    assert!(!records.contains(" SOA ") && !records.contains(" NS "), "{text}");
    std::fs::write(&path, format!("{origin}\n{ttl}\n{head}{records}")).unwrap();
    path
}

fn zones(out: &Path) -> Vec<(String, PathBuf)> {
    let mut zones: Vec<_> = std::fs::read_dir(out.join("zones"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "zone"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    zones.sort();
    assert!(!zones.is_empty());
    zones
}

#[test]
fn checkers_find_nothing() {
    for example in EXAMPLES {
        let out = tempfile::tempdir().unwrap();
        build(&root().join(example), out.path());
        for (name, zone) in zones(out.path()) {
            let zone = whole(&zone);
            let strict =
                ["-i", "full", "-k", "fail", "-m", "fail", "-M", "fail", "-n", "fail", "-r", "fail", "-S", "fail"];
            let said = run("named-checkzone", &[&strict[..], &[&name, zone.to_str().unwrap()]].concat());
            assert!(said.trim_end().ends_with("OK"), "{said}");
            run("kzonecheck", &["-o", &format!("{name}."), zone.to_str().unwrap()]);
        }
    }
}

#[test]
fn two_builds_are_the_same_octets() {
    for example in EXAMPLES {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        build(&root().join(example), one.path());
        build(&root().join(example), two.path());
        let same = run("diff", &["-r", one.path().to_str().unwrap(), two.path().to_str().unwrap()]);
        assert_eq!(same, "");
    }
}

/// The folder that holds what an example's build writes, for readers who have not built it.
#[test]
fn what_stands_beside_the_examples_is_what_they_build() {
    for example in EXAMPLES {
        let out = tempfile::tempdir().unwrap();
        build(&root().join(example), out.path());
        let committed = root().join(example).join("built");
        run("diff", &["-r", committed.to_str().unwrap(), out.path().to_str().unwrap()]);
        run(harness::program("waybill").to_str().unwrap(), &["fmt", "--check", root().join(example).to_str().unwrap()]);
    }
}

#[test]
fn what_bind_serves_is_what_records_json_says() {
    for example in EXAMPLES {
        let out = tempfile::tempdir().unwrap();
        build(&root().join(example), out.path());
        let zones: Vec<_> = zones(out.path()).into_iter().map(|(name, zone)| (name, whole(&zone))).collect();
        let bind = harness::bind::Bind::serve(&zones);
        let records: serde_json::Value =
            serde_json::from_slice(&std::fs::read(out.path().join("records.json")).unwrap()).unwrap();
        let mut asked = 0;
        for (zone, sets) in records.as_object().unwrap() {
            assert!(zones.iter().any(|(name, _)| name == zone));
            for set in sets.as_array().unwrap() {
                let (name, kind) = (set["name"].as_str().unwrap(), set["type"].as_str().unwrap());
                let mut wanted: Vec<String> =
                    set["values"].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect();
                wanted.sort();
                let mut served = bind.dig(name, kind);
                served.sort();
                // Presentation of hex and case may differ; nothing else may.
                let plain = |values: &[String]| -> Vec<String> {
                    values
                        .iter()
                        .map(|value| if kind == "TLSA" { value.replace(' ', "").to_lowercase() } else { value.clone() })
                        .collect()
                };
                assert_eq!(plain(&served), plain(&wanted), "{name} {kind}");
                asked += 1;
            }
        }
        assert!(asked > 10);
    }
}
