//! A changed spec under load: nothing drops, nothing is lost; a broken one changes nothing.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::client::Client;
use harness::{Server, Site, account, free_port, message, program};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const IDLERS: usize = 200;

fn spec(site: &Site, extra_port: Option<u16>, domains: &str) {
    let mut head = site.ports.host("mail.example.org");
    if let Some(port) = extra_port {
        head = head.replace("listen {\n", &format!("listen {{\n        submission {port}\n"));
    }
    site.write("mail.kdl", &format!("waybill 1\n{head}store \"local\" {{ rocksdb \"data\"; }}\n{domains}"));
}

fn domain(name: &str, people: &[&str]) -> String {
    let people: String = people.iter().map(|name| account(name)).collect();
    format!("domain \"{name}\" {{\n{people}}}\n")
}

fn idle(server: &Server) -> Client {
    let mut client = Client::connect_tls(server.ports.at(server.ports.imaps)).unwrap();
    client.line().unwrap();
    client.login("ada@example.org");
    client.imap_ok("SELECT INBOX");
    client.send("i1 IDLE\r\n").unwrap();
    assert!(client.line().unwrap().starts_with('+'));
    client
}

/// Sends one message after the other until told to stop; every one must be taken.
fn stream(server: &Server, stop: &Arc<AtomicBool>, sent: &Arc<AtomicU32>) -> thread::JoinHandle<()> {
    let (address, stop, sent) = (server.ports.at(server.ports.smtp), Arc::clone(stop), Arc::clone(sent));
    thread::spawn(move || {
        let mut client = Client::connect(address).unwrap();
        client.reply().unwrap();
        client.smtp_ok("EHLO client.example.net", "250");
        while !stop.load(Ordering::Relaxed) {
            let reply = client.mail("s@example.net", &["bob@example.org"], &message("steady", 2_000)).unwrap();
            assert!(reply.starts_with("250"), "{reply}");
            sent.fetch_add(1, Ordering::Relaxed);
        }
    })
}

#[test]
fn a_changed_spec_is_taken_under_load_and_a_broken_one_is_not() {
    let site = Site::new();
    let base = domain("example.org", &["ada", "bob"]);
    spec(&site, None, &format!("{base}{}", domain("old.example", &["olga"])));
    let server = site.serve();
    let mut idlers: Vec<Client> = (0..IDLERS).map(|_| idle(&server)).collect();
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let senders: Vec<_> = (0..2).map(|_| stream(&server, &stop, &sent)).collect();

    // A domain with an account and a listener comes, another domain goes.
    let port = free_port(site.ports.address);
    let mark = server.log_mark();
    let written = Instant::now();
    spec(&site, Some(port), &format!("{base}{}", domain("new.example", &["nina"])));
    server.wait_for_log("configuration taken", mark);
    let took = written.elapsed();
    let mut nina = Client::connect(site.ports.at(port)).unwrap();
    nina.reply().unwrap();
    nina.smtp_ok("EHLO client.example.net", "250");
    let mut client = Client::connect(site.ports.at(site.ports.smtp)).unwrap();
    client.reply().unwrap();
    client.smtp_ok("EHLO client.example.net", "250");
    let text = message("hello", 500).replace("ada@example.org", "nina@new.example");
    assert!(client.mail("s@example.net", &["nina@new.example"], &text).unwrap().starts_with("250"));
    client.smtp_ok("MAIL FROM:<s@example.net>", "250");
    client.smtp_ok("RCPT TO:<olga@old.example>", "550 5.7.1");
    let mut reader = Client::connect_tls(site.ports.at(site.ports.imaps)).unwrap();
    reader.line().unwrap();
    reader.login("nina@new.example");
    reader.wait_for("INBOX", 1);
    assert!(took < Duration::from_secs(20), "the change took {took:?}");

    // A broken spec changes nothing and says where.
    let mark = server.log_mark();
    spec(&site, Some(port), &format!("{base}domain \"broken.example\" {{\n    acount \"x\"\n}}\n"));
    server.wait_for_log("configuration refused", mark);
    let (status, body) = server.get("/ready");
    assert!(status.contains("200"), "{status}");
    let ready: serde_json::Value = serde_json::from_str(&body).unwrap();
    let found = ready["rejected"].as_array().unwrap();
    let found = found.iter().find(|found| found["severity"] == "error").unwrap();
    assert_eq!(found["file"], "mail.kdl", "{body}");
    assert!(found["line"].as_u64().unwrap() > 10 && body.contains("did you mean `account`"), "{body}");
    assert!(server.get("/metrics").1.contains("waybill_configuration_rejected 1"));
    client.smtp_ok("NOOP", "250");

    // Mended, it is taken.
    let mark = server.log_mark();
    spec(&site, None, &format!("{base}{}", domain("mended.example", &["max"])));
    server.wait_for_log("configuration taken", mark);
    assert!(server.get("/ready").1.contains("\"rejected\":null"));

    stop.store(true, Ordering::Relaxed);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    for idler in &mut idlers {
        idler.send("DONE\r\n").unwrap();
        let last = idler.imap_until("i1").unwrap().pop().unwrap();
        assert!(last.starts_with("i1 OK"), "{last}");
    }
    let mut bob = Client::connect_tls(site.ports.at(site.ports.imaps)).unwrap();
    bob.line().unwrap();
    bob.login("bob@example.org");
    bob.wait_for("INBOX", sent.load(Ordering::Relaxed));
}

