//! What a fork's pull request may hold: each ends in an error with a place, or is taken, within [`MEMORY`] and
//! [`PATIENCE`], and never by a panic or a signal.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::{long, program};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The most memory that the compiler may take, in octets, as the server grants it.
const MEMORY: u64 = 2 << 30;
/// The longest that it may take; the server grants as much, and a test's machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

const HEAD: &str =
    "waybill 1\nhost \"mail.example.org\" { address \"192.0.2.25\"; }\nstore \"local\" { rocksdb \"data\"; }\n";

fn spec(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mail.kdl"), text).unwrap();
    folder
}

/// Runs a command on a folder under the limits; its exit code, and what it said for people.
fn bounded(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let began = Instant::now();
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={MEMORY}")).arg("--core=0").arg("timeout").arg(PATIENCE.as_secs().to_string());
    command.arg(program("waybill")).arg(arguments[0]).arg(folder).args(&arguments[1..]);
    let output = command.env_clear().stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let head: String = said.chars().take(2000).collect();
    let code = output.status.code().unwrap_or_else(|| panic!("ended by a signal: {head}"));
    assert!(!said.contains("panicked") && !said.contains("overflow"), "{head}");
    assert!(code <= 2, "exit {code} after {:?}: {head}", began.elapsed());
    (code, said)
}

/// It is refused with this code, at this place.
fn refused(folder: &TempDir, code: &str, place: &str) {
    let (exit, said) = bounded(folder.path(), &["check"]);
    let head: String = said.chars().take(3000).collect();
    assert_eq!(exit, 1, "{head}");
    assert!(said.contains(&format!("error[{code}]")) && said.contains(place), "no {code} at {place}: {head}");
}

fn taken(folder: &TempDir) {
    let (exit, said) = bounded(folder.path(), &["check"]);
    assert_eq!(exit, 0, "{}", said.chars().take(3000).collect::<String>());
}

#[test]
fn a_gigabyte_of_braces() {
    let folder = spec(&format!("{HEAD}include \"big.kdl\"\n"));
    let mut file = fs::File::create(folder.path().join("big.kdl")).unwrap();
    file.write_all("a{".repeat(1 << 20).as_bytes()).unwrap();
    // The rest is a hole, which costs no disk.
    file.set_len(1 << 30).unwrap();
    refused(&folder, "W0102", "mail.kdl:4:9");
    // As much as a file may have.
    let deep = "a{".repeat(if long() { 31 << 20 } else { 4 << 20 });
    fs::write(folder.path().join("big.kdl"), deep).unwrap();
    refused(&folder, "W0103", "big.kdl:1:");
    // Nothing but lines that go on is nothing at all.
    fs::write(folder.path().join("big.kdl"), "\\\n".repeat(1 << 20)).unwrap();
    taken(&folder);
    for piece in ["/*", "\"", "(a)", "/-", "a=1 ", "#\"", "\"\"\"\n", "}"] {
        fs::write(folder.path().join("big.kdl"), piece.repeat(1 << 20)).unwrap();
        let (exit, said) = bounded(folder.path(), &["check"]);
        assert!(exit == 1 && said.contains("big.kdl:"), "{piece}: {}", said.chars().take(500).collect::<String>());
        assert_ne!(bounded(folder.path(), &["fmt", "--check"]).0, 2);
    }
}

#[test]
fn includes_in_circles_and_out_of_the_folder() {
    let circle = spec(&format!("{HEAD}include \"a.kdl\"\n"));
    fs::write(circle.path().join("a.kdl"), "include \"b.kdl\" \"mail.kdl\" \"*.kdl\"\n").unwrap();
    fs::write(circle.path().join("b.kdl"), "include \"a.kdl\"\ndomain \"example.org\" { account \"ada\"; }\n").unwrap();
    taken(&circle);
    // One file, included ten thousand times.
    let many = spec(&format!("{HEAD}{}", "include \"a.kdl\"\n".repeat(10_000)));
    fs::write(many.path().join("a.kdl"), "domain \"example.org\" { account \"ada\"; }\n").unwrap();
    taken(&many);

    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x.kdl"), "planted\n").unwrap();
    let real = outside.path().canonicalize().unwrap();
    for pattern in ["../x.kdl", "/etc/passwd", "link.kdl", "folder/x.kdl", "folder/*.kdl", "a/../../x.kdl", "zero.kdl"]
    {
        let folder = spec(&format!("{HEAD}include \"{pattern}\"\n"));
        symlink(real.join("x.kdl"), folder.path().join("link.kdl")).unwrap();
        symlink(&real, folder.path().join("folder")).unwrap();
        symlink("/dev/zero", folder.path().join("zero.kdl")).unwrap();
        refused(&folder, "W0106", "mail.kdl:4:9");
    }
    let around = spec(&format!("{HEAD}include \"loop/loop/*.kdl\"\n"));
    symlink("loop", around.path().join("loop")).unwrap();
    let (_, said) = bounded(around.path(), &["check"]);
    assert!(!said.contains("planted"));
}

