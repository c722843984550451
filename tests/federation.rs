//! Two servers that find each other by the zones that the compiler emitted, served by a BIND.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::bind::Bind;
use harness::client::Client;
use harness::{Ports, Server, message, program, waybill};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// One of the two: its spec, built zone and whereabouts. Loopback addresses of its own let it use port 25, where
/// mail to others goes.
struct Peer {
    folder: TempDir,
    domain: &'static str,
    account: String,
    password: String,
    ports: Ports,
    zone: PathBuf,
}

impl Peer {
    fn new(domain: &'static str, last: u8, people: &str) -> Peer {
        let folder = tempfile::tempdir().unwrap();
        let [high, low] = u16::try_from(std::process::id() % 60_000).unwrap().to_be_bytes();
        let address: IpAddr = [127, 1 + high % 250, low.max(1), last].into();
        let (spec, host) = (folder.path().join("spec"), format!("mail.{domain}"));
        let made = waybill(&[
            "init",
            spec.to_str().unwrap(),
            "--domain",
            domain,
            "--host",
            &host,
            "--address",
            &address.to_string(),
            "--account",
            "ada",
        ]);
        let said = String::from_utf8(made.stdout).unwrap();
        let password = said.lines().find_map(|line| line.trim().strip_prefix("password")).unwrap().trim().to_owned();
        let text = std::fs::read_to_string(spec.join("mail.kdl")).unwrap();
        let text = text.replacen("    account \"ada\"", &format!("{people}    account \"ada\""), 1);
        std::fs::write(spec.join("mail.kdl"), text + "queue { retry \"1s\"; retry-most \"2s\"; }\n").unwrap();
        let out = folder.path().join("out");
        let built = waybill(&["build", spec.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let zone = out.join(format!("zones/{domain}.zone"));
        whole(&zone);
        let ports =
            Ports { address, smtp: 25, submission: 587, submissions: 465, imap: 143, imaps: 993, https: 443, http: 0 };
        Peer { folder, domain, account: format!("ada@{domain}"), password, ports, zone }
    }

    fn serve(&self, dns: &Bind) -> Server {
        let mut command = Command::new(program("waybilld"));
        command.arg("serve").arg("--spec").arg(self.folder.path().join("spec"));
        command.arg("--resolver").arg(dns.address.to_string());
        Server::start(command, self.ports)
    }

    fn submit(&self, to: &str, subject: &str) {
        self.submit_text(to, &message(subject, 3000));
    }

    fn submit_text(&self, to: &str, text: &str) {
        let mut client = Client::connect_tls(self.ports.at(self.ports.submissions)).unwrap();
        client.reply().unwrap();
        client.smtp_ok("EHLO laptop.example", "250");
        let plain = harness::base64(format!("\0{}\0{}", self.account, self.password).as_bytes());
        client.smtp_ok(&format!("AUTH PLAIN {plain}"), "235");
        let text = text.replacen("sender@example.net", &self.account, 1).replacen("ada@example.org", to, 1);
        let reply = client.mail(&self.account, &[to], &text).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
    }

    fn imap(&self) -> Client {
        let mut client = Client::connect_tls(self.ports.at(self.ports.imaps)).unwrap();
        client.line().unwrap();
        client.imap_ok(&format!("LOGIN {} \"{}\"", self.account, self.password));
        client
    }

    /// The octets of the message of that number, once it is there.
    fn read(&self, number: u32) -> String {
        let mut client = self.imap();
        client.wait_for("INBOX", number);
        let fetched = client.imap_ok(&format!("FETCH {number} BODY.PEEK[]"));
        fetched.into_iter().find(|line| line.contains("BODY[]")).unwrap()
    }
}

struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// KiB of its own that a process has at most while something is done, as often as it can be looked at: without the pages
/// of files, which are the system's to take back at any time.
fn peak(server: &Server, work: impl FnOnce()) -> i64 {
    let status = format!("/proc/{}/status", server.id());
    let own = || -> i64 {
        let status = std::fs::read_to_string(&status).unwrap();
        let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        own.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looked = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = own().max(most);
                std::thread::sleep(Duration::from_millis(1));
            }
            most
        });
        // Set where the work panics, too: else nobody would stop looking.
        let ended = Ended(&done);
        work();
        drop(ended);
        looked.join().unwrap()
    })
}

