//! The test suite of KDL itself, which the crate `kdl` brings with it: our reader takes and refuses what it says, and
//! `waybill fmt` changes nothing that a text says.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use cargo_metadata::MetadataCommand;
use compiler::format::format;
use compiler::read::scan::scan;
use compiler::read::token::{Kind, Tokens};
use compiler::read::tree::{Node, Nodes, Scalar, Tree, Value, parse};
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

/// The tree of the `kdl` crate, said as ours is; `None` where it refuses the text.
fn theirs(text: &str) -> Option<String> {
    let document = kdl::KdlDocument::parse_v2(text).ok()?;
    Some(their_nodes(&document))
}

fn their_nodes(document: &kdl::KdlDocument) -> String {
    let ty = |ty: Option<&kdl::KdlIdentifier>| ty.map(|ty| ty.value().to_owned());
    let value = |entry: &kdl::KdlEntry| {
        let scalar = match entry.value() {
            kdl::KdlValue::String(text) => Scalar::Text(text),
            kdl::KdlValue::Integer(number) => Scalar::Whole(*number),
            kdl::KdlValue::Float(number) => Scalar::Float(*number),
            kdl::KdlValue::Bool(truth) => Scalar::Truth(*truth),
            kdl::KdlValue::Null => Scalar::Null,
        };
        format!("{:?}{scalar:?}", ty(entry.ty()))
    };
    let one = |node: &kdl::KdlNode| {
        let arguments: Vec<_> = node.entries().iter().filter(|entry| entry.name().is_none()).map(value).collect();
        let named = |entry: &kdl::KdlEntry| entry.name().map(|name| (name.value().to_owned(), value(entry)));
        let properties: BTreeMap<_, _> = node.entries().iter().filter_map(named).collect();
        let children = node.children().map(their_nodes).unwrap_or_default();
        format!("{:?}{:?}{arguments:?}{properties:?}{{{children}}}\n", ty(node.ty()), node.name().value())
    };
    document.nodes().iter().map(one).collect()
}

/// Where the crate and the suite of KDL are at odds, or the crate and the text of KDL 2.0: what the text holds, and why
/// we differ.
fn is_known(text: &str) -> bool {
    // The crate takes numbers that no i128 holds as floats, and we refuse them.
    let long = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word.len() > 30);
    // It takes characters in comments that may stand nowhere (KDL 2.0 §3.19).
    let hidden = |c: char| matches!(c, '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{feff}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // It refuses what the grammar has: a commented out node that ends in `;`, and `/-` before a block without a space.
    // It takes what the grammar has not: one `/-` behind another.
    let dashes = text.match_indices("/-").any(|(at, _)| {
        let (before, behind) = (&text[..at], text[at + 2..].trim_start());
        let node =
            before.trim_end().is_empty() || before.trim_end_matches([' ', '\t']).ends_with(['\n', '\r', ';', '{']);
        let stuck = before.chars().next_back().is_some_and(|c| !c.is_whitespace() && !matches!(c, '{' | ';'));
        let behind = behind.trim_start_matches(['\\', '\n', ' ', '\u{a0}']);
        (node && behind.contains(';')) || stuck || behind.starts_with("/-")
    });
    // It lets something follow a block on its line.
    let after = text.match_indices('}').any(|(at, _)| {
        let behind = text[at + 1..].trim_start_matches([' ', '\t', '\u{a0}']);
        !behind.is_empty() && !behind.starts_with(['\n', '\r', '\u{2028}', ';', '}'])
    });
    // It goes on behind a keyword that is none, as in `#nullull`.
    let keyword = ["#null", "#true", "#false", "#inf", "#nan"].iter().any(|word| {
        text.match_indices(word).any(|(at, _)| text[at + word.len()..].starts_with(|c: char| c.is_alphanumeric()))
    });
    // A raw string of one line does not begin with two quotes (KDL 2.0, `single-line-raw-string-body`).
    let raw = text
        .match_indices("#\"\"\"")
        .any(|(at, _)| !text[at + 4..].starts_with(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}']));
    // It takes the word `-inf`, which is none (`disallowed-keyword-identifiers`).
    let inf = text.match_indices("-inf").any(|(at, _)| !text[..at].ends_with('#'));
    // It takes a version marker as a comment alone.
    after || keyword || inf || long || dashes || raw || text.contains(hidden) || text.contains("kdl-version")
}

/// One small thing wrong, or not, with a text.
fn mutated(text: &str, below: &mut impl FnMut(usize) -> usize) -> String {
    const PIECES: [&str; 26] = [
        "{", "}", "\"", "(", ")", ";", "=", "/*", "*/", "/-", "//", "\\", "\n", "#", "#true", "-1", "0x", "\"\"\"",
        "#\"", "\"#", " ", "\u{a0}", "\r\n", "\u{2028}", "é", "1.5e3",
    ];
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut pick = || ends[below(ends.len())];
    let (a, b) = (pick(), pick());
    let (from, to) = (a.min(b), a.max(b));
    match below(5) {
        0 | 1 => format!("{}{}{}", &text[..from], PIECES[below(PIECES.len())], &text[from..]),
        2 => {
            let end = text[from..].chars().next().map_or(from, |c| from + c.len_utf8());
            format!("{}{}", &text[..from], &text[end..])
        }
        3 => format!(
            "{}{}",
            &text[..from],
            &text[text.ceil_char_boundary(to.min(from + 12).max(from))..].trim_start_matches(|c: char| !c.is_ascii())
        ),
        _ => {
            let end = text.ceil_char_boundary((from + 8).min(text.len()));
            format!("{}{}{}", &text[..to], &text[from..end], &text[to..])
        }
    }
}

/// KDL's own cases and our examples, each changed a little: taken and refused as the `kdl` crate does, with the same
/// values. And no octets at all make the reader panic.
#[test]
fn what_is_changed_a_little_is_read_as_the_crate_reads_it() {
    let mut texts = Vec::new();
    let mut folders = vec![folder().join("input"), harness::root().join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "kdl") {
                texts.extend(fs::read_to_string(&path).ok().filter(|text| text.len() < 4000));
            }
        }
    }
    texts.sort();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = move |most: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % most as u64).unwrap()
    };
    let (mut taken, mut refused, mut known, mut wrong) = (0, 0, 0, Vec::new());
    for round in 0..if harness::long() { 500_000 } else { 10_000 } {
        let mut text = texts[round % texts.len()].clone();
        for _ in 0..=below(2) {
            text = mutated(&text, &mut below);
        }
        let ours = read(&text).map(|tree| said(tree.nodes(0)));
        match &ours {
            Some(_) => taken += 1,
            None => refused += 1,
        }
        let theirs = theirs(&text);
        if ours != theirs {
            match is_known(&text) {
                true => known += 1,
                false => wrong.push(format!("{text:?}\n  ours {ours:?}\n  theirs {theirs:?}")),
            }
        }
        let octets: Vec<u8> = text.bytes().map(|octet| if below(40) == 0 { below(256) as u8 } else { octet }).collect();
        drop(parse(&*String::from_utf8_lossy(&octets)));
    }
    wrong.sort_by_key(String::len);
    assert!(wrong.is_empty(), "{} of {taken}: {}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
    // What is known to differ is rare, so that it hides nothing.
    assert!(known * 20 < taken + refused, "{known} of {taken} and {refused}");
}
