//! MIME's structured fields (RFC 2045 §5, RFC 2183, RFC 2231 as far as names of files go).

/// Parameters of one field.
const PARAMETERS_MOST: usize = 64;

/// Type, subtype and parameters, as Content-Type has them.
pub type ContentType = (String, String, Vec<(String, String)>);

/// Reads Content-Type.
pub fn content_type(text: &str) -> Option<ContentType> {
    let (head, parameters) = split(text);
    let (kind, subtype) = head.split_once('/')?;
    let (kind, subtype) = (bare(kind).to_lowercase(), bare(subtype).to_lowercase());
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&c))
    };
    (token(&kind) && token(&subtype)).then_some((kind, subtype, parameters))
}

/// Reads Content-Disposition.
pub fn disposition(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let (head, parameters) = split(text);
    let kind = bare(&head).to_lowercase();
    (!kind.is_empty()).then_some((kind, parameters))
}

/// Words between commas and spaces.
pub fn words(text: &str) -> Vec<String> {
    let word = |c: char| c == ',' || c.is_whitespace();
    text.split(word).filter(|word| !word.is_empty()).take(PARAMETERS_MOST).map(str::to_owned).collect()
}

/// A value without comments and surrounding space.
pub fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out.trim().to_owned()
}

/// What stands before the first `;`, and the parameters behind it.
fn split(text: &str) -> (String, Vec<(String, String)>) {
    let (head, mut rest) = text.split_once(';').unwrap_or((text, ""));
    let mut parameters = Vec::new();
    while parameters.len() < PARAMETERS_MOST {
        rest = rest.trim_start_matches(|c: char| c == ';' || c.is_whitespace());
        let Some((name, value)) = rest.split_once('=') else { break };
        let name = bare(name).to_lowercase();
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (bare(&value[..end]), &value[end..])
            }
        };
        rest = after.find(';').map_or("", |at| &after[at..]);
        if !name.is_empty() {
            parameters.push((name, value));
        }
    }
    (head.to_owned(), parameters)
}

fn unquoted(text: &str) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (out, &text[at + 1..]),
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            c => out.push(c),
        }
    }
    (out, "")
}
