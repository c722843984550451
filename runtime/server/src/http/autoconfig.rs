//! What mail clients ask to set themselves up: Mozilla's autoconfig and Microsoft's autodiscover.

use crate::snapshot::Snapshot;
use schema::config::Service;
use schema::name::{Address, DomainName};
use std::fmt::Write;

struct Offer {
    kind: &'static str,
    port: u16,
    socket: &'static str,
}

// What a client can use, the best first.
fn offers(snapshot: &Snapshot) -> Vec<Offer> {
    let known = [
        (Service::Imaps, "imap", "SSL"),
        (Service::Imap, "imap", "STARTTLS"),
        (Service::Submissions, "smtp", "SSL"),
        (Service::Submission, "smtp", "STARTTLS"),
    ];
    let mut offers = Vec::new();
    for (service, kind, socket) in known {
        let listener = snapshot.host.listeners.iter().find(|listener| listener.service == service);
        offers.extend(listener.map(|listener| Offer { kind, port: listener.address.port(), socket }));
    }
    offers
}

/// Mozilla's `config-v1.1.xml`.
pub fn thunderbird(snapshot: &Snapshot, domain: &DomainName) -> String {
    let host = &snapshot.host.name;
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n  <emailProvider id=\"{domain}\">\n    \
         <domain>{domain}</domain>\n    <displayName>{domain}</displayName>\n    \
         <displayShortName>{domain}</displayShortName>\n"
    );
    for Offer { kind, port, socket } in offers(snapshot) {
        let tag = if kind == "smtp" { "outgoingServer" } else { "incomingServer" };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "    <{tag} type=\"{kind}\">\n      <hostname>{host}</hostname>\n      <port>{port}</port>\n      \
             <socketType>{socket}</socketType>\n      <authentication>password-cleartext</authentication>\n      \
             <username>%EMAILADDRESS%</username>\n    </{tag}>\n"
        );
    }
    out + "  </emailProvider>\n</clientConfig>\n"
}

/// The address in an autodiscover request. Only this one element is looked for, so no XML parser faces the
/// internet here.
pub fn asked(body: &str) -> Option<Address> {
    let (_, rest) = body.split_once("<EMailAddress>")?;
    rest.split_once("</EMailAddress>")?.0.trim().parse().ok()
}

/// Microsoft's autodiscover answer.
pub fn outlook(snapshot: &Snapshot, address: &Address) -> String {
    let host = &snapshot.host.name;
    // What RFC 5321 allows in a local part and XML does not.
    let login = address.to_string().replace('&', "&amp;").replace('\'', "&apos;");
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\n  \
         <Response xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\">\n    \
         <Account>\n      <AccountType>email</AccountType>\n      <Action>settings</Action>\n",
    );
    for Offer { kind, port, socket } in offers(snapshot) {
        let kind = kind.to_ascii_uppercase();
        let encryption = if socket == "SSL" { "SSL" } else { "TLS" };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "      <Protocol>\n        <Type>{kind}</Type>\n        <Server>{host}</Server>\n        <Port>{port}</Port>\n        \
             <LoginName>{login}</LoginName>\n        <SPA>off</SPA>\n        <Encryption>{encryption}</Encryption>\n        \
             <AuthRequired>on</AuthRequired>\n      </Protocol>\n"
        );
    }
    out + "    </Account>\n  </Response>\n</Autodiscover>\n"
}
