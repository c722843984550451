//! The forms of strings that stand as they are, without variables.

use super::NAME_MOST;
use super::capability::Capability;
use super::problem::{Kind, nearest, quoted};
use super::table::Form;
use super::variable;

/// What is wrong with a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// An error or a warning.
    pub kind: Kind,
    /// What is wrong.
    pub says: String,
    /// How to mend it.
    pub help: String,
    /// The rule.
    pub section: &'static str,
}

fn fault(kind: Kind, section: &'static str, says: String, help: impl Into<String>) -> Option<Fault> {
    Some(Fault { kind, section, says, help: help.into() })
}

/// Fields that hold addresses (RFC 5228 §5.1).
const ADDRESS_HEADERS: &[&str] = &[
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "resent-from",
    "resent-sender",
    "resent-reply-to",
    "resent-to",
    "resent-cc",
    "resent-bcc",
    "return-path",
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "apparently-to",
    "errors-to",
    "return-receipt-to",
    "disposition-notification-to",
    "mail-reply-to",
    "mail-followup-to",
    "x-envelope-from",
    "x-envelope-to",
    "abuse-reports-to",
    "x-complaints-to",
    "x-report-abuse-to",
    "original-recipient",
    "approved",
    "author",
];
const DATE_PARTS: &[&str] = &[
    "year", "month", "day", "date", "julian", "hour", "minute", "second", "time", "iso8601", "std11", "zone", "weekday",
];
const SPECIAL_USES: &[&str] = &[
    "\\all",
    "\\archive",
    "\\drafts",
    "\\flagged",
    "\\junk",
    "\\sent",
    "\\trash",
    "\\important",
    "\\memos",
    "\\scheduled",
    "\\snoozed",
];
const SYSTEM_FLAGS: &[&str] = &["\\answered", "\\flagged", "\\deleted", "\\seen", "\\draft"];
const RELATIONS: &[&str] = &["gt", "ge", "lt", "le", "eq", "ne"];
const COMPARATORS: &[(&str, Capability)] = &[
    ("i;octet", Capability::Octet),
    ("i;ascii-casemap", Capability::AsciiCasemap),
    ("i;ascii-numeric", Capability::AsciiNumeric),
    ("i;unicode-casemap", Capability::UnicodeCasemap),
];

/// The capability of a comparator.
pub fn comparator(name: &str) -> Option<Capability> {
    COMPARATORS.iter().find(|(known, _)| *known == name).map(|(_, capability)| *capability)
}

/// Whether a string of that form must not come from a variable.
pub fn is_constant(form: Form) -> bool {
    use Form::{Capability, Comparator, Constant, Relation, Script, Variable};
    matches!(form, Capability | Comparator | Relation | Variable | Script | Constant)
}

