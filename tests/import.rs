//! `waybill import` from outside: each source becomes a spec that compiles, is laid out, and says what the source said.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::bind::Bind;
use harness::{program, root, run, waybill};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn fixture(name: &str) -> String {
    root().join("tests/fixtures/import").join(name).to_str().unwrap().to_owned()
}

/// What was imported: the spec's folder, what was printed, its records, and its runtime configuration.
struct Made {
    folder: TempDir,
    said: String,
    records: Value,
    runtime: Value,
}

impl Made {
    fn spec(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.spec().join(name)).unwrap()
    }

    /// The values of a record set.
    fn set(&self, name: &str, kind: &str) -> Vec<String> {
        let sets = all_sets(&self.records);
        sets.get(&(name.to_owned(), kind.to_owned())).cloned().unwrap_or_default()
    }

    fn account(&self, address: &str) -> &Value {
        let accounts = self.runtime["accounts"].as_array().unwrap();
        accounts.iter().find(|account| account["address"] == address).unwrap_or(&Value::Null)
    }
}

/// Record sets wherever they stand in `records.json`.
fn all_sets(json: &Value) -> BTreeMap<(String, String), Vec<String>> {
    let mut found = BTreeMap::new();
    match json {
        Value::Object(fields) if fields.contains_key("values") => {
            let text = |name: &str| json[name].as_str().unwrap().to_owned();
            let values = json["values"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned());
            found.insert((text("name"), text("type")), values.collect());
        }
        Value::Object(fields) => fields.values().for_each(|inner| found.extend(all_sets(inner))),
        Value::Array(items) => items.iter().for_each(|inner| found.extend(all_sets(inner))),
        _ => {}
    }
    found
}

fn try_import(folder: &Path, arguments: &[&str]) -> Output {
    let spec = folder.join("mail");
    waybill(&[&["import", spec.to_str().unwrap()], arguments].concat())
}

/// Imports, and holds the spec to what every imported one must be.
fn import(arguments: &[&str]) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let output = try_import(folder.path(), arguments);
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let (spec, out) = (folder.path().join("mail"), folder.path().join("out"));
    for command in [vec!["check"], vec!["fmt", "--check"], vec!["build", "--out", out.to_str().unwrap()]] {
        let output = waybill(&[&command[..1], &[spec.to_str().unwrap()], &command[1..]].concat());
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let json = |name: &str| serde_json::from_slice(&fs::read(out.join(name)).unwrap()).unwrap();
    let (records, runtime) = (json("records.json"), json("runtime.json"));
    // Nothing but the spec is left where it was made.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    for word in ["planted", "PLANTED"] {
        assert!(!said.contains(word) && !holds(folder.path(), word), "a secret was repeated:\n{said}");
    }
    // `planted-secret-2salt` in base64.
    assert!(!said.contains("cGxhbnRlZ") && !holds(folder.path(), "cGxhbnRlZ"));
    Made { folder, said, records, runtime }
}

fn holds(folder: &Path, word: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, word),
            false => fs::read(&path).unwrap().windows(word.len()).any(|part| part == word.as_bytes()),
        }
    })
}

