//! Any text ends in an answer, soon; what is printed is read as the same tree.
#![allow(clippy::unwrap_used)]

use super::print::print;
use super::tree::{Argument, Call, Command, Script, Value};
use super::*;

const SCRIPT: &str = r#"require ["fileinto", "variables", "vacation", "relational", "comparator-i;ascii-numeric", "date",
    "encoded-character", "regex", "imap4flags", "foreverypart", "mime"]; # as programs write them
/* one */ if anyof (header :contains ["To", "Cc"] "a\"b\\", not exists "x", size :over 2M) {
    set :lower "a" "${1}${hex:40}";
    fileinto :flags ["\\Seen", "b"] "Lists/ü";
} elsif allof (date :value "ge" :zone "+0100" "date" "hour" "09", header :regex "s" "^a(b|[c-e]{2,3})+$") {
    vacation :days 3 :subject "x" text: # c
..dot
.x
line
.
;
    stop;
} else { foreverypart { if header :mime :param "n" "c" "d" { discard; } } }
if header :comparator "i;ascii-numeric" :count "gt" "to" ["1", text:
a
.
] { keep; }
"#;

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

fn mutated(random: &mut Random) -> String {
    const PIECES: [&str; 24] = [
        "{", "}", "(", ")", "[", "]", "\"", "\\", ";", ",", ":", "text:\n", "\n.\n", "/*", "*/", "#", "\r", "\0", "9K",
        "if", "not ", "${", "\u{fc}", "stop;",
    ];
    let mut text: Vec<char> = SCRIPT.chars().collect();
    for _ in 0..=random.below(6) {
        let at = random.below(text.len());
        match random.below(3) {
            0 => {
                let end = (at + random.below(12)).min(text.len());
                text.drain(at..end);
            }
            1 => {
                let piece = PIECES[random.below(PIECES.len())];
                text.splice(at..at, piece.chars());
            }
            _ => {
                let from = random.below(text.len());
                let end = (from + random.below(60)).min(text.len());
                let copy = text[from..end].to_vec();
                text.splice(at..at, copy);
            }
        }
    }
    text.into_iter().collect()
}

fn without_places(script: &mut Script) {
    fn commands(block: &mut [Command]) {
        for command in block {
            call(&mut command.call);
            commands(command.block.as_deref_mut().unwrap_or_default());
        }
    }
    fn call(at: &mut Call) {
        (at.at, at.span) = (0..0, 0..0);
        at.arguments.iter_mut().for_each(argument);
        at.tests.iter_mut().for_each(call);
    }
    fn argument(at: &mut Argument) {
        at.span = 0..0;
        match &mut at.value {
            Value::Text(text) => text.span = 0..0,
            Value::List(texts) => texts.iter_mut().for_each(|text| text.span = 0..0),
            Value::Number(_) | Value::Tag(_) => {}
        }
    }
    commands(&mut script.commands);
}

#[test]
fn any_text_is_answered_and_what_is_read_is_printed_the_same() {
    let all = Capabilities::all();
    assert_eq!(check(SCRIPT, &all), []);
    let mut random = Random(0x5eed);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..5_000 {
        let text = mutated(&mut random);
        for problem in check(&text, &all) {
            assert!(text.get(problem.span.clone()).is_some(), "{problem:?} in {text}");
        }
        let (mut script, problems) = parse(&text);
        if !problems.is_empty() {
            refused += 1;
            continue;
        }
        read += 1;
        let printed = print(&script);
        let (mut again, problems) = parse(&printed);
        assert_eq!(problems, [], "{text}\n--\n{printed}");
        without_places(&mut script);
        without_places(&mut again);
        assert_eq!(script, again, "{text}\n--\n{printed}");
        assert_eq!(print(&again), printed);
    }
    assert!(read > 100 && refused > 1000, "{read} {refused}");
}

