//! From a path into the spec's JSON form to a place in a file.

use crate::diagnostic::excerpt::Excerpt;
use crate::diagnostic::{Path, Step, printable};
use crate::read;
use crate::read::grammar::{Field, Kind, Shape, Written};
use crate::read::marks::{Bits, Marks};
use crate::read::tree::{self, Node, Tree, Value};
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// How many octets of a file are looked at for one finding; where it needs more, the whole file is, once.
const LARGEST_PART: usize = 64 << 10;

/// Of a larger file, in octets, no part is shown that is not small: hiding secrets takes many times its size.
pub const LARGEST_SHOWN: usize = 32 << 20;

/// A place in a file of the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which file, as [`Located::file`] counts.
    pub file: usize,
    /// Which octets.
    pub span: Range<usize>,
}

/// A file of the spec as read.
pub struct File {
    /// Its path from the spec's root, with `/`.
    pub name: String,
    /// Its text, without a byte order mark.
    pub text: Arc<str>,
    /// Its nodes.
    pub tree: Arc<Tree>,
    /// It could not be read, and is here for its name.
    pub unread: bool,
    /// It is a file of people, and no KDL.
    pub table: bool,
    /// What of it may be shown.
    plain: OnceLock<Vec<Range<usize>>>,
    lines: OnceLock<Vec<usize>>,
    heads: OnceLock<Vec<usize>>,
    includes: OnceLock<Vec<Range<usize>>>,
    excerpt: OnceLock<Arc<Excerpt>>,
}

impl fmt::Debug for File {
    /// Without its text, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.name).finish()
    }
}

impl File {
    /// A file with its nodes.
    pub fn new(name: String, tree: Arc<Tree>) -> File {
        let text = Arc::clone(tree.text());
        File {
            name,
            text,
            tree,
            unread: false,
            table: false,
            plain: OnceLock::new(),
            lines: OnceLock::new(),
            heads: OnceLock::new(),
            includes: OnceLock::new(),
            excerpt: OnceLock::new(),
        }
    }

    /// A file of people.
    pub fn table(name: String, tree: Arc<Tree>) -> File {
        File { table: true, ..File::new(name, tree) }
    }

    /// A file that holds no nodes of the spec, and of which these spans may be shown: sorted, none within another.
    pub fn beside(name: String, text: impl Into<Arc<str>>, plain: Vec<Range<usize>>) -> File {
        let text = text.into();
        let tree = Arc::new(tree::parse(""));
        File { plain: OnceLock::from(plain), text, ..File::new(name, tree) }
    }

    /// A file of another language than the spec's, which is shown as it is.
    pub fn script(name: String, text: impl Into<Arc<str>>) -> File {
        let text = text.into();
        let plain = std::iter::once(0..text.len()).collect();
        File::beside(name, text, plain)
    }

    /// A file that could not be read.
    pub fn unread(name: String) -> File {
        File { unread: true, ..File::new(name, Arc::new(tree::parse(""))) }
    }

    /// Line and column of an octet, both from 1; a column is a character. Past the end is the end.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let starts = self.starts();
        let line = starts.partition_point(|start| *start <= offset).max(1);
        let start = starts.get(line - 1).copied().unwrap_or(0);
        (line, self.text[start..offset].chars().count() + 1)
    }

    /// The octets of a line, counted from 1, without its end.
    pub fn line(&self, line: usize) -> Range<usize> {
        let starts = self.starts();
        let start = starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let end = starts.get(line).copied().unwrap_or(self.text.len());
        start..start + self.text[start..end].trim_end_matches(['\n', '\r']).len()
    }

    /// Where the line of an octet begins.
    fn line_start(&self, at: usize) -> usize {
        let starts = self.starts();
        starts
            .partition_point(|start| *start <= at)
            .checked_sub(1)
            .and_then(|line| starts.get(line))
            .copied()
            .unwrap_or(0)
    }

    /// What of its `include` nodes may be shown.
    pub(crate) fn includes(&self) -> &[Range<usize>] {
        self.includes.get_or_init(|| read::load::shown(&self.tree))
    }

    /// Where the lines begin on which a node at the top is the first.
    fn heads(&self) -> &[usize] {
        let head = |node: Node<'_>| {
            let at = node.span().start;
            let line = self.line_start(at);
            self.text.get(line..at)?.trim_matches([' ', '\t']).is_empty().then_some(line)
        };
        self.heads.get_or_init(|| self.tree.nodes(0).filter_map(head).collect())
    }

    /// How many lines there are.
    pub fn lines(&self) -> usize {
        self.starts().len()
    }

    fn starts(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, octet)| *octet == b'\n');
            std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
        })
    }
}

