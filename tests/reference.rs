//! `docs/reference.md` comes from the schema, and everything in it is true: each example is taken by the reader.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::root;

#[test]
fn the_committed_reference_is_what_the_program_prints() {
    let printed = harness::waybill(&["schema", "reference"]);
    assert!(printed.status.success());
    let committed = std::fs::read(root().join("docs/reference.md")).unwrap_or_default();
    assert!(committed == printed.stdout, "docs/reference.md is stale: waybill schema reference > it");
}
