//! Certificates as clients and other servers judge them, and listeners that keep people out or open too much.

use super::Around;
use crate::code::Code;
use crate::diagnostic::{Path, Report};
use crate::resolve::Host;
use schema::config::Service;
use schema::name::SecretRef;
use schema::spec;
use std::net::IpAddr;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{Pem, X509Certificate};
use x509_parser::public_key::PublicKey;

/// The shortest RSA key that the server signs with, and that clients take, in bits.
const RSA_LEAST: usize = 2048;

/// Runs the lints of TLS and listeners.
pub fn tls(around: &Around<'_>, report: &mut Report) {
    for (at, host) in around.spec.host.iter().enumerate() {
        let at = Path::root().field("host").item(at);
        for (n, certificate) in host.tls.iter().flat_map(|tls| tls.certificate.iter().enumerate()) {
            let at = at.field("tls").field("certificate").item(n).field("cert");
            if let SecretRef::File(file) = &certificate.cert
                && let Ok(octets) = around.outside.sources.secret(file)
            {
                chain(&octets, &at, report);
            }
        }
        if let Some(listen) = &host.listen {
            swapped(listen, &at.field("listen"), report);
        }
    }
    for host in &around.resolved.hosts {
        services(host, report);
    }
    no_submission(around, report);
    client_names(around, report);
}

/// A chain as a client gets it: the host's own certificate, then each that signed the one before (RFC 8446 §4.4.2).
fn chain(octets: &[u8], at: &Path, report: &mut Report) {
    let pems = Pem::iter_from_buffer(octets).filter_map(Result::ok).filter(|pem| pem.label == "CERTIFICATE");
    let pems: Vec<Pem> = pems.collect();
    let chain: Vec<X509Certificate<'_>> = pems.iter().filter_map(|pem| pem.parse_x509().ok()).collect();
    let Some(leaf) = chain.first() else { return };
    order(&chain, at, report);
    if let Ok(PublicKey::RSA(key)) = leaf.public_key().parsed()
        && key.key_size() < RSA_LEAST
    {
        let says = format!("its RSA key has {} bits, with which the server cannot sign", key.key_size());
        report
            .find(Code::CertificateKey, at.clone(), says)
            .help("get a certificate for a key on P-256, or RSA of 2048 bits");
    }
    let own = |one: &X509Certificate<'_>| one.subject().as_raw() == one.issuer().as_raw();
    for one in chain.iter().filter(|one| !own(one)) {
        if let Some(sum) = weak(&one.signature_algorithm.algorithm) {
            let says = format!("the certificate of `{}` is signed over {sum}, which clients refuse", name(one));
            report.find(Code::CertificateSum, at.clone(), says).help("get a new one; authorities sign over SHA-256");
        }
    }
    let usage = leaf.extended_key_usage().ok().flatten();
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        let says = format!("the certificate of `{}` is not for servers", name(leaf));
        report.find(Code::CertificateUse, at.clone(), says).help("get one with the extended key usage `serverAuth`");
    }
}

