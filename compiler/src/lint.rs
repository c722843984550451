//! Proofs over the whole: what each part allows by itself, but domains, hosts, keys, listeners, policies and zones
//! together do not. One file a family; each looks at everything and changes nothing.
//!
//! What lies outside the spec is looked up in `waybill.lock` ([`crate::lock`]), never in DNS.

pub mod caa;
mod dane;
pub mod dkim;
mod dmarc;
mod holds;
mod mta_sts;
mod mx;
mod people;
pub mod scripts;
mod spf;
mod srv;
mod stores;
pub mod tags;
mod tls;
mod txt;
mod world;

use crate::code::Code;
use crate::diagnostic::Report;
use crate::emit::Artefacts;
use crate::locate::Place;
use crate::lock::{LOCK_FILE, Lock, Question};
use crate::read::parallel;
use crate::resolve::{Outside, Resolved};
use schema::spec::Spec;
use std::collections::BTreeSet;
use world::World;

/// What a lint looks at.
pub struct Around<'a> {
    /// What was written.
    pub spec: &'a Spec,
    /// What it means.
    pub resolved: &'a Resolved,
    /// What comes of it, the zones above all.
    pub artefacts: &'a Artefacts,
    /// Files and time.
    pub outside: &'a Outside<'a>,
    /// What DNS outside the spec said.
    pub lock: &'a Lock,
}

/// One lint.
type Lint = fn(&Around<'_>, &World<'_>, &mut Report);

/// The lints of records.
const RECORDS: [Lint; 10] = [
    spf::lint,
    |around, _, report| txt::lint(around, report),
    dkim::lint,
    dmarc::lint,
    mta_sts::lint,
    dane::lint,
    mx::lint,
    |around, _, report| srv::lint(around, report),
    caa::lint,
    |around, _, report| holds::lint(around, report),
];

/// The other lints.
const OTHERS: [Lint; 3] = [
    |around, _, report| people::people(around, report),
    |around, _, report| stores::stores(around, report),
    |around, _, report| tls::tls(around, report),
];

/// Runs every lint.
pub fn lint(around: &Around<'_>, report: &mut Report) {
    let lints: Vec<Lint> = OTHERS.into_iter().chain(RECORDS).collect();
    let asked = run(&lints, around, report);
    stale(around.lock, &asked, report);
}

/// What the lints want to know of DNS outside the spec. An answer may lead to more questions, so it is asked again with
/// what is known then, until nothing is new.
pub fn questions(around: &Around<'_>) -> BTreeSet<Question> {
    run(&RECORDS, around, &mut Report::new())
}

/// Runs lints beside each other; what they find comes in their order. Tells what they asked of the lock.
fn run(lints: &[Lint], around: &Around<'_>, report: &mut Report) -> BTreeSet<Question> {
    let world = World::of(around.artefacts, around.lock);
    let found = parallel::heavy(lints, |lint| {
        let mut report = Report::new();
        lint(around, &world, &mut report);
        report
    });
    found.into_iter().for_each(|found| report.absorb(found));
    world.asked()
}

/// That a lock has what is asked of it, and nothing else.
fn stale(lock: &Lock, asked: &BTreeSet<Question>, report: &mut Report) {
    let Some(file) = lock.file else { return };
    let missing: Vec<&Question> = asked.iter().filter(|question| !lock.sets.contains_key(question)).collect();
    let unused = lock.sets.iter().filter(|(question, _)| !asked.contains(question));
    let unused: Vec<_> = unused.map(|(question, set)| (question, set.span.clone())).collect();
    let name = |question: &Question| format!("`{} {}`", question.name, question.kind.name());
    let help = "`waybill lock` asks DNS anew";
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().take(3).map(|question| name(question)).collect();
        let more = if missing.len() > 3 { format!(" and {} more", missing.len() - 3) } else { String::new() };
        let says = format!("{LOCK_FILE} lacks {}{more}", names.join(", "));
        report.find_at(Code::LockStale, Place { file, span: lock.head.clone() }, says).help(help);
    }
    if let Some((question, span)) = unused.first() {
        let more = if unused.len() > 1 { format!(", nor for {} more", unused.len() - 1) } else { String::new() };
        let says = format!("nothing in the spec asks for {}{more}", name(question));
        report.find_at(Code::LockStale, Place { file, span: span.clone() }, says).help(help);
    }
}
