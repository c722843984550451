//! What stands in strings as `${…}`: variables (RFC 5229 §3) and encoded characters (RFC 5228 §2.4.2.4).

use std::borrow::Cow;
use std::ops::Range;

/// A variable in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// What stands before the last dot; empty where there is none.
    pub namespace: &'a str,
    /// Its name, or its number.
    pub name: &'a str,
}

/// The variables in a string, in order. What looks like none stays as it is.
pub fn references(text: &str) -> impl Iterator<Item = Reference<'_>> {
    braces(text).filter_map(|(_, inside)| reference(inside))
}

/// A variable as it is named to be set.
pub fn reference(inside: &str) -> Option<Reference<'_>> {
    let fits = |part: &str| is_identifier(part) || (!part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()));
    let (namespace, name) = inside.rsplit_once('.').unwrap_or(("", inside));
    let first = namespace.split('.').next().unwrap_or_default();
    let whole = inside.split('.').all(fits) && (namespace.is_empty() || is_identifier(first));
    whole.then_some(Reference { namespace, name })
}

/// `identifier` of RFC 5228 §8.1.
pub fn is_identifier(text: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    !text.is_empty() && text.bytes().all(fits) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Each `${…}` without another inside, and its octets.
fn braces(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + text.get(at..)?.find("${")?;
            let inside = text.get(start + 2..)?;
            let end = inside.find(['}', '$'])?;
            let found = inside.get(..end)?;
            at = start + 2 + end;
            if inside.as_bytes().get(end) == Some(&b'}') {
                at += 1;
                return Some((start..at, found));
            }
        }
    })
}

/// A character that is none, as `${unicode:D800}`, and its octets in the string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoCharacter(pub Range<usize>);

/// A string with its encoded characters decoded; octets, since `${hex:…}` may make any.
///
/// # Errors
/// [`NoCharacter`] (RFC 5228 §2.4.2.4).
pub fn decoded(text: &str) -> Result<Cow<'_, [u8]>, NoCharacter> {
    let mut out = Vec::new();
    let mut copied = 0;
    for (span, inside) in braces(text) {
        let Some((kind, numbers)) = inside.split_once(':') else { continue };
        let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
        let numbers = numbers.split(blank).filter(|number| !number.is_empty());
        let most = match kind.to_ascii_lowercase().as_str() {
            "hex" => 2,
            "unicode" => usize::MAX,
            _ => continue,
        };
        let hex = |number: &&str| number.len() <= most && number.bytes().all(|c| c.is_ascii_hexdigit());
        if numbers.clone().next().is_none() || !numbers.clone().all(|number| hex(&number)) {
            continue;
        }
        out.extend_from_slice(text.as_bytes().get(copied..span.start).unwrap_or_default());
        for number in numbers {
            let number = u32::from_str_radix(number.trim_start_matches('0'), 16);
            let number = number.or_else(|error| match error.kind() {
                std::num::IntErrorKind::Empty => Ok(0),
                _ => Err(NoCharacter(span.clone())),
            })?;
            match (most, u8::try_from(number)) {
                (2, Ok(octet)) => out.push(octet),
                _ => {
                    let c = char::from_u32(number).ok_or_else(|| NoCharacter(span.clone()))?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        copied = span.end;
    }
    if copied == 0 {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    out.extend_from_slice(text.as_bytes().get(copied..).unwrap_or_default());
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_and_others_stay() {
        let names = |text| references(text).map(|one| format!("{}/{}", one.namespace, one.name)).collect::<Vec<_>>();
        assert_eq!(names("${a} $ ${ b } ${${c}} ${1} ${env.x.y} ${} ${1a} ${"), ["/a", "/c", "/1", "env.x/y"]);
        assert_eq!(names("${1.a} ${a..b} ${.a}"), [""; 0]);
    }

    #[test]
    fn encoded_characters_are_decoded() {
        let is = |text: &str, want: &str| assert_eq!(decoded(text).unwrap(), want.as_bytes(), "{text}");
        is("$${hex:40}", "$@");
        is("${hex: 24 24}${HEX:\r\n40 }", "$$@");
        is("${unicode:40}${Unicode:20ac}", "@€");
        is("${hex:}", "${hex:}");
        is("${hex: 40${hex: 40}", "${hex: 40@");
        is("${hex:4g}${hex:400}${name}", "${hex:4g}${hex:400}${name}");
        assert_eq!(decoded("${hex:ff}").unwrap().as_ref(), [0xff]);
        for wrong in ["a${unicode:110000}", "a${unicode:D800}", "a${unicode:fffffffffffffffff}"] {
            assert_eq!(decoded(wrong), Err(NoCharacter(1..wrong.len())), "{wrong}");
        }
    }
}
