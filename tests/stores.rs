//! A running server takes other stores, and other ways to the same, while mail arrives; what it cannot take it refuses
//! and goes on.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::client::Client;
use harness::kinds::{Four, Kind};
use harness::load::Load;
use harness::postgresql::PostgreSql;
use harness::redis::Redis;
use harness::{Server, Site, account, message, program, s3, until, waybill};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use store::blob::Blobs;
use store::blob::packed::Packing;
use store::blob::s3::S3Blobs;
use store::open::Ground;

/// Writes a spec with these stores.
fn write(site: &Site, stores: &str) {
    let head = site.ports.host("mail.example.org");
    site.write("mail.kdl", &format!("waybill 1\n{head}{stores}domain \"example.org\" {{\n{}}}\n", account("ada")));
}

/// How often the log says something.
fn said(server: &Server, text: &str) -> usize {
    server.log().matches(text).count()
}

/// The server takes these stores, and takes mail afterwards as before.
fn taken(server: &Server, site: &Site, load: &Load, stores: &str) {
    let before = said(server, "configuration taken");
    write(site, stores);
    until(|| format!("not taken:\n{stores}\n{}", server.log()), || said(server, "configuration taken") > before);
    let so_far = load.acknowledged();
    until(|| "mail is not taken any more", || load.acknowledged() > so_far + 20);
}

fn refused(server: &Server, site: &Site, stores: &str, says: &str) {
    let mark = server.log_mark();
    write(site, stores);
    // One that was refused before, since a store is away, is tried again meanwhile.
    until(
        || format!("not refused:\n{stores}\n{}", server.log()),
        || {
            let log = server.log();
            let mut lines = log.lines().skip(mark);
            lines.any(|line| line.contains("configuration refused") && line.contains(says))
        },
    );
}

fn connections(four: &Four) -> usize {
    let asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'waybilld'";
    four.data.sql(asked).trim().parse().unwrap()
}