/// Submitted and signed at A, relayed, authenticated at B, delivered, indexed, told in parts and whole, and appended. What
/// the two had at most, in KiB.
fn large_and_small([(a, at_a), (b, at_b)]: [(&Peer, &Server); 2], number: u32, size: usize) -> [i64; 2] {
    let text = message(&format!("of {size}"), size);
    let (mut of_b, indexed) = (0, at_b.log_mark());
    let of_a = peak(at_a, || {
        of_b = peak(at_b, || {
            a.submit_text(&b.account, &text);
            let mut client = b.imap();
            client.wait_for("INBOX", number);
            at_b.wait_for_log("indexed", indexed);
            let told = client.imap_ok(&format!("FETCH {number} (ENVELOPE BODYSTRUCTURE BODY.PEEK[TEXT]<7.500>)"));
            assert!(told[0].contains("quick brown"), "{}", told[0]);
            let got = client.imap_ok(&format!("FETCH {number} BODY.PEEK[]")).swap_remove(0);
            assert!(got.contains("dmarc=pass") && got.matches("dkim=pass").count() == 2);
            assert!(got.contains(text.split_once("\r\n\r\n").unwrap().1), "a message of {size} is another");
            client.send(format!("ap APPEND Archive {{{}}}\r\n", text.len())).unwrap();
            assert!(client.response().unwrap().starts_with('+'));
            client.send(format!("{text}\r\n")).unwrap();
            let done = client.imap_until("ap").unwrap();
            assert!(done.last().unwrap().starts_with("ap OK"), "{done:?}");
        });
    });
    [of_a, of_b]
}

#[test]
fn a_large_message_takes_no_more_memory_than_a_small_one() {
    let (a, b) = (Peer::new("a.example", 8, ""), Peer::new("b.example", 9, ""));
    let dns = Bind::serve(&[(a.domain.to_owned(), a.zone.clone()), (b.domain.to_owned(), b.zone.clone())]);
    for peer in [&a, &b] {
        let spec = peer.folder.path().join("spec/mail.kdl");
        let files = "store \"files\" { filesystem \"blobs\"; }\nstorage { data \"local\"; search \"local\"; lookup \"local\"; blob \"files\"; }\n";
        std::fs::write(&spec, std::fs::read_to_string(&spec).unwrap() + files).unwrap();
    }
    let (at_a, at_b) = (a.serve(&dns), b.serve(&dns));
    let both = [(&a, &at_a), (&b, &at_b)];
    large_and_small(both, 1, 50_000);
    let small = large_and_small(both, 2, 50_000);
    let large = large_and_small(both, 3, 49 << 20);
    println!("at most, in KiB, for 50 kB: {small:?}, for 49 MiB: {large:?}");
    let more = [large[0] - small[0], large[1] - small[1]];
    assert!(more.iter().all(|more| *more < 24 << 10), "{more:?} KiB more");
}

/// Puts a zone's SOA and NS before its records.
fn whole(zone: &Path) {
    let text = std::fs::read_to_string(zone).unwrap();
    let (head, records) = text.split_at(text.match_indices('\n').nth(1).unwrap().0 + 1);
    let soa = "@ 3600 IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 300\n@ 3600 IN NS ns.invalid.\n";
    std::fs::write(zone, format!("{head}{soa}{records}")).unwrap();
}

