//! `docs/reference.md` comes from the schema, and everything in it is true: each example is taken by the reader.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use compiler::pipeline::{Wish, compile};
use compiler::read::grammar::{self, Kind, Shape};
use compiler::reference::examples;
use harness::root;
use std::collections::BTreeSet;

#[test]
fn the_committed_reference_is_what_the_program_prints() {
    let printed = harness::waybill(&["schema", "reference"]);
    assert!(printed.status.success());
    let committed = std::fs::read(root().join("docs/reference.md")).unwrap_or_default();
    assert!(committed == printed.stdout, "docs/reference.md is stale: waybill schema reference > it");
}

#[test]
fn every_example_is_taken() {
    let language = grammar::language();
    let mut wrong = Vec::new();
    for (field, text) in examples(language) {
        if field == "waybill" || field == "include" {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mail.kdl"), format!("waybill 1\n{text}\n")).unwrap();
        let compiled = compile(&Wish::new(folder.path(), 1_795_478_400));
        // What a whole spec would have beside it is not here: names that are not bound, files that are not there.
        let shape = |id: &str| ("W0101"..="W0123").contains(&id) && !["W0107", "W0122"].contains(&id);
        for found in compiled.report.diagnostics().iter().filter(|found| shape(found.code.id())) {
            wrong.push(format!("{field}: {} {}: {text}", found.code.id(), found.says));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_node_and_value_has_its_meaning() {
    let (mut open, mut seen, mut wrong) = (vec![grammar::language().clone()], BTreeSet::new(), Vec::new());
    while let Some(kind) = open.pop() {
        if !seen.insert(kind.name.clone()) {
            continue;
        }
        wrong.extend(lacking(&kind));
        for field in &kind.fields {
            if let Shape::Node(inner) = &field.shape {
                open.push(inner.clone());
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a kind's reference does not say.
fn lacking(kind: &Kind) -> Vec<String> {
    let mut wrong = Vec::new();
    for field in &kind.fields {
        let name = format!("{} › {}", kind.name, field.name);
        if field.says.trim().is_empty() {
            wrong.push(format!("{name} has no meaning"));
        }
        if matches!(&field.shape, Shape::Text(format) if format.is_empty()) && field.example.is_none() {
            wrong.push(format!("{name} is text of any form and has no example"));
        }
    }
    wrong
}