fn order(chain: &[X509Certificate<'_>], at: &Path, report: &mut Report) {
    let Some(leaf) = chain.first() else { return };
    let signs =
        |issuer: &X509Certificate<'_>, of: &X509Certificate<'_>| issuer.subject().as_raw() == of.issuer().as_raw();
    let self_signed = signs(leaf, leaf);
    let follows = chain.windows(2).all(|pair| matches!(pair, [one, next] if signs(next, one)));
    if !follows {
        let missing = !self_signed && !chain.iter().skip(1).any(|other| signs(other, leaf));
        let says = if missing {
            format!("no certificate of the chain is that of `{}`, who signed the first", leaf.issuer())
        } else {
            "the chain is not in order: each certificate must be followed by that of who signed it".to_owned()
        };
        report
            .find(Code::ChainOrder, at.clone(), says)
            .help("write the host's own certificate first, then those that the authority gave with it, nearest first");
    } else if chain.len() == 1 && !self_signed {
        let says = format!("the file holds no certificate of `{}`, who signed the host's", leaf.issuer());
        report
            .find(Code::ChainShort, at.clone(), says)
            .help("write the authority's intermediate certificates behind it, as in `fullchain.pem`");
    }
}

fn name(certificate: &X509Certificate<'_>) -> String {
    let common = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    common.map_or_else(|| certificate.subject().to_string(), str::to_owned)
}

/// A sum that can be forged.
fn weak(signature: &Oid<'_>) -> Option<&'static str> {
    match signature.to_id_string().as_str() {
        // RSA, ECDSA and DSA with SHA-1.
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" => Some("SHA-1"),
        "1.2.840.113549.1.1.4" => Some("MD5"),
        _ => None,
    }
}

/// Services on a port where everybody expects its other form.
fn swapped(listen: &spec::Listen, at: &Path, report: &mut Report) {
    let wrong: [(&str, &[u16], u16, &str); 6] = [
        ("imap", &listen.imap, 993, "imaps"),
        ("imaps", &listen.imaps, 143, "imap"),
        ("pop3", &listen.pop3, 995, "pop3s"),
        ("pop3s", &listen.pop3s, 110, "pop3"),
        ("submission", &listen.submission, 465, "submissions"),
        ("submissions", &listen.submissions, 587, "submission"),
    ];
    for (service, ports, port, other) in wrong {
        for (n, _) in ports.iter().enumerate().filter(|(_, one)| **one == port) {
            let says = if service.ends_with('s') {
                format!("clients begin in the clear on port {port}, and `{service}` begins with TLS")
            } else {
                format!("clients begin with TLS on port {port}, and `{service}` begins in the clear")
            };
            report.find(Code::PortOther, at.field(service).item(n), says).help(format!("write `{other} {port}`"));
        }
    }
}

fn services(host: &Host, report: &mut Report) {
    let at = host.at.field("listen");
    for (plain, safe, port) in [(Service::Imap, Service::Imaps, 993), (Service::Submission, Service::Submissions, 465)]
    {
        if host.ports(plain).is_empty() || !host.ports(safe).is_empty() {
            continue;
        }
        let says = format!("`{}` offers `{}` without `{}`", host.name, plain.name(), safe.name());
        let help = format!("write `{} {port}` beside it", safe.name());
        report.find(Code::NoImplicitTls, at.field(plain.name()), says).help(help);
    }
    let open = host.listeners.iter().filter(|one| one.service == Service::Http && one.address.port() != 80);
    if let Some(one) = open.into_iter().find(|one| is_public(&one.address.ip())) {
        let says = format!("everybody reaches plain `http` on {}, which tells of the server's health", one.address);
        report
            .find(Code::HttpPublic, at.field("http"), says)
            .help("let a host inside the network ask, and keep others out by a firewall, or take `http` out");
    }
}

/// Whether all the world may reach an address.
fn is_public(address: &IpAddr) -> bool {
    let inside = match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified(),
    };
    !inside
}

/// People, and no way for them to send.
fn no_submission(around: &Around<'_>, report: &mut Report) {
    let hosts = &around.resolved.hosts;
    let offered = |service| hosts.iter().any(|host| !host.ports(service).is_empty());
    let [first, ..] = hosts.as_slice() else { return };
    if around.resolved.people.accounts.is_empty() || offered(Service::Submission) || offered(Service::Submissions) {
        return;
    }
    report
        .find(Code::NoSubmission, first.at.field("listen"), "people have accounts, and no host takes mail from them")
        .help("write `submissions 465` in `listen`");
}

/// Names at which mail programs look for their settings, and that the certificate does not cover.
fn client_names(around: &Around<'_>, report: &mut Report) {
    for domain in &around.resolved.domains {
        let server = around.resolved.hosts_of(domain).map(|(_, host)| host).find(|host| host.serves_policies());
        let Some(host) = server.filter(|host| host.covers.is_some()) else { continue };
        let zones = &around.artefacts.zones;
        let zone = zones.binary_search_by(|zone| zone.name.cmp(&domain.name)).ok().and_then(|at| zones.get(at));
        let published = |name: &str| zone.is_some_and(|zone| zone.sets.iter().any(|set| set.name.as_str() == name));
        let names = ["autoconfig", "autodiscover"].map(|prefix| format!("{prefix}.{}", domain.name));
        let lacking: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| published(name) && host.lacks(name)).collect();
        if !lacking.is_empty() {
            let says = format!("the certificate of `{}` does not cover `{}`", host.name, lacking.join("`, `"));
            report
                .find(Code::ClientNames, host.at.field("tls").field("certificate").item(0).field("cert"), says)
                .also(domain.at.field("name"), "the domain")
                .help("have them in the certificate too, or leave the records out by `omit` in `dns`");
        }
    }
}
