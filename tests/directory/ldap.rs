//! OpenLDAP's slapd, once with a tree of its own kind and once with one of Active Directory's.

use super::{Asked, documented};
use harness::slapd::{NAME, Slapd, Tree};
use harness::{PASSWORD, PATIENCE, Site};
use std::time::Instant;
use store::directory::Access;
use store::error::StoreError;

/// The page's example for a server of the test's, with its password and authority beside the spec.
fn example(site: &Site, slapd: &Slapd, heading: &str) -> String {
    site.write("ldap-password", PASSWORD);
    std::fs::copy(slapd.folder().join("ca.pem"), site.path().join("ldap-ca.pem")).unwrap();
    let url = format!("ldaps://localhost:{}", slapd.tls_port);
    documented(heading).replace("ldaps://ldap.example.org", &url)
}

const DOMAIN: &str = "domain \"example.org\" { directory \"people\"; quota \"7MiB\"; alias \"boss\" \"ada\"; \
                      group \"desk\" { member \"countess\" \"bob\"; }; }\n";

#[tokio::test]
async fn people_of_openldap_are_found_by_every_address() {
    let (site, slapd) = (Site::new(), Slapd::start(Tree::OpenLdap));
    let asked = Asked::open(&site, &(example(&site, &slapd, "OpenLDAP") + DOMAIN)).await.unwrap();
    for (address, whose) in [
        ("ada@example.org", "ada@example.org"),
        ("ADA@Example.org", "ada@example.org"),
        ("countess@example.org", "ada@example.org"),
        ("ada.lovelace@example.org", "ada@example.org"),
        ("countess+news@example.org", "ada@example.org"),
        ("boss@example.org", "=ada@example.org"),
        ("eve@example.org", "eve@example.org"),
        ("nobody@example.org", "-"),
        // Never a pattern, never another filter.
        ("*@example.org", "-"),
        ("a*@example.org", "-"),
        // A mailbox in a domain that is not this directory's.
        ("other@example.org", "-"),
        // Groups, in each other in a circle, with a member that is gone.
        ("sales@example.org", "=ada@example.org eve@example.org"),
        ("finance+x@example.org", "=ada@example.org eve@example.org"),
        // By what they log in by, which is no pattern either.
        ("staff@example.org", "=ada@example.org bob@example.org"),
    ] {
        assert_eq!(asked.whose(address).await, whose, "{address}");
    }
    assert_eq!(asked.quota("ada@example.org").await, Some(1 << 20));
    assert_eq!(asked.quota("bob@example.org").await, Some(7 << 20), "the domain's");
    for (account, address, may) in [
        ("ada@example.org", "countess+x@example.org", true),
        ("ada@example.org", "sales@example.org", true),
        ("eve@example.org", "sales@example.org", true),
        ("bob@example.org", "sales@example.org", false),
        ("bob@example.org", "ada@example.org", false),
        // A group of the spec with members in the directory, one by another address.
        ("ada@example.org", "desk@example.org", true),
        ("bob@example.org", "desk@example.org", true),
        ("eve@example.org", "desk@example.org", false),
        ("ada@example.org", "nobody@example.org", false),
        // An alias of the spec for one person is that person's.
        ("ada@example.org", "boss@example.org", true),
        ("bob@example.org", "boss@example.org", false),
    ] {
        assert_eq!(asked.may_send_as(account, address).await, may, "{account} as {address}");
    }
}

#[tokio::test]
async fn a_password_is_proved_by_a_login_there_or_compared_here() {
    let (site, slapd) = (Site::new(), Slapd::start(Tree::OpenLdap));
    let bind = example(&site, &slapd, "OpenLDAP");
    let compare = bind.replace("filter {", "login \"compare\"\n        filter {");
    let dn = bind.replace("filter {", "login-dn \"uid={},ou=people,dc=example,dc=org\"\n        filter {");
    for (kind, spec) in [("bind", &bind), ("compare", &compare), ("login-dn", &dn)] {
        let asked = Asked::open(&site, &format!("{spec}{DOMAIN}")).await.unwrap();
        assert!(!asked.router.all_have_scram().await);
        // Twice: the second time it is known.
        for _ in 0..2 {
            for (user, password, whose) in [
                ("ada@example.org", PASSWORD, "ada@example.org"),
                ("Ada@EXAMPLE.org", PASSWORD, "ada@example.org"),
                ("ada@example.org", "wrong", "-"),
                // RFC 4513 §5.1.2: a server takes it, and means nobody.
                ("ada@example.org", "", "-"),
                ("nobody@example.org", PASSWORD, "-"),
                ("nobody@example.org", "", "-"),
                // Has no password at all.
                ("locked@example.org", PASSWORD, "-"),
                ("other@example.org", PASSWORD, "-"),
                ("*@example.org", PASSWORD, "-"),
                ("ada", PASSWORD, "-"),
                ("ada@elsewhere.example", PASSWORD, "-"),
            ] {
                assert_eq!(asked.login(user, password).await, whose, "{kind}: {user} {password}");
            }
        }
        if kind != "login-dn" {
            assert_eq!(asked.login("eve@example.org", PASSWORD).await, "eve@example.org", "{kind}");
        }
    }
}

