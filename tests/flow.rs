//! A message from SMTP to IMAP, and where else it may go.
#![allow(clippy::unwrap_used, reason = "tests")]

use harness::client::Client;
use harness::{PASSWORD, Server, Site, message, program};
use std::process::Command;

/// Ports and accounts of a site with everything that an address can be.
fn site() -> Site {
    let site = Site::new();
    let (ada, bob, cyd) = (harness::account("ada"), harness::account("bob"), harness::account("cyd"));
    let ada = ada.replace("    }\n", "        alias \"countess\"\n    }\n");
    site.write_spec(&format!(
        "domain \"example.org\" {{\n{ada}{bob}{cyd}\
         group \"sales\" {{ member \"ada\" \"bob\"; }}\n\
         list \"news\" name=\"The News\" {{ member \"ada\" \"bob\" \"cyd\"; owner \"cyd\"; posting \"members\"; }}\n\
         list \"open\" {{ member \"ada\"; posting \"anyone\"; }}\n\
         catch-all \"bob\"\n}}\n"
    ));
    site
}

fn smtp(server: &Server) -> Client {
    let mut client = Client::connect(server.ports.at(server.ports.smtp)).unwrap();
    assert!(client.reply().unwrap().starts_with("220"));
    client.smtp_ok("EHLO client.example.net", "250");
    client
}

fn submission(server: &Server, user: &str) -> Client {
    let mut client = Client::connect_tls(server.ports.at(server.ports.submissions)).unwrap();
    assert!(client.reply().unwrap().starts_with("220"));
    client.smtp_ok("EHLO client.example.net", "250");
    let plain = format!("\0{user}\0{PASSWORD}");
    client.smtp_ok(&format!("AUTH PLAIN {}", harness::base64(plain.as_bytes())), "235");
    client
}

fn imap(server: &Server, user: &str) -> Client {
    let mut client = Client::connect_tls(server.ports.at(server.ports.imaps)).unwrap();
    assert!(client.line().unwrap().starts_with("* OK"));
    client.login(user);
    client
}

/// Waits, by IDLE, until a mailbox holds so many messages; returns the last one's octets.
fn newest(server: &Server, user: &str, mailbox: &str, count: u32) -> String {
    let mut client = imap(server, user);
    client.wait_for(mailbox, count);
    let fetched = client.imap_ok(&format!("FETCH {count} BODY.PEEK[]"));
    client.imap_ok("LOGOUT");
    fetched.into_iter().find(|line| line.contains("BODY[]")).unwrap()
}

#[test]
fn what_smtp_takes_imap_gives_octet_for_octet() {
    let site = site();
    let server = site.serve();
    let text = message("first", 20_000);
    let reply = smtp(&server).mail("sender@example.net", &["ada@example.org"], &text).unwrap();
    assert!(reply.starts_with("250 2.0.0 queued as "), "{reply}");
    let got = newest(&server, "ada@example.org", "INBOX", 1);
    assert!(got.contains("Return-Path: <sender@example.net>\r\n"), "{got}");
    assert!(got.contains("Received: from client.example.net "), "{got}");
    assert!(got.contains("Authentication-Results: mail.example.org;"), "{got}");
    assert!(got.contains(&text), "the message was changed:\n{got}");
}

#[test]
fn every_kind_of_address_finds_its_people() {
    let site = site();
    let server = site.serve();
    let mut client = smtp(&server);
    let mut send = |to: &str| client.mail("sender@example.net", &[to], &message(to, 500)).unwrap();
    for (to, who, count) in [
        ("countess@example.org", "ada", 1),
        ("Ada+lists@EXAMPLE.org", "ada", 2),
        ("postmaster@example.org", "ada", 3),
        ("postmaster@mail.example.org", "ada", 4),
        ("postmaster", "ada", 5),
        ("nobody.knows@example.org", "bob", 1),
        ("sales@example.org", "bob", 2),
    ] {
        assert!(send(to).starts_with("250"), "{to}");
        let got = newest(&server, &format!("{who}@example.org"), "INBOX", count);
        assert!(got.contains(&format!("Subject: {to}")), "{to}: {got}");
    }
    newest(&server, "ada@example.org", "INBOX", 6);
}

#[test]
fn a_list_takes_its_members_posts_and_sends_them_under_its_own_name() {
    let site = site();
    let server = site.serve();
    let post = message("a post", 800).replace("sender@example.net", "bob@example.org");
    let mut stranger = smtp(&server);
    let refused = stranger.mail("x@example.net", &["news@example.org"], &message("spam", 500)).unwrap();
    assert!(refused.starts_with("550 5.7.2"), "{refused}");
    let mut bob = submission(&server, "bob@example.org");
    assert!(bob.mail("bob@example.org", &["news@example.org"], &post).unwrap().starts_with("250"));
    for who in ["ada", "bob", "cyd"] {
        let got = newest(&server, &format!("{who}@example.org"), "INBOX", 1);
        for field in [
            "Return-Path: <news-bounces@example.org>\r\n",
            "List-Id: \"The News\" <news.example.org>\r\n",
            "List-Post: <mailto:news@example.org>\r\n",
        ] {
            assert!(got.contains(field), "no {field:?} in {got}");
        }
    }
    let bounce = message("undeliverable", 500);
    assert!(smtp(&server).mail("", &["news-bounces@example.org"], &bounce).unwrap().starts_with("250"));
    assert!(newest(&server, "cyd@example.org", "INBOX", 2).contains("undeliverable"));
}