#[test]
fn mail_between_two_servers_is_authentic_and_arrives_once() {
    let (a, b) = (Peer::new("a.example", 2, ""), Peer::new("b.example", 3, ""));
    let dns = Bind::serve(&[(a.domain.to_owned(), a.zone.clone()), (b.domain.to_owned(), b.zone.clone())]);
    let at_a = a.serve(&dns);
    let at_b = b.serve(&dns);

    a.submit(&b.account, "authentic");
    let got = b.read(1);
    let results = results(&got);
    assert!(results.contains("spf=pass"), "{results}");
    assert!(results.contains("dmarc=pass"), "{results}");
    assert_eq!(results.matches("dkim=pass").count(), 2, "{results}");
    // `init` names the keys by month and algorithm: 202611e is ed25519, 202611r is RSA.
    for end in ["e header.b", "r header.b"] {
        assert!(results.contains(end), "{results}");
    }
    assert!(got.contains("with ESMTPS"), "not under TLS: {got}");

    // With B stopped, A retries until B is back; B gets it once.
    assert!(at_b.stop());
    let mark = at_a.log_mark();
    a.submit(&b.account, "patient");
    at_a.wait_for_log("deferred", mark);
    let mark = at_a.log_mark();
    at_a.wait_for_log("deferred", mark);
    let at_b = b.serve(&dns);
    assert!(b.read(2).contains("Subject: patient"));
    a.submit(&b.account, "after");
    assert!(b.read(3).contains("Subject: after"));
    // A mailbox that is not there: one report, well formed, and none about it.
    a.submit("nobody@b.example", "lost");
    let report = a.read(1);
    for part in [
        "Return-Path: <>\r\n",
        "multipart/report",
        "report-type=delivery-status",
        "Reporting-MTA: dns; mail.a.example\r\n",
        "Final-Recipient: rfc822; nobody@b.example\r\n",
        "Action: failed\r\n",
        "Status: 5.1.1\r\n",
        "Remote-MTA: dns; mail.b.example\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 <nobody@b.example> ",
        "Subject: lost\r\n",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    parses_as_report(&report);
    a.submit(&b.account, "last");
    assert!(b.read(4).contains("Subject: last"));
    let counted = a.imap().imap_ok("STATUS INBOX (MESSAGES)").join("");
    assert!(counted.contains("MESSAGES 1"), "{counted}");
    drop((at_a, at_b));
}

/// What a message's own server found, without what the message brought along.
fn results(fetched: &str) -> &str {
    let results = fetched.split("Authentication-Results: ").nth(1).unwrap();
    results.split("\r\nReceived:").next().unwrap()
}

#[test]
fn what_a_server_sends_on_is_authentic_too() {
    let people =
        "    list \"news\" { member \"ada\" \"ada@d.example\"; }\n    group \"far\" { member \"gone@d.example\"; }\n";
    let (c, d) = (Peer::new("c.example", 4, people), Peer::new("d.example", 5, ""));
    let two = c.folder.path().join("two.zone");
    let soa = "@ 3600 IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 300\n@ 3600 IN NS ns.invalid.\n";
    let spf = "@ 60 IN TXT \"v=spf1 ip4:127.0.0.0/8 -all\"\n";
    std::fs::write(&two, format!("{soa}{spf}{}", spf.replace("-all", "~all"))).unwrap();
    let zones = [(c.domain, &c.zone), (d.domain, &d.zone), ("two.example", &two)];
    let dns = Bind::serve(&zones.map(|(name, zone)| (name.to_owned(), zone.clone())));
    let (at_c, at_d) = (c.serve(&dns), d.serve(&dns));

    // A post to a list keeps its author's signatures, and has the list's.
    c.submit("news@c.example", "to the list");
    let got = d.read(1);
    assert!(
        got.contains("Return-Path: <news-bounces@c.example>") && got.contains("List-Id: <news.c.example>"),
        "{got}"
    );
    let found = results(&got);
    assert!(found.contains("spf=pass") && found.contains("dmarc=pass"), "{found}");
    assert_eq!(found.matches("dkim=pass").count(), 4, "{found}");

    // Forwarded to a mailbox that is not there: the return path was rewritten, and its report comes back authentic.
    d.submit("far@c.example", "to be forwarded");
    let report = d.read(2);
    assert!(report.contains("Return-Path: <>") && report.contains("Subject: to be forwarded"), "{report}");
    let found = results(&report);
    assert!(found.contains("dmarc=pass") && found.matches("dkim=pass").count() == 2, "{found}");
    parses_as_report(&report);
    let refused = at_d.log();
    assert!(refused.contains("refused") && refused.contains("gone@d.example"), "{refused}");

    // Of two SPF records neither counts (RFC 7208 §4.5), also where the first one lets everybody send.
    let mut client = Client::connect(d.ports.at(d.ports.smtp)).unwrap();
    client.reply().unwrap();
    client.smtp_ok("EHLO mail.two.example", "250");
    let reply = client.mail("a@two.example", &[&d.account], &message("two records", 100)).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let got = d.read(3);
    assert!(results(&got).contains("spf=permerror"), "{got}");
    drop((at_c, at_d));
}

/// Python's standard library reads it as RFC 3464 has it.
fn parses_as_report(fetched: &str) {
    let start = fetched.find("Return-Path").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &fetched[start..]).unwrap();
    let script = "import sys, email, email.policy\n\
        m = email.message_from_binary_file(open(sys.argv[1], 'rb'), policy=email.policy.SMTP)\n\
        assert m.get_content_type() == 'multipart/report', m.get_content_type()\n\
        text, status, original = list(m.iter_parts())\n\
        assert text.get_content_type() == 'text/plain'\n\
        assert status.get_content_type() == 'message/delivery-status'\n\
        assert original.get_content_type() in ('message/rfc822', 'text/rfc822-headers')\n\
        fields = status.get_payload()\n\
        assert len(fields) == 2 and fields[0]['Reporting-MTA'] and fields[1]['Action'] == 'failed', fields\n";
    harness::run("python3", &["-c", script, file.path().to_str().unwrap()]);
}

