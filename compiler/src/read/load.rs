//! The files of a spec, read and parsed several at once, and put in the order in which they include each other.

use super::ROOT_FILE;
use super::cache::Cache;
use super::files::{
    FileError, LARGEST_FILE, LARGEST_SPEC, LONGEST_CHAIN, MOST_FILES, MOST_MATCHES, MOST_PARTS, Sources,
};
use super::people::{self, MOST_PEOPLE};
use super::scan::DEEPEST;
use super::tree::{self, Fault, Node, Scalar, Tree};
use super::{parallel, secrecy};
use crate::code::Code;
use crate::diagnostic::Report;
use crate::locate::{File, Place};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// The files of a spec.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The files, in the order that they were included in, and then those of people.
    pub files: Vec<File>,
    /// The nodes at the top, by file and [`Node::id`], in the order that includes put them in; no `include`.
    pub order: Vec<(u32, u32)>,
    /// The file of each `accounts` node, by its own file and [`Node::id`].
    pub people: HashMap<(usize, u32), usize>,
    /// Every file was read and parsed.
    pub whole: bool,
    /// There was no room for all of it; what was read is of no use but for its places.
    pub full: bool,
}

/// Reads all files. What is wrong with them is told.
pub fn load(sources: &Sources, cache: Option<&Cache>, report: &mut Report) -> Loaded {
    let mut ready =
        Ready { sources, cache, files: HashMap::new(), matched: HashMap::new(), octets: 0, parts: 0, matches: 0 };
    ready.waves();
    let loaded = Loaded { whole: true, ..Loaded::default() };
    let mut files = Files { ready, report, loaded, known: HashSet::new(), octets: 0, parts: 0, full: false, rows: 0 };
    files.take(ROOT_FILE, None, 1);
    files.people();
    if let Some(cache) = cache {
        cache.tidy();
    }
    files.loaded.full = files.full;
    files.loaded
}

/// What of a file's `include` nodes may be shown.
pub fn shown(tree: &Tree) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for node in tree.nodes(0).filter(|node| node.name() == "include" && tree.too_deep().is_none()) {
        spans.push(node.span());
        let harmless = |scalar| matches!(scalar, Scalar::Text(pattern) if secrecy::harmless(pattern));
        if is_include(&node) || node.is_broken() {
            spans.extend(node.arguments().filter(|value| harmless(value.scalar())).map(|value| value.span()));
        }
    }
    spans
}

/// Tells what is wrong with a file's text.
pub fn fault(file: usize, fault: &Fault, report: &mut Report) {
    let code = if fault.old { Code::OldKdl } else { Code::BadSyntax };
    let place = Place { file, span: fault.span.clone() };
    report.find_at(code, place, fault.says.clone()).help = fault.help.clone();
}

/// Whether an `include` holds nothing but names.
fn is_include(node: &Node<'_>) -> bool {
    node.properties().next().is_none() && node.children().next().is_none() && node.arguments().next().is_some()
}

/// How many nodes and values a tree has.
fn parts(tree: &Tree) -> usize {
    let (nodes, values) = tree.size();
    nodes + values
}

/// The folder that a file is in.
fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Files that are read and parsed before it is known in which order they come.
struct Ready<'a> {
    sources: &'a Sources,
    cache: Option<&'a Cache>,
    files: HashMap<String, Result<Arc<Tree>, FileError>>,
    /// What a pattern in a folder matches.
    matched: HashMap<(String, String), Vec<String>>,
    octets: u64,
    /// How many nodes and values there are.
    parts: usize,
    /// How many names all patterns matched, counted each time.
    matches: usize,
}