#[test]
fn what_is_long_or_deep_is_refused_soon() {
    let all = Capabilities::all();
    let most = |unit: &str| unit.repeat(SCRIPT_MOST / unit.len());
    let units = [
        "(",
        "{",
        "[",
        "}",
        "not ",
        "if true{",
        "\"",
        "\\",
        "/*",
        "text:\n",
        ":is ",
        ":isx ",
        "\"\"",
        "keep;",
        "kep;",
        "#",
        "1",
        "@",
        "a b ",
        "\0",
        "${",
        "stop;",
        "allof(",
        "allof(x,",
        "else{}",
        "require \"a\";",
        "[\"",
    ];
    let before = ["", "keep ", "if header ", "if allof(", "set \"", "if header :regex \"a\" \"", "redirect \"", "x \""];
    for (at, unit) in units.iter().enumerate() {
        for (place, before) in before.iter().enumerate() {
            // The whole of what may be is slow without optimisation, and told apart by its squares.
            let long = if at % 8 == place { most(unit) } else { unit.repeat(3000) };
            assert!(check(&format!("{before}{long}"), &all).len() <= PROBLEMS_MOST, "{before}{unit}");
        }
    }
    let long = check(&most("keep; "), &all);
    assert_eq!(long, []);
    let tests = format!("if allof({}true) {{ keep; }}", "header :is \"a\" \"b\",".repeat(40_000));
    assert_eq!(check(&tests, &all), []);
    let over = check(&" ".repeat(SCRIPT_MOST + 1), &all);
    assert_eq!(over.iter().map(|one| one.kind).collect::<Vec<_>>(), [Kind::Limit]);
}

#[test]
fn nesting_and_lists_have_limits() {
    let all = Capabilities::all();
    let kinds = |text: &str| check(text, &all).iter().map(|one| one.kind).collect::<Vec<_>>();
    let blocks = |deep: usize| format!("{}keep;{}keep;", "if true {".repeat(deep), "}".repeat(deep));
    assert_eq!(kinds(&blocks(NESTING_MOST - 1)), []);
    assert_eq!(kinds(&blocks(NESTING_MOST + 1)), [Kind::Limit]);
    assert_eq!(kinds(&blocks(10_000)), [Kind::Limit]);
    let tests = |deep: usize| format!("if {}true {{ keep; }} keep;", "not ".repeat(deep));
    assert_eq!(kinds(&tests(NESTING_MOST - 1)), []);
    assert_eq!(kinds(&tests(NESTING_MOST)), [Kind::Limit]);
    let list = |long: usize| format!("if exists [\"a\"{}] {{ keep; }}", ",\"a\"".repeat(long - 1));
    assert_eq!(kinds(&list(LIST_MOST)), []);
    assert_eq!(kinds(&list(LIST_MOST + 1)), [Kind::Limit]);
}

#[test]
fn a_server_offers_what_it_has() {
    let few = Capabilities::of(&[Capability::Fileinto, Capability::Ihave]);
    let kinds = |text: &str| check(text, &few).iter().map(|one| one.kind).collect::<Vec<_>>();
    assert_eq!(kinds("require \"fileinto\"; fileinto \"a\";"), []);
    assert_eq!(kinds("require [\"fileinto\", \"copy\"]; fileinto :copy \"a\";"), [Kind::NotOffered]);
    assert_eq!(kinds("redirect :copy \"a@b.example\";"), [Kind::NotOffered]);
    assert_eq!(kinds("require \"ihave\"; if ihave \"copy\" { redirect :copy \"a@b.example\"; }"), []);
    assert_eq!(kinds("require \"comparator-i;octet\"; keep;"), []);
    let names: Vec<_> = few.iter().map(Capability::name).collect();
    assert_eq!(names, ["fileinto", "ihave"]);
}

#[test]
fn every_signature_is_reached_by_its_name_once() {
    for table in [table::COMMANDS, table::TESTS] {
        for (at, one) in table.iter().enumerate() {
            assert!(table.iter().skip(at + 1).all(|other| other.name != one.name), "{}", one.name);
        }
    }
    assert!(Capability::ALL.len() <= 64);
    for capability in Capability::ALL {
        assert_eq!(Capability::named(capability.name()), Some(*capability));
    }
}

#[test]
fn redirects_are_found_where_they_are_addresses() {
    let text = "redirect \"a@b.example\"; if true { redirect :copy \"Ada <c@d.example>\"; } redirect :list \"tag:x\";";
    let (script, _) = parse(text);
    let found: Vec<_> = script.redirects().iter().filter_map(|text| value::mailbox(&text.value)).collect();
    assert_eq!(found, ["a@b.example", "c@d.example"]);
}
