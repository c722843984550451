//! What a server says, as its client reads it: the values of one response (RFC 3501 §9).

use super::MAX_DEPTH;
use bytes::Bytes;

/// Stands in a response's text for a literal, which lies beside it; no response may hold a NUL of its own.
pub const LITERAL: u8 = 0;

/// A value of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `NIL`
    Nil,
    /// What stands without quotes: a word, a number, a flag, `BODY[]`.
    Atom(String),
    /// What stands in quotes or is a literal.
    Text(Bytes),
    /// A literal that was too large to be kept.
    Large,
    /// What stands in parentheses.
    List(Vec<Value>),
}

impl Value {
    /// The words of an atom or text.
    pub fn words(&self) -> Option<String> {
        match self {
            Value::Atom(word) => Some(word.clone()),
            Value::Text(octets) => Some(String::from_utf8_lossy(octets).into_owned()),
            Value::Nil | Value::Large | Value::List(_) => None,
        }
    }

    /// A number.
    pub fn number(&self) -> Option<u64> {
        match self {
            Value::Atom(word) => word.parse().ok(),
            _ => None,
        }
    }

    /// The values of a list.
    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Value::List(values) => Some(values),
            _ => None,
        }
    }
}

/// The values of a response without its line end: `text`, in which [`LITERAL`] stands for one of `literals`, in their
/// order; none of them: it was too large. `None`: it is not well-formed.
pub fn values(text: &[u8], literals: Vec<Option<Bytes>>) -> Option<Vec<Value>> {
    let mut reader = Reader { rest: text, literals: literals.into_iter() };
    let values = reader.list(0)?;
    reader.rest.is_empty().then_some(values)
}

struct Reader<'a> {
    rest: &'a [u8],
    literals: std::vec::IntoIter<Option<Bytes>>,
}

impl Reader<'_> {
    fn list(&mut self, depth: usize) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        loop {
            let (first, rest) = match self.rest.split_first() {
                None => return (depth == 0).then_some(values),
                Some(split) => split,
            };
            match *first {
                b' ' => self.rest = rest,
                b')' if depth > 0 => {
                    self.rest = rest;
                    return Some(values);
                }
                b')' => return None,
                b'(' if depth < MAX_DEPTH => {
                    self.rest = rest;
                    values.push(Value::List(self.list(depth + 1)?));
                }
                b'(' => return None,
                b'"' => {
                    self.rest = rest;
                    values.push(Value::Text(self.quoted()?));
                }
                LITERAL => {
                    self.rest = rest;
                    values.push(self.literals.next()?.map_or(Value::Large, Value::Text));
                }
                _ => values.push(self.atom()),
            }
        }
    }

    fn quoted(&mut self) -> Option<Bytes> {
        let mut octets = Vec::new();
        loop {
            let (first, rest) = self.rest.split_first()?;
            self.rest = rest;
            match *first {
                b'"' => return Some(octets.into()),
                b'\\' => {
                    let (next, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    octets.push(*next);
                }
                other => octets.push(other),
            }
        }
    }

    fn atom(&mut self) -> Value {
        let end = self.rest.iter().position(|octet| matches!(octet, b' ' | b'(' | b')' | b'"' | &LITERAL));
        let (atom, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if atom.eq_ignore_ascii_case(b"NIL") { Value::Nil } else { Value::Atom(String::from_utf8_lossy(atom).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_values() {
        let atom = |word: &str| Value::Atom(word.to_owned());
        let text = |text: &'static str| Value::Text(Bytes::from_static(text.as_bytes()));
        let list = b"LIST (\\HasNoChildren \\Sent) \".\" \"a \\\"b\"";
        let flags = Value::List(vec![atom("\\HasNoChildren"), atom("\\Sent")]);
        assert_eq!(values(list, Vec::new()), Some(vec![atom("LIST"), flags, text("."), text("a \"b")]));
        let fetch = b"FETCH (UID 7 BODY[] \0 X NIL)";
        let parts = Value::List(vec![atom("UID"), atom("7"), atom("BODY[]"), text("a\r\n"), atom("X"), Value::Nil]);
        assert_eq!(values(fetch, vec![Some(Bytes::from_static(b"a\r\n"))]), Some(vec![atom("FETCH"), parts]));
        assert_eq!(values(b"\0", vec![None]), Some(vec![Value::Large]));
        for wrong in [&b"(a"[..], b"a)", b"\"a", b"\0", &[b'('; 100]] {
            assert_eq!(values(wrong, Vec::new()), None);
        }
    }
}
