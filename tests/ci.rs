//! The workflows of `examples/ci`, run step by step: in a repository made from `examples/company`, with a clean
//! environment, for a push, for pull requests that are fine, and for such as would break mail.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::cloudflare::{self, Cloudflare};
use harness::{program, root, run};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value as Json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn json(yaml: &Yaml<'_>) -> Json {
    match yaml {
        Yaml::Mapping(map) => {
            let pairs = map.iter().map(|(key, value)| (json(key).as_str().unwrap().to_owned(), json(value)));
            Json::Object(pairs.collect())
        }
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Value(Scalar::String(text)) => Json::String(text.to_string()),
        Yaml::Value(Scalar::Boolean(truth)) => Json::Bool(*truth),
        Yaml::Value(Scalar::Integer(number)) => Json::from(*number),
        Yaml::Value(Scalar::Null) => Json::Null,
        other => panic!("what is {other:?}?"),
    }
}

fn workflow(path: &str) -> Json {
    let text = fs::read_to_string(root().join("examples/ci").join(path)).unwrap();
    let documents = Yaml::load_from_str(&text).unwrap();
    let [document] = documents.as_slice() else { panic!("{path} holds one document") };
    json(document)
}

/// What a run is about.
struct Event {
    pull_request: bool,
    fork: bool,
}

/// A repository with the example as its folder `mail`, and a change committed on a branch.
struct Repository {
    folder: TempDir,
    tools: TempDir,
    base: String,
}

