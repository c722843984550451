//! A BIND of the test's own, on a free port.

use crate::{PATIENCE, free_port, run};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// The secret of the key that may update, as base64.
pub const TSIG: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I=";

/// A zone of nothing but SOA and NS.
pub fn empty_zone(name: &str) -> String {
    format!(
        "$ORIGIN {name}.\n$TTL 3600\n@ IN SOA ns1 hostmaster 1 3600 900 1209600 300\n@ IN NS ns1\nns1 IN A 127.0.0.1\n"
    )
}

/// The values of a record set as a server of 127.0.0.1 has them.
pub fn dig(server: SocketAddr, name: &str, kind: &str) -> Vec<String> {
    let port = server.port().to_string();
    let arguments = ["@127.0.0.1", "-p", &port, "+short", "+norecurse", "+tries=1", "+time=1", "-t", kind, "-q", name];
    let output = Command::new("dig").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect()
}

/// A running name server; killed when dropped.
pub struct Bind {
    child: Child,
    folder: TempDir,
    /// Where it answers.
    pub address: SocketAddr,
}

impl Bind {
    /// Serves these zones, by name and file, and nothing else.
    pub fn serve(zones: &[(String, PathBuf)]) -> Bind {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port("127.0.0.1".parse().unwrap());
        let mut config = String::new();
        for (name, file) in zones {
            config += &format!("zone \"{name}\" {{ type primary; file \"{}\"; }};\n", file.display());
        }
        let names: Vec<&str> = zones.iter().map(|(name, _)| name.as_str()).collect();
        Bind::start(folder, port, &config, &names)
    }

    /// Serves these zones, which hold nothing yet, and takes updates signed with [`TSIG`], as `waybill.`.
    pub fn updatable(zones: &[&str]) -> Bind {
        Bind::with(zones, "")
    }

    /// As [`Bind::updatable`], and signs the zones.
    pub fn signing(zones: &[&str]) -> Bind {
        Bind::with(zones, "dnssec-policy default; ")
    }

    fn with(zones: &[&str], option: &str) -> Bind {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port("127.0.0.1".parse().unwrap());
        let mut config = format!("key \"waybill.\" {{ algorithm hmac-sha256; secret \"{TSIG}\"; }};\n");
        for name in zones {
            let file = folder.path().join(name);
            std::fs::write(&file, empty_zone(name)).unwrap();
            config += &format!(
                "zone \"{name}\" {{ type primary; {option}file \"{}\"; allow-update {{ key \"waybill.\"; }}; \
                 allow-transfer {{ key \"waybill.\"; }}; }};\n",
                file.display()
            );
        }
        Bind::start(folder, port, &config, zones)
    }

    fn start(folder: TempDir, port: u16, config: &str, zones: &[&str]) -> Bind {
        let path = folder.path().display();
        let config = format!(
            "options {{ directory \"{path}\"; pid-file \"{path}/pid\"; session-keyfile \"{path}/key\"; \
             listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; \
             allow-query {{ any; }}; }};\ncontrols {{ }};\n{config}"
        );
        std::fs::write(folder.path().join("named.conf"), config).unwrap();
        let child = Command::new("named")
            .args(["-g", "-c"])
            .arg(folder.path().join("named.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("named: {error}; tests/run installs it"));
        let bind = Bind { child, folder, address: SocketAddr::new("127.0.0.1".parse().unwrap(), port) };
        let began = Instant::now();
        while !zones.iter().all(|name| bind.dig(name, "SOA").len() == 1) {
            let log = std::fs::read_to_string(bind.folder.path().join("log")).unwrap();
            assert!(began.elapsed() < PATIENCE && !log.contains("exiting"), "named does not serve:\n{log}");
        }
        bind
    }

    /// The values of a record set as this server has them.
    pub fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        dig(self.address, name, kind)
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it, politely.
    pub fn stop(self) {
        run("kill", &["-TERM", &self.child.id().to_string()]);
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
