//! PostgreSQL, MariaDB and SQLite, with the tables of common mail systems.

use super::{Asked, documented};
use harness::mariadb::{self, MariaDb};
use harness::postgresql::{self, PostgreSql};
use harness::{PASSWORD, Site, root};
use store::directory::people::Whom;
use store::directory::{Access, Scope};
use store::error::StoreError;

const DOMAIN: &str = "domain \"example.org\" { directory \"people\"; }\n";

fn fixture(name: &str) -> String {
    std::fs::read_to_string(root().join("tests/fixtures/directories").join(name)).unwrap()
}

/// The page's example with another store.
fn example(heading: &str, store: &str) -> String {
    let text = documented(heading);
    let (_, rest) = text.split_once('\n').unwrap();
    format!("store \"people\" {{ {store}; }}\n{rest}{DOMAIN}")
}

fn postgresql_store(site: &Site, server: &PostgreSql) -> String {
    site.write("sql-password", postgresql::PASSWORD);
    format!("postgresql \"{}\" password=(file)\"sql-password\"", server.url())
}

fn mariadb_store(site: &Site, server: &MariaDb) -> String {
    site.write("sql-password", mariadb::PASSWORD);
    format!("mysql \"{}\" password=(file)\"sql-password\"", server.url())
}

async fn sqlite(site: &Site, statements: &str) -> String {
    let path = site.path().join("people.db");
    harness::run("sqlite3", &[path.to_str().unwrap(), statements]);
    "sqlite \"people.db\"".to_owned()
}

/// What the tables of Postfix and Dovecot say, in any database.
async fn postfix(asked: &Asked) {
    for (address, whose) in [
        ("ada@example.org", "ada@example.org"),
        ("Countess+x@example.org", "ada@example.org"),
        ("sales@example.org", "=ada@example.org bob@example.org"),
        ("away@example.org", "=carol@elsewhere.example"),
        ("nobody@example.org", "-"),
        ("%@example.org", "-"),
        ("x'or'1'='1@example.org", "-"),
    ] {
        assert_eq!(asked.whose(address).await, whose, "{address}");
    }
    for (user, password, whose) in [
        ("ada@example.org", PASSWORD, "ada@example.org"),
        ("bob@example.org", PASSWORD, "bob@example.org"),
        ("ada@example.org", "wrong", "-"),
        ("ada@example.org", "", "-"),
        ("nobody@example.org", PASSWORD, "-"),
        ("x'or'1'='1@example.org", PASSWORD, "-"),
    ] {
        assert_eq!(asked.login(user, password).await, whose, "{user} {password}");
    }
    assert!(asked.may_send_as("ada@example.org", "countess@example.org").await);
    assert!(!asked.may_send_as("ada@example.org", "bob@example.org").await);
    // Several have it, and nothing says that it is a group of theirs.
    assert!(!asked.may_send_as("ada@example.org", "sales@example.org").await);
}

async fn iredmail(asked: &Asked) {
    for (address, whose) in [
        ("ada@example.org", "ada@example.org"),
        ("countess@example.org", "ada@example.org"),
        ("sales@example.org", "=ada@example.org bob@example.org"),
        ("gone@example.org", "-"),
    ] {
        assert_eq!(asked.whose(address).await, whose, "{address}");
    }
    assert_eq!(asked.login("ada@example.org", PASSWORD).await, "ada@example.org");
    assert_eq!(asked.login("gone@example.org", PASSWORD).await, "-");
    assert_eq!(asked.login_to(Access::Submission, "ada@example.org", PASSWORD).await, "ada@example.org");
    assert_eq!(asked.login("bob@example.org", PASSWORD).await, "bob@example.org");
    assert_eq!(asked.login_to(Access::Submission, "bob@example.org", PASSWORD).await, "-", "may only read");
    assert_eq!(asked.quota("ada@example.org").await, Some(1 << 20));
    assert_eq!(asked.quota("bob@example.org").await, None, "0 is anything");
}

#[tokio::test]
async fn people_are_in_sqlite() {
    let site = Site::new();
    let store = sqlite(&site, &fixture("postfix.sql")).await;
    postfix(&Asked::open(&site, &example("Tables of Postfix and Dovecot", &store)).await.unwrap()).await;
}

