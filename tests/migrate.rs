//! `waybilld migrate`: mail moves from RocksDB into each other database and back, also while it arrives, is the same at the
//! end, and no kill on the way changes that.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::client::Client;
use harness::elastic::{self, Elastic};
use harness::kinds::Kind;
use harness::load::{Load, Random};
use harness::postgresql::{self, PostgreSql};
use harness::redis::Redis;
use harness::s3::{self, S3};
use harness::{PATIENCE, Server, Site, account, long, message, program, root, run, same_tree};
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What is said when the server may be stopped.
const STOP: &str = "stop the server now";

fn imap(server: &Server) -> Client {
    let mut client = Client::connect_tls(server.ports.at(server.ports.imaps)).unwrap();
    client.line().unwrap();
    client.login("ada@example.org");
    client
}

/// Every message of every mailbox, with flags and dates.
fn dump(server: &Server) -> Vec<String> {
    let mut client = imap(server);
    let names = client.imap_ok("LIST \"\" *");
    let names = names.iter().filter_map(|line| Some(line.strip_prefix("* LIST ")?.rsplit_once(' ')?.1.to_owned()));
    let mut all = Vec::new();
    for name in names.collect::<Vec<_>>() {
        all.push(name.clone());
        all.extend(client.imap_ok(&format!("STATUS {name} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)")));
        client.imap_ok(&format!("EXAMINE {name}"));
        all.extend(client.imap_ok("UID FETCH 1:* (UID FLAGS INTERNALDATE MODSEQ BODY.PEEK[])"));
    }
    // What a command was called says nothing.
    all.retain(|line| line.starts_with('*') || !line.contains(" OK "));
    all
}

/// Mail in several mailboxes, of every size, with flags; at least so many messages.
fn fill(server: &Server, messages: u32) -> Load {
    let load = Load::default();
    let threads = load.start(server.ports);
    let mut client = imap(server);
    client.wait_for("INBOX", messages);
    load.end(threads);
    load.verify(server);
    client.imap_ok("CREATE \"Archive/2026\"");
    client.imap_ok("SELECT INBOX");
    client.imap_ok("UID STORE 1:20 +FLAGS (\\Seen \\Flagged $Work)");
    client.imap_ok("UID COPY 5:30 \"Archive/2026\"");
    client.imap_ok("UID STORE 3:4 +FLAGS (\\Deleted)");
    load
}

/// `waybilld migrate` from one site's stores to another's.
fn migrate((from, old): (&Site, &Kind), (to, new): (&Site, &Kind)) -> Command {
    let password = if old.password().is_empty() { new.password() } else { old.password() };
    let mut command = between(from, to);
    command.env("DB_PASSWORD", password);
    command
}

