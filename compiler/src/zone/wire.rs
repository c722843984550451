//! Record values as DNS messages carry them.

use super::{Kind, Rdata};
use hickory_resolver::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CAA, CNAME, MX, SRV, TLSA, TXT};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use schema::name::DomainName;

/// A type as the wire has it.
pub fn kind(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Caa => RecordType::CAA,
        Kind::Cname => RecordType::CNAME,
        Kind::Mx => RecordType::MX,
        Kind::Srv => RecordType::SRV,
        Kind::Tlsa => RecordType::TLSA,
        Kind::Txt => RecordType::TXT,
    }
}

/// A name as the wire has it, whole.
///
/// # Errors
/// Where it is none.
pub fn name(name: &DomainName) -> Result<Name, String> {
    let mut parsed = Name::from_ascii(name.as_str()).map_err(|error| format!("`{name}`: {error}"))?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

fn target(of: Option<&DomainName>) -> Result<Name, String> {
    of.map_or_else(|| Ok(Name::root()), name)
}

/// A value as the wire has it.
///
/// # Errors
/// Where a name in it is none.
pub fn rdata(value: &Rdata) -> Result<RData, String> {
    Ok(match value {
        Rdata::A(address) => RData::A(A(*address)),
        Rdata::Aaaa(address) => RData::AAAA(AAAA(*address)),
        Rdata::Caa(flags, tag, value) => {
            let mut caa = CAA::new_issue(flags & 0x80 != 0, None, Vec::new());
            (caa.reserved_flags, caa.tag, caa.value) = (flags & 0x7f, tag.clone(), value.as_bytes().to_vec());
            RData::CAA(caa)
        }
        Rdata::Cname(to) => RData::CNAME(CNAME(name(to)?)),
        Rdata::Mx(preference, host) => RData::MX(MX::new(*preference, target(host.as_ref())?)),
        Rdata::Srv(priority, weight, port, host) => {
            RData::SRV(SRV::new(*priority, *weight, *port, target(host.as_ref())?))
        }
        Rdata::Tlsa(usage, selector, matching, data) => RData::TLSA(TLSA::new(
            CertUsage::from(*usage),
            Selector::from(*selector),
            Matching::from(*matching),
            data.clone(),
        )),
        Rdata::Txt(text) if text.is_empty() => RData::TXT(TXT::from_bytes(vec![b""])),
        Rdata::Txt(text) => RData::TXT(TXT::from_bytes(text.as_bytes().chunks(255).collect())),
    })
}

/// A value off the wire; `None` where it is none that can be told here.
pub fn value(data: &RData) -> Option<Rdata> {
    let host = |name: &Name| match name.is_root() {
        true => Some(None),
        false => name.to_ascii().trim_end_matches('.').parse::<DomainName>().ok().map(Some),
    };
    Some(match data {
        RData::A(address) => Rdata::A(address.0),
        RData::AAAA(address) => Rdata::Aaaa(address.0),
        RData::CAA(caa) => Rdata::Caa(caa.flags(), caa.tag.clone(), String::from_utf8(caa.value.clone()).ok()?),
        RData::CNAME(to) => Rdata::Cname(host(&to.0)??),
        RData::MX(mx) => Rdata::Mx(mx.preference, host(&mx.exchange)?),
        RData::SRV(srv) => Rdata::Srv(srv.priority, srv.weight, srv.port, host(&srv.target)?),
        RData::TLSA(tlsa) => {
            let numbers = (tlsa.cert_usage.into(), tlsa.selector.into(), tlsa.matching.into());
            Rdata::Tlsa(numbers.0, numbers.1, numbers.2, tlsa.cert_data.clone())
        }
        RData::TXT(text) => Rdata::Txt(String::from_utf8(text.txt_data.concat()).ok()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::zone::master;

    #[test]
    fn values_are_the_same_on_the_wire() {
        let long = format!("\"{}\" \"{}\"", "x".repeat(255), "y".repeat(255));
        for (kind, text) in [
            (Kind::A, "192.0.2.1"),
            (Kind::Aaaa, "2001:db8::1"),
            (Kind::Caa, "128 issue \"a.example; x=y\""),
            (Kind::Cname, "mail.example.org."),
            (Kind::Mx, "0 ."),
            (Kind::Srv, "0 1 993 mail.example.org."),
            (Kind::Srv, "0 0 0 ."),
            (Kind::Tlsa, "3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (Kind::Txt, "\"a\\\"\\\\;\\195\\169\""),
            (Kind::Txt, "\"\""),
            (Kind::Txt, long.as_str()),
        ] {
            let parsed = master::value(kind, text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(value(&rdata(&parsed).unwrap()), Some(parsed), "{text}");
        }
    }
}
