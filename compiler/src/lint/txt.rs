//! TXT records (RFC 1035 §3.3.14): strings of at most 255 octets, joined without spaces (RFC 7208 §3.3), and their size.

use super::Around;
use super::world::{own, place};
use crate::code::Code;
use crate::diagnostic::Report;
use crate::zone::{Kind, Rdata, RecordSet};

/// What every path of the internet carries in one datagram; larger answers are asked for again by TCP.
const DATAGRAM: usize = 1232;

/// Looks at every TXT record.
pub fn lint(around: &Around<'_>, report: &mut Report) {
    let sets = around.artefacts.zones.iter().flat_map(|zone| &zone.sets);
    for set in sets.filter(|set| set.kind == Kind::Txt) {
        let size = message_size(set);
        if size > DATAGRAM {
            let says = format!("the TXT records of `{}` make an answer of {size} octets", set.name);
            let help = "above 1232 receivers have to ask again by TCP: move what can be to other names";
            report.find(Code::TxtLarge, place(set), says).help(help);
        }
        let Some(at) = own(set) else { continue };
        let quoted = |value: &&Rdata| matches!(value, Rdata::Txt(text) if text.trim_start().starts_with('"'));
        if set.values.iter().any(|value| quoted(&value)) {
            let says = format!("a TXT record of `{}` begins with a quotation mark, which would be published", set.name);
            let help = "write the text without quotes and in one piece: it is split after each 255 octets here";
            report.find(Code::TxtQuotes, at.clone(), says).help(help);
        }
    }
}

/// The octets of a DNS message that answers with a set of TXT records.
pub fn message_size(set: &RecordSet) -> usize {
    const HEADER: usize = 12;
    // Labels with their lengths, type and class.
    let question = set.name.as_str().len() + 2 + 4;
    // Name by reference, type, class, time to live, length.
    let record = |value: &Rdata| match value {
        Rdata::Txt(text) => 12 + text.len() + text.len().div_ceil(255).max(1),
        _ => 0,
    };
    HEADER + question + set.values.iter().map(record).sum::<usize>()
}
