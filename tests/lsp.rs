//! The language server, over real messages on its stdin and stdout.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

struct Editor {
    server: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    id: u64,
    /// Findings as last shown, by file.
    shown: HashMap<String, Json>,
}

const MAIL: &str = r#"waybill 1
host "mail.example.org" { address "192.0.2.25"; }
store "local" { rocksdb "data"; }
include "domains/*.kdl"
"#;
const DOMAIN: &str = r#"// Käse 😀
domain "example.org" {
    account "ada" name="Ada" { alias "countess"; }
    group "sales" { member "ada" "bob@example.org"; }
    account "bob"
    dmarc "reject" report="ada@example.org"
}
"#;

impl Editor {
    fn start() -> Editor {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("domains")).unwrap();
        fs::write(folder.path().join("mail.kdl"), MAIL).unwrap();
        fs::write(folder.path().join("domains/example.org.kdl"), DOMAIN).unwrap();
        let mut server = Command::new(harness::program("waybill"))
            .arg("lsp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (server.stdin.take().unwrap(), BufReader::new(server.stdout.take().unwrap()));
        let mut editor = Editor { server, to, from, folder, id: 0, shown: HashMap::new() };
        let answer = editor.ask("initialize", json!({ "capabilities": {}, "processId": null, "rootUri": null }));
        assert_eq!(answer["capabilities"]["positionEncoding"], "utf-16");
        assert!(answer["capabilities"]["renameProvider"]["prepareProvider"].as_bool().unwrap());
        editor.tell("initialized", json!({}));
        editor
    }

