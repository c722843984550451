//! Modified UTF-7, in which mailbox names travel (RFC 3501 §5.1.3).

use base64::alphabet::IMAP_MUTF7;
use base64::engine::{Engine, GeneralPurpose, general_purpose::NO_PAD};

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// A name as it travels.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut wide: Vec<u8> = Vec::new();
    for letter in name.chars() {
        if matches!(letter, ' '..='~') {
            shift_back(&mut out, &mut wide);
            out.push(letter);
            if letter == '&' {
                out.push('-');
            }
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                wide.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    shift_back(&mut out, &mut wide);
    out
}

fn shift_back(out: &mut String, wide: &mut Vec<u8>) {
    if !wide.is_empty() {
        out.push('&');
        BASE64.encode_string(&*wide, out);
        out.push('-');
        wide.clear();
    }
}

/// A name as it is meant. `None`: not well-formed, or a second spelling of what has a plain one.
pub fn decode(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let (code, after) = rest[at + 1..].split_once('-')?;
        if code.is_empty() {
            out.push('&');
        } else {
            let octets = BASE64.decode(code).ok()?;
            let (pairs, []) = octets.as_chunks::<2>() else { return None };
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            for letter in char::decode_utf16(units) {
                let letter = letter.ok()?;
                if matches!(letter, ' '..='~') {
                    return None;
                }
                out.push(letter);
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out.bytes().all(|octet| octet >= b' ' && octet != 0x7f).then_some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_survive_both_ways() {
        for (plain, wire) in [
            ("INBOX", "INBOX"),
            ("Q&A", "Q&-A"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("😀", "&2D3eAA-"),
        ] {
            assert_eq!(encode(plain), wire);
            assert_eq!(decode(wire).unwrap(), plain);
        }
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for wrong in ["&", "&AA", "&AGE-", "&2D0-", "&AA=-", "&APwA-", "a\tb"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