impl Ready<'_> {
    /// Reads the root, what it includes, what that includes …, each wave at once.
    fn waves(&mut self) {
        let mut wave = vec![ROOT_FILE.to_owned()];
        for _ in 0..LONGEST_CHAIN {
            if wave.is_empty() || self.octets > LARGEST_SPEC || self.files.len() + wave.len() > MOST_FILES {
                return;
            }
            // Many names may be links to one large file: what has no room is not read ahead.
            let mut room = LARGEST_SPEC.saturating_sub(self.octets);
            wave.retain(|name| {
                let size = self.sources.size(name);
                let fits = size <= room;
                room = room.saturating_sub(size);
                fits
            });
            let mut next = Vec::new();
            for together in self.batches(wave) {
                if self.parts > MOST_PARTS {
                    return;
                }
                let read = parallel::map(&together, |name| self.parsed(name));
                for (name, tree) in together.into_iter().zip(read) {
                    if let Ok(tree) = &tree {
                        self.octets += tree.text().len() as u64;
                        self.parts += parts(tree);
                        self.included(&name, tree, &mut next);
                    }
                    self.files.insert(name, tree);
                }
            }
            next.sort();
            next.dedup();
            next.retain(|name| !self.files.contains_key(name));
            wave = next;
        }
    }

    /// Files that are parsed together: not more text than a file may have, since the tree of a text may be larger.
    fn batches(&self, names: Vec<String>) -> Vec<Vec<String>> {
        let (mut batches, mut size): (Vec<Vec<String>>, u64) = (Vec::new(), 0);
        for name in names {
            let own = self.sources.size(&name);
            size += own;
            match batches.last_mut().filter(|_| size <= LARGEST_FILE) {
                Some(batch) => batch.push(name),
                None => {
                    batches.push(vec![name]);
                    size = own;
                }
            }
        }
        batches
    }

    fn parsed(&self, name: &str) -> Result<Arc<Tree>, FileError> {
        let text = self.sources.text(name)?;
        Ok(match self.cache {
            Some(cache) => cache.tree(text),
            None => Arc::new(tree::parse(text)),
        })
    }

    fn included(&mut self, name: &str, tree: &Tree, next: &mut Vec<String>) {
        if tree.too_deep().is_some() {
            return;
        }
        for node in tree.nodes(0).filter(|node| node.name() == "include" && is_include(node)) {
            for value in node.arguments() {
                if let Scalar::Text(pattern) = value.scalar()
                    && self.matches <= MOST_MATCHES
                    && let Ok(found) = self.matching(name, pattern)
                {
                    next.extend(found.into_iter().filter(|name| !self.files.contains_key(name)));
                }
            }
        }
    }

    fn matching(&mut self, from: &str, pattern: &str) -> Result<Vec<String>, FileError> {
        let key = (folder(from).to_owned(), pattern.to_owned());
        if let Some(found) = self.matched.get(&key) {
            self.matches += found.len() + 1;
            return Ok(found.clone());
        }
        // To look through a folder costs something although nothing in it matches.
        self.matches += if pattern.contains(['*', '?']) { 100 } else { 1 };
        let found = self.sources.matching(from, pattern);
        self.matches += found.as_ref().map_or_else(|error| error.cost(), Vec::len);
        let found = found?;
        self.matched.insert(key, found.clone());
        Ok(found)
    }

    fn take(&mut self, name: &str) -> Result<Arc<Tree>, FileError> {
        self.files.remove(name).unwrap_or_else(|| self.parsed(name))
    }
}

struct Files<'a> {
    ready: Ready<'a>,
    report: &'a mut Report,
    loaded: Loaded,
    known: HashSet<String>,
    octets: u64,
    parts: usize,
    /// There is no room for more, which was told.
    full: bool,
    /// How many people were read from files of people.
    rows: usize,
}

