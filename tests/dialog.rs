//! Transcripts in `tests/dialog/**`, held over TCP against a running server: line by line, octet by octet, and, where
//! the client need not wait, all at once. The bare sessions are tested in `runtime/proto`, with every split.
//!
//! `C:` is what the client sends, with CRLF; `C!` the same without CRLF, `\r`, `\n`, `\0`, `\xNN` and `\\` escaped, and
//! `*N` at its end repeats it N times. `S:` begins a reply (SMTP) or a line (IMAP); `*` stands for anything. `S: EOF`
//! is the connection's end. The greeting is read before.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use harness::client::Client;
use harness::{Server, Site, root};
use std::path::{Path, PathBuf};

enum Turn {
    Client(Vec<u8>),
    Server(String),
}

fn unescaped(text: &str) -> Vec<u8> {
    let (text, times) = match text.rsplit_once('*') {
        Some((text, times)) if times.parse::<usize>().is_ok() => (text, times.parse().unwrap()),
        _ => (text, 1),
    };
    let mut octets = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            octets.extend(c.to_string().bytes());
            continue;
        }
        match rest.next().unwrap() {
            'r' => octets.push(b'\r'),
            'n' => octets.push(b'\n'),
            '0' => octets.push(0),
            'x' => {
                let digits: String = rest.by_ref().take(2).collect();
                octets.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            other => octets.extend(other.to_string().bytes()),
        }
    }
    octets.repeat(times)
}

fn read(path: &Path) -> Vec<Turn> {
    let text = std::fs::read_to_string(path).unwrap();
    let turn = |line: &str| {
        let (kind, rest) = line.split_at(2);
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match kind {
            "C:" => Turn::Client(format!("{rest}\r\n").into_bytes()),
            "C!" => Turn::Client(unescaped(rest)),
            "S:" => Turn::Server(rest.to_owned()),
            _ => panic!("{}: {line}", path.display()),
        }
    };
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(turn).collect()
}

fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap()) else { return false };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// How the client's octets are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Lines,
    Octets,
    AllAtOnce,
}

fn hold(path: &Path, server: &Server, cut: Cut) {
    let imap = path.parent().unwrap().ends_with("imap");
    let port = if imap { server.ports.imaps } else { server.ports.smtp };
    let mut client = match imap {
        true => Client::connect_tls(server.ports.at(port)).unwrap(),
        false => Client::connect(server.ports.at(port)).unwrap(),
    };
    assert!(client.line().unwrap().starts_with(if imap { "* OK" } else { "220" }));
    let turns = read(path);
    if cut == Cut::AllAtOnce {
        let all: Vec<u8> =
            turns.iter().flat_map(|turn| if let Turn::Client(o) = turn { &o[..] } else { &[] }).copied().collect();
        let _ = client.send(all);
    }
    for turn in &turns {
        match turn {
            Turn::Client(_) if cut == Cut::AllAtOnce => {}
            Turn::Client(octets) if cut == Cut::Octets && octets.len() < 5_000 => {
                octets.iter().for_each(|octet| drop(client.send([*octet])));
            }
            // The server may have closed already, which the next `S:` finds out.
            Turn::Client(octets) => drop(client.send(octets)),
            Turn::Server(want) => {
                let got = if imap { client.response() } else { client.reply() };
                let closed = [std::io::ErrorKind::UnexpectedEof, std::io::ErrorKind::ConnectionReset];
                let got = got.unwrap_or_else(|error| match closed.contains(&error.kind()) {
                    true => "EOF".to_owned(),
                    false => error.to_string(),
                });
                assert!(fits(want, &got), "{} ({cut:?}): wanted `{want}`, got `{got}`", path.display());
            }
        }
    }
}

fn dialogs(folder: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(root().join("tests/dialog").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

#[test]
fn smtp_is_spoken_as_written() {
    let site = Site::with_accounts(&["Jones", "Brown", "Admin.MRC"]);
    let server = site.serve();
    for path in dialogs("smtp") {
        // A client that pipelines past an error, or past a close, is told less.
        let pipelined = path.file_name().unwrap().to_str().unwrap().contains("rfc5321");
        for cut in [Cut::Lines, Cut::Octets, Cut::AllAtOnce] {
            if cut != Cut::AllAtOnce || pipelined {
                hold(&path, &server, cut);
            }
        }
    }
    assert!(!server.log().contains("panicked"));
}

#[test]
fn imap_is_spoken_as_written() {
    for path in dialogs("imap") {
        for cut in [Cut::Lines, Cut::Octets] {
            // A mailbox of its own for each, since they change it.
            let site = Site::with_accounts(&["ada"]);
            let server = site.serve();
            hold(&path, &server, cut);
            assert!(!server.log().contains("panicked"));
        }
    }
}
