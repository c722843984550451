//! A secret planted wherever one can be written by mistake, and no output that holds it; and what stays in sight.
#![allow(clippy::unwrap_used)]

use super::{junit, machine, render};
use crate::pipeline::{Compiled, Wish, compile};
use std::fs;

/// What must not come out.
const SECRET: &str = "hunter2";
const SPEC: &str =
    "waybill 1\nhost \"mail.example.org\" { address \"192.0.2.25\"; }\nstore \"local\" { rocksdb \"data\"; }\n";

/// Where the secret, `§`, is planted: inside an account.
const IN_ACCOUNT: &[&str] = &[
    "pasword \"§\"",
    "passwd \"§\"",
    "passwort § foo",
    "password \"§\"",
    "password §",
    "password value=\"§\"",
    "password hash=\"§\"",
    "password = \"§\"",
    "password { plain \"§\"; }",
    "password { §; }",
    "password §=x",
    "password §=",
    "password (§)\"x\"",
    "password (\"§\")\"x\"",
    "password (§\"x\"",
    "password (hash)\"§\" (scram)\"§\"",
    "password (hash)§",
    "password (hash)\"$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.§\"",
    "password\n§",
    "password\n\"§\"",
    "password\n§ foo\n§\nbar \"§\"",
    "password \\\n  § [",
    "password \"\"\"\n§\n\"\"\"",
    "password #\"§\"#",
    "password \"a\\q§\"",
    "password 1§",
    "password .1§",
    "password\n1§",
    "password r\"§\"",
    "password \"§",
    "password true § // §",
    "(§)password \"x\"",
    "password \"x\" // §",
    "passwrd \"x\" /* § */ /- \"§\"",
    "/- password \"§\"; foo",
    "quota \"5GiB\" \"§\"",
    "quota (env)\"5GiB\" \"§\"",
    "alias \"a\" password=\"§\"",
    "foo { bar \"§\" baz=\"§\" { § §=§; }; }",
];