impl Files<'_> {
    /// Takes in a file and what it includes.
    fn take(&mut self, name: &str, from: Option<&Place>, depth: usize) {
        if self.full || self.known.contains(name) {
            return;
        }
        let tree = match self.ready.take(name) {
            Ok(tree) => tree,
            Err(error) => return self.unreadable(name, from, &error),
        };
        self.parts += parts(&tree);
        if !self.has_room(tree.text().len(), from) {
            return;
        }
        let at = self.loaded.files.len();
        self.known.insert(name.to_owned());
        self.loaded.files.push(File::new(name.to_owned(), Arc::clone(&tree)));
        if tree.is_cut() {
            (self.loaded.whole, self.full) = (false, true);
            let says = format!("{name} holds more than {} nodes and values", tree::MOST_PARTS);
            let place = from.cloned().unwrap_or(Place { file: at, span: 0..0 });
            self.report.find_at(Code::TooLarge, place, says).help("split it");
            return;
        }
        if let Some(span) = tree.too_deep() {
            self.loaded.whole = false;
            let says = format!("nested more than {DEEPEST} levels deep");
            self.report.find_at(Code::TooDeep, Place { file: at, span: span.clone() }, says);
            return;
        }
        self.faults(at, tree.faults());
        for node in tree.nodes(at) {
            if node.name() == "include" {
                self.include(&node, name, depth);
            } else {
                self.loaded.order.push((u32::try_from(at).unwrap_or(u32::MAX), node.id()));
            }
        }
    }

    fn has_room(&mut self, octets: usize, from: Option<&Place>) -> bool {
        self.octets += octets as u64;
        if self.octets <= LARGEST_SPEC && self.loaded.files.len() < MOST_FILES && self.parts <= MOST_PARTS {
            return true;
        }
        (self.loaded.whole, self.full) = (false, true);
        let says = format!(
            "the spec has more than {MOST_FILES} files, {LARGEST_SPEC} octets, or {MOST_PARTS} nodes and values"
        );
        self.report.find_at(Code::TooLarge, from.cloned().unwrap_or_default(), says);
        false
    }

    fn faults(&mut self, file: usize, faults: &[Fault]) {
        for fault in faults {
            self.loaded.whole = false;
            self::fault(file, fault, self.report);
        }
    }

    fn unreadable(&mut self, name: &str, from: Option<&Place>, error: &FileError) {
        self.loaded.whole = false;
        let code = match error {
            FileError::Outside => Code::OutsideSpec,
            FileError::Large(_) => Code::TooLarge,
            _ => Code::NotReadable,
        };
        let says = format!("{name} {error}");
        match from {
            Some(place) => drop(self.report.find_at(code, place.clone(), says)),
            None => {
                let place = Place { file: self.loaded.files.len(), span: 0..0 };
                self.loaded.files.push(File::unread(name.to_owned()));
                let found = self.report.find_at(code, place, says);
                if matches!(error, FileError::Missing) {
                    found.help("`waybill init` writes a first spec");
                }
            }
        }
    }

    fn include(&mut self, node: &Node<'_>, name: &str, depth: usize) {
        if !is_include(node) && !node.is_broken() {
            let place = Place { file: node.file(), span: node.span() };
            self.report
                .find_at(Code::NotGiven, place, "`include` needs the names of files")
                .help("as in `include \"domains/*.kdl\"`");
            return;
        }
        for value in node.arguments() {
            let place = Place { file: node.file(), span: value.span() };
            let Scalar::Text(pattern) = value.scalar() else {
                self.report.find_at(Code::WrongKind, place, "`include` takes text").help("write it in quotes");
                continue;
            };
            let shown = if secrecy::harmless(pattern) { pattern } else { "…" };
            if depth >= LONGEST_CHAIN {
                self.loaded.whole = false;
                let says = format!("includes nest more than {LONGEST_CHAIN} files deep");
                self.report.find_at(Code::IncludeTooDeep, place, says);
                continue;
            }
            if self.full {
                return;
            }
            if self.ready.matches > MOST_MATCHES {
                (self.loaded.whole, self.full) = (false, true);
                let says = format!("the patterns of all includes match more than {MOST_MATCHES} names");
                self.report.find_at(Code::TooLarge, place, says).help("include each file once");
                return;
            }
            match self.ready.matching(name, pattern) {
                Ok(found) if found.is_empty() => {
                    let says = format!("no file matches `{shown}`");
                    self.report.find_at(Code::NothingMatched, place, says);
                }
                Ok(found) => found.iter().for_each(|one| self.take(one, Some(&place), depth + 1)),
                Err(FileError::Missing) => {
                    self.loaded.whole = false;
                    self.report.find_at(Code::NothingIncluded, place, format!("`{shown}` does not exist"));
                }
                Err(error) => self.unreadable(shown, Some(&place), &error),
            }
        }
    }

    /// The files of `accounts` nodes, which stand in domains.
    fn people(&mut self) {
        let mut wanted = Vec::new();
        for (file, id) in &self.loaded.order {
            let file = *file as usize;
            let Some(node) = self.loaded.files.get(file).and_then(|one| one.tree.node(file, *id)) else { continue };
            if node.name() != "domain" {
                continue;
            }
            for child in node.children().filter(|child| child.name() == "accounts") {
                if let Some(from) = child.property("from").map(|property| property.value())
                    && let Scalar::Text(name) = from.scalar()
                {
                    wanted.push(((file, child.id()), Place { file, span: from.span() }, name.to_owned()));
                }
            }
        }
        let mut read: HashMap<String, usize> = HashMap::new();
        for (node, place, name) in wanted {
            let from = self.loaded.files.get(place.file).map_or(String::new(), |file| file.name.clone());
            if let Some(file) = self.table(&from, &name, &place, &mut read) {
                self.loaded.people.insert(node, file);
            }
        }
    }

    /// A file of people; which it is of all files.
    fn table(&mut self, from: &str, written: &str, place: &Place, read: &mut HashMap<String, usize>) -> Option<usize> {
        let shown = if secrecy::harmless(written) { written } else { "…" };
        let Some(sort) = people::Sort::of(written) else {
            let says = format!("`{shown}` is neither .csv nor .jsonl");
            self.report
                .find_at(Code::PeopleSort, place.clone(), says)
                .help("name a file of comma-separated values, or of one JSON object a line");
            return None;
        };
        let name = match self.ready.sources.beside(from, written) {
            Ok(name) => name,
            Err(FileError::Missing) => {
                self.loaded.whole = false;
                self.report.find_at(Code::NothingIncluded, place.clone(), format!("`{shown}` does not exist"));
                return None;
            }
            Err(error) => {
                self.unreadable(shown, Some(place), &error);
                return None;
            }
        };
        let at = match read.get(&name) {
            Some(at) => *at,
            None => {
                let text = match self.ready.sources.text(&name) {
                    Ok(text) => text,
                    Err(error) => {
                        self.unreadable(shown, Some(place), &error);
                        return None;
                    }
                };
                if !self.has_room(text.len(), Some(place)) {
                    return None;
                }
                let at = self.loaded.files.len();
                let most = MOST_PEOPLE.saturating_sub(self.rows);
                let people::Table { tree, found } = people::read(text, sort, most);
                for one in found {
                    self.loaded.whole &= !one.partial;
                    let place = Place { file: at, span: one.span };
                    self.report.find_at(one.code, place, one.says).help = one.help;
                }
                self.loaded.files.push(File::table(name.clone(), Arc::new(tree)));
                read.insert(name, at);
                at
            }
        };
        self.rows += self.loaded.files.get(at).map_or(0, |file| file.tree.nodes(at).count());
        if self.rows > MOST_PEOPLE {
            self.loaded.whole = false;
            let says = format!("more than {MOST_PEOPLE} people come from files");
            self.report.find_at(Code::TooManyPeople, place.clone(), says).help("split the platform into several specs");
            return None;
        }
        Some(at)
    }
}
