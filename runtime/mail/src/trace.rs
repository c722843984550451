//! The fields that a server puts before a message (RFC 5321 §4.4).

use std::net::IpAddr;

/// What a Received field tells.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// What the client called itself.
    pub helo: &'a str,
    /// Where it connected from.
    pub ip: IpAddr,
    /// Our name.
    pub host: &'a str,
    /// Whether it said EHLO.
    pub esmtp: bool,
    /// TLS version and cipher suite.
    pub tls: Option<(&'a str, &'a str)>,
    /// Whether it logged in.
    pub authenticated: bool,
    /// Whether it asked for SMTPUTF8.
    pub utf8: bool,
    /// Our id of the session.
    pub id: &'a str,
    /// The recipient, where there is one only.
    pub recipient: Option<&'a str>,
    /// When, in seconds since 1970.
    pub now: i64,
}

/// A Received field, folded, with its CRLF (RFC 5321 §4.4, RFC 3848, RFC 6531 §4.3, RFC 8314 §4.3).
pub fn received(trace: &Trace<'_>) -> String {
    let address = match trace.ip {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    };
    let with = match (trace.esmtp, trace.utf8) {
        (false, _) => "SMTP".to_owned(),
        (true, utf8) => {
            let base = if utf8 { "UTF8SMTP" } else { "ESMTP" };
            let tls = if trace.tls.is_some() { "S" } else { "" };
            format!("{base}{tls}{}", if trace.authenticated { "A" } else { "" })
        }
    };
    let tls = trace.tls.map(|(version, cipher)| format!("\r\n\t(using {version} with {cipher})")).unwrap_or_default();
    let recipient = trace.recipient.map(|to| format!(" for <{to}>")).unwrap_or_default();
    // Anything may be said in EHLO; what is no name or literal must not speak in our field.
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let helo: String = trace.helo.chars().map(|c| if fits(c) { c } else { '?' }).collect();
    format!(
        "Received: from {} ({address})\r\n\tby {} with {with} id {}{tls}{recipient};\r\n\t{}\r\n",
        helo,
        trace.host,
        trace.id,
        date(trace.now)
    )
}

/// A Return-Path field with its CRLF; `from` without brackets.
pub fn return_path(from: &str) -> String {
    format!("Return-Path: <{from}>\r\n")
}

/// A time as RFC 5322 §3.3 writes it, in UTC.
pub fn date(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, of_month) = civil(day);
    let pick = |names: &'static [&'static str], at: i64| {
        usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default()
    };
    let (weekday, month) = (pick(&DAYS, day.rem_euclid(7)), pick(&MONTHS, month - 1));
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {of_month} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

/// Year, month and day of a day since 1970, by the Gregorian calendar counted in eras of 400 years from March.
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, of_month)
}

/// A header without the Authentication-Results fields that claim to be ours (RFC 8601 §5). Comments and quoting may
/// hide whom a field speaks for, so any that names us in any way goes.
pub fn authentication_results_strip(header: &[u8], host: &str) -> Vec<u8> {
    let host = host.to_ascii_lowercase();
    let mut kept = Vec::with_capacity(header.len());
    for field in crate::message::raw_fields(header) {
        let text = String::from_utf8_lossy(field).to_ascii_lowercase();
        let (name, value) = text.split_once(':').unwrap_or((&text, ""));
        let plain = |value: &str| value.replace(['\\', '"'], "");
        if name.trim() != "authentication-results" || !plain(value).contains(&host) {
            kept.extend_from_slice(field);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_rfc_5322s() {
        for (seconds, want) in [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (951_827_696, "Tue, 29 Feb 2000 12:34:56 +0000"),
            (1_795_478_400, "Tue, 24 Nov 2026 00:00:00 +0000"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 +0000"),
        ] {
            assert_eq!(date(seconds), want);
        }
    }

    #[test]
    fn forged_results_go_and_others_stay() {
        let header = b"Authentication-Results: mail.example.org;\r\n\tspf=pass\r\nFrom: a@b\r\n\
                       Authentication-Results: (c (d)) \"mail.\\example.org\"(x) 1; dmarc=pass\r\n\
                       authentication-results: other.example; spf=pass\r\n\r\n";
        let kept = authentication_results_strip(header, "mail.example.org");
        assert_eq!(kept, b"From: a@b\r\nauthentication-results: other.example; spf=pass\r\n\r\n");
    }
}