#[tokio::test]
async fn a_scram_verifier_lies_beside_the_hash() {
    let (site, slapd) = (Site::new(), Slapd::start(Tree::OpenLdap));
    let verifier = "{SCRAM-SHA-256}4096,9UJfxYUhNYucfFrqiRHYsg==,N6LxB3u7N3p19UU0tAAWSF+ZtHczm1WKMaNJ98/QvJs=,\
                    vU3u6inVVECxj0IfIzfKFMWgREddkaDt6L3lapYyI5M=";
    let who = "dn: uid=ada,ou=people,dc=example,dc=org\nchangetype: modify\nadd: userPassword\nuserPassword: ";
    slapd.modify(&format!("{who}{verifier}\n"));
    let spec = example(&site, &slapd, "OpenLDAP").trim_end().trim_end_matches('}').to_owned() + "scram\n}\n";
    let asked = Asked::open(&site, &format!("{spec}{DOMAIN}")).await.unwrap();
    assert!(asked.router.all_have_scram().await);
    let secret = [7; 32];
    let ada = asked.router.scram(("ada@example.org", Access::Imap), &secret).await.unwrap();
    assert!(ada == store::password::scram(verifier).unwrap());
    let bob = asked.router.scram(("bob@example.org", Access::Imap), &secret).await.unwrap();
    assert!(
        bob == asked.router.scram(("bob@example.org", Access::Imap), &secret).await.unwrap()
            && bob.stored_key != ada.stored_key
    );
    assert_eq!(asked.login("ada@example.org", PASSWORD).await, "ada@example.org");
}

#[tokio::test]
async fn people_of_active_directory_are_found_by_its_own_attributes() {
    let (site, slapd) = (Site::new(), Slapd::start(Tree::ActiveDirectory));
    let asked = Asked::open(&site, &(example(&site, &slapd, "Active Directory") + DOMAIN)).await.unwrap();
    for (address, whose) in [
        ("ada@example.org", "ada@example.org"),
        ("countess@example.org", "ada@example.org"),
        ("lovelace@example.org", "-"),
        // Disabled: bit 2 of userAccountControl.
        ("gone@example.org", "-"),
        ("sales@example.org", "=ada@example.org bob@example.org"),
        ("finance@example.org", "=bob@example.org"),
    ] {
        assert_eq!(asked.whose(address).await, whose, "{address}");
    }
    for (user, whose) in [
        ("ada@example.org", "ada@example.org"),
        // The account's name, with the domain behind it.
        ("lovelace@example.org", "ada@example.org"),
        ("gone@example.org", "-"),
        ("sales@example.org", "-"),
    ] {
        assert_eq!(asked.login(user, PASSWORD).await, whose, "{user}");
    }
    assert!(asked.may_send_as("bob@example.org", "sales@example.org").await);
    assert!(!asked.may_send_as("bob@example.org", "countess@example.org").await);
}

#[tokio::test]
async fn a_search_that_the_server_cuts_off_is_told_and_keeps_nobody_else_waiting() {
    let (site, slapd) = (Site::new(), Slapd::start_with(Tree::ActiveDirectory, "sizelimit 1"));
    let asked = Asked::open(&site, &(example(&site, &slapd, "Active Directory") + DOMAIN)).await.unwrap();
    let Err(StoreError::Misconfigured(cause)) = asked.router.resolve(&"sales@example.org".parse().unwrap()).await
    else {
        panic!("the two members of a group are more than one");
    };
    let says = cause.to_string();
    assert!(says.contains("sizeLimitExceeded") && says.contains("cn=Sales"), "{says}");
    for (address, whose) in
        [("bob@example.org", "bob@example.org"), ("nobody@example.org", "-"), ("sales@example.org", "?")]
    {
        assert_eq!(asked.whose(address).await, whose, "{address}");
    }
}

