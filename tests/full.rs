//! A full disk: mail is put off, what is there is read, nothing acknowledged is lost, and service goes on by itself when
//! there is room again. What makes the disk full is `tests/crash/full.c`; a database says of itself that it has no room.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::client::Client;
use harness::kinds::Kind;
use harness::load::Load;
use harness::mariadb::MariaDb;
use harness::postgresql::PostgreSql;
use harness::{Server, Site, account, program, until};
use std::fs;
use std::process::Command;

/// Stores whose files lie in the folder `data`.
const STORES: [(&str, &str); 3] = [
    ("RocksDB", "store \"db\" { rocksdb \"data/db\"; }\n"),
    ("SQLite", "store \"db\" { sqlite \"data/mail.db\"; }\n"),
    (
        "files",
        "store \"db\" { rocksdb \"data/db\"; }\nstore \"files\" { filesystem \"data/files\"; }\n\
         storage { data \"db\"; blob \"files\"; search \"db\"; lookup \"db\"; blob-inline \"2KiB\"; }\n",
    ),
];

fn reads(server: &Server) {
    let mut client = Client::connect_tls(server.ports.at(server.ports.imaps)).unwrap();
    client.line().unwrap();
    client.login("ada@example.org");
    client.imap_ok("EXAMINE INBOX");
    let fetched = client.imap_ok("FETCH 1:20 (BODY.PEEK[])");
    assert!(fetched.len() > 20, "{fetched:?}");
}

#[test]
fn while_the_disk_is_full_mail_is_put_off_and_nothing_is_lost() {
    let tools = tempfile::tempdir().unwrap();
    let library = harness::fault_layer("crash/full.c", tools.path());
    for (name, stores) in STORES {
        eprintln!("{name}");
        let flag = tools.path().join("full");
        let site = Site::new();
        let head = site.ports.host("mail.example.org");
        site.write("mail.kdl", &format!("waybill 1\n{head}{stores}domain \"example.org\" {{\n{}}}\n", account("ada")));
        let command = || {
            let mut command = Command::new(program("waybilld"));
            command.arg("serve").arg("--spec").arg(site.path()).env("LD_PRELOAD", &library);
            let data = site.path().canonicalize().unwrap().join("data");
            command.env("FULL_FLAG", &flag).env("FULL_DATA", data);
            // SQLite gives up its connections where it cannot sync, and makes files before it reads by others.
            command.envs((name != "SQLite").then_some(("FULL_SYNCS", "1")));
            command
        };
        full_and_free(&site, &command, &|is_full| match is_full {
            true => fs::write(&flag, "").unwrap(),
            false => fs::remove_file(&flag).unwrap(),
        });
    }
}

#[test]
fn while_a_database_has_no_room_mail_is_put_off_and_nothing_is_lost() {
    let postgresql = Kind::PostgreSql(PostgreSql::start());
    let mariadb = Kind::MariaDb(MariaDb::start());
    for kind in [postgresql, mariadb] {
        eprintln!("{}", kind.name());
        let site = kind.site();
        full_and_free(&site, &|| kind.command(&site), &|is_full| match (&kind, is_full) {
            (Kind::PostgreSql(server), true) => {
                server.sql(
                    "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$",
                );
                server.sql("CREATE TRIGGER no_room BEFORE INSERT ON kv FOR EACH ROW EXECUTE FUNCTION no_room()");
            }
            (Kind::PostgreSql(server), false) => drop(server.sql("DROP FUNCTION no_room CASCADE")),
            (Kind::MariaDb(server), true) => drop(server.sql(
                "CREATE TRIGGER no_room BEFORE INSERT ON kv FOR EACH ROW
                 SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table is full'",
            )),
            (Kind::MariaDb(server), false) => drop(server.sql("DROP TRIGGER no_room")),
            _ => unreachable!(),
        });
    }
}

fn full_and_free(site: &Site, command: &dyn Fn() -> Command, fill: &dyn Fn(bool)) {
    let server = Server::start(command(), site.ports);
    let load = Load::default();
    let threads = load.start(site.ports);
    for _ in 0..3 {
        let so_far = load.acknowledged();
        until(|| format!("no mail is taken\n{}", server.log()), || load.acknowledged() > so_far + 30);
        let so_far = load.refused();
        fill(true);
        until(|| format!("nothing is put off\n{}", server.log()), || load.refused() > so_far + 30);
        reads(&server);
        fill(false);
    }
    let so_far = load.acknowledged();
    until(|| format!("no mail is taken any more\n{}", server.log()), || load.acknowledged() > so_far + 30);
    // Killed in the middle of it, and started while nothing can be written.
    let so_far = load.refused();
    fill(true);
    until(|| format!("nothing is put off\n{}", server.log()), || load.refused() > so_far + 5);
    server.kill();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let server = Server::begin(command(), site.ports);
    server.wait_for_log("waiting for a store", 0);
    fill(false);
    server.wait_for_log(" ready", 0);
    load.verify(&server);
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert!(server.stop());
}