/// Which parts of a merged spec were written as other parts, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// As what the whole was written; `None`: as its parent says.
    pub to: Option<Path>,
    /// What inside it was written yet elsewhere.
    pub inner: HashMap<Step, Moves>,
}

impl Moves {
    /// Something that was written as another part.
    pub fn to(path: Path) -> Moves {
        Moves { to: Some(path), inner: HashMap::new() }
    }

    /// As what a path was written; `None` where nothing was moved.
    pub fn follow(&self, path: &Path) -> Option<Path> {
        if self.to.is_none() && self.inner.is_empty() {
            return None;
        }
        let mut written = self.to.clone().unwrap_or_default();
        let mut at = Some(self);
        for step in path.steps() {
            at = at.and_then(|moves| moves.inner.get(step));
            written = match at.and_then(|moves| moves.to.as_ref()) {
                Some(to) => to.clone(),
                None => written.then(*step),
            };
        }
        Some(written)
    }
}

/// The files of a spec and where everything in it was written.
#[derive(Default)]
pub struct Located {
    /// The files in the order read; [`Place::file`] counts in them.
    pub files: Vec<File>,
    /// The nodes at the top, by file and [`Node::id`], in the order that includes put them in.
    pub(crate) order: Vec<(u32, u32)>,
    /// The file of each `accounts` node, by its own file and [`Node::id`].
    pub(crate) people: HashMap<(usize, u32), usize>,
    /// What is left out, by file; nothing where all is right.
    pub(crate) marks: Vec<Marks>,
    /// Before which nodes at the top a secret may have been written, so that what the grammar does not know may be one.
    pub(crate) guarded: Bits,
    /// The grammar; none where the spec is in another language.
    pub(crate) language: Option<Arc<Kind>>,
    /// The nodes at the top that are taken, by the number of their field.
    pub(crate) tops: OnceLock<HashMap<usize, Vec<(u32, u32)>>>,
    /// Where the nodes at the top begin, in order, and which of all each is; by file.
    pub(crate) starts: OnceLock<Vec<Vec<(usize, usize)>>>,
    /// What stands before the files' names for programs that look from another folder: `mail/`.
    pub base: String,
    /// What an overlay put elsewhere than where it was written.
    pub moves: Moves,
}

impl fmt::Debug for Located {
    /// Only which files there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Located").field(&self.files).finish()
    }
}

/// Something in a field: where it is, and what is inside.
struct Item<'a> {
    place: Place,
    inside: Inside<'a>,
}

enum Inside<'a> {
    Nothing,
    Node(Node<'a>, &'a Kind),
    /// One of several, by its name.
    Named(Node<'a>, &'a str, Option<&'a Kind>),
}

