//! The test suite of KDL itself, which the crate `kdl` brings with it: our reader takes and refuses what it says, and
//! `waybill fmt` changes nothing that a text says.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use cargo_metadata::MetadataCommand;
use compiler::format::format;
use compiler::read::scan::scan;
use compiler::read::token::{Kind, Tokens};
use compiler::read::tree::{Node, Nodes, Tree, Value, parse};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Where we differ, and why.
const EXCEPTIONS: [(&str, &str); 0] = [];

fn folder() -> PathBuf {
    let metadata = MetadataCommand::new()
        .manifest_path(harness::root().join("Cargo.toml"))
        .other_options(vec!["--locked".into()])
        .exec()
        .unwrap();
    let kdl = metadata.packages.iter().find(|package| *package.name == "kdl").unwrap();
    kdl.manifest_path.parent().unwrap().join("tests/test_cases").into()
}

/// The nodes of a text; `None` where it is refused.
fn read(text: &str) -> Option<Tree> {
    let scanned = scan(text);
    let tree = parse(text);
    assert_eq!(scanned.too_deep.as_ref(), tree.too_deep(), "{text}");
    (scanned.too_deep.is_none() && scanned.broken.is_empty() && tree.faults().is_empty()).then_some(tree)
}

/// What nodes say; of properties written twice only the last, as the suite has it.
fn said(nodes: Nodes<'_>) -> String {
    let value = |value: Value<'_>| format!("{:?}{:?}", value.annotation(), value.scalar());
    let one = |node: Node<'_>| {
        let arguments: Vec<_> = node.arguments().map(value).collect();
        let properties: BTreeMap<_, _> = node.properties().map(|one| (one.name(), value(one.value()))).collect();
        format!("{:?}{:?}{arguments:?}{properties:?}{{{}}}\n", node.annotation(), node.name(), said(node.children()))
    };
    nodes.map(one).collect()
}

fn comments(text: &str) -> Vec<&str> {
    let comment = |kind| matches!(kind, Kind::LineComment | Kind::BlockComment | Kind::SlashDash);
    Tokens::new(text).filter(|token| comment(token.kind)).map(|token| text[token.span].trim_end()).collect()
}

fn problem(name: &str, text: &str, expected: Option<&str>) -> Option<String> {
    let wanted = !name.ends_with("_fail");
    let Some(nodes) = read(text) else {
        return wanted.then(|| format!("{name} is refused: {:?}", parse(text).faults()));
    };
    if !wanted {
        return Some(format!("{name} is taken"));
    }
    if let Some(expected) = expected
        && read(expected).map(|tree| said(tree.nodes(0))) != Some(said(nodes.nodes(0)))
    {
        return Some(format!("{name} says\n{}", said(nodes.nodes(0))));
    }
    let laid = match format(text) {
        Ok(laid) => laid,
        Err(why) => return Some(format!("{name}: {why}")),
    };
    if read(&laid).map(|tree| said(tree.nodes(0))) != Some(said(nodes.nodes(0))) || comments(&laid) != comments(text) {
        return Some(format!("{name}: laid out, it says something else:\n{laid}"));
    }
    (format(&laid).as_deref() != Ok(&laid)).then(|| format!("{name}: laid out twice, it differs:\n{laid}"))
}

#[test]
fn kdl_is_what_its_own_suite_says() {
    let folder = folder();
    let (mut seen, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(folder.join("input")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let expected = fs::read_to_string(folder.join("expected_kdl").join(format!("{name}.kdl"))).ok();
        seen += 1;
        if EXCEPTIONS.iter().all(|(one, _)| *one != name) {
            wrong.extend(problem(&name, &text, expected.as_deref()));
        }
    }
    assert!(seen > 300, "only {seen} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What check accepts, fmt lays out; here of random pieces (xorshift64).
#[test]
fn what_is_taken_is_laid_out() {
    const PIECES: [&str; 22] = [
        "a",
        "b",
        " ",
        " ",
        " ",
        "\n",
        "\n",
        ";",
        "{",
        "}",
        "{",
        "}",
        "/* c */",
        "// d\n",
        "/-",
        "\\\n",
        "\\ // e\n",
        "=",
        "(t)",
        "\"x\"",
        "1",
        "\"\"\"\n f\n \"\"\"",
    ];
    let mut random = 0x1234_5678_9ABC_DEF1_u64;
    let mut below = |most: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % most as u64).unwrap()
    };
    let (mut taken, mut wrong) = (0, Vec::new());
    for _ in 0..100_000 {
        let text: String = (0..=below(14)).map(|_| PIECES[below(PIECES.len())]).collect();
        if read(&text).is_some() {
            taken += 1;
            wrong.extend(problem("random", &text, None).map(|why| format!("{text:?} {why:?}")));
        }
    }
    wrong.sort_by_key(String::len);
    assert!(wrong.is_empty(), "{} of {taken}: {}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    assert!(taken > 10_000, "{taken}");
}