#[test]
fn nobody_relays_and_nobody_sends_as_another() {
    let site = site();
    let server = site.serve();
    let mut stranger = smtp(&server);
    stranger.smtp_ok("MAIL FROM:<sender@example.net>", "250");
    for to in ["someone@example.com", "someone%example.com@example.net", "@example.org:a@example.com", "a@[192.0.2.1]"]
    {
        let reply = stranger.smtp(&format!("RCPT TO:<{to}>")).unwrap();
        assert!(reply.starts_with("550 5.7.1"), "{to}: {reply}");
    }
    let mut plain = Client::connect(server.ports.at(server.ports.submission)).unwrap();
    plain.reply().unwrap();
    let offer = plain.smtp_ok("EHLO client.example.net", "250");
    assert!(offer.contains("STARTTLS") && !offer.contains("AUTH"), "{offer}");
    plain.smtp_ok("MAIL FROM:<ada@example.org>", "530 5.7.0");
    let mut ada = submission(&server, "ada@example.org");
    ada.smtp_ok("MAIL FROM:<bob@example.org>", "550 5.7.1");
    let forged = message("forged", 500).replace("sender@example.net", "bob@example.org");
    let reply = ada.mail("ada@example.org", &["cyd@example.org"], &forged).unwrap();
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    let group = message("as the group", 500).replace("sender@example.net", "sales@example.org");
    assert!(ada.mail("ada@example.org", &["cyd@example.org"], &group).unwrap().starts_with("250"));
}

#[test]
fn a_full_mailbox_says_so_before_the_promise() {
    let site = Site::new();
    let ada = harness::account("ada").replace("    }\n", "        quota \"10KiB\"\n    }\n");
    site.write_spec(&format!("domain \"example.org\" {{\n{ada}}}\n"));
    let server = site.serve();
    let mut client = smtp(&server);
    client.smtp_ok("MAIL FROM:<sender@example.net> SIZE=20000", "250");
    client.smtp_ok("RCPT TO:<ada@example.org>", "552 5.2.2");
    client.smtp_ok("RSET", "250");
    let mut send =
        |id: &str, size| client.mail("sender@example.net", &["ada@example.org"], &message(id, size)).unwrap();
    assert!(send("fits", 5_000).starts_with("250"));
    // A client that does not say the size beforehand hears of it at the end.
    assert!(send("never fits", 20_000).starts_with("552 5.2.2"));
    let mut reader = imap(&server, "ada@example.org");
    reader.wait_for("INBOX", 1);
    assert!(send("does not fit now", 7_000).starts_with("452 4.2.2"));
    let mut ada = imap(&server, "ada@example.org");
    ada.wait_for("INBOX", 1);
    let big = "x".repeat(8_000);
    let reply = ada.imap(&format!("APPEND INBOX {{{}+}}\r\n{big}", big.len())).unwrap();
    assert!(reply.last().unwrap().contains("NO [OVERQUOTA]"), "{reply:?}");
}

#[test]
fn a_login_is_never_offered_in_clear_and_failures_tell_nothing() {
    let site = site();
    let server = site.serve();
    let mut plain = Client::connect(server.ports.at(server.ports.imap)).unwrap();
    plain.line().unwrap();
    let capability = plain.imap_ok("CAPABILITY").join("\n");
    assert!(capability.contains("LOGINDISABLED") && !capability.contains("AUTH="), "{capability}");
    assert!(plain.imap("LOGIN ada@example.org x").unwrap().last().unwrap().contains(" NO "));
    plain.imap_ok("STARTTLS");
    plain.start_tls();
    for user in ["ada@example.org", "nobody@example.org"] {
        let answer = plain.imap(&format!("LOGIN {user} wrong")).unwrap().pop().unwrap();
        assert!(answer.contains("NO [AUTHENTICATIONFAILED] "), "{answer}");
    }
    plain.login("ada@example.org");
    let log = server.log();
    assert!(!log.contains(PASSWORD) && !log.contains("wrong\""), "a secret is in the log");
}

