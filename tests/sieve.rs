//! The pages of `tests/sieve`: scripts and all that is wrong with them, held against Pigeonhole's `sievec` too; and
//! the scripts beside them, as people and their programs write them, which are fine.
#![allow(clippy::unwrap_used, reason = "tests")]

use harness::root;
use mail::sieve::{Capabilities, Kind, check, parse, print};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

struct Case {
    /// The page and line.
    at: String,
    script: String,
    problems: Vec<String>,
    /// Whether `sievec` has a say.
    both: bool,
}

fn pages() -> Vec<(String, String)> {
    let folder = fs::read_dir(root().join("tests/sieve")).unwrap();
    let mut pages: Vec<_> = folder
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    pages.sort();
    pages
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (name, text) in pages() {
        if name.ends_with(".sieve") {
            let alone = name == "postmaster.sieve"; // sievec knows commands it has no `ihave` for
            cases.push(Case { at: name, script: text, problems: Vec::new(), both: !alone });
            continue;
        }
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else { continue };
            let block: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            match kind.split(' ').next().unwrap() {
                "sieve" => cases.push(Case {
                    at: format!("{name}:{}", number + 1),
                    script: block.join("\n") + "\n",
                    problems: Vec::new(),
                    both: !kind.contains(" alone "),
                }),
                "problems" => cases.last_mut().unwrap().problems = block.iter().map(|&line| line.into()).collect(),
                other => panic!("what is a `{other}` block?"),
            }
        }
    }
    cases
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Syntax => "syntax",
        Kind::Unknown => "unknown",
        Kind::Argument => "argument",
        Kind::Value => "value",
        Kind::NotOffered => "not-offered",
        Kind::NotRequired => "not-required",
        Kind::Order => "order",
        Kind::Limit => "limit",
        Kind::Unreachable => "unreachable",
        Kind::NoEffect => "no-effect",
        Kind::Doubtful => "doubtful",
    }
}

/// `LINE:COLUMN kind words`.
fn told(script: &str) -> Vec<String> {
    let place = |at: usize| {
        let before = &script[..at];
        let line = before.rsplit('\n').next().unwrap();
        format!("{}:{}", before.matches('\n').count() + 1, line.chars().count() + 1)
    };
    let found = check(script, &Capabilities::all());
    let told = found.iter().map(|one| {
        assert!(!one.help.is_empty() || one.kind == Kind::Unknown, "no help for {one:?}");
        format!("{} {} {}", place(one.span.start), name(one.kind), one.says)
    });
    told.collect()
}

#[test]
fn the_pages_are_true() {
    let mut wrong = Vec::new();
    for case in cases() {
        let told = told(&case.script);
        let same = told.len() == case.problems.len()
            && case.problems.iter().all(|want| told.iter().any(|one| one.starts_with(want.as_str())));
        if !same {
            wrong.push(format!("{}:\n  {}", case.at, told.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_fine_is_printed_and_read_again_as_the_same() {
    for case in cases().iter().filter(|case| case.problems.is_empty()) {
        let printed = print::print(&parse(&case.script).0);
        let (again, problems) = parse(&printed);
        assert!(problems.is_empty(), "{}: {problems:?} in {printed}", case.at);
        assert_eq!(print::print(&again), printed, "{}", case.at);
        assert_eq!(check(&printed, &Capabilities::all()), [], "{}: {printed}", case.at);
    }
}

/// What Pigeonhole has and does not switch on by itself.
const MORE: &str = "+vacation-seconds +spamtest +spamtestplus +virustest +editheader +mboxmetadata +servermetadata \
                    +special-use";

/// Whether `sievec` takes a script, and what it says.
fn sievec(folder: &Path, script: &str) -> (bool, String) {
    let (file, out) = (folder.join("script.sieve"), folder.join("script.svbin"));
    fs::write(&file, script).unwrap();
    let mut sievec = Command::new("sievec");
    sievec.args(["-c", "/dev/null", "-x", MORE]).args([&file, &out]).env("HOME", folder);
    let said = sievec.stdin(Stdio::null()).output().unwrap();
    (said.status.success(), String::from_utf8_lossy(&said.stderr).into_owned())
}

#[test]
fn sievec_takes_and_refuses_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for case in cases().iter().filter(|case| case.both) {
        let (theirs, told) = sievec(folder.path(), &case.script);
        let ours = check(&case.script, &Capabilities::all()).iter().all(|problem| problem.kind.is_warning());
        if theirs != ours {
            wrong.push(format!("{}: {ours} {told}", case.at));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where we are stricter than `sievec` by a rule: what a script holds then, and the rule.
const STRICTER: [(&str, &str); 1] =
    [("deleteheader :index 1 :last :contains [", "RFC 5293 §5: the name of a field is one string")];

#[test]
fn sievec_takes_and_refuses_the_same_where_a_word_is_missing() {
    // Each is a process: every word takes a while.
    let step = if std::env::var("WAYBILL_LONG").is_ok_and(|long| long == "1") { 1 } else { 11 };
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for case in cases().iter().filter(|case| case.both && case.problems.is_empty()) {
        let words: Vec<&str> = case.script.split_inclusive([' ', '\n']).collect();
        for skip in (0..words.len()).step_by(step) {
            let rest = words.iter().enumerate().filter(|(at, _)| *at != skip);
            let script: String = rest.map(|(_, word)| *word).collect();
            if STRICTER.iter().any(|(words, _)| script.contains(words)) {
                continue;
            }
            let (theirs, told) = sievec(folder.path(), &script);
            let found = check(&script, &Capabilities::all());
            if theirs != found.iter().all(|problem| problem.kind.is_warning()) {
                wrong.push(format!("{} without `{}`: {found:#?}\n{told}", case.at, words[skip].trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