#[test]
fn more_than_a_spec_may_hold() {
    // One large file by many names.
    let folder = spec(&format!("{HEAD}include \"l/*.kdl\"\n"));
    fs::write(folder.path().join("big.kdl"), "\n".repeat(60 << 20)).unwrap();
    fs::create_dir(folder.path().join("l")).unwrap();
    for n in 0..1000 {
        symlink("../big.kdl", folder.path().join(format!("l/{n}.kdl"))).unwrap();
    }
    refused(&folder, "W0102", "mail.kdl:4:9");
    // As many nodes as fit into a file, in one and in several.
    fs::write(folder.path().join("big.kdl"), "a\n".repeat(30 << 20)).unwrap();
    refused(&folder, "W0102", "holds more than");
    fs::write(folder.path().join("big.kdl"), "a 1\n".repeat(2_000_000)).unwrap();
    refused(&folder, "W0102", "nodes and values");
    // Patterns that match many names, many times.
    let folder = spec(&format!("{HEAD}{}", "include \"l/*.kdl\" \"l/*?.kdl\"\n".repeat(3000)));
    fs::create_dir(folder.path().join("l")).unwrap();
    for n in 0..1000 {
        fs::write(folder.path().join(format!("l/{n}.kdl")), "").unwrap();
    }
    refused(&folder, "W0102", "match more than");
}

#[test]
fn pipes_and_devices() {
    let folder = spec(&format!("{HEAD}include \"pipe.kdl\"\n"));
    harness::run("mkfifo", &[folder.path().join("pipe.kdl").to_str().unwrap()]);
    refused(&folder, "W0101", "mail.kdl:4:9");
    let folder = tempfile::tempdir().unwrap();
    harness::run("mkfifo", &[folder.path().join("mail.kdl").to_str().unwrap()]);
    let (exit, said) = bounded(folder.path(), &["check"]);
    assert!(exit == 1 && said.contains("error[W0101]"), "{said}");
}

#[test]
fn secrets_are_not_read_from_elsewhere() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("key.pem"), "planted").unwrap();
    for name in ["../key.pem", "/etc/passwd", "link.pem", "pipe.pem", "zero.pem"] {
        let folder = spec(&format!(
            "{HEAD}domain \"example.org\" {{\n    dkim {{ key \"a\" ed25519 private=(file)\"{name}\"; }}\n    account \"ada\"\n}}\n"
        ));
        symlink(outside.path().join("key.pem"), folder.path().join("link.pem")).unwrap();
        symlink("/dev/zero", folder.path().join("zero.pem")).unwrap();
        harness::run("mkfifo", &[folder.path().join("pipe.pem").to_str().unwrap()]);
        for more in [&["check"][..], &["check", "--secrets"]] {
            let (exit, said) = bounded(folder.path(), more);
            assert!(exit == 1 && said.contains("mail.kdl:5:") && !said.contains("planted"), "{name}: {said}");
        }
    }
}

#[test]
fn chains_of_like_and_heavy_defaults() {
    let count = if long() { 100_000 } else { 20_000 };
    let mut text = format!("{HEAD}domain \"d0.example\" {{ account \"ada\"; }}\n");
    for n in 1..count {
        let _ = writeln!(text, "domain \"d{n}.example\" like=\"d{}.example\"", n - 1);
    }
    refused(&spec(&text), "W0172", "mail.kdl:");
    // Everybody like one who says much, and defaults that say much.
    let records: String = (0..2000).map(|n| format!("        record \"r{n}\" TXT \"{}\"\n", "x".repeat(200))).collect();
    let many = |like: &str| (0..10_000).map(|n| format!("domain \"d{n}.example\"{like}\n")).collect::<String>();
    let defaults = format!("{HEAD}defaults {{\n    domain {{\n    dns {{\n{records}    }}\n    }}\n}}\n{}", many(""));
    refused(&spec(&defaults), "W0173", "mail.kdl:");
    let like = many(" like=\"m.example\"");
    refused(
        &spec(&format!("{HEAD}domain \"m.example\" {{\n    dns {{\n{records}    }}\n}}\n{like}")),
        "W0173",
        "mail.kdl:",
    );
}

