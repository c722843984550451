//! The house rules, read from `cargo metadata` and the tree.
#![allow(clippy::unwrap_used, reason = "tests")]

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may import whom.
const IMPORTS: [(&str, &[&str]); 8] = [
    ("waybill-schema", &[]),
    ("waybill-sealed", &[]),
    ("waybill-proto", &[]),
    ("waybill-mail", &["waybill-schema"]),
    ("waybill-compiler", &["waybill-schema", "waybill-sealed", "waybill-mail"]),
    ("waybill-store", &["waybill-schema", "waybill-mail"]),
    ("waybill-server", &["waybill-schema", "waybill-sealed", "waybill-proto", "waybill-mail", "waybill-store"]),
    (
        "waybill-tests",
        &["waybill-sealed", "waybill-schema", "waybill-proto", "waybill-mail", "waybill-store", "waybill-compiler"],
    ),
];

/// Crates that a layer must not even depend on.
const NEVER: [(&str, &[&str]); 3] = [
    ("waybill-schema", &["tokio", "socket2", "notify"]),
    ("waybill-proto", &["tokio", "socket2", "notify", "rustls"]),
    ("waybill-compiler", &["rocksdb", "notify"]),
];

/// Lines of a file, and of a function; `clippy` counts the arguments.
const FILE_MOST: usize = 1_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec!["--locked".into()])
        .exec()
        .unwrap()
}

fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let listed = harness::run("git", &["-C", root().to_str().unwrap(), "ls-files", "-co", "--exclude-standard"]);
    let wanted = |path: &PathBuf| path.extension().is_some_and(|e| extensions.iter().any(|want| e == *want));
    listed.lines().map(|line| root().join(line)).filter(|path| wanted(path) && path.exists()).collect()
}

#[test]
fn crates_import_only_what_they_may() {
    let metadata = metadata();
    for (name, may) in IMPORTS {
        let package = metadata.packages.iter().find(|package| *package.name == name).unwrap();
        for dependency in &package.dependencies {
            let ours = dependency.name.starts_with("waybill-");
            assert!(!ours || may.contains(&dependency.name.as_str()), "{name} must not import {}", dependency.name);
        }
    }
    for (name, never) in NEVER {
        let package = metadata.packages.iter().find(|package| *package.name == name).unwrap();
        for dependency in &package.dependencies {
            assert!(!never.contains(&dependency.name.as_str()), "{name} must not depend on {}", dependency.name);
        }
    }
}

/// The packages that the two programs are made of.
fn product(metadata: &Metadata) -> Vec<&Package> {
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let roots = ["waybill-compiler", "waybill-server"];
    let mut open: Vec<_> = metadata
        .packages
        .iter()
        .filter(|package| roots.contains(&package.name.as_str()))
        .map(|package| &package.id)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let normal = |dependency: &&cargo_metadata::NodeDep| {
                dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
            };
            open.extend(nodes[id].deps.iter().filter(normal).map(|dependency| &dependency.pkg));
        }
    }
    metadata.packages.iter().filter(|package| seen.contains(&package.id)).collect()
}

#[test]
fn licences_are_permissive_and_tls_is_rustls() {
    const FINE: [&str; 16] = [
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unicode-3.0",
        "MPL-2.0",
        "CC0-1.0",
        "0BSD",
        "BSL-1.0",
        "Unlicense",
        "MIT-0",
        "CDLA-Permissive-2.0",
        "OpenSSL",
        "Apache-2.0 WITH LLVM-exception",
    ];
    let metadata = metadata();
    for package in product(&metadata) {
        let name = package.name.as_str();
        assert!(!["openssl", "openssl-sys", "native-tls"].contains(&name), "{name} brings OpenSSL");
        let licence = package.license.clone().unwrap_or_default();
        // `/` is how `OR` used to be written.
        let licence = licence.replace('/', " OR ");
        // Every part joined by AND must offer one that is fine.
        let fine = licence.split(" AND ").all(|part| {
            part.trim_matches(['(', ')']).split(" OR ").any(|one| FINE.contains(&one.trim().trim_matches(['(', ')'])))
        });
        assert!(fine, "{name} {} has the licence `{licence}`", package.version);
    }
}

#[test]
fn files_are_short_and_functions_too() {
    let mut long = Vec::new();
    for path in files(&["rs"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        if lines > FILE_MOST {
            long.push(format!("{}: {lines} lines", path.display()));
        }
        assert!(path.file_name().unwrap() != "mod.rs", "{}: a module is named by its file", path.display());
        for name in ["utils", "common", "manager", "helpers"] {
            assert!(path.file_stem().unwrap() != name, "{}: what is it about?", path.display());
        }
    }
    assert!(long.is_empty(), "{long:#?}");
    let clippy = std::fs::read_to_string(root().join("clippy.toml")).unwrap();
    assert!(clippy.contains("too-many-lines-threshold = 100") && clippy.contains("too-many-arguments-threshold = 5"));
}

#[test]
fn nothing_of_the_builders_machine_is_in_the_tree() {
    let own = ["/tidy.rs"];
    for path in files(&["rs", "toml", "md", "kdl", "json", "sh", ""]) {
        if own.iter().any(|own| path.to_string_lossy().ends_with(own)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for word in ["/work/", "/root/", "todo!(", "unimplemented!("] {
            assert!(!text.contains(word), "{} holds `{word}`", path.display());
        }
    }
}

#[test]
fn references_to_rfcs_name_their_section_the_same_way() {
    for path in files(&["rs"]) {
        if path.ends_with("tests/tidy.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for (at, line) in text.lines().enumerate() {
            let wrong = line.contains("RFC-") || line.contains("rfc ") || line.contains(", section ");
            assert!(!wrong, "{}:{}: write `RFC 5321 §4.1.1.3`: {line}", path.display(), at + 1);
        }
    }
}

#[test]
fn the_committed_schemas_are_what_the_program_prints() {
    for which in ["spec", "runtime"] {
        let path = root().join(format!("schema/{which}.schema.json"));
        let printed = harness::waybill(&["schema", which]);
        assert!(printed.status.success());
        let committed = std::fs::read(&path).unwrap_or_default();
        assert!(committed == printed.stdout, "{} is stale: waybill schema {which} > it", path.display());
    }
}
