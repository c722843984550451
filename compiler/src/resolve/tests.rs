//! Certificates and secrets, which no page of the manual can hold.
#![allow(clippy::unwrap_used)]

use crate::init::{First, init};
use crate::pipeline::{Compiled, Wish, compile};
use crate::zone::Kind;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// 24 November 2026.
const NOW: i64 = 1_795_478_400;

/// The codes about a certificate for these names, valid from and until these years, months and days.
fn codes(names: &[&str], from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<&'static str> {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(until.0, until.1, until.2);
    std::fs::write(folder.path().join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let spec = "waybill 1\nhost \"mail.example.org\" {\n    address \"192.0.2.25\"\n    tls {\n        \
                certificate cert=(file)\"cert.pem\" key=(file)\"key.pem\"\n        dane \"3 0 1\" \"3 1 2\"\n    }\n}\n\
                store \"local\" { rocksdb \"data\"; }\n\
                domain \"example.org\" { dnssec; mta-sts \"testing\"; account \"postmaster\"; }\n";
    std::fs::write(folder.path().join("mail.kdl"), spec).unwrap();
    let compiled = compile(&Wish::new(folder.path(), NOW));
    if let Some(artefacts) = &compiled.artefacts {
        let zone = artefacts.zones[0].master_file();
        for kind in ["3 1 1 ", "3 0 1 ", "3 1 2 "] {
            assert!(zone.contains(&format!("_25._tcp.mail IN TLSA {kind}")), "{zone}");
        }
    }
    let about = compiled.report.diagnostics().iter().map(|found| found.code.id());
    about.filter(|code| code.starts_with("W04") && *code != "W0421").collect()
}

#[test]
fn certificates_are_looked_at() {
    let (past, future) = ((2026, 1, 1), (2027, 6, 1));
    let all = ["mail.example.org", "mta-sts.example.org"];
    assert_eq!(codes(&all, past, future), [] as [&str; 0]);
    assert_eq!(codes(&["*.example.org"], past, future), [] as [&str; 0]);
    assert_eq!(codes(&["mail.example.org"], past, future), ["W0410"]);
    assert_eq!(codes(&["mta-sts.example.org", "other.example"], past, future), ["W0407"]);
    assert_eq!(codes(&all, (2025, 1, 1), past), ["W0408"]);
    assert_eq!(codes(&all, future, (2028, 1, 1)), ["W0408"]);
    assert_eq!(codes(&all, past, (2026, 12, 1)), ["W0409"]);
}

/// The codes of `check --secrets` about a first spec to whose folder something was done.
fn secrets(done: impl Fn(&Path)) -> Vec<&'static str> {
    let folder = tempfile::tempdir().unwrap();
    let wish = First {
        folder: folder.path().join("mail"),
        domain: "example.org".parse().unwrap(),
        host: "mail.example.org".parse().unwrap(),
        addresses: vec!["192.0.2.25".parse().unwrap()],
        account: "ada".parse().unwrap(),
        high_ports: false,
        year: 2026,
        month: 11,
    };
    init(&wish).unwrap();
    let known = ["W0124", "W0125", "W0415", "W0624"];
    let codes = |compiled: Compiled| -> Vec<&'static str> {
        let found = compiled.report.diagnostics().iter().map(|found| found.code.id());
        found.filter(|code| known.contains(code)).collect()
    };
    done(&wish.folder);
    assert_eq!(codes(compile(&Wish::new(&wish.folder, NOW))), [] as [&str; 0], "a build opens no secret");
    codes(compile(&Wish { secrets: true, ..Wish::new(&wish.folder, NOW) }))
}

#[test]
fn secrets_are_opened_where_that_is_asked_for() {
    let pem = |folder: &Path, name: &str| folder.join(format!("secrets/{name}.pem"));
    assert_eq!(secrets(|_| {}), [] as [&str; 0]);
    assert_eq!(secrets(|folder| fs::remove_file(pem(folder, "202611e")).unwrap()), ["W0124"]);
    assert_eq!(secrets(|folder| fs::write(pem(folder, "202611r"), " \n").unwrap()), ["W0124"]);
    assert_eq!(
        secrets(|folder| {
            let (other, _) = mail::sign::generate(schema::spec::DkimAlgorithm::Ed25519).unwrap();
            fs::write(pem(folder, "202611e"), other.reveal()).unwrap();
        }),
        ["W0624"]
    );
    assert_eq!(secrets(|folder| assert!(fs::copy(pem(folder, "202611e"), pem(folder, "202611r")).is_ok())), ["W0624"]);
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(secrets(|folder| fs::write(pem(folder, "tls-2026a"), &other).unwrap()), ["W0415"]);
    let open = |folder: &Path| fs::set_permissions(pem(folder, "202611e"), Permissions::from_mode(0o644)).unwrap();
    assert_eq!(secrets(open), ["W0125"]);
    let away = |folder: &Path| {
        let text = fs::read_to_string(folder.join("mail.kdl")).unwrap();
        fs::write(folder.join("mail.kdl"), text.replace("(file)\"secrets/202611e.pem\"", "(env)\"NOT_SET_ANYWHERE\""))
            .unwrap();
    };
    assert_eq!(secrets(away), ["W0124"]);
}

