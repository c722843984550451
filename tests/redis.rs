//! Redis servers of the test's own, on free ports: alone, watched over by sentinels, or as a cluster.

use crate::{PATIENCE, free_port, run, until};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// The name by which sentinels know the server that they watch over.
pub const MASTER: &str = "mail";

/// A running server or sentinel; killed when dropped.
pub struct Redis {
    child: Child,
    folder: TempDir,
    is_sentinel: bool,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

impl Redis {
    /// Starts one that keeps nothing on disk, with these further lines in its configuration.
    pub fn start(lines: &str) -> Redis {
        let port = free();
        Redis::on(port, &format!("port {port}\n{lines}"), false)
    }

    /// Starts one that speaks TLS alone, with `ca.pem`, `cert.pem` and `key.pem` of a folder, and asks for our
    /// certificate too.
    pub fn start_tls(pem: &Path, lines: &str) -> Redis {
        let port = free();
        let file = |name| pem.join(name).display().to_string();
        let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
        let tls = format!("tls-ca-cert-file {ca}\ntls-cert-file {cert}\ntls-key-file {key}\ntls-auth-clients yes");
        Redis::on(port, &format!("port 0\ntls-port {port}\n{tls}\n{lines}"), false)
    }

    fn on(port: u16, lines: &str, is_sentinel: bool) -> Redis {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let own = if is_sentinel { "" } else { "save \"\"\n" };
        let text = format!("bind 127.0.0.1\ndir {path}\nlogfile {path}/log\n{own}{lines}\n");
        std::fs::write(folder.path().join("conf"), text).unwrap();
        let server = Redis { child: spawn(folder.path(), is_sentinel), folder, is_sentinel, port };
        server.wait(1);
        server
    }

    /// Until it says for the given time that it serves.
    fn wait(&self, times: usize) {
        let says = if self.is_sentinel { "+monitor master" } else { "Ready to accept connections" };
        let began = Instant::now();
        let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        while log().matches(says).count() < times {
            assert!(began.elapsed() < PATIENCE, "Redis does not serve:\n{}", log());
            std::thread::yield_now();
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What it answers, by redis-cli.
    pub fn ask(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        run("redis-cli", &[&["-h", "127.0.0.1", "-p", &port, "--no-auth-warning"], words].concat()).trim().to_owned()
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`Redis::stop`], for the given time counted from the first start.
    pub fn again(&mut self, time: usize) {
        self.child = spawn(self.folder.path(), self.is_sentinel);
        self.wait(time);
    }

    /// SIGSTOP: connections are taken, and nothing is ever answered.
    pub fn freeze(&self) {
        crate::freeze(self.child.id());
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        run("kill", &["-CONT", &self.child.id().to_string()]);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> u16 {
    let local: IpAddr = "127.0.0.1".parse().unwrap();
    free_port(local)
}

fn spawn(folder: &Path, is_sentinel: bool) -> Child {
    let mut server = Command::new("redis-server");
    server.arg(folder.join("conf")).args(is_sentinel.then_some("--sentinel"));
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().unwrap_or_else(|error| panic!("redis-server: {error}; tests/run installs it"))
}

/// A server, its copy, and three sentinels that watch over them, by these passwords for servers and for sentinels.
pub fn watched(password: &str, sentinel_password: &str) -> (Redis, Redis, Vec<Redis>) {
    let secret = format!("requirepass {password}\nmasterauth {password}");
    let master = Redis::start(&secret);
    let copy = Redis::start(&format!("{secret}\nreplicaof 127.0.0.1 {}", master.port));
    let sentinels: Vec<Redis> = (0..3)
        .map(|_| {
            let port = free();
            let lines = format!(
                "port {port}\nrequirepass {sentinel_password}\nsentinel sentinel-pass {sentinel_password}\n\
                 sentinel monitor {MASTER} 127.0.0.1 {} 2\nsentinel auth-pass {MASTER} {password}\n\
                 sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000",
                master.port
            );
            Redis::on(port, &lines, true)
        })
        .collect();
    until(
        || "the sentinels know of each other and of the copy",
        || {
            sentinels.iter().all(|sentinel| {
                let facts = sentinel.ask(&["-a", sentinel_password, "sentinel", "master", MASTER]);
                facts.contains("num-other-sentinels\n2\n") && facts.contains("num-slaves\n1\n")
            })
        },
    );
    until(
        || "the copy is in step",
        || copy.ask(&["-a", password, "info", "replication"]).contains("master_link_status:up"),
    );
    (master, copy, sentinels)
}

/// A cluster of three servers.
pub fn cluster() -> Vec<Redis> {
    let servers: Vec<Redis> =
        (0..3).map(|_| Redis::start(&format!("cluster-enabled yes\ncluster-port {}", free()))).collect();
    let addresses: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    run("redis-cli", &[&["--cluster", "create"], &addresses[..], &["--cluster-yes"]].concat());
    until(
        || "every member says that the cluster is whole",
        || {
            servers.iter().all(|server| {
                let facts = server.ask(&["cluster", "info"]);
                facts.contains("cluster_state:ok") && facts.contains("cluster_known_nodes:3")
            })
        },
    );
    servers
}
