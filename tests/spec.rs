//! The pages of `tests/spec` and `docs` are the manual of the language, and tests: each `kdl` block is compiled, and the blocks
//! that follow it say what must come of it.
//!
//! - `kdl` is `mail.kdl`; what it lacks of version, host and store is appended. `kdl secrets` opens secrets too,
//!   `kdl env NAME` chooses an environment.
//! - `file NAME` is another file, `secret NAME` one that only its owner reads; `certificate NAME` makes NAME.pem and
//!   NAME.key; `large NAME` is a file of so many octets; `chain NAME` is files that each include the next;
//!   `people NAME` is a CSV file of so many people.
//! - `zone` lines must stand in the zones as they are; `no-zone` words must not stand there.
//! - `runtime` is JSON that must be a part of `runtime.json`.
//! - `error` and `warning` lines, `CODE FILE:LINE:COLUMN words`, must be found: all errors, and these warnings.
//! - `no-warning` codes must not be found.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use compiler::code::{Code, Severity};
use compiler::diagnostic::machine;
use compiler::pipeline::{Compiled, Wish, compile};
use harness::{root, written};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Codes whose cause no page of one spec can hold: a mistake of the compiler itself, what is only too much, which
/// `hostile.rs` tests, and steps from one spec to another, whose pages `diff.rs` tests.
const ELSEWHERE: [&str; 14] = [
    "W0123", "W0172", "W0173", "W0800", "W0801", "W0802", "W0803", "W0810", "W0811", "W0812", "W0813", "W0814",
    "W0815", "W0816",
];
/// When the pages are: 2026-11-24.
const NOW: i64 = 1_795_478_400;

#[derive(Default)]
struct Case {
    line: usize,
    /// Opens secrets.
    secrets: bool,
    environment: Option<String>,
    /// Its kind, `file` or another, its name, and its text.
    files: Vec<(&'static str, String, String)>,
    zone: Vec<String>,
    no_zone: Vec<String>,
    runtime: Option<Json>,
    errors: Vec<String>,
    warnings: Vec<String>,
    no_warnings: Vec<String>,
}

fn cases(page: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else { continue };
        let block: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let text = block.join("\n") + "\n";
        let list = || block.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        // Commands and other languages' texts are for other tests.
        if ["sh", "console", "text", "json", "lua", "toml", "yaml"].contains(&kind) {
            continue;
        }
        let environment = kind.strip_prefix("kdl env ").map(str::to_owned);
        if kind == "kdl" || kind == "kdl secrets" || environment.is_some() {
            let files = vec![("file", "mail.kdl".into(), text)];
            cases.push(Case {
                line: number + 1,
                secrets: kind == "kdl secrets",
                environment,
                files,
                ..Case::default()
            });
            continue;
        }
        let case = cases.last_mut().unwrap();
        match kind.split_once(' ').unwrap_or((kind, "")) {
            ("file", name) => case.files.push(("file", name.to_owned(), text)),
            ("secret", name) => case.files.push(("secret", name.to_owned(), text)),
            ("certificate", name) => case.files.push(("certificate", name.to_owned(), text)),
            ("large", name) => case.files.push(("large", name.to_owned(), text)),
            ("people", name) => case.files.push(("people", name.to_owned(), text)),
            ("chain", name) => case.files.push(("chain", name.to_owned(), text)),
            ("zone", _) => case.zone = list(),
            ("no-zone", _) => case.no_zone = list(),
            ("runtime", _) => case.runtime = Some(serde_json::from_str(&text).unwrap()),
            ("error", _) => case.errors = list(),
            ("warning", _) => case.warnings = list(),
            ("no-warning", _) => case.no_warnings = list(),
            _ => panic!("line {number}: what is a `{kind}` block?"),
        }
    }
    cases
}

const HOST: &str = "host \"mail.example.org\" { address \"192.0.2.25\"; }\n";
const STORE: &str = "store \"local\" { rocksdb \"data\"; }\n";

