//! What a string or word of KDL says: quotes taken off, escapes resolved, lines dedented, numbers read (KDL 2.0 §3.10–3.14).

use super::token::{is_newline, is_space};
use super::tree::Scalar;
use std::borrow::Cow;

/// Words that KDL 1 took as values and KDL 2 wants with a `#`.
const KEYWORDS: [&str; 6] = ["true", "false", "null", "inf", "-inf", "nan"];

/// Why a string or word says nothing: a sentence, and whether it is KDL 1.
pub struct Wrong {
    /// What is wrong.
    pub says: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Written as KDL 1 had it.
    pub old: bool,
}

fn wrong(says: &str) -> Wrong {
    Wrong { says: says.to_owned(), help: None, old: false }
}

/// The text of a string in quotes, as it stands in the file.
///
/// # Errors
/// [`Wrong`] where an escape is not known or a string of several lines is not indented alike.
pub fn quoted(written: &str) -> Result<Cow<'_, str>, Wrong> {
    // Nearly all strings.
    if let Some(line) = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
        && memchr::memchr2(b'\\', b'"', line.as_bytes()).is_none()
    {
        return Ok(Cow::Borrowed(line));
    }
    let hashes = written.len() - written.trim_start_matches('#').len();
    let inner = written.get(hashes..written.len() - hashes).unwrap_or_default();
    if let Some(lines) = inner.strip_prefix("\"\"\"").and_then(|rest| rest.strip_suffix("\"\"\"")) {
        let flat = if hashes == 0 { unspaced(lines) } else { lines.to_owned() };
        let text = dedented(&flat)?;
        return if hashes == 0 { unescaped(&text).map(Cow::Owned) } else { Ok(Cow::Owned(text)) };
    }
    let line = inner.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    if hashes > 0 || !line.contains('\\') {
        return Ok(Cow::Borrowed(line));
    }
    unescaped(&unspaced(line)).map(Cow::Owned)
}

/// `\` before white space takes the white space; this comes before dedenting (KDL 2.0 §3.12.1).
fn unspaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let next = tail.chars().next();
        if next.is_some_and(|c| is_space(c) || is_newline(c)) {
            rest = tail.trim_start_matches(|c| is_space(c) || is_newline(c));
        } else {
            let length = next.map_or(0, char::len_utf8);
            out.push_str(&rest[at..at + 1 + length]);
            rest = &tail[length..];
        }
    }
    out.push_str(rest);
    out
}

fn dedented(body: &str) -> Result<String, Wrong> {
    let body = body.replace("\r\n", "\n").replace(is_newline, "\n");
    let Some(body) = body.strip_prefix('\n') else {
        return Err(wrong("a string of several lines must begin on the line after its `\"\"\"`"));
    };
    let (lines, prefix) = body.rsplit_once('\n').map_or((None, body), |(lines, last)| (Some(lines), last));
    if !prefix.chars().all(is_space) {
        return Err(wrong("the closing `\"\"\"` must stand on a line of its own"));
    }
    let Some(lines) = lines else { return Ok(String::new()) };
    let mut out = Vec::new();
    for line in lines.split('\n') {
        if line.chars().all(is_space) {
            out.push("");
        } else if let Some(rest) = line.strip_prefix(prefix) {
            out.push(rest);
        } else {
            return Err(wrong("every line of the string must be indented like its closing `\"\"\"`"));
        }
    }
    Ok(out.join("\n"))
}

fn unescaped(text: &str) -> Result<String, Wrong> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('s') => ' ',
            Some('"') => '"',
            Some('\\') => '\\',
            Some('u') => scalar(&mut chars)?,
            Some(_) => {
                let mut wrong = wrong("this escape is not known");
                wrong.help = Some("write `\\\\` for a backslash".to_owned());
                return Err(wrong);
            }
            None => return Err(wrong("a string must not end in a single `\\`")),
        });
    }
    Ok(out)
}

/// `{1F600}`: one to six hexadecimal digits of a Unicode scalar value.
fn scalar(chars: &mut std::str::Chars<'_>) -> Result<char, Wrong> {
    let no = || wrong("`\\u` needs one to six hexadecimal digits of a Unicode scalar value, as in `\\u{e9}`");
    let rest = chars.as_str().strip_prefix('{').ok_or_else(no)?;
    let (digits, after) = rest.split_once('}').ok_or_else(no)?;
    if !(1..=6).contains(&digits.len()) || !digits.bytes().all(|d| d.is_ascii_hexdigit()) {
        return Err(no());
    }
    let value = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).ok_or_else(no)?;
    *chars = after.chars();
    Ok(value)
}

/// Whether a word is a number's beginning rather than a name's.
fn numeric(word: &str) -> bool {
    let rest = word.strip_prefix(['+', '-']).unwrap_or(word);
    rest.starts_with(|c: char| c.is_ascii_digit())
}

