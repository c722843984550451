//! Customers' domains: they set records once, and keys and policies change without them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::bind::{Bind, empty_zone};
use harness::{PATIENCE, next_month, program, run};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const CUSTOMERS: [&str; 2] = ["customer.example", "another.example"];

/// The provider's zone and those of two customers, at one name server.
struct Site {
    folder: TempDir,
    bind: Bind,
}

impl Site {
    fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("spec")).unwrap();
        let zones = ["example.org", CUSTOMERS[0], CUSTOMERS[1]].map(|name| {
            let file = folder.path().join(format!("{name}.zone"));
            fs::write(&file, empty_zone(name)).unwrap();
            (name.to_owned(), file)
        });
        let bind = Bind::serve(&zones);
        let allow = format!("allow W0621 reason=\"a trial\" until=\"{}\"\n", next_month());
        let customer =
            |name: &str| format!("domain \"{name}\" {{\n    alias \"postmaster\" \"postmaster@example.org\"\n}}\n");
        let text = format!(
            "waybill 1\nhost \"mail.example.org\" {{ address \"192.0.2.25\"; listen {{ smtp 25; submissions 465; }}; }}\n\
             store \"s\" {{ rocksdb \"d\"; }}\n\
             dns \"main\" {{ zonefile \"..\" {{ reload \"kill\" \"-HUP\" \"{}\"; }}; }}\n\
             defaults {{ domain {{ dns ttl=\"2s\" {{ delegate \"dkim.example.org\"; }}; }}; }}\n\
             {allow}domain \"example.org\" {{\n    dns \"main\"\n    account \"postmaster\"\n}}\n{}{}",
            bind.id(),
            customer(CUSTOMERS[0]),
            customer(CUSTOMERS[1]),
        );
        fs::write(folder.path().join("spec/mail.kdl"), text).unwrap();
        Site { folder, bind }
    }

    fn ends(&self, code: i32, arguments: &[&str]) -> String {
        let (command, rest) = arguments.split_at(if arguments[0] == "keys" { 2 } else { 1 });
        let mut run = Command::new(program("waybill"));
        run.args(command).arg(self.folder.path().join("spec")).args(rest);
        run.env("WAYBILL_RESOLVER", self.bind.address.to_string()).stdin(Stdio::null());
        let output = run.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    /// What a customer does once: the records that were built, without those of whatever this is in.
    fn set(&self, customer: &str, without: &str) {
        let built = self.folder.path().join("built");
        self.ends(0, &["build", "--out", built.to_str().unwrap()]);
        let text = fs::read_to_string(built.join(format!("zones/{customer}.zone"))).unwrap();
        let kept: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('$') && (without.is_empty() || !line.contains(without)))
            .collect();
        let serial = if without.is_empty() { "2" } else { "3" };
        let head = empty_zone(customer).replace(" 1 3600 ", &format!(" {serial} 3600 "));
        fs::write(self.folder.path().join(format!("{customer}.zone")), head + &kept.join("\n") + "\n").unwrap();
        run("kill", &["-HUP", &self.bind.id().to_string()]);
        let began = Instant::now();
        while !self.bind.dig(customer, "SOA").concat().contains(&format!(". {serial} ")) {
            assert!(began.elapsed() < PATIENCE);
        }
    }

    /// What is bad of a domain.
    fn bad(&self, code: i32, domain: &str) -> BTreeSet<String> {
        let groups = ["records", "dkim", "dmarc", "spf"].iter().flat_map(|group| ["--group", group]);
        let arguments: Vec<&str> = ["verify", "--format", "json", "--only", domain].into_iter().chain(groups).collect();
        let json: Json = serde_json::from_str(&self.ends(code, &arguments)).unwrap();
        let bad = json["findings"].as_array().unwrap().iter().filter(|one| one["status"] == "bad");
        bad.map(|one| one["check"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_customer_sets_records_once() {
    let site = Site::new();
    for customer in CUSTOMERS {
        let said = site.ends(0, &["keys", "make", customer]);
        assert!(said.contains("`wb1` is made") && said.contains("`wb2` is made"), "{said}");
    }
    assert_eq!(
        fs::read_dir(site.folder.path().join("spec/secrets")).unwrap().count(),
        4,
        "a key of each algorithm for each"
    );
    let said = site.ends(0, &["apply", "--yes", "--wait", "--deadline", "1m"]);
    assert!(said.contains("+ TXT   wb1.customer.example.dkim.example.org"), "{said}");
    // Before the customer has done it, that is what is told.
    assert!(site.bad(2, CUSTOMERS[0]).contains("records.there"));
    CUSTOMERS.iter().for_each(|customer| site.set(customer, ""));
    let asked = |name: &str| site.bind.dig(name, "TXT").join(" ");
    // This name server does not follow into another zone; those who look do.
    assert_eq!(asked("_dmarc.customer.example"), "_dmarc.customer.example.dkim.example.org.");
    assert!(asked("_dmarc.customer.example.dkim.example.org").contains("v=DMARC1; p=reject;"));
    assert_eq!(site.bad(0, CUSTOMERS[0]), BTreeSet::new());
    // Forgotten, and seen.
    site.set(CUSTOMERS[0], "_dmarc");
    let bad = site.bad(2, CUSTOMERS[0]);
    assert!(bad.contains("records.there") && bad.contains("dmarc.there"), "{bad:?}");

    // Keys take turns, in a zone that is not the customer's.
    let before = fs::read_to_string(site.folder.path().join("another.example.zone")).unwrap();
    let said = site.ends(0, &["keys", "rotate", "another.example"]);
    assert!(
        said.contains("`wb3` takes the place of `wb1`") && said.contains("`wb4` takes the place of `wb2`"),
        "{said}"
    );
    let said = site.ends(1, &["keys", "rotate", "another.example"]);
    assert!(said.contains("goes already"), "{said}");
    let began = Instant::now();
    while site.ends(0, &["rollout"]) != "nothing rolls over\n" {
        site.ends(0, &["apply", "--yes"]);
        assert!(began.elapsed() < PATIENCE, "{}", site.ends(0, &["rollout"]));
    }
    assert!(asked("wb3.another.example.dkim.example.org").contains("k=ed25519"));
    assert_eq!(site.bad(0, "another.example"), BTreeSet::new());
    assert_eq!(fs::read_to_string(site.folder.path().join("another.example.zone")).unwrap(), before);
    // Mail that the old ones signed is under way.
    assert!(site.ends(1, &["keys", "retire", "another.example"]).contains("is tried"));
    let spec = site.folder.path().join("spec/mail.kdl");
    let text = fs::read_to_string(&spec).unwrap();
    let early: Vec<&str> = text.lines().filter(|line| !line.trim().starts_with("retiring")).collect();
    fs::write(&spec, early.join("\n") + "\n").unwrap();
    let said = site.ends(3, &["plan"]);
    assert!(said.contains("W0811") && said.contains("`wb1` of `another.example`"), "{said}");
    // A key in the record that leads there, of somebody else's: there is one at most.
    fs::write(&spec, text).unwrap();
    let zone = site.folder.path().join("example.org.zone");
    let text = fs::read_to_string(&zone).unwrap();
    fs::write(&zone, text + "wb3.another.example.dkim 2 TXT \"v=DKIM1; p=other\"\n").unwrap();
    let said = site.ends(3, &["plan"]);
    assert!(said.contains("! TXT   wb3.another.example.dkim.example.org"), "{said}");
}