/// What is wrong with a string where that form is wanted.
pub fn wrong(form: Form, text: &str) -> Option<Fault> {
    let short = quoted(text);
    let value = |section, says: String, help: &str| fault(Kind::Value, section, says, help);
    match form {
        Form::Any | Form::Key | Form::Capability => None,
        Form::Comparator if comparator(text).is_none() => {
            let help = nearest(text, COMPARATORS.iter().map(|(name, _)| *name));
            let help = if help.is_empty() { "`i;ascii-casemap` is the usual one".to_owned() } else { help };
            fault(Kind::Value, "RFC 5228 §2.7.3", format!("no comparator is called {short}"), help)
        }
        Form::Relation if !is_one(RELATIONS, text) => {
            value("RFC 5231 §4", format!("{short} is no relation"), "write one of gt, ge, lt, le, eq, ne")
        }
        Form::Header if !is_field_name(text) => {
            let help = "write the name alone, as in `subject`";
            fault(
                Kind::NoEffect,
                "RFC 5228 §2.4.2.2",
                format!("no field can be called {short}, so nothing matches"),
                help,
            )
        }
        Form::NewHeader if !is_field_name(text) => {
            value("RFC 5293 §4", format!("no field can be called {short}"), "write the name alone, as in `x-sorted`")
        }
        Form::AddressHeader if !is_one(ADDRESS_HEADERS, text) => {
            let says = format!("{short} is no field of addresses");
            value("RFC 5228 §5.1", says, "test another field with `header`, which sees its whole text")
        }
        Form::EnvelopePart if !is_one(&["from", "to"], text) => {
            let says = format!("the envelope has no part {short}");
            value("RFC 5228 §5.4", says, "write `from` for the sender's or `to` for the recipient's address")
        }
        Form::Address if !is_address(text) => {
            value("RFC 5228 §2.4.2.3", format!("{short} is no address"), "write one address, as in `ada@example.org`")
        }
        Form::Mailbox | Form::Script
            if text.is_empty() || text.len() > NAME_MOST || text.contains(char::is_control) =>
        {
            let section = if form == Form::Mailbox { "RFC 5228 §4.1" } else { "RFC 6609 §3.2" };
            let says =
                format!("{short} is no name: it is empty, longer than {NAME_MOST} octets, or has control characters");
            value(section, says, "write a name, as in `Lists/rust`")
        }
        Form::SpecialUse if !text.starts_with('\\') || text.len() < 2 => {
            value("RFC 8579 §3.2", format!("{short} is no special use"), "write as in `\"\\\\Junk\"`")
        }
        Form::SpecialUse if !is_one(SPECIAL_USES, text) => {
            let help = "those that mailboxes have are \\All, \\Archive, \\Drafts, \\Flagged, \\Junk, \\Sent, \\Trash, \\Important";
            fault(Kind::NoEffect, "RFC 6154 §2", format!("no mailbox has the special use {short}"), help)
        }
        Form::Flags => flags(text),
        Form::Variable => variable_name(text),
        Form::DatePart if !is_one(DATE_PARTS, text) => {
            let help = match nearest(text, DATE_PARTS.iter().copied()) {
                near if near.is_empty() => format!("write one of {}", DATE_PARTS.join(", ")),
                near => near,
            };
            fault(Kind::Value, "RFC 5260 §4.2", format!("a date has no part {short}"), help)
        }
        Form::Zone if !is_zone(text) => value(
            "RFC 5260 §4.1",
            format!("{short} is no time zone"),
            "write hours and minutes from UTC, as in `+0130`",
        ),
        Form::ContentType => content_type(text),
        Form::Uri => uri(text),
        Form::Importance if !is_one(&["1", "2", "3"], text) => {
            value("RFC 5435 §3.3", format!("{short} is no importance"), "write 1 for high, 2 for normal, 3 for low")
        }
        Form::Annotation if !text.starts_with("/private/") && !text.starts_with("/shared/") => {
            value("RFC 5464 §3.2", format!("no annotation is called {short}"), "names begin with /private/ or /shared/")
        }
        Form::Constant if text.is_empty() => value("RFC 5703 §3", "the name is empty".to_owned(), "write a name"),
        _ => None,
    }
}

/// ASCII case does not count.
fn is_one(known: &[&str], text: &str) -> bool {
    known.iter().any(|one| one.eq_ignore_ascii_case(text))
}

/// `field-name` of RFC 5322 §3.6.8.
pub fn is_field_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic() && c != b':')
}

fn is_zone(text: &str) -> bool {
    match text.strip_prefix(['+', '-']) {
        Some(digits) if digits.len() == 4 && digits.bytes().all(|c| c.is_ascii_digit()) => {
            digits.get(..2) < Some("24") && digits.get(2..) < Some("60")
        }
        _ => false,
    }
}

/// `sieve-address` of RFC 5228 §2.4.2.3: an address, or one in brackets behind a phrase; with UTF-8 (RFC 6532 §3.2).
pub fn is_address(text: &str) -> bool {
    mailbox(text).is_some()
}

/// The address alone of a `sieve-address`.
pub fn mailbox(text: &str) -> Option<&str> {
    let text = text.trim_matches(' ');
    let bare = match text.strip_suffix('>') {
        None => text,
        Some(front) => {
            let (phrase, address) = front.rsplit_once('<')?;
            let fits = |c: char| !c.is_control() && !"<>@,;:()[]".contains(c);
            let quoted = phrase.trim().len() > 1 && phrase.trim().starts_with('"') && phrase.trim().ends_with('"');
            if !quoted && !phrase.chars().all(fits) {
                return None;
            }
            address
        }
    };
    let (local, domain) = bare.rsplit_once('@')?;
    (is_local(local) && is_domain(domain)).then_some(bare)
}

fn is_atoms(text: &str) -> bool {
    let fits = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(fits))
}

fn is_local(text: &str) -> bool {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) => {
            let mut chars = inside.chars();
            while let Some(c) = chars.next() {
                let fine = match c {
                    '"' => false,
                    '\\' => chars.next().is_some_and(|c| !c.is_control()),
                    c => !c.is_control(),
                };
                if !fine {
                    return false;
                }
            }
            true
        }
        None => is_atoms(text),
    }
}

