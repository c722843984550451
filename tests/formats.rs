//! Findings as programs read them, held against the programs' own readers.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::{npm, run};
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value as Json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A spec with findings of every kind: with and without place, several lines, two files, names that need escaping.
fn spec() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "mail.kdl",
        "waybill 1\nstorage\nstorage\ninclude \"*.kdl\"\ndomain \"example.org\" { acount \"<&\\\"\"; quota \"x\"; }\n",
    );
    write("a & <b> ü.kdl", "domain \"a.example\" {\n    alias \"a\" \"nobody\"\n}\ndomain \"example.org\"\n");
    folder
}

fn printed(folder: &Path, format: &str) -> String {
    let output = harness::waybill(&["check", folder.to_str().unwrap(), "--format", format]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn sarif_is_valid() {
    let folder = spec();
    let file = folder.path().join("out.sarif");
    fs::write(&file, printed(folder.path(), "sarif")).unwrap();
    // The validator that the standard's editors publish: the schema, and what it cannot say.
    let program = npm("@microsoft/sarif-multitool-linux", "5.7.0").join("Sarif.Multitool");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let validate = |file: &Path| {
        let mut command = Command::new(&program);
        command.env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1").current_dir(folder.path());
        command.arg("validate").arg(file).output().unwrap()
    };
    let output = validate(&file);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !said.contains(": error "), "{said}");
    // It does refuse what is not valid.
    let text = fs::read_to_string(&file).unwrap().replace("\"ruleId\"", "\"ruleName\"");
    fs::write(&file, text).unwrap();
    let output = validate(&file);
    assert!(String::from_utf8_lossy(&output.stdout).contains(": error "), "{output:?}");
}

#[test]
fn junit_is_well_formed_and_counts_right() {
    let folder = spec();
    let file = folder.path().join("out.xml");
    fs::write(&file, printed(folder.path(), "junit")).unwrap();
    let script = "
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
assert root.tag == 'testsuites'
for suite in list(root) + [root]:
    assert int(suite.get('tests')) == len(list(suite.iter('testcase'))), suite.attrib
    assert int(suite.get('failures')) == len(list(suite.iter('failure'))), suite.attrib
names = [suite.get('name') for suite in root]
assert names == sorted(names) and 'a & <b> ü.kdl' in names, names
assert any('`quota`' in case.find('failure').text or 'W0118' in case.get('name') for case in root.iter('testcase')
           if case.find('failure') is not None)
";
    run("python3", &["-c", script, file.to_str().unwrap()]);
}

/// A spec of one domain with every type of record, published by a `dns` node.
fn zones(node: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "waybill 1\nhost \"mail.example.org\" {{ address \"192.0.2.25\" \"2001:db8::25\"; }}\nstore \"s\" {{ rocksdb \"d\"; }}\n\
         dns \"main\" {{ {node}; }}\n\
         domain \"example.org\" {{\n    dnssec\n    dns \"main\" {{\n        record \"long\" TXT \"{}\"\n        \
         record \"a\" TXT \"semi; \\\"quoted\\\" \\\\ ${{x}}\"\n        record \"@\" CAA \"128 issue letsencrypt.org\"\n        \
         record \"_25._tcp.mail\" TLSA \"3 1 1 {}\"\n    }}\n    account \"postmaster\"\n}}\n",
        "x".repeat(300),
        "ab".repeat(32),
    );
    fs::write(folder.path().join("mail.kdl"), text).unwrap();
    folder
}