#[tokio::test]
async fn tls_is_begun_before_anything_is_sent_and_the_certificate_must_be_right() {
    let (site, slapd) = (Site::new(), Slapd::start(Tree::OpenLdap));
    let right = example(&site, &slapd, "OpenLDAP") + DOMAIN;
    let (secure, plain) = (format!("ldaps://localhost:{}", slapd.tls_port), format!("ldap://localhost:{}", slapd.port));
    let ca = "tls ca=(file)\"ldap-ca.pem\"";
    harness::certificate(&site.path().join(""), &["localhost".to_owned()], 30);
    std::fs::copy(slapd.folder().join("cert.pem"), site.path().join("own.pem")).unwrap();
    std::fs::copy(slapd.folder().join("key.pem"), site.path().join("own.key")).unwrap();
    let own = "tls ca=(file)\"ldap-ca.pem\" cert=(file)\"own.pem\" key=(file)\"own.key\"";
    for (what, spec) in [
        ("ldaps", right.clone()),
        ("StartTLS", right.replace(&secure, &plain)),
        ("in the clear", right.replace(&secure, &plain).replace(ca, "tls mode=\"off\"")),
        ("another name", right.replace("localhost", "127.0.0.1").replace(ca, &format!("{ca} name=\"{NAME}\""))),
        ("a certificate of ours", right.replace(ca, own)),
        ("the server's own base", right.replace("base=\"dc=example,dc=org\" ", "")),
    ] {
        let asked = Asked::open(&site, &spec).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(asked.whose("countess@example.org").await, "ada@example.org", "{what}");
        assert_eq!(asked.login("ada@example.org", PASSWORD).await, "ada@example.org", "{what}");
    }
    for (what, spec) in [
        ("another authority", right.replace("ldap-ca.pem", "ca.pem")),
        ("the system's authorities", right.replace(ca, "")),
        ("a name that the certificate has not", right.replace(ca, &format!("{ca} name=\"elsewhere.example\""))),
        ("StartTLS with another authority", right.replace(&secure, &plain).replace("ldap-ca.pem", "ca.pem")),
        ("a base that is not there", right.replace("base=\"dc=example", "base=\"dc=elsewhere")),
        ("a wrong password", right.replace("ldap-password", "cert.pem")),
        ("a referral", right.replace("base=\"", "base=\"ou=elsewhere,")),
    ] {
        match Asked::open(&site, &spec).await.map(|_| ()) {
            Err(StoreError::Misconfigured(why)) => assert!(!why.to_string().contains(PASSWORD), "{why}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn one_that_is_away_or_hangs_has_never_said_that_nobody_is_there() {
    let (site, mut slapd) = (Site::new(), Slapd::start(Tree::OpenLdap));
    let spec = example(&site, &slapd, "OpenLDAP").replace("base=", "timeout=\"1s\" base=") + DOMAIN;
    let asked = Asked::open(&site, &spec).await.unwrap();
    assert_eq!(asked.whose("ada@example.org").await, "ada@example.org");
    slapd.stop();
    assert_eq!(asked.whose("ada@example.org").await, "ada@example.org", "what is known is known");
    asked.forget();
    for address in ["ada@example.org", "nobody@example.org", "sales@example.org"] {
        assert_eq!(asked.whose(address).await, "?", "{address}");
        asked.forget();
    }
    assert_eq!(asked.login("ada@example.org", PASSWORD).await, "?");
    // A configuration is taken all the same.
    let away = Asked::open(&site, &spec).await.unwrap();
    slapd.again();
    for asked in [&asked, &away] {
        asked.forget();
        assert_eq!(asked.whose("ada@example.org").await, "ada@example.org");
        assert_eq!(asked.login("ada@example.org", PASSWORD).await, "ada@example.org");
    }
    slapd.freeze();
    for address in ["ada@example.org", "bob@example.org"] {
        asked.forget();
        let began = Instant::now();
        assert_eq!(asked.whose(address).await, "?", "{address}");
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
    slapd.thaw();
    let began = Instant::now();
    while asked.whose("ada@example.org").await != "ada@example.org" {
        assert!(began.elapsed() < PATIENCE);
        asked.forget();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_share_few_connections() {
    let (site, slapd) = (Site::new(), Slapd::start(Tree::OpenLdap));
    let spec = example(&site, &slapd, "OpenLDAP").replace("filter {", "pool most=2\n        filter {") + DOMAIN;
    let asked = Asked::open(&site, &spec).await.unwrap();
    let all = (0..200).map(|n| {
        let asked = &asked;
        async move {
            if n % 4 == 0 {
                assert_eq!(asked.login("ada@example.org", PASSWORD).await, "ada@example.org");
            } else {
                assert_eq!(asked.whose(&format!("nobody{n}@example.org")).await, "-");
            }
        }
    });
    futures(all).await;
    // What is open stays open when the configuration changes elsewhere.
    let again = super::config(&site, &format!("{spec}domain \"example.net\" {{ alias \"a\" \"ada@example.org\"; }}\n"));
    slapd.freeze();
    let router = asked.registry.directories(&std::sync::Arc::new(again)).await.unwrap();
    assert!(router.is_ours(&"example.net".parse().unwrap()));
    slapd.thaw();
}

/// Waits for all, at once.
async fn futures(all: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
