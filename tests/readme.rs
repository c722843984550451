//! The product's face does what it says: the README's commands, and the quickstart with the lines that it prints.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::{PATIENCE, program, root, run};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;

#[test]
fn every_command_of_the_readme_works() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let beside = program("waybill").parent().unwrap().to_path_buf();
    let path = format!("{}:{}", beside.display(), std::env::var("PATH").unwrap());
    let mut count = 0;
    // The pages on DNS and on rollovers go on where the README ends.
    let page = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let (dns, rollovers) = (page("docs/dns.md"), page("docs/rollovers.md"));
    for line in text.lines().chain(dns.lines()).chain(rollovers.lines()).filter_map(|line| line.strip_prefix("$ ")) {
        let output =
            Command::new("sh").args(["-c", line]).env("PATH", &path).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        count += 1;
    }
    assert!(count >= 7 && folder.path().join("out/zones/example.org.zone").exists());
    let published = std::fs::read_to_string(folder.path().join("zones/example.org.zone")).unwrap();
    assert!(published.contains("MX 10 mail.example.org."), "{published}");
    for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(link.starts_with("https://") || root().join(link).exists(), "{link} is not there");
    }
    for command in ["examples/quickstart/up", "tests/run"] {
        assert!(text.contains(command) && root().join(command).exists());
    }
}

#[test]
fn the_specs_of_the_pages_on_stores_are_right() {
    for page in ["docs/stores.md", "docs/search.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let specs: Vec<&str> = text.split("```kdl\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert!(!specs.is_empty(), "{page}");
        for spec in specs {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("mail.kdl"), format!("waybill 1\n{spec}")).unwrap();
            let output = harness::waybill(&["check", folder.path().to_str().unwrap()]);
            assert!(output.status.success(), "{page}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn the_quickstart_serves_and_its_lines_work() {
    // Its ports are fixed, so that its lines can be copied; a network of its own keeps them apart from others'.
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("mail");
    let script = "ip link set lo up && exec examples/quickstart/up \"$0\"";
    let mut child = Command::new("unshare")
        .args(["--net", "sh", "-c", script, spec.to_str().unwrap()])
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let said = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        text
    });
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(&mut out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).unwrap_or(());
    });
    let mut screen = Vec::new();
    while !screen.iter().any(|line: &String| line.contains("IN MX")) {
        match lines.recv_timeout(PATIENCE * 5) {
            Ok(line) => screen.push(line),
            Err(_) => {
                let _ = child.kill();
                panic!("{}\n{}", screen.join("\n"), said.join().unwrap());
            }
        }
    }
    while let Ok(line) = lines.recv_timeout(std::time::Duration::from_millis(200)) {
        screen.push(line);
    }
    assert!(screen.len() <= 45, "more than a screen:\n{}", screen.join("\n"));
    let line = |word: &str| screen.iter().find(|line| line.contains(word)).unwrap().trim().to_owned();
    let password = line("password  ").split_whitespace().nth(1).unwrap().to_owned();
    assert!(!holds(&spec, &password), "the password stands in a file");
    let inside = |command: &str| {
        let id = child.id().to_string();
        run("nsenter", &["--target", &id, "--net", "sh", "-c", command])
    };
    inside(&line("| curl"));
    let read = line("curl -skS");
    let began = std::time::Instant::now();
    while !inside(&read).contains("It works.") {
        assert!(began.elapsed() < PATIENCE, "the message does not arrive");
    }
    assert!(inside("curl -s http://127.0.0.1:2080/metrics").contains("waybill_"));
    run("kill", &["-TERM", &child.id().to_string()]);
    let status = child.wait().unwrap();
    let said = said.join().unwrap();
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("stopped") && !said.contains(&password));
}

fn holds(folder: &std::path::Path, word: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, word),
            false => std::fs::read(&path).unwrap().windows(word.len()).any(|part| part == word.as_bytes()),
        }
    })
}