/// The same, at the top.
const AT_TOP: &[&str] = &[
    "domain \"example.org\" { account \"ada\" \"§\"; }",
    "domain \"example.org\" { account \"ada\" password=\"§\" pasword=§; }",
    "dns \"main\" { cloudflare tokn=\"§\"; }",
    "dns \"main\" { cloudflare \"§\"; }",
    "dns \"main\" { cloudflare token=§; }",
    "dns \"main\" { cloudflare token=\"§\"; }",
    "dns \"main\" { cloudflare token=#\"§\"; }",
    "dns \"main\" { cloudflare token=true \"§\"; }",
    "dns \"main\" { cloudflare token=\n§\n}",
    "dns \"main\" { cloudflare { §; token \"§\"; }; }",
    "dns \"main\" { cloudflare §=x; }",
    "dns \"main\" { cloudflare token=(§)\"x\"; }",
    "dns \"main\" { powerdns \"http://x\" key=\"§\"; }",
    "dns \"main\" { route53 \"§\" secret-key=\"§\"; }",
    "dns \"main\" { rfc2136 \"127.0.0.1:53\" key=\"§\" algorithm=\"§\" secret=\"§\"; }",
    "dns \"main\" { rfc2136 \"§\" key=\"k\" algorithm=\"a\"; }",
    "host \"b.example.org\" { tls { acme \"letsencrypt\" eab-hmac=\"§\"; }; }",
    "host \"b.example.org\" { tls { acme \"https://u:§@x/\"; }; }",
    "host \"b.example.org\" { outbound { relay \"x\" password=\"§\"; }; }",
    "host \"b.example.org\" { tls { key \"a\" ec public=\"-----BEGIN PRIVATE KEY-----§\" foo=1; }; }",
    "host \"b.example.org\" { tls { key \"a\" ec private=(file)\"-----BEGIN PRIVATE KEY-----§\" foo=1; }; }",
    "domain \"b.example\" { dkim { key \"a\" ed25519 private=(file)\"-----BEGIN PRIVATE KEY-----\\n§\"; }; }",
    "domain \"b.example\" { dkim { key \"a\" ed25519 private=(file)\"\"\"\n§\nx\n\"\"\"; }; }",
    "domain \"b.example\" { dkim { key \"a\" § private=\"§\"; }; }",
    "domain \"b.example\" { dkim { key \"-----BEGIN PRIVATE KEY-----§\" rsa private=(env)\"X\"; }; }",
    "domain \"b.example\" { record \"@\" \"TXT\" \"-----BEGIN PRIVATE KEY-----§\"; }",
    "store \"x\" { redis \"redis://§@h\" foo=1; }",
    "store \"x\" { redis \"redis://:§@h\"; }",
    "store \"x\" { postgresql \"postgres://mail@h/d?password=§\"; }",
    "store \"x\" { postgresql \"postgres://mail:a#§@h/d\"; }",
    "store \"x\" { postgresql \"postgres://mail:a/§@h/d\"; }",
    "store \"x\" { postgresql \"host=db password=§\"; }",
    "store \"x\" { mysql \"mysql://h/d\" pasword=\"§\" password=(file)\"x\" \"§\"; }",
    "store \"x\" { s3 \"mail\" access-key=\"§\" secret-key=\"§\" secret=\"§\"; }",
    "directory \"d\" { ldap \"ldap://u:§@h\" bind-dn=\"cn=x:§\" bind-password=\"§\"; }",
    "directory \"d\" { ldap \"ldap://h\" bind-dn=\"cn=x:§\" base=\"§\" foo=\"x\"; }",
    "resolver { server \"u:§@127.0.0.1:53\"; }",
    "resolver { server \"127.0.0.1:53\" { password \"§\"; }; }",
    "resolver { trust-anchor \"§\"; }",
    "trust { ca \"§\"; }",
    "dns \"main\" { cloudflare token=(age)\"§\"; }",
    "dns \"main\" { cloudflare token=(age)§; }",
    "dns \"main\" { cloudflare token=(age)\"-----BEGIN PRIVATE KEY-----§\"; }",
    "dns \"main\" { cloudflare token=(age)\"-----BEGIN AGE ENCRYPTED FILE-----\\n§\\n-----END AGE ENCRYPTED FILE-----\"; }",
    "dns \"main\" { cloudflare token=(age)\"\"\"\n-----BEGIN AGE ENCRYPTED FILE-----\n§\n\"\"\"; }",
    "secrets { recipient \"§\" \"§\" nam=\"§\"; § \"§\"; }",
    "secrets { recipient name=\"a:§=@\"; }; secrets \"§\"",
    "token \"§\"",
    "token\n§",
    "include \"-----BEGIN PRIVATE KEY----- §\"",
    "include (§)\"x.kdl\" password=\"§\"",
    "waybill \"§\"",
];

fn compiled(text: &str) -> Compiled {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mail.kdl"), text).unwrap();
    compile(&Wish::new(folder.path(), 1_795_478_400))
}

