//! A Waybill from outside: a spec in a folder, the two programs, and small clients to talk to them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::disallowed_methods,
    reason = "tests"
)]

pub mod bind;
pub mod client;
pub mod cloudflare;
pub mod clouds;
pub mod contract;
pub mod elastic;
pub mod hyperscalers;
pub mod kinds;
pub mod knot;
pub mod load;
pub mod mariadb;
pub mod moto;
pub mod postgresql;
pub mod powerdns;
pub mod redis;
pub mod s3;
pub mod slapd;

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The password of every account that the harness makes.
pub const PASSWORD: &str = "correct horse battery staple";
/// How long anything may take before a test says that it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Whether what takes longer is tested too: `tests/run --long`.
pub fn long() -> bool {
    std::env::var("WAYBILL_LONG").is_ok_and(|long| long == "1")
}

/// The folder of what was built with the running program; tests are in a folder below it.
fn built() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().unwrap();
    if folder.ends_with("deps") { folder.parent().unwrap() } else { folder }.to_owned()
}

/// The folder of what is fetched once for all builds.
pub fn fixtures() -> PathBuf {
    built().parent().unwrap().join("fixtures")
}

/// A built program beside the tests.
pub fn program(name: &str) -> PathBuf {
    let path = built().join(name);
    assert!(path.exists(), "{} is not built: cargo build --workspace", path.display());
    path
}

/// A port of `address` that was free a moment ago, another each time. It lies below those that the system gives to
/// outgoing connections, so that none of them takes it before the server does.
pub fn free_port(address: IpAddr) -> u16 {
    const RANGE: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(RANGE)).unwrap();
    loop {
        let port = 10_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % RANGE;
        if TcpListener::bind((address, port)).is_ok() {
            return port;
        }
    }
}

/// A cheap hash of [`PASSWORD`], as a spec has it.
pub fn password_hash() -> String {
    let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
    cheap.hash_password_with_salt(PASSWORD.as_bytes(), b"sixteen octets!!").unwrap().to_string()
}

/// An `account` node.
pub fn account(name: &str) -> String {
    format!("    account \"{name}\" {{\n        password (hash)\"{}\"\n    }}\n", password_hash())
}

/// RFC 4648 §4.
pub fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in octets.chunks(3) {
        let n = three.iter().fold(0_u32, |n, octet| n << 8 | u32::from(*octet)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = ALPHABET[(n >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { digit as char } else { '=' });
        }
    }
    text
}

/// The ports of one server.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// All services are on this address.
    pub address: IpAddr,
    /// Port 25's place.
    pub smtp: u16,
    /// Port 587's.
    pub submission: u16,
    /// Port 465's.
    pub submissions: u16,
    /// Port 143's.
    pub imap: u16,
    /// Port 993's.
    pub imaps: u16,
    /// Port 443's.
    pub https: u16,
    /// Port 8080's.
    pub http: u16,
}

impl Ports {
    /// Free ports of 127.0.0.1.
    pub fn free() -> Ports {
        let address: IpAddr = "127.0.0.1".parse().unwrap();
        let port = || free_port(address);
        Ports {
            address,
            smtp: port(),
            submission: port(),
            submissions: port(),
            imap: port(),
            imaps: port(),
            https: port(),
            http: port(),
        }
    }

    /// The `host` node of these ports.
    pub fn host(&self, name: &str) -> String {
        format!(
            "host \"{name}\" {{\n    address \"{}\"\n    listen {{\n        smtp {}\n        submission {}\n        \
             submissions {}\n        imap {}\n        imaps {}\n        https {}\n        http {}\n    }}\n    \
             tls {{ self-signed; }}\n}}\n",
            self.address, self.smtp, self.submission, self.submissions, self.imap, self.imaps, self.https, self.http
        )
    }

    /// A socket address of one of them.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }
}

/// A spec in a folder of its own.
pub struct Site {
    folder: TempDir,
    /// Where its server listens.
    pub ports: Ports,
}

impl Default for Site {
    fn default() -> Site {
        Site::new()
    }
}

impl Site {
    /// An empty folder and free ports.
    pub fn new() -> Site {
        Site { folder: tempfile::tempdir().unwrap(), ports: Ports::free() }
    }