impl Located {
    /// The nodes at the top, in the order that includes put them in, but for `include` itself.
    pub fn tops(&self) -> impl Iterator<Item = Node<'_>> {
        self.order.iter().filter_map(|(file, id)| self.node(*file, *id))
    }

    /// The nodes at the top that begin within a part of a file, each with its number among all.
    pub fn tops_within(&self, file: usize, part: &Range<usize>) -> impl Iterator<Item = (usize, Node<'_>)> {
        let starts = self.starts.get_or_init(|| {
            let mut starts = vec![Vec::new(); self.files.len()];
            for (at, node) in self.tops().enumerate() {
                starts[node.file()].push((node.span().start, at));
            }
            starts
        });
        let of = starts.get(file).map_or(&[] as &[_], Vec::as_slice);
        let from = of.partition_point(|(start, _)| *start < part.start);
        let inside = of.get(from..).unwrap_or_default().iter().take_while(|(start, _)| *start < part.end);
        inside.filter_map(|(_, at)| {
            let (file, id) = self.order.get(*at)?;
            Some((*at, self.node(*file, *id)?))
        })
    }

    /// The node whose name stands at a place.
    pub fn node_at(&self, place: &Place) -> Option<Node<'_>> {
        let tree = &self.files.get(place.file)?.tree;
        let nodes = (0u32..).map_while(|id| tree.node(place.file, id));
        nodes.into_iter().find(|node| node.span() == place.span)
    }

    fn node(&self, file: u32, id: u32) -> Option<Node<'_>> {
        let file = usize::try_from(file).ok()?;
        self.files.get(file)?.tree.node(file, id)
    }

    /// A node's children, and behind them the people that its `accounts` nodes bring from files.
    pub fn children<'a>(&'a self, node: Node<'a>) -> impl Iterator<Item = Node<'a>> {
        let brought = |child: &Node<'a>| self.people.get(&(child.file(), child.id())).copied();
        let files: Vec<usize> = match self.people.is_empty() {
            true => Vec::new(),
            false => node.children().filter_map(|child| brought(&child)).collect(),
        };
        let people = files.into_iter().filter_map(|file| Some(self.files.get(file)?.tree.nodes(file)));
        node.children().chain(people.flatten())
    }

    /// Whether a node is wrong, and not part of what was read.
    pub fn is_left_out(&self, node: Node<'_>) -> bool {
        self.marks.get(node.file()).is_some_and(|marks| marks.node(node.id()))
    }

    /// Whether a value of a node is wrong, and not part of what was read.
    pub fn is_value_left_out(&self, node: Node<'_>, value: Value<'_>) -> bool {
        self.marks.get(node.file()).is_some_and(|marks| marks.value(value.id()))
    }

    pub(crate) fn is_second(&self, node: Node<'_>) -> bool {
        self.marks.get(node.file()).is_some_and(|marks| marks.second(node.id()))
    }

    pub(crate) fn is_table(&self, file: usize) -> bool {
        self.files.get(file).is_some_and(|file| file.table)
    }

    /// The names and values of a file that are known to be no secret; nothing else is ever shown. Sorted, none within
    /// another. Found out when it is asked for.
    pub fn plain(&self, file: usize) -> &[Range<usize>] {
        self.files.get(file).map_or(&[], |of| of.plain.get_or_init(|| read::plain(self, file, &(0..of.text.len()))))
    }

    /// A file as it is shown, by which file it is. Made when it is asked for.
    pub fn excerpt(&self, file: usize) -> Option<Arc<Excerpt>> {
        let of = self.files.get(file)?;
        Some(Arc::clone(of.excerpt.get_or_init(|| Arc::new(Excerpt::of(of, self.plain(file))))))
    }

    /// Of a file as it is shown, at least what holds some octets: what is asked of a large file should not cost all of it.
    /// `None` where it would, and the file has more than [`LARGEST_SHOWN`] octets.
    pub fn excerpt_around(&self, file: usize, octets: &Range<usize>) -> Option<Arc<Excerpt>> {
        let of = self.files.get(file)?;
        match self.part(of, octets) {
            Some(part) => Some(Arc::new(Excerpt::part(of, &read::plain(self, file, &part), &part))),
            None if of.text.len() > LARGEST_SHOWN => None,
            None => self.excerpt(file),
        }
    }

    /// Whole lines of whole nodes at the top that hold some octets; `None` where these are no small part of the file, or
    /// where it is not sure what is inside of what.
    fn part(&self, of: &File, octets: &Range<usize>) -> Option<Range<usize>> {
        if of.table || self.language.is_none() || !of.tree.faults().is_empty() || of.tree.too_deep().is_some() {
            return None;
        }
        let heads = of.heads();
        let before = heads.partition_point(|head| *head <= octets.start).checked_sub(1);
        let from = before.and_then(|at| heads.get(at)).copied().unwrap_or(0);
        let to = heads.get(heads.partition_point(|head| *head <= octets.end)).copied().unwrap_or(of.text.len());
        (to - from <= LARGEST_PART && to - from < of.text.len()).then_some(from..to)
    }

    /// Where each node at the top is, also those that are left out, and what it is: `domain[3]`, `limits`.
    pub fn homes(&self) -> Vec<(Place, Option<Path>)> {
        let mut counts: HashMap<usize, usize> = HashMap::new();
        let mut home = |node: Node<'_>| {
            let (at, field) = self.language.as_ref()?.find(node.name(), Written::Child)?;
            if self.is_left_out(node) {
                return None;
            }
            let path = Path::root().field(field.name);
            if !field.many {
                return Some(path);
            }
            let count = counts.entry(at).or_default();
            *count += self.items(node, field).len();
            Some(path.item(count.checked_sub(1)?))
        };
        self.tops().map(|node| (place_of(node), home(node))).collect()
    }

    /// Where a path's value was written; where it was not written, its nearest parent. Goes down the tree, so that
    /// nothing is kept for what is never asked.
    pub fn place(&self, path: &Path) -> Place {
        self.find(path).0
    }

    /// Where a path's very value was written.
    pub fn exact(&self, path: &Path) -> Option<Place> {
        let (place, exact) = self.find(path);
        exact.then_some(place)
    }

    /// Where a path's value was written, or its nearest parent; and whether it is the value.
    fn find(&self, path: &Path) -> (Place, bool) {
        let Some(language) = &self.language else { return (Place::default(), path.steps().is_empty()) };
        let moved = self.moves.follow(path);
        let path = moved.as_ref().unwrap_or(path);
        let mut place = Place::default();
        let mut inside: Option<Inside<'_>> = None;
        let mut steps = path.steps().iter().peekable();
        while let Some(Step::Field(name)) = steps.next() {
            let at = match steps.peek() {
                Some(Step::Item(at)) => Some(*at),
                _ => None,
            };
            let found = match &inside {
                None => self.at_top(language, name, at),
                Some(Inside::Node(node, kind)) => self.within(*node, kind, name, at),
                Some(Inside::Named(node, known, kind)) if known == name => Some((
                    match kind {
                        Some(kind) => Item { place: place_of(*node), inside: Inside::Node(*node, kind) },
                        None => Item { place: value_of(*node), inside: Inside::Nothing },
                    },
                    true,
                )),
                Some(_) => None,
            };
            let Some((item, exact)) = found else { return (place, false) };
            (place, inside) = (item.place, Some(item.inside));
            if !exact {
                return (place, false);
            }
            if at.is_some() {
                steps.next();
            }
        }
        (place, steps.next().is_none())
    }

    /// An item of a field at the top; where it is not there, the first, and false.
    fn at_top<'a>(&'a self, language: &'a Kind, name: &str, item: Option<usize>) -> Option<(Item<'a>, bool)> {
        let at = *language.named.get(name)?;
        let field = language.fields.get(at)?;
        let tops = self.tops.get_or_init(|| self.tops_by_field(language));
        let nodes = tops.get(&at)?;
        if let Shape::Node(kind) = &field.shape {
            let one = |at: usize| {
                let (file, id) = nodes.get(at)?;
                let node = self.node(*file, *id)?;
                Some(Item { place: place_of(node), inside: Inside::Node(node, kind) })
            };
            return match one(item.unwrap_or(0)) {
                Some(found) => Some((found, true)),
                None => Some((one(0)?, false)),
            };
        }
        let nodes = nodes.iter().filter_map(|(file, id)| self.node(*file, *id));
        pick(nodes.flat_map(|node| self.items(node, field)), item)
    }

    fn tops_by_field(&self, language: &Kind) -> HashMap<usize, Vec<(u32, u32)>> {
        let mut tops: HashMap<usize, Vec<(u32, u32)>> = HashMap::new();
        for (file, id) in &self.order {
            let Some(node) = self.node(*file, *id).filter(|node| !self.is_left_out(*node)) else { continue };
            if let Some((at, _)) = language.find(node.name(), Written::Child) {
                tops.entry(at).or_default().push((*file, *id));
            }
        }
        tops
    }

    fn within<'a>(
        &'a self,
        node: Node<'a>,
        kind: &'a Kind,
        name: &str,
        item: Option<usize>,
    ) -> Option<(Item<'a>, bool)> {
        let at = *kind.named.get(name)?;
        let field = kind.fields.get(at)?;
        let taken = move |value: &Value<'_>| !self.is_value_left_out(node, *value);
        let plain = move |value: Value<'_>| Item {
            place: Place { file: node.file(), span: value.span() },
            inside: Inside::Nothing,
        };
        match field.written {
            Written::Argument | Written::Arguments => {
                let before = kind.arguments.iter().take_while(|other| **other != at).count();
                pick(node.arguments().skip(before).filter(taken).map(plain), item)
            }
            Written::Property => {
                let is = |name: &str| kind.find(name, Written::Property).is_some_and(|(found, _)| found == at);
                let named = node.properties().filter(|property| is(property.name()));
                pick(named.map(|property| property.value()).filter(taken).map(plain), item)
            }
            Written::Child => {
                let is = |name: &str| kind.find(name, Written::Child).is_some_and(|(found, _)| found == at);
                let named = move |child: &Node<'_>| is(child.name()) && !self.is_left_out(*child);
                pick(self.children(node).filter(named).flat_map(|child| self.items(child, field)), item)
            }
            Written::Sequence => {
                let Shape::OneOf(several) = &field.shape else { return None };
                let one = move |child: Node<'a>| {
                    let (name, shape) = several.iter().find(|(name, _)| *name == child.name())?;
                    let inner = match shape {
                        Shape::Node(kind) => Some(&**kind),
                        _ => None,
                    };
                    Some(Item { place: place_of(child), inside: Inside::Named(child, name, inner) })
                };
                pick(self.children(node).filter(move |child| !self.is_left_out(*child)).filter_map(one), item)
            }
        }
    }

    /// What a child node puts into its field.
    fn items<'a>(&'a self, node: Node<'a>, field: &'a Field) -> Vec<Item<'a>> {
        if let Shape::Node(kind) = &field.shape {
            return vec![Item { place: place_of(node), inside: Inside::Node(node, kind) }];
        }
        if matches!(field.shape, Shape::Truth) && node.arguments().next().is_none() {
            return vec![Item { place: place_of(node), inside: Inside::Nothing }];
        }
        let most = if field.many { usize::MAX } else { 1 };
        let taken = node.arguments().take(most).filter(|value| !self.is_value_left_out(node, *value));
        let place = |value: Value<'_>| Place { file: node.file(), span: value.span() };
        taken.map(|value| Item { place: place(value), inside: Inside::Nothing }).collect()
    }

    /// The file of a place.
    pub fn file(&self, place: &Place) -> Option<&File> {
        self.files.get(place.file)
    }
    /// `domains/a.kdl:12:5`; empty where nothing was read.
    pub fn at(&self, place: &Place) -> String {
        self.file(place).map_or_else(String::new, |file| {
            let (line, column) = file.line_column(place.span.start);
            format!("{}:{line}:{column}", printable(&file.name))
        })
    }
}