    fn send(&mut self, message: &Json) {
        let text = message.to_string();
        write!(self.to, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        self.to.flush().unwrap();
    }

    fn tell(&mut self, method: &str, params: Json) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn receive(&mut self) -> Json {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).unwrap() > 0, "the server went");
            if line == "\r\n" {
                break;
            }
            if let Some(said) = line.strip_prefix("Content-Length: ") {
                length = said.trim().parse().unwrap();
            }
        }
        let mut octets = vec![0; length];
        self.from.read_exact(&mut octets).unwrap();
        let message: Json = serde_json::from_slice(&octets).unwrap();
        if message["method"] == "textDocument/publishDiagnostics" {
            let uri = message["params"]["uri"].as_str().unwrap().to_owned();
            self.shown.insert(uri, message["params"]["diagnostics"].clone());
        }
        message
    }

    /// The answer, with its error where it is one.
    fn answer(&mut self, method: &str, params: Json) -> Json {
        self.id += 1;
        let id = self.id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let message = self.receive();
            if message["id"] == id {
                return message;
            }
        }
    }

    fn ask(&mut self, method: &str, params: Json) -> Json {
        let answer = self.answer(method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}", self.folder.path().canonicalize().unwrap().join(name).display())
    }

    fn open(&mut self, name: &str) {
        let text = fs::read_to_string(self.folder.path().join(name)).unwrap();
        let document = json!({ "uri": self.uri(name), "languageId": "kdl", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    /// Types in place of all that is there.
    fn replace(&mut self, name: &str, text: &str) {
        let document = json!({ "uri": self.uri(name), "version": 2 });
        let changes = json!([{ "text": text }]);
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
    }

    /// Waits until the findings shown of a file are as wanted.
    fn wait(&mut self, name: &str, wanted: impl Fn(&[String]) -> bool) -> Json {
        let uri = self.uri(name);
        loop {
            let codes: Option<Vec<String>> = self.shown.get(&uri).map(|shown| {
                let code = |one: &Json| one["code"].as_str().unwrap().to_owned();
                shown.as_array().unwrap().iter().map(code).collect()
            });
            if codes.is_some_and(|codes| wanted(&codes)) {
                return self.shown[&uri].clone();
            }
            self.receive();
        }
    }

    /// A question at the `§` of a text, which the file then has without it.
    fn at(&mut self, name: &str, marked: &str) -> Json {
        let before = &marked[..marked.find('§').unwrap()];
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap().encode_utf16().count();
        self.replace(name, &marked.replace('§', ""));
        json!({ "textDocument": { "uri": self.uri(name) }, "position": { "line": line, "character": column } })
    }

    fn labels(&mut self, name: &str, marked: &str) -> Vec<String> {
        let at = self.at(name, marked);
        let items = self.ask("textDocument/completion", at);
        items.as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    }

    /// Opens the domain's file and waits until the spec was compiled, which alone finds anything in the other file.
    fn open_compiled(&mut self) {
        self.open(FILE);
        self.wait("mail.kdl", |codes| !codes.is_empty());
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

const FILE: &str = "domains/example.org.kdl";

/// The text with edits made; they are in UTF-16 positions.
fn edited(text: &str, edits: &Json) -> String {
    let offset = |position: &Json| {
        let line = usize::try_from(position["line"].as_u64().unwrap()).unwrap();
        let wanted = usize::try_from(position["character"].as_u64().unwrap()).unwrap();
        let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        let mut column = 0;
        let found = text[start..].char_indices().find(|(_, c)| {
            let here = column >= wanted;
            column += c.len_utf16();
            here
        });
        found.map_or(text.len(), |(at, _)| start + at)
    };
    let mut list: Vec<(usize, usize, String)> = edits
        .as_array()
        .unwrap()
        .iter()
        .map(|edit| {
            let range = &edit["range"];
            (offset(&range["start"]), offset(&range["end"]), edit["newText"].as_str().unwrap().to_owned())
        })
        .collect();
    list.sort_by_key(|(start, ..)| std::cmp::Reverse(*start));
    let mut text = text.to_owned();
    for (start, end, new) in list {
        text.replace_range(start..end, &new);
    }
    text
}

#[test]
fn findings_follow_what_is_typed_in_every_file() {
    let mut editor = Editor::start();
    editor.open(FILE);
    editor.wait(FILE, |codes| codes.contains(&"W0308".to_owned()));
    editor.wait("mail.kdl", |codes| codes == ["W0404"]);
    editor.replace(FILE, &DOMAIN.replace("member \"ada\"", "member \"adda\""));
    let shown = editor.wait(FILE, |codes| codes.contains(&"W0304".to_owned()));
    let found = shown.as_array().unwrap().iter().find(|one| one["code"] == "W0304").unwrap().clone();
    assert_eq!(
        found["range"],
        json!({ "start": { "line": 3, "character": 27 }, "end": { "line": 3, "character": 33 } })
    );
    assert!(found["message"].as_str().unwrap().contains("nobody has the address"), "{found}");
    assert_eq!(found["severity"], 1);
    // Half a word, a brace that is open: the rest is still told, and all is well again afterwards.
    editor.replace(FILE, &DOMAIN.replace("account \"bob\"", "account \"bob"));
    editor.wait(FILE, |codes| codes.contains(&"W0104".to_owned()));
    // An edit of a part, behind a character of two units.
    let document = json!({ "uri": editor.uri(FILE), "version": 3 });
    let range = json!({ "start": { "line": 4, "character": 16 }, "end": { "line": 4, "character": 16 } });
    let changes = json!([{ "range": range, "text": "\"" }]);
    editor.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
    editor.wait(FILE, |codes| !codes.contains(&"W0104".to_owned()));
    // The file on the disk was never touched, and is what holds once the editor closes it.
    let root = json!({ "uri": editor.uri("mail.kdl"), "languageId": "kdl", "version": 1, "text": MAIL });
    editor.tell("textDocument/didOpen", json!({ "textDocument": root }));
    let document = json!({ "uri": editor.uri(FILE) });
    editor.replace(FILE, "nonsense\n");
    editor.wait(FILE, |codes| codes == ["W0112"]);
    editor.tell("textDocument/didClose", json!({ "textDocument": document }));
    editor.wait(FILE, |codes| codes.contains(&"W0308".to_owned()));
    let document = json!({ "uri": editor.uri("mail.kdl") });
    editor.tell("textDocument/didClose", json!({ "textDocument": document }));
    editor.wait("mail.kdl", |codes| codes.is_empty());
    // With the last file of the spec, the findings of those that were never open go too.
    editor.wait(FILE, |codes| codes.is_empty());
}

#[test]
fn what_is_wrong_with_a_file_is_told_before_the_spec_is_compiled() {
    let mut editor = Editor::start();
    editor.open(FILE);
    let before = editor.wait(FILE, |codes| codes.contains(&"W0308".to_owned()));
    let line = |shown: &Json, code: &str| {
        let one = shown.as_array().unwrap().iter().find(|one| one["code"] == code);
        one.unwrap_or_else(|| panic!("{code}: {shown}"))["range"]["start"]["line"].as_u64().unwrap()
    };
    let document = json!({ "uri": editor.uri(FILE), "version": 2 });
    let start = json!({ "line": 1, "character": 0 });
    let changes = json!([{ "range": { "start": start, "end": start }, "text": "// one\nnonsense 1\n" }]);
    editor.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
    // The first that is shown of the new text.
    editor.shown.clear();
    let first = editor.wait(FILE, |_| true);
    assert_eq!(line(&first, "W0112"), 2);
    assert_eq!(line(&first, "W0308"), line(&before, "W0308") + 2);
    editor.replace(FILE, DOMAIN);
    editor.wait(FILE, |codes| !codes.contains(&"W0112".to_owned()));
    editor.wait(FILE, |codes| codes.len() == before.as_array().unwrap().len());
}

#[test]
fn what_may_stand_here_is_offered() {
    let mut editor = Editor::start();
    editor.open_compiled();
    let after = |text: &str| format!("{DOMAIN}{text}");
    let has = |labels: &[String], wanted: &[&str]| {
        for one in wanted {
            assert!(labels.iter().any(|label| label == one), "no {one} in {labels:?}");
        }
    };
    has(&editor.labels(FILE, "dom§\n"), &["domain", "host", "store"]);
    let inside = editor.labels(FILE, &DOMAIN.replace("    account \"bob\"", "    §\n    account \"bob\""));
    has(&inside, &["account", "dkim", "mta-sts"]);
    assert!(!inside.contains(&"store".to_owned()));
    assert_eq!(
        editor.labels(FILE, "domain \"a\" { dmarc \"§"),
        ["none", "quarantine", "reject", "nonexistent", "psd", "report", "step", "strict", "subdomain", "testing"]
    );
    has(&editor.labels(FILE, "domain \"a\" { dmarc \"reject\" §"), &["report", "subdomain"]);
    has(&editor.labels(FILE, "domain \"a\" { spf { §"), &["include", "ip4", "all"]);
    has(&editor.labels(FILE, &after("domain \"a\" { host \"§")), &["mail.example.org"]);
    has(&editor.labels(FILE, &after("domain \"a\" like=§")), &["example.org"]);
    has(&editor.labels(FILE, &after("domain \"example.org\" { group \"x\" { member §")), &["ada", "sales"]);
    has(&editor.labels(FILE, &after("domain \"other.example\" { group \"x\" { member §")), &["ada@example.org"]);
    has(&editor.labels(FILE, "dns \"a\" { cloudflare token=§"), &["(env)", "(file)"]);
    has(&editor.labels(FILE, &after("storage { data §")), &["local"]);
}

#[test]
fn a_hover_tells_meaning_default_and_records() {
    let mut editor = Editor::start();
    editor.open_compiled();
    let mut hover = |marked: &str| {
        let at = editor.at(FILE, marked);
        editor.ask("textDocument/hover", at)["contents"]["value"].as_str().unwrap_or_default().to_owned()
    };
    let text = hover(&DOMAIN.replace("dmarc", "dm§arc"));
    assert!(text.contains("RFC 9989") && text.contains("_dmarc.example.org. TXT \"v=DMARC1; p=reject"), "{text}");
    let text = hover(&DOMAIN.replace("domain", "dom§ain"));
    assert!(text.contains("example.org. MX 10 mail.example.org."), "{text}");
    assert!(hover(&DOMAIN.replace("\"reject\"", "\"rej§ect\"")).contains("`reject`: Refuse."));
    assert!(hover(&DOMAIN.replace("report=", "rep§ort=")).contains("Who gets reports"));
    assert_eq!(hover(&DOMAIN.replace("Käse", "Kä§se")), "");
}

#[test]
fn names_are_found_and_changed_everywhere() {
    let mut editor = Editor::start();
    editor.open_compiled();
    let at = editor.at(FILE, &DOMAIN.replace("member \"ada\"", "member \"a§da\""));
    let found = editor.ask("textDocument/definition", at.clone());
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found[0]["range"]["start"], json!({ "line": 2, "character": 12 }));
    let mut wanted = at.clone();
    wanted["context"] = json!({ "includeDeclaration": true });
    assert_eq!(editor.ask("textDocument/references", wanted).as_array().unwrap().len(), 3);
    let prepared = editor.ask("textDocument/prepareRename", at.clone());
    assert_eq!(prepared["placeholder"], "ada");
    let mut wanted = at.clone();
    wanted["newName"] = "lady ada".into();
    let refused = editor.answer("textDocument/rename", wanted.clone());
    assert!(refused["error"]["message"].as_str().unwrap().contains("lady ada"), "{refused}");
    wanted["newName"] = "lovelace".into();
    let changes = editor.ask("textDocument/rename", wanted)["changes"].clone();
    let text = edited(DOMAIN, &changes[editor.uri(FILE)]);
    assert_eq!(text, DOMAIN.replace("\"ada\"", "\"lovelace\"").replace("\"ada@", "\"lovelace@"));
    // A domain, and the addresses in it; a host, from another file.
    let mut wanted = editor.at(FILE, &DOMAIN.replace("domain \"ex", "domain \"§ex"));
    wanted["newName"] = "example.net".into();
    let changes = editor.ask("textDocument/rename", wanted)["changes"].clone();
    let text = edited(DOMAIN, &changes[editor.uri(FILE)]);
    assert_eq!(text, DOMAIN.replace("example.org", "example.net"));
    let marked = DOMAIN.replace("    dmarc", "    host \"mail.ex§ample.org\"\n    dmarc");
    let at = editor.at(FILE, &marked);
    let found = editor.ask("textDocument/definition", at);
    assert_eq!(found[0]["uri"], editor.uri("mail.kdl").as_str());
    // Nothing to find in a comment.
    let at = editor.at(FILE, &DOMAIN.replace("Käse", "Kä§se"));
    assert_eq!(editor.ask("textDocument/definition", at), json!([]));
}

#[test]
fn a_file_is_laid_out_and_outlined() {
    let mut editor = Editor::start();
    editor.open(FILE);
    editor.replace(FILE, &DOMAIN.replace("    account \"bob\"", "account   \"bob\";"));
    let document = json!({ "uri": editor.uri(FILE) });
    let options = json!({ "tabSize": 4, "insertSpaces": true });
    let edits = editor.ask("textDocument/formatting", json!({ "textDocument": document, "options": options }));
    assert_eq!(edited(&DOMAIN.replace("    account \"bob\"", "account   \"bob\";"), &edits), DOMAIN);
    let symbols = editor.ask("textDocument/documentSymbol", json!({ "textDocument": document }));
    assert_eq!(symbols[0]["name"], "domain example.org");
    let inside: Vec<_> =
        symbols[0]["children"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(inside, ["account ada", "group sales", "account bob", "dmarc reject"]);
}

#[test]
fn what_is_clear_is_mended_at_a_word() {
    let mut editor = Editor::start();
    editor.open(FILE);
    let wrong = DOMAIN.replace("account \"bob\"", "acount \"bob\"");
    editor.replace(FILE, &wrong);
    editor.wait(FILE, |codes| codes.contains(&"W0112".to_owned()));
    let at = json!({ "line": 4, "character": 5 });
    let document = json!({ "uri": editor.uri(FILE) });
    let asked =
        json!({ "textDocument": document, "range": { "start": at, "end": at }, "context": { "diagnostics": [] } });
    let actions = editor.ask("textDocument/codeAction", asked);
    assert_eq!(actions.as_array().unwrap().len(), 1, "{actions}");
    assert_eq!(edited(&wrong, &actions[0]["edit"]["changes"][editor.uri(FILE)]), DOMAIN);
}

#[test]
fn it_ends_as_it_should_and_survives_nonsense() {
    let mut editor = Editor::start();
    let answer = editor.answer("textDocument/nonsense", json!({}));
    assert_eq!(answer["error"]["code"], -32601);
    let answer = editor.answer("textDocument/hover", json!({ "position": "nowhere" }));
    assert_eq!(answer["error"]["code"], -32602);
    editor.tell("textDocument/didChange", json!({ "nonsense": 1 }));
    let nowhere = json!({ "uri": "file:///nowhere/x.kdl" });
    let at = json!({ "textDocument": nowhere, "position": { "line": 4_000_000_000_u32, "character": 7 } });
    assert_eq!(editor.ask("textDocument/hover", at), Json::Null);
    assert_eq!(editor.ask("shutdown", Json::Null), Json::Null);
    editor.tell("exit", Json::Null);
    assert!(editor.server.wait().unwrap().success());
    assert!(Path::new(&editor.text(FILE)).as_os_str() == DOMAIN);
}
