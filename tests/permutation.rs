//! Order and layout change no meaning: a build of any permutation of nodes and files gives the same octets, and `fmt`
//! of any layout builds the same, keeps every comment where it is, and has nothing more to do.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use compiler::diagnostic::machine;
use compiler::format::format;
use compiler::pipeline::{Wish, compile};
use harness::{long, root, written};
use kdl::{KdlDocument, KdlNode};
use std::fs;
use std::path::Path;

const NOW: i64 = 1_795_478_400;

/// xorshift64
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most.max(1) as u64).unwrap()
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

type Files = Vec<(String, String)>;

/// The examples, and what passes on the manual's pages; each the files of a spec.
fn specs() -> Vec<(String, Files)> {
    let mut specs = Vec::new();
    for (name, files) in [
        ("company", &["mail.kdl", "domains/example.com.kdl", "domains/shop.example.kdl"][..]),
        ("family", &["mail.kdl"]),
    ] {
        let folder = root().join("examples").join(name);
        let read = |file: &&str| ((*file).to_owned(), fs::read_to_string(folder.join(file)).unwrap());
        specs.push((name.to_owned(), files.iter().map(read).collect()));
    }
    let pages = fs::read_dir(root().join("tests/spec")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = pages.collect();
    pages.sort();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for (n, block) in text.split("\n```kdl\n").skip(1).enumerate() {
            let mut text = block.split("```").next().unwrap().to_owned();
            for (node, default) in [
                ("waybill ", "waybill 1\n"),
                ("host ", "host \"mail.example.org\" { address \"192.0.2.25\"; }\n"),
                ("store ", "store \"local\" { rocksdb \"data\"; }\n"),
            ] {
                if !text.lines().any(|line| line.starts_with(node)) {
                    text += default;
                }
            }
            let name = format!("{}#{n}", page.file_stem().unwrap().to_str().unwrap());
            specs.push((name, vec![("mail.kdl".to_owned(), text)]));
        }
    }
    specs
}

fn write(folder: &Path, files: &Files) {
    for (name, text) in files {
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }
}

/// What a spec means: what is built of it, or, where it is refused, every finding without its place.
fn meaning(files: &Files) -> Result<String, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    let compiled = compile(&Wish::new(folder.path(), NOW));
    match &compiled.artefacts {
        Some(built) => Ok(written(|to| built.runtime_json(&mut *to).and_then(|()| built.records_json(to)))),
        None => {
            let found = compiled.report.diagnostics().iter();
            let mut found: Vec<String> = found
                .map(|one| {
                    format!(
                        "{} {}",
                        one.code.id(),
                        compiled.located.at(&machine::place(one, &compiled.located)).len().min(1)
                    )
                })
                .collect();
            found.sort();
            Err(found)
        }
    }
}

/// Whether the order of a node's children means nothing, but for accounts, of whom the first stands in for postmaster.
fn is_a_set(name: &str) -> bool {
    ["domain", "host", "defaults", "limits", "queue", "dmarc", "storage"].contains(&name)
}

fn shuffled(document: &mut KdlDocument, random: &mut Random) {
    let accounts: Vec<KdlNode> =
        document.nodes().iter().filter(|node| node.name().value() == "account").cloned().collect();
    random.shuffle(document.nodes_mut());
    let mut accounts = accounts.into_iter();
    for node in document.nodes_mut() {
        if node.name().value() == "account" {
            *node = accounts.next().unwrap();
        }
        if is_a_set(node.name().value())
            && let Some(children) = node.children_mut()
        {
            shuffled(children, random);
        }
    }
}

