//! `waybill diff` and `waybill graph` from outside: classes, words, places, exit codes; folders and Git revisions.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use compiler::code::Code;
use harness::{password_hash, root, run, waybill};
use serde_json::Value as Json;
use std::fs;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

const HEAD: &str = "waybill 1\nstore \"local\" { rocksdb \"data\"; }\n";
const HOST: &str = "host \"mail.example.org\" { address \"192.0.2.25\"; }\n";

fn spec(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mail.kdl"), text).unwrap();
    folder
}

fn diff(old: &Path, new: &Path, more: &[&str]) -> Output {
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    waybill(&[&["diff", old, new], more].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The differences as `class: message`.
fn told(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (spec(old), spec(new));
    let output = diff(old.path(), new.path(), &["--format", "json"]);
    let json: Json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let one = |one: &Json| format!("{}: {}", one["class"].as_str().unwrap(), one["message"].as_str().unwrap());
    json["differences"].as_array().unwrap().iter().map(one).collect()
}

fn has(told: &[String], begins: &str) {
    assert!(told.iter().any(|one| one.starts_with(begins)), "no `{begins}` in {told:#?}");
}

fn base() -> String {
    let hash = password_hash();
    format!(
        "{HEAD}{HOST}domain \"example.org\" {{\n    account \"ada\" name=\"Ada\" {{\n        password (hash)\"{hash}\"\n        \
         alias \"countess\"\n        quota \"5GiB\"\n    }}\n    account \"bob\" {{ password (hash)\"{hash}\"; }}\n    \
         group \"sales\" {{ member \"ada\"; }}\n    list \"news\" {{ member \"ada\"; }}\n}}\n"
    )
}

#[test]
fn the_same_spec_does_not_differ() {
    let company = root().join("examples/company");
    let output = diff(&company, &company, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(said(&output), "no difference\n");
}

#[test]
fn a_person_who_goes_takes_the_mail_along() {
    let old = spec(&base());
    let new = spec(&base().replace("account \"bob\"", "account \"eve\""));
    let state = old.path().join("state.json");
    fs::write(&state, r#"{"accounts": {"bob@example.org": {"messages": 1200, "octets": 3456789}}}"#).unwrap();
    let output = diff(old.path(), new.path(), &["--state", state.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let text = said(&output);
    let line = "destroys         account `bob@example.org` seems to become `eve@example.org`: its mailbox of 1,200 messages, 3.4 MB, is out of reach";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("(was mail.kdl:10)"), "{text}");
    fs::write(&state, "[]").unwrap();
    assert_eq!(diff(old.path(), new.path(), &["--state", state.to_str().unwrap()]).status.code(), Some(1));
}

#[test]
fn who_gets_in_is_told_in_words() {
    let told = |from: &str, to: &str| told(&base(), &base().replace(from, to));
    has(
        &told("domain \"example.org\"", "login { own-passwords; password least=20; }\ndomain \"example.org\""),
        "hot: people of the spec may have another password than the spec's",
    );
    has(
        &told(
            "domain \"example.org\"",
            "directory \"corp\" { ldap \"ldaps://ldap.example.org\"; }\ndomain \"corp.example\" { directory \"corp\"; }\ndomain \"example.org\"",
        ),
        "hot: directory `corp` is added",
    );
    has(
        &told("account \"bob\" {", "account \"bob\" { suspended;"),
        "hot: account `bob@example.org`: it is suspended: who is logged in as it is logged out",
    );
}

#[test]
fn each_difference_has_words_and_a_class() {
    let told = |from: &str, to: &str| {
        let new = base().replace(from, to);
        assert_ne!(new, base(), "{from}");
        told(&base(), &new)
    };
    has(
        &told("quota \"5GiB\"", "quota \"1GiB\""),
        "hot: account `ada@example.org`: it may keep `1GiB` instead of `5GiB`",
    );
    has(
        &told("name=\"Ada\"", "name=\"Ada L\""),
        "hot: account `ada@example.org`: its name changes from `Ada` to `Ada L`",
    );
    has(
        &told("alias \"countess\"", "alias \"duchess\""),
        "hot: address `countess@example.org` of `ada@example.org` is taken away",
    );
    has(
        &told("group \"sales\" { member \"ada\"; }", "group \"sales\" { member \"bob\"; }"),
        "hot: group `sales@example.org` goes to `bob@example.org` in place of `ada@example.org`",
    );
    has(
        &told("list \"news\" { member \"ada\"; }", "list \"news\" { member \"ada\"; posting \"anyone\"; }"),
        "hot: list `news@example.org` takes posts from everybody",
    );
    let moved = told("rocksdb \"data\"", "rocksdb \"other\"");
    has(&moved, "needs migration: mailboxes and the queue lie in RocksDB in `other` instead of RocksDB in `data`");
    has(&moved, "hot: the search index lies in");
    has(&told("rocksdb \"data\"", "memory"), "needs migration: messages lie in the memory store `local`");
    let pool = told("rocksdb \"data\"", "postgresql \"postgres://mail@127.0.0.1/mail\"");
    has(&pool, "needs migration: mailboxes and the queue lie in PostgreSQL at `postgres://mail@127.0.0.1/mail`");
    let stores = |old: &str, new: &str| {
        let with = |store: &str| base().replace("rocksdb \"data\"", store);
        self::told(&with(old), &with(new))
    };
    let readers = stores("sqlite \"mail.db\"", "sqlite \"mail.db\" readers=8");
    has(&readers, "hot: SQLite in `mail.db` is reached in another way");
    assert!(!readers.iter().any(|one| one.contains("migration")), "{readers:?}");
    let two = |storage: &str| {
        base().replace("rocksdb \"data\"; }", "rocksdb \"data\"; }\nstore \"files\" { filesystem \"blobs\"; }\n")
            + storage
    };
    let apart = "storage { data \"local\"; blob \"files\"; search \"local\"; lookup \"local\"; }\n";
    let beside = apart.replace("\"files\"", "\"local\"");
    has(&self::told(&two(&beside), &two(apart)), "hot: messages lie in the filesystem in `blobs` instead of RocksDB");
    has(&self::told(&two(apart), &two(&beside)), "needs migration: messages lie in RocksDB in `data` instead of");
    let key = "rocksdb \"data\"; encrypt (env)\"KEY\"; compression \"zstd\"";
    let encrypted = stores(key, "rocksdb \"data\"; encrypt (env)\"OTHER\"");
    has(&encrypted, "destroys: messages are encrypted with the key `(env)\"KEY\"`");
    has(&encrypted, "hot: how messages are written: `compression` changes from `zstd` to `none`");
    let ports =
        told("address \"192.0.2.25\"", "address \"192.0.2.25\"; listen { smtp 25; submission 465; imaps 993; }");
    has(&ports, "drains: `https` no longer listens on `192.0.2.25:443`");
    has(&ports, "drains: `submission` listens on `192.0.2.25:465` of `mail.example.org` in place of `submissions`");
    let renamed = told("host \"mail.example.org\"", "host \"mx.example.org\"");
    has(&renamed, "needs restart: host `mail.example.org` is removed");
    has(&renamed, "hot: mail for `example.org` goes to `mx.example.org` instead of `mail.example.org`");
    has(&renamed, "hot: `example.org` MX: `10 mx.example.org.` instead of `10 mail.example.org.`");
    has(
        &told("domain \"example.org\" {", "limits { recipients 200; }\ndomain \"example.org\" {"),
        "hot: limits: `recipients` changes from `1000` to `200`",
    );
    has(
        &told("domain \"example.org\" {", "domain \"example.org\" {\n    catch-all \"ada\""),
        "hot: mail for addresses of `example.org` that nobody has goes to `ada@example.org`",
    );
    has(
        &told("domain \"example.org\" {", "domain \"b.example\"\ndomain \"example.org\" {"),
        "hot: domain `b.example` is added",
    );
    has(
        &told("domain \"example.org\" {", "domain \"example.org\" {\n    dmarc \"quarantine\""),
        "hot: DMARC of `example.org`: mail that is not its own gets `quarantine` instead of `reject`",
    );
    let two = format!(
        "{}host \"mx2.example.org\" {{ address \"192.0.2.26\"; }}\ndomain \"example.org\" {{\n    host \"mail.example.org\"",
        ""
    );
    has(
        &told("domain \"example.org\" {", &two),
        "needs restart: the spec has several hosts: the server of `mail.example.org` must be started with `--host`",
    );
    has(
        &told("domain \"example.org\" {", "dns \"own\" { zonefile \"zones\"; }\ndomain \"example.org\" {"),
        "hot: the DNS provider `own` is added",
    );
}

#[test]
fn no_password_is_shown() {
    let old = spec(&base());
    let new = spec(&base().replacen("$m=64", "$m=65", 1));
    for format in ["human", "json", "markdown"] {
        let output = diff(old.path(), new.path(), &["--format", format]);
        let text = said(&output) + &String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("password changes"), "{text}");
        assert!(!text.contains("argon2id"), "{text}");
    }
}

/// The `kdl` blocks under a heading of a page.
fn blocks(page: &str, heading: &str) -> Vec<String> {
    let from = page.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_default();
    let section = from.split("\n## ").next().unwrap();
    section.split("```kdl\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_pages_of_steps_that_are_too_long_are_true() {
    let codes = Code::ALL.iter().filter(|code| ("W0800".."W0810").contains(&code.id()));
    let mut seen = 0;
    for code in codes {
        for (heading, wanted) in [("Fails", true), ("Passes", false)] {
            let whole = |text: &String| {
                let host = if text.contains("host \"") && text.starts_with("host") { "" } else { HOST };
                spec(&format!("{HEAD}{host}{text}"))
            };
            let sides: Vec<TempDir> = blocks(code.page(), heading).iter().map(whole).collect();
            let [old, new] = sides.as_slice() else { panic!("{}: {heading}", code.id()) };
            let output = diff(old.path(), new.path(), &["--format", "json"]);
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            let json: Json =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{} {errors}", code.id()));
            let found = json["findings"].as_array().unwrap().iter().any(|found| found["code"] == code.id());
            assert_eq!(found, wanted, "{} {heading}: {errors}", code.id());
            assert_eq!(output.status.code(), Some(if wanted { 1 } else { 2 }), "{} {heading}", code.id());
            seen += 1;
        }
    }
    assert!(seen >= 8);
}

#[test]
fn a_comment_is_folded_and_fits() {
    let many: String = (0..3000).map(|n| format!("    alias \"a{n}\" \"ada\"\n")).collect();
    let old = spec(&base());
    let new = spec(&base().replace("    account \"bob\"", &format!("{many}    account \"bob\"")));
    let text = said(&diff(old.path(), new.path(), &["--format", "markdown"]));
    assert!(text.chars().count() <= 60_000, "{}", text.chars().count());
    assert!(text.starts_with("### Waybill: 3000 differences\n\n3000 hot\n"), "{}", &text[..200]);
    assert_eq!(text.matches("<details").count(), text.matches("</details>").count());
    assert!(text.trim_end().ends_with("more had no room here; `waybill diff` shows all."));
    let again = said(&diff(old.path(), new.path(), &["--format", "markdown"]));
    assert_eq!(text, again);
}

#[test]
fn nothing_in_a_spec_writes_markdown() {
    let old = spec(&base());
    let new = spec(&base().replace("name=\"Ada\"", "name=\"`</code><script>x</script> @everyone ![x](http://x)\""));
    let text = said(&diff(old.path(), new.path(), &["--format", "markdown"]));
    assert!(text.contains("`` `</code><script>x</script> @everyone ![x](http://x) ``"), "{text}");
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let folder = folder.to_str().unwrap();
    let own = ["-C", folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"];
    run("git", &[&own, arguments].concat())
}

#[test]
fn revisions_are_compared() {
    let repository = tempfile::tempdir().unwrap();
    let path = repository.path();
    git(path, &["init", "-q"]);
    fs::create_dir(path.join("mail")).unwrap();
    let put = |text: &str| fs::write(path.join("mail/mail.kdl"), text).unwrap();
    put(&base());
    std::os::unix::fs::symlink("/etc/passwd", path.join("mail/link.kdl")).unwrap();
    git(path, &["add", "-A"]);
    git(path, &["commit", "-q", "-m", "first"]);
    put(&base().replace("5GiB", "1GiB"));
    git(path, &["commit", "-q", "-a", "-m", "second"]);
    put(&base().replace("5GiB", "2GiB"));
    let folder = path.join("mail");
    let diff = |range: &str| waybill(&["diff", "--git", range, "--dir", folder.to_str().unwrap()]);
    for (range, code, words) in [
        ("HEAD~1..HEAD", 2, "keep `1GiB` instead of `5GiB`"),
        ("HEAD~1...", 2, "keep `1GiB` instead of `5GiB`"),
        ("HEAD..HEAD", 0, "no difference"),
        ("HEAD", 2, "keep `2GiB` instead of `1GiB`"),
        ("nothing..HEAD", 1, ""),
        ("--help..HEAD", 1, ""),
    ] {
        let output = diff(range);
        assert_eq!(output.status.code(), Some(code), "{range}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(said(&output).contains(words), "{range}: {}", said(&output));
    }
}

#[test]
fn a_wrong_side_is_told() {
    let (good, bad) = (spec(&base()), spec("waybill 1\nnonsense {\n"));
    for (old, new, which) in [(&good, &bad, "new"), (&bad, &good, "old")] {
        let output = diff(old.path(), new.path(), &[]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        assert!(errors.starts_with(&format!("the {which} spec has errors:")), "{errors}");
        assert!(errors.contains("error[W0104]"), "{errors}");
    }
}

#[test]
fn a_picture_is_well_formed_and_small() {
    let mut big = format!("{HEAD}{HOST}host \"mx2.example.org\" {{ address \"192.0.2.26\"; }}\n");
    big += "defaults { domain { host \"mail.example.org\"; host \"mx2.example.org\" priority=20; }; }\n";
    for n in 0..3000 {
        big += &format!("domain \"d{n}.example\"\n");
    }
    let big = spec(&big);
    let company = root().join("examples/company");
    for folder in [company.as_path(), big.path()] {
        let out = big.path().join("out.svg");
        let output = waybill(&["graph", folder.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(&out).unwrap();
        assert!(text.len() < 100_000);
        assert!(!text.contains("<script") && !text.contains("http://www.w3.org/1999/xlink"));
        let picture = roxmltree::Document::parse(&text).unwrap();
        let titles = picture.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "title")));
        assert!(titles.count() > 4);
    }
    let text = said(&waybill(&["graph", big.path().to_str().unwrap()]));
    assert!(text.contains("and 2,997 more"), "{text}");
}

#[test]
fn a_long_step_may_be_allowed_for_a_while() {
    let domain = |policy: &str| {
        base().replace("domain \"example.org\" {", &format!("domain \"example.org\" {{\n    dmarc \"{policy}\""))
    };
    let old = spec(&domain("none"));
    let year = 2026 + now_years();
    for (allow, code) in [
        (String::new(), 1),
        (format!("allow W0800 reason=\"nobody else sends\" until=\"{year}-01-01\"\n"), 2),
        ("allow W0800 reason=\"nobody else sends\" until=\"2020-01-01\"\n".to_owned(), 1),
    ] {
        let new = spec(&(domain("reject") + &allow));
        let output = diff(old.path(), new.path(), &[]);
        assert_eq!(output.status.code(), Some(code), "{allow}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// How many New Years after 2026 the next one but none is: an allowance ends within a year of today.
fn now_years() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    (since.as_secs() - 1_767_225_600) / 31_556_952 + 1
}