/// A certificate authority's certificate, and one that it signed.
fn chain(name: &str) -> (String, String) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "Authority");
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (leaf.not_before, leaf.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 6, 1));
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let leaf = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    (leaf.pem(), authority_pem)
}

/// A spec whose host has these lines in `tls`, beside files.
fn with_tls(lines: &str, files: &[(&str, String)]) -> Compiled {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let spec = format!(
        "waybill 1\nhost \"mail.example.org\" {{ address \"192.0.2.25\"; tls {{\n{lines}\n}}; }}\n\
         store \"local\" {{ rocksdb \"data\"; }}\ndomain \"example.org\" {{ dnssec; account \"postmaster\"; \
         dns {{ record \"@\" TXT \"proof=1\"; }}; }}\n"
    );
    fs::write(folder.path().join("mail.kdl"), spec).unwrap();
    compile(&Wish::new(folder.path(), NOW))
}

fn has(compiled: &Compiled, code: &str) -> bool {
    compiled.report.diagnostics().iter().any(|found| found.code.id() == code)
}

#[test]
fn a_certificate_that_cannot_be_read_may_be_the_one_shown() {
    let (away, here) = (
        "certificate cert=(file)\"away.pem\" key=(file)\"a.key\"",
        "certificate cert=(file)\"here.pem\" key=(file)\"h.key\"",
    );
    let files = [("here.pem", chain("other.example").0)];
    for lines in [format!("{away}\n{here}"), format!("{here}\n{away}")] {
        let compiled = with_tls(&lines, &files);
        assert!(!has(&compiled, "W0407") && has(&compiled, "W0622"), "{:#?}", compiled.report.diagnostics());
        assert!(!compiled.artefacts.unwrap().zones[0].master_file().contains("TLSA"));
    }
    assert!(has(&with_tls(here, &files), "W0407"));
}

#[test]
fn usage_2_names_the_authority_that_signed() {
    let lines = "certificate cert=(file)\"chain.pem\" key=(file)\"key.pem\"\ndane \"2 0 1\"";
    let ((leaf, authority), (_, stranger)) = (chain("mail.example.org"), chain("mail.example.org"));
    let sound = |text: String| with_tls(lines, &[("chain.pem", text)]);
    // The stranger has the authority's name, but another key.
    assert!(has(&sound(format!("{leaf}{stranger}")), "W0412"));
    assert!(has(&sound(leaf.clone()), "W0412"));
    let zone = |text: String| sound(text).artefacts.unwrap().zones[0].master_file();
    let plain = zone(format!("{leaf}{authority}"));
    assert!(plain.contains("_25._tcp.mail IN TLSA 2 0 1 "));
    assert_eq!(plain, zone(format!("{leaf}{authority}{stranger}")));
    let compiled = sound(format!("{leaf}{authority}"));
    assert!(has(&compiled, "W0410"), "a default policy needs its name covered too");
}

#[test]
fn a_chain_may_be_read_by_everybody() {
    let folder = |folder: &Path| {
        fs::write(folder.join("cert.pem"), chain("mail.example.org").0).unwrap();
        fs::set_permissions(folder.join("cert.pem"), Permissions::from_mode(0o644)).unwrap();
        let text = fs::read_to_string(folder.join("mail.kdl")).unwrap();
        let certificate = "certificate cert=(file)\"cert.pem\" key=(file)\"secrets/tls-2026a.pem\"";
        fs::write(folder.join("mail.kdl"), text.replace("self-signed", certificate)).unwrap();
    };
    // The key is another's, which is told; that all may read the chain is not.
    assert_eq!(secrets(folder), ["W0415"]);
}

#[test]
fn a_merged_set_names_every_place() {
    let compiled = with_tls("self-signed", &[]);
    let name = "example.org".parse().unwrap();
    let text =
        crate::explain::record(compiled.artefacts.as_ref().unwrap(), &compiled.located, &name, Kind::Txt).unwrap();
    assert!(text.contains("says who sends for the domain") && text.contains("is the operator's own"), "{text}");
}