/// What `waybill plan` prints in a form; nobody is asked, so that it needs no secret.
fn planned(folder: &Path, format: &str) -> String {
    let output = harness::waybill(&["plan", folder.to_str().unwrap(), "--format", format]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn other_tools_read_the_zones() {
    let folder = zones("cloudflare token=(env)\"NOBODY_HAS_THIS\"");
    let path = |name: &str| folder.path().join(name);
    // OctoDNS, with all of its checks, gives out as master files what BIND then reads.
    let out = path("zones");
    let words = ["plan", folder.path().to_str().unwrap(), "--format", "octodns", "--out", out.to_str().unwrap()];
    assert!(harness::waybill(&words).status.success());
    let config = format!(
        "providers:\n  config:\n    class: octodns.provider.yaml.YamlProvider\n    directory: {}\n  copy:\n    \
         class: octodns.provider.yaml.YamlProvider\n    directory: {}\nzones:\n  example.org.:\n    sources: [config]\n    targets: [copy]\n",
        out.display(),
        path("copy").display(),
    );
    fs::write(path("config.yaml"), config).unwrap();
    let python = harness::python(&["octodns==1.22.0"]);
    let words = ["--config-file", path("config.yaml").to_str().unwrap(), "--doit"].map(str::to_owned);
    let said = run(python.join("octodns-sync").to_str().unwrap(), &words.each_ref().map(String::as_str));
    let sets = planned(folder.path(), "octodns").matches("    type: ").count();
    assert!(said.contains(&format!("Creates={sets}")), "{sets}: {said}");
    // Master files.
    let zone = "@ 3600 IN SOA ns1.example.net. a.example.net. 1 3600 900 1209600 300\n@ 3600 IN NS ns1.example.net.\n";
    let text = planned(folder.path(), "bind");
    let (head, records) = text.split_at(text.match_indices('\n').nth(1).unwrap().0 + 1);
    fs::write(path("zone"), format!("{head}{zone}{records}")).unwrap();
    run("named-checkzone", &["example.org", path("zone").to_str().unwrap()]);
    // DNSControl's language is JavaScript: its functions are called with what they take.
    let script = format!(
        "const seen = [];\nconst call = name => (...words) => {{ seen.push([name, ...words]); return name; }};\n\
         for (const name of ['A', 'AAAA', 'CAA', 'CNAME', 'MX', 'SRV', 'TLSA', 'TTL', 'TXT', 'D_EXTEND']) globalThis[name] = call(name);\n\
         globalThis.CAA_CRITICAL = 'critical';\n{}\nconsole.log(JSON.stringify(seen));\n",
        planned(folder.path(), "dnscontrol")
    );
    fs::write(path("run.js"), script).unwrap();
    let calls: Json = serde_json::from_str(&run("node", &[path("run.js").to_str().unwrap()])).unwrap();
    let of = |name: &str| calls.as_array().unwrap().iter().filter(|call| call[0] == name).collect::<Vec<_>>();
    assert_eq!(of("MX")[0].as_array().unwrap()[1..4], [Json::from("@"), 10.into(), "mail.example.org.".into()]);
    assert!(of("TXT").iter().any(|call| call[2] == "semi; \"quoted\" \\ ${x}"), "{calls}");
    assert!(of("CAA").iter().any(|call| call[4] == "critical"), "{calls}");
    assert_eq!((of("TLSA").len(), of("D_EXTEND").len()), (1, 1));
    // Kubernetes reads YAML.
    let docs = Yaml::load_from_str(&planned(folder.path(), "external-dns")).map(|docs| docs.len());
    assert_eq!(docs.unwrap(), 1);
}

#[test]
fn terraform_gets_resources_of_the_zones_provider() {
    let json = |node: &str| -> Json { serde_json::from_str(&planned(zones(node).path(), "terraform")).unwrap() };
    let cloudflare = &json("cloudflare token=(env)\"NOBODY_HAS_THIS\"");
    let records = &cloudflare["resource"]["cloudflare_dns_record"];
    assert_eq!(records["example_org_mx_0"]["content"], "mail.example.org");
    assert_eq!(records["_25__tcp_mail_example_org_tlsa_0"]["data"]["usage"], 3);
    // Its own templates are not meant.
    assert_eq!(records["a_example_org_txt_0"]["content"], "\"semi; \\\"quoted\\\" \\\\ $${x}\"");
    assert!(cloudflare["variable"]["zone_ids"].is_object());
    let route53 = &json("route53")["resource"]["aws_route53_record"];
    let long = route53["long_example_org_txt"]["records"][0].as_str().unwrap();
    assert_eq!(long, format!("{}\"\"{}", "x".repeat(255), "x".repeat(45)));
    let folder = zones("zonefile \"zones\"");
    let output = harness::waybill(&["plan", folder.path().to_str().unwrap(), "--format", "terraform"]);
    let left_out = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(left_out.contains("_25._tcp.mail.example.org TLSA"), "{left_out}");
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["resource"]["dns_mx_record_set"]["example_org_mx"]["mx"][0]["preference"], 10);
}