#[test]
fn a_finished_configuration_is_followed_through_renames_and_links() {
    let site = Site::with_accounts(&["ada"]);
    let outs = tempfile::tempdir().unwrap();
    let out = |name: &str, people: &[&str]| {
        site.write_spec(&domain("example.org", people));
        let out = outs.path().join(name);
        let built = harness::waybill(&["build", site.path().to_str().unwrap(), "--out", out.to_str().unwrap()]);
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        out
    };
    let first = out("first", &["ada"]);
    let second = out("second", &["ada", "bob"]);
    // As Kubernetes mounts a configuration: a link to a folder that is swapped whole.
    let mount = tempfile::tempdir().unwrap();
    let link = mount.path().join("current");
    std::os::unix::fs::symlink(&first, &link).unwrap();
    let mut command = std::process::Command::new(harness::program("waybilld"));
    command.arg("serve").arg("--config").arg(link.join("runtime.json")).arg("--secrets").arg(site.path());
    let server = Server::start(command, site.ports);
    let mark = server.log_mark();
    let beside = mount.path().join("next");
    std::os::unix::fs::symlink(&second, &beside).unwrap();
    std::fs::rename(&beside, &link).unwrap();
    server.wait_for_log("configuration taken", mark);
    let mut bob = Client::connect_tls(site.ports.at(site.ports.imaps)).unwrap();
    bob.line().unwrap();
    bob.login("bob@example.org");
}

#[test]
fn the_servers_own_data_in_the_folder_of_the_spec_is_no_change_of_it() {
    for store in ["rocksdb \"data\"", "sqlite \"mail.db\"", "sqlite \"data/mail.db\""] {
        let (site, beside) = (Site::new(), tempfile::tempdir().unwrap());
        let write = |people: &[&str]| {
            let (head, domain) = (site.ports.host("mail.example.org"), domain("example.org", people));
            // People of a directory change as they do.
            let others = "store \"others\" { sqlite \"others.db\"; }\ndirectory \"others\" { sql \"others\" { query {\n\
                          login \"SELECT address FROM people WHERE address = $1\"; }; }; }\n\
                          domain \"sql.example\" { directory \"others\"; alias \"postmaster\" \"eva@sql.example\"; }\n";
            site.write("mail.kdl", &format!("waybill 1\n{head}store \"local\" {{ {store}; }}\n{domain}{others}"));
        };
        let path = site.path().join("others.db");
        let sql = |text: &str| harness::run("sqlite3", &[path.to_str().unwrap(), text]);
        sql("CREATE TABLE people (address TEXT)");
        write(&["bob"]);
        // A compiler that notes what it is asked for.
        let (compiler, asked) = (beside.path().join("waybill"), beside.path().join("asked"));
        let script =
            format!("#!/bin/sh\necho \"$1\" >>{}\nexec {} \"$@\"\n", asked.display(), program("waybill").display());
        std::fs::write(&compiler, script).unwrap();
        std::fs::set_permissions(&compiler, std::fs::Permissions::from_mode(0o755)).unwrap();
        let server = site.serve_with(&["--compiler", compiler.to_str().unwrap()]);
        let taken = |people: &[&str]| {
            let mark = server.log_mark();
            write(people);
            server.wait_for_log("configuration taken", mark);
            std::fs::read_to_string(&asked).unwrap().lines().filter(|asked| *asked == "build").count()
        };
        // The first may be found by the look that follows the start, and be built for once more.
        taken(&["bob", "cyd"]);
        let before = taken(&["bob", "cyd", "dan"]);
        let mut client = Client::connect(site.ports.at(site.ports.smtp)).unwrap();
        client.reply().unwrap();
        client.smtp_ok("EHLO client.example.net", "250");
        for _ in 0..6 {
            for _ in 0..5 {
                let reply = client.mail("s@example.net", &["bob@example.org"], &message("own", 2_000)).unwrap();
                assert!(reply.starts_with("250"), "{reply}");
            }
            sql("INSERT INTO people VALUES ('eva@sql.example')");
            // Longer than what a change is waited for to be over.
            thread::park_timeout(Duration::from_millis(100));
        }
        let after = taken(&["bob", "cyd", "dan", "eve"]);
        assert_eq!(after - before, 1, "{store}: built anew for its own data");
    }
}