/// A peer whose zone a name server takes by updates.
fn updated(domain: &'static str, last: u8, dns: &Bind) -> Peer {
    let peer = Peer::new(domain, last, "");
    let file = peer.folder.path().join("spec/mail.kdl");
    let text = std::fs::read_to_string(&file).unwrap();
    let head = format!("domain \"{domain}\" {{\n");
    let allow = format!("    allow W0621 reason=\"a trial\" until=\"{}\"\n", harness::next_month());
    let text = text.replacen(&head, &format!("{head}    dns \"main\" ttl=\"2s\"\n{allow}"), 1);
    let node = format!(
        "dns \"main\" {{ rfc2136 \"{}\" key=\"waybill.\" algorithm=\"hmac-sha256\" secret=(env)\"TSIG\"; }}\n",
        dns.address
    );
    std::fs::write(&file, text + &node).unwrap();
    peer
}

/// Runs the compiler on a peer's spec; what it says, and its exit code.
fn told(peer: &Peer, dns: &Bind, arguments: &[&str]) -> (Option<i32>, String) {
    let (command, rest) =
        arguments.split_at(arguments.iter().position(|word| word.starts_with('-')).unwrap_or(arguments.len()));
    let mut run = Command::new(program("waybill"));
    // `keys rotate DIR NAME`, `apply DIR --yes`.
    let (verb, names) = command.split_at(if command.first() == Some(&"keys") { 2 } else { 1 });
    run.args(verb).arg(peer.folder.path().join("spec")).args(names).args(rest);
    run.env("TSIG", harness::bind::TSIG).env("WAYBILL_RESOLVER", dns.address.to_string());
    let output = run.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_dkim_rotation_leaves_no_message_without_a_signature_that_holds() {
    let dns = Bind::signing(&["e.example", "f.example"]);
    let (e, f) = (updated("e.example", 6, &dns), updated("f.example", 7, &dns));
    for peer in [&e, &f] {
        let (code, said) = told(peer, &dns, &["apply", "--yes", "--wait", "--deadline", "1m"]);
        assert_eq!(code, Some(0), "{said}");
    }
    let (at_e, at_f) = (e.serve(&dns), f.serve(&dns));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                sent += 1;
                e.submit(&f.account, &format!("number {sent}"));
            }
            sent
        });
        let turned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| turn(&e, &f, &dns)));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let sent = sender.join().unwrap();
        turned.unwrap_or_else(|why| std::panic::resume_unwind(why));
        sent
    });
    assert!(sent > 10, "{sent}");
    let mut signers = std::collections::BTreeSet::new();
    let mut client = f.imap();
    client.wait_for("INBOX", sent);
    for number in 1..=sent {
        let fetched = client.imap_ok(&format!("FETCH {number} BODY.PEEK[]"));
        let fetched = fetched.into_iter().find(|line| line.contains("BODY[]")).unwrap();
        let found = results(&fetched);
        assert!(found.contains("dmarc=pass") && found.matches("dkim=pass").count() == 2, "message {number}: {found}");
        let selectors = fetched.split("; s=").skip(1).filter_map(|rest| rest.split(';').next());
        signers.extend(selectors.map(str::to_owned));
    }
    assert_eq!(signers.len(), 4, "two keys before, and two after: {signers:?}");
    drop((at_e, at_f));
}