#[tokio::test]
async fn people_are_in_postgresql_and_a_restart_of_it_is_no_more_than_that() {
    let (site, server) = (Site::new(), PostgreSql::start());
    server.sql(&fixture("postfix.sql"));
    server.sql(&fixture("iredmail.sql"));
    let store = postgresql_store(&site, &server);
    let asked = Asked::open(&site, &example("Tables of Postfix and Dovecot", &store)).await.unwrap();
    postfix(&asked).await;
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'waybilld'");
    asked.forget();
    assert_eq!(asked.whose("countess@example.org").await, "ada@example.org");
    iredmail(&Asked::open(&site, &example("iRedMail", &store)).await.unwrap()).await;
    drop(server);
    asked.forget();
    assert_eq!(asked.whose("ada@example.org").await, "?");
    asked.forget();
    assert_eq!(asked.login("nobody@example.org", PASSWORD).await, "?");
}

#[tokio::test]
async fn people_are_in_mariadb_and_come_back_with_it() {
    let (site, mut server) = (Site::new(), MariaDb::start());
    server.sql(&fixture("postfix.sql"));
    let store = mariadb_store(&site, &server);
    let asked = Asked::open(&site, &example("Tables of Postfix and Dovecot", &store)).await.unwrap();
    postfix(&asked).await;
    server.kill();
    asked.forget();
    assert_eq!(asked.whose("ada@example.org").await, "?");
    server.run();
    asked.forget();
    assert_eq!(asked.whose("ada@example.org").await, "ada@example.org");
    server.sql(&fixture("iredmail.sql"));
    iredmail(&Asked::open(&site, &example("iRedMail", &store)).await.unwrap()).await;
    server.sql("DROP TABLE mailbox");
    server.sql(&fixture("mailcow.sql"));
    let asked = Asked::open(&site, &example("Mailcow", &store)).await.unwrap();
    assert_eq!(asked.whose("sales@example.org").await, "=ada@example.org bob@example.org");
    assert_eq!(asked.whose("countess@example.org").await, "ada@example.org");
    // By the password of a phone, which only reads: ada's own is another.
    assert_eq!(asked.login("ada@example.org", PASSWORD).await, "ada@example.org");
    assert_eq!(asked.login_to(Access::Submission, "ada@example.org", PASSWORD).await, "-");
    assert_eq!(asked.login_to(Access::Pop3, "bob@example.org", PASSWORD).await, "bob@example.org");
    assert_eq!(asked.login_to(Access::Submission, "bob@example.org", PASSWORD).await, "-");
    // One is gone, and one only gets mail; both have the password of a phone.
    for nobody in ["gone@example.org", "hole@example.org"] {
        assert_eq!(asked.whose(nobody).await, "-", "{nobody}");
    }
    assert_eq!(asked.whose("only@example.org").await, "only@example.org");
    for who in ["gone@example.org", "only@example.org"] {
        assert_eq!(asked.login(who, PASSWORD).await, "-", "{who}");
    }
    assert!(!asked.stays("only@example.org").await && asked.stays("bob@example.org").await);
    assert_eq!(asked.quota("ada@example.org").await, Some(1 << 20));
    assert!(asked.may_send_as("ada@example.org", "sales@example.org").await);
    assert!(!asked.may_send_as("bob@example.org", "sales@example.org").await);
}

/// What is kept of a password becomes argon2id once it is right.
async fn kept_anew(site: &Site, store: &str, sql: impl Fn(&str) -> String) {
    let asked = Asked::open(site, &example("Keeping passwords anew", store)).await.unwrap();
    let kept = |who: &str| sql(&format!("SELECT password FROM virtual_users WHERE email = '{who}@example.org'"));
    let before = kept("ada");
    assert_eq!(asked.login("ada@example.org", "wrong").await, "-");
    assert_eq!(kept("ada"), before);
    assert_eq!(asked.login("ada@example.org", PASSWORD).await, "ada@example.org");
    let after = kept("ada");
    assert!(after.starts_with("$argon2id$"), "{after}");
    assert_eq!(asked.login("ada@example.org", "wrong").await, "-");
    for _ in 0..2 {
        assert_eq!(asked.login("ada@example.org", PASSWORD).await, "ada@example.org");
        asked.forget();
    }
    assert_eq!(kept("ada"), after);
    // One that somebody changed meanwhile is not put back.
    assert_eq!(asked.login("bob@example.org", "wrong").await, "-");
    sql("UPDATE virtual_users SET password = 'another' WHERE email = 'bob@example.org'");
    assert_eq!(asked.login("bob@example.org", PASSWORD).await, "bob@example.org", "believed for a minute");
    assert_eq!(kept("bob").trim(), "another");
}

