//! The state of `waybill apply` where several pipelines reach it: an object, a branch, a row. One story for each.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::bind::empty_zone;
use harness::moto::Moto;
use harness::postgresql::{self, PostgreSql};
use harness::{program, run};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A clone of the spec, as a pipeline has one. Both reach the same zones.
struct Pipeline<'a> {
    folder: PathBuf,
    secret: &'a str,
}

impl Pipeline<'_> {
    fn ends(&self, code: i32, arguments: &[&str]) -> String {
        let mut command = Command::new(program("waybill"));
        command.args(&arguments[..1]).arg(&self.folder).args(&arguments[1..]).env("STATE_SECRET", self.secret);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(!said.contains(self.secret), "{said}");
        said
    }

    fn spec(&self, state: &str, zones: &Path, text: &str) {
        let spec = format!(
            "waybill 1\nhost \"mail.example.org\" {{ address \"192.0.2.25\"; }}\nstore \"s\" {{ rocksdb \"d\"; }}\n\
             dns \"main\" {{ zonefile \"{}\" {{ reload \"{}/../reload\"; }}; }}\nstate {{ {state}; }}\n\
             domain \"example.org\" {{ dns \"main\" {{ record \"x\" TXT \"{text}\"; }}; account \"postmaster\"; }}\n",
            zones.display(),
            zones.display()
        );
        fs::write(self.folder.join("mail.kdl"), spec).unwrap();
    }
}

/// A name server's reload that waits where there is a gate, so that a run can be caught while it writes.
struct Gate(PathBuf);

impl Gate {
    fn new(folder: &Path) -> Gate {
        let reload = folder.join("reload");
        fs::write(&reload, "#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit 1\n[ -p gate ] || exit 0\necho here > reached\ncat gate > passed\n").unwrap();
        fs::set_permissions(&reload, fs::Permissions::from_mode(0o755)).unwrap();
        Gate(folder.to_path_buf())
    }

    /// Closes it.
    fn close(&self) {
        run("mkfifo", &[self.0.join("gate").to_str().unwrap(), self.0.join("reached").to_str().unwrap()]);
    }

    /// Returns when a run stands before it.
    fn reached(&self) {
        assert_eq!(fs::read_to_string(self.0.join("reached")).unwrap(), "here\n");
    }

    /// Lets who stands there go, and everybody after.
    fn open(&self) {
        let mut gate = fs::OpenOptions::new().write(true).open(self.0.join("gate")).unwrap();
        ["gate", "reached"].iter().for_each(|name| fs::remove_file(self.0.join(name)).unwrap());
        gate.write_all(b"go\n").unwrap();
    }
}