fn compiled(case: &Case) -> Compiled {
    let folder = tempfile::tempdir().unwrap();
    for (kind, name, text) in &case.files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let number = || text.split(' ').next().unwrap().parse::<usize>().unwrap();
        match *kind {
            "certificate" => certificate(&path, text),
            "large" => fs::write(path, "\n".repeat(number())).unwrap(),
            "people" => {
                let rows: String = (0..number()).map(|n| format!("u{n}\n")).collect();
                fs::write(path, format!("local\n{rows}")).unwrap();
            }
            "chain" => {
                let file = |n: usize| if n == 0 { format!("{name}.kdl") } else { format!("{name}{n}.kdl") };
                for n in 0..number() {
                    let next = format!("include \"{}\"\n", file(n + 1));
                    fs::write(folder.path().join(file(n)), next).unwrap();
                }
            }
            _ => {
                let whole = name != "mail.kdl" || case.files.iter().any(|(.., text)| text.contains("bare spec"));
                fs::write(&path, if whole { text.clone() } else { completed(text) }).unwrap();
            }
        }
        if *kind == "secret" {
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    let environment = case.environment.as_deref();
    compile(&Wish { secrets: case.secrets, environment, ..Wish::new(folder.path(), NOW) })
}

/// With the version, host and store that it lacks.
fn completed(text: &str) -> String {
    let mut text = text.to_owned();
    for (node, default) in [("waybill ", "waybill 1\n"), ("host ", HOST), ("store ", STORE)] {
        if !text.lines().any(|line| line.starts_with(node)) {
            text += default;
        }
    }
    text
}

/// A self-signed certificate and its key: `names` and `until` as the page says.
fn certificate(path: &Path, text: &str) {
    let said = |word: &str| text.lines().find_map(|line| line.strip_prefix(word)).unwrap().trim();
    let names: Vec<String> = said("names").split(' ').map(str::to_owned).collect();
    let date: Vec<i32> = said("until").split('-').map(|part| part.parse().unwrap()).collect();
    let small = |n: i32| u8::try_from(n).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wanted = rcgen::CertificateParams::new(names).unwrap();
    wanted.not_before = rcgen::date_time_ymd(2026, 1, 1);
    wanted.not_after = rcgen::date_time_ymd(date[0], small(date[1]), small(date[2]));
    fs::write(path.with_extension("pem"), wanted.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(path.with_extension("key"), key.serialize_pem()).unwrap();
    fs::set_permissions(path.with_extension("key"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// `W0101 mail.kdl:1:2 words`, for what has a place.
fn told(compiled: &Compiled, severity: Severity) -> Vec<String> {
    let of = compiled.report.diagnostics().iter().filter(|found| found.severity() == severity);
    of.map(|found| {
        let place = compiled.located.at(&machine::place(found, &compiled.located));
        format!("{} {place} {}", found.code.id(), found.says)
    })
    .collect()
}

fn is_part(part: &Json, whole: &Json) -> bool {
    match (part, whole) {
        (Json::Object(part), Json::Object(whole)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|found| is_part(value, found)))
        }
        (Json::Array(part), Json::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| is_part(a, b))
        }
        (part, whole) => part == whole,
    }
}

/// What is not as a page says.
fn problems(name: &str, case: &Case, seen: &mut BTreeSet<String>) -> Vec<String> {
    let at = format!("{name}:{}", case.line);
    let compiled = compiled(case);
    let errors = told(&compiled, Severity::Error);
    let warnings = told(&compiled, Severity::Warning);
    let mut problems = Vec::new();
    for (wanted, found) in [(&case.errors, &errors), (&case.warnings, &warnings)] {
        for line in wanted {
            if !found.iter().any(|one| one.starts_with(line.trim_end())) {
                problems.push(format!("{at}: no `{line}` in {found:#?}"));
            }
            seen.insert(line.split(' ').next().unwrap().to_owned());
        }
    }
    let unwanted = warnings.iter().filter(|found| case.no_warnings.iter().any(|code| found.starts_with(code)));
    problems.extend(unwanted.map(|found| format!("{at}: {found}")));
    if errors.len() != case.errors.len() {
        problems.push(format!("{at}: {errors:#?}"));
    }
    let Some(artefacts) = &compiled.artefacts else { return problems };
    let zones: String = artefacts.zones.iter().map(compiler::zone::Zone::master_file).collect();
    let missing = case.zone.iter().filter(|line| !zones.lines().any(|one| one == *line));
    problems.extend(missing.map(|line| format!("{at}: no `{line}` in\n{zones}")));
    let there = case.no_zone.iter().filter(|word| zones.contains(*word));
    problems.extend(there.map(|word| format!("{at}: `{word}` in\n{zones}")));
    if let Some(part) = &case.runtime {
        let text = written(|to| artefacts.runtime_json(to));
        let whole: Json = serde_json::from_str(&text).unwrap();
        if !is_part(part, &whole) {
            problems.push(format!("{at}: runtime.json is {text}"));
        }
    }
    problems
}

/// Every page with examples: the manual, and one for each code.
fn pages() -> Vec<PathBuf> {
    let folder = |name: &str| fs::read_dir(root().join(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = ["tests/spec", "docs", "docs/codes"].into_iter().flat_map(folder).collect();
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    pages
}

#[test]
fn the_manual_is_true_and_shows_every_code() {
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for case in cases(&text) {
            wrong.extend(problems(page.file_name().unwrap().to_str().unwrap(), &case, &mut seen));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unshown: Vec<&str> =
        Code::ALL.iter().map(|code| code.id()).filter(|id| !seen.contains(*id) && !ELSEWHERE.contains(id)).collect();
    assert!(unshown.is_empty(), "no page shows {unshown:?}");
}

/// A page shows what fails, with the code, and what passes, without it.
#[test]
fn every_code_has_a_page_that_fails_and_one_that_passes() {
    let mut wrong = Vec::new();
    for code in Code::ALL.iter().filter(|code| !ELSEWHERE.contains(&code.id())) {
        let (id, page) = (code.id(), code.page());
        assert!(page.starts_with(&format!("# {id}: ")) && !code.text().is_empty(), "{id}: {page}");
        let said = format!("{:?}.{}{}", code.severity(), if code.rule().is_empty() { "" } else { " " }, code.rule());
        assert_eq!(page.lines().nth(2), Some(said.as_str()), "{id}");
        let (fails, passes) = page.split_once("## Passes").unwrap_or((page, ""));
        let found = |case: &Case| {
            let compiled = compiled(case);
            let of = |severity| told(&compiled, severity);
            (of(Severity::Error), of(Severity::Warning))
        };
        let (bad, good) = (cases(fails), cases(passes));
        if bad.is_empty() || good.is_empty() {
            wrong.push(format!("{id}: the page lacks an example that fails or one that passes"));
        }
        for case in &bad {
            let (errors, warnings) = found(case);
            if !errors.iter().chain(&warnings).any(|line| line.starts_with(id)) {
                wrong.push(format!("{id}: does not fail: {errors:#?}{warnings:#?}"));
            }
        }
        for case in &good {
            let (errors, warnings) = found(case);
            if !errors.is_empty() || warnings.iter().any(|line| line.starts_with(id)) {
                wrong.push(format!("{id}: does not pass: {errors:#?}{warnings:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// xorshift64
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// One small thing wrong, or not, with a text.
fn mutated(text: &[u8], random: &mut Random) -> Vec<u8> {
    const PIECES: [&[u8]; 24] = [
        b"{",
        b"}",
        b"\"",
        b"(",
        b")",
        b";",
        b"=",
        b"/*",
        b"*/",
        b"/-",
        b"//",
        b"\\",
        b"\n",
        b"\0",
        b"\xff",
        b"#true",
        b"-1",
        b"99999999999999999999999",
        b"\"\"\"",
        b"include \"*\"",
        b"like=\"example.com\"",
        b" (env)\"X\"",
        b"\xe2\x80\xae",
        b"1.5e3",
    ];
    let mut out = text.to_vec();
    let at = random.below(out.len());
    let word = |at: usize| {
        let end = out[at..].iter().position(|c| c.is_ascii_whitespace()).map_or(out.len(), |n| at + n);
        at..end.max(at)
    };
    match random.below(7) {
        0 => drop(out.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
        1 => drop(out.splice(word(at), [])),
        2 => out[at] = u8::try_from(random.below(256)).unwrap(),
        3 => drop(out.remove(at)),
        4 => {
            let copied = out[word(at)].to_vec();
            let to = random.below(out.len());
            out.splice(to..to, copied);
        }
        5 => {
            let line = out[at..].iter().position(|c| *c == b'\n').map_or(out.len(), |n| at + n);
            out.drain(at..line);
        }
        _ => {
            let lines: Vec<Vec<u8>> = out.split_inclusive(|c| *c == b'\n').map(<[u8]>::to_vec).collect();
            let line = lines[random.below(lines.len())].clone();
            let to = random.below(lines.len());
            out = [lines[..to].concat(), line, lines[to..].concat()].concat();
        }
    }
    out
}

#[test]
fn a_thousand_mutations_are_taken_or_refused_with_a_place() {
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..if harness::long() { 20_000 } else { 1000 } {
        let folder = tempfile::tempdir().unwrap();
        copy(&root().join("examples/company"), folder.path());
        fs::remove_dir_all(folder.path().join("built")).unwrap();
        let file = ["mail.kdl", "domains/example.com.kdl", "domains/shop.example.kdl"][round % 3];
        let mut text = fs::read(folder.path().join(file)).unwrap();
        for _ in 0..=random.below(3) {
            text = mutated(&text, &mut random);
        }
        fs::write(folder.path().join(file), &text).unwrap();
        let compiled = compile(&Wish::new(folder.path(), NOW));
        if compiled.artefacts.is_some() {
            taken += 1;
            continue;
        }
        refused += 1;
        let located = |found: &&compiler::diagnostic::Diagnostic| {
            let place = machine::place(found, &compiled.located);
            let of_file = |found: &compiler::diagnostic::Diagnostic| found.says.contains(".kdl");
            // A file that is not UTF-8 has no lines; it is named.
            !compiled.located.at(&place).is_empty() || of_file(found)
        };
        let errors: Vec<_> =
            compiled.report.diagnostics().iter().filter(|one| one.severity() == Severity::Error).collect();
        assert!(!errors.is_empty(), "refused without an error:\n{}", String::from_utf8_lossy(&text));
        assert!(errors.iter().all(located), "{errors:#?}\n{}", String::from_utf8_lossy(&text));
        // What is printed for people never breaks either.
        let shown = compiler::diagnostic::render::human(&compiled.report, &compiled.located, false);
        assert!(shown.contains("error[W"), "{shown}");
    }
    assert!(taken > 50 && refused > 500, "{taken} taken, {refused} refused");
}
