//! The reader's figures, on one core: how fast a text becomes a tree, beside the `kdl` crate, and what the steps that
//! follow take. `cargo bench -p waybill-compiler --bench reader [-- FOLDER]`, where `tests/bench/many.py` makes FOLDER.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a bench")]

use compiler::diagnostic::Report;
use compiler::pipeline::{Wish, compile};
use compiler::read::cache::Cache;
use compiler::read::files::Sources;
use compiler::read::{self, tree};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often each thing is done; the best counts.
const ROUNDS: usize = 5;
const HASH: &str =
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnJQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1";

fn best<T>(rounds: usize, mut work: impl FnMut() -> T) -> Duration {
    let timed = |()| {
        let began = Instant::now();
        let made = work();
        let took = began.elapsed();
        drop(made);
        took
    };
    std::iter::repeat_n((), rounds).map(timed).min().unwrap()
}

fn rate(octets: usize, took: Duration) -> f64 {
    octets as f64 / 1e6 / took.as_secs_f64()
}

/// `domains` domains of ten people each.
fn domains(domains: usize) -> String {
    let person = |n| {
        format!(
            "    account \"user{n}\" name=\"User {n}\" {{\n        password (hash)\"{HASH}\"\n        alias \"u{n}\"\n    }}\n"
        )
    };
    let people: String = (0..10).map(person).collect();
    let tail = "    alias \"postmaster\" \"user0\"\n    group \"all\" { member \"user0\" \"user1\"; }\n}\n";
    (0..domains).map(|n| format!("domain \"d{n}.example\" {{\n{people}{tail}")).collect()
}

fn main() {
    let text: Arc<str> = domains(10_000).into();
    let took = best(ROUNDS, || tree::parse(Arc::clone(&text)));
    let ours = rate(text.len(), took);
    let (nodes, values) = tree::parse(Arc::clone(&text)).size();
    println!("tree of {} kB, {nodes} nodes, {values} values: {took:?}, {ours:.0} MB/s", text.len() / 1000);
    // A tenth is enough to wait for.
    let part = domains(1_000);
    let theirs = rate(part.len(), best(1, || kdl::KdlDocument::parse_v2(&part).unwrap()));
    println!("the kdl crate: {theirs:.2} MB/s; ours is {:.0} times as fast", ours / theirs);
    let Some(folder) = std::env::args().skip(1).find(|arg| !arg.starts_with('-')) else { return };
    let folder = Path::new(&folder);
    let sources = Sources::open(folder).unwrap();
    println!("read: {:?}", best(ROUNDS, || read::read(&sources, &mut Report::new())));
    let cache = Cache::new();
    read::read_with(&sources, Some(&cache), &mut Report::new());
    println!(
        "read, nothing changed: {:?}",
        best(ROUNDS, || read::read_with(&sources, Some(&cache), &mut Report::new()))
    );
    println!("compile: {:?}", best(3, || compile(&Wish::new(folder, 1_795_478_400))));
    let compile = || compile(&Wish { cache: Some(&cache), ..Wish::new(folder, 1_795_478_400) });
    println!("compile, nothing changed: {:?}", best(3, compile));
}
