//! `waybill fix`, from outside: what it mends, what it leaves, and that nothing else of the files changes.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

/// A spec in which everything that `fix` mends is wrong. The secret must show nowhere.
const WRONG: &str = r#"// The spec of a test; comments stay.
hots "mail.example.org" {
    address   192.0.2.25   // the address
    adress "2001:db8::25"
    listen { smtp "25"; submisions 465; imaps 993; }
}
store "local" { rocksdb r"data"; }
storage { data "locla"; }
defaults { domain { host "mial.example.org"; }; }
domain "example.org" {
    dnssec
    dmarc "quarentine" strict=true
    account "ada" {
        quota 5GiB /* enough */
        password (hsah)"planted-hunter2"; name 5
    }
    alias "postmaster" "ada"
    group "all" { member "ada"   "ada" "bob"; }
    account "bob"
}
"#;

fn spec(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mail.kdl"), text).unwrap();
    folder
}

fn fix(folder: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["fix", folder.to_str().unwrap()];
    arguments.extend(more);
    harness::waybill(&arguments)
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn what_is_clear_is_mended_and_the_rest_stays() {
    let folder = spec(WRONG);
    let output = fix(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mended = fs::read_to_string(folder.path().join("mail.kdl")).unwrap();
    let want = WRONG
        .replace("hots ", "host ")
        .replace("   192.0.2.25   //", "   \"192.0.2.25\"   //")
        .replace("adress ", "address ")
        .replace("smtp \"25\"; submisions", "smtp 25; submissions")
        .replace("r\"data\"", "#\"data\"#")
        .replace("\"locla\"", "\"local\"")
        .replace("mial.", "mail.")
        .replace("\"quarentine\" strict=true", "\"quarantine\" strict=#true")
        .replace("quota 5GiB", "quota \"5GiB\"")
        .replace("\"ada\"   \"ada\" \"bob\"", "\"ada\" \"bob\"");
    assert_eq!(mended, format!("waybill 1\n{want}"));
    // What is not clear is left, and told of.
    let told = text(&output.stderr);
    assert!(told.contains("W0105") && told.contains("mail.kdl:2:1: W0112: write `host`"), "{told}");
    assert!(!told.contains("planted"), "{told}");
    assert!(!told.contains("0 errors"), "the annotation is left: {told}");
    // A second run has nothing to do.
    let again = fix(folder.path(), &[]);
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again.stderr).starts_with("nothing to mend"), "{}", text(&again.stderr));
    assert_eq!(fs::read_to_string(folder.path().join("mail.kdl")).unwrap(), mended);
}

#[test]
fn a_dry_run_shows_a_diff_without_secrets_and_writes_nothing() {
    let folder = spec(WRONG);
    let output = fix(folder.path(), &["--dry-run"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.starts_with("--- a/mail.kdl\n+++ b/mail.kdl\n@@ -1,"), "{shown}");
    assert!(shown.contains("\n+waybill 1\n") && shown.contains("+host \"mail.example.org\""), "{shown}");
    assert!(!shown.contains("planted") && !text(&output.stderr).contains("planted"), "{shown}");
    assert_eq!(fs::read_to_string(folder.path().join("mail.kdl")).unwrap(), WRONG);
    // It is a diff that the usual tool takes, where no line is masked.
    let plain = "waybill 1\nhots \"mail.example.org\" { address \"192.0.2.25\"; }\nstore \"local\" { rocksdb \"data\"; }\ndomain \"example.org\" { account \"ada\"; }\n";
    let folder = spec(plain);
    let patch = text(&fix(folder.path(), &["--dry-run"]).stdout);
    assert_eq!(
        patch,
        "--- a/mail.kdl\n+++ b/mail.kdl\n@@ -1,4 +1,4 @@\n waybill 1\n-hots \"mail.example.org\" { address \"192.0.2.25\"; }\n\
         +host \"mail.example.org\" { address \"192.0.2.25\"; }\n store \"local\" { rocksdb \"data\"; }\n \
         domain \"example.org\" { account \"ada\"; }\n"
    );
}

#[test]
fn what_two_could_be_meant_by_is_not_guessed() {
    let unclear = "waybill 1\nhost \"mail.example.org\" { address \"192.0.2.25\"; listen { imaq 143; smtp 25; }; }\n\
                   store \"a1\" { rocksdb \"a\"; }\nstore \"a2\" { rocksdb \"b\"; }\nstorage { data \"a3\"; blob \"a1\"; search \"a2\"; lookup \"a1\"; }\n\
                   domain \"example.org\" { account \"ada\"; alias \"postmaster\" \"adda\"; }\n";
    let folder = spec(unclear);
    let output = fix(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    let mended = fs::read_to_string(folder.path().join("mail.kdl")).unwrap();
    assert_eq!(mended, unclear.replace("imaq", "imap"), "{}", text(&output.stderr));
}

#[test]
fn files_keep_their_mode_their_mark_and_their_names() {
    let folder = spec("waybill 1\ninclude \"domains/*.kdl\"\nhost \"mail.example.org\" { address \"192.0.2.25\"; }\n");
    fs::create_dir(folder.path().join("domains")).unwrap();
    let file = folder.path().join("domains/a.kdl");
    fs::write(&file, "\u{feff}domain \"example.org\" {\r\n    acount \"postmaster\"\r\n}\r\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fix(folder.path(), &[]).status.code(), Some(0));
    let mended = fs::read_to_string(&file).unwrap();
    assert_eq!(mended, "\u{feff}domain \"example.org\" {\r\n    account \"postmaster\"\r\n}\r\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fix(&folder.path().join("nothing"), &[]).status.code(), Some(1));
}

#[test]
fn an_allowance_that_bears_nothing_goes_with_its_line() {
    let text = "waybill 1\nhost \"mail.example.org\" { address \"192.0.2.25\"; }\nstore \"local\" { rocksdb \"data\"; }\n\
                domain \"example.org\" {\n    dnssec\n    account \"postmaster\"\n    allow W0617 reason=\"soon\" until=\"DATE\"\n}\n";
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(100 * 24);
    let soon = &soon.to_string()[..10];
    let folder = spec(&text.replace("DATE", soon));
    assert_eq!(fix(folder.path(), &[]).status.code(), Some(0));
    let mended = fs::read_to_string(folder.path().join("mail.kdl")).unwrap();
    assert!(!mended.contains("allow") && mended.ends_with("    account \"postmaster\"\n}\n"), "{mended}");
}

#[test]
fn what_a_misspelt_node_holds_is_mended_too() {
    let text = "waybill 1\nhost \"mail.example.org\" { address \"192.0.2.25\"; }\nstore \"local\" { rocksdb \"data\"; }\n\
                domian \"example.org\" { acount \"postmaster\" { quotta \"5GiB\"; }; dmarc \"rejct\"; }\n";
    let folder = spec(text);
    let output = fix(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    let mended = fs::read_to_string(folder.path().join("mail.kdl")).unwrap();
    let want = text.replace("domian", "domain").replace("acount", "account").replace("quotta", "quota");
    assert_eq!(mended, want.replace("rejct", "reject"), "{}", self::text(&output.stderr));
}