/// The nodes of all files in any order, over any number of files.
fn permuted(files: &Files, random: &mut Random) -> Option<Files> {
    let mut all = KdlDocument::new();
    for (_, text) in files {
        let document: KdlDocument = text.parse().ok()?;
        let nodes = document.nodes().iter().filter(|node| node.name().value() != "include");
        all.nodes_mut().extend(nodes.cloned());
    }
    shuffled(&mut all, random);
    let count = 1 + random.below(4);
    let mut parts: Vec<String> = vec![String::new(); count];
    for node in all.nodes() {
        let mut alone = KdlDocument::new();
        alone.nodes_mut().push(node.clone());
        alone.autoformat();
        parts[random.below(count)] += &format!("{alone}\n");
    }
    let mut out: Files = Vec::new();
    for (n, part) in parts.into_iter().enumerate() {
        let name = if n == 0 { "mail.kdl".to_owned() } else { format!("part/{}.kdl", random.below(1000) * 10 + n) };
        out.push((name, part));
    }
    let mut names: Vec<String> = out.iter().skip(1).map(|(name, _)| format!("include \"{name}\"\n")).collect();
    random.shuffle(&mut names);
    out[0].1 += &names.concat();
    Some(out)
}

#[test]
fn order_means_nothing() {
    let mut random = Random(0x0BAD_5EED_0BAD_5EED);
    let mut compared = 0;
    for (name, files) in specs() {
        // What is refused may be refused elsewhere first.
        let Ok(wanted) = meaning(&files) else { continue };
        let rounds = if files.len() > 1 || long() { 12 } else { 2 };
        for _ in 0..rounds {
            let Some(permuted) = permuted(&files, &mut random) else { continue };
            let got = meaning(&permuted).unwrap_or_else(|found| panic!("{name}: {found:#?}\n{permuted:#?}"));
            assert!(got == wanted, "{name} builds something else from\n{permuted:#?}");
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared}");
}

/// Another layout of the same nodes, with comments of our own.
fn relaid(text: &str, random: &mut Random, comments: &mut usize) -> String {
    let mut out = String::new();
    let mut comment = || {
        *comments += 1;
        format!("// c{comments}")
    };
    for line in text.lines() {
        let plain = !line.contains("//") && !line.trim_end().ends_with('\\');
        match random.below(9) {
            0 => out += "\n\n\n",
            1 => out += &format!("{}{}\n", " ".repeat(random.below(9)), comment()),
            _ => {}
        }
        let indent = ["", " ", "\t", "      "][random.below(4)];
        let line = line.trim_start();
        let line = if plain && random.below(3) == 0 {
            line.replace(" {", "   {").replace("; }", " ;  }")
        } else {
            line.to_owned()
        };
        out += &format!("{indent}{line}");
        match random.below(6) {
            0 if plain => out += &format!("  {}", comment()),
            1 => out += "   ",
            _ => {}
        }
        out.push('\n');
    }
    out
}

/// Our own comments in their order.
fn comments(text: &str) -> Vec<&str> {
    text.match_indices("// c").map(|(at, _)| text[at..].split_whitespace().nth(1).unwrap()).collect()
}

#[test]
fn layout_means_nothing() {
    let mut random = Random(0x5EED_0BAD_5EED_0BAD);
    let mut compared = 0;
    for (name, files) in specs() {
        // Inside a text of several lines, and a comment of several, layout is not layout.
        if files.iter().any(|(_, text)| text.contains("\"\"\"") || text.contains("/*")) {
            continue;
        }
        let wanted = meaning(&files);
        for _ in 0..if files.len() > 1 || long() { 12 } else { 2 } {
            let mut count = 0;
            let one = |(file, text): &(String, String)| (file.clone(), relaid(text, &mut random, &mut count));
            let odd: Files = files.iter().map(one).collect();
            let mut laid: Files = Vec::new();
            for (file, text) in &odd {
                let Ok(done) = format(text) else { continue };
                assert_eq!(comments(text), comments(&done), "{name}: {text}");
                assert_eq!(format(&done).as_deref(), Ok(done.as_str()), "{name}: {text}");
                laid.push((file.clone(), done));
            }
            if laid.len() < odd.len() {
                assert!(wanted.is_err(), "{name} is not laid out: {odd:#?}");
                continue;
            }
            assert!(meaning(&odd) == wanted, "{name} means something else in another layout: {odd:#?}");
            assert!(meaning(&laid) == wanted, "{name} means something else laid out: {laid:#?}");
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared}");
}
