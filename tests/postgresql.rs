//! A PostgreSQL of the test's own, on a free port.

use crate::{PATIENCE, free_port, run};
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// The password of its one user, `mail`.
pub const PASSWORD: &str = "postgresql-password-of-the-test";

/// A running server; killed when dropped.
pub struct PostgreSql {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
}

/// Debian's folder of the server's programs, which is in nobody's PATH.
fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .unwrap_or_else(|error| panic!("PostgreSQL: {error}; tests/run installs it"))
        .map(|entry| entry.unwrap().path().join("bin"))
        .collect();
    versions.sort();
    versions.pop().unwrap()
}

/// A command that is not run as root, which the server refuses.
fn as_nobody(program: &str) -> Command {
    let program = programs().join(program);
    if run("id", &["-u"]).trim() != "0" {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}

impl PostgreSql {
    /// Starts one with an empty database `mail`.
    pub fn start() -> PostgreSql {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
        run("chmod", &["-R", "0777", folder.path().to_str().unwrap()]);
        let data = folder.path().join("data");
        let mut init = as_nobody("initdb");
        init.arg("-D").arg(&data).args(["-U", "mail", "-A", "scram-sha-256", "-N", "--pwfile"]);
        let output = init.arg(folder.path().join("password")).current_dir("/").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Tests kill processes, not machines.
        let config = std::fs::File::options().append(true).open(data.join("postgresql.conf"));
        config.unwrap().write_all(b"fsync = off\n").unwrap();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let port = free_port(local);
        let mut server = PostgreSql { child: None, folder, port };
        server.run();
        server.try_sql("postgres", "CREATE DATABASE mail");
        server
    }

    /// Syncs from now on, as it does elsewhere.
    pub fn sync(&self) {
        self.sql("ALTER SYSTEM SET fsync = on");
        self.sql("SELECT pg_reload_conf()");
        let began = Instant::now();
        while self.sql("SHOW fsync").trim() != "on" {
            assert!(began.elapsed() < PATIENCE, "PostgreSQL does not read its configuration");
        }
    }

    /// Starts the process and waits until it answers.
    pub fn run(&mut self) {
        let mut server = as_nobody("postgres");
        server.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
        server.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).current_dir("/");
        self.child = Some(server.spawn().unwrap());
        let began = Instant::now();
        while !self.try_sql("postgres", "SELECT 1").status.success() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(began.elapsed() < PATIENCE, "PostgreSQL does not serve:\n{log}");
        }
    }

    /// Ends it at once, with its children, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }

    /// Its URL, without the password.
    pub fn url(&self) -> String {
        format!("postgres://mail@127.0.0.1:{}/mail", self.port)
    }

    /// What it answers.
    pub fn sql(&self, statement: &str) -> String {
        let output = self.try_sql("mail", statement);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_sql(&self, database: &str, statement: &str) -> std::process::Output {
        let mut psql = Command::new("psql");
        psql.args(["-h", "127.0.0.1", "-U", "mail", "-d", database, "-A", "-t", "-c", statement]);
        psql.args(["-p", &self.port.to_string()]).env("PGPASSWORD", PASSWORD).output().unwrap()
    }
}

impl Drop for PostgreSql {
    fn drop(&mut self) {
        self.kill();
    }
}
