//! A MariaDB of the test's own, on a free port.

use crate::{PATIENCE, free_port, run};
use std::net::IpAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// The password of its user `mail`, which owns the database `mail`.
pub const PASSWORD: &str = "mariadb-password-of-the-test";

/// A running server; killed when dropped.
pub struct MariaDb {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
}

impl Default for MariaDb {
    fn default() -> MariaDb {
        MariaDb::start()
    }
}

impl MariaDb {
    /// Starts one with an empty database `mail`.
    pub fn start() -> MariaDb {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let user = run("id", &["-un"]);
        let user = user.trim();
        let datadir = format!("--datadir={}", data.display());
        let user = format!("--user={user}");
        // In a shared one, servers that start at the same time delete each other's temporary tables.
        let tmpdir = folder.path().join("tmp");
        std::fs::create_dir(&tmpdir).unwrap();
        let tmpdir = format!("--tmpdir={}", tmpdir.display());
        run(
            "mariadb-install-db",
            &["--no-defaults", &datadir, &tmpdir, &user, "--auth-root-authentication-method=normal", "--skip-test-db"],
        );
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let mut server = MariaDb { child: None, folder, port: free_port(local) };
        server.run();
        let make = format!(
            "CREATE DATABASE mail; CREATE USER mail@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; \
             GRANT ALL ON mail.* TO mail@'127.0.0.1'"
        );
        let made = server.as_root(&make);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server
    }

    /// Starts the process and waits until it answers.
    pub fn run(&mut self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("mariadbd");
        command.args([
            "--no-defaults",
            "--skip-name-resolve",
            "--innodb-flush-method=fsync",
            "--performance-schema=OFF",
        ]);
        command.args([format!("--datadir={}", path("data")), format!("--socket={}", path("socket"))]);
        command.arg(format!("--tmpdir={}", path("tmp")));
        command.args([format!("--port={}", self.port), "--bind-address=127.0.0.1".to_owned()]);
        command.arg(format!("--pid-file={}", path("pid"))).arg(format!("--user={}", run("id", &["-un"]).trim()));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("mariadbd: {error}; tests/run installs it")));
        let began = Instant::now();
        while !self.as_root("SELECT 1").status.success() {
            let log = std::fs::read_to_string(path("log")).unwrap();
            assert!(began.elapsed() < PATIENCE, "MariaDB does not serve:\n{log}");
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Its URL, without the password.
    pub fn url(&self) -> String {
        format!("mysql://mail@127.0.0.1:{}/mail", self.port)
    }

    /// What it answers its owner.
    pub fn sql(&self, statement: &str) -> String {
        let output = self.as_root(&format!("USE mail;\n{statement}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn as_root(&self, statement: &str) -> Output {
        let socket = format!("--socket={}", self.folder.path().join("socket").display());
        let mut client = Command::new("mariadb");
        client.args([
            "--no-defaults",
            "--user=root",
            "--skip-column-names",
            "--batch",
            &socket,
            "--execute",
            statement,
        ]);
        client.output().unwrap()
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.kill();
    }
}
