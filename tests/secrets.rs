//! Encrypted secrets from outside: made, changed, checked and served by the two programs, exchanged with Debian's `age`,
//! and shown by none of them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use age::secrecy::ExposeSecret;
use harness::client::Client;
use harness::{Ports, Server, program, run};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A first spec on free ports, whose keys are to be encrypted, and people with identities.
struct Site {
    folder: TempDir,
    ports: Ports,
}

/// What must never be seen.
struct Person {
    file: PathBuf,
    identity: String,
    recipient: String,
}

impl Site {
    fn new() -> Site {
        let site = Site { folder: tempfile::tempdir().unwrap(), ports: Ports::free() };
        let spec = site.spec();
        let made = ["init", &spec, "--domain", "example.org", "--host", "mail.example.org", "--high-ports"];
        assert!(harness::waybill(&made).status.success());
        let ports = site.ports;
        let listeners = [
            ("smtp 2525", ports.smtp),
            ("submission 2587", ports.submission),
            ("submissions 2465", ports.submissions),
            ("imap 2143", ports.imap),
            ("imaps 2993", ports.imaps),
            ("https 2443", ports.https),
            ("http 2080", ports.http),
        ];
        let mut text = site.text();
        for (from, to) in listeners {
            assert!(text.contains(from), "{text}");
            text = text.replace(from, &format!("{} {to}", from.split(' ').next().unwrap()));
        }
        site.put("mail.kdl", &text);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("mail").join(name)
    }
    fn spec(&self) -> String {
        self.folder.path().join("mail").display().to_string()
    }
    fn text(&self) -> String {
        fs::read_to_string(self.path("mail.kdl")).unwrap()
    }
    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn person(&self, name: &str) -> Person {
        let identity = age::x25519::Identity::generate();
        let file = self.folder.path().join(name);
        let text = identity.to_string().expose_secret().to_owned();
        fs::write(&file, format!("# {name}\n{text}\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        Person { file, identity: text, recipient: identity.to_public().to_string() }
    }

    fn recipients(&self, people: &[&Person]) {
        let text = self.text();
        let rest = text.split_once("secrets {").map_or(text.as_str(), |(before, _)| before);
        let list: String = people.iter().map(|one| format!("    recipient \"{}\"\n", one.recipient)).collect();
        self.put("mail.kdl", &format!("{}\n\nsecrets {{\n{list}}}\n", rest.trim_end()));
    }

    /// Encrypts the keys of the first spec: DKIM's into a value of the spec and a file, TLS's into a file.
    fn seal(&self) -> Vec<String> {
        let mut text = self.text();
        let mut plain = Vec::new();
        let mut names: Vec<_> =
            fs::read_dir(self.path("secrets")).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert_eq!(names.len(), 3);
        for (at, path) in names.iter().enumerate() {
            let pem = fs::read_to_string(path).unwrap();
            plain.extend(pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
            let name = path.file_name().unwrap().to_str().unwrap();
            let new = if at == 0 {
                let printed = self.waybill(&["secrets", "encrypt", &self.spec(), path.to_str().unwrap()], None);
                assert!(printed.status.success(), "{}", shown(&printed));
                let armour = String::from_utf8(printed.stdout).unwrap();
                let lines: String = armour.lines().map(|line| format!("            {line}\n")).collect();
                format!("(age)\"\"\"\n{lines}            \"\"\"")
            } else {
                let out = path.with_extension("age");
                let made = ["secrets", "encrypt", &self.spec(), path.to_str().unwrap(), "--out", out.to_str().unwrap()];
                let made = self.waybill(&made, None);
                assert!(shown(&made).contains("in the spec: (age)\"secrets/"), "{}", shown(&made));
                format!("(age)\"secrets/{}\"", name.replace(".pem", ".age"))
            };
            text = text.replace(&format!("(file)\"secrets/{name}\""), &new);
            fs::remove_file(path).unwrap();
        }
        assert!(!text.contains("(file)\"secrets"), "{text}");
        self.put("mail.kdl", &text);
        plain
    }

    fn waybill(&self, arguments: &[&str], identity: Option<&Person>) -> Output {
        let mut command = Command::new(program("waybill"));
        command.args(arguments).env_remove("WAYBILL_IDENTITY").stdin(Stdio::null());
        if let Some(one) = identity {
            command.arg("--identity").arg(&one.file);
        }
        command.output().unwrap()
    }

    fn secrets(&self, what: &str, identity: Option<&Person>) -> Output {
        self.waybill(&["secrets", what, &self.spec()], identity)
    }

    fn serve(&self, identity: &Person) -> Server {
        let mut command = Command::new(program("waybilld"));
        command.args(["serve", "--spec", &self.spec()]).env("WAYBILL_IDENTITY", &identity.file);
        Server::start(command, self.ports)
    }

    fn age(&self, arguments: &[&str], input: &str) -> Vec<u8> {
        let mut child = Command::new("age")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/run installs age");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    }
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn fine(output: &Output) -> String {
    assert!(output.status.success(), "{}", shown(output));
    shown(output)
}

fn every_file(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { every_file(&path, found) } else { found.push(path) }
    }
}

#[test]
fn encrypted_keys_are_served_and_nothing_shows_them() {
    let site = Site::new();
    let (ops, ada, eve) = (site.person("ops"), site.person("ada"), site.person("eve"));
    site.recipients(&[&ops, &ada]);
    let mut planted = site.seal();
    planted.extend([&ops, &ada, &eve].map(|one| one.identity.clone()));
    assert!(planted.len() > 5);
    let spec = site.spec();
    let out = site.folder.path().join("out");
    let built = ["build", &spec, "--out", out.to_str().unwrap()];
    let mut outputs = Vec::new();
    for format in ["human", "json", "sarif", "github", "junit"] {
        outputs.push(site.waybill(&["check", &spec, "--format", format], None));
        for one in [&ops, &eve] {
            outputs.push(site.waybill(&["check", &spec, "--secrets", "--format", format], Some(one)));
            outputs.push(site.waybill(&["secrets", "check", &spec, "--format", format], Some(one)));
        }
    }
    outputs.extend([
        site.waybill(&["check", &spec, "--secrets"], None),
        site.waybill(&built, None),
        site.waybill(&["fmt", "--check", &spec], None),
        site.waybill(&["explain", &spec, "mail._domainkey.example.org", "TXT"], None),
        site.waybill(&["secrets", "rekey", &spec], Some(&eve)),
        site.waybill(&["secrets", "check", &spec, "--identity", &ada.identity], None),
        site.waybill(&["secrets", "check", &spec, "--identity", &spec], None),
        site.waybill(&["secrets", "encrypt", &spec, &ada.identity], None),
        site.waybill(&["secrets", "--help"], None),
    ]);
    let told: Vec<String> = outputs.iter().map(shown).collect();
    assert!(told.iter().any(|text| text.contains("3 encrypted secrets opened")), "{told:#?}");
    assert!(told.iter().any(|text| text.contains("is not encrypted to any of the identities given")));
    assert!(told.iter().any(|text| text.contains("3 encrypted secrets were not opened")));
    assert!(told.iter().any(|text| text.contains("an identity was given where the name of its file belongs")));
    let runtime = fs::read_to_string(out.join("runtime.json")).unwrap();
    assert!(runtime.contains("BEGIN AGE ENCRYPTED FILE") && runtime.contains(".age\""));

    let server = site.serve(&ops);
    let mut client = Client::connect_tls(site.ports.at(site.ports.imaps)).unwrap();
    assert!(client.line().unwrap().starts_with("* OK"));
    // The certificate is of the key that is encrypted.
    let address = format!("127.0.0.1:{}", site.ports.imaps);
    let served = run("openssl", &["s_client", "-connect", &address, "-servername", "mail.example.org"]);
    let key = fs::read_to_string(site.path("mail.kdl")).unwrap();
    let public = key.lines().find(|line| line.contains(" ec ")).unwrap().split("public=\"").nth(1).unwrap();
    let public = public.split('"').next().unwrap().to_owned();
    let pem = served.split("-----BEGIN CERTIFICATE-----").nth(1).unwrap().split("-----END").next().unwrap();
    let certificate = site.folder.path().join("served.pem");
    fs::write(&certificate, format!("-----BEGIN CERTIFICATE-----{pem}-----END CERTIFICATE-----\n")).unwrap();
    let served = run("openssl", &["x509", "-in", certificate.to_str().unwrap(), "-noout", "-pubkey"]);
    let served: String = served.lines().filter(|line| !line.starts_with("-----")).collect();
    assert_eq!(served, public);

    let lines = |name: &str| fs::read(format!("/proc/{}/{name}", server.id())).unwrap();
    let mut seen: Vec<(String, String)> = told.into_iter().map(|text| ("an output".to_owned(), text)).collect();
    seen.push(("the log".into(), server.log()));
    for name in ["cmdline", "environ"] {
        seen.push((name.into(), String::from_utf8_lossy(&lines(name)).into_owned()));
    }
    seen.push(("ps".into(), run("ps", &["axww", "-o", "args"])));
    let (status, ready) = server.get("/ready");
    assert!(status.contains("200"), "{status}");
    seen.push(("/ready".into(), ready));
    let mut files = Vec::new();
    every_file(&site.folder.path().join("mail"), &mut files);
    every_file(&out, &mut files);
    for file in files {
        seen.push((file.display().to_string(), String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned()));
    }
    for (what, text) in seen {
        for secret in &planted {
            assert!(!text.contains(secret.as_str()), "{what} holds a secret");
        }
    }
    assert!(server.stop());
}

#[test]
fn a_server_that_cannot_open_a_secret_says_what_to_do() {
    let site = Site::new();
    let (ops, eve) = (site.person("ops"), site.person("eve"));
    site.recipients(&[&ops]);
    site.seal();
    let start = |arguments: &[&str]| {
        let mut command = Command::new(program("waybilld"));
        command.args(["serve", "--spec", &site.spec()]).args(arguments).env_remove("WAYBILL_IDENTITY");
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        shown(&output)
    };
    let none = start(&[]);
    assert!(
        none.contains("TLS: (age)\"secrets/tls-") && none.contains("--identity FILE or in WAYBILL_IDENTITY"),
        "{none}"
    );
    let other = start(&["--identity", eve.file.to_str().unwrap()]);
    assert!(other.contains("is not encrypted to any of the identities given"), "{other}");
    assert!(start(&["--identity", "nowhere"]).contains("the identity file nowhere: No such file"));
    let given = start(&["--identity", &eve.identity]);
    assert!(given.contains("an identity was given") && !given.contains(&eve.identity), "{given}");
}

#[test]
fn rekey_changes_the_secrets_and_nothing_else() {
    let site = Site::new();
    let (ops, ada) = (site.person("ops"), site.person("ada"));
    site.recipients(&[&ops]);
    site.seal();
    site.recipients(&[&ada]);
    // The count is the same, so only opening shows it.
    assert!(!site.secrets("check", Some(&ada)).status.success());
    site.recipients(&[&ops, &ada]);
    let warned = fine(&site.secrets("check", Some(&ops)));
    assert_eq!(warned.matches("is encrypted to 1 recipient, and the spec has 2").count(), 3, "{warned}");
    let before = site.text();
    assert!(!site.secrets("rekey", Some(&ada)).status.success());
    assert!(!site.secrets("rekey", None).status.success());
    assert_eq!(site.text(), before);
    let said = fine(&site.secrets("rekey", Some(&ops)));
    assert!(said.contains("2 files and 1 value encrypted to 2 recipients"), "{said}");
    let after = site.text();
    let outside = |text: &str| {
        let (head, rest) = text.split_once("-----BEGIN AGE").unwrap();
        format!("{head}{}", rest.split_once("-----END AGE").unwrap().1)
    };
    assert!(after != before && outside(&after) == outside(&before), "{after}");
    for one in [&ops, &ada] {
        let said = fine(&site.secrets("check", Some(one)));
        assert!(said.contains("3 encrypted secrets opened; the spec has 2 recipients") && !said.contains("W0162"));
        fine(&site.waybill(&["check", &site.spec(), "--secrets"], Some(one)));
    }
    let left: Vec<_> = fs::read_dir(site.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".waybill-")), "{left:?}");
}

#[test]
fn debians_age_and_ours_open_each_others() {
    let site = Site::new();
    let ops = site.person("ops");
    let keys = site.folder.path().join("ssh");
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", keys.to_str().unwrap()]);
    let public = fs::read_to_string(keys.with_extension("pub")).unwrap();
    let ssh = Person { file: keys, identity: String::new(), recipient: public.trim().to_owned() };
    site.recipients(&[&ops, &ssh]);
    let plain = site.folder.path().join("plain");
    fs::write(&plain, "hunter2\n").unwrap();
    let sealed = site.path("ours.age");
    let made = ["secrets", "encrypt", &site.spec(), plain.to_str().unwrap(), "--out", sealed.to_str().unwrap()];
    fine(&site.waybill(&made, None));
    for one in [&ops, &ssh] {
        assert_eq!(site.age(&["-d", "-i", one.file.to_str().unwrap(), sealed.to_str().unwrap()], ""), b"hunter2\n");
    }
    // Armoured and not.
    for (name, armour) in [("theirs.age", &["-a"][..]), ("binary.age", &[])] {
        let mut arguments = armour.to_vec();
        arguments.extend(["-r", &ops.recipient, "-r", &ssh.recipient]);
        fs::write(site.path(name), site.age(&arguments, "hunter2")).unwrap();
        site.put("more.kdl", &format!("dns \"main\" {{ cloudflare token=(age)\"{name}\"; }}\n"));
        if !site.text().contains("more.kdl") {
            site.put("mail.kdl", &site.text().replace("waybill 1\n", "waybill 1\ninclude \"more.kdl\"\n"));
        }
        for one in [&ops, &ssh] {
            let said = fine(&site.secrets("check", Some(one)));
            assert!(said.contains("1 encrypted secret opened; the spec has 2 recipients"), "{said}");
            assert!(!said.contains("W016"), "{said}");
        }
    }
}

/// A script as an editor; it gets the file's name.
fn editor(site: &Site, script: &str) -> PathBuf {
    let path = site.folder.path().join("editor");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    path
}

fn edit(site: &Site, one: &Person, editor: &Path) -> Command {
    let mut command = Command::new(program("waybill"));
    command.args(["secrets", "edit", &site.spec(), "secrets/token.age", "--identity"]).arg(&one.file);
    command.env("EDITOR", editor).env_remove("VISUAL").env("XDG_RUNTIME_DIR", site.folder.path());
    command
}

#[test]
fn an_edited_secret_leaves_nothing_plain_behind() {
    let site = Site::new();
    let ops = site.person("ops");
    site.recipients(&[&ops]);
    let places = || {
        let names = fs::read_dir(site.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("waybill-")).count()
    };
    let plain =
        || site.age(&["-d", "-i", ops.file.to_str().unwrap(), site.path("secrets/token.age").to_str().unwrap()], "");
    let modes = "[ \"$(stat -c %a \"$1\")\" = 600 ] && [ \"$(stat -c %a \"$(dirname \"$1\")\")\" = 700 ] || exit 3";
    let made =
        edit(&site, &ops, &editor(&site, &format!("{modes}\nprintf hunter2 > \"$1\"; echo x > \"$1~\""))).output();
    fine(&made.unwrap());
    assert_eq!(plain(), b"hunter2");
    let sealed = fs::read(site.path("secrets/token.age")).unwrap();
    for (script, want) in [("true", true), ("printf hunter3 > \"$1\"; exit 1", false), (": > \"$1\"", false)] {
        let output = edit(&site, &ops, &editor(&site, script)).output().unwrap();
        assert_eq!(output.status.success(), want, "{script}: {}", shown(&output));
        assert_eq!(fs::read(site.path("secrets/token.age")).unwrap(), sealed, "{script}");
        assert!(!shown(&output).contains("hunter"));
    }
    fine(&edit(&site, &ops, &editor(&site, "sed -i s/2/4/ \"$1\"")).output().unwrap());
    assert_eq!(plain(), b"hunter4");
    assert_eq!(places(), 0);
    // Told to end while the editor is open: the editor ends, and the plain text is gone.
    for signal in ["-TERM", "-HUP"] {
        let waiting = editor(&site, "echo \"$1\"; exec cat /proc/self/fd/0 > /dev/null");
        let mut command = edit(&site, &ops, &waiting);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut name = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut name).unwrap();
        assert_eq!(fs::read_to_string(name.trim()).unwrap(), "hunter4");
        // Its end would end the editor too.
        let held = child.stdin.take();
        run("kill", &[signal, &child.id().to_string()]);
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success() && shown(&output).contains("ended by SIG"), "{}", shown(&output));
        drop(held);
        assert!(!Path::new(name.trim()).exists());
        assert_eq!(places(), 0);
        assert_eq!(plain(), b"hunter4");
    }
}

