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
}

impl Iterator for Tokens<'_> {
    type Item = Token;
    fn next(&mut self) -> Option<Token> {
        let rest = &self.text[self.at..];
        let first = rest.chars().next()?;
        let (kind, length) = token(rest, first);
        let span = self.at..self.at + length;
        self.at = span.end;
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

fn is_word(c: char) -> bool {
    !is_space(c) && !is_newline(c) && !"\\/(){};[]\"#=".contains(c)
}

fn token(rest: &str, first: char) -> (Kind, usize) {
    let line = || rest.find(is_newline).unwrap_or(rest.len());
    match first {
        '\r' if rest.starts_with("\r\n") => (Kind::Newline, 2),
        c if is_newline(c) => (Kind::Newline, c.len_utf8()),
        c if is_space(c) => (Kind::Space, rest.find(|c| !is_space(c)).unwrap_or(rest.len())),
        '{' => (Kind::Open, 1),
        '}' => (Kind::Close, 1),
        ';' => (Kind::Semicolon, 1),
        '=' => (Kind::Equals, 1),
        '(' => (Kind::AnnotationOpen, 1),
        ')' => (Kind::AnnotationClose, 1),
        '/' if rest.starts_with("//") => (Kind::LineComment, line()),
        '/' if rest.starts_with("/-") => (Kind::SlashDash, 2),
        '/' if rest.starts_with("/*") => block_comment(rest),
        '\\' => continuation(rest),
        '"' => quoted(rest),
        '#' => hash(rest),
        c if is_word(c) => (Kind::Word, rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
        c => (Kind::Stray, c.len_utf8()),
    }
}

fn block_comment(rest: &str) -> (Kind, usize) {
    let octets = rest.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
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
    (Kind::Unended, rest.len())
}

fn continuation(rest: &str) -> (Kind, usize) {
    let mut at = 1;
    loop {
        let tail = &rest[at..];
        match tail.chars().next() {
            None => return (Kind::Continuation, at),
            Some('\r') if tail.starts_with("\r\n") => return (Kind::Continuation, at + 2),
            Some(c) if is_newline(c) => return (Kind::Continuation, at + c.len_utf8()),
            Some(c) if is_space(c) => at += c.len_utf8(),
            Some('/') if tail.starts_with("//") => at += tail.find(is_newline).unwrap_or(tail.len()),
            Some('/') if tail.starts_with("/*") => at += block_comment(tail).1,
            Some(_) => return (Kind::Stray, 1),
        }
    }
}

fn quoted(rest: &str) -> (Kind, usize) {
    let (fence, lines) = if rest.starts_with("\"\"\"") { ("\"\"\"", true) } else { ("\"", false) };
    let mut at = fence.len();
    while let Some(c) = rest[at..].chars().next() {
        if rest[at..].starts_with(fence) {
            return (Kind::Quoted, at + fence.len());
        }
        if c == '\\' {
            at += 1;
            let escaped = &rest[at..];
            // `\` before white space takes all of it, line ends too.
            at += match escaped.chars().next() {
                Some(c) if is_space(c) || is_newline(c) => {
                    escaped.find(|c| !is_space(c) && !is_newline(c)).unwrap_or(escaped.len())
                }
                Some(c) => c.len_utf8(),
                None => 0,
            };
        } else if !lines && is_newline(c) {
            return (Kind::Unended, at);
        } else {
            at += c.len_utf8();
        }
    }
    (Kind::Unended, rest.len())
}

fn hash(rest: &str) -> (Kind, usize) {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let body = &rest[hashes..];
    if !body.starts_with('"') {
        let word = body.find(|c| !is_word(c)).unwrap_or(body.len());
        return if hashes == 1 && word > 0 { (Kind::Word, 1 + word) } else { (Kind::Stray, hashes) };
    }
    let lines = body.starts_with("\"\"\"");
    let fence = if lines { "\"\"\"" } else { "\"" };
    let close = format!("{fence}{}", &rest[..hashes]);
    let inner = &body[fence.len()..];
    // Looked at once, up to the first of both ends: a search for each would make a long line quadratic.
    for (at, c) in inner.char_indices() {
        if c == '"' && inner[at..].starts_with(&close) {
            return (Kind::Quoted, hashes + fence.len() + at + close.len());
        }
        if !lines && is_newline(c) {
            return (Kind::Unended, hashes + fence.len() + at);
        }
    }
    (Kind::Unended, rest.len())
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