/// What the example zone says of mail, and the spec must say too.
fn says_the_zone(made: &Made) {
    for (name, kind, values) in [
        ("example.org", "MX", vec!["10 mail.example.org.", "20 mx2.backup.example.net."]),
        ("example.org", "CAA", vec!["0 issue \"letsencrypt.org\""]),
        ("mail.example.org", "A", vec!["192.0.2.25"]),
        ("mail.example.org", "AAAA", vec!["2001:db8::25"]),
        ("mta-sts.example.org", "CNAME", vec!["mail.example.org."]),
        ("_smtp._tls.example.org", "TXT", vec!["\"v=TLSRPTv1; rua=https://reports.example.net/tls\""]),
        ("_imaps._tcp.example.org", "SRV", vec!["0 1 993 mail.example.org."]),
        ("_submissions._tcp.example.org", "SRV", vec!["10 10 465 mail.example.org."]),
        ("autoconfig.example.org", "CNAME", vec!["autoconfig.partner.example."]),
        ("partner._domainkey.example.org", "CNAME", vec!["dkim.partner.example."]),
        // A record that would stop mail with another key, and those of others.
        ("_25._tcp.mail.example.org", "TLSA", vec![]),
        ("www.example.org", "CNAME", vec![]),
        ("example.org", "A", vec![]),
        ("partner._domainkey.example.org", "TXT", vec![]),
    ] {
        assert_eq!(made.set(name, kind), values, "{name} {kind}\n{}", made.said);
    }
    let text = |name: &str| made.set(name, "TXT").concat();
    let spf = "\"v=spf1 mx include:_spf.partner.example ip4:198.51.100.0/24 ra=postmaster ~all\"";
    assert_eq!(text("example.org"), spf);
    assert!(text("_dmarc.example.org").starts_with("\"v=DMARC1; p=quarantine; sp=reject; rua=mailto:postmaster@"));
    assert!(text("2024._domainkey.example.org").starts_with("\"v=DKIM1; k=rsa; p=MIIBI"));
    assert!(text("_mta-sts.example.org").starts_with("\"v=STSv1; id="));
    let file = made.text("domains/example.org.kdl");
    for comment in ["// guessed: the mode of MTA-STS", "// left out: _25._tcp.mail TLSA", "// guessed: `dnssec`"] {
        assert!(file.contains(comment), "{comment}\n{file}");
    }
}

#[test]
fn a_zone_file_becomes_a_spec_that_says_the_same() {
    let made = import(&["--zone-file", &fixture("zone/example.org.zone")]);
    says_the_zone(&made);
    assert!(made.text("domains/example.org.kdl").contains("dns ttl=\"2h\""));
    assert!(made.said.contains("records that are not mail's, which stay in the zone as they are: A 1, CNAME 1, MX 1"));
    assert!(made.said.contains("lists.example.org has an MX record of its own"));
    // What the compiler refuses of it is left out, and the rest is a spec.
    assert!(
        made.said.contains("2019._domainkey TXT v=DKIM1; k=rsa; p=cut-off, which is refused: W0649"),
        "{}",
        made.said
    );
    assert_eq!(made.set("2019._domainkey.example.org", "TXT"), Vec::<String>::new());
}

