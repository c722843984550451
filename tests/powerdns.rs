//! A PowerDNS of the test's own, on free ports.

use crate::bind::TSIG;
use crate::{PATIENCE, free_port};
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// The key of its HTTP API.
pub const KEY: &str = "powerdns-key-of-the-test";

/// A running PowerDNS server with its HTTP API and dynamic updates; killed when dropped.
pub struct PowerDns {
    child: Child,
    folder: TempDir,
    /// Where it answers.
    pub address: SocketAddr,
    /// Where its API is.
    pub api: String,
}

impl PowerDns {
    /// Serves these zones, which hold nothing yet, and takes updates signed with [`TSIG`], as `waybill.`.
    pub fn start(zones: &[&str]) -> PowerDns {
        let folder = tempfile::tempdir().unwrap();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let (port, web) = (free_port(local), free_port(local));
        let path = folder.path().display();
        let config = format!(
            "launch=gsqlite3\ngsqlite3-database={path}/pdns.sqlite3\ngsqlite3-dnssec=yes\nsocket-dir={path}\n\
             local-address=127.0.0.1\nlocal-port={port}\nsecurity-poll-suffix=\nguardian=no\ndaemon=no\n\
             webserver=yes\nwebserver-address=127.0.0.1\nwebserver-port={web}\napi=yes\napi-key={KEY}\n\
             dnsupdate=yes\ndisable-axfr=no\ncache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\nzone-cache-refresh-interval=0\n"
        );
        fs::write(folder.path().join("pdns.conf"), config).unwrap();
        let schema = fs::read_to_string("/usr/share/doc/pdns-backend-sqlite3/schema.sqlite3.sql").unwrap();
        fs::write(folder.path().join("schema.sql"), schema).unwrap();
        done(Command::new("sqlite3").arg(folder.path().join("pdns.sqlite3")).arg(format!(".read {path}/schema.sql")));
        util(folder.path(), &["import-tsig-key", "waybill", "hmac-sha256", TSIG]);
        for zone in zones {
            util(folder.path(), &["create-zone", zone, &format!("ns1.{zone}")]);
            util(folder.path(), &["add-record", zone, "ns1", "A", "127.0.0.1"]);
            util(folder.path(), &["set-meta", zone, "TSIG-ALLOW-AXFR", "waybill"]);
            util(folder.path(), &["set-meta", zone, "TSIG-ALLOW-DNSUPDATE", "waybill"]);
            util(folder.path(), &["set-meta", zone, "SOA-EDIT-API", "INCREASE"]);
        }
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("pdns_server")
            .arg(format!("--config-dir={path}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("pdns_server: {error}; tests/run installs it"));
        let address = SocketAddr::new(local, port);
        let began = Instant::now();
        while TcpStream::connect((local, web)).is_err() || TcpStream::connect(address).is_err() {
            let log = fs::read_to_string(folder.path().join("log")).unwrap();
            assert!(began.elapsed() < PATIENCE && !log.contains("exiting"), "PowerDNS does not serve:\n{log}");
        }
        PowerDns { child, folder, address, api: format!("http://127.0.0.1:{web}") }
    }

    /// Runs `pdnsutil` on its zones.
    pub fn util(&self, arguments: &[&str]) {
        util(self.folder.path(), arguments);
    }

    /// What its database answers.
    pub fn sql(&self, statement: &str) -> String {
        done(Command::new("sqlite3").arg(self.folder.path().join("pdns.sqlite3")).arg(statement))
    }
}

fn util(folder: &Path, arguments: &[&str]) {
    done(Command::new("pdnsutil").arg(format!("--config-dir={}", folder.display())).args(arguments));
}

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Drop for PowerDns {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