    /// example.org at mail.example.org with these accounts.
    pub fn with_accounts(names: &[&str]) -> Site {
        let site = Site::new();
        let mut people = String::new();
        for name in names {
            people.push_str(&account(name));
        }
        site.write_spec(&format!("domain \"example.org\" {{\n{people}}}\n"));
        site
    }

    /// The folder of the spec.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the spec as an editor does: beside it, then renamed over it.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    /// Writes `mail.kdl`: version, host and a RocksDB store, then `rest`.
    pub fn write_spec(&self, rest: &str) {
        let head = self.ports.host("mail.example.org");
        self.write("mail.kdl", &format!("waybill 1\n{head}store \"local\" {{ rocksdb \"data\"; }}\n{rest}"));
    }

    /// Starts the server and waits until it serves.
    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts the server with more arguments.
    pub fn serve_with(&self, arguments: &[&str]) -> Server {
        let mut command = Command::new(program("waybilld"));
        command.arg("serve").arg("--spec").arg(self.path()).args(arguments);
        Server::start(command, self.ports)
    }
}

/// Waits until something holds; says `what` did not, where that takes too long.
pub fn until<S: std::fmt::Display>(what: impl FnOnce() -> S, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() >= PATIENCE {
            panic!("not within {} s: {}", PATIENCE.as_secs(), what());
        }
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

/// Builds a layer of faults, which a server is started with by `LD_PRELOAD`, from a file of `tests/`.
pub fn fault_layer(source: &str, folder: &Path) -> PathBuf {
    let library = folder.join("faults.so");
    let source = root().join("tests").join(source);
    let files = ["-o", library.to_str().unwrap(), source.to_str().unwrap(), "-ldl"];
    run("gcc", &[&["-shared", "-fPIC", "-O1", "-Wall", "-Werror"], &files[..]].concat());
    library
}

/// What is written into a buffer, as text.
pub fn written(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut octets = Vec::new();
    write(&mut octets).unwrap();
    String::from_utf8(octets).unwrap()
}

/// Runs `waybill`.
pub fn waybill(arguments: &[&str]) -> Output {
    Command::new(program("waybill")).args(arguments).output().unwrap()
}

/// SIGSTOP, and waits until every thread of the process stands still; `kill -CONT` lets it go on.
pub fn freeze(process: u32) {
    run("kill", &["-STOP", &process.to_string()]);
    let began = Instant::now();
    let still = |thread: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
        // The state comes after the name, which may hold anything.
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    };
    while !std::fs::read_dir(format!("/proc/{process}/task")).unwrap().all(still) {
        assert!(began.elapsed() < PATIENCE, "process {process} does not stop");
        std::thread::yield_now();
    }
}

/// Runs a program to its end and returns what it printed; fails the test where it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{text}", output.status);
    text
}

