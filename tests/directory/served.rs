//! A whole server whose people are on an LDAP server.

use super::documented;
use harness::client::Client;
use harness::slapd::{Slapd, Tree};
use harness::{PASSWORD, PATIENCE, Server, Site, base64, message};
use std::time::Instant;

fn site(slapd: &Slapd) -> Site {
    let site = Site::new();
    site.write("ldap-password", PASSWORD);
    std::fs::copy(slapd.folder().join("ca.pem"), site.path().join("ldap-ca.pem")).unwrap();
    let url = format!("ldaps://localhost:{}", slapd.tls_port);
    let directory = documented("OpenLDAP").replace("ldaps://ldap.example.org", &url);
    // Nothing is believed for longer than it takes, so that each test sees what the directory says now.
    let directory = directory.trim_end().trim_end_matches('}').to_owned() + "cache \"0s\"; cache-negative \"0s\";\n}\n";
    let directory = directory.replace("base=", "timeout=\"2s\" base=");
    let own = harness::account("olga");
    site.write_spec(&format!(
        "{directory}domain \"example.org\" {{ directory \"people\"; list \"news\" {{ member \"ada\"; posting \"anyone\"; }}; }}\n\
         domain \"own.example\" {{\n{own}}}\n"
    ));
    site
}

fn smtp(server: &Server) -> Client {
    let mut client = Client::connect(server.ports.at(server.ports.smtp)).unwrap();
    assert!(client.reply().unwrap().starts_with("220"));
    client.smtp_ok("EHLO client.example.net", "250");
    client
}

fn submission(server: &Server) -> Client {
    let mut client = Client::connect_tls(server.ports.at(server.ports.submissions)).unwrap();
    assert!(client.reply().unwrap().starts_with("220"));
    client.smtp_ok("EHLO client.example.net", "250");
    client
}

fn plain(user: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", base64(format!("\0{user}\0{password}").as_bytes()))
}

fn imap(server: &Server) -> Client {
    let mut client = Client::connect_tls(server.ports.at(server.ports.imaps)).unwrap();
    assert!(client.line().unwrap().starts_with("* OK"));
    client
}

fn rcpt(server: &Server, to: &str) -> String {
    let mut client = smtp(server);
    client.smtp_ok("MAIL FROM:<sender@example.net>", "250");
    client.smtp(&format!("RCPT TO:<{to}>")).unwrap()
}

#[test]
fn people_of_a_directory_get_mail_log_in_and_send() {
    let slapd = Slapd::start(Tree::OpenLdap);
    let site = site(&slapd);
    let server = site.serve();
    for (to, text) in [
        ("ada@example.org", "one"),
        ("countess+x@example.org", "two"),
        ("sales@example.org", "three"),
        ("news@example.org", "four"),
    ] {
        let reply = smtp(&server).mail("sender@example.net", &[to], &message(text, 500)).unwrap();
        assert!(reply.starts_with("250"), "{to}: {reply}");
    }
    assert!(rcpt(&server, "nobody@example.org").starts_with("550 5.1.1"));
    let mut client = imap(&server);
    client.login("ada@example.org");
    client.wait_for("INBOX", 4);
    let mut eve = imap(&server);
    eve.login("eve@example.org");
    eve.wait_for("INBOX", 1);
    let refused = imap(&server).imap("LOGIN ada@example.org wrong").unwrap();
    assert!(refused.last().unwrap().contains("NO [AUTHENTICATIONFAILED]"), "{refused:?}");
    // What is too large for the mailbox, 1 MiB by the directory's word.
    let mut large = smtp(&server);
    let reply = large.smtp("MAIL FROM:<sender@example.net> SIZE=2000000").unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    assert!(large.smtp("RCPT TO:<ada@example.org>").unwrap().starts_with("552 5.2.2"));
    let mut sender = submission(&server);
    assert!(sender.smtp(&plain("ada@example.org", "wrong")).unwrap().starts_with("535"));
    sender.smtp_ok(&plain("ada@example.org", PASSWORD), "235");
    let own = message("own", 500).replace("sender@example.net", "countess@example.org");
    let reply = sender.mail("countess@example.org", &["bob@example.org"], &own).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    assert!(sender.smtp("MAIL FROM:<bob@example.org>").unwrap().starts_with("550 5.7.1"));
    let mut bob = imap(&server);
    bob.login("bob@example.org");
    bob.wait_for("INBOX", 1);
}

