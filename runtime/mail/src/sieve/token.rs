//! A script's tokens (RFC 5228 §8.1). Linear in the script's length.

use super::problem::{Kind, Problems, quoted};
use super::tree::Span;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// An identifier.
    Word(String),
    /// `:identifier`.
    Tag(String),
    Number(u64),
    Text(String),
    /// One of `( ) [ ] { } , ;`.
    Mark(u8),
    /// Something wrong, which was told.
    Bad,
    End,
}

pub struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

const WORDS: &str = "RFC 5228 §2.1";

impl<'a> Tokens<'a> {
    /// Begins after these octets.
    pub fn after(text: &'a str, at: usize) -> Tokens<'a> {
        Tokens { text, at }
    }

    /// The next token and where it is.
    pub fn next(&mut self, problems: &mut Problems) -> (Token, Span) {
        if let Some(span) = self.skip_space(problems) {
            return (Token::Bad, span);
        }
        let start = self.at;
        let token = match self.peek() {
            None => Token::End,
            Some(mark @ (b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b';')) => {
                self.at += 1;
                Token::Mark(mark)
            }
            Some(b'"') => self.quoted(problems),
            Some(b':') => self.tag(problems),
            Some(b'0'..=b'9') => self.number(problems),
            Some(c) if is_first(c) => {
                let word = self.word();
                match word == "text" && self.peek() == Some(b':') {
                    true => self.lines(start, problems),
                    false => Token::Word(word),
                }
            }
            Some(_) => self.strange(problems),
        };
        (token, start..self.at)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over what fits.
    fn take(&mut self, fits: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let long = rest.bytes().position(|c| !fits(c)).unwrap_or(rest.len());
        self.at += long;
        rest.get(..long).unwrap_or_default()
    }

    fn word(&mut self) -> String {
        self.take(|c| is_first(c) || c.is_ascii_digit()).to_ascii_lowercase()
    }

    /// Steps over space and comments. The span of a comment that does not end.
    fn skip_space(&mut self, problems: &mut Problems) -> Option<Span> {
        loop {
            self.take(|c| matches!(c, b' ' | b'\t' | b'\r' | b'\n'));
            if self.peek() == Some(b'#') {
                self.take(|c| c != b'\n');
            } else if self.rest().starts_with("/*") {
                let Some(end) = self.rest().get(2..).and_then(|rest| rest.find("*/")) else {
                    let span = self.at..self.at + 2;
                    self.at = self.text.len();
                    let says = "the comment that begins here does not end".to_owned();
                    problems.find(Kind::Syntax, &span, "RFC 5228 §2.3", says).help("end it with `*/`");
                    return Some(span);
                };
                self.at += end + 4;
            } else {
                return None;
            }
        }
    }

    fn tag(&mut self, problems: &mut Problems) -> Token {
        let start = self.at;
        self.at += 1;
        if self.peek().is_some_and(is_first) {
            return Token::Tag(self.word());
        }
        let says = "`:` begins a tagged argument, and no name follows".to_owned();
        problems.find(Kind::Syntax, &(start..self.at), "RFC 5228 §2.6.2", says).help("write as in `:contains`");
        Token::Bad
    }

    fn number(&mut self, problems: &mut Problems) -> Token {
        const SECTION: &str = "RFC 5228 §2.4.1";
        let start = self.at;
        let digits = self.take(|c| c.is_ascii_digit());
        let unit = self.take(|c| is_first(c) || c.is_ascii_digit());
        let span = start..self.at;
        let factor = match unit {
            "" => 1,
            "K" | "k" => 1 << 10,
            "M" | "m" => 1 << 20,
            "G" | "g" => 1 << 30,
            _ => {
                let says = format!("{} is no number", quoted(self.text.get(span.clone()).unwrap_or_default()));
                problems.find(Kind::Syntax, &span, SECTION, says).help("a number may end in K, M or G, as in `100K`");
                return Token::Bad;
            }
        };
        match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)) {
            Some(number) => Token::Number(number),
            None => {
                let says = "the number is larger than can be counted, 2^64".to_owned();
                problems.find(Kind::Limit, &span, SECTION, says).help("write a smaller one");
                Token::Bad
            }
        }
    }

