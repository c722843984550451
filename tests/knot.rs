//! A Knot DNS of the test's own, on a free port.

use crate::bind::{TSIG, empty_zone};
use crate::{PATIENCE, free_port};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// A running Knot server; killed when dropped.
pub struct Knot {
    child: Child,
    folder: TempDir,
    /// Where it answers.
    pub address: SocketAddr,
}

impl Knot {
    /// Serves these zones, which hold nothing yet, and takes updates signed with [`TSIG`], as `waybill.` with this algorithm.
    pub fn start(zones: &[&str], algorithm: &str) -> Knot {
        let folder = tempfile::tempdir().unwrap();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let port = free_port(local);
        let path = folder.path().display();
        let mut config = format!(
            "server:\n    rundir: \"{path}\"\n    listen: 127.0.0.1@{port}\n    tcp-max-clients: 100\n\
             database:\n    storage: \"{path}\"\n\
             key:\n  - id: waybill.\n    algorithm: {algorithm}\n    secret: {TSIG}\n\
             acl:\n  - id: ours\n    key: waybill.\n    action: [transfer, update]\n\
             template:\n  - id: default\n    storage: \"{path}\"\nzone:\n"
        );
        for zone in zones {
            fs::write(folder.path().join(format!("{zone}.zone")), empty_zone(zone)).unwrap();
            config += &format!("  - domain: {zone}\n    file: {zone}.zone\n    acl: ours\n");
        }
        fs::write(folder.path().join("knot.conf"), config).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("knotd")
            .arg("-c")
            .arg(folder.path().join("knot.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("knotd: {error}; tests/run installs it"));
        let knot = Knot { child, folder, address: SocketAddr::new(local, port) };
        let began = Instant::now();
        while !zones.iter().all(|zone| crate::bind::dig(knot.address, zone, "SOA").len() == 1) {
            let log = fs::read_to_string(knot.folder.path().join("log")).unwrap();
            assert!(began.elapsed() < PATIENCE && !log.contains("critical"), "Knot does not serve:\n{log}");
        }
        knot
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