#[test]
fn what_is_not_encrypted_is_neither_overwritten_nor_taken() {
    let site = Site::new();
    let ops = site.person("ops");
    let encrypt = |out: &str| {
        let arguments = ["secrets", "encrypt", &site.spec(), ops.file.to_str().unwrap(), "--out", out];
        site.waybill(&arguments, None)
    };
    let key = site.path("key.age").display().to_string();
    assert!(shown(&encrypt(&key)).contains("the spec names no recipient"));
    site.recipients(&[&ops]);
    fs::write(&key, "the only copy of a key").unwrap();
    assert!(shown(&encrypt(&key)).contains("is there and not encrypted"));
    assert_eq!(fs::read(&key).unwrap(), b"the only copy of a key");
    assert!(shown(&encrypt(&site.path("key.pem").display().to_string())).contains("ends in .age"));
    // A passphrase: an attacker's choice of work.
    let recipient = age::scrypt::Recipient::new(age::secrecy::SecretString::from("swordfish".to_owned()));
    fs::write(&key, age::encrypt_and_armor(&recipient, b"x").unwrap()).unwrap();
    site.put("mail.kdl", &format!("{}\ndns \"main\" {{ cloudflare token=(age)\"key.age\"; }}\n", site.text()));
    let said = shown(&site.secrets("check", Some(&ops)));
    assert!(said.contains("W0160") && said.contains("with a passphrase"), "{said}");
    // A secret of a megabyte, and an identity that everybody can read.
    fs::write(site.path("large"), vec![b'x'; 1 << 20]).unwrap();
    let large = site.path("large").display().to_string();
    assert!(shown(&site.waybill(&["secrets", "encrypt", &site.spec(), &large], None)).contains("at most 1048576"));
    fs::set_permissions(&ops.file, Permissions::from_mode(0o644)).unwrap();
    assert!(shown(&site.secrets("check", Some(&ops))).contains("everybody on this machine can read"));
}