fn between(from: &Site, to: &Site) -> Command {
    let mut command = Command::new(program("waybilld"));
    command.arg("migrate").arg("--spec").arg(from.path()).arg("--to").arg(to.path()).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs it to its end, which must be good; what it said.
fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// A move under way, and what it says; killed when dropped.
struct Mover {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    told: Vec<String>,
}

impl Mover {
    fn start(command: &mut Command) -> Mover {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Mover { child, lines, told: Vec::new() }
    }

    /// Reads on to a line with these words.
    fn until(&mut self, words: &str) -> String {
        for line in self.lines.by_ref().map_while(Result::ok) {
            self.told.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
        panic!("it never said `{words}`:\n{}", self.told.join("\n"));
    }

    /// `kill -9`, so many milliseconds from now. Whether it came before the end.
    fn kill_after(mut self, milliseconds: u64) -> bool {
        thread::park_timeout(Duration::from_millis(milliseconds));
        let _ = self.child.kill();
        !self.child.wait().unwrap().success()
    }

    /// Waits for the end, which must be good; all that it said.
    fn end(mut self) -> String {
        self.told.extend(self.lines.by_ref().map_while(Result::ok));
        let told = self.told.join("\n");
        assert!(self.child.wait().unwrap().success(), "{told}");
        told
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it to its end, which is killed and begun again as often as said.
fn moved(from: (&Site, &Kind), to: (&Site, &Kind), kills: u64) -> String {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for n in 0..kills {
        let mut mover = Mover::start(migrate(from, to).stderr(Stdio::null()));
        // It has looked at what there is, and copies from now on.
        mover.until(" blobs, ");
        let killed = mover.kill_after(random.below(4 << n));
        assert!(killed || n > 0, "it was faster than the first kill");
        if !killed {
            break;
        }
    }
    done(&mut migrate(from, to))
}

/// Maildir and mbox of all mail, into folders of this name below `folder`.
fn export((site, kind): (&Site, &Kind), folder: &Path, name: &str) {
    for format in ["maildir", "mbox"] {
        let mut command = Command::new(program("waybilld"));
        command.args(["export", "--all", "--format", format, "--spec"]).arg(site.path());
        command.arg("--to").arg(folder.join(format!("{name}-{format}"))).env("DB_PASSWORD", kind.password());
        done(&mut command);
    }
}

#[test]
fn mail_is_the_same_in_every_database_it_moves_to_and_back_again() {
    let home = Kind::RocksDb.site();
    let server = Kind::RocksDb.serve(&home);
    let load = fill(&server, 150);
    let wanted = dump(&server);
    assert!(wanted.len() > 180, "{}", wanted.len());
    assert!(server.stop());
    let files = tempfile::tempdir().unwrap();
    export((&home, &Kind::RocksDb), files.path(), "first");
    let same = |name: &str| {
        for format in ["maildir", "mbox"] {
            let place = |name: &str| files.path().join(format!("{name}-{format}"));
            same_tree(&place("first"), &place(name));
            std::fs::remove_dir_all(place(name)).unwrap();
        }
    };
    let kills = if long() { 12 } else { 3 };
    let mut at = home;
    for kind in Kind::all() {
        let name = kind.name();
        eprintln!("{name}");
        let there = kind.site();
        let plan = done(migrate((&at, &Kind::RocksDb), (&there, &kind)).arg("--plan"));
        for words in ["data: ", " keys, ", "blob: ", " blobs, ", "/s", "in all it takes "] {
            assert!(plan.contains(words), "{words}: {plan}");
        }
        let told = moved((&at, &Kind::RocksDb), (&there, &kind), kills);
        assert!(told.contains("alike on both sides") && !told.contains(kind.password()) || kind.password().is_empty());
        export((&there, &kind), files.path(), "there");
        same("there");
        let server = kind.serve(&there);
        assert_eq!(dump(&server), wanted, "{name}");
        load.verify(&server);
        assert!(server.stop());
        // The old store is not served any more.
        let refused = Kind::RocksDb.command(&at).output().unwrap();
        assert!(!refused.status.success() && said(&refused).contains("its mail was moved to"), "{}", said(&refused));
        // And back, into a store that is new.
        let back = Kind::RocksDb.site();
        moved((&there, &kind), (&back, &Kind::RocksDb), kills);
        export((&back, &Kind::RocksDb), files.path(), "back");
        same("back");
        let server = Kind::RocksDb.serve(&back);
        assert_eq!(dump(&server), wanted, "back from {name}");
        assert!(server.stop());
        at = back;
    }
}

/// Mail arrives in five ways from before the first pass until the server is killed or stopped; the move is killed in each
/// of its phases. What was acknowledged is there once.
#[test]
fn a_move_while_mail_arrives_loses_none_and_doubles_none() {
    let database = Kind::PostgreSql(PostgreSql::start());
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let (home, there, back) = (Kind::RocksDb.site(), database.site(), Kind::RocksDb.site());
    let load = Load::default();
    let ways = [((&home, &Kind::RocksDb), (&there, &database)), ((&there, &database), (&back, &Kind::RocksDb))];
    for (from, to) in ways {
        eprintln!("from {} to {}", from.1.name(), to.1.name());
        let server = from.1.serve(from.0);
        let threads = load.start(from.0.ports);
        let so_far = load.acknowledged();
        let more = |than: usize| {
            let began = Instant::now();
            while load.acknowledged() < than {
                assert!(began.elapsed() < PATIENCE, "mail is not taken");
                thread::park_timeout(Duration::from_millis(5));
            }
        };
        more(so_far + 100);
        let online = || Mover::start(migrate(from, to).arg("--online"));
        let phases = [" blobs, ", " blobs, ", "pass 1: ", STOP];
        for phase in phases.iter().cycle().take(if long() { 16 } else { 4 }) {
            let mut mover = online();
            mover.until(phase);
            assert!(mover.kill_after(random.below(100)), "it ended though the server runs");
        }
        // Nothing takes the new store yet, and nothing keeps the old one.
        let half = to.1.command(to.0).output().unwrap();
        assert!(!half.status.success() && said(&half).contains("is not finished"), "{}", said(&half));
        let mut mover = online();
        mover.until(STOP);
        let so_far = load.acknowledged();
        more(so_far + 20);
        // Once by a power cut, once as an operator does it, in the middle of what arrives in either case.
        if matches!(from.1, Kind::RocksDb) {
            server.kill();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        } else {
            load.end(threads);
            assert!(server.stop());
        }
        mover.until("the server is down");
        let told = mover.end();
        assert!(told.contains("the server has been down for") && told.contains("alike on both sides"), "{told}");
        eprintln!("{}", told.lines().last().unwrap());
        let server = to.1.serve(to.0);
        load.verify(&server);
        assert!(server.stop());
        let refused = from.1.command(from.0).output().unwrap();
        assert!(said(&refused).contains("its mail was moved to"), "{}", said(&refused));
        let output = Command::new(program("waybilld"))
            .args(["fsck", "--blobs", "--spec"])
            .arg(to.0.path())
            .env("DB_PASSWORD", to.1.password())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    assert!(load.acknowledged() > 250, "{}", load.acknowledged());
}

/// The steps of the page, in their order, with folders of the test's own.
#[test]
fn the_page_moves_mail_while_it_flows() {
    let page = std::fs::read_to_string(root().join("docs/moving.md")).unwrap();
    let steps = page.split("### While mail flows").nth(1).unwrap().split("\n### ").next().unwrap();
    let site = Site::new();
    let folder = site.path().to_str().unwrap();
    let (head, people) = (site.ports.host("mail.example.org"), account("ada"));
    let store = format!("store \"local\" {{ rocksdb \"{folder}/waybill\"; }}");
    site.write("mail/mail.kdl", &format!("waybill 1\n{head}{store}\ndomain \"example.org\" {{\n{people}}}\n"));
    let serve = |spec: &str| {
        let mut command = Command::new(program("waybilld"));
        command.args(["serve", "--spec", spec]).current_dir(folder);
        Server::start(command, site.ports)
    };
    let mut server = Some(serve("mail"));
    send_words(server.as_ref().unwrap());
    let beside = program("waybill").parent().unwrap().to_path_buf();
    let path = format!("{}:{}", beside.display(), std::env::var("PATH").unwrap());
    let mut told = String::new();
    for step in steps.lines().filter_map(|line| line.trim().strip_prefix("$ ")) {
        let step = step.replace("/var/lib", folder);
        let mut command = Command::new("sh");
        command.args(["-c", &step]).env("PATH", &path).current_dir(folder).stdin(Stdio::null());
        if !step.contains("--online") {
            done(&mut command);
            continue;
        }
        let mut mover = Mover::start(&mut command);
        mover.until(STOP);
        assert!(server.take().unwrap().stop());
        told = mover.end();
    }
    assert!(told.contains("the server has been down for"), "{told}");
    let server = serve("mail-new");
    finds_words(&server);
    assert!(server.stop() && site.path().join("waybill-new/mail.db").exists());
}

#[test]
fn a_move_is_refused_where_it_would_lose_mail() {
    let kind = Kind::RocksDb;
    let (from, to) = (kind.site(), Kind::Sqlite.site());
    let server = kind.serve(&from);
    let output = migrate((&from, &kind), (&to, &Kind::Sqlite)).output().unwrap();
    assert!(said(&output).contains("another process has this database open"), "{}", said(&output));
    // The server stays: what is waited for does not come, and the old store is served on.
    let output = migrate((&from, &kind), (&to, &Kind::Sqlite)).args(["--online", "--wait", "1s"]).output().unwrap();
    let told = said(&output);
    assert!(!output.status.success() && told.contains(STOP) && told.contains("was not stopped in time"), "{told}");
    assert_eq!(server.get("/ready").0, "HTTP/1.1 200 OK");
    assert!(server.stop());
    // Into a store with mail of its own.
    let other = Kind::Sqlite.site();
    assert!(Kind::Sqlite.serve(&other).stop());
    let output = migrate((&from, &kind), (&other, &Kind::Sqlite)).output().unwrap();
    assert!(said(&output).contains("holds data already"), "{}", said(&output));
    // It goes on as before, and so does what it would have been moved to.
    assert!(kind.serve(&from).stop());
    assert!(Kind::Sqlite.serve(&other).stop());
    // What an online run began a plain one ends. It is taken back, and may not go to a third store meanwhile.
    moved((&from, &kind), (&to, &Kind::Sqlite), 0);
    let third = Kind::Sqlite.site();
    let output = migrate((&from, &kind), (&third, &Kind::Sqlite)).output().unwrap();
    assert!(said(&output).contains("was moved to SQLite"), "{}", said(&output));
    done(Command::new(program("waybilld")).args(["migrate", "--reopen", "--spec"]).arg(from.path()));
    assert!(kind.serve(&from).stop());
}

/// A spec whose data lies in `data`, beside the specs, with these other stores.
fn site(data: &Path, stores: &str, (blob, search, lookup): (&str, &str, &str)) -> Site {
    let site = Site::new();
    let head = site.ports.host("mail.example.org");
    let data = data.display();
    site.write(
        "mail.kdl",
        &format!(
            "waybill 1\n{head}store \"local\" {{ rocksdb \"{data}\"; }}\n{stores}\nstorage {{ data \"local\"; blob \
             \"{blob}\"; search \"{search}\"; lookup \"{lookup}\"; }}\ndomain \"example.org\" {{\n{}}}\n",
            account("ada")
        ),
    );
    std::fs::write(site.path().join("id"), s3::ID).unwrap();
    std::fs::write(site.path().join("secret"), s3::KEY).unwrap();
    std::fs::write(site.path().join("password"), postgresql::PASSWORD).unwrap();
    site
}

#[test]
fn blobs_move_from_the_database_to_files_to_s3_and_back() {
    let bucket = S3::start(s3::Kind::SeaweedFs);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let files = format!("store \"files\" {{ filesystem \"{}\"; }}", folder.path().join("blobs").display());
    let s3 = format!(
        "store \"objects\" {{ s3 \"{}\" endpoint=\"{}\" access-key=(file)\"id\" secret-key=(file)\"secret\"; }}",
        s3::BUCKET,
        bucket.url()
    );
    let local = || site(&data, "", ("local", "local", "local"));
    let sites =
        [local(), site(&data, &files, ("files", "local", "local")), site(&data, &s3, ("objects", "local", "local"))];
    let server = sites[0].serve();
    let load = fill(&server, 60);
    let wanted = dump(&server);
    // The first way beside the server, which alone can write into the store of data.
    let mut mover = Mover::start(between(&sites[0], &sites[1]).arg("--online"));
    mover.until(STOP);
    assert!(server.stop());
    assert!(mover.end().contains("keeps its copies"));
    let kept = |folder: &Path| run("find", &[folder.to_str().unwrap(), "-type", "f"]).lines().count();
    assert!(kept(&folder.path().join("blobs")) > 20);
    let told = done(&mut between(&sites[0], &sites[1]));
    assert!(told.contains("blobs removed from the store of data"), "{told}");
    let back = local();
    for (at, to) in [(1, &sites[2]), (2, &back)] {
        let server = sites[at].serve();
        assert_eq!(dump(&server), wanted, "{at}");
        load.verify(&server);
        assert!(server.stop());
        // Who would look for messages where they were is told so.
        let refused = Command::new(program("waybilld")).args(["serve", "--spec"]).arg(sites[at - 1].path()).output();
        let refused = said(&refused.unwrap());
        assert!(refused.contains("its messages were moved to"), "{refused}");
        let plan = done(between(&sites[at], to).arg("--plan"));
        assert!(plan.contains("blob: ") && !plan.contains("data: "), "{plan}");
        let mut mover = Mover::start(&mut between(&sites[at], to));
        mover.until(" blobs, ");
        let _ = mover.kill_after(30);
        let told = done(&mut between(&sites[at], to));
        assert!(told.contains("blobs alike on both sides") && !told.contains(s3::KEY), "{told}");
        done(Command::new(program("waybilld")).args(["fsck", "--blobs", "--spec"]).arg(to.path()));
    }
    let server = back.serve();
    assert_eq!(dump(&server), wanted);
    assert!(server.stop());
}

fn indexed(server: &Server, messages: u64) {
    let began = Instant::now();
    while !server.get("/metrics").1.contains(&format!("waybill_indexed_total {messages}\n")) {
        assert!(began.elapsed() < PATIENCE, "the index does not follow:\n{}", server.get("/metrics").1);
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// Messages that only a search of their octets, or the index, finds.
fn send_words(server: &Server) {
    let mut client = Client::connect(server.ports.at(server.ports.smtp)).unwrap();
    client.reply().unwrap();
    client.smtp_ok("EHLO client.example.net", "250");
    for n in 1..=3 {
        let text = message("needle", 2_000).replace("\r\n\r\n", &format!("\r\n\r\nthe word is xylophone{n}\r\n"));
        assert!(client.mail("x@example.net", &["ada@example.org"], &text).unwrap().starts_with("250"));
    }
}

fn finds_words(server: &Server) {
    let mut client = imap(server);
    client.wait_for("INBOX", 3);
    client.imap_ok("SELECT INBOX");
    for n in 1..=3 {
        let found = client.imap_ok(&format!("UID SEARCH TEXT xylophone{n}")).join("");
        assert!(found.starts_with(&format!("* SEARCH {n}")), "{found}");
    }
}

/// The index is not moved: where it is to lie elsewhere, even under the same name, it is made anew.
#[test]
fn searches_find_what_was_moved() {
    let kind = Kind::RocksDb;
    let (from, to) = (kind.site(), kind.site());
    let server = kind.serve(&from);
    send_words(&server);
    finds_words(&server);
    indexed(&server, 3);
    assert!(server.stop());
    moved((&from, &kind), (&to, &kind), 0);
    let server = kind.serve(&to);
    finds_words(&server);
    assert!(server.stop());
}

#[test]
fn the_index_moves_to_opensearch_and_back() {
    let index = Elastic::start(elastic::Kind::OpenSearch);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let stores = format!("store \"index\" {{ elasticsearch \"{}\" shards=1 replicas=0; }}", index.url());
    let sites = [("", "local"), (&stores, "index"), ("", "local")];
    let sites = sites.map(|(stores, search)| site(&data, stores, ("local", search, "local")));
    for (at, site) in sites.iter().enumerate() {
        if at > 0 {
            let told = done(&mut between(&sites[at - 1], site));
            assert!(told.contains("the index is made anew"), "{told}");
        }
        let server = site.serve();
        if at == 0 {
            send_words(&server);
        }
        // At once, before the index has anything, and when it has all.
        finds_words(&server);
        indexed(&server, 3);
        finds_words(&server);
        assert!(server.stop());
    }
    let count = index.ask("GET", "/waybill-mail-v1/_count", "");
    assert!(count.contains("\"count\":3"), "{count}");
}

#[test]
fn counters_move_to_redis_and_to_a_database() {
    let (redis, database) = (Redis::start(""), PostgreSql::start());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let cache = format!("store \"cache\" {{ redis \"{}\"; }}", redis.url());
    let table = format!("store \"table\" {{ postgresql \"{}\" password=(file)\"password\"; }}", database.url());
    let other = format!("store \"other\" {{ rocksdb \"{}\"; }}", folder.path().join("other").display());
    let sites = [("", "local"), (&cache[..], "cache"), (&table[..], "table"), (&other[..], "other")];
    let sites = sites.map(|(stores, lookup)| site(&data, stores, ("local", "local", lookup)));
    let mut wanted = Vec::new();
    for (at, site) in sites.iter().enumerate() {
        if at > 0 {
            let told = done(&mut between(&sites[at - 1], site));
            let words = if at == 3 { " alike on both sides" } else { "begin anew" };
            assert!(told.contains("lookup: ") && told.contains(words) && !told.contains("lookup: 0 keys"), "{told}");
        }
        let server = site.serve();
        if at == 0 {
            send_words(&server);
            imap(&server).wait_for("INBOX", 3);
            wanted = dump(&server);
        }
        assert_eq!(dump(&server), wanted, "{at}");
        // Whoever indexes leaves the number of its lease behind.
        send_words(&server);
        indexed(&server, if at == 0 { 6 } else { 3 });
        imap(&server).wait_for("INBOX", 3 * (u32::try_from(at).unwrap() + 2));
        wanted = dump(&server);
        assert!(server.stop());
    }
}
