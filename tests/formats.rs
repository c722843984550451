//! Findings as programs read them, held against the programs' own readers.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::{npm, run};
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
