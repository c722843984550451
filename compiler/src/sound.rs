//! Which parts of a spec are sound enough to say more about: what is found about a part that lacks something, or refers
//! to one that does, may be but an echo of an error told already.

use crate::code::{Code, Severity};
use crate::diagnostic::{Diagnostic, Path, Report, Step};
use crate::locate::{Located, Place};
use schema::spec::Spec;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The node at the top that each place lies in.
pub struct Homes {
    /// By file and first octet; `None` where the node was not understood.
    tops: BTreeMap<(usize, usize), Option<Path>>,
}

impl Homes {
    /// From where everything was written.
    pub fn of(located: &Located) -> Homes {
        let homes = located.homes().into_iter();
        let tops = homes.map(|(place, home)| ((place.file, place.span.start), home)).collect();
        Homes { tops }
    }

    /// The node at the top that holds a place: `domain[3]`, `limits`.
    pub fn home(&self, place: &Place) -> Option<&Path> {
        let ((file, _), home) = self.tops.range(..=(place.file, place.span.start)).next_back()?;
        home.as_ref().filter(|_| *file == place.file)
    }

    /// Whether nodes of the spec stand in a file.
    fn holds(&self, file: usize) -> bool {
        self.tops.range((file, 0)..=(file, usize::MAX)).next().is_some()
    }

    /// What a finding is about: its path, or the node at the top in which the reader found it.
    pub fn about(&self, found: &Diagnostic) -> Option<Path> {
        match &found.place {
            None => Some(found.at.clone()),
            // A script is no part of the spec itself; what names it is.
            Some(place) => self.home(place).or(Some(&found.at).filter(|at| !at.steps().is_empty())).cloned(),
        }
    }
}

/// The first steps of a path that name a node at the top.
fn top(path: &Path) -> Path {
    let steps = path.steps();
    let count = if matches!(steps.get(1), Some(Step::Item(_))) { 2 } else { 1 };
    steps.iter().take(count).cloned().collect()
}

/// Which parts of a spec are sound.
pub struct Sound {
    /// Nothing is known to be wrong.
    all: bool,
    /// What is wrong is known to lie within some nodes.
    bounded: bool,
    broken: HashSet<Path>,
    /// Where a node was not understood.
    unread: HashSet<Path>,
}

impl Sound {
    /// From the findings so far.
    pub fn of(spec: &Spec, located: &Located, report: &Report) -> Sound {
        let harmful = |found: &&Diagnostic| found.code.severity() == Severity::Error && !found.code.allowable();
        let mut sound = Sound { all: true, bounded: true, broken: HashSet::new(), unread: HashSet::new() };
        if report.errors() == 0 {
            return sound;
        }
        let homes = Homes::of(located);
        for found in report.diagnostics().iter().filter(harmful) {
            sound.all = false;
            match homes.about(found) {
                Some(path) if !path.steps().is_empty() => {
                    if found.code == Code::UnknownNode {
                        sound.unread.insert(top(&path));
                    }
                    sound.broken.insert(top(&path));
                }
                _ if found.code == Code::NoLanguage => {}
                // A script or a lock is no part of the spec's nodes.
                _ if found.place.as_ref().is_some_and(|place| !homes.holds(place.file)) => {}
                _ => sound.bounded = false,
            }
        }
        sound.bounded &= !report.is_partial();
        sound.spread(spec);
        sound
    }

    /// What takes its settings from a part that is wrong is no better.
    fn spread(&mut self, spec: &Spec) {
        let part = |name: &'static str, at: usize| Path::root().field(name).item(at);
        if self.broken.contains(&Path::root().field("defaults")) {
            self.broken.extend((0..spec.domain.len()).map(|at| part("domain", at)));
        }
        let (mut taken, mut names) = (HashMap::new(), HashMap::new());
        for (at, domain) in spec.domain.iter().enumerate() {
            names.entry(&domain.name).or_insert(at);
            if let Some(like) = &domain.like {
                taken.entry(like).or_insert_with(Vec::new).push(at);
            }
        }
        let is_broken = |at: &usize| self.broken.contains(&part("domain", *at));
        let mut open: Vec<usize> = (0..spec.domain.len()).filter(is_broken).collect();
        while let Some(at) = open.pop() {
            let likes = spec.domain.get(at).and_then(|domain| taken.get(&domain.name));
            for other in likes.into_iter().flatten() {
                if self.broken.insert(part("domain", *other)) {
                    open.push(*other);
                }
            }
        }
    }

    /// Whether that something is not there may be but an echo: a node that the reader did not understand may be it,
    /// misspelt.
    pub fn echoes(&self, found: &Diagnostic) -> bool {
        use Code::{NoHost, NoPeople, NoPostmaster, NoStore, ReportsToNobody, UnknownDomain, UnknownHost};
        use Code::{UnknownPerson, UnknownProvider, UnknownStore, WhichStore};
        match found.code {
            NoHost | NoStore | UnknownHost | UnknownDomain | UnknownProvider | UnknownStore | WhichStore => {
                !self.bounded
            }
            NoPeople | NoPostmaster | ReportsToNobody | UnknownPerson => self.unread.contains(&top(&found.at)),
            _ => false,
        }
    }

    /// Whether nothing can be said at all.
    pub fn is_hopeless(&self) -> bool {
        !self.bounded
    }

    /// Whether a finding of what comes after may be believed.
    pub fn believes(&self, found: &Diagnostic) -> bool {
        if self.all {
            return true;
        }
        // A part that is wrong may be what would have asked.
        if found.code == Code::LockStale {
            return false;
        }
        let broken = |path: &Path| {
            let top = top(path);
            // Hosts, stores and what keeps what belong together; so do all domains that lie on hosts.
            let of = |name: &'static str| top.steps().first() == Some(&Step::Field(name));
            let any = |names: &[&str]| {
                let is = |step: &Step| matches!(step, Step::Field(name) if names.contains(name));
                self.broken.iter().any(|one| one.steps().first().is_some_and(is))
            };
            self.broken.contains(&top)
                || (of("domain") && any(&["host", "dns"]))
                || ((of("store") || of("storage") || of("host")) && any(&["host", "store", "storage"]))
        };
        self.bounded && !broken(&found.at) && !found.also.iter().any(|(path, _)| broken(path))
    }
}
