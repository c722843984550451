//! PostgreSQL, MariaDB and SQLite, with the tables of common mail systems.

use super::{Asked, documented};
use harness::mariadb::{self, MariaDb};
use harness::postgresql::{self, PostgreSql};
use harness::{PASSWORD, Site, root};
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
    // By the password of a phone: ada's own is another.
    assert_eq!(asked.login("ada@example.org", PASSWORD).await, "ada@example.org");
    assert_eq!(asked.quota("ada@example.org").await, Some(1 << 20));
    assert!(asked.may_send_as("ada@example.org", "sales@example.org").await);
    assert!(!asked.may_send_as("bob@example.org", "sales@example.org").await);
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
            "SELECT email AS address, password AS secret FROM no_table WHERE email = ?",
            "SELECT no_column AS address FROM virtual_users WHERE email = ?",
            "SELEKT email FROM virtual_users WHERE email = ?",
            // A column that nothing is known of.
            "SELECT email AS adress, password AS secret FROM virtual_users WHERE email = ?",
        ] {
            match Asked::open(site, &one(store, login)).await.map(|_| ()) {
                Err(StoreError::Misconfigured(_)) => {}
                other => panic!("{store}: {login}: {other:?}"),
            }
        }
        // A `?` in a string is none, and names and comments may hold it too.
        let odd =
            "SELECT email AS address, password AS secret FROM virtual_users /* ? */ WHERE email = ? AND '?' <> ''";
        let asked = Asked::open(site, &one(store, odd)).await.unwrap();
        assert_eq!(asked.whose("ada@example.org").await, "ada@example.org", "{store}");
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
        (&site, postgresql_store(&site, &postgresql), "SELECT takes(?) AS address"),
        (&other, mariadb_store(&other, &mariadb), "SELECT takes(?) AS address"),
        (
            &site,
            sqlite(&site, &fixture("postfix.sql")).await,
            "DELETE FROM virtual_users WHERE email = ? RETURNING email AS address",
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
    let slow = "SELECT CAST(? AS text) AS address FROM pg_sleep(60)";
    let asked = Asked::open(&site, &one(&store, slow)).await.unwrap();
    let began = std::time::Instant::now();
    assert_eq!(asked.whose("ada@example.org").await, "?");
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}