#[tokio::test]
async fn a_right_password_is_kept_anew_where_a_query_says_how() {
    let (site, other) = (Site::new(), Site::new());
    let (postgresql, mariadb) = (PostgreSql::start(), MariaDb::start());
    postgresql.sql(&fixture("postfix.sql"));
    mariadb.sql(&fixture("postfix.sql"));
    kept_anew(&site, &postgresql_store(&site, &postgresql), |text| postgresql.sql(text)).await;
    kept_anew(&other, &mariadb_store(&other, &mariadb), |text| mariadb.sql(text)).await;
    let store = sqlite(&site, &fixture("postfix.sql")).await;
    let path = site.path().join("people.db").to_str().unwrap().to_owned();
    let sql = |text: &str| harness::run("sqlite3", &[&path, text]);
    kept_anew(&site, &store, sql).await;
    // With a verifier beside it; of several passwords none is changed; and one that cannot be written lets in.
    sql("ALTER TABLE virtual_users ADD COLUMN scram TEXT");
    let text = fixture("postfix.sql");
    let hash = text.split("(1, 1, '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    sql(&format!("UPDATE virtual_users SET password = '{hash}'"));
    sql("CREATE TABLE phones AS SELECT * FROM virtual_users WHERE id = 2");
    let login = "SELECT email AS address, password AS secret, NULL AS services FROM virtual_users WHERE email = $1 \
                 UNION ALL SELECT email, scram, 'imap' FROM virtual_users WHERE email = $1 AND scram IS NOT NULL \
                 UNION ALL SELECT email, password, NULL FROM phones WHERE email = $1";
    let password = "UPDATE virtual_users SET password = $3, scram = $4 WHERE email = $1 AND password = $2";
    let verified = format!(
        "store \"people\" {{ {store}; }}\ndirectory \"people\" {{ sql \"people\" {{ query {{ login \"{login}\"; \
         password \"{password}\"; }}; }}; }}\n{DOMAIN}"
    );
    let asked = Asked::open(&site, &verified).await.unwrap();
    let kept = |who: i32| sql(&format!("SELECT password, scram FROM virtual_users WHERE id = {who}"));
    let before = [kept(1), kept(2)];
    sql("CREATE TRIGGER no BEFORE UPDATE ON virtual_users BEGIN SELECT RAISE(FAIL, 'no'); END");
    for user in ["ada@example.org", "bob@example.org"] {
        assert_eq!(asked.login(user, PASSWORD).await, user);
    }
    assert_eq!([kept(1), kept(2)], before);
    sql("DROP TRIGGER no");
    asked.forget();
    for user in ["ada@example.org", "bob@example.org"] {
        assert_eq!(asked.login(user, PASSWORD).await, user);
    }
    assert_eq!(kept(2), before[1], "which of two passwords it was cannot be told");
    let ada = kept(1);
    assert!(ada.starts_with("$argon2id$") && ada.contains("|SCRAM-SHA-256$"), "{ada}");
    // Which is good for IMAP alone.
    asked.forget();
    let written = store::password::scram(ada.trim().split_once('|').unwrap().1).unwrap();
    let scram = async |access| asked.router.scram(("ada@example.org", access), &[7; 32]).await.unwrap() == written;
    assert!(scram(Access::Imap).await && !scram(Access::Submission).await);
}

#[tokio::test]
async fn people_of_a_directory_have_app_passwords_as_long_as_they_are_there() {
    let site = Site::new();
    let store = sqlite(&site, &fixture("postfix.sql")).await;
    let asked = Asked::open(&site, &example("Tables of Postfix and Dovecot", &store)).await.unwrap();
    let (ada, bob) = ("ada@example.org", "bob@example.org");
    let account = ada.parse().unwrap();
    let whom = Whom { account: &account, kept: false, stamp: None };
    let phone = |access| asked.router.people().add_app_password(whom, "phone", (Scope::of([access]), None));
    let (made, imap) = phone(Access::Imap).await.unwrap();
    let (_, sending) = phone(Access::Submission).await.unwrap();
    assert!(!asked.router.all_have_scram().await);
    for (user, password, whose) in [(ada, &imap, ada), (ada, &sending, "-"), (bob, &imap, "-")] {
        assert_eq!(asked.login(user, password).await, whose, "{user}");
    }
    assert_eq!(asked.login(ada, PASSWORD).await, ada);
    asked.router.people().remove_app_password(whom, made.id).await.unwrap();
    assert_eq!(asked.login(ada, &imap).await, "-");
    let (_, imap) = phone(Access::Imap).await.unwrap();
    harness::run(
        "sqlite3",
        &[site.path().join("people.db").to_str().unwrap(), "DELETE FROM virtual_users WHERE id = 1"],
    );
    asked.forget();
    assert_eq!(asked.login(ada, &imap).await, "-");
}

/// A directory of one query.
fn one(store: &str, login: &str) -> String {
    let login = login.replace('"', "\\\"");
    format!(
        "store \"people\" {{ {store}; }}\ndirectory \"people\" {{ sql \"people\" timeout=\"2s\" {{ query {{ login \"{login}\"; }}; }}; }}\n{DOMAIN}"
    )
}

#[tokio::test]
async fn a_wrong_query_is_told_before_the_configuration_is_taken() {
    let (site, postgresql, mariadb) = (Site::new(), PostgreSql::start(), MariaDb::start());
    postgresql.sql(&fixture("postfix.sql"));
    mariadb.sql(&fixture("postfix.sql"));
    let other = Site::new();
    let stores = [
        (&site, sqlite(&site, &fixture("postfix.sql")).await),
        (&site, postgresql_store(&site, &postgresql)),
        (&other, mariadb_store(&other, &mariadb)),
    ];
    for (site, store) in &stores {
        for login in [
            "SELECT email AS address, password AS secret FROM no_table WHERE email = $1",
            "SELECT no_column AS address FROM virtual_users WHERE email = $1",
            "SELEKT email FROM virtual_users WHERE email = $1",
            // A column that nothing is known of.
            "SELECT email AS adress, password AS secret FROM virtual_users WHERE email = $1",
        ] {
            match Asked::open(site, &one(store, login)).await.map(|_| ()) {
                Err(StoreError::Misconfigured(_)) => {}
                other => panic!("{store}: {login}: {other:?}"),
            }
        }
        // What stands in a string is none, and names and comments may hold it too; without any, `?` is one.
        for odd in [
            "SELECT email AS address, password AS secret FROM virtual_users /* $1 */ WHERE email = $1 AND '$2' <> ''",
            "SELECT email AS address, password AS secret FROM virtual_users /* ? */ WHERE email = ? AND '?' <> ''",
        ] {
            let asked = Asked::open(site, &one(store, odd)).await.unwrap();
            assert_eq!(asked.whose("ada@example.org").await, "ada@example.org", "{store} {odd}");
        }
    }
}

#[tokio::test]
async fn a_query_can_only_read() {
    let (site, postgresql, mariadb) = (Site::new(), PostgreSql::start(), MariaDb::start());
    postgresql.sql(&fixture("postfix.sql"));
    postgresql.sql(
        "CREATE FUNCTION takes(who text) RETURNS text LANGUAGE sql AS \
         'DELETE FROM virtual_users; SELECT who'",
    );
    mariadb.sql(&fixture("postfix.sql"));
    mariadb.sql(
        "DELIMITER //\nCREATE FUNCTION takes(who TEXT) RETURNS TEXT MODIFIES SQL DATA \
         BEGIN DELETE FROM virtual_users; RETURN who; END//",
    );
    let other = Site::new();
    for (site, store, login) in [
        (&site, postgresql_store(&site, &postgresql), "SELECT takes($1) AS address"),
        (&other, mariadb_store(&other, &mariadb), "SELECT takes($1) AS address"),
        (
            &site,
            sqlite(&site, &fixture("postfix.sql")).await,
            "DELETE FROM virtual_users WHERE email = $1 RETURNING email AS address",
        ),
    ] {
        if let Ok(asked) = Asked::open(site, &one(&store, login)).await {
            assert_eq!(asked.whose("ada@example.org").await, "?", "{store}");
        }
    }
    assert_eq!(postgresql.sql("SELECT count(*) FROM virtual_users").trim(), "2");
    assert_eq!(mariadb.sql("SELECT count(*) FROM virtual_users").trim(), "2");
    let count = harness::run(
        "sqlite3",
        &[site.path().join("people.db").to_str().unwrap(), "SELECT count(*) FROM virtual_users"],
    );
    assert_eq!(count.trim(), "2");
}

#[tokio::test]
async fn a_query_that_hangs_is_given_up() {
    let (site, server) = (Site::new(), PostgreSql::start());
    let store = postgresql_store(&site, &server);
    let slow = "SELECT CAST($1 AS text) AS address FROM pg_sleep(60)";
    let asked = Asked::open(&site, &one(&store, slow)).await.unwrap();
    let began = std::time::Instant::now();
    assert_eq!(asked.whose("ada@example.org").await, "?");
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}
