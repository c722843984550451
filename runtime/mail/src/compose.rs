//! Messages of our own: delivery status notifications (RFC 3464), and the fields that make a post a list's.

use crate::trace::date;
use std::fmt::Write;

/// What happened to a recipient (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It will not get the message.
    Failed,
    /// It has not got it yet.
    Delayed,
    /// It got it.
    Delivered,
    /// A server that reports no deliveries took it.
    Relayed,
    /// It went to the several people that its address stands for.
    Expanded,
}

/// One recipient in a report.
#[derive(Clone, Debug)]
pub struct Reported {
    /// Its address.
    pub address: String,
    /// ORCPT with its type.
    pub original: Option<String>,
    /// What happened.
    pub action: Action,
    /// RFC 3463.
    pub status: String,
    /// Which other server had to do with it.
    pub remote: Option<String>,
    /// What that server said.
    pub diagnostic: Option<String>,
    /// Why, for a person.
    pub why: String,
}

/// What is returned of the message.
#[derive(Clone, Copy, Debug)]
pub enum Returned<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// Its header.
    Header(&'a [u8]),
}

/// A delivery status notification.
#[derive(Clone, Debug)]
pub struct Dsn<'a> {
    /// Our name.
    pub host: &'a str,
    /// Whom it goes to.
    pub to: &'a str,
    /// When, in seconds since 1970.
    pub now: i64,
    /// Its own id, without brackets.
    pub message_id: &'a str,
    /// When the message came.
    pub arrived: i64,
    /// ENVID.
    pub envelope_id: Option<&'a str>,
    /// Whom it tells of.
    pub recipients: Vec<Reported>,
    /// What comes back.
    pub returned: Option<Returned<'a>>,
    /// Until when we try.
    pub retry_until: Option<i64>,
}

/// Text that may stand in a field: no control characters, bounded.
fn plain(text: &str) -> String {
    let text = text.replace(|c: char| c.is_control(), " ");
    text[..text.floor_char_boundary(900.min(text.len()))].to_owned()
}

/// Writes a notification.
pub fn dsn(dsn: &Dsn<'_>) -> Vec<u8> {
    let first = dsn.recipients.first().map_or(Action::Failed, |one| one.action);
    let (subject, opening) = match first {
        Action::Failed => ("Undelivered mail returned to sender", "Your message could not be delivered to:"),
        Action::Delayed => (
            "Mail not delivered yet",
            "Your message has not been delivered yet. Nothing needs to be done: it is tried again. It waits for:",
        ),
        Action::Delivered => ("Mail delivered", "Your message was delivered to:"),
        Action::Relayed => {
            ("Mail relayed", "Your message was handed to a server that does not report deliveries, for:")
        }
        Action::Expanded => (
            "Mail delivered to a group",
            "Your message went to the members of a group, who are not told of one by one:",
        ),
    };
    let wide = dsn.recipients.iter().any(|one| !one.address.is_ascii()) || !dsn.to.is_ascii();
    let returned = match dsn.returned {
        Some(Returned::Whole(octets)) => octets,
        Some(Returned::Header(octets)) => {
            let end = crate::message::header_end(octets);
            octets.get(..end.min(64 << 10)).unwrap_or_default()
        }
        None => b"",
    };
    let boundary = boundary(dsn.message_id, returned);
    // Writing to a String cannot fail, here and below.
    let mut out = format!(
        "From: Mail Delivery System <postmaster@{}>\r\nTo: <{}>\r\nSubject: {subject}\r\nDate: {}\r\n\
         Message-ID: <{}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\r\n",
        dsn.host,
        plain(dsn.to),
        date(dsn.now),
        dsn.message_id
    );
    let _ = write!(
        out,
        "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    );
    let _ = write!(out, "This is the mail server {}.\r\n\r\n{opening}\r\n\r\n", dsn.host);
    for one in &dsn.recipients {
        let _ = write!(out, "  <{}>\r\n", plain(&one.address));
        if !one.why.is_empty() {
            let _ = write!(out, "    {}\r\n", plain(&one.why));
        }
    }
    let kind = if wide { "message/global-delivery-status" } else { "message/delivery-status" };
    let _ = write!(out, "\r\n--{boundary}\r\nContent-Type: {kind}\r\n\r\nReporting-MTA: dns; {}\r\n", dsn.host);
    if let Some(envid) = dsn.envelope_id {
        let _ = write!(out, "Original-Envelope-Id: {}\r\n", plain(envid));
    }
    let _ = write!(out, "Arrival-Date: {}\r\n", date(dsn.arrived));
    for one in &dsn.recipients {
        status(&mut out, one, dsn.retry_until);
    }
    let mut octets = out.into_bytes();
    if let Some(returned_as) = dsn.returned {
        let ascii = returned.is_ascii();
        let kind = match (returned_as, ascii) {
            (Returned::Whole(_), _) => "message/rfc822",
            (Returned::Header(_), true) => "text/rfc822-headers",
            (Returned::Header(_), false) => "message/global-headers",
        };
        let encoding = if ascii { "7bit" } else { "8bit" };
        let head = format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
        octets.extend_from_slice(head.as_bytes());
        octets.extend_from_slice(returned);
    }
    octets.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    octets
}

fn status(out: &mut String, one: &Reported, retry_until: Option<i64>) {
    out.push_str("\r\n");
    if let Some(original) = &one.original {
        let _ = write!(out, "Original-Recipient: {}\r\n", plain(&original.replacen(';', "; ", 1)));
    }
    let kind = if one.address.is_ascii() { "rfc822" } else { "utf-8" };
    let action = match one.action {
        Action::Failed => "failed",
        Action::Delayed => "delayed",
        Action::Delivered => "delivered",
        Action::Relayed => "relayed",
        Action::Expanded => "expanded",
    };
    let _ = write!(
        out,
        "Final-Recipient: {kind}; {}\r\nAction: {action}\r\nStatus: {}\r\n",
        plain(&one.address),
        one.status
    );
    if let Some(remote) = &one.remote {
        let _ = write!(out, "Remote-MTA: dns; {}\r\n", plain(remote));
    }
    match (&one.diagnostic, one.why.is_empty()) {
        (Some(said), _) => drop(write!(out, "Diagnostic-Code: smtp; {}\r\n", plain(said))),
        (None, false) => drop(write!(out, "Diagnostic-Code: x-waybill; {}\r\n", plain(&one.why))),
        (None, true) => {}
    }
    if let (Action::Delayed, Some(until)) = (one.action, retry_until) {
        let _ = write!(out, "Will-Retry-Until: {}\r\n", date(until));
    }
}

/// A boundary that does not occur in what is returned.
fn boundary(seed: &str, returned: &[u8]) -> String {
    let word: String = seed.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
    let mut boundary = format!("={word}=");
    while memchr::memmem::find(returned, boundary.as_bytes()).is_some() {
        boundary.push('x');
    }
    boundary
}

/// What a list's fields tell.
#[derive(Clone, Copy, Debug)]
pub struct ListHeader<'a> {
    /// RFC 2919.
    pub id: &'a str,
    /// The list's name; may be empty.
    pub name: &'a str,
    /// Where posts go.
    pub post: &'a str,
    /// Who looks after it.
    pub owner: &'a str,
}

