//! A MariaDB of the test's own, on a free port.

use crate::{PATIENCE, free_port, run};
use std::net::IpAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// The password of its one user, `mail`.
pub const PASSWORD: &str = "mariadb-password-of-the-test";

/// A running server; killed when dropped.
pub struct MariaDb {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
}

/// A command that is not run as root, which the server refuses.
fn as_nobody(program: &str) -> Command {
    if run("id", &["-u"]).trim() != "0" {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}

impl Default for MariaDb {
    fn default() -> MariaDb {
        MariaDb::start()
    }
}

impl MariaDb {
    /// Starts one with an empty database `mail`, which `mail` may do anything in.
    pub fn start() -> MariaDb {
        let folder = tempfile::tempdir().unwrap();
        run("chmod", &["0777", folder.path().to_str().unwrap()]);
        let data = folder.path().join("data");
        let mut init = as_nobody("mariadb-install-db");
        init.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        let output = init.arg(format!("--datadir={}", data.display())).current_dir("/").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let port = free_port("127.0.0.1".parse::<IpAddr>().unwrap());
        let mut mariadb = MariaDb { child: None, folder, port };
        mariadb.again();
        let made = mariadb.as_root(&format!(
            "CREATE DATABASE mail CHARACTER SET utf8mb4; CREATE USER mail@'%' IDENTIFIED BY '{PASSWORD}';
             GRANT ALL ON mail.* TO mail@'%'"
        ));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        mariadb
    }

    /// Starts it on its port, where it was stopped.
    pub fn again(&mut self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let mut server = as_nobody("mariadbd");
        server.args([
            "--no-defaults".to_owned(),
            format!("--datadir={}", path("data")),
            format!("--socket={}", path("socket")),
            format!("--pid-file={}", path("pid")),
            format!("--port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            "--innodb-buffer-pool-size=32M".to_owned(),
            "--innodb-log-file-size=16M".to_owned(),
            "--skip-log-bin".to_owned(),
        ]);
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).current_dir("/");
        self.child = Some(server.spawn().unwrap_or_else(|error| panic!("mariadbd: {error}; tests/run installs it")));
        let began = Instant::now();
        while !self.as_root("SELECT 1").status.success() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(began.elapsed() < PATIENCE, "MariaDB does not serve:\n{log}");
        }
    }

    /// Kills it, without a chance to tidy up.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Its URL, without the password.
    pub fn url(&self) -> String {
        format!("mysql://mail@127.0.0.1:{}/mail", self.port)
    }

    /// What it answers `mail`, columns parted by tabs.
    pub fn sql(&self, statement: &str) -> String {
        let port = self.port.to_string();
        let who = ["-h", "127.0.0.1", "-P", &port, "-u", "mail", "mail"];
        let output = self.client(&who).env("MYSQL_PWD", PASSWORD).args(["-e", statement]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn as_root(&self, statement: &str) -> Output {
        let socket = self.folder.path().join("socket");
        self.client(&["-u", "root", "-S", socket.to_str().unwrap()]).args(["-e", statement]).output().unwrap()
    }

    fn client(&self, who: &[&str]) -> Command {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--batch", "--skip-column-names"]).args(who);
        client
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.stop();
    }
}