/// A Python with these packages, `name==version` each, made once.
pub fn python(packages: &[&str]) -> PathBuf {
    let name = packages.join("-").replace(|c: char| !c.is_ascii_alphanumeric() && !"-.=".contains(c), "_");
    let folder = fixtures().join(format!("python-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    // Tests that want the same one wait for the first.
    let lock = std::fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let (home, made) = (folder.join("venv"), folder.join("made"));
    if !made.exists() {
        run("python3", &["-m", "venv", "--clear", home.to_str().unwrap()]);
        let pip = home.join("bin/pip");
        let words = ["install", "--quiet", "--disable-pip-version-check"];
        run(pip.to_str().unwrap(), &words.iter().copied().chain(packages.iter().copied()).collect::<Vec<_>>());
        std::fs::write(made, "").unwrap();
    }
    home.join("bin")
}

/// The folder of an npm package, fetched once.
pub fn npm(package: &str, version: &str) -> PathBuf {
    let folder = fixtures();
    let fetched = folder.join("node_modules").join(package);
    if !fetched.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let prefix = folder.to_str().unwrap();
        let wanted = format!("{package}@{version}");
        run("npm", &["install", "--silent", "--no-audit", "--no-fund", "--prefix", prefix, &wanted]);
    }
    fetched
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A running `waybilld`; killed when dropped.
pub struct Server {
    child: Child,
    log: Arc<Log>,
    /// Where it listens.
    pub ports: Ports,
}

impl Server {
    /// Starts a command that is a server and waits until it is ready.
    pub fn start(command: Command, ports: Ports) -> Server {
        let server = Server::begin(command, ports);
        // With the space: an address may be `already` in use.
        server.wait_for_log(" ready", 0);
        server
    }

    /// Starts a command that is a server.
    pub fn begin(mut command: Command, ports: Ports) -> Server {
        command.env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or("debug,hickory=info,hyper=info".into()));
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (stderr, shared) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if std::env::var_os("SHOW_LOG").is_some() {
                    eprintln!("{line}");
                }
                shared.lines.lock().unwrap().push(line);
                shared.more.notify_all();
            }
            shared.lines.lock().unwrap().push("(end of log)".into());
            shared.more.notify_all();
        });
        Server { child, log, ports }
    }

    /// How many lines the log has so far.
    pub fn log_mark(&self) -> usize {
        self.log.lines.lock().unwrap().len()
    }

    /// Waits for a line that holds `text`, at or after line `from`, and returns it.
    pub fn wait_for_log(&self, text: &str, from: usize) -> String {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().skip(from).find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            let ended = lines.last().is_some_and(|line| line == "(end of log)");
            assert!(!left.is_zero() && !ended, "no `{text}` in the log:\n{}", lines.join("\n"));
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The whole log.
    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().join("\n")
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) -> bool {
        run("kill", &["-TERM", &self.child.id().to_string()]);
        self.child.wait().unwrap().success()
    }

    /// `GET path` on the plain HTTP listener: status line and body.
    pub fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.ports.at(self.ports.http)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: mail.example.org\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that fails says what the server had to say of it.
        if std::thread::panicking() {
            let lines = self.log.lines.lock().unwrap_or_else(PoisonError::into_inner);
            let told = lines.iter().filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
            told.rev().take(20).collect::<Vec<_>>().into_iter().rev().for_each(|line| eprintln!("{line}"));
        }
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes `cert.pem` and `key.pem` for these names into a folder, from an authority of the test's own, `ca.pem`.
pub fn certificate(folder: &Path, names: &[String], days: i64) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Issuer and subject that are the same are one who signs for itself, to some.
    authority.distinguished_name.push(DnType::CommonName, "authority of the tests");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut certificate = CertificateParams::new(names.to_vec()).unwrap();
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
    let end = jiff::tz::TimeZone::UTC.to_datetime(end);
    let number = |n: i8| u8::try_from(n).unwrap();
    certificate.not_after = rcgen::date_time_ymd(end.year().into(), number(end.month()), number(end.day()));
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

/// A message of about `size` octets that names itself.
pub fn message(id: &str, size: usize) -> String {
    let mut text = format!(
        "From: Sender <sender@example.net>\r\nTo: Ada <ada@example.org>\r\nSubject: {id}\r\n\
         Message-ID: <{id}@example.net>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n"
    );
    let mut line = 0;
    while text.len() < size {
        let _ = write!(text, "{line:08} the quick brown fox jumps over the lazy dog\r\n");
        line += 1;
    }
    text
}

/// Every file below a folder that is for its owner alone: its octets and, of messages in a Maildir, its time, by its path.
pub fn tree(folder: &Path) -> BTreeMap<String, (Vec<u8>, i64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let facts = std::fs::metadata(&path).unwrap();
            if facts.is_dir() {
                found.insert(name + "/", (Vec::new(), 0));
                left.push(path);
            } else {
                assert_eq!(facts.permissions().mode() & 0o777, 0o600, "{name}");
                // The small files beside messages have the time of the export.
                let time = if name.contains("cur/") { facts.mtime() } else { 0 };
                found.insert(name, (std::fs::read(&path).unwrap(), time));
            }
        }
    }
    found
}

/// Two folders hold the same.
pub fn same_tree(one: &Path, other: &Path) {
    let (one, other) = (tree(one), tree(other));
    let names = |tree: &BTreeMap<String, _>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    for (name, entry) in &one {
        assert!(other[name] == *entry, "{name}: {:?} {:?}", entry.1, other[name].1);
    }
}

/// A day a month from now, as `allow` has it.
pub fn next_month() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let then = jiff::Timestamp::from_second(i64::try_from(now).unwrap() + 30 * 86_400).unwrap();
    jiff::tz::TimeZone::UTC.to_datetime(then).date().to_string()
}