/// Written in plain by mistake, whole or broken, nothing repeats it.
#[test]
fn no_command_repeats_a_secret_that_stands_in_a_spec() {
    let site = Site::new();
    let ops = site.person("ops");
    let whole = site.text();
    let secret = "hunter2-planted";
    let planted = [
        format!("dns \"main\" {{ cloudflare token=(age)\"{secret}\"; }}"),
        format!("dns \"main\" {{ cloudflare token=\"{secret}\" {{"),
        format!("domain \"x.example\" {{ account \"a\" {{ password \"{secret}"),
        format!("secrets {{ recipient \"{}\"; }} // {secret}", ops.identity),
        format!("// {}\nfoo [\n", ops.identity),
    ];
    let (spec, out) = (site.spec(), site.folder.path().join("out"));
    let out = out.to_str().unwrap();
    for planted in planted {
        site.put("mail.kdl", &format!("{whole}{planted}\n"));
        let mut commands: Vec<Vec<&str>> = vec![
            vec!["build", &spec, "--out", out],
            vec!["fmt", "--check", &spec],
            vec!["explain", &spec, "example.org", "TXT"],
            vec!["secrets", "check", &spec],
            vec!["secrets", "rekey", &spec],
            vec!["secrets", "encrypt", &spec, "/dev/null"],
        ];
        for format in ["human", "json", "sarif", "github", "junit"] {
            commands.push(vec!["check", &spec, "--format", format]);
            commands.push(vec!["check", &spec, "--secrets", "--format", format]);
        }
        for arguments in commands {
            let output = site.waybill(&arguments, None);
            let text = shown(&output);
            assert!(!text.contains(secret) && !text.contains(&ops.identity[..40]), "{arguments:?}: {planted}");
            assert!(!output.status.success() || arguments[0] == "fmt", "{arguments:?}: {planted}\n{text}");
        }
    }
    assert!(!Path::new(out).exists());
}