/// A word as a name, of a node, property or annotation, or as a bare string.
///
/// # Errors
/// [`Wrong`] for a number, a keyword, and what could be mistaken for them.
pub fn name(word: &str) -> Result<&str, Wrong> {
    // Nearly all names.
    if !word.starts_with(|c: char| matches!(c, '#' | '+' | '-' | '.' | '0'..='9' | 't' | 'f' | 'n' | 'i')) {
        return Ok(word);
    }
    // The word is not repeated: it may be a secret that stands where a name should.
    let quote = |says: &str| Wrong { says: says.to_owned(), help: Some("write it in quotes".to_owned()), old: false };
    if word.starts_with('#') || KEYWORDS.contains(&word) {
        return Err(quote("a keyword cannot be a name"));
    }
    let rest = word.strip_prefix(['+', '-']).unwrap_or(word);
    let dotted = rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if numeric(word) || dotted {
        return Err(quote("a word that begins with a digit must be in quotes"));
    }
    Ok(word)
}

/// A word as a value.
///
/// # Errors
/// [`Wrong`] for a keyword that is not known or lacks its `#`, and for what is no number.
pub fn value(word: &str) -> Result<Scalar<'_>, Wrong> {
    match word {
        "#true" => return Ok(Scalar::Truth(true)),
        "#false" => return Ok(Scalar::Truth(false)),
        "#null" => return Ok(Scalar::Null),
        "#inf" => return Ok(Scalar::Float(f64::INFINITY)),
        "#-inf" => return Ok(Scalar::Float(f64::NEG_INFINITY)),
        "#nan" => return Ok(Scalar::Float(f64::NAN)),
        _ => {}
    }
    if word.starts_with('#') {
        return Err(wrong("the keywords are `#true`, `#false`, `#null`, `#inf`, `#-inf` and `#nan`"));
    }
    if KEYWORDS.contains(&word) {
        let help = Some(format!("write `#{word}`, or `\"{word}\"` for the text"));
        return Err(Wrong { says: format!("`{word}` is KDL 1"), help, old: true });
    }
    if numeric(word) {
        return number(word).ok_or_else(|| Wrong {
            says: "this is no number".to_owned(),
            help: Some("text that begins with a digit must be in quotes".to_owned()),
            old: false,
        });
    }
    name(word).map(Scalar::Text)
}

fn number(word: &str) -> Option<Scalar<'static>> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ => (10, digits),
    };
    let plain = digits.replace('_', "");
    // An underscore stands between digits or at the end, never first (KDL 2.0 §3.14).
    let before = |at: usize| digits.get(..at).and_then(|before| before.chars().next_back());
    let first =
        |at: usize| before(at).is_none_or(|c| matches!(c, '.' | '+' | '-') || (radix == 10 && matches!(c, 'e' | 'E')));
    if digits.match_indices('_').any(|(at, _)| first(at)) {
        return None;
    }
    if plain.chars().all(|c| c.is_digit(radix)) && !plain.is_empty() {
        let signed = if negative { format!("-{plain}") } else { plain };
        return i128::from_str_radix(&signed, radix).ok().map(Scalar::Whole);
    }
    let (whole, rest) = plain.split_at(plain.find(|c: char| !c.is_ascii_digit())?);
    let fraction_ok = match rest.strip_prefix('.') {
        Some(tail) => tail.starts_with(|c: char| c.is_ascii_digit()),
        None => rest.starts_with(['e', 'E']),
    };
    let form = radix == 10 && !whole.is_empty() && fraction_ok;
    let float: f64 = form.then(|| plain.parse().ok()).flatten()?;
    Some(Scalar::Float(if negative { -float } else { float }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_say_what_they_say() {
        for (written, want) in [
            ("\"a\"", Some("a")),
            ("\"a\\n\\u{e9}\\s\\\\\"", Some("a\né \\")),
            ("\"a \\\n   b\"", Some("a b")),
            ("\"\\/\"", None),
            ("\"\\u{110000}\"", None),
            ("#\"a\\n\"#", Some("a\\n")),
            ("\"\"\"\n  a\n    b\n\n  \"\"\"", Some("a\n  b\n")),
            ("\"\"\"\n  a\n b\n  \"\"\"", None),
            ("\"\"\"\n\"\"\"", Some("")),
            ("\"\"\"x\n\"\"\"", None),
            ("\"\"\"\n  a \\\n     b\r\n  \"\"\"", Some("a b")),
            ("##\"\"\"\na\"#\n\"\"\"##", Some("a\"#")),
        ] {
            assert_eq!(quoted(written).ok().as_deref(), want, "{written}");
        }
    }

    #[test]
    fn words_are_numbers_keywords_or_text() {
        for (word, want) in [
            ("10", Some(Scalar::Whole(10))),
            ("-1_000", Some(Scalar::Whole(-1000))),
            ("0x1F", Some(Scalar::Whole(31))),
            ("0xAe_1", Some(Scalar::Whole(0xAE1))),
            ("1.0e-_0", None),
            ("1.5e3", Some(Scalar::Float(1500.0))),
            ("1.", None),
            ("5GiB", None),
            ("0xg", None),
            ("#true", Some(Scalar::Truth(true))),
            ("true", None),
            (".5", None),
            ("-", Some(Scalar::Text("-"))),
            ("ed25519", Some(Scalar::Text("ed25519"))),
        ] {
            assert_eq!(value(word).ok(), want, "{word}");
        }
    }
}