/// A run is caught while it writes: another one waits for it, and takes over when it is no more.
fn one_writes_at_a_time(gate: &Gate, one: &Pipeline<'_>, other: &Pipeline<'_>, spec: impl Fn(&Pipeline<'_>, &str)) {
    let start = |text: &str| {
        spec(one, text);
        gate.close();
        let mut apply = Command::new(program("waybill"));
        apply.arg("apply").arg(&one.folder).arg("--yes").env("STATE_SECRET", one.secret);
        let child = apply.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        gate.reached();
        child
    };
    let first = start("held");
    spec(other, "meanwhile");
    let said = other.ends(1, &["apply", "--yes", "--lock-timeout", "1s"]);
    assert!(said.contains(&format!("is at work: process {} on ", first.id())), "{said}");
    other.ends(2, &["plan"]);
    gate.open();
    let end = first.wait_with_output().unwrap();
    assert!(end.status.success(), "{end:?}");
    other.ends(0, &["apply", "--yes", "--lock-timeout", "1s"]);
    let mut second = start("killed");
    second.kill().unwrap();
    second.wait().unwrap();
    gate.open();
    // On the same machine it is seen at once that nobody writes any more.
    other.ends(0, &["apply", "--yes", "--lock-timeout", "0s"]);
    assert_eq!(other.ends(0, &["plan"]), "no change\n");
}

/// Two pipelines with one state.
fn two_pipelines(state: &str, secret: &str, clone: impl Fn(&Path) -> PathBuf) {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let zones = folder.path().join("zones");
    fs::create_dir(&zones).unwrap();
    fs::write(zones.join("example.org.zone"), empty_zone("example.org")).unwrap();
    let gate = Gate::new(folder.path());
    let pipeline = |name: &str| Pipeline { folder: clone(&folder.path().join(name)), secret };
    let (one, other) = (pipeline("one"), pipeline("other"));
    one.spec(state, &zones, "one");
    one.ends(2, &["plan"]);
    one.ends(0, &["apply", "--yes"]);
    assert!(!one.folder.join("waybill.state.json").exists());
    // The other knows what was written, so that it is ours there too.
    other.spec(state, &zones, "other");
    let said = other.ends(2, &["plan"]);
    assert!(said.contains("~ TXT") && said.contains("\"other\", was \"one\""), "{said}");
    other.ends(0, &["apply", "--yes"]);
    one.spec(state, &zones, "other");
    assert_eq!(one.ends(0, &["plan"]), "no change\n");
    let built = folder.path().join("built");
    one.ends(0, &["build", "--out", built.to_str().unwrap()]);
    // A plan from a state that has moved on since is refused.
    one.spec(state, &zones, "third");
    let plan = one.folder.join("plan.json");
    one.ends(2, &["plan", "--out", plan.to_str().unwrap()]);
    other.spec(state, &zones, "fourth");
    other.ends(0, &["apply", "--yes"]);
    let output = Command::new(program("waybill"))
        .arg("apply")
        .arg(&plan)
        .arg("--yes")
        .env("STATE_SECRET", secret)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    // Two at once: one of them is first, the other waits for it or says so, and nothing is lost.
    for round in 0..3 {
        let start = |pipeline: &Pipeline<'_>, text: &str| {
            pipeline.spec(state, &zones, text);
            let mut apply = Command::new(program("waybill"));
            apply.arg("apply").arg(&pipeline.folder).arg("--yes").env("STATE_SECRET", secret);
            apply.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let both = [start(&one, &format!("one {round}")), start(&other, &format!("other {round}"))];
        let ends = both.map(|child| child.wait_with_output().unwrap());
        assert!(ends.iter().any(|end| end.status.success()), "{ends:?}");
        for end in ends.iter().filter(|end| !end.status.success()) {
            let said = String::from_utf8_lossy(&end.stderr);
            assert!(said.contains("was changed meanwhile"), "{said}");
        }
        one.spec(state, &zones, "settled");
        one.ends(0, &["apply", "--yes"]);
    }
    assert_eq!(one.ends(0, &["plan"]), "no change\n");
    one_writes_at_a_time(&gate, &one, &other, |pipeline, text| pipeline.spec(state, &zones, text));
}

fn folder(path: &Path) -> PathBuf {
    fs::create_dir(path).unwrap();
    path.to_path_buf()
}

#[test]
fn an_object_of_s3() {
    let moto = Moto::start();
    moto.run("client('s3').create_bucket(Bucket='mail')");
    let state = format!(
        "s3 \"mail\" endpoint=\"{}\" access-key=(env)\"STATE_SECRET\" secret-key=(env)\"STATE_SECRET\" prefix=\"dns/state.json\"",
        moto.url
    );
    two_pipelines(&state, "AKIAIOSFODNN7EXAMPLE", folder);
    let kept = moto.run("print(client('s3').get_object(Bucket='mail', Key='dns/state.json')['Body'].read().decode())");
    assert!(kept.contains("meanwhile"), "{kept}");
}

#[test]
fn a_branch_of_git() {
    let home = tempfile::tempdir().unwrap();
    let origin = home.path().join("origin.git");
    run("git", &["init", "-q", "--bare", origin.to_str().unwrap()]);
    // A clone of a repository that nothing was pushed to yet, and no branch that anybody protects.
    two_pipelines("git \"waybill-state\"", "no-secret-is-needed", |path| {
        run("git", &["clone", "-q", origin.to_str().unwrap(), path.to_str().unwrap()]);
        path.to_path_buf()
    });
    let log = run("git", &["-C", origin.to_str().unwrap(), "log", "--format=%s", "waybill-state"]);
    assert!(log.lines().last() == Some("State 1") && log.lines().count() > 6, "{log}");
    let branches = run("git", &["-C", origin.to_str().unwrap(), "branch", "--format=%(refname:short)"]);
    assert_eq!(branches.trim(), "waybill-state");
}

#[test]
fn a_row_of_postgresql() {
    let server = PostgreSql::start();
    let state = format!("postgresql \"{}\" password=(env)\"STATE_SECRET\" prefix=\"dns_\"", server.url());
    two_pipelines(&state, postgresql::PASSWORD, folder);
    assert_eq!(server.sql("SELECT count(*) FROM dns_state").trim(), "1");
    // A password that is wrong is told, and not which.
    let folder = tempfile::tempdir().unwrap();
    let wrong = Pipeline { folder: folder.path().to_path_buf(), secret: "another-password-than-that" };
    wrong.spec(&state, folder.path(), "x");
    let said = wrong.ends(1, &["plan"]);
    assert!(said.contains("password authentication failed"), "{said}");
}
