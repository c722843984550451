//! Every encrypted secret of a spec, encrypted anew to its present recipients: files whole, values in KDL in place.

use super::{opened, references, seal};
use crate::locate::{File, Located};
use crate::read::files::Sources;
use crate::read::text;
use crate::read::token::{Kind, Tokens};
use crate::write::{self, Mode};
use schema::name::SecretRef;
use schema::spec::Spec;
use sealed::identity::Identities;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

/// What was written.
#[derive(Debug, Default)]
pub struct Rekeyed {
    /// The `.age` files.
    pub files: usize,
    /// The values in KDL.
    pub values: usize,
}

/// Encrypts every `(age)` secret anew. Nothing is written before all are open and encrypted again.
///
/// # Errors
/// The secrets that cannot be opened, all of them; and what the system says.
pub fn rekey(spec: &Spec, located: &Located, sources: &Sources, identities: &Identities) -> io::Result<Rekeyed> {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut edits: BTreeMap<usize, Vec<(Range<usize>, String)>> = BTreeMap::new();
    // A value that is written once may be meant by many, as in `defaults`.
    let mut places = BTreeSet::new();
    let mut wrong = Vec::new();
    let references = references(spec);
    for (at, reference) in &references {
        let SecretRef::Age(_) = reference else { continue };
        let place = located.place(at);
        let known = match reference.file() {
            Some(name) => files.contains_key(name),
            None => !places.insert((place.file, place.span.start)),
        };
        if known {
            continue;
        }
        let plain = match opened(reference, sources, identities) {
            Ok(plain) => plain,
            Err(why) => {
                wrong.push(format!("{}: {why}", located.at(&place)));
                continue;
            }
        };
        let sealed = seal(&plain, spec)?;
        match reference.file() {
            Some(name) => drop(files.insert(name, sealed)),
            None => edits.entry(place.file).or_default().push((place.span, sealed)),
        }
    }
    if !wrong.is_empty() {
        return Err(io::Error::other(format!("nothing was changed:\n{}", wrong.join("\n"))));
    }
    let done = Rekeyed { files: files.len(), values: edits.values().map(Vec::len).sum() };
    let mut texts = Vec::new();
    for (at, edits) in edits {
        let file = located.files.get(at).ok_or_else(|| io::Error::other("a file of the spec is not known"))?;
        texts.push((file, edited(file, sources, edits)?));
    }
    for (name, sealed) in files {
        replace(sources, name, sealed.as_bytes())?;
    }
    for (file, text) in texts {
        replace(sources, &file.name, text.as_bytes())?;
    }
    Ok(done)
}

/// What a link names is written, and the link stays; so does who may read it.
fn replace(sources: &Sources, name: &str, octets: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let path = sources.root().join(name).canonicalize()?;
    let open = std::fs::metadata(&path)?.permissions().mode() & 0o044 != 0;
    write::replace(&path, octets, if open { Mode::Public } else { Mode::Private })
}

/// A file's text with values replaced, and nothing else changed.
fn edited(file: &File, sources: &Sources, mut edits: Vec<(Range<usize>, String)>) -> io::Result<String> {
    let failed = || io::Error::other(format!("{}: the value cannot be replaced where it stands", file.name));
    // A byte order mark is no part of the text that spans count in.
    let written = std::fs::read_to_string(sources.root().join(&file.name))?;
    let mark = written.strip_suffix(&*file.text).ok_or_else(|| {
        io::Error::other(format!("{} was changed by somebody else while it was read; run it again", file.name))
    })?;
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = file.text.to_string();
    for (span, sealed) in edits {
        let token = string_within(&file.text, &span).ok_or_else(failed)?;
        let new = rewritten(&file.text[token.clone()], &sealed).ok_or_else(failed)?;
        text.replace_range(token, &new);
    }
    Ok(format!("{mark}{text}"))
}

/// The string of a value that may have an annotation.
fn string_within(text: &str, span: &Range<usize>) -> Option<Range<usize>> {
    let value = text.get(span.clone())?;
    let last = Tokens::new(value).filter(|token| token.kind == Kind::Quoted).last()?;
    Some(span.start + last.span.start..span.start + last.span.end)
}

/// An armoured text as a string of the form that the old one has: over several lines, indented alike, or in one with
/// `\n`.
fn rewritten(old: &str, sealed: &str) -> Option<String> {
    let end = if old.contains("\r\n") { "\r\n" } else { "\n" };
    let bare = old.trim_start_matches('#');
    let hashes = &old[..old.len() - bare.len()];
    let new = if bare.starts_with("\"\"\"") {
        let inner = bare.trim_end_matches('#').strip_suffix("\"\"\"")?;
        let indent = &inner[inner.rfind('\n')? + 1..];
        let lines: String = sealed.trim_end().lines().map(|line| format!("{indent}{line}{end}")).collect();
        format!("{hashes}\"\"\"{end}{lines}{indent}\"\"\"{hashes}")
    } else {
        format!("\"{}\\n\"", sealed.trim_end().replace('\n', "\\n"))
    };
    // What is read again is what was meant.
    let read = text::quoted(&new).ok()?;
    (read.trim_end() == sealed.trim_end()).then_some(new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_value_keeps_its_form_and_its_neighbours() {
        for (old, want) in [
            ("\"\"\"\n    x\n    \"\"\"", "\"\"\"\n    A\n    B\n    \"\"\""),
            ("#\"\"\"\r\n\tx\r\n\t\"\"\"#", "#\"\"\"\r\n\tA\r\n\tB\r\n\t\"\"\"#"),
            ("\"x\\ny\"", "\"A\\nB\\n\""),
        ] {
            assert_eq!(rewritten(old, "A\nB\n").as_deref(), Some(want), "{old}");
        }
        let text = "k private=(age) \"x\" name=\"y\"";
        let span = text.find("(age)").unwrap()..text.find(" name").unwrap();
        assert_eq!(&text[string_within(text, &span).unwrap()], "\"x\"");
    }
}
