//! People kept by the API, on a whole server: made over HTTP, reached by mail, and gone when they are removed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use aws_lc_rs::hmac;
use harness::client::Client;
use harness::kinds::Kind;
use harness::postgresql::PostgreSql;
use harness::{PASSWORD, Ports, Server, Site, account, base64, message, root};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const READER: &str = "a key that only reads people";
const OTHER: &str = "a key of the other domain only";
const OLD: &str = "a key that ended long ago, in 2001";
const FAR: &str = "a key that holds from elsewhere only";
const SECRET: &str = "a password of its own";

/// Keys, and two domains whose people the API keeps beside one whose it does not.
fn rest() -> String {
    let keys = [("all", "people"), ("reader", "readers"), ("other", "others"), ("old", "people"), ("far", "people")];
    let more = |name: &str| match name {
        "old" => " until=\"2001-01-01\"",
        _ => "",
    };
    let from = |name: &str| if name == "far" { " { from \"192.0.2.0/24\"; }" } else { "" };
    let keys: String = keys
        .iter()
        .map(|(name, role)| {
            format!("api-key \"{name}\" secret=(file)\"{name}.key\" role=\"{role}\"{}{}\n", more(name), from(name))
        })
        .collect();
    format!(
        "domain \"example.org\" {{\npeople \"api\"\n{}group \"team\" {{ member \"ada\" \"bob\"; }}\n\
         list \"news\" {{ member \"ada\"; posting \"anyone\"; }}\n}}\n\
         domain \"example.net\" {{ people \"api\"; }}\n\
         domain \"spec.example\" {{\n{}}}\n\
         role \"people\" {{ may \"read-people\" \"write-people\" \"set-passwords\"; }}\n\
         role \"readers\" {{ may \"read-people\"; }}\n\
         role \"others\" {{ may \"read-people\" \"write-people\"; domain \"example.net\"; }}\n{keys}",
        account("ada"),
        account("olga"),
    )
}

fn write_keys(site: &Site) {
    for (name, key) in [("all", KEY), ("reader", READER), ("other", OTHER), ("old", OLD), ("far", FAR)] {
        site.write(&format!("{name}.key"), key);
    }
}

fn site() -> Site {
    let site = Site::new();
    write_keys(&site);
    site.write_spec(&rest());
    site
}

/// A request: status, `ETag` and body.
fn ask(ports: Ports, key: &str, line: &str, body: &Value) -> (u16, String, Value) {
    with(ports, (key, ""), line, body)
}

