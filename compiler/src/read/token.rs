//! KDL text cut into tokens (KDL 2.0 §3): what bounds nesting, what finds secrets in broken text, what `fmt` moves.
//!
//! Every octet belongs to exactly one token, whatever the text; nothing here fails or recurses.

use std::ops::Range;

/// A token's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Spaces and tabs within a line.
    Space,
    /// One line end.
    Newline,
    /// `// …` without its line end.
    LineComment,
    /// `/* … */`, nested ones within.
    BlockComment,
    /// `/-`, which comments out what follows.
    SlashDash,
    /// `\`, its line end and the comment between.
    Continuation,
    /// `{`
    Open,
    /// `}`
    Close,
    /// `;`
    Semicolon,
    /// `=`
    Equals,
    /// `(`
    AnnotationOpen,
    /// `)`
    AnnotationClose,
    /// A string in quotes, of any of the four sorts.
    Quoted,
    /// A string in quotes or a comment that does not end.
    Unended,
    /// A bare word, number or `#keyword`.
    Word,
    /// What can stand nowhere.
    Stray,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its octets.
    pub span: Range<usize>,
}

/// The tokens of a text.
pub struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// The tokens of `text`.
    pub fn new(text: &'a str) -> Tokens<'a> {
        Tokens { text, at: 0 }
    }

    /// The tokens from an octet on, which must begin one.
    pub fn from(text: &'a str, at: usize) -> Tokens<'a> {
        Tokens { text, at }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;
    fn next(&mut self) -> Option<Token> {
        let (kind, end) = cut(self.text, self.at)?;
        let span = self.at..end;
        self.at = end;
        Some(Token { kind, span })
    }
}

/// Whether a character ends a line (KDL 2.0 §3.16).
pub fn is_newline(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether a character is white space within a line (KDL 2.0 §3.17).
pub fn is_space(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && !is_newline(c))
}

/// Octets of ASCII that words are made of.
const WORD: [bool; 256] = table(b"\t\n\r\x0b\x0c \\/(){};[]\"#=");
/// Octets that need no look inside a string in quotes; those of line ends beyond ASCII begin with C2 and E2.
const PLAIN: [bool; 256] = table(b"\"\\\n\r\x0b\x0c\xc2\xe2");
/// Octets that are no line end and begin none.
const INLINE: [bool; 256] = table(b"\n\r\x0b\x0c\xc2\xe2");

const fn table(not: &[u8]) -> [bool; 256] {
    let mut table = [true; 256];
    let mut at = 0;
    while at < not.len() {
        table[not[at] as usize] = false;
        at += 1;
    }
    table
}

fn char_at(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// The token that begins at `at`: its kind and its end; `None` at the text's end.
#[inline]
pub fn cut(text: &str, at: usize) -> Option<(Kind, usize)> {
    let first = *text.as_bytes().get(at)?;
    Some(match first {
        b' ' | b'\t' => (Kind::Space, spaces(text, at)),
        b'\n' | 0xb | 0xc => (Kind::Newline, at + 1),
        b'"' => quoted(text, at),
        b'{' => (Kind::Open, at + 1),
        b'}' => (Kind::Close, at + 1),
        b';' => (Kind::Semicolon, at + 1),
        b'=' => (Kind::Equals, at + 1),
        b'(' => (Kind::AnnotationOpen, at + 1),
        b')' => (Kind::AnnotationClose, at + 1),
        octet if octet < 0x80 && WORD[usize::from(octet)] => (Kind::Word, word(text, at)),
        _ => rare(text, at, first),
    })
}

fn rare(text: &str, at: usize, first: u8) -> (Kind, usize) {
    let rest = &text[at..];
    match first {
        b'\r' => (Kind::Newline, at + if rest.starts_with("\r\n") { 2 } else { 1 }),
        b'/' if rest.starts_with("//") => (Kind::LineComment, line(text, at)),
        b'/' if rest.starts_with("/-") => (Kind::SlashDash, at + 2),
        b'/' if rest.starts_with("/*") => block_comment(text, at),
        b'\\' => continuation(text, at),
        b'#' => hash(text, at),
        _ => match rest.chars().next() {
            Some(c) if c.is_ascii() => (Kind::Stray, at + 1),
            Some(c) if is_newline(c) => (Kind::Newline, at + c.len_utf8()),
            Some(c) if is_space(c) => (Kind::Space, spaces(text, at)),
            _ => (Kind::Word, word(text, at)),
        },
    }
}

/// Where a run of characters ends: of ASCII by the table, of others by what `fits`.
#[inline]
fn run(text: &str, mut at: usize, ascii: &[bool; 256], fits: impl Fn(char) -> bool) -> usize {
    let octets = text.as_bytes();
    while let Some(octet) = octets.get(at) {
        if *octet < 0x80 {
            if !ascii[usize::from(*octet)] {
                return at;
            }
            at += 1;
            continue;
        }
        match char_at(text, at) {
            Some(c) if fits(c) => at += c.len_utf8(),
            _ => return at,
        }
    }
    at
}

#[inline]
fn word(text: &str, at: usize) -> usize {
    run(text, at, &WORD, |c| !is_space(c) && !is_newline(c))
}

fn spaces(text: &str, mut at: usize) -> usize {
    let octets = text.as_bytes();
    loop {
        match octets.get(at) {
            Some(b' ' | b'\t') => at += 1,
            Some(0x80..) => match char_at(text, at) {
                Some(c) if is_space(c) => at += c.len_utf8(),
                _ => return at,
            },
            _ => return at,
        }
    }
}

/// White space of all sorts, line ends too.
fn blank(text: &str, at: usize) -> usize {
    text.get(at..).map_or(at, |rest| at + rest.find(|c| !is_space(c) && !is_newline(c)).unwrap_or(rest.len()))
}

/// Where the line ends.
fn line(text: &str, mut at: usize) -> usize {
    let octets = text.as_bytes();
    while let Some(octet) = octets.get(at) {
        if INLINE[usize::from(*octet)] {
            at += 1;
            continue;
        }
        match char_at(text, at) {
            Some(c) if is_newline(c) => return at,
            Some(c) => at += c.len_utf8(),
            // Within a character.
            None => at += 1,
        }
    }
    at
}

fn block_comment(text: &str, from: usize) -> (Kind, usize) {
    let octets = text.as_bytes();
    let (mut depth, mut at) = (0_usize, from);
    while at + 1 < octets.len() {
        match &octets[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return (Kind::BlockComment, at);
                }
            }
            _ => at += 1,
        }
    }
    (Kind::Unended, text.len())
}

fn continuation(text: &str, from: usize) -> (Kind, usize) {
    let mut at = from + 1;
    loop {
        let tail = &text[at..];
        match tail.chars().next() {
            None => return (Kind::Continuation, at),
            Some('\r') if tail.starts_with("\r\n") => return (Kind::Continuation, at + 2),
            Some(c) if is_newline(c) => return (Kind::Continuation, at + c.len_utf8()),
            Some(c) if is_space(c) => at += c.len_utf8(),
            Some('/') if tail.starts_with("//") => at = line(text, at),
            Some('/') if tail.starts_with("/*") => match block_comment(text, at) {
                (Kind::Unended, end) => return (Kind::Unended, end),
                (_, end) => at = end,
            },
            Some(_) => return (Kind::Stray, from + 1),
        }
    }
}

#[inline]
fn quoted(text: &str, from: usize) -> (Kind, usize) {
    let octets = text.as_bytes();
    let lines = octets[from..].starts_with(b"\"\"\"");
    let mut at = from + if lines { 3 } else { 1 };
    while let Some(octet) = octets.get(at) {
        match *octet {
            octet if PLAIN[usize::from(octet)] => at += 1,
            b'"' if !lines => return (Kind::Quoted, at + 1),
            b'"' if octets[at..].starts_with(b"\"\"\"") => return (Kind::Quoted, at + 3),
            b'"' => at += 1,
            // `\` before white space takes all of it, line ends too.
            b'\\' => {
                at += 1;
                let after = blank(text, at);
                at = if after > at { after } else { at + char_at(text, at).map_or(0, char::len_utf8) };
            }
            _ => match char_at(text, at) {
                Some(c) if !lines && is_newline(c) => return (Kind::Unended, at),
                c => at += c.map_or(1, char::len_utf8),
            },
        }
    }
    (Kind::Unended, text.len())
}

fn hash(text: &str, from: usize) -> (Kind, usize) {
    let rest = &text[from..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let start = from + hashes;
    let body = &text[start..];
    if !body.starts_with('"') {
        let end = word(text, start);
        return if hashes == 1 && end > start { (Kind::Word, end) } else { (Kind::Stray, start) };
    }
    let lines = body.starts_with("\"\"\"");
    let fence = if lines { "\"\"\"" } else { "\"" };
    let close = format!("{fence}{}", &rest[..hashes]);
    let inner = &body[fence.len()..];
    // Looked at once, up to the first of both ends: a search for each would make a long line quadratic.
    for (at, c) in inner.char_indices() {
        if c == '"' && inner[at..].starts_with(&close) {
            return (Kind::Quoted, start + fence.len() + at + close.len());
        }
        if !lines && is_newline(c) {
            return (Kind::Unended, start + fence.len() + at);
        }
    }
    (Kind::Unended, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        Tokens::new(text).map(|t| (t.kind, &text[t.span])).filter(|(kind, _)| *kind != Kind::Space).collect()
    }

    #[test]
    fn strings_and_comments_hide_what_is_in_them() {
        for hidden in [
            "\"{\\\"{\"",
            "#\"{\"{\"#",
            "##\"{\"#{\"##",
            "\"\"\"\n{\"\"{\n\"\"\"",
            "#\"\"\"\n{\"\n\"\"\"#",
            "// {",
            "/* { /* { */ { */",
        ] {
            assert!(kinds(hidden).iter().all(|(kind, _)| *kind != Kind::Open), "{hidden}");
            assert_eq!(kinds(hidden).len(), 1, "{hidden}");
        }
        assert_eq!(kinds("\"a\n{").iter().map(|t| t.0).collect::<Vec<_>>(), [Kind::Unended, Kind::Newline, Kind::Open]);
    }

    #[test]
    fn a_node_is_cut_into_its_tokens() {
        use Kind::*;
        let want = [
            Word,
            Quoted,
            Word,
            Equals,
            AnnotationOpen,
            Word,
            AnnotationClose,
            Quoted,
            Open,
            Word,
            Word,
            Semicolon,
            Close,
        ];
        assert_eq!(kinds("n \"a\" k=(env)\"X\" { x #true; }").iter().map(|t| t.0).collect::<Vec<_>>(), want);
        assert_eq!(kinds("a \\ // c\n b").iter().map(|t| t.0).collect::<Vec<_>>(), [Word, Continuation, Word]);
    }

    #[test]
    fn every_octet_is_in_one_token() {
        for text in
            ["\\", "#", "##\"", "\"", "\"\"\"", "/*/", "a\u{2028}é[]", "\"\\", "\u{feff}x", "/", "#ä\"\"\"\"\"\"\""]
        {
            let mut at = 0;
            for token in Tokens::new(text) {
                assert!(token.span.start == at && token.span.end > at, "{text:?}");
                at = token.span.end;
            }
            assert_eq!(at, text.len());
        }
    }
}