fn objects(four: &Four) -> usize {
    let ground =
        Ground { root: Path::new("/nowhere").to_owned(), clock: Arc::new(|| 1_000_000), reveal: s3::revealing() };
    let bucket = S3Blobs::new(&four.blobs.config(""), &ground, Packing::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(bucket.list(None, 1000)).unwrap().len()
}

#[test]
fn stores_change_while_mail_arrives() {
    let kind = Kind::four();
    let Kind::Four(four) = &kind else { unreachable!() };
    let data = |more: &str| {
        format!("store \"db\" {{ postgresql \"{}\" password=(env)\"DB_PASSWORD\" {{ {more}; }}; }}\n", four.data.url())
    };
    let redis = |url: &str| format!("store \"cache\" {{ redis \"{url}\" timeout=\"2s\"; }}\n");
    let index =
        |url: &str| format!("store \"index\" {{ elasticsearch \"{url}\" shards=1 replicas=0 timeout=\"5s\"; }}\n");
    let bucket = |more: &str| {
        format!(
            "store \"objects\" {{ s3 \"{}\" endpoint=\"{}\" access-key=(env)\"S3_ID\" secret-key=(env)\"S3_KEY\"{more}; }}\n",
            s3::BUCKET,
            four.blobs.url()
        )
    };
    let storage = |[blob, search, lookup]: [&str; 3], more: &str| {
        format!("storage {{ data \"db\"; blob \"{blob}\"; search \"{search}\"; lookup \"{lookup}\"; {more} }}\n")
    };
    let wide = data("pool most=12");
    let site = Site::new();
    write(&site, &wide);
    let server = kind.serve(&site);
    let load = Load::default();
    let threads = load.start(site.ports);
    until(|| "no mail", || load.acknowledged() > 20);
    // The same database through fewer connections.
    let narrow = data("pool most=3");
    taken(&server, &site, &load, &narrow);
    until(|| "the old connections stay", || connections(four) <= 4);
    // Counters elsewhere.
    let cache = redis(&four.lookup.url());
    let stores = format!("{narrow}{cache}{}", storage(["db", "db", "cache"], ""));
    taken(&server, &site, &load, &stores);
    until(|| "nothing is kept in Redis", || four.lookup.ask(&["dbsize"]) != "0");
    // The index elsewhere: made anew, and searches find as before.
    let elastic = index(&four.search.url());
    let stores = format!("{narrow}{cache}{elastic}{}", storage(["db", "index", "cache"], ""));
    taken(&server, &site, &load, &stores);
    until(
        || "nothing is indexed in OpenSearch",
        || {
            let count = four.search.ask("GET", "/waybill-mail-v1/_count", "");
            count.contains("\"count\":") && !count.contains("\"count\":0")
        },
    );
    // Messages elsewhere from now on; those that are there are found where they are.
    assert_eq!(objects(four), 0);
    let all = |bucket: &str, more: &str| {
        format!("{narrow}{cache}{elastic}{bucket}{}", storage(["objects", "index", "cache"], more))
    };
    taken(&server, &site, &load, &all(&bucket(""), "blob-inline \"2KiB\";"));
    until(|| "nothing lies in S3", || objects(four) > 0);
    // How they are written and reached.
    let now = all(&bucket(" timeout=\"9s\"; compression \"zstd\""), "blob-grace \"2h\";");
    taken(&server, &site, &load, &now);
    // What cannot be taken is refused, and what runs goes on.
    let back = format!("{narrow}{cache}{elastic}{}", storage(["db", "index", "cache"], ""));
    refused(&server, &site, &back, "the store of blobs changed");
    refused(&server, &site, &now.replace(&four.lookup.url(), "redis://127.0.0.1:1"), "Redis");
    refused(&server, &site, &now.replace(&four.search.url(), "http://127.0.0.1:1"), "Elasticsearch");
    refused(&server, &site, &now.replace("DB_PASSWORD", "NO_PASSWORD"), "NO_PASSWORD");
    refused(&server, &site, "store \"db\" { sqlite \"elsewhere.db\"; }\n", "the store of data changed");
    let so_far = load.acknowledged();
    until(|| "mail is not taken any more", || load.acknowledged() > so_far + 20);
    load.end(threads);
    load.verify(&server);
    let mut client = Client::connect_tls(site.ports.at(site.ports.imaps)).unwrap();
    client.line().unwrap();
    client.login("ada@example.org");
    client.imap_ok("SELECT INBOX");
    let all = client.imap_ok("UID SEARCH TEXT sender").join("").split(' ').count();
    assert!(all > load.acknowledged(), "{all}");
    drop(client);
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert!(server.stop());
    // A server that begins with what was taken finds all of it.
    write(&site, &now);
    let server = kind.serve(&site);
    load.verify(&server);
    assert!(server.stop());
}

#[test]
fn passwords_become_others_behind_the_same_names() {
    let (data, lookup) = (PostgreSql::start(), Redis::start("requirepass one-of-the-cache"));
    data.sql("CREATE ROLE waybill LOGIN PASSWORD 'one-of-the-data'");
    data.sql("GRANT ALL ON SCHEMA public TO waybill");
    let url = data.url().replace("mail@", "waybill@");
    let site = Site::new();
    site.write("data-password", "one-of-the-data\n");
    site.write("cache-password", "one-of-the-cache\n");
    // From a finished configuration, whose secrets lie elsewhere: they alone tell that something changed.
    let built = tempfile::tempdir().unwrap();
    let build = |cache: &str| {
        write(
            &site,
            &format!(
                "store \"db\" {{ postgresql \"{url}\" password=(file)\"data-password\"; }}\n\
                 store \"cache\" {{ redis \"{cache}\" password=(file)\"cache-password\"; }}\n\
                 storage {{ data \"db\"; blob \"db\"; search \"db\"; lookup \"cache\"; }}\n"
            ),
        );
        let output = waybill(&["build", site.path().to_str().unwrap(), "--out", built.path().to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    build(&lookup.url());
    let mut command = Command::new(program("waybilld"));
    command.arg("serve").arg("--config").arg(built.path().join("runtime.json")).arg("--secrets").arg(site.path());
    let server = Server::start(command, site.ports);
    let comes = || {
        let mut client = Client::connect(site.ports.at(site.ports.smtp)).unwrap();
        client.reply().unwrap();
        client.smtp_ok("EHLO client.example.net", "250");
        let said = client.mail("sender@example.net", &["ada@example.org"], &message("renewed", 500)).unwrap();
        assert!(said.starts_with("250") || said.starts_with("45"), "{said}");
        said.starts_with("250")
    };
    assert!(comes());
    let end_connections =
        || data.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'waybilld'");
    // One that the database does not take is told, and what is open serves on.
    site.write("data-password", "no-such-password\n");
    server.wait_for_log("configuration refused", 0);
    assert!(comes());
    let mark = server.log_mark();
    data.sql("ALTER ROLE waybill PASSWORD 'two-of-the-data'");
    site.write("data-password", "two-of-the-data\n");
    server.wait_for_log("configuration taken", mark);
    end_connections();
    until(|| "the new password is not used", &comes);
    let mark = server.log_mark();
    lookup.ask(&["-a", "one-of-the-cache", "config", "set", "requirepass", "two-of-the-cache"]);
    site.write("cache-password", "two-of-the-cache\n");
    server.wait_for_log("configuration taken", mark);
    let asked = |words: &[&str]| lookup.ask(&[&["-a", "two-of-the-cache"], words].concat());
    asked(&["flushall"]);
    asked(&["client", "kill", "type", "normal"]);
    until(|| "nothing is kept in Redis", || comes() && asked(&["dbsize"]) != "0");
    // One that is away when it is to be taken is taken when it is there.
    let mut other = Redis::start("requirepass two-of-the-cache");
    other.stop();
    let mark = server.log_mark();
    build(&other.url());
    server.wait_for_log("configuration refused", mark);
    assert!(comes());
    other.again(2);
    server.wait_for_log("configuration taken", mark);
    until(
        || "nothing is kept in the other Redis",
        || comes() && other.ask(&["-a", "two-of-the-cache", "dbsize"]) != "0",
    );
    let log = server.log();
    assert!(!log.contains("-of-the-") && !log.contains("no-such-password"), "{log}");
    assert!(server.stop());
}
