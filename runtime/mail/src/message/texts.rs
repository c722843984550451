//! What a search looks at, decoded: the text of a message and of what is attached.

use mail_parser::decoders::html::html_to_text;
use mail_parser::{Message, MessageParser, MimeHeaders, PartType};

/// Octets of text that a search looks at, in the body and in attachments each.
const TEXT_MOST: usize = 4 << 20;
/// Messages within messages.
const DEPTH_MOST: usize = 8;

/// What a search looks at, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// The subject.
    pub subject: String,
    /// Every text part of the body; HTML as what it shows.
    pub body: String,
    /// Every text part that is attached, messages with their subjects.
    pub attachments: String,
    /// The names of what is attached, a line each.
    pub names: String,
    /// There is no more text than this.
    pub whole: bool,
}

/// The texts of a message, decoded as far as they can be.
pub fn texts(raw: &[u8]) -> Texts {
    let mut texts = Texts { whole: true, ..Texts::default() };
    match MessageParser::default().parse(raw) {
        Some(message) => {
            texts.subject = message.subject().unwrap_or_default().to_owned();
            gather(&message, &mut texts, (false, 0));
        }
        None => texts.whole &= push(&mut texts.body, &String::from_utf8_lossy(raw)),
    }
    texts
}

fn gather(message: &Message<'_>, texts: &mut Texts, (within, depth): (bool, usize)) {
    for part in &message.parts {
        let attached = within || part.content_disposition().is_some_and(|disposition| disposition.is_attachment());
        if let Some(name) = part.attachment_name() {
            texts.whole &= push(&mut texts.names, name);
        }
        let to = if attached { &mut texts.attachments } else { &mut texts.body };
        let fits = match &part.body {
            PartType::Text(text) => push(to, text),
            PartType::Html(text) => push(to, &html_to_text(text)),
            PartType::Message(inner) if depth < DEPTH_MOST => {
                let fits = push(&mut texts.attachments, inner.subject().unwrap_or_default());
                gather(inner, texts, (true, depth + 1));
                fits
            }
            PartType::Message(_) => false,
            _ => true,
        };
        texts.whole &= fits;
    }
}

/// Adds a text as far as there is room; whether there was.
fn push(to: &mut String, text: &str) -> bool {
    let room = TEXT_MOST.saturating_sub(to.len());
    to.push_str(&text[..text.floor_char_boundary(room.min(text.len()))]);
    to.push('\n');
    text.len() <= room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_people_read() {
        let raw = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
Content-Type: text/html; charset=utf-8\r\n\r\n<style>p{}</style><p>one &amp; <b>two</b></p>\r\n--o\r\n\
Content-Type: text/plain\r\nContent-Disposition: attachment; filename=\"notes.txt\"\r\n\
Content-Transfer-Encoding: base64\r\n\r\ndGhyZWU=\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n\
Subject: inner\r\n\r\nfour\r\n--o\r\nContent-Type: image/png; name=p.png\r\n\r\nfive\r\n--o--\r\n";
        let texts = texts(raw);
        assert_eq!(texts.subject, "Gr\u{fc}\u{df}e");
        assert!(texts.body.contains("one & two") && !texts.body.contains("<b>"), "{}", texts.body);
        assert!(!texts.body.contains("three") && !texts.body.contains("five"), "{}", texts.body);
        for one in ["three", "inner", "four"] {
            assert!(texts.attachments.contains(one), "{one}: {}", texts.attachments);
        }
        assert!(texts.names.contains("notes.txt") && texts.names.contains("p.png") && texts.whole, "{}", texts.names);
        let long = [b"Subject: x\r\n\r\n".to_vec(), b"word ".repeat(TEXT_MOST / 4)].concat();
        assert!(!super::texts(&long).whole);
    }
}
