//! From a path into the spec's JSON form to a place in a file.

use crate::diagnostic::excerpt::Excerpt;
use crate::diagnostic::{Path, Step, printable};
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

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
    pub text: String,
    /// Names and values that are known to be no secret; nothing else is ever shown. Sorted.
    pub plain: Vec<Range<usize>>,
    /// It could not be read, and is here for its name.
    pub unread: bool,
    lines: OnceLock<Vec<usize>>,
    excerpt: OnceLock<Arc<Excerpt>>,
}

impl fmt::Debug for File {
    /// Without its text, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.name).finish()
    }
}

impl File {
    /// A file with its text.
    pub fn new(name: String, text: String) -> File {
        let (lines, excerpt) = (OnceLock::new(), OnceLock::new());
        File { name, text, plain: Vec::new(), unread: false, lines, excerpt }
    }

    /// A file of another language than the spec's, which is shown as it is.
    pub fn script(name: String, text: String) -> File {
        let plain = std::iter::once(0..text.len()).collect();
        File { plain, ..File::new(name, text) }
    }

    /// A file that could not be read.
    pub fn unread(name: String) -> File {
        File { unread: true, ..File::new(name, String::new()) }
    }

    /// Its text as it is shown.
    pub fn excerpt(&self) -> &Arc<Excerpt> {
        self.excerpt.get_or_init(|| Arc::new(Excerpt::of(self)))
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

/// Where a value and what is inside it were written: the spec's JSON form again, with places for values.
#[derive(Clone, Debug, Default)]
pub struct Spot {
    /// Where the value is.
    pub place: Place,
    /// The fields of an object.
    pub fields: Vec<(Arc<str>, Spot)>,
    /// The items of an array.
    pub items: Vec<Spot>,
}

impl Spot {
    /// A value with nothing inside.
    pub fn new(place: Place) -> Spot {
        Spot { place, ..Spot::default() }
    }
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Spot> {
        self.fields.iter().find(|(known, _)| &**known == name).map(|(_, spot)| spot)
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
                None => written.then(step.clone()),
            };
        }
        Some(written)
    }
}

/// The files of a spec and where everything in it was written.
#[derive(Debug, Default)]
pub struct Located {
    /// The files in the order read; [`Place::file`] counts in them.
    pub files: Vec<File>,
    /// The places.
    pub root: Spot,
    /// Where each node at the top of a file begins, also those that were not understood.
    pub tops: Vec<Place>,
    /// What stands before the files' names for programs that look from another folder: `mail/`.
    pub base: String,
    /// What an overlay put elsewhere than where it was written.
    pub moves: Moves,
}

impl Located {
    /// Where a path's value was written; where it was not written, its nearest parent.
    pub fn place(&self, path: &Path) -> Place {
        let moved = self.moves.follow(path);
        let mut spot = &self.root;
        for step in moved.as_ref().unwrap_or(path).steps() {
            let next = match step {
                Step::Field(name) => spot.field(name),
                Step::Item(at) => spot.items.get(*at),
            };
            match next {
                Some(next) => spot = next,
                None => break,
            }
        }
        spot.place.clone()
    }
    /// Where a path's very value was written.
    pub fn exact(&self, path: &Path) -> Option<Place> {
        let moved = self.moves.follow(path);
        let mut spot = &self.root;
        for step in moved.as_ref().unwrap_or(path).steps() {
            spot = match step {
                Step::Field(name) => spot.field(name)?,
                Step::Item(at) => spot.items.get(*at)?,
            };
        }
        Some(spot.place.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters() {
        let file = File::new("mail.kdl".into(), "a\nbü c\r\n\n".into());
        for (offset, want) in [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (6, (2, 4)), (9, (3, 1)), (99, (4, 1))] {
            assert_eq!(file.line_column(offset), want, "{offset}");
        }
        assert_eq!(&file.text[file.line(2)], "bü c");
        assert_eq!(&file.text[file.line(3)], "");
    }

    #[test]
    fn a_path_falls_back_to_its_nearest_parent() {
        let spot = |at: usize| Spot::new(Place { file: 0, span: at..at + 1 });
        let mut domain = spot(5);
        domain.fields.push(("name".into(), spot(7)));
        let mut domains = spot(5);
        domains.items.push(domain);
        let located =
            Located { root: Spot { fields: vec![("domain".into(), domains)], ..spot(0) }, ..Located::default() };
        let path = Path::root().field("domain").item(0);
        assert_eq!(located.place(&path.field("name")).span.start, 7);
        assert_eq!(located.place(&path.field("dkim").field("key")).span.start, 5);
        assert_eq!(located.place(&Path::root().field("host")).span.start, 0);
    }
}