#[test]
fn a_live_zone_becomes_a_spec_that_says_the_same() {
    let bind = Bind::serve(&[("example.org".into(), fixture("zone/example.org.zone").into())]);
    let resolver = bind.address.to_string();
    let asked = ["--domain", "example.org", "--live", "--selector", "2024", "--selector", "partner"];
    let made = import(&[&asked[..], &["--resolver", &resolver]].concat());
    says_the_zone(&made);
    // An answer that cannot be had is an error, and nothing is written.
    bind.stop();
    let folder = tempfile::tempdir().unwrap();
    let output = try_import(folder.path(), &[&asked[..], &["--resolver", "127.0.0.1:1"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("DNS does not answer"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_waybill_published_comes_back_with_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let first =
        ["init", &at("first"), "--domain", "example.org", "--host", "mail.example.org", "--address", "192.0.2.25"];
    assert!(waybill(&first).status.success());
    assert!(waybill(&["build", &at("first"), "--out", &at("out")]).status.success());
    let zone = at("out/zones/example.org.zone");
    let made = import(&["--zone-file", &zone, "--keys", &at("first/secrets")]);
    assert!(!made.text("domains/example.org.kdl").contains("record"), "{}", made.text("domains/example.org.kdl"));
    let built = fs::read_to_string(made.folder.path().join("out/zones/example.org.zone")).unwrap();
    assert_eq!(built, fs::read_to_string(&zone).unwrap(), "{}", made.said);
    let secrets: Vec<PathBuf> =
        fs::read_dir(made.spec().join("secrets")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(secrets.len(), 2);
    for path in secrets {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    run(program("waybill").to_str().unwrap(), &["check", "--secrets", made.spec().to_str().unwrap()]);
}

#[test]
fn postfix_and_dovecot_become_domains_and_people() {
    let (zone, postfix) = (fixture("zone/example.org.zone"), fixture("postfix"));
    let (config, users) = (fixture("dovecot/doveconf.txt"), fixture("dovecot/users"));
    let sources = ["--postfix", &postfix, "--dovecot", &config, "--dovecot-users", &users];
    let made = import(&sources);
    let ada = made.account("ada@example.org");
    assert_eq!((&ada["name"], &ada["quota"]), (&"Ada Lovelace".into(), &"1GiB".into()), "{ada}");
    assert!(ada["credentials"].to_string().contains("$6$rounds=5000$"));
    assert_eq!(ada["aliases"], serde_json::json!(["countess@example.org", "root@example.org"]));
    let grace = made.account("grace@example.org");
    assert!(grace["credentials"].to_string().contains("$2y$10$") && grace["quota"] == "1000MiB");
    // What all get, and a scheme that is not checked.
    let carl = made.account("carl@example.net");
    assert!(carl["quota"] == "2GiB" && carl["credentials"].as_array().is_none_or(Vec::is_empty));
    let groups = made.runtime["groups"].to_string();
    for address in ["staff@example.org", "bob@elsewhere.example", "abuse@example.org", "outside@example.net"] {
        assert!(groups.contains(address), "{address}: {groups}");
    }
    assert!(!groups.contains("ring-a") && !groups.contains("gone"));
    let root = made.text("mail.kdl");
    for line in ["submissions 465", "imaps 993", "pop3s 995", "managesieve 4190", "message-size \"50MiB\""] {
        assert!(root.contains(line), "{line}: {root}");
    }
    assert!(!root.contains("imap 143"), "Dovecot's port 0 is none");
    for told in [
        "mysql:/etc/postfix/mysql-mailboxes.cf: entries in another program",
        "pcre:/etc/postfix/virtual.pcre: patterns",
        "`\"odd one\"@example.org`",
        "`tickets@example.org` to a program",
        "`archive@example.org` to a file",
        "`ring-b@example.org` to `ring-a@example.org`, which leads back to it",
        "copies to archive@elsewhere.example",
        "relay_domains: branch.example.net",
        "SSHA256 is a scheme that Waybill does not check",
    ] {
        assert!(made.said.contains(told), "{told}\n{}", made.said);
    }
    // Sources combine: the zone's facts and the maps' make one spec.
    let both = import(&[&["--zone-file", &zone], &sources[..]].concat());
    says_the_zone(&both);
    assert_eq!(both.account("ada@example.org"), ada);
}

#[test]
fn a_list_becomes_people() {
    let people = fixture("csv/people.csv");
    let made =
        import(&["--domain", "example.org", "--host", "mx.example.org", "--address", "192.0.2.7", "--csv", &people]);
    let ada = made.account("ada@example.org");
    assert_eq!((&ada["name"], &ada["quota"]), (&"Lovelace; Ada".into(), &"1GiB".into()));
    assert_eq!(ada["aliases"], serde_json::json!(["a.lovelace@example.org", "countess@example.org"]));
    assert!(ada["credentials"].to_string().contains("$argon2id$"));
    assert_eq!(made.account("grace@example.org")["name"], "Grace \"Amazing\" Hopper");
    assert_eq!(made.account("evil@example.org")["name"], "}\\ { account \"root\" /* \\u{7} //");
    assert_eq!(made.set("example.org", "MX"), ["10 mx.example.org."]);
    for told in ["the column `Department`", "`bad..dots@example.org`", "`not an address`"] {
        assert!(made.said.contains(told), "{told}\n{}", made.said);
    }
    let file = made.text("domains/example.org.kdl");
    assert!(file.contains("// guessed: DMARC of `none`") && file.contains("// left out: the password"), "{file}");
}

#[test]
fn stalwart_becomes_a_spec() {
    let (config, principals) = (fixture("stalwart/config.toml"), fixture("stalwart/principals.json"));
    let made = import(&["--stalwart-config", &config, "--stalwart", &principals]);
    let ada = made.account("ada@example.org");
    assert!(ada["credentials"].to_string().contains("$6$rounds=5000$") && ada["name"] == "Ada Lovelace");
    assert_eq!(ada["aliases"], serde_json::json!(["countess@example.org"]));
    assert!(made.runtime["groups"].to_string().contains("sales@example.org"));
    let list = &made.runtime["lists"][0];
    assert_eq!((&list["address"], &list["name"]), (&"news@example.org".into(), &"The News".into()));
    assert!(list["members"].to_string().contains("bob@elsewhere.example"));
    let root = made.text("mail.kdl");
    for line in ["host \"mail.example.org\"", "imaps 9993", "submission 587", "https 443"] {
        assert!(root.contains(line), "{line}: {root}");
    }
    for told in ["selector 202407r of example.org", "an app password", "the second factor", "the role `helpdesk`"] {
        assert!(made.said.contains(told), "{told}\n{}", made.said);
    }
}

#[test]
fn mailcow_becomes_a_spec_from_its_answers_or_a_dump() {
    let names =
        ["mailcow/domains.json", "mailcow/mailboxes.json", "mailcow/aliases.json", "mailcow/alias-domains.json"];
    let files = names.map(fixture);
    let arguments: Vec<&str> = files.iter().flat_map(|file| ["--mailcow", file]).collect();
    let made = import(&arguments);
    let ada = made.account("ada@example.org");
    assert_eq!((&ada["name"], &ada["quota"]), (&"Ada Lovelace".into(), &"3GiB".into()));
    assert_eq!(ada["aliases"], serde_json::json!(["ada@example.com", "info@example.org"]));
    assert!(made.runtime["groups"].to_string().contains("team@example.com"), "an alias domain has all addresses");
    assert!(made.text("mail.kdl").contains("host \"mail.example.org\""), "the host of the domain with people");
    assert!(made.said.contains("spare.example") && made.said.contains("void@example.org"));
    let dump = import(&["--mailcow", &fixture("mailcow/mailcow.sql")]);
    let ada = dump.account("ada@example.org");
    assert!(ada["credentials"].to_string().contains("$2y$10$") && ada["name"] == "Ada, Countess of Lovelace");
    assert_eq!(dump.account("grace@example.org")["aliases"], serde_json::json!(["info@example.org"]));
}

#[test]
fn what_cannot_be_imported_is_an_error_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, octets: &[u8]| {
        fs::write(folder.path().join(name), octets).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let files = [
        ("--zone-file", write("a.zone", b"$INCLUDE /etc/passwd\n"), "line 1: `$INCLUDE` is not followed"),
        ("--zone-file", write("b.zone", b"x IN A 192.0.2.1\n"), "relative name"),
        ("--csv", write("c.csv", b"colour,size\nred,1\n"), "no column is called address"),
        ("--csv", write("d.csv", b"email\n\"x"), "does not end"),
        ("--stalwart", write("e.json", b"[[[["), "EOF"),
        ("--stalwart", write("f.json", "[".repeat(100_000).as_bytes()), "recursion"),
        ("--stalwart-config", write("g.toml", b"a = [planted"), "g.toml"),
        ("--mailcow", write("h.sql", b"INSERT INTO `alias` (a) VALUES ('"), "does not end"),
        ("--dovecot", write("i.txt", "a {\n".repeat(1000).as_bytes()), "nest too deeply"),
        ("--csv", "/dev/zero".to_owned(), "is not a file"),
        ("--csv", write("j.csv", b"email\n"), "no mail domain"),
    ];
    for (option, file, why) in &files {
        let inside = tempfile::tempdir().unwrap();
        let output = try_import(inside.path(), &[option, file]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(1) && said.contains(why) && !said.contains("planted"), "{file}: {said}");
        assert_eq!(fs::read_dir(inside.path()).unwrap().count(), 0, "{file}");
    }
    // A folder that holds something stays as it is; an empty one is taken.
    let people = write("k.csv", b"email\nada@example.org\n");
    let inside = tempfile::tempdir().unwrap();
    fs::create_dir(inside.path().join("mail")).unwrap();
    assert!(try_import(inside.path(), &["--csv", &people]).status.success());
    let output = try_import(inside.path(), &["--csv", &people]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("is not empty"), "{said}");
}

#[test]
fn hostile_sources_make_sound_specs() {
    let folder = tempfile::tempdir().unwrap();
    let odd = "\u{7}\u{1b}[2J\u{202e}\"}\\ /* */ // #\"";
    let csv = folder.path().join("x.csv");
    let rows = format!(
        "email,name,quota,aliases\n\"{odd}@example.org\",x,,\nada@example.org,\"a{odd}\",99999999999999999999,\"{odd}\"\n\
         bob@example.org,\"Bob \u{202e}bob\",1,\"ada@example.org ada@192.0.2.1 x@localhost\"\n"
    );
    fs::write(&csv, rows.replace("\"\"", "\"\"\"\"")).unwrap();
    let zone = folder.path().join("example.org.zone");
    let text = "$ORIGIN example.org.\n@ 5 MX 10 mail\n@ TXT \"v=spf1 ip4:nonsense\\027[2J include:\\\"x -all\"\nmail A \
                0.0.0.0\n_dmarc TXT \"v=DMARC1; p=none; rua=mailto:nobody@example.org\"\n_imaps._tcp SRV 0 0 25 mail\n\
                *._domainkey TXT \"p=x\"\nx._domainkey TXT \"v=DKIM1; p=}{;\\\"\"\n_smtp._tcp MX nonsense\n";
    fs::write(&zone, text).unwrap();
    let made = import(&["--zone-file", zone.to_str().unwrap(), "--csv", csv.to_str().unwrap()]);
    for text in [&made.said, &made.text("mail.kdl"), &made.text("domains/example.org.kdl")] {
        let odd = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(odd, None, "{text}");
    }
    assert_eq!(made.set("_dmarc.example.org", "TXT"), ["\"v=DMARC1; p=none; rua=mailto:nobody@example.org\""]);
    assert!(made.said.contains("reports to `nobody@example.org`"), "{}", made.said);
}

#[test]
fn every_command_of_the_page_works() {
    let text = fs::read_to_string(root().join("docs/import.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "zone/example.org.zone",
        "dovecot/doveconf.txt",
        "dovecot/users",
        "csv/people.csv",
        "stalwart/config.toml",
        "stalwart/principals.json",
        "mailcow/domains.json",
        "mailcow/mailboxes.json",
        "mailcow/aliases.json",
        "mailcow/mailcow.sql",
    ] {
        fs::copy(fixture(name), folder.path().join(name.split('/').next_back().unwrap())).unwrap();
    }
    run("cp", &["-r", &fixture("postfix"), folder.path().to_str().unwrap()]);
    let bind = Bind::serve(&[("example.org".into(), fixture("zone/example.org.zone").into())]);
    let beside = program("waybill").parent().unwrap().to_path_buf();
    let path = format!("{}:{}", beside.display(), std::env::var("PATH").unwrap());
    let mut count = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("PATH", &path).env("WAYBILL_RESOLVER", bind.address.to_string());
        let output = command.current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        count += 1;
    }
    assert!(count >= 9);
    let help = waybill(&["import", "--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("$ waybill import ")) {
        for option in line.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "{option} is not in --help");
        }
    }
}