#[test]
fn a_restart_keeps_everything() {
    let site = site();
    let server = site.serve();
    let mut client = smtp(&server);
    for n in 0..20 {
        let text = message(&format!("m{n}"), 3_000);
        assert!(client.mail("sender@example.net", &["ada@example.org"], &text).unwrap().starts_with("250"));
    }
    let uids = |server: &Server| {
        let mut ada = imap(server, "ada@example.org");
        ada.wait_for("INBOX", 20);
        ada.imap_ok("UID FETCH 1:* (FLAGS RFC822.SIZE)")
    };
    let before = uids(&server);
    assert!(server.stop(), "the server did not stop cleanly");
    let server = site.serve();
    assert_eq!(uids(&server)[..20], before[..20]);
}

#[test]
fn a_report_is_made_of_what_was_asked_for() {
    let site = site();
    let server = site.serve();
    let mut ada = submission(&server, "ada@example.org");
    ada.smtp_ok("MAIL FROM:<ada@example.org> RET=HDRS ENVID=QQ314159", "250");
    ada.smtp_ok("RCPT TO:<bob@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob@example.org", "250");
    ada.smtp_ok("DATA", "354");
    let text = message("please report", 500).replace("sender@example.net", "ada@example.org");
    ada.send(format!("{text}.\r\n")).unwrap();
    assert!(ada.reply().unwrap().starts_with("250"));
    let report = newest(&server, "ada@example.org", "INBOX", 1);
    for part in [
        "Return-Path: <>\r\n",
        "Content-Type: multipart/report;",
        "Original-Envelope-Id: QQ314159\r\n",
        "Final-Recipient: rfc822; bob@example.org\r\n",
        "Action: delivered\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "Content-Type: text/rfc822-headers\r\n",
        "Subject: please report\r\n",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    // Of a group it is told that it was expanded, and not to whom.
    ada.smtp_ok("MAIL FROM:<ada@example.org>", "250");
    ada.smtp_ok("RCPT TO:<sales@example.org> NOTIFY=SUCCESS", "250");
    ada.smtp_ok("DATA", "354");
    let text = message("to a group", 500).replace("sender@example.net", "ada@example.org");
    ada.send(format!("{text}.\r\n")).unwrap();
    assert!(ada.reply().unwrap().starts_with("250"));
    let mut reader = imap(&server, "ada@example.org");
    reader.wait_for("INBOX", 3);
    let all = reader.imap_ok("FETCH 2:3 BODY.PEEK[]").join("\n");
    assert!(
        all.contains("Action: expanded\r\n") && all.contains("Final-Recipient: rfc822; sales@example.org"),
        "{all}"
    );
    assert!(!all.contains("Action: delivered") && !all.contains("bob@example.org"), "{all}");
}

#[test]
fn a_store_is_counted_beside_the_running_server() {
    let site = site();
    let server = site.serve();
    for (id, to) in [("one", "ada@example.org"), ("two", "ada@example.org"), ("three", "bob@example.org")] {
        smtp(&server).mail("sender@example.net", &[to], &message(id, 20_000)).unwrap();
    }
    newest(&server, "ada@example.org", "INBOX", 2);
    newest(&server, "bob@example.org", "INBOX", 1);
    let spec = site.path().to_str().unwrap();
    let counts = harness::run(harness::program("waybilld").to_str().unwrap(), &["counts", "--spec", spec]);
    let json: serde_json::Value = serde_json::from_str(&counts).unwrap();
    let ada = &json["accounts"]["ada@example.org"];
    assert_eq!((&ada["messages"], ada["octets"].as_u64().unwrap() > 40_000), (&2.into(), true), "{counts}");
    assert_eq!(json["accounts"]["bob@example.org"]["messages"], 1, "{counts}");
    // It is what a comparison reads.
    let without = Site::new();
    let text = std::fs::read_to_string(site.path().join("mail.kdl")).unwrap();
    without.write("mail.kdl", &text.replace("account \"bob\"", "account \"eve\"").replace("\"bob\"", "\"eve\""));
    without.write("counts.json", &counts);
    let (new, file) = (without.path().to_str().unwrap(), without.path().join("counts.json"));
    let output = harness::waybill(&["diff", spec, new, "--state", file.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("its mailbox of 1 message,"), "{told}{}", String::from_utf8_lossy(&output.stderr));
    // The server serves on.
    smtp(&server).mail("sender@example.net", &["ada@example.org"], &message("four", 1000)).unwrap();
    newest(&server, "ada@example.org", "INBOX", 3);
}

#[test]
fn a_server_that_cannot_hold_a_large_message_does_not_start_and_says_why() {
    let site = Site::with_accounts(&["ada"]);
    let nowhere = site.path().join("nowhere");
    let mut command = Command::new(program("waybilld"));
    command.arg("serve").arg("--spec").arg(site.path()).env("TMPDIR", &nowhere);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let names = said.contains(nowhere.to_str().unwrap()) && said.contains("TMPDIR names another folder");
    assert!(output.status.code() == Some(1) && names, "{:?} {said}", output.status);
}
