//! What was acknowledged is there, once and whole: after `kill -9` at random moments, after losing every write that
//! was not synced, and by the order of system calls.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::client::Client;
use harness::load::{Load, Random};
use harness::{Server, Site, message, program, run};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// `kill -9`s; the second with `--long`.
const KILLS: (u32, u32) = (100, 1_000);

#[test]
fn nothing_acknowledged_is_lost_by_a_hundred_kills() {
    let site = Site::with_accounts(&["ada"]);
    let load = Load::default();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let kills = if harness::long() { KILLS.1 } else { KILLS.0 };
    for round in 1..=kills {
        let server = site.serve();
        if round % 20 == 0 {
            load.verify(&server);
        }
        let threads = load.start(site.ports);
        // The moment is what is tested, not waited for.
        thread::park_timeout(Duration::from_millis(random.below(250)));
        server.kill();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    let server = site.serve();
    load.verify(&server);
    let count = load.acknowledged();
    assert_eq!(load.refused(), 0);
    assert!(count > 500, "only {count} messages were acknowledged");
}

#[test]
fn a_list_of_many_reaches_each_of_them_once_whatever_is_killed() {
    // More than are put in the list's place at once, so that its cursor is needed.
    const MEMBERS: usize = 1_200;
    let site = Site::new();
    let people: String = (0..MEMBERS).map(|n| harness::account(&format!("m{n}"))).collect();
    let members: String = (0..MEMBERS).map(|n| format!(" \"m{n}\"")).collect();
    site.write_spec(&format!(
        "domain \"example.org\" {{\n{people}    list \"all\" {{\n        member{members}\n        posting \"anyone\"\n    }}\n}}\n"
    ));
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let server = site.serve();
    let mut client = Client::connect(site.ports.at(site.ports.smtp)).unwrap();
    client.reply().unwrap();
    client.smtp_ok("EHLO client.example.net", "250");
    let reply = client.mail("x@example.net", &["all@example.org"], &message("to all", 2_000)).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    server.kill();
    for _ in 0..8 {
        let server = site.serve();
        thread::park_timeout(Duration::from_millis(random.below(200)));
        server.kill();
    }
    let server = site.serve();
    // A second look once all have theirs finds what somebody got twice.
    for _ in 0..2 {
        for n in 0..MEMBERS {
            let mut reader = Client::connect_tls(site.ports.at(site.ports.imaps)).unwrap();
            reader.line().unwrap();
            reader.login(&format!("m{n}@example.org"));
            reader.wait_for("INBOX", 1);
            let status = reader.imap_ok("STATUS INBOX (MESSAGES)").join("");
            assert!(status.contains("MESSAGES 1)"), "m{n}: {status}");
        }
    }
    assert!(!server.log().contains("panicked"));
}

/// Makes the data folder what a power failure would have left.
fn lose_unsynced(data: &Path, shadow: &Path) {
    fs::remove_dir_all(data).unwrap();
    fs::create_dir_all(data).unwrap();
    let names = fs::read_to_string(shadow.join("names")).unwrap_or_default();
    let mut folders: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for listing in names.split("folder ").skip(1).filter(|listing| listing.ends_with("end\n")) {
        let (path, rest) = listing.split_once('\n').unwrap();
        let files = rest.lines().filter_map(|line| line.strip_prefix("file ")?.split_once(' '));
        folders.insert(path, files.collect());
    }
    for (path, files) in folders {
        fs::create_dir_all(path).unwrap();
        for (inode, name) in files {
            let to = Path::new(path).join(name);
            match fs::copy(shadow.join("inodes").join(inode), &to) {
                Ok(_) => {}
                // Its name was synced, its octets never were.
                Err(_) => drop(fs::File::create(&to).unwrap()),
            }
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_with_every_write_that_was_not_synced() {
    let site = Site::with_accounts(&["ada"]);
    let tools = tempfile::tempdir().unwrap();
    let library = harness::fault_layer("crash/unsynced.c", tools.path());
    let load = Load::default();
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let data = site.path().canonicalize().unwrap().join("data");
    for round in 0..15 {
        let shadow = tools.path().join(format!("shadow{round}"));
        for part in ["inodes", "grave"] {
            fs::create_dir_all(shadow.join(part)).unwrap();
        }
        // What an earlier round left is durable.
        seed(&data, &shadow);
        let mut command = Command::new(program("waybilld"));
        command.arg("serve").arg("--spec").arg(site.path());
        command.env("LD_PRELOAD", &library).env("UNSYNCED_DATA", &data).env("UNSYNCED_SHADOW", &shadow);
        let server = Server::start(command, site.ports);
        let threads = load.start(site.ports);
        thread::park_timeout(Duration::from_millis(100 + random.below(400)));
        server.kill();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        lose_unsynced(&data, &shadow);
        fs::remove_dir_all(&shadow).unwrap();
        if round % 5 == 4 {
            load.verify(&site.serve());
        }
    }
    let count = load.acknowledged();
    assert_eq!(load.refused(), 0);
    assert!(count > 100, "only {count} messages were acknowledged");
}

fn seed(data: &Path, shadow: &Path) {
    use std::os::unix::fs::MetadataExt;
    let mut names = format!("folder {}\n", data.display());
    for entry in fs::read_dir(data).into_iter().flatten().flatten() {
        let inode = entry.metadata().unwrap().ino();
        fs::copy(entry.path(), shadow.join("inodes").join(inode.to_string())).unwrap();
        names += &format!("file {inode} {}\n", entry.file_name().to_str().unwrap());
    }
    fs::write(shadow.join("names"), names + "end\n").unwrap();
}

#[test]
fn a_sync_stands_between_the_final_dot_and_the_250() {
    let site = Site::with_accounts(&["ada"]);
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-ttt", "-s", "8192", "-e", "trace=fsync,fdatasync,read,recvfrom,write,sendto,writev", "-o"]);
    command.arg(&trace).arg(program("waybilld")).arg("serve").arg("--spec").arg(site.path());
    let server = Server::start(command, site.ports);
    let mut client = Client::connect(site.ports.at(site.ports.smtp)).unwrap();
    client.reply().unwrap();
    client.smtp_ok("EHLO client.example.net", "250");
    for n in 0..5 {
        client.smtp_ok("MAIL FROM:<x@example.net>", "250");
        client.smtp_ok("RCPT TO:<ada@example.org>", "250");
        client.smtp_ok("DATA", "354");
        client.send(message(&format!("m{n}"), 2000)).unwrap();
        client.send("the end\r\n.\r\n").unwrap();
        assert!(client.reply().unwrap().starts_with("250"));
    }
    client.smtp_ok("QUIT", "221");
    run("pkill", &["-TERM", "-P", &server.id().to_string()]);
    server.wait_for_log("stopped", 0);
    drop(server);
    // In the order of the trace: the octets with the final dot come in, a sync returns, the 250 goes out.
    let text = fs::read_to_string(&trace).unwrap();
    let (mut dot, mut synced, mut promises) = (false, false, 0);
    for line in text.lines() {
        if line.contains("the end\\r\\n.\\r\\n") {
            (dot, synced) = (true, false);
        } else if (line.contains("fdatasync") || line.contains("fsync")) && line.trim_end().ends_with("= 0") {
            synced = synced || dot;
        } else if line.contains("250 2.0.0 queued as") {
            assert!(dot && synced, "a promise without a sync:\n{line}");
            (dot, synced, promises) = (false, false, promises + 1);
        }
    }
    assert_eq!(promises, 5, "{text}");
}
