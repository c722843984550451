//! Patterns of `:regex`: extended regular expressions of POSIX (draft-ietf-sieve-regex §3). Those of `:matches`
//! cannot be wrong (RFC 5228 §2.7.1).

use std::iter::Peekable;
use std::str::Chars;

/// The most repetitions that a pattern may ask for (POSIX's `RE_DUP_MAX`).
pub const REPEAT_MOST: u32 = 255;
/// How deep groups may nest.
pub const GROUPS_MOST: usize = 32;

const CLASSES: [&str; 12] =
    ["alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"];

/// Why a pattern is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// `a\`
    #[error("ends in a `\\` that escapes nothing")]
    Escape,
    /// `(a` or `a)`
    #[error("has a parenthesis without the other")]
    Parenthesis,
    /// `[a`
    #[error("has a `[` without its `]`")]
    Bracket,
    /// `[[:letter:]]`
    #[error("names a class of characters that does not exist")]
    Class,
    /// `[z-a]`
    #[error("has a range that ends before it begins")]
    Range,
    /// `*a`
    #[error("repeats nothing")]
    Nothing,
    /// `a{2,1}`, `a{x}`, `a{1000}`
    #[error("has braces that are no `{{2}}`, `{{2,}}` or `{{2,5}}` of up to 255")]
    Repeat,
    /// Too many groups inside one another.
    #[error("nests groups deeper than 32")]
    Deep,
}

/// Whether a pattern can be matched.
///
/// # Errors
/// [`PatternError`], the first.
pub fn is_pattern(pattern: &str) -> Result<(), PatternError> {
    let mut rest = pattern.chars().peekable();
    let mut open = 0_usize;
    // Whether something stands before that can be repeated.
    let mut repeatable = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                rest.next().ok_or(PatternError::Escape)?;
                repeatable = true;
            }
            '(' => {
                open += 1;
                repeatable = false;
                if open > GROUPS_MOST {
                    return Err(PatternError::Deep);
                }
            }
            ')' => {
                open = open.checked_sub(1).ok_or(PatternError::Parenthesis)?;
                repeatable = true;
            }
            '[' => {
                bracket(&mut rest)?;
                repeatable = true;
            }
            '*' | '+' | '?' | '{' if !repeatable => return Err(PatternError::Nothing),
            '{' => repeat(&mut rest)?,
            '*' | '+' | '?' => {}
            '|' | '^' => repeatable = false,
            _ => repeatable = true,
        }
    }
    if open == 0 { Ok(()) } else { Err(PatternError::Parenthesis) }
}

/// After the `{`.
fn repeat(rest: &mut Peekable<Chars<'_>>) -> Result<(), PatternError> {
    let (mut bounds, mut at) = ([None::<u32>; 2], 0);
    loop {
        match rest.next() {
            Some('}') => break,
            Some(',') if at == 0 => at = 1,
            Some(c) => {
                let digit = c.to_digit(10).ok_or(PatternError::Repeat)?;
                let bound = bounds.get_mut(at).ok_or(PatternError::Repeat)?;
                let count = bound.unwrap_or(0) * 10 + digit;
                if count > REPEAT_MOST {
                    return Err(PatternError::Repeat);
                }
                *bound = Some(count);
            }
            None => return Err(PatternError::Repeat),
        }
    }
    match bounds {
        [None, _] => Err(PatternError::Repeat),
        [Some(least), Some(most)] if most < least => Err(PatternError::Repeat),
        _ => Ok(()),
    }
}

/// After the `[`.
fn bracket(rest: &mut Peekable<Chars<'_>>) -> Result<(), PatternError> {
    rest.next_if_eq(&'^');
    let (mut first, mut before) = (true, None::<char>);
    loop {
        let c = rest.next().ok_or(PatternError::Bracket)?;
        match (c, rest.peek().copied()) {
            (']', _) if !first => return Ok(()),
            ('[', Some(kind @ (':' | '.' | '='))) => {
                rest.next();
                named(kind, rest)?;
                before = None;
            }
            ('-', Some(end)) if before.is_some() && end != ']' => {
                rest.next();
                match (end, rest.peek().copied()) {
                    ('[', Some(kind @ ('.' | '='))) => {
                        rest.next();
                        named(kind, rest)?;
                    }
                    _ if before > Some(end) => return Err(PatternError::Range),
                    _ => {}
                }
                before = None;
            }
            _ => before = Some(c),
        }
        first = false;
    }
}

/// `[:alpha:]`, `[.-.]`, `[=e=]`, after `[:`.
fn named(kind: char, rest: &mut Peekable<Chars<'_>>) -> Result<(), PatternError> {
    let mut name = String::new();
    loop {
        let c = rest.next().ok_or(PatternError::Bracket)?;
        if c == kind && rest.next_if_eq(&']').is_some() {
            break;
        }
        name.push(c);
    }
    match kind == ':' && !CLASSES.contains(&name.as_str()) {
        true => Err(PatternError::Class),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for fine in [
            "",
            "a(b|c)*d",
            r"\(\)",
            "[]a]",
            "[^]a-]",
            "[[:alpha:]_]{2,5}x?",
            "a{3}b{1,}",
            "^$",
            "(^a|b$)",
            "[a-z0-9.-]+",
        ] {
            assert_eq!(is_pattern(fine), Ok(()), "{fine}");
        }
        for (wrong, why) in [
            ("a\\", PatternError::Escape),
            ("(a", PatternError::Parenthesis),
            ("a)", PatternError::Parenthesis),
            ("[a", PatternError::Bracket),
            ("[]", PatternError::Bracket),
            ("[[:alpha:", PatternError::Bracket),
            ("[[:letter:]]", PatternError::Class),
            ("[z-a]", PatternError::Range),
            ("*a", PatternError::Nothing),
            ("(+)", PatternError::Nothing),
            ("a{2,1}", PatternError::Repeat),
            ("a{,1}", PatternError::Repeat),
            ("a{1", PatternError::Repeat),
            ("a{99999999999}", PatternError::Repeat),
        ] {
            assert_eq!(is_pattern(wrong), Err(why), "{wrong}");
        }
        assert_eq!(is_pattern(&"(".repeat(40)), Err(PatternError::Deep));
    }
}
