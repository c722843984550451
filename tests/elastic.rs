//! An OpenSearch or Elasticsearch of the test's own, on a free port: the server of Maven Central on the machine's Java.

use crate::{PATIENCE, fixtures, free_port, root, run};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// OpenSearch 2.
    OpenSearch,
    /// Elasticsearch 7.
    Elasticsearch,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::OpenSearch => "opensearch",
            Kind::Elasticsearch => "elasticsearch",
        }
    }

    /// The program's class.
    fn main(self) -> &'static str {
        match self {
            Kind::OpenSearch => "org.opensearch.bootstrap.OpenSearch",
            Kind::Elasticsearch => "org.elasticsearch.bootstrap.Elasticsearch",
        }
    }

    /// What its system properties begin with, and settings that only one of them knows.
    fn properties(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Kind::OpenSearch => ("opensearch", &[]),
            Kind::Elasticsearch => ("es", &["-Des.distribution.flavor=default"]),
        }
    }
}

/// What the server may do beside what it always may: be a server.
const POLICY: &str = r#"grant {
    permission java.net.SocketPermission "*", "accept,connect";
    permission java.io.FilePermission "/proc/sys/net/core/somaxconn", "read";
    permission java.util.PropertyPermission "sun.nio.ch.bugLevel", "write";
};
"#;
const LOGGING: &str = "appender.console.type = Console\nappender.console.name = console\n\
    appender.console.layout.type = PatternLayout\nappender.console.layout.pattern = %d %p %c{1} %m%n\n\
    rootLogger.level = warn\nrootLogger.appenderRef.console.ref = console\n";

/// A running server; killed when dropped.
pub struct Elastic {
    kind: Kind,
    child: Child,
    folder: TempDir,
    port: u16,
}

/// What an HTTP server on a port of this machine answers, with the head; nothing where it does not.
pub fn ask(port: u16, method: &str, path: &str, body: &str) -> String {
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = "Host: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json";
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    asked().unwrap_or_default()
}

/// The server's archives, fetched once.
fn archives(kind: Kind) -> Vec<PathBuf> {
    let pom = root().join("tests/fixtures").join(kind.name()).join("pom.xml");
    let folder = fixtures().join(format!("{}-{}", kind.name(), version(&pom)));
    fs::create_dir_all(&folder).unwrap();
    // Tests that want the same one wait for the first.
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let (archives, made) = (folder.join("lib"), folder.join("made"));
    if !made.exists() {
        let to = format!("-DoutputDirectory={}", archives.display());
        run("mvn", &["-B", "-q", "-f", pom.to_str().unwrap(), "dependency:copy-dependencies", &to]);
        fs::write(made, "").unwrap();
    }
    fs::read_dir(archives).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn version(pom: &Path) -> String {
    let text = fs::read_to_string(pom).unwrap();
    let begin = text.split("<server>").nth(1).unwrap();
    begin.split('<').next().unwrap().to_owned()
}

impl Elastic {
    /// Starts one without documents.
    pub fn start(kind: Kind) -> Elastic {
        let folder = tempfile::tempdir().unwrap();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let port = free_port(local);
        lay_out(kind, folder.path(), (port, free_port(local)));
        run("chmod", &["-R", "a+rwX", folder.path().to_str().unwrap()]);
        let child = spawn(kind, folder.path());
        let mut server = Elastic { kind, child, folder, port };
        server.wait();
        server
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it as a power cut would; its data stays.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again with what it has.
    pub fn start_again(&mut self) {
        self.kill();
        self.child = spawn(self.kind, self.folder.path());
        self.wait();
    }

    /// What it answers, with the head; nothing where it does not.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> String {
        ask(self.port, method, path, body)
    }

    fn wait(&mut self) {
        let began = Instant::now();
        loop {
            let health = self.ask("GET", "/_cluster/health?wait_for_status=yellow&timeout=10s", "");
            if health.starts_with("HTTP/1.1 200") {
                return;
            }
            let gone = self.child.try_wait().unwrap();
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(gone.is_none() && began.elapsed() < PATIENCE, "{:?} does not serve:\n{}", self.kind, log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// Writes the server's folder.
fn lay_out(kind: Kind, home: &Path, (http, transport): (u16, u16)) {
    let module = home.join("modules/transport-netty4");
    for folder in [&module, &home.join("lib"), &home.join("config"), &home.join("plugins"), &home.join("tmp")] {
        fs::create_dir_all(folder).unwrap();
    }
    for archive in archives(kind) {
        let name = archive.file_name().unwrap().to_str().unwrap();
        let of_module = name.starts_with("netty-") || name.starts_with("transport-netty4");
        // Copied, since whom the server runs as may not read where the originals are.
        fs::copy(&archive, if of_module { module.join(name) } else { home.join("lib").join(name) }).unwrap();
    }
    let name = kind.name();
    let version = version(&root().join("tests/fixtures").join(name).join("pom.xml"));
    let descriptor = format!(
        "name=transport-netty4\ndescription=HTTP\nversion={version}\n{name}.version={version}\njava.version=1.8\n\
         classname=org.{name}.transport.Netty4Plugin\nextended.plugins=\nhas.native.controller=false\n"
    );
    fs::write(module.join("plugin-descriptor.properties"), descriptor).unwrap();
    fs::write(module.join("plugin-security.policy"), POLICY).unwrap();
    fs::write(home.join("config/log4j2.properties"), LOGGING).unwrap();
    let mut settings = String::new();
    for (key, value) in [
        ("discovery.type", "single-node"),
        ("http.host", "127.0.0.1"),
        ("transport.host", "127.0.0.1"),
        ("http.port", &http.to_string()),
        ("transport.port", &transport.to_string()),
        // A nearly full disk of the machine is no matter of the tests.
        ("cluster.routing.allocation.disk.threshold_enabled", "false"),
        ("path.data", home.join("data").to_str().unwrap()),
        ("path.logs", home.join("logs").to_str().unwrap()),
    ] {
        writeln!(settings, "{key}: {value}").unwrap();
    }
    fs::write(home.join("config").join(format!("{name}.yml")), settings).unwrap();
}

fn spawn(kind: Kind, home: &Path) -> Child {
    let mut command = Command::new("java");
    if run("id", &["-u"]).trim() == "0" {
        // The server refuses root.
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "java"]);
    }
    let (prefix, more) = kind.properties();
    let path = home.display();
    command
        .args(["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.disable.jmx=true"])
        .args(["-Djava.security.manager=allow", &format!("-Djava.io.tmpdir={path}/tmp")])
        .args([format!("-D{prefix}.path.home={path}"), format!("-D{prefix}.path.conf={path}/config")])
        .args([format!("-D{prefix}.distribution.type=tar")])
        .args(more)
        .args(["-cp", &format!("{path}/lib/*"), kind.main()])
        .env("LIBFFI_TMPDIR", home.join("tmp"));
    let log = fs::File::create(home.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).current_dir("/");
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}; tests/run installs Java", kind.name()))
}

impl Drop for Elastic {
    fn drop(&mut self) {
        self.kill();
    }
}