#[test]
fn while_the_directory_is_away_everything_is_for_later_and_then_as_before() {
    let mut slapd = Slapd::start(Tree::OpenLdap);
    let site = site(&slapd);
    let server = site.serve();
    assert!(rcpt(&server, "ada@example.org").starts_with("250"));
    let mut present = imap(&server);
    present.login("ada@example.org");
    let mut sender = submission(&server);
    sender.smtp_ok(&plain("ada@example.org", PASSWORD), "235");
    slapd.stop();
    for to in ["ada@example.org", "nobody@example.org", "sales@example.org"] {
        let reply = rcpt(&server, to);
        assert!(reply.starts_with("451 4.3.0"), "{to}: {reply}");
    }
    let refused = imap(&server).imap(&format!("LOGIN ada@example.org \"{PASSWORD}\"")).unwrap();
    assert!(refused.last().unwrap().contains("NO [UNAVAILABLE]"), "{refused:?}");
    let reply = submission(&server).smtp(&plain("ada@example.org", PASSWORD)).unwrap();
    assert!(reply.starts_with("454 4.7.0"), "{reply}");
    let reply = sender.smtp("MAIL FROM:<ada@example.org>").unwrap();
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    // Who is in reads on, but for what needs the quota; other domains do not notice.
    present.imap_ok("SELECT INBOX");
    let refused = present.imap("APPEND INBOX {10}").unwrap();
    assert!(refused.last().unwrap().contains("NO [UNAVAILABLE]"), "{refused:?}");
    assert!(rcpt(&server, "olga@own.example").starts_with("250"));
    // A list of the spec takes mail; its member gets it once the directory is there again.
    let reply = smtp(&server).mail("sender@example.net", &["news@example.org"], &message("late", 500)).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    server.wait_for_log("deferred", 0);
    // So does a server that starts meanwhile.
    assert!(server.stop());
    let server = site.serve();
    server.wait_for_log("the directory does not answer", 0);
    assert!(rcpt(&server, "ada@example.org").starts_with("451 4.3.0"));
    slapd.again();
    let began = Instant::now();
    while !rcpt(&server, "ada@example.org").starts_with("250") {
        assert!(began.elapsed() < PATIENCE);
    }
    assert!(rcpt(&server, "nobody@example.org").starts_with("550 5.1.1"));
    imap(&server).login("ada@example.org");
}

#[test]
fn a_directory_that_never_answers_hangs_nobody() {
    let slapd = Slapd::start(Tree::OpenLdap);
    let site = site(&slapd);
    let server = site.serve();
    assert!(rcpt(&server, "ada@example.org").starts_with("250"));
    slapd.freeze();
    let began = Instant::now();
    let reply = rcpt(&server, "ada@example.org");
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    let refused = imap(&server).imap(&format!("LOGIN ada@example.org \"{PASSWORD}\"")).unwrap();
    assert!(refused.last().unwrap().contains("NO [UNAVAILABLE]"), "{refused:?}");
    // Two seconds for each, a connection and a request; far below a client's own patience.
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    slapd.thaw();
    let began = Instant::now();
    while !rcpt(&server, "ada@example.org").starts_with("250") {
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn a_directory_that_is_set_up_wrongly_is_refused_and_the_running_one_goes_on() {
    let slapd = Slapd::start(Tree::OpenLdap);
    let site = site(&slapd);
    let server = site.serve();
    let spec = std::fs::read_to_string(site.path().join("mail.kdl")).unwrap();
    site.write("mail.kdl", &spec.replace("base=\"dc=example", "base=\"dc=elsewhere"));
    server.wait_for_log("configuration refused", 0);
    assert!(rcpt(&server, "ada@example.org").starts_with("250"));
    site.write("mail.kdl", &spec.replace("cache \"0s\"", "cache \"1s\""));
    server.wait_for_log("configuration taken", 0);
    assert!(rcpt(&server, "ada@example.org").starts_with("250"));
}

#[test]
fn a_directory_is_asked_with_the_password_that_its_file_has_now() {
    let mut slapd = Slapd::start(Tree::OpenLdap);
    let site = site(&slapd);
    let server = site.serve();
    site.write("ldap-password", "no password of theirs");
    let refused = server.wait_for_log("configuration refused", 0);
    assert!(!refused.contains("no password of theirs"), "{refused}");
    assert!(rcpt(&server, "ada@example.org").starts_with("250"));
    slapd.modify(
        "dn: cn=mail,dc=example,dc=org\nchangetype: modify\nreplace: userPassword\nuserPassword: another of theirs\n",
    );
    site.write("ldap-password", "another of theirs");
    server.wait_for_log("configuration taken", 0);
    // Nothing is left of the connections that knew the first one.
    slapd.stop();
    slapd.again();
    let began = Instant::now();
    while !rcpt(&server, "ada@example.org").starts_with("250") {
        assert!(began.elapsed() < PATIENCE, "{}", server.log());
    }
}