/// Rotates the keys of one peer, from the first edit until the other one has got mail that the new ones signed.
fn turn(e: &Peer, f: &Peer, dns: &Bind) {
    let spec = e.folder.path().join("spec/mail.kdl");
    let (code, said) = told(e, dns, &["keys", "rotate", "e.example"]);
    assert!(code == Some(0) && said.matches("takes the place of").count() == 2, "{said}");
    // No step is taken early: neither by a command nor by hand.
    let (code, said) = told(e, dns, &["keys", "retire", "e.example"]);
    assert!(code == Some(1) && said.contains("signs still"), "{said}");
    let text = std::fs::read_to_string(&spec).unwrap();
    let early: Vec<&str> = text.lines().filter(|line| !line.trim().starts_with("retiring")).collect();
    let away = tempfile::tempdir().unwrap();
    harness::run("cp", &["-r", e.folder.path().join("spec").to_str().unwrap(), away.path().to_str().unwrap()]);
    std::fs::write(away.path().join("spec/mail.kdl"), early.join("\n") + "\n").unwrap();
    let mut run = Command::new(program("waybill"));
    run.arg("plan").arg(away.path().join("spec")).env("TSIG", harness::bind::TSIG);
    let output = run.env("WAYBILL_RESOLVER", dns.address.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("W0811"), "{said}");
    // Runs of `apply` as a pipeline makes them, until nothing is left to wait for.
    let began = std::time::Instant::now();
    let mut seen = String::new();
    loop {
        let (code, said) = told(e, dns, &["apply", "--yes"]);
        assert_eq!(code, Some(0), "{said}");
        seen += &said;
        let (_, said) = told(e, dns, &["rollout"]);
        if said == "nothing rolls over\n" {
            break;
        }
        assert!(began.elapsed() < harness::PATIENCE, "{said}");
    }
    assert!(seen.contains("step 1 of 2") || seen.contains("step 2 of 2"), "{seen}");
    let (_, listed) = told(e, dns, &["keys", "list"]);
    assert_eq!((listed.matches(" signs ").count(), listed.matches(" goes ").count()), (2, 2), "{listed}");
    let new = listed.lines().find(|line| line.contains(" signs ")).unwrap();
    let selector = format!("; s={};", new.split_whitespace().nth(2).unwrap());
    let mut client = f.imap();
    let mut number = 1;
    loop {
        client.wait_for("INBOX", number);
        if client.imap_ok(&format!("FETCH {number} BODY.PEEK[]")).join("").contains(&selector) {
            return;
        }
        number += 1;
        assert!(began.elapsed() < 2 * harness::PATIENCE, "no message is signed with {selector}");
    }
}