    fn quoted(&mut self, problems: &mut Problems) -> Token {
        let start = self.at;
        self.at += 1;
        let mut value = String::new();
        loop {
            value += self.take(|c| !matches!(c, b'"' | b'\\' | b'\r' | b'\n' | 0));
            let (open, c) = (self.at, self.peek());
            self.at += 1;
            match c {
                Some(b'"') => return Token::Text(value),
                Some(b'\\') => match self.rest().chars().next() {
                    // An escaped line end or NUL is as wrong or right as a bare one.
                    Some('\r' | '\n' | '\0') | None => {}
                    Some(c) => {
                        value.push(c);
                        self.at += c.len_utf8();
                    }
                },
                Some(b'\n') => value += "\r\n",
                Some(b'\r') if self.peek() == Some(b'\n') => {}
                Some(_) => self.control(open, problems),
                None => {
                    self.at = self.text.len();
                    let says = "the string that begins here does not end".to_owned();
                    problems
                        .find(Kind::Syntax, &(start..start + 1), "RFC 5228 §2.4.2", says)
                        .help("end it with `\"`; inside, `\\\"` is a quote");
                    return Token::Bad;
                }
            }
        }
    }

    /// A string of lines, after the word `text` and at the colon.
    fn lines(&mut self, start: usize, problems: &mut Problems) -> Token {
        const SECTION: &str = "RFC 5228 §2.4.2";
        self.at += 1;
        self.take(|c| matches!(c, b' ' | b'\t'));
        if self.peek() == Some(b'#') {
            self.take(|c| c != b'\n');
        }
        self.take(|c| c == b'\r');
        if self.peek() != Some(b'\n') {
            let says = "the lines of `text:` begin on the next line".to_owned();
            problems.find(Kind::Syntax, &(start..self.at), SECTION, says).help("break the line after `text:`");
            return Token::Bad;
        }
        self.at += 1;
        let mut value = String::new();
        while self.at < self.text.len() {
            let begin = self.at;
            let line = self.take(|c| c != b'\n');
            let ended = self.peek().is_some();
            self.at += usize::from(ended);
            let line = line.strip_suffix('\r').filter(|_| ended).unwrap_or(line);
            match line {
                "." => {
                    // What follows the dot's line end is another line; the token ends with the dot.
                    self.at = begin + 1;
                    return Token::Text(value);
                }
                _ => {
                    if let Some(at) = line.find(['\r', '\0']) {
                        self.control(begin + at, problems);
                    }
                    // `.foo` without its second dot means itself.
                    let dotted = line.strip_prefix('.').filter(|rest| rest.starts_with('.'));
                    value.extend(dotted.unwrap_or(line).chars().filter(|c| !matches!(c, '\r' | '\0')));
                    value += "\r\n";
                }
            }
        }
        let says = "the lines of `text:` do not end".to_owned();
        problems.find(Kind::Syntax, &(start..start + 5), SECTION, says).help("end them with a line of one `.`");
        Token::Bad
    }

    fn control(&self, at: usize, problems: &mut Problems) {
        let says = match self.text.as_bytes().get(at) {
            Some(0) => "a NUL in a string",
            _ => "a carriage return without its line feed in a string",
        };
        problems.find(Kind::Syntax, &(at..at + 1), "RFC 5228 §8.1", says.to_owned()).help("take it out");
    }

    fn strange(&mut self, problems: &mut Problems) -> Token {
        let start = self.at;
        let rest = self.rest();
        let known = |c: char| c.is_whitespace() || c.is_ascii_alphanumeric() || "_\"#:()[]{},;".contains(c);
        let long = rest.char_indices().skip(1).find(|(_, c)| known(*c)).map_or(rest.len(), |(at, _)| at);
        self.at += long;
        let span = start..self.at;
        let says = format!("{} is nothing in Sieve", quoted(rest.get(..long).unwrap_or_default()));
        problems.find(Kind::Syntax, &span, WORDS, says).help("a string stands in quotes `\"`, a comment behind `#`");
        Token::Bad
    }
}

fn is_first(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_'
}
