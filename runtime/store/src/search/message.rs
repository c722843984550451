//! From a message's octets to its document: which field of a message is which field of the index.
//!
//! [`Field::Header`] has the fields of the header that people read and the names of what is attached. What machines write
//! to each other (`Received`, signatures, identifiers) is left out: each message would bring dozens of words of its own
//! that nobody looks for. IMAP's `HEADER` looks at the messages themselves.

use super::{Document, DocumentId, Field};
use mail::message::{Message, Texts, decoded, fields, texts};
use schema::config::IndexOptions;

/// Fields of the header that are indexed as [`Field::Header`].
pub const HEADERS: [&str; 7] = ["Reply-To", "Sender", "List-Id", "Keywords", "Comments", "Organization", "X-Mailer"];
/// Fields of the header that have a field of the index.
const OWN: [(&str, Field); 4] = [("From", Field::From), ("To", Field::To), ("Cc", Field::Cc), ("Bcc", Field::Bcc)];
/// Octets of a message beyond those of its text: attachments that are no text stand before text at times.
const BESIDE: u64 = 1 << 20;

/// How many octets of a message [`document`] looks at.
pub fn octets(options: &IndexOptions) -> u64 {
    options.most.0.saturating_add(BESIDE)
}

/// The document of a message of `size` octets, of which these are the first ones.
pub fn document(id: DocumentId, (first, size): (&[u8], u64), options: &IndexOptions) -> Document {
    let end = Message::parse(first).root.header.end;
    let header = first.get(..end).unwrap_or_default();
    let Texts { subject, body, attachments, names, whole } = texts(first);
    let mut document =
        Document { id, texts: vec![(Field::Subject, subject)], whole: whole && first.len() as u64 >= size };
    let mut add = |field, text: String| {
        if !text.trim().is_empty() {
            document.texts.push((field, text));
        }
    };
    for (name, field) in OWN.into_iter().chain(HEADERS.map(|name| (name, Field::Header))) {
        fields(header, name).iter().for_each(|value| add(field, decoded(value)));
    }
    add(Field::Header, names);
    let mut room = usize::try_from(options.most.0).unwrap_or(usize::MAX);
    let mut fits = true;
    let mut within = |mut text: String| {
        fits &= text.len() <= room;
        text.truncate(text.floor_char_boundary(room));
        room -= text.len();
        text
    };
    add(Field::Body, within(body));
    let left_out = !options.attachments && !attachments.trim().is_empty();
    if options.attachments {
        add(Field::Attachment, within(attachments));
    }
    document.whole &= fits && !left_out;
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::unit::Size;

    #[test]
    fn a_message_is_indexed_by_its_fields_as_far_as_the_options_say() {
        let raw = b"From: =?utf-8?q?Zo=C3=AB?= <zoe@example.org>\r\nTo: a@b.example\r\nReceived: from nowhere\r\n\
Subject: hello\r\nList-Id: <news.example>\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\ntext of the body\
\r\n--o\r\nContent-Disposition: attachment; filename=f.txt\r\n\r\nattached text\r\n--o--\r\n";
        let made = |attachments, most, size| {
            let id = DocumentId { account: "ada@example.org".parse().unwrap_or_else(|_| unreachable!()), message: 1 };
            let options = IndexOptions { languages: Vec::new(), attachments, most: Size(most) };
            document(id, (raw, size), &options)
        };
        let all = made(true, 1000, raw.len() as u64);
        let has = |document: &Document, field, text: &str| {
            document.texts.iter().any(|(own, whole)| *own == field && whole.contains(text))
        };
        for (field, text) in [
            (Field::From, "Zo\u{eb}"),
            (Field::To, "a@b.example"),
            (Field::Subject, "hello"),
            (Field::Header, "news.example"),
            (Field::Header, "f.txt"),
            (Field::Body, "text of the body"),
            (Field::Attachment, "attached text"),
        ] {
            assert!(has(&all, field, text), "{field:?} {text}: {all:?}");
        }
        assert!(all.whole && !format!("{all:?}").contains("nowhere"), "{all:?}");
        let without = made(false, 1000, raw.len() as u64);
        assert!(!without.whole && !format!("{without:?}").contains("attached text"), "{without:?}");
        assert!(!made(true, 8, raw.len() as u64).whole);
        assert!(!made(true, 1000, 1 + raw.len() as u64).whole);
    }
}