fn place_of(node: Node<'_>) -> Place {
    Place { file: node.file(), span: node.span() }
}

/// Where a node's value is, or the node itself.
fn value_of(node: Node<'_>) -> Place {
    let span = node.arguments().next().map_or_else(|| node.span(), |value| value.span());
    Place { file: node.file(), span }
}

/// An item by its number, and true; where there are fewer, the first, and false.
fn pick<'a>(mut items: impl Iterator<Item = Item<'a>>, at: Option<usize>) -> Option<(Item<'a>, bool)> {
    let first = items.next()?;
    match at {
        None | Some(0) => Some((first, true)),
        Some(at) => items.nth(at - 1).map(|item| (item, true)).or(Some((first, false))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters() {
        let file = File::new("mail.kdl".into(), Arc::new(tree::parse("a\nbü c\r\n\n")));
        for (offset, want) in [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (6, (2, 4)), (9, (3, 1)), (99, (4, 1))] {
            assert_eq!(file.line_column(offset), want, "{offset}");
        }
        assert_eq!(&file.text[file.line(2)], "bü c");
        assert_eq!(&file.text[file.line(3)], "");
    }

    #[test]
    fn a_path_falls_back_to_its_nearest_parent() {
        let text = "domain \"example.org\" { account \"ada\" { alias \"a\"; alias \"b\" \"c\"; }; spf { mx \"x\"; }; }";
        let tree = Arc::new(tree::parse(text));
        let located = Located {
            order: tree.nodes(0).map(|node| (0, node.id())).collect(),
            files: vec![File::new("mail.kdl".into(), tree)],
            language: Some(Arc::clone(read::grammar::language())),
            ..Located::default()
        };
        let domain = Path::root().field("domain").item(0);
        let alias = domain.field("account").item(0).field("alias");
        for (path, want) in [
            (domain.field("name"), "\"example.org\""),
            (domain.field("dkim").field("key"), "domain"),
            (alias.item(0), "\"a\""),
            (alias.item(2), "\"c\""),
            (alias.item(3), "\"a\""),
            (domain.field("account").item(1).field("quota"), "account"),
            (domain.field("spf").field("terms").item(0), "mx"),
            (domain.field("spf").field("terms").item(0).field("mx"), "\"x\""),
            (Path::root().field("host"), ""),
        ] {
            assert_eq!(&text[located.place(&path).span], want, "{path}");
        }
    }
}