fn is_domain(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => {
            let six = literal.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("ipv6:"));
            match six {
                true => literal.get(5..).is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
                false => literal.parse::<std::net::Ipv4Addr>().is_ok(),
            }
        }
        None => is_atoms(text),
    }
}

/// Flags between spaces (RFC 5232 §2); what is none is passed over there.
fn flags(text: &str) -> Option<Fault> {
    let atom =
        |flag: &str| !flag.is_empty() && flag.bytes().all(|c| c.is_ascii_graphic() && !b"(){%*\"\\]".contains(&c));
    for flag in text.split(' ').filter(|flag| !flag.is_empty()) {
        let fine = match flag.strip_prefix('\\') {
            Some(_) => is_one(SYSTEM_FLAGS, flag),
            None => atom(flag),
        };
        if !fine {
            let says = format!("no flag can be called {}, so it is passed over", quoted(flag));
            let help = "system flags are \\Answered, \\Flagged, \\Deleted, \\Seen, \\Draft, with two \\ in a string; others are words";
            return fault(Kind::NoEffect, "RFC 5232 §2", says, help);
        }
    }
    None
}

fn variable_name(text: &str) -> Option<Fault> {
    let says = match variable::reference(text) {
        Some(at) if !variable::is_identifier(at.name) => {
            format!("{} is a match variable, which only a test sets", quoted(text))
        }
        Some(at) if !at.namespace.is_empty() && !at.namespace.eq_ignore_ascii_case("global") => {
            format!("there is no namespace {}", quoted(at.namespace))
        }
        Some(at) if at.name.len() > NAME_MOST => format!("the name has more than {NAME_MOST} octets"),
        Some(_) => return None,
        None => format!("no variable can be called {}", quoted(text)),
    };
    fault(Kind::Value, "RFC 5229 §3", says, "a name is of letters, digits and `_`, and begins with no digit")
}

fn content_type(text: &str) -> Option<Fault> {
    // RFC 5173 §5.2: these match nothing.
    let strange = text.matches('/').count() > 1 || text.starts_with('/') || text.ends_with('/');
    match strange {
        true => {
            let says = format!("no media type is {}, so nothing matches", quoted(text));
            fault(Kind::NoEffect, "RFC 5173 §5.2", says, "write `text`, `text/html`, or nothing for every type")
        }
        false => None,
    }
}

fn uri(text: &str) -> Option<Fault> {
    let scheme = text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let (says, section) = match scheme {
        Some((scheme, rest)) if scheme == "mailto" => {
            let addresses = rest.split('?').next().unwrap_or_default();
            let fine = addresses.split(',').all(|one| one.contains('@') && one.bytes().all(|c| c.is_ascii_graphic()));
            if fine || addresses.is_empty() && rest.to_ascii_lowercase().contains("to=") {
                return None;
            }
            (format!("{} names no address", quoted(text)), "RFC 5436 §2.1")
        }
        Some((scheme, rest)) => {
            let fits = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(fits) && !rest.is_empty() {
                return None;
            }
            (format!("{} is no URI", quoted(text)), "RFC 5435 §3.1")
        }
        None => (format!("{} is no URI", quoted(text)), "RFC 5435 §3.1"),
    };
    fault(Kind::Value, section, says, "write as in `mailto:ada@example.org`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for fine in [
            "a@b",
            "a.b+c@example.org",
            "\"a b\"@x.org",
            "ü@bücher.example",
            "Ada <a@b>",
            "\"L, A\" <a@b>",
            "a@[192.0.2.1]",
            "a@[IPv6:::1]",
        ] {
            assert!(is_address(fine), "{fine}");
        }
        for wrong in [
            "",
            "a",
            "@b",
            "a@",
            "a@b.",
            "a..b@c",
            "a b@c",
            "a@b, c@d",
            "a@[1]",
            "<a@b",
            "x, y <a@b>",
            "a@b\r\n",
            "\"@b",
        ] {
            assert!(!is_address(wrong), "{wrong}");
        }
        assert_eq!(mailbox("Ada <a@b>"), Some("a@b"));
    }

    #[test]
    fn zones() {
        assert!(is_zone("+0130") && is_zone("-2359"));
        assert!(!is_zone("0130") && !is_zone("+2400") && !is_zone("+0060") && !is_zone("+1") && !is_zone("UTC"));
    }
}