fn outputs(compiled: &Compiled) -> [(&'static str, String); 7] {
    let Compiled { report, located, .. } = compiled;
    [
        ("human", render::human(report, located, false)),
        ("colour", render::human(report, located, true)),
        ("json", machine::json(report, located).to_string()),
        ("sarif", machine::sarif(report, located).to_string()),
        ("github", machine::github(report, located)),
        ("junit", junit::junit(report, located)),
        ("debug", format!("{report:?} {located:?}")),
    ]
}

/// What `fix` prints of a spec.
fn mended(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mail.kdl"), text).unwrap();
    let mended = crate::fix::mend(&Wish::new(folder.path(), 1_795_478_400)).unwrap();
    format!("{}{:?}{:?}", crate::fix::changes::diff(&mended), mended.done, mended.files)
}

#[test]
fn no_output_holds_a_secret() {
    let account = |planted: &&str| format!("domain \"example.org\" {{ account \"ada\" {{ {planted}\n }}; }}\n");
    let texts = IN_ACCOUNT.iter().map(account).chain(AT_TOP.iter().map(|planted| format!("{planted}\n")));
    let mut wrong = Vec::new();
    for planted in texts {
        // On a line of its own, and beside a mistake that shows the line.
        for text in [format!("{SPEC}{planted}"), format!("{SPEC}foo \"{SECRET}\"; {planted}"), planted.clone()] {
            let compiled = compiled(&text.replace('§', SECRET));
            assert!(!compiled.report.diagnostics().is_empty(), "{text}");
            let fixed = [("fix", mended(&text.replace('§', SECRET)))];
            let leaks = outputs(&compiled).into_iter().chain(fixed).filter(|(_, out)| out.contains(SECRET));
            wrong.extend(leaks.map(|(format, out)| format!("{format}: {text}\n{out}")));
        }
    }
    assert!(wrong.is_empty(), "{} leaks\n{}", wrong.len(), wrong.join("\n"));
}

/// The private half of a recipient, wherever it is written.
#[test]
fn an_identity_is_refused_and_never_shown() {
    const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    for text in [
        "secrets { recipient \"§\"; }",
        "secrets { recipient \"age1x\" name=\"§\"; }",
        "dns \"main\" { cloudflare token=(age)\"§\"; }",
        "dns \"main\" { cloudflare token=(env)\"§\"; }",
        "dns \"main\" { cloudflare token=(file)\"§\"; }",
        "dns \"main\" { cloudflare token=(file)\"x\"; } // §",
        "domain \"example.org\" { dns { record \"@\" TXT \"key=§\"; }; }",
        "domain \"example.org\" { account \"§\"; }",
        "domain \"§\"",
        "/- domain \"§\"",
        "include \"§\"",
        "§",
        "§ §=§",
        "(§)x",
        "/* § */",
        "waybill \"§\"",
    ] {
        for identity in [IDENTITY.to_owned(), IDENTITY.to_lowercase()] {
            for text in [format!("{SPEC}{text}\n"), format!("{text}\n")] {
                let compiled = compiled(&text.replace('§', &identity));
                let found = compiled.report.diagnostics();
                assert!(found.iter().any(|found| found.code.id() == "W0120"), "{text}");
                assert!(compiled.artefacts.is_none(), "{text}");
                for (format, out) in outputs(&compiled) {
                    // Nor half of it.
                    assert!(!out.contains(&identity[..30]), "{format}: {text}\n{out}");
                }
            }
        }
    }
}

/// The same in files of people.
#[test]
fn no_output_holds_a_secret_of_a_file_of_people() {
    let spec = |name: &str| format!("{SPEC}domain \"example.org\" {{ accounts from=\"{name}\"; }}\n");
    let mut wrong = Vec::new();
    for (name, text) in [
        ("p.csv", "local,password\nada,§\n"),
        ("p.csv", "local,passwort\nada,§\n"),
        ("p.csv", "local,password\nada,\"§ x\"\n"),
        ("p.csv", "local,password\nada,(§)x\n"),
        ("p.csv", "local,password\nada,(hash)§ (scram)§\n"),
        ("p.csv", "local,password\nada,\"§\nx\",§\nal an,\"a\"\"§\"\n"),
        ("p.csv", "local,password,quota\na da,$6$§,5 x\n"),
        ("p.csv", "local;password\nada;§\n"),
        ("p.csv", "§,local\nx,a b\n"),
        ("p.csv", "ada,§\n"),
        ("p.jsonl", "{\"local\": \"a b\", \"password\": \"§\"}\n"),
        ("p.jsonl", "{\"local\": \"ada\", \"password\": [\"§\", {\"x\": \"§\"}]}\n"),
        ("p.jsonl", "{\"local\": \"ada\", \"pasword\": \"§\"}\n"),
        ("p.jsonl", "{\"local\": \"ada\", \"§\": \"x\"}\n"),
        ("p.jsonl", "\"§\"\n[\"§\"]\n{\"§\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mail.kdl"), spec(name)).unwrap();
        fs::write(folder.path().join(name), text.replace('§', SECRET)).unwrap();
        let compiled = compile(&Wish::new(folder.path(), 1_795_478_400));
        assert!(compiled.report.errors() > 0, "{text}");
        let leaks = outputs(&compiled).into_iter().filter(|(_, out)| out.contains(SECRET));
        wrong.extend(leaks.map(|(format, out)| format!("{format}: {text}\n{out}")));
    }
    assert!(wrong.is_empty(), "{} leaks\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_no_secret_stays_in_sight() {
    for (planted, want) in [
        ("acount \"ada\"", "acount …"),
        ("domain \"a.example\" { acount \"ada\"; }", "domain \"a.example\" { acount …; }"),
        ("domain \"a.example\" { account \"a\"; group \"g\" { member \"adda\"; }; }", "member \"adda\""),
        ("domain \"a.example\" { quota \"5 gigabytes\"; }", "quota \"5 gigabytes\""),
        ("host \"c.example\" { listen { smtp 0; imaps \"993\"; }; }", "smtp 0; imaps \"993\""),
        ("dns \"main\" { cloudflare tokn=(env)\"X\"; }", "cloudflare tokn=(env)…"),
        ("dns \"main\" { cloudflare token=(env)\"X\" \"y\"; }", "cloudflare token=(env)\"X\" …"),
        ("domain \"a.example\" color=\"red\"", "domain \"a.example\" color=…"),
        ("domain \"a.example\" { dmarc \"rejct\"; }", "dmarc \"rejct\""),
    ] {
        let compiled = compiled(&format!("{SPEC}{planted}\n"));
        let shown = render::human(&compiled.report, &compiled.located, false);
        assert!(shown.contains(want), "{want}\n{shown}");
    }
    let compiled = compiled(&format!("{SPEC}domain \"a.example\" {{\n    acount \"ada\"\n}}\n"));
    let shown = render::human(&compiled.report, &compiled.located, false);
    assert!(shown.contains("did you mean `account`?") && shown.contains("mail.kdl:5:5"), "{shown}");
}

#[test]
fn a_terminal_is_told_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let name = "x\u{1b}[31m.kdl";
    fs::write(folder.path().join("mail.kdl"), format!("{SPEC}include \"*.kdl\"\n")).unwrap();
    fs::write(folder.path().join(name), "domain \"a\u{1b}[2J.example\" { foo; }\ndomain \"b\"\ndomian \u{9b}\n")
        .unwrap();
    let compiled = compile(&Wish::new(folder.path(), 1_795_478_400));
    for (format, out) in outputs(&compiled).iter().filter(|(format, _)| *format != "colour") {
        assert!(!out.contains(|c: char| c.is_control() && c != '\n'), "{format}: {out:?}");
    }
    let shown = render::human(&compiled.report, &compiled.located, false);
    assert!(shown.contains("x\\u{1b}[31m.kdl:1:10"), "{shown}");
    let sarif = machine::sarif(&compiled.report, &compiled.located).to_string();
    assert!(sarif.contains("\"uri\":\"x%1B%5B31m.kdl\""), "{sarif}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_related_places_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let empty = compile(&Wish::new(folder.path(), 0));
    assert_eq!(machine::json(&empty.report, &empty.located)[0]["file"], "mail.kdl");
    assert!(machine::github(&empty.report, &empty.located).contains("file=mail.kdl,line=1,col=1"));
    assert!(outputs(&empty)[3].1.contains("\"uri\":\"mail.kdl\""));
    let twice = compiled(&format!("{SPEC}storage\nstorage\n"));
    let sarif = machine::sarif(&twice.report, &twice.located);
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let related = &results.iter().find(|one| one["ruleId"] == "W0115").unwrap()["relatedLocations"][0];
    assert_eq!(related["physicalLocation"]["region"]["startLine"], 4, "{sarif}");
    assert_eq!(related["message"]["text"], "first written here");
}