fn with(ports: Ports, from: (&str, &str), line: &str, body: &Value) -> (u16, String, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, etag, body) = raw(ports, from, line, &body);
    (status, etag, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// The same, of any text.
fn raw(ports: Ports, (key, header): (&str, &str), line: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(ports.at(ports.http)).unwrap();
    stream.set_read_timeout(Some(harness::PATIENCE)).unwrap();
    let (method, path) = line.split_once(' ').unwrap();
    write!(
        stream,
        "{method} /api/v1/people{path} HTTP/1.1\r\nHost: mail.example.org\r\nConnection: close\r\n\
         Authorization: Bearer {key}\r\nContent-Length: {}\r\n{header}\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap_or_default().to_owned();
    if status >= 400 {
        assert!(head.contains("application/problem+json"), "{text}");
    }
    for hidden in [SECRET, "argon2id", "SCRAM-SHA-256$", key] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    (status, etag, body.to_owned())
}

fn made(ports: Ports, address: &str, more: &Value) -> (u16, String, Value) {
    let mut body = json!({ "address": address, "password": SECRET });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ask(ports, KEY, "POST ", &body)
}

fn rcpt(ports: Ports, to: &str) -> String {
    let mut client = Client::connect(ports.at(ports.smtp)).unwrap();
    client.reply().unwrap();
    client.smtp_ok("EHLO client.example.net", "250");
    client.smtp_ok("MAIL FROM:<sender@example.net>", "250");
    client.smtp(&format!("RCPT TO:<{to}>")).unwrap()
}

fn mail(ports: Ports, to: &str, id: &str) {
    let mut client = Client::connect(ports.at(ports.smtp)).unwrap();
    client.reply().unwrap();
    client.smtp_ok("EHLO client.example.net", "250");
    let reply = client.mail("sender@example.net", &[to], &message(id, 500)).unwrap();
    assert!(reply.starts_with("250"), "{to}: {reply}");
}

/// Whether somebody gets in by IMAP.
fn imap(ports: Ports, user: &str, password: &str) -> Option<Client> {
    let mut client = Client::connect_tls(ports.at(ports.imaps)).unwrap();
    client.line().unwrap();
    let answer = client.imap(&format!("LOGIN {user} \"{password}\"")).unwrap();
    let last = answer.last().unwrap();
    assert!(last.contains(" OK ") || last.contains("NO [AUTHENTICATIONFAILED]"), "{last}");
    last.contains(" OK ").then_some(client)
}

/// What submission says to somebody.
fn submission(ports: Ports, user: &str, password: &str) -> (Client, String) {
    let mut client = Client::connect_tls(ports.at(ports.submissions)).unwrap();
    client.reply().unwrap();
    client.smtp_ok("EHLO client.example.net", "250");
    let reply = client.smtp(&format!("AUTH PLAIN {}", base64(format!("\0{user}\0{password}").as_bytes()))).unwrap();
    (client, reply)
}

#[test]
fn a_person_is_made_gets_mail_logs_in_sends_changes_and_goes() {
    let site = site();
    let server = site.serve();
    let ports = server.ports;
    assert!(rcpt(ports, "bob@example.org").starts_with("550 5.1.1"));
    let more = json!({ "name": "Bob", "aliases": ["robert@example.org", "bob@example.net"], "quota": "1MiB" });
    let (status, etag, body) = made(ports, "bob@example.org", &more);
    assert_eq!((status, &body["quota"], &body["keptBy"]), (201, &json!(1 << 20), &json!("api")), "{body}");
    for (n, to) in ["bob@example.org", "robert+x@example.org", "bob@example.net", "team@example.org"].iter().enumerate()
    {
        mail(ports, to, &format!("m{n}"));
    }
    imap(ports, "bob@example.org", SECRET).unwrap().wait_for("INBOX", 4);
    assert!(imap(ports, "bob@example.org", "not the password").is_none());
    let (mut sender, reply) = submission(ports, "bob@example.org", SECRET);
    assert!(reply.starts_with("235"), "{reply}");
    for (from, right) in [("robert@example.org", true), ("team@example.org", true), ("ada@example.org", false)] {
        let reply = sender.smtp(&format!("MAIL FROM:<{from}>")).unwrap();
        assert_eq!(reply.starts_with("250"), right, "{from}: {reply}");
        sender.smtp_ok("RSET", "250");
    }
    // Changed by one who saw what it was, and not by one who did not.
    let header = format!("If-Match: {etag}\r\n");
    let patch = json!({ "name": null, "aliases": ["rob@example.org"] });
    let (status, _, body) = with(ports, (KEY, &header), "PATCH /bob@example.org", &patch);
    assert_eq!((status, &body["name"], &body["aliases"]), (200, &json!(""), &json!(["rob@example.org"])), "{body}");
    for line in ["PATCH /bob@example.org", "DELETE /bob@example.org"] {
        assert_eq!(with(ports, (KEY, &header), line, &patch).0, 412);
    }
    assert!(rcpt(ports, "robert@example.org").starts_with("550") && rcpt(ports, "rob@example.org").starts_with("250"));
    // A new password holds at once, and the old one, right a moment ago, no more.
    let other = json!({ "password": "another password of its own" });
    assert_eq!(ask(ports, KEY, "PUT /bob@example.org/password", &other).0, 204);
    assert!(imap(ports, "bob@example.org", SECRET).is_none());
    assert!(imap(ports, "bob@example.org", "another password of its own").is_some());
    let short = json!({ "password": "short" });
    let (status, _, body) = ask(ports, KEY, "PUT /bob@example.org/password", &short);
    assert!(status == 422 && body["detail"].as_str().unwrap().contains("15 characters"), "{body}");
    // Gone, with the mailbox left behind; whoever is logged in must go.
    let mut reads = imap(ports, "bob@example.org", "another password of its own").unwrap();
    assert_eq!(ask(ports, KEY, "DELETE /bob@example.org", &Value::Null).0, 204);
    assert!(reads.line().unwrap().starts_with("* BYE") && reads.line().is_err());
    assert!(sender.reply().unwrap().starts_with("421 4.7.0") && sender.reply().is_err());
    assert_eq!(ask(ports, KEY, "GET /bob@example.org", &Value::Null).0, 404);
    assert!(rcpt(ports, "bob@example.org").starts_with("550") && rcpt(ports, "rob@example.org").starts_with("550"));
    assert!(imap(ports, "bob@example.org", "another password of its own").is_none());
    let (status, _, body) = made(ports, "bob@example.org", &json!({}));
    assert!(status == 409 && body["detail"].as_str().unwrap().contains("takeOver"), "{body}");
    assert_eq!(made(ports, "bob@example.org", &json!({ "takeOver": true })).0, 201);
    imap(ports, "bob@example.org", SECRET).unwrap().wait_for("INBOX", 4);
    assert!(!server.log().contains(SECRET) && !server.log().contains(KEY));
}

#[test]
fn an_app_password_opens_its_services_until_it_ends_or_is_taken_back() {
    let site = site();
    let server = site.serve();
    let ports = server.ports;
    assert_eq!(made(ports, "bob@example.org", &json!({})).0, 201);
    // Somebody that the API keeps, and people of the spec. Each refusal waits longer than the one before, so there are few.
    for user in ["bob@example.org", "ada@example.org", "olga@spec.example"] {
        let line = format!("POST /{user}/app-passwords");
        let (status, _, app) = ask(ports, KEY, &line, &json!({ "name": "phone", "scope": ["imap"] }));
        assert_eq!(status, 201, "{app}");
        let password = app["password"].as_str().unwrap();
        for _ in 0..2 {
            assert!(imap(ports, user, password).is_some(), "{user}");
        }
        let (_, _, all) = ask(ports, KEY, &line.replace("POST", "GET"), &Value::Null);
        assert!(all["appPasswords"].as_array().unwrap().len() == 1 && !all.to_string().contains(password), "{all}");
        if user == "olga@spec.example" {
            continue;
        }
        assert!(submission(ports, user, password).1.starts_with("535"));
        let line = format!("DELETE /{user}/app-passwords/{}", app["id"].as_str().unwrap());
        assert_eq!(ask(ports, KEY, &line, &Value::Null).0, 204);
        assert!(imap(ports, user, password).is_none());
    }
    let end = jiff::Timestamp::from_second(seconds() + 5).unwrap().to_string();
    let short = json!({ "name": "short", "scope": ["imap", "submission"], "until": end });
    let (_, _, short) = ask(ports, KEY, "POST /bob@example.org/app-passwords", &short);
    let short = short["password"].as_str().unwrap();
    assert!(submission(ports, "bob@example.org", short).1.starts_with("235"));
    let began = Instant::now();
    while submission(ports, "bob@example.org", short).1.starts_with("235") {
        assert!(began.elapsed() < harness::PATIENCE);
    }
    let odd = json!({ "name": "x", "scope": ["telnet"] });
    assert_eq!(ask(ports, KEY, "POST /bob@example.org/app-passwords", &odd).0, 422);
    let (_, _, app) =
        ask(ports, KEY, "POST /ada@example.org/app-passwords", &json!({ "name": "x", "scope": ["imap"] }));
    let password = app["password"].as_str().unwrap();
    assert!(imap(ports, "ada@example.org", password).is_some());
    let mark = server.log_mark();
    site.write_spec(&(rest() + "login { app-passwords #false; }\n"));
    server.wait_for_log("configuration taken", mark);
    assert!(imap(ports, "ada@example.org", password).is_none() && imap(ports, "ada@example.org", PASSWORD).is_some());
    assert_eq!(ask(ports, KEY, "POST /ada@example.org/app-passwords", &odd).0, 403);
}

/// A script of a person: status, `ETag`, and what the answer says.
fn script(ports: Ports, line: &str, text: &str) -> (u16, String, Value) {
    let (status, etag, body) = raw(ports, (KEY, ""), line, text);
    (status, etag, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[test]
fn scripts_are_checked_kept_and_one_of_them_is_active() {
    let site = site();
    let server = site.serve();
    let ports = server.ports;
    made(ports, "bob@example.org", &json!({}));
    let at = |method: &str, name: &str| format!("{method} /bob@example.org/scripts/{name}");
    let (status, _, told) =
        script(ports, &at("PUT", "main"), "keep;\nif header :is \"Subject\" \"x\" { fileinto \"A\"; }\n");
    let problem = &told["problems"][0];
    assert_eq!((status, &problem["line"], &problem["column"]), (422, &json!(2), &json!(31)), "{told}");
    assert!(problem["rule"].as_str().unwrap().starts_with("RFC 5228"), "{told}");
    let (status, first, told) = script(ports, &at("PUT", "main"), "stop;\nkeep;\n");
    assert_eq!((status, told["isActive"].as_bool(), told["octets"].as_u64()), (201, Some(false), Some(12)), "{told}");
    assert_eq!(told["warnings"][0]["line"], 2, "{told}");
    // Names are people's words, in whatever script.
    assert_eq!(script(ports, &at("PUT", "M%C3%BCll%2FSpam"), "discard;").0, 201);
    let long = format!("# {}\nkeep;\n", "x".repeat(1_000_000));
    assert_eq!(script(ports, &at("PUT", "long"), &long).0, 201);
    let (status, _, told) = script(ports, &at("PUT", "long"), &"#".repeat((1 << 20) + 1));
    assert_eq!(status, 413, "{told}");
    assert_eq!(script(ports, &at("PUT", "bad%0Aname"), "keep;").0, 422);
    let active = json!({ "isActive": true });
    assert_eq!(ask(ports, KEY, &at("PATCH", "main"), &active).0, 200);
    assert_eq!(ask(ports, KEY, &at("PATCH", "long"), &json!({ "name": "main" })).0, 409);
    assert_eq!(ask(ports, KEY, &at("PATCH", "long"), &json!({ "name": "longer", "isActive": true })).0, 200);
    assert_eq!(ask(ports, KEY, &at("DELETE", "longer"), &Value::Null).0, 409);
    // Whoever saw an older one changes nothing.
    let (status, second, _) = script(ports, &at("PUT", "main"), "keep;");
    assert!(status == 200 && first != second);
    for method in ["PUT", "PATCH", "DELETE"] {
        let body = if method == "PATCH" { "{\"isActive\": false}" } else { "stop;" };
        assert_eq!(raw(ports, (KEY, &format!("If-Match: {first}\r\n")), &at(method, "main"), body).0, 412, "{method}");
    }
    // Who reads lists of people reads no scripts, and writes none.
    assert_eq!(ask(ports, READER, "GET /bob@example.org/scripts", &Value::Null).0, 200);
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let (status, _, told) = ask(ports, READER, &at(method, "main"), &active);
        assert!(status == 403 && told["detail"].as_str().unwrap().contains("set-passwords"), "{method}: {told}");
    }
    server.kill();
    let server = site.serve();
    let ports = server.ports;
    let (_, _, listed) = ask(ports, KEY, "GET /bob@example.org/scripts", &Value::Null);
    let of = |one: &Value| (one["name"].as_str().unwrap().to_owned(), one["isActive"].as_bool().unwrap());
    let listed: Vec<_> = listed["scripts"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(listed, [("Müll/Spam".into(), false), ("longer".into(), true), ("main".into(), false)]);
    assert_eq!(raw(ports, (KEY, ""), &at("GET", "longer"), ""), (200, etag(ports, &at("GET", "longer")), long));
    assert_eq!(raw(ports, (KEY, ""), &at("GET", "main"), "").2, "keep;");
    let delete = raw(ports, (KEY, &format!("If-Match: {second}\r\n")), &at("DELETE", "main"), "");
    assert_eq!((delete.0, raw(ports, (KEY, ""), &at("GET", "main"), "").0), (204, 404));
    // They go with the person.
    assert_eq!(ask(ports, KEY, "DELETE /bob@example.org", &Value::Null).0, 204);
    made(ports, "bob@example.org", &json!({}));
    assert_eq!(ask(ports, KEY, "GET /bob@example.org/scripts", &Value::Null).2, json!({ "scripts": [] }));
    assert!(!server.log().contains("discard"));
}

fn etag(ports: Ports, line: &str) -> String {
    raw(ports, (KEY, ""), line, "").1
}

#[test]
fn identities_are_for_addresses_that_the_person_may_send_as() {
    let site = site();
    let server = site.serve();
    let ports = server.ports;
    made(ports, "bob@example.org", &json!({ "aliases": ["robert@example.net"] }));
    let identity = |email: &str| json!({ "email": email, "name": "Bob", "htmlSignature": "<b>Bob</b>" });
    let mut ids = Vec::new();
    // The person's own, an alias', and a group's.
    for email in ["bob@example.org", "robert@example.net", "team@example.org"] {
        let (status, _, made) = ask(ports, KEY, "POST /bob@example.org/identities", &identity(email));
        assert_eq!((status, made["email"].as_str()), (201, Some(email)), "{made}");
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let (status, _, told) = ask(ports, KEY, "POST /bob@example.org/identities", &identity("ada@example.org"));
    assert!(status == 422 && told["detail"].as_str().unwrap().contains("may not send as"), "{told}");
    let large = json!({ "email": "bob@example.org", "textSignature": "x".repeat(50_000) });
    assert_eq!(ask(ports, KEY, "POST /bob@example.org/identities", &large).0, 422);
    assert_eq!(ask(ports, READER, "POST /bob@example.org/identities", &identity("bob@example.org")).0, 403);
    let one = |method: &str, id: &str| format!("{method} /bob@example.org/identities/{id}");
    let changed = json!({ "email": "robert@example.net", "replyTo": [{ "email": "bob@example.org", "name": "Bob" }] });
    let seen = etag(ports, &one("GET", &ids[1]));
    assert_eq!(ask(ports, KEY, &one("PUT", &ids[1]), &changed).0, 200);
    for method in ["PUT", "DELETE"] {
        let stale = format!("If-Match: {seen}\r\n");
        assert_eq!(with(ports, (KEY, &stale), &one(method, &ids[1]), &changed).0, 412, "{method}");
    }
    assert_eq!(ask(ports, KEY, &one("PUT", &ids[1]), &identity("bob@example.org")).0, 422);
    assert_eq!(ask(ports, KEY, &one("DELETE", &ids[0]), &Value::Null).0, 204);
    assert_eq!(ask(ports, KEY, &one("GET", &ids[0]), &Value::Null).0, 404);
    let (_, _, all) = ask(ports, READER, "GET /bob@example.org/identities", &Value::Null);
    let emails: Vec<_> = all["identities"].as_array().unwrap().iter().map(|one| &one["email"]).collect();
    assert_eq!(emails, ["robert@example.net", "team@example.org"]);
    assert_eq!(all["identities"][0]["replyTo"][0]["email"], "bob@example.org");
    assert_eq!(all["identities"][0]["htmlSignature"], "");
    // People of the spec have theirs too.
    assert_eq!(ask(ports, KEY, "POST /ada@example.org/identities", &identity("ada@example.org")).0, 201);
}

#[test]
fn people_of_a_directory_own_what_others_do_and_are_only_read() {
    let site = Site::new();
    write_keys(&site);
    let hash = harness::password_hash();
    let (file, rows) =
        (site.path().join("others.db"), format!("INSERT INTO people VALUES ('eva@sql.example', '{hash}')"));
    let sql = |text: &str| harness::run("sqlite3", &[file.to_str().unwrap(), text]);
    sql(&format!("CREATE TABLE people (address TEXT, secret TEXT); {rows}"));
    site.write_spec(
        &(rest()
            + "store \"others\" { sqlite \"others.db\"; }\ndirectory \"others\" { sql \"others\" { query {\n\
        login \"SELECT address, secret FROM people WHERE address = $1\"; }; }; }\n\
        domain \"sql.example\" { directory \"others\"; alias \"postmaster\" \"eva@sql.example\"; }\n"),
    );
    let server = site.serve();
    let ports = server.ports;
    let none = Value::Null;
    let (status, _, eva) = ask(ports, READER, "GET /eva@sql.example", &none);
    assert_eq!((status, &eva["keptBy"]), (200, &json!("directory")), "{eva}");
    let (_, _, made) =
        ask(ports, KEY, "POST /eva@sql.example/app-passwords", &json!({ "name": "x", "scope": ["imap"] }));
    let phone = made["password"].as_str().unwrap();
    assert!(imap(ports, "eva@sql.example", phone).is_some() && imap(ports, "eva@sql.example", PASSWORD).is_some());
    assert_eq!(script(ports, "PUT /eva@sql.example/scripts/main", "keep;").0, 201);
    let identity = json!({ "email": "postmaster@sql.example" });
    assert_eq!(ask(ports, KEY, "POST /eva@sql.example/identities", &identity).0, 201);
    let identity = json!({ "email": "ada@example.org" });
    assert_eq!(ask(ports, KEY, "POST /eva@sql.example/identities", &identity).0, 422);
    for line in ["PATCH /eva@sql.example", "DELETE /eva@sql.example", "PUT /eva@sql.example/password"] {
        let (status, _, told) = ask(ports, KEY, line, &json!({}));
        assert!(status == 409 && told["detail"].as_str().unwrap().contains("directory"), "{line}: {told}");
    }
    assert_eq!(ask(ports, KEY, "GET /nobody@sql.example", &none).0, 404);
}

#[test]
fn people_of_the_spec_have_a_password_of_their_own_where_the_spec_lets_them() {
    let site = site();
    let server = site.serve();
    let ports = server.ports;
    let set = json!({ "password": SECRET });
    let line = "PUT /ada@example.org/password";
    let (status, _, told) = ask(ports, KEY, line, &set);
    assert!(status == 409 && told["detail"].as_str().unwrap().contains("own-passwords"), "{told}");
    let take = |spec: &str| {
        let mark = server.log_mark();
        site.write_spec(spec);
        server.wait_for_log("configuration taken", mark);
    };
    let lets = rest() + "login { own-passwords; }\n";
    take(&lets);
    assert_eq!(ask(ports, KEY, line, &json!({ "password": "short" })).0, 422);
    assert_eq!(ask(ports, READER, line, &set).0, 403);
    let gets_in = |password: &str| imap(ports, "ada@example.org", password).is_some();
    assert_eq!(ask(ports, KEY, line, &set).0, 204);
    // Each wrong password waits longer than the one before, so only few are tried.
    assert!(!gets_in(PASSWORD) && gets_in(SECRET));
    let (_, _, ada) = ask(ports, KEY, "GET /ada@example.org", &Value::Null);
    assert_eq!((&ada["ownPassword"], &ada["keptBy"]), (&json!(true), &json!("spec")));
    // Where the spec does not let them any more the spec's is the one, and the other comes back with the permission.
    take(&rest());
    assert!(gets_in(PASSWORD));
    take(&lets);
    assert!(gets_in(SECRET));
    // Another one of the spec is another beginning.
    let other = "$2y$05$YzPKjSHR/0glcFKhTY2m0eqLlvYQQryfE7h3p6pmaU1X.cqXZSPo.";
    let ada = account("ada");
    let renewed = format!("account \"ada\" {{ password (hash)\"{other}\"; }}\n");
    take(&lets.replace(&ada, &renewed));
    assert!(gets_in(PASSWORD) && !gets_in(SECRET));
    take(&lets);
    assert_eq!(ask(ports, KEY, "DELETE /ada@example.org/password", &Value::Null).0, 204);
    assert_eq!(ask(ports, KEY, "DELETE /ada@example.org/password", &Value::Null).0, 404);
    assert!(gets_in(PASSWORD) && !gets_in(SECRET));
}

#[test]
fn who_is_suspended_is_logged_out_and_gets_in_by_no_password() {
    let site = site();
    let server = site.serve();
    let ports = server.ports;
    made(ports, "bob@example.org", &json!({}));
    let app = json!({ "name": "phone", "scope": ["imap"] });
    let phone = |who: &str| {
        let (_, _, made) = ask(ports, KEY, &format!("POST /{who}/app-passwords"), &app);
        made["password"].as_str().unwrap().to_owned()
    };
    let users = ["ada@example.org", "bob@example.org"];
    let secrets = [[PASSWORD.to_owned(), phone(users[0])], [SECRET.to_owned(), phone(users[1])]];
    let mut sessions = users.map(|user| imap(ports, user, secrets[usize::from(user != users[0])][1].as_str()).unwrap());
    let suspended = json!({ "suspended": true });
    assert_eq!(ask(ports, KEY, "PATCH /bob@example.org", &suspended).2["suspended"], true);
    let mark = server.log_mark();
    let ada = account("ada");
    site.write_spec(&rest().replace(&ada, &ada.replacen('{', "{ suspended; ", 1)));
    server.wait_for_log("configuration taken", mark);
    for (n, user) in users.into_iter().enumerate() {
        while !sessions[n].line().unwrap().starts_with("* BYE") {}
        for secret in &secrets[n] {
            assert!(imap(ports, user, secret).is_none(), "{user}");
        }
        mail(ports, user, &format!("kept for {user}"));
    }
    assert_eq!(ask(ports, KEY, "GET /ada@example.org", &Value::Null).2["suspended"], true);
    let mark = server.log_mark();
    site.write_spec(&rest());
    server.wait_for_log("configuration taken", mark);
    assert_eq!(ask(ports, KEY, "PATCH /bob@example.org", &json!({ "suspended": null })).0, 200);
    for (n, user) in users.into_iter().enumerate() {
        for secret in &secrets[n] {
            assert!(imap(ports, user, secret).is_some(), "{user}");
        }
    }
}

fn seconds() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// RFC 6238, as an authenticator program has it.
fn code(uri: &str, seconds: i64) -> String {
    let secret = uri.split_once("secret=").unwrap().1.split('&').next().unwrap();
    let bits: Vec<u8> = secret
        .bytes()
        .flat_map(|letter| {
            let value = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'A' };
            (0..5).rev().map(move |bit| value >> bit & 1)
        })
        .collect();
    let octets: Vec<u8> = bits.chunks_exact(8).map(|eight| eight.iter().fold(0, |n, bit| n << 1 | bit)).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &octets);
    let tag = hmac::sign(&key, &(seconds / 30).to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 15);
    let number = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7FFF_FFFF;
    format!("{:06}", number % 1_000_000)
}

#[test]
fn a_second_factor_is_confirmed_by_a_code_that_counts_once() {
    let site = site();
    let server = site.serve();
    let ports = server.ports;
    for user in ["bob@example.org", "ada@example.org"] {
        made(ports, user, &json!({}));
        let (status, _, begun) = ask(ports, KEY, &format!("POST /{user}/totp"), &Value::Null);
        assert_eq!(status, 201, "{begun}");
        let uri = begun["uri"].as_str().unwrap().to_owned();
        let shown = |wanted: &str| {
            let (_, _, person) = ask(ports, KEY, &format!("GET /{user}"), &Value::Null);
            assert_eq!(person["secondFactor"], wanted);
        };
        shown("pending");
        let confirm = |code: &str| ask(ports, KEY, &format!("PUT /{user}/totp"), &json!({ "code": code })).0;
        let now = seconds();
        assert_eq!(confirm(&code(&uri, now - 3600)), 422);
        shown("pending");
        let right = code(&uri, now);
        assert_eq!((confirm(&right), confirm(&right)), (204, 422));
        shown("on");
        assert_eq!(ask(ports, KEY, &format!("POST /{user}/totp"), &Value::Null).0, 409);
        assert_eq!(ask(ports, KEY, &format!("DELETE /{user}/totp"), &Value::Null).0, 204);
        shown("none");
    }
}

#[test]
fn keys_do_what_their_roles_say_and_people_of_the_spec_are_only_read() {
    let site = site();
    let server = site.serve();
    let ports = server.ports;
    made(ports, "bob@example.org", &json!({ "aliases": ["taken@example.org"] }));
    let none = Value::Null;
    let new = |address: &str| json!({ "address": address, "aliases": [] });
    let app = json!({ "name": "x", "scope": ["imap"] });
    let name = json!({ "name": "x" });
    for (key, line, body, want, word) in [
        (READER, "GET /bob@example.org", &none, 200, ""),
        (READER, "DELETE /bob@example.org", &none, 403, "write-people"),
        (READER, "POST /bob@example.org/app-passwords", &app, 403, "set-passwords"),
        (OTHER, "GET /bob@example.org", &none, 403, "example.org"),
        (OTHER, "POST ", &new("eve@example.org"), 403, "example.org"),
        (OTHER, "POST ", &json!({ "address": "eve@example.net", "password": SECRET }), 403, "set-passwords"),
        (OTHER, "POST ", &json!({ "address": "eve@example.net", "aliases": ["eve@example.org"] }), 403, "example.org"),
        (OTHER, "POST ", &new("eve@example.net"), 201, ""),
        (OLD, "GET /bob@example.org", &none, 401, "ended"),
        // The key comes before everything else.
        (OLD, "GET /%ff", &none, 401, "ended"),
        (FAR, "GET /bob@example.org", &none, 403, "127.0.0.1"),
        (KEY, "GET /olga@spec.example", &none, 200, ""),
        (KEY, "PATCH /olga@spec.example", &name, 409, "account \"olga\""),
        (KEY, "DELETE /ada@example.org", &none, 409, "domain \"example.org\""),
        (KEY, "PUT /ada@example.org/password", &json!({ "password": SECRET }), 409, "kept by the spec"),
        (KEY, "POST ", &new("new@spec.example"), 403, "people \"api\""),
        (KEY, "POST ", &new("new@elsewhere.example"), 403, "no domain"),
        (KEY, "POST ", &new("ada@example.org"), 409, "of the spec"),
        (KEY, "POST ", &new("team@example.org"), 409, "of the spec"),
        (KEY, "POST ", &new("news-bounces@example.org"), 409, "of the spec"),
        (KEY, "POST ", &new("bob@example.org"), 409, "somebody's"),
        (KEY, "POST ", &new("taken@example.org"), 409, "somebody's"),
        (KEY, "POST ", &new("ada+x@example.org"), 422, "+"),
        (KEY, "POST ", &json!({ "address": "x@example.org", "colour": 1 }), 400, "colour"),
        (KEY, "POST ", &json!({ "address": "x@example.org", "hash": "{PLAIN}x" }), 422, "hash"),
        (KEY, "GET /nobody@example.org", &none, 404, "nobody"),
        (KEY, "GET ", &none, 400, "domain"),
    ] {
        let (status, _, answer) = ask(ports, key, line, body);
        assert_eq!(status, want, "{line} {body}: {answer}");
        assert!(answer["detail"].as_str().unwrap_or_default().contains(word), "{line}: {answer}");
    }
    for n in 0..5 {
        made(ports, &format!("p{n}@example.org"), &json!({}));
    }
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let (_, _, page) = ask(ports, READER, &format!("GET ?domain=example.org&limit=3{after}"), &none);
        let people = page["people"].as_array().unwrap();
        assert!(people.len() <= 3);
        all.extend(people.iter().map(|one| format!("{} {}", one["address"].as_str().unwrap(), one["keptBy"])));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let kept = ["bob", "p0", "p1", "p2", "p3", "p4"].map(|name| format!("{name}@example.org \"api\""));
    let want: Vec<String> = std::iter::once("ada@example.org \"spec\"".to_owned()).chain(kept).collect();
    assert_eq!(all, want);
    // Each unknown key waits longer than the one before.
    let began = Instant::now();
    for _ in 0..2 {
        assert_eq!(ask(ports, "not a key of the spec at all", "GET /bob@example.org", &none).0, 401);
    }
    assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
    assert!(!server.log().contains("not a key of the spec"));
}

#[test]
fn hashes_from_elsewhere_let_in_and_scram_is_offered_only_where_it_locks_out_nobody() {
    let site = site();
    let keys = "role \"people\" { may \"write-people\" \"set-passwords\" \"read-people\"; }\n\
                api-key \"all\" secret=(file)\"all.key\" role=\"people\"\n";
    site.write_spec(&format!(
        "domain \"example.org\" {{ people \"api\"; alias \"postmaster\" \"x@example.net\"; }}\n{keys}"
    ));
    let server = site.serve();
    let ports = server.ports;
    let offers = || {
        let mut client = Client::connect_tls(ports.at(ports.imaps)).unwrap();
        client.line().unwrap();
        client.imap_ok("CAPABILITY").join(" ").contains("SCRAM-SHA-256")
    };
    assert_eq!(made(ports, "bob@example.org", &json!({})).0, 201);
    assert!(offers());
    let foreign = json!({ "address": "eve@example.org", "hash": "{SSHA}7uvz7Ldvxj5yRcj/Z7Nw25xqb6Hah0/H" });
    assert_eq!(ask(ports, KEY, "POST ", &foreign).0, 201);
    assert!(!offers());
    assert!(imap(ports, "eve@example.org", "secret").is_some());
    assert!(offers());
    assert!(imap(ports, "eve@example.org", "secret").is_some());
    let app = json!({ "name": "phone", "scope": ["imap"] });
    assert_eq!(ask(ports, KEY, "POST /bob@example.org/app-passwords", &app).0, 201);
    assert!(!offers());
}

#[test]
fn what_was_answered_is_there_after_kill_9_and_after_a_reload() {
    let site = site();
    let mut server = site.serve();
    for n in 0..3 {
        assert_eq!(made(server.ports, &format!("p{n}@example.org"), &json!({})).0, 201);
        server.kill();
        server = site.serve();
        assert!(imap(server.ports, &format!("p{n}@example.org"), SECRET).is_some());
    }
    let ports = server.ports;
    let mark = server.log_mark();
    // Once the spec names somebody, it is the spec's; and where it keeps the domain alone, the others are nobody.
    site.write_spec(&rest().replace("people \"api\"\n", &format!("people \"api\"\n{}", account("p0"))));
    server.wait_for_log("configuration taken", mark);
    assert!(imap(ports, "p0@example.org", PASSWORD).is_some() && imap(ports, "p0@example.org", SECRET).is_none());
    let (mut stays, mut goes) =
        (imap(ports, "p0@example.org", PASSWORD).unwrap(), imap(ports, "p1@example.org", SECRET).unwrap());
    goes.send("i IDLE\r\n").unwrap();
    let mark = server.log_mark();
    site.write_spec(&rest().replace("people \"api\"\n", &(account("bob") + &account("p0"))));
    server.wait_for_log("configuration taken", mark);
    // Who is no more must go, in the middle of an IDLE too; others notice nothing.
    while !goes.line().unwrap().starts_with("* BYE this account is gone") {}
    assert!(goes.line().is_err());
    stays.imap_ok("NOOP");
    assert!(imap(ports, "p1@example.org", SECRET).is_none());
    assert!(rcpt(ports, "p1@example.org").starts_with("550"));
}

/// Mail from elsewhere goes to whom the API keeps, up to the quota that it has there.
#[test]
fn mail_is_imported_for_people_of_the_api() {
    let site = site();
    let server = site.serve();
    assert_eq!(made(server.ports, "pia@example.org", &json!({ "quota": "1MiB" })).0, 201);
    assert!(server.stop());
    let mbox = site.path().join("old.mbox");
    let letters: String = (0..3)
        .map(|n| format!("From x@example.net Mon Nov 23 10:00:00 2026\n{}\n", message(&format!("old {n}"), 500)))
        .collect();
    std::fs::write(&mbox, letters.replace('\r', "")).unwrap();
    let import = |who: &str| {
        let mut command = std::process::Command::new(harness::program("waybilld"));
        command.args(["import", who, "--from"]).arg(&mbox).arg("--spec").arg(site.path());
        command.output().unwrap()
    };
    let output = import("nobody@example.org");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("nobody's own address is nobody@example.org"), "{said}");
    let output = import("pia@example.org");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let server = site.serve();
    let mut client = imap(server.ports, "pia@example.org", SECRET).unwrap();
    let status = client.imap_ok("STATUS INBOX (MESSAGES)").join("");
    assert!(status.contains("MESSAGES 3)"), "{status}");
}

#[test]
fn two_servers_of_a_database_see_each_others_changes_at_once() {
    let kind = Kind::PostgreSql(PostgreSql::start());
    let start = |node: &str| {
        let site = Site::new();
        write_keys(&site);
        let head = site.ports.host("mail.example.org");
        site.write("mail.kdl", &format!("waybill 1\n{head}{}{}", kind.node(), rest()));
        let mut command = kind.command(&site);
        command.args(["--node", node]);
        let server = Server::start(command, site.ports);
        (site, server)
    };
    let (one, two) = (start("one"), start("two"));
    let (here, there) = (one.1.ports, two.1.ports);
    for n in 0..10 {
        let user = format!("p{n}@example.org");
        assert!(rcpt(there, &user).starts_with("550"));
        assert_eq!(made(here, &user, &json!({})).0, 201);
        assert!(rcpt(there, &user).starts_with("250"));
        assert!(imap(there, &user, SECRET).is_some());
        let other = json!({ "password": format!("another password {n}") });
        assert_eq!(ask(here, KEY, &format!("PUT /{user}/password"), &other).0, 204);
        assert!(imap(there, &user, &format!("another password {n}")).is_some());
    }
    assert!(imap(there, "p0@example.org", SECRET).is_none());
    // Of those who make one address at once on both, one gets it.
    for n in 0..10 {
        let user = format!("q{n}@example.org");
        let (first, second) = (user.clone(), user.clone());
        let racers = [
            std::thread::spawn(move || made(here, &first, &json!({})).0),
            std::thread::spawn(move || made(there, &second, &json!({})).0),
        ];
        let mut answers = racers.map(|racer| racer.join().unwrap());
        answers.sort_unstable();
        assert_eq!(answers, [201, 409]);
    }
    // Without the database nobody is said to be nobody.
    let Kind::PostgreSql(mut database) = kind else { unreachable!() };
    database.kill();
    let reply = rcpt(here, "nobody@example.org");
    assert!(reply.starts_with("451"), "{reply}");
    assert_eq!(ask(here, KEY, "GET /p0@example.org", &Value::Null).0, 503);
}

#[test]
fn the_guide_does_what_it_says() {
    let page = std::fs::read_to_string(root().join("docs/people.md")).unwrap();
    let spec = page.split("```kdl\n").nth(1).unwrap().split("```").next().unwrap();
    let site = Site::new();
    site.write_spec(spec);
    let mut command = Command::new(harness::program("waybilld"));
    command.arg("serve").arg("--spec").arg(site.path()).env("PORTAL_KEY", KEY);
    let server = Server::start(command, site.ports);
    let mut count = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let line = line.replace("https://mail.example.org", &format!("http://{}", server.ports.at(server.ports.http)));
        let output = Command::new("sh").args(["-c", &line]).env("PORTAL_KEY", KEY).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        count += 1;
    }
    assert_eq!(count, 12);
}
