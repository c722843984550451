//! Reports that others send of mail in our name: DMARC aggregate reports (RFC 9990, RFC 7489 appendix C).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mail_auth::report::{DkimResult, DmarcResult, PolicyOverride, Record, Report, SpfResult};
use std::net::IpAddr;

/// The largest report, unpacked, in octets.
const LARGEST: usize = 64 << 20;

/// A report that cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no DMARC aggregate report: {0}")]
pub struct ReportError(String);

/// What one receiver saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Who reports, as it calls itself.
    pub reporter: String,
    /// Its name for the report, unique among its own.
    pub id: String,
    /// The end of the time that it speaks of, in seconds since 1970.
    pub end: i64,
    /// What came from where.
    pub seen: Vec<Seen>,
}

/// Messages from one address that were judged alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where they came from.
    pub ip: IpAddr,
    /// How many.
    pub count: u64,
    /// The domain of their From, in lower case.
    pub from: String,
    /// Whether DMARC passes.
    pub aligned: bool,
    /// Whether the receiver says that somebody passed them on, or had another reason to take them all the same.
    pub excused: bool,
    /// The domains for which SPF passes, in lower case.
    pub spf: Vec<String>,
    /// The domains with a good signature, in lower case.
    pub dkim: Vec<String>,
}

impl Aggregate {
    /// Reads a report: XML, packed by gzip or zip, or the message that carries one.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn read(octets: &[u8]) -> Result<Aggregate, ReportError> {
        let packed = |kind: &str| {
            // The library unpacks, with a limit, what a message carries.
            let head = format!("Content-Type: application/{kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n");
            let message = head + &BASE64_STANDARD.encode(octets) + "\r\n";
            Report::parse_rfc5322(message.as_bytes(), LARGEST).map_err(|error| format!("{error:?}"))
        };
        let start = octets.trim_ascii_start();
        let read = if octets.starts_with(&[0x1f, 0x8b]) {
            packed("gzip")
        } else if octets.starts_with(b"PK") {
            packed("zip")
        } else if start.starts_with(b"<") || start.starts_with("\u{feff}<".as_bytes()) {
            Report::parse_xml(octets)
        } else {
            Report::parse_rfc5322(octets, LARGEST).map_err(|error| format!("{error:?}"))
        };
        let report = read.map_err(ReportError)?;
        Ok(Aggregate {
            reporter: report.org_name().to_owned(),
            id: report.report_id().to_owned(),
            end: i64::try_from(report.date_range_end()).unwrap_or(i64::MAX),
            seen: report.records().iter().filter_map(seen).collect(),
        })
    }
}

fn seen(record: &Record) -> Option<Seen> {
    let lower = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
    let spf = record.spf_auth_result().iter().filter(|one| one.result() == SpfResult::Pass);
    let dkim = record.dkim_auth_result().iter().filter(|one| one.result() == DkimResult::Pass);
    let excuse = [PolicyOverride::LocalPolicy, PolicyOverride::MailingList, PolicyOverride::TrustedForwarder];
    Some(Seen {
        ip: record.source_ip()?.to_canonical(),
        count: u64::from(record.count()),
        from: lower(record.header_from()),
        aligned: [record.dmarc_dkim_result(), record.dmarc_spf_result()].contains(&DmarcResult::Pass),
        excused: record.policy_override_reason().iter().any(|reason| excuse.contains(&reason.policy_override())),
        spf: spf.map(|one| lower(one.domain())).collect(),
        dkim: dkim.map(|one| lower(one.domain())).collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const XML: &str = "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>Receiver</org_name>\
        <email>noreply@receiver.example</email><report_id>7</report_id>\
        <date_range><begin>86400</begin><end>172800</end></date_range></report_metadata>\
        <policy_published><domain>example.org</domain><p>none</p></policy_published>\
        <record><row><source_ip>192.0.2.1</source_ip><count>3</count><policy_evaluated><disposition>none</disposition>\
        <dkim>fail</dkim><spf>pass</spf></policy_evaluated></row>\
        <identifiers><header_from>Example.ORG</header_from></identifiers>\
        <auth_results><spf><domain>example.org</domain><result>pass</result></spf>\
        <dkim><domain>other.example</domain><result>fail</result></dkim></auth_results></record></feedback>";

    #[test]
    fn a_report_is_read_in_every_wrapping() {
        let report = Aggregate::read(XML.as_bytes()).unwrap();
        let seen = Seen {
            ip: "192.0.2.1".parse().unwrap(),
            count: 3,
            from: "example.org".into(),
            aligned: true,
            excused: false,
            spf: vec!["example.org".into()],
            dkim: vec![],
        };
        let wanted = Aggregate { reporter: "Receiver".into(), id: "7".into(), end: 172_800, seen: vec![seen] };
        assert_eq!(report, wanted);
        let message = format!("From: a@receiver.example\r\nContent-Type: text/xml\r\n\r\n{XML}\r\n");
        assert_eq!(Aggregate::read(message.as_bytes()).unwrap(), wanted);
        for other in ["", "Subject: no report\r\n\r\nnone\r\n", "<feedback>", "PK\u{3}\u{4}none", "\u{1f}none"] {
            Aggregate::read(other.as_bytes()).unwrap_err();
        }
    }
}