/// The fields that a list puts before a post (RFC 2369, RFC 2919).
pub fn list_header(list: &ListHeader<'_>) -> String {
    let name: String = plain(list.name).chars().filter(|c| !"\"\\".contains(*c)).collect();
    let name = if name.is_empty() { String::new() } else { format!("\"{name}\" ") };
    format!(
        "List-Id: {name}<{}>\r\nList-Post: <mailto:{}>\r\nList-Owner: <mailto:{}>\r\nPrecedence: list\r\n",
        list.id, list.post, list.owner
    )
}

/// A header without what only another list, or a delivery, put there.
pub fn without_list_fields(header: &[u8]) -> Vec<u8> {
    const DROPPED: [&str; 7] =
        ["list-id", "list-post", "list-owner", "list-help", "list-subscribe", "list-archive", "precedence"];
    let mut kept = Vec::with_capacity(header.len());
    for field in crate::message::raw_fields(header) {
        let name = field.split(|octet| *octet == b':').next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
        if !DROPPED.contains(&name.as_str()) {
            kept.extend_from_slice(field);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_notification_is_a_well_formed_report() {
        let returned = b"From: a@b\r\nSubject: lost\r\n\r\nbody =1dsnexampleorg= \r\n";
        let made = dsn(&Dsn {
            host: "mail.example.org",
            to: "a@b",
            now: 0,
            message_id: "1.dsn@example.org",
            arrived: 0,
            envelope_id: Some("QQ1"),
            recipients: vec![Reported {
                address: "c@d".into(),
                original: Some("rfc822;e@f".into()),
                action: Action::Failed,
                status: "5.1.1".into(),
                remote: Some("mx.d".into()),
                diagnostic: Some("550 no\r\nEvil: x".into()),
                why: "no such user".into(),
            }],
            returned: Some(Returned::Whole(returned)),
            retry_until: None,
        });
        let message = crate::message::Message::parse(&made);
        let crate::message::Kind::Multipart(parts) = &message.root.kind else { panic!("no parts") };
        let kinds: Vec<String> = parts.iter().map(|part| format!("{}/{}", part.media_type, part.subtype)).collect();
        assert_eq!(kinds, ["text/plain", "message/delivery-status", "message/rfc822"]);
        assert_eq!(&made[parts[2].body.clone()], returned);
        let status = String::from_utf8(made[parts[1].body.clone()].to_vec()).unwrap();
        assert!(
            status.contains("\r\n\r\nOriginal-Recipient: rfc822; e@f\r\nFinal-Recipient: rfc822; c@d\r\n"),
            "{status}"
        );
        assert!(!status.contains("\nEvil"), "{status}");
    }
}
