//! `docs/reference.md` comes from the schema, and everything in it is true: each example is taken by the reader. Older
//! spellings are told, and rewritten.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::root;

#[test]
fn the_committed_reference_is_what_the_program_prints() {
    let printed = harness::waybill(&["schema", "reference"]);
    assert!(printed.status.success());
    let committed = std::fs::read(root().join("docs/reference.md")).unwrap_or_default();
    assert!(committed == printed.stdout, "docs/reference.md is stale: waybill schema reference > it");
}

#[test]
fn fmt_brings_a_spec_to_the_spellings_of_today() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let root = "waybill 1\ninclude \"d.kdl\"\n";
    let old = "// ours\ndomain \"example.org\" {\n    dmarc \"reject\" rua=\"ada@example.org\" // of all\n\n    tls-rpt \"ada@example.org\"\n}\n";
    std::fs::write(file("mail.kdl"), root).unwrap();
    std::fs::write(file("d.kdl"), old).unwrap();
    let path = folder.path().to_str().unwrap();
    let checked = harness::waybill(&["check", path]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(text.contains("W0140") && text.contains("waybill fmt --upgrade"), "{text}");
    // Without the flag nothing is renamed; with it and `--check` the file is only told of.
    assert!(harness::waybill(&["fmt", path]).status.success());
    assert_eq!(std::fs::read_to_string(file("d.kdl")).unwrap(), old);
    assert!(!harness::waybill(&["fmt", "--upgrade", "--check", path]).status.success());
    assert_eq!(std::fs::read_to_string(file("d.kdl")).unwrap(), old);
    assert!(harness::waybill(&["fmt", "--upgrade", path]).status.success());
    let new = old.replace("rua=", "report=").replace("tls-rpt", "tls-report");
    assert_eq!(std::fs::read_to_string(file("d.kdl")).unwrap(), new);
    assert_eq!(std::fs::read_to_string(file("mail.kdl")).unwrap(), root);
    assert!(harness::waybill(&["fmt", "--upgrade", "--check", path]).status.success());
}
