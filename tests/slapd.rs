//! An OpenLDAP server of the test's own, on free ports.

use crate::{PASSWORD, PATIENCE, certificate, free_port, root, run};
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// The name that its certificate has beside `localhost`.
pub const NAME: &str = "ldap.test.example";

/// What it is loaded with: a folder of fixtures says which attributes and entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// inetOrgPerson, groupOfNames.
    OpenLdap,
    /// Active Directory's classes and attributes.
    ActiveDirectory,
}

/// A server; killed when dropped. Its people's password, and that of `cn=mail,dc=example,dc=org`, is [`PASSWORD`].
pub struct Slapd {
    child: Option<Child>,
    folder: TempDir,
    /// LDAP in the clear, with StartTLS.
    pub port: u16,
    /// LDAP under TLS.
    pub tls_port: u16,
}

impl Slapd {
    /// Loads a tree and starts.
    pub fn start(tree: Tree) -> Slapd {
        Slapd::start_with(tree, "")
    }

    /// The same with further lines of configuration.
    pub fn start_with(tree: Tree, lines: &str) -> Slapd {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let name = if tree == Tree::OpenLdap { "openldap" } else { "active-directory" };
        let fixtures = root().join("tests/fixtures/directories");
        let at = |part: &str| path.join(part).display().to_string();
        certificate(path, &["localhost".to_owned(), NAME.to_owned()], 30);
        std::fs::create_dir(path.join("data")).unwrap();
        let schemas: String = ["core", "cosine", "inetorgperson", "nis"]
            .iter()
            .map(|schema| format!("include /etc/ldap/schema/{schema}.schema\n"))
            .collect();
        let config = format!(
            "{schemas}include {own}\npidfile {pid}\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             TLSCACertificateFile {ca}\nTLSCertificateFile {cert}\nTLSCertificateKeyFile {key}\nTLSVerifyClient try\n\
             {lines}\ndatabase mdb\nsuffix \"dc=example,dc=org\"\nrootdn \"cn=admin,dc=example,dc=org\"\nrootpw admin\n\
             directory {data}\nmaxsize 16777216\n\
             access to attrs=userPassword by dn.exact=\"cn=mail,dc=example,dc=org\" read by anonymous auth by * none\n\
             access to dn.exact=\"\" by * read\n\
             access to * by dn.exact=\"cn=mail,dc=example,dc=org\" read by self read by * none\n",
            own = fixtures.join(format!("{name}.schema")).display(),
            pid = at("pid"),
            ca = at("ca.pem"),
            cert = at("cert.pem"),
            key = at("key.pem"),
            data = at("data"),
        );
        std::fs::write(path.join("slapd.conf"), config).unwrap();
        let hash = run("slappasswd", &["-h", "{SSHA}", "-s", PASSWORD]);
        let entries = std::fs::read_to_string(fixtures.join(format!("{name}.ldif"))).unwrap();
        std::fs::write(path.join("entries.ldif"), entries.replace("@PASSWORD@", hash.trim())).unwrap();
        run("slapadd", &["-f", &at("slapd.conf"), "-l", &at("entries.ldif")]);
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let mut slapd = Slapd { child: None, port: free_port(local), tls_port: free_port(local), folder };
        slapd.again();
        slapd
    }

    /// Starts it on its ports, where it was stopped.
    pub fn again(&mut self) {
        let urls = format!("ldap://127.0.0.1:{}/ ldaps://127.0.0.1:{}/", self.port, self.tls_port);
        let config = self.folder.path().join("slapd.conf");
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("slapd");
        // A debug level, even none, keeps it from going into the background.
        command.args(["-h", &urls, "-d", "0", "-f"]).arg(config);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("slapd: {error}; tests/run installs it"));
        self.child = Some(child);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(began.elapsed() < PATIENCE, "slapd does not serve:\n{log}");
        }
    }

    /// Stops it; whoever connects is refused.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP: connections are taken, and nothing is ever answered.
    pub fn freeze(&self) {
        crate::freeze(self.child.as_ref().unwrap().id());
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        run("kill", &["-CONT", &self.child.as_ref().unwrap().id().to_string()]);
    }

    /// The folder, which holds `ca.pem`, and `cert.pem` and `key.pem` that it takes from clients too.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Changes entries, as its administrator.
    pub fn modify(&self, ldif: &str) {
        let path = self.folder.path().join("change.ldif");
        std::fs::write(&path, ldif).unwrap();
        let url = format!("ldap://127.0.0.1:{}", self.port);
        let who = ["-x", "-H", &url, "-D", "cn=admin,dc=example,dc=org", "-w", "admin", "-f", path.to_str().unwrap()];
        run("ldapmodify", &who);
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.stop();
    }
}