#[test]
fn many_people_and_deep_groups() {
    let count = if long() { 1_000_000 } else { 100_000 };
    let aliases: String = (0..count).fold(String::new(), |mut text, n| {
        let _ = write!(text, " \"a{n}\"");
        text
    });
    taken(&spec(&format!("{HEAD}domain \"example.org\" {{\n    account \"ada\" {{ alias{aliases}; }}\n}}\n")));
    let groups: String = (0..20_000).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "    group \"g{n}\" {{ member \"g{}\"; }}", n + 1);
        text
    });
    let deep = |last: &str| {
        format!(
            "{HEAD}domain \"example.org\" {{\n{groups}    group \"g20000\" {{ member \"{last}\"; }}\n    account \"ada\"\n}}\n"
        )
    };
    taken(&spec(&deep("ada")));
    refused(&spec(&deep("g0")), "W0303", "mail.kdl:");
}

#[test]
fn people_by_the_million() {
    let folder = spec(&format!("{HEAD}domain \"example.org\" {{ accounts from=\"people.csv\"; }}\n"));
    let file = folder.path().join("people.csv");
    // Ten million lines: of two octets each, and of more than a file may have.
    let lines = if long() { 10_000_000 } else { 2_000_000 };
    fs::write(&file, "local\n".to_owned() + &"a\n".repeat(lines)).unwrap();
    refused(&folder, "W0315", "people.csv:1000002:1");
    fs::write(&file, "local\n".to_owned() + &"abcdefg\n".repeat(10_000_000)).unwrap();
    refused(&folder, "W0102", "mail.kdl:4:");
    fs::write(&file, "local\n\"".to_owned() + &"a".repeat(32 << 20)).unwrap();
    let (exit, said) = bounded(folder.path(), &["check"]);
    assert!(exit == 1 && said.contains("people.csv:2:"), "{}", said.chars().take(800).collect::<String>());
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x.csv"), "local\nplanted\n").unwrap();
    for (name, target) in [("link.csv", outside.path().join("x.csv")), ("zero.csv", "/dev/zero".into())] {
        let folder = spec(&format!("{HEAD}domain \"example.org\" {{ accounts from=\"{name}\"; }}\n"));
        symlink(target, folder.path().join(name)).unwrap();
        refused(&folder, "W0106", "mail.kdl:4:");
    }
}

#[test]
fn scripts_are_not_read_from_elsewhere() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x.sieve"), "planted;").unwrap();
    for name in ["../x.sieve", "link.sieve", "pipe.sieve", "zero.sieve"] {
        let folder = spec(&format!("{HEAD}domain \"example.org\" {{ sieve \"{name}\"; account \"ada\"; }}\n"));
        symlink(outside.path().join("x.sieve"), folder.path().join("link.sieve")).unwrap();
        symlink("/dev/zero", folder.path().join("zero.sieve")).unwrap();
        harness::run("mkfifo", &[folder.path().join("pipe.sieve").to_str().unwrap()]);
        let (exit, said) = bounded(folder.path(), &["check"]);
        assert!(exit == 1 && said.contains("mail.kdl:4:") && !said.contains("planted"), "{name}: {said}");
    }
    let deep = spec(&format!("{HEAD}domain \"example.org\" {{ sieve \"deep.sieve\"; account \"ada\"; }}\n"));
    for piece in ["if true {", "allof(", "[", "/*", "\"", "text:\n", "if not "] {
        fs::write(deep.path().join("deep.sieve"), piece.repeat(1 << 17)).unwrap();
        let (exit, said) = bounded(deep.path(), &["check"]);
        assert!(exit == 1 && said.contains("deep.sieve"), "{piece}: {}", said.chars().take(800).collect::<String>());
    }
}

#[test]
fn what_is_drawn_and_compared_is_bounded_too() {
    let domains: String = (0..5000).map(|n| format!("domain \"d{n}.example\"\n")).collect();
    let (old, new) = (spec(&format!("{HEAD}{domains}")), spec(HEAD));
    let (exit, _) = bounded(old.path(), &["graph", "--out", old.path().join("x.svg").to_str().unwrap()]);
    assert_eq!(exit, 0);
    assert!(fs::metadata(old.path().join("x.svg")).unwrap().len() < 50_000);
    assert_eq!(bounded(old.path(), &["diff", new.path().to_str().unwrap(), "--format", "markdown"]).0, 2);
}
