//! What of a spec may be repeated, in a message or in the line shown with it. The rule is that nothing may, but for
//! what the walk along the grammar has found to be harmless: names that the language knows or that are one slip away
//! from them, and values of fields that hold no secret. So a secret is hidden wherever it was written by mistake.

use super::grammar::{Field, Shape, Written};

/// The longest text that is repeated, in octets. Names and addresses are shorter; keys and hashes are not.
const LONGEST: usize = 64;

/// Whether a node or property of that name holds a secret.
fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passwd", "passphrase", "pwd", "token", "secret", "apikey", "api-key", "api_key"]
        .iter()
        .any(|word| name.contains(word))
}

/// Whether nodes of a kind hold a secret beside their other values, so that it may have got among those.
pub fn guarded(fields: &[Field]) -> bool {
    let beside = |written| matches!(written, Written::Property | Written::Argument | Written::Arguments);
    fields.iter().any(|field| beside(field.written) && matches!(field.shape, Shape::Annotated(_)))
        || fields.iter().any(|field| is_recipient(&field.shape))
}

/// Whether it is about the public half of a key, where the private one is written by mistake.
fn is_recipient(shape: &Shape) -> bool {
    let text = |shape: &Shape| matches!(shape, Shape::Text(format) if format == "age-recipient");
    match shape {
        Shape::Node(kind) => kind.fields.iter().any(|field| text(&field.shape)),
        shape => text(shape),
    }
}

/// Whether a text can be repeated as far as it goes by itself: short, and neither PEM nor with a user or a query.
pub fn harmless(text: &str) -> bool {
    let url = text.split_once("://").is_some_and(|(_, rest)| rest.contains(['@', '?', '#']));
    let user = text.split_once('@').is_some_and(|(user, _)| user.contains([':', '=', '/']));
    text.len() <= LONGEST
        && !url
        && !user
        && !text.contains("-----")
        && !text.contains(char::is_control)
        && !sealed::identity::holds_identity(text)
}

/// Whether a form of text leaves room for a secret.
pub fn is_roomy(format: &str) -> bool {
    matches!(format, "" | "url" | "endpoint" | "spec-file" | "regex")
}

/// Whether a word is one that is known, or `slips` letters away.
pub fn is_near<'a>(word: &str, mut known: impl Iterator<Item = &'a str>, slips: usize) -> bool {
    word.len() <= LONGEST && known.any(|one| strsim::damerau_levenshtein(word, one) <= slips)
}

/// Whether a text is plainly a secret, whatever field it stands in: why.
pub fn plain_secret(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN") && text.contains("PRIVATE") {
        return Some("is a private key");
    }
    if sealed::identity::holds_identity(text) {
        return Some("holds an age identity, which opens every secret");
    }
    if url_with_password(text) || (text.contains("://") && pair_with_password(text)) {
        return Some("holds a password");
    }
    None
}

/// Whether a reference to a secret, `(env)` or `(file)`, is the secret itself.
pub fn is_no_reference(text: &str) -> bool {
    text.len() > 255 || text.contains(['\n', '\r']) || text.contains("-----BEGIN") || plain_secret(text).is_some()
}

/// Why no server would open what is written behind `(age)`, if so: it is neither an armoured text that is encrypted to
/// recipients, nor the name of such a file.
pub fn unopenable(text: &str) -> Option<String> {
    if sealed::is_armoured(text) {
        return match sealed::header::Header::of(text.as_bytes()) {
            Ok(header) if header.passphrase => Some(format!("the text {}", sealed::Unopened::Passphrase)),
            Ok(_) => None,
            Err(why) => Some(format!("the text {why}")),
        };
    }
    let named = text.ends_with(sealed::SUFFIX) && !is_no_reference(text);
    (!named).then(|| "`(age)` is followed neither by an encrypted text nor by the name of an `.age` file".to_owned())
}

/// `scheme://user:password@host`. The password may hold any character; a port is none.
fn url_with_password(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let before = rest.split_once('@').map(|(before, _)| before);
    let password = before.and_then(|before| before.split_once(':')).filter(|(user, _)| !user.contains(['/', '?']));
    scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && password.is_some_and(|(_, password)| {
            let rest = password.trim_start_matches(|c: char| c.is_ascii_digit());
            !(rest.starts_with(['/', '?', '#']) && rest.len() < password.len())
        })
}

/// `password=…` in a URL's query, or in a database's key and value pairs.
pub fn pair_with_password(text: &str) -> bool {
    text.split(['?', '&', ';', '#', ' ', '\t', '\n'])
        .filter_map(|part| part.split_once('='))
        // Base64 ends in `=` too, and may hold any word by chance.
        .any(|(name, value)| sounds_secret(name) && !value.trim_matches('=').is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_addresses_are_seen() {
        for (text, want) in [
            ("postgres://mail@db.example.org/mail", false),
            ("postgres://u:p@h/d", true),
            ("postgres://mail:a#b@h/d", true),
            ("postgres://mail:a/b@h/d", true),
            ("postgres://h:5432/d?x=a@b", false),
            ("postgres://h/d?x=a:b@c", false),
            ("postgres://mail@h/d?password=x", true),
            ("https://acme.example/directory", false),
            ("-----BEGIN PRIVATE KEY-----\nx", true),
            ("token=abc", false),
        ] {
            assert_eq!(plain_secret(text).is_some(), want, "{text}");
        }
        assert!(pair_with_password("host=db password=x") && !pair_with_password("host=db user=x"));
        assert!(!pair_with_password("MFkwEwYHKoZpwdXCAQYIKtoken=="));
    }

    #[test]
    fn what_is_repeated_is_short_and_plain() {
        for text in ["ada", "adda@example.org", "5 gigabytes", "2001:db8::1", "/var/lib/waybill", "https://x/y"] {
            assert!(harmless(text), "{text}");
        }
        for text in ["u:pw@127.0.0.1:53", "redis://x@h", "https://h/?x", "-----BEGIN", "a\nb", &"x".repeat(65)] {
            assert!(!harmless(text), "{text}");
        }
    }
}