impl Repository {
    fn new(change: impl Fn(&Path)) -> Repository {
        let (folder, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = folder.path();
        copy(&root().join("examples/company"), &path.join("mail"));
        fs::remove_dir_all(path.join("mail/built")).unwrap();
        let repository = Repository { folder, tools, base: String::new() };
        repository.git(&["init", "-q"]);
        repository.git(&["add", "-A"]);
        repository.git(&["commit", "-q", "-m", "first"]);
        let base = repository.git(&["rev-parse", "HEAD"]).trim().to_owned();
        let origin = repository.tools.path().join("origin.git");
        run("git", &["init", "-q", "--bare", origin.to_str().unwrap()]);
        repository.git(&["remote", "add", "origin", origin.to_str().unwrap()]);
        change(&repository.folder.path().join("mail"));
        repository.git(&["commit", "-q", "-a", "--allow-empty", "-m", "second"]);
        // The forge's own programs, which only say what they were asked.
        for name in ["gh", "curl"] {
            let tool = repository.tools.path().join(name);
            fs::write(&tool, format!("#!/bin/sh\necho {name} \"$@\" >> \"$TOOL_LOG\"\n")).unwrap();
            fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let jq = "#!/bin/sh\ncat >/dev/null; echo '{}'\n";
        fs::write(repository.tools.path().join("jq"), jq).unwrap();
        fs::set_permissions(repository.tools.path().join("jq"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(program("waybill"), repository.tools.path().join("waybill")).unwrap();
        Repository { base, ..repository }
    }

    fn git(&self, arguments: &[&str]) -> String {
        let folder = self.folder.path().to_str().unwrap();
        let own = ["-C", folder, "-c", "user.name=t", "-c", "user.email=t@example.org"];
        run("git", &[&own, arguments].concat())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Runs a script as a runner does, with this environment and nothing else; what it printed, and whether it went well.
    fn script(&self, shell: &[&str], text: &str, environment: &Map<String, Json>) -> (bool, String) {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.tools.path().display());
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(text).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_clear().env("PATH", path).env("HOME", self.tools.path());
        command.env("TOOL_LOG", self.tools.path().join("log"));
        command.env("GITHUB_STEP_SUMMARY", self.tools.path().join("summary"));
        for (name, value) in environment {
            command.env(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A step's condition, as far as these workflows go.
fn holds(condition: &str, event: &Event, failed: bool) -> bool {
    let inner =
        condition.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).unwrap_or(condition).trim();
    let always = inner.contains("always()");
    let own = !event.fork;
    let words = inner
        .replace("github.event.pull_request.head.repo.full_name == github.repository", &own.to_string())
        .replace("github.event_name == 'pull_request'", &event.pull_request.to_string())
        .replace("github.event_name == 'push'", &(!event.pull_request).to_string())
        .replace("always()", "true")
        .replace(['(', ')'], "");
    // `&&` binds tighter than `||`, but for the one in brackets, whose first word is `always()`.
    let (first, rest) = words.split_once("&&").unwrap_or((&words, "true"));
    let truth = |word: &str| match word.trim() {
        "true" => true,
        "false" => false,
        other => panic!("what is `{other}` in `{condition}`?"),
    };
    let rest = if rest.contains("||") { rest.split("||").any(truth) } else { rest.split("&&").all(truth) };
    (always || !failed) && truth(first) && rest
}

/// Expressions in the environment's values.
fn filled(text: &str, repository: &Repository) -> String {
    let mut out = text.to_owned();
    for (expression, value) in [
        ("vars.WAYBILL_SOURCE", ""),
        ("vars.WAYBILL_VERSION", ""),
        ("github.event.pull_request.base.sha", repository.base.as_str()),
        ("github.event.pull_request.number", "7"),
        ("github.token", "token"),
        ("secrets.DNS_TOKEN", cloudflare::TOKEN),
        ("github.repository", "example/mail"),
        ("github.api_url", "http://127.0.0.1:9/api"),
    ] {
        out = out.replace(&format!("${{{{ {expression} }}}}"), value);
    }
    assert!(!out.contains("${{"), "what is `{out}`?");
    out
}

fn environment(parts: &[&Json], repository: &Repository) -> Map<String, Json> {
    let all = parts.iter().filter_map(|part| part.as_object()).flatten();
    all.map(|(name, value)| (name.clone(), filled(value.as_str().unwrap_or_default(), repository).into())).collect()
}

/// Runs a job's steps; the names of those that failed, and all that was printed.
fn job(workflow: &Json, repository: &Repository, event: &Event) -> (Vec<String>, String) {
    steps(&workflow["jobs"]["check"], workflow, repository, event)
}

fn steps(job: &Json, workflow: &Json, repository: &Repository, event: &Event) -> (Vec<String>, String) {
    let (mut failed, mut text) = (Vec::new(), String::new());
    for step in job["steps"].as_array().unwrap() {
        let condition = step["if"].as_str().unwrap_or("true");
        let Some(script) = step["run"].as_str().filter(|_| holds(condition, event, !failed.is_empty())) else {
            continue;
        };
        // What a pull request says is never pasted into a script.
        assert!(!script.contains("${{"), "{script}");
        let environment = environment(&[&workflow["env"], &step["env"]], repository);
        let (well, said) = repository.script(&["bash", "-e", "-c"], script, &environment);
        text += &said;
        if !well {
            failed.push(step["name"].as_str().unwrap().to_owned());
        }
    }
    (failed, text)
}

fn edit(folder: &Path, name: &str, from: &str, to: &str) {
    let text = fs::read_to_string(folder.join(name)).unwrap();
    assert!(text.contains(from), "{name} lacks {from}");
    fs::write(folder.join(name), text.replacen(from, to, 1)).unwrap();
}

const PEOPLE: &str = "domains/example.com.kdl";
const ACTIONS: [&str; 2] = ["github/.github/workflows/mail.yml", "forgejo/.forgejo/workflows/mail.yml"];
const OWN: Event = Event { pull_request: true, fork: false };

#[test]
fn a_pull_request_that_is_fine_is_green_and_told() {
    for path in ACTIONS {
        let workflow = workflow(path);
        let change =
            |mail: &Path| edit(mail, PEOPLE, "alias \"security\"", "alias \"info\" \"joan\"\n    alias \"security\"");
        for fork in [false, true] {
            let repository = Repository::new(change);
            let (failed, text) = job(&workflow, &repository, &Event { pull_request: true, fork });
            assert!(failed.is_empty(), "{path}: {failed:?}\n{text}");
            assert!(repository.read("diff.md").contains("address `info@example.com` is given to `joan@example.com`"));
            let asked = fs::read_to_string(repository.tools.path().join("log")).unwrap_or_default();
            assert_eq!(asked.is_empty(), fork, "{path}: {asked}");
            assert!(fork || asked.contains("pr comment 7 --body-file diff.md") || asked.contains("issues/7/comments"));
            assert!(repository.read("out/runtime.json").contains("info@example.com"));
            assert!(repository.read("diff.md").contains("example.com") && repository.read("plan.md").contains("MX"));
        }
    }
}

#[test]
fn a_pull_request_that_would_break_mail_is_red() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("Check", |mail| edit(mail, PEOPLE, "alias \"security\" \"grace\"", "alias \"security\" \"graze\"")),
        ("Layout", |mail| edit(mail, PEOPLE, "    alias \"security\"", "  alias \"security\"")),
        ("What changes", |mail| {
            edit(
                mail,
                PEOPLE,
                "public=\"w5xaVZ6ea/p/7Yb9livyqm9O1VaxMAUicbQUZUNtt9g=\"",
                "public=\"KknUq+oLWzDxp/xL9AZsmFwk5WMltz1UcBI5HTrlyBY=\"",
            );
        }),
        ("Check", |mail| edit(mail, "mail.kdl", "waybill 1", "waybill 1\ninclude \"../../secrets.kdl\"")),
    ];
    for path in ACTIONS {
        let workflow = workflow(path);
        for (step, change) in &changes {
            let repository = Repository::new(change);
            let (failed, text) = job(&workflow, &repository, &OWN);
            assert_eq!(failed.first().map(String::as_str), Some(*step), "{path}: {text}");
            assert!(repository.read("out/runtime.json").is_empty(), "{path} built what is wrong");
        }
    }
}

#[test]
fn findings_stand_at_the_repositorys_files() {
    let workflow = workflow(ACTIONS[0]);
    let repository =
        Repository::new(|mail| edit(mail, PEOPLE, "alias \"security\" \"grace\"", "alias \"security\" \"graze\""));
    let (_, text) = job(&workflow, &repository, &OWN);
    assert!(text.contains("::error file=mail/domains/example.com.kdl,line=22,"), "{text}");
    let sarif: Json = serde_json::from_str(&repository.read("waybill.sarif")).unwrap();
    let location = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"];
    assert!(location["uri"].as_str().unwrap().starts_with("mail/"), "{location}");
}

#[test]
fn a_push_builds() {
    for path in ACTIONS {
        let repository = Repository::new(|_| ());
        let (failed, text) = job(&workflow(path), &repository, &Event { pull_request: false, fork: false });
        assert!(failed.is_empty(), "{path}: {failed:?}\n{text}");
        assert!(!repository.read("out/zones/example.com.zone").is_empty() && repository.read("diff.md").is_empty());
    }
}

#[test]
fn gitlabs_jobs_run() {
    let pipeline = workflow("gitlab/.gitlab-ci.yml");
    let broken = |mail: &Path| edit(mail, PEOPLE, "alias \"security\" \"grace\"", "alias \"security\" \"graze\"");
    for (change, red) in [(&(|_: &Path| ()) as &dyn Fn(&Path), false), (&broken, true)] {
        let repository = Repository::new(change);
        for name in ["check", "diff", "build"] {
            let lines = |list: &Json| {
                list.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            let script = [lines(&pipeline["default"]["before_script"]), lines(&pipeline[name]["script"])].concat();
            let mut environment = pipeline["variables"].as_object().unwrap().clone();
            environment.insert("CI_MERGE_REQUEST_DIFF_BASE_SHA".into(), repository.base.clone().into());
            let (well, text) = repository.script(&["sh", "-e", "-c"], &script.join("\n"), &environment);
            assert_eq!(well, !red, "{name}: {text}");
        }
        assert_eq!(repository.read("waybill.xml").contains("<failure"), red);
    }
}

#[test]
fn a_forks_run_may_only_read() {
    let github = workflow(ACTIONS[0]);
    assert_eq!(github["permissions"], serde_json::json!({"contents": "read"}));
    let triggers: Vec<&String> = github["on"].as_object().unwrap().keys().collect();
    assert!(!triggers.iter().any(|name| *name == "pull_request_target"), "it would hand a fork the secrets");
    let steps = github["jobs"]["check"]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["with"]["persist-credentials"] == false));
}

#[test]
fn the_default_branch_applies_and_it_alone_has_the_token() {
    let pipelines = [(Some(ACTIONS[0]), "apply"), (Some(ACTIONS[1]), "apply"), (None, "apply")];
    for (path, name) in pipelines {
        let server = Cloudflare::start(&["example.com", "shop.example"]);
        let repository = Repository::new(|_| ());
        let mut environment = Map::new();
        environment.insert("CLOUDFLARE_BASE_URL".into(), server.url.clone().into());
        // Nobody waits for name servers of example.com here.
        let here = |script: &str| {
            assert!(
                script.contains("apply \"$SPEC\" --yes --wait --deadline 45m") || !script.contains("waybill apply")
            );
            script.replace(" --wait --deadline 45m", "")
        };
        let run = |script: &str, environment: &Map<String, Json>| {
            let (well, said) = repository.script(&["bash", "-e", "-c"], &here(script), environment);
            assert!(well, "{path:?}: {said}");
            assert!(!said.contains(cloudflare::TOKEN), "{said}");
            said
        };
        let said = match path {
            Some(path) => {
                let mut workflow = workflow(path);
                let job = workflow["jobs"][name].take();
                assert!(job["if"] == "${{ github.event_name == 'push' }}" && job["needs"] == "check");
                // Nothing but that job names the token.
                assert!(!workflow.to_string().contains("secrets."), "{path}");
                let mut said = String::new();
                for step in job["steps"].as_array().unwrap() {
                    let Some(script) = step["run"].as_str() else { continue };
                    let mut all = environment.clone();
                    all.extend(self::environment(&[&workflow["env"], &step["env"]], &repository));
                    said += &run(script, &all);
                }
                said
            }
            None => {
                let pipeline = workflow("gitlab/.gitlab-ci.yml");
                let lines = pipeline[name]["script"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
                environment.extend(pipeline["variables"].as_object().unwrap().clone());
                environment.insert("DNS_TOKEN".into(), cloudflare::TOKEN.into());
                run(&lines.collect::<Vec<_>>().join("\n"), &environment)
            }
        };
        assert!(said.contains("2 of 2 zones written and read again"), "{said}");
        assert_eq!(server.stored("example.com", "MX").len(), 2);
        let origin = repository.tools.path().join("origin.git");
        let log = run_git(&origin, &["log", "--format=%s", "waybill-state"]);
        assert!(log.contains("State 2"), "{log}");
        // What the next pull request is told is held against that.
        repository.git(&["fetch", "-q", "origin"]);
        let (well, said) = repository.script(&["sh", "-c"], "waybill plan mail --offline", &Map::new());
        assert!(well && said == "no change\n", "{said}");
    }
}

fn run_git(folder: &Path, arguments: &[&str]) -> String {
    run("git", &[&["-C", folder.to_str().unwrap()], arguments].concat())
}
