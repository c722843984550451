//! Octets of a text and an editor's positions in it.

use lsp_types::{Position, Range};
use std::ops;

/// What an editor counts columns in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Octets.
    Utf8,
    /// UTF-16 code units, which every editor can.
    Utf16,
}

/// A text with the beginnings of its lines.
#[derive(Clone, Debug)]
pub struct Lines {
    /// The text.
    pub text: String,
    starts: Vec<usize>,
    encoding: Encoding,
}

impl Lines {
    /// A text's lines.
    pub fn new(text: String, encoding: Encoding) -> Lines {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Lines { text, starts, encoding }
    }

    /// The position of an octet; past the end is the end.
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(0);
        let before = &self.text[start..offset];
        let column = match self.encoding {
            Encoding::Utf8 => before.len(),
            Encoding::Utf16 => before.encode_utf16().count(),
        };
        Position::new(small(line), small(column))
    }

    /// The positions of a span.
    pub fn range(&self, span: &ops::Range<usize>) -> Range {
        Range::new(self.position(span.start), self.position(span.end))
    }

    /// The octet of a position; past the end of a line is its end.
    pub fn offset(&self, position: Position) -> usize {
        let line = usize::try_from(position.line).unwrap_or(usize::MAX);
        let Some(start) = self.starts.get(line).copied() else { return self.text.len() };
        let end = self.starts.get(line + 1).copied().unwrap_or(self.text.len());
        let text = self.text[start..end].trim_end_matches(['\n', '\r']);
        let wanted = usize::try_from(position.character).unwrap_or(usize::MAX);
        if self.encoding == Encoding::Utf8 {
            return start + text.floor_char_boundary(wanted.min(text.len()));
        }
        let mut column = 0;
        for (at, c) in text.char_indices() {
            if column >= wanted {
                return start + at;
            }
            column += c.len_utf16();
        }
        start + text.len()
    }

    /// The text with a part of it replaced.
    pub fn edited(&self, range: Range, text: &str) -> Lines {
        let (from, to) = (self.offset(range.start), self.offset(range.end));
        let mut whole = String::with_capacity(self.text.len() + text.len());
        whole.push_str(&self.text[..from]);
        whole.push_str(text);
        whole.push_str(&self.text[to.max(from)..]);
        Lines::new(whole, self.encoding)
    }
}

/// Where a position is after an edit; within what was replaced, where that begins.
pub fn moved(at: Position, edit: Range, text: &str, encoding: Encoding) -> Position {
    if at <= edit.start {
        return at;
    }
    if at < edit.end {
        return edit.start;
    }
    let lines = small(memchr::memchr_iter(b'\n', text.as_bytes()).count());
    let last = text.rsplit('\n').next().unwrap_or_default();
    let width = small(match encoding {
        Encoding::Utf8 => last.len(),
        Encoding::Utf16 => last.encode_utf16().count(),
    });
    let line = (edit.start.line + lines).saturating_add(at.line - edit.end.line);
    let character = match (at.line == edit.end.line, lines) {
        (true, 0) => (edit.start.character + width).saturating_add(at.character - edit.end.character),
        (true, _) => width.saturating_add(at.character - edit.end.character),
        (false, _) => at.character,
    };
    Position::new(line, character)
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_moves_with_the_text_before_it() {
        let text = "one two\nthree four\nfive\n";
        let at = |lines: &Lines| lines.position(lines.text.find("four").unwrap_or_default());
        for (from, to, new) in [(0, 3, "1"), (0, 0, "x\ny"), (4, 14, "😀 "), (8, 13, "t\nh"), (20, 20, ">")] {
            let lines = Lines::new(text.into(), Encoding::Utf16);
            let edit = lines.range(&(from..to));
            let after = lines.edited(edit, new);
            assert_eq!(moved(at(&lines), edit, new, Encoding::Utf16), at(&after));
        }
        let lines = Lines::new(text.into(), Encoding::Utf8);
        let edit = lines.range(&(4..16));
        assert_eq!(moved(at(&lines), edit, "é", Encoding::Utf8), edit.start);
    }

    #[test]
    fn positions_are_offsets_and_back() {
        for (encoding, column) in [(Encoding::Utf16, 3), (Encoding::Utf8, 6)] {
            let lines = Lines::new("a\nü😀b\r\n".into(), encoding);
            let at = lines.text.find('b').unwrap_or_default();
            let position = Position::new(1, column);
            assert_eq!(lines.position(at), position);
            assert_eq!(lines.offset(position), at);
            assert_eq!(lines.offset(Position::new(1, 99)), at + 1);
            assert_eq!(lines.offset(Position::new(9, 0)), lines.text.len());
            assert_eq!(lines.edited(Range::new(Position::new(0, 0), position), "x").text, "xb\r\n");
        }
    }
}
