//! Moto, which stands in for Amazon's services, on a free port.

use crate::{PATIENCE, free_port, python};
use std::net::{IpAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A running server; killed when dropped.
pub struct Moto {
    child: Child,
    /// Where it answers.
    pub url: String,
    /// Its Python, with Amazon's client.
    pub python: std::path::PathBuf,
}

impl Moto {
    /// Starts one that knows nothing.
    pub fn start() -> Moto {
        let python = python(&["moto[server]==5.2.5"]);
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let port = free_port(local);
        let child = Command::new(python.join("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut moto = Moto { child, url: format!("http://127.0.0.1:{port}"), python };
        let began = Instant::now();
        while TcpStream::connect((local, port)).is_err() {
            assert!(began.elapsed() < PATIENCE && moto.child.try_wait().unwrap().is_none(), "moto does not serve");
            std::thread::yield_now();
        }
        moto
    }

    /// Runs a piece of Python with `client(service)` of Amazon's own library; what it prints.
    pub fn run(&self, code: &str) -> String {
        let head = format!(
            "import boto3\ndef client(name):\n    return boto3.client(name, region_name='us-east-1', endpoint_url='{}',\n        \
             aws_access_key_id='test', aws_secret_access_key='test')\n",
            self.url
        );
        crate::run(self.python.join("python").to_str().unwrap(), &["-c", &(head + code)])
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
